"""Which pack holds which blob: the index files, and their compact form in memory.

restic, doc/design.rst, "Indexing". In memory a blob costs some 60 bytes instead of Python's 360: its id and location
lie in flat arrays, found by an open-addressing table on the first eight bytes of the id (ids are SHA-256, so they
spread evenly) and confirmed by the whole id.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from shared.errors import Damaged

ID_BYTES = 32
MOST_BLOBS_IN_A_FILE = 50_000


class Location(NamedTuple):
    """Where a blob lies."""

    pack: bytes
    """Id of the pack, 32 bytes."""
    offset: int
    length: int
    """Sealed length in bytes."""
    plain_length: int
    """Length when opened and decompressed; 0 where the blob is stored uncompressed."""

    @property
    def plain_bytes(self) -> int:
        """How long the blob's content is."""
        return self.plain_length or self.length - 32


class IndexedBlob(NamedTuple):
    """A blob as the header of its pack and the index file name it."""

    id: bytes
    is_tree: bool
    offset: int
    length: int
    plain_length: int


@dataclass(frozen=True, slots=True)
class IndexedPack:
    """A pack with the blobs in it, in the order of their offsets."""

    id: bytes
    blobs: tuple[IndexedBlob, ...]


class _BlobTable:
    """The blobs of one type. Not locked: its owner is."""

    def __init__(self) -> None:
        self._ids = bytearray()
        self._places = array("I")  # four a blob: pack number, offset, length, plain length
        self._slots = array("I", bytes(4 << 10))
        self._mask = len(self._slots) - 1

    def __len__(self) -> int:
        return len(self._ids) // ID_BYTES

    def find(self, blob_id: bytes) -> int:
        """The blob's number, -1 where it is not held."""
        slots, mask, ids = self._slots, self._mask, self._ids
        slot = int.from_bytes(blob_id[:8], "little") & mask
        while number := slots[slot]:
            at = (number - 1) * ID_BYTES
            if ids[at : at + ID_BYTES] == blob_id:
                return number - 1
            slot = (slot + 1) & mask
        return -1

    def reserve(self, more: int) -> None:
        """Make room for ``more`` blobs at once, so that a long load grows the table once."""
        while (len(self) + more) * 3 > len(self._slots) * 2:
            self._grow()

    def add(self, blob_id: bytes, pack: int, offset: int, length: int, plain_length: int) -> None:
        """Add a blob for which there is room; the first place of a blob stays its place.

        ``TypeError``, ``OverflowError``: a number is none, or does not fit into 32 bits; nothing is added then.
        """
        slots, mask, ids = self._slots, self._mask, self._ids
        slot = int.from_bytes(blob_id[:8], "little") & mask
        while number := slots[slot]:
            if ids[number * ID_BYTES - ID_BYTES : number * ID_BYTES] == blob_id:
                return
            slot = (slot + 1) & mask
        try:
            self._places.extend((pack, offset, length, plain_length))
        except (TypeError, OverflowError):
            del self._places[len(ids) // ID_BYTES * 4 :]  # the table stays what it was
            raise
        ids += blob_id
        slots[slot] = len(ids) // ID_BYTES

    def place(self, number: int) -> tuple[int, int, int, int]:
        at = number * 4
        pack, offset, length, plain_length = self._places[at : at + 4]
        return pack, offset, length, plain_length

    def ids(self) -> Iterator[bytes]:
        for at in range(0, len(self._ids), ID_BYTES):
            yield bytes(self._ids[at : at + ID_BYTES])

    def _grow(self) -> None:
        slots = self._slots = array("I", bytes(len(self._slots) * 8))
        mask = self._mask = len(slots) - 1
        for number in range(len(self)):
            slot = int.from_bytes(self._ids[number * ID_BYTES : number * ID_BYTES + 8], "little") & mask
            while slots[slot]:
                slot = (slot + 1) & mask
            slots[slot] = number + 1


class BlobIndex:
    """All blobs of a repository that are known to lie in a pack. May be used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tables = (_BlobTable(), _BlobTable())
        self._pack_ids = bytearray()
        self._pack_numbers: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._tables[0]) + len(self._tables[1])

    def add_pack(self, pack: IndexedPack) -> None:
        with self._lock:
            number = self._number(pack.id)
            for table in self._tables:
                table.reserve(len(pack.blobs))
            for blob in pack.blobs:
                self._tables[blob.is_tree].add(blob.id, number, blob.offset, blob.length, blob.plain_length)

    def add_file(self, document: dict[str, Any], *, present: Container[bytes] | None = None) -> int:
        """Add what an index file names; packs that are not in ``present`` are left out. Returns their count.

        ``Damaged`` when the document is no index.
        """
        left_out = 0
        fromhex = bytes.fromhex
        try:
            with self._lock:
                for pack in document["packs"]:
                    pack_id = parse_id(pack["id"])
                    if present is not None and pack_id not in present:
                        left_out += 1
                        continue
                    number = self._number(pack_id)
                    data, trees = self._tables
                    data.reserve(len(pack["blobs"]))
                    trees.reserve(len(pack["blobs"]))
                    for blob in pack["blobs"]:
                        blob_id = fromhex(blob["id"])
                        if len(blob_id) != ID_BYTES:
                            raise ValueError(f"{blob['id']!r} is no id")
                        (trees if blob["type"] == "tree" else data).add(
                            blob_id,
                            number,
                            blob["offset"],
                            blob["length"],
                            blob.get("uncompressed_length", 0),
                        )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise Damaged(f"an index file cannot be read: {error!r}") from error
        return left_out

    def find(self, blob_id: bytes, *, tree: bool) -> Location | None:
        with self._lock:
            table = self._tables[tree]
            number = table.find(blob_id)
            if number < 0:
                return None
            pack, offset, length, plain_length = table.place(number)
            return Location(bytes(self._pack_ids[pack * 32 : pack * 32 + 32]), offset, length, plain_length)

    def holds(self, blob_id: bytes, *, tree: bool) -> bool:
        with self._lock:
            return self._tables[tree].find(blob_id) >= 0

    def number(self, blob_id: bytes, *, tree: bool) -> int:
        """Which of the blobs of its type it is, counted from 0 in the order in which they became known; -1: unknown."""
        with self._lock:
            return self._tables[tree].find(blob_id)

    def count(self, *, tree: bool) -> int:
        with self._lock:
            return len(self._tables[tree])

    def pack_ids(self) -> list[bytes]:
        with self._lock:
            return list(self._pack_numbers)

    def blob_ids(self, *, tree: bool) -> list[bytes]:
        with self._lock:
            return list(self._tables[tree].ids())

    def _number(self, pack_id: bytes) -> int:
        number = self._pack_numbers.get(pack_id)
        if number is None:
            number = self._pack_numbers[pack_id] = len(self._pack_numbers)
            self._pack_ids += pack_id
        return number


def parse_id(text: str) -> bytes:
    """The 32 bytes of an id in hex. ``ValueError``, ``TypeError``."""
    raw = bytes.fromhex(text)
    if len(raw) != ID_BYTES:
        raise ValueError(f"{text!r} is no id")
    return raw


def index_documents(packs: Iterable[IndexedPack]) -> Iterator[bytes]:
    """The JSON of one or more index files that name ``packs``, at most 50,000 blobs in each but for one huge pack."""
    document: list[dict[str, Any]] = []
    count = 0
    for pack in packs:
        if document and count + len(pack.blobs) > MOST_BLOBS_IN_A_FILE:
            yield orjson.dumps({"packs": document})
            document, count = [], 0
        document.append({"id": pack.id.hex(), "blobs": [_blob_fields(blob) for blob in pack.blobs]})
        count += len(pack.blobs)
    if document:
        yield orjson.dumps({"packs": document})


def _blob_fields(blob: IndexedBlob) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "id": blob.id.hex(),
        "type": "tree" if blob.is_tree else "data",
        "offset": blob.offset,
        "length": blob.length,
    }
    if blob.plain_length:
        fields["uncompressed_length"] = blob.plain_length
    return fields
