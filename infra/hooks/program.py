"""Another program, run without a shell, that is asked and answers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def ask(
    command: Sequence[str], *, seconds: float, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """What it says, whatever its exit code. It is given nothing to read, so that it cannot wait for an answer;
    ``environment`` is what it has besides ours. ``OSError``: it cannot be run. ``subprocess.TimeoutExpired``."""
    return subprocess.run(  # noqa: S603 - a program that whoever deploys has installed
        command,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=seconds,
        check=False,
    )
