"""Between SQL Server and the vault: where it writes a backup, how that gets into the vault, and back.

``UrlMedium``: a landing container of this run, reached by a short-lived SAS in a credential; from there the storage
service copies into the vault. ``DiskMedium``: a UNC folder, read and written over SMB by us; the vault's repository
holds what was in it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol, Self

from shared.databases import statements
from shared.databases.connection import QUERY_LIMIT_SECONDS, Connection
from shared.databases.disk_folder import DiskFolder
from shared.databases.statements import Devices
from shared.databases.stored_files import open_stored, store_files, stored_pieces
from shared.errors import ContainerMissing, CopyRefused, Damaged, DatabaseError, LifeboatError
from shared.repository.repository import Repository
from shared.settings import LandingSettings
from shared.storage.azure_blobs import LARGEST_PUT_BYTES
from shared.storage.landing import Landing, LandingContainer
from shared.storage.vault import Vault

Json = dict[str, Any]

OUR_PREFIX = "lifeboat-"
"""What containers, credentials and files that we make begin with; nothing else is ever dropped."""
LEFT_OVER_AFTER = timedelta(days=2)
"""What an earlier run left behind is cleared away when it is older: no run lasts that long."""
STRIPE_BYTES = 3 << 30
"""Stripes stay under 4 GiB: the vault takes a blob by one Put Blob From URL, which carries 5,000 MiB."""
BLOBS, REPOSITORY = "blobs", "repository"

_RUN = re.compile(OUR_PREFIX + r"(\d{8}t\d{6}z)-[0-9a-f]{6}")


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
                repository.load_index(present=repository.list_packs())
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


class UrlMedium:
    """See ``Medium``. SQL Server writes into, and reads from, one container of the landing account."""

    def __init__(self, settings: LandingSettings, depot: Depot, *, limit_seconds: float) -> None:
        self.notes: list[str] = []
        self._landing = Landing(settings)
        self._depot = depot
        self._lifetime = timedelta(seconds=2 * limit_seconds) + timedelta(hours=1)
        """A statement and its VERIFYONLY, both cancelled at their limit, and an hour for what lies between."""
        self._container: LandingContainer | None = None
        self._left: set[str] = set()

    def __enter__(self) -> UrlMedium:
        self._landing.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._container is not None and not self._left:
            self._quietly(lambda: self._landing.delete_container(self._opened.name), "the landing container")
        self._landing.__exit__(None, None, None)

    @property
    def _opened(self) -> LandingContainer:
        if self._container is None:
            self._container = self._landing.make_container(new_run(datetime.now(UTC)))
            self._clear_left_over_containers()
        return self._container

    def attach(self, connection: Connection) -> None:
        self._clear_left_over_credentials(connection)
        sas = self._opened.sas(lifetime=self._lifetime)
        connection.run(statements.create_credential(self._opened.url, sas.token), limit_seconds=QUERY_LIMIT_SECONDS)

    def detach(self, connection: Connection) -> None:
        if self._container is not None:
            self._quietly(lambda: _drop(connection, self._opened.url), f"the credential {self._opened.url}")

    def renew(self, connection: Connection) -> None:
        sas = self._opened.sas(lifetime=self._lifetime)
        connection.run(statements.alter_credential(self._opened.url, sas.token), limit_seconds=QUERY_LIMIT_SECONDS)

    def devices(self, label: str, size_bytes: int) -> Devices:
        count = min(statements.MOST_DEVICES, max(1, -(-size_bytes // STRIPE_BYTES)))
        names = [f"{label}/{number}of{count}.bak" for number in range(1, count + 1)]
        return Devices("URL", tuple(self._opened.blob_url(name) for name in names))

    def store(self, devices: Devices, label: str, check: Callable[[], None]) -> Json:
        sizes = self._landed(devices)
        if max(sizes.values()) <= LARGEST_PUT_BYTES:
            with suppress(CopyRefused):
                return self._copy(sizes, check)
        return self._depot.keep(
            label,
            [(name.rpartition("/")[2], partial(self._opened.read, name)) for name in sizes],
            check,
        )

    def planned(self, stored: Mapping[str, Any], folder: str) -> Devices:
        place = f"{self._landing.url}/{OUR_PREFIX}RUN/{folder}"
        return Devices("URL", tuple(f"{place}/{name}" for name in stored_names(stored)))

    def fetch(self, stored: Mapping[str, Any], folder: str, check: Callable[[], None]) -> Devices:
        names = []
        if stored["kind"] == BLOBS:
            for blob in stored["blobs"]:
                check()
                name = f"{folder}/{blob['name'].rpartition('/')[2]}"
                self._bring(blob, name)
                names.append(name)
        else:
            for file, size_bytes, pieces in self._depot.kept(stored):
                name = f"{folder}/{file}"
                self._opened.write(name, _checked(pieces(), check), size_bytes)
                names.append(name)
        return Devices("URL", tuple(self._opened.blob_url(name) for name in names))

    def leave(self, devices: Devices) -> None:
        self._left.update(self._names(devices))

    def discard(self, devices: Devices) -> None:
        for name in set(self._names(devices)) - self._left:
            self._quietly(partial(self._opened.delete, name), f"{name} in the landing container")

    def _bring(self, blob: Mapping[str, Any], name: str) -> None:
        vault = self._depot.vault
        there = vault.databases.stat(blob["name"])
        if there is None or there.size_bytes != blob["size_bytes"]:
            raise Damaged(
                f"databases/{blob['name']} is not in the vault with its {blob['size_bytes']:,} bytes",
                remedy="Bring it back with 'undelete', or restore another point.",
                blob=f"databases/{blob['name']}",
            )
        try:
            self._opened.copy_in(name, vault.copy_source(blob["name"]), blob["size_bytes"])
        except CopyRefused:
            ((_, size_bytes, pieces),) = self._depot.kept({"kind": BLOBS, "blobs": [blob]})
            self._opened.write(name, pieces(), size_bytes)

    def _copy(self, sizes: Mapping[str, int], check: Callable[[], None]) -> Json:
        blobs = []
        for name, size_bytes in sizes.items():
            check()
            self._depot.copy_in(name, self._opened.read_sas(name), size_bytes)
            blobs.append({"name": name, "size_bytes": size_bytes, "sha256": None})
        return {"kind": BLOBS, "blobs": blobs, "bytes_stored": sum(sizes.values())}

    def _landed(self, devices: Devices) -> dict[str, int]:
        sizes = {}
        for name in self._names(devices):
            there = self._opened.stat(name)
            if there is None or there.size_bytes == 0:
                raise DatabaseError(
                    f"SQL Server reported a backup, and {name} is not in the landing container",
                    remedy="Check that LIFEBOAT_LANDING_URL is the account that the server reaches.",
                    setting="LIFEBOAT_LANDING_URL",
                )
            sizes[name] = there.size_bytes
        return sizes

    def _names(self, devices: Devices) -> list[str]:
        return [name.removeprefix(f"{self._opened.url}/") for name in devices.names]

    def _clear_left_over_containers(self) -> None:
        def clear() -> None:
            for name in self._landing.stale_containers(LEFT_OVER_AFTER):
                if is_left_over(name, datetime.now(UTC)):
                    self._landing.delete_container(name)

        self._quietly(clear, "containers that earlier runs left behind")

    def _clear_left_over_credentials(self, connection: Connection) -> None:
        account = self._opened.url.rpartition("/")[0]

        def clear() -> None:
            for row in connection.rows(statements.CREDENTIALS):
                place, _, name = str(row["name"]).rpartition("/")
                if place == account and is_left_over(name, datetime.now(UTC)):
                    _drop(connection, row["name"])

        self._quietly(clear, "credentials that earlier runs left behind")

    def _quietly(self, action: Callable[[], object], what: str) -> None:
        try:
            action()
        except LifeboatError as error:
            self.notes.append(f"{what} could not be cleared away: {error}")


class DiskMedium:
    """See ``Medium``. SQL Server writes into, and reads from, a UNC folder that we reach over SMB."""

    def __init__(self, folder: DiskFolder, depot: Depot) -> None:
        self.notes: list[str] = []
        self._folder = folder
        self._depot = depot
        self._run = new_run(datetime.now(UTC))
        self._made: set[str] = set()
        self._left: set[str] = set()

    def __enter__(self) -> DiskMedium:
        self._folder.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        for name in sorted(self._made - self._left):
            self._remove(name)
        self._folder.__exit__(None, None, None)

    def attach(self, connection: Connection) -> None:
        """Nothing is given to the server: its own account writes. What earlier runs left is cleared away."""
        now = datetime.now(UTC)
        for name, _ in self._folder.names(OUR_PREFIX):
            if is_left_over(name, now):
                self._remove(name)

    def detach(self, connection: Connection) -> None:
        return

    def renew(self, connection: Connection) -> None:
        return

    def devices(self, label: str, size_bytes: int) -> Devices:
        """One file, of any size."""
        return self._device(f"{self._run}-{label.replace('/', '-')}.bak")

    def store(self, devices: Devices, label: str, check: Callable[[], None]) -> Json:
        names = self._names(devices)
        sizes = {name: self._size(name) for name in names}
        stored = self._depot.keep(label, [(name, partial(self._folder.read, name)) for name in names], check)
        for file in stored["files"]:
            if file["size_bytes"] != sizes[file["name"]]:
                raise DatabaseError(
                    f"{self._folder.unc(file['name'])} had {sizes[file['name']]:,} bytes, and {file['size_bytes']:,} "
                    "were read",
                    remedy="Find out who else writes into that folder, and run it again.",
                )
        return stored

    def planned(self, stored: Mapping[str, Any], folder: str) -> Devices:
        run = f"{OUR_PREFIX}RUN"
        return Devices(
            "DISK", tuple(self._folder.unc(self._brought(run, folder, name)) for name in stored_names(stored))
        )

    def fetch(self, stored: Mapping[str, Any], folder: str, check: Callable[[], None]) -> Devices:
        names = []
        for file, size_bytes, pieces in self._depot.kept(stored):
            name = self._brought(self._run, folder, file)
            self._made.add(name)
            written = self._folder.write(name, _checked(pieces(), check))
            if written != size_bytes:
                raise Damaged(
                    f"{file} came back with {written:,} bytes instead of {size_bytes:,}", remedy="Run 'check'."
                )
            names.append(self._folder.unc(name))
        return Devices("DISK", tuple(names))

    def leave(self, devices: Devices) -> None:
        self._left.update(self._names(devices))

    def discard(self, devices: Devices) -> None:
        for name in set(self._names(devices)) - self._left:
            self._remove(name)

    def _brought(self, run: str, folder: str, name: str) -> str:
        return f"{run}-{folder}-{name[-40:]}"

    def _device(self, name: str) -> Devices:
        self._made.add(name)
        return Devices("DISK", (self._folder.unc(name),))

    def _size(self, name: str) -> int:
        size_bytes: int | None = self._folder.size(name)
        if not size_bytes:
            raise DatabaseError(
                f"SQL Server reported a backup, and {self._folder.unc(name)} is not to be seen from here",
                remedy="Check that LIFEBOAT_SQL_DISK_URL and LIFEBOAT_SQL_DISK_PATH are the same folder.",
                setting="LIFEBOAT_SQL_DISK_URL",
            )
        return size_bytes

    def _remove(self, name: str) -> None:
        self._made.discard(name)
        try:
            self._folder.delete(name)
        except LifeboatError as error:
            self.notes.append(f"{self._folder.unc(name)} could not be removed: {error}")

    def _names(self, devices: Devices) -> list[str]:
        return [name.rpartition("\\")[2] for name in devices.names]


def stored_names(stored: Mapping[str, Any]) -> list[str]:
    """The names of a stored backup's files, without folders."""
    return [each["name"].rpartition("/")[2] for each in stored[BLOBS if stored["kind"] == BLOBS else "files"]]


def _checked(pieces: Iterable[bytes], check: Callable[[], None]) -> Iterator[bytes]:
    for piece in pieces:
        check()
        yield piece


def _drop(connection: Connection, name: str) -> None:
    connection.run(statements.drop_credential(name), limit_seconds=QUERY_LIMIT_SECONDS)
