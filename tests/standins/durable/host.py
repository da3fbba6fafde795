"""The host: one app's functions, its HTTP door, its timers, and the task hub behind them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from urllib.parse import parse_qsl, urlsplit

from tests.standins.durable.history import stamp
from tests.standins.durable.hub import TaskHub
from tests.standins.durable.indexing import HostFile, Routes, index
from tests.standins.durable.listener import Listener
from tests.standins.durable.management import RPC_PATH, WEBHOOK_PATH, Management, client_payload, empty
from tests.standins.durable.workers import Answer, Call, Request, Worker, WorkerDied, WorkerHere, WorkerProcess
from tests.standins.functions_worker import FunctionFound, HttpAnswer, WorkerRefused

BODY_LIMIT_BYTES = 104_857_600
"""FUNCTIONS_REQUEST_BODY_SIZE_LIMIT's default; a longer body is answered with 413 and no function sees it."""


class DurableHost(TaskHub):
    """A Functions host with the Durable extension on the Azure Storage backend, for one app.

    ``folder`` holds ``function_app.py`` and ``host.json``; ``store`` is the task hub, a folder: a new host on it goes
    on where the last one was, however that ended. With ``processes`` each worker is a process of its own, which
    ``kill_worker`` and ``kill`` end with SIGKILL; without, there is one, in this process. ``environment`` are the app's
    settings (in this process: what is set when the block is entered). A killed worker's activities start again
    ``visibility_timeout`` seconds later, by the host's clock. ``extension`` 3 and 2 differ in how a start is refused:
    the one answers 409 (400) with a message alone, the other 500 (400) with the exception's type.

    Time: ``now()`` is real time plus what was jumped over. ``wait`` and ``settle`` jump to the next due timer, or item
    that gets visible, when nothing else is left to do, so nothing is ever slept for.

    Every turn is replayed once more; a difference is raised by whatever waits, or on leaving the block.
    """

    def __init__(
        self,
        folder: Path,
        store: Path,
        *,
        workers: int = 1,
        processes: bool = False,
        environment: Mapping[str, str] | None = None,
        visibility_timeout: float = 300.0,
        extension: int = 3,
    ) -> None:
        if workers > 1 and not processes:
            raise ValueError("several workers are processes: the worker library runs one app in a process")
        hidden = timedelta(seconds=visibility_timeout)
        super().__init__(store, HostFile.read(folder), self._new_worker, hidden, extension)
        self._folder = folder
        self._processes = processes
        self._wanted = workers
        self._environment: Mapping[str, str] = os.environ if environment is None else environment
        self.function_key = "function-key-of-the-stand-in"
        self.master_key = "master-key-of-the-stand-in"
        self._system_key = "system-key-of-the-stand-in"
        self.failed_to_index: dict[str, str] = {}

    def __enter__(self) -> DurableHost:
        self._open_store()
        self._pool.fill(self._wanted)
        self.functions, self.failed_to_index = index(self._pool.functions, self._environment)
        self._routes = Routes(self.functions, self._file.route_prefix)
        self._listener = Listener(self._serve)
        self.url = self._listener.url
        self._management = Management(self, self.url, self._file.hub, self._system_key)
        self._begin_turns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        if kind is None:
            self._raise_what_is_wrong()

    def kill(self) -> None:
        """As by power loss: from now on nothing reaches the store. With ``processes``, workers die at once; without,
        this waits for what runs and drops what comes of it."""
        if not self._closed:
            self._end_turns()
            self._listener.close()

    def listening(self) -> str:
        """The address of the app on loopback: ``/api/...`` and what management URLs point to."""
        return self.url

    # -- workers

    def kill_worker(self, number: int) -> None:
        """SIGKILL. What it had begun gets visible again after the timeout."""
        if not self._processes:
            raise ValueError("a worker in this process cannot be killed; ask for processes")
        self._pool.kill(number)

    def pid_of(self, number: int) -> int:
        """Of a worker's process; with one worker in this process, its own."""
        return self._pool.pid_of(number)

    def add_worker(self) -> int:
        """One more instance of the app; its number."""
        number = self._pool.add()
        with self._changed:
            self._changed.notify_all()
        return number

    def _new_worker(self) -> Worker:
        if not self._processes:
            return WorkerHere(self._folder)
        return WorkerProcess(self._folder, self._environment, self._store_folder / "workers.log")

    # -- triggers

    def http(
        self, method: str, path: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> HttpAnswer:
        """A request as the host takes it: routed, keys checked, a function that raises answered with 500."""
        given = {name.lower(): value for name, value in (headers or {}).items()}
        parts = urlsplit(path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        found = self._routes.find(method, parts.path)
        if found is None:
            return empty(404)
        function, params = found
        if not self._may_call(function, given.get("x-functions-key") or query.get("code")):
            return empty(401)
        if len(body) > BODY_LIMIT_BYTES:
            return empty(413)
        request = Request(method.upper(), self.url + path, given, params, query, body)
        answer = self._invoke(Call(function.name, request=request, inputs=self._inputs(function)))
        if answer.error is not None:
            return empty(500)
        return answer.http or empty(204)

    def keyed(
        self, method: str, path: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> HttpAnswer:
        """``http`` with the function key."""
        return self.http(method, path, body=body, headers=dict(headers or {}) | {"x-functions-key": self.function_key})

    def timer(self, name: str, *, past_due: bool = False) -> None:
        """Fire a timer trigger. ``WorkerRefused`` if its function raised."""
        function = self.functions[name]
        if function.trigger["type"] != "timerTrigger":
            raise ValueError(f"{name} is no timer")
        now = stamp(self.now())
        with self._changed:
            before = self._store.timer_fired(name, now) or "0001-01-01T00:00:00"
        payload = {
            "Schedule": {"AdjustForDST": True},
            "ScheduleStatus": {"Last": before, "LastUpdated": before, "Next": now},
            "IsPastDue": past_due,
        }
        answer = self._invoke(Call(name, json.dumps(payload), "json", inputs=self._inputs(function)))
        if answer.error is not None:
            raise WorkerRefused(answer.error, answer.trace)

    def _may_call(self, function: FunctionFound, key: str | None) -> bool:
        level = str(function.trigger.get("authLevel", "FUNCTION")).upper()
        keys = {"ANONYMOUS": None, "ADMIN": {self.master_key}}.get(level, {self.function_key, self.master_key})
        return keys is None or key in keys

    def _inputs(self, function: FunctionFound) -> dict[str, str]:
        payload = client_payload(self.url, self._file.hub, self._system_key)
        return {each["name"]: payload for each in function.raw_bindings if each["type"] == "durableClient"}

    def _invoke(self, call: Call) -> Answer:
        with self._changed:
            self._invoking += 1
        try:
            answer = self._pool.call(call)
        except WorkerDied:
            answer = Answer(error="the worker died, or none lives")
        finally:
            with self._changed:
                self._invoking -= 1
                self._changed.notify_all()
        if answer.error is not None:
            self.failures.append((call.function, f"{answer.error}\n{answer.trace}"))
        return answer

    def _serve(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        parts = urlsplit(path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        for base in (RPC_PATH, WEBHOOK_PATH):
            if parts.path.startswith(base + "/"):
                if base == WEBHOOK_PATH and query.get("code") not in (self._system_key, self.master_key):
                    return empty(401)
                return self._management.answer(method, parts.path[len(base) :], query, headers, body)
        return self.http(method, path, body=body, headers=headers)
