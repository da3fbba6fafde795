"""What the host does with the functions that a worker announces: settings filled in, schedules read, routes matched.

A function that is wrong fails alone: it is named with its reason, and the others run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.standins.functions_worker import FunctionFound

Json = dict[str, Any]

SETTING = re.compile(r"%([^%]+)%")
TIME_SPAN = re.compile(r"(\d+\.)?\d{2}:\d{2}:\d{2}(\.\d{1,7})?")
RANGES = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
MONTHS = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC"
DAYS = "SUN MON TUE WED THU FRI SAT"
WORDS = {
    (1, 12): {name: number for number, name in enumerate(MONTHS.split(" "), 1)},
    (0, 6): {name: number for number, name in enumerate(DAYS.split(" "))},
}


class DoesNotIndex(Exception):
    """Why the host leaves a function out."""


@dataclass(frozen=True)
class HostFile:
    """What ``host.json`` says, with the host's defaults."""

    route_prefix: str
    activities_at_once: int
    """For each worker. The default is ten for each core; an instance of Flex Consumption with 2,048 MB has one."""
    replace_any: bool
    """A running instance of the same id may be replaced by a new one."""
    hub: str

    @classmethod
    def read(cls, folder: Path) -> HostFile:
        file = folder / "host.json"
        extensions: Json = json.loads(file.read_text()).get("extensions", {}) if file.exists() else {}
        durable = extensions.get("durableTask", {})
        return cls(
            route_prefix=extensions.get("http", {}).get("routePrefix", "api"),
            activities_at_once=durable.get("maxConcurrentActivityFunctions", 10),
            replace_any=durable.get("overridableExistingInstanceStates") == "AnyState",
            hub=durable.get("hubName", "TestHubName"),
        )


def index(
    found: Mapping[str, FunctionFound], settings: Mapping[str, str]
) -> tuple[dict[str, FunctionFound], dict[str, str]]:
    """The functions that the host runs, and for the others why not."""
    good: dict[str, FunctionFound] = {}
    failed: dict[str, str] = {}
    for name, function in found.items():
        try:
            bindings = [
                {key: _filled(value, settings) for key, value in each.items()} for each in function.raw_bindings
            ]
            resolved = FunctionFound(function.name, function.id, bindings)
            if resolved.trigger["type"] == "timerTrigger":
                check_schedule(resolved.trigger["schedule"])
        except DoesNotIndex as wrong:
            failed[name] = str(wrong)
        else:
            good[name] = resolved
    return good, failed


def _filled(value: Any, settings: Mapping[str, str]) -> Any:
    if not isinstance(value, str):
        return value

    def setting(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in settings:
            raise DoesNotIndex(f"'%{name}%' does not resolve to a value.")
        return settings[name]

    return SETTING.sub(setting, value)


def check_schedule(schedule: str) -> None:
    """``DoesNotIndex`` unless it is an NCRONTAB expression of five or six fields, or a time span."""
    if TIME_SPAN.fullmatch(schedule):
        return
    fields = schedule.split()
    ranges = RANGES[1:] if len(fields) == 5 else RANGES
    if len(fields) != len(ranges) or not all(map(_is_cron_field, fields, ranges)):
        raise DoesNotIndex(
            f"The schedule expression '{schedule}' was not recognized as a valid cron expression or timespan string."
        )


def _is_cron_field(text: str, limits: tuple[int, int]) -> bool:
    words = WORDS.get(limits, {})

    def in_range(value: str) -> bool:
        number = words.get(value.upper(), int(value) if value.isdecimal() else -1)
        return limits[0] <= number <= limits[1]

    for part in text.split(","):
        span, _, step = part.partition("/")
        if "/" in part and not (step.isdecimal() and int(step) > 0):
            return False
        if span != "*" and not (span and all(in_range(end) for end in span.split("-", 1))):
            return False
    return True


class Routes:
    """Finds the function that an HTTP request is for, as ASP.NET's router does with the triggers' templates."""

    def __init__(self, functions: Mapping[str, FunctionFound], prefix: str) -> None:
        self._routes = sorted(
            (
                _Route.of(function, prefix)
                for function in functions.values()
                if function.trigger["type"] == "httpTrigger"
            ),
            key=lambda route: route.precedence,
        )

    def find(self, method: str, path: str) -> tuple[FunctionFound, dict[str, str]] | None:
        """The function and its route's parameters. None, so 404, also for a path that has other methods."""
        for route in self._routes:
            if not route.methods or method.upper() in route.methods:
                match = route.pattern.fullmatch(path.strip("/"))
                if match:
                    return route.function, {
                        key: unquote(value) for key, value in match.groupdict().items() if value is not None
                    }
        return None


@dataclass(frozen=True)
class _Route:
    function: FunctionFound
    methods: frozenset[str]
    pattern: re.Pattern[str]
    precedence: tuple[int, ...]
    """Of each segment: a text before a constrained parameter, before a free one, before a catch-all."""

    @classmethod
    def of(cls, function: FunctionFound, prefix: str) -> _Route:
        trigger = function.trigger
        template = "/".join(filter(None, [prefix, (trigger.get("route") or function.name).strip("/")]))
        pattern, precedence = "", []
        for number, segment in enumerate(template.split("/")):
            slash = "/" if number else ""
            whole = re.fullmatch(r"\{(\*{0,2})(\w+)(?::([^}?]+))?(\?)?\}", segment)
            if whole:
                stars, name, constraint, optional = whole.groups()
                body = ".*" if stars else _CONSTRAINTS.get(constraint or "", "[^/]+")
                text = f"{slash}(?P<{name}>{body})"
                pattern += f"(?:{text})?" if optional or stars else text
                precedence.append(4 if stars else 2 if constraint else 3)
            else:
                pattern += slash + "".join(_part(each) for each in re.split(r"(\{\w+\})", segment))
                precedence.append(1)
        methods = frozenset(str(method).upper() for method in trigger.get("methods") or [])
        return cls(function, methods, re.compile(pattern, re.IGNORECASE), tuple(precedence))


_CONSTRAINTS = {"int": r"-?\d+", "guid": r"[0-9a-fA-F-]{32,36}", "alpha": r"[A-Za-z]+", "bool": r"(?:true|false)"}


def _part(text: str) -> str:
    return f"(?P<{text[1:-1]}>[^/]+?)" if text.startswith("{") else re.escape(text)
