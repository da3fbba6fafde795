"""A delaying TCP proxy on loopback: `python -m tests.benchmarks.delay TARGET_PORT ROUND_TRIP_MS`.

Bytes leave half a round trip after they came, in order, in both directions; throughput is not limited. What
is really reached lies a little above (the system wakes a sleeper late), so the runner measures it with
`measured_round_trip_ms` and prints it. One thread; about 10 microseconds for each arrival and two copies of each
byte. It prints its port on one line, and lives until its standard input is closed.
"""

import argparse
import selectors
import socket
import statistics
import sys
import threading
import time
from collections import deque
from typing import Final

RECEIVE_BYTES: Final = 1024 * 1024
MOST_QUEUED_BYTES: Final = 64 * 1024 * 1024
"""Beyond this much in one direction the sender is held back."""


class Direction:
    """One way of one connection."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source = source
        self.target = target
        self.queue: deque[tuple[float, bytes | memoryview]] = deque()
        """(when it is due, bytes); ascending. Empty bytes are the end of the stream."""
        self.queued_bytes = 0
        self.open = True
        self.blocked = False
        """The target takes no more at present."""


class Proxy:
    def __init__(self, target_port: int, one_way_seconds: float) -> None:
        self._target_port = target_port
        self._delay = one_way_seconds
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self.port = int(self._listener.getsockname()[1])
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._reading: dict[socket.socket, Direction] = {}
        self._writing: dict[socket.socket, Direction] = {}
        self._busy: dict[Direction, None] = {}
        """Those that hold bytes."""

    def run(self) -> None:
        """Until `stop` is called, by another thread."""
        while True:
            for key, events in self._selector.select(self._patience()):
                if key.fileobj is self._woken:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                    continue
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if events & selectors.EVENT_WRITE:
                    self._writing[sock].blocked = False
                    self._watch(sock)
                if events & selectors.EVENT_READ and sock in self._reading:
                    self._receive(self._reading[sock])
            now = time.monotonic()
            for direction in list(self._busy):
                if not direction.blocked and direction.queue[0][0] <= now:
                    self._send(direction, now)

    def stop(self) -> None:
        self._wake.close()

    def _patience(self) -> float | None:
        due = [d.queue[0][0] for d in self._busy if not d.blocked]
        return max(0.0, min(due) - time.monotonic() - 0.0005) if due else None

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        server = socket.create_connection(("127.0.0.1", self._target_port))
        for source, target in ((client, server), (server, client)):
            source.setblocking(False)
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            direction = Direction(source, target)
            self._reading[source] = direction
            self._writing[target] = direction
        for sock in (client, server):
            self._selector.register(sock, selectors.EVENT_READ)

    def _receive(self, direction: Direction) -> None:
        try:
            data = direction.source.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        direction.queue.append((time.monotonic() + self._delay, data))
        direction.queued_bytes += len(data)
        self._busy[direction] = None
        direction.open = bool(data)
        if not data or direction.queued_bytes > MOST_QUEUED_BYTES:
            self._watch(direction.source)

    def _send(self, direction: Direction, now: float) -> None:
        queue = direction.queue
        while queue and queue[0][0] <= now:
            due, data = queue[0]
            try:
                if not data:
                    self._end(direction)
                    return
                sent = direction.target.send(data)
            except BlockingIOError:
                direction.blocked = True
                self._watch(direction.target)
                return
            except OSError:
                self._end(direction)
                return
            direction.queued_bytes -= sent
            if sent < len(data):
                queue[0] = (due, memoryview(data)[sent:])
            else:
                queue.popleft()
        if not queue:
            del self._busy[direction]
        self._watch(direction.source)

    def _end(self, direction: Direction) -> None:
        """This way is over; when the other is too, both sockets are closed."""
        direction.queue.clear()
        self._busy.pop(direction, None)
        direction.open = False
        other = self._reading.get(direction.target)
        try:
            direction.target.shutdown(socket.SHUT_WR)
        except OSError:
            if other is not None:
                other.open = False
        if other is not None and (other.open or other.queue):
            return
        for sock in (direction.source, direction.target):
            self._reading.pop(sock, None)
            self._writing.pop(sock, None)
            if sock in self._selector.get_map():
                self._selector.unregister(sock)
            sock.close()

    def _watch(self, sock: socket.socket) -> None:
        """Waits for what this socket can now do."""
        incoming, outgoing = self._reading.get(sock), self._writing.get(sock)
        if incoming is None or outgoing is None:
            return
        events = 0
        if incoming.open and incoming.queued_bytes <= MOST_QUEUED_BYTES:
            events |= selectors.EVENT_READ
        if outgoing.blocked:
            events |= selectors.EVENT_WRITE
        known = self._selector.get_map().get(sock)
        if known is not None and known.events == events:
            return
        if known is not None:
            self._selector.unregister(sock)
        if events:
            self._selector.register(sock, events)


def measured_round_trip_ms(asked_ms: float, tries: int = 30) -> float:
    """What a round trip through such a proxy really takes here: the median."""
    echo = socket.create_server(("127.0.0.1", 0))
    proxy = Proxy(int(echo.getsockname()[1]), asked_ms / 2000)

    def answer() -> None:
        with echo, echo.accept()[0] as peer:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while data := peer.recv(1024):
                peer.sendall(data)

    for target in (answer, proxy.run):
        threading.Thread(target=target, daemon=True).start()
    times = []
    with socket.create_connection(("127.0.0.1", proxy.port)) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(tries):
            begun = time.perf_counter()
            client.sendall(b"?" * 200)
            client.recv(1024)
            times.append((time.perf_counter() - begun) * 1000)
    proxy.stop()
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("target_port", type=int)
    parser.add_argument("round_trip_ms", type=float)
    arguments = parser.parse_args()
    proxy = Proxy(arguments.target_port, arguments.round_trip_ms / 2000)
    print(proxy.port, flush=True)

    def stop_when_abandoned() -> None:
        sys.stdin.read()
        proxy.stop()

    threading.Thread(target=stop_when_abandoned, daemon=True).start()
    proxy.run()


if __name__ == "__main__":
    main()
