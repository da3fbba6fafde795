"""A vault in memory, by Azure's rules of versions, immutability and rights, on a clock of the test.

clock = FakeClock(datetime(2026, 1, 1, tzinfo=UTC))
vault = MemoryVault(clock=clock, worm=Worm(delete_under_policy="previous version"), rights=BACKUP_APP)
keeper = vault.with_rights(KEEPER)
keeper.before = StopAtCall(7)
vault.judge("share").list_versions("data/")
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from shared.errors import BlobExists, BlobNotFound, BlobProtected, StorageError, StorageForbidden
from shared.settings import VaultSettings
from shared.storage.blob_store import BlobInfo
from shared.storage.counting import Traffic
from shared.storage.key_vault import SecretStore
from shared.storage.versions import BlobVersion, whole_second
from tests.standins.rights_proxy import OWNER, Rights
from tests.standins.worm import Clock, Refused, Version, Worm, WormContainer

Hook = Callable[[str, str], None]
"""Hears of each call as (kind, name); what it raises, the caller gets."""


def _nothing(kind: str, name: str) -> None:
    """The hook of who does not listen."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class MemoryVault:
    """What ``shared.storage.vault.Vault`` is for a run. The kinds of calls that ``before`` and ``after`` hear of:
    put, get, list, stat, delete, protect, make_current, delete_version, undelete (and overwrite, of an attacker)."""

    clock: Clock = _now
    worm: Worm = field(default_factory=Worm)
    rights: Rights = OWNER
    password: str | None = "correct horse battery"
    """None: it is in ``secrets``."""
    secrets: SecretStore | None = None
    before: Hook = _nothing
    after: Hook = _nothing
    containers: dict[str, WormContainer] = field(default_factory=dict, repr=False)
    _traffic: Traffic = field(default_factory=Traffic)

    @property
    def settings(self) -> VaultSettings:
        return VaultSettings("memory", None, "", None, self.password)

    @property
    def share(self) -> MemoryStore:
        return MemoryStore(self, "share")

    @property
    def records(self) -> MemoryStore:
        return MemoryStore(self, "recovery-points")

    @property
    def databases(self) -> MemoryStore:
        return MemoryStore(self, "databases")

    def versions(self, container: str) -> MemoryStore:
        return MemoryStore(self, container)

    def judge(self, container: str = "share") -> MemoryStore:
        """The container with all rights, and no hook hears of it."""
        return MemoryStore(self.with_rights(OWNER), container)

    def with_rights(self, rights: Rights) -> MemoryVault:
        """The same data as another identity sees it, with hooks and traffic of its own."""
        return replace(self, rights=rights, before=_nothing, after=_nothing, _traffic=Traffic())

    def to_folder(self, container: str, folder: Path) -> Path:
        """Write the current blobs as files, for a stock restic; ``folder`` is made."""
        folder.mkdir(parents=True, exist_ok=True)
        judge = self.judge(container)
        for blob in judge.list(""):
            path = folder / blob.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(judge.get(blob.name))
        return folder

    def secret(self, name: str, *, setting: str) -> str:
        found = self.secrets.get(name) if self.secrets else None
        assert found is not None, f"{setting} is not set, and the test's Key Vault holds no {name}"
        return found.value

    def ensure_there(self, *, create: bool) -> None:
        """The containers are there."""

    def traffic(self) -> Traffic:
        return self._traffic

    def __enter__(self) -> MemoryVault:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing stays open."""

    def container(self, name: str) -> WormContainer:
        """The state of the container, for a test that arranges or looks at what no call can."""
        return self.containers.setdefault(name, WormContainer(self.worm, self.clock))


@dataclass(frozen=True)
class MemoryStore:
    """A ``VersionedStore``, and what only an attacker or an administrator would do."""

    vault: MemoryVault
    container: str

    def put(self, name: str, body: bytes) -> bool:
        with self._call("put", name):
            there = self._state.current(name)
            if there is not None:
                return self._same(there, there.body == body)
            self._allow(self.vault.rights.add, "add/action", name)
            self._state.write(name, body, overwrite=False)
            self.vault._traffic.bytes_put += len(body)
            return True

    def overwrite(self, name: str, body: bytes) -> None:
        """Put Blob without a condition."""
        with self._call("overwrite", name):
            self._allow(self.vault.rights.write, "write", name)
            self._state.write(name, body, overwrite=True)

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        with self._call("get", name):
            there = self._state.current(name)
            if there is None:
                raise BlobNotFound(f"{self.container}/{name} does not exist", blob=name)
            return self._part(there, offset, length)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        with self._call("list", prefix):
            found = [version for version in self._state.versions(prefix) if version.current]
            return iter([BlobInfo(version.name, len(version.body), version.modified) for version in found])

    def stat(self, name: str) -> BlobInfo | None:
        with self._call("stat", name):
            there = self._state.current(name)
            return BlobInfo(name, len(there.body), there.modified) if there else None

    def delete(self, name: str) -> None:
        with self._call("delete", name), contextlib.suppress(BlobNotFound):
            allowed = f"{self.container}/{name}".startswith(self.vault.rights.delete_under)
            self._allow(allowed, "delete", name)
            with self._azure(name):
                self._state.delete(name)

    def list_versions(self, prefix: str) -> Iterator[BlobVersion]:
        with self._call("list", prefix):
            return iter([_blob_version(version) for version in self._state.versions(prefix)])

    def get_version(self, name: str, version: str, offset: int = 0, length: int | None = None) -> bytes:
        with self._call("get", name), self._azure(name):
            return self._part(self._state.version(name, version), offset, length)

    def protect(self, name: str, until: datetime) -> None:
        with self._call("protect", name):
            self._allow(self.vault.rights.immutability, "immutableStorage/runAsSuperUser/action", name)
            until, there = whole_second(until), self._state.current(name)
            if there is not None and there.locked and there.until == until:
                return
            with self._azure(name):
                self._state.protect(name, until, locked=True)

    def hold(self, name: str, on: bool) -> None:
        """Set Blob Legal Hold, of the current version."""
        with self._azure(name):
            self._allow(self.vault.rights.immutability, "immutableStorage/runAsSuperUser/action", name)
            self._state.hold(name, on)

    def make_current(self, version: BlobVersion) -> bool:
        name = version.name
        with self._call("make_current", name):
            there = self._state.current(name)
            if there is not None:
                return self._same(there, len(there.body) == version.size_bytes)
            self._allow(self.vault.rights.add, "add/action", name)
            with self._azure(name):
                body = self._state.version(name, version.version or "").body
                self._state.write(name, body, overwrite=False)
            return True

    def delete_version(self, name: str, version: str) -> None:
        with self._call("delete_version", name), contextlib.suppress(BlobNotFound):
            self._allow(self.vault.rights.delete_versions, "deleteBlobVersion/action", name)
            with self._azure(name):
                self._state.delete_version(name, version)

    def undelete(self, name: str) -> None:
        with self._call("undelete", name), contextlib.suppress(BlobNotFound):
            self._allow(self.vault.rights.write, "write", name)
            with self._azure(name):
                self._state.undelete(name)

    @property
    def _state(self) -> WormContainer:
        return self.vault.container(self.container)

    @contextlib.contextmanager
    def _call(self, kind: str, name: str) -> Iterator[None]:
        self.vault.before(kind, name)
        with self._state.lock:
            self.vault._traffic.requests[kind] += 1
        yield
        self.vault.after(kind, name)

    def _allow(self, allowed: bool, right: str, name: str) -> None:
        if not allowed and not self.vault.rights.everything:
            right = f"Microsoft.Storage/storageAccounts/blobServices/containers/blobs/{right}"
            raise StorageForbidden(
                f"memory refused {self.container}/{name}", remedy=f"give the identity the right {right}", blob=name
            )

    @contextlib.contextmanager
    def _azure(self, name: str) -> Iterator[None]:
        """Our errors for Azure's refusals."""
        try:
            yield
        except Refused as refused:
            what = f"{self.container}/{name}: {refused.status} {refused.code}"
            if refused.code == "BlobNotFound":
                raise BlobNotFound(what, blob=name) from refused
            if refused.code.startswith("BlobImmutable"):
                raise BlobProtected(what, remedy="wait until its date has passed", blob=name) from refused
            raise StorageError(
                what,
                remedy="LIFEBOAT_PROTECT_FOR=0s goes without protection",
                setting="LIFEBOAT_PROTECT_FOR",
                blob=name,
            ) from refused

    def _same(self, there: Version, same: bool) -> bool:
        if same:
            return False
        raise BlobExists(f"{self.container}/{there.name} exists with other bytes", blob=there.name)

    def _part(self, version: Version, offset: int, length: int | None) -> bytes:
        body = version.body[offset : None if length is None else offset + length]
        self.vault._traffic.bytes_got += len(body)
        return body


def _blob_version(version: Version) -> BlobVersion:
    return BlobVersion(
        version.name,
        version.id,
        version.current,
        len(version.body),
        version.modified,
        md5=version.md5,
        until=version.until,
        locked=version.locked,
        legal_hold=version.legal_hold,
        deleted=version.deleted,
    )
