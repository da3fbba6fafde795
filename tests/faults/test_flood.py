"""Fault 34: somebody with the rights of the backup app, who knows the repository's key, adds whatever he likes.

Between the runs of the keeper: garbage points, journals, results, snapshots, packs and index files. No good point goes
that would have stayed without them, and each restores; or the keeper deletes nothing and says why.
"""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from shared.errors import BlobNotFound, Damaged
from shared.keeping.journal import Journal, put_journal
from shared.recovery_point.catalog import Catalog
from shared.recovery_point.drill_results import put_drill_result
from shared.recovery_point.record import RecoveryPoint, new_id
from shared.recovery_point.verifications import POINT, Verification, put_verification
from shared.repository.index import IndexedPack, Location
from shared.repository.index_files import IndexFiles
from shared.repository.packs import SealedBlob, build_pack, pack_name
from shared.repository.prune import PruneLimits
from shared.repository.reader import open_blob
from shared.repository.repository import Repository
from shared.repository.trees import datetime_of, rfc3339_of
from shared.repository.writer import BlobWriter
from shared.storage.blob_store import BlobStore
from tests.faults.helpers import PASSWORD, change_share, make_share
from tests.faults.simulated import SimulatedSite, simulated_site
from tests.standins.restic import StockRestic
from tests.unit.repository.model import ALL, Model

GARBAGE = b"nothing that anybody needs"


def pack_that_claims(repository: Repository, ids: Iterable[bytes], *, tree: bool = False) -> IndexedPack:
    """Store a pack whose header lists blobs that are not what their ids say."""
    blobs = [SealedBlob(blob_id, repository.key.seal(GARBAGE), 0) for blob_id in ids]
    pack, body = build_pack(repository.key, blobs, tree=tree)
    repository.store.put(pack_name(pack.id), body)
    return pack


def data_blobs(repository: Repository) -> list[bytes]:
    files = IndexFiles.read(repository)
    return sorted({blob.id for number in range(len(files)) for blob in files.blobs(number) if not blob.is_tree})


def packs(repository: Repository) -> list[IndexedPack]:
    files = IndexFiles.read(repository)
    return [files.pack(number) for number in range(len(files))]


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return Model.make(tmp_path / "share")


def readable(repository: Repository) -> set[bytes]:
    """The content of every data blob that lies where an index says."""
    found = set()
    for pack in packs(repository):
        for blob in pack.blobs:
            location = Location(pack.id, blob.offset, blob.length, blob.plain_length)
            with suppress(Damaged, BlobNotFound):
                sealed = repository.store.get(pack_name(pack.id), blob.offset, blob.length)
                found.add(open_blob(repository.key, sealed, blob.id, location))
    return found


def _content(number: int) -> bytes:
    return b"%d " % number * 250


def _kept(model: Model) -> set[str]:
    """A kept snapshot and a forgotten one that share a pack. Returns the names of packs."""
    model.pack(_content(1), _content(2), _content(3))
    model.forget([model.back_up({"a": [_content(1), _content(9)]})])
    model.back_up({"a": [_content(1)], "b": [_content(2)]})
    return model.names("data/")


def _prune_until_all_is_swept(model: Model, limits: PruneLimits) -> None:
    marked: set[str] = set()
    for _ in range(4):
        marked |= set(model.mark(limits).marked)
        model.sweep(marked)


@pytest.mark.parametrize("limits", [ALL, PruneLimits(max_unused=1.0, max_repack_bytes=0)], ids=["repacking", "not"])
def test_an_index_file_that_claims_that_needed_blobs_lie_in_a_garbage_pack_costs_none_of_them_fault_34(
    model: Model, limits: PruneLimits
) -> None:
    _kept(model)
    repository = model.open()
    wanted = {_content(1), _content(2)}
    repository.write_index([pack_that_claims(repository, data_blobs(repository))])
    _prune_until_all_is_swept(model, limits)
    assert wanted <= readable(model.open())


@pytest.mark.parametrize("limits", [ALL, PruneLimits(max_unused=1.0, max_repack_bytes=0)], ids=["repacking", "not"])
def test_an_index_file_that_names_good_packs_at_wrong_places_costs_none_of_them_fault_34(
    model: Model, limits: PruneLimits
) -> None:
    _kept(model)
    repository = model.open()
    wanted = {_content(1), _content(2)}
    false = [
        IndexedPack(pack.id, tuple(blob._replace(offset=blob.offset + 7) for blob in pack.blobs))
        for pack in packs(repository)
    ]
    false_name = repository.write_index(false)[0]
    repository.write_index([pack_that_claims(repository, data_blobs(repository))])
    _prune_until_all_is_swept(model, limits)
    assert wanted <= readable(model.open())
    model.store.delete(false_name)
    assert wanted <= readable(model.open()), "what is left does not need the false index file"


def test_a_garbage_tree_pack_stops_the_prune_and_is_named_fault_34(model: Model) -> None:
    _kept(model)
    repository = model.open()
    trees = [blob.id for pack in packs(repository) for blob in pack.blobs if blob.is_tree]
    garbage = pack_that_claims(repository, trees, tree=True)
    repository.write_index([garbage])
    before = model.names("")
    with pytest.raises(Damaged) as told:
        model.mark()
    assert told.value.object == pack_name(garbage.id)
    assert model.names("") == before


# --- a whole site ---

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DAYS, BAD_DAY = 28, 12
SETTINGS = {
    "KEEP_LAST": "2",
    "KEEP_DAILY": "5",
    "KEEP_WEEKLY": "3",
    "KEEP_MONTHLY": "1",
    "KEEP_WITHIN": "1d",
    "PROTECT_FOR": "6d",
    "PRUNE_WAIT": "1d",
    "PRUNE_MAX_UNUSED": "0",
    "UNDELETE_FOR": "5d",
}
FORGED_RECORDS = 500


@dataclass
class Flood:
    """What somebody adds with the rights of the backup app."""

    site: SimulatedSite
    chance: random.Random

    @property
    def records(self) -> BlobStore:
        return self.site.vault.records

    def repository(self) -> Repository:
        return Repository.open(self.site.vault.share, PASSWORD)

    def everything(self) -> None:
        self.journals()
        garbage = [self.snapshot() for _ in range(10)]
        good = [point for point in Catalog(self.records).newest_first() if isinstance(point, RecoveryPoint)]
        ids = [self.record(self.chance.choice(good), garbage) for _ in range(FORGED_RECORDS)]
        for point in self.chance.sample(ids, 30):
            self.results(point)
        self.index_files()

    def record(self, good: RecoveryPoint, garbage: Sequence[str]) -> str:
        chance = self.chance
        share = dict(good.components["share"])
        time = chance.choice(
            [
                self.site.now,
                self.site.now - chance.randrange(60) * DAY,
                self.site.now + chance.randrange(400) * DAY,
                datetime(1970, 1, 1, tzinfo=UTC),
                datetime(9999, 12, 31, tzinfo=UTC),
                datetime_of(good.time),
            ]
        )
        share["files"] = chance.choice([0, 1, 2, share["files"], 2**62, 1e300, -5, "many"])
        share["accepted"] = chance.choice([True, False])
        share["snapshot"] = chance.choice([good.snapshot, chance.choice(garbage), "ff" * 32])
        share["status"] = chance.choice(["complete", "partial", "failed"])
        forged = replace(
            good,
            point=new_id(time, f"{chance.getrandbits(24):06x}"),
            time=rfc3339_of(time),
            status=chance.choice(["complete", "complete", "partial", "failed"]),
            whole=chance.choice([True, True, False]),
            suspect=chance.choice([True, False, False]),
            without=chance.choice([[], ["share"], ["databases", "secrets"]]),
            components={"share": share},
            duration_seconds=chance.choice([1.0, 1e300, -7.0, 86_400.0]),
        )
        Catalog(self.records).add(forged)
        return forged.point

    def snapshot(self) -> str:
        """Of an empty share."""
        repository = self.repository()
        repository.load_index()
        with BlobWriter(repository) as writer:
            tree = writer.save(b'{"nodes":[]}\n', tree=True).hex()
        return repository.save_unpacked(
            "snapshots",
            orjson.dumps(
                {
                    "time": rfc3339_of(self.site.now),
                    "tree": tree,
                    "paths": ["/site"],
                    "hostname": secrets.token_hex(4),
                    "program_version": "lifeboat 99",
                }
            ),
        )

    def journals(self) -> None:
        """Everything is marked and deleted, long ago, today and in years."""
        names = [
            f"{container}/{blob.name}"
            for container in ("share", "recovery-points")
            for blob in self.site.vault.versions(container).list("")
        ]
        points = tuple(Catalog(self.records).ids())
        for days in (-300, 0, 3000):
            put_journal(
                self.records,
                Journal(self.site.now + days * DAY, points=points, deletes=tuple(names), marks=tuple(names)),
            )

    def results(self, point: str) -> None:
        """It was read back whole, and drilled."""
        put_verification(self.records, Verification(POINT, point, self.site.now))
        put_drill_result(self.records, point, self.site.now, {"status": "ok", "rto_seconds": 1.0})

    def index_files(self) -> None:
        repository = self.repository()
        there = packs(repository)
        shifted = [
            IndexedPack(pack.id, tuple(blob._replace(offset=blob.offset + 7) for blob in pack.blobs)) for pack in there
        ]
        gone = [IndexedPack(secrets.token_bytes(32), pack.blobs) for pack in there]
        for entries in (shifted, gone, [pack_that_claims(repository, data_blobs(repository))]):
            repository.write_index(entries)
        pack_that_claims(repository, data_blobs(repository))


def _month(site: SimulatedSite, flood: Callable[[SimulatedSite], None]) -> list[str]:
    """A backup a day, and the keeper's timers. Returns the good points that were made, by day."""
    made = []
    for day in range(DAYS):
        change_share(site.share, day)
        point = site.back_up()
        if point.status != "complete":  # somebody claims a share that was far larger: a person is asked, and looks
            assert [reason["code"] for reason in point.reasons] == ["share-shrank"]
            point = site.back_up(allow_shrink=True)
        assert point.status == "complete", (day, point.reasons)
        made.append(point.point)
        site.pass_by(HOUR)
        if day == BAD_DAY:
            flood(site)
        site.pass_by(8 * HOUR)
        site.protect()
        if day % 3 == 0:
            site.prune()
        site.pass_by(DAY - 9 * HOUR)
    return made


SEEDS = [34 + number for number in range(int(os.environ.get("LIFEBOAT_TEST_EXAMPLES", "1")))]


@pytest.mark.parametrize("seed", SEEDS)
def test_after_a_month_with_a_flood_every_good_point_is_there_that_would_be_without_it_fault_34(
    tmp_path: Path, newest_restic: StockRestic, seed: int
) -> None:
    with simulated_site(make_share(tmp_path / "peace" / "site", large=False), settings=SETTINGS) as peace:
        made = _month(peace, lambda site: None)
        kept = {made.index(point) for point in peace.points()}
    with simulated_site(make_share(tmp_path / "war" / "site", large=False), settings=SETTINGS) as site:
        made = _month(site, lambda site: Flood(site, random.Random(seed)).everything())
        there = {made.index(point) for point in site.points() if point in made}
        assert kept <= there
        site.judged_by(newest_restic, tmp_path / "judge")
        for day in there:
            assert site.restored(made[day], tmp_path / str(day)) == site.told[made[day]]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[SimulatedSite]:
    with simulated_site(make_share(tmp_path / "site", large=False), settings=SETTINGS) as made:
        for day in range(12):
            change_share(made.share, day)
            made.back_up()
            made.pass_by(DAY)
        yield made


@pytest.mark.parametrize(
    ("container", "name"),
    [
        ("recovery-points", "points/20260301T000000Z-abcdef.json"),
        ("recovery-points", "prunes/20260301T000000Z-abcdef.json"),
        ("share", f"index/{'ab' * 32}"),
        ("share", f"snapshots/{'ab' * 32}"),
    ],
)
def test_what_nobody_can_read_stops_the_keeper_which_says_why_fault_34(
    site: SimulatedSite, container: str, name: str
) -> None:
    site.vault.versions(container).put(name, b"garbage")
    kept, there = site.points(), site.names("data/")
    try:
        told = " ".join(str(reason["object"]) for reason in site.prune().reasons)
    except Damaged as error:
        told = str(error.object)
    assert name in told
    assert (site.points(), site.names("data/")) == (kept, there)
    if not name.startswith("snapshots/"):  # a snapshot that no point names is nothing that has to be protected
        assert name.rpartition("/")[2] in " ".join(str(reason["object"]) for reason in site.protect().reasons)


def test_each_point_restores_at_once_and_after_a_prune_whatever_garbage_packs_claim_fault_34(
    site: SimulatedSite, tmp_path: Path
) -> None:
    repository = Flood(site, random.Random(1)).repository()
    for _ in range(8):  # so that one of them is listed before the true one
        repository.write_index([pack_that_claims(repository, data_blobs(repository))])
    for point in site.points():
        assert site.restored(point, tmp_path / "at once" / point) == site.told[point]
    pruned = site.prune()
    assert pruned.status == "ok"
    assert "8 packs do not hold what an index says of them" in " ".join(pruned.notes)
    site.pass_by(2 * DAY)
    assert site.prune().status == "ok"
    assert site.findings() == []
    for point in site.points():
        assert site.restored(point, tmp_path / "pruned" / point) == site.told[point]
