"""A repository in a folder, written blob by blob, with snapshots of files that a test names."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from shared.repository.checker import Checker
from shared.repository.crypto import KdfCost, MasterKey, write_key_file
from shared.repository.index import IndexedPack
from shared.repository.packs import SealedBlob, build_pack, pack_name
from shared.repository.prune import IndexChange, PruneLimits, PrunePlan, carry_out, plan_prune, sweepable
from shared.repository.repository import Config, Repository
from shared.repository.trees import Metadata, dir_node, file_node, tree_bytes
from shared.storage.blob_store import BlobStore
from shared.storage.local_folder import LocalFolderStore

PASSWORD = "correct horse battery"
TIMES = Metadata(mtime_ns=10**18, ctime_ns=10**18)
ALL = PruneLimits(max_unused=0.0, max_repack_bytes=1 << 30)
"""Repack to the last unused byte."""


@dataclass
class Model:
    """``Model.make(folder)``. Packs were written yesterday, each a second after the one before it."""

    store: LocalFolderStore
    key: MasterKey
    config: Config
    _age: int = 0
    _unindexed: list[IndexedPack] = field(default_factory=list)

    @classmethod
    def make(cls, folder: Path, *, version: int = 2) -> Model:
        store = LocalFolderStore(folder)
        store.create_container_if_missing()
        key, config = MasterKey.generate(), Config("ab" * 32, version, "3DA3358B4DC173")
        key_file = write_key_file(key, PASSWORD, created="2026-11-23T00:00:00Z", cost=KdfCost(16, 1, 1))
        store.put(f"keys/{hashlib.sha256(key_file).hexdigest()}", key_file)
        store.put("config", config.sealed(key))
        return cls(store, key, config)

    def open(self, store: BlobStore | None = None) -> Repository:
        return Repository(store or self.store, self.key, self.config)

    # --- writing ---

    def pack(self, *plains: bytes, tree: bool = False, named: bool = True) -> str:
        """Store blobs as one pack; ``index`` is to name it if ``named``. Returns its blob name."""
        sealed = [SealedBlob(hashlib.sha256(plain).digest(), self.key.seal(plain), 0) for plain in plains]
        pack, body = build_pack(self.key, sealed, tree=tree)
        self.store.put(pack_name(pack.id), body)
        self._age += 1
        written = time.time() - 86400 + self._age
        os.utime(self.store.folder / pack_name(pack.id), (written, written))
        if named:
            self._unindexed.append(pack)
        return pack_name(pack.id)

    def index(self) -> str:
        """Write one index file of the packs since the last one; returns its name."""
        (name,) = self.open().write_index(self._unindexed)
        self._unindexed = []
        return name

    def trees(self, files: Mapping[str, Sequence[bytes]]) -> list[bytes]:
        """The trees of a snapshot of ``files`` (path with at most one ``/`` -> its blobs), the root first."""
        folders: dict[str, list[tuple[bytes, bytes]]] = {}
        for path, blobs in files.items():
            folder, _, name = path.rpartition("/")
            ids = [hashlib.sha256(blob).hexdigest() for blob in blobs]
            raw = name.encode()
            folders.setdefault(folder, []).append((raw, file_node(raw, TIMES, sum(map(len, blobs)), ids)))
        below = {name: tree_bytes(nodes) for name, nodes in folders.items() if name}
        root = folders.get("", []) + [
            (name.encode(), dir_node(name.encode(), TIMES, hashlib.sha256(tree).hexdigest()))
            for name, tree in below.items()
        ]
        return [tree_bytes(root), *below.values()]

    def snapshot(self, root: bytes) -> str:
        """Write a snapshot of a tree; returns its id."""
        fields = {
            "time": "2026-11-23T00:00:00Z",
            "tree": hashlib.sha256(root).hexdigest(),
            "paths": ["/site"],
            "hostname": "server",
        }
        return self.open().save_unpacked("snapshots", orjson.dumps(fields))

    def back_up(self, files: Mapping[str, Sequence[bytes]]) -> str:
        """A snapshot with the trees in one pack, the data in another, and an index. Stores what is there once more."""
        trees = self.trees(files)
        data = sorted({blob for blobs in files.values() for blob in blobs})
        if data:
            self.pack(*data)
        self.pack(*dict.fromkeys(trees), tree=True)
        self.index()
        return self.snapshot(trees[0])

    def forget(self, snapshots: Iterable[str]) -> None:
        for snapshot in snapshots:
            self.store.delete(f"snapshots/{snapshot}")

    # --- pruning, as the keeper does it ---

    def snapshots(self) -> list[str]:
        return list(self.open().list_ids("snapshots"))

    def plan(self, limits: PruneLimits = ALL, store: BlobStore | None = None) -> PrunePlan:
        return plan_prune(self.open(store), self.snapshots(), limits)

    def mark(self, limits: PruneLimits = ALL, store: BlobStore | None = None) -> IndexChange:
        """Plan, carry out, delete the obsolete index files."""
        repository = self.open(store)
        plan = plan_prune(repository, self.snapshots(), limits)
        change = carry_out(repository, plan, check=lambda: None)
        for name in change.obsolete_indexes:
            repository.store.delete(name)
        return change

    def sweep(self, marked: Iterable[str], store: BlobStore | None = None) -> list[str]:
        repository = self.open(store)
        names = sorted(sweepable(repository, set(marked)))
        for name in names:
            repository.store.delete(name)
        return names

    # --- looking ---

    def names(self, prefix: str) -> set[str]:
        return {blob.name for blob in self.store.list(prefix)}

    def findings(self) -> list[str]:
        """What our own check finds, every byte read."""
        checker = Checker(self.open())
        return [f"{finding.object}: {finding.message}" for finding in checker.run(read_data=True)]
