"""The README's tables are held against the code: what it names exists, and what exists is named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer

import lifeboat
from shared import errors
from shared.settings import SCHEDULES

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SETTINGS = (ROOT / "shared" / "settings.py").read_text()


def _table(heading: str) -> str:
    return README.split(f"### {heading}\n")[1].split("\n#")[0]


def test_every_setting_that_the_code_reads_is_in_the_readme_and_no_other() -> None:
    read = set(
        re.findall(
            r'(?:_text|_required|_list|_boolean|_choice|_duration|_fraction|_count|_number|_size)\(\s*"([A-Z_]+)"',
            SETTINGS,
        )
    )
    read |= {"DRILL_SQL_USERNAME", "DRILL_SQL_PASSWORD"}  # by the group that a server's settings are
    read |= {f"SCHEDULE_{name}" for name in SCHEDULES}
    named = set(re.findall(r"`([A-Z][A-Z_]+)`", "\n".join(line.split("|")[1] for line in _rows("Settings"))))
    assert named == read


def test_every_schedule_is_in_the_readme_with_its_default() -> None:
    (row,) = [line for line in _rows("Settings") if "`SCHEDULE_BACKUP`" in line]
    for name, schedule in SCHEDULES.items():
        assert f"`SCHEDULE_{name}`" in row
        assert f"`{schedule}`" in row


def _rows(heading: str) -> list[str]:
    return [line for line in _table(heading).splitlines() if line.startswith("| `")]


def test_every_command_and_option_is_in_the_readme() -> None:
    commands = typer.main.get_command(lifeboat.app)
    table = _table("Commands")
    for name, command in _all_commands(commands):
        assert f"`{name} " in table or f"`{name}`" in table, name
        row = next(line for line in table.splitlines() if line.startswith(f"| `{name}"))
        for parameter in command.params:
            for option in parameter.opts:
                if option.startswith("--") and option not in ("--help", "--json"):
                    assert option in row, f"{name} {option}"


def _all_commands(command: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Any: typer does not publish the types of the commands that it makes."""
    if not hasattr(command, "commands"):
        return [(prefix.strip(), command)]
    return [each for name, below in command.commands.items() for each in _all_commands(below, f"{prefix}{name} ")]


def _errors() -> list[type[errors.LifeboatError]]:
    found, pending = [], [errors.LifeboatError]
    while pending:
        each = pending.pop()
        found.append(each)
        pending += each.__subclasses__()
    return found


@pytest.mark.parametrize("error", [each for each in _errors() if each.__module__ == "shared.errors"])
def test_every_reason_code_and_exit_code_is_in_the_readme(error: type[errors.LifeboatError]) -> None:
    assert f"`{error.code}`" in _table("Reasons")
    assert re.search(rf"^\| {error.exit_code} \|", README, re.MULTILINE)


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    drawn = re.findall(r"([A-Z]\w+) +(?:exit (\d+))?", errors.__doc__ or "")
    codes = {name: int(code) for name, code in drawn if code}
    for error in _errors():
        if error.__module__ == "shared.errors":
            assert error.__name__ in dict(drawn)
            if error.__name__ in codes:
                assert error.exit_code == codes[error.__name__]
