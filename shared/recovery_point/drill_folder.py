"""The folder of this machine that a drill restores into: nobody else's, and gone when the drill ends."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shared.errors import TargetError

PREFIX = "lifeboat-drill-"
LEFT_AFTER_SECONDS = 86_400.0
"""A folder that is older was left by a drill that was killed."""


@contextmanager
def private_folder() -> Iterator[Path]:
    """A new folder in the temporary directory, mode 0700, deleted with all that is in it, whatever happens.

    ``TargetError`` where it cannot be made, or, whatever the block raised, cannot be deleted.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    except OSError as error:
        raise TargetError(
            f"there is no folder to restore a sample into: {error.strerror or error}",
            remedy="Set TMPDIR to a folder that may be written to.",
        ) from error
    try:
        yield folder
    finally:
        try:
            _delete(folder)
        except OSError as error:
            raise TargetError(
                f"what the drill restored into {folder} could not be deleted: {error.strerror or error}",
                remedy="Delete that folder: it holds files of the share.",
                path=str(folder),
            ) from error


def remove_left() -> list[str]:
    """Delete folders of drills that were killed, where they are ours and a day old by the clock that their file system
    goes by. What was done is told in sentences."""
    told = []
    for folder in sorted(_left()):
        try:
            _delete(folder)
        except OSError as error:
            told.append(f"{folder} was left by a drill that was killed, and could not be deleted: {error.strerror}")
        else:
            told.append(f"{folder} was left by a drill that was killed: it was deleted")
    return told


def _left() -> Iterator[Path]:
    temporary = Path(tempfile.gettempdir())
    try:
        entries = list(temporary.glob(f"{PREFIX}*"))
    except OSError:  # it cannot be listed by us: then it is nobody's temporary directory but ours that is cleared
        return
    for folder in entries:
        try:
            status = folder.lstat()
        except FileNotFoundError:
            continue  # another drill was faster
        own_id = getattr(os, "geteuid", None)  # which Windows has not
        ours = own_id is None or status.st_uid == own_id()
        if stat.S_ISDIR(status.st_mode) and ours and time.time() - status.st_mtime > LEFT_AFTER_SECONDS:
            yield folder


def _delete(folder: Path) -> None:
    """``OSError``."""

    def writable_then(function: Callable[..., Any], path: str, _: object) -> None:
        """On Windows a file that may only be read cannot be deleted."""
        Path(path).chmod(0o700)
        function(path)

    shutil.rmtree(folder, onerror=writable_then)
