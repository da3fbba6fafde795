"""The vault of the demo: an account of Azurite with versions and dates before it, as each identity sees it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.storage.azure_blobs import AzureBlobStore
from tests.integration.keeping.attacker import CONTAINERS, delete_everything
from tests.standins.azurite import API_VERSION, KEY, Azurite
from tests.standins.rights_proxy import KEEPER, OWNER, RightsProxy, running_rights_proxy
from tests.standins.worm import Worm
from tests.standins.worm_http import WormService


@dataclass(frozen=True)
class Attacked:
    """What somebody with every right has done."""

    gone: int
    """Blobs that were there, and are not."""
    for_good: tuple[str, ...]
    """Of them, as ``container/name``, those of which no version is left."""
    left: int
    """Blobs that are still there."""


@dataclass(frozen=True)
class DemoVault:
    """One account, and three who come to it."""

    azurite: Azurite
    account: str
    backup: RightsProxy
    keeper: RightsProxy
    owner: RightsProxy

    def store(self, container: str) -> AzureBlobStore:
        """Beside the stand-in: as who reads Azurite's own files."""
        return _open(self.azurite.url(self.account), container)

    def delete_everything(self) -> Attacked:
        """All blobs, and all their versions, that no date keeps: as the owner of the account."""
        with contextlib.ExitStack() as opened:
            stores = {name: opened.enter_context(_open(self.owner.url(self.account), name)) for name in CONTAINERS}
            before = {f"{name}/{blob.name}" for name, store in stores.items() for blob in store.list("")}
            delete_everything(dict(stores))
            after = {f"{name}/{blob.name}" for name, store in stores.items() for blob in store.list("")}
            versions = {f"{name}/{each.name}" for name, store in stores.items() for each in store.list_versions("")}
        return Attacked(len(before - after), tuple(sorted(before - versions)), len(after))


@contextlib.contextmanager
def running_vault(azurite: Azurite) -> Iterator[DemoVault]:
    """A new account with its containers, until the block ends.

    Azure's pages say two things of a delete under a date: that it is refused, and that it leaves a previous version
    that nobody can delete. The second is taken: it is the worse one for whoever has to bring the vault back.
    """
    account = azurite.new_account()
    for name in CONTAINERS:
        with _open(azurite.url(account), name) as store:
            store.create_container_if_missing()
    worm = WormService(azurite, Worm(delete_under_policy="previous version"), _now)
    with (
        running_rights_proxy(azurite, worm=worm) as backup,
        running_rights_proxy(azurite, rights=KEEPER, worm=worm) as keeper,
        running_rights_proxy(azurite, rights=OWNER, worm=worm) as owner,
    ):
        yield DemoVault(azurite, account, backup, keeper, owner)


def _now() -> datetime:
    return datetime.now(UTC)


def _open(url: str, container: str) -> AzureBlobStore:
    return AzureBlobStore.open(url, container, account_key=KEY, credential=None, api_version=API_VERSION)
