"""The keeper's journal of what it deletes: ``prunes/TIME-xxxxxx.json`` in the container ``recovery-points``.

Each entry is written before anything that it names is deleted, once, and never changed. Where a blob has previous
versions only, the journal tells what the keeper has deleted from what somebody else has. Full names begin with the
container: ``share/data/..``, ``databases/..``, ``recovery-points/points/..``.

Whoever may add to ``recovery-points`` can add an entry too. So an entry alone is no reason to delete anything: what it
marks is deleted only where nothing needs it, and what it hides from ``undelete`` is counted there.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

import orjson

from shared import VERSION
from shared.errors import BlobNotFound, Damaged
from shared.repository.trees import datetime_of, rfc3339_of
from shared.storage.blob_store import BlobInfo, BlobStore
from shared.storage.vault import RECORDS_CONTAINER

PREFIX = "prunes/"
FORMAT_VERSION = 1
_FETCHES_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Journal:
    """One entry."""

    time: datetime
    """When it was written, aware UTC, by the keeper's clock."""
    points: tuple[str, ...] = ()
    """Ids of the recovery points that are removed."""
    deletes: tuple[str, ...] = ()
    """Full names of what is deleted at once."""
    marks: tuple[str, ...] = ()
    """Full names of what is deleted after the waiting time, unless something needs it then."""
    restores: tuple[str, ...] = ()
    """Full names that an earlier entry deletes or marks, and that count as neither from now on: they are needed
    again, or were brought back."""

    def to_bytes(self) -> bytes:
        document = {
            "version": FORMAT_VERSION,
            "time": rfc3339_of(self.time),
            "points": self.points,
            "deletes": self.deletes,
            "marks": self.marks,
            "restores": self.restores,
            "lifeboat": VERSION,
        }
        return orjson.dumps(document, option=orjson.OPT_INDENT_2)

    @classmethod
    def from_bytes(cls, document: bytes, name: str) -> Journal:
        """``Damaged``, naming the blob, where it is no entry that this version understands."""
        try:
            value = orjson.loads(document)
            if value["version"] > FORMAT_VERSION:
                raise ValueError(f"it was written by a newer Lifeboat ({value.get('lifeboat')})")
            lists = [value["points"], value["deletes"], value["marks"], value.get("restores", [])]
            if not all(isinstance(each, list) and all(isinstance(text, str) for text in each) for each in lists):
                raise ValueError("it does not hold lists of names")
            return cls(datetime_of(value["time"]), *map(tuple, lists))
        except (Damaged, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise Damaged(f"{name} cannot be read: {error!r}", remedy=_REMEDY, blob=name) from error


_REMEDY = (
    "It says what the keeper has deleted; while it cannot be read nothing is deleted. Run 'undelete' to bring back "
    "what it was, or delete it if nobody can."
)


@dataclass(slots=True)
class Left:
    """What names mean by all entries together. Times are those of the service, at which the entry was written."""

    deleted: dict[str, datetime] = field(default_factory=dict)
    """Full names that the keeper has deleted, or was about to, since when."""
    marked: dict[str, datetime] = field(default_factory=dict)
    """Full names that it deletes when their waiting time is over, since when."""

    @classmethod
    def by(cls, entries: Iterable[tuple[BlobInfo, Journal]]) -> Left:
        """``entries``: oldest first, as ``journals`` gives them."""
        left = cls()
        for blob, journal in entries:
            for name in journal.deletes:
                left.deleted.setdefault(name, blob.modified)
            for name in journal.marks:
                left.marked.setdefault(name, blob.modified)
            for name in journal.restores:
                left.deleted.pop(name, None)
                left.marked.pop(name, None)
        return left

    def __contains__(self, name: str) -> bool:
        return name in self.deleted or name in self.marked

    def since(self, name: str) -> datetime | None:
        """Since when the keeper is about it; None: it never was."""
        return min(filter(None, (self.deleted.get(name), self.marked.get(name))), default=None)


def put_journal(records: BlobStore, journal: Journal) -> str:
    """Write the entry, before anything that it names is deleted. Returns the blob's name."""
    name = f"{PREFIX}{journal.time.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}.json"
    records.put(name, journal.to_bytes())
    return name


def journals(records: BlobStore, *, without: Collection[str] = ()) -> Iterator[tuple[BlobInfo, Journal]]:
    """Each entry, in the order in which the service saw them, oldest first; ``without``: full names of entries that are
    left out.

    ``Damaged`` for one that cannot be read: then nothing may be deleted. One that goes meanwhile is left out.
    """
    blobs = [blob for blob in records.list(PREFIX) if f"{RECORDS_CONTAINER}/{blob.name}" not in without]
    blobs.sort(key=lambda blob: (blob.modified, blob.name))  # the names tell the times of whoever wrote them
    for start in range(0, len(blobs), _FETCHES_AT_ONCE):
        with ThreadPoolExecutor(_FETCHES_AT_ONCE, "journals") as pool:
            read = list(pool.map(lambda blob: _read(records, blob), blobs[start : start + _FETCHES_AT_ONCE]))
        yield from (each for each in read if each is not None)


def _read(records: BlobStore, blob: BlobInfo) -> tuple[BlobInfo, Journal] | None:
    try:
        return blob, Journal.from_bytes(records.get(blob.name), blob.name)
    except BlobNotFound:
        return None
