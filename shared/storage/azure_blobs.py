"""The gateway to azure-storage-blob: one container behind ``BlobStore``, and what is asked of an account as a whole.

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
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import IO, TYPE_CHECKING, Any, NoReturn, cast
from urllib.parse import quote, urlsplit

from shared.errors import (
    BlobExists,
    BlobNotFound,
    BlobProtected,
    ContainerMissing,
    CopyRefused,
    SettingsError,
    StorageError,
    StorageForbidden,
    StorageUnavailable,
)
from shared.storage.blob_store import BlobInfo
from shared.storage.copying import COPY_SILENCE_SECONDS
from shared.storage.sas import DelegationKey

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.core.exceptions import AzureError, HttpResponseError
    from azure.core.pipeline.transport import RequestsTransport
    from azure.storage.blob import BlobServiceClient, ContainerClient

    from shared.storage.copying import CopySource

LARGEST_PUT_BYTES = 5000 << 20
"""What one Put Blob may carry."""

CONNECT_TIMEOUT_SECONDS = 10
READ_TIMEOUT_SECONDS = 60
"""How long the service may stay silent between two packets; a long body that keeps moving is no matter."""

KEEP_ALIVE_SECONDS = 60

SOCKETS = 32
"""Connections kept open for reuse; more threads than that work too and open a connection for each further call."""

READ_BLOCK_BYTES = 4 << 20
"""How much of a body is taken from a socket at once."""

FIRST_COPY_VERSION = "2020-04-08"
"""The first version of the protocol with Put Blob From URL; an earlier one may take it for an empty Put Blob."""

_RIGHTS = {
    "put": "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/add/action",
    "copy": "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/add/action",
    "write": "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write",
    "get": "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read",
    "list": "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read",
    "delete": "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/delete",
    "create": "Microsoft.Storage/storageAccounts/blobServices/containers/write",
    "remove": "Microsoft.Storage/storageAccounts/blobServices/containers/delete",
    "list the containers of": "Microsoft.Storage/storageAccounts/blobServices/containers/read",
    "get a user delegation key of": "Microsoft.Storage/storageAccounts/blobServices/generateUserDelegationKey/action",
}

_STORAGE_SCOPE = "https://storage.azure.com/.default"

_NOT_KNOWN = {"AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation"}
"""Codes for a caller whose key or token is not accepted."""

_NOT_ALLOWED_HERE = {"AuthorizationFailure", "PublicAccessNotPermitted"}
"""Codes for a caller refused by the account's rules for networks; Azurite also says so of a wrong key."""


class AzureBlobStore:
    """A container of a storage account: Azure, Azure Stack Hub (keys only) or Azurite.

    Safe for use from several threads. Whoever opened it closes it; ``with`` does.
    """

    def __init__(self, client: ContainerClient, account: BlobServiceClient, where: _Where, api_version: str) -> None:
        self._client = client
        self._account = account
        self._where = where
        self._api_version = api_version

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
        when_missing: str | None = None,
    ) -> AzureBlobStore:
        """Make the client; nothing is sent yet, so a wrong host or key shows at the first call.

        ``url`` is the account's blob endpoint, with the account as its path for emulators. ``account_key`` wins over
        ``credential``. The two setting names appear in errors, ``when_missing`` as the next step where there is no
        container. ``SettingsError``: the URL or key cannot be one, Entra ID over plain http, or an API version that
        the library does not know.
        """
        account = AzureBlobAccount.open(
            url,
            account_key=account_key,
            credential=credential,
            api_version=api_version,
            url_setting=url_setting,
            key_setting=key_setting,
        )
        return account.container(container, when_missing=when_missing)

    def __enter__(self) -> AzureBlobStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the sockets of the account; neither this nor another of its containers can be used afterwards."""
        self._account.close()

    def create_container_if_missing(self) -> bool:
        """True: made by this call; False: it was there. ``StorageForbidden`` names the right where it is missing.

        Who may not make containers is told so even of one that exists; hence the look first.
        """
        if self.container_exists():
            return False
        return self.create_container()

    def container_exists(self) -> bool:
        """Whether the container is there; one request, which the right ``blobs/read`` allows."""
        try:
            next(iter(self.list("\x7f")), None)
        except ContainerMissing:
            return False
        return True

    def create_container(self) -> bool:
        """True: made by this call; False: it was there already. One request."""
        with self._where.errors("create"):
            from azure.core.exceptions import ResourceExistsError

            try:
                self._client.create_container()
            except ResourceExistsError as error:
                if _code(error) == "ContainerAlreadyExists":
                    return False
                raise
            return True

    def delete_container(self) -> None:
        """Remove the container with all that is in it, leased or not; one that is not there is removed already."""
        try:
            with self._where.errors("remove"):
                self._client.delete_container()
        except ContainerMissing:
            return

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

    def delete_leased(self, name: str) -> None:
        """As ``delete``, and a lease that somebody left on the blob is broken first."""
        from azure.core.exceptions import HttpResponseError
        from azure.storage.blob import BlobLeaseClient

        blob = self._client.get_blob_client(name)
        try:
            with self._where.errors("delete", name):
                try:
                    blob.delete_blob()
                except HttpResponseError as error:
                    if _code(error) != "LeaseIdMissing":
                        raise
                    BlobLeaseClient(blob).break_lease(lease_break_period=0)
                    blob.delete_blob()
        except BlobNotFound:
            return

    def copy_from(self, name: str, source: CopySource, *, size_bytes: int) -> bool:
        """One Put Blob From URL with If-None-Match: *, which answers when all is copied.

        True: created by this call. False: the name exists with ``size_bytes``, which is also how a lost reply is
        answered. ``BlobExists``: it has another length. ``CopyRefused``: the service cannot read the source.
        """
        if self._api_version < FIRST_COPY_VERSION:
            raise CopyRefused(
                f"version {self._api_version} of the storage protocol cannot copy from a URL ({self._where.of(name)})",
                remedy="stream it instead",
                setting="LIFEBOAT_STORAGE_API_VERSION",
                blob=name,
            )
        try:
            with self._where.errors("copy", name):
                self._client.get_blob_client(name).upload_blob_from_url(
                    source.url,
                    overwrite=False,
                    source_authorization=source.authorization,
                    read_timeout=COPY_SILENCE_SECONDS,
                )
                return True
        except (BlobExists, StorageForbidden) as refusal:
            return self._compare_length(name, size_bytes, refusal)

    def bearer(self, credential: TokenCredential) -> str:
        """What a copy's source is shown as our authorization."""
        with self._where.errors("get"):
            return f"Bearer {credential.get_token(_STORAGE_SCOPE).token}"

    def stage(self, name: str, block: str, body: bytes) -> None:
        """One Put Block; ``block`` is base64 of the same length for each block of a blob. May be repeated."""
        with self._where.errors("write", name):
            self._client.get_blob_client(name).stage_block(block, body, length=len(body))

    def commit(self, name: str, blocks: Sequence[str]) -> None:
        """One Put Block List: the blob is these blocks, whatever it was before. May be repeated."""
        from azure.storage.blob import BlobBlock

        with self._where.errors("write", name):
            self._client.get_blob_client(name).commit_block_list([BlobBlock(block) for block in blocks])

    def _compare_length(self, name: str, size_bytes: int, refusal: StorageError) -> bool:
        """As ``_compare`` for a copy, of which only the length is known here.

        A refusal that could be the source's as well is the source's when we ourselves are let in.
        """
        try:
            there = self.stat(name)
        except StorageForbidden:
            raise refusal from None
        if there is not None and there.size_bytes == size_bytes:
            return False
        if there is not None:
            raise BlobExists(
                f"{self._where.of(name)} exists with {there.size_bytes:,} bytes instead of {size_bytes:,}",
                remedy="nothing was overwritten; find out who else writes under this name",
                blob=name,
            ) from refusal
        if isinstance(refusal, StorageForbidden):
            if _code(refusal.__cause__) in _NOT_KNOWN | _NOT_ALLOWED_HERE:
                self._where.source_refused(refusal.__cause__, name)
            raise refusal
        raise StorageUnavailable(f"{self._where.of(name)} existed and went away meanwhile", blob=name) from refusal

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


class AzureBlobAccount:
    """A storage account as a whole, and the containers in it, over the same connections.

    Safe for use from several threads. Whoever opened it closes it, and then its containers are closed too.
    """

    def __init__(self, client: BlobServiceClient, where: _Where, api_version: str) -> None:
        self._client = client
        self._where = where
        self._api_version = api_version

    @classmethod
    def open(
        cls,
        url: str,
        *,
        account_key: str | None,
        credential: TokenCredential | None,
        api_version: str,
        url_setting: str,
        key_setting: str,
    ) -> AzureBlobAccount:
        """See ``AzureBlobStore.open``."""
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
        from azure.storage.blob import BlobServiceClient

        key = AzureNamedKeyCredential(account_name(url), account_key) if account_key else None
        try:
            client = BlobServiceClient(
                url.rstrip("/"),
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
        return cls(client, _Where(url, "", url_setting, key_setting, key is not None), api_version)

    def close(self) -> None:
        """Close the sockets; neither this nor its containers can be used afterwards."""
        self._client.close()

    def container(self, name: str, *, when_missing: str | None = None) -> AzureBlobStore:
        """One container; nothing is sent. See ``AzureBlobStore.open`` for ``when_missing``."""
        where = replace(self._where, container=name, when_missing=when_missing)
        return AzureBlobStore(self._client.get_container_client(name), self._client, where, self._api_version)

    def containers(self, prefix: str) -> list[tuple[str, timedelta]]:
        """The containers whose name begins with ``prefix``, and how long ago each was made, by the service's clock.

        (Writing a blob does not touch the container; its metadata, policies and leases do.)
        """
        from azure.core.pipeline import PipelineResponse

        now: list[datetime] = []

        def note_time(reply: PipelineResponse) -> None:  # type: ignore[type-arg]  # as the library calls it
            now.append(parsedate_to_datetime(reply.http_response.headers["Date"]))

        with self._where.errors("list the containers of"):
            found = list(self._client.list_containers(name_starts_with=prefix, raw_response_hook=note_time))
        return [(container.name, now[0] - container.last_modified) for container in found]

    def delegation_key(self, starts: datetime, expires: datetime) -> DelegationKey:
        """A key to sign with as the identity that we are; ``expires`` is at most seven days away."""
        with self._where.errors("get a user delegation key of"):
            made = self._client.get_user_delegation_key(starts, expires)
        parts = made.signed_oid, made.signed_tid, made.signed_start, made.signed_expiry
        service, version, value = made.signed_service, made.signed_version, made.value
        return DelegationKey(*(part or "" for part in (*parts, service, version, value)))


class _Pieces:
    """Takes a body as the library hands it over, usually in one piece, which then need not be copied."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: bytes) -> int:
        self._pieces.append(piece)
        return len(piece)

    def joined(self) -> bytes:
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)


@dataclass(frozen=True)
class _Where:
    """Turns the library's errors into ours, with the words for one container, or, where it has no name, the account."""

    url: str
    container: str
    url_setting: str
    key_setting: str
    with_key: bool
    when_missing: str | None = None

    def of(self, name: str | None) -> str:
        if not self.container:
            return "the account"
        return f"{self.container}/{name}" if name else f"container {self.container}"

    def missing(self, name: str, cause: Exception | None = None) -> NoReturn:
        raise BlobNotFound(f"{self.of(name)} does not exist", blob=name) from cause

    @contextmanager
    def errors(self, action: str, name: str | None = None) -> Iterator[None]:
        """Raise ours for the library's, chained to it; where that would show a secret, to its text without it."""
        try:
            with self._told(action, name):
                yield
        except StorageError as error:
            if isinstance(error.__cause__, Exception) and _shows_secret(error.__cause__):
                error.__cause__ = error.__context__ = _Scrubbed(error.__cause__)
            raise

    @contextmanager
    def _told(self, action: str, name: str | None) -> Iterator[None]:
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
        if action == "copy" and name and _is_about_source(error, status, code):
            if _source_status(error) in (429, 503) or status in (429, 503):
                raise StorageUnavailable(
                    f"the source of {self.of(name)} is busy", retry_after_seconds=_retry_after(error), blob=name
                ) from error
            self.source_refused(error, name)
        if code in ("ContainerNotFound", "ContainerDisabled"):
            raise ContainerMissing(
                f"there is no container {self.container} in {self.url}",
                remedy=self.when_missing
                or f"check {self.url_setting}; `lifeboat.py backup` makes missing containers where it may",
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
            raise BlobProtected(
                f"{self.of(name)} is protected: an immutability policy forbids to {action} it",
                remedy="wait until its date has passed",
                blob=name,
            ) from error
        if action in ("put", "copy") and status in (409, 412):
            raise BlobExists(f"{self.of(name)} exists already", blob=name) from error
        raise StorageError(
            f"{self.url} answered {status} {code} ({action} {self.of(name)}): {_one_line(error)}",
            remedy=f"check that {self.url_setting} is the blob endpoint of a storage account",
            setting=self.url_setting,
            blob=name,
        ) from error

    def source_refused(self, error: BaseException | None, name: str) -> NoReturn:
        told = " ".join(filter(None, (_code(error), _header(error, "x-ms-copy-source-error-code"))))
        raise CopyRefused(
            f"{self.url} could not read the source of {self.of(name)} ({told})",
            remedy="let the account that copies through the firewall of the source, and check the rights there",
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
            remedy = f"give the identity the right {_RIGHTS[action]} on {self.of(None)}"
        raise StorageForbidden(what, remedy=remedy, setting=setting, blob=name) from error


def account_name(url: str) -> str:
    """The account that a blob endpoint belongs to: its path for emulators, else the first label of its host."""
    parts = urlsplit(url)
    path = parts.path.strip("/")
    return path.split("/")[0] if path else (parts.hostname or "").split(".")[0]


def blob_url(account_url: str, container: str, name: str) -> str:
    """The plain URL of a blob, its name encoded as the library encodes it."""
    return f"{account_url.rstrip('/')}/{container}/{quote(name, safe='~/')}"


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
    """Connections for many threads; proxies and certificates of the environment are looked up once, not per call.

    They are kept alive by TCP too: a copy is silent for longer than Azure's load balancers remember a connection.
    """
    import requests
    from azure.core.pipeline.transport import RequestsTransport
    from requests.adapters import HTTPAdapter
    from requests.utils import get_environ_proxies
    from urllib3.connection import HTTPConnection
    from urllib3.util.retry import Retry

    class KeptAlive(HTTPAdapter):
        def init_poolmanager(self, *arguments: Any, **options: Any) -> None:  # as requests passes them
            super().init_poolmanager(
                *arguments, **options, socket_options=[*HTTPConnection.default_socket_options, *_keep_alive()]
            )

    session = requests.Session()
    session.trust_env = False
    session.proxies.update(get_environ_proxies(url))
    session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    adapter = KeptAlive(
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


def _keep_alive() -> list[tuple[int, int, int]]:
    """Socket options: a sign of life after each ``KEEP_ALIVE_SECONDS`` of silence, as far as this system has them."""
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL"):
        if hasattr(socket, name):
            options.append((socket.IPPROTO_TCP, getattr(socket, name), KEEP_ALIVE_SECONDS))
    return options


def _code(error: BaseException | None) -> str:
    """Azure's error code, which a reply without a body carries in a header only."""
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or _header(error, "x-ms-error-code"))


def _retry_after(error: HttpResponseError) -> float | None:
    try:
        return float(_header(error, "Retry-After"))
    except ValueError:
        return None


def _header(error: BaseException | None, name: str) -> str:
    """A header of the reply, empty where there is none."""
    return str(getattr(getattr(error, "response", None), "headers", {}).get(name) or "")


def _source_status(error: HttpResponseError) -> int | None:
    """What the source of a copy answered to the service, where that says so."""
    told = _header(error, "x-ms-copy-source-status-code")
    return int(told) if told.isdecimal() else None


def _is_about_source(error: HttpResponseError, status: int, code: str) -> bool:
    """Whether a copy failed at its source, or because the service does not know this call at all."""
    if code == "CannotVerifyCopySource" or _source_status(error):
        return True
    return status == 501 or code in ("PublicAccessNotPermitted", "BlobNotFound", "ResourceNotFound")


_SECRET = re.compile(r"(\bsig(?:=|%3D))[^&\s'\"\]<>]+|(\bBearer\s+)[\w.~+/=-]+", re.IGNORECASE)


def _without_secrets(text: str) -> str:
    """``text`` without the signature of a SAS or a token that may be in it."""
    return _SECRET.sub(lambda found: f"{found[1] or found[2]}…", text)


class _Scrubbed(Exception):
    """In place of an error of the library, and of those behind it, that showed a secret: its text without that."""

    def __init__(self, error: Exception) -> None:
        super().__init__(_without_secrets(f"{type(error).__name__}: {error}"))
        self.error_code = _code(error)


def _shows_secret(error: BaseException) -> bool:
    """Whether a traceback of the error would show a signature or a token."""
    seen: set[int] = set()
    behind: BaseException | None = error
    while behind is not None and id(behind) not in seen:
        seen.add(id(behind))
        if _SECRET.search(str(behind)):
            return True
        behind = behind.__cause__ or behind.__context__
    return False


def _one_line(error: BaseException) -> str:
    """The first line of a message, without the secrets that may be in it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return _without_secrets(lines[0])[:300]


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)
