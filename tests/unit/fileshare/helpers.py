"""A repository in a folder, and the three steps of a backup as one call."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.fileshare.backup import ShareBackup
from shared.fileshare.inside import share_folder
from shared.fileshare.source import Source
from shared.repository.index import Location
from shared.repository.initialise import GivenPassword, open_or_initialise
from shared.repository.reader import BlobReader
from shared.repository.repository import Repository
from shared.repository.snapshots import load_snapshot
from shared.settings import Settings, ShareSettings
from shared.storage.local_folder import LocalFolderStore

PASSWORD = "of a test's repository"
Json = dict[str, Any]


def share_settings(**values: str) -> ShareSettings:
    """``share_settings(SHARE_EXCLUDE="*.tmp")``"""
    named = {f"LIFEBOAT_{name}": value for name, value in values.items()}
    return Settings({"LIFEBOAT_SHARE_URL": "file:///in-memory", **named}).share()


def through_json(value: Json) -> Json:
    """What an engine that keeps arguments and results as JSON hands on."""
    carried: Json = json.loads(json.dumps(value))
    return carried


@functools.cache
def _initialised() -> tuple[Repository, list[tuple[str, bytes]]]:
    """A repository made by the product, once: deriving its key takes a third of a second."""
    with tempfile.TemporaryDirectory() as folder:
        store, records = LocalFolderStore(Path(folder, "share")), LocalFolderStore(Path(folder, "records"))
        store.create_container_if_missing()
        records.create_container_if_missing()
        repository = open_or_initialise(store, records, GivenPassword(PASSWORD))
        return repository, [(blob.name, store.get(blob.name)) for blob in store.list("")]


@dataclass
class Bench:
    """A repository in a folder, opened anew for each step as if on another machine."""

    folder: Path
    remembers_listings: bool = True
    """Whether a run is told the fingerprints that the run of its parent left."""
    fingerprints: dict[str, Json] = field(default_factory=dict)
    records: LocalFolderStore = field(init=False)
    store: LocalFolderStore = field(init=False)

    def __post_init__(self) -> None:
        self.store = LocalFolderStore(self.folder / "share")
        self.records = LocalFolderStore(self.folder / "recovery-points")
        self.store.create_container_if_missing()
        self.records.create_container_if_missing()
        self._first, blobs = _initialised()
        for name, body in blobs:
            self.store.put(name, body)

    @property
    def path(self) -> Path:
        """The repository, for stock restic."""
        return self.folder / "share"

    def open(self) -> Repository:
        """Opened anew, nothing of its index known; the key is not derived again."""
        return Repository(self.store, self._first.key, self._first.config)

    def steps(self, open_source: Callable[[int | None], Source], settings: ShareSettings | None = None) -> ShareBackup:
        return ShareBackup(settings or share_settings(), self.open(), open_source)

    def back_up(
        self,
        open_source: Callable[[int | None], Source],
        *,
        settings: ShareSettings | None = None,
        shards: int = 1,
        parent: str | None = None,
        look: bool = False,
        budget_seconds: float | None = None,
    ) -> Json:
        """Plan, every shard to its end, join; each step on a repository opened anew, its words carried as JSON.

        Returns what ``join`` does, and besides ``stops``: how often a shard stopped at its budget.
        """
        plan = through_json(self.steps(open_source, settings).plan(shards=shards, parent=parent, look=look))
        results = []
        stops = 0
        for items in plan["shards"]:
            going_on = None
            while True:
                result = through_json(
                    self.steps(open_source, settings).backup_shard(
                        plan, items, continue_from=going_on, budget_seconds=budget_seconds
                    )
                )
                if result["done"]:
                    break
                stops += 1
                going_on = result["continue_from"]
            results.append(result)
        joined = self.steps(open_source, settings).join(plan, results)
        self.fingerprints[joined["snapshot"]] = joined["fingerprints"]
        return {**through_json(joined), "stops": stops}

    # --- what a snapshot holds ---

    def tree_of(self, snapshot: str) -> str:
        return load_snapshot(self.open(), snapshot).tree

    def nodes(self, snapshot: str, share: str | None = None) -> dict[str, Json]:
        """Path inside the share -> the node's JSON; the share itself is ``""``."""
        repository = self.open()
        repository.load_index(present=repository.list_packs(), keep_missing=True)
        reader = BlobReader(repository)
        top = share_folder(reader, load_snapshot(repository, snapshot).tree, share)
        found = {"": top.fields}
        pending = [("", top.subtree)]
        while pending:
            path, tree = pending.pop()
            assert tree is not None
            for node in reader.nodes(tree):
                inside = f"{path}/" * bool(path) + node.name.decode("utf-8", "surrogatepass")
                found[inside] = node.fields
                if node.subtree:
                    pending.append((inside, node.subtree))
        return found

    def nodes_raw(self, snapshot: str) -> list[Json]:
        """The nodes directly in the share, names as they stand in the repository."""
        repository = self.open()
        repository.load_index(present=repository.list_packs(), keep_missing=True)
        reader = BlobReader(repository)
        top = share_folder(reader, load_snapshot(repository, snapshot).tree, None)
        assert top.subtree is not None
        return reader.tree(top.subtree)

    def contents(self, snapshot: str) -> dict[str, bytes]:
        """Path -> bytes of every file in it."""
        repository = self.open()
        repository.load_index(present=repository.list_packs(), keep_missing=True)
        reader = BlobReader(repository)
        return {
            path: b"".join(reader.load(bytes.fromhex(blob), tree=False) for blob in node["content"])
            for path, node in self.nodes(snapshot).items()
            if node["type"] == "file"
        }

    def locations(self, snapshot: str, *, trees: bool) -> list[Location]:
        """Where the share's trees, or its files' contents, lie."""
        repository = self.open()
        repository.load_index(present=repository.list_packs(), keep_missing=True)
        reader = BlobReader(repository)
        blobs = [load_snapshot(repository, snapshot).tree] if trees else []
        for node in self.nodes(snapshot).values():
            blobs += [node["subtree"]] if trees and node["type"] == "dir" else []
            blobs += (node["content"] or []) if not trees else []
        return [reader.locate(bytes.fromhex(blob), tree=trees) for blob in blobs]

    def blob_names(self) -> set[str]:
        return {blob.name for blob in self.store.list("")}


def paths(outcome: Mapping[str, Any], kind: str) -> dict[str, str]:
    """Path -> reason of one of an outcome's lists."""
    return {line["path"]: line["reason"] for line in outcome[kind]["first"]}
