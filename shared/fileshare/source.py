"""What can be backed up: a tree of files behind one protocol.

Implementations: ``smb_source.SmbSource`` (the share), ``local_source.LocalSource`` (a folder of this machine).
Paths are relative to the source, ``/`` between their parts, and ``""`` is the source itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeVar

from shared.repository.trees import Metadata
from shared.smb.types import ReadRequest as FileRequest

__all__ = [
    "Entry",
    "FileContent",
    "FileFacts",
    "FileRequest",
    "LargeFile",
    "Listing",
    "Requests",
    "Source",
    "Unreadable",
    "UnreadableFile",
]

FINGERPRINT_BYTES = 16
FILE, FOLDER, LINK, OTHER = "file", "dir", "link", "other"


class Entry(NamedTuple):
    """What a folder's listing says of one thing in it. It may be stale: see ``Source.look``."""

    name: str
    kind: str
    """``FILE``, ``FOLDER``, ``LINK`` (a name surrogate: never followed) or ``OTHER`` (a device, a socket)."""
    size_bytes: int
    metadata: Metadata
    """Without a security descriptor."""


class _Named(Protocol):
    @property
    def name(self) -> str: ...


Named = TypeVar("Named", bound=_Named)


def each_once(entries: list[Named]) -> list[Named]:
    """The entries, each name once: a server may list one twice while the folder changes; what it says last counts."""
    by_name = {entry.name: entry for entry in entries}
    return entries if len(by_name) == len(entries) else list(by_name.values())


class Listing:
    """Everything in one folder, each name once."""

    def __init__(self, path: str, entries: list[Entry], metadata: Metadata, security_denied: bool = False) -> None:
        self.path = path
        self.metadata = metadata
        """Of the folder itself, with its security descriptor where those are kept."""
        self.security_denied = security_denied
        """The descriptor was asked for and refused."""
        self._entries = each_once(entries)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def entries(self) -> list[Entry]:
        return self._entries

    def folders(self) -> list[str]:
        """Names of the folders in it that can be entered."""
        return [entry.name for entry in self._entries if entry.kind == FOLDER]

    def fingerprint(self) -> str:
        """Equal for equal listings, the folder's own metadata included; hex."""
        lines = [ascii(self.metadata), *map(ascii, self._entries)]
        return hashlib.blake2b("\n".join(lines).encode(), digest_size=FINGERPRINT_BYTES).hexdigest()


@dataclass(slots=True)
class FileContent:
    """A whole small file, as it was when it was open."""

    request: FileRequest
    metadata: Metadata
    data: bytes | memoryview
    security_denied: bool = False


@dataclass(slots=True)
class FileFacts:
    """What an attributes-only open says, which is never stale. ``too_large``: asked to be read whole, and it is
    too large for that."""

    request: FileRequest
    metadata: Metadata
    size_bytes: int
    too_large: bool = False


@dataclass(slots=True)
class Unreadable:
    """Something in the source that could not be read, while the source itself works."""

    path: str
    reason: str
    """``access-denied``, ``sharing-violation``, ``vanished``, ``changed-while-read``, ``io-error`` and the like."""
    message: str
    request: FileRequest | None = field(default=None, repr=False)


class UnreadableFile(Exception):
    def __init__(self, unreadable: Unreadable) -> None:
        super().__init__(unreadable.message)
        self.unreadable = unreadable


class LargeFile(Protocol):
    """An open file that is read from front to end."""

    metadata: Metadata
    size_bytes: int
    security_denied: bool

    def __iter__(self) -> Iterator[memoryview]:
        """The bytes from the offset asked for to the real end of the file, in pieces. A piece is valid until the next
        is asked for. ``UnreadableFile`` when it can be read no further."""
        ...

    def changed(self) -> bool:
        """Whether the file is no longer what it was when it was opened."""
        ...


Requests = Callable[[bool], FileRequest | None]
"""Where a source takes its next request from. Called with True it blocks until there is one; with False, None stands
for none at this moment. ``EOFError`` when there will be no more."""


class Source(Protocol):
    """Every method may run in a thread of its own beside the others; each uses its own connection.

    Errors: ``SourceUnreachable``, ``SourceLoginRefused``, ``SourceNotFound``: the source as a whole cannot be used.
    """

    hostname: str
    """For the snapshot: the server, never the instance that we run on."""
    path: str
    """For the snapshot: the share as an absolute path with ``/``."""
    name: str
    """Last part of the source's URL: the one directory at the top of the tree."""
    data_time_ns: int | None
    """The moment that the data stands for, where that is not now (a previous version)."""

    def scan(self, pending: list[str]) -> Iterator[Listing | Unreadable]:
        """List the folders in ``pending``, from its right end, until it is empty and nothing is under way.

        The caller appends sub-folders to it between two results.
        """
        ...

    def read(self, requests: Requests) -> Iterator[FileContent | FileFacts | Unreadable]:
        """Read small files whole, many at a time, results in any order. ``FileFacts``: too large for that."""
        ...

    def look(self, requests: Requests) -> Iterator[FileFacts | Unreadable]:
        """Open files for their attributes only, many at a time, results in any order."""
        ...

    def open_large(self, path: str, offset: int = 0) -> AbstractContextManager[LargeFile]:
        """Open a file of any size; one at a time. ``UnreadableFile`` when it cannot be."""
        ...

    def close(self) -> None:
        """Close what is still open; whoever opened the source calls it."""
        ...

    def encode_name(self, name: str) -> bytes:
        """A name as the repository holds it."""
        ...

    def decode_name(self, raw: bytes) -> str:
        """The inverse of ``encode_name``."""
        ...
