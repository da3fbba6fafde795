"""Where a share is restored to, behind one protocol.

Implementations: ``local_target.LocalTarget`` (a folder of this machine), ``smb_target.SmbTarget``. Paths are relative
to the target, ``/`` between their parts. Every file is written under a temporary name and renamed, so that what stands
under its own name is whole.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

from shared.repository.trees import Metadata

TEMPORARY_PREFIX = ".lifeboat-"


class Existing(NamedTuple):
    """What a name in the target stands for already."""

    kind: str
    """``file``, ``dir`` or ``link``; as in ``source``."""
    size_bytes: int
    mtime_ns: int


class NewFile(NamedTuple):
    """A small file to be written."""

    path: str
    data: bytes
    metadata: Metadata
    replace: bool


class Outcome(NamedTuple):
    """What became of a file. ``reason`` is empty where it was written."""

    path: str
    size_bytes: int
    reason: str = ""
    message: str = ""


class UnwritableError(Exception):
    """One path could not be written; the target itself works."""

    def __init__(self, path: str, reason: str, message: str) -> None:
        super().__init__(message)
        self.path, self.reason, self.message = path, reason, message


NewFiles = Callable[[bool], NewFile | None]
"""Where a target takes its next file from: as ``source.Requests``."""


class Target(Protocol):
    """``TargetError`` and the errors of a source: the target as a whole cannot be used."""

    writers: int
    """How many threads should write small files side by side."""
    granularity_ns: int
    """Times that differ by less than this are equal there."""

    def reach(self) -> None:
        """See whether it can be used; nothing is made or changed."""
        ...

    def prepare(self) -> None:
        """Connect, and make the target's folder where it is missing."""
        ...

    def existing(self, folder: str) -> dict[str, Existing]:
        """What is in a folder, by name; empty where there is no such folder."""
        ...

    def make_folder(self, path: str) -> None:
        """Make a folder whose parent is there. ``UnwritableError`` where something else has its name."""
        ...

    def write_small(self, files: NewFiles) -> Iterator[Outcome]:
        """Write files as they come, in any order."""
        ...

    def write_large(self, path: str, pieces: Iterable[bytes], metadata: Metadata, *, replace: bool) -> None:
        """Write one file of any size. ``UnwritableError``; what ``pieces`` raises passes; nothing is left behind."""
        ...

    def finish_folder(self, path: str, metadata: Metadata) -> None:
        """Set a folder's own metadata, when everything in it is written. ``UnwritableError``."""
        ...

    def decode_name(self, raw: bytes) -> str:
        """A name of the repository as this target writes it. ``ValueError`` for one that would lead elsewhere."""
        ...

    def close(self) -> None: ...


def temporary_path(path: str) -> str:
    """A name beside ``path`` under which it can be written."""
    folder, _, _ = path.rpartition("/")
    name = f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    return f"{folder}/{name}" if folder else name


def refuse_unsafe(name: str) -> str:
    """The name itself, unless it would lead out of its folder (``ValueError``)."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise ValueError("the name would lead out of its folder")
    return name


def refuse_unsafe_on_windows(name: str) -> str:
    """As ``refuse_unsafe``, for Windows: a backslash or a colon leads elsewhere too."""
    if "\\" in name or ":" in name:
        raise ValueError("the name would lead out of its folder on Windows")
    return refuse_unsafe(name)
