"""Locks: who works in the repository, so that nobody deletes what another still needs.

restic, doc/design.rst, "Locks". A backup holds a non-exclusive lock from plan to record, a prune an exclusive one. A
lock is a file that is written anew every five minutes under a new name; one that was not for thirty is stale, and is
removed. Ages are judged by the storage's own clock: our lock and the others' carry the time at which it wrote them.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from shared.errors import BlobNotFound, Damaged, LifeboatError, RepositoryLocked
from shared.repository.repository import Repository
from shared.repository.trees import rfc3339
from shared.storage.blob_store import BlobInfo

REFRESH_SECONDS = 300.0
STALE_AFTER = timedelta(minutes=30)
SETTLE_SECONDS = 0.2
"""Between writing a lock and looking for others': whoever wrote theirs in the meantime sees ours, or we see theirs."""
POLL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Other:
    blob: BlobInfo
    exclusive: bool
    who: str


def acquire(
    repository: Repository,
    *,
    exclusive: bool,
    hostname: str,
    wait_seconds: float = 0.0,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Take a lock and return its id, to be handed from step to step, refreshed and released.

    ``RepositoryLocked`` when a lock that excludes ours is still held after ``wait_seconds``; then nothing of ours
    is left behind.
    """
    waited = 0.0
    while True:
        try:
            return _try(repository, exclusive, hostname, sleep)
        except RepositoryLocked:
            if waited >= wait_seconds:
                raise
            pause = min(POLL_SECONDS, wait_seconds - waited)
            sleep(pause)
            waited += pause


def refresh(repository: Repository, lock_id: str, *, exclusive: bool, hostname: str) -> str:
    """Write the lock anew and remove the old one. Returns the new id.

    ``RepositoryLocked`` when the old one is gone: somebody took it for stale, and may have pruned since.
    """
    if repository.store.stat(f"locks/{lock_id}") is None:
        raise _lost()
    new_id = _write(repository, exclusive, hostname)
    repository.store.delete(f"locks/{lock_id}")
    return new_id


def held_by(repository: Repository, hostname: str) -> list[str]:
    """Ids of the locks of whoever has this name. A run in steps has one, or for a moment a few: each of its steps may
    write it anew."""
    found = []
    for blob in repository.store.list("locks/"):
        try:
            if repository.load_unpacked(blob.name).get("hostname") == hostname:
                found.append(blob.name.removeprefix("locks/"))
        except (BlobNotFound, Damaged):
            continue
    return found


def keep_held(repository: Repository, hostname: str) -> None:
    """Write the lock of ``hostname`` anew and remove what it had before. May be done by several at once, and again.

    ``RepositoryLocked`` when it has none any more: somebody took it for stale, and may have pruned since.
    """
    before = held_by(repository, hostname)
    if not before:
        raise _lost()
    _write(repository, False, hostname)
    for lock_id in before:
        release(repository, lock_id)


def release_all(repository: Repository, hostname: str) -> None:
    for lock_id in held_by(repository, hostname):
        release(repository, lock_id)


def release(repository: Repository, lock_id: str) -> None:
    repository.store.delete(f"locks/{lock_id}")


def _lost() -> RepositoryLocked:
    return RepositoryLocked(
        "our lock on the repository was removed while we worked",
        remedy="Run again: what is stored already is used again.",
    )


def _try(repository: Repository, exclusive: bool, hostname: str, sleep: Callable[[float], None]) -> str:
    now = datetime.now(UTC)
    _refuse(_others(repository, None, exclusive, now))
    lock_id = _write(repository, exclusive, hostname)
    try:
        sleep(SETTLE_SECONDS)
        _refuse(_others(repository, lock_id, exclusive, now))
    except BaseException:
        release(repository, lock_id)
        raise
    return lock_id


def _others(repository: Repository, mine: str | None, exclusive: bool, now: datetime) -> list[_Other]:
    """Locks that exclude ours. Stale ones are removed once ``mine`` is there to tell the storage's time by."""
    blobs = list(repository.store.list("locks/"))
    by_storage = next((blob.modified for blob in blobs if blob.name == f"locks/{mine}"), None)
    others = []
    for blob in blobs:
        if blob.name == f"locks/{mine}":
            continue
        age = (by_storage or now) - blob.modified
        if by_storage is not None and age > STALE_AFTER:
            repository.store.delete(blob.name)
            continue
        if by_storage is None and not timedelta() <= age <= STALE_AFTER:
            continue  # stale, or our clock is behind the storage's: the second look knows
        try:
            fields = repository.load_unpacked(blob.name)
        except BlobNotFound:
            continue
        except Damaged:
            fields = {"exclusive": True}  # nobody can say what it asks for, so it asks for everything until it is stale
        if fields.get("exclusive") or exclusive:
            others.append(_Other(blob, bool(fields.get("exclusive")), _who(fields)))
    return others


def _refuse(others: list[_Other]) -> None:
    if others:
        other = others[0]
        raise RepositoryLocked(
            f"the repository is locked {'exclusively ' if other.exclusive else ''}by {other.who}",
            remedy=f"Wait until that ends (LIFEBOAT_LOCK_WAIT); a lock that nobody refreshes is removed after "
            f"{STALE_AFTER.total_seconds() / 60:.0f} minutes.",
            blob=other.blob.name,
        )


def _who(fields: dict[str, Any]) -> str:
    since = f" since {fields['time']}" if "time" in fields else ""
    return f"{fields.get('username') or 'somebody'} on {fields.get('hostname') or 'an unknown host'}{since}"


def _write(repository: Repository, exclusive: bool, hostname: str) -> str:
    document = {
        "time": rfc3339(time.time_ns()),
        "exclusive": exclusive,
        "hostname": hostname,
        "username": "lifeboat",
        "pid": os.getpid(),
    }
    return repository.save_unpacked("locks", orjson.dumps(document))


class HeldLock:
    """A lock held for as long as the ``with`` block lasts, refreshed by one thread of its own.

    ``lock_id`` is the current id. ``check()`` raises what the refresher met.
    """

    def __init__(
        self,
        repository: Repository,
        *,
        exclusive: bool,
        hostname: str,
        wait_seconds: float = 0.0,
        beside: Callable[[], None] = lambda: None,
    ) -> None:
        """``beside`` is called whenever the lock was refreshed."""
        self._beside = beside
        self._repository = repository
        self._exclusive = exclusive
        self._hostname = hostname
        self._wait_seconds = wait_seconds
        self._stop = threading.Event()
        self._failure: LifeboatError | None = None
        self._thread = threading.Thread(target=self._refresh, name="lock", daemon=True)
        self.lock_id = ""

    def __enter__(self) -> HeldLock:
        self.lock_id = acquire(
            self._repository,
            exclusive=self._exclusive,
            hostname=self._hostname,
            wait_seconds=self._wait_seconds,
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        release(self._repository, self.lock_id)

    def check(self) -> None:
        """Raise what kept the lock from being refreshed, if anything did."""
        if self._failure is not None:
            raise self._failure

    def _refresh(self) -> None:
        while not self._stop.wait(REFRESH_SECONDS):
            try:
                self.lock_id = refresh(
                    self._repository, self.lock_id, exclusive=self._exclusive, hostname=self._hostname
                )
                self._beside()
            except LifeboatError as error:
                self._failure = error
                return
