"""Runs Microsoft's own Python worker for Azure Functions in this process, in place of the host.

The worker's library (PyPI ``azure-functions-runtime``) indexes ``function_app.py``, checks bindings and calls the
functions as it does in Azure. Its protobuf module is a parameter, so plain objects serve as messages.

    with FunctionsWorker(folder) as worker:
        worker.functions["nightly"].raw_bindings
        worker.timer("nightly")
        worker.http("status", "GET", "/api/status").status
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import uuid
from collections.abc import Coroutine, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any

ENTRY = "function_app"


class WorkerRefused(Exception):
    """The app does not load, or a function raised; the text is what the worker reports to the host.

    ``reason`` is the exception's type and message without its trace.
    """

    def __init__(self, reason: str, trace: str = "") -> None:
        super().__init__(f"{reason}\n{trace}")
        self.reason = reason
        self.trace = trace


class Message(SimpleNamespace):
    """Any protobuf message: its fields are what it was made with."""


class Union(Message):
    """A message of which exactly one field is set."""

    def WhichOneof(self, _group: str) -> str:  # noqa: N802
        return next(iter(vars(self)))


class ParameterBinding(Message):
    def WhichOneof(self, _group: str) -> str:  # noqa: N802
        return "data"


class StatusResult(Message):
    Failure, Success = 0, 1


class BindingInfo(Message):
    inout = 2
    out = 1


setattr(BindingInfo, "in", 0)


class _Messages:
    """Stands for the generated protobuf module."""

    StatusResult = StatusResult
    BindingInfo = BindingInfo
    ParameterBinding = ParameterBinding
    TypedData = Union

    def __getattr__(self, name: str) -> type[Message]:
        return Message


@dataclass(frozen=True)
class FunctionFound:
    """A function as the worker announces it to the host."""

    name: str
    id: str
    raw_bindings: list[dict[str, Any]]

    @property
    def trigger(self) -> dict[str, Any]:
        return next(binding for binding in self.raw_bindings if binding["type"].lower().endswith("trigger"))


@dataclass(frozen=True)
class HttpAnswer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class FunctionsWorker:
    """The worker with one app loaded. ``functions`` is by name; leaving the block forgets the app's modules.

    Settings are this process's environment, as they are in Azure. One worker at a time. As in the real worker there is
    one event loop, which all invocations share; they may come from several threads at once. Leaving the block waits for
    functions that run in threads, and cancels those that are awaited: their callers get ``CancelledError``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.functions: dict[str, FunctionFound] = {}
        self._loop = asyncio.new_event_loop()
        self._lock = threading.Lock()
        self._open = True

    def __enter__(self) -> FunctionsWorker:
        import azure_functions_runtime as library
        from azure_functions_runtime import functions as registry
        from azure_functions_runtime import handle_event

        self._library = library
        self._before = dict(sys.modules)
        handle_event._functions = registry.Registry()
        handle_event._metadata_result = None
        for name in [*sys.modules]:
            if name == ENTRY or name == "functions" or name.startswith("functions."):
                del sys.modules[name]
        sys.path.insert(0, str(self._folder))
        self._thread = threading.Thread(target=self._loop.run_forever, name="functions-worker", daemon=True)
        self._thread.start()
        library.start_threadpool_executor()
        try:
            self._load()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._open = False
        self._library.stop_threadpool_executor()
        self._stop_loop()
        sys.path.remove(str(self._folder))
        for name in [*sys.modules]:
            if name == ENTRY or name == "functions" or name.startswith("functions."):
                del sys.modules[name]
        for name, module in self._before.items():
            sys.modules.setdefault(name, module)

    def timer(self, name: str, *, past_due: bool = False) -> None:
        """Fire a timer trigger."""
        now = datetime.now(UTC).isoformat()
        status = {"Last": now, "Next": now, "LastUpdated": now}
        self.invoke(name, Union(json=json.dumps({"IsPastDue": past_due, "ScheduleStatus": status})))

    def http(
        self,
        name: str,
        method: str,
        url: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        inputs: Mapping[str, str] | None = None,
    ) -> HttpAnswer:
        """Send a request to an HTTP trigger. ``params`` are the parts of the route, which the host would find."""
        request = Message(
            method=method,
            url=url,
            headers=dict(headers or {}),
            params=dict(params or {}),
            query=dict(query or {}),
            body=Union(bytes=body),
        )
        answer = self.invoke(name, Union(http=request), inputs).http
        content = getattr(answer.body, answer.body.WhichOneof("data"), b"") if answer.body else b""
        raw = content.encode() if isinstance(content, str) else bytes(content)
        return HttpAnswer(int(answer.status_code), dict(answer.headers), raw)

    def invoke(self, name: str, data: Union, inputs: Mapping[str, str] | None = None) -> Any:
        """Call a function with its trigger's data and its input bindings' texts. What it returns, as the worker sends
        it (None if it has no output); ``WorkerRefused`` if it raised."""
        function = self.functions[name]
        bound = [ParameterBinding(name=key, data=Union(string=text)) for key, text in (inputs or {}).items()]
        answer = self._send(
            self._library.invocation_request,
            invocation_request=Message(
                invocation_id=str(uuid.uuid4()),
                function_id=function.id,
                input_data=[ParameterBinding(name=function.trigger["name"], data=data), *bound],
                trigger_metadata={},
                trace_context=Message(trace_parent="", trace_state="", attributes={}),
                retry_context=Message(retry_count=0, max_retry_count=0, exception=None),
            ),
        )
        self._must_succeed(answer)
        return answer.return_value

    def _load(self) -> None:
        answer = self._send(
            self._library.worker_init_request,
            worker_init_request=Message(capabilities={}, function_app_directory=str(self._folder)),
        )
        self._must_succeed(answer)
        found = self._send(self._library.functions_metadata_request).function_metadata_results or []
        self.functions = {
            item.name: FunctionFound(item.name, item.function_id, [json.loads(raw) for raw in item.raw_bindings])
            for item in found
        }

    def _send(self, handler: Any, **content: Any) -> Any:
        properties = {"host": "127.0.0.1", "protos": _Messages()}
        handled: Coroutine[Any, Any, Any] = handler(Message(request=Message(**content), properties=properties))
        with self._lock:
            if not self._open:
                handled.close()
                raise CancelledError
            future = asyncio.run_coroutine_threadsafe(handled, self._loop)
        return future.result()

    def _stop_loop(self) -> None:
        """What is still awaited is cancelled. What Durable's client keeps open lives in the loop, and ends there."""
        asyncio.run_coroutine_threadsafe(_end_everything(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _must_succeed(self, answer: Any) -> None:
        if answer.result.status != StatusResult.Success:
            failure = answer.result.exception
            raise WorkerRefused(failure.message, getattr(failure, "stack_trace", ""))


async def _end_everything() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    client: Any = sys.modules.get("azure.durable_functions.models.utils.http_utils")
    if client is not None:
        await client._close_session()
        client._session_lock = asyncio.Lock()


def main() -> None:
    """Load the app in the current folder and print its functions as JSON: ``{name: trigger's type}``."""
    with FunctionsWorker(Path.cwd()) as worker:
        found = {name: function.trigger["type"] for name, function in worker.functions.items()}
    print(json.dumps({"functions": found, "modules": sorted(sys.modules)}))


if __name__ == "__main__":
    main()
