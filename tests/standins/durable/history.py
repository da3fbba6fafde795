"""Events of an orchestration's history, in the JSON that the extension sends to the SDK.

Sources: ``DurableTask.Core/History/*.cs`` (fields), the SDK's ``HistoryEventType`` (numbers). Values that were passed
between functions are JSON strings in ``Input`` and ``Result``; an activity's input is not kept in the history.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

Json = dict[str, Any]


class EventType(IntEnum):
    EXECUTION_STARTED = 0
    EXECUTION_COMPLETED = 1
    EXECUTION_TERMINATED = 3
    TASK_SCHEDULED = 4
    TASK_COMPLETED = 5
    TASK_FAILED = 6
    SUB_ORCHESTRATION_CREATED = 7
    SUB_ORCHESTRATION_COMPLETED = 8
    SUB_ORCHESTRATION_FAILED = 9
    TIMER_CREATED = 10
    TIMER_FIRED = 11
    ORCHESTRATOR_STARTED = 12
    ORCHESTRATOR_COMPLETED = 13
    EVENT_RAISED = 15


NAMES = {
    EventType.EXECUTION_STARTED: "ExecutionStarted",
    EventType.EXECUTION_COMPLETED: "ExecutionCompleted",
    EventType.EXECUTION_TERMINATED: "ExecutionTerminated",
    EventType.TASK_SCHEDULED: "TaskScheduled",
    EventType.TASK_COMPLETED: "TaskCompleted",
    EventType.TASK_FAILED: "TaskFailed",
    EventType.SUB_ORCHESTRATION_CREATED: "SubOrchestrationInstanceCreated",
    EventType.SUB_ORCHESTRATION_COMPLETED: "SubOrchestrationInstanceCompleted",
    EventType.SUB_ORCHESTRATION_FAILED: "SubOrchestrationInstanceFailed",
    EventType.TIMER_CREATED: "TimerCreated",
    EventType.TIMER_FIRED: "TimerFired",
    EventType.ORCHESTRATOR_STARTED: "OrchestratorStarted",
    EventType.ORCHESTRATOR_COMPLETED: "OrchestratorCompleted",
    EventType.EVENT_RAISED: "EventRaised",
}

FAILED_KIND = {
    EventType.TASK_COMPLETED: EventType.TASK_FAILED,
    EventType.SUB_ORCHESTRATION_COMPLETED: EventType.SUB_ORCHESTRATION_FAILED,
}


def stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0Z")


def moment_of(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("0Z", "+00:00") if len(text) == 28 else text.replace("Z", "+00:00"))


def event(kind: EventType, at: datetime, event_id: int = -1, **fields: Any) -> Json:
    return {"EventType": int(kind), "EventId": event_id, "IsPlayed": False, "Timestamp": stamp(at)} | fields


def mark_played(events: list[Json]) -> None:
    """What the framework leaves in a stored history: all events that a turn processed but ``OrchestratorStarted``."""
    for each in events:
        each["IsPlayed"] = each["EventType"] != EventType.ORCHESTRATOR_STARTED


def for_people(history: list[Json], *, outputs: bool, inputs: bool) -> list[Json]:
    """The history as ``showHistory=true`` gives it (``DurableClient.GetDurableOrchestrationStatusAsync``): names for
    numbers, what was scheduled folded into what came of it, the turns' own marks left out."""
    scheduled: dict[tuple[int, int], Json] = {}
    for each in history:
        if each["EventType"] in (EventType.TASK_SCHEDULED, EventType.SUB_ORCHESTRATION_CREATED):
            scheduled[each["EventType"], each["EventId"]] = each
    shown: list[Json] = []
    folded: list[Json] = []
    for each in history:
        kind = EventType(each["EventType"])
        if kind in (EventType.ORCHESTRATOR_STARTED, EventType.ORCHESTRATOR_COMPLETED):
            continue
        seen = {"EventType": NAMES[kind]} | {
            key: value
            for key, value in each.items()
            if key not in ("EventType", "EventId", "IsPlayed", "TaskScheduledId", "TimerId", "Version")
        }
        if "TaskScheduledId" in each:
            origin = EventType.TASK_SCHEDULED if kind <= EventType.TASK_FAILED else EventType.SUB_ORCHESTRATION_CREATED
            first = scheduled.get((origin, each["TaskScheduledId"]))
            if first is not None:
                seen |= {"ScheduledTime": first["Timestamp"], "FunctionName": first["Name"]}
                folded.append(first)
        if kind == EventType.EXECUTION_STARTED:
            seen["FunctionName"] = seen.pop("Name")
            for key in ("OrchestrationInstance", "ParentInstance", "Tags"):
                seen.pop(key, None)
        if not outputs:
            seen.pop("Result", None)
        if not inputs:
            seen.pop("Input", None)
        shown.append(seen | {"_": id(each)})
    gone = {id(each) for each in folded}
    return [{key: value for key, value in each.items() if key != "_"} for each in shown if each["_"] not in gone]
