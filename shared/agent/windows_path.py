"""Paths of the file server, as Windows and as restic's snapshots have them."""

from __future__ import annotations

import re

from shared.errors import UsageError
from shared.fileshare.inside import parts_of

_FORBIDDEN = re.compile(r'[\x00-\x1f<>"|?*]')
_DRIVE = re.compile(r"[A-Za-z]:(?:\\|\Z)")
_VOLUME = re.compile(r"[A-Za-z]\Z")


def local_path(path: str, *, named_by: str = "--path") -> str:
    """``path`` of a folder on a drive of the file server, as restic is given it. ``UsageError``: it is none, or it
    lies on another machine, of which Windows makes no shadow copy."""
    windows = path.replace("/", "\\")
    if windows.startswith("\\\\"):
        raise UsageError(
            f"{path!r} is a path in the network, of which restic makes no shadow copy: it would read the live files "
            "and say nothing",
            remedy=f"Give {named_by} as the file server itself sees it, such as D:\\WebSites ('Get-SmbShare' tells "
            "it), and run the script there; or take --tool lifeboat, which reads over SMB.",
        )
    parts = windows.split("\\")
    if not _DRIVE.match(windows) or ":" in windows[2:] or _FORBIDDEN.search(windows) or {".", ".."} & set(parts):
        raise UsageError(
            f"{path!r} is no path of a folder on a Windows machine",
            remedy=f"Give {named_by} with its drive, such as D:\\WebSites.",
        )
    trimmed = windows.rstrip("\\")
    return trimmed if len(trimmed) > len("D:") else trimmed + "\\"


def path_in_snapshot(windows: str) -> str:
    """Where restic puts it: ``D:\\WebSites`` becomes ``/D/WebSites``."""
    return "/" + "/".join(parts_of(windows))


def from_snapshot(adopted: str) -> str | None:
    """The other way round, ``adopted`` as ``LIFEBOAT_SHARE_ADOPT_PATH`` may have it; None: it names no drive."""
    try:
        volume, *inside = parts_of(adopted)
    except ValueError:
        return None
    return f"{volume}:\\" + "\\".join(inside) if _VOLUME.match(volume) else None
