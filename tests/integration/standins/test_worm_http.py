"""Versions and immutability behind the stand-in, as Azure's own library meets them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobClient, ContainerClient, ImmutabilityPolicy

from tests.conftest import Vault, new_vault
from tests.standins.azurite import API_VERSION, Azurite
from tests.standins.rights_proxy import BACKUP_APP, BREAK_GLASS, KEEPER, OWNER, RESTORER, Rights
from tests.standins.worm import Worm

EVERYTHING = ["versions", "deleted", "immutabilitypolicy", "legalhold"]


@pytest.fixture
def vault(azurite: Azurite) -> Iterator[Vault]:
    with new_vault(azurite, rights=OWNER, worm=Worm(delete_under_policy="previous version")) as made:
        yield made


def client_of(vault: Vault) -> ContainerClient:
    credential = AzureNamedKeyCredential(vault.account, vault.key)
    return ContainerClient(vault.url, "share", credential=credential, api_version=API_VERSION, retry_total=0)


@pytest.fixture
def share(vault: Vault) -> Iterator[ContainerClient]:
    with client_of(vault) as client:
        yield client


def policy(mode: str, days: float = 1) -> ImmutabilityPolicy:
    return ImmutabilityPolicy(expiry_time=datetime.now(UTC) + timedelta(days=days), policy_mode=mode)


def code_of(error: pytest.ExceptionInfo[HttpResponseError]) -> str:
    assert error.value.response is not None
    return f"{error.value.status_code} {error.value.response.headers['x-ms-error-code']}"  # type: ignore[attr-defined]


def test_a_put_and_a_stat_tell_the_version_and_its_policy(share: ContainerClient) -> None:
    blob = share.get_blob_client("a")
    first = blob.upload_blob(b"1")["version_id"]
    second = blob.upload_blob(b"2", overwrite=True)["version_id"]
    assert first < second
    blob.set_immutability_policy(policy("Unlocked"))
    facts = blob.get_blob_properties()
    assert (facts.version_id, facts.is_current_version, facts.immutability_policy.policy_mode) == (
        second, True, "unlocked")  # fmt: skip
    assert share.get_blob_client("a", version_id=first).download_blob().readall() == b"1"


def test_an_unlocked_policy_goes_and_a_locked_one_stays(share: ContainerClient) -> None:
    blob = share.upload_blob("a", b"1")
    blob.set_immutability_policy(policy("Unlocked", days=3))
    blob.set_immutability_policy(policy("Unlocked", days=1))
    blob.delete_immutability_policy()
    assert blob.get_blob_properties().immutability_policy.expiry_time is None
    blob.set_immutability_policy(policy("Locked"))
    for refused in (blob.delete_immutability_policy, lambda: blob.set_immutability_policy(policy("Locked", 0.5))):
        with pytest.raises(HttpResponseError) as error:
            refused()
        assert code_of(error) == "409 BlobImmutableDueToPolicy"
    with pytest.raises(HttpResponseError) as past:
        blob.set_immutability_policy(policy("Locked", -1))
    assert code_of(past) == "400 InvalidHeaderValue"


def test_what_goes_to_the_emulator_directly_becomes_versions_too(vault: Vault, share: ContainerClient) -> None:
    with vault.judge() as judge:
        judge.put("a", b"1")
        assert [(blob.name, blob.is_current_version) for blob in share.list_blobs(include=EVERYTHING)] == [("a", True)]
        judge.delete("a")
        assert [(blob.name, blob.is_current_version) for blob in share.list_blobs(include=EVERYTHING)] == [("a", None)]
        judge.put("a", b"2")
    assert [blob.is_current_version for blob in share.list_blobs(include=EVERYTHING)] == [None, True]
    assert [blob.name for blob in share.list_blobs()] == ["a"]


def test_two_identities_see_one_account(vault: Vault, share: ContainerClient) -> None:
    blob = share.upload_blob("a", b"1")
    blob.set_immutability_policy(policy("Locked"))
    version = blob.get_blob_properties().version_id
    with vault.with_rights(KEEPER) as keeper, client_of(keeper) as seen:
        seen.delete_blob("a")
        with pytest.raises(HttpResponseError) as error:
            seen.delete_blob("a", version_id=version)
    assert code_of(error) == "409 BlobImmutableDueToPolicy"
    assert [blob.version_id for blob in share.list_blobs(include=EVERYTHING)] == [version]


@pytest.mark.parametrize(
    ("rights", "allowed"),
    [
        (BACKUP_APP, set()),
        (RESTORER, set()),
        (KEEPER, {"policy", "no policy", "hold", "delete version"}),
        (BREAK_GLASS, {"policy", "no policy", "hold", "delete version", "undelete", "overwrite"}),
        (Rights(write=True), {"undelete", "overwrite"}),
        (OWNER, {"policy", "no policy", "hold", "delete version", "undelete", "overwrite"}),
    ],
)
def test_rights_on_versions_and_policies(
    vault: Vault, share: ContainerClient, rights: Rights, allowed: set[str]
) -> None:
    version = share.upload_blob("a", b"1").get_blob_properties().version_id
    share.delete_blob("a")
    share.upload_blob("a", b"2")
    calls: dict[str, Callable[[BlobClient], object]] = {
        "policy": lambda blob: blob.set_immutability_policy(policy("Unlocked")),
        "no policy": lambda blob: blob.delete_immutability_policy(),
        "hold": lambda blob: blob.set_legal_hold(True),
        "delete version": lambda blob: blob.delete_blob(version_id=version),
        "undelete": lambda blob: blob.undelete_blob(),
        "overwrite": lambda blob: blob.upload_blob(b"3", overwrite=True),
    }
    done: set[str] = set()
    refused: dict[str, int | None] = {}
    with vault.with_rights(rights) as other, client_of(other) as seen:
        for name, call in calls.items():
            try:
                call(seen.get_blob_client("a"))
                done.add(name)
            except HttpResponseError as error:
                refused[name] = error.status_code
    assert done == allowed
    assert set(refused.values()) <= {403, 409}, "a create-only writer whose name is taken is told either"
    assert {code for name, code in refused.items() if name != "overwrite"} <= {403}


def test_the_emulator_itself_takes_no_note_of_versions(vault: Vault) -> None:
    """Why the stand-in answers, and why the gateway looks before it deletes a version. Falls away with 3.38."""
    credential = AzureNamedKeyCredential(vault.account, vault.key)
    blob = BlobClient(vault.direct, "share", "a", credential=credential, api_version=API_VERSION, retry_total=0)
    with blob:
        assert blob.upload_blob(b"1").get("version_id") is None
        blob.delete_blob(version_id="2026-01-01T00:00:00.0000000Z")
        assert not blob.exists()
