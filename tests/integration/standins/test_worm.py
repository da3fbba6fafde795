"""The rules that the stand-ins take for Azure's, as Azure's own pages tell them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import BlobProtected, StorageError, StorageForbidden
from shared.storage.versions import VersionedStore
from tests.standins.memory_vault import MemoryStore, MemoryVault
from tests.standins.rights_proxy import BACKUP_APP, KEEPER, READER, Rights
from tests.standins.worm import DeleteUnderPolicy, Refused, Worm, WormContainer

DAY = timedelta(days=1)


@dataclass
class Hands:
    """A clock that a test turns."""

    now: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def blobs(clock: Hands) -> WormContainer:
    return WormContainer(Worm(), clock)


def refusal_of(what: object, *arguments: object, **options: object) -> str:
    with pytest.raises(Refused) as refused:
        what(*arguments, **options)  # type: ignore[operator]
    return refused.value.code


def test_version_ids_have_seven_digits_and_ascend_though_the_clock_stands_still_or_goes_back(
    blobs: WormContainer, clock: Hands
) -> None:
    ids = [blobs.write("pack", b"1", overwrite=True).id for _ in range(3)]
    clock.now -= DAY
    ids.append(blobs.write("pack", b"2", overwrite=True).id)
    assert ids[0] == "2026-03-01T12:00:00.0000000Z"
    assert ids == sorted(set(ids), key=str)
    assert {len(str(one)) for one in ids} == {28}


def test_an_overwrite_of_a_protected_blob_makes_a_version_and_the_old_one_stays_protected(
    blobs: WormContainer, clock: Hands
) -> None:
    old = blobs.write("pack", b"good", overwrite=False)
    blobs.protect("pack", clock.now + DAY, locked=True)
    blobs.write("pack", b"evil", overwrite=True)
    assert [(one.body, one.current, one.until) for one in blobs.versions("")] == [
        (b"good", False, clock.now + DAY),
        (b"evil", True, None),
    ]
    assert refusal_of(blobs.delete_version, "pack", old.id) == "BlobImmutableDueToPolicy"


@pytest.mark.parametrize(
    ("reading", "left"), [("refused", [(b"good", True)]), ("previous version", [(b"good", False)])]
)
def test_delete_under_a_policy_is_refused_or_makes_a_previous_version(
    clock: Hands, reading: DeleteUnderPolicy, left: list[tuple[bytes, bool]]
) -> None:
    blobs = WormContainer(Worm(delete_under_policy=reading), clock)
    blobs.write("pack", b"good", overwrite=False)
    blobs.protect("pack", clock.now + DAY, locked=True)
    if reading == "refused":
        assert refusal_of(blobs.delete, "pack") == "BlobImmutableDueToPolicy"
    else:
        blobs.delete("pack")
    assert [(one.body, one.current) for one in blobs.versions("")] == left


def test_after_its_date_a_version_can_be_deleted_and_a_new_date_can_be_set(blobs: WormContainer, clock: Hands) -> None:
    made = blobs.write("pack", b"1", overwrite=False)
    blobs.protect("pack", clock.now + DAY, locked=True)
    clock.now += DAY
    blobs.protect("pack", clock.now + DAY, locked=True)
    assert refusal_of(blobs.delete, "pack") == "BlobImmutableDueToPolicy"
    clock.now += DAY
    blobs.delete("pack")
    blobs.delete_version("pack", str(made.id))
    assert list(blobs.versions("")) == []


def test_a_locked_date_is_only_put_off_and_an_unlocked_one_may_change_and_go(
    blobs: WormContainer, clock: Hands
) -> None:
    blobs.write("pack", b"1", overwrite=False)
    blobs.protect("pack", clock.now + 3 * DAY, locked=False)
    blobs.protect("pack", clock.now + DAY, locked=False)
    blobs.unprotect("pack")
    blobs.protect("pack", clock.now + 2 * DAY, locked=True)
    assert refusal_of(blobs.protect, "pack", clock.now + DAY, locked=True) == "BlobImmutableDueToPolicy"
    assert refusal_of(blobs.protect, "pack", clock.now + 3 * DAY, locked=False) == "BlobImmutableDueToPolicy"
    assert refusal_of(blobs.unprotect, "pack") == "BlobImmutableDueToPolicy"
    assert refusal_of(blobs.protect, "pack", clock.now, locked=True) == "InvalidHeaderValue"


def test_a_legal_hold_outlasts_every_date(blobs: WormContainer, clock: Hands) -> None:
    blobs.write("pack", b"1", overwrite=False)
    blobs.hold("pack", True)
    clock.now += 1000 * DAY
    assert refusal_of(blobs.delete, "pack") == "BlobImmutableDueToLegalHold"
    blobs.hold("pack", False)
    blobs.delete("pack")


def test_the_current_version_is_not_deleted_by_its_id(blobs: WormContainer) -> None:
    made = blobs.write("pack", b"1", overwrite=False)
    assert refusal_of(blobs.delete_version, "pack", made.id) == "OperationNotAllowedOnRootBlob"


def test_undelete_brings_soft_deleted_versions_back_as_previous_ones(clock: Hands) -> None:
    blobs = WormContainer(Worm(soft_delete=True), clock)
    made = blobs.write("pack", b"1", overwrite=False)
    blobs.delete("pack")
    blobs.delete_version("pack", str(made.id))
    assert refusal_of(blobs.version, "pack", made.id) == "BlobNotFound"
    blobs.undelete("pack")
    assert blobs.current("pack") is None
    assert blobs.version("pack", str(made.id)).body == b"1"


def test_without_versions_a_deleted_blob_is_gone_or_soft_deleted(clock: Hands) -> None:
    for soft_delete, left in ((False, None), (True, b"1")):
        blobs = WormContainer(Worm(versioning=False, immutability=False, soft_delete=soft_delete), clock)
        blobs.write("pack", b"1", overwrite=False)
        blobs.delete("pack")
        if soft_delete:
            blobs.undelete("pack")
        there = blobs.current("pack")
        assert (there.body if there else None) == left


def test_the_vault_in_memory_keeps_each_identity_to_its_rights(clock: Hands) -> None:
    vault = MemoryVault(clock=clock, rights=BACKUP_APP)
    keeper, reader = vault.with_rights(KEEPER), vault.with_rights(READER)
    assert vault.share.put("data/a", b"1")
    assert not vault.share.put("data/a", b"1")
    store: VersionedStore = keeper.versions("share")
    store.protect("data/a", clock.now + DAY)

    def refused(store: MemoryStore, *, besides: str = "") -> None:
        version = next(iter(vault.judge().list_versions("data/a")))
        calls: dict[str, Callable[[], object]] = {
            "put": lambda: store.put("new", b""),
            "overwrite": lambda: store.overwrite("data/a", b"evil"),
            "delete": lambda: store.delete("data/a"),
            "delete_version": lambda: store.delete_version("data/a", str(version.version)),
            "protect": lambda: store.protect("data/a", clock.now + 2 * DAY),
            "undelete": lambda: store.undelete("data/a"),
        }
        for name, call in calls.items():
            if name not in besides.split():
                with pytest.raises(StorageForbidden) as error:
                    call()
                assert not isinstance(error.value, BlobProtected), name

    refused(reader.share)
    refused(vault.share, besides="put")
    refused(keeper.share, besides="put delete delete_version protect")
    with pytest.raises(BlobProtected):
        keeper.share.delete("data/a")
    vault.share.put("locks/1", b"")
    vault.share.delete("locks/1")
    assert [blob.name for blob in reader.share.list("")] == ["data/a"]


def test_what_was_deleted_in_the_vault_in_memory_is_made_current_again(clock: Hands, tmp_path: Path) -> None:
    vault = MemoryVault(clock=clock)
    seen: list[tuple[str, str]] = []
    store = vault.versions("share")
    store.put("data/a", b"1")
    clock.now += DAY
    vault.before = lambda kind, name: seen.append((kind, name))
    store.delete("data/a")
    (gone,) = store.list_versions("")
    assert (gone.current, gone.modified) == (False, clock.now - DAY)
    assert store.make_current(gone)
    assert not store.make_current(gone)
    vault.to_folder("share", tmp_path / "folder")
    assert (tmp_path / "folder" / "data" / "a").read_bytes() == b"1"
    assert vault.share.stat("data/a").modified == clock.now  # type: ignore[union-attr]
    assert seen == [("delete", "data/a"), ("list", ""), ("make_current", "data/a"), ("make_current", "data/a"),
                    ("stat", "data/a")]  # fmt: skip


def test_where_there_is_no_immutability_protect_names_the_setting(clock: Hands) -> None:
    vault = MemoryVault(clock=clock, worm=Worm(immutability=False), rights=Rights(immutability=True))
    vault.share.put("a", b"")
    with pytest.raises(StorageError) as error:
        vault.share.protect("a", clock.now + DAY)
    assert "LIFEBOAT_PROTECT_FOR=0s" in error.value.remedy


NAMES = st.sampled_from("ab")
STEPS = st.one_of(
    st.tuples(st.just("write"), NAMES, st.integers(0, 3)),
    st.tuples(st.just("delete"), NAMES, st.just(0)),
    st.tuples(st.just("delete version"), NAMES, st.integers(0, 3)),
    st.tuples(st.just("protect"), NAMES, st.integers(1, 4)),
    st.tuples(st.just("unprotect"), NAMES, st.just(0)),
    st.tuples(st.just("wait"), NAMES, st.integers(1, 3)),
)


@given(st.lists(STEPS, max_size=40), st.sampled_from(["refused", "previous version"]))
def test_whatever_is_done_a_version_that_was_locked_can_be_read_until_its_date(
    steps: list[tuple[str, str, int]], reading: DeleteUnderPolicy
) -> None:
    clock = Hands()
    blobs = WormContainer(Worm(delete_under_policy=reading), clock)
    promised: dict[tuple[str, str], tuple[bytes, datetime]] = {}

    def act(what: str, name: str, number: int) -> None:
        versions = list(blobs.versions(name))
        if what == "write":
            blobs.write(name, b"%d" % number, overwrite=True)
        elif what == "delete":
            blobs.delete(name)
        elif what == "delete version" and number < len(versions):
            blobs.delete_version(name, str(versions[number].id))
        elif what == "protect":
            made = blobs.protect(name, clock.now + number * DAY, locked=True)
            promised[name, str(made.id)] = made.body, clock.now + number * DAY
        elif what == "unprotect":
            blobs.unprotect(name)
        elif what == "wait":
            clock.now += number * DAY

    for step in steps:
        with contextlib.suppress(Refused):
            act(*step)
        for (name, version), (body, until) in promised.items():
            if until > clock.now:
                assert blobs.version(name, version).body == body
        assert all(sum(one.current for one in blobs.versions(name)) <= 1 for name in "ab")
