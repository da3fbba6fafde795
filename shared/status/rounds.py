"""What timers have done now and then to prove that backups are good: a round of the verification, and a drill.

What the commands ``verify`` and ``drill`` do; besides, that it could not be done at all is an event here, since nobody
sits before it.
"""

from __future__ import annotations

from datetime import timedelta

from shared.recovery_point.drill import Drilled, NothingToDrill, drill
from shared.recovery_point.verification import verify_round
from shared.recovery_point.verifications import Verification
from shared.settings import Settings
from shared.telemetry import Event, emit, telling_of_failure

LONGEST_ROUND = timedelta(hours=12)
"""What it has not read by then is due with the next."""


def verify(settings: Settings) -> Verification:
    """A round: check that all is there that records name, and read back what is due. What is damaged is an event of the
    round's own. Its errors are told, and raised."""
    with telling_of_failure(Event.VERIFICATION_FAILED):
        made = verify_round(settings, budget=LONGEST_ROUND)
    emit(
        Event.VERIFICATION_COMPLETED,
        findings=len(made.reasons),
        bytes_read=made.bytes_read,
        duration_seconds=made.duration_seconds,
    )
    return made


def drill_newest(settings: Settings) -> Drilled | None:
    """A drill of the newest point; None where no point holds anything that there is a place for here. The errors of
    the drill are told, and raised."""
    with telling_of_failure(Event.DRILL_FAILED):
        try:
            return drill(settings)
        except NothingToDrill:
            return None
