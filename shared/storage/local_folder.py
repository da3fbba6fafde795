"""A folder that serves as a container: for tests, and for a repository that lies on a disk."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from shared.errors import BlobExists, BlobNotFound, ContainerMissing, StorageError, StorageForbidden
from shared.storage.blob_store import BlobInfo

_TEMPORARY = ".lifeboat-"
"""Beginning of a file that is still being written; such files are no blobs."""


class LocalFolderStore:
    """``BlobStore`` on a folder that exists. A blob is a file; it appears whole or not at all, and only once.

    Names are relative paths with ``/``; one that would leave the folder is refused with ``StorageForbidden``. Folders
    between are made as needed and stay when they become empty, as restic's own local repositories have them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create_container_if_missing(self) -> bool:
        """True: the folder was made by this call; False: it was there."""
        try:
            self.folder.mkdir(parents=True)
        except FileExistsError:
            return False
        except OSError as error:
            raise StorageError(
                f"the folder {self.folder} cannot be made: {error.strerror}", remedy="check the path and its rights"
            ) from error
        return True

    def put(self, name: str, body: bytes) -> bool:
        path = self._path(name)
        with self._errors(name):
            if not self._is_there():
                raise self._missing_folder()
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.parent / f"{_TEMPORARY}{secrets.token_hex(8)}"
            try:
                temporary.write_bytes(body)
                _publish(temporary, path)
            except FileExistsError:
                return self._compare(name, path, body)
            finally:
                temporary.unlink(missing_ok=True)
        return True

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        with self._errors(name), self._path(name).open("rb") as file:
            file.seek(offset)
            return file.read(-1 if length is None else length)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        if not self._is_there():
            raise self._missing_folder()
        start = self.folder / PurePosixPath(prefix).parent if "/" in prefix else self.folder
        if prefix.endswith("/"):
            start = self.folder / prefix
        yield from sorted(
            (blob for blob in self._walk(start) if blob.name.startswith(prefix)), key=lambda blob: blob.name
        )

    def stat(self, name: str) -> BlobInfo | None:
        path = self._path(name)
        try:
            with self._errors(name):
                if path.is_dir():
                    return None
                return self._info(path)
        except BlobNotFound:
            return None

    def delete(self, name: str) -> None:
        with contextlib.suppress(BlobNotFound), self._errors(name):
            self._path(name).unlink()

    def _walk(self, start: Path) -> Iterator[BlobInfo]:
        for folder, _, files in os.walk(start):
            for file in files:
                if file.startswith(_TEMPORARY):
                    continue
                with contextlib.suppress(FileNotFoundError):
                    yield self._info(Path(folder, file))

    def _info(self, path: Path) -> BlobInfo:
        facts = path.stat()
        name = path.relative_to(self.folder).as_posix()
        return BlobInfo(name, facts.st_size, datetime.fromtimestamp(facts.st_mtime, UTC))

    def _compare(self, name: str, path: Path, body: bytes) -> bool:
        if path.stat().st_size == len(body) and path.read_bytes() == body:
            return False
        raise BlobExists(
            f"{path} exists with other bytes",
            remedy="nothing was overwritten; find out who else writes under this name",
            blob=name,
        )

    def _path(self, name: str) -> Path:
        parts = name.split("/")
        if any(part in ("", ".", "..") or "\\" in part or ":" in part for part in parts):
            raise StorageForbidden(f"{name!r} cannot be a file under {self.folder}", blob=name)
        return self.folder.joinpath(*parts)

    def _is_there(self) -> bool:
        return self.folder.is_dir()

    def _missing_folder(self) -> ContainerMissing:
        return ContainerMissing(f"there is no folder {self.folder}", remedy="make it, or check the path")

    @contextlib.contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            if not self._is_there():
                raise self._missing_folder() from error
            raise BlobNotFound(f"{self.folder / name} does not exist", blob=name) from error
        except PermissionError as error:
            raise StorageForbidden(
                f"{self.folder / name}: {error.strerror}", remedy="check the rights on the folder", blob=name
            ) from error
        except OSError as error:
            raise StorageError(f"{self.folder / name}: {error.strerror}", blob=name) from error


def _publish(temporary: Path, path: Path) -> None:
    """Give the finished file its name; ``FileExistsError`` where the name is taken."""
    if os.name == "nt":
        temporary.rename(path)
        return
    os.link(temporary, path)
