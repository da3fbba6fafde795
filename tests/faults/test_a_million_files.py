"""Fault 36: a share of a million files, within the memory of the smallest instance and far below it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared.fileshare.source import (
    FILE,
    FOLDER,
    Entry,
    FileContent,
    FileFacts,
    Listing,
    Requests,
    Unreadable,
)
from shared.repository.index import IndexedBlob, IndexedPack
from shared.repository.packs import pack_name, packed_bytes
from shared.repository.snapshots import Summary, save_snapshot
from shared.repository.trees import Metadata, dir_node, tree_bytes
from shared.repository.writer import BlobWriter
from tests.standins.azurite import REPOSITORY
from tests.standins.memory_share import MemoryShare, MemorySource
from tests.unit.fileshare.helpers import Bench

FOLDERS, FILES_IN_EACH = 1000, 1000
FILE_BYTES = len("dir0000/file0000")
LIMIT_BYTES = 512 << 20
INDEX_LIMIT_BYTES = 192 << 20
"""What all index files opened at once would exceed by far."""
PACKS, BLOBS_IN_EACH, BLOB_BYTES = 25, 20_000, 60
_NS = 1_700_000_000_000_000_000


class ManyFiles(MemorySource):
    """Folders of a thousand small files each, made up as they are asked for, and alike."""

    def __init__(self, folders: int) -> None:
        super().__init__(MemoryShare())
        self._folders = folders

    def scan(self, pending: list[str]) -> Iterator[Listing | Unreadable]:
        while pending:
            path = pending.pop()
            kind, count = (FILE, FILES_IN_EACH) if path else (FOLDER, self._folders)
            entries = [Entry(f"{kind}{number:04}", kind, FILE_BYTES, _metadata(number)) for number in range(count)]
            yield Listing(path, entries, _metadata(0))

    def read(self, requests: Requests) -> Iterator[FileContent | FileFacts | Unreadable]:
        while True:
            try:
                request = requests(True)
            except EOFError:
                return
            assert request is not None
            yield FileContent(request, _metadata(int(request.path[-4:])), request.path.encode())


def _metadata(number: int) -> Metadata:
    return Metadata(mtime_ns=_NS + number, ctime_ns=_NS + number, mode=0o644, inode=number + 1)


def _backed_up_twice(folder: Path) -> dict[str, Any]:
    """One folder is backed up; a snapshot is written that has it a thousand times, as if all had been; and the whole is
    backed up again, in this process."""
    bench = Bench(folder)
    one = bench.back_up(lambda _: ManyFiles(1))["snapshot"]
    parent = _repeated(bench, one)
    result = bench.back_up(lambda _: ManyFiles(FOLDERS), parent=parent)
    return {"unchanged": result["outcome"]["counts"]["files_unmodified"], "peak_bytes": _peak_bytes()}


def _repeated(bench: Bench, snapshot_id: str) -> str:
    (subtree,) = [node["subtree"] for path, node in bench.nodes(snapshot_id).items() if path == "dir0000"]
    repository = bench.open()
    repository.load_index()
    names = [b"dir%04d" % number for number in range(FOLDERS)]
    with BlobWriter(repository) as writer:
        share = writer.save(tree_bytes([(name, dir_node(name, _metadata(0), subtree)) for name in names]), tree=True)
        top = writer.save(tree_bytes([(b"WebSites", dir_node(b"WebSites", _metadata(0), share.hex()))]), tree=True)
    return save_snapshot(
        repository,
        time="2026-01-01T00:00:00Z",
        tree=top.hex(),
        paths=["/WebSites"],
        hostname="memory",
        program_version="test",
        summary=Summary("", "", *[0] * 12),
    )


def _index_loaded(folder: Path) -> dict[str, Any]:
    """Index files that name half a million blobs, in packs that are as long as they should be and hold nothing, are
    written; and loaded, in this process."""
    bench = Bench(folder)
    bench.open().write_index(_empty_pack(bench.path) for _ in range(PACKS))
    repository = bench.open()
    repository.load_index(present=repository.list_packs())
    return {"blobs": len(repository.index), "peak_bytes": _peak_bytes()}


def _empty_pack(repository: Path) -> IndexedPack:
    pack_id, ids = os.urandom(32), os.urandom(32 * BLOBS_IN_EACH)
    path = repository / pack_name(pack_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.truncate(path, packed_bytes(BLOB_BYTES * BLOBS_IN_EACH, BLOBS_IN_EACH, 0))
    return IndexedPack(
        pack_id,
        tuple(
            IndexedBlob(ids[at * 32 : at * 32 + 32], False, at * BLOB_BYTES, BLOB_BYTES, 0)
            for at in range(BLOBS_IN_EACH)
        ),
    )


def _peak_bytes() -> int:
    """Of this program: ``ru_maxrss`` would be that of the process which started it, where that is larger."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


def _said(what: str, folder: Path) -> dict[str, Any]:
    """What this module says in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.test_a_million_files", what, str(folder)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_a_million_files_are_listed_and_compared_within_512_mb_fault_36(tmp_path: Path) -> None:
    said = _said("files", tmp_path)
    assert said["unchanged"] == FOLDERS * FILES_IN_EACH
    assert said["peak_bytes"] < LIMIT_BYTES, said


def test_index_files_are_opened_one_at_a_time_so_that_half_a_million_blobs_take_192_mb_fault_36(tmp_path: Path) -> None:
    said = _said("index", tmp_path)
    assert said["blobs"] == PACKS * BLOBS_IN_EACH
    assert said["peak_bytes"] < INDEX_LIMIT_BYTES, said


if __name__ == "__main__":
    main = {"files": _backed_up_twice, "index": _index_loaded}[sys.argv[1]]
    print(json.dumps(main(Path(sys.argv[2]))))
