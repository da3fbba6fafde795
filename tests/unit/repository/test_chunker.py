"""Content-defined chunks: the same however the file comes in, and after it was begun again at a cut."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.repository.chunker import MAX_CHUNK_BYTES, MIN_CHUNK_BYTES, chunk_stream, chunks

MIB = 1 << 20
sizes = st.one_of(
    st.integers(0, 3 * MIB),
    st.sampled_from([0, 1, MIN_CHUNK_BYTES - 1, MIN_CHUNK_BYTES, MIN_CHUNK_BYTES + 1, 16 * MIB, 16 * MIB + 1]),
    st.integers(15 * MIB, 35 * MIB),
)


def _content(seed: int, size: int) -> bytes:
    """Random, and here and there long runs of one byte, in which nothing but the largest chunk cuts."""
    random = Random(seed)
    out = bytearray()
    while len(out) < size:
        out += random.randbytes(random.randint(1, 3 * MIB))
        if random.random() < 0.3:
            out += bytes([random.randrange(256)]) * random.randint(1, 9 * MIB)
    return bytes(out[:size])


def _pieces(content: bytes, piece_bytes: int) -> Iterator[memoryview]:
    """As a source hands them out: each valid only until the next is asked for."""
    buffer = bytearray(piece_bytes)
    for start in range(0, len(content), piece_bytes):
        piece = content[start : start + piece_bytes]
        buffer[: len(piece)] = piece
        yield memoryview(buffer)[: len(piece)]
        buffer[:] = bytes(piece_bytes)


@given(st.integers(0, 2**32), sizes, st.sampled_from([4 * MIB, MIB, 1_000_003, 64 << 10, 20 * MIB]))
@settings(max_examples=15, deadline=None)
def test_a_stream_is_cut_as_the_whole_file_is(seed: int, size: int, piece_bytes: int) -> None:
    content = _content(seed, size)
    whole = [bytes(chunk) for chunk in chunks(content)]
    stream = [bytes(chunk) for chunk in list(chunk_stream(_pieces(content, piece_bytes)))]
    assert stream == whole
    assert b"".join(whole) == content
    assert all(MIN_CHUNK_BYTES <= len(chunk) <= MAX_CHUNK_BYTES for chunk in whole[:-1])
    assert all(0 < len(chunk) <= MAX_CHUNK_BYTES for chunk in whole)


@given(st.integers(0, 2**32), st.integers(2 * MIB, 25 * MIB), st.data())
@settings(max_examples=8, deadline=None)
def test_a_file_that_is_begun_again_at_a_cut_is_cut_alike(seed: int, size: int, data: st.DataObject) -> None:
    content = _content(seed, size)
    whole = [bytes(chunk) for chunk in chunks(content)]
    number = data.draw(st.integers(0, len(whole) - 1))
    offset = sum(map(len, whole[:number]))
    again = [bytes(chunk) for chunk in list(chunk_stream(_pieces(content[offset:], 4 * MIB)))]
    assert again == whole[number:]


@pytest.mark.parametrize("size", [1, 1000, MIN_CHUNK_BYTES])
def test_a_small_file_is_one_blob_and_an_empty_one_is_none(size: int) -> None:
    assert chunks(b"") == []
    assert list(chunk_stream([])) == []
    assert chunks(b"x" * size) == [b"x" * size]
    assert [bytes(chunk) for chunk in chunk_stream([memoryview(b"x" * size)])] == [b"x" * size]


def test_an_insertion_moves_only_the_cuts_beside_it() -> None:
    content = Random(7).randbytes(20 * MIB)
    changed = content[: 3 * MIB] + b"inserted" + content[3 * MIB :]
    before, after = ({bytes(chunk) for chunk in chunks(each)} for each in (content, changed))
    assert len(after - before) <= 3
    assert len(before & after) >= 5


def test_chunks_stay_what_they_were_while_the_stream_goes_on() -> None:
    content = _content(1, 40 * MIB)
    handed = list(chunk_stream(_pieces(content, 4 * MIB)))
    assert b"".join(itertools.chain(map(bytes, handed))) == content
