"""What the trees of a folder tell: how much is in it, and what of it is not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from shared.errors import Damaged
from shared.fileshare.folder_check import MOST_FILES, FolderCheck, NamedPacks, Totals, check_folder
from shared.repository.trees import Metadata, Node, dir_node, file_node, parse_node, tree_bytes
from shared.repository.writer import BlobWriter
from tests.unit.fileshare.helpers import Bench

ANY = Metadata(mtime_ns=0, ctime_ns=0)
Json = dict[str, Any]


class Trees:
    """Folders of a snapshot as somebody else may have written them."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._writer = BlobWriter(bench.open())
        self._writer.__enter__()

    def blob(self, content: bytes) -> str:
        return self._writer.save(content, tree=False).hex()

    def tree(self, *nodes: bytes) -> str:
        return self._writer.save(
            tree_bytes((orjson.loads(node)["name"].encode(), node) for node in nodes), tree=True
        ).hex()

    def folder(self, name: str, tree: str) -> bytes:
        return dir_node(name.encode(), ANY, tree)

    def file(self, name: str, text: bytes = b"x", **changes: object) -> bytes:
        node: Json = orjson.loads(file_node(name.encode(), ANY, len(text), [self.blob(text)] if text else []))
        return orjson.dumps(node | changes)

    def check(self, tree: str | None) -> FolderCheck:
        self._writer.__exit__(None, None, None)
        repository = self._bench.open()
        repository.load_index(present=repository.list_packs())
        fields = orjson.loads(dir_node(b"WebSites", ANY, tree or "00" * 32))
        if tree is None:
            del fields["subtree"]
        return check_folder(repository, parse_node(fields))


@pytest.fixture
def trees(tmp_path: Path) -> Trees:
    return Trees(Bench(tmp_path))


def test_everything_below_counts_and_the_folder_too(trees: Trees) -> None:
    below = trees.tree(trees.file("b", b"four"), trees.file("empty", b""))
    found = trees.check(trees.tree(trees.file("a", b"abc"), trees.folder("site", below)))
    assert (found.totals, found.damages) == (Totals(files=3, folders=2, size_bytes=7), {})


def test_a_tree_counts_wherever_it_lies(trees: Trees) -> None:
    same = trees.tree(trees.file("a"), trees.file("b"))
    twice = trees.tree(trees.folder("one", same), trees.folder("two", same))
    found = trees.check(trees.tree(trees.folder("x", twice), trees.folder("y", same)))
    assert found.totals == Totals(files=6, folders=5, size_bytes=6)


def test_trees_that_claim_more_than_there_can_be_are_damage(trees: Trees) -> None:
    """A few kilobytes that a restore would never come to the end of."""
    tree = trees.tree(trees.file("a"))
    for _ in range(60):
        tree = trees.tree(trees.folder("left", tree), trees.folder("right", tree))
    found = trees.check(tree)
    assert found.totals.files == MOST_FILES
    assert "more than any share" in found.damages[tree]


def test_a_share_as_deep_as_can_be_is_counted(trees: Trees) -> None:
    tree = trees.tree(trees.file("a"))
    for _ in range(3_000):
        tree = trees.tree(trees.folder("d", tree))
    assert trees.check(tree).totals == Totals(files=1, folders=3_001, size_bytes=1)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"content": None}, "no list of blobs"),
        ({"size": 7}, "has size 7, and its blobs are 1 bytes long"),
        ({"content": ["ff" * 32]}, "which no index names"),
        ({"content": ["no id"]}, "cannot be read"),
        ({"mtime": "yesterday"}, "no RFC 3339 time"),
    ],
    ids=str,
)
def test_a_file_that_could_not_be_restored_is_damage(trees: Trees, changes: Json, told: str) -> None:
    found = trees.check(trees.tree(trees.file("a", **changes), trees.file("b")))
    (message,) = found.damages.values()
    assert told in message


def test_a_folder_without_a_tree_is_damage(trees: Trees) -> None:
    lacking = orjson.loads(trees.folder("d", "00" * 32)) | {"subtree": None}
    found = trees.check(trees.tree(orjson.dumps(lacking)))
    (message,) = found.damages.values()
    assert "has no tree" in message


def test_a_tree_that_is_nowhere_is_named(trees: Trees) -> None:
    assert "ee" * 32 in trees.check(trees.tree(trees.folder("d", "ee" * 32))).damages


def test_the_folder_itself_may_have_no_tree(trees: Trees) -> None:
    assert "has no tree" in trees.check(None).damages[""]


def test_what_a_restore_leaves_out_is_told(trees: Trees) -> None:
    link = orjson.loads(trees.file("link", b"")) | {"type": "symlink", "linktarget": "a"}
    attributed = trees.file("with", extended_attributes=[{"name": "user.x", "value": "eA=="}])
    found = trees.check(trees.tree(trees.file("a"), orjson.dumps(link), attributed))
    assert (found.special, found.with_attributes, found.totals.files) == ("link", "with", 2)


def test_the_walk_tells_how_far_it_is_and_can_be_ended(trees: Trees, tmp_path: Path) -> None:
    tree = trees.tree(trees.file("a", b"abc"), trees.folder("d", trees.tree(trees.file("b"))))
    assert trees.check(tree).totals.files == 2
    repository = Bench(tmp_path).open()
    repository.load_index()
    told: list[tuple[int, int]] = []
    node: Node = parse_node(orjson.loads(dir_node(b"WebSites", ANY, tree)))
    check_folder(repository, node, progress=lambda files, size_bytes: told.append((files, size_bytes)))
    assert told == [(1, 3), (1, 1)]

    def end() -> None:
        raise Damaged("somebody asked for it")

    with pytest.raises(Damaged, match="asked"):
        check_folder(repository, node, check=end)


def test_a_blob_that_no_index_names_is_in_no_pack(tmp_path: Path) -> None:
    named = NamedPacks(Bench(tmp_path).open())
    assert named.find("ab" * 32, tree=True) is None
    assert named.find("no id", tree=False) is None
