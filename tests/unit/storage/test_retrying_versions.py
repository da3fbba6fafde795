"""Versions through retries and counting: nothing is given twice, left out, or asked for uncounted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import BlobProtected, StorageUnavailable
from shared.storage.counting import CountingVersions
from shared.storage.retrying import RetryingVersions
from shared.storage.versions import BlobVersion, VersionedStore, whole_second
from tests.standins.memory_vault import MemoryStore, MemoryVault

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Breaking(MemoryStore):
    """Its listings break after as many versions as told, one number for each."""

    breaks: list[int] = field(default_factory=list)

    def list_versions(self, prefix: str) -> Iterator[BlobVersion]:
        left = self.breaks.pop(0) if self.breaks else -1
        for version in super().list_versions(prefix):
            if left == 0:
                raise StorageUnavailable("busy")
            left -= 1
            yield version


def retrying(inner: VersionedStore) -> RetryingVersions:
    return RetryingVersions(inner, sleep=lambda seconds: None, limit_seconds=10_000)


@given(st.lists(st.sampled_from("abc"), max_size=8), st.lists(st.integers(0, 8), max_size=6))
def test_a_listing_that_breaks_goes_on_behind_the_last_version(writes: list[str], breaks: list[int]) -> None:
    vault = MemoryVault(clock=lambda: NOW)
    for number, name in enumerate(writes):
        vault.share.overwrite(name, b"%d" % number)
    found = list(retrying(Breaking(vault, "share", breaks)).list_versions(""))
    assert found == list(vault.share.list_versions(""))
    assert len(found) == len(writes)


CALLS: dict[str, Callable[[VersionedStore, BlobVersion], object]] = {
    "get": lambda store, gone: store.get_version(gone.name, str(gone.version)),
    "protect": lambda store, gone: store.protect("there", NOW + timedelta(days=1)),
    "make_current": lambda store, gone: store.make_current(gone),
    "delete_version": lambda store, gone: store.delete_version(gone.name, str(gone.version)),
    "undelete": lambda store, gone: store.undelete(gone.name),
}


@pytest.mark.parametrize("kind", CALLS)
def test_each_call_is_tried_again_and_each_try_is_counted(kind: str) -> None:
    vault = MemoryVault(clock=lambda: NOW)
    for name in ("there", "gone"):
        vault.share.put(name, b"12345")
    vault.share.delete("gone")
    (gone,) = vault.share.list_versions("gone")
    left = [2]

    def busy(kind: str, name: str) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise StorageUnavailable("busy")

    vault.before = busy
    counting = CountingVersions(vault.share)
    CALLS[kind](retrying(counting), gone)
    assert counting.traffic.requests == {kind: 3}
    assert counting.traffic.bytes_got == (5 if kind == "get" else 0)


def test_what_is_protected_is_not_tried_again() -> None:
    vault = MemoryVault(clock=lambda: NOW)
    vault.share.put("a", b"")
    vault.share.protect("a", NOW + timedelta(days=2))
    counting = CountingVersions(vault.share)
    with pytest.raises(BlobProtected):
        retrying(counting).protect("a", NOW + timedelta(days=1))
    assert counting.traffic.requests["protect"] == 1


@given(st.datetimes(timezones=st.just(UTC), max_value=datetime(9999, 1, 1)))
def test_a_date_in_whole_seconds_is_the_next_one(until: datetime) -> None:
    whole = whole_second(until)
    assert whole.microsecond == 0
    assert timedelta() <= whole - until < timedelta(seconds=1)
