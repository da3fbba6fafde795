"""Mode ``url``: SQL Server writes into a container of this run in the landing account, and reads from there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from shared.databases import statements
from shared.databases.connection import QUERY_LIMIT_SECONDS, Connection
from shared.databases.medium import (
    BLOBS,
    LEFT_OVER_AFTER,
    OUR_PREFIX,
    Depot,
    checked,
    is_left_over,
    new_run,
    stored_names,
)
from shared.databases.statements import Devices
from shared.errors import CopyRefused, Damaged, DatabaseError, LifeboatError
from shared.settings import LandingSettings
from shared.storage.azure_blobs import LARGEST_PUT_BYTES
from shared.storage.landing import Landing, LandingContainer

Json = dict[str, Any]

CREDENTIAL_EXISTS = 15530
STRIPE_BYTES = 3 << 30
"""Stripes stay under 4 GiB: the vault takes a blob by one Put Blob From URL, which carries 5,000 MiB."""


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
        self.clear()
        self._landing.__exit__(None, None, None)

    @property
    def _opened(self) -> LandingContainer:
        if self._container is None:
            self._container = self._landing.make_container(new_run(datetime.now(UTC)))
            self._clear_left_over_containers()
        return self._container

    @property
    def reads_positions(self) -> bool:
        return False

    def attach(self, connection: Connection) -> None:
        self._clear_left_over_credentials(connection)
        url = self._opened.url
        sas = self._opened.sas(lifetime=self._lifetime)
        try:
            connection.run(statements.create_credential(url, sas.token), limit_seconds=QUERY_LIMIT_SECONDS)
        except DatabaseError as error:
            if error.number != CREDENTIAL_EXISTS:
                raise
            self.renew(connection)  # a session that was lost could not drop it, and this is the same instance
            self.notes[:] = [note for note in self.notes if not note.startswith(_credential(url))]

    def detach(self, connection: Connection) -> None:
        if self._container is not None:
            url = self._opened.url
            self._quietly(lambda: _drop(connection, url), _credential(url))

    def clear(self) -> None:
        if self._container is not None and not self._left:
            name = self._container.name
            self._quietly(lambda: self._landing.delete_container(name), f"the landing container {name}")
        self._container = None

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
                self._opened.write(name, checked(pieces(), check), size_bytes)
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


def _credential(url: str) -> str:
    return f"the credential {url}"


def _drop(connection: Connection, name: str) -> None:
    connection.run(statements.drop_credential(name), limit_seconds=QUERY_LIMIT_SECONDS)
