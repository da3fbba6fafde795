"""A bench for each test: a repository in a folder, and a share in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.standins.memory_share import MemoryShare
from tests.unit.fileshare.helpers import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "vault")


@pytest.fixture
def share() -> MemoryShare:
    """A few sites, with one file above the limit of a single blob."""
    share = MemoryShare()
    for site in range(3):
        for page in range(4):
            share.put(f"site{site}/wwwroot/page{page}.html", f"site {site}, page {page}".encode() * 20)
        share.put(f"site{site}/empty.txt", b"")
    share.put("site0/big.log", bytes(range(256)) * 12_000)
    share.put("top.txt", b"at the top")
    share.make_folder("site1/nothing/in/here")
    return share
