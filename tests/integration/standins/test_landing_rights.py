"""The stand-in for rights, on the landing account: what the backup app may do there and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobClient, ContainerClient, StandardBlobTier

from tests.conftest import new_vault
from tests.standins.azurite import API_VERSION, KEY, Azurite
from tests.standins.rights_proxy import BACKUP_APP, LANDING, Rights


def _client(url: str, account: str, container: str) -> ContainerClient:
    credential = AzureNamedKeyCredential(account, KEY)
    return ContainerClient(url, container, credential=credential, api_version=API_VERSION, retry_total=0)


@pytest.fixture
def landing(azurite: Azurite) -> Iterator[ContainerClient]:
    with (
        new_vault(azurite, rights=LANDING, containers=("landing",)) as account,
        _client(account.url, account.account, "landing") as client,
    ):
        client.upload_blob("old", b"old")
        yield client


def test_containers_are_made_and_deleted_on_landing_and_not_in_the_vault(azurite: Azurite) -> None:
    rights: dict[Rights, bool] = {LANDING: True, BACKUP_APP: False}
    for role, allowed in rights.items():
        with (
            new_vault(azurite, rights=role, containers=("there",)) as account,
            _client(account.url, account.account, "new") as new,
            _client(account.url, account.account, "there") as there,
        ):
            for act in (new.create_container, there.delete_container):
                if allowed:
                    act()
                    continue
                with pytest.raises(HttpResponseError, match="AuthorizationPermissionMismatch"):
                    act()


ALLOWED: dict[str, Callable[[BlobClient], object]] = {
    "overwrite": lambda blob: blob.upload_blob(b"new", overwrite=True),
    "put block": lambda blob: blob.stage_block("AAAA", b"x"),
    "put block list": lambda blob: blob.commit_block_list([]),
    "lease": lambda blob: blob.acquire_lease(),
    "metadata": lambda blob: blob.set_blob_metadata({"a": "b"}),
    "properties": lambda blob: blob.set_http_headers(),
    "delete": lambda blob: blob.delete_blob(),
}
REFUSED: dict[str, Callable[[BlobClient], object]] = {
    "tags": lambda blob: blob.set_blob_tags({"a": "b"}),
    "tier": lambda blob: blob.set_standard_blob_tier(StandardBlobTier.COOL),
    "legal hold": lambda blob: blob.set_legal_hold(True),
    "snapshot": lambda blob: blob.create_snapshot(),
}


@pytest.mark.parametrize("what", ALLOWED)
def test_blobs_are_written_and_deleted_on_landing(landing: ContainerClient, what: str) -> None:
    ALLOWED[what](landing.get_blob_client("old"))


@pytest.mark.parametrize("what", REFUSED)
def test_what_needs_a_further_right_is_refused_on_landing_too(landing: ContainerClient, what: str) -> None:
    with pytest.raises(HttpResponseError, match="AuthorizationPermissionMismatch"):
        REFUSED[what](landing.get_blob_client("old"))


def test_a_container_is_deleted_and_nothing_else_is_done_to_it(landing: ContainerClient) -> None:
    with pytest.raises(HttpResponseError, match="AuthorizationPermissionMismatch"):
        landing.set_container_metadata({"a": "b"})
    with pytest.raises(HttpResponseError, match="AuthorizationPermissionMismatch"):
        landing.set_container_access_policy({})


@pytest.mark.parametrize("rights", [LANDING, BACKUP_APP], ids=["landing", "vault"])
def test_put_blob_from_url_replaces_a_blob_only_where_that_may_be_written_and_was_not_excluded(
    azurite: Azurite, rights: Rights
) -> None:
    with (
        new_vault(azurite, rights=rights, containers=("container",)) as account,
        _client(account.url, account.account, "container") as client,
    ):
        with account.judge("container") as judge:
            judge.put("old", b"old")
        public = _client(account.direct, account.account, "public")
        public.create_container(public_access="blob")
        public.upload_blob("source", b"the source")
        blob, source = client.get_blob_client("old"), f"{account.direct}/public/source"
        with pytest.raises(HttpResponseError, match="BlobAlreadyExists"):
            blob.upload_blob_from_url(source, overwrite=False)
        assert blob.download_blob().readall() == b"old"
        if rights is LANDING:
            blob.upload_blob_from_url(source, overwrite=True)
        else:
            with pytest.raises(HttpResponseError, match="BlobAlreadyExists"):
                blob.upload_blob_from_url(source, overwrite=True)
        assert blob.download_blob().readall() == (b"the source" if rights is LANDING else b"old")
        missing = _client(account.url, account.account, "missing").get_blob_client("a")
        with pytest.raises(HttpResponseError, match="ContainerNotFound"):
            missing.upload_blob_from_url(source, overwrite=False)


def test_put_blob_from_url_tells_the_sources_own_answer_in_headers(landing: ContainerClient) -> None:
    with pytest.raises(HttpResponseError, match="CannotVerifyCopySource") as error:
        landing.get_blob_client("new").upload_blob_from_url(landing.get_blob_client("none").url)
    assert error.value.response is not None
    headers = error.value.response.headers  # type: ignore[attr-defined]
    assert headers["x-ms-copy-source-status-code"] == str(error.value.status_code)
    assert headers["x-ms-copy-source-error-code"]
