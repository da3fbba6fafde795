"""Packs: what is built is parsed again, and what is no pack is damage."""

from __future__ import annotations

import hashlib
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors import Damaged
from shared.repository.packs import (
    MOST_BLOBS,
    SealedBlob,
    build_pack,
    pack_name,
    packed_bytes,
    parse_pack,
)
from tests.unit.repository.strategies import KEY, blob_ids

blobs = st.lists(
    st.builds(SealedBlob, blob_ids, st.binary(min_size=32, max_size=200), st.integers(0, 2**32 - 1)), max_size=12
)


@given(blobs, st.booleans())
def test_a_pack_lists_what_was_put_into_it(sealed: list[SealedBlob], tree: bool) -> None:
    pack, body = build_pack(KEY, sealed, tree=tree)
    assert pack.id == hashlib.sha256(body).digest()
    assert parse_pack(KEY, body) == list(pack.blobs)
    compressed = sum(1 for blob in sealed if blob.plain_length)
    assert packed_bytes(sum(len(blob.sealed) for blob in sealed), len(sealed), compressed) == len(body)
    for blob, indexed in zip(sealed, pack.blobs, strict=True):
        assert body[indexed.offset : indexed.offset + indexed.length] == blob.sealed
        assert (indexed.id, indexed.is_tree, indexed.plain_length) == (blob.id, tree, blob.plain_length)


@given(st.binary(max_size=300))
@example(struct.pack("<I", 0) * 12)
@example(bytes(40) + struct.pack("<I", 2**32 - 1))
def test_whatever_is_read_as_a_pack_either_is_one_or_is_damage(body: bytes) -> None:
    with pytest.raises(Damaged):
        parse_pack(KEY, body)


@given(blobs.filter(len), st.data())
def test_a_header_that_does_not_fit_its_pack_is_damage(sealed: list[SealedBlob], data: st.DataObject) -> None:
    _, body = build_pack(KEY, sealed, tree=False)
    extra = data.draw(st.binary(min_size=1, max_size=50))
    with pytest.raises(Damaged):
        parse_pack(KEY, extra + body)


def test_an_entry_of_an_unknown_type_is_damage() -> None:
    header = KEY.seal(struct.pack("<BI32s", 4, 0, bytes(32)))
    with pytest.raises(Damaged):
        parse_pack(KEY, header + struct.pack("<I", len(header)))


def test_half_an_entry_is_damage() -> None:
    header = KEY.seal(struct.pack("<BI32s", 0, 0, bytes(32))[:-1])
    with pytest.raises(Damaged):
        parse_pack(KEY, header + struct.pack("<I", len(header)))


def test_the_header_of_the_fullest_pack_stays_far_below_restics_limit() -> None:
    assert MOST_BLOBS * 41 + 36 < 16 << 20


def test_a_pack_is_named_after_its_id() -> None:
    assert pack_name(bytes.fromhex("ab" * 32)) == f"data/ab/{'ab' * 32}"
