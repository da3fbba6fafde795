"""Preflight as a whole: which checks there are for what is configured, and what came of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from shared.errors import SettingsError, UsageError
from shared.preflight.check import FAIL, SETTINGS, Check, ComponentChecks, Found, Row
from shared.preflight.runner import ALL_SECONDS, run_checks
from shared.settings import Settings

Json = dict[str, Any]

VAULT, TELEMETRY = "vault", "telemetry"
"""What every backup needs, beside its components; ``LIFEBOAT_VAULT_URL`` and Application Insights."""
BEGIN = "begin"
"""Name of the row of a component whose checks could not be made, for a reason that nobody expected."""
COMPONENTS = ("share", "databases", "secrets", VAULT, TELEMETRY)


@dataclass(frozen=True, slots=True)
class Preflight:
    rows: tuple[Row, ...]

    @property
    def failures(self) -> list[Row]:
        return [row for row in self.rows if row.result == FAIL]

    @property
    def status(self) -> str:
        """Warnings do not change it."""
        return "failed" if self.failures else "ok"

    @property
    def exit_code(self) -> int:
        """2 where settings are missing or wrong, so that nothing could be looked at by them."""
        if any(row.name == SETTINGS for row in self.failures):
            return UsageError.exit_code
        return 1 if self.failures else 0

    def to_json(self) -> Json:
        return {
            "status": self.status,
            "reasons": [reason_of(row) for row in self.failures],
            "checks": [row.to_json() for row in self.rows],
        }


def preflight(settings: Settings, only: Sequence[str] = (), *, limit_seconds: float = ALL_SECONDS) -> Preflight:
    """Look at everything that is configured, or at the components of ``only``. ``UsageError`` for a component that
    there is none of; ``SettingsError`` for one that is not configured."""
    wanted = _wanted(settings, only)
    made = [_made(settings, component) for component in wanted]
    return Preflight(tuple(run_checks([each for each in made if each.checks], limit_seconds=limit_seconds)))


def reason_of(row: Row) -> Json:
    """A failing row as a reason of the contract; ``check`` is the row's name."""
    code = "wrong-setting" if row.name == SETTINGS else "preflight"
    reason = {
        "component": row.component,
        "code": code,
        "message": f"{row.name}: {row.detail}",
        "remedy": row.remedy,
        "check": row.name,
    }
    return reason | ({"setting": row.setting} if row.setting else {})


def _wanted(settings: Settings, only: Sequence[str]) -> list[str]:
    for name in only:
        if name not in COMPONENTS:
            raise UsageError(f"there is no component {name!r}", remedy=f"Write one of {', '.join(COMPONENTS)}.")
    configured = [*settings.configured(), VAULT, TELEMETRY]
    for name in only:
        if name not in configured:
            raise SettingsError(f"{name} is not configured", remedy=_FIRST[name], setting=_FIRST_SETTING[name])
    return [name for name in COMPONENTS if name in (only or configured)]


_FIRST_SETTING = {
    "share": "LIFEBOAT_SHARE_URL",
    "databases": "LIFEBOAT_SQL_SERVER",
    "secrets": "LIFEBOAT_KEY_VAULT_URL",
}
_FIRST = {name: f"Set {setting}." for name, setting in _FIRST_SETTING.items()}


def _made(settings: Settings, component: str) -> ComponentChecks:
    """A setting that is missing or wrong is a row of its own, and all that there is of the component; the others are
    looked at, whatever it raises."""
    try:
        return _makers()[component](settings)
    except Exception as error:
        raised = error

        def run() -> Found:
            raise raised

        name = SETTINGS if isinstance(error, SettingsError) else BEGIN
        return ComponentChecks(component, (Check(name, run),))


def _makers() -> dict[str, Callable[[Settings], ComponentChecks]]:
    """By component. Imported when they are needed: a share alone asks for no ODBC driver."""
    from shared.preflight.databases import databases_checks
    from shared.preflight.secrets import secrets_checks
    from shared.preflight.share import share_checks
    from shared.preflight.telemetry import telemetry_checks
    from shared.preflight.vault import vault_checks

    return {
        "share": share_checks,
        "databases": databases_checks,
        "secrets": secrets_checks,
        VAULT: vault_checks,
        TELEMETRY: telemetry_checks,
    }
