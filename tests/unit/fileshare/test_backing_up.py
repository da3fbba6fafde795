"""One snapshot of a share: what is in it, and what is said of what is not."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from shared.errors import SourceNotFound, SourceUnreachable
from shared.fileshare.local_source import LocalSource
from tests.standins.memory_share import DESCRIPTOR, MemoryShare
from tests.standins.restic import StockRestic
from tests.unit.fileshare.helpers import PASSWORD, Bench, paths, share_settings


def test_a_snapshot_holds_every_file_byte_for_byte(bench: Bench, share: MemoryShare) -> None:
    joined = bench.back_up(share.open)

    assert bench.contents(joined["snapshot"]) == share.content()
    folders = {path for path, node in bench.nodes(joined["snapshot"]).items() if node["type"] == "dir"}
    assert folders == set(share.folders)
    assert joined["outcome"]["unreadable"]["count"] == 0


def test_the_share_is_one_folder_named_after_the_last_part_of_its_url(bench: Bench, share: MemoryShare) -> None:
    share.name = "x"

    joined = bench.back_up(share.open)

    assert bench.nodes(joined["snapshot"], "x")[""]["name"] == "x"
    assert joined["source"] == {"hostname": "memory", "path": "/x", "name": "x"}


def test_stock_restic_agrees_with_every_byte(bench: Bench, share: MemoryShare, newest_restic: StockRestic) -> None:
    bench.back_up(share.open)
    repository = newest_restic.on_folder(bench.path, PASSWORD)

    repository.check()
    repository.rewrite_changes_nothing()


def test_creation_time_attributes_and_descriptors_are_kept_the_root_s_too(bench: Bench, share: MemoryShare) -> None:
    joined = bench.back_up(share.open)

    for path, node in bench.nodes(joined["snapshot"]).items():
        generic = node["generic_attributes"]
        assert base64.b64decode(generic["windows.security_descriptor"]) == DESCRIPTOR, path
        assert set(generic["windows.creation_time"]) == {"LowDateTime", "HighDateTime"}
        assert generic["windows.file_attributes"] == (0x10 if node["type"] == "dir" else 0x20)


# --- what cannot be read ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["access-denied", "sharing-violation", "vanished", "io-error"])
@pytest.mark.parametrize("path", ["site0/wwwroot/page1.html", "site0/big.log"])
def test_a_file_that_cannot_be_opened_is_listed_with_its_reason(
    bench: Bench, share: MemoryShare, path: str, reason: str
) -> None:
    share.refuse(path, reason)

    joined = bench.back_up(share.open)

    assert paths(joined["outcome"], "unreadable") == {path: reason}
    assert path in joined["outcome"]["unreadable"]["first"][0]["message"]
    assert bench.contents(joined["snapshot"]).keys() == share.files.keys() - {path}


def test_a_folder_that_is_refused_is_listed_and_what_lies_beside_it_is_kept_fault_24(
    bench: Bench, share: MemoryShare
) -> None:
    share.refuse("site1/wwwroot")

    joined = bench.back_up(share.open)

    assert paths(joined["outcome"], "unreadable") == {"site1/wwwroot": "access-denied"}
    kept = bench.contents(joined["snapshot"])
    assert not any(path.startswith("site1/wwwroot") for path in kept)
    assert "site1/empty.txt" in kept


def test_a_file_that_goes_between_the_listing_and_its_open_is_listed_as_vanished_fault_22(
    bench: Bench, share: MemoryShare
) -> None:
    share.before_reading("top.txt", lambda: share.remove("top.txt"))

    joined = bench.back_up(share.open)

    assert paths(joined["outcome"], "unreadable") == {"top.txt": "vanished"}


def test_a_big_file_that_can_be_read_no_further_is_not_kept_in_part(bench: Bench, share: MemoryShare) -> None:
    share.refuse(f"site0/big.log at {1 << 20}", "io-error")

    joined = bench.back_up(share.open)

    assert paths(joined["outcome"], "unreadable") == {"site0/big.log": "io-error"}
    assert "site0/big.log" not in bench.contents(joined["snapshot"])


def test_a_big_file_that_changes_while_it_is_read_is_listed_fault_21(bench: Bench, share: MemoryShare) -> None:
    share.change_while_read("site0/big.log", b"other" * 900_000)

    joined = bench.back_up(share.open)

    assert paths(joined["outcome"], "unreadable") == {"site0/big.log": "changed-while-read"}


def test_a_big_file_that_grew_under_the_reading_is_read_again_by_the_next_run(bench: Bench, share: MemoryShare) -> None:
    share.change_while_read("site0/big.log", share.files["site0/big.log"].data + b"more" * 300_000)
    first = bench.back_up(share.open)
    share.read.clear()

    second = bench.back_up(share.open, parent=first["snapshot"])

    assert share.read == ["site0/big.log"]
    assert bench.contents(second["snapshot"]) == share.content()
    assert second["outcome"]["unreadable"]["count"] == 0


def test_a_file_that_grew_above_the_limit_for_small_ones_is_read_as_a_big_one(bench: Bench, share: MemoryShare) -> None:
    share.put("grows.txt", b"small when it was listed")
    share.put("grows.txt", b"0123456789" * 200_000, listing="stale")

    joined = bench.back_up(share.open)

    assert bench.contents(joined["snapshot"]) == share.content()
    assert bench.nodes(joined["snapshot"])["grows.txt"]["size"] == 2_000_000


def test_a_listing_with_an_old_size_does_not_cut_the_file_fault_40(bench: Bench, share: MemoryShare) -> None:
    """Fault 40: the listing shows an open file's old size."""
    share.put("open.log", b"first line\n")
    share.put("open.log", b"first line\nsecond line\n", listing="stale")

    joined = bench.back_up(share.open)

    assert bench.contents(joined["snapshot"])["open.log"] == b"first line\nsecond line\n"
    assert bench.nodes(joined["snapshot"])["open.log"]["size"] == 23


@pytest.mark.parametrize("path", ["", "site2", "top.txt", "site0/big.log"])
def test_a_denied_descriptor_is_said_and_the_content_kept(bench: Bench, share: MemoryShare, path: str) -> None:
    share.deny_security(path)

    joined = bench.back_up(share.open)

    assert paths(joined["outcome"], "without_security") == {path or "/": "access-denied"}
    assert joined["outcome"]["unreadable"]["count"] == 0
    assert bench.contents(joined["snapshot"]) == share.content()
    assert "windows.security_descriptor" not in bench.nodes(joined["snapshot"])[path]["generic_attributes"]


def test_links_and_mount_points_are_named_and_never_followed_fault_23(bench: Bench, share: MemoryShare) -> None:
    share.link("site0/to-everything")

    joined = bench.back_up(share.open)

    assert paths(joined["outcome"], "not_descended") == {"site0/to-everything": "link"}
    assert "site0/to-everything" not in share.listed
    assert "site0/to-everything" not in bench.nodes(joined["snapshot"])


def test_what_is_tolerated_is_listed_apart(bench: Bench, share: MemoryShare) -> None:
    share.put("site0/App_Data/live.ldf", b"x")
    share.refuse("site0/App_Data/live.ldf", "sharing-violation")
    share.refuse("top.txt", "sharing-violation")

    joined = bench.back_up(share.open, settings=share_settings(SHARE_TOLERATE="**/*.ldf"))

    assert paths(joined["outcome"], "tolerated") == {"site0/App_Data/live.ldf": "sharing-violation"}
    assert paths(joined["outcome"], "unreadable") == {"top.txt": "sharing-violation"}


def test_what_is_excluded_is_neither_listed_nor_read(bench: Bench, share: MemoryShare) -> None:
    settings = share_settings(SHARE_EXCLUDE="site0, *.TXT")

    joined = bench.back_up(share.open, settings=settings)

    kept = bench.nodes(joined["snapshot"])
    assert "top.txt" not in kept
    assert "site0" not in kept
    assert "site1/empty.txt" in kept, "a single star stays within one part"
    assert "site0" not in share.listed
    assert "top.txt" not in share.read


def test_only_what_is_included_is_read(bench: Bench, share: MemoryShare) -> None:
    joined = bench.back_up(share.open, settings=share_settings(SHARE_INCLUDE="**/page1.html,site2"))

    assert set(bench.contents(joined["snapshot"])) == {
        "site0/wwwroot/page1.html",
        "site1/wwwroot/page1.html",
        *(path for path in share.files if path.startswith("site2/")),
    }


# --- names -----------------------------------------------------------------------------------------------------------

ODD_NAMES = [
    "naïve – 日本語 – 🛟.txt",
    "quotes \" and ' and \\u0041",
    "tab\tand newline\n",
    "<html>&amp;\u2028\u2029",
    "n" * 255,
    "lone \ud800 surrogate",
    "\udfff",
    " leading and trailing ",
    "trailing dot.",
    "CON",
    "Straße",
    "STRASSE",
]


def test_odd_names_are_kept_as_they_are(bench: Bench, share: MemoryShare, newest_restic: StockRestic) -> None:
    for number, name in enumerate(ODD_NAMES):
        share.put(name, f"number {number}".encode())
        share.put(f"folder {name}"[:255] + f"/{name}", f"number {number} inside".encode())

    joined = bench.back_up(share.open)

    assert bench.contents(joined["snapshot"]) == share.content()
    repository = newest_restic.on_folder(bench.path, PASSWORD)
    repository.check()
    repository.rewrite_changes_nothing()


def test_names_that_differ_in_case_only_are_two_files(bench: Bench, share: MemoryShare) -> None:
    share.put("Readme.md", b"one")
    share.put("README.md", b"two")

    assert bench.contents(bench.back_up(share.open)["snapshot"]) == share.content()


@pytest.mark.parametrize("reason", ["access-denied", "vanished"])
def test_a_name_that_is_no_unicode_can_be_told_in_json_too(bench: Bench, share: MemoryShare, reason: str) -> None:
    """Reports go through JSON and to terminals, neither of which takes a lone surrogate."""
    share.put("folder \ud800/file \udfff", b"x")
    share.refuse("folder \ud800/file \udfff", reason)
    share.link("link \ud800")
    share.deny_security("top.txt")

    joined = bench.back_up(share.open)

    for kind in ("unreadable", "not_descended"):
        (line,) = joined["outcome"][kind]["first"]
        assert "\\ud800" in line["path"]
        assert "".join(line.values()).encode(), "it can be written as UTF-8"


def test_a_file_of_this_machine_whose_name_is_no_utf8_can_be_told(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "share"
    folder.mkdir()
    (folder / "fine.txt").write_bytes(b"fine")
    (folder / "latin-\udce9.txt").write_bytes(b"bytes that are no UTF-8 in the name")
    (folder / "link-\udce9").symlink_to("fine.txt")

    joined = bench.back_up(lambda _: LocalSource(folder))

    (line,) = joined["outcome"]["not_descended"]["first"]
    assert line["path"].encode() == b"link-\\udce9"
    names = {node["name"] for node in bench.nodes_raw(joined["snapshot"])}
    assert "latin-\\xe9.txt" in names


def test_a_tree_of_a_thousand_levels_is_kept(bench: Bench, share: MemoryShare) -> None:
    deep = "/".join(["d"] * 1_200)
    share.put(f"{deep}/at the bottom.txt", b"deep")

    joined = bench.back_up(share.open)

    assert bench.contents(joined["snapshot"])[f"{deep}/at the bottom.txt"] == b"deep"


# --- the source as a whole -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operations", [0, 1, 5, 12, 20, 30])
def test_a_server_that_dies_leaves_no_snapshot_and_what_is_stored_is_used_again(
    bench: Bench, share: MemoryShare, newest_restic: StockRestic, operations: int
) -> None:
    share.die_after(operations)
    with pytest.raises(SourceUnreachable):
        bench.back_up(share.open)
    assert not [name for name in bench.blob_names() if name.startswith("snapshots/")]

    share.die_after(float("inf"))
    joined = bench.back_up(share.open)

    assert bench.contents(joined["snapshot"]) == share.content()
    newest_restic.on_folder(bench.path, PASSWORD).check()


def test_a_share_whose_own_folder_is_refused_is_an_error_that_names_the_setting(
    bench: Bench, share: MemoryShare
) -> None:
    share.refuse("")

    with pytest.raises(SourceNotFound) as caught:
        bench.back_up(share.open)

    assert caught.value.setting == "LIFEBOAT_SHARE_URL"
    assert "LIFEBOAT_SHARE_USERNAME" in caught.value.remedy


def test_an_empty_share_is_a_snapshot_of_an_empty_folder(bench: Bench, newest_restic: StockRestic) -> None:
    joined = bench.back_up(MemoryShare().open)

    assert bench.contents(joined["snapshot"]) == {}
    newest_restic.on_folder(bench.path, PASSWORD).check()
