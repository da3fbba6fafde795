"""The first run over real requests: the vault behind the rights of the backup app, the password in Key Vault.

``tests/faults/test_initialising.py`` has every moment at which somebody else may come, or the process may end.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.errors import RepositoryMissing, StorageForbidden, WrongPassword
from shared.repository.initialise import (
    PASSWORD_SECRET,
    GivenPassword,
    KeyVaultPassword,
    open_or_initialise,
    open_repository,
)
from shared.storage.credentials import open_credential
from shared.storage.key_vault import KeyVaultSecrets
from tests.conftest import Vault, new_vault
from tests.standins.azurite import Azurite
from tests.standins.certificate import Certificate
from tests.standins.identity_endpoint import running_identity_endpoint
from tests.standins.keyvault import KeyVaultStandin, running_key_vault
from tests.standins.restic import StockRestic, copy_container
from tests.standins.rights_proxy import READER, ExistingName


@pytest.fixture
def key_vault(certificate: Certificate, clean_environment: pytest.MonkeyPatch) -> Iterator[KeyVaultStandin]:
    with running_identity_endpoint() as endpoint, running_key_vault(certificate) as standin:
        for name, value in {**endpoint.environment(), **certificate.environment()}.items():
            clean_environment.setenv(name, value)
        yield standin


@pytest.fixture
def secrets(key_vault: KeyVaultStandin) -> Iterator[KeyVaultSecrets]:
    with KeyVaultSecrets.open(key_vault.url, open_credential()) as opened:
        yield opened


@pytest.mark.parametrize("existing_name", ["409 BlobAlreadyExists", "403 UnauthorizedBlobOverwrite"])
def test_initialisers_at_once_agree_on_one_repository_and_one_password_fault_39(
    azurite: Azurite,
    key_vault: KeyVaultStandin,
    secrets: KeyVaultSecrets,
    newest_restic: StockRestic,
    tmp_path: Path,
    existing_name: ExistingName,
) -> None:
    with new_vault(azurite, existing_name=existing_name) as vault:
        together = threading.Barrier(4)

        def initialise(_: int) -> str:
            with vault.store() as share, vault.store("recovery-points") as records:
                together.wait(30)
                return open_or_initialise(share, records, KeyVaultPassword(secrets)).config.id

        with ThreadPoolExecutor(4) as pool:
            ids = set(pool.map(initialise, range(4)))
        assert len(ids) == 1
        with vault.store() as share, vault.store("recovery-points") as records:
            open_or_initialise(share, records, KeyVaultPassword(secrets))
            assert len(list(share.list("keys/"))) == 1
        current = key_vault.secrets[PASSWORD_SECRET][-1]
        assert {current.tags["repository"]} == ids
        with vault.judge() as store:
            judge = newest_restic.on_folder(copy_container(store, tmp_path / "copy"), current.value)
        judge.check()


def test_a_restorer_needs_only_to_read(
    vault: Vault, azurite: Azurite, key_vault: KeyVaultStandin, secrets: KeyVaultSecrets
) -> None:
    with vault.store() as share, vault.store("recovery-points") as records:
        made = open_or_initialise(share, records, KeyVaultPassword(secrets))
        secrets.set(PASSWORD_SECRET, "of an initialiser that lost and died", {})
        key_vault.denied |= {"set", "update", "list"}
        vault.proxy.rights = READER
        opened = open_repository(share, records, KeyVaultPassword(secrets))
        assert opened.config == made.config


def test_without_the_right_to_add_the_right_is_named_and_nothing_is_made(vault: Vault) -> None:
    vault.proxy.rights = READER
    with (
        vault.store() as share,
        vault.store("recovery-points") as records,
        pytest.raises(StorageForbidden) as error,
    ):
        open_or_initialise(share, records, GivenPassword("secret"))
    assert "blobs/add/action" in f"{error.value} {error.value.remedy}"
    with vault.judge() as store:
        assert list(store.list("")) == []


def test_a_wrong_password_and_a_vault_without_repository_are_told_apart(vault: Vault) -> None:
    with vault.store() as share, vault.store("recovery-points") as records:
        with pytest.raises(RepositoryMissing):
            open_repository(share, records, GivenPassword("secret"))
        open_or_initialise(share, records, GivenPassword("secret"))
        with pytest.raises(WrongPassword):
            open_or_initialise(share, records, GivenPassword("wrong"))
        assert len(list(share.list("keys/"))) == 1
