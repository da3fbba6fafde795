"""Verification: backups are read back and hashed, one recovery point on demand, all of the vault in rotation.

Nothing is changed; what was found is kept beside the points (``verifications``). What a backup adds meanwhile is not
looked at; what a prune takes away meanwhile shows as missing.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.databases.backup_set import BackupSet
from shared.databases.chains import NoChain, chain_to
from shared.databases.medium import BLOBS, REPOSITORY
from shared.errors import BlobNotFound, ContainerMissing, Damaged, LifeboatError, StorageForbidden, UsageError
from shared.recovery_point.catalog import Catalog, Unreadable
from shared.recovery_point.check import CheckResult, check_records, check_secrets, open_checker, secret_files
from shared.recovery_point.damage import damage, share_reasons, tell_damage
from shared.recovery_point.databases import readable_sets, sets_of
from shared.recovery_point.record import COMPLETE, RecoveryPoint
from shared.recovery_point.rotation import Round, next_round, place_of_blob, place_of_pack
from shared.recovery_point.verifications import (
    POINT,
    ROUND,
    Verification,
    last_round,
    put_verification,
    same_hash,
)
from shared.repository.checker import Checker, CheckProgress
from shared.repository.packs import pack_name
from shared.settings import Settings
from shared.storage.vault import DATABASES_CONTAINER, RECORDS_CONTAINER, SHARE_CONTAINER, Vault

Json = dict[str, Any]

PIECE_BYTES = 8 << 20
PACKS_A_STEP = 12
TOLD_SECONDS = 600.0
"""A round writes down so often how far it has come: one that is killed has not read in vain."""


def verify_point(
    settings: Settings,
    point_id: str | None = None,
    *,
    progress: CheckProgress | None = None,
    check: Callable[[], None] = lambda: None,
) -> Verification:
    """Read back everything that a point needs, by default the newest that is complete and whole: each pack, each blob
    of its databases, those in earlier points that its own build on too, and its secrets.

    ``UsageError``: there is no such point. ``progress`` counts the trees and all bytes. What ``check`` raises ends it.
    """
    with Vault(settings.vault()) as vault:
        vault.ensure_there(create=False)
        catalog = Catalog(vault.records)
        notes: list[str] = []
        began = datetime.now(UTC)
        counts = CheckResult(progress=progress or CheckProgress(), notes=notes)
        try:
            point = catalog.get(point_id) if point_id else _newest(catalog, notes)
        except Damaged as error:
            made = Verification(POINT, point_id, began, [_damaged_record(str(point_id), error)])
        else:
            made = Verification(POINT, point.point, began, counts.reasons, notes)
            _read_point(vault, catalog, point, counts, made, check)
            _count(made, counts)
        _keep(vault, made)
    tell_damage(made.reasons)
    return made


def verify_round(
    settings: Settings,
    *,
    progress: CheckProgress | None = None,
    check: Callable[[], None] = lambda: None,
    budget: timedelta | None = None,
) -> Verification:
    """Check that all is there that records name, and read back and hash the part of all packs and blobs that is due,
    so that each is read within LIFEBOAT_VERIFY_WITHIN. What an earlier round or verification found damaged is read
    again. After ``budget`` no more is begun: the next round goes on from there, as it does after one that was killed
    or ended by what ``check`` raises.
    """
    within = timedelta(seconds=settings.verify_within_seconds())
    began = datetime.now(UTC)
    with Vault(settings.vault()) as vault:
        vault.ensure_there(create=False)
        records = list(Catalog(vault.records).newest_first())
        counts = CheckResult(progress=progress or CheckProgress())
        checker = open_checker(vault, counts.progress, check)
        check_records(vault, checker, records, counts)
        made = Verification(ROUND, None, began, counts.reasons, counts.notes)
        before = last_round(vault.records, made.notes)
        reading = _Reading(vault, checker, counts, made, next_round(before.rotation, began, within), check)
        try:
            reading.read(_items(checker, records), before.objects, budget)
        finally:
            tell_damage(made.reasons)
    return made


# --- one point ---


def _newest(catalog: Catalog, notes: list[str]) -> RecoveryPoint:
    for point in catalog.readable(notes):
        if point.status == COMPLETE and point.whole:
            return point
    raise UsageError(
        "no recovery point is complete and whole",
        remedy="Run 'points' and choose one with --point: what is in it is read back.",
    )


def _read_point(
    vault: Vault,
    catalog: Catalog,
    point: RecoveryPoint,
    counts: CheckResult,
    made: Verification,
    check: Callable[[], None],
) -> None:
    if point.status != COMPLETE:
        made.notes.append(f"{point.point} is {point.status}: only what it has was read back")
    try:
        sets = _needed_sets(catalog, point, made.reasons)
        files = dict.fromkeys(secret_files(point), point)
    except Damaged as error:
        made.reasons.append(_damaged_record(point.point, error))
        return
    snapshots = [point.snapshot] if point.snapshot else []
    snapshots += [each.stored["snapshot"] for each in sets if each.stored["kind"] == REPOSITORY]
    if snapshots:
        checker = open_checker(vault, counts.progress, check)
        made.reasons += share_reasons(checker.run_for(dict.fromkeys(snapshots)))
    for blob in _blobs(sets):
        _read_blob(vault, blob, counts.progress, made, check)
    check_secrets(vault, files, counts)


def _needed_sets(catalog: Catalog, point: RecoveryPoint, reasons: list[Json]) -> list[BackupSet]:
    """The backups in the point, and those in earlier points that they build on. ``Damaged``."""
    own = sets_of(point)
    if all(each.kind == "full" for each in own):
        return own
    known = [each for other in catalog.readable() for each in readable_sets(other)]
    needed = {each.uuid: each for each in own}
    for each in own:
        try:
            links = chain_to(each, [other for other in known if other.database.casefold() == each.database.casefold()])
        except NoChain as error:
            reasons.append(damage("databases", _record_name(point.point), f"{each.database}: {error}"))
        else:
            needed |= {link.uuid: link for link in links.sets}
    return list(needed.values())


def _record_name(point: str) -> str:
    return f"{RECORDS_CONTAINER}/points/{point}.json"


def _damaged_record(point: str, error: Damaged) -> Json:
    return damage("share", _record_name(point), str(error))


# --- a round ---


@dataclass(frozen=True, slots=True)
class _Blob:
    """A backup of a database, or a part of one, in the container ``databases``."""

    name: str
    size_bytes: int
    sha256: str | None
    """None where SQL Server itself has written it."""


@dataclass(frozen=True, slots=True)
class _Item:
    """A pack or a blob."""

    place: int
    object: str
    """Its name with the container before it."""
    content: bytes | _Blob
    """A pack's id."""


def _items(checker: Checker, records: Sequence[RecoveryPoint | Unreadable]) -> Iterator[_Item]:
    """All packs that an index names, and all blobs that a record names."""
    for pack in checker.packs():
        yield _Item(place_of_pack(pack), f"{SHARE_CONTAINER}/{pack_name(pack)}", pack)
    sets = [each for record in records if isinstance(record, RecoveryPoint) for each in readable_sets(record)]
    for blob in _blobs(sets):
        yield _Item(place_of_blob(blob.name), f"{DATABASES_CONTAINER}/{blob.name}", blob)


def _blobs(sets: Iterable[BackupSet]) -> list[_Blob]:
    named = (blob for each in sets if each.stored["kind"] == BLOBS for blob in each.stored["blobs"])
    found = {blob["name"]: _Blob(blob["name"], int(blob["size_bytes"]), blob.get("sha256")) for blob in named}
    return list(found.values())


@dataclass(slots=True)
class _Reading:
    """What a round reads back, in the order of the rotation."""

    vault: Vault
    checker: Checker
    counts: CheckResult
    made: Verification
    round: Round
    check: Callable[[], None]

    def read(self, items: Iterable[_Item], again: frozenset[str], budget: timedelta | None) -> None:
        """The result is written whatever comes, unless it is the vault that cannot take it."""
        due: list[_Item] = []
        others: list[_Item] = []
        for item in items:
            if self.round.steps_to(item.place) <= self.round.length:
                due.append(item)
            elif item.object in again:
                others.append(item)
        due.sort(key=lambda item: self.round.steps_to(item.place))
        self._reached(0, done=False)
        try:
            self._read(others)
            self._read_due(due, budget)
        except BaseException:
            with suppress(LifeboatError):
                self._write()
            raise
        self._write()

    def _read_due(self, due: Sequence[_Item], budget: timedelta | None) -> None:
        began = told = time.monotonic()
        for step in _steps(due):
            now = time.monotonic()
            if budget is not None and now - began >= budget.total_seconds():
                self.made.notes.append("the time for the round was over: what it had not come to is due with the next")
                return
            if now - told >= TOLD_SECONDS:
                told = now
                self._write()
            self._read(step)
            self._reached(self.round.steps_to(step[-1].place), done=False)
        self._reached(self.round.length, done=True)

    def _read(self, items: Sequence[_Item]) -> None:
        found = len(self.checker.findings)
        self.checker.read_packs(item.content for item in items if isinstance(item.content, bytes))
        self.made.reasons += share_reasons(self.checker.findings[found:])
        for item in items:
            if isinstance(item.content, _Blob):
                _read_blob(self.vault, item.content, self.counts.progress, self.made, self.check)

    def _reached(self, steps: int, *, done: bool) -> None:
        self.made.done = done
        self.made.rotation = self.round.after(steps)

    def _write(self) -> None:
        _count(self.made, self.counts)
        _keep(self.vault, self.made)


def _steps(items: Sequence[_Item]) -> Iterator[list[_Item]]:
    """A few packs at a time, blobs one by one: after each the round may stop."""
    step: list[_Item] = []
    for item in items:
        if step and (len(step) == PACKS_A_STEP or not isinstance(item.content, bytes)):
            yield step
            step = []
        step.append(item)
        if not isinstance(item.content, bytes):
            yield step
            step = []
    if step:
        yield step


# --- both ---


def _read_blob(
    vault: Vault, blob: _Blob, progress: CheckProgress, made: Verification, check: Callable[[], None]
) -> None:
    """Read it back and compare its hash: with what the record has, else with what it was when it was first read."""
    name = f"{DATABASES_CONTAINER}/{blob.name}"
    digest, size_bytes = hashlib.sha256(), 0
    try:
        while True:
            check()
            piece = vault.databases.get(blob.name, size_bytes, PIECE_BYTES)
            digest.update(piece)
            size_bytes += len(piece)
            progress.bytes_read += len(piece)
            if len(piece) < PIECE_BYTES:
                break
    except (BlobNotFound, ContainerMissing):
        made.reasons.append(damage("databases", name, "it is not there"))
        return
    made.database_blobs += 1
    if size_bytes != blob.size_bytes:
        message = f"it has {size_bytes:,} bytes, by its record {blob.size_bytes:,}"
        made.reasons.append(damage("databases", name, message))
        return
    try:
        if blob.sha256:
            same = digest.hexdigest() == blob.sha256
        else:
            same = same_hash(vault.records, blob.name, size_bytes, digest.hexdigest())
    except Damaged as error:
        made.reasons.append(damage("databases", f"{RECORDS_CONTAINER}/{error.object}", str(error), remedy=error.remedy))
    except StorageForbidden as error:
        made.notes.append(f"the hash of {name} could not be kept: {error}")
    else:
        if not same:
            made.reasons.append(damage("databases", name, "its content is not what it was: its hash is another one"))


def _count(made: Verification, counts: CheckResult) -> None:
    made.packs = counts.progress.packs_read
    made.bytes_read = counts.progress.bytes_read
    made.secret_files = counts.secret_files


def _keep(vault: Vault, made: Verification) -> None:
    """Who may only read the vault is told what was found all the same."""
    try:
        put_verification(vault.records, made)
    except StorageForbidden as error:
        made.notes.append(f"the result could not be kept: {error}")
