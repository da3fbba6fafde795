"""What an operator reads when storage refuses: the thing, the setting or the right, and the next step."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

from shared.errors import (
    BlobExists,
    ContainerMissing,
    Damaged,
    SettingsError,
    StorageError,
    StorageForbidden,
    StorageUnavailable,
)
from shared.storage.azure_blobs import AzureBlobStore
from shared.storage.credentials import open_credential
from shared.storage.retrying import RetryingStore
from tests.conftest import Vault, new_vault
from tests.standins.azurite import API_VERSION, KEY, Azurite
from tests.standins.faults import Call, CutConnection

BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"


def _open(url: str, *, key: str | None = KEY, api_version: str = API_VERSION) -> AzureBlobStore:
    credential = None if key else open_credential()
    return AzureBlobStore.open(url, "share", account_key=key, credential=credential, api_version=api_version)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/account", "https://no-such-account.invalid", "https://127.0.0.1:1/account"]
)
def test_a_server_that_does_not_answer_may_be_tried_again_and_names_its_setting(url: str) -> None:
    with _open(url) as store, pytest.raises(StorageUnavailable) as error:
        store.put("a", b"x")
    assert error.value.retryable
    assert error.value.setting == "LIFEBOAT_VAULT_URL"
    assert "LIFEBOAT_VAULT_URL" in error.value.remedy


def test_a_server_that_speaks_no_tls_is_unavailable_fault_10(azurite: Azurite) -> None:
    with _open(azurite.url("account").replace("http:", "https:")) as store, pytest.raises(StorageUnavailable) as error:
        store.get("a")
    assert "TLS" in error.value.remedy


def test_a_certificate_that_nobody_vouches_for_is_refused_fault_10(
    azurite_https: Azurite, clean_environment: pytest.MonkeyPatch
) -> None:
    with _open(azurite_https.url("account")) as store, pytest.raises(StorageUnavailable) as error:
        store.get("a")
    assert "certificate" in str(error.value).lower()


@pytest.mark.parametrize("call", ["put", "get", "list", "stat", "delete"])
def test_a_wrong_key_names_the_setting_of_the_key(azurite: Azurite, call: str) -> None:
    wrong = base64.b64encode(b"another key of 32 bytes altogether").decode()
    with _open(azurite.url(azurite.new_account()), key=wrong) as store, pytest.raises(StorageForbidden) as error:
        _call(store, call)
    assert error.value.setting == "LIFEBOAT_VAULT_KEY"
    assert "LIFEBOAT_VAULT_KEY" in error.value.remedy
    assert wrong not in str(error.value)


def test_a_token_over_plain_http_is_refused_before_anything_is_sent(azurite: Azurite) -> None:
    with pytest.raises(SettingsError) as error:
        _open(azurite.url(azurite.new_account()), key=None)
    assert "https" in error.value.remedy


def test_an_identity_that_cannot_be_had_is_said(clean_environment: pytest.MonkeyPatch) -> None:
    clean_environment.setenv("AZURE_CLIENT_ID", "any")
    clean_environment.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi/token")
    clean_environment.setenv("IDENTITY_HEADER", "header")
    with _open("https://127.0.0.1:1/account", key=None) as store, pytest.raises(StorageError) as error:
        store.get("a")
    assert error.value.remedy


@pytest.mark.parametrize(
    ("url", "key", "version", "setting"),
    [
        ("account", KEY, API_VERSION, "LIFEBOAT_VAULT_URL"),
        ("http://127.0.0.1:10000", KEY, API_VERSION, "LIFEBOAT_VAULT_URL"),
        ("https://account.blob.local/?sv=1&sig=topsecret", KEY, API_VERSION, "LIFEBOAT_VAULT_URL"),
        ("https://account.blob.local", "no base64!", API_VERSION, "LIFEBOAT_VAULT_KEY"),
        ("https://account.blob.local", KEY, "1999-01-01", "LIFEBOAT_STORAGE_API_VERSION"),
    ],
)
def test_a_setting_that_cannot_be_right_is_refused_before_anything_is_sent(
    url: str, key: str, version: str, setting: str
) -> None:
    with pytest.raises(SettingsError) as error:
        _open(url, key=key, api_version=version)
    assert error.value.setting == setting
    assert error.value.exit_code == 2
    assert "topsecret" not in str(error.value)
    assert key not in str(error.value)


def test_a_missing_account_says_that_the_address_may_be_wrong(azurite: Azurite) -> None:
    with _open(azurite.url("nosuchaccount")) as store, pytest.raises(StorageError) as error:
        store.get("a")
    assert error.value.setting == "LIFEBOAT_VAULT_URL"


def test_each_missing_right_is_named(vault: Vault) -> None:
    with vault.store() as store, vault.judge() as judge:
        judge.put("data/1", b"pack")
        with pytest.raises(StorageForbidden) as delete:
            store.delete("data/1")
        assert f"{BLOBS}/delete" in delete.value.remedy
        vault.faults.add("answer every put with 403 AuthorizationPermissionMismatch")
        with pytest.raises(StorageForbidden) as put:
            store.put("data/2", b"pack")
        assert f"{BLOBS}/add/action" in put.value.remedy
        vault.faults.add("answer every get with 403 AuthorizationPermissionMismatch")
        with pytest.raises(StorageForbidden) as get:
            store.get("data/1")
        assert f"{BLOBS}/read" in get.value.remedy
        vault.faults.add("answer every list with 403 AuthorizationPermissionMismatch")
        with pytest.raises(StorageForbidden) as listing:
            list(store.list(""))
        assert f"{BLOBS}/read" in listing.value.remedy


def test_containers_are_made_where_the_rights_allow_and_else_the_right_is_named(azurite: Azurite) -> None:
    with new_vault(azurite, containers=()) as vault, vault.store() as store, vault.judge() as judge:
        assert not store.container_exists()
        with pytest.raises(ContainerMissing) as missing:
            store.delete("locks/1")
        assert missing.value.exit_code == 10
        with pytest.raises(StorageForbidden) as error:
            store.create_container_if_missing()
        assert "containers/write" in error.value.remedy

        assert judge.create_container_if_missing() is True
        assert judge.create_container_if_missing() is False
        assert store.create_container_if_missing() is False
        assert store.container_exists()


def test_a_throttled_call_carries_how_long_to_wait(vault: Vault) -> None:
    vault.faults.add("answer the 1st get with 503 ServerBusy and Retry-After 7")
    vault.faults.add("answer the 2nd get with 429 TooManyRequests")
    with vault.store() as store:
        store.put("a", b"x")
        with pytest.raises(StorageUnavailable) as busy:
            store.get("a")
        with pytest.raises(StorageUnavailable) as throttled:
            store.get("a")
        assert (busy.value.retry_after_seconds, throttled.value.retry_after_seconds) == (7, None)
        assert store.get("a") == b"x"


@pytest.mark.parametrize("existing_name", ["409 BlobAlreadyExists", "403 UnauthorizedBlobOverwrite"])
def test_fault_38_a_put_that_lost_its_reply_and_is_told_403_or_409_compares(
    azurite: Azurite, existing_name: str
) -> None:
    with new_vault(azurite, existing_name=existing_name) as vault, vault.store() as store:  # type: ignore[arg-type]
        vault.faults.add("lose the reply of the 1st put")
        waits: list[float] = []
        assert RetryingStore(store, sleep=waits.append).put("data/pack", b"pack" * 1000) is False
        assert len(waits) == 1
        assert store.get("data/pack") == b"pack" * 1000

        vault.faults.add("lose the reply of the next put")
        with pytest.raises(BlobExists):
            RetryingStore(store, sleep=waits.append).put("data/pack", b"others' bytes")
        assert store.get("data/pack") == b"pack" * 1000


def test_fault_38_a_put_that_is_forbidden_and_was_not_done_stays_forbidden(vault: Vault) -> None:
    vault.faults.add("answer every put with 403 UnauthorizedBlobOverwrite")
    with vault.store() as store, pytest.raises(StorageForbidden):
        store.put("data/pack", b"pack")


def test_a_put_that_was_cut_in_the_middle_leaves_nothing_and_is_done_again_fault_4(vault: Vault) -> None:
    vault.faults.add("cut the 1st put after 100000 bytes")
    with vault.store() as store:
        pack = bytes(1 << 20)
        with pytest.raises(StorageUnavailable):
            store.put("data/pack", pack)
        assert store.stat("data/pack") is None
        assert RetryingStore(store).put("data/pack", pack) is True


def test_a_get_that_was_cut_in_the_middle_never_yields_a_part_fault_5(vault: Vault) -> None:
    with vault.store() as store:
        store.put("data/pack", bytes(1 << 20))
        vault.faults.add("cut the reply of every get after 1000 bytes")
        with pytest.raises(StorageUnavailable):
            store.get("data/pack")
        vault.faults.clear()
        assert len(store.get("data/pack")) == 1 << 20


def test_one_call_is_one_request(vault: Vault) -> None:
    with vault.store() as store:
        store.put("a", bytes(20 << 20))
        store.get("a")
        store.get("a", 5, 5)
        store.stat("a")
        list(store.list(""))
        store.put("locks/1", b"x")
        store.delete("locks/1")
    kinds = [call.kind for call in vault.proxy.calls]
    assert kinds == ["put", "get", "get", "stat", "list", "put", "delete"]


def test_the_library_itself_tries_nothing_again(vault: Vault) -> None:
    vault.faults.add("answer every call with 500 InternalError")
    with vault.store() as store:
        for kind in ("put", "get", "list", "stat", "delete"):
            with pytest.raises(StorageUnavailable):
                _call(store, kind)
    assert len(vault.proxy.calls) == 5


def test_what_a_test_hangs_before_a_call_runs_before_it_is_done(vault: Vault) -> None:
    seen: list[str] = []

    def strike(call: Call) -> None:
        with vault.judge() as judge:
            seen.append(f"{call.kind} {call.blob} {judge.stat(call.blob) is not None}")
        raise CutConnection

    vault.faults.call("before the 2nd put", strike)
    vault.faults.call("after the 3rd put", strike)
    with vault.store() as store:
        store.put("data/1", b"")
        for name in ("data/2", "data/3"):
            with pytest.raises(StorageUnavailable):
                store.put(name, b"")
    assert seen == ["put data/2 False", "put data/3 True"]


def _call(store: AzureBlobStore, kind: str) -> None:
    calls: dict[str, Callable[[], object]] = {
        "put": lambda: store.put("a", b"x"),
        "get": lambda: store.get("a"),
        "list": lambda: list(store.list("")),
        "stat": lambda: store.stat("a"),
        "delete": lambda: store.delete("locks/a"),
    }
    calls[kind]()


def test_a_blob_that_is_absurdly_long_is_damage_and_never_in_memory(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.storage.azure_blobs.LARGEST_WHOLE_BYTES", 1000)
    with vault.store() as store:
        store.put("fits", b"x" * 1000)
        store.put("index/huge", b"x" * 5_000)
        assert store.get("fits") == b"x" * 1000
        with pytest.raises(Damaged) as caught:
            store.get("index/huge")
        assert caught.value.object == "index/huge"
        assert len(store.get("index/huge", 0, 4_000)) == 4_000
