"""The share in mode ``adopt``: stock restic, as the task on the file server runs it, backs it up into the vault, and
recovery points take its snapshots. Nothing is sent to the share, whose server does not exist here."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.fileshare.inside import TAG
from shared.repository.locks import acquire, release
from shared.repository.repository import Repository
from tests.conftest import Vault
from tests.integration.commandline.conftest import PASSWORD, CommandLine
from tests.standins.restic import ResticRepository, StockRestic, copy_container

URL = "smb://sofs01.example:4450/WebSites"


class Agent:
    """Stock restic on the file server, where the share is a folder."""

    def __init__(self, command: CommandLine, repository: ResticRepository) -> None:
        self.command = command
        self.repository = repository
        self.folder = command.share

    def back_up(self, *paths: Path) -> str:
        """The id of the snapshot."""
        made = self.repository.backup(*(paths or [self.folder]), options=("--tag", TAG, "--host", "FS01"))
        return next(
            str(each["id"]) for each in self.repository.snapshots() if each["id"].startswith(made["snapshot_id"])
        )


@pytest.fixture
def agent_with(lifeboat_in: CommandLine, vault: Vault) -> Callable[[StockRestic], Agent]:
    """The vault's repository has been made by a first backup, which found no snapshot."""

    def agent(restic: StockRestic) -> Agent:
        lifeboat_in.set(SHARE_MODE="adopt", SHARE_URL=URL)
        first = lifeboat_in("backup")
        assert (first.code, first.codes) == (1, ["no-snapshot"])
        return Agent(lifeboat_in, vault.seen_by(restic, PASSWORD))

    return agent


def test_what_stock_restic_has_made_is_a_recovery_point_like_any_other(
    agent_with: Callable[[StockRestic], Agent], stock_restic: StockRestic, tmp_path: Path
) -> None:
    agent = agent_with(stock_restic)
    command = agent.command
    (agent.folder / "zip").mkdir()
    (agent.folder / "zip" / "big.bin").write_bytes(bytes(range(256)) * 12_000)
    snapshot = agent.back_up()
    before = command.contents()
    made = command("backup")
    assert (made.code, made.status, made.json["snapshot"], made.json["whole"]) == (0, "complete", snapshot, True)
    assert (made.share["files"], made.share["bytes_read"]) == (11, 0)
    record = command("show", made.json["point"]).json["components"]["share"]
    assert (record["mode"], record["path"]) == ("adopt", agent.folder.as_posix())

    assert command("verify", "--point", made.json["point"]).status == "ok"
    assert command("verify").status == "ok"
    drill = command("drill")
    assert (drill.code, drill.status) == (0, "ok"), drill.reasons
    status = command("status").json["components"]["share"]
    assert (status["newest"], status["late"]) == (made.json["point"], False)

    command.fill("new/index.html")
    agent.back_up()
    second = command("backup")
    assert (second.status, second.share["files"]) == ("complete", 12)
    shutil.rmtree(agent.folder)
    restored = command("restore", "share", "--to", str(tmp_path / "newest"))
    assert (restored.code, restored.json["point"]) == (0, second.json["point"])
    assert command.contents(tmp_path / "newest") == before | {"new/index.html": b"content of new/index.html"}
    earlier = command("restore", "share", "--point", made.json["point"], "--to", str(tmp_path / "earlier"))
    assert earlier.code == 0
    assert command.contents(tmp_path / "earlier") == before
    again = command("restore", "share", "--point", made.json["point"], "--to", str(tmp_path / "earlier"))
    assert (again.json["restored"], again.json["unchanged"]) == (0, 11)
    some = command("restore", "share", "--to", str(tmp_path / "some"), "--include", "zip/*")
    assert (some.code, list(command.contents(tmp_path / "some"))) == (0, ["zip/big.bin"])
    everything = command("restore", "all", "--share-to", str(tmp_path / "all"), "--yes")
    assert everything.code == 0
    assert command.contents(tmp_path / "all") == command.contents(tmp_path / "newest")


def test_the_stock_lines_of_the_runbook_bring_the_share_back_from_where_it_lies(
    agent_with: Callable[[StockRestic], Agent], newest_restic: StockRestic, tmp_path: Path
) -> None:
    agent = agent_with(newest_restic)
    snapshot = agent.back_up()
    agent.command("backup")
    code, runbook, _ = agent.command.people("runbook")
    assert code == 0
    inside = f"{snapshot}:{agent.folder.as_posix()}"
    assert f"restore '{inside}'" in runbook
    agent.repository.restore(tmp_path / "restored", inside)
    assert agent.command.contents(tmp_path / "restored") == agent.command.contents()


def test_people_are_told_what_was_taken(agent_with: Callable[[StockRestic], Agent], newest_restic: StockRestic) -> None:
    agent = agent_with(newest_restic)
    snapshot = agent.back_up()
    code, told, beside = agent.command.people("backup")
    assert code == 0
    assert "share: 10 files" in told
    assert f"adopted the snapshot {snapshot[:8]} of " in told
    assert "exit code 3" in beside


def test_a_lock_of_somebody_else_is_waited_for_and_told(
    agent_with: Callable[[StockRestic], Agent], newest_restic: StockRestic, vault: Vault
) -> None:
    agent = agent_with(newest_restic)
    agent.back_up()
    agent.command.set(LOCK_WAIT="0s")
    with vault.judge() as store:
        repository = Repository.open(store, PASSWORD)
        lock = acquire(repository, exclusive=True, hostname="keeper")
        locked = agent.command("backup")
        assert (locked.code, locked.codes) == (11, ["locked"])
        release(repository, lock)
    assert agent.command("backup").code == 0


def test_a_pack_that_is_gone_makes_the_point_partial_with_the_snapshot_before(
    agent_with: Callable[[StockRestic], Agent], newest_restic: StockRestic, vault: Vault, tmp_path: Path
) -> None:
    agent = agent_with(newest_restic)
    good = agent.back_up()
    before = agent.command.contents()
    with vault.judge() as store:
        there = {blob.name for blob in store.list("data/")}
        agent.command.fill("new/index.html")
        agent.back_up()
        new = [blob.name for blob in store.list("data/") if blob.name not in there]
        for name in new:
            store.delete(name)
    made = agent.command("backup")
    assert (made.code, made.json["snapshot"], set(made.codes)) == (3, good, {"damaged"})
    assert {reason["object"] for reason in made.reasons} <= {f"share/{name}" for name in new}
    restored = agent.command("restore", "share", "--to", str(tmp_path / "restored"))
    assert restored.code == 0
    assert agent.command.contents(tmp_path / "restored") == before


def test_reading_the_share_once_heals_what_stock_restic_takes_for_stored(
    lifeboat_in: CommandLine, vault: Vault, newest_restic: StockRestic, tmp_path: Path
) -> None:
    """What the reason of a damaged snapshot advises."""
    assert lifeboat_in("backup").code == 0
    agent = Agent(lifeboat_in, vault.seen_by(newest_restic, PASSWORD))
    agent.back_up()
    with vault.judge() as store:
        for blob in list(store.list("data/")):
            store.delete(blob.name)
    lifeboat_in.set(SHARE_MODE="adopt")
    assert lifeboat_in("backup").codes[0] == "damaged"
    lifeboat_in.set(SHARE_MODE="read")
    assert lifeboat_in("backup", "--only", "share").code == 0
    lifeboat_in.set(SHARE_MODE="adopt")
    healed = lifeboat_in("backup")
    assert healed.code == 0, healed.reasons
    restored = lifeboat_in("restore", "share", "--to", str(tmp_path / "restored"))
    assert restored.code == 0
    assert lifeboat_in.contents(tmp_path / "restored") == lifeboat_in.contents()


def test_a_restore_to_the_share_itself_asks_for_its_user_only_then(
    agent_with: Callable[[StockRestic], Agent], newest_restic: StockRestic
) -> None:
    agent = agent_with(newest_restic)
    agent.back_up()
    assert agent.command("backup").code == 0
    for setting in ("LIFEBOAT_SHARE_PASSWORD", "LIFEBOAT_SHARE_USERNAME"):
        refused = agent.command("restore", "share")
        assert (refused.code, refused.reasons[0]["setting"]) == (2, setting)
        agent.command.set(SHARE_PASSWORD="secret")


def test_our_own_writer_marks_what_it_reads_of_the_share(
    lifeboat_in: CommandLine, vault: Vault, newest_restic: StockRestic, tmp_path: Path
) -> None:
    assert lifeboat_in("backup").code == 0
    with vault.judge() as store:
        repository = newest_restic.on_folder(copy_container(store, tmp_path / "copy"), PASSWORD)
    (snapshot,) = repository.snapshots()
    assert snapshot["tags"] == [TAG]
    repository.rewrite_changes_nothing()
