"""Which source a share's URL means, and which previous version of it is to be read."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from shared.errors import SettingsError, SourceNotFound
from shared.fileshare.local_source import LocalSource
from shared.fileshare.smb_source import SmbSource
from shared.fileshare.source import Source
from shared.repository.trees import filetime_to_ns
from shared.settings import ShareSettings
from shared.smb.endpoint import SmbEndpoint

_SETTING = "LIFEBOAT_SHARE_URL"
_NOBODY = "nobody"
"""Where somebody else reads the share, and it is only named."""


@dataclass(frozen=True, slots=True)
class ShareIdentity:
    hostname: str
    path: str
    name: str
    """Of its folder in snapshots that Lifeboat makes."""


@dataclass(frozen=True, slots=True)
class SourceOpener:
    """Opens the configured share, as often as needed. ``SettingsError`` for a URL that is none."""

    settings: ShareSettings
    password: str = field(repr=False)

    def open(self, previous_version: int | None = None) -> Source:
        """``previous_version``: what ``choose_previous_version`` returned. Nothing is sent yet."""
        folder = self.settings.folder
        if folder is not None:
            return LocalSource(folder)
        return self._smb(previous_version)

    def describe(self) -> tuple[str, tuple[str, ...]]:
        """Host name and paths that this share's snapshots carry."""
        source = self.identity()
        return source.hostname, (source.path,)

    def identity(self) -> ShareIdentity:
        """Which share it is. Nothing is looked at: somebody else may be the one who reads it."""
        folder = self.settings.folder
        if folder is None:
            source = self._smb(None)
            return ShareIdentity(source.hostname, source.path, source.name)
        absolute = folder.absolute()
        return ShareIdentity("localhost", absolute.as_posix(), absolute.name or "root")

    def choose_previous_version(self) -> int | None:
        """The previous version (FILETIME) to be read as LIFEBOAT_SHARE_PREVIOUS_VERSION says; None: the live share.

        ``SourceNotFound`` where one is required and there is none that is young enough.
        """
        wanted = self.settings.previous_version
        if wanted == "off":
            return None
        if self.settings.folder is None:
            with self._smb(None).connect() as client:
                versions = client.previous_versions()
            oldest_ns = time.time_ns() - self.settings.previous_version_max_age_seconds * 1_000_000_000
            if versions and filetime_to_ns(versions[0]) >= oldest_ns:
                return versions[0]
        if wanted == "newest":
            return None
        raise SourceNotFound(
            "the share has no previous version that is young enough, and one is required",
            remedy="Make shadow copies of the volume more often, raise LIFEBOAT_SHARE_PREVIOUS_VERSION_MAX_AGE, or set "
            "LIFEBOAT_SHARE_PREVIOUS_VERSION to 'newest'.",
            setting="LIFEBOAT_SHARE_PREVIOUS_VERSION",
        )

    def _smb(self, previous_version: int | None) -> SmbSource:
        url = self.settings.url
        if url.partition(":")[0].strip().lower() != "smb":
            raise SettingsError(
                f"{_SETTING} begins with neither smb:// nor file://",
                remedy="Write it as smb://server[:port]/share[/path] or file:///folder.",
                setting=_SETTING,
            )
        username = self.settings.username or (_NOBODY if self.settings.adopted else "")
        endpoint = SmbEndpoint.parse(url, username, self.password, setting=_SETTING)
        return SmbSource(endpoint, acl=self.settings.acl, previous_version=previous_version)
