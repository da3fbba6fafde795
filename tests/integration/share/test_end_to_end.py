"""From SMB into a repository that stock restic reads, and back, byte for byte."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.share.conftest import Site, contents
from tests.standins.restic import StockRestic

CONFIGURATIONS = [
    ("signing-only", "data"),
    ("signing-cmac", "data"),
    ("encryption-required", "data"),
    ("encryption-on-the-share", "sealed"),
    ("smb-2.1", "data"),
    ("smb-3.0", "data"),
    ("smb-3.0-encrypted", "data"),
    ("smb-3.0.2", "data"),
    ("smb-3.1.1", "data"),
]
ODD = [
    "naïve – 日本語 🛟.txt",
    "it's (100%) [odd] #1 & ~$.txt",
    "é.txt",
    "e\u0301.txt",
    "n" * 200,
    ".hidden",
    "spaces in it",
]


def _fill(site: Site) -> None:
    made = random.Random(2026)
    for name in ODD:
        site.put(f"odd/{name}", name.encode())
        site.put(f"odd/in {name[:100]}/{name}", name.encode() * 3)
    for number in range(150):
        site.put(f"0a/site{number % 7}/wwwroot/{number}.html", made.randbytes(made.randrange(4000)))
        site.put(f"0b/site{number % 3}/bin/framework{number % 9}.dll", b"the same everywhere" * 300)
    site.put("empty.txt", b"")
    site.put("log/grown.log", made.randbytes(700_000))
    site.put("zip/big.zip", made.randbytes(20 << 20))
    site.put("zip/zeros.bin", bytes(9 << 20))
    (site.folder / "empty/and/deep").mkdir(parents=True)


@pytest.mark.parametrize(("configuration", "share"), CONFIGURATIONS)
def test_what_was_backed_up_is_what_is_there(
    site_on: Callable[[str], Site], newest_restic: StockRestic, tmp_path: Path, configuration: str, share: str
) -> None:
    site = site_on(configuration)
    site.use_share(share)
    _fill(site)

    answer = site.back_up()

    files = [path for path in site.folder.rglob("*") if path.is_file()]
    assert answer["components"]["share"]["files"] == len(files)
    repository = site.judged_by(newest_restic, tmp_path / "repository")
    repository.check()
    repository.rewrite_changes_nothing()
    restored = repository.restore(tmp_path / "restored") / site.name
    assert contents(restored) == contents(site.folder)
    for path in files:
        assert (restored / path.relative_to(site.folder)).stat().st_mtime_ns // 100 == path.stat().st_mtime_ns // 100

    again = site.back_up()

    assert again["components"]["share"]["unchanged"] == len(files)
    assert again["components"]["share"]["bytes_read"] == 0


def test_what_windows_knows_of_files_is_in_the_tree_the_root_s_too(
    site: Site, newest_restic: StockRestic, tmp_path: Path
) -> None:
    site.put("folder/file.txt", b"x")
    site.put("folder/big.bin", bytes(3 << 20))
    site.back_up()

    for node in site.judged_by(newest_restic, tmp_path / "repository").ls():
        generic = node.get("generic_attributes")
        if generic is None:  # restic 0.14 does not show them
            continue
        descriptor = base64.b64decode(generic["windows.security_descriptor"])
        assert descriptor[0] == 1
        assert "windows.creation_time" in generic
        assert "windows.file_attributes" in generic


def test_descriptors_are_left_out_where_the_setting_says_so(site: Site) -> None:
    site.put("file.txt", b"x")
    site.set(SHARE_ACL="false")

    site.back_up()

    record = site.run("show", site.run("points")[1]["points"][0]["point"])[1]
    assert record["components"]["share"]["without_security"]["count"] == 0


def test_changed_new_renamed_and_deleted_files(site: Site, newest_restic: StockRestic, tmp_path: Path) -> None:
    for number in range(30):
        site.put(f"site{number}/index.html", b"page %d" % number)
    site.put("big.bin", random.Random(1).randbytes(6 << 20))
    site.back_up()
    site.put("site1/index.html", b"changed, and longer")
    (site.folder / "site2/index.html").unlink()
    (site.folder / "site3/index.html").rename(site.folder / "site3/default.html")
    (site.folder / "site4").rename(site.folder / "renamed")
    site.put("new/file.txt", b"new")
    site.put("big.bin", (site.folder / "big.bin").read_bytes()[:-5] + b"other")

    second = site.back_up()

    assert second["components"]["share"]["files"] == 31
    assert second["components"]["share"]["unchanged"] == 26
    repository = site.judged_by(newest_restic, tmp_path / "repository")
    repository.check()
    assert contents(repository.restore(tmp_path / "restored") / site.name) == contents(site.folder)


def test_every_file_is_looked_at_where_the_setting_says_so(site: Site) -> None:
    for number in range(200):
        site.put(f"site{number % 5}/{number}.html", b"page %d" % number)
    site.set(SHARE_LOOK_EVERY="0s")
    site.back_up()

    again = site.back_up()

    assert (again["components"]["share"]["unchanged"], again["components"]["share"]["bytes_read"]) == (200, 0)


def test_shards_side_by_side_over_smb(site: Site, newest_restic: StockRestic, tmp_path: Path) -> None:
    _fill(site)

    site.back_up("--workers", "3")

    repository = site.judged_by(newest_restic, tmp_path / "repository")
    repository.check()
    repository.rewrite_changes_nothing()
    assert contents(repository.restore(tmp_path / "restored") / site.name) == contents(site.folder)


def test_names_that_differ_in_case_only_fault_23(site: Site, newest_restic: StockRestic, tmp_path: Path) -> None:
    """Fault 23: a file server of Unix may hold them; each keeps its own content."""
    site.put("Readme.md", b"same length 1")
    site.put("README.md", b"same length 2")
    site.put("Folder/file.txt", b"one")
    site.put("FOLDER/file.txt", b"two")

    site.back_up()

    repository = site.judged_by(newest_restic, tmp_path / "repository")
    assert contents(repository.restore(tmp_path / "restored") / site.name) == contents(site.folder)


def test_files_that_the_user_may_not_read_make_the_point_partial_fault_24(site: Site) -> None:
    """Fault 24: on ``limited`` the server acts as ``nobody``, so that modes deny."""
    site.put("open/fine.txt", b"fine").chmod(0o644)
    site.put("open/denied.txt", b"denied").chmod(0o000)
    site.put("closed/inside.txt", b"inside")
    (site.folder / "open").chmod(0o755)
    (site.folder / "closed").chmod(0o000)
    site.use_share("limited")

    code, answer = site.run("backup")

    assert (code, answer["status"]) == (3, "partial")
    assert {(reason["code"], reason["path"]) for reason in answer["reasons"]} == {
        ("unreadable-file", "open/denied.txt"),
        ("unreadable-file", "closed"),
    }
    assert answer["components"]["share"]["files"] == 1
    site.set(SHARE_TOLERATE="**/denied.txt,closed")
    assert site.run("backup")[0] == 0


# --- restore over SMB ------------------------------------------------------------------------------------------------


def test_a_deleted_share_comes_back_over_smb(site: Site, tmp_path: Path) -> None:
    _fill(site)
    before = contents(site.folder)
    site.back_up()
    for path in sorted(site.folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()

    code, answer = site.run("restore", "share")

    assert (code, answer["status"], answer["reasons"]) == (0, "complete", [])
    assert contents(site.folder) == before
    code, again = site.run("restore", "share")
    assert (code, again["restored"], again["unchanged"]) == (0, 0, answer["restored"])


def test_a_restore_to_another_smb_folder_makes_it(site: Site) -> None:
    site.put("0a/index.html", b"page")
    site.put("0a/big.bin", random.Random(3).randbytes(3 << 20))
    site.back_up()

    code, answer = site.run("restore", "share", "--to", site.samba.url("data", f"{site.name}-back/again"))

    assert (code, answer["restored"]) == (0, 2)
    assert contents(site.samba.root / f"{site.name}-back/again") == contents(site.folder)


def test_over_smb_too_what_differs_is_kept_unless_told_otherwise(site: Site) -> None:
    site.put("a.txt", b"as it was")
    site.put("b.bin", bytes(2 << 20))
    site.back_up()
    site.put("a.txt", b"edited")
    site.put("b.bin", b"edited too")

    code, answer = site.run("restore", "share")
    assert (code, sorted(answer["skipped_names"])) == (3, ["a.txt", "b.bin"])
    assert (site.folder / "a.txt").read_bytes() == b"edited"

    code, answer = site.run("restore", "share", "--overwrite")
    assert (code, answer["restored"]) == (0, 2)
    assert contents(site.folder) == {"a.txt": b"as it was", "b.bin": bytes(2 << 20)}


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "code", "setting"),
    [
        ({"SHARE_PASSWORD": "wrong"}, "login-refused", "LIFEBOAT_SHARE_PASSWORD"),
        ({"SHARE_USERNAME": "nobody-here"}, "login-refused", "LIFEBOAT_SHARE_PASSWORD"),
        ({"SHARE_URL": "no-such-share"}, "source-not-found", "LIFEBOAT_SHARE_URL"),
        ({"SHARE_URL": "data/no/such/path"}, "source-not-found", "LIFEBOAT_SHARE_URL"),
    ],
)
def test_a_share_that_cannot_be_used_is_a_failed_point(
    site: Site, settings: dict[str, str], code: str, setting: str
) -> None:
    for name, value in settings.items():
        site.set(**{name: site.samba.url(value) if name == "SHARE_URL" else value})

    exit_code, answer = site.run("backup")

    assert (exit_code, answer["status"], answer["snapshot"]) == (1, "failed", None)
    (reason,) = answer["reasons"]
    assert (reason["code"], reason["setting"]) in ((code, setting), (code, setting.replace("PASSWORD", "USERNAME")))
    assert reason["remedy"]
    assert "wrong" not in reason["message"].replace("wrong user name or password", "")


def test_a_wrong_password_for_the_target_of_a_restore_names_its_own_setting(site: Site) -> None:
    site.put("a.txt", b"x")
    site.back_up()
    site.set(RESTORE_USERNAME="lifeboat", RESTORE_PASSWORD="wrong")

    code, answer = site.run("restore", "share", "--to", site.samba.url("data", f"{site.name}-b"))

    assert code == 1
    assert answer["reasons"][0]["setting"].startswith("LIFEBOAT_RESTORE_")
