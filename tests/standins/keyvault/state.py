"""What a vault holds, and what a test declares about it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal

RESOURCE = "https://vault.azure.net"
"""The audience that tokens must be for."""


@dataclass
class StoredVersion:
    """Times are seconds since 1970, as on the wire."""

    version: str
    value: str
    tags: dict[str, str]
    created: int
    enabled: bool = True
    content_type: str | None = None
    expires: int | None = None
    not_before: int | None = None
    updated: int | None = None
    """When its properties were changed; None: never."""


@dataclass
class DeletedSecret:
    versions: list[StoredVersion]
    deleted: int


@dataclass
class Throttling:
    """The next ``passing`` requests are served, then ``refused`` ones get 429, then all are served again."""

    passing: int
    refused: int
    retry_after: str | None = "0"
    """The header's text; None: no such header, which the service leaves out as well."""

    def refuses(self) -> bool:
        """Count a request; whether it is one of the refused."""
        if self.passing > 0:
            self.passing -= 1
            return False
        self.refused -= 1
        return self.refused >= 0


@dataclass
class KeyVaultStandin:
    """A running vault. Tests may look at everything and change it between requests."""

    port: int
    secrets: dict[str, list[StoredVersion]] = field(default_factory=dict)
    """Name -> versions, oldest first."""
    deleted: dict[str, DeletedSecret] = field(default_factory=dict)
    """Secrets that were deleted and not purged."""
    recovering: set[str] = field(default_factory=set)
    """Names whose recovery is not done yet, which takes the service some seconds: they cannot be written."""
    denied: set[str] = field(default_factory=set)
    """Actions that the caller's rights lack, of get, set, list, update, delete, recover, purge."""
    refusal: str | None = None
    """The inner code that every request is refused with, such as ``ForbiddenByFirewall``."""
    failures: list[int] = field(default_factory=list)
    """Statuses that the next requests are answered with, one each."""
    throttling: Throttling | None = None
    requests: list[str] = field(default_factory=list)
    """``METHOD path`` of every request that brought a token."""
    challenge: Literal["resource", "scope"] = "resource"
    """How the audience is named to a caller without a token; the service has both forms."""
    page_size: int = 2
    """The most items of a page. The service gives 25 or fewer."""
    retention_days: int = 90
    purge_protection: bool = False

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def recovery_level(self) -> str:
        level = "Recoverable" if self.retention_days == 90 else "CustomizedRecoverable"
        return level if self.purge_protection else f"{level}+Purgeable"

    def delete(self, name: str) -> None:
        """As an operator does by hand. ``KeyError`` where there is no such secret."""
        self.deleted[name] = DeletedSecret(self.secrets.pop(name), int(time.time()))
