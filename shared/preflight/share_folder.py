"""The checks of a share that is a folder of this machine (``file://``)."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from shared.preflight.check import Check, Found, failed, passed
from shared.preflight.share_found import (
    MOST_FOLDERS,
    MOST_READ_BYTES,
    SEARCH_SECONDS,
    URL,
    contents,
    first_that_can_be_read,
    free,
    no_file,
    versions_found,
)
from shared.settings import ShareSettings


def folder_checks(share: ShareSettings, folder: Path) -> Iterator[Check]:
    silent = "What the folder lies on does not answer: see the mount."
    checks: dict[str, Callable[[], Found]] = {
        "folder": lambda: _folder_there(folder),
        "list": lambda: _listed(folder),
        "read": lambda: _read_from(folder),
        "free-space": lambda: free(shutil.disk_usage(folder).free),
    }
    if share.previous_version != "off":
        checks["previous-versions"] = lambda: versions_found(share, [])
    before: tuple[str, ...] = ()
    for name, run in checks.items():
        yield Check(name, run, after=before, silent=silent, setting=URL)
        before = ("folder",)


def _folder_there(folder: Path) -> Found:
    if folder.is_dir():
        return passed(f"{folder} is a folder")
    return failed(
        f"{folder} {'is no folder' if folder.exists() else 'does not exist'}",
        f"Set {URL} to a folder that is there; see that it is mounted.",
        setting=URL,
    )


def _listed(folder: Path) -> Found:
    try:
        with os.scandir(folder) as entries:
            kinds = [entry.is_dir(follow_symlinks=False) for entry in entries]
    except OSError as error:
        return failed(f"{folder} cannot be listed: {error.strerror}", _OWN_RIGHT, setting=URL)
    return passed(contents(str(folder), sum(kinds), len(kinds) - sum(kinds)))


_OWN_RIGHT = "Give the user that Lifeboat runs as the right to read the folder and all below it."


def _read_from(folder: Path) -> Found:
    def read(path: str) -> Found:
        with Path(path).open("rb") as file:
            return passed(f"{len(file.read(MOST_READ_BYTES)):,} bytes of {path} were read")

    return first_that_can_be_read(_files(folder), read, right=_OWN_RIGHT, setting=URL) or no_file(str(folder))


def _files(folder: Path) -> Iterator[str]:
    """Paths of files that are not empty, as they are found."""
    deadline = time.monotonic() + SEARCH_SECONDS
    for inside, _, names in islice(os.walk(folder), MOST_FOLDERS):
        for path in (Path(inside) / name for name in names):
            with contextlib.suppress(OSError):  # it is gone again
                kind = path.lstat()
                if stat.S_ISREG(kind.st_mode) and kind.st_size:
                    yield str(path)
        if time.monotonic() >= deadline:
            return
