"""SIGTERM and Ctrl-C during a run: the lock is released, the exit code is 1, and the next run is as any other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Vault
from tests.integration.commandline.conftest import PASSWORD, CommandLine
from tests.standins.azurite import REPOSITORY
from tests.standins.faults import Call
from tests.standins.restic import StockRestic


@pytest.fixture
def big(lifeboat_in: CommandLine) -> CommandLine:
    """A share of several packs in several folders."""
    for number in range(8):
        (lifeboat_in.share / f"site{number}/big.bin").write_bytes(os.urandom(9 << 20))
    return lifeboat_in


def _start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(Path(REPOSITORY) / "lifeboat.py"), *arguments, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals to send to one process")
@pytest.mark.parametrize("workers", ["1", "3"])
@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT], ids=["sigterm", "ctrl-c"])
def test_an_interrupted_backup_gives_its_lock_back(
    big: CommandLine, vault: Vault, newest_restic: StockRestic, kind: signal.Signals, workers: str
) -> None:
    process: list[subprocess.Popen[str]] = []

    def interrupt(call: Call) -> None:
        process[0].send_signal(kind)

    vault.faults.call("before the 1st put under share/data/", interrupt)
    process.append(_start("backup", "--workers", workers))
    out, err = process[0].communicate(timeout=120)

    assert process[0].returncode == 1
    assert "Traceback" not in err
    answer = json.loads(out)
    assert answer["status"] == "failed"
    assert "interrupted" in answer["reasons"][0]["message"]
    with vault.judge() as store:
        assert list(store.list("locks/")) == []
        assert list(store.list("snapshots/")) == []
    vault.faults.clear()
    assert big("points").json["points"] == []
    assert (big("backup").code, big("check").code) == (0, 0)
    vault.seen_by(newest_restic, PASSWORD).check(read_data=False)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals to send to one process")
def test_an_interrupted_restore_is_run_again(big: CommandLine, vault: Vault, tmp_path: Path) -> None:
    big("backup")
    process: list[subprocess.Popen[str]] = []
    vault.faults.call("before the 4th get under share/data/", lambda call: process[0].send_signal(signal.SIGTERM))
    target = tmp_path / "restored"
    process.append(_start("restore", "share", "--to", str(target)))
    out, err = process[0].communicate(timeout=120)

    assert process[0].returncode == 1
    assert "Traceback" not in err
    assert json.loads(out)["status"] == "failed"
    vault.faults.clear()
    for name, content in big.contents(target).items():
        assert content == big.contents()[name], "what stands under its own name is whole"
    assert big("restore", "share", "--to", str(target)).code == 0
    assert big.contents(target) == big.contents()


def test_a_process_speaks_json_whatever_the_terminal_can_show(lifeboat_in: CommandLine) -> None:
    """As where Windows redirects output: an encoding that has no such characters."""
    lifeboat_in.fill("日本語/naïve.txt")
    (lifeboat_in.share / "日本語/to").symlink_to("nowhere")
    lifeboat_in.settings.setenv("PYTHONIOENCODING", "cp1252")
    lifeboat_in.set(SHARE_EXCLUDE="nothing")

    out, err = _start("backup").communicate(timeout=60)
    point = json.loads(out)["point"]
    shown, err_of_show = _start("show", point).communicate(timeout=60)

    assert err + err_of_show == ""
    assert json.loads(shown)["components"]["share"]["not_descended"]["first"][0]["path"] == "日本語/to"
