"""The checks of telemetry."""

from __future__ import annotations

from shared.preflight.check import ComponentChecks
from shared.settings import Settings


def telemetry_checks(settings: Settings) -> ComponentChecks:
    return ComponentChecks("telemetry", ())
