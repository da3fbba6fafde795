"""BER (X.690), as far as it takes to see what a file is and what it costs to open.

Reading is lenient: up to where the bytes stop being BER. Nothing is raised, whatever the bytes are, and the time that
it takes grows with their number.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

_INTEGER, _BIT_STRING, _OCTETS, _SEQUENCE = 0x02, 0x03, 0x04, 0x30
_CONSTRUCTED = 0x20
_MOST_NESTED = 24
_PKCS7 = (bytes.fromhex("2a864886f70d010701"), bytes.fromhex("2a864886f70d010702"))  # data, signed data
_PASSWORD_BASED = (bytes.fromhex("2a864886f70d0105"), bytes.fromhex("2a864886f70d010c01"))  # PKCS#5, PKCS#12


class Shape(Enum):
    CERTIFICATE = auto()
    CONTAINER = auto()
    """PKCS#12."""
    LOCKED_KEY = auto()
    """A private key that a password protects."""
    KEY = auto()


def shape(data: bytes) -> Shape | None:
    """What it looks like, without a promise."""
    outer = _elements(data)
    if not outer or outer[0].tag != _SEQUENCE:
        return None
    parts = outer[0].inside()
    tags = [part.tag for part in parts]
    if tags == [_SEQUENCE, _SEQUENCE, _BIT_STRING]:
        return Shape.CERTIFICATE
    if tags == [_SEQUENCE, _OCTETS] and _name(parts[0]).startswith(_PASSWORD_BASED):
        return Shape.LOCKED_KEY
    if tags[:2] == [_INTEGER, _SEQUENCE]:
        return Shape.CONTAINER if _name(parts[1]) in _PKCS7 else Shape.KEY
    return Shape.KEY if tags[:2] in ([_INTEGER, _INTEGER], [_INTEGER, _OCTETS]) else None


def iterations(data: bytes) -> int:
    """How many iterations it asks for to be opened, all in all, as far as that is not itself encrypted.

    In every scheme (PBKDF2, PKCS#12, PBES1, the MAC) they are the integer behind a salt, which is an OCTET STRING.
    Three integers are scrypt's cost, block size and parallelism, whose product counts eightfold, for the memory.
    """
    return _iterations(data, 0)


def _iterations(data: bytes, depth: int) -> int:
    if depth > _MOST_NESTED:
        return 0
    total = 0
    behind: list[int] | None = None
    for each in (*_elements(data), _END):
        if each.tag == _INTEGER and behind is not None:
            behind.append(max(int.from_bytes(each.content[:16], signed=True), 0))
            continue
        if behind:
            total += behind[0] if len(behind) < 3 else 8 * behind[0] * behind[1] * behind[2]
        behind = [] if each.is_octets else None
        total += _iterations(each.octets(depth) if each.is_octets else each.nested, depth + 1)
    return total


class _Element(NamedTuple):
    tag: int
    content: bytes

    @property
    def nested(self) -> bytes:
        """What is inside a constructed element; nothing of another."""
        return self.content if self.tag & _CONSTRUCTED else b""

    @property
    def is_octets(self) -> bool:
        return self.tag & ~_CONSTRUCTED == _OCTETS

    def inside(self) -> list[_Element]:
        return _elements(self.nested)

    def octets(self, depth: int) -> bytes:
        """The value of an OCTET STRING, which may come in pieces."""
        if not self.tag & _CONSTRUCTED or depth > _MOST_NESTED:
            return self.content
        return b"".join(each.octets(depth + 1) for each in self.inside())


_END = _Element(0, b"")


def _name(element: _Element) -> bytes:
    """The object identifier that it begins with."""
    return next((each.content for each in element.inside()), b"")


def _elements(data: bytes) -> list[_Element]:
    """The elements that ``data`` begins with: up to its end, or to what is not BER."""
    found = []
    at = 0
    while (read := _element(data, at, 0)) is not None:
        element, at = read
        found.append(element)
    return found


def _element(data: bytes, at: int, depth: int) -> tuple[_Element, int] | None:
    """The element at ``at``, and where the next one begins. One that is longer than the data ends with them."""
    if at + 2 > len(data) or depth > _MOST_NESTED or not data[at] or data[at] & 0x1F == 0x1F:
        return None
    tag, length, start = data[at], data[at + 1], at + 2
    if length == 0x80:  # its end is marked
        end = start
        while (read := _element(data, end, depth + 1)) is not None:
            end = read[1]
        return _Element(tag, data[start:end]), end + 2
    if length > 0x80:
        size = length & 0x7F
        start, length = start + size, int.from_bytes(data[start : start + size])
    return _Element(tag, data[start : start + length]), start + length
