"""What every ``BlobStore`` promises, held against each implementation and each way to reach it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.errors import BlobExists, BlobNotFound, ContainerMissing
from shared.storage.azure_blobs import AzureBlobStore
from shared.storage.blob_store import BlobStore
from shared.storage.counting import CountingStore
from shared.storage.credentials import open_credential
from shared.storage.local_folder import LocalFolderStore
from shared.storage.retrying import RetryingStore
from tests.conftest import new_vault
from tests.standins.azurite import API_VERSION, KEY, Azurite
from tests.standins.identity_endpoint import running_identity_endpoint

WAYS = (
    "local folder",
    "Azurite by key",
    "Azurite over https by key",
    "Azurite over https by Entra ID",
    "rights proxy, 409",
    "rights proxy, 403",
    "rights proxy over https by Entra ID",
    "rights proxy, wrapped",
)


@pytest.fixture(params=WAYS)
def opened(
    request: pytest.FixtureRequest, tmp_path: Path, clean_environment: pytest.MonkeyPatch
) -> Iterator[tuple[BlobStore, BlobStore]]:
    """A store on a container that is there and empty, and one on a container that is missing."""
    way: str = request.param
    if way == "local folder":
        (tmp_path / "there").mkdir()
        yield LocalFolderStore(tmp_path / "there"), LocalFolderStore(tmp_path / "missing")
        return
    secure = "https" in way
    azurite: Azurite = request.getfixturevalue("azurite_https" if secure else "azurite")
    if azurite.certificate:
        for name, value in azurite.certificate.environment().items():
            clean_environment.setenv(name, value)
    existing = "403 UnauthorizedBlobOverwrite" if way.endswith("403") else "409 BlobAlreadyExists"
    with (
        new_vault(azurite, existing_name=existing, containers=("share",)) as vault,  # type: ignore[arg-type]
        running_identity_endpoint() as identity,
    ):
        for name, value in identity.environment().items():
            clean_environment.setenv(name, value)
        url = vault.url if "proxy" in way else vault.direct
        by_token = way.endswith("Entra ID")

        def store(container: str) -> BlobStore:
            made: BlobStore = AzureBlobStore.open(
                url,
                container,
                account_key=None if by_token else KEY,
                credential=open_credential() if by_token else None,
                api_version=API_VERSION,
            )
            return CountingStore(RetryingStore(made)) if way.endswith("wrapped") else made

        yield store("share"), store("missing")
        assert not by_token or set(identity.asked) == {"https://storage.azure.com"}


@pytest.fixture
def store(opened: tuple[BlobStore, BlobStore]) -> BlobStore:
    return opened[0]


@pytest.fixture
def missing(opened: tuple[BlobStore, BlobStore]) -> BlobStore:
    return opened[1]


def test_a_put_creates_once_and_compares_afterwards(store: BlobStore) -> None:
    assert store.put("data/ab/abcd", b"pack") is True
    assert store.put("data/ab/abcd", b"pack") is False
    with pytest.raises(BlobExists) as other_length:
        store.put("data/ab/abcd", b"other")
    with pytest.raises(BlobExists):
        store.put("data/ab/abcd", b"pock")
    assert other_length.value.object == "data/ab/abcd"
    assert store.get("data/ab/abcd") == b"pack"


def test_a_get_returns_all_or_a_range_and_is_short_only_at_the_end(store: BlobStore) -> None:
    store.put("blob", b"0123456789")
    assert store.get("blob") == b"0123456789"
    assert store.get("blob", 4) == b"456789"
    assert store.get("blob", 4, 3) == b"456"
    assert store.get("blob", 8, 100) == b"89"
    assert store.get("blob", 10) == b""
    assert store.get("blob", 50, 5) == b""
    assert store.get("blob", 3, 0) == b""


def test_an_empty_blob_is_a_blob(store: BlobStore) -> None:
    assert store.put("empty", b"") is True
    assert store.put("empty", b"") is False
    assert store.get("empty") == b""
    facts = store.stat("empty")
    assert facts is not None
    assert facts.size_bytes == 0


def test_a_pack_goes_up_and_comes_back_whole(store: BlobStore) -> None:
    pack = os.urandom(17 << 20)
    assert store.put("data/00/pack", pack) is True
    assert store.get("data/00/pack") == pack
    assert store.get("data/00/pack", 5 << 20, 1 << 20) == pack[5 << 20 : 6 << 20]


@pytest.mark.parametrize("length", [None, 0, 1])
def test_a_blob_that_is_not_there_is_said_so(store: BlobStore, length: int | None) -> None:
    with pytest.raises(BlobNotFound) as error:
        store.get("no/such", 0, length)
    assert error.value.object == "no/such"
    assert store.stat("no/such") is None


def test_a_stat_knows_size_and_time(store: BlobStore) -> None:
    store.put("blob", b"12345")
    facts = store.stat("blob")
    assert facts is not None
    assert (facts.name, facts.size_bytes) == ("blob", 5)
    assert facts.modified.tzinfo is not None
    assert abs(facts.modified - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_listing_yields_each_name_once_in_order(store: BlobStore) -> None:
    names = ["config", "data/00/a", "data/0f/b", "data/10/c", "index/x", "keys/k", "snapshots/s"]
    for name in reversed(names):
        store.put(name, name.encode())
    assert [blob.name for blob in store.list("")] == names
    assert [blob.name for blob in store.list("data/")] == names[1:4]
    assert [blob.name for blob in store.list("data/0")] == names[1:3]
    assert [blob.name for blob in store.list("ind")] == ["index/x"]
    assert list(store.list("nothing/")) == []
    assert {blob.name: blob.size_bytes for blob in store.list("")} == {name: len(name) for name in names}


@pytest.mark.parametrize("name", ["locks/with space", "locks/ünïcode-☂", "locks/a+b&c=d%20#e", "locks/Case", "x" * 200])
def test_names_are_kept_as_they_are(store: BlobStore, name: str) -> None:
    store.put(name, b"x")
    assert [blob.name for blob in store.list("")] == [name]
    assert store.get(name) == b"x"


def test_a_deletion_may_be_repeated(store: BlobStore) -> None:
    store.put("locks/1", b"{}")
    store.delete("locks/1")
    assert store.stat("locks/1") is None
    store.delete("locks/1")
    assert store.put("locks/1", b"other") is True


def test_many_threads_may_use_one_store(store: BlobStore) -> None:
    def work(number: int) -> bytes:
        name = f"data/{number % 40:02}"
        store.put(name, name.encode() * 1000)
        return store.get(name, 0, 7)

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(work, range(80)))
    assert found == [f"data/{number % 40:02}".encode() for number in range(80)]
    assert len(list(store.list("data/"))) == 40


def test_one_of_many_that_put_different_bytes_under_one_name_wins(store: BlobStore) -> None:
    def work(number: int) -> bool:
        try:
            return store.put("recovery-points-init", b"initialiser %d" % number)
        except BlobExists:
            return False

    with ThreadPoolExecutor(8) as pool:
        won = [number for number, created in enumerate(pool.map(work, range(8))) if created]
    assert len(won) == 1
    assert store.get("recovery-points-init") == b"initialiser %d" % won[0]


def test_a_missing_container_is_said_by_every_call_that_needs_it(missing: BlobStore) -> None:
    for call in (
        lambda: missing.put("a", b"x"),
        lambda: missing.get("a"),
        lambda: list(missing.list("")),
        lambda: missing.stat("a"),
    ):
        with pytest.raises(ContainerMissing) as error:
            call()
        assert re.search(r"missing", str(error.value))
        assert error.value.remedy
