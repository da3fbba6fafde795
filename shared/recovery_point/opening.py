"""Opening what a backup needs: the vault's repository, with what earlier points say, and the share."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from shared.errors import ContainerMissing, RepositoryMissing
from shared.fileshare.sources import SourceOpener
from shared.recovery_point.adopted_share import adopt_parts
from shared.recovery_point.catalog import Catalog
from shared.recovery_point.share import History, read_history
from shared.recovery_point.verifications import damaged_packs
from shared.repository.initialise import choose_passwords, open_or_initialise
from shared.repository.repository import Repository
from shared.settings import ShareSettings
from shared.storage.vault import SHARE_CONTAINER, Vault


def open_for_backup(vault: Vault, catalog: Catalog, *, new_repository: bool) -> tuple[Repository, History]:
    """The repository, made where there is none, and at the same time what earlier points say of the share, and earlier
    verifications of packs: what damaged ones hold is stored anew.

    Missing containers are made where the rights allow. Errors as ``open_or_initialise``.
    """
    with ThreadPoolExecutor(1, "history") as pool:
        reading = pool.submit(lambda: (read_history(catalog.earlier()), damaged_packs(vault.records)))
        try:
            repository = _repository(vault, new_repository)
            history, repository.distrusted = reading.result()
            return repository, history
        except ContainerMissing:
            vault.ensure_there(create=True)
            return _repository(vault, new_repository), History()


def open_share(vault: Vault, share: ShareSettings) -> SourceOpener:
    """``SettingsError`` for a URL that is none, a password that is nowhere, or a path that is none: before anything is
    written. Where somebody else reads the share, no password is needed."""
    if share.adopted:
        adopt_parts(share)
    password = share.password or ""
    if share.folder is None and not password and not share.adopted:
        password = vault.secret("share-password", setting="LIFEBOAT_SHARE_PASSWORD")
    opener = SourceOpener(share, password)
    if share.folder is None:
        opener.describe()
    return opener


def _repository(vault: Vault, new_repository: bool) -> Repository:
    if new_repository:
        _refuse_two_repositories(vault)
    passwords = choose_passwords(vault.settings.repository_password, vault.secrets)
    return open_or_initialise(vault.share, vault.records, passwords, new_repository=new_repository)


def _refuse_two_repositories(vault: Vault) -> None:
    """``RepositoryMissing`` where the one that was there before could still come back: 'undelete' would lay its config
    over that of the new one, and nobody could read either."""
    versions = vault.versions(SHARE_CONTAINER).list_versions("config")
    if any(version.name == "config" and not version.current for version in versions):
        raise RepositoryMissing(
            "the vault still has the repository that was there before, as previous versions: a new one would be mixed "
            "with it",
            remedy="Run 'undelete' to bring it back. To begin anew without it, set LIFEBOAT_VAULT_URL to another "
            "storage account, or delete those versions for good first.",
            blob="config",
        )
