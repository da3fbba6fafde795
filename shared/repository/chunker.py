"""Where a file is cut into blobs: content-defined (FastCDC), so that an insertion moves only the cuts beside it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from pyfastcdc import FastCDC

MIN_CHUNK_BYTES = 512 << 10
AVERAGE_CHUNK_BYTES = 1 << 20
MAX_CHUNK_BYTES = 8 << 20
_BLOCK_BYTES = 16 << 20

_fastcdc = FastCDC(avg_size=AVERAGE_CHUNK_BYTES, min_size=MIN_CHUNK_BYTES, max_size=MAX_CHUNK_BYTES)


def chunks(data: bytes | memoryview) -> list[bytes | memoryview]:
    """The chunks of a whole file; none for an empty one, one up to 512 KiB."""
    if not len(data):
        return []
    if len(data) <= MIN_CHUNK_BYTES:
        return [data]
    return [chunk.data for chunk in _fastcdc.cut_buf(data)]


def chunk_stream(pieces: Iterable[memoryview]) -> Iterator[memoryview]:
    """The chunks of a file that comes in pieces. A cut depends only on the bytes since the cut before it, so a file
    that is read again from one of its cuts is cut alike.

    A piece is copied before the next is asked for; the chunks handed out stay valid.
    """
    block, filled = _take_block(), 0
    for piece in pieces:
        taken = 0
        while taken < len(piece):
            step = min(len(piece) - taken, _BLOCK_BYTES - filled)
            block[filled : filled + step] = piece[taken : taken + step]
            taken += step
            filled += step
            if filled == _BLOCK_BYTES:
                whole = [chunk.data for chunk in _fastcdc.cut_buf(block)]
                yield from whole[:-1]
                full, rest, block = block, whole[-1], _take_block()
                filled = len(rest)
                block[:filled] = rest
                del whole, rest
                _give_back(full)
    if filled:
        for chunk in _fastcdc.cut_buf(memoryview(block)[:filled]):
            yield chunk.data
    _give_back(block)


_blocks: deque[bytearray] = deque(maxlen=6)
"""Blocks that were used: fresh memory costs more than hashing it. The one module-level state here, a cache."""


def _take_block() -> bytearray:
    """A block that nobody looks at any more, or a new one."""
    for _ in range(len(_blocks)):
        try:
            block = _blocks.popleft()
        except IndexError:
            break
        try:
            block.append(0)  # refused while a chunk of it is still in use
        except BufferError:
            _blocks.append(block)
        else:
            block.pop()
            return block
    return bytearray(_BLOCK_BYTES)


def _give_back(block: bytearray) -> None:
    _blocks.append(block)
