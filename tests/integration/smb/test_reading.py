"""What is read from a share: everything that is there, as it is when it is opened, and a reason for the rest."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from shared.smb.client import SmbClient
from shared.smb.types import FileRead, FileUnreadable, Looked, Opened, ReadRequest, TooLarge, Unreadable
from tests.integration.smb.conftest import Place
from tests.integration.smb.helpers import contents, feed, files, look, read, read_one, stream_sha256, walk


def test_an_empty_folder_is_listed_as_empty(place: Place) -> None:
    with place.client() as client:
        listed, failed = walk(client)
    assert not failed
    assert listed[""].entries == []


def test_a_directory_of_ten_thousand_entries_is_listed_whole(place: Place) -> None:
    names = {f"entry with a rather long name {number:05d}.txt" for number in range(10_000)}
    for name in names:
        (place.folder / name).touch()
    with place.client() as client:
        listed, _ = walk(client)
    assert len(listed[""].entries) == 10_000
    assert {entry.name for entry in listed[""].entries} == names


@pytest.mark.parametrize("count", [380, 400, 420, 800, 900])
def test_a_directory_around_the_size_of_one_and_two_buffers_is_listed_whole(place: Place, count: int) -> None:
    names = {f"{number:04d}" + "n" * 24 for number in range(count)}
    for name in names:
        (place.folder / name).touch()
    with place.client() as client:
        listed, _ = walk(client)
    assert {entry.name for entry in listed[""].entries} == names


ODD_NAMES = [
    "ümläut", "日本語.txt", "emoji 😀.txt", "trailing dot.", "two  spaces", " leading", "semi;colon", "percent%20",
    "quote'", "a" * 240, "ÀÉ", "e\u0301", "\u00e9", "#hash", "(x) [y] {z}", "~tilde", "-dash", "CON.txt", "..hidden",
    "...",
]  # fmt: skip


def test_odd_names_are_listed_and_read(place: Place) -> None:
    for number, name in enumerate(ODD_NAMES):
        place.put(f"dir {name}/{name}", str(number).encode())
    with place.client() as client:
        listed, failed = walk(client)
        assert not failed
        read_back = contents(read(client, files(listed)))
    # Samba shows a short name for what Windows could not open.
    mangled = {name for name in ODD_NAMES if name.endswith((".", " ")) or name.startswith("CON.")}
    expected = {
        f"dir {name}/{name}": str(number).encode() for number, name in enumerate(ODD_NAMES) if name not in mangled
    }
    assert expected.items() <= read_back.items()
    assert sorted(read_back.values()) == sorted(str(number).encode() for number in range(len(ODD_NAMES)))


def test_a_deep_folder_is_reached(place: Place) -> None:
    deep = "/".join(["level with a long name"] * 40)
    (place.folder / deep).mkdir(parents=True)
    place.put(f"{deep}/x", b"down here")
    with place.client() as client:
        listed, _ = walk(client)
        assert contents(read(client, files(listed))) == {f"{deep}/x": b"down here"}


def test_the_endpoint_may_be_the_root_of_the_share(place: Place) -> None:
    place.put("x", b"1")
    with place.client() as client:
        client.connect()
    with SmbClient(place.endpoint(path="")) as client:
        listed, _ = walk(client)
        assert f"{place.name}/x" in files(listed)


@pytest.mark.parametrize("hint", [0, 1, 7, 99, 70_000])
def test_the_content_is_that_of_the_file_whatever_size_the_listing_showed_fault_40(place: Place, hint: int) -> None:
    place.put("x", b"7 bytes")
    place.put("empty", b"")
    big = random.Random(1).randbytes(300_000)
    place.put("big", big)
    with place.client() as client:
        got = contents(read(client, {"x": hint, "empty": hint, "big": hint}))
    assert got == {"x": b"7 bytes", "empty": b"", "big": big}


def test_a_file_that_is_above_the_limit_when_opened_is_left_to_a_stream(place: Place) -> None:
    place.put("grown", b"x" * 100_001)
    with place.client() as client:
        outcome = read_one(client, "grown", 10, limit=100_000)
        assert isinstance(outcome, TooLarge)
        assert outcome.opened.size == 100_001


def test_sizes_and_times_come_from_the_open(place: Place) -> None:
    file = place.put("x", b"content")
    os.utime(file, ns=(1_700_000_000_000_000_000, 1_700_000_000_123_456_700))
    with place.client() as client:
        outcome = read_one(client, "x", 3)
        looked = look(client, ["x"])["x"]
    assert isinstance(outcome, FileRead)
    assert isinstance(looked, Looked)
    assert outcome.opened[:2] == looked.opened[:2]
    assert outcome.opened.write == looked.opened.write
    assert outcome.opened.change == looked.opened.change
    assert outcome.opened.size == 7
    assert outcome.opened.write == 116444736000000000 + 17_000_000_001_234_567


def test_descriptors_come_with_files_folders_and_streams(place: Place) -> None:
    place.put("folder/x", b"1")
    with place.client() as client:
        listed, _ = walk(client, security=True)
        outcome = read_one(client, "folder/x", 1, security=True)
        with client.open_stream("folder/x", security=True) as stream:
            descriptor = stream.security
            assert b"".join(bytes(view) for view in stream) == b"1"
    assert isinstance(outcome, FileRead)
    assert outcome.security is not None
    assert outcome.security[:2] == b"\x01\x00"
    assert outcome.security == descriptor
    assert all(listing.security and not listing.security_denied for listing in listed.values())


def test_what_the_user_may_not_open_is_unreadable_and_the_rest_is_read(place: Place) -> None:
    place.put("open/x", b"1")
    place.put("closed/y", b"2").parent.chmod(0o700)
    place.put("secret", b"3").chmod(0o600)
    with place.client("limited") as client:
        listed, failed = walk(client)
        assert failed["closed"].reason == "access-denied"
        outcomes = read(client, files(listed))
        with pytest.raises(FileUnreadable) as refused:
            client.open_stream("secret")
    assert refused.value.unreadable.reason == "access-denied"
    denied = outcomes.pop("secret")
    assert isinstance(denied, Unreadable)
    assert denied.reason == "access-denied"
    assert denied.status == 0xC0000022
    assert contents(outcomes) == {"open/x": b"1"}


def test_a_file_whose_descriptor_alone_is_denied_is_read_and_that_is_said(place: Place) -> None:
    place.put("x", b"content")
    place.put("folder/y", b"2")
    with place.client() as client:
        client.set_security("x", descriptor(0x00120081 & ~0x00020000))
        client.set_security("folder", descriptor(0x001200A1 & ~0x00020000))
    with place.client("limitedacl") as client:
        outcome = read_one(client, "x", 7, security=True)
        listed, _ = walk(client, security=True)
        with client.open_stream("x", security=True) as stream:
            assert stream.security is None
            assert stream.security_denied
            assert b"".join(bytes(view) for view in stream) == b"content"
    assert isinstance(outcome, FileRead)
    assert outcome.data == b"content"
    assert outcome.security is None
    assert outcome.security_denied
    assert listed["folder"].security is None
    assert listed["folder"].security_denied
    assert [entry.name for entry in listed["folder"].entries] == ["y"]


def descriptor(mask: int) -> bytes:
    """Owner and group Administrators; Everyone may do what ``mask`` says."""
    administrators = bytes.fromhex("01020000000000052000000020020000")
    everyone = bytes.fromhex("010100000000000100000000")
    ace = bytes([0, 0]) + (8 + len(everyone)).to_bytes(2, "little") + mask.to_bytes(4, "little") + everyone
    acl = bytes([2, 0]) + (8 + len(ace)).to_bytes(2, "little") + (1).to_bytes(4, "little") + ace
    head = bytes.fromhex("01000480")
    offsets = [20, 36, 0, 52]
    return head + b"".join(offset.to_bytes(4, "little") for offset in offsets) + administrators * 2 + acl


def test_what_vanished_is_unreadable_and_says_so_fault_22(place: Place) -> None:
    place.put("there", b"1")
    with place.client() as client:
        outcomes = read(client, {"gone": 5, "no folder/gone": 5, "there": 1})
        pending = ["", "gone folder"]
        listings = list(client.list_directories(pending, security=True))
        looked = look(client, ["gone", "there"])
        with pytest.raises(FileUnreadable) as refused:
            client.open_stream("gone")
    assert refused.value.unreadable.reason == "vanished"
    for path in ("gone", "no folder/gone"):
        outcome = outcomes.pop(path)
        assert isinstance(outcome, Unreadable)
        assert outcome.reason == "vanished"
    assert contents(outcomes) == {"there": b"1"}
    assert [listing.reason for listing in listings if isinstance(listing, Unreadable)] == ["vanished"]
    assert isinstance(looked["gone"], Unreadable)
    assert isinstance(looked["there"], Looked)


def test_a_file_that_became_a_folder_and_the_reverse_are_told_apart(place: Place) -> None:
    place.put("folder/x", b"1")
    with place.client() as client:
        outcome = read_one(client, "folder", 1)
        (listing,) = client.list_directories(["folder/x"], security=False)
    assert isinstance(outcome, Unreadable)
    assert outcome.reason == "is-a-directory"
    assert isinstance(listing, Unreadable)
    assert listing.reason == "not-a-directory"


def test_a_path_that_smb_cannot_say_is_unreadable_and_nothing_else_suffers(place: Place) -> None:
    place.put("x", b"1")
    too_long = "/".join(["y" * 200] * 400)
    with place.client() as client:
        outcomes = read(client, {too_long: 1, "x": 1})
    assert isinstance(outcomes[too_long], Unreadable)
    assert outcomes[too_long].reason == "name-invalid"  # type: ignore[union-attr]  # asserted above
    assert contents({"x": outcomes["x"]}) == {"x": b"1"}


def test_a_stream_goes_to_the_real_end_of_a_file_that_grows(place: Place) -> None:
    file = place.put("log", b"a" * 3_000_000)
    with place.client() as client, client.open_stream("log", chunk_bytes=65536, ahead_bytes=131072) as stream:
        assert stream.opened.size == 3_000_000
        total = len(next(stream))
        with file.open("ab") as more:
            more.write(b"b" * 1_000_000)
        for view in stream:
            total += len(view)
    assert total == 4_000_000


def test_a_stream_ends_where_a_shrunken_file_ends(place: Place) -> None:
    file = place.put("log", b"a" * 3_000_000)
    with place.client() as client, client.open_stream("log", chunk_bytes=65536, ahead_bytes=131072) as stream:
        total = len(next(stream))
        os.truncate(file, 1_000_000)
        for view in stream:
            total += len(view)
    assert total == 1_000_000


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 131072, 1_000_000])
def test_a_stream_gives_files_of_every_size_around_its_pieces(place: Place, size: int) -> None:
    content = random.Random(size).randbytes(size)
    place.put("x", content)
    with place.client() as client:
        with client.open_stream("x", chunk_bytes=65536, ahead_bytes=262144) as stream:
            assert b"".join(bytes(view) for view in stream) == content
        with client.open_stream("x", offset=size + 10) as stream:
            assert list(stream) == []


def test_a_stream_may_be_read_between_two_outcomes(place: Place) -> None:
    small = {f"s{number}": random.Random(number).randbytes(5000) for number in range(300)}
    for path, content in small.items():
        place.put(path, content)
    big = random.Random("big").randbytes(5_000_000)
    place.put("big", big)
    got: dict[str, bytes] = {}
    with place.client(window=64) as client:
        requests = [ReadRequest(path, len(content)) for path, content in small.items()]
        for outcome in client.read_files(feed(requests), small_limit_bytes=1 << 20, security=True):
            assert isinstance(outcome, FileRead)
            got[outcome.request.path] = bytes(outcome.data)
            if len(got) in (1, 100, 250):
                with client.open_stream("big") as stream:
                    assert b"".join(bytes(view) for view in stream) == big
    assert got == small


def test_data_of_a_small_file_stays_when_others_follow(place: Place) -> None:
    tree = {f"f{number}": random.Random(number).randbytes(20_000) for number in range(500)}
    for path, content in tree.items():
        place.put(path, content)
    with place.client() as client:
        outcomes = read(client, {path: len(content) for path, content in tree.items()})
    assert contents(outcomes) == tree


def test_reading_in_batches_that_come_late_ends_only_when_told(place: Place) -> None:
    for number in range(20):
        place.put(str(number), str(number).encode())
    script: list[ReadRequest | None] = []
    for number in range(20):
        script += [ReadRequest(str(number), 1), None]
    asked: list[bool] = []

    def following(wait: bool) -> ReadRequest | None:
        asked.append(wait)
        while script:
            request = script.pop(0)
            if request is not None or not wait:
                return request
        raise EOFError

    with place.client() as client:
        outcomes = list(client.read_files(following, small_limit_bytes=100, security=False))
    assert len(outcomes) == 20
    assert asked[-1]


def test_free_space_is_told(place: Place) -> None:
    with place.client() as client:
        free = client.free_space()
    usage = os.statvfs(place.folder)
    assert free is not None
    assert 0.5 < free / (usage.f_bavail * usage.f_frsize) < 2


def test_stat_tells_what_is_there(place: Place) -> None:
    place.put("x", b"12345")
    with place.client() as client:
        found = client.stat("x")
        assert isinstance(found, Opened)
        assert found.size == 5
        assert client.stat("y") is None
        assert client.stat("no/such") is None


def test_a_link_out_of_the_share_is_not_followed_fault_23(place: Place, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("secret")
    (place.folder / "link").symlink_to(tmp_path / "outside")
    with place.client() as client:
        outcome = read_one(client, "link", 1)
    assert isinstance(outcome, Unreadable)


def test_a_name_that_is_no_utf8_on_the_server_harms_nothing_else(place: Place) -> None:
    place.put("good", b"1")
    Path(os.fsdecode(os.fsencode(place.folder) + b"/bad\xff\xfename")).write_bytes(b"2")
    with place.client() as client:
        listed, failed = walk(client)
        assert not failed
        assert read_one(client, "good", 1)
    assert "good" in files(listed)


def test_a_window_of_one_reads_the_same(place: Place) -> None:
    tree = {f"{number % 5}/f{number}": random.Random(number).randbytes(number * 37) for number in range(100)}
    for path, content in tree.items():
        place.put(path, content)
    with place.client(window=1) as client:
        listed, _ = walk(client)
        assert contents(read(client, files(listed))) == tree
        assert stream_sha256(client, "4/f99")
