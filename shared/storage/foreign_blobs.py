"""Blobs of an account that is not ours, which somebody else has written and we may read by a SAS."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from shared.errors import BlobNotFound, SettingsError, StorageError
from shared.storage.azure_endpoint import transport
from shared.storage.azure_errors import Where

if TYPE_CHECKING:
    from azure.storage.blob import BlobClient

PIECE_BYTES = 4 << 20
_BLOB_SERVICES = (
    "blob.core.windows.net",
    "blob.storage.azure.net",
    "blob.core.usgovcloudapi.net",
    "blob.core.chinacloudapi.cn",
)
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_SETTING = "LIFEBOAT_SQL_ADOPT_SAS"


@dataclass(frozen=True, slots=True)
class ForeignBlob:
    size_bytes: int
    etag: str
    """Another one: it was written again."""
    is_block: bool
    """One that a service copies by one request; page blobs are what SQL Server wrote with an account key."""


class ForeignBlobs:
    """Used by one thread at a time; a context manager. Nothing is sent until it is asked.

    Errors: those of ``BlobStore``, which name ``LIFEBOAT_SQL_ADOPT_SAS``. No text of them holds the SAS.
    """

    def __init__(self, sas: str, *, api_version: str, near: Iterable[str] = ()) -> None:
        """``sas``: alone, which goes to Azure's storage accounts and to those in the domains of ``near``, endpoints of
        ours; or with its container's address before it, to which alone it goes then."""
        address, has_address, token = sas.strip().rpartition("?")
        self._sas = token
        self._only = _plain(address) if has_address and address else None
        self._services = (*_BLOB_SERVICES, *(_service(each) for each in near))
        self._api_version = api_version
        self._clients: dict[str, BlobClient] = {}

    def __enter__(self) -> ForeignBlobs:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def look(self, url: str) -> ForeignBlob | None:
        """What is there now; None where nothing is. ``SettingsError``: no URL that a SAS may be sent to."""
        where, name = self._where(url)
        try:
            with where.errors("get", name):
                facts = self._client(url).get_blob_properties()
        except BlobNotFound:
            return None
        return ForeignBlob(int(facts.size), str(facts.etag), facts.blob_type == "BlockBlob")

    def read(self, url: str, blob: ForeignBlob, size_bytes: int | None = None) -> Iterator[bytes]:
        """Its bytes, or the first ``size_bytes``, while it is what ``look`` has found. ``StorageError``: it is no
        more."""
        where, name = self._where(url)
        end = blob.size_bytes if size_bytes is None else min(size_bytes, blob.size_bytes)
        for offset in range(0, end, PIECE_BYTES):
            with where.errors("get", name):
                yield self._piece(url, blob, offset, min(PIECE_BYTES, end - offset))

    def source(self, url: str) -> str:
        """The URL with the SAS, from which a service copies. A secret. ``SettingsError`` as of ``look``."""
        self._where(url)
        return f"{url}?{self._sas}"

    def _piece(self, url: str, blob: ForeignBlob, offset: int, length: int) -> bytes:
        from azure.core import MatchConditions

        download = self._client(url).download_blob(
            offset, length, etag=blob.etag, match_condition=MatchConditions.IfNotModified
        )
        piece = bytes(download.readall())
        if len(piece) != length:
            raise StorageError(f"{urlsplit(url).path} became shorter while it was read", remedy="Run it again.")
        return piece

    def _client(self, url: str) -> BlobClient:
        if url not in self._clients:
            from azure.core.credentials import AzureSasCredential
            from azure.storage.blob import BlobClient, ExponentialRetry

            self.close()  # one after the other: each has sockets of its own
            self._clients[url] = BlobClient.from_blob_url(
                url,
                credential=AzureSasCredential(self._sas),
                api_version=self._api_version,
                transport=transport(url),
                retry_policy=ExponentialRetry(initial_backoff=1, increment_base=2, retry_total=4),
                max_single_get_size=PIECE_BYTES,
            )
        return self._clients[url]

    def _where(self, url: str) -> tuple[Where, str]:
        """For errors; and the blob's name."""
        account, container, name = parts_of(url)
        self._require_sent_to(url, account, container)
        return Where(account, container, _SETTING, _SETTING, with_key=True), name

    def _require_sent_to(self, url: str, account: str, container: str) -> None:
        """The addresses are msdb's: who may write there would else be sent a SAS that is good for the plan's own."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        if self._only is not None:
            may = _plain(f"{account}/{container}") == self._only
        else:
            may = host in _LOOPBACK or (
                parts.port in (None, 443) and host.endswith(tuple(f".{s}" for s in self._services))
            )
        if not may:
            raise SettingsError(
                f"the SAS of {_SETTING} is not sent to {account}/{container}: "
                + ("it is for another container" if self._only else "that is no storage account that we know"),
                remedy=f"If the plan's container is there, set {_SETTING} to its address with the SAS, "
                "https://ACCOUNT/CONTAINER?SAS. If not, find out who backs up to it.",
                setting=_SETTING,
            )


def _plain(address: str) -> str:
    """To be compared: hosts have no case, and containers' names only small letters."""
    return address.rstrip("/").casefold()


def _service(endpoint: str) -> str:
    """The domain of an account's endpoint, without the account; none of a custom domain or an address in numbers, since
    others than storage accounts may be beside it."""
    domain = (urlsplit(endpoint).hostname or "").partition(".")[2]
    return domain if domain.startswith("blob.") else "."


def parts_of(url: str) -> tuple[str, str, str]:
    """Account, container and name. ``SettingsError`` for what is no plain URL of a blob, or would send a SAS in the
    clear to another machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    why = None
    if parts.scheme not in ("http", "https") or not host:
        why = "it is no http or https address"
    elif parts.scheme == "http" and host not in _LOOPBACK:
        why = "over plain http a SAS is readable by everybody on the way"
    elif parts.query or parts.username or parts.fragment:
        why = "it has more than an address in it"
    elif {".", ".."} & set(unquote(parts.path).split("/")):
        why = "it has dots for a folder"
    folders = [each for each in parts.path.split("/") if each]
    depth = 2 if host in _LOOPBACK else 1
    if why is None and len(folders) <= depth:
        why = "it names no blob"
    if why:
        raise SettingsError(
            f"{parts.scheme}://{host}{parts.path} cannot be read: {why}",
            remedy="Let the plan back up to https URLs of a storage account.",
            setting="LIFEBOAT_SQL_MODE",
        )
    account = f"{parts.scheme}://{parts.netloc}" + ("/" + folders[0] if depth == 2 else "")
    return account, folders[depth - 1], unquote("/".join(folders[depth:]))
