"""Azure's rules of versions and immutability, for one container: no HTTP, no clock of its own.

From "Blob versioning", "Version-level WORM policies", "Set Blob Immutability Policy", "Delete Blob", "Undelete Blob".
What they do not say, or say in two ways, is a field of ``Worm``. Not modelled: default policies (the vault has none),
snapshots, how long soft delete keeps.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

Clock = Callable[[], datetime]
"""Aware UTC."""

DeleteUnderPolicy = Literal["refused", "previous version"]

_TICKS_A_SECOND = 10_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Worm:
    """What an account is set to."""

    versioning: bool = True
    immutability: bool = True
    """Support for version-level immutability, which needs versioning."""
    delete_under_policy: DeleteUnderPolicy = "refused"
    """What Delete Blob does to a current version whose date has not passed: Azure's pages say both."""
    soft_delete: bool = False

    def __post_init__(self) -> None:
        if self.immutability and not self.versioning:
            raise ValueError("Azure supports version-level immutability only where versioning is on")


class Refused(Exception):
    """What Azure answers: a status, a code and a message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True)
class Version:
    """A blob, or what it was."""

    name: str
    id: str | None
    """None where the account keeps no versions."""
    current: bool
    body: bytes = field(repr=False)
    md5: bytes = field(repr=False)
    modified: datetime
    """In whole seconds, as Last-Modified has it."""
    until: datetime | None = None
    locked: bool = False
    legal_hold: bool = False
    deleted: bool = False
    """Soft-deleted."""


class WormContainer:
    """The versions of one container. Safe for several threads."""

    def __init__(self, worm: Worm, clock: Clock) -> None:
        self.worm = worm
        self._clock = clock
        self._blobs: dict[str, list[Version]] = {}
        self._last_tick = 0
        self.lock = threading.RLock()

    def current(self, name: str) -> Version | None:
        with self.lock:
            found = [version for version in self._blobs.get(name, ()) if version.current]
        return found[0] if found else None

    def version(self, name: str, version_id: str) -> Version:
        """One that can be read: neither deleted for good nor soft-deleted."""
        with self.lock:
            found = [
                version for version in self._blobs.get(name, ()) if version.id == version_id and not version.deleted
            ]
        if not found:
            raise _not_found()
        return found[0]

    def versions(self, prefix: str) -> Iterator[Version]:
        """All, soft-deleted ones too, as a listing gives them: by name, then the oldest first."""
        with self.lock:
            names = sorted(name for name in self._blobs if name.startswith(prefix))
            return iter([version for name in names for version in self._blobs[name]])

    def write(self, name: str, body: bytes, *, overwrite: bool, modified: datetime | None = None) -> Version:
        """Put Blob. One that is protected may be overwritten too: what it was stays, protected, as a version.
        ``modified``: where another clock than ours says so."""
        with self.lock:
            old = self.current(name)
            if old and not overwrite:
                raise Refused(409, "BlobAlreadyExists", "The specified blob already exists.")
            if old:
                self._replace(old, replace(old, current=False) if self.worm.versioning else None)
            now, stamp = self._stamp()
            md5 = hashlib.md5(body, usedforsecurity=False).digest()
            made = Version(name, stamp if self.worm.versioning else None, True, body, md5, modified or now)
            self._blobs.setdefault(name, []).append(made)
            return made

    def delete(self, name: str) -> None:
        """Delete Blob without a version."""
        with self.lock:
            self.refuse_delete(name)
            self.remove(name)

    def refuse_delete(self, name: str) -> None:
        """Raise what Delete Blob would be refused with."""
        current = self.current(name)
        if current is None:
            raise _not_found()
        if self.worm.delete_under_policy == "refused":
            self._refuse_protected(current)

    def remove(self, name: str) -> None:
        """What a delete that was not refused makes of the current version."""
        with self.lock:
            current = self.current(name)
            assert current is not None
            if self.worm.versioning:
                self._replace(current, replace(current, current=False))
            else:
                gone = replace(current, current=False, deleted=True)
                self._replace(current, gone if self.worm.soft_delete else None)

    def delete_version(self, name: str, version_id: str) -> None:
        """Delete Blob of a version: never of the current one, nor of one that is protected."""
        with self.lock:
            version = self.version(name, version_id)
            if version.current:
                raise Refused(
                    403, "OperationNotAllowedOnRootBlob", "The specified operation is not allowed on root blob."
                )
            self._refuse_protected(version)
            self._replace(version, replace(version, deleted=True) if self.worm.soft_delete else None)

    def protect(self, name: str, until: datetime, *, locked: bool, version_id: str | None = None) -> Version:
        """Set Blob Immutability Policy, of a version or the current one. Whether a locked date may be set once more is
        not told; here it may not, which is harder on the caller."""
        with self.lock:
            version = self._for_policy(name, version_id)
            if until <= self._clock():
                raise Refused(400, "InvalidHeaderValue", "The value for one of the HTTP headers is not in range.")
            if version.locked and (not locked or (version.until and until <= version.until)):
                raise _immutable()
            made = replace(version, until=until.replace(microsecond=0), locked=locked)
            self._replace(version, made)
            return made

    def unprotect(self, name: str, version_id: str | None = None) -> None:
        """Delete Blob Immutability Policy: of an unlocked one."""
        with self.lock:
            version = self._for_policy(name, version_id)
            if version.locked:
                raise _immutable()
            self._replace(version, replace(version, until=None))

    def rot(self, name: str, body: bytes) -> None:
        """What no call does: the bytes of the current version are other ones from now on, and no listing shows it."""
        with self.lock:
            old = self.current(name)
            assert old is not None
            self._replace(old, replace(old, body=body))

    def hold(self, name: str, on: bool, version_id: str | None = None) -> None:
        """Set Blob Legal Hold."""
        with self.lock:
            version = self._for_policy(name, version_id)
            self._replace(version, replace(version, legal_hold=on))

    def undelete(self, name: str) -> None:
        """Undelete Blob: what was soft-deleted is there again, a version as a previous one."""
        with self.lock:
            versions = self._blobs.get(name)
            if not versions:
                raise _not_found()
            if self.worm.versioning:
                self._blobs[name] = [replace(version, deleted=False) for version in versions]
            elif self.current(name) is None:
                self._blobs[name] = [replace(versions[-1], current=True, deleted=False)]

    def _for_policy(self, name: str, version_id: str | None) -> Version:
        version = self.version(name, version_id) if version_id else self.current(name)
        if version is None:
            raise _not_found()
        if not self.worm.immutability:
            raise Refused(
                409,
                "FeatureNotEnabled",
                "This operation is not permitted as the container has no version-level immutability.",
            )
        return version

    def _refuse_protected(self, version: Version) -> None:
        if version.legal_hold:
            raise Refused(
                409,
                "BlobImmutableDueToLegalHold",
                "This operation is not permitted as the blob is immutable due to one or more legal holds.",
            )
        if version.until and version.until > self._clock():
            raise _immutable()

    def _replace(self, old: Version, new: Version | None) -> None:
        kept = [new if version is old else version for version in self._blobs[old.name]]
        self._blobs[old.name] = [version for version in kept if version is not None]
        if not self._blobs[old.name]:
            del self._blobs[old.name]

    def _stamp(self) -> tuple[datetime, str]:
        """Now, and a version id of it; no id is given twice, and each is higher than those before."""
        tick = int((self._clock() - _EPOCH) / timedelta(microseconds=1)) * 10
        self._last_tick = max(tick, self._last_tick + 1)
        seconds, fraction = divmod(self._last_tick, _TICKS_A_SECOND)
        second = _EPOCH + timedelta(seconds=seconds)
        return second, f"{second:%Y-%m-%dT%H:%M:%S}.{fraction:07}Z"


def _not_found() -> Refused:
    return Refused(404, "BlobNotFound", "The specified blob does not exist.")


def _immutable() -> Refused:
    return Refused(
        409, "BlobImmutableDueToPolicy", "This operation is not permitted as the blob is immutable due to a policy."
    )
