"""What gets a date, when, and by whose clock; what is told instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from shared.errors import StorageUnavailable
from shared.keeping.inventory import take_inventory
from shared.keeping.journal import Journal, Left, journals, put_journal
from shared.keeping.protecting import Protected, protect, tampering
from shared.recovery_point.parts import parts_of
from shared.recovery_point.record import RecoveryPoint
from shared.settings import Settings
from shared.telemetry import Event
from tests.faults.helpers import PASSWORD, back_up, change_share, make_share
from tests.standins.in_memory_telemetry import listening
from tests.standins.memory_vault import MemoryVault
from tests.standins.rights_proxy import BACKUP_APP, KEEPER, RESTORER, Rights
from tests.standins.worm import Worm
from tests.unit.status import points

NOW = datetime.now(UTC)
FOR = timedelta(days=14)


@contextmanager
def told_events() -> Iterator[list[tuple[Event, dict[str, Any]]]]:
    told: list[tuple[Event, dict[str, Any]]] = []
    with patch("shared.keeping.protecting.emit", lambda event, **attributes: told.append((event, attributes))):
        yield told


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_share(tmp_path / "source")


@pytest.fixture
def vault(clock: Clock) -> MemoryVault:
    return MemoryVault(clock=clock, rights=BACKUP_APP, password=PASSWORD)


@pytest.fixture
def point(vault: MemoryVault, source: Path) -> RecoveryPoint:
    return back_up(vault, source)  # type: ignore[arg-type]


def keep(
    vault: MemoryVault, clock: Callable[[], datetime], *, protect_for: str = "14d", rights: Rights = KEEPER
) -> tuple[Protected, MemoryVault]:
    """``protect``, and the vault as the keeper saw it, with its traffic."""
    keeper = vault.with_rights(rights)
    settings = Settings.from_environment({"LIFEBOAT_VAULT_URL": "memory", "LIFEBOAT_PROTECT_FOR": protect_for})
    with patch("shared.keeping.protecting.Vault", lambda _: keeper):
        return protect(settings, clock=clock), keeper


def dates(vault: MemoryVault) -> dict[str, datetime | None]:
    """Of all current blobs; a date that is not locked is none."""
    return {
        f"{container}/{version.name}": version.until if version.locked else None
        for container in ("share", "recovery-points", "databases")
        for version in vault.judge(container).list_versions("")
        if version.current
    }


def lose(vault: MemoryVault, container: str, name: str) -> None:
    """For good, so that no version tells of it."""
    judge = vault.judge(container)
    judge.delete(name)
    for version in list(judge.list_versions(name)):
        judge.delete_version(name, version.version or "")


def codes(result: Protected) -> list[str]:
    return [reason["code"] for reason in result.reasons]


@pytest.mark.usefixtures("point")
def test_all_that_a_point_needs_gets_a_locked_date_and_nothing_else_does(vault: MemoryVault, clock: Clock) -> None:
    vault.judge().put("locks/" + "a" * 64, b"somebody's lock")
    vault.judge().put("data/aa/" + "a" * 64, b"a pack that a killed run has left")
    vault.judge("recovery-points").put("drills/x/y.json", b"{}")
    vault.judge("databases").put("left/by.bak", b"a killed run")

    result, _ = keep(vault, clock)

    left = {name for name, until in dates(vault).items() if until is None}
    assert {name.partition("/")[0] + "/" + name.split("/")[1] for name in left} <= {
        "share/locks",
        "share/data",
        "recovery-points/drills",
        "recovery-points/verifications",
        "databases/left",
    }
    assert "share/data/aa/" + "a" * 64 in left
    dated = {until for until in dates(vault).values() if until is not None}
    assert dated == {(NOW + FOR).replace(microsecond=0)}
    assert result.status == "ok"
    assert result.blobs == result.extended == len(dates(vault)) - len(left)
    assert result.until == (NOW + FOR).replace(microsecond=0)


@pytest.mark.usefixtures("point")
def test_a_journal_gets_a_date_for_as_long_as_retention_keeps_it(vault: MemoryVault, clock: Clock) -> None:
    old = put_journal(vault.judge("recovery-points"), Journal(NOW, points=("old",)))
    clock.now = NOW + timedelta(days=401)
    young = put_journal(vault.judge("recovery-points"), Journal(clock.now, points=("young",)))

    keep(vault, clock)

    assert dates(vault)[f"recovery-points/{old}"] is None
    assert dates(vault)[f"recovery-points/{young}"] is not None


@pytest.mark.usefixtures("point")
def test_a_date_is_put_off_once_less_than_half_of_it_is_left(vault: MemoryVault, clock: Clock) -> None:
    first, _ = keep(vault, clock)
    clock.now = NOW + FOR / 2 - timedelta(minutes=1)
    early, keeper = keep(vault, clock)
    clock.now = NOW + FOR / 2 + timedelta(minutes=1)
    late, _ = keep(vault, clock)

    assert (early.extended, early.blobs) == (0, first.blobs)
    assert keeper.traffic().requests["protect"] == 0
    assert early.until == first.until
    assert late.extended == first.blobs
    assert late.until == (clock.now + FOR).replace(microsecond=0)


@pytest.mark.usefixtures("point")
def test_a_new_point_costs_requests_only_for_what_it_has_added(vault: MemoryVault, clock: Clock, source: Path) -> None:
    first, _ = keep(vault, clock)
    change_share(source, 1)
    back_up(vault, source)  # type: ignore[arg-type]

    second, keeper = keep(vault, clock)

    assert keeper.traffic().requests["protect"] == second.extended == second.blobs - first.blobs > 0


@pytest.mark.usefixtures("point")
def test_a_date_that_is_not_locked_is_locked(vault: MemoryVault, clock: Clock) -> None:
    vault.container("share").protect("config", NOW + timedelta(days=400), locked=False)

    keep(vault, clock)

    assert dates(vault)["share/config"] is not None


@pytest.mark.usefixtures("point")
def test_without_a_time_to_protect_for_nothing_is_done_and_that_is_told(vault: MemoryVault, clock: Clock) -> None:
    result, keeper = keep(vault, clock, protect_for="0s")

    assert (result.status, result.reasons) == ("ok", [])
    assert "LIFEBOAT_PROTECT_FOR" in result.notes[0]
    assert not keeper.traffic().requests


def test_a_vault_that_takes_no_dates_is_asked_once(clock: Clock, source: Path) -> None:
    vault = MemoryVault(clock=clock, worm=Worm(immutability=False), password=PASSWORD)
    back_up(vault, source)  # type: ignore[arg-type]

    with told_events() as events:
        result, keeper = keep(vault, clock)

    assert result.status == "failed"
    assert result.reasons[0]["remedy"]
    assert keeper.traffic().requests["protect"] == 1
    assert [event for event, _ in events] == [Event.PROTECT_FAILED]


@pytest.mark.usefixtures("point")
def test_who_may_not_set_dates_is_told_the_right_that_is_missing(vault: MemoryVault, clock: Clock) -> None:
    result, keeper = keep(vault, clock, rights=RESTORER)

    assert result.status == "failed"
    assert "immutableStorage/runAsSuperUser" in result.reasons[0]["remedy"]
    assert keeper.traffic().requests["protect"] == 1


def test_while_a_record_cannot_be_read_all_there_is_gets_a_date(vault: MemoryVault, clock: Clock, source: Path) -> None:
    first = back_up(vault, source)  # type: ignore[arg-type]
    vault.judge("databases").put("unknown/full.bak", b"named by the record that cannot be read, perhaps")
    vault.judge("recovery-points").put("points/20260101T000000Z-aaaaaa.json", b"{")

    result, _ = keep(vault, clock)

    assert (result.status, codes(result)) == ("partial", ["damaged"])
    assert result.reasons[0]["object"] == "recovery-points/points/20260101T000000Z-aaaaaa.json"
    left = {name for name, until in dates(vault).items() if until is None}
    assert all(name.startswith("recovery-points/verifications/") for name in left)
    assert first.snapshot is not None


@pytest.mark.parametrize("fingerprints", [[], {"blobs": 5}, {"blobs": ["x"]}, {"blobs": [5]}, {"blobs": ["ab"]}])
@pytest.mark.usefixtures("point")
def test_a_record_that_makes_no_sense_is_told(vault: MemoryVault, clock: Clock, fingerprints: Any) -> None:
    made = points.point({"share": {"status": "partial", "fingerprints": fingerprints or ["x"]}})
    vault.judge("recovery-points").put(f"points/{made.point}.json", made.to_bytes())

    result, _ = keep(vault, clock)

    assert [reason["object"] for reason in result.reasons] == [f"recovery-points/points/{made.point}.json"]
    assert dates(vault)[f"recovery-points/points/{made.point}.json"] is not None


def test_a_pack_that_is_gone_is_told_and_the_rest_gets_its_dates(
    vault: MemoryVault, clock: Clock, point: RecoveryPoint
) -> None:
    pack = max(vault.judge().list("data/"), key=lambda blob: blob.size_bytes).name  # of data: trees are small
    lose(vault, "share", pack)

    result, _ = keep(vault, clock)

    assert (result.status, codes(result)) == ("partial", ["damaged"])
    assert result.reasons[0]["object"] == f"share/{pack}"
    assert dates(vault)[f"share/snapshots/{point.snapshot}"] is not None
    assert result.extended == result.blobs > 5


@pytest.mark.usefixtures("point")
def test_where_a_tree_cannot_be_read_all_packs_get_a_date(vault: MemoryVault, clock: Clock) -> None:
    unneeded = "data/aa/" + "a" * 64
    vault.judge().put(unneeded, b"a pack that no index names")
    for blob in list(vault.judge().list("data/")):  # the one with the trees is among the small ones
        if blob.size_bytes < 5000 and blob.name != unneeded:
            lose(vault, "share", blob.name)

    result, _ = keep(vault, clock)

    assert result.status == "partial"
    assert any("all there are get protected" in reason["message"] for reason in result.reasons)
    packs = [until for name, until in dates(vault).items() if name.startswith("share/data/")]
    assert packs
    assert None not in packs


@pytest.mark.usefixtures("point")
def test_a_vault_whose_config_is_gone_keeps_the_rest_under_dates(vault: MemoryVault, clock: Clock) -> None:
    lose(vault, "share", "config")

    result, _ = keep(vault, clock)

    assert result.status == "partial"
    assert {reason["object"] for reason in result.reasons} == {"share/config"}
    assert None not in [until for name, until in dates(vault).items() if name.startswith("share/")]


@pytest.mark.parametrize("by_the_keeper", [False, True])
@pytest.mark.usefixtures("point")
def test_what_vanishes_meanwhile_is_told_unless_the_keeper_has_deleted_it(
    vault: MemoryVault, clock: Clock, by_the_keeper: bool
) -> None:
    pack = max(vault.judge().list("data/"), key=lambda blob: blob.size_bytes).name
    keeper = vault.with_rights(KEEPER)

    def vanish(kind: str, name: str) -> None:
        if kind == "protect" and name == pack:
            lose(vault, "share", pack)
            if by_the_keeper:
                put_journal(vault.judge("recovery-points"), Journal(NOW, marks=(f"share/{pack}",)))

    keeper.before = vanish
    with patch("shared.keeping.protecting.Vault", lambda _: keeper):
        result = protect(Settings.from_environment({"LIFEBOAT_VAULT_URL": "memory"}), clock=clock)

    assert [reason["object"] for reason in result.reasons] == ([] if by_the_keeper else [f"share/{pack}"])
    assert result.extended == result.blobs - 1


class TestClocks:
    pytestmark = pytest.mark.usefixtures("point")

    def test_a_clock_far_ahead_of_the_storages_sets_no_date_by_itself(self, vault: MemoryVault, clock: Clock) -> None:
        clock.now = NOW + timedelta(days=3)  # nothing was written for three days

        result, _ = keep(vault, lambda: NOW + timedelta(days=4000))

        assert codes(result) == ["clock-differs"]
        assert max(filter(None, dates(vault).values())) <= clock.now + FOR
        assert result.extended == result.blobs

    def test_a_vault_in_which_nothing_was_written_for_long_is_no_reason(self, vault: MemoryVault, clock: Clock) -> None:
        clock.now = NOW + timedelta(days=30)

        result, _ = keep(vault, clock)

        assert result.reasons == []
        assert result.until == clock.now.replace(microsecond=0) + FOR

    def test_the_blob_that_asks_for_the_time_is_nobodys_deletion(self, vault: MemoryVault, clock: Clock) -> None:
        clock.now = NOW + timedelta(days=30)

        keep(vault, clock)

        assert keep(vault, clock)[0].reasons == []

    def test_a_clock_that_is_behind_does_not_make_dates_short(self, vault: MemoryVault, clock: Clock) -> None:
        result, _ = keep(vault, lambda: NOW - timedelta(days=10))

        assert result.until is not None
        assert result.until >= NOW + FOR - timedelta(seconds=2)
        assert clock.now == NOW

    def test_where_the_storages_time_cannot_be_had_no_date_is_set(self, vault: MemoryVault) -> None:
        result, keeper = keep(vault, lambda: NOW + timedelta(days=4000), rights=Rights(add=False, immutability=True))

        assert (result.status, codes(result)) == ("failed", ["clock-differs"])
        assert keeper.traffic().requests["protect"] == 0


class TestTampering:
    def found(self, vault: MemoryVault, *entries: Journal) -> list[dict[str, Any]]:
        for each in entries:
            put_journal(vault.judge("recovery-points"), each)
        left = Left.by(journals(vault.judge("recovery-points")))
        return tampering(take_inventory(vault), left)  # type: ignore[arg-type]

    def test_what_nobody_touched_is_none(self, vault: MemoryVault) -> None:
        vault.share.put("config", b"config")

        assert self.found(vault) == []

    def test_what_is_deleted_and_in_no_journal_was_somebody_else(self, vault: MemoryVault) -> None:
        for name in ("data/a", "data/b", "locks/c"):
            vault.judge().put(name, b"x")
            vault.judge().delete(name)
        vault.judge("recovery-points").put("runs/r.json", b"x")
        vault.judge("recovery-points").delete("runs/r.json")

        found = self.found(vault, Journal(NOW, marks=("share/data/a",)))

        assert [(each["code"], each["objects"], each["count"]) for each in found] == [("tampered", ["share/data/b"], 1)]
        assert "undelete" in found[0]["remedy"]

    def test_many_are_told_by_the_first_and_a_count(self, vault: MemoryVault) -> None:
        for number in range(30):
            vault.judge().put(f"data/{number:02}", b"x")
            vault.judge().delete(f"data/{number:02}")

        (found,) = self.found(vault)

        assert found["objects"] == [f"share/data/{number:02}" for number in range(20)]
        assert found["count"] == 30

    def test_an_overwritten_blob_is_told_even_where_its_length_is_the_same(self, vault: MemoryVault) -> None:
        vault.judge().put("config", b"config")
        vault.judge().overwrite("config", b"CONFIG")

        (found,) = self.found(vault)

        assert found["objects"] == ["share/config"]

    def test_what_was_put_right_is_none_any_more(self, vault: MemoryVault) -> None:
        judge = vault.judge()
        judge.put("config", b"config")
        judge.overwrite("config", b"CONFIG")
        judge.delete("config")
        judge.make_current(next(judge.list_versions("config")))

        assert self.found(vault) == []


@pytest.mark.usefixtures("point")
def test_tampering_is_an_event_and_everything_that_is_left_gets_a_date(vault: MemoryVault, clock: Clock) -> None:
    record = next(vault.judge("recovery-points").list("points/")).name
    vault.judge("recovery-points").delete(record)

    with told_events() as events:
        result, _ = keep(vault, clock)

    assert (result.status, codes(result)) == ("partial", ["tampered"])
    assert [event for event, _ in events] == [Event.VAULT_TAMPERED, Event.PROTECT_FAILED]
    assert events[0][1]["findings"] == 1
    assert None not in [until for name, until in dates(vault).items() if name.startswith("share/")]


@pytest.mark.usefixtures("point")
def test_an_error_of_the_storage_is_an_event_and_the_caller_gets_it(vault: MemoryVault, clock: Clock) -> None:
    keeper = vault.with_rights(KEEPER)

    def fail(kind: str, _: str) -> None:
        if kind == "protect":
            raise StorageUnavailable("no answer")

    keeper.before = fail
    with (
        listening() as exported,
        patch("shared.keeping.protecting.Vault", lambda _: keeper),
        pytest.raises(StorageUnavailable),
    ):
        protect(Settings.from_environment({"LIFEBOAT_VAULT_URL": "memory"}), clock=clock)
    (failed,) = exported.named(Event.PROTECT_FAILED)
    assert (failed["code"], failed["detail"]) == ("storage-unavailable", "no answer")


class TestDatabases:
    def recorded(self, vault: MemoryVault) -> dict[str, int]:
        """A point with backups beside the repository, which are not there yet: names and sizes in bytes."""
        made = points.point({"databases": points.databases(points.hosting(), points.metering())})
        vault.judge("recovery-points").put(f"points/{made.point}.json", made.to_bytes())
        return dict(parts_of(made).blobs)

    @pytest.mark.usefixtures("point")
    def test_backups_that_a_point_names_get_a_date(self, vault: MemoryVault, clock: Clock) -> None:
        for name, size in self.recorded(vault).items():
            vault.judge("databases").put(name, b"x" * size)
        vault.judge("databases").put("of/a killed run.bak", b"x")

        result, _ = keep(vault, clock)

        assert result.reasons == []
        dated = {name: until is not None for name, until in dates(vault).items() if name.startswith("databases/")}
        assert dated.pop("databases/of/a killed run.bak") is False
        assert len(dated) >= 2
        assert all(dated.values())

    @pytest.mark.usefixtures("point")
    def test_one_that_is_gone_and_one_of_another_length_are_told(self, vault: MemoryVault, clock: Clock) -> None:
        gone, short, *rest = self.recorded(vault).items()
        vault.judge("databases").put(short[0], b"x" * (short[1] - 1))
        for name, size in rest:
            vault.judge("databases").put(name, b"x" * size)

        result, _ = keep(vault, clock)

        assert (result.status, codes(result)) == ("partial", ["damaged", "damaged"])
        assert {(reason["component"], reason["object"]) for reason in result.reasons} == {
            ("databases", f"databases/{gone[0]}"),
            ("databases", f"databases/{short[0]}"),
        }
        assert dates(vault)["share/config"] is not None
