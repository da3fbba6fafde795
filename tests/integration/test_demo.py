"""``make demo``, with a tiny share: it tells the truth, it ends with the right code, and it leaves nothing behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import demo_share
from tests.standins import restic
from tests.standins.azurite import KEY, REPOSITORY
from tests.standins.samba import PASSWORD

DEMO = [sys.executable, "-m", "scripts.demo", "--small"]


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the demo puts everything; a short path, as Samba's sockets need."""
    folder = Path(tempfile.mkdtemp(prefix="lbdemo-"))
    folder.chmod(0o755)
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    shutil.rmtree(folder)


def run_demo(*options: str) -> tuple[int, str]:
    done = subprocess.run([*DEMO, *options], cwd=REPOSITORY, capture_output=True, encoding="utf-8", timeout=240)
    assert done.stderr == ""
    return done.returncode, done.stdout


def assert_nothing_is_left(temporary: Path) -> None:
    assert list(temporary.iterdir()) == []
    assert [line for line in command_lines() if str(temporary) in line] == []


def assert_fit_for_a_pipe(output: str) -> None:
    """No colours, no wide lines, no names of events, which are for machines; and no secret."""
    assert "\x1b" not in output
    assert [line for line in output.splitlines() if line != line.rstrip() or len(line) > 80] == []
    assert "share.failed" not in output
    assert KEY not in output
    assert PASSWORD not in output


def command_lines() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue


def test_the_demo_shows_the_whole_job_over_smb(temporary: Path) -> None:
    code, output = run_demo()
    assert code == 0, output
    assert "served by Samba" in output
    assert "✗" not in output
    commands = re.findall(r"^   \$ python lifeboat.py (.*)$", output, re.MULTILINE)
    assert [" ".join(command.split()[:2]) for command in commands] == [
        "preflight",
        "secrets put",
        "backup",
        "backup",
        "points",
        "check --read-data",
        "backup --only",
        "restore share",
        "backup",
        "secrets put",
        "backup",
        "verify --point",
        "drill",
        "status",
        "prune --dry-run",
        "protect",
        "status",
        "undelete",
        "check --read-data",
        "protect",
        "restore all",
        "runbook --point",
    ]
    assert "a STAND-IN for SQL Server" in output
    assert "a STAND-IN for Key Vault" in output
    assert "versions and dates of blobs, which Azurite lacks: the same STAND-IN" in " ".join(output.split())
    assert "both databases are ONLINE, with the same 1,500 rows" in output
    assert "SystemSecrets.JSON: every byte" in output
    assert "known to fit each other" in output
    assert "share-shrank" in output
    assert "the same names, sizes, times" in output
    assert output.count("no errors were found") == 2 * len(restic.installed())
    assert "blobs are gone: every one that was there" in output
    assert "late: there is no good backup of the share" in output
    assert "blobs brought back" in output
    assert " ".join(output.split()).count(", all of it in about ") == 2, "told by the drill, and by status"
    assert "everything is as it should be" in output
    assert_fit_for_a_pipe(output)
    assert_nothing_is_left(temporary)


def test_without_samba_the_demo_says_so_and_shows_the_rest(temporary: Path) -> None:
    code, output = run_demo("--local-folder")
    assert code == 0, output
    assert "NO SMB SERVER" in output
    assert f"LIFEBOAT_SHARE_URL=file://{temporary}" in output
    assert "everything is as it should be" in output
    assert_fit_for_a_pipe(output)
    assert_nothing_is_left(temporary)


def test_the_demo_fails_when_the_judge_finds_an_error(
    temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = tmp_path / "restic"
    judge.write_text(
        '#!/bin/sh\n[ "$1" = version ] && echo "restic 9.9.9" && exit\necho "pack 0123 is damaged"\nexit 1\n'
    )
    judge.chmod(0o755)
    monkeypatch.setenv("LIFEBOAT_TEST_RESTIC", str(judge))
    code, output = run_demo("--local-folder")
    assert code == 1
    assert "pack 0123 is damaged" in output
    assert " ✗ restic 9.9.9 found errors" in output
    assert "restore share" not in output
    assert_nothing_is_left(temporary)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_stops_its_servers_and_removes_its_data(temporary: Path, sent: signal.Signals) -> None:
    with subprocess.Popen(DEMO, cwd=REPOSITORY, stdout=subprocess.PIPE, encoding="utf-8") as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "lifeboat.py backup" in line:
                break
        time.sleep(0.3)
        demo.send_signal(sent)
        demo.send_signal(sent)
        rest = demo.stdout.read()
        assert demo.wait(60) == 130
    assert "interrupted" in rest
    assert_nothing_is_left(temporary)


def test_the_comparison_notices_every_kind_of_difference(tmp_path: Path) -> None:
    share, kept = tmp_path / "share", tmp_path / "kept"
    share.mkdir()
    demo_share.make_share(share, demo_share.SMALL)
    demo_share.keep_copy(share, kept)
    assert list(demo_share.differences(kept, share)) == []

    site = demo_share.first_site(share)
    inside = site.relative_to(share)
    config, empty, log = (
        site / "site/wwwroot/web.config",
        site / "site/wwwroot/empty.txt",
        site / "LogFiles/http/RawLogs/access.log",
    )
    times = config.stat()
    content = config.read_bytes()
    config.write_bytes(content[:-1] + b"?")
    os.utime(config, ns=(times.st_atime_ns, times.st_mtime_ns))
    os.utime(empty, ns=(0, 100))
    log.write_bytes(b"shorter")
    (site / "data/empty folder").rmdir()
    (site / "data/new").touch()
    found = list(demo_share.differences(kept, share))
    assert f"other content: {inside}/site/wwwroot/web.config" in found
    assert f"other time of change: {inside}/site/wwwroot/empty.txt" in found
    assert f"200,003 bytes became 7: {inside}/LogFiles/http/RawLogs/access.log" in found
    assert f"missing: {inside}/data/empty folder" in found
    assert f"not there before: {inside}/data/new" in found
    assert f"other time of change: {inside}/data" in found
    assert len(found) == 6
