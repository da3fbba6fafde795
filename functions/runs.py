"""Runs: the orchestration with its activities, the timers that start one, and what the API asks of one.

An instance id is fixed, so that runs are single; the run's own id is in its input. ``log-backup`` is an instance of its
own: logs are not to wait for a recovery point that takes hours.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import azure.durable_functions as df
import azure.functions as func

from functions import activities
from functions.orchestration import RecoveryPointRun, cancel_event
from functions.schedules import schedule_of
from shared.errors import LifeboatError
from shared.telemetry import Event, telling_of_failure

if TYPE_CHECKING:
    from shared.recovery_point.runs import RunRequest, Runs

Json = dict[str, Any]

RECOVERY_POINT, LOG_BACKUP = "recovery-point", "log-backup"
INSTANCES = (RECOVERY_POINT, LOG_BACKUP)
_RUNNING = ("Running", "Pending", "Suspended", "ContinuedAsNew")
_logger = logging.getLogger("lifeboat")


@dataclass(frozen=True, slots=True)
class Started:
    run: str
    already_running: bool
    """It is another one, which was started before."""


def blueprint() -> df.Blueprint:
    made = df.Blueprint()
    activities.register(made)

    @made.orchestration_trigger(context_name="context", orchestration="recovery_point")
    def recovery_point(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
        return (yield from RecoveryPointRun(context, context.get_input()).turns())

    for name, function in (("BACKUP", backup), ("LOGS", log_backup), ("WATCHDOG", dead_runs)):
        schedule = schedule_of(name)
        if schedule is not None:
            made.timer_trigger(arg_name="timer", schedule=schedule)(
                made.durable_client_input(client_name="client")(function)
            )
    return made


async def backup(timer: func.TimerRequest, client: df.DurableOrchestrationClient) -> None:
    from shared.recovery_point.runs import RunRequest

    await _start_by_timer(client, RunRequest(), past_due=timer.past_due)


async def log_backup(timer: func.TimerRequest, client: df.DurableOrchestrationClient) -> None:
    """Does nothing where the log chain is neither ours nor adopted."""
    from shared.recovery_point.runs import RunRequest
    from shared.settings import Settings

    if Settings.from_environment().takes_logs():
        await _start_by_timer(client, RunRequest(logs=True), past_due=timer.past_due)


async def dead_runs(timer: func.TimerRequest, client: df.DurableOrchestrationClient) -> None:
    """Beside the watchdog, which is to say that it is alive whatever becomes of the engine."""
    await write_dead_runs(client)


async def start_run(client: df.DurableOrchestrationClient, request: RunRequest, *, caller: str | None) -> Started:
    """Start a run, unless one of its kind runs. ``UsageError`` and ``SettingsError`` where the request makes no sense
    or something is not set: before anything is started."""
    from shared.recovery_point.runs import new_run_id

    instance = LOG_BACKUP if request.logs else RECOVERY_POINT
    running = await _running(client, instance)
    if running is None and request.logs:  # it takes the logs itself, and those are in no record yet
        running = await _running(client, RECOVERY_POINT)
    if running is not None:
        return Started(running, True)
    with suppress(LifeboatError):  # what the vault does not take now is no reason not to begin
        await write_dead_runs(client)
    run = new_run_id()
    order = await asyncio.to_thread(_order, run, request, caller)
    try:
        await client.start_new("recovery_point", instance, order)
    except Exception:  # the SDK has no type for it: somebody was quicker
        running = await _running(client, instance)
        if running is None:
            raise
        return Started(running, True)
    return Started(run, False)


async def run_state(client: df.DurableOrchestrationClient, run: str) -> Json | None:
    """As GET /runs/RUN answers it; None: there is no such run."""
    from shared.recovery_point.runs import is_run_id

    if not is_run_id(run):
        return None
    for instance in INSTANCES:
        status = await client.get_status(instance, show_input=True)
        if _run_of(status) == run and _is_running(status):
            shown = status.custom_status if isinstance(status.custom_status, dict) else {}
            return {
                "run": run,
                "status": "running",
                "point": None,
                "progress": shown.get("progress", {"done": 0, "total": 1, "text": "starting"}),
                "started": _order_of(status)["started"],
                "finished": None,
                "reasons": shown.get("reasons", []),
            }
    await write_dead_runs(client)
    return await asyncio.to_thread(_ended, run)


async def cancel_run(client: df.DurableOrchestrationClient, run: str) -> str:
    """``cancelling``, ``ended`` or ``unknown``. Steps that run notice it within seconds, the others are not begun."""
    from shared.recovery_point.runs import is_run_id

    if not is_run_id(run):
        return "unknown"
    for instance in INSTANCES:
        status = await client.get_status(instance, show_input=True)
        if _run_of(status) == run and _is_running(status):
            await asyncio.to_thread(_cancel, run)
            try:
                await client.raise_event(instance, cancel_event(run))
            except Exception:  # the SDK has no type for it: the run has ended meanwhile
                if await _running(client, instance) == run:
                    raise
                break
            return "cancelling"
    await write_dead_runs(client)
    return "unknown" if await asyncio.to_thread(_ended, run) is None else "ended"


async def write_dead_runs(client: df.DurableOrchestrationClient) -> None:
    """A run that was terminated, or failed in the engine, has written no record of its end: write it."""
    for instance in INSTANCES:
        status = await client.get_status(instance, show_input=True)
        run = _run_of(status)
        if run is not None and not _is_running(status):
            await asyncio.to_thread(_write_end, run, _order_of(status)["started"], _name(status))


async def _start_by_timer(client: df.DurableOrchestrationClient, request: RunRequest, *, past_due: bool) -> None:
    """A timer that was missed fires once, late, and its run is made; one that fires while a run goes on starts none."""
    with telling_of_failure(Event.RECOVERY_POINT_FAILED):
        started = await start_run(client, request, caller=None)
    if started.already_running:
        _logger.warning("the timer fired while the run %s goes on: none was started", started.run)
    elif past_due:
        _logger.warning("the timer fired late: the run %s makes up for it", started.run)


async def _running(client: df.DurableOrchestrationClient, instance: str) -> str | None:
    """The run that goes on under this instance id."""
    status = await client.get_status(instance, show_input=True)
    return _run_of(status) if _is_running(status) else None


def _is_running(status: df.DurableOrchestrationStatus) -> bool:
    return _name(status) in _RUNNING


def _name(status: df.DurableOrchestrationStatus) -> str:
    return status.runtime_status.value if status.runtime_status is not None else ""


def _order_of(status: df.DurableOrchestrationStatus) -> Json:
    """What the run of this instance was started with; empty where there was none. The SDK gives it as it is stored."""
    order = json.loads(status.input_) if isinstance(status.input_, str) else status.input_
    return order if isinstance(order, dict) else {}


def _run_of(status: df.DurableOrchestrationStatus) -> str | None:
    return _order_of(status).get("run")


def _order(run: str, request: RunRequest, caller: str | None) -> Json:
    """The orchestrator's input: all that it may not read itself."""
    from shared.recovery_point.scope import scope_of
    from shared.repository.trees import rfc3339_of
    from shared.settings import Settings

    settings = Settings.from_environment()
    settings.vault()
    scope_of(settings, request.backup_request())
    steps = settings.steps()
    return {
        "run": run,
        "request": request.to_json(),
        "caller": caller,
        "started": rfc3339_of(datetime.now(UTC)),
        "lock_wait_seconds": steps.lock_wait_seconds,
        "shards": steps.shards,
        "window": steps.window,
        "budget_seconds": steps.shard_budget_seconds,
    }


def _ended(run: str) -> Json | None:
    with _runs() as runs:
        return runs.ended(run)


def _cancel(run: str) -> None:
    with _runs() as runs:
        runs.cancel(run)


@contextmanager
def _runs() -> Iterator[Runs]:
    from shared.recovery_point.runs import Runs
    from shared.settings import Settings
    from shared.storage.vault import Vault

    with Vault(Settings.from_environment().vault()) as vault:
        yield Runs(vault.records)


def _write_end(run: str, started: str, status: str) -> None:
    from shared.recovery_point.steps import end_dead_run
    from shared.settings import Settings

    end_dead_run(Settings.from_environment(), run, started, terminated=status in ("Terminated", "Canceled"))
