"""One walk hands out each tree once, readable or not, and reads each pack about once."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from shared.errors import Damaged, StorageUnavailable
from shared.repository.reader import BlobReader
from shared.repository.repository import Repository
from shared.repository.trees import Metadata, dir_node, tree_bytes
from shared.repository.walk import TreeWalker, data_ids
from tests.faults.helpers import Watched
from tests.unit.repository.model import Model

TIMES = Metadata(mtime_ns=10**18, ctime_ns=10**18)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return Model.make(tmp_path / "share")


def _hex(tree: bytes) -> str:
    return hashlib.sha256(tree).hexdigest()


def _folder(*below: bytes, salt: str = "") -> bytes:
    """A tree of folders that hold ``below``."""
    nodes = []
    for number, tree in enumerate(below):
        name = f"{salt}{number}".encode()
        nodes.append((name, dir_node(name, TIMES, _hex(tree))))
    return tree_bytes(nodes)


def _loaded(model: Model, store: Watched | None = None) -> Repository:
    repository = model.open(store)
    repository.load_index()
    return repository


def test_trees_that_several_roots_share_are_handed_out_once(model: Model) -> None:
    leaf, other = _folder(), tree_bytes(())
    assert leaf == other
    middle = _folder(leaf, leaf, salt="m")
    roots = [_folder(middle, salt=salt) for salt in "ab"]
    model.pack(leaf, middle, *roots, tree=True)
    model.index()
    walker = TreeWalker(BlobReader(_loaded(model)))
    walked = [tree.id for tree in walker.walk(map(_hex, roots))]
    assert sorted(walked) == sorted(map(_hex, (leaf, middle, *roots)))
    assert list(walker.walk([_hex(roots[0])])) == []
    walker.forget(_hex(middle))
    assert [tree.id for tree in walker.walk([_hex(middle)])] == [_hex(middle)]


def test_each_pack_is_fetched_once_however_its_trees_are_mixed_with_others(model: Model) -> None:
    leaves = [_folder(_folder(), salt=f"l{number}") for number in range(60)]
    middles = [_folder(*leaves[number::6], salt=f"m{number}") for number in range(6)]
    root = _folder(*middles)
    packs = [model.pack(*leaves[start : start + 10], tree=True) for start in range(0, 60, 10)]
    packs += [model.pack(_folder(), tree=True), model.pack(*middles, tree=True), model.pack(root, tree=True)]
    model.index()
    gets: Counter[str] = Counter()
    store = Watched(model.store, before=lambda kind, name: gets.update([name] if name.startswith("data/") else ()))
    walked = [tree.id for tree in TreeWalker(BlobReader(_loaded(model, store))).walk([_hex(root)])]
    assert len(walked) == 1 + 6 + 60 + 1
    assert gets == Counter(packs)


def test_a_tree_that_cannot_be_read_is_handed_out_with_its_error_and_the_others_are_walked(model: Model) -> None:
    gone, flipped, unnamed, fine = (_folder(_folder(), salt=salt) for salt in "abcd")
    root = _folder(gone, flipped, unnamed, fine, salt="r")
    gone_pack, flipped_pack = model.pack(gone, tree=True), model.pack(flipped, tree=True)
    model.pack(root, fine, _folder(), tree=True)
    model.index()
    model.store.delete(gone_pack)
    body = model.store.get(flipped_pack)
    model.store.delete(flipped_pack)
    model.store.put(flipped_pack, body[:20] + bytes([body[20] ^ 1]) + body[21:])
    errors = {}
    for tree in TreeWalker(BlobReader(_loaded(model))).walk([_hex(root)]):
        if tree.error:
            errors[tree.id] = (tree.pack, tree.error.object)
            assert tree.nodes == []
    assert errors == {
        _hex(gone): (gone_pack, gone_pack),
        _hex(flipped): (flipped_pack, flipped_pack),
        _hex(unnamed): (None, _hex(unnamed)),
    }


@pytest.mark.parametrize("subtree", ["zz", "ab" * 31, "é" * 64])
def test_what_is_no_id_is_an_error_of_its_own(model: Model, subtree: str) -> None:
    root = b'{"nodes":[{"name":"x","type":"dir","subtree":"' + subtree.encode() + b'"},{"name":"y","subtree":7}]}\n'
    model.pack(root, tree=True)
    model.index()
    first, *rest = TreeWalker(BlobReader(_loaded(model))).walk([_hex(root)])
    assert first.error is None
    assert [(tree.id, tree.pack) for tree in rest] == [(subtree, None), ("7", None)]
    assert all(tree.error for tree in rest)


@pytest.mark.parametrize("content", [["zz"], [7], [None], 7, ["ab" * 31]])
def test_content_that_is_no_list_of_ids_is_damage(content: object) -> None:
    with pytest.raises(Damaged):
        data_ids({"name": "x", "content": content})


def test_a_storage_that_fails_ends_the_walk(model: Model) -> None:
    def fail(kind: str, name: str) -> None:
        if name.startswith("data/"):
            raise StorageUnavailable("no answer")

    model.pack(_folder(), tree=True)
    model.index()
    walker = TreeWalker(BlobReader(_loaded(model, Watched(model.store, before=fail))))
    with pytest.raises(StorageUnavailable):
        list(walker.walk([_hex(_folder())]))
