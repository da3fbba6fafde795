"""Snapshots of an agent on the file server that no recovery point has taken: which of them may go. Pure.

An agent that runs more often than recovery points are made, or while none is made, leaves snapshots that nothing names.
They are known by their tag alone, since the keeper need not be told in which mode the share is backed up.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.databases.medium import LEFT_OVER_AFTER

Source = tuple[str, tuple[str, ...]]
"""Host name and paths of a snapshot, by which stock restic's ``forget`` groups them too."""


@dataclass(frozen=True, slots=True)
class AgentSnapshot:
    source: Source
    first_written: datetime
    """When the storage first saw it."""
    modified: datetime
    """When it was written, or brought back."""


def superseded(
    snapshots: Mapping[str, AgentSnapshot], needed: Collection[str], now: datetime, *, keep_within: timedelta
) -> set[str]:
    """Of ``snapshots``, by their ids, those that nobody will ask for: they are not ``needed`` by a usable point that
    stays, a newer one of the same source is, and they have been there for longer than LIFEBOAT_KEEP_WITHIN and eight
    days (as long as what killed runs leave). ``snapshots`` are tagged as the share's.

    So the newest of a source stays, whatever became of the points: the next one may take it.
    """
    newest: dict[Source, datetime] = {}
    for each in needed:
        if made := snapshots.get(each):
            newest[made.source] = max(made.first_written, newest.get(made.source, made.first_written))
    before = now - keep_within - LEFT_OVER_AFTER
    return {
        each
        for each, made in snapshots.items()
        if each not in needed
        and made.modified < before
        and made.source in newest
        and made.first_written < newest[made.source]
    }
