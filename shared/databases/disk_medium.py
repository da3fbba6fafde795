"""Mode ``disk``: SQL Server writes into a UNC folder, and reads from there; we reach it over SMB."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from shared.databases.connection import Connection
from shared.databases.disk_folder import DiskFolder
from shared.databases.medium import OUR_PREFIX, Depot, checked, is_left_over, new_run, stored_names
from shared.databases.statements import Devices
from shared.errors import Damaged, DatabaseError, LifeboatError, TargetError

Json = dict[str, Any]

WRITES = 3
"""How often a file of a restore is begun."""


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
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()
        self._folder.close()

    def clear(self) -> None:
        for name in sorted(self._made - self._left):
            self._remove(name)

    @property
    def reads_positions(self) -> bool:
        return True

    def attach(self, connection: Connection) -> None:
        """Nothing is given to the server: its own account writes. What earlier runs left is cleared away."""
        self._folder.connect()
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
            written = self._write(name, pieces, check)
            if written != size_bytes:
                raise Damaged(
                    f"{file} came back with {written:,} bytes instead of {size_bytes:,}", remedy="Run 'check'."
                )
            names.append(self._folder.unc(name))
        return Devices("DISK", tuple(names))

    def leave(self, devices: Devices) -> None:
        self._left.update(self._names(devices))

    def _write(self, name: str, pieces: Callable[[], Iterable[bytes]], check: Callable[[], None]) -> int:
        """From its start again where the connection is cut: a write is not resumed."""
        for attempt in range(1, WRITES + 1):
            try:
                return self._folder.write(name, checked(pieces(), check))
            except TargetError:
                if attempt == WRITES:
                    raise
        raise AssertionError("unreachable")

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
