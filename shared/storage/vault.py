"""The vault: the storage account that keeps backups, and the Key Vault beside it."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING

from shared.errors import ContainerMissing, SettingsError, StorageForbidden
from shared.settings import VaultSettings
from shared.storage.azure_blobs import AzureBlobStore
from shared.storage.blob_store import BlobStore
from shared.storage.copying import COPY_LIMIT_SECONDS, CopySource, copy_blob
from shared.storage.counting import CountingVersions, Traffic
from shared.storage.credentials import open_credential
from shared.storage.key_vault import KeyVaultSecrets, SecretStore
from shared.storage.retrying import RetryingStore, RetryingVersions
from shared.storage.versions import VersionedStore

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

SHARE_CONTAINER = "share"
RECORDS_CONTAINER = "recovery-points"
DATABASES_CONTAINER = "databases"
FIRST_ANSWER_SECONDS = 20.0
"""How long the first call is repeated: who has mistyped an address learns it soon."""

_OLDER_VAULT = (
    f"make the container '{DATABASES_CONTAINER}' in the vault, as a new deployment does, or let 'backup' do it once "
    "with the right Microsoft.Storage/storageAccounts/blobServices/containers/write"
)


@dataclass(slots=True)
class Container:
    """One container of the vault; ``store`` retries and counts."""

    service: AzureBlobStore
    counting: CountingVersions
    store: RetryingVersions


@dataclass
class Vault:
    """Opened from settings; nothing is sent until it is used. Whoever opened it closes it; ``with`` does."""

    settings: VaultSettings
    _containers: dict[str, Container] = field(default_factory=dict)
    _copies: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Vault:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for container in self._containers.values():
            container.service.close()

    @property
    def share(self) -> BlobStore:
        """The repository's container."""
        return self._container(SHARE_CONTAINER).store

    @property
    def records(self) -> BlobStore:
        """The container of recovery points."""
        return self._container(RECORDS_CONTAINER).store

    @property
    def databases(self) -> BlobStore:
        """The container of database backups. ``ContainerMissing`` at its first use in a vault that is older than
        they are and could not be given one."""
        return self._container(DATABASES_CONTAINER).store

    @cached_property
    def secrets(self) -> SecretStore | None:
        """The Key Vault, None where none is configured."""
        if not self.settings.key_vault_url:
            return None
        return KeyVaultSecrets.open(self.settings.key_vault_url, self._credential)

    def secret(self, name: str, *, setting: str) -> str:
        """The value of a secret for which ``setting`` is not set. ``SettingsError`` where it is not to be had."""
        found = self.secrets.get(name) if self.secrets else None
        if found is None:
            where = f"the Key Vault holds no secret '{name}'" if self.secrets else "there is no Key Vault either"
            raise SettingsError(
                f"{setting} is not set, and {where}",
                remedy=f"Set {setting}, or LIFEBOAT_KEY_VAULT_URL with a secret '{name}' in it.",
                setting=setting,
            )
        return found.value

    def ensure_there(self, *, create: bool) -> None:
        """Make sure that the containers are there. ``ContainerMissing``, or, with ``create``, they are made.

        Of ``databases`` nothing is asked: a vault from before has none, and the share is backed up and restored
        without it. With ``create`` it is made where the rights allow; else whoever uses it gets ``ContainerMissing``.
        """
        for name in (SHARE_CONTAINER, RECORDS_CONTAINER):
            container = self._container(name)
            if create:
                container.store.repeat(container.service.create_container_if_missing)
            elif not container.store.repeat(container.service.container_exists):
                raise ContainerMissing(
                    f"the vault {self.settings.url} has no container '{name}'",
                    remedy="Check LIFEBOAT_VAULT_URL; the first 'backup' makes the containers where its rights allow.",
                    setting="LIFEBOAT_VAULT_URL",
                )
        if create:
            databases = self._container(DATABASES_CONTAINER)
            with contextlib.suppress(StorageForbidden):
                databases.store.repeat(databases.service.create_container_if_missing)

    def copy_in(
        self,
        name: str,
        source_url: str,
        *,
        size_bytes: int,
        into: str = DATABASES_CONTAINER,
        limit_seconds: float | None = None,
    ) -> bool:
        """Copy the blob at ``source_url``, which carries its SAS, into the container ``into``, never over another.

        What it promises and raises is what ``copying.copy_blob`` does. Repeated for up to ``limit_seconds``, by default
        ``COPY_LIMIT_SECONDS``.
        """
        container = self._container(into)
        with self._lock:
            self._copies += 1
        retrying = RetryingStore(container.counting, limit_seconds=limit_seconds or COPY_LIMIT_SECONDS)
        return copy_blob(container.service, retrying, name, CopySource(source_url), size_bytes=size_bytes)

    def copy_source(self, name: str) -> CopySource:
        """How another account's service reads a blob of ``databases``. See ``AzureBlobStore.source``."""
        container = self._container(DATABASES_CONTAINER)
        return container.store.repeat(lambda: container.service.source(name))

    def versions(self, container: str) -> VersionedStore:
        """One of the containers with what it was."""
        return self._container(container).store

    def traffic(self) -> Traffic:
        """What was asked of the containers so far; ``copy`` counts calls of ``copy_in``."""
        total = Traffic()
        if self._copies:
            total.requests["copy"] = self._copies
        for container in self._containers.values():
            total.requests.update(container.counting.traffic.requests)
            total.bytes_put += container.counting.traffic.bytes_put
            total.bytes_got += container.counting.traffic.bytes_got
        return total

    @cached_property
    def _credential(self) -> TokenCredential:
        return open_credential()

    def _container(self, name: str) -> Container:
        if name not in self._containers:
            settings = self.settings
            service = AzureBlobStore.open(
                settings.url,
                name,
                account_key=settings.key,
                credential=None if settings.key else self._credential,
                api_version=settings.api_version,
                when_missing=_OLDER_VAULT if name == DATABASES_CONTAINER else None,
            )
            counting = CountingVersions(service)
            store = RetryingVersions(counting, first_limit_seconds=FIRST_ANSWER_SECONDS)
            self._containers[name] = Container(service, counting, store)
        return self._containers[name]
