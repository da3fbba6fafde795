"""Where the files and blobs lie that somebody else backed up to, and how we read them.

SQL Server names a file as it sees it, ``\\\\server\\share\\x.bak`` or ``D:\\Backup\\x.bak``; we go there over SMB, by
the map of LIFEBOAT_SQL_PATH_MAP where it is another way from here. Blobs are read by a SAS.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import PureWindowsPath

from shared.databases.adopted import URL, FileChanged, FileMissing, FileUnreadable, NotAdopted, Offered
from shared.databases.disk_folder import READ_AHEAD_BYTES, READ_BYTES
from shared.errors import (
    LifeboatError,
    SettingsError,
    SourceChanged,
    SourceError,
    SourceLoginRefused,
    SourceNotFound,
    SourceUnreachable,
    StorageError,
)
from shared.settings import AdoptSettings
from shared.smb.client import SmbClient
from shared.smb.endpoint import SMB_PORT, SmbEndpoint
from shared.smb.types import FileUnreadable as NotReadable
from shared.smb.types import FileUnwritable
from shared.storage.foreign_blobs import ForeignBlob, ForeignBlobs

MAGIC = (b"TAPE", b"MSSQLBAK")
"""How a file of SQL Server's begins: Microsoft Tape Format, or the format of compressed backups."""
HEAD_BYTES = 8
_PATH_MAP, _DISK = "LIFEBOAT_SQL_PATH_MAP", "LIFEBOAT_SQL_DISK"
_VANISHED = "vanished"
_LOCAL = re.compile(r"[A-Za-z]:\\")


@dataclass(frozen=True, slots=True)
class Found:
    """A file or blob that is there."""

    name: str
    """As SQL Server names it."""
    size_bytes: int
    stamp: str
    """Another one: it was written again."""
    is_block: bool
    """A blob that the storage service copies by itself."""
    read: Callable[[], Iterator[bytes | memoryview]]
    """Its content to the end; raises ``NotAdopted``."""
    head: Callable[[], bytes]
    """Its first bytes; raises ``NotAdopted``."""


@dataclass(frozen=True, slots=True)
class _Place:
    endpoint: SmbEndpoint
    path: str
    """Inside the endpoint, parts joined by ``/``."""


class PlanFiles:
    """Used by one thread at a time; a context manager. Nothing is sent until something is looked for.

    A file server that does not answer is asked once: what is on it fails with the same words afterwards.
    """

    def __init__(
        self,
        settings: AdoptSettings,
        password: Callable[[], str],
        sas: Callable[[], str],
        *,
        api_version: str,
        near: tuple[str, ...] = (),
    ) -> None:
        """``password`` and ``sas`` are asked when the first file, or blob, is looked for. ``near``: endpoints of ours,
        in whose domains the plan's account may be."""
        self._settings = settings
        self._password = password
        self._sas = sas
        self._api_version = api_version
        self._near = near
        self._clients: dict[tuple[str, int, str], SmbClient] = {}
        self._dead: dict[tuple[str, int, str], SourceError] = {}
        self._opened: ForeignBlobs | None = None

    def __enter__(self) -> PlanFiles:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients.values():
            client.close()
        if self._opened is not None:
            self._opened.close()

    def find(self, offered: Offered) -> list[Found]:
        """What there is of each of its files, in their order: of mirrors the first that can be had. ``NotAdopted``."""
        return [self._first(offered, mirrors) for mirrors in offered.families]

    def still(self, offered: Offered, found: Found) -> bool:
        """Whether it is as it was. One that is gone meanwhile is what it was when it was read."""
        try:
            now = self._look(offered, found.name)
        except FileMissing:
            return True
        return (now.size_bytes, now.stamp) == (found.size_bytes, found.stamp)

    def copy_source(self, found: Found) -> str:
        """The URL from which a service copies the blob. A secret."""
        return self._blobs.source(found.name)

    def _first(self, offered: Offered, mirrors: tuple[str, ...]) -> Found:
        failure: NotAdopted | None = None
        for name in mirrors:
            try:
                return self._look(offered, name)
            except NotAdopted as error:
                failure = failure or error
        assert failure is not None
        raise failure

    def _look(self, offered: Offered, name: str) -> Found:
        with _telling(offered, name):
            if offered.device_type == URL:
                return self._blob(offered, name)
            return self._file(offered, name)

    # --- blobs ---

    @cached_property
    def _blobs(self) -> ForeignBlobs:
        self._opened = ForeignBlobs(self._sas(), api_version=self._api_version, near=self._near)
        return self._opened

    def _blob(self, offered: Offered, url: str) -> Found:
        there = self._blobs.look(url)
        if there is None:
            raise _missing(offered, url)
        return Found(
            name=url,
            size_bytes=there.size_bytes,
            stamp=there.etag,
            is_block=there.is_block,
            read=partial(self._read_blob, offered, url, there, None),
            head=lambda: b"".join(self._read_blob(offered, url, there, HEAD_BYTES)),
        )

    def _read_blob(
        self, offered: Offered, url: str, there: ForeignBlob, size_bytes: int | None
    ) -> Iterator[bytes | memoryview]:
        with _telling(offered, url):
            yield from self._blobs.read(url, there, size_bytes)

    # --- files ---

    def _file(self, offered: Offered, name: str) -> Found:
        place = self._place(offered, name)
        with self._client(place.endpoint) as client:
            there = client.stat(place.path)
        if there is None:
            raise _missing(offered, name)
        return Found(
            name=name,
            size_bytes=there.size,
            stamp=str(there.write),
            is_block=False,
            read=partial(self._read_file, offered, name, place, READ_AHEAD_BYTES),
            head=lambda: self._head(offered, name, place),
        )

    def _head(self, offered: Offered, name: str, place: _Place) -> bytes:
        pieces = self._read_file(offered, name, place, READ_BYTES)
        first = bytes(next(pieces, b"")[:HEAD_BYTES])
        pieces.close()
        return first

    def _read_file(self, offered: Offered, name: str, place: _Place, ahead_bytes: int) -> _Pieces:
        with (
            _telling(offered, name),
            self._client(place.endpoint) as client,
            client.open_stream(place.path, chunk_bytes=READ_BYTES, ahead_bytes=ahead_bytes) as stream,
        ):
            yield from stream

    @contextmanager
    def _client(self, endpoint: SmbEndpoint) -> Iterator[SmbClient]:
        """Connected. A server that cannot be reached is not asked again."""
        key = (endpoint.server.lower(), endpoint.port, f"{endpoint.share}/{endpoint.path}".lower())
        if key in self._dead:
            raise self._dead[key]
        try:
            if key not in self._clients:
                self._clients[key] = SmbClient(endpoint, settings_prefix=_DISK)
                self._clients[key].connect()
            yield self._clients[key]
        except (SourceUnreachable, SourceLoginRefused, SourceNotFound) as error:
            self._dead[key] = error
            raise

    def _place(self, offered: Offered, name: str) -> _Place:
        """Where a file of the SQL server is for us."""
        mapped = self._mapped(name)
        if mapped is None and not name.startswith("\\\\"):
            raise FileUnreadable(
                f"{offered.title} is on {name}, a path of the SQL server's own, and nothing says how it is reached "
                "from here",
                remedy=f"Share that folder, and name it in {_PATH_MAP}: D:\\Backup=smb://server/share.",
                setting=_PATH_MAP,
                database=offered.backup.database,
            )
        if not self._settings.username:
            raise FileUnreadable(
                f"{offered.title} is on {name}, and no user is set who reads there",
                remedy="Set LIFEBOAT_SQL_DISK_USERNAME, or LIFEBOAT_SHARE_USERNAME.",
                setting=f"{_DISK}_USERNAME",
                database=offered.backup.database,
            )
        if mapped is not None:
            url, rest = mapped
            endpoint = SmbEndpoint.parse(url, self._settings.username, self._password(), setting=_PATH_MAP)
        else:
            server, share, *rest = [each for each in name.split("\\") if each]
            endpoint = SmbEndpoint(server, SMB_PORT, share, "", self._settings.username, self._password())
        if not rest or any(each in (".", "..") or "/" in each for each in rest):
            raise FileUnreadable(f"{name} is no file on a share", remedy="", database=offered.backup.database)
        return _Place(endpoint, "/".join(rest))

    def _mapped(self, name: str) -> tuple[str, list[str]] | None:
        """By the longest prefix that is mapped: its URL, and the rest of the path."""
        for prefix, url in sorted(self._settings.path_map, key=lambda pair: len(pair[0]), reverse=True):
            folder, path = PureWindowsPath(_whole(prefix)), PureWindowsPath(name)
            with suppress(ValueError):
                return url, list(path.relative_to(folder).parts)
        return None


_Pieces = Generator[memoryview]


def _whole(prefix: str) -> str:
    """A drive without its backslash is no folder: ``D:`` is ``D:\\``."""
    return prefix + "\\" if _LOCAL.fullmatch(prefix + "\\") else prefix


def _missing(offered: Offered, name: str) -> FileMissing:
    return FileMissing(
        f"{offered.title} is not at {name} any more",
        remedy="Let the plan keep its files until Lifeboat has taken them: longer than the time between two backups.",
        database=offered.backup.database,
    )


@contextmanager
def _telling(offered: Offered, name: str) -> Iterator[None]:
    """What goes wrong with one file or blob, as a reason why that backup cannot be taken."""
    database = offered.backup.database
    try:
        yield
    except NotReadable as error:
        if error.unreadable.reason == _VANISHED:
            raise _missing(offered, name) from error
        raise FileUnreadable(
            f"{name} cannot be read: {error.unreadable.message}",
            remedy=f"Check the rights of {_DISK}_USERNAME there, and whether something still writes the file.",
            database=database,
        ) from error
    except FileUnwritable as error:
        raise FileUnreadable(
            f"{name} cannot be looked at: {error.message} ({error.reason})",
            remedy=f"Check the rights of {_DISK}_USERNAME there.",
            setting=f"{_DISK}_USERNAME",
            database=database,
        ) from error
    except SourceChanged as error:
        raise FileChanged(f"{name} changed while it was read", remedy="Run it again.", database=database) from error
    except NotAdopted:
        raise
    except (SettingsError, SourceError, StorageError) as error:
        raise _unreachable(error, name, database) from error


def _unreachable(error: LifeboatError, name: str, database: str) -> FileUnreadable:
    """Where a file lies is msdb's to say, and the map's: the folder of mode ``disk`` lends no more than its login."""
    url = f"{_DISK}_URL"
    return FileUnreadable(
        f"{name} cannot be reached: {error}",
        remedy=error.remedy.replace(url, _PATH_MAP),
        setting=_PATH_MAP if error.setting == url else error.setting,
        database=database,
    )
