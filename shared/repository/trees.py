"""Trees: the nodes of one directory, byte for byte as Go writes them.

restic's ``internal/data/node.go`` and ``tree.go``: fields in the order of the struct, ``omitempty`` ones left out,
names through ``strconv.Quote``, then JSON with Go's escapes, nodes in ascending order of the bytes of the unquoted
name, and a newline at the end. Names and paths are handled as raw bytes here: UTF-8, or WTF-8 where a Windows name
holds a lone surrogate.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from shared.errors import Damaged
from shared.repository.index import parse_id

MODE_DIR = 0x80000000
"""Go's os.ModeDir."""
FILETIME_UNIX_EPOCH = 116_444_736_000_000_000
"""1970-01-01 in Windows FILETIME (100 ns since 1601-01-01)."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS_YEAR_0 = -62_167_219_200
_SECONDS_YEAR_10000 = 253_402_300_800


# --- names -----------------------------------------------------------------------------------------------------------

_SIMPLE_NAME = re.compile(r"[ !#-\[\]-~]*\Z")
_GO_ESCAPES = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}
_GO_UNESCAPES = {"a": 7, "b": 8, "t": 9, "n": 10, "v": 11, "f": 12, "r": 13, '"': 34, "\\": 92, "'": 39}
_UNICODE_15 = re.compile(
    "[\u0cf3\u0ece\U00010efd-\U00010eff\U0001123f-\U00011241\U00011b00-\U00011b09\U00011f00-\U00011f10"
    "\U00011f12-\U00011f3a\U00011f3e-\U00011f59\U0001342f\U00013440-\U00013455\U0001b132\U0001b155"
    "\U0001d2c0-\U0001d2d3\U0001df25-\U0001df2a\U0001e030-\U0001e06d\U0001e08f\U0001e4d0-\U0001e4f9\U0001f6dc"
    "\U0001f774-\U0001f776\U0001f77b-\U0001f77f\U0001f7d9\U0001fa75-\U0001fa77\U0001fa87\U0001fa88"
    "\U0001faad-\U0001faaf\U0001fabb-\U0001fabd\U0001fabf\U0001face\U0001facf\U0001fada\U0001fadb\U0001fae8"
    "\U0001faf7\U0001faf8\U0002b739\U00031350-\U000323af]"
)
"""Printable characters that Go knows since 1.21 (Unicode 15) and Python 3.11 (Unicode 14) does not."""
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL)


def quote(name: bytes) -> str:
    """Go's ``strconv.Quote`` without the outer quotation marks; bytes that are no UTF-8 become ``\\xNN``."""
    text = name.decode("utf-8", "surrogateescape")
    if _SIMPLE_NAME.match(text):
        return text
    out = []
    for character in text:
        code = ord(character)
        if code in _GO_ESCAPES:
            out.append(_GO_ESCAPES[code])
        elif 0xDC80 <= code <= 0xDCFF:
            out.append(f"\\x{code - 0xDC00:02x}")
        elif code < 0x20 or code == 0x7F:
            out.append(f"\\x{code:02x}")
        elif character.isprintable() or _UNICODE_15.match(character):
            out.append(character)
        else:
            out.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return "".join(out)


def unquote(quoted: str) -> bytes:
    """The raw name. ``Damaged`` for an escape that Go does not know."""
    if "\\" not in quoted:
        return quoted.encode("utf-8", "surrogatepass")
    out = bytearray()
    at = 0
    while (found := quoted.find("\\", at)) >= 0:
        out += quoted[at:found].encode("utf-8", "surrogatepass")
        match = _ESCAPE.match(quoted, found)
        if match is None:
            raise Damaged(f"a name ends in the middle of an escape: {quoted!r}")
        byte, short, long, octal, single = match.groups()
        code = int(octal, 8) if octal else int(byte or short or long or "0", 16)
        if code > (0xFF if octal else 0x10FFFF):
            raise Damaged(f"a name holds an escape for no character: {quoted!r}")
        if byte or octal:
            out.append(code)
        elif short or long:
            out += chr(code).encode("utf-8", "surrogatepass")
        elif single in _GO_UNESCAPES:
            out.append(_GO_UNESCAPES[single])
        else:
            raise Damaged(f"a name holds an unknown escape: {quoted!r}")
        at = match.end()
    out += quoted[at:].encode("utf-8", "surrogatepass")
    return bytes(out)


# --- times -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _date(day: int) -> str:
    """``YYYY-MM-DDT`` of a day since 1970 (civil from days, Howard Hinnant)."""
    z = day + 719_468
    era = z // 146_097
    doe = z - era * 146_097
    yoe = (doe - doe // 1460 + doe // 36_524 - doe // 146_096) // 365
    doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
    mp = (5 * doy + 2) // 153
    month = mp + 3 if mp < 10 else mp - 9
    year = yoe + era * 400 + (month <= 2)
    return f"{year:04d}-{month:02d}-{doy - (153 * mp + 2) // 5 + 1:02d}T"


@lru_cache(maxsize=1 << 14)
def rfc3339(nanoseconds: int) -> str:
    """Nanoseconds since 1970 as Go's RFC3339Nano in UTC, clamped to the years 0 to 9999 that Go can write."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    if not _SECONDS_YEAR_0 <= seconds < _SECONDS_YEAR_10000:
        seconds, fraction = max(_SECONDS_YEAR_0, min(seconds, _SECONDS_YEAR_10000 - 1)), 0
    day, rest = divmod(seconds, 86_400)
    hour, rest = divmod(rest, 3600)
    minute, second = divmod(rest, 60)
    if not fraction:
        return f"{_date(day)}{hour:02d}:{minute:02d}:{second:02d}Z"
    digits = f"{fraction:09d}".rstrip("0")
    return f"{_date(day)}{hour:02d}:{minute:02d}:{second:02d}.{digits}Z"


def rfc3339_of(moment: datetime) -> str:
    """An aware time, to the microsecond, as ``rfc3339`` writes it."""
    return rfc3339((moment - _EPOCH) // timedelta(microseconds=1) * 1000)


def datetime_of(text: str) -> datetime:
    """The aware UTC time that ``rfc3339`` or ``rfc3339_of`` wrote, to the microsecond. ``Damaged``."""
    try:
        return _EPOCH + timedelta(microseconds=parse_rfc3339(text) // 1000)
    except OverflowError:
        raise Damaged(f"{text!r} is no time of the years 1 to 9999") from None


_RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):(\d\d))\Z")


def parse_rfc3339(text: str) -> int:
    """Nanoseconds since 1970, exactly. ``Damaged`` for anything else than RFC 3339."""
    match = _RFC3339.match(text) if isinstance(text, str) else None
    if match is None:
        raise Damaged(f"{text!r} is no RFC 3339 time")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second <= 60):
        raise Damaged(f"{text!r} is no RFC 3339 time")
    shifted = year - (month <= 2)
    era = shifted // 400
    yoe = shifted - era * 400
    doy = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    days = era * 146_097 + yoe * 365 + yoe // 4 - yoe // 100 + doy - 719_468
    seconds = days * 86_400 + hour * 3600 + minute * 60 + second
    if match[8]:
        offset = int(match[9]) * 3600 + int(match[10]) * 60
        seconds -= offset if match[8] == "+" else -offset
    return seconds * 1_000_000_000 + int((match[7] or "0").ljust(9, "0"))


def filetime_to_ns(filetime: int) -> int:
    return (filetime - FILETIME_UNIX_EPOCH) * 100


def ns_to_filetime(nanoseconds: int) -> int:
    """Rounded down to 100 ns; never negative, since a FILETIME cannot be."""
    return max(0, nanoseconds // 100 + FILETIME_UNIX_EPOCH)


# --- nodes -----------------------------------------------------------------------------------------------------------


class Metadata(NamedTuple):
    """What a node says about a file or directory besides its content."""

    mtime_ns: int
    ctime_ns: int
    """Change time: of the inode on Unix, ChangeTime on Windows."""
    mode: int = 0o644
    """Permission bits only."""
    uid: int = 0
    gid: int = 0
    inode: int = 0
    """0: none."""
    creation: int | None = None
    """Windows creation time, FILETIME."""
    attributes: int | None = None
    """Windows file attributes."""
    security: bytes | None = None
    """Self-relative security descriptor."""


_GO_HTML = re.compile(rb"[<>&]|\xe2\x80[\xa8\xa9]")
_GO_HTML_ESCAPES = {
    b"<": b"\\u003c",
    b">": b"\\u003e",
    b"&": b"\\u0026",
    b"\xe2\x80\xa8": b"\\u2028",
    b"\xe2\x80\xa9": b"\\u2029",
}


def go_json(value: object) -> bytes:
    """``value`` as Go's encoding/json writes it: compact, ``< > &`` and U+2028/9 escaped, keys in the order given."""
    document = orjson.dumps(value)
    if _GO_HTML.search(document):
        return _GO_HTML.sub(lambda match: _GO_HTML_ESCAPES[match[0]], document)
    return document


def file_node(name: bytes, metadata: Metadata, size_bytes: int, content: Sequence[str]) -> bytes:
    """The JSON of a file; ``content`` are the hex ids of its data blobs in order, none for an empty file."""
    size = f',"size":{size_bytes}' if size_bytes else ""
    ids = '","'.join(content)
    return b"%b%b%b" % (
        _head(name, "file", metadata.mode, metadata),
        size.encode() + b',"links":1' + _generic(metadata),
        f',"content":["{ids}"]}}'.encode() if content else b',"content":[]}',
    )


def dir_node(name: bytes, metadata: Metadata, subtree: str) -> bytes:
    """The JSON of a directory; ``subtree`` is the hex id of its tree."""
    return b"%b%b%b" % (
        _head(name, "dir", MODE_DIR | metadata.mode, metadata),
        b',"links":1' + _generic(metadata),
        f',"content":null,"subtree":"{subtree}"}}'.encode(),
    )


def _head(name: bytes, kind: str, mode: int, metadata: Metadata) -> bytes:
    mtime = rfc3339(metadata.mtime_ns)
    inode = f',"inode":{metadata.inode}' if metadata.inode else ""
    mode_field = f',"mode":{mode}' if mode else ""
    return (
        b'{"name":%b,"type":"%b"' % (go_json(quote(name)), kind.encode())
        + (
            f'{mode_field},"mtime":"{mtime}","atime":"{mtime}","ctime":"{rfc3339(metadata.ctime_ns)}"'
            f',"uid":{metadata.uid},"gid":{metadata.gid}{inode}'
        ).encode()
    )


def _generic(metadata: Metadata) -> bytes:
    parts = []
    if metadata.creation is not None:
        low, high = metadata.creation & 0xFFFFFFFF, metadata.creation >> 32
        parts.append(f'"windows.creation_time":{{"LowDateTime":{low},"HighDateTime":{high}}}')
    if metadata.attributes is not None:
        parts.append(f'"windows.file_attributes":{metadata.attributes}')
    if metadata.security is not None:
        parts.append(f'"windows.security_descriptor":"{base64.b64encode(metadata.security).decode()}"')
    return f',"generic_attributes":{{{",".join(parts)}}}'.encode() if parts else b""


def tree_bytes(nodes: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A tree from ``(raw name, node JSON)`` in any order. Names must be unique."""
    ordered = sorted(nodes)
    return b'{"nodes":[' + b",".join([node for _, node in ordered]) + b"]}\n"


@dataclass(frozen=True, slots=True)
class Node:
    """A node as it was read."""

    name: bytes
    kind: str
    """``file``, ``dir``, ``symlink``, ``dev``, ``chardev``, ``fifo`` or ``socket``."""
    size_bytes: int
    content: tuple[str, ...]
    """Hex ids of the data blobs, in order."""
    subtree: str | None
    """Hex id of a directory's tree."""
    metadata: Metadata
    fields: dict[str, Any]
    """The node's JSON as it stands."""


def parse_tree(tree: bytes) -> list[dict[str, Any]]:
    """The nodes' JSON objects, as they stand. ``Damaged`` if it is no tree."""
    try:
        document = orjson.loads(tree)
        nodes = document["nodes"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise Damaged(f"a tree cannot be read: {error}") from error
    if nodes is None:
        return []
    if not isinstance(nodes, list) or not all(isinstance(node, dict) and "name" in node for node in nodes):
        raise Damaged("a tree holds something else than nodes")
    return nodes


def parse_node(fields: dict[str, Any]) -> Node:
    """``Damaged`` when a field that every node has is missing or is of another type, or a number is out of range."""
    try:
        generic = fields.get("generic_attributes") or {}
        creation = generic.get("windows.creation_time")
        attributes = generic.get("windows.file_attributes")
        security = generic.get("windows.security_descriptor")
        subtree = fields.get("subtree")
        return Node(
            name=unquote(fields["name"]),
            kind=_text(fields["type"]),
            size_bytes=_number(fields.get("size", 0), 64),
            content=_content(fields.get("content") or []),
            subtree=parse_id(subtree).hex() if subtree is not None else None,
            metadata=Metadata(
                mtime_ns=parse_rfc3339(fields["mtime"]),
                ctime_ns=parse_rfc3339(fields["ctime"]),
                mode=_number(fields.get("mode", 0), 32) & 0o777,
                uid=_number(fields.get("uid", 0), 32),
                gid=_number(fields.get("gid", 0), 32),
                inode=_number(fields.get("inode", 0), 64),
                creation=_creation(creation) if creation else None,
                attributes=_number(attributes, 32) if attributes is not None else None,
                security=base64.b64decode(security) if security else None,
            ),
            fields=fields,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Damaged(f"node {fields.get('name')!r} cannot be read: {error!r}") from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where a text is expected")
    return value


def _number(value: object, bits: int) -> int:
    if type(value) is not int:
        raise TypeError(f"{type(value).__name__} where a number is expected")
    if value < 0 or value >> bits:
        raise ValueError(f"{value} is out of range")
    return value


def _content(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(f"{type(value).__name__} where a list is expected")
    for each in value:
        parse_id(each)
    return tuple(value)


def _creation(parts: dict[str, Any]) -> int:
    return _number(parts["HighDateTime"], 32) << 32 | _number(parts["LowDateTime"], 32)
