"""Which paths inside the share are meant.

Patterns have ``/`` between parts, ``*`` within one, ``**`` across, without regard to case.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

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

    def enters(self, folder: str) -> bool:
        """Whether something in the folder may match."""
        return True


class Files:
    """Just these files, each by its path as it is written."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = frozenset(paths)
        self._folders = frozenset(folder for path in self._paths for folder in _folders_of(path))

    def match(self, path: str) -> bool:
        return path in self._paths

    def enters(self, folder: str) -> bool:
        """Whether one of them lies in the folder, as deep as it may be."""
        return folder in self._folders


def _folders_of(path: str) -> Iterator[str]:
    folder = path.rpartition("/")[0]
    while folder:
        yield folder
        folder = folder.rpartition("/")[0]


def _translate(pattern: str) -> str:
    return "".join(_MEANING.get(token) or re.escape(token) for token in _TOKEN.findall(pattern))
