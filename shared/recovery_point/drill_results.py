"""What came of drills, kept beside the points: ``drills/POINT/TIME-xxxxxx.json`` in the container ``recovery-points``.

Each is written once and never changed. It is a record beside the point, whose own record stays as it was.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from shared.errors import BlobNotFound, Damaged
from shared.repository.trees import datetime_of, rfc3339_of
from shared.storage.blob_store import BlobStore

Json = dict[str, Any]

PREFIX = "drills/"
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class DrillResult:
    """One drill, as it is read back."""

    point: str
    time: datetime
    """When it began, aware UTC."""
    status: str
    """``ok``, ``partial`` or ``failed``."""
    rto_seconds: float | None
    """None where no database came back."""


def put_drill_result(records: BlobStore, point: str, began: datetime, document: Json) -> str:
    """Keep what came of a drill of ``point``, and return the blob's name. ``document`` has at least ``status`` and
    ``rto_seconds``."""
    name = f"{PREFIX}{point}/{began:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}.json"
    whole = {"version": FORMAT_VERSION, "point": point, "time": rfc3339_of(began), **document}
    records.put(name, orjson.dumps(whole, option=orjson.OPT_INDENT_2))
    return name


def drills_newest_first(records: BlobStore) -> Iterator[DrillResult | Damaged]:
    """Each drill of any point, read as it is asked for; ``Damaged`` in place of one that cannot be read."""
    names = sorted((blob.name for blob in records.list(PREFIX)), key=lambda name: name.rpartition("/")[2], reverse=True)
    for name in names:
        try:
            yield _read(name, records.get(name))
        except BlobNotFound:
            continue  # pruned meanwhile, with its point
        except Damaged as damaged:
            yield damaged


def _read(name: str, document: bytes) -> DrillResult:
    try:
        found = orjson.loads(document)
        if found["version"] > FORMAT_VERSION:
            raise ValueError("it was written by a newer Lifeboat")
        rto_seconds = found["rto_seconds"]
        return DrillResult(
            str(found["point"]),
            datetime_of(found["time"]),
            str(found["status"]),
            None if rto_seconds is None else float(rto_seconds),
        )
    except (Damaged, KeyError, TypeError, ValueError) as error:
        raise Damaged(f"{name} cannot be read: {error!r}", remedy="Run 'drill' again.", blob=name) from error
