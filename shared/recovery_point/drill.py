"""The drill: a restore that is really done, timed, checked and then thrown away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from shared import VERSION
from shared.databases.progress import Progress
from shared.errors import Cancelled, LifeboatError, UsageError
from shared.recovery_point.catalog import Catalog
from shared.recovery_point.drill_databases import drill_databases
from shared.recovery_point.drill_results import PASS, DrilledPart, put_drill_result
from shared.recovery_point.drill_secrets import drill_secrets
from shared.recovery_point.drill_share import drill_share
from shared.recovery_point.record import COMPLETE, FAILED, RecoveryPoint, new_id
from shared.recovery_point.restore_all import is_usable
from shared.recovery_point.restore_secrets import holds_logins
from shared.settings import Settings
from shared.storage.vault import Vault
from shared.telemetry import Event, emit

Json = dict[str, Any]

DATABASES, SHARE, SECRETS = COMPONENTS = ("databases", "share", "secrets")


class NothingToDrill(UsageError):
    """No point holds anything that could be brought back here; where a setting would change that, it is named."""


@dataclass(slots=True)
class Drilled:
    drill: str
    """Its id: the drill is kept under it."""
    point: str
    seed: str
    """What the sample of the share was drawn by: with the same one, the same point and the same setting it is the same
    again. By default the drill's id."""
    server: str | None
    """Where databases were restored to; None: they were not drilled."""
    checks: list[Json] = field(default_factory=list)
    reasons: list[Json] = field(default_factory=list)
    rto_seconds: float | None = None
    """From the first byte that was fetched to the last database ONLINE, and the same of the share's sample and the
    secrets; CHECKDB and comparing are not in it. None: nothing came back."""
    estimated_rto_seconds: float | None = None
    """The same with all of the share, at the rate of the sample. None where something that the point holds was not
    drilled, or did not come back."""
    notes: list[str] = field(default_factory=list)

    @property
    def status(self) -> str:
        if not self.reasons:
            return "ok"
        return "partial" if any(check["result"] == PASS for check in self.checks) else "failed"

    @property
    def drilled(self) -> list[str]:
        """Components that something was brought back of, or was to be."""
        return list(dict.fromkeys(str(check["component"]) for check in self.checks))

    def take(self, part: DrilledPart) -> None:
        self.checks += part.checks
        self.reasons += part.reasons
        self.notes += part.notes

    def answer(self) -> Json:
        """What the command answers."""
        return {
            "status": self.status,
            "reasons": self.reasons,
            "point": self.point,
            "drill": self.drill,
            "seed": self.seed,
            "target": self.server,
            "rto_seconds": self.rto_seconds,
            "estimated_rto_seconds": self.estimated_rto_seconds,
            "drilled": self.drilled,
            "checks": self.checks,
            "notes": self.notes,
        }


def drill(
    settings: Settings,
    point_id: str | None = None,
    *,
    on_production: bool = False,
    seed: str | None = None,
    progress: Progress | None = None,
    check: Callable[[], None] = lambda: None,
) -> Drilled:
    """Bring back what one point holds: each database on the drill server, with CHECKDB; a sample of the share; what is
    in the Key Vault. Everything is dropped, deleted and forgotten again, and the result is written beside the point.

    Without ``point_id`` it is the newest point that is complete and whole, else the newest in which something can be
    drilled. What the settings give no place for is a note. ``NothingToDrill``; ``SettingsError`` of the drill server;
    ``UsageError`` where that is the instance that the backups are of, and ``on_production`` is not given. A component
    that fails is a reason, and the others are drilled all the same.
    """
    began = datetime.now(UTC)
    progress = progress or Progress()
    server = settings.drill_sql_server()
    sample_bytes = settings.drill_share_sample_bytes()
    with Vault(settings.vault()) as vault:
        vault.ensure_there(create=False)
        point, notes = _choose(settings, Catalog(vault.records), point_id)
        there = _drillable(settings, point)
        drill_id = new_id(began)
        result = Drilled(
            drill_id, point.point, seed or drill_id, server.server if server and DATABASES in there else None
        )
        result.notes += notes + _not_drilled(settings, point)
        runs: dict[str, Callable[[], DrilledPart]] = {
            SHARE: lambda: drill_share(vault, point, seed=result.seed, sample_bytes=sample_bytes, check=check),
            SECRETS: lambda: drill_secrets(settings, point, check=check),
        }
        if server is not None:
            runs[DATABASES] = lambda: drill_databases(
                settings, vault, point, server, on_production=on_production, progress=progress, check=check
            )
        parts: list[DrilledPart] = []
        for component in there:
            progress.text = f"drilling the {component}"
            parts.append(_part(component, runs[component]))
            result.take(parts[-1])
            if any(reason["code"] == Cancelled.code for reason in parts[-1].reasons):
                break
        _time(result, point, parts)
        _write(vault, result, began)
    _tell(result)
    return result


# --- what is drilled ---


def _choose(settings: Settings, catalog: Catalog, point_id: str | None) -> tuple[RecoveryPoint, list[str]]:
    if point_id is not None:
        point = catalog.get(point_id)
        if not _drillable(settings, point):
            raise _nothing(f"nothing of {point_id} can be drilled", settings, [point])
        return point, []
    passed_over: list[str] = []
    others: list[RecoveryPoint] = []
    useless: list[RecoveryPoint] = []
    for point in catalog.readable(passed_over):
        if not _drillable(settings, point):
            useless.append(point)
        elif point.status == COMPLETE and point.whole:
            return point, passed_over
        else:
            others.append(point)
        if point.status != COMPLETE:
            passed_over.append(f"passed over: the newer {point.point}, which is {point.status}")
    if not others:
        raise _nothing("no recovery point holds anything that can be drilled", settings, useless)
    newest = others[0]
    return newest, [f"no recovery point that is complete and whole can be drilled: {newest.point} is {newest.status}"]


def _drillable(settings: Settings, point: RecoveryPoint) -> list[str]:
    """The components of a point that can be drilled with these settings, in the order of a restore."""
    held = _held(point)
    return [component for component in held if _lacking_setting(settings, component) is None]


def _held(point: RecoveryPoint) -> list[str]:
    """The components that the point holds something of that can be brought back."""
    databases = point.components.get(DATABASES, {})
    secrets = point.components.get(SECRETS, {})
    holds = {
        DATABASES: is_usable(point, DATABASES)
        and not databases.get("tail_of_restore")
        and any(name.lower() != "master" for name in point.databases),
        SHARE: is_usable(point, SHARE),
        SECRETS: (secrets.get("status", FAILED) != FAILED and bool(secrets.get("version") or secrets.get("kept")))
        or holds_logins(point),
    }
    return [component for component in COMPONENTS if holds[component]]


def _lacking_setting(settings: Settings, component: str) -> str | None:
    """The setting without which there is no place to drill a component in."""
    if component == DATABASES and settings.drill_sql_server() is None:
        return "LIFEBOAT_DRILL_SQL_SERVER"
    if component == SECRETS and settings.key_vault_url() is None:
        return "LIFEBOAT_KEY_VAULT_URL"
    return None


_PLACES = {
    "LIFEBOAT_DRILL_SQL_SERVER": "Set LIFEBOAT_DRILL_SQL_SERVER to a server that is not the production one.",
    "LIFEBOAT_KEY_VAULT_URL": "Set LIFEBOAT_KEY_VAULT_URL to the Key Vault of the secrets.",
}


def _nothing(what: str, settings: Settings, points: list[RecoveryPoint]) -> NothingToDrill:
    lacking = (_lacking_setting(settings, component) for point in points for component in _held(point))
    setting = next(filter(None, lacking), None)
    if setting is None:
        return NothingToDrill(what, remedy="Run 'points' to see what there is, and 'backup' to make one.")
    return NothingToDrill(f"{what}: {setting} is not set", remedy=_PLACES[setting], setting=setting)


def _not_drilled(settings: Settings, point: RecoveryPoint) -> list[str]:
    notes = []
    held = _held(point)
    for component in COMPONENTS:
        setting = _lacking_setting(settings, component)
        if component in held:
            if setting is not None:
                notes.append(f"the {component} were not drilled. {_PLACES[setting]}")
        elif component in point.requested:
            status = point.components.get(component, {}).get("status", "not there")
            notes.append(f"of the component {component!r}, {status} in {point.point}, there is nothing to drill")
        elif component not in point.not_configured:
            notes.append(f"the component {component!r} is not in {point.point}")
    return notes


# --- what came of it ---


def _part(component: str, run: Callable[[], DrilledPart]) -> DrilledPart:
    """``UsageError`` of the databases, which are drilled first, is raised: nothing was done then."""
    try:
        return run()
    except LifeboatError as error:
        if component == DATABASES and isinstance(error, UsageError):
            raise
        part = DrilledPart(component, reasons=[error.as_reason(component)])
        part.add(component, 0.0, str(error), passed=False)
        return part


def _time(result: Drilled, point: RecoveryPoint, parts: list[DrilledPart]) -> None:
    if any(check["result"] == PASS for check in result.checks):
        result.rto_seconds = round(sum(part.seconds for part in parts), 3)
    estimates = {part.component: part.estimated_seconds for part in parts}
    known = [estimates.get(component) for component in _held(point)]
    if all(each is not None for each in known):
        result.estimated_rto_seconds = round(sum(each for each in known if each is not None), 3)


def _write(vault: Vault, result: Drilled, began: datetime) -> None:
    document = {
        "server": result.server,
        "status": result.status,
        "seed": result.seed,
        "rto_seconds": result.rto_seconds,
        "estimated_rto_seconds": result.estimated_rto_seconds,
        "checks": result.checks,
        "reasons": result.reasons,
        "notes": result.notes,
        "lifeboat": VERSION,
    }
    put_drill_result(vault.records, result.point, began, document, drill=result.drill)


def _tell(result: Drilled) -> None:
    databases = sum(check["component"] == DATABASES for check in result.checks)
    measured = {"point": result.point, "rto_seconds": result.rto_seconds or 0.0, "databases": databases}
    if result.status == "ok":
        emit(Event.DRILL_COMPLETED, **measured)
    else:
        first = result.reasons[0]
        emit(Event.DRILL_FAILED, **measured, code=first["code"], detail=first["message"])
