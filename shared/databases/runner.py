"""Long statements: BACKUP, VERIFYONLY, RESTORE, CHECKDB, each with its limit, its progress, and what it must say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shared.databases import statements
from shared.databases.connection import Answer, Connection, Message, Row
from shared.databases.progress import Progress
from shared.databases.statements import Devices
from shared.errors import DatabaseError, SourceUnreachable

VALID, PROCESSED = 3262, 3014
"""``The backup set on file %d is valid.``; ``BACKUP DATABASE successfully processed %d pages ...``, or RESTORE."""


@dataclass(frozen=True, slots=True)
class Runner:
    """Cheap to make, for one connection."""

    connection: Connection
    limit_seconds: float
    progress: Progress
    check: Callable[[], None]

    def long(self, statement: str, database: str, doing: str) -> Answer:
        """Run to the end, telling ``doing`` and the percentage. Errors as ``Connection.run``."""
        self.progress.text = doing

        def tell(message: Message) -> None:
            if message.percent is not None:
                self.progress.text = f"{doing}: {message.percent} %"

        return self.connection.run(
            statement,
            limit_seconds=self.limit_seconds,
            on_message=tell,
            check=self.check,
            database=database,
        )

    def transfer(self, statement: str, database: str, doing: str) -> Answer:
        """A BACKUP or RESTORE. ``SourceUnreachable`` where it ended without saying that it is done: a connection that
        breaks between two messages can look like the end of a statement."""
        answer = self.long(statement, database, doing)
        if PROCESSED not in answer.numbers():
            raise SourceUnreachable(
                f"the connection to SQL Server {self.connection.server} ended before {doing} was done",
                remedy="Run it again.",
            )
        return answer

    def verify(self, devices: Devices, database: str) -> None:
        """RESTORE VERIFYONLY: passes when 3262 arrives and no error does; other messages are information."""
        answer = self.long(statements.verify_only(devices), database, f"verifying {database}")
        if VALID not in answer.numbers():
            raise DatabaseError(
                f"VERIFYONLY of {database} ended without saying that the backup is valid",
                remedy="Run 'backup' again; if it stays so, run CHECKDB on the database.",
                database=database,
            )

    def read_media(self, devices: Devices, database: str) -> tuple[Row, list[Row]]:
        """HEADERONLY and FILELISTONLY. ``DatabaseError`` where there is not exactly one backup set."""
        headers = self.headers(devices, database)
        if len(headers) != 1:
            raise DatabaseError(
                f"the media of {database} hold {len(headers)} backup sets instead of one",
                remedy="Find out who else writes there.",
                database=database,
            )
        return headers[0], self.files(devices, database)

    def headers(self, devices: Devices, database: str) -> list[Row]:
        """HEADERONLY: one row for each backup set that lies there."""
        return self.long(statements.header_only(devices), database, f"reading the header of {database}").rows

    def files(self, devices: Devices, database: str) -> list[Row]:
        """FILELISTONLY of the one backup set."""
        return self.long(statements.file_list_only(devices), database, f"reading the files of {database}").rows
