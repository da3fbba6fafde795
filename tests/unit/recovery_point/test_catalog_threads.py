"""A catalog that is read half-way holds no thread: its clean-up by the garbage collector once hung a whole run."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shared.recovery_point.catalog import Catalog
from shared.recovery_point.record import COMPLETE, RecoveryPoint, new_id
from shared.storage.local_folder import LocalFolderStore


def test_an_iterator_that_is_dropped_half_way_leaves_no_thread_behind(tmp_path: Path) -> None:
    catalog = Catalog(LocalFolderStore(tmp_path))
    for day in range(20):
        now = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=day)
        point = RecoveryPoint(new_id(now), now.isoformat(), COMPLETE, [], [], [], True, False, {})
        catalog.add(point)
    points = catalog.newest_first()
    next(points)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("catalog")]
    assert len(list(points)) == 19
