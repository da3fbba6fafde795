"""The statements that the stand-in understands: a batch of T-SQL becomes a list of frozen statements.

BACKUP, RESTORE and the administration around them have a grammar of their own here; what begins like a query is kept
as text, for ``queries.py``. Anything else is refused as SQL Server refuses it: error 102, before anything has run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.standins.sqlserver.messages import SqlError, refusal, syntax_error


@dataclass(frozen=True)
class Variable:
    """A parameter or local variable, whose value is known only when the statement runs."""

    name: str


Text = str | Variable
OptionValue = str | int | bool | Variable
Options = Mapping[str, OptionValue]


@dataclass(frozen=True)
class Device:
    kind: str
    """``URL`` or ``DISK``."""
    name: Text


@dataclass(frozen=True)
class Backup:
    kind: str
    """``DATABASE`` or ``LOG``."""
    database: Text
    devices: tuple[Device, ...]
    options: Options


@dataclass(frozen=True)
class Restore:
    kind: str
    """``DATABASE``, ``LOG``, ``VERIFYONLY``, ``HEADERONLY``, ``FILELISTONLY`` or ``LABELONLY``."""
    database: Text
    devices: tuple[Device, ...]
    options: Options
    moves: tuple[tuple[Text, Text], ...]


@dataclass(frozen=True)
class Use:
    database: str


@dataclass(frozen=True)
class WriteCredential:
    name: str
    exists: bool
    """ALTER, not CREATE."""
    identity: str
    secret: str


@dataclass(frozen=True)
class DropCredential:
    name: str


@dataclass(frozen=True)
class CreateDatabase:
    name: str
    containment: str


@dataclass(frozen=True)
class DropDatabase:
    names: tuple[str, ...]
    if_exists: bool


@dataclass(frozen=True)
class AlterDatabase:
    name: str
    settings: tuple[str, ...]
    """As ``RECOVERY FULL`` or ``SINGLE_USER``; ``ROLLBACK`` last where others are to be thrown out."""


@dataclass(frozen=True)
class WriteLogin:
    name: str
    exists: bool
    """ALTER, not CREATE."""
    password: str


@dataclass(frozen=True)
class WriteUser:
    """In the current database: with a password, or for a login."""

    name: str
    exists: bool
    password: str | None
    login: str | None


@dataclass(frozen=True)
class DropPrincipal:
    kind: str
    """``LOGIN`` or ``USER``."""
    name: str


@dataclass(frozen=True)
class AddMember:
    role: str
    member: str
    on_server: bool


@dataclass(frozen=True)
class Grant:
    permissions: tuple[str, ...]
    table: str
    """Of the current database; empty: on the database, or on the server for permissions that are of servers."""
    to: str


@dataclass(frozen=True)
class RaiseError:
    text: str
    severity: int


@dataclass(frozen=True)
class Execute:
    procedure: str
    arguments: tuple[tuple[str, OptionValue], ...]
    """Name (empty when given by position) and value."""


@dataclass(frozen=True)
class Reconfigure:
    pass


@dataclass(frozen=True)
class CheckDatabase:
    name: Text
    with_messages: bool


@dataclass(frozen=True)
class Kill:
    session: int


@dataclass(frozen=True)
class Setting:
    """SET something: only transactions are of interest."""

    text: str


@dataclass(frozen=True)
class Transaction:
    kind: str
    """``BEGIN``, ``COMMIT`` or ``ROLLBACK``."""


@dataclass(frozen=True)
class Assign:
    """DECLARE or SET of a local variable: ``query`` gives its value."""

    variable: str
    query: str


@dataclass(frozen=True)
class Print:
    query: str
    """Gives the text."""


@dataclass(frozen=True)
class Conditional:
    query: str
    """A condition as SELECT of 1 or 0."""
    then: tuple[Statement, ...]
    otherwise: tuple[Statement, ...]


@dataclass(frozen=True)
class Query:
    """SELECT, INSERT, UPDATE, DELETE, CREATE TABLE and their like, as text."""

    text: str


Statement = (
    Backup
    | Restore
    | Use
    | WriteCredential
    | DropCredential
    | CreateDatabase
    | DropDatabase
    | AlterDatabase
    | WriteLogin
    | WriteUser
    | DropPrincipal
    | AddMember
    | Grant
    | RaiseError
    | Execute
    | Reconfigure
    | CheckDatabase
    | Kill
    | Setting
    | Transaction
    | Assign
    | Print
    | Conditional
    | Query
)


@dataclass(frozen=True)
class _Token:
    kind: str
    """``word``, ``name`` (quoted), ``text``, ``number``, ``variable``, ``mark`` or ``end``."""
    value: str
    start: int
    end: int
    first_of_line: bool

    @property
    def upper(self) -> str:
        return self.value.upper() if self.kind in ("word", "mark") else ""


_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*|/\*.*?\*/)
    |(?P<text>[Nn]?'(?:[^']|'')*')
    |(?P<name>\[(?:[^\]]|\]\])*\]|"(?:[^"]|"")*")
    |(?P<number>0[xX][0-9A-Fa-f]*|\d+(?:\.\d+)?)
    |(?P<variable>@{1,2}[\w$\#]+)
    |(?P<word>[^\W\d][\w$\#@]*|\#\w+)
    |(?P<mark><>|<=|>=|!=|.)""",
    re.VERBOSE | re.DOTALL,
)
_QUERY_WORDS = {"SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "TRUNCATE", "MERGE"}
_STARTS = _QUERY_WORDS | {
    "BACKUP",
    "RESTORE",
    "USE",
    "ALTER",
    "CREATE",
    "DROP",
    "EXEC",
    "EXECUTE",
    "RECONFIGURE",
    "DBCC",
    "KILL",
    "SET",
    "GRANT",
    "RAISERROR",
}
_STARTS |= {"BEGIN", "COMMIT", "ROLLBACK", "IF", "DECLARE", "PRINT", "ELSE", "END"}
_NESTING = {"(": 1, ")": -1, "CASE": 1, "END": -1}
_RESTORE_LISTS = ("VERIFYONLY", "HEADERONLY", "FILELISTONLY", "LABELONLY")
_BACKUP_FLAGS = {
    "COPY_ONLY",
    "DIFFERENTIAL",
    "CHECKSUM",
    "NO_CHECKSUM",
    "COMPRESSION",
    "NO_COMPRESSION",
    "FORMAT",
    "NOFORMAT",
    "INIT",
    "NOINIT",
    "SKIP",
    "NOSKIP",
    "NO_TRUNCATE",
    "NORECOVERY",
    "REWIND",
    "NOREWIND",
    "UNLOAD",
    "NOUNLOAD",
    "STOP_ON_ERROR",
    "CONTINUE_AFTER_ERROR",
    "STATS",
}
_BACKUP_VALUES = {
    "MAXTRANSFERSIZE",
    "BLOCKSIZE",
    "BUFFERCOUNT",
    "NAME",
    "DESCRIPTION",
    "STATS",
    "CREDENTIAL",
    "MEDIANAME",
    "MEDIADESCRIPTION",
    "RETAINDAYS",
    "EXPIREDATE",
    "STANDBY",
}
_RESTORE_FLAGS = {
    "REPLACE",
    "NORECOVERY",
    "RECOVERY",
    "CHECKSUM",
    "NO_CHECKSUM",
    "STATS",
    "RESTRICTED_USER",
    "KEEP_REPLICATION",
    "LOADHISTORY",
    "UNLOAD",
    "NOUNLOAD",
    "REWIND",
    "NOREWIND",
    "STOP_ON_ERROR",
    "CONTINUE_AFTER_ERROR",
    "RESTART",
}
_RESTORE_VALUES = {
    "FILE",
    "STANDBY",
    "STOPAT",
    "STATS",
    "MAXTRANSFERSIZE",
    "BUFFERCOUNT",
    "BLOCKSIZE",
    "CREDENTIAL",
    "MEDIANAME",
    "METADATA_ONLY",
}


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at, first = 0, True
    while at < len(text):
        match = _TOKEN.match(text, at)
        assert match is not None
        kind = str(match.lastgroup)
        if kind == "space":
            first = first or "\n" in match[0]
        else:
            if match[0] == "'":
                raise refusal(
                    105, f"Unclosed quotation mark after the character string '{text[at + 1 :]}'.", severity=15
                )
            found.append(_Token(kind, match[0], at, match.end(), first))
            first = False
        at = match.end()
    found.append(_Token("end", "", len(text), len(text), True))
    return found


def parse(text: str) -> list[Statement]:
    """The statements of a batch in order; SqlError 102 (or 105) when one is not understood."""
    return _Parser(text).batch()


def _unquote(token: _Token) -> str:
    if token.kind == "text":
        return token.value[token.value.index("'") + 1 : -1].replace("''", "'")
    if token.kind == "name":
        closing = token.value[-1]
        return token.value[1:-1].replace(closing * 2, closing)
    return token.value


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._at = 0

    def batch(self) -> list[Statement]:
        statements: list[Statement] = []
        while self._now.kind != "end":
            if not self._take_mark(";"):
                statements.append(self._statement())
        return statements

    # ---- tokens

    @property
    def _now(self) -> _Token:
        return self._tokens[self._at]

    def _near(self) -> SqlError:
        before = self._tokens[max(self._at - 1, 0)]
        return syntax_error(_unquote(self._now if self._now.kind != "end" else before))

    def _advance(self) -> _Token:
        token = self._now
        if token.kind != "end":
            self._at += 1
        return token

    def _take(self, *words: str) -> bool:
        """Go past these words if they come next, all of them."""
        if all(self._tokens[min(self._at + i, len(self._tokens) - 1)].upper == word for i, word in enumerate(words)):
            self._at += len(words)
            return True
        return False

    def _take_mark(self, mark: str) -> bool:
        return self._take(mark)

    def _need(self, *words: str) -> None:
        if not self._take(*words):
            raise self._near()

    def _name(self) -> str:
        if self._now.kind not in ("word", "name"):
            raise self._near()
        return _unquote(self._advance())

    def _name_or_variable(self) -> Text:
        return Variable(self._advance().value) if self._now.kind == "variable" else self._name()

    def _text_value(self) -> Text:
        if self._now.kind == "variable":
            return Variable(self._advance().value)
        if self._now.kind != "text":
            raise self._near()
        return _unquote(self._advance())

    def _literal(self) -> str:
        """A string where T-SQL takes no variable."""
        if self._now.kind != "text":
            raise self._near()
        return _unquote(self._advance())

    def _value(self) -> OptionValue:
        negative = self._take_mark("-")
        if self._now.kind == "number":
            return int(float(self._advance().value)) * (-1 if negative else 1)
        if self._now.kind == "word":
            return self._advance().value
        return self._text_value()

    # ---- statements

    def _statement(self) -> Statement:
        word = self._now.upper
        parsers: Mapping[str, Callable[[], Statement]] = {
            "BACKUP": self._backup,
            "RESTORE": self._restore,
            "USE": self._use,
            "ALTER": self._alter,
            "CREATE": self._create,
            "DROP": self._drop,
            "EXEC": self._execute,
            "EXECUTE": self._execute,
            "RECONFIGURE": self._reconfigure,
            "DBCC": self._check,
            "KILL": self._kill,
            "GRANT": self._grant,
            "RAISERROR": self._raise,
            "SET": self._set,
            "BEGIN": self._transaction,
            "COMMIT": self._transaction,
            "ROLLBACK": self._transaction,
            "IF": self._if,
            "DECLARE": self._declare,
            "PRINT": self._print,
        }
        if word in parsers:
            return parsers[word]()
        if word in _QUERY_WORDS:
            return self._query()
        if word.startswith("SP_") and self._at == 0:
            return self._call()
        raise self._near()

    def _query(self) -> Query:
        return Query(self._slice_until_next())

    def _slice_until_next(self) -> str:
        """The source up to a semicolon or, outside brackets, a line that begins another statement."""
        start, depth, first = self._now.start, 0, self._now.upper
        end = self._advance().end
        while self._now.kind != "end" and not (depth == 0 and (self._now.upper == ";" or self._begins(first))):
            depth += _NESTING.get(self._now.upper, 0)
            end = self._advance().end
        return self._text[start:end]

    def _begins(self, first: str) -> bool:
        """Whether this token, at the beginning of a line, is the next statement and not a clause of ``first``."""
        if self._now.upper in ("ELSE", "END"):
            return True
        if not self._now.first_of_line or self._now.upper not in _STARTS:
            return False
        inside = {"UPDATE": {"SET"}, "INSERT": {"SELECT", "EXEC"}, "WITH": _QUERY_WORDS, "MERGE": _STARTS}
        previous = self._tokens[self._at - 1].upper
        return self._now.upper not in inside.get(first, set()) and previous not in (
            "UNION",
            "ALL",
            "EXCEPT",
            "INTERSECT",
        )

    def _devices(self) -> tuple[Device, ...]:
        found = []
        while True:
            if self._now.upper not in ("URL", "DISK"):
                raise self._near()
            kind = self._advance().upper
            self._need("=")
            found.append(Device(kind, self._text_value()))
            if not self._take_mark(","):
                return tuple(found)

    def _backup(self) -> Backup:
        self._advance()
        if self._now.upper not in ("DATABASE", "LOG"):
            raise self._near()
        kind = self._advance().upper
        database = self._name_or_variable()
        self._need("TO")
        devices = self._devices()
        options: dict[str, OptionValue] = {}
        if self._take("WITH"):
            self._options(options, _BACKUP_FLAGS, _BACKUP_VALUES)
        return Backup(kind, database, devices, options)

    def _options(
        self,
        options: dict[str, OptionValue],
        flags: set[str],
        values: set[str],
        moves: list[tuple[Text, Text]] | None = None,
    ) -> None:
        while True:
            name = self._now.upper
            if name == "MOVE" and moves is not None:
                self._advance()
                logical = self._text_value()
                self._need("TO")
                moves.append((logical, self._text_value()))
            elif name in flags | values:
                self._advance()
                if self._take_mark("=") and name in values:
                    options[name] = self._value()
                elif name in flags and self._tokens[self._at - 1].upper != "=":
                    options[name] = True
                else:
                    raise self._near()
            else:
                if self._now.kind == "word":
                    raise refusal(155, f"'{self._now.value}' is not a recognized option.", severity=15)
                raise self._near()
            if not self._take_mark(","):
                return

    def _restore(self) -> Restore:
        self._advance()
        kind = self._advance().upper
        database: Text = ""
        if kind in ("DATABASE", "LOG"):
            database = self._name_or_variable()
        elif kind not in _RESTORE_LISTS:
            self._at -= 1
            raise self._near()
        devices: tuple[Device, ...] = ()
        if kind in _RESTORE_LISTS or self._now.upper == "FROM":
            self._need("FROM")
            devices = self._devices()
        options: dict[str, OptionValue] = {}
        moves: list[tuple[Text, Text]] = []
        if self._take("WITH"):
            self._options(options, _RESTORE_FLAGS, _RESTORE_VALUES, moves)
        return Restore(kind, database, devices, options, tuple(moves))

    def _use(self) -> Use:
        self._advance()
        return Use(self._name())

    def _alter(self) -> Statement:
        self._advance()
        if self._take("CREDENTIAL"):
            return self._credential(exists=True)
        if self._take("DATABASE"):
            name = self._name()
            self._need("SET")
            return AlterDatabase(name, tuple(self._settings()))
        if self._take("LOGIN"):
            return WriteLogin(self._name(), True, self._password())
        if self._take("USER"):
            return WriteUser(self._name(), True, self._password(), None)
        on_server = self._take("SERVER")
        self._need("ROLE")
        role = self._name()
        self._need("ADD", "MEMBER")
        return AddMember(role, self._name(), on_server)

    def _password(self) -> str:
        """WITH PASSWORD = '...', and options that change nothing here."""
        self._need("WITH", "PASSWORD", "=")
        password = self._literal()
        while self._take_mark(","):
            if self._advance().upper not in ("CHECK_POLICY", "CHECK_EXPIRATION", "DEFAULT_DATABASE", "DEFAULT_SCHEMA"):
                raise self._near()
            self._need("=")
            self._advance()
        return password

    def _grant(self) -> Grant:
        self._advance()
        permissions = [self._permission()]
        while self._take_mark(","):
            permissions.append(self._permission())
        table = ""
        if self._take("ON"):
            self._take("OBJECT", ":", ":")
            table = self._name()
            while self._take_mark("."):
                table = self._name()
        self._need("TO")
        return Grant(tuple(permissions), table, self._name())

    def _permission(self) -> str:
        words = []
        while self._now.kind == "word" and self._now.upper not in ("ON", "TO"):
            words.append(self._advance().upper)
        return " ".join(words)

    def _raise(self) -> RaiseError:
        self._advance()
        self._need("(")
        text = self._literal()
        self._need(",")
        severity = self._value()
        self._need(",")
        self._value()
        self._need(")")
        return RaiseError(text, int(str(severity)))

    def _settings(self) -> list[str]:
        found = [self._setting()]
        while self._take_mark(","):
            found.append(self._setting())
        if self._take("WITH") and not self._take("NO_WAIT"):
            self._need("ROLLBACK")
            if not self._take("IMMEDIATE"):
                self._need("AFTER")
                self._value()
                self._take("SECONDS")
            found.append("ROLLBACK")
        return found

    def _setting(self) -> str:
        name = self._advance().upper
        if name == "RECOVERY":
            model = self._advance().upper
            if model not in ("FULL", "SIMPLE", "BULK_LOGGED"):
                raise self._near()
            return f"RECOVERY {model}"
        if name in ("SINGLE_USER", "RESTRICTED_USER", "MULTI_USER", "OFFLINE", "ONLINE", "READ_ONLY", "READ_WRITE"):
            return name
        if name in ("AUTO_CLOSE", "TRUSTWORTHY", "ENCRYPTION"):
            return f"{name} {self._advance().upper}"
        if name == "CONTAINMENT":
            self._need("=")
            return f"CONTAINMENT {self._advance().upper}"
        self._at -= 1
        raise self._near()

    def _credential(self, *, exists: bool) -> WriteCredential:
        name = self._name()
        self._need("WITH", "IDENTITY", "=")
        identity = self._literal()
        secret = ""
        if self._take_mark(","):
            self._need("SECRET", "=")
            secret = self._literal()
        return WriteCredential(name, exists, identity, secret)

    def _create(self) -> Statement:
        following = self._tokens[self._at + 1].upper
        if following == "CREDENTIAL":
            self._at += 2
            return self._credential(exists=False)
        if following == "DATABASE":
            self._at += 2
            name, containment = self._name(), "NONE"
            if self._take("CONTAINMENT", "="):
                containment = self._advance().upper
            return CreateDatabase(name, containment)
        if following == "LOGIN":
            self._at += 2
            return WriteLogin(self._name(), False, self._password())
        if following == "USER":
            self._at += 2
            name = self._name()
            if self._take("FOR", "LOGIN") or self._take("FROM", "LOGIN"):
                return WriteUser(name, False, None, self._name())
            return WriteUser(name, False, self._password(), None)
        if following in ("TABLE", "INDEX", "UNIQUE", "VIEW"):
            return self._query()
        self._advance()
        raise self._near()

    def _drop(self) -> Statement:
        following = self._tokens[self._at + 1].upper
        if following == "CREDENTIAL":
            self._at += 2
            return DropCredential(self._name())
        if following == "DATABASE":
            self._at += 2
            if_exists = self._take("IF", "EXISTS")
            names = [self._name()]
            while self._take_mark(","):
                names.append(self._name())
            return DropDatabase(tuple(names), if_exists)
        if following in ("LOGIN", "USER"):
            self._at += 2
            return DropPrincipal(following, self._name())
        if following in ("TABLE", "INDEX", "VIEW"):
            return self._query()
        self._advance()
        raise self._near()

    def _execute(self) -> Execute:
        self._advance()
        return self._call()

    def _call(self) -> Execute:
        """A procedure by name, which needs no EXEC at the beginning of a batch."""
        name = self._name()
        while self._take_mark("."):
            name = self._name() if self._now.upper != "." else ""
        arguments: list[tuple[str, OptionValue]] = []
        while self._now.kind in ("text", "number", "variable") or self._now.value == "-":
            arguments.append(self._argument())
            if not self._take_mark(","):
                break
        return Execute(name.lower(), tuple(arguments))

    def _argument(self) -> tuple[str, OptionValue]:
        if self._now.kind == "variable" and self._tokens[self._at + 1].upper == "=":
            name = self._advance().value
            self._advance()
            return name, self._value()
        return "", self._value()

    def _reconfigure(self) -> Reconfigure:
        self._advance()
        self._take("WITH", "OVERRIDE")
        return Reconfigure()

    def _check(self) -> CheckDatabase:
        self._advance()
        self._need("CHECKDB")
        name: Text = ""
        if self._take_mark("("):
            name = self._text_value() if self._now.kind in ("text", "variable") else self._name()
            self._need(")")
        quiet = False
        if self._take("WITH"):
            while self._now.kind == "word":
                quiet = self._advance().upper == "NO_INFOMSGS" or quiet
                self._take_mark(",")
        return CheckDatabase(name, not quiet)

    def _kill(self) -> Kill:
        self._advance()
        if self._now.kind != "number":
            raise self._near()
        return Kill(int(self._advance().value))

    def _set(self) -> Statement:
        if self._tokens[self._at + 1].kind == "variable":
            self._advance()
            return self._assignment()
        start = self._now.start
        end = self._advance().end
        while self._now.kind in ("word", "number", "text", "variable", "mark") and self._now.upper != ";":
            if self._now.upper in _STARTS and self._now.upper != "BEGIN":
                break
            end = self._advance().end
        return Setting(" ".join(self._text[start:end].upper().split()))

    def _assignment(self) -> Assign:
        name = self._advance().value
        self._need("=")
        return Assign(name, f"SELECT {self._slice_until_next()}")

    def _declare(self) -> Assign:
        self._advance()
        if self._now.kind != "variable":
            raise self._near()
        name = self._advance().value
        declared = self._advance().value
        while self._now.upper not in ("=", ";", *_STARTS) and self._now.kind != "end":
            declared += self._advance().value
        if not self._take_mark("="):
            return Assign(name, "SELECT NULL")
        return Assign(name, f"SELECT CAST({self._slice_until_next()} AS {declared})")

    def _print(self) -> Print:
        self._advance()
        return Print(f"SELECT {self._slice_until_next()}")

    def _transaction(self) -> Transaction:
        kind = self._advance().upper
        if kind == "BEGIN":
            if not (self._take("TRAN") or self._take("TRANSACTION")):
                raise self._near()
        elif not (self._take("TRAN") or self._take("TRANSACTION")):
            self._take("WORK")
        return Transaction(kind)

    def _if(self) -> Conditional:
        self._advance()
        start, depth = self._now.start, 0
        while depth > 0 or self._now.upper not in _STARTS or self._tokens[self._at - 1].value == "(":
            if self._now.kind == "end":
                raise self._near()
            depth += _NESTING.get(self._now.upper, 0)
            self._advance()
        condition = self._text[start : self._now.start]
        then = self._block()
        self._take_mark(";")
        otherwise = self._block() if self._take("ELSE") else ()
        return Conditional(f"SELECT CASE WHEN {condition} THEN 1 ELSE 0 END", then, otherwise)

    def _block(self) -> tuple[Statement, ...]:
        if self._now.upper != "BEGIN" or self._tokens[self._at + 1].upper in ("TRAN", "TRANSACTION"):
            return (self._statement(),)
        self._advance()
        statements = []
        while not self._take("END"):
            if not self._take_mark(";"):
                statements.append(self._statement())
        return tuple(statements)
