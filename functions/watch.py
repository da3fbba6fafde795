"""Timers that look after what there is: the watchdog, the verification, the drill.

A timer that was missed fires once, late, which is as good: each looks at how things are now. One that still runs is not
started again: the host lets no timer overlap itself.
"""

from __future__ import annotations

import azure.functions as func

from functions.timers import act, timer_blueprint


def blueprint() -> func.Blueprint:
    return timer_blueprint({"WATCHDOG": watchdog, "VERIFY": verification, "DRILL": drill})


async def watchdog(timer: func.TimerRequest) -> None:
    from shared.status.watchdog import watch

    await act(watch)


async def verification(timer: func.TimerRequest) -> None:
    from shared.status.rounds import verify

    await act(verify)


async def drill(timer: func.TimerRequest) -> None:
    from shared.status.rounds import drill_newest

    await act(drill_newest)
