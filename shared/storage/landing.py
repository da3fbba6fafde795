"""The landing account: where SQL Server itself writes its backups, and reads those that it is to restore.

Each run has a container of its own here and removes it. What is kept lies in the vault.
"""

from __future__ import annotations

import base64
import itertools
import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial

from shared.errors import BlobNotFound, Damaged, SettingsError, StorageError
from shared.settings import LandingSettings
from shared.storage.azure_blobs import AzureBlobAccount, AzureBlobStore
from shared.storage.azure_endpoint import account_name, blob_url
from shared.storage.blob_store import BlobInfo
from shared.storage.copying import COPY_LIMIT_SECONDS, CopySource, copy_blob
from shared.storage.credentials import open_credential
from shared.storage.retrying import RetryingStore
from shared.storage.sas import DelegationKey, Sas, Signer

CONTAINER_PREFIX = "lifeboat-"
"""What the name of every container of ours begins with; no other is ever looked at."""

PIECE_BYTES = 4 << 20
"""What is read, or written, by one request."""

MOST_BLOCKS = 50_000
"""What one block blob may consist of."""

FIRST_ANSWER_SECONDS = 20.0
"""How long the first call is repeated: who has mistyped an address learns it soon."""

LONGEST_DELEGATION = timedelta(days=7)
READ_SAS_LIFETIME = timedelta(hours=1)
"""How long the source of a copy may be read; it is looked at when the copy begins."""
_CLOCK_SKEW = timedelta(minutes=15)
"""How far our clock may be ahead of the service's."""

_SQL_SERVER_PERMISSIONS = "rwdl"
"""What Microsoft's own script for BACKUP TO URL grants: read, write (blocks, leases), delete, list."""


class Landing:
    """Opened from settings; nothing is sent until it is used. Whoever opened it closes it; ``with`` does.

    Safe for several threads. Errors as of ``BlobStore``, naming ``LIFEBOAT_LANDING_URL`` and ``LIFEBOAT_LANDING_KEY``.
    """

    def __init__(self, settings: LandingSettings) -> None:
        """``SettingsError``: the URL or key cannot be one, or no key is there and the URL is plain http."""
        self._settings = settings
        self._account = self._open(settings.key)
        self._patient = RetryingStore(
            self._account.container(CONTAINER_PREFIX), first_limit_seconds=FIRST_ANSWER_SECONDS
        )
        self._delegation: tuple[DelegationKey, datetime] | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Landing:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the sockets; neither this nor its containers can be used afterwards."""
        self._account.close()
        if self._settings.key and "_delegating" in self.__dict__:
            self._delegating.close()

    def make_container(self, name: str) -> LandingContainer:
        """Create a container; ``name`` begins with ``CONTAINER_PREFIX`` and is one that nobody has used before.

        ``StorageForbidden`` names the right where it is missing. ``StorageError``: the name is taken.
        """
        _check_ours(name)
        service = self._service(name)
        tries = itertools.count()
        # A name that is taken at the first try is another's; at a later one it is ours, whose reply was lost.
        if not self._patient.repeat(lambda: (next(tries) > 0) | service.create_container()):
            raise StorageError(
                f"container {name} exists already in {self._settings.url}",
                remedy="each run makes a container of its own: run again",
                blob=name,
            )
        return self.container(name)

    def container(self, name: str) -> LandingContainer:
        """A container that is there already, such as that of a run which is gone on with; nothing is sent."""
        return LandingContainer(self, name, self._service(name))

    def stale_containers(self, older_than: timedelta) -> list[str]:
        """The containers of runs, by their names, that were made that long ago or longer by the service's clock.

        A container keeps the time when it was made, whatever is written into it: ``older_than`` must be longer than
        any run, or that of a run which is still at work is among them.
        """
        found = self._patient.repeat(lambda: self._account.containers(CONTAINER_PREFIX))
        return [name for name, age in found if name.startswith(CONTAINER_PREFIX) and age >= older_than]

    def delete_container(self, name: str) -> None:
        """Remove a container of ours with all that is in it, leased or not; one that is gone is removed already.

        ``ValueError``: the name is none of ours.
        """
        _check_ours(name)
        self._patient.repeat(self._service(name).delete_container)

    def signer(self, lifetime: timedelta) -> tuple[Signer, datetime]:
        """What signs for ``lifetime`` from now, and when that ends. ``SettingsError``: longer than it can."""
        settings = self._settings
        expires = datetime.now(UTC) + lifetime
        key: str | DelegationKey
        if settings.sas == "account-key" and settings.key:
            key = settings.key
        else:
            if lifetime > LONGEST_DELEGATION:
                raise SettingsError(
                    f"a user delegation SAS lasts at most 7 days, and {lifetime} are needed",
                    remedy="Set LIFEBOAT_SQL_STATEMENT_LIMIT lower, or LIFEBOAT_SQL_SAS to 'account-key'.",
                    setting="LIFEBOAT_SQL_SAS",
                )
            key = self._delegation_key(expires)
        https = settings.url.startswith("https:")
        return Signer(account_name(settings.url), key, settings.api_version, https_only=https), expires

    @property
    def url(self) -> str:
        return self._settings.url

    def _service(self, name: str) -> AzureBlobStore:
        gone = "the container of this run is gone: somebody removed it; run again"
        return self._account.container(name, when_missing=gone)

    def _delegation_key(self, until: datetime) -> DelegationKey:
        """A key that lasts until then; kept, since each stripe of a backup is signed for."""
        with self._lock:
            if self._delegation is None or self._delegation[1] < until:
                now = datetime.now(UTC)
                expires = max(until, min(until + READ_SAS_LIFETIME, now + LONGEST_DELEGATION - _CLOCK_SKEW))
                key = self._patient.repeat(lambda: self._delegating.delegation_key(now - _CLOCK_SKEW, expires))
                self._delegation = key, expires
            return self._delegation[0]

    @cached_property
    def _delegating(self) -> AzureBlobAccount:
        """The account as our identity sees it, who alone gets delegation keys."""
        return self._open(None) if self._settings.key else self._account

    def _open(self, key: str | None) -> AzureBlobAccount:
        return AzureBlobAccount.open(
            self._settings.url,
            account_key=key,
            credential=None if key else open_credential(),
            api_version=self._settings.api_version,
            url_setting="LIFEBOAT_LANDING_URL",
            key_setting="LIFEBOAT_LANDING_KEY",
        )


class LandingContainer:
    """The container of one run. Every call is repeated while the service asks for patience."""

    def __init__(self, landing: Landing, name: str, service: AzureBlobStore) -> None:
        self.name = name
        self.url = f"{landing.url}/{name}"
        """Without trailing slash: the name of SQL Server's credential."""
        self._landing = landing
        self._service = service
        self._store = RetryingStore(service, first_limit_seconds=FIRST_ANSWER_SECONDS)

    def blob_url(self, name: str) -> str:
        """What SQL Server is told to write to or read from; no signature is in it."""
        return blob_url(self._landing.url, self.name, name)

    def sas(self, *, lifetime: timedelta) -> Sas:
        """What SQL Server is given: reads, writes, leases, deletes and lists in this one container until ``expires``.

        It has no start time, and where the account is reached by https it is good for that only. A user delegation SAS
        of more than 7 days is a ``SettingsError``.
        """
        signer, expires = self._landing.signer(lifetime)
        return signer.container(self.name, _SQL_SERVER_PERMISSIONS, expires)

    def read_sas(self, name: str) -> str:
        """The blob's URL with a SAS that reads it for ``READ_SAS_LIFETIME``: the source of a copy. A secret."""
        signer, expires = self._landing.signer(READ_SAS_LIFETIME)
        return f"{self.blob_url(name)}?{signer.blob(self.name, name, 'r', expires).token}"

    def stat(self, name: str) -> BlobInfo | None:
        """See ``BlobStore.stat``."""
        return self._store.stat(name)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See ``BlobStore.list``."""
        return self._store.list(prefix)

    def delete(self, name: str) -> None:
        """Remove the blob, also one on which a failed backup left its lease; one that is not there is removed."""
        self._store.repeat(lambda: self._service.delete_leased(name))

    def read(self, name: str, offset: int = 0) -> Iterator[bytes]:
        """The bytes from ``offset`` to the end, in pieces of ``PIECE_BYTES``, each read by a request of its own.

        ``BlobNotFound``. ``StorageError``: the blob became shorter meanwhile.
        """
        there = self.stat(name)
        if there is None:
            raise BlobNotFound(f"{self.name}/{name} does not exist", blob=name)
        while offset < there.size_bytes:
            piece = self._store.get(name, offset, min(PIECE_BYTES, there.size_bytes - offset))
            if not piece:
                raise StorageError(
                    f"{self.name}/{name} became shorter while it was read",
                    remedy="somebody else writes here: run again",
                    blob=name,
                )
            yield piece
            offset += len(piece)

    def write(self, name: str, pieces: Iterable[bytes], size_bytes: int) -> None:
        """Make the blob of ``pieces``, of any length each, where ``copy_in`` was refused: whole or not at all.

        Memory is flat. It replaces a blob of this name. ``StorageError``: more than ``MOST_BLOCKS`` of ``PIECE_BYTES``.
        ``Damaged``: the pieces are not ``size_bytes`` together; then there is no blob.
        """
        if size_bytes > MOST_BLOCKS * PIECE_BYTES:
            raise StorageError(f"{self.name}/{name} would be larger than a blob may be", blob=name)
        blocks: list[str] = []
        written = 0
        for body in _regular(pieces):
            written += len(body)
            if written > size_bytes:
                break
            block = base64.b64encode(b"%08d" % len(blocks)).decode()
            self._store.repeat(partial(self._service.stage, name, block, body))
            blocks.append(block)
        if written != size_bytes:
            raise Damaged(
                f"what was to become {self.name}/{name} has {'more' if written > size_bytes else 'less'} than the "
                f"{size_bytes:,} bytes that it should have",
                remedy="nothing was written; its source is damaged or changed meanwhile",
                blob=name,
            )
        self._store.repeat(lambda: self._service.commit(name, blocks))

    def copy_in(self, name: str, source: CopySource, size_bytes: int) -> None:
        """Copy a blob of the vault here. What it promises and raises is what ``copying.copy_blob`` does."""
        retrying = RetryingStore(self._service, limit_seconds=COPY_LIMIT_SECONDS)
        copy_blob(self._service, retrying, name, source, size_bytes=size_bytes)


def _check_ours(name: str) -> None:
    if not name.startswith(CONTAINER_PREFIX):
        raise ValueError(f"{name} is no container of Lifeboat's")


def _regular(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of ``PIECE_BYTES``, the last one shorter."""
    kept = bytearray()
    for piece in pieces:
        kept += piece
        while len(kept) >= PIECE_BYTES:
            yield bytes(kept[:PIECE_BYTES])
            del kept[:PIECE_BYTES]
    if kept:
        yield bytes(kept)
