"""Preflight of the vault: a vault in order says so, and each planted fault shows the row that is its cause.

The vault is Azurite behind the stand-in for the rights of an identity; versions and dates are a stand-in too.
"""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.keeping.inventory import COME_AND_GO, Held
from shared.keeping.leftovers import records_to_delete
from shared.preflight import network
from shared.preflight import vault as checks
from shared.preflight.check import FAIL, PASS, SKIP, WARN
from shared.preflight.runner import run_checks
from shared.repository import locks
from shared.repository.initialise import PASSWORD_SECRET, GivenPassword, KeyVaultPassword, open_or_initialise
from shared.repository.repository import Repository
from shared.settings import Settings
from shared.storage.credentials import open_credential
from shared.storage.key_vault import KeyVaultSecrets
from tests.conftest import Vault, new_vault
from tests.integration.preflight.conftest import Table, table
from tests.standins.azurite import API_VERSION, Azurite
from tests.standins.certificate import Certificate
from tests.standins.faults import Call
from tests.standins.identity_endpoint import IdentityEndpoint, running_identity_endpoint
from tests.standins.keyvault import KeyVaultStandin, running_key_vault
from tests.standins.rights_proxy import BACKUP_APP, KEEPER, LANDING, OWNER, READER
from tests.standins.worm import Worm

PASSWORD = "the password of the repository"
OTHER_KEY = base64.b64encode(b"another key than the account's").decode()


@pytest.fixture(autouse=True)
def nothing_from_outside(clean_environment: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        clean_environment.delenv(name, raising=False)
    return clean_environment


@pytest.fixture
def identity(certificate: Certificate, nothing_from_outside: pytest.MonkeyPatch) -> Iterator[IdentityEndpoint]:
    """Tokens of Entra ID are to be had here."""
    with running_identity_endpoint() as endpoint:
        for name, value in {**endpoint.environment(), **certificate.environment()}.items():
            nothing_from_outside.setenv(name, value)
        yield endpoint


@pytest.fixture
def in_azure(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on loopback is no emulator, for once: rights that nobody refuses are a fault."""
    monkeypatch.setattr(checks, "is_loopback", lambda url: False)


def look(vault: Vault, *, key: str | None = "the account's", **settings: str) -> Table:
    """``key`` None: by Entra ID."""
    given = {"VAULT_URL": vault.url, "STORAGE_API_VERSION": API_VERSION, "REPOSITORY_PASSWORD": PASSWORD} | settings
    if key is not None:
        given["VAULT_KEY"] = vault.key if key == "the account's" else key
    seen = table("vault", **given)
    assert vault.key not in seen.text
    assert PASSWORD not in seen.text
    return seen


def left(vault: Vault) -> list[str]:
    """What lies under preflight's folder."""
    with vault.judge("recovery-points") as records:
        return [blob.name for blob in records.list("preflight/")]


def locked(vault: Vault) -> list[str]:
    with vault.judge() as share:
        return [blob.name for blob in share.list("locks/")]


def make_repository(vault: Vault) -> Repository:
    return open_or_initialise(vault.judge(), vault.judge("recovery-points"), GivenPassword(PASSWORD))


# --- in order ---


@pytest.mark.usefixtures("in_azure")
def test_a_vault_in_order_by_entra_id(azurite_https: Azurite, identity: IdentityEndpoint) -> None:
    with new_vault(azurite_https, rights=BACKUP_APP, worm=Worm()) as vault:
        make_repository(vault)
        seen = look(vault, key=None)
        assert [row for row in seen.rows if row.result != PASS] == []
        assert [row.name for row in seen.rows] == [
            "name", "port", "tls", "clock", "login", "containers", "create", "read", "versioning", "overwrite-refused",
            "delete-refused", "immutability", "repository",
        ]  # fmt: skip
        assert seen["login"].detail == "Entra ID gives a token, and the vault accepts it"
        assert locked(vault) == []
    assert set(identity.asked) == {"https://storage.azure.com"}


def test_what_stays_is_what_the_keeper_clears(vault: Vault) -> None:
    """After 8 days, not before; and nobody misses it."""
    look(vault)
    names = {f"recovery-points/{name}" for name in left(vault)}
    assert len(names) == 2
    assert all(name.startswith(COME_AND_GO) for name in names)
    now = datetime.now(UTC)
    for age, gone in ((timedelta(days=1), set()), (timedelta(days=8, hours=1), names)):
        records = {name: Held(1, now - age, now - age, None, False, None) for name in names}
        assert set(records_to_delete(records, (), (), now, undelete_for=timedelta(days=30))) == gone


def test_each_run_has_names_of_its_own(vault: Vault) -> None:
    look(vault)
    look(vault)
    assert len(set(left(vault))) == 4


# --- the way ---


def test_an_address_that_is_none_is_the_row_of_settings() -> None:
    seen = table("vault", VAULT_URL="https://account.blob.core.windows.net/?sv=2020&sig=abc", VAULT_KEY="a2V5")
    assert (seen.cause.name, seen.cause.setting) == ("settings", "LIFEBOAT_VAULT_URL")
    missing = table("vault")
    assert (missing.cause.name, missing.cause.setting) == ("settings", "LIFEBOAT_VAULT_URL")


def test_a_host_that_does_not_resolve_and_a_port_that_is_closed() -> None:
    seen = table("vault", VAULT_URL="https://account.blob.core.invalid", VAULT_KEY="a2V5")
    assert (seen.cause.name, seen.cause.setting) == ("name", "LIFEBOAT_VAULT_URL")
    assert seen["repository"].result == SKIP
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        seen = table("vault", VAULT_URL=f"http://127.0.0.1:{port}/account", VAULT_KEY="a2V5")
    assert (seen.cause.name, seen.cause.setting) == ("port", "LIFEBOAT_VAULT_URL")


def test_a_certificate_that_nobody_trusts(
    azurite_https: Azurite, identity: IdentityEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_vault(azurite_https) as vault:
        monkeypatch.delenv("REQUESTS_CA_BUNDLE")
        seen = look(vault, key=None)
    assert (seen.cause.name, seen.cause.setting) == ("tls", "REQUESTS_CA_BUNDLE")
    assert "create" in seen.named(SKIP)


# --- who we are ---


def test_a_key_of_another_account(vault: Vault) -> None:
    seen = look(vault, key=OTHER_KEY)
    assert (seen.cause.name, seen.cause.setting) == ("login", "LIFEBOAT_VAULT_KEY")
    assert "AuthorizationFailure" in seen.cause.detail
    assert "check LIFEBOAT_VAULT_KEY, this machine's clock, and the account's firewall" in seen.cause.remedy
    assert OTHER_KEY not in seen.text


def test_an_account_that_takes_no_keys(vault: Vault) -> None:
    vault.faults.add("answer every list under recovery-points/ with 403 KeyBasedAuthenticationNotPermitted")
    seen = look(vault)
    assert (seen.cause.name, seen.cause.setting) == ("login", "LIFEBOAT_VAULT_KEY")
    assert "remove LIFEBOAT_VAULT_KEY and use Entra ID" in seen.cause.remedy


def test_no_token_is_to_be_had(azurite_https: Azurite, identity: IdentityEndpoint) -> None:
    identity.failures = 99
    with new_vault(azurite_https) as vault:
        seen = look(vault, key=None)
    assert (seen.cause.name, seen.cause.setting) == ("login", "LIFEBOAT_VAULT_KEY")
    assert "no Entra ID token" in seen.cause.detail
    assert "give the app an identity" in seen.cause.remedy


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("AuthenticationFailed", "check the identity, its tenant, and this machine's clock"),
        ("AuthorizationFailure", "the account's firewall may refuse this network"),
    ],
)
def test_a_token_that_the_vault_refuses(
    azurite_https: Azurite, identity: IdentityEndpoint, code: str, remedy: str
) -> None:
    with new_vault(azurite_https) as vault:
        vault.faults.add(f"answer every list under recovery-points/ with 403 {code}")
        seen = look(vault, key=None)
    assert identity.asked
    assert seen.cause.name == "login"
    assert remedy in seen.cause.remedy


def test_an_identity_that_may_not_read_is_let_in_and_then_told_which_right_it_lacks(
    azurite_https: Azurite, identity: IdentityEndpoint
) -> None:
    with new_vault(azurite_https) as vault:
        vault.faults.add("answer every list under recovery-points/ with 403 AuthorizationPermissionMismatch")
        seen = look(vault, key=None)
    assert seen["login"].result == PASS
    assert seen.cause.name == "containers"
    assert "containers/blobs/read" in seen.cause.remedy


# --- containers ---


def test_containers_that_the_first_backup_makes_are_a_warning(azurite: Azurite) -> None:
    with new_vault(azurite, rights=OWNER, containers=()) as vault:
        seen = look(vault, SQL_SERVER="sql01")
        assert seen.named(FAIL) == set()
        assert seen["containers"].result == WARN
        assert "no container share, recovery-points, databases" in seen["containers"].detail
        assert {"create", "read", "repository"} <= seen.named(SKIP)
        with vault.judge() as share:
            assert not share.container_exists(), "preflight makes none"


def test_containers_that_nobody_here_can_make_are_a_failure_with_the_command(
    azurite_https: Azurite, identity: IdentityEndpoint
) -> None:
    with new_vault(azurite_https, containers=("share",)) as vault:
        seen = look(vault, key=None)
    assert (seen.cause.name, seen.cause.setting) == ("containers", "LIFEBOAT_VAULT_URL")
    assert "no container recovery-points" in seen.cause.detail
    assert "az storage container create --auth-mode login" in seen.cause.remedy
    assert identity.asked


def test_databases_are_asked_for_where_they_are_configured(azurite: Azurite) -> None:
    with new_vault(azurite, containers=("share", "recovery-points")) as vault:
        assert look(vault)["containers"].result == PASS
        assert look(vault, SQL_SERVER="sql01")["containers"].result == WARN


# --- rights ---


def test_who_may_only_read_is_told_the_right_that_a_backup_needs(azurite: Azurite) -> None:
    with new_vault(azurite, rights=READER) as vault:
        make_repository(vault)
        seen = look(vault)
    assert seen.named(FAIL) == {"create", "repository"}
    assert "containers/blobs/add/action" in seen["create"].remedy
    assert "containers/blobs/delete" in seen["repository"].remedy
    assert seen["delete-refused"].result == SKIP


@pytest.mark.usefixtures("in_azure")
def test_an_identity_that_may_overwrite_or_delete_is_a_failure(
    azurite_https: Azurite, identity: IdentityEndpoint
) -> None:
    with new_vault(azurite_https, rights=LANDING, worm=Worm()) as vault:
        seen = look(vault, key=None)
        assert seen.named(FAIL) == {"overwrite-refused", "delete-refused"}
        assert "blobs/write" in seen["overwrite-refused"].remedy
        assert "blobs/delete" in seen["delete-refused"].remedy
        assert "docs/guarantees.md" in seen["delete-refused"].remedy
        assert left(vault) == [], "who may delete takes away what it wrote"
    assert identity.asked


def test_an_account_key_may_do_anything_which_is_a_warning(azurite: Azurite) -> None:
    with new_vault(azurite, rights=OWNER) as vault:
        seen = look(vault)
        assert seen.named(FAIL) == set()
        for row in (seen["overwrite-refused"], seen["delete-refused"]):
            assert (row.result, row.setting) == (WARN, "LIFEBOAT_VAULT_KEY")
            assert "as every key may" in row.detail
        assert left(vault) == []


def test_an_emulator_refuses_nobody_which_is_a_warning(azurite_https: Azurite, identity: IdentityEndpoint) -> None:
    with new_vault(azurite_https, rights=OWNER) as vault:
        seen = look(vault, key=None)
    assert {"overwrite-refused", "delete-refused"} <= seen.warned
    assert "an emulator refuses nobody" in seen["delete-refused"].detail
    assert identity.asked


@pytest.mark.parametrize("answer", ["409 BlobAlreadyExists", "403 UnauthorizedBlobOverwrite"])
def test_both_ways_in_which_azure_refuses_to_overwrite_are_known(azurite: Azurite, answer: str) -> None:
    with new_vault(azurite, existing_name=answer) as vault:  # type: ignore[arg-type]
        assert look(vault)["overwrite-refused"].result == PASS


def test_a_refusal_of_another_kind_is_no_proof(vault: Vault) -> None:
    vault.faults.add("answer the 2nd to 9th put under recovery-points/preflight/ with 403 AuthorizationFailure")
    vault.faults.add("answer every delete under recovery-points/preflight/ with 403 AuthenticationFailed")
    seen = look(vault)
    assert seen.named(FAIL) == {"overwrite-refused", "delete-refused"}


@pytest.mark.usefixtures("in_azure")
def test_the_keeper_may_delete_and_set_dates(azurite_https: Azurite, identity: IdentityEndpoint) -> None:
    with new_vault(azurite_https, rights=KEEPER, worm=Worm()) as vault:
        make_repository(vault)
        seen = look(vault, key=None, ROLE="keeper")
        assert [row for row in seen.rows if row.result != PASS] == []
        assert seen["delete"].detail == "the keeper can delete blobs"
        assert "a date was set" in seen["immutability"].detail
        (dated,) = left(vault)
        assert dated.endswith("-date"), "the rest is taken away; this goes when its date has passed"
    assert identity.asked


def test_a_keeper_with_the_backup_apps_rights_is_told_what_it_lacks(azurite: Azurite) -> None:
    with new_vault(azurite, rights=BACKUP_APP, worm=Worm()) as vault:
        seen = look(vault, ROLE="keeper")
    assert seen.named(FAIL) == {"delete", "immutability"}
    assert "containers/blobs/delete" in seen["delete"].remedy
    assert "immutableStorage/runAsSuperUser" in seen["immutability"].remedy
    for row in (seen["delete"], seen["immutability"]):
        assert row.setting == "LIFEBOAT_ROLE"
        assert row.remedy.startswith("If this is the backup app, which must not be able to, set LIFEBOAT_ROLE=backup")


# --- reading back, versions, dates ---


def test_what_is_read_back_is_compared(vault: Vault) -> None:
    def change(call: Call) -> None:
        with vault.judge("recovery-points") as records:
            assert not records.refuses_overwriting(call.blob, b"<html>")

    vault.faults.call("before the 1st get under recovery-points/preflight/", change)
    seen = look(vault)
    assert seen.cause.name == "read"
    assert "other bytes" in seen.cause.detail


@pytest.mark.usefixtures("in_azure")
def test_an_account_without_versions_and_dates_is_a_failure_unless_it_is_meant(
    azurite_https: Azurite, identity: IdentityEndpoint
) -> None:
    with new_vault(azurite_https, worm=Worm(versioning=False, immutability=False)) as vault:
        seen = look(vault, key=None)
        assert seen.named(FAIL) == {"versioning", "immutability"}
        assert "--enable-versioning true" in seen["versioning"].remedy
        assert seen["immutability"].setting == "LIFEBOAT_PROTECT_FOR"
        meant = look(vault, key=None, PROTECT_FOR="0s")
        assert meant.named(FAIL) == set()
        assert (meant["versioning"].result, meant["immutability"].result) == (WARN, SKIP)
    assert identity.asked


def test_a_vault_by_key_has_no_promise_of_versions_and_dates_which_is_a_warning(azurite: Azurite) -> None:
    with new_vault(azurite, worm=Worm(versioning=True, immutability=False)) as vault:
        seen = look(vault)
        assert (seen["versioning"].result, seen["immutability"].result) == (PASS, WARN)
        assert "LIFEBOAT_PROTECT_FOR to 0s" in seen["immutability"].remedy
    with new_vault(azurite) as plain:
        seen = look(plain)
        assert (seen["versioning"].result, seen["immutability"].result) == (WARN, WARN)
        assert "does not say" in seen["immutability"].detail
        keeper = look(plain, ROLE="keeper", PROTECT_FOR="0s")
        assert keeper["immutability"].result == SKIP


# --- the repository ---


def test_no_repository_yet_is_none_of_preflights_business(vault: Vault) -> None:
    seen = look(vault)
    assert (seen["repository"].result, seen.named(FAIL)) == (SKIP, set())
    assert "the first 'backup' makes it" in seen["repository"].detail
    with vault.judge() as share:
        assert list(share.list("")) == [], "it makes none"


def test_a_lock_is_taken_and_given_back(vault: Vault) -> None:
    repository = make_repository(vault)
    seen = look(vault)
    assert seen["repository"].detail == (
        f"the repository {repository.config.id[:8]} opens with the password, and a lock was taken and given back"
    )
    assert locked(vault) == []


def test_a_wrong_password(vault: Vault) -> None:
    make_repository(vault)
    seen = look(vault, REPOSITORY_PASSWORD="another")
    assert seen.cause.name == "repository"
    assert "password" in seen.cause.detail
    assert locked(vault) == []


def test_a_repository_that_somebody_holds_exclusively_is_a_warning(vault: Vault) -> None:
    repository = make_repository(vault)
    held = locks.acquire(repository, exclusive=True, hostname="keeper01")
    seen = look(vault)
    assert (seen["repository"].result, seen["repository"].setting) == (WARN, "LIFEBOAT_LOCK_WAIT")
    assert "locked exclusively by lifeboat on keeper01" in seen["repository"].detail
    assert locked(vault) == [f"locks/{held}"], "theirs stays, and none of ours is left"


def test_who_may_not_delete_locks_leaves_none_behind(azurite: Azurite) -> None:
    with new_vault(azurite, rights=READER) as vault:
        make_repository(vault)
        assert look(vault)["repository"].result == FAIL
        assert locked(vault) == []


def test_a_lock_whose_removal_failed_is_removed_at_the_end(vault: Vault) -> None:
    make_repository(vault)
    vault.faults.add("answer the 2nd delete under share/locks/ with 500 InternalError")  # the 1st is of nobody's lock
    seen = look(vault)
    assert seen.cause.name == "repository"
    assert "500 InternalError" in seen.cause.detail
    assert locked(vault) == []


def test_an_emptied_vault_is_no_new_one(vault: Vault) -> None:
    with vault.judge("recovery-points") as records:
        records.put("points/20260101T000000Z-abcdef.json", b"{}")
    seen = look(vault)
    assert (seen.cause.name, seen.cause.setting) == ("repository", "LIFEBOAT_VAULT_URL")
    assert "somebody emptied the vault" in seen.cause.detail
    assert "undelete" in seen.cause.remedy


@pytest.fixture
def key_vault(certificate: Certificate, identity: IdentityEndpoint) -> Iterator[KeyVaultStandin]:
    with running_key_vault(certificate) as running:
        yield running


def test_the_password_of_the_key_vault_and_the_tag_on_it(vault: Vault, key_vault: KeyVaultStandin) -> None:
    with KeyVaultSecrets.open(key_vault.url, open_credential()) as secrets:
        open_or_initialise(vault.judge(), vault.judge("recovery-points"), KeyVaultPassword(secrets))
    settings = {"KEY_VAULT_URL": key_vault.url, "REPOSITORY_PASSWORD": ""}
    assert look(vault, **settings)["repository"].result == PASS
    key_vault.secrets[PASSWORD_SECRET][-1].tags["repository"] = "0" * 64
    seen = look(vault, **settings)
    assert (seen["repository"].result, seen["repository"].setting) == (WARN, "LIFEBOAT_KEY_VAULT_URL")
    assert "belong together" in seen["repository"].remedy
    assert all(len(versions) == 1 for versions in key_vault.secrets.values()), "preflight of the vault sets none"


def test_a_password_that_lost_its_election_is_not_settled_by_preflight(
    vault: Vault, key_vault: KeyVaultStandin
) -> None:
    with KeyVaultSecrets.open(key_vault.url, open_credential()) as secrets:
        open_or_initialise(vault.judge(), vault.judge("recovery-points"), KeyVaultPassword(secrets))
        secrets.set(PASSWORD_SECRET, "another", {})
    seen = look(vault, KEY_VAULT_URL=key_vault.url, REPOSITORY_PASSWORD="")
    assert seen["repository"].result == PASS
    assert len(key_vault.secrets[PASSWORD_SECRET]) == 2


def test_an_emptied_vault_is_known_by_the_tag_of_the_password(vault: Vault, key_vault: KeyVaultStandin) -> None:
    with KeyVaultSecrets.open(key_vault.url, open_credential()) as secrets:
        secrets.set(PASSWORD_SECRET, "password", {"repository": "0" * 64})
    seen = look(vault, KEY_VAULT_URL=key_vault.url, REPOSITORY_PASSWORD="")
    assert "somebody emptied the vault" in seen.cause.detail


# --- limits, and what is left ---


def test_an_account_that_falls_silent_is_given_up(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "CONNECT_SECONDS", 0.3)
    vault.faults.add("delay the 1st list by 1000 ms")
    seen = look(vault)
    assert seen.cause.name == "clock"
    assert "says nothing" in seen.cause.detail


def test_each_check_has_a_limit_and_what_was_found_before_it_stays(vault: Vault) -> None:
    made = checks.vault_checks(Settings({"LIFEBOAT_VAULT_URL": vault.url, "LIFEBOAT_VAULT_KEY": vault.key}))
    assert all(10 <= check.limit_seconds <= 60 for check in made.checks)
    hasty = [replace(check, limit_seconds=0.3) if check.name == "create" else check for check in made.checks]
    vault.faults.add("delay every put under recovery-points/preflight/ by 1500 ms")
    seen = Table(tuple(run_checks([replace(made, checks=tuple(hasty))])))
    assert (seen.cause.name, seen.cause.setting) == ("create", "LIFEBOAT_VAULT_URL")
    assert "no answer within 0 s" in seen.cause.detail
    assert "falls silent" in seen.cause.remedy
    assert "containers" in seen.passed
    assert {"read", "overwrite-refused", "delete-refused"} <= seen.named(SKIP)


def test_what_could_not_be_taken_away_is_said(azurite: Azurite) -> None:
    with new_vault(azurite, rights=OWNER) as vault:
        vault.faults.add("answer the 2nd delete under recovery-points/preflight/ with 500 InternalError")
        seen = look(vault)
        (name,) = left(vault)
    assert seen["clean-up"].result == WARN
    assert f"recovery-points/{name}" in seen["clean-up"].detail
