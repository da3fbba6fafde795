"""A file of secrets on the operator's machine: only its owner's, whole or not at all, never over another."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.errors import TargetError
from shared.recovery_point.restore_secrets import refuse_existing, write_private


@pytest.fixture(params=["hard links", "no hard links"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if request.param == "no hard links":
        forbid_hard_links(monkeypatch)
    return tmp_path


def forbid_hard_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no hard links on this file system")

    monkeypatch.setattr(os, "link", refuse)


def test_only_its_owner_can_read_it_whatever_the_umask_says(folder: Path) -> None:
    before = os.umask(0)
    try:
        write_private(folder / "file", b"secret")
    finally:
        os.umask(before)
    assert (folder / "file").read_bytes() == b"secret"
    assert stat.S_IMODE((folder / "file").stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == ["file"]


def test_a_file_that_came_into_being_meanwhile_stays_as_it_is(folder: Path) -> None:
    (folder / "file").write_bytes(b"mine")
    with pytest.raises(TargetError):
        write_private(folder / "file", b"secret")
    assert (folder / "file").read_bytes() == b"mine"
    assert [path.name for path in folder.iterdir()] == ["file"]


@pytest.mark.parametrize("hard_links", [True, False])
@pytest.mark.parametrize("other", ["file", "dangling link"])
def test_a_file_that_comes_in_at_the_last_moment_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str, hard_links: bool
) -> None:
    """Right before the call that would make the file or give it its name."""
    target = tmp_path / "file"

    def come_in_before(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:
            if target in arguments and not os.path.lexists(target):
                if other == "file":
                    target.write_bytes(b"mine")
                else:
                    target.symlink_to(tmp_path / "nowhere")
            return call(*arguments)

        return called

    for name in ("link", "rename", "replace", "open"):
        monkeypatch.setattr(os, name, come_in_before(getattr(os, name)))
    if not hard_links:
        forbid_hard_links(monkeypatch)
    with pytest.raises(TargetError):
        write_private(target, b"secret")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert target.is_symlink() or target.read_bytes() == b"mine"


def test_35_a_full_disk_leaves_nothing_half_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TargetError, match="No space left"):
        write_private(folder / "file", b"secret")
    assert list(folder.iterdir()) == []


def test_35_without_hard_links_a_disk_that_is_full_only_then_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There the file is written under its own name."""
    forbid_hard_links(monkeypatch)
    begun = []

    def full(_: int) -> None:
        if (tmp_path / "file").exists():
            begun.append(True)
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TargetError, match="No space left"):
        write_private(tmp_path / "file", b"secret")
    assert begun
    assert list(tmp_path.iterdir()) == []


def test_a_relative_name_is_one_in_the_folder_where_the_command_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    refuse_existing(Path("file"))
    write_private(Path("file"), b"secret")
    with pytest.raises(TargetError):
        refuse_existing(Path("file"))
