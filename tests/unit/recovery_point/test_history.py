"""What earlier points say of the share: baseline, parent, the last look."""

from __future__ import annotations

from typing import Any

import pytest

from shared.recovery_point.record import RecoveryPoint
from shared.recovery_point.share import History, read_history
from shared.repository.trees import rfc3339


def point(status: str, files: int = 10, *, snapshot: str | None = "s", **share: Any) -> RecoveryPoint:
    component = {"status": status, "snapshot": snapshot, "files": files, **share}
    return RecoveryPoint(
        point="20261123T000000Z-000000",
        time="2026-11-23T00:00:00Z",
        status=status,
        requested=["share"],
        not_configured=[],
        without=[],
        whole=True,
        suspect=False,
        components={"share": component},
    )


def without_share() -> RecoveryPoint:
    other = point("complete")
    other.components = {"databases": {"status": "complete"}}
    return other


@pytest.mark.parametrize(
    ("newest_first", "baseline"),
    [
        ([], None),
        ([point("complete", 7)], 7),
        ([point("complete", 7), point("complete", 100)], 7),
        ([point("failed", 0), point("complete", 100)], 100),
        ([point("failed", 0, snapshot=None), point("complete", 100)], 100),
        ([without_share(), point("complete", 100)], 100),
        ([point("partial", 60), point("complete", 100)], 100),
        ([point("partial", 60, accepted=True), point("complete", 100)], 60),
        ([point("complete", 0, accepted=True), point("complete", 100)], 0),
        ([point("partial", 60), point("partial", 100)], 60),
        ([point("partial", 60), point("failed", 1), point("complete", 0, accepted=True)], 0),
    ],
)
def test_the_baseline_is_the_newest_good_or_accepted_snapshot(
    newest_first: list[RecoveryPoint], baseline: int | None
) -> None:
    assert read_history(newest_first).baseline_files == baseline


def test_suspect_snapshots_are_remembered_and_never_the_newest() -> None:
    history = read_history([point("failed", 0, snapshot="b"), point("partial", 9, snapshot="a"), point("complete")])

    assert history.suspect == {"b"}
    assert history.newest == "a"


def test_a_look_by_a_suspect_run_does_not_put_off_the_next_one() -> None:
    """Fault 40: its snapshot is not compared with, so what it noticed is not in the next one."""
    history = read_history(
        [point("failed", 0, snapshot="b", looked=rfc3339(2_000)), point("complete", looked=rfc3339(1_000))]
    )

    assert history.looked_ns == 1_000


def test_without_points_there_is_no_history() -> None:
    assert read_history([]) == History()


@pytest.mark.parametrize(
    "share",
    [
        {"files": "many"},
        {"files": None},
        {"files": -1},
        {"files": [1]},
        {"status": 7},
        {"fingerprints": "ab"},
        {"looked": 7},
    ],
    ids=str,
)
def test_a_record_that_makes_no_sense_of_the_share_keeps_nobody_from_backing_up_fault_34(share: dict[str, Any]) -> None:
    forged, good = point("complete"), point("complete", 100)
    forged.components["share"] |= share
    history = read_history([forged, good])
    assert history.baseline_files == (100 if "looked" not in share else 10)
    assert history.looked_ns is None
