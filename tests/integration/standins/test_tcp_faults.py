"""The line with faults does to a connection what its sentences say, and nothing else."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from tests.standins.tcp_faults import FaultyLine

SENT = bytes(range(256)) * 400


class _Sends(socketserver.BaseRequestHandler):
    """Answers four bytes with ``SENT``, as often as it is asked."""

    def handle(self) -> None:
        while self.request.recv(4, socket.MSG_WAITALL):
            self.request.sendall(SENT)


@pytest.fixture
def line() -> Iterator[FaultyLine]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Sends) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        with FaultyLine(server.server_address[1]) as line:
            yield line
        server.shutdown()
        thread.join()


def _ask(line: FaultyLine) -> bytes | type[OSError]:
    """What comes back until the other side ends, or all of it; or how the connection was reset."""
    with socket.create_connection(("127.0.0.1", line.port), timeout=20) as connection:
        got = b""
        try:
            connection.sendall(b"send")
            while len(got) < len(SENT) and (data := connection.recv(65536)):
                got += data
        except OSError as error:
            return type(error)
        return got


def test_without_a_fault_every_byte_passes(line: FaultyLine) -> None:
    assert [_ask(line), _ask(line)] == [SENT, SENT]
    assert (line.connections, line.struck) == (2, 0)


@pytest.mark.parametrize("count", [0, 1, 70_000, len(SENT) - 1])
def test_a_connection_is_cut_after_just_so_many_bytes_and_no_other(line: FaultyLine, count: int) -> None:
    line.add(f"cut the 2nd connection after {count} bytes from the server")
    assert [_ask(line) for _ in range(3)] == [SENT, SENT[:count], SENT]
    assert line.struck == 1


def test_what_the_client_sends_is_cut_too(line: FaultyLine) -> None:
    line.add("cut every connection after 3 bytes from the client")
    assert [_ask(line), _ask(line)] == [b"", b""]
    line.clear()
    assert _ask(line) == SENT


def test_a_connection_is_reset(line: FaultyLine) -> None:
    line.add("reset the next connection after 100 bytes from the server")
    assert _ask(line) is ConnectionResetError
    assert _ask(line) == SENT


def test_connections_are_refused(line: FaultyLine) -> None:
    line.add("refuse the 1st to 2nd connection")
    assert [_ask(line) in (b"", ConnectionResetError) for _ in range(2)] == [True, True]
    assert _ask(line) == SENT


def test_a_stall_delays_and_loses_nothing(line: FaultyLine) -> None:
    line.add("stall the 1st connection after 1000 bytes from the server for 0.4 s")
    began = time.monotonic()
    assert _ask(line) == SENT
    assert time.monotonic() - began >= 0.4


def test_one_bit_is_turned(line: FaultyLine) -> None:
    line.add("turn a bit of the 1st connection after 1000 bytes from the server")
    got = _ask(line)
    assert isinstance(got, bytes)
    assert [at for at, (one, other) in enumerate(zip(got, SENT, strict=True)) if one != other] == [1000]


@pytest.mark.parametrize("reset", [False, True])
def test_all_that_is_open_is_cut_when_a_test_says_so(line: FaultyLine, reset: bool) -> None:
    with socket.create_connection(("127.0.0.1", line.port), timeout=20) as connection:
        connection.sendall(b"send")
        assert connection.recv(1)
        line.cut_all(reset=reset)
        if reset:
            with pytest.raises(ConnectionResetError):
                _drain(connection)
        else:
            _drain(connection)
    assert _ask(line) == SENT


def _drain(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def test_a_sentence_that_means_no_fault_is_refused(line: FaultyLine) -> None:
    with pytest.raises(ValueError, match="no fault is called"):
        line.add("burn the 1st connection")
