"""Walking trees: each that a set of roots leads to, once, whichever pack it lies in."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from shared.errors import Damaged
from shared.repository.index import Location, parse_id
from shared.repository.packs import pack_name
from shared.repository.reader import BlobReader, open_blob
from shared.repository.trees import parse_tree

PACKS_AHEAD = 3
"""Tree packs on their way while another one is used; with ``reader.KEPT_TREE_PACKS``, what bounds a walk's memory."""


@dataclass(frozen=True, slots=True)
class WalkedTree:
    """A tree that was reached. Where ``error`` is set it could not be read, and nothing below it is known."""

    id: str
    """64 hex digits, unless ``error`` says that it is no id."""
    pack: str | None
    """Name of the blob that it lies in; None: no index names it."""
    body: bytes = b""
    nodes: list[dict[str, Any]] = field(default_factory=list)
    error: Damaged | None = None
    """Its ``object`` is the pack, or the tree's id where no index names it."""


class TreeWalker:
    """Walks of one repository that hand out no tree twice. For one thread.

    Trees that lie in one pack are taken together and the next packs are fetched meanwhile, so a pack is read about
    once; the order is no other.
    """

    def __init__(self, reader: BlobReader, *, check: Callable[[], None] = lambda: None) -> None:
        """``check`` is called before each tree; what it raises ends the walk."""
        self._reader = reader
        self._check = check
        self._seen: set[bytes] = set()

    def forget(self, tree_id: str) -> None:
        """Let the next walk that comes to a tree try it again."""
        self._seen.discard(bytes.fromhex(tree_id))

    def walk(self, roots: Iterable[str]) -> Generator[WalkedTree]:
        """Every tree from ``roots`` down that was not handed out before, the unreadable ones too.

        Errors of the storage other than a missing blob are raised. Close it when it is not used to its end.
        """
        waiting = _Waiting(self._reader)
        with ThreadPoolExecutor(PACKS_AHEAD, "walk") as pool:
            yield from self._enter(roots, waiting)
            while waiting:
                pack, body = waiting.next_pack(pool)
                while trees := waiting.packs[pack]:
                    tree_id, location = trees.pop()
                    self._check()
                    tree = self._open(tree_id, location, body)
                    yield tree
                    below = (node["subtree"] for node in tree.nodes if node.get("subtree"))
                    yield from self._enter(below, waiting)
                waiting.done(pack)

    def _enter(self, tree_ids: Iterable[str], waiting: _Waiting) -> Generator[WalkedTree]:
        """Put trees among those that wait; hands out the ones that cannot be found."""
        for text in tree_ids:
            try:
                tree_id = parse_id(text)
            except (TypeError, ValueError):
                yield WalkedTree(str(text), None, error=Damaged(f"{text!r} is no tree's id", blob=str(text)))
                continue
            if tree_id in self._seen:
                continue
            self._seen.add(tree_id)
            try:
                waiting.add(tree_id, self._reader.locate(tree_id, tree=True))
            except Damaged as error:
                self._check()
                yield WalkedTree(text, None, error=error)

    def _open(self, tree_id: bytes, location: Location, body: bytes | Damaged) -> WalkedTree:
        text, pack = tree_id.hex(), pack_name(location.pack)
        try:
            if isinstance(body, Damaged):
                raise body
            sealed = memoryview(body)[location.offset : location.offset + location.length]
            plain = open_blob(self._reader.repository.key, sealed, tree_id, location)
            return WalkedTree(text, pack, plain, parse_tree(plain))
        except Damaged as error:
            return WalkedTree(text, pack, error=Damaged(str(error), remedy=error.remedy, blob=pack))


class _Waiting:
    """Trees that are known and not handed out, by the pack that they lie in."""

    def __init__(self, reader: BlobReader) -> None:
        self.packs: dict[bytes, list[tuple[bytes, Location]]] = {}
        self._reader = reader
        self._fetches: dict[bytes, Future[bytes]] = {}

    def __bool__(self) -> bool:
        return bool(self.packs)

    def add(self, tree_id: bytes, location: Location) -> None:
        self.packs.setdefault(location.pack, []).append((tree_id, location))

    def next_pack(self, pool: ThreadPoolExecutor) -> tuple[bytes, bytes | Damaged]:
        """The pack that waits longest, its bytes or why there are none; those behind it are sent for."""
        for at, (pack, trees) in enumerate(self.packs.items()):
            if at > PACKS_AHEAD:
                break
            if pack not in self._fetches:
                self._fetches[pack] = pool.submit(self._reader.whole_pack, trees[0][1])
        pack = next(iter(self.packs))
        try:
            return pack, self._fetches.pop(pack).result()
        except Damaged as error:
            return pack, error

    def done(self, pack: bytes) -> None:
        del self.packs[pack]


def data_ids(node: dict[str, Any]) -> list[bytes]:
    """The data blobs that a node refers to. ``Damaged`` when it names something else than ids."""
    try:
        return [parse_id(text) for text in node.get("content") or ()]
    except (TypeError, ValueError) as error:
        raise Damaged(f"the node {node.get('name')!r} refers to something that is no blob: {error}") from error
