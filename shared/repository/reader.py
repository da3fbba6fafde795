"""Reading blobs back: by range, or by whole pack where trees are read one after the other."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from shared.errors import BlobNotFound, Damaged
from shared.repository.compression import decompress
from shared.repository.crypto import MasterKey
from shared.repository.index import Location
from shared.repository.packs import pack_name
from shared.repository.repository import Repository
from shared.repository.trees import Node, parse_node, parse_tree

KEPT_TREE_PACKS = 6
"""Whole tree packs that are kept in memory: trees of neighbouring folders lie in one pack."""


def open_blob(key: MasterKey, sealed: bytes | memoryview, blob_id: bytes, location: Location) -> bytes:
    """A blob's content from its sealed bytes. ``Damaged``, naming the pack, unless its hash is ``blob_id``."""
    try:
        plain = key.open(sealed)
        if location.plain_length:
            plain = decompress(plain)
        if hashlib.sha256(plain).digest() != blob_id:
            raise Damaged("its content does not have the hash that is its id")
    except Damaged as error:
        raise Damaged(
            f"blob {blob_id.hex()} in pack {location.pack.hex()}: {error}",
            remedy="Run 'check --read-data' to see how much is damaged.",
            blob=pack_name(location.pack),
        ) from error
    return plain


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
            body = self._whole_pack(location)
            sealed: bytes | memoryview = memoryview(body)[location.offset : location.offset + location.length]
        else:
            sealed = self.fetch(location, location.offset, location.length)
        return open_blob(self.repository.key, sealed, blob_id, location)

    def tree(self, tree_id: str) -> list[dict[str, Any]]:
        """The nodes of a tree as JSON objects, in their order."""
        try:
            return parse_tree(self.load(bytes.fromhex(tree_id), tree=True))
        except Damaged as error:
            raise Damaged(str(error), remedy=error.remedy, blob=error.object or tree_id) from error

    def nodes(self, tree_id: str) -> Iterator[Node]:
        for fields in self.tree(tree_id):
            yield parse_node(fields)

    def _whole_pack(self, location: Location) -> bytes:
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
        """Bytes of the pack that a blob lies in, as they are stored. ``Damaged`` when the pack is not there."""
        name = pack_name(location.pack)
        try:
            return self.repository.store.get(name, offset, length)
        except BlobNotFound as error:
            raise Damaged(
                f"pack {location.pack.hex()} is not there",
                remedy="Run 'check'; 'undelete' may bring it back.",
                blob=name,
            ) from error
