"""A changed message is never taken, whatever protects it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.smb.protection import CIPHERS, SIGNING_ALGORITHMS, Forged, Sealing, Signing

KEY = bytes(range(16))
ALGORITHMS = sorted(SIGNING_ALGORITHMS.values())


def key_for(cipher: str, first: int) -> bytes:
    return bytes(range(first, first + (32 if "256" in cipher else 16)))


def sealed(cipher: str, plain: bytes) -> bytes:
    """What the server sends: it seals with the key that we open with."""
    server = Sealing(cipher, key_for(cipher, 100), key_for(cipher, 1), 42)
    return b"".join(server.protect([bytearray(plain)], [1]))


def client(cipher: str) -> Sealing:
    return Sealing(cipher, key_for(cipher, 1), key_for(cipher, 100), 42)


@pytest.mark.parametrize("cipher", sorted(CIPHERS.values()))
@pytest.mark.parametrize("offset", [0, 4, 21])
def test_what_was_sealed_opens_in_place_and_the_bytes_around_it_stay(cipher: str, offset: int) -> None:
    frame = sealed(cipher, b"message" * 100)
    around = bytes(range(200, 232))
    buffer = bytearray(around[:offset] + frame + around)
    before = bytes(buffer)
    view = memoryview(buffer)
    assert client(cipher).open(view, offset, offset + len(frame)) == b"message" * 100
    assert buffer == before


@pytest.mark.parametrize("cipher", sorted(CIPHERS.values()))
@given(data=st.data())
def test_a_sealed_frame_with_any_bit_turned_does_not_open(cipher: str, data: st.DataObject) -> None:
    frame = bytearray(sealed(cipher, b"message" * 10))
    nonce_unused = range(32, 36) if "gcm" in cipher else range(31, 36)
    position = data.draw(st.integers(0, len(frame) - 1).filter(lambda at: at not in nonce_unused))
    frame[position] ^= 1 << data.draw(st.integers(0, 7))
    buffer = frame + bytes(16)
    with pytest.raises(Forged):
        client(cipher).open(memoryview(buffer), 0, len(frame))


def test_a_message_in_the_clear_is_not_taken_for_a_sealed_one() -> None:
    buffer = bytearray(b"\xfeSMB" + bytes(200))
    with pytest.raises(Forged):
        client("aes-128-gcm").open(memoryview(buffer), 0, 180)


def test_no_nonce_comes_twice() -> None:
    sealing = client("aes-128-gcm")
    frames = [b"".join(sealing.protect([bytearray(b"x")], [1])) for _ in range(1000)]
    assert len({frame[20:32] for frame in frames}) == 1000


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(data=st.data())
def test_a_signed_reply_with_any_bit_turned_is_refused(algorithm: str, data: st.DataObject) -> None:
    signing = Signing(algorithm, KEY)
    message = bytearray(b"\xfeSMB" + bytes(60) + b"content of the message")
    message[48:64] = signing._mac(message, 7, True)
    signing.verify(memoryview(bytearray(message)), 7)
    position = data.draw(st.integers(0, len(message) - 1))
    message[position] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(Forged):
        signing.verify(memoryview(message), 7)


def test_a_request_sent_back_is_no_reply() -> None:
    signing = Signing("aes-128-gmac", KEY)
    (message,) = signing.protect([bytearray(b"\xfeSMB" + bytes(80))], [7])
    with pytest.raises(Forged):
        signing.verify(memoryview(bytearray(message)), 7)


def test_a_signature_known_from_elsewhere() -> None:
    """RFC 4493, example 2, through our CMAC; so that a mistake cannot hide in using it both ways."""
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    message = bytes.fromhex("6bc1bee22e409f96e93d7e117393172a")
    signature = Signing("aes-128-cmac", key)._mac(bytearray(message), 0, False)
    assert signature.hex() == "070a16b46b4d4144f79bdd9dd04a287c"
