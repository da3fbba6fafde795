"""Deleting what is not needed any more, as far as dates and holds allow; what they refuse is counted and left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

from shared.errors import BlobProtected
from shared.keeping.inventory import Held
from shared.storage.vault import Vault
from shared.storage.versions import VersionedStore

DELETIONS_AT_ONCE = 8


@dataclass(slots=True)
class Deletions:
    """Deletes current blobs, by their names with the container before them: ``share/index/...``."""

    vault: Vault
    now: datetime
    """By the clock of the storage."""
    check: Callable[[], None]
    """Raises when the lock was lost: then nothing more may be deleted."""
    dry_run: bool = False
    deleted: int = 0
    bytes_freed: int = 0
    refused: dict[str, datetime | None] = field(default_factory=dict)
    """Names that could not be deleted, and until when, where that is known."""

    def delete(self, names: Iterable[str], known: Mapping[str, Held]) -> set[str]:
        """Delete what of ``names`` is in ``known``, several at once. Returns those that are gone now, or would be in a
        dry run. May be repeated."""
        open_ones = []
        for name in names:
            held = known.get(name)
            if held is not None and held.is_protected(self.now):
                self.refused[name] = held.until
            elif held is not None:
                open_ones.append(name)
        gone: set[str] = set()
        with ThreadPoolExecutor(DELETIONS_AT_ONCE, "delete") as pool:
            for start in range(0, len(open_ones), 256):
                self.check()
                part = open_ones[start : start + 256]
                for name, done in zip(part, pool.map(self._delete, part), strict=True):
                    if done:
                        gone.add(name)
                        self.deleted += 1
                        self.bytes_freed += known[name].size_bytes
                    else:
                        self.refused[name] = None
        return gone

    def _delete(self, name: str) -> bool:
        """False: a date or a hold that no listing has shown refuses it."""
        if self.dry_run:
            return True
        store, inside = container_of(self.vault, name)
        try:
            store.delete(inside)
        except BlobProtected:
            return False
        return True


def container_of(vault: Vault, name: str) -> tuple[VersionedStore, str]:
    """The container of ``container/name``, and the name inside it."""
    container, _, inside = name.partition("/")
    return vault.versions(container), inside
