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
"""No tree (a folder of a million files) and no file of a repository is longer; a frame that claims more is refused
before memory is taken, one that claims nothing when it has grown beyond."""
MOST_DATA_BYTES = 128 << 20
"""The same for data blobs: restic's chunker cuts at 8 MiB, and rustic's at what it was told to, far below this."""
_STEP_BYTES = 256
"""Of a frame without its content size, opened at a time: not more than 64 blocks of at most 128 KiB each."""


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


def decompress(packed: bytes | memoryview, most_bytes: int = MOST_PLAIN_BYTES) -> bytes:
    """``Damaged`` when it is no zstd frame, or opens to more than ``most_bytes``."""
    try:
        size = zstandard.frame_content_size(bytes(packed[:18]))
        if size > most_bytes:
            raise Damaged(f"a compressed blob claims {size} bytes, more than any blob may have")
        if size < 0:
            return _decompress_unsized(memoryview(packed), most_bytes)
        return _contexts.decompressor.decompress(packed)
    except zstandard.ZstdError as error:
        raise Damaged(f"compressed data cannot be read: {error}") from error


def _decompress_unsized(packed: memoryview, most_bytes: int) -> bytes:
    """In small steps, so that a few bytes that open to gigabytes are noticed on the way."""
    reader = _contexts.decompressor.decompressobj()
    pieces, total, at = [], 0, 0
    while not reader.eof:
        if at >= len(packed):
            raise Damaged("compressed data ends early")
        pieces.append(reader.decompress(packed[at : at + _STEP_BYTES]))
        total += len(pieces[-1])
        at += _STEP_BYTES
        if total > most_bytes:
            raise Damaged(f"a compressed blob opens to more than {most_bytes} bytes, the most that any may have")
    return b"".join(pieces)
