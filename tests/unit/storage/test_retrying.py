"""How long a storage call is tried again, and what is not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import (
    BlobExists,
    BlobNotFound,
    ContainerMissing,
    LifeboatError,
    StorageForbidden,
    StorageUnavailable,
)
from shared.storage.blob_store import BlobInfo
from shared.storage.counting import CountingStore
from shared.storage.retrying import RetryingStore


class Clock:
    """A clock that only ``sleep`` moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def time(self) -> float:
        return self.now


class Scripted:
    """A store in memory whose calls fail as told: one error for each call, None for none."""

    def __init__(self, *script: LifeboatError | None) -> None:
        self.script = list(script)
        self.blobs: dict[str, bytes] = {}
        self.lose_replies = False

    def _next(self) -> None:
        error = self.script.pop(0) if self.script else None
        if error:
            raise error

    def put(self, name: str, body: bytes) -> bool:
        if not self.lose_replies:
            self._next()
        if name in self.blobs:
            if self.blobs[name] == body:
                return False
            raise BlobExists(name)
        self.blobs[name] = body
        if self.lose_replies:
            self._next()
        return True

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        self._next()
        if name not in self.blobs:
            raise BlobNotFound(name)
        return self.blobs[name][offset:][:length]

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        for name in sorted(self.blobs):
            self._next()
            yield BlobInfo(name, len(self.blobs[name]), datetime.now(UTC))

    def stat(self, name: str) -> BlobInfo | None:
        self._next()
        return None

    def delete(self, name: str) -> None:
        self._next()
        self.blobs.pop(name, None)


def busy(retry_after: float | None = None) -> StorageUnavailable:
    return StorageUnavailable("busy", retry_after_seconds=retry_after)


def retrying(
    inner: Scripted,
    clock: Clock,
    *,
    limit_seconds: float = 300,
    first_limit_seconds: float | None = None,
    chance: float = 1,
) -> RetryingStore:
    return RetryingStore(
        inner,
        limit_seconds=limit_seconds,
        first_limit_seconds=first_limit_seconds,
        sleep=clock.sleep,
        clock=clock.time,
        chance=lambda: chance,
    )


def test_waits_double_up_to_the_longest() -> None:
    clock = Clock()
    retrying(Scripted(*[busy()] * 9), clock).stat("a")
    assert clock.waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_the_service_may_ask_for_more_patience_than_we_had() -> None:
    clock = Clock()
    retrying(Scripted(busy(20), busy(0.1)), clock).stat("a")
    assert clock.waits == [20, 1]


def test_it_gives_up_with_the_last_error_before_the_limit_and_never_sleeps_past_it() -> None:
    clock = Clock()
    last = busy()
    with pytest.raises(StorageUnavailable) as error:
        retrying(Scripted(busy(), busy(), last, busy()), clock, limit_seconds=2).stat("a")
    assert error.value is last
    assert clock.waits == [0.5, 1]


def test_a_wish_beyond_the_limit_ends_the_call_at_once() -> None:
    clock = Clock()
    with pytest.raises(StorageUnavailable):
        retrying(Scripted(busy(3600)), clock).stat("a")
    assert clock.waits == []


def test_who_has_never_answered_is_given_up_soon_and_who_asks_for_patience_has_answered() -> None:
    clock = Clock()
    with pytest.raises(StorageUnavailable):
        retrying(Scripted(busy(), busy(), busy()), clock, first_limit_seconds=1).stat("a")
    assert clock.waits == [0.5]
    clock = Clock()
    retrying(Scripted(busy(11), busy(11)), clock, first_limit_seconds=1).stat("a")
    assert clock.waits == [11, 11]


@pytest.mark.parametrize(
    "error", [StorageForbidden("no"), ContainerMissing("no"), BlobExists("no"), BlobNotFound("no")]
)
def test_what_patience_cannot_cure_passes_at_once(error: LifeboatError) -> None:
    clock = Clock()
    with pytest.raises(type(error)):
        retrying(Scripted(error), clock).get("a")
    assert clock.waits == []


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 8))
def test_jitter_takes_at_most_half_of_a_wait(chance: float, failures: int) -> None:
    clock = Clock()
    retrying(Scripted(*[busy()] * failures), clock, chance=chance).stat("a")
    for number, wait in enumerate(clock.waits):
        longest = min(0.5 * 2**number, 30)
        assert longest / 2 <= wait <= longest


def test_a_put_whose_reply_was_lost_is_answered_by_comparing() -> None:
    clock = Clock()
    inner = Scripted(busy())
    inner.lose_replies = True
    assert retrying(inner, clock).put("a", b"x") is False
    assert inner.blobs == {"a": b"x"}


@given(st.sets(st.text(min_size=1, max_size=5), min_size=1, max_size=12), st.data())
def test_a_listing_that_breaks_goes_on_and_yields_each_name_once(names: set[str], data: st.DataObject) -> None:
    script = data.draw(st.lists(st.sampled_from(["busy", "fine"]), max_size=30))
    inner = Scripted(*[busy() if word == "busy" else None for word in script])
    inner.blobs = dict.fromkeys(names, b"")
    found = [blob.name for blob in retrying(inner, Clock(), limit_seconds=10_000).list("")]
    assert found == sorted(names)


def test_a_listing_has_its_full_patience_again_after_each_step_forward() -> None:
    clock = Clock()
    inner = Scripted(busy(), None, busy(), None, None, busy())
    inner.blobs = {"a": b"", "b": b"", "c": b""}
    assert len(list(retrying(inner, clock, limit_seconds=1).list(""))) == 3


def test_every_retry_can_be_heard_and_ended() -> None:
    heard: list[tuple[str, float]] = []
    store = RetryingStore(
        Scripted(busy(), busy()),
        sleep=lambda seconds: None,
        chance=lambda: 1,
        on_retry=lambda error, seconds: heard.append((str(error), seconds)),
    )
    store.stat("a")
    assert heard == [("busy", 0.5), ("busy", 1)]


def test_counting_tells_requests_by_kind_and_bytes_that_moved() -> None:
    store = CountingStore(Scripted())
    store.put("a", b"12345")
    store.put("a", b"12345")
    store.get("a", 1, 2)
    list(store.list(""))
    store.stat("a")
    store.delete("a")
    assert store.traffic.requests == {"put": 2, "get": 1, "list": 1, "stat": 1, "delete": 1}
    assert (store.traffic.bytes_put, store.traffic.bytes_got) == (5, 2)


def test_counting_counts_calls_that_fail() -> None:
    store = CountingStore(Scripted(busy()))
    with pytest.raises(StorageUnavailable):
        store.put("a", b"12345")
    assert store.traffic.requests == {"put": 1}
    assert store.traffic.bytes_put == 0
