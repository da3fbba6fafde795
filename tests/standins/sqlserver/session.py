"""One connection: PRELOGIN, TLS inside it, login, then batches, procedure calls and attentions until it ends."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import time
from collections.abc import Mapping
from typing import Literal

from tests.standins.sqlserver import wire
from tests.standins.sqlserver.access import usable_database
from tests.standins.sqlserver.engine import Engine, data_type_rows
from tests.standins.sqlserver.instance import Instance, SessionState
from tests.standins.sqlserver.messages import (
    Cancelled,
    ConnectionLost,
    Count,
    Event,
    Events,
    Info,
    Message,
    Rows,
    SqlError,
    Tick,
    Used,
    refusal,
)
from tests.standins.sqlserver.wire import Done, Packet, Status

Framing = Literal["each", "final"]
_POLL_SECONDS = 0.01
_ON, _NOT_SUPPORTED, _REQUIRED = 1, 2, 3

_WHY_REFUSED = {
    18470: "  Reason: The account is disabled.",
    18486: " because the account is currently locked out. The system administrator can unlock it.",
    18487: "  Reason: The password of the account has expired.",
    18488: "  Reason: The password of the account must be changed.",
}
"""As sys.messages has them."""


class _Stream:
    """Packets over the socket, in the clear or through TLS; ConnectionLost when the other side is gone."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._tls: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._buffer = bytearray()
        self._packet_number = 0
        self.packet_size = 4096

    @property
    def is_encrypted(self) -> bool:
        return self._tls is not None

    def put(self, data: bytes) -> None:
        self._buffer += data

    def flush(self, *, last: bool, kind: Packet = Packet.REPLY) -> None:
        """Send what is there; ``last`` ends the message, otherwise only whole or partial packets go ahead."""
        room = self.packet_size - 8
        while self._buffer or last:
            chunk = bytes(self._buffer[:room])
            del self._buffer[:room]
            ends = last and not self._buffer
            self._packet_number = self._packet_number % 255 + 1
            head = struct.pack(">BBHHBB", kind, int(ends), len(chunk) + 8, 51, self._packet_number, 0)
            self._write(head + chunk)
            if ends:
                self._packet_number = 0
                return

    def message(self) -> tuple[Packet | None, bytes]:
        """A whole message; its kind is None when the client says to ignore it."""
        body = bytearray()
        while True:
            kind, status, length = struct.unpack(">BBH4x", self._read(8))
            body += self._read(length - 8)
            if status & 1:
                return (None if status & 2 else Packet(kind)), bytes(body)

    def has_input(self) -> bool:
        if self._tls is not None and (self._tls.pending() or self._incoming.pending):
            return True
        try:
            return bool(select.select([self._socket], [], [], 0)[0])
        except (OSError, ValueError) as failure:
            raise ConnectionLost("the connection is closed") from failure

    def start_tls(self, context: ssl.SSLContext) -> None:
        """The handshake travels inside PRELOGIN packets, both ways; everything after it is TLS."""
        tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        while True:
            try:
                tls.do_handshake()
                finished = True
            except ssl.SSLWantReadError:
                finished = False
            if data := self._outgoing.read():
                self.put(data)
                self.flush(last=True, kind=Packet.PRELOGIN)
            if finished:
                break
            self._incoming.write(self.message()[1])
        self._tls = tls

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _read(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            if self._tls is None:
                data += self._receive(count - len(data))
                continue
            try:
                data += self._tls.read(count - len(data))
            except ssl.SSLWantReadError:
                self._incoming.write(self._receive(65536))
            except ssl.SSLError as failure:
                raise ConnectionLost("the client ended TLS") from failure
        return bytes(data)

    def _receive(self, count: int) -> bytes:
        try:
            data = self._socket.recv(count)
        except OSError as failure:
            raise ConnectionLost("the connection broke") from failure
        if not data:
            raise ConnectionLost("the client closed the connection")
        return data

    def _write(self, data: bytes) -> None:
        try:
            if self._tls is None:
                self._socket.sendall(data)
            else:
                self._tls.write(data)
                self._socket.sendall(self._outgoing.read())
        except OSError as failure:
            raise ConnectionLost("the connection broke") from failure


class Connection:
    """Serves one client until it leaves. ``framing`` says how messages are framed, at the moment of each."""

    def __init__(
        self, instance: Instance, connection: socket.socket, tls: ssl.SSLContext | None, framing: Mapping[str, Framing]
    ) -> None:
        self._instance, self._tls_context, self._framing = instance, tls, framing
        self._stream = _Stream(connection)
        self._prepared: dict[int, str] = {}
        self._session: SessionState | None = None
        self._transactions = 0

    def serve(self) -> None:
        try:
            self._prelogin(self._stream.message()[1])
            session = self._login(self._stream.message()[1])
            if session is not None:
                self._session = session
                self._requests()
        except (ConnectionLost, ValueError, ssl.SSLError):
            pass
        finally:
            self._leave()
            self._stream.close()

    def _leave(self) -> None:
        if self._session is not None:
            self._engine.end_transaction(commit=False)
            with self._instance.lock:
                self._instance.sessions.pop(self._session.spid, None)

    @property
    def _engine(self) -> Engine:
        return Engine(self._instance, self._state)

    @property
    def _state(self) -> SessionState:
        assert self._session is not None
        return self._session

    # ---- before there is a session

    def _prelogin(self, body: bytes) -> None:
        options = _prelogin_options(body)
        wanted = options.get(1, b"\x02")[0]
        if self._tls_context is None or wanted == _NOT_SUPPORTED:
            encryption = _NOT_SUPPORTED
        else:
            encryption = _ON if wanted == _ON else _REQUIRED if wanted == _REQUIRED else _NOT_SUPPORTED
        major, minor, build = self._instance.build
        answers = [
            (0, bytes([major, minor]) + struct.pack(">H", build) + bytes(2)),
            (1, bytes([encryption])),
            (2, b"\x00"),
            (3, b""),
            (4, b"\x00"),
        ]
        head, data, offset = b"", b"", 5 * len(answers) + 1
        for kind, value in answers:
            head += struct.pack(">BHH", kind, offset + len(data), len(value))
            data += value
        self._stream.put(head + b"\xff" + data)
        self._stream.flush(last=True)
        if encryption in (_ON, _REQUIRED) and self._tls_context is not None:
            self._stream.start_tls(self._tls_context)

    def _login(self, body: bytes) -> SessionState | None:
        """The session, or None after a refusal."""
        user, password, program, host, wanted = _login_fields(body)
        with self._instance.lock:
            login = self._instance.logins.get(user.lower())
            if login is None or login.name == "sa" or login.disabled or login.password != password:
                self._refuse_login(user)
                return None
            if login.refused:
                self._refuse_login(user, number=login.refused)
                return None
            session = SessionState(
                self._instance.new_spid(),
                login,
                "master",
                self._instance.clock.now(),
                program,
                host,
                self._stream.is_encrypted,
            )
            if wanted:
                try:
                    session.database = usable_database(self._instance, session, wanted).name
                except SqlError:
                    self._refuse_login(user, wanted)
                    return None
            session.disconnect = self._stream.close
            self._instance.sessions[session.spid] = session
        asked = struct.unpack_from("<I", body, 8)[0]
        size = min(max(asked or 4096, 512), 32767)
        self._stream.put(wire.login_tokens(session.database, size, self._instance.build))
        if body[27] & 0x10:
            self._stream.put(b"\xae\xff")
        self._stream.put(wire.done_token(Done.STATEMENT, Status.FINAL))
        self._stream.flush(last=True)
        self._stream.packet_size = size
        return session

    def _refuse_login(self, user: str, database: str = "", *, number: int = 18456) -> None:
        messages = [Message(number, f"Login failed for user '{user}'.{_WHY_REFUSED.get(number, '')}", 14)]
        if database:
            text = f'Cannot open database "{database}" requested by the login. The login failed.'
            messages.insert(0, Message(4060, text, 11))
        for message in messages:
            self._stream.put(wire.message_token(message, self._instance.name, is_error=True))
        self._stream.put(wire.done_token(Done.STATEMENT, Status.ERROR))
        self._stream.flush(last=True)

    # ---- requests

    def _requests(self) -> None:
        while True:
            kind, body = self._stream.message()
            if self._state.killed:
                raise ConnectionLost("killed")
            if kind is None:
                self._stream.put(wire.done_token(Done.STATEMENT, Status.ERROR))
            elif kind == Packet.ATTENTION:
                self._stream.put(wire.done_token(Done.STATEMENT, Status.ATTENTION))
            elif kind == Packet.BATCH:
                self._batch(_without_headers(body).decode("utf-16-le"))
            elif kind == Packet.RPC:
                self._calls(wire.Reader(_without_headers(body)))
            elif kind == Packet.TRANSACTION:
                self._transaction(_without_headers(body))
            else:
                raise ConnectionLost(f"packet of type {kind}")
            self._stream.flush(last=True)

    def _transaction(self, body: bytes) -> None:
        (kind,) = struct.unpack_from("<H", body)
        if kind == 5:
            self._transactions += 1
            self._state.in_transaction = True
            self._stream.put(wire.environment_change(8, struct.pack("<Q", self._transactions), b""))
        elif kind in (7, 8):
            self._engine.end_transaction(commit=kind == 7)
            change = 9 if kind == 7 else 10
            self._stream.put(wire.environment_change(change, b"", struct.pack("<Q", self._transactions)))
            if len(body) > 3 and body[-1] & 1:
                self._transactions += 1
                self._state.in_transaction = True
                self._stream.put(wire.environment_change(8, struct.pack("<Q", self._transactions), b""))
        self._stream.put(wire.done_token(Done.STATEMENT, Status.FINAL))

    def _batch(self, text: str) -> None:
        self._instance.statements.append(text)
        self._send(self._engine.run(text, {}), Done.STATEMENT)

    def _calls(self, reader: wire.Reader) -> None:
        """The procedures of one request, one after the other."""
        more = True
        while more and not reader.at_end:
            size = reader.number(2)
            name = wire.PROCEDURES.get(reader.number(2), "") if size == 0xFFFF else reader.text(size)
            reader.take(2)
            parameters = []
            while not reader.at_end and reader.peek() not in (0x80, 0xFE, 0xFF):
                parameters.append(reader.parameter())
            more = not reader.at_end
            if more:
                reader.take(1)
            if not self._call(name.lower().rsplit(".", 1)[-1], parameters, more=more and not reader.at_end):
                return

    def _call(self, name: str, parameters: list[wire.Parameter], *, more: bool) -> bool:
        """False when it was cancelled: nothing may follow."""
        handle, text, arguments = self._prepare(name, parameters)
        outcome: bool | None = True
        if text is not None:
            self._instance.statements.append(text)
            values = {argument.name or f"@P{i}": argument.value for i, argument in enumerate(arguments, 1)}
            outcome = self._send(self._engine.run(text, values), Done.IN_PROCEDURE)
        elif name == "sp_datatype_info_100" or name == "sp_datatype_info":
            wanted = next((each.value for each in parameters if isinstance(each.value, int)), 0)
            outcome = self._send(iter([data_type_rows(wanted)]), Done.IN_PROCEDURE)
        elif handle is None and name not in ("sp_unprepare", "sp_reset_connection"):
            outcome = self._send(_missing(name), Done.IN_PROCEDURE)
        if outcome is None:
            return False
        self._stream.put(wire.return_status(int(not outcome)))
        if handle is not None:
            self._stream.put(wire.return_integer(parameters[0].name, handle))
        status = (Status.MORE if more else Status.FINAL) | (Status.FINAL if outcome else Status.ERROR)
        self._stream.put(wire.done_token(Done.PROCEDURE, status, command=0xE0))
        return True

    def _prepare(
        self, name: str, parameters: list[wire.Parameter]
    ) -> tuple[int | None, str | None, list[wire.Parameter]]:
        """Handle to hand back, text to run, and its parameters."""
        if name == "sp_executesql":
            return None, str(parameters[0].value), parameters[2:]
        if name in ("sp_prepare", "sp_prepexec"):
            handle = len(self._prepared) + 1
            self._prepared[handle] = str(parameters[2].value)
            names = _declared(parameters[1].value)
            if name == "sp_prepare":
                return handle, None, []
            return handle, self._prepared[handle], _named(parameters[3:], names)
        if name == "sp_execute":
            handle = parameters[0].value if isinstance(parameters[0].value, int) else 0
            text = self._prepared.get(handle)
            return None, text, parameters[1:]
        return None, None, []

    # ---- answers

    def _send(self, events: Events, kind: Done) -> bool | None:
        """Send what a statement gives as it comes. True when it succeeded, None when it was cancelled."""
        answer = _Answer(self._stream, self._instance.name, kind, self._framing["framing"])
        try:
            succeeded = self._drain(events, answer)
        except Cancelled:
            self._stream.put(wire.done_token(Done.STATEMENT, Status.ATTENTION))
            return None
        answer.finish(succeeded=succeeded, more=kind == Done.IN_PROCEDURE, in_transaction=self._state.in_transaction)
        return succeeded

    def _drain(self, events: Events, answer: _Answer) -> bool:
        try:
            for event in events:
                if isinstance(event, Tick):
                    self._wait(events, event.seconds)
                else:
                    answer.add(event)
        except SqlError as failure:
            answer.fail(failure)
            return False
        except (Cancelled, ConnectionLost):
            raise
        except Exception as failure:
            answer.fail(refusal(50000, f"The stand-in itself failed: {failure!r}"))
            return False
        return True

    def _wait(self, events: Events, seconds: float) -> None:
        """Let time pass; an attention, a lost connection or a kill is thrown into the statement."""
        deadline = time.monotonic() + seconds
        while True:
            interruption = self._interruption()
            if interruption is not None:
                self._interrupt(events, interruption)
            left = deadline - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, _POLL_SECONDS))

    def _interruption(self) -> Cancelled | ConnectionLost | None:
        if self._state.killed:
            return ConnectionLost("killed")
        try:
            self._stream.flush(last=False)
            if not self._stream.has_input():
                return None
            kind, _ = self._stream.message()
        except ConnectionLost as lost:
            return lost
        return Cancelled() if kind == Packet.ATTENTION else ConnectionLost(f"packet of type {kind} inside a statement")

    def _interrupt(self, events: Events, interruption: Cancelled | ConnectionLost) -> None:
        throw = getattr(events, "throw", None)
        if throw is not None:
            throw(interruption)
        raise interruption


class _Answer:
    """Tokens of one answer; the DONE of the last result waits, since only the end knows that it was the last."""

    def __init__(self, stream: _Stream, server: str, kind: Done, framing: Framing) -> None:
        self._stream, self._server, self._kind, self._framing = stream, server, kind, framing
        self._pending: tuple[Status, int, int] | None = None

    def add(self, event: Event) -> None:
        self._release()
        if isinstance(event, Info):
            self._stream.put(wire.message_token(event.message, self._server, is_error=False))
            if self._framing == "each":
                self._stream.put(wire.done_token(self._kind, Status.MORE))
        elif isinstance(event, Rows):
            self._stream.put(wire.rows_tokens(event))
            self._pending = Status.COUNT, len(event.rows), 0xC1
        elif isinstance(event, Count):
            self._pending = Status.COUNT, max(event.rows, 0), 0xC3
        elif isinstance(event, Used):
            self._stream.put(wire.environment_change(1, event.database, ""))
            changed = Message(5701, f"Changed database context to '{event.database}'.", 0, 2)
            self._stream.put(wire.message_token(changed, self._server, is_error=False))

    def fail(self, failure: SqlError) -> None:
        self._release()
        for message in failure.messages:
            self._stream.put(wire.message_token(message, self._server, is_error=True))

    def finish(self, *, succeeded: bool, more: bool, in_transaction: bool) -> None:
        status, rows, command = self._pending or (Status.FINAL, 0, 0)
        status |= Status.FINAL if succeeded else Status.ERROR
        status |= Status.MORE if more else Status.FINAL
        status |= Status.IN_TRANSACTION if in_transaction else Status.FINAL
        self._stream.put(wire.done_token(self._kind, status, rows=rows, command=command))

    def _release(self) -> None:
        if self._pending is not None:
            status, rows, command = self._pending
            self._stream.put(wire.done_token(self._kind, status | Status.MORE, rows=rows, command=command))
            self._pending = None


def _without_headers(body: bytes) -> bytes:
    """ALL_HEADERS says its own length."""
    return body[struct.unpack_from("<I", body)[0] :]


def _prelogin_options(body: bytes) -> dict[int, bytes]:
    options, at = {}, 0
    while body[at] != 0xFF:
        kind, offset, length = struct.unpack_from(">BHH", body, at)
        options[kind] = body[offset : offset + length]
        at += 5
    return options


def _login_fields(body: bytes) -> tuple[str, str, str, str, str]:
    """User, password, program, host and database of LOGIN7."""

    def field(at: int) -> bytes:
        offset, length = struct.unpack_from("<HH", body, at)
        return body[offset : offset + 2 * length]

    password = bytes(((byte ^ 0xA5) << 4 & 0xF0) | (byte ^ 0xA5) >> 4 for byte in field(44))
    host, user, program, database = (field(at).decode("utf-16-le") for at in (36, 40, 48, 68))
    return user, password.decode("utf-16-le"), program, host, database


def _declared(declaration: object) -> list[str]:
    """Names in a declaration as ``@P1 int,@P2 nvarchar(4000)``."""
    return [part.split()[0] for part in str(declaration or "").split(",") if part.strip().startswith("@")]


def _named(parameters: list[wire.Parameter], names: list[str]) -> list[wire.Parameter]:
    return [
        wire.Parameter(parameter.name or (names[i] if i < len(names) else f"@P{i + 1}"), parameter.value)
        for i, parameter in enumerate(parameters)
    ]


def _missing(name: str) -> Events:
    raise refusal(2812, f"Could not find stored procedure '{name}'.")
    yield
