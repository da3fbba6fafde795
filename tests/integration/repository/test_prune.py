"""Stock restic judges what is left after a prune, and every snapshot that is kept restores byte for byte."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.repository.locks import HeldLock
from shared.repository.needs import find_needs
from shared.repository.prune import PruneLimits, carry_out, plan_prune, sweepable
from shared.repository.repository import Repository
from tests.examples import examples
from tests.faults.helpers import contents
from tests.integration.repository.helpers import PASSWORD, FolderVault, back_up, check, facts
from tests.standins.restic import ResticRepository, StockRestic
from tests.unit.repository.model import ALL, Model

Files = dict[str, list[bytes]]


def prune(repository: Repository, limits: PruneLimits = ALL) -> set[str]:
    """Mark and sweep at once, with the lock, as the keeper does it but for its waiting time; returns what was swept."""
    with HeldLock(repository, exclusive=True, hostname="keeper") as lock:
        plan = plan_prune(repository, list(repository.list_ids("snapshots")), limits, check=lock.check)
        change = carry_out(repository, plan, check=lock.check)
        for name in change.obsolete_indexes:
            repository.store.delete(name)
        swept = sweepable(repository, change.marked, check=lock.check)
        for name in swept:
            repository.store.delete(name)
    return set(swept)


def stock_has_nothing_to_remove(judge: ResticRepository) -> None:
    """It may repack all the same: a pack in which a tree is not compressed, which it never does itself."""
    assert "total prune:           0 blobs / 0 B" in judge.run("prune", "--dry-run", "--max-unused", "0")


def _blobs() -> st.SearchStrategy[list[bytes]]:
    return st.lists(st.integers(0, 12).map(lambda number: b"%d " % number * (100 + 400 * (number % 3))), max_size=3)


def _files() -> st.SearchStrategy[Files]:
    return st.dictionaries(st.sampled_from(["a", "b", "c", "d/a", "d/b", "e/a", "e/c"]), _blobs(), max_size=5)


_folders = itertools.count()


@examples(12)
@given(
    backups=st.lists(st.tuples(_files(), st.booleans()), min_size=1, max_size=6),
    max_unused=st.sampled_from([0.0, 0.1, 1.0]),
    max_repack_bytes=st.sampled_from([0, 1500, 1 << 30]),
    version=st.sampled_from([1, 2]),
)
def test_whatever_is_kept_restores_and_the_repository_is_clean(
    tmp_path: Path,
    newest_restic: StockRestic,
    backups: list[tuple[Files, bool]],
    max_unused: float,
    max_repack_bytes: int,
    version: int,
) -> None:
    folder = tmp_path / f"{next(_folders)}"
    model = Model.make(folder / "share", version=version)
    snapshots = {}
    for files, kept in backups:
        snapshot = model.back_up(files)
        snapshots[snapshot] = files
        if not kept:
            model.forget([snapshot])
            del snapshots[snapshot]
    limits = PruneLimits(max_unused, max_repack_bytes)
    prune(model.open(), limits)
    assert model.findings() == []
    judge = newest_restic.on_folder(folder / "share", "correct horse battery")
    judge.check()
    for number, (snapshot, files) in enumerate(snapshots.items()):
        restored = judge.restore(folder / f"restored{number}", snapshot)
        assert contents(restored) == {path: b"".join(blobs) for path, blobs in files.items()}
    plan = model.plan(limits)
    assert plan.remove_packs.keys() == plan.repack.keys(), "what is left to do is what the limit left"
    if max_repack_bytes > 1500:
        before = model.names("")
        assert prune(model.open(), limits) == set()
        assert model.names("") == before
        assert plan.unused_bytes <= max_unused * (plan.used_bytes + plan.unused_bytes)
    if max_repack_bytes > 1500 and max_unused == 0:
        assert find_needs(model.open(), list(snapshots)).used_packs().keys() == model.names("data/")


def _change_and_add(folder: Path, number: int) -> None:
    (folder / "text").chmod(0o644)
    (folder / "text").write_bytes(b"changed %d\n" % number * 40_000)
    (folder / f"new{number}").write_bytes(bytes([number]) * 100_000)
    (folder / "random").unlink(missing_ok=True)


def test_of_three_backups_the_first_is_forgotten_and_the_others_stay(
    folder_vault: FolderVault, odd_tree: Path, stock_restic: StockRestic, tmp_path: Path
) -> None:
    snapshots: list[str] = []
    expected = []
    for number in range(3):
        if number:
            _change_and_add(odd_tree, number)
        parent = snapshots[-1] if snapshots else None
        snapshots.append(back_up(folder_vault.open(), odd_tree, parent=parent, shards=2)["snapshot"])
        expected.append(facts(odd_tree))
    judge = folder_vault.seen_by(stock_restic)
    folder_vault.share.delete(f"snapshots/{snapshots[0]}")
    before = _bytes(folder_vault)
    assert prune(folder_vault.open())
    assert _bytes(folder_vault) < before - (3 << 20), "of the file 'random'"
    judge.check()
    assert check(folder_vault.share) == []
    for number in (1, 2):
        restored = judge.restore(tmp_path / f"{number}", snapshots[number])
        assert facts(restored / "site") == expected[number]
    stock_has_nothing_to_remove(judge)


def _bytes(vault: FolderVault) -> int:
    return sum(blob.size_bytes for blob in vault.share.list("data/"))


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_repository_that_stock_restic_wrote_is_pruned_fault_33(
    folder_vault: FolderVault, odd_tree: Path, newest_restic: StockRestic, tmp_path: Path, version: str
) -> None:
    (odd_tree / "link").unlink()
    (odd_tree / "fifo").unlink()
    _ = folder_vault.share
    judge = folder_vault.seen_by(newest_restic)
    judge.run("init", "--repository-version", version)
    judge.backup("site", cwd=odd_tree.parent)
    _change_and_add(odd_tree, 1)
    judge.backup("site", cwd=odd_tree.parent)
    judge.run("forget", judge.snapshots()[0]["id"])
    before = _bytes(folder_vault)
    assert prune(Repository.open(folder_vault.share, PASSWORD))
    assert _bytes(folder_vault) < before
    judge.check()
    assert facts(judge.restore(tmp_path / "restored") / "site") == facts(odd_tree)
    stock_has_nothing_to_remove(judge)


def test_snapshots_of_stock_restic_beside_ours_keep_what_they_need(
    folder_vault: FolderVault, odd_tree: Path, newest_restic: StockRestic, tmp_path: Path
) -> None:
    ours = back_up(folder_vault.open(), odd_tree)["snapshot"]
    (odd_tree / "link").unlink()
    (odd_tree / "fifo").unlink()
    _change_and_add(odd_tree, 1)
    judge = folder_vault.seen_by(newest_restic)
    judge.backup("site", cwd=odd_tree.parent, options=("--parent", ours))
    folder_vault.share.delete(f"snapshots/{ours}")
    assert prune(folder_vault.open())
    judge.check()
    assert facts(judge.restore(tmp_path / "theirs") / "site") == facts(odd_tree)


def test_after_a_prune_of_stock_restic_ours_has_nothing_to_do(
    folder_vault: FolderVault, odd_tree: Path, newest_restic: StockRestic
) -> None:
    first = back_up(folder_vault.open(), odd_tree)["snapshot"]
    _change_and_add(odd_tree, 1)
    back_up(folder_vault.open(), odd_tree, parent=first)
    folder_vault.share.delete(f"snapshots/{first}")
    folder_vault.seen_by(newest_restic).run("prune", "--max-unused", "0")
    before = {blob.name for blob in folder_vault.share.list("")}
    assert prune(folder_vault.open()) == set()
    assert {blob.name for blob in folder_vault.share.list("")} == before


def test_a_backup_after_a_prune_goes_on_from_what_is_left(
    folder_vault: FolderVault, odd_tree: Path, newest_restic: StockRestic, tmp_path: Path
) -> None:
    first = back_up(folder_vault.open(), odd_tree)["snapshot"]
    copy = shutil.copytree(odd_tree, tmp_path / "copy", ignore=shutil.ignore_patterns("fifo", "link"), symlinks=True)
    _change_and_add(odd_tree, 1)
    second = back_up(folder_vault.open(), odd_tree, parent=first)["snapshot"]
    folder_vault.share.delete(f"snapshots/{first}")
    prune(folder_vault.open())
    shutil.copy2(copy / "random", odd_tree / "random")
    third = back_up(folder_vault.open(), odd_tree, parent=second)
    assert third["outcome"]["counts"]["files_new"] == 1
    judge = folder_vault.seen_by(newest_restic)
    judge.check()
    assert facts(judge.restore(tmp_path / "third", third["snapshot"]) / "site") == facts(odd_tree)
