"""Running checks side by side, each in a thread of its own and under its limit, all of them under one.

A thread that gives no answer cannot be ended in Python: it is left behind, and nothing waits for it.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from shared.errors import LifeboatError, printable
from shared.preflight.check import (
    CLEAN_UP,
    FAIL,
    LEFT_OUT,
    RESULTS,
    SKIP,
    Check,
    ComponentChecks,
    Findings,
    Found,
    Row,
    failed,
    warned,
)
from shared.redaction import redacted

ALL_SECONDS = 170.0
"""All checks end within this: an HTTP request is answered within 200 s."""
CLOSE_SECONDS = 15.0
"""What clearing away may take."""
MOST_TOLD = 500
"""Characters of what an unexpected error says."""

Key = tuple[str, str]
"""Component and name of a check."""


def run_checks(components: Sequence[ComponentChecks], *, limit_seconds: float = ALL_SECONDS) -> list[Row]:
    """Failing rows first, then warnings, passes and what was left out; each group in the order of the checks. Who is
    interrupted clears away too."""
    rows: list[Row] = []
    try:
        rows += in_order(components, limit_seconds=limit_seconds)
    finally:
        rows += _close(components)
    return sorted(rows, key=lambda row: RESULTS.index(row.result))


def in_order(components: Sequence[ComponentChecks], *, limit_seconds: float) -> list[Row]:
    """As ``run_checks``, in the order of the checks; nothing is closed."""
    run = _Run({(each.component, check.name): check for each in components for check in each.checks})
    run.go(time.monotonic() + limit_seconds)
    return [row for key in run.checks for row in run.rows[key]]


@dataclass(slots=True)
class _Run:
    checks: Mapping[Key, Check]
    rows: dict[Key, list[Row]] = field(default_factory=dict)
    """Of those that have ended."""
    _running: dict[Key, float] = field(default_factory=dict)
    """When each began, by the monotonic clock."""
    _found: dict[Key, list[Row]] = field(default_factory=dict)
    """What those that run have found so far; it stays, whatever comes of the rest."""
    _answers: queue.SimpleQueue[tuple[Key, Found | None, float]] = field(default_factory=queue.SimpleQueue)
    """What was found, and how long it took; None: that is all."""

    def go(self, deadline: float) -> None:
        while len(self.rows) < len(self.checks):
            if not self._begin_ready():
                self._wait(deadline)
            self._give_up_late(deadline)

    def _begin_ready(self) -> bool:
        """Whether any has been left out, so that others may be ready now."""
        left_out = False
        for key, check in self.checks.items():
            if key in self.rows or key in self._running:
                continue
            before = [self.rows.get((key[0], name)) for name in check.after]
            done = [rows for rows in before if rows is not None]
            missed = next((row for rows in done for row in rows if row.result in (FAIL, SKIP)), None)
            if missed is not None:
                self._end(key, [Found(SKIP, f"{LEFT_OUT}, since '{missed.name}' has not passed")], 0.0)
                left_out = True
            elif len(done) == len(before):
                self._running[key] = time.monotonic()
                threading.Thread(target=self._answer, args=(key, check), name=f"preflight {key}", daemon=True).start()
        return left_out

    def _answer(self, key: Key, check: Check) -> None:
        began = time.monotonic()
        for found in found_by(check.run):
            if found.result == FAIL and found.setting is None:
                found = replace(found, setting=check.setting)
            now = time.monotonic()
            self._answers.put((key, found, now - began))
            began = now
        self._answers.put((key, None, 0.0))

    def _wait(self, deadline: float) -> None:
        ends = [began + self.checks[key].limit_seconds for key, began in self._running.items()]
        wait = max(0.0, min([*ends, deadline]) - time.monotonic())
        try:
            key, found, seconds = self._answers.get(timeout=wait)
        except queue.Empty:
            return
        if key not in self._running:
            return  # it was given up, and this is its late answer
        if found is None:
            self._end(key, [], 0.0)
        else:
            self._found.setdefault(key, []).append(_row(key, found, seconds))

    def _give_up_late(self, deadline: float) -> None:
        now = time.monotonic()
        for key, began in list(self._running.items()):
            check = self.checks[key]
            if now >= min(began + check.limit_seconds, deadline):
                told = f"no answer within {now - began:.0f} s"
                self._end(key, [failed(told, check.silent, setting=check.setting)], now - began)
        if now >= deadline:
            for key in self.checks:
                if key not in self.rows:
                    self._end(key, [Found(SKIP, "not begun: the checks before it took all the time there is")], 0.0)

    def _end(self, key: Key, found: Sequence[Found], seconds: float) -> None:
        self._running.pop(key, None)
        self.rows[key] = self._found.pop(key, []) + [_row(key, each, seconds) for each in found]


def _row(key: Key, found: Found, seconds: float) -> Row:
    return Row(
        component=key[0],
        name=found.name or key[1],
        result=found.result,
        seconds=seconds,
        detail=printable(redacted(found.detail)),
        remedy=printable(redacted(found.remedy)),
        setting=found.setting,
    )


def found_by(run: Callable[[], Findings]) -> Iterator[Found]:
    """What a check finds, as it finds it; whatever it raises is a failure, and the last."""
    try:
        found = run()
        yield from [found] if isinstance(found, Found) else found
    except LifeboatError as error:
        yield failed(str(error), error.remedy, setting=error.setting)
    except Exception as error:
        told = f"something that Lifeboat did not expect: {type(error).__name__}: {error}"[:MOST_TOLD]
        yield failed(told, "Run it again with LIFEBOAT_DEBUG=true and report what it prints.")


def _close(components: Sequence[ComponentChecks]) -> list[Row]:
    """Rows of what could not be cleared away."""
    answers: queue.SimpleQueue[tuple[str, Found | None]] = queue.SimpleQueue()

    def close(each: ComponentChecks) -> None:
        answers.put((each.component, _trouble_closing(each)))

    began = time.monotonic()
    for each in components:
        threading.Thread(target=close, args=(each,), name=f"close {each.component}", daemon=True).start()
    found: dict[str, Found | None] = {}
    while len(found) < len(components):
        try:
            component, trouble = answers.get(timeout=max(0.0, began + CLOSE_SECONDS - time.monotonic()))
        except queue.Empty:
            break
        found[component] = trouble
    late = warned(f"no answer within {CLOSE_SECONDS:.0f} s; what preflight has written may still be there")
    rows = [(each.component, found.get(each.component, late)) for each in components]
    seconds = time.monotonic() - began
    return [_row((component, CLEAN_UP), trouble, seconds) for component, trouble in rows if trouble]


def _trouble_closing(checks: ComponentChecks) -> Found | None:
    def run() -> list[Found]:
        checks.close()
        return []

    return next((warned(each.detail, each.remedy, setting=each.setting) for each in found_by(run)), None)
