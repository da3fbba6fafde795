"""Checking a repository: its structure, and on demand every byte.

Notices what stock ``restic check`` does too, and beyond it: sizes that are not the sum of their blobs, trees that are
not sorted or not written as Go writes them, packs that mix trees and data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from shared.errors import BlobNotFound, Damaged
from shared.repository.crypto import read_key_file
from shared.repository.index import IndexedBlob, IndexedPack, Location, parse_id
from shared.repository.index_files import IndexFiles
from shared.repository.packs import pack_name, parse_pack
from shared.repository.reader import BlobReader, open_blob
from shared.repository.repository import Repository
from shared.repository.snapshots import load_snapshot
from shared.repository.trees import unquote
from shared.repository.walk import TreeWalker, WalkedTree

READS_AT_ONCE = 3
MOST_FINDINGS = 1000


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be."""

    object: str
    """The blob's name in the container ``share``."""
    message: str


@dataclass(slots=True)
class CheckProgress:
    """Counters that a display may read at any time."""

    packs: int = 0
    packs_read: int = 0
    bytes_read: int = 0
    trees: int = 0
    snapshots: int = 0


@dataclass(slots=True)
class Checker:
    """One check. ``run`` returns the findings, at most a thousand; none means that everything is as it should be."""

    repository: Repository
    progress: CheckProgress = field(default_factory=CheckProgress)
    check: Callable[[], None] = lambda: None
    findings: list[Finding] = field(default_factory=list)
    _files: IndexFiles = field(default_factory=IndexFiles)
    """What the index files name, a damaged one as far as it could be read."""
    _present: dict[bytes, int] = field(default_factory=dict)
    _snapshots: set[str] = field(default_factory=set)
    _needed: set[bytes] = field(default_factory=set)
    """Packs that the snapshots need."""

    def run(self, *, read_data: bool = False) -> list[Finding]:
        self._look()
        self._check_packs(range(len(self._files)))
        self._check_snapshots(self.repository.list_ids("snapshots"), listed=True)
        if read_data:
            self.read_packs(self._files.pack_ids)
        return self.findings

    def run_for(self, snapshots: Iterable[str]) -> list[Finding]:
        """As ``run`` with ``read_data``, of these snapshots and what they need."""
        self._look()
        self._check_snapshots(snapshots)
        self._check_packs([number for pack in self._needed if (number := self._files.number(pack)) is not None])
        self.read_packs(self._needed)
        return self.findings

    def packs(self) -> list[bytes]:
        """Ids of the packs that an index names and that are there, after ``run``."""
        return [pack for pack in self._files.pack_ids if pack in self._present]

    def snapshots(self) -> set[str]:
        """Ids of the snapshots that are there, after ``run``."""
        return self._snapshots

    def _look(self) -> None:
        self._check_keys()
        self._present = self.repository.list_packs()
        self._check_index()

    def _found(self, name: str, message: str) -> None:
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(Finding(name, message))

    def _check_keys(self) -> None:
        for blob in self.repository.store.list("keys/"):
            body = self.repository.store.get(blob.name)
            if hashlib.sha256(body).hexdigest() != blob.name.rpartition("/")[2]:
                self._found(blob.name, "the key file does not have the hash that is its name")
                continue
            try:
                read_key_file(body, "")
            except Damaged as error:
                self._found(blob.name, str(error))

    def _check_index(self) -> None:
        seen: set[str] = set()
        while names := [blob.name for blob in self.repository.store.list("index/") if blob.name not in seen]:
            seen.update(names)
            if not [name for name in names if not self._read_index(name)]:
                break
        for number, pack_id in enumerate(self._files.pack_ids):
            if pack_id not in self._present:  # known last: what lies in a pack that is there is looked for in that
                self.repository.index.add_pack(self._files.pack(number))

    def _read_index(self, name: str) -> bool:
        """False: a prune has replaced it since it was listed, and what it wrote instead is in the next listing."""
        self.check()
        try:
            document = self.repository.load_unpacked(name)
            self.repository.index.add_file(document, present=self._present)
            for pack in document["packs"]:
                blobs = tuple(_indexed(fields) for fields in pack["blobs"])
                self._files.add(IndexedPack(parse_id(pack["id"]), blobs))
        except BlobNotFound:
            return False
        except (Damaged, KeyError, TypeError, ValueError) as error:
            self._found(name, f"the index cannot be read: {error}")
        return True

    def _check_packs(self, numbers: Collection[int]) -> None:
        """Packs that an index names: there, as long as their blobs say, and each of one kind."""
        self.progress.packs = len(numbers)
        for number in numbers:
            pack_id = self._files.pack_ids[number]
            name = pack_name(pack_id)
            size = self._present.get(pack_id)
            if size is None and (since := self.repository.store.stat(name)):  # a prune has written it meanwhile
                size = self._present[pack_id] = since.size_bytes
            if size is None:
                self._found(name, "an index names the pack, and it is not there")
                continue
            if size != self._files.size_bytes(number):
                self._found(name, f"the pack is {size} bytes long, by its index {self._files.size_bytes(number)}")
            if self._files.is_mixed(number):
                self._found(name, "the pack mixes trees and data")

    def _check_snapshots(self, snapshots: Iterable[str], *, listed: bool = False) -> None:
        """``listed``: one that is gone meanwhile was removed by retention."""
        walker = TreeWalker(BlobReader(self.repository), check=self.check)
        for snapshot_id in snapshots:
            self.check()
            try:
                snapshot = load_snapshot(self.repository, snapshot_id)
            except Damaged as error:
                if not listed or self.repository.store.stat(f"snapshots/{snapshot_id}"):
                    self._found(error.object or f"snapshots/{snapshot_id}", str(error))
                continue
            self._snapshots.add(snapshot_id)
            self.progress.snapshots += 1
            for tree in walker.walk([snapshot.tree]):
                self.progress.trees += 1
                self._check_tree(tree, f"snapshots/{snapshot_id}")

    def _check_tree(self, tree: WalkedTree, needed_by: str) -> None:
        """A finding names the pack that the tree lies in."""
        if tree.pack is None:
            self._found(needed_by, f"no index names the tree {tree.id}, which the snapshot needs")
            return
        self._needed.add(bytes.fromhex(tree.pack[-64:]))
        if tree.error:
            if bytes.fromhex(tree.pack[-64:]) in self._present:  # else the pack is a finding already
                self._found(tree.pack, f"tree {tree.id}: {tree.error}")
            return
        if not tree.body.endswith(b"\n"):
            self._found(tree.pack, f"tree {tree.id} does not end in a newline, as restic writes it")
        last: bytes | None = None
        for node in tree.nodes:
            try:
                name = unquote(node["name"])
                if last is not None and name <= last:
                    self._found(tree.pack, f"tree {tree.id} is not sorted, or names {node['name']!r} twice")
                last = name
                self._check_node(tree.pack, tree.id, node)
            except (Damaged, AttributeError, TypeError, ValueError) as error:
                message = f"tree {tree.id}: the node {node['name']!r} cannot be read: {error}"
                self._found(tree.pack, message)

    def _check_node(self, pack: str, tree: str, node: dict[str, Any]) -> None:
        name = node["name"]
        if node.get("type") == "dir":
            if not node.get("subtree"):
                self._found(pack, f"tree {tree}: the folder {name!r} has no tree")
            return
        if node.get("type") != "file":
            return
        if node.get("content") is None:
            self._found(pack, f"tree {tree}: the file {name!r} has no list of blobs")
            return
        total = 0
        for blob_id in node["content"]:
            location = self.repository.index.find(bytes.fromhex(blob_id), tree=False)
            if location is None:
                self._found(pack, f"tree {tree}: no index names blob {blob_id}, which the file {name!r} needs")
                return
            self._needed.add(location.pack)
            total += location.plain_bytes
        if total != node.get("size", 0):
            size = node.get("size", 0)
            self._found(pack, f"tree {tree}: the file {name!r} has size {size}, its blobs are {total} bytes long")

    # --- every byte ---

    def read_packs(self, packs: Iterable[bytes]) -> None:
        """Read packs back whole, after ``run``: their hashes, and each blob in them opened. Those that no index names
        and those that are not there are left out."""
        packs = sorted({pack for pack in packs if self._files.number(pack) is not None and pack in self._present})
        with ThreadPoolExecutor(READS_AT_ONCE, "check") as pool:
            for start in range(0, len(packs), 64):
                for pack_id, messages in zip(
                    packs[start : start + 64], pool.map(self._read_pack, packs[start : start + 64]), strict=True
                ):
                    for message in messages:
                        self._found(pack_name(pack_id), message)

    def _read_pack(self, pack_id: bytes) -> list[str]:
        self.check()
        try:
            body = self.repository.store.get(pack_name(pack_id))
        except BlobNotFound:
            return ["the pack is not there any more"]
        self.progress.packs_read += 1
        self.progress.bytes_read += len(body)
        if hashlib.sha256(body).digest() != pack_id:
            return ["the pack does not have the hash that is its name"]
        return list(self._check_blobs(pack_id, body))

    def _check_blobs(self, pack_id: bytes, body: bytes) -> Iterator[str]:
        key = self.repository.key
        try:
            blobs = parse_pack(key, body)
        except Damaged as error:
            yield str(error)
            return
        number = self._files.number(pack_id)
        if number is None or sorted(blobs) != sorted(self._files.blobs(number)):
            yield "the pack's header and the index list different blobs"
        view = memoryview(body)
        for blob in blobs:
            location = Location(pack_id, blob.offset, blob.length, blob.plain_length)
            try:
                plain = open_blob(key, view[blob.offset : blob.offset + blob.length], blob.id, location)
            except Damaged as error:
                yield str(error)
                continue
            if len(plain) != location.plain_bytes:
                yield f"blob {blob.id.hex()} is {len(plain)} bytes long, by the header {location.plain_bytes}"


def _indexed(fields: dict[str, Any]) -> IndexedBlob:
    """``KeyError``, ``TypeError``, ``ValueError`` for what cannot be a blob."""
    numbers = fields["offset"], fields["length"], fields.get("uncompressed_length", 0)
    if not all(type(number) is int and 0 <= number < 1 << 32 for number in numbers):
        raise ValueError(f"blob {fields['id']} lies nowhere")
    return IndexedBlob(parse_id(fields["id"]), fields["type"] == "tree", *numbers)
