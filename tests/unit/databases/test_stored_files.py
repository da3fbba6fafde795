"""Large files as a snapshot of the repository: what is stored, what it costs, and what is told where it is damaged."""

from __future__ import annotations

import hashlib
import threading
import time
import tracemalloc
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from shared.databases.stored_files import Content, StoredFiles, open_stored, store_files, stored_pieces
from shared.errors import Cancelled, Damaged, DatabaseError
from shared.repository.checker import Checker
from shared.repository.repository import Repository
from shared.repository.snapshots import load_snapshot
from shared.repository.writer import BlobWriter
from shared.storage.blob_store import BlobInfo
from shared.storage.counting import CountingStore
from shared.storage.local_folder import LocalFolderStore
from tests.unit.fileshare.helpers import PASSWORD, Bench

MIB = 1 << 20
PATH = "/databases/appservice_hosting"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def opened(bench: Bench, *, to_read: bool = False) -> Repository:
    """As another process would, its index loaded."""
    repository = bench.open()
    repository.load_index(present=repository.list_packs(), keep_missing=to_read)
    return repository


def content(seed: int, mib: int) -> Content:
    """Always the same bytes, made while they are read; not to be compressed."""
    return lambda: (Random(f"{seed} {number}").randbytes(MIB) for number in range(mib))


def whole(made: Content) -> bytes:
    return b"".join(bytes(piece) for piece in made())


def store(
    repository: Repository, files: dict[str, Content], check: Callable[[], None] = lambda: None, path: str = PATH
) -> StoredFiles:
    return store_files(repository, list(files.items()), hostname="sql01", path=path, check=check)


def snapshots(bench: Bench) -> list[str]:
    return [blob.name for blob in bench.store.list("snapshots/")]


def packs(bench: Bench) -> list[BlobInfo]:
    return sorted(bench.store.list("data/"), key=lambda blob: blob.size_bytes)


def findings(bench: Bench) -> list[str]:
    return [str(found) for found in Checker(Repository.open(bench.store, PASSWORD)).run(read_data=True)]


def read(bench: Bench, snapshot: str) -> bytes:
    """The content of the only file."""
    repository = opened(bench, to_read=True)
    (node,) = open_stored(repository, snapshot).values()
    return b"".join(stored_pieces(repository, node))


# --- what is stored ---


def test_files_come_back_as_they_were(bench: Bench) -> None:
    files: dict[str, Content] = {
        "z.bak": content(1, 20),
        "empty.bak": list,
        "a ö.bak": lambda: [b"", memoryview(b"pieces "), b"of any", b" size"],
    }
    stored = store(opened(bench), files)
    assert [(file.name, file.size_bytes) for file in stored.files] == [
        ("z.bak", 20 * MIB),
        ("empty.bak", 0),
        ("a ö.bak", 18),
    ]
    repository = opened(bench, to_read=True)
    nodes = open_stored(repository, stored.snapshot)
    assert list(nodes) == ["a ö.bak", "empty.bak", "z.bak"]
    for file in stored.files:
        expected = whole(files[file.name])
        assert b"".join(stored_pieces(repository, nodes[file.name])) == expected
        assert file.sha256 == hashlib.sha256(expected).hexdigest()
        assert nodes[file.name].size_bytes == file.size_bytes
    assert findings(bench) == []


def test_the_snapshot_tells_what_it_is(bench: Bench) -> None:
    before = datetime.now(UTC).timestamp()
    stored = store(opened(bench), {"a.bak": content(1, 3), "b.bak": content(2, 2)})
    snapshot = load_snapshot(bench.open(), stored.snapshot)
    assert (snapshot.hostname, snapshot.paths, snapshot.tags) == ("sql01", (PATH,), ("database",))
    assert before <= snapshot.time_ns / 1e9 <= datetime.now(UTC).timestamp()
    summary = snapshot.fields["summary"]
    assert (summary["files_new"], summary["dirs_new"], summary["total_files_processed"]) == (2, 1, 2)
    assert summary["total_bytes_processed"] == 5 * MIB
    assert summary["data_added_packed"] == stored.bytes_stored
    assert 5 * MIB < stored.bytes_stored < sum(blob.size_bytes for blob in packs(bench)) < 5.1 * MIB


def test_what_did_not_change_is_stored_once(bench: Bench) -> None:
    first = store(opened(bench), {"monday.bak": content(1, 30)})
    second = store(opened(bench), {"tuesday.bak": content(1, 30)})
    assert second.bytes_stored < 10_000

    def shifted() -> Iterator[bytes | memoryview]:
        yield b"a header that is longer than yesterday's"
        yield from content(1, 30)()

    third = store(opened(bench), {"wednesday.bak": shifted})
    assert third.bytes_stored < 9 * MIB
    assert first.files[0].sha256 == second.files[0].sha256 != third.files[0].sha256
    assert len({each.snapshot for each in (first, second, third)}) == 3


# --- memory ---


class _Stalling(LocalFolderStore):
    """Takes no pack until ``take`` is set; keeps the sizes of packs and their ends, not the packs."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.take = threading.Event()
        self.packs: dict[str, int] = {}
        self.ends: dict[str, bytes] = {}

    def put(self, name: str, body: bytes) -> bool:
        if not name.startswith("data/"):
            return super().put(name, body)
        assert self.take.wait(60)
        self.packs[name] = len(body)
        self.ends[name] = body[-4096:]
        return True

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        if name not in self.packs:
            return super().get(name, offset, length)
        assert length is None
        return self.ends[name][offset - self.packs[name] :]

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        yield from super().list(prefix)
        for name, size_bytes in self.packs.items():
            if name.startswith(prefix):
                yield BlobInfo(name, size_bytes, datetime.now(UTC))


def test_memory_does_not_grow_with_the_size_of_a_file(bench: Bench) -> None:
    """Not even where the vault stalls: then the source waits too."""
    stalling = _Stalling(bench.path)
    read = 0

    def counted() -> Iterator[bytes | memoryview]:
        nonlocal read
        for piece in content(1, 400)():
            read += 1
            yield piece

    def go_on_when_nothing_is_read() -> None:
        before = -1
        while read != before:
            before = read
            time.sleep(0.5)
        stalling.take.set()

    first = bench.open()
    watcher = threading.Thread(target=go_on_when_nothing_is_read)
    tracemalloc.start()
    try:
        watcher.start()
        stored = store(Repository(stalling, first.key, first.config), {"a.bak": counted})
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        watcher.join()
    assert stored.bytes_stored > 400 * MIB
    assert peak_bytes < 300 * MIB


def test_a_file_is_not_fetched_long_before_it_is_wanted(bench: Bench) -> None:
    stored = store(opened(bench), {"a.bak": content(1, 160)})
    counting = CountingStore(bench.store)
    first = bench.open()
    repository = Repository(counting, first.key, first.config)
    repository.load_index(present=repository.list_packs(), keep_missing=True)
    node = open_stored(repository, stored.snapshot)["a.bak"]
    pieces = stored_pieces(repository, node)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert counting.traffic.bytes_got < 100 * MIB


# --- what breaks ---


def test_a_source_that_breaks_leaves_no_snapshot_and_what_is_stored_is_used_again(bench: Bench) -> None:
    def breaks() -> Iterator[bytes | memoryview]:
        yield from content(1, 60)()
        raise DatabaseError("the connection was lost")

    repository = opened(bench)
    with pytest.raises(DatabaseError, match="was lost"):
        store(repository, {"a.bak": breaks})
    assert snapshots(bench) == []
    there = sum(blob.size_bytes for blob in packs(bench))
    assert there > 16 * MIB
    stored = store(repository, {"a.bak": content(1, 60)})
    assert stored.bytes_stored < 61 * MIB - there
    assert findings(bench) == []


def test_it_ends_when_it_is_told_to(bench: Bench) -> None:
    asked = 0

    def check() -> None:
        nonlocal asked
        asked += 1
        if asked == 10:
            raise Cancelled("enough")

    read = 0

    def counted() -> Iterator[bytes | memoryview]:
        nonlocal read
        for piece in content(1, 60)():
            read += 1
            yield piece

    with pytest.raises(Cancelled):
        store(opened(bench), {"a.bak": counted}, check)
    assert read == 10
    assert snapshots(bench) == []


def test_no_snapshot_is_written_whose_content_is_gone(bench: Bench) -> None:
    store(opened(bench), {"a.bak": content(1, 10)})
    repository = opened(bench)
    gone = packs(bench)[-1].name
    bench.store.delete(gone)
    before = snapshots(bench)
    with pytest.raises(Damaged) as caught:
        store(repository, {"b.bak": content(1, 10)})
    assert caught.value.object == gone
    assert snapshots(bench) == before

    again = store(opened(bench), {"b.bak": content(1, 10)})
    assert again.bytes_stored > 10 * MIB
    assert read(bench, again.snapshot) == whole(content(1, 10))


@pytest.mark.parametrize("damage", ["a bit", "the end", "all of it"])
def test_a_damaged_pack_is_named_before_a_wrong_byte_is_handed_out(bench: Bench, damage: str) -> None:
    stored = store(opened(bench), {"a.bak": content(1, 60)})
    at_fault = packs(bench)[-1]
    path = bench.path / at_fault.name
    body = bytearray(path.read_bytes())
    path.unlink()
    if damage == "a bit":
        body[len(body) // 2] ^= 1
        path.write_bytes(body)
    elif damage == "the end":
        path.write_bytes(body[: len(body) // 2])
    repository = opened(bench, to_read=True)
    came = bytearray()
    pieces = stored_pieces(repository, open_stored(repository, stored.snapshot)["a.bak"])
    with pytest.raises(Damaged) as caught:
        deque(map(came.extend, pieces), maxlen=0)
    assert at_fault.name.rpartition("/")[2] in f"{caught.value} {caught.value.object}"
    assert bytes(came) == whole(content(1, 60))[: len(came)]
    assert len(came) < 60 * MIB


def test_a_snapshot_that_is_not_there_is_told(bench: Bench) -> None:
    with pytest.raises(Damaged, match="ab" * 32):
        open_stored(opened(bench), "ab" * 32)


def test_another_writer_that_fails_takes_nothing_with_it(bench: Bench) -> None:
    """Each through a ``Repository`` of its own: neither counts on what the other may never index."""
    ours, theirs = opened(bench), opened(bench)
    blob = Random(1).randbytes(400 << 10)
    stored: list[StoredFiles] = []

    def beside() -> None:
        with BlobWriter(theirs) as writer:
            writer.save(blob)
            stored.append(store(ours, {"a.bak": lambda: [blob]}))
            raise Cancelled("the other writer's run was given up")

    with pytest.raises(Cancelled):
        beside()
    assert findings(bench) == []
    assert read(bench, stored[0].snapshot) == blob
