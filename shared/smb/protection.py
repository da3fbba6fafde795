"""What keeps messages from being changed or read on the way: signing and encryption, by dialect.

[MS-SMB2] 3.1.4.1 (signing), 3.1.4.3 (encryption), 3.1.5.1 (verifying). A session uses either ``Signing`` or
``Sealing`` for everything; a reply that does not hold is ``Forged`` and is never returned.
"""

from __future__ import annotations

import hmac
import os
import struct
from collections.abc import Callable, Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM

from shared.smb.wire import NO_SIGNATURE, SIGNATURE_AT, TRANSFORM_BYTES, TRANSFORM_PROTOCOL

HMAC_SHA256: Final = "hmac-sha256"
AES_128_CMAC: Final = "aes-128-cmac"
AES_128_GMAC: Final = "aes-128-gmac"
SIGNING_ALGORITHMS: Final = {0: HMAC_SHA256, 1: AES_128_CMAC, 2: AES_128_GMAC}
"""2.2.3.1.7 SigningAlgorithms"""
CIPHERS: Final = {1: "aes-128-ccm", 2: "aes-128-gcm", 3: "aes-256-ccm", 4: "aes-256-gcm"}
"""2.2.3.1.2 Ciphers"""

_TRANSFORM: Final = struct.Struct("<16sIHHQ")

Mac = Callable[[memoryview | bytearray, int, bool], bytes]
"""(message with its signature zeroed, message id, whether it is a reply) -> 16 bytes"""


class Forged(Exception):
    """A reply's signature or tag does not fit: it was changed on the way, or is from somebody else."""


class Signing:
    """Messages in the clear, each with a signature."""

    def __init__(self, algorithm: str, key: bytes) -> None:
        self.algorithm = algorithm
        self._mac = _MACS[algorithm](key)

    def protect(self, messages: Sequence[bytearray], ids: Sequence[int]) -> list[bytes | bytearray]:
        """Sign each message in place; their bytes in order are the frame's content."""
        for message, message_id in zip(messages, ids, strict=True):
            message[SIGNATURE_AT : SIGNATURE_AT + 16] = self._mac(message, message_id, False)
        return list(messages)

    def verify(self, message: memoryview, message_id: int) -> None:
        """``Forged`` unless the signature fits. Zeroes it in the buffer, so that nothing has to be copied."""
        signature = bytes(message[SIGNATURE_AT : SIGNATURE_AT + 16])
        message[SIGNATURE_AT : SIGNATURE_AT + 16] = NO_SIGNATURE
        if not hmac.compare_digest(self._mac(message, message_id, True), signature):
            raise Forged(f"the signature of message {message_id} does not fit ({self.algorithm})")


class Sealing:
    """Messages encrypted, a compound at a time."""

    def __init__(self, cipher: str, seal_key: bytes, open_key: bytes, session_id: int) -> None:
        self.algorithm = cipher
        kind = AESGCM if cipher.endswith("gcm") else AESCCM
        self._nonce_bytes = 12 if kind is AESGCM else 11
        self._seal = kind(seal_key)
        self._open = kind(open_key)
        self._session_id = session_id
        self._count = 0
        self._tail = os.urandom(self._nonce_bytes - 8)

    def protect(self, messages: Sequence[bytearray], ids: Sequence[int]) -> list[bytes | bytearray]:
        """One TRANSFORM_HEADER (2.2.41) and the ciphertext. No nonce comes twice: it counts."""
        plain = messages[0] if len(messages) == 1 else b"".join(messages)
        self._count += 1
        nonce = self._count.to_bytes(8, "little") + self._tail
        authenticated = _TRANSFORM.pack(nonce, len(plain), 0, 1, self._session_id)
        sealed = self._seal.encrypt(nonce, plain, authenticated)
        return [TRANSFORM_PROTOCOL + sealed[-16:] + authenticated, memoryview(sealed)[:-16]]  # type: ignore[list-item]  # all buffers join

    def open(self, view: memoryview, start: int, end: int) -> bytes:
        """The plaintext of the frame ``view[start:end]``; ``Forged`` if its tag does not fit.

        ``view`` must reach 16 bytes beyond ``end``: the tag is put there for the moment, so that nothing is copied.
        """
        if end - start <= TRANSFORM_BYTES or bytes(view[start : start + 4]) != TRANSFORM_PROTOCOL:
            raise Forged("a reply came in the clear on an encrypted session")
        nonce, size, _, flags, session_id = _TRANSFORM.unpack_from(view, start + 20)
        if flags != 1 or session_id != self._session_id or size != end - start - TRANSFORM_BYTES:
            raise Forged("an encrypted reply is not of this session")
        beyond = bytes(view[end : end + 16])
        view[end : end + 16] = view[start + 4 : start + 20]
        try:
            return self._open.decrypt(
                nonce[: self._nonce_bytes], view[start + TRANSFORM_BYTES : end + 16], view[start + 20 : start + 52]
            )
        except InvalidTag as error:
            raise Forged(f"an encrypted reply does not open ({self.algorithm})") from error
        finally:
            view[end : end + 16] = beyond


def _hmac_sha256(key: bytes) -> Mac:
    def mac(message: memoryview | bytearray, message_id: int, reply: bool) -> bytes:
        return hmac.digest(key, message, "sha256")[:16]

    return mac


def _aes_cmac(key: bytes) -> Mac:
    from cryptography.hazmat.primitives.ciphers.algorithms import AES
    from cryptography.hazmat.primitives.cmac import CMAC

    keyed = CMAC(AES(key))

    def mac(message: memoryview | bytearray, message_id: int, reply: bool) -> bytes:
        one = keyed.copy()
        one.update(message)  # type: ignore[arg-type]  # takes any buffer, its stub says bytes
        return one.finalize()

    return mac


def _aes_gmac(key: bytes) -> Mac:
    encrypt = AESGCM(key).encrypt

    def mac(message: memoryview | bytearray, message_id: int, reply: bool) -> bytes:
        nonce = message_id.to_bytes(8, "little") + (b"\1\0\0\0" if reply else b"\0\0\0\0")
        return encrypt(nonce, b"", message)

    return mac


_MACS: Final[dict[str, Callable[[bytes], Mac]]] = {
    HMAC_SHA256: _hmac_sha256,
    AES_128_CMAC: _aes_cmac,
    AES_128_GMAC: _aes_gmac,
}
