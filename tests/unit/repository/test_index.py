"""The index: a dictionary in little memory, and the files that it is loaded from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Damaged
from shared.repository.index import (
    MOST_BLOBS_IN_A_FILE,
    BlobIndex,
    IndexedBlob,
    IndexedPack,
    Location,
    index_documents,
)
from tests.unit.repository.strategies import blob_ids

crowded_ids = st.one_of(blob_ids, st.integers(0, 30).map(lambda n: bytes(24) + n.to_bytes(8, "big")))
"""Many of them share the eight bytes that the table is built on."""
sizes = st.integers(0, 2**32 - 1)
indexed_blobs = st.builds(IndexedBlob, crowded_ids, st.booleans(), sizes, sizes, sizes)
packs = st.lists(st.builds(IndexedPack, crowded_ids, st.lists(indexed_blobs, max_size=30).map(tuple)), max_size=8)


def _expected(added: list[IndexedPack]) -> dict[tuple[bytes, bool], Location]:
    first: dict[tuple[bytes, bool], Location] = {}
    for pack in added:
        for blob in pack.blobs:
            place = Location(pack.id, blob.offset, blob.length, blob.plain_length)
            first.setdefault((blob.id, blob.is_tree), place)
    return first


@given(packs, st.lists(crowded_ids, max_size=10))
def test_a_blob_is_found_where_it_was_first_and_nothing_else_is_found(
    added: list[IndexedPack], others: list[bytes]
) -> None:
    index = BlobIndex()
    for pack in added:
        index.add_pack(pack)
    expected = _expected(added)
    assert len(index) == len(expected)
    asked = {blob_id for blob_id, _ in expected} | set(others)
    for blob_id in asked:
        for tree in (False, True):
            assert index.find(blob_id, tree=tree) == expected.get((blob_id, tree))
            assert index.holds(blob_id, tree=tree) == ((blob_id, tree) in expected)
    for tree in (False, True):
        assert set(index.blob_ids(tree=tree)) == {blob_id for blob_id, is_tree in expected if is_tree == tree}
    assert set(index.pack_ids()) == {pack.id for pack in added}


@given(packs)
def test_index_files_say_what_the_packs_say(added: list[IndexedPack]) -> None:
    direct, loaded = BlobIndex(), BlobIndex()
    for pack in added:
        direct.add_pack(pack)
    for document in index_documents(added):
        assert loaded.add_file(orjson.loads(document)) == 0
    expected = _expected(added)
    assert len(loaded) == len(direct) == len(expected)
    assert all(loaded.find(blob_id, tree=tree) == place for (blob_id, tree), place in expected.items())


@given(packs, st.data())
def test_packs_that_are_not_there_are_left_out_and_counted(added: list[IndexedPack], data: st.DataObject) -> None:
    ids = {pack.id for pack in added}
    present = data.draw(st.sets(st.sampled_from(sorted(ids)))) if ids else set()
    index = BlobIndex()
    left_out = sum(index.add_file(orjson.loads(document), present=present) for document in index_documents(added))
    assert left_out == sum(pack.id not in present for pack in added)
    expected = _expected([pack for pack in added if pack.id in present])
    assert len(index) == len(expected)
    assert all(index.find(blob_id, tree=tree) == place for (blob_id, tree), place in expected.items())


def _pack(number: int, blobs: int) -> IndexedPack:
    return IndexedPack(
        number.to_bytes(32, "big"),
        tuple(IndexedBlob(os.urandom(32), False, at * 100, 100, 0) for at in range(blobs)),
    )


def test_the_table_grows_and_forgets_nothing() -> None:
    index = BlobIndex()
    added = [_pack(number, 1 + number * 7 % 900) for number in range(60)]
    for pack in added:
        index.add_pack(pack)
    assert all(
        index.find(blob.id, tree=False) == Location(pack.id, blob.offset, blob.length, 0)
        for pack in added
        for blob in pack.blobs
    )
    assert len(index) == sum(len(pack.blobs) for pack in added)


def test_an_index_file_names_50_000_blobs_at_most_but_for_one_huge_pack() -> None:
    added = [_pack(number, 20_000) for number in range(6)] + [_pack(6, 60_000), _pack(7, 1)]
    counts = [[len(pack["blobs"]) for pack in orjson.loads(document)["packs"]] for document in index_documents(added)]
    assert [sum(each) for each in counts] == [40_000, 40_000, 40_000, 60_000, 1]
    assert MOST_BLOBS_IN_A_FILE == 50_000
    assert list(index_documents([])) == []


GOOD: dict[str, Any] = {"id": "ab" * 32, "type": "data", "offset": 0, "length": 40}


@pytest.mark.parametrize(
    "document",
    [
        [],
        None,
        {},
        {"packs": None},
        {"packs": [{"id": "ab" * 32}]},
        {"packs": [{"id": "zz" * 32, "blobs": []}]},
        {"packs": [{"id": "ab" * 31, "blobs": [GOOD]}]},
        {"packs": [{"id": "ab" * 32, "blobs": None}]},
        {"packs": [{"id": "ab" * 32, "blobs": [GOOD | {"id": "ab" * 31}]}]},
        {"packs": [{"id": "ab" * 32, "blobs": [GOOD | {"length": -1}]}]},
        {"packs": [{"id": "ab" * 32, "blobs": [GOOD | {"offset": 1 << 40}]}]},
        {"packs": [{"id": "ab" * 32, "blobs": [GOOD | {"length": "40"}]}]},
        {"packs": [{"id": "ab" * 32, "blobs": [{"id": "ab" * 32}]}]},
    ],
)
def test_what_is_no_index_is_damage(document: Any) -> None:
    with pytest.raises(Damaged):
        BlobIndex().add_file(document)


MEASURE = """
import gc, os, resource
from shared.repository.index import BlobIndex

def resident():
    gc.collect()
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

def document(number):
    ids = os.urandom(32 * 50_000).hex()
    blobs = [
        {"id": ids[at : at + 64], "type": "data", "offset": at, "length": 700, "uncompressed_length": 900}
        for at in range(0, len(ids), 64)
    ]
    return {"packs": [{"id": f"{number * 50 + pack:064x}", "blobs": blobs[pack * 1000 : pack * 1000 + 1000]}
                      for pack in range(50)]}

index = BlobIndex()
index.add_file(document(0))
before = resident()
for number in range(1, 21):
    index.add_file(document(number))
print(len(index), resident() - before)
"""


def test_a_million_blobs_cost_about_100_mb_at_most_fault_36() -> None:
    root = Path(__file__).resolve().parents[3]
    said = subprocess.run(
        [sys.executable, "-c", MEASURE], cwd=root, capture_output=True, text=True, check=True, env={**os.environ}
    ).stdout
    count, grown = map(int, said.split())
    assert count == 1_050_000
    assert grown < 100 << 20
