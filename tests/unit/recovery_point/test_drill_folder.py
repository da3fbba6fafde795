"""The folder that a drill restores into is its own, and nothing of it stays."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

import pytest

from shared.errors import TargetError
from shared.recovery_point.drill_folder import LEFT_AFTER_SECONDS, PREFIX, private_folder, remove_left


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_is_for_its_owner_alone_and_gone_with_all_that_is_in_it(temporary: Path) -> None:
    with private_folder() as folder:
        assert (folder.parent, folder.stat().st_mode & 0o777) == (temporary, 0o700)
        (folder / "a").mkdir()
        (folder / "a" / "b.txt").write_text("b")
        (folder / "a" / "b.txt").chmod(0o400)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_it_is_gone_whatever_happened(temporary: Path, error: type[BaseException]) -> None:
    def fail() -> None:
        with private_folder() as folder:
            (folder / "a.txt").write_text("a")
            raise error

    with pytest.raises(error):
        fail()
    assert list(temporary.iterdir()) == []


def test_one_that_cannot_be_deleted_is_told_by_its_name(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(TargetError, match="could not be deleted: Permission denied") as told, private_folder():
        pass
    assert told.value.path is not None
    assert told.value.path.startswith(str(temporary / PREFIX))
    assert "holds files of the share" in told.value.remedy


def test_where_none_can_be_made_the_remedy_names_the_variable(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / "nowhere"))
    with pytest.raises(TargetError, match="No such file") as told, private_folder():
        pass
    assert "TMPDIR" in told.value.remedy


def aged(folder: Path, seconds: float) -> Path:
    os.utime(folder, (time.time() - seconds, time.time() - seconds))
    return folder


def test_what_a_killed_drill_left_a_day_ago_is_deleted_and_told(temporary: Path) -> None:
    left, fresh = temporary / f"{PREFIX}left", temporary / f"{PREFIX}fresh"
    for folder in (left, fresh):
        folder.mkdir()
        (folder / "secret.config").write_text("s")
    aged(left, LEFT_AFTER_SECONDS + 60)
    aged(fresh, LEFT_AFTER_SECONDS - 3600)
    assert remove_left() == [f"{left} was left by a drill that was killed: it was deleted"]
    assert list(temporary.iterdir()) == [fresh]
    assert remove_left() == []


def test_nothing_is_deleted_that_only_has_such_a_name(temporary: Path) -> None:
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept.txt").write_text("k")
    aged(elsewhere, 10 * LEFT_AFTER_SECONDS)
    (temporary / f"{PREFIX}link").symlink_to(elsewhere)
    aged_file = temporary / f"{PREFIX}file"
    aged_file.write_text("f")
    aged(aged_file, 10 * LEFT_AFTER_SECONDS)
    assert remove_left() == []
    assert (elsewhere / "kept.txt").exists()
    assert aged_file.exists()
