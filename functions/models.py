"""What the API takes and answers, and the OpenAPI 3.1 document that is made of it.

``StartRun`` checks what is sent. The others describe what ``shared/`` makes: tests hold real answers against them. The
routes themselves are those of ``functions/api.py``; ``OPERATIONS`` says of each, by its handler's name, what it does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from typing import Annotated, Any, Literal, Protocol, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.json_schema import models_json_schema

from functions.problems import PREFIX, PROBLEM_JSON, Problem
from shared import VERSION

Json = dict[str, Any]

RUN, POINT = "4f1c9a0e5d7b2c38", "20261124T010000Z-4f1c9a"
"""In the examples."""
_MOMENT, _LATER = "2026-11-24T01:00:00.000000Z", "2026-11-24T01:06:12.000000Z"
_COMPONENTS = ("databases", "share", "secrets")
ComponentName = Literal["databases", "share", "secrets"]
Looked = Literal["share", "databases", "secrets", "vault", "telemetry"]
PointStatus = Literal["complete", "partial", "failed"]
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


# --- what is sent ---


class StartRun(BaseModel):
    """What a run is to do; nothing: a recovery point of everything that is configured."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        use_attribute_docstrings=True,
        json_schema_extra={
            "examples": [{}, {"only": ["share"], "allow_shrink": True}, {"logs": True}],
            "if": {"properties": {"logs": {"const": True}}, "required": ["logs"]},
            "then": {"properties": {"only": {"items": {"const": "databases"}}}},
        },
    )

    only: list[ComponentName] = Field(default_factory=list, max_length=len(_COMPONENTS))
    """Components to back up; none: all that are configured. With fewer the point is not whole."""
    logs: bool = False
    """Log backups only, of databases whose log chain is ours; ``only`` is left out then, or names ``databases``."""
    allow_shrink: bool = False
    """The share is meant to be empty, or to have lost many files: it becomes what later runs are compared with."""


class RunPreflight(BaseModel):
    """What preflight is to look at; nothing: everything that is configured."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{}, {"only": ["share"]}]},
    )

    only: list[Looked] = Field(default_factory=list, max_length=5)
    """What to look at: components, the vault, or the way to Application Insights."""


Model = TypeVar("Model", bound=BaseModel)


def wrong_fields(model: type[Model], content: bytes) -> Model:
    """``content`` as ``model``; a problem that names each field that is wrong, and no value that was sent."""
    try:
        return model.model_validate_json(content)
    except ValidationError as failure:
        found = failure.errors(include_url=False, include_context=True, include_input=False)
    if any(each["type"] == "json_invalid" for each in found):
        raise Problem(
            "malformed-json",
            "the body is no JSON document in UTF-8",
            remedy=f"Send an object, such as {{{', '.join(_EXAMPLES_OF_FIELDS)}}}, or no body at all.",
        )
    errors = [{"pointer": _pointer(each["loc"]), "detail": _wrong(model, each)} for each in found[:_MOST_ERRORS]]
    raise Problem(
        "wrong-fields",
        "; ".join(f"{each['pointer']}: {each['detail']}" for each in errors),
        remedy="GET /api/openapi.json describes the body.",
        errors=errors,
    )


_EXAMPLES_OF_FIELDS = ('"only": ["share"]', '"logs": false', '"allow_shrink": false')
_MOST_ERRORS = 10
_MOST_NAME = 60


def _wrong(model: type[BaseModel], error: Mapping[str, Any]) -> str:
    match error["type"]:
        case "extra_forbidden":
            return f"there is no such field; fields are {', '.join(model.model_fields)}"
        case "literal_error":
            known = get_args(Looked if model is RunPreflight else ComponentName)
            return f"there is no such component; components are {', '.join(known)}"
    message = str(error["msg"])
    return message[:1].lower() + message[1:]


def _pointer(place: Sequence[str | int]) -> str:
    """A JSON pointer (RFC 6901) as a fragment; a name that somebody made up is cut."""
    parts = (str(part).encode("unicode_escape").decode()[:_MOST_NAME] for part in place)
    return "#" + "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


# --- what is answered ---


class Answered(BaseModel):
    """Later versions may add keys."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)


class Reason(Answered):
    """Why something is not as it should be."""

    component: str
    code: str = Field(pattern="^[a-z0-9]+(-[a-z0-9]+)*$")
    message: str
    remedy: str
    """The next step."""
    setting: str | None = None
    """The environment variable that it is about."""
    database: str | None = None
    path: str | None = None
    """Inside the share."""
    object: str | None = None
    """Name of the blob that it is about."""
    check: str | None = None
    """Name of the check of preflight that fails."""


class PreflightCheck(Answered):
    component: str
    name: str = Field(max_length=200)
    result: Literal["pass", "warn", "fail", "skip"]
    seconds: float = Field(ge=0)
    """How long it took."""
    detail: str
    remedy: str
    """The next step; empty where there is nothing to do."""
    setting: str | None
    """The environment variable that it is about."""


class PreflightAnswer(Answered):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "failed",
                    "reasons": [
                        {
                            "component": "share",
                            "code": "preflight",
                            "message": "port: nothing answers on TCP 445 of fs.stamp.example within 8 s",
                            "remedy": "Name another port in LIFEBOAT_SHARE_URL.",
                            "check": "port",
                            "setting": "LIFEBOAT_SHARE_URL",
                        }
                    ],
                    "checks": [
                        {
                            "component": "share",
                            "name": "port",
                            "result": "fail",
                            "seconds": 8.0,
                            "detail": "nothing answers on TCP 445 of fs.stamp.example within 8 s",
                            "remedy": "Name another port in LIFEBOAT_SHARE_URL.",
                            "setting": "LIFEBOAT_SHARE_URL",
                        },
                        {
                            "component": "share",
                            "name": "name",
                            "result": "pass",
                            "seconds": 0.012,
                            "detail": "fs.stamp.example is 10.0.0.4",
                            "remedy": "",
                            "setting": None,
                        },
                    ],
                }
            ]
        }
    )

    status: Literal["ok", "failed"]
    """``failed`` when a check fails; warnings do not change it."""
    reasons: list[Reason]
    checks: list[PreflightCheck]
    """Failing ones first."""


class Started(Answered):
    model_config = ConfigDict(json_schema_extra={"examples": [{"run": RUN, "status": "running"}]})

    run: str
    status: Literal["running"]


class Cancelling(Answered):
    model_config = ConfigDict(json_schema_extra={"examples": [{"run": RUN, "status": "cancelling"}]})

    run: str
    status: Literal["cancelling"]
    """Its steps notice it within seconds; then the run is ``cancelled``."""


class Progress(Answered):
    done: int
    total: int
    text: str
    """For people."""


class Run(Answered):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "run": RUN,
                    "status": "complete",
                    "point": POINT,
                    "progress": {"done": 12, "total": 12, "text": "done"},
                    "started": _MOMENT,
                    "finished": _LATER,
                    "reasons": [],
                }
            ]
        }
    )

    run: str
    status: Literal["running", "complete", "partial", "failed", "cancelled"]
    point: str | None
    """The recovery point that came of it."""
    progress: Progress | None
    started: Moment
    finished: Moment | None
    reasons: list[Reason]
    """The first ones."""


class ListedPoint(Answered):
    point: str
    time: Moment | None
    """When its run began; null where the record is damaged."""
    status: Literal["complete", "partial", "failed", "damaged"]
    whole: bool
    """It has everything that is configured."""
    suspect: bool
    """The share had shrunk so much that retention may not act on it."""
    components: dict[str, Json]
    """For each component its status and what can be counted."""


class Points(Answered):
    """Newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "ok",
                    "reasons": [],
                    "points": [
                        {
                            "point": POINT,
                            "time": _MOMENT,
                            "status": "complete",
                            "whole": True,
                            "suspect": False,
                            "components": {"share": {"status": "complete", "files": 48211}},
                        }
                    ],
                }
            ]
        }
    )

    status: Literal["ok", "partial"]
    """``partial``: a record cannot be read."""
    reasons: list[Reason]
    points: list[ListedPoint]


class Record(Answered):
    """A recovery point as it was written, once."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "point": POINT,
                    "time": _MOMENT,
                    "status": "complete",
                    "requested": ["share"],
                    "not_configured": ["databases", "secrets"],
                    "without": [],
                    "whole": True,
                    "suspect": False,
                    "components": {"share": {"status": "complete", "files": 48211, "finished": _LATER}},
                    "reasons": [],
                    "skew_seconds": 0.0,
                    "duration_seconds": 372.0,
                    "version": 1,
                }
            ]
        }
    )

    point: str
    time: Moment
    status: PointStatus
    requested: list[str]
    not_configured: list[str]
    without: list[str]
    whole: bool
    suspect: bool
    components: dict[str, Json]
    reasons: list[Reason]
    skew_seconds: float
    """Between the earliest and the latest moment that a component's data stands for."""
    duration_seconds: float
    version: int


class PutFile(Answered):
    """SystemSecrets.JSON as the Key Vault has it now; nothing of its content."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "system-secrets",
                    "version": "6a5b1f0c",
                    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                    "new": True,
                }
            ]
        }
    )

    name: str
    version: str
    sha256: str
    new: bool
    """False: these bytes were current already, and their age begins anew."""


class Standing(Answered):
    """How a component, or a database, stands."""

    newest: str | None
    """The recovery point with its newest good backup."""
    moment: Moment | None
    """That this backup stands for."""
    age_seconds: float | None
    rpo_seconds: int
    late: bool
    databases: dict[str, Standing] | None = None


class Drift(Answered):
    """Whether the secrets fit the databases."""

    verdict: Literal["fits", "drift", "unknown"]
    detail: str
    rotated: list[str]
    point: str
    time: Moment


class Expiry(Answered):
    """A certificate that has expired, or soon will."""

    file: str
    subject: str
    thumbprint: str
    not_after: Moment
    days: int


class LastVerification(Answered):
    """The newest: a round of the rotation, or a point that was read back on demand; of a run where there is neither."""

    time: Moment
    age_seconds: float
    kind: Literal["round", "point", "run"]
    status: Literal["ok", "damaged"]
    point: str | None
    findings: int
    bytes_read: int
    read_back_since: Moment | None
    """All that was there at that moment, and still is, has been read back since; null before the first turn is done."""


class LastDrill(Answered):
    point: str
    time: Moment
    status: str
    rto_seconds: float | None
    estimated_rto_seconds: float | None
    """With all of the share, at the rate of the sample; null where something was not drilled."""
    drilled: list[str]
    age_seconds: float


class Status(Answered):
    """How things stand. Where nothing could be looked at, ``reasons`` says why, with the setting."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "ok",
                    "reasons": [],
                    "time": _LATER,
                    "components": {
                        "share": {
                            "newest": POINT,
                            "moment": _MOMENT,
                            "age_seconds": 372.0,
                            "rpo_seconds": 93600,
                            "late": False,
                        }
                    },
                    "drift": None,
                    "expiries": [],
                    "last_verification": {
                        "time": _MOMENT,
                        "age_seconds": 372.0,
                        "kind": "round",
                        "status": "ok",
                        "point": None,
                        "findings": 0,
                        "bytes_read": 41290337,
                        "read_back_since": "2026-10-25T02:30:00.000000Z",
                    },
                    "last_drill": None,
                }
            ]
        }
    )

    status: Literal["ok", "late"]
    reasons: list[Reason]
    time: Moment
    components: dict[str, Standing]
    drift: Drift | None
    expiries: list[Expiry]
    last_verification: LastVerification | None
    last_drill: LastDrill | None


class WrongField(Answered):
    pointer: str
    """Where in the body: a JSON pointer as a fragment."""
    detail: str


class ProblemDetails(Answered):
    """An error (RFC 9457)."""

    model_config = ConfigDict(title="Problem")

    type: str = Field(pattern=f"^{PREFIX}[a-z0-9-]+$")
    title: str
    """The same for each problem of this type."""
    status: int = Field(ge=400, le=599)
    detail: str
    """What happened."""
    remedy: str
    """The next step."""
    setting: str | None = None
    """The app's setting that it is about."""
    object: str | None = None
    """Name of the blob that it is about."""
    run: str | None = None
    errors: list[WrongField] | None = None


# --- the document ---


class RouteLike(Protocol):
    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def name(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Operation:
    summary: str
    answers: Mapping[int, type[BaseModel] | None]
    """The model of each status that is no problem; None: the OpenAPI document itself, or the runbook."""
    problems: tuple[int, ...] = ()
    """What may go wrong, beside what may go wrong with any request that is let in."""
    takes: type[BaseModel] | None = None
    media: tuple[str, ...] = ("application/json",)
    """Of the answer."""
    located: tuple[int, ...] = ()
    """Statuses whose answer has a Location."""
    headers: Json = field(default_factory=dict)
    body: Json | None = None
    """The request's, where it is no model."""
    reaches_vault: bool = True


OPERATIONS: Mapping[str, Operation] = {
    "start_run": Operation(
        "Start a run: a recovery point, or log backups; one of each kind at a time",
        {202: Started},
        (400, 409, 413, 415),
        takes=StartRun,
        located=(202, 409),
    ),
    "show_run": Operation("A run and its progress; poll it", {200: Run}, (404,)),
    "cancel_run": Operation("Ask a run to stop", {202: Cancelling}, (404, 409), located=(202, 409)),
    "list_points": Operation("All recovery points", {200: Points}),
    "show_point": Operation("The record of a recovery point", {200: Record}, (404,)),
    "show_runbook": Operation(
        "How to recover App Service from this recovery point, for people; it holds no secret",
        {200: None},
        (404, 406),
        media=("text/markdown", "text/html"),
    ),
    "run_preflight": Operation(
        "Look at the way to every part from where the app runs: all checks end within 200 seconds",
        {200: PreflightAnswer},
        (400, 413, 415),
        takes=RunPreflight,
        reaches_vault=False,
    ),
    "put_secrets": Operation(
        "Keep SystemSecrets.JSON, as it was downloaded in the administrator portal, in the Key Vault; at most 1 MiB",
        {201: PutFile, 200: PutFile},
        (400, 413, 415),
        body={
            "required": True,
            "description": "The file's very bytes: a JSON object with something in it.",
            "content": {
                media: {"schema": {"type": "object", "minProperties": 1, "additionalProperties": True}}
                for media in ("application/json",)
            },
        },
    ),
    "show_status": Operation(
        "How old each component's newest good backup is, and whether that is too old; drift, expiries, the last drill",
        {200: Status},
    ),
    "show_openapi": Operation("This document", {200: None}, reaches_vault=False),
}
"""By the handler's name."""

_DESCRIPTIONS: Mapping[int, str] = {
    200: "Done.",
    201: "Kept.",
    202: "It has begun.",
    400: "The request has to change: `errors` or `detail` names what is wrong.",
    401: "No function key, or a wrong one. The host answers this itself, without a body.",
    404: "There is no such thing.",
    406: "Not to be had in that form.",
    409: "It cannot be done now.",
    413: "The body is too large.",
    415: "The body is of a wrong kind.",
    500: "The operator has to change something: `setting` names the setting where it is one.",
    502: "A service that this app uses refused or failed.",
    503: "A service that this app uses does not answer: the same request may succeed later.",
}
_PARAMETERS: Mapping[str, Json] = {
    "run": {
        "name": "run",
        "in": "path",
        "required": True,
        "description": "A run's id.",
        "schema": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
        "example": RUN,
    },
    "point": {
        "name": "point",
        "in": "path",
        "required": True,
        "description": "A recovery point's id.",
        "schema": {"type": "string", "pattern": "^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{6}$"},
        "example": POINT,
    },
}
_TEXT = {"type": "string"}
_EXAMPLE_PROBLEMS: Mapping[int, Problem] = {
    problem.status: problem
    for problem in (
        Problem(
            "wrong-fields",
            "#/only/0: there is no such component; components are databases, share, secrets",
            remedy="GET /api/openapi.json describes the body.",
            errors=[
                {
                    "pointer": "#/only/0",
                    "detail": "there is no such component; components are databases, share, secrets",
                }
            ],
        ),
        Problem(
            "unknown-point",
            f"there is no recovery point '{POINT}'",
            remedy="GET /api/recovery-points lists those that there are.",
        ),
        Problem("not-acceptable", "the runbook is to be had as text/markdown and text/html", remedy="Send no Accept."),
        Problem(
            "already-running",
            f"the run {RUN} goes on: one at a time",
            remedy="Wait for its end (GET its Location), or cancel it (DELETE).",
            run=RUN,
        ),
        Problem("too-large", "the body is larger than 16,384 bytes", remedy="Send less."),
        Problem(
            "unsupported-media-type",
            "the body is not said to be JSON",
            remedy="Send it with Content-Type: application/json.",
        ),
        Problem(
            "wrong-setting",
            "LIFEBOAT_VAULT_URL is not set",
            remedy="Set it to the blob endpoint of the vault's storage account.",
            status=500,
            setting="LIFEBOAT_VAULT_URL",
        ),
        Problem(
            "storage-failed", "the storage service answered 400", remedy="See its own log, and try again.", status=502
        ),
        Problem(
            "storage-unavailable", "the storage service does not answer", remedy="Try again in a while.", status=503
        ),
    )
}


def openapi(routes: Sequence[RouteLike]) -> Json:
    """The document for these routes, each of which ``OPERATIONS`` has."""
    paths: dict[str, Json] = {}
    for route in routes:
        paths.setdefault(f"/{route.path}", {})[route.method.lower()] = _operation(route, OPERATIONS[route.name])
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Lifeboat",
            "version": VERSION,
            "description": "Backs up App Service on Azure Stack Hub, proves the backups and restores them.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/api"}],
        "security": [{"header": []}, {"query": []}],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "header": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "x-functions-key",
                    "description": "A function key of the app.",
                },
                "query": {
                    "type": "apiKey",
                    "in": "query",
                    "name": "code",
                    "description": "The same in the address. Addresses end up in logs: use the header.",
                },
            },
        },
    }


@cache
def _schemas() -> Json:
    models = {operation.takes for operation in OPERATIONS.values()} | {ProblemDetails}
    models |= {model for operation in OPERATIONS.values() for model in operation.answers.values()}
    named = sorted((model for model in models if model is not None), key=lambda model: model.__name__)
    _, schemas = models_json_schema([(model, "validation") for model in named], ref_template=_REFERENCE)
    found: Json = schemas["$defs"]
    return found


_REFERENCE = "#/components/schemas/{model}"


def _operation(route: RouteLike, operation: Operation) -> Json:
    parameters = [parameter for name, parameter in _PARAMETERS.items() if f"{{{name}}}" in route.path]
    body = operation.body or (_body(operation.takes) if operation.takes else None)
    return {
        "operationId": route.name,
        "summary": operation.summary,
        **({"parameters": parameters} if parameters else {}),
        **({"requestBody": body} if body else {}),
        "responses": {str(status): answer for status, answer in sorted(_answers(operation))},
    }


def _answers(operation: Operation) -> Iterator[tuple[int, Json]]:
    for status, model in operation.answers.items():
        schema = _reference(model) if model else _TEXT if "json" not in operation.media[0] else {"type": "object"}
        yield status, _answer(operation, status, {media: {"schema": schema} for media in operation.media})
    yield 401, {"description": _DESCRIPTIONS[401]}
    general = (500, 502, 503) if operation.reaches_vault else (500,)
    for status in (*operation.problems, *general):
        content = {"schema": _reference(ProblemDetails), "example": _EXAMPLE_PROBLEMS[status].document()}
        yield status, _answer(operation, status, {PROBLEM_JSON: content})


def _answer(operation: Operation, status: int, content: Json) -> Json:
    headers: Json = {}
    if status in operation.located:
        headers["Location"] = {"description": "The run.", "schema": {"type": "string", "format": "uri-reference"}}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}
    return {
        "description": _DESCRIPTIONS[status],
        **({"headers": headers} if headers else {}),
        "content": content,
    }


def _body(model: type[BaseModel]) -> Json:
    return {"required": False, "content": {"application/json": {"schema": _reference(model)}}}


def _reference(model: type[BaseModel]) -> Json:
    return {"$ref": _REFERENCE.format(model=model.__name__)}
