"""The landing account, and the copies between it and the vault."""

from __future__ import annotations

import io
import logging
import os
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.core.credentials import AzureSasCredential
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobBlock, BlobLeaseClient, ContainerClient
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import (
    BlobExists,
    BlobNotFound,
    ContainerMissing,
    CopyRefused,
    Damaged,
    SettingsError,
    StorageError,
    StorageForbidden,
    StorageUnavailable,
)
from shared.settings import LandingSettings, Settings
from shared.storage import azure_endpoint
from shared.storage import landing as landing_module
from shared.storage import vault as vault_module
from shared.storage.copying import LARGEST_COPY_BYTES, CopySource
from shared.storage.landing import LONGEST_DELEGATION, PIECE_BYTES, Landing, LandingContainer
from shared.storage.vault import Vault
from tests.conftest import Vault as VaultAccount
from tests.conftest import new_vault
from tests.standins.azurite import API_VERSION, KEY, Azurite
from tests.standins.identity_endpoint import running_identity_endpoint
from tests.standins.rights_proxy import BACKUP_APP, LANDING, OWNER, ExistingName, Rights

NAME = "lifeboat-20261125t130000z-ab12cd"
RIGHTS = "Microsoft.Storage/storageAccounts/blobServices"
WAYS = {
    "http, account key": ("http", KEY, "account-key"),
    "https, account key": ("https", KEY, "account-key"),
    "https, user delegation": ("https", None, "user-delegation"),
    "https, user delegation beside a key": ("https", KEY, "user-delegation"),
}


@contextmanager
def opened(
    azurite: Azurite, *, rights: Rights = LANDING, key: str | None = KEY, sas: str = "account-key"
) -> Iterator[tuple[Landing, VaultAccount]]:
    """A landing account of its own behind its role's rights, and what a test does to it."""
    with (
        new_vault(azurite, rights=rights, containers=()) as account,
        Landing(LandingSettings(account.url, key, API_VERSION, sas)) as landing,
    ):
        yield landing, account


@pytest.fixture
def identity(azurite_https: Azurite, clean_environment: pytest.MonkeyPatch) -> Iterator[Azurite]:
    """The emulator that takes tokens, and an identity that gets them."""
    assert azurite_https.certificate
    with running_identity_endpoint() as endpoint:
        for name, value in (azurite_https.certificate.environment() | endpoint.environment()).items():
            clean_environment.setenv(name, value)
        yield azurite_https


@pytest.fixture(params=WAYS)
def each_way(request: pytest.FixtureRequest) -> Iterator[LandingContainer]:
    """A container of a run, by each way to sign for it."""
    scheme, key, sas = WAYS[request.param]
    azurite = request.getfixturevalue("azurite" if scheme == "http" else "identity")
    with opened(azurite, key=key, sas=sas) as (landing, _):
        yield landing.make_container(NAME)


@pytest.fixture
def landing(azurite: Azurite) -> Iterator[tuple[Landing, VaultAccount]]:
    with opened(azurite) as both:
        yield both


@pytest.fixture
def container(landing: tuple[Landing, VaultAccount]) -> LandingContainer:
    return landing[0].make_container(NAME)


@contextmanager
def opened_vault(account: VaultAccount, *, key: bool = True) -> Iterator[Vault]:
    environment = account.environment()
    if not key:
        del environment["LIFEBOAT_VAULT_KEY"]
    with Vault(Settings.from_environment(environment).vault()) as vault:
        yield vault


@pytest.fixture
def product_vault(vault: VaultAccount) -> Iterator[Vault]:
    with opened_vault(vault) as opened:
        yield opened


def sql_server(container_url: str, token: str) -> ContainerClient:
    """SQL Server's view: a container's URL, a SAS, and nothing else."""
    return ContainerClient.from_container_url(
        container_url, AzureSasCredential(token), api_version=API_VERSION, retry_total=0
    )


def backed_up(container: LandingContainer, name: str, content: bytes) -> str:
    """Write as SQL Server does; the result is the source of a copy."""
    container.write(name, [content], len(content))
    return container.read_sas(name)


# --- containers ---


def test_a_run_makes_a_container_and_removes_it_with_all_that_is_in_it(
    landing: tuple[Landing, VaultAccount],
) -> None:
    account = landing[0]
    container = account.make_container(NAME)
    assert container.name == NAME
    assert container.url == f"{landing[1].url}/{NAME}"
    assert (
        container.blob_url("appservice_hosting/full 1#2.bak") == f"{container.url}/appservice_hosting/full%201%232.bak"
    )
    BlobLeaseClient(
        sql_server(container.url, container.sas(lifetime=timedelta(hours=1)).token).upload_blob("leased", b"x")
    ).acquire()
    account.delete_container(NAME)
    account.delete_container(NAME)
    with pytest.raises(ContainerMissing) as gone:
        list(container.list(""))
    assert "run again" in gone.value.remedy


def test_a_container_that_is_there_is_not_taken_for_ours(landing: tuple[Landing, VaultAccount]) -> None:
    landing[0].make_container(NAME)
    with pytest.raises(StorageError, match="exists already"):
        landing[0].make_container(NAME)


def test_a_container_whose_reply_was_lost_is_ours(landing: tuple[Landing, VaultAccount]) -> None:
    landing[1].faults.add("lose the reply of the 1st other")
    container = landing[0].make_container(NAME)
    assert list(container.list("")) == []
    landing[1].faults.add("lose the reply of the 1st other")
    landing[0].delete_container(NAME)


def test_only_old_containers_of_ours_are_stale(landing: tuple[Landing, VaultAccount]) -> None:
    account = landing[0]
    account.make_container(NAME)
    with landing[1].judge("others") as others:
        others.create_container()
    assert account.stale_containers(timedelta(0)) == [NAME]
    assert account.stale_containers(timedelta(hours=1)) == []
    for act in (account.delete_container, account.make_container):
        with pytest.raises(ValueError, match="others"):
            act("others")


def test_each_missing_right_is_named(identity: Azurite) -> None:
    with opened(identity, rights=BACKUP_APP, key=None, sas="user-delegation") as (landing, account):
        with pytest.raises(StorageForbidden) as make:
            landing.make_container(NAME)
        with account.judge(NAME) as judge:
            judge.create_container()
        with pytest.raises(StorageForbidden) as remove:
            landing.delete_container(NAME)
        container = landing.container(NAME)
        with pytest.raises(StorageForbidden) as sign:
            container.sas(lifetime=timedelta(hours=1))
        with pytest.raises(StorageForbidden) as write:
            container.write("a", [b"x"], 1)
        account.faults.add("answer every other with 403 AuthorizationPermissionMismatch")
    assert f"{RIGHTS}/containers/write" in make.value.remedy
    assert f"{RIGHTS}/containers/delete" in remove.value.remedy
    assert f"{RIGHTS}/generateUserDelegationKey/action" in sign.value.remedy
    assert f"{RIGHTS}/containers/blobs/write" in write.value.remedy


def test_a_wrong_key_or_address_names_the_setting_of_the_landing_account(azurite: Azurite) -> None:
    wrong = "d3Jvbmc="
    with opened(azurite, key=wrong) as (landing, _), pytest.raises(StorageForbidden) as error:
        landing.make_container(NAME)
    assert error.value.setting == "LIFEBOAT_LANDING_KEY"
    with pytest.raises(SettingsError) as address:
        Landing(LandingSettings("landing", KEY, API_VERSION, "account-key"))
    assert address.value.setting == "LIFEBOAT_LANDING_URL"
    with pytest.raises(SettingsError) as plain:
        Landing(LandingSettings("http://127.0.0.1:1/landing", None, API_VERSION, "user-delegation"))
    assert "https" in plain.value.remedy


# --- what SQL Server is given ---


def test_the_sas_lets_sql_server_do_what_it_must(each_way: LandingContainer) -> None:
    token = each_way.sas(lifetime=timedelta(hours=8)).token
    with sql_server(each_way.url, token) as server:
        stripe = server.get_blob_client("full 1.bak")
        stripe.stage_block("AAAA", b"first ")
        stripe.stage_block("AAAB", b"second")
        stripe.commit_block_list([BlobBlock("AAAA"), BlobBlock("AAAB")])
        lease = BlobLeaseClient(stripe)
        lease.acquire(lease_duration=-1)
        stripe.stage_block("AAAC", b"third", lease=lease)
        stripe.commit_block_list([BlobBlock("AAAC")], lease=lease)
        lease.release()
        assert stripe.download_blob().readall() == b"third"
        assert [blob.name for blob in server.list_blobs()] == ["full 1.bak"]
        BlobLeaseClient(stripe).acquire()
        BlobLeaseClient(stripe).break_lease(0)
        stripe.delete_blob()
    assert each_way.stat("full 1.bak") is None


def test_the_sas_is_good_for_nothing_else(each_way: LandingContainer) -> None:
    token = each_way.sas(lifetime=timedelta(hours=8)).token
    other = each_way._landing.make_container(f"{NAME}-other")
    other.write("a", [b"x"], 1)
    with sql_server(other.url, token) as elsewhere, sql_server(each_way.url, token) as here:
        blob = elsewhere.get_blob_client("a")
        for act in (
            lambda: list(elsewhere.list_blobs()),
            lambda: blob.download_blob().readall(),
            lambda: blob.upload_blob(b"y", overwrite=True),
            lambda: blob.stage_block("AAAA", b"y"),
            lambda: BlobLeaseClient(blob).acquire(),
            blob.delete_blob,
            elsewhere.delete_container,
            here.delete_container,
            here.get_container_properties,
            lambda: here.set_container_access_policy({}, public_access="blob"),
            lambda: here.set_container_metadata({"a": "b"}),
        ):
            with pytest.raises(HttpResponseError) as error:
                act()
            assert error.value.status_code == 403
    assert b"".join(other.read("a")) == b"x"


def test_the_sas_says_when_it_ends_and_is_refused_afterwards(each_way: LandingContainer) -> None:
    lifetime = timedelta(hours=8)
    sas = each_way.sas(lifetime=lifetime)
    assert timedelta(0) <= datetime.now(UTC) + lifetime - sas.expires < timedelta(minutes=1)
    fields = parse_qs(sas.token)
    assert "st" not in fields
    assert fields.get("spr") == (["https"] if each_way.url.startswith("https:") else None)
    ended = each_way.sas(lifetime=timedelta(seconds=-5))
    with sql_server(each_way.url, ended.token) as server, pytest.raises(HttpResponseError) as error:
        list(server.list_blobs())
    assert error.value.status_code == 403


def test_a_user_delegation_sas_lasts_seven_days_at_most_and_an_account_keys_longer(identity: Azurite) -> None:
    with opened(identity, key=None, sas="user-delegation") as (landing, _):
        container = landing.make_container(NAME)
        container.sas(lifetime=LONGEST_DELEGATION)
        with pytest.raises(SettingsError) as error:
            container.sas(lifetime=LONGEST_DELEGATION + timedelta(seconds=1))
        assert error.value.setting == "LIFEBOAT_SQL_SAS"
    with opened(identity) as (landing, _):
        assert landing.make_container(NAME).sas(lifetime=timedelta(days=30))


def test_one_delegation_key_signs_for_all_stripes_and_each_sas_ends_before_its_key(identity: Azurite) -> None:
    with opened(identity, key=None, sas="user-delegation") as (landing, account):
        container = landing.make_container(NAME)
        before = account.proxy.count("other")
        for lifetime in (1, 1, 5, 2):
            fields = parse_qs(container.sas(lifetime=timedelta(hours=lifetime)).token)
            assert fields["se"] <= fields["ske"]
            assert fields["skt"][0] < datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        container.read_sas("a")
        assert account.proxy.count("other") - before == 2


def test_a_read_sas_reads_one_blob(each_way: LandingContainer) -> None:
    url = backed_up(each_way, "a/full 1.bak", b"content")
    token = urlsplit(url).query
    each_way.write("b", [b"x"], 1)
    with sql_server(each_way.url, token) as reader:
        assert reader.download_blob("a/full 1.bak").readall() == b"content"
        for act in (
            lambda: reader.download_blob("b").readall(),
            lambda: reader.upload_blob("a/full 1.bak", b"y", overwrite=True),
            lambda: reader.delete_blob("a/full 1.bak"),
            lambda: list(reader.list_blobs()),
        ):
            with pytest.raises(HttpResponseError) as error:
                act()
            assert error.value.status_code == 403


@pytest.mark.parametrize("version", ["2019-07-07", "2020-12-06", API_VERSION])
def test_older_services_are_signed_for_in_their_own_version(azurite: Azurite, version: str) -> None:
    with (
        new_vault(azurite, rights=LANDING, containers=()) as account,
        Landing(LandingSettings(account.url, KEY, version, "account-key")) as landing,
    ):
        container = landing.make_container(NAME)
        sas = container.sas(lifetime=timedelta(hours=1))
        assert parse_qs(sas.token)["sv"] == [version]
        with sql_server(container.url, sas.token) as server:
            server.upload_blob("a", b"x")


# --- blobs ---


def test_blobs_are_seen_read_and_deleted(container: LandingContainer) -> None:
    content = os.urandom(2 * PIECE_BYTES + 5)
    container.write("full/1", [content], len(content))
    container.write("full/2", [], 0)
    seen = container.stat("full/1")
    assert seen is not None
    assert seen.size_bytes == len(content)
    assert [(blob.name, blob.size_bytes) for blob in container.list("full/")] == [
        ("full/1", len(content)),
        ("full/2", 0),
    ]
    assert [len(piece) for piece in container.read("full/1")] == [PIECE_BYTES, PIECE_BYTES, 5]
    assert b"".join(container.read("full/1", offset=7)) == content[7:]
    assert list(container.read("full/1", offset=len(content))) == []
    assert list(container.read("full/2")) == []
    container.delete("full/1")
    container.delete("full/1")
    assert container.stat("full/1") is None
    with pytest.raises(BlobNotFound):
        list(container.read("full/1"))


def test_reading_asks_for_a_piece_when_it_is_wanted_and_again_when_it_broke(
    landing: tuple[Landing, VaultAccount], container: LandingContainer
) -> None:
    content = os.urandom(3 * PIECE_BYTES)
    container.write("full", [content], len(content))
    landing[1].faults.add("cut the reply of the 2nd get after 100000 bytes")
    landing[1].faults.add("answer the 4th get with 503 ServerBusy")
    pieces = container.read("full")
    assert next(pieces) == content[:PIECE_BYTES]
    assert landing[1].proxy.count("get") == 1
    assert b"".join(pieces) == content[PIECE_BYTES:]
    assert landing[1].proxy.count("get") == 5


def test_a_blob_that_became_shorter_is_not_taken_for_read(container: LandingContainer) -> None:
    container.write("full", [bytes(PIECE_BYTES + 1)], PIECE_BYTES + 1)
    pieces = container.read("full")
    next(pieces)
    container.write("full", [b"x"], 1)
    with pytest.raises(StorageError, match="shorter"):
        next(pieces)


def test_a_blob_on_which_a_failed_backup_left_its_lease_is_deleted(container: LandingContainer) -> None:
    with sql_server(container.url, container.sas(lifetime=timedelta(hours=1)).token) as server:
        BlobLeaseClient(server.upload_blob("full", b"x")).acquire(lease_duration=-1)
    container.delete("full")
    assert container.stat("full") is None


@pytest.mark.parametrize("size", [0, 4, 6])
def test_what_is_not_as_long_as_it_should_be_is_not_written(container: LandingContainer, size: int) -> None:
    with pytest.raises(Damaged):
        container.write("full", [b"12", b"345"], size)
    assert container.stat("full") is None


def test_writing_goes_on_where_a_block_was_lost(
    landing: tuple[Landing, VaultAccount], container: LandingContainer
) -> None:
    content = os.urandom(PIECE_BYTES + 1)
    landing[1].faults.add("lose the reply of the 1st other")
    landing[1].faults.add("answer the 3rd to 4th other with 503 ServerBusy")
    landing[1].faults.add("lose the reply of the 6th other")
    container.write("full", iter([content]), len(content))
    assert b"".join(container.read("full")) == content


@given(st.lists(st.binary(max_size=20), max_size=20), st.integers(1, 8))
def test_pieces_of_any_length_become_blocks_of_one(pieces: list[bytes], size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(landing_module, "PIECE_BYTES", size)
        blocks = list(landing_module._regular(pieces))
    assert b"".join(blocks) == b"".join(pieces)
    assert all(len(block) == size for block in blocks[:-1])
    assert all(0 < len(block) <= size for block in blocks)


# --- landing -> vault ---


@pytest.mark.parametrize("existing_name", ["409 BlobAlreadyExists", "403 UnauthorizedBlobOverwrite"])
def test_a_landed_backup_is_copied_into_the_vault_once(
    azurite: Azurite, container: LandingContainer, existing_name: ExistingName
) -> None:
    content = os.urandom(9 << 20)
    source = backed_up(container, "full.bak", content)
    with new_vault(azurite, existing_name=existing_name) as account, opened_vault(account) as vault:
        assert vault.copy_in("hosting/1/full.bak", source, size_bytes=len(content)) is True
        assert vault.copy_in("hosting/1/full.bak", source, size_bytes=len(content)) is False
        assert vault.databases.get("hosting/1/full.bak") == content

        other = backed_up(container, "other.bak", b"other")
        with pytest.raises(BlobExists, match="9,437,184"):
            vault.copy_in("hosting/1/full.bak", other, size_bytes=5)
        assert vault.databases.get("hosting/1/full.bak") == content
        assert vault.traffic().requests["copy"] == 3


@pytest.mark.parametrize("existing_name", ["409 BlobAlreadyExists", "403 UnauthorizedBlobOverwrite"])
def test_fault_38_a_copy_that_lost_its_reply_is_told_by_its_length(
    azurite: Azurite, container: LandingContainer, existing_name: ExistingName
) -> None:
    source = backed_up(container, "full.bak", b"content")
    with new_vault(azurite, existing_name=existing_name) as account, opened_vault(account) as vault:
        account.faults.add("lose the reply of the 1st put")
        assert vault.copy_in("full.bak", source, size_bytes=7) is False
        account.faults.add("answer the 1st to 2nd put with 503 ServerBusy")
        assert vault.copy_in("again.bak", source, size_bytes=7) is True
        account.faults.add("answer every put with 403 UnauthorizedBlobOverwrite")
        with pytest.raises(StorageForbidden):
            vault.copy_in("new.bak", source, size_bytes=7)


def test_a_copy_of_another_length_than_was_said_is_damaged(product_vault: Vault, container: LandingContainer) -> None:
    source = backed_up(container, "full.bak", b"content")
    with pytest.raises(Damaged, match="7 bytes"):
        product_vault.copy_in("full.bak", source, size_bytes=8)


def test_a_copy_may_be_silent_for_longer_than_any_other_call(
    vault: VaultAccount, container: LandingContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = backed_up(container, "full.bak", b"content")
    monkeypatch.setattr(azure_endpoint, "READ_TIMEOUT_SECONDS", 0.5)
    vault.faults.add("delay the next put by 1500 ms")
    with opened_vault(vault) as product_vault:
        assert product_vault.copy_in("full.bak", source, size_bytes=7) is True
    assert vault.proxy.count("put") == 1


def test_what_the_service_cannot_read_is_refused_at_once_and_may_be_streamed(
    vault: VaultAccount, product_vault: Vault, container: LandingContainer
) -> None:
    source = backed_up(container, "full.bak", b"content")
    forged = source[:-8] + ("A" if source[-8] != "A" else "B") + source[-7:]
    for unreadable in (
        source.replace("full.bak", "missing.bak"),
        container.read_sas("missing.bak"),
        forged,
        container.blob_url("full.bak"),
        "http://127.0.0.1:1/landing/full.bak?sig=x",
    ):
        before = vault.proxy.count("put")
        with pytest.raises(CopyRefused) as error:
            product_vault.copy_in("full.bak", unreadable, size_bytes=7)
        assert not error.value.retryable
        assert vault.proxy.count("put") - before == 1
    assert product_vault.databases.put("full.bak", b"".join(container.read("full.bak")))


def test_a_refusal_that_might_be_the_vaults_own_is_the_sources_where_the_vault_lets_us_in(
    vault: VaultAccount, product_vault: Vault, container: LandingContainer
) -> None:
    source = backed_up(container, "full.bak", b"content")
    vault.faults.add("answer the 1st put with 403 AuthorizationFailure")
    with pytest.raises(CopyRefused):
        product_vault.copy_in("full.bak", source, size_bytes=7)
    vault.faults.add("answer every put with 403 AuthorizationFailure")
    vault.faults.add("answer every stat with 403 AuthorizationFailure")
    with pytest.raises(StorageForbidden) as error:
        product_vault.copy_in("full.bak", source, size_bytes=7)
    assert error.value.setting == "LIFEBOAT_VAULT_KEY"
    vault.faults.clear()
    vault.faults.add("answer every put with 403 AuthorizationPermissionMismatch")
    with pytest.raises(StorageForbidden) as right:
        product_vault.copy_in("full.bak", source, size_bytes=7)
    assert f"{RIGHTS}/containers/blobs/add/action" in right.value.remedy


def test_what_is_too_large_for_one_copy_is_refused_before_anything_is_sent(
    vault: VaultAccount, product_vault: Vault, container: LandingContainer
) -> None:
    too_large = LARGEST_COPY_BYTES + 1
    for copy in (
        lambda: product_vault.copy_in("full.bak", container.read_sas("a"), size_bytes=too_large),
        lambda: container.copy_in("full.bak", product_vault.copy_source("a"), too_large),
    ):
        with pytest.raises(StorageError, match="5,000 MiB"):
            copy()
    assert not vault.proxy.count("put")


def test_a_service_that_cannot_copy_from_a_url_is_not_asked_to(
    vault: VaultAccount, container: LandingContainer
) -> None:
    source = backed_up(container, "full.bak", b"content")
    settings = vault.environment() | {"LIFEBOAT_STORAGE_API_VERSION": "2019-07-07"}
    with Vault(Settings.from_environment(settings).vault()) as old, pytest.raises(CopyRefused, match="2019-07-07"):
        old.copy_in("full.bak", source, size_bytes=7)
    assert not vault.proxy.calls
    with Vault(Settings.from_environment(vault.environment() | {"LIFEBOAT_VAULT_URL": vault.direct}).vault()) as bare:
        with pytest.raises(CopyRefused):
            bare.copy_in("full.bak", source, size_bytes=7)
        assert bare.databases.stat("full.bak") is None


# --- vault -> landing ---


def test_a_backup_is_copied_back_to_landing_with_an_account_key(
    product_vault: Vault, container: LandingContainer
) -> None:
    product_vault.databases.put("hosting/1/full 1.bak", b"content")
    source = product_vault.copy_source("hosting/1/full 1.bak")
    assert source.authorization is None
    container.copy_in("full.bak", source, 7)
    container.copy_in("full.bak", source, 7)
    assert b"".join(container.read("full.bak")) == b"content"
    product_vault.databases.put("other.bak", b"other")
    with pytest.raises(BlobExists):
        container.copy_in("full.bak", product_vault.copy_source("other.bak"), 5)
    with pytest.raises(CopyRefused):
        container.copy_in("none.bak", product_vault.copy_source("none.bak"), 7)


def test_a_backup_is_copied_both_ways_by_an_identity_alone(identity: Azurite) -> None:
    with (
        new_vault(identity) as account,
        opened_vault(account, key=False) as vault,
        opened(identity, key=None, sas="user-delegation") as (landing, _),
    ):
        container = landing.make_container(NAME)
        assert vault.copy_in("full.bak", backed_up(container, "full.bak", b"content"), size_bytes=7)
        source = vault.copy_source("full.bak")
        assert (source.authorization or "").startswith("Bearer ")
        assert "?" not in source.url
        container.copy_in("back.bak", source, 7)
        assert b"".join(container.read("back.bak")) == b"content"
        with pytest.raises(CopyRefused):
            container.copy_in("none.bak", CopySource(source.url, "Bearer nonsense"), 7)


def test_an_identity_that_cannot_be_had_is_said(identity: Azurite, clean_environment: pytest.MonkeyPatch) -> None:
    clean_environment.setenv("AZURE_CLIENT_ID", "nobody")
    with (
        new_vault(identity) as account,
        opened_vault(account, key=False) as vault,
        pytest.raises(StorageForbidden, match="token") as error,
    ):
        vault.copy_source("a")
    assert error.value.remedy


# --- a vault from before there were databases ---


def test_a_vault_without_databases_goes_on_serving_its_share(azurite: Azurite, container: LandingContainer) -> None:
    with new_vault(azurite, containers=("share", "recovery-points")) as account, opened_vault(account) as vault:
        vault.ensure_there(create=True)
        vault.ensure_there(create=False)
        assert vault.share.put("config", b"x")
        for use in (
            lambda: vault.databases.stat("full.bak"),
            lambda: list(vault.databases.list("")),
            lambda: vault.databases.put("full.bak", b"x"),
            lambda: vault.copy_in("full.bak", container.read_sas("a"), size_bytes=1),
        ):
            backed_up(container, "a", b"x")
            with pytest.raises(ContainerMissing, match="databases") as missing:
                use()
            assert "make the container 'databases'" in missing.value.remedy


def test_the_container_of_databases_is_made_where_the_rights_allow(azurite: Azurite) -> None:
    with new_vault(azurite, rights=OWNER, containers=()) as account, opened_vault(account) as vault:
        vault.ensure_there(create=True)
        assert vault.databases.put("full.bak", b"x")


# --- secrets ---


class _Echo(BaseHTTPRequestHandler):
    """A service that repeats in its error all that it was told, as a proxy or a chatty version might."""

    status, code = 400, "InvalidHeaderValue"

    def do_PUT(self) -> None:
        self._repeat()

    def do_HEAD(self) -> None:
        self._repeat()

    def _repeat(self) -> None:
        told = f"{self.path} {dict(self.headers)}".replace("&", "&amp;").replace("<", "&lt;")
        body = f"<?xml version='1.0'?><Error><Code>{self.code}</Code><Message>{told}</Message></Error>".encode()
        self.send_response(self.status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("x-ms-error-code", self.code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def everything_logged() -> Iterator[io.StringIO]:
    """What any library logs in the test's own thread, at the lowest level; the stand-in's requests are its own."""
    logged, me = io.StringIO(), threading.get_ident()
    handler = logging.StreamHandler(logged)
    handler.addFilter(lambda record: record.thread == me)
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield logged
    root.removeHandler(handler)
    root.setLevel(before)


def _told(act: Callable[[], object]) -> str:
    """All that anybody could print of the error in which ``act`` ends."""
    with pytest.raises(StorageError) as caught:
        act()
    error = caught.value
    printed = "".join(traceback.format_exception(error))
    behind: BaseException | None = error
    while behind is not None:
        printed += repr(behind)
        behind = behind.__cause__ or behind.__context__
    return f"{printed} {error!r} {error!s} {error.remedy} {error.as_reason('databases')}"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "InvalidHeaderValue"),
        (401, "InvalidAuthenticationInfo"),
        (403, "AuthenticationFailed"),
        (404, "CannotVerifyCopySource"),
        (409, "PublicAccessNotPermitted"),
        (409, "BlobAlreadyExists"),
        (412, "ConditionNotMet"),
        (500, "CannotVerifyCopySource"),
        (501, "NotImplemented"),
    ],
)
def test_no_error_and_no_log_shows_a_signature_or_a_token_even_if_the_service_repeats_it(
    everything_logged: io.StringIO, container: LandingContainer, status: int, code: str
) -> None:
    class Handler(_Echo):
        pass

    Handler.status, Handler.code = status, code
    with ExitStack() as stack:
        server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        stack.callback(server.shutdown)
        url = f"http://127.0.0.1:{server.server_port}/account"
        settings = {"LIFEBOAT_VAULT_URL": url, "LIFEBOAT_VAULT_KEY": KEY, "LIFEBOAT_STORAGE_API_VERSION": API_VERSION}
        vault = stack.enter_context(Vault(Settings.from_environment(settings).vault()))
        landing = stack.enter_context(Landing(LandingSettings(url, KEY, API_VERSION, "account-key")))
        source = container.read_sas("full.bak")
        signature = parse_qs(urlsplit(source).query)["sig"][0]
        told = _told(lambda: vault.copy_in("full.bak", source, size_bytes=7))
        by_token = CopySource("https://vault.example/databases/full.bak", "Bearer abc.def-topsecret_ghi")
        told += _told(lambda: landing.container(NAME).copy_in("full.bak", by_token, 7))
    everything = told + everything_logged.getvalue()
    assert urlsplit(source).path in told or "full.bak" in told
    for secret in (signature, urlsplit(source).query.partition("sig=")[2], "topsecret", KEY):
        assert secret not in everything


def test_no_error_shows_a_signature_when_nobody_answers(
    everything_logged: io.StringIO, container: LandingContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault_module, "COPY_LIMIT_SECONDS", 0.1)
    settings = {"LIFEBOAT_VAULT_URL": "http://127.0.0.1:1/account", "LIFEBOAT_VAULT_KEY": KEY}
    source = container.read_sas("full.bak")
    with Vault(Settings.from_environment(settings).vault()) as vault, pytest.raises(StorageUnavailable):
        vault.copy_in("full.bak", source, size_bytes=7)
    with Vault(Settings.from_environment(settings).vault()) as vault:
        told = _told(lambda: vault.copy_in("full.bak", source, size_bytes=7))
    for secret in (parse_qs(urlsplit(source).query)["sig"][0], urlsplit(source).query.partition("sig=")[2]):
        assert secret not in told + everything_logged.getvalue()


def test_nothing_that_is_printed_shows_a_secret(
    product_vault: Vault, landing: tuple[Landing, VaultAccount], container: LandingContainer
) -> None:
    sas = container.sas(lifetime=timedelta(hours=1))
    source = product_vault.copy_source("full.bak")
    for thing in (sas, source, landing[0], container, landing[0].signer(timedelta(hours=1)), product_vault):
        for shown in (repr(thing), str(thing), f"{thing}"):
            assert "sig=" not in shown
            assert KEY not in shown
            assert sas.token not in shown
