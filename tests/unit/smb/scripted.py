"""A server that answers as a script says: what Windows does and Samba never shows.

It speaks signed SMB 2 over a socket pair to a client that skips the login. Each request of a compound is handed to the
script, which returns the reply's status and body; what the script does not care for is answered as a file server
with the files in ``files`` would.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from shared.smb import ntstatus, wire
from shared.smb.channel import Channel, Login
from shared.smb.client import SmbClient
from shared.smb.endpoint import SmbEndpoint
from shared.smb.protection import AES_128_GMAC, Signing
from shared.smb.types import ConnectionFacts

KEY = bytes(range(16))


@dataclass
class Request:
    """One request as it came."""

    command: int
    message_id: int
    body: bytes
    position: int
    """In its compound, from 0."""
    compound: int
    """How many requests the compound has."""
    credits_asked: int

    @property
    def file(self) -> bytes:
        at = {
            wire.CLOSE: 8,
            wire.READ: 16,
            wire.QUERY_INFO: 24,
            wire.QUERY_DIRECTORY: 8,
            wire.SET_INFO: 16,
            wire.WRITE: 16,
        }
        return self.body[at[self.command] : at[self.command] + 16]

    @property
    def name(self) -> str:
        length = int.from_bytes(self.body[46:48], "little")
        return self.body[56 : 56 + length].decode("utf-16-le", "surrogatepass")


@dataclass
class Answer:
    """What to say to one request."""

    status: int = 0
    body: bytes = b"\x09\0\0\0\0\0\0\0\0"
    pending_first: bool = False
    """An interim STATUS_PENDING goes before it, unsigned, in a frame of its own."""
    alone: bool = False
    """It comes in a frame of its own, after those of its compound."""
    credits: int = 4


Script = Callable[[Request], Answer | None]


@dataclass
class Server:
    """The other end; ``requests`` has everything that came, ``open`` the handles not yet closed."""

    script: Script = lambda request: None
    files: dict[str, bytes] = field(default_factory=dict)
    folders: dict[str, list[bytes]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    open: dict[bytes, str] = field(default_factory=dict)
    connections: int = 0
    failure: BaseException | None = None

    def client(self, *, granted: int = 64, **options: Any) -> SmbClient:
        return _ScriptedClient(self, granted, options)

    def commands(self) -> list[list[int]]:
        """The commands, by compound."""
        grouped: list[list[int]] = []
        for request in self.requests:
            if request.position == 0:
                grouped.append([])
            grouped[-1].append(request.command)
        return grouped

    def serve(self, sock: socket.socket) -> None:
        self.connections += 1
        signing = Signing(AES_128_GMAC, KEY)
        expected_id = 1
        listed: dict[bytes, int] = {}
        try:
            while True:
                head = _exactly(sock, 4)
                if head is None:
                    return
                frame = _exactly(sock, int.from_bytes(head, "big"))
                assert frame is not None
                messages = _split(frame)
                together: list[tuple[int, int, Answer]] = []
                file = b""
                for position, message in enumerate(messages):
                    fields = wire.HEADER.unpack_from(message)
                    charge, command, asked, message_id = fields[2], fields[4], fields[5], fields[8]
                    assert message_id == expected_id, "message ids have a gap"
                    expected_id += charge
                    signing_check = bytearray(message)
                    sent = bytes(signing_check[48:64])
                    signing_check[48:64] = bytes(16)
                    (resigned,) = signing.protect([signing_check], [message_id])
                    assert bytes(resigned[48:64]) == sent, "a request is not signed rightly"
                    request = Request(command, message_id, message[64:], position, len(messages), asked)
                    self.requests.append(request)
                    answer = self.script(request)
                    if answer is None:
                        answer, file = self._usual(request, file, listed)
                    elif command == wire.CREATE and not answer.status:
                        answer.body, file = self._created(request)
                    if answer.pending_first:
                        sock.sendall(_frame([_message(command, message_id, Answer(ntstatus.PENDING), None)]))
                    together.append((command, message_id, answer))
                joined = [_message(*one, signing) for one in together if not one[2].alone]
                if joined:
                    sock.sendall(_frame(joined))
                for one in together:
                    if one[2].alone:
                        sock.sendall(_frame([_message(*one, signing)]))
        except OSError:
            return
        except BaseException as error:
            self.failure = error
            sock.close()

    def _created(self, request: Request) -> tuple[bytes, bytes]:
        file = (len(self.requests)).to_bytes(16, "little")
        self.open[file] = request.name
        size = len(self.files.get(request.name, b""))
        body = struct.pack("<HBBIQQQQQQII16sII", 89, 0, 0, 1, 11, 12, 13, 14, 0, size, 0x80, 0, file, 0, 0)
        return body, file

    def _usual(self, request: Request, file: bytes, listed: dict[bytes, int]) -> tuple[Answer, bytes]:
        if request.command == wire.CREATE:
            if request.name not in self.files and request.name not in self.folders:
                return Answer(ntstatus.OBJECT_NAME_NOT_FOUND), b""
            body, file = self._created(request)
            return Answer(0, body), file
        handle = file if request.file == wire.RELATED_FILE else request.file
        if not handle:
            return Answer(ntstatus.OBJECT_NAME_NOT_FOUND), b""
        name = self.open[handle]
        if request.command == wire.CLOSE:
            del self.open[handle]
            return Answer(0, struct.pack("<HHI", 60, 0, 0) + bytes(52)), file
        if request.command == wire.READ:
            length, offset = struct.unpack_from("<IQ", request.body, 4)
            data = self.files[name][offset : offset + length]
            if not data:
                return Answer(ntstatus.END_OF_FILE), file
            return Answer(0, struct.pack("<HBBIII", 17, 80, 0, len(data), 0, 0) + data), file
        if request.command == wire.QUERY_INFO:
            return Answer(0, struct.pack("<HHI", 9, 72, 8) + b"descript"), file
        if request.command == wire.QUERY_DIRECTORY:
            at = listed[handle] = listed.get(handle, -1) + 1
            pages = self.folders[name]
            if at >= len(pages):
                return Answer(ntstatus.NO_MORE_FILES), file
            return Answer(0, struct.pack("<HHI", 9, 72, len(pages[at])) + pages[at]), file
        return Answer(0, b"\x02\0"), file


class _ScriptedClient(SmbClient):
    def __init__(self, server: Server, granted: int, options: dict[str, Any]) -> None:
        super().__init__(SmbEndpoint.parse("smb://scripted/share", "user", "password"), **options)
        self._server = server
        self._granted = granted

    def _connect(self) -> Channel:
        ours, theirs = socket.socketpair()
        threading.Thread(target=self._server.serve, args=(theirs,), daemon=True).start()
        self._facts = ConnectionFacts("3.1.1", AES_128_GMAC, None, "ntlm", 1 << 20, 1 << 20)
        login = Login(
            sock=ours,
            protection=Signing(AES_128_GMAC, KEY),
            session_id=7,
            tree_id=8,
            next_message_id=1,
            credits=self._granted,
            multi_credit=True,
            max_read_bytes=1 << 20,
            max_write_bytes=1 << 20,
            max_transact_bytes=1 << 20,
            facts=self._facts,
        )
        return Channel(_TcpLike.wrap(login), timeout_seconds=5)


class _TcpLike(socket.socket):
    """A socket pair has no TCP options."""

    @staticmethod
    def wrap(login: Login) -> Login:
        login.sock = _TcpLike(fileno=login.sock.detach())
        return login

    def setsockopt(self, *arguments: Any) -> None:
        return


def entry(name: str, *, attributes: int = 0x20, tag: int = 0, following: bool = False) -> bytes:
    """One FileIdBothDirectoryInformation."""
    raw = name.encode("utf-16-le", "surrogatepass")
    size = (104 + len(raw) + 7) & ~7
    packed = struct.pack(
        "<IIqqqqqqIIIBB24sHQ",
        size if following else 0, 0, 1, 2, 3, 4, 5, 8, attributes, len(raw), tag, 0, 0, b"", 0, 99,
    )  # fmt: skip
    return (packed + raw).ljust(size, b"\0")


def page(*entries: tuple[str, int, int]) -> bytes:
    """A QUERY_DIRECTORY buffer from (name, attributes, reparse tag)."""
    last = len(entries) - 1
    return b"".join(
        entry(name, attributes=attributes, tag=tag, following=index < last)
        for index, (name, attributes, tag) in enumerate(entries)
    )


def _message(command: int, message_id: int, answer: Answer, signing: Signing | None) -> bytearray:
    header = wire.HEADER.pack(
        wire.PROTOCOL, 64, 0, answer.status, command, answer.credits, wire.FLAG_REPLY, 0, message_id, 0, 8, 7, bytes(16)
    )
    message = bytearray(header + answer.body)
    message += bytes(-len(message) % 8)
    _pending_signatures[id(message)] = signing
    return message


_pending_signatures: dict[int, Signing | None] = {}


def _frame(messages: list[bytearray]) -> bytes:
    """Chain, sign, prefix with the length."""
    for index, message in enumerate(messages):
        if index < len(messages) - 1:
            message[20:24] = len(message).to_bytes(4, "little")
        signing = _pending_signatures.pop(id(message))
        if signing is not None:
            message_id = int.from_bytes(message[24:32], "little")
            message[48:64] = signing._mac(message, message_id, True)
    content = b"".join(messages)
    return len(content).to_bytes(4, "big") + content


def _split(frame: bytes) -> list[bytes]:
    messages = []
    at = 0
    while True:
        following = int.from_bytes(frame[at + 20 : at + 24], "little")
        messages.append(frame[at : at + following] if following else frame[at:])
        if not following:
            return messages
        at += following


def _exactly(sock: socket.socket, count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            return None
        data += piece
    return data
