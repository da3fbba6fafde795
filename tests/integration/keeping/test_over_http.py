"""The worst day once more, over HTTP: each command with its own identity, the emulator behind Azure's rules."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.keeping.protecting import protect
from shared.keeping.undeleting import undelete
from shared.recovery_point.backup import Backup
from shared.recovery_point.check import check_vault
from shared.recovery_point.record import COMPLETE
from shared.recovery_point.scope import BackupRequest
from shared.settings import Settings
from shared.storage.vault import Vault as ProductVault
from tests.conftest import Vault, new_vault
from tests.faults.helpers import PASSWORD, contents, make_share, quick
from tests.integration.keeping.attacker import CONTAINERS, delete_everything, overwrite_everything
from tests.standins.azurite import Azurite
from tests.standins.restic import StockRestic, copy_container
from tests.standins.rights_proxy import BACKUP_APP, KEEPER, OWNER, Rights
from tests.standins.worm import DeleteUnderPolicy, Worm


@pytest.fixture(params=["refused", "previous version"])
def account(request: pytest.FixtureRequest, azurite: Azurite) -> Iterator[Vault]:
    """As its owner sees it, in each reading of what Delete Blob does under a date."""
    reading: DeleteUnderPolicy = request.param
    with new_vault(azurite, rights=OWNER, worm=Worm(delete_under_policy=reading), containers=CONTAINERS) as made:
        yield made


def attack(account: Vault) -> None:
    with ProductVault(Settings.from_environment(account.environment()).vault()) as vault:
        stores = {container: vault.versions(container) for container in CONTAINERS}

        def overwrite(container: str, name: str, body: bytes) -> None:
            with account.store(container) as store:
                store._client.upload_blob(name, body, overwrite=True)

        overwrite_everything(stores, overwrite)
        delete_everything(stores)
        left = [blob.name for store in stores.values() for blob in store.list("")]
    assert left == []


def test_a_vault_that_its_owner_has_emptied_comes_back(
    account: Vault, tmp_path: Path, newest_restic: StockRestic
) -> None:
    source = make_share(tmp_path / "source")

    def settings(vault: Vault) -> Settings:
        named = {"LIFEBOAT_SHARE_URL": source.as_uri(), "LIFEBOAT_REPOSITORY_PASSWORD": PASSWORD}
        return Settings.from_environment(vault.environment() | named)

    def seen_by(rights: Rights) -> Iterator[Settings]:
        with account.with_rights(rights) as vault:
            yield settings(vault)

    for backup_app in seen_by(BACKUP_APP):
        with quick():
            point = Backup(backup_app, BackupRequest()).run()
        assert point.status == COMPLETE
    for keeper in seen_by(KEEPER):
        protected = protect(keeper)
        assert (protected.status, protected.extended) == ("ok", protected.blobs)
        assert protected.until is not None
        assert protected.until > datetime.now(UTC) + timedelta(days=13)

    attack(account)

    for keeper in seen_by(KEEPER):
        undeleted = undelete(keeper)
        assert (undeleted.status, undeleted.restored) == ("ok", protected.blobs)
        assert undelete(keeper).restored == 0
        assert check_vault(keeper, read_data=True).status == "ok"
        assert protect(keeper).status == "ok"
    with account.judge() as judge:
        repository = newest_restic.on_folder(copy_container(judge, tmp_path / "repository"), PASSWORD)
    repository.check()
    repository.run("restore", str(point.snapshot), "--target", str(tmp_path / "restored"))
    assert contents(tmp_path / "restored" / "source") == contents(source)
