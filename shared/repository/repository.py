"""An opened repository: its key, its index, and the files that stand for themselves (index, snapshot, lock).

Blobs are stored by ``writer.BlobWriter`` and read by ``reader.BlobReader``.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import orjson

from shared.errors import BlobNotFound, Damaged, RepositoryMissing, WrongPassword
from shared.repository.ahead import fetched_ahead
from shared.repository.compression import UNPACKED_LEVEL, compress, decompress
from shared.repository.crypto import MasterKey, read_key_file
from shared.repository.index import BlobIndex, IndexedPack, index_documents
from shared.repository.packs import packed_bytes
from shared.storage.blob_store import BlobInfo, BlobStore

_FETCHES_AT_ONCE = 8
_PACK_NAME = re.compile(r"data/([0-9a-f]{2})/\1[0-9a-f]{62}\Z")


class KeyMissing(Damaged):
    """There is a config and no key: an initialiser died between the two, or somebody deleted the keys."""


@dataclass(frozen=True, slots=True)
class Config:
    """The repository's ``config``: sealed JSON, neither compressed nor versioned."""

    id: str
    """64 hex digits."""
    version: int
    chunker_polynomial: str

    def sealed(self, key: MasterKey) -> bytes:
        return key.seal(
            orjson.dumps({"version": self.version, "id": self.id, "chunker_polynomial": self.chunker_polynomial})
        )

    @classmethod
    def from_sealed(cls, key: MasterKey, sealed: bytes) -> Config:
        try:
            fields = orjson.loads(key.open(sealed))
            config = cls(fields["id"], fields["version"], fields["chunker_polynomial"])
            if not isinstance(config.id, str) or not isinstance(config.chunker_polynomial, str):
                raise TypeError("a field is no text")
        except (Damaged, orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise Damaged(
                f"the repository's config cannot be read: {error}", remedy="Run 'undelete'.", blob="config"
            ) from error
        if config.version not in (1, 2):
            raise Damaged(
                f"the repository has format version {config.version}, versions 1 and 2 are known",
                remedy="Use a newer Lifeboat.",
                blob="config",
            )
        return config


@dataclass(slots=True)
class Repository:
    """May be used from several threads. Opened by ``Repository.open`` or ``initialise.open_or_initialise``."""

    store: BlobStore
    key: MasterKey
    config: Config
    index: BlobIndex = field(default_factory=BlobIndex)
    missing_packs: int = 0
    """Packs that an index names and that were not there when the index was loaded; their blobs count as not stored."""
    distrusted: frozenset[bytes] = frozenset()
    """Packs that are there and were found damaged when they were read back: who stores takes what they hold for not
    stored, who reads looks elsewhere first."""
    claimed: tuple[set[bytes], set[bytes]] = field(default_factory=lambda: (set(), set()))
    """Data and tree blobs that a writer of this process is storing: no other one stores them too."""
    relied_on: tuple[set[bytes], set[bytes]] = field(default_factory=lambda: (set(), set()))
    """Those of them that another writer counted on: when all are done, each must be in the index."""
    claims_lock: threading.Lock = field(default_factory=threading.Lock)
    _unindexed: list[IndexedPack] = field(default_factory=list)
    _loaded_indexes: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def open(cls, store: BlobStore, password: str) -> Repository:
        """``RepositoryMissing``, ``WrongPassword``, ``Damaged``."""
        try:
            sealed_config = store.get("config")
        except BlobNotFound:
            raise RepositoryMissing(
                "the vault's container 'share' holds no repository",
                remedy="Run 'backup' to make one. If there was one, somebody emptied the vault: run 'undelete'.",
                blob="config",
            ) from None
        key = open_master_key(store, password)
        return cls(store, key, Config.from_sealed(key, sealed_config))

    # --- index ---

    def load_index(self, *, present: Mapping[bytes, int] | None = None, keep_missing: bool = False) -> None:
        """Load the index files that are not loaded yet, and so learn what others have stored since.

        Packs that are not in ``present`` (``list_packs``), or are not as long there as their blobs say, are left out:
        an index can outlive its packs, and what a damaged one held is stored anew. With ``keep_missing`` they come
        last instead: a blob is looked for where it is, and where it is nowhere, the pack that it was in is known.
        Where a prune replaces index files meanwhile, they are listed again. The oldest come first: of two places of a
        blob the one that was named first is taken, so nobody can claim later that it lies elsewhere.
        """
        missing: list[dict[str, Any]] | None = [] if keep_missing else None
        replaced: set[str] = set()
        while True:
            known = self._loaded_indexes | replaced
            blobs = sorted(self.store.list("index/"), key=lambda blob: blob.modified)
            names = [blob.name for blob in blobs if blob.name not in known]
            with closing(fetched_ahead(self._index_file, names, at_once=_FETCHES_AT_ONCE)) as files:
                for name, sealed in files:
                    if sealed is None:
                        replaced.add(name)
                    else:
                        self._add_index(name, sealed, present, missing)
            if replaced <= known:
                break
        if missing:
            self.index.add_file({"packs": missing})

    def _index_file(self, name: str) -> bytes | None:
        """As it is stored: opened it takes some twenty times the memory, so that is done with one at a time."""
        try:
            return self.store.get(name)
        except BlobNotFound:  # a prune replaced it since the listing: what it wrote instead is in the next one
            return None

    def _add_index(
        self,
        name: str,
        sealed: bytes,
        present: Mapping[bytes, int] | None,
        missing: list[dict[str, Any]] | None,
    ) -> None:
        document = self.open_unpacked(name, sealed)
        try:
            whole = None if present is None else whole_packs(document, present)
            left_out = self.index.add_file(document, present=whole)
        except Damaged as error:
            raise Damaged(str(error), remedy="Run 'check'.", blob=name) from error
        if missing is not None and left_out and whole is not None:
            missing += [pack for pack in document["packs"] if bytes.fromhex(pack["id"]) not in whole]
        with self._lock:
            self.missing_packs += left_out
            self._loaded_indexes.add(name)

    def write_index(self, packs: Iterable[IndexedPack]) -> list[str]:
        """Write the index files that name ``packs``; returns their names."""
        names = []
        for document in index_documents(packs):
            name = f"index/{self.save_unpacked('index', document)}"
            names.append(name)
            with self._lock:
                self._loaded_indexes.add(name)
        return names

    def leave_unindexed(self, packs: list[IndexedPack]) -> None:
        """Packs that are in the vault and known here, and that no index file names: the next writer is to name them."""
        with self._lock:
            self._unindexed += packs

    def take_unindexed(self) -> list[IndexedPack]:
        with self._lock:
            packs, self._unindexed = self._unindexed, []
        return packs

    # --- files that stand for themselves ---

    def save_unpacked(self, kind: str, document: bytes) -> str:
        """Store JSON as a file of ``kind`` (``index``, ``snapshots``, ``locks``). Returns its id, 64 hex digits."""
        sealed = self.seal_unpacked(document)
        file_id = hashlib.sha256(sealed).hexdigest()
        self.store.put(f"{kind}/{file_id}", sealed)
        return file_id

    def seal_unpacked(self, document: bytes) -> bytes:
        if self.config.version == 1:
            return self.key.seal(document)
        return self.key.seal(b"\x02" + compress(document, UNPACKED_LEVEL))

    def load_unpacked(self, name: str) -> dict[str, Any]:
        """The JSON object of the file ``name`` (``index/...``). ``BlobNotFound``; ``Damaged`` naming the file."""
        return self.open_unpacked(name, self.store.get(name))

    def open_unpacked(self, name: str, sealed: bytes) -> dict[str, Any]:
        """The JSON object of the file ``name`` that holds ``sealed``. ``Damaged`` naming the file."""
        if hashlib.sha256(sealed).hexdigest() != name.rpartition("/")[2]:
            raise Damaged(f"{name} does not have the hash that is its name", remedy="Run 'check'.", blob=name)
        try:
            plain = self.key.open(sealed)
            document: object = orjson.loads(plain if plain[:1] in (b"{", b"[") else decompress(plain[1:]))
        except (Damaged, orjson.JSONDecodeError) as error:
            raise Damaged(f"{name} cannot be read: {error}", remedy="Run 'check'.", blob=name) from error
        if not isinstance(document, dict):
            raise Damaged(f"{name} cannot be read: it is no JSON object", remedy="Run 'check'.", blob=name)
        return document

    def list_ids(self, kind: str) -> Iterator[str]:
        for blob in self.store.list(f"{kind}/"):
            yield blob.name.rpartition("/")[2]

    def list_packs(self) -> dict[bytes, int]:
        """Id and size in bytes of every pack that is there."""
        return {bytes.fromhex(blob.name[-64:]): blob.size_bytes for blob in self.pack_blobs()}

    def trusted_packs(self) -> dict[bytes, int]:
        """As ``list_packs``, without those that are ``distrusted``."""
        return {pack: size for pack, size in self.list_packs().items() if pack not in self.distrusted}

    def pack_blobs(self) -> Iterator[BlobInfo]:
        """Every pack that is there, as the listing shows it; its id is the last part of its name."""
        return (blob for blob in self.store.list("data/") if _PACK_NAME.match(blob.name))


def whole_packs(document: dict[str, Any], present: Mapping[bytes, int]) -> set[bytes]:
    """Of the packs that an index file names, those that are there and as long as their blobs say. ``Damaged``."""
    whole = set()
    try:
        for pack in document["packs"]:
            pack_id = bytes.fromhex(pack["id"])
            blobs = pack["blobs"]
            compressed = sum(1 for blob in blobs if blob.get("uncompressed_length"))
            if present.get(pack_id) == packed_bytes(sum(blob["length"] for blob in blobs), len(blobs), compressed):
                whole.add(pack_id)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Damaged(f"an index file cannot be read: {error!r}") from error
    return whole


def open_master_key(store: BlobStore, password: str) -> MasterKey:
    """The master key, from whichever key file ``password`` opens. ``WrongPassword`` when none does; ``Damaged``."""
    names = [blob.name for blob in store.list("keys/")]
    damaged: list[str] = []
    for name in names:
        try:
            key_file = store.get(name)
            if hashlib.sha256(key_file).hexdigest() != name.rpartition("/")[2]:
                raise Damaged("it does not have the hash that is its name")
            key = read_key_file(key_file, password)
        except Damaged:
            damaged.append(name)  # another key may open, and 'check' says what is wrong with this one
            continue
        if key is not None:
            return key
    if names and len(damaged) == len(names):
        raise Damaged(
            f"the repository's key file {damaged[0]} is damaged, and there is none that is not",
            remedy="Run 'undelete': without a key nobody can open the repository.",
            blob=damaged[0],
        )
    if not names:
        raise KeyMissing("the repository has a config and no key", remedy="Run 'backup', or 'undelete'.", blob="keys/")
    raise WrongPassword(
        f"the repository password opens none of the repository's {len(names)} key(s)",
        remedy="Set LIFEBOAT_REPOSITORY_PASSWORD, or the Key Vault secret 'repository-password', to the password "
        "that the repository was made with.",
        setting="LIFEBOAT_REPOSITORY_PASSWORD",
    )
