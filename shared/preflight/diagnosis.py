"""Preflight of one component after its backup came to nothing: the failed point then names the failing check, and no
schedule runs a backup that is known to be impossible twice in silence."""

from __future__ import annotations

import logging
from typing import Any

from shared.errors import LifeboatError
from shared.preflight.check import DRILL, OWN_LOG_CHAIN, RESTORE, Row
from shared.preflight.make import BEGIN, preflight
from shared.preflight.secrets import PURGE_PROTECTION
from shared.recovery_point.diagnosis import Diagnosis
from shared.recovery_point.steps import failures_are_values
from shared.settings import Settings

Json = dict[str, Any]

DIAGNOSIS_SECONDS = 90.0
"""What looking may take, after which what was found by then counts."""
BESIDE = frozenset({PURGE_PROTECTION})
"""Checks whose failure keeps no backup from being made: they explain nothing. Nor does who restores and who drills."""


def diagnosis_of(settings: Settings, component: str) -> Diagnosis | None:
    """None where nothing could be looked at. Never raises: what a run has come to must not be lost by it."""
    try:
        found = preflight(settings, (component,), limit_seconds=DIAGNOSIS_SECONDS)
    except LifeboatError:
        return None
    except Exception:
        logging.getLogger(__name__).exception("what %s came to is recorded without a diagnosis", component)
        return None
    if not found.rows or any(row.name == BEGIN for row in found.rows):
        return None
    row = next((each for each in found.failures if _explains(each)), None)
    if row is None:
        return Diagnosis(None)
    return Diagnosis(row.name, row.detail, row.remedy, row.setting)


def _explains(row: Row) -> bool:
    return row.name not in BESIDE and not row.name.startswith((RESTORE, DRILL, OWN_LOG_CHAIN))


@failures_are_values
def diagnose(settings: Settings, run: str, *, component: str) -> Json:
    """The same as a step of a run in Azure. ``diagnosis``: None, or as ``Diagnosis.to_json`` has it."""
    found = diagnosis_of(settings, component)
    return {"diagnosis": found.to_json() if found else None}
