"""python -m tests.benchmarks: Lifeboat beside its peers, in one run. See README.md."""

import argparse
import signal
import sys
from pathlib import Path

from tests.benchmarks import delay, report
from tests.benchmarks.cases import all_cases
from tests.benchmarks.datasets import cache_folder
from tests.benchmarks.runner import run_case
from tests.benchmarks.servers import share
from tests.standins.samba import SambaCannotStart


def main() -> int:
    arguments = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are ended too
    cases = all_cases(arguments.workers)
    if arguments.list:
        for case in cases:
            print(f"{case.name:16} {case.title}, {case.phase.value}: {'; '.join(c.name for c in case.contenders)}")
        return 0
    if unknown := set(arguments.only) - {case.name for case in cases}:
        print(f"no such case: {', '.join(sorted(unknown))}; --list shows them", file=sys.stderr)
        return 2
    chosen = [c for c in cases if (c.name in arguments.only if arguments.only else not c.optional)]
    rounds = arguments.rounds or (1 if arguments.quick else 3)
    round_trips = {
        ms: delay.measured_round_trip_ms(ms) for ms in sorted({c.distance.round_trip_ms for c in chosen} - {0})
    }
    parts = [report.heading(rounds, arguments.quick, round_trips), ""]
    healthy = True
    try:
        with share(cache_folder()) as served:
            for case in chosen:
                contenders = [
                    c
                    for c in case.contenders
                    if not arguments.contender or any(c.name.lower().startswith(n.lower()) for n in arguments.contender)
                ]
                results = run_case(case, served, rounds=rounds, quick=arguments.quick, contenders=contenders)
                healthy &= not any(r.problem and r.runs for r in results)
                parts.append(report.table(case, case.dataset(arguments.quick), results))
                print(parts[-1], flush=True)
    except SambaCannotStart as error:
        print(f"the benchmarks need Samba: {error}", file=sys.stderr)
        return 1
    finally:
        if arguments.markdown and len(parts) > 2:
            arguments.markdown.write_text("\n".join(parts))
    print(parts[0])
    return 0 if healthy else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Lifeboat beside its peers.")
    parser.add_argument("--quick", action="store_true", help="small data, one round: does it all still run?")
    parser.add_argument("--only", action="append", default=[], metavar="CASE", help="this case; may be given again")
    parser.add_argument(
        "--contender",
        action="append",
        default=[],
        metavar="NAME",
        help="those whose name begins so; may be given again",
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="alternating rounds (3; 1 with --quick)")
    parser.add_argument(
        "--workers", type=int, nargs="*", default=[2], metavar="N", help="measure Lifeboat with this fan-out too"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there too")
    parser.add_argument("--list", action="store_true", help="show the cases and end")
    return parser


if __name__ == "__main__":
    sys.exit(main())
