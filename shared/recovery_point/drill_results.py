"""What came of drills, kept beside the points: ``drills/POINT/TIME-xxxxxx.json`` in the container ``recovery-points``.

Each is written once and never changed. It is a record beside the point, whose own record stays as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from shared.errors import BlobNotFound, Damaged
from shared.recovery_point.record import new_id
from shared.repository.trees import datetime_of, rfc3339_of
from shared.storage.blob_store import BlobStore

Json = dict[str, Any]

PREFIX = "drills/"
FORMAT_VERSION = 2
"""1: drills of databases only."""
PASS, FAIL = "pass", "fail"


@dataclass(slots=True)
class DrilledPart:
    """What came of one component."""

    component: str
    checks: list[Json] = field(default_factory=list)
    """``{"component", "name", "result": "pass" / "fail", "seconds", "detail"}``."""
    reasons: list[Json] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    """What bringing it back took; looking at what came back is not in it."""
    estimated_seconds: float | None = None
    """What bringing back all of the component would take; None: not known."""

    @property
    def passed(self) -> bool:
        return not self.reasons and bool(self.checks) and all(check["result"] == PASS for check in self.checks)

    def add(self, name: str, seconds: float, detail: str, *, passed: bool) -> None:
        self.checks.append(
            {
                "component": self.component,
                "name": name,
                "result": PASS if passed else FAIL,
                "seconds": round(seconds, 3),
                "detail": detail,
            }
        )


@dataclass(frozen=True, slots=True)
class DrillResult:
    """One drill, as it is read back."""

    point: str
    time: datetime
    """When it began, aware UTC."""
    status: str
    """``ok``, ``partial`` or ``failed``."""
    rto_seconds: float | None
    """What the drill measured: databases until they were ONLINE, the share's sample, and secrets. None where nothing
    came back."""
    estimated_rto_seconds: float | None = None
    """The same with all of the share. None where something that the point holds was not drilled, or did not come
    back."""
    drilled: tuple[str, ...] = ()
    """Components that were drilled, whatever came of it."""
    failed: tuple[str, ...] = ()
    """Those of them in which something went wrong."""


def put_drill_result(
    records: BlobStore, point: str, began: datetime, document: Json, *, drill: str | None = None
) -> str:
    """Keep what came of a drill of ``point``, and return the blob's name. ``document`` has at least ``status`` and
    ``rto_seconds``. ``drill``: its id, by default a new one."""
    name = f"{PREFIX}{point}/{drill or new_id(began)}.json"
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
        return DrillResult(
            str(found["point"]),
            datetime_of(found["time"]),
            str(found["status"]),
            _seconds(found["rto_seconds"]),
            _seconds(found.get("estimated_rto_seconds")),
            _components(found.get("checks", ())),
            _components(found.get("reasons", ())),
        )
    except (AttributeError, Damaged, KeyError, TypeError, ValueError) as error:
        raise Damaged(f"{name} cannot be read: {error!r}", remedy="Run 'drill' again.", blob=name) from error


def _seconds(found: Any) -> float | None:
    return None if found is None else float(found)


def _components(described: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(each["component"]) for each in described))
