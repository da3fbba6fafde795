"""A real share, served by Samba, at its worst: lines that break, files that come and go, names, hostile archives."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.smb.client import SmbClient
from tests.faults.test_restores import add_hostile_point
from tests.integration.share.conftest import PASSWORD, Site
from tests.integration.share.conftest import serve as serve
from tests.integration.share.conftest import site as site
from tests.integration.share.conftest import site_on as site_on
from tests.integration.smb.conftest import Place
from tests.integration.smb.test_other_clients import hold, second_client
from tests.standins.restic import StockRestic
from tests.standins.tcp_faults import FaultyLine

BIG_BYTES = 6 << 20


@pytest.fixture
def line(site: Site) -> Iterator[FaultyLine]:
    """The site is reached through it."""
    with FaultyLine(site.samba.port) as line:
        site.set(SHARE_URL=f"smb://127.0.0.1:{line.port}/data/{site.name}")
        yield line


def _fill(site: Site) -> dict[str, bytes]:
    made = random.Random(20)
    files = {f"0a/site{number % 3}/{number}.html": made.randbytes(3000) for number in range(30)}
    files["0a/big.bin"] = made.randbytes(BIG_BYTES)
    for path, content in files.items():
        site.put(path, content)
    return files


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- the line ---


@pytest.mark.parametrize(
    ("sentence", "times"),
    [
        ("cut every connection after 3000000 bytes from the server", 2),
        ("reset every connection after 2200000 bytes from the server", 2),
        ("turn a bit of every connection after 2500000 bytes from the server", 2),
        ("reset the 1st to 4th connection after 4000 bytes from the client", 1),
    ],
)
def test_a_line_that_breaks_in_the_middle_of_a_file_loses_and_doubles_nothing_fault_20(
    site: Site, line: FaultyLine, tmp_path: Path, sentence: str, times: int
) -> None:
    files = _fill(site)
    line.add(sentence)

    answer = site.back_up()

    assert line.struck >= times
    assert answer["components"]["share"]["files"] == len(files)
    assert site.run("restore", "share", "--to", str(tmp_path / "back"))[0] == 0
    assert _files(tmp_path / "back") == files


def test_a_line_that_breaks_while_a_share_is_restored_leaves_whole_files_fault_20(site: Site, line: FaultyLine) -> None:
    files = _fill(site)
    site.back_up()
    for path in files:
        (site.folder / path).unlink()
    line.add("cut the 1st connection after 2000000 bytes from the client")
    line.add("reset the 2nd connection after 60000 bytes from the client")

    code, answer = site.run("restore", "share")

    assert line.struck == 2
    there = _files(site.folder)
    assert {name: body for name, body in there.items() if name in files}.items() <= files.items()
    if code != 0:
        assert answer["reasons"][0]["remedy"]
        line.clear()
        assert site.run("restore", "share")[0] == 0
    assert {name: body for name, body in _files(site.folder).items() if name in files} == files


def test_a_server_that_is_gone_for_good_makes_no_complete_point_and_keeps_the_one_before_fault_20(
    site: Site, line: FaultyLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = _fill(site)
    first = site.back_up()["point"]
    (site.folder / "0a/big.bin").write_bytes(random.Random(1).randbytes(BIG_BYTES))
    monkeypatch.setitem(SmbClient.__init__.__kwdefaults__ or {}, "reconnect_seconds", 0.5)
    line.add("cut the next connection after 2000000 bytes from the server")
    line.add("refuse the 2nd to 9999th connection")

    code, answer = site.run("backup")

    assert (code, answer["status"]) == (1, "failed")
    assert answer["reasons"][0]["setting"] == "LIFEBOAT_SHARE_URL"
    assert site.run("restore", "share", "--point", first, "--to", str(tmp_path / "back"))[0] == 0
    assert _files(tmp_path / "back") == files


# --- files that come and go ---


def test_a_busy_share_is_backed_up_while_files_come_go_and_change_faults_21_and_22(
    site: Site, newest_restic: StockRestic, tmp_path: Path
) -> None:
    """Whatever happens to some files, those that nobody touches are kept whole, and what could not be read is named."""
    files = _fill(site)
    ended = threading.Event()

    def disturb() -> None:
        for number in itertools.cycle(range(40)):
            if ended.is_set():
                return
            file = site.put(f"busy/{number % 5}/{number}.tmp", b"%d" % number * 5000)
            file.rename(file.with_suffix(".renamed"))
            file.with_suffix(".renamed").unlink()
            (site.folder / "busy/log.txt").write_bytes(b"line\n" * (number * 1000))

    busy = threading.Thread(target=disturb)
    busy.start()
    try:
        answers = [site.run("backup") for _ in range(3)]
    finally:
        ended.set()
        busy.join()

    for code, answer in answers:
        assert (code, answer["status"]) in ((0, "complete"), (3, "partial"))
        assert {reason["path"].partition("/")[0] for reason in answer["reasons"]} <= {"busy"}
    repository = site.judged_by(newest_restic, tmp_path / "repository")
    repository.check()
    restored = _files(repository.restore(tmp_path / "restored") / site.name)
    assert {path: restored.get(path) for path in files} == files


def test_a_file_that_another_keeps_for_itself_is_named_and_in_the_next_point_fault_22(
    site: Site, tmp_path: Path
) -> None:
    files = _fill(site)
    place = Place.__new__(Place)
    place.samba, place.name, place.folder = site.samba, site.name, site.folder
    with second_client(place) as tree:
        hold(tree, place, "0a\\site1\\1.html", share=0)
        hold(tree, place, "0a\\big.bin", share=0)

        code, answer = site.run("backup")

        assert (code, answer["status"]) == (3, "partial")
        assert {(reason["code"], reason["path"]) for reason in answer["reasons"]} == {
            ("unreadable-file", "0a/site1/1.html"),
            ("unreadable-file", "0a/big.bin"),
        }
    site.back_up()
    assert site.run("restore", "share", "--to", str(tmp_path / "back"))[0] == 0
    assert _files(tmp_path / "back") == files


# --- names, and who harms by them ---


def test_names_that_windows_forbids_or_takes_for_one_cost_themselves_only_fault_23(site: Site, tmp_path: Path) -> None:
    forbidden = {"a:b.txt", "c\\d.txt"}
    alike = {"Readme.md", "README.md"}
    odd = {"CON", "dot.", "trailing ", "naïve 日本語 🛟.txt", "n" * 230}
    _back_up_a_folder(site, tmp_path / "source" / "odd", {*forbidden, *alike, *odd})
    target = f"{site.name}-back"

    code, answer = site.run("restore", "share", "--to", site.samba.url("data", target))

    assert (code, answer["status"]) == (3, "partial")
    codes = {reason["path"]: reason["code"] for reason in answer["reasons"]}
    assert {path for path, code in codes.items() if code == "unsafe-name"} == forbidden
    (second,) = codes.keys() - forbidden
    assert (second in alike, codes[second]) == (True, "exists"), "to Windows they are one name"
    there = set(_files(site.samba.root / target).values())
    assert there == {name.encode() for name in {*odd, *alike} - {second}}


def test_a_hostile_archive_writes_nothing_outside_the_smb_target_fault_37(site: Site, tmp_path: Path) -> None:
    site.put("good.txt", b"good")
    site.back_up()
    outside = tmp_path / "outside"
    outside.mkdir()
    with site.vault.judge() as share, site.vault.judge("recovery-points") as records:
        point = add_hostile_point(share, records, PASSWORD, outside)
    before = {path: path.stat().st_mtime_ns for path in site.samba.root.rglob("*")}

    code, answer = site.run("restore", "share", "--point", point, "--to", site.samba.url("data", f"{site.name}-b/t"))

    target = site.samba.root / f"{site.name}-b"
    assert (code, answer["status"]) == (3, "partial")
    assert {reason["code"] for reason in answer["reasons"]} == {"unsafe-name", "special-file"}
    assert set(_files(target)) == {"t/good.txt", "t/way-out/x"}
    new = {path for path in site.samba.root.rglob("*") if target not in (path, *path.parents)}
    assert new == before.keys()
    assert list(outside.iterdir()) == []


def _back_up_a_folder(site: Site, folder: Path, names: set[str]) -> None:
    """In place of the site, a folder of this machine, which may hold any name; each file holds its own name."""
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(name.encode())
    site.set(SHARE_URL=folder.as_uri())
    site.back_up()
