"""Undeleting: the vault as it was before somebody deleted or overwrote blobs.

It needs neither the repository's password nor a config or a key: those may be what was deleted. Where the account keeps
versions, what was deleted or overwritten is a previous version, which is made the current blob again by a copy inside
the service. What was protected by a date is there for sure; what had none may have been deleted for good.

What the keeper itself has deleted, its journals say, and it stays deleted. Whoever has the backup app's identity can
write a journal too, and so hide deletions from this: how many blobs are left out for a journal, and when those were
written, is told, and ``everything`` brings all of it back.

Which version: the vault is create-only, so the first that was written is the true one, and among those with a locked
date the first of them, for ``protect`` sets none on what was overwritten. Names that are hashes decide by the content.
Versions of the same length and MD5 count as the same without being read. Who may overwrite may forge an MD5 too:
``check --read-data`` looks at every byte.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from shared.errors import (
    BlobExists,
    BlobNotFound,
    BlobProtected,
    ContainerMissing,
    Damaged,
    LifeboatError,
    StorageError,
    StorageForbidden,
    StorageUnavailable,
)
from shared.keeping.deleting import container_of, several_at_once
from shared.keeping.inventory import (
    BLOBS,
    COME_AND_GO,
    CONFIG,
    INDEX,
    JOURNALS,
    KEYS,
    PACKS,
    POINTS,
    SHARE_PREFIXES,
    SNAPSHOTS,
)
from shared.keeping.journal import Journal, Left, put_journal
from shared.recovery_point.catalog import Catalog, Unreadable
from shared.recovery_point.parts import parts_of
from shared.recovery_point.record import RecoveryPoint
from shared.settings import Settings
from shared.storage.blob_store import BlobInfo
from shared.storage.vault import DATABASES_CONTAINER, RECORDS_CONTAINER, SHARE_CONTAINER, Vault
from shared.storage.versions import BlobVersion

Json = dict[str, Any]

_PIECE_BYTES = 16 << 20
NO_VERSIONS = "no-versions"

_HASHED = (KEYS, SNAPSHOTS, INDEX, PACKS)
"""Names that are the SHA-256 of the content."""
_ORDER = (
    CONFIG,
    KEYS,
    f"{RECORDS_CONTAINER}/",
    SNAPSHOTS,
    INDEX,
    PACKS,
    BLOBS,
)
"""What is needed first comes back first."""


@dataclass(slots=True)
class Undeleted:
    """What came of it."""

    dry_run: bool
    restored: int = 0
    """Blobs that were made current again, or would be in a dry run."""
    bytes: int = 0
    left_out: int = 0
    """Names that have previous versions only, and stay so because a journal says that the keeper has deleted them."""
    lost: bool = False
    """There is nothing that could be brought back, and something should be there."""
    reasons: list[Json] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def status(self) -> str:
        if self.lost:
            return "failed"
        return "partial" if self.reasons else "ok"

    def answer(self) -> Json:
        return {
            "status": self.status,
            "reasons": self.reasons,
            "restored": self.restored,
            "bytes": self.bytes,
            "left_out": self.left_out,
            "dry_run": self.dry_run,
            "notes": self.notes,
        }


def undelete(
    settings: Settings,
    *,
    everything: bool = False,
    dry_run: bool = False,
    check: Callable[[], None] = lambda: None,
) -> Undeleted:
    """Bring back what somebody deleted or overwrote; with ``everything`` what the keeper deleted too.

    Locks stay deleted. No version is ever deleted; a blob that was overwritten is, and so becomes one. May be killed
    and is simply run again. Needs the keeper's rights. ``partial``: something cannot be brought back, or what a record
    names is not there after all; ``failed``: nothing can be brought back. Errors: those of the vault.
    """
    result = Undeleted(dry_run)
    with Vault(settings.vault()) as vault:
        _Undeleting(vault, result, everything, check).run()
    return result


@dataclass(slots=True)
class _Undeleting:
    vault: Vault
    result: Undeleted
    everything: bool
    check: Callable[[], None]
    found: dict[str, list[BlobVersion]] = field(default_factory=dict)
    """By full name, the oldest version first."""
    _may_undelete: bool = True
    _back: set[str] = field(default_factory=set)
    """What came back by being undeleted, in an account without versions."""

    def run(self) -> None:
        self._list()
        if not any(version.version or version.deleted for versions in self.found.values() for version in versions):
            self._has_no_versions()
            return
        self._bring_back([name for name in self.found if name.startswith(JOURNALS)])
        left = self._left()
        names = [name for name in self.found if not name.startswith(JOURNALS)]
        hidden = dict.fromkeys(name for name in names if name in left and _current(self.found[name]) is None)
        if self.everything:
            self._announce(hidden, left)
        else:
            names = [name for name in names if name not in hidden]
            self._tell_left_out(hidden, left)
        self._bring_back(sorted(names, key=_rank))
        if not self.result.dry_run:
            self._tell_lost()
        self._tell_what_now()

    # --- what there is ---

    def _list(self) -> None:
        missing: list[str] = []
        for container, prefixes in (
            (RECORDS_CONTAINER, ("",)),
            (SHARE_CONTAINER, SHARE_PREFIXES),
            (DATABASES_CONTAINER, ("",)),
        ):
            try:
                for prefix in prefixes:
                    for version in self.vault.versions(container).list_versions(prefix):
                        name = f"{container}/{version.name}"
                        if not name.startswith(COME_AND_GO):
                            self.found.setdefault(name, []).append(version)
            except ContainerMissing as error:
                missing.append(container)
                if missing == [RECORDS_CONTAINER, SHARE_CONTAINER]:
                    raise
                if container != DATABASES_CONTAINER:  # which an older vault does not have
                    error.remedy = (
                        "Where somebody deleted the container, bring it back while the account keeps it (az storage "
                        f"container restore --name {container} --deleted-version VERSION), then run 'undelete' again."
                    )
                    self.result.reasons.append(error.as_reason("lifeboat"))

    def _has_no_versions(self) -> None:
        self.result.lost = True
        self.result.reasons.append(
            {
                "component": "lifeboat",
                "code": NO_VERSIONS,
                "message": f"the vault {self.vault.settings.url} holds no version of anything, so that nothing can be "
                "brought back: it keeps none, or all were deleted for good",
                "remedy": "Look whether versioning is on (Data protection of the storage account), and for a copy of "
                "the account elsewhere. Without one, 'backup --new-repository' begins anew.",
                "setting": "LIFEBOAT_VAULT_URL",
            }
        )

    def _left(self) -> Left:
        """By the journals as they were written first; one that cannot be read hides nothing. In a dry run those that
        are soft-deleted cannot be."""
        entries: list[tuple[BlobInfo, Journal]] = []
        for name in sorted(name for name in self.found if name.startswith(JOURNALS)):
            version = self._chosen_journal(name)
            if version is not None:
                blob = BlobInfo(version.name, version.size_bytes, version.modified)
                entries.append((blob, Journal.from_bytes(self._read(name, version), name)))
        return Left.by(sorted(entries, key=lambda entry: (entry[0].modified, entry[0].name)))

    def _chosen_journal(self, name: str) -> BlobVersion | None:
        whole = next((each for each in self.found[name] if self._is_whole(name, each)), None)
        if whole is None and not (self.result.dry_run and any(each.deleted for each in self.found[name])):
            self._reason(name, Damaged.code, f"{name} cannot be read; what it names is brought back", _REMEDY_LOST)
        return whole

    # --- bringing back ---

    def _bring_back(self, names: Sequence[str]) -> None:
        """All of them, several at once, in this order."""
        self._undelete([name for name in names if self.found[name][0].deleted])
        for name, outcome in several_at_once(self._restore, names, self.check):
            self._count(name, outcome)

    def _count(self, name: str, outcome: int | Json | None) -> None:
        if isinstance(outcome, dict):
            self.result.reasons.append(outcome)
        elif outcome is not None:
            self.result.restored += 1
            self.result.bytes += outcome
        elif name in self._back:
            self.result.restored += 1
            self.result.bytes += self.found[name][-1].size_bytes

    def _undelete(self, names: Sequence[str]) -> None:
        """What was written first, and is soft-deleted, comes back first. Who may not do that learns it once."""
        if self.result.dry_run or not self._may_undelete:
            return
        try:
            list(several_at_once(self._undelete_one, names, self.check))
        except StorageForbidden as error:
            self._may_undelete = False
            self.result.reasons.append(
                error.as_reason("lifeboat") | {"message": f"versions that are soft-deleted stay so: {error}"}
            )

    def _undelete_one(self, name: str) -> None:
        store, inside = container_of(self.vault, name)
        had = _current(self.found[name])
        store.undelete(inside)
        self.found[name] = [version for version in store.list_versions(inside) if version.name == inside]
        now = _current(self.found[name]) if self.found[name] else None
        if had is None and now is not None:
            self._back.add(name)

    def _restore(self, name: str) -> int | Json | None:
        """Bytes of what is current again; a reason why it is not; None where there was nothing to do."""
        versions = self.found[name]
        current = _current(versions)
        readable = [version for version in versions if not version.deleted or self.result.dry_run]
        if current is not None and all(_are_same(version, current) for version in readable):
            return None
        if not readable:
            return None  # all are soft-deleted still, which was told
        try:
            chosen = self._choose(name, readable)
            if chosen is None:
                return _reason(name, Damaged.code, f"no version of {name} has the content of its name", _REMEDY_LOST)
            if current is not None and (_are_same(chosen, current) or self._have_same_bytes(name, chosen, current)):
                return None
            if not self.result.dry_run:
                self._make_current(name, chosen, current)
        except StorageError as error:
            if isinstance(error, StorageUnavailable) or type(error) is StorageForbidden:
                raise
            remedy = _REMEDIES.get(type(error), error.remedy)
            return _reason(name, error.code, f"{name} could not be brought back: {error}", remedy)
        return chosen.size_bytes

    def _make_current(self, name: str, chosen: BlobVersion, current: BlobVersion | None) -> None:
        store, inside = container_of(self.vault, name)
        if current is not None:
            store.delete(inside)
        store.make_current(chosen)

    # --- which version ---

    def _choose(self, name: str, versions: Sequence[BlobVersion]) -> BlobVersion | None:
        """The first that is what its name says, of a hash any; of a name that says nothing, the first. None: none is
        what its name says."""
        kinds: list[BlobVersion] = []
        hashed = name.startswith(_HASHED)
        for version in sorted(versions, key=lambda each: not (each.current if hashed else each.locked)):
            if not any(_are_same(version, kind) for kind in kinds):
                kinds.append(version)
        if len(kinds) == 1 or not (hashed or name.startswith((POINTS, JOURNALS))):
            return kinds[0]
        whole = next((kind for kind in kinds if self._is_whole(name, kind)), None)
        if whole is None and not hashed:
            whole = kinds[0]
        return whole

    def _is_whole(self, name: str, version: BlobVersion) -> bool:
        """Whether it is what its name says. In a dry run what is soft-deleted cannot be read, and counts as whole."""
        if version.deleted:
            return self.result.dry_run and not name.startswith(JOURNALS)
        try:
            content = self._read(name, version)
            if name.startswith(_HASHED):
                return sha256(content).hexdigest() == name.rpartition("/")[2]
            if name.startswith(JOURNALS):
                Journal.from_bytes(content, name)
            else:
                RecoveryPoint.from_bytes(content, name)
        except (Damaged, BlobNotFound):
            return False
        return True

    def _have_same_bytes(self, name: str, one: BlobVersion, other: BlobVersion) -> bool:
        """Looked at where only one of them has an MD5: what was copied may have lost it."""
        if one.size_bytes != other.size_bytes or (one.md5 and other.md5):
            return False
        return all(
            self._read(name, one, at, _PIECE_BYTES) == self._read(name, other, at, _PIECE_BYTES)
            for at in range(0, one.size_bytes, _PIECE_BYTES)
        )

    def _read(self, name: str, version: BlobVersion, offset: int = 0, length: int | None = None) -> bytes:
        store, inside = container_of(self.vault, name)
        if version.version is None:
            return store.get(inside, offset, length)
        return store.get_version(inside, version.version, offset, length)

    # --- telling ---

    def _announce(self, hidden: Collection[str], left: Left) -> None:
        """What comes back is deleted by nobody: later runs and the keeper are to know that."""
        if hidden and not self.result.dry_run:
            put_journal(self.vault.records, Journal(datetime.now(UTC), restores=tuple(hidden)))
            self.result.notes.append(f"{len(hidden):,} blobs are among them {_by_journals(hidden, left)}")

    def _tell_left_out(self, hidden: Collection[str], left: Left) -> None:
        self.result.left_out = len(hidden)
        if hidden:
            self.result.notes.append(
                f"{len(hidden):,} blobs are left out {_by_journals(hidden, left)}; if those were not the keeper's own, "
                "'undelete --everything' brings them back too"
            )

    def _tell_lost(self) -> None:
        """What records name and is not there, as far as that can be told without the password."""
        if any(reason["code"] == ContainerMissing.code for reason in self.result.reasons):
            return
        there = {f"{SNAPSHOTS}{blob.name.rpartition('/')[2]}" for blob in self.vault.share.list("snapshots/")}
        with suppress(ContainerMissing):
            there |= {f"{BLOBS}{blob.name}" for blob in self.vault.databases.list("")}
        if self.vault.share.stat("config") is None:
            self._reason(CONFIG, Damaged.code, f"{CONFIG} is not there, and no version of it", _REMEDY_LOST)
        for point in Catalog(self.vault.records).newest_first():
            try:
                if isinstance(point, Unreadable):
                    raise point.error
                parts = parts_of(point)
            except Damaged as error:
                self._reason(f"{POINTS}{point.point}.json", Damaged.code, str(error), _REMEDY_LOST)
                continue
            for name in (*map(SNAPSHOTS.__add__, parts.snapshots), *map(BLOBS.__add__, parts.blobs)):
                if name not in there:
                    message = f"{name} is not there, and no version of it: {point.point} needs it"
                    self._reason(name, Damaged.code, message, _REMEDY_LOST)

    def _tell_what_now(self) -> None:
        if self.result.dry_run:
            return
        settings = self.vault.settings
        if not settings.repository_password and not settings.key_vault_url:
            self.result.notes.append(
                "set LIFEBOAT_REPOSITORY_PASSWORD, or LIFEBOAT_KEY_VAULT_URL, to look at what has come back"
            )
        self.result.notes.append("now run 'check', and then 'protect', which sets the dates of what has come back")

    def _reason(self, name: str, code: str, message: str, remedy: str) -> None:
        self.result.reasons.append(_reason(name, code, message, remedy))


_REMEDY_LOST = (
    "It is lost. 'check' says which points it costs; the next 'backup' stores anew what the sources still have."
)
_REMEDIES: Mapping[type[LifeboatError], str] = {
    BlobProtected: "A date protects the false blob: run 'undelete' again when it has passed. The true one is a "
    "previous version, and stays until then if its own date is no earlier.",
    BlobExists: "Somebody has written another blob meanwhile: find out who, and run 'undelete' again.",
    BlobNotFound: "Somebody has deleted the version meanwhile: find out who, and run 'undelete' again.",
}


def _reason(name: str, code: str, message: str, remedy: str) -> Json:
    component = {BLOBS: "databases", f"{SHARE_CONTAINER}/": "share"}.get(f"{name.partition('/')[0]}/", "lifeboat")
    return {"component": component, "code": code, "message": message, "remedy": remedy, "object": name}


def _current(versions: Iterable[BlobVersion]) -> BlobVersion | None:
    return next((version for version in versions if version.current and not version.deleted), None)


def _are_same(one: BlobVersion, other: BlobVersion) -> bool:
    """As far as a listing tells."""
    return one.size_bytes == other.size_bytes and one.md5 == other.md5


def _rank(name: str) -> tuple[int, str]:
    return next(at for at, prefix in enumerate(_ORDER) if name.startswith(prefix)), name


def _by_journals(names: Iterable[str], left: Left) -> str:
    times = [since for since in map(left.since, names) if since is not None]
    first, last = min(times), max(times)
    when = f"of {first:%Y-%m-%d}" if first.date() == last.date() else f"from {first:%Y-%m-%d} to {last:%Y-%m-%d}"
    return f"that the keeper has deleted, by its journals {when}"
