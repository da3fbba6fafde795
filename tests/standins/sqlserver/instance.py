"""One instance of SQL Server as state: what exists, who is connected, what runs, and the faults declared by a test."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING

from tests.standins.sqlserver.media import Space
from tests.standins.sqlserver.messages import SqlError, refusal
from tests.standins.sqlserver.model import (
    BUILDS,
    Clock,
    Credential,
    Database,
    DatabaseFile,
    HistoryEntry,
    Login,
    RestoreEntry,
    User,
    new_guid,
)

if TYPE_CHECKING:
    from tests.standins.sqlserver.availability import AvailabilityGroup

SYSTEM_DATABASES = ("master", "tempdb", "model", "msdb")
DATA_FOLDER = r"C:\Program Files\Microsoft SQL Server\MSSQL\DATA"
SYSTEM_LOGIN = Login("sa", "", sysadmin=True, sid=b"\x01")


@dataclass
class Request:
    """A statement that runs now, as sys.dm_exec_requests shows it."""

    command: str
    database: str
    text: str
    started: dt.datetime
    percent: float = 0.0


@dataclass
class SessionState:
    """A connection as the instance sees it."""

    spid: int
    login: Login
    database: str
    started: dt.datetime
    program: str = ""
    host: str = ""
    is_encrypted: bool = False
    in_transaction: bool = False
    implicit_transactions: bool = False
    before_transaction: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    """For a rollback: content and length of the log of each database that was written to."""
    variables: dict[str, object] = field(default_factory=dict)
    request: Request | None = None
    killed: bool = False
    disconnect: Callable[[], None] = lambda: None
    """Breaks the connection, for a session that is doing nothing."""
    row_count: int = 0


@dataclass
class Fault:
    """Declared by a test: the next statement that begins so fails with this error."""

    begins: str
    error: SqlError
    remaining: int = 1


@dataclass
class Slowness:
    """Declared by a test: statements that begin so take this long; ``remaining`` of them, or all when None."""

    begins: str
    seconds: float
    remaining: int | None = None


class Instance:
    """All of it is guarded by ``lock``, which is never held while a device is read or written."""

    def __init__(
        self,
        *,
        name: str,
        version: str,
        edition: str,
        clock: Clock,
        unc: dict[str, Path],
        ca_file: Path | None,
    ) -> None:
        if version not in BUILDS:
            raise ValueError(f"no such version here: {version}; there are {', '.join(BUILDS)}")
        self.name, self.version, self.edition, self.clock = name, version, edition, clock
        self.build = BUILDS[version]
        self.unc, self.ca_file = unc, ca_file
        self.lock = threading.RLock()
        self.logins: dict[str, Login] = {"sa": SYSTEM_LOGIN}
        self.databases: dict[str, Database] = {}
        self.credentials: dict[str, Credential] = {}
        self.history: list[HistoryEntry] = []
        self.restores: list[RestoreEntry] = []
        self.sessions: dict[int, SessionState] = {}
        self.configuration = {"contained database authentication": [0, 0], "backup compression default": [0, 0]}
        self.configuration |= {"show advanced options": [0, 0], "backup checksum default": [0, 0]}
        self.windows_logins_only = False
        """What SERVERPROPERTY tells of it; SQL logins are taken all the same."""
        self.certificates: set[str] = set()
        self.backup_space = Space()
        self.denied_folders: list[str] = []
        self.data_free_bytes = 100 * 2**30
        self.faults: list[Fault] = []
        self.slowness: list[Slowness] = []
        self.verify_messages: list[tuple[int, str]] = []
        self.statements: list[str] = []
        self.group: AvailabilityGroup | None = None
        self.piece_written: Callable[[int], None] | None = None
        self.started = clock.now()
        self._numbers = iter(range(1, 2**31))
        self._spids = iter(range(51, 2**15))
        for system in SYSTEM_DATABASES:
            made = self.new_database(system, recovery="FULL" if system == "model" else "SIMPLE")
            made.is_system = True

    @property
    def major(self) -> int:
        return int(self.version)

    def number(self) -> int:
        """A number that nothing else of this instance has."""
        return next(self._numbers)

    def new_spid(self) -> int:
        return next(self._spids)

    def new_database(
        self, name: str, *, recovery: str = "FULL", containment: str = "NONE", filler_bytes: int = 0
    ) -> Database:
        if name.lower() in self.databases:
            raise refusal(1801, f"Database '{name}' already exists. Choose a different database name.")
        made = Database(name, self._free_database_id(), self.clock.now(), recovery, containment)
        made.filler_bytes, made.version = filler_bytes, self.version
        made.files = default_files(name)
        made.users["dbo"] = User("dbo", self.clock.wall(made.created), frozenset({"db_owner"}))
        self.databases[name.lower()] = made
        return made

    def _free_database_id(self) -> int:
        taken = {database.database_id for database in self.databases.values()}
        return next(number for number in range(1, 2**15) if number not in taken)

    def database(self, name: str) -> Database:
        """SqlError 911 when there is none."""
        found = self.databases.get(name.lower())
        if found is None:
            raise refusal(911, f"Database '{name}' does not exist. Make sure that the name is entered correctly.")
        return found

    def users_of(self, database: Database) -> list[SessionState]:
        """The sessions whose current database it is."""
        return [session for session in self.sessions.values() if session.database.lower() == database.name.lower()]

    def denies(self, device: str) -> bool:
        """Whether the service account may not reach this path."""
        return any(PureWindowsPath(device).is_relative_to(PureWindowsPath(folder)) for folder in self.denied_folders)

    def drive_path(self, device: str) -> Path | None:
        """Where a path of the server really lies; None when it is not mapped."""
        wanted = PureWindowsPath(device)
        for prefix, folder in self.unc.items():
            try:
                return folder.joinpath(*wanted.relative_to(PureWindowsPath(prefix)).parts)
            except ValueError:
                continue
        return None


def default_files(name: str) -> tuple[DatabaseFile, ...]:
    return (
        DatabaseFile(1, "D", name, rf"{DATA_FOLDER}\{name}.mdf", new_guid()),
        DatabaseFile(2, "L", f"{name}_log", rf"{DATA_FOLDER}\{name}_log.ldf", new_guid()),
    )
