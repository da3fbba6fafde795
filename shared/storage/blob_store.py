"""What a repository and a catalog need from storage: one container, five calls.

Everything in the vault is created once and never changed, so there is no call that overwrites. Implementations:
``azure_blobs.AzureBlobStore`` (the service), ``local_folder.LocalFolderStore`` (tests). Wrappers, each a file, none
knowing the others: ``retrying.RetryingStore``, ``counting.CountingStore``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A blob as a listing shows it."""

    name: str
    """The full name inside the container, parts joined by ``/``."""
    size_bytes: int
    modified: datetime
    """When the blob was written, aware UTC, by the clock of the service."""


class BlobStore(Protocol):
    """One container. Every method may be called from several threads at once.

    Errors: ``StorageUnavailable`` (may be tried again), ``StorageForbidden`` (names the right that is missing),
    ``ContainerMissing``; those that belong to one call are named there. Nothing else is raised.
    """

    def put(self, name: str, body: bytes) -> bool:
        """Create ``name`` with ``body`` by one request that never overwrites.

        True: created by this call. False: the name exists already and holds exactly these bytes, which is also how a
        lost reply is answered (the service says 409, or 403 to who may not overwrite; then the bytes are compared).
        ``BlobExists``: the name holds other bytes, which stay as they are.
        """
        ...

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """``length`` bytes from ``offset``, or all to the end. Shorter only where the blob ends earlier.

        ``BlobNotFound`` if there is no such blob; ``Damaged`` where all is asked for of one that is longer than
        anything that is read so.
        """
        ...

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Each blob whose name begins with ``prefix`` exactly once, in the order of names."""
        ...

    def stat(self, name: str) -> BlobInfo | None:
        """The blob's facts, or None where there is none."""
        ...

    def delete(self, name: str) -> None:
        """Remove the blob; a blob that is not there is removed already."""
        ...
