"""All that lies in the vault, and what lay there before: one listing of each container, with versions and dates.

Names have their container before them: ``share/index/...``. What is below ``share/locks/`` comes and goes all the time
and is no part of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from shared.errors import ContainerMissing
from shared.storage.vault import DATABASES_CONTAINER, RECORDS_CONTAINER, SHARE_CONTAINER, Vault
from shared.storage.versions import BlobVersion

CONFIG = f"{SHARE_CONTAINER}/config"
KEYS = f"{SHARE_CONTAINER}/keys/"
INDEX = f"{SHARE_CONTAINER}/index/"
PACKS = f"{SHARE_CONTAINER}/data/"
SNAPSHOTS = f"{SHARE_CONTAINER}/snapshots/"
POINTS = f"{RECORDS_CONTAINER}/points/"
ELECTIONS = f"{RECORDS_CONTAINER}/init"
JOURNALS = f"{RECORDS_CONTAINER}/prunes/"
RUNS = f"{RECORDS_CONTAINER}/runs/"
PREFLIGHT = f"{RECORDS_CONTAINER}/preflight/"
BLOBS = f"{DATABASES_CONTAINER}/"
COME_AND_GO = (f"{SHARE_CONTAINER}/locks/", RUNS, PREFLIGHT)
"""What is deleted without a journal, and missed by nobody."""
SHARE_PREFIXES = ("config", "data/", "index/", "keys/", "snapshots/")


@dataclass(frozen=True, slots=True)
class Held:
    """A current blob."""

    size_bytes: int
    modified: datetime
    """When it was written: what was brought back, then."""
    first_written: datetime
    """When the oldest version of it that is left was."""
    until: datetime | None
    """The date before which it cannot be deleted."""
    legal_hold: bool
    md5: bytes | None
    locked: bool = False
    """The date can only be put off."""

    def is_protected(self, now: datetime) -> bool:
        """Whether a deletion would be refused."""
        return self.legal_hold or (self.until is not None and self.until > now)


@dataclass(slots=True)
class Inventory:
    current: dict[str, Held] = field(default_factory=dict)
    previous: dict[str, list[BlobVersion]] = field(default_factory=dict)
    """By name, the oldest first: what was there before a deletion or an overwrite, soft-deleted versions too."""

    def under(self, prefix: str) -> dict[str, Held]:
        return {name: held for name, held in self.current.items() if name.startswith(prefix)}

    def only_previous(self) -> Iterator[str]:
        """Names that were deleted, by whomever."""
        return (name for name in self.previous if name not in self.current)


def take_inventory(vault: Vault) -> Inventory:
    """One request for each 5,000 versions. Of a vault without ``databases``, or without versions, what there is."""
    inventory = Inventory()
    for container, prefixes in (
        (RECORDS_CONTAINER, ("",)),
        (DATABASES_CONTAINER, ("",)),
        (SHARE_CONTAINER, SHARE_PREFIXES),
    ):
        for prefix in prefixes:
            try:
                for version in vault.versions(container).list_versions(prefix):
                    _add(inventory, f"{container}/{version.name}", version)
            except ContainerMissing:
                if container != DATABASES_CONTAINER:
                    raise
    return inventory


def _add(inventory: Inventory, name: str, version: BlobVersion) -> None:
    if not version.current or version.deleted:
        inventory.previous.setdefault(name, []).append(version)
        return
    before = inventory.previous.get(name)
    first = min((each.modified for each in before), default=version.modified) if before else version.modified
    inventory.current[name] = Held(
        version.size_bytes, version.modified, first, version.until, version.legal_hold, version.md5, version.locked
    )


def is_same(version: BlobVersion, held: Held) -> bool:
    """Whether a previous version has the bytes of the current one, as far as a listing tells."""
    if version.size_bytes != held.size_bytes:
        return False
    return version.md5 is None or held.md5 is None or version.md5 == held.md5
