"""Verification: what is damaged is found within its time, named, and told until it is whole again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import orjson
import pytest

from shared.errors import Cancelled, StorageUnavailable, UsageError
from shared.recovery_point.backup import Backup
from shared.recovery_point.catalog import Catalog
from shared.recovery_point.record import RecoveryPoint
from shared.recovery_point.rotation import CIRCLE
from shared.recovery_point.scope import BackupRequest
from shared.recovery_point.steps import verify
from shared.recovery_point.verification import verify_point, verify_round
from shared.recovery_point.verifications import KeptVerification, Verification, newest_first
from shared.repository.crypto import KdfCost, write_key_file
from shared.repository.needs import find_needs
from shared.repository.repository import Repository
from shared.settings import Settings
from tests.standins.memory_vault import MemoryVault
from tests.standins.rights_proxy import BACKUP_APP, RESTORER
from tests.unit.databases.making import differential, full, log
from tests.unit.status import points

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
DAY = timedelta(days=1)
Json = dict[str, Any]


@dataclass
class Clock:
    """Of the machine that verifies, and of the storage."""

    now: datetime = NOW

    def __call__(self, zone: object = None) -> datetime:
        return self.now


@dataclass
class Site:
    """A share in a vault that is in memory."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    within: str = "30d"
    vault: MemoryVault = field(init=False)

    def __post_init__(self) -> None:
        self.vault = MemoryVault(clock=self.clock, rights=BACKUP_APP)
        self.folder.mkdir()

    @property
    def settings(self) -> Settings:
        return Settings.from_environment(
            {
                "LIFEBOAT_VAULT_URL": "http://127.0.0.1:1/vault",
                "LIFEBOAT_VAULT_KEY": "a2V5",
                "LIFEBOAT_SHARE_URL": self.folder.as_uri(),
                "LIFEBOAT_VERIFY_WITHIN": self.within,
            }
        )

    def write(self, name: str, size_bytes: int = 10_000) -> None:
        content = b"".join(hashlib.sha256(f"{name}{number}".encode()).digest() for number in range(size_bytes // 32))
        (self.folder / name).write_bytes(content)

    def back_up(self) -> RecoveryPoint:
        return Backup(self.settings, BackupRequest()).run()

    def round(self, **how: Any) -> Verification:
        return verify_round(self.settings, **how)

    def point(self, point: str | None = None) -> Verification:
        return verify_point(self.settings, point)

    def add(self, record: RecoveryPoint) -> RecoveryPoint:
        """A point of databases, with blobs that hold as many bytes as it says."""
        for component in record.databases.values():
            for each in component["backups"]:
                for blob in each["stored"]["blobs"]:
                    self.vault.judge("databases").put(blob["name"], content_of(blob["name"], blob["size_bytes"]))
        Catalog(self.vault.judge("recovery-points")).add(record)
        return record

    def names(self, prefix: str, container: str = "share") -> list[str]:
        return [blob.name for blob in self.vault.judge(container).list(prefix)]

    def replace(self, name: str, body: bytes, container: str = "share") -> None:
        self.vault.judge(container).overwrite(name, body)

    def flip(self, name: str, container: str = "share", at: int = 1000) -> None:
        body = bytearray(self.vault.judge(container).get(name))
        body[at % len(body)] ^= 1
        self.replace(name, bytes(body), container)

    def results(self) -> list[KeptVerification]:
        return [
            each for each in newest_first(self.vault.judge("recovery-points")) if isinstance(each, KeptVerification)
        ]


def content_of(name: str, size_bytes: int) -> bytes:
    return (name.encode() * (size_bytes // len(name) + 1))[:size_bytes]


def blob(name: str, size_bytes: int = 50_000, sha256: str | None = None) -> Json:
    blobs = [{"name": name, "size_bytes": size_bytes, "sha256": sha256}]
    return {"kind": "blobs", "blobs": blobs, "bytes_stored": size_bytes}


def of_databases(number: int, *sets: Any) -> RecoveryPoint:
    component = points.databases(*sets, logins={})
    return points.point({"databases": component}, point=f"20261125T12000{number}Z-0a1b2c")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "site")
    with (
        patch("shared.repository.initialise.write_key_file", partial(write_key_file, cost=KdfCost(16, 1, 1))),
        patch("shared.recovery_point.backup.Vault", lambda settings: made.vault),
        patch("shared.recovery_point.verification.Vault", lambda settings: made.vault),
        patch("shared.recovery_point.verification.datetime", wraps=datetime) as verifying,
        patch("shared.recovery_point.run_verification.datetime", wraps=datetime) as after_run,
    ):
        verifying.now = after_run.now = made.clock
        yield made


@pytest.fixture
def shared(site: Site) -> Site:
    for number in range(5):
        site.write(f"{number}.bin")
    site.back_up()
    return site


def needed(site: Site) -> set[str]:
    """Packs that the snapshots need, as prune sees it."""
    repository = Repository.open(site.vault.judge(), site.vault.password or "")
    return set(find_needs(repository, list(repository.list_ids("snapshots"))).used_packs())


def objects(made: Verification) -> set[str]:
    return {reason["object"] for reason in made.reasons}


# --- after a run ---


def test_a_run_is_verified_and_what_was_found_lies_beside_its_point(shared: Site) -> None:
    (name,) = shared.names("verifications/", "recovery-points")
    (point,) = [each.point for each in Catalog(shared.vault.judge("recovery-points")).readable()]
    kept = orjson.loads(shared.vault.judge("recovery-points").get(name))

    assert name.startswith(f"verifications/{point}/20261125T120000Z-run-")
    assert (kept["version"], kept["kind"], kept["status"], kept["findings"]) == (1, "run", "ok", 0)


def test_a_verification_after_a_run_costs_few_requests(site: Site) -> None:
    """The record, the snapshot, what was found; and the end of each pack as it was stored."""
    asked: list[str] = []
    site.write("a.bin")
    site.vault.after = lambda kind, name: asked.append(f"{kind} {name.partition('/')[0]}")
    site.back_up()

    after_record = asked[asked.index("put points") + 1 :]
    assert sorted(each for each in after_record if "locks" not in each) == [
        "get points",
        "get snapshots",
        "put verifications",
    ]


@pytest.mark.parametrize(
    ("kind", "container"), [("points/", "recovery-points"), ("snapshots/", "share")], ids=["record", "snapshot"]
)
def test_what_went_wrong_with_the_last_writes_of_a_run_is_found_by_it_and_its_point_stands(
    site: Site, kind: str, container: str
) -> None:
    def spoil(call: str, name: str) -> None:
        if call == "put" and name.startswith(kind):
            site.flip(name, container, at=500)

    site.write("a.bin")
    site.vault.after = spoil
    backup = Backup(site.settings, BackupRequest())

    assert backup.run().status == "complete"
    assert backup.verification is not None
    (reason,) = backup.verification.reasons
    assert (reason["code"], reason["component"]) == ("damaged", "share")
    assert reason["object"].startswith(f"{container}/{kind}")


def test_a_run_whose_verification_could_not_be_made_has_made_its_point(site: Site) -> None:
    def refuse(call: str, name: str) -> None:
        if call == "put" and name.startswith("verifications/"):
            raise StorageUnavailable("it does not answer")

    site.write("a.bin")
    site.vault.before = refuse
    backup = Backup(site.settings, BackupRequest())

    assert backup.run().status == "complete"
    assert backup.verification is not None
    assert [reason["code"] for reason in backup.verification.reasons] == ["storage-unavailable"]


def test_the_step_of_a_run_in_azure_looks_for_all_that_the_point_names(
    shared: Site, caplog: pytest.LogCaptureFixture
) -> None:
    (name,) = shared.names("points/", "recovery-points")
    with patch("shared.recovery_point.steps.Vault", lambda settings: shared.vault):
        assert verify(shared.settings, "0" * 16, point=name[7:-5]) == {"ok": True, "findings": 0}
        for pack in needed(shared):
            shared.vault.judge().delete(pack)
        found = verify(shared.settings, "0" * 16, point=name[7:-5])

    assert found["ok"]
    assert found["findings"] > 0
    assert "repository.damaged" in caplog.messages
    assert len(shared.names("verifications/", "recovery-points")) == 3


# --- a point ---


def test_everything_that_a_point_needs_is_read_back(shared: Site) -> None:
    made = shared.point()

    assert (made.status, made.kind, made.reasons) == ("ok", "point", [])
    assert made.packs == len(needed(shared))
    assert made.bytes_read == sum(len(shared.vault.judge().get(name)) for name in needed(shared))
    assert shared.results()[0].kind == "point"


def test_what_another_point_alone_needs_is_not_read(shared: Site) -> None:
    before = needed(shared)
    for name in shared.folder.iterdir():
        name.unlink()
    shared.write("other.bin")
    second = Backup(shared.settings, BackupRequest(allow_shrink=True)).run()

    assert shared.point(second.point).packs == len(needed(shared) - before)


def test_a_flipped_bit_in_a_pack_is_found_and_named_fault_6(shared: Site) -> None:
    everything = needed(shared)
    for name in everything:
        shared.flip(name)

    made = shared.point()

    assert made.status == "damaged"
    assert objects(made) < {f"share/{name}" for name in everything}, "below a tree that is damaged nothing is known"
    assert objects(made)
    assert {reason["code"] for reason in made.reasons} == {"damaged"}
    assert all(reason["remedy"] for reason in made.reasons)


@pytest.mark.parametrize("kind", ["index/", "snapshots/", "keys/"])
def test_a_flipped_bit_elsewhere_in_the_repository_is_found_fault_7(shared: Site, kind: str) -> None:
    name = shared.names(kind)[0]
    if kind == "keys/":  # another that opens is there, so the repository can be looked at
        body = shared.vault.judge().get(name)
        shared.vault.judge().put(f"keys/{'0' * 64}", body)
        name = f"keys/{'0' * 64}"
    else:
        shared.flip(name, at=40)

    assert f"share/{name}" in objects(shared.point())


@pytest.mark.parametrize("verify", [Site.point, Site.round])
def test_a_record_that_was_changed_and_is_json_still_is_damage_fault_7(
    shared: Site, verify: Callable[..., Verification]
) -> None:
    (name,) = shared.names("points/", "recovery-points")
    body = shared.vault.judge("recovery-points").get(name)
    shared.replace(name, body.replace(b'"files": 5', b'"files": 4'), "recovery-points")
    point = name[7:-5]

    made = shared.point(point) if verify is Site.point else shared.round()

    assert made.status == "damaged"
    assert f"recovery-points/{name}" in objects(made)


def test_a_point_that_is_not_there_is_wrong_usage(shared: Site) -> None:
    with pytest.raises(UsageError, match="no recovery point"):
        shared.point("20200101T000000Z-000000")


def test_without_a_point_that_is_complete_and_whole_one_has_to_be_named(site: Site) -> None:
    Catalog(site.vault.records).add(points.point({"share": points.share()}, status="partial"))
    with pytest.raises(UsageError, match="complete and whole"):
        site.point()


def test_backups_in_earlier_points_on_which_those_of_the_point_build_are_read_too(site: Site) -> None:
    base = full(100, 110, stored=blob("hosting/full"))
    unneeded = full(10, 20, stored=blob("hosting/other"))
    site.add(of_databases(1, unneeded))
    site.add(of_databases(2, base))
    last = site.add(of_databases(3, differential(base, 120, 130, stored=blob("hosting/differential"))))
    site.flip("hosting/full", "databases")
    assert site.point(last.point).database_blobs == 2, "each is read for the first time: its hash is kept"

    site.flip("hosting/full", "databases")
    site.flip("hosting/other", "databases")
    assert objects(site.point(last.point)) == {"databases/hosting/full"}


def test_a_backup_whose_base_is_gone_is_damage_that_names_the_record(site: Site) -> None:
    base = full(100, 110, stored=blob("hosting/full"))
    last = site.add(of_databases(3, differential(base, 120, 130, stored=blob("hosting/differential"))))

    assert objects(site.point(last.point)) == {f"recovery-points/points/{last.point}.json"}


# --- hashes of databases ---


def test_a_blob_of_a_database_has_to_stay_what_it_was_when_it_was_first_read_back_fault_6(site: Site) -> None:
    record = site.add(of_databases(1, full(100, 110, stored=blob("hosting/full"))))

    assert site.point(record.point).status == "ok"
    assert site.point(record.point).status == "ok"
    site.flip("hosting/full", "databases")
    made = site.point(record.point)

    assert (made.status, objects(made)) == ("damaged", {"databases/hosting/full"})
    (name,) = site.names("verifications/hashes/", "recovery-points")
    assert name == "verifications/hashes/hosting/full.json"


def test_a_hash_that_the_record_has_counts_from_the_beginning(site: Site) -> None:
    right = hashlib.sha256(content_of("hosting/full", 50_000)).hexdigest()
    good = site.add(of_databases(1, full(100, 110, stored=blob("hosting/full", sha256=right))))
    bad = site.add(of_databases(2, full(100, 110, stored=blob("hosting/bad", sha256=right))))

    assert site.point(good.point).status == "ok"
    assert objects(site.point(bad.point)) == {"databases/hosting/bad"}
    assert site.names("verifications/hashes/", "recovery-points") == []


@pytest.mark.parametrize("size_bytes", [0, 49_999, 50_001, None])
def test_a_blob_of_another_length_or_none_is_damage(shared: Site, size_bytes: int | None) -> None:
    site = shared
    record = site.add(of_databases(1, full(100, 110, stored=blob("hosting/full"))))
    if size_bytes is None:
        site.vault.judge("databases").delete("hosting/full")
    else:
        site.replace("hosting/full", bytes(size_bytes), "databases")

    assert objects(site.point(record.point)) == {"databases/hosting/full"}
    assert objects(site.round()) == {"databases/hosting/full"}


def test_a_hash_that_cannot_be_read_is_itself_the_damage(site: Site) -> None:
    record = site.add(of_databases(1, full(100, 110, stored=blob("hosting/full"))))
    site.point(record.point)
    name = "verifications/hashes/hosting/full.json"
    site.flip(name, "recovery-points", at=60)

    assert objects(site.point(record.point)) == {f"recovery-points/{name}"}


def test_who_may_only_read_the_vault_is_told_what_was_found(shared: Site) -> None:
    record = shared.add(of_databases(1, full(100, 110, stored=blob("hosting/full"))))
    shared.vault = shared.vault.with_rights(RESTORER)

    made = shared.point(record.point)

    assert (made.status, made.database_blobs) == ("ok", 1)
    assert len([note for note in made.notes if "could not be kept" in note]) == 2


# --- rounds ---


def test_daily_rounds_read_everything_once_within_the_time(shared: Site) -> None:
    shared.within = "5d"
    shared.add(of_databases(1, full(100, 110, stored=blob("hosting/full")), log(110, 120, stored=blob("hosting/log"))))
    packs = len(shared.names("data/"))
    read = []
    for _ in range(5):
        read.append(shared.round())
        shared.clock.now += DAY

    assert sum(made.packs for made in read) == packs
    assert sum(made.database_blobs for made in read) == 2
    assert {made.status for made in read} == {"ok"}
    assert [made.answer()["read_back_since"] for made in read[:4]] == [None] * 4
    assert read[4].answer()["read_back_since"] == "2026-11-25T12:00:00Z"


def test_what_is_damaged_is_found_within_the_time_and_told_until_it_is_whole_again(shared: Site) -> None:
    shared.within = "5d"
    name = shared.names("data/")[0]
    whole = shared.vault.judge().get(name)
    shared.flip(name)
    told = []
    for _ in range(8):
        told.append(objects(shared.round()))
        shared.clock.now += DAY

    assert {f"share/{name}"} in told[:5]
    assert told[5:] == [{f"share/{name}"}] * 3
    shared.replace(name, whole)
    assert shared.round().status == "ok"
    assert shared.results()[0].status == "ok"


def test_days_that_were_missed_are_made_up_for(shared: Site) -> None:
    shared.round()
    shared.clock.now += timedelta(days=60)

    assert shared.round().packs == len(shared.names("data/"))


def test_what_a_verification_of_a_point_found_is_looked_at_again_by_the_next_round(shared: Site) -> None:
    shared.round()
    for name in needed(shared):
        shared.flip(name)
    found = objects(shared.point())
    shared.clock.now += timedelta(microseconds=1)

    assert found <= objects(shared.round())


def test_a_round_that_is_cut_has_told_how_far_it_came_and_the_next_goes_on_there(shared: Site) -> None:
    shared.within = "1h"
    for number in range(4):
        record = of_databases(number, full(100, 110, stored=blob(f"hosting/{number}")))
        shared.add(record)
    everything = len(shared.names("data/")) + 4
    reading: list[str] = []

    def stop(call: str, name: str) -> None:
        if call == "get" and name.startswith("hosting/"):
            reading.append(name)
            if len(reading) == 2:
                raise Cancelled("somebody asked for it")

    shared.vault.before = stop
    with pytest.raises(Cancelled):
        shared.round()
    first = shared.results()[0]
    assert first.rotation is not None
    assert first.rotation.position > 0
    assert first.rotation.due_until < shared.clock.now
    shared.vault.before = lambda call, name: None

    made = shared.round()

    assert made.done
    assert 0 < made.packs + made.database_blobs < everything
    assert made.answer()["read_back_since"] == "2026-11-25T12:00:00Z"


def test_a_round_whose_time_is_over_begins_nothing_more(shared: Site) -> None:
    shared.within = "1h"

    made = shared.round(budget=timedelta(0))

    assert (made.packs, made.done, made.status) == (0, False, "ok")
    assert "due with the next" in made.notes[0]
    assert shared.round().packs == len(shared.names("data/"))


def test_a_round_that_is_killed_has_skipped_nothing(shared: Site) -> None:
    class Killed(BaseException):
        pass

    def stop(call: str, name: str) -> None:
        if call == "put":
            raise Killed

    shared.within = "1h"
    shared.vault.before = stop
    with pytest.raises(Killed):
        shared.round()
    shared.vault.before = lambda call, name: None

    assert shared.round().packs == len(shared.names("data/"))


def test_a_long_round_writes_down_now_and_then_how_far_it_has_come(
    shared: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.recovery_point.verification.TOLD_SECONDS", 0.0)
    monkeypatch.setattr("shared.recovery_point.verification.PACKS_A_STEP", 1)
    shared.within = "1h"
    shared.round()

    kept = [each for each in shared.results() if each.kind == "round"]
    assert len(kept) == len(shared.names("data/")) + 1
    assert len({each.rotation.due_until for each in kept if each.rotation}) == len(kept)


def test_a_result_that_cannot_be_read_is_told_and_the_one_before_it_stands(shared: Site) -> None:
    shared.round()
    before = shared.results()[0]
    shared.clock.now += DAY
    shared.round()
    shared.flip(shared.names("verifications/rounds/", "recovery-points")[1], "recovery-points", at=300)
    shared.clock.now += DAY

    made = shared.round()

    assert any("cannot be read" in note for note in made.notes)
    assert made.rotation is not None
    assert before.rotation is not None
    assert (made.rotation.position - before.rotation.position) % CIRCLE == -(-2 * CIRCLE // 30)
