"""Patterns on paths inside the share: ``/`` between parts, ``*`` within one, ``**`` across, without regard to case."""

from __future__ import annotations

import re
from collections.abc import Iterable

_TOKEN = re.compile(r"\*\*/|\*\*|\*|\?|[^*?]+")
_MEANING = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


class Patterns:
    """Several patterns; a path matches when any of them does, or matches a folder that the path lies in."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(pattern.strip().strip("/") for pattern in patterns if pattern.strip().strip("/"))
        alternatives = "|".join(_translate(pattern) for pattern in self.patterns)
        self._expression = re.compile(rf"(?:{alternatives})(?:/.*)?\Z", re.IGNORECASE | re.DOTALL)

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def match(self, path: str) -> bool:
        """False for every path where there is no pattern."""
        return bool(self.patterns) and self._expression.match(path) is not None


def _translate(pattern: str) -> str:
    return "".join(_MEANING.get(token) or re.escape(token) for token in _TOKEN.findall(pattern))
