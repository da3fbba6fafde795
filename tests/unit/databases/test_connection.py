"""A session with SQL Server: messages, errors in words, and the watchdog. The cursor is a fake; pyodbc's errors are
its own, in the forms that both drivers give them."""

from __future__ import annotations

import socket
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from shared.databases import connection as module
from shared.databases.connection import PERMISSION_NUMBERS, Connection, Message
from shared.databases.driver import Driver, odbc
from shared.errors import (
    Cancelled,
    DatabaseError,
    DriverMissing,
    LifeboatError,
    PermissionMissing,
    SettingsError,
    SourceLoginRefused,
    SourceUnreachable,
    StatementCancelled,
)
from shared.settings import ServerSettings

pyodbc = odbc()
BACKUP = "BACKUP DATABASE [x] TO DISK = N'\\\\srv\\x'"


@dataclass
class Result:
    messages: Sequence[tuple[str, str]] = ()
    columns: Sequence[str] = ()
    rows: Sequence[tuple[object, ...]] = ()
    error: Exception | None = None
    before: Callable[[Cursor], None] = lambda cursor: None


@dataclass
class Cursor:
    """Results one after the other, as pyodbc gives them."""

    results: list[Result]
    at: int = -1
    closed: bool = False
    cancels: int = 0
    cancelled: threading.Event = field(default_factory=threading.Event)
    executed: tuple[object, ...] = ()

    def execute(self, *statement: object) -> None:
        self.executed = statement
        self.nextset()

    def nextset(self) -> bool:
        self.at += 1
        if self.at >= len(self.results):
            return False
        result = self.results[self.at]
        result.before(self)
        if result.error is not None:
            raise result.error
        return True

    @property
    def messages(self) -> Sequence[tuple[str, str]] | None:
        return self.results[self.at].messages or None

    @property
    def description(self) -> list[tuple[str]] | None:
        return [(name,) for name in self.results[self.at].columns] or None

    def fetchall(self) -> Sequence[tuple[object, ...]]:
        return self.results[self.at].rows

    def cancel(self) -> None:
        self.cancels += 1
        self.cancelled.set()

    def close(self) -> None:
        self.closed = True


@dataclass
class Raw:
    the_cursor: Cursor
    close_error: Exception | None = None

    def cursor(self) -> Cursor:
        return self.the_cursor

    def close(self) -> None:
        if self.close_error:
            raise self.close_error


def session(*results: Result) -> tuple[Connection, Cursor]:
    cursor = Cursor(list(results))
    return Connection(Raw(cursor), "sql.local", "lifeboat"), cursor


def microsoft(state: str, text: str, number: int) -> Exception:
    prefix = f"[{state}] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]"
    error: Exception = pyodbc.ProgrammingError(state, f"{prefix}{text} ({number}) (SQLExecDirectW)")
    return error


def freetds(state: str, text: str, number: int) -> Exception:
    error: Exception = pyodbc.Error(state, f"[{state}] [FreeTDS][SQL Server]{text} ({number}) (SQLExecDirectW)")
    return error


def failure(error: Exception, statement: str = BACKUP, **options: Any) -> LifeboatError:
    connection, cursor = session(Result(error=error))
    with pytest.raises(LifeboatError) as caught:
        connection.run(statement, limit_seconds=60, **options)
    assert cursor.closed
    return caught.value


# --- what a statement brings ---


def test_rows_of_all_results_come_by_column_name() -> None:
    connection, cursor = session(
        Result(columns=["a", "b"], rows=[(1, 2), (3, 4)]), Result(), Result(columns=["a"], rows=[(5,)])
    )

    assert connection.rows("SELECT ?", "x") == [{"a": 1, "b": 2}, {"a": 3, "b": 4}, {"a": 5}]
    assert cursor.executed == ("SELECT ?", ("x",))
    assert cursor.closed


def test_a_statement_without_parameters_is_sent_as_it_is() -> None:
    """Given an empty list pyodbc would prepare it, and BACKUP cannot be prepared."""
    connection, cursor = session(Result())
    connection.run(BACKUP, limit_seconds=60)

    assert cursor.executed == (BACKUP,)


@pytest.mark.parametrize("prefix", ["[Microsoft][ODBC Driver 18 for SQL Server][SQL Server]", "[FreeTDS][SQL Server]"])
def test_messages_come_one_by_one_with_number_and_percentage(prefix: str) -> None:
    connection, _ = session(
        Result(messages=[("[01000] (3211)", f"{prefix}5 percent processed.")]),
        Result(messages=[("[01000] (3211)", f"{prefix}100 percent processed."), ("[01000] (3014)", f"{prefix}Done.")]),
        Result(messages=[("[01000]", f"{prefix}No number.")]),
    )
    heard: list[Message] = []
    answer = connection.run(BACKUP, limit_seconds=60, on_message=heard.append)

    assert answer.messages == heard
    assert [message.percent for message in heard] == [5, 100, None, None]
    assert answer.numbers() == {3211, 3014, 0}
    assert heard[2].text == "Done."


def test_a_message_shows_no_signature_of_a_sas() -> None:
    connection, _ = session(Result(messages=[("[01000] (1)", "to https://a/b?sv=1&sig=SECRET%3D&se=2 done")]))
    (message,) = connection.run(BACKUP, limit_seconds=60).messages

    assert "SECRET" not in message.text
    assert "se=2" in message.text


# --- what goes wrong ---


def test_a_late_error_of_a_later_result_is_an_error() -> None:
    connection, cursor = session(
        Result(messages=[("[01000] (3211)", "10 percent processed.")]),
        Result(error=microsoft("42000", "BACKUP DATABASE is terminating abnormally.", 3013)),
    )
    with pytest.raises(DatabaseError) as caught:
        connection.run(BACKUP, limit_seconds=60, database="x")

    assert (caught.value.number, caught.value.database) == (3013, "x")
    assert cursor.closed


def test_what_was_said_before_is_told_with_an_error_that_says_nothing_itself() -> None:
    """On Linux the exception holds one error record only."""
    connection, _ = session(
        Result(messages=[("[01000] (3211)", "10 percent processed."), ("[01000] (3201)", "Cannot open the device.")]),
        Result(error=microsoft("42000", "BACKUP DATABASE is terminating abnormally.", 3013)),
    )
    with pytest.raises(DatabaseError, match=r"terminating abnormally.*Cannot open the device") as caught:
        connection.run(BACKUP, limit_seconds=60)

    assert "percent" not in str(caught.value)


@pytest.mark.parametrize("driver", [microsoft, freetds])
def test_an_error_has_the_servers_number_its_sentence_and_a_remedy(
    driver: Callable[[str, str, int], Exception],
) -> None:
    error = failure(driver("42000", "Database 'x' does not exist (really).", 911))

    assert isinstance(error, DatabaseError)
    assert error.number == 911
    assert str(error) == "BACKUP DATABASE failed on sql.local: Database 'x' does not exist (really). (911)"
    assert "LIFEBOAT_SQL_DATABASES" in error.remedy


def test_of_two_records_the_first_counts() -> None:
    text = (
        "[42000] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]Cannot open backup device 'https://a/c/x?sv=1"
        "&sig=SECRET'. Operating system error 5(Access is denied.). (3201) (SQLExecDirectW); [42000] "
        "[Microsoft][ODBC Driver 18 for SQL Server][SQL Server]BACKUP DATABASE is terminating abnormally. (3013)"
    )
    error = failure(pyodbc.ProgrammingError("42000", text))

    assert isinstance(error, DatabaseError)
    assert error.number == 3201
    assert "SECRET" not in str(error)
    assert "ODBC Driver" not in str(error)
    assert "service account" in error.remedy


@pytest.mark.parametrize("number", sorted(PERMISSION_NUMBERS))
@pytest.mark.parametrize("driver", [microsoft, freetds])
def test_a_missing_permission_is_told_as_such(driver: Callable[[str, str, int], Exception], number: int) -> None:
    error = failure(driver("42000", "VIEW SERVER STATE permission was denied", number), database="x")

    assert isinstance(error, PermissionMissing)
    assert (error.number, error.database) == (number, "x")
    assert "VIEW SERVER STATE" in str(error)
    assert "lifeboat" in str(error)
    assert "runbook --grants" in error.remedy


@pytest.mark.parametrize(
    "error",
    [
        pyodbc.OperationalError(
            "08S01",
            "[08S01] [Microsoft][ODBC Driver 18 for SQL Server]TCP Provider: Error code 0x68 (104) (SQLExecDirectW)",
        ),
        pyodbc.OperationalError("08S01", "The driver did not supply an error!"),
        pyodbc.Error("08S01", "[08S01] [FreeTDS][SQL Server]Read from the server failed (20004) (SQLExecDirectW)"),
        pyodbc.Error("HY000", "[HY000] [FreeTDS][SQL Server]Write to the server failed (20006) (SQLExecDirectW)"),
        pyodbc.OperationalError("HYT00", "[HYT00] [Microsoft][ODBC Driver 18 for SQL Server]Timeout (0) (SQLExec)"),
    ],
)
def test_a_lost_connection_may_be_tried_again(error: Exception) -> None:
    lost = failure(error)

    assert isinstance(lost, SourceUnreachable)
    assert lost.retryable
    assert "BACKUP DATABASE" in str(lost)


def test_no_error_repeats_the_secret_of_a_credential() -> None:
    """Neither its text, nor what it is chained to, nor the traceback."""
    statement = "CREATE CREDENTIAL [https://a/c] WITH IDENTITY = 'S', SECRET = N'sv=1&sig=SECRET'"
    error = failure(microsoft("42000", f"Incorrect syntax near '{statement}'.", 102), statement)

    assert str(error).startswith("CREATE CREDENTIAL failed")
    assert "SECRET'" not in "".join(traceback.format_exception(error)).replace("sig=…'", "")
    assert "sig=SECRET" not in str(error)
    assert error.__cause__ is None
    assert error.__suppress_context__


@pytest.mark.parametrize("error", [pyodbc.Error(), pyodbc.Error("HY000"), pyodbc.Error("42000", "odd")])
def test_an_error_in_no_known_form_is_an_error_too(error: Exception) -> None:
    assert isinstance(failure(error), DatabaseError)


# --- the watchdog ---


@pytest.fixture
def watchful(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """It looks as often as it can."""
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.001)
    before = set(threading.enumerate())
    yield
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name == "watchdog"]


def until_cancelled(cursor: Cursor) -> None:
    assert cursor.cancelled.wait(60), "nobody cancelled"


def cancelled_error() -> Exception:
    error: Exception = pyodbc.OperationalError("HY008", "[HY008] [Microsoft][ODBC Driver 18]Operation canceled (0)")
    return error


@pytest.mark.usefixtures("watchful")
def test_a_statement_that_takes_too_long_is_cancelled() -> None:
    connection, cursor = session(Result(error=cancelled_error(), before=until_cancelled))
    with pytest.raises(StatementCancelled, match="BACKUP DATABASE was cancelled") as caught:
        connection.run(BACKUP, limit_seconds=0, database="x")

    assert caught.value.setting == "LIFEBOAT_SQL_STATEMENT_LIMIT"
    assert caught.value.database == "x"
    assert cursor.closed


@pytest.mark.usefixtures("watchful")
def test_a_cancel_that_is_lost_between_two_results_is_sent_again() -> None:
    def three_times(cursor: Cursor) -> None:
        while cursor.cancels < 3:
            cursor.cancelled.clear()
            until_cancelled(cursor)

    connection, cursor = session(Result(error=cancelled_error(), before=three_times))
    with pytest.raises(StatementCancelled):
        connection.run(BACKUP, limit_seconds=0)

    assert cursor.cancels >= 3


@pytest.mark.usefixtures("watchful")
@pytest.mark.parametrize("ends_in_silence", [False, True])
@pytest.mark.parametrize("wanted", [Cancelled("the run was given up"), RuntimeError("a bug")])
def test_what_check_raises_ends_the_statement_and_is_raised(wanted: Exception, ends_in_silence: bool) -> None:
    """Whatever it is; and where the cancel came between two results, the driver itself reports nothing."""

    def check() -> None:
        raise wanted

    error = None if ends_in_silence else cancelled_error()
    connection, cursor = session(Result(error=error, before=until_cancelled))
    with pytest.raises(type(wanted)) as caught:
        connection.run(BACKUP, limit_seconds=3600, check=check)

    assert caught.value is wanted
    assert cursor.closed


@pytest.mark.usefixtures("watchful")
def test_a_statement_that_ends_in_time_is_left_alone() -> None:
    looked = threading.Event()

    def wait_for_a_look(cursor: Cursor) -> None:
        assert looked.wait(60)

    connection, cursor = session(Result(columns=["a"], rows=[(1,)], before=wait_for_a_look))
    answer = connection.run(BACKUP, limit_seconds=3600, check=looked.set)

    assert answer.rows == [{"a": 1}]
    assert cursor.cancels == 0


@pytest.mark.usefixtures("watchful")
def test_what_a_listener_raises_ends_the_watch_too() -> None:
    def on_message(message: Message) -> None:
        raise ValueError(message.text)

    connection, cursor = session(Result(messages=[("[01000] (1)", "hello")]))
    with pytest.raises(ValueError, match="hello"):
        connection.run(BACKUP, limit_seconds=3600, on_message=on_message)

    assert cursor.closed


def test_closing_a_broken_connection_is_no_error() -> None:
    with Connection(Raw(Cursor([]), close_error=pyodbc.Error("08S01", "gone")), "sql.local", "lifeboat"):
        pass


# --- logging in ---


SETTINGS = ServerSettings(
    "sql.local", "lifeboat", None, "sql-password", "LIFEBOAT_DRILL_SQL", "LIFEBOAT_DRILL_SQL_SERVER", None, False, None
)


def refused(monkeypatch: pytest.MonkeyPatch, error: Exception, settings: ServerSettings = SETTINGS) -> LifeboatError:
    def connect(text: str, **options: object) -> None:
        assert options["autocommit"] is True
        raise error

    monkeypatch.setattr(module, "_knock", lambda settings: None)
    monkeypatch.setattr(module, "choose_driver", lambda wanted: Driver("ODBC Driver 18 for SQL Server"))
    monkeypatch.setattr(pyodbc, "connect", connect)
    with pytest.raises(LifeboatError) as caught:
        Connection.open(settings, "secret-password")
    assert "secret-password" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        pyodbc.InterfaceError(
            "28000",
            "[28000] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]Login failed for user 'lifeboat'. (18456) "
            "(SQLDriverConnect)",
        ),
        pyodbc.Error("42000", "[42000] [FreeTDS][SQL Server]Login failed for user 'lifeboat'. (18456) (SQLDriverConn)"),
        pyodbc.Error("42000", "[42000] [Microsoft][ODBC][SQL Server]Cannot open database. (4060) (SQLDriverConnect)"),
    ],
)
def test_a_refused_login_names_its_settings(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    told = refused(monkeypatch, error)

    assert isinstance(told, SourceLoginRefused)
    assert told.setting == "LIFEBOAT_DRILL_SQL_USERNAME"
    assert "lifeboat" in str(told)


@pytest.mark.parametrize(
    ("number", "told", "remedy", "setting"),
    [
        (18452, "it is not a SQL login", "mixed mode", "USERNAME"),
        (18470, "which is disabled", "ALTER LOGIN [lifeboat] ENABLE", "USERNAME"),
        (18486, "which is locked out", "UNLOCK", "PASSWORD"),
        (18487, "whose password has expired", "CHECK_EXPIRATION = OFF", "PASSWORD"),
        (18488, "whose password must be changed first", "without MUST_CHANGE", "PASSWORD"),
    ],
)
@pytest.mark.parametrize("driver", [microsoft, freetds])
def test_each_refusal_of_a_login_has_words_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
    driver: Callable[[str, str, int], Exception],
    number: int,
    told: str,
    remedy: str,
    setting: str,
) -> None:
    error = refused(monkeypatch, driver("28000", "Login failed for user 'lifeboat'.", number))

    assert isinstance(error, SourceLoginRefused)
    assert told in str(error)
    assert remedy in error.remedy
    assert error.setting == f"LIFEBOAT_DRILL_SQL_{setting}"


def not_verified(why: str) -> Exception:
    """As Microsoft's driver 18 says it on Linux."""
    error: Exception = pyodbc.OperationalError(
        "08001",
        "[08001] [Microsoft][ODBC Driver 18 for SQL Server]SSL Provider: [error:0A000086:SSL routines::certificate "
        f"verify failed:{why}] (-1) (SQLDriverConnect)",
    )
    return error


@pytest.mark.parametrize(
    ("why", "told", "remedy"),
    [
        ("self-signed certificate", "nobody whom this machine trusts (self-signed certificate)", "name it, or its"),
        ("unable to get local issuer certificate", "(unable to get local issuer certificate)", "name it, or its"),
        ("subject name does not match host name", "for another name than sql.local", "LIFEBOAT_DRILL_SQL_SERVER"),
        ("certificate has expired", "its certificate has expired", "Configuration Manager"),
        ("certificate is not yet valid", "its certificate is not valid yet", "set the clock"),
    ],
)
def test_each_fault_of_a_certificate_has_words_of_its_own_and_the_ways_out(
    monkeypatch: pytest.MonkeyPatch, why: str, told: str, remedy: str
) -> None:
    error = refused(monkeypatch, not_verified(why))

    assert isinstance(error, SourceUnreachable)
    assert error.setting == "LIFEBOAT_SQL_SERVER_CERTIFICATE"
    assert told in str(error)
    assert remedy in error.remedy
    assert "LIFEBOAT_SQL_TRUST_SERVER_CERTIFICATE" in error.remedy


def test_another_certificate_than_the_one_that_is_named_is_no_reason_to_trust_any(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "trusting", lambda settings: nullcontext())
    monkeypatch.setattr(module, "connection_string", lambda *_: "")
    named = replace(SETTINGS, server_certificate="/etc/sql.pem")
    error = refused(monkeypatch, not_verified("self-signed certificate"), named)

    assert "another certificate than that of LIFEBOAT_SQL_SERVER_CERTIFICATE" in str(error)
    assert "who is in between" in error.remedy
    assert "TRUST" not in error.remedy


def test_tls_that_fails_for_another_reason_says_it_as_the_driver_does(monkeypatch: pytest.MonkeyPatch) -> None:
    error = pyodbc.OperationalError("08001", "[08001] [Microsoft][ODBC Driver 18 for SQL Server]SSL Provider: bad (1)")
    told = refused(monkeypatch, error)

    assert isinstance(told, SourceUnreachable)
    assert "SSL Provider: bad" in str(told)
    assert "TLS 1.2" in told.remedy


def test_a_driver_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    error = pyodbc.Error("01000", "[01000] [unixODBC][Driver Manager]Can't open lib 'x.so' : file not found (0)")
    told = refused(monkeypatch, error)

    assert isinstance(told, DriverMissing)
    assert told.setting == "LIFEBOAT_SQL_DRIVER"


def test_a_server_that_does_not_answer_names_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    error = pyodbc.OperationalError("HYT00", "[HYT00] [Microsoft][ODBC Driver 18 for SQL Server]Login timeout (0)")
    told = refused(monkeypatch, error)

    assert isinstance(told, SourceUnreachable)
    assert told.setting == "LIFEBOAT_DRILL_SQL_SERVER"
    assert "UDP 1434" in told.remedy


def test_a_closed_port_is_told_before_any_driver_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(module, "choose_driver", lambda wanted: Driver("ODBC Driver 18 for SQL Server"))
    with pytest.raises(SourceUnreachable, match="Connection refused") as caught:
        Connection.open(SETTINGS, "p")

    assert caught.value.setting == "LIFEBOAT_DRILL_SQL_SERVER"


def test_an_address_that_is_none_is_told_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "choose_driver", lambda wanted: Driver("ODBC Driver 18 for SQL Server"))
    settings = ServerSettings(
        "a b", "lifeboat", None, "sql-password", "LIFEBOAT_SQL", "LIFEBOAT_SQL_SERVER", None, False, None
    )
    with pytest.raises(SettingsError):
        Connection.open(settings, "p")
