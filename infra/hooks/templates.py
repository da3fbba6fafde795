"""What the templates say, read from the templates: names of settings, parameters and outputs, shapes, abbreviations.

They are text files with one thing a line, as ``bicep format`` leaves them. tests/infra/test_hooks.py holds what is read
here against what the compiler makes of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from infra.hooks.program import ROOT

INFRA = ROOT / "infra"
PREFIX = "LIFEBOAT_"


@dataclass(frozen=True, slots=True)
class Shape:
    """A way to deploy. ``values`` as text: ``'true'``, ``'integrated'``."""

    values: Mapping[str, str]
    settings: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        return self.values[name]

    def has(self, name: str) -> bool:
        return self.values[name] == "true"


def _text(name: str) -> str:
    return (INFRA / name).read_text("utf-8")


@cache
def settings() -> Mapping[str, tuple[str, ...]]:
    """The settings that can be deployed, without their prefix; for each the values that it may have, none: any."""
    text = _text("settings.bicep")
    types = dict(re.findall(r"^  ([A-Z][A-Z_]+): (.+)\?$", text, re.MULTILINE))
    named = dict(re.findall(r"^type (\w+) = (.+)$", text, re.MULTILINE))
    return {name: tuple(re.findall(r"'([^']+)'", str(named.get(kind, kind)))) for name, kind in types.items()}


@cache
def parameters() -> frozenset[str]:
    """The azd variables that main.parameters.json asks for."""
    return frozenset(re.findall(r"\$\{([A-Z_]+)", _text("main.parameters.json")))


@cache
def default_address_space() -> str:
    found = re.search(r"^param addressSpace string = '([^']+)'$", _text("main.bicep"), re.MULTILINE)
    return found[1] if found else ""


@cache
def outputs() -> frozenset[str]:
    return frozenset(re.findall(r"^output ([A-Z_]+) ", _text("main.bicep"), re.MULTILINE))


@cache
def abbreviations() -> Mapping[str, str]:
    return dict(json.loads(_text("abbreviations.json")))


@cache
def shapes() -> Mapping[str, Shape]:
    """By name. A shape is written whole, or as what differs from ``plain``: ``union(plain, {...})``."""
    first, _, rest = _text("shapes.bicep").partition("var shapes {")
    plain = _shape(first, indent=2)
    found: dict[str, Shape] = {"plain": plain}
    for name, start, block in re.findall(r"^  '?([a-z-]+)'?: (.*\{)(.*\n(?:    .*\n|\n)*)", rest, re.MULTILINE):
        own = _shape(block, indent=4)
        based = start.startswith("union(plain")
        found[name] = Shape({**plain.values, **own.values}, {**plain.settings, **own.settings}) if based else own
    return found


@cache
def thresholds() -> Mapping[str, tuple[int, int]]:
    """Those of alerts, with the least and the most of each."""
    found = re.search(r"^type Thresholds = \{\n(.*?)^\}", _text("types.bicep"), re.MULTILINE | re.DOTALL)
    ranges = re.findall(r"@minValue\((\d+)\)\s+@maxValue\((\d+)\)\s+(\w+): int", found[1] if found else "")
    return {name: (int(least), int(most)) for least, most, name in ranges}


@cache
def default_thresholds() -> Mapping[str, int]:
    found = re.search(r"^param thresholds Thresholds = \{\n(.*?)^\}", _text("main.bicep"), re.MULTILINE | re.DOTALL)
    return {name: int(value) for name, value in re.findall(r"(\w+): (\d+)", found[1] if found else "")}


@cache
def python_version() -> str:
    found = re.search(r"name: 'python'\s+version: '([\d.]+)'", _text("modules/functionApp.bicep"))
    return found[1] if found else ""


def _shape(text: str, *, indent: int) -> Shape:
    edge = " " * indent
    return Shape(
        dict(re.findall(rf"^(?:{edge}| )([a-z]\w+): '?([\w-]+)'?(?: \}}\))?$", text, re.MULTILINE)),
        dict(re.findall(rf"^{edge}  ([A-Z_]+): '([^']*)'$", text, re.MULTILINE)),
    )
