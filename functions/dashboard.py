"""Pages for people: the dashboard, and the runbook of each point. They hold no key and need none.

The host lets anybody in; these pages ask for somebody who has signed in. Who that is, Easy Auth says in headers that it
takes from nobody else: where it is off, anybody can send them, so nobody is believed. The pages make nothing happen.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from html import escape
from urllib.parse import quote

import azure.functions as func

from functions.problems import SAFE_HEADERS, Problem, problem_of

DASHBOARD = "/api/dashboard"
SIGN_IN = "/.auth/login/aad?post_login_redirect_uri="
_PRINCIPAL = ("X-MS-CLIENT-PRINCIPAL-ID", "X-MS-CLIENT-PRINCIPAL-NAME", "X-MS-CLIENT-PRINCIPAL")
_NO_PAGE = "default-src 'none'; base-uri 'none'; form-action 'none'"
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">')
"""What a page of ``shared/status/page.py`` allows itself, in its head, before any text of others."""


def blueprint() -> func.Blueprint:
    made = func.Blueprint()  # type: ignore[no-untyped-call]
    for route, function in (
        ("dashboard", dashboard),
        ("dashboard/recovery-points/{point}/runbook", dashboard_runbook),
    ):
        made.route(route=route, methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)(function)
    return made


async def dashboard(req: func.HttpRequest) -> func.HttpResponse:
    """200 even where the vault is away: the page is the answer, and says so first."""
    return await _page(req, DASHBOARD, _dashboard)


async def dashboard_runbook(req: func.HttpRequest) -> func.HttpResponse:
    from shared.recovery_point.record import is_id

    point = req.route_params.get("point", "")
    path = f"{DASHBOARD}/recovery-points/{point}/runbook" if is_id(point) else DASHBOARD
    return await _page(req, path, lambda: _runbook(point))


async def _page(req: func.HttpRequest, path: str, make: Callable[[], str]) -> func.HttpResponse:
    """What ``make`` returns, for somebody who has signed in; ``path`` is where this page is."""
    if os.environ.get("WEBSITE_AUTH_ENABLED", "").lower() != "true":
        problem = Problem(
            "sign-in-off",
            "the dashboard is for people who have signed in, and signing in (Easy Auth) is off for this app",
            remedy="Turn on the app's authentication with Microsoft Entra ID; without it GET /api/status with a key.",
            status=403,
        )
        answer = problem.answer()
        answer.headers.update(_headers(_NO_PAGE))
        return answer
    if not any(req.headers.get(name, "").strip() for name in _PRINCIPAL):
        place = SIGN_IN + quote(path, safe="")
        return func.HttpResponse(status_code=302, headers={**_headers(_NO_PAGE), "Location": place})
    try:
        return _answer(await asyncio.to_thread(make))
    except Exception as error:  # the last stop: whatever it is, people get a page and no trace
        problem = problem_of(error, where=f"GET {DASHBOARD}")
        return _answer(await asyncio.to_thread(_sorry, problem), problem.status, problem.headers)


def _dashboard() -> str:
    from shared.settings import Settings
    from shared.status.dashboard import read_dashboard, render

    return render(read_dashboard(Settings.from_environment()), links=True)


def _runbook(point: str) -> str:
    from shared.errors import SettingsError, UsageError
    from shared.recovery_point.record import is_id
    from shared.settings import Settings
    from shared.status.runbook import make_runbook

    unknown = Problem(
        "unknown-point", "there is no such recovery point", remedy="The dashboard lists those that there are."
    )
    if not is_id(point):
        raise unknown
    try:
        return make_runbook(Settings.from_environment(), point, form="html", run_checks=False).text
    except SettingsError:
        raise
    except UsageError as error:
        raise unknown from error


def _sorry(problem: Problem) -> str:
    from shared.status.page import page

    title = str(problem.document()["title"])
    told = f"<p>{escape(str(problem))}</p>\n<p>{escape(problem.remedy)}</p>"
    return page(title, f'<h1>{escape(title)}</h1>\n{told}\n<p><a href="{DASHBOARD}">Dashboard</a></p>')


def _answer(text: str, status: int = 200, headers: dict[str, str] | None = None) -> func.HttpResponse:
    found = _POLICY.search(text)
    return func.HttpResponse(
        text,
        status_code=status,
        headers={**_headers(found[1] if found else _NO_PAGE), **(headers or {})},
        mimetype="text/html",
        charset="utf-8",
    )


def _headers(policy: str) -> dict[str, str]:
    return {
        **SAFE_HEADERS,
        "Content-Security-Policy": f"{policy}; frame-ancestors 'none'",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
    }
