"""What a shard, and in the end a snapshot, says of the files in it: counts, and lists of what is not in it and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from shared.errors import printable

MOST_LISTED = 1000
"""Of each list so many are kept; the counts are always whole."""


@dataclass(slots=True)
class Counts:
    """Files and folders against the parent snapshot, as restic counts them; sizes in bytes."""

    files_new: int = 0
    files_changed: int = 0
    files_unmodified: int = 0
    dirs_new: int = 0
    dirs_changed: int = 0
    dirs_unmodified: int = 0
    data_blobs: int = 0
    tree_blobs: int = 0
    data_added: int = 0
    """New content, as read."""
    data_added_packed: int = 0
    """The same as stored."""
    total_bytes: int = 0
    """Of all files in it, read now or not."""
    bytes_read: int = 0
    packs: int = 0

    @property
    def files(self) -> int:
        return self.files_new + self.files_changed + self.files_unmodified

    def add(self, other: Counts) -> None:
        for each in fields(Counts):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


@dataclass(slots=True)
class PathList:
    """Paths with what is to be said of them; the first thousand, and how many there are in all."""

    count: int = 0
    first: list[dict[str, str]] = field(default_factory=list)

    def append(self, path: str, reason: str, message: str) -> None:
        self.count += 1
        if len(self.first) < MOST_LISTED:
            self.first.append({"path": printable(path), "reason": reason, "message": printable(message)})

    def add(self, other: PathList) -> None:
        self.count += other.count
        self.first += other.first[: MOST_LISTED - len(self.first)]

    def to_json(self) -> dict[str, Any]:
        return {"count": self.count, "first": self.first}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> PathList:
        return cls(value["count"], list(value["first"]))


@dataclass(slots=True)
class Outcome:
    counts: Counts = field(default_factory=Counts)
    unreadable: PathList = field(default_factory=PathList)
    """Files and folders that could not be read: the point is partial."""
    tolerated: PathList = field(default_factory=PathList)
    """The same, where LIFEBOAT_SHARE_TOLERATE matches: listed, and the point may be complete."""
    not_descended: PathList = field(default_factory=PathList)
    """Links, mount points and devices, which are not followed."""
    without_security: PathList = field(default_factory=PathList)
    """Read, but the security descriptor was refused."""

    def add(self, other: Outcome) -> None:
        for each in fields(Outcome):
            getattr(self, each.name).add(getattr(other, each.name))

    def to_json(self) -> dict[str, Any]:
        return {
            each.name: asdict(self.counts) if each.name == "counts" else getattr(self, each.name).to_json()
            for each in fields(Outcome)
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Outcome:
        lists = {each.name: PathList.from_json(value[each.name]) for each in fields(Outcome) if each.name != "counts"}
        return cls(counts=Counts(**value["counts"]), **lists)
