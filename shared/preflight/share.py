"""The checks of the share: the way to the file server, what it agrees to, who may log in there, and what can be read.

Nothing is written. Each check has a connection of its own, so that they may run side by side; a password that is wrong
is tried once.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from shared.errors import SourceChanged
from shared.fileshare.sources import SourceOpener
from shared.preflight.check import Check, ComponentChecks, Found, failed, passed, skipped, warned
from shared.preflight.network import clock_found, name_check, port_check
from shared.repository.trees import filetime_to_ns
from shared.settings import Settings, ShareSettings
from shared.smb.blocked import no_connection
from shared.smb.client import SmbClient
from shared.smb.endpoint import SmbEndpoint
from shared.smb.types import FileUnreadable, Listing, Negotiated
from shared.storage.vault import Vault

URL, USERNAME, PASSWORD = "LIFEBOAT_SHARE_URL", "LIFEBOAT_SHARE_USERNAME", "LIFEBOAT_SHARE_PASSWORD"
ACL, PREVIOUS_VERSION = "LIFEBOAT_SHARE_ACL", "LIFEBOAT_SHARE_PREVIOUS_VERSION"
CONNECT_SECONDS = 8.0
"""For a connection and all that is agreed on it, a login too."""
ANSWER_SECONDS = 8.0
"""How long the file server may be silent after that."""
SEARCH_SECONDS, MOST_FOLDERS = 8.0, 300
"""How long, and in how many folders, a file is looked for."""
MOST_TRIED = 5
"""Files that are tried until one can be read."""
MOST_READ_BYTES = 1 << 20


def share_checks(settings: Settings) -> ComponentChecks:
    """``SettingsError`` where a setting of the share is missing or wrong; nothing is sent yet."""
    share = settings.share()
    if share.adopted:
        return ComponentChecks("share", (Check("adopt", _adopted),))
    if share.folder is not None:
        return ComponentChecks("share", tuple(_folder_checks(share, share.folder)))
    SourceOpener(share, "").describe()
    endpoint = SmbEndpoint.parse(share.url, share.username, "", setting=URL)
    return ComponentChecks("share", tuple(_SmbShare(settings, share, endpoint).checks()))


def _adopted() -> Found:
    return passed("the share is read by an agent near to it (LIFEBOAT_SHARE_MODE=adopt): nothing here needs SMB")


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
        password, whence = self._share.password, PASSWORD
        if not password:
            whence = "the secret share-password of the Key Vault"
            with Vault(self._settings.vault()) as vault:
                password = vault.secret("share-password", setting=PASSWORD)
        self._endpoint = replace(self._endpoint, password=password)
        return passed(f"the password of {self._endpoint.username} is {whence}")

    def _login(self) -> Found:
        from shared.smb.handshake import authenticate

        used = authenticate(self._endpoint, timeout_seconds=CONNECT_SECONDS, settings_prefix="LIFEBOAT_SHARE")
        return passed(f"{self._endpoint.username} logs in by {'Kerberos' if used == 'kerberos' else 'NTLM'}")

    def _list(self) -> Found:
        with self._connected() as client:
            found = next(client.list_directories([""], security=False))
        if isinstance(found, Listing):
            folders = sum(entry.is_directory for entry in found.entries)
            return passed(_contents(self._endpoint.url, folders, len(found.entries) - folders))
        if found.reason == "access-denied":
            return failed(
                f"{self._endpoint.username} may not list {self._endpoint.url}: {found.message}",
                _RIGHT,
                setting=USERNAME,
            )
        return failed(f"{self._endpoint.url} cannot be listed: {found.message}", _SLOW, setting=URL)

    def _read(self) -> Found:
        with self._connected() as client:
            found = _first_that_can_be_read(
                _files(client, time.monotonic() + SEARCH_SECONDS), lambda path: self._read_one(client, path)
            )
        return found or _no_file(self._endpoint.url)

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
            free = client.free_space()
        if free is None:
            return warned("the file server does not say how much is free there; only a restore needs to know")
        return _free(free)

    def _previous_versions(self) -> Found:
        with self._connected() as client:
            versions = client.previous_versions()
        return _versions_found(self._share, versions)

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


_RIGHT = (
    f"Give the account of {USERNAME} the right 'Read & execute' on that folder and all below it "
    "(icacls FOLDER /grant \"ACCOUNT:(OI)(CI)(RX)\"), and 'Read' on the share itself; or make it a member of Backup "
    "Operators on the file server."
)
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


def _first_that_can_be_read(paths: Iterator[str], read: Callable[[str], Found]) -> Found | None:
    """None where there is no file. One that is locked or changes is told of, and the next is tried."""
    refused = ""
    for path in islice(paths, MOST_TRIED):
        try:
            found = read(path)
        except (FileUnreadable, SourceChanged, OSError) as error:
            refused = refused or (f"{path}: {error.strerror}" if isinstance(error, OSError) else str(error))
            continue
        if not refused:
            return found
        return warned(
            f"{found.detail}; but not {refused}",
            f"What cannot be read makes a recovery point partial: {_RIGHT} What other programs keep open may be named "
            "in LIFEBOAT_SHARE_TOLERATE.",
            setting=USERNAME,
        )
    if refused:
        return failed(f"no file that was tried can be read; the first: {refused}", _RIGHT, setting=USERNAME)
    return None


def _no_file(where: str) -> Found:
    return warned(
        f"no file that holds anything was found in {where} within {SEARCH_SECONDS:.0f} s, so none was read",
        f"See that {URL} names the share with the content of the apps.",
        setting=URL,
    )


def _contents(where: str, folders: int, files: int) -> str:
    return f"the root of {where} has {folders:,} folders and {files:,} files"


def _free(count: int) -> Found:
    return passed(f"{count / 1e9:,.1f} GB are free there; a backup needs none, a restore may")


def _versions_found(share: ShareSettings, versions: list[int]) -> Found:
    """``versions``: FILETIMEs, newest first."""
    told = "the share has no previous versions"
    young = False
    if versions:
        newest = datetime.fromtimestamp(filetime_to_ns(versions[0]) / 1e9, UTC)
        age = (datetime.now(UTC) - newest).total_seconds()
        young = age <= share.previous_version_max_age_seconds
        told = f"the share has {len(versions)} previous versions, the newest of {newest:%Y-%m-%d %H:%M} UTC"
    if share.previous_version == "off":
        return (passed if versions else skipped)(f"{told}; none is asked for ({PREVIOUS_VERSION} is off)")
    if young:
        return passed(f"{told}, which is what is read")
    if versions:
        told += f", and LIFEBOAT_SHARE_PREVIOUS_VERSION_MAX_AGE allows {share.previous_version_max_age_seconds:,} s"
    remedy = (
        "Make shadow copies of the volume, or make them more often ('vssadmin create shadow /for=D:' in a scheduled "
        "task, or Configure Shadow Copies)"
    )
    if share.previous_version == "require":
        return failed(
            f"{told}; one is required",
            f"{remedy}, raise LIFEBOAT_SHARE_PREVIOUS_VERSION_MAX_AGE, or set {PREVIOUS_VERSION} to 'newest'.",
            setting=PREVIOUS_VERSION,
        )
    return warned(
        f"{told}; so the live share is read, where files may be open",
        f"{remedy}, or set {PREVIOUS_VERSION} to 'off'.",
        setting=PREVIOUS_VERSION,
    )


# --- a folder of this machine ---


def _folder_checks(share: ShareSettings, folder: Path) -> Iterator[Check]:
    silent = "What the folder lies on does not answer: see the mount."
    checks: dict[str, Callable[[], Found]] = {
        "folder": lambda: _folder_there(folder),
        "list": lambda: _listed(folder),
        "read": lambda: _read_from(folder),
        "free-space": lambda: _free(shutil.disk_usage(folder).free),
    }
    if share.previous_version != "off":
        checks["previous-versions"] = lambda: _versions_found(share, [])
    before: tuple[str, ...] = ()
    for name, run in checks.items():
        yield Check(name, run, after=before, silent=silent, setting=URL)
        before = ("folder",)


def _folder_there(folder: Path) -> Found:
    if folder.is_dir():
        return passed(f"{folder} is a folder")
    return failed(
        f"{folder} {'is no folder' if folder.exists() else 'does not exist'}",
        f"Set {URL} to a folder that is there; see that it is mounted.",
        setting=URL,
    )


def _listed(folder: Path) -> Found:
    try:
        with os.scandir(folder) as entries:
            kinds = [entry.is_dir(follow_symlinks=False) for entry in entries]
    except OSError as error:
        return failed(f"{folder} cannot be listed: {error.strerror}", _OWN_RIGHT, setting=URL)
    return passed(_contents(str(folder), sum(kinds), len(kinds) - sum(kinds)))


_OWN_RIGHT = "Give the user that Lifeboat runs as the right to read the folder and all below it."


def _read_from(folder: Path) -> Found:
    def files() -> Iterator[str]:
        deadline = time.monotonic() + SEARCH_SECONDS
        for inside, _, names in islice(os.walk(folder), MOST_FOLDERS):
            for path in (os.path.join(inside, name) for name in names):
                if os.path.isfile(path) and not os.path.islink(path) and os.path.getsize(path):
                    yield path
            if time.monotonic() >= deadline:
                return

    def read(path: str) -> Found:
        with Path(path).open("rb") as file:
            return passed(f"{len(file.read(MOST_READ_BYTES)):,} bytes of {path} were read")

    return _first_that_can_be_read(files(), read) or _no_file(str(folder))
