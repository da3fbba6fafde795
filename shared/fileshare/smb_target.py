"""An SMB share as a target: content, times, attributes and security descriptors."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from shared.fileshare.target import (
    Existing,
    NewFile,
    NewFiles,
    Outcome,
    UnwritableError,
    refuse_unsafe_on_windows,
    temporary_path,
)
from shared.repository.trees import Metadata, filetime_to_ns, ns_to_filetime
from shared.smb import types as smb
from shared.smb.client import SmbClient
from shared.smb.endpoint import SmbEndpoint

_SETTABLE_ATTRIBUTES = 0x1 | 0x2 | 0x4 | 0x20 | 0x80 | 0x2000
"""Read-only, hidden, system, archive, normal, not indexed; the others are states, not choices."""


class SmbTarget:
    writers = 1
    granularity_ns = 100

    def __init__(self, endpoint: SmbEndpoint, *, settings_prefix: str) -> None:
        self._endpoint = endpoint
        self._prefix = settings_prefix
        self._client = self._new_client()
        self._lock = threading.Lock()
        self._listed: tuple[str, dict[str, Existing]] | None = None
        """The folder that was listed last, to see whether one in it is a link."""

    def reach(self) -> None:
        self._client.channel()

    def prepare(self) -> None:
        self._client.connect(make_path=True)

    def existing(self, folder: str) -> dict[str, Existing]:
        found: dict[str, Existing] = {}
        with self._lock:
            for listing in self._client.list_directories([folder], security=False):
                if isinstance(listing, smb.Unreadable):
                    if listing.reason == "vanished":
                        return {}
                    raise UnwritableError(folder, listing.reason, f"{folder}: {listing.message}")
                for entry in listing.entries:
                    kind = "link" if entry.is_link else "dir" if entry.is_directory else "file"
                    found[entry.name] = Existing(kind, entry.size, filetime_to_ns(entry.write))
        return found

    def make_folder(self, path: str) -> None:
        with self._lock, _unwritable():
            made = self._client.make_directory(path)
        if made:
            return
        above, _, name = path.rpartition("/")
        if self._listed is None or self._listed[0] != above:
            self._listed = above, self.existing(above)
        there = self._listed[1].get(name)
        if there is not None and there.kind != "dir":
            raise UnwritableError(path, "not-a-folder", f"{path}: there is a link in its place")

    def write_small(self, files: NewFiles) -> Iterator[Outcome]:
        def requests(wait: bool) -> smb.WriteRequest | None:
            file = files(wait)
            return None if file is None else _request(file)

        with self._new_client() as client:
            for found in client.write_files(requests):
                request = found.request
                if isinstance(found, smb.Written):
                    yield Outcome(request.path, len(request.data))
                else:
                    yield Outcome(request.path, 0, found.reason, f"{request.path}: {found.message}")

    def write_large(self, path: str, pieces: Iterable[bytes], metadata: Metadata, *, replace: bool) -> None:
        temporary = temporary_path(path)
        with self._lock, _unwritable():
            client = self._client
            try:
                with client.open_writer(temporary) as writer:
                    for piece in pieces:
                        writer.write(piece)
                    writer.finish()
                self._set(client, temporary, metadata)
                client.rename(temporary, path, replace=replace)
            except BaseException:
                client.delete(temporary)
                raise

    def finish_folder(self, path: str, metadata: Metadata) -> None:
        with self._lock, _unwritable():
            self._set(self._client, path, metadata)

    def decode_name(self, raw: bytes) -> str:
        return refuse_unsafe_on_windows(raw.decode("utf-8", "surrogatepass"))

    def close(self) -> None:
        self._client.close()

    def _new_client(self) -> SmbClient:
        return SmbClient(self._endpoint, settings_prefix=self._prefix)

    def _set(self, client: SmbClient, path: str, metadata: Metadata) -> None:
        if metadata.security is not None:
            client.set_security(path, metadata.security)
        client.set_basic_info(
            path,
            creation=_creation(metadata),
            write=ns_to_filetime(metadata.mtime_ns),
            attributes=_attributes(metadata),
        )


class _unwritable:  # noqa: N801 - reads as a statement
    """Turns the client's error for one path into the target's."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, smb.FileUnwritable):
            raise UnwritableError(error.path, error.reason, str(error)) from error


def _request(file: NewFile) -> smb.WriteRequest:
    metadata = file.metadata
    return smb.WriteRequest(
        path=file.path,
        temporary=temporary_path(file.path),
        data=file.data,
        attributes=_attributes(metadata),
        creation=_creation(metadata),
        write=ns_to_filetime(metadata.mtime_ns),
        security=metadata.security,
        replace=file.replace,
    )


def _attributes(metadata: Metadata) -> int:
    return (metadata.attributes or 0) & _SETTABLE_ATTRIBUTES


def _creation(metadata: Metadata) -> int:
    """0, which leaves it as it is, also for one beyond what SMB can say ([MS-FSCC] 2.4.7 takes it as signed)."""
    creation = metadata.creation or 0
    return creation if creation < 1 << 63 else 0
