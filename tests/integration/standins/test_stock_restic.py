"""The judge itself: what stock restic says of a repository that stock restic wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Vault
from tests.standins.restic import ResticRefused, StockRestic, copy_container

PASSWORD = "correct horse"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "source" / "site"
    folder.mkdir(parents=True)
    (folder / "index.html").write_text("hello")
    (folder / "big.bin").write_bytes(bytes(range(256)) * 4096)
    return folder


def test_a_judge_reads_the_vault_through_rclone_and_a_copy_of_it_in_a_folder(
    vault: Vault, stock_restic: StockRestic, tree: Path, tmp_path: Path
) -> None:
    repository = vault.seen_by(stock_restic, PASSWORD)
    repository.init()
    repository.backup("site", cwd=tree.parent)
    repository.check()
    assert len(repository.snapshots()) == 1

    with vault.judge() as store:
        copy = stock_restic.on_folder(copy_container(store, tmp_path / "copy"), PASSWORD)
    copy.check()
    restored = copy.restore(tmp_path / "restored")
    assert (restored / "site/big.bin").read_bytes() == (tree / "big.bin").read_bytes()
    assert any(node["path"] == "/site/index.html" for node in copy.ls())
    if copy.has_rewrite:
        copy.rewrite_changes_nothing()
    copy.forget_prune()


def test_a_judge_notices_a_damaged_pack(stock_restic: StockRestic, tree: Path, tmp_path: Path) -> None:
    repository = stock_restic.on_folder(tmp_path / "repository", PASSWORD)
    repository.init()
    repository.backup(tree)
    pack = max((tmp_path / "repository/data").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    pack.chmod(0o600)
    content = bytearray(pack.read_bytes())
    content[100] ^= 1
    pack.write_bytes(content)

    with pytest.raises(ResticRefused):
        repository.check()
