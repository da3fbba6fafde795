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
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

FITS, DRIFT, UNKNOWN = "fits", "drift", "unknown"


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


@dataclass(frozen=True, slots=True)
class Seen:
    """What an earlier recovery point saw, whose secrets fitted."""

    at: datetime
    users: Mapping[tuple[str, str], datetime]
    """(database, name) -> when it was modified."""


@dataclass(frozen=True, slots=True)
class Pairing:
    verdict: str
    """``fits``, ``drift`` or ``unknown``."""
    detail: str
    """For people."""
    rotated: tuple[str, ...] = ()
    """``database.user``, of each that speaks against it."""


def judge(
    users: Sequence[ModifiedUser],
    hidden: Sequence[str],
    *,
    uploaded: datetime,
    confirmed: datetime | None,
    databases_moment: datetime | None = None,
    seen: Seen | None = None,
) -> Pairing:
    """``hidden``: what could not be seen, in sentences. ``databases_moment``: the earliest moment that a backup of a
    database in the same recovery point stands for; None where there is none."""
    last_word = max(uploaded, confirmed) if confirmed else uploaded
    said = "confirmed" if confirmed and confirmed > uploaded else "uploaded"
    since = [user for user in users if user.modified > last_word]
    if since:
        return Pairing(
            DRIFT,
            f"the secrets were rotated and not saved again: {_named(since)}, and SystemSecrets.JSON was last {said} at "
            f"{_time(last_word)}",
            _names(since),
        )
    if seen is not None and last_word < seen.at:  # nobody has said anything since
        back = [user for user in users if user.modified < seen.users.get((user.database, user.name), user.modified)]
        if back:
            return Pairing(
                DRIFT,
                f"the databases were brought back to before a rotation: {_named(back)}, and later in what was "
                f"seen at {_time(seen.at)}; to them belongs the SystemSecrets.JSON of then",
                _names(back),
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


def _named(users: Sequence[ModifiedUser]) -> str:
    first = max(users, key=lambda user: user.modified)
    more = f" and {len(users) - 1} more" if len(users) > 1 else ""
    return f"{first.database}.{first.name}{more} changed at {_time(first.modified)}"


def _names(users: Sequence[ModifiedUser]) -> tuple[str, ...]:
    return tuple(f"{user.database}.{user.name}" for user in sorted(users, key=lambda user: (user.database, user.name)))


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"
