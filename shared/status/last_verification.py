"""What the last verification said: how old it is, what it found, and since when everything has been read back once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.errors import Damaged
from shared.recovery_point.verifications import OK, POINT, ROUND, RUN, KeptVerification, newest_first
from shared.repository.trees import rfc3339_of
from shared.storage.blob_store import BlobStore
from shared.storage.vault import RECORDS_CONTAINER

Json = dict[str, Any]

BEHIND = timedelta(days=3)
"""A round that is due is told from then on."""


@dataclass(frozen=True, slots=True)
class LastVerification:
    result: KeptVerification
    age_seconds: float
    """Since it began; never below zero."""

    def to_json(self) -> Json:
        result = self.result
        return {
            "time": rfc3339_of(result.time),
            "age_seconds": round(self.age_seconds, 3),
            "kind": result.kind,
            "status": result.status,
            "point": result.point,
            "findings": result.findings,
            "bytes_read": result.bytes_read,
            "read_back_since": rfc3339_of(result.read_back_since) if result.read_back_since else None,
        }

    @property
    def what(self) -> str:
        """In words: what was verified."""
        result = self.result
        told = {POINT: f"of {result.point}", RUN: f"of what the run of {result.point} wrote last"}
        return told.get(result.kind, "of what was due")


@dataclass(frozen=True, slots=True)
class Verifications:
    """What ``read_verifications`` has read."""

    last: LastVerification | None = None
    damaged: tuple[KeptVerification, ...] = ()
    """The newest round, and what is newer, as far as they found something."""
    unreadable: tuple[Damaged, ...] = ()
    notes: tuple[str, ...] = ()

    def reasons(self) -> Iterator[Json]:
        for each in self.damaged:
            first = f", the first is {each.objects[0]}" if each.objects else ""
            yield {
                "component": "lifeboat",
                "code": Damaged.code,
                "message": f"the verification of {each.time:%Y-%m-%d %H:%M}Z found {each.findings:,} thing(s) "
                f"damaged{first}",
                "remedy": f"What it found, with what to do, is in {RECORDS_CONTAINER}/{each.name}. Put that right and "
                "run 'verify' again: it looks at that again.",
                "object": each.objects[0] if each.objects else f"{RECORDS_CONTAINER}/{each.name}",
            }


def read_verifications(records: BlobStore, now: datetime) -> Verifications:
    """From the newest back to the newest round, which looks again at what was found before it."""
    seen: list[KeptVerification] = []
    unreadable: list[Damaged] = []
    for each in newest_first(records):
        if isinstance(each, Damaged):
            unreadable.append(each)
            continue
        seen.append(each)
        if each.kind in (ROUND, RUN):
            break
    if not seen:
        return Verifications(unreadable=tuple(unreadable))
    return Verifications(
        LastVerification(seen[0], max(0.0, (now - seen[0].time).total_seconds())),
        tuple(each for each in seen if each.status != OK),
        tuple(unreadable),
        tuple(_behind(seen[-1], now)),
    )


def _behind(newest: KeptVerification, now: datetime) -> Iterator[str]:
    if newest.rotation is not None and now - newest.rotation.due_until > BEHIND:
        yield (
            f"what was due to be read back since {newest.rotation.due_until:%Y-%m-%d %H:%M}Z has not been: the "
            "verification does not run, or is cut short (LIFEBOAT_SCHEDULE_VERIFY, LIFEBOAT_VERIFY_WITHIN)"
        )
