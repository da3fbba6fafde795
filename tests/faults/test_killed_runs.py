"""Fault 1: the run ends at any storage call. What was acknowledged stays, and the next run completes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from shared.repository.checker import Checker
from shared.repository.repository import Repository
from tests.faults.helpers import PASSWORD, FolderVault, Killed, StopAtCall, back_up, change_share, contents, make_share
from tests.standins.restic import ResticRepository, StockRestic


@pytest.fixture
def share(tmp_path: Path) -> Path:
    return make_share(tmp_path / "source" / "site")


def _check(vault: FolderVault) -> list[str]:
    checker = Checker(Repository.open(vault.judge(), PASSWORD))
    return [f"{finding.object}: {finding.message}" for finding in checker.run(read_data=True)]


def _locks(vault: FolderVault) -> int:
    return sum(1 for _ in vault.judge().list("locks/"))


def _killed_at(vault: FolderVault, share: Path, call: int, **request: bool | int) -> bool:
    """Run a backup of which only ``call`` storage calls happen; False when that was enough for all of it."""
    vault.before = StopAtCall(call)
    try:
        back_up(vault, share, **request)
    except Killed:
        return True
    finally:
        vault.before = lambda kind, name: None
    return False


def _judge(vault: FolderVault, judge: StockRestic) -> ResticRepository:
    return judge.on_folder(vault.folder / "share", PASSWORD)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_first_run_killed_at_every_storage_call_is_finished_by_the_next_fault_1_and_39(
    tmp_path: Path, share: Path, newest_restic: StockRestic, workers: int
) -> None:
    call = 0
    while True:
        vault = FolderVault(tmp_path / f"vault{call}")
        if not _killed_at(vault, share, call, workers=workers):
            break
        if vault.judge().stat("config"):
            assert _check(vault) == [], call
        point = back_up(vault, share, workers=workers)
        assert point.status == "complete", call
        assert _check(vault) == [], call
        assert sum(1 for _ in vault.judge().list("keys/")) == 1, call
        assert sum(1 for _ in vault.judge("recovery-points").list("init")) == 1, call
        assert _locks(vault) <= 1, "the killed run's own, which excludes nobody"
        call += 1
    assert call > 20
    _judge(vault, newest_restic).run("check", "--read-data")


def test_a_second_run_killed_at_every_storage_call_keeps_the_first_and_is_finished_by_the_next_fault_1(
    tmp_path: Path, share: Path, newest_restic: StockRestic
) -> None:
    original = FolderVault(tmp_path / "vault")
    first = back_up(original, share)
    before = contents(share)
    change_share(share, 1)
    call = 0
    while True:
        vault = FolderVault(shutil.copytree(original.folder, tmp_path / f"vault{call}"))
        if not _killed_at(vault, share, call):
            break
        assert _check(vault) == [], call
        point = back_up(vault, share)
        assert point.status == "complete", call
        assert _check(vault) == [], call
        assert _locks(vault) <= 1, "the killed run's own, which excludes nobody"
        call += 1
    assert call > 20
    judge = _judge(FolderVault(tmp_path / f"vault{call - 2}"), newest_restic)
    judge.run("check", "--read-data", "--no-lock")
    last = judge.snapshots()[-1]["id"]
    assert first.snapshot is not None
    assert contents(judge.restore(tmp_path / "first", first.snapshot) / "site") == before
    assert contents(judge.restore(tmp_path / "last", last) / "site") == contents(share)


def test_killed_between_the_snapshot_and_the_record_the_next_run_compares_with_the_snapshot_fault_2(
    tmp_path: Path, share: Path
) -> None:
    vault = FolderVault(tmp_path / "vault")

    def stop(kind: str, name: str) -> None:
        if kind == "put" and name.startswith("points/"):
            vault.before = stop_all
            raise Killed

    def stop_all(kind: str, name: str) -> None:
        raise Killed

    vault.before = stop
    with pytest.raises(Killed):
        back_up(vault, share)
    vault.before = lambda kind, name: None
    (snapshot,) = vault.judge().list("snapshots/")
    assert list(vault.judge("recovery-points").list("points/")) == []
    point = back_up(vault, share)
    assert point.status == "complete"
    assert point.share is not None
    assert point.share["parent"] == snapshot.name.removeprefix("snapshots/")
    assert point.share["bytes_read"] == 0


def test_what_a_killed_run_stored_and_indexed_is_not_stored_again(tmp_path: Path, share: Path) -> None:
    vault = FolderVault(tmp_path / "vault")

    def stop(kind: str, name: str) -> None:
        if name.startswith("snapshots/") and kind == "put":
            raise Killed

    vault.before = stop
    with pytest.raises(Killed):
        back_up(vault, share)
    vault.before = lambda kind, name: None
    packs = {blob.name for blob in vault.judge().list("data/")}
    assert len(packs) > 3
    back_up(vault, share)
    new = {blob.name for blob in vault.judge().list("data/")} - packs
    assert sum(len(vault.judge().get(name)) for name in new) < 8192, "the root's tree at most, and run state"
