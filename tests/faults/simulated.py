"""A site whose clock the test moves: a share in a folder, a vault in memory that keeps versions and dates, and the
commands of each identity on them, behind its rights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import time_machine

from shared.keeping.protecting import Protected, protect
from shared.keeping.pruning import Pruned, prune
from shared.keeping.undeleting import Undeleted, undelete
from shared.recovery_point.backup import Backup
from shared.recovery_point.catalog import Catalog
from shared.recovery_point.record import RecoveryPoint
from shared.recovery_point.restore import ShareRestoreRequest, restore_share
from shared.recovery_point.scope import BackupRequest
from shared.recovery_point.verification import verify_round
from shared.recovery_point.verifications import Verification
from shared.repository.checker import Checker
from shared.repository.repository import Repository
from shared.settings import Settings
from tests.faults.helpers import PASSWORD, contents, quick
from tests.standins.memory_vault import MemoryVault
from tests.standins.restic import StockRestic
from tests.standins.rights_proxy import BACKUP_APP, KEEPER, READER
from tests.standins.worm import Version, Worm, WormContainer

COMMANDS = (
    *(f"shared.recovery_point.{name}" for name in ("backup", "verification", "restore", "check")),
    *(f"shared.keeping.{name}" for name in ("pruning", "protecting", "undeleting")),
)
BEGIN = datetime(2026, 3, 2, tzinfo=UTC)
"""A Monday."""


@dataclass(frozen=True)
class Moment:
    """A vault as it was."""

    time: datetime
    blobs: dict[str, dict[str, list[Version]]] = field(repr=False)
    """By container and name."""


@dataclass
class SimulatedSite:
    """Made by ``simulated_site``; everything sees its clock."""

    share: Path
    clock: time_machine.Traveller
    settings: dict[str, str] = field(default_factory=dict)
    worm: Worm = field(default_factory=Worm)
    vault: MemoryVault = field(init=False)
    told: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """What the share held when each point was made: the model."""
    snapshots: dict[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.vault = MemoryVault(worm=self.worm, rights=BACKUP_APP, password=PASSWORD)
        self.keeper = self.vault.with_rights(KEEPER)
        self.restorer = self.vault.with_rights(READER)

    @property
    def now(self) -> datetime:
        return datetime.now(UTC)

    def pass_by(self, length: timedelta) -> None:
        self.clock.shift(length)

    def back_up(self, **request: bool) -> RecoveryPoint:
        with using(self.vault), quick():
            point = Backup(self._settings(), BackupRequest(**request)).run()  # type: ignore[arg-type]
        self.told[point.point] = contents(self.share)
        self.snapshots[point.point] = point.snapshot
        return point

    def prune(self, *, dry_run: bool = False, repository: bool = True, forget: Sequence[str] = ()) -> Pruned:
        with using(self.keeper), quick():
            return prune(self._settings(), dry_run=dry_run, repository=repository, forget=forget)

    def protect(self) -> Protected:
        with using(self.keeper):
            return protect(self._settings())

    def undelete(self, *, everything: bool = False) -> Undeleted:
        with using(self.keeper):
            return undelete(self._settings(), everything=everything)

    def verify(self) -> Verification:
        with using(self.vault):
            return verify_round(self._settings())

    def points(self) -> list[str]:
        """Newest first."""
        return Catalog(self.vault.judge("recovery-points")).ids()

    def snapshot_of(self, point: str) -> str | None:
        """Of the share, by the record that was written, whether it is still there or not."""
        return self.snapshots.get(point)

    def restored(self, point: str, folder: Path) -> dict[str, bytes]:
        """What a person who may only read brings back of a point."""
        with using(self.restorer):
            restored = restore_share(self._settings(), ShareRestoreRequest(point, str(folder)))
        assert restored.result.status == "complete", restored.result.reasons
        return contents(folder)

    def findings(self) -> list[str]:
        """What our own check, with every byte read, has to say of the repository."""
        checker = Checker(Repository.open(self.vault.judge(), PASSWORD))
        return [f"{finding.object}: {finding.message}" for finding in checker.run(read_data=True)]

    def judged_by(self, judge: StockRestic, folder: Path) -> None:
        """``restic check --read-data`` of the repository as it is; it raises where that finds anything."""
        stock = judge.on_folder(self.vault.to_folder("share", folder), PASSWORD)
        stock.run("unlock", "--remove-all")
        stock.check()

    def remember(self) -> Moment:
        """What the vault holds now, to ``return_to`` as often as wanted. The share is no part of it."""
        blobs = {name: {blob: list(there) for blob, there in each._blobs.items()} for name, each in self._containers()}
        return Moment(self.now, blobs)

    def return_to(self, moment: Moment) -> None:
        self.clock.move_to(moment.time)
        for name, each in self._containers():
            each._blobs = {blob: list(there) for blob, there in moment.blobs.get(name, {}).items()}
            each._last_tick = 0

    def _containers(self) -> list[tuple[str, WormContainer]]:
        return list(self.vault.containers.items())

    def names(self, prefix: str, container: str = "share") -> list[str]:
        return [blob.name for blob in self.vault.judge(container).list(prefix)]

    def _settings(self) -> Settings:
        return Settings.from_environment(
            {
                "LIFEBOAT_VAULT_URL": "memory",
                "LIFEBOAT_SHARE_URL": self.share.as_uri(),
                "LIFEBOAT_LOCK_WAIT": "0s",
                **{f"LIFEBOAT_{name}": value for name, value in self.settings.items()},
            }
        )


@contextmanager
def simulated_site(
    share: Path, *, settings: Mapping[str, str], begin: datetime = BEGIN, worm: Worm | None = None
) -> Iterator[SimulatedSite]:
    """``settings`` without ``LIFEBOAT_``. The clock goes on from ``begin`` and can be moved."""
    with time_machine.travel(begin, tick=True) as clock:
        yield SimulatedSite(share, clock, dict(settings), worm or Worm())


@contextmanager
def using(vault: MemoryVault) -> Iterator[None]:
    """Every command finds this vault, with the rights that it has."""
    with ExitStack() as patches:
        for name in COMMANDS:
            patches.enter_context(patch(f"{name}.Vault", lambda _: vault))
        yield
