"""A repository written by somebody who holds its key and means harm: every tool of ours ends, with our errors or none,
and nothing is written outside the target."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.fileshare.local_target import LocalTarget
from shared.fileshare.restore import RestoreResult, ShareRestore
from shared.fileshare.smb_target import _request
from shared.fileshare.target import NewFile
from shared.repository.checker import Checker, Finding
from shared.repository.presence import missing_content
from shared.repository.repository import Repository
from shared.repository.snapshots import load_snapshot
from shared.repository.trees import Metadata, dir_node, file_node, parse_node, tree_bytes
from shared.repository.writer import BlobWriter
from shared.smb import wire
from tests.examples import examples
from tests.fuzz.mutations import ABSURD, only_our_errors, places, with_absurd, without
from tests.unit.fileshare.helpers import Bench

METADATA = Metadata(1_700_000_000_000_000_000, 1_700_000_000_000_000_000, 0o755, creation=1 << 40, attributes=0x20)
SNAPSHOT = {"time": "2026-11-25T12:00:00Z", "paths": ["/share"], "hostname": "server"}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "bench")


@pytest.fixture
def playground(tmp_path: Path) -> Iterator[Path]:
    """Somewhere inside it lies the target; whatever else appears in it was written outside."""
    folder = tmp_path / "playground"
    (folder / "one").mkdir(parents=True)
    yield folder
    subprocess.run(["rm", "-rf", folder], check=True)  # may be too deep for pytest


def save_trees(bench: Bench, *trees: bytes) -> list[str]:
    with BlobWriter(bench.open()) as writer:
        return [writer.save(tree, tree=True).hex() for tree in trees]


def save_data(bench: Bench, data: bytes) -> str:
    with BlobWriter(bench.open()) as writer:
        return writer.save(data).hex()


def tree_of(*nodes: bytes) -> bytes:
    """Nodes as they are given, in any order and as often as they are given."""
    return b'{"nodes":[' + b",".join(nodes) + b"]}\n"


def use(bench: Bench, tree: str, playground: Path, *, include: tuple[str, ...] = ()) -> tuple[list[Finding], Any]:
    """Check, presence and restore of a share whose root is ``tree``."""
    snapshot = bench.open().save_unpacked("snapshots", json.dumps(SNAPSHOT | {"tree": tree}).encode())
    checker = Checker(bench.open())
    only_our_errors(lambda: checker.run(read_data=True))
    loaded = opened(bench)
    only_our_errors(lambda: load_snapshot(loaded, snapshot))
    only_our_errors(lambda: missing_content(loaded, tree))
    for pack in list(loaded.index.pack_ids())[:1]:
        path = bench.path / "data" / pack.hex()[:2] / pack.hex()
        if path.exists():  # with a pack missing, presence walks the trees
            path.rename(path.with_suffix(".away"))
            only_our_errors(lambda: missing_content(opened(bench), tree))
            path.with_suffix(".away").rename(path)
    result: list[RestoreResult] = []
    top = parse_node(json.loads(dir_node(b"share", METADATA, tree)))
    target = LocalTarget(playground / "one" / "target")
    restore = ShareRestore(opened(bench), target, include=include, overwrite=True)
    only_our_errors(lambda: result.append(restore.run(top)))
    assert {each.name for each in playground.iterdir()} == {"one"}
    assert {each.name for each in (playground / "one").iterdir()} <= {"target"}
    return checker.findings, result[0] if result else None


def opened(bench: Bench) -> Repository:
    repository = bench.open()
    only_our_errors(repository.load_index)
    return repository


def test_a_node_with_anything_in_any_place_costs_its_folder_and_no_other(bench: Bench, playground: Path) -> None:
    data = save_data(bench, b"four")
    file = json.loads(file_node(b"file", METADATA, 4, [data]))
    folder = json.loads(dir_node(b"folder", METADATA, "ab" * 32))
    texts = [
        each
        for node in (file, folder)
        for path in places(node)
        if path
        for each in (
            *(with_absurd(node, path, absurd) for absurd in ABSURD if len(absurd) < 9000),
            without(node, path),
        )
    ]
    trees = save_trees(bench, *(tree_of(text) for text in texts))
    good = file_node(b"good", METADATA, 4, [data])
    folders = [dir_node(b"%06d" % number, METADATA, tree) for number, tree in enumerate(trees)]
    (top,) = save_trees(bench, tree_of(*folders, good))

    findings, result = use(bench, top, playground)

    assert findings
    assert (playground / "one" / "target" / "good").read_bytes() == b"four"
    assert result.status == "partial"


def test_names_of_every_kind_and_names_that_are_there_twice(bench: Bench, playground: Path) -> None:
    data = save_data(bench, b"four")
    names = [b"..", b".", b"", b"a/b", b"../x", b"/etc/x", b"nul\0", b"n" * 256, b"\xff\xfe", b"\xed\xa0\x80", b"same"]
    (inside,) = save_trees(bench, tree_of(*(file_node(name, METADATA, 4, [data]) for name in names)))
    nodes = [dir_node(name, METADATA, inside) for name in names]
    nodes += [file_node(name, METADATA, 4, [data]) for name in names * 2]
    (top,) = save_trees(bench, tree_of(*nodes))

    use(bench, top, playground)
    use(bench, top, playground, include=("*",))


def test_folders_ten_thousand_deep(bench: Bench, playground: Path) -> None:
    with BlobWriter(bench.open()) as writer:
        tree = writer.save(tree_of(), tree=True).hex()
        for _ in range(10_000):
            tree = writer.save(tree_of(dir_node(b"n" * 200, METADATA, tree)), tree=True).hex()

    findings, result = use(bench, tree, playground)

    assert findings == []
    assert (result.status, len(result.reasons)) == ("failed", 1), "it ends where a path cannot be longer"


def test_a_file_of_very_many_blobs_that_are_not_its_size(bench: Bench, playground: Path) -> None:
    data = save_data(bench, b"four")
    file = file_node(b"file", METADATA, 7, [data] * 50_000)
    (top,) = save_trees(bench, tree_of(file))

    findings, result = use(bench, top, playground)

    assert len(findings) == 1
    assert (result.status, result.failed) == ("failed", 1)


def test_an_index_that_says_that_a_tree_holds_itself(bench: Bench, playground: Path) -> None:
    """A tree cannot name itself by its hash, so the index is made to lie: the tree's own name leads to another."""
    claimed = "ab" * 32
    (real,) = save_trees(bench, tree_of(dir_node(b"again", METADATA, claimed)))
    rewrite_index(bench, lambda text: text.replace(real, claimed))

    findings, result = use(bench, claimed, playground)

    assert findings
    assert result.reasons


def rewrite_index(bench: Bench, change: Any) -> None:
    repository = bench.open()
    for name in [blob.name for blob in bench.store.list("index/")]:
        text = json.dumps(repository.load_unpacked(name))
        bench.store.delete(name)
        repository.save_unpacked("index", change(text).encode())


@pytest.mark.parametrize("field", ["offset", "length", "uncompressed_length"])
@pytest.mark.parametrize("value", ["0", "31", "4294967295", "-1", '"x"'])
def test_an_index_with_absurd_places(bench: Bench, playground: Path, field: str, value: str) -> None:
    data = save_data(bench, b"some content " * 100)
    small = file_node(b"small", METADATA, 1300, [data])
    large = file_node(b"large", METADATA, 2600, [data] * 2)
    (top,) = save_trees(bench, tree_of(small, large))

    def change(text: str) -> str:
        document = json.loads(text)
        for pack in document["packs"]:
            for blob in pack["blobs"]:
                blob[field] = json.loads(value)
        return json.dumps(document)

    rewrite_index(bench, change)
    use(bench, top, playground)


@examples(12)
@given(place=st.integers(0, 1000), absurd=st.sampled_from(ABSURD))
def test_an_index_with_one_absurd_thing(tmp_path_factory: pytest.TempPathFactory, place: int, absurd: str) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    bench, playground = Bench(folder / "bench"), folder / "playground"
    (playground / "one").mkdir(parents=True)
    blob = save_data(bench, b"four")
    (inner,) = save_trees(bench, tree_bytes([(b"file", file_node(b"file", METADATA, 4, [blob]))]))
    (top,) = save_trees(bench, tree_bytes([(b"folder", dir_node(b"folder", METADATA, inner))]))

    def change(text: str) -> str:
        document = json.loads(text)
        found = [path for path in places(document) if path]
        return with_absurd(document, found[place % len(found)], absurd).decode()

    rewrite_index(bench, change)
    use(bench, top, playground)


@pytest.mark.parametrize("value", [-1, 1 << 32, None, "x", 1.5])
def test_an_index_that_names_absurd_places_in_a_pack_that_is_gone_is_a_finding(bench: Bench, value: object) -> None:
    blob = {"id": "cd" * 32, "type": "tree", "offset": value, "length": 40}
    document = json.dumps({"packs": [{"id": "ab" * 32, "blobs": [blob]}]})
    name = f"index/{bench.open().save_unpacked('index', document.encode())}"

    assert [finding.object for finding in Checker(bench.open()).run()] == [name]


def test_a_creation_time_beyond_what_smb_can_say_is_left_out() -> None:
    request = _request(NewFile("file", b"", METADATA._replace(creation=2**64 - 1), False))
    assert wire.set_basic(request.creation, request.write, request.attributes).body
