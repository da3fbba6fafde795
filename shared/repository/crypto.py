"""Sealing: AES-256-CTR and Poly1305-AES, and the key that scrypt derives from the password.

restic, doc/design.rst, "Keys, Encryption and MAC". Sealed bytes are ``IV (16) + ciphertext + tag (16)``; the Poly1305
key is ``r + AES128(k, IV)``. OpenSSL clamps ``r`` by itself, so it is kept as it is.
"""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from dataclasses import dataclass, field

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

from shared.errors import Damaged

IV_BYTES = 16
TAG_BYTES = 16
SEAL_BYTES = IV_BYTES + TAG_BYTES
"""How much longer the sealed form is."""


class _Ciphers(threading.local):
    """Cipher contexts are costly to make and not safe to share, so each thread keeps its own."""

    stream: CipherContext | None = None
    nonce: CipherContext | None = None


@dataclass(frozen=True, slots=True)
class MasterKey:
    """The key that everything in a repository is sealed with. May be used from several threads."""

    encrypt: bytes = field(repr=False)
    """32 bytes, AES-256-CTR."""
    mac_k: bytes = field(repr=False)
    """16 bytes, AES-128 of the nonce."""
    mac_r: bytes = field(repr=False)
    """16 bytes, Poly1305's r, not clamped."""
    _ciphers: _Ciphers = field(default_factory=_Ciphers, repr=False, compare=False)

    @classmethod
    def generate(cls) -> MasterKey:
        return cls(os.urandom(32), os.urandom(16), os.urandom(16))

    @classmethod
    def from_bytes(cls, derived: bytes) -> MasterKey:
        """From the 64 bytes that scrypt yields: encrypt, k, r."""
        return cls(derived[:32], derived[32:48], derived[48:64])

    def _contexts(self) -> tuple[CipherContext, CipherContext]:
        mine = self._ciphers
        if mine.stream is None or mine.nonce is None:
            mine.stream = Cipher(algorithms.AES(self.encrypt), modes.CTR(bytes(16))).encryptor()
            # ECB of one block is how Poly1305-AES is defined: the block is a nonce, never data.
            mine.nonce = Cipher(algorithms.AES(self.mac_k), modes.ECB()).encryptor()  # noqa: S305
        return mine.stream, mine.nonce

    def seal(self, plain: bytes | memoryview) -> bytes:
        """``plain`` encrypted under a fresh random IV, with its tag."""
        stream, nonce = self._contexts()
        iv = os.urandom(IV_BYTES)
        stream.reset_nonce(iv)
        cipher = stream.update(plain)
        return b"".join((iv, cipher, Poly1305.generate_tag(self.mac_r + nonce.update(iv), cipher)))

    def open(self, sealed: bytes | memoryview) -> bytes:
        """What was sealed. ``Damaged`` when a bit of it is not as it was written, or another key sealed it."""
        if len(sealed) < SEAL_BYTES:
            raise Damaged(f"sealed data is {len(sealed)} bytes long, at least {SEAL_BYTES} are needed")
        stream, nonce = self._contexts()
        view = memoryview(sealed)
        iv, cipher, tag = bytes(view[:IV_BYTES]), view[IV_BYTES:-TAG_BYTES], bytes(view[-TAG_BYTES:])
        try:
            Poly1305.verify_tag(self.mac_r + nonce.update(iv), cipher, tag)
        except InvalidSignature:
            raise Damaged("sealed data does not carry its authentication tag") from None
        stream.reset_nonce(iv)
        return stream.update(cipher)

    def to_json(self) -> bytes:
        return orjson.dumps({"mac": {"k": _b64(self.mac_k), "r": _b64(self.mac_r)}, "encrypt": _b64(self.encrypt)})

    @classmethod
    def from_json(cls, document: bytes) -> MasterKey:
        """``ValueError`` (JSON, base64, lengths), ``KeyError`` and ``TypeError`` when it is no master key."""
        fields = orjson.loads(document)
        key = cls(
            base64.b64decode(fields["encrypt"]),
            base64.b64decode(fields["mac"]["k"]),
            base64.b64decode(fields["mac"]["r"]),
        )
        if (len(key.encrypt), len(key.mac_k), len(key.mac_r)) != (32, 16, 16):
            raise ValueError("a part of the key has another length")
        return key


@dataclass(frozen=True, slots=True)
class KdfCost:
    """scrypt's cost. The default is what restic writes on a machine of today: some 0.1 s and 32 MiB."""

    n: int = 32768
    r: int = 8
    p: int = 1


MOST_KDF_BYTES = 512 << 20
MOST_KDF_WORK = 1 << 26
"""What a key file may ask for, far above what any restic writes: more memory, or more work (N * r * p) is refused."""


def derive(password: str, salt: bytes, cost: KdfCost) -> MasterKey:
    """The key that a password stands for (RFC 7914; 64 bytes: encrypt, k, r). ``Damaged``: no such cost.

    Bytes of the environment that are no UTF-8 count as they are, as for restic.
    """
    room = 128 * cost.r * (cost.n + cost.p + 2) + (1 << 20)
    if room > MOST_KDF_BYTES or cost.n * cost.r * cost.p > MOST_KDF_WORK:
        raise Damaged(f"a key file asks for scrypt with N={cost.n}, r={cost.r}, p={cost.p}, more than any restic does")
    secret = password.encode("utf-8", "surrogateescape")
    try:
        return MasterKey.from_bytes(
            hashlib.scrypt(secret, salt=salt, n=cost.n, r=cost.r, p=cost.p, dklen=64, maxmem=room)
        )
    except (ValueError, TypeError, OverflowError) as error:
        raise Damaged(
            f"a key file asks for scrypt with N={cost.n}, r={cost.r}, p={cost.p}, which cannot be: {error}"
        ) from error


def write_key_file(master: MasterKey, password: str, *, created: str, cost: KdfCost | None = None) -> bytes:
    """A key file: the master key sealed with what ``password`` derives. Its blob is named ``keys/SHA256``."""
    cost = cost or KdfCost()
    salt = os.urandom(64)
    data = derive(password, salt, cost).seal(master.to_json())
    return orjson.dumps(
        {
            "created": created,
            "username": "lifeboat",
            "hostname": "lifeboat",
            "kdf": "scrypt",
            "N": cost.n,
            "r": cost.r,
            "p": cost.p,
            "salt": _b64(salt),
            "data": _b64(data),
        }
    )


def read_key_file(key_file: bytes, password: str) -> MasterKey | None:
    """The master key, or None when the password is not the one of this file. ``Damaged`` if it is no key file."""
    try:
        fields = orjson.loads(key_file)
        if fields["kdf"] != "scrypt":
            raise Damaged(f"the key file asks for {fields['kdf']!r}, only scrypt is known")
        cost = KdfCost(int(fields["N"]), int(fields["r"]), int(fields["p"]))
        salt, data = base64.b64decode(fields["salt"]), base64.b64decode(fields["data"])
    except (orjson.JSONDecodeError, KeyError, ValueError, TypeError) as error:
        raise Damaged(f"a key file cannot be read: {error}") from error
    derived = derive(password, salt, cost)
    try:
        document = derived.open(data)
    except Damaged:
        return None
    try:
        return MasterKey.from_json(document)
    except (orjson.JSONDecodeError, KeyError, ValueError, TypeError) as error:
        raise Damaged(f"a key file holds no master key: {error!r}") from error


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
