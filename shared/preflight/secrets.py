"""The checks of secrets."""

from __future__ import annotations

from shared.preflight.check import ComponentChecks
from shared.settings import Settings


def secrets_checks(settings: Settings) -> ComponentChecks:
    return ComponentChecks("secrets", ())
