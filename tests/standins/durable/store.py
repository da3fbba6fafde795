"""A task hub in a folder: instances with their histories and inboxes, and the queue of activities, one JSON file each.

What one file says is written at once (a rename), so a host may be dropped at any moment between two calls. Files:

    instances/ID.json     an instance: status, history, the messages that wait for its next turn, its timers
    activities/N.json     an activity that is queued or in flight, with the time from which it is visible
    clock.json            how far the clock was moved
    timers.json           when each timer trigger fired last
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.standins.durable.history import Json

TERMINAL = frozenset({"Completed", "Failed", "Terminated", "Canceled"})


@dataclass
class Instance:
    id: str
    execution_id: str
    name: str
    input: str | None
    created: str
    updated: str
    status: str = "Pending"
    custom_status: str | None = None
    output: str | None = None
    parent: Json | None = None
    """Of a sub-orchestration: ``instance_id``, ``execution_id`` and ``task_id`` in the parent, and its ``name``."""
    history: list[Json] = field(default_factory=list)
    inbox: list[Json] = field(default_factory=list)
    timers: list[Json] = field(default_factory=list)
    """``id``, ``fire_at``."""

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL


@dataclass
class Activity:
    number: int
    instance_id: str
    execution_id: str
    task_id: int
    name: str
    input: str
    visible_at: str
    """Stamp: before it, the item is in flight, or was when its worker died."""
    deliveries: int = 0


class Clock:
    """The world's time, plus what was jumped over. ``offset`` lives in the folder."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._offset = timedelta(seconds=json.loads(file.read_text())["offset_seconds"] if file.exists() else 0.0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self._offset

    def move(self, by: timedelta) -> None:
        self._offset += by
        write(self._file, {"offset_seconds": self._offset.total_seconds()})


def write(file: Path, content: Any) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(content))
    fresh.replace(file)


class Store:
    """Not thread-safe: its host holds a lock. What is changed in an object is kept when it is saved."""

    def __init__(self, folder: Path) -> None:
        self._instances_folder = folder / "instances"
        self._activities_folder = folder / "activities"
        for each in (self._instances_folder, self._activities_folder):
            each.mkdir(parents=True, exist_ok=True)
        self._timers_file = folder / "timers.json"
        self.clock = Clock(folder / "clock.json")
        self.instances = {
            instance.id: instance
            for instance in (Instance(**json.loads(file.read_text())) for file in self._instances_folder.glob("*.json"))
        }
        self.activities = {
            activity.number: activity
            for activity in (
                Activity(**json.loads(file.read_text())) for file in sorted(self._activities_folder.glob("*.json"))
            )
        }
        self._number = max(self.activities, default=0)

    def save(self, instance: Instance) -> None:
        self.instances[instance.id] = instance
        write(self._file_of(instance.id), asdict(instance))

    def remove(self, instance_id: str) -> None:
        del self.instances[instance_id]
        self._file_of(instance_id).unlink()

    def enqueue(self, instance: Instance, task_id: int, name: str, input_: str, visible_at: str) -> None:
        self._number += 1
        self.save_activity(
            Activity(self._number, instance.id, instance.execution_id, task_id, name, input_, visible_at)
        )

    def save_activity(self, activity: Activity) -> None:
        self.activities[activity.number] = activity
        write(self._activities_folder / f"{activity.number:08}.json", asdict(activity))

    def remove_activity(self, activity: Activity) -> None:
        del self.activities[activity.number]
        (self._activities_folder / f"{activity.number:08}.json").unlink()

    def timer_fired(self, name: str, at: str) -> str | None:
        """Record that a timer trigger fires; when it did before."""
        fired: dict[str, str] = json.loads(self._timers_file.read_text()) if self._timers_file.exists() else {}
        before = fired.get(name)
        write(self._timers_file, fired | {name: at})
        return before

    def _file_of(self, instance_id: str) -> Path:
        return self._instances_folder / f"{quote(instance_id, safe='')}.json"
