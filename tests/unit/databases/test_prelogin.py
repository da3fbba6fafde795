"""What is asked of a SQL server before any login, against a socket that behaves as the test says."""

from __future__ import annotations

import socket
import threading

import pytest

from shared.databases.prelogin import prelogin
from shared.errors import SourceUnreachable

HEAD_OF_A_REPLY = bytes([0x04, 0x01, 0x10, 0x00, 0, 0, 1, 0])


def test_an_answer_that_comes_byte_by_byte_is_given_up_by_the_limit_of_all_of_it() -> None:
    given_up = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drop_by_drop() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(HEAD_OF_A_REPLY)
                connection.settimeout(0.05)
                while not given_up.is_set():
                    connection.sendall(b"\x00")
                    try:
                        if connection.recv(1) == b"":
                            given_up.set()
                    except TimeoutError:
                        continue
                    except ConnectionError:
                        given_up.set()

        thread = threading.Thread(target=drop_by_drop, daemon=True)
        thread.start()
        with pytest.raises(SourceUnreachable, match="nothing answers there within"):
            prelogin("127.0.0.1", listening.getsockname()[1], timeout_seconds=0.5, setting="LIFEBOAT_SQL_SERVER")
        assert given_up.wait(10)
        thread.join(10)
