"""Negotiate, log in and connect to the share with smbprotocol; then hand over the socket.

Importing this module imports smbprotocol (a tenth of a second): only ``client`` does so, when it connects.
"""

from __future__ import annotations

import logging
import selectors
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from smbprotocol import Dialects
from smbprotocol.connection import Connection
from smbprotocol.exceptions import SMBAuthenticationError, SMBException, SMBResponseException
from smbprotocol.session import Session, SMB2SessionSetupRequest
from smbprotocol.tree import TreeConnect

from shared.errors import SourceError, SourceLoginRefused, SourceNotFound, SourceUnreachable
from shared.smb import ntstatus
from shared.smb.blocked import no_connection
from shared.smb.channel import Login
from shared.smb.endpoint import SmbEndpoint
from shared.smb.protection import AES_128_CMAC, CIPHERS, HMAC_SHA256, SIGNING_ALGORITHMS, Sealing, Signing
from shared.smb.refusals import refusal
from shared.smb.types import ConnectionFacts, Negotiated

logging.getLogger("smbprotocol").addHandler(logging.NullHandler())  # its tracebacks reach us as exceptions

_DIALECTS = {
    Dialects.SMB_2_0_2: "2.0.2",
    Dialects.SMB_2_1_0: "2.1",
    Dialects.SMB_3_0_0: "3.0",
    Dialects.SMB_3_0_2: "3.0.2",
    Dialects.SMB_3_1_1: "3.1.1",
}
_LARGEST_FRAME_BYTES = 1 << 24
_SMB = (b"\xfeSMB", b"\xfdSMB", b"\xfcSMB")
_OTHER_PROTOCOLS = {
    b"HTTP": "HTTP: a web server or a proxy",
    b"SSH-": "SSH",
    b"\x15\x03": "TLS",
    b"\xffSMB": "SMB 1",
}
_NO_TIME = datetime(1601, 1, 2, tzinfo=UTC)
"""What a server that does not tell its time puts lies before this."""
_LEAST_REQUEST_BYTES = 4096


def negotiate(endpoint: SmbEndpoint, *, timeout_seconds: float, settings_prefix: str) -> Negotiated:
    """Connect, see what the server offers, and leave: nobody logs in. ``SourceUnreachable`` as from ``log_in``."""
    with _negotiated(endpoint, _Attempt(endpoint, settings_prefix), timeout_seconds) as connection:
        connection.abandon()
        return Negotiated(
            dialect=_DIALECTS[connection.dialect],
            signing=_signing_algorithm(connection),
            cipher=_cipher(connection) if connection.supports_encryption else None,
            clock_ahead_seconds=connection.clock_ahead_seconds,
        )


def authenticate(endpoint: SmbEndpoint, *, timeout_seconds: float, settings_prefix: str) -> str:
    """Connect and log in, and leave without having opened the share: ``ntlm`` or ``kerberos``, which was used.
    ``SourceUnreachable`` and ``SourceLoginRefused`` as from ``log_in``."""
    attempt = _Attempt(endpoint, settings_prefix)
    with _negotiated(endpoint, attempt, timeout_seconds) as connection:
        attempt.session(connection)
        connection.abandon()
        return connection.authentication


def log_in(
    endpoint: SmbEndpoint, *, timeout_seconds: float, settings_prefix: str, previous_session_id: int = 0
) -> Login:
    """Connect, agree on the best dialect and protection, authenticate, connect to the share.

    Encryption is used wherever it can be negotiated, signing everywhere else; a server that offers neither (a guest
    login) is refused. The server ends the session ``previous_session_id`` and lets go of what that had open, even if
    it has not noticed that its connection is gone (3.3.5.5.3). The whole takes ``timeout_seconds`` at most. Errors
    name ``<settings_prefix>_URL``, ``_USERNAME`` or ``_PASSWORD``: ``SourceUnreachable``, ``SourceLoginRefused``,
    ``SourceNotFound``.
    """
    attempt = _Attempt(endpoint, settings_prefix)
    with _negotiated(endpoint, attempt, timeout_seconds) as connection:
        connection.previous_session_id = previous_session_id
        session = attempt.session(connection)
        tree = TreeConnect(session, rf"\\{endpoint.server}\{endpoint.share}")
        try:
            tree.connect()
        except Exception as error:
            raise attempt.no_share(error, connection) from error
        attempt.require_room(connection.max_read_size, connection.max_write_size, connection.max_transact_size)
        sock = connection.hand_over()
    protection, signing, cipher = _protection(connection, session)
    window = connection.sequence_window
    return Login(
        sock=sock,
        protection=protection,
        session_id=session.session_id,
        tree_id=tree.tree_connect_id,
        next_message_id=window["low"],
        credits=window["high"] - window["low"],
        multi_credit=bool(connection.supports_multi_credit),
        max_read_bytes=connection.max_read_size,
        max_write_bytes=connection.max_write_size,
        max_transact_bytes=connection.max_transact_size,
        facts=ConnectionFacts(
            dialect=_DIALECTS[connection.dialect],
            signing=signing,
            cipher=cipher,
            authentication=connection.authentication,
            max_read_bytes=connection.max_read_size,
            max_write_bytes=connection.max_write_size,
        ),
    )


@contextmanager
def _negotiated(endpoint: SmbEndpoint, attempt: _Attempt, timeout_seconds: float) -> Iterator[_HandoverConnection]:
    """A connection after negotiation, with ``timeout_seconds`` for all that is done on it; an error closes it."""
    connection = _HandoverConnection(uuid.uuid4(), endpoint.server, endpoint.port, require_signing=True)
    connection.timeout_seconds = timeout_seconds
    connection.deadline = time.monotonic() + timeout_seconds
    try:
        try:
            connection.connect(timeout=timeout_seconds)
        except Exception as error:
            raise attempt.unreachable(error, connection) from error
        yield connection
    except BaseException:
        connection.abandon()
        raise


def _protection(connection: Any, session: Any) -> tuple[Signing | Sealing, str | None, str | None]:
    """3.1.4.1 and 3.1.4.3: which algorithm the dialect and the negotiation stand for."""
    if session.encrypt_data:
        cipher = _cipher(connection)
        sealing = Sealing(cipher, session.encryption_key, session.decryption_key, session.session_id)
        return sealing, None, cipher
    algorithm = _signing_algorithm(connection)
    return Signing(algorithm, session.signing_key), algorithm, None


def _cipher(connection: Any) -> str:
    return CIPHERS[connection.cipher_id if connection.dialect >= Dialects.SMB_3_1_1 else 1]


def _signing_algorithm(connection: Any) -> str:
    if connection.dialect < Dialects.SMB_3_0_0:
        return HMAC_SHA256
    if connection.dialect < Dialects.SMB_3_1_1 or connection.signing_algorithm_id is None:
        return AES_128_CMAC
    return SIGNING_ALGORITHMS[connection.signing_algorithm_id]


class _HandoverConnection(Connection):  # type: ignore[misc]  # smbprotocol has no types
    """smbprotocol's connection, whose receiving thread can be told to end without taking the socket with it."""

    deadline: float
    timeout_seconds: float
    authentication = "kerberos"
    previous_session_id = 0
    clock_ahead_seconds: float | None = None
    """As in ``Negotiated``."""
    trouble = ""
    """Why nothing more is received: what became of the connection, or what came instead of SMB."""
    silent = False
    """That nothing came in time is the trouble."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._release, self._released = socket.socketpair()

    def send(self, message: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(message, SMB2SessionSetupRequest):
            # The last token sent shows the mechanism that SPNEGO settled on.
            ntlm = b"NTLMSSP\0" in message["buffer"].get_value()
            self.authentication = "ntlm" if ntlm else "kerberos"
            message["previous_session_id"] = self.previous_session_id
        return super().send(message, *arguments, **options)

    def _send_smb2_negotiate(self, dialect: Any, _timeout: Any, *algorithms: Any) -> Any:
        asked = datetime.now(UTC)
        response = super()._send_smb2_negotiate(dialect, None, *algorithms)  # what ends the wait is our deadline
        answered = datetime.now(UTC)
        theirs = response["system_time"].get_value()
        if theirs > _NO_TIME:
            ours = min(max(theirs, asked), answered)
            self.clock_ahead_seconds = (theirs - ours).total_seconds()
        return response

    def _process_message_thread(self) -> None:
        self.transport.recv = self._receive_frame
        super()._process_message_thread()

    def _receive_frame(self, _timeout: float) -> bytes:
        """The next frame; empty when the thread is to end. The transport is closed if it is of no use any more."""
        head = self._receive_exactly(4)
        if head is None:
            return b""
        length = int.from_bytes(head, "big")
        frame = self._receive_exactly(length) if length < _LARGEST_FRAME_BYTES else None
        if length >= _LARGEST_FRAME_BYTES:
            self.trouble = _no_smb(head)
        elif frame is not None and frame[:4] not in _SMB:
            self.trouble = _no_smb(frame)
        if frame is None or self.trouble:
            self.transport.close()
            return b""
        return frame

    def _receive_exactly(self, count: int) -> bytes | None:
        sock = self.transport._sock
        received = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(sock, selectors.EVENT_READ)
            selector.register(self._released, selectors.EVENT_READ)
            while len(received) < count:
                ready = [key.fileobj for key, _ in selector.select(max(0.0, self.deadline - time.monotonic()))]
                if self._released in ready:
                    return None
                self.silent = not ready
                trouble = "it closed the connection" if ready else f"no answer within {self.timeout_seconds:g} s"
                try:
                    piece = sock.recv(count - len(received)) if ready else b""
                except OSError as error:
                    trouble, piece = f"the connection broke: {error.strerror or error}", b""
                if not piece:
                    self.trouble = trouble
                    self.transport.close()
                    return None
                received += piece
        return bytes(received)

    def hand_over(self) -> socket.socket:
        """End smbprotocol's thread and return the connected socket, between two frames."""
        self._end_thread()
        sock: socket.socket = self.transport._sock
        return sock

    def abandon(self) -> None:
        """Close everything; may be called in any state, more than once."""
        self._end_thread()
        if self.transport is not None:
            self.transport.close()

    def _end_thread(self) -> None:
        self._release.close()
        if self._t_worker is not None:
            self._t_worker.join()
        self._released.close()


class _Attempt:
    """Turns what smbprotocol raises into errors that name the setting and the remedy."""

    def __init__(self, endpoint: SmbEndpoint, settings_prefix: str) -> None:
        self._endpoint = endpoint
        self._prefix = settings_prefix
        self._url = f"{settings_prefix}_URL"
        self._username = f"{settings_prefix}_USERNAME"
        self._password = f"{settings_prefix}_PASSWORD"
        self._where = f"{endpoint.server}:{endpoint.port}"

    def session(self, connection: _HandoverConnection) -> Any:
        """Log in; the session."""
        session = Session(
            connection,
            self._endpoint.username,
            self._endpoint.password,
            require_encryption=bool(connection.supports_encryption),
        )
        try:
            session.connect()
        except Exception as error:
            raise self._not_logged_in(error, connection) from error
        return session

    def unreachable(self, error: Exception, connection: _HandoverConnection) -> SourceError:
        where = self._endpoint
        failure = error.__cause__ if isinstance(error, ValueError) else None
        status = _status(error)
        hint = ""
        remedy = (
            "See whether something else than a file server answers there, or a proxy, firewall or load balancer in "
            f"between breaks in; check server and port in {self._url}."
        )
        if isinstance(failure, socket.gaierror):
            cause = f"the name does not resolve: {failure.strerror}"
            remedy = f"Check the server's name in {self._url} and this network's DNS, or write the IP address."
        elif isinstance(failure, OSError):
            cause = _says(failure, connection.timeout_seconds)
            hint, remedy = no_connection(where.server, where.port, setting=self._url)
        elif connection.trouble:
            cause = connection.trouble
            if connection.silent:
                remedy = (
                    "See whether a firewall in between drops what is sent once there is a connection, whether the file "
                    "server and its domain controller are overloaded, or whether something else answers there; check "
                    f"server and port in {self._url}."
                )
        elif status is not None:
            cause = f"it answers {ntstatus.message(status)}"
        elif isinstance(error, OSError):
            cause = _says(error, connection.timeout_seconds)
        else:
            cause = f"its answer cannot be understood: {_or_its_type(error)}"
        return SourceUnreachable(
            f"the file server {self._where} cannot be reached: {cause}{hint}", setting=self._url, remedy=remedy
        )

    def _not_logged_in(self, error: Exception, connection: _HandoverConnection) -> SourceError:
        status = _status(error)
        if status is not None:
            why, remedy, setting = refusal(status, settings_prefix=self._prefix)
            return self._refused(why, remedy, setting)
        remedy = f"check {self._username} (user, DOMAIN\\user or user@domain) and {self._password}"
        if isinstance(error, SMBAuthenticationError):
            why = str(error).removeprefix("Failed to authenticate with server: ")
            return self._refused(why, remedy, self._password)
        if isinstance(error, SMBException) and "guest" in str(error):
            why = "the server would let the user in as guest only, without signing"
            return self._refused(
                why, f"name a user that the server knows in {self._username}, or forbid guests there", self._username
            )
        return self.unreachable(error, connection)

    def no_share(self, error: Exception, connection: _HandoverConnection) -> SourceError:
        status = _status(error)
        if status is None:
            return self.unreachable(error, connection)
        share = f"the share {self._endpoint.share} on {self._where}"
        if ntstatus.reason(status) in ("no-share", "vanished", "name-invalid"):
            return SourceNotFound(
                f"{share} does not exist", setting=self._url, remedy=f"check the name of the share in {self._url}"
            )
        if ntstatus.reason(status) == "access-denied":
            return SourceLoginRefused(
                f"{share} cannot be opened by {self._endpoint.username}: {ntstatus.message(status)}",
                setting=self._username,
                remedy=f"give the user of {self._username} the right 'Read' on the share itself (share permissions), "
                "beside that on its folders",
            )
        remedy = "see the file server's own log, and whether the share's disk is there"
        if ntstatus.reason(status) == "link":
            remedy = f"name the server that has the share itself in {self._url}: DFS is not followed"
        return SourceError(f"{share} cannot be opened: {ntstatus.message(status)}", setting=self._url, remedy=remedy)

    def require_room(self, *most_bytes: int) -> None:
        """2.2.4 and 3.3.5.4: a server takes 64 KiB at least in a request of any kind; no request fits into nothing."""
        if min(most_bytes) < _LEAST_REQUEST_BYTES:
            raise SourceError(
                f"{self._where} allows {min(most_bytes)} bytes in a request, and {_LEAST_REQUEST_BYTES} are the least",
                setting=self._url,
                remedy="raise the server's limits for read, write and transact",
            )

    def _refused(self, why: str, remedy: str, setting: str) -> SourceError:
        return SourceLoginRefused(
            f"{self._where} refuses the user {self._endpoint.username}: {why}", setting=setting, remedy=remedy
        )


def _status(error: Exception) -> int | None:
    return int(error.status) if isinstance(error, SMBResponseException) else None


def _says(error: OSError, timeout_seconds: float) -> str:
    if isinstance(error, TimeoutError):
        return f"nothing answers within {timeout_seconds:g} s, so something on the way drops what is sent"
    return error.strerror or _or_its_type(error)


def _or_its_type(error: Exception) -> str:
    return str(error) or type(error).__name__


def _no_smb(begins: bytes) -> str:
    """``begins``: what came, or its first bytes."""
    for start, speaks in _OTHER_PROTOCOLS.items():
        if begins.startswith(start):
            return f"what answers there speaks {speaks}, not SMB 2 or 3"
    return "what answers there speaks another protocol than SMB 2 or 3"
