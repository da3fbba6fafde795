"""Fault 34: somebody with the rights of the backup app, who knows the repository's key, adds whatever he likes.

Between the runs of the keeper: garbage points, journals, results, snapshots, packs and index files. No good point goes
that would have stayed without them, and each restores; or the keeper deletes nothing and says why.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pytest

from shared.errors import BlobNotFound, Damaged
from shared.repository.index import IndexedPack, Location
from shared.repository.index_files import IndexFiles
from shared.repository.packs import SealedBlob, build_pack, pack_name
from shared.repository.prune import PruneLimits
from shared.repository.reader import open_blob
from shared.repository.repository import Repository
from tests.unit.repository.model import ALL, Model

GARBAGE = b"nothing that anybody needs"


def pack_that_claims(repository: Repository, ids: Iterable[bytes], *, tree: bool = False) -> IndexedPack:
    """Store a pack whose header lists blobs that are not what their ids say."""
    blobs = [SealedBlob(blob_id, repository.key.seal(GARBAGE), 0) for blob_id in ids]
    pack, body = build_pack(repository.key, blobs, tree=tree)
    repository.store.put(pack_name(pack.id), body)
    return pack


def data_blobs(repository: Repository) -> list[bytes]:
    files = IndexFiles.read(repository)
    return sorted({blob.id for number in range(len(files)) for blob in files.blobs(number) if not blob.is_tree})


def packs(repository: Repository) -> list[IndexedPack]:
    files = IndexFiles.read(repository)
    return [files.pack(number) for number in range(len(files))]


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return Model.make(tmp_path / "share")


def readable(repository: Repository) -> set[bytes]:
    """The content of every data blob that lies where an index says."""
    found = set()
    for pack in packs(repository):
        for blob in pack.blobs:
            location = Location(pack.id, blob.offset, blob.length, blob.plain_length)
            with suppress(Damaged, BlobNotFound):
                sealed = repository.store.get(pack_name(pack.id), blob.offset, blob.length)
                found.add(open_blob(repository.key, sealed, blob.id, location))
    return found


def _content(number: int) -> bytes:
    return b"%d " % number * 250


def _kept(model: Model) -> set[str]:
    """A kept snapshot and a forgotten one that share a pack. Returns the names of packs."""
    model.pack(_content(1), _content(2), _content(3))
    model.forget([model.back_up({"a": [_content(1), _content(9)]})])
    model.back_up({"a": [_content(1)], "b": [_content(2)]})
    return model.names("data/")


def _prune_until_all_is_swept(model: Model, limits: PruneLimits) -> None:
    marked: set[str] = set()
    for _ in range(4):
        marked |= set(model.mark(limits).marked)
        model.sweep(marked)


@pytest.mark.parametrize("limits", [ALL, PruneLimits(max_unused=1.0, max_repack_bytes=0)], ids=["repacking", "not"])
def test_an_index_file_that_claims_that_needed_blobs_lie_in_a_garbage_pack_costs_none_of_them_fault_34(
    model: Model, limits: PruneLimits
) -> None:
    _kept(model)
    repository = model.open()
    wanted = {_content(1), _content(2)}
    repository.write_index([pack_that_claims(repository, data_blobs(repository))])
    _prune_until_all_is_swept(model, limits)
    assert wanted <= readable(model.open())


@pytest.mark.parametrize("limits", [ALL, PruneLimits(max_unused=1.0, max_repack_bytes=0)], ids=["repacking", "not"])
def test_an_index_file_that_names_good_packs_at_wrong_places_costs_none_of_them_fault_34(
    model: Model, limits: PruneLimits
) -> None:
    _kept(model)
    repository = model.open()
    wanted = {_content(1), _content(2)}
    false = [
        IndexedPack(pack.id, tuple(blob._replace(offset=blob.offset + 7) for blob in pack.blobs))
        for pack in packs(repository)
    ]
    false_name = repository.write_index(false)[0]
    repository.write_index([pack_that_claims(repository, data_blobs(repository))])
    _prune_until_all_is_swept(model, limits)
    assert wanted <= readable(model.open())
    model.store.delete(false_name)
    assert wanted <= readable(model.open()), "what is left does not need the false index file"


def test_a_garbage_tree_pack_stops_the_prune_and_is_named_fault_34(model: Model) -> None:
    _kept(model)
    repository = model.open()
    trees = [blob.id for pack in packs(repository) for blob in pack.blobs if blob.is_tree]
    garbage = pack_that_claims(repository, trees, tree=True)
    repository.write_index([garbage])
    before = model.names("")
    with pytest.raises(Damaged) as told:
        model.mark()
    assert told.value.object == pack_name(garbage.id)
    assert model.names("") == before
