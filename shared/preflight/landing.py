"""The checks of the landing account, as we reach it: a container is made, written into, copied from into the vault, and
removed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from shared.databases.medium import new_run
from shared.errors import CopyRefused
from shared.preflight.check import Check, Found, failed, passed, warned
from shared.preflight.network import https_checks
from shared.preflight.vault import FOLDER
from shared.settings import Settings
from shared.storage.landing import Landing, LandingContainer
from shared.storage.vault import RECORDS_CONTAINER, Vault

URL = "LIFEBOAT_LANDING_URL"
PREFIX = "landing-"
COPY_SECONDS = 20.0
BODY = b"Lifeboat's preflight wrote this to see that it can.\n"
_BLOB = "preflight.txt"


class LandingChecks:
    """``SettingsError`` where a setting of the landing account is missing or wrong."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._landing = Landing(settings.landing())
        self._name = new_run(datetime.now(UTC))
        self._container: LandingContainer | None = None

    def checks(self) -> Iterator[Check]:
        way = https_checks(self._landing.url, setting=URL, prefix=PREFIX)
        yield from way
        yield self._check("container", self._make, way[-1].name)
        yield self._check("write", self._write, f"{PREFIX}container")
        yield self._check("to-vault", self._copy, f"{PREFIX}write")
        yield self._check("delete", self._delete, f"{PREFIX}write")

    @property
    def made(self) -> str:
        """The check after which the account may be used."""
        return f"{PREFIX}container"

    def close(self) -> None:
        try:
            if self._container is not None:
                self._landing.delete_container(self._name)
        finally:
            self._landing.close()

    def _check(self, name: str, run: Callable[[], Found], after: str) -> Check:
        silent = "The storage account falls silent: see what lies in between, such as a firewall that looks into TLS."
        return Check(f"{PREFIX}{name}", run, after=(after,), limit_seconds=45, silent=silent, setting=URL)

    @property
    def _made(self) -> LandingContainer:
        assert self._container is not None, "checks come after the container"
        return self._container

    def _make(self) -> Found:
        self._container = self._landing.make_container(self._name)
        return passed("a container can be made")

    def _write(self) -> Found:
        self._made.write(_BLOB, [BODY], len(BODY))
        if b"".join(self._made.read(_BLOB)) != BODY:
            return failed(
                "what was written was read back with other bytes",
                "Something in between changes what passes: look for a proxy that does.",
                setting=URL,
            )
        return passed("a blob can be written and read back")

    def _copy(self) -> Found:
        """Into ``recovery-points/preflight/``, which the keeper clears."""
        with Vault(self._settings.vault()) as vault:
            try:
                vault.copy_in(
                    f"{FOLDER}{self._name}",
                    self._made.read_sas(_BLOB),
                    size_bytes=len(BODY),
                    into=RECORDS_CONTAINER,
                    limit_seconds=COPY_SECONDS,
                )
            except CopyRefused as error:
                return warned(
                    f"the vault's service cannot read the landing account itself ({error}), so each byte of a database "
                    "passes through Lifeboat, into the repository",
                    "Let the landing account's firewall take trusted Azure services or the vault's network, or accept "
                    "that it is slower.",
                    setting=URL,
                )
        return passed("the vault takes a blob from it by Put Blob From URL")

    def _delete(self) -> Found:
        name = f"delete-{_BLOB}"  # the other one is being copied
        self._made.write(name, [BODY], len(BODY))
        self._made.delete(name)
        return passed("a blob can be deleted; the container is removed at the end")
