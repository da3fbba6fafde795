"""The app under Microsoft's own worker: it loads with no setting present, with its role's functions and no others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from functions.activities import STEPS
from tests.standins.azurite import REPOSITORY
from tests.standins.functions_worker import FunctionsWorker, WorkerRefused

RUNS = {"recovery_point", "backup", "log_backup", "dead_runs", *STEPS}
API = {
    "api_start_run",
    "api_show_run",
    "api_cancel_run",
    "api_list_points",
    "api_show_point",
    "api_show_runbook",
    "api_run_preflight",
    "api_put_secrets",
    "api_show_status",
    "api_show_openapi",
}
WATCH = {"watchdog", "verification", "drill"}
DASHBOARD = {"dashboard", "dashboard_runbook"}
FUNCTIONS_OF: dict[str, set[str]] = {
    "backup": RUNS | API | WATCH | DASHBOARD,
    "keeper": {"protect", "retention", "prune"},
}
"""What each role's app holds."""


def load_in_a_fresh_process(role: str | None) -> dict[str, Any]:
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment |= {"PYTHONPATH": str(REPOSITORY)} | ({"LIFEBOAT_ROLE": role} if role else {})
    command = [sys.executable, "-m", "tests.standins.functions_worker"]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(("role", "acts_as"), [(None, "backup"), ("backup", "backup"), ("keeper", "keeper")])
def test_the_app_loads_with_no_setting_present(role: str | None, acts_as: str) -> None:
    assert set(load_in_a_fresh_process(role)["functions"]) == FUNCTIONS_OF[acts_as]


def test_loading_does_not_pay_for_libraries_that_only_a_run_needs() -> None:
    heavy = {"azure.storage.blob", "azure.identity", "azure.keyvault.secrets", "smbprotocol", "pyodbc"}
    assert heavy.isdisjoint(load_in_a_fresh_process(None)["modules"])


def test_a_role_that_is_none_keeps_the_app_from_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIFEBOAT_ROLE", "admin")
    with pytest.raises(WorkerRefused, match="LIFEBOAT_ROLE is 'admin'"), FunctionsWorker(REPOSITORY):
        pass


def test_nothing_in_shared_knows_the_host() -> None:
    offenders = [
        path
        for path in (REPOSITORY / "shared").rglob("*.py")
        if "azure.functions" in path.read_text() or "azure.durable_functions" in path.read_text()
    ]
    assert offenders == []


SAMPLE = """
import azure.functions as func

app = func.FunctionApp()
fired = []


@app.timer_trigger("timer", schedule="0 0 2 * * *")
def nightly(timer: func.TimerRequest) -> None:
    if timer.past_due:
        raise RuntimeError("too late")


@app.route("hello/{name}", methods=["POST"], auth_level=func.AuthLevel.FUNCTION)
async def hello(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(
        f"{req.method} {req.route_params['name']} {req.params['q']} {req.headers['x-a']} {req.get_body().decode()}",
        status_code=202,
        headers={"Location": "/there"},
    )
"""


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    (tmp_path / "function_app.py").write_text(SAMPLE)
    return tmp_path


def test_the_worker_runs_triggers_for_real(sample: Path) -> None:
    with FunctionsWorker(sample) as worker:
        assert set(worker.functions) == {"nightly", "hello"}
        assert worker.functions["nightly"].trigger["schedule"] == "0 0 2 * * *"
        worker.timer("nightly")
        with pytest.raises(WorkerRefused, match="too late"):
            worker.timer("nightly", past_due=True)
        answer = worker.http(
            "hello",
            "POST",
            "/api/hello/you?q=1",
            body=b"body",
            params={"name": "you"},
            query={"q": "1"},
            headers={"x-a": "b"},
        )
    assert (answer.status, answer.headers["Location"]) == (202, "/there")
    assert answer.body == b"POST you 1 b body"


def test_the_worker_refuses_an_app_that_does_not_load(tmp_path: Path) -> None:
    (tmp_path / "function_app.py").write_text("import no_such_module\n")
    with pytest.raises(WorkerRefused, match="no_such_module"), FunctionsWorker(tmp_path):
        pass
