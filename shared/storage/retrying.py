"""Tries a storage call again while the service asks for patience."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TypeVar

from shared.errors import StorageError, StorageUnavailable
from shared.storage.blob_store import BlobInfo, BlobStore
from shared.storage.versions import BlobVersion, VersionedStore

T = TypeVar("T")


class RetryingStore:
    """Repeats what ended in ``StorageUnavailable``; every other error passes at once.

    Waits ``first_wait_seconds``, doubling up to ``longest_wait_seconds``, each wait drawn between half of that and all
    of it; where the service names a time (Retry-After), no less than that. Gives up, with the last error, rather than
    begin a wait that would end later than ``limit_seconds`` after the call began.

    A put whose reply was lost is repeated and then answered by comparing (``BlobStore.put``): it may return False
    though this very call created the blob. A listing that breaks goes on behind the last blob that it gave.
    """

    def __init__(
        self,
        inner: BlobStore,
        *,
        limit_seconds: float = 300,
        first_limit_seconds: float | None = None,
        first_wait_seconds: float = 0.5,
        longest_wait_seconds: float = 30,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        on_retry: Callable[[StorageUnavailable, float], None] | None = None,
    ) -> None:
        """``first_limit_seconds`` is the limit for as long as the service has never answered: who has mistyped an
        address learns it soon. ``on_retry`` hears of each error that is retried and the seconds until then; it may be
        called from any thread that uses the store, and an exception of it ends the call (which is how a run is
        cancelled).
        """
        self.inner = inner
        self._limit, self._first, self._longest = limit_seconds, first_wait_seconds, longest_wait_seconds
        self._limit_now = limit_seconds if first_limit_seconds is None else first_limit_seconds
        self._sleep, self._clock, self._chance, self._on_retry = sleep, clock, chance, on_retry

    def put(self, name: str, body: bytes) -> bool:
        return self.repeat(lambda: self.inner.put(name, body))

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        return self.repeat(lambda: self.inner.get(name, offset, length))

    def stat(self, name: str) -> BlobInfo | None:
        return self.repeat(lambda: self.inner.stat(name))

    def delete(self, name: str) -> None:
        self.repeat(lambda: self.inner.delete(name))

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        return self._listed(lambda: self.inner.list(prefix), lambda blob: (blob.name,))

    def _listed(self, listing: Callable[[], Iterator[T]], place: Callable[[T], tuple[str, ...]]) -> Iterator[T]:
        """What ``listing`` gives, in the order of ``place``, each once, though it breaks and is begun again."""
        given: tuple[str, ...] | None = None
        patience, patience_since = self._patience(), given
        while True:
            try:
                for item in listing():
                    self._limit_now = self._limit
                    if given is None or place(item) > given:
                        given = place(item)
                        yield item
                return
            except StorageUnavailable as error:
                if given != patience_since:
                    patience, patience_since = self._patience(), given
                patience.wait(error)

    def repeat(self, call: Callable[[], T]) -> T:
        """Make ``call``, again and again while it ends in ``StorageUnavailable`` and there is time."""
        patience = self._patience()
        while True:
            try:
                result = call()
            except StorageUnavailable as error:
                patience.wait(error)
            except StorageError:
                self._limit_now = self._limit
                raise
            else:
                self._limit_now = self._limit
                return result

    def _patience(self) -> _Patience:
        return _Patience(self, self._clock(), self._first)

    def _wait(self, error: StorageUnavailable, seconds: float) -> None:
        if self._on_retry:
            self._on_retry(error, seconds)
        self._sleep(seconds)


class RetryingVersions(RetryingStore):
    """The same of a ``VersionedStore``: every call of it may be made again, for each answers for what was done."""

    inner: VersionedStore

    def list_versions(self, prefix: str) -> Iterator[BlobVersion]:
        return self._listed(
            lambda: self.inner.list_versions(prefix), lambda version: (version.name, version.version or "")
        )

    def get_version(self, name: str, version: str, offset: int = 0, length: int | None = None) -> bytes:
        return self.repeat(lambda: self.inner.get_version(name, version, offset, length))

    def protect(self, name: str, until: datetime) -> None:
        self.repeat(lambda: self.inner.protect(name, until))

    def make_current(self, version: BlobVersion) -> bool:
        return self.repeat(lambda: self.inner.make_current(version))

    def delete_version(self, name: str, version: str) -> None:
        self.repeat(lambda: self.inner.delete_version(name, version))

    def undelete(self, name: str) -> None:
        self.repeat(lambda: self.inner.undelete(name))


class _Patience:
    """The waits of one call."""

    def __init__(self, store: RetryingStore, began: float, step: float) -> None:
        self._store, self._began, self._step = store, began, step

    def wait(self, error: StorageUnavailable) -> None:
        """Sleep before the next try, or raise ``error`` when there is no time for one."""
        store = self._store
        if error.retry_after_seconds is not None:
            store._limit_now = store._limit  # who names a time has answered
        seconds = self._step * (0.5 + store._chance() / 2)
        seconds = max(seconds, error.retry_after_seconds or 0)
        if store._clock() + seconds > self._began + store._limit_now:
            raise error
        self._step = min(self._step * 2, store._longest)
        store._wait(error, seconds)
