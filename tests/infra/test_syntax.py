"""Where no compiler is: the templates still have to be Bicep, by the grammar that editors use (tree-sitter)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

from tests.infra.bicep import INFRA

YOUNGER_THAN_THE_GRAMMAR = [
    (r"(?m)^var (\w+) [^=\n{]*(?:\{\n.*\n\})? ?= ", r"var \1 = "),  # a variable with a type
    (r"(?m)^param (\w+) = ", r"var \1 = "),  # in a parameter file
    (r"(?<=[\w)\]])!(?![=.])", ""),  # never null, at the end of an expression
    (r"(?m)(?<=\w)\?$", ""),  # a type that may be null, at the end of a line
    (r"\.\.\.(?=[\w({])", "spread: "),  # another object's properties
]
"""What Bicep has learnt since (tree-sitter-bicep 1.1.0), and what is put in its place, on the same lines."""

_PARSER = Parser(Language(tree_sitter_bicep.language()))


def errors(text: str) -> list[str]:
    """One for each place that is no Bicep: its line, and what the parser makes of it."""
    for pattern, older in YOUNGER_THAN_THE_GRAMMAR:
        text = re.sub(pattern, older, text)
    return [f"line {node.start_point[0] + 1}: {node}" for node in _wrong(_PARSER.parse(text.encode()).root_node)]


def _wrong(node: Node) -> Iterator[Node]:
    if node.is_error or node.is_missing:
        yield node
        return
    for child in node.children:
        yield from _wrong(child)


def test_every_template_and_shape_is_bicep() -> None:
    looked = {path.relative_to(INFRA).as_posix(): errors(path.read_text()) for path in INFRA.rglob("*.bicep*")}
    assert len(looked) > 20
    assert {name: found for name, found in looked.items() if found} == {}


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("chosen.landing ?", "chosen.landing ?? :"),
        ("params: {", "params: "),
        ("param shape ShapeName = 'plain'", "param shape ShapeName = 'plain"),
        ("module vault 'modules/vault.bicep' = {", "module vault 'modules/vault.bicep' {"),
        ("listed(alertEmails)", "listed(alertEmails"),
        ("part => trim(part)", "part =>"),
        ("output AZURE_LOCATION string", "output AZURE_LOCATION"),
        ("import { ", "import "),
    ],
)
def test_a_mistake_that_is_planted_is_found(right: str, wrong: str) -> None:
    text = Path(INFRA / "main.bicep").read_text()
    assert right in text
    assert errors(text) == []
    assert errors(text.replace(right, wrong, 1)) != []


def test_types_decorators_and_lambdas_are_known() -> None:
    assert (
        errors("""
import { Shape } from 'types.bicep'

@sealed()
@description('A name.')
type Named = {
  @minLength(3)
  name: string
  kind: ('small' | 'large')?
  *: string[]
}

func doubled(numbers int[]) int[] => map(numbers, number => number * 2)

var some Shape = { name: 'a', ...{ kind: 'small' } }
var sum = reduce(filter(doubled([1, 2]), (n, i) => n > i), 0, (all, each) => all + each)
var address = network!.outputs.?address ?? ''
""")
        == []
    )
