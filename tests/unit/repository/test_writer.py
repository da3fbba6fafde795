"""Storing: nothing is named by an index that the vault does not have as it was sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import Damaged
from shared.repository.crypto import MasterKey
from shared.repository.repository import Config, Repository
from shared.repository.writer import BlobWriter
from shared.storage.counting import CountingStore
from shared.storage.local_folder import LocalFolderStore


class _Faulty(LocalFolderStore):
    """Says that it has created packs, and keeps something else."""

    def __init__(self, folder: Path, kept: str) -> None:
        super().__init__(folder)
        self._kept = kept

    def put(self, name: str, body: bytes) -> bool:
        if not name.startswith("data/"):
            return super().put(name, body)
        changed = {
            "nothing": None,
            "half of it": body[: len(body) // 2],
            "all but the last byte": body[:-1],
            "more": body + b"\0",
            "a flipped bit at its end": body[:-20] + bytes([body[-20] ^ 1]) + body[-19:],
            "all of it": body,
        }[self._kept]
        return changed is None or super().put(name, changed)


def _repository(store: LocalFolderStore | CountingStore) -> Repository:
    return Repository(store, MasterKey.generate(), Config("ab" * 32, 2, "3DA3358B4DC173"))


@pytest.mark.parametrize("kept", ["nothing", "half of it", "all but the last byte", "more", "a flipped bit at its end"])
def test_a_pack_that_the_vault_does_not_have_as_it_was_sent_is_named_by_no_index(tmp_path: Path, kept: str) -> None:
    store = _Faulty(tmp_path, kept)
    with pytest.raises(Damaged) as raised, BlobWriter(_repository(store)) as writer:
        writer.save(b"content" * 100)

    assert (raised.value.object or "").startswith("data/")
    assert list(store.list("index/")) == []


def test_what_could_not_be_stored_is_stored_anew_by_the_next_writer(tmp_path: Path) -> None:
    store = _Faulty(tmp_path, "half of it")
    repository = _repository(store)
    with pytest.raises(Damaged), BlobWriter(repository) as writer:
        writer.save(b"content" * 100)
    store._kept = "all of it"

    with BlobWriter(repository) as writer:
        blob_id = writer.save(b"content" * 100)

    assert writer.stored.data_blobs == 1
    assert repository.index.holds(blob_id, tree=False)


def test_a_pack_costs_one_small_request_more(tmp_path: Path) -> None:
    store = CountingStore(LocalFolderStore(tmp_path))
    with BlobWriter(_repository(store)) as writer:
        for number in range(100):
            writer.save(b"content %d" % number * 1000)

    assert store.traffic.requests == {"put": 2, "get": 1}
    assert store.traffic.bytes_got < 100 * 41 + 64
