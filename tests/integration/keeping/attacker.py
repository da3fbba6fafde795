"""An attacker with every right that Azure lets anybody have: what a date does not forbid, it does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress

from shared.errors import BlobProtected
from shared.storage.versions import VersionedStore

CONTAINERS = ("share", "recovery-points", "databases")

Overwrite = Callable[[str, str, bytes], None]
"""Puts bytes over a blob: container, name, bytes. ``BlobProtected`` where that is refused."""


def delete_everything(stores: dict[str, VersionedStore], *, spare: Iterable[str] = ()) -> None:
    """Each current blob, and then each version; ``spare``: full names."""
    spared = set(spare)
    for container, store in stores.items():
        for blob in list(store.list("")):
            if f"{container}/{blob.name}" not in spared:
                with suppress(BlobProtected):
                    store.delete(blob.name)
        for version in list(store.list_versions("")):
            if not version.current and version.version and f"{container}/{version.name}" not in spared:
                with suppress(BlobProtected):
                    store.delete_version(version.name, version.version)


def overwrite_everything(stores: dict[str, VersionedStore], overwrite: Overwrite) -> None:
    """With bytes of the same length, so that a listing shows no shorter blob."""
    for container, store in stores.items():
        for blob in list(store.list("")):
            with suppress(BlobProtected):
                overwrite(container, blob.name, b"!" * blob.size_bytes)
