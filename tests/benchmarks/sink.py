"""A lean blob service for benchmarks: `python -m tests.benchmarks.sink --help`.

It speaks as much of the Blob service's protocol as Lifeboat, rclone, restic through rclone, and azcopy use,
keeps what is written so that it can be read again, and counts what it is asked. It checks no signature and
keeps nothing on disk. A sink that eats a core flatters whoever sends less, so it costs a few tens of
microseconds a request and at most one copy of each byte: one thread, one event loop, and memory that was
touched before the clock starts (in a virtual machine the first touch of a page costs more than its copy).

It prints its port on one line, and lives until its standard input is closed, so that it never outlives the
runner. `GET /__stats` answers a JSON object; `GET /__stats?reset` also sets the counters back. `GET /__empty`
forgets every container and blob.
"""

import argparse
import heapq
import json
import mmap
import selectors
import socket
import sys
import time
from bisect import bisect_left, insort
from collections import Counter
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Final
from urllib.parse import parse_qsl, unquote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

RECEIVE_BYTES: Final = 256 * 1024
HUGE_PAGE_BYTES: Final = 2 * 1024 * 1024

Buffer = bytes | memoryview


@dataclass(slots=True)
class Body:
    size: int
    data: memoryview | None
    """None when it was discarded."""


class Memory:
    """Where bodies are kept: one block, handed out from its beginning and only ever given back whole."""

    def __init__(self, size: int, discard_from: int) -> None:
        self._size = size
        self._discard_from = discard_from
        self._used = 0
        block = mmap.mmap(-1, max(size, mmap.PAGESIZE))
        if hasattr(mmap, "MADV_HUGEPAGE"):
            block.madvise(mmap.MADV_HUGEPAGE)
        self._view = memoryview(block)
        zeros = bytes(HUGE_PAGE_BYTES)
        for at in range(0, size, HUGE_PAGE_BYTES):
            self._view[at : at + HUGE_PAGE_BYTES] = zeros[: min(HUGE_PAGE_BYTES, size - at)]

    def body(self, size: int) -> Body:
        """Room for so many bytes; without data where there is none left, or where such bodies are discarded."""
        if size >= self._discard_from or self._used + size > self._size:
            return Body(size, None)
        start, self._used = self._used, self._used + size
        return Body(size, self._view[start : self._used])

    def empty(self) -> None:
        self._used = 0


@dataclass(slots=True)
class Blob:
    parts: list[Body]
    size: int
    metadata: dict[str, str]
    modified: str
    etag: str


@dataclass(slots=True)
class Container:
    blobs: dict[str, Blob] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    """The keys of `blobs`, always sorted."""
    blocks: dict[tuple[str, str], Body] = field(default_factory=dict)
    """Put Block without Put Block List yet: (blob, block id) -> body."""

    def put(self, name: str, blob: Blob) -> None:
        if name not in self.blobs:
            insort(self.names, name)
        self.blobs[name] = blob

    def delete(self, name: str) -> bool:
        if self.blobs.pop(name, None) is None:
            return False
        del self.names[bisect_left(self.names, name)]
        return True


@dataclass(slots=True)
class Stats:
    requests: Counter[str] = field(default_factory=Counter)
    """By kind: put, put-block, put-block-list, get, head, list, delete, container, other."""
    bytes_in: int = 0
    bytes_out: int = 0


@dataclass(slots=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Body


@dataclass(slots=True)
class Response:
    status: int
    headers: str = ""
    body: list[Buffer] = field(default_factory=list)
    length: int | None = None
    """Content-Length where it is not the body's: the answer to HEAD."""


def failed(status: int, code: str) -> Response:
    text = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'
    return Response(status, f"x-ms-error-code: {code}\r\nContent-Type: application/xml\r\n", [text.encode()])


def xml(text: str) -> Response:
    body = '<?xml version="1.0" encoding="utf-8"?>' + text
    return Response(200, "Content-Type: application/xml\r\n", [body.encode()])


class Service:
    """The blobs, and what each request does to them. Knows nothing of sockets."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.containers: dict[str, Container] = {}
        self.stats = Stats()
        self._etags = 0
        self._date = ""
        self._date_until = 0.0

    def answer(self, request: Request) -> Response:
        if request.path == "/__stats":
            return self._report(request)
        if request.path == "/__empty":
            self.containers.clear()
            self.memory.empty()
            return Response(200)
        _, _, inside = request.path.lstrip("/").partition("/")  # the account's name comes first
        container, _, blob = inside.partition("/")
        self.stats.bytes_in += request.body.size
        if not container:
            return self._on_account(request)
        if not blob or "restype" in request.query:
            return self._on_container(request, container)
        return self._on_blob(request, container, blob)

    def date(self) -> str:
        now = time.time()
        if now >= self._date_until:
            self._date, self._date_until = formatdate(now, usegmt=True), float(int(now) + 1)
        return self._date

    def _report(self, request: Request) -> Response:
        stats = self.stats
        report = {
            "requests": dict(stats.requests),
            "bytes_in": stats.bytes_in,
            "bytes_out": stats.bytes_out,
            "blobs": sum(len(c.blobs) for c in self.containers.values()),
            "stored_bytes": sum(b.size for c in self.containers.values() for b in c.blobs.values()),
            "cpu_seconds": time.process_time(),
        }
        if "reset" in request.query:
            self.stats = Stats()
        return Response(200, "Content-Type: application/json\r\n", [json.dumps(report).encode()])

    def _on_account(self, request: Request) -> Response:
        self.stats.requests["other"] += 1
        if request.query.get("comp") == "list":
            names = "".join(f"<Container><Name>{escape(n)}</Name></Container>" for n in sorted(self.containers))
            return xml(f"<EnumerationResults><Containers>{names}</Containers><NextMarker /></EnumerationResults>")
        return Response(200, "x-ms-sku-name: Standard_LRS\r\nx-ms-account-kind: StorageV2\r\n")

    def _on_container(self, request: Request, name: str) -> Response:
        container = self.containers.get(name)
        if request.query.get("comp") == "list":
            self.stats.requests["list"] += 1
            return self._list(container, request.query) if container else failed(404, "ContainerNotFound")
        self.stats.requests["container"] += 1
        if request.method == "PUT" and "comp" not in request.query:
            if container:
                return failed(409, "ContainerAlreadyExists")
            self.containers[name] = Container()
            return Response(201, f'ETag: "0x1"\r\nLast-Modified: {self.date()}\r\n')
        if not container:
            return failed(404, "ContainerNotFound")
        if request.method == "DELETE":
            del self.containers[name]
            return Response(202)
        return Response(200, f'ETag: "0x1"\r\nLast-Modified: {self.date()}\r\n')

    def _list(self, container: Container, query: dict[str, str]) -> Response:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        limit = int(query.get("maxresults", "5000"))
        with_metadata = "metadata" in query.get("include", "")
        names, marker = container.names, ""
        out: list[str] = []
        at = bisect_left(names, max(prefix, query.get("marker", "")))
        while at < len(names) and names[at].startswith(prefix):
            name = names[at]
            if len(out) == limit:
                marker = name
                break
            cut = name.find(delimiter, len(prefix)) if delimiter else -1
            if cut >= 0:
                folder = name[: cut + len(delimiter)]
                out.append(f"<BlobPrefix><Name>{escape(folder)}</Name></BlobPrefix>")
                at = bisect_left(names, folder[:-1] + chr(ord(folder[-1]) + 1), at)
                continue
            blob = container.blobs[name]
            metadata = ""
            if with_metadata and blob.metadata:
                metadata = "".join(f"<{k}>{escape(v)}</{k}>" for k, v in blob.metadata.items())
            out.append(
                f"<Blob><Name>{escape(name)}</Name><Properties><Last-Modified>{blob.modified}</Last-Modified>"
                f"<Etag>{blob.etag}</Etag><Content-Length>{blob.size}</Content-Length>"
                "<Content-Type>application/octet-stream</Content-Type><BlobType>BlockBlob</BlobType>"
                f"</Properties><Metadata>{metadata}</Metadata></Blob>"
            )
            at += 1
        blobs = "".join(out)
        return xml(
            f"<EnumerationResults><Prefix>{escape(prefix)}</Prefix><Blobs>{blobs}</Blobs>"
            f"<NextMarker>{escape(marker)}</NextMarker></EnumerationResults>"
        )

    def _on_blob(self, request: Request, container_name: str, name: str) -> Response:
        method, comp = request.method, request.query.get("comp", "")
        kind = {"block": "put-block", "blocklist": "put-block-list", "": method.lower()}.get(comp, "other")
        self.stats.requests[kind] += 1
        container = self.containers.get(container_name)
        if container is None:
            return failed(404, "ContainerNotFound")
        if method == "PUT":
            return self._put(request, container, name, comp)
        blob = container.blobs.get(name)
        if blob is None:
            return failed(404, "BlobNotFound")
        if method == "DELETE":
            container.delete(name)
            return Response(202)
        return self._read(request, blob)

    def _put(self, request: Request, container: Container, name: str, comp: str) -> Response:
        there = container.blobs.get(name)
        if comp == "block":
            container.blocks[name, request.query["blockid"]] = request.body
            return Response(201, "x-ms-request-server-encrypted: true\r\n")
        if there and request.headers.get("if-none-match") == "*":
            return failed(409, "BlobAlreadyExists")
        metadata = {k[10:]: v for k, v in request.headers.items() if k.startswith("x-ms-meta-")}
        if comp in ("metadata", "properties"):
            if there is None:
                return failed(404, "BlobNotFound")
            if comp == "metadata":
                there.metadata = metadata
            return Response(200, f"ETag: {there.etag}\r\nLast-Modified: {there.modified}\r\n")
        parts = [request.body]
        if comp == "blocklist":
            ids = [e.text or "" for e in ElementTree.fromstring(bytes(request.body.data or b""))]
            try:
                parts = [container.blocks.pop((name, block)) for block in ids]
            except KeyError:
                return failed(400, "InvalidBlockList")
        self._etags += 1
        blob = Blob(parts, sum(part.size for part in parts), metadata, self.date(), f'"0x{self._etags:X}"')
        container.put(name, blob)
        return Response(
            201,
            f"ETag: {blob.etag}\r\nLast-Modified: {blob.modified}\r\nx-ms-request-server-encrypted: true\r\n",
        )

    def _read(self, request: Request, blob: Blob) -> Response:
        metadata = "".join(f"x-ms-meta-{k}: {v}\r\n" for k, v in blob.metadata.items())
        headers = (
            f"{metadata}ETag: {blob.etag}\r\nLast-Modified: {blob.modified}\r\nx-ms-blob-type: BlockBlob\r\n"
            "Content-Type: application/octet-stream\r\nAccept-Ranges: bytes\r\n"
        )
        if request.method == "HEAD":
            return Response(200, headers, length=blob.size)
        wanted = request.headers.get("x-ms-range") or request.headers.get("range")
        if any(part.data is None for part in blob.parts):
            return failed(500, "BodyWasDiscarded")
        if not wanted:
            self.stats.bytes_out += blob.size
            return Response(200, headers, slices(blob.parts, 0, blob.size))
        first, _, last = wanted.partition("=")[2].partition("-")
        start, end = int(first), min(int(last or blob.size - 1), blob.size - 1)
        if start >= blob.size:
            return failed(416, "InvalidRange")
        self.stats.bytes_out += end + 1 - start
        headers += f"Content-Range: bytes {start}-{end}/{blob.size}\r\n"
        return Response(206, headers, slices(blob.parts, start, end + 1))


def slices(parts: list[Body], start: int, end: int) -> list[Buffer]:
    """The bytes [start, end) of the parts put one after the other, without copying them."""
    out: list[Buffer] = []
    at = 0
    for part in parts:
        low, high = max(start - at, 0), min(end - at, part.size)
        if low < high and part.data is not None:
            out.append(part.data[low:high])
        at += part.size
    return out


class Connection:
    """One client's connection: takes requests apart and sends answers, never blocking."""

    def __init__(self, sock: socket.socket, server: "Server") -> None:
        self.sock = sock
        self._server = server
        self._have = b""
        """Bytes received and not yet looked at: the beginning of a head."""
        self._request: Request | None = None
        self._filled = 0
        """How much of the request's body has arrived."""
        self._out: list[Buffer] = []

    def readable(self) -> None:
        """Raises OSError when the client has gone."""
        if self._request is not None:
            self._read_body(self._request.body)
            return
        scratch = self._server.scratch
        count = self.sock.recv_into(scratch)
        if not count:
            raise ConnectionResetError
        self._have += bytes(scratch[:count])
        while self._request is None and self._have:
            end = self._have.find(b"\r\n\r\n")
            if end < 0:
                return
            self._begin(parse_head(self._have[:end].decode("latin-1"), self._server.memory), end + 4)

    def _read_body(self, body: Body) -> None:
        if body.data is not None:
            count = self.sock.recv_into(body.data[self._filled :])
        else:  # MSG_TRUNC: the kernel throws the bytes away without copying them
            scratch = self._server.scratch
            count = self.sock.recv_into(scratch[: body.size - self._filled], 0, socket.MSG_TRUNC)
        if not count:
            raise ConnectionResetError
        self._filled += count
        self._finish_when_complete()

    def _begin(self, request: Request, head_bytes: int) -> None:
        body = request.body
        there = min(len(self._have) - head_bytes, body.size)
        if body.data is not None:
            body.data[:there] = self._have[head_bytes : head_bytes + there]
        self._have = self._have[head_bytes + there :]
        self._request, self._filled = request, there
        if there < body.size and request.headers.get("expect"):
            self.send([b"HTTP/1.1 100 Continue\r\n\r\n"])
        self._finish_when_complete()

    def _finish_when_complete(self) -> None:
        if self._request is not None and self._filled == self._request.body.size:
            request, self._request = self._request, None
            self._server.handle(self, request)

    def send(self, pieces: list[Buffer]) -> None:
        self._out.extend(pieces)
        self.writable()

    def writable(self) -> None:
        while self._out:
            try:
                sent = self.sock.sendmsg(self._out[:64])
            except BlockingIOError:
                self._server.wait_for_writing(self, wanted=True)
                return
            while self._out and sent >= len(self._out[0]):
                sent -= len(self._out.pop(0))
            if sent:
                self._out[0] = memoryview(self._out[0])[sent:]
        self._server.wait_for_writing(self, wanted=False)


def parse_head(head: str, memory: Memory) -> Request:
    """The request, with room for the body that its head announces."""
    lines = head.split("\r\n")
    method, target, _ = lines[0].split(" ")
    path, _, query = target.partition("?")
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    asked = dict(parse_qsl(query, keep_blank_values=True)) if query else {}
    return Request(method, unquote(path), asked, headers, memory.body(int(headers.get("content-length", 0))))


class Server:
    """The event loop. Answers wait `latency_seconds` after the last byte of their request."""

    def __init__(self, memory: Memory, latency_seconds: float, port: int = 0) -> None:
        self.memory = memory
        self.scratch = memoryview(bytearray(RECEIVE_BYTES))
        """What each connection receives into: used only within one call."""
        self.service = Service(memory)
        self._latency = latency_seconds
        self._selector = selectors.DefaultSelector()
        self._delayed: list[tuple[float, int, Connection, list[Buffer]]] = []
        self._sequence = 0
        self._writing: set[Connection] = set()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=512)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self.port = int(self._listener.getsockname()[1])

    def handle(self, connection: Connection, request: Request) -> None:
        response = self.service.answer(request)
        length = sum(map(len, response.body)) if response.length is None else response.length
        head = (
            f"HTTP/1.1 {response.status} -\r\nx-ms-request-id: 1\r\nx-ms-version: 2021-12-02\r\n"
            f"Date: {self.service.date()}\r\n{response.headers}Content-Length: {length}\r\n\r\n"
        ).encode("latin-1")
        body = [] if request.method == "HEAD" else response.body
        if self._latency and not request.path.startswith("/__"):
            self._sequence += 1
            due = time.monotonic() + self._latency
            heapq.heappush(self._delayed, (due, self._sequence, connection, [head, *body]))
        else:
            connection.send([head + body[0]] if len(body) == 1 and len(body[0]) < 65536 else [head, *body])

    def wait_for_writing(self, connection: Connection, *, wanted: bool) -> None:
        if wanted == (connection in self._writing):
            return
        self._writing ^= {connection}
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if wanted else 0)
        self._selector.modify(connection.sock, events, connection)

    def run(self) -> None:
        """Until standard input is closed."""
        self._selector.register(sys.stdin, selectors.EVENT_READ)
        while True:
            timeout = max(0.0, self._delayed[0][0] - time.monotonic()) if self._delayed else None
            for key, events in self._selector.select(timeout):
                if key.fileobj is sys.stdin:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                    continue
                connection: Connection = key.data
                try:
                    if events & selectors.EVENT_WRITE:
                        connection.writable()
                    if events & selectors.EVENT_READ:
                        connection.readable()
                except OSError:
                    self._close(connection)
            while self._delayed and self._delayed[0][0] <= time.monotonic():
                _, _, connection, pieces = heapq.heappop(self._delayed)
                if connection.sock.fileno() >= 0:
                    try:
                        connection.send(pieces)
                    except OSError:
                        self._close(connection)

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(sock, selectors.EVENT_READ, Connection(sock, self))

    def _close(self, connection: Connection) -> None:
        self._writing.discard(connection)
        self._selector.unregister(connection.sock)
        connection.sock.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--latency-ms", type=float, default=0.0, help="wait so long before each answer")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--keep-mib", type=int, default=256, help="memory for bodies; what does not fit is discarded")
    parser.add_argument("--discard-from-kib", type=int, default=1 << 40, help="discard bodies of this size and more")
    arguments = parser.parse_args()
    memory = Memory(arguments.keep_mib << 20, arguments.discard_from_kib << 10)
    server = Server(memory, arguments.latency_ms / 1000, arguments.port)
    print(server.port, flush=True)
    server.run()


if __name__ == "__main__":
    main()
