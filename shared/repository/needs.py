"""What snapshots need of a repository, blob by blob, and in which packs it lies.

A needed blob that no index names is looked for in the headers of packs that no index names: a writer that slept
through its lock's staleness may have relied on packs that a prune took out of the index meanwhile.

An index file may lie, for whoever may add to the vault may add one, and a pack whose header lies too. So where two
places of a data blob are named, a pack is given up for another one only when the blob was read there (``prove``); and
of a pack that two index files name in two ways, its header decides.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from shared.errors import BlobNotFound, Damaged
from shared.repository.ahead import fetched_ahead
from shared.repository.compression import MOST_DATA_BYTES
from shared.repository.index import BlobIndex, IndexedBlob, IndexedPack, Location
from shared.repository.index_files import IndexFiles, packs_named_by
from shared.repository.packs import pack_name
from shared.repository.reader import BlobReader, load_header, open_blob
from shared.repository.repository import Repository
from shared.repository.snapshots import load_snapshot
from shared.repository.walk import TreeWalker, data_ids
from shared.storage.blob_store import BlobInfo

HEADERS_AT_ONCE = 8
PACKS_AHEAD = 2
"""Packs that are fetched while the blobs of another one are opened."""
WHOLE_BYTES = 128 << 20
"""The largest pack that restic makes; of a longer one blobs are read one by one."""


@dataclass(slots=True)
class PruneProgress:
    """Counters that a display may read at any time."""

    snapshots: int = 0
    trees: int = 0
    packs_repacked: int = 0
    bytes_repacked: int = 0


_NOT, _ELSEWHERE, _USED = range(3)
"""What a blob in a pack is to the snapshots: not needed, needed and read from another place, needed."""
_NEEDED, _PROVEN, _FALSE = range(1, 4)
"""Marks of blobs: needed; and read where the index finds it; and not there, so that every other copy counts as
needed."""


class Usage(NamedTuple):
    """How much of a pack is needed, in bytes of blobs."""

    used_bytes: int
    unused_bytes: int
    duplicates: int
    """Blobs that are needed and read from another place."""


@dataclass(slots=True)
class Needs:
    """Found by ``find_needs``. Pack numbers are those of ``index_files``."""

    repository: Repository
    """With an index of its own: what lies in whole packs, and of two copies of a blob the one in the newer pack. So
    what was repacked counts, not what it was made of, where the old index file could not be deleted."""
    index_files: IndexFiles
    present: dict[bytes, BlobInfo]
    """Every pack that is there."""
    missing: dict[str, None] = field(default_factory=dict)
    """Packs that are needed and not there, or not as long as they should be; of data blobs that lie nowhere, their
    ids."""
    false: dict[str, None] = field(default_factory=dict)
    """Packs that do not hold what an index says, though another one may."""
    lying: set[str] = field(default_factory=set)
    """Index files that say of a pack what its header does not."""
    _looked_at: set[tuple[int, int]] = field(default_factory=set)
    """Packs and data blobs, by their numbers, of which every copy was read."""
    _false_places: set[tuple[int | None, int]] = field(default_factory=set)
    """Those of them where the blob is not."""
    _named: int = 0
    _broken: set[int] = field(default_factory=set)
    _broken_and_needed: set[int] = field(default_factory=set)
    _unindexed_read: bool = False
    _marks: tuple[bytearray, bytearray] = field(default_factory=lambda: (bytearray(), bytearray()))

    def used_packs(self) -> dict[str, int]:
        """Every pack that is there and that a snapshot needs, with its bytes."""
        used = {}
        for number, pack_id in enumerate(self.index_files.pack_ids):
            blob = self.present.get(pack_id)
            if blob and self.is_used(number):
                used[blob.name] = blob.size_bytes
        return used

    def is_used(self, number: int) -> bool:
        if number in self._broken:
            return number in self._broken_and_needed
        return any(self.used_blobs(number))

    def is_named(self, number: int) -> bool:
        """Whether an index file names the pack."""
        return number < self._named

    def is_broken(self, number: int) -> bool:
        """Whether the pack is not there, or has another length than its blobs."""
        return number in self._broken

    def used_blobs(self, number: int) -> Iterator[IndexedBlob]:
        """The blobs of a pack that is not broken that a snapshot needs and for which this is their place."""
        return (blob for blob, use in self._uses(number) if use == _USED)

    def usage(self, number: int) -> Usage:
        used_bytes = unused_bytes = duplicates = 0
        for blob, use in self._uses(number):
            if use == _USED:
                used_bytes += blob.length
            else:
                unused_bytes += blob.length
                duplicates += use == _ELSEWHERE
        return Usage(used_bytes, unused_bytes, duplicates)

    def _uses(self, number: int) -> Iterator[tuple[IndexedBlob, int]]:
        pack_id, index = self.index_files.pack_ids[number], self.repository.index
        for blob in self.index_files.blobs(number):
            known_as = index.number(blob.id, tree=blob.is_tree)
            mark = self._marks[blob.is_tree][known_as] if known_as >= 0 else 0
            if not mark:
                yield blob, _NOT
                continue
            location = index.find(blob.id, tree=blob.is_tree)
            here = location and location.pack == pack_id and location.offset == blob.offset
            if mark == _FALSE:
                yield blob, _NOT if (number, known_as) in self._false_places else _USED
            else:
                yield blob, _USED if here else _ELSEWHERE

    def untrue_indexes(self) -> set[str]:
        """Index files that lie, and those that name a pack which does not hold what it should."""
        numbers = {self.index_files.number(bytes.fromhex(name[-64:])) for name in self.false}
        return self.lying | {name for name, those in self.index_files.files.items() if not numbers.isdisjoint(those)}

    # --- finding them ---

    def settle_sizes(self, check: Callable[[], None]) -> None:
        """Of packs that are not as long as their blobs, look at the header: where two index files name a pack in two
        ways, both of them count up to here."""
        files = self.index_files
        sizes = {pack_id: files.size_bytes(number) for number, pack_id in enumerate(files.pack_ids)}
        odd = [
            blob for pack_id, size in sizes.items() if (blob := self.present.get(pack_id)) and blob.size_bytes != size
        ]
        headers = {}
        for blob, header in fetched_ahead(self._header, odd, at_once=HEADERS_AT_ONCE):
            check()
            if header is not None:
                pack = IndexedPack(bytes.fromhex(blob.name[-64:]), tuple(header))
                headers[files.replace(pack)] = pack
        for name, numbers in files.files.items():
            if not headers.keys().isdisjoint(numbers):
                check()
                named = {pack.id: pack for pack in packs_named_by(self.repository, name)}
                if any(
                    set(named[headers[each].id].blobs) != set(headers[each].blobs)
                    for each in numbers
                    if each in headers
                ):
                    self.lying.add(name)

    def add_whole_packs(self) -> None:
        self._named = len(self.index_files)
        whole = []
        for number, pack_id in enumerate(self.index_files.pack_ids):
            blob = self.present.get(pack_id)
            if blob and blob.size_bytes == self.index_files.size_bytes(number):
                whole.append((blob, number))
            else:
                self._broken.add(number)
        for _, number in sorted(whole, key=_newest_first):
            self._make_findable(number)

    def walk(self, snapshots: Collection[str], check: Callable[[], None], progress: PruneProgress) -> set[bytes]:
        """Mark what the snapshots need; returns the data blobs that are not found. ``Damaged``: a tree is not, or
        cannot be read."""
        roots = []
        for snapshot in sorted(snapshots):
            check()
            roots.append(load_snapshot(self.repository, snapshot).tree)
            progress.snapshots += 1
        lost: set[bytes] = set()
        walker = TreeWalker(BlobReader(self.repository), check=check)
        while roots:
            unnamed = []
            for tree in walker.walk(roots):
                if tree.pack is None and not self._unindexed_read and tree.error and _is_id(tree.id):
                    unnamed.append(tree.id)
                    continue
                if tree.error:
                    raise self._unreadable(tree.id, tree.error)
                progress.trees += 1
                self._mark(bytes.fromhex(tree.id), tree=True)
                for node in tree.nodes:
                    for blob_id in data_ids(node):
                        if not self._mark(blob_id, tree=False):
                            lost.add(blob_id)
            if unnamed:
                self.read_unindexed(check)
                for tree_id in unnamed:
                    walker.forget(tree_id)
            roots = unnamed
        return lost

    def add(self, data_blobs: Iterable[str]) -> None:
        """Data blobs that are needed besides; those that are not there are needed by nobody."""
        for blob_id in data_blobs:
            if _is_id(blob_id):
                self._mark(bytes.fromhex(blob_id), tree=False)

    def resolve(self, lost: set[bytes], check: Callable[[], None]) -> None:
        """Find what the walk did not find: in packs that no index names, else it is missing."""
        if not lost:
            return
        self.read_unindexed(check)
        named = self._broken_index()
        for blob_id in sorted(lost):
            if self._mark(blob_id, tree=False):
                continue
            location = named.find(blob_id, tree=False)
            if location is None:
                self.missing[blob_id.hex()] = None
                continue
            self.missing[pack_name(location.pack)] = None
            number = self.index_files.number(location.pack)
            if number is not None:
                self._broken_and_needed.add(number)

    def prove(self, check: Callable[[], None], packs: Collection[str] = ()) -> bool:
        """Read the data blobs for whose sake a pack that is there would be given up: one that is needed for no blob,
        because all lie elsewhere too, or one of ``packs``, which are to be repacked. Where a blob is not, every copy of
        it counts as needed from now on. Returns whether there was one."""
        doubtful: dict[bytes, dict[bytes, Location]] = {}
        for number, pack_id in enumerate(self.index_files.pack_ids):
            blob = self.present.get(pack_id)
            if blob is not None and (blob.name in packs or not self.is_used(number)):
                check()
                for each in self._displaced(number):
                    location = self.repository.index.find(each.id, tree=False)
                    if location is not None:
                        doubtful.setdefault(location.pack, {})[each.id] = location
        found_false = False
        for pack, body in fetched_ahead(self._body, doubtful, at_once=PACKS_AHEAD):
            for blob_id, location in doubtful[pack].items():
                check()
                true = self._lies_there(blob_id, location, body)
                self._marks[False][self.repository.index.number(blob_id, tree=False)] = _PROVEN if true else _FALSE
                if not true:
                    found_false = True
                    self.false[pack_name(pack)] = None
        if found_false:
            self._look_at_copies(check)
            self._broken_and_needed |= {
                number
                for number in self._broken
                if self.index_files.pack_ids[number] in self.present and any(self.used_blobs(number))
            }
        return found_false

    def _look_at_copies(self, check: Callable[[], None]) -> None:
        """Read every copy of the blobs that are not where the index finds them: there may be several false ones."""
        marks, number_of = self._marks[False], self.repository.index.number
        copies: dict[bytes, list[tuple[int, IndexedBlob]]] = {}
        for number, pack_id in enumerate(self.index_files.pack_ids):
            check()
            for blob in self.index_files.blobs(number) if pack_id in self.present else ():
                known_as = -1 if blob.is_tree else number_of(blob.id, tree=False)
                if known_as >= 0 and marks[known_as] == _FALSE and (number, known_as) not in self._looked_at:
                    self._looked_at.add((number, known_as))
                    copies.setdefault(pack_id, []).append((known_as, blob))
        for pack_id, body in fetched_ahead(self._body, copies, at_once=PACKS_AHEAD):
            for known_as, blob in copies[pack_id]:
                check()
                location = Location(pack_id, blob.offset, blob.length, blob.plain_length)
                if not self._lies_there(blob.id, location, body):
                    self.false[pack_name(pack_id)] = None
                    self._false_places.add((self.index_files.number(pack_id), known_as))

    def _displaced(self, number: int) -> Iterator[IndexedBlob]:
        """Data blobs of a pack that are read from another place, that nobody has read there yet. Trees the walk has."""
        marks, number_of = self._marks[False], self.repository.index.number
        for blob, use in self._uses(number):
            if use == _ELSEWHERE and not blob.is_tree and marks[number_of(blob.id, tree=False)] == _NEEDED:
                yield blob

    def _body(self, pack: bytes) -> bytes | None:
        """None: it is not there, or too long to be held."""
        blob = self.present.get(pack)
        if blob is None or blob.size_bytes > WHOLE_BYTES:
            return None
        try:
            return self.repository.store.get(blob.name)
        except BlobNotFound:
            return None

    def _lies_there(self, blob_id: bytes, location: Location, body: bytes | None) -> bool:
        try:
            if body is None:
                sealed: bytes | memoryview = BlobReader(self.repository).fetch(
                    location, location.offset, location.length
                )
            else:
                sealed = memoryview(body)[location.offset : location.offset + location.length]
            open_blob(self.repository.key, sealed, blob_id, location, MOST_DATA_BYTES)
        except Damaged:
            return False
        return True

    def read_unindexed(self, check: Callable[[], None]) -> None:
        """Make findable what lies in packs that no index names. Those whose header cannot be read hold nothing."""
        if self._unindexed_read:
            return
        self._unindexed_read = True
        unindexed = [blob for pack_id, blob in self.present.items() if self.index_files.number(pack_id) is None]
        unindexed.sort(key=lambda blob: _newest_first((blob, 0)))
        for blob, header in fetched_ahead(self._header, unindexed, at_once=HEADERS_AT_ONCE):
            check()
            if header is not None:
                self._make_findable(self.index_files.add(IndexedPack(bytes.fromhex(blob.name[-64:]), tuple(header))))

    def _header(self, blob: BlobInfo) -> list[IndexedBlob] | None:
        try:
            return load_header(self.repository, bytes.fromhex(blob.name[-64:]), blob.size_bytes)
        except (Damaged, BlobNotFound):
            return None

    def _make_findable(self, number: int) -> None:
        index = self.repository.index
        index.add_pack(self.index_files.pack(number))
        for tree in (False, True):
            marks = self._marks[tree]
            marks += bytes(index.count(tree=tree) - len(marks))

    def _mark(self, blob_id: bytes, *, tree: bool) -> bool:
        number = self.repository.index.number(blob_id, tree=tree)
        if number < 0:
            return False
        self._marks[tree][number] = self._marks[tree][number] or _NEEDED
        return True

    def _broken_index(self) -> BlobIndex:
        index = BlobIndex()
        for number in sorted(self._broken):
            index.add_pack(self.index_files.pack(number))
        return index

    def _unreadable(self, tree_id: str, error: Damaged) -> Damaged:
        """The error of a tree, naming the pack that it should lie in where an index names one."""
        location = self._broken_index().find(bytes.fromhex(tree_id), tree=True) if _is_id(tree_id) else None
        return Damaged(
            f"tree {tree_id}, which a snapshot needs, cannot be read: {error}",
            remedy="Nothing may be deleted until it can: run 'check', then 'undelete'.",
            blob=pack_name(location.pack) if location else error.object or tree_id,
        )


def find_needs(
    repository: Repository,
    snapshots: Collection[str],
    *,
    also: Iterable[str] = (),
    check: Callable[[], None] = lambda: None,
    progress: PruneProgress | None = None,
) -> Needs:
    """Read every index file, list the packs and walk the trees of ``snapshots`` (64 hex digits each).

    ``also``: ids of data blobs that are needed besides, as far as they are there.

    ``Damaged``, naming the object, when an index file, a snapshot or a tree cannot be read: then nobody knows what is
    needed. Data that is nowhere is told in ``missing``. What ``repository`` has loaded of the index is not looked at.
    """
    index_files = IndexFiles.read(repository, check=check)  # first: what an index names was there before it
    present = {bytes.fromhex(blob.name[-64:]): blob for blob in repository.pack_blobs()}
    needs = Needs(Repository(repository.store, repository.key, repository.config), index_files, present)
    needs.settle_sizes(check)
    needs.add_whole_packs()
    needs.resolve(needs.walk(snapshots, check, progress or PruneProgress()), check)
    needs.add(also)
    needs.prove(check)
    return needs


def _newest_first(packs: tuple[BlobInfo, int]) -> tuple[float, str]:
    blob, _ = packs
    return -blob.modified.timestamp(), blob.name


def _is_id(text: str) -> bool:
    return len(text) == 64 and all(digit in "0123456789abcdef" for digit in text)
