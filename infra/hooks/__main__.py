"""``python -m infra.hooks HOOK``: what azure.yaml calls by way of run.sh and run.ps1."""

from __future__ import annotations

import importlib
import sys

from infra.hooks.environment import Environment
from infra.hooks.findings import HookFailed

HOOKS = ("preprovision", "postprovision", "postdeploy", "predown")


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in HOOKS:
        sys.stderr.write(f"usage: python -m infra.hooks {'|'.join(HOOKS)}\n")
        return 2
    try:
        return int(importlib.import_module(f"infra.hooks.{arguments[0]}").run(Environment()))
    except HookFailed as error:
        sys.stderr.write(f"\nLifeboat: {error}.\n{error.remedy}".rstrip() + "\n")
        return 1


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a console of Windows may lack a letter
    sys.exit(main(sys.argv[1:]))
