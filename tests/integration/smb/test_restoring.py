"""What is written to a share: whole, under its own name, with its times, attributes and rights."""

from __future__ import annotations

import random

import pytest

from shared.smb.client import SmbClient
from shared.smb.types import FileRead, FileUnwritable, Opened, Unwritten, WriteRequest, Written
from tests.integration.smb.conftest import Place
from tests.integration.smb.helpers import read_one, walk, write
from tests.integration.smb.test_reading import descriptor
from tests.standins.delay import Relay

CREATED = 131_000_000_000_000_000
WRITTEN = 132_000_000_012_345_670


def request(
    path: str, data: bytes, *, attributes: int = 0x20, security: bytes | None = None, replace: bool = False
) -> WriteRequest:
    return WriteRequest(path, f"{path}.lifeboat-part", data, attributes, CREATED, WRITTEN, security, replace)


def test_a_file_has_its_content_times_and_attributes(place: Place) -> None:
    data = random.Random(1).randbytes(500_000)
    with place.client() as client:
        outcomes = write(client, [request("x", data), request("empty", b""), request("hidden", b"h", attributes=0x23)])
        assert all(isinstance(outcome, Written) for outcome in outcomes.values()), outcomes
        for path, size, attributes in (("x", 500_000, 0x20), ("empty", 0, 0x20), ("hidden", 1, 0x23)):
            assert client.stat(path) == Opened(attributes, size, CREATED, WRITTEN, client.stat(path).change)  # type: ignore[union-attr]  # it is there
    assert (place.folder / "x").read_bytes() == data
    assert sorted(path.name for path in place.folder.iterdir()) == ["empty", "hidden", "x"]


def test_thousands_of_files_are_written(place: Place) -> None:
    tree = {f"f{number}": random.Random(number).randbytes(number % 3000) for number in range(2000)}
    with place.client() as client:
        outcomes = write(client, [request(path, data) for path, data in tree.items()])
    assert all(isinstance(outcome, Written) for outcome in outcomes.values())
    assert {path.name: path.read_bytes() for path in place.folder.iterdir()} == tree


def test_an_existing_file_stays_unless_it_may_be_replaced(place: Place) -> None:
    place.put("x", b"old")
    with place.client() as client:
        kept = write(client, [request("x", b"new")])["x"]
        assert isinstance(kept, Unwritten)
        assert kept.reason == "exists"
        assert (place.folder / "x").read_bytes() == b"old"
        assert isinstance(write(client, [request("x", b"new", replace=True)])["x"], Written)
    assert (place.folder / "x").read_bytes() == b"new"
    assert [path.name for path in place.folder.iterdir()] == ["x"]


def test_an_older_temporary_file_is_replaced(place: Place) -> None:
    place.put("x.lifeboat-part", b"what a killed restore left behind, longer than the new one")
    with place.client() as client:
        assert isinstance(write(client, [request("x", b"new")])["x"], Written)
    assert [path.read_bytes() for path in place.folder.iterdir()] == [b"new"]


def test_rights_are_written_with_files_and_folders(place: Place) -> None:
    rights = descriptor(0x00120089)
    with place.client() as client:
        written = write(client, [request("x", b"1", security=rights)])["x"]
        assert isinstance(written, Written)
        assert written.security == "all"
        client.make_directory("folder")
        assert client.set_security("folder", rights) == "all"
        got = read_one(client, "x", 1, security=True)
        listed, _ = walk(client, security=True)
    assert isinstance(got, FileRead)
    for found in (got.security, listed["folder"].security):
        assert found is not None
        assert bytes.fromhex("89001200") in found


def test_a_user_who_may_not_set_owners_sets_what_he_may_and_that_is_said(place: Place) -> None:
    place.put("x", b"1")
    place.put("y", b"1")
    all_but_write_owner = 0x001701FF
    with place.client() as client:
        client.set_security("x", descriptor(all_but_write_owner))
        client.set_security("y", descriptor(0x00120089))
    with place.client("limitedacl") as client:
        assert client.set_security("x", descriptor(0x00120089)) == "dacl"
        with pytest.raises(FileUnwritable) as error:
            client.set_security("y", descriptor(0x001F01FF))
        assert error.value.reason == "access-denied"


def test_what_may_not_be_written_is_said_and_the_rest_is_written(place: Place) -> None:
    (place.folder / "closed").mkdir(mode=0o755)
    with place.client("limited") as client:
        outcomes = write(client, [request("closed/x", b"1"), request("y", b"2"), request("no/folder/z", b"3")])
    denied, written, nowhere = outcomes["closed/x"], outcomes["y"], outcomes["no/folder/z"]
    assert isinstance(denied, Unwritten)
    assert denied.reason == "access-denied"
    assert isinstance(written, Written)
    assert isinstance(nowhere, Unwritten)
    assert nowhere.reason == "vanished"


def test_directories_are_made_with_their_parents(place: Place) -> None:
    with place.client() as client:
        assert client.make_directory("a/b/c")
        assert not client.make_directory("a/b/c")
        assert not client.make_directory("a")
        place.put("file", b"1")
        with pytest.raises(FileUnwritable) as error:
            client.make_directory("file")
        assert error.value.reason == "exists"
        with pytest.raises(FileUnwritable):
            client.make_directory("file/below")
    assert (place.folder / "a/b/c").is_dir()


def test_the_endpoint_itself_can_be_made(place: Place) -> None:
    with SmbClient(place.endpoint(path=f"{place.name}/new/target")) as client:
        client.connect(make_path=True)
        client.connect(make_path=True)
    assert (place.folder / "new/target").is_dir()


def test_a_large_file_is_written_and_finished(place: Place) -> None:
    data = random.Random(5).randbytes(9_000_001)
    with place.client() as client:
        with client.open_writer("part") as writer:
            for at in range(0, len(data), 1_234_567):
                writer.write(memoryview(data)[at : at + 1_234_567])
            writer.finish()
        client.set_basic_info("part", creation=CREATED, write=WRITTEN, attributes=0x20)
        client.rename("part", "large", replace=False)
        found = client.stat("large")
    assert found is not None
    assert found[:4] == (0x20, len(data), CREATED, WRITTEN)
    assert (place.folder / "large").read_bytes() == data


def test_a_sparse_file_is_written_with_gaps(place: Place) -> None:
    with place.client() as client, client.open_writer("sparse") as writer:
        writer.write(b"begin")
        writer.seek(5_000_000)
        writer.write(b"end")
        writer.seek(6_000_000)
        writer.finish()
    content = (place.folder / "sparse").read_bytes()
    assert len(content) == 6_000_000
    assert content[:5] == b"begin"
    assert content[5_000_000:5_000_003] == b"end"


def test_an_existing_longer_file_is_cut_to_what_was_written(place: Place) -> None:
    place.put("x", b"longer than the new one")
    with place.client() as client, client.open_writer("x") as writer:
        writer.write(b"short")
        writer.finish()
    assert (place.folder / "x").read_bytes() == b"short"


def test_a_writer_whose_connection_breaks_says_so_and_the_file_can_be_begun_again(place: Place) -> None:
    with Relay(place.samba.port) as relay, place.client(port=relay.port) as client:
        writer = client.open_writer("x")
        writer.write(b"a" * 1_000_000)
        relay.cut_all()
        with pytest.raises(FileUnwritable) as error:
            writer.write(b"a" * 100_000_000)
        assert error.value.reason == "disconnected"
        writer.abandon()
        with client.open_writer("x") as second:
            second.write(b"whole")
            second.finish()
    assert (place.folder / "x").read_bytes() == b"whole"


def test_rename_and_delete(place: Place) -> None:
    place.put("a", b"1")
    place.put("b", b"2")
    place.put("folder/x", b"3")
    with place.client() as client:
        with pytest.raises(FileUnwritable) as error:
            client.rename("a", "b", replace=False)
        assert error.value.reason == "exists"
        client.rename("a", "b", replace=True)
        assert client.delete("b")
        assert not client.delete("b")
        with pytest.raises(FileUnwritable) as not_empty:
            client.delete("folder")
        assert not_empty.value.reason == "not-empty"
        client.delete("folder/x")
        assert client.delete("folder")
        with pytest.raises(FileUnwritable) as gone:
            client.set_basic_info("b", creation=0, write=WRITTEN, attributes=0)
        assert gone.value.reason == "vanished"
    assert list(place.folder.iterdir()) == []


def test_a_read_only_file_is_replaced_and_deleted(place: Place) -> None:
    with place.client() as client:
        write(client, [request("x", b"1", attributes=0x21)])
        outcome = write(client, [request("x", b"2", attributes=0x21, replace=True)])["x"]
        assert isinstance(outcome, Written), outcome
        assert client.delete("x")
    assert list(place.folder.iterdir()) == []


def test_times_and_attributes_of_a_folder(place: Place) -> None:
    with place.client() as client:
        client.make_directory("folder")
        client.set_basic_info("folder", creation=CREATED, write=WRITTEN, attributes=0x12)
        found = client.stat("folder")
    assert found is not None
    assert (found.attributes, found.creation, found.write) == (0x12, CREATED, WRITTEN)
