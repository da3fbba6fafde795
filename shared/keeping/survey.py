"""What the keeper knows before it protects or deletes anything: all that lies in the vault, every record, and which
recovery points retention keeps."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared.errors import Damaged
from shared.keeping.inventory import BLOBS, POINTS, SNAPSHOTS, Held, Inventory, take_inventory
from shared.keeping.journal import Left, journals
from shared.keeping.retention import Candidate, Decision, decide
from shared.recovery_point.catalog import Catalog, Unreadable
from shared.recovery_point.parts import Parts, parts_of
from shared.recovery_point.record import RecoveryPoint
from shared.recovery_point.verifications import OK, read_back_verdicts
from shared.settings import Settings
from shared.storage.vault import Vault

Json = dict[str, Any]


def record_name(point: str) -> str:
    """With its container."""
    return f"{POINTS}{point}.json"


@dataclass(slots=True)
class Survey:
    inventory: Inventory
    left: Left
    points: dict[str, RecoveryPoint] = field(default_factory=dict)
    """By their ids, newest first."""
    parts: dict[str, Parts] = field(default_factory=dict)
    unreadable: dict[str, Damaged] = field(default_factory=dict)
    """By their ids; while there is one, nobody knows what is needed."""
    damaged_journal: Damaged | None = None
    """Nobody knows then what was deleted by whom; ``left`` is empty."""
    proven: frozenset[str] = frozenset()
    """Points that were read back whole, and found good when that was last done."""
    rotten: frozenset[str] = frozenset()
    """Those that were found damaged."""

    def read_journals(self, vault: Vault, *, without: Collection[str] = ()) -> None:
        """``without``: full names of entries that are not looked at: a dry run would have deleted them."""
        try:
            self.left = Left.by(journals(vault.records, without=without))
            self.damaged_journal = None
        except Damaged as error:
            self.left, self.damaged_journal = Left(), error

    def decide(self, settings: Settings, *, held_at: datetime | None = None) -> Decision:
        """Which points are kept. With ``held_at`` those stay too that cannot be deleted at that moment, by a date or a
        hold. ``Damaged``: a record makes no sense."""
        lengths: Mapping[str, int] = {
            name: held.size_bytes for name, held in self.inventory.current.items() if name.startswith(BLOBS)
        }
        candidates = []
        for name, point in self.points.items():
            held = self.inventory.current.get(record_name(name))
            if held is not None:  # else it was written since the inventory was taken
                candidates.append(
                    Candidate(
                        record=point,
                        written=held.first_written,
                        sound=name not in self.rotten and self._is_sound(self.parts[name], lengths),
                        verified=name in self.proven,
                        held=_why_held(held, held_at),
                    )
                )
        return decide(candidates, settings.keeping(), max_shrink=settings.max_shrink())

    def _is_sound(self, parts: Parts, lengths: Mapping[str, int]) -> bool:
        """Whether all that the record names is there, by name and length."""
        return all(f"{SNAPSHOTS}{each}" in self.inventory.current for each in parts.snapshots) and all(
            lengths.get(f"{BLOBS}{name}") == size for name, size in parts.blobs.items()
        )


def take_survey(vault: Vault) -> Survey:
    """Reads every record and every journal."""
    survey = Survey(take_inventory(vault), Left())
    survey.read_journals(vault)
    for point in Catalog(vault.records).newest_first():
        if isinstance(point, Unreadable):
            survey.unreadable[point.point] = point.error
            continue
        try:
            survey.parts[point.point] = parts_of(point)
            survey.points[point.point] = point
        except Damaged as error:
            survey.unreadable[point.point] = error
    verdicts = read_back_verdicts(vault.records)
    survey.proven = frozenset(point for point, status in verdicts.items() if status == OK)
    survey.rotten = frozenset(point for point, status in verdicts.items() if status != OK)
    return survey


def _why_held(held: Held, at: datetime | None) -> str:
    if at is None or not held.is_protected(at):
        return ""
    return "a legal hold" if held.legal_hold else f"protected until {held.until:%Y-%m-%d %H:%M}Z"
