"""The gateway to azure-storage-blob: a container behind ``VersionedStore``, and what is asked of an account as a whole.

The library's own retry is off, so that one call is one request and ``retrying.RetryingStore`` alone decides what is
tried again. The library is imported where it is first used: its import takes a quarter of a second, and most commands
should fail or answer before that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import groupby
from typing import IO, TYPE_CHECKING, cast
from urllib.parse import quote

from shared.errors import (
    BlobExists,
    BlobNotFound,
    BlobProtected,
    ContainerMissing,
    CopyRefused,
    Damaged,
    SettingsError,
    StorageError,
    StorageForbidden,
    StorageUnavailable,
)
from shared.storage.azure_endpoint import account_name, blob_url, check_endpoint, check_key, transport
from shared.storage.azure_errors import NOT_ALLOWED_HERE, NOT_KNOWN, Where, error_code
from shared.storage.blob_store import BlobInfo
from shared.storage.copying import COPY_SILENCE_SECONDS, CopySource
from shared.storage.sas import DelegationKey, Signer
from shared.storage.versions import BlobVersion, whole_second

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.storage.blob import BlobProperties, BlobServiceClient, ContainerClient

LARGEST_PUT_BYTES = 5000 << 20
"""What one Put Blob may carry."""

FIRST_COPY_VERSION = "2020-04-08"
"""The first version of the protocol with Put Blob From URL; an earlier one may take it for an empty Put Blob."""

FIRST_VERSIONS_VERSION = "2020-06-12"
"""The first version of the protocol with versions and immutability policies; an earlier one may take what is meant for
a version as meant for the blob."""

LARGEST_WHOLE_BYTES = 512 << 20
"""What is read of a blob when all of it is asked for. Packs are far smaller, and so are index files and records."""

LARGEST_STREAM_BYTES = 256 << 20
"""What of a previous version goes through our memory where the service cannot copy it."""

SOURCE_SAS_LIFETIME = timedelta(hours=1)
"""How long the source of a copy may be read; it is looked at when the copy begins."""

_STORAGE_SCOPE = "https://storage.azure.com/.default"


class AzureBlobStore:
    """A ``VersionedStore``: a container of an account of Azure, Azure Stack Hub (keys only) or Azurite.

    Safe for use from several threads. Whoever opened it closes it; ``with`` does.
    """

    def __init__(
        self,
        client: ContainerClient,
        account: BlobServiceClient,
        where: Where,
        identity: Signer | TokenCredential,
        api_version: str,
    ) -> None:
        self._client = client
        self._account = account
        self._where = where
        self._identity = identity
        self._api_version = api_version
        self._keeps_versions = False

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
                if error_code(error) == "ContainerAlreadyExists":
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
        """See ``BlobStore.get``: one GET."""
        return self._read(name, None, offset, length)

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

    def refuses_overwriting(self, name: str, body: bytes) -> bool:
        """For preflight, of a blob of its own: whether one Put Blob without a condition over it is refused for what it
        is; what else may refuse it is raised. False: it was overwritten."""
        try:
            with self._where.errors("put", name):
                self._client.get_blob_client(name).upload_blob(body, length=len(body), overwrite=True)
        except BlobExists:
            return True
        except StorageForbidden as refusal:
            if error_code(refusal.__cause__) in NOT_KNOWN | NOT_ALLOWED_HERE:
                raise
            return True
        return False

    def holds_dates(self) -> bool | None:
        """Whether immutability policies can be set on the versions of blobs here; None: the service does not say."""
        with self._where.errors("look at"):
            return self._client.get_container_properties().immutable_storage_with_versioning_enabled

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
                    if error_code(error) != "LeaseIdMissing":
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

    def source(self, name: str, version: str | None = None) -> CopySource:
        """How a service reads the blob, or a version of it, for a copy: with an account key by a SAS for this alone and
        ``SOURCE_SAS_LIFETIME``, else by our own token, good for as long as Entra ID made it. Make it anew for each
        copy. ``StorageForbidden``: no token is to be had.
        """
        query = [f"versionid={quote(version, safe='')}"] if version else []
        authorization = None
        if isinstance(self._identity, Signer):
            expires = datetime.now(UTC) + SOURCE_SAS_LIFETIME
            query.append(self._identity.blob(self._where.container, name, "r", expires, version=version).token)
        else:
            with self._where.errors("get"):
                authorization = f"Bearer {self._identity.get_token(_STORAGE_SCOPE).token}"
        url = blob_url(self._where.url, self._where.container, name)
        return CopySource("?".join([url, "&".join(query)] if query else [url]), authorization)

    def stage(self, name: str, block: str, body: bytes) -> None:
        """One Put Block; ``block`` is base64 of the same length for each block of a blob. May be repeated."""
        with self._where.errors("write", name):
            self._client.get_blob_client(name).stage_block(block, body, length=len(body))

    def commit(self, name: str, blocks: Sequence[str]) -> None:
        """One Put Block List: the blob is these blocks, whatever it was before. May be repeated."""
        from azure.storage.blob import BlobBlock

        with self._where.errors("write", name):
            self._client.get_blob_client(name).commit_block_list([BlobBlock(block) for block in blocks])

    def list_versions(self, prefix: str) -> Iterator[BlobVersion]:
        """See ``VersionedStore.list_versions``: one request for each 5,000 versions."""
        known = self._api_version >= FIRST_VERSIONS_VERSION
        include = ["versions", "deleted", "immutabilitypolicy", "legalhold"] if known else None
        with self._where.errors("list"):
            listing = self._client.list_blobs(name_starts_with=prefix or None, include=include)
            for _, versions in groupby(map(_version, listing), key=lambda version: version.name):
                yield from sorted(versions, key=lambda version: version.version or "")

    def get_version(self, name: str, version: str, offset: int = 0, length: int | None = None) -> bytes:
        """See ``VersionedStore.get_version``: one GET."""
        return self._read(name, version, offset, length)

    def protect(self, name: str, until: datetime) -> None:
        """See ``VersionedStore.protect``: one Set Blob Immutability Policy. What is locked
        until exactly then stays so, which is also how a lost reply is answered."""
        self._need_versions("LIFEBOAT_PROTECT_FOR=0s goes without protection", name)
        until = whole_second(until)
        from azure.storage.blob import ImmutabilityPolicy

        policy = ImmutabilityPolicy(expiry_time=until, policy_mode="Locked")
        blob = self._client.get_blob_client(name)
        try:
            with self._where.errors("protect", name):
                blob.set_immutability_policy(policy)
        except BlobProtected:
            with self._where.errors("get", name):
                there = _version(blob.get_blob_properties())
            if not (there.locked and there.until == until):
                raise

    def make_current(self, version: BlobVersion) -> bool:
        """See ``VersionedStore.make_current``: one Put Blob From URL. Where the service may not or cannot read the
        source, up to ``LARGEST_STREAM_BYTES`` go through this process; ``StorageError``: there are more."""
        name, size_bytes = version.name, version.size_bytes
        if version.version is None:
            raise BlobNotFound(f"the account keeps no versions of {self._where.of(name)}", blob=name)
        try:
            return self.copy_from(name, self.source(name, version.version), size_bytes=size_bytes)
        except CopyRefused as refused:
            if size_bytes > LARGEST_STREAM_BYTES:
                raise StorageError(
                    f"{self._where.of(name)} has {size_bytes:,} bytes, too many to bring a version back through this "
                    f"process, and the service does not copy it: {refused}",
                    remedy="let the account read itself (its firewall, the right to read), or copy the version by hand",
                    blob=name,
                ) from refused
            return self.put(name, self.get_version(name, version.version))

    def delete_version(self, name: str, version: str) -> None:
        """See ``VersionedStore.delete_version``. Before the first one the service has to show that it knows versions:
        one that does not would delete the blob itself."""
        self._need_versions("nothing was deleted: check the account", name)
        blob = self._client.get_blob_client(name, version_id=version)
        try:
            if not self._keeps_versions:
                with self._where.errors("get", name):
                    self._keeps_versions = blob.get_blob_properties().version_id == version
                if not self._keeps_versions:
                    raise self._no_versions("nothing was deleted: check the account", name)
            with self._where.errors("delete a version of", name):
                blob.delete_blob()
        except BlobNotFound:
            return

    def undelete(self, name: str) -> None:
        """See ``VersionedStore.undelete``: one Undelete Blob."""
        try:
            with self._where.errors("undelete", name):
                self._client.get_blob_client(name).undelete_blob()
        except BlobNotFound:
            return

    def _need_versions(self, remedy: str, name: str) -> None:
        if self._api_version < FIRST_VERSIONS_VERSION:
            raise self._no_versions(remedy, name)

    def _no_versions(self, remedy: str, name: str) -> StorageError:
        return StorageError(
            f"{self._where.url} knows no versions of blobs in version {self._api_version} of the storage protocol",
            remedy=remedy,
            setting="LIFEBOAT_STORAGE_API_VERSION",
            blob=name,
        )

    def _read(self, name: str, version: str | None, offset: int, length: int | None) -> bytes:
        with self._where.errors("get", name):
            from azure.core.exceptions import HttpResponseError

            most = LARGEST_WHOLE_BYTES + 1 if length is None else length
            try:
                blob = self._client.get_blob_client(name, version_id=version)
                if length == 0:
                    blob.get_blob_properties()
                    return b""
                pieces = _Pieces()
                blob.download_blob(offset, most).readinto(cast("IO[bytes]", pieces))
                body = pieces.joined()
            except HttpResponseError as error:
                if error.status_code == 416:
                    return b""
                raise
        if length is None and len(body) > LARGEST_WHOLE_BYTES:
            raise Damaged(
                f"{self._where.of(name)} is longer than anything that Lifeboat or restic reads as a whole "
                f"({LARGEST_WHOLE_BYTES >> 20} MiB)",
                remedy="Find out who has put it there; 'undelete' brings back what it was.",
                blob=name,
            )
        return body

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
            if error_code(refusal.__cause__) in NOT_KNOWN | NOT_ALLOWED_HERE:
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

    def __init__(
        self, client: BlobServiceClient, where: Where, identity: Signer | TokenCredential, api_version: str
    ) -> None:
        self._client = client
        self._where = where
        self._identity = identity
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
        check_endpoint(url, url_setting, entra_id=account_key is None)
        identity: Signer | TokenCredential
        if account_key is not None:
            check_key(account_key, key_setting)
            identity = Signer(account_name(url), account_key, api_version, https_only=url.startswith("https:"))
        elif credential is not None:
            identity = credential
        else:
            raise SettingsError(
                f"neither {key_setting} nor a credential for {url} is there",
                remedy=f"set {key_setting}, or sign in to Entra ID",
                setting=key_setting,
            )

        from azure.core.credentials import AzureNamedKeyCredential
        from azure.storage.blob import BlobServiceClient

        key = AzureNamedKeyCredential(account_name(url), account_key) if account_key else None
        try:
            client = BlobServiceClient(
                url.rstrip("/"),
                credential=key or credential,
                api_version=api_version,
                transport=transport(url),
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
        return cls(client, Where(url, "", url_setting, key_setting, key is not None), identity, api_version)

    def close(self) -> None:
        """Close the sockets; neither this nor its containers can be used afterwards."""
        self._client.close()

    def container(self, name: str, *, when_missing: str | None = None) -> AzureBlobStore:
        """One container; nothing is sent. See ``AzureBlobStore.open`` for ``when_missing``."""
        where = replace(self._where, container=name, when_missing=when_missing)
        client = self._client.get_container_client(name)
        return AzureBlobStore(client, self._client, where, self._identity, self._api_version)

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


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


def _version(blob: BlobProperties) -> BlobVersion:
    md5, policy, deleted = blob.content_settings.content_md5, blob.immutability_policy, bool(blob.deleted)
    until = policy.expiry_time if policy else None
    mode = getattr(policy.policy_mode, "value", policy.policy_mode) if policy else None
    return BlobVersion(
        blob.name,
        blob.version_id,
        (bool(blob.is_current_version) or blob.version_id is None) and not deleted,
        blob.size,
        _utc(blob.last_modified),
        md5=bytes(md5) if md5 else None,
        until=_utc(until) if until else None,
        locked=str(mode).lower() == "locked",
        legal_hold=bool(blob.has_legal_hold),
        deleted=deleted,
    )
