"""TDS 7.4 on the wire ([MS-TDS]): the tokens that a server sends and the parameters that a client sends."""

from __future__ import annotations

import datetime as dt
import decimal
import struct
import uuid
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from tests.standins.sqlserver.messages import Message, Rows
from tests.standins.sqlserver.types import COLLATION, encode_value, type_information


class Packet(IntEnum):
    BATCH = 1
    RPC = 3
    REPLY = 4
    ATTENTION = 6
    TRANSACTION = 14
    LOGIN = 16
    PRELOGIN = 18


class Done(IntEnum):
    """The three tokens that end something: a statement of a batch, a procedure, a statement inside a procedure."""

    STATEMENT = 0xFD
    PROCEDURE = 0xFE
    IN_PROCEDURE = 0xFF


class Status(IntFlag):
    FINAL = 0
    MORE = 0x1
    ERROR = 0x2
    IN_TRANSACTION = 0x4
    COUNT = 0x10
    ATTENTION = 0x20


PROCEDURES = {
    1: "sp_cursor",
    2: "sp_cursoropen",
    3: "sp_cursorprepare",
    4: "sp_cursorexecute",
    5: "sp_cursorprepexec",
    6: "sp_cursorunprepare",
    7: "sp_cursorfetch",
    8: "sp_cursoroption",
    9: "sp_cursorclose",
    10: "sp_executesql",
    11: "sp_prepare",
    12: "sp_execute",
    13: "sp_prepexec",
    14: "sp_prepexecrpc",
    15: "sp_unprepare",
}
"""Procedures that a client may call by number."""


def short_text(text: str) -> bytes:
    """B_VARCHAR."""
    return bytes([len(text)]) + text.encode("utf-16-le")


def long_text(text: str) -> bytes:
    """US_VARCHAR."""
    return struct.pack("<H", len(text)) + text.encode("utf-16-le")


def token(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + struct.pack("<H", len(body)) + body


def message_token(message: Message, server: str, *, is_error: bool) -> bytes:
    head = struct.pack("<iBB", message.number, message.state, message.severity)
    tail = short_text(server) + short_text("") + struct.pack("<i", 1)
    return token(0xAA if is_error else 0xAB, head + long_text(message.text) + tail)


def environment_change(kind: int, new: str | bytes, old: str | bytes = "") -> bytes:
    return token(0xE3, bytes([kind]) + _environment_value(new) + _environment_value(old))


def _environment_value(value: str | bytes) -> bytes:
    return short_text(value) if isinstance(value, str) else bytes([len(value)]) + value


def done_token(kind: Done, status: Status, *, rows: int = 0, command: int = 0) -> bytes:
    return struct.pack("<BHHQ", kind, status, command, rows)


def rows_tokens(result: Rows) -> bytes:
    """COLMETADATA and every ROW."""
    pieces = [b"\x81" + struct.pack("<H", len(result.columns))]
    pieces += [
        struct.pack("<IH", 0, 1) + type_information(column.type) + short_text(column.name) for column in result.columns
    ]
    for row in result.rows:
        values = zip(result.columns, row, strict=True)
        pieces.append(b"\xd1" + b"".join(encode_value(column.type, value) for column, value in values))
    return b"".join(pieces)


def login_tokens(database: str, packet_size: int, build: tuple[int, int, int]) -> bytes:
    """What follows a login that is let in, up to but without FEATUREEXTACK and DONE."""
    version = bytes([build[0], build[1]]) + struct.pack(">H", build[2])
    acknowledgement = token(0xAD, b"\x01\x74\x00\x00\x04" + short_text("Microsoft SQL Server") + version)
    return b"".join(
        [
            environment_change(1, database, "master"),
            message_token(Message(5701, f"Changed database context to '{database}'.", 0, 2), "", is_error=False),
            environment_change(7, COLLATION, b""),
            environment_change(2, "us_english"),
            message_token(Message(5703, "Changed language setting to us_english.", 0), "", is_error=False),
            acknowledgement,
            environment_change(4, str(packet_size), "4096"),
        ]
    )


def return_status(value: int) -> bytes:
    return b"\x79" + struct.pack("<i", value)


def return_integer(name: str, value: int) -> bytes:
    """RETURNVALUE of an output parameter of type int: how a prepared handle comes back."""
    return (
        b"\xac"
        + bytes(2)
        + short_text(name)
        + b"\x01"
        + struct.pack("<IH", 0, 0)
        + b"\x26\x04\x04"
        + struct.pack("<i", value)
    )


@dataclass(frozen=True)
class Parameter:
    name: str
    value: object


_FIXED_SIZES = {
    0x1F: 0,
    0x30: 1,
    0x32: 1,
    0x34: 2,
    0x38: 4,
    0x3A: 4,
    0x3B: 4,
    0x3C: 8,
    0x3D: 8,
    0x3E: 8,
    0x7A: 4,
    0x7F: 8,
}
_FIXED_AS = {0x32: 0x68, 0x3B: 0x6D, 0x3E: 0x6D, 0x3A: 0x6F, 0x3D: 0x6F}
_STRINGS = {0xA5, 0xA7, 0xAD, 0xAF, 0xE7, 0xEF}
_COLLATED = {0xA7, 0xAF, 0xE7, 0xEF}
_LONG = {0x22, 0x23, 0x63}


class Reader:
    """Reads a client's message from the front; ValueError when it ends too early."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def at_end(self) -> bool:
        return self._at >= len(self._data)

    def peek(self) -> int:
        return self._data[self._at]

    def take(self, count: int) -> bytes:
        if self._at + count > len(self._data):
            raise ValueError("a TDS message ends too early")
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def text(self, characters: int) -> str:
        return self.take(2 * characters).decode("utf-16-le")

    def parameter(self) -> Parameter:
        name = self.text(self.number(1))
        self.take(1)
        return Parameter(name, self._value(self.number(1)))

    def _value(self, kind: int) -> object:
        if kind in _FIXED_SIZES:
            raw = self.take(_FIXED_SIZES[kind])
            return None if kind == 0x1F else _scalar(_FIXED_AS.get(kind, 0x26), raw, 0)
        scale = 0
        found: bytes | None
        if kind in _STRINGS:
            found = self._string(kind)
        elif kind in _LONG:
            found = self._long_string(kind)
        else:
            scale = self._prepare_scalar(kind)
            size = self.number(1)
            found = self.take(size) if size else None
        return None if found is None else _scalar(kind, found, scale)

    def _string(self, kind: int) -> bytes | None:
        longest = self.number(2)
        if kind in _COLLATED:
            self.take(5)
        if longest == 0xFFFF:
            return self._chunks()
        size = self.number(2)
        return None if size == 0xFFFF else self.take(size)

    def _long_string(self, kind: int) -> bytes | None:
        self.take(4 if kind == 0x22 else 9)
        size = self.number(4)
        return None if size == 0xFFFFFFFF else self.take(size)

    def _prepare_scalar(self, kind: int) -> int:
        """Read what the type says of itself; the scale, where it has one."""
        if kind in (0x29, 0x2A, 0x2B):
            return self.number(1)
        if kind in (0x6A, 0x6C):
            self.take(2)
            return self.number(1)
        if kind in (0x24, 0x26, 0x68, 0x6D, 0x6E, 0x6F):
            self.take(1)
        elif kind != 0x28:
            raise ValueError(f"parameters of type 0x{kind:02x} are not known here")
        return 0

    def _chunks(self) -> bytes | None:
        if self.number(8) == 0xFFFFFFFFFFFFFFFF:
            return None
        pieces = []
        while size := self.number(4):
            pieces.append(self.take(size))
        return b"".join(pieces)


def _scalar(kind: int, raw: bytes, scale: int) -> object:
    if kind == 0x26:
        return int.from_bytes(raw, "little", signed=len(raw) > 1)
    if kind == 0x68:
        return bool(raw[0])
    if kind == 0x6D:
        return float(struct.unpack("<f" if len(raw) == 4 else "<d", raw)[0])
    if kind in (0x6A, 0x6C):
        magnitude = decimal.Decimal(int.from_bytes(raw[1:], "little")).scaleb(-scale)
        return magnitude if raw[0] else -magnitude
    if kind in (0xE7, 0xEF, 0x63):
        return raw.decode("utf-16-le")
    if kind in (0xA7, 0xAF, 0x23):
        return raw.decode("cp1252")
    if kind == 0x24:
        return uuid.UUID(bytes_le=raw)
    return _moment(kind, raw, scale) if kind in (0x28, 0x29, 0x2A, 0x2B, 0x6F) else raw


def _moment(kind: int, raw: bytes, scale: int) -> object:
    if kind == 0x6F:
        if len(raw) == 4:
            days, minutes = struct.unpack("<HH", raw)
            return dt.datetime(1900, 1, 1) + dt.timedelta(days=days, minutes=minutes)
        days, ticks = struct.unpack("<iI", raw)
        return dt.datetime(1900, 1, 1) + dt.timedelta(days=days, milliseconds=round(ticks * 10 / 3))
    if kind == 0x28:
        return _date(raw)
    if kind == 0x29:
        return (dt.datetime.min + _since_midnight(raw, scale)).time()
    if kind == 0x2A:
        return dt.datetime.combine(_date(raw[-3:]), dt.time()) + _since_midnight(raw[:-3], scale)
    zone = dt.timezone(dt.timedelta(minutes=struct.unpack("<h", raw[-2:])[0]))
    utc = dt.datetime.combine(_date(raw[-5:-2]), dt.time(), dt.UTC) + _since_midnight(raw[:-5], scale)
    return utc.astimezone(zone)


def _date(raw: bytes) -> dt.date:
    return dt.date.fromordinal(int.from_bytes(raw, "little") + 1)


def _since_midnight(raw: bytes, scale: int) -> dt.timedelta:
    ticks = int.from_bytes(raw, "little")
    return dt.timedelta(microseconds=ticks // 10 if scale == 7 else ticks * 10 ** (6 - scale))
