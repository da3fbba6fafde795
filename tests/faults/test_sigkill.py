"""Fault 1 with a real process, a real signal and real requests: ``lifeboat.py backup`` behind the rights of the backup
app is killed when a storage call was done and before it hears of it. ``test_killed_runs`` has every other moment."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.fileshare.target import TEMPORARY_PREFIX
from shared.repository.checker import Checker
from shared.repository.repository import Repository
from tests.conftest import Vault, new_vault
from tests.faults.helpers import PASSWORD, change_share, contents, make_share
from tests.standins.azurite import REPOSITORY, Azurite
from tests.standins.faults import Call, CutConnection
from tests.standins.restic import StockRestic, copy_container
from tests.standins.rights_proxy import KEEPER


class BackupServer:
    """Runs commands in processes of their own: see ``tests/faults/backup_server.py``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._child = threading.Event()
        self._pid = 0

    def run(self, settings: dict[str, str], *arguments: str) -> int:
        """The exit code of a whole backup, or of the command that is named; negative: the signal that ended it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._child.clear()
        self._process.stdin.write(json.dumps([arguments or ["backup"], settings]) + "\n")
        self._process.stdin.flush()
        self._pid = int(self._process.stdout.readline())
        self._child.set()
        return int(self._process.stdout.readline())

    def kill(self, call: Call) -> None:
        """To be hung into a call: the command that runs now is killed and does not hear what came of the call."""
        self._child.wait()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        raise CutConnection


@pytest.fixture(scope="module")
def server() -> Iterator[BackupServer]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LIFEBOAT_")}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.backup_server"],
        cwd=REPOSITORY,
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        yield BackupServer(process)
        assert process.stdin is not None
        process.stdin.close()


def _settings(vault: Vault, share: Path) -> dict[str, str]:
    return vault.environment() | {
        "LIFEBOAT_SHARE_URL": share.as_uri(),
        "LIFEBOAT_REPOSITORY_PASSWORD": PASSWORD,
        "LIFEBOAT_LOCK_WAIT": "0s",
    }


def _findings(vault: Vault) -> list[str]:
    with vault.judge() as store:
        checker = Checker(Repository.open(store, PASSWORD))
        return [f"{finding.object}: {finding.message}" for finding in checker.run(read_data=True)]


def _names(vault: Vault, prefix: str, container: str = "share") -> list[str]:
    with vault.judge(container) as store:
        return [blob.name for blob in store.list(prefix)]


def test_a_first_backup_killed_after_each_of_its_writes_is_finished_by_the_next_faults_1_2_3_and_39(
    azurite: Azurite, server: BackupServer, newest_restic: StockRestic, tmp_path: Path
) -> None:
    share = make_share(tmp_path / "source" / "site")
    write = 0
    while True:
        write += 1
        with new_vault(azurite) as vault:
            settings = _settings(vault, share)
            vault.faults.call(f"after the {write}th put", server.kill)
            code = server.run(settings)
            vault.faults.clear()
            if code != -signal.SIGKILL:
                assert code == 0
                break
            if "config" in _names(vault, "config"):
                assert _findings(vault) == [], write
            assert server.run(settings) == 0, write
            assert _findings(vault) == [], write
            assert (len(_names(vault, "keys/")), len(_names(vault, "init", "recovery-points"))) == (1, 1)
            assert len(_names(vault, "locks/")) <= 1
            if write % 4 == 0:
                with vault.judge() as store:
                    judge = newest_restic.on_folder(copy_container(store, tmp_path / f"copy{write}"), PASSWORD)
                judge.run("unlock")  # removes stale locks only, and restic knows ours for one: its process is gone
                judge.check()
                assert contents(judge.restore(tmp_path / f"restored{write}") / "site") == contents(share)
    assert write > 10


def test_a_second_backup_killed_after_each_of_its_writes_keeps_the_first_faults_1_and_2(
    vault: Vault, server: BackupServer, newest_restic: StockRestic, tmp_path: Path
) -> None:
    share = make_share(tmp_path / "source" / "site")
    settings = _settings(vault, share)
    assert server.run(settings) == 0
    before = contents(share)
    (first,) = _names(vault, "snapshots/")
    for write in range(1, 7):
        change_share(share, write)
        vault.faults.call(f"after the {write}th put", server.kill)
        assert server.run(settings) == -signal.SIGKILL
        vault.faults.clear()
        assert _findings(vault) == [], write
    assert server.run(settings) == 0
    with vault.judge() as store:
        judge = newest_restic.on_folder(copy_container(store, tmp_path / "copy"), PASSWORD)
    judge.run("unlock")
    judge.check()
    first_id = first.removeprefix("snapshots/")
    assert contents(judge.restore(tmp_path / "first", first_id) / "site") == before
    assert contents(judge.restore(tmp_path / "last") / "site") == contents(share)
    assert len(_names(vault, "points/", "recovery-points")) >= 2


def test_a_backup_killed_while_it_releases_its_lock_was_complete(
    vault: Vault, server: BackupServer, tmp_path: Path
) -> None:
    share = make_share(tmp_path / "source" / "site")
    settings = _settings(vault, share)
    vault.faults.call("before the 1st delete", server.kill)
    assert server.run(settings) == -signal.SIGKILL
    assert len(_names(vault, "points/", "recovery-points")) == 1
    assert len(_names(vault, "locks/")) == 1
    vault.faults.clear()
    assert server.run(settings) == 0, "the left-over lock excludes nobody"


def test_a_restore_killed_after_any_of_its_reads_left_whole_files_only_and_is_run_again_fault_1(
    vault: Vault, server: BackupServer, tmp_path: Path
) -> None:
    share = make_share(tmp_path / "source" / "site")
    settings = _settings(vault, share)
    assert server.run(settings) == 0
    wanted = contents(share)
    target = tmp_path / "target"
    command = ["restore", "share", "--to", str(target)]
    killed = 0
    for get in range(1, 100, 2):
        vault.faults.call(f"after the {get}th get", server.kill)
        code = server.run(settings, *command)
        vault.faults.clear()
        there = {name: body for name, body in contents(target).items() if TEMPORARY_PREFIX not in name}
        assert there.items() <= wanted.items(), "nothing half-written under its own name"
        if code != -signal.SIGKILL:
            assert code == 0
            break
        killed += 1
    assert killed > 3
    assert there == wanted


KEEP_ONE = {
    f"LIFEBOAT_{name}": value
    for name, value in {
        "KEEP_LAST": "1",
        "KEEP_DAILY": "0",
        "KEEP_WEEKLY": "0",
        "KEEP_MONTHLY": "0",
        "KEEP_WITHIN": "0s",
        "PRUNE_WAIT": "0s",
        "PRUNE_MAX_UNUSED": "0",
    }.items()
}


@pytest.mark.parametrize("moment", ["2nd put", "4th put", "1st delete", "3rd delete", "8th delete", "14th delete"])
def test_a_prune_killed_after_a_write_or_a_deletion_is_finished_by_the_next_faults_1_and_16(
    vault: Vault, server: BackupServer, newest_restic: StockRestic, tmp_path: Path, moment: str
) -> None:
    share = make_share(tmp_path / "source" / "site", large=False)
    for number in range(4):
        change_share(share, number)
        assert server.run(_settings(vault, share)) == 0
    with vault.with_rights(KEEPER) as keeper:
        settings = _settings(keeper, share) | KEEP_ONE
        keeper.faults.call(f"after the {moment}", server.kill)
        assert server.run(settings, "prune") == -signal.SIGKILL
        keeper.faults.clear()
        assert _findings(vault) == []
        with vault.judge() as store:  # a killed prune's lock is exclusive: it is stale after half an hour
            for name in _names(vault, "locks/"):
                store.delete(name)
        assert server.run(settings, "prune") == 0
    assert _findings(vault) == []
    assert len(_names(vault, "points/", "recovery-points")) == 1
    with vault.judge() as store:
        judge = newest_restic.on_folder(copy_container(store, tmp_path / "copy"), PASSWORD)
    judge.check()
    assert contents(judge.restore(tmp_path / "restored") / "site") == contents(share)
