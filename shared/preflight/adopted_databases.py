"""The check of databases that somebody else backs up: what msdb knows, and whether its files can be had from here."""

from __future__ import annotations

from collections.abc import Iterator

from shared.databases.adopted import Offered
from shared.databases.adopted_files import PlanFiles
from shared.databases.adopting import offers_of
from shared.databases.statements import BackupType
from shared.errors import LifeboatError
from shared.preflight.check import Check, Found, failed, passed
from shared.preflight.sql_server import SqlSession
from shared.recovery_point.databases import plan_files
from shared.settings import DatabasesSettings, Settings
from shared.storage.vault import Vault

LIMIT_SECONDS = 45.0


def adopted_check(settings: Settings, sql: DatabasesSettings, session: SqlSession) -> Check:
    """A row for each database: its newest full backup, and the newest of all."""

    def run() -> Iterator[Found]:
        with Vault(settings.vault()) as vault, plan_files(settings, vault) as files:
            for name in sql.databases:
                yield _one(name, files, session)

    return Check(
        "adopted",
        run,
        after=(session.logged_in, "msdb"),
        limit_seconds=LIMIT_SECONDS,
        silent="The place of the backups does not answer in time: look at the way to it, and at LIFEBOAT_SQL_PATH_MAP.",
        setting="LIFEBOAT_SQL_PATH_MAP",
    )


def _one(name: str, files: PlanFiles, session: SqlSession) -> Found:
    row = f"adopted {name}"
    server = session.facts
    facts = server.find(name) if server else None
    if server is None or facts is None:
        return failed("it cannot be seen on the server", "See the rows of the databases.", name=row)
    with session.session() as connection:
        offers = offers_of(connection, server, facts)
    fulls = [each for each in offers if each.backup.kind is BackupType.FULL]
    if not fulls:
        return failed(
            f"msdb of {server.name} knows of no full backup of {facts.name}",
            "Let the maintenance plan make one; if another instance or replica makes them, adopt from that one.",
            setting="LIFEBOAT_SQL_MODE",
            name=row,
        )
    for offered in dict.fromkeys((fulls[-1], offers[-1])):
        found = _trouble(offered, files, row)
        if found is not None:
            return found
    newest = offers[-1]
    return passed(f"{newest.title} and the full before it can be reached, made by {newest.maker}", name=row)


def _trouble(offered: Offered, files: PlanFiles, row: str) -> Found | None:
    refusal = offered.refusal()
    if refusal is not None:
        return failed(str(refusal), refusal.remedy, setting=refusal.setting, name=row)
    try:
        files.find(offered)
    except LifeboatError as error:
        return failed(str(error), error.remedy, setting=error.setting or "LIFEBOAT_SQL_PATH_MAP", name=row)
    return None
