"""The scan: folders are listed in a thread of its own, ahead of those who compare what was found."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence

from shared.fileshare.channel import Channel
from shared.fileshare.patterns import Patterns
from shared.fileshare.source import Listing, Source, Unreadable

ENTRIES_AHEAD = 150_000
"""How many entries may be listed and not yet taken: what bounds the scan's memory, some 50 MB."""


class Scan:
    """Lists ``roots`` and everything below them, but what ``exclude`` matches. It runs from the moment it is made.

    Iterating yields each folder once, a folder before those in it; an error of the source as a whole is raised there.
    ``shallow``: roots whose folders are not entered. ``known``: by folder, names of folders in it that are not entered.
    Close it; ``abort`` may be called from any thread.
    """

    def __init__(
        self,
        source: Source,
        roots: Sequence[str] = ("",),
        *,
        exclude: Patterns,
        shallow: frozenset[str] = frozenset(),
        known: Mapping[str, frozenset[str]] | None = None,
    ) -> None:
        self._source = source
        self._exclude = exclude
        self._shallow = shallow
        self._known = known or {}
        self._pending = list(reversed(roots))
        self._found: Channel[Listing | Unreadable] = Channel(ENTRIES_AHEAD)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="scan", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Listing | Unreadable]:
        while True:
            try:
                found = self._found.take()
            except EOFError:
                break
            assert found is not None
            yield found
        if self._failure is not None:
            raise self._failure

    def abort(self) -> None:
        """Stop listing; whoever iterates gets to the end."""
        self._found.abort()

    def close(self) -> None:
        """Stop listing and wait until the thread has ended, but not for a server that does not answer."""
        self.abort()
        self._thread.join(5.0)

    def _run(self) -> None:
        try:
            for found in self._source.scan(self._pending):
                weight = 1
                if isinstance(found, Listing):
                    self._enter(found)
                    weight += len(found)
                self._found.put(found, weight)
        except EOFError:
            pass  # aborted
        except BaseException as error:
            self._failure = error
        finally:
            self._found.close()

    def _enter(self, listing: Listing) -> None:
        path = listing.path
        if path in self._shallow:
            return
        known = self._known.get(path, frozenset())
        prefix = f"{path}/" if path else ""
        exclude = self._exclude
        for name in listing.folders():
            if name not in known and not (exclude and exclude.match(prefix + name)):
                self._pending.append(prefix + name)
