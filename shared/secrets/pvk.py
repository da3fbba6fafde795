"""PVK: Microsoft's file of one RSA private key, as SQL Server's BACKUP CERTIFICATE writes it.

    24 bytes  magic, reserved, kind, 1 where it is encrypted, length of the salt, length of the blob
    salt
    blob      8 bytes of header; then, encrypted: "RSA2", length in bits, public exponent, modulus, p, q, d mod (p-1),
              d mod (q-1), 1/q mod p, d; all little-endian

The cipher is RC4 with the first 16 bytes of SHA-1(salt + password); in files for export, only 5 of those, then zeros.
The blob is the PRIVATEKEYBLOB of the CryptoAPI ("RSA/Schannel Key BLOBs").
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.decrepit.ciphers.algorithms import ARC4
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPrivateNumbers, RSAPublicNumbers
from cryptography.hazmat.primitives.ciphers import Cipher

MAGIC = b"\x1e\xf1\xb5\xb0"
_HEADER = struct.Struct("<4sIIIII")
_BLOB_HEADER_BYTES = 8
_RSA = struct.Struct("<4sII")
_SHORTEST_BITS, _LONGEST_BITS = 512, 8192


def open_pvk(data: bytes, passwords: Iterable[bytes]) -> RSAPrivateKey | None:
    """The key; None where no password opens it, or it is damaged. No exception for whatever the bytes are."""
    if len(data) < _HEADER.size or not data.startswith(MAGIC):
        return None
    _, _, _, encrypted, salt_bytes, blob_bytes = _HEADER.unpack_from(data)
    salt = data[_HEADER.size :][:salt_bytes]
    blob = data[_HEADER.size + salt_bytes + _BLOB_HEADER_BYTES :][: max(blob_bytes - _BLOB_HEADER_BYTES, 0)]
    if not encrypted:
        return _rsa(blob)
    for password in passwords:
        digest = hashlib.sha1(salt + password, usedforsecurity=False).digest()
        for rc4_key in (digest[:16], digest[:5].ljust(16, b"\0")):
            if (key := _rsa(_rc4(rc4_key, blob))) is not None:
                return key
    return None


def is_locked(data: bytes) -> bool:
    """It is whole and encrypted: a password may open it."""
    if len(data) < _HEADER.size or not data.startswith(MAGIC):
        return False
    _, _, _, encrypted, salt_bytes, blob_bytes = _HEADER.unpack_from(data)
    whole = _HEADER.size + salt_bytes + blob_bytes <= len(data) and blob_bytes > _BLOB_HEADER_BYTES + _RSA.size
    return bool(encrypted) and whole


def _rc4(key: bytes, data: bytes) -> bytes:
    """Nothing where this machine's library does not do RC4."""
    try:
        return Cipher(ARC4(key), mode=None).decryptor().update(data)
    except UnsupportedAlgorithm:
        return b""


def _rsa(blob: bytes) -> RSAPrivateKey | None:
    """A key only if its numbers are those of one RSA key."""
    if len(blob) < _RSA.size:
        return None
    magic, bits, exponent = _RSA.unpack_from(blob)
    half = bits // 16
    if magic != b"RSA2" or bits % 16 or not _SHORTEST_BITS <= bits <= _LONGEST_BITS or len(blob) < _RSA.size + 9 * half:
        return None
    numbers = []
    at = _RSA.size
    for size in (2 * half, half, half, half, half, half, 2 * half):
        numbers.append(int.from_bytes(blob[at : at + size], "little"))
        at += size
    modulus, p, q, dmp1, dmq1, iqmp, d = numbers
    try:
        return RSAPrivateNumbers(p, q, d, dmp1, dmq1, iqmp, RSAPublicNumbers(exponent, modulus)).private_key()
    except ValueError:
        return None
