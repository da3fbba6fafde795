"""A folder of this machine as a target."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from shared.errors import TargetError
from shared.fileshare.target import (
    Existing,
    NewFile,
    NewFiles,
    Outcome,
    UnwritableError,
    refuse_unsafe,
    refuse_unsafe_on_windows,
    temporary_path,
)
from shared.repository.trees import Metadata
from shared.smb.types import REPARSE_NAME_SURROGATE

_WINDOWS = os.name == "nt"
_BY_DESCRIPTOR = os.utime in os.supports_fd and os.chmod in os.supports_fd
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class LocalTarget:
    """Restores content, times and permission bits. Windows attributes and ACLs are kept by an SMB target, or by stock
    restic on Windows."""

    writers = 2
    granularity_ns = 100 if _WINDOWS else 1

    def __init__(self, folder: Path) -> None:
        self._folder = os.fspath(folder.absolute())
        self._mask = os.umask(0o077)
        os.umask(self._mask)

    def reach(self) -> None:
        there = Path(self._folder)
        while not os.path.lexists(there) and there != there.parent:
            there = there.parent
        if not there.is_dir() or not os.access(there, os.W_OK):
            raise TargetError(
                f"the folder {self._folder} cannot be made: {there} is no folder that may be written to",
                remedy="Give --to a folder that you may write to.",
                path=str(there),
            )

    def prepare(self) -> None:
        try:
            Path(self._folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TargetError(
                f"the folder {self._folder} cannot be made: {error.strerror}",
                remedy="Give --to a folder that you may write to.",
            ) from error

    def existing(self, folder: str) -> dict[str, Existing]:
        found = {}
        try:
            with os.scandir(self._full(folder)) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    found[entry.name] = Existing(_kind(status), status.st_size, status.st_mtime_ns)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise _unwritable(folder, error) from error
        return found

    def make_folder(self, path: str) -> None:
        try:
            Path(self._full(path)).mkdir(mode=0o700)
        except FileExistsError:
            if _kind(os.lstat(self._full(path))) != "dir":
                raise UnwritableError(
                    path, "not-a-folder", f"{path}: there is something that is not a folder, or a link, in its place"
                ) from None
        except OSError as error:
            raise _unwritable(path, error) from error

    def write_small(self, files: NewFiles) -> Iterator[Outcome]:
        while True:
            try:
                file = files(True)
            except EOFError:
                return
            assert file is not None
            try:
                self._write(file)
            except UnwritableError as error:
                yield Outcome(file.path, 0, error.reason, error.message)
            else:
                yield Outcome(file.path, len(file.data))

    def write_large(self, path: str, pieces: Iterable[bytes], metadata: Metadata, *, replace: bool) -> None:
        temporary = self._full(temporary_path(path))
        try:
            with os.fdopen(os.open(temporary, _NEW_FILE, self._first_mode(metadata)), "wb") as file:
                for piece in pieces:
                    file.write(piece)
            self._set(temporary, metadata)
            self._rename(temporary, path, replace)
        except (OSError, OverflowError) as error:
            raise _unwritable(path, error) from error
        finally:
            _remove(temporary)

    def finish_folder(self, path: str, metadata: Metadata) -> None:
        full = self._full(path)
        try:
            os.chmod(full, metadata.mode or 0o700)  # noqa: PTH101 - hot: once for each folder
            os.utime(full, ns=(metadata.mtime_ns, metadata.mtime_ns))
        except (OSError, OverflowError) as error:
            raise _unwritable(path, error) from error

    def decode_name(self, raw: bytes) -> str:
        return decode_name(raw)

    def close(self) -> None:
        """Nothing stays open."""

    def _write(self, file: NewFile) -> None:
        temporary = self._full(temporary_path(file.path))
        try:
            descriptor = os.open(temporary, _NEW_FILE, self._first_mode(file.metadata))
            try:
                view = memoryview(file.data)
                while view:
                    view = view[os.write(descriptor, view) :]
                self._set(descriptor if _BY_DESCRIPTOR else temporary, file.metadata)
            finally:
                os.close(descriptor)
            self._rename(temporary, file.path, file.replace)
        except (OSError, OverflowError) as error:
            _remove(temporary)
            raise _unwritable(file.path, error) from error

    def _first_mode(self, metadata: Metadata) -> int:
        """The mode to create a file with: its own where the process's mask leaves it as it is."""
        mode = metadata.mode
        return mode if mode & 0o600 == 0o600 and not mode & self._mask else 0o600

    def _set(self, file: int | str, metadata: Metadata) -> None:
        if self._first_mode(metadata) != metadata.mode:
            os.chmod(file, metadata.mode or 0o600)  # noqa: PTH101 - hot: once for each file
        os.utime(file, ns=(metadata.mtime_ns, metadata.mtime_ns))

    def _rename(self, temporary: str, path: str, replace: bool) -> None:
        full = self._full(path)
        if not replace and os.path.lexists(full):
            raise FileExistsError(17, "it came into being while we restored")
        os.replace(temporary, full)  # noqa: PTH105 - hot: once for each file

    def _full(self, path: str) -> str:
        return f"{self._folder}/{path}" if path else self._folder


def decode_name(raw: bytes) -> str:
    """A name of the repository as this machine writes it. ``ValueError`` for one that would lead elsewhere."""
    name = os.fsdecode(raw)
    return refuse_unsafe_on_windows(name) if _WINDOWS else refuse_unsafe(name)


def _kind(status: os.stat_result) -> str:
    """A junction of Windows is a folder by its mode, and leads elsewhere all the same."""
    if getattr(status, "st_reparse_tag", 0) & REPARSE_NAME_SURROGATE:
        return "link"
    if stat.S_ISDIR(status.st_mode):
        return "dir"
    return "file" if stat.S_ISREG(status.st_mode) else "link"


def _remove(temporary: str) -> None:
    """Where it is: of one whose name was too long for the system, nothing is there."""
    with contextlib.suppress(OSError):
        os.unlink(temporary)  # noqa: PTH108 - as the calls around it


def _unwritable(path: str, error: Exception) -> UnwritableError:
    if isinstance(error, PermissionError):
        reason = "access-denied"
    elif isinstance(error, FileExistsError):
        reason = "exists"
    elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        reason = "disk-full"
    else:
        reason = "io-error"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return UnwritableError(path, reason, f"{path}: {text}")
