"""The queries of ``infra/queries``, and what Microsoft's own KQL language service says about them."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

QUERIES = Path("infra/queries")
PACKAGE = Path(".cache/kusto/node_modules/@kusto/language-service-next")
INSTALL = "npm install --prefix .cache/kusto @kusto/language-service-next@12"
SAMPLES: Mapping[str, str] = {
    "hours": "3",
    "days": "30",
    "ratio": "3",
    "least": "10",
    "event": "protect.completed",
    **dict.fromkeys(("backup", "keeper", "agent"), "00000000-0000-0000-0000-000000000000"),
    "vault": "stlbvtest",
    "keyVault": "/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/kv",
}
"""What Bicep puts into a query's ``{place}``: for each name something of the same kind."""
_PLACE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Looked:
    problems: list[str]
    """Of syntax, names and types, each by its code: ``KS142: The name ...``."""
    columns: dict[str, str]
    """Of the result, with their types."""


def alerts() -> dict[str, str]:
    """The texts of the alerts' queries by their names."""
    return _texts("alerts")


def charts() -> dict[str, str]:
    """The same of the workbook."""
    return _texts("workbook")


def filled(text: str) -> str:
    """With a sample in each place; ``KeyError`` for a place that nobody knows."""
    return _PLACE.sub(lambda place: SAMPLES[place[1]], text)


def look(queries: Mapping[str, str]) -> dict[str, Looked]:
    """What the language service says of each, given the columns of ``tables.json``. Places are filled before."""
    assert PACKAGE.is_dir(), f"Microsoft's KQL language service is not installed: {INSTALL}"
    asked = {"tables": tables(), "queries": {name: filled(text) for name, text in queries.items()}}
    done = subprocess.run(
        ["node", str(Path(__file__).with_name("kql.mjs")), str(PACKAGE)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {name: Looked(**each) for name, each in json.loads(done.stdout).items()}


@cache
def tables() -> dict[str, dict[str, str]]:
    read: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("tables.json").read_text())["tables"]
    return read


def events_in(text: str) -> set[str]:
    """Names of events that ``text`` compares ``Name`` with."""
    compared = re.findall(r'\bName (?:==|in) (\([^)]*\)|"[^"]*")', filled(text))
    return {name for each in compared for name in re.findall(r'"([^"]*)"', each)}


def attributes_in(text: str) -> set[str]:
    return set(re.findall(r'Properties\["([^"]*)"\]', text))


def conversions_in(text: str) -> list[tuple[str, str]]:
    """Each attribute with the function that reads it, ``("expiry_days", "toint")``; without one: an empty text."""
    return [(name, function) for function, name in re.findall(r'(\w*)\(?Properties\["([^"]*)"\]', text)]


def _texts(folder: str) -> dict[str, str]:
    return {path.stem: path.read_text() for path in sorted((QUERIES / folder).glob("*.kql"))}
