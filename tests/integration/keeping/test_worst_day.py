"""The worst day: somebody with every right deletes and overwrites all that Azure lets anybody, and it comes back.

Behind the rights of each: the backup app backs up, the keeper protects and brings back, the attacker may do everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import pytest

from shared.errors import RepositoryMissing
from shared.keeping.protecting import Protected, protect
from shared.keeping.undeleting import Undeleted, undelete
from shared.settings import Settings
from shared.storage.versions import VersionedStore
from tests.faults.helpers import PASSWORD, back_up, change_share, contents, make_share
from tests.integration.keeping.attacker import CONTAINERS, delete_everything, overwrite_everything
from tests.standins.memory_vault import MemoryVault
from tests.standins.restic import StockRestic, installed
from tests.standins.rights_proxy import BACKUP_APP, KEEPER, OWNER
from tests.standins.worm import DeleteUnderPolicy, Worm

SETTINGS = Settings.from_environment({"LIFEBOAT_VAULT_URL": "memory", "LIFEBOAT_PROTECT_FOR": "14d"})


class Clock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, length: timedelta) -> None:
        self.now += length


@contextmanager
def kept_by(vault: MemoryVault) -> Iterator[None]:
    with (
        patch("shared.keeping.protecting.Vault", lambda _: vault),
        patch("shared.keeping.undeleting.Vault", lambda _: vault),
    ):
        yield


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["refused", "previous version"])
def reading(request: pytest.FixtureRequest) -> DeleteUnderPolicy:
    """What Delete Blob does under a date."""
    read: DeleteUnderPolicy = request.param
    return read


@pytest.fixture(params=[False, True], ids=["no soft delete", "soft delete"])
def vault(request: pytest.FixtureRequest, clock: Clock, reading: DeleteUnderPolicy) -> MemoryVault:
    worm = Worm(delete_under_policy=reading, soft_delete=request.param)
    return MemoryVault(clock=clock, worm=worm, rights=BACKUP_APP, password=PASSWORD)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_share(tmp_path / "source")


def protect_as_keeper(vault: MemoryVault, clock: Clock) -> Protected:
    with kept_by(vault.with_rights(KEEPER)):
        return protect(SETTINGS, clock=clock)


def undelete_as_keeper(vault: MemoryVault, *, everything: bool = False, dry_run: bool = False) -> Undeleted:
    with kept_by(vault.with_rights(KEEPER)):
        return undelete(SETTINGS, everything=everything, dry_run=dry_run)


def as_attacker(vault: MemoryVault) -> dict[str, VersionedStore]:
    return {container: vault.judge(container) for container in CONTAINERS}


def current(vault: MemoryVault) -> dict[str, bytes]:
    """Every blob but the locks, and results beside the points, which are not protected."""
    return {
        f"{container}/{blob.name}": vault.judge(container).get(blob.name)
        for container in CONTAINERS
        for blob in vault.judge(container).list("")
        if not blob.name.startswith(("locks/", "verifications/"))
    }


def assert_restored_by_stock_restic(
    vault: MemoryVault, snapshot: str | None, expected: dict[str, bytes], folder: Path
) -> None:
    repository = vault.to_folder("share", folder / "repository")
    for binary in installed():
        stock = StockRestic(binary).on_folder(repository, PASSWORD)
        stock.check()
        target = folder / f"restored by {binary.name}"
        stock.run("restore", str(snapshot), "--target", str(target))
        assert contents(target / "source") == expected


def overwrite(vault: MemoryVault, container: str, name: str, body: bytes) -> None:
    vault.judge(container).overwrite(name, body)


def test_a_vault_in_which_everything_was_overwritten_and_deleted_comes_back_as_it_was(
    vault: MemoryVault, clock: Clock, source: Path, tmp_path: Path
) -> None:
    back_up(vault, source)  # type: ignore[arg-type]
    change_share(source, 1)
    point = back_up(vault, source)  # type: ignore[arg-type]
    before = current(vault)
    assert protect_as_keeper(vault, clock).status == "ok"
    clock.pass_by(timedelta(days=6))

    overwrite_everything(as_attacker(vault), lambda *where: overwrite(vault, *where))
    delete_everything(as_attacker(vault))
    assert not current(vault)

    undeleted = undelete_as_keeper(vault)

    results_left = ["storage-forbidden"] if vault.worm.soft_delete else []  # they had no date; the keeper may not
    assert [reason["code"] for reason in undeleted.reasons] == results_left
    assert undeleted.restored == len(before)
    assert current(vault) == before
    assert undelete_as_keeper(vault).restored == 0
    assert_restored_by_stock_restic(vault, point.snapshot, contents(source), tmp_path)


def test_what_was_only_overwritten_is_put_right_and_the_false_bytes_stay_as_versions(
    vault: MemoryVault, clock: Clock, source: Path, tmp_path: Path
) -> None:
    point = back_up(vault, source)  # type: ignore[arg-type]
    before = current(vault)
    protect_as_keeper(vault, clock)
    overwrite_everything(as_attacker(vault), lambda *where: overwrite(vault, *where))

    found = protect_as_keeper(vault, clock)
    undeleted = undelete_as_keeper(vault)

    assert {"tampered"} <= {reason["code"] for reason in found.reasons}
    assert found.extended == 0  # a date would keep the false bytes
    assert undeleted.status == "ok"
    assert current(vault) == before
    assert_restored_by_stock_restic(vault, point.snapshot, contents(source), tmp_path)
    assert protect_as_keeper(vault, clock).status == "ok"
    assert undelete_as_keeper(vault).restored == 0


def test_what_had_no_date_yet_is_lost_and_told_and_the_rest_comes_back(
    clock: Clock, reading: DeleteUnderPolicy, source: Path, tmp_path: Path
) -> None:
    vault = MemoryVault(clock=clock, worm=Worm(delete_under_policy=reading), rights=BACKUP_APP, password=PASSWORD)
    kept = back_up(vault, source)  # type: ignore[arg-type]
    expected = contents(source)
    protect_as_keeper(vault, clock)
    change_share(source, 1)
    lost = back_up(vault, source)  # type: ignore[arg-type]
    record = f"recovery-points/points/{lost.point}.json"
    delete_everything(as_attacker(vault), spare=[record])

    undeleted = undelete_as_keeper(vault)
    found = protect_as_keeper(vault, clock)

    assert undeleted.status == "partial"
    assert [reason["object"] for reason in undeleted.reasons] == [f"share/snapshots/{lost.snapshot}"]
    assert lost.point in undeleted.reasons[0]["message"]
    assert "damaged" in {reason["code"] for reason in found.reasons}
    assert f"share/snapshots/{lost.snapshot}" in {reason["object"] for reason in found.reasons}
    assert_restored_by_stock_restic(vault, kept.snapshot, expected, tmp_path)


def test_soft_delete_alone_brings_everything_back_for_who_may_write(
    clock: Clock, reading: DeleteUnderPolicy, source: Path, tmp_path: Path
) -> None:
    worm = Worm(delete_under_policy=reading, soft_delete=True)
    vault = MemoryVault(clock=clock, worm=worm, rights=BACKUP_APP, password=PASSWORD)
    point = back_up(vault, source)  # type: ignore[arg-type]
    before = current(vault)
    overwrite_everything(as_attacker(vault), lambda *where: overwrite(vault, *where))
    delete_everything(as_attacker(vault))

    refused = undelete_as_keeper(vault)
    with kept_by(vault.with_rights(OWNER)):
        undeleted = undelete(SETTINGS)

    assert [reason["code"] for reason in refused.reasons] == ["storage-forbidden", "damaged"]
    assert "blobs/write" in refused.reasons[0]["remedy"]
    assert undeleted.status == "ok"
    assert current(vault) == before
    assert_restored_by_stock_restic(vault, point.snapshot, contents(source), tmp_path)


def test_an_account_that_keeps_no_versions_but_what_was_deleted_gives_that_back(clock: Clock, source: Path) -> None:
    worm = Worm(versioning=False, immutability=False, soft_delete=True)
    vault = MemoryVault(clock=clock, worm=worm, rights=BACKUP_APP, password=PASSWORD)
    back_up(vault, source)  # type: ignore[arg-type]
    before = current(vault)
    for container in CONTAINERS:
        for blob in list(vault.judge(container).list("")):
            vault.judge(container).delete(blob.name)

    with kept_by(vault.with_rights(OWNER)):
        undeleted = undelete(SETTINGS)

    assert undeleted.restored >= len(before)
    assert current(vault) == before


def test_without_any_protection_it_is_said_that_nothing_can_be_brought_back(
    clock: Clock, source: Path, reading: DeleteUnderPolicy
) -> None:
    vault = MemoryVault(clock=clock, worm=Worm(delete_under_policy=reading), rights=BACKUP_APP, password=PASSWORD)
    back_up(vault, source)  # type: ignore[arg-type]
    delete_everything(as_attacker(vault))

    undeleted = undelete_as_keeper(vault)

    assert undeleted.status == "failed"
    assert undeleted.answer()["reasons"][0]["code"] == "no-versions"


def test_no_second_repository_is_begun_where_the_first_can_still_come_back(
    vault: MemoryVault, source: Path, tmp_path: Path
) -> None:
    point = back_up(vault, source)  # type: ignore[arg-type]
    for store in as_attacker(vault).values():
        for blob in list(store.list("")):
            store.delete(blob.name)

    with pytest.raises(RepositoryMissing, match="previous versions"):
        back_up(vault, source, new_repository=True)  # type: ignore[arg-type]

    assert undelete_as_keeper(vault).status == "ok"
    assert_restored_by_stock_restic(vault, point.snapshot, contents(source), tmp_path)
