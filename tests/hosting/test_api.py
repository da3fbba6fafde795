"""The HTTP API under Microsoft's own worker and the stand-in for the Durable host: every route, every answer of the
contract, and what is refused."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping

import pytest

from functions.api import MOST_JSON_BYTES, MOST_SECRETS_BYTES, ROUTES, preferred
from functions.problems import Problem, problem_of
from shared import errors
from shared.recovery_point.listing import list_points, show_point
from shared.settings import Settings
from tests.conftest import Vault, new_vault
from tests.hosting.api_app import (
    CANARY,
    NO_POINT,
    NO_RUN,
    SECRETS,
    Api,
    Json,
    api,
    code,
    header,
    key_vault,
)
from tests.standins.azurite import REPOSITORY, Azurite
from tests.standins.keyvault import KeyVaultStandin

__all__ = ["api", "key_vault"]

# --- runs ---


def test_a_run_is_answered_at_once_with_where_to_watch_it(api: Api) -> None:
    started = api("POST", "recovery-points")
    run = started.json()["run"]
    assert (started.status, started.json()) == (202, {"run": run, "status": "running"})
    assert header(started, "Location") == f"/api/runs/{run}"

    watched = api("GET", f"runs/{run}")
    assert watched.status == 200
    state = watched.json()
    assert {"run", "status", "point", "progress", "started", "finished", "reasons"} <= state.keys()
    assert (state["run"], state["status"], state["finished"], state["reasons"]) == (run, "running", None, [])


def test_while_a_run_goes_on_another_is_refused_and_shown_the_way_to_it(api: Api) -> None:
    run = api.start()
    refused = api("POST", "recovery-points", {"only": ["share"]})
    assert (refused.status, code(refused), refused.json()["run"]) == (409, "already-running", run)
    assert header(refused, "Location") == f"/api/runs/{run}"
    api.end()
    assert api.start() != run


@pytest.mark.parametrize(
    ("asked", "ordered"),
    [
        (None, {"only": [], "logs": False, "allow_shrink": False}),
        ({}, {"only": [], "logs": False, "allow_shrink": False}),
        ({"only": ["share"], "allow_shrink": True}, {"only": ["share"], "logs": False, "allow_shrink": True}),
    ],
)
def test_what_is_asked_reaches_the_run(api: Api, asked: Json | None, ordered: Json) -> None:
    run = api.start(asked)
    assert (api.order()["run"], api.order()["request"]) == (run, ordered)


def test_a_run_is_cancelled_once_and_not_after_its_end(api: Api) -> None:
    run = api.start()
    answer = api("DELETE", f"runs/{run}")
    assert (answer.status, answer.json()) == (202, {"run": run, "status": "cancelling"})
    assert header(answer, "Location") == f"/api/runs/{run}"
    assert api("DELETE", f"runs/{run}").status == 202, "asking again does no harm"
    api.end()
    assert api("GET", f"runs/{run}").json()["finished"]
    refused = api("DELETE", f"runs/{run}")
    assert (refused.status, code(refused)) == (409, "run-ended")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("run", [NO_RUN, "no-id", "..%2F..%2Fpoints", "%F0%9F%9B%9F" * 40])
def test_a_run_that_nobody_started_is_not_found(api: Api, method: str, run: str) -> None:
    answer = api(method, f"runs/{run}")
    assert (answer.status, code(answer)) == (404, "unknown-run")
    assert len(answer.json()["detail"]) < 100


FORGED = {"X-MS-CLIENT-PRINCIPAL-NAME": "ann@example.org"}


@pytest.mark.parametrize(
    ("easy_auth", "headers", "caller"),
    [
        ("True", FORGED, "ann@example.org"),
        ("True", {"X-MS-CLIENT-PRINCIPAL-NAME": "ann\x1b[2J\u200bx" + "y" * 500}, "ann[2Jx" + "y" * 193),
        ("True", {}, None),
        ("False", FORGED, None),
        (None, FORGED, None),
    ],
)
def test_who_called_is_recorded_where_easy_auth_vouches_for_it(
    api: Api, easy_auth: str | None, headers: Mapping[str, str], caller: str | None
) -> None:
    if easy_auth is not None:
        api.settings.setenv("WEBSITE_AUTH_ENABLED", easy_auth)
    api.start(headers=headers)
    assert api.order()["caller"] == caller


# --- what is sent ---


@pytest.mark.parametrize(
    ("body", "expected", "told"),
    [
        (b"{", "malformed-json", "JSON"),
        (b"only=share", "malformed-json", "JSON"),
        (b"\xff\xfe{\x00}\x00", "malformed-json", "UTF-8"),
        (b'{"only": ["sh', "malformed-json", "JSON"),
        (b"[" * 8000, "malformed-json", "JSON"),
        (b"null", "wrong-fields", "object"),
        (b"[]", "wrong-fields", "object"),
        (b'"share"', "wrong-fields", "object"),
        (b'{"only": "share"}', "wrong-fields", "#/only"),
        (
            b'{"only": ["share", "canary-7Hq2-never-to-be-seen"]}',
            "wrong-fields",
            "components are databases, share, secrets",
        ),
        (b'{"only": ["Share"]}', "wrong-fields", "#/only/0"),
        (b'{"only": [1]}', "wrong-fields", "#/only/0"),
        (b'{"only": ["share", "share", "share", "share"]}', "wrong-fields", "#/only"),
        (b'{"logs": "true"}', "wrong-fields", "#/logs"),
        (b'{"logs": 1}', "wrong-fields", "#/logs"),
        (b'{"allow_shrink": null}', "wrong-fields", "#/allow_shrink"),
        (b'{"allow-shrink": true}', "wrong-fields", "#/allow-shrink: there is no such field; fields are only, logs"),
        (b'{"without": ["databases"]}', "wrong-fields", "#/without: there is no such field"),
        (b'{"a/b~c\\n": 1}', "wrong-fields", "#/a~1b~0c"),
        (b'{"logs": true, "only": ["share"]}', "wrong-usage", "databases only"),
    ],
)
def test_a_body_that_makes_no_sense_is_refused_and_what_is_wrong_named(
    api: Api, body: bytes, expected: str, told: str
) -> None:
    answer = api("POST", "recovery-points", body, {"Content-Type": "application/json; charset=utf-8"})
    assert (answer.status, code(answer)) == (400, expected)
    assert told in answer.json()["detail"]
    assert api.host.status("recovery-point") is None, "nothing was started"


def test_many_wrong_fields_are_told_of_in_a_few_lines(api: Api) -> None:
    answer = api("POST", "recovery-points", {f"field{number}" + "x" * 200: 1 for number in range(70)})
    assert answer.status == 400
    assert len(answer.json()["errors"]) == 10
    assert len(answer.body) < 4000


def test_a_component_that_is_not_configured_is_the_clients_mistake(api: Api) -> None:
    answer = api("POST", "recovery-points", {"only": ["databases"]})
    assert (answer.status, code(answer)) == (400, "not-configured")
    assert answer.json()["setting"] == "LIFEBOAT_SQL_SERVER"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_a_body_of_another_kind_is_refused(api: Api, kind: str) -> None:
    answer = api("POST", "recovery-points", b"{}", {"Content-Type": kind})
    assert (answer.status, code(answer)) == (415, "unsupported-media-type")
    assert header(answer, "Accept") == "application/json"


@pytest.mark.parametrize(
    ("method", "path", "limit_bytes"),
    [("POST", "recovery-points", MOST_JSON_BYTES), ("PUT", "secrets", MOST_SECRETS_BYTES)],
)
@pytest.mark.parametrize("kind", ["one byte more", "announced", "100 MB"])
def test_a_body_that_is_too_large_is_refused(api: Api, method: str, path: str, limit_bytes: int, kind: str) -> None:
    padded = b"{" + b" " * (limit_bytes - 1) + b"}"
    body = {"one byte more": padded, "announced": b"{}", "100 MB": b" " * 100_000_000}[kind]
    headers = {"Content-Length": "104857600"} if kind == "announced" else {}
    answer = api(method, path, body, {"Content-Type": "application/json", **headers})
    assert (answer.status, code(answer)) == (413, "too-large")
    assert f"{limit_bytes:,}" in answer.json()["detail"]


def test_a_body_as_large_as_may_be_is_taken(api: Api) -> None:
    api.start(None)
    answer = api(
        "POST", "recovery-points", b"{" + b" " * (MOST_JSON_BYTES - 2) + b"}", {"Content-Type": "application/json"}
    )
    assert answer.status == 409, "it was read, and a run goes on"


# --- recovery points ---


def test_points_are_listed_and_shown_as_on_the_command_line(api: Api) -> None:
    assert api("GET", "recovery-points").json() == {"status": "ok", "reasons": [], "points": []}
    point = api.back_up()
    answer = api("GET", "recovery-points")
    assert (answer.status, answer.json()) == (200, list_points(Settings.from_environment()))
    assert [each["point"] for each in answer.json()["points"]] == [point]
    shown = api("GET", f"recovery-points/{point}")
    assert (shown.status, shown.json()) == (200, show_point(Settings.from_environment(), point))


def test_a_damaged_record_is_listed_as_such_and_named_when_it_is_asked_for(api: Api, vault: Vault) -> None:
    point = api.back_up()
    with vault.judge("recovery-points") as records:
        records.put(f"points/{NO_POINT}.json", b"{")
    answer = api("GET", "recovery-points")
    assert (answer.status, answer.json()["status"]) == (200, "partial")
    assert [(each["point"], each["status"]) for each in answer.json()["points"]] == [
        (point, "complete"),
        (NO_POINT, "damaged"),
    ]
    shown = api("GET", f"recovery-points/{NO_POINT}")
    assert (shown.status, code(shown), shown.json()["object"]) == (500, "damaged", f"points/{NO_POINT}.json")


@pytest.mark.parametrize("rest", ["", "/runbook"])
@pytest.mark.parametrize("point", [NO_POINT, "latest", "..%2Fruns%2Fx", "%00", "x" * 2000])
def test_a_point_that_is_not_there_is_not_found(api: Api, point: str, rest: str) -> None:
    answer = api("GET", f"recovery-points/{point}{rest}")
    assert (answer.status, code(answer)) == (404, "unknown-point")
    assert "'points'" not in answer.json()["remedy"], "the way out is one of the API's"
    assert len(answer.body) < 1000


@pytest.mark.parametrize(
    ("accept", "form"),
    [(None, "text/markdown"), ("*/*", "text/markdown"), ("text/html,application/xml;q=0.9,*/*;q=0.8", "text/html")],
)
def test_the_runbook_comes_in_the_form_that_is_liked_best(api: Api, accept: str | None, form: str) -> None:
    point = api.back_up()
    answer = api("GET", f"recovery-points/{point}/runbook", headers={"Accept": accept} if accept else {})
    assert (answer.status, header(answer, "Content-Type")) == (200, f"{form}; charset=utf-8")
    assert header(answer, "Vary") == "Accept"
    text = answer.body.decode()
    assert text.startswith("# Recovery" if form == "text/markdown" else "<!doctype html>")
    assert point in text


def test_a_runbook_in_a_form_that_there_is_none_of_is_refused(api: Api) -> None:
    answer = api("GET", f"recovery-points/{NO_POINT}/runbook", headers={"Accept": "application/pdf"})
    assert (answer.status, code(answer)) == (406, "not-acceptable")


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", "text/markdown"),
        ("nonsense", "text/markdown"),
        ("text/*", "text/markdown"),
        ("TEXT/HTML", "text/html"),
        ("text/html;q=0.5, text/markdown;q=0.4", "text/html"),
        ("text/html;level=1;q=0.9, */*;q=0.1", "text/html"),
        ("text/markdown;q=0, */*", "text/html"),
        ("text/*;q=0, */*", None),
        ("text/html;q=2", "text/markdown"),
        ("application/json", None),
        ("text/html;q=0", None),
    ],
)
def test_accept_is_read_as_rfc_9110_has_it(accept: str, form: str | None) -> None:
    assert preferred(accept, ("text/markdown", "text/html")) == form


# --- secrets ---


def test_an_upload_is_kept_and_the_same_bytes_again_refresh_their_age(api: Api, key_vault: KeyVaultStandin) -> None:
    first = api("PUT", "secrets", SECRETS)
    assert first.status == 201
    assert first.json()["name"] == "system-secrets"
    assert first.json()["sha256"] == hashlib.sha256(SECRETS).hexdigest()
    again = api("PUT", "secrets", SECRETS, {"Content-Type": "application/octet-stream"})
    assert (again.status, again.json()["version"]) == (200, first.json()["version"])
    other = api("PUT", "secrets", SECRETS + b" ")
    assert (other.status, other.json()["version"] != first.json()["version"]) == (201, True)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a": "canary-7Hq2-never-to-be-seen"', b"<!DOCTYPE html>", b"{}"])
def test_what_cannot_be_system_secrets_is_refused(api: Api, key_vault: KeyVaultStandin, content: bytes) -> None:
    answer = api("PUT", "secrets", content)
    assert (answer.status, code(answer)) == (400, "not-secrets")
    assert key_vault.secrets == {}


def test_a_form_is_refused_for_it_may_have_changed_the_bytes(api: Api) -> None:
    answer = api("PUT", "secrets", SECRETS, {"Content-Type": "application/x-www-form-urlencoded"})
    assert (answer.status, code(answer)) == (415, "unsupported-media-type")
    assert "curl -T" in answer.json()["remedy"]


# --- what is missing or broken here ---


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "recovery-points"),
        ("GET", f"runs/{NO_RUN}"),
        ("DELETE", f"runs/{NO_RUN}"),
        ("GET", "recovery-points"),
        ("GET", f"recovery-points/{NO_POINT}"),
        ("GET", f"recovery-points/{NO_POINT}/runbook"),
    ],
)
def test_a_setting_that_is_missing_is_named_by_the_calls_that_need_it(api: Api, method: str, path: str) -> None:
    api.settings.delenv("LIFEBOAT_VAULT_URL")
    answer = api(method, path)
    assert (answer.status, code(answer), answer.json()["setting"]) == (500, "wrong-setting", "LIFEBOAT_VAULT_URL")


def test_without_any_setting_the_status_names_what_is_missing_and_the_description_is_there(api: Api) -> None:
    for name in ("LIFEBOAT_VAULT_URL", "LIFEBOAT_VAULT_KEY", "LIFEBOAT_SHARE_URL"):
        api.settings.delenv(name)
    status = api("GET", "status")
    assert (status.status, status.json()["status"]) == (200, "late")
    assert status.json()["reasons"][0]["setting"] == "LIFEBOAT_VAULT_URL"
    assert api("GET", "openapi.json").status == 200
    upload = api("PUT", "secrets", SECRETS)
    assert (upload.status, upload.json()["setting"]) == (500, "LIFEBOAT_KEY_VAULT_URL")


def test_a_container_that_is_missing_is_told_of_with_the_setting(api: Api, azurite: Azurite) -> None:
    with new_vault(azurite, containers=()) as empty:
        api.settings.setenv("LIFEBOAT_VAULT_URL", empty.url)
        answer = api("GET", "recovery-points")
    assert (answer.status, code(answer), answer.json()["setting"]) == (500, "no-container", "LIFEBOAT_VAULT_URL")


def test_a_vault_that_does_not_answer_may_be_asked_again(api: Api) -> None:
    def throttled(*_: object) -> None:
        raise errors.StorageUnavailable("the vault does not answer", remedy="Wait.", retry_after_seconds=12)

    api.settings.setattr("shared.recovery_point.listing.list_points", throttled)
    answer = api("GET", "recovery-points")
    assert (answer.status, code(answer), header(answer, "Retry-After")) == (503, "storage-unavailable", "12")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.UsageError("x", remedy="y"), 400),
        (errors.SettingsError("x", remedy="y", setting="LIFEBOAT_A"), 500),
        (errors.SecretsFileError("x", remedy="y"), 400),
        (errors.StorageUnavailable("x", remedy="y"), 503),
        (errors.RepositoryLocked("x", remedy="y"), 503),
        (errors.StorageForbidden("x", remedy="y"), 500),
        (errors.ContainerMissing("x", remedy="y"), 500),
        (errors.StorageError("x", remedy="y"), 502),
        (errors.SourceLoginRefused("x", remedy="y"), 502),
        (errors.Damaged("x", remedy="y"), 500),
        (ValueError(CANARY), 500),
    ],
)
def test_each_error_has_a_status_that_tells_who_has_to_act(error: Exception, status: int) -> None:
    problem = problem_of(error, where="GET /api/x")
    assert problem.status == status
    assert ("Retry-After" in problem.headers) == (status == 503)
    assert CANARY not in json.dumps(problem.document())
    assert problem.document()["remedy"]


def test_retry_after_is_what_the_service_asked_for() -> None:
    problem = problem_of(errors.StorageUnavailable("x", remedy="y", retry_after_seconds=7.2), where="x")
    assert problem.headers["Retry-After"] == "7"


def test_no_signature_of_a_sas_gets_into_a_problem() -> None:
    text = f"https://v.blob.core.windows.net/c/b?sv=2025&sig={CANARY} was refused"
    assert CANARY not in json.dumps(problem_of(errors.StorageError(text, remedy="y"), where="x").document())


def test_an_unexpected_error_is_a_problem_and_its_trace_stays_in_the_log(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    def explode(*_: object) -> None:
        raise ZeroDivisionError(f"password={CANARY}")

    api.settings.setattr("shared.recovery_point.listing.list_points", explode)
    answer = api("GET", "recovery-points")
    assert (answer.status, code(answer)) == (500, "unexpected")
    assert "ZeroDivisionError" in answer.json()["detail"]
    assert "GET /api/recovery-points: unexpected" in caplog.text
    assert "in explode" in caplog.text
    assert CANARY not in caplog.text


def test_a_problem_that_is_raised_is_its_own_answer() -> None:
    raised = Problem("unknown-run", "x", remedy="y")
    assert problem_of(raised, where="x") is raised


# --- the door ---


def test_without_a_function_key_nobody_is_let_in(api: Api) -> None:
    for route in ROUTES:
        path = f"/api/{route.path.format(run=NO_RUN, point=NO_POINT)}"
        assert api.host.http(route.method, path).status == 401
        assert api.host.http(route.method, path, headers={"x-functions-key": "wrong"}).status == 401
        assert api.host.functions[route.function].trigger["authLevel"] == "FUNCTION"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("HEAD", "status"),
        ("PATCH", "secrets"),
        ("GET", "secrets"),
        ("DELETE", "recovery-points"),
        ("GET", "preflight"),
    ],
)
def test_other_methods_are_the_hosts_404(api: Api, method: str, path: str) -> None:
    assert api.host.keyed(method, f"/api/{path}").status == 404


def test_while_the_app_is_indexed_nothing_heavy_is_imported() -> None:
    heavy = ("pydantic", "azure.storage", "azure.identity", "azure.keyvault", "pyodbc", "smbprotocol", "cryptography")
    program = f"""
import sys
import functions.api
functions.api.blueprint()
print([name for name in {heavy!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- preflight ---


def test_preflight_answers_200_with_the_object_whatever_it_finds(api: Api) -> None:
    api.settings.setenv("LIFEBOAT_SHARE_URL", "smb://nosuch.invalid:4445/WebSites")
    api.settings.setenv("LIFEBOAT_SHARE_USERNAME", "someone")
    api.settings.setenv("LIFEBOAT_SHARE_PASSWORD", CANARY)
    answer = api("POST", "preflight", {"only": ["share"]})
    assert answer.status == 200
    found = answer.json()
    assert found["status"] == "failed"
    assert (found["checks"][0]["name"], found["checks"][0]["result"]) == ("name", "fail")
    assert found["reasons"][0]["setting"] == "LIFEBOAT_SHARE_URL"


@pytest.mark.parametrize("body", [{"only": ["shares"]}, {"logs": True}])
def test_preflight_names_a_field_that_is_wrong(api: Api, body: Json) -> None:
    answer = api("POST", "preflight", body)
    assert (answer.status, code(answer)) == (400, "wrong-fields")


def test_preflight_of_what_is_not_configured_is_no_fault_of_the_app(api: Api) -> None:
    answer = api("POST", "preflight", {"only": ["databases"]})
    assert (answer.status, code(answer)) == (400, "not-configured")
