"""A restore of just some files: no tree is read that has none of them, and of what lies beside them nothing is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import Damaged
from shared.fileshare.local_target import LocalTarget
from shared.fileshare.patterns import Files
from shared.fileshare.restore import RestoreResult, ShareRestore
from shared.repository.reader import BlobReader
from shared.repository.trees import dir_node, file_node, parse_node, tree_bytes
from shared.repository.writer import BlobWriter
from tests.standins.memory_share import MemoryShare
from tests.unit.fileshare.helpers import Bench
from tests.unit.fileshare.test_restoring_names import METADATA


def restored(target: Path) -> dict[str, bytes]:
    return {str(path.relative_to(target)): path.read_bytes() for path in sorted(target.rglob("*")) if path.is_file()}


@pytest.fixture
def snapshot(bench: Bench, share: MemoryShare) -> str:
    made: str = bench.back_up(share.open)["snapshot"]
    return made


def run(bench: Bench, snapshot: str, target: Path, *paths: str) -> RestoreResult:
    repository = bench.open()
    repository.load_index()
    restore = ShareRestore(repository, LocalTarget(target), only=Files(paths))
    return restore.run(parse_node(bench.nodes(snapshot)[""]))


def test_just_these_files_come_back(bench: Bench, share: MemoryShare, snapshot: str, tmp_path: Path) -> None:
    paths = ("top.txt", "site1/wwwroot/page2.html", "site0/big.log")
    result = run(bench, snapshot, tmp_path / "t", *paths)
    assert (result.status, result.restored, result.reasons) == ("complete", 3, [])
    assert restored(tmp_path / "t") == {path: content for path, content in share.content().items() if path in paths}


def test_no_file_is_none_and_not_all_of_them(bench: Bench, snapshot: str, tmp_path: Path) -> None:
    assert run(bench, snapshot, tmp_path / "t").restored == 0
    assert restored(tmp_path / "t") == {}


def test_only_trees_that_lead_to_them_are_read(
    bench: Bench, snapshot: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    tree = BlobReader.tree

    def watching(self: BlobReader, tree_id: str) -> list[dict[str, object]]:
        read.append(tree_id)
        return tree(self, tree_id)

    nodes = bench.nodes(snapshot)
    monkeypatch.setattr(BlobReader, "tree", watching)
    repository = bench.open()
    repository.load_index()
    only = Files(["site1/wwwroot/page2.html"])
    ShareRestore(repository, LocalTarget(tmp_path / "t"), only=only).run(parse_node(nodes[""]))
    assert read == [nodes[path]["subtree"] for path in ("", "site1", "site1/wwwroot")]


def test_a_link_or_a_damaged_folder_beside_them_is_not_told(bench: Bench, tmp_path: Path) -> None:
    repository = bench.open()
    with BlobWriter(repository) as writer:
        content = writer.save(b"content", tree=False).hex()
        link = file_node(b"link", METADATA, 0, ()).replace(b'"type":"file"', b'"type":"symlink"')
        nodes = [
            (b"file", file_node(b"file", METADATA, 7, [content])),
            (b"gone", dir_node(b"gone", METADATA, "ab" * 32)),
            (b"link", link),
        ]
        tree = writer.save(tree_bytes(nodes), tree=True).hex()
    reader = bench.open()
    reader.load_index()
    with pytest.raises(Damaged):
        BlobReader(reader).tree("ab" * 32)
    moment = "2026-01-01T00:00:00Z"
    folder = parse_node({"name": "s", "type": "dir", "mtime": moment, "ctime": moment, "subtree": tree})
    result = ShareRestore(reader, LocalTarget(tmp_path / "t"), only=Files(["file"])).run(folder)
    assert (result.status, result.restored, result.reasons) == ("complete", 1, [])
