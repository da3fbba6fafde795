"""Preflight, from inside the app that was just deployed: what is in the way of a backup. It fails no deployment."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from infra.hooks.azure_cli import AzureCli, AzureCliError
from infra.hooks.environment import Environment
from infra.hooks.findings import WARN, Finding, say, show
from infra.hooks.site import Site

ANSWER_SECONDS = 240.0
"""The platform cuts a request off after 230."""
START_SECONDS = 180.0
"""How long an app may take to answer for the first time after its code was replaced."""
PAUSE_SECONDS = 5.0
_STARTING = (404, 500, 502, 503, 504)
"""What the platform answers before the functions are there."""


class NoAnswer(Exception):
    """Preflight could not be had; the text says why."""


def run(environment: Environment) -> int:
    site = Site.of(environment)
    say(f"Lifeboat, preflight from inside {site.app} (up to four minutes) ...")
    try:
        key = _key(AzureCli(site.subscription), site)
        checks = _preflight(site, key)
    except (AzureCliError, NoAnswer) as error:
        say(f"\nIt could not be run: {error}")
        say("The deployment stands. Run it again with: azd hooks run postdeploy" + _from_inside(site))
        return 0
    open_rows = [each for each in checks if each.get("result") == "fail"]
    say(show([_row(each) for each in checks if each.get("result") in ("fail", "warn")]))
    passed = sum(each.get("result") == "pass" for each in checks)
    if open_rows:
        say(
            f"\n{len(open_rows)} of {len(checks)} checks FAIL, {passed} pass. NOTHING IS BACKED UP of a part whose "
            "checks fail.\nAfter a first deployment that is how it is: next-steps.md has what is left to do, and "
            "azd hooks run postdeploy looks again. The deployment itself is done."
        )
    else:
        say(f"\n{passed} of {len(checks)} checks pass, none fails.")
    return 0


def _key(cli: AzureCli, site: Site) -> str:
    keys = cli.run("functionapp", "keys", "list", "--resource-group", site.group, "--name", site.app) or {}
    functions: Mapping[str, str] = keys.get("functionKeys") or {}
    if not functions:
        raise NoAnswer(f"{site.app} has no function key yet")
    return functions.get("default") or next(iter(functions.values()))


def _preflight(site: Site, key: str) -> list[dict[str, Any]]:
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            return _ask(site, key)
        except urllib.error.HTTPError as error:
            starting, problem = error.code in _STARTING, _said(error)
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, OSError) as error:
            starting, problem = True, f"no answer from {site.host}: {getattr(error, 'reason', error)}"
        if not starting or time.monotonic() >= until:
            raise NoAnswer(problem)
        time.sleep(PAUSE_SECONDS)


def _ask(site: Site, key: str) -> list[dict[str, Any]]:
    request = urllib.request.Request(  # noqa: S310 - https alone
        f"{site.origin}/api/preflight",
        data=b"{}",
        headers={"x-functions-key": key, "Content-Type": "application/json"},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310 - https alone
        try:
            checks = json.load(answer)["checks"]
        except (ValueError, KeyError, TypeError) as error:
            raise NoAnswer(f"{site.host} answered with something else than preflight") from error
    return [each for each in checks if isinstance(each, dict)]


def _said(error: urllib.error.HTTPError) -> str:
    """A problem of the app's own says what to do; a page of the platform does not."""
    try:
        problem = json.loads(error.read())
        return f"{error.code}: {problem['detail']} {problem.get('remedy', '')}".strip()
    except (ValueError, KeyError, TypeError, OSError):
        return f"{error.code} {error.reason} from {error.url}"


def _row(check: Mapping[str, Any]) -> Finding:
    return Finding(
        str(check.get("result", WARN)),
        f"{check.get('component')} {check.get('name')}: {check.get('detail')}",
        str(check.get("remedy") or ""),
    )


def _from_inside(site: Site) -> str:
    return ", from a machine inside the network: nothing of it answers outside." if site.network == "private" else "."
