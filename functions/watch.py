"""Timers that look after what there is: the watchdog, the verification, the drill.

A timer that was missed fires once, late, which is as good: each looks at how things are now. One that still runs is not
started again: the host lets no timer overlap itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import azure.functions as func

from functions.schedules import schedule_of

if TYPE_CHECKING:
    from shared.settings import Settings


def blueprint() -> func.Blueprint:
    made = func.Blueprint()  # type: ignore[no-untyped-call]
    for name, function in (("WATCHDOG", watchdog), ("VERIFY", verification), ("DRILL", drill)):
        schedule = schedule_of(name)
        if schedule is not None:
            made.timer_trigger(arg_name="timer", schedule=schedule)(function)
    return made


async def watchdog(timer: func.TimerRequest) -> None:
    from shared.status.watchdog import watch

    await _run(watch)


async def verification(timer: func.TimerRequest) -> None:
    from shared.status.rounds import verify

    await _run(verify)


async def drill(timer: func.TimerRequest) -> None:
    from shared.status.rounds import drill_if_configured

    await _run(drill_if_configured)


async def _run(act: Callable[[Settings], object]) -> None:
    """In a thread, with the invocation's trace, to which what it tells belongs. That is sent before the instance may be
    put to sleep."""
    from shared.settings import Settings
    from shared.telemetry import configure_telemetry, flush_telemetry

    await asyncio.to_thread(configure_telemetry)
    try:
        await asyncio.to_thread(act, Settings.from_environment())
    finally:
        await asyncio.to_thread(flush_telemetry)
