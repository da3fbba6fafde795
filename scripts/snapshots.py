"""``make snapshots``: works out anew what each shape of ``infra/`` would deploy. The difference is what a review reads,
so that it holds nothing but changes: outputs, which the compiler writes in another order each time, are sorted."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.infra.bicep import INFRA, MISSING, SHAPES, evaluate, find_compiler


def main() -> int:
    if not find_compiler():
        print(MISSING, file=sys.stderr)
        return 1
    for shape in SHAPES:
        written = evaluate(INFRA / "shapes" / f"{shape}.bicepparam", "overwrite")
        if written.returncode or written.stderr:
            print(written.stdout + written.stderr, file=sys.stderr)
            return 1
        tidy(INFRA / "shapes" / f"{shape}.snapshot.json")
        print(shape)
    return 0


def tidy(snapshot: Path) -> None:
    evaluated = json.loads(snapshot.read_text())
    evaluated["outputs"] = dict(sorted(evaluated["outputs"].items()))
    snapshot.write_text(json.dumps(evaluated, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    sys.exit(main())
