"""Azure, as the Azure CLI tells it: whoever is logged in there asks."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.hooks.program import ask

SECONDS = 300.0
"""What one command may take; registering a provider takes a minute or two."""
_LOGIN = re.compile(r"az login|AADSTS\d+|refresh token|InteractionRequired|No subscription found", re.IGNORECASE)
_DENIED = re.compile(
    r"AuthorizationFailed|Authorization_RequestDenied|Forbidden|Insufficient privileges", re.IGNORECASE
)
_ABSENT = re.compile(r"NotFound|not found|does not exist|doesn't exist", re.IGNORECASE)


class AzureCliError(Exception):
    """A command did not succeed. The text is one line of what the CLI said."""


class CliMissing(AzureCliError):
    """There is no Azure CLI."""


class LoginMissing(AzureCliError):
    """Nobody is logged in, or not any more."""


class Denied(AzureCliError):
    """Who is logged in may not."""


class NotThere(AzureCliError):
    """What was asked for does not exist."""


class AzureCli:
    """``subscription``: where commands go; empty: the CLI's own choice."""

    def __init__(self, subscription: str = "") -> None:
        self.subscription = subscription
        self._program = shutil.which("az")

    def run(self, *arguments: str) -> Any:
        """What the command prints, which is JSON; None where it prints nothing. It is never asked twice and never
        prompts. ``AzureCliError``."""
        if self._program is None:
            raise CliMissing("the Azure CLI (az) is not on the PATH")
        says_where = arguments[0] in ("ad", "cloud", "rest") or "--ids" in arguments
        scope = ["--subscription", self.subscription] if self.subscription and not says_where else []
        quiet = {
            "AZURE_CORE_ONLY_SHOW_ERRORS": "true",
            "AZURE_CORE_NO_COLOR": "true",
            "AZURE_EXTENSION_USE_DYNAMIC_INSTALL": "no",
        }
        try:
            command = [self._program, *arguments, *scope, "--output", "json"]
            done = ask(command, seconds=SECONDS, environment=quiet)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise AzureCliError(f"az {' '.join(arguments[:3])} gave no answer: {error}") from error
        if done.returncode != 0:
            raise _error(done.stderr or done.stdout)
        try:
            return json.loads(done.stdout) if done.stdout.strip() else None
        except ValueError as error:
            raise AzureCliError(f"az {' '.join(arguments[:3])} printed something else than JSON") from error

    def with_body(self, option: str, body: Mapping[str, Any] | Sequence[Any], *arguments: str) -> Any:
        """``run`` with ``body`` handed over as a file of JSON: the shell that az is on Windows mangles quotes."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "body.json"
            file.write_text(json.dumps(body), "utf-8")
            return self.run(*arguments, option, f"@{file}")


def _error(text: str) -> AzureCliError:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = next((line for line in lines if line.upper().startswith("ERROR")), lines[-1] if lines else "az failed")
    said = re.sub(r"^ERROR:\s*", "", said)[:400]
    for pattern, kind in ((_DENIED, Denied), (_LOGIN, LoginMissing), (_ABSENT, NotThere)):
        if pattern.search(text):
            return kind(said)
    return AzureCliError(said)
