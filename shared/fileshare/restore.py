"""Restoring a share from a snapshot: what is there already is compared, the rest is read pack by pack and written.

The tree is walked in its order, and worked off in batches whose plan stays small. Small files are written as their
packs arrive; a large file is written front to back with its blobs fetched ahead. A damaged pack costs the files that
need it, named in the result; nothing is ever written from a blob whose hash is not its id.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from shared.errors import Damaged, printable
from shared.fileshare.channel import Channel
from shared.fileshare.patterns import Files, Patterns
from shared.fileshare.shard import Progress
from shared.fileshare.target import Existing, NewFile, Outcome, Target, UnwritableError
from shared.repository.content import RANGE_BYTES, fetch_range, file_pieces, open_in
from shared.repository.index import Location
from shared.repository.reader import BlobReader
from shared.repository.repository import Repository
from shared.repository.trees import Metadata, Node

BATCH_FILES = 10_000
FETCHES_AT_ONCE = 4
BYTES_AHEAD = 64 << 20
GAP_BYTES = 256 << 10
"""Two blobs of a pack that are no farther apart are fetched together."""
NAMES_LISTED = 100

Json = dict[str, Any]


@dataclass(slots=True)
class RestoreResult:
    """Counts of files; ``bytes`` is what was written."""

    restored: int = 0
    unchanged: int = 0
    skipped: int = 0
    skipped_names: list[str] = field(default_factory=list)
    failed: int = 0
    bytes: int = 0
    reasons: list[Json] = field(default_factory=list)

    @property
    def status(self) -> str:
        if not (self.skipped or self.failed or self.reasons):
            return "complete"
        return "partial" if self.restored or self.unchanged or self.skipped else "failed"


@dataclass(frozen=True, slots=True)
class _File:
    """A file to be written, and where its content lies."""

    path: str
    node: Node
    replace: bool


class ShareRestore:
    """Restores the folder ``tree`` of a snapshot. One use. ``only``: these files, and no tree is read that has none of
    them; ``include`` then counts for nothing."""

    def __init__(
        self,
        repository: Repository,
        target: Target,
        *,
        include: Sequence[str] = (),
        only: Files | None = None,
        overwrite: bool = False,
        progress: Progress | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._reader = BlobReader(repository)
        self._repository = repository
        self._target = target
        self._include: Files | Patterns = only or Patterns(include)
        self._overwrite = overwrite
        self._progress = progress or Progress()
        self._check = check
        self._result = RestoreResult()
        self._lock = threading.Lock()
        self._folders: list[tuple[str, Metadata]] = []
        self._made: set[str] = set()
        self._refused: set[str] = set()

    def run(self, folder: Node) -> RestoreResult:
        """``folder``: the share's own node. Errors of the storage and of the target as a whole are raised."""
        self._target.prepare()
        batch: list[_File] = []
        for file in self._walk(folder):
            self._check()
            batch.append(file)
            if len(batch) >= BATCH_FILES:
                self._write(batch)
                batch = []
        self._write(batch)
        for path, metadata in reversed(self._folders):
            try:
                self._target.finish_folder(path, metadata)
            except UnwritableError as error:
                self._failed(path, error.reason, f"folder {path or '/'}: {error.message}", count=False)
        return self._result

    # --- what is to be done ---

    def _walk(self, folder: Node) -> Iterator[_File]:
        """Files to be written in the share, as deep as it goes; makes the folders."""
        pending = [("", folder)]
        while pending:
            below: list[tuple[str, Node]] = []
            yield from self._files(*pending.pop(), below)
            pending += reversed(below)

    def _files(self, path: str, folder: Node, below: list[tuple[str, Node]]) -> Iterator[_File]:
        """Files to be written in one folder, whose own metadata is set at the end. Folders in it go to ``below``."""
        if folder.subtree is None:
            return
        if not self._include:
            self._make(path)
        if path in self._refused:
            return
        if not self._include:
            self._folders.append((path, folder.metadata))
        try:
            nodes = list(self._reader.nodes(folder.subtree))
        except Damaged as error:
            self._damaged(path or "/", error)
            return
        existing: dict[str, Existing] | None = None
        for node in nodes:
            try:
                name = self._target.decode_name(node.name)
            except ValueError as error:
                shown = node.name.decode("utf-8", "backslashreplace")
                self._failed(f"{path}/{shown}".lstrip("/"), "unsafe-name", f"{path}/{shown}: {error}")
                continue
            inside = f"{path}/{name}" if path else name
            if node.kind == "dir":
                if self._include.enters(inside):
                    below.append((inside, node))
            elif self._include and not self._include.match(inside):
                continue
            elif node.kind != "file":
                self._skip(inside, "special-file", f"{inside} is a {node.kind}, which is not restored")
            else:
                if self._include:
                    self._make(path)
                    if path in self._refused:
                        return
                if existing is None:
                    existing = self._existing(path)
                file = self._compare(inside, node, existing.get(name))
                if file is not None:
                    yield file

    def _existing(self, path: str) -> dict[str, Existing]:
        try:
            return self._target.existing(path)
        except UnwritableError as error:
            self._failed(path, error.reason, error.message, count=False)
            return {}

    def _compare(self, path: str, node: Node, there: Existing | None) -> _File | None:
        if there is None:
            return _File(path, node, replace=False)
        granularity = self._target.granularity_ns
        same_time = there.mtime_ns // granularity == node.metadata.mtime_ns // granularity
        if there.kind == "file" and there.size_bytes == node.size_bytes and same_time:
            self._result.unchanged += 1
            self._progress.files += 1
            return None
        if not self._overwrite or there.kind == "dir":
            self._skip(path, "exists", f"{path} is there already and differs")
            return None
        return _File(path, node, replace=True)

    def _make(self, path: str) -> None:
        """Make a folder and those above it, once."""
        missing = []
        while path and path not in self._made and path not in self._refused:
            missing.append(path)
            path = path.rpartition("/")[0]
        for inside in reversed(missing):
            if inside.rpartition("/")[0] in self._refused:
                self._refused.add(inside)
                continue
            try:
                self._target.make_folder(inside)
            except UnwritableError as error:
                self._refused.add(inside)
                self._failed(inside, error.reason, error.message)
            else:
                self._made.add(inside)

    # --- doing it ---

    def _write(self, batch: list[_File]) -> None:
        small = [file for file in batch if len(file.node.content) <= 1]
        self._write_small(small)
        for file in batch:
            if len(file.node.content) > 1:
                self._check()
                self._write_large(file)

    def _write_small(self, files: list[_File]) -> None:
        channel: Channel[NewFile] = Channel(BYTES_AHEAD)
        failure: list[BaseException] = []
        stop = threading.Event()

        def write() -> None:
            try:
                for outcome in self._target.write_small(channel.take):
                    self._written(outcome)
            except BaseException as error:
                failure.append(error)
                stop.set()
                channel.abort()

        writers = [threading.Thread(target=write, name=f"write-{n}", daemon=True) for n in range(self._target.writers)]
        for writer in writers:
            writer.start()
        try:
            self._feed(files, channel, stop)
        except EOFError:
            pass  # a writer gave up, and says why
        except BaseException:
            channel.abort()
            raise
        finally:
            channel.close()
            for writer in writers:
                writer.join()
        if failure:
            raise failure[0]

    def _feed(self, files: list[_File], channel: Channel[NewFile], stop: threading.Event) -> None:
        """Fetch the content of small files pack by pack and hand it to the writers."""
        packs: dict[bytes, list[tuple[Location, bytes, _File]]] = {}
        for file in files:
            if not file.node.content:
                channel.put(NewFile(file.path, b"", file.node.metadata, file.replace))
                continue
            blob_id = bytes.fromhex(file.node.content[0])
            try:
                location = self._reader.locate(blob_id, tree=False)
            except Damaged as error:
                self._damaged(file.path, error)
                continue
            packs.setdefault(location.pack, []).append((location, blob_id, file))

        def fetch(wanted: list[tuple[Location, bytes, _File]]) -> None:
            wanted.sort(key=lambda each: each[0].offset)
            for group in _ranges(wanted):
                if stop.is_set():
                    return
                self._check()
                self._fetch_group(group, channel)

        with ThreadPoolExecutor(FETCHES_AT_ONCE, "fetch") as pool:
            for done in [pool.submit(fetch, wanted) for wanted in packs.values()]:
                done.result()

    def _fetch_group(self, group: list[tuple[Location, bytes, _File]], channel: Channel[NewFile]) -> None:
        try:
            body, start = fetch_range(self._reader, [location for location, _, _ in group])
        except Damaged as error:
            for _, _, file in group:
                self._damaged(file.path, error)
            return
        opened: tuple[bytes, bytes] | None = None
        for location, blob_id, file in group:
            try:
                if opened is None or opened[0] != blob_id:
                    opened = blob_id, open_in(self._reader, body, start, location, blob_id)
                plain = opened[1]
                if len(plain) != file.node.size_bytes:
                    raise Damaged(f"its content is {len(plain)} bytes long, its size {file.node.size_bytes}")
            except Damaged as error:
                self._damaged(file.path, error)
                continue
            channel.put(NewFile(file.path, plain, file.node.metadata, file.replace), len(plain) + 512)

    def _write_large(self, file: _File) -> None:
        try:
            with closing(file_pieces(self._reader, file.node)) as pieces:  # its threads end here, whatever happens
                self._target.write_large(file.path, self._checked(pieces), file.node.metadata, replace=file.replace)
        except UnwritableError as error:
            self._written(Outcome(file.path, 0, error.reason, error.message))
        except Damaged as error:
            self._damaged(file.path, error)
        else:
            self._written(Outcome(file.path, file.node.size_bytes))

    def _checked(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._check()
            yield piece

    # --- what came of it ---

    def _written(self, outcome: Outcome) -> None:
        if outcome.reason == "exists":
            self._skip(outcome.path, outcome.reason, outcome.message)
        elif outcome.reason:
            self._failed(outcome.path, outcome.reason, outcome.message)
        else:
            with self._lock:
                self._result.restored += 1
                self._result.bytes += outcome.size_bytes
                self._progress.files += 1
                self._progress.bytes = self._result.bytes

    def _skip(self, path: str, code: str, message: str) -> None:
        with self._lock:
            self._result.skipped += 1
            if len(self._result.skipped_names) < NAMES_LISTED:
                self._result.skipped_names.append(printable(path))
                remedy = "Run it again with --overwrite to replace it." if code == "exists" else ""
                self._result.reasons.append(_reason(code, path, message, remedy))

    def _damaged(self, path: str, error: Damaged) -> None:
        self._failed(path, error.code, f"{path}: {error}", remedy=error.remedy, blob=error.object)

    def _failed(
        self, path: str, code: str, message: str, *, remedy: str = "", blob: str | None = None, count: bool = True
    ) -> None:
        with self._lock:
            self._result.failed += count
            if len(self._result.reasons) < 10 * NAMES_LISTED:
                reason = _reason(code, path, message, remedy or "Check the rights in the target and run it again.")
                if blob:
                    reason["object"] = blob
                self._result.reasons.append(reason)


def _reason(code: str, path: str, message: str, remedy: str) -> Json:
    return {
        "component": "share",
        "code": code,
        "message": printable(message),
        "remedy": remedy,
        "path": printable(path),
    }


def _ranges(
    wanted: list[tuple[Location, bytes, _File]],
) -> Iterator[list[tuple[Location, bytes, _File]]]:
    """Blobs of one pack, in the order of their offsets, in groups that are worth one request each."""
    group: list[tuple[Location, bytes, _File]] = []
    for each in wanted:
        location = each[0]
        if group:
            last = group[-1][0]
            far = location.offset - (last.offset + last.length) > GAP_BYTES
            long = location.offset + location.length - group[0][0].offset > RANGE_BYTES
            if far or long:
                yield group
                group = []
        group.append(each)
    if group:
        yield group
