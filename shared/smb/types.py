"""What the SMB client takes and gives. Times are FILETIMEs: 100 ns since 1601-01-01 UTC, as integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

ATTRIBUTE_READ_ONLY = 0x1
ATTRIBUTE_DIRECTORY = 0x10
ATTRIBUTE_NORMAL = 0x80
ATTRIBUTE_REPARSE_POINT = 0x400
REPARSE_NAME_SURROGATE = 0x20000000
"""Bit of a reparse tag ([MS-FSCC] 2.1.2.1): the file stands for another name; it is a link or a mount point."""


class Entry(NamedTuple):
    """A name in a directory, as the directory shows it; on Windows size and times may be stale (MS-FSA 2.1.1.4)."""

    name: str
    """May hold lone surrogates; never ``.``, ``..``, empty, or with a ``/``, ``\\`` or NUL in it."""
    attributes: int
    size: int
    """Bytes."""
    creation: int
    write: int
    change: int
    file_id: int
    """0 where the file system has none."""
    reparse_tag: int
    """0 for everything that is not a reparse point."""

    @property
    def is_link(self) -> bool:
        """A symbolic link, junction or mount point: not to be descended, not to be read."""
        return bool(self.reparse_tag & REPARSE_NAME_SURROGATE)

    @property
    def is_directory(self) -> bool:
        """A directory to be listed; a link to a directory is none."""
        return bool(self.attributes & ATTRIBUTE_DIRECTORY) and not self.is_link


class Opened(NamedTuple):
    """What a file or directory was at the moment it was opened; never stale."""

    attributes: int
    size: int
    creation: int
    write: int
    change: int


@dataclass(slots=True)
class Listing:
    """A directory, read to its end."""

    path: str
    entries: list[Entry]
    opened: Opened
    security: bytes | None
    """Self-relative security descriptor with owner, group and DACL; None where not asked for or denied."""
    security_denied: bool


class ReadRequest(NamedTuple):
    """A small file to be read."""

    path: str
    """Relative to the endpoint, parts joined by ``/``."""
    size: int
    """From the listing: a hint that decides how much is asked for at once."""
    context: object = None
    """Returned untouched with the outcome."""


@dataclass(slots=True)
class Unreadable:
    """One path that could not be read; the others are not concerned."""

    path: str
    reason: str
    """Lower-case words with hyphens; ``ntstatus.reason`` lists them."""
    status: int
    """The server's NTSTATUS; 0 where it was not the server who refused."""
    message: str
    request: ReadRequest | None = None


@dataclass(slots=True)
class FileRead:
    """A whole file, read to its real end (``len(data)`` counts, whatever the listing said)."""

    request: ReadRequest
    opened: Opened
    data: bytes | memoryview
    """The caller's own: it stays as it is."""
    security: bytes | None
    security_denied: bool


@dataclass(slots=True)
class TooLarge:
    """The file turned out to be above the limit for small files when it was opened: read it as a stream."""

    request: ReadRequest
    opened: Opened


@dataclass(slots=True)
class Looked:
    """What a file is now, without its content."""

    request: ReadRequest
    opened: Opened


class WriteRequest(NamedTuple):
    """A small file to be made: written under ``temporary``, then renamed to ``path``."""

    path: str
    temporary: str
    """In the same folder as ``path``; an older one of that name is replaced."""
    data: bytes | memoryview
    attributes: int
    creation: int
    write: int
    security: bytes | None
    """Self-relative descriptor to set (owner, group and DACL), or None to inherit from the folder."""
    replace: bool
    """Whether an existing ``path`` may be replaced; otherwise it is ``Unwritten`` with reason ``exists``."""
    context: object = None


@dataclass(slots=True)
class Written:
    """The file is there under its own name."""

    request: WriteRequest
    security: str
    """``all``: as asked; ``dacl``: without owner and group, which the user may not set; ``none``: neither, or not
    asked for."""


@dataclass(slots=True)
class Unwritten:
    """The file could not be made; its temporary name is gone again where the server let it go."""

    request: WriteRequest
    reason: str
    status: int
    message: str


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What a server offers before anybody logs in."""

    dialect: str
    """As in ``ConnectionFacts``."""
    signing: str
    """The algorithm where nothing is encrypted."""
    cipher: str | None
    """None: it cannot encrypt, or is not willing to."""
    clock_ahead_seconds: float | None
    """The server's clock minus ours when it answered; None where it does not tell its time."""


@dataclass(frozen=True, slots=True)
class ConnectionFacts:
    """What was agreed with the server, for preflight and for people."""

    dialect: str
    """``2.0.2``, ``2.1``, ``3.0``, ``3.0.2`` or ``3.1.1``."""
    signing: str | None
    """``hmac-sha256``, ``aes-128-cmac`` or ``aes-128-gmac``; None where encryption does its work."""
    cipher: str | None
    """``aes-128-ccm``, ``aes-128-gcm``, ``aes-256-ccm`` or ``aes-256-gcm``; None where nothing is encrypted."""
    authentication: str
    """``ntlm`` or ``kerberos``."""
    max_read_bytes: int
    max_write_bytes: int


class FileUnreadable(Exception):
    """One file could not be read (or went on being read) as a stream."""

    def __init__(self, unreadable: Unreadable) -> None:
        super().__init__(f"{unreadable.path}: {unreadable.message}")
        self.unreadable = unreadable


class FileUnwritable(Exception):
    """One path could not be made, written or changed. ``reason`` and ``status`` as in ``Unreadable``."""

    def __init__(self, path: str, reason: str, status: int, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.reason = reason
        self.status = status
        self.message = message
