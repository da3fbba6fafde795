"""The dashboard in an app of its own, under Microsoft's own worker: who gets it, and what it shows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import lifeboat
from shared.recovery_point.backup import Backup
from shared.recovery_point.scope import BackupRequest
from shared.settings import Settings
from tests.conftest import Vault
from tests.hosting.test_dashboard_page import Chromium, chromium
from tests.standins.azurite import REPOSITORY
from tests.standins.durable import DurableHost
from tests.standins.functions_worker import HttpAnswer

__all__ = ["chromium"]

APP = """
import azure.functions as func

from functions import dashboard

app = func.FunctionApp()
app.register_functions(dashboard.blueprint())
"""
DASHBOARD = "/api/dashboard"
SIGNED_IN = {"X-MS-CLIENT-PRINCIPAL-ID": "7f1e", "X-MS-CLIENT-PRINCIPAL-NAME": "ann@example.org"}
NO_POINT = "20200101T000000Z-abcdef"
CANARY = "canary-7Hq2-never-to-be-seen"


@dataclass
class Pages:
    host: DurableHost
    settings: pytest.MonkeyPatch

    def __call__(self, path: str = DASHBOARD, headers: Mapping[str, str] | None = None) -> HttpAnswer:
        """Asked without any key; whatever is answered keeps the rules that hold for all answers."""
        answer = self.host.http("GET", path, headers=headers or {})
        assert self.host.failures == []
        lower = {name.lower(): value for name, value in answer.headers.items()}
        assert lower["cache-control"] == "no-store"
        assert lower["x-content-type-options"] == "nosniff"
        assert lower["referrer-policy"] == "no-referrer"
        assert lower["x-frame-options"] == "DENY"
        assert "default-src 'none'" in lower["content-security-policy"]
        assert "frame-ancestors 'none'" in lower["content-security-policy"]
        assert "unsafe" not in lower["content-security-policy"]
        assert CANARY.encode() not in answer.body
        assert b"Traceback" not in answer.body
        assert self.host.function_key.encode() not in answer.body
        return answer

    def signed_in(self, path: str = DASHBOARD) -> HttpAnswer:
        self.settings.setenv("WEBSITE_AUTH_ENABLED", "True")
        return self(path, SIGNED_IN)


def runbook(point: str) -> str:
    return f"{DASHBOARD}/recovery-points/{point}/runbook"


def header(answer: HttpAnswer, name: str) -> str | None:
    return next((value for key, value in answer.headers.items() if key.lower() == name.lower()), None)


def back_up() -> str:
    point: str = Backup(Settings.from_environment(), BackupRequest()).run().point
    return point


@pytest.fixture
def pages(vault: Vault, clean_environment: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Pages]:
    """An app with a share of one file, and a vault."""
    share = tmp_path / "WebSites"
    share.mkdir()
    (share / "a.txt").write_text("content")
    for name, value in vault.environment().items():
        clean_environment.setenv(name, value)
    clean_environment.setenv("LIFEBOAT_REPOSITORY_PASSWORD", CANARY)
    clean_environment.setenv("LIFEBOAT_SHARE_URL", share.as_uri())
    clean_environment.delenv("WEBSITE_AUTH_ENABLED", raising=False)
    app = tmp_path / "app"
    app.mkdir()
    (app / "function_app.py").write_text(APP)
    shutil.copy(REPOSITORY / "host.json", app)
    with DurableHost(app, tmp_path / "hub") as host:
        yield Pages(host, clean_environment)


# --- who gets it ---


def test_the_pages_are_anonymous_for_the_host_and_for_get_only(pages: Pages) -> None:
    found = {name: function.trigger for name, function in pages.host.functions.items()}
    assert set(found) == {"dashboard", "dashboard_runbook"}
    for trigger in found.values():
        assert (str(trigger["authLevel"]).upper(), trigger["methods"]) == ("ANONYMOUS", ["GET"])


@pytest.mark.parametrize("easy_auth", [None, "", "False", "0", "yes"])
@pytest.mark.parametrize("path", [DASHBOARD, runbook(NO_POINT)])
@pytest.mark.parametrize("headers", [{}, SIGNED_IN])
def test_without_easy_auth_nobody_is_believed(
    pages: Pages, easy_auth: str | None, path: str, headers: Mapping[str, str]
) -> None:
    if easy_auth is not None:
        pages.settings.setenv("WEBSITE_AUTH_ENABLED", easy_auth)
    answer = pages(path, headers)
    assert answer.status == 403
    assert header(answer, "Content-Type") == "application/problem+json"
    assert "Easy Auth" in answer.json()["detail"]
    assert answer.json()["remedy"]


@pytest.mark.parametrize("easy_auth", ["true", "True", "TRUE"])
@pytest.mark.parametrize("headers", [{}, {"X-MS-CLIENT-PRINCIPAL-NAME": "  "}, {"X-MS-CLIENT-PRINCIPAL-IDP": "aad"}])
@pytest.mark.parametrize(
    ("path", "back"),
    [
        (DASHBOARD, "%2Fapi%2Fdashboard"),
        (f"{DASHBOARD}?code=x&post_login_redirect_uri=https://evil.example", "%2Fapi%2Fdashboard"),
        (runbook(NO_POINT), f"%2Fapi%2Fdashboard%2Frecovery-points%2F{NO_POINT}%2Frunbook"),
        (runbook("%2F%2Fevil.example"), "%2Fapi%2Fdashboard"),
        (runbook("x%0D%0ASet-Cookie:a"), "%2Fapi%2Fdashboard"),
    ],
)
def test_who_has_not_signed_in_is_sent_to_do_so_and_back_to_this_very_page(
    pages: Pages, easy_auth: str, headers: Mapping[str, str], path: str, back: str
) -> None:
    pages.settings.setenv("WEBSITE_AUTH_ENABLED", easy_auth)
    answer = pages(path, {"Host": "evil.example", "X-Forwarded-Host": "evil.example", **headers})
    assert answer.status == 302
    assert header(answer, "Location") == f"/.auth/login/aad?post_login_redirect_uri={back}"
    assert answer.body == b""


def test_any_header_of_a_principal_tells_that_somebody_has_signed_in(pages: Pages) -> None:
    pages.settings.setenv("WEBSITE_AUTH_ENABLED", "true")
    for name in ("X-MS-CLIENT-PRINCIPAL-ID", "X-MS-CLIENT-PRINCIPAL-NAME", "X-MS-CLIENT-PRINCIPAL"):
        assert pages(headers={name: "x"}).status == 200


# --- what it shows ---


def test_the_page_shows_a_point_and_leads_to_its_runbook(pages: Pages) -> None:
    assert "✘ never backed up" in pages.signed_in().body.decode()
    point = back_up()
    answer = pages.signed_in()
    assert answer.status == 200
    assert header(answer, "Content-Type") == "text/html; charset=utf-8"
    text = answer.body.decode()
    assert "<title>Lifeboat: ok</title>" in text
    assert f'href="{runbook(point)}"' in text

    made = pages.signed_in(runbook(point))
    assert (made.status, header(made, "Content-Type")) == (200, "text/html; charset=utf-8")
    assert f"Recovery of App Service from {point}" in made.body.decode()


@pytest.mark.parametrize("point", [NO_POINT, "no-id", "..%2F..%2Fsecrets", "%3Cscript%3E"])
def test_a_point_that_is_not_there_is_told_on_a_page(pages: Pages, point: str) -> None:
    answer = pages.signed_in(runbook(point))
    assert (answer.status, header(answer, "Content-Type")) == (404, "text/html; charset=utf-8")
    assert "There is no such recovery point" in answer.body.decode()
    assert "<script" not in answer.body.decode()


def test_without_a_vault_the_page_says_what_is_wrong_and_the_runbook_too(pages: Pages) -> None:
    pages.settings.delenv("LIFEBOAT_VAULT_URL")
    answer = pages.signed_in()
    assert answer.status == 200
    assert "LIFEBOAT_VAULT_URL is not set" in answer.body.decode()
    answer = pages.signed_in(runbook(NO_POINT))
    assert answer.status == 500
    assert "LIFEBOAT_VAULT_URL is not set" in answer.body.decode()


def test_a_vault_without_containers_is_told(pages: Pages, vault: Vault) -> None:
    pages.settings.setenv("LIFEBOAT_VAULT_URL", vault.proxy.url("nobody"))
    answer = pages.signed_in()
    assert answer.status == 200
    assert "What is wrong, and what to do" in answer.body.decode()


def test_a_damaged_record_does_not_keep_the_others_from_the_page(pages: Pages, vault: Vault) -> None:
    point = back_up()
    with vault.judge("recovery-points") as records:
        records.put(f"points/{NO_POINT}.json", b"{")
    text = pages.signed_in().body.decode()
    assert runbook(point) in text
    assert NO_POINT in text
    assert runbook(NO_POINT) not in text


def test_in_a_browser_the_page_leads_to_the_runbook_and_nowhere_else(pages: Pages, chromium: Chromium) -> None:
    point = back_up()
    pages.settings.setenv("WEBSITE_AUTH_ENABLED", "true")
    for path, title in ((DASHBOARD, "Lifeboat: ok"), (runbook(point), f"Recovery of App Service from {point}")):
        url = pages.host.url + path
        chromium.open(url, "phone", headers=dict(SIGNED_IN))
        assert chromium.ask("document.title") == title
        assert [each for each in chromium.asked_for() if not each.startswith(pages.host.url)] == []
        assert chromium.complaints() == [], "the header's policy and the page's own agree"
        assert chromium.ask("document.documentElement.scrollWidth") <= 390
        assert chromium.ask("getComputedStyle(document.querySelector('main')).maxWidth") == "864px"


# --- the same page as a file ---


def test_status_writes_the_page_to_a_file_and_answers_as_without(
    pages: Pages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    point = back_up()
    file = tmp_path / "status.html"
    file.write_text("old")
    capsys.readouterr()
    assert lifeboat.main(["status", "--html", str(file), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert lifeboat.main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out).keys() == answer.keys()
    text = file.read_text(encoding="utf-8")
    assert point in text
    assert "href" not in text


def test_status_writes_the_page_where_something_is_late_or_nothing_can_be_looked_at(
    pages: Pages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "status.html"
    assert lifeboat.main(["status", "--html", str(file)]) == 1
    assert "never backed up" in file.read_text(encoding="utf-8")
    pages.settings.delenv("LIFEBOAT_VAULT_URL")
    assert lifeboat.main(["status", "--html", str(file)]) == 2
    assert "LIFEBOAT_VAULT_URL is not set" in file.read_text(encoding="utf-8")


def test_status_says_when_the_file_cannot_be_written(
    pages: Pages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lifeboat.main(["status", "--html", str(tmp_path / "missing" / "x.html"), "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert [each["code"] for each in answer["reasons"]] == ["target-failed"]
    assert "components" in answer
