"""The stand-in for the rights of the backup app: what it lets through, what it refuses, and the faults it injects."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobClient, BlobSasPermissions, ContainerClient, StandardBlobTier, generate_blob_sas

from tests.conftest import Vault, new_vault
from tests.standins.azurite import API_VERSION, REPOSITORY, Azurite
from tests.standins.faults import Faults
from tests.standins.rights_proxy import READER, ExistingName

Act = Callable[[BlobClient], object]


def container_client(vault: Vault, container: str = "share") -> ContainerClient:
    """The library as it is, so that the stand-in meets requests that our gateway never makes."""
    credential = AzureNamedKeyCredential(vault.account, vault.key)
    return ContainerClient(vault.url, container, credential=credential, api_version=API_VERSION, retry_total=0)


@pytest.fixture
def share(vault: Vault) -> Iterator[ContainerClient]:
    with vault.judge() as judge:
        judge.put("data/old", b"old")
        judge.put("locks/old", b"lock")
    with container_client(vault) as client:
        yield client


REFUSED: dict[str, Act] = {
    "delete of a pack": lambda blob: blob.delete_blob(),
    "put block": lambda blob: blob.stage_block("AAAA", b"x"),
    "put block list": lambda blob: blob.commit_block_list([]),
    "metadata": lambda blob: blob.set_blob_metadata({"a": "b"}),
    "tier": lambda blob: blob.set_standard_blob_tier(StandardBlobTier.COOL),
    "tags": lambda blob: blob.set_blob_tags({"a": "b"}),
    "lease": lambda blob: blob.acquire_lease(),
    "snapshot": lambda blob: blob.create_snapshot(),
    "copy": lambda blob: blob.start_copy_from_url("http://127.0.0.1:1/x"),
    "append blob": lambda blob: blob.create_append_blob(),
    "page blob": lambda blob: blob.create_page_blob(512),
    "properties": lambda blob: blob.set_http_headers(),
    "legal hold": lambda blob: blob.set_legal_hold(True),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("name", ["data/old", "locks/old", "data/new"])
def test_whatever_needs_more_than_reading_and_adding_is_refused(share: ContainerClient, what: str, name: str) -> None:
    if what.startswith("delete") and name.startswith("locks/"):
        share.get_blob_client(name).delete_blob()
        return
    with pytest.raises(HttpResponseError) as error:
        REFUSED[what](share.get_blob_client(name))
    assert error.value.response is not None
    assert error.value.status_code == 403
    assert error.value.response.headers["x-ms-error-code"] == "AuthorizationPermissionMismatch"  # type: ignore[attr-defined]


def test_containers_are_neither_made_nor_deleted(vault: Vault) -> None:
    with container_client(vault, "other") as other, pytest.raises(HttpResponseError) as made:
        other.create_container()
    with container_client(vault) as share, pytest.raises(HttpResponseError) as deleted:
        share.delete_container()
    assert (made.value.status_code, deleted.value.status_code) == (403, 403)


def test_locks_are_deleted_in_the_share_only(vault: Vault) -> None:
    with vault.judge("recovery-points") as judge:
        judge.put("locks/1", b"")
    with container_client(vault, "recovery-points") as points, pytest.raises(HttpResponseError):
        points.delete_blob("locks/1")


@pytest.mark.parametrize("existing_name", ["409 BlobAlreadyExists", "403 UnauthorizedBlobOverwrite"])
@pytest.mark.parametrize("overwrite", [True, False])
def test_a_name_that_exists_is_answered_as_configured_and_never_overwritten(
    azurite: Azurite, existing_name: ExistingName, overwrite: bool
) -> None:
    with new_vault(azurite, existing_name=existing_name) as vault, container_client(vault) as share:
        share.upload_blob("data/a", b"first", overwrite=overwrite)
        with pytest.raises(HttpResponseError) as error:
            share.upload_blob("data/a", b"second", overwrite=overwrite)
        code = getattr(error.value.error_code, "value", error.value.error_code)  # type: ignore[attr-defined]
        assert f"{error.value.status_code} {code}" == existing_name
        assert share.download_blob("data/a").readall() == b"first"


def test_a_reader_adds_nothing(azurite: Azurite) -> None:
    with (
        new_vault(azurite, rights=READER) as vault,
        container_client(vault) as share,
        pytest.raises(HttpResponseError) as error,
    ):
        share.upload_blob("data/a", b"x")
    assert error.value.status_code == 403


def _source(vault: Vault, name: str) -> str:
    sas = generate_blob_sas(
        vault.account,
        "databases",
        name,
        account_key=vault.key,
        permission=BlobSasPermissions(read=True),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    return f"{vault.direct}/databases/{name}?{sas}"


def test_put_blob_from_url_makes_one_new_blob_of_the_sources_bytes(vault: Vault) -> None:
    content = os.urandom(9 << 20)
    with vault.judge("databases") as landing, container_client(vault) as share:
        landing.put("full.bak", content)
        made = share.get_blob_client("data/copy").upload_blob_from_url(_source(vault, "full.bak"), overwrite=False)
        assert made["etag"]
        assert share.download_blob("data/copy").readall() == content
        for overwrite in (True, False):
            with pytest.raises(HttpResponseError) as taken:
                share.get_blob_client("data/copy").upload_blob_from_url(_source(vault, "full.bak"), overwrite=overwrite)
            assert taken.value.status_code == 409


def test_put_blob_from_url_says_what_is_wrong_with_its_source(vault: Vault) -> None:
    with container_client(vault) as share:
        target = share.get_blob_client("data/copy")
        for source in (_source(vault, "none"), f"{vault.direct}/databases/none", "http://127.0.0.1:1/none"):
            with pytest.raises(HttpResponseError, match="CannotVerifyCopySource"):
                target.upload_blob_from_url(source, overwrite=False)
        assert not target.exists()


def test_a_pack_passes_in_pieces_and_requests_share_a_connection(vault: Vault) -> None:
    content = os.urandom(40 << 20)
    with vault.store() as store:
        store.put("data/pack", content)
        assert store.get("data/pack") == content
        for number in range(50):
            store.put(f"index/{number}", b"x")
    assert vault.proxy.count("put") == 51


WRITER = """
import sys
from shared.storage.azure_blobs import AzureBlobStore
sys.stdin.readline()
store = AzureBlobStore.open(sys.argv[1], "share", account_key=sys.argv[2], credential=None, api_version=sys.argv[3])
for number in range(20):
    store.put(f"data/{number:02}", b"x")
"""


@pytest.mark.parametrize(("moment", "left"), [("before the 7th put", 6), ("after the 7th put", 7)])
def test_a_process_is_killed_at_the_storage_call_that_a_test_names(vault: Vault, moment: str, left: int) -> None:
    command = [sys.executable, "-c", WRITER, vault.url, vault.key, vault.api_version]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdin=subprocess.PIPE) as writer:
        vault.faults.kill(moment, writer)
        writer.communicate(b"start\n", timeout=60)
    assert writer.returncode != 0
    with vault.judge() as judge:
        assert len(list(judge.list("data/"))) == left


@pytest.mark.parametrize(
    "sentence",
    [
        "lose the 3rd put",
        "answer the get with 503",
        "cut every put",
        "answer the 2nd fetch with 503",
        "delay every call by a while",
    ],
)
def test_a_sentence_that_means_no_fault_is_refused(sentence: str) -> None:
    with pytest.raises(ValueError, match="no fault is called"):
        Faults().add(sentence)


def test_a_fault_may_be_narrowed_to_names(vault: Vault) -> None:
    vault.faults.add("answer the 1st to 2nd put under index/ with 403 AuthorizationPermissionMismatch")
    vault.faults.add("delay every list by 1 ms")
    with container_client(vault) as share:
        share.upload_blob("data/1", b"")
        for name in ("index/1", "index/2"):
            with pytest.raises(HttpResponseError):
                share.upload_blob(name, b"")
        share.upload_blob("index/3", b"")
        assert [blob.name for blob in share.list_blobs()] == ["data/1", "index/3"]
