"""Pruning: what no snapshot needs leaves the index, and later the repository.

In two phases, so that a writer which slept through its lock's staleness still finds its packs. **Mark**: under an
exclusive lock ``plan_prune`` and ``carry_out`` write what is to stay, then the caller deletes
``IndexChange.obsolete_indexes``. **Sweep**, when the waiting time is over: after another plan and ``carry_out`` under
the same lock (they name again what a snapshot needs by now), the caller deletes what ``sweepable`` leaves of the packs
marked then. Every step may be interrupted anywhere and be begun again; where nothing has changed it writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field

from shared.errors import Damaged
from shared.repository.ahead import fetched_ahead
from shared.repository.index import IndexedPack, Location
from shared.repository.index_files import named_packs
from shared.repository.needs import Needs, PruneProgress, find_needs
from shared.repository.packs import (
    DATA_PACK_BYTES,
    MOST_BLOBS,
    TREE_PACK_BYTES,
    SealedBlob,
    build_pack,
    pack_name,
)
from shared.repository.reader import open_blob
from shared.repository.repository import Repository
from shared.repository.writer import store_pack

PACKS_AHEAD = 2
"""Packs that are fetched while another one is copied."""


@dataclass(frozen=True, slots=True)
class PruneLimits:
    max_unused: float
    """Fraction of the bytes in packs that stay which nothing may need; what is above it is repacked."""
    max_repack_bytes: int
    """How many bytes of blobs one prune copies at most."""


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """What a prune would do. Names are those of blobs in the container ``share``, sizes are bytes."""

    used_packs: dict[str, int]
    """Packs that the snapshots need and that are there, those that are repacked too."""
    remove_packs: dict[str, int]
    """Packs that leave the index: nothing needs them, once those in ``repack`` are copied."""
    repack: dict[str, int]
    """Packs of which what is needed is copied into new ones, with the bytes of that."""
    gone_packs: tuple[str, ...]
    """Packs that an index names, that are not there, and that nothing needs."""
    unindexed: dict[str, int]
    """Packs that are there, that no index names and that nothing needs: of interrupted runs, or marked earlier."""
    rescued: dict[str, int]
    """Packs that no index names and that a snapshot needs: they are named again."""
    rewrite_indexes: tuple[str, ...]
    """Index files that name one of the packs that leave, or say of one what its header does not."""
    missing: tuple[str, ...]
    """Packs that are needed and not there, or too short; of data blobs that are nowhere, their ids. They stop nothing:
    an index goes on naming them."""
    used_bytes: int
    """Of blobs that are needed, each counted once."""
    unused_bytes: int
    """Of blobs in indexed packs that are not, further copies of needed ones included."""
    duplicates: int
    """How many further copies of needed blobs there are."""
    needs: Needs = field(repr=False)

    @property
    def bytes_repacked(self) -> int:
        return sum(self.repack.values())

    @property
    def bytes_freed(self) -> int:
        """What the repository is shorter by when all is deleted, but for the headers of the new packs."""
        return sum(self.remove_packs.values()) + sum(self.unindexed.values()) - self.bytes_repacked


@dataclass(slots=True)
class IndexChange:
    """What ``carry_out`` has made of the repository, and what may be deleted now."""

    obsolete_indexes: tuple[str, ...] = ()
    """Index files that may be deleted at once, in any order: all that is needed is named by others."""
    marked: dict[str, int] = field(default_factory=dict)
    """Packs with their bytes that nothing needs once ``obsolete_indexes`` are gone; for ``sweepable``, later."""
    written: list[str] = field(default_factory=list)
    """Packs and index files that were written, in this order."""
    bytes_repacked: int = 0
    damaged: dict[str, str] = field(default_factory=dict)
    """Packs that should have been repacked and stay as they are, with what is wrong with them."""


def plan_prune(
    repository: Repository,
    snapshots: Collection[str],
    limits: PruneLimits,
    *,
    also: Iterable[str] = (),
    check: Callable[[], None] = lambda: None,
    progress: PruneProgress | None = None,
) -> PrunePlan:
    """What is to be done so that the repository holds what ``snapshots`` (64 hex digits each) need, and the data blobs
    ``also`` as far as it has them. Only reads.

    ``check`` is called often; what it raises ends the plan. ``Damaged``, naming the object, when an index file, a
    snapshot or a tree cannot be read: nothing may be deleted then.
    """
    needs = find_needs(repository, snapshots, also=also, check=check, progress=progress)
    while True:
        plan = _Planner(needs, check).plan(limits)
        if not needs.prove(check, plan.repack):
            return plan


def carry_out(
    repository: Repository,
    plan: PrunePlan,
    *,
    check: Callable[[], None],
    progress: PruneProgress | None = None,
) -> IndexChange:
    """Write new packs, then index files that name them and all that stays. Deletes nothing.

    The plan must be one of the lock that is still held. Blobs are verified and copied as they are sealed.
    """
    change = IndexChange()
    files = plan.needs.index_files
    new = _Repacking(repository, plan.needs, change, check, progress or PruneProgress()).run(plan.repack)
    removed = {name: size for name, size in plan.remove_packs.items() if name not in change.damaged}
    leaving = _numbers(plan.needs, (*removed, *plan.gone_packs))
    obsolete = _naming(plan.needs, leaving) | dict.fromkeys(plan.needs.lying)
    named = {number for name, numbers in files.files.items() if name not in obsolete for number in numbers}
    stays = dict.fromkeys(number for name in obsolete for number in files.files[name])
    stays |= dict.fromkeys(_numbers(plan.needs, (*plan.rescued, *change.damaged)))

    def to_name() -> Iterator[IndexedPack]:
        for number in (*new, *stays):
            if number not in named and number not in leaving:
                check()
                yield files.pack(number)

    check()
    change.written += repository.write_index(to_name())
    change.obsolete_indexes = tuple(obsolete)
    change.marked = removed | plan.unindexed
    check()
    return change


def sweepable(
    repository: Repository, marked: Collection[str], *, check: Callable[[], None] = lambda: None
) -> dict[str, int]:
    """Of the packs in ``marked`` (names of blobs), those that are there and that no index file which exists names, with
    their bytes: they may be deleted. Reads every index file anew; ``Damaged``, naming it, when one cannot be read.

    To be asked after ``carry_out`` under the same lock: what a snapshot needs has been named again by then.
    """
    wanted = set(marked)
    there = {blob.name: blob.size_bytes for blob in repository.pack_blobs() if blob.name in wanted}
    for _, pack_id in named_packs(repository):
        there.pop(pack_name(pack_id), None)
    check()
    return there


def _numbers(needs: Needs, names: Collection[str]) -> set[int]:
    found = (needs.index_files.number(bytes.fromhex(name[-64:])) for name in names)
    return {number for number in found if number is not None}


def _naming(needs: Needs, numbers: Collection[int]) -> dict[str, None]:
    """The index files that name one of these packs."""
    files = needs.index_files.files
    return dict.fromkeys(name for name, packs in files.items() if any(number in numbers for number in packs))


@dataclass(slots=True)
class _Partial:
    """A pack of which a part is needed."""

    name: str
    used_bytes: int
    unused_bytes: int

    @property
    def waste(self) -> float:
        return self.unused_bytes / (self.used_bytes + self.unused_bytes)


class _Planner:
    """Sorts packs by what is needed of them."""

    def __init__(self, needs: Needs, check: Callable[[], None]) -> None:
        self._needs = needs
        self._check = check
        self._used: dict[str, int] = {}
        self._unused: dict[str, int] = {}
        self._gone: list[str] = []
        self._partial: list[_Partial] = []
        self._used_bytes = self._unused_bytes = self._duplicates = 0

    def plan(self, limits: PruneLimits) -> PrunePlan:
        needs = self._needs
        for number in range(len(needs.index_files)):
            self._check()
            self._sort(number)
        repack = self._choose(limits)
        unnamed = {blob.name: blob.size_bytes for pack, blob in needs.present.items() if not self._is_named(pack)}
        removed = {name: size for name, size in self._used.items() if name in repack} | self._unused
        return PrunePlan(
            used_packs=self._used,
            remove_packs=removed,
            repack=repack,
            gone_packs=tuple(self._gone),
            unindexed={name: size for name, size in unnamed.items() if name not in self._used},
            rescued={name: size for name, size in unnamed.items() if name in self._used and name not in repack},
            rewrite_indexes=tuple(
                _naming(needs, _numbers(needs, (*removed, *self._gone))) | dict.fromkeys(needs.lying)
            ),
            missing=tuple(needs.missing),
            used_bytes=self._used_bytes,
            unused_bytes=self._unused_bytes,
            duplicates=self._duplicates,
            needs=needs,
        )

    def _is_named(self, pack_id: bytes) -> bool:
        number = self._needs.index_files.number(pack_id)
        return number is not None and self._needs.is_named(number)

    def _sort(self, number: int) -> None:
        needs = self._needs
        pack_id = needs.index_files.pack_ids[number]
        there = needs.present.get(pack_id)
        if there is None:
            if not needs.is_used(number):
                self._gone.append(pack_name(pack_id))
        elif needs.is_used(number):
            self._used[there.name] = there.size_bytes
            if not needs.is_broken(number):
                self._weigh(number, there.name)
        elif needs.is_named(number):
            self._unused[there.name] = there.size_bytes
            self._weigh(number, there.name)

    def _weigh(self, number: int, name: str) -> None:
        usage = self._needs.usage(number)
        self._used_bytes += usage.used_bytes
        self._unused_bytes += usage.unused_bytes
        self._duplicates += usage.duplicates
        if usage.used_bytes and usage.unused_bytes:
            self._partial.append(_Partial(name, usage.used_bytes, usage.unused_bytes))

    def _choose(self, limits: PruneLimits) -> dict[str, int]:
        """The packs to repack: those with the most waste, until what is left is tolerated or the limit is reached."""
        unused_bytes = sum(pack.unused_bytes for pack in self._partial)
        budget = limits.max_repack_bytes
        chosen = {}
        for pack in sorted(self._partial, key=lambda pack: (-pack.waste, pack.name)):
            if unused_bytes <= limits.max_unused * (self._used_bytes + unused_bytes):
                break
            if pack.used_bytes <= budget:
                chosen[pack.name] = pack.used_bytes
                budget -= pack.used_bytes
                unused_bytes -= pack.unused_bytes
        return chosen


@dataclass(slots=True)
class _OpenPack:
    """A new pack that is being filled, of trees or of data."""

    tree: bool
    blobs: list[SealedBlob] = field(default_factory=list)
    bytes: int = 0

    def add(self, blob: SealedBlob) -> None:
        self.blobs.append(blob)
        self.bytes += len(blob.sealed)

    @property
    def is_full(self) -> bool:
        return self.bytes >= (TREE_PACK_BYTES if self.tree else DATA_PACK_BYTES) or len(self.blobs) >= MOST_BLOBS


@dataclass(slots=True)
class _Repacking:
    """Copies what is needed of packs into new ones."""

    repository: Repository
    needs: Needs
    change: IndexChange
    check: Callable[[], None]
    progress: PruneProgress
    _written: list[int] = field(default_factory=list)

    def run(self, names: Collection[str]) -> list[int]:
        """Returns the numbers of the new packs. One of whose needed blobs any is damaged is left out, and told."""
        data, trees = _OpenPack(tree=False), _OpenPack(tree=True)
        for name, body in fetched_ahead(self.repository.store.get, names, at_once=PACKS_AHEAD):
            self.check()
            try:
                blobs = list(self._verified(name, body))
            except Damaged as error:
                self.change.damaged[name] = str(error)
                continue
            for is_tree, blob in blobs:
                pack = trees if is_tree else data
                pack.add(blob)
                self.change.bytes_repacked += len(blob.sealed)
                self.progress.bytes_repacked += len(blob.sealed)
                if pack.is_full:
                    self._write(pack)
            self.progress.packs_repacked += 1
        for pack in (data, trees):
            if pack.blobs:
                self._write(pack)
        return self._written

    def _verified(self, name: str, body: bytes) -> Iterator[tuple[bool, SealedBlob]]:
        """What is needed of a pack, each blob opened once."""
        (number,) = _numbers(self.needs, [name])
        pack_id, view = bytes.fromhex(name[-64:]), memoryview(body)
        for blob in self.needs.used_blobs(number):
            sealed = view[blob.offset : blob.offset + blob.length]
            location = Location(pack_id, blob.offset, blob.length, blob.plain_length)
            open_blob(self.repository.key, sealed, blob.id, location)
            yield blob.is_tree, SealedBlob(blob.id, bytes(sealed), blob.plain_length)

    def _write(self, full: _OpenPack) -> None:
        pack, body = build_pack(self.repository.key, full.blobs, tree=full.tree)
        full.blobs, full.bytes = [], 0
        self.check()
        store_pack(self.repository.store, pack, body)
        self.change.written.append(pack_name(pack.id))
        self._written.append(self.needs.index_files.add(pack))
