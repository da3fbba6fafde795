"""Parsers take what the specification allows and nothing else."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.smb import wire
from shared.smb.types import Entry
from shared.smb.wire import BadReply, Reply

CODE_UNITS = st.lists(st.integers(1, 0xFFFF).filter(lambda unit: unit not in (0x2F, 0x5C)), min_size=1, max_size=60)
NAMES = CODE_UNITS.map(lambda units: struct.pack(f"<{len(units)}H", *units).decode("utf-16-le", "surrogatepass"))
TIMES = st.integers(-(2**63), 2**63 - 1)
ENTRIES = st.builds(
    Entry,
    name=NAMES.filter(lambda name: name not in (".", "..")),
    attributes=st.integers(0, 2**32 - 1),
    size=st.integers(0, 2**63 - 1),
    creation=TIMES,
    write=TIMES,
    change=TIMES,
    file_id=st.integers(0, 2**64 - 1),
    reparse_tag=st.integers(0, 2**32 - 1),
)


def packed(entries: list[Entry]) -> bytes:
    """[MS-FSCC] 2.4.22, written independently of the parser."""
    listing = b""
    for index, entry in enumerate(entries):
        name = entry.name.encode("utf-16-le", "surrogatepass")
        rest = struct.pack(
            "<IqqqqqqIIIBB24sHQ",
            index, entry.creation, 1, entry.write, entry.change, entry.size, 4096, entry.attributes, len(name),
            entry.reparse_tag, 24, 0, b"s" * 24, 0, entry.file_id,
        ) + name  # fmt: skip
        whole = (rest + bytes(4)).ljust((len(rest) + 4 + 7) & ~7, b"\0")
        whole = whole[: len(rest)].ljust((len(rest) + 4 + 7) // 8 * 8 - 4, b"\0")
        following = len(whole) + 4 if index < len(entries) - 1 else 0
        listing += struct.pack("<I", following) + whole
    return listing


@given(st.lists(ENTRIES, min_size=1, max_size=20))
def test_a_listing_is_read_as_it_was_written(entries: list[Entry]) -> None:
    expected = [entry if entry.attributes & 0x400 else entry._replace(reparse_tag=0) for entry in entries]
    assert wire.directory_entries(packed(entries)) == expected


@given(st.lists(ENTRIES, min_size=1, max_size=5), st.data())
def test_a_cut_listing_is_refused_or_shorter_and_never_wrong(entries: list[Entry], data: st.DataObject) -> None:
    whole = packed(entries)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    good = wire.directory_entries(whole)
    try:
        got = wire.directory_entries(cut)
    except BadReply:
        return
    assert got == good[: len(got)]


@given(st.binary(max_size=500))
def test_rubbish_never_raises_anything_else(rubbish: bytes) -> None:
    reply = Reply(0, rubbish, 0, len(rubbish))
    for parse in (wire.created, wire.read_data, wire.written_bytes, wire.buffer, wire.ioctl_output):
        with contextlib.suppress(BadReply):
            parse(reply)
    for parse_bytes in (wire.directory_entries, wire.snapshot_times, wire.free_bytes):
        with contextlib.suppress(BadReply):
            parse_bytes(rubbish)


def test_dots_are_left_out() -> None:
    dots = [Entry(name, 0x10, 0, 0, 0, 0, 0, 0) for name in (".", "..", "...", "x")]
    assert [entry.name for entry in wire.directory_entries(packed(dots))] == ["...", "x"]


@pytest.mark.parametrize("name", ["a/b", "a\\b", "..\\x", "a\0b"])
def test_a_name_that_is_a_path_is_refused(name: str) -> None:
    with pytest.raises(BadReply):
        wire.directory_entries(packed([Entry(name, 0, 0, 0, 0, 0, 0, 0)]))


@given(st.lists(NAMES, max_size=5))
def test_the_parts_of_a_path_are_joined_by_backslashes(parts: list[str]) -> None:
    assert wire.wire_path("/".join(parts)).decode("utf-16-le", "surrogatepass") == "\\".join(parts)


def test_a_path_longer_than_smb_can_say_is_refused() -> None:
    assert len(wire.wire_path("x" * 0x7FFF)) == 0xFFFE
    with pytest.raises(ValueError, match="longer"):
        wire.wire_path("x" * 0x8000)


@pytest.mark.parametrize(("size", "charge"), [(0, 1), (1, 1), (65536, 1), (65537, 2), (1 << 20, 16)])
def test_credits_by_size(size: int, charge: int) -> None:
    assert wire.charge_of(size) == charge


@pytest.mark.parametrize("name", ["", "x", "xy", "xyz", "folder\\file"])
def test_create_contexts_are_aligned_and_found(name: str) -> None:
    contexts = (wire.previous_version_context(0x0102030405060708), wire.QUERY_ON_DISK_ID)
    message = bytes(64) + wire.create(wire.wire_path(name), 1, 0, contexts=contexts).body
    at, length = struct.unpack_from("<II", message, 64 + 48)
    assert at % 8 == 0
    assert at + length == len(message)
    found = {}
    while True:
        following, name_at, name_length, _, data_at, data_length = struct.unpack_from("<IHHHHI", message, at)
        found[message[at + name_at : at + name_at + name_length]] = message[at + data_at : at + data_at + data_length]
        if not following:
            break
        assert following % 8 == 0
        at += following
    assert found[b"TWrp"] == bytes.fromhex("0807060504030201")
    assert len(found) == 2


def test_snapshot_times_are_read() -> None:
    names = "@GMT-2018.01.01-00.00.00\0@GMT-2018.01.01-01.00.00\0\0".encode("utf-16-le")
    needed, found = wire.snapshot_times(struct.pack("<III", 2, 2, len(names)) + names)
    assert needed == len(names)
    assert found == ["@GMT-2018.01.01-00.00.00", "@GMT-2018.01.01-01.00.00"]
