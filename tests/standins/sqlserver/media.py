"""Backup media: the stand-in's own format, and the devices (block blobs, files) that it is written to and read from.

A family is a sequence of backup sets, each ``MAGIC``, header, blocks, trailer::

    set     = MAGIC | length | header JSON | block* | 0xFFFFFFFF | length | trailer JSON | SHA-256 of all before it
    block   = number | length | bytes          (numbers count over all families of the media set)

Lengths and numbers are four bytes, little-endian. A backup that was cut off has no trailer and is no backup.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from azure.core.exceptions import AzureError, HttpResponseError
from azure.storage.blob import BlobBlock, BlobClient, BlobLeaseClient

from tests.standins.sqlserver.messages import SqlError, refusal

MAGIC = b"TAPE-LB1"
"""Begins as SQL Server's own media do."""
_END = 0xFFFFFFFF
_BLOB_API = "2023-11-03"
_OPERATING_SYSTEM = {
    2: "The system cannot find the file specified.",
    3: "The system cannot find the path specified.",
    5: "Access is denied.",
    32: "The process cannot access the file because it is being used by another process.",
    50: "The request is not supported.",
    53: "The network path was not found.",
    86: "The specified network password is not correct.",
    112: "There is not enough space on the disk.",
    1117: "The request could not be performed because of an I/O device error.",
}


def system_error(code: int) -> str:
    return f"{code}({_OPERATING_SYSTEM[code]})"


def cannot_open(device: str, code: int) -> SqlError:
    return refusal(3201, f"Cannot open backup device '{device}'. Operating system error {system_error(code)}.")


def write_failed(device: str, code: int) -> SqlError:
    return refusal(3202, f'Write on "{device}" failed: {system_error(code)}')


def remote_failure(device: str, text: str) -> SqlError:
    return refusal(
        3271,
        f'A nonrecoverable I/O error occurred on file "{device}:" Backup to URL received an exception from the remote '
        f"endpoint. Exception Message: {text}.",
    )


class DeviceWriter(Protocol):
    """One family while it is written. Exactly one of ``commit`` and ``abort`` ends it."""

    def write(self, data: bytes) -> None: ...

    def commit(self) -> None: ...

    def abort(self, *, orderly: bool) -> None:
        """Leave nothing valid. Not orderly: as when the server has no chance to clean up."""


@dataclass(frozen=True)
class BlobAccess:
    """A blob and the secret that opens it. ``verify`` is a CA file, or True for the system's."""

    url: str
    signature: str
    verify: str | bool

    def client(self) -> BlobClient:
        return BlobClient.from_blob_url(
            self.url,
            credential=self.signature.lstrip("?"),
            api_version=_BLOB_API,
            retry_total=0,
            connection_timeout=5,
            read_timeout=30,
            connection_verify=self.verify,
        )

    def allows(self, rights: str) -> bool:
        granted = parse_qs(self.signature.lstrip("?")).get("sp", [""])[0]
        return all(right in granted for right in rights)


def container_of(url: str) -> str:
    """The name that a credential for this blob must have; also for an emulator, whose account is part of the path."""
    parts = urlsplit(url)
    depth = 2 if (parts.hostname or "").replace(".", "").isdigit() or parts.hostname == "localhost" else 1
    return f"{parts.scheme}://{parts.netloc}/" + "/".join(parts.path.lstrip("/").split("/")[:depth])


def _refused_opening(url: str, failure: AzureError) -> SqlError:
    if not isinstance(failure, HttpResponseError) or failure.status_code is None:
        return remote_failure(url, "Unable to connect to the remote server")
    if failure.status_code == 412:
        return remote_failure(url, _status_text(failure))
    code = {403: 86, 401: 86, 404: 2, 409: 32}.get(failure.status_code, 50)
    if "AuthorizationPermission" in str(getattr(failure, "error_code", "")):
        code = 5
    return cannot_open(url, code)


def _status_text(failure: HttpResponseError) -> str:
    reasons = {
        412: "There is currently a lease on the blob and no lease ID was specified in the request",
        403: "Forbidden",
        404: "Not Found",
        409: "Conflict",
    }
    code = failure.status_code or 0
    return f"The remote server returned an error: ({code}) {reasons.get(code, failure.reason or '')}"


class BlobWriter:
    """A new block blob under a lease: created empty, then filled block by block, whole only after ``commit``."""

    def __init__(self, access: BlobAccess, *, overwrite: bool) -> None:
        self._access = access
        self._client = access.client()
        self._blocks: list[BlobBlock] = []
        if not access.allows("rwdl"):
            raise cannot_open(access.url, 5)
        try:
            self._create(overwrite)
            self._lease = BlobLeaseClient(self._client)
            self._lease.acquire()
        except AzureError as failure:
            raise _refused_opening(access.url, failure) from failure

    def _create(self, overwrite: bool) -> None:
        if not overwrite and self._client.exists():
            raise refusal(
                3271,
                f'A nonrecoverable I/O error occurred on file "{self._access.url}:" The file {self._access.url} exists '
                "on the remote endpoint, and WITH FORMAT was not specified. Backup cannot proceed.",
            )
        self._client.upload_blob(b"", overwrite=True)

    def write(self, data: bytes) -> None:
        identifier = f"{len(self._blocks):08}"
        with self._failing_as_write():
            self._client.stage_block(identifier, data, lease=self._lease)
        self._blocks.append(BlobBlock(identifier))

    def commit(self) -> None:
        with self._failing_as_write():
            self._client.commit_block_list(self._blocks, lease=self._lease)
            self._lease.release()
        self._client.close()

    def abort(self, *, orderly: bool) -> None:
        """The blob stays, empty. Not orderly, its lease stays as well."""
        if orderly:
            with contextlib.suppress(AzureError):
                self._lease.release()
        self._client.close()

    @contextlib.contextmanager
    def _failing_as_write(self) -> Iterator[None]:
        try:
            yield
        except HttpResponseError as failure:
            if failure.status_code in (401, 403):
                raise write_failed(self._access.url, 86) from failure
            raise remote_failure(self._access.url, _status_text(failure)) from failure
        except AzureError as failure:
            raise remote_failure(self._access.url, "Unable to connect to the remote server") from failure


def read_blob(access: BlobAccess) -> bytes:
    """All of a blob, read under a lease, which is a write: a SAS that only reads is refused."""
    with access.client() as client:
        try:
            lease = BlobLeaseClient(client)
            lease.acquire()
            try:
                return client.download_blob(lease=lease).readall()
            finally:
                with contextlib.suppress(AzureError):
                    lease.release()
        except AzureError as failure:
            if isinstance(failure, HttpResponseError) and failure.status_code == 409:
                raise cannot_open(access.url, 32) from failure
            raise _refused_opening(access.url, failure) from failure


@dataclass
class Space:
    """What is free on the volume of backups; None is no limit."""

    free_bytes: int | None = None

    def take(self, count: int) -> bool:
        if self.free_bytes is None:
            return True
        if count > self.free_bytes:
            return False
        self.free_bytes -= count
        return True


class FileWriter:
    """A backup file: overwritten or appended to; an abort gives back what was there before."""

    def __init__(self, device: str, path: Path, space: Space, *, overwrite: bool) -> None:
        self._device, self._space, self._path = device, space, path
        if not path.parent.is_dir():
            raise cannot_open(device, 3)
        self._keep_bytes = path.stat().st_size if path.exists() and not overwrite else 0
        try:
            self._file = path.open("r+b" if self._keep_bytes else "wb")
        except OSError as failure:
            raise cannot_open(device, 5) from failure
        self._file.seek(self._keep_bytes)

    def write(self, data: bytes) -> None:
        if not self._space.take(len(data)):
            raise write_failed(self._device, 112)
        self._file.write(data)

    def commit(self) -> None:
        self._file.close()

    def abort(self, *, orderly: bool) -> None:
        """What was appended is cut off when orderly; otherwise the torso stays, without a trailer."""
        if orderly:
            self._file.truncate(self._keep_bytes)
        self._file.close()
        if orderly and not self._keep_bytes:
            self._path.unlink(missing_ok=True)


class NullWriter:
    """``TO DISK = 'NUL'``: a backup that counts, and whose bytes nobody keeps."""

    def write(self, data: bytes) -> None:
        return

    def commit(self) -> None:
        return

    def abort(self, *, orderly: bool) -> None:
        return


def _framed(document: Mapping[str, object]) -> bytes:
    raw = json.dumps(document).encode()
    return struct.pack("<I", len(raw)) + raw


class MediaWriter:
    """Stripes one backup set over its families."""

    def __init__(self, devices: Sequence[DeviceWriter], header: Mapping[str, object], *, compress: bool) -> None:
        self._devices, self._compress = devices, compress
        self._hashes = [hashlib.sha256() for _ in devices]
        self._blocks = 0
        self.written_bytes = 0
        for family in range(len(devices)):
            self._put(family, MAGIC + _framed({**header, "family": family + 1, "compressed": compress}))

    def write(self, data: bytes) -> None:
        """One transfer: it goes to one family, the next to the next."""
        body = zlib.compress(data, 1) if self._compress else data
        self._put(self._blocks % len(self._devices), struct.pack("<II", self._blocks, len(body)) + body)
        self._blocks += 1

    def finish(self, trailer: Mapping[str, object]) -> None:
        """Make it a backup; after this only ``commit`` of the devices is left."""
        for family, digest in enumerate(self._hashes):
            self._put(family, struct.pack("<I", _END) + _framed({**trailer, "blocks": self._blocks}))
            self._devices[family].write(digest.digest())

    def _put(self, family: int, data: bytes) -> None:
        self._hashes[family].update(data)
        self._devices[family].write(data)
        self.written_bytes += len(data)


@dataclass(frozen=True)
class StoredSet:
    """One backup set as one family has it."""

    header: Mapping[str, Any]
    """JSON, hence Any."""
    trailer: Mapping[str, Any]
    blocks: Mapping[int, bytes]
    is_intact: bool


class NotMedia(Exception):
    """The bytes are no family of backup media."""


def read_family(data: bytes) -> list[StoredSet]:
    """The backup sets of a family, oldest first. NotMedia when it is none, or when its last set was cut off."""
    found = []
    at = 0
    while at < len(data):
        try:
            stored, at = _read_set(data, at)
        except (struct.error, ValueError, IndexError) as failure:
            raise NotMedia(str(failure)) from failure
        found.append(stored)
    if not found:
        raise NotMedia("nothing is there")
    return found


def _read_set(data: bytes, start: int) -> tuple[StoredSet, int]:
    if data[start : start + len(MAGIC)] != MAGIC:
        raise ValueError("no backup set begins here")
    header, at = _read_document(data, start + len(MAGIC))
    blocks = {}
    while (number := struct.unpack_from("<I", data, at)[0]) != _END:
        (size,) = struct.unpack_from("<I", data, at + 4)
        blocks[number] = data[at + 8 : at + 8 + size]
        at += 8 + size
    trailer, end = _read_document(data, at + 4)
    digest = data[end : end + 32]
    if len(digest) < 32:
        raise ValueError("cut off")
    return StoredSet(header, trailer, blocks, digest == hashlib.sha256(data[start:end]).digest()), end + 32


def _read_document(data: bytes, at: int) -> tuple[dict[str, Any], int]:
    (size,) = struct.unpack_from("<I", data, at)
    raw = data[at + 4 : at + 4 + size]
    document = json.loads(raw)
    if not isinstance(document, dict) or len(raw) < size:
        raise ValueError("not a document")
    return document, at + 4 + size


def joined(families: Sequence[StoredSet]) -> bytes:
    """The data of a set whose families are all here; ValueError when a block is missing or does not unpack."""
    blocks: dict[int, bytes] = {}
    for family in families:
        blocks.update(family.blocks)
    wanted = int(families[0].trailer["blocks"])
    if sorted(blocks) != list(range(wanted)):
        raise ValueError("blocks are missing")
    pieces = (blocks[number] for number in range(wanted))
    try:
        return (
            b"".join(zlib.decompress(piece) for piece in pieces)
            if families[0].header["compressed"]
            else b"".join(pieces)
        )
    except zlib.error as failure:
        raise ValueError("a block does not unpack") from failure
