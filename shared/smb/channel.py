"""One authenticated connection at work: credits, message ids, compounds out, replies in.

Nothing here knows files. A caller submits compounds and receives until its exchanges are complete; any number of
callers share a channel, each with an ``Inbox``. Not for use from two threads at once.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from shared.smb import ntstatus
from shared.smb.protection import Forged, Sealing, Signing
from shared.smb.types import ConnectionFacts
from shared.smb.wire import (
    FLAG_RELATED,
    FLAG_REPLY,
    FLAG_SIGNED,
    HEADER,
    HEADER_BYTES,
    NO_SIGNATURE,
    PROTOCOL,
    REPLY_HEADER,
    UNSOLICITED,
    BadReply,
    Part,
    Reply,
)

_RING_BYTES: Final = 4 << 20
_SLACK_BYTES: Final = 16
_LARGEST_FRAME_BYTES: Final = 1 << 24
_CREDITS_WANTED: Final = 1024
_CREDITS_STEP: Final = 64
_UNPACK_HEADER: Final = REPLY_HEADER.unpack_from
_PADDING: Final = [bytes(-length % 8) for length in range(8)]


@dataclass(slots=True)
class Login:
    """An authenticated connection to one share, to be used from the next message on. Whoever has it closes ``sock``."""

    sock: socket.socket
    protection: Signing | Sealing
    session_id: int
    tree_id: int
    next_message_id: int
    credits: int
    multi_credit: bool
    """Whether one request may cost more than one credit (LARGE_MTU); otherwise it may carry 64 KiB at most."""
    max_read_bytes: int
    max_write_bytes: int
    max_transact_bytes: int
    facts: ConnectionFacts


class ConnectionLost(Exception):
    """The connection is of no use any more: cut, silent for too long, or not to be trusted. The text says which."""


class Exchange:
    """A compound on its way, or answered."""

    __slots__ = ("context", "inbox", "missing", "replies")

    def __init__(self, inbox: Inbox, context: object, count: int) -> None:
        self.inbox = inbox
        self.context = context
        self.replies: list[Reply] = [_UNANSWERED] * count
        self.missing = count

    def keep(self) -> None:
        """Copy what still lies in the receive buffer, so that it outlives the next receive."""
        self.replies = [
            reply
            if isinstance(reply.data, bytes)
            else Reply(reply.status, bytes(reply.data[reply.start : reply.end]), 0, reply.end - reply.start)
            for reply in self.replies
        ]


_UNANSWERED: Final = Reply(ntstatus.PENDING, b"", 0, 0)


class Inbox:
    """Where the complete exchanges of one caller arrive."""

    __slots__ = ("abandoned", "completed")

    def __init__(self) -> None:
        self.completed: deque[Exchange] = deque()
        self.abandoned = False
        """Set by a caller that left: what still comes for it is dropped."""


class Channel:
    """A connection after the login. Every method may raise ``ConnectionLost``; the channel is then dead."""

    def __init__(self, login: Login, *, timeout_seconds: float) -> None:
        self._login = login
        self._sock = login.sock
        self._timeout_seconds = timeout_seconds
        self._protection = login.protection
        self._sealing = login.protection if isinstance(login.protection, Sealing) else None
        self._signing = None if isinstance(login.protection, Sealing) else login.protection
        self._next_id = login.next_message_id
        self.credits = login.credits
        """What may be spent now."""
        self.most_credits = login.credits
        """The most that were ever there at once: no single request may cost more."""
        self._multi_credit = login.multi_credit
        self._waiting: dict[int, tuple[Exchange, int]] = {}
        self._partial: set[Exchange] = set()
        self._delivered: set[Inbox] = set()
        self._outgoing: list[bytes | bytearray | memoryview] = []
        self._buffer = bytearray(_RING_BYTES + _SLACK_BYTES)
        self._view = memoryview(self._buffer)
        self._head = 0
        self._tail = 0
        self._sock.settimeout(timeout_seconds)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    @property
    def idle(self) -> bool:
        """Nothing is outstanding, so no further credits will come by waiting."""
        return not self._waiting

    def affords(self, parts: Sequence[Part]) -> bool:
        """Whether there are credits for the compound."""
        if not self._multi_credit:
            return len(parts) <= self.credits
        needed = 0
        for part in parts:
            needed += part.charge
        return needed <= self.credits

    def submit(self, inbox: Inbox, parts: Sequence[Part], context: object = None) -> Exchange:
        """Put one related compound in line; ``flush`` sends it. The caller has seen that it is afforded."""
        exchange = Exchange(inbox, context, len(parts))
        login = self._login
        waiting = self._waiting
        message_id = self._next_id
        flags = 0 if self._signing is None else FLAG_SIGNED
        bonus = _CREDITS_STEP if self.credits < _CREDITS_WANTED else 0
        last = len(parts) - 1
        messages: list[bytearray] = []
        ids: list[int] = []
        for index, (command, charge, body, payload) in enumerate(parts):
            if not self._multi_credit:
                charge = 1
            padding = b"" if index == last else _PADDING[(len(body) + len(payload)) & 7]
            length = HEADER_BYTES + len(body) + len(payload) + len(padding)
            header = HEADER.pack(
                PROTOCOL, HEADER_BYTES, charge if self._multi_credit else 0, 0, command, charge + bonus,
                flags | FLAG_RELATED if index else flags, 0 if index == last else length, message_id, 0,
                login.tree_id, login.session_id, NO_SIGNATURE,
            )  # fmt: skip
            messages.append(bytearray().join((header, body, payload, padding)))
            ids.append(message_id)
            waiting[message_id] = (exchange, index)
            message_id += charge
            bonus = 0
        self.credits -= message_id - self._next_id
        self._next_id = message_id
        frame = self._protection.protect(messages, ids)
        self._outgoing.append(sum(map(len, frame)).to_bytes(4, "big"))
        self._outgoing += frame
        return exchange

    def flush(self) -> None:
        """Send what is in line."""
        if not self._outgoing:
            return
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        try:
            self._sock.sendall(data)
        except OSError as error:
            raise ConnectionLost(f"sending failed: {_says(error)}") from error

    def receive(self) -> None:
        """Wait until at least one frame came, then sort all that came into inboxes.

        Replies of exchanges that were completed lie in the receive buffer until the next call; those that nobody
        took by then, and those of exchanges that still miss some, are copied.
        """
        for inbox in self._delivered:
            for exchange in inbox.completed:
                exchange.keep()
        self._delivered.clear()
        self._make_room()
        view, head, tail = self._view, self._head, self._tail
        capacity = len(self._buffer) - _SLACK_BYTES
        try:
            while True:
                try:
                    count = self._sock.recv_into(view[tail:capacity])
                except TimeoutError as error:
                    raise ConnectionLost(f"no answer for {self._timeout_seconds:g} s") from error
                except OSError as error:
                    raise ConnectionLost(f"receiving failed: {_says(error)}") from error
                if not count:
                    raise ConnectionLost("the server closed the connection")
                tail += count
                began = head
                while tail - head >= 4:
                    length = int.from_bytes(view[head : head + 4], "big")
                    if length >= _LARGEST_FRAME_BYTES:
                        raise ConnectionLost("what came is no SMB frame")
                    end = head + 4 + length
                    if end > tail:
                        break
                    self._frame(head + 4, end)
                    head = end
                if head != began:
                    break
                if tail == capacity:
                    self._head, self._tail = head, tail
                    self._make_room()
                    view, head, tail = self._view, self._head, self._tail
                    capacity = len(self._buffer) - _SLACK_BYTES
        except Forged as error:
            raise ConnectionLost(str(error)) from error
        except BadReply as error:
            raise ConnectionLost(f"the server's reply cannot be read: {error}") from error
        finally:
            self._head, self._tail = head, tail
        for exchange in self._partial:
            exchange.keep()
        if self.credits > self.most_credits:
            self.most_credits = self.credits

    def close(self) -> None:
        """Close the socket. What is outstanding is lost."""
        self._sock.close()
        self._waiting.clear()

    def _make_room(self) -> None:
        """Move an incomplete frame to the front when there is not room for the rest of it and some more."""
        head, tail = self._head, self._tail
        have = tail - head
        if not have:
            self._head = self._tail = 0
            return
        capacity = len(self._buffer) - _SLACK_BYTES
        need = 4 + int.from_bytes(self._view[head : head + 4], "big") if have >= 4 else 4
        if head + need <= capacity and capacity - tail >= capacity >> 2:
            return
        if need > capacity:
            larger = bytearray(need + _RING_BYTES + _SLACK_BYTES)
            larger[:have] = self._view[head:tail]
            self._buffer, self._view = larger, memoryview(larger)
        else:
            self._view[:have] = self._view[head:tail]
        self._head, self._tail = 0, have

    def _frame(self, start: int, end: int) -> None:
        if self._sealing is None:
            self._messages(self._view, start, end)
        elif bytes(self._view[start : start + 4]) == PROTOCOL:
            self._in_the_clear(start, end)
        else:
            plain = self._sealing.open(self._view, start, end)
            self._messages(plain, 0, len(plain))

    def _in_the_clear(self, start: int, end: int) -> None:
        """A server that has forgotten the session can neither sign nor encrypt; nothing else is let through."""
        if end - start < HEADER_BYTES:
            raise BadReply("frame too short")
        status = REPLY_HEADER.unpack_from(self._view, start)[3]
        if status in ntstatus.SESSION_GONE:
            raise ConnectionLost(ntstatus.message(status))
        raise Forged("a reply came in the clear on an encrypted session")

    def _messages(self, data: bytes | memoryview, start: int, end: int) -> None:
        """Verify the messages of one frame and sort them into their exchanges, 3.2.5.1."""
        signing = self._signing
        waiting = self._waiting
        exchange: Exchange | None = None
        while True:
            if end - start < HEADER_BYTES:
                raise BadReply("frame too short")
            protocol, _, _, status, _, granted, flags, following, message_id = _UNPACK_HEADER(data, start)
            stop = start + following if following else end
            if protocol != PROTOCOL or not flags & FLAG_REPLY or stop > end or (following and following < HEADER_BYTES):
                raise BadReply("no SMB message")
            if status in ntstatus.SESSION_GONE:
                raise ConnectionLost(ntstatus.message(status))
            if status == ntstatus.PENDING:
                self.credits += granted
            elif message_id != UNSOLICITED:
                if signing is not None:
                    signing.verify(self._view[start:stop], message_id)
                self.credits += granted
                if message_id not in waiting:
                    raise BadReply(f"an answer to message {message_id}, which is not outstanding")
                found, index = waiting.pop(message_id)
                if found is not exchange:
                    if exchange is not None and exchange.missing:
                        self._partial.add(exchange)
                    exchange = found
                exchange.replies[index] = Reply(status, data, start, stop)
                exchange.missing -= 1
                if not exchange.missing:
                    self._deliver(exchange)
            if not following:
                if exchange is not None and exchange.missing:
                    self._partial.add(exchange)
                return
            start = stop

    def _deliver(self, exchange: Exchange) -> None:
        if self._partial:
            self._partial.discard(exchange)
        inbox = exchange.inbox
        if not inbox.abandoned:
            inbox.completed.append(exchange)
            self._delivered.add(inbox)


def _says(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
