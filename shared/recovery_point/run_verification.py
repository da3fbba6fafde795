"""What is verified after every run: cheap, and what the run could not know before its record was written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from shared.errors import Damaged, LifeboatError
from shared.recovery_point.catalog import Catalog
from shared.recovery_point.damage import damage, tell_damage
from shared.recovery_point.verifications import RUN, Verification, put_verification
from shared.repository.presence import missing_content
from shared.repository.repository import Repository
from shared.repository.snapshots import load_snapshot
from shared.storage.vault import DATABASES_CONTAINER, RECORDS_CONTAINER, SHARE_CONTAINER, Vault
from shared.telemetry import Event, emit

Json = dict[str, Any]


def verify_run(vault: Vault, point: str, repository: Callable[[], Repository], *, is_listed: bool) -> Verification:
    """The record of a point that has just been made is read back; its snapshots are read, and what they need is looked
    for; the blobs of its databases are there with their lengths. Its secrets the run has read itself. What was found is
    kept beside the point.

    ``repository`` opens it, with its index loaded where ``is_listed`` is not given: that is where the same process has
    just looked for what the snapshots need. Raises no error of ours: that something could not be looked at is a reason
    and an event, and the point is made all the same.
    """
    made = Verification(RUN, point, datetime.now(UTC))
    try:
        try:
            made.reasons += _damages(vault, point, repository, is_listed)
        except Damaged as error:
            record = f"points/{point}.json"
            container = RECORDS_CONTAINER if error.object in (None, record) else SHARE_CONTAINER
            made.reasons.append(damage("share", f"{container}/{error.object or record}", str(error)))
        put_verification(vault.records, made)
    except LifeboatError as error:
        made.reasons.append(error.as_reason("lifeboat"))
        emit(Event.VERIFICATION_FAILED, code=error.code, detail=str(error), duration_seconds=made.duration_seconds)
    tell_damage(made.reasons)
    return made


def _damages(vault: Vault, point: str, repository: Callable[[], Repository], is_listed: bool) -> Iterator[Json]:
    """``Damaged``: the record cannot be read, or the index."""
    record = Catalog(vault.records).get(point)
    snapshots: Mapping[str, str] = {record.snapshot: "share"} if record.snapshot else {}
    blobs: Mapping[str, int] = {}
    if "databases" in record.components:
        from shared.recovery_point.parts import parts_of  # not for a share alone

        parts = parts_of(record)
        snapshots, blobs = parts.snapshots, parts.blobs
    for snapshot, component in snapshots.items():
        yield from _of_snapshot(repository(), snapshot, component, is_listed)
    for name, size_bytes in blobs.items():
        there = vault.databases.stat(name)
        if there is None or there.size_bytes != size_bytes:
            found = "it is not there" if there is None else f"it has {there.size_bytes:,} bytes"
            message = f"{found}, and {point} needs its {size_bytes:,} bytes"
            yield damage("databases", f"{DATABASES_CONTAINER}/{name}", message)


def _of_snapshot(repository: Repository, snapshot: str, component: str, is_listed: bool) -> Iterator[Json]:
    try:
        tree = load_snapshot(repository, snapshot).tree
    except Damaged as error:
        yield damage(component, f"{SHARE_CONTAINER}/snapshots/{snapshot}", str(error))
        return
    for missing in [] if is_listed else missing_content(repository, tree):
        message = f"it is not in the vault, and the snapshot {snapshot} needs it"
        yield damage(component, f"{SHARE_CONTAINER}/{missing}", message)
