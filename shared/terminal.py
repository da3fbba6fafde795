"""How commands talk to people: progress and messages on standard error, results on standard output."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from shared.errors import Cancelled, printable

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")

REFRESH_SECONDS = 0.2
WIDE = 1000
"""Columns where there is no terminal: nothing is cut."""
QUIET_LINE_SECONDS = 15.0
"""Without a terminal a line is printed this often."""


def bytes_text(count: float) -> str:
    """``1.2 GiB``"""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def duration_text(seconds: float) -> str:
    """``2 h 05 min``, ``3 min 20 s`` or ``4.2 s``"""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def message(text: str) -> None:
    print(printable(text), file=sys.stderr, flush=True)  # noqa: T201 - this is where people are spoken to


def result(text: str) -> None:
    print(printable(text), flush=True)  # noqa: T201


def console() -> Console:
    """For tables, on standard output."""
    from rich.console import Console

    wide = None if sys.stdout.isatty() else WIDE
    return Console(highlight=False, soft_wrap=True, width=wide)


def interruptible(run: Callable[[Callable[[], None]], T]) -> T:
    """``run`` in a thread of its own, given a ``check`` that raises ``Cancelled`` after Ctrl-C.

    A statement of SQL Server blocks the thread that waits for it, and Ctrl-C is heard by the main thread alone. What
    ``run`` returns or raises, when it has put in order what it was at, comes back here.
    """
    stop = threading.Event()

    def check() -> None:
        if stop.is_set():
            raise Cancelled("interrupted", remedy="Run it again.")

    with ThreadPoolExecutor(1, "run") as pool:
        future = pool.submit(run, check)
        while True:
            try:
                while not future.done():
                    wait([future], REFRESH_SECONDS)
                return future.result()
            except KeyboardInterrupt:
                stop.set()


class Meter:
    """What a progress line says: how much is done, how fast, how long it will still take."""

    def __init__(
        self,
        done: Callable[[], tuple[int, int, int | None]] | None,
        verb: str,
        *,
        beside: Callable[[], str] = lambda: "",
    ) -> None:
        """``done`` returns files, bytes, and how many files there are in all, None while nobody knows; None: no files
        are counted. ``beside`` says what else goes on."""
        self._done = done
        self._verb = verb
        self._beside = beside
        self._began = time.monotonic()

    def text(self) -> str:
        beside = self._beside()
        files, count, total = self._done() if self._done else (0, 0, None)
        if not files and (beside or not self._done):
            return beside or self._verb
        seconds = max(time.monotonic() - self._began, 0.001)
        parts = [f"{self._verb} {files:,} files", bytes_text(count), f"{bytes_text(count / seconds)}/s"]
        if total and files:
            parts.append(f"{100 * files // total} %")
            if files < total:
                parts.append(f"{duration_text(seconds * (total - files) / files)} left")
        if beside:
            parts.append(beside)
        return ", ".join(parts)


@contextmanager
def progress(meter: Meter, *, quiet: bool) -> Iterator[None]:
    """Show the meter while the block runs: a live line on a terminal, else a line now and then; ``quiet``: nothing."""
    if quiet:
        yield
        return
    terminal = sys.stderr.isatty()
    stop = threading.Event()

    def show() -> None:
        if terminal:
            from rich.console import Console

            with Console(stderr=True, highlight=False).status(meter.text()) as status:
                while not stop.wait(REFRESH_SECONDS):
                    status.update(meter.text())
        else:
            while not stop.wait(QUIET_LINE_SECONDS):
                message(meter.text())

    thread = threading.Thread(target=show, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
