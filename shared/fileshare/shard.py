"""One shard: a set of subtrees, read and stored, able to stop at a time budget and to go on later.

Threads, and what flows between them through bounded channels:

    scan  -> look   files that seem unchanged, where the run looks at them
    scan, look -> small, large   files to be read
    small, large -> work   contents to be hashed, sealed and packed (several workers)

Whoever finishes the last thing in a folder builds the folder's tree and hands its node to the folder above. A folder in
which nothing changed keeps its parent's tree id and is neither built nor hashed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from shared.errors import Damaged, SourceNotFound
from shared.fileshare.channel import Channel
from shared.fileshare.chunker import MIN_CHUNK_BYTES, chunk_stream, chunks
from shared.fileshare.outcome import Counts, Outcome
from shared.fileshare.patterns import Patterns
from shared.fileshare.source import (
    FILE,
    FOLDER,
    Entry,
    FileContent,
    FileFacts,
    FileRequest,
    LargeFile,
    Listing,
    Source,
    Unreadable,
    UnreadableFile,
)
from shared.repository.reader import BlobReader
from shared.repository.trees import Metadata, dir_node, file_node, go_json, quote, rfc3339, tree_bytes, unquote
from shared.repository.writer import BlobWriter

FILES_QUEUED = 20_000
"""Files that the scan may be ahead of the reading."""
BYTES_QUEUED = 32 << 20
"""Contents that the reading may be ahead of the workers."""
BATCH_FILES = 64
BATCH_BYTES = 1 << 20
NO_FILE_ID = (0, 0xFFFFFFFFFFFFFFFF)

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Options:
    """How a share is read."""

    include: Patterns = field(default_factory=lambda: Patterns(()))
    exclude: Patterns = field(default_factory=lambda: Patterns(()))
    tolerate: Patterns = field(default_factory=lambda: Patterns(()))
    look: bool = False
    """Open each file that only seems unchanged: the listing may be stale."""
    workers: int = 2
    """Threads that hash, compress and seal."""


@dataclass(frozen=True, slots=True)
class Item:
    """A subtree of the share that a shard takes care of."""

    path: str
    parent_tree: str | None
    """Tree id of the same folder in the parent snapshot."""
    recursive: bool = True
    """False: the files of this one folder only; the folders in it are other items."""


@dataclass(slots=True)
class Progress:
    """Counters that a display may read at any time."""

    files: int = 0
    bytes: int = 0
    files_found: int = 0
    scanned: bool = False


@dataclass(slots=True)
class ShardResult:
    """What a shard has come to."""

    done: bool
    continue_from: str | None
    """Where it is not done: the data blob that holds what is finished so far."""
    nodes: dict[str, str]
    """Each finished item's directory node, as JSON text."""
    outcome: Outcome


class _Folder:
    """A folder whose content is not all stored yet."""

    __slots__ = ("above", "changed", "item", "kept", "known", "metadata", "name", "nodes", "path", "tree", "waiting")

    def __init__(
        self, path: str, name: bytes, above: _Folder | None, item: Item, tree: str | None, known: Fields | None
    ) -> None:
        self.path = path
        self.name = name
        self.above = above
        self.item = item
        self.tree = tree
        """The folder's tree in the parent snapshot."""
        self.known = known
        """The folder's node in the parent snapshot."""
        self.metadata: Metadata | None = None
        self.nodes: list[tuple[bytes, bytes | Fields]] = []
        """Finished nodes: the parent's JSON object where nothing changed, else the bytes to be written."""
        self.kept = 0
        """How many nodes the parent's tree has."""
        self.changed = tree is None
        self.waiting = 1
        """Things in it that are not finished; one stands for the listing itself."""


class _File:
    """A file that is to be read, in its folder."""

    __slots__ = ("entry", "fields", "folder", "raw")

    def __init__(self, folder: _Folder, entry: Entry, raw: bytes, fields: Fields | None) -> None:
        self.folder = folder
        self.entry = entry
        self.raw = raw
        self.fields = fields
        """Its node in the parent snapshot."""


class _Large:
    """A large file under way: its chunks are stored in any order."""

    __slots__ = ("ended", "file", "ids", "lock", "metadata", "opened_bytes", "path", "size", "stored")

    def __init__(self, file: _File, opened: LargeFile, ids: Sequence[str], offset: int) -> None:
        prefix = f"{file.folder.path}/" if file.folder.path else ""
        self.path = prefix + file.entry.name
        self.file = file
        self.metadata = _with_id(opened.metadata, file.entry)
        self.opened_bytes = opened.size_bytes
        """Its size when it was opened."""
        self.ids: list[str | None] = list(ids)
        self.stored = len(ids)
        self.size = offset
        """Bytes read so far."""
        self.ended = False
        self.lock = threading.Lock()


_Work = list[FileContent] | tuple[_Large, int, memoryview]


class Shard:
    """Backs up ``items``. One use: make it, call ``run``."""

    def __init__(
        self,
        source: Source,
        writer: BlobWriter,
        reader: BlobReader,
        options: Options,
        *,
        progress: Progress | None = None,
        deadline: float | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """``deadline``: by ``time.monotonic()``, when to stop. ``check`` is called often and may raise to end it."""
        self._source = source
        self._writer = writer
        self._reader = reader
        self._holds = reader.repository.index.holds
        self._options = options
        self._progress = progress or Progress()
        self._deadline = deadline
        self._check = check
        self._outcome = Outcome()
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self._stopped = False
        self._results: dict[str, str] = {}
        self._folders: dict[str, _Folder] = {}
        self._partial: list[_Large] = []
        self._finished: dict[str, list[Fields]] = {}
        """Nodes that an earlier part of this very run finished, by the path of their folder."""
        self._begun: dict[str, Fields] = {}
        """Large files that an earlier part of this run began, by path."""
        self._noted: set[tuple[str, str]] = set()
        """What an earlier part of this run has listed already."""
        self._looks: Channel[FileRequest] = Channel(FILES_QUEUED)
        self._small: Channel[FileRequest] = Channel(FILES_QUEUED)
        self._large: Channel[FileRequest] = Channel(FILES_QUEUED)
        self._work: Channel[_Work] = Channel(BYTES_QUEUED)

    def run(self, items: Sequence[Item], continue_from: str | None = None) -> ShardResult:
        """Back up the items. What it refers to is in the vault and indexed when it returns.

        Errors: those of the source as a whole and of the storage; a file or folder that cannot be read is a line in
        the outcome.
        """
        if continue_from:
            self._resume(continue_from)
        scan = self._thread("scan", lambda: self._scan(items))
        look = self._thread("look", self._look)
        small = self._thread("small", self._read_small)
        large = self._thread("large", self._read_large)
        workers = [self._thread(f"work-{n}", self._store) for n in range(self._options.workers)]
        scan.join()
        self._looks.close()
        look.join()
        self._small.close()
        small.join()
        self._large.close()
        large.join()
        self._work.close()
        for worker in workers:
            worker.join()
        if self._failure is not None:
            raise self._failure
        state = None
        if self._stopped and self._folders:
            self._writer.flush()
            _count_stored(self._outcome.counts, self._writer)
            state = self._save_state()
            self._writer.flush()
        else:
            self._writer.flush()
            _count_stored(self._outcome.counts, self._writer)
        return ShardResult(state is None, state, self._results, self._outcome)

    # --- threads ---

    def _thread(self, name: str, work: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                work()
            except EOFError:
                pass
            except BaseException as error:
                self._fail(error)

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        return thread

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self._failure = self._failure or error
        for channel in (self._looks, self._small, self._large, self._work):
            channel.abort()

    def _stopping(self) -> bool:
        self._check()
        if not self._stopped and self._deadline is not None and time.monotonic() >= self._deadline:
            self._stopped = True
            for channel in (self._looks, self._small, self._large):
                channel.abort()
        return self._stopped

    def _requests(
        self, channel: Channel[FileRequest], flush: Callable[[], None]
    ) -> Callable[[bool], FileRequest | None]:
        def take(wait: bool) -> FileRequest | None:
            if self._stopping():
                raise EOFError
            request = channel.take(False)
            if request is None and wait:
                flush()
                return channel.take(True)
            return request

        return take

    # --- scan ---

    def _scan(self, items: Sequence[Item]) -> None:
        pending: list[str] = []
        for item in reversed(items):
            if item.path in self._results:
                continue
            name = item.path.rpartition("/")[2] or self._source.name
            self._folders[item.path] = _Folder(
                item.path, self._source.encode_name(name), None, item, item.parent_tree, None
            )
            pending.append(item.path)
        for listing in self._source.scan(pending):
            if self._stopping():
                return
            folder = self._folders.get(listing.path)
            assert folder is not None, f"the source listed {listing.path!r}, which nobody asked for"
            if isinstance(listing, Unreadable):
                self._refuse_folder(folder, listing)
            else:
                self._listed(folder, listing, pending)
        self._progress.scanned = True

    def _listed(self, folder: _Folder, listing: Listing, pending: list[str]) -> None:
        folder.metadata = listing.metadata
        if listing.security_denied:
            self._note_security(listing.path or "/")
        known = self._known_nodes(folder)
        finished = {node["name"]: node for node in self._finished.pop(listing.path, ())}
        folder.nodes = [(unquote(name), node) for name, node in finished.items()]
        prefix = f"{folder.path}/" if folder.path else ""
        small: list[tuple[FileRequest, int]] = []
        large: list[tuple[FileRequest, int]] = []
        looks: list[tuple[FileRequest, int]] = []
        unchanged = unchanged_bytes = 0
        options, encode = self._options, self._source.encode_name
        for entry in listing.entries:
            path = prefix + entry.name
            if options.exclude.match(path):
                continue
            raw = encode(entry.name)
            quoted = quote(raw)
            if quoted in finished:
                continue
            if entry.kind == FOLDER:
                if folder.item.recursive:
                    self._found_folder(folder, path, raw, known.get(quoted), pending)
                continue
            if entry.kind != FILE:
                self._note("not_descended", path, entry.kind, "links and special files are not followed")
                continue
            if options.include and not options.include.match(path):
                continue
            fields = known.get(quoted)
            request = FileRequest(path, entry.size_bytes, _File(folder, entry, raw, fields))
            if fields is not None and _same_file(fields, entry) and self._stored(fields):
                if not options.look:
                    folder.nodes.append((raw, fields))
                    unchanged += 1
                    unchanged_bytes += entry.size_bytes
                    continue
                looks.append((request, 1))
            elif entry.size_bytes > MIN_CHUNK_BYTES:
                large.append((request, 1))
            else:
                small.append((request, 1))
        waiting = len(small) + len(large) + len(looks)
        with self._lock:
            folder.waiting += waiting
            folder.changed = folder.changed or bool(finished)
            self._progress.files_found += unchanged + waiting
            self._progress.files += unchanged
            self._outcome.counts.files_unmodified += unchanged
            self._outcome.counts.total_bytes += unchanged_bytes
        for channel, requests in ((self._looks, looks), (self._small, small), (self._large, large)):
            if requests:
                channel.put_all(requests)
        self._one_finished(folder)

    def _known_nodes(self, folder: _Folder) -> dict[str, Fields]:
        """The folder's nodes in the parent snapshot, by quoted name."""
        if folder.tree is None:
            return {}
        try:
            nodes = self._reader.tree(folder.tree)
        except Damaged:  # read everything again: what is damaged is stored anew
            folder.tree, folder.changed = None, True
            return {}
        folder.kept = len(nodes)
        return {node["name"]: node for node in nodes}

    def _found_folder(self, above: _Folder, path: str, raw: bytes, fields: Fields | None, pending: list[str]) -> None:
        tree = fields.get("subtree") if fields is not None else None
        with self._lock:
            above.waiting += 1
        self._folders[path] = _Folder(path, raw, above, above.item, tree, fields)
        pending.append(path)

    def _refuse_folder(self, folder: _Folder, unreadable: Unreadable) -> None:
        if folder.above is None and not folder.path:
            raise SourceNotFound(
                f"the share itself cannot be listed: {unreadable.message}",
                remedy="Check LIFEBOAT_SHARE_URL and the rights of LIFEBOAT_SHARE_USERNAME.",
                setting="LIFEBOAT_SHARE_URL",
            )
        self._refuse(unreadable)
        del self._folders[folder.path]
        if folder.above is not None:
            folder.above.changed = True
            self._one_finished(folder.above)

    def _stored(self, fields: Fields) -> bool:
        """Whether all of a file's content is in packs that are there."""
        holds = self._holds
        return all(holds(bytes.fromhex(blob_id), tree=False) for blob_id in fields.get("content") or ())

    # --- read ---

    def _look(self) -> None:
        for facts in self._source.look(self._requests(self._looks, _nothing)):
            request = facts.request
            assert request is not None
            file = _file(request)
            if isinstance(facts, Unreadable):
                self._refuse_file(file, facts)
            elif file.fields is not None and _same(file.fields, facts.metadata, facts.size_bytes):
                file.folder.nodes.append((file.raw, file.fields))
                self._count_file(file, facts.size_bytes, unchanged=True)
            else:
                channel = self._large if facts.size_bytes > MIN_CHUNK_BYTES else self._small
                channel.put(request._replace(size=facts.size_bytes))

    def _read_small(self) -> None:
        batch: list[FileContent] = []
        batch_bytes = 0

        def flush() -> None:
            nonlocal batch, batch_bytes
            if batch:
                self._work.put(batch, batch_bytes + 256 * len(batch))
                batch, batch_bytes = [], 0

        for result in self._source.read(self._requests(self._small, flush)):
            if isinstance(result, FileContent):
                batch.append(result)
                batch_bytes += len(result.data)
                if len(batch) >= BATCH_FILES or batch_bytes >= BATCH_BYTES:
                    flush()
            elif isinstance(result, FileFacts):
                self._large.put(result.request)
            else:
                assert result.request is not None
                self._refuse_file(_file(result.request), result)
        flush()

    def _read_large(self) -> None:
        while not self._stopping():
            request = self._large.take()
            assert request is not None
            try:
                self._read_one_large(request)
            except UnreadableFile as error:
                self._refuse_file(_file(request), error.unreadable)

    def _read_one_large(self, request: FileRequest) -> None:
        file = _file(request)
        begun = self._begun.pop(request.path, None)
        if begun is not None:
            with self._source.open_large(request.path, begun["offset"]) as opened:
                if _same(begun, opened.metadata, opened.size_bytes):
                    self._stream(_Large(file, opened, begun["content"], begun["offset"]), opened)
                    return
        with self._source.open_large(request.path) as opened:
            self._stream(_Large(file, opened, [], 0), opened)

    def _stream(self, large: _Large, opened: LargeFile) -> None:
        path = large.path
        for chunk in chunk_stream(opened):
            with large.lock:
                large.ids.append(None)
                number = len(large.ids) - 1
            self._work.put((large, number, chunk), len(chunk))
            large.size += len(chunk)
            self._progress.bytes += len(chunk)
            if self._stopping():
                self._partial.append(large)
                return
        if opened.changed():
            self._refuse(Unreadable(path, "changed-while-read", f"{path} changed while it was read"))
        if opened.security_denied:
            self._note_security(path)
        with large.lock:
            large.ended = True
            whole = large.stored == len(large.ids)
        if whole:
            self._stored_large(large)

    # --- store ---

    def _store(self) -> None:
        while True:
            work = self._work.take()
            assert work is not None
            if isinstance(work, list):
                self._store_batch(work)
            else:
                self._store_chunk(*work)

    def _store_batch(self, batch: list[FileContent]) -> None:
        contents = [chunks(content.data) for content in batch]
        ids = iter(self._writer.save_many([chunk for content in contents for chunk in content]))
        for content, pieces in zip(batch, contents, strict=True):
            file = _file(content.request)
            hexes = [next(ids).hex() for _ in pieces]
            size = len(content.data)
            node = file_node(file.raw, _with_id(content.metadata, file.entry), size, hexes)
            file.folder.nodes.append((file.raw, node))
            if content.security_denied:
                self._note_security(content.request.path)
            self._progress.bytes += size
            self._count_file(file, size, unchanged=False)

    def _store_chunk(self, large: _Large, number: int, chunk: memoryview) -> None:
        blob_id = self._writer.save(chunk).hex()
        with large.lock:
            large.ids[number] = blob_id
            large.stored += 1
            whole = large.ended and large.stored == len(large.ids)
        if whole:
            self._stored_large(large)

    def _stored_large(self, large: _Large) -> None:
        file = large.file
        ids = [blob_id for blob_id in large.ids if blob_id is not None]
        file.folder.nodes.append((file.raw, file_node(file.raw, large.metadata, large.size, ids)))
        self._count_file(file, large.size, unchanged=False)

    # --- finish ---

    def _count_file(self, file: _File, size: int, *, unchanged: bool) -> None:
        counts = self._outcome.counts
        with self._lock:
            counts.total_bytes += size
            if unchanged:
                counts.files_unmodified += 1
            else:
                counts.bytes_read += size
                if file.fields is None:
                    counts.files_new += 1
                else:
                    counts.files_changed += 1
            self._progress.files += 1
        if not unchanged:
            file.folder.changed = True
        self._one_finished(file.folder)

    def _refuse_file(self, file: _File, unreadable: Unreadable) -> None:
        self._refuse(unreadable)
        file.folder.changed = True
        self._one_finished(file.folder)

    def _refuse(self, unreadable: Unreadable) -> None:
        kind = "tolerated" if self._options.tolerate.match(unreadable.path) else "unreadable"
        self._note(kind, unreadable.path, unreadable.reason, unreadable.message)

    def _note_security(self, path: str) -> None:
        self._note("without_security", path, "access-denied", "its security descriptor is refused")

    def _note(self, kind: str, path: str, reason: str, message: str) -> None:
        if (kind, path) in self._noted:
            return
        with self._lock:
            getattr(self._outcome, kind).append(path, reason, message)

    def _one_finished(self, folder: _Folder) -> None:
        while True:
            with self._lock:
                folder.waiting -= 1
                if folder.waiting:
                    return
            node = self._finish(folder)
            del self._folders[folder.path]
            above = folder.above
            if above is None:
                self._results[folder.path] = (node if isinstance(node, bytes) else go_json(node)).decode()
                return
            above.nodes.append((folder.name, node))
            folder = above

    def _finish(self, folder: _Folder) -> bytes | Fields:
        """Store the folder's tree. Returns its node: the parent's JSON object where nothing changed."""
        assert folder.metadata is not None
        counts = self._outcome.counts
        if not folder.changed and len(folder.nodes) == folder.kept and folder.tree is not None:
            tree = folder.tree
        else:
            tree = self._writer.save(
                tree_bytes((raw, node if isinstance(node, bytes) else go_json(node)) for raw, node in folder.nodes),
                tree=True,
            ).hex()
        known = folder.known
        unchanged = tree == folder.tree and (known is None or _same_folder(known, folder.metadata))
        with self._lock:
            if unchanged:
                counts.dirs_unmodified += 1
            elif folder.tree is None:
                counts.dirs_new += 1
            else:
                counts.dirs_changed += 1
        if unchanged and known is not None:
            return known
        if folder.above is not None:
            folder.above.changed = True
        return dir_node(folder.name, folder.metadata, tree)

    # --- stop and go on ---

    def _save_state(self) -> str:
        """Keep what is finished as a data blob that no snapshot refers to; a later prune removes it."""
        begun = self._begun | {
            large.path: {
                "type": "file",
                "size": large.opened_bytes,
                "mtime": rfc3339(large.metadata.mtime_ns),
                "ctime": rfc3339(large.metadata.ctime_ns),
                "offset": large.size,
                "content": large.ids,
            }
            for large in self._partial
        }
        folders = {
            folder.path: [orjson.loads(node) if isinstance(node, bytes) else node for _, node in folder.nodes]
            for folder in self._folders.values()
            if folder.nodes
        } | self._finished
        state = {
            "folders": folders,
            "files": begun,
            "nodes": self._results,
            "outcome": self._outcome.to_json(),
        }
        return self._writer.save(orjson.dumps(state)).hex()

    def _resume(self, continue_from: str) -> None:
        state = orjson.loads(self._reader.load(bytes.fromhex(continue_from), tree=False))
        self._finished = state["folders"]
        self._begun = state["files"]
        self._results = state["nodes"]
        self._outcome = Outcome.from_json(state["outcome"])
        self._noted = {
            (kind, line["path"])
            for kind in ("unreadable", "tolerated", "not_descended", "without_security")
            for line in state["outcome"][kind]["first"]
        }


def _nothing() -> None:
    """For a reader that keeps nothing back."""


def _file(request: FileRequest) -> _File:
    assert isinstance(request.context, _File)
    return request.context


def _same_file(fields: Fields, entry: Entry) -> bool:
    """Whether a listing shows the file that a node describes."""
    metadata = entry.metadata
    return _same(fields, metadata, entry.size_bytes) and (
        metadata.inode in NO_FILE_ID or fields.get("inode", metadata.inode) == metadata.inode
    )


def _same(fields: Fields, metadata: Metadata, size_bytes: int) -> bool:
    return bool(
        fields["type"] == "file"
        and fields.get("size", 0) == size_bytes
        and fields["mtime"] == rfc3339(metadata.mtime_ns)
        and fields["ctime"] == rfc3339(metadata.ctime_ns)
    )


def _same_folder(fields: Fields, metadata: Metadata) -> bool:
    """Whether a folder's own metadata would be written as they stand in its node."""
    return bool(fields == orjson.loads(dir_node(unquote(fields["name"]), metadata, fields["subtree"])))


def _with_id(metadata: Metadata, entry: Entry) -> Metadata:
    """The file id is known from the listing; an open does not tell it."""
    if metadata.inode or entry.metadata.inode in NO_FILE_ID:
        return metadata
    return metadata._replace(inode=entry.metadata.inode)


def _count_stored(counts: Counts, writer: BlobWriter) -> None:
    """Add what a writer stored."""
    stored = writer.stored
    counts.data_blobs += stored.data_blobs
    counts.tree_blobs += stored.tree_blobs
    counts.data_added += stored.plain_bytes
    counts.data_added_packed += stored.sealed_bytes
    counts.packs += stored.packs
