"""Stand-in for what Azure does and Azurite does not: the rights of an identity in the vault, Put Blob From URL, and,
where a test asks for it, versions and immutability.

It passes HTTP on to Azurite, refuses with Azure's own error codes what the rights do not hold, and injects the faults
that a test declared. Requests keep the signature that the client made: it covers the path, not the host. Three things
fall away when the emulator learns them: ``supply_put_from_url``, ``rights`` and ``worm`` (whose limits ``worm_http``
tells).
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from tests.standins.azurite import API_VERSION, KEY, Azurite
from tests.standins.certificate import Certificate
from tests.standins.faults import Call, CutConnection, Faults, Kind, Reply
from tests.standins.worm_http import WormService

if TYPE_CHECKING:
    from azure.storage.blob import BlobClient

BUFFER_BYTES = 1 << 20
_OPERATIONS = {"comp", "restype", "snapshot", "versionid", "deletetype"}
"""Query parameters that make a request more than a plain put or delete of a blob."""

_IDLE_LIMIT_SECONDS = 3.0
"""Azurite closes idle connections after five seconds; one that is older than this is not used again."""


@dataclass(frozen=True)
class Rights:
    """What an identity may do. Reading is always allowed, but for ``only_in``. A request with a SAS is not the
    identity's: what that may is left to the emulator."""

    add: bool = True
    """Put Blob and Put Blob From URL to a name that does not exist."""
    write: bool = False
    """Also to one that exists; Put Block, Put Block List, leases, metadata and properties."""
    delete_under: tuple[str, ...] = ()
    """Beginnings of ``container/name`` that may be deleted."""
    delete_versions: bool = False
    """Previous ones."""
    immutability: bool = False
    """Set until-dates and legal holds."""
    make_containers: bool = False
    delete_containers: bool = False
    delegate: bool = False
    """Get User Delegation Key."""
    only_in: tuple[str, ...] = ()
    """Containers outside of which nothing may be done, reading included; empty: there is no such limit."""
    everything: bool = False


BACKUP_APP = Rights(add=True, delete_under=("share/locks/",))
"""The backup app in the vault."""
AGENT = Rights(add=True, delete_under=("share/locks/",), only_in=("share", "recovery-points"))
"""Who backs the share up on the file server, where recovery points adopt it."""
LANDING = Rights(add=True, write=True, delete_under=("",), make_containers=True, delete_containers=True, delegate=True)
"""The backup app, and who restores, on the landing account."""
KEEPER = Rights(add=True, delete_under=("",), delete_versions=True, immutability=True)
"""The keeper app in the vault."""
BREAK_GLASS = replace(KEEPER, write=True, make_containers=True)
"""Who brings the vault back by hand: soft-deleted versions, and containers, come back by rights that the keeper does
without."""
READER = Rights(add=False)
RESTORER = READER
OWNER = Rights(everything=True)

_WRITES = {"block", "blocklist", "lease", "metadata", "properties"}
"""Values of ``comp`` that the right ``blobs/write`` allows."""

ExistingName = Literal["409 BlobAlreadyExists", "403 UnauthorizedBlobOverwrite"]
"""How Azure answers a create-only writer whose name is taken; it is told in both ways, so both are tested."""


@dataclass
class RightsProxy:
    """A running stand-in. ``calls`` lists what was asked of it, in the order of arrival."""

    port: int
    azurite: Azurite
    rights: Rights
    existing_name: ExistingName
    faults: Faults
    supply_put_from_url: bool
    worm: WormService | None = None
    calls: list[Call] = field(default_factory=list)

    def url(self, account: str) -> str:
        return f"{self.azurite.scheme}://127.0.0.1:{self.port}/{account}"

    def count(self, kind: Kind) -> int:
        return sum(call.kind == kind for call in list(self.calls))


@contextlib.contextmanager
def running_rights_proxy(
    azurite: Azurite,
    *,
    rights: Rights = BACKUP_APP,
    existing_name: ExistingName = "409 BlobAlreadyExists",
    supply_put_from_url: bool = True,
    worm: WormService | None = None,
) -> Iterator[RightsProxy]:
    """The stand-in on a free loopback port until the block ends; https when the emulator speaks it. Two with one
    ``worm`` are two identities at the same accounts."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        port = listener.getsockname()[1]
        proxy = RightsProxy(port, azurite, rights, existing_name, Faults(), supply_put_from_url, worm)
        connections: set[socket.socket] = set()
        thread = threading.Thread(target=_accept, args=(listener, proxy, connections), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in list(connections):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, proxy: RightsProxy, connections: set[socket.socket]) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(client, proxy, connections), daemon=True).start()


def _serve(plain: socket.socket, proxy: RightsProxy, connections: set[socket.socket]) -> None:
    connections.add(plain)
    client: socket.socket = plain
    try:
        if proxy.azurite.certificate:
            client = _server_context(proxy.azurite.certificate).wrap_socket(plain, server_side=True)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _Connection(client, proxy).serve()
    except (OSError, CutConnection):
        pass
    finally:
        connections.discard(plain)
        with contextlib.suppress(OSError):
            client.close()


def _server_context(certificate: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)
    return context


class _Closed(OSError):
    """The peer ended the connection."""


class _Stream:
    """A socket that is read by heads and bodies, through one reusable buffer."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._pending = b""
        self._buffer: memoryview | None = None

    def head(self) -> bytes | None:
        """Up to and with the empty line; None when the peer closed before the first byte."""
        data = self._pending
        while True:
            end = data.find(b"\r\n\r\n")
            if end >= 0:
                self._pending = data[end + 4 :]
                return data[: end + 4]
            more = self.socket.recv(65536)
            if not more:
                if data:
                    raise _Closed("in the middle of a head")
                return None
            data += more

    def line(self) -> bytes:
        data = self._pending
        while b"\r\n" not in data:
            more = self.socket.recv(65536)
            if not more:
                raise _Closed("in the middle of a line")
            data += more
        end = data.index(b"\r\n") + 2
        self._pending = data[end:]
        return data[:end]

    def copy(self, count: int, take: Callable[[memoryview], None]) -> None:
        """Hand exactly ``count`` bytes to ``take``, piece by piece; a piece is valid only until it returns."""
        first, self._pending = self._pending[:count], self._pending[count:]
        if first:
            take(memoryview(first))
        left = count - len(first)
        if left and self._buffer is None:
            self._buffer = memoryview(bytearray(BUFFER_BYTES))
        while left:
            assert self._buffer is not None
            got = self.socket.recv_into(self._buffer[: min(left, BUFFER_BYTES)])
            if not got:
                raise _Closed("in the middle of a body")
            take(self._buffer[:got])
            left -= got

    def seems_closed(self) -> bool:
        readable, _, _ = select.select([self.socket], [], [], 0)
        return bool(readable)


@dataclass
class _Request:
    method: str
    target: str
    head: bytes
    headers: dict[str, str]

    @property
    def length(self) -> int:
        return int(self.headers.get("content-length") or 0)

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    @property
    def query(self) -> dict[str, str]:
        return {key: values[0] for key, values in parse_qs(urlsplit(self.target).query).items()}

    @property
    def by_sas(self) -> bool:
        return "sig" in self.query

    @property
    def container(self) -> str:
        return self._part(2)

    @property
    def blob(self) -> str:
        return self._part(3)

    def _part(self, number: int) -> str:
        """A part of ``/account/container/blob``, empty where the path is shorter."""
        parts = self.path.split("/", 3)
        return parts[number] if len(parts) > number else ""

    def kind(self) -> Kind:
        if self.method == "GET" and self.query.get("comp") == "list":
            return "list"
        plain_blob = bool(self.blob) and "comp" not in self.query
        kinds: dict[str, Kind] = {"PUT": "put", "GET": "get", "HEAD": "stat", "DELETE": "delete"}
        return kinds.get(self.method, "other") if plain_blob else "other"


class _Connection:
    """Serves one client connection, with one connection to the emulator kept beside it."""

    def __init__(self, client: socket.socket, proxy: RightsProxy) -> None:
        self._client = _Stream(client)
        self._proxy = proxy
        self._upstream: _Stream | None = None
        self._upstream_used = 0.0

    def serve(self) -> None:
        try:
            while (head := self._client.head()) is not None:
                self._handle(_parse(head))
        finally:
            if self._upstream:
                self._upstream.socket.close()

    def _handle(self, request: _Request) -> None:
        call = Call(request.kind(), request.container, request.blob)
        self._proxy.calls.append(call)
        fault = self._proxy.faults.begin(call)
        if request.headers.get("expect", "").lower() == "100-continue":
            self._client.socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if fault.answer is not None:
            self._answer(request, fault.answer)
        elif (refusal := self._refusal(request)) is not None:
            self._answer(request, refusal)
        elif self._proxy.worm and (reply := self._proxy.worm.answer(request)) is not None:
            self._drop_body(request)
            call.status = reply.status
            fault.after(call)
            self._answer(request, reply, drop=False)
        elif request.method == "PUT" and "x-ms-copy-source" in request.headers and self._proxy.supply_put_from_url:
            self._drop_body(request)
            reply = _put_from_url(request, self._proxy)
            reply.headers.update(self._further_headers(request, reply.status))
            fault.after(call)
            self._answer(request, reply, drop=False)
        else:
            self._forward(request, fault.cut_request_after_bytes)
            self._relay(request, call, fault.after, fault.cut_reply_after_bytes)

    def _refusal(self, request: _Request) -> Reply | None:
        """Azure's answer where the rights do not allow the request, else None."""
        rights = self._proxy.rights
        if request.by_sas and "x-ms-copy-source" in request.headers:
            return _permission_mismatch()  # done with the stand-in's own key, which would not look at the SAS
        if rights.everything or request.by_sas:
            return None
        if rights.only_in and request.container not in rights.only_in:
            return _permission_mismatch()
        if request.method in ("GET", "HEAD", "OPTIONS"):
            return None
        operation = {name: request.query[name] for name in _OPERATIONS & request.query.keys()}
        if not request.blob:
            keys = rights.delegate and not request.container and request.method == "POST"
            if keys and operation == {"restype": "service", "comp": "userdelegationkey"}:
                return None
            allowed = request.container and (
                (request.method == "PUT" and rights.make_containers)
                or (request.method == "DELETE" and rights.delete_containers)
            )
            return None if allowed and operation == {"restype": "container"} else _permission_mismatch()
        if rights.write and request.method == "PUT" and _is_write(request, operation):
            return None
        if self._proxy.worm and _is_of_versions(request, operation, rights):
            return None
        plain = request.blob and not _OPERATIONS & request.query.keys()
        if plain and request.method == "DELETE":
            if f"{request.container}/{request.blob}".startswith(rights.delete_under):
                return None
        elif plain and request.method == "PUT" and rights.add and _is_plain_put(request):
            return self._taken(request)
        return _permission_mismatch()

    def _taken(self, request: _Request) -> Reply | None:
        """Refuse a put without If-None-Match to a name that exists; with it the emulator itself will say so."""
        if request.headers.get("if-none-match") == "*" and "x-ms-copy-source" not in request.headers:
            return None
        return _existing(self._proxy) if _exists(request, self._proxy) else None

    def _further_headers(self, request: _Request, status: int) -> dict[str, str]:
        return self._proxy.worm.headers(request) if self._proxy.worm and status in (200, 201) else {}

    def _answer(self, request: _Request, reply: Reply, *, drop: bool = True) -> None:
        if drop:
            self._drop_body(request)
        self._client.socket.sendall(_render(reply, with_body=request.method != "HEAD"))

    def _drop_body(self, request: _Request) -> None:
        self._client.copy(request.length, lambda piece: None)

    def _forward(self, request: _Request, cut_after: int | None) -> None:
        upstream = self._connect()
        upstream.socket.sendall(_without(request.head, b"expect"))
        if cut_after is not None:
            self._client.copy(min(cut_after, request.length), upstream.socket.sendall)
            upstream.socket.close()
            raise CutConnection
        self._client.copy(request.length, upstream.socket.sendall)

    def _relay(self, request: _Request, call: Call, after: Callable[[Call], None], cut_after: int | None) -> None:
        """Pass the emulator's reply on. ``after`` may cut the connection, so it comes when the reply is here."""
        upstream = self._upstream
        assert upstream is not None
        head = upstream.head()
        while head is not None and head.startswith(b"HTTP/1.1 100"):
            head = upstream.head()
        if head is None:
            raise _Closed("the emulator closed the connection")
        call.status = int(head.split(None, 2)[1])
        reply = _parse(head)
        if call.kind == "put" and call.status == 409 and self._proxy.existing_name.startswith("403"):
            self._copy_body(request, reply, call.status, lambda piece: None)
            after(call)
            self._client.socket.sendall(_render(_existing(self._proxy), with_body=True))
            return
        after(call)
        left = [cut_after if cut_after is not None else -1]

        def pass_on(piece: memoryview) -> None:
            if left[0] < 0:
                self._client.socket.sendall(piece)
                return
            self._client.socket.sendall(piece[: left[0]])
            left[0] -= min(left[0], len(piece))
            if left[0] == 0:
                raise CutConnection

        more = self._further_headers(request, call.status)
        self._client.socket.sendall(head[:-2] + _header_lines(more) + b"\r\n")
        self._copy_body(request, reply, call.status, pass_on)
        self._upstream_used = time.monotonic()
        if reply.headers.get("connection", "").lower() == "close":
            upstream.socket.close()
            self._upstream = None

    def _copy_body(self, request: _Request, reply: _Request, status: int, take: Callable[[memoryview], None]) -> None:
        assert self._upstream is not None
        if request.method == "HEAD" or status in (204, 304):
            return
        if reply.headers.get("transfer-encoding", "").lower() != "chunked":
            self._upstream.copy(reply.length, take)
            return
        size = -1
        while size != 0:
            line = self._upstream.line()
            size = int(line.split(b";")[0], 16)
            take(memoryview(line))
            self._upstream.copy(size + 2, take)

    def _connect(self) -> _Stream:
        kept = self._upstream
        if kept is not None:
            if time.monotonic() - self._upstream_used < _IDLE_LIMIT_SECONDS and not kept.seems_closed():
                return kept
            kept.socket.close()
        connection: socket.socket = socket.create_connection(("127.0.0.1", self._proxy.azurite.port), 10)
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._proxy.azurite.certificate:
            context = ssl.create_default_context(cafile=str(self._proxy.azurite.certificate.chain))
            connection = context.wrap_socket(connection, server_hostname="127.0.0.1")
        self._upstream = _Stream(connection)
        return self._upstream


def _parse(head: bytes) -> _Request:
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    method, target, *_ = [*first.split(" ", 2), ""]
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return _Request(method, target, head, headers)


def _without(head: bytes, name: bytes) -> bytes:
    lines = head.split(b"\r\n")
    return b"\r\n".join(line for line in lines if not line.lower().startswith(name + b":"))


def _is_plain_put(request: _Request) -> bool:
    """Put Blob or Put Blob From URL of a block blob that sets nothing that needs a further right."""
    needs_more = ("x-ms-tags", "x-ms-immutability-policy-until-date", "x-ms-legal-hold", "x-ms-lease-id")
    return request.headers.get("x-ms-blob-type") == "BlockBlob" and not any(
        name in request.headers for name in needs_more
    )


def _is_write(request: _Request, operation: dict[str, str]) -> bool:
    """What ``blobs/write`` allows and ``blobs/add/action`` does not."""
    further = ("x-ms-tags", "x-ms-immutability-policy-until-date", "x-ms-legal-hold")
    if any(name in request.headers for name in further):
        return False
    return not operation or (operation.keys() == {"comp"} and operation["comp"] in _WRITES)


def _is_of_versions(request: _Request, operation: dict[str, str], rights: Rights) -> bool:
    """What the rights on versions and on immutability allow."""
    if operation.keys() == {"versionid"}:
        return request.method == "DELETE" and rights.delete_versions
    if operation == {"comp": "undelete"}:
        return request.method == "PUT" and rights.write
    policy = operation.keys() <= {"comp", "versionid"} and operation.get("comp") in (
        "immutabilityPolicies",
        "legalhold",
    )
    return policy and rights.immutability


def _permission_mismatch() -> Reply:
    return Reply(
        403,
        "AuthorizationPermissionMismatch",
        "This request is not authorized to perform this operation using this permission.",
    )


def _existing(proxy: RightsProxy) -> Reply:
    if proxy.existing_name.startswith("403"):
        return Reply(403, "UnauthorizedBlobOverwrite", "This request is not authorized to perform blob overwrites.")
    return Reply(409, "BlobAlreadyExists", "The specified blob already exists.")


def _exists(request: _Request, proxy: RightsProxy) -> bool:
    with _blob_client(request, proxy) as client:
        return bool(client.exists())


def _blob_client(request: _Request, proxy: RightsProxy) -> BlobClient:
    """The stand-in's own client at the emulator, with all rights."""
    from azure.core.credentials import AzureNamedKeyCredential
    from azure.storage.blob import BlobClient

    account = request.path.split("/")[1]
    certificate = proxy.azurite.certificate
    return BlobClient(
        proxy.azurite.url(account),
        request.container,
        request.blob,
        credential=AzureNamedKeyCredential(account, KEY),
        api_version=API_VERSION,
        connection_verify=str(certificate.chain) if certificate else True,
    )


def _put_from_url(request: _Request, proxy: RightsProxy) -> Reply:
    """Put Blob From URL: read the source as its caller may, write it as one new blob.

    Every failure at the source is CannotVerifyCopySource; the source's own status and code are in headers.
    """
    import requests
    from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError

    headers = {"x-ms-version": request.headers.get("x-ms-version", API_VERSION)}
    if "x-ms-copy-source-authorization" in request.headers:
        headers["Authorization"] = request.headers["x-ms-copy-source-authorization"]
    certificate = proxy.azurite.certificate
    verify: bool | str = str(certificate.chain) if certificate else True
    url = request.headers["x-ms-copy-source"]
    try:
        source = requests.get(url, headers=headers, stream=True, timeout=60, verify=verify)
    except requests.RequestException:
        return Reply(500, "CannotVerifyCopySource", "Could not verify the copy source within the specified time.")
    with source, _blob_client(request, proxy) as client:
        if source.status_code != 200:
            headers = {"x-ms-copy-source-status-code": str(source.status_code)}
            if code := source.headers.get("x-ms-error-code"):
                headers["x-ms-copy-source-error-code"] = code
            message = "The specified blob does not exist." if source.status_code == 404 else source.reason
            return Reply(source.status_code, "CannotVerifyCopySource", message, headers)
        may_overwrite = proxy.rights.everything or proxy.rights.write
        overwrite = request.headers.get("if-none-match") != "*" and may_overwrite
        try:
            made = client.upload_blob(source.raw, length=int(source.headers["Content-Length"]), overwrite=overwrite)
        except ResourceExistsError:
            return _existing(proxy)
        except ResourceNotFoundError:
            return Reply(404, "ContainerNotFound", "The specified container does not exist.")
    return Reply(
        201,
        headers={"ETag": made["etag"], "Last-Modified": formatdate(made["last_modified"].timestamp(), usegmt=True)},
    )


def _render(reply: Reply, *, with_body: bool) -> bytes:
    body = reply.body
    if reply.code:
        body = (
            '<?xml version="1.0" encoding="utf-8"?>'
            f"<Error><Code>{reply.code}</Code><Message>{reply.message}</Message></Error>"
        ).encode()
    headers = {
        "Server": "Lifeboat stand-in for rights (not Azure)",
        "Date": formatdate(usegmt=True),
        "x-ms-request-id": str(uuid.uuid4()),
        "x-ms-version": API_VERSION,
        "Content-Length": str(len(body)),
        **({"x-ms-error-code": reply.code, "Content-Type": "application/xml"} if reply.code else {}),
        **reply.headers,
    }
    first = f"HTTP/1.1 {reply.status} {reply.code or 'OK'}\r\n".encode()
    return first + _header_lines(headers) + b"\r\n" + (body if with_body else b"")


def _header_lines(headers: dict[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("latin-1")
