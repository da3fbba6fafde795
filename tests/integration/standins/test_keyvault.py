"""The Key Vault stand-in where no contract test of the product looks: deleting, paging, limits, tokens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.keyvault.secrets import SecretClient

from shared.storage.credentials import open_credential
from tests.standins.certificate import Certificate
from tests.standins.identity_endpoint import mint_token, running_identity_endpoint
from tests.standins.keyvault import RESOURCE, KeyVaultStandin, StoredVersion, Throttling, running_key_vault


@pytest.fixture
def vault(certificate: Certificate) -> Iterator[KeyVaultStandin]:
    with running_key_vault(certificate) as standin:
        yield standin


@pytest.fixture
def client(
    vault: KeyVaultStandin, certificate: Certificate, clean_environment: pytest.MonkeyPatch
) -> Iterator[SecretClient]:
    with running_identity_endpoint() as endpoint:
        for name, value in {**endpoint.environment(), **certificate.environment()}.items():
            clean_environment.setenv(name, value)
        with SecretClient(vault.url, open_credential(), verify_challenge_resource=False) as opened:
            yield opened


def ask(
    vault: KeyVaultStandin, certificate: Certificate, path: str, *, token: str | None = None, method: str = "GET"
) -> requests.Response:
    token = mint_token(RESOURCE) if token is None else token
    return requests.request(
        method,
        vault.url + path,
        headers={"Authorization": f"Bearer {token}"} if token else {},
        verify=str(certificate.chain),
        timeout=10,
    )


def code(answer: requests.Response) -> str:
    error: dict[str, Any] = json.loads(answer.content)["error"]
    return str(error.get("innererror", error)["code"])


def test_what_a_test_plants_is_served(client: SecretClient, vault: KeyVaultStandin) -> None:
    vault.secrets["planted"] = [StoredVersion("1", "value", {}, created=1, expires=2)]
    found = client.get_secret("planted")
    assert (found.value, found.properties.version) == ("value", "1")
    assert found.properties.created_on is not None
    assert found.properties.expires_on is not None
    assert (found.properties.created_on.timestamp(), found.properties.expires_on.timestamp()) == (1, 2)


def test_a_deleted_secret_is_gone_and_can_be_recovered_with_all_its_versions(
    client: SecretClient, vault: KeyVaultStandin
) -> None:
    for value in "12":
        client.set_secret("a", value)
    deleted = client.begin_delete_secret("a").result()
    assert deleted.recovery_id == f"{vault.url}/deletedsecrets/a"
    assert deleted.scheduled_purge_date is not None
    assert deleted.deleted_date is not None
    assert (deleted.scheduled_purge_date - deleted.deleted_date).days == 90
    assert [each.name for each in client.list_deleted_secrets()] == ["a"]
    with pytest.raises(ResourceNotFoundError):
        client.get_secret("a")
    with pytest.raises(ResourceExistsError, match="deleted but recoverable"):
        client.set_secret("a", "3")
    client.begin_recover_deleted_secret("a").wait()
    assert client.get_secret("a").value == "2"
    assert len(list(client.list_properties_of_secret_versions("a"))) == 2
    assert list(client.list_deleted_secrets()) == []


def test_a_purged_name_is_free_again(client: SecretClient) -> None:
    client.set_secret("a", "1")
    client.begin_delete_secret("a").wait()
    client.purge_deleted_secret("a")
    with pytest.raises(ResourceNotFoundError):
        client.get_deleted_secret("a")
    assert client.set_secret("a", "2").value == "2"


def test_purge_protection_refuses_to_purge(client: SecretClient, vault: KeyVaultStandin) -> None:
    vault.purge_protection = True
    assert client.set_secret("a", "1").properties.recovery_level == "Recoverable"
    client.begin_delete_secret("a").wait()
    with pytest.raises(HttpResponseError) as error:
        client.purge_deleted_secret("a")
    assert error.value.status_code == 403
    assert list(vault.deleted) == ["a"]


@pytest.mark.parametrize("action", ["delete", "recover", "purge"])
def test_rights_are_kept_action_by_action(client: SecretClient, vault: KeyVaultStandin, action: str) -> None:
    client.set_secret("a", "1")
    if action != "delete":
        vault.delete("a")
    vault.denied.add(action)
    calls = {
        "delete": client.begin_delete_secret,
        "recover": client.begin_recover_deleted_secret,
        "purge": client.purge_deleted_secret,
    }
    with pytest.raises(HttpResponseError) as error:
        calls[action]("a")
    assert error.value.status_code == 403


@pytest.mark.parametrize(("most", "pages"), [(None, [2, 2, 1]), (1, [1, 1, 1, 1, 1]), (25, [2, 2, 1])])
def test_lists_come_in_pages(client: SecretClient, most: int | None, pages: list[int]) -> None:
    for number in range(5):
        client.set_secret("a", str(number))
        client.set_secret(f"name{number}", "1")
    versions = client.list_properties_of_secret_versions("a", max_page_size=most).by_page()
    assert [len(list(page)) for page in versions] == pages
    listed = client.list_properties_of_secrets(max_page_size=most)
    assert [each.name for each in listed] == ["a", *(f"name{number}" for number in range(5))]


def test_a_list_takes_no_more_than_25_to_a_page(vault: KeyVaultStandin, certificate: Certificate) -> None:
    assert code(ask(vault, certificate, "/secrets?api-version=7.6&maxresults=26")) == "BadParameter"


def test_names_are_one_whatever_their_case(client: SecretClient, vault: KeyVaultStandin) -> None:
    client.set_secret("Name", "1")
    client.set_secret("name", "2")
    assert client.get_secret("NAME").value == "2"
    assert list(vault.secrets) == ["Name"]


@pytest.mark.parametrize(
    "properties",
    [
        {"tags": {str(number): "" for number in range(16)}},
        {"tags": {"name": "v" * 257}},
        {"tags": {"n" * 257: ""}},
        {"content_type": "c" * 256},
    ],
    ids=["tags", "a tag's value", "a tag's name", "content type"],
)
def test_the_limits_of_properties_hold_when_set_and_when_updated(
    client: SecretClient, vault: KeyVaultStandin, properties: dict[str, Any]
) -> None:
    client.set_secret("a", "1", tags={"kept": "as it was"})
    with pytest.raises(HttpResponseError) as error:
        client.set_secret("a", "2", **properties)
    assert error.value.status_code == 400
    with pytest.raises(HttpResponseError) as error:
        client.update_secret_properties("a", **properties)
    assert error.value.status_code == 400
    (stored,) = vault.secrets["a"]
    assert (stored.value, stored.tags) == ("1", {"kept": "as it was"})


def test_only_what_is_sent_is_updated(client: SecretClient, vault: KeyVaultStandin) -> None:
    made = client.set_secret("a", "1", tags={"a": "b"}, content_type="text/plain")
    client.update_secret_properties("a", made.properties.version, enabled=False)
    (stored,) = vault.secrets["a"]
    assert (stored.enabled, stored.tags, stored.content_type) == (False, {"a": "b"}, "text/plain")
    assert stored.updated is not None


def test_a_throttling_window_refuses_so_many_requests_and_ends(
    vault: KeyVaultStandin, certificate: Certificate
) -> None:
    vault.throttling = Throttling(passing=1, refused=2, retry_after="7")
    answers = [ask(vault, certificate, "/secrets?api-version=7.6") for _ in range(4)]
    assert [each.status_code for each in answers] == [200, 429, 429, 200]
    assert [each.headers.get("Retry-After") for each in answers] == [None, "7", "7", None]
    assert code(answers[1]) == "Throttled"


@pytest.mark.parametrize("query", ["", "?api-version=6.1"])
def test_a_request_without_a_known_api_version_is_refused(
    vault: KeyVaultStandin, certificate: Certificate, query: str
) -> None:
    answer = ask(vault, certificate, f"/secrets/a{query}")
    assert (answer.status_code, code(answer)) == (400, "BadParameter")


@pytest.mark.parametrize("token", ["", "no.token", mint_token("https://storage.azure.com")])
def test_a_caller_without_a_token_for_the_vault_is_challenged(
    vault: KeyVaultStandin, certificate: Certificate, token: str
) -> None:
    answer = ask(vault, certificate, "/secrets/a?api-version=7.6", token=token)
    assert answer.status_code == 401
    assert f'resource="{RESOURCE}"' in answer.headers["WWW-Authenticate"]
    assert vault.requests == []
