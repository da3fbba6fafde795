"""The checks of the share: the way to the file server, what it agrees to, who may log in there, and what can be read.

Nothing is written. Each check has a connection of its own, so that they may run side by side; a password that is wrong
is tried once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from shared.fileshare.sources import SourceOpener
from shared.preflight.check import Check, ComponentChecks, Found, failed, passed, warned
from shared.preflight.network import clock_found, name_check, port_check
from shared.preflight.share_adopted import adopt_check
from shared.preflight.share_folder import folder_checks
from shared.preflight.share_found import (
    MOST_FOLDERS,
    MOST_READ_BYTES,
    RIGHT,
    SEARCH_SECONDS,
    URL,
    USERNAME,
    contents,
    first_that_can_be_read,
    free,
    no_file,
    versions_found,
)
from shared.preflight.smb_password import smb_password
from shared.settings import Settings, ShareSettings
from shared.smb.blocked import no_connection
from shared.smb.client import SmbClient
from shared.smb.endpoint import SmbEndpoint
from shared.smb.types import Listing, Negotiated

PASSWORD, ACL = "LIFEBOAT_SHARE_PASSWORD", "LIFEBOAT_SHARE_ACL"
CONNECT_SECONDS = 8.0
"""For a connection and all that is agreed on it, a login too."""
ANSWER_SECONDS = 8.0
"""How long the file server may be silent after that."""


def share_checks(settings: Settings) -> ComponentChecks:
    """``SettingsError`` where a setting of the share is missing or wrong; nothing is sent yet."""
    share = settings.share()
    if share.adopted:
        return ComponentChecks("share", (adopt_check(settings, share),))
    if share.folder is not None:
        return ComponentChecks("share", tuple(folder_checks(share, share.folder)))
    SourceOpener(share, "").describe()
    endpoint = SmbEndpoint.parse(share.url, share.username, "", setting=URL)
    return ComponentChecks("share", tuple(_SmbShare(settings, share, endpoint).checks()))


class _SmbShare:
    def __init__(self, settings: Settings, share: ShareSettings, endpoint: SmbEndpoint) -> None:
        self._settings = settings
        self._share = share
        self._endpoint = endpoint
        """Without its password until ``password`` has found it."""
        self._negotiated: Negotiated | None = None

    def checks(self) -> Iterator[Check]:
        server, port = self._endpoint.server, self._endpoint.port
        hint, remedy = no_connection(server, port, setting=URL)
        yield name_check(server, setting=URL)
        yield port_check(server, port, setting=URL, hint=hint, remedy=remedy)
        yield Check("negotiate", self._negotiate, after=("port",), setting=URL)
        yield Check("clock", self._clock, after=("negotiate",), setting=URL)
        yield Check(
            "password",
            self._password,
            limit_seconds=30,
            silent="The Key Vault does not answer: see the checks of the component secrets, or set "
            f"{PASSWORD} by a Key Vault reference.",
            setting=PASSWORD,
        )
        yield Check("login", self._login, after=("negotiate", "password"), setting=URL)
        for name, run in (
            ("list", self._list),
            ("read", self._read),
            ("free-space", self._free_space),
            ("previous-versions", self._previous_versions),
        ):
            after = ("login",) if name == "list" else ("list",)
            yield Check(name, run, after=after, limit_seconds=40, silent=_SLOW, setting=URL)

    def _negotiate(self) -> Found:
        from shared.smb.handshake import negotiate

        found = negotiate(self._endpoint, timeout_seconds=CONNECT_SECONDS, settings_prefix="LIFEBOAT_SHARE")
        self._negotiated = found
        if found.cipher is not None:
            return passed(f"SMB {found.dialect}, encrypted by {found.cipher}")
        signed = f"SMB {found.dialect}, signed by {found.signing}, not encrypted"
        seen = "what is read can be seen on the way"
        if found.dialect.startswith("2"):
            return warned(
                f"{signed}: this dialect has no encryption, and {seen}",
                "Let the file server speak SMB 3 (Windows Server 2012 or later), or use only a way that you trust, "
                "such as a VPN.",
                setting=URL,
            )
        return warned(
            f"{signed}: the server offers none, and {seen}",
            "Allow encryption on the file server, or use only a way that you trust, such as a VPN.",
            setting=URL,
        )

    def _clock(self) -> Found:
        ahead = self._negotiated.clock_ahead_seconds if self._negotiated else None
        if ahead is None:
            return warned(f"{self._endpoint.server} does not tell its time")
        return clock_found(ahead, f"the file server {self._endpoint.server}")

    def _password(self) -> Found:
        password, found = smb_password(
            self._settings, self._share.password, username=self._endpoint.username, setting=PASSWORD
        )
        self._endpoint = replace(self._endpoint, password=password)
        return found

    def _login(self) -> Found:
        from shared.smb.handshake import authenticate

        used = authenticate(self._endpoint, timeout_seconds=CONNECT_SECONDS, settings_prefix="LIFEBOAT_SHARE")
        return passed(f"{self._endpoint.username} logs in by {'Kerberos' if used == 'kerberos' else 'NTLM'}")

    def _list(self) -> Found:
        with self._connected() as client:
            found = next(client.list_directories([""], security=False))
        if isinstance(found, Listing):
            folders = sum(entry.is_directory for entry in found.entries)
            return passed(contents(self._endpoint.url, folders, len(found.entries) - folders))
        if found.reason == "access-denied":
            return failed(
                f"{self._endpoint.username} may not list {self._endpoint.url}: {found.message}",
                RIGHT,
                setting=USERNAME,
            )
        return failed(f"{self._endpoint.url} cannot be listed: {found.message}", _SLOW, setting=URL)

    def _read(self) -> Found:
        with self._connected() as client:
            found = first_that_can_be_read(
                _files(client, time.monotonic() + SEARCH_SECONDS),
                lambda path: self._read_one(client, path),
                right=RIGHT,
                setting=USERNAME,
            )
        return found or no_file(self._endpoint.url)

    def _read_one(self, client: SmbClient, path: str) -> Found:
        with client.open_stream(path, security=self._share.acl, chunk_bytes=MOST_READ_BYTES) as stream:
            count = len(next(stream, b""))
            if self._share.acl and stream.security_denied:
                return warned(
                    f"{count:,} bytes of {path} were read, but not its security descriptor, which is to be kept",
                    f"Give the account of {USERNAME} the right 'Read permissions' (RC), or set {ACL} to 'false'.",
                    setting=ACL,
                )
        return passed(f"{count:,} bytes of {path} were read")

    def _free_space(self) -> Found:
        with self._connected() as client:
            count = client.free_space()
        if count is None:
            return warned("the file server does not say how much is free there; only a restore needs to know")
        return free(count)

    def _previous_versions(self) -> Found:
        with self._connected() as client:
            versions = client.previous_versions()
        return versions_found(self._share, versions)

    def _connected(self) -> SmbClient:
        """To be closed. The share and its path are there, and may be opened."""
        client = SmbClient(
            self._endpoint,
            timeout_seconds=ANSWER_SECONDS,
            connect_timeout_seconds=CONNECT_SECONDS,
            most_losses=0,
            window=8,
        )
        try:
            client.connect()
        except BaseException:
            client.close()
            raise
        return client


_SLOW = "See the file server's own log, its disks and its load, and what lies between here and there."


def _files(client: SmbClient, deadline: float) -> Iterator[str]:
    """Paths of files that are not empty, as they are found."""
    pending = [""]
    for found in islice(client.list_directories(pending, security=False), MOST_FOLDERS):
        if isinstance(found, Listing):
            inside = f"{found.path}/" if found.path else ""
            pending += [f"{inside}{entry.name}" for entry in found.entries[:MOST_FOLDERS] if entry.is_directory]
            yield from (
                f"{inside}{entry.name}"
                for entry in found.entries
                if entry.size and not entry.is_directory and not entry.is_link
            )
        if time.monotonic() >= deadline:
            return
