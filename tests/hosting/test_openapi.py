"""The description of the API: it is of what is registered, its examples are valid, real answers are as it says, and
schemathesis finds nothing that it does not say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings, strategies
from pydantic import BaseModel
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import unsupported_method

from functions.api import ROUTES
from functions.models import OPERATIONS, ProblemDetails, StartRun, openapi
from functions.problems import Problem
from tests.hosting.api_app import NO_RUN, SECRETS, Api, Json, api, key_vault
from tests.standins.azurite import KEY
from tests.standins.keyvault import KeyVaultStandin

__all__ = ["api", "key_vault"]


@pytest.fixture
def everything(api: Api, key_vault: KeyVaultStandin) -> Api:
    """All components are configured, one point is there, and no run."""
    api.back_up()
    for name, value in {
        "SQL_SERVER": "127.0.0.1,1",
        "SQL_USERNAME": "nobody",
        "SQL_PASSWORD": "nothing",
        "SQL_OWN_LOG_CHAIN": "true",
        "LANDING_URL": "http://127.0.0.1:1/landing",
        "LANDING_KEY": KEY,
    }.items():
        api.settings.setenv(f"LIFEBOAT_{name}", value)
    return api


def test_what_is_registered_is_what_is_described(api: Api) -> None:
    document = api("GET", "openapi.json").json()
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    registered = {
        (method, "/" + function.trigger["route"])
        for name, function in api.host.functions.items()
        if name.startswith("api_")
        for method in function.trigger["methods"]
    }
    assert described == registered
    assert {route.name for route in ROUTES} == OPERATIONS.keys()
    assert document == openapi(ROUTES)
    assert document["openapi"].startswith("3.1")


def test_every_operation_tells_of_every_status_that_it_may_answer() -> None:
    for methods in openapi(ROUTES)["paths"].values():
        for operation in methods.values():
            assert {"401", "500"} <= operation["responses"].keys()
            assert any(status.startswith("2") for status in operation["responses"])


def _models() -> Iterator[type[BaseModel]]:
    for operation in OPERATIONS.values():
        yield from (model for model in (operation.takes, *operation.answers.values()) if model is not None)


def test_every_example_is_valid() -> None:
    for model in set(_models()):
        extra: Any = model.model_config["json_schema_extra"]
        for example in extra["examples"]:
            model.model_validate(example)
    for methods in openapi(ROUTES)["paths"].values():
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                example = answer.get("content", {}).get("application/problem+json", {}).get("example")
                if example is not None:
                    assert ProblemDetails.model_validate(example).status == int(status)


def test_no_problem_is_without_a_title_and_a_status_of_its_own() -> None:
    from functions.problems import STATUSES

    for name in STATUSES:
        document = Problem(name, "x", remedy="y").document()
        assert document["title"] != "The request failed"
        ProblemDetails.model_validate(document)


def test_real_answers_are_as_the_models_say(everything: Api) -> None:
    put = everything("PUT", "secrets", SECRETS)
    run = everything.start()
    point = everything("GET", "recovery-points").json()["points"][0]["point"]
    answers: dict[str, Json] = {
        "put_secrets": put.json(),
        "show_run": everything("GET", f"runs/{run}").json(),
        "list_points": everything("GET", "recovery-points").json(),
        "show_point": everything("GET", f"recovery-points/{point}").json(),
        "show_status": everything("GET", "status").json(),
        "cancel_run": everything("DELETE", f"runs/{run}").json(),
    }
    for name, answer in answers.items():
        model = next(iter(OPERATIONS[name].answers.values()))
        assert model is not None
        model.model_validate(answer)


@pytest.mark.parametrize("field", ["only", "logs", "allow_shrink"])
def test_every_field_is_described(field: str) -> None:
    assert StartRun.model_json_schema()["properties"][field]["description"]


# --- schemathesis ---

RUN, POINT = "/runs/{run}", "/recovery-points/{point}"
FROM_GOOD_REQUESTS = {
    ("POST /recovery-points", 409),
    (f"GET {RUN}", 200),
    (f"GET {RUN}", 404),
    (f"DELETE {RUN}", 202),
    (f"DELETE {RUN}", 404),
    ("GET /recovery-points", 200),
    (f"GET {POINT}", 200),
    (f"GET {POINT}", 404),
    (f"GET {POINT}/runbook", 200),
    (f"GET {POINT}/runbook", 404),
    ("PUT /secrets", 200),
    ("PUT /secrets", 201),
    ("GET /status", 200),
}
FROM_BAD_REQUESTS = {
    ("POST /recovery-points", 400),
    (f"GET {RUN}", 404),
    (f"DELETE {RUN}", 404),
    (f"GET {POINT}", 404),
    (f"GET {POINT}/runbook", 404),
    ("PUT /secrets", 400),
}


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_schemathesis_finds_nothing_that_is_not_described(everything: Api, mode: GenerationMode) -> None:
    """At a real address, by the description that is served there; the same requests in each run.

    Not held against us: a method that a path has not is the host's 404, where HTTP would have 405.
    """
    key = {"x-functions-key": everything.host.function_key}
    served = schemathesis.openapi.from_url(
        f"{everything.host.listening()}/api/openapi.json", config=SchemathesisConfig(seed=1), headers=key
    )
    point = everything("GET", "recovery-points").json()["points"][0]["point"]
    run = everything.start() if mode is GenerationMode.POSITIVE else NO_RUN  # else 409 would hide what is let through
    there = {"run": run, "point": point}
    seen: Counter[tuple[str, int]] = Counter()

    def attempt(operation: schemathesis.APIOperation[Any, Any, Any, Any], data: strategies.DataObject) -> None:
        names = [parameter.name for parameter in operation.path_parameters]
        known = {name: there[name] for name in names if data.draw(strategies.booleans())}
        case = data.draw(operation.as_strategy(generation_mode=mode, path_parameters=known or None))
        answer = case.call_and_validate(headers=key, excluded_checks=[unsupported_method])
        seen[operation.label, answer.status_code] += 1

    operations = [found.ok() for found in served.get_all_operations() if isinstance(found, Ok)]
    assert len(operations) == len(ROUTES) - 1, "all but the description itself, which has been read"
    for operation in operations:
        varied = bool(operation.path_parameters or operation.body)
        if varied or mode is GenerationMode.POSITIVE:
            bounded = settings(
                max_examples=20 if varied else 3,
                derandomize=True,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            bounded(given(data=strategies.data())(attempt))(operation)
    assert everything.host.failures == []
    expected = {GenerationMode.POSITIVE: FROM_GOOD_REQUESTS, GenerationMode.NEGATIVE: FROM_BAD_REQUESTS}[mode]
    assert expected <= seen.keys(), "otherwise the requests are not what they are meant to be"
