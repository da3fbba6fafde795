"""Fault 37: a repository made to harm. Whatever its trees name, nothing is written outside the target."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from shared.fileshare.local_target import LocalTarget
from shared.fileshare.restore import RestoreResult, ShareRestore
from shared.fileshare.target import refuse_unsafe, refuse_unsafe_on_windows
from shared.repository.reader import BlobReader
from shared.repository.trees import Metadata, dir_node, file_node, go_json, parse_node, quote, tree_bytes
from shared.repository.writer import BlobWriter
from tests.standins.memory_share import MemoryShare
from tests.unit.fileshare.helpers import Bench

METADATA = Metadata(mtime_ns=1_700_000_000_000_000_000, ctime_ns=1_700_000_000_000_000_000, mode=0o755)
EVIL = [b"..", b".", b"", b"a/b", b"../escaped.txt", b"/absolute.txt", b"nul\0byte", b"../../etc/passwd"]
EVIL_ON_WINDOWS = [*EVIL, b"a\\b", b"..\\escaped.txt", b"C:x", b"C:\\x", b"file.txt:stream", b"\\\\server\\share"]


@pytest.mark.parametrize("name", EVIL)
def test_names_that_lead_elsewhere_are_refused(name: bytes) -> None:
    with pytest.raises(ValueError, match="out of its folder"):
        refuse_unsafe(name.decode())


@pytest.mark.parametrize("name", EVIL_ON_WINDOWS)
def test_names_that_lead_elsewhere_on_windows_are_refused_there(name: bytes) -> None:
    with pytest.raises(ValueError, match="out of its folder"):
        refuse_unsafe_on_windows(name.decode())


@pytest.mark.parametrize("name", ["...", "..a", "a..", "~", "-rf", "%2e%2e", "..\u2215x"])
def test_names_that_only_look_so_are_taken(name: str) -> None:
    assert refuse_unsafe(name) == name
    assert refuse_unsafe_on_windows(name) == name


def _restore(
    bench: Bench, nodes: list[tuple[bytes, bytes]], target: Path, *, include: tuple[str, ...] = ()
) -> RestoreResult:
    """Restore a share whose tree holds just these nodes, as a stranger may have written them."""
    repository = bench.open()
    with BlobWriter(repository) as writer:
        tree = writer.save(tree_bytes(nodes), tree=True).hex()
    top_tree = _top(bench, tree)
    repository = bench.open()
    repository.load_index()
    top = next(BlobReader(repository).nodes(top_tree))
    return ShareRestore(repository, LocalTarget(target), include=include, overwrite=True).run(top)


def _top(bench: Bench, tree: str) -> str:
    with BlobWriter(bench.open()) as writer:
        node = dir_node(b"share", METADATA, tree)
        top: str = writer.save(tree_bytes([(b"share", node)]), tree=True).hex()
    return top


def _content(bench: Bench, data: bytes) -> str:
    with BlobWriter(bench.open()) as writer:
        return writer.save(data).hex()


def _everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.mark.parametrize("include", [(), ("**",)], ids=["all", "include"])
@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("name", EVIL)
def test_nothing_is_written_outside_the_target_fault_37(
    bench: Bench, tmp_path: Path, name: bytes, kind: str, include: tuple[str, ...]
) -> None:
    blob = _content(bench, b"evil")
    inside = file_node(b"inside.txt", METADATA, 4, [blob])
    with BlobWriter(bench.open()) as writer:
        subtree = writer.save(tree_bytes([(b"inside.txt", inside)]), tree=True).hex()
    evil = file_node(name, METADATA, 4, [blob]) if kind == "file" else dir_node(name, METADATA, subtree)
    playground = tmp_path / "playground"
    target = playground / "one" / "target"
    target.mkdir(parents=True)

    result = _restore(
        bench, [(name, evil), (b"good.txt", file_node(b"good.txt", METADATA, 4, [blob]))], target, include=include
    )

    assert _everything(playground) == {"one", "one/target", "one/target/good.txt"}
    assert result.status == "partial"
    assert (result.restored, result.failed) == (1, 1)
    assert [reason["code"] for reason in result.reasons] == ["unsafe-name"]


def test_a_link_in_the_repository_is_not_made_fault_37(bench: Bench, tmp_path: Path) -> None:
    blob = _content(bench, b"evil")
    fields = {
        "name": quote(b"way-out"), "type": "symlink", "mode": 0o777 | 1 << 27, "mtime": "2026-01-01T00:00:00Z",
        "atime": "2026-01-01T00:00:00Z", "ctime": "2026-01-01T00:00:00Z", "uid": 0, "gid": 0,
        "linktarget": str(tmp_path), "links": 1, "content": None,
    }  # fmt: skip
    good = file_node(b"zgood.txt", METADATA, 4, [blob])

    result = _restore(bench, [(b"way-out", go_json(fields)), (b"zgood.txt", good)], tmp_path / "target")

    assert _everything(tmp_path / "target") == {"zgood.txt"}
    assert result.skipped_names == ["way-out"]
    assert [reason["code"] for reason in result.reasons] == ["special-file"]


def test_a_link_and_a_folder_of_one_name_do_not_lead_out(bench: Bench, tmp_path: Path) -> None:
    """The trick: first a link of a name, then a folder of the same name, written through it."""
    blob = _content(bench, b"evil")
    with BlobWriter(bench.open()) as writer:
        subtree = writer.save(
            tree_bytes([(b"inside.txt", file_node(b"inside.txt", METADATA, 4, [blob]))]), tree=True
        ).hex()
    outside = tmp_path / "outside"
    outside.mkdir()
    link = go_json(
        {
            "name": "x", "type": "symlink", "mode": 0o777, "mtime": "2026-01-01T00:00:00Z",
            "atime": "2026-01-01T00:00:00Z", "ctime": "2026-01-01T00:00:00Z", "linktarget": str(outside),
        }
    )  # fmt: skip

    _restore(bench, [(b"x", link), (b"x", dir_node(b"x", METADATA, subtree))], tmp_path / "target")

    assert _everything(outside) == set()


def test_a_file_whose_blobs_are_longer_than_its_size_is_not_written(bench: Bench, tmp_path: Path) -> None:
    blob = _content(bench, b"four")
    nodes = [
        (b"one.txt", file_node(b"one.txt", METADATA, 3, [blob])),
        (b"two.txt", file_node(b"two.txt", METADATA, 9, [blob, blob])),
    ]

    result = _restore(bench, nodes, tmp_path / "target")

    assert _everything(tmp_path / "target") == set()
    assert result.status == "failed"
    assert {reason["code"] for reason in result.reasons} == {"damaged"}


def test_a_tree_of_a_thousand_levels_comes_back(bench: Bench, tmp_path: Path) -> None:
    share = MemoryShare()
    deep = "/".join(["d"] * 1_100)
    share.put(f"{deep}/at the bottom.txt", b"deep")
    snapshot = bench.back_up(share.open)["snapshot"]
    repository = bench.open()
    repository.load_index()
    top = parse_node(bench.nodes(snapshot)[""])

    result = ShareRestore(repository, LocalTarget(tmp_path / "t")).run(top)

    assert (result.status, result.restored) == ("complete", 1)
    assert (tmp_path / "t" / deep / "at the bottom.txt").read_bytes() == b"deep"
    subprocess.run(["rm", "-rf", tmp_path / "t"], check=True)  # too deep for pytest, which would stumble at its end


def test_odd_names_come_back(bench: Bench, tmp_path: Path) -> None:
    share = MemoryShare()
    for name in ("naïve 日本語 🛟", 'quo"tes', "tab\tnewline\n", "lone \ud800", "n" * 255, " spaces ", "dot."):
        share.put(name, name.encode("utf-8", "surrogatepass"))
    snapshot = bench.back_up(share.open)["snapshot"]
    repository = bench.open()
    repository.load_index()

    result = ShareRestore(repository, LocalTarget(tmp_path / "t")).run(parse_node(bench.nodes(snapshot)[""]))

    assert result.status == "complete"
    assert sorted(path.read_bytes() for path in (tmp_path / "t").iterdir()) == sorted(share.content().values())
