"""What a point names of the Key Vault, read back and held against its hash. None of it is written anywhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from shared.errors import Cancelled, LifeboatError
from shared.recovery_point.drill_results import DrilledPart
from shared.recovery_point.record import RecoveryPoint
from shared.recovery_point.restore_secrets import holds_logins, read_logins, read_named
from shared.secrets.findings import check_system_secrets
from shared.settings import Settings


def drill_secrets(settings: Settings, point: RecoveryPoint, *, check: Callable[[], None]) -> DrilledPart:
    """Read SystemSecrets.JSON, each file that is kept beside it, and the logins of SQL Server, as a restore does; what
    does not come back as it was is a reason. ``Cancelled``."""
    part = DrilledPart("secrets")
    for name, read in _named(settings, point):
        check()
        began = time.monotonic()
        passed = False
        try:
            content, version = read()
        except Cancelled:
            raise
        except LifeboatError as error:
            part.reasons.append(error.as_reason("secrets"))
            detail = str(error)
        else:
            passed = True
            detail = f"version {version}, {len(content):,} bytes, its hash is what the point recorded"
        seconds = time.monotonic() - began
        part.seconds += seconds
        part.add(name, seconds, detail, passed=passed)
    part.estimated_seconds = part.seconds if part.passed else None
    return part


def _named(settings: Settings, point: RecoveryPoint) -> Iterator[tuple[str, Callable[[], tuple[bytes, str]]]]:
    component = point.components.get("secrets", {})
    if component.get("version"):
        yield "SystemSecrets.JSON", lambda: _system_secrets(settings, point)
    for name in component.get("kept", {}):
        yield name, lambda name=name: read_named(settings, point, name)  # type: ignore[misc]
    if holds_logins(point):
        yield "sql-logins", lambda: read_logins(settings, point)


def _system_secrets(settings: Settings, point: RecoveryPoint) -> tuple[bytes, str]:
    """``SecretsFileError`` where it came back as it was, and is not what App Service can read."""
    content, version = read_named(settings, point)
    check_system_secrets(content)
    return content, version
