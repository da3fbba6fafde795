"""What an uploaded file is, as far as a restore is concerned: whether it can be SystemSecrets.JSON, which certificates
it holds, until when they are valid, and whether their private keys are there.

SystemSecrets.JSON has no documented schema and is kept byte for byte, so no more is demanded of it than that it is a
JSON object which arrived whole. What is found in it is told to people; nothing depends on it.

No exception, note or repr made here holds anything of a file's content but the subjects of certificates. Exceptions of
the JSON and text decoders hold the whole document: none leaves this module, not even as a context.
"""

from __future__ import annotations

import codecs
import json
import re
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

from shared.errors import SecretsFileError
from shared.secrets.certificates import MOST_EFFORT, MOST_TRIES, Certificate, Search
from shared.secrets.pvk import MAGIC as PVK

__all__ = ["MOST_BYTES", "Certificate", "Findings", "check_system_secrets", "find_in_file", "find_in_system_secrets"]

MOST_BYTES = 1024 * 1024
"""Of a file."""

_MOST_DEPTH = 100
"""Of JSON: far more than any file for people has, and far less than the decoder's recursion can bear."""


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


def check_system_secrets(content: bytes, filename: str = "SystemSecrets.JSON") -> None:
    """``SecretsFileError``, naming ``filename``, unless ``content`` is a JSON object with something in it, of at
    most ``MOST_BYTES``.

    In UTF-8, or with a byte order mark in UTF-16. A file that was written by PowerShell's ``>`` is UTF-16; it has all
    that the download had, and PowerShell and .NET read it. Refused, it might be all that is left, and not be saved.
    """
    problem = _size_problem(content)
    if problem is None:
        problem = _document(content)[1]
    if problem is not None:
        remedy = _KEEP_BESIDE if _is_certificate_or_key(content) else problem.remedy
        raise SecretsFileError(f"{filename} {problem.what}", remedy=remedy)


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
    search = Search()
    passwords = sum(_see(*found, search) for found in _strings(document, "", ()))
    notes = []
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        notes.append(
            "the file is UTF-16, as PowerShell's > writes it, so it is probably not the download itself: to be sure, "
            "download it again and upload that"
        )
    if search.sealed:
        notes.append(
            f"PKCS#12 in it that could not be opened with the passwords beside it: {search.sealed}; when those "
            "certificates expire is not known"
        )
    return Findings(search.certificates(), passwords, (*notes, *_more(search)))


_KEEP_BESIDE = (
    "This looks like a certificate or a private key. Such files are kept beside SystemSecrets.JSON: secrets put FILE "
    "--name NAME for a certificate, NAME-key for its private key, NAME-password for their password."
)
_PEM = re.compile(rb"^-----BEGIN ", re.MULTILINE)
_DER = re.compile(rb"0[\x80-\x84]")
"""A sequence whose length takes more than one byte; no text in UTF-8 begins so."""


def _is_certificate_or_key(content: bytes) -> bool:
    return bool(content.startswith(PVK) or _DER.match(content) or _PEM.search(content))


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
        return None, _Problem(f"is empty: nothing but white space in {len(content):,} bytes")
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
        at, reason = error.start, error.reason
    if reason in ("unexpected end of data", "truncated data"):
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


_DECODER = json.JSONDecoder(
    object_pairs_hook=_Object,
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

_LONGEST_PASSWORD = 1024
_PASSWORD = re.compile(r"pass|pwd|secret", re.IGNORECASE)
_SECRET = re.compile(
    r"passw|pwd|passphrase|secret|credential|token|conn(ection)?str(ing)?|(?<!public)keys?\d*\Z|signature|sas\Z"
)
_NOT_LETTERS = re.compile(r"[^0-9a-z]+")


_Beside = tuple[bytes, ...]
"""The passwords around a string, nearest first, as many as are tried."""


def _see(name: str, text: str, beside: _Beside, search: Search) -> int:
    """Look into a string, and into the JSON that it may hold; how many fields of it look like secrets."""
    inner = text.strip()
    if inner.startswith(("{", "[")) and _depth(inner) <= _MOST_DEPTH:
        document, problem = _json(inner, len(inner))
        if problem is None:
            parts = list(_strings(document, "", beside))
            for _, part, around in parts:
                search.text(part, around)
            return _is_secret(name, text) + sum(_is_secret(part_name, part) for part_name, part, _ in parts)
    search.text(text, beside)
    return _is_secret(name, text)


def _is_secret(name: str, text: str) -> bool:
    return bool(text) and _SECRET.search(_NOT_LETTERS.sub("", name.lower())) is not None


def _strings(value: object, name: str, beside: _Beside) -> Iterator[tuple[str, str, _Beside]]:
    """Each string with the name of its field; those in a list have the list's."""
    if isinstance(value, str):
        yield name, value, beside
    elif isinstance(value, list):
        for member in value:
            yield from _strings(member, name, beside)
    elif isinstance(value, _Object):
        passwords = [
            (place, _encoded(text))
            for place, (field_name, text) in enumerate(value)
            if isinstance(text, str) and 0 < len(text) <= _LONGEST_PASSWORD and _PASSWORD.search(field_name)
        ]
        for place, (field_name, member) in enumerate(value):
            yield from _strings(member, field_name, (*_nearest(passwords, place), *beside)[:MOST_TRIES])


def _nearest(passwords: list[tuple[int, bytes]], place: int) -> _Beside:
    """Of the passwords of an object those nearest to the member at ``place``, but that member."""
    middle = bisect(passwords, place, key=itemgetter(0))
    window = passwords[max(middle - MOST_TRIES - 1, 0) : middle + MOST_TRIES]
    return tuple(text for at, text in sorted(window, key=lambda one: abs(one[0] - place)) if at != place)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")  # a lone surrogate is in no password


# Certificate files ----------------------------------------------------------------------------------------------------


def find_in_file(content: bytes, *, key: bytes | None = None, password: bytes | None = None) -> Findings:
    """What a kept file is: certificates (PEM, DER, PKCS#12), a private key (PEM, DER, PVK), or neither, which is fine.

    ``key`` and ``password`` are what is kept beside it as NAME-key and NAME-password; line ends and a byte order mark
    around the password do not belong to it. A key that cannot be opened does not count: it may be any.
    """
    passwords = (_password(password),) if password is not None else ()
    search = Search()
    search.file(content, passwords)
    notes = [*_sealed(search, password), *_more(search)]
    if not search.certificates():
        return Findings(notes=tuple(notes), is_key=search.has_keys)
    companion = Search(effort=search.effort)
    if key is not None:
        companion.file(key, passwords)
        if not companion.has_keys:
            notes.append("what is kept as NAME-key is no private key that can be recognised (PVK, PEM or DER)")
    certificates, about_key = _with_key(search, companion, password)
    return Findings(certificates, 0, (*notes, *about_key))


def _with_key(
    search: Search, companion: Search, password: bytes | None
) -> tuple[tuple[Certificate, ...], tuple[str, ...]]:
    """Which of them have a key, and what is to be said where none has: only a key that was opened can be compared."""
    certificates = search.certificates(companion.keys)
    if any(each.has_key for each in certificates):
        return certificates, ()
    if search.closed or companion.closed:
        return certificates, (
            f"the private key could not be opened ({_why(search, password)}), so it could not be compared with the "
            "certificate and does not count: keep the right password as NAME-password, or convert the key to PEM or "
            "PKCS#12 (PFX) and keep that",
        )
    if search.keys or companion.keys:
        return certificates, ("the private key that is kept with it belongs to another certificate",)
    return certificates, ()


def _why(search: Search, password: bytes | None) -> str:
    if search.effort.refused:
        return f"that would take more than {MOST_EFFORT:,} iterations, so it was not tried to the end"
    return "its password is not kept as NAME-password" if password is None else "NAME-password does not open it"


def _sealed(search: Search, password: bytes | None) -> tuple[str, ...]:
    if not search.sealed:
        return ()
    return (
        f"it is PKCS#12 and could not be opened ({_why(search, password)}): keep the right password as NAME-password, "
        "for nobody can use the file without it on the day of a restore, and Lifeboat cannot tell what is in it, nor "
        "when it expires",
    )


def _more(search: Search) -> tuple[str, ...]:
    return (f"certificates in it that cannot be read and are passed over: {search.broken}",) if search.broken else ()


def _password(content: bytes) -> bytes:
    """The password in a text file."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        content = content.decode("utf-16", "replace").encode()
    return content.removeprefix(codecs.BOM_UTF8).rstrip(b"\r\n")
