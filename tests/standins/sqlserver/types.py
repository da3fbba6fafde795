"""The SQL types that the stand-in knows: by name, as on the wire, and between SQLite and Python."""

from __future__ import annotations

import datetime as dt
import decimal
import re
import struct
import uuid
from dataclasses import dataclass

COLLATION = bytes.fromhex("0904d00034")
"""SQL_Latin1_General_CP1_CI_AS as the wire has it."""

_DECLARATION = re.compile(r"^\s*(\w+)\s*(?:\(\s*(max|\d+)\s*(?:,\s*(\d+)\s*)?\))?\s*$", re.IGNORECASE)
_ALIASES = {
    "sysname": "nvarchar(128)",
    "integer": "int",
    "decimal": "numeric",
    "timestamp": "varbinary(8)",
    "rowversion": "varbinary(8)",
    "text": "varchar(max)",
    "ntext": "nvarchar(max)",
    "image": "varbinary(max)",
    "smalldatetime": "datetime",
    "xml": "nvarchar(max)",
    "money": "numeric(19,4)",
    "binary": "varbinary",
}
_INTEGERS = {"tinyint": 1, "smallint": 2, "int": 4, "bigint": 8}
_CHARACTERS = {"char": 0xA7, "varchar": 0xA7, "nchar": 0xE7, "nvarchar": 0xE7}
_EPOCH = dt.datetime(1900, 1, 1)


@dataclass(frozen=True)
class SqlType:
    """A type as declared. ``length`` is in characters or bytes, None for max; ``scale`` also of fractional seconds."""

    name: str
    length: int | None = None
    precision: int = 18
    scale: int = 0

    @property
    def is_character(self) -> bool:
        return self.name in _CHARACTERS

    @property
    def is_integer(self) -> bool:
        return self.name in _INTEGERS or self.name == "bit"

    @property
    def sqlite(self) -> str:
        """The declaration of a column of this type in SQLite, where text compares without regard to case."""
        if self.is_integer or self.name == "numeric":
            return "NUMERIC"
        if self.name in ("float", "real"):
            return "REAL"
        return "BLOB" if self.name == "varbinary" else "TEXT COLLATE NOCASE"


def parse_type(declaration: str) -> SqlType:
    """The type that a declaration such as ``nvarchar(128)`` names; ValueError when there is none."""
    match = _DECLARATION.match(declaration)
    if match is None:
        raise ValueError(f"not a type: {declaration}")
    name = match[1].lower()
    if name in _ALIASES:
        alias = _ALIASES[name]
        return parse_type(alias if "(" in alias or match[2] is None else f"{alias}{declaration[match.end(1) :]}")
    return _typed(name, match[2], match[3])


def _typed(name: str, first: str | None, second: str | None) -> SqlType:
    if name in _INTEGERS or name in ("bit", "float", "real", "datetime", "date", "uniqueidentifier", "sql_variant"):
        return SqlType(name)
    if name in ("datetime2", "datetimeoffset", "time"):
        return SqlType(name, scale=7 if first is None else int(first))
    if name == "numeric":
        return SqlType(name, precision=int(first or 18), scale=int(second or 0))
    if name in _CHARACTERS or name == "varbinary":
        return SqlType(name, length=None if (first or "").lower() == "max" else int(first or 4000))
    raise ValueError(f"not a type: {name}")


INT = SqlType("int")
BIGINT = SqlType("bigint")
TEXT = SqlType("nvarchar", length=4000)
LONG_TEXT = SqlType("nvarchar")


def type_of(value: object) -> SqlType:
    """The type of an expression of which only a value is known."""
    if isinstance(value, bool):
        return SqlType("bit")
    if isinstance(value, int):
        if abs(value) < 2**31:
            return INT
        return BIGINT if abs(value) < 2**63 else SqlType("numeric", precision=38)
    if isinstance(value, float):
        return SqlType("float")
    if isinstance(value, bytes):
        return SqlType("varbinary", length=8000 if len(value) <= 8000 else None)
    if isinstance(value, str):
        return TEXT if len(value) <= 4000 else LONG_TEXT
    return INT if value is None else TEXT


# ---- between SQLite and Python


def to_sqlite(value: object) -> object:
    """How a Python value is kept in SQLite: times as ISO text, GUIDs as upper-case text, whole decimals as integers."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, dt.datetime):
        text = value.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
        text = text[:-3] if text.endswith("000") else text
        return text if value.tzinfo is None else text + offset_text(value)
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, dt.time):
        return value.isoformat()
    if isinstance(value, uuid.UUID):
        return str(value).upper()
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() and abs(value) < 2**63 else str(value)
    return value


def offset_text(moment: dt.datetime) -> str:
    """The UTC offset as ``+01:00``."""
    minutes = round((moment.utcoffset() or dt.timedelta()).total_seconds() / 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def from_sqlite(kind: SqlType, value: object) -> object:
    """The Python value of a stored one, as the type asks; ValueError when it does not fit the type."""
    if value is None:
        return None
    if kind.name in ("datetime", "datetime2", "datetimeoffset", "date", "time"):
        return _moment(kind.name, value)
    if kind.name == "bit":
        return bool(_number(value))
    if kind.is_integer:
        return int(str(value)) if isinstance(value, str) else int(_number(value))
    if kind.name == "numeric":
        return decimal.Decimal(str(value))
    if kind.name in ("float", "real"):
        return float(_number(value))
    if kind.name == "varbinary":
        return value if isinstance(value, bytes) else str(value).encode("utf-16-le")
    if kind.name == "uniqueidentifier":
        return uuid.UUID(str(value))
    if kind.name == "sql_variant":
        return value
    return value if isinstance(value, str) else str(value)


def _number(value: object) -> float | int:
    if isinstance(value, int | float):
        return value
    return float(str(value))


def _moment(name: str, value: object) -> dt.datetime | dt.date | dt.time:
    if name == "time":
        return dt.time.fromisoformat(str(value)[:15])
    moment = parse_moment(value)
    return moment.date() if name == "date" else moment


def parse_moment(value: object) -> dt.datetime:
    """A time from ISO text, with or without T, fraction and offset; ValueError when it is none."""
    if isinstance(value, dt.datetime):
        return value
    if isinstance(value, int | float):
        return _EPOCH + dt.timedelta(days=value)
    text = re.sub(r"(\.\d{6})\d+", r"\1", str(value).strip())
    return dt.datetime.fromisoformat(text)


# ---- on the wire ([MS-TDS] 2.2.5.4 and 2.2.5.5)


def type_information(kind: SqlType) -> bytes:
    """TYPE_INFO of a result column; every column is nullable."""
    if kind.name in _INTEGERS:
        return bytes([0x26, _INTEGERS[kind.name]])
    if kind.name in _CHARACTERS:
        width = 2 if kind.name.startswith("n") else 1
        size = 0xFFFF if kind.length is None or kind.length * width > 8000 else max(kind.length, 1) * width
        return bytes([_CHARACTERS[kind.name]]) + struct.pack("<H", size) + COLLATION
    if kind.name == "varbinary":
        size = 0xFFFF if kind.length is None or kind.length > 8000 else max(kind.length, 1)
        return b"\xa5" + struct.pack("<H", size)
    if kind.name == "numeric":
        return bytes([0x6C, 17, kind.precision, kind.scale])
    if kind.name in ("time", "datetime2", "datetimeoffset"):
        return bytes([{"time": 0x29, "datetime2": 0x2A, "datetimeoffset": 0x2B}[kind.name], kind.scale])
    return {
        "bit": b"\x68\x01",
        "float": b"\x6d\x08",
        "real": b"\x6d\x04",
        "datetime": b"\x6f\x08",
        "date": b"\x28",
        "uniqueidentifier": b"\x24\x10",
        "sql_variant": b"\x62" + struct.pack("<I", 8009),
    }[kind.name]


def encode_value(kind: SqlType, value: object) -> bytes:
    """A value of a result column, after ``from_sqlite``."""
    if kind.name in _CHARACTERS or kind.name == "varbinary":
        return _encode_string(kind, value)
    if kind.name == "sql_variant":
        return _encode_variant(value)
    if value is None:
        return b"\x00"
    raw = _encode_scalar(kind, value)
    return bytes([len(raw)]) + raw


def _encode_string(kind: SqlType, value: object) -> bytes:
    wide = 2 if kind.name.startswith("n") else 1
    is_long = kind.length is None or kind.length * wide > 8000
    if value is None:
        return b"\xff" * 8 if is_long else b"\xff\xff"
    if isinstance(value, bytes):
        raw = value
    elif wide == 2:
        raw = str(value).encode("utf-16-le")
    else:
        raw = str(value).encode("cp1252", "replace")
    if not is_long:
        return struct.pack("<H", len(raw)) + raw
    return struct.pack("<Q", len(raw)) + (struct.pack("<I", len(raw)) + raw if raw else b"") + bytes(4)


def _encode_variant(value: object) -> bytes:
    """SSVARIANT: base type, its properties, the value."""
    if value is None:
        return bytes(4)
    if isinstance(value, bool):
        body = b"\x32\x00" + bytes([value])
    elif isinstance(value, int):
        body = b"\x38\x00" + struct.pack("<i", value)
    elif isinstance(value, dt.datetime):
        body = b"\x3d\x00" + _encode_scalar(SqlType("datetime"), value)
    else:
        raw = str(value).encode("utf-16-le")
        body = b"\xe7\x07" + COLLATION + struct.pack("<H", max(len(raw), 2)) + raw
    return struct.pack("<I", len(body)) + body


def _encode_scalar(kind: SqlType, value: object) -> bytes:
    if kind.name in _INTEGERS:
        assert isinstance(value, int)
        return value.to_bytes(_INTEGERS[kind.name], "little", signed=kind.name != "tinyint")
    if kind.name == "bit":
        return bytes([bool(value)])
    if kind.name in ("float", "real"):
        assert isinstance(value, float | int)
        return struct.pack("<d" if kind.name == "float" else "<f", value)
    if kind.name == "uniqueidentifier":
        return uuid.UUID(str(value)).bytes_le
    if kind.name == "numeric":
        scaled = int(decimal.Decimal(str(value)).scaleb(kind.scale).to_integral_value())
        return bytes([scaled >= 0]) + abs(scaled).to_bytes(16, "little")
    return _encode_moment(kind, value)


def _encode_moment(kind: SqlType, value: object) -> bytes:
    if kind.name == "date":
        assert isinstance(value, dt.date)
        return _day(value)
    if kind.name == "time":
        assert isinstance(value, dt.time)
        return _clock(value, kind.scale)
    assert isinstance(value, dt.datetime)
    if kind.name == "datetime":
        since = value.replace(tzinfo=None) - _EPOCH
        ticks = round((since.seconds + since.microseconds / 1e6) * 300)
        return struct.pack("<iI", since.days + ticks // 25_920_000, ticks % 25_920_000)
    if kind.name == "datetime2":
        return _clock(value.time(), kind.scale) + _day(value.date())
    aware = value if value.tzinfo else value.replace(tzinfo=dt.UTC)
    utc = aware.astimezone(dt.UTC)
    minutes = round((aware.utcoffset() or dt.timedelta()).total_seconds() / 60)
    return _clock(utc.time(), kind.scale) + _day(utc.date()) + struct.pack("<h", minutes)


def _day(day: dt.date) -> bytes:
    return (day.toordinal() - 1).to_bytes(3, "little")


def _clock(clock: dt.time, scale: int) -> bytes:
    microseconds = ((clock.hour * 60 + clock.minute) * 60 + clock.second) * 1_000_000 + clock.microsecond
    ticks = microseconds * 10 if scale == 7 else microseconds // 10 ** (6 - scale)
    return ticks.to_bytes(3 if scale <= 2 else 4 if scale <= 4 else 5, "little")
