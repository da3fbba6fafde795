"""Deleting what is not needed any more, as far as dates and holds allow; what they refuse is counted and left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from shared.errors import BlobProtected
from shared.keeping.inventory import Held
from shared.storage.vault import Vault
from shared.storage.versions import VersionedStore

AT_ONCE = 8
_BATCH = 256
Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


def several_at_once(
    act: Callable[[Item], Outcome], items: Sequence[Item], check: Callable[[], None]
) -> Iterator[tuple[Item, Outcome]]:
    """Each item with what ``act`` made of it, in their order; ``check`` is called before each few hundred, and nothing
    more is begun once it or ``act`` has raised."""
    with ThreadPoolExecutor(AT_ONCE, "keeper") as pool:
        for start in range(0, len(items), _BATCH):
            check()
            part = items[start : start + _BATCH]
            yield from zip(part, pool.map(act, part), strict=True)


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
        for name, done in several_at_once(self._delete, open_ones, self.check):
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
