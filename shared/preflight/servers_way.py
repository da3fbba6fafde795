"""The check that SQL Server itself reaches the place where it is to write: a small backup of ``master``, verified there
and removed again.

Of ``master``, which is small and which the backup's login may back up: a user of that login in ``model`` would be
inherited by every new database. COPY_ONLY, so that no chain is touched.
"""

from __future__ import annotations

import contextlib
import threading
from typing import NoReturn
from urllib.parse import urlsplit

from shared.databases import statements
from shared.databases.connection import Connection
from shared.databases.medium import Depot, Medium
from shared.databases.progress import Progress
from shared.databases.runner import Runner
from shared.databases.statements import BackupType
from shared.errors import Cancelled, DatabaseError, StatementCancelled
from shared.preflight.check import Check, Found, failed, passed, skipped, warned
from shared.preflight.sql_server import MASTER, SqlSession
from shared.recovery_point.databases import open_medium
from shared.settings import DatabasesSettings, Settings
from shared.storage.vault import Vault

STATEMENT_SECONDS = 25.0
"""Of the backup, and of its verification."""
LIMIT_SECONDS = 65.0
"""Both of them, and a login, a container and a credential besides."""
END_SECONDS = 10.0
"""What a backup that was given up may take to end, and to clear away after itself."""
LABEL = "preflight"
CANNOT_REACH = frozenset({3201, 3271})
"""SQL Server's numbers of a device that it cannot open, or write to."""
_SIZE_BYTES = 16 << 20
"""About what ``master`` has: how many files are asked for goes by it."""


class ServersWay:
    """``name``: ``server-to-landing`` or ``server-to-disk``."""

    def __init__(self, name: str, settings: Settings, sql: DatabasesSettings, session: SqlSession) -> None:
        self._name = name
        self._settings = settings
        self._sql = sql
        self._session = session
        self._setting = "LIFEBOAT_LANDING_URL" if name == "server-to-landing" else "LIFEBOAT_SQL_DISK_PATH"
        self._given_up = threading.Event()
        self._over = threading.Event()
        self._over.set()

    def check(self, *after: str) -> Check:
        return Check(
            self._name,
            self._run,
            after=after,
            limit_seconds=LIMIT_SECONDS,
            silent="The server neither ends its backup nor lets it be cancelled: look at it (sys.dm_exec_requests).",
            setting=self._setting,
        )

    def close(self) -> None:
        """Cancel what still runs, and wait until it has cleared away after itself. ``StatementCancelled``: it did
        not."""
        self._given_up.set()
        if not self._over.wait(END_SECONDS):
            raise StatementCancelled(
                f"the server has not ended the small backup of {MASTER} within {END_SECONDS:.0f} s",
                remedy="Look at it there (sys.dm_exec_requests). A credential and a container, or a file, whose names "
                "begin with lifeboat- may be left; a later run clears them.",
                setting=self._setting,
            )

    def _run(self) -> list[Found]:
        self._over.clear()
        try:
            return self._look()
        finally:
            self._over.set()

    def _look(self) -> list[Found]:
        if not self._settings.preflight_backs_up():
            return [skipped("left out: LIFEBOAT_PREFLIGHT_BACKUP is false", setting="LIFEBOAT_PREFLIGHT_BACKUP")]
        if MASTER not in {name.lower() for name in self._sql.databases}:
            return [
                warned(
                    f"the server itself was not asked: {MASTER}, of which it would make a small backup, is not among "
                    "LIFEBOAT_SQL_DATABASES",
                    f"Add {MASTER} to LIFEBOAT_SQL_DATABASES: a recovery needs it too.",
                    setting="LIFEBOAT_SQL_DATABASES",
                )
            ]
        with Vault(self._settings.vault()) as vault, self._session.another() as connection:
            depot = Depot(vault, _no_repository, self._sql.server.server)
            medium = open_medium(self._settings, self._sql.mode, vault, depot, STATEMENT_SECONDS)
            with medium:
                try:
                    found = self._backed_up(connection, medium)
                finally:
                    medium.detach(connection)
                    medium.clear()
            return [found, *(warned(note) for note in medium.notes)]

    def _backed_up(self, connection: Connection, medium: Medium) -> Found:
        try:
            self._back_up(connection, medium)
        except StatementCancelled:
            return self._failed(
                f"within {STATEMENT_SECONDS:.0f} s the server has not written its small backup of {MASTER}",
                "Something between the server and that place drops what it sends: look at the firewall from the SQL "
                "server to it (TCP 443, or 445), and at its proxy ('netsh winhttp show proxy', trace flag 1819).",
            )
        except DatabaseError as error:
            return self._failed(f"SQL Server itself cannot write there: {error}", self._way_out(error))
        kind = f" by a SAS of kind {self._settings.landing().sas}" if self._sql.mode == "url" else ""
        return passed(f"SQL Server wrote a small backup of {MASTER} there{kind}, and read it back (VERIFYONLY)")

    def _failed(self, detail: str, remedy: str) -> Found:
        return failed(detail, remedy, setting=self._setting)

    def _way_out(self, error: DatabaseError) -> str:
        remedy = error.remedy or "Look at the server's own error log."
        if error.number not in CANNOT_REACH:
            return remedy
        if self._sql.mode != "url":
            return f"{remedy} It writes to {self._settings.disk().path} by TCP 445, as the account of its service."
        landing = self._settings.landing()
        way = urlsplit(landing.url)
        return (
            f"{remedy} It goes to {way.hostname} by TCP {way.port or 443}, with a SAS of kind {landing.sas}: where the "
            "server takes no such one, LIFEBOAT_SQL_SAS has the other."
        )

    def _back_up(self, connection: Connection, medium: Medium) -> None:
        medium.attach(connection)
        devices = medium.devices(LABEL, _SIZE_BYTES)
        statement = statements.backup(
            BackupType.FULL, MASTER, devices, name=f"lifeboat {LABEL}", copy_only=True, compression=None
        )
        runner = Runner(connection, STATEMENT_SECONDS, Progress(), self._go_on)
        try:
            runner.transfer(statement, MASTER, LABEL)
            runner.verify(devices, MASTER)
        finally:
            with contextlib.suppress(DatabaseError):
                medium.discard(devices)

    def _go_on(self) -> None:
        if self._given_up.is_set():
            raise Cancelled(f"preflight has given up the small backup of {MASTER}")


def _no_repository() -> NoReturn:
    raise AssertionError("nothing of it is kept")
