"""What a statement hands back while it runs, and how it fails: numbers and texts are those of SQL Server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.standins.sqlserver.types import SqlType


@dataclass(frozen=True)
class Message:
    """One record of ``sys.messages`` with its placeholders filled."""

    number: int
    text: str
    severity: int = 16
    state: int = 1


@dataclass(frozen=True)
class Info:
    """A message that is no error: progress, counts, a changed context."""

    message: Message


@dataclass(frozen=True)
class Column:
    name: str
    type: SqlType


@dataclass(frozen=True)
class Rows:
    """A result set; each row has one value for each column, as Python sees the type."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True)
class Count:
    """Rows that a statement without a result set has changed."""

    rows: int


@dataclass(frozen=True)
class Used:
    """The session's database is now this one."""

    database: str


@dataclass(frozen=True)
class Tick:
    """A good moment to be interrupted: the session sends what it has, waits, and looks for an attention."""

    seconds: float = 0.0


Event = Info | Rows | Count | Used | Tick
Events = Iterator[Event]


class SqlError(Exception):
    """A statement failed: its messages, the cause first."""

    def __init__(self, *messages: Message) -> None:
        super().__init__("; ".join(f"{message.number}: {message.text}" for message in messages))
        self.messages = messages

    def followed_by(self, number: int, text: str) -> SqlError:
        """The same failure with the sentence that the statement as a whole adds."""
        return SqlError(*self.messages, Message(number, text))


class Interrupted(Exception):
    """The statement may not go on; ``orderly`` when the client asked for it, not when it is simply gone."""

    orderly = False


class Cancelled(Interrupted):
    """The client sent an attention."""

    orderly = True


class ConnectionLost(Interrupted):
    """The client went away, or the server threw it out."""


def refusal(number: int, text: str, *, severity: int = 16, state: int = 1) -> SqlError:
    return SqlError(Message(number, text, severity, state))


def info(number: int, text: str, *, severity: int = 0, state: int = 1) -> Info:
    return Info(Message(number, text, severity, state))


def denied(number: int, text: str) -> SqlError:
    """A missing permission, which has severity 14."""
    return refusal(number, text, severity=14)


def syntax_error(near: str) -> SqlError:
    return refusal(102, f"Incorrect syntax near '{near}'.", severity=15)
