"""Protecting what is kept: a locked date on each blob that a recovery point needs, put off again and again.

Until its date nobody can delete or change a blob, with whatever rights. It is set LIFEBOAT_PROTECT_FOR ahead, and put
off once less than half of that is left: so a blob costs one request a week or so, and what is no longer needed can be
deleted within two. A locked date can never be brought forward, so it is never taken from a clock that is far ahead of
the storage's.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.errors import (
    BlobNotFound,
    BlobProtected,
    Damaged,
    RepositoryMissing,
    StorageError,
    StorageForbidden,
    StorageUnavailable,
)
from shared.keeping.deleting import AT_ONCE, container_of
from shared.keeping.inventory import (
    BLOBS,
    COME_AND_GO,
    CONFIG,
    ELECTIONS,
    INDEX,
    JOURNALS,
    KEYS,
    PACKS,
    POINTS,
    SNAPSHOTS,
    Held,
    Inventory,
    is_same,
)
from shared.keeping.journal import Journal, Left, journals, put_journal
from shared.keeping.leftovers import journals_kept_for
from shared.keeping.survey import Survey, record_name, take_survey
from shared.repository.initialise import choose_passwords, open_repository
from shared.repository.needs import Needs, find_needs
from shared.repository.trees import rfc3339_of
from shared.settings import Settings
from shared.storage.blob_store import BlobStore
from shared.storage.vault import RECORDS_CONTAINER, SHARE_CONTAINER, Vault
from shared.telemetry import Event, emit, telling_of_failure

Json = dict[str, Any]

_BATCH = 256
CLOCKS_MAY_DIFFER = timedelta(days=1)
NAMES_TOLD = 20
"""Of each kind of tampering; of the rest the count."""
CLOCK_DIFFERS = "clock-differs"
TAMPERED = "tampered"

_LATE = (INDEX, SNAPSHOTS, POINTS)
_LOST = (
    "Run 'undelete': a blob that somebody deleted comes back while a version of it is left. What 'check' names after "
    "that is lost; the next 'backup' stores anew what the share still has."
)


@dataclass(slots=True)
class Protected:
    """What came of it."""

    for_seconds: int
    blobs: int = 0
    """That recovery points need, and that are there."""
    bytes: int = 0
    """Of them."""
    extended: int = 0
    """Of them, those whose date was set or put off now."""
    until: datetime | None = None
    """The earliest date of them; None: one has none."""
    stopped: bool = False
    """Nothing more could be protected."""
    reasons: list[Json] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def status(self) -> str:
        if self.stopped:
            return "failed"
        return "partial" if self.reasons else "ok"

    def answer(self) -> Json:
        return {
            "status": self.status,
            "reasons": self.reasons,
            "for_seconds": self.for_seconds,
            "blobs": self.blobs,
            "bytes": self.bytes,
            "extended": self.extended,
            "until": rfc3339_of(self.until) if self.until else None,
            "notes": self.notes,
        }


def _our_clock() -> datetime:
    return datetime.now(UTC)


def protect(
    settings: Settings,
    *,
    check: Callable[[], None] = lambda: None,
    clock: Callable[[], datetime] = _our_clock,
) -> Protected:
    """Set or put off the date of everything that the recovery points need: records, the election of the repository,
    journals; config, keys, index, their snapshots and packs; their backups of databases.

    May be repeated, and run beside a backup; beside a prune it may tell of blobs that this has just replaced. Where
    nobody knows what is needed, because a record or a tree is damaged or somebody has tampered with the vault, all
    there is gets a date. A blob that was overwritten never does: the date would keep the false bytes. ``partial``: what
    is there is protected, and something is missing, damaged or tampered with. ``failed``: the vault takes no dates.
    ``check`` is called often; what it raises ends it. Errors: those of the vault and the settings; ``WrongPassword``;
    ``RepositoryMissing`` where nothing was ever backed up.
    """
    began = time.monotonic()
    with telling_of_failure(Event.PROTECT_FAILED):
        result = Protected(settings.keeping().protect_for_seconds)
        if not result.for_seconds:
            result.notes.append("nothing is protected: LIFEBOAT_PROTECT_FOR is 0")
            return result
        with Vault(settings.vault()) as vault:
            vault.ensure_there(create=False)
            _Protecting(vault, settings, result, check, clock, take_survey(vault)).run()
    if result.reasons:
        first = result.reasons[0]
        emit(Event.PROTECT_FAILED, code=first["code"], detail=first["message"], duration_seconds=_since(began))
    else:
        emit(Event.PROTECT_COMPLETED, blobs=result.blobs, extended=result.extended, duration_seconds=_since(began))
    return result


def tampering(inventory: Inventory, left: Left) -> list[Json]:
    """Reasons: what somebody else than the keeper has deleted or overwritten.

    Deleted: only previous versions are left, and no journal names it. Overwritten: the current blob is not what was
    written first, as far as length and MD5 tell; so what ``undelete`` has put right is none of it.
    """
    deleted = sorted(
        name for name in inventory.only_previous() if name not in left and not name.startswith(COME_AND_GO)
    )
    return [
        *_tampered(deleted, "deleted by somebody else than the keeper"),
        *_tampered(_overwritten(inventory), "overwritten, and nothing in the vault ever is"),
    ]


def tell_tampering(reasons: Sequence[Json]) -> None:
    """The event of what ``tampering`` found."""
    found = [reason for reason in reasons if reason["code"] == TAMPERED]
    if found:
        detail = "; ".join(reason["message"] for reason in found)
        emit(Event.VAULT_TAMPERED, findings=sum(reason["count"] for reason in found), detail=detail)


def _tampered(names: Sequence[str], what: str) -> Iterator[Json]:
    if names:
        verb = "blob was" if len(names) == 1 else "blobs were"
        yield {
            "component": "lifeboat",
            "code": TAMPERED,
            "message": f"{len(names):,} {verb} {what}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}",
            "remedy": "Find out who did it and take the rights away; then run 'undelete', which brings it back.",
            "object": names[0],
            "objects": list(names[:NAMES_TOLD]),
            "count": len(names),
        }


def _overwritten(inventory: Inventory) -> list[str]:
    return sorted(
        name
        for name, versions in inventory.previous.items()
        if name in inventory.current
        and not name.startswith(COME_AND_GO)
        and not is_same(next((each for each in versions if each.locked), versions[0]), inventory.current[name])
    )


@dataclass(slots=True)
class _Protecting:
    vault: Vault
    settings: Settings
    result: Protected
    check: Callable[[], None]
    clock: Callable[[], datetime]
    survey: Survey
    wanted: dict[str, Held] = field(default_factory=dict)
    """Full names of what is needed and there."""

    @property
    def inventory(self) -> Inventory:
        return self.survey.inventory

    def run(self) -> None:
        if not self.inventory.current and not self.inventory.previous:
            raise RepositoryMissing(
                "there is nothing in the vault yet that could be protected", remedy="Run 'backup' first.", blob="config"
            )
        tampered_with = self._is_tampered_with()
        kept = self._kept()
        self._choose(kept or list(self.survey.points), all_known=kept is not None and not tampered_with)
        self._announce()
        self.check()
        self.result.blobs = len(self.wanted)
        self.result.bytes = sum(held.size_bytes for held in self.wanted.values())
        now = self._now()
        if now is not None:
            self._extend(now)

    def _announce(self) -> None:
        """What the keeper wanted to delete, a date kept, and is needed again: a backup has relied on it. Nobody is to
        take it for deleted, 'undelete' least of all."""
        again = tuple(name for name in self.wanted if name in self.survey.left)
        if again:
            entry = put_journal(self.vault.records, Journal(self.clock(), restores=again))
            self._want(f"{RECORDS_CONTAINER}/{entry}", "'undelete' goes by it", "lifeboat")

    # --- what is needed ---

    def _kept(self) -> list[str] | None:
        """Ids of the points that retention keeps: were the dates of others put off, they could never go. None: nobody
        knows, because a record cannot be read; that is a reason."""
        damaged = dict(self.survey.unreadable)
        try:
            decision = self.survey.decide(self.settings)
        except Damaged as error:
            damaged[str(error.object)] = error
        for point, found in damaged.items():
            message = f"{found}; since nobody knows what it needs, all else that there is gets protected"
            self._reason(f"{RECORDS_CONTAINER}/{found.object or record_name(point)}", message, "lifeboat")
        return None if damaged else list(decision.kept)

    def _choose(self, points: Sequence[str], *, all_known: bool) -> None:
        if CONFIG not in self.inventory.current:
            self._miss(CONFIG, "without it nobody can open the repository", "share")
        if not self.inventory.under(KEYS):
            self._miss(KEYS, "without a key nobody can open the repository", "share")
        for prefix in (CONFIG, KEYS, ELECTIONS):
            self._want_under(prefix)
        for point in points:
            self._want(record_name(point), "it is kept", "lifeboat")
        self._want_journals()
        for point in points:
            for snapshot, component in self.survey.parts[point].snapshots.items():
                self._want(f"{SNAPSHOTS}{snapshot}", f"{point} needs it", component)
        all_known = self._want_repository(points) and all_known
        for point in points:
            for name, size in self.survey.parts[point].blobs.items():
                self._want(f"{BLOBS}{name}", f"{point} needs its {size:,} bytes", "databases", size)
        if not all_known:
            for prefix in (POINTS, SNAPSHOTS, INDEX, PACKS, BLOBS):
                self._want_under(prefix)
        for point in self.survey.unreadable:
            if record_name(point) in self.survey.left.deleted:  # somebody has settled it, and waits for its date
                self.wanted.pop(record_name(point), None)

    def _want_repository(self, points: Sequence[str]) -> bool:
        """The index, and the packs that the points need. False where nobody knows which those are."""
        snapshots = {each for point in points for each in self.survey.parts[point].snapshots}
        there = [each for each in snapshots if f"{SNAPSHOTS}{each}" in self.wanted]
        fingerprints = [each for point in points for each in self.survey.parts[point].fingerprints]
        try:
            passwords = choose_passwords(self.vault.settings.repository_password, self.vault.secrets)
            repository = open_repository(self.vault.share, self.vault.records, passwords)
            needs = find_needs(repository, there, also=fingerprints, check=self.check)
        except (Damaged, RepositoryMissing) as error:
            message = f"{error}; since nobody knows which packs are needed, all there are get protected"
            self._reason(f"{SHARE_CONTAINER}/{error.object or 'keys/'}", message, "share", code=error.code)
            return False
        replaced = self._replaced(needs)
        for name in self.inventory.under(INDEX):
            if name not in replaced:
                self._want(name, "", "share")
        for name in needs.used_packs():
            self._want(f"{SHARE_CONTAINER}/{name}", "recovery points need it", "share")
        for name in needs.missing:
            self._miss(f"{SHARE_CONTAINER}/{name}", "recovery points need it", "share")
        return True

    def _replaced(self, needs: Needs) -> set[str]:
        """Index files that the keeper has replaced, and could not delete for their dates, and untrue ones: all that is
        needed is named by others too, whatever its journal says."""
        untrue = needs.untrue_indexes()
        deleted = {name for name in needs.index_files.files if f"{SHARE_CONTAINER}/{name}" in self.survey.left.deleted}
        without = _not_needed(untrue, needs) | _not_needed(untrue | deleted, needs)
        return {f"{SHARE_CONTAINER}/{name}" for name in without}

    def _want_journals(self) -> None:
        """Those that retention does not delete soon: with a date put off for ever it never could."""
        newest, damaged = self._newest(), self.survey.damaged_journal
        kept_for = journals_kept_for(timedelta(seconds=self.settings.keeping().undelete_for_seconds))
        for name, held in self.inventory.under(JOURNALS).items():
            is_damaged = damaged is not None and name == f"{RECORDS_CONTAINER}/{damaged.object}"
            if not is_damaged and (newest is None or newest - held.first_written < kept_for):
                self.wanted[name] = held

    def _want_under(self, prefix: str) -> None:
        for name in self.inventory.under(prefix):
            self._want(name, "", "share")

    def _want(self, name: str, why: str, component: str, size_bytes: int | None = None) -> None:
        held = self.inventory.current.get(name) or self._written_since(name)
        if held is None:
            self._miss(name, why, component)
            return
        if size_bytes not in (None, held.size_bytes):
            self._reason(name, f"{name} has {held.size_bytes:,} bytes; {why}", component)
        self.wanted[name] = held

    def _written_since(self, name: str) -> Held | None:
        """A backup that has ended since the inventory was taken has written more."""
        store, inside = container_of(self.vault, name)
        blob = store.stat(inside)
        if blob is None:
            return None
        return Held(blob.size_bytes, blob.modified, blob.modified, None, False, None)

    def _miss(self, name: str, why: str, component: str) -> None:
        self._reason(name, f"{name} is not there, or not whole; {why}", component)

    def _reason(self, name: str, message: str, component: str, *, code: str = Damaged.code) -> None:
        self.result.reasons.append(
            {"component": component, "code": code, "message": message, "remedy": _LOST, "object": name}
        )

    # --- what somebody else has done ---

    def _is_tampered_with(self) -> bool:
        error = self.survey.damaged_journal
        if error is not None:
            self._reason(f"{RECORDS_CONTAINER}/{error.object}", str(error), "lifeboat")
        found = tampering(self.inventory, self.survey.left)
        self.result.reasons += found
        tell_tampering(found)
        return bool(found)

    # --- dates ---

    def _newest(self) -> datetime | None:
        """When the newest blob was written."""
        return max((held.modified for held in self.inventory.current.values()), default=None)

    def _now(self) -> datetime | None:
        """The time, by the storage's clock wherever ours may be far from it; None: it cannot be told."""
        ours = self.clock()
        newest = self._newest() or ours
        if ours - newest <= CLOCKS_MAY_DIFFER:
            return max(ours, newest)
        try:
            theirs = _storage_time(self.vault.records)
        except StorageForbidden as error:
            self._stop(
                error.as_reason("lifeboat")
                | {
                    "code": CLOCK_DIFFERS,
                    "message": f"our clock is {_days(ours - newest)} ahead of the newest blob in the vault, and the "
                    f"storage's cannot be read: {error}",
                }
            )
            return None
        if ours - theirs > CLOCKS_MAY_DIFFER:
            self.result.reasons.append(
                {
                    "component": "lifeboat",
                    "code": CLOCK_DIFFERS,
                    "message": f"our clock is {_days(ours - theirs)} ahead of the storage's, which the dates go by",
                    "remedy": "Set the clock of this machine.",
                }
            )
        return theirs

    def _extend(self, now: datetime) -> None:
        """The first request alone: a vault that takes no dates is asked once."""
        until = (now + timedelta(seconds=self.result.for_seconds)).replace(microsecond=0)
        overwritten = set(_overwritten(self.inventory))
        soon = now + timedelta(seconds=self.result.for_seconds / 2)
        names = [name for name in self.wanted if name not in overwritten]
        due = sorted((name for name in names if not _is_far(self.wanted[name], soon)), key=_stage)
        dates = {name: self.wanted[name].until for name in names}
        outcomes: list[StorageError | None] = []
        try:
            with ThreadPoolExecutor(AT_ONCE, "protect") as pool:
                for start, end in _batches([_stage(name) for name in due]):
                    self.check()
                    outcomes += list(pool.map(lambda name: self._set(name, until), due[start:end]))
        except StorageUnavailable:
            raise
        except StorageError as error:
            self._stop(error.as_reason("lifeboat"))
        vanished = []
        for name, outcome in zip(due, outcomes, strict=False):
            if outcome is None:
                dates[name] = until
                self.result.extended += 1
            elif isinstance(outcome, BlobNotFound):
                vanished.append(name)
                del dates[name]
            else:
                self._reason(name, f"{name} could not be protected: {outcome}", "lifeboat", code=BlobProtected.code)
        self._tell_vanished(vanished)
        if dates and None not in dates.values():
            self.result.until = min(each for each in dates.values() if each)

    def _set(self, name: str, until: datetime) -> StorageError | None:
        store, inside = container_of(self.vault, name)
        try:
            store.protect(inside, until)
        except (BlobNotFound, BlobProtected) as error:
            return error
        return None

    def _tell_vanished(self, names: Sequence[str]) -> None:
        """What a prune has replaced meanwhile is in its journal."""
        if not names:
            return
        left = Left.by(journals(self.vault.records))
        for name in names:
            if name not in left:
                self._miss(name, "it was a moment ago, and recovery points need it", "lifeboat")

    def _stop(self, reason: Json) -> None:
        self.result.stopped = True
        self.result.reasons.insert(0, reason)


def _not_needed(indexes: set[str], needs: Needs) -> set[str]:
    """Those of ``indexes`` of which all that is needed is named by index files that are none of them."""
    files = needs.index_files.files
    named = {number for name, numbers in files.items() if name not in indexes for number in numbers}
    return {name for name in indexes if all(number in named or not needs.is_used(number) for number in files[name])}


def _is_far(held: Held, soon: datetime) -> bool:
    return held.locked and held.until is not None and held.until >= soon


def _stage(name: str) -> int:
    """What others need comes before them, as when it was written: a run that is killed half-way leaves no record with a
    date that outlives those of its parts."""
    return next((at for at, prefix in enumerate(_LATE, 1) if name.startswith(prefix)), 0)


def _batches(stages: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Beginning and end of parts that may be done at once: the first is a single one, none holds two stages."""
    start = 0
    while start < len(stages):
        most = _BATCH if start else 1
        end = start + 1
        while end < len(stages) and end - start < most and stages[end] == stages[start]:
            end += 1
        yield start, end
        start = end


def _storage_time(records: BlobStore) -> datetime:
    """What the storage's clock says now: a blob is written, looked at and deleted."""
    name = f"preflight/clock-{secrets.token_hex(8)}"
    records.put(name, b"")
    blob = records.stat(name)
    records.delete(name)
    if blob is None:
        raise BlobNotFound(f"{name} is gone as soon as it was written", remedy="Run it again.", blob=name)
    return blob.modified


def _days(length: timedelta) -> str:
    return f"{length / timedelta(days=1):,.1f} days"


def _since(began: float) -> float:
    return round(time.monotonic() - began, 3)
