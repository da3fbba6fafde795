"""Whole backups while the storage misbehaves: the run completes, or says why not, and nothing is lost."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest

from shared.errors import LifeboatError, StorageError
from shared.fileshare.inside import share_folder
from shared.fileshare.local_target import LocalTarget
from shared.fileshare.restore import ShareRestore
from shared.recovery_point.backup import Backup
from shared.recovery_point.record import RecoveryPoint
from shared.recovery_point.scope import BackupRequest
from shared.repository.checker import Checker
from shared.repository.initialise import GivenPassword, open_or_initialise
from shared.repository.presence import missing_content
from shared.repository.reader import BlobReader
from shared.repository.repository import Repository
from shared.repository.snapshots import load_snapshot
from shared.repository.trees import Metadata, file_node, tree_bytes
from shared.repository.writer import BlobWriter
from shared.settings import Settings
from shared.storage.blob_store import BlobStore
from shared.storage.retrying import RetryingVersions
from tests.conftest import Vault, new_vault
from tests.faults.helpers import PASSWORD, FolderVault, back_up, change_share, contents, make_share, quick
from tests.faults.test_sigkill import BackupServer
from tests.standins.azurite import REPOSITORY, Azurite
from tests.standins.faults import Call
from tests.standins.restic import ResticRepository, StockRestic, copy_container
from tests.standins.rights_proxy import ExistingName


@pytest.fixture
def share(tmp_path: Path) -> Path:
    return make_share(tmp_path / "source" / "site")


@pytest.fixture
def folders(tmp_path: Path) -> FolderVault:
    return FolderVault(tmp_path / "vault")


def _settings(vault: Vault, share: Path) -> dict[str, str]:
    return vault.environment() | {
        "LIFEBOAT_SHARE_URL": share.as_uri(),
        "LIFEBOAT_REPOSITORY_PASSWORD": PASSWORD,
        "LIFEBOAT_LOCK_WAIT": "0s",
    }


def _back_up(vault: Vault, share: Path, waits: list[float] | None = None) -> RecoveryPoint:
    """A whole backup in this process, over requests; the waits between tries are noted and not waited."""
    impatient = partial(RetryingVersions, sleep=(waits if waits is not None else []).append)
    with quick(), patch("shared.storage.vault.RetryingVersions", impatient):
        return Backup(Settings.from_environment(_settings(vault, share)), BackupRequest()).run()


def _findings(store: BlobStore) -> list[str]:
    checker = Checker(Repository.open(store, PASSWORD))
    return [f"{finding.object}: {finding.message}" for finding in checker.run(read_data=True)]


def _judge(vault: Vault, judge: StockRestic, folder: Path) -> ResticRepository:
    with vault.judge() as store:
        return judge.on_folder(copy_container(store, folder), PASSWORD)


def _restored(vault: FolderVault, snapshot: str | None, target: Path) -> dict[str, bytes]:
    """What Lifeboat's own restore brings back."""
    assert snapshot is not None
    repository = Repository.open(vault.judge(), PASSWORD)
    repository.load_index(present=repository.list_packs(), keep_missing=True)
    folder = share_folder(BlobReader(repository), load_snapshot(repository, snapshot).tree, "site")
    result = ShareRestore(repository, LocalTarget(target)).run(folder)
    assert result.status == "complete", result.reasons
    return contents(target)


def _flip(store: BlobStore, name: str) -> None:
    body = bytearray(store.get(name))
    body[len(body) // 2] ^= 1
    store.delete(name)
    store.put(name, bytes(body))


# --- requests that go wrong ---


@pytest.mark.parametrize("existing_name", ["409 BlobAlreadyExists", "403 UnauthorizedBlobOverwrite"])
def test_a_lost_reply_of_any_put_is_no_fault_when_the_retry_is_refused_faults_3_and_38(
    azurite: Azurite, share: Path, newest_restic: StockRestic, tmp_path: Path, existing_name: ExistingName
) -> None:
    number = 0
    while True:
        number += 1
        with new_vault(azurite, existing_name=existing_name) as vault:
            vault.faults.add(f"lose the reply of the {number}th put")
            waits: list[float] = []
            point = _back_up(vault, share, waits)
            assert point.status == "complete", number
            if not waits:
                break
            with vault.judge() as store:
                assert _findings(store) == [], number
                assert list(store.list("locks/")) == []
            if number % 4 == 1:
                _judge(vault, newest_restic, tmp_path / f"copy{number}").check()
    assert number > 10


@pytest.mark.parametrize(
    "sentence",
    [
        "answer the 1st to 6th call with 503 ServerBusy and Retry-After 7",
        "answer the 3rd to 5th put with 429 TooManyRequests and Retry-After 7",
        "answer the 2nd to 4th list with 500 InternalError",
        "cut the 6th put after 10000 bytes",
    ],
)
def test_a_storm_of_refusals_is_sat_out_faults_4_and_9(vault: Vault, share: Path, sentence: str) -> None:
    vault.faults.add(sentence)
    waits: list[float] = []
    assert _back_up(vault, share, waits).status == "complete"
    assert waits
    if "Retry-After" in sentence:
        assert min(waits) >= 7
    with vault.judge() as store:
        assert _findings(store) == []


def test_a_reply_that_ends_early_is_read_again_fault_5(vault: Vault, share: Path) -> None:
    _back_up(vault, share)
    for number in range(1, 8):
        change_share(share, number)
        vault.faults.clear()
        vault.faults.add(f"cut the reply of the {number}th get after 10 bytes")
        point = _back_up(vault, share)
        assert point.status == "complete", number
        assert point.share is not None
        assert point.share["unchanged"] > 0, "the parent was read"
    with vault.judge() as store:
        assert _findings(store) == []


def test_a_storage_that_stays_away_ends_the_run_with_its_name_and_leaves_no_point_fault_9(
    vault: Vault, share: Path
) -> None:
    vault.faults.add("answer every put under share/data/ with 503 ServerBusy")
    with patch("shared.storage.vault.RetryingVersions", partial(RetryingVersions, limit_seconds=0)), quick():
        point = Backup(Settings.from_environment(_settings(vault, share)), BackupRequest()).run()
    assert point.status == "failed"
    assert [reason["code"] for reason in point.reasons] == ["storage-unavailable"]
    assert point.snapshot is None
    vault.faults.clear()
    assert _back_up(vault, share).status == "complete"
    with vault.judge() as store:
        assert _findings(store) == []


# --- listings that are behind ---


@pytest.mark.parametrize("prefix", ["data/", "index/", "snapshots/", "keys/", "locks/", "points/", "init"])
def test_a_stale_listing_loses_nothing_fault_13(folders: FolderVault, share: Path, tmp_path: Path, prefix: str) -> None:
    """The listing shows nothing of what was written last; the run completes, or says why not."""
    first = back_up(folders, share)
    before = contents(share)
    change_share(share, 1)
    original = type(folders.judge()).list

    def stale(store: BlobStore, asked: str) -> Iterator[object]:
        return iter([] if asked == prefix else list(original(store, asked)))  # type: ignore[arg-type]

    with patch("shared.storage.local_folder.LocalFolderStore.list", stale):
        try:
            outcome = back_up(folders, share).status
        except LifeboatError:
            outcome = "failed"
    assert outcome in ("complete", "failed")
    last = back_up(folders, share)
    assert last.status == "complete"
    assert _findings(folders.judge()) == []
    assert len(list(folders.judge().list("keys/"))) == 1
    assert _restored(folders, first.snapshot, tmp_path / "first") == before
    assert _restored(folders, last.snapshot, tmp_path / "last") == contents(share)


# --- what is stored is damaged ---


def _packs(folders: FolderVault, *, trees: bool) -> list[str]:
    """Names of packs, the largest first: of data packs that with the files' content, before that of fingerprints."""
    repository = Repository.open(folders.judge(), PASSWORD)
    repository.load_index()
    sizes: dict[str, int] = {}
    for blob_id in repository.index.blob_ids(tree=trees):
        location = repository.index.find(blob_id, tree=trees)
        assert location is not None
        name = f"data/{location.pack.hex()[:2]}/{location.pack.hex()}"
        sizes[name] = sizes.get(name, 0) + location.length
    return sorted(sizes, key=lambda name: sizes[name], reverse=True)


@pytest.mark.parametrize("trees", [False, True], ids=["data", "trees"])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_pack_that_is_missing_is_stored_again_by_the_next_run_faults_8_and_41(
    folders: FolderVault, share: Path, newest_restic: StockRestic, tmp_path: Path, trees: bool, workers: int
) -> None:
    first = back_up(folders, share)
    for name in _packs(folders, trees=trees)[:2]:
        folders.judge().delete(name)
    assert _findings(folders.judge()) != []
    change_share(share, 1)
    last = back_up(folders, share, workers=workers)
    assert last.status == "complete"
    assert _restored(folders, last.snapshot, tmp_path / "ours") == contents(share)
    judge = newest_restic.on_folder(folders.folder / "share", PASSWORD)
    assert last.snapshot is not None
    assert contents(judge.restore(tmp_path / "theirs", last.snapshot) / "site") == contents(share)
    assert first.snapshot != last.snapshot


def test_every_pack_may_be_gone_and_the_next_run_stores_all_again_fault_41(
    folders: FolderVault, share: Path, newest_restic: StockRestic, tmp_path: Path
) -> None:
    back_up(folders, share)
    for blob in list(folders.judge().list("data/")):
        folders.judge().delete(blob.name)
    last = back_up(folders, share)
    assert last.status == "complete"
    assert last.share is not None
    assert last.share["bytes_read"] == sum(map(len, contents(share).values()))
    assert _restored(folders, last.snapshot, tmp_path / "ours") == contents(share)
    judge = newest_restic.on_folder(folders.folder / "share", PASSWORD)
    assert contents(judge.restore(tmp_path / "theirs", last.snapshot or "") / "site") == contents(share)


def test_a_flipped_bit_in_a_tree_of_the_parent_has_its_folder_read_again_fault_6(
    folders: FolderVault, share: Path
) -> None:
    back_up(folders, share)
    for name in _packs(folders, trees=True):
        _flip(folders.judge(), name)
    change_share(share, 1)
    point = back_up(folders, share)
    assert point.status == "complete"


def test_a_flipped_bit_in_a_pack_costs_no_more_than_the_files_that_need_it_fault_6(
    folders: FolderVault, share: Path, tmp_path: Path
) -> None:
    point = back_up(folders, share)
    (name, *_) = _packs(folders, trees=False)
    _flip(folders.judge(), name)
    assert all(finding.startswith(name) for finding in _findings(folders.judge()))
    repository = Repository.open(folders.judge(), PASSWORD)
    repository.load_index()
    folder = share_folder(BlobReader(repository), load_snapshot(repository, point.snapshot or "").tree, "site")
    result = ShareRestore(repository, LocalTarget(tmp_path / "restored")).run(folder)
    assert result.status == "partial"
    assert {reason["object"] for reason in result.reasons} == {name}
    wanted, got = contents(share), contents(tmp_path / "restored")
    assert got
    assert all(wanted[path] == content for path, content in got.items()), "never a wrong file"
    assert set(wanted) - set(got) == {reason["path"] for reason in result.reasons}


def test_a_flipped_bit_in_an_index_ends_the_run_with_its_name_and_stock_restic_repairs_it_fault_7(
    folders: FolderVault, share: Path, newest_restic: StockRestic, tmp_path: Path
) -> None:
    first = back_up(folders, share)
    (index, *_) = [blob.name for blob in folders.judge().list("index/")]
    _flip(folders.judge(), index)
    point = back_up(folders, share)
    assert point.status == "failed"
    assert [(reason["code"], reason["object"]) for reason in point.reasons] == [("damaged", index)]
    judge = newest_restic.on_folder(folders.folder / "share", PASSWORD)
    judge.run("repair", "index")
    judge.check()
    assert back_up(folders, share).status == "complete"
    assert contents(judge.restore(tmp_path / "first", first.snapshot or "") / "site") == contents(share)


@pytest.mark.parametrize("container", ["share", "recovery-points"])
def test_a_flipped_bit_in_a_snapshot_or_record_is_passed_over_fault_7(
    folders: FolderVault, share: Path, container: str
) -> None:
    back_up(folders, share)
    store = folders.judge(container)
    (name,) = [blob.name for blob in store.list("snapshots/" if container == "share" else "points/")]
    _flip(store, name)
    point = back_up(folders, share)
    assert point.status == "complete"
    assert point.share is not None
    assert point.share["bytes_stored"] < 8192, "what is stored is known from the index"


# --- others in the same repository ---


def test_a_lock_that_is_lost_while_the_run_works_makes_its_point_a_failed_one_fault_14(
    folders: FolderVault, share: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.repository.locks.REFRESH_SECONDS", 0.01)

    def lose(kind: str, name: str) -> None:
        if kind == "put" and name.startswith("index/"):
            _delete_locks(folders)
            for thread in threading.enumerate():
                if thread.name == "lock":
                    thread.join(60)

    folders.before = lose
    point = back_up(folders, share)
    assert point.status == "failed", "what was stored may have been pruned since"
    assert {reason["code"] for reason in point.reasons} == {"locked"}
    folders.before = lambda kind, name: None
    monkeypatch.undo()
    assert back_up(folders, share).status == "complete"
    assert _findings(folders.judge()) == []


def _delete_locks(folders: FolderVault) -> None:
    deadline = 1000
    while names := [blob.name for blob in folders.judge().list("locks/")]:
        for name in names:
            folders.judge().delete(name)
        deadline -= 1
        assert deadline


def test_packs_that_a_prune_took_from_under_the_run_are_noticed_before_the_snapshot_is_written_fault_14(
    folders: FolderVault, share: Path, newest_restic: StockRestic, tmp_path: Path
) -> None:
    """Somebody removed our lock with ``restic unlock --remove-all`` and pruned: packs without an index are gone."""
    back_up(folders, share)
    snapshots = [blob.name for blob in folders.judge().list("snapshots/")]
    change_share(share, 1)
    judge = newest_restic.on_folder(folders.folder / "share", PASSWORD)
    done: list[str] = []

    def prune(kind: str, name: str) -> None:
        if kind == "put" and name.startswith("index/") and not done:
            done.append(name)
            judge.run("unlock", "--remove-all")
            judge.run("prune", "--max-unused", "0")

    folders.before = prune
    point = back_up(folders, share)
    assert done
    assert point.status == "failed"
    assert point.reasons[0]["code"] == "damaged"
    assert [blob.name for blob in folders.judge().list("snapshots/")] == snapshots
    folders.before = lambda kind, name: None
    last = back_up(folders, share)
    assert last.status == "complete"
    assert contents(judge.restore(tmp_path / "last", last.snapshot or "") / "site") == contents(share)


@pytest.fixture(scope="module")
def servers() -> Iterator[list[BackupServer]]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LIFEBOAT_")}
    with ExitStack() as stack:
        servers = []
        for _ in range(3):
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.faults.backup_server"],
                    cwd=REPOSITORY,
                    env=environment,
                    text=True,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )
            )
            assert process.stdin is not None
            stack.callback(process.stdin.close)
            servers.append(BackupServer(process))
        yield servers


@pytest.mark.parametrize("first", [True, False], ids=["a first backup", "a second backup"])
def test_three_runs_at_once_all_complete_and_the_repository_is_clean_faults_15_and_39(
    vault: Vault,
    share: Path,
    servers: list[BackupServer],
    newest_restic: StockRestic,
    tmp_path: Path,
    first: bool,
) -> None:
    settings = _settings(vault, share)
    if not first:
        assert servers[0].run(settings) == 0
        change_share(share, 1)
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda server: server.run(settings), servers)) == [0, 0, 0]
    with vault.judge() as store:
        assert _findings(store) == []
        assert len(list(store.list("keys/"))) == 1
        assert list(store.list("locks/")) == []
    judge = _judge(vault, newest_restic, tmp_path / "copy")
    judge.check()
    for number, snapshot in enumerate(judge.snapshots()[-3:]):
        restored = judge.restore(tmp_path / f"restored{number}", snapshot["id"]) / "site"
        assert contents(restored) == contents(share)


def test_a_run_that_is_overtaken_just_before_its_snapshot_completes_too_fault_15(
    vault: Vault, share: Path, servers: list[BackupServer]
) -> None:
    settings = _settings(vault, share)
    overtaking: list[int] = []

    def overtake(call: Call) -> None:
        overtaking.append(servers[1].run(settings))

    vault.faults.call("before the 1st put under share/snapshots/", overtake)
    assert servers[0].run(settings) == 0
    assert overtaking == [0]
    with vault.judge() as store:
        assert _findings(store) == []
        assert len(list(store.list("snapshots/"))) == 2


# --- inside one process ---


def test_what_was_uploaded_before_its_index_failed_is_indexed_by_whoever_writes_next(tmp_path: Path) -> None:
    """One process may try a step again with the same repository object, which knows the uploaded packs already."""
    vault = FolderVault(tmp_path)
    repository = open_or_initialise(vault.judge(), vault.judge("recovery-points"), GivenPassword(PASSWORD))

    def refuse(kind: str, name: str) -> None:
        if kind == "put" and name.startswith("index/"):
            raise StorageError("no")

    vault.before = refuse
    repository.store = vault.share
    with pytest.raises(StorageError), BlobWriter(repository) as writer:
        blob_id = writer.save(b"content")
    repository.store = vault.judge()
    with BlobWriter(repository) as writer:
        assert writer.save(b"content") == blob_id
    other = Repository.open(vault.judge(), PASSWORD)
    other.load_index()
    assert BlobReader(other).load(blob_id, tree=False) == b"content"


def test_a_blob_that_another_shard_was_to_store_and_did_not_is_noticed_before_the_snapshot(tmp_path: Path) -> None:
    vault = FolderVault(tmp_path)
    repository = open_or_initialise(vault.judge(), vault.judge("recovery-points"), GivenPassword(PASSWORD))
    with pytest.raises(StorageError), BlobWriter(repository) as failing:  # noqa: PT012 - the one is open in the other
        shared_blob = failing.save(b"shared").hex()
        with BlobWriter(repository) as other:
            assert other.save(b"shared").hex() == shared_blob
            tree = other.save(tree_bytes([(b"a", file_node(b"a", Metadata(0, 0), 6, (shared_blob,)))]), tree=True)
        raise StorageError("the shard fails")
    assert missing_content(repository, tree.hex()) == [shared_blob]
    with BlobWriter(repository) as again:
        again.save(b"shared")
    assert missing_content(repository, tree.hex()) == []


def test_what_a_truncated_pack_held_is_stored_anew_by_the_next_backup_fault_6(
    folders: FolderVault, share: Path, tmp_path: Path
) -> None:
    back_up(folders, share)
    store = folders.judge()
    for blob in list(store.list("data/")):
        body = store.get(blob.name)
        store.delete(blob.name)
        store.put(blob.name, body[:-1])
    point = back_up(folders, share)
    assert point.status == "complete"
    assert point.components["share"]["bytes_read"] == point.components["share"]["bytes"] > 0
    assert _restored(folders, point.snapshot, tmp_path / "back") == contents(share)
