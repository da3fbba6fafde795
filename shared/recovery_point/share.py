"""The component ``share`` of a recovery point: which snapshot to compare with, how it went, whether to believe it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from shared.databases.stored_files import TAG as DATABASE_TAG
from shared.errors import Cancelled, Damaged, LifeboatError, UsageError
from shared.fileshare.backup import ShareBackup
from shared.fileshare.inside import TAG
from shared.fileshare.patterns import Patterns
from shared.fileshare.scan import Scan
from shared.fileshare.shard import Progress
from shared.fileshare.sources import SourceOpener
from shared.recovery_point.record import COMPLETE, FAILED, PARTIAL, RecoveryPoint
from shared.repository.repository import Repository
from shared.repository.snapshots import load_snapshot
from shared.repository.trees import parse_rfc3339, rfc3339
from shared.settings import ShareSettings

SNAPSHOTS_TRIED = 5
"""How many of the newest snapshots are looked at for one that can be compared with; databases' are not counted."""
SNAPSHOTS_LOADED = 40
"""How many are loaded for that, those of databases too: there may be thousands, by log backups."""
AHEAD_SECONDS = 60.0
"""How old the listing may be when the lock is held."""
ADOPT = "adopt"
"""The field ``mode`` of a share that somebody else has backed up; absent where Lifeboat has read it for the point."""
FURTHER_POINTS = 20
"""How many points older than the baseline are looked at for one whose snapshot Lifeboat has read itself: beside those
that adopt there are those of an agent on the file server."""
OWN_PROGRAM = "lifeboat"
"""How ``program_version`` begins in snapshots that Lifeboat has made."""
LISTS = ("unreadable", "tolerated", "not_descended", "without_security")
REASONS_LISTED = 100
"""Unreadable files of which each gets a reason of its own; the record's lists go on."""

Json = dict[str, Any]


@dataclass(slots=True)
class History:
    """What earlier points say of the share."""

    baseline_files: int | None = None
    """Files in the newest good or accepted snapshot; where there is none, in the newest usable one."""
    looked_ns: int | None = None
    """When files that only seem unchanged were last opened."""
    suspect: set[str] = field(default_factory=set)
    """Snapshots that are not to be compared with."""
    newest: str | None = None
    """Snapshot of the newest point that may be."""
    fingerprints: Json | None = None
    """Those of that snapshot."""
    adopted_from: tuple[str, str] | None = None
    """Host name and path of the newest good or accepted snapshot that was adopted, as it says them itself."""
    lists: dict[str, Json] = field(default_factory=dict)
    """By snapshot, the lists of files that are not whole in it, as a point has them."""

    def add_lists(self, share: Json) -> None:
        lists = {name: share[name] for name in LISTS if _is_list(share.get(name))}
        if lists:
            self.lists.setdefault(share["snapshot"], lists)


def read_history(points: Iterable[RecoveryPoint]) -> History:
    """From ``points``, newest first, as far back as needed. Records that make no sense of the share say nothing."""
    history = History()
    further = 0
    settled = False
    for point in points:
        further += settled
        if further > FURTHER_POINTS:
            break
        share = point.share
        if share is None or not share.get("snapshot") or not _makes_sense(share):
            continue
        history.add_lists(share)
        if share["status"] == FAILED:  # what a look of this run noticed is in no snapshot that is compared with
            history.suspect.add(share["snapshot"])
            continue
        if history.looked_ns is None and share.get("looked"):
            with suppress(Damaged):  # a bit that flipped: then an earlier point says it
                history.looked_ns = parse_rfc3339(share["looked"])
        adopted = share.get("mode") == ADOPT
        if history.newest is None and not adopted:  # what another tool has made is not compared with file by file
            history.newest, history.fingerprints = share["snapshot"], share.get("fingerprints")
        if not settled:
            settled = share["status"] == COMPLETE or bool(share.get("accepted"))
            if settled or history.baseline_files is None:
                history.baseline_files = share["files"]
            if settled and adopted:
                history.adopted_from = _adopted_from(share)
        if settled and history.newest is not None:
            break
    return history


def _adopted_from(share: Json) -> tuple[str, str] | None:
    """None: Lifeboat itself has made it, whose snapshots name the share, or the record makes no sense of it."""
    try:
        found = share["adopted"]["hostname"], share["path"]
        is_foreign = not str(share["adopted"]["program"]).startswith(OWN_PROGRAM)
    except (KeyError, TypeError):
        return None
    return found if is_foreign and all(isinstance(each, str) for each in found) else None


def _is_list(value: object) -> bool:
    """Whether it is what an ``outcome.PathList`` is written as."""
    if not isinstance(value, dict) or not isinstance(value.get("count"), int):
        return False
    lines = value.get("first")
    return isinstance(lines, list) and all(
        isinstance(line, dict) and all(isinstance(line.get(key), str) for key in ("path", "reason", "message"))
        for line in lines
    )


def _makes_sense(share: Json) -> bool:
    """Whoever may add to the vault may add a record."""
    files = share.get("files")
    if share.get("status") == FAILED:
        return True
    return (
        share.get("status") in (COMPLETE, PARTIAL)
        and isinstance(files, int | float)
        and files >= 0
        and isinstance(share.get("fingerprints"), dict | None)
    )


class ScanAhead:
    """A scan of the whole share that runs while the vault is being opened. It is read-only, so it needs no lock."""

    def __init__(self, opener: SourceOpener) -> None:
        self._began = time.monotonic()
        self.previous_version = opener.choose_previous_version()
        source = opener.open(self.previous_version)
        self.scan = Scan(source, exclude=Patterns(opener.settings.exclude))

    def is_stale(self) -> bool:
        """Whether somebody's lock was waited for so long that the share must be listed again: what the point says of
        the moment that its data stand for would not be true of an old listing."""
        return time.monotonic() - self._began > AHEAD_SECONDS


@dataclass(slots=True)
class ShareComponent:
    """Backs the share up as part of a recovery point. The lock on the repository is held by the caller."""

    settings: ShareSettings
    repository: Repository
    history: History
    opener: SourceOpener
    progress: Progress
    check: Callable[[], None]
    allow_shrink: bool = False
    workers: int = 1
    ahead: ScanAhead | None = None
    """A scan that was begun while the vault was being opened; closed by whoever began it."""

    def back_up(self) -> tuple[Json, list[Json]]:
        """The component's object for the record, and the reasons why it is not complete.

        What goes wrong on the way is a result, ``failed``; only ``UsageError`` is raised.
        """
        try:
            try:
                return self._back_up(self.history.fingerprints, self.ahead)
            except Damaged:
                if not self.history.fingerprints:
                    raise
                return self._back_up(None, None)  # compare file by file: what is damaged is then read and stored anew
        except UsageError:
            raise
        except LifeboatError as error:
            return {"status": FAILED, "snapshot": None}, [error.as_reason("share")]

    def plan(self, backup: ShareBackup, fingerprints: Json | None, previous_version: int | None) -> Json:
        """As ``ShareBackup.plan``, compared with what the history says. ``fingerprints``: those of its newest
        snapshot, None to compare file by file."""
        history = self.history
        parent = self._parent(history)
        every_ns = self.settings.look_every_seconds * 1_000_000_000
        return backup.plan(
            shards=self.workers,
            parent=parent,
            look=history.looked_ns is None or time.time_ns() - history.looked_ns >= every_ns,
            previous_version=previous_version,
            fingerprints=fingerprints if parent == history.newest else None,
        )

    def _back_up(self, fingerprints: Json | None, ahead: ScanAhead | None) -> tuple[Json, list[Json]]:
        given_up = threading.Event()

        def check() -> None:
            if given_up.is_set():
                raise Cancelled("the run was given up")
            self.check()

        backup = ShareBackup(
            self.settings, self.repository, self.opener.open, self.progress, check, ahead.scan if ahead else None
        )
        previous_version = ahead.previous_version if ahead else self.opener.choose_previous_version()
        plan = self.plan(backup, fingerprints, previous_version)
        if len(plan["shards"]) > 1:
            with ThreadPoolExecutor(len(plan["shards"]), "shard") as pool:
                try:
                    results = list(pool.map(lambda items: backup.backup_shard(plan, items), plan["shards"]))
                except BaseException:  # Ctrl-C, or one shard failed: the pool waits for the others
                    given_up.set()
                    raise
        else:
            results = [backup.backup_shard(plan, items) for items in plan["shards"]]
        return self.judge(plan, backup.join(plan, results, tags=[TAG]))

    def judge(self, plan: Json, joined: Json) -> tuple[Json, list[Json]]:
        """The component's object for the record, and the reasons why it is not complete, of what ``join`` returned."""
        history = self.history
        outcome = joined["outcome"]
        counts = outcome["counts"]
        files = counts["files_new"] + counts["files_changed"] + counts["files_unmodified"]
        reasons = unreadable_files(outcome["unreadable"], REMEDIES)
        status = PARTIAL if outcome["unreadable"]["count"] else COMPLETE
        shrank = shrunk(history.baseline_files, files, self.settings.max_shrink)
        if shrank and not self.allow_shrink:
            status = FAILED
            reasons.insert(0, shrank)
        looked_now = plan["look"] or not plan["parent"] or history.looked_ns is None
        component = {
            "status": status,
            "snapshot": joined["snapshot"],
            "parent": plan["parent"],
            "source": joined["source"],
            "data_time": joined["data_time"],
            "started": plan["started"],
            "finished": joined["finished"],
            "previous_version": plan["previous_version"],
            "files": files,
            "dirs": counts["dirs_new"] + counts["dirs_changed"] + counts["dirs_unmodified"],
            "bytes": counts["total_bytes"],
            "bytes_read": counts["bytes_read"],
            "bytes_stored": counts["data_added_packed"],
            "unchanged": counts["files_unmodified"],
            "accepted": self.allow_shrink,
            "suspect": shrank is not None and not self.allow_shrink,
            "looked": plan["started"] if looked_now else rfc3339(history.looked_ns or 0),
            "unreadable": outcome["unreadable"],
            "tolerated": outcome["tolerated"],
            "not_descended": outcome["not_descended"],
            "without_security": outcome["without_security"],
            "baseline_files": history.baseline_files,
            "fingerprints": joined["fingerprints"],
        }
        return component, reasons

    def _parent(self, history: History) -> str | None:
        """The snapshot to compare with: the newest of this share that is not suspect, recorded or not."""
        name = self.opener.describe()
        snapshots = sorted(
            self.repository.store.list("snapshots/"),
            key=lambda blob: (blob.modified, blob.name == f"snapshots/{history.newest}"),  # its clock ticks in seconds
            reverse=True,
        )
        ids = [blob.name.rpartition("/")[2] for blob in snapshots]
        if ids and ids[0] == history.newest:
            return history.newest
        tried = 0
        for snapshot_id in [each for each in ids if each not in history.suspect][:SNAPSHOTS_LOADED]:
            if tried == SNAPSHOTS_TRIED:
                break
            try:
                snapshot = load_snapshot(self.repository, snapshot_id)
            except Damaged:
                continue
            if DATABASE_TAG in snapshot.tags:
                continue
            tried += 1
            if (snapshot.hostname, snapshot.paths) == name:
                return snapshot_id
        return history.newest if history.newest in ids else None


def unreadable_files(unreadable: Json, remedies: Mapping[str, str]) -> list[Json]:
    """The reasons for the first files of the list. ``remedies``: by what kept them from being read."""
    return [
        {
            "component": "share",
            "code": "unreadable-file",
            "message": line["message"],
            "remedy": remedies.get(line["reason"], "Run 'backup' again."),
            "path": line["path"],
        }
        for line in unreadable["first"][:REASONS_LISTED]
    ]


def shrunk(baseline: int | None, files: int, max_shrink: float) -> Json | None:
    """The reason, where the share is empty or has lost more of its files than allowed."""
    if files and (baseline is None or files >= baseline * (1 - max_shrink)):
        return None
    if baseline == 0:
        return None  # it was empty before, and that was accepted
    was = f"{baseline:,} files before" if baseline is not None else "never backed up before"
    return {
        "component": "share",
        "code": "share-shrank",
        "message": f"the share holds {files:,} files, {was}: it may be empty, not mounted, or emptied",
        "remedy": "Look at the share. If this is meant, run 'backup --allow-shrink' "
        "(or raise LIFEBOAT_SHARE_MAX_SHRINK).",
        "setting": "LIFEBOAT_SHARE_MAX_SHRINK",
    }


REMEDIES = {
    "access-denied": "Give the user of LIFEBOAT_SHARE_USERNAME the right to read it (Backup Operators have it).",
    "sharing-violation": "Somebody holds it open without sharing: run 'backup' again, set "
    "LIFEBOAT_SHARE_PREVIOUS_VERSION, or name it in LIFEBOAT_SHARE_TOLERATE.",
    "vanished": "It was deleted while the run went on; if that is normal, name it in LIFEBOAT_SHARE_TOLERATE.",
    "changed-while-read": "It is written to all the time: set LIFEBOAT_SHARE_PREVIOUS_VERSION, or name it in "
    "LIFEBOAT_SHARE_TOLERATE.",
}
