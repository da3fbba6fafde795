"""A relay on loopback before a real file server, whose clock it makes seem wrong: a server's own cannot be moved here.

It changes one field, SystemTime in the answer to NEGOTIATE ([MS-SMB2] 2.2.4), and passes everything else on. Up to
dialect 3.0.2 nothing covers that field, so that logins work; in 3.1.1 a login notices that its negotiation was changed.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_HEADER_BYTES, _TIME_AT = 64, 40
_TICKS = 10_000_000
"""Of FILETIME in a second."""


@contextmanager
def clock_off_by(seconds: int, target_port: int) -> Iterator[int]:
    """The port of 127.0.0.1 at which the server of ``target_port`` seems that far ahead of its own clock."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_accept, args=(listening, seconds, target_port), daemon=True).start()
        try:
            yield listening.getsockname()[1]
        finally:
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)


def _accept(listening: socket.socket, seconds: int, target_port: int) -> None:
    while True:
        try:
            client, _ = listening.accept()
        except OSError:
            return
        server = socket.create_connection(("127.0.0.1", target_port))
        threading.Thread(target=_pass_on, args=(client, server), daemon=True).start()
        threading.Thread(target=_answer, args=(server, client, seconds), daemon=True).start()


def _answer(server: socket.socket, client: socket.socket, seconds: int) -> None:
    with suppress(OSError):
        frame = _first_frame(server)
        at = 4 + _HEADER_BYTES + _TIME_AT
        time = int.from_bytes(frame[at : at + 8], "little") + seconds * _TICKS
        client.sendall(frame[:at] + time.to_bytes(8, "little") + frame[at + 8 :])
    _pass_on(server, client)


def _first_frame(server: socket.socket) -> bytes:
    frame = bytearray()
    while len(frame) < 4 or len(frame) < 4 + int.from_bytes(frame[:4], "big"):
        piece = server.recv(65536)
        if not piece:
            raise ConnectionResetError("the server closed the connection before it answered")
        frame += piece
    return bytes(frame)


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
    for each in (source, sink):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
