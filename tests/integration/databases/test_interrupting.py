"""Ctrl-C and SIGTERM while SQL Server works: its statement is cancelled, nothing is left behind, and how things stand
is told."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from tests.integration.databases.conftest import HOSTING, PASSWORD, Bench, address, rows
from tests.standins.azurite import REPOSITORY

BEFORE = [(1, "first"), (2, "zweite Straße")]


def interrupted(bench: Bench, begins: str, kind: signal.Signals, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Run a command, and send it the signal while a further statement that begins so runs."""
    before = len(bench.sent(begins))
    run = subprocess.Popen(
        [sys.executable, "lifeboat.py", *arguments, "--json"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    deadline = time.monotonic() + 60
    while len(bench.sent(begins)) == before and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    run.send_signal(kind)
    out, err = run.communicate(timeout=60)
    assert "Traceback" not in err
    assert out.count("\n") == 1
    return run.returncode, json.loads(out), err


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT], ids=["sigterm", "ctrl-c"])
def test_an_interrupted_backup_cancels_its_statement_and_clears_away(bench: Bench, kind: signal.Signals) -> None:
    bench.server.slow("BACKUP", 60, times=1)
    code, answer, _ = interrupted(bench, "BACKUP", kind, "backup")
    assert (code, answer["status"]) == (1, "failed")
    assert "interrupted" in answer["reasons"][0]["message"]
    assert bench.landed() == []
    assert bench.server.query("master", "SELECT name FROM sys.credentials") == []
    with bench.vault.judge() as store:
        assert list(store.list("locks/")) == []
    assert bench.command("backup").status == "complete"


def test_an_interrupted_restore_beside_others_says_how_the_database_stands(bench: Bench) -> None:
    assert bench.command("backup").status == "complete"
    bench.as_restorer()
    bench.server.slow("RESTORE DATABASE", 60, times=1)
    code, answer, _ = interrupted(bench, "RESTORE DATABASE", signal.SIGINT, "restore", "databases", "--as", "_x")
    assert (code, answer["status"]) == (1, "failed")
    (reason,) = answer["reasons"]
    assert (reason["code"], reason["database"]) == ("cancelled", HOSTING)
    assert bench.landed() == []
    assert bench.server.query("master", "SELECT name FROM sys.credentials") == []


def test_an_interrupted_restore_over_a_live_database_leaves_it_usable_or_says_that_it_is_not(bench: Bench) -> None:
    assert bench.command("backup").status == "complete"
    bench.as_restorer()
    bench.server.slow("RESTORE DATABASE", 60, times=1)
    code, answer, _ = interrupted(bench, "RESTORE DATABASE", signal.SIGINT, "restore", "databases", "--overwrite")
    assert (code, answer["restored"]) == (1, 0)
    (reason,) = answer["reasons"]
    state = bench.server.database(HOSTING)
    if state.state == "ONLINE":
        assert "is as it was" in reason["message"]
        assert state.user_access == "MULTI_USER"
    else:
        assert "cannot be used until a restore ends well" in reason["message"]
    again = bench.command("restore", "databases", "--overwrite")
    assert again.code == 0, again.reasons
    assert rows(bench.server, HOSTING) == BEFORE
    assert bench.server.database(HOSTING).user_access == "MULTI_USER"


def test_an_interrupted_drill_drops_what_it_made(bench: Bench) -> None:
    assert bench.command("backup").status == "complete"
    bench.command.set(DRILL_SQL_SERVER=address(bench.server), DRILL_SQL_USERNAME="tests", DRILL_SQL_PASSWORD=PASSWORD)
    bench.server.slow("DBCC", 60, times=1)
    code, answer, _ = interrupted(bench, "DBCC", signal.SIGTERM, "drill", "--on-production")
    assert (code, answer["status"]) == (1, "failed")
    left = [name for (name,) in bench.server.query("master", "SELECT name FROM sys.databases")]
    assert not [name for name in left if str(name).startswith("lifeboat_drill")]
