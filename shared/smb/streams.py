"""Files of any size, read or written in pieces with many of them in flight."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from shared.errors import SourceChanged
from shared.smb import ntstatus, wire
from shared.smb.channel import ConnectionLost, Exchange, Inbox
from shared.smb.operations import Operations, Steps, TooFewCredits, unreadable
from shared.smb.types import FileUnreadable, FileUnwritable, Opened, Unreadable
from shared.smb.wire import Reply

if TYPE_CHECKING:
    from shared.smb.client import SmbClient


_LOSSES_WITHOUT_PROGRESS = 3


class _Handle(NamedTuple):
    """A file that is open on the server."""

    file: bytes
    opened: Opened
    disk_id: bytes | None
    security: bytes | None
    security_denied: bool


class _Ahead(NamedTuple):
    """A READ that was asked for in advance."""

    offset: int
    length: int
    exchange: Exchange


class FileStream:
    """The content of one file from an offset to its real end, as memoryviews in order.

    A view holds until the next one is asked for, or the client is used for anything else. When the connection breaks
    the file is opened again and reading goes on where it was, after making sure that it is the same file in the same
    state: ``SourceChanged`` if not. ``FileUnreadable`` when the server refuses to read on. Close it; it is a context
    manager.
    """

    def __init__(
        self, client: SmbClient, path: str, *, offset: int, security: bool, chunk_bytes: int, ahead_bytes: int
    ) -> None:
        self.path = path
        self.position = offset
        """How far the file has been handed out."""
        self._client = client
        self._ahead_bytes = ahead_bytes
        self._inbox = Inbox()
        self._ahead: deque[_Ahead] = deque()
        self._next_offset = offset
        self._losses = 0
        self._ended = False
        self._finished = False
        self._handle: _Handle | None = None
        first = self._open(security)
        self.opened = first.opened
        """What the file was when it was first opened."""
        self.security = first.security
        self.security_denied = first.security_denied
        self._chunk_bytes = max(1, min(chunk_bytes, client.operations.read_bytes))
        self._most_chunk_bytes, self._most_ahead_bytes = self._chunk_bytes, ahead_bytes
        self._generation = client.generation
        self._first = first

    def __enter__(self) -> FileStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[memoryview]:
        return self

    def __next__(self) -> memoryview:
        while not self._ended:
            if self._finished:
                self.close()
                break
            try:
                view = self._next_view()
            except wire.BadReply as error:
                self.close()
                why = f"the server's reply cannot be read: {error}"
                raise FileUnreadable(Unreadable(self.path, "bad-reply", 0, why)) from error
            except ConnectionLost as loss:
                self._client.lost(loss)
                self._losses += 1
                self._ask_for_little()
                if self._losses > _LOSSES_WITHOUT_PROGRESS:
                    raise FileUnreadable(Unreadable(self.path, "no-answer", 0, str(loss))) from loss
                continue
            if view is not None:
                self.position += len(view)
                self._losses = 0
                self._client.progress()
                if self._ahead_bytes < self._most_ahead_bytes:
                    self._ask_for_more()
                return view
        raise StopIteration

    def close(self) -> None:
        """Close the file; what was asked for in advance is dropped. Does not wait for the server."""
        self._ended = True
        self._inbox.abandoned = True
        self._inbox.completed.clear()
        handle, self._handle = self._handle, None
        if handle is None or self._generation != self._client.generation or not self._client.connected:
            return
        channel = self._client.channel()
        part = wire.close(handle.file)
        try:
            while not channel.affords((part,)) and not channel.idle:
                channel.receive()
            channel.submit(self._inbox, (part,))
            channel.flush()
        except ConnectionLost as loss:
            self._client.lost(loss)

    def _ask_for_little(self) -> None:
        """One small piece at a time: a line that breaks again and again lets some through each time, and what came of a
        larger one is lost with it."""
        self._chunk_bytes = max(min(wire.CREDIT_BYTES, self._chunk_bytes), self._chunk_bytes >> 2)
        self._ahead_bytes = self._chunk_bytes

    def _ask_for_more(self) -> None:
        self._chunk_bytes = min(self._chunk_bytes * 2, self._most_chunk_bytes)
        self._ahead_bytes = min(self._ahead_bytes * 2, self._most_ahead_bytes)

    def _next_view(self) -> memoryview | None:
        """The next piece, or None when the state has changed and it is to be tried again."""
        channel = self._client.channel()
        if self._handle is None or self._generation != self._client.generation:
            self._reopen()
            return None
        self._ask_ahead()
        channel.flush()
        head = self._ahead[0]
        while head.exchange.missing:
            channel.receive()
        self._ahead.popleft()
        self._inbox.completed.remove(head.exchange)
        reply = head.exchange.replies[0]
        if reply.status == ntstatus.END_OF_FILE:
            self.close()
            return None
        if reply.status:
            self.close()
            raise FileUnreadable(unreadable(self.path, reply.status))
        first, end = wire.read_data(reply)
        if end == first:
            self.close()
            return None
        if end - first < head.length:
            self._after_a_short_read(head.offset + end - first)
        return memoryview(reply.data)[first:end]

    def _ask_ahead(self) -> None:
        """One READ beyond the size that was seen at open is enough to find the end; further ones only as it grows."""
        assert self._handle is not None
        channel = self._client.channel()
        while self._next_offset - self.position < self._ahead_bytes:
            if self._ahead and self._next_offset > self.opened.size:
                return
            part = wire.read(self._next_offset, self._chunk_bytes, self._handle.file)
            if not channel.affords((part,)):
                if self._ahead:
                    return
                if not channel.idle:
                    channel.flush()
                    channel.receive()
                    continue
                if self._chunk_bytes <= wire.CREDIT_BYTES:
                    raise ConnectionLost("the server grants no credits")
                self._chunk_bytes = self._most_chunk_bytes = wire.CREDIT_BYTES
                continue
            exchange = channel.submit(self._inbox, (part,))
            self._ahead.append(_Ahead(self._next_offset, self._chunk_bytes, exchange))
            self._next_offset += self._chunk_bytes

    def _after_a_short_read(self, offset: int) -> None:
        """The end, most likely; what was asked for beyond is asked again from there, if anything is there."""
        if offset >= self.opened.size and not self._ahead:
            self._finished = True  # closing now could overwrite what is about to be handed out
            return
        self._forget_ahead()
        self._next_offset = offset

    def _forget_ahead(self) -> None:
        self._inbox.abandoned = True
        self._inbox = Inbox()
        self._ahead.clear()

    def _reopen(self) -> None:
        now = self._open(security=False)
        before = self._first
        same = (now.opened.size, now.opened.change, now.opened.write, now.disk_id) == (
            before.opened.size,
            before.opened.change,
            before.opened.write,
            before.disk_id,
        )
        self._generation = self._client.generation
        self._handle = now
        self._forget_ahead()
        self._next_offset = self.position
        if not same:
            self.close()
            raise SourceChanged(
                f"{self.path} changed while it was read (the connection was lost in between)",
                path=self.path,
                remedy="it is read again in the next run",
            )

    def _open(self, security: bool) -> _Handle:
        outcome = self._client.one(_open_to_read, self._client.operations, self.path, security)
        if isinstance(outcome, Unreadable):
            raise FileUnreadable(outcome)
        self._handle = outcome
        return outcome


def _open_to_read(operations: Operations, path: str, security: bool) -> Steps[_Handle | Unreadable]:
    outcome = yield from _try_to_open(operations, path, security, denied=False)
    if security and isinstance(outcome, Unreadable) and outcome.status == ntstatus.ACCESS_DENIED:
        outcome = yield from _try_to_open(operations, path, False, denied=True)
    return outcome


def _try_to_open(operations: Operations, path: str, security: bool, *, denied: bool) -> Steps[_Handle | Unreadable]:
    access = wire.FILE_READ_DATA | wire.FILE_READ_ATTRIBUTES | (wire.READ_CONTROL if security else 0)
    try:
        opening = operations.open_part(
            path, access, wire.NON_DIRECTORY_FILE | wire.SEQUENTIAL_ONLY, contexts=(wire.QUERY_ON_DISK_ID,)
        )
    except ValueError as error:
        return Unreadable(path, "name-invalid", 0, str(error))
    replies: list[Reply] = []
    if security and operations.compounds:
        try:
            replies = yield (opening, wire.query_security())
        except TooFewCredits:
            operations.compounds = False
    if not replies:
        replies = yield (opening,)
    if replies[0].status:
        return unreadable(path, replies[0].status)
    opened, file = wire.created(replies[0])
    disk_id = wire.on_disk_id(replies[0])
    descriptor = None
    if security:
        if len(replies) > 1 and not replies[1].status:
            descriptor = wire.buffer(replies[1])
        else:
            descriptor = yield from operations.query_security(file)
        denied = descriptor is None
    return _Handle(file, opened, disk_id, descriptor, denied)


class FileWriter:
    """A new file, written from its start. Whatever it replaces is emptied at once: use a temporary name.

    Not resumed: when the connection breaks, ``FileUnwritable`` with reason ``disconnected``, and the file is to be
    begun again (what the server had acknowledged may not have reached its disk). ``finish`` makes it durable.
    """

    def __init__(self, client: SmbClient, path: str, *, ahead_bytes: int) -> None:
        self.path = path
        self.position = 0
        """How much was given to ``write``, bytes."""
        self._client = client
        self._ahead_bytes = ahead_bytes
        self._inbox = Inbox()
        self._unacknowledged: dict[Exchange, int] = {}
        self._bytes_ahead = 0
        outcome = client.one(_open_to_write, client.operations, path)
        if isinstance(outcome, int):
            raise FileUnwritable(path, ntstatus.reason(outcome), outcome, ntstatus.message(outcome))
        self._file: bytes | None = outcome
        self._generation = client.generation

    def __enter__(self) -> FileWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.abandon()

    def write(self, data: bytes | memoryview) -> None:
        """Append. The data may be changed afterwards. ``FileUnwritable`` may concern an earlier piece."""
        view = memoryview(data)
        step = self._client.operations.write_bytes
        for at in range(0, len(view), step):
            piece = view[at : at + step]
            self._send(wire.write(self.position, piece, self._open_file()), len(piece))
            self.position += len(piece)

    def seek(self, position: int) -> None:
        """Go on at ``position``; a gap is read back as zeros."""
        self.position = position

    def finish(self) -> None:
        """Set the length to ``position``, wait until everything is on the server's disk, and close."""
        file = self._open_file()
        self._send(wire.set_end_of_file(self.position, file), 0)
        self._settle()
        self._send(wire.flush(file), 0)
        self._settle()
        self._send(wire.close(file), 0)
        self._settle()
        self._file = None

    def abandon(self) -> None:
        """Close without caring for the content; nothing happens after ``finish``."""
        file, self._file = self._file, None
        self._inbox.abandoned = True
        if file is None or self._generation != self._client.generation or not self._client.connected:
            return
        try:
            channel = self._client.channel()
            while not channel.affords((wire.close(file),)) and not channel.idle:
                channel.receive()
            channel.submit(Inbox(), (wire.close(file),))
            channel.flush()
        except ConnectionLost as loss:
            self._client.lost(loss)

    def _open_file(self) -> bytes:
        if self._file is None or self._generation != self._client.generation or not self._client.connected:
            raise self._broken("the connection was lost")
        return self._file

    def _send(self, part: wire.Part, size: int) -> None:
        try:
            channel = self._client.channel()
            while self._bytes_ahead + size > self._ahead_bytes and self._unacknowledged:
                self._take()
            while not channel.affords((part,)):
                if channel.idle:
                    raise ConnectionLost("the server grants no credits")
                self._take()
            exchange = channel.submit(self._inbox, (part,))
            self._unacknowledged[exchange] = size
            self._bytes_ahead += size
            channel.flush()
        except ConnectionLost as loss:
            self._client.lost(loss)
            raise self._broken(str(loss)) from loss

    def _settle(self) -> None:
        try:
            while self._unacknowledged:
                self._take()
        except ConnectionLost as loss:
            self._client.lost(loss)
            raise self._broken(str(loss)) from loss

    def _take(self) -> None:
        """Wait for something and see that it went well."""
        if not self._inbox.completed:
            self._client.channel().receive()
        while self._inbox.completed:
            exchange = self._inbox.completed.popleft()
            size = self._unacknowledged.pop(exchange)
            self._bytes_ahead -= size
            reply = exchange.replies[0]
            status = reply.status
            if status:
                raise FileUnwritable(self.path, ntstatus.reason(status), status, ntstatus.message(status))
            try:
                whole = not size or wire.written_bytes(reply) == size
            except wire.BadReply as error:
                why = f"the server's reply cannot be read: {error}"
                raise FileUnwritable(self.path, "bad-reply", 0, why) from error
            if not whole:
                raise FileUnwritable(self.path, "disk-full", 0, "the server took only a part of what was written")
            self._client.progress()

    def _broken(self, why: str) -> FileUnwritable:
        return FileUnwritable(self.path, "disconnected", 0, why)


def _open_to_write(operations: Operations, path: str) -> Steps[bytes | int]:
    try:
        name = operations.name(path)
    except ValueError:
        return 0xC0000033  # STATUS_OBJECT_NAME_INVALID
    (reply,) = yield (
        wire.create(
            name,
            wire.FILE_WRITE_DATA | wire.FILE_READ_ATTRIBUTES | wire.FILE_WRITE_ATTRIBUTES,
            wire.NON_DIRECTORY_FILE | wire.SEQUENTIAL_ONLY,
            disposition=wire.FILE_OVERWRITE_IF,
            share=wire.SHARE_READ | wire.SHARE_DELETE,
            attributes=0x80,
        ),
    )
    if reply.status:
        return reply.status
    return wire.created(reply).file
