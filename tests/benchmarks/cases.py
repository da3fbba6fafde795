"""The cases: what is backed up or restored, over which distance, by whom, and what DESIGN asks for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from tests.benchmarks import datasets
from tests.benchmarks.contenders import (
    RCLONE,
    RCLONE_BIG,
    RCLONE_SMALL,
    RCLONE_SMALL_FAR,
    Azcopy,
    Contender,
    Lifeboat,
    Restic,
    restic_programs,
)
from tests.benchmarks.datasets import Dataset

REFERENCE = "rclone, tuned"


class Phase(Enum):
    FIRST = "first backup"
    AGAIN = "again, nothing changed"
    ONE_CHANGED = "again, one file changed"
    RESTORE = "restore"


@dataclass(frozen=True)
class Distance:
    round_trip_ms: float
    """To the share, through the delaying proxy."""
    latency_ms: float
    """How long the sink waits before each answer."""


NEAR = Distance(0, 0)
FAR = Distance(10, 20)


@dataclass(frozen=True)
class Case:
    name: str
    title: str
    phase: Phase
    dataset: Callable[[bool], Dataset]
    """Takes whether the run is a quick one."""
    contenders: Sequence[Contender]
    reference: str = REFERENCE
    """Whose time the ratios compare with: the name of a contender, or its beginning."""
    asked: str = ""
    """What DESIGN.md asks of Lifeboat here."""
    distance: Distance = NEAR
    keep_mib: int = 256
    discard_from_kib: int | None = None
    optional: bool = False
    """Only run when named."""
    most_rounds: int = 100


def _small(quick: bool) -> Dataset:
    return datasets.small_files(2_000 if quick else 20_000)


def _hundred_thousand(quick: bool) -> Dataset:
    return datasets.small_files(5_000 if quick else 100_000)


def _big(quick: bool) -> Dataset:
    return datasets.big_files(4, (16 if quick else 256) << 20)


def _million(quick: bool) -> Dataset:
    return datasets.tiny_files(20_000 if quick else 1_000_000)


def all_cases(workers: Sequence[int]) -> list[Case]:
    """`workers`: the fan-outs in which Lifeboat is measured besides its default."""
    lifeboat: list[Contender] = [Lifeboat()]
    lifeboat += [Lifeboat(f"Lifeboat, --workers {n}", ("--workers", str(n))) for n in workers]
    looking = Lifeboat("Lifeboat, with the daily look", settings={"LIFEBOAT_SHARE_LOOK_EVERY": "0s"})
    no_acl = Lifeboat("Lifeboat, without ACLs", settings={"LIFEBOAT_SHARE_ACL": "false"})
    from_folder = Lifeboat("Lifeboat, local folder", local=True)
    found = restic_programs().items()
    restic: list[Contender] = [Restic(f"{name}, local to local", program) for name, program in found]
    restic_far: list[Contender] = []
    restic_far += [Restic(f"{name}, local to sink", program, into_sink=True) for name, program in found][-1:]
    return [
        Case("A", "20,000 small files", Phase.FIRST, _small,
             [*lifeboat, no_acl, from_folder, RCLONE, RCLONE_SMALL, *restic, *restic_far, Azcopy()],
             asked="at least 3.5, aim 5"),
        Case("A-again", "20,000 small files", Phase.AGAIN, _small,
             [*lifeboat, looking, RCLONE, RCLONE_SMALL, *restic, *restic_far, Azcopy()]),
        Case("A-one-changed", "20,000 small files", Phase.ONE_CHANGED, _small,
             [*lifeboat, RCLONE_SMALL, *restic[-1:]]),
        Case("A-far", "20,000 small files", Phase.FIRST, _small, [*lifeboat, RCLONE_SMALL_FAR],
             asked="at least 4.5, aim 6", distance=FAR),
        Case("A-again-far", "20,000 small files", Phase.AGAIN, _small, [*lifeboat, looking, RCLONE_SMALL_FAR],
             distance=FAR),
        Case("A100k-again", "100,000 small files", Phase.AGAIN, _hundred_thousand,
             [*lifeboat, looking, RCLONE, RCLONE_SMALL, *restic[-1:]], asked="at least 1.5, aim 3", keep_mib=1024),
        Case("A100k-again-far", "100,000 small files", Phase.AGAIN, _hundred_thousand,
             [*lifeboat, looking, RCLONE_SMALL_FAR], keep_mib=1024, distance=FAR),
        Case("B", "4 archives of 256 MiB", Phase.FIRST, _big, [*lifeboat, RCLONE, RCLONE_BIG, *restic, Azcopy()],
             asked="at least 1.3, aim 1.7", keep_mib=64, discard_from_kib=1024),
        Case("B-far", "4 archives of 256 MiB", Phase.FIRST, _big, [*lifeboat, RCLONE_BIG],
             keep_mib=64, discard_from_kib=1024, distance=FAR),
        Case("restore", "20,000 small files", Phase.RESTORE, _small, [*lifeboat, *restic, *restic_far],
             reference="restic", asked="at least 1"),
        Case("million", "1,000,000 tiny files", Phase.FIRST, _million, lifeboat,
             asked="peak memory under 512 MB", keep_mib=1024, optional=True, most_rounds=1),
        Case("million-again", "1,000,000 tiny files", Phase.AGAIN, _million, lifeboat,
             asked="peak memory under 512 MB", keep_mib=1024, optional=True, most_rounds=1),
    ]  # fmt: skip
