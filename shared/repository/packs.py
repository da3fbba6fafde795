"""Packs: sealed blobs one after the other, a sealed header that lists them, and the header's length.

restic, doc/design.rst, "Pack Format". Header entries: type (u8), sealed length (u32), for the compressed types the
plain length (u32), id (32 bytes); integers little-endian. A pack holds trees or data, never both.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import NamedTuple

from shared.errors import Damaged
from shared.repository.crypto import SEAL_BYTES, MasterKey
from shared.repository.index import IndexedBlob, IndexedPack

DATA_PACK_BYTES = 16 << 20
TREE_PACK_BYTES = 8 << 20
"""A pack is closed when it has this many bytes: restic's default, and half of it for trees, which are read singly."""
MOST_BLOBS = 20_000
"""A pack is closed when it has this many blobs, so that its header stays far below restic's limit of 16 MiB."""

_RAW = struct.Struct("<BI32s")
_COMPRESSED = struct.Struct("<BII32s")
_LENGTH = struct.Struct("<I")


class SealedBlob(NamedTuple):
    """A blob ready to be packed."""

    id: bytes
    sealed: bytes
    plain_length: int
    """0 where it is stored uncompressed."""


def build_pack(key: MasterKey, blobs: Sequence[SealedBlob], *, tree: bool) -> tuple[IndexedPack, bytes]:
    """The pack's bytes, and what the index says of it. Its id is the SHA-256 of the bytes."""
    entries, indexed, offset = [], [], 0
    for blob in blobs:
        length = len(blob.sealed)
        if blob.plain_length:
            entries.append(_COMPRESSED.pack(2 + tree, length, blob.plain_length, blob.id))
        else:
            entries.append(_RAW.pack(tree, length, blob.id))
        indexed.append(IndexedBlob(blob.id, tree, offset, length, blob.plain_length))
        offset += length
    header = key.seal(b"".join(entries))
    body = b"".join([*(blob.sealed for blob in blobs), header, _LENGTH.pack(len(header))])
    return IndexedPack(hashlib.sha256(body).digest(), tuple(indexed)), body


def pack_name(pack_id: bytes) -> str:
    name = pack_id.hex()
    return f"data/{name[:2]}/{name}"


def packed_bytes(blobs_bytes: int, count: int, compressed: int) -> int:
    """How long a pack is whose ``count`` blobs, ``compressed`` of them compressed, are so long together."""
    header = compressed * _COMPRESSED.size + (count - compressed) * _RAW.size
    return blobs_bytes + header + SEAL_BYTES + _LENGTH.size


def parse_pack(key: MasterKey, body: bytes) -> list[IndexedBlob]:
    """What the header of a whole pack lists. ``Damaged`` when header and body do not fit each other."""
    return parse_pack_end(key, body, len(body))


def header_and_length_bytes(end: bytes) -> int:
    """How many bytes at a pack's end, of which ``end`` are the last, are its header and the header's length."""
    if len(end) < _LENGTH.size + SEAL_BYTES:
        raise Damaged(f"a pack is only {len(end)} bytes long")
    (header_length,) = _LENGTH.unpack_from(end, len(end) - _LENGTH.size)
    return int(header_length) + _LENGTH.size


def parse_pack_end(key: MasterKey, end: bytes, size_bytes: int) -> list[IndexedBlob]:
    """What the header of a pack of this size lists, from its last bytes, which hold the whole header."""
    start = size_bytes - header_and_length_bytes(end)
    if start < 0:
        raise Damaged("a pack's header claims to be longer than the pack")
    header = key.open(memoryview(end)[start - size_bytes : -_LENGTH.size])
    blobs, at, offset = [], 0, 0
    while at < len(header):
        kind = header[at]
        layout = _COMPRESSED if kind in (2, 3) else _RAW
        if kind > 3 or at + layout.size > len(header):
            raise Damaged("a pack's header holds an entry of an unknown type, or half an entry")
        plain_length = 0
        if kind in (2, 3):
            _, length, plain_length, blob_id = _COMPRESSED.unpack_from(header, at)
        else:
            _, length, blob_id = _RAW.unpack_from(header, at)
        blobs.append(IndexedBlob(blob_id, kind in (1, 3), offset, length, plain_length))
        offset += length
        at += layout.size
    if offset != start:
        raise Damaged(f"a pack's header lists {offset} bytes of blobs, the pack holds {start}")
    return blobs
