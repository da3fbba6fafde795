"""The checks of telemetry: the way to Application Insights, and whether it takes what is sent.

One line goes there as a trace, by an exporter like the one that sends everything.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from shared.errors import SettingsError
from shared.preflight.check import Check, ComponentChecks, Found, failed, passed, skipped, warned
from shared.preflight.network import https_checks
from shared.settings import Settings
from shared.smb.blocked import in_function_app
from shared.telemetry import CONNECTION_STRING

MESSAGE = "Lifeboat preflight: telemetry reaches its end."
ROLE = "Monitoring Metrics Publisher"
ANSWER_SECONDS = 12.0
_DEFAULT = "https://dc.services.visualstudio.com"
_KEY = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


def telemetry_checks(settings: Settings) -> ComponentChecks:
    """``SettingsError`` for a connection string that is none; nothing is sent yet."""
    del settings  # where telemetry goes is set for the host too, so by names that are not ours
    text = os.environ.get(CONNECTION_STRING)
    if not text:
        return ComponentChecks("telemetry", (Check("reaches", _nowhere),))
    endpoint = ingestion_endpoint(text)
    way = https_checks(endpoint, setting=CONNECTION_STRING)[:-1]  # whose clock is of no matter
    reaches = Check(
        "reaches",
        lambda: _reaches(urlsplit(endpoint).hostname or ""),
        after=(way[-1].name,),
        limit_seconds=40,
        silent="Application Insights, or the identity endpoint, falls silent: see what lies in between.",
        setting=CONNECTION_STRING,
    )
    return ComponentChecks("telemetry", (*way, reaches))


def ingestion_endpoint(text: str) -> str:
    """Where a connection string says that telemetry is to go. ``SettingsError``."""
    pairs = [part.partition("=") for part in text.split(";") if part.strip()]
    told = {name.strip().lower(): value.strip() for name, _, value in pairs}
    endpoint = told.get("ingestionendpoint") or _by_suffix(told) or _DEFAULT
    if not _KEY.match(told.get("instrumentationkey", "")) or not _is_address(endpoint):
        raise SettingsError(
            f"{CONNECTION_STRING} is no connection string of Application Insights",
            remedy="Copy it from the page of the Application Insights resource: "
            "InstrumentationKey=...;IngestionEndpoint=https://...",
            setting=CONNECTION_STRING,
        )
    return endpoint


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a bracket that is not closed
        return False


def _by_suffix(told: Mapping[str, str]) -> str | None:
    suffix, location = told.get("endpointsuffix"), told.get("location")
    if not suffix:
        return None
    return f"https://{location + '.' if location else ''}dc.{suffix}"


def _nowhere() -> Found:
    told = f"{CONNECTION_STRING} is not set, so no telemetry is sent"
    if in_function_app(os.environ) or os.environ.get("FUNCTIONS_WORKER_RUNTIME"):
        return warned(
            f"{told}: no alert tells of what fails",
            "Set it to the connection string of an Application Insights resource.",
            setting=CONNECTION_STRING,
        )
    return skipped(f"{told}; a command by hand needs none", setting=CONNECTION_STRING)


def _reaches(host: str) -> Found:
    from shared.telemetry_export import AUTHENTICATION, deliver

    try:
        found = deliver(MESSAGE, seconds=ANSWER_SECONDS)
    except ValueError as error:
        raise SettingsError(
            f"{CONNECTION_STRING} is wrong: {error}",
            remedy="Copy it from the page of the Application Insights resource.",
            setting=CONNECTION_STRING,
        ) from error
    if found.no_token:
        return failed(
            f"no token for Application Insights could be had: {found.told.splitlines()[0]}",
            f"Check that {AUTHENTICATION} has the client id of the app's identity (Authorization=AAD;ClientId=...).",
            setting=AUTHENTICATION,
        )
    if found.status in (401, 403):
        remedy = (
            f"Give the app's identity the role '{ROLE}' on the Application Insights resource."
            if found.by_identity
            else f"The resource takes no keys: set {AUTHENTICATION} to Authorization=AAD;ClientId=CLIENT, and give "
            f"that identity the role '{ROLE}' on it."
        )
        return failed(f"{host} refuses what is sent ({found.status})", remedy, setting=AUTHENTICATION)
    if found.accepted:
        return passed(f"{host} took a line ({found.status}); it is a row of AppTraces within minutes")
    return _not_taken(host, found.status, found.accepted, found.told)


def _not_taken(host: str, status: int | None, accepted: int | None, told: str) -> Found:
    because = f": {told.splitlines()[0]}" if told else ""
    if status is None:
        return failed(
            f"{host} did not answer{because}",
            "Look at what lies in between, such as a proxy or a firewall that looks into TLS: opening 6 of "
            "docs/reaching-the-stamp.md.",
            setting=CONNECTION_STRING,
        )
    if status in (402, 439):
        return failed(
            f"{host} takes nothing more today ({status}){because}",
            "The daily cap of the Application Insights resource, or of its workspace, is reached: raise it.",
            setting=CONNECTION_STRING,
        )
    if status in (408, 429) or status >= 500:
        return failed(
            f"{host} is busy or failing ({status}){because}", "Run it again later.", setting=CONNECTION_STRING
        )
    if status in (200, 206) and accepted == 0:
        return failed(
            f"{host} answered, and took nothing ({status}){because}",
            "Look at the daily cap of the resource and at its ingestion sampling.",
            setting=CONNECTION_STRING,
        )
    return failed(
        f"{host} answers {status}, and not as Application Insights does{because}",
        "Copy the connection string again: the resource may be gone, or another service answers there, such as a "
        "proxy.",
        setting=CONNECTION_STRING,
    )
