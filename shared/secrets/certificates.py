"""Certificates and private keys in texts and bytes: X.509, PKCS#12, PEM, DER, PVK.

Opening what a password protects costs as much time as the file says (iterations). Therefore the iterations are read
from the file before anything is tried, and one search spends at most ``MOST_EFFORT``; what would cost more stays
closed. Not seen are iterations in what is itself encrypted: only who could encrypt it, for a password that is tried,
can write those.

Formats: RFC 5280 (X.509), RFC 7292 (PKCS#12), RFC 5958 (keys), RFC 7468 (PEM).
"""

from __future__ import annotations

import base64
import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

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

from shared.secrets import ber, pvk
from shared.secrets.ber import Shape

MOST_TRIES = 8
"""Passwords that are tried on one container or key."""
MOST_EFFORT = 5_000_000
"""Iterations of key derivation, each about a microsecond; what else takes time is counted in them too."""
_TRY = 10_000
_CHECK_RSA_2048 = 36_000
_RSA_2048_BYTES = 1_217
_LONGEST_CONTAINER = 256 * 1024
_SHORTEST_CERTIFICATE = 128
_LONGEST_SUBJECT = 200
_UNREADABLE = (ValueError, TypeError, OverflowError, UnsupportedAlgorithm, InternalError)
"""What ``cryptography`` raises for a file that it does not understand, or for a wrong password."""

_PEM = re.compile(r"-----BEGIN ([0-9A-Z ]{1,40})-----([^-]*+(?:-(?!----)[^-]*+)*+)-----END \1-----")
_CERTIFICATE_LABELS = ("CERTIFICATE", "X509 CERTIFICATE")
_KEY_LABELS = ("PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "DSA PRIVATE KEY")
_BASE64_OF_DER = re.compile(r"MI[0-9A-Za-z+/_\s-]+={0,2}\Z")


@dataclass(frozen=True, slots=True)
class Certificate:
    subject: str
    """As RFC 4514 writes it, at most 200 characters."""
    thumbprint: str
    """SHA-1, 40 upper-case hexadecimal digits, as SQL Server and Windows show it."""
    not_after: datetime
    """Aware UTC."""
    has_key: bool
    """Its private key is there too, and was opened and compared with it."""


@dataclass(slots=True)
class Effort:
    """What may still be spent."""

    left: int = MOST_EFFORT
    refused: bool = False
    """Something stayed closed for what it would have cost."""

    def take(self, cost: int) -> bool:
        if cost > self.left:
            self.refused = True
            return False
        self.left -= cost
        return True


@dataclass(slots=True)
class Search:
    """What was found so far. Nothing is raised, whatever is looked at."""

    effort: Effort = field(default_factory=Effort)
    keys: set[bytes] = field(default_factory=set)
    """Public keys of the private keys that could be opened."""
    closed: int = 0
    """Private keys that could not be opened."""
    sealed: int = 0
    """PKCS#12 containers that could not be opened."""
    broken: int = 0
    """Certificates that could not be read."""
    _found: dict[str, tuple[Certificate, bytes]] = field(default_factory=dict)
    """By thumbprint, with the public key; nothing for one whose kind is not known."""

    @property
    def has_keys(self) -> bool:
        return bool(self.keys or self.closed)

    def certificates(self, keys: Sequence[bytes] | set[bytes] = ()) -> tuple[Certificate, ...]:
        """In the order in which they came, each once; ``has_key`` by the keys found here and ``keys``."""
        return tuple(
            replace(found, has_key=public in self.keys or public in keys) for found, public in self._found.values()
        )

    def file(self, content: bytes, passwords: Sequence[bytes]) -> None:
        """Look into a file, in whatever format."""
        if content.startswith(pvk.MAGIC):
            self._pvk(content, passwords)
        elif content.startswith(b"\x30"):
            self._der(content, passwords)
        else:
            wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            self.text(content.decode("utf-16" if wide else "utf-8-sig", "replace"), passwords)

    def text(self, text: str, passwords: Sequence[bytes]) -> None:
        """Look into a string: PEM, or base64 of DER."""
        if "-----BEGIN " in text:
            for label, body in _PEM.findall(text):
                self._pem(label, body, passwords)
        elif len(text) >= _SHORTEST_CERTIFICATE and _BASE64_OF_DER.match(stripped := text.strip()):
            self._der(_from_base64(stripped.replace("-", "+").replace("_", "/")), passwords)

    def _pem(self, label: str, body: str, passwords: Sequence[bytes]) -> None:
        if label in _CERTIFICATE_LABELS:
            self._certificate(_from_base64(body))
        elif label in _KEY_LABELS and "Proc-Type:" in body:
            block = f"-----BEGIN {label}-----{body}-----END {label}-----\n".encode("utf-8", "replace")
            self._locked_pem(block, passwords)
        elif label in _KEY_LABELS:
            self._private_key(_from_base64(body), passwords)

    def _der(self, data: bytes, passwords: Sequence[bytes]) -> None:
        kind = ber.shape(data)
        if kind is Shape.CERTIFICATE:
            self._certificate(data)
        elif kind is Shape.CONTAINER:
            self._container(data, passwords)
        elif kind is Shape.LOCKED_KEY:
            self._private_key(data, passwords)
        elif kind is Shape.KEY and (key := self._opened(data, None)):
            self.keys.add(key)  # anything else that looks like one may as well be something else

    def _certificate(self, data: bytes) -> None:
        try:
            self._add(x509.load_der_x509_certificate(data))
        except _UNREADABLE:
            self.broken += 1

    def _add(self, certificate: x509.Certificate) -> None:
        """Any of ``_UNREADABLE`` where it has fields that cannot be read."""
        thumbprint = certificate.fingerprint(hashes.SHA1()).hex().upper()  # noqa: S303 - a name, not a proof
        found = Certificate(_subject(certificate), thumbprint, certificate.not_valid_after_utc, has_key=False)
        self._found.setdefault(thumbprint, (found, _public(certificate)))

    def _container(self, data: bytes, passwords: Sequence[bytes]) -> None:
        cost = _TRY + ber.iterations(data) if len(data) <= _LONGEST_CONTAINER else MOST_EFFORT + 1
        for password in (*passwords[:MOST_TRIES], None, b""):
            if not self.effort.take(cost):
                break
            try:
                opened = pkcs12.load_pkcs12(data, password)
            except _UNREADABLE:
                continue
            self.effort.take(_CHECK_RSA_2048)
            if opened.key is not None and (key := _public(opened.key)):
                self.keys.add(key)
            for each in (opened.cert, *opened.additional_certs):
                if each is not None:
                    try:
                        self._add(each.certificate)
                    except _UNREADABLE:
                        self.broken += 1
            return
        self.sealed += 1

    def _private_key(self, data: bytes, passwords: Sequence[bytes]) -> None:
        locked = ber.shape(data) is Shape.LOCKED_KEY
        for password in passwords[:MOST_TRIES] if locked else (None,):
            if key := self._opened(data, password):
                self.keys.add(key)
                return
        self.closed += 1

    def _locked_pem(self, block: bytes, passwords: Sequence[bytes]) -> None:
        """A key as OpenSSL wrote it before PKCS#8: one iteration."""
        for password in passwords[:MOST_TRIES]:
            if key := self._opened(block, password, pem=True):
                self.keys.add(key)
                return
        self.closed += 1

    def _pvk(self, data: bytes, passwords: Sequence[bytes]) -> None:
        key = pvk.open_pvk(data, passwords[:MOST_TRIES]) if self.effort.take(_cost_of_check(data)) else None
        if key is not None:
            self.keys.add(_public(key))
        elif pvk.is_locked(data):
            self.closed += 1

    def _opened(self, data: bytes, password: bytes | None, *, pem: bool = False) -> bytes:
        """The public key of a private one; nothing where it does not open."""
        if not self.effort.take(_cost_of_check(data) + (0 if pem else ber.iterations(data))):
            return b""
        try:
            return _public((load_pem_private_key if pem else load_der_private_key)(data, password))
        except _UNREADABLE:
            return b""


def _cost_of_check(data: bytes) -> int:
    """Of an RSA key, which is checked when it is read: it grows with the cube of its length."""
    return _CHECK_RSA_2048 * len(data) ** 3 // _RSA_2048_BYTES**3


def _subject(certificate: x509.Certificate) -> str:
    text = "".join(char if char.isprintable() else "?" for char in certificate.subject.rfc4514_string())
    return text if len(text) <= _LONGEST_SUBJECT else text[: _LONGEST_SUBJECT - 1] + "…"


def _public(holder: x509.Certificate | PrivateKeyTypes) -> bytes:
    """The public key, to be compared; nothing where its kind is not known, which ``_opened`` takes for closed."""
    try:
        return holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except _UNREADABLE:
        return b""


def _from_base64(text: str) -> bytes:
    """Nothing where it is none."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        return b""
