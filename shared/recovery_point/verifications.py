"""What verifications found, kept beside the points in the container ``recovery-points``; each is written once.

    verifications/POINT/TIME-run-xxxxxx.json       after the run that made the point
    verifications/POINT/TIME-point-xxxxxx.json     the point was read back whole
    verifications/rounds/TIME-round-xxxxxx.json    a round of the rotation (``rotation``), or what it had come to
    verifications/hashes/BLOBNAME.json             of a backup of a database, when it was first read back

A backup that SQL Server itself has written goes past us into the vault, so its hash is not known before it is read
back; from then on it has to be the same.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from shared import VERSION
from shared.errors import BlobExists, BlobNotFound, Damaged
from shared.recovery_point.digest import opened, sealed
from shared.recovery_point.rotation import CIRCLE, Arc, Rotation
from shared.repository.trees import datetime_of, rfc3339_of
from shared.storage.blob_store import BlobInfo, BlobStore

Json = dict[str, Any]

PREFIX = "verifications/"
ROUNDS, HASHES = "rounds", "hashes"
RUN, POINT, ROUND = "run", "point", "round"
OK, DAMAGED = "ok", "damaged"
FORMAT_VERSION = 1
_PACK = re.compile(r"share/data/[0-9a-f]{2}/([0-9a-f]{64})")
REASONS_KEPT = 20


@dataclass(slots=True)
class Verification:
    """One verification while it is done, and what it answers."""

    kind: str
    """``run``, ``point`` or ``round``."""
    point: str | None
    """None of a round."""
    began: datetime
    """Aware UTC."""
    reasons: list[Json] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    packs: int = 0
    """Read back whole and hashed, their blobs opened."""
    database_blobs: int = 0
    """Backups of databases beside the repository that were read back and hashed."""
    secret_files: int = 0
    """Versions of files in the Key Vault that were read back, with the recorded hash."""
    bytes_read: int = 0
    done: bool = True
    """False: it was cut short; what it had not come to is due with the next round."""
    rotation: Rotation | None = None
    """Where a round has left it."""

    @property
    def status(self) -> str:
        return DAMAGED if self.reasons else OK

    @property
    def duration_seconds(self) -> float:
        """Until now."""
        return round((datetime.now(UTC) - self.began).total_seconds(), 3)

    def answer(self) -> Json:
        """What the command answers; all of the contract's keys, always."""
        since = self.rotation.read_back_since if self.rotation else None
        return {
            "status": self.status,
            "reasons": self.reasons,
            "kind": self.kind,
            "point": self.point,
            "time": rfc3339_of(self.began),
            "duration_seconds": self.duration_seconds,
            "packs": self.packs,
            "database_blobs": self.database_blobs,
            "secret_files": self.secret_files,
            "bytes_read": self.bytes_read,
            "done": self.done,
            "read_back_since": rfc3339_of(since) if since else None,
            "notes": self.notes,
        }


def put_verification(records: BlobStore, made: Verification) -> str:
    """Keep what it has found so far, under a name of its own. Returns the name."""
    folder = made.point or ROUNDS
    name = f"{PREFIX}{folder}/{made.began:%Y%m%dT%H%M%SZ}-{made.kind}-{secrets.token_hex(3)}.json"
    document = {
        "version": FORMAT_VERSION,
        **made.answer(),
        "findings": len(made.reasons),
        "reasons": made.reasons[:REASONS_KEPT],
        "rotation": _rotation_fields(made.rotation) if made.rotation else None,
        "lifeboat": VERSION,
    }
    records.put(name, sealed(document))
    return name


@dataclass(frozen=True, slots=True)
class KeptVerification:
    """One as it is read back."""

    name: str
    kind: str
    point: str | None
    time: datetime
    """When it began, aware UTC."""
    status: str
    findings: int
    objects: tuple[str, ...]
    """What the first findings are about."""
    bytes_read: int
    rotation: Rotation | None

    @property
    def read_back_since(self) -> datetime | None:
        return self.rotation.read_back_since if self.rotation else None


def newest_first(records: BlobStore) -> Iterator[KeptVerification | Damaged]:
    """Rounds and verifications of points on demand, each read as it is asked for; only where there are none, those of
    runs. The order is by the clock of the storage. ``Damaged`` in place of one that cannot be read."""
    blobs = [blob for blob in records.list(PREFIX) if _kind(blob) in (RUN, POINT, ROUND)]
    blobs = [blob for blob in blobs if _kind(blob) != RUN] or blobs
    for blob in sorted(blobs, key=lambda blob: (blob.modified, blob.name), reverse=True):
        try:
            yield _read(blob.name, records.get(blob.name))
        except BlobNotFound:
            continue  # deleted meanwhile, with its point
        except Damaged as damaged:
            yield damaged


@dataclass(frozen=True, slots=True)
class LastRound:
    """What the newest round, and verifications of points since, have left."""

    rotation: Rotation | None
    """None: there was no round."""
    objects: frozenset[str]
    """What they found damaged, with the container before it."""


def last_round(records: BlobStore, notes: list[str]) -> LastRound:
    """``notes``: sentences for people, of results that cannot be read."""
    objects: set[str] = set()
    for kept in newest_first(records):
        if isinstance(kept, Damaged):
            notes.append(str(kept))
            continue
        objects.update(kept.objects)
        if kept.kind in (ROUND, RUN):  # of runs the newest will do
            return LastRound(kept.rotation, frozenset(objects))
    return LastRound(None, frozenset(objects))


def damaged_packs(records: BlobStore) -> frozenset[bytes]:
    """Ids of packs that the last verifications found damaged."""
    return frozenset(
        bytes.fromhex(match[1]) for each in last_round(records, []).objects if (match := _PACK.fullmatch(each))
    )


def read_back_verdicts(records: BlobStore) -> dict[str, str]:
    """What the last verification said of each point that was read back whole: ``ok`` or ``damaged``."""
    found: dict[str, str] = {}
    for blob in records.list(PREFIX):  # by name, so those of one point by their times
        if _kind(blob) == POINT:
            with suppress(Damaged, BlobNotFound):  # then it proves nothing
                kept = _read(blob.name, records.get(blob.name))
                found[kept.point or ""] = kept.status
    return found


def same_hash(records: BlobStore, blob: str, size_bytes: int, sha256: str) -> bool:
    """Whether a blob of ``databases`` has the content that it had when it was first read back; the first time its hash
    is kept. ``Damaged``, naming the blob of the hash: that cannot be read, so nothing can be said."""
    name = f"{PREFIX}{HASHES}/{blob}.json"
    document = {"version": FORMAT_VERSION, "name": blob, "size_bytes": size_bytes, "sha256": sha256}
    try:
        kept = opened(records.get(name), name, remedy="Run 'undelete' to bring back what it was.")
    except BlobNotFound:
        with suppress(BlobExists):  # by somebody who read it at the same time; the next time tells
            records.put(name, sealed(document))
        return True
    return (kept.get("size_bytes"), kept.get("sha256")) == (size_bytes, sha256)


def _kind(blob: BlobInfo) -> str:
    folder, _, file = blob.name.removeprefix(PREFIX).rpartition("/")
    return file.split("-")[1] if folder != HASHES and file.count("-") == 2 and "/" not in folder else ""


def _read(name: str, body: bytes) -> KeptVerification:
    found = opened(body, name, remedy=_REMEDY)
    try:
        if found["version"] > FORMAT_VERSION:
            raise ValueError("it was written by a newer Lifeboat")
        return KeptVerification(
            name,
            str(found["kind"]),
            found["point"],
            datetime_of(found["time"]),
            str(found["status"]),
            int(found["findings"]),
            tuple(str(reason["object"]) for reason in found["reasons"] if "object" in reason),
            int(found["bytes_read"]),
            _rotation(found["rotation"]) if found["rotation"] else None,
        )
    except (Damaged, KeyError, TypeError, ValueError, AttributeError) as error:
        raise Damaged(f"{name} cannot be read: {error!r}", remedy=_REMEDY, blob=name) from error


_REMEDY = "Run 'verify' again."


def _rotation_fields(rotation: Rotation) -> Json:
    return {
        "position": f"{rotation.position:016x}",
        "due_until": rfc3339_of(rotation.due_until),
        "arcs": [{"length": f"{arc.length:x}", "time": rfc3339_of(arc.time)} for arc in rotation.arcs],
    }


def _rotation(fields: Mapping[str, Any]) -> Rotation:
    position = int(fields["position"], 16)
    arcs = tuple(Arc(int(arc["length"], 16), datetime_of(arc["time"])) for arc in fields["arcs"])
    if not 0 <= position < CIRCLE or any(not 0 < arc.length <= CIRCLE for arc in arcs):
        raise ValueError("its rotation is none")
    return Rotation(position, datetime_of(fields["due_until"]), arcs)
