"""A little lexer of T-SQL, written from sql-docs alone: what the server makes of quoted names and texts.

"Database identifiers", "Constants (Transact-SQL)", "Backslash (line continuation)", "Comment".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_CONTINUATION = re.compile(r"\\(\r\n|\r|\n)")


@dataclass(frozen=True)
class Token:
    kind: str
    """``name``, ``text``, ``comment``, ``word`` or ``sign``."""
    value: str


class Unclosed(Exception):
    """A quote or a comment does not end."""


def tokens(statement: str) -> list[Token]:
    found = []
    at = 0
    while at < len(statement):
        letter, two = statement[at], statement[at : at + 2]
        if letter.isspace():
            at += 1
        elif letter == "[":
            value, at = _quoted(statement, at + 1, "]")
            found.append(Token("name", value))
        elif two in ("N'", "n'"):
            value, at = _quoted(statement, at + 2, "'")
            found.append(Token("text", _CONTINUATION.sub("", value)))
        elif letter == "'":
            value, at = _quoted(statement, at + 1, "'")
            found.append(Token("text", _CONTINUATION.sub("", value)))
        elif letter == '"':
            value, at = _quoted(statement, at + 1, '"')
            found.append(Token("name", value))
        elif two == "--":
            end = statement.find("\n", at)
            end = len(statement) if end < 0 else end
            found.append(Token("comment", statement[at:end]))
            at = end
        elif two == "/*":
            end = statement.find("*/", at)
            if end < 0:
                raise Unclosed("comment")
            found.append(Token("comment", statement[at : end + 2]))
            at = end + 2
        elif letter.isalnum() or letter in "_@#$":
            end = at
            while end < len(statement) and (statement[end].isalnum() or statement[end] in "_@#$"):
                end += 1
            found.append(Token("word", statement[at:end]))
            at = end
        else:
            found.append(Token("sign", letter))
            at += 1
    return found


def _quoted(statement: str, at: int, end: str) -> tuple[str, int]:
    """What stands up to the ``end`` that is not doubled, and where it goes on behind that."""
    value = ""
    while at < len(statement):
        if statement[at] != end:
            value += statement[at]
            at += 1
        elif statement[at : at + 2] == end * 2:
            value += end
            at += 2
        else:
            return value, at + 1
    raise Unclosed(end)
