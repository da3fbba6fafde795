"""The HTTP API in an app of its own, under Microsoft's own worker and the stand-in for the Durable host."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from functions.problems import PREFIX, PROBLEM_JSON
from shared.recovery_point.backup import Backup
from shared.recovery_point.scope import BackupRequest
from shared.settings import Settings
from tests.conftest import Vault
from tests.standins.azurite import REPOSITORY
from tests.standins.certificate import Certificate
from tests.standins.durable import DurableHost
from tests.standins.functions_worker import HttpAnswer
from tests.standins.identity_endpoint import running_identity_endpoint
from tests.standins.keyvault import KeyVaultStandin, running_key_vault

Json = dict[str, Any]

APP = """
import azure.durable_functions as df
import azure.functions as func

from functions import api

app = func.FunctionApp()
app.register_functions(api.blueprint())
runs = df.Blueprint()


@runs.orchestration_trigger(context_name="context", orchestration="recovery_point")
def recovery_point(context):
    context.set_custom_status({"progress": {"done": 1, "total": 3, "text": "reading"}, "reasons": []})
    yield context.wait_for_external_event("end")


app.register_functions(runs)
"""
"""The API, with runs that do nothing and end when they are told to: real ones are the business of other tests."""
CANARY = "canary-7Hq2-never-to-be-seen"
SECRETS = json.dumps({"WebServerPassword": CANARY, "build": "102.20.2.2"}).encode()
NO_RUN, NO_POINT = "0123456789abcdef", "20200101T000000Z-abcdef"


@dataclass
class Api:
    """Calls the API with the function key; whatever is answered keeps the rules that hold for all answers."""

    host: DurableHost
    settings: pytest.MonkeyPatch

    def __call__(
        self, method: str, path: str, body: bytes | Json | None = None, headers: Mapping[str, str] | None = None
    ) -> HttpAnswer:
        given = dict(headers or {})
        if isinstance(body, dict):
            body = json.dumps(body).encode()
            given.setdefault("Content-Type", "application/json")
        answer = self.host.keyed(method, f"/api/{path}", body=body or b"", headers=given)
        assert self.host.failures == [], "an error is an answer, never a failure of the function"
        assert header(answer, "Cache-Control") == "no-store"
        assert header(answer, "X-Content-Type-Options") == "nosniff"
        assert CANARY.encode() not in answer.body
        assert b"Traceback" not in answer.body
        if answer.status >= 400:
            self._is_a_problem(answer)
        return answer

    def start(self, asked: Json | None = None, headers: Mapping[str, str] | None = None) -> str:
        answer = self("POST", "recovery-points", asked, headers)
        assert answer.status == 202, answer.body
        run: str = answer.json()["run"]
        return run

    def order(self, instance: str = "recovery-point") -> Json:
        """What the orchestration of the newest run was given."""
        status = self.host.status(instance)
        assert status is not None
        order: Json = status.input
        return order

    def end(self) -> None:
        self.host.raise_event("recovery-point", "end")
        self.host.wait("recovery-point")

    def back_up(self) -> str:
        """A recovery point, made by the command line. Its id."""
        point: str = Backup(Settings.from_environment(), BackupRequest()).run().point
        return point

    @staticmethod
    def _is_a_problem(answer: HttpAnswer) -> None:
        document = answer.json()
        assert header(answer, "Content-Type") == PROBLEM_JSON
        assert {"type", "title", "status", "detail", "remedy"} <= document.keys()
        assert document["type"].startswith(PREFIX)
        assert document["status"] == answer.status
        assert document["detail"]
        assert document["remedy"]


def header(answer: HttpAnswer, name: str) -> str | None:
    return next((value for key, value in answer.headers.items() if key.lower() == name.lower()), None)


def code(answer: HttpAnswer) -> str:
    kind: str = answer.json()["type"]
    return kind.removeprefix(PREFIX)


def app_in(folder: Path) -> Path:
    folder.mkdir()
    (folder / "function_app.py").write_text(APP)
    shutil.copy(REPOSITORY / "host.json", folder)
    return folder


@pytest.fixture
def api(vault: Vault, clean_environment: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Api]:
    """A share of three files in a vault behind the backup app's rights; no database, no Key Vault."""
    share = tmp_path / "WebSites"
    share.mkdir()
    for name in ("a.txt", "b.txt", "c.txt"):
        (share / name).write_text(f"content of {name}")
    for name, value in vault.environment().items():
        clean_environment.setenv(name, value)
    clean_environment.setenv("LIFEBOAT_REPOSITORY_PASSWORD", CANARY)
    clean_environment.setenv("LIFEBOAT_SHARE_URL", share.as_uri())
    clean_environment.delenv("WEBSITE_AUTH_ENABLED", raising=False)
    with DurableHost(app_in(tmp_path / "app"), tmp_path / "hub") as host:
        yield Api(host, clean_environment)


@pytest.fixture
def key_vault(api: Api, certificate: Certificate) -> Iterator[KeyVaultStandin]:
    for name, value in certificate.environment().items():
        api.settings.setenv(name, value)
    with running_key_vault(certificate) as running, running_identity_endpoint() as identity:
        for name, value in identity.environment().items():
            api.settings.setenv(name, value)
        api.settings.setenv("LIFEBOAT_KEY_VAULT_URL", running.url)
        yield running
