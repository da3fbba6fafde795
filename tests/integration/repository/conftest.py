"""Fixtures of the tests that write repositories."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.repository.helpers import FolderVault, make_odd_tree


@pytest.fixture
def folder_vault(tmp_path: Path) -> FolderVault:
    return FolderVault(tmp_path / "vault")


@pytest.fixture
def odd_tree(tmp_path: Path) -> Path:
    return make_odd_tree(tmp_path / "source" / "site")
