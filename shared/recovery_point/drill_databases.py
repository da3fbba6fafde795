"""The databases of a point on the drill server: restored, checked, and dropped again."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack

from shared.databases.chains import Chain
from shared.databases.inspection import inspect, server_name
from shared.databases.progress import Progress
from shared.databases.restore import DatabaseRestores
from shared.databases.statements import drop_database
from shared.errors import Cancelled, LifeboatError, UsageError
from shared.recovery_point.catalog import Catalog
from shared.recovery_point.databases import restore_mode
from shared.recovery_point.drill_results import DrilledPart
from shared.recovery_point.record import RecoveryPoint
from shared.recovery_point.restore_databases import choose_chains, open_restores, reason
from shared.settings import ServerSettings, Settings
from shared.storage.vault import Vault

NAME_PREFIX = "lifeboat_drill_"


def drill_databases(
    settings: Settings,
    vault: Vault,
    point: RecoveryPoint,
    server: ServerSettings,
    *,
    on_production: bool,
    progress: Progress,
    check: Callable[[], None],
) -> DrilledPart:
    """Restore each database of the point, ``master`` apart, under a name of its own, run CHECKDB, and drop exactly what
    was made. Each takes from the first byte that is fetched until it is ONLINE.

    ``UsageError``: ``server`` is the instance that the backups are of, and ``on_production`` is not given. Errors of
    the server as a whole are raised; a database that does not come back is a reason.
    """
    part = DrilledPart("databases")
    with ExitStack() as closing:
        chains = choose_chains(Catalog(vault.records), point, None, part.reasons)
        mode = restore_mode(settings, str(point.components["databases"]["mode"]), chains)
        restores = closing.enter_context(open_restores(settings, vault, server, mode, chains, point, progress, check))
        _refuse_production(restores, point, on_production)
        for name, chain in chains.items():
            part.seconds += _one(restores, name, chain, part)
            if any(each["code"] == Cancelled.code for each in part.reasons):
                break
        part.notes += _left_by_others(restores)
        part.notes += restores.put_away()
    part.estimated_seconds = part.seconds if part.passed else None
    return part


def _refuse_production(restores: DatabaseRestores, point: RecoveryPoint, on_production: bool) -> None:
    source = (point.components["databases"].get("server") or {}).get("name")
    if not on_production and source and server_name(restores.connection).casefold() == str(source).casefold():
        raise UsageError(
            f"LIFEBOAT_DRILL_SQL_SERVER leads to {source}, the very instance that the backups are of",
            remedy="Name another server, or run the drill there with --on-production.",
            setting="LIFEBOAT_DRILL_SQL_SERVER",
        )


def _one(restores: DatabaseRestores, name: str, chain: Chain, part: DrilledPart) -> float:
    """Restore, check, drop. Returns the seconds until it was ONLINE."""
    target = f"{NAME_PREFIX}{secrets.token_hex(4)}_{chain.full.database}"[:128]
    seconds = 0.0
    guid: str | None = None
    passed, detail = False, ""
    began = time.monotonic()
    try:
        plan = restores.plan(chain, target, overwrite=False)
        if plan is None:
            raise UsageError(f"{target} is there already", remedy="Run it again.")
        done = restores.restore(plan)
        seconds, guid = done.seconds, done.database_guid
        checked = restores.check_database(target)
        passed = True
        detail = (
            f"restored to {chain.moment:%Y-%m-%d %H:%M:%S}Z ({len(chain.sets)} backup(s)), CHECKDB in {checked:.1f} s"
        )
    except LifeboatError as error:
        part.reasons.append(reason(error, name))
        detail = str(error)
    try:
        restores.drop(target, guid)
    except LifeboatError as error:
        error.args = (f"{target} may be left on the drill server: {error}",)
        error.remedy = error.remedy or f"Look at it, then: {drop_database(target)}"
        part.reasons.append(reason(error, name))
        passed = False
    part.add(name, time.monotonic() - began, detail, passed=passed)
    return seconds


def _left_by_others(restores: DatabaseRestores) -> list[str]:
    """Databases of drills that were killed: nobody knows whose they are now, so nobody drops them unasked."""
    try:
        names = [name for name in inspect(restores.connection).databases if name.startswith(NAME_PREFIX)]
    except LifeboatError as error:
        return [f"what is left on the drill server could not be asked: look for {NAME_PREFIX}*; {error}"]
    return [f"{name} was left by a drill that was killed: look at it, then {drop_database(name)}" for name in names]
