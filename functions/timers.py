"""What a timer does that acts for itself: in a thread, and heard of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

import azure.functions as func

from functions.schedules import schedule_of

if TYPE_CHECKING:
    from shared.settings import Settings

Timer = Callable[[func.TimerRequest], Awaitable[None]]


def timer_blueprint(timers: Mapping[str, Timer]) -> func.Blueprint:
    """By the names of their schedules. One whose schedule is none is left out (``schedule_of``)."""
    made = func.Blueprint()  # type: ignore[no-untyped-call]
    for name, function in timers.items():
        schedule = schedule_of(name)
        if schedule is not None:
            made.timer_trigger(arg_name="timer", schedule=schedule)(function)
    return made


async def act(action: Callable[[Settings], object]) -> None:
    """In a thread, with the invocation's trace, to which what it tells belongs. That is sent before the instance may be
    put to sleep."""
    from shared.settings import Settings
    from shared.telemetry import configure_telemetry, flush_telemetry

    await asyncio.to_thread(configure_telemetry)
    try:
        await asyncio.to_thread(action, Settings.from_environment())
    finally:
        await asyncio.to_thread(flush_telemetry)
