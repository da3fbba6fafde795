"""The files of a repository, sealed by whoever holds its key: packs, index, trees, snapshots, locks, config, keys."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors import Damaged, RepositoryLocked, WrongPassword
from shared.repository import locks
from shared.repository.compression import compress, decompress
from shared.repository.crypto import KdfCost, MasterKey, read_key_file, write_key_file
from shared.repository.index import BlobIndex
from shared.repository.initialise import GivenPassword, open_repository
from shared.repository.packs import SealedBlob, build_pack, parse_pack
from shared.repository.repository import Config, Repository, open_master_key, whole_packs
from shared.repository.snapshots import load_snapshot
from shared.repository.trees import Metadata, dir_node, file_node, parse_node, parse_tree, tree_bytes
from shared.storage.local_folder import LocalFolderStore
from tests.examples import examples
from tests.fuzz.mutations import each_absurdity, mutated, mutated_json, only_our_errors
from tests.unit.repository.strategies import KEY

ID, OTHER = "ab" * 32, "cd" * 32
METADATA = Metadata(1_700_000_000_000_000_000, 1_700_000_000_000_000_000, 0o755, 1, 1, 7, 1 << 40, 0x20, b"descriptor")
TREE = tree_bytes(
    [(b"file", file_node(b"file", METADATA, 9, [ID, OTHER])), (b"folder", dir_node(b"folder", METADATA, ID))]
)
INDEX = {
    "packs": [
        {
            "id": ID,
            "blobs": [
                {"id": ID, "type": "data", "offset": 0, "length": 38, "uncompressed_length": 511},
                {"id": OTHER, "type": "tree", "offset": 38, "length": 112},
            ],
        }
    ]
}
SNAPSHOT = {
    "time": "2026-11-25T12:00:00.5Z",
    "parent": OTHER,
    "tree": ID,
    "paths": ["/share"],
    "hostname": "server",
    "tags": ["database"],
    "program_version": "lifeboat",
    "summary": {"files_new": 1},
}
LOCK = {"time": "2026-11-25T12:00:00Z", "exclusive": False, "hostname": "host", "username": "lifeboat", "pid": 7}
CONFIG = {"version": 2, "id": ID, "chunker_polynomial": "3dea92648f6e83"}
PACK = build_pack(KEY, [SealedBlob(bytes([n]) * 32, KEY.seal(b"blob %d" % n), n * 90) for n in range(4)], tree=False)[1]
KEY_FILE = json.loads(write_key_file(KEY, "password", created="2026-11-25T12:00:00Z", cost=KdfCost(n=16, r=1, p=1)))
ELECTION = {
    "version": 1,
    "repository": ID,
    "key": "e30=",
    "config": "e30=",
    "password_version": None,
    "after": "points/20261125T120000Z-0a1b2c.json",
}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    store = LocalFolderStore(tmp_path / "share")
    store.create_container_if_missing()
    return Repository(store, KEY, Config(ID, 2, "3dea92648f6e83"))


def sealed_as(repository: Repository, kind: str, plain: bytes) -> str:
    """A file as a stranger with the key would leave it; the blob's name."""
    sealed = repository.key.seal(plain)
    name = f"{kind}/{hashlib.sha256(sealed).hexdigest()}"
    repository.store.put(name, sealed)
    return name


def version_2(document: bytes) -> bytes:
    return b"\x02" + compress(document, 1)


# --- packs and frames -------------------------------------------------------------------------------------------------


@examples(300)
@given(mutated(PACK))
def test_a_pack(body: bytes) -> None:
    only_our_errors(lambda: parse_pack(KEY, body))


@examples(200)
@given(st.lists(st.integers(0, 3), max_size=5).flatmap(lambda kinds: mutated(bytes(kinds) * 41)))
def test_a_packs_header_under_a_valid_seal(header: bytes) -> None:
    sealed = KEY.seal(header)
    body = b"x" * 10 + sealed + len(sealed).to_bytes(4, "little")
    only_our_errors(lambda: parse_pack(KEY, body))


@examples(300)
@given(
    mutated(compress(b"some text " * 100, 3))
    | mutated(zstandard.ZstdCompressor(write_content_size=False).compress(b"some text " * 100))
)
def test_a_frame(packed: bytes) -> None:
    only_our_errors(lambda: decompress(packed, 1 << 20))


# --- JSON under a valid seal ------------------------------------------------------------------------------------------


def add_to_an_index(document: bytes) -> None:
    value = json_or_nothing(document)
    if isinstance(value, dict):
        index = BlobIndex()
        failed = only_our_errors(lambda: index.add_file(value))
        for tree in (False, True):
            for blob_id in index.blob_ids(tree=tree):
                assert index.find(blob_id, tree=tree) is not None, "a bad entry leaves the table as it was"
        if failed is None:
            only_our_errors(lambda: whole_packs(value, {}))


def json_or_nothing(document: bytes) -> Any:
    import orjson

    try:
        return orjson.loads(document)
    except orjson.JSONDecodeError:
        return None


def test_an_index_with_anything_in_any_place() -> None:
    for document in each_absurdity(INDEX):
        add_to_an_index(document)


@examples(200)
@given(mutated_json(INDEX))
def test_an_index(document: bytes) -> None:
    add_to_an_index(document)


def test_an_entry_that_does_not_fit_leaves_the_index_as_it_was() -> None:
    index = BlobIndex()
    good = {"id": ID, "type": "data", "offset": 5, "length": 40}
    bad = {"id": OTHER, "type": "data", "offset": 5, "length": 2**63}
    for blobs in ([bad], [good]):
        only_our_errors(lambda blobs=blobs: index.add_file({"packs": [{"id": ID, "blobs": blobs}]}))  # type: ignore[misc]
    found = index.find(bytes.fromhex(ID), tree=False)
    assert found is not None
    assert (found.offset, found.length, found.plain_length) == (5, 40, 0)
    assert index.find(bytes.fromhex(OTHER), tree=False) is None


def read_tree(document: bytes) -> None:
    for fields in parse_tree(document):
        node = parse_node(fields)
        assert all(isinstance(each, str) and len(bytes.fromhex(each)) == 32 for each in node.content)
        assert node.subtree is None or len(bytes.fromhex(node.subtree)) == 32
        assert isinstance(node.kind, str)
        assert 0 <= node.size_bytes < 2**64


def test_a_tree_with_anything_in_any_place() -> None:
    for document in each_absurdity(json.loads(TREE)):
        only_our_errors(lambda document=document: read_tree(document))  # type: ignore[misc]


@examples(300)
@given(mutated_json(json.loads(TREE)) | mutated(TREE))
def test_a_tree(document: bytes) -> None:
    only_our_errors(lambda: read_tree(document))


def test_a_snapshot_with_anything_in_any_place(repository: Repository) -> None:
    for document in each_absurdity(SNAPSHOT):
        name = sealed_as(repository, "snapshots", version_2(document))
        error = only_our_errors(lambda name=name: load_snapshot(repository, name[-64:]))  # type: ignore[misc]
        assert error is None or error.object == name


@examples(100)
@given(data=st.data())
def test_a_sealed_file_of_any_content(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Its version byte, its compression, its JSON."""
    store = LocalFolderStore(tmp_path_factory.mktemp("share"))
    repository = Repository(store, KEY, Config(ID, 2, "3dea92648f6e83"))
    plain = data.draw(mutated(version_2(json.dumps(SNAPSHOT).encode())) | mutated_json(SNAPSHOT) | st.binary())
    name = sealed_as(repository, "snapshots", plain)
    only_our_errors(lambda: load_snapshot(repository, name[-64:]))


def test_a_lock_with_anything_in_any_place_never_stops_us_but_by_its_being_there(repository: Repository) -> None:
    for document in each_absurdity(LOCK):
        name = sealed_as(repository, "locks", version_2(document))
        only_our_errors(lambda: locks.held_by(repository, "host"))
        error = only_our_errors(
            lambda: locks.acquire(repository, exclusive=True, hostname="us", sleep=lambda seconds: None)
        )
        assert isinstance(error, RepositoryLocked)
        repository.store.delete(name)


@pytest.mark.parametrize("content", [b"null", b"[]", b'"text"', b"7"])
def test_a_sealed_file_that_is_no_object_is_damage(repository: Repository, content: bytes) -> None:
    name = sealed_as(repository, "index", version_2(content))
    with pytest.raises(Damaged, match="no JSON object"):
        repository.load_unpacked(name)
    with pytest.raises(Damaged):
        repository.load_index()


# --- config, keys, elections ------------------------------------------------------------------------------------------


def test_a_config_with_anything_in_any_place() -> None:
    for document in each_absurdity(CONFIG):
        only_our_errors(lambda document=document: Config.from_sealed(KEY, KEY.seal(document)))  # type: ignore[misc]


def test_a_key_file_with_anything_in_any_place() -> None:
    for document in each_absurdity(KEY_FILE):
        only_our_errors(lambda document=document: read_key_file(document, "password"))  # type: ignore[misc]


@examples(100)
@given(mutated_json(KEY_FILE))
def test_a_key_file(document: bytes) -> None:
    only_our_errors(lambda: read_key_file(document, "password"))


@pytest.mark.parametrize("part", ["encrypt", "k", "r"])
@pytest.mark.parametrize("value", ["", "QUJD", "QUJD" * 30])
def test_a_master_key_of_another_length_is_damage(part: str, value: str) -> None:
    """Whoever knows the password can seal one: cryptography would refuse it later, at the first blob."""
    fields = json.loads(KEY.to_json())
    (fields if part == "encrypt" else fields["mac"])[part] = value
    only_key = MasterKey.from_json
    with pytest.raises(ValueError, match="length"):
        only_key(json.dumps(fields).encode())
    key_file = write_key_file(KEY, "password", created="", cost=KdfCost(n=16, r=1, p=1))
    document = json.loads(key_file)
    from base64 import b64decode, b64encode

    from shared.repository.crypto import derive

    password_key = derive("password", b64decode(document["salt"]), KdfCost(16, 1, 1))
    document["data"] = b64encode(password_key.seal(json.dumps(fields).encode())).decode()
    with pytest.raises(Damaged, match="no master key"):
        read_key_file(json.dumps(document).encode(), "password")


def test_a_damaged_key_beside_a_good_one_stops_nobody(repository: Repository) -> None:
    for body in (json.dumps(KEY_FILE).encode(), b"{}", b"[" * 100_000, b"null"):
        repository.store.put(f"keys/{hashlib.sha256(body).hexdigest()}", body)
    assert open_master_key(repository.store, "password") == KEY
    with pytest.raises(WrongPassword):
        open_master_key(repository.store, "another")


def open_with_election(folder: Path, name: str, election: bytes) -> None:
    share, records = LocalFolderStore(folder / "share"), LocalFolderStore(folder / "records")
    for store in (share, records):
        store.create_container_if_missing()
    body = json.dumps(KEY_FILE).encode()
    share.put(f"keys/{hashlib.sha256(body).hexdigest()}", body)
    share.put("config", Config(ID, 2, "3dea92648f6e83").sealed(KEY))
    records.put(name, election)
    open_repository(share, records, GivenPassword("another"))


def test_an_election_with_anything_in_any_place(tmp_path: Path) -> None:
    for number, document in enumerate(each_absurdity(ELECTION)):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert only_our_errors(lambda folder=folder, document=document: open_with_election(folder, "init", document))  # type: ignore[misc]


@examples(60)
@given(st.text(st.characters(codec="utf-8", exclude_characters="/\\:\0"), max_size=20))
@example("-\u00b2")
@example("-\u0663")
@example("-" + "9" * 200)
@example("-007")
def test_whatever_else_begins_with_init_is_no_election(tmp_path_factory: pytest.TempPathFactory, suffix: str) -> None:
    election = json.dumps(ELECTION).encode()
    folder = tmp_path_factory.mktemp("vault")
    assert isinstance(only_our_errors(lambda: open_with_election(folder, f"init{suffix}", election)), WrongPassword)
