"""What earlier points say of the share: baseline, parent, the last look."""

from __future__ import annotations

from collections.abc import Iterator
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


ADOPTED: dict[str, Any] = {
    "mode": "adopt",
    "adopted": {"hostname": "FS01", "program": "restic 0.19.1"},
    "path": "/D/WebSites",
}


def test_an_adopted_snapshot_is_the_baseline_and_is_not_compared_with() -> None:
    history = read_history(
        [
            point("complete", 7, snapshot="adopted", **ADOPTED),
            point("complete", 9, snapshot="read", looked=rfc3339(1_000), fingerprints={"blobs": []}),
        ]
    )
    assert (history.baseline_files, history.newest, history.looked_ns) == (7, "read", 1_000)
    assert history.fingerprints == {"blobs": []}
    assert history.adopted_from == ("FS01", "/D/WebSites")


def test_it_is_not_read_for_ever_where_every_point_adopts() -> None:
    read = 0

    def points() -> Iterator[RecoveryPoint]:
        nonlocal read
        for _ in range(1_000):
            read += 1
            yield point("complete", **ADOPTED)

    assert read_history(points()).newest is None
    assert read < 30


@pytest.mark.parametrize(
    ("newest_first", "adopted_from"),
    [
        ([point("partial", **ADOPTED), point("complete")], None),
        ([point("complete"), point("complete", **ADOPTED)], None),
        ([point("failed", **ADOPTED), point("complete", **ADOPTED)], ("FS01", "/D/WebSites")),
        ([point("partial", accepted=True, **ADOPTED)], ("FS01", "/D/WebSites")),
        ([point("complete", **ADOPTED | {"adopted": {"hostname": "FS01", "program": "lifeboat 1"}})], None),
        ([point("complete", **ADOPTED | {"adopted": "FS01"})], None),
        ([point("complete", **ADOPTED | {"path": 7})], None),
    ],
)
def test_where_a_good_one_came_from_is_where_the_next_is_expected_from(
    newest_first: list[RecoveryPoint], adopted_from: tuple[str, str] | None
) -> None:
    assert read_history(newest_first).adopted_from == adopted_from


@pytest.mark.parametrize("forged", [7, {"count": 1}, {"count": "1", "first": []}, {"count": 1, "first": [{"path": 7}]}])
def test_lists_that_are_none_say_nothing(forged: object) -> None:
    real = {"count": 1, "first": [{"path": "a", "reason": "vanished", "message": "a is gone"}]}
    assert read_history([point("complete", unreadable=forged, tolerated=real)]).lists == {"s": {"tolerated": real}}
