"""What an uploaded file is, as far as a restore is concerned: whether it can be SystemSecrets.JSON, which certificates
it holds, until when they are valid, and whether their private keys are there.

SystemSecrets.JSON has no documented schema and is kept byte for byte, so no more is demanded of it than that it is a
JSON object which arrived whole. What is found in it is told to people; nothing depends on it.

No exception, note or repr made here holds anything of a file's content but the subjects of certificates. Exceptions of
the JSON and text decoders hold the whole document: none leaves this module, not even as a context.

Opening what a password protects costs as much time as the file says (iterations). Therefore the iterations are read
from the file before anything is tried, and one call spends at most ``_MOST_EFFORT``; what would cost more stays closed.
Not seen are iterations in what is itself encrypted: only who could encrypt it, for a password that is tried, can write
those.

Formats: RFC 5280 (X.509), RFC 7292 (PKCS#12), RFC 5958 (keys), RFC 7468 (PEM), X.690 (BER). PVK is Microsoft's file of
one private key, as SQL Server's BACKUP CERTIFICATE writes it.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum, auto
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
    pkcs12,
)

from shared.errors import SecretsFileError

MOST_BYTES = 1024 * 1024
"""Of a file."""

_MOST_DEPTH = 100
"""Of JSON: far more than any file for people has, and far less than the decoder's recursion can bear."""
_MOST_TRIES = 8
"""Passwords that are tried on one container or key."""
_MOST_EFFORT = 5_000_000
"""Iterations of key derivation in one call, each about a microsecond, as everything else is counted in too."""
_SHORTEST_CERTIFICATE = 128
_LONGEST_SUBJECT = 200
_UNREADABLE = (ValueError, TypeError, OverflowError, UnsupportedAlgorithm, InternalError)
"""What ``cryptography`` raises for a file that it does not understand, or for a wrong password."""


@dataclass(frozen=True, slots=True)
class Certificate:
    subject: str
    """As RFC 4514 writes it, at most 200 characters."""
    thumbprint: str
    """SHA-1, 40 upper-case hexadecimal digits, as SQL Server and Windows show it."""
    not_after: datetime
    """Aware UTC."""
    has_key: bool
    """Its private key is there too. A note says so where that could not be checked."""


@dataclass(frozen=True, slots=True)
class Findings:
    certificates: tuple[Certificate, ...] = ()
    """In the order of the file, each once."""
    passwords: int = 0
    """How many fields look, by their names, like passwords, keys or connection strings."""
    notes: tuple[str, ...] = ()
    """Sentences for the operator."""
    is_key: bool = False
    """The file is a private key without a certificate."""


# SystemSecrets.JSON ---------------------------------------------------------------------------------------------------

_AGAIN = (
    "Download it again in the administrator portal (App Service, Secrets, Download Secrets) and upload that file as it "
    "is. What was uploaded before is still there."
)


class _Problem(NamedTuple):
    what: str
    remedy: str = _AGAIN


class _Object(tuple[tuple[str, object], ...]):
    """A JSON object as its members in their order, so that of equal names both are seen."""

    __slots__ = ()


def check_system_secrets(content: bytes) -> None:
    """``SecretsFileError`` unless ``content`` is a JSON object with something in it, of at most ``MOST_BYTES``.

    In UTF-8, or with a byte order mark in UTF-16. A file that was written by PowerShell's ``>`` is UTF-16; it has all
    that the download had, and PowerShell and .NET read it. Refused, it might be all that is left, and not be saved.
    """
    problem = _size_problem(content)
    if problem is None:
        problem = _document(content)[1]
    if problem is not None:
        raise SecretsFileError(f"SystemSecrets.JSON {problem.what}", remedy=problem.remedy)


def find_in_system_secrets(content: bytes) -> Findings:
    """The certificates in any of the strings: PEM, or base64 of DER or of PKCS#12, and one level of JSON in a string.

    PKCS#12 is tried with the strings beside it whose field is named like a password, nearest first, then with those of
    the objects around it, then without. ``has_key``: the private key is anywhere in the document. What cannot be read
    is no finding; content that ``check_system_secrets`` refuses has none.
    """
    if _size_problem(content) is not None:
        return Findings()
    document, problem = _document(content)
    if problem is not None:
        return Findings()
    search = _Search()
    passwords = _walk(document, search)
    notes = []
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        notes.append(
            "the file is UTF-16, as PowerShell's > writes it, so it is probably not the download itself: to be sure, "
            "download it again and upload that"
        )
    if search.sealed:
        notes.append(
            f"{_count(search.sealed, 'PKCS#12 container')} in it could not be opened with the passwords beside it: "
            "when those certificates expire is not known"
        )
    return Findings(search.result(), passwords, (*notes, *search.notes()))


def _size_problem(content: bytes) -> _Problem | None:
    if not content:
        return _Problem("is empty (0 bytes)")
    if len(content) > MOST_BYTES:
        return _Problem(
            f"has {len(content):,} bytes, and {MOST_BYTES:,} are the limit",
            f"This is probably another file. {_AGAIN}",
        )
    return None


def _document(content: bytes) -> tuple[object, _Problem | None]:
    """The object, or why it is none. Problems are values here, so that no decoder's exception becomes a context."""
    if content.lstrip(codecs.BOM_UTF8 + b" \t\r\n").startswith(b"<"):
        return None, _WEB_PAGE  # in whatever encoding
    text, problem = _decoded(content)
    if problem is not None:
        return None, problem
    text = text.strip(" \t\r\n")
    if not text:
        return None, _Problem(f"is empty: nothing but white space ({_count(len(content), 'byte')})")
    if text.startswith("<"):
        return None, _WEB_PAGE
    if "\0" in text:
        return None, _Problem(
            "holds NUL bytes: it was damaged on its way, or saved again as UTF-16 without a byte order mark"
        )
    if _depth(text) > _MOST_DEPTH:
        return None, _Problem(f"is nested more than {_MOST_DEPTH} levels deep, as no file of App Service is")
    document, problem = _json(text, len(content))
    if problem is not None:
        return None, problem
    if not isinstance(document, _Object):
        return None, _Problem(f"is JSON, but {_kind(document)} where an object ({{...}}) is expected")
    if not document:
        return None, _Problem("is JSON, but an empty object: there is nothing in it")
    return document, None


_WEB_PAGE = _Problem(
    "is a web page (HTML or XML), not JSON: the portal's session had probably run out, and its login page was saved",
    f"Sign in to the portal anew. {_AGAIN}",
)


def _decoded(content: bytes) -> tuple[str, _Problem | None]:
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if wide else "utf-8-sig"), None
    except UnicodeDecodeError as error:
        at, cut = (
            error.start,
            error.end >= len(content) and error.reason in ("unexpected end of data", "truncated data"),
        )
    if cut:
        return "", _cut(len(content))
    return "", _Problem(f"is not text in {'UTF-16' if wide else 'UTF-8'}: at byte {at} it stops being any")


def _cut(size: int) -> _Problem:
    return _Problem(f"is cut short: it ends at byte {size:,}, in the middle of the JSON. The download was probably cut")


_BRACKETS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|([\[{])|([\]}])', re.DOTALL)


def _depth(text: str) -> int:
    """How deep brackets are nested: exactly, up to where the text stops being JSON."""
    depth = deepest = 0
    for found in _BRACKETS.finditer(text):
        if found[1]:
            depth += 1
            deepest = max(deepest, depth)
        elif found[2]:
            depth -= 1
    return deepest


_BEGUN = re.compile(r'[^\s"{}\[\],:]*\s*\Z')
"""What may stand between the place that the decoder names and the end, where only the rest is missing."""


def _json(text: str, size: int) -> tuple[object, _Problem | None]:
    try:
        document, end = _DECODER.raw_decode(text)
    except json.JSONDecodeError as error:
        reason, at, line, column = error.msg, error.pos, error.lineno, error.colno
    else:
        if end == len(text):
            return document, None
        return None, _Problem(f"goes on where its JSON has ended, in line {text.count(chr(10), 0, end) + 1}")
    if at and (reason.startswith("Unterminated string") or _BEGUN.match(text, at)):
        return None, _cut(size)
    return None, _Problem(f"is not JSON from line {line}, column {column} on")


def _members(pairs: list[tuple[str, object]]) -> _Object:
    return _Object(pairs)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_members,
    parse_int=len,  # no number is of interest, and Python refuses those of thousands of digits
    parse_float=len,
    parse_constant=len,
)


def _kind(document: object) -> str:
    if isinstance(document, list):
        return "a list"
    if isinstance(document, str):
        return "a string"
    return "a single value"


# Its fields -----------------------------------------------------------------------------------------------------------

_PASSWORD = re.compile(r"pass|pwd|secret", re.IGNORECASE)
_SECRET = re.compile(
    r"passw|pwd|passphrase|secret|credential|token|conn(ection)?str(ing)?|(?<!public)keys?\d*\Z|signature|sas\Z"
)
_NOT_LETTERS = re.compile(r"[^0-9a-z]+")


def _walk(value: object, search: _Search) -> int:
    """Look into every string of the document; how many fields look like secrets."""
    return sum(_see(name, text, passwords, search) for name, text, passwords in _strings(value, "", ()))


def _see(name: str, text: str, passwords: tuple[bytes, ...], search: _Search) -> int:
    inner = text.strip()
    if inner.startswith(("{", "[")) and _depth(inner) <= _MOST_DEPTH:
        document, problem = _json(inner, len(inner))
        if problem is None:
            for _, part, beside in _strings(document, name, passwords):
                search.text(part, beside)
    else:
        search.text(text, passwords)
    return bool(text) and bool(_SECRET.search(_NOT_LETTERS.sub("", name.lower())))


def _strings(value: object, name: str, passwords: tuple[bytes, ...]) -> Iterator[tuple[str, str, tuple[bytes, ...]]]:
    """Each string, with the name of its field and the passwords around it, nearest first."""
    if isinstance(value, str):
        yield name, value, passwords
    elif isinstance(value, _Object):
        named = [
            (place, _encoded(text))
            for place, (field_name, text) in enumerate(value)
            if isinstance(text, str) and 0 < len(text) <= 1024 and _PASSWORD.search(field_name)
        ]
        for place, (field_name, member) in enumerate(value):
            beside = sorted((one for one in named if one[0] != place), key=lambda one: abs(one[0] - place))[
                :_MOST_TRIES
            ]
            yield from _strings(member, field_name, (*(text for _, text in beside), *passwords)[:_MOST_TRIES])
    elif isinstance(value, list):
        for member in value:
            yield from _strings(member, name, passwords)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")  # a lone surrogate is in no password


# Certificate files ----------------------------------------------------------------------------------------------------


def find_in_file(content: bytes, *, key: bytes | None = None, password: bytes | None = None) -> Findings:
    """What a kept file is: certificates (PEM, DER, PKCS#12), a private key (PEM, DER, PVK), or neither, which is fine.

    ``key`` and ``password`` are what is kept beside it as NAME-key and NAME-password; line ends and a byte order mark
    around the password do not belong to it.
    """
    passwords = _spellings(password) if password is not None else ()
    search = _Search()
    search.file(content, passwords)
    certificates = search.result()
    if not certificates:
        return Findings(notes=(*_sealed(search, password), *search.notes()), is_key=search.is_key)
    companion = _Search(effort=search.effort)
    if key is not None:
        companion.file(key, passwords)
    notes = [*_sealed(search, password), *search.notes()]
    certificates, about_key = _with_key(certificates, search, companion, password)
    if key is not None and not companion.is_key:
        about_key = ["what is kept as NAME-key is no private key that can be recognised (PVK, PEM or DER)"]
    return Findings(certificates, 0, (*notes, *about_key))


def _with_key(
    certificates: tuple[Certificate, ...], search: _Search, companion: _Search, password: bytes | None
) -> tuple[tuple[Certificate, ...], list[str]]:
    """Which of them have a key, and what is to be said about it.

    A key that cannot be opened is taken for the first one's: in a chain that comes first, and the others are those of
    authorities.
    """
    keys = search.keys | companion.keys
    owned = tuple(replace(each, has_key=search.public[each.thumbprint] in keys) for each in certificates)
    if any(each.has_key for each in owned):
        return owned, []
    if search.closed or companion.closed:
        why = "its password is not kept as NAME-password" if password is None else "NAME-password does not open it"
        return (replace(owned[0], has_key=True), *owned[1:]), [
            f"the private key could not be opened ({why}), so it could not be checked that it belongs to this "
            "certificate; a restore needs the key and its password"
        ]
    if keys:
        return owned, ["the private key that is kept with it belongs to another certificate"]
    return owned, []


def _sealed(search: _Search, password: bytes | None) -> list[str]:
    if not search.sealed:
        return []
    what = "it has no readable certificate" if not search.certificates else "not all of it can be read"
    if password is None:
        return [
            f"it is PKCS#12, and {what} without its password: keep that as NAME-password, for nobody can use the file "
            "without it on the day of a restore, and until then Lifeboat cannot tell what is in it or when it expires"
        ]
    return [
        "it is PKCS#12, and what is kept as NAME-password does not open it: keep the right password as NAME-password, "
        "for nobody can use the file without it on the day of a restore"
    ]


def _spellings(password: bytes) -> tuple[bytes, ...]:
    """A password as the ways in which its text file may have been written."""
    if password.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            password = password.decode("utf-16").encode()
        except UnicodeError:
            return ()
    return (password.removeprefix(codecs.BOM_UTF8).rstrip(b"\r\n"),)


# Looking --------------------------------------------------------------------------------------------------------------

_PEM = re.compile(r"-----BEGIN ([0-9A-Z ]{1,40})-----([^-]*+(?:-(?!----)[^-]*+)*+)-----END \1-----")
_KEY_LABELS = ("PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "DSA PRIVATE KEY")
_BASE64_OF_DER = re.compile(r"MI[0-9A-Za-z+/_\s-]+={0,2}\Z")
_PVK_MAGIC = b"\x1e\xf1\xb5\xb0"


@dataclass(slots=True)
class _Effort:
    """What one call may still spend."""

    left: int = _MOST_EFFORT

    def take(self, cost: int) -> bool:
        if cost > self.left:
            return False
        self.left -= cost
        return True


@dataclass(slots=True)
class _Search:
    """What was found so far."""

    effort: _Effort = field(default_factory=_Effort)
    certificates: dict[str, Certificate] = field(default_factory=dict)
    public: dict[str, bytes] = field(default_factory=dict)
    """By thumbprint: the public key, or nothing where its kind is not known."""
    keys: set[bytes] = field(default_factory=set)
    """Public keys of the private keys that could be opened."""
    closed: int = 0
    """Private keys that could not be opened."""
    sealed: int = 0
    """PKCS#12 containers that could not be opened."""
    broken: int = 0
    """Certificates that could not be read."""

    @property
    def is_key(self) -> bool:
        return bool(self.keys or self.closed)

    def result(self) -> tuple[Certificate, ...]:
        return tuple(
            replace(each, has_key=self.public[each.thumbprint] in self.keys) for each in self.certificates.values()
        )

    def notes(self) -> list[str]:
        if not self.broken:
            return []
        return [f"{_count(self.broken, 'certificate')} in it could not be read and {_were(self.broken)} passed over"]

    def file(self, content: bytes, passwords: Sequence[bytes]) -> None:
        if content.startswith(_PVK_MAGIC):
            self.closed += 1
        elif content.startswith(b"\x30"):
            self._der(content, passwords)
        else:
            text, problem = _decoded(content)
            if problem is None:
                self.text(text, passwords)

    def text(self, text: str, passwords: Sequence[bytes]) -> None:
        """PEM, or base64 of DER."""
        if "-----BEGIN " in text:
            for label, body in _PEM.findall(text):
                self._pem(label, body, passwords)
        elif len(text) >= _SHORTEST_CERTIFICATE and _BASE64_OF_DER.match(stripped := text.strip()):
            data = _from_base64(stripped.replace("-", "+").replace("_", "/"))
            if data:
                self._der(data, passwords)

    def _pem(self, label: str, body: str, passwords: Sequence[bytes]) -> None:
        if label in ("CERTIFICATE", "X509 CERTIFICATE"):
            data = _from_base64(body)
            if not data or not self._certificate(data):
                self.broken += 1
        elif label in _KEY_LABELS and "Proc-Type:" in body:
            block = f"-----BEGIN {label}-----{body}-----END {label}-----\n".encode("utf-8", "replace")
            if not any(self._key(block, password, pem=True) for password in passwords[:_MOST_TRIES]):
                self.closed += 1
        elif label in _KEY_LABELS and not self._private_key(_from_base64(body), passwords):
            self.closed += 1

    def _der(self, data: bytes, passwords: Sequence[bytes]) -> None:
        shape = _shape(data)
        if shape is _Shape.CERTIFICATE:
            if not self._certificate(data):
                self.broken += 1
        elif shape is _Shape.CONTAINER:
            if not self._container(data, passwords):
                self.sealed += 1
        elif shape is _Shape.LOCKED_KEY:
            if not self._private_key(data, passwords):
                self.closed += 1
        elif shape is _Shape.KEY:
            self._private_key(data, passwords)

    def _certificate(self, data: bytes) -> bool:
        try:
            self._add(x509.load_der_x509_certificate(data))
        except _UNREADABLE:
            return False
        return True

    def _add(self, certificate: x509.Certificate) -> None:
        """Any of ``_UNREADABLE`` where it has fields that cannot be read."""
        thumbprint = certificate.fingerprint(hashes.SHA1()).hex().upper()  # noqa: S303 - a name, not a proof
        found = Certificate(_subject(certificate), thumbprint, certificate.not_valid_after_utc, has_key=False)
        self.certificates.setdefault(thumbprint, found)
        self.public.setdefault(thumbprint, _public(certificate))

    def _container(self, data: bytes, passwords: Sequence[bytes]) -> bool:
        cost = 100_000 + _iterations(data)
        for password in (*passwords[:_MOST_TRIES], None, b""):
            if not self.effort.take(cost):
                return False
            try:
                opened = pkcs12.load_pkcs12(data, password)
            except _UNREADABLE:
                continue
            if opened.key is not None and (public := _public(opened.key)):
                self.keys.add(public)
            for each in (opened.cert, *opened.additional_certs):
                if each is not None:
                    try:
                        self._add(each.certificate)
                    except _UNREADABLE:
                        self.broken += 1
            return True
        return False

    def _private_key(self, data: bytes, passwords: Sequence[bytes]) -> bool:
        locked = _shape(data) is _Shape.LOCKED_KEY
        candidates: Sequence[bytes | None] = passwords[:_MOST_TRIES] if locked else (None,)
        return any(self._key(data, password) for password in candidates)

    def _key(self, data: bytes, password: bytes | None, *, pem: bool = False) -> bool:
        """Whether it opens. The check of an RSA key takes as long as the cube of its length."""
        if not self.effort.take(36_000 * len(data) ** 3 // 1_217**3 + (_iterations(data) if not pem else 0)):
            return False
        try:
            key = (load_pem_private_key if pem else load_der_private_key)(data, password)
        except _UNREADABLE:
            return False
        public = _public(key)
        if public:
            self.keys.add(public)
        return bool(public)


def _subject(certificate: x509.Certificate) -> str:
    text = "".join(char if char.isprintable() else "?" for char in certificate.subject.rfc4514_string())
    return text if len(text) <= _LONGEST_SUBJECT else text[: _LONGEST_SUBJECT - 1] + "…"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number:,} {what}s"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _public(holder: x509.Certificate | PrivateKeyTypes) -> bytes:
    """The public key, to be compared; nothing where its kind is not known."""
    try:
        return holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except _UNREADABLE:
        return b""


def _from_base64(text: str) -> bytes:
    """Nothing where it is none."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return b""


# BER, as far as it takes to see what something is and what it costs to open -------------------------------------------

_INTEGER, _BIT_STRING, _OCTETS, _OID, _SEQUENCE = 0x02, 0x03, 0x04, 0x06, 0x30
_CONSTRUCTED = 0x20
_MOST_NESTED = 24
_LONGEST_CONTAINER = 256 * 1024
_PKCS7_DATA = bytes.fromhex("2a864886f70d010701")
_PKCS7_SIGNED = bytes.fromhex("2a864886f70d010702")
_PASSWORD_BASED = (bytes.fromhex("2a864886f70d0105"), bytes.fromhex("2a864886f70d010c01"))  # PKCS#5, PKCS#12


class _Shape(Enum):
    CERTIFICATE = auto()
    CONTAINER = auto()
    LOCKED_KEY = auto()
    KEY = auto()


class _Element(NamedTuple):
    tag: int
    content: bytes
    """Of a constructed element all that is inside, with the marks of its end where its length is not given."""

    def inside(self) -> list[_Element]:
        return _elements(self.content) if self.tag & _CONSTRUCTED else []

    def octets(self) -> bytes:
        """The value of an OCTET STRING, which may come in pieces."""
        return b"".join(each.octets() for each in self.inside()) if self.tag & _CONSTRUCTED else self.content


def _shape(data: bytes) -> _Shape | None:
    """What it looks like, without a promise."""
    outer = _elements(data)
    if not outer or outer[0].tag != _SEQUENCE:
        return None
    parts = outer[0].inside()
    tags = [part.tag for part in parts]
    if tags == [_SEQUENCE, _SEQUENCE, _BIT_STRING]:
        return _Shape.CERTIFICATE
    if tags == [_SEQUENCE, _OCTETS]:
        first = parts[0].inside()[:1]
        return _Shape.LOCKED_KEY if first and first[0].content.startswith(_PASSWORD_BASED) else None
    if tags[:2] == [_INTEGER, _SEQUENCE]:
        first = parts[1].inside()[:1]
        if first and first[0].content in (_PKCS7_DATA, _PKCS7_SIGNED):
            return _Shape.CONTAINER if len(data) <= _LONGEST_CONTAINER else None
        return _Shape.KEY
    if tags[:2] in ([_INTEGER, _INTEGER], [_INTEGER, _OCTETS]):
        return _Shape.KEY
    return None


def _elements(data: bytes) -> list[_Element]:
    """The elements that ``data`` begins with: up to its end, or to what is not BER."""
    found = []
    at = 0
    while (read := _element(data, at)) is not None:
        element, at = read
        found.append(element)
    return found


def _element(data: bytes, at: int, depth: int = 0) -> tuple[_Element, int] | None:
    """The element at ``at``, and where the next one begins. One that is longer than the data ends with them."""
    if at + 2 > len(data) or depth > _MOST_NESTED or data[at] & 0x1F == 0x1F or not data[at]:
        return None
    tag, length, start = data[at], data[at + 1], at + 2
    if length == 0x80:
        end = start
        while (read := _element(data, end, depth + 1)) is not None:
            end = read[1]
        return _Element(tag, data[start:end]), end + 2
    if length > 0x80:
        size = length & 0x7F
        start, length = start + size, int.from_bytes(data[start : start + size])
    return _Element(tag, data[start : start + length]), start + length


def _iterations(data: bytes, depth: int = 0) -> int:
    """How many iterations it asks for to be opened, all in all, as far as that is not itself encrypted.

    In every scheme (PBKDF2, PKCS#12, PBES1, the MAC) they are the integer behind a salt, which is an OCTET STRING.
    Three integers are scrypt's cost, block size and parallelism, whose product counts eightfold, for the memory.
    """
    if depth > _MOST_NESTED:
        return 0
    total = 0
    behind: list[int] | None = None
    for each in (*_elements(data), _Element(_SEQUENCE, b"")):
        if each.tag == _INTEGER and behind is not None:
            behind.append(max(int.from_bytes(each.content, signed=True), 0))
            continue
        if behind:
            total += behind[0] if len(behind) < 3 else 8 * behind[0] * behind[1] * behind[2]
        behind = [] if each.tag & ~_CONSTRUCTED == _OCTETS else None
        if behind is not None:
            total += _iterations(each.octets(), depth + 1)
        elif each.tag & _CONSTRUCTED:
            total += _iterations(each.content, depth + 1)
    return total
