"""Markdown out of names that anybody may have chosen: nothing in a name can end a span, a cell or a block early.

CommonMark 0.31 with tables as GitHub has them. What is no letter to a reader (control characters, line ends, marks that
turn the direction of writing) is shown as an escape, so that no name looks like another or like the text around it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

OPEN, DONE, FAILED = "☐", "☑", "☒"
"""Boxes: to be ticked by a person; ticked by us; crossed by us."""

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_SPECIAL = re.compile(r"([\\`*_\[\]<>&|~])")
_BEGINS_A_BLOCK = re.compile(r"[-+=#]|\d{1,9}(?=[.)](\s|$))")


def visible(text: str) -> str:
    """``text`` on one line, with what cannot be seen written as an escape."""
    return "".join(
        each if unicodedata.category(each) not in _HIDDEN else each.encode("unicode_escape").decode() for each in text
    )


def plain(text: object) -> str:
    """``text`` as words of a paragraph or a cell, and nothing else."""
    words = _SPECIAL.sub(r"\\\1", " ".join(visible(str(text)).split()))
    if words[:1] in (OPEN, DONE, FAILED):  # a box of ours is written plainly, and nobody else's is one
        return f"&#x{ord(words[0]):X};{words[1:]}"
    begins = _BEGINS_A_BLOCK.match(words)
    if begins is None:
        return words
    digits = begins[0] if begins[0].isdigit() else ""
    return f"{digits}\\{words[len(digits) :]}"


def code(text: object) -> str:
    """``text`` as a code span."""
    shown = visible(str(text))
    if not shown.strip():
        return "(empty)"
    fence = "`" * (_longest_run(shown) + 1)
    padded = f" {shown} " if shown.startswith(("`", " ")) or shown.endswith(("`", " ")) else shown
    return f"{fence}{padded}{fence}"


def block(lines: Iterable[str], language: str) -> str:
    """Lines as a code block. ``language`` is a word of ours."""
    shown = [visible(line).rstrip() for line in lines]
    fence = "`" * max(3, _longest_run("\n".join(shown)) + 1)
    return "\n".join([f"{fence}{language}", *shown, fence])


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are markdown already."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def bullets(items: Iterable[str]) -> str:
    """A list of items that are markdown already, each of one line."""
    return "\n".join(f"- {item}" for item in items)


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
