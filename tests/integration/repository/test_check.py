"""Lifeboat's own check: what is damaged is noticed, and the finding names the blob in the vault."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import orjson
import pytest

from shared.errors import Damaged, RepositoryMissing, WrongPassword
from shared.repository.checker import Checker, Finding
from shared.repository.crypto import KdfCost, MasterKey, write_key_file
from shared.repository.index import IndexedBlob, IndexedPack
from shared.repository.packs import SealedBlob, build_pack, pack_name
from shared.repository.reader import BlobReader
from shared.repository.repository import Config, Repository
from shared.repository.trees import Metadata, dir_node, file_node, tree_bytes
from shared.storage.blob_store import BlobStore
from shared.storage.local_folder import LocalFolderStore
from tests.integration.repository.helpers import PASSWORD

CONTENT = b"the content of a file\n" * 40
TIMES = Metadata(mtime_ns=10**18, ctime_ns=10**18)


@dataclass
class Workshop:
    """Writes a repository blob by blob, right or wrong, as a test wants it."""

    store: LocalFolderStore
    key: MasterKey
    config: Config
    packs: list[IndexedPack] = field(default_factory=list)

    @classmethod
    def open(cls, folder: Path) -> Workshop:
        store = LocalFolderStore(folder)
        store.create_container_if_missing()
        key, config = MasterKey.generate(), Config("ab" * 32, 2, "3DA3358B4DC173")
        key_file = write_key_file(key, PASSWORD, created="2026-11-23T00:00:00Z", cost=KdfCost(16, 1, 1))
        store.put(f"keys/{hashlib.sha256(key_file).hexdigest()}", key_file)
        store.put("config", config.sealed(key))
        return cls(store, key, config)

    @property
    def repository(self) -> Repository:
        return Repository(self.store, self.key, self.config)

    def pack(self, *plains: bytes, tree: bool, named: bool = True) -> str:
        """Store blobs as one pack, which the index is to name; returns the pack's blob name."""
        sealed = [SealedBlob(hashlib.sha256(plain).digest(), self.key.seal(plain), 0) for plain in plains]
        pack, body = build_pack(self.key, sealed, tree=tree)
        self.store.put(pack_name(pack.id), body)
        if named:
            self.packs.append(pack)
        return pack_name(pack.id)

    def index(self) -> str:
        """Write the index; returns its blob name."""
        self.repository.write_index(self.packs)
        return self.only("index/")

    def snapshot(self, tree: bytes) -> str:
        """Write a snapshot of a tree that is one folder, whose nodes ``tree`` holds; returns its blob name."""
        folder = tree_bytes([(b"site", dir_node(b"site", TIMES, hashlib.sha256(tree).hexdigest()))])
        self.pack(folder, tree=True)
        return self.snapshot_of(hashlib.sha256(folder).hexdigest())

    def snapshot_of(self, tree_id: str) -> str:
        fields = {"time": "2026-11-23T00:00:00Z", "tree": tree_id, "paths": ["/site"], "hostname": "server"}
        return f"snapshots/{self.repository.save_unpacked('snapshots', orjson.dumps(fields))}"

    def only(self, prefix: str) -> str:
        (blob,) = self.store.list(prefix)
        return blob.name

    def replace(self, name: str, change: Callable[[bytes], bytes]) -> None:
        body = self.store.get(name)
        self.store.delete(name)
        self.store.put(name, change(body))

    def check(self, *, read_data: bool = False) -> list[Finding]:
        return Checker(Repository.open(self.store, PASSWORD)).run(read_data=read_data)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop.open(tmp_path / "share")


def file(name: bytes, content: Sequence[bytes] = (CONTENT,), size: int | None = None) -> tuple[bytes, bytes]:
    ids = [hashlib.sha256(plain).hexdigest() for plain in content]
    return name, file_node(name, TIMES, sum(map(len, content)) if size is None else size, ids)


def joined(nodes: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A tree with its nodes in just this order."""
    return b'{"nodes":[' + b",".join(node for _, node in nodes) + b"]}\n"


def flip(body: bytes) -> bytes:
    at = len(body) // 2
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]


@dataclass
class Good:
    """A repository in which everything is as it should be."""

    data: str
    trees: str
    index: str
    snapshot: str


@pytest.fixture
def good(workshop: Workshop) -> Good:
    tree = tree_bytes([file(b"a"), file(b"b"), file(b"empty", ())])
    data, trees = workshop.pack(CONTENT, tree=False), workshop.pack(tree, tree=True)
    snapshot = workshop.snapshot(tree)
    return Good(data, trees, workshop.index(), snapshot)


def test_where_everything_is_as_it_should_be_nothing_is_found(workshop: Workshop, good: Good) -> None:
    assert workshop.check() == []
    assert workshop.check(read_data=True) == []


def test_what_no_index_names_and_what_others_left_in_the_container_is_no_damage(workshop: Workshop, good: Good) -> None:
    workshop.pack(b"of an interrupted run", tree=False, named=False)
    workshop.store.put("data/zz/" + "zz" * 32, b"garbage")
    workshop.store.put("data/readme.txt", b"garbage")
    assert workshop.check(read_data=True) == []


_node = file(b"x")[1]
TREES: dict[str, tuple[bytes, str]] = {
    "a size that is not the sum of the blobs": (tree_bytes([file(b"a", size=len(CONTENT) + 1)]), "size"),
    "a size of an empty file": (tree_bytes([file(b"a", (), size=1)]), "size"),
    "no size where there is content": (tree_bytes([file(b"a", size=0)]), "size"),
    "nodes that are not sorted": (joined([file(b"b"), file(b"a")]), "not sorted"),
    "nodes sorted by their quoted names": (joined([file(b"a\\"), file(b"aB")]), "not sorted"),
    "a name that comes twice": (joined([file(b"a"), file(b"a")]), "twice"),
    "no newline at the end": (tree_bytes([file(b"a")]).rstrip(), "newline"),
    "a blob that no index names": (tree_bytes([file(b"a", (b"never stored",))]), "no index names blob"),
    "a folder without a tree": (
        tree_bytes([(b"d", dir_node(b"d", TIMES, "x").replace(b'"subtree":"x"', b'"subtree":null'))]),
        "no tree",
    ),
    "a file whose content is null": (
        tree_bytes([(b"a", file_node(b"a", TIMES, 0, ()).replace(b"[]", b"null"))]),
        "no list of blobs",
    ),
    "a name with an escape that is none": (joined([(b"", _node.replace(b'"x"', b'"\\\\q"'))]), "escape"),
    "a name that is no text": (joined([(b"", _node.replace(b'"x"', b"7"))]), "cannot be read"),
    "an id that is none": (joined([(b"", file(b"x", ())[1].replace(b"[]", b'["zz"]'))]), "cannot be read"),
    "no tree at all": (b"garbage", "cannot be read"),
    "nodes that are no objects": (b'{"nodes":[1]}\n', "something else"),
}


@pytest.mark.parametrize("case", TREES)
def test_a_tree_that_is_not_as_restic_writes_it_is_noticed(workshop: Workshop, case: str) -> None:
    tree, words = TREES[case]
    workshop.pack(CONTENT, tree=False)
    pack = workshop.pack(tree, tree=True)
    workshop.snapshot(tree)
    workshop.index()
    (finding,) = workshop.check()
    assert finding.object == pack
    assert words in finding.message
    assert hashlib.sha256(tree).hexdigest() in finding.message


def test_a_pack_with_trees_and_data_is_noticed(workshop: Workshop) -> None:
    tree = tree_bytes([file(b"a")])
    sealed = [SealedBlob(hashlib.sha256(plain).digest(), workshop.key.seal(plain), 0) for plain in (CONTENT, tree)]
    data, _ = build_pack(workshop.key, sealed, tree=False)
    _, body = build_pack(workshop.key, sealed, tree=True)
    mixed = IndexedPack(
        hashlib.sha256(body).digest(), (data.blobs[0], IndexedBlob(*data.blobs[1][:1], True, *data.blobs[1][2:]))
    )
    workshop.store.put(pack_name(mixed.id), body)
    workshop.packs.append(mixed)
    workshop.snapshot(tree)
    workshop.index()
    (finding,) = workshop.check()
    assert finding.object == pack_name(mixed.id)
    assert "mixes" in finding.message
    assert any("different blobs" in each.message for each in workshop.check(read_data=True))


@pytest.mark.parametrize("which", ["data", "trees"])
def test_an_index_that_outlives_its_pack_is_noticed_faults_8_and_41(workshop: Workshop, good: Good, which: str) -> None:
    name = getattr(good, which)
    workshop.store.delete(name)
    (finding,) = workshop.check()
    assert finding.object == name
    assert "not there" in finding.message


@pytest.mark.parametrize("which", ["data", "trees"])
def test_a_pack_that_ends_early_is_noticed_without_reading_it_fault_5(
    workshop: Workshop, good: Good, which: str
) -> None:
    name = getattr(good, which)
    workshop.replace(name, lambda body: body[:-1])
    assert any(finding.object == name and "bytes long" in finding.message for finding in workshop.check())


def test_a_flipped_bit_in_a_pack_is_noticed_when_data_is_read_fault_6(workshop: Workshop, good: Good) -> None:
    workshop.replace(good.data, flip)
    assert workshop.check() == []
    (finding,) = workshop.check(read_data=True)
    assert finding.object == good.data


def test_a_flipped_bit_in_a_tree_is_noticed_without_reading_all_data_fault_6(workshop: Workshop, good: Good) -> None:
    at = len(workshop.store.get(good.trees)) // 4
    workshop.replace(good.trees, lambda body: body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :])
    assert [finding.object for finding in workshop.check()] == [good.trees]


def test_a_pack_whose_bytes_are_another_packs_is_noticed(workshop: Workshop, good: Good) -> None:
    other = workshop.store.get(workshop.pack(CONTENT[::-1], tree=False, named=False))
    workshop.replace(good.data, lambda _: other)
    assert [finding.object for finding in workshop.check(read_data=True)] == [good.data]


@pytest.mark.parametrize("which", ["index", "snapshot"])
def test_a_flipped_bit_in_an_index_or_a_snapshot_is_noticed_fault_7(workshop: Workshop, good: Good, which: str) -> None:
    name = getattr(good, which)
    workshop.replace(name, flip)
    assert name in [finding.object for finding in workshop.check()]


@pytest.mark.parametrize("which", ["index", "snapshots"])
def test_a_file_that_is_sealed_and_holds_something_else_is_noticed(workshop: Workshop, good: Good, which: str) -> None:
    for content in (b"[]", b"{}", b'{"packs":7,"tree":7,"time":7,"paths":7}', b'{"packs":[{"id":"zz","blobs":[]}]}'):
        name = f"{which}/{workshop.repository.save_unpacked(which, content)}"
        assert name in [finding.object for finding in workshop.check()]
    assert len(workshop.check()) == 4


def test_a_snapshot_whose_tree_is_in_no_index_is_noticed(workshop: Workshop, good: Good) -> None:
    snapshot = workshop.snapshot_of("cd" * 32)
    (finding,) = workshop.check()
    assert finding.object == snapshot


def test_a_flipped_bit_in_a_second_key_is_noticed_and_the_first_one_opens(workshop: Workshop, good: Good) -> None:
    second = write_key_file(workshop.key, "another", created="2026-11-23T00:00:00Z", cost=KdfCost(16, 1, 1))
    name = f"keys/{hashlib.sha256(second).hexdigest()}"
    workshop.store.put(name, flip(second))
    (finding,) = workshop.check()
    assert finding.object == name


def test_a_key_file_that_somebody_dropped_is_noticed_and_keeps_nobody_from_opening(
    workshop: Workshop, good: Good
) -> None:
    for garbage in (b"garbage", b'{"kdf":"scrypt","N":3,"r":1,"p":1,"salt":"","data":""}'):
        workshop.store.put(f"keys/{hashlib.sha256(garbage).hexdigest()}", garbage)
    findings = workshop.check()
    assert len(findings) == 2
    assert all(finding.object.startswith("keys/") for finding in findings)


def test_a_flipped_bit_in_the_only_key_is_told_by_its_name_and_not_as_a_wrong_password(
    workshop: Workshop, good: Good
) -> None:
    name = workshop.only("keys/")
    workshop.replace(name, flip)
    with pytest.raises(Damaged) as error:
        workshop.check()
    assert error.value.object == name


@pytest.mark.parametrize("change", [flip, lambda body: body[:20], lambda body: b""])
def test_a_damaged_config_is_told_by_its_name_fault_7(
    workshop: Workshop, good: Good, change: Callable[[bytes], bytes]
) -> None:
    workshop.replace("config", change)
    with pytest.raises(Damaged) as error:
        workshop.check()
    assert error.value.object == "config"


def test_a_wrong_password_and_a_missing_repository_have_their_exit_codes(workshop: Workshop, tmp_path: Path) -> None:
    with pytest.raises(WrongPassword) as wrong:
        Repository.open(workshop.store, "wrong")
    assert wrong.value.exit_code == 12
    empty = LocalFolderStore(tmp_path / "empty")
    empty.create_container_if_missing()
    with pytest.raises(RepositoryMissing) as missing:
        Repository.open(empty, PASSWORD)
    assert missing.value.exit_code == 10


def test_any_flipped_bit_anywhere_is_noticed_when_data_is_read_faults_6_and_7(workshop: Workshop, good: Good) -> None:
    """Each blob of the repository in turn, at places drawn from a seed."""
    random = Random(3)

    def noticed(store: BlobStore, name: str) -> bool:
        try:
            findings = workshop.check(read_data=True)
        except Damaged as error:
            return error.object == name
        return name in {finding.object for finding in findings}

    for name in [blob.name for blob in workshop.store.list("")]:
        body = workshop.store.get(name)
        for _ in range(10):
            at = random.randrange(len(body) * 8)
            flipped = bytearray(body)
            flipped[at // 8] ^= 1 << at % 8
            workshop.replace(name, lambda _, changed=bytes(flipped): changed)  # type: ignore[misc]
            assert noticed(workshop.store, name), (name, at)
        workshop.replace(name, lambda _, right=body: right)  # type: ignore[misc]
    assert workshop.check(read_data=True) == []


@pytest.mark.parametrize("lost", [0, 1])
def test_a_blob_is_read_where_it_still_is_when_an_index_outlives_its_pack_fault_41(
    workshop: Workshop, lost: int
) -> None:
    """Whichever of the two index files is loaded first."""
    names = []
    for _ in range(2):
        names.append(workshop.pack(CONTENT, tree=False))
        workshop.repository.write_index(workshop.packs)
        workshop.packs.clear()
    workshop.store.delete(names[lost])
    for present_only in (True, False):
        repository = workshop.repository
        repository.load_index(present=repository.list_packs(), keep_missing=not present_only)
        blob_id = hashlib.sha256(CONTENT).digest()
        assert BlobReader(repository).load(blob_id, tree=False) == CONTENT
        assert repository.missing_packs == 1
    workshop.store.delete(names[1 - lost])
    repository = workshop.repository
    repository.load_index(present=repository.list_packs(), keep_missing=True)
    with pytest.raises(Damaged) as error:
        BlobReader(repository).load(blob_id, tree=False)
    assert error.value.object in names
