"""Each of ``bombs`` in a process of its own, which dies if it takes more than the largest blob and some."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.fuzz.bombs import BOMBS


@pytest.mark.skipif(sys.platform != "linux", reason="limits of a process's memory are Linux's")
@pytest.mark.parametrize("name", BOMBS)
def test_a_few_bytes_do_not_become_gigabytes(name: str) -> None:
    command = [sys.executable, "-m", "tests.fuzz.bombs", name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("refused\n", 0), done.stderr[-2000:]
