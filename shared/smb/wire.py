"""Messages of SMB 2 and 3 as bytes: builders of requests, parsers of responses.

Section numbers are those of [MS-SMB2] unless [MS-FSCC] is named. All integers are little-endian. Parsers trust
nothing: what does not fit raises ``BadReply``.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from shared.smb.types import Entry, Opened

# 2.2.1.2 SMB2 header, synchronous form
HEADER: Final = struct.Struct("<4sHHIHHIIQIIQ16s")
HEADER_BYTES: Final = 64
REPLY_HEADER: Final = struct.Struct("<4sHHIHHIIQ")
"""What a reply is sorted by: protocol, size, charge, status, command, credits, flags, next, message id."""
SIGNATURE_AT: Final = 48
PROTOCOL: Final = b"\xfeSMB"
FLAG_REPLY: Final = 0x1
FLAG_RELATED: Final = 0x4
FLAG_SIGNED: Final = 0x8
NO_SIGNATURE: Final = bytes(16)
UNSOLICITED: Final = 0xFFFFFFFFFFFFFFFF

# 2.2.41 TRANSFORM_HEADER
TRANSFORM_PROTOCOL: Final = b"\xfdSMB"
TRANSFORM_BYTES: Final = 52

CREATE: Final = 0x05
CLOSE: Final = 0x06
FLUSH: Final = 0x07
READ: Final = 0x08
WRITE: Final = 0x09
IOCTL: Final = 0x0B
QUERY_DIRECTORY: Final = 0x0E
QUERY_INFO: Final = 0x10
SET_INFO: Final = 0x11

CREDIT_BYTES: Final = 65536
"""What one credit pays for (3.1.5.2)."""

# 2.2.13.1 access masks
FILE_READ_DATA: Final = 0x1
FILE_LIST_DIRECTORY: Final = 0x1
FILE_WRITE_DATA: Final = 0x2
FILE_READ_ATTRIBUTES: Final = 0x80
FILE_WRITE_ATTRIBUTES: Final = 0x100
DELETE: Final = 0x10000
READ_CONTROL: Final = 0x20000
WRITE_DAC: Final = 0x40000
WRITE_OWNER: Final = 0x80000

SHARE_READ: Final = 0x1
SHARE_WRITE: Final = 0x2
SHARE_DELETE: Final = 0x4
SHARE_ALL: Final = SHARE_READ | SHARE_WRITE | SHARE_DELETE

# 2.2.13 CreateDisposition, CreateOptions
FILE_OPEN: Final = 1
FILE_CREATE: Final = 2
FILE_OPEN_IF: Final = 3
FILE_OVERWRITE_IF: Final = 5
DIRECTORY_FILE: Final = 0x1
SEQUENTIAL_ONLY: Final = 0x4
NON_DIRECTORY_FILE: Final = 0x40
DELETE_ON_CLOSE: Final = 0x1000
OPEN_FOR_BACKUP_INTENT: Final = 0x4000
OPEN_REPARSE_POINT: Final = 0x200000

# [MS-DTYP] 2.4.7 SECURITY_INFORMATION
OWNER: Final = 0x1
GROUP: Final = 0x2
DACL: Final = 0x4

RELATED_FILE: Final = b"\xff" * 16
"""The file id of a related request: that of the CREATE before it in the compound (3.2.4.1.4)."""

FSCTL_SRV_ENUMERATE_SNAPSHOTS: Final = 0x00144064

_CREATE_REQUEST: Final = struct.Struct("<HBBIQQIIIIIHHII")  # 2.2.13
_CREATE_RESPONSE: Final = struct.Struct("<HBBIQQQQQQII16sII")  # 2.2.14
_CLOSE_REQUEST: Final = struct.Struct("<HHI16s")  # 2.2.15
_FLUSH_REQUEST: Final = struct.Struct("<HHI16s")  # 2.2.17
_READ_REQUEST: Final = struct.Struct("<HBBIQ16sIIIHHx")  # 2.2.19, with the one byte of its empty buffer
_READ_RESPONSE: Final = struct.Struct("<HBBI")  # 2.2.20
_WRITE_REQUEST: Final = struct.Struct("<HHIQ16sIIHHI")  # 2.2.21
_WRITE_RESPONSE: Final = struct.Struct("<HHI")  # 2.2.22
_IOCTL_REQUEST: Final = struct.Struct("<HHI16sIIIIIIII")  # 2.2.31
_IOCTL_RESPONSE: Final = struct.Struct("<HHI16sIIII")  # 2.2.32
_QUERY_DIRECTORY_REQUEST: Final = struct.Struct("<HBBI16sHHI")  # 2.2.33
_QUERY_INFO_REQUEST: Final = struct.Struct("<HBBIHHIII16s")  # 2.2.37
_BUFFER_RESPONSE: Final = struct.Struct("<HHI")  # 2.2.34 and 2.2.38
_SET_INFO_REQUEST: Final = struct.Struct("<HBBIHHI16s")  # 2.2.39
_CONTEXT: Final = struct.Struct("<IHHHHI")  # 2.2.13.2
_ENTRY: Final = struct.Struct("<IIqqqqqqIIIBB24sHQ")  # [MS-FSCC] 2.4.22 FileIdBothDirectoryInformation
_BASIC_INFORMATION: Final = struct.Struct("<qqqqII")  # [MS-FSCC] 2.4.7
_RENAME_INFORMATION: Final = struct.Struct("<B7xQI")  # [MS-FSCC] 2.4.42.2, form of SMB2
_FULL_SIZE_INFORMATION: Final = struct.Struct("<qqqII")  # [MS-FSCC] 2.5.4

_INFO_FILE, _INFO_FILE_SYSTEM, _INFO_SECURITY = 1, 2, 3  # 2.2.37 InfoType
_FILE_ID_BOTH_DIRECTORY = 37  # [MS-FSCC] 2.4
_FILE_BASIC, _FILE_RENAME, _FILE_DISPOSITION, _FILE_END_OF_FILE = 4, 10, 13, 20
_FS_FULL_SIZE = 7  # [MS-FSCC] 2.5


class BadReply(Exception):
    """The server sent what the specification does not allow."""


class Part(NamedTuple):
    """One request of a compound."""

    command: int
    charge: int
    """Credits that it costs (3.2.4.1.5)."""
    body: bytes
    payload: bytes | memoryview = b""
    """Follows the body; apart from it so that big writes are copied once less."""


class Reply(NamedTuple):
    """One response: ``data[start:end]`` is its message, header included."""

    status: int
    data: bytes | memoryview
    """A memoryview lies in the receive buffer and holds until the next receive; bytes stay."""
    start: int
    end: int


class Created(NamedTuple):
    """What a successful CREATE says."""

    opened: Opened
    file: bytes
    """The SMB2_FILEID by which requests name it."""


def wire_path(path: str) -> bytes:
    """A path with ``/`` as one with ``\\``, in UTF-16LE; lone surrogates pass. ``ValueError`` if it is too long."""
    name = path.replace("/", "\\").encode("utf-16-le", "surrogatepass")
    if len(name) > 0xFFFE:
        raise ValueError("the path is longer than SMB can say")
    return name


# --- requests ---------------------------------------------------------------------------------------------------


def previous_version_context(filetime: int) -> tuple[bytes, bytes]:
    """2.2.13.2.7 SMB2_CREATE_TIMEWARP_TOKEN: open the file as it was at ``filetime``."""
    return b"TWrp", struct.pack("<Q", filetime)


QUERY_ON_DISK_ID: Final = (b"QFid", b"")
"""2.2.13.2.9: have the CREATE say the file's id."""


def create(
    name: bytes,
    access: int,
    options: int,
    *,
    disposition: int = FILE_OPEN,
    share: int = SHARE_ALL,
    attributes: int = 0,
    contexts: Sequence[tuple[bytes, bytes]] = (),
) -> Part:
    """2.2.13. Every open has backup intent; no oplock or lease is asked for. ``name`` is a ``wire_path``."""
    if not contexts:
        packed, at, length = b"", 0, 0
        variable = name or b"\0"
    else:
        packed = _contexts(contexts)
        padding = bytes(-len(name) % 8)
        at, length = HEADER_BYTES + 56 + len(name) + len(padding), len(packed)
        variable = name + padding + packed
    fixed = _CREATE_REQUEST.pack(
        57, 0, 0, 2, 0, 0, access, attributes, share, disposition, options | OPEN_FOR_BACKUP_INTENT,
        HEADER_BYTES + 56, len(name), at, length,
    )  # fmt: skip
    return Part(CREATE, 1, fixed + variable)


def _contexts(contexts: Sequence[tuple[bytes, bytes]]) -> bytes:
    packed = b""
    for index, (name, data) in enumerate(contexts):
        body = name.ljust(8, b"\0") + data
        body += bytes(-len(body) % 8)
        following = 16 + len(body) if index < len(contexts) - 1 else 0
        packed += _CONTEXT.pack(following, 16, len(name), 0, 24 if data else 0, len(data)) + body
    return packed


def close(file: bytes = RELATED_FILE) -> Part:
    """2.2.15"""
    return Part(CLOSE, 1, _CLOSE_REQUEST.pack(24, 0, 0, file))


def flush(file: bytes = RELATED_FILE) -> Part:
    """2.2.17"""
    return Part(FLUSH, 1, _FLUSH_REQUEST.pack(24, 0, 0, file))


def read(offset: int, length: int, file: bytes) -> Part:
    """2.2.19"""
    body = _READ_REQUEST.pack(49, 0x50, 0, length, offset, file, 0, 0, 0, 0, 0)
    return Part(READ, charge_of(length), body)


@lru_cache(maxsize=64)
def read_related(length: int) -> Part:
    """A READ from the start of the file that the compound opens."""
    return read(0, length, RELATED_FILE)


def write(offset: int, data: bytes | memoryview, file: bytes = RELATED_FILE) -> Part:
    """2.2.21"""
    body = _WRITE_REQUEST.pack(49, HEADER_BYTES + 48, len(data), offset, file, 0, 0, 0, 0, 0)
    return Part(WRITE, charge_of(len(data)), body, data or b"\0")


@lru_cache(maxsize=64)
def query_directory(buffer_bytes: int, *, restart: bool, file: bytes = RELATED_FILE) -> Part:
    """2.2.33 for every name, with sizes, times and ids."""
    pattern = "*".encode("utf-16-le")
    body = _QUERY_DIRECTORY_REQUEST.pack(
        33, _FILE_ID_BOTH_DIRECTORY, 1 if restart else 0, 0, file, HEADER_BYTES + 32, len(pattern), buffer_bytes
    )
    return Part(QUERY_DIRECTORY, charge_of(buffer_bytes), body + pattern)


@lru_cache(maxsize=64)
def query_security(buffer_bytes: int = CREDIT_BYTES, file: bytes = RELATED_FILE) -> Part:
    """2.2.37 for owner, group and DACL (the SACL needs a privilege)."""
    body = _QUERY_INFO_REQUEST.pack(
        41, _INFO_SECURITY, 0, buffer_bytes, HEADER_BYTES + 40, 0, 0, OWNER | GROUP | DACL, 0, file
    )
    return Part(QUERY_INFO, charge_of(buffer_bytes), body + b"\0")


def query_free_space(file: bytes = RELATED_FILE) -> Part:
    """2.2.37 with [MS-FSCC] 2.5.4 FileFsFullSizeInformation."""
    body = _QUERY_INFO_REQUEST.pack(41, _INFO_FILE_SYSTEM, _FS_FULL_SIZE, 32, HEADER_BYTES + 40, 0, 0, 0, 0, file)
    return Part(QUERY_INFO, 1, body + b"\0")


def set_basic(creation: int, write_time: int, attributes: int, file: bytes = RELATED_FILE) -> Part:
    """2.2.39 with [MS-FSCC] 2.4.7. A 0 leaves that value as it is; access and change time are the server's."""
    return _set_info(_INFO_FILE, _FILE_BASIC, _BASIC_INFORMATION.pack(creation, 0, write_time, 0, attributes, 0), file)


def set_security(descriptor: bytes, information: int, file: bytes = RELATED_FILE) -> Part:
    """2.2.39; ``information`` says which of OWNER, GROUP, DACL are taken from the descriptor."""
    return _set_info(_INFO_SECURITY, 0, descriptor, file, information)


def set_name(name: bytes, *, replace: bool, file: bytes = RELATED_FILE) -> Part:
    """2.2.39 with [MS-FSCC] 2.4.42.2: rename to ``name``, a ``wire_path`` from the root of the share."""
    buffer = _RENAME_INFORMATION.pack(1 if replace else 0, 0, len(name)) + name
    return _set_info(_INFO_FILE, _FILE_RENAME, buffer.ljust(24, b"\0"), file)


def set_end_of_file(size: int, file: bytes) -> Part:
    """2.2.39 with [MS-FSCC] 2.4.14."""
    return _set_info(_INFO_FILE, _FILE_END_OF_FILE, struct.pack("<q", size), file)


def set_delete(file: bytes = RELATED_FILE) -> Part:
    """2.2.39 with [MS-FSCC] 2.4.11: the file goes when it is closed."""
    return _set_info(_INFO_FILE, _FILE_DISPOSITION, b"\x01", file)


def _set_info(kind: int, level: int, buffer: bytes, file: bytes, information: int = 0) -> Part:
    body = _SET_INFO_REQUEST.pack(33, kind, level, len(buffer), HEADER_BYTES + 32, 0, information, file)
    return Part(SET_INFO, charge_of(len(buffer)), body + buffer)


def ioctl(code: int, output_bytes: int, file: bytes) -> Part:
    """2.2.31 for an FSCTL without input."""
    at = HEADER_BYTES + 56
    body = _IOCTL_REQUEST.pack(57, 0, code, file, at, 0, 0, at, 0, output_bytes, 1, 0)
    return Part(IOCTL, charge_of(output_bytes), body + b"\0")


def charge_of(payload_bytes: int) -> int:
    """3.2.4.1.5: credits for the larger of what is sent and what may come back."""
    return 1 if payload_bytes <= CREDIT_BYTES else (payload_bytes - 1) // CREDIT_BYTES + 1


# --- responses --------------------------------------------------------------------------------------------------
# What lies behind a reply's end is another's: a reply that is too short is refused, not read on.


def created(reply: Reply) -> Created:
    """2.2.14"""
    if reply.start + HEADER_BYTES + _CREATE_RESPONSE.size > reply.end:
        raise BadReply("CREATE response too short")
    (_, _, _, _, creation, _, write_time, change, _, size, attributes, _, file, _, _) = _CREATE_RESPONSE.unpack_from(
        reply.data, reply.start + HEADER_BYTES
    )
    return Created(Opened(attributes, size, creation, write_time, change), file)


def on_disk_id(reply: Reply) -> bytes | None:
    """2.2.14.2.9: file and volume id of the CREATE response's ``QFid`` context; None where the server gave none."""
    message = bytes(reply.data[reply.start : reply.end])
    try:
        at, length = struct.unpack_from("<II", message, HEADER_BYTES + 80)
    except struct.error as error:
        raise BadReply("CREATE response too short") from error
    end = at + length
    while at and at + 16 <= min(end, len(message)):
        following, name_at, name_length, _, data_at, data_length = _CONTEXT.unpack_from(message, at)
        if message[at + name_at : at + name_at + name_length] == b"QFid" and data_length >= 16:
            return message[at + data_at : at + data_at + 16]
        if not following:
            break
        if following < _CONTEXT.size:
            raise BadReply("a create context lies within the one before it")
        at += following
    return None


def read_data(reply: Reply) -> tuple[int, int]:
    """2.2.20: where in ``reply.data`` the bytes that were read begin and end."""
    if reply.start + HEADER_BYTES + _READ_RESPONSE.size > reply.end:
        raise BadReply("READ response too short")
    _, offset, _, length = _READ_RESPONSE.unpack_from(reply.data, reply.start + HEADER_BYTES)
    first = reply.start + offset
    if first + length > reply.end:
        raise BadReply("READ response says more than it holds")
    return first, first + length


def written_bytes(reply: Reply) -> int:
    """2.2.22"""
    if reply.start + HEADER_BYTES + _WRITE_RESPONSE.size > reply.end:
        raise BadReply("WRITE response too short")
    return int(_WRITE_RESPONSE.unpack_from(reply.data, reply.start + HEADER_BYTES)[2])


def buffer(reply: Reply) -> bytes:
    """2.2.34, 2.2.38: the output buffer, copied."""
    if reply.start + HEADER_BYTES + _BUFFER_RESPONSE.size > reply.end:
        raise BadReply("response too short")
    _, offset, length = _BUFFER_RESPONSE.unpack_from(reply.data, reply.start + HEADER_BYTES)
    first = reply.start + offset
    if first + length > reply.end:
        raise BadReply("response says more than it holds")
    return bytes(reply.data[first : first + length])


def ioctl_output(reply: Reply) -> bytes:
    """2.2.32"""
    if reply.start + HEADER_BYTES + _IOCTL_RESPONSE.size > reply.end:
        raise BadReply("IOCTL response too short")
    fields = _IOCTL_RESPONSE.unpack_from(reply.data, reply.start + HEADER_BYTES)
    first = reply.start + fields[6]
    if first + fields[7] > reply.end:
        raise BadReply("IOCTL response says more than it holds")
    return bytes(reply.data[first : first + fields[7]])


def directory_entries(listing: bytes) -> list[Entry]:
    """[MS-FSCC] 2.4.22: the entries of one QUERY_DIRECTORY buffer, without ``.`` and ``..``.

    For a reparse point EaSize holds the tag. ``BadReply`` when the buffer is cut, entries overlap (a few bytes could
    be millions of them), or a name could lead out of the directory.
    """
    entries: list[Entry] = []
    at = 0
    unpack = _ENTRY.unpack_from
    new = tuple.__new__
    try:
        while True:
            (
                following, _, creation, _, write_time, change, size, _, attributes, name_length, ea_size,
                _, _, _, _, file_id,
            ) = unpack(listing, at)  # fmt: skip
            end = at + 104 + name_length
            if end > len(listing):
                raise BadReply("a directory entry is cut")
            if following and at + following < end:
                raise BadReply("a directory entry lies within the one before it")
            if size < 0:
                raise BadReply("a directory entry has a negative size")
            name = listing[at + 104 : end].decode("utf-16-le", "surrogatepass")
            if name not in (".", ".."):
                if not name or "/" in name or "\\" in name or "\0" in name:
                    raise BadReply(f"a directory entry has an impossible name: {name!r}")
                tag = ea_size if attributes & 0x400 else 0
                entries.append(new(Entry, (name, attributes, size, creation, write_time, change, file_id, tag)))
            if not following:
                return entries
            at += following
    except (struct.error, UnicodeDecodeError) as error:
        raise BadReply("a directory entry is cut") from error


def snapshot_times(output: bytes) -> tuple[int, list[str]]:
    """2.2.32.2 SRV_SNAPSHOT_ARRAY: bytes needed for all of them, and the ``@GMT-`` names that came."""
    if len(output) < 12:
        raise BadReply("snapshot array too short")
    _, _, needed = struct.unpack_from("<III", output)
    names = output[12:].decode("utf-16-le", "replace").split("\0")
    return needed, [name for name in names if name]


def free_bytes(information: bytes) -> int:
    """[MS-FSCC] 2.5.4: bytes that this user may still write."""
    if len(information) < 32:
        raise BadReply("size information too short")
    _, available, _, sectors, sector_bytes = _FULL_SIZE_INFORMATION.unpack_from(information)
    return int(available * sectors * sector_bytes)
