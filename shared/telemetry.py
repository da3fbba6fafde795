"""What happened, for those who watch: events with names from one enumeration.

Events go to the logger ``lifeboat`` with their attributes in ``extra``; whoever hosts Lifeboat decides where that ends.
No attribute may hold a secret or a URL with its SAS.
"""

from __future__ import annotations

import logging
from enum import StrEnum

_logger = logging.getLogger("lifeboat")
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


_BAD_NEWS = {
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
}


def emit(event: Event, **attributes: str | int | float | bool) -> None:
    """Tell that ``event`` happened. Attribute names end in their unit (``_bytes``, ``_seconds``)."""
    _logger.log(
        _BAD_NEWS.get(event, logging.INFO),
        event.value,
        extra={"event": event.value, "attributes": attributes, "microsoft.custom_event.name": event.value},
    )
