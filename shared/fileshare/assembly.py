"""Putting trees together: folders whose content is not all stored yet, and their nodes when it is.

Whoever finishes the last thing in a folder builds the folder's tree and hands its node to the folder above. A folder in
which nothing changed keeps its parent's tree id and is neither built nor hashed.
"""

from __future__ import annotations

import threading
from typing import Any

import orjson

from shared.errors import Damaged
from shared.fileshare.fingerprints import Fingerprints, Known
from shared.fileshare.outcome import Counts
from shared.repository.reader import BlobReader
from shared.repository.trees import Metadata, dir_node, go_json, tree_bytes, unquote
from shared.repository.writer import BlobWriter

Fields = dict[str, Any]

LEFT_OUT = b""
"""Stands in the place of the node of a folder that could not be listed."""


class Folder:
    """A folder whose content is not all stored yet."""

    __slots__ = (
        "above",
        "changed",
        "fingerprint",
        "known",
        "metadata",
        "name",
        "nodes",
        "noted",
        "path",
        "recursive",
        "same",
        "sizes",
        "tree",
        "waiting",
    )

    def __init__(
        self, path: str, name: bytes, above: Folder | None, *, tree: str | None, recursive: bool = True
    ) -> None:
        self.path = path
        self.name = name
        """Its raw name."""
        self.above = above
        self.recursive = recursive
        self.tree = tree
        """Its tree in the parent snapshot."""
        self.known: dict[str, Fields] | None = None
        """The nodes of that tree by quoted name, once they are loaded."""
        self.metadata: Metadata | None = None
        self.nodes: list[tuple[bytes, bytes | Fields]] = []
        """Finished nodes: the parent's JSON object where nothing changed, else the bytes to be written."""
        self.same = False
        """It lists exactly as it did: ``nodes`` are only those that changed all the same."""
        self.changed = tree is None
        self.waiting = 1
        """Things in it that are not finished; one stands for the listing itself."""
        self.fingerprint: str | None = None
        self.sizes = (0, 0)
        """Files in it, and their bytes."""
        self.noted = False
        """Something in it has to be told in each run, so each run looks at it."""


class Assembly:
    """The folders of a shard. Methods may be called from several threads."""

    def __init__(self, writer: BlobWriter, reader: BlobReader, fingerprints: Fingerprints, counts: Counts) -> None:
        self._writer = writer
        self._reader = reader
        self._fingerprints = fingerprints
        self._counts = counts
        self._lock = threading.Lock()
        self.folders: dict[str, Folder] = {}
        """Those that are not finished, by path."""
        self.results: dict[str, str] = {}
        """Nodes of finished folders with nothing above them, as JSON text."""

    def begin(self, folder: Folder) -> None:
        """A folder is going to be listed."""
        if folder.above is not None:
            with self._lock:
                folder.above.waiting += 1
        self.folders[folder.path] = folder

    def expect(self, folder: Folder, count: int) -> None:
        """So many more things in the folder will be finished."""
        with self._lock:
            folder.waiting += count

    def known_nodes(self, folder: Folder) -> dict[str, Fields]:
        """The folder's nodes in the parent snapshot, by quoted name; empty where they cannot be read."""
        if folder.known is None:
            folder.known = {}
            if folder.tree is not None:
                try:
                    folder.known = {node["name"]: node for node in self._reader.tree(folder.tree)}
                except Damaged:  # read everything again: what is damaged is stored anew
                    folder.tree, folder.changed = None, True
        return folder.known

    def give_up(self, folder: Folder) -> None:
        """The folder could not be listed: it is left out."""
        del self.folders[folder.path]
        if folder.above is not None:
            folder.above.changed = folder.above.noted = True
            folder.above.nodes.append((folder.name, LEFT_OUT))
            self.finished_one(folder.above)

    def finished_one(self, folder: Folder) -> None:
        """One thing in the folder is finished, and its node added; builds what is whole by that."""
        while True:
            with self._lock:
                folder.waiting -= 1
                if folder.waiting:
                    return
            node = self._finish(folder)
            del self.folders[folder.path]
            above = folder.above
            if above is None:
                self.results[folder.path] = node.decode()
                return
            above.nodes.append((folder.name, node))
            folder = above

    def finished_nodes(self, folder: Folder) -> list[Fields]:
        """What is finished of a folder that is not, for a later part of the run to go on from."""
        nodes: list[Fields] = []
        if folder.same and folder.tree is not None:
            nodes = [node for node in self._reader.tree(folder.tree) if node["type"] != "dir"]
        for _, node in folder.nodes:
            if node != LEFT_OUT:
                nodes.append(orjson.loads(node) if isinstance(node, bytes) else node)
        return nodes

    def _finish(self, folder: Folder) -> bytes:
        """Store the folder's tree. Returns its node."""
        assert folder.metadata is not None
        tree = self._tree(folder)
        node = dir_node(folder.name, folder.metadata, tree)
        unchanged = tree == folder.tree and (folder.same or self._is_known(folder, node))
        with self._lock:
            if unchanged:
                self._counts.dirs_unmodified += 1
            elif folder.tree is None:
                self._counts.dirs_new += 1
            else:
                self._counts.dirs_changed += 1
        if not unchanged and folder.above is not None:
            folder.above.changed = True
        if folder.fingerprint is not None and not folder.noted and folder.recursive:
            self._fingerprints.new[folder.path] = Known(folder.fingerprint, tree, *folder.sizes)
        return node

    def _tree(self, folder: Folder) -> str:
        """The id of the folder's tree, which is stored if it is a new one."""
        nodes = folder.nodes
        if not folder.changed and folder.tree is not None and (folder.same or len(nodes) == len(folder.known or ())):
            return folder.tree
        if folder.same and folder.tree is not None:
            # Not by known_nodes: a tree that cannot be read would leave the folder without its files.
            before: dict[bytes, bytes | Fields] = {
                unquote(node["name"]): node for node in self._reader.tree(folder.tree)
            }
            nodes = list((before | dict(nodes)).items())
        return self._writer.save(
            tree_bytes(
                (raw, node if isinstance(node, bytes) else go_json(node)) for raw, node in nodes if node != LEFT_OUT
            ),
            tree=True,
        ).hex()

    def _is_known(self, folder: Folder, node: bytes) -> bool:
        """Whether the folder's own metadata are as in the parent snapshot."""
        if folder.above is None:
            return True
        fields = orjson.loads(node)
        return bool(self.known_nodes(folder.above).get(fields["name"]) == fields)
