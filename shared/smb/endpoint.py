"""Where a share is and who opens it: ``smb://server[:port]/share[/path]`` taken apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from shared.errors import SettingsError

SMB_PORT = 445
_FORM = "smb://server[:port]/share[/path]"


@dataclass(frozen=True, slots=True)
class SmbEndpoint:
    """A folder on a share, and the user who opens it. Safe to print: the password is not in its ``repr``."""

    server: str
    port: int
    share: str
    path: str
    """Inside the share, parts joined by ``/``, without one at either end; ``""`` is the share's own root."""
    username: str
    """``user``, ``DOMAIN\\user`` or ``user@domain``."""
    password: str = field(repr=False)

    @classmethod
    def parse(cls, url: str, username: str, password: str, *, setting: str | None = None) -> SmbEndpoint:
        """Take ``url`` apart. Percent-escapes are undone (so ``%2520`` is ``%20`` in a name); ``\\`` counts as ``/``.

        ``SettingsError`` for anything else than the form above, naming ``setting`` where it is given. The text of
        the error never repeats a user or password that stands in the URL.
        """
        wrong = _what_is_wrong(url)
        if wrong is None and not username:
            raise SettingsError(
                "no user name for the share was given",
                setting=setting and setting.removesuffix("_URL") + "_USERNAME",
                remedy="give the user as user, DOMAIN\\user or user@domain",
            )
        if wrong is not None:
            named = f"{setting}: " if setting else ""
            raise SettingsError(f"{named}{wrong}", setting=setting, remedy=f"write it as {_FORM}")
        parts = urlsplit(_tidy(url))
        share, *folders = [unquote(part) for part in parts.path.split("/") if part]
        return cls(
            server=parts.hostname or "",
            port=parts.port or SMB_PORT,
            share=share,
            path="/".join(folders),
            username=username,
            password=password,
        )

    @property
    def url(self) -> str:
        """The endpoint for people: no credentials, nothing escaped."""
        host = f"[{self.server}]" if ":" in self.server else self.server
        where = host if self.port == SMB_PORT else f"{host}:{self.port}"
        return f"smb://{where}/{self.share}" + (f"/{self.path}" if self.path else "")


def unc_path(url: str) -> str | None:
    """The UNC path of an ``smb://`` URL, in which a port has no place; None for other URLs."""
    if _what_is_wrong(url) is not None:
        return None
    parts = urlsplit(_tidy(url))
    return "\\\\" + "\\".join([parts.hostname or "", *(unquote(part) for part in parts.path.split("/") if part)])


def server_and_port(url: str) -> tuple[str, int] | None:
    """Of an ``smb://`` URL, the server in lower case; None for other URLs."""
    if _what_is_wrong(url) is not None:
        return None
    parts = urlsplit(_tidy(url))
    return (parts.hostname or "").lower(), parts.port or SMB_PORT


def _tidy(url: str) -> str:
    return url.strip().replace("\\", "/").replace("?", "%3F").replace("#", "%23")


def _what_is_wrong(url: str) -> str | None:
    try:
        parts = urlsplit(_tidy(url))
        port = parts.port
        host = parts.hostname
    except ValueError:
        return "the address of the share cannot be read (server or port)"
    if parts.scheme.lower() != "smb":
        return "the address of the share does not begin with smb://"
    if parts.username is not None or parts.password is not None:
        return "the address of the share holds a user name; user and password have settings of their own"
    if not host or any(character.isspace() for character in host):
        return "the address of the share names no server"
    if port == 0:
        return "the address of the share has port 0"
    names = [unquote(part) for part in parts.path.split("/") if part]
    if not names:
        return "the address of the share names no share"
    for name in names:
        if name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
            return f"the address of the share has a part that cannot be a name: {name!r}"
    return None
