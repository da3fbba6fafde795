"""Bounded queues between threads that end together when one of them fails."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Channel(Generic[Item]):
    """A queue that is bounded by the sum of its items' weights.

    ``put`` blocks while it is full, ``take`` while it is empty. After ``close``, what is in it can still be taken;
    after ``abort``, both raise ``EOFError``.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._items: deque[tuple[Item, int]] = deque()
        self._weight = 0
        self._closed = False
        self._aborted = False
        self._changed = threading.Condition()

    def put(self, item: Item, weight: int = 1) -> None:
        self.put_all(((item, weight),))

    def put_all(self, items: Iterable[tuple[Item, int]]) -> None:
        """Put several items at once, with their weights; blocks before them while the queue is full."""
        with self._changed:
            while self._weight >= self._most and not self._aborted:
                self._changed.wait()
            if self._aborted:
                raise EOFError
            for item, weight in items:
                self._items.append((item, weight))
                self._weight += weight
            self._changed.notify_all()

    def take(self, wait: bool = True) -> Item | None:
        """The next item; without ``wait``, None where there is none now. ``EOFError`` after the last."""
        with self._changed:
            while not self._items:
                if self._closed or self._aborted:
                    raise EOFError
                if not wait:
                    return None
                self._changed.wait()
            if self._aborted:
                raise EOFError
            item, weight = self._items.popleft()
            was_full = self._weight >= self._most
            self._weight -= weight
            if was_full:
                self._changed.notify_all()
            return item

    def close(self) -> None:
        """No more will be put."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def abort(self) -> None:
        """Give up: everybody who waits, or comes later, is sent away."""
        with self._changed:
            self._aborted = True
            self._changed.notify_all()
