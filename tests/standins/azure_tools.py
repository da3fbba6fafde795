"""Stand-ins for ``az`` and ``azd``, as programs on the PATH: neither can do anything here without Azure.

``az`` answers from a table, of which the longest entry that is in the command line counts, and notes each call with the
body that it was given as a file. ``azd`` keeps an environment in a file: ``azd env set``, ``azd env get-values``. What
they do not know they refuse, as the real ones do.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDER = "LIFEBOAT_TEST_AZURE_TOOLS"
"""Names to the stand-ins the folder with what they know."""
Json = Any


def refused(message: str) -> Json:
    """An answer that is an error."""
    return {"refused": message}


def changes(command: str, before: Json, after: Json) -> Json:
    """An answer that is ``before`` until a call with ``command`` in it has succeeded, then ``after``."""
    return {"changed by": command, "before": before, "after": after}


@dataclass
class AzureTools:
    """``answers`` by part of a command line; ``environment`` is what ``azd env set`` has stored."""

    folder: Path
    answers: dict[str, Json] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    tools: tuple[str, ...] = ("az", "azd")
    shell: dict[str, str] = field(default_factory=dict)
    """Further variables of the shell."""

    def run(self, *command: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        """``command``, as azd runs a hook: with its environment among the shell's variables. Python is the tests' own,
        without any package installed."""
        programs = self.folder / "bin"
        programs.mkdir(exist_ok=True)
        _program(programs / "python3", f'exec {shlex.quote(sys.executable)} -S "$@"')
        for name in self.tools:
            _program(programs / name, f'exec {shlex.quote(sys.executable)} -S {shlex.quote(__file__)} {name} "$@"')
        (self.folder / "answers.json").write_text(json.dumps(self.answers), "utf-8")
        self._stored.write_text(json.dumps(self.environment), "utf-8")
        try:
            return subprocess.run(
                command,
                cwd=cwd,
                env={
                    "PATH": f"{programs}{os.pathsep}/usr/bin{os.pathsep}/bin",
                    FOLDER: str(self.folder),
                    **self.shell,
                    **self.environment,
                },
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        finally:
            self.environment = json.loads(self._stored.read_text("utf-8"))

    def hook(self, name: str) -> subprocess.CompletedProcess[str]:
        return self.run("sh", "infra/hooks/run.sh", name)

    @property
    def calls(self) -> list[str]:
        """Command lines that ``az`` was called with."""
        return [each["call"] for each in self._noted]

    def body_of(self, part: str) -> Json:
        """What was handed over as a file by the one call with ``part`` in it."""
        (found,) = [each["body"] for each in self._noted if part in each["call"]]
        return found

    @property
    def _noted(self) -> list[Json]:
        log = self.folder / "calls.jsonl"
        return [json.loads(line) for line in log.read_text("utf-8").splitlines()] if log.exists() else []

    @property
    def _stored(self) -> Path:
        return self.folder / "environment.json"


def _program(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n", "utf-8")
    path.chmod(0o755)


# --- the programs ---


def az(folder: Path, arguments: list[str]) -> int:
    line = " ".join(arguments)
    files = [Path(each[1:]) for each in arguments if each.startswith("@")]
    calls = folder / "calls.jsonl"
    earlier = [json.loads(each) for each in calls.read_text("utf-8").splitlines()] if calls.exists() else []
    answers: Mapping[str, Json] = json.loads((folder / "answers.json").read_text("utf-8"))
    known = max((key for key in answers if key in line), key=len, default="")
    answer = answers[known] if known else refused(f"the stand-in for az knows no answer to: {line}")
    while isinstance(answer, dict) and "changed by" in answer:
        changed = any(answer["changed by"] in each["call"] and each["succeeded"] for each in earlier)
        answer = answer["after" if changed else "before"]
    succeeds = not (isinstance(answer, dict) and "refused" in answer)
    body = json.loads(files[0].read_text("utf-8")) if files else None
    with calls.open("a", encoding="utf-8") as log:
        log.write(json.dumps({"call": line, "body": body, "succeeded": succeeds}) + "\n")
    if not succeeds:
        sys.stderr.write(f"ERROR: {answer['refused']}\n")
        return 1 if known else 2
    if answer is not None:
        sys.stdout.write(json.dumps(answer))
    return 0


def azd(folder: Path, arguments: list[str]) -> int:
    stored = folder / "environment.json"
    values = json.loads(stored.read_text("utf-8"))
    if arguments[:2] == ["env", "get-values"] and "json" in arguments:
        sys.stdout.write(json.dumps(values))
        return 0
    if arguments[:2] == ["env", "set"]:
        values[arguments[2]] = arguments[3]
        stored.write_text(json.dumps(values), "utf-8")
        return 0
    sys.stderr.write(f"ERROR: the stand-in for azd does not know: {' '.join(arguments)}\n")
    return 2


if __name__ == "__main__":
    sys.exit({"az": az, "azd": azd}[sys.argv[1]](Path(os.environ[FOLDER]), sys.argv[2:]))
