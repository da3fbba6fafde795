"""Results of drills as they lie beside the points, old ones too."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from shared.errors import Damaged
from shared.recovery_point.drill_results import DrillResult, drills_newest_first, put_drill_result
from shared.storage.local_folder import LocalFolderStore

POINT = "20261125T030000Z-0a1b2c"
BEGAN = datetime(2026, 11, 25, 6, 0, tzinfo=UTC)
VERSION_1 = {
    "version": 1,
    "point": POINT,
    "time": "2026-11-25T06:00:00Z",
    "server": "sql02",
    "status": "ok",
    "rto_seconds": 61.5,
    "checks": [{"component": "databases", "name": "hosting", "result": "pass", "seconds": 70.0, "detail": ""}],
    "reasons": [],
    "lifeboat": "1.0.0",
}


@pytest.fixture
def records(tmp_path: Path) -> LocalFolderStore:
    return LocalFolderStore(tmp_path)


def test_a_result_of_version_1_is_a_drill_of_databases_without_an_estimate(records: LocalFolderStore) -> None:
    records.put(f"drills/{POINT}/20261125T060000Z-aaaaaa.json", orjson.dumps(VERSION_1))
    assert list(drills_newest_first(records)) == [DrillResult(POINT, BEGAN, "ok", 61.5, None, ("databases",), ())]


def test_what_is_put_is_read_back_under_the_drills_id(records: LocalFolderStore) -> None:
    document = {
        "status": "partial",
        "rto_seconds": 4.0,
        "estimated_rto_seconds": 90.0,
        "checks": [{"component": name} for name in ("databases", "share", "share", "secrets")],
        "reasons": [{"component": "share"}],
    }
    name = put_drill_result(records, POINT, BEGAN, document, drill="20261125T060000Z-ffffff")
    assert name == f"drills/{POINT}/20261125T060000Z-ffffff.json"
    [found] = drills_newest_first(records)
    assert found == DrillResult(POINT, BEGAN, "partial", 4.0, 90.0, ("databases", "share", "secrets"), ("share",))


@pytest.mark.parametrize(
    "change", [{"version": 3}, {"checks": 7}, {"checks": ["x"]}, {"reasons": [{}]}, {"estimated_rto_seconds": "soon"}]
)
def test_one_that_makes_no_sense_is_damaged_and_named(records: LocalFolderStore, change: dict[str, object]) -> None:
    name = f"drills/{POINT}/20261125T060000Z-aaaaaa.json"
    records.put(name, orjson.dumps(VERSION_1 | change))
    [found] = drills_newest_first(records)
    assert isinstance(found, Damaged)
    assert found.object == name
