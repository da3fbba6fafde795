"""What is asked of a file or directory, as steps that the client pipelines with those of many others.

An operation is a generator: it yields the parts of one compound, is sent their replies, and returns its outcome. It
can be begun again from the start at any time (after a reconnect). Replies hold until its next step.

The usual way is one compound: open, ask, close in one round trip. Where a server fails a compound halfway (it may,
3.3.5.2.7, when a request goes asynchronous), what it opened is closed by file id, and the same is done again one
request at a time. A server that keeps doing so is asked without compounds from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Final, TypeVar

from shared.smb import ntstatus, wire
from shared.smb.types import (
    Entry,
    FileRead,
    Listing,
    Looked,
    Opened,
    ReadRequest,
    TooLarge,
    Unreadable,
    Unwritten,
    WriteRequest,
    Written,
)
from shared.smb.wire import Part, Reply

T = TypeVar("T")
Steps = Generator[Sequence[Part], list[Reply], T]

_READ: Final = wire.FILE_READ_DATA | wire.FILE_READ_ATTRIBUTES
_LIST: Final = wire.FILE_LIST_DIRECTORY | wire.FILE_READ_ATTRIBUTES
_MAKE: Final = wire.FILE_WRITE_DATA | wire.FILE_READ_ATTRIBUTES | wire.FILE_WRITE_ATTRIBUTES | wire.DELETE
_FIRST_LISTING_BYTES: Final = wire.CREDIT_BYTES
_FURTHER_LISTING_BYTES: Final = 1 << 20
_LARGEST_SECURITY_BYTES: Final = 1 << 18
_HALFWAY_FAILURES: Final = 8
_CLOSE: Final = wire.close()
_SECURITY: Final = wire.query_security()
_LISTING: Final = (
    wire.query_directory(_FIRST_LISTING_BYTES, restart=True),
    wire.query_directory(_FIRST_LISTING_BYTES, restart=False),
)


class TooFewCredits(Exception):
    """Thrown into an operation whose compound can never be afforded: it goes on one request at a time."""


class Operations:
    """The operations of one client. ``base`` is the endpoint's folder; paths given are relative to it."""

    def __init__(self, base: str, previous_version: int | None) -> None:
        self._prefix = f"{base}/" if base else ""
        self._base = base
        self.contexts: tuple[tuple[bytes, bytes], ...] = ()
        if previous_version is not None:
            self.contexts = (wire.previous_version_context(previous_version),)
        self.compounds = True
        """Whether compounds are tried at all."""
        self._halfway_failures = 0
        self.read_bytes = self.write_bytes = self.transact_bytes = wire.CREDIT_BYTES
        """The most that one request may read, write, or list; set at each connect."""

    def name(self, path: str) -> bytes:
        """``path`` as the server is told it; ``ValueError`` if it cannot be told."""
        return wire.wire_path(self._prefix + path if path else self._base)

    def open_part(self, path: str, access: int, options: int, *, contexts: Sequence[tuple[bytes, bytes]] = ()) -> Part:
        """A CREATE that opens what is there, in the previous version if there is one."""
        return wire.create(self.name(path), access, options, contexts=(*self.contexts, *contexts))

    # --- looking -----------------------------------------------------------------------------------------------

    def look(self, request: ReadRequest) -> Steps[Looked | Unreadable]:
        """The file's facts from an attributes-only open, which disturbs nobody's lease."""
        outcome = yield from self.look_at(request.path)
        if isinstance(outcome, Unreadable):
            outcome.request = request
            return outcome
        return Looked(request, outcome)

    def look_at(self, path: str, options: int = 0) -> Steps[Opened | Unreadable]:
        """The same for any path; ``options`` may say that it must be a directory or a file."""
        try:
            opening = self.open_part(path, wire.FILE_READ_ATTRIBUTES, options)
        except ValueError as error:
            return Unreadable(path, "name-invalid", 0, str(error))
        if self.compounds:
            try:
                replies = yield (opening, _CLOSE)
            except TooFewCredits:
                self.compounds = False
            else:
                if replies[0].status:
                    return unreadable(path, replies[0].status)
                opened, file = wire.created(replies[0])
                if replies[1].status:
                    yield (wire.close(file),)
                return opened
        (reply,) = yield (opening,)
        if reply.status:
            return unreadable(path, reply.status)
        opened, file = wire.created(reply)
        yield (wire.close(file),)
        return opened

    # --- small files -------------------------------------------------------------------------------------------

    def read(self, request: ReadRequest, limit: int, security: bool) -> Steps[FileRead | TooLarge | Unreadable]:
        """The whole file, if it is not above ``limit`` bytes."""
        outcome = yield from self._read(request, limit, security, denied=False)
        if security and isinstance(outcome, Unreadable) and outcome.status == ntstatus.ACCESS_DENIED:
            # READ_CONTROL may be what is denied: the content matters more than its descriptor.
            outcome = yield from self._read(request, limit, False, denied=True)
        if isinstance(outcome, Unreadable):
            outcome.request = request
        return outcome

    def _read(
        self, request: ReadRequest, limit: int, security: bool, *, denied: bool
    ) -> Steps[FileRead | TooLarge | Unreadable]:
        path = request.path
        access = _READ | wire.READ_CONTROL if security else _READ
        try:
            opening = self.open_part(path, access, wire.NON_DIRECTORY_FILE)
        except ValueError as error:
            return Unreadable(path, "name-invalid", 0, str(error))
        expected = min(request.size, limit)
        while self.compounds:
            wanted = self._length_to_ask(expected)
            parts = [opening]
            if security:
                parts.append(_SECURITY)
            if expected:
                parts.append(wire.read_related(wanted))
            parts.append(_CLOSE)
            try:
                replies = yield parts
            except TooFewCredits:
                self.compounds = False
                break
            if replies[0].status:
                return unreadable(path, replies[0].status)
            opened, file = wire.created(replies[0])
            descriptor: bytes | None = None
            data: bytes | memoryview = b""
            complete = not opened.size
            failed = False
            if security:
                failed = bool(replies[1].status)
                descriptor = None if failed else wire.buffer(replies[1])
            if expected:
                reply = replies[-2]
                if not reply.status:
                    first, end = wire.read_data(reply)
                    source = reply.data
                    data = memoryview(source)[first:end] if isinstance(source, bytes) else bytes(source[first:end])
                    complete = end - first < wanted or end - first == opened.size
                elif reply.status == ntstatus.END_OF_FILE:
                    complete = True
                else:
                    failed = True
            if replies[-1].status:
                yield (wire.close(file),)
            if failed:
                self._halfway()
                break
            self._halfway_failures = 0
            if opened.size > limit or len(data) > limit:
                return TooLarge(request, opened)
            if complete:
                return FileRead(request, opened, data, descriptor, denied)
            if opened.size >= self.read_bytes or opened.size <= expected:
                break
            expected = opened.size
        return (yield from self._read_stepwise(request, opening, limit, security, denied))

    def _read_stepwise(
        self, request: ReadRequest, opening: Part, limit: int, security: bool, denied: bool
    ) -> Steps[FileRead | TooLarge | Unreadable]:
        (reply,) = yield (opening,)
        if reply.status:
            return unreadable(request.path, reply.status)
        opened, file = wire.created(reply)
        if opened.size > limit:
            yield (wire.close(file),)
            return TooLarge(request, opened)
        descriptor: bytes | None = None
        if security:
            descriptor = yield from self.query_security(file)
            denied = descriptor is None
        pieces: list[bytes] = []
        length = 0
        status = ntstatus.SUCCESS
        while length <= limit:
            asked = min(self.read_bytes, max(wire.CREDIT_BYTES, self._length_to_ask(opened.size - length)))
            (reply,) = yield (wire.read(length, asked, file),)
            status = reply.status
            if status:
                break
            first, end = wire.read_data(reply)
            pieces.append(bytes(reply.data[first:end]))
            length += end - first
            if end - first < asked and length >= opened.size:
                break
            if end == first:
                break
        yield (wire.close(file),)
        if status and status != ntstatus.END_OF_FILE:
            return unreadable(request.path, status)
        if length > limit:
            return TooLarge(request, opened)
        return FileRead(request, opened, b"".join(pieces), descriptor, denied)

    def _length_to_ask(self, size: int) -> int:
        """A little above ``size``, so that the reply shows the end of the file, in few distinct lengths."""
        if size < 0:
            size = 0
        return min(self.read_bytes, (size // wire.CREDIT_BYTES + 1) * wire.CREDIT_BYTES)

    def query_security(self, file: bytes) -> Steps[bytes | None]:
        """Owner, group and DACL of the open file; None if the server does not give them."""
        asked = wire.CREDIT_BYTES
        while asked <= _LARGEST_SECURITY_BYTES:
            (reply,) = yield (wire.query_security(asked, file),)
            if not reply.status:
                return wire.buffer(reply)
            if reply.status not in (ntstatus.BUFFER_TOO_SMALL, ntstatus.BUFFER_OVERFLOW):
                return None
            asked *= 2
        return None

    def _halfway(self) -> None:
        self._halfway_failures += 1
        if self._halfway_failures >= _HALFWAY_FAILURES:
            self.compounds = False

    # --- directories -------------------------------------------------------------------------------------------

    def list_directory(self, path: str, security: bool) -> Steps[Listing | Unreadable]:
        """All names of the directory, however many."""
        outcome = yield from self._list(path, security, denied=False)
        if security and isinstance(outcome, Unreadable) and outcome.status == ntstatus.ACCESS_DENIED:
            outcome = yield from self._list(path, False, denied=True)
        return outcome

    def _list(self, path: str, security: bool, *, denied: bool) -> Steps[Listing | Unreadable]:
        access = _LIST | wire.READ_CONTROL if security else _LIST
        try:
            opening = self.open_part(path, access, wire.DIRECTORY_FILE)
        except ValueError as error:
            return Unreadable(path, "name-invalid", 0, str(error))
        if self.compounds:
            parts = (opening, _SECURITY, *_LISTING, _CLOSE) if security else (opening, *_LISTING, _CLOSE)
            try:
                replies = yield parts
            except TooFewCredits:
                self.compounds = False
            else:
                if replies[0].status:
                    return unreadable(path, replies[0].status)
                opened, file = wire.created(replies[0])
                first, second, closed = replies[-3], replies[-2], replies[-1]
                descriptor = wire.buffer(replies[1]) if security and not replies[1].status else None
                entries = _entries(path, first)
                if closed.status:
                    yield (wire.close(file),)
                if isinstance(entries, list) and not (security and descriptor is None):
                    if second.status == ntstatus.NO_MORE_FILES:
                        self._halfway_failures = 0
                        return Listing(path, entries, opened, descriptor, denied)
                    if second.status:
                        self._halfway()
                else:
                    self._halfway()
        return (yield from self._list_stepwise(path, opening, security, denied))

    def _list_stepwise(self, path: str, opening: Part, security: bool, denied: bool) -> Steps[Listing | Unreadable]:
        (reply,) = yield (opening,)
        if reply.status:
            return unreadable(path, reply.status)
        opened, file = wire.created(reply)
        descriptor: bytes | None = None
        if security:
            descriptor = yield from self.query_security(file)
            denied = descriptor is None
        entries: list[Entry] = []
        asked = min(_FURTHER_LISTING_BYTES, self.transact_bytes)
        restart = True
        while True:
            (reply,) = yield (wire.query_directory(asked, restart=restart, file=file),)
            more = _entries(path, reply)
            if not isinstance(more, list) or reply.status:
                break
            if not more and not restart:  # the first may hold no more than . and ..
                raise wire.BadReply("a listing goes on without names")
            restart = False
            entries += more
        yield (wire.close(file),)
        if isinstance(more, Unreadable):
            return more
        return Listing(path, entries, opened, descriptor, denied)

    # --- restoring ---------------------------------------------------------------------------------------------

    def write(self, request: WriteRequest, *, again: bool) -> Steps[Written | Unwritten]:
        """A small file, whole and under its own name, or not at all.

        ``again`` says that it was begun before and the connection lost: if the name is taken now by a file of this
        size and time, it was that first time that took it.
        """
        try:
            final, temporary = self.name(request.path), self.name(request.temporary)
        except ValueError as error:
            return Unwritten(request, "name-invalid", 0, str(error))
        rights = [_MAKE]
        if request.security is not None:
            rights = [_MAKE | wire.WRITE_DAC | wire.WRITE_OWNER, _MAKE | wire.WRITE_DAC, _MAKE]
        failed = Unwritten(request, "io-error", 0, "not tried")
        for access in rights:
            descriptor = _settable(access)
            outcome = yield from self._write(request, final, temporary, access, descriptor)
            if again and isinstance(outcome, Unwritten) and outcome.reason == "exists":
                found = yield from self.look_at(request.path)
                if isinstance(found, Opened) and (found.size, found.write) == (len(request.data), request.write):
                    return Written(request, "none" if request.security is None else _APPLIED[descriptor])
            if isinstance(outcome, Written) or outcome.reason != "access-denied":
                return outcome
            failed = outcome
        return failed

    def _write(
        self, request: WriteRequest, final: bytes, temporary: bytes, access: int, descriptor: int
    ) -> Steps[Written | Unwritten]:
        opening = wire.create(
            temporary,
            access,
            wire.NON_DIRECTORY_FILE,
            disposition=wire.FILE_OVERWRITE_IF,
            share=wire.SHARE_READ | wire.SHARE_DELETE,
            attributes=0x80,
        )
        applied = _APPLIED[descriptor] if request.security is not None else "none"
        pays_whole = len(request.data) <= self.write_bytes
        if self.compounds and pays_whole:
            parts = [opening, *self._finishing(request, final, descriptor, wire.RELATED_FILE)]
            if request.data:
                parts.insert(1, wire.write(0, request.data))
            parts.append(_CLOSE)
            try:
                replies = yield parts
            except TooFewCredits:
                self.compounds = False
            else:
                if replies[0].status:
                    return unwritten(request, replies[0].status)
                if not any(reply.status for reply in replies):
                    self._halfway_failures = 0
                    return Written(request, applied)
                file = wire.created(replies[0]).file
                done = all(not reply.status for reply in replies[1:-1])
                if replies[-1].status:
                    yield (wire.close(file),)
                if done:
                    return Written(request, applied)
                status = next(reply.status for reply in replies if reply.status)
                if ntstatus.reason(status) in ("exists", "access-denied", "disk-full"):
                    yield from self.remove(temporary)
                    return unwritten(request, status)
                self._halfway()
        return (yield from self._write_stepwise(request, opening, final, temporary, descriptor, applied))

    def _write_stepwise(
        self, request: WriteRequest, opening: Part, final: bytes, temporary: bytes, descriptor: int, applied: str
    ) -> Steps[Written | Unwritten]:
        (reply,) = yield (opening,)
        if reply.status:
            return unwritten(request, reply.status)
        file = wire.created(reply).file
        data = memoryview(request.data)
        steps = [
            wire.write(offset, data[offset : offset + self.write_bytes], file)
            for offset in range(0, len(data), self.write_bytes)
        ]
        status = ntstatus.SUCCESS
        for step in [*steps, *self._finishing(request, final, descriptor, file)]:
            (reply,) = yield (step,)
            status = reply.status
            if status:
                break
        yield (wire.close(file),)
        if status:
            yield from self.remove(temporary)
            return unwritten(request, status)
        return Written(request, applied)

    def _finishing(self, request: WriteRequest, final: bytes, descriptor: int, file: bytes) -> list[Part]:
        """Times, attributes and rights first; the name last, so that nothing half-made ever has it."""
        parts = [wire.set_basic(request.creation, request.write, request.attributes or 0x80, file)]
        if request.security is not None and descriptor:
            parts.append(wire.set_security(request.security, descriptor, file))
        parts.append(wire.set_name(final, replace=request.replace, file=file))
        return parts

    def remove(self, name: bytes, options: int = wire.NON_DIRECTORY_FILE) -> Steps[int]:
        """Delete; returns the status."""
        options |= wire.OPEN_REPARSE_POINT
        opening = wire.create(name, wire.DELETE | wire.FILE_READ_ATTRIBUTES | wire.FILE_WRITE_ATTRIBUTES, options)
        (reply,) = yield (opening,)
        if reply.status:
            return reply.status
        opened, file = wire.created(reply)
        if opened.attributes & 0x1:
            yield (wire.set_basic(0, 0, 0x80, file),)
        (reply,) = yield (wire.set_delete(file),)
        status = reply.status
        yield (wire.close(file),)
        return status

    def change(self, path: str, access: int, part: Callable[[bytes], Part], options: int = 0) -> Steps[int]:
        """Open ``path``, do to it what ``part`` makes of its file id, close; returns the first bad status."""
        opening = wire.create(self.name(path), access | wire.FILE_READ_ATTRIBUTES, options)
        (reply,) = yield (opening,)
        if reply.status:
            return reply.status
        file = wire.created(reply).file
        (reply,) = yield (part(file),)
        status = reply.status
        yield (wire.close(file),)
        return status

    def make_directory(self, name: bytes) -> Steps[int]:
        """Create one directory; returns the status (a collision means that the name is there)."""
        opening = wire.create(
            name, wire.FILE_READ_ATTRIBUTES, wire.DIRECTORY_FILE, disposition=wire.FILE_CREATE, attributes=0x10
        )
        (reply,) = yield (opening,)
        if not reply.status:
            yield (wire.close(wire.created(reply).file),)
        return reply.status

    def ask(self, path: str, access: int, options: int, part: Callable[[bytes], Part]) -> Steps[Reply | int]:
        """Open ``path``, ask what ``part`` makes of its file id, close; the reply (kept), or the status of the open."""
        (reply,) = yield (self.open_part(path, access, options),)
        if reply.status:
            return reply.status
        file = wire.created(reply).file
        (reply,) = yield (part(file),)
        kept = Reply(reply.status, bytes(reply.data[reply.start : reply.end]), 0, reply.end - reply.start)
        yield (wire.close(file),)
        return kept


_APPLIED: Final = {wire.OWNER | wire.GROUP | wire.DACL: "all", wire.DACL: "dacl", 0: "none"}


def _settable(access: int) -> int:
    if access & wire.WRITE_OWNER:
        return wire.OWNER | wire.GROUP | wire.DACL
    return wire.DACL if access & wire.WRITE_DAC else 0


def _entries(path: str, reply: Reply) -> list[Entry] | Unreadable:
    """Of one QUERY_DIRECTORY reply; an empty list when there were no more."""
    if reply.status in (ntstatus.NO_MORE_FILES, ntstatus.NO_SUCH_FILE):
        return []
    if reply.status:
        return unreadable(path, reply.status)
    return wire.directory_entries(wire.buffer(reply))


def unreadable(path: str, status: int) -> Unreadable:
    return Unreadable(path, ntstatus.reason(status), status, ntstatus.message(status))


def unwritten(request: WriteRequest, status: int) -> Unwritten:
    return Unwritten(request, ntstatus.reason(status), status, ntstatus.message(status))
