"""An SMB share as a source. Each method reads over a connection of its own, made when there is something to read."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import SourceChanged
from shared.fileshare.source import (
    FILE,
    FINGERPRINT_BYTES,
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
    each_once,
)
from shared.repository.trees import FILETIME_UNIX_EPOCH, Metadata, filetime_to_ns
from shared.smb import types as smb
from shared.smb.client import SmbClient
from shared.smb.endpoint import SmbEndpoint
from shared.smb.streams import FileStream

SMALL_FILE_BYTES = 1 << 20
_STREAM_PIECE_BYTES = 2 << 20
_STREAM_AHEAD_BYTES = 16 << 20
_FINGERPRINT = struct.Struct("<IQQQQQI")
_FILE_MODE, _READ_ONLY_MODE, _FOLDER_MODE = 0o644, 0o444, 0o755


class SmbSource:
    """Nothing is connected until something is asked for."""

    def __init__(self, endpoint: SmbEndpoint, *, acl: bool, previous_version: int | None = None) -> None:
        """``acl``: keep security descriptors. ``previous_version``: FILETIME of the one to be read."""
        self._endpoint = endpoint
        self._acl = acl
        self._previous_version = previous_version
        self._large: SmbClient | None = None
        inside = f"/{endpoint.path}" if endpoint.path else ""
        self.hostname = endpoint.server
        self.path = f"/{endpoint.share}{inside}"
        self.name = self.path.rpartition("/")[2]
        self.data_time_ns = None if previous_version is None else filetime_to_ns(previous_version)

    def connect(self) -> SmbClient:
        """A connected client; whoever asks closes it."""
        client = SmbClient(self._endpoint, previous_version=self._previous_version)
        try:
            client.connect()
        except BaseException:
            client.close()
            raise
        return client

    def scan(self, pending: list[str]) -> Iterator[Listing | Unreadable]:
        with self.connect() as client:
            for found in client.list_directories(pending, security=self._acl):
                if isinstance(found, smb.Listing):
                    yield SmbListing(found)
                else:
                    yield Unreadable(found.path, found.reason, found.message)

    def read(self, requests: Requests) -> Iterator[FileContent | FileFacts | Unreadable]:
        requests = _wait_for_first(requests)
        with self.connect() as client:
            for found in client.read_files(requests, small_limit_bytes=SMALL_FILE_BYTES, security=self._acl):
                if isinstance(found, smb.FileRead):
                    metadata = _metadata(found.opened, _FILE_MODE, found.security)
                    yield FileContent(found.request, metadata, found.data, found.security_denied)
                elif isinstance(found, smb.TooLarge):
                    metadata = _metadata(found.opened, _FILE_MODE, None)
                    yield FileFacts(found.request, metadata, found.opened.size, too_large=True)
                else:
                    yield Unreadable(found.path, found.reason, found.message, found.request)

    def look(self, requests: Requests) -> Iterator[FileFacts | Unreadable]:
        requests = _wait_for_first(requests)
        with self.connect() as client:
            for found in client.look(requests):
                if isinstance(found, smb.Looked):
                    yield FileFacts(found.request, _metadata(found.opened, _FILE_MODE, None), found.opened.size)
                else:
                    yield Unreadable(found.path, found.reason, found.message, found.request)

    @contextmanager
    def open_large(self, path: str, offset: int = 0) -> Iterator[_SmbFile]:
        if self._large is None:
            self._large = self.connect()
        try:
            with self._large.open_stream(
                path,
                offset=offset,
                security=self._acl,
                chunk_bytes=_STREAM_PIECE_BYTES,
                ahead_bytes=_STREAM_AHEAD_BYTES,
            ) as stream:
                yield _SmbFile(self._large, stream)
        except smb.FileUnreadable as error:
            found = error.unreadable
            raise UnreadableFile(Unreadable(found.path, found.reason, found.message)) from error
        except SourceChanged as error:
            raise UnreadableFile(Unreadable(path, "changed-while-read", str(error))) from error

    def close(self) -> None:
        if self._large is not None:
            self._large.close()

    def encode_name(self, name: str) -> bytes:
        return name.encode("utf-8", "surrogatepass")

    def decode_name(self, raw: bytes) -> str:
        return raw.decode("utf-8", "surrogatepass")


class SmbListing(Listing):
    """A folder of the share. Its entries are converted when somebody asks for them: for most folders nobody does."""

    def __init__(self, found: smb.Listing) -> None:
        metadata = _metadata(found.opened, _FOLDER_MODE, found.security)
        super().__init__(found.path, [], metadata, found.security_denied)
        self._found = each_once(found.entries)

    def __len__(self) -> int:
        return len(self._found)

    @property
    def entries(self) -> list[Entry]:
        return [_entry(each) for each in self._found]

    def folders(self) -> list[str]:
        return [each.name for each in self._found if each.attributes & smb.ATTRIBUTE_DIRECTORY and each.is_directory]

    def fingerprint(self) -> str:
        pack = _FINGERPRINT.pack
        parts = [
            pack(attributes, size, creation, write, change, file_id, tag) + name.encode("utf-16-le", "surrogatepass")
            for name, attributes, size, creation, write, change, file_id, tag in self._found
        ]
        parts.append(ascii(self.metadata).encode())
        return hashlib.blake2b(b"\0\0".join(parts), digest_size=FINGERPRINT_BYTES).hexdigest()


class _SmbFile:
    def __init__(self, client: SmbClient, stream: FileStream) -> None:
        self._client = client
        self._stream = stream
        self.metadata = _metadata(stream.opened, _FILE_MODE, stream.security)
        self.size_bytes = stream.opened.size
        self.security_denied = stream.security_denied

    def __iter__(self) -> Iterator[memoryview]:
        return iter(self._stream)

    def changed(self) -> bool:
        was = self._stream.opened
        try:
            now = self._client.stat(self._stream.path)
        except smb.FileUnwritable:  # it cannot be seen any more
            return True
        return now is None or (now.size, now.write) != (was.size, was.write)


def _wait_for_first(requests: Requests) -> Requests:
    """The same requests, the first of which is there already: who has none needs no connection."""
    first: list[FileRequest | None] = [requests(True)]

    def take(wait: bool) -> FileRequest | None:
        return first.pop() if first else requests(wait)

    return take


def _entry(entry: smb.Entry) -> Entry:
    kind = LINK if entry.is_link else FOLDER if entry.is_directory else FILE
    mode = _FOLDER_MODE if kind == FOLDER else _FILE_MODE
    attributes = entry.attributes
    return Entry(
        entry.name,
        kind,
        entry.size,
        Metadata(
            (entry.write - FILETIME_UNIX_EPOCH) * 100,
            (entry.change - FILETIME_UNIX_EPOCH) * 100,
            _READ_ONLY_MODE if attributes & smb.ATTRIBUTE_READ_ONLY and kind != FOLDER else mode,
            0,
            0,
            0 if entry.file_id == 0xFFFFFFFFFFFFFFFF else entry.file_id,
            entry.creation,
            attributes,
        ),
    )


def _metadata(opened: smb.Opened, mode: int, security: bytes | None) -> Metadata:
    if opened.attributes & smb.ATTRIBUTE_READ_ONLY and mode == _FILE_MODE:
        mode = _READ_ONLY_MODE
    return Metadata(
        (opened.write - FILETIME_UNIX_EPOCH) * 100,
        (opened.change - FILETIME_UNIX_EPOCH) * 100,
        mode,
        0,
        0,
        0,
        opened.creation,
        opened.attributes,
        security,
    )
