"""Storing blobs: each once, compressed, sealed, opened again, packed, uploaded, looked at, indexed.

Order of writes: packs, each of whose ends is read back, then index. So whatever is interrupted leaves a valid
repository, and what was uploaded is used again by the next run.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from shared.errors import BlobNotFound, Damaged
from shared.repository.compression import compress_blob, decompress
from shared.repository.crypto import SEAL_BYTES
from shared.repository.index import IndexedPack
from shared.repository.packs import (
    DATA_PACK_BYTES,
    MOST_BLOBS,
    TREE_PACK_BYTES,
    SealedBlob,
    build_pack,
    header_and_length_bytes,
    pack_name,
)
from shared.repository.repository import Repository
from shared.storage.blob_store import BlobStore

UPLOADS_AT_ONCE = 3
"""Packs on their way; with those being filled, what bounds the writer's memory: some 100 MiB."""
INDEX_BLOBS = 40_000
INDEX_SECONDS = 30.0
"""An index file is written when so many blobs are not indexed yet, or so much time went by: shards that run side by
side, and a run that goes on after a crash, know what is stored from these."""


@dataclass(slots=True)
class Stored:
    """What a writer has stored so far."""

    data_blobs: int = 0
    tree_blobs: int = 0
    plain_bytes: int = 0
    """Content of new blobs, before compression."""
    sealed_bytes: int = 0
    """The same as stored."""
    packs: int = 0


class _OpenPack:
    """A pack that is being filled."""

    def __init__(self, tree: bool) -> None:
        self.tree = tree
        self.closes_at_bytes = TREE_PACK_BYTES if tree else DATA_PACK_BYTES
        self.lock = threading.Lock()
        self.blobs: list[SealedBlob] = []
        self.bytes = 0

    def add(self, blobs: Sequence[SealedBlob]) -> list[list[SealedBlob]]:
        """Add blobs; returns those of the packs that are full now."""
        full = []
        with self.lock:
            for blob in blobs:
                self.blobs.append(blob)
                self.bytes += len(blob.sealed)
                if self.bytes >= self.closes_at_bytes or len(self.blobs) >= MOST_BLOBS:
                    full.append(self._take())
        return full

    def take(self) -> list[SealedBlob]:
        with self.lock:
            return self._take()

    def _take(self) -> list[SealedBlob]:
        blobs, self.blobs, self.bytes = self.blobs, [], 0
        return blobs


class BlobWriter:
    """May be used from several threads. Use as a context manager: leaving it normally flushes, leaving it by an
    exception drops what is not uploaded yet."""

    def __init__(self, repository: Repository) -> None:
        self.stored = Stored()
        self._repository = repository
        self._open = (_OpenPack(tree=False), _OpenPack(tree=True))
        self._ours: tuple[set[bytes], set[bytes]] = (set(), set())
        self._lock = threading.Lock()
        self._uploads = ThreadPoolExecutor(UPLOADS_AT_ONCE, "upload")
        self._room = threading.BoundedSemaphore(UPLOADS_AT_ONCE)
        self._failure: BaseException | None = None
        self._unindexed = repository.take_unindexed()
        self._unindexed_blobs = sum(len(pack.blobs) for pack in self._unindexed)
        self._indexed_at = time.monotonic()

    def __enter__(self) -> BlobWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.flush()
        finally:
            self._uploads.shutdown(wait=True, cancel_futures=True)
            for tree in (False, True):
                self._unclaim(list(self._ours[tree]), tree)
            self._repository.leave_unindexed(self._unindexed)

    def save(self, plain: bytes | memoryview, *, tree: bool = False) -> bytes:
        """Store a blob unless it is stored already. Returns its id (32 bytes) as soon as it is packed.

        It is in the vault only after ``flush``. A failed upload is raised by the next call.
        """
        (blob_id,) = self.save_many((plain,), tree=tree)
        return blob_id

    def save_many(self, plains: Sequence[bytes | memoryview], *, tree: bool = False) -> list[bytes]:
        """As ``save``, for several blobs at once."""
        ids = [hashlib.sha256(plain).digest() for plain in plains]
        new = self._claim(ids, tree)
        if new:
            sealed = [self._seal(ids[at], plains[at]) for at in new]
            self._count(tree, [plains[at] for at in new], sealed)
            for blobs in self._open[tree].add(sealed):
                self._upload(blobs, tree)
        return ids

    def flush(self) -> None:
        """Upload what is packed, wait until all of it is in the vault, and write its index."""
        for pack in self._open:
            blobs = pack.take()
            if blobs:
                self._upload(blobs, pack.tree)
        for _ in range(UPLOADS_AT_ONCE):
            self._room.acquire()
        for _ in range(UPLOADS_AT_ONCE):
            self._room.release()
        self._raise_failure()
        self._write_index()

    def _claim(self, ids: Sequence[bytes], tree: bool) -> list[int]:
        """Which of ``ids`` nobody has stored or is storing; they are ours to store now."""
        self._raise_failure()
        new = []
        repository, ours = self._repository, self._ours[tree]
        claimed, holds = repository.claimed[tree], repository.index.holds
        with repository.claims_lock:
            for at, blob_id in enumerate(ids):
                if blob_id in claimed:
                    if blob_id not in ours:
                        repository.relied_on[tree].add(blob_id)
                elif not holds(blob_id, tree=tree):
                    claimed.add(blob_id)
                    ours.add(blob_id)
                    new.append(at)
        return new

    def _unclaim(self, ids: Iterable[bytes], tree: bool) -> None:
        with self._repository.claims_lock:
            self._repository.claimed[tree].difference_update(ids)
            self._ours[tree].difference_update(ids)

    def _seal(self, blob_id: bytes, plain: bytes | memoryview) -> SealedBlob:
        """Sealed, and opened again: a bit that flips meanwhile is found before it is stored, as restic does.

        What was opened is compared with the content, which was hashed a moment ago, instead of hashed once more.
        """
        key = self._repository.key
        packed = compress_blob(plain) if self._repository.config.version > 1 else None
        sealed = key.seal(plain if packed is None else packed)
        opened = key.open(sealed)
        back = opened if packed is None else decompress(opened)
        # startswith compares any buffer by memcmp; == with a memoryview goes byte by byte.
        if len(back) != len(plain) or not back.startswith(plain):
            raise Damaged(
                f"blob {blob_id.hex()} was not the same after it was sealed",
                remedy="The memory of this machine is faulty: run on another one.",
            )
        return SealedBlob(blob_id, sealed, 0 if packed is None else len(plain))

    def _count(self, tree: bool, plains: Sequence[bytes | memoryview], sealed: Sequence[SealedBlob]) -> None:
        with self._lock:
            stored = self.stored
            if tree:
                stored.tree_blobs += len(sealed)
            else:
                stored.data_blobs += len(sealed)
            stored.plain_bytes += sum(map(len, plains))
            stored.sealed_bytes += sum(len(blob.sealed) for blob in sealed) + len(sealed) * 5 + SEAL_BYTES

    def _upload(self, blobs: list[SealedBlob], tree: bool) -> None:
        self._room.acquire()
        self._uploads.submit(self._upload_and_make_room, blobs, tree)

    def _upload_and_make_room(self, blobs: list[SealedBlob], tree: bool) -> None:
        try:
            self._upload_now(blobs, tree)
        except BaseException as error:
            self._failure = self._failure or error
        finally:
            self._room.release()

    def _upload_now(self, blobs: list[SealedBlob], tree: bool) -> None:
        pack, body = build_pack(self._repository.key, blobs, tree=tree)
        store_pack(self._repository.store, pack, body)
        self._repository.index.add_pack(pack)
        self._unclaim([blob.id for blob in blobs], tree)
        with self._lock:
            self.stored.packs += 1
            self._unindexed.append(pack)
            self._unindexed_blobs += len(blobs)
            due = self._unindexed_blobs >= INDEX_BLOBS or time.monotonic() - self._indexed_at > INDEX_SECONDS
        if due:
            self._write_index()
            self._repository.load_index()  # what other shards have stored meanwhile

    def _write_index(self) -> None:
        with self._lock:
            packs, self._unindexed, self._unindexed_blobs = self._unindexed, [], 0
            self._indexed_at = time.monotonic()
        try:
            if packs:
                self._repository.write_index(packs)
        except BaseException:
            with self._lock:
                self._unindexed += packs
            raise

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


def store_pack(store: BlobStore, pack: IndexedPack, body: bytes) -> None:
    """Upload a pack and look at its end, with the header that lists its blobs, as the vault has it: an index may name
    it then. ``Damaged``, naming it, unless it is there, as long as it should be, and its end the same."""
    name = pack_name(pack.id)
    store.put(name, body)
    start = len(body) - header_and_length_bytes(body)
    try:
        there = store.get(name, start)
    except BlobNotFound:
        there = b""
    if there != body[start:]:
        raise Damaged(
            f"the vault does not have what was stored as {name}: the end of the pack is not what was sent",
            remedy="Run the command again: it is stored anew. Look at what lies between here and the storage account.",
            blob=name,
        )
