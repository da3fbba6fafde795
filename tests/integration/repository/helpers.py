"""Repositories in folders, written by Lifeboat's own steps, and trees of odd files to write them from."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from shared.fileshare.backup import ShareBackup
from shared.fileshare.local_source import LocalSource
from shared.fileshare.source import Source
from shared.repository.checker import Checker, Finding
from shared.repository.initialise import GivenPassword, open_or_initialise
from shared.repository.repository import Repository
from shared.settings import Settings, ShareSettings
from shared.storage.blob_store import BlobStore
from shared.storage.local_folder import LocalFolderStore
from tests.standins.restic import ResticRepository, StockRestic

PASSWORD = "correct horse battery"
MIB = 1 << 20

Json = dict[str, Any]


@dataclass(frozen=True)
class FolderVault:
    """The two containers of a vault as two folders."""

    folder: Path

    @property
    def share(self) -> LocalFolderStore:
        return self._container("share")

    @property
    def records(self) -> LocalFolderStore:
        return self._container("recovery-points")

    def open(self, password: str = PASSWORD) -> Repository:
        """The repository, opened anew, made where there is none."""
        return open_or_initialise(self.share, self.records, GivenPassword(password))

    def seen_by(self, judge: StockRestic, password: str = PASSWORD) -> ResticRepository:
        return judge.on_folder(self.folder / "share", password)

    def _container(self, name: str) -> LocalFolderStore:
        store = LocalFolderStore(self.folder / name)
        store.create_container_if_missing()
        return store


def share_settings(folder: Path, **more: str) -> ShareSettings:
    return Settings.from_environment({"LIFEBOAT_SHARE_URL": folder.as_uri(), **more}).share()


def back_up(
    repository: Repository,
    folder: Path,
    *,
    parent: str | None = None,
    shards: int = 1,
    look: bool = False,
) -> Json:
    """Plan, shards one after the other, join; returns what the join returns."""

    def open_source(previous_version: int | None) -> Source:
        return LocalSource(folder)

    backup = ShareBackup(share_settings(folder), repository, open_source)
    plan = backup.plan(shards=shards, parent=parent, look=look)
    results = [backup.backup_shard(plan, items) for items in plan["shards"]]
    return backup.join(plan, results)


def check(store: BlobStore, password: str = PASSWORD) -> list[Finding]:
    """What Lifeboat's own check finds, every byte read."""
    return Checker(Repository.open(store, password)).run(read_data=True)


ODD_NAMES: Sequence[bytes] = (
    b"plain.txt",
    b"UPPER.TXT",
    b"upper.txt",
    b" leading and trailing ",
    b"dot.",
    b"a\nnewline\r\t",
    b"quote\"and'apostrophe",
    b"back\\slash\\x41",
    b"<html>&amp;",
    "line\u2028separator\u2029".encode(),
    bytes(range(1, 32)) + b"\x7f",
    "Größe – 漢字 – 😀".encode(),
    "e\u0301 is not \u00e9".encode(),
    "\u00e9".encode(),
    "\ufeffbom\u200bzero\u00adsoft\u00a0hard".encode(),
    "\ufffd replacement".encode(),
    "\U000e0001\U0010ffff".encode(),
    b"latin1 caf\xe9",
    b"wtf8 \xed\xa0\x80 high",
    b"wtf8 \xed\xb0\x80 low",
    b"\xff\xfe\xfd",
    b"n" * 255,
    b"CON",
    b"a.b",
    b"a-b",
    b"-",
    b"~",
)
ODD_TIMES_NS = (0, 1, 999_999_999, 1_700_000_000_123_456_700, -86_400 * 10**9 + 5, 7_000_000_000 * 10**9, 10**18)


def make_odd_tree(folder: Path) -> Path:
    """Files and folders with every odd name, content, time and mode that a local file system takes."""
    random = Random(1)
    folder.mkdir(parents=True)
    for number, name in enumerate(ODD_NAMES):
        _file(folder, name, random.randbytes(number * 37), ODD_TIMES_NS[number % len(ODD_TIMES_NS)])
        inside = folder / os.fsdecode(b"d " + name[:200])
        inside.mkdir()
        _file(inside, name, b"in a folder", 10**18 + number)
    (folder / "empty folder").mkdir()
    for name, content in (
        (b"empty", b""),
        (b"zeros", bytes(9 * MIB)),
        (b"random", random.randbytes(3 * MIB + 1)),
        (b"at the limit", random.randbytes(512 << 10)),
        (b"over the limit", random.randbytes((512 << 10) + 1)),
        (b"text", b"the same line again\n" * 50_000),
        (b"copy of text", b"the same line again\n" * 50_000),
    ):
        _file(folder, name, content, 10**18)
    (folder / "plain.txt").chmod(0o600)
    (folder / "text").chmod(0o444)
    deep = folder.joinpath(*(f"level {number}" for number in range(30)))
    deep.mkdir(parents=True)
    _file(deep, b"bottom", b"found", 10**18)
    (folder / "link").symlink_to("plain.txt")
    os.mkfifo(folder / "fifo")
    os.utime(folder / "empty folder", ns=(10**18, 10**18))
    return folder


def _file(folder: Path, name: bytes, content: bytes, mtime_ns: int) -> None:
    path = folder / os.fsdecode(name)
    path.write_bytes(content)
    os.utime(path, ns=(mtime_ns, mtime_ns))


def facts(folder: Path) -> dict[bytes, tuple[object, ...]]:
    """Every file and folder by its path: kind, permissions, modification time, content."""
    found: dict[bytes, tuple[object, ...]] = {}
    top = os.fsencode(folder)
    for path, folders, files in os.walk(top):
        for name in folders + files:
            full = os.path.join(path, name)  # noqa: PTH118 - of bytes
            status = os.lstat(full)
            if stat.S_ISDIR(status.st_mode):
                content: object = "folder"
            elif stat.S_ISREG(status.st_mode):
                content = Path(os.fsdecode(full)).read_bytes()
            else:
                continue  # links and special files are not backed up
            found[os.path.relpath(full, top)] = (status.st_mode & 0o777, status.st_mtime_ns, content)
    return found
