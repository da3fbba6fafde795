"""A ``BlobStore`` or ``VersionedStore`` whose faults are declared in a test as sentences, without any request.

    faults = StoreFaults()
    store = FaultyStore(LocalFolderStore(folder), faults, "share")
    faults.add("lose the reply of the 3rd put")          # done, and StorageUnavailable
    faults.add("answer every list with 503 ServerBusy")  # not done, and the error that the gateway makes of it
    faults.add("cut the 2nd put after 100 bytes")        # not done, and StorageUnavailable
    faults.add("cut the reply of every get after 10 bytes")  # as of a blob that ends there
    faults.add("hide the newest 2 puts from the next list")  # a listing that is behind

Every sentence of ``tests/standins/faults.py`` is understood, and means here what the store's caller sees of it; its
moments (``before the 7th call``) too, and what they raise the caller gets. One ``StoreFaults`` may serve several
stores. A call of ``VersionedStore`` is of the kind of its request: ``get_version`` a get, ``list_versions`` a list,
``delete_version`` a delete, ``make_current`` a put, ``protect`` and ``undelete`` other.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar, cast

from shared.errors import BlobNotFound, StorageError, StorageForbidden, StorageUnavailable
from shared.storage.blob_store import BlobInfo, BlobStore
from shared.storage.versions import BlobVersion, VersionedStore
from tests.standins.faults import Call, CutConnection, Faults, Kind, Plan, Reply

T = TypeVar("T")

_HIDE = re.compile(r"hide the newest (?:put|(?P<count>\d+) puts) from (?P<which>.+)")


class StoreFaults(Faults):
    """``Faults``, and listings that are behind."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[tuple[str, str]] = []
        """Container and name of each blob that was put, in their order."""
        self._here = threading.local()

    def add(self, sentence: str) -> None:
        if match := _HIDE.fullmatch(sentence):
            count = int(match["count"] or 1)
            self.call(f"before {match['which']}", lambda call: self._here.hidden.update(self.written[-count:]))
        else:
            super().add(sentence)

    def begin(self, call: Call) -> Plan:
        self._here.hidden = set()
        return super().begin(call)

    def hidden_from(self, call: Call) -> frozenset[str]:
        """Names that ``call``, which this thread has just begun, does not show."""
        return frozenset(name for container, name in self._here.hidden if container == call.container)


@dataclass
class FaultyStore:
    """``inner`` with the faults that were declared."""

    inner: BlobStore
    faults: StoreFaults = field(default_factory=StoreFaults)
    container: str = "share"

    # --- BlobStore ---

    def put(self, name: str, body: bytes) -> bool:
        def done() -> bool:
            created = self.inner.put(name, body)
            self.faults.written.append((self.container, name))
            return created

        return self._call("put", name, done)

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        return self._call("get", name, lambda: self.inner.get(name, offset, length))

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        return iter(self._call("list", prefix, lambda: [*self.inner.list(prefix)]))

    def stat(self, name: str) -> BlobInfo | None:
        return self._call("stat", name, lambda: self.inner.stat(name))

    def delete(self, name: str) -> None:
        self._call("delete", name, lambda: self.inner.delete(name))

    # --- VersionedStore ---

    def list_versions(self, prefix: str) -> Iterator[BlobVersion]:
        return iter(self._call("list", prefix, lambda: [*self._versioned.list_versions(prefix)]))

    def get_version(self, name: str, version: str, offset: int = 0, length: int | None = None) -> bytes:
        return self._call("get", name, lambda: self._versioned.get_version(name, version, offset, length))

    def protect(self, name: str, until: datetime) -> None:
        self._call("other", name, lambda: self._versioned.protect(name, until))

    def make_current(self, version: BlobVersion) -> bool:
        return self._call("put", version.name, lambda: self._versioned.make_current(version))

    def delete_version(self, name: str, version: str) -> None:
        self._call("delete", name, lambda: self._versioned.delete_version(name, version))

    def undelete(self, name: str) -> None:
        self._call("other", name, lambda: self._versioned.undelete(name))

    @property
    def _versioned(self) -> VersionedStore:
        return cast("VersionedStore", self.inner)

    def _call(self, kind: Kind, name: str, act: Callable[[], T]) -> T:
        call = Call(kind, self.container, name)
        try:
            plan = self.faults.begin(call)
            hidden = self.faults.hidden_from(call)
            if plan.answer is not None:
                raise _error(call, plan.answer)
            if plan.cut_request_after_bytes is not None:
                raise CutConnection
            result = act()
            plan.after(call)
        except CutConnection:
            raise StorageUnavailable(f"no answer to the {kind} of {name}: declared by a test") from None
        if plan.cut_reply_after_bytes is not None and isinstance(result, bytes):
            return cast("T", result[: plan.cut_reply_after_bytes])
        if hidden and isinstance(result, list):
            return cast("T", [each for each in result if each.name not in hidden])
        return result


def _error(call: Call, reply: Reply) -> StorageError:
    what = f"{call.kind} of {call.blob}: {reply.status} {reply.code}, declared by a test"
    if reply.status in (401, 403):
        return StorageForbidden(what, blob=call.blob)
    if reply.status == 404:
        return BlobNotFound(what, blob=call.blob)
    wait = reply.headers.get("Retry-After")
    return StorageUnavailable(what, retry_after_seconds=float(wait) if wait else None, blob=call.blob)
