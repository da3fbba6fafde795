"""What a check is, and what it finds.

A check answers, or raises: a ``LifeboatError`` is a failure that carries its own remedy and setting. Checks of one
component may share what they have opened: a check begins only when those that it comes ``after`` have passed, and is
left out where they have not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

PASS, WARN, FAIL, SKIP = "pass", "warn", "fail", "skip"
RESULTS = (FAIL, WARN, PASS, SKIP)
"""In the order in which they are told."""
SETTINGS = "settings"
"""Name of the check that the settings of a component make sense."""
LEFT_OUT = "not looked at"
"""What the detail of a check begins with that comes after one which has not passed."""
CLEAN_UP = "clean-up"
"""Name of the row that says what could not be cleared away; there is none where all could."""

OWN_LOG_CHAIN = "own-log-chain"
"""Beginning of the names of what stands against a log chain of Lifeboat's own: without it there are full backups."""
RESTORE, DRILL = "restore-", "drill-"
"""What stands before the names of checks of who restores and who drills, which no backup needs."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a check has found. ``detail`` is one sentence without a secret, ``remedy`` the next step."""

    result: str
    """``pass``, ``warn``, ``fail`` or ``skip``."""
    detail: str
    remedy: str = ""
    setting: str | None = None
    name: str | None = None
    """Of its own row, where one check finds several things; None: the check's."""


Findings = Found | Iterable[Found]
"""Several are told one by one, as they are found: a generator need not have come to its end."""


@dataclass(frozen=True, slots=True)
class Check:
    """``name`` is lower-case words with hyphens, unique in its component."""

    name: str
    run: Callable[[], Findings]
    after: tuple[str, ...] = ()
    """Names of checks of the same component that must not have failed or been left out."""
    limit_seconds: float = 20.0
    """Without an answer by then it has failed; its thread is left behind."""
    silent: str = "Something on the way drops what is sent: look at firewalls and routes."
    """Remedy where there was no answer."""
    setting: str | None = None
    """What it is about: that of a failure which names none."""


@dataclass(frozen=True, slots=True)
class ComponentChecks:
    """``ValueError`` for checks of one name, and for one that comes after what does not stand before it."""

    component: str
    checks: tuple[Check, ...]
    close: Callable[[], object] = lambda: None
    """Called once when all have ended or were given up, in a thread with a limit: removes what was written, closes
    what was opened. What it raises is a warning, ``clean-up``."""

    def __post_init__(self) -> None:
        before: set[str] = set()
        for check in self.checks:
            if check.name in before or not before.issuperset(check.after):
                raise ValueError(f"{self.component}: the check {check.name!r} after {check.after}, after {before}")
            before.add(check.name)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the answer."""

    component: str
    name: str
    result: str
    seconds: float
    detail: str
    remedy: str = ""
    setting: str | None = None

    @property
    def left_out(self) -> bool:
        """It was not looked at, since a check before it has not passed."""
        return self.result == SKIP and self.detail.startswith(LEFT_OUT)

    def to_json(self) -> Json:
        return {
            "component": self.component,
            "name": self.name,
            "result": self.result,
            "seconds": round(self.seconds, 3),
            "detail": self.detail,
            "remedy": self.remedy,
            "setting": self.setting,
        }


def passed(detail: str, *, name: str | None = None) -> Found:
    return Found(PASS, detail, name=name)


def warned(detail: str, remedy: str = "", *, setting: str | None = None, name: str | None = None) -> Found:
    return Found(WARN, detail, remedy, setting, name)


def failed(detail: str, remedy: str, *, setting: str | None = None, name: str | None = None) -> Found:
    return Found(FAIL, detail, remedy, setting, name)


def skipped(detail: str, remedy: str = "", *, setting: str | None = None, name: str | None = None) -> Found:
    return Found(SKIP, detail, remedy, setting, name)
