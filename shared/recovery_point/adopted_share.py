"""The component ``share`` of a recovery point in mode ``adopt``: somebody nearer to the share has backed it up into the
repository, with stock restic or with Lifeboat, and the newest snapshot that fits is taken.

A snapshot may be the share's that is tagged ``lifeboat-share`` and not ``database``, and one that Lifeboat has made of
this very share before it tagged them. It fits when the share's path is in it, and when it comes from where the one
before came from; snapshots that Lifeboat made of other shares are passed over without a word. What is taken is checked
before the point is written: every tree below the path, each blob in a pack that is there and of the right length.

One that was condemned because the share had shrunk is judged anew each time, never passed over for an older one: so it
fails again until somebody accepts it, and an emptied share is not hidden behind the snapshot of the day before.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from shared.databases.stored_files import TAG as DATABASE_TAG
from shared.errors import BlobNotFound, Damaged, LifeboatError, SettingsError, UsageError, printable
from shared.fileshare.folder_check import NOT_WHOLE, FolderCheck, NamedPacks, check_folder
from shared.fileshare.inside import TAG, find_folder, holds_some_only, parts_of, share_folder
from shared.fileshare.outcome import PathList
from shared.fileshare.shard import Progress
from shared.fileshare.sources import ShareIdentity, SourceOpener
from shared.recovery_point.damage import REMEDIES as DAMAGE_REMEDIES
from shared.recovery_point.damage import damage
from shared.recovery_point.record import COMPLETE, FAILED, PARTIAL
from shared.recovery_point.share import (
    ADOPT,
    LISTS,
    OWN_PROGRAM,
    REMEDIES,
    History,
    shrunk,
    unreadable_files,
)
from shared.repository.ahead import fetched_ahead
from shared.repository.reader import BlobReader
from shared.repository.repository import Repository
from shared.repository.snapshots import Snapshot, load_snapshot
from shared.repository.trees import Node, rfc3339
from shared.settings import ShareSettings
from shared.storage.blob_store import BlobInfo
from shared.storage.vault import SHARE_CONTAINER

LOADED_AT_ONCE = 8
MOST_LOADED = 5_000
"""Snapshots that are looked at: backups of databases have theirs in the same place."""
MOST_PASSED_OVER = 50
"""Snapshots tagged as the share's that do not fit."""
MOST_DAMAGED = 3
"""So many are checked; where all are damaged, it is the vault that needs looking at."""
CLOCK_SECONDS = 300.0
"""How far the clock of whoever made a snapshot may be ahead of the storage's."""
DAMAGES_LISTED = 20
EXCLUDES_LISTED = 10

_SETTING = "LIFEBOAT_SHARE_ADOPT_PATH"
_LOOK_AT_THE_TASK = "Look at the task on the file server: its log, its last exit code, when it is to run next."

Json = dict[str, Any]


@dataclass(slots=True)
class AdoptedShare:
    """One look for a snapshot. The lock on the repository is held by the caller."""

    settings: ShareSettings
    repository: Repository
    history: History
    identity: ShareIdentity
    """Which share it is to be."""
    progress: Progress = field(default_factory=Progress)
    check: Callable[[], None] = lambda: None
    allow_shrink: bool = False
    """Also accepts another host or path than before."""
    _reasons: list[Json] = field(default_factory=list)
    """Of snapshots that are newer than what was taken."""
    _loaded: int = 0

    def back_up(self) -> tuple[Json, list[Json]]:
        """As ``adopt``; what goes wrong on the way is a result, ``failed``. Only ``UsageError`` is raised."""
        try:
            return self.adopt()
        except UsageError:
            raise
        except LifeboatError as error:
            return {"status": FAILED, "snapshot": None, "mode": ADOPT}, [error.as_reason("share")]

    def adopt(self) -> tuple[Json, list[Json]]:
        """The component's object for the record, and the reasons why it is not complete. Errors of the storage and the
        repository as a whole are raised, and ``SettingsError`` for a path that is none."""
        started = rfc3339(time.time_ns())
        self.repository.load_index(present=self.repository.trusted_packs())
        with closing(self._fitting()) as fitting:
            for found in islice(fitting, MOST_DAMAGED):
                checked = check_folder(self.repository, found.folder, check=self.check, progress=self._progress)
                if not checked.damages:
                    return self._judged(found, checked, started)
                self._reasons += _damages(found.snapshot, checked)
        return {"status": FAILED, "snapshot": None, "mode": ADOPT}, self._reasons or [self._none()]

    def newest(self) -> Newest:
        """Which one would be taken, as far as it can be told without checking it. Errors as of ``adopt``."""
        self.repository.load_index(present=self.repository.trusted_packs())
        with closing(self._fitting()) as fitting:
            found = next(fitting, None)
        if found is None:
            return Newest(None, None, tuple(self._reasons or [self._none()]))
        return Newest(found.snapshot.id, found.made.moment_ns, (*self._reasons, *self._late(found.made)))

    # --- which one ---

    def _fitting(self) -> Generator[_Found]:
        """Newest first. One that is passed over leaves a reason."""
        passed_over = 0
        with closing(self._of_the_share()) as snapshots:
            for made in snapshots:
                self.check()
                found = self._located(made)
                if found is not None:
                    yield found
                    continue
                passed_over += 1
                if passed_over == MOST_PASSED_OVER:
                    return

    def _located(self, made: _Made) -> _Found | None:
        snapshot, reader = made.snapshot, BlobReader(self.repository)
        try:
            if made.is_ours:
                folder = share_folder(reader, snapshot.tree, self.identity.name)
                return _Found(made, folder, None)
            parts = self._parts(snapshot)
            located = find_folder(reader, snapshot.tree, parts) if parts else None
        except Damaged as error:
            pack = NamedPacks(self.repository).find(error.object or "", tree=True)
            why = f"{error}, {NOT_WHOLE}" if pack else str(error)
            self._reasons.append(_damaged(snapshot.id, why, pack or error.object))
            return None
        if parts is None:
            return None
        if located is None:
            self._foreign(
                made, f"it holds no folder {'/' + '/'.join(parts)}, in which the share should be", _WRONG_PATH
            )
            return None
        if holds_some_only(snapshot.paths, parts):
            self._foreign(
                made, f"it is of a part of /{'/'.join(parts)} alone, in which the share should be", _SOME_ONLY
            )
            return None
        found = _Found(made, *located)
        if (expected := self.history.adopted_from) is not None and not self.allow_shrink:
            hostname, path = expected
            if snapshot.hostname.casefold() != hostname.casefold():
                self._foreign(made, f"it comes from {snapshot.hostname}, and those before from {hostname}", _MOVED)
                return None
            if self.settings.adopt_path is None and str(found.path).casefold() != path.casefold():
                self._foreign(made, f"it is of {found.path}, and those before of {path}", _MOVED)
                return None
        return found

    def _parts(self, snapshot: Snapshot) -> tuple[str, ...] | None:
        """Where the share should be in it. None: nothing says it, which is told."""
        if (given := adopt_parts(self.settings)) is not None:
            return given
        if len(snapshot.paths) == 1:
            try:
                return parts_of(snapshot.paths[0])
            except ValueError:
                pass
        paths = ", ".join(snapshot.paths[:5]) + (", ..." if len(snapshot.paths) > 5 else "")
        self._tell(
            {
                "component": "share",
                "code": "several-paths",
                "message": f"the snapshot {snapshot.id[:8]} is of {len(snapshot.paths)} paths ({paths}), and nothing "
                "says which of them is the share",
                "remedy": f"Set {_SETTING} to one of them, or have the task back up the share alone.",
                "setting": _SETTING,
                "object": _name(snapshot.id),
            }
        )
        return None

    def _foreign(self, made: _Made, why: str, remedy: str) -> None:
        snapshot = made.snapshot
        self._tell(
            {
                "component": "share",
                "code": "foreign-snapshot",
                "message": f"the snapshot {snapshot.id[:8]} of {rfc3339(made.moment_ns)[:19]}Z, made on "
                f"{snapshot.hostname or 'an unnamed host'} of {', '.join(snapshot.paths[:5])}, is tagged {TAG} and is "
                f"not taken for the share: {why}",
                "remedy": remedy,
                "setting": _SETTING,
                "object": _name(snapshot.id),
            }
        )

    def _tell(self, reason: Json) -> None:
        """The newest of a kind says it for all."""
        if not any(each["code"] == reason["code"] for each in self._reasons):
            self._reasons.append(reason)

    def _of_the_share(self) -> Generator[_Made]:
        """Newest first, by the moment that they stand for."""
        found: list[tuple[int, str, _Made]] = []
        blobs = sorted(self.repository.store.list("snapshots/"), key=lambda blob: blob.modified, reverse=True)
        with closing(fetched_ahead(self._load, blobs[:MOST_LOADED], at_once=LOADED_AT_ONCE)) as loaded:
            for blob, made in loaded:
                self._loaded += 1
                newest_ns = _ns(blob) + int(CLOCK_SECONDS * 1e9)
                while found and -found[0][0] >= newest_ns:  # no other one can be newer
                    yield heapq.heappop(found)[2]
                if isinstance(made, Damaged):
                    self._reasons.append(_damaged(blob.name.rpartition("/")[2], str(made), made.object))
                elif made is not None:
                    heapq.heappush(found, (-made.moment_ns, made.snapshot.id, made))
        while found:
            yield heapq.heappop(found)[2]

    def _load(self, blob: BlobInfo) -> _Made | Damaged | None:
        """None: it is not one of the share's, or is gone since it was listed."""
        self.check()
        try:
            snapshot = load_snapshot(self.repository, blob.name.rpartition("/")[2])
        except Damaged as error:
            return None if isinstance(error.__cause__, BlobNotFound) else error
        if DATABASE_TAG in snapshot.tags:
            return None
        is_ours = str(snapshot.fields.get("program_version", "")).startswith(OWN_PROGRAM)
        if is_ours and not self._is_of_this_share(snapshot):
            return None
        return _Made(snapshot, _ns(blob), is_ours) if is_ours or TAG in snapshot.tags else None

    def _is_of_this_share(self, snapshot: Snapshot) -> bool:
        made_of = (snapshot.hostname.casefold(), [path.casefold() for path in snapshot.paths])
        return made_of == (self.identity.hostname.casefold(), [self.identity.path.casefold()])

    def _none(self) -> Json:
        return {
            "component": "share",
            "code": "no-snapshot",
            "message": f"none of the {self._loaded:,} snapshots in the repository is one of the share: none is tagged "
            f"{TAG}, and Lifeboat has made none of it",
            "remedy": "Have the share backed up on its file server by a task ('agent-script' prints one), or set "
            "LIFEBOAT_SHARE_MODE to 'read'. " + _LOOK_AT_THE_TASK,
            "setting": "LIFEBOAT_SHARE_MODE",
        }

    def _progress(self, files: int, size_bytes: int) -> None:
        self.progress.files += files
        self.progress.bytes += size_bytes

    # --- what it is worth ---

    def _judged(self, found: _Found, checked: FolderCheck, started: str) -> tuple[Json, list[Json]]:
        made = found.made
        snapshot = made.snapshot
        reasons = [*self._reasons, *self._late(made)]
        lists: Json = dict.fromkeys(LISTS, PathList().to_json()) | self.history.lists.get(snapshot.id, {})
        reasons += unreadable_files(lists["unreadable"], REMEDIES)
        if made.is_ours and snapshot.id not in self.history.lists:
            reasons.append(_unrecorded(snapshot.id))
        status = PARTIAL if reasons else COMPLETE
        shrank = shrunk(self.history.baseline_files, checked.totals.files, self.settings.max_shrink)
        if shrank and not self.allow_shrink:
            status = FAILED
            reasons.insert(0, shrank)
        stored, unchanged = _of_the_run(snapshot)
        component = {
            "status": status,
            "mode": ADOPT,
            "snapshot": snapshot.id,
            "parent": None,
            "source": {
                "hostname": self.identity.hostname,
                "path": self.identity.path,
                "name": found.folder.name.decode("utf-8", "replace") if made.is_ours else self.identity.name,
            },
            "adopted": {
                "hostname": snapshot.hostname,
                "paths": list(snapshot.paths),
                "program": str(snapshot.fields.get("program_version", "")),
                "time": rfc3339(snapshot.time_ns),
            },
            "data_time": rfc3339(made.moment_ns),
            "started": started,
            "finished": rfc3339(time.time_ns()),
            "previous_version": None,
            "files": checked.totals.files,
            "dirs": checked.totals.folders,
            "bytes": checked.totals.size_bytes,
            "bytes_read": 0,
            "bytes_stored": stored if snapshot.id not in self.history.lists else 0,
            "unchanged": min(unchanged, checked.totals.files),
            "accepted": self.allow_shrink,
            "suspect": shrank is not None and not self.allow_shrink,
            **lists,
            "baseline_files": self.history.baseline_files,
            "fingerprints": None,
            "notes": list(_notes(made, checked)),
        }
        if found.path is not None:
            component["path"] = found.path
        return component, reasons

    def _late(self, made: _Made) -> Iterator[Json]:
        ahead_seconds = (made.snapshot.time_ns - made.written_ns) / 1e9
        if ahead_seconds > CLOCK_SECONDS:
            yield {
                "component": "share",
                "code": "clock-differs",
                "message": f"the snapshot {made.snapshot.id[:8]} says that it is of "
                f"{rfc3339(made.snapshot.time_ns)[:19]}Z and was in the vault {ahead_seconds:,.0f} s earlier, by the "
                "storage's clock, which is taken for its time",
                "remedy": f"Set the clock of {made.snapshot.hostname or 'the machine that makes snapshots'}.",
                "object": _name(made.snapshot.id),
            }
        age_seconds = (time.time_ns() - made.moment_ns) / 1e9
        if age_seconds > self.settings.max_age_seconds:
            yield {
                "component": "share",
                "code": "too-old",
                "message": f"the newest snapshot of the share, {made.snapshot.id[:8]}, is of "
                f"{rfc3339(made.moment_ns)[:19]}Z: {age_seconds / 3600:,.1f} hours old, and "
                f"{self.settings.max_age_seconds / 3600:,.1f} are allowed",
                "remedy": _LOOK_AT_THE_TASK + " If it is to run less often, raise LIFEBOAT_SHARE_MAX_AGE.",
                "setting": "LIFEBOAT_SHARE_MAX_AGE",
                "object": _name(made.snapshot.id),
            }


def adopt_parts(settings: ShareSettings) -> tuple[str, ...] | None:
    """The folders that LIFEBOAT_SHARE_ADOPT_PATH names; None: it is not set. ``SettingsError``."""
    given = settings.adopt_path
    if given is None:
        return None
    try:
        return parts_of(given)
    except ValueError as error:
        raise SettingsError(
            f"{_SETTING} is {given!r}: {error}",
            remedy="Write the share's folder as the file server sees it, such as D:\\WebSites, or as 'restic ls' "
            "shows it, such as /D/WebSites.",
            setting=_SETTING,
        ) from None


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest snapshot that fits."""

    snapshot: str | None
    """None: there is none."""
    moment_ns: int | None
    """What its data stand for."""
    reasons: tuple[Json, ...]
    """Why a point with it would not be complete, those of newer ones that do not fit among them."""


def adopted_share(
    opener: SourceOpener,
    repository: Repository,
    history: History,
    check: Callable[[], None],
    *,
    progress: Progress | None = None,
    allow_shrink: bool,
) -> AdoptedShare:
    return AdoptedShare(
        settings=opener.settings,
        repository=repository,
        history=history,
        identity=opener.identity(),
        progress=progress or Progress(),
        check=check,
        allow_shrink=allow_shrink,
    )


@dataclass(frozen=True, slots=True)
class _Made:
    snapshot: Snapshot
    written_ns: int
    """When the storage got it, by its clock."""
    is_ours: bool
    """Lifeboat has made it."""

    @property
    def moment_ns(self) -> int:
        """What its data stand for: what it says, unless that lies after the moment at which it was written."""
        is_ahead = self.snapshot.time_ns - self.written_ns > CLOCK_SECONDS * 1e9
        return self.written_ns if is_ahead else self.snapshot.time_ns


@dataclass(frozen=True, slots=True)
class _Found:
    made: _Made
    folder: Node
    path: str | None
    """Of the folder in the snapshot; None: the folder at its top that Lifeboat has made."""

    @property
    def snapshot(self) -> Snapshot:
        return self.made.snapshot


_WRONG_PATH = (
    f"Set {_SETTING} to the share's folder as the file server sees it, and see that the task backs up that folder by "
    f"its whole path; other backups must not be tagged {TAG}."
)
_SOME_ONLY = (
    f"See that the task backs up the share's whole folder and not folders in it one by one, or set {_SETTING} to what "
    f"the share is; other backups must not be tagged {TAG}."
)
_MOVED = (
    "If that is where the share is now, accept it once: run 'backup --allow-shrink'. If not, find out who made it: "
    f"only the share's own backups are tagged {TAG}."
)


def _notes(made: _Made, checked: FolderCheck) -> Iterator[str]:
    if not made.is_ours:
        yield (
            "files that restic could not read are not in its snapshot, and nothing in it tells of them: the task's "
            "exit code 3 does"
        )
    left_out = made.snapshot.fields.get("excludes")
    if isinstance(left_out, list) and left_out:
        shown = ", ".join(printable(str(each)) for each in left_out[:EXCLUDES_LISTED])
        more = f" and {len(left_out) - EXCLUDES_LISTED} more" if len(left_out) > EXCLUDES_LISTED else ""
        yield f"what these patterns name was left out of the snapshot: {shown}{more}"
    if checked.special:
        yield (
            f"links and special files are in the snapshot, one is {checked.special}: stock restic restores them, "
            "Lifeboat does not"
        )
    if checked.with_attributes:
        yield (
            f"files or folders have extended attributes, one is {checked.with_attributes}: stock restic restores "
            "them, Lifeboat does not"
        )


def _of_the_run(snapshot: Snapshot) -> tuple[int, int]:
    """Bytes that it added to the repository, and files that were unchanged; restic before 0.17 does not say it."""
    summary = snapshot.fields.get("summary")
    found = summary if isinstance(summary, dict) else {}
    stored, unchanged = found.get("data_added_packed"), found.get("files_unmodified")
    return (
        stored if isinstance(stored, int) and stored >= 0 else 0,
        unchanged if isinstance(unchanged, int) and unchanged >= 0 else 0,
    )


def _damages(snapshot: Snapshot, checked: FolderCheck) -> list[Json]:
    first = islice(checked.damages.items(), DAMAGES_LISTED)
    return [_damaged(snapshot.id, message, name) for name, message in first]


def _damaged(snapshot_id: str, message: str, name: str | None) -> Json:
    blob = f"{SHARE_CONTAINER}/{name or f'snapshots/{snapshot_id}'}"
    return damage("share", blob, f"the snapshot {snapshot_id[:8]} is not taken: {message}", remedy=_HEAL)


_HEAL = (
    DAMAGE_REMEDIES["share"].partition(".")[0]
    + ". Else run 'backup --only share' once with LIFEBOAT_SHARE_MODE=read: it stores anew what is missing or rotten, "
    "which stock restic takes for stored."
)


def _unrecorded(snapshot_id: str) -> Json:
    return {
        "component": "share",
        "code": "no-record",
        "message": f"Lifeboat has made the snapshot {snapshot_id[:8]}, and no recovery point tells how that run ended: "
        "which files it could not read is not known",
        "remedy": "Nothing, where the run goes on right now: the next point has it. Else it was killed before its "
        "record. " + _LOOK_AT_THE_TASK,
        "object": _name(snapshot_id),
    }


def _name(snapshot_id: str) -> str:
    return f"{SHARE_CONTAINER}/snapshots/{snapshot_id}"


def _ns(blob: BlobInfo) -> int:
    return int(blob.modified.timestamp()) * 1_000_000_000
