"""The orchestrator: what is done in which order, and how much of it side by side. No clock, no input or output, no
setting is read here: the engine runs it again from the start whenever something has happened.

    begin -> databases, and beside them plan -> shards -> join -> logs to the share's moment -> secrets -> record
          -> verify

Where somebody else backs the share up, one step that adopts takes the place of plan, shards and join.

What came to nothing is diagnosed before the record. At most ``window`` steps run at once. A step says what went wrong
as a value; what may succeed later is tried again after a pause that doubles. The lock is refreshed here and nowhere
else. Cancelling is an event: nothing new is begun then, steps that run notice a flag in the vault, and the lock is
given back.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import azure.durable_functions as df
from azure.durable_functions.models.Task import TaskBase, TaskState

Json = dict[str, Any]
Turn = Generator[TaskBase, Any, Any]
"""Any: what the engine sends in is what the awaited task came to."""

REFRESH_AFTER = timedelta(minutes=4)
LOOK_AFTER = timedelta(seconds=15)
"""The engine waits for what one turn begins, not for what earlier turns have begun: so each turn begins a timer too,
and steps that ended meanwhile are seen after it at the latest. It doubles while nothing happens."""
MOST_DOUBLINGS = 3
MOST_ATTEMPTS = 4
MOST_ATTEMPTS_AT_THE_END = 8
"""Of the steps without which all was in vain: over an hour."""
FIRST_PAUSE = timedelta(seconds=15)
REASONS_SHOWN = 20
MOST_SHOWN = 7_000
"""Characters of the custom status, of which the engine takes 16 KB in UTF-16."""


def cancel_event(run: str) -> str:
    """Of this run alone: one that was meant for the run before must not end the next."""
    return f"cancel-{run}"


@dataclass(slots=True)
class _Step:
    name: str
    arguments: Json
    then: Callable[[Json], list[_Step]]
    """Called with what the step returned, good or not; what it returns is to be done next."""
    attempts: int = 0


@dataclass(slots=True)
class RecoveryPointRun:
    """One run; ``turns`` is its generator. ``order``: see ``runs.start_run``."""

    context: df.DurableOrchestrationContext
    order: Json
    begun: Json = field(default_factory=dict)
    parts: dict[str, list[Json]] = field(default_factory=dict)
    """By component, what its last steps returned."""
    diagnoses: dict[str, Json | None] = field(default_factory=dict)
    """By component that came to nothing, what was found on the way to it."""
    done: int = 0
    total: int = 1
    cancelled: bool = False
    lost: bool = False
    """The lock was lost: nothing more is worth storing."""
    recorded: bool = False
    """The point is written, and the lock is given back."""
    _cancel: TaskBase | None = None
    _shards: Json = field(default_factory=dict)

    def turns(self) -> Turn:
        self._cancel = self.context.wait_for_external_event(cancel_event(self.order["run"]))
        begun = yield from self._begin()
        if not begun["ok"]:
            return (yield from self._give_up([begun["reason"]]))
        self.begun = begun
        yield from self._all([*self._databases(), *self._share()])
        yield from self._all(self._logs())
        yield from self._all(self._secrets())
        if self.cancelled:
            return (yield from self._give_up([]))
        if self.lost:
            return (yield from self._give_up([_lost()]))
        yield from self._all(self._diagnoses())
        recorded: Json = {}
        arguments = {
            "request": self.order["request"],
            "begun": self.begun,
            "parts": self.parts,
            "caller": self.order["caller"],
            "diagnoses": self.diagnoses,
        }
        yield from self._all([_Step("record", arguments, _into(recorded))], cancellable=False)
        if not recorded["ok"]:
            return (yield from self._give_up([recorded["reason"]]))
        self.recorded = True
        if recorded["end"]["point"]:
            yield from self._all([_Step("verify", {"point": recorded["end"]["point"]}, _into({}))])
        return recorded["end"]

    # --- what is to be done ---

    def _begin(self) -> Turn:
        """Somebody's exclusive lock is waited for."""
        give_up_at = self.context.current_utc_datetime + timedelta(seconds=self.order["lock_wait_seconds"])
        while True:
            result: Json = {}
            yield from self._all([_Step("begin", {"request": self.order["request"]}, _into(result))])
            locked = not result.get("ok") and result.get("reason", {}).get("code") == "locked"
            if self.cancelled or not locked or self.context.current_utc_datetime >= give_up_at:
                return result or {"ok": False, "reason": _cancelled()}
            yield self.context.create_timer(self.context.current_utc_datetime + timedelta(seconds=30))

    def _databases(self) -> list[_Step]:
        return [self._database(name, logs_only=self.order["request"]["logs"]) for name in self.begun["databases"]]

    def _database(self, name: str, *, logs_only: bool) -> _Step:
        after = [part["component"] for part in self.parts.get("databases", []) if part["ok"]] if logs_only else []
        arguments = {"name": name, "held": self.begun["held"], "logs_only": logs_only, "after": after}
        return _Step("back_up_database", arguments, lambda result: self._part("databases", result | {"database": name}))

    def _share(self, *, fingerprints: bool = True) -> list[_Step]:
        if "share" not in self.begun["requested"]:
            return []
        if self.begun.get("adopts_share"):
            arguments = {"allow_shrink": self.order["request"]["allow_shrink"]}
            return [_Step("adopt_share", arguments, lambda result: self._part("share", result))]
        arguments = {"shards": self.order["shards"], "fingerprints": fingerprints}
        return [_Step("plan_share", arguments, self._planned)]

    def _planned(self, plan: Json) -> list[_Step]:
        if not plan["ok"]:
            return self._part("share", plan)
        self._shards = {"plan": plan, "results": [None] * plan["shards"], "failed": None}
        return [self._shard(number, None) for number in range(plan["shards"])]

    def _shard(self, number: int, continue_from: str | None) -> _Step:
        arguments = {
            "plan": self._shards["plan"]["plan"],
            "number": number,
            "continue_from": continue_from,
            "budget_seconds": self.order["budget_seconds"],
        }
        return _Step("back_up_shard", arguments, lambda result: self._shard_done(number, result))

    def _shard_done(self, number: int, result: Json) -> list[_Step]:
        if result["ok"] and not result["done"]:
            return [self._shard(number, result["continue_from"])]
        if result["ok"]:
            self._shards["results"][number] = result["result"]
        else:
            self._shards["results"][number] = ""
            self._shards["failed"] = self._shards["failed"] or result
        if None in self._shards["results"]:
            return []
        if self._shards["failed"]:
            return self._share_failed(self._shards["failed"])
        arguments = {
            "plan": self._shards["plan"]["plan"],
            "results": self._shards["results"],
            "allow_shrink": self.order["request"]["allow_shrink"],
        }
        return [_Step("join_share", arguments, self._joined)]

    def _joined(self, result: Json) -> list[_Step]:
        return self._part("share", result) if result["ok"] else self._share_failed(result)

    def _share_failed(self, result: Json) -> list[_Step]:
        """Damage may lie in what folders were taken for: then each file is compared."""
        if result["reason"]["code"] == "damaged" and self._shards["plan"]["fingerprints"]:
            return self._share(fingerprints=False)
        return self._part("share", result)

    def _logs(self) -> list[_Step]:
        """With a log chain of our own the logs are taken once more, so that databases reach the share's moment."""
        share = self.parts.get("share", [{}])[-1]
        if not (self.begun["own_log_chain"] and share.get("ok") and not self.order["request"]["logs"]):
            return []
        return [self._database(name, logs_only=True) for name in self.begun["databases"] if name.lower() != "master"]

    def _secrets(self) -> list[_Step]:
        if "secrets" not in self.begun["requested"]:
            return []
        made = [part["component"] for part in self.parts.get("databases", []) if part["ok"]]
        arguments = {"databases": made, "version": self.begun["secrets_version"]}
        return [_Step("look_at_secrets", arguments, lambda result: self._part("secrets", result))]

    def _diagnoses(self) -> list[_Step]:
        return [self._diagnosis(name) for name, parts in self.parts.items() if all(map(_came_to_nothing, parts))]

    def _diagnosis(self, component: str) -> _Step:
        def keep(result: Json) -> list[_Step]:
            self.diagnoses[component] = result.get("diagnosis")
            return []

        return _Step("diagnose", {"component": component}, keep)

    def _part(self, component: str, result: Json) -> list[_Step]:
        self.parts.setdefault(component, []).append(result)
        return []

    def _give_up(self, reasons: list[Json]) -> Turn:
        ended: Json = {}
        arguments = {
            "status": "cancelled" if self.cancelled else "failed",
            "reasons": reasons or [_cancelled()],
            "started": self.order["started"],
            "locked": bool(self.begun),
        }
        yield from self._all([_Step("give_up", arguments, _into(ended))], cancellable=False)
        if not ended["ok"]:
            raise RuntimeError(str(ended["reason"]["message"]))  # nobody could write it down: the engine shall know
        return ended["end"]

    # --- how it is done ---

    def _all(self, steps: list[_Step], *, cancellable: bool = True) -> Turn:
        """Do these steps, and what follows from them, ``window`` at a time."""
        waiting = deque(steps)
        running: dict[int, tuple[TaskBase, _Step]] = {}
        pauses: dict[int, tuple[TaskBase, _Step]] = {}
        self.total = max(self.total, self.done + len(waiting))
        refresh_at = self.context.current_utc_datetime + REFRESH_AFTER
        quiet = 0
        while waiting or running or pauses:
            if cancellable and (self.cancelled or self.lost):
                waiting.clear()
                for pause, _ in pauses.values():
                    pause.cancel()
                pauses.clear()
                if not running:
                    break
            if self.begun and not self.lost and not self.recorded and self.context.current_utc_datetime >= refresh_at:
                refresh_at = self.context.current_utc_datetime + REFRESH_AFTER
                if not any(step.name == "refresh" for _, step in running.values()):
                    self._start(_Step("refresh", {}, self._refreshed), running)
            while waiting and len(running) < self.order["window"]:
                self._start(waiting.popleft(), running)
            self._show(running)
            look = self._timer(LOOK_AFTER * 2 ** min(quiet, MOST_DOUBLINGS))
            listened = [self._cancel] if cancellable and not self.cancelled else []
            tasks = [*(task for task, _ in running.values()), *(pause for pause, _ in pauses.values())]
            winner = yield self.context.task_any([*tasks, *listened, look])
            quiet = quiet + 1 if winner is look else 0
            if winner is not look:
                look.cancel()
            if winner is self._cancel:
                self.cancelled = True
            elif id(winner) in pauses:
                waiting.append(pauses.pop(id(winner))[1])
            elif id(winner) in running:
                step = running.pop(id(winner))[1]
                result = _result(winner)
                pause = self._pause(step, result)
                if pause is not None:
                    timer = self._timer(pause)
                    pauses[id(timer)] = timer, step
                else:
                    self.done += 1
                    waiting.extend(step.then(result))
                    self.total = max(self.total, self.done + len(waiting) + len(running) + len(pauses))

    def _start(self, step: _Step, running: dict[int, tuple[TaskBase, _Step]]) -> None:
        task = self.context.call_activity(step.name, {"run": self.order["run"], "arguments": step.arguments})
        running[id(task)] = task, step

    def _pause(self, step: _Step, result: Json) -> timedelta | None:
        """How long to wait before the step is tried again; None: not again."""
        step.attempts += 1
        at_the_end = step.name in ("record", "give_up")
        attempts = MOST_ATTEMPTS_AT_THE_END if at_the_end else MOST_ATTEMPTS
        again = not result["ok"] and result["retry"] and step.attempts < attempts
        if not again or result["reason"]["code"] == "locked" or (self.cancelled and not at_the_end):
            return None
        doubled: int = 2 ** (step.attempts - 1)
        return FIRST_PAUSE * doubled

    def _refreshed(self, result: Json) -> list[_Step]:
        if not result["ok"] and result["reason"]["code"] == "locked":
            self.lost = True
        return []

    def _timer(self, wait: timedelta) -> Any:  # Any: the SDK's own type is not public
        return self.context.create_timer(self.context.current_utc_datetime + wait)

    def _show(self, running: dict[int, tuple[TaskBase, _Step]]) -> None:
        names = sorted({step.name.replace("_", " ") for _, step in running.values()})
        reasons = [part["reason"] for parts in self.parts.values() for part in parts if not part["ok"]]
        text = "cancelling" if self.cancelled else ", ".join(names)
        shown = [_short(reason) for reason in reasons[:REASONS_SHOWN]]
        while shown and len(json.dumps(shown)) > MOST_SHOWN:
            shown.pop()
        progress = {"done": self.done, "total": self.total, "text": text}
        self.context.set_custom_status({"progress": progress, "reasons": shown, "reasons_count": len(reasons)})


def _short(reason: Json) -> Json:
    return {key: value[:300] if isinstance(value, str) else value for key, value in reason.items()}


def _result(task: TaskBase) -> Json:
    """What a step returned. One that the host could not run to its end, however often, has failed."""
    if task.state is TaskState.SUCCEEDED:
        result: Json = task.result
        return result
    reason = {
        "component": "lifeboat",
        "code": "failed",
        "message": "a step did not come to its end on any instance",
        "remedy": "Look at the exceptions of the app in Application Insights.",
    }
    return {"ok": False, "reason": reason, "retry": True}


def _came_to_nothing(part: Json) -> bool:
    """And why is not known: where a login was refused, looking would only try the password once more."""
    if part["ok"]:
        return bool(part["status"] == "failed" and not part.get("data_time") and not part.get("refused"))
    return bool(part["reason"]["code"] != "login-refused")


def _into(target: Json) -> Callable[[Json], list[_Step]]:
    def keep(result: Json) -> list[_Step]:
        target.update(result)
        return []

    return keep


def _lost() -> Json:
    return {
        "component": "lifeboat",
        "code": "locked",
        "message": "the run's lock on the repository was removed while it worked: what it stored may have been pruned",
        "remedy": "Start another: what is still there is used again.",
    }


def _cancelled() -> Json:
    return {
        "component": "lifeboat",
        "code": "cancelled",
        "message": "somebody asked for the run to stop",
        "remedy": "What it has stored is used again by the next run.",
    }
