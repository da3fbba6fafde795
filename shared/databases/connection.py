"""A connection to one SQL server: statements, their messages, their errors, and a watchdog.

Source: facts of pyodbc (issues 471, 568, 740, 851, 1431). BACKUP and RESTORE need autocommit, every result has to be
drained (closing early aborts a backup, late failures come from ``nextset``), and only ``cancel`` from another thread
bounds a statement that keeps talking.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from shared.databases.driver import DEFAULT_PORT, Address, Driver, choose_driver, connection_string, odbc, trusting
from shared.errors import (
    DatabaseError,
    DriverMissing,
    PermissionMissing,
    SourceLoginRefused,
    SourceUnreachable,
    StatementCancelled,
    without_signatures,
)
from shared.settings import ServerSettings

LOGIN_SECONDS = 30
"""How long a login may take before the server counts as unreachable."""
QUERY_LIMIT_SECONDS = 120.0
"""What a look at the server's views may take."""
WATCH_SECONDS = 0.5
"""How often the watchdog looks whether a statement should end."""
STOP_SECONDS = 5.0
"""What the watchdog may take to end; a driver's own cancel may be stuck."""
CANCEL_PATIENCE_SECONDS = 60.0
"""How long a cancelled statement may take to end before its connection is given up."""

_NUMBER = re.compile(r"\((\d+)\)(?= \(SQL|\s*\Z)")
_MESSAGE_NUMBER = re.compile(r"\((-?\d+)\)")
_PREFIXES = re.compile(r"^(\[[^\]]*\]\s*)+")
_PERCENT = re.compile(r"^(\d+) percent processed")

_FREETDS_OWN = range(20_000, 21_000)
"""Numbers of FreeTDS itself, which it marks as if they were the server's."""
_FREETDS_LOST = frozenset({20002, 20003, 20004, 20006, 20009, 20017})
"""Of these, those of a connection that is lost or cannot be made."""

PERMISSION_NUMBERS = frozenset(
    {229, 230, 262, 297, 300, 371, 378, 916, 2557, 2571, 3110, 5011, 7983, 15151, 15247, 15562}
)
"""Errors of SQL Server that say that a permission is missing."""
LOST_STATES = ("08001", "08003", "08004", "08007", "08S01", "HYT00", "HYT01")
CERTIFICATE, TRUST = "LIFEBOAT_SQL_SERVER_CERTIFICATE", "LIFEBOAT_SQL_TRUST_SERVER_CERTIFICATE"
NO_SUCH_DATABASE, LOGIN_FAILED, CANNOT_OPEN_DATABASE = 911, 18456, 4060

Row = dict[str, Any]


def check_settings(settings: ServerSettings, password: str) -> None:
    """``SettingsError``, ``DriverMissing``: what a login would fail at before anything is sent."""
    connection_string(settings, password, choose_driver(settings.driver))


@dataclass(frozen=True, slots=True)
class Message:
    """An informational message. ``number`` is SQL Server's, 0 where the driver did not tell it."""

    number: int
    text: str

    @property
    def percent(self) -> int | None:
        match = _PERCENT.match(self.text)
        return int(match[1]) if match else None


@dataclass(slots=True)
class Answer:
    """All that a statement brought: rows of all results, by column name, and messages in their order."""

    rows: list[Row] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)

    def numbers(self) -> set[int]:
        return {message.number for message in self.messages}


class Connection:
    """Used by one thread at a time; a context manager. The session's database is ``master``.

    Errors of all methods: ``SourceUnreachable`` (the connection was lost), ``PermissionMissing``, ``DatabaseError``
    with SQL Server's number and first sentence. No text holds a password or the signature of a SAS.
    """

    def __init__(self, raw: Any, server: str, username: str) -> None:  # Any: pyodbc has no types of its own
        self._raw = raw
        self.server = server
        """As it was configured."""
        self.username = username
        self._given_up = False
        """The server fell silent in the middle of a statement: nothing more is asked of this session."""

    @classmethod
    def open(cls, settings: ServerSettings, password: str) -> Connection:
        """Log in. ``DriverMissing``, ``SettingsError``, ``SourceUnreachable`` (within ``LOGIN_SECONDS``),
        ``SourceLoginRefused``."""
        driver = choose_driver(settings.driver)
        pyodbc = odbc()
        pyodbc.pooling = False
        text = connection_string(settings, password, driver)
        _knock(settings)
        try:
            with trusting(settings):
                raw = pyodbc.connect(f"{text};Database=master", autocommit=True, timeout=LOGIN_SECONDS)
        except pyodbc.Error as error:
            _refused(error, settings, driver)
        return cls(raw, settings.server, settings.username)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._given_up:
            return  # the driver would wait for the server
        pyodbc = odbc()
        try:
            self._raw.close()
        except pyodbc.Error:
            return  # it was broken already

    def rows(self, statement: str, *parameters: object) -> list[Row]:
        """The rows of a SELECT; ``?`` in it stands for ``parameters``."""
        return self.run(statement, *parameters, limit_seconds=QUERY_LIMIT_SECONDS).rows

    def run(
        self,
        statement: str,
        *parameters: object,
        limit_seconds: float,
        on_message: Callable[[Message], None] = lambda message: None,
        check: Callable[[], None] = lambda: None,
        database: str | None = None,
    ) -> Answer:
        """Run a statement to its end, draining every result.

        ``StatementCancelled`` when it takes longer than ``limit_seconds``. ``check`` is called about twice a second
        from another thread; what it raises ends the statement and is raised here. ``database`` names in errors what
        the statement is about.
        """
        if self._given_up:
            raise self._silent(statement)
        pyodbc = odbc()
        cursor = self._raw.cursor()
        answer = Answer()

        def drain() -> None:
            cursor.execute(statement, parameters) if parameters else cursor.execute(statement)
            _take(cursor, answer, on_message)
            while cursor.nextset():
                _take(cursor, answer, on_message)

        work = _Work(drain)
        with _Watchdog(cursor, limit_seconds, check) as watchdog:
            try:
                if not work.ended(watchdog):
                    self._given_up = True
                    raise self._silent(statement)
                work.raise_what_it_raised()
                watchdog.raise_if_cancelled(statement, database)  # a cancel between two results ends them in silence
            except pyodbc.Error as error:
                watchdog.raise_if_cancelled(statement, database)
                self._failed(error, statement, database, answer)
            finally:
                watchdog.stop()
                if not self._given_up:
                    _close(cursor)
        return answer

    def _silent(self, statement: str) -> SourceUnreachable:
        return SourceUnreachable(
            f"SQL Server {self.server} answers no more, not even that {_verb(statement)} be cancelled",
            remedy="Look at the server; what was sent to it may still be going on there.",
            setting="LIFEBOAT_SQL_SERVER",
        )

    def _failed(self, error: Exception, statement: str, database: str | None, answer: Answer) -> NoReturn:
        """Not chained: the driver's text may repeat what the statement held."""
        state, number, text = _parts(error)
        if number == 0 and (state in LOST_STATES or (state == "HY000" and "Unknown error" in text)):
            raise SourceUnreachable(
                f"the connection to SQL Server {self.server} was lost during {_verb(statement)}: {text}",
                remedy="Run it again; an availability group may have failed over.",
                setting="LIFEBOAT_SQL_SERVER",
            ) from None
        if number in PERMISSION_NUMBERS:
            raise PermissionMissing(
                f"{self.username} lacks a permission on {self.server} for {_verb(statement)}: {text} ({number})",
                remedy="Run the T-SQL that 'runbook --grants' prints.",
                number=number,
                database=database,
            ) from None
        told = [message.text for message in answer.messages if message.percent is None and message.text not in text]
        more = f" ({'; '.join(told[-2:])})" if told and number in (3013, 0) else ""
        raise DatabaseError(
            f"{_verb(statement)} failed on {self.server}: {text}{more} ({number or state})",
            remedy=_REMEDIES.get(number, ""),
            number=number,
            database=database,
        ) from None


class _Work:
    """A statement in a thread of its own, so that whoever waits for it is not bound to a server that falls silent."""

    def __init__(self, run: Callable[[], None]) -> None:
        self._run = run
        self._error: BaseException | None = None
        self._done = threading.Event()
        threading.Thread(target=self._work, name="statement", daemon=True).start()

    def ended(self, watchdog: _Watchdog) -> bool:
        """Wait for it. False: it was cancelled, and is still not over after ``CANCEL_PATIENCE_SECONDS``."""
        while not self._done.wait(WATCH_SECONDS):
            if watchdog.cancelled_seconds > CANCEL_PATIENCE_SECONDS:
                return False
        return True

    def raise_what_it_raised(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            self._run()
        except BaseException as error:
            self._error = error
        finally:
            self._done.set()


class _Watchdog:
    """Cancels a cursor from a thread of its own when its time is up, or ``check`` raises."""

    def __init__(self, cursor: Any, limit_seconds: float, check: Callable[[], None]) -> None:
        self.fired = False
        self.failure: Exception | None = None
        self._cursor, self._check = cursor, check
        self._limit_seconds = limit_seconds
        self._deadline = time.monotonic() + limit_seconds
        self._cancelled_at: float | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    @property
    def cancelled_seconds(self) -> float:
        """How long ago it began to cancel; 0 where it has not."""
        return 0.0 if self._cancelled_at is None else time.monotonic() - self._cancelled_at

    def __enter__(self) -> _Watchdog:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def raise_if_cancelled(self, statement: str, database: str | None) -> None:
        """Ends the watch; raises why the statement was cancelled, if it was."""
        self.stop()
        if self.failure is not None:
            raise self.failure from None
        if self.fired:
            raise StatementCancelled(
                f"{_verb(statement)} was cancelled after {self._limit_seconds:.0f} seconds",
                remedy="If it needs longer, raise LIFEBOAT_SQL_STATEMENT_LIMIT.",
                setting="LIFEBOAT_SQL_STATEMENT_LIMIT",
                database=database,
            ) from None

    def stop(self) -> None:
        self._done.set()
        self._thread.join(STOP_SECONDS)

    def _watch(self) -> None:
        while not self._done.wait(WATCH_SECONDS):
            try:
                self._check()
            except Exception as error:  # raised by ``run``, whatever it is: a watch that dies would watch no more
                self.failure = error
            if time.monotonic() >= self._deadline:
                self.fired = True
            if self.fired or self.failure is not None:
                self._cancel()
                return

    def _cancel(self) -> None:
        """Again and again: a cancel that comes between two results is lost."""
        self._cancelled_at = time.monotonic()
        while not self._done.is_set():
            try:
                self._cursor.cancel()
            except odbc().Error:
                return
            self._done.wait(WATCH_SECONDS)


def _knock(settings: ServerSettings) -> None:
    """Tell at once a name that is none and a port that is closed: the driver goes on trying until its time is up."""
    address = Address.parse(settings.server, settings.named_by)
    if address.instance and not address.port:
        return  # its port is asked of the server's browser, by the driver
    try:
        socket.create_connection((address.host, address.port or DEFAULT_PORT), LOGIN_SECONDS).close()
    except (OSError, UnicodeError) as error:  # UnicodeError: a label that no host name can have
        raise SourceUnreachable(
            f"SQL Server {settings.server} does not answer: {getattr(error, 'strerror', None) or error}",
            remedy=f"Check {settings.named_by}, the port and the firewall.",
            setting=settings.named_by,
        ) from error


def _take(cursor: Any, answer: Answer, on_message: Callable[[Message], None]) -> None:
    for kind, text in cursor.messages or ():
        number = _MESSAGE_NUMBER.search(_text(kind))
        message = Message(int(number[1]) if number else 0, without_signatures(_PREFIXES.sub("", _text(text))))
        answer.messages.append(message)
        on_message(message)
    if cursor.description:
        names = [column[0] for column in cursor.description]
        answer.rows += [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _text(value: str | bytes) -> str:
    """After a cancel pyodbc gives messages as bytes."""
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _close(cursor: Any) -> None:
    pyodbc = odbc()
    try:
        cursor.close()
    except pyodbc.Error:
        return


def _parts(error: Exception) -> tuple[str, int, str]:
    """SQLSTATE, SQL Server's number (0: the driver's own error) and the text without the driver's decoration."""
    state, text = (*map(str, error.args), "", "")[:2]
    first = text.split(" [", 1)[0] if not text.startswith("[") else text
    numbers = _NUMBER.findall(first)
    number = int(numbers[0]) if numbers and "[SQL Server]" in text else 0
    if "[FreeTDS]" in text and number in _FREETDS_OWN:
        state, number = ("08S01" if number in _FREETDS_LOST else state), 0
    body = _PREFIXES.sub("", text)
    body = re.sub(r"\s*\(\d+\) \(SQL\w+\).*\Z", "", body, flags=re.DOTALL)
    return state, number, without_signatures(body.strip())[:600]


def _verb(statement: str) -> str:
    """The first words of a statement, which hold no secret."""
    words: Sequence[str] = statement.split(None, 3)[:2]
    return " ".join(words)


def _refused(error: Exception, settings: ServerSettings, driver: Driver) -> NoReturn:
    state, number, text = _parts(error)
    if number in _REFUSED or state == "28000":
        why, remedy, of = _REFUSED.get(number, _REFUSED[LOGIN_FAILED])
        setting = f"{settings.prefix}_{of}"
        raise SourceLoginRefused(
            f"SQL Server {settings.server} refused the login of {settings.username!r}{why}: {text}",
            remedy=remedy.format(setting=setting, login=settings.username),
            setting=setting,
        ) from None
    if state == "IM002" or "Can't open lib" in text:
        raise DriverMissing(
            f"the ODBC driver {driver.name} cannot be loaded: {text}",
            remedy="Install it, or set LIFEBOAT_SQL_DRIVER to another one.",
            setting="LIFEBOAT_SQL_DRIVER",
        ) from None
    if "certificate" in text.lower() or "ssl" in text.lower():
        why, remedy = _of_the_certificate(settings, text)
        raise SourceUnreachable(
            f"no encrypted connection to SQL Server {settings.server}: {why}",
            remedy=remedy,
            setting=CERTIFICATE,
        ) from None
    raise SourceUnreachable(
        f"SQL Server {settings.server} does not answer: {text}",
        remedy=f"Check {settings.named_by}, the port and the firewall (a named instance without a port needs "
        "UDP 1434).",
        setting=settings.named_by,
    ) from None


def _of_the_certificate(settings: ServerSettings, text: str) -> tuple[str, str]:
    """Why it is not accepted, and what to do. ``text`` is the driver's, with OpenSSL's own words in it."""
    told, accept = text.lower(), f"or accept any with {TRUST}=true"
    if "does not match host name" in told or "mismatch" in told:
        host = Address.parse(settings.server, settings.named_by).host
        return (
            f"its certificate is for another name than {host}",
            f"Write the name that the certificate is for into {settings.named_by}, name the certificate itself in "
            f"{CERTIFICATE}, whose own name counts then, {accept}.",
        )
    if "has expired" in told or "not yet valid" in told:
        return (
            f"its certificate {'has expired' if 'has expired' in told else 'is not valid yet'}",
            "Give the server a new one (SQL Server Configuration Manager, Protocols, Certificate) and restart it; if "
            f"it is good by another clock, set the clock of this machine, {accept}.",
        )
    if "verify failed" in told and settings.server_certificate:
        return (
            f"it shows another certificate than that of {CERTIFICATE}",
            f"Put the certificate that it shows now, or that of its authority, into the file of {CERTIFICATE}: a "
            "server that has none of its own makes one anew at each start. If nobody changed it, see who is in "
            "between.",
        )
    if "verify failed" in told:
        return (
            f"its certificate comes from nobody whom this machine trusts ({text.rpartition(':')[2].partition(']')[0]})",
            "Let the server show a certificate that this machine trusts, name it, or its authority's, in "
            f"{CERTIFICATE}, {accept}.",
        )
    return text, f"Let the server speak TLS 1.2 with a certificate, name that in {CERTIFICATE}, {accept}."


_REFUSED: Mapping[int, tuple[str, str, str]] = {
    LOGIN_FAILED: (
        "",
        "Check {setting} and its password; the server needs mixed-mode login. Its error log has the reason as a state.",
        "USERNAME",
    ),
    CANNOT_OPEN_DATABASE: (
        "",
        "Let the login use the database master: it may not be denied CONNECT there.",
        "USERNAME",
    ),
    18452: (
        " (it is not a SQL login)",
        "Set {setting} to a login of SQL Server itself: Windows accounts are not used. The server needs mixed mode.",
        "USERNAME",
    ),
    18470: (", which is disabled", "On the server: ALTER LOGIN [{login}] ENABLE.", "USERNAME"),
    18486: (
        ", which is locked out",
        "Find out who tries wrong passwords, then on the server: ALTER LOGIN [{login}] WITH PASSWORD = '...' UNLOCK; "
        "and set {setting} to that password.",
        "PASSWORD",
    ),
    18487: (
        ", whose password has expired",
        "On the server: ALTER LOGIN [{login}] WITH PASSWORD = '...'; set {setting} to it. CHECK_EXPIRATION = OFF keeps "
        "it from expiring again.",
        "PASSWORD",
    ),
    18488: (
        ", whose password must be changed first",
        "On the server: ALTER LOGIN [{login}] WITH PASSWORD = '...' (without MUST_CHANGE); set {setting} to it.",
        "PASSWORD",
    ),
}
"""By SQL Server's number of a login that it refuses: why, what to do, and the end of the setting's name."""

_REMEDIES = {
    NO_SUCH_DATABASE: "Check LIFEBOAT_SQL_DATABASES, or whether this login may see the database.",
    942: "Bring the database online, or leave it out of LIFEBOAT_SQL_DATABASES.",
    3101: "Stop what uses the database (App Service's WebFarmService and ResourceMetering) and run it again.",
    3169: "Restore to a server of the backup's version or a later one.",
    3201: "The server cannot reach the place of the backup: look at its network, its clock and the SAS or the rights "
    "of its service account.",
    3202: "There is no room where the server writes the backup.",
    3257: "Make room on the volumes of the server that it is restored to, or choose another one (--to).",
    3271: "The storage account refused the server, or could not be reached by it: look at its network and its clock. "
    "Behind a proxy SQL Server needs trace flag 1819 and 'netsh winhttp set proxy'.",
    3147: "SQL Server backs up no tempdb: take it out of LIFEBOAT_SQL_DATABASES.",
    4214: "The log chain has no full backup to begin with: run 'backup'.",
    5064: "Another session holds the one seat of the database: end it (sys.dm_exec_sessions), stop App Service's "
    "WebFarmService and ResourceMetering, and run it again.",
    9002: "The database's log is full: make room for it, then run it again.",
    15530: "The credential is there already: drop it, if it is one of Lifeboat's.",
    12824: "On the server: sp_configure 'contained database authentication', 1; RECONFIGURE.",
    33111: "Bring the TDE certificate with its private key to the server first.",
}
