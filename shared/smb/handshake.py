"""Negotiate, log in and connect to the share with smbprotocol; then hand over the socket.

Importing this module imports smbprotocol (a tenth of a second): only ``client`` does so, when it connects.
"""

from __future__ import annotations

import logging
import selectors
import socket
import time
import uuid
from typing import Any

from smbprotocol import Dialects
from smbprotocol.connection import Connection
from smbprotocol.exceptions import SMBAuthenticationError, SMBException, SMBResponseException
from smbprotocol.session import Session, SMB2SessionSetupRequest
from smbprotocol.tree import TreeConnect

from shared.errors import SourceError, SourceLoginRefused, SourceNotFound, SourceUnreachable
from shared.smb import ntstatus
from shared.smb.channel import Login
from shared.smb.endpoint import SmbEndpoint
from shared.smb.protection import AES_128_CMAC, CIPHERS, HMAC_SHA256, SIGNING_ALGORITHMS, Sealing, Signing
from shared.smb.types import ConnectionFacts

logging.getLogger("smbprotocol").addHandler(logging.NullHandler())  # its tracebacks reach us as exceptions

_DIALECTS = {
    Dialects.SMB_2_0_2: "2.0.2",
    Dialects.SMB_2_1_0: "2.1",
    Dialects.SMB_3_0_0: "3.0",
    Dialects.SMB_3_0_2: "3.0.2",
    Dialects.SMB_3_1_1: "3.1.1",
}
_LARGEST_FRAME_BYTES = 1 << 24
_LEAST_REQUEST_BYTES = 4096


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
    connection = _HandoverConnection(uuid.uuid4(), endpoint.server, endpoint.port, require_signing=True)
    connection.deadline = time.monotonic() + timeout_seconds
    connection.previous_session_id = previous_session_id
    try:
        try:
            connection.connect(timeout=timeout_seconds)
        except Exception as error:
            raise attempt.unreachable(error) from error
        session = Session(
            connection,
            endpoint.username,
            endpoint.password,
            require_encryption=bool(connection.supports_encryption),
        )
        try:
            session.connect()
        except Exception as error:
            raise attempt.not_logged_in(error) from error
        tree = TreeConnect(session, rf"\\{endpoint.server}\{endpoint.share}")
        try:
            tree.connect()
        except Exception as error:
            raise attempt.no_share(error) from error
        attempt.require_room(connection.max_read_size, connection.max_write_size, connection.max_transact_size)
        sock = connection.hand_over()
    except BaseException:
        connection.abandon()
        raise
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


def _protection(connection: Any, session: Any) -> tuple[Signing | Sealing, str | None, str | None]:
    """3.1.4.1 and 3.1.4.3: which algorithm the dialect and the negotiation stand for."""
    if session.encrypt_data:
        number = connection.cipher_id if connection.dialect >= Dialects.SMB_3_1_1 else 1
        cipher = CIPHERS[number]
        sealing = Sealing(cipher, session.encryption_key, session.decryption_key, session.session_id)
        return sealing, None, cipher
    if connection.dialect < Dialects.SMB_3_0_0:
        algorithm = HMAC_SHA256
    elif connection.dialect < Dialects.SMB_3_1_1 or connection.signing_algorithm_id is None:
        algorithm = AES_128_CMAC
    else:
        algorithm = SIGNING_ALGORITHMS[connection.signing_algorithm_id]
    return Signing(algorithm, session.signing_key), algorithm, None


class _HandoverConnection(Connection):  # type: ignore[misc]  # smbprotocol has no types
    """smbprotocol's connection, whose receiving thread can be told to end without taking the socket with it."""

    deadline: float
    authentication = "kerberos"
    previous_session_id = 0

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
        if frame is None:
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
                try:
                    piece = sock.recv(count - len(received)) if ready else b""
                except OSError:
                    piece = b""
                if not piece:
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
        self._url = f"{settings_prefix}_URL"
        self._username = f"{settings_prefix}_USERNAME"
        self._password = f"{settings_prefix}_PASSWORD"
        self._where = f"{endpoint.server}:{endpoint.port}"

    def unreachable(self, error: Exception) -> SourceError:
        return SourceUnreachable(
            f"the file server {self._where} cannot be reached: {_cause(error)}",
            setting=self._url,
            remedy=f"check server and port in {self._url}, and that a firewall lets port "
            f"{self._endpoint.port} through from here",
        )

    def not_logged_in(self, error: Exception) -> SourceError:
        status = _status(error)
        if status is not None:
            return self._refused(ntstatus.message(status))
        if isinstance(error, SMBAuthenticationError):
            return self._refused(str(error).removeprefix("Failed to authenticate with server: "))
        if isinstance(error, SMBException) and "guest" in str(error):
            return self._refused("the server would let the user in as guest only, without signing")
        return self.unreachable(error)

    def no_share(self, error: Exception) -> SourceError:
        status = _status(error)
        if status is None:
            return self.unreachable(error)
        share = f"the share {self._endpoint.share} on {self._where}"
        if ntstatus.reason(status) in ("no-share", "vanished", "name-invalid"):
            return SourceNotFound(
                f"{share} does not exist", setting=self._url, remedy=f"check the name of the share in {self._url}"
            )
        if ntstatus.reason(status) == "access-denied":
            return SourceLoginRefused(
                f"{share} cannot be opened by {self._endpoint.username}: {ntstatus.message(status)}",
                setting=self._username,
                remedy=f"give the user of {self._username} the right to use the share",
            )
        return SourceError(f"{share} cannot be opened: {ntstatus.message(status)}", setting=self._url)

    def require_room(self, *most_bytes: int) -> None:
        """2.2.4 and 3.3.5.4: a server takes 64 KiB at least in a request of any kind; no request fits into nothing."""
        if min(most_bytes) < _LEAST_REQUEST_BYTES:
            raise SourceError(
                f"{self._where} allows {min(most_bytes)} bytes in a request, and {_LEAST_REQUEST_BYTES} are the least",
                setting=self._url,
                remedy="raise the server's limits for read, write and transact",
            )

    def _refused(self, why: str) -> SourceError:
        return SourceLoginRefused(
            f"{self._where} refuses the user {self._endpoint.username}: {why}",
            setting=self._password,
            remedy=f"check {self._username} (user, DOMAIN\\user or user@domain) and {self._password}",
        )


def _status(error: Exception) -> int | None:
    return int(error.status) if isinstance(error, SMBResponseException) else None


def _cause(error: Exception) -> str:
    if isinstance(error, ValueError) and error.__cause__ is not None:
        return str(error.__cause__)
    if isinstance(error, SMBException):
        return "it closed the connection, or did not answer in time"
    return str(error) or type(error).__name__
