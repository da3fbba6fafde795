"""The checks of the folder of mode ``disk``, as we reach it over SMB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from shared.databases.disk_folder import DiskFolder
from shared.databases.medium import OUR_PREFIX, new_run
from shared.preflight.check import Check, Found, failed, passed, warned
from shared.preflight.network import name_check, port_check
from shared.preflight.smb_password import smb_password
from shared.settings import Settings
from shared.smb.blocked import no_connection
from shared.smb.endpoint import SmbEndpoint
from shared.terminal import bytes_text

URL, PASSWORD = "LIFEBOAT_SQL_DISK_URL", "LIFEBOAT_SQL_DISK_PASSWORD"
PREFIX = "disk-"
LIMIT_SECONDS = 45.0
BODY = b"Lifeboat's preflight wrote this to see that it can.\n"


class DiskChecks:
    """``SettingsError`` where a setting of the folder is missing or wrong."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._disk = settings.disk()
        self._endpoint = SmbEndpoint.parse(self._disk.url, self._disk.username, "", setting=URL)
        self._password = ""

    def checks(self) -> Iterator[Check]:
        server, port = self._endpoint.server, self._endpoint.port
        hint, remedy = no_connection(server, port, setting=URL)
        yield name_check(server, setting=URL, name=f"{PREFIX}name")
        yield port_check(
            server, port, setting=URL, name=f"{PREFIX}port", after=(f"{PREFIX}name",), hint=hint, remedy=remedy
        )
        yield Check(f"{PREFIX}password", self._find_password, limit_seconds=30, setting=PASSWORD)
        yield self._check("login", self._login, f"{PREFIX}port", f"{PREFIX}password")
        yield self._check("list", self._list, self.reached)
        yield self._check("write", self._write, self.reached)
        yield self._check("free-space", self._free, self.reached)

    @property
    def reached(self) -> str:
        """The check after which the folder may be used."""
        return f"{PREFIX}login"

    def _check(self, name: str, run: Callable[[], Found], *after: str) -> Check:
        silent = "See the file server's own log and its load, and what lies between here and there."
        return Check(f"{PREFIX}{name}", run, after=after, limit_seconds=LIMIT_SECONDS, silent=silent, setting=URL)

    def _find_password(self) -> Found:
        disk = self._disk
        self._password, found = smb_password(self._settings, disk.password, username=disk.username, setting=PASSWORD)
        return found

    def _open(self) -> DiskFolder:
        return DiskFolder.open(self._disk, self._password)

    def _login(self) -> Found:
        with self._open():
            return passed(f"{self._disk.url} can be opened by {self._disk.username}")

    def _list(self) -> Found:
        """Each run looks for what an earlier one left, and clears it."""
        with self._open() as folder:
            ours = folder.names(OUR_PREFIX)
        return passed(f"the folder can be listed; files of Lifeboat's there: {len(ours)}")

    def _write(self) -> Found:
        name = f"{new_run(datetime.now(UTC))}-preflight.txt"
        with self._open() as folder:
            try:
                folder.write(name, [BODY])
                if folder.size(name) != len(BODY):
                    return failed(
                        "what was written there is not to be seen with its length",
                        "Look at the file server.",
                        setting=URL,
                    )
            finally:
                folder.delete(name)
        return passed("a file can be written, seen and removed")

    def _free(self) -> Found:
        with self._open() as folder:
            free = folder.free_bytes()
        if free is None:
            return warned("the file server does not say how much is free: each backup lies there until it is fetched")
        return passed(f"{bytes_text(free)} are free: each backup lies there until it is fetched")
