"""A TCP relay on loopback that adds round-trip time, cuts connections, and changes bytes: a bad line to order.

As a program: ``python -m tests.standins.delay LISTEN_PORT TARGET_PORT ONE_WAY_MILLISECONDS``.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import deque
from types import TracebackType


class Relay:
    """Relays 127.0.0.1:``port`` to 127.0.0.1:``target_port`` while it is open (a context manager).

    Faults are declared before or while connections are made and count bytes towards the client, per connection:
    ``cut_after``: the first N connections, for the N numbers given, are cut once that many bytes went through;
    ``flip_at``: likewise, one bit of the byte at that position is turned. ``connections`` counts what was accepted.
    """

    def __init__(
        self,
        target_port: int,
        *,
        port: int = 0,
        one_way_seconds: float = 0.0,
        cut_after: tuple[int, ...] = (),
        flip_at: tuple[int, ...] = (),
    ) -> None:
        self.port = port
        self.connections = 0
        self.cut_after = deque(cut_after)
        self.flip_at = deque(flip_at)
        self._target_port = target_port
        self._one_way_seconds = one_way_seconds
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.Transport] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)

    def __enter__(self) -> Relay:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cut_all()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def cut_all(self) -> None:
        """Cut every connection that is open now."""

        async def cut() -> None:
            for transport in list(self._open):
                transport.abort()

        asyncio.run_coroutine_threadsafe(cut(), self._loop).result(10)

    async def _listen(self) -> int:
        server = await self._loop.create_server(lambda: _Client(self), "127.0.0.1", self.port)
        port: int = server.sockets[0].getsockname()[1]
        return port


class _Client(asyncio.Protocol):
    """The side of whoever connected to the relay."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.early: list[bytes] = []
        self.server: _Server | None = None
        self.delayed: _Delayed | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        relay = self.relay
        relay.connections += 1
        self.transport = transport
        relay._open.add(transport)
        cut = relay.cut_after.popleft() if relay.cut_after else None
        flip = relay.flip_at.popleft() if relay.flip_at else None
        self.connecting = relay._loop.create_task(self._connect(cut, flip))

    async def _connect(self, cut: int | None, flip: int | None) -> None:
        relay = self.relay
        try:
            _, self.server = await relay._loop.create_connection(
                lambda: _Server(relay, self, cut, flip), "127.0.0.1", relay._target_port
            )
        except OSError:
            self.transport.abort()
            return
        self.delayed = _Delayed(relay, self.server.transport)
        for data in self.early:
            self.delayed.send(data)

    def data_received(self, data: bytes) -> None:
        if self.delayed is None:
            self.early.append(data)
        else:
            self.delayed.send(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.relay._open.discard(self.transport)
        if self.server is not None:
            self.server.transport.abort()


class _Server(asyncio.Protocol):
    """The side of the server behind the relay."""

    transport: asyncio.Transport

    def __init__(self, relay: Relay, client: _Client, cut: int | None, flip: int | None) -> None:
        self.relay = relay
        self.client = client
        self.cut = cut
        self.flip = flip
        self.passed = 0
        self.delayed = _Delayed(relay, client.transport)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        start, self.passed = self.passed, self.passed + len(data)
        if self.flip is not None and start <= self.flip < self.passed:
            changed = bytearray(data)
            changed[self.flip - start] ^= 0x10
            data = bytes(changed)
        if self.cut is not None and self.passed >= self.cut:
            self.client.transport.write(data[: self.cut - start])
            self.client.transport.close()
            self.transport.abort()
            return
        self.delayed.send(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.client.transport.close()


class _Delayed:
    """One direction: what is sent arrives later, in order."""

    def __init__(self, relay: Relay, transport: asyncio.Transport) -> None:
        self._loop = relay._loop
        self._seconds = relay._one_way_seconds
        self._transport = transport
        self._waiting: deque[tuple[float, bytes]] = deque()

    def send(self, data: bytes) -> None:
        if not self._seconds:
            self._transport.write(data)
            return
        due = self._loop.time() + self._seconds
        if not self._waiting:
            self._loop.call_at(due, self._deliver)
        self._waiting.append((due, data))

    def _deliver(self) -> None:
        now = self._loop.time()
        while self._waiting and self._waiting[0][0] <= now + 0.0002:
            self._transport.write(self._waiting.popleft()[1])
        if self._waiting:
            self._loop.call_at(self._waiting[0][0], self._deliver)


if __name__ == "__main__":
    listen, target, milliseconds = sys.argv[1:]
    with Relay(int(target), port=int(listen), one_way_seconds=float(milliseconds) / 1000):
        threading.Event().wait()
