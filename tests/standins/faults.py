"""Faults of a storage service, declared in a test as sentences.

    faults.add("lose the reply of the 3rd put")
    faults.add("lose the reply of the next put under data/")
    faults.add("answer the 2nd get with 503 ServerBusy and Retry-After 1")
    faults.add("answer the 1st to 4th call with 500 InternalError")
    faults.add("answer every list with 403 AuthorizationFailure")
    faults.add("cut the 2nd put after 100000 bytes")
    faults.add("cut the reply of every get after 10 bytes")
    faults.add("delay every call by 10 ms")
    faults.call("before the 7th call", function)
    faults.kill("after the 3rd put", process)

Calls are counted from when the fault is declared, each sentence by itself, over all connections. A call is a ``put``,
``get``, ``list``, ``stat`` or ``delete`` of blobs, or ``other``; ``call`` means any of them. ``under PREFIX`` narrows
it to names in ``container/name`` or plain ``name`` that begin so.
"""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["put", "get", "list", "stat", "delete", "other"]


class CutConnection(Exception):
    """Raised by what a test hangs into a call: the connection ends there, without a (further) reply."""


@dataclass
class Call:
    """One request as it reached the service."""

    kind: Kind
    container: str
    blob: str
    status: int | None = None
    """What the emulator answered; None where the request did not get so far."""


@dataclass
class Reply:
    """What the stand-in says in the service's place."""

    status: int
    code: str = ""
    message: str = "Declared by a test."
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    """Of a reply without a code."""


@dataclass
class Plan:
    """What is to happen to one call."""

    answer: Reply | None = None
    cut_request_after_bytes: int | None = None
    cut_reply_after_bytes: int | None = None
    afterwards: list[Callable[[Call], None]] = field(default_factory=list)

    def after(self, call: Call) -> None:
        """To be called when the emulator has answered, before the client hears of it."""
        for action in self.afterwards:
            action(call)


_WHICH = (
    r"(?:every|the (?:(?P<next>next)|(?P<first>\d+)(?:st|nd|rd|th)(?: to (?P<last>\d+)(?:st|nd|rd|th))?)) "
    r"(?P<kind>put|get|list|stat|delete|other|call)(?: under (?P<under>\S+))?"
)
_SENTENCES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("lose", re.compile(rf"lose the reply of {_WHICH}")),
    ("answer", re.compile(rf"answer {_WHICH} with (?P<status>\d{{3}})(?: (?P<code>[A-Z]\w+))?"
                          r"(?: and Retry-After (?P<wait>[\d.]+))?")),
    ("cut reply", re.compile(rf"cut the reply of {_WHICH} after (?P<bytes>\d+) bytes")),
    ("cut request", re.compile(rf"cut {_WHICH} after (?P<bytes>\d+) bytes")),
    ("delay", re.compile(rf"delay {_WHICH} by (?P<ms>\d+) ms")),
)  # fmt: skip
_MOMENT = re.compile(rf"(?P<moment>before|after) {_WHICH}")


@dataclass
class _Fault:
    first: int
    last: float
    kind: str
    under: str
    apply: Callable[[Plan, Call], None]
    seen: int = 0

    @classmethod
    def of(cls, match: re.Match[str], apply: Callable[[Plan, Call], None]) -> _Fault:
        every = not (match["next"] or match["first"])
        first = int(match["first"] or 1)
        last = float("inf") if every else float(match["last"] or first)
        return cls(first, last, match["kind"], match["under"] or "", apply)

    def meets(self, call: Call) -> bool:
        """Count the call if it is of this fault's kind, and say whether the fault strikes."""
        names = (call.blob, f"{call.container}/{call.blob}")
        if self.kind not in ("call", call.kind) or not any(name.startswith(self.under) for name in names):
            return False
        self.seen += 1
        return self.first <= self.seen <= self.last


class Faults:
    """The faults of one service. Safe for the threads that serve its connections."""

    def __init__(self) -> None:
        self._faults: list[_Fault] = []
        self._lock = threading.Lock()

    def add(self, sentence: str) -> None:
        """Declare a fault; ``ValueError`` for a sentence that means none."""
        for name, pattern in _SENTENCES:
            if match := pattern.fullmatch(sentence):
                self._add(_Fault.of(match, _effect(name, match)))
                return
        raise ValueError(f"no fault is called {sentence!r}; the module's docstring lists them")

    def call(self, moment: str, function: Callable[[Call], None]) -> None:
        """Call ``function`` ``before the 7th call`` reaches the emulator, or ``after`` it was done there.

        It runs in the thread of the connection, and the client waits. ``CutConnection`` from it ends the connection:
        before, nothing was done; after, the client does not hear that it was.
        """
        match = _MOMENT.fullmatch(moment)
        if not match:
            raise ValueError(f"no moment is called {moment!r}; say before or after, and which call")
        if match["moment"] == "before":
            self._add(_Fault.of(match, lambda plan, call: function(call)))
        else:
            self._add(_Fault.of(match, lambda plan, call: plan.afterwards.append(function)))

    def kill(self, moment: str, process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
        """Kill ``process`` at that moment: before the call is done, or after, unheard."""

        def strike(call: Call) -> None:
            process.kill()
            process.wait()
            raise CutConnection

        self.call(moment, strike)

    def clear(self) -> None:
        """Forget every fault."""
        with self._lock:
            self._faults.clear()

    def begin(self, call: Call) -> Plan:
        """What is to happen to this call; counts it, and waits or raises where a fault says so."""
        with self._lock:
            struck = [fault for fault in self._faults if fault.meets(call)]
        plan = Plan()
        for fault in struck:
            fault.apply(plan, call)
        return plan

    def _add(self, fault: _Fault) -> None:
        with self._lock:
            self._faults.append(fault)


def _effect(name: str, match: re.Match[str]) -> Callable[[Plan, Call], None]:
    def lose(call: Call) -> None:
        raise CutConnection

    if name == "lose":
        return lambda plan, call: plan.afterwards.append(lose)
    if name == "delay":
        seconds = int(match["ms"]) / 1000
        return lambda plan, call: time.sleep(seconds)
    if name == "answer":
        headers = {"Retry-After": match["wait"]} if match["wait"] else {}
        reply = Reply(int(match["status"]), match["code"] or "InternalError", headers=headers)
        return lambda plan, call: setattr(plan, "answer", reply)
    field_name = "cut_reply_after_bytes" if name == "cut reply" else "cut_request_after_bytes"
    count = int(match["bytes"])
    return lambda plan, call: setattr(plan, field_name, count)
