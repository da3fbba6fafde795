"""Preflight of a share that an agent backs up: whether a recovery point would find a snapshot to take."""

from __future__ import annotations

from tests.conftest import Vault
from tests.integration.commandline.conftest import PASSWORD, CommandLine, lifeboat_in
from tests.standins.restic import StockRestic

__all__ = ["lifeboat_in"]


def rows(command: CommandLine) -> list[tuple[str, str]]:
    checks = command("preflight", "--only", "share").json["checks"]
    assert {row["name"] for row in checks} == {"adopt"}, "the file server is not asked"
    return [(row["result"], row["detail"]) for row in checks]


def test_what_a_recovery_point_would_take_is_told_and_what_it_would_lack(
    lifeboat_in: CommandLine, vault: Vault, stock_restic: StockRestic
) -> None:
    lifeboat_in.set(SHARE_MODE="adopt", SHARE_URL="smb://nosuch.invalid/WebSites")
    ((result, detail),) = rows(lifeboat_in)
    assert result == "fail"
    assert "no repository yet" in detail

    lifeboat_in("backup")
    ((result, detail),) = rows(lifeboat_in)
    assert result == "fail"
    assert "none is tagged lifeboat-share" in detail

    agent = vault.seen_by(stock_restic, PASSWORD)
    agent.backup(lifeboat_in.share, options=("--tag", "lifeboat-share", "--host", "FS01"))
    ((result, detail),) = rows(lifeboat_in)
    assert result == "pass"
    assert "newest snapshot of the share" in detail

    lifeboat_in.set(SHARE_MAX_AGE="0s")
    (old, taken) = rows(lifeboat_in)
    assert (old[0], taken[0]) == ("warn", "pass")
    assert "0.0 are allowed" in old[1]

    lifeboat_in.set(SHARE_ADOPT_PATH="/nowhere")
    ((result, detail),) = rows(lifeboat_in)
    assert result == "fail"
    assert "holds no folder /nowhere" in detail
