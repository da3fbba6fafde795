"""Copies between accounts that no byte of ours passes through: the service reads the source itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from shared.errors import Damaged, StorageError
from shared.storage.retrying import RetryingStore

LARGEST_COPY_BYTES = 5000 << 20
"""What one Put Blob From URL may carry."""

COPY_SILENCE_SECONDS = 900
"""How long the service may say nothing while it copies: it answers when all of it is done."""

COPY_LIMIT_SECONDS = COPY_SILENCE_SECONDS + 300
"""How long a copy is tried again: one that fell silent may still be repeated."""


@dataclass(frozen=True, slots=True, repr=False)
class CopySource:
    """Where the service reads from, and as whom. Neither ``str`` nor ``repr`` shows any of it."""

    url: str
    """With its SAS, or plain where there is an ``authorization``."""
    authorization: str | None = field(default=None)
    """``Bearer`` and a token."""

    def __repr__(self) -> str:
        return f"CopySource(by {'token' if self.authorization else 'SAS'})"


class CopyingService(Protocol):
    """A container whose service copies; ``azure_blobs.AzureBlobStore`` is one."""

    def copy_from(self, name: str, source: CopySource, *, size_bytes: int) -> bool:
        """One request; what it promises is what ``copy_blob`` does, without the look afterwards."""
        ...


def copy_blob(
    service: CopyingService, retrying: RetryingStore, name: str, source: CopySource, *, size_bytes: int
) -> bool:
    """Make ``name`` of the ``size_bytes`` at ``source``, whole or not at all, and look at its length afterwards.

    True: made by this call. False: it was there with this length, which is also how a lost reply is answered.
    ``BlobExists``: it is there with another length. ``CopyRefused``: the service cannot read the source; whoever can
    may stream it. ``Damaged``: copied, and not as long as it should be. ``StorageError``: too large for one copy.
    """
    if size_bytes > LARGEST_COPY_BYTES:
        raise StorageError(
            f"{name} has {size_bytes:,} bytes, more than one copy may carry ({LARGEST_COPY_BYTES >> 20:,} MiB)",
            remedy="back up to more stripes, so that each stays under 4 GiB",
            blob=name,
        )
    created = retrying.repeat(lambda: service.copy_from(name, source, size_bytes=size_bytes))
    if created:
        there = retrying.stat(name)
        if there is None or there.size_bytes != size_bytes:
            found = "is not there" if there is None else f"has {there.size_bytes:,} bytes"
            raise Damaged(
                f"{name} was copied and {found}; its source had {size_bytes:,}",
                remedy="nothing refers to it: run again, under a new name",
                blob=name,
            )
    return created
