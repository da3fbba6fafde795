"""The azd environment: what was set with ``azd env set``, and what the deployment has put there.

azd hands all of it to a hook as environment variables, among those of the shell. Where azd answers, what is stored is
asked of it, so that a variable of the shell that was meant for the command line is not deployed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from infra.hooks.findings import HookFailed
from infra.hooks.program import ROOT, ask

SECONDS = 60.0
"""What azd may take to answer."""


class Environment:
    """``get`` reads what azd would put into a template: what is stored, else what the shell has."""

    def __init__(self) -> None:
        self._azd = shutil.which("azd")
        self.name = os.environ.get("AZURE_ENV_NAME", "")
        stored = self._stored()
        self.stored: Mapping[str, str] = dict(os.environ) if stored is None else stored
        """What ``azd env set`` and earlier deployments have left; without azd the variables of the shell."""
        self._values = {**os.environ, **self.stored}

    def get(self, name: str, default: str = "") -> str:
        """An empty value counts as absent."""
        return self._values.get(name, "").strip() or default

    def raw(self, name: str) -> str:
        """To the letter, as azd writes it into a template."""
        return self._values.get(name, "")

    def flag(self, name: str, default: bool) -> bool:
        return {"true": True, "false": False}.get(self.get(name).lower(), default)

    def set(self, name: str, value: str) -> None:
        """Kept by azd for this and later commands. ``HookFailed``: azd cannot."""
        if self._values.get(name) == value:
            return
        problem = "azd is not on the PATH"
        if self._azd is not None:
            done = self._run("env", "set", name, value, *self._named())
            problem = "" if done.returncode == 0 else done.stderr.strip() or done.stdout.strip()
        if problem:
            raise HookFailed(
                f"{name} could not be kept in the azd environment: {problem}",
                f"Set it by hand, then run azd again: azd env set {name} '{value}'",
            )
        self._values[name] = value

    @property
    def folder(self) -> Path:
        """Where files for the operator go: beside what azd keeps of this environment, which git does not see."""
        kept = ROOT / ".azure" / self.name
        return kept / "lifeboat" if self.name and kept.is_dir() else ROOT / "lifeboat-next-steps"

    def _stored(self) -> Mapping[str, str] | None:
        if self._azd is None:
            return None
        done = self._run("env", "get-values", "--output", "json", *self._named())
        try:
            values = json.loads(done.stdout) if done.returncode == 0 else None
        except ValueError:
            return None
        return {str(name): str(value) for name, value in values.items()} if isinstance(values, dict) else None

    def _named(self) -> list[str]:
        return ["--environment", self.name] if self.name else []

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self._azd), *arguments, "--no-prompt"]
        try:
            return ask(command, seconds=SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            return subprocess.CompletedProcess(command, 1, "", f"azd gave no answer: {error}")
