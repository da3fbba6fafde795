"""What an orchestrator's actions mean, given its history: which work is new, and whether the run has ended.

This is the extension's ``OutOfProcOrchestrationShim`` (one action after the other, each awaited before the next) on the
framework's ``TaskOrchestrationContext`` and ``TaskOrchestrationExecutor`` (sequence numbers, open tasks, the check of a
history against its replay) and ``RetryInterceptor``, followed line by line, because their oddities show:

- retries are made here: a timer and the task again, and one more timer that fires at once after the last attempt;
- a run ends only when no task is open: a child that ``task_any`` left behind, or the siblings of a failed ``task_all``,
  keep it ``Running`` until they end. Waiting for an event is no open task. Terminating it looks at none of that;
- of several waits for events of one name the newest gets the event.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.standins.durable.history import EventType, Json, moment_of

CALL_ACTIVITY, CALL_ACTIVITY_WITH_RETRY, CALL_SUB, CALL_SUB_WITH_RETRY, CONTINUE_AS_NEW = range(5)
CREATE_TIMER, WAIT_FOR_EVENT = 5, 6
WHEN_ANY, WHEN_ALL = 11, 12
CUSTOM_STATUS_LIMIT_BYTES = 16 * 1024
NO_FUNCTION = "The function '{name}' doesn't exist, is disabled, or is not an {kind} function."


class HistoryDiffers(Exception):
    """The orchestrator does not do what it did in an earlier turn (NonDeterministicOrchestrationException)."""


class ActionRefused(Exception):
    """The extension would throw on an action; the orchestration fails with the text."""


class Future:
    """A task: open until it is settled; its callbacks run at once, in order: the framework has one thread for them."""

    def __init__(self) -> None:
        self.done = False
        self.error: str | None = None
        self._waiting: list[Callable[[], None]] = []

    def settle(self, error: str | None = None) -> None:
        if self.done:
            return
        self.done, self.error = True, error
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            callback()

    def then(self, callback: Callable[[], None]) -> None:
        if self.done:
            callback()
        else:
            self._waiting.append(callback)


Steps = Generator[Future, None, str | None]
"""A coroutine: yields what it awaits, returns an error or None."""


def spawn(steps: Steps) -> Future:
    result = Future()

    def go_on() -> None:
        try:
            awaited = next(steps)
        except StopIteration as end:
            result.settle(end.value)
        else:
            awaited.then(go_on)

    go_on()
    return result


@dataclass(frozen=True)
class Scheduled:
    """Work that an orchestration asks for, by its sequence number."""

    id: int
    kind: EventType
    name: str = ""
    input: str | None = None
    instance_id: str | None = None
    fire_at: datetime | None = None


@dataclass
class Outcome:
    """What a turn comes to."""

    scheduled: list[Scheduled]
    ended: str | None = None
    """Runtime status, if the execution has ended; ``ContinuedAsNew`` among them."""
    result: str | None = None
    details: str | None = None
    carried: list[Json] = field(default_factory=list)
    """Events that came after ``continue_as_new``."""


@dataclass(frozen=True)
class State:
    """What the SDK answered: its ``OrchestratorState``, or an error without one."""

    actions: list[Json]
    is_done: bool
    output: Any
    error: str | None
    details: str
    custom_status: Any


class Replay:
    """One replay of ``state``'s actions over a history that ends with the events of this turn."""

    def __init__(self, name: str, execution_id: str, state: State, exists: Callable[[str, str], bool]) -> None:
        self._name = name
        self._execution_id = execution_id
        self._state = state
        self._exists = exists
        self._counter = 0
        self._new: dict[int, Scheduled] = {}
        self._open: dict[int, Future] = {}
        self._waits: dict[str, list[Future]] = {}
        self._buffered: dict[str, int] = {}
        self._now = datetime.min
        self._continue_with: str | None = None
        self._carried: list[Json] = []
        self._main: Future | None = None

    def outcome(self, history: list[Json]) -> Outcome:
        """``HistoryDiffers`` if the history holds work that the actions do not explain."""
        terminated: str | None = None
        for each in history:
            if each["EventType"] == EventType.EXECUTION_TERMINATED:
                terminated = each["Input"] or ""
            self._process(each)
        new = [self._new[id_] for id_ in sorted(self._new)]
        if terminated is not None:
            return Outcome(new, "Terminated", terminated)
        if self._main is None or not self._main.done or self._open:
            return Outcome(new)
        if self._main.error is not None:
            return Outcome(new, "Failed", self._main.error, self._state.details)
        if self._continue_with is not None:
            return Outcome(new, "ContinuedAsNew", self._continue_with, carried=self._carried)
        output = self._state.output
        return Outcome(new, "Completed", None if output is None else json.dumps(output))

    def _process(self, each: Json) -> None:
        kind = each["EventType"]
        if kind == EventType.ORCHESTRATOR_STARTED:
            self._now = moment_of(each["Timestamp"])
        elif kind == EventType.EXECUTION_STARTED:
            self._main = spawn(self._run())
        elif kind in (EventType.TASK_SCHEDULED, EventType.TIMER_CREATED, EventType.SUB_ORCHESTRATION_CREATED):
            self._must_be_known(each)
        elif kind in (EventType.TASK_COMPLETED, EventType.SUB_ORCHESTRATION_COMPLETED):
            self._close(each["TaskScheduledId"], None)
        elif kind in (EventType.TASK_FAILED, EventType.SUB_ORCHESTRATION_FAILED):
            self._close(each["TaskScheduledId"], each["Reason"])
        elif kind == EventType.TIMER_FIRED:
            self._close(each["TimerId"], None)
        elif kind == EventType.EVENT_RAISED:
            if self._continue_with is None:
                self._raise_event(each["Name"])
            else:
                self._carried.append(each)

    def _must_be_known(self, each: Json) -> None:
        id_ = each["EventId"]
        known = self._new.pop(id_, None)
        if known is None or known.kind != each["EventType"] or known.name.lower() != each.get("Name", "").lower():
            was = f"{EventType(each['EventType']).name} {each.get('Name', '')}"
            now = "nothing" if known is None else f"{known.kind.name} {known.name}"
            raise HistoryDiffers(f"a previous execution scheduled {was} with sequence number {id_}, this replay {now}")

    def _close(self, id_: int, error: str | None) -> None:
        task = self._open.pop(id_, None)
        if task is not None:
            task.settle(error)

    def _run(self) -> Steps:
        try:
            for action in self._state.actions:
                yield self._invoke(action)
        except ActionRefused as refused:
            return f"Orchestrator function '{self._name}' failed: {refused}"
        if self._state.error:
            return f"Orchestrator function '{self._name}' failed: {self._state.error}"
        if not self._state.is_done:
            yield Future()
        return None

    def _invoke(self, action: Json) -> Future:
        kind = action["actionType"]
        if kind == CALL_ACTIVITY:
            return self._activity(action)
        if kind == CALL_SUB:
            return self._sub(action)
        if kind == CALL_ACTIVITY_WITH_RETRY:
            return spawn(self._retry(action, lambda: self._activity(action)))
        if kind == CALL_SUB_WITH_RETRY:
            return spawn(self._retry(action, lambda: self._sub(action)))
        if kind == CREATE_TIMER:
            return self._timer(moment_of(action["fireAt"]), cancelled=action.get("isCanceled", False))
        if kind == WAIT_FOR_EVENT:
            return self._wait(action["externalEventName"])
        if kind == CONTINUE_AS_NEW:
            self._continue_with = json.dumps(action["input"])
            return self._settled()
        if kind == WHEN_ALL:
            return self._all([self._invoke(each) for each in action["compoundActions"]])
        if kind == WHEN_ANY:
            return self._any([self._invoke(each) for each in action["compoundActions"]])
        raise ActionRefused(f"the stand-in knows no action of type {kind}")

    def _settled(self) -> Future:
        future = Future()
        future.settle()
        return future

    def _schedule(self, kind: EventType, **fields: Any) -> Future:
        scheduled = Scheduled(self._counter, kind, **fields)
        self._counter += 1
        self._new[scheduled.id] = scheduled
        self._open[scheduled.id] = future = Future()
        return future

    def _activity(self, action: Json) -> Future:
        name = action["functionName"]
        self._must_exist(name, "Activity")
        return self._schedule(EventType.TASK_SCHEDULED, name=name, input=json.dumps([action["input"]]))

    def _sub(self, action: Json) -> Future:
        name = action["functionName"]
        self._must_exist(name, "Orchestrator")
        instance_id = action.get("instanceId") or f"{self._execution_id}:{self._counter}"
        fields = {"name": name, "input": json.dumps(action["input"]), "instance_id": instance_id}
        return self._schedule(EventType.SUB_ORCHESTRATION_CREATED, **fields)

    def _must_exist(self, name: str, kind: str) -> None:
        if not self._exists(name, kind):
            raise ActionRefused(NO_FUNCTION.format(name=name, kind=kind.lower()))

    def _timer(self, fire_at: datetime, *, cancelled: bool = False) -> Future:
        id_ = self._counter
        future = self._schedule(EventType.TIMER_CREATED, fire_at=fire_at)
        if cancelled:
            del self._open[id_]
            future.settle("A task was canceled.")
        return future

    def _retry(self, action: Json, call: Callable[[], Future]) -> Steps:
        options = action["retryOptions"]
        attempts = options["maxNumberOfAttempts"]
        interval = timedelta(milliseconds=options["firstRetryIntervalInMilliseconds"])
        error: str | None = None
        for attempt in range(1, attempts + 1):
            task = call()
            yield task
            if task.error is None:
                return None
            error = task.error
            yield self._timer(self._now if attempt == attempts else self._now + interval)
        return error

    def _wait(self, name: str) -> Future:
        future = Future()
        self._waits.setdefault(name, []).append(future)
        if self._buffered.get(name):
            self._buffered[name] -= 1
            self._raise_event(name)
        return future

    def _raise_event(self, name: str) -> None:
        waits = self._waits.get(name)
        if waits:
            waits.pop().settle()
        else:
            self._buffered[name] = self._buffered.get(name, 0) + 1

    def _all(self, tasks: list[Future]) -> Future:
        result = Future()

        def look() -> None:
            if all(task.done for task in tasks):
                result.settle(next((task.error for task in tasks if task.error is not None), None))

        for task in tasks:
            task.then(look)
        if not tasks:
            result.settle()
        return result

    def _any(self, tasks: list[Future]) -> Future:
        if not tasks:
            raise ActionRefused("The tasks argument contains no tasks.")
        result = Future()
        for task in tasks:
            task.then(result.settle)
        return result
