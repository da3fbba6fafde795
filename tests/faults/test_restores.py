"""Restores at their worst moments: killed at any call, onto a full disk, from a hostile or an old repository."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from shared.fileshare.target import TEMPORARY_PREFIX
from shared.recovery_point.catalog import Catalog
from shared.repository.repository import Repository
from shared.repository.snapshots import Summary, save_snapshot
from shared.repository.trees import Metadata, dir_node, file_node, go_json, tree_bytes
from shared.repository.writer import BlobWriter
from shared.storage.blob_store import BlobStore
from tests.conftest import Vault
from tests.faults.helpers import (
    PASSWORD,
    FolderVault,
    Killed,
    StopAtCall,
    back_up,
    contents,
    make_share,
    restore,
)
from tests.standins.azurite import REPOSITORY
from tests.standins.restic import StockRestic

OLDER = Path(__file__).with_name("vault_of_an_older_lifeboat.zip")
"""Containers ``share`` and ``recovery-points`` as commit 1b73451 (version 0.1.0, before any issue was closed) wrote
them, of the folder ``site`` with ``OLDER_FILES``; the repository's password is ``PASSWORD``."""
OLDER_FILES = {
    "sites/one/index.html": b"<h1>Of an older Lifeboat</h1>\n",
    "sites/one/logo.bin": bytes(range(256)) * 12,
    "sites/näme.txt": b"old",
}


@pytest.fixture
def share(tmp_path: Path) -> Path:
    return make_share(tmp_path / "source" / "site")


@pytest.fixture
def folders(tmp_path: Path) -> FolderVault:
    return FolderVault(tmp_path / "vault")


def _whole(target: Path) -> dict[str, bytes]:
    """What stands under a final name."""
    return {name: body for name, body in contents(target).items() if TEMPORARY_PREFIX not in name}


# --- killed ---


def test_a_restore_killed_at_every_storage_call_is_finished_by_the_next_fault_1(
    folders: FolderVault, share: Path, tmp_path: Path
) -> None:
    back_up(folders, share)
    wanted = contents(share)
    call = 0
    while True:
        target = tmp_path / f"target{call}"
        folders.before = StopAtCall(call)
        try:
            restore(folders, target)
            break
        except Killed:
            pass
        finally:
            folders.before = lambda kind, name: None
        assert _whole(target).items() <= wanted.items(), call
        assert restore(folders, target).result.status == "complete", call
        assert contents(target) == wanted, call
        call += 1
    assert call > 10


# --- the local disk is full ---


def test_a_backup_needs_no_local_disk_fault_35(vault: Vault, share: Path, tmp_path: Path) -> None:
    """No file of this process may grow by a byte, and there is no folder for temporary ones."""
    settings = vault.environment() | {
        "LIFEBOAT_SHARE_URL": share.as_uri(),
        "LIFEBOAT_REPOSITORY_PASSWORD": PASSWORD,
        "TMPDIR": str(tmp_path / "nowhere"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "lifeboat.py", "backup", "--json"],
        cwd=REPOSITORY,
        env={**os.environ, **settings},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_restore_to_a_full_disk_says_so_and_goes_on_where_there_is_room_fault_35(
    folders: FolderVault, share: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(folders, share)
    target = tmp_path / "target"
    write = os.write

    def fills(descriptor: int, data: bytes) -> int:
        room = 100_000 - os.fstat(descriptor).st_size
        if room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data[:room])

    monkeypatch.setattr("shared.fileshare.local_target.os.write", fills)
    result = restore(folders, target).result
    assert result.status == "partial"
    assert [reason["message"] for reason in result.reasons] == ["large.bin: No space left on device"]
    assert contents(target).items() == contents(share).items() - {("large.bin", (share / "large.bin").read_bytes())}
    monkeypatch.undo()
    assert restore(folders, target).result.status == "complete"
    assert contents(target) == contents(share)


# --- a repository made to harm ---


HOSTILE = [b"..", b"../escaped.txt", b"/absolute.txt", b"..\\escaped.txt", b"sub/../../escaped.txt", b"nul\0byte"]
METADATA = Metadata(mtime_ns=1_700_000_000_000_000_000, ctime_ns=1_700_000_000_000_000_000, mode=0o755)


def test_a_hostile_archive_writes_nothing_outside_the_target_fault_37(
    folders: FolderVault, share: Path, tmp_path: Path
) -> None:
    """Somebody who may add blobs made a snapshot, and a record that names it, of the worst names and links."""
    outside = tmp_path / "outside"
    outside.mkdir()
    back_up(folders, share)
    point = add_hostile_point(folders.judge(), folders.judge("recovery-points"), PASSWORD, outside)
    playground = tmp_path / "playground"
    target = playground / "one" / "target"
    result = restore(folders, target, point).result
    assert result.status == "partial"
    assert {reason["code"] for reason in result.reasons} == {"unsafe-name", "special-file"}
    assert [*playground.iterdir(), *(playground / "one").iterdir()] == [playground / "one", target]
    assert set(contents(target)) == {"good.txt", "way-out/x", "..\\escaped.txt"}, "a folder, and a name, of Unix"
    assert not (target / "way-out").is_symlink()
    assert list(outside.iterdir()) == []


def add_hostile_point(share: BlobStore, records: BlobStore, password: str, outside: Path) -> str:
    """A point like the newest whose share holds ``good.txt`` and ways out, one a link to ``outside``: its id."""
    repository = Repository.open(share, password)
    catalog = Catalog(records)
    good = next(catalog.readable())
    link = {
        "name": "way-out", "type": "symlink", "mode": 0o777 | 1 << 27, "mtime": "2026-01-01T00:00:00Z",
        "atime": "2026-01-01T00:00:00Z", "ctime": "2026-01-01T00:00:00Z", "linktarget": str(outside), "links": 1,
    }  # fmt: skip
    with BlobWriter(repository) as writer:
        blob = writer.save(b"evil").hex()
        below = writer.save(tree_bytes([(b"x", file_node(b"x", METADATA, 4, [blob]))]), tree=True).hex()
        nodes = [(name, file_node(name, METADATA, 4, [blob])) for name in (b"good.txt", *HOSTILE)]
        nodes += [(name, dir_node(name, METADATA, below)) for name in HOSTILE if b"escaped" not in name]
        nodes += [(b"way-out", go_json(link)), (b"way-out", dir_node(b"way-out", METADATA, below))]
        inside = writer.save(tree_bytes(nodes), tree=True).hex()
        name = good.components["share"]["source"]["name"].encode()
        top = writer.save(tree_bytes([(name, dir_node(name, METADATA, inside))]), tree=True).hex()
    summary = Summary("", "", *[0] * 12)
    snapshot = save_snapshot(
        repository,
        time="2026-01-01T00:00:00Z",
        tree=top,
        paths=["/site"],
        hostname="evil",
        program_version="evil",
        summary=summary,
    )
    components = {"share": {**good.components["share"], "snapshot": snapshot}}
    point = replace(good, point="20260101T000000Z-e01d13", components=components)
    catalog.add(point)
    return point.point


# --- a vault that an older Lifeboat wrote ---


def test_a_vault_of_an_older_lifeboat_is_restored_and_gone_on_with_fault_33(
    folders: FolderVault, newest_restic: StockRestic, tmp_path: Path
) -> None:
    with zipfile.ZipFile(OLDER) as older:
        older.extractall(folders.folder)
    (old,) = [blob.name for blob in folders.judge("recovery-points").list("points/")]
    point = old.removeprefix("points/").removesuffix(".json")
    assert restore(folders, tmp_path / "before", point).result.status == "complete"
    assert contents(tmp_path / "before") == OLDER_FILES
    share = tmp_path / "source" / "site"
    shutil.copytree(tmp_path / "before", share)
    (share / "sites" / "one" / "index.html").write_bytes(b"changed")
    (share / "new.txt").write_bytes(b"new")
    new = back_up(folders, share)
    assert new.status == "complete"
    assert restore(folders, tmp_path / "new", new.point).result.status == "complete"
    assert contents(tmp_path / "new") == contents(share)
    assert restore(folders, tmp_path / "old", point).result.status == "complete"
    assert contents(tmp_path / "old") == OLDER_FILES
    newest_restic.on_folder(folders.folder / "share", PASSWORD).check()
