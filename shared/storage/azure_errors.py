"""The errors of azure-storage-blob as ours: what happened, what to do about it, and no secret in any text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from shared.errors import (
    BlobExists,
    BlobNotFound,
    BlobProtected,
    ContainerMissing,
    CopyRefused,
    StorageError,
    StorageForbidden,
    StorageUnavailable,
)

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError, HttpResponseError

_RIGHTS = {
    "put": "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/add/action",
    "copy": "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/add/action",
    "write": "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write",
    "get": "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read",
    "list": "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read",
    "delete": "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/delete",
    "delete a version of": "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/deleteBlobVersion/action",
    "protect": "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/immutableStorage/runAsSuperUser/action",
    "undelete": "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write",
    "create": "Microsoft.Storage/storageAccounts/blobServices/containers/write",
    "remove": "Microsoft.Storage/storageAccounts/blobServices/containers/delete",
    "look at": "Microsoft.Storage/storageAccounts/blobServices/containers/read",
    "list the containers of": "Microsoft.Storage/storageAccounts/blobServices/containers/read",
    "get a user delegation key of": "Microsoft.Storage/storageAccounts/blobServices/generateUserDelegationKey/action",
}

NOT_KNOWN = {"AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation"}
"""Codes for a caller whose key or token is not accepted."""

NOT_ALLOWED_HERE = {"AuthorizationFailure", "PublicAccessNotPermitted"}
"""Codes for a caller refused by the account's rules for networks; Azurite also says so of a wrong key."""


_PROTECTED = {
    "BlobImmutableDueToPolicy": ("an immutability policy", "wait until its date has passed"),
    "BlobImmutableDueToLegalHold": ("a legal hold", "it stays until somebody lifts the hold"),
}


@dataclass(frozen=True)
class Where:
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
        code = error_code(error) or str(status)
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
        if status in (408, 429) or (status >= 500 and status != 501) or code == "ContainerBeingDeleted":
            raise StorageUnavailable(
                f"{self.url} answered {status} {code} ({action} {self.of(name)})",
                remedy="the service is busy or failing: try again later",
                retry_after_seconds=_retry_after(error),
                blob=name,
            ) from error
        if status == 404 and name is not None and code in ("BlobNotFound", "404"):
            self.missing(name, error)
        if code == "OperationNotAllowedOnRootBlob":
            raise StorageError(
                f"{self.of(name)} is current again: that version is not deleted by its id",
                remedy="list the versions again",
                blob=name,
            ) from error
        if status in (401, 403) or code in NOT_KNOWN:
            self._forbidden(error, code, action, name)
        if code in _PROTECTED:
            what, remedy = _PROTECTED[code]
            raise BlobProtected(
                f"{self.of(name)} is protected: {what} forbids to {action} it", remedy=remedy, blob=name
            ) from error
        if action == "protect":
            raise StorageError(
                f"{self.url} answered {status} {code} ({action} {self.of(name)}): {_one_line(error)}",
                remedy="the account needs version-level immutability, which is switched on when it is made; "
                "LIFEBOAT_PROTECT_FOR=0s goes without protection",
                setting="LIFEBOAT_PROTECT_FOR",
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
        told = " ".join(filter(None, (error_code(error), _header(error, "x-ms-copy-source-error-code"))))
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
        elif self.with_key and code in NOT_KNOWN | NOT_ALLOWED_HERE:
            setting = self.key_setting
            remedy = f"check {self.key_setting}, this machine's clock, and the account's firewall"
        elif code in NOT_KNOWN:
            remedy = "check the identity, its tenant, and this machine's clock"
        elif code in NOT_ALLOWED_HERE:
            remedy = f"the account's firewall may refuse this network; else the identity needs {_RIGHTS[action]}"
        else:
            remedy = f"give the identity the right {_RIGHTS[action]} on {self.of(None)}"
        raise StorageForbidden(what, remedy=remedy, setting=setting, blob=name) from error


def error_code(error: BaseException | None) -> str:
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
        self.error_code = error_code(error)


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
