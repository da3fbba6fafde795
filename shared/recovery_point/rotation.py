"""The rotation of the scheduled verification: which part of the vault a round reads back, so that all of it is read
within a time.

Pure. Packs and blobs lie on a circle of 2^64 places, evenly, since a pack's place comes from its id and a blob's from
the SHA-256 of its name. A line goes round once in that time, and a round reads what the line has passed since the last
one. A round that is cut short has read up to some place; the next begins there, and what was due is due still.

    whatever exists for the whole time has been read since then, once the first round after it has come to its end
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

CIRCLE = 1 << 64
FIRST = timedelta(days=1)
"""What is due where there was no round before, or one that a wrong clock has dated into the future."""
MOST_ARCS = 100
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Arc:
    """A part of the circle that was read back."""

    length: int
    time: datetime
    """When its reading began, aware UTC."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """Where the rotation stands."""

    position: int
    """The last place whose contents have been read."""
    due_until: datetime
    """The line was at ``position`` then: what was due until then has been read."""
    arcs: tuple[Arc, ...] = ()
    """Of the last turn, the oldest first; they end at ``position``."""

    @property
    def read_back_since(self) -> datetime | None:
        """All that was there at that moment, and still is, has been read since; None before the first turn is done."""
        length = 0
        for arc in reversed(self.arcs):
            length += arc.length
            if length >= CIRCLE:
                return arc.time
        return None


@dataclass(frozen=True, slots=True)
class Round:
    """What one round is to read: the places after ``start``, up to ``length`` of them."""

    start: int
    length: int
    due_from: datetime
    now: datetime
    within: timedelta
    arcs: tuple[Arc, ...] = ()

    def steps_to(self, place: int) -> int:
        """How far the line has to go until it has passed ``place``: from 1 to ``CIRCLE``."""
        return (place - self.start - 1) % CIRCLE + 1

    def after(self, steps: int) -> Rotation:
        """Where the rotation stands when everything has been read that is up to ``steps`` away."""
        done = steps >= self.length
        steps = min(steps, self.length)
        due_until = self.now if done else self.due_from + (self.within // _MICROSECOND * steps // CIRCLE) * _MICROSECOND
        arcs = (*self.arcs, Arc(steps, self.now)) if steps else self.arcs
        return Rotation((self.start + steps) % CIRCLE, due_until, _last_turn(arcs))


def next_round(before: Rotation | None, now: datetime, within: timedelta) -> Round:
    """What is due now, the whole circle at most. ``within`` is longer than nothing."""
    first = now - min(FIRST, within)
    due_from = max(before.due_until, now - within) if before and before.due_until <= now else first
    length = -(-((now - due_from) // _MICROSECOND) * CIRCLE // (within // _MICROSECOND))  # rounded up
    start, arcs = (before.position, before.arcs) if before else (CIRCLE - 1, ())
    return Round(start, min(length, CIRCLE), due_from, now, within, arcs)


def place_of_pack(pack_id: bytes) -> int:
    return int.from_bytes(pack_id[:8], "big")


def place_of_blob(name: str) -> int:
    return place_of_pack(hashlib.sha256(name.encode()).digest())


def _last_turn(arcs: Iterable[Arc]) -> tuple[Arc, ...]:
    """The newest arcs that make a turn; where there are too many, neighbours count as one that was read as early."""
    kept: list[Arc] = []
    length = 0
    for arc in reversed(list(arcs)):
        if length >= CIRCLE:
            break
        kept.insert(0, arc)
        length += arc.length
    while len(kept) > MOST_ARCS:
        at = min(range(len(kept) - 1), key=lambda at: kept[at].length + kept[at + 1].length)
        one, other = kept[at], kept[at + 1]
        kept[at : at + 2] = [Arc(one.length + other.length, min(one.time, other.time))]
    return tuple(kept)
