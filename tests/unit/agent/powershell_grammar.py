"""PowerShell as the grammar of tree-sitter reads it: the tree of a script, and what a literal in it means.

The grammar is not Microsoft's: what it takes may still be refused by Windows. It knows enough to find a slip of the
pen, and what a value that broke out of its quotes would have become.
"""

from __future__ import annotations

from collections.abc import Iterator

import tree_sitter_powershell
from tree_sitter import Language, Node, Parser

_PARSER = Parser(Language(tree_sitter_powershell.language()))


def parsed(source: str) -> Node:
    return _PARSER.parse(source.encode()).root_node


def walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from walk(child)


def named(node: Node, *kinds: str) -> list[Node]:
    return [each for each in walk(node) if each.type in kinds]


def text_of(node: Node) -> str:
    return (node.text or b"").decode()


def mistakes(source: str) -> list[str]:
    """Where the grammar gave up: line and text."""
    wrong = [each for each in walk(parsed(source)) if each.type == "ERROR" or each.is_missing]
    return [f"line {each.start_point[0] + 1}: {text_of(each)[:80]!r}" for each in wrong]


_MAY_BE_IN_A_VALUE = {
    *("program", "statement_list", "pipeline", "pipeline_chain", "parenthesized_expression", "logical_expression"),
    *("bitwise_expression", "comparison_expression", "additive_expression", "multiplicative_expression"),
    *("format_expression", "range_expression", "array_literal_expression", "unary_expression"),
    *("expression_with_unary_operator", "cast_expression", "type_literal", "type_spec", "type_name"),
    *("type_identifier", "string_literal", "verbatim_string_characters", "integer_literal"),
    *("hexadecimal_integer_literal", "(", ")", "+", "[", "]"),
}


def value_of(source: str) -> str:
    """What an expression of strings and characters comes to. ``AssertionError``: it holds anything else, such as a
    variable or a command."""
    tree = parsed(source)
    assert not mistakes(source), mistakes(source)
    strange = {each.type for each in walk(tree)} - _MAY_BE_IN_A_VALUE
    assert not strange, f"{source} holds {strange}"
    assert {text_of(each) for each in named(tree, "type_name")} <= {"char"}
    units = b""
    for leaf in named(tree, "verbatim_string_characters", "hexadecimal_integer_literal"):
        if leaf.type == "verbatim_string_characters":
            units += text_of(leaf)[1:-1].replace("''", "'").encode("utf-16-le")
        else:
            units += int(text_of(leaf), 16).to_bytes(2, "little")
    return units.decode("utf-16-le", "surrogatepass")
