"""Reading blobs back: by range, or by whole pack where trees are read one after the other."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from shared.errors import BlobNotFound, Damaged
from shared.repository.compression import MOST_DATA_BYTES, MOST_PLAIN_BYTES, decompress
from shared.repository.crypto import SEAL_BYTES, MasterKey
from shared.repository.index import IndexedBlob, Location, parse_id
from shared.repository.packs import header_and_length_bytes, pack_name, parse_pack_end
from shared.repository.repository import Repository
from shared.repository.trees import Node, parse_node, parse_tree

KEPT_TREE_PACKS = 6
"""Whole tree packs that are kept in memory: trees of neighbouring folders lie in one pack."""

HEADER_GUESS_BYTES = 64 << 10
"""What is fetched of a pack to read its header: enough for some 1,500 blobs."""


def open_blob(
    key: MasterKey,
    sealed: bytes | memoryview,
    blob_id: bytes,
    location: Location,
    most_bytes: int = MOST_PLAIN_BYTES,
) -> bytes:
    """A blob's content from its sealed bytes. ``Damaged``, naming the pack, unless its hash is ``blob_id``, or when
    it would open to more than ``most_bytes``."""
    try:
        plain = key.open(sealed)
        if location.plain_length:
            plain = decompress(plain, most_bytes)
        if hashlib.sha256(plain).digest() != blob_id:
            raise Damaged("its content does not have the hash that is its id")
    except Damaged as error:
        raise Damaged(
            f"blob {blob_id.hex()} in pack {location.pack.hex()}: {error}",
            remedy="Run 'check --read-data' to see how much is damaged.",
            blob=pack_name(location.pack),
        ) from error
    return plain


def load_header(repository: Repository, pack_id: bytes, size_bytes: int) -> list[IndexedBlob]:
    """What the header of a pack lists, by one or two requests for its end. ``Damaged`` when it cannot be read, or does
    not fit the pack's size; ``BlobNotFound``."""
    name = pack_name(pack_id)
    start = max(0, size_bytes - HEADER_GUESS_BYTES)
    tail = repository.store.get(name, start, size_bytes - start) if size_bytes else b""
    try:
        header_bytes = header_and_length_bytes(tail)
        if header_bytes > len(tail):
            start = max(0, size_bytes - header_bytes)
            tail = repository.store.get(name, start, size_bytes - start)
        return parse_pack_end(repository.key, tail, size_bytes)
    except Damaged as error:
        raise Damaged(f"pack {pack_id.hex()}: {error}", remedy=error.remedy, blob=name) from error


class BlobReader:
    """May be used from several threads."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self._lock = threading.Lock()
        self._packs: OrderedDict[bytes, bytes] = OrderedDict()

    def locate(self, blob_id: bytes, *, tree: bool) -> Location:
        """``Damaged`` when no index names the blob."""
        location = self.repository.index.find(blob_id, tree=tree)
        if location is None:
            raise Damaged(
                f"{'tree' if tree else 'data'} blob {blob_id.hex()} is in no index",
                remedy="Run 'check'.",
                blob=blob_id.hex(),
            )
        return location

    def load(self, blob_id: bytes, *, tree: bool) -> bytes:
        """The content of a blob. ``Damaged`` when it is not there, or not what it should be."""
        location = self.locate(blob_id, tree=tree)
        if tree:
            body = self.whole_pack(location)
            sealed: bytes | memoryview = memoryview(body)[location.offset : location.offset + location.length]
        else:
            sealed = self.fetch(location, location.offset, location.length)
        return open_blob(self.repository.key, sealed, blob_id, location, MOST_PLAIN_BYTES if tree else MOST_DATA_BYTES)

    def tree(self, tree_id: str) -> list[dict[str, Any]]:
        """The nodes of a tree as JSON objects, in their order. ``Damaged``, also for an id that is none."""
        try:
            return parse_tree(self.load(parse_id(tree_id), tree=True))
        except (TypeError, ValueError) as error:
            raise Damaged(f"{tree_id!r} is no tree's id", remedy="Run 'check'.") from error
        except Damaged as error:
            raise Damaged(str(error), remedy=error.remedy, blob=error.object or tree_id) from error

    def nodes(self, tree_id: str) -> Iterator[Node]:
        for fields in self.tree(tree_id):
            yield parse_node(fields)

    def whole_pack(self, location: Location) -> bytes:
        """The pack that a tree lies in, as it is stored. ``Damaged`` when it is not there."""
        with self._lock:
            body = self._packs.get(location.pack)
            if body is not None:
                self._packs.move_to_end(location.pack)
                return body
        body = self.fetch(location, 0, None)
        with self._lock:
            self._packs[location.pack] = body
            while len(self._packs) > KEPT_TREE_PACKS:
                self._packs.popitem(last=False)
        return body

    def fetch(self, location: Location, offset: int, length: int | None) -> bytes:
        """Bytes of the pack that a blob lies in, as they are stored. ``Damaged`` when the pack is not there, or no
        blob can be as long as that."""
        name = pack_name(location.pack)
        if length is not None and length > MOST_PLAIN_BYTES + SEAL_BYTES:
            raise Damaged(f"by its index a blob takes {length} bytes of the pack, more than any may have", blob=name)
        try:
            return self.repository.store.get(name, offset, length)
        except BlobNotFound as error:
            raise Damaged(
                f"pack {location.pack.hex()} is not there",
                remedy="Run 'check'; 'undelete' may bring it back.",
                blob=name,
            ) from error
