"""The workers of an app: which of them live, how much each has to do, and who gets the next call."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

from tests.standins.durable.workers import Answer, Call, Worker, WorkerDied
from tests.standins.functions_worker import FunctionFound


class Pool:
    """Workers by number. A dead one keeps its number and never comes back. ``changed`` is the lock of who uses it."""

    def __init__(self, new: Callable[[], Worker], changed: threading.Condition) -> None:
        self._new = new
        self._changed = changed
        self._workers: list[Worker] = []
        self.alive: set[int] = set()
        self.load: Counter[int] = Counter()
        """Activities under way on each."""

    def fill(self, count: int) -> None:
        """Starts all side by side, and waits until each has loaded the app; ``WorkerRefused`` if it does not load."""
        try:
            for _ in range(count):
                self._workers.append(self._new())
            for worker in self._workers:
                _ = worker.functions
        except BaseException:
            for worker in self._workers:
                worker.kill()
            raise
        self.alive = set(range(count))

    @property
    def functions(self) -> dict[str, FunctionFound]:
        return self._workers[0].functions

    def add(self) -> int:
        worker = self._new()
        _ = worker.functions
        with self._changed:
            self._workers.append(worker)
            number = len(self._workers) - 1
            self.alive.add(number)
        return number

    def pid_of(self, number: int) -> int:
        return self._workers[number].pid

    def bury(self, number: int) -> None:
        with self._changed:
            self.alive.discard(number)

    def kill(self, number: int) -> None:
        self.bury(number)
        self._workers[number].kill()

    def kill_all(self) -> None:
        for number in list(self.alive):
            self._workers[number].kill()

    def least_busy(self, *, limit: int | None = None) -> int | None:
        free = [number for number in self.alive if limit is None or self.load[number] < limit]
        return min(free, key=lambda number: (self.load[number], number), default=None)

    def call_on(self, number: int, call: Call) -> Answer:
        """``WorkerDied``, and then it is known to be dead."""
        try:
            return self._workers[number].call(call)
        except WorkerDied:
            self.bury(number)
            raise

    def call(self, call: Call) -> Answer:
        """On one that lives. ``WorkerDied`` if it died over the call, or none lives."""
        with self._changed:
            number = self.least_busy()
        if number is None:
            raise WorkerDied
        return self.call_on(number, call)
