"""Backups of SQL Server in the repository: large files as one snapshot tagged ``database``, and back.

Paths of such a snapshot are ``/databases/NAME``, its hostname the SQL server; in it lies one folder, NAME, with the
files of one backup. Stock restic lists, checks and restores it like any other.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

from shared import PROGRAM_VERSION
from shared.errors import Damaged
from shared.repository.chunker import chunk_stream
from shared.repository.content import file_pieces
from shared.repository.presence import missing_content
from shared.repository.reader import BlobReader
from shared.repository.repository import Repository
from shared.repository.snapshots import Summary, load_snapshot, save_snapshot
from shared.repository.trees import Metadata, Node, dir_node, file_node, rfc3339, tree_bytes
from shared.repository.writer import BlobWriter

TAG = "database"
SEALERS = 2
"""Threads that hash, compress and seal; what they hold is bounded by ``CHUNKS_AHEAD``."""
CHUNKS_AHEAD = 8
"""Chunks, of at most 8 MiB each, on their way into packs."""

Content = Callable[[], Iterable[bytes | memoryview]]
"""Opens a file's content, in pieces of any size; a piece is used before the next is asked for."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    name: str
    size_bytes: int
    sha256: str
    """Hex, of the content as it was read."""


@dataclass(frozen=True, slots=True)
class StoredFiles:
    snapshot: str
    files: tuple[StoredFile, ...]
    bytes_stored: int
    """What they added to the repository."""


def store_files(
    repository: Repository,
    files: Sequence[tuple[str, Content]],
    *,
    hostname: str,
    path: str,
    check: Callable[[], None] = lambda: None,
) -> StoredFiles:
    """Store the files and write their snapshot. ``path`` is absolute; its last part names the folder. Names of files
    are unique.

    The caller holds a lock on the repository and has loaded its index. Others may write at the same time, each through
    a ``Repository`` of its own: through this one they would be counted on for blobs that no index of theirs names yet.
    Memory does not grow with the files' sizes. ``Damaged`` when a pack that the snapshot needs is not in the vault:
    then no snapshot is written. What ``files`` and ``check`` raise passes; what is in the vault by then is used again
    by the next call with the same ``Repository``, and by the next run as far as it was indexed, every half minute.
    """
    began_ns = time.time_ns()
    nodes: list[tuple[bytes, bytes]] = []
    stored: list[StoredFile] = []
    metadata = Metadata(mtime_ns=began_ns, ctime_ns=began_ns)
    with BlobWriter(repository) as writer:
        for name, content in files:
            ids, size_bytes, digest = _store(writer, content, check)
            stored.append(StoredFile(name, size_bytes, digest))
            nodes.append((name.encode(), file_node(name.encode(), metadata, size_bytes, ids)))
        folder = path.rpartition("/")[2].encode()
        subtree = writer.save(tree_bytes(nodes), tree=True).hex()
        top = dir_node(folder, metadata._replace(mode=0o755), subtree)
        tree = writer.save(tree_bytes([(folder, top)]), tree=True).hex()
        writer.flush()
        counts = writer.stored
    if missing := missing_content(repository, tree):
        raise Damaged(
            f"{len(missing)} pack(s) that the backup needs are not in the vault, the first is {missing[0]}",
            remedy="Run 'backup' again: what is missing is read and stored anew.",
            blob=missing[0],
        )
    snapshot = save_snapshot(
        repository,
        time=rfc3339(began_ns),
        tree=tree,
        paths=[path],
        hostname=hostname,
        program_version=PROGRAM_VERSION,
        summary=Summary(
            backup_start=rfc3339(began_ns),
            backup_end=rfc3339(time.time_ns()),
            files_new=len(stored),
            files_changed=0,
            files_unmodified=0,
            dirs_new=1,
            dirs_changed=0,
            dirs_unmodified=0,
            data_blobs=counts.data_blobs,
            tree_blobs=counts.tree_blobs,
            data_added=counts.plain_bytes,
            data_added_packed=counts.sealed_bytes,
            total_files_processed=len(stored),
            total_bytes_processed=sum(file.size_bytes for file in stored),
        ),
        tags=[TAG],
    )
    return StoredFiles(snapshot, tuple(stored), counts.sealed_bytes)


def open_stored(repository: Repository, snapshot: str) -> dict[str, Node]:
    """The files of such a snapshot by name. The index must be loaded. ``Damaged``."""
    reader = BlobReader(repository)
    found: dict[str, Node] = {}
    for folder in reader.nodes(load_snapshot(repository, snapshot).tree):
        for node in reader.nodes(folder.subtree) if folder.subtree else ():
            found[node.name.decode("utf-8", "replace")] = node
    return found


def stored_pieces(repository: Repository, node: Node) -> Iterator[bytes]:
    """The content of a file of ``open_stored``. ``Damaged`` names the pack, before a wrong byte is handed out."""
    with closing(file_pieces(BlobReader(repository), node)) as pieces:
        yield from pieces


def _store(writer: BlobWriter, content: Content, check: Callable[[], None]) -> tuple[list[str], int, str]:
    """The ids of the file's blobs, its size and its SHA-256. Reading and hashing go on beside the sealing."""
    digest = hashlib.sha256()
    size_bytes = 0

    def counted() -> Iterator[memoryview]:
        nonlocal size_bytes
        for piece in content():
            check()
            digest.update(piece)
            size_bytes += len(piece)
            yield memoryview(piece)

    ids: list[str] = []
    with ThreadPoolExecutor(SEALERS, "seal") as pool:
        ahead: list[Future[bytes]] = []
        for chunk in chunk_stream(counted()):
            ahead.append(pool.submit(writer.save, chunk))
            if len(ahead) >= CHUNKS_AHEAD:
                ids.append(ahead.pop(0).result().hex())
        ids += [each.result().hex() for each in ahead]
    return ids, size_bytes, digest.hexdigest()
