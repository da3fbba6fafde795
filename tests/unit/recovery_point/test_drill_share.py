"""What of a snapshot can be drawn, and what is compared with it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors import Cancelled, Damaged
from shared.fileshare.patterns import Files
from shared.recovery_point.drill_sample import Sample
from shared.recovery_point.drill_share import DEEPEST, _match, _Snapshot, _Timed
from shared.repository.reader import BlobReader
from shared.repository.trees import parse_node
from tests.standins.memory_share import MemoryShare
from tests.unit.fileshare.helpers import Bench

Json = dict[str, object]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "vault")


def snapshot_of(bench: Bench, share: MemoryShare) -> _Snapshot:
    made = bench.back_up(share.open)["snapshot"]
    repository = bench.open()
    repository.load_index()
    return _Snapshot(BlobReader(repository), parse_node(bench.nodes(made)[""]), lambda: None, [])


def test_every_file_is_in_the_draw_with_its_size(bench: Bench) -> None:
    share = MemoryShare()
    for number in range(30):
        share.put(f"site{number % 3}/bin/{number}.dll", b"x" * number)
    share.make_folder("empty/one")
    snapshot = snapshot_of(bench, share)
    sizes = {path: len(content) for path, content in share.content().items()}
    assert dict(snapshot.sizes()) == sizes
    assert list(snapshot.sizes()) == list(snapshot.sizes())
    assert {path for path, _ in snapshot.chosen(Files(["site1/bin/4.dll"]))} == {"site1/bin/4.dll"}


def test_names_that_this_machine_cannot_write_are_not_in_the_draw_and_are_counted(bench: Bench) -> None:
    share = MemoryShare()
    share.put("good.txt", b"good")
    share.put("ü" * 200, b"400 bytes long in UTF-8")
    share.put("/".join(["d"] * (DEEPEST + 3)) + "/deep.txt", b"deep")
    share.put("/".join(["n" * 200] * 20) + "/long.txt", b"long")
    snapshot = snapshot_of(bench, share)
    assert [path for path, _ in snapshot.sizes()] == ["good.txt"]
    assert snapshot.unfit == 3


def test_a_folder_that_cannot_be_listed_is_a_reason_and_the_others_are_in_the_draw(bench: Bench) -> None:
    share = MemoryShare()
    for path in ("a/1.txt", "b/2.txt"):
        share.put(path, path.encode())
    snapshot = snapshot_of(bench, share)
    nodes = BlobReader.nodes

    def damaged(reader: BlobReader, tree: str) -> object:
        found = list(nodes(reader, tree))
        if [node.name for node in found] == [b"1.txt"]:
            raise Damaged("bits were flipped", blob="data/ab/cd")
        return iter(found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BlobReader, "nodes", damaged)
        assert [path for path, _ in snapshot.sizes()] == ["b/2.txt"]
    [reason] = snapshot.reasons
    assert (reason["code"], reason["path"], reason["object"]) == ("damaged", "a", "data/ab/cd")
    assert reason["message"] == "the folder a cannot be listed: bits were flipped"


def test_the_draw_can_be_interrupted(bench: Bench) -> None:
    share = MemoryShare()
    share.put("a/1.txt", b"1")
    snapshot = snapshot_of(bench, share)

    def stop() -> None:
        raise Cancelled("somebody asked for it")

    snapshot.check = stop
    with pytest.raises(Cancelled):
        list(snapshot.sizes())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda content: content, None),
        (lambda content: content[:-1], "bytes long on the disk"),
        (lambda content: content + b"x", "bytes long on the disk"),
        (lambda content: b"X" + content[1:], "another hash"),
        (lambda content: content[:-1] + bytes([content[-1] ^ 1]), "another hash"),
        (lambda content: content[: len(content) // 2] + b"X" + content[len(content) // 2 + 1 :], "another hash"),
    ],
)
@pytest.mark.parametrize("size_bytes", [100, 5_000_000])
def test_a_file_matches_only_with_every_bit_of_every_chunk(
    bench: Bench, tmp_path: Path, size_bytes: int, change: Callable[[bytes], bytes], told: str | None
) -> None:
    content = os.urandom(size_bytes)
    share = MemoryShare()
    share.put("file.bin", content)
    snapshot = snapshot_of(bench, share)
    [(_, node)] = snapshot.chosen(Files(["file.bin"]))
    file = tmp_path / "file.bin"
    file.write_bytes(change(content))
    file.chmod(0)
    if told is None:
        _match(snapshot.reader, file, node)
    else:
        with pytest.raises(Damaged, match=told):
            _match(snapshot.reader, file, node)


@pytest.mark.parametrize(
    ("sample", "seconds"),
    [
        (Sample(("a", "b"), 100, 2, 100, 0), 1 + 3),
        (Sample(("a", "b"), 100, 4, 1_000, 0), 1 + 3 + (10 - 0.5) + 9 * 2.5),
        (Sample(("a", "b"), 100, 40, 150, 0), 1 + 3 + (10 - 0.5) + 19 * 2.5),
        (Sample(("a",), 0, 5, 0, 0), 1 + 3 + (10 - 0.5) + 4 * 2.5),
    ],
)
def test_the_estimate_is_what_was_measured_and_the_rest_by_its_files_or_its_bytes_whichever_is_slower(
    sample: Sample, seconds: float
) -> None:
    timed = _Timed(opened_seconds=1, drawn_seconds=10, found_seconds=0.5, restored_seconds=3)
    assert timed.estimated_seconds(sample) == seconds


def test_the_estimate_for_a_share_without_files_is_the_time_to_open_it() -> None:
    assert _Timed(opened_seconds=1, drawn_seconds=10).estimated_seconds(Sample((), 0, 0, 0, 0)) == 1
