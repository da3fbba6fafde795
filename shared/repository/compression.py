"""zstd as restic uses it: frames with the content size and without a checksum (the seal has one)."""

from __future__ import annotations

import threading

import zstandard

from shared.errors import Damaged

SMALL_LEVEL, LARGE_LEVEL = 3, 1
"""For tree and data blobs, up to ``SMALL_BYTES`` and above. Small ones cost hardly more at level 3 and get smaller than
restic makes them; large ones would take twice as long."""
SMALL_BYTES = 128 << 10
UNPACKED_LEVEL = 3
"""For index, snapshot and lock files, which are few."""
PROBE_BYTES = 64 << 10
"""A blob longer than this is tried on its beginning first: what does not shrink there is stored as it is."""
MOST_PLAIN_BYTES = 512 << 20
"""No blob or file of a repository is longer; a frame that claims more is refused before memory is taken."""


class _Contexts(threading.local):
    def __init__(self) -> None:
        self.by_level: dict[int, zstandard.ZstdCompressor] = {}
        self.decompressor = zstandard.ZstdDecompressor()


_contexts = _Contexts()


def compress(plain: bytes | memoryview, level: int) -> bytes:
    compressor = _contexts.by_level.get(level)
    if compressor is None:
        compressor = zstandard.ZstdCompressor(level=level, write_checksum=False, write_content_size=True)
        _contexts.by_level[level] = compressor
    return compressor.compress(plain)


def compress_blob(plain: bytes | memoryview) -> bytes | None:
    """The compressed form, or None where ``plain`` does not get shorter and is to be stored raw."""
    if len(plain) > 2 * PROBE_BYTES:
        probe = memoryview(plain)[:PROBE_BYTES]
        if len(compress(probe, LARGE_LEVEL)) > PROBE_BYTES - (PROBE_BYTES >> 6):
            return None
    packed = compress(plain, SMALL_LEVEL if len(plain) <= SMALL_BYTES else LARGE_LEVEL)
    return packed if len(packed) < len(plain) else None


def decompress(packed: bytes | memoryview) -> bytes:
    """``Damaged`` when it is no zstd frame with its content size."""
    try:
        size = zstandard.frame_content_size(bytes(packed[:18]))
        if size > MOST_PLAIN_BYTES:
            raise Damaged(f"a compressed blob claims {size} bytes, more than any blob may have")
        if size < 0:
            return _contexts.decompressor.decompressobj().decompress(packed)
        return _contexts.decompressor.decompress(packed)
    except zstandard.ZstdError as error:
        raise Damaged(f"compressed data cannot be read: {error}") from error
