"""What an SMB server may answer: mutated messages at each stage, from the negotiation to the CLOSE."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors import LifeboatError, SourceError
from shared.smb import wire
from shared.smb.channel import Channel, ConnectionLost, Inbox, Login
from shared.smb.client import SmbClient
from shared.smb.endpoint import SmbEndpoint
from shared.smb.handshake import log_in
from shared.smb.protection import AES_128_GMAC, Forged, Sealing, Signing
from shared.smb.types import ConnectionFacts, FileUnreadable, FileUnwritable, ReadRequest, WriteRequest
from shared.smb.wire import BadReply, Reply
from tests.examples import examples
from tests.fuzz.mutations import mutated, only_our_errors
from tests.standins.samba import PASSWORD, USERNAME, Samba
from tests.unit.smb.scripted import KEY, Answer, Request, Server, _TcpLike, page

FILES = {"folder\\file": b"content" * 20, "file": b"content" * 20}
LISTING = page(("file", 0x20, 0), ("sub", 0x10, 0), ("link", 0x400, 0xA000000C))


# --- parsers ----------------------------------------------------------------------------------------------------------


@examples(300)
@given(mutated(LISTING))
def test_a_listing(listing: bytes) -> None:
    with suppress(BadReply):
        entries = wire.directory_entries(listing)
        assert len(entries) * 104 <= len(listing), "entries that overlap would be many times the reply"
        assert all(entry.size >= 0 for entry in entries)


def test_entries_that_lie_in_each_other_are_refused() -> None:
    """A megabyte of them would be a million entries, each with a name of a megabyte."""
    one = bytearray(page(("name", 0x20, 0)) * 2)
    one[0:4] = (8).to_bytes(4, "little")
    with pytest.raises(BadReply, match="within the one before"):
        wire.directory_entries(bytes(one))


def test_create_contexts_that_lie_in_each_other_are_refused() -> None:
    context = struct.pack("<IHHHHI", 1, 16, 4, 0, 0, 0) + b"MxAc" + bytes(4)
    message = bytes(64) + bytes(80) + struct.pack("<II", 152, 1 << 20) + context * 100
    with pytest.raises(BadReply, match="within the one before"):
        wire.on_disk_id(Reply(0, message, 0, len(message)))


def test_a_reply_that_is_too_short_is_not_read_on_in_the_next_one() -> None:
    data = bytes(64) + struct.pack("<HHI", 17, 0, 4) + bytes(200)
    for parse in (wire.created, wire.on_disk_id, wire.read_data, wire.written_bytes, wire.buffer, wire.ioctl_output):
        with pytest.raises(BadReply):
            parse(Reply(0, data, 0, 66))


@examples(300)
@given(st.data())
def test_the_body_of_any_reply(data: st.DataObject) -> None:
    header = bytes(64)
    context = struct.pack("<IHHHHI", 0, 16, 4, 0, 24, 32) + b"QFid" + bytes(4) + b"i" * 32
    sample = data.draw(
        st.sampled_from(
            (
                struct.pack("<HBBIQQQQQQII16sII", 89, 0, 0, 1, 1, 2, 3, 4, 5, 6, 0x80, 0, b"f" * 16, 152, 56) + context,
                struct.pack("<HBBIII", 17, 80, 0, 4, 0, 0) + b"data",
                struct.pack("<HHI", 9, 72, 8) + b"descript",
                struct.pack("<HHI16sIIIIII", 49, 0, 0, bytes(16), 112, 0, 112, 20, 0, 0) + b"\0" * 20,
            )
        )
    )
    body = data.draw(mutated(header + sample))
    start = data.draw(st.sampled_from((0, 7)))
    reply = Reply(0, bytes(start) + body, start, start + len(body))
    for parse in (wire.created, wire.on_disk_id, wire.read_data, wire.written_bytes, wire.buffer, wire.ioctl_output):
        with suppress(BadReply):
            parse(reply)
    for parse_bytes in (wire.snapshot_times, wire.free_bytes):
        with suppress(BadReply):
            parse_bytes(body)


# --- a whole client against a server that lies under a valid signature ------------------------------------------------


@dataclass
class LyingServer(Server):
    """Answers rightly but for what ``lies`` makes of a reply's body, once for each lie."""

    lies: dict[int, Callable[[bytes], bytes]] = field(default_factory=dict)
    """By the number of the reply."""
    answered: int = 0

    def _usual(self, request: Request, file: bytes, listed: dict[bytes, int]) -> tuple[Answer, bytes]:
        try:
            answer, file = super()._usual(request, file, listed)
        except KeyError:  # a handle that a lie has made up
            answer = Answer(0xC0000128)
        lie = self.lies.get(self.answered)
        self.answered += 1
        if lie is not None:
            answer.body = lie(answer.body)
        return answer, file


def _requests(*items: ReadRequest | WriteRequest) -> Callable[[bool], object]:
    left = list(items)

    def take(wait: bool) -> object:
        if not left:
            raise EOFError
        return left.pop()

    return take


def _read(client: SmbClient) -> None:
    read = ReadRequest("file", 140)
    for _ in client.read_files(_requests(read, read), small_limit_bytes=1 << 16, security=True):  # type: ignore[arg-type]
        pass
    for _ in client.look(_requests(read)):  # type: ignore[arg-type]
        pass


def _list(client: SmbClient) -> None:
    for found in client.list_directories(["folder"], security=True):
        str(found)


def _stream(client: SmbClient) -> None:
    with client.open_stream("file", security=True, chunk_bytes=32, ahead_bytes=64) as stream:
        total = sum(len(piece) for piece in stream)
        assert total < 1 << 20


def _write(client: SmbClient) -> None:
    request = WriteRequest("file", "temporary", b"data" * 10, 0, 1, 2, b"security", True)
    for _ in client.write_files(_requests(request)):  # type: ignore[arg-type]
        pass
    with client.open_writer("file") as writer:
        writer.write(b"data" * 100)
        writer.finish()


def _ask(client: SmbClient) -> None:
    client.previous_versions()
    client.free_space()
    client.stat("file")


@examples(150)
@given(st.data())
def test_whatever_a_server_says_under_its_signature(data: st.DataObject) -> None:
    do = data.draw(st.sampled_from((_read, _list, _stream, _write, _ask)))
    lies = {data.draw(st.integers(0, 8)): _drawn(data) for _ in range(data.draw(st.integers(1, 3)))}
    server = LyingServer(files=dict(FILES), folders={"folder": [LISTING], "": []}, lies=lies)
    with (
        server.client(timeout_seconds=5, reconnect_seconds=0) as client,
        suppress(FileUnreadable, FileUnwritable, LifeboatError),
    ):
        do(client)
    assert server.failure is None


def _drawn(data: st.DataObject) -> Callable[[bytes], bytes]:
    """A mutation chosen now, for whatever body comes: the server's thread may draw nothing."""
    kind = data.draw(st.sampled_from(("overwrite", "cut", "longer")))
    at, value = data.draw(st.integers(0, 120)), data.draw(st.sampled_from((0, 1, 7, 0xFF, 0xFFFF, 0xFFFFFFFF)))
    size = data.draw(st.sampled_from((1, 2, 4)))

    def lie(body: bytes) -> bytes:
        if kind == "cut":
            return body[:at]
        if kind == "longer":
            return body + b"\xa5" * at
        where = at % max(len(body), 1)
        return body[:where] + (value % (1 << 8 * size)).to_bytes(size, "little") + body[where + size :]

    return lie


def test_a_free_space_that_cannot_be_read_is_our_error() -> None:
    server = LyingServer(folders={"": []}, lies={1: lambda body: body[:3]})
    with server.client() as client, pytest.raises(SourceError, match="cannot be read"):
        client.free_space()


def test_a_write_whose_answer_cannot_be_read_is_an_unwritable_file() -> None:
    server = LyingServer(files=dict(FILES), lies={1: lambda body: b""})
    with server.client() as client, client.open_writer("file") as writer:
        writer.write(b"data")
        with pytest.raises(FileUnwritable, match="cannot be read"):
            writer.finish()


def _to_ioctl(body: bytes) -> Callable[[Request], Answer | None]:
    return lambda request: Answer(0, body) if request.command == wire.IOCTL else None


@pytest.mark.parametrize("names", ["@GMT-2026.99.99-00.00.00", "rubbish", "@GMT-"])
def test_a_previous_version_of_no_date_is_none(names: str) -> None:
    output = struct.pack("<III", 1, 1, 60) + (names + "\0@GMT-2026.01.02-03.04.05\0").encode("utf-16-le")
    answer = struct.pack("<HHI16sIIIIII", 49, 0, 0, bytes(16), 112, 0, 112, len(output), 0, 0) + output
    server = Server(
        folders={"": []}, script=lambda request: Answer(0, answer) if request.command == wire.IOCTL else None
    )
    with server.client() as client:
        assert len(client.previous_versions()) == 1


def test_a_list_of_previous_versions_that_is_never_given_ends() -> None:
    answer = struct.pack("<HHI16sIIIIII", 49, 0, 0, bytes(16), 112, 0, 112, 12, 0, 0) + struct.pack("<III", 1, 0, 1)
    server = Server(
        folders={"": []}, script=lambda request: Answer(0, answer) if request.command == wire.IOCTL else None
    )
    with server.client() as client:
        assert client.previous_versions() == []


def test_a_listing_of_pages_without_names_ends() -> None:
    empty = struct.pack("<HHI", 9, 72, 0)

    def script(request: Request) -> Answer | None:
        return Answer(0, empty) if request.command == wire.QUERY_DIRECTORY else None

    server = Server(folders={"folder": []}, script=script)
    with server.client() as client:
        (found,) = client.list_directories(["folder"], security=False)
    assert getattr(found, "reason", None) == "bad-reply"


# --- frames -----------------------------------------------------------------------------------------------------------


class _Trusting(Signing):
    """Whoever knows the session's key signs what they like."""

    def verify(self, message: memoryview, message_id: int) -> None:
        return


FACTS = ConnectionFacts("3.1.1", AES_128_GMAC, None, "ntlm", 1 << 20, 1 << 20)


def _channel(protection: Signing | Sealing) -> tuple[Channel, socket.socket]:
    ours, theirs = socket.socketpair()
    login = Login(ours, protection, 7, 8, 1, 64, True, 1 << 20, 1 << 20, 1 << 20, FACTS)
    return Channel(_TcpLike.wrap(login), timeout_seconds=5), theirs


def _reply_frame() -> bytes:
    headers = []
    for index, (message_id, body) in enumerate([(1, bytes(88)), (2, bytes(60))]):
        header = wire.HEADER.pack(
            wire.PROTOCOL, 64, 0, 0, (5, 6)[index], 4, 1, (152, 0)[index], message_id, 0, 8, 7, bytes(16)
        )
        headers.append(header + body)
    return b"".join(headers)


def _receive(protection: Signing | Sealing, frame: bytes, *, claim: int | None = None) -> None:
    channel, server = _channel(protection)
    with server:
        exchange = channel.submit(Inbox(), (wire.create(b"x", 1, 0), wire.close()))
        channel.flush()
        server.sendall((len(frame) if claim is None else claim).to_bytes(4, "big") + frame)
        server.shutdown(socket.SHUT_WR)
        with suppress(ConnectionLost):
            for _ in range(10):
                channel.receive()
        channel.close()
        assert all(reply.end <= len(reply.data) for reply in exchange.replies)


@examples(300)
@given(mutated(_reply_frame()), st.none() | st.sampled_from((0, 3, 4, 60, 1 << 24, 0xFFFFFF, 0xFFFFFFFF)))
def test_a_frame_that_is_signed(frame: bytes, claim: int | None) -> None:
    _receive(_Trusting(AES_128_GMAC, KEY), frame, claim=claim)


@examples(200)
@given(mutated(b"\xfdSMB" + bytes(48) + _reply_frame()) | mutated(_reply_frame()))
@example(wire.PROTOCOL)
@example(wire.TRANSFORM_PROTOCOL)
def test_a_frame_on_an_encrypted_session(frame: bytes) -> None:
    _receive(Sealing("aes-128-gcm", KEY, KEY, 7), frame)


def test_a_short_frame_in_the_clear_at_the_end_of_the_buffer_ends_the_connection() -> None:
    channel, server = _channel(Sealing("aes-128-gcm", KEY, KEY, 7))
    at = len(channel._buffer) - 20
    channel._buffer[at : at + 4] = wire.PROTOCOL
    with server, pytest.raises(BadReply):
        channel._frame(at, at + 4)
    channel.close()


@examples(200)
@given(mutated(b"\xfdSMB" + bytes(48) + b"sealed" * 20))
def test_a_sealed_frame_opens_or_is_forged(frame: bytes) -> None:
    buffer = bytearray(frame + bytes(16))
    with suppress(Forged):
        Sealing("aes-128-ccm", KEY, KEY, 7).open(memoryview(buffer), 0, len(frame))
    assert buffer == frame + bytes(16), "what lies behind it is put back"


# --- the login --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["smb-3.1.1", "smb-2.0.2"])
def samba(request: pytest.FixtureRequest) -> Iterator[Samba]:
    """The newest dialect, whose negotiation is protected, and the oldest, where anybody on the way may change it."""
    with Samba(request.param) as running:
        yield running


@dataclass
class Between:
    """A proxy to a real server that makes something else of one of its frames."""

    to: int
    number: int
    change: Callable[[bytes], bytes]
    port: int = 0

    def __enter__(self) -> Between:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            client, _ = self._listener.accept()
            server = socket.create_connection(("127.0.0.1", self.to))
            threading.Thread(target=self._upwards, args=(client, server), daemon=True).start()
            with client, server:
                number = 0
                while (head := _exactly(server, 4)) is not None:
                    frame = _exactly(server, int.from_bytes(head, "big"))
                    if frame is None:
                        return
                    if number == self.number:
                        frame = self.change(frame)
                    number += 1
                    client.sendall(len(frame).to_bytes(4, "big") + frame)
                    if number > self.number + 1:
                        return

    @staticmethod
    def _upwards(client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)


def _exactly(sock: socket.socket, count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            return None
        data += piece
    return data


def _log_in(samba: Samba, number: int, change: Callable[[bytes], bytes]) -> LifeboatError | None:
    with Between(samba.port, number, change) as between:
        endpoint = SmbEndpoint.parse(f"smb://127.0.0.1:{between.port}/data", USERNAME, PASSWORD)

        def attempt() -> None:
            login = log_in(endpoint, timeout_seconds=1, settings_prefix="LIFEBOAT_SHARE")
            login.sock.close()

        return only_our_errors(attempt)


@examples(40)
@given(data=st.data())
def test_each_reply_of_the_login(samba: Samba, data: st.DataObject) -> None:
    """NEGOTIATE, the challenge, the session, the tree: a real server's, mutated."""
    stage = data.draw(st.integers(0, 3))
    _log_in(samba, stage, _drawn(data))


@pytest.mark.parametrize("at", [64 + 28, 64 + 32, 64 + 36], ids=["transact", "read", "write"])
def test_a_server_that_allows_no_bytes_in_a_request_is_refused(samba: Samba, at: int) -> None:
    """2.2.4: MaxTransactSize, MaxReadSize, MaxWriteSize."""
    error = _log_in(samba, 0, lambda frame: frame[:at] + bytes(4) + frame[at + 4 :])
    assert isinstance(error, SourceError)
