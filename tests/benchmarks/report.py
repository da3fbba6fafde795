"""The tables: ratios first, with everything that is needed to judge them."""

import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks.cases import Case
from tests.benchmarks.contenders import PROJECT, versions
from tests.benchmarks.datasets import Dataset
from tests.benchmarks.runner import Result, Run
from tests.benchmarks.servers import samba_version

_COLUMNS = (
    "",
    "times as fast",
    "seconds",
    "requests",
    "sent MB",
    "stored MB",
    "CPU s",
    "peak MB",
    "Samba CPU s",
    "sink CPU s",
)


@dataclass(frozen=True)
class Ratio:
    """The median over pairs of runs of the same round, and its range."""

    median: float
    low: float
    high: float


def ratio(reference: Sequence[Run], runs: Sequence[Run]) -> Ratio | None:
    """How many times as fast as the reference; above 1 is faster."""
    pairs = [r.measured.seconds / own.measured.seconds for r, own in zip(reference, runs, strict=False)]
    return Ratio(statistics.median(pairs), min(pairs), max(pairs)) if pairs else None


def heading(rounds: int, quick: bool, round_trips: dict[float, float]) -> str:
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=PROJECT, capture_output=True, text=True, check=False
    ).stdout.strip()
    load = os.getloadavg()[0]
    busy = f" **Not alone on the machine: load {load:.1f} before the first run.**" if load > 1 else ""
    measured = "".join(f", {asked:g} ms of round trip measured as {real:.1f}" for asked, real in round_trips.items())
    return "\n".join(
        [
            f"Measured on {datetime.now(UTC):%Y-%m-%d}, {samba_version()} on loopback (signing required, encryption "
            "offered: Lifeboat takes it, rclone signs), "
            f"{os.cpu_count()} cores shared by client, Samba and sink ({_processor()}, {platform.system()} "
            f"{platform.release().split('-')[0]}, Python {platform.python_version()}){measured}. "
            f"Lifeboat {commit or 'without a commit'}; {'; '.join(versions())}. "
            f"Medians of {rounds} alternating round{'s' if rounds > 1 else ''}"
            f"{', **quick: small data, the figures mean little**' if quick else ''}.{busy}",
        ]
    )


def table(case: Case, dataset: Dataset, results: Sequence[Result]) -> str:
    far = (
        f", {case.distance.round_trip_ms:g} ms SMB round trip, {case.distance.latency_ms:g} ms blob latency"
        if case.distance.latency_ms
        else ""
    )
    reference = next((r for r in results if r.contender.startswith(case.reference) and r.runs), None)
    what = f"{dataset.files:,} files, {dataset.bytes / 1e6:,.0f} MB"
    lines = [f"### {case.name}: {case.phase.value}, {what}{far}", ""]
    if reference is not None:
        asked = f" Asked of Lifeboat: {case.asked}." if case.asked else ""
        lines += [f"Times as fast as {reference.contender}: median of pairs (lowest to highest).{asked}", ""]
    elif case.asked:
        lines += [f"Asked of Lifeboat: {case.asked}.", ""]
    lines += ["| " + " | ".join(_COLUMNS) + " |", "|---" + "|---:" * (len(_COLUMNS) - 1) + "|"]
    for result in results:
        if result.runs and result.problem is None:
            cells = _cells(result, reference)
            lines.append(f"| {result.contender} | " + " | ".join(cells) + " |")
    lines += [f"\n{r.contender}: not measured: {r.problem}" for r in results if r.problem]
    return "\n".join(lines) + "\n"


def _cells(result: Result, reference: Result | None) -> list[str]:
    runs = result.runs

    def median(values: Sequence[float]) -> float:
        return statistics.median(values)

    times = ratio(reference.runs, runs) if reference else None
    speed = "" if times is None else f"**{times.median:.2f}** ({times.low:.2f} to {times.high:.2f})"
    return [
        speed,
        f"{median([r.measured.seconds for r in runs]):.2f}",
        f"{median([r.stats.request_count for r in runs]):,.0f}",
        f"{median([r.stats.bytes_in for r in runs]) / 1e6:,.1f}",
        f"{median([r.stored_bytes for r in runs]) / 1e6:,.1f}",
        f"{median([r.measured.cpu_seconds for r in runs]):.2f}",
        f"{max(r.measured.peak_bytes for r in runs) / 1e6:,.0f}",
        f"{median([r.samba_cpu_seconds for r in runs]):.2f}",
        f"{median([r.sink_cpu_seconds for r in runs]):.2f}",
    ]


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open() as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.machine()
