"""A skip that is not on the committed list fails the run, in one process and with workers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.standins.azurite import REPOSITORY
from tests.standins.restic import NEWEST_MISSING

UNSAID = "not on tests/allowed_skips.txt"


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize(("reason", "code"), [(NEWEST_MISSING, 0), ("I did not feel like it", 1)])
def test_only_the_skips_on_the_list_are_allowed(tmp_path: Path, reason: str, code: int, workers: str) -> None:
    (tmp_path / "test_module.py").write_text(
        f"import pytest\npytest.skip({reason!r}, allow_module_level=True)\ndef test_passes(): pass\n"
    )
    (tmp_path / "test_one.py").write_text(
        f"import pytest\n@pytest.mark.skip(reason={reason!r})\ndef test_skipped(): pass\ndef test_passes(): pass\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider", "-n", workers]
    done = subprocess.run(
        [*command, "-c", "/dev/null", "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=REPOSITORY,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    told = done.stdout.partition(UNSAID)[2]
    for skipped in ("test_module.py", "test_one.py::test_skipped"):
        assert (f"{skipped}: " in told) == bool(code), done.stdout
