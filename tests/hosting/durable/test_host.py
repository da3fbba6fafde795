"""The host around the app: indexing, routes, keys, timers, and the API that the SDK's client calls."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.hosting.durable.conftest import SAMPLE, Marks
from tests.standins.durable import DurableHost
from tests.standins.durable.indexing import DoesNotIndex, Routes, check_schedule
from tests.standins.functions_worker import FunctionFound, HttpAnswer, WorkerRefused


def fetch(method: str, url: str, body: bytes = b"", headers: dict[str, str] | None = None) -> HttpAnswer:
    """Over a real connection."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc)
    connection.request(method, url.removeprefix(f"http://{parts.netloc}"), body, headers or {})
    answer = connection.getresponse()
    result = HttpAnswer(answer.status, dict(answer.headers), answer.read())
    connection.close()
    return result


def test_settings_in_bindings_are_filled_in_and_what_is_wrong_fails_alone(host: DurableHost) -> None:
    assert host.functions["nightly"].trigger["schedule"] == "0 0 2 * * *"
    assert host.failed_to_index["unset"] == "'%NO_SUCH_SETTING%' does not resolve to a value."
    assert "'now and then' was not recognized" in host.failed_to_index["unscheduled"]
    assert set(host.failed_to_index) == {"unset", "unscheduled"}


@pytest.mark.parametrize("good", ["0 */5 * * * *", "0 0 2 * * *", "30 1-5/2 0 1 JAN mon-fri", "* * * * *", "01:00:00"])
def test_schedules(good: str) -> None:
    check_schedule(good)


@pytest.mark.parametrize(
    "bad", ["", "daily", "0 60 * * * *", "* * * *", "0 0 2 * * * *", "*/0 * * * * *", "a-b * * * *"]
)
def test_schedules_that_are_none(bad: str) -> None:
    with pytest.raises(DoesNotIndex):
        check_schedule(bad)


def test_a_run_is_started_watched_and_purged_over_http(host: DurableHost) -> None:
    answer = host.keyed("POST", "/api/runs/fan", body=b"3")
    assert answer.status == 202
    links = answer.json()
    assert answer.headers["Location"] == links["statusQueryGetUri"]
    id_ = links["id"]
    host.wait(id_)
    status = host.http("GET", f"/api/runs/{id_}").json()
    assert (status["runtimeStatus"], status["output"], status["input"]) == ("Completed", {"total": 6}, "3")
    assert [each["EventType"] for each in status["history"]] == [
        "ExecutionStarted",
        *["TaskCompleted"] * 4,
        "ExecutionCompleted",
    ]
    assert host.keyed("GET", "/api/runs").json() == [id_]
    assert host.keyed("DELETE", f"/api/runs/{id_}/history").body == b"1"
    assert host.keyed("DELETE", f"/api/runs/{id_}/history").body == b"0"
    assert host.http("GET", f"/api/runs/{id_}").status == 404


def test_a_second_start_of_a_running_id_is_refused_in_the_extensions_words(host: DurableHost) -> None:
    assert host.keyed("POST", "/api/runs/approval/one").status == 202
    answer = host.keyed("POST", "/api/runs/approval/one")
    assert answer.status == 409
    assert answer.body.startswith(b"{'Message': 'An Orchestration instance with the status ")


def test_version_2_of_the_extension_refuses_with_the_exceptions_type(marks: Marks, tmp_path: Path) -> None:
    with DurableHost(SAMPLE, tmp_path / "hub", extension=2) as host:
        host.start("approval", instance_id="one")
        answer = host.keyed("POST", "/api/runs/approval/one")
        assert answer.status == 409
        assert b"DurableTask.Core.Exceptions.OrchestrationAlreadyExistsException" in answer.body
        unknown = host.keyed("POST", "/api/runs/nothing")
        assert (unknown.status, unknown.body[:31]) == (400, b"The function 'nothing' doesn't ")


def test_an_unknown_orchestrator_makes_a_run_that_fails(host: DurableHost) -> None:
    answer = host.keyed("POST", "/api/runs/nothing")
    assert answer.status == 202
    assert "The function 'nothing' doesn't exist" in host.wait(answer.json()["id"]).output


def test_events_and_termination_over_http(host: DurableHost) -> None:
    host.start("approval", instance_id="one")
    assert host.keyed("POST", "/api/runs/one/events/approved", body=b'"yes"').status == 202
    assert host.wait("one").output == '"yes"'  # the SDK's client sends JSON in JSON (its issue 295)
    late = host.keyed("POST", "/api/runs/one/events/approved", body=b'"yes"')
    assert (late.status, late.body) == (400, b"Instance with ID one is gone: either completed or failed")
    host.start("approval", instance_id="two")
    assert host.keyed("DELETE", "/api/runs/two").status == 202
    assert host.wait("two").runtime_status == "Terminated"


def test_a_run_can_be_watched_through_the_app_while_it_runs(host: DurableHost, marks: Marks) -> None:
    host.start("holding", ["a"], instance_id="one")

    def seen() -> bool:
        answer = host.http("GET", "/api/runs/one")
        return answer.status == 200 and answer.json()["runtimeStatus"] == "Running" and marks.began("a")

    host.wait_until(seen)
    marks.go("a")
    host.wait("one")


def test_keys(host: DurableHost) -> None:
    assert host.http("POST", "/api/runs/fan").status == 401
    assert host.http("POST", "/api/runs/fan", headers={"X-Functions-Key": "wrong"}).status == 401
    assert host.http("POST", f"/api/runs/fan?code={host.function_key}", body=b"1").status == 202
    assert host.http("POST", "/api/runs/fan", headers={"x-functions-key": host.master_key}, body=b"1").status == 202
    assert host.http("GET", "/api/runs/none").status == 404  # anonymous: the app's own answer
    host.settle()


def test_what_has_no_route_is_not_found(host: DurableHost) -> None:
    for method, path in (("GET", "/runs"), ("GET", "/api/"), ("PUT", "/api/runs/fan"), ("GET", "/api/runs/a/b/c")):
        assert host.keyed(method, path).status == 404


def test_a_function_that_raises_is_answered_with_an_empty_500(host: DurableHost) -> None:
    answer = host.http("GET", "/api/fails")
    assert (answer.status, answer.body) == (500, b"")
    assert host.failures[0][0] == "fails"
    assert "RuntimeError: an HTTP function that raises" in host.failures[0][1]


def test_a_body_that_is_too_long_reaches_no_function(host: DurableHost) -> None:
    assert host.keyed("POST", "/api/runs/fan", body=bytes(104_857_601)).status == 413
    assert host.failures == []


def test_timers_fire_on_time_and_late(host: DurableHost) -> None:
    host.timer("nightly")
    host.timer("nightly", past_due=True)
    host.settle()
    assert {each.id for each in host.instances()} == {"nightly", "late"}


def test_a_timer_whose_function_raises_is_told(host: DurableHost) -> None:
    host.start("approval", instance_id="nightly")
    with pytest.raises(WorkerRefused, match="already exists"):
        host.timer("nightly")


def test_the_app_and_its_management_urls_are_served_on_loopback(host: DurableHost) -> None:
    url = host.listening()
    answer = fetch("POST", f"{url}/api/runs/approval/one?code={host.function_key}", b"{}")
    assert answer.status == 202
    links = answer.json()
    assert links["statusQueryGetUri"].startswith(url)
    running = fetch("GET", links["statusQueryGetUri"])
    assert (running.status, running.json()["runtimeStatus"] in ("Pending", "Running")) == (202, True)
    post = links["sendEventPostUri"].replace("{eventName}", "approved")
    assert fetch("POST", post, b'"yes"').status == 400
    assert fetch("POST", post, b'"yes"', {"Content-Type": "application/json"}).status == 202
    host.wait("one")
    ended = fetch("GET", links["statusQueryGetUri"])
    assert (ended.status, ended.json()["output"]) == (200, "yes")
    assert fetch("POST", links["terminatePostUri"].replace("{text}", "late")).status == 410
    assert fetch("GET", links["statusQueryGetUri"].split("?")[0]).status == 401
    assert fetch("HEAD", f"{url}/api/runs").status == 404


def test_routes_prefer_what_is_said_literally() -> None:
    def function(name: str, route: str, *methods: str) -> FunctionFound:
        trigger = {"type": "httpTrigger", "name": "req", "route": route, "methods": list(methods)}
        return FunctionFound(name, name, [trigger])

    routes = Routes(
        {
            each.name: each
            for each in (
                function("rest", "{*path}"),
                function("one", "points/{id}", "GET"),
                function("newest", "points/newest", "GET"),
                function("all", "points", "GET"),
                function("part", "files/{name}.json"),
            )
        },
        "api",
    )

    def found(method: str, path: str) -> tuple[str, dict[str, str]] | None:
        match = routes.find(method, path)
        return None if match is None else (match[0].name, match[1])

    assert found("GET", "/api/points") == ("all", {})
    assert found("GET", "/API/Points/newest") == ("newest", {})
    assert found("GET", "/api/points/a%2Fb") == ("one", {"id": "a/b"})
    assert found("POST", "/api/points") == ("rest", {"path": "points"})
    assert found("GET", "/api/files/x.json") == ("part", {"name": "x"})
    assert found("GET", "/other") is None


def test_several_workers_are_processes(tmp_path: Path, marks: Marks) -> None:
    with pytest.raises(ValueError, match="processes"):
        DurableHost(SAMPLE, tmp_path / "hub", workers=2)


def test_a_replaceable_instance_is_replaced(tmp_path: Path, marks: Marks) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (app / "function_app.py").write_text((SAMPLE / "function_app.py").read_text())
    setting = {"extensions": {"durableTask": {"overridableExistingInstanceStates": "AnyState"}}}
    (app / "host.json").write_text(json.dumps(setting))
    with DurableHost(app, tmp_path / "hub") as host:
        host.start("approval", instance_id="one")
        host.start("fan", 1, instance_id="one")
        assert host.wait("one").output == {"total": 0}
