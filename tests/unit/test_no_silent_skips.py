"""A skip that is not on the committed list fails the run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.standins.azurite import REPOSITORY
from tests.standins.restic import NEWEST_MISSING


@pytest.mark.parametrize(("reason", "code"), [(NEWEST_MISSING, 0), ("I did not feel like it", 1)])
@pytest.mark.parametrize("level", ["test", "module"])
def test_only_the_skips_on_the_list_are_allowed(tmp_path: Path, reason: str, code: int, level: str) -> None:
    skip = f"pytest.skip({reason!r}, allow_module_level=True)\n" if level == "module" else ""
    (tmp_path / "test_it.py").write_text(
        f"import pytest\n{skip}\n"
        f"@pytest.mark.skipif({level == 'test'}, reason={reason!r})\n"
        "def test_skipped(): pass\n"
        "def test_passes(): pass\n"
    )
    (tmp_path / "test_other.py").write_text("def test_passes(): pass\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-c", "/dev/null", "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=REPOSITORY,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert ("not on tests/allowed_skips.txt" in done.stdout) == bool(code)
