"""The folder of mode ``disk``: a UNC path for SQL Server, an SMB folder for us, on any port."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from shared.errors import DatabaseError, LifeboatError, SourceChanged, SourceError, TargetError
from shared.settings import DiskSettings
from shared.smb.client import SmbClient
from shared.smb.endpoint import SmbEndpoint
from shared.smb.types import FileUnreadable, FileUnwritable, Listing, Unreadable

READ_BYTES = 1 << 20
READ_AHEAD_BYTES = 16 << 20
WRITE_AHEAD_BYTES = 16 << 20
TEMPORARY_SUFFIX = ".part"

_REMEDY = "Check LIFEBOAT_SQL_DISK_URL, and the rights of LIFEBOAT_SQL_DISK_USERNAME there."


class DiskFolder:
    """Used by one thread at a time; a context manager. A connection that breaks is made anew, and reading goes on.

    Errors: ``SourceUnreachable``, ``SourceLoginRefused``, ``SourceNotFound`` for the folder as a whole, each naming its
    setting; those of one file are named at each method.
    """

    def __init__(self, client: SmbClient, path: str) -> None:
        self._client = client
        self._path = path

    @classmethod
    def open(cls, settings: DiskSettings, password: str) -> DiskFolder:
        """Nothing is sent until it is entered. ``SettingsError``: the URL is none."""
        endpoint = SmbEndpoint.parse(settings.url, settings.username, password, setting="LIFEBOAT_SQL_DISK_URL")
        return cls(SmbClient(endpoint, settings_prefix="LIFEBOAT_SQL_DISK"), settings.path)

    def __enter__(self) -> DiskFolder:
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def connect(self) -> None:
        """Connect, unless that was done; and see that the folder is there."""
        self._client.connect()

    def close(self) -> None:
        self._client.close()

    def unc(self, name: str) -> str:
        """The file as SQL Server names it."""
        return f"{self._path}\\{name}"

    def names(self, prefix: str) -> list[tuple[str, int]]:
        """Files whose names begin so, and their sizes in bytes as the listing has them."""
        found = []
        for listing in self._client.list_directories([""], security=False):
            if isinstance(listing, Unreadable):
                raise SourceError(
                    f"the folder {self._client.endpoint.url} cannot be listed: {listing.message}", remedy=_REMEDY
                )
            assert isinstance(listing, Listing)
            found += [
                (entry.name, entry.size)
                for entry in listing.entries
                if entry.name.startswith(prefix) and not entry.is_directory
            ]
        return found

    def size(self, name: str) -> int | None:
        """Bytes, as an open of the file says, which is never stale; None where there is no such file. ``TargetError``
        where the server does not let us see."""
        with self._naming(name):
            found = self._client.stat(name)
        return None if found is None else found.size

    def read(self, name: str) -> Iterator[memoryview]:
        """The content, to its real end. A view holds until the next is asked for. ``DatabaseError`` where it cannot be
        read on; ``SourceChanged`` where it is another file after a connection was lost."""
        try:
            with self._client.open_stream(name, chunk_bytes=READ_BYTES, ahead_bytes=READ_AHEAD_BYTES) as stream:
                yield from stream
        except FileUnreadable as error:
            raise DatabaseError(
                f"{self.unc(name)} cannot be read: {error.unreadable.message}", remedy=_REMEDY
            ) from error
        except SourceChanged as error:
            raise DatabaseError(f"{self.unc(name)} changed while it was read", remedy="Run it again.") from error

    def write(self, name: str, pieces: Iterable[bytes]) -> int:
        """Make the file, under a temporary name until it is whole, and return its bytes. ``TargetError`` where the
        server does not let us, has no room, or the connection was lost, over which nothing is resumed. What ``pieces``
        raises passes. Either way nothing of the file is left, unless the server cannot be reached any more."""
        temporary = f"{name}{TEMPORARY_SUFFIX}"
        with self._naming(name):
            try:
                with self._client.open_writer(temporary, ahead_bytes=WRITE_AHEAD_BYTES) as writer:
                    for piece in pieces:
                        writer.write(piece)
                    writer.finish()
                    written = writer.position
                self._client.rename(temporary, name, replace=True)
            except BaseException:
                with suppress(LifeboatError, FileUnwritable):  # what happened before is what is told
                    self._client.delete(temporary)
                raise
        return written

    def delete(self, name: str) -> None:
        """Remove the file; one that is gone is removed already. ``TargetError``."""
        with self._naming(name):
            self._client.delete(name)

    def free_bytes(self) -> int | None:
        """What this user may still write there; None where the server does not say."""
        return self._client.free_space()

    @contextmanager
    def _naming(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileUnwritable as error:
            raise TargetError(f"{self.unc(name)}: {error.message} ({error.reason})", remedy=_REMEDY) from error
