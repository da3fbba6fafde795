"""Fault 17: our clock is wrong, or steps back between two runs. Nothing that was acknowledged is lost by it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from unittest.mock import patch

import pytest

from shared.errors import RepositoryLocked
from shared.recovery_point.record import RecoveryPoint
from shared.repository.checker import Checker
from shared.repository.locks import HeldLock
from shared.repository.repository import Repository
from tests.faults.helpers import PASSWORD, FolderVault, back_up, change_share, contents, make_share, restore
from tests.standins.restic import StockRestic


@pytest.fixture
def share(tmp_path: Path) -> Path:
    return make_share(tmp_path / "source" / "site", large=False)


@pytest.fixture
def vault(tmp_path: Path) -> FolderVault:
    return FolderVault(tmp_path / "vault")


def _back_up_at(vault: FolderVault, share: Path, skew: timedelta) -> RecoveryPoint:
    """A backup by a machine whose clock is wrong by ``skew``; the storage's is right."""
    real = datetime

    class Skewed(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return real.now(tz) + skew

    ahead_ns = int(skew.total_seconds()) * 1_000_000_000
    with (
        patch("shared.recovery_point.backup.datetime", Skewed),
        patch("shared.repository.locks.datetime", Skewed),
        patch("shared.fileshare.backup.time.time_ns", lambda: int(real.now(UTC).timestamp() * 1e9) + ahead_ns),
    ):
        return back_up(vault, share)


@pytest.mark.parametrize("skews", [(0, 24 * 400, 0), (0, -24 * 400, 0), (48, 0, -48)], ids=str)
def test_points_of_a_clock_that_jumps_all_restore_to_what_was_there_fault_17(
    vault: FolderVault, share: Path, newest_restic: StockRestic, tmp_path: Path, skews: tuple[int, ...]
) -> None:
    wanted = {}
    for number, hours in enumerate(skews):
        change_share(share, number)
        point = _back_up_at(vault, share, timedelta(hours=hours))
        assert point.status == "complete", point.reasons
        wanted[point.point] = contents(share)
    assert len(wanted) == 3
    for point_id, there in wanted.items():
        assert restore(vault, tmp_path / point_id, point_id).result.status == "complete"
        assert contents(tmp_path / point_id) == there
    assert list(Checker(Repository.open(vault.judge(), PASSWORD)).run(read_data=True)) == []
    newest_restic.on_folder(vault.folder / "share", PASSWORD).check()


@pytest.mark.parametrize("hours", [-48, 48])
def test_a_run_with_a_wrong_clock_gives_way_to_an_exclusive_lock_that_is_fresh_fault_17(
    vault: FolderVault, share: Path, hours: int
) -> None:
    back_up(vault, share)
    repository = Repository.open(vault.judge(), PASSWORD)
    with patch("shared.repository.locks.SETTLE_SECONDS", 0.0), HeldLock(repository, exclusive=True, hostname="keeper"):
        held = [blob.name for blob in vault.judge().list("locks/")]
        with pytest.raises(RepositoryLocked):
            _back_up_at(vault, share, timedelta(hours=hours))
        assert [blob.name for blob in vault.judge().list("locks/")] == held
