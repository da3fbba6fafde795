"""Runs one case: every contender in turn, round after round, each with a sink and a folder of its own."""

import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks import measure
from tests.benchmarks.cases import Case, Phase
from tests.benchmarks.contenders import Contender, Invocation, Lifeboat, Place, Restic
from tests.benchmarks.datasets import Dataset, touch_one_file
from tests.benchmarks.measure import Measured
from tests.benchmarks.servers import Share, Sink, SinkStats, sink


@dataclass(frozen=True)
class Run:
    measured: Measured
    stats: SinkStats
    """Requests and bytes of this run alone; what is stored is the state after it."""
    stored_bytes: int
    samba_cpu_seconds: float
    sink_cpu_seconds: float


@dataclass
class Result:
    """One contender in one case: its runs, in the order of the rounds, or why there are none."""

    contender: str
    runs: list[Run] = field(default_factory=list)
    problem: str | None = None


def run_case(case: Case, share: Share, *, rounds: int, quick: bool, contenders: Sequence[Contender]) -> list[Result]:
    """Rounds alternate the order, so that nobody is always the one who comes after the same other."""
    dataset = case.dataset(quick)
    _warm(dataset)
    results = {c.name: Result(c.name, problem=c.missing()) for c in contenders}
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lifeboat-benchmark-")))
        places: dict[str, Place] = {}
        for number, contender in enumerate(contenders):
            if results[contender.name].problem:
                continue
            folder = scratch / str(number)
            folder.mkdir()
            own = stack.enter_context(
                sink(
                    latency_ms=case.distance.latency_ms, keep_mib=case.keep_mib, discard_from_kib=case.discard_from_kib
                )
            )
            places[contender.name] = Place(dataset, share, case.distance.round_trip_ms, own, folder)
        one = _RestoreRun(case, scratch) if case.phase is Phase.RESTORE else _BackupRun(case)
        active = [c for c in contenders if c.name in places]
        for contender in active:
            results[contender.name].problem = one.prepare(contender, places[contender.name])
        for round_number in range(min(rounds, case.most_rounds)):
            if case.phase is Phase.ONE_CHANGED:
                touch_one_file(dataset, round_number + 1)
            for contender in active if round_number % 2 == 0 else reversed(active):
                result = results[contender.name]
                if result.problem is None:
                    run, result.problem = one.run(contender, places[contender.name], share)
                    result.runs.append(run)
                    _say(f"{case.name}: {contender.name}: {run.measured.seconds:.2f} s {result.problem or ''}")
    return list(results.values())


class _BackupRun:
    def __init__(self, case: Case) -> None:
        self._case = case

    def prepare(self, contender: Contender, place: Place) -> str | None:
        """For a second look: the first backup, off the clock. Returns what went wrong."""
        if self._case.phase is Phase.FIRST:
            return None
        problem = _begin(contender, place)
        if problem is None:
            measured = _execute(contender.backup(place, again=False))
            problem = contender.problem(place, measured, place.sink.stats())
        return problem and f"the first backup: {problem}"

    def run(self, contender: Contender, place: Place, share: Share) -> tuple[Run, str | None]:
        again = self._case.phase is not Phase.FIRST
        problem = None if again else _begin(contender, place)
        run = _measured(contender.backup(place, again=again), place, share)
        run = Run(
            run.measured,
            run.stats,
            contender.stored_bytes(place, run.stats),
            run.samba_cpu_seconds,
            run.sink_cpu_seconds,
        )
        return run, problem or contender.problem(place, run.measured, run.stats)


class _RestoreRun:
    """All restore the one repository that Lifeboat writes first; what came back is compared with the source."""

    def __init__(self, case: Case, scratch: Path) -> None:
        self._copy = scratch / "copied-repository"
        self._target = scratch / "restored"
        self._source: Sink | None = None

    def prepare(self, contender: Contender, place: Place) -> str | None:
        if self._source is not None:
            return None
        lifeboat = Lifeboat()
        if missing := lifeboat.missing():
            return missing
        lifeboat.begin(place)
        measured = _execute(lifeboat.backup(place, again=False))
        if problem := lifeboat.problem(place, measured, place.sink.stats()):
            return f"the backup: {problem}"
        self._source = place.sink
        place.sink.export("share", self._copy)
        return None

    def run(self, contender: Contender, place: Place, share: Share) -> tuple[Run, str | None]:
        assert self._source is not None
        shutil.rmtree(self._target, ignore_errors=True)
        self._target.mkdir()
        there = Place(place.dataset, share, place.round_trip_ms, self._source, place.folder)
        if isinstance(contender, Lifeboat):
            invocation = contender.restore(there, self._target)
        else:
            assert isinstance(contender, Restic)
            invocation = contender.restore(there, self._target, self._copy)
        run = _measured(invocation, there, share)
        if run.measured.exit_code:
            return run, f"exit code {run.measured.exit_code}: {run.measured.errors.strip()[-300:]}"
        found = self._target / place.dataset.path.name
        return run, differences(place.dataset.path, found if found.is_dir() else self._target)


def differences(source: Path, restored: Path) -> str | None:
    """The first file that is missing or has other bytes; None when there is none."""
    for path in source.rglob("*"):
        other = restored / path.relative_to(source)
        if path.is_file() and (not other.is_file() or path.read_bytes() != other.read_bytes()):
            return f"{path.relative_to(source)} did not come back as it was"
    return None


def _begin(contender: Contender, place: Place) -> str | None:
    for invocation in contender.begin(place):
        measured = _execute(invocation)
        if measured.exit_code:
            return f"{' '.join(invocation.command[:3])}: {measured.errors.strip()[-300:]}"
    return None


def _execute(invocation: Invocation) -> Measured:
    return measure.run(invocation.command, invocation.environment)


def _measured(invocation: Invocation, place: Place, share: Share) -> Run:
    before, samba_before = place.sink.stats(reset=True), share.cpu_seconds()
    measured = _execute(invocation)
    stats, samba_after = place.sink.stats(), share.cpu_seconds()
    return Run(measured, stats, stats.stored_bytes, samba_after - samba_before, stats.cpu_seconds - before.cpu_seconds)


def _warm(dataset: Dataset) -> None:
    """Reads every file once: nobody is measured with a cold page cache."""
    for path in dataset.path.rglob("*"):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                while file.read(1 << 20):
                    pass


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
