"""A folder of this machine as a source: for trying Lifeboat out, for tests, and for a share that is mounted."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import SourceNotFound
from shared.fileshare.source import (
    FILE,
    FOLDER,
    LINK,
    OTHER,
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
_PIECE_BYTES = 4 << 20
_WINDOWS = os.name == "nt"


class LocalSource:
    """``SourceNotFound`` unless ``folder`` is a folder."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise SourceNotFound(
                f"there is no folder {folder}",
                remedy="Set LIFEBOAT_SHARE_URL to a folder that is there.",
                setting="LIFEBOAT_SHARE_URL",
            )
        self._folder = os.fspath(folder.absolute())
        self.hostname = "localhost"
        self.path = folder.absolute().as_posix()
        self.name = folder.absolute().name or "root"
        self.data_time_ns: int | None = None

    def scan(self, pending: list[str]) -> Iterator[Listing | Unreadable]:
        while pending:
            path = pending.pop()
            try:
                yield self._list(path)
            except OSError as error:
                if not path:
                    raise SourceNotFound(
                        f"the folder {self.path} cannot be read: {error.strerror}",
                        remedy="Give the user that Lifeboat runs as the right to read it.",
                        setting="LIFEBOAT_SHARE_URL",
                    ) from error
                yield _unreadable(path, error)

    def read(self, requests: Requests) -> Iterator[FileContent | FileFacts | Unreadable]:
        for request in _all(requests):
            try:
                with Path(self._full(request.path)).open("rb") as file:
                    status = os.fstat(file.fileno())
                    if status.st_size > SMALL_FILE_BYTES:
                        yield FileFacts(request, _metadata(status), status.st_size, too_large=True)
                    else:
                        yield FileContent(request, _metadata(status), file.read())
            except OSError as error:
                yield _unreadable(request.path, error, request)

    def look(self, requests: Requests) -> Iterator[FileFacts | Unreadable]:
        for request in _all(requests):
            try:
                status = Path(self._full(request.path)).stat()
            except OSError as error:
                yield _unreadable(request.path, error, request)
            else:
                yield FileFacts(request, _metadata(status), status.st_size)

    @contextmanager
    def open_large(self, path: str, offset: int = 0) -> Iterator[_LocalFile]:
        try:
            with Path(self._full(path)).open("rb", buffering=0) as file:
                file.seek(offset)
                yield _LocalFile(path, file.fileno())
        except OSError as error:
            raise UnreadableFile(_unreadable(path, error)) from error

    def close(self) -> None:
        """Nothing stays open."""

    def encode_name(self, name: str) -> bytes:
        return os.fsencode(name)

    def decode_name(self, raw: bytes) -> str:
        return os.fsdecode(raw)

    def _full(self, path: str) -> str:
        return f"{self._folder}/{path}" if path else self._folder

    def _list(self, path: str) -> Listing:
        entries = []
        full = self._full(path)
        with os.scandir(full) as found:
            for item in found:
                try:
                    entries.append(_entry(item.name, item.stat(follow_symlinks=False)))
                except FileNotFoundError:
                    continue  # it went between the listing and the look: as if it had never been there
        return Listing(path, entries, _metadata(Path(full).stat()))


class _LocalFile:
    def __init__(self, path: str, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        status = os.fstat(descriptor)
        self.metadata = _metadata(status)
        self.size_bytes = status.st_size
        self.security_denied = False

    def __iter__(self) -> Iterator[memoryview]:
        buffer = memoryview(bytearray(_PIECE_BYTES))
        with os.fdopen(self._descriptor, "rb", buffering=0, closefd=False) as file:
            while count := file.readinto(buffer):
                yield buffer[:count]

    def changed(self) -> bool:
        status = os.fstat(self._descriptor)
        return (status.st_size, status.st_mtime_ns) != (self.size_bytes, self.metadata.mtime_ns)


def _all(requests: Requests) -> Iterator[FileRequest]:
    while True:
        try:
            request = requests(True)
        except EOFError:
            return
        assert request is not None
        yield request


def _entry(name: str, status: os.stat_result) -> Entry:
    mode = status.st_mode
    if stat.S_ISREG(mode):
        kind = FILE
    elif stat.S_ISDIR(mode):
        kind = FOLDER
    else:
        kind = LINK if stat.S_ISLNK(mode) else OTHER
    return Entry(name, kind, status.st_size, _metadata(status))


def _metadata(status: os.stat_result) -> Metadata:
    return Metadata(
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_mtime_ns if _WINDOWS else status.st_ctime_ns,
        mode=stat.S_IMODE(status.st_mode) & 0o777,
        uid=status.st_uid,
        gid=status.st_gid,
        inode=status.st_ino & 0xFFFFFFFFFFFFFFFF,
        creation=ns_to_filetime(status.st_ctime_ns) if _WINDOWS else None,
        attributes=getattr(status, "st_file_attributes", None),
    )


def _unreadable(path: str, error: OSError, request: FileRequest | None = None) -> Unreadable:
    if isinstance(error, FileNotFoundError):
        reason = "vanished"
    elif isinstance(error, PermissionError):
        reason = "access-denied"
    else:
        reason = "io-error"
    return Unreadable(path, reason, f"{path}: {error.strerror or error}", request)
