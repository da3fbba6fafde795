"""The keeper's journal: what it says, and what becomes of what it says."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Damaged
from shared.keeping.journal import Journal, Left, journals, put_journal
from shared.storage.blob_store import BlobInfo
from shared.storage.local_folder import LocalFolderStore

NOW = datetime(2026, 11, 23, 7, 30, tzinfo=UTC)


@pytest.fixture
def records(tmp_path: Path) -> LocalFolderStore:
    store = LocalFolderStore(tmp_path)
    store.create_container_if_missing()
    return store


def entry(at: int, **names: tuple[str, ...]) -> tuple[BlobInfo, Journal]:
    moment = NOW + timedelta(days=at)
    return BlobInfo(f"prunes/{at}", 1, moment), Journal(moment, **names)


_names = st.lists(st.text(min_size=1), max_size=3).map(tuple)


@given(
    st.builds(
        Journal,
        st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
        *[_names.filter(lambda names: all(name.isprintable() for name in names))] * 4,
    )
)
def test_an_entry_is_read_as_it_was_written(journal: Journal) -> None:
    assert Journal.from_bytes(journal.to_bytes(), "prunes/x") == journal


def test_entries_are_read_in_the_order_in_which_the_storage_saw_them(records: LocalFolderStore) -> None:
    """Whatever their names say: those come from the clock of whoever wrote them, or from somebody who means harm."""
    for number, days in enumerate((2_000_000, 0, 1)):
        name = put_journal(records, Journal(NOW + timedelta(days=days), points=(f"point{number}",)))
        os.utime(records.folder / name, (1_000 + number, 1_000 + number))

    assert [journal.points[0] for _, journal in journals(records)] == ["point0", "point1", "point2"]


def test_the_name_holds_the_time_and_two_of_one_second_stand_side_by_side(records: LocalFolderStore) -> None:
    first, second = (put_journal(records, Journal(NOW)) for _ in range(2))

    assert first != second
    assert first.startswith("prunes/20261123T073000Z-")


def test_one_that_cannot_be_read_is_damage_that_names_the_blob(records: LocalFolderStore) -> None:
    put_journal(records, Journal(NOW))
    records.put("prunes/20261124T000000Z-000000.json", b"{")

    with pytest.raises(Damaged) as raised:
        list(journals(records))
    assert raised.value.object == "prunes/20261124T000000Z-000000.json"


_anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text("abc"), lambda inner: st.lists(inner, max_size=2)
)


@given(
    st.binary()
    | st.fixed_dictionaries(
        {"version": st.just(1) | _anything, "time": st.just("2026-11-23T07:30:00Z") | _anything},
        optional=dict.fromkeys(("points", "deletes", "marks", "restores"), _anything),
    ).map(orjson.dumps)
)
def test_whatever_is_in_the_blob_the_answer_is_an_entry_or_our_own_error(document: bytes) -> None:
    with suppress(Damaged):
        Journal.from_bytes(document, "prunes/x")


def test_one_of_a_newer_lifeboat_is_not_guessed_at() -> None:
    newer = orjson.loads(Journal(NOW).to_bytes()) | {"version": 2}

    with pytest.raises(Damaged, match="newer"):
        Journal.from_bytes(orjson.dumps(newer), "prunes/x")


def test_a_name_is_marked_since_the_first_entry_that_marks_it() -> None:
    left = Left.by([entry(0, marks=("share/data/a",)), entry(1, marks=("share/data/a",))])

    assert left.marked == {"share/data/a": NOW}
    assert left.since("share/data/a") == NOW
    assert "share/data/a" in left
    assert "share/data/b" not in left


def test_what_is_restored_counts_as_never_marked_until_it_is_marked_again() -> None:
    marked, restored = entry(0, marks=("share/data/a",)), entry(1, restores=("share/data/a",))

    assert "share/data/a" not in Left.by([marked, restored])
    assert Left.by([marked, restored, entry(2, marks=("share/data/a",))]).since("share/data/a") == NOW + timedelta(2)


def test_what_is_deleted_and_restored_later_is_nobodys_deletion() -> None:
    left = Left.by([entry(0, deletes=("recovery-points/points/x.json",)), entry(1, restores=())])
    assert left.since("recovery-points/points/x.json") == NOW

    left = Left.by([entry(0, deletes=("a",)), entry(1, restores=("a",))])
    assert left.since("a") is None
