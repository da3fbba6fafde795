"""What a recovery point is made of in the vault beside its record: snapshots, and backups of databases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from shared.databases.backup_set import BackupSet
from shared.databases.medium import BLOBS, REPOSITORY
from shared.errors import Damaged
from shared.recovery_point.databases import sets_of
from shared.recovery_point.record import RecoveryPoint
from shared.repository.index import parse_id


@dataclass(frozen=True, slots=True)
class Parts:
    """Only what the point itself has added: backups in earlier points that its own build on are parts of those."""

    sets: tuple[BackupSet, ...]
    snapshots: Mapping[str, str]
    """Ids of snapshots, each with the component that it is of."""
    blobs: Mapping[str, int]
    """Names in the container ``databases`` and their sizes in bytes."""
    fingerprints: tuple[str, ...] = ()
    """Ids of data blobs in the repository by which the next backup sees what has changed: no tree names them."""


def parts_of(point: RecoveryPoint) -> Parts:
    """``Damaged`` where the record does not make sense."""
    sets = tuple(sets_of(point))
    snapshots = {each.stored["snapshot"]: "databases" for each in sets if each.stored["kind"] == REPOSITORY}
    if point.snapshot:
        snapshots[point.snapshot] = "share"
    in_blobs = (blob for each in sets if each.stored["kind"] == BLOBS for blob in each.stored["blobs"])
    blobs = {blob["name"]: int(blob["size_bytes"]) for blob in in_blobs}
    return Parts(sets, snapshots, blobs, tuple(_fingerprints(point)))


def _fingerprints(point: RecoveryPoint) -> Iterator[str]:
    try:
        for blob in ((point.share or {}).get("fingerprints") or {}).get("blobs", ()):
            yield parse_id(blob).hex()
    except (AttributeError, TypeError, ValueError) as error:
        name = f"points/{point.point}.json"
        raise Damaged(f"{name}: its fingerprints cannot be read: {error!r}", blob=name) from error
