"""All index files of a repository at once: which names which packs, and which blobs lie in each.

``BlobIndex`` says where a blob lies; this says what lies in a pack, every copy of a blob included. Flat arrays, some
50 bytes a blob.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from shared.errors import BlobNotFound, Damaged
from shared.repository.ahead import fetched_ahead
from shared.repository.index import ID_BYTES, IndexedBlob, IndexedPack, parse_id
from shared.repository.packs import packed_bytes
from shared.repository.repository import Repository

FETCHES_AT_ONCE = 8


class IndexFiles:
    """Packs have numbers here, counted from 0. One that two index files name has one number, and all blobs that
    either of them names."""

    def __init__(self) -> None:
        self.files: dict[str, array[int]] = {}
        """Name of the index file -> numbers of the packs that it names."""
        self.pack_ids: list[bytes] = []
        self._numbers: dict[bytes, int] = {}
        self._starts = array("Q")
        self._counts = array("I")
        self._ids = bytearray()
        self._places = array("I")  # three a blob: offset, length, plain length
        self._are_trees = bytearray()

    @classmethod
    def read(cls, repository: Repository, *, check: Callable[[], None] = lambda: None) -> IndexFiles:
        """Read every index file that is there. ``Damaged`` naming the one that cannot be read."""
        found = cls()
        for name, sealed in _index_bodies(repository):
            check()
            document = repository.open_unpacked(name, sealed)
            try:
                found.files[name] = array("I", [found.add(pack) for pack in _packs_of(document)])
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                raise Damaged(f"{name} cannot be read: {error!r}", remedy="Run 'check'.", blob=name) from error
        return found

    def __len__(self) -> int:
        return len(self.pack_ids)

    def number(self, pack_id: bytes) -> int | None:
        return self._numbers.get(pack_id)

    def add(self, pack: IndexedPack) -> int:
        """Returns the pack's number."""
        number = self._numbers.get(pack.id)
        blobs: Iterable[IndexedBlob] = pack.blobs
        if number is None:
            number = self._numbers[pack.id] = len(self.pack_ids)
            self.pack_ids.append(pack.id)
            self._starts.append(len(self._are_trees))
            self._counts.append(0)
        else:
            known = list(self.blobs(number))
            more = set(blobs).difference(known)
            if not more:
                return number
            blobs = sorted({*known, *more}, key=lambda blob: blob.offset)
            self._starts[number] = len(self._are_trees)
        self._append(number, blobs)
        return number

    def replace(self, pack: IndexedPack) -> int:
        """Of a pack that is known, say what lies in it, whatever was said before. Returns its number."""
        number = self._numbers[pack.id]
        self._starts[number] = len(self._are_trees)
        self._append(number, pack.blobs)
        return number

    def _append(self, number: int, blobs: Iterable[IndexedBlob]) -> None:
        for blob in blobs:
            self._ids += blob.id
            self._places.extend((blob.offset, blob.length, blob.plain_length))
            self._are_trees.append(blob.is_tree)
        self._counts[number] = len(self._are_trees) - self._starts[number]

    def blobs(self, number: int) -> Iterator[IndexedBlob]:
        """What lies in the pack, in the order of the index."""
        start = self._starts[number]
        end = start + self._counts[number]
        ids, are_trees = bytes(self._ids[start * ID_BYTES : end * ID_BYTES]), self._are_trees[start:end]
        places = self._places[start * 3 : end * 3]
        for at, (tree, *place) in enumerate(zip(are_trees, places[::3], places[1::3], places[2::3], strict=True)):
            yield IndexedBlob(ids[at * ID_BYTES : at * ID_BYTES + ID_BYTES], bool(tree), *place)

    def pack(self, number: int) -> IndexedPack:
        return IndexedPack(self.pack_ids[number], tuple(self.blobs(number)))

    def is_mixed(self, number: int) -> bool:
        """Whether both trees and data lie in the pack."""
        start, count = self._starts[number], self._counts[number]
        return len(set(self._are_trees[start : start + count])) > 1

    def size_bytes(self, number: int) -> int:
        """How long the pack is if it holds just these blobs."""
        start, count = self._starts[number], self._counts[number]
        lengths = self._places[start * 3 + 1 : (start + count) * 3 : 3]
        compressed = count - self._places[start * 3 + 2 : (start + count) * 3 : 3].count(0)
        return packed_bytes(sum(lengths), count, compressed)


def named_packs(repository: Repository) -> Iterator[tuple[str, bytes]]:
    """Each index file's name with the id of each pack that it names. ``Damaged``, naming the file, as ``read``."""
    for name, sealed in _index_bodies(repository):
        document = repository.open_unpacked(name, sealed)
        try:
            for pack in document["packs"]:
                yield name, parse_id(pack["id"])
        except (KeyError, TypeError, ValueError) as error:
            raise Damaged(f"{name} cannot be read: {error!r}", remedy="Run 'check'.", blob=name) from error


def packs_named_by(repository: Repository, name: str) -> list[IndexedPack]:
    """What one index file says, which could be read before."""
    return list(_packs_of(repository.load_unpacked(name)))


def _index_bodies(repository: Repository) -> Iterator[tuple[str, bytes]]:
    def fetch(name: str) -> bytes:
        try:
            return repository.store.get(name)
        except BlobNotFound as error:
            raise Damaged(
                f"{name} was there and is not any more: somebody else deletes in the repository",
                remedy="Run again when nobody else does.",
                blob=name,
            ) from error

    names = [blob.name for blob in repository.store.list("index/")]
    yield from fetched_ahead(fetch, names, at_once=FETCHES_AT_ONCE)


def _packs_of(document: dict[str, Any]) -> Iterator[IndexedPack]:
    for pack in document["packs"]:
        yield IndexedPack(
            parse_id(pack["id"]),
            tuple(
                IndexedBlob(
                    parse_id(blob["id"]),
                    blob["type"] == "tree",
                    blob["offset"],
                    blob["length"],
                    blob.get("uncompressed_length", 0),
                )
                for blob in pack["blobs"]
            ),
        )
