"""What happened and how much of it, for those who watch: names of events and gauges from one enumeration each.

``emit`` and ``gauge`` may be called anywhere. An event is a log record of the logger ``lifeboat``, with its attributes
beside it; the Functions host shows it, and where ``configure_telemetry`` found Application Insights it becomes a row
of ``AppEvents``. A gauge is a metric there, a row of ``AppMetrics``, and nowhere else. The command line configures
nothing, and pays for nothing.

What alerts may rely on is on this page: a name, once used, stays, with its unit. In ``AppEvents`` each attribute is a
text in ``Properties``: numbers are digits (``toreal(Properties["age_seconds"])``), booleans ``True`` and ``False``
(``tobool(...)`` reads both). An attribute that does not apply is left out.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from shared.errors import LifeboatError
from shared.redaction import redacted

LOGGER = "lifeboat"
CONNECTION_STRING = "APPLICATIONINSIGHTS_CONNECTION_STRING"
EVENT_NAME = "microsoft.custom_event.name"
"""The attribute that makes a log record a row of ``AppEvents``."""
QUIET = (
    *("azure", "azure_functions_worker", "azure_functions_runtime", "opentelemetry"),
    *("msal", "urllib3", "smbprotocol", "spnego", "asyncio"),
)
"""Loggers that may only tell of what is wrong."""
MOST_CHARACTERS = 2_000
"""Of a text in an attribute."""

_logger = logging.getLogger(LOGGER)
_logger.addHandler(logging.NullHandler())  # where nobody listens, bad news must not appear bare on standard error


class Event(StrEnum):
    """Names of events. They are what alerts are written against: a name, once used, stays."""

    RECOVERY_POINT_COMPLETED = "recovery_point.completed"
    RECOVERY_POINT_PARTIAL = "recovery_point.partial"
    RECOVERY_POINT_FAILED = "recovery_point.failed"
    SHARE_COMPLETED = "share.completed"
    SHARE_PARTIAL = "share.partial"
    SHARE_FAILED = "share.failed"
    DATABASE_COMPLETED = "database.completed"
    DATABASE_PARTIAL = "database.partial"
    DATABASE_FAILED = "database.failed"
    DATABASE_CHAIN_BROKEN = "database.chain_broken"
    SECRETS_DRIFT = "secrets.drift"
    DRILL_COMPLETED = "drill.completed"
    DRILL_FAILED = "drill.failed"
    REPOSITORY_DAMAGED = "repository.damaged"
    VERIFICATION_COMPLETED = "verification.completed"
    VERIFICATION_FAILED = "verification.failed"
    """The check itself could not be made; what it finds is ``repository.damaged``."""
    PROTECT_COMPLETED = "protect.completed"
    PROTECT_FAILED = "protect.failed"
    PRUNE_COMPLETED = "prune.completed"
    PRUNE_FAILED = "prune.failed"
    """Retention or the repository's prune deleted nothing, or not all that it should have."""
    VAULT_TAMPERED = "vault.tampered"
    """Somebody else than the keeper has deleted or overwritten blobs of the vault."""
    WATCHDOG_ALIVE = "watchdog.alive"
    """One each time the watchdog looks, whatever it sees, and even where it can see nothing."""
    COMPONENT_LATE = "component.late"
    """One for each component that is older than its RPO, each time the watchdog looks."""


_LEVELS = {
    Event.RECOVERY_POINT_PARTIAL: logging.WARNING,
    Event.SHARE_PARTIAL: logging.WARNING,
    Event.RECOVERY_POINT_FAILED: logging.ERROR,
    Event.SHARE_FAILED: logging.ERROR,
    Event.DATABASE_PARTIAL: logging.WARNING,
    Event.DATABASE_CHAIN_BROKEN: logging.WARNING,
    Event.DATABASE_FAILED: logging.ERROR,
    Event.SECRETS_DRIFT: logging.ERROR,
    Event.DRILL_FAILED: logging.ERROR,
    Event.REPOSITORY_DAMAGED: logging.ERROR,
    Event.VERIFICATION_FAILED: logging.ERROR,
    Event.COMPONENT_LATE: logging.ERROR,
    Event.PROTECT_FAILED: logging.ERROR,
    Event.PRUNE_FAILED: logging.ERROR,
    Event.VAULT_TAMPERED: logging.ERROR,
}
"""Of bad news; the rest is for information."""


@dataclass(frozen=True, slots=True)
class Attribute:
    kind: type[str | int | float | bool]
    meaning: str
    unit: str = ""
    """``s``, ``By`` or ``d`` (days), as UCUM has them; empty for counts and texts."""


ATTRIBUTES: Mapping[str, Attribute] = {
    "point": Attribute(str, "id of the recovery point; left out: none was written"),
    "whole": Attribute(bool, "everything configured was requested"),
    "suspect": Attribute(bool, "so different from before that retention may not act on it"),
    "duration_seconds": Attribute(float, "from beginning to end", "s"),
    "files": Attribute(int, "files of the share"),
    "bytes_read": Attribute(int, "read from the source", "By"),
    "bytes_stored": Attribute(int, "new in the vault", "By"),
    "database": Attribute(str, "its name; empty: all of them"),
    "backups": Attribute(int, "backups of it that the point adds"),
    "why": Attribute(str, "what broke the chain"),
    "rotated": Attribute(str, "users whose passwords changed, separated by commas"),
    "rto_seconds": Attribute(
        float, "measured: databases until ONLINE, the share's sample, secrets; 0: none came back", "s"
    ),
    "databases": Attribute(int, "databases drilled"),
    "findings": Attribute(int, "things that are damaged"),
    "code": Attribute(str, "reason code of what went wrong"),
    "detail": Attribute(str, "what went wrong, in words"),
    "component": Attribute(str, "databases, share or secrets"),
    "late_databases": Attribute(str, "those that are older than the RPO, separated by commas"),
    "newest": Attribute(str, "the point with its newest good backup; left out: there is none"),
    "age_seconds": Attribute(float, "of the newest good backup; left out: there is none", "s"),
    "rpo_seconds": Attribute(int, "how old it may be", "s"),
    "status": Attribute(str, "ok, late, or unseen: nothing could be looked at"),
    "late": Attribute(str, "components older than their RPO, separated by commas"),
    "databases_age_seconds": Attribute(float, "of the databases' newest good backup; left out: there is none", "s"),
    "databases_late": Attribute(bool, "it is older than its RPO, or there is none"),
    "share_age_seconds": Attribute(float, "of the share's newest good backup; left out: there is none", "s"),
    "share_late": Attribute(bool, "it is older than its RPO, or there is none"),
    "secrets_age_seconds": Attribute(float, "of the secrets' newest good backup; left out: there is none", "s"),
    "secrets_late": Attribute(bool, "it is older than its RPO, or there is none"),
    "drift": Attribute(str, "fits, drift or unknown; left out: no point has looked"),
    "expiry_days": Attribute(
        int, "until the next certificate expires, below zero: it has; left out: none does within the warning", "d"
    ),
    "drill_age_seconds": Attribute(float, "of the last drill; left out: there was none", "s"),
    "drill_status": Attribute(str, "ok, partial or failed: of the last drill"),
    "drill_overdue": Attribute(bool, "something can be drilled, and the last drill is older than two of its periods"),
    "verification_age_seconds": Attribute(float, "of the last verification; left out: there was none", "s"),
    "verification_status": Attribute(str, "ok or damaged: of the last verification"),
    "verification_overdue": Attribute(bool, "the last one is older than two of its periods"),
    "added_week_bytes": Attribute(int, "added to the vault within the last seven days", "By"),
    "added_week_before_bytes": Attribute(int, "the same of the seven days before", "By"),
    "growth_ratio": Attribute(float, "the one divided by the other; left out: nothing was added the week before"),
    "points_unreadable": Attribute(int, "records of the last two weeks that cannot be read"),
    "wrong_settings": Attribute(str, "names of settings that are wrong or missing, separated by commas"),
    "wrong_settings_count": Attribute(int, "how many of them"),
    "reasons": Attribute(int, "things that status tells of"),
    "blobs": Attribute(int, "blobs that kept points need"),
    "extended": Attribute(int, "blobs whose until-date was set or put off"),
    "points_removed": Attribute(int, "recovery points that retention removed"),
    "bytes_freed": Attribute(int, "deleted from the vault", "By"),
    "bytes_waiting": Attribute(int, "not needed any more, and deleted when their waiting time is over", "By"),
    "refused": Attribute(int, "deletions that a date or a hold refused, to be tried again"),
}
"""Every attribute. One that is not here is not sent."""

_OF_A_POINT = ("point", "whole", "suspect", "duration_seconds", "code", "detail")
_OF_A_SHARE = ("point", "files", "bytes_read", "bytes_stored")
_OF_A_DATABASE = ("point", "database", "backups", "bytes_stored")
_OF_A_DRILL = ("point", "rto_seconds", "databases", "code", "detail")

CARRIES: Mapping[Event, tuple[str, ...]] = {
    Event.RECOVERY_POINT_COMPLETED: _OF_A_POINT,
    Event.RECOVERY_POINT_PARTIAL: _OF_A_POINT,
    Event.RECOVERY_POINT_FAILED: _OF_A_POINT,
    Event.SHARE_COMPLETED: _OF_A_SHARE,
    Event.SHARE_PARTIAL: _OF_A_SHARE,
    Event.SHARE_FAILED: _OF_A_SHARE,
    Event.DATABASE_COMPLETED: _OF_A_DATABASE,
    Event.DATABASE_PARTIAL: _OF_A_DATABASE,
    Event.DATABASE_FAILED: _OF_A_DATABASE,
    Event.DATABASE_CHAIN_BROKEN: ("database", "why"),
    Event.SECRETS_DRIFT: ("point", "rotated"),
    Event.DRILL_COMPLETED: _OF_A_DRILL,
    Event.DRILL_FAILED: _OF_A_DRILL,
    Event.REPOSITORY_DAMAGED: ("findings",),
    Event.VERIFICATION_COMPLETED: ("findings", "bytes_read", "duration_seconds"),
    Event.VERIFICATION_FAILED: ("code", "detail", "duration_seconds"),
    Event.PROTECT_COMPLETED: ("blobs", "extended", "duration_seconds"),
    Event.PROTECT_FAILED: ("code", "detail", "duration_seconds"),
    Event.PRUNE_COMPLETED: ("points_removed", "bytes_freed", "bytes_waiting", "refused", "duration_seconds"),
    Event.PRUNE_FAILED: ("code", "detail", "duration_seconds"),
    Event.VAULT_TAMPERED: ("findings", "detail"),
    Event.WATCHDOG_ALIVE: (
        "status",
        "late",
        "databases_age_seconds",
        "databases_late",
        "share_age_seconds",
        "share_late",
        "secrets_age_seconds",
        "secrets_late",
        "drift",
        "expiry_days",
        "drill_age_seconds",
        "drill_status",
        "drill_overdue",
        "verification_age_seconds",
        "verification_status",
        "verification_overdue",
        "added_week_bytes",
        "added_week_before_bytes",
        "growth_ratio",
        "points_unreadable",
        "wrong_settings",
        "wrong_settings_count",
        "reasons",
        "code",
        "detail",
    ),
    Event.COMPONENT_LATE: ("component", "late_databases", "newest", "age_seconds", "rpo_seconds"),
}
"""What each event may carry."""


class Gauge(StrEnum):
    """Names of metrics. What they are measured in, and by, is in ``GAUGES``."""

    AGE = "lifeboat.age"
    RPO = "lifeboat.rpo"
    DURATION = "lifeboat.recovery_point.duration"
    FILES = "lifeboat.files"
    BYTES_READ = "lifeboat.bytes_read"
    BYTES_STORED = "lifeboat.bytes_stored"
    ADDED_WEEK = "lifeboat.added_week"
    EXPIRY = "lifeboat.expiry"
    DRILL_AGE = "lifeboat.drill.age"
    RTO = "lifeboat.drill.rto"


@dataclass(frozen=True, slots=True)
class Measure:
    unit: str
    meaning: str
    by: tuple[str, ...] = ()
    """Its dimensions, names of ``ATTRIBUTES``."""


GAUGES: Mapping[Gauge, Measure] = {
    Gauge.AGE: Measure("s", "age of the newest good backup", ("component",)),
    Gauge.RPO: Measure("s", "how old it may be", ("component",)),
    Gauge.DURATION: Measure("s", "how long the last recovery point took"),
    Gauge.FILES: Measure("{file}", "files of the share in the last recovery point"),
    Gauge.BYTES_READ: Measure("By", "read from the source for the last recovery point", ("component",)),
    Gauge.BYTES_STORED: Measure("By", "new in the vault by the last recovery point", ("component", "database")),
    Gauge.ADDED_WEEK: Measure("By", "added to the vault within the last seven days"),
    Gauge.EXPIRY: Measure("d", "until the next certificate expires, where one does within the warning"),
    Gauge.DRILL_AGE: Measure("s", "age of the last drill"),
    Gauge.RTO: Measure("s", "what the last drill measured"),
}

_POINTS = (Event.RECOVERY_POINT_COMPLETED, Event.RECOVERY_POINT_PARTIAL, Event.RECOVERY_POINT_FAILED)
_SHARES = (Event.SHARE_COMPLETED, Event.SHARE_PARTIAL, Event.SHARE_FAILED)
_DATABASES = (Event.DATABASE_COMPLETED, Event.DATABASE_PARTIAL)
_MEASURED: Mapping[Event, tuple[tuple[str, Gauge, Mapping[str, str]], ...]] = {
    **dict.fromkeys(_POINTS, (("duration_seconds", Gauge.DURATION, {}),)),
    **dict.fromkeys(
        _SHARES,
        (
            ("files", Gauge.FILES, {}),
            ("bytes_read", Gauge.BYTES_READ, {"component": "share"}),
            ("bytes_stored", Gauge.BYTES_STORED, {"component": "share"}),
        ),
    ),
    **dict.fromkeys(_DATABASES, (("bytes_stored", Gauge.BYTES_STORED, {"component": "databases"}),)),
    Event.DRILL_COMPLETED: (("rto_seconds", Gauge.RTO, {}),),
}
"""Numbers of events that are gauges as well: an event's attribute, the gauge, and what that is measured by."""

Value = str | int | float | bool


def emit(event: Event, **attributes: Value | None) -> None:
    """Tell that ``event`` happened. Attribute names end in their unit (``_bytes``, ``_seconds``); None is left out.

    Nothing of it raises, and no secret leaves: texts are ``redacted``, numbers that are none are left out.
    """
    told = {name: clean for name, value in attributes.items() if (clean := _clean(name, value)) is not None}
    _logger.log(_LEVELS.get(event, logging.INFO), event.value, extra={EVENT_NAME: event.value, **told})
    for name, measured, by in _MEASURED.get(event, ()):
        number = told.get(name)
        if isinstance(number, int | float):
            database = {"database": str(told["database"])} if "database" in told else {}
            gauge(measured, number, **by, **database)


@contextmanager
def telling_of_failure(event: Event) -> Iterator[None]:
    """Emit ``event`` with ``code`` and ``detail``, and how long it took where it carries that, when the block ends in
    an error, also in one that nobody foresaw (``unexpected``). The error goes on."""
    began = time.monotonic()
    try:
        yield
    except Exception as error:
        foreseen = isinstance(error, LifeboatError)
        told: dict[str, Value] = {
            "code": error.code if isinstance(error, LifeboatError) else "unexpected",
            "detail": str(error) if foreseen else f"{type(error).__name__}: {error}",
        }
        if "duration_seconds" in CARRIES[event]:
            told["duration_seconds"] = round(time.monotonic() - began, 3)
        emit(event, **told)
        raise


def gauge(name: Gauge, value: float, **by: str) -> None:
    """Set a gauge, where somebody measures; elsewhere nothing is done."""
    if _exports and math.isfinite(value):
        from shared.telemetry_export import set_gauge

        measure = GAUGES[name]
        set_gauge(name, measure.unit, measure.meaning, value, {key: redacted(text) for key, text in by.items()})


def _clean(name: str, value: Value | None) -> Value | None:
    if name not in ATTRIBUTES:
        return None
    if isinstance(value, str):
        text = redacted(value)
        return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, int | float) else None


# --- where it goes ---

_exports = False
"""Whether this process sends telemetry: ``configure_telemetry`` says so, once."""
_configuring = threading.Lock()


def configure_telemetry() -> None:
    """To be called when a function starts; the first call in a process sends events and gauges to Application Insights
    where APPLICATIONINSIGHTS_CONNECTION_STRING is set, and imports nothing where it is not.

    A connection string that is none is an error in the log: backups go on.
    """
    global _exports
    _logger.setLevel(logging.INFO)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    if _exports or not os.environ.get(CONNECTION_STRING):
        return
    with _configuring:
        if _exports:
            return
        from shared.telemetry_export import export_to_application_insights

        try:
            export_to_application_insights()
        except ValueError as error:
            _logger.error("%s is wrong, no telemetry is sent: %s", CONNECTION_STRING, redacted(str(error)))
            return
        _exports = True


def flush_telemetry() -> None:
    """To be called when a function ends: an instance may be put to sleep before the next batch would be sent."""
    if _exports:
        from shared.telemetry_export import flush

        flush()
