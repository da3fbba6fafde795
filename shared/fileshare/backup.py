"""Backing up a share: plan, back up shards, join.

Each step takes and returns plain JSON, so that a distributed engine can call it on any machine; whoever runs the steps
holds a lock on the repository from plan to record. Order of writes: packs, index, snapshot.

    plan          cuts the share into shards: items, each a subtree or one folder's own files
    backup_shard  reads and stores the items of one shard; stops at a time budget and is called again to go on
    join          puts the shards' trees together, checks that every pack is there, writes the snapshot
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from shared import PROGRAM_VERSION
from shared.errors import Damaged, SourceNotFound
from shared.fileshare.fingerprints import Fingerprints, index_state, still_indexed
from shared.fileshare.outcome import Outcome
from shared.fileshare.patterns import Patterns
from shared.fileshare.scan import Scan
from shared.fileshare.shard import Item, Options, Progress, Shard
from shared.fileshare.source import FOLDER, Listing, Source
from shared.repository.presence import missing_content
from shared.repository.reader import BlobReader
from shared.repository.repository import Repository
from shared.repository.snapshots import Summary, load_snapshot, save_snapshot
from shared.repository.trees import go_json, rfc3339, tree_bytes, unquote
from shared.repository.writer import BlobWriter
from shared.settings import ShareSettings

ITEMS_A_SHARD = 8
"""The share is cut finer than there are shards, so that a large folder does not leave the others waiting."""
MOST_LISTED_FOR_PLAN = 2_000

Json = dict[str, Any]
SourceFactory = Callable[[int | None], Source]
"""Opens the source; the argument is the previous version (FILETIME) that the plan chose, None for the live share."""


@dataclass(slots=True)
class ShareBackup:
    """What the three steps need. Cheap to make; one object may run several steps and then loads the index once."""

    settings: ShareSettings
    repository: Repository
    open_source: SourceFactory
    progress: Progress | None = None
    check: Callable[[], None] = lambda: None
    """Called often; raises to end the run."""
    scan: Scan | None = None
    """A scan of the whole share that was begun ahead, for a plan with one shard."""

    def plan(
        self,
        *,
        shards: int,
        parent: str | None,
        look: bool,
        previous_version: int | None = None,
        fingerprints: Json | None = None,
    ) -> Json:
        """Cut the share into at most ``shards`` shards.

        ``parent``: id of the snapshot to compare with; one that cannot be read counts as none. ``look``: open each
        file that only seems unchanged. ``fingerprints``: what ``join`` said of them for the parent.
        """
        started = rfc3339(time.time_ns())
        self._load_index()
        reader = BlobReader(self.repository)
        with closing(self.open_source(previous_version)) as source:
            parent_tree = self._share_tree(reader, parent, source)
            spine: list[str] = []
            items = [Item("", parent_tree)]
            if shards > 1:
                spine, items = self._cut(source, reader, parent_tree, shards)
        dealt: list[list[Json]] = [[] for _ in range(min(shards, len(items)))]
        for number, item in enumerate(items):
            dealt[number % len(dealt)].append(asdict(item))
        return {
            "started": started,
            "parent": parent if parent_tree else None,
            "look": look,
            "previous_version": previous_version,
            "fingerprints": self._usable(fingerprints) if parent_tree and not look else [],
            "spine": spine,
            "shards": dealt,
        }

    def backup_shard(
        self,
        plan: Json,
        items: Sequence[Json],
        *,
        continue_from: str | None = None,
        budget_seconds: float | None = None,
    ) -> Json:
        """Back up ``items``, one of the plan's shards. May run twice, on any machine; what is stored is used again.

        ``done`` false: the budget was spent; call again with the ``continue_from`` of the result.
        """
        self._load_index()
        options = Options(
            include=Patterns(self.settings.include),
            exclude=Patterns(self.settings.exclude),
            tolerate=Patterns(self.settings.tolerate),
            look=plan["look"],
        )
        reader = BlobReader(self.repository)
        deadline = None if budget_seconds is None else time.monotonic() + budget_seconds
        with (
            closing(self.open_source(plan["previous_version"])) as source,
            BlobWriter(self.repository) as writer,
        ):
            shard = Shard(
                source,
                writer,
                reader,
                options,
                fingerprints=Fingerprints.load(reader, plan["fingerprints"], options.digest()),
                progress=self.progress,
                deadline=deadline,
                check=self.check,
            )
            scan, self.scan = self.scan, None
            result = shard.run([Item(**item) for item in items], continue_from, scan)
        return {
            "done": result.done,
            "continue_from": result.continue_from,
            "nodes": result.nodes,
            "fingerprints": result.fingerprints,
            "outcome": result.outcome.to_json(),
        }

    def join(self, plan: Json, results: Sequence[Json], *, tags: Sequence[str] = ()) -> Json:
        """Put the shards together and write the snapshot. Returns its id and the outcome of them all.

        ``Damaged`` when something that the snapshot refers to is not in the vault: then no snapshot is written.
        """
        source = self.open_source(plan["previous_version"])  # for its names: nothing is connected
        outcome = Outcome()
        nodes: dict[str, str] = {}
        for result in results:
            outcome.add(Outcome.from_json(result["outcome"]))
            nodes.update(result["nodes"])
        if plan["spine"] or len(plan["shards"]) > 1:
            self._load_index()
        reader = BlobReader(self.repository)
        with BlobWriter(self.repository) as writer:
            below: dict[str, list[str]] = {}
            for path in nodes:
                if path:
                    below.setdefault(path.rpartition("/")[0], []).append(path)
            for path in reversed(plan["spine"]):
                self._add_folders(reader, writer, path, nodes, below.get(path, []))
            if "" not in nodes:
                raise SourceNotFound(
                    "the share itself could not be read",
                    remedy="Check LIFEBOAT_SHARE_URL and the rights of LIFEBOAT_SHARE_USERNAME.",
                    setting="LIFEBOAT_SHARE_URL",
                )
            top = nodes[""].encode()
            tree = writer.save(tree_bytes([(source.encode_name(source.name), top)]), tree=True).hex()
        if missing := missing_content(self.repository, tree):
            raise Damaged(
                f"{len(missing)} pack(s) that the new snapshot needs are not in the vault, the first is {missing[0]}",
                remedy="Run 'backup' again: what is missing is read and stored anew.",
                blob=missing[0],
            )
        ended = rfc3339(time.time_ns())
        counts = outcome.counts
        summary = Summary(
            backup_start=plan["started"],
            backup_end=ended,
            files_new=counts.files_new,
            files_changed=counts.files_changed,
            files_unmodified=counts.files_unmodified,
            dirs_new=counts.dirs_new,
            dirs_changed=counts.dirs_changed,
            dirs_unmodified=counts.dirs_unmodified,
            data_blobs=counts.data_blobs,
            tree_blobs=counts.tree_blobs,
            data_added=counts.data_added,
            data_added_packed=counts.data_added_packed,
            total_files_processed=counts.files,
            total_bytes_processed=counts.total_bytes,
        )
        data_time = plan["started"] if source.data_time_ns is None else rfc3339(source.data_time_ns)
        snapshot = save_snapshot(
            self.repository,
            time=data_time,
            tree=tree,
            paths=[source.path],
            hostname=source.hostname,
            program_version=PROGRAM_VERSION,
            summary=summary,
            parent=plan["parent"],
            tags=tags,
        )
        return {
            "snapshot": snapshot,
            "data_time": data_time,
            "finished": ended,
            "source": {"hostname": source.hostname, "path": source.path, "name": source.name},
            "fingerprints": {
                "blobs": [result["fingerprints"] for result in results if result["fingerprints"]],
                "index": index_state(self.repository),
            },
            "outcome": outcome.to_json(),
        }

    def _usable(self, fingerprints: Json | None) -> list[str]:
        """The blobs of fingerprints that hold: nothing that their trees refer to can be missing."""
        if not fingerprints or self.repository.missing_packs:
            return []
        return list(fingerprints["blobs"]) if still_indexed(self.repository, fingerprints["index"]) else []

    def _load_index(self) -> None:
        """Learn what is stored; packs that are gone, though an index names them, count as not stored."""
        self.repository.load_index(present=self.repository.trusted_packs())

    def _share_tree(self, reader: BlobReader, parent: str | None, source: Source) -> str | None:
        """The tree of the share's own folder in the parent snapshot."""
        if parent is None:
            return None
        try:
            nodes = reader.tree(load_snapshot(self.repository, parent).tree)
        except Damaged:
            return None
        raw = source.encode_name(source.name)
        return next((node.get("subtree") for node in nodes if unquote(node["name"]) == raw), None)

    def _cut(
        self, source: Source, reader: BlobReader, parent_tree: str | None, shards: int
    ) -> tuple[list[str], list[Item]]:
        """The folders above the cut, whose own files are items too, and the items."""
        exclude = Patterns(self.settings.exclude)
        spine: list[str] = []
        unlisted: list[str] = []
        trees: dict[str, str | None] = {"": parent_tree}
        level = [""]
        while level and len(level) < shards * ITEMS_A_SHARD and len(spine) < MOST_LISTED_FOR_PLAN:
            listed: list[str] = []
            below: list[str] = []
            for listing in source.scan(list(level)):
                if not isinstance(listing, Listing):
                    unlisted.append(listing.path)  # for the shard that has it as an item: it may be listed by then
                    continue
                listed.append(listing.path)
                known = self._subtrees(reader, trees[listing.path])
                for entry in listing.entries:
                    if entry.kind == FOLDER:
                        path = f"{listing.path}/{entry.name}" if listing.path else entry.name
                        if exclude.match(path):
                            continue
                        trees[path] = known.get(source.encode_name(entry.name))
                        below.append(path)
            spine += sorted(listed)
            level = sorted(below)
        items = [Item(path, trees[path], recursive=False) for path in spine]
        items += [Item(path, trees[path]) for path in [*unlisted, *level]]
        return spine, items

    def _subtrees(self, reader: BlobReader, tree: str | None) -> dict[bytes, str]:
        if tree is None:
            return {}
        try:
            return {unquote(node["name"]): node["subtree"] for node in reader.tree(tree) if node.get("subtree")}
        except Damaged:
            return {}

    def _add_folders(
        self, reader: BlobReader, writer: BlobWriter, path: str, nodes: dict[str, str], below: list[str]
    ) -> None:
        """Give a folder above the cut the folders below it, whose nodes are known by now."""
        if path not in nodes:
            return  # it could not be listed
        node = orjson.loads(nodes[path])
        entries = [(unquote(fields["name"]), go_json(fields)) for fields in reader.tree(node["subtree"])]
        entries += [(unquote(orjson.loads(nodes[each])["name"]), nodes[each].encode()) for each in below]
        node["subtree"] = writer.save(tree_bytes(entries), tree=True).hex()
        nodes[path] = go_json(node).decode()
