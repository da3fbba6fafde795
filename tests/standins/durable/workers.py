"""Workers: each is one instance of the app under Microsoft's real worker library, in this process or in one of its own.

``python -m tests.standins.durable.workers FOLDER`` is a worker: it writes one line that lists its functions, then reads
a call from each line of its input and writes an answer for each, in whatever order they end. Killing it is what becomes
of an instance that runs out of memory or is scaled in.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tests.standins.azurite import REPOSITORY
from tests.standins.functions_worker import FunctionFound, FunctionsWorker, HttpAnswer, Union, WorkerRefused

Json = dict[str, Any]


class WorkerDied(Exception):
    """The worker is gone; what became of the call is unknown."""


@dataclass(frozen=True)
class Request:
    """An HTTP request as an HTTP trigger gets it."""

    method: str
    url: str
    headers: dict[str, str]
    params: dict[str, str]
    query: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Call:
    """A trigger's data is a request or a text (``json`` or ``string``, as the host would send it)."""

    function: str
    text: str = ""
    kind: str = "string"
    request: Request | None = None
    inputs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """A text is JSON that the function returned. ``error`` is set if it raised."""

    text: str | None = None
    http: HttpAnswer | None = None
    error: str | None = None
    trace: str = ""


class Worker(Protocol):
    @property
    def functions(self) -> dict[str, FunctionFound]: ...

    @property
    def pid(self) -> int: ...

    def call(self, call: Call) -> Answer:
        """``WorkerDied``."""
        ...

    def kill(self) -> None: ...

    def close(self) -> None: ...


class WorkerHere:
    """In this process: quick, and the app's modules can be reached from the test. It cannot be killed: ``kill`` waits
    for what runs. One at a time."""

    def __init__(self, folder: Path) -> None:
        self._worker = FunctionsWorker(folder)
        self._worker.__enter__()
        self.pid = os.getpid()

    @property
    def functions(self) -> dict[str, FunctionFound]:
        return self._worker.functions

    def call(self, call: Call) -> Answer:
        try:
            return answer_of(self._worker, call)
        except CancelledError as cancelled:
            raise WorkerDied from cancelled

    def kill(self) -> None:
        self.close()

    def close(self) -> None:
        self._worker.__exit__(None, None, None)


class WorkerProcess:
    """A process of its own. Its error output, prints included, is ``log``."""

    def __init__(self, folder: Path, environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        path = os.pathsep.join([str(REPOSITORY), environment.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.standins.durable.workers", str(folder)],
                cwd=folder,
                env=dict(environment) | {"PYTHONPATH": path},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._pending: dict[int, Future[Answer]] = {}
        self._dead = False
        self._functions: dict[str, FunctionFound] | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def functions(self) -> dict[str, FunctionFound]:
        """Waits for the app to be loaded the first time; ``WorkerRefused`` if it does not load."""
        if self._functions is None:
            assert self._process.stdout is not None
            line = self._process.stdout.readline()
            if not line:
                self._process.wait()
                raise WorkerRefused("the worker process did not start", self._log.read_text())
            hello = json.loads(line)
            if "error" in hello:
                raise WorkerRefused(hello["error"], hello["trace"])
            self._functions = {name: FunctionFound(**found) for name, found in hello["functions"].items()}
            self._reader.start()
        return self._functions

    def call(self, call: Call) -> Answer:
        future: Future[Answer] = Future()
        with self._lock:
            if self._dead:
                raise WorkerDied
            number = next(self._numbers)
            self._pending[number] = future
        assert self._process.stdin is not None
        with self._lock, suppress(BrokenPipeError, ValueError):
            self._process.stdin.write(json.dumps({"number": number} | packed(call)) + "\n")
            self._process.stdin.flush()
        return future.result()

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        if self._reader.is_alive():
            self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()

    def close(self) -> None:
        self.kill()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not line.endswith("\n"):
                break
            content = json.loads(line)
            self._pending.pop(content.pop("number")).set_result(unpacked_answer(content))
        with self._lock:
            self._dead = True
            pending, self._pending = self._pending, {}
        for future in pending.values():
            future.set_exception(WorkerDied())


def answer_of(worker: FunctionsWorker, call: Call) -> Answer:
    try:
        if call.request is not None:
            asked = call.request
            http = worker.http(
                call.function,
                asked.method,
                asked.url,
                body=asked.body,
                headers=asked.headers,
                params=asked.params,
                query=asked.query,
                inputs=call.inputs,
            )
            return Answer(http=http)
        value = worker.invoke(call.function, Union(**{call.kind: call.text}), call.inputs)
    except WorkerRefused as refused:
        return Answer(error=refused.reason, trace=refused.trace)
    return Answer(text=None if value is None else getattr(value, value.WhichOneof("data")))


def packed(call: Call) -> Json:
    content = asdict(call)
    if call.request is not None:
        content["request"]["body"] = base64.b64encode(call.request.body).decode()
    return content


def unpacked(content: Json) -> Call:
    if content["request"] is not None:
        content["request"] = Request(**content["request"] | {"body": base64.b64decode(content["request"]["body"])})
    return Call(**content)


def packed_answer(answer: Answer) -> Json:
    content = asdict(answer)
    if answer.http is not None:
        content["http"]["body"] = base64.b64encode(answer.http.body).decode()
    return content


def unpacked_answer(content: Json) -> Answer:
    if content["http"] is not None:
        content["http"] = HttpAnswer(**content["http"] | {"body": base64.b64decode(content["http"]["body"])})
    return Answer(**content)


def main() -> None:
    """Standard output is the host's: whatever else is printed goes where errors go."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    lock = threading.Lock()

    def reply(content: Json) -> None:
        with lock:
            replies.write(json.dumps(content) + "\n")
            replies.flush()

    try:
        worker = FunctionsWorker(Path(sys.argv[1])).__enter__()
    except WorkerRefused as refused:
        reply({"error": refused.reason, "trace": refused.trace})
        return
    reply({"functions": {name: asdict(found) for name, found in worker.functions.items()}})
    with ThreadPoolExecutor(64) as pool:
        for line in sys.stdin:
            content = json.loads(line)
            number = content.pop("number")
            call = unpacked(content)

            def run(number: int = number, call: Call = call) -> None:
                reply({"number": number} | packed_answer(answer_of(worker, call)))

            pool.submit(run)
    os._exit(0)


if __name__ == "__main__":
    main()
