"""Versions of blobs and the dates until which nothing may change them: what protects, prunes and brings back.

A container as who keeps the vault sees it. Where the account keeps versions, deleting or overwriting a blob leaves what
it was as a previous version ("Blob versioning" in Azure's documentation); where it holds immutability policies, a
version cannot be deleted before its date ("Version-level WORM policies"). An account that can neither has current
blobs only, without dates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from shared.storage.blob_store import BlobStore


@dataclass(frozen=True, slots=True)
class BlobVersion:
    """A blob, or what it was before it was deleted or overwritten."""

    name: str
    version: str | None
    """Its id: the moment at which it was written, as the service writes it; None where the account keeps no versions.
    """
    current: bool
    size_bytes: int
    modified: datetime
    """When it was written, aware UTC, by the clock of the service. What was brought back was written then."""
    md5: bytes | None = None
    """Of its content, as the service keeps it."""
    until: datetime | None = None
    """The date before which nothing can delete or change it, aware UTC; None: there is none."""
    locked: bool = False
    """The date can only be put off."""
    legal_hold: bool = False
    deleted: bool = False
    """Soft-deleted: it cannot be read before ``undelete``."""


def whole_second(until: datetime) -> datetime:
    """The date as the service keeps it, in whole seconds and no earlier than asked."""
    return until.replace(microsecond=0) + timedelta(seconds=until.microsecond > 0)


class VersionedStore(BlobStore, Protocol):
    """A container with what it was. Every method may be called from several threads at once.

    Errors as ``BlobStore``; besides ``BlobProtected`` where a date, or a legal hold, refuses what was asked, also from
    ``delete``.
    """

    def list_versions(self, prefix: str) -> Iterator[BlobVersion]:
        """Every version of each blob whose name begins with ``prefix``: in the order of names, those of one name one
        after the other, the oldest first. Where the account keeps none: the blobs."""
        ...

    def get_version(self, name: str, version: str, offset: int = 0, length: int | None = None) -> bytes:
        """As ``get``, of a version. ``BlobNotFound``."""
        ...

    def protect(self, name: str, until: datetime) -> None:
        """Lock the current version until then, in ``whole_second``. A date that is there is put off, never brought
        forward: an earlier ``until`` is ``BlobProtected``. ``BlobNotFound``; ``StorageError`` naming the remedy where
        the container holds no immutability policies."""
        ...

    def make_current(self, version: BlobVersion) -> bool:
        """Make of a previous version the current blob, by a copy inside the service, where there is none now.

        True: made by this call. False: a current one of its length is there. ``BlobExists``: there is another one.
        """
        ...

    def delete_version(self, name: str, version: str) -> None:
        """Delete a previous version for good; one that is not there is deleted already. ``BlobProtected``."""
        ...

    def undelete(self, name: str) -> None:
        """Bring back all soft-deleted versions of the name, as previous versions; where the account keeps no versions,
        the blob. Where nothing was deleted, nothing happens."""
        ...
