"""``status`` over a record that somebody else wrote: it says what is wrong, and does not fall over."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shared.settings import Settings
from shared.status.health import judge_health
from shared.storage.local_folder import LocalFolderStore
from tests.fuzz.mutations import each_absurdity, only_our_errors
from tests.standins.memory_secrets import MemorySecrets
from tests.unit.status import points, test_health

SETTINGS = {**points.SETTINGS, **test_health.SHARE, **test_health.SQL}
NAME = f"points/{points.ID}.json"


def test_status_of_a_point_with_anything_in_any_place(tmp_path: Path) -> None:
    components = {
        "share": test_health.share(),
        "databases": test_health.databases(hosting=3, metering="failed"),
        "secrets": test_health.secrets(),
    }
    point: dict[str, Any] = json.loads(points.point(components).to_bytes())
    point.pop("digest", None)
    store = LocalFolderStore(tmp_path)
    now = datetime(2026, 11, 25, 13, tzinfo=UTC)
    for document in each_absurdity(point):
        store.put(NAME, document)
        only_our_errors(lambda: json.dumps(judge_health(Settings(SETTINGS), store, MemorySecrets, now).to_json()))
        store.delete(NAME)
