"""What is said of a share's content, whatever kind of share it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice

from shared.errors import SourceChanged
from shared.preflight.check import Found, failed, passed, skipped, warned
from shared.repository.trees import filetime_to_ns
from shared.settings import ShareSettings
from shared.smb.types import FileUnreadable

URL, USERNAME, PREVIOUS_VERSION = "LIFEBOAT_SHARE_URL", "LIFEBOAT_SHARE_USERNAME", "LIFEBOAT_SHARE_PREVIOUS_VERSION"
SEARCH_SECONDS, MOST_FOLDERS = 8.0, 300
"""How long, and in how many folders, a file is looked for."""
MOST_TRIED = 5
"""Files that are tried until one can be read."""
MOST_READ_BYTES = 1 << 20
RIGHT = (
    f"Give the account of {USERNAME} the right 'Read & execute' on that folder and all below it "
    "(icacls FOLDER /grant \"ACCOUNT:(OI)(CI)(RX)\"), and 'Read' on the share itself; or make it a member of Backup "
    "Operators on the file server."
)


def first_that_can_be_read(
    paths: Iterator[str], read: Callable[[str], Found], *, right: str, setting: str
) -> Found | None:
    """None where there is no file. One that is locked or changes is told of, and the next is tried. ``right`` is the
    remedy where the user may not read."""
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
            f"What cannot be read makes a recovery point partial. Where the user may not: {right} What other programs "
            "keep open may be named in LIFEBOAT_SHARE_TOLERATE.",
            setting=setting,
        )
    if refused:
        return failed(f"none of the files that were tried can be read; the first: {refused}", right, setting=setting)
    return None


def no_file(where: str) -> Found:
    return warned(
        f"no file that holds anything was found in {where} within {SEARCH_SECONDS:.0f} s, so none was read",
        f"See that {URL} names the share with the content of the apps.",
        setting=URL,
    )


def contents(where: str, folders: int, files: int) -> str:
    return f"the root of {where} has {folders:,} folders and {files:,} files"


def free(count: int) -> Found:
    return passed(f"{count / 1e9:,.1f} GB are free there; a backup needs none, a restore may")


def versions_found(share: ShareSettings, versions: list[int]) -> Found:
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
