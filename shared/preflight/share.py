"""The checks of share."""

from __future__ import annotations

from shared.preflight.check import ComponentChecks
from shared.settings import Settings


def share_checks(settings: Settings) -> ComponentChecks:
    return ComponentChecks("share", ())
