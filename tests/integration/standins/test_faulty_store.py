"""The store with faults does what its sentences say, and is a store like any other without them."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import BlobNotFound, StorageForbidden, StorageUnavailable
from shared.storage.local_folder import LocalFolderStore
from tests.standins.faulty_store import FaultyStore, StoreFaults


@pytest.fixture
def inner(tmp_path: Path) -> LocalFolderStore:
    store = LocalFolderStore(tmp_path / "share")
    store.create_container_if_missing()
    return store


@pytest.fixture
def store(inner: LocalFolderStore) -> FaultyStore:
    return FaultyStore(inner, StoreFaults(), "share")


def _names(store: FaultyStore, prefix: str = "") -> list[str]:
    return [blob.name for blob in store.list(prefix)]


def test_without_a_fault_it_is_the_store_behind_it(store: FaultyStore) -> None:
    assert store.put("a", b"content") is True
    assert store.put("a", b"content") is False
    assert (store.get("a", 3), store.get("a", 0, 3)) == (b"tent", b"con")
    found = store.stat("a")
    assert found is not None
    assert found.size_bytes == 7
    store.delete("a")
    assert _names(store) == []


def test_a_lost_reply_is_of_a_call_that_was_done(store: FaultyStore, inner: LocalFolderStore) -> None:
    store.faults.add("lose the reply of the 1st put")
    with pytest.raises(StorageUnavailable):
        store.put("a", b"content")
    assert inner.get("a") == b"content"
    assert store.put("a", b"content") is False


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("503 ServerBusy and Retry-After 7", StorageUnavailable),
        ("403 AuthorizationFailure", StorageForbidden),
        ("404 BlobNotFound", BlobNotFound),
    ],
)
def test_an_answer_is_the_error_that_the_gateway_makes_of_it_and_nothing_is_done(
    store: FaultyStore, inner: LocalFolderStore, said: str, error: type[Exception]
) -> None:
    store.faults.add(f"answer the 1st put under share/data/ with {said}")
    store.put("index/a", b"another name")
    with pytest.raises(error) as raised:
        store.put("data/a", b"content")
    assert inner.stat("data/a") is None
    assert getattr(raised.value, "retry_after_seconds", None) == (7 if "Retry-After" in said else None)


def test_a_put_that_is_cut_leaves_nothing_and_a_get_that_is_cut_gives_less(
    store: FaultyStore, inner: LocalFolderStore
) -> None:
    store.faults.add("cut the 1st put after 3 bytes")
    store.faults.add("cut the reply of the 2nd get after 3 bytes")
    with pytest.raises(StorageUnavailable):
        store.put("a", b"content")
    assert inner.stat("a") is None
    store.put("a", b"content")
    assert [store.get("a") for _ in range(3)] == [b"content", b"con", b"content"]


def test_a_listing_is_behind_by_the_newest_puts_once(store: FaultyStore) -> None:
    for name in ("x/a", "x/b", "x/c", "y/d"):
        store.put(name, b"")
    store.faults.add("hide the newest 2 puts from the next list under x/")
    assert _names(store, "y/") == ["y/d"]
    assert _names(store, "x/") == ["x/a", "x/b"]
    assert _names(store, "x/") == ["x/a", "x/b", "x/c"]


def test_what_a_moment_raises_the_caller_gets(store: FaultyStore, inner: LocalFolderStore) -> None:
    def stop(call: object) -> None:
        raise KeyboardInterrupt

    store.faults.call("after the 2nd call", stop)
    store.put("a", b"1")
    with pytest.raises(KeyboardInterrupt):
        store.put("b", b"2")
    assert inner.get("b") == b"2"


def test_a_sentence_that_means_no_fault_is_refused(store: FaultyStore) -> None:
    for sentence in ("hide the oldest put from the next list", "hide the newest put from the next burn"):
        with pytest.raises(ValueError):
            store.faults.add(sentence)
