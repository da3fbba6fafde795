"""Where the share lies inside a snapshot: paths as people write them, folders as restic has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import Damaged, UsageError
from shared.fileshare.inside import find_folder, holds_some_only, parts_of, share_folder
from shared.repository.reader import BlobReader
from shared.repository.trees import Metadata, dir_node, tree_bytes
from shared.repository.writer import BlobWriter
from tests.unit.fileshare.helpers import Bench

UNC = "\\\\fs01\\WebSites"


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("D:\\WebSites", ("D", "WebSites")),
        ("d:\\WebSites\\", ("d", "WebSites")),
        ("D:/data/WebSites", ("D", "data", "WebSites")),
        ("D:\\data//WebSites", ("D", "data", "WebSites")),
        ("/D/WebSites", ("D", "WebSites")),
        ("/D/WebSites/", ("D", "WebSites")),
        ("/D:/WebSites", ("D", "WebSites")),
        ("/D:\\WebSites", ("D", "WebSites")),
        ("D:", ("D",)),
        ("D:\\", ("D",)),
        (UNC, (UNC,)),
        ("\\\\fs01\\data\\Web Sites", ("\\\\fs01\\data", "Web Sites")),
        ("//fs01/data/WebSites", ("\\\\fs01\\data", "WebSites")),
        (f"/{UNC}/inner", (UNC, "inner")),
        ("/srv/./WebSites", ("srv", "WebSites")),
        ("WebSites", ("WebSites",)),
        ("/srv/a:b\\c", ("srv", "a:b\\c")),
        ("ab:\\c", ("ab:\\c",)),
    ],
)
def test_a_path_is_found_however_it_is_written(path: str, parts: tuple[str, ...]) -> None:
    assert parts_of(path) == parts


@pytest.mark.parametrize("path", ["", "/", "//", "\\\\", "\\\\fs01", "/srv/../etc", "D:\\..\\x", "."])
def test_what_names_no_folder_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="it names"):
        parts_of(path)


class Tree:
    """A snapshot's root, made of folders alone."""

    def __init__(self, bench: Bench) -> None:
        self._repository = bench.open()
        self.reader = BlobReader(self._repository)

    def save(self, folders: dict[str, object]) -> str:
        with BlobWriter(self._repository) as writer:
            return self._save(writer, folders)

    def _save(self, writer: BlobWriter, folders: dict[str, object]) -> str:
        nodes = []
        for name, below in folders.items():
            assert isinstance(below, dict)
            raw = name.encode()
            nodes.append((raw, dir_node(raw, Metadata(mtime_ns=0, ctime_ns=0), self._save(writer, below))))
        return writer.save(tree_bytes(nodes), tree=True).hex()


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(Bench(tmp_path))


def test_a_folder_is_found_in_the_case_that_the_snapshot_has(tree: Tree) -> None:
    root = tree.save({"D": {"WebSites": {}}, UNC: {"inner": {}}})
    for path, there in [
        ("D:\\WebSites", "/D/WebSites"),
        ("d:\\websites", "/D/WebSites"),
        ("\\\\FS01\\websites\\Inner", f"/{UNC}/inner"),
    ]:
        found = find_folder(tree.reader, root, parts_of(path))
        assert found is not None
        assert found[1] == there
        assert share_folder(tree.reader, root, None, there) == found[0]


def test_of_two_names_that_differ_in_case_only_the_very_one_is_taken(tree: Tree) -> None:
    root = tree.save({"WebSites": {"a": {}}, "websites": {"b": {}}})
    found = find_folder(tree.reader, root, ("websites",))
    assert found is not None
    assert found[1] == "/websites"
    assert find_folder(tree.reader, root, ("WEBSITES",)) is None


@pytest.mark.parametrize("path", ["E:\\WebSites", "D:\\WebSites\\deeper", "D:\\Other"])
def test_what_is_not_there_is_not_found(tree: Tree, path: str) -> None:
    assert find_folder(tree.reader, tree.save({"D": {"WebSites": {}}}), parts_of(path)) is None


def test_a_share_that_is_not_where_its_record_says_is_damage(tree: Tree) -> None:
    with pytest.raises(Damaged, match="/D/Gone"):
        share_folder(tree.reader, tree.save({"D": {"WebSites": {}}}), "WebSites", "/D/Gone")


def test_without_a_path_it_is_the_folder_at_the_top(tree: Tree) -> None:
    alone, two = tree.save({"other": {}}), tree.save({"WebSites": {}, "other": {}})
    assert share_folder(tree.reader, alone, "WebSites").name == b"other"
    assert share_folder(tree.reader, two, "WebSites").name == b"WebSites"
    with pytest.raises(UsageError, match="several folders"):
        share_folder(tree.reader, two, "gone")


@pytest.mark.parametrize(
    ("paths", "parts", "some_only"),
    [
        (["D:\\WebSites"], "/D/WebSites", False),
        (["d:\\websites\\"], "D:\\WebSites", False),
        (["D:\\"], "D:\\WebSites", False),
        (["/"], "/srv/websites", False),
        (["D:\\WebSites\\a"], "D:\\WebSites", True),
        (["D:\\WEBSITES\\a", "D:\\WebSites\\b"], "D:\\WebSites", True),
        (["D:\\WebSites\\a", "D:\\WebSites"], "D:\\WebSites", False),
        (["D:\\WebSites\\a", "E:\\Other"], "D:\\WebSites", True),
        (["D:\\WebSites2\\a"], "D:\\WebSites", False),
        (["D:\\data\\WebSites"], "WebSites", False),
        (["D:\\data\\WebSites\\a"], "WebSites", True),
    ],
)
def test_a_snapshot_of_some_folders_in_it_does_not_hold_the_folder(
    paths: list[str], parts: str, some_only: bool
) -> None:
    assert holds_some_only(paths, parts_of(parts)) is some_only
