"""A share in memory, for what Samba does not do: stale listings, denied descriptors, links, files that change while
they are read, names that are no UTF-16, a server that dies.

    share = MemoryShare()
    share.put("sites/index.html", b"...")
    share.refuse("sites/locked.log", "sharing-violation")
    source = share.open()          # a ``shared.fileshare.source.Source``

It stands in for the share only where the real server cannot be brought to it; ``share.read`` and ``share.looked`` tell
which files were opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from shared.errors import SourceUnreachable
from shared.fileshare.source import (
    FILE,
    FOLDER,
    LINK,
    Entry,
    FileContent,
    FileFacts,
    FileRequest,
    Listing,
    Requests,
    Unreadable,
    UnreadableFile,
)
from shared.repository.trees import Metadata, ns_to_filetime

SMALL_FILE_BYTES = 1 << 20
_PIECE_BYTES = 256 << 10
_START_NS = 1_700_000_000_000_000_000
_TICK_NS = 1_000_000_000

DESCRIPTOR = bytes.fromhex("0100048014000000240000000000000000000000" + "01020000000000052000000020020000" * 2)
"""A self-relative security descriptor: owner and group BUILTIN\\Administrators."""


@dataclass
class MemoryFile:
    data: bytes
    time_ns: int
    file_id: int
    listed: tuple[int, int] | None = None
    """Size and time that the listing shows instead of the true ones."""


@dataclass
class MemoryShare:
    """Paths have ``/`` between their parts. Folders come into being with what is in them."""

    name: str = "WebSites"
    files: dict[str, MemoryFile] = field(default_factory=dict)
    folders: dict[str, int] = field(default_factory=lambda: {"": _START_NS})
    links: set[str] = field(default_factory=set)
    listed: list[str] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    """Files whose content was asked for, in order."""
    looked: list[str] = field(default_factory=list)
    """Files that were opened for their attributes only."""
    small_file_bytes: int = SMALL_FILE_BYTES
    operations: int = 0
    """Listings, opens and pieces read so far."""
    reading: int = 0
    """The same without listings."""
    _now: int = _START_NS
    _ids: int = 0
    _refused: dict[str, tuple[str, float]] = field(default_factory=dict)
    _no_security: set[str] = field(default_factory=set)
    _changes: dict[str, bytes] = field(default_factory=dict)
    _dies_after: float = float("inf")
    _before_read: dict[str, Callable[[], None]] = field(default_factory=dict)

    # --- what is in it ---

    def put(self, path: str, data: bytes, *, listing: str = "true") -> None:
        """Write a file anew. With the listing ``stale`` it goes on showing the file that was there before."""
        before = self.files.get(path)
        shown = None
        if listing == "stale":
            assert before is not None, "a listing can only be stale about a file that was there"
            shown = before.listed or (len(before.data), before.time_ns)
        if before is None:
            self._ids += 1
        self.files[path] = MemoryFile(data, self._tick(), before.file_id if before else self._ids, shown)
        self.make_folder(path.rpartition("/")[0])

    def make_folder(self, path: str) -> None:
        while path not in self.folders:
            self.folders[path] = self._tick()
            path = path.rpartition("/")[0]

    def link(self, path: str) -> None:
        """A junction or symbolic link."""
        self.links.add(path)
        self.make_folder(path.rpartition("/")[0])

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with everything in it."""
        for known in (self.files, self.folders):
            for each in [each for each in known if each == path or each.startswith(f"{path}/")]:
                del known[each]

    def rename(self, path: str, new: str) -> None:
        self.files[new] = self.files.pop(path)
        self.make_folder(new.rpartition("/")[0])

    # --- what goes wrong ---

    def refuse(self, path: str, reason: str = "access-denied", *, times: float = float("inf")) -> None:
        """A file or folder that cannot be opened, at its next ``times`` opens."""
        self._refused[path] = (reason, times)

    def deny_security(self, path: str) -> None:
        self._no_security.add(path)

    def change_while_read(self, path: str, data: bytes) -> None:
        """The file's content becomes ``data`` between its open and the end of its being read."""
        self._changes[path] = data

    def before_reading(self, path: str, action: Callable[[], None]) -> None:
        self._before_read[path] = action

    def die_after(self, operations: float) -> None:
        """The server is gone after so many listings, reads and looks; ``inf``: it is back."""
        self._dies_after = operations

    # --- its use ---

    def open(self, previous_version: int | None = None) -> MemorySource:
        del previous_version
        return MemorySource(self)

    def content(self) -> dict[str, bytes]:
        return {path: file.data for path, file in self.files.items()}

    def operate(self, *, listing: bool = False) -> None:
        self.operations += 1
        self.reading += not listing
        self._dies_after -= 1
        if self._dies_after < 0:
            raise SourceUnreachable("the server of the share is gone", setting="LIFEBOAT_SHARE_URL")

    def refusal(self, path: str) -> Unreadable | None:
        reason, times = self._refused.get(path, ("", 0.0))
        if times <= 0:
            return None
        self._refused[path] = (reason, times - 1)
        return Unreadable(path, reason, f"{path}: refused by the test ({reason})")

    def change(self, path: str) -> bool:
        data = self._changes.pop(path, None)
        if data is not None:
            self.put(path, data)
        return data is not None

    def about_to_read(self, path: str) -> None:
        self.operate()
        self.read.append(path)
        if action := self._before_read.get(path):
            action()

    def metadata(self, path: str, time_ns: int, file_id: int, *, attributes: int, security: bool) -> Metadata:
        denied = path in self._no_security
        return Metadata(
            mtime_ns=time_ns,
            ctime_ns=time_ns,
            mode=0o755 if attributes & 0x10 else 0o644,
            inode=file_id,
            creation=ns_to_filetime(_START_NS),
            attributes=attributes,
            security=DESCRIPTOR if security and not denied else None,
        )

    def security_denied(self, path: str) -> bool:
        return path in self._no_security

    def _tick(self) -> int:
        self._now += _TICK_NS
        return self._now


class MemorySource:
    """One opening of the share. Windows names: WTF-8, so that lone surrogates pass."""

    def __init__(self, share: MemoryShare) -> None:
        self._share = share
        self.hostname = "memory"
        self.path = f"/{share.name}"
        self.name = share.name
        self.data_time_ns: int | None = None

    def scan(self, pending: list[str]) -> Iterator[Listing | Unreadable]:
        while pending:
            path = pending.pop()
            self._share.operate(listing=True)
            self._share.listed.append(path)
            if path not in self._share.folders:
                yield Unreadable(path, "vanished", f"{path}: it is gone")
            elif refused := self._share.refusal(path):
                yield refused
            else:
                yield self._list(path)

    def read(self, requests: Requests) -> Iterator[FileContent | FileFacts | Unreadable]:
        share = self._share
        for request in _all(requests):
            path = request.path
            share.about_to_read(path)
            unreadable = self._refused(request)
            if unreadable:
                yield unreadable
                continue
            share.change(path)
            file = share.files[path]
            metadata = self._opened(path, file)
            if len(file.data) > share.small_file_bytes:
                yield FileFacts(request, metadata, len(file.data), too_large=True)
            else:
                yield FileContent(request, metadata, file.data, share.security_denied(path))

    def look(self, requests: Requests) -> Iterator[FileFacts | Unreadable]:
        share = self._share
        for request in _all(requests):
            path = request.path
            share.operate()
            share.looked.append(path)
            unreadable = self._refused(request)
            if unreadable:
                yield unreadable
                continue
            file = share.files[path]
            yield FileFacts(request, self._opened(path, file)._replace(security=None), len(file.data))

    @contextmanager
    def open_large(self, path: str, offset: int = 0) -> Iterator[_MemoryLargeFile]:
        share = self._share
        share.about_to_read(path)
        unreadable = self._refused(FileRequest(path, 0))
        if unreadable:
            raise UnreadableFile(unreadable)
        yield _MemoryLargeFile(share, path, offset, self._opened(path, share.files[path]))

    def close(self) -> None:
        """Nothing stays open."""

    def encode_name(self, name: str) -> bytes:
        return name.encode("utf-8", "surrogatepass")

    def decode_name(self, raw: bytes) -> str:
        return raw.decode("utf-8", "surrogatepass")

    def _refused(self, request: FileRequest) -> Unreadable | None:
        path = request.path
        unreadable = self._share.refusal(path)
        if unreadable is None and path not in self._share.files:
            unreadable = Unreadable(path, "vanished", f"{path}: it is gone")
        if unreadable is not None:
            unreadable.request = request
        return unreadable

    def _opened(self, path: str, file: MemoryFile) -> Metadata:
        """As a CREATE response: the truth, without a file id."""
        return self._share.metadata(path, file.time_ns, 0, attributes=0x20, security=True)

    def _list(self, path: str) -> Listing:
        share = self._share
        entries = []
        for each, file in list(share.files.items()):
            if each.rpartition("/")[0] == path:
                size, time_ns = file.listed or (len(file.data), file.time_ns)
                metadata = share.metadata(each, time_ns, file.file_id, attributes=0x20, security=False)
                entries.append(Entry(each.rpartition("/")[2], FILE, size, metadata))
        for kind, known in ((FOLDER, list(share.folders)), (LINK, sorted(share.links))):
            for each in known:
                if each and each.rpartition("/")[0] == path:
                    metadata = share.metadata(each, _START_NS, 0, attributes=0x10, security=False)
                    entries.append(Entry(each.rpartition("/")[2], kind, 0, metadata))
        own = share.metadata(path, share.folders[path], 0, attributes=0x10, security=True)
        return Listing(path, entries, own, share.security_denied(path))


class _MemoryLargeFile:
    def __init__(self, share: MemoryShare, path: str, offset: int, metadata: Metadata) -> None:
        self._share, self._path, self._offset = share, path, offset
        self._changed = False
        self.metadata = metadata
        self.size_bytes = len(share.files[path].data)
        self.security_denied = share.security_denied(path)

    def __iter__(self) -> Iterator[memoryview]:
        at = self._offset
        while True:
            if at > self._offset and self._share.change(self._path):
                self._changed = True
            if unreadable := self._share.refusal(f"{self._path} at {at}"):
                raise UnreadableFile(Unreadable(self._path, unreadable.reason, unreadable.message))
            piece = self._share.files[self._path].data[at : at + _PIECE_BYTES]
            if not piece:
                return
            self._share.operate()
            yield memoryview(piece)
            at += len(piece)

    def changed(self) -> bool:
        return self._changed


def _all(requests: Requests) -> Iterator[FileRequest]:
    while True:
        try:
            request = requests(True)
        except EOFError:
            return
        assert request is not None
        yield request
