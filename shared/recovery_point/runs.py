"""Runs in Azure: what is asked of one, what its steps leave for each other, and the record of its end.

All of it lies in the container ``recovery-points``: ``runs/RUN.json``, written once, when the run has ended;
``runs/RUN/STEP-xxxxxxxx.json`` what a step leaves for another, so that the engine's history holds names and no data;
``runs/RUN/cancelled``, put there by whoever wants it to stop.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from shared.errors import BlobExists, BlobNotFound, Cancelled, Damaged, StorageError
from shared.recovery_point.scope import BackupRequest
from shared.repository.trees import rfc3339_of
from shared.storage.blob_store import BlobStore

Json = dict[str, Any]

PREFIX = "runs/"
CANCELLED = "cancelled"
POLL_SECONDS = 10.0
"""How often a step looks whether somebody wants the run to stop."""
_ID = re.compile(r"[0-9a-f]{16}\Z")


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What may be asked of a run over HTTP, and what a timer asks."""

    only: tuple[str, ...] = ()
    logs: bool = False
    allow_shrink: bool = False

    def to_json(self) -> Json:
        return {"only": list(self.only), "logs": self.logs, "allow_shrink": self.allow_shrink}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> RunRequest:
        return cls(tuple(fields.get("only", ())), bool(fields.get("logs")), bool(fields.get("allow_shrink")))

    def backup_request(self) -> BackupRequest:
        return BackupRequest(only=self.only, logs=self.logs, allow_shrink=self.allow_shrink)


def new_run_id() -> str:
    return secrets.token_hex(8)


def is_run_id(text: str) -> bool:
    return _ID.match(text) is not None


@dataclass(frozen=True, slots=True)
class Runs:
    store: BlobStore
    """The container ``recovery-points``."""

    def keep(self, run: str, step: str, document: Json) -> str:
        """Leave ``document`` for another step, under a name of its own: a step may run twice. Returns the name."""
        name = f"{PREFIX}{run}/{step}-{secrets.token_hex(4)}.json"
        self.store.put(name, orjson.dumps(document))
        return name

    def load(self, name: str) -> Json:
        """What ``keep`` has kept. ``Damaged``, ``BlobNotFound``."""
        try:
            document = orjson.loads(self.store.get(name))
            if not isinstance(document, dict):
                raise TypeError("it is no JSON object")
        except (orjson.JSONDecodeError, TypeError) as error:
            raise Damaged(f"{name} cannot be read: {error}", remedy="Run 'backup' again.", blob=name) from error
        return document

    def end(self, document: Json) -> Json:
        """Write the record of a run's end, once: what is there already stands, and is returned."""
        name = f"{PREFIX}{document['run']}.json"
        with suppress(BlobExists):
            self.store.put(name, orjson.dumps(document, option=orjson.OPT_INDENT_2))
            return document
        return self.load(name)

    def ended(self, run: str) -> Json | None:
        """The record of a run's end; None while there is none."""
        try:
            return self.load(f"{PREFIX}{run}.json")
        except BlobNotFound:
            return None

    def cancel(self, run: str) -> None:
        """Ask the run to stop. May be asked again."""
        self.store.put(f"{PREFIX}{run}/{CANCELLED}", b"")

    def is_cancelled(self, run: str) -> bool:
        return self.store.stat(f"{PREFIX}{run}/{CANCELLED}") is not None


def run_end(run: str, started: str, status: str, reasons: list[Json], *, point: str | None = None) -> Json:
    """The record of a run's end, as GET /runs/RUN answers it."""
    return {
        "run": run,
        "status": status,
        "point": point,
        "progress": {"done": 1, "total": 1, "text": status},
        "started": started,
        "finished": rfc3339_of(datetime.now(UTC)),
        "reasons": reasons,
    }


@dataclass(slots=True)
class Wanted:
    """Called often by a step: raises ``Cancelled`` once somebody has asked the run to stop."""

    runs: Runs
    run: str
    _looked: float = float("-inf")

    def __call__(self) -> None:
        if time.monotonic() - self._looked < POLL_SECONDS:
            return
        self._looked = time.monotonic()
        cancelled = False
        with suppress(StorageError):  # a backup of hours is not given up because one look was not answered
            cancelled = self.runs.is_cancelled(self.run)
        if cancelled:
            raise Cancelled("somebody asked for the run to stop", remedy="Start another when you like.")
