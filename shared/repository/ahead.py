"""Work on a sequence that is fetched ahead of whoever uses it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def fetched_ahead(
    fetch: Callable[[Item], Result], items: Iterable[Item], *, at_once: int
) -> Generator[tuple[Item, Result]]:
    """Each item with what ``fetch`` made of it, in their order; at most ``at_once`` are fetched and not yet used.

    What ``fetch`` raises is raised in its turn. Close the generator when it is not used to its end: its threads end
    then.
    """
    with ThreadPoolExecutor(at_once, "ahead") as pool:
        waiting: deque[tuple[Item, Future[Result]]] = deque()
        for item in items:
            waiting.append((item, pool.submit(fetch, item)))
            if len(waiting) >= at_once:
                item, future = waiting.popleft()
                yield item, future.result()
        while waiting:
            item, future = waiting.popleft()
            yield item, future.result()
