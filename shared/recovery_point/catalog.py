"""The catalog: all recovery points of a vault."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from shared.errors import BlobNotFound, Damaged, UsageError
from shared.recovery_point.record import RecoveryPoint, is_id
from shared.storage.blob_store import BlobStore

_PREFIX = "points/"
_FETCHES_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that cannot be read. While there is one, nothing may be deleted."""

    point: str
    error: Damaged


@dataclass(slots=True)
class Catalog:
    store: BlobStore
    """The container ``recovery-points``."""
    _earlier: list[RecoveryPoint] = field(default_factory=list)
    _source: Iterator[RecoveryPoint] | None = None

    def add(self, point: RecoveryPoint) -> None:
        """Write the record; it is the last thing that a run writes."""
        self.store.put(_name(point.point), point.to_bytes())

    def get(self, point: str) -> RecoveryPoint:
        """``UsageError`` for an id that is none, or that no record has; ``Damaged``."""
        if not is_id(point):
            raise UsageError(
                f"{point!r} is no recovery point's id", remedy="Run 'points' to see the ids: YYYYMMDDTHHMMSSZ-xxxxxx."
            )
        try:
            document = self.store.get(_name(point))
        except BlobNotFound:
            raise UsageError(
                f"there is no recovery point {point}", remedy="Run 'points' to see which there are."
            ) from None
        record = RecoveryPoint.from_bytes(document, _name(point))
        if record.point != point:
            raise Damaged(
                f"{_name(point)} says that it is the record of {record.point}", remedy="Run 'check'.", blob=_name(point)
            )
        return record

    def ids(self) -> list[str]:
        """Newest first."""
        names = [blob.name.removeprefix(_PREFIX).removesuffix(".json") for blob in self.store.list(_PREFIX)]
        return sorted(filter(is_id, names), reverse=True)

    def newest_first(self) -> Iterator[RecoveryPoint | Unreadable]:
        """Each point, read as it is asked for, a few ahead.

        No thread outlives a step: who drops the iterator half-way leaves the clean-up to the garbage collector, and a
        join of threads in there can wait for a lock that its own thread holds.
        """
        ids = self.ids()
        for start in range(0, len(ids), _FETCHES_AT_ONCE):
            with ThreadPoolExecutor(_FETCHES_AT_ONCE, "catalog") as pool:
                points = list(pool.map(self._read, ids[start : start + _FETCHES_AT_ONCE]))
            yield from (point for point in points if point is not None)

    def readable(self, passed_over: list[str] | None = None) -> Iterator[RecoveryPoint]:
        """As ``newest_first``, records that cannot be read passed over. Each that was come by so far is a sentence for
        people in ``passed_over``."""
        for point in self.newest_first():
            if isinstance(point, RecoveryPoint):
                yield point
            elif passed_over is not None:
                passed_over.append(f"passed over: {point.point}, whose record cannot be read")

    def earlier(self) -> Iterator[RecoveryPoint]:
        """As ``readable`` when it was first asked, however often it is asked: each record is read once at most."""
        at = 0
        while True:
            if self._source is None:
                self._source = self.readable()
            if at == len(self._earlier):
                following = next(self._source, None)
                if following is None:
                    return
                self._earlier.append(following)
            yield self._earlier[at]
            at += 1

    def _read(self, point: str) -> RecoveryPoint | Unreadable | None:
        """None: retention has removed it since it was listed."""
        try:
            return self.get(point)
        except UsageError:
            return None
        except Damaged as error:
            return Unreadable(point, error)


def _name(point: str) -> str:
    return f"{_PREFIX}{point}.json"
