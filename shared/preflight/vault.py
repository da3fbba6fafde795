"""The checks of vault."""

from __future__ import annotations

from shared.preflight.check import ComponentChecks
from shared.settings import Settings


def vault_checks(settings: Settings) -> ComponentChecks:
    return ComponentChecks("vault", ())
