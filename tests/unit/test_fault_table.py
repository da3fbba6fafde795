"""The README's table of faults is whole: each number, in order, with tests that exist and name it. What the page of
guarantees names exists too."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NUMBERS = range(1, 44)
CANNOT = "cannot be tested here:"


@cache
def _rows() -> list[tuple[str, str, str]]:
    """The cells of each row: fault, what happens, tests."""
    table = (ROOT / "README.md").read_text().split("### Faults\n")[1].split("\n#")[0]
    lines = [line for line in table.splitlines() if re.match(r"\| \d+ ", line)]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]  # type: ignore[misc]


@cache
def _tests() -> dict[str, set[str]]:
    """Every test of the repository by its name, with the files that have it."""
    found: dict[str, set[str]] = {}
    for file in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                found.setdefault(node.name, set()).add(file.relative_to(ROOT).as_posix())
    return found


def test_each_number_has_its_row_in_order_and_no_cell_is_empty() -> None:
    assert [int(fault.split()[0]) for fault, _, _ in _rows()] == list(NUMBERS)
    assert all(len(row) == 3 and all(row) for row in _rows())


@pytest.mark.parametrize("number", NUMBERS)
def test_each_row_names_tests_that_exist_and_name_the_fault_or_says_why_there_is_none(number: int) -> None:
    _, _, tests = _rows()[number - 1]
    if tests.startswith(CANNOT):
        assert len(tests) > len(CANNOT) + 20, "a reason"
        return
    named = re.findall(r"`(?:(?P<path>tests/[\w/.]+)::)?(?P<name>test_\w+)`", tests)
    assert named, tests
    for path, name in named:
        assert name in _tests(), name
        assert not path or path in _tests()[name], path
        assert number in _faults_named(name), f"{name} does not name fault {number}"


def test_the_page_of_guarantees_names_tests_that_exist() -> None:
    named = re.findall(r"`(test_\w+)`", (ROOT / "docs" / "guarantees.md").read_text())
    assert len(named) > 10
    assert [name for name in named if name not in _tests()] == []


def _faults_named(test: str) -> set[int]:
    """``test_..._fault_12``, ``test_..._faults_1_2_and_39`` and ``test_12_...``."""
    said = re.search(r"_faults?_((?:\d+_|and_)*\d+)$", test) or re.match(r"test_(?:fault_)?(\d+)_", test)
    return {int(number) for number in re.findall(r"\d+", said[1])} if said else set()
