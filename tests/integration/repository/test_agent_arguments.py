"""What the agent's script has restic do, done by stock restic: on Windows it does the same after a shadow copy.

Only restic 0.19 and later knows all of it; ``--use-fs-snapshot``, an option of its Windows build alone, is left out.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from shared.agent.script import LEAST_RESTIC, agent_script
from shared.fileshare.inside import TAG
from shared.settings import Settings
from tests.standins import restic
from tests.unit.agent.powershell_grammar import named, parsed, text_of, value_of
from tests.unit.agent.test_script import SITE

PASSWORD = "of the agent"
newest = pytest.mark.skipif(not restic.NEWEST.exists(), reason=restic.NEWEST_MISSING)
TEMPLATE = agent_script(Settings.from_environment(SITE)).text


def _arguments(name: str, folder: Path) -> list[str]:
    """As the script has them, with ``folder`` for the share's."""
    block = TEMPLATE.split(f"'{name}' = ")[1].split("\n    )\n")[0] + "\n)"
    found = [value_of(text_of(each)) for each in named(parsed(block), "string_literal")]
    return [str(folder) if each == "D:\\WebSites" else each for each in found if each != "--use-fs-snapshot"]


def _run(repository: Path, *arguments: str, password: str = PASSWORD) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RESTIC_", "AZURE_"))}
    environment |= {"RESTIC_REPOSITORY": str(repository), "RESTIC_PASSWORD": password}
    environment["RESTIC_CACHE_DIR"] = str(repository.parent / "cache")
    return subprocess.run(
        [restic.NEWEST, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    made = tmp_path / "repository"
    assert _run(made, "init").returncode == 0
    return made


@pytest.fixture
def share(tmp_path: Path) -> Path:
    folder = tmp_path / "Web Sites, O'Brien"
    (folder / "site").mkdir(parents=True)
    (folder / "site" / "index.html").write_text("content")
    return folder


@newest
def test_its_backup_is_one_snapshot_of_the_share_with_the_tag(repository: Path, share: Path) -> None:
    done = _run(repository, *_arguments("BackupArguments", share))
    assert done.returncode == 0, done.stderr
    (snapshot,) = json.loads(_run(repository, "snapshots", "--json").stdout)
    assert snapshot["tags"] == [TAG]
    assert snapshot["paths"] == [str(share)]


@newest
def test_its_look_at_the_repository_tells_the_exit_codes_that_the_script_knows(
    repository: Path, tmp_path: Path
) -> None:
    probe = _arguments("ProbeArguments", tmp_path)
    assert _run(repository, *probe).returncode == 0
    assert _run(repository, *probe, password="another").returncode == 12
    assert _run(tmp_path / "nowhere", *probe).returncode == 10


@newest
def test_a_source_that_cannot_be_read_is_exit_code_3_and_the_snapshot_is_there(repository: Path, share: Path) -> None:
    done = _run(repository, *_arguments("BackupArguments", share), "/no/such/folder")
    assert done.returncode == 3
    assert len(json.loads(_run(repository, "snapshots", "--json").stdout)) == 1


@newest
def test_its_version_is_told_as_the_script_reads_it(tmp_path: Path) -> None:
    (pattern,) = re.findall(r"-notmatch '(restic [^']+)'", TEMPLATE)
    told = re.search(pattern, _run(tmp_path, "version").stdout)
    assert told
    assert tuple(map(int, told[1].split("."))) >= tuple(map(int, LEAST_RESTIC.split(".")))
