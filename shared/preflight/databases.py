"""The checks of databases."""

from __future__ import annotations

from shared.preflight.check import ComponentChecks
from shared.settings import Settings


def databases_checks(settings: Settings) -> ComponentChecks:
    return ComponentChecks("databases", ())
