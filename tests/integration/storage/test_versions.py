"""What every ``VersionedStore`` promises, held against the vault in memory and the gateway, in both readings of what
Delete Blob does to a protected blob."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
import requests

from shared.errors import BlobExists, BlobNotFound, BlobProtected, CopyRefused, StorageError, StorageForbidden
from shared.settings import Settings
from shared.storage import azure_blobs
from shared.storage.azure_blobs import AzureBlobStore
from shared.storage.credentials import open_credential
from shared.storage.retrying import RetryingVersions
from shared.storage.vault import Vault as ProductVault
from shared.storage.versions import BlobVersion, VersionedStore
from tests.conftest import Vault, new_vault
from tests.standins.azurite import API_VERSION, Azurite
from tests.standins.identity_endpoint import running_identity_endpoint
from tests.standins.memory_vault import MemoryVault
from tests.standins.rights_proxy import BACKUP_APP, KEEPER, OWNER, READER, Rights
from tests.standins.worm import DeleteUnderPolicy, Worm

DAY = timedelta(days=1)
WAYS = ("memory", "gateway by key", "gateway over https by Entra ID", "gateway, wrapped")
READINGS: tuple[DeleteUnderPolicy, ...] = ("refused", "previous version")


class Hands:
    """A clock that begins now, so that it agrees with the emulator's, and that a test turns on."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass
class Account:
    """One container as several identities see it."""

    seen_by: Callable[[Rights], VersionedStore]
    overwrite: Callable[[str, bytes], None]
    """As an attacker does who may write."""
    clock: Hands
    worm: Worm

    def __post_init__(self) -> None:
        self.keeper = self.seen_by(KEEPER)
        self.backup = self.seen_by(BACKUP_APP)

    def shown(self, name: str = "") -> list[tuple[bytes | None, bool]]:
        """The content of each version, and whether it is current."""
        return [
            (None if one.deleted else self.keeper.get_version(one.name, str(one.version)), one.current)
            for one in self.keeper.list_versions(name)
        ]


@contextlib.contextmanager
def account(way: str, worm: Worm, request: pytest.FixtureRequest) -> Iterator[Account]:
    clock = Hands()
    if way == "memory":
        memory = MemoryVault(clock=clock, worm=worm)
        yield Account(lambda rights: memory.with_rights(rights).share, memory.share.overwrite, clock, worm)
        return
    azurite: Azurite = request.getfixturevalue("azurite_https" if "https" in way else "azurite")
    with contextlib.ExitStack() as stack:
        by_token = "Entra" in way
        if azurite.certificate:
            environment = request.getfixturevalue("clean_environment")
            identity = stack.enter_context(running_identity_endpoint())
            for name, value in {**azurite.certificate.environment(), **identity.environment()}.items():
                environment.setenv(name, value)
        vault = stack.enter_context(new_vault(azurite, rights=OWNER, worm=worm, clock=clock, containers=("share",)))

        def seen_by(rights: Rights) -> VersionedStore:
            store = stack.enter_context(opened(stack.enter_context(vault.with_rights(rights)), by_token=by_token))
            return RetryingVersions(store) if "wrapped" in way else store

        writer = stack.enter_context(vault.store())._client

        def overwrite(name: str, body: bytes) -> None:
            writer.upload_blob(name, body, overwrite=True)

        yield Account(seen_by, overwrite, clock, worm)


def opened(vault: Vault, *, by_token: bool = False, container: str = "share") -> AzureBlobStore:
    return AzureBlobStore.open(
        vault.url,
        container,
        account_key=None if by_token else vault.key,
        credential=open_credential() if by_token else None,
        api_version=API_VERSION,
    )


@pytest.fixture(params=[(way, reading) for way in WAYS for reading in READINGS], ids=lambda given: ", ".join(given))
def vault_share(request: pytest.FixtureRequest) -> Iterator[Account]:
    way, reading = request.param
    with account(way, Worm(delete_under_policy=reading), request) as made:
        yield made


@pytest.fixture(params=WAYS)
def soft_deleting(request: pytest.FixtureRequest) -> Iterator[Account]:
    with account(request.param, Worm(soft_delete=True), request) as made:
        yield made


def test_versions_are_listed_by_name_and_then_the_oldest_first(vault_share: Account) -> None:
    content = {name: os.urandom(20) for name in ("data/b", "data/a", "index/ä & <1>")}
    for name, body in content.items():
        assert vault_share.backup.put(name, body)
    vault_share.overwrite("data/b", b"evil")
    found = list(vault_share.keeper.list_versions(""))
    assert [(one.name, one.current) for one in found] == [
        ("data/a", True),
        ("data/b", False),
        ("data/b", True),
        ("index/ä & <1>", True),
    ]
    assert vault_share.shown("data/b") == [(content["data/b"], False), (b"evil", True)]
    assert [one.name for one in vault_share.keeper.list_versions("index/")] == ["index/ä & <1>"]
    for one in found:
        assert one.version is not None
        assert one.md5 is not None
        assert one.modified.tzinfo is UTC
        assert (one.until, one.locked, one.legal_hold, one.deleted) == (None, False, False, False)
    assert found[1].version < found[2].version  # type: ignore[operator]


def test_a_part_of_a_version_is_read_and_a_missing_one_is_not_found(vault_share: Account) -> None:
    vault_share.backup.put("a", b"0123456789")
    vault_share.backup.put("empty", b"")
    vault_share.keeper.delete("a")
    vault_share.keeper.delete("empty")
    a, empty = (str(one.version) for one in vault_share.keeper.list_versions(""))
    parts = [(0, None), (3, 4), (8, 100), (10, None), (3, 0)]
    assert [vault_share.keeper.get_version("a", a, *part) for part in parts] == [
        b"0123456789", b"3456", b"89", b"", b""]  # fmt: skip
    assert vault_share.keeper.get_version("empty", empty) == b""
    with pytest.raises(BlobNotFound):
        vault_share.keeper.get_version("a", "2020-01-01T00:00:00.0000000Z")


def test_what_is_protected_is_not_deleted_for_good_before_its_date(vault_share: Account) -> None:
    until = (vault_share.clock() + DAY).replace(microsecond=0)
    vault_share.backup.put("a", b"good")
    vault_share.keeper.protect("a", until)
    (one,) = vault_share.keeper.list_versions("")
    assert (one.until, one.locked) == (until, True)
    if vault_share.worm.delete_under_policy == "refused":
        with pytest.raises(BlobProtected) as refused:
            vault_share.keeper.delete("a")
        assert "until its date" in refused.value.remedy
        vault_share.overwrite("a", b"evil")
    else:
        vault_share.keeper.delete("a")
    with pytest.raises(BlobProtected):
        vault_share.keeper.delete_version("a", str(one.version))
    assert vault_share.shown()[0] == (b"good", False)
    vault_share.clock.ahead = 2 * DAY
    vault_share.keeper.delete_version("a", str(one.version))
    vault_share.keeper.delete_version("a", str(one.version))
    assert (b"good", False) not in vault_share.shown()


def test_a_date_is_put_off_and_set_again_but_never_brought_forward(vault_share: Account) -> None:
    until = (vault_share.clock() + 2 * DAY).replace(microsecond=0)
    vault_share.backup.put("a", b"")
    vault_share.keeper.protect("a", until - DAY)
    vault_share.keeper.protect("a", until)
    vault_share.keeper.protect("a", until)
    with pytest.raises(BlobProtected):
        vault_share.keeper.protect("a", until - DAY)
    assert [one.until for one in vault_share.keeper.list_versions("")] == [until]
    with pytest.raises(BlobNotFound):
        vault_share.keeper.protect("missing", until)


def test_a_date_between_two_seconds_is_not_earlier_than_asked(vault_share: Account) -> None:
    until = (vault_share.clock() + DAY).replace(microsecond=1)
    vault_share.backup.put("a", b"")
    vault_share.keeper.protect("a", until)
    vault_share.keeper.protect("a", until)
    (one,) = vault_share.keeper.list_versions("")
    assert one.until == until.replace(microsecond=0) + timedelta(seconds=1)


def test_what_was_deleted_is_made_current_again_once(vault_share: Account) -> None:
    body = os.urandom(3 << 20)
    vault_share.backup.put("data/a b+ä", body)
    vault_share.keeper.delete("data/a b+ä")
    (gone,) = vault_share.keeper.list_versions("")
    assert vault_share.keeper.make_current(gone) is True
    assert vault_share.keeper.make_current(gone) is False
    assert vault_share.backup.get("data/a b+ä") == body
    assert vault_share.shown() == [(body, False), (body, True)]


def test_a_version_is_never_brought_back_over_a_blob_that_is_there(vault_share: Account) -> None:
    vault_share.backup.put("a", b"good")
    vault_share.overwrite("a", b"evil!")
    old = next(vault_share.keeper.list_versions("a"))
    with pytest.raises(BlobExists):
        vault_share.keeper.make_current(old)
    assert vault_share.backup.get("a") == b"evil!"


def test_the_current_version_is_not_deleted_by_its_id(vault_share: Account) -> None:
    vault_share.backup.put("a", b"good")
    (one,) = vault_share.keeper.list_versions("")
    with pytest.raises(StorageError) as refused:
        vault_share.keeper.delete_version("a", str(one.version))
    assert not isinstance(refused.value, StorageForbidden)
    assert vault_share.backup.get("a") == b"good"


def test_each_identity_is_kept_to_its_rights(vault_share: Account) -> None:
    reader = vault_share.seen_by(READER)
    vault_share.backup.put("a", b"good")
    vault_share.backup.put("b", b"good")
    vault_share.keeper.delete("b")
    until = vault_share.clock() + DAY
    _, gone = vault_share.keeper.list_versions("")
    calls: dict[str, Callable[[VersionedStore], object]] = {
        "deleteBlobVersion/action": lambda store: store.delete_version("b", str(gone.version)),
        "blobs/delete": lambda store: store.delete("a"),
        "immutableStorage/runAsSuperUser/action": lambda store: store.protect("a", until),
        "blobs/write": lambda store: store.undelete("a"),
        "add/action": lambda store: store.make_current(gone),
    }
    for right, call in calls.items():
        for store, may in ((reader, ""), (vault_share.backup, "add/action")):
            if right != may:
                with pytest.raises(StorageForbidden) as refused:
                    call(store)
                assert right in refused.value.remedy
                assert not isinstance(refused.value, BlobProtected)
    with pytest.raises(StorageForbidden):
        calls["blobs/write"](vault_share.keeper)
    assert list(reader.list_versions("")) == list(vault_share.keeper.list_versions(""))
    assert vault_share.shown() == [(b"good", True), (b"good", False)]


def test_soft_deleted_versions_are_listed_and_undeleted_as_previous_ones(soft_deleting: Account) -> None:
    owner = soft_deleting.seen_by(OWNER)
    soft_deleting.backup.put("a", b"good")
    owner.delete("a")
    (gone,) = owner.list_versions("")
    owner.delete_version("a", str(gone.version))
    (deleted,) = owner.list_versions("")
    assert (deleted.deleted, deleted.current) == (True, False)
    with pytest.raises(BlobNotFound):
        owner.get_version("a", str(gone.version))
    owner.undelete("a")
    owner.undelete("a")
    owner.undelete("nothing")
    assert soft_deleting.shown() == [(b"good", False)]
    assert owner.make_current(gone)
    assert soft_deleting.backup.get("a") == b"good"


@pytest.fixture
def protecting(azurite: Azurite) -> Iterator[Vault]:
    """A vault that keeps versions, as the keeper app sees it."""
    with new_vault(azurite, rights=KEEPER, worm=Worm(delete_under_policy="previous version")) as vault:
        yield vault


@pytest.fixture
def keeper(protecting: Vault) -> Iterator[AzureBlobStore]:
    with protecting.store() as store:
        yield store


def gone(store: VersionedStore, name: str, body: bytes) -> BlobVersion:
    """A version of a blob that was deleted."""
    store.put(name, body)
    store.delete(name)
    return next(store.list_versions(name))


@pytest.mark.parametrize("api_version", [API_VERSION, "2019-07-07"])
def test_an_account_that_keeps_no_versions_has_current_blobs_and_says_what_to_set(
    vault: Vault, api_version: str
) -> None:
    with vault.judge() as judge:
        judge.put("a", b"1")
        (blob,) = judge.list("")
    with AzureBlobStore.open(
        vault.direct, "share", account_key=vault.key, credential=None, api_version=api_version
    ) as store:
        (found,) = store.list_versions("")
        assert (found.name, found.version, found.current, found.size_bytes) == ("a", None, True, 1)
        assert (found.modified, found.until) == (blob.modified, None)
        with pytest.raises(StorageError) as refused:
            store.protect("a", datetime.now(UTC) + DAY)
        assert "LIFEBOAT_PROTECT_FOR=0s" in refused.value.remedy
        assert not refused.value.retryable
        with pytest.raises(StorageError):
            store.delete_version("a", "2026-01-01T00:00:00.0000000Z")
        with pytest.raises(BlobNotFound):
            store.make_current(found)
        assert store.get("a") == b"1", "the emulator takes the delete of a version for one of the blob"


def test_lost_replies_are_answered_by_what_is_there(protecting: Vault, keeper: AzureBlobStore) -> None:
    store = RetryingVersions(keeper, sleep=lambda seconds: None)
    version = gone(store, "a", b"1")
    protecting.faults.add("lose the reply of the next put")
    assert store.make_current(version) is False
    assert store.get("a") == b"1"
    protecting.faults.add("lose the reply of the next other")
    store.protect("a", datetime.now(UTC) + DAY)
    protecting.faults.add("lose the reply of the next delete")
    store.delete_version("a", str(version.version))
    assert [(one.current, one.locked) for one in store.list_versions("")] == [(True, True)]


def test_a_legal_hold_forbids_what_a_policy_does_and_the_remedy_says_so(azurite: Azurite) -> None:
    with new_vault(azurite, rights=KEEPER, worm=Worm()) as vault, vault.store() as store:
        store.put("a", b"1")
        store._client.get_blob_client("a").set_legal_hold(True)
        assert [one.legal_hold for one in store.list_versions("")] == [True]
        with pytest.raises(BlobProtected) as refused:
            store.delete("a")
        assert "hold" in refused.value.remedy


def test_a_version_that_the_service_does_not_copy_is_streamed_up_to_a_limit(
    protecting: Vault, keeper: AzureBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = gone(keeper, "a", b"12345"), gone(keeper, "b", b"12345678")
    monkeypatch.setattr(azure_blobs, "LARGEST_STREAM_BYTES", 5)
    protecting.proxy.supply_put_from_url = False
    assert keeper.make_current(first) is True
    assert keeper.make_current(first) is False
    assert keeper.get("a") == b"12345"
    with pytest.raises(StorageError) as refused:
        keeper.make_current(second)
    assert "8 bytes" in str(refused.value)
    assert not isinstance(refused.value, CopyRefused)


def test_the_service_copies_a_version_by_a_sas_for_it_alone(protecting: Vault, keeper: AzureBlobStore) -> None:
    version, other = gone(keeper, "a", b"12345"), gone(keeper, "b", b"12345678")
    assert keeper.make_current(version) is True
    source = keeper.source("b", other.version)
    read = requests.get(source.url, timeout=10)
    assert (read.status_code, read.content) == (200, b"12345678")
    for wrong in (
        source.url.replace("/b?", "/a?").replace(quote(str(other.version)), quote(str(version.version))),
        keeper.source("b").url + f"&versionid={quote(str(other.version))}",
        source.url.replace("sig=", "sig=A"),
    ):
        assert requests.get(wrong, timeout=10).status_code == 403


def test_a_listing_of_versions_in_pages_gives_each_once(protecting: Vault, keeper: AzureBlobStore) -> None:
    for number in range(7):
        gone(keeper, f"data/{number}", b"%d" % number)
        keeper.put(f"data/{number}", b"again")
    listed = keeper._client.list_blobs(include=["versions"], results_per_page=3)
    assert len(list(listed)) == 14
    assert len(list(keeper.list_versions("data/"))) == 14


def test_the_vault_gives_versions_with_retries_and_counts_them(protecting: Vault) -> None:
    settings = Settings.from_environment(protecting.environment()).vault()
    with ProductVault(settings) as vault:
        store = vault.versions("share")
        version = gone(store, "a", b"12345")
        protecting.faults.add("answer the 1st list with 503 ServerBusy and Retry-After 0")
        assert [one.name for one in store.list_versions("")] == ["a"]
        assert store.get_version("a", str(version.version)) == b"12345"
        assert store.make_current(version)
        store.protect("a", datetime.now(UTC) + DAY)
        store.delete_version("a", str(version.version))
        asked = vault.traffic().requests
        assert {kind: asked[kind] for kind in ("get", "make_current", "protect", "delete_version")} == {
            "get": 1, "make_current": 1, "protect": 1, "delete_version": 1}  # fmt: skip
        assert asked["list"] == 3
        assert vault.traffic().bytes_got == 5
