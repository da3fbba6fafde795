"""Built-in functions of T-SQL as SQLite functions. Times are ISO text, as ``types.py`` keeps them."""

from __future__ import annotations

import datetime as dt
import random
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.standins.sqlserver.messages import refusal
from tests.standins.sqlserver.types import SqlType, offset_text, parse_moment, parse_type, to_sqlite


@dataclass
class Frozen:
    """The moment and the randomness of one statement, so that a replay gives the same again."""

    moment: dt.datetime
    """Aware, UTC."""
    zone: dt.timezone
    seed: int
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def new_id(self) -> str:
        return str(uuid.UUID(bytes=self._random.randbytes(16), version=4)).upper()


def builtin(frozen: Frozen) -> Mapping[str, Callable[..., object]]:
    """The functions that depend on no instance."""
    local = frozen.moment.astimezone(frozen.zone)
    naive, utc = local.replace(tzinfo=None), frozen.moment.replace(tzinfo=None)
    milliseconds = naive.replace(microsecond=naive.microsecond // 1000 * 1000)
    utc_milliseconds = utc.replace(microsecond=utc.microsecond // 1000 * 1000)
    return {
        "TSQL_GETDATE": lambda: milliseconds,
        "GETUTCDATE": lambda: utc_milliseconds,
        "SYSDATETIME": lambda: naive,
        "SYSUTCDATETIME": lambda: utc,
        "TSQL_SYSDATETIMEOFFSET": lambda: local.isoformat(sep=" ", timespec="microseconds"),
        "NEWID": frozen.new_id,
        "TSQL_CONVERT": convert,
        "TSQL_TRY_CONVERT": _try_convert,
        "TSQL_ADD": _add,
        "TSQL_DATEADD": _date_add,
        "TSQL_DATEDIFF": _date_difference,
        "TODATETIMEOFFSET": _with_offset,
        "DATALENGTH": _data_length,
        "CHARINDEX": lambda needle, text, *_: 0 if text is None else str(text).lower().find(str(needle).lower()) + 1,
        "CONCAT": lambda *values: "".join("" if value is None else str(value) for value in values),
        "LEFT": lambda text, count: None if text is None else str(text)[: int(count)],
        "RIGHT": lambda text, count: None if text is None else str(text)[-int(count) :],
        "QUOTENAME": lambda name, *_: None if name is None else "[" + str(name).replace("]", "]]") + "]",
        "ISNULL": lambda value, instead: instead if value is None else value,
    }


def _try_convert(value: object, declaration: str, style: int | None) -> object:
    try:
        return convert(value, declaration, style)
    except Exception:
        return None


def convert(value: object, declaration: str, style: int | None) -> object:
    """CONVERT and CAST; SqlError 245 or 241 when the value does not fit."""
    if value is None:
        return None
    kind = parse_type(declaration)
    try:
        if kind.is_character:
            return _to_text(value, kind, style)
        return _to_other(value, kind, style)
    except (ValueError, OverflowError) as failure:
        if kind.name in ("datetime", "datetime2", "datetimeoffset", "date"):
            text = "Conversion failed when converting date and/or time from character string."
            raise refusal(241, text) from failure
        raise refusal(
            245, f"Conversion failed when converting the nvarchar value '{value}' to data type {kind.name}."
        ) from failure


def _to_text(value: object, kind: SqlType, style: int | None) -> str:
    if isinstance(value, bytes):
        text = value.hex().upper() if style in (1, 2) else value.decode("utf-16-le", "replace")
        text = f"0x{text}" if style == 1 else text
    else:
        text = _styled(str(value), style or 0)
    return text if kind.length is None else text[: kind.length]


_TIME = re.compile(r"^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d+))?([+-]\d\d:\d\d)?$")


def _styled(text: str, style: int) -> str:
    """Times in the styles that a backup tool uses; anything else as it is."""
    match = _TIME.match(text)
    if match is None:
        return text
    day, clock, digits, offset = match[1], match[2], match[3] or "", match[4] or ""
    digits = digits.ljust(7, "0") if len(digits) > 3 or offset else digits
    fraction = f".{digits}" if digits else ""
    if style == 126:
        return f"{day}T{clock}{fraction if digits.strip('0') or offset else ''}{offset}"
    if style == 127:
        moment = parse_moment(text).astimezone(dt.UTC) if offset else parse_moment(text)
        return moment.strftime("%Y-%m-%dT%H:%M:%S") + fraction + ("Z" if offset else "")
    if style == 120:
        return f"{day} {clock}{' ' + offset if offset else ''}"
    if style == 23:
        return day
    if style == 112:
        return day.replace("-", "")
    return f"{day} {clock}{fraction}{' ' + offset if offset else ''}"


def _to_other(value: object, kind: SqlType, style: int | None) -> object:
    if kind.name == "bit":
        return {"true": 1, "false": 0}.get(
            str(value).lower(), int(float(str(value)) != 0) if _is_number(value) else None
        )
    if kind.is_integer:
        return int(value) if isinstance(value, float) else int(str(value).strip() or "0")
    if kind.name in ("float", "real"):
        return float(str(value))
    if kind.name == "numeric":
        return _numeric(str(value), kind.scale)
    if kind.name == "uniqueidentifier":
        return str(uuid.UUID(str(value))).upper()
    if kind.name == "varbinary":
        return _to_bytes(value, style)
    if kind.name in ("datetime", "datetime2", "datetimeoffset", "date"):
        return _to_moment(value, kind)
    return value


def _is_number(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return True


def _numeric(text: str, scale: int) -> object:
    from decimal import Decimal, InvalidOperation

    try:
        return to_sqlite(round(Decimal(text), scale))
    except InvalidOperation as failure:
        raise ValueError(text) from failure


def _to_bytes(value: object, style: int | None) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, int):
        return value.to_bytes(4 if abs(value) < 2**31 else 8, "big", signed=True)
    text = str(value)
    if style in (1, 2):
        return bytes.fromhex(text[2:] if style == 1 else text)
    return text.encode("utf-16-le")


def _to_moment(value: object, kind: SqlType) -> object:
    moment = parse_moment(value)
    if kind.name == "date":
        return moment.date().isoformat()
    if kind.name == "datetimeoffset":
        return to_sqlite(moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC))
    moment = moment.replace(tzinfo=None)
    if kind.name == "datetime":
        moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    return to_sqlite(moment)


def _add(left: object, right: object) -> object:
    if left is None or right is None:
        return None
    if isinstance(left, int | float) and isinstance(right, int | float):
        return left + right
    if isinstance(left, bytes) and isinstance(right, bytes):
        return left + right
    return f"{left}{right}"


_UNITS = {
    "DAY": 86400.0,
    "DD": 86400.0,
    "HOUR": 3600.0,
    "HH": 3600.0,
    "MINUTE": 60.0,
    "MI": 60.0,
    "N": 60.0,
    "SECOND": 1.0,
    "SS": 1.0,
    "S": 1.0,
    "MILLISECOND": 0.001,
    "MS": 0.001,
    "MICROSECOND": 0.000001,
    "WEEK": 604800.0,
}


def _unit(name: object) -> float:
    unit = _UNITS.get(str(name).strip("'\"").upper())
    if unit is None:
        raise refusal(155, f"'{name}' is not a recognized dateadd option.", severity=15)
    return unit


def _date_add(unit: object, count: object, moment: object) -> object:
    if count is None or moment is None:
        return None
    return to_sqlite(parse_moment(moment) + dt.timedelta(seconds=int(str(count)) * _unit(unit)))


def _date_difference(unit: object, start: object, end: object) -> object:
    """Boundaries crossed, as T-SQL counts."""
    if start is None or end is None:
        return None
    size = _unit(unit)
    origin = dt.datetime(1900, 1, 1)
    ticks = [(_naive(parse_moment(value)) - origin).total_seconds() // size for value in (start, end)]
    return int(ticks[1] - ticks[0])


def _naive(moment: dt.datetime) -> dt.datetime:
    return moment.astimezone(dt.UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _with_offset(moment: object, offset: object) -> object:
    if moment is None or offset is None:
        return None
    minutes = offset if isinstance(offset, int) else _minutes(str(offset))
    zone = dt.timezone(dt.timedelta(minutes=minutes))
    aware = parse_moment(moment).replace(tzinfo=zone)
    return aware.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds") + offset_text(aware)


def _minutes(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    hours, minutes = text.lstrip("+-").split(":")
    return sign * (int(hours) * 60 + int(minutes))


def _data_length(value: object) -> object:
    if value is None:
        return None
    if isinstance(value, bytes):
        return len(value)
    return len(str(value)) * 2 if isinstance(value, str) else 4
