"""The gateway to azure-storage-blob: one container behind ``BlobStore``.

The library's own retry is off, so that one call is one request and ``retrying.RetryingStore`` alone decides what is
tried again. The library is imported where it is first used: its import takes a quarter of a second, and most commands
should fail or answer before that.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, NoReturn, cast
from urllib.parse import urlsplit

from shared.errors import (
    BlobExists,
    BlobNotFound,
    ContainerMissing,
    SettingsError,
    StorageError,
    StorageForbidden,
    StorageUnavailable,
)
from shared.storage.blob_store import BlobInfo

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.core.exceptions import AzureError, HttpResponseError
    from azure.core.pipeline.transport import RequestsTransport
    from azure.storage.blob import ContainerClient

LARGEST_PUT_BYTES = 5000 << 20
"""What one Put Blob may carry."""

CONNECT_TIMEOUT_SECONDS = 10
READ_TIMEOUT_SECONDS = 60
"""How long the service may stay silent between two packets; a long body that keeps moving is no matter."""

SOCKETS = 32
"""Connections kept open for reuse; more threads than that work too and open a connection for each further call."""

READ_BLOCK_BYTES = 4 << 20
"""How much of a body is taken from a socket at once."""

_RIGHTS = {
    "put": "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/add/action",
    "get": "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read",
    "list": "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read",
    "delete": "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/delete",
    "create": "Microsoft.Storage/storageAccounts/blobServices/containers/write",
}

_NOT_KNOWN = {"AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation"}
"""Codes for a caller whose key or token is not accepted."""

_NOT_ALLOWED_HERE = {"AuthorizationFailure", "PublicAccessNotPermitted"}
"""Codes for a caller refused by the account's rules for networks; Azurite also says so of a wrong key."""


class AzureBlobStore:
    """A container of a storage account: Azure, Azure Stack Hub (keys only) or Azurite.

    Safe for use from several threads. Whoever opened it closes it; ``with`` does.
    """

    def __init__(
        self, client: ContainerClient, url: str, *, url_setting: str, key_setting: str, with_key: bool
    ) -> None:
        self._client = client
        self._where = _Where(url, client.container_name, url_setting, key_setting, with_key)

    @classmethod
    def open(
        cls,
        url: str,
        container: str,
        *,
        account_key: str | None,
        credential: TokenCredential | None,
        api_version: str,
        url_setting: str = "LIFEBOAT_VAULT_URL",
        key_setting: str = "LIFEBOAT_VAULT_KEY",
    ) -> AzureBlobStore:
        """Make the client; nothing is sent yet, so a wrong host or key shows at the first call.

        ``url`` is the account's blob endpoint, with the account as its path for emulators. ``account_key`` wins over
        ``credential``. The two setting names appear in errors. ``SettingsError``: the URL or key cannot be one, Entra
        ID over plain http, or an API version that the library does not know.
        """
        _check_endpoint(url, url_setting, entra_id=account_key is None)
        if account_key is None and credential is None:
            raise SettingsError(
                f"neither {key_setting} nor a credential for {url} is there",
                remedy=f"set {key_setting}, or sign in to Entra ID",
                setting=key_setting,
            )
        if account_key is not None:
            _check_key(account_key, key_setting)

        from azure.core.credentials import AzureNamedKeyCredential
        from azure.storage.blob import ContainerClient

        key = AzureNamedKeyCredential(account_name(url), account_key) if account_key else None
        try:
            client = ContainerClient(
                url.rstrip("/"),
                container,
                credential=key or credential,
                api_version=api_version,
                transport=_transport(url),
                retry_total=0,
                max_single_put_size=LARGEST_PUT_BYTES,
                max_single_get_size=LARGEST_PUT_BYTES,
            )
        except ValueError as error:
            raise SettingsError(
                f"the storage client cannot be made for {url}: {str(error).splitlines()[0]}",
                remedy=f"check {url_setting} and LIFEBOAT_STORAGE_API_VERSION ({api_version})",
                setting="LIFEBOAT_STORAGE_API_VERSION" if "version" in str(error) else url_setting,
            ) from error
        return cls(client, url, url_setting=url_setting, key_setting=key_setting, with_key=key is not None)

    def __enter__(self) -> AzureBlobStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the sockets; the store cannot be used afterwards."""
        self._client.close()

    def create_container_if_missing(self) -> bool:
        """True: made by this call; False: it was there. ``StorageForbidden`` names the right where it is missing.

        Who may not make containers is told so even of one that exists; hence the look first.
        """
        if self.container_exists():
            return False
        with self._where.errors("create"):
            from azure.core.exceptions import ResourceExistsError

            try:
                self._client.create_container()
            except ResourceExistsError as error:
                if _code(error) == "ContainerAlreadyExists":
                    return False
                raise
            return True

    def container_exists(self) -> bool:
        """Whether the container is there; one request, which the right ``blobs/read`` allows."""
        try:
            next(iter(self.list("\x7f")), None)
        except ContainerMissing:
            return False
        return True

    def put(self, name: str, body: bytes) -> bool:
        """See ``BlobStore.put``: one Put Blob with If-None-Match: *."""
        try:
            with self._where.errors("put", name):
                self._client.get_blob_client(name).upload_blob(body, length=len(body), overwrite=False)
                return True
        except (BlobExists, StorageForbidden) as refusal:
            return self._compare(name, body, refusal)

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See ``BlobStore.get``: one GET, for an empty blob two."""
        if length == 0:
            if self.stat(name) is None:
                self._where.missing(name)
            return b""
        with self._where.errors("get", name):
            from azure.core.exceptions import HttpResponseError

            whole = offset == 0 and length is None
            try:
                blob = self._client.get_blob_client(name)
                body = _Pieces()
                blob.download_blob(None if whole else offset, length).readinto(cast("IO[bytes]", body))
                return body.joined()
            except HttpResponseError as error:
                if error.status_code == 416:
                    return b""
                raise

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See ``BlobStore.list``: one request for each 5,000 blobs."""
        with self._where.errors("list"):
            for blob in self._client.list_blobs(name_starts_with=prefix or None):
                yield BlobInfo(blob.name, blob.size, _utc(blob.last_modified))

    def stat(self, name: str) -> BlobInfo | None:
        """See ``BlobStore.stat``: one HEAD."""
        try:
            with self._where.errors("get", name):
                facts = self._client.get_blob_client(name).get_blob_properties()
        except BlobNotFound:
            return None
        return BlobInfo(name, facts.size, _utc(facts.last_modified))

    def delete(self, name: str) -> None:
        """See ``BlobStore.delete``."""
        try:
            with self._where.errors("delete", name):
                self._client.get_blob_client(name).delete_blob()
        except BlobNotFound:
            return

    def _compare(self, name: str, body: bytes, refusal: StorageError) -> bool:
        """Tell a name that is taken from a right that is missing, and a lost reply from another's bytes."""
        try:
            there = self.stat(name)
            same = there is not None and there.size_bytes == len(body) and self.get(name) == body
        except (StorageForbidden, BlobNotFound):
            raise refusal from None
        if same:
            return False
        if there is not None:
            raise BlobExists(
                f"{self._where.of(name)} exists with other bytes",
                remedy="nothing was overwritten; find out who else writes under this name",
                blob=name,
            ) from refusal
        if isinstance(refusal, StorageForbidden):
            raise refusal
        raise StorageUnavailable(f"{self._where.of(name)} existed and went away meanwhile", blob=name) from refusal


class _Pieces:
    """Takes a body as the library hands it over, usually in one piece, which then need not be copied."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: bytes) -> int:
        self._pieces.append(piece)
        return len(piece)

    def joined(self) -> bytes:
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)


class _Where:
    """Turns the library's errors into ours, with the words for one container."""

    def __init__(self, url: str, container: str, url_setting: str, key_setting: str, with_key: bool) -> None:
        self.url, self.container = url, container
        self.url_setting, self.key_setting, self.with_key = url_setting, key_setting, with_key

    def of(self, name: str | None) -> str:
        return f"{self.container}/{name}" if name else f"container {self.container}"

    def missing(self, name: str, cause: Exception | None = None) -> NoReturn:
        raise BlobNotFound(f"{self.of(name)} does not exist", blob=name) from cause

    @contextmanager
    def errors(self, action: str, name: str | None = None) -> Iterator[None]:
        from azure.core.exceptions import AzureError, HttpResponseError

        try:
            yield
        except HttpResponseError as error:
            if error.response is not None and error.status_code is not None and error.status_code >= 300:
                self._answered(error, error.status_code, action, name)
            self._no_answer(error, action, name)
        except AzureError as error:
            self._no_answer(error, action, name)

    def _no_answer(self, error: AzureError, action: str, name: str | None) -> NoReturn:
        from azure.core.exceptions import ClientAuthenticationError

        cause = _one_line(error)
        if isinstance(error, ClientAuthenticationError):
            raise StorageForbidden(
                f"no Entra ID token for {self.url} could be had: {cause}",
                remedy=f"sign in (az login), give the app an identity, or set {self.key_setting}",
                setting=self.key_setting,
                blob=name,
            ) from error
        raise StorageUnavailable(
            f"{self.url} did not answer ({action} {self.of(name)}): {cause}",
            remedy=f"check {self.url_setting}, the name resolution, TLS and the way out of this network",
            setting=self.url_setting,
            blob=name,
        ) from error

    def _answered(self, error: HttpResponseError, status: int, action: str, name: str | None) -> NoReturn:
        code = _code(error) or str(status)
        if code in ("ContainerNotFound", "ContainerDisabled"):
            raise ContainerMissing(
                f"there is no container {self.container} in {self.url}",
                remedy=f"check {self.url_setting}; `lifeboat.py backup` makes missing containers where it may",
                setting=self.url_setting,
            ) from error
        if status in (408, 429) or status >= 500 or code == "ContainerBeingDeleted":
            raise StorageUnavailable(
                f"{self.url} answered {status} {code} ({action} {self.of(name)})",
                remedy="the service is busy or failing: try again later",
                retry_after_seconds=_retry_after(error),
                blob=name,
            ) from error
        if status == 404 and name is not None and code in ("BlobNotFound", "404"):
            self.missing(name, error)
        if status in (401, 403) or code in _NOT_KNOWN:
            self._forbidden(error, code, action, name)
        if code == "BlobImmutableDueToPolicy":
            raise StorageForbidden(
                f"{self.of(name)} is protected: an immutability policy forbids to {action} it",
                remedy="wait until its date has passed",
                blob=name,
            ) from error
        if action == "put" and status in (409, 412):
            raise BlobExists(f"{self.of(name)} exists already", blob=name) from error
        raise StorageError(
            f"{self.url} answered {status} {code} ({action} {self.of(name)}): {_one_line(error)}",
            remedy=f"check that {self.url_setting} is the blob endpoint of a storage account",
            setting=self.url_setting,
            blob=name,
        ) from error

    def _forbidden(self, error: HttpResponseError, code: str, action: str, name: str | None) -> NoReturn:
        what = f"{self.url} refused to {action} {self.of(name)} ({code})"
        setting = None
        if code == "KeyBasedAuthenticationNotPermitted":
            setting = self.key_setting
            remedy = f"the account takes no keys: remove {self.key_setting} and use Entra ID"
        elif self.with_key and code in _NOT_KNOWN | _NOT_ALLOWED_HERE:
            setting = self.key_setting
            remedy = f"check {self.key_setting}, this machine's clock, and the account's firewall"
        elif code in _NOT_KNOWN:
            remedy = "check the identity, its tenant, and this machine's clock"
        elif code in _NOT_ALLOWED_HERE:
            remedy = f"the account's firewall may refuse this network; else the identity needs {_RIGHTS[action]}"
        else:
            remedy = f"give the identity the right {_RIGHTS[action]} on container {self.container}"
        raise StorageForbidden(what, remedy=remedy, setting=setting, blob=name) from error


def account_name(url: str) -> str:
    """The account that a blob endpoint belongs to: its path for emulators, else the first label of its host."""
    parts = urlsplit(url)
    path = parts.path.strip("/")
    return path.split("/")[0] if path else (parts.hostname or "").split(".")[0]


def _check_endpoint(url: str, setting: str, *, entra_id: bool) -> None:
    parts = urlsplit(url)
    reason = None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        reason = "it is no http or https address"
    elif parts.query or parts.username:
        reason = "it must be the bare endpoint, without SAS or credentials"
    elif _is_address(parts.hostname) and not parts.path.strip("/"):
        reason = "an address without a domain needs the account as its path"
    if reason:
        shown = f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
        raise SettingsError(
            f"{setting} ({shown}) cannot be used: {reason}",
            remedy="give the account's blob endpoint, such as https://ACCOUNT.blob.core.windows.net",
            setting=setting,
        )
    if entra_id and parts.scheme == "http":
        raise SettingsError(
            f"{setting} is a plain http address, over which no Entra ID token may be sent",
            remedy="use https, or set the account key",
            setting=setting,
        )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


def _check_key(key: str, setting: str) -> None:
    try:
        base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SettingsError(
            f"{setting} is not an account key: it is not base64",
            remedy="copy the key again from the account's access keys",
            setting=setting,
        ) from error


def _transport(url: str) -> RequestsTransport:
    """Connections for many threads; proxies and certificates of the environment are looked up once, not per call."""
    import requests
    from azure.core.pipeline.transport import RequestsTransport
    from requests.adapters import HTTPAdapter
    from requests.utils import get_environ_proxies
    from urllib3.util.retry import Retry

    session = requests.Session()
    session.trust_env = False
    session.proxies.update(get_environ_proxies(url))
    session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    adapter = HTTPAdapter(
        pool_connections=2, pool_maxsize=SOCKETS, max_retries=Retry(total=False, redirect=False, raise_on_status=False)
    )
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return RequestsTransport(
        session=session,
        connection_verify=session.verify,
        connection_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=READ_TIMEOUT_SECONDS,
        connection_data_block_size=READ_BLOCK_BYTES,
        use_env_settings=False,
    )


def _code(error: HttpResponseError) -> str:
    """Azure's error code, which a reply without a body carries in a header only."""
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or _header(error, "x-ms-error-code"))


def _retry_after(error: HttpResponseError) -> float | None:
    try:
        return float(_header(error, "Retry-After"))
    except ValueError:
        return None


def _header(error: HttpResponseError, name: str) -> str:
    """A header of the reply, empty where there is none."""
    return str(getattr(error.response, "headers", {}).get(name) or "")


_SAS = re.compile(r"(\bsig=)[^&\s'\"]+", re.IGNORECASE)


def _one_line(error: BaseException) -> str:
    """The first line of a message, without the signature of a SAS that may be in it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return _SAS.sub(r"\1…", lines[0])[:300]


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)
