"""The record of a recovery point. It is written last, once, and never changed.

JSON in the vault's container ``recovery-points``, ``points/ID.json``. ``components`` holds, for each requested
component, its own object with at least ``status``; ``digest`` tells whether all of it is what was written.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from shared.errors import Damaged
from shared.recovery_point.digest import opened, sealed

COMPLETE, PARTIAL, FAILED = "complete", "partial", "failed"
FORMAT_VERSION = 1
_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}\Z")

Json = dict[str, Any]


@dataclass(slots=True)
class RecoveryPoint:
    point: str
    """``YYYYMMDDTHHMMSSZ-`` and six hex digits."""
    time: str
    """When the run began, RFC 3339 in UTC."""
    status: str
    requested: list[str]
    not_configured: list[str]
    without: list[str]
    """Components that an earlier whole point had and whose absence the operator accepted."""
    whole: bool
    """Everything configured was requested, and all that the whole point before had is configured still."""
    suspect: bool
    """What was found is so different from before that retention may not act on it."""
    components: dict[str, Json]
    reasons: list[Json] = field(default_factory=list)
    skew_seconds: float = 0.0
    """Between the earliest and the latest moment that a component's data stands for."""
    duration_seconds: float = 0.0
    gone: list[str] = field(default_factory=list)
    """Components and databases of the whole point before that are not configured any more."""
    source: Json = field(default_factory=dict)
    """What App Service was made of: server, databases, share, the resource provider's build. Empty in records older
    than it."""
    run: Json = field(default_factory=dict)
    """Of a point that was made in Azure: the run, and who asked for it."""
    lifeboat: str = ""
    """The version that made it."""
    version: int = FORMAT_VERSION

    @property
    def snapshot(self) -> str | None:
        """The share's snapshot; there even where the share failed by shrinking."""
        return self.components.get("share", {}).get("snapshot")

    @property
    def share(self) -> Json | None:
        return self.components.get("share")

    @property
    def databases(self) -> dict[str, Json]:
        """What the point says of each database, by name; empty where they were not requested."""
        found: dict[str, Json] = self.components.get("databases", {}).get("databases", {})
        return found

    @property
    def requested_databases(self) -> list[str]:
        """Names of those that were to be backed up, whatever came of it."""
        component = self.components.get("databases", {})
        return list(component.get("requested") or component.get("databases", {}))

    def to_json(self) -> Json:
        return asdict(self)

    def to_bytes(self) -> bytes:
        return sealed(self.to_json())

    @classmethod
    def from_bytes(cls, document: bytes, name: str) -> RecoveryPoint:
        """``Damaged``, naming the blob, when it is no record that this version understands, or not what was written."""
        value = opened(document, name, remedy="Run 'check'; 'undelete' brings an earlier version back.")
        try:
            if value["version"] > FORMAT_VERSION:
                raise Damaged(
                    f"{name} was written by a newer Lifeboat ({value.get('lifeboat')})",
                    remedy="Use that version or a newer one.",
                    blob=name,
                )
            known = {each.name for each in fields(cls)}
            point = cls(**{key: content for key, content in value.items() if key in known})
            point._check()
        except (KeyError, TypeError) as error:
            raise Damaged(f"{name} cannot be read: {error!r}", remedy="Run 'check'.", blob=name) from error
        return point

    def _check(self) -> None:
        """``TypeError`` where a field, or what the properties above read, is of another type."""
        for each in fields(self):
            if not _FITS[str(each.type)](getattr(self, each.name)):
                raise TypeError(f"its field {each.name} is not what it should be")
        databases = self.components.get("databases", {})
        if not _is_objects(databases.get("databases", {})) or not _is_texts(databases.get("requested") or []):
            raise TypeError("its databases are not what they should be")
        if not isinstance(self.components.get("share", {}).get("snapshot"), str | None):
            raise TypeError("its snapshot is no text")


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _is_objects(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(each, dict) for each in value.values())


_FITS: Mapping[str, Callable[[object], bool]] = {
    "str": lambda value: isinstance(value, str),
    "bool": lambda value: isinstance(value, bool),
    "int": lambda value: isinstance(value, int),
    "float": lambda value: isinstance(value, int | float),
    "list[str]": _is_texts,
    "list[Json]": lambda value: isinstance(value, list) and all(isinstance(each, dict) for each in value),
    "dict[str, Json]": _is_objects,
    "Json": lambda value: isinstance(value, dict),
}
"""By the annotations of the fields."""


def new_id(now: datetime, run: str | None = None) -> str:
    """``run``: sixteen hex digits, of which the id takes six; without, they are random."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{run[:6] if run else secrets.token_hex(3)}"


def is_id(text: str) -> bool:
    return _ID.match(text) is not None
