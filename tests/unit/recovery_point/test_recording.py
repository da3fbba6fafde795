"""What is told of a point that was written."""

from __future__ import annotations

from shared.recovery_point.recording import tell
from shared.telemetry import Event
from tests.standins.in_memory_telemetry import listening
from tests.unit.status import points


def test_a_point_that_lacks_something_is_told_with_its_first_reason() -> None:
    reason = {"component": "share", "code": "unreadable-file", "message": "0a/web.config: denied", "remedy": "look"}
    lacking = points.point({"share": points.share(status="partial")}, status="partial", reasons=[reason])
    with listening() as exported:
        tell(lacking)
        tell(points.point())
    (partial,) = exported.named(Event.RECOVERY_POINT_PARTIAL)
    assert (partial["code"], partial["detail"]) == ("unreadable-file", "0a/web.config: denied")
    (complete,) = exported.named(Event.RECOVERY_POINT_COMPLETED)
    assert not {"code", "detail"} & complete.keys()
