"""What lies in the container of recovery points: points, backups in them, drills, runs, verifications, the journal."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from shared.databases.backup_set import BackupSet
from shared.errors import Damaged
from shared.keeping.journal import Journal, journals, put_journal
from shared.recovery_point.catalog import Catalog, Unreadable
from shared.recovery_point.databases import readable_sets, sets_of
from shared.recovery_point.drill_results import drills_newest_first, put_drill_result
from shared.recovery_point.record import RecoveryPoint
from shared.recovery_point.runs import Runs, run_end
from shared.storage.local_folder import LocalFolderStore
from tests.examples import examples
from tests.fuzz.mutations import each_absurdity, mutated_json, only_our_errors
from tests.unit.databases.making import full
from tests.unit.status import points

NAME = f"points/{points.ID}.json"
POINT: dict[str, Any] = json.loads(points.point().to_bytes())
POINT.pop("digest", None)
"""Whoever may write a record may write its digest too; one without any is taken as it is."""
RUN = "0123456789abcdef"


@pytest.fixture
def store(tmp_path: Path) -> LocalFolderStore:
    return LocalFolderStore(tmp_path)


def use_point(document: bytes) -> None:
    point = RecoveryPoint.from_bytes(document, NAME)
    assert RecoveryPoint.from_bytes(point.to_bytes(), NAME).point == point.point
    str(point.snapshot), point.share, point.requested_databases
    readable_sets(point)
    sets_of(point)


def test_a_point_with_anything_in_any_place() -> None:
    for document in each_absurdity(POINT):
        only_our_errors(lambda document=document: use_point(document))  # type: ignore[misc]


@examples(40)
@given(mutated_json(POINT))
def test_a_point(document: bytes) -> None:
    only_our_errors(lambda: use_point(document))


def test_a_point_with_a_digest_and_a_nesting_that_only_the_reader_bears_is_damage() -> None:
    nested = json.dumps(POINT | {"digest": "00", "run": {}}).replace('"run": {}', '"run": ' + "[" * 600 + "]" * 600)
    with pytest.raises(Damaged):
        RecoveryPoint.from_bytes(nested.encode(), NAME)


def test_a_backup_in_a_point_with_anything_in_any_place() -> None:
    document = json.loads(json.dumps(full(0, 10).to_json()))
    for each in each_absurdity(document):
        try:
            value = json.loads(each)
        except (ValueError, RecursionError):
            continue
        only_our_errors(lambda value=value: BackupSet.from_json(value, points.ID))  # type: ignore[misc]


def test_a_catalog_goes_on_behind_what_cannot_be_read(store: LocalFolderStore) -> None:
    store.put(NAME, b"[" * 100_000)
    store.put("points/no id.json", b"")
    another = "20261125T120001Z-0a1b2c"
    store.put(f"points/{another}.json", json.dumps(POINT | {"point": another}).encode())
    found = list(Catalog(store).newest_first())
    assert [type(each) for each in found] == [RecoveryPoint, Unreadable]


def test_a_drill_with_anything_in_any_place(store: LocalFolderStore) -> None:
    name = put_drill_result(store, points.ID, datetime.now(UTC), {"status": "ok", "rto_seconds": 5.0})
    good = json.loads(store.get(name))
    for document in each_absurdity(good):
        store.delete(name)
        store.put(name, document)
        only_our_errors(lambda: list(drills_newest_first(store)))


def test_a_journal_with_anything_in_any_place(store: LocalFolderStore) -> None:
    name = put_journal(store, Journal(datetime.now(UTC), (points.ID,), ("recovery-points/x",), ("share/y",)))
    good = json.loads(store.get(name))
    good.pop("digest", None)
    for document in each_absurdity(good):
        store.delete(name)
        store.put(name, document)
        only_our_errors(lambda: list(journals(store)))


def test_the_end_of_a_run_with_anything_in_any_place(store: LocalFolderStore) -> None:
    runs = Runs(store)
    end = run_end(RUN, "2026-11-25T12:00:00Z", "complete", [], point=points.ID)
    for document in each_absurdity(end):
        store.put(f"runs/{RUN}.json", document)
        only_our_errors(lambda: runs.ended(RUN))
        store.delete(f"runs/{RUN}.json")


@pytest.mark.parametrize("document", [b"null", b"[]", b"7"])
def test_the_end_of_a_run_that_is_no_object_is_damage(store: LocalFolderStore, document: bytes) -> None:
    store.put(f"runs/{RUN}.json", document)
    with pytest.raises(Damaged):
        Runs(store).ended(RUN)
