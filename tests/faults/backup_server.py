"""Runs whole commands, each in a process of its own that can be killed, without waiting for imports each time.

    python -m tests.faults.backup_server     then, line by line on standard input: [["backup"], {"LIFEBOAT_...": "..."}]

For each line it forks a process that runs ``lifeboat.py backup --json``, or what else the line says, with these
settings, prints its process id, and when that has ended, its exit code (negative: the signal).
"""

from __future__ import annotations

import json
import os
import sys

import azure.identity
import azure.storage.blob  # noqa: F401 - imported once, before the forks

import lifeboat
import shared.fileshare.backup
import shared.recovery_point.backup
import shared.recovery_point.restore  # noqa: F401
from tests.faults.helpers import quick


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if not child:
            arguments, settings = json.loads(line)
            os.environ.update(settings)
            sink = os.open(os.devnull, os.O_WRONLY)
            os.dup2(sink, 1)
            with quick():
                code = lifeboat.main([*arguments, "--json"])
            os._exit(code)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
