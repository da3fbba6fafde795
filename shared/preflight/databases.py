"""The checks of the databases: the SQL server, the place that its backups go through, and who restores and drills."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from shared.databases.grants import TAIL_PERMISSION, restore_permissions
from shared.databases.inspection import VERSION_NAMES
from shared.errors import SettingsError
from shared.preflight.adopted_databases import adopted_check
from shared.preflight.check import DRILL, RESTORE, WARN, Check, ComponentChecks, Found, passed, warned
from shared.preflight.disk import DiskChecks
from shared.preflight.landing import LandingChecks
from shared.preflight.servers_way import ServersWay
from shared.preflight.sql_server import KNOWN_SECONDS, MASTER, SqlSession, permissions_of_backup
from shared.settings import Settings


def databases_checks(settings: Settings) -> ComponentChecks:
    """``SettingsError`` where a setting of the databases is missing or wrong; nothing is sent yet."""
    sql = settings.databases()
    session = SqlSession(settings, sql.server)
    closing: list[Callable[[], None]] = [session.close]
    clearing: list[Callable[[], None]] = []
    checks = [*session.way(), session.version_check(sql.mode), session.databases_check(sql.databases)]
    server, databases = permissions_of_backup(settings, sql)
    checks += [session.permissions_check(databases, server, msdb=True), session.msdb_check()]
    if sql.mode == "adopt":
        checks += [adopted_check(settings, sql, session), Check(f"{RESTORE}way", lambda: _way_back(settings))]
    else:
        checks.append(session.own_log_chain_check(sql))
    if sql.mode == "url" or (sql.mode == "adopt" and settings.has_landing()):
        landing = LandingChecks(settings)
        clearing.append(landing.close)
        checks += landing.checks()
        if sql.mode == "url":
            way = ServersWay("server-to-landing", settings, sql, session)
            clearing.append(way.close)
            checks.append(way.check(session.logged_in, "version", landing.made))
    if sql.mode == "disk":
        disk = DiskChecks(settings)
        checks += disk.checks()
        way = ServersWay("server-to-disk", settings, sql, session)
        clearing.append(way.close)
        checks.append(way.check(session.logged_in, "version", disk.reached))
    checks += _others(settings, session, closing)
    return ComponentChecks("databases", tuple(checks), lambda: _close([*clearing, *closing]))


def _others(settings: Settings, session: SqlSession, closing: list[Callable[[], None]]) -> list[Check]:
    """Who restores, where that is another login, and who drills. No backup needs them: what they lack is a warning."""
    checks: list[Check] = []
    if settings.has_restore_sql_login:
        restore = SqlSession(settings, settings.restore_sql_server(None), prefix=RESTORE, missing=WARN, refused=WARN)
        closing.append(restore.close)
        checks += [*restore.login_checks(("port",)), _may_restore(settings, restore, over=True)]
    drill_server = settings.drill_sql_server()
    if drill_server is not None:
        drill = SqlSession(settings, drill_server, prefix=DRILL, missing=WARN)
        closing.append(drill.close)
        checks += [*drill.login_checks(), _may_restore(settings, drill, over=False)]
        checks.append(
            Check(
                f"{DRILL}server",
                lambda: _where_drills_restore(session, drill),
                after=(session.logged_in, drill.logged_in),
                limit_seconds=KNOWN_SECONDS,
                setting="LIFEBOAT_DRILL_SQL_SERVER",
            )
        )
    return checks


def _may_restore(settings: Settings, session: SqlSession, *, over: bool) -> Check:
    """``over``: over the databases that are there, too, which a drill never does."""
    try:
        mode = settings.restore_sql_mode()
    except SettingsError:  # told by the row of the way back
        mode = "disk"
    there = [name for name in settings.database_names() if over and name.lower() != MASTER]
    return session.permissions_check({name: [TAIL_PERMISSION] for name in there}, restore_permissions(mode), over=over)


def _way_back(settings: Settings) -> Found:
    """Of what was adopted: it lies where only somebody else's plan writes."""
    try:
        mode = settings.restore_sql_mode()
    except SettingsError as error:
        return warned(str(error), error.remedy, setting=error.setting)
    place = "the landing account" if mode == "url" else "the folder of LIFEBOAT_SQL_DISK_PATH"
    return passed(f"adopted backups are brought back by {place}")


def _where_drills_restore(source: SqlSession, drill: SqlSession) -> Found:
    """Another instance, by its own name and not by how it is reached, and not an older one."""
    live, other = source.seen, drill.seen
    if live.name.casefold() == other.name.casefold():
        return warned(
            f"drills would restore on {live.name}, which is backed up, beside what is live",
            "Set LIFEBOAT_DRILL_SQL_SERVER to another server; a drill here asks for --on-production.",
            setting="LIFEBOAT_DRILL_SQL_SERVER",
        )
    told = f"{other.name} (SQL Server {VERSION_NAMES.get(other.major, other.major)})"
    if other.major < live.major:
        return warned(
            f"{told} is older than {live.name} (SQL Server {VERSION_NAMES.get(live.major, live.major)}), whose backups "
            "it cannot restore",
            "Drill on a server of the same version or a later one.",
            setting="LIFEBOAT_DRILL_SQL_SERVER",
        )
    return passed(f"drills restore on {told}, which is not the server that is backed up")


def _close(closing: Sequence[Callable[[], None]]) -> None:
    """Each of them, in their order; sessions last, since one that hangs keeps the rest from being cleared away."""
    with ExitStack() as stack:
        for close in reversed(closing):
            stack.callback(close)
