"""Counts what a run asks of storage."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from shared.storage.blob_store import BlobInfo, BlobStore
from shared.storage.versions import BlobVersion, VersionedStore


@dataclass
class Traffic:
    """Requests by kind (``put``, ``get``, ``list``, ``stat``, ``delete``; of versions also ``protect``,
    ``make_current``, ``delete_version``, ``undelete``) and the bytes of bodies, both ways."""

    requests: Counter[str] = field(default_factory=Counter)
    bytes_put: int = 0
    bytes_got: int = 0


class CountingStore:
    """Passes every call on and counts it in ``traffic``.

    A call counts when it is made, whatever comes of it; a listing counts once, however many pages it takes. Bytes
    count when they arrived: of a put that was created, of a get that returned.
    """

    def __init__(self, inner: BlobStore) -> None:
        self.inner = inner
        self.traffic = Traffic()
        self._lock = threading.Lock()

    def put(self, name: str, body: bytes) -> bool:
        self._count("put")
        created = self.inner.put(name, body)
        if created:
            with self._lock:
                self.traffic.bytes_put += len(body)
        return created

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        self._count("get")
        body = self.inner.get(name, offset, length)
        with self._lock:
            self.traffic.bytes_got += len(body)
        return body

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        self._count("list")
        return self.inner.list(prefix)

    def stat(self, name: str) -> BlobInfo | None:
        self._count("stat")
        return self.inner.stat(name)

    def delete(self, name: str) -> None:
        self._count("delete")
        self.inner.delete(name)

    def _count(self, kind: str) -> None:
        with self._lock:
            self.traffic.requests[kind] += 1


class CountingVersions(CountingStore):
    """The same of a ``VersionedStore``."""

    inner: VersionedStore

    def __init__(self, inner: VersionedStore) -> None:
        super().__init__(inner)

    def list_versions(self, prefix: str) -> Iterator[BlobVersion]:
        self._count("list")
        return self.inner.list_versions(prefix)

    def get_version(self, name: str, version: str, offset: int = 0, length: int | None = None) -> bytes:
        self._count("get")
        body = self.inner.get_version(name, version, offset, length)
        with self._lock:
            self.traffic.bytes_got += len(body)
        return body

    def protect(self, name: str, until: datetime) -> None:
        self._count("protect")
        self.inner.protect(name, until)

    def make_current(self, version: BlobVersion) -> bool:
        self._count("make_current")
        return self.inner.make_current(version)

    def delete_version(self, name: str, version: str) -> None:
        self._count("delete_version")
        self.inner.delete_version(name, version)

    def undelete(self, name: str) -> None:
        self._count("undelete")
        self.inner.undelete(name)
