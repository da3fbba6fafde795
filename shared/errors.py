"""The one tree of errors.

LifeboatError                  exit 1
├── UsageError                 exit 2   the command was called wrongly
│   └── SettingsError          exit 2   a setting is missing or cannot be read
├── RepositoryMissing          exit 10  no repository, or no container, where one was expected
├── RepositoryLocked           exit 11  somebody else holds a lock that excludes us
├── WrongPassword              exit 12  no key of the repository opens with our password
├── Damaged                    exit 1   something stored is not what it should be
├── NoSecrets                  exit 1   the Key Vault holds no SystemSecrets.JSON, or not the file asked for
├── SecretsFileError           exit 1   what was uploaded cannot be SystemSecrets.JSON, or is no file to keep
├── StorageError               exit 1   the storage service refused or failed
│   ├── StorageUnavailable     (retry)  no answer, throttled, or a server error
│   ├── StorageForbidden                the identity lacks a right
│   │   └── BlobProtected               an immutability policy or a legal hold forbids it
│   ├── BlobNotFound                    no such blob
│   ├── BlobExists                      the name is taken by other bytes
│   ├── CopyRefused                     the service may not or cannot read a copy's source itself: stream it
│   └── ContainerMissing       exit 10  no such container
├── SourceError                exit 1   the share, or the SQL server, could not be used at all
│   ├── SourceUnreachable      (retry)  no connection, or it was lost for good
│   ├── SourceLoginRefused              user name or password refused
│   ├── SourceNotFound                  no such share or path
│   ├── SourceChanged          (retry)  a file changed while it was read
│   ├── DriverMissing                   no ODBC driver that can reach SQL Server
│   └── DatabaseError                   SQL Server refused or failed a statement
│       ├── PermissionMissing           the login lacks a permission, which is named
│       └── StatementCancelled          our own watchdog ended it
├── TargetError                exit 1   a restore could not write
├── TimeBudgetSpent            exit 1   not a failure: the step stopped where it can go on
└── Cancelled                  exit 1   somebody asked for the run to stop
"""

from __future__ import annotations

import re
from typing import Any, ClassVar


def printable(text: str) -> str:
    """``text`` fit for JSON and terminals: a lone surrogate, which a file's name may hold, is written ``\\udNNN``."""
    return text.encode("utf-8", "backslashreplace").decode()


_SIGNATURE = re.compile(r"(\bsig=)[^&\s'\"\]]+", re.IGNORECASE)


def without_signatures(text: str) -> str:
    """``text`` with the signature of every SAS in it replaced by an ellipsis."""
    return _SIGNATURE.sub(r"\1…", text)


class LifeboatError(Exception):
    """Something that an operator has to know.

    ``str(error)`` is one sentence that names the thing and the cause; ``remedy`` is the next step. ``setting``,
    ``path`` and ``object`` name what it is about: the environment variable, the path inside the share, the blob.
    No text of it may hold a secret or a URL with its SAS.
    """

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "failed"
    """The reason code of CONTRACTS: lower-case words with hyphens."""
    retryable: ClassVar[bool] = False
    """Whether the same call may succeed later without anybody changing anything."""

    def __init__(
        self,
        what: str,
        *,
        remedy: str = "",
        setting: str | None = None,
        path: str | None = None,
        blob: str | None = None,
    ) -> None:
        super().__init__(what)
        self.remedy = remedy
        self.setting = setting
        self.path = path
        self.object = blob

    def as_reason(self, component: str) -> dict[str, Any]:
        """The reason as the contract's JSON has it."""
        reason: dict[str, Any] = {
            "component": component,
            "code": self.code,
            "message": printable(str(self)),
            "remedy": self.remedy,
        }
        for key in ("setting", "path", "object"):
            if getattr(self, key):
                reason[key] = printable(getattr(self, key))
        return reason


class UsageError(LifeboatError):
    exit_code = 2
    code = "wrong-usage"


class SettingsError(UsageError):
    code = "wrong-setting"


class RepositoryMissing(LifeboatError):
    exit_code = 10
    code = "no-repository"


class RepositoryLocked(LifeboatError):
    exit_code = 11
    code = "locked"
    retryable = True


class WrongPassword(LifeboatError):
    exit_code = 12
    code = "wrong-password"


class Damaged(LifeboatError):
    code = "damaged"


class NoSecrets(LifeboatError):
    code = "no-secrets"


class SecretsFileError(LifeboatError):
    """No text of it holds anything of the file's content."""

    code = "not-secrets"


class StorageError(LifeboatError):
    code = "storage-failed"


class StorageUnavailable(StorageError):
    code = "storage-unavailable"
    retryable = True

    def __init__(self, what: str, *, retry_after_seconds: float | None = None, **rest: Any) -> None:
        super().__init__(what, **rest)
        self.retry_after_seconds = retry_after_seconds
        """What the service asked for in Retry-After, in seconds; None where it did not."""


class StorageForbidden(StorageError):
    code = "storage-forbidden"


class BlobProtected(StorageForbidden):
    code = "protected"


class BlobNotFound(StorageError):
    code = "blob-not-found"


class BlobExists(StorageError):
    code = "blob-exists"


class CopyRefused(StorageError):
    """The service that was to copy a blob could not read its source; who can read it may still stream it."""

    code = "copy-refused"


class ContainerMissing(StorageError):
    exit_code = 10
    code = "no-container"


class SourceError(LifeboatError):
    code = "source-failed"


class SourceUnreachable(SourceError):
    code = "source-unreachable"
    retryable = True


class SourceLoginRefused(SourceError):
    code = "login-refused"


class SourceNotFound(SourceError):
    code = "source-not-found"


class SourceChanged(SourceError):
    code = "file-changed"
    retryable = True


class DriverMissing(SourceError):
    code = "no-driver"


class DatabaseError(SourceError):
    """``number`` is SQL Server's own error number, 0 where it gave none; ``database`` the one it is about."""

    code = "database-failed"

    def __init__(self, what: str, *, number: int = 0, database: str | None = None, **rest: Any) -> None:
        super().__init__(what, **rest)
        self.number = number
        self.database = database

    def as_reason(self, component: str) -> dict[str, Any]:
        reason = super().as_reason(component)
        return reason | {"database": self.database} if self.database else reason


class PermissionMissing(DatabaseError):
    """The message names the permission."""


class StatementCancelled(DatabaseError):
    """It took longer than its limit."""


class TargetError(LifeboatError):
    code = "target-failed"


class TimeBudgetSpent(LifeboatError):
    code = "time-budget-spent"
    retryable = True


class Cancelled(LifeboatError):
    code = "cancelled"
