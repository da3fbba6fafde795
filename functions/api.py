"""The HTTP API: reads a request, calls ``shared/`` or ``functions.runs``, shapes the answer. ``models`` describes it.

Every route asks for a function key. A handler answers, or raises: ``problems`` makes an answer of any error. Whatever
blocks runs in a thread, imports of what only a request needs included: the event loop is shared by all functions.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import azure.durable_functions as df
from azure.functions import AuthLevel, HttpRequest, HttpResponse

from functions.problems import SAFE_HEADERS, Problem, problem_of

if TYPE_CHECKING:
    from pydantic import BaseModel

    from shared.settings import Settings

Json = dict[str, Any]
Value = TypeVar("Value")
Asked = TypeVar("Asked", bound="BaseModel")

MOST_JSON_BYTES = 16 * 1024
MOST_SECRETS_BYTES = 1024 * 1024
MARKDOWN, HTML = "text/markdown", "text/html"
_FORMS = {MARKDOWN: "md", HTML: "html"}
_MOST_NAME = 200
"""Characters of a caller's name."""


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    path: str
    """Below the prefix ``/api/``, as the host writes it."""
    handle: Callable[..., Awaitable[HttpResponse]]
    durable: bool = False
    """It is given a client of Durable Functions."""

    @property
    def name(self) -> str:
        """The handler's, by which ``models`` describes it."""
        return self.handle.__name__

    @property
    def function(self) -> str:
        """Name of the function in the app."""
        return f"api_{self.name}"


def blueprint() -> df.Blueprint:
    made = df.Blueprint()
    for route in ROUTES:
        _add(made, route)
    return made


# --- runs ---


async def start_run(req: HttpRequest, client: df.DurableOrchestrationClient) -> HttpResponse:
    from functions import runs
    from functions.models import StartRun
    from shared.errors import SettingsError
    from shared.recovery_point.runs import RunRequest

    asked = await asyncio.to_thread(_asked, req, StartRun)
    request = RunRequest(tuple(asked.only), asked.logs, asked.allow_shrink)
    try:
        started = await runs.start_run(client, request, caller=_caller(req))
    except SettingsError as error:
        absent = [name for name in asked.only if name not in _settings().configured()]
        if not absent:
            raise
        raise Problem("not-configured", str(error), remedy=error.remedy, setting=error.setting) from error
    place = {"Location": _place(started.run)}
    if started.already_running:
        raise Problem(
            "already-running",
            f"the run {started.run} goes on: one at a time",
            remedy="Wait for its end (GET its Location), or cancel it (DELETE).",
            headers=place,
            run=started.run,
        )
    return _json({"run": started.run, "status": "running"}, status=202, headers=place)


async def show_run(req: HttpRequest, client: df.DurableOrchestrationClient) -> HttpResponse:
    from functions import runs

    run = req.route_params["run"]
    state = await runs.run_state(client, run)
    if state is None:
        raise _unknown_run(run)
    return _json(state)


async def cancel_run(req: HttpRequest, client: df.DurableOrchestrationClient) -> HttpResponse:
    from functions import runs

    run = req.route_params["run"]
    outcome = await runs.cancel_run(client, run)
    if outcome == "unknown":
        raise _unknown_run(run)
    if outcome == "ended":
        raise Problem(
            "run-ended",
            f"the run {run} has ended, and cannot be cancelled",
            remedy="GET it to see how it ended.",
            headers={"Location": _place(run)},
            run=run,
        )
    return _json({"run": run, "status": "cancelling"}, status=202, headers={"Location": _place(run)})


def _asked(req: HttpRequest, model: type[Asked]) -> Asked:
    """The body as ``model``; no body at all leaves everything to its defaults."""
    from functions.models import wrong_fields

    content = _body(req, MOST_JSON_BYTES)
    if not content:
        return model()
    if _media_type(req) not in ("", "application/json"):
        raise Problem(
            "unsupported-media-type",
            "the body is not said to be JSON",
            remedy="Send it with Content-Type: application/json.",
            headers={"Accept": "application/json"},
        )
    return wrong_fields(model, content)


def _unknown_run(run: str) -> Problem:
    return Problem(
        "unknown-run",
        f"there is no run {_shown(run)}",
        remedy="A run's id is in what POST /api/recovery-points answers.",
    )


def _place(run: str) -> str:
    return f"/api/runs/{run}"


def _caller(req: HttpRequest) -> str | None:
    """Who has signed in, where Easy Auth is on. Where it is off, anybody can send that header."""
    if os.environ.get("WEBSITE_AUTH_ENABLED", "").lower() != "true":
        return None
    name = "".join(each for each in req.headers.get("X-MS-CLIENT-PRINCIPAL-NAME", "") if each.isprintable())
    return name.strip()[:_MOST_NAME] or None


# --- recovery points ---


async def list_points(req: HttpRequest) -> HttpResponse:
    return _json(await asyncio.to_thread(_list_points))


async def show_point(req: HttpRequest) -> HttpResponse:
    return _json(await asyncio.to_thread(_show_point, req.route_params["point"]))


async def show_runbook(req: HttpRequest) -> HttpResponse:
    """Nothing but the vault's records is asked for it: whoever restores does so from another place, with other rights,
    and ``runbook`` on the command line looks from there."""
    accepted = preferred(req.headers.get("Accept"), tuple(_FORMS))
    if accepted is None:
        raise Problem(
            "not-acceptable",
            f"the runbook is to be had as {' and '.join(_FORMS)}",
            remedy="Send an Accept header with one of them, or none: then it is markdown.",
        )
    text = await asyncio.to_thread(_runbook, req.route_params["point"], _FORMS[accepted])
    return HttpResponse(
        text, status_code=200, headers={**SAFE_HEADERS, "Vary": "Accept"}, mimetype=accepted, charset="utf-8"
    )


def _list_points() -> Json:
    from shared.recovery_point.listing import list_points

    return list_points(_settings())


def _show_point(point: str) -> Json:
    from shared.recovery_point.listing import show_point

    return _of_point(point, lambda: show_point(_settings(), point))


def _runbook(point: str, form: str) -> str:
    from shared.status.runbook import make_runbook

    return _of_point(point, lambda: make_runbook(_settings(), point, form=form, run_checks=False).text)


def _of_point(point: str, ask: Callable[[], Value]) -> Value:
    """What ``ask`` returns; where the point is what it refuses, the problem says so."""
    from shared.errors import SettingsError, UsageError
    from shared.recovery_point.record import is_id

    unknown = Problem(
        "unknown-point",
        f"there is no recovery point {_shown(point)}",
        remedy="GET /api/recovery-points lists those that there are.",
    )
    if not is_id(point):
        raise unknown
    try:
        return ask()
    except SettingsError:
        raise
    except UsageError as error:
        raise unknown from error


# --- the rest ---


async def put_secrets(req: HttpRequest) -> HttpResponse:
    if _media_type(req) in ("multipart/form-data", "application/x-www-form-urlencoded"):
        raise Problem(
            "unsupported-media-type",
            "the body is a form, and has to be the file's very bytes",
            remedy="Send the file itself, as application/json or application/octet-stream: curl -T FILE does.",
        )
    put = await asyncio.to_thread(_put_secrets, _body(req, MOST_SECRETS_BYTES))
    return _json(put, status=201 if put["new"] else 200)


async def show_status(req: HttpRequest) -> HttpResponse:
    return _json(await asyncio.to_thread(_status))


async def run_preflight(req: HttpRequest) -> HttpResponse:
    """From where this app runs, on its network. Whatever it finds is an answer: 200."""
    from functions.models import RunPreflight
    from shared.errors import SettingsError

    asked = await asyncio.to_thread(_asked, req, RunPreflight)
    try:
        return _json(await asyncio.to_thread(_preflight, asked.only))
    except SettingsError as error:
        raise Problem("not-configured", str(error), remedy=error.remedy, setting=error.setting) from error


async def show_openapi(req: HttpRequest) -> HttpResponse:
    return _json(await asyncio.to_thread(_openapi))


def _put_secrets(content: bytes) -> Json:
    from shared.recovery_point.secrets import put_secrets

    return put_secrets(_settings(), content, filename="SystemSecrets.JSON").answer()


def _status() -> Json:
    from shared.status.health import read_health

    return read_health(_settings()).to_json()


def _preflight(only: Sequence[str]) -> Json:
    from shared.preflight.make import preflight

    return preflight(_settings(), only).to_json()


def _openapi() -> Json:
    from functions.models import openapi

    return openapi(ROUTES)


ROUTES: Sequence[Route] = (
    Route("POST", "recovery-points", start_run, durable=True),
    Route("GET", "runs/{run}", show_run, durable=True),
    Route("DELETE", "runs/{run}", cancel_run, durable=True),
    Route("GET", "recovery-points", list_points),
    Route("GET", "recovery-points/{point}", show_point),
    Route("GET", "recovery-points/{point}/runbook", show_runbook),
    Route("POST", "preflight", run_preflight),
    Route("PUT", "secrets", put_secrets),
    Route("GET", "status", show_status),
    Route("GET", "openapi.json", show_openapi),
)


# --- requests and answers ---


def _add(made: df.Blueprint, route: Route) -> None:
    async def plain(req: HttpRequest) -> HttpResponse:
        return await _answer(route, req)

    async def durable(req: HttpRequest, client: df.DurableOrchestrationClient) -> HttpResponse:
        return await _answer(route, req, client)

    function = made.durable_client_input(client_name="client")(durable) if route.durable else plain
    triggered = made.route(route=route.path, methods=[route.method], auth_level=AuthLevel.FUNCTION)(function)
    made.function_name(route.function)(triggered)


async def _answer(route: Route, req: HttpRequest, *client: df.DurableOrchestrationClient) -> HttpResponse:
    try:
        return await route.handle(req, *client)
    except Exception as error:  # the last stop: whatever it is, the client gets a problem and no trace
        return problem_of(error, where=f"{route.method} /api/{route.path}").answer()


def _settings() -> Settings:
    from shared.settings import Settings

    return Settings.from_environment()


def _json(document: Json, *, status: int = 200, headers: dict[str, str] | None = None) -> HttpResponse:
    return HttpResponse(
        json.dumps(document),
        status_code=status,
        headers={**SAFE_HEADERS, **(headers or {})},
        mimetype="application/json",
    )


def _body(req: HttpRequest, most_bytes: int) -> bytes:
    """``too-large`` goes by what was announced as well as by what has come."""
    announced = req.headers.get("Content-Length", "")
    content: bytes = req.get_body()
    said = int(announced) if announced.isascii() and announced.isdigit() and len(announced) < 20 else 0
    if max(said, len(content)) > most_bytes:
        raise Problem(
            "too-large",
            f"the body is larger than {most_bytes:,} bytes",
            remedy="Is it the right file?" if most_bytes == MOST_SECRETS_BYTES else "Send less.",
        )
    return content


def _media_type(req: HttpRequest) -> str:
    """Without its parameters; empty where there is none."""
    return str(req.headers.get("Content-Type", "")).partition(";")[0].strip().lower()


def _shown(text: str) -> str:
    """A part of the address, fit for a sentence."""
    return repr(text if len(text) <= 60 else text[:60] + "…")


def preferred(accept: str | None, offers: Sequence[str]) -> str | None:
    """Which of ``offers`` an Accept header likes best, the earlier of equals; None: none of them (RFC 9110, 12.5.1)."""
    ranges = [each for each in map(_media_range, (accept or "").split(",")) if each is not None]
    if not ranges:
        return offers[0]
    weights = {offer: _weight(offer, ranges) for offer in offers}
    best = max(offers, key=lambda offer: weights[offer])
    return best if weights[best] > 0 else None


def _media_range(text: str) -> tuple[str, float] | None:
    """A media range with its weight; one that makes no sense is no range."""
    name, *parameters = (part.strip() for part in text.lower().split(";"))
    if name.count("/") != 1:
        return None
    weight = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                weight = float(value)
            except ValueError:
                return None
    return (name, weight) if 0 <= weight <= 1 else None


def _weight(offer: str, ranges: Sequence[tuple[str, float]]) -> float:
    """That of the most specific range which has ``offer`` in it."""
    for wanted in (offer, f"{offer.partition('/')[0]}/*", "*/*"):
        found = [weight for name, weight in ranges if name == wanted]
        if found:
            return max(found)
    return 0.0
