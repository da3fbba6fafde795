"""Restoring the share of a recovery point."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.errors import Damaged, SettingsError, UsageError
from shared.fileshare.inside import share_folder
from shared.fileshare.local_target import LocalTarget
from shared.fileshare.restore import RestoreResult, ShareRestore
from shared.fileshare.shard import Progress
from shared.fileshare.smb_target import SmbTarget
from shared.fileshare.sources import SourceOpener
from shared.fileshare.target import Target
from shared.recovery_point.catalog import Catalog
from shared.recovery_point.record import COMPLETE, FAILED, RecoveryPoint
from shared.recovery_point.verifications import damaged_packs
from shared.repository.initialise import choose_passwords, open_repository
from shared.repository.reader import BlobReader
from shared.repository.repository import Repository
from shared.repository.snapshots import load_snapshot
from shared.repository.trees import Node
from shared.settings import Settings, local_folder
from shared.smb.endpoint import SmbEndpoint
from shared.storage.vault import Vault

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ShareRestoreRequest:
    point: str | None = None
    """None: the newest point in which the share is good or usable in part."""
    to: str | None = None
    """A folder or ``smb://server[:port]/share/path``; None: the share itself."""
    include: tuple[str, ...] = ()
    overwrite: bool = False


@dataclass(slots=True)
class ShareRestored:
    point: str
    target: str
    result: RestoreResult
    notes: list[str] = field(default_factory=list)
    """What the point lacks, and newer points that were passed over."""

    def answer(self) -> Json:
        """What the command answers."""
        result = self.result
        return {
            "status": result.status,
            "reasons": result.reasons,
            "point": self.point,
            "target": self.target,
            "restored": result.restored,
            "unchanged": result.unchanged,
            "skipped": result.skipped,
            "skipped_names": result.skipped_names,
            "bytes": result.bytes,
            "notes": self.notes,
        }


def restore_share(
    settings: Settings,
    request: ShareRestoreRequest,
    *,
    progress: Progress | None = None,
    check: Callable[[], None] = lambda: None,
) -> ShareRestored:
    """Restore the share's files. Asks for no setting that it does not use.

    Errors: ``UsageError``, ``SettingsError``, those of the vault and the repository, and of the target as a whole; a
    file that cannot be restored is a reason in the result.
    """
    with Vault(settings.vault()) as vault:
        vault.ensure_there(create=False)
        target, shown = open_target(settings, vault, request.to)
        passwords = choose_passwords(vault.settings.repository_password, vault.secrets)
        repository = open_repository(vault.share, vault.records, passwords)
        repository.distrusted = damaged_packs(vault.records)
        own = _own_source(settings) if request.to is None else None
        point, notes = _choose(Catalog(vault.records), request.point, own)
        folder = find_share(repository, point)
        try:
            restore = ShareRestore(
                repository,
                target,
                include=request.include,
                overwrite=request.overwrite,
                progress=progress,
                check=check,
            )
            return ShareRestored(point.point, shown, restore.run(folder), notes)
        finally:
            target.close()


def find_share(repository: Repository, point: RecoveryPoint) -> Node:
    """The share's own folder in the snapshot of a point that has one, with the index loaded to read it. ``Damaged``."""
    snapshot_id = point.snapshot
    assert snapshot_id is not None, "chosen for having one"
    repository.load_index(present=repository.trusted_packs(), keep_missing=True)
    snapshot = load_snapshot(repository, snapshot_id)
    share = point.share or {}
    name, path = share.get("source", {}).get("name"), share.get("path")
    if not isinstance(path, str | None):
        raise Damaged(f"the record of {point.point} says in no words where the share lies", remedy="Run 'check'.")
    return share_folder(BlobReader(repository), snapshot.tree, name, path)


def _choose(catalog: Catalog, point_id: str | None, own: tuple[str, str] | None) -> tuple[RecoveryPoint, list[str]]:
    """The point asked for, or the newest in which the share is good or usable in part; and what is to be told. ``own``:
    host and path of the share that is restored to itself; points of others are taken only where there is none of it."""
    if point_id is not None:
        point = catalog.get(point_id)
        if point.snapshot is None:
            raise UsageError(
                f"the recovery point {point_id} has no snapshot of the share",
                remedy="Run 'points' to see which have one.",
            )
        return point, _lacks(point) + _foreign(point, own)
    passed_over: list[str] = []
    of_others: RecoveryPoint | None = None
    for point in catalog.readable(passed_over):
        share = point.share
        if share is None or not share.get("snapshot") or share["status"] == FAILED:
            passed_over.append(f"passed over: {point.point}, in which the share is {_state(point)}")
        elif _foreign(point, own):
            of_others = of_others or point
            passed_over.append(f"passed over: {point.point}, which is of another share")
        else:
            return point, passed_over + _lacks(point)
    if of_others is not None:
        return of_others, _lacks(of_others) + _foreign(of_others, own)
    raise UsageError(
        "no recovery point holds a usable snapshot of the share", remedy="Run 'points' to see what there is."
    )


def _own_source(settings: Settings) -> tuple[str, str] | None:
    """Host and path that the snapshots of the configured share carry."""
    with suppress(SettingsError):
        hostname, (path,) = SourceOpener(settings.share(), "").describe()
        return hostname, path
    return None


def _foreign(point: RecoveryPoint, own: tuple[str, str] | None) -> list[str]:
    """What is to be told of a point that is not of the share ``own``."""
    source = (point.share or {}).get("source") or {}
    made_of = (source.get("hostname"), source.get("path"))
    if own is None or None in made_of or made_of == own:
        return []
    return [f"{point.point} is of another share: {made_of[1]} on {made_of[0]}"]


def _state(point: RecoveryPoint) -> str:
    return str(point.share["status"]) if point.share else "not requested"


def _lacks(point: RecoveryPoint) -> list[str]:
    share = point.share or {}
    if share.get("status") == COMPLETE:
        return []
    notes = [f"the share is {share.get('status')} in {point.point}"]
    unreadable = share.get("unreadable", {})
    if unreadable.get("count"):
        first = ", ".join(line["path"] for line in unreadable["first"][:5])
        notes.append(f"{unreadable['count']} file(s) could not be read when it was made, among them: {first}")
    return notes


def open_target(settings: Settings, vault: Vault, to: str | None) -> tuple[Target, str]:
    """The target, to which nothing is sent yet, and how to name it to people. ``UsageError``, ``SettingsError``."""
    url = settings.share_url() if to is None and settings.has_restore_credentials else to
    if url is None:
        share = settings.share()
        if share.folder is not None:
            return LocalTarget(share.folder), share.url
        password = share.password or vault.secret("share-password", setting="LIFEBOAT_SHARE_PASSWORD")
        endpoint = SmbEndpoint.parse(share.url, share.username, password, setting="LIFEBOAT_SHARE_URL")
        return SmbTarget(endpoint, settings_prefix="LIFEBOAT_SHARE"), endpoint.url
    if url.lower().startswith("smb:"):
        username, given = settings.restore_credentials()
        if not username:
            raise SettingsError(
                "there is no user for the restore to an SMB share",
                remedy="Set LIFEBOAT_RESTORE_USERNAME and LIFEBOAT_RESTORE_PASSWORD.",
                setting="LIFEBOAT_RESTORE_USERNAME",
            )
        password = given or vault.secret("share-password", setting="LIFEBOAT_RESTORE_PASSWORD")
        try:
            endpoint = SmbEndpoint.parse(url, username, password, setting="LIFEBOAT_SHARE_URL" if to is None else None)
        except SettingsError as error:
            if to is None:
                raise
            raise UsageError(f"--to: {error}", remedy=error.remedy) from error
        return SmbTarget(endpoint, settings_prefix="LIFEBOAT_RESTORE"), endpoint.url
    folder = local_folder(url)
    if not url.strip() or folder == Path():
        raise UsageError(
            f"{url!r} names no target (--to, --share-to)",
            remedy="Name a folder ('.' for the current one) or smb://server/share, or leave it out to restore to the "
            "share itself.",
        )
    folder = folder or Path(url)
    return LocalTarget(folder), str(folder)
