"""Locks: who excludes whom, whose age counts, and what is left behind. With the rights of the backup app where it is
the vault: it may delete under ``locks/`` only."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from shared.errors import RepositoryLocked, StorageUnavailable
from shared.repository.initialise import GivenPassword, open_or_initialise
from shared.repository.locks import HeldLock, acquire, refresh, release
from shared.repository.repository import Repository
from shared.storage.blob_store import BlobInfo, BlobStore
from tests.conftest import Vault
from tests.faults.helpers import Watched
from tests.integration.repository.helpers import PASSWORD, FolderVault
from tests.standins.restic import ResticRefused, StockRestic


def no_wait(seconds: float) -> None:
    """In place of the time between the two looks."""


def take(repository: Repository, *, exclusive: bool, wait_seconds: float = 0, **more: Callable[[float], None]) -> str:
    return acquire(
        repository, exclusive=exclusive, hostname="here", wait_seconds=wait_seconds, **({"sleep": no_wait} | more)
    )


class Aged:
    """A store whose clock is far from ours, and in whose listings some locks are older than they are."""

    def __init__(self, inner: BlobStore, skew: timedelta = timedelta()) -> None:
        self._watched = Watched(inner)
        self._skew = skew
        self.ages: dict[str, timedelta] = {}
        self.put = self._watched.put
        self.get = self._watched.get
        self.delete = self._watched.delete

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        for blob in self._watched.list(prefix):
            age = self.ages.get(blob.name, timedelta())
            yield BlobInfo(blob.name, blob.size_bytes, blob.modified + self._skew - age)

    def stat(self, name: str) -> BlobInfo | None:
        return self._watched.stat(name)


@pytest.fixture(params=["folders", "vault behind the rights of the backup app"])
def repository(request: pytest.FixtureRequest, folder_vault: FolderVault) -> Iterator[Repository]:
    if request.param == "folders":
        yield folder_vault.open()
        return
    vault: Vault = request.getfixturevalue("vault")
    with vault.store() as share, vault.store("recovery-points") as records:
        yield open_or_initialise(share, records, GivenPassword(PASSWORD))


def locks(repository: Repository) -> list[str]:
    return list(repository.list_ids("locks"))


@pytest.mark.parametrize("held", [False, True], ids=["non-exclusive held", "exclusive held"])
@pytest.mark.parametrize("wanted", [False, True], ids=["non-exclusive wanted", "exclusive wanted"])
def test_only_two_non_exclusive_locks_go_together_and_who_is_refused_leaves_nothing(
    repository: Repository, held: bool, wanted: bool
) -> None:
    first = take(repository, exclusive=held)
    if held or wanted:
        with pytest.raises(RepositoryLocked) as error:
            take(repository, exclusive=wanted)
        assert error.value.exit_code == 11
        assert error.value.object == f"locks/{first}"
        assert "here" in str(error.value)
        assert ("exclusively" in str(error.value)) == held
        assert locks(repository) == [first]
    else:
        second = take(repository, exclusive=wanted)
        assert sorted(locks(repository)) == sorted([first, second])
        release(repository, second)
    release(repository, first)
    assert locks(repository) == []


@pytest.mark.parametrize(("ours", "theirs"), [(True, True), (True, False), (False, True)])
def test_of_two_that_write_their_locks_at_once_at_most_one_gets_its(
    folder_vault: FolderVault, ours: bool, theirs: bool
) -> None:
    """The other one writes its lock between our first look and our own."""
    repository = folder_vault.open()
    outcome: list[str] = []

    def overtaken(seconds: float) -> None:
        with pytest.raises(RepositoryLocked):
            take(repository, exclusive=theirs)
        outcome.append("refused")

    mine = take(repository, exclusive=ours, sleep=overtaken)
    assert outcome == ["refused"]
    assert locks(repository) == [mine]


def test_a_lock_that_appears_while_ours_settles_makes_us_give_way(folder_vault: FolderVault) -> None:
    repository = folder_vault.open()
    document = orjson.dumps({"time": "2026-11-23T00:00:00Z", "exclusive": True, "hostname": "there", "username": "x"})

    def settle(seconds: float) -> None:
        repository.save_unpacked("locks", document)

    with pytest.raises(RepositoryLocked, match="there"):
        take(repository, exclusive=False, sleep=settle)
    assert len(locks(repository)) == 1, "theirs"


@pytest.mark.parametrize("skew_hours", [0, 5, -5])
@pytest.mark.parametrize("exclusive", [False, True])
def test_a_stale_lock_is_recognised_by_the_clock_of_the_storage_and_removed(
    folder_vault: FolderVault, exclusive: bool, skew_hours: int
) -> None:
    repository = folder_vault.open()
    stale = take(repository, exclusive=True)
    store = Aged(repository.store, timedelta(hours=skew_hours))
    store.ages[f"locks/{stale}"] = timedelta(minutes=31)
    repository.store = store
    mine = take(repository, exclusive=exclusive)
    assert locks(repository) == [mine]


@pytest.mark.parametrize("skew_hours", [0, 5, -5])
def test_a_lock_that_is_refreshed_is_respected_however_wrong_our_clock_is_fault_17(
    folder_vault: FolderVault, skew_hours: int
) -> None:
    repository = folder_vault.open()
    held = take(repository, exclusive=True)
    store = Aged(repository.store, timedelta(hours=skew_hours))
    store.ages[f"locks/{held}"] = timedelta(minutes=29)
    repository.store = store
    with pytest.raises(RepositoryLocked):
        take(repository, exclusive=False)
    assert locks(repository) == [held]


def test_a_lock_that_cannot_be_read_excludes_everybody_until_it_is_stale(folder_vault: FolderVault) -> None:
    repository = folder_vault.open()
    repository.store.put(f"locks/{'ab' * 32}", b"garbage")
    with pytest.raises(RepositoryLocked):
        take(repository, exclusive=False)
    store = Aged(repository.store)
    store.ages[f"locks/{'ab' * 32}"] = timedelta(minutes=31)
    repository.store = store
    assert locks(repository) == ["ab" * 32]
    mine = take(repository, exclusive=True)
    assert locks(repository) == [mine]


def test_a_refresh_writes_a_new_lock_before_it_removes_the_old_one(repository: Repository) -> None:
    old = take(repository, exclusive=False)
    calls: list[tuple[str, str]] = []
    repository.store = Watched(repository.store, after=lambda kind, name: calls.append((kind, name)))
    new = refresh(repository, old, exclusive=False, hostname="here")
    assert new != old
    assert locks(repository) == [new]
    changes = [call for call in calls if call[0] in ("put", "delete")]
    assert changes == [("put", f"locks/{new}"), ("delete", f"locks/{old}")]
    assert repository.load_unpacked(f"locks/{new}")["exclusive"] is False


def test_a_lock_that_somebody_removed_is_lost_and_not_written_again_fault_14(repository: Repository) -> None:
    lock = take(repository, exclusive=False)
    release(repository, lock)
    with pytest.raises(RepositoryLocked):
        refresh(repository, lock, exclusive=False, hostname="here")
    assert locks(repository) == []


def _held(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> HeldLock:
    monkeypatch.setattr("shared.repository.locks.REFRESH_SECONDS", 0.01)
    monkeypatch.setattr("shared.repository.locks.SETTLE_SECONDS", 0.0)
    return HeldLock(repository, exclusive=False, hostname="here")


def test_a_held_lock_is_refreshed_until_it_is_released(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    refreshed = threading.Event()
    removed: list[str] = []

    def after(kind: str, name: str) -> None:
        if kind == "delete":
            removed.append(name)
            if len(removed) == 3:
                refreshed.set()

    repository.store = Watched(repository.store, after=after)
    with _held(repository, monkeypatch) as lock:
        first = lock.lock_id
        assert refreshed.wait(30)
        lock.check()
    assert removed[0] == f"locks/{first}"
    assert locks(repository) == []


def test_who_holds_a_lock_learns_that_it_was_lost_fault_14(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = repository.store

    def before(kind: str, name: str) -> None:
        if kind == "stat":
            inner.delete(name)

    repository.store = Watched(inner, before=before)
    with _held(repository, monkeypatch) as lock, pytest.raises(RepositoryLocked):  # noqa: PT012
        while True:  # the refresher's thread has still to say so
            lock.check()
    assert locks(repository) == []


def test_a_refresh_that_cannot_reach_the_storage_is_told(
    folder_vault: FolderVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = folder_vault.open()
    gone = threading.Event()

    def before(kind: str, name: str) -> None:
        if gone.is_set() and kind in ("stat", "put"):
            raise StorageUnavailable("no answer")

    repository.store = Watched(repository.store, before=before)
    with _held(repository, monkeypatch) as lock:
        gone.set()
        with pytest.raises(StorageUnavailable):  # noqa: PT012
            while True:
                lock.check()


def test_an_exclusive_lock_is_waited_for(folder_vault: FolderVault) -> None:
    repository = folder_vault.open()
    other = take(repository, exclusive=True)
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if sum(waits) >= 25 and other in locks(repository):
            release(repository, other)

    mine = take(repository, exclusive=False, wait_seconds=1800, sleep=wait)
    assert locks(repository) == [mine]
    assert 25 <= sum(waits) < 1800


def test_waiting_ends_after_the_time_that_was_set(folder_vault: FolderVault) -> None:
    repository = folder_vault.open()
    other = take(repository, exclusive=True)
    waits: list[float] = []
    with pytest.raises(RepositoryLocked) as error:
        take(repository, exclusive=False, wait_seconds=25, sleep=waits.append)
    assert sum(waits) == 25
    assert "LIFEBOAT_LOCK_WAIT" in error.value.remedy
    assert locks(repository) == [other]


# --- stock restic ---


def test_our_lock_stops_a_prune_of_stock_restic_and_no_backup_of_it(
    folder_vault: FolderVault, stock_restic: StockRestic, tmp_path: Path
) -> None:
    repository = folder_vault.open()
    judge = folder_vault.seen_by(stock_restic)
    with HeldLock(repository, exclusive=False, hostname="here") as lock:
        assert lock.lock_id in judge.run("list", "locks", "--no-lock")
        judge.backup(Path(__file__))
        with pytest.raises(ResticRefused, match="already locked"):
            judge.forget_prune()
    judge.forget_prune()


def test_our_exclusive_lock_stops_a_backup_of_stock_restic(
    folder_vault: FolderVault, stock_restic: StockRestic
) -> None:
    repository = folder_vault.open()
    judge = folder_vault.seen_by(stock_restic)
    with (
        HeldLock(repository, exclusive=True, hostname="here"),
        pytest.raises(ResticRefused, match="already locked"),
    ):
        judge.backup(Path(__file__))


@pytest.mark.parametrize("wanted", [False, True], ids=["a backup of ours", "a prune of ours"])
def test_a_backup_of_stock_restic_under_way_stops_our_prune_and_no_backup_of_ours(
    folder_vault: FolderVault, stock_restic: StockRestic, wanted: bool
) -> None:
    repository = folder_vault.open()
    with UnderWay(folder_vault, stock_restic, "backup", "--stdin") as process:
        if wanted:
            with pytest.raises(RepositoryLocked):
                take(repository, exclusive=True)
        else:
            release(repository, take(repository, exclusive=False))
        process.communicate(b"content")
    assert process.returncode == 0
    assert locks(repository) == []


def test_an_exclusive_lock_of_stock_restic_stops_us(folder_vault: FolderVault, stock_restic: StockRestic) -> None:
    """restic prune, stopped while it works."""
    repository = folder_vault.open()
    with UnderWay(folder_vault, stock_restic, "prune") as process:
        for exclusive in (False, True):
            with pytest.raises(RepositoryLocked, match="exclusively"):
                take(repository, exclusive=exclusive)
        process.send_signal(18)  # SIGCONT
        process.communicate()
    assert process.returncode == 0
    release(repository, take(repository, exclusive=True))


class UnderWay:
    """A command of stock restic that has taken its lock and is stopped there, unless it waits for its input."""

    def __init__(self, vault: FolderVault, judge: StockRestic, *command: str) -> None:
        self._vault = vault
        self._arguments = [str(judge.binary), "--repo", str(vault.folder / "share"), "--no-cache", *command]

    def __enter__(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            self._arguments,
            env={"RESTIC_PASSWORD": PASSWORD, "HOME": str(self._vault.folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        store = self._vault.share
        deadline = datetime.now(UTC) + timedelta(seconds=60)
        while not any(len(blob.name) == len("locks/") + 64 for blob in store.list("locks/")):
            assert self._process.poll() is None
            assert datetime.now(UTC) < deadline
            time.sleep(0.002)
        if "--stdin" not in self._arguments:
            self._process.send_signal(19)  # SIGSTOP
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
