"""Between SQL Server and the vault: where it writes a backup, how that gets into the vault, and back.

Two ways, each a file: ``url_medium`` (a landing container, from where the storage service copies) and ``disk_medium``
(a UNC folder, which we read and write over SMB). Here is what both promise, and the vault's side of them.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol, Self

from shared.databases.connection import Connection
from shared.databases.statements import Devices
from shared.databases.stored_files import open_stored, store_files, stored_pieces
from shared.errors import ContainerMissing, Damaged
from shared.repository.repository import Repository
from shared.storage.vault import Vault

Json = dict[str, Any]

OUR_PREFIX = "lifeboat-"
"""What containers, credentials and files that we make begin with; nothing else is ever dropped."""
LEFT_OVER_AFTER = timedelta(days=8)
"""What an earlier run left behind is cleared away when it is older: no SAS, and so no run, lasts that long."""
BLOBS, REPOSITORY = "blobs", "repository"

_RUN = re.compile(OUR_PREFIX + r"(\d{8}t\d{6}z)-[0-9a-f]{6}(?=-|\Z)")


def new_run(now: datetime) -> str:
    """The name of a run's container, and the beginning of its files: unique, and its age can be read from it."""
    return f"{OUR_PREFIX}{now.astimezone(UTC):%Y%m%dt%H%M%Sz}-{secrets.token_hex(3)}"


def is_left_over(name: str, now: datetime) -> bool:
    """Whether ``name`` is of an earlier run of ours that cannot be alive."""
    match = _RUN.match(name)
    if match is None:
        return False
    made = datetime.strptime(match[1], "%Y%m%dt%H%M%Sz").replace(tzinfo=UTC)
    return now - made > LEFT_OVER_AFTER


class Medium(Protocol):
    """Used by one thread at a time; a context manager, which clears away what it made."""

    @property
    def reads_positions(self) -> bool:
        """Whether a backup can be read that lies in a file behind others (WITH FILE)."""
        ...

    def attach(self, connection: Connection) -> None:
        """Make the instance behind ``connection`` able to write and read here; again after a failover."""
        ...

    def detach(self, connection: Connection) -> None:
        """Take that back. Never raises: a failure is kept in ``notes``."""
        ...

    def devices(self, label: str, size_bytes: int) -> Devices:
        """New names for a backup of up to ``size_bytes``, never used before."""
        ...

    def renew(self, connection: Connection) -> None:
        """Before a long statement: what the instance was given is good for its whole limit."""
        ...

    def store(self, devices: Devices, label: str, check: Callable[[], None]) -> Json:
        """Bring a verified backup into the vault. Returns what ``fetch`` needs, for the record; everything in it is
        in the vault, and its length checked."""
        ...

    def fetch(self, stored: Mapping[str, Any], folder: str, check: Callable[[], None]) -> Devices:
        """Bring a backup from the vault to where the instance can read it; ``folder`` is a name that no other backup
        of this run is brought to. ``Damaged`` where the vault has it no more."""
        ...

    def planned(self, stored: Mapping[str, Any], folder: str) -> Devices:
        """What ``fetch`` will return, with RUN in the place of the run's name. Nothing is sent."""
        ...

    def discard(self, devices: Devices) -> None:
        """Remove what lies at ``devices``: it is in the vault, or not wanted."""
        ...

    def clear(self) -> None:
        """Clear away what was made for this run, but for what is left on purpose. Never raises, and may be called
        again; leaving the block does it too."""
        ...

    def leave(self, devices: Devices) -> None:
        """What lies at ``devices`` is not cleared away: it could not be brought into the vault and is wanted."""
        ...

    @property
    def notes(self) -> list[str]:
        """What could not be cleared away."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


@dataclass(slots=True)
class Depot:
    """The vault's side: blobs of the container ``databases``, or snapshots of the repository."""

    vault: Vault
    repository: Callable[[], Repository]
    """Opens it when it is first needed; with its index loaded, and for writing under a lock."""
    hostname: str
    """The SQL server as it was configured: snapshots of the repository are grouped by it."""
    lock: Callable[[], AbstractContextManager[object]] = nullcontext
    """Held while something is written into the repository; by default the caller holds one all the time."""
    _indexed: bool = False

    def copy_in(self, name: str, source_url: str, size_bytes: int) -> None:
        """A blob of the landing account into ``databases``, which a vault from before does not have yet."""
        try:
            self.vault.copy_in(name, source_url, size_bytes=size_bytes)
        except ContainerMissing:
            self.vault.ensure_there(create=True)
            self.vault.copy_in(name, source_url, size_bytes=size_bytes)

    def keep(
        self,
        label: str,
        files: Sequence[tuple[str, Callable[[], Iterable[bytes | memoryview]]]],
        check: Callable[[], None],
    ) -> Json:
        """Into the repository."""
        path = f"/databases/{label.partition('/')[0]}"
        with self.lock():
            repository = self.repository()
            if not self._indexed:
                repository.load_index(present=repository.trusted_packs())
                self._indexed = True
            kept = store_files(repository, files, hostname=self.hostname, path=path, check=check)
        return {
            "kind": REPOSITORY,
            "snapshot": kept.snapshot,
            "files": [{"name": each.name, "size_bytes": each.size_bytes, "sha256": each.sha256} for each in kept.files],
            "bytes_stored": kept.bytes_stored,
        }

    def kept(self, stored: Mapping[str, Any]) -> list[tuple[str, int, Callable[[], Iterator[bytes]]]]:
        """Name, size and content of each file; ``Damaged``."""
        if stored["kind"] == BLOBS:
            return [
                (blob["name"].rpartition("/")[2], blob["size_bytes"], partial(self._blob_pieces, blob))
                for blob in stored["blobs"]
            ]
        repository = self.repository()
        nodes = open_stored(repository, stored["snapshot"])
        found: list[tuple[str, int, Callable[[], Iterator[bytes]]]] = []
        for file in stored["files"]:
            node = nodes.get(file["name"])
            if node is None:
                raise Damaged(
                    f"{file['name']} is not in the snapshot {stored['snapshot']}",
                    remedy="Run 'check'.",
                    blob=f"snapshots/{stored['snapshot']}",
                )
            found.append((file["name"], file["size_bytes"], partial(stored_pieces, repository, node)))
        return found

    def _blob_pieces(self, blob: Mapping[str, Any]) -> Iterator[bytes]:
        step = 8 << 20
        for offset in range(0, blob["size_bytes"], step):
            yield self.vault.databases.get(blob["name"], offset, min(step, blob["size_bytes"] - offset))


def stored_names(stored: Mapping[str, Any]) -> list[str]:
    """The names of a stored backup's files, without folders."""
    return [each["name"].rpartition("/")[2] for each in stored[BLOBS if stored["kind"] == BLOBS else "files"]]


def checked(pieces: Iterable[bytes], check: Callable[[], None]) -> Iterator[bytes]:
    """The same pieces; ``check`` before each."""
    for piece in pieces:
        check()
        yield piece
