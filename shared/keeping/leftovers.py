"""What nothing refers to and nobody needs: left by runs that were killed, and records that have had their time.

Pure: from names and ages. All names have their container before them.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from datetime import datetime, timedelta

from shared.databases.medium import LEFT_OVER_AFTER
from shared.keeping.inventory import JOURNALS, PREFLIGHT, RUNS, Held
from shared.storage.vault import DATABASES_CONTAINER, RECORDS_CONTAINER

RECORDS_KEPT_FOR = timedelta(days=400)
"""Ends of runs and rounds of verification are kept for a year and a little."""
A_MARGIN = timedelta(days=60)
"""Prunes, which remove previous versions, may come late."""
DRILLS_KEPT = 10
"""The newest results of drills stay, whatever became of their points: the measured RTO is asked for."""

_DRILLS = f"{RECORDS_CONTAINER}/drills/"
_OF_POINTS = (_DRILLS, f"{RECORDS_CONTAINER}/verifications/")
_HASHES = f"{RECORDS_CONTAINER}/verifications/hashes/"
_ROUNDS = f"{RECORDS_CONTAINER}/verifications/rounds/"


def journals_kept_for(undelete_for: timedelta) -> timedelta:
    """For as long, at least, as what they explain is there as previous versions."""
    return max(RECORDS_KEPT_FOR, undelete_for + A_MARGIN)


def records_to_delete(
    records: Mapping[str, Held],
    points: Container[str],
    blobs: Container[str],
    now: datetime,
    *,
    undelete_for: timedelta,
) -> list[str]:
    """Of the container of records, what may go. ``points``: ids that stay; ``blobs``: names of backups of databases."""
    journals_before = now - journals_kept_for(undelete_for)
    drills = sorted((name for name in records if name.startswith(_DRILLS)), key=_written)
    newest_drills = set(drills[-DRILLS_KEPT:])
    return [
        name
        for name, held in records.items()
        if name not in newest_drills
        and (
            held.modified < journals_before
            if name.startswith(JOURNALS)
            else _may_go(name, now - held.modified, points, blobs)
        )
    ]


def _may_go(name: str, age: timedelta, points: Container[str], blobs: Container[str]) -> bool:
    if name.startswith(RUNS):
        is_end = "/" not in name.removeprefix(RUNS)  # what steps left for each other lies in a folder of the run
        return age > (RECORDS_KEPT_FOR if is_end else LEFT_OVER_AFTER)
    if name.startswith(PREFLIGHT):
        return age > LEFT_OVER_AFTER
    if name.startswith(_ROUNDS):
        return age > RECORDS_KEPT_FOR
    if name.startswith(_HASHES):
        blob = name.removeprefix(_HASHES).removesuffix(".json")
        return f"{DATABASES_CONTAINER}/{blob}" not in blobs
    for prefix in _OF_POINTS:
        if name.startswith(prefix):
            return name.removeprefix(prefix).partition("/")[0] not in points
    return False


def _written(name: str) -> str:
    """The time in the name of a result beside a point."""
    return name.rpartition("/")[2]


def unnamed(found: Mapping[str, Held], named: Container[str], now: datetime) -> Iterator[str]:
    """What no record names and is older than any run can be."""
    return (name for name, held in found.items() if name not in named and now - held.modified > LEFT_OVER_AFTER)
