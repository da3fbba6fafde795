"""The second run: what is unchanged is not read, and what changed is not missed."""

from __future__ import annotations

import pytest

from tests.standins.memory_share import MemoryShare
from tests.standins.restic import StockRestic
from tests.unit.fileshare.helpers import PASSWORD, Bench, paths


@pytest.fixture(params=[True, False], ids=["by-folder", "by-file"], autouse=True)
def compared(bench: Bench, request: pytest.FixtureRequest) -> None:
    """By folder where the listing is as it was, or file by file where nobody remembers the listings."""
    bench.remembers_listings = request.param


@pytest.fixture
def first(bench: Bench, share: MemoryShare) -> str:
    """A snapshot of the share as it is; what was asked of the share until then is forgotten."""
    snapshot: str = bench.back_up(share.open)["snapshot"]
    share.read.clear()
    return snapshot


@pytest.mark.parametrize("shards", [1, 2, 5])
def test_an_unchanged_share_is_not_read_and_keeps_its_tree(
    bench: Bench, share: MemoryShare, first: str, shards: int
) -> None:
    second = bench.back_up(share.open, parent=first, shards=shards)

    assert share.read == []
    assert share.looked == []
    assert bench.tree_of(second["snapshot"]) == bench.tree_of(first)
    counts = second["outcome"]["counts"]
    assert (counts["files_unmodified"], counts["files_new"], counts["files_changed"]) == (len(share.files), 0, 0)
    assert counts["bytes_read"] == 0
    assert counts["data_blobs"] == 0
    assert counts["total_bytes"] == sum(map(len, share.content().values()))


@pytest.mark.parametrize("path", ["site1/wwwroot/page2.html", "site0/big.log", "site2/empty.txt"])
def test_one_changed_file_is_the_only_one_that_is_read(bench: Bench, share: MemoryShare, first: str, path: str) -> None:
    share.put(path, share.files[path].data + b"more")

    second = bench.back_up(share.open, parent=first)

    assert share.read == [path]
    assert bench.contents(second["snapshot"]) == share.content()
    assert second["outcome"]["counts"]["files_changed"] == 1


def test_a_file_of_the_same_size_and_a_new_time_is_read(bench: Bench, share: MemoryShare, first: str) -> None:
    share.put("top.txt", b"at the toP")

    assert bench.contents(bench.back_up(share.open, parent=first)["snapshot"])["top.txt"] == b"at the toP"
    assert share.read == ["top.txt"]


def test_another_file_under_an_old_name_is_read_though_size_and_times_are_the_same(
    bench: Bench, share: MemoryShare, first: str
) -> None:
    replaced = share.files["top.txt"]
    replaced.data = b"at the t0p"
    replaced.file_id = 4711

    assert bench.contents(bench.back_up(share.open, parent=first)["snapshot"])["top.txt"] == b"at the t0p"


def test_deleted_files_and_folders_are_not_in_the_next_snapshot(bench: Bench, share: MemoryShare, first: str) -> None:
    share.remove("site1")
    share.remove("top.txt")

    second = bench.back_up(share.open, parent=first)

    assert bench.contents(second["snapshot"]) == share.content()
    assert "site1" not in bench.nodes(second["snapshot"])
    assert bench.contents(first).keys() > share.files.keys(), "the earlier snapshot still has them"


def test_a_renamed_file_is_stored_once(bench: Bench, share: MemoryShare, first: str) -> None:
    share.rename("site0/big.log", "site0/big.1.log")

    second = bench.back_up(share.open, parent=first)

    assert share.read == ["site0/big.1.log"]
    assert second["outcome"]["counts"]["data_blobs"] == 0
    assert bench.contents(second["snapshot"]) == share.content()


def test_a_file_that_became_a_folder_and_a_folder_that_became_a_file(
    bench: Bench, share: MemoryShare, first: str
) -> None:
    share.remove("top.txt")
    share.put("top.txt/inside.txt", b"now a folder")
    share.remove("site1")
    share.put("site1", b"now a file")

    second = bench.back_up(share.open, parent=first)

    assert bench.contents(second["snapshot"]) == share.content()


def test_a_folder_whose_descriptor_changed_is_written_anew_without_reading_a_file(
    bench: Bench, share: MemoryShare, first: str
) -> None:
    share.deny_security("site1")

    second = bench.back_up(share.open, parent=first)

    assert share.read == []
    assert "windows.security_descriptor" not in bench.nodes(second["snapshot"])["site1"]["generic_attributes"]


# --- fault 40: a listing that shows an open file's old size and time -------------------------------------------------


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("path", ["site1/wwwroot/page2.html", "site0/big.log"])
def test_a_stale_listing_is_noticed_by_a_run_that_looks_fault_40(
    bench: Bench, share: MemoryShare, first: str, path: str, shards: int
) -> None:
    share.put(path, share.files[path].data[::-1] + b"and more", listing="stale")

    second = bench.back_up(share.open, parent=first, look=True, shards=shards)

    assert share.read == [path]
    assert sorted(share.looked) == sorted(share.files), "each file that seems unchanged is opened once"
    assert bench.contents(second["snapshot"]) == share.content()


def test_a_small_file_that_a_look_finds_to_be_big_is_read_whole(bench: Bench, share: MemoryShare, first: str) -> None:
    share.put("top.txt", b"0123456789" * 300_000, listing="stale")

    second = bench.back_up(share.open, parent=first, look=True)

    assert bench.contents(second["snapshot"])["top.txt"] == share.files["top.txt"].data


def test_a_look_at_an_unchanged_share_reads_nothing_and_changes_nothing(
    bench: Bench, share: MemoryShare, first: str
) -> None:
    second = bench.back_up(share.open, parent=first, look=True)

    assert share.read == []
    assert bench.tree_of(second["snapshot"]) == bench.tree_of(first)
    assert second["outcome"]["counts"]["files_unmodified"] == len(share.files)


def test_a_file_that_a_look_cannot_open_is_unreadable(bench: Bench, share: MemoryShare, first: str) -> None:
    share.refuse("top.txt", "sharing-violation")

    second = bench.back_up(share.open, parent=first, look=True)

    assert paths(second["outcome"], "unreadable") == {"top.txt": "sharing-violation"}


# --- what was stored is no longer all there --------------------------------------------------------------------------


@pytest.mark.parametrize("gone", ["all", "data", "trees"])
def test_files_whose_pack_is_gone_are_read_and_stored_anew_fault_41(
    bench: Bench, share: MemoryShare, first: str, gone: str
) -> None:
    """Fault 41: an index that outlives its pack."""
    trees = {location.pack.hex() for location in bench.locations(first, trees=True)}
    for pack in list((bench.path / "data").rglob("*")):
        if pack.is_file() and (gone == "all" or (pack.name in trees) == (gone == "trees")):
            pack.unlink()

    second = bench.back_up(share.open, parent=first)

    assert bench.contents(second["snapshot"]) == share.content()
    assert second["outcome"]["counts"]["total_bytes"] == sum(map(len, share.content().values()))


def test_a_parent_that_is_gone_or_damaged_counts_as_none(bench: Bench, share: MemoryShare, first: str) -> None:
    (bench.path / "snapshots" / first).write_bytes(b"no snapshot")

    second = bench.back_up(share.open, parent=first)

    assert second["outcome"]["counts"]["files_new"] == len(share.files)
    assert bench.contents(second["snapshot"]) == share.content()


def test_restic_would_write_every_tree_of_every_run_alike(
    bench: Bench, share: MemoryShare, first: str, newest_restic: StockRestic
) -> None:
    share.put("site1/wwwroot/page2.html", b"changed")
    share.remove("site2/wwwroot")
    share.put("new/file.txt", b"new")
    bench.back_up(share.open, parent=first, shards=3)

    repository = newest_restic.on_folder(bench.path, PASSWORD)
    repository.check()
    repository.rewrite_changes_nothing()
