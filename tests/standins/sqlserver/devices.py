"""From the devices that a statement names to families that can be written or read."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.standins.sqlserver.instance import Instance
from tests.standins.sqlserver.media import (
    BlobAccess,
    BlobWriter,
    DeviceWriter,
    FileWriter,
    NotMedia,
    NullWriter,
    StoredSet,
    cannot_open,
    container_of,
    read_blob,
    read_family,
    system_error,
)
from tests.standins.sqlserver.messages import SqlError, refusal
from tests.standins.sqlserver.parsing import Options

LONGEST_DEVICE_NAME = 259


@dataclass(frozen=True)
class Target:
    """A device whose name is known."""

    kind: str
    name: str

    @property
    def media_type(self) -> int:
        return 9 if self.kind == "URL" else 2


def check_targets(instance: Instance, targets: Sequence[Target], options: Options) -> None:
    """SqlError for devices that this version or edition does not take, or not with these options."""
    if len({target.kind for target in targets}) > 1:
        raise refusal(3081, "URL and DISK devices cannot be specified together.")
    if len(targets) > 64:
        raise refusal(3205, "Too many backup devices specified for backup or restore; only 64 are allowed.")
    for target in targets:
        if len(target.name) > LONGEST_DEVICE_NAME:
            text = (
                "Invalid device name. The length of the device name provided exceeds supported limit (maximum length "
                f"is:{LONGEST_DEVICE_NAME})."
            )
            raise refusal(3063 if target.kind == "URL" else 3044, text)
    if targets and targets[0].kind == "URL":
        _check_url(instance, targets, options)


def _check_url(instance: Instance, targets: Sequence[Target], options: Options) -> None:
    if instance.edition in ("Express", "Web"):
        raise refusal(41934, f"BACKUP and RESTORE to and from URL are not supported on {instance.edition} Edition.")
    for name in ("INIT", "NOINIT", "RETAINDAYS", "EXPIREDATE", "FILE"):
        if name in options:
            raise refusal(3057, f"Option '{name}' is not valid for a backup device of type URL.")
    if instance.major < 2016:
        raise cannot_open(targets[0].name, 50)
    if "CREDENTIAL" in options:
        raise refusal(
            3225, "Use of WITH CREDENTIAL syntax is not valid for credentials containing a Shared Access Signature."
        )


def blob_access(instance: Instance, url: str) -> BlobAccess:
    """The blob with the credential that is named as its container; SqlError 3201 without one."""
    credential = instance.credentials.get(container_of(url).lower())
    if credential is None or credential.identity.upper() != "SHARED ACCESS SIGNATURE":
        raise cannot_open(url, 50)
    return BlobAccess(url, credential.secret, str(instance.ca_file) if instance.ca_file else True)


def _path(instance: Instance, target: Target) -> Path:
    if instance.denies(target.name):
        raise cannot_open(target.name, 5)
    path = instance.drive_path(target.name)
    if path is None:
        raise cannot_open(target.name, 53 if target.name.startswith("\\\\") else 3)
    return path


def open_writer(instance: Instance, target: Target, options: Options) -> DeviceWriter:
    if target.kind == "URL":
        return BlobWriter(blob_access(instance, target.name), overwrite="FORMAT" in options)
    if target.name.upper() == "NUL":
        return NullWriter()
    path = _path(instance, target)
    overwrite = "FORMAT" in options or "INIT" in options
    return FileWriter(target.name, path, instance.backup_space, overwrite=overwrite)


def abort_all(writers: Sequence[DeviceWriter], *, orderly: bool) -> None:
    for writer in writers:
        with contextlib.suppress(OSError):
            writer.abort(orderly=orderly)


def existing_sets(instance: Instance, target: Target, options: Options) -> list[dict[str, Any]]:
    """Headers of the sets that an append to a disk file comes after; empty when it begins anew."""
    path = instance.drive_path(target.name) if target.kind == "DISK" else None
    if path is None or not path.exists() or "FORMAT" in options or "INIT" in options or not path.stat().st_size:
        return []
    return [dict(stored.header) for stored in _family(target, path.read_bytes())]


def read_target(instance: Instance, target: Target) -> list[StoredSet]:
    """The sets of a family; SqlError when it cannot be read or is none."""
    if target.kind == "URL":
        return _family(target, read_blob(blob_access(instance, target.name)))
    path = _path(instance, target)
    if not path.exists():
        raise cannot_open(target.name, 2 if path.parent.is_dir() else 3)
    try:
        return _family(target, path.read_bytes())
    except OSError as failure:
        raise cannot_open(target.name, 5) from failure


def _family(target: Target, data: bytes) -> list[StoredSet]:
    if not data:
        text = f'Read on "{target.name}" failed: 38(Reached the end of the file.)'
        raise refusal(3203, text)
    try:
        return read_family(data)
    except NotMedia as failure:
        raise _malformed(target) from failure


def _malformed(target: Target) -> SqlError:
    return refusal(
        3241,
        f"The media family on device '{target.name}' is incorrectly formed. SQL Server cannot process this media "
        "family.",
    )


__all__ = [
    "Target",
    "abort_all",
    "blob_access",
    "check_targets",
    "existing_sets",
    "open_writer",
    "read_target",
    "system_error",
]
