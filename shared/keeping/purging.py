"""Previous versions that deletion has left: they go for good when nobody can want them back any more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from shared.errors import BlobProtected
from shared.keeping.deleting import container_of, several_at_once
from shared.keeping.inventory import COME_AND_GO, INDEX, Inventory, is_same
from shared.keeping.journal import Left
from shared.storage.vault import SHARE_CONTAINER, Vault
from shared.storage.versions import BlobVersion


def purge(
    vault: Vault, inventory: Inventory, left: Left, limit: datetime, now: datetime, check: Callable[[], None]
) -> int:
    """Delete previous versions of what the keeper itself has deleted before ``limit``, of locks and other passing
    things that are older, and those that were brought back and are current again since before it, false bytes first.
    Returns how many are gone.

    What somebody else has deleted or overwritten stays: ``undelete`` needs it. So does what a date protects.
    """
    found = [*_old(inventory, left, limit), *_passing(inventory, limit), *_old_locks(vault, limit)]
    pending = [each for each in found if not _is_protected(each[1], now)]
    pending.sort(key=lambda each: not each[0].startswith(INDEX))  # an index that came back without its packs
    return sum(done for _, done in several_at_once(lambda each: _delete(vault, *each), pending, check))


def _old(inventory: Inventory, left: Left, limit: datetime) -> Iterator[tuple[str, BlobVersion]]:
    for name, versions in inventory.previous.items():
        held = inventory.current.get(name)
        if held is None:
            since = left.since(name)
            if since is not None and since < limit:
                yield from ((name, version) for version in versions)
        elif held.modified < limit:
            false = [version for version in versions if not is_same(version, held)]
            if not false:
                yield from ((name, version) for version in versions)
            elif is_same(versions[0], held):  # the true one goes after them: what is oldest decides in 'undelete'
                yield from ((name, version) for version in false)


def _passing(inventory: Inventory, limit: datetime) -> Iterator[tuple[str, BlobVersion]]:
    for name in inventory.only_previous():
        if name.startswith(COME_AND_GO):
            yield from ((name, version) for version in inventory.previous[name] if version.modified < limit)


def _old_locks(vault: Vault, limit: datetime) -> Iterable[tuple[str, BlobVersion]]:
    for version in vault.versions(SHARE_CONTAINER).list_versions("locks/"):
        if not version.current and version.modified < limit:
            yield f"{SHARE_CONTAINER}/{version.name}", version


def _is_protected(version: BlobVersion, now: datetime) -> bool:
    return version.deleted or version.legal_hold or (version.until is not None and version.until > now)


def _delete(vault: Vault, name: str, version: BlobVersion) -> bool:
    if version.version is None:
        return False
    store, inside = container_of(vault, name)
    try:
        store.delete_version(inside, version.version)
    except BlobProtected:
        return False
    return True
