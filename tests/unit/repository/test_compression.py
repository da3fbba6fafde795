"""zstd frames as restic writes and reads them."""

from __future__ import annotations

import os
import struct

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Damaged
from shared.repository.compression import (
    LARGE_LEVEL,
    MOST_PLAIN_BYTES,
    PROBE_BYTES,
    SMALL_LEVEL,
    UNPACKED_LEVEL,
    compress,
    compress_blob,
    decompress,
)


@given(st.binary(max_size=5000), st.sampled_from([LARGE_LEVEL, SMALL_LEVEL, UNPACKED_LEVEL]))
def test_what_was_compressed_comes_back(plain: bytes, level: int) -> None:
    packed = compress(plain, level)
    assert decompress(packed) == plain
    assert decompress(memoryview(packed)) == plain


@given(st.binary(max_size=2000), st.integers(1, 200))
def test_a_blob_is_compressed_only_where_it_gets_shorter(piece: bytes, times: int) -> None:
    plain = piece * times
    packed = compress_blob(plain)
    if packed is not None:
        assert len(packed) < len(plain)
        assert decompress(packed) == plain


def test_a_frame_carries_the_content_size_and_no_checksum() -> None:
    for size in (0, 1, 300, 100_000):
        facts = zstandard.get_frame_parameters(compress(b"a" * size, LARGE_LEVEL))
        assert (facts.content_size, facts.has_checksum) == (size, False)


def test_what_does_not_shrink_stays_raw() -> None:
    assert compress_blob(b"") is None
    assert compress_blob(os.urandom(1000)) is None
    assert compress_blob(os.urandom(PROBE_BYTES * 2 + 1)) is None
    assert compress_blob(b"text" * PROBE_BYTES) is not None


def test_a_frame_of_another_writer_without_the_size_is_read_too() -> None:
    packed = zstandard.ZstdCompressor(write_content_size=False).compress(b"text" * 1000)
    assert decompress(packed) == b"text" * 1000


@given(st.binary(max_size=100))
def test_what_is_no_frame_is_damage(packed: bytes) -> None:
    with pytest.raises(Damaged):
        decompress(packed)


@given(st.binary(min_size=100, max_size=1000), st.data())
def test_a_frame_that_ends_early_is_damage(plain: bytes, data: st.DataObject) -> None:
    packed = compress(plain, LARGE_LEVEL)
    with pytest.raises(Damaged):
        decompress(packed[: data.draw(st.integers(0, len(packed) - 1))])


def test_a_frame_that_claims_more_than_any_blob_may_have_is_refused_before_memory_is_taken() -> None:
    packed = b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", MOST_PLAIN_BYTES + 1) + b"\x01\x00\x00"
    with pytest.raises(Damaged, match="claims"):
        decompress(packed)
