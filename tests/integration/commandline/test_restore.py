"""``restore share`` into folders: what is there already, what is damaged, which point."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.conftest import Vault
from tests.integration.commandline.conftest import CommandLine


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "restored"


def test_a_bare_machine_needs_no_more_than_it_uses(lifeboat_in: CommandLine, target: Path) -> None:
    point = lifeboat_in("backup").json["point"]
    lifeboat_in.unset("SHARE_URL")

    answer = lifeboat_in("restore", "share", "--to", str(target))

    assert (answer.code, answer.status, answer.reasons) == (0, "complete", [])
    assert answer.json["point"] == point
    assert (answer.json["restored"], answer.json["unchanged"], answer.json["skipped"]) == (10, 0, 0)
    assert answer.json["bytes"] == sum(map(len, lifeboat_in.contents().values()))
    assert lifeboat_in.contents(target) == lifeboat_in.contents()
    for path in lifeboat_in.share.rglob("*"):
        assert (target / path.relative_to(lifeboat_in.share)).stat().st_mtime_ns == path.stat().st_mtime_ns


def test_without_a_target_it_goes_back_to_the_share(lifeboat_in: CommandLine) -> None:
    lifeboat_in("backup")
    before = lifeboat_in.contents()
    shutil.rmtree(lifeboat_in.share / "site3")
    (lifeboat_in.share / "added.txt").write_text("since then")

    answer = lifeboat_in("restore", "share")

    assert answer.code == 0
    assert (answer.json["restored"], answer.json["unchanged"]) == (1, 9)
    assert lifeboat_in.contents() == {**before, "added.txt": b"since then"}


def test_what_differs_is_kept_unless_told_otherwise(lifeboat_in: CommandLine, target: Path) -> None:
    lifeboat_in("backup")
    lifeboat_in("restore", "share", "--to", str(target))
    (target / "site1/index.html").write_text("edited here")

    kept = lifeboat_in("restore", "share", "--to", str(target))

    assert (kept.code, kept.status) == (3, "partial")
    assert (kept.json["restored"], kept.json["unchanged"], kept.json["skipped"]) == (0, 9, 1)
    assert kept.json["skipped_names"] == ["site1/index.html"]
    assert (kept.codes, kept.reasons[0]["path"]) == (["exists"], "site1/index.html")
    assert "--overwrite" in kept.reasons[0]["remedy"]
    assert (target / "site1/index.html").read_text() == "edited here"

    replaced = lifeboat_in("restore", "share", "--to", str(target), "--overwrite")

    assert (replaced.code, replaced.json["restored"], replaced.json["unchanged"]) == (0, 1, 9)
    assert lifeboat_in.contents(target) == lifeboat_in.contents()


def test_a_file_of_the_same_size_and_another_time_differs(lifeboat_in: CommandLine, target: Path) -> None:
    lifeboat_in("backup")
    lifeboat_in("restore", "share", "--to", str(target))
    os.utime(target / "site1/index.html", ns=(0, 0))

    assert lifeboat_in("restore", "share", "--to", str(target)).json["skipped_names"] == ["site1/index.html"]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["site1/**"], {"site1/index.html"}),
        (["site1"], {"site1/index.html"}),
        (["SITE[1]/*", "Site2/INDEX.HTML"], {"site2/index.html"}),
        (["**/index.html"], {f"site{number}/index.html" for number in range(10)}),
        (["*/index.html", "nothing"], {f"site{number}/index.html" for number in range(10)}),
        (["index.html"], set()),
    ],
)
def test_include_narrows_what_is_restored(
    lifeboat_in: CommandLine, target: Path, patterns: list[str], expected: set[str]
) -> None:
    lifeboat_in("backup")

    options = [option for pattern in patterns for option in ("--include", pattern)]
    answer = lifeboat_in("restore", "share", "--to", str(target), *options)

    assert answer.code == 0
    assert set(lifeboat_in.contents(target)) == expected
    assert {path.name for path in target.glob("*")} == {name.split("/")[0] for name in expected}


def test_an_interrupted_restore_is_simply_run_again(lifeboat_in: CommandLine, vault: Vault, target: Path) -> None:
    for number in range(3):
        (lifeboat_in.share / f"big{number}.bin").write_bytes(os.urandom(18 << 20))
    lifeboat_in("backup")
    vault.faults.add("answer the 4th get under share/data/ with 403 AuthorizationFailure")

    interrupted = lifeboat_in("restore", "share", "--to", str(target))
    assert interrupted.code == 1
    vault.faults.clear()
    again = lifeboat_in("restore", "share", "--to", str(target))

    assert again.code == 0
    assert again.json["restored"] + again.json["unchanged"] == 13
    assert lifeboat_in.contents(target) == lifeboat_in.contents(), "and no temporary file is left"


# --- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["flipped", "gone", "cut"])
def test_a_damaged_pack_costs_only_the_files_that_need_it_faults_5_6_and_8(
    lifeboat_in: CommandLine, vault: Vault, target: Path, damage: str
) -> None:
    """Faults 5, 6, 8."""
    good = lifeboat_in.contents()
    lifeboat_in("backup")
    with vault.judge() as store:
        first = {blob.name for blob in store.list("data/")}
    lifeboat_in.fill("later/small.txt")
    (lifeboat_in.share / "later/big.bin").write_bytes(os.urandom(3 << 20))
    lifeboat_in("backup")
    damaged = set()
    with vault.judge() as store:
        for blob in list(store.list("data/")):
            body = store.get(blob.name)
            if blob.name not in first and len(body) > 1 << 20:  # the data, not the trees
                damaged.add(f"share/{blob.name}".removeprefix("share/"))
                store.delete(blob.name)
                if damage == "flipped":
                    store.put(blob.name, body[:20] + bytes([body[20] ^ 1]) + body[21:])
                elif damage == "cut":
                    store.put(blob.name, body[:100])

    answer = lifeboat_in("restore", "share", "--to", str(target))

    assert (answer.code, answer.status) == (3, "partial")
    assert damaged
    named = {reason["path"] for reason in answer.reasons}
    assert named <= {"later/small.txt", "later/big.bin"}
    assert named
    assert set(answer.codes) == {"damaged"}
    assert {reason["object"] for reason in answer.reasons} <= damaged
    restored = lifeboat_in.contents(target)
    assert good.items() <= restored.items()
    assert restored.items() <= lifeboat_in.contents().items(), "never a wrong file, and nothing temporary"
    assert named == lifeboat_in.contents().keys() - restored.keys()


# --- what stands in the way ------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="links are made by administrators there")
@pytest.mark.parametrize("options", [[], ["--overwrite"], ["--include", "site1/**"]], ids=" ".join)
def test_a_link_inside_the_target_is_not_written_through(
    lifeboat_in: CommandLine, target: Path, tmp_path: Path, options: list[str]
) -> None:
    """Invariant 5: a restore writes nothing outside its target."""
    lifeboat_in("backup")
    outside = tmp_path / "outside"
    outside.mkdir()
    target.mkdir()
    (target / "site1").symlink_to(outside, target_is_directory=True)

    answer = lifeboat_in("restore", "share", "--to", str(target), *options)

    assert answer.code in (1, 3)
    assert any(reason["path"].startswith("site1") for reason in answer.reasons)
    assert list(outside.iterdir()) == []
    assert (target / "site1").is_symlink()


@pytest.mark.skipif(os.name == "nt", reason="links are made by administrators there")
@pytest.mark.parametrize("options", [[], ["--overwrite"]], ids=["keep", "overwrite"])
def test_a_link_in_the_place_of_a_file_is_never_followed(
    lifeboat_in: CommandLine, target: Path, tmp_path: Path, options: list[str]
) -> None:
    lifeboat_in("backup")
    precious = tmp_path / "precious.txt"
    precious.write_text("not yours")
    (target / "site1").mkdir(parents=True)
    (target / "site1/index.html").symlink_to(precious)

    answer = lifeboat_in("restore", "share", "--to", str(target), *options)

    assert precious.read_text() == "not yours"
    assert answer.code == (0 if options else 3)
    assert (target / "site1/index.html").is_symlink() is not bool(options)


def test_a_file_in_the_place_of_a_folder_is_kept_and_named(lifeboat_in: CommandLine, target: Path) -> None:
    lifeboat_in("backup")
    target.mkdir()
    (target / "site1").write_text("a file")

    answer = lifeboat_in("restore", "share", "--to", str(target), "--overwrite")

    assert (answer.code, answer.json["restored"]) == (3, 9)
    assert answer.reasons[0]["path"] == "site1"
    assert (target / "site1").read_text() == "a file"


def test_a_folder_in_the_place_of_a_file_is_kept_and_named(lifeboat_in: CommandLine, target: Path) -> None:
    lifeboat_in("backup")
    (target / "site1/index.html").mkdir(parents=True)

    answer = lifeboat_in("restore", "share", "--to", str(target), "--overwrite")

    assert (answer.code, answer.json["skipped_names"]) == (3, ["site1/index.html"])
    assert (target / "site1/index.html").is_dir()


def test_a_target_that_cannot_be_made_is_told(lifeboat_in: CommandLine, tmp_path: Path) -> None:
    lifeboat_in("backup")
    (tmp_path / "file").write_text("no folder")

    answer = lifeboat_in("restore", "share", "--to", str(tmp_path / "file/inside"))

    assert (answer.code, answer.codes) == (1, ["target-failed"])
    assert "--to" in answer.reasons[0]["remedy"]


@pytest.mark.parametrize("to", ["smb://", "smb://server", "smb://u:p@server/share", "smb://server/share/../x"])
def test_an_smb_target_that_is_none_is_wrong_usage(lifeboat_in: CommandLine, to: str) -> None:
    lifeboat_in.set(RESTORE_USERNAME="u", RESTORE_PASSWORD="p")
    lifeboat_in("backup")

    answer = lifeboat_in("restore", "share", "--to", to)

    assert (answer.code, answer.codes) == (2, ["wrong-usage"])


# --- which point -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["", "  ", "file://", "FILE:"])
def test_a_target_that_is_empty_is_not_the_folder_where_the_command_runs(
    lifeboat_in: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, to: str
) -> None:
    lifeboat_in.fill("a.txt")
    lifeboat_in("backup")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    answer = lifeboat_in("restore", "share", "--to", to)

    assert (answer.code, answer.codes) == (2, ["wrong-usage"])
    assert "--share-to" in answer.reasons[0]["message"]
    assert list(here.iterdir()) == []
    assert lifeboat_in("restore", "share", "--to", ".").code == 0
    assert lifeboat_in.contents(here) == lifeboat_in.contents()


def test_the_newest_usable_point_is_taken_and_newer_ones_are_told(lifeboat_in: CommandLine, target: Path) -> None:
    usable = lifeboat_in("backup").json["point"]
    moved = lifeboat_in.share.rename(lifeboat_in.share.with_name("aside"))
    lifeboat_in.share.mkdir()
    suspect = lifeboat_in("backup").json["point"]
    lifeboat_in.share.rmdir()
    failed = lifeboat_in("backup").json["point"]

    answer = lifeboat_in("restore", "share", "--to", str(target))

    assert (answer.code, answer.json["point"]) == (0, usable)
    notes = " ".join(answer.json["notes"])
    assert suspect in notes
    assert failed in notes
    assert lifeboat_in.contents(target) == lifeboat_in.contents(moved)


def test_an_older_point_by_its_id(lifeboat_in: CommandLine, target: Path) -> None:
    before = lifeboat_in.contents()
    older = lifeboat_in("backup").json["point"]
    lifeboat_in.fill("new.txt")
    lifeboat_in("backup")

    answer = lifeboat_in("restore", "share", "--point", older, "--to", str(target))

    assert answer.json["point"] == older
    assert lifeboat_in.contents(target) == before


def test_a_point_without_a_snapshot_is_wrong_usage(lifeboat_in: CommandLine, target: Path) -> None:
    lifeboat_in("backup")
    lifeboat_in.share.rename(lifeboat_in.share.with_name("aside"))
    failed = lifeboat_in("backup").json["point"]

    answer = lifeboat_in("restore", "share", "--point", failed, "--to", str(target))

    assert (answer.code, answer.codes) == (2, ["wrong-usage"])
    assert not target.exists()


@pytest.mark.parametrize("point", ["yesterday", "20990101T000000Z-abcdef", "../init"])
def test_a_point_that_is_none_is_wrong_usage(lifeboat_in: CommandLine, target: Path, point: str) -> None:
    lifeboat_in("backup")

    answer = lifeboat_in("restore", "share", "--point", point, "--to", str(target))

    assert (answer.code, answer.codes) == (2, ["wrong-usage"])
    assert not target.exists()


def test_people_are_told_what_was_done(lifeboat_in: CommandLine, target: Path) -> None:
    lifeboat_in("backup")

    code, out, _ = lifeboat_in.people("restore", "share", "--to", str(target))

    assert code == 0
    assert "restored 10 files" in out
    assert str(target) in out


def test_a_share_is_brought_back_to_itself_from_its_own_points_and_not_from_those_of_another(
    lifeboat_in: CommandLine, tmp_path: Path
) -> None:
    own = lifeboat_in("backup").json["point"]
    other = tmp_path / "Other"
    other.mkdir()
    (other / "theirs.txt").write_text("of another share")
    lifeboat_in.set(SHARE_URL=other.as_uri())
    assert lifeboat_in("backup", "--allow-shrink").code == 0
    lifeboat_in.set(SHARE_URL=lifeboat_in.share.as_uri())

    answer = lifeboat_in("restore", "share")

    assert (answer.code, answer.json["point"]) == (0, own)
    assert not (lifeboat_in.share / "theirs.txt").exists()
    assert any("another share" in note for note in answer.json["notes"])
