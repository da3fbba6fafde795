"""The repository's prune, killed at any storage call, refused, or racing a backup that slept: nothing is lost."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import pytest

from shared.errors import BlobProtected
from shared.fileshare.backup import ShareBackup
from shared.fileshare.local_source import LocalSource
from shared.repository.checker import Checker
from shared.repository.locks import HeldLock, release
from shared.repository.prune import PruneLimits, carry_out, plan_prune, sweepable
from shared.repository.repository import Repository
from shared.settings import Settings
from shared.storage.blob_store import BlobStore
from shared.storage.local_folder import LocalFolderStore
from tests.faults.helpers import (
    PASSWORD,
    FolderVault,
    Killed,
    StopAtCall,
    Watched,
    back_up,
    change_share,
    contents,
    make_share,
    quick,
)
from tests.standins.restic import StockRestic

LIMITS = PruneLimits(max_unused=0.0, max_repack_bytes=1 << 30)


@dataclass
class Kept:
    """A vault of three runs of which the first is forgotten, and what the other two must restore to."""

    vault: FolderVault
    source: Path
    expected: dict[str, dict[str, bytes]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.vault.folder / "share"

    def copy(self, folder: Path) -> Kept:
        shutil.copytree(self.vault.folder, folder)
        return Kept(FolderVault(folder), self.source, self.expected)

    def findings(self) -> list[str]:
        repository = Repository.open(LocalFolderStore(self.folder), PASSWORD)
        return [f"{finding.object}: {finding.message}" for finding in Checker(repository).run(read_data=True)]

    def names(self, prefix: str = "") -> set[str]:
        return {blob.name for blob in self.vault.judge().list(prefix)}

    def is_judged_good(self, judge: StockRestic, folder: Path) -> None:
        """Stock restic reads every byte, and restores what is kept."""
        repository = judge.on_folder(self.folder, PASSWORD)
        repository.run("check", "--read-data", "--no-lock")
        assert {snapshot["id"] for snapshot in repository.snapshots()} >= self.expected.keys()
        for snapshot, expected in self.expected.items():
            restored = repository.restore(folder / snapshot[:8], snapshot, "--no-lock")
            assert contents(restored / "site") == expected


@pytest.fixture(autouse=True)
def _small_packs() -> Iterator[None]:
    """So that a repack fills several, and writes several index files."""
    with (
        quick(),
        patch("shared.repository.prune.DATA_PACK_BYTES", 16 << 10),
        patch("shared.repository.index.MOST_BLOBS_IN_A_FILE", 8),
    ):
        yield


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    made = Kept(FolderVault(tmp_path / "vault"), make_share(tmp_path / "source" / "site"))
    first = back_up(made.vault, made.source)
    for number in (1, 2):
        change_share(made.source, number)
        (made.source / "large.bin").unlink(missing_ok=True)
        for path in (made.source / "site1").iterdir():
            path.write_bytes(path.read_bytes()[::-1])
        snapshot = back_up(made.vault, made.source).snapshot
        assert snapshot is not None
        made.expected[snapshot] = contents(made.source)
    made.vault.judge().delete(f"snapshots/{first.snapshot}")
    yesterday = time.time() - 86400
    for pack in made.vault.judge().list("data/"):
        os.utime(made.folder / pack.name, (yesterday, yesterday))
    return made


def prune(store: BlobStore, key: Repository, marked: set[str]) -> tuple[set[str], list[str]]:
    """As the keeper does it: plan, carry out, delete index files, then sweep what was marked earlier.

    Returns what is marked now, and the packs and index files that were written. Deletions that the vault refuses are
    left for the next time.
    """
    repository = Repository(store, key.key, key.config)
    with HeldLock(repository, exclusive=True, hostname="keeper") as lock:
        plan = plan_prune(repository, list(repository.list_ids("snapshots")), LIMITS, check=lock.check)
        change = carry_out(repository, plan, check=lock.check)
        for name in change.obsolete_indexes:
            _delete(store, name)
        for name in sweepable(repository, marked, check=lock.check):
            _delete(store, name)
        return set(change.marked), change.written


def _delete(store: BlobStore, name: str) -> None:
    try:
        store.delete(name)
    except BlobProtected:
        return  # told by the keeper; here the blob itself says it


def _opened(kept: Kept) -> Repository:
    return Repository.open(kept.vault.judge(), PASSWORD)


def _without_locks(kept: Kept) -> None:
    """Half an hour later."""
    for name in kept.names("locks/"):
        kept.vault.judge().delete(name)


def test_marking_and_sweeping_killed_at_every_storage_call_is_completed_by_the_next_prune_fault_1(
    tmp_path: Path, kept: Kept, newest_restic: StockRestic
) -> None:
    key = _opened(kept)
    done = kept.copy(tmp_path / "done")
    marked, written = prune(done.vault.judge(), key, set())
    assert len([name for name in written if name.startswith("data/")]) > 1
    assert len([name for name in written if name.startswith("index/")]) > 1
    assert prune(done.vault.judge(), key, marked)[1] == []
    end = len(done.names("data/"))
    call = 0
    while True:
        run = kept.copy(tmp_path / f"run{call}")
        store = Watched(run.vault.judge(), before=StopAtCall(call))
        killed = False
        marks: set[str] = set()
        try:
            marks, _ = prune(store, key, set())
            prune(store, key, marks)
        except Killed:
            killed = True
        assert run.findings() == [], call
        if not killed:
            break
        _without_locks(run)
        if call % 12 == 0:
            run.is_judged_good(newest_restic, tmp_path / f"killed{call}")
        marks = prune(run.vault.judge(), key, marks)[0]
        _, written = prune(run.vault.judge(), key, marks)
        assert written == [], call
        assert run.findings() == [], call
        assert len(run.names("data/")) <= end, "nothing is left over"
        if call % 12 == 0:
            run.is_judged_good(newest_restic, tmp_path / f"completed{call}")
        call += 1
    assert call > 40
    run.is_judged_good(newest_restic, tmp_path / "restored")


def test_index_files_that_the_vault_refuses_to_delete_keep_their_packs_until_they_go_fault_32(
    tmp_path: Path, kept: Kept, newest_restic: StockRestic
) -> None:
    key, store = _opened(kept), kept.vault.judge()
    protected = kept.names("index/")

    def refuse(kind: str, name: str) -> None:
        if kind == "delete" and name in protected:
            raise BlobProtected(f"{name} may not be deleted before its date", blob=name)

    marked, written = prune(Watched(store, before=refuse), key, set())
    assert written
    before = kept.names()
    for _ in range(2):
        again, written = prune(Watched(store, before=refuse), key, marked)
        assert (again, written) == (marked, [])
        assert kept.names() == before
        assert kept.findings() == []
    protected.clear()
    prune(Watched(store, before=refuse), key, marked)
    assert kept.names("data/").isdisjoint(marked)
    assert kept.findings() == []
    kept.is_judged_good(newest_restic, tmp_path / "restored")


def test_packs_that_the_vault_refuses_to_delete_are_swept_when_it_does_no_more_fault_32(kept: Kept) -> None:
    key, store = _opened(kept), kept.vault.judge()
    marked, _ = prune(store, key, set())

    def refuse(kind: str, name: str) -> None:
        if kind == "delete" and name.startswith("data/"):
            raise BlobProtected(f"{name} may not be deleted before its date", blob=name)

    assert prune(Watched(store, before=refuse), key, marked) == (marked, [])
    assert marked <= kept.names("data/")
    assert prune(store, key, marked)[1] == []
    assert kept.names("data/").isdisjoint(marked)
    assert kept.findings() == []


def _steps(kept: Kept) -> ShareBackup:
    settings = Settings.from_environment({"LIFEBOAT_SHARE_URL": kept.source.as_uri()})
    return ShareBackup(settings.share(), _opened(kept), lambda _: LocalSource(kept.source))


def _sleeper(kept: Kept, *, wakes: str, meanwhile: Callable[[], None]) -> str:
    """A backup that is put to sleep before it writes anything, or before its snapshot; returns that.

    It brings back what only the forgotten snapshot has, so it relies on packs that a prune marks.
    """
    (kept.source / "large.bin").write_bytes(bytes(range(256)) * 2600)
    backup = _steps(kept)
    plan = backup.plan(shards=1, parent=None, look=False)
    if wakes == "before its packs":
        meanwhile()
    results = [backup.backup_shard(plan, items) for items in plan["shards"]]
    if wakes == "before its snapshot":
        meanwhile()
    snapshot: str = backup.join(plan, results)["snapshot"]
    kept.expected[snapshot] = contents(kept.source)
    return snapshot


@pytest.mark.parametrize("wakes", ["before its packs", "before its snapshot"])
def test_a_backup_that_slept_through_a_mark_is_made_good_by_the_next_prune_fault_16(
    tmp_path: Path, kept: Kept, newest_restic: StockRestic, wakes: str
) -> None:
    key, store = _opened(kept), kept.vault.judge()
    marked: set[str] = set()

    def mark() -> None:
        marked.update(prune(store, key, set())[0])
        assert marked

    _sleeper(kept, wakes=wakes, meanwhile=mark)
    assert kept.findings() != [], "no index names what it relied on"
    now_marked, written = prune(store, key, marked)
    assert written
    assert kept.findings() == [], "it is named again, or copied"
    prune(store, key, now_marked)
    assert kept.findings() == []
    kept.is_judged_good(newest_restic, tmp_path / "restored")


def test_a_prune_whose_lock_is_gone_says_nothing_deletable_fault_14(kept: Kept) -> None:
    repository = _opened(kept)
    before = kept.names()
    with (
        patch("shared.repository.locks.REFRESH_SECONDS", 0.01),
        HeldLock(repository, exclusive=True, hostname="keeper") as lock,
    ):
        release(repository, lock.lock_id)
        lock._thread.join()
        for step in (
            lambda: plan_prune(repository, [], LIMITS, check=lock.check),
            lambda: sweepable(repository, before, check=lock.check),
        ):
            with pytest.raises(Exception, match="our lock on the repository was removed"):
                step()
    assert kept.names() == before
