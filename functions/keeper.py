"""Timers of the keeper, which nobody can call: what is kept is protected, what is not is deleted.

Each is the command of its name. One that was missed fires once, late, which is as good. Two at once exclude each other
by the repository's lock; the later one waits, or fails and is told.
"""

from __future__ import annotations

import azure.functions as func

from functions.timers import act, timer_blueprint


def blueprint() -> func.Blueprint:
    return timer_blueprint({"PROTECT": protect, "RETENTION": retention, "PRUNE": prune})


async def protect(timer: func.TimerRequest) -> None:
    from shared.keeping.protecting import protect

    await act(protect)


async def retention(timer: func.TimerRequest) -> None:
    from shared.keeping.pruning import prune

    await act(lambda settings: prune(settings, repository=False))


async def prune(timer: func.TimerRequest) -> None:
    from shared.keeping.pruning import prune

    await act(prune)
