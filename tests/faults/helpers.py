"""Whole backups in this process on a vault of two folders, and a storage that stops at a call."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from unittest.mock import patch

from shared.recovery_point.backup import Backup
from shared.recovery_point.record import RecoveryPoint
from shared.recovery_point.restore import ShareRestored, ShareRestoreRequest, restore_share
from shared.recovery_point.scope import BackupRequest
from shared.repository.crypto import KdfCost, write_key_file
from shared.settings import Settings, VaultSettings
from shared.storage.blob_store import BlobInfo, BlobStore
from shared.storage.counting import Traffic
from shared.storage.key_vault import SecretStore
from shared.storage.local_folder import LocalFolderStore
from shared.storage.versions import BlobVersion
from tests.standins.faulty_store import FaultyStore, StoreFaults

PASSWORD = "correct horse battery"


class Killed(BaseException):
    """What a killed process would have done next never reaches storage."""


@dataclass
class Watched:
    """A store that tells ``before`` and ``after`` of each call; what they raise, the caller gets."""

    inner: BlobStore
    before: Callable[[str, str], None] = lambda kind, name: None
    after: Callable[[str, str], None] = lambda kind, name: None

    def put(self, name: str, body: bytes) -> bool:
        self.before("put", name)
        created = self.inner.put(name, body)
        self.after("put", name)
        return created

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        self.before("get", name)
        body = self.inner.get(name, offset, length)
        self.after("get", name)
        return body

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        self.before("list", prefix)
        blobs = list(self.inner.list(prefix))
        self.after("list", prefix)
        return iter(blobs)

    def stat(self, name: str) -> BlobInfo | None:
        self.before("stat", name)
        found = self.inner.stat(name)
        self.after("stat", name)
        return found

    def delete(self, name: str) -> None:
        self.before("delete", name)
        self.inner.delete(name)
        self.after("delete", name)


@dataclass
class StopAtCall:
    """Lets ``allowed`` calls through, over all threads and stores, and then none any more."""

    allowed: float = float("inf")
    seen: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, kind: str, name: str) -> None:
        with self._lock:
            self.seen += 1
            if self.seen > self.allowed:
                raise Killed


@dataclass
class WithoutVersions:
    """What is asked of versions in a folder, which keeps none."""

    store: BlobStore

    def list_versions(self, prefix: str) -> Iterator[BlobVersion]:
        for blob in self.store.list(prefix):
            yield BlobVersion(blob.name, None, True, blob.size_bytes, blob.modified)


@dataclass
class FolderVault:
    """What ``shared.storage.vault.Vault`` is for a run, on two folders."""

    folder: Path
    secrets: SecretStore | None = None
    before: Callable[[str, str], None] = lambda kind, name: None
    after: Callable[[str, str], None] = lambda kind, name: None
    faults: StoreFaults = field(default_factory=StoreFaults)

    @property
    def settings(self) -> VaultSettings:
        password = None if self.secrets else PASSWORD
        return VaultSettings(str(self.folder), None, "", None, password)

    @property
    def share(self) -> BlobStore:
        return self._container("share")

    @property
    def records(self) -> BlobStore:
        return self._container("recovery-points")

    def judge(self, container: str = "share") -> LocalFolderStore:
        """The container without faults."""
        store = LocalFolderStore(self.folder / container)
        store.create_container_if_missing()
        return store

    def versions(self, container: str) -> WithoutVersions:
        return WithoutVersions(self._container(container))

    def ensure_there(self, *, create: bool) -> None:
        """Folders are there."""

    def traffic(self) -> Traffic:
        return Traffic()

    def __enter__(self) -> FolderVault:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing stays open."""

    def _container(self, name: str) -> BlobStore:
        return Watched(FaultyStore(self.judge(name), self.faults, name), self.before, self.after)


def back_up(vault: FolderVault, source: Path, **request: bool | int) -> RecoveryPoint:
    """One whole backup of a folder, as the command makes it, with small packs."""
    settings = Settings.from_environment(
        {"LIFEBOAT_SHARE_URL": source.as_uri(), "LIFEBOAT_LOCK_WAIT": "0s", "LIFEBOAT_VAULT_URL": "folders"}
    )
    with quick(), patch("shared.recovery_point.backup.Vault", lambda _: vault):
        return Backup(settings, BackupRequest(**request)).run()  # type: ignore[arg-type]


def restore(vault: FolderVault, target: Path, point: str | None = None) -> ShareRestored:
    """``restore share --to TARGET``, the newest usable point by default."""
    settings = Settings.from_environment({"LIFEBOAT_VAULT_URL": "folders"})
    with patch("shared.recovery_point.restore.Vault", lambda _: vault):
        return restore_share(settings, ShareRestoreRequest(point=point, to=str(target)))


@contextlib.contextmanager
def quick() -> Iterator[None]:
    """Small packs, a cheap key file, and no waiting between the two looks at the locks of others."""
    with (
        patch("shared.repository.initialise.write_key_file", partial(write_key_file, cost=KdfCost(16, 1, 1))),
        patch("shared.repository.writer.DATA_PACK_BYTES", 64 << 10),
        patch("shared.repository.locks.SETTLE_SECONDS", 0.0),
    ):
        yield


def make_share(folder: Path, *, large: bool = True) -> Path:
    """A small share that fills several packs; ``large``: with a file that fills one alone."""
    folder.mkdir(parents=True)
    for number in range(12):
        inside = folder / f"site{number % 3}"
        inside.mkdir(exist_ok=True)
        content = b"".join(b"%d line %d\n" % (number * 7919 * line, line) for line in range(1200))
        (inside / f"file{number}.txt").write_bytes(content)
    if large:
        (folder / "large.bin").write_bytes(bytes(range(256)) * 2600)
    return folder


def change_share(folder: Path, number: int) -> None:
    (folder / "site0" / "file0.txt").write_bytes(b"changed %d\n" % number * 2000)
    (folder / f"new{number}.txt").write_bytes(b"new %d\n" % number * 10)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
