"""Whether a SQL server answers at a port: the first message of its protocol, without a login.

[MS-TDS] 2.2.6.5 (PRELOGIN) and 2.2.3.1 (packet header).
"""

from __future__ import annotations

import socket
import struct
import time

from shared.errors import SourceUnreachable

_PRELOGIN, _REPLY, _END = 0x12, 0x04, 0x01
_VERSION, _ENCRYPTION, _TERMINATOR = 0, 1, 0xFF
_ON = 1
_HEADER = struct.Struct(">BBHHBB")
_OPTION = struct.Struct(">BHH")
_LARGEST = 4096
NO_ENCRYPTION = 2
"""What a server says that has none."""
_OTHERS = (
    (b"HTTP/", "a web server or a proxy"),
    (b"SSH-", "an SSH server"),
    (b"\x15\x03", "a server that speaks TLS from the first byte"),
    (b"\x00\x00\x00", "a file server (SMB)"),
)


def prelogin(host: str, port: int, *, timeout_seconds: float, setting: str) -> int:
    """What the server says of encryption: 0 off, 1 on, 2 not supported, 3 required. The connection may take
    ``timeout_seconds``, and so may the answer. ``SourceUnreachable`` says what answers there instead."""
    try:
        with socket.create_connection((host, port), timeout_seconds) as connection:
            deadline = time.monotonic() + timeout_seconds
            connection.sendall(_request())
            head = _read(connection, _HEADER.size, deadline)
            if len(head) == _HEADER.size and head[0] == _REPLY:
                length = min(_HEADER.unpack(head)[2], _LARGEST)
                return _encryption(_read(connection, length - _HEADER.size, deadline))
    except TimeoutError:
        raise SourceUnreachable(
            f"TCP {port} of {host} takes connections, and nothing answers there within {timeout_seconds:.0f} s",
            remedy="Look at what lies in between: a load balancer or portproxy whose other end is down, or a firewall "
            "that lets only the connection through.",
            setting=setting,
        ) from None
    except (OSError, UnicodeError) as error:
        raise SourceUnreachable(
            f"TCP {port} of {host}: {getattr(error, 'strerror', None) or error}",
            remedy=f"Check {setting}, the port and the firewall.",
            setting=setting,
        ) from error
    if not head:
        raise SourceUnreachable(
            f"{host} takes connections on TCP {port} and closes them without a word",
            remedy="It may be no SQL server, one that demands strict encryption (TDS 8.0), or a relay whose other end "
            "is down.",
            setting=setting,
        )
    other = next((name for begin, name in _OTHERS if head.startswith(begin)), "something else")
    raise SourceUnreachable(
        f"{other} answers on TCP {port} of {host}, not SQL Server",
        remedy=f"Check the port in {setting}: SQL Server Configuration Manager shows where the instance listens.",
        setting=setting,
    )


def _request() -> bytes:
    version, encryption = bytes(6), bytes([_ON])
    at = 2 * _OPTION.size + 1
    body = _OPTION.pack(_VERSION, at, len(version)) + _OPTION.pack(_ENCRYPTION, at + len(version), len(encryption))
    body += bytes([_TERMINATOR]) + version + encryption
    return _HEADER.pack(_PRELOGIN, _END, _HEADER.size + len(body), 0, 0, 0) + body


def _encryption(body: bytes) -> int:
    """``NO_ENCRYPTION`` where the reply says nothing of it."""
    for at in range(0, len(body) - _OPTION.size + 1, _OPTION.size):
        if body[at] == _TERMINATOR:
            break
        option, offset, length = map(int, _OPTION.unpack_from(body, at))
        if option == _ENCRYPTION and length == 1 and offset < len(body):
            return body[offset]
    return NO_ENCRYPTION


def _read(connection: socket.socket, count: int, deadline: float) -> bytes:
    """``count`` bytes, fewer where the connection ends. ``TimeoutError`` at ``deadline``, of the monotonic clock,
    however often a byte comes."""
    found = b""
    while len(found) < count:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        piece = connection.recv(count - len(found))
        if not piece:
            break
        found += piece
    return found
