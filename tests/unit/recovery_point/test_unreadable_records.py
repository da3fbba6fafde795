"""Choosing a point while the record of a newer one cannot be read: the choice is made, and people are told."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from shared.recovery_point import restore, restore_databases, restore_secrets
from shared.recovery_point.catalog import Catalog
from shared.recovery_point.record import COMPLETE, RecoveryPoint
from shared.storage.local_folder import LocalFolderStore
from tests.unit.databases.making import full
from tests.unit.recovery_point.test_databases import database, point

BROKEN = "20261109T000000Z-abcdef"
TOLD = f"passed over: {BROKEN}, whose record cannot be read"


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """A good point, and a newer one whose record is cut short."""
    store = LocalFolderStore(tmp_path)
    good = point(1, {"a": database(full(0, 10))})
    good.components["share"] = {"status": COMPLETE, "snapshot": "ab" * 32}
    good.components["secrets"] = {"status": COMPLETE, "version": "v1"}
    catalog = Catalog(store)
    catalog.add(good)
    store.put(f"points/{BROKEN}.json", b'{"point": ')
    return catalog


@pytest.mark.parametrize(
    "choose",
    [partial(restore._choose, own=None), restore_databases.choose_point, restore_secrets.choose_point],
    ids=["share", "databases", "secrets"],
)
def test_that_a_newer_record_cannot_be_read_is_told(
    catalog: Catalog, choose: Callable[[Catalog, str | None], tuple[RecoveryPoint, list[str]]]
) -> None:
    taken, notes = choose(catalog, None)

    assert (taken.point, notes) == (point(1).point, [TOLD])


def test_who_asks_for_nothing_is_told_nothing(catalog: Catalog) -> None:
    assert [each.point for each in catalog.readable()] == [point(1).point]


def test_they_are_told_in_their_order_and_no_further_than_was_read(catalog: Catalog) -> None:
    catalog.store.put("points/20261001T000000Z-abcdef.json", b"")
    passed_over: list[str] = []
    points = catalog.readable(passed_over)

    assert passed_over == []
    assert next(points).point == point(1).point
    assert passed_over == [TOLD]
    assert list(points) == []
    assert passed_over[1:] == ["passed over: 20261001T000000Z-abcdef, whose record cannot be read"]
