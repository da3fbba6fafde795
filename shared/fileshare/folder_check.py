"""Whether all that a folder of a snapshot needs is in the vault, and how much is in it: by its trees alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from shared.errors import Damaged, printable
from shared.repository.packs import pack_name
from shared.repository.reader import BlobReader
from shared.repository.repository import Repository
from shared.repository.trees import Node, parse_node
from shared.repository.walk import TreeWalker, WalkedTree

MOST_FILES = 2**53
"""A few small trees that name each other often enough can claim any number."""
MOST_DAMAGES = 1000
NOT_WHOLE = "and its pack is not there, not as long as it should be, or was found rotten"


class Totals(NamedTuple):
    """A folder that lies in several places counts in each."""

    files: int = 0
    folders: int = 0
    """With the folder itself."""
    size_bytes: int = 0


@dataclass(slots=True)
class FolderCheck:
    """What ``check_folder`` found. The numbers hold where there is no damage."""

    totals: Totals = field(default_factory=Totals)
    damages: dict[str, str] = field(default_factory=dict)
    """Names of packs, or ids of what no index names, and what is wrong with the first that needs them."""
    special: str | None = None
    """Name of some link or special file, which a restore leaves out."""
    with_attributes: str | None = None
    """Name of some file or folder with extended attributes, which a restore leaves out."""


def check_folder(
    repository: Repository,
    folder: Node,
    *,
    check: Callable[[], None] = lambda: None,
    progress: Callable[[int, int], None] = lambda files, size_bytes: None,
) -> FolderCheck:
    """Walk all trees of ``folder``. The index of ``repository`` must be loaded with the packs that are there, so that
    it names no blob that is not.

    ``progress`` is told of files and bytes as they are counted, once for each tree. Errors of the storage are raised.
    """
    return _Check(repository, check, progress).run(folder)


class NamedPacks:
    """Where index files say that a blob is that was not found: the pack that is gone, or not what it should be."""

    def __init__(self, repository: Repository) -> None:
        self._own = repository
        self._everything: Repository | None = None

    def find(self, blob_id: str, *, tree: bool) -> str | None:
        """The pack's name; None: no index names the blob. Reads every index file, once."""
        if self._everything is None:
            self._everything = Repository(self._own.store, self._own.key, self._own.config)
            self._everything.load_index()
        found = self._everything.index.find(bytes.fromhex(blob_id), tree=tree) if _is_id(blob_id) else None
        return pack_name(found.pack) if found is not None else None


class _Counted(NamedTuple):
    own: Totals
    below: list[str]


class _Check:
    def __init__(self, repository: Repository, check: Callable[[], None], progress: Callable[[int, int], None]) -> None:
        self._repository = repository
        self._check = check
        self._progress = progress
        self._result = FolderCheck()
        self._named = NamedPacks(repository)

    def run(self, folder: Node) -> FolderCheck:
        if folder.subtree is None:
            self._damage("", f"the folder {printable(folder.name.decode('utf-8', 'replace'))} has no tree")
            return self._result
        trees: dict[str, _Counted] = {}
        walker = TreeWalker(BlobReader(self._repository), check=self._check)
        for tree in walker.walk([folder.subtree]):
            if tree.error is not None:
                self._lost(tree.id, is_tree=True, why=str(tree.error), name=tree.pack)
                continue
            counted = trees[tree.id] = self._count(tree)
            self._progress(counted.own.files, counted.own.size_bytes)
        if not self._result.damages:
            self._result.totals = _total(trees, folder.subtree)
            if self._result.totals.files >= MOST_FILES or self._result.totals.size_bytes >= MOST_FILES:
                self._damage(folder.subtree, "by its trees it holds more than any share can")
        return self._result

    def _count(self, tree: WalkedTree) -> _Counted:
        files = size_bytes = 0
        below: list[str] = []
        for fields in tree.nodes:
            try:
                node = parse_node(fields)
                if node.kind == "file":
                    self._check_file(node)
                    files += 1
                    size_bytes += node.size_bytes
                elif node.kind == "dir":
                    if node.subtree is None:
                        raise Damaged(f"the folder {_shown(node)} has no tree")
                    below.append(node.subtree)
                else:
                    self._result.special = self._result.special or _shown(node)
                if fields.get("extended_attributes"):
                    self._result.with_attributes = self._result.with_attributes or _shown(node)
            except Damaged as error:
                self._damage(error.object or tree.pack or tree.id, str(error))
        return _Counted(Totals(files, 1, size_bytes), below)

    def _check_file(self, node: Node) -> None:
        if node.fields.get("content") is None:
            raise Damaged(f"the file {_shown(node)} has no list of blobs")
        total = 0
        for text in node.content:
            found = self._repository.index.find(bytes.fromhex(text), tree=False)
            if found is None:
                self._lost(text, is_tree=False, why=f"the file {_shown(node)} needs the blob {text}", name=None)
                return
            total += found.plain_bytes
        if total != node.size_bytes:
            raise Damaged(
                f"the file {_shown(node)} has size {node.size_bytes:,}, and its blobs are {total:,} bytes long"
            )

    def _lost(self, blob_id: str, *, is_tree: bool, why: str, name: str | None) -> None:
        """Something that is not where it should be, or cannot be opened, by the pack that an index names for it."""
        if name is None:
            name = self._named.find(blob_id, tree=is_tree)
            why += f", {NOT_WHOLE}" if name else ", which no index names"
        self._damage(name or blob_id, why)

    def _damage(self, name: str, why: str) -> None:
        if len(self._result.damages) < MOST_DAMAGES:
            self._result.damages.setdefault(name, why)


def _total(trees: dict[str, _Counted], root: str) -> Totals:
    done: dict[str, Totals] = {}
    waiting = [root]
    while waiting:
        tree = waiting[-1]
        unknown = [each for each in trees[tree].below if each not in done] if tree not in done else []
        if unknown:
            waiting += unknown
            continue
        waiting.pop()
        if tree not in done:
            parts = [trees[tree].own, *(done[each] for each in trees[tree].below)]
            done[tree] = Totals(*(min(sum(column), MOST_FILES) for column in zip(*parts, strict=True)))
    return done[root]


def _shown(node: Node) -> str:
    return printable(node.name.decode("utf-8", "replace"))


def _is_id(text: Any) -> bool:  # Any: out of a tree, where anything may stand
    return isinstance(text, str) and len(text) == 64 and all(digit in "0123456789abcdef" for digit in text)
