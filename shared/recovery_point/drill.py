"""The drill: a restore that is really done, timed, checked and then thrown away."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from shared import VERSION
from shared.databases.chains import Chain
from shared.databases.inspection import inspect, server_name
from shared.databases.progress import Progress
from shared.databases.restore import DatabaseRestores
from shared.databases.statements import drop_database
from shared.errors import Cancelled, LifeboatError, SettingsError, UsageError
from shared.recovery_point.catalog import Catalog
from shared.recovery_point.drill_results import put_drill_result
from shared.recovery_point.record import RecoveryPoint
from shared.recovery_point.restore_databases import choose_chains, choose_point, open_restores, reason
from shared.settings import Settings
from shared.storage.vault import Vault
from shared.telemetry import Event, emit

Json = dict[str, Any]

NAME_PREFIX = "lifeboat_drill_"


@dataclass(slots=True)
class Drilled:
    point: str
    server: str
    checks: list[Json] = field(default_factory=list)
    reasons: list[Json] = field(default_factory=list)
    rto_seconds: float | None = None
    """From the first byte that was fetched to the last database ONLINE; CHECKDB is not in it."""
    notes: list[str] = field(default_factory=list)

    @property
    def status(self) -> str:
        if not self.reasons:
            return "ok"
        return "partial" if any(check["result"] == "pass" for check in self.checks) else "failed"


def drill(
    settings: Settings,
    point_id: str | None = None,
    *,
    on_production: bool = False,
    progress: Progress | None = None,
    check: Callable[[], None] = lambda: None,
) -> Drilled:
    """Restore each database of a point, ``master`` apart, on the drill server under a name of its own, run CHECKDB, and
    drop exactly what was made. The result is written beside the point.

    ``SettingsError``: there is no drill server. ``UsageError``: it is the instance that the backups are of, and
    ``on_production`` is not given.
    """
    server = settings.drill_sql_server()
    if server is None:
        raise SettingsError(
            "there is no server for drills",
            remedy="Set LIFEBOAT_DRILL_SQL_SERVER to a server that is not the production one.",
            setting="LIFEBOAT_DRILL_SQL_SERVER",
        )
    began = datetime.now(UTC)
    with ExitStack() as closing:
        vault = closing.enter_context(Vault(settings.vault()))
        vault.ensure_there(create=False)
        catalog = Catalog(vault.records)
        point, notes = choose_point(catalog, point_id)
        result = Drilled(point.point, server.server, notes=notes)
        chains = choose_chains(catalog, point, None, result.reasons)
        mode = settings.sql_mode(default=str(point.components["databases"]["mode"]))
        restores = closing.enter_context(
            open_restores(settings, vault, server, mode, chains, point, progress or Progress(), check)
        )
        _refuse_production(restores, point, on_production)
        total = 0.0
        for name, chain in chains.items():
            total += _one(restores, name, chain, result)
            if any(each["code"] == Cancelled.code for each in result.reasons):
                break
        result.rto_seconds = round(total, 3) if any(each["result"] == "pass" for each in result.checks) else None
        result.notes += _left_by_others(restores)
        result.notes += restores.put_away()
        _write(vault, result, began)
    emit(
        Event.DRILL_COMPLETED if result.status == "ok" else Event.DRILL_FAILED,
        point=result.point,
        rto_seconds=result.rto_seconds or 0.0,
        databases=len(result.checks),
    )
    return result


def _refuse_production(restores: DatabaseRestores, point: RecoveryPoint, on_production: bool) -> None:
    source = (point.components["databases"].get("server") or {}).get("name")
    if not on_production and source and server_name(restores.connection).casefold() == str(source).casefold():
        raise UsageError(
            f"LIFEBOAT_DRILL_SQL_SERVER leads to {source}, the very instance that the backups are of",
            remedy="Name another server, or run the drill there with --on-production.",
            setting="LIFEBOAT_DRILL_SQL_SERVER",
        )


def _one(restores: DatabaseRestores, name: str, chain: Chain, result: Drilled) -> float:
    """Restore, check, drop. Returns the seconds until it was ONLINE."""
    target = f"{NAME_PREFIX}{secrets.token_hex(4)}_{chain.full.database}"[:128]
    seconds = 0.0
    guid: str | None = None
    outcome, detail = "fail", ""
    began = time.monotonic()
    try:
        plan = restores.plan(chain, target, overwrite=False)
        if plan is None:
            raise UsageError(f"{target} is there already", remedy="Run it again.")
        done = restores.restore(plan)
        seconds, guid = done.seconds, done.database_guid
        checked = restores.check_database(target)
        outcome = "pass"
        detail = (
            f"restored to {chain.moment:%Y-%m-%d %H:%M:%S}Z ({len(chain.sets)} backup(s)), CHECKDB in {checked:.1f} s"
        )
    except LifeboatError as error:
        result.reasons.append(reason(error, name))
        detail = str(error)
    try:
        restores.drop(target, guid)
    except LifeboatError as error:
        error.args = (f"{target} may be left on the drill server: {error}",)
        error.remedy = error.remedy or f"Look at it, then: {drop_database(target)}"
        result.reasons.append(reason(error, name))
        outcome = "fail"
    result.checks.append(
        {
            "component": "databases",
            "name": name,
            "result": outcome,
            "seconds": round(time.monotonic() - began, 3),
            "detail": detail,
        }
    )
    return seconds


def _left_by_others(restores: DatabaseRestores) -> list[str]:
    """Databases of drills that were killed: nobody knows whose they are now, so nobody drops them unasked."""
    try:
        names = [name for name in inspect(restores.connection).databases if name.startswith(NAME_PREFIX)]
    except LifeboatError as error:
        return [f"what is left on the drill server could not be asked: look for {NAME_PREFIX}*; {error}"]
    return [f"{name} was left by a drill that was killed: look at it, then {drop_database(name)}" for name in names]


def _write(vault: Vault, result: Drilled, began: datetime) -> None:
    document = {
        "server": result.server,
        "status": result.status,
        "rto_seconds": result.rto_seconds,
        "checks": result.checks,
        "reasons": result.reasons,
        "lifeboat": VERSION,
    }
    put_drill_result(vault.records, result.point, began, document)
