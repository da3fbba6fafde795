"""Whether a version of SystemSecrets.JSON fits the databases it is kept with.

Rotating the connection strings of App Service changes the passwords of its own users in the databases, and with them
their modify_date. A user that was modified after the newest upload, and after the newest word of an operator that
nothing was rotated, means: the secrets were rotated and not saved again. That is *drift*; and so is a user whose last
change has become older: its database was brought back to before a rotation. Only connection strings show it: rotated
keys, certificates and system credentials leave no trace in a database, so what is not drift *fits* as far as it can be
seen, and the age of the last word is told. Where the users cannot be seen the verdict is *unknown*, never *fits*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

FITS, DRIFT, UNKNOWN = "fits", "drift", "unknown"
CLOCKS_DIFFER = timedelta(minutes=5)


class ModifiedUser(Protocol):
    """A SQL user of App Service's own."""

    @property
    def database(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def modified(self) -> datetime:
        """When its password, or anything of it, was changed: aware, by the clock that uploads are told by."""
        ...


class SeenUser(ModifiedUser, Protocol):
    @property
    def local(self) -> str:
        """The same as the server told it, in its own local time."""
        ...


@dataclass(frozen=True, slots=True)
class Known:
    """A user as earlier points saw it."""

    local: str
    """When it was modified, as the server told it."""
    modified: datetime
    highest: datetime
    """The latest that ``modified`` ever was, since somebody last answered a finding."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What speaks against the secrets until somebody has spoken: new bytes, or a confirmation, after ``at``."""

    at: datetime
    verdict: str
    detail: str
    rotated: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """What is handed on from recovery point to recovery point."""

    at: datetime | None = None
    """When users were last seen; None: never."""
    known: Mapping[tuple[str, str], Known] = field(default_factory=dict)
    """By database and name."""
    open: Finding | None = None


@dataclass(frozen=True, slots=True)
class Pairing:
    verdict: str
    """``fits``, ``drift`` or ``unknown``."""
    detail: str
    """For people."""
    rotated: tuple[str, ...] = ()
    """``database.user``, of each that speaks against it."""
    lasting: bool = False
    """It holds until somebody has spoken, whatever is seen later."""


def judge(
    users: Sequence[ModifiedUser],
    hidden: Sequence[str],
    *,
    uploaded: datetime,
    confirmed: datetime | None,
    databases_moment: datetime | None = None,
    memory: Memory | None = None,
    now: datetime | None = None,
) -> Pairing:
    """``hidden``: what could not be seen, in sentences. ``databases_moment``: the earliest moment that a backup of a
    database in the same recovery point stands for, by the clock that uploads are told by; None where there is none."""
    last_word = max(uploaded, confirmed) if confirmed else uploaded
    said = "confirmed" if confirmed and confirmed > uploaded else "uploaded"
    since = [user for user in users if user.modified > last_word]
    if since:
        return Pairing(
            DRIFT,
            f"the secrets were rotated and not saved again: {_named(since)}, and SystemSecrets.JSON was last {said} at "
            f"{_time(last_word)}",
            _names(since),
            lasting=True,
        )
    if memory is not None and (back := _brought_back(users, memory, last_word)):
        answered = memory.at is not None and last_word > memory.at
        return Pairing(
            UNKNOWN if answered else DRIFT,
            f"databases were brought back to before a rotation: {_named(back)}, and that was later at the last look; "
            "to them belongs the SystemSecrets.JSON of then"
            + (f"; whether that was {said} at {_time(last_word)} cannot be told" if answered else ""),
            _names(back),
            lasting=True,
        )
    if databases_moment is not None:
        between = [user for user in users if user.modified > databases_moment]
        if between:
            return Pairing(
                DRIFT,
                f"the secrets were rotated while this point was made: its backup of the databases stands for "
                f"{_time(databases_moment)}, and {_named(between)}; to them belongs what was current before",
                _names(between),
            )
        if uploaded > databases_moment:
            return Pairing(
                UNKNOWN,
                f"SystemSecrets.JSON was uploaded at {_time(uploaded)}, while this point was made: whether it is "
                f"that of the databases, backed up at {_time(databases_moment)}, cannot be told",
            )
    if now is not None and last_word > now + CLOCKS_DIFFER:
        return Pairing(
            UNKNOWN,
            f"SystemSecrets.JSON was {said} at {_time(last_word)}, which is yet to come: some clock is wrong, "
            "and a change in between cannot be told",
        )
    if hidden:
        return Pairing(UNKNOWN, "; ".join(hidden))
    if not users:
        return Pairing(UNKNOWN, "there are no users of App Service's to judge by")
    newest = max(user.modified for user in users)
    return Pairing(
        FITS,
        f"no password of App Service's {len(users)} users was changed since {_time(newest)}, and SystemSecrets.JSON "
        f"was last {said} at {_time(last_word)}. Rotated keys, certificates and system credentials cannot be seen",
    )


def settle(fresh: Pairing, memory: Memory, *, last_word: datetime, now: datetime) -> tuple[Pairing, Finding | None]:
    """The verdict that counts, and what stays open for the next point.

    A finding stays open until somebody has spoken, though what showed it is gone: a user that was dropped, a database
    that is not backed up any more, a right that was taken.
    """
    before = memory.open if memory.open is not None and last_word <= memory.open.at else None
    if fresh.lasting and (before is None or fresh.verdict == DRIFT):
        at = before.at if before is not None else now
        return fresh, Finding(at, fresh.verdict, fresh.detail, fresh.rotated)
    if before is not None and fresh.verdict != DRIFT:
        return Pairing(before.verdict, before.detail, before.rotated, lasting=True), before
    return fresh, before


def remember(
    users: Sequence[SeenUser], memory: Memory, finding: Finding | None, *, last_word: datetime, now: datetime
) -> Memory:
    """What the next point is handed."""
    answered = memory.open is not None and last_word > memory.open.at
    known = dict(memory.known)
    for user in users:
        before = known.get((user.database, user.name))
        highest = user.modified if before is None or answered else max(before.highest, user.modified)
        known[user.database, user.name] = Known(user.local, user.modified, highest)
    return Memory(now if users else memory.at, known, finding)


def _brought_back(users: Sequence[ModifiedUser], memory: Memory, last_word: datetime) -> list[ModifiedUser]:
    """Users whose last change is older than it was. Once somebody has answered for it, it is as it should be."""
    if memory.open is not None and last_word > memory.open.at:
        return []
    known = memory.known
    return [
        user
        for user in users
        if (user.database, user.name) in known and user.modified < known[user.database, user.name].highest
    ]


def _named(users: Sequence[ModifiedUser]) -> str:
    first = max(users, key=lambda user: user.modified)
    more = f" and {len(users) - 1} more" if len(users) > 1 else ""
    return f"{first.database}.{first.name}{more} changed at {_time(first.modified)}"


def _names(users: Sequence[ModifiedUser]) -> tuple[str, ...]:
    return tuple(f"{user.database}.{user.name}" for user in sorted(users, key=lambda user: (user.database, user.name)))


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"
