"""Orchestrations and activities: instances, their turns, the queue, the clock. Other triggers are not known here."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from traceback import format_exc
from typing import Any

from tests.standins.durable.history import FAILED_KIND, EventType, Json, event, mark_played, moment_of, stamp
from tests.standins.durable.indexing import HostFile
from tests.standins.durable.management import AlreadyExists, BadArgument, token
from tests.standins.durable.pool import Pool
from tests.standins.durable.replay import (
    CUSTOM_STATUS_LIMIT_BYTES,
    NO_FUNCTION,
    HistoryDiffers,
    Outcome,
    Replay,
    Scheduled,
    State,
)
from tests.standins.durable.store import TERMINAL, Activity, Instance, Store
from tests.standins.durable.workers import Answer, Call, Worker, WorkerDied
from tests.standins.functions_worker import FunctionFound

OUT_OF_PROC_LABEL = "\n\n$OutOfProcData$:"
FORBIDDEN_IN_IDS = "/\\#?"


class NotDeterministic(AssertionError):
    """An orchestrator that was replayed over one history wanted two different things; both are in the text."""


class StandInFailed(AssertionError):
    """A mistake in the stand-in, or an answer of the SDK that it does not understand."""


class Stuck(AssertionError):
    """What is waited for can never happen: nothing is queued, runs, or is due. The text has the instance's history."""


@dataclass(frozen=True)
class Status:
    """An instance, its values as JSON gives them."""

    id: str
    name: str
    runtime_status: str
    input: Any
    output: Any
    custom_status: Any
    created: datetime
    updated: datetime

    @property
    def terminal(self) -> bool:
        return self.runtime_status in TERMINAL

    @classmethod
    def of(cls, instance: Instance) -> Status:
        given = token(instance.input)
        return cls(
            id=instance.id,
            name=instance.name,
            runtime_status=instance.status,
            input=token(given) if isinstance(given, str) else given,
            output=token(instance.output),
            custom_status=token(instance.custom_status),
            created=moment_of(instance.created),
            updated=moment_of(instance.updated),
        )


@dataclass(frozen=True)
class Running:
    """An activity that a worker has begun and not ended."""

    name: str
    instance_id: str
    input: Any
    worker: int
    number: int


class TaskHub:
    """What ``DurableHost`` says of orchestrations. One lock; a thread for turns, one for each activity under way."""

    def __init__(
        self,
        store: Path,
        file: HostFile,
        new_worker: Callable[[], Worker],
        visibility_timeout: timedelta,
        extension: int,
    ) -> None:
        self._store_folder = store
        self._file = file
        self._visibility_timeout = visibility_timeout
        self.extension = extension
        self.functions: dict[str, FunctionFound] = {}
        self.failures: list[tuple[str, str]] = []
        """Function and text of every invocation that raised."""
        self.started: list[str] = []
        """Names of activities in the order in which they were started, repeats included."""
        self._changed = threading.Condition()
        self._pool = Pool(new_worker, self._changed)
        self._running: dict[int, Running] = {}
        self._threads: set[threading.Thread] = set()
        self._invoking = 0
        self._in_turn: str | None = None
        self._closed = False
        self._wrong: list[AssertionError] = []

    def _open_store(self) -> None:
        self._store_folder.mkdir(parents=True, exist_ok=True)
        self._store = Store(self._store_folder)

    def _begin_turns(self) -> None:
        self._control = threading.Thread(target=self._run_turns, name="durable-control", daemon=True)
        self._control.start()

    def _end_turns(self) -> None:
        """Nothing reaches the store from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._pool.kill_all()
        self._control.join()
        for thread in list(self._threads):
            thread.join()

    def _inputs(self, function: FunctionFound) -> dict[str, str]:
        """What input bindings give to a function."""
        raise NotImplementedError

    def now(self) -> datetime:
        return self._store.clock.now()

    def running(self) -> list[Running]:
        with self._changed:
            return list(self._running.values())

    # -- instances, from the test's side

    def start(self, orchestrator: str, input_: Any = None, instance_id: str | None = None) -> str:
        """As the SDK's ``start_new``. ``AlreadyExists``, ``BadArgument``. Of an orchestrator that is not there, version
        3 of the extension makes an instance that fails."""
        serialised = None if input_ is None else json.dumps(json.dumps(input_))
        return self.start_serialised(orchestrator, serialised, instance_id)

    def status(self, instance_id: str) -> Status | None:
        instance = self.instance(instance_id)
        return None if instance is None else Status.of(instance)

    def instances(self) -> list[Status]:
        return [Status.of(each) for each in self.all_instances()]

    def history(self, instance_id: str) -> list[Json]:
        """Its stored events, as the SDK gets them."""
        with self._changed:
            return list(self._store.instances[instance_id].history)

    def raise_event(self, instance_id: str, name: str, data: Any = None) -> None:
        """As a POST to ``sendEventPostUri``. The SDK's own client sends JSON in JSON, so there a text arrives."""
        self.deliver_event(instance_id, name, json.dumps(data))

    # -- instances, from the API's side (management.Hub)

    def start_serialised(self, name: str, input_: str | None, instance_id: str | None) -> str:
        with self._changed:
            if self.extension < 3 and not self._exists(name, "Orchestrator"):
                raise BadArgument(NO_FUNCTION.format(name=name, kind="orchestrator"))
            id_ = instance_id or uuid.uuid4().hex
            if id_.startswith("@") or any(char in FORBIDDEN_IN_IDS or not char.isprintable() for char in id_):
                raise BadArgument("Orchestration instance ids must not contain /, \\, #, ?, or control characters.")
            before = self._store.instances.get(id_)
            if before is not None and not before.terminal and not self._file.replace_any:
                raise AlreadyExists(f"An Orchestration instance with the status {before.status} already exists.")
            self._create(id_, name, input_ or "null", None)
            self._changed.notify_all()
        return id_

    def instance(self, instance_id: str) -> Instance | None:
        with self._changed:
            return self._store.instances.get(instance_id)

    def all_instances(self) -> list[Instance]:
        with self._changed:
            return sorted(self._store.instances.values(), key=lambda each: each.created)

    def deliver_event(self, instance_id: str, name: str, input_: str) -> None:
        self._send(instance_id, event(EventType.EVENT_RAISED, self.now(), Name=name, Input=input_))

    def terminate(self, instance_id: str, reason: str) -> None:
        """Stops nothing that runs. The id is free once the instance's next turn has been made."""
        self._send(instance_id, event(EventType.EXECUTION_TERMINATED, self.now(), Input=reason))

    def suspend(self, instance_id: str, *, suspended: bool) -> None:
        with self._changed:
            instance = self._store.instances[instance_id]
            instance.status = "Suspended" if suspended else "Running"
            self._save(instance)

    def purge(self, instance_id: str) -> None:
        with self._changed:
            if self._store.instances[instance_id].terminal:
                self._store.remove(instance_id)

    def _exists(self, name: str, kind: str) -> bool:
        alias = {"Orchestrator": "orchestration", "Activity": "activity"}[kind]
        return self._function_of(name, f"{alias}Trigger", alias) is not None

    def _function_of(self, name: str, type_: str, alias: str) -> FunctionFound | None:
        """The function that the extension knows by ``name``: the trigger's own name for it, or else the function's."""
        for function in self.functions.values():
            trigger = function.trigger
            if trigger["type"] == type_ and (trigger.get(alias) or function.name).lower() == name.lower():
                return function
        return None

    def _create(self, id_: str, name: str, input_: str, parent: Json | None) -> None:
        """A sub-orchestration of an id that runs is not made, and its parent waits for ever."""
        there = self._store.instances.get(id_)
        if parent is not None and there is not None and not there.terminal:
            return
        now = self.now()
        execution_id = uuid.uuid4().hex
        instance = Instance(id_, execution_id, name, input_, stamp(now), stamp(now), parent=parent)
        instance.inbox.append(self._execution_started(instance, now))
        self._store.save(instance)

    def _execution_started(self, instance: Instance, now: datetime) -> Json:
        parent = instance.parent and {
            "Name": instance.parent["name"],
            "OrchestrationInstance": {
                "InstanceId": instance.parent["instance_id"],
                "ExecutionId": instance.parent["execution_id"],
            },
            "TaskScheduleId": instance.parent["task_id"],
            "Version": "",
        }
        return event(
            EventType.EXECUTION_STARTED,
            now,
            OrchestrationInstance={"InstanceId": instance.id, "ExecutionId": instance.execution_id},
            ParentInstance=parent,
            Name=instance.name,
            Version="",
            Input=instance.input,
            Tags=None,
        )

    def _send(self, instance_id: str, message: Json, execution_id: str | None = None) -> None:
        """Put a message into an instance's inbox, unless that execution is over."""
        with self._changed:
            instance = self._store.instances.get(instance_id)
            if self._closed or instance is None or instance.terminal:
                return
            if execution_id is None or execution_id == instance.execution_id:
                instance.inbox.append(message)
                self._save(instance)

    def _save(self, instance: Instance) -> None:
        instance.updated = stamp(self.now())
        self._store.save(instance)
        self._changed.notify_all()

    # -- waiting

    def wait(self, instance_id: str, *, timeout: float = 120.0) -> Status:
        """Until the instance has ended. ``Stuck`` if it never will; ``NotDeterministic``."""

        def ended() -> bool:
            instance = self.instance(instance_id)
            return instance is None or instance.terminal

        self._wait(ended, timeout, jump=True, what=instance_id)
        status = self.status(instance_id)
        if status is None:
            raise Stuck(f"there is no instance {instance_id}")
        return status

    def wait_until(self, condition: Callable[[], bool], *, timeout: float = 120.0) -> None:
        """Until ``condition``, which is asked after every change and may ask the host and its app; no jump in time."""
        self._wait(condition, timeout, jump=False, what="the condition", stuck=False)

    def settle(self, *, jump: bool = True, timeout: float = 120.0) -> None:
        """Until nothing is left to do. With ``jump``, until no timer is left either."""

        def at_rest() -> bool:
            with self._changed:
                return self._idle() and not (jump and self._next_due())

        self._wait(at_rest, timeout, jump=jump, what="rest")

    def advance(self, seconds: float) -> None:
        with self._changed:
            self._store.clock.move(timedelta(seconds=seconds))
            for number in self._running:
                self._renew(self._store.activities[number])
            self._changed.notify_all()

    def _wait(
        self, condition: Callable[[], bool], timeout: float, *, jump: bool, what: str, stuck: bool = True
    ) -> None:
        """``condition`` is asked without the lock: what it asks of the app may need the lock in another thread."""
        deadline = time.monotonic() + timeout
        while True:
            with self._changed:
                self._raise_what_is_wrong()
            if condition():
                return
            with self._changed:
                if self._closed:
                    raise Stuck(f"the host is dead, and {what} has not come")
                if jump and self._idle():
                    due = self._next_due()
                    if due is not None:
                        self._store.clock.move(max(due - self.now(), timedelta(0)))
                        self._changed.notify_all()
                    elif stuck and not self._wrong and not condition():
                        raise Stuck(f"nothing is left to do, and {what} has not come: {self._picture(what)}")
                if time.monotonic() > deadline:
                    raise Stuck(f"{what} has not come in {timeout} s: {self._picture(what)}")
                self._changed.wait(0.05)

    def _picture(self, instance_id: str) -> str:
        instance = self._store.instances.get(instance_id)
        shown = [(each.id, each.name, each.status) for each in self._store.instances.values()]
        history = json.dumps(instance.history, indent=1) if instance else ""
        running = list(self._running.values())
        return f"instances {shown}, activities under way {running}, workers {self._pool.alive}\n{history}"

    def _raise_what_is_wrong(self) -> None:
        if self._wrong:
            raise self._wrong.pop(0)

    def _idle(self) -> bool:
        if self._running or self._invoking or self._in_turn is not None:
            return False
        if not self._pool.alive:
            return True
        return self._next_turn() is None and not any(self._visible(each) for each in self._store.activities.values())

    def _next_due(self) -> datetime | None:
        """When the next timer of a live instance fires, or the next item in flight of a dead worker gets visible."""
        if not self._pool.alive:
            return None
        now = self.now()
        timers = [
            moment_of(timer["fire_at"])
            for instance in self._store.instances.values()
            if not instance.terminal and instance.status != "Suspended"
            for timer in instance.timers
        ]
        items = [moment_of(each.visible_at) for each in self._store.activities.values()]
        return min([*timers, *(each for each in items if each > now)], default=None)

    # -- turns

    def _run_turns(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
                self._fire_timers()
                self._dispatch()
                instance = self._next_turn() if self._pool.alive else None
                if instance is None:
                    self._changed.wait(self._pause())
                    continue
                self._in_turn = instance.id
            try:
                self._turn(instance)
            except WorkerDied:
                pass
            except Exception as wrong:
                with self._changed:
                    if not self._closed:
                        self._wrong.append(StandInFailed(f"in a turn of {instance.id}: {wrong!r}\n{format_exc()}"))
                    instance.inbox.clear()
            finally:
                with self._changed:
                    self._in_turn = None
                    self._changed.notify_all()

    def _pause(self) -> float:
        due = self._next_due()
        return 1.0 if due is None else min(max((due - self.now()).total_seconds(), 0.0), 1.0)

    def _next_turn(self) -> Instance | None:
        for instance in self._store.instances.values():
            if instance.inbox and not instance.terminal:
                terminating = any(each["EventType"] == EventType.EXECUTION_TERMINATED for each in instance.inbox)
                if instance.status != "Suspended" or terminating:
                    return instance
        return None

    def _fire_timers(self) -> None:
        now = self.now()
        for instance in list(self._store.instances.values()):
            due = [each for each in instance.timers if moment_of(each["fire_at"]) <= now]
            if due and not instance.terminal and instance.status != "Suspended":
                instance.timers = [each for each in instance.timers if each not in due]
                for each in sorted(due, key=lambda timer: str(timer["fire_at"])):
                    fired = event(EventType.TIMER_FIRED, now, TimerId=each["id"], FireAt=each["fire_at"])
                    instance.inbox.append(fired)
                self._save(instance)

    def _turn(self, instance: Instance) -> None:
        with self._changed:
            arrived = [dict(each) for each in instance.inbox]
            execution_id = instance.execution_id
            new = [event(EventType.ORCHESTRATOR_STARTED, self.now()), *arrived]
            history = [*instance.history, *new]
        state = self._ask(instance, history)
        try:
            outcome = Replay(instance.name, execution_id, state, self._exists).outcome(history)
        except HistoryDiffers as differs:
            self._tell(f"{instance.name} does not do what it did before: {differs}\n{state}", history)
            outcome = Outcome([], "Failed", f"Non-Deterministic workflow detected: {differs}")
        if state.custom_status is not None and len(json.dumps(state.custom_status)) > CUSTOM_STATUS_LIMIT_BYTES:
            outcome = Outcome([], "Failed", "The UTF-16 size of the JSON-serialized payload must not exceed 16 KB.")
        with self._changed:
            there = self._store.instances.get(instance.id) is instance and instance.execution_id == execution_id
            if self._closed or not there:
                return
            del instance.inbox[: len(arrived)]
            self._commit(instance, history, new, state, outcome)
            self._dispatch()

    def _ask(self, instance: Instance, history: list[Json]) -> State:
        """What the orchestrator wants, asked twice."""
        function = self._function_of(instance.name, "orchestrationTrigger", "orchestration")
        if function is None:
            return State([], False, None, NO_FUNCTION.format(name=instance.name, kind="orchestrator"), "", None)
        call = Call(function.name, self._context(instance, history, replaying=bool(instance.history)))
        state, again = self._state_of(self._pool.call(call)), self._state_of(self._pool.call(call))
        if state != again:
            self._tell(f"{instance.name} wants two things after one history:\n{state}\n{again}", history)
        return state

    def _context(self, instance: Instance, history: list[Json], *, replaying: bool) -> str:
        """What ``OrchestrationTriggerAttributeBindingProvider`` makes of the extension's context."""
        return json.dumps(
            {
                "history": history,
                "input": token(instance.input),
                "instanceId": instance.id,
                "isReplaying": replaying,
                "parentInstanceId": instance.parent["instance_id"] if instance.parent else None,
                "upperSchemaVersion": 1,
                "upperSchemaVersionNew": 2,
                "longRunningTimerIntervalDuration": "3.00:00:00",
                "maximumShortTimerDuration": "6.00:00:00",
                "defaultHttpAsyncRequestSleepTimeMillseconds": 30000,
            }
        )

    def _state_of(self, answer: Answer) -> State:
        text, error = answer.text, answer.error
        if error is not None and OUT_OF_PROC_LABEL in error:
            text = error.split(OUT_OF_PROC_LABEL, 1)[1]
        elif error is not None:
            return State([], False, None, error, answer.trace, None)
        content = json.loads(text or "{}")
        actions = content["actions"]
        if content.get("schemaVersion", 0) < 1 or len(actions) != 1:
            raise ValueError(f"not of schema V2 or V3: {content}")
        details = f"Message: {content.get('error')}, StackTrace: {answer.trace}"
        error = content.get("error")
        return State(actions[0], content["isDone"], content.get("output"), error, details, content.get("customStatus"))

    def _tell(self, text: str, history: list[Json]) -> None:
        """Unless the host is being closed: then workers answer anything."""
        with self._changed:
            if self._closed:
                return
            self._wrong.append(NotDeterministic(f"{text}\n{json.dumps(history, indent=1)}"))

    def _commit(self, instance: Instance, history: list[Json], new: list[Json], state: State, outcome: Outcome) -> None:
        now = self.now()
        mark_played(new)
        for each in outcome.scheduled:
            history.append(self._schedule(instance, each, now))
        if state.custom_status is not None:
            instance.custom_status = json.dumps(state.custom_status)
        if outcome.ended is None:
            instance.status = "Suspended" if instance.status == "Suspended" else "Running"
        else:
            status, result = outcome.ended, outcome.result
            history.append(event(EventType.EXECUTION_COMPLETED, now, OrchestrationStatus=status, Result=result))
        history.append(event(EventType.ORCHESTRATOR_COMPLETED, now))
        if outcome.ended == "ContinuedAsNew":
            self._continue_as_new(instance, outcome, now)
        else:
            instance.history = history
            if outcome.ended is not None:
                instance.status, instance.output = outcome.ended, outcome.result
                instance.timers, instance.inbox = [], []
        self._save(instance)
        if outcome.ended not in (None, "ContinuedAsNew") and instance.parent is not None:
            self._tell_parent(instance, outcome, now)

    def _schedule(self, instance: Instance, work: Scheduled, now: datetime) -> Json:
        if work.kind == EventType.TASK_SCHEDULED:
            self._store.enqueue(instance, work.id, work.name, work.input or "[]", stamp(now))
            return event(work.kind, now, work.id, Name=work.name, Version="", Input=None)
        if work.kind == EventType.TIMER_CREATED:
            assert work.fire_at is not None
            instance.timers.append({"id": work.id, "fire_at": stamp(work.fire_at)})
            return event(work.kind, now, work.id, FireAt=stamp(work.fire_at))
        assert work.instance_id is not None
        parent = {
            "instance_id": instance.id,
            "execution_id": instance.execution_id,
            "task_id": work.id,
            "name": instance.name,
        }
        self._create(work.instance_id, work.name, work.input or "null", parent)
        return event(work.kind, now, work.id, Name=work.name, Version="", InstanceId=work.instance_id, Input=work.input)

    def _continue_as_new(self, instance: Instance, outcome: Outcome, now: datetime) -> None:
        instance.execution_id = uuid.uuid4().hex
        instance.input = outcome.result
        instance.history, instance.timers = [], []
        for_any_execution = (EventType.EVENT_RAISED, EventType.EXECUTION_TERMINATED)
        later = [each for each in instance.inbox if each["EventType"] in for_any_execution]
        carried = [each | {"IsPlayed": False} for each in outcome.carried]
        instance.inbox = [self._execution_started(instance, now), *carried, *later]
        instance.status = "Running"

    def _tell_parent(self, instance: Instance, outcome: Outcome, now: datetime) -> None:
        assert instance.parent is not None
        task = {"TaskScheduledId": instance.parent["task_id"]}
        if outcome.ended == "Completed":
            message = event(EventType.SUB_ORCHESTRATION_COMPLETED, now, Result=outcome.result, **task)
        else:
            failed = FAILED_KIND[EventType.SUB_ORCHESTRATION_COMPLETED]
            message = event(failed, now, Reason=outcome.result, Details=outcome.details, **task)
        self._send(instance.parent["instance_id"], message, instance.parent["execution_id"])

    # -- activities

    def _visible(self, activity: Activity) -> bool:
        return activity.number not in self._running and moment_of(activity.visible_at) <= self.now()

    def _renew(self, activity: Activity) -> None:
        activity.visible_at = stamp(self.now() + self._visibility_timeout)
        self._store.save_activity(activity)

    def _dispatch(self) -> None:
        """Give what is queued, oldest first, to the workers that have room."""
        for activity in [*self._store.activities.values()]:
            worker = self._pool.least_busy(limit=self._file.activities_at_once)
            if self._closed or worker is None:
                return
            if self._visible(activity):
                self._begin(activity, worker)

    def _begin(self, activity: Activity, worker: int) -> None:
        activity.deliveries += 1
        self._renew(activity)
        given = token(json.loads(activity.input)[0])
        self._running[activity.number] = Running(activity.name, activity.instance_id, given, worker, activity.number)
        self._pool.load[worker] += 1
        self.started.append(activity.name)
        thread = threading.Thread(target=self._run_activity, args=(activity, worker), daemon=True)
        self._threads.add(thread)
        thread.start()
        self._changed.notify_all()

    def _run_activity(self, activity: Activity, worker: int) -> None:
        function = self._function_of(activity.name, "activityTrigger", "activity")
        assert function is not None
        call = Call(function.name, json.loads(activity.input)[0], inputs=self._inputs(function))
        with self._finally_free(activity, worker):
            answer = self._pool.call_on(worker, call)
            with self._changed:
                if self._closed or worker not in self._pool.alive:
                    return
                self._store.remove_activity(activity)
                message = self._message_of(activity, answer)
                self._send(activity.instance_id, message, activity.execution_id)

    @contextmanager
    def _finally_free(self, activity: Activity, worker: int) -> Iterator[None]:
        try:
            yield
        except WorkerDied:
            pass
        finally:
            with self._changed:
                del self._running[activity.number]
                self._pool.load[worker] -= 1
                self._threads.discard(threading.current_thread())
                if not self._closed:
                    if activity.number in self._store.activities:
                        self._renew(activity)
                    self._dispatch()
                self._changed.notify_all()

    def _message_of(self, activity: Activity, answer: Answer) -> Json:
        now = self.now()
        if answer.error is not None:
            self.failures.append((activity.name, f"{answer.error}\n{answer.trace}"))
            reason = f"Activity function '{activity.name}' failed:  {answer.error}"
            details = f"{answer.error}\n{answer.trace}"
            return event(EventType.TASK_FAILED, now, TaskScheduledId=activity.task_id, Reason=reason, Details=details)
        value = None if answer.text is None else json.loads(answer.text)
        result = None if value is None else json.dumps(value)
        return event(EventType.TASK_COMPLETED, now, TaskScheduledId=activity.task_id, Result=result)
