"""What a hook has to tell: rows as preflight has them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

PASS, WARN, FAIL = "pass", "warn", "fail"
_ORDER = {FAIL: 0, WARN: 1, PASS: 2}


class HookFailed(Exception):
    """The hook cannot go on. ``remedy``: what to do."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Finding:
    result: str
    """``pass``, ``warn`` or ``fail``."""
    what: str
    remedy: str = ""


def passed(what: str) -> Finding:
    return Finding(PASS, what)


def warned(what: str, remedy: str = "") -> Finding:
    return Finding(WARN, what, remedy)


def failed(what: str, remedy: str) -> Finding:
    return Finding(FAIL, what, remedy)


def say(text: str) -> None:
    """To whoever runs azd, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def show(findings: Sequence[Finding]) -> str:
    """What fails first; below each row what to do."""
    lines = []
    for each in sorted(findings, key=lambda finding: _ORDER[finding.result]):
        lines.append(f"  {each.result:4}  {each.what}")
        lines += [f"        {line}" for line in each.remedy.splitlines()]
    return "\n".join(lines)
