"""Which files of a share a drill restores: drawn at random, the same ones again from the same seed.

Every file has the same chance, whatever its size, except that none is drawn that is larger than the whole sample: it
would be the only one, and a part of a file proves nothing about the rest. Only where there is no other file, the
smallest of them is taken, whole.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

MOST_FILES = 2_000


@dataclass(frozen=True, slots=True)
class Sample:
    paths: tuple[str, ...]
    bytes: int
    """Of all files in it together."""
    of_files: int
    of_bytes: int
    too_large: int
    """Files that were not in the draw, each larger than the whole sample."""


def draw(files: Iterable[tuple[str, int]], *, seed: str, sample_bytes: int, most_files: int = MOST_FILES) -> Sample:
    """``files``: path and size in bytes of each, in an order that is the same each time. No more than ``most_files`` of
    them are kept in memory."""
    random = Random(seed)  # noqa: S311 - to be repeated, not to be a secret
    drawn: list[tuple[float, str, int]] = []
    of_files = of_bytes = too_large = 0
    smallest: tuple[int, str] | None = None
    for path, size in files:
        of_files += 1
        of_bytes += size
        place = -random.random()
        if size > sample_bytes:
            too_large += 1
            smallest = min(smallest or (size, path), (size, path))
        elif len(drawn) < most_files:
            heapq.heappush(drawn, (place, path, size))
        elif place > drawn[0][0]:
            heapq.heapreplace(drawn, (place, path, size))
    if not drawn and smallest is not None:
        return Sample((smallest[1],), smallest[0], of_files, of_bytes, too_large - 1)
    paths, taken = _fill(sorted(drawn, reverse=True), sample_bytes)
    return Sample(paths, taken, of_files, of_bytes, too_large)


def _fill(drawn: Iterable[tuple[float, str, int]], sample_bytes: int) -> tuple[tuple[str, ...], int]:
    """In the order of the draw, those that there is still room for; and how many bytes they have together."""
    paths, taken = [], 0
    for _, path, size in drawn:
        if taken + size <= sample_bytes:
            paths.append(path)
            taken += size
    return tuple(paths), taken
