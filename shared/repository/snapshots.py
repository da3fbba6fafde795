"""Snapshots: a root tree, when and of what it was taken.

restic's ``internal/data/snapshot.go``: the order of the fields, and the summary that ``restic snapshots`` shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from shared.errors import BlobNotFound, Damaged
from shared.repository.index import parse_id
from shared.repository.repository import Repository
from shared.repository.trees import go_json, parse_rfc3339


@dataclass(frozen=True, slots=True)
class Summary:
    """restic's SnapshotSummary; sizes in bytes, ``data_added`` as read and ``data_added_packed`` as stored."""

    backup_start: str
    backup_end: str
    files_new: int
    files_changed: int
    files_unmodified: int
    dirs_new: int
    dirs_changed: int
    dirs_unmodified: int
    data_blobs: int
    tree_blobs: int
    data_added: int
    data_added_packed: int
    total_files_processed: int
    total_bytes_processed: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    id: str
    """64 hex digits."""
    time_ns: int
    """Nanoseconds since 1970."""
    tree: str
    paths: tuple[str, ...]
    hostname: str
    tags: tuple[str, ...]
    parent: str | None
    fields: dict[str, Any]
    """The JSON as it stands."""


def save_snapshot(
    repository: Repository,
    *,
    time: str,
    tree: str,
    paths: Sequence[str],
    hostname: str,
    program_version: str,
    summary: Summary,
    parent: str | None = None,
    tags: Sequence[str] = (),
) -> str:
    """Write a snapshot; everything that it refers to must be in the vault and indexed already. Returns its id."""
    fields: dict[str, Any] = {"time": time}
    if parent:
        fields["parent"] = parent
    fields |= {"tree": tree, "paths": list(paths), "hostname": hostname}
    if tags:
        fields["tags"] = list(tags)
    fields |= {"program_version": program_version, "summary": asdict(summary)}
    return repository.save_unpacked("snapshots", go_json(fields))


def load_snapshot(repository: Repository, snapshot_id: str) -> Snapshot:
    """``Damaged`` when it is not there or cannot be read."""
    name = f"snapshots/{snapshot_id}"
    try:
        fields = repository.load_unpacked(name)
        return Snapshot(
            id=snapshot_id,
            time_ns=parse_rfc3339(fields["time"]),
            tree=parse_id(fields["tree"]).hex(),
            paths=_texts(fields["paths"]),
            hostname=_text(fields.get("hostname", "")),
            tags=_texts(fields.get("tags") or []),
            parent=_text(fields["parent"]) if fields.get("parent") else None,
            fields=fields,
        )
    except BlobNotFound as error:
        raise Damaged(
            f"snapshot {snapshot_id} is not there", remedy="Run 'points' to see what is.", blob=name
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged(f"snapshot {snapshot_id} cannot be read: {error!r}", blob=name) from error
    except Damaged as error:
        if error.object:
            raise
        raise Damaged(f"snapshot {snapshot_id} cannot be read: {error}", remedy="Run 'check'.", blob=name) from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where a text is expected")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(f"{type(value).__name__} where a list is expected")
    return tuple(map(_text, value))
