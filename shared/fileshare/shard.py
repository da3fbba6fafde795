"""One shard: a set of subtrees, read and stored, able to stop at a time budget and to go on later.

Threads, and what flows between them through bounded channels:

    scan -> compare   listings (scan.py)
    compare -> look   files that seem unchanged, where the run looks at them
    compare, look -> small, large   files to be read
    small, large -> work   contents to be hashed, sealed and packed (several workers)

What is finished goes to the assembly (assembly.py), which puts the trees together.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from shared.errors import SourceNotFound
from shared.fileshare.assembly import Assembly, Fields, Folder
from shared.fileshare.channel import Channel
from shared.fileshare.fingerprints import Fingerprints, options_digest
from shared.fileshare.outcome import Counts, Outcome
from shared.fileshare.patterns import Patterns
from shared.fileshare.scan import Scan
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
from shared.repository.chunker import MIN_CHUNK_BYTES, chunk_stream, chunks
from shared.repository.reader import BlobReader
from shared.repository.trees import Metadata, file_node, quote, rfc3339, unquote
from shared.repository.writer import BlobWriter

FILES_QUEUED = 20_000
"""Files that the scan may be ahead of the reading."""
BYTES_QUEUED = 32 << 20
"""Contents that the reading may be ahead of the workers."""
BATCH_FILES = 256
BATCH_BYTES = 1 << 20
NO_FILE_ID = (0, 0xFFFFFFFFFFFFFFFF)


@dataclass(frozen=True, slots=True)
class Options:
    """How a share is read."""

    include: Patterns = field(default_factory=lambda: Patterns(()))
    exclude: Patterns = field(default_factory=lambda: Patterns(()))
    tolerate: Patterns = field(default_factory=lambda: Patterns(()))
    look: bool = False
    """Open each file that only seems unchanged: the listing may be stale."""
    readers: int = 2
    """Connections over which small files are read: a server works on one connection with one processor."""
    workers: int = 2
    """Threads that hash, compress and seal."""

    def digest(self) -> str:
        """Stands for what decides which entries of a listing are backed up."""
        return options_digest(self.include.patterns, self.exclude.patterns)


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
    fingerprints: str | None = None
    """Where it is done: the data blob with the fingerprints of its folders."""


class _File:
    """A file that is to be read, in its folder."""

    __slots__ = ("entry", "fields", "folder", "raw")

    def __init__(self, folder: Folder, entry: Entry, raw: bytes, fields: Fields | None) -> None:
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
        fingerprints: Fingerprints | None = None,
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
        self._fingerprints = fingerprints or Fingerprints()
        self._progress = progress or Progress()
        self._deadline = deadline
        self._check = check
        self._outcome = Outcome()
        self._assembly = Assembly(writer, reader, self._fingerprints, self._outcome.counts)
        self._scan: Scan | None = None
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self._stopped = False
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

    def run(self, items: Sequence[Item], continue_from: str | None = None, scan: Scan | None = None) -> ShardResult:
        """Back up the items. What it refers to is in the vault and indexed when it returns.

        ``scan``: one that was begun ahead, of just these items; it is closed. None: one is begun here.

        Errors: those of the source as a whole and of the storage; a file or folder that cannot be read is a line in
        the outcome.
        """
        if continue_from:
            self._resume(continue_from)
        scan = scan or self._start_scan(items)
        try:
            return self._run(scan, items)
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            scan.close()

    def _run(self, scan: Scan, items: Sequence[Item]) -> ShardResult:
        self._scan = scan
        compare = self._thread("compare", lambda: self._compare(scan, items))
        look = self._thread("look", self._look)
        small = [self._thread(f"small-{n}", self._read_small) for n in range(self._options.readers)]
        large = self._thread("large", self._read_large)
        workers = [self._thread(f"work-{n}", self._store) for n in range(self._options.workers)]
        _join(compare)
        self._looks.close()
        _join(look)
        self._small.close()
        _join(*small)
        self._large.close()
        _join(large)
        self._work.close()
        _join(*workers)
        if self._failure is not None:
            raise self._failure
        self._writer.flush()
        _count_stored(self._outcome.counts, self._writer)
        state = fingerprints = None
        if self._stopped and len(self._assembly.results) < len(items):
            state = self._save_state()
        elif self._fingerprints.new:
            fingerprints = self._fingerprints.save(self._writer, self._options.digest())
        self._writer.flush()
        return ShardResult(state is None, state, self._assembly.results, self._outcome, fingerprints)

    def _start_scan(self, items: Sequence[Item]) -> Scan:
        decode = self._source.decode_name
        return Scan(
            self._source,
            [item.path for item in items if item.path not in self._assembly.results],
            exclude=self._options.exclude,
            shallow=frozenset(item.path for item in items if not item.recursive),
            known={
                path: frozenset(decode(unquote(node["name"])) for node in nodes if node.get("subtree"))
                for path, nodes in self._finished.items()
            },
        )

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
        if self._scan is not None:
            self._scan.abort()

    def _stopping(self) -> bool:
        self._check()
        if not self._stopped and self._deadline is not None and time.monotonic() >= self._deadline:
            self._stopped = True
            for channel in (self._looks, self._small, self._large):
                channel.abort()
            if self._scan is not None:
                self._scan.abort()
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

    # --- compare ---

    def _compare(self, scan: Scan, items: Sequence[Item]) -> None:
        for item in items:
            if item.path not in self._assembly.results:
                name = item.path.rpartition("/")[2] or self._source.name
                raw = self._source.encode_name(name)
                self._assembly.begin(Folder(item.path, raw, None, tree=item.parent_tree, recursive=item.recursive))
        for listing in scan:
            if self._stopping():
                return
            folder = self._assembly.folders[listing.path]
            if isinstance(listing, Unreadable):
                self._refuse_folder(folder, listing)
            elif not self._is_same(folder, listing):
                self._listed(folder, listing)
        self._progress.scanned = True

    def _is_same(self, folder: Folder, listing: Listing) -> bool:
        """Whether the folder lists exactly as it did, and is taken as it was; the folders in it are still compared."""
        known = self._fingerprints.known.get(folder.path)
        if known is None or self._options.look or listing.path in self._finished or not folder.recursive:
            return False
        folder.fingerprint = listing.fingerprint()
        if (known.fingerprint, known.tree) != (folder.fingerprint, folder.tree):
            return False
        if not self._holds(bytes.fromhex(known.tree), tree=True):
            return False
        folder.metadata = listing.metadata
        folder.same = True
        folder.sizes = (known.files, known.bytes)
        encode, exclude = self._source.encode_name, self._options.exclude
        prefix = f"{folder.path}/" if folder.path else ""
        for name in listing.folders():
            path = prefix + name
            if not (exclude and exclude.match(path)):
                before = self._fingerprints.known.get(path)
                raw = encode(name)
                tree = before.tree if before else self._subtree(folder, raw)
                self._assembly.begin(Folder(path, raw, folder, tree=tree))
        self._count_unchanged(known.files, known.bytes)
        self._assembly.finished_one(folder)
        return True

    def _subtree(self, folder: Folder, raw: bytes) -> str | None:
        fields = self._assembly.known_nodes(folder).get(quote(raw))
        return fields.get("subtree") if fields is not None else None

    def _listed(self, folder: Folder, listing: Listing) -> None:
        """Compare a folder's entries with its nodes in the parent snapshot, and send on what is to be read."""
        folder.metadata = listing.metadata
        if folder.recursive and folder.fingerprint is None:
            folder.fingerprint = listing.fingerprint()
        if listing.security_denied:
            folder.noted = True
            self._note_security(listing.path or "/")
        known = self._assembly.known_nodes(folder)
        finished = {node["name"]: node for node in self._finished.pop(listing.path, ())}
        folder.nodes = [(unquote(name), node) for name, node in finished.items()]
        folder.changed = folder.changed or bool(finished)
        folder.noted = folder.noted or bool(finished)
        prefix = f"{folder.path}/" if folder.path else ""
        small: list[tuple[FileRequest, int]] = []
        large: list[tuple[FileRequest, int]] = []
        looks: list[tuple[FileRequest, int]] = []
        unchanged = unchanged_bytes = 0
        options, encode = self._options, self._source.encode_name
        exclude, include = options.exclude, options.include
        for entry in listing.entries:
            path = prefix + entry.name
            if exclude and exclude.match(path):
                continue
            raw = encode(entry.name)
            quoted = quote(raw)
            if quoted in finished:
                continue
            if entry.kind == FOLDER:
                if folder.recursive:
                    fields = known.get(quoted)
                    tree = fields.get("subtree") if fields is not None else None
                    self._assembly.begin(Folder(path, raw, folder, tree=tree))
                continue
            if entry.kind != FILE:
                folder.noted = True
                self._note("not_descended", path, entry.kind, "links and special files are not followed")
                continue
            if include and not include.match(path):
                continue
            fields = known.get(quoted)
            if fields is not None and _same_file(fields, entry) and self._stored(fields):
                if not options.look:
                    folder.nodes.append((raw, fields))
                    unchanged += 1
                    unchanged_bytes += entry.size_bytes
                    continue
                requests = looks
            elif entry.size_bytes > MIN_CHUNK_BYTES:
                requests = large
            else:
                requests = small
            requests.append((FileRequest(path, entry.size_bytes, _File(folder, entry, raw, fields)), 1))
        waiting = len(small) + len(large) + len(looks)
        self._assembly.expect(folder, waiting)
        self._progress.files_found += waiting
        folder.sizes = (unchanged, unchanged_bytes)
        self._count_unchanged(unchanged, unchanged_bytes)
        for channel, requests in ((self._looks, looks), (self._small, small), (self._large, large)):
            if requests:
                channel.put_all(requests)
        self._assembly.finished_one(folder)

    def _count_unchanged(self, files: int, size: int) -> None:
        with self._lock:
            self._progress.files_found += files
            self._progress.files += files
            self._outcome.counts.files_unmodified += files
            self._outcome.counts.total_bytes += size

    def _refuse_folder(self, folder: Folder, unreadable: Unreadable) -> None:
        if folder.above is None and not folder.path:
            raise SourceNotFound(
                f"the share itself cannot be listed: {unreadable.message}",
                remedy="Check LIFEBOAT_SHARE_URL and the rights of LIFEBOAT_SHARE_USERNAME.",
                setting="LIFEBOAT_SHARE_URL",
            )
        self._refuse(unreadable)
        self._assembly.give_up(folder)

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
            large.file.folder.noted = True
            self._refuse(Unreadable(path, "changed-while-read", f"{path} changed while it was read"))
        if opened.security_denied:
            large.file.folder.noted = True
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
                file.folder.noted = True
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
        counts, folder = self._outcome.counts, file.folder
        with self._lock:
            folder.sizes = folder.sizes[0] + 1, folder.sizes[1] + size
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
        folder.changed = folder.changed or not unchanged
        self._assembly.finished_one(folder)

    def _refuse_file(self, file: _File, unreadable: Unreadable) -> None:
        self._refuse(unreadable)
        file.folder.changed = file.folder.noted = True
        self._assembly.finished_one(file.folder)

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
            folder.path: nodes
            for folder in self._assembly.folders.values()
            if (nodes := self._assembly.finished_nodes(folder))
        } | self._finished
        state = {
            "folders": folders,
            "files": begun,
            "nodes": self._assembly.results,
            "outcome": self._outcome.to_json(),
        }
        # Not by orjson, which refuses the lone surrogates that a path may hold.
        return self._writer.save(json.dumps(state).encode()).hex()

    def _resume(self, continue_from: str) -> None:
        state = json.loads(self._reader.load(bytes.fromhex(continue_from), tree=False))
        self._finished = state["folders"]
        self._begun = state["files"]
        self._outcome = Outcome.from_json(state["outcome"])
        self._assembly = Assembly(self._writer, self._reader, self._fingerprints, self._outcome.counts)
        self._assembly.results = state["nodes"]
        self._noted = {
            (kind, line["path"])
            for kind in ("unreadable", "tolerated", "not_descended", "without_security")
            for line in state["outcome"][kind]["first"]
        }


def _join(*threads: threading.Thread) -> None:
    """Wait for threads in a way that Ctrl-C ends on Windows too, where a plain join cannot be interrupted."""
    for thread in threads:
        while thread.is_alive():
            thread.join(1.0)


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
