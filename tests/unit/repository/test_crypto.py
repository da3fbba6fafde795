"""Sealing, keys and key files."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import Damaged
from shared.repository.crypto import SEAL_BYTES, KdfCost, MasterKey, derive, read_key_file, write_key_file
from tests.unit.repository.strategies import KEY

CHEAP = KdfCost(n=16, r=1, p=1)
CREATED = "2026-11-23T00:00:00Z"


@given(st.binary(max_size=3000))
def test_what_was_sealed_opens_again_and_is_32_bytes_longer(plain: bytes) -> None:
    sealed = KEY.seal(plain)
    assert len(sealed) == len(plain) + SEAL_BYTES
    assert KEY.open(sealed) == plain
    assert KEY.open(memoryview(sealed)) == plain
    assert KEY.seal(plain) != sealed, "each seal has its own IV"


@given(st.binary(max_size=200), st.data())
def test_a_flipped_bit_anywhere_is_noticed(plain: bytes, data: st.DataObject) -> None:
    sealed = bytearray(KEY.seal(plain))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Damaged):
        KEY.open(bytes(sealed))


@given(st.binary(max_size=200), st.integers(1, 300))
def test_a_missing_end_is_noticed(plain: bytes, cut: int) -> None:
    sealed = KEY.seal(plain)
    with pytest.raises(Damaged):
        KEY.open(sealed[:-cut])


@given(st.binary(max_size=200))
def test_another_key_does_not_open_it(plain: bytes) -> None:
    with pytest.raises(Damaged):
        MasterKey.generate().open(KEY.seal(plain))


def test_a_key_comes_back_from_json_and_shows_nothing_of_itself() -> None:
    key = MasterKey.generate()
    assert MasterKey.from_json(key.to_json()) == key
    assert base64.b64encode(key.encrypt).decode() not in repr(key)
    assert repr(key.encrypt) not in repr(key)


@given(st.text(st.characters(codec="utf-8"), max_size=20))
@settings(max_examples=30)
def test_a_key_file_opens_with_its_password_only(password: str) -> None:
    document = write_key_file(KEY, password, created=CREATED, cost=CHEAP)
    assert read_key_file(document, password) == KEY
    assert read_key_file(document, password + "x") is None
    fields = orjson.loads(document)
    assert len(base64.b64decode(fields["salt"])) == 64
    assert fields["kdf"] == "scrypt"


def test_a_password_with_bytes_that_are_no_utf8_is_used_as_the_environment_holds_it() -> None:
    document = write_key_file(KEY, "caf\udce9", created=CREATED, cost=CHEAP)
    assert read_key_file(document, "caf\udce9") == KEY


@pytest.mark.parametrize(
    "change",
    [
        {"N": 3},
        {"N": 0},
        {"N": -16},
        {"N": "many"},
        {"N": 1 << 40},
        {"r": 1 << 30},
        {"r": 0},
        {"p": 0},
        {"p": 1 << 30},
        {"salt": "not base64!"},
        {"salt": None},
        {"data": 7},
        {"kdf": "argon2"},
    ],
)
def test_a_key_file_with_a_wrong_field_is_damage_and_takes_no_memory(change: dict[str, Any]) -> None:
    fields = orjson.loads(write_key_file(KEY, "secret", created=CREATED, cost=CHEAP))
    with pytest.raises(Damaged):
        read_key_file(orjson.dumps(fields | change), "secret")


@pytest.mark.parametrize("document", [b"", b"garbage", b"[]", b"null", b"{}", b'{"kdf":"scrypt"}', b"\xff\x00"])
def test_what_is_no_key_file_is_damage(document: bytes) -> None:
    with pytest.raises(Damaged):
        read_key_file(document, "secret")


def test_a_key_file_whose_sealed_key_is_no_key_is_damage() -> None:
    salt = b"s" * 64
    fields = {"kdf": "scrypt", "N": 16, "r": 1, "p": 1, "salt": base64.b64encode(salt).decode()}
    data = derive("secret", salt, CHEAP).seal(b'{"mac": 1}')
    with pytest.raises(Damaged):
        read_key_file(orjson.dumps(fields | {"data": base64.b64encode(data).decode()}), "secret")
