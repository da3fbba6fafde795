"""The SMB client: many operations in flight on one connection that mends itself.

``SmbClient`` is used by one thread at a time. Its generators may be used side by side (a stream may be read between
two outcomes of ``read_files``); they share the connection.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Final, Generic, TypeVar, cast

from shared.errors import SourceError, SourceLoginRefused, SourceNotFound, SourceUnreachable
from shared.smb import ntstatus, wire
from shared.smb.channel import Channel, ConnectionLost, Inbox
from shared.smb.endpoint import SmbEndpoint
from shared.smb.operations import Operations, Steps, TooFewCredits
from shared.smb.streams import FileStream, FileWriter
from shared.smb.types import (
    ConnectionFacts,
    FileRead,
    FileUnwritable,
    Listing,
    Looked,
    Opened,
    ReadRequest,
    TooLarge,
    Unreadable,
    Unwritten,
    WriteRequest,
    Written,
)
from shared.smb.wire import Part, Reply

T = TypeVar("T")

_EPOCH: Final = datetime(1601, 1, 1, tzinfo=UTC)
_BUSY_RETRIES: Final = 4
_LOST_WITHOUT_PROGRESS: Final = 6
_LOSSES_OF_ONE: Final = 3
_LARGEST_REQUEST_BYTES: Final = 4 << 20
_SNAPSHOT_LIST_BYTES: Final = 65536


class SmbClient:
    """A folder on a share, over one connection that is made anew whenever it breaks.

    What was outstanding when it broke is asked again, so a caller sees each outcome once. ``SourceUnreachable`` when
    it cannot be made again within ``reconnect_seconds``, or breaks again and again without anything being done;
    ``SourceLoginRefused`` and ``SourceNotFound`` likewise from every method.
    """

    def __init__(
        self,
        endpoint: SmbEndpoint,
        *,
        previous_version: int | None = None,
        timeout_seconds: float = 90.0,
        connect_timeout_seconds: float = 30.0,
        reconnect_seconds: float = 120.0,
        most_losses: int = _LOST_WITHOUT_PROGRESS,
        window: int = 128,
        window_bytes: int = 16 << 20,
        settings_prefix: str = "LIFEBOAT_SHARE",
        on_reconnect: Callable[[str], None] | None = None,
    ) -> None:
        """``previous_version``: a FILETIME out of ``previous_versions()``; every open is then of that version.

        ``timeout_seconds`` is how long the server may be silent while it owes an answer; another client's lease
        alone may take 35. ``window`` is how many operations are in flight at most, ``window_bytes`` how many bytes
        they may bring back together. ``most_losses`` is how often the connection may break without anything being
        done; 0: it is never made anew. ``on_reconnect`` is called with the cause each time that the connection was
        made anew. ``settings_prefix`` is what the settings begin with that errors name.
        """
        self.endpoint = endpoint
        self.reconnects = 0
        """How often the connection was made anew."""
        self.generation = 0
        """Counts connections; what was opened on an earlier one is gone."""
        self.operations = Operations(endpoint.path, previous_version)
        self._timeout_seconds = timeout_seconds
        self._connect_timeout_seconds = connect_timeout_seconds
        self._reconnect_seconds = reconnect_seconds
        self._most_losses = most_losses
        self._window = window
        self._window_bytes = window_bytes
        self._prefix = settings_prefix
        self._on_reconnect = on_reconnect
        self._channel: Channel | None = None
        self._facts: ConnectionFacts | None = None
        self._lost_in_a_row = 0
        self._session_id = 0

    def __enter__(self) -> SmbClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def connect(self, *, make_path: bool = False) -> None:
        """Connect and make sure that the endpoint's folder is there; with ``make_path`` it is made if it is not.

        Raises ``SourceUnreachable``, ``SourceLoginRefused``, ``SourceNotFound``, each naming setting and remedy.
        """
        self.channel()
        url = f"{self._prefix}_URL"
        if make_path and self.endpoint.path:
            try:
                self.make_directory("")
            except FileUnwritable as error:
                raise SourceError(
                    f"the folder {self.endpoint.url} cannot be made: {error.message}",
                    setting=url,
                    path=self.endpoint.path,
                ) from error
        found = self.one(self.operations.look_at, "", wire.DIRECTORY_FILE)
        if isinstance(found, Opened):
            return
        what = f"the folder {self.endpoint.url}"
        if found.reason == "access-denied":
            raise SourceLoginRefused(
                f"{what} cannot be opened by {self.endpoint.username}: {found.message}",
                setting=f"{self._prefix}_USERNAME",
                remedy=f"give the user of {self._prefix}_USERNAME the right 'Read & execute' on the folder and all "
                "below it",
            )
        raise SourceNotFound(
            f"{what} does not exist" if found.reason == "vanished" else f"{what} cannot be opened: {found.message}",
            setting=url,
            remedy=f"check the path in {url}",
        )

    def close(self) -> None:
        """Close the connection; open streams end with it. The client may be connected again."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    @property
    def connected(self) -> bool:
        """Whether there is a connection now; it may turn out to be broken."""
        return self._channel is not None

    @property
    def facts(self) -> ConnectionFacts:
        """What was agreed with the server; connects if that has not happened."""
        self.channel()
        assert self._facts is not None
        return self._facts

    # --- reading -----------------------------------------------------------------------------------------------

    def list_directories(self, pending: list[str] | deque[str], *, security: bool) -> Iterator[Listing | Unreadable]:
        """List the directories whose paths are taken from the right end of ``pending``.

        The consumer appends further ones (sub-directories) between two outcomes; it ends when ``pending`` is empty
        and nothing is in flight. ``""`` is the endpoint's own folder. Each path has one outcome, in any order.
        """

        def source(wait: bool) -> _Task[Listing | Unreadable] | None:
            if pending:
                path = pending.pop()
                return _Task(
                    2 * wire.CREDIT_BYTES,
                    self.operations.list_directory,
                    path,
                    security,
                    unanswered=lambda reason, why: Unreadable(path, reason, 0, why),
                )
            if wait:
                raise EOFError
            return None

        return self._pump(source)

    def read_files(
        self, next_request: Callable[[bool], ReadRequest | None], *, small_limit_bytes: int, security: bool
    ) -> Iterator[FileRead | TooLarge | Unreadable]:
        """Read small files whole.

        ``next_request(wait)`` gives the next one. With ``wait`` false it is asked while replies are outstanding and
        returns None for "nothing right now"; with ``wait`` true it may block. It raises ``EOFError`` when there will
        be no more. Each request has one outcome, in any order; an ``Unreadable`` carries its request.
        """

        def source(wait: bool) -> _Task[FileRead | TooLarge | Unreadable] | None:
            request = next_request(wait)
            if request is None:
                return None
            return _Task(
                request.size,
                self.operations.read,
                request,
                small_limit_bytes,
                security,
                unanswered=lambda reason, why: Unreadable(request.path, reason, 0, why, request),
            )

        return self._pump(source)

    def look(self, next_request: Callable[[bool], ReadRequest | None]) -> Iterator[Looked | Unreadable]:
        """What files are now, by opens that ask for attributes only; ``next_request`` as in ``read_files``."""

        def source(wait: bool) -> _Task[Looked | Unreadable] | None:
            request = next_request(wait)
            if request is None:
                return None
            return _Task(
                0,
                self.operations.look,
                request,
                unanswered=lambda reason, why: Unreadable(request.path, reason, 0, why, request),
            )

        return self._pump(source)

    def open_stream(
        self,
        path: str,
        *,
        offset: int = 0,
        security: bool = False,
        chunk_bytes: int = 1 << 20,
        ahead_bytes: int = 8 << 20,
    ) -> FileStream:
        """Open a file of any size to be read from ``offset`` to its end; ``FileUnreadable`` if it cannot be opened.

        ``ahead_bytes`` are asked for in advance, ``chunk_bytes`` at a time.
        """
        return FileStream(
            self, path, offset=offset, security=security, chunk_bytes=chunk_bytes, ahead_bytes=ahead_bytes
        )

    def previous_versions(self) -> list[int]:
        """The FILETIMEs of the endpoint's previous versions, newest first; empty where the server has none."""
        asked = _SNAPSHOT_LIST_BYTES
        while True:
            reply = self.one(
                self.operations.ask,
                "",
                wire.FILE_LIST_DIRECTORY | wire.FILE_READ_ATTRIBUTES,
                wire.DIRECTORY_FILE,
                lambda file, size=asked: wire.ioctl(wire.FSCTL_SRV_ENUMERATE_SNAPSHOTS, size, file),
            )
            if isinstance(reply, int) or reply.status not in (ntstatus.SUCCESS, ntstatus.BUFFER_OVERFLOW):
                return []
            with _readable():
                needed, names = wire.snapshot_times(wire.ioctl_output(reply))
            if needed + 16 <= asked or names or asked >= wire.CREDIT_BYTES * 16:
                return sorted(filter(None, map(_filetime, names)), reverse=True)
            asked = min(needed + 16, wire.CREDIT_BYTES * 16)

    def free_space(self) -> int | None:
        """Bytes that this user may still write there; None where the server does not say."""
        reply = self.one(self.operations.ask, "", wire.FILE_READ_ATTRIBUTES, wire.DIRECTORY_FILE, wire.query_free_space)
        if isinstance(reply, int) or reply.status:
            return None
        with _readable():
            return wire.free_bytes(wire.buffer(reply))

    # --- restoring ---------------------------------------------------------------------------------------------

    def stat(self, path: str) -> Opened | None:
        """What is at ``path``, or None where nothing is; ``FileUnwritable`` if the server does not let us see."""
        found = self.one(self.operations.look_at, path)
        if isinstance(found, Opened):
            return found
        if found.reason == "vanished":
            return None
        raise FileUnwritable(path, found.reason, found.status, found.message)

    def make_directory(self, path: str) -> bool:
        """Make the directory and its parents. True: made now; False: it was there. ``FileUnwritable`` otherwise."""
        name = self._name(path)
        status = self.one(self.operations.make_directory, name)
        if status == ntstatus.OBJECT_PATH_NOT_FOUND:
            separator = "\\".encode("utf-16-le")
            parents = [at for at in range(2, len(name), 2) if name[at : at + 2] == separator]
            for at in parents:
                self.one(self.operations.make_directory, name[:at])
            status = self.one(self.operations.make_directory, name)
        if status == ntstatus.OBJECT_NAME_COLLISION:
            found = self.one(self.operations.look_at, path, wire.DIRECTORY_FILE)
            if isinstance(found, Opened):
                return False
            raise FileUnwritable(path, "exists", status, "a file has the name of the directory")
        self._must(path, status)
        return True

    def write_files(self, next_request: Callable[[bool], WriteRequest | None]) -> Iterator[Written | Unwritten]:
        """Make small files, many in flight; ``next_request`` as in ``read_files``. Each has one outcome."""

        def source(wait: bool) -> _Task[Written | Unwritten] | None:
            request = next_request(wait)
            if request is None:
                return None
            attempts = itertools.count()
            return _Task(
                len(request.data),
                lambda: self.operations.write(request, again=next(attempts) > 0),
                unanswered=lambda reason, why: Unwritten(request, reason, 0, why),
            )

        return self._pump(source)

    def open_writer(self, path: str, *, ahead_bytes: int = 8 << 20) -> FileWriter:
        """Make (or empty) the file at ``path`` and write it from its start, with ``ahead_bytes`` unacknowledged."""
        return FileWriter(self, path, ahead_bytes=ahead_bytes)

    def set_basic_info(self, path: str, *, creation: int, write: int, attributes: int) -> None:
        """Set times (0: leave) and attributes (0: leave) of a file or directory."""
        self._change(path, wire.FILE_WRITE_ATTRIBUTES, lambda file: wire.set_basic(creation, write, attributes, file))

    def set_security(self, path: str, descriptor: bytes) -> str:
        """Set owner, group and DACL; returns ``all``, or ``dacl`` where the user may not set the owner."""
        try:
            everything = wire.OWNER | wire.GROUP | wire.DACL
            self._change(
                path,
                wire.WRITE_DAC | wire.WRITE_OWNER,
                lambda file: wire.set_security(descriptor, everything, file),
            )
        except FileUnwritable as error:
            if error.reason != "access-denied":
                raise
            self._change(path, wire.WRITE_DAC, lambda file: wire.set_security(descriptor, wire.DACL, file))
            return "dacl"
        return "all"

    def rename(self, path: str, new: str, *, replace: bool) -> None:
        """Give a file or directory the name ``new``; an existing one stays unless ``replace``."""
        name = self._name(new)
        self._change(
            path,
            wire.DELETE,
            lambda file: wire.set_name(name, replace=replace, file=file),
            wire.OPEN_REPARSE_POINT,
        )

    def delete(self, path: str) -> bool:
        """Remove a file or an empty directory. False: it was not there."""
        status = self.one(self.operations.remove, self._name(path), 0)
        if status and ntstatus.reason(status) == "vanished":
            return False
        self._must(path, status)
        return True

    def _change(self, path: str, access: int, part: Callable[[bytes], Part], options: int = 0) -> None:
        self._name(path)
        self._must(path, self.one(self.operations.change, path, access, part, options))

    def _name(self, path: str) -> bytes:
        try:
            return self.operations.name(path)
        except ValueError as error:
            raise FileUnwritable(path, "name-invalid", 0, str(error)) from error

    def _must(self, path: str, status: int) -> None:
        if status:
            raise FileUnwritable(path, ntstatus.reason(status), status, ntstatus.message(status))

    # --- the engine --------------------------------------------------------------------------------------------

    def one(self, operation: Callable[..., Steps[T]], *arguments: Any) -> T:
        """Do one operation by itself; it is begun again if the connection breaks. For this package."""
        tasks = [_Task(0, operation, *arguments)]

        def source(wait: bool) -> _Task[T] | None:
            if not tasks:
                raise EOFError
            return tasks.pop()

        (outcome,) = self._pump(source)
        return outcome

    def _pump(self, source: Callable[[bool], _Task[T] | None]) -> Iterator[T]:
        """Keep the window full of tasks from ``source`` and yield their outcomes as they come.

        The window is filled again when a quarter of it is free, so that requests leave in batches.
        """
        inbox = Inbox()
        ready: deque[_Task[T]] = deque()
        in_flight: set[_Task[T]] = set()
        bytes_in_flight = 0
        generation = self.generation
        ended = False
        cause = ""
        try:
            while True:
                try:
                    channel = self.channel()
                    if generation != self.generation:
                        generation = self.generation
                        inbox.abandoned = True
                        inbox = Inbox()
                        again, in_flight, bytes_in_flight = in_flight, set(), 0
                        for task in again:
                            task.losses += 1
                            outcome = task.give_up(cause) if len(again) == 1 else None
                            if outcome is not None:
                                self.progress()
                                yield outcome
                            else:
                                task.begin()
                                ready.append(task)
                    window = self._window if self._lost_in_a_row < 2 else 1
                    refill = not ended and (window - len(in_flight)) * 4 >= window
                    while (ready or refill) and len(in_flight) < window and bytes_in_flight <= self._window_bytes:
                        if ready:
                            task = ready.popleft()
                        else:
                            try:
                                following = source(not in_flight)
                            except EOFError:
                                ended = True
                                break
                            if following is None:
                                break
                            task = following
                            try:
                                task.begin()
                            except StopIteration as stop:
                                yield stop.value
                                continue
                        if not channel.affords(task.parts):
                            ready.appendleft(task)
                            if not channel.idle:
                                break
                            self._afford(task)
                            continue
                        channel.submit(inbox, task.parts, task)
                        in_flight.add(task)
                        bytes_in_flight += task.estimate_bytes
                    channel.flush()
                    if not inbox.completed:
                        if in_flight or not channel.idle:
                            channel.receive()
                        elif ended and not ready:
                            return
                except ConnectionLost as loss:
                    cause = str(loss)
                    self.lost(loss)
                    continue
                completed = inbox.completed
                while completed:
                    exchange = completed.popleft()
                    task = cast("_Task[T]", exchange.context)
                    try:
                        task.advance(exchange.replies)
                    except StopIteration as stop:
                        in_flight.discard(task)
                        bytes_in_flight -= task.estimate_bytes
                        self._lost_in_a_row = 0
                        if task.patient(stop.value):
                            task.begin()
                            ready.append(task)
                        else:
                            yield stop.value
                    except wire.BadReply as error:
                        in_flight.discard(task)
                        bytes_in_flight -= task.estimate_bytes
                        yield task.nonsense(error)
                    else:
                        in_flight.discard(task)
                        bytes_in_flight -= task.estimate_bytes
                        ready.append(task)
        finally:
            inbox.abandoned = True

    def _afford(self, task: _Task[Any]) -> None:
        try:
            task.refuse()
        except TooFewCredits as error:
            raise SourceError(
                f"{self.endpoint.server} grants too few credits for any request",
                remedy="raise the server's limit of credits",
            ) from error

    def channel(self) -> Channel:
        """The connection; made, or made anew, if there is none. For this package."""
        if self._channel is None:
            self._channel = self._connect() if self._facts is None else self._reconnect()
            self.generation += 1
        return self._channel

    def _connect(self) -> Channel:
        from shared.smb.handshake import log_in

        login = log_in(self.endpoint, timeout_seconds=self._connect_timeout_seconds, settings_prefix=self._prefix)
        self._facts = login.facts
        affordable = max(1, login.credits // 4) * wire.CREDIT_BYTES
        largest = min(_LARGEST_REQUEST_BYTES, affordable) if login.multi_credit else wire.CREDIT_BYTES
        self.operations.read_bytes = min(login.max_read_bytes, largest)
        self.operations.write_bytes = min(login.max_write_bytes, largest)
        self.operations.transact_bytes = min(login.max_transact_bytes, largest)
        return Channel(login, timeout_seconds=self._timeout_seconds)

    def _reconnect(self) -> Channel:
        deadline = time.monotonic() + self._reconnect_seconds
        pause_seconds = 0.1
        while True:
            try:
                return self._connect()
            except SourceUnreachable:
                if time.monotonic() + pause_seconds >= deadline:
                    raise
            time.sleep(pause_seconds)
            pause_seconds = min(5.0, pause_seconds * 2)

    def lost(self, loss: ConnectionLost) -> None:
        """Drop the connection; the next ``channel()`` makes it anew. For this package."""
        self.close()
        self._lost_in_a_row += 1
        if self._lost_in_a_row > self._most_losses:
            breaks = "breaks again and again" if self._most_losses else "broke"
            raise SourceUnreachable(
                f"the connection to {self.endpoint.server}:{self.endpoint.port} {breaks}: {loss}",
                setting=f"{self._prefix}_URL",
                remedy="see what lies between here and the file server, and the server's own log",
            ) from loss
        self.reconnects += 1
        if self._on_reconnect is not None:
            self._on_reconnect(str(loss))

    def progress(self) -> None:
        """Something was done over this connection: it is not broken for good. For this package."""
        self._lost_in_a_row = 0


class _Task(Generic[T]):
    """An operation under way, able to begin again from its start."""

    __slots__ = ("_arguments", "_busy", "_operation", "_steps", "_unanswered", "estimate_bytes", "losses", "parts")

    parts: Sequence[Part]
    """The compound to be submitted next."""
    _steps: Steps[T]

    def __init__(
        self,
        estimate_bytes: int,
        operation: Callable[..., Steps[T]],
        *arguments: Any,
        unanswered: Callable[[str, str], T] | None = None,
    ) -> None:
        self.estimate_bytes = estimate_bytes
        self.losses = 0
        """How often the connection was lost while this was on its way."""
        self._operation = operation
        self._arguments = arguments
        self._unanswered = unanswered
        self._busy = 0

    def begin(self) -> None:
        """From the start. ``StopIteration`` with the outcome if there is nothing to ask."""
        self._steps = self._operation(*self._arguments)
        self.parts = next(self._steps)

    def advance(self, replies: list[Reply]) -> None:
        """To the next compound. ``StopIteration`` with the outcome if that was all."""
        self.parts = self._steps.send(replies)

    def refuse(self) -> None:
        """Say that ``parts`` can never be afforded; raises ``TooFewCredits`` if there is no other way."""
        self.parts = self._steps.throw(TooFewCredits())

    def patient(self, outcome: T) -> bool:
        """Whether the server was only busy and is to be asked once more; waits a moment then."""
        if not isinstance(outcome, Unreadable | Unwritten) or outcome.status not in ntstatus.BUSY:
            return False
        if self._busy >= _BUSY_RETRIES:
            return False
        time.sleep(0.05 * 2**self._busy)
        self._busy += 1
        return True

    def give_up(self, why: str) -> T | None:
        """The outcome for a request that the server answers never, or by breaking the connection each time."""
        if self.losses < _LOSSES_OF_ONE or self._unanswered is None:
            return None
        return self._unanswered("no-answer", why)

    def nonsense(self, error: wire.BadReply) -> T:
        """The outcome for a request whose answer cannot be read; asking again would bring the same."""
        if self._unanswered is None:
            raise _nonsense(error) from error
        return self._unanswered("bad-reply", f"the server's reply cannot be read: {error}")


@contextmanager
def _readable() -> Iterator[None]:
    """``SourceError`` where a reply that is looked into cannot be read."""
    try:
        yield
    except wire.BadReply as error:
        raise _nonsense(error) from error


def _nonsense(error: wire.BadReply) -> SourceError:
    return SourceError(f"the server's reply cannot be read: {error}")


def _filetime(gmt_name: str) -> int | None:
    """None for a name that is no time."""
    try:
        moment = datetime.strptime(gmt_name, "@GMT-%Y.%m.%d-%H.%M.%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return (moment - _EPOCH) // timedelta(microseconds=1) * 10
