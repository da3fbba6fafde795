"""A TCP relay on loopback whose faults are declared in a test as sentences: for SMB, TDS, blobs, whatever uses TCP.

    with FaultyLine(server_port) as line:       # connect to 127.0.0.1:line.port
        line.add("cut the 1st connection after 100000 bytes from the server")
        line.add("reset the next connection after 0 bytes from the client")
        line.add("refuse the 2nd to 4th connection")
        line.add("stall every connection after 4096 bytes from the server for 1.5 s")
        line.add("turn a bit of the 3rd connection after 20000 bytes from the server")

A connection that is ``cut`` ends as if both sides had closed it, after just so many bytes; one that is ``reset`` ends
by RST, and what was on its way is lost. ``refuse`` cuts a connection before a byte passes. Connections are counted
from when the fault is declared, each sentence by itself; bytes are counted per connection and direction.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

Side = Literal["server", "client"]

_BLOCK_BYTES = 64 << 10
_RESET_WHEN_CLOSED = struct.pack("ii", 1, 0)
_WHICH = r"(?:every|the (?:(?P<next>next)|(?P<first>\d+)(?:st|nd|rd|th)(?: to (?P<last>\d+)(?:st|nd|rd|th))?))"
_CONNECTION = rf"{_WHICH} connection"
_PLACE = r"after (?P<bytes>\d+) bytes from the (?P<side>server|client)"
_SENTENCES = {
    "cut": re.compile(rf"cut {_CONNECTION} {_PLACE}"),
    "reset": re.compile(rf"reset {_CONNECTION} {_PLACE}"),
    "refuse": re.compile(rf"refuse {_CONNECTION}"),
    "stall": re.compile(rf"stall {_CONNECTION} {_PLACE} for (?P<seconds>[\d.]+) s"),
    "turn": re.compile(rf"turn a bit of {_CONNECTION} {_PLACE}"),
}


@dataclass
class _Fault:
    kind: str
    first: int
    last: float
    side: Side
    after_bytes: int
    seconds: float
    seen: int = 0

    @classmethod
    def of(cls, sentence: str) -> _Fault:
        for kind, pattern in _SENTENCES.items():
            if match := pattern.fullmatch(sentence):
                said = match.groupdict()
                first = int(said["first"] or 1)
                last = float(said["last"] or first) if said["next"] or said["first"] else float("inf")
                side: Side = "client" if said.get("side") == "client" else "server"
                return cls(kind, first, last, side, int(said.get("bytes") or 0), float(said.get("seconds") or 0))
        raise ValueError(f"no fault is called {sentence!r}; the module's docstring lists them")

    def meets(self) -> bool:
        """Count a connection, and say whether the fault strikes it."""
        self.seen += 1
        return self.first <= self.seen <= self.last


class FaultyLine:
    """Relays 127.0.0.1:``port`` to 127.0.0.1:``target_port`` while it is open (a context manager).

    ``connections`` counts what was accepted, ``struck`` the faults that came about. ``add``, ``clear`` and
    ``cut_all`` may be called at any time from any thread; a fault meets connections that are made later.
    """

    def __init__(self, target_port: int) -> None:
        self.port = 0
        self.connections = 0
        self.struck = 0
        self._target_port = target_port
        self._faults: list[_Fault] = []
        self._open: set[_Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="faulty line", daemon=True)
        self._lock = threading.Lock()

    def __enter__(self) -> FaultyLine:
        self._thread.start()
        listening = asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self.cut_all()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def add(self, sentence: str) -> None:
        """Declare a fault; ``ValueError`` for a sentence that means none."""
        fault = _Fault.of(sentence)
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Forget every fault; connections that are open keep theirs."""
        with self._lock:
            self._faults.clear()

    def cut_all(self, *, reset: bool = False) -> None:
        """End every connection that is open now."""

        async def cut() -> None:
            for connection in list(self._open):
                connection.end(reset=reset)
            await asyncio.sleep(0)

        asyncio.run_coroutine_threadsafe(cut(), self._loop).result(10)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with self._lock:
            faults = [fault for fault in self._faults if fault.meets()]
        if any(fault.kind == "refuse" for fault in faults):
            self.struck += 1
            writer.close()
            return
        try:
            server = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.close()
            return
        connection = _Connection(self, (reader, writer), server)
        self._open.add(connection)
        try:
            await connection.relay(faults)
        finally:
            self._open.discard(connection)


class _Connection:
    def __init__(
        self,
        line: FaultyLine,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._line = line
        self._client, self._server = client, server

    async def relay(self, faults: Iterable[_Fault]) -> None:
        """Both directions until one of them ends."""
        by_place = sorted(faults, key=lambda fault: fault.after_bytes)
        ways = [
            asyncio.ensure_future(self._pump(source, sink, [fault for fault in by_place if fault.side == side]))
            for side, source, sink in (
                ("server", self._server[0], self._client[1]),
                ("client", self._client[0], self._server[1]),
            )
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        self.end(reset=False)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)

    def end(self, *, reset: bool) -> None:
        for _, writer in (self._client, self._server):
            if reset:
                plain = writer.get_extra_info("socket")
                if plain is not None and plain.fileno() != -1:
                    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_WHEN_CLOSED)
                writer.transport.abort()
            else:
                writer.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, faults: list[_Fault]) -> None:
        """Pass bytes on until the source ends or a fault ends the connection."""
        passed = 0
        turn = False
        while True:
            while faults and faults[0].after_bytes <= passed:
                fault = faults.pop(0)
                self._line.struck += 1
                if fault.kind in ("cut", "reset"):
                    self.end(reset=fault.kind == "reset")
                    return
                if fault.kind == "stall":
                    await asyncio.sleep(fault.seconds)
                turn = turn or fault.kind == "turn"
            most = min(faults[0].after_bytes - passed, _BLOCK_BYTES) if faults else _BLOCK_BYTES
            try:
                data = await source.read(most)
                if not data:
                    return
                sink.write(bytes([data[0] ^ 0x10]) + data[1:] if turn else data)
                await sink.drain()
            except OSError:
                return
            turn = False
            passed += len(data)
