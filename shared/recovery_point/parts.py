"""What a recovery point is made of in the vault beside its record: snapshots, and backups of databases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.databases.backup_set import BackupSet
from shared.databases.medium import BLOBS, REPOSITORY
from shared.recovery_point.databases import sets_of
from shared.recovery_point.record import RecoveryPoint


@dataclass(frozen=True, slots=True)
class Parts:
    """Only what the point itself has added: backups in earlier points that its own build on are parts of those."""

    sets: tuple[BackupSet, ...]
    snapshots: Mapping[str, str]
    """Ids of snapshots, each with the component that it is of."""
    blobs: Mapping[str, int]
    """Names in the container ``databases`` and their sizes in bytes."""


def parts_of(point: RecoveryPoint) -> Parts:
    """``Damaged`` where the record does not make sense."""
    sets = tuple(sets_of(point))
    snapshots = {each.stored["snapshot"]: "databases" for each in sets if each.stored["kind"] == REPOSITORY}
    if point.snapshot:
        snapshots[point.snapshot] = "share"
    in_blobs = (blob for each in sets if each.stored["kind"] == BLOBS for blob in each.stored["blobs"])
    return Parts(sets, snapshots, {blob["name"]: int(blob["size_bytes"]) for blob in in_blobs})
