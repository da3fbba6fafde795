"""What is said where a file server's port gives no connection: within a function app the platform itself may be why.

Microsoft says of App Service that outgoing port 445 is blocked in its sandbox, private addresses included, and promises
it open nowhere for function apps. Functions on Azure Container Apps have no such sandbox.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from shared.smb.endpoint import SMB_PORT

PAGE = "docs/reaching-the-stamp.md"
_FUNCTION_APP = ("WEBSITE_INSTANCE_ID", "WEBSITE_SITE_NAME", "WEBSITE_SKU", "LEGION_SERVICE_HOST")
"""What the platform sets, each on some plans only: Flex Consumption has no instance id. ``func start`` sets none."""
_CONTAINER_APP = ("CONTAINER_APP_NAME", "MANAGED_ENVIRONMENT")


class NoConnection(NamedTuple):
    """Why a connection may not have come about."""

    hint: str
    """To be put after the cause: begins with a semicolon, or is empty."""
    remedy: str


def no_connection(
    server: str, port: int, *, setting: str, environment: Mapping[str, str] | None = None
) -> NoConnection:
    """Of a connection to ``server`` that was refused or timed out. ``setting``: the one that holds the share's URL."""
    if port == SMB_PORT and in_function_app(os.environ if environment is None else environment):
        return NoConnection(
            "; this runs in a function app, and Azure may block outgoing port 445 there, whatever the firewalls say",
            "If TCP 445 is open in the firewalls between, it is the platform. Ways out: (1) another port: let a load-"
            f"balancer rule, or 'netsh interface portproxy' on or before the file server, take 4445 to 445 and set "
            f"{setting} to smb://{server}:4445/share; (2) run the same code as Functions on Container Apps, which have "
            f"no such block; (3) {_nearer(setting)}. {PAGE} has the commands.",
        )
    return NoConnection(
        "",
        f"Check server and port in {setting}, that the file server is up, and that the firewalls and routes between "
        f"let TCP {port} through from here.",
    )


def _nearer(setting: str) -> str:
    if setting.startswith("LIFEBOAT_SQL"):
        return "let SQL Server write to blobs, which needs no file server (LIFEBOAT_SQL_MODE=url)"
    return "have the share backed up from nearby (LIFEBOAT_SHARE_MODE=adopt)"


def in_function_app(environment: Mapping[str, str]) -> bool:
    """Whether this process runs in Azure's sandbox for function apps; not so on Container Apps or one's own machine."""
    if any(environment.get(name) for name in _CONTAINER_APP):
        return False
    return any(environment.get(name) for name in _FUNCTION_APP)
