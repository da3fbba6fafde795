"""The agent on the file server under an identity that may no more than it needs, beside a backup of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from shared.errors import StorageForbidden
from shared.fileshare.inside import TAG
from tests.conftest import Vault
from tests.integration.commandline.conftest import PASSWORD, CommandLine
from tests.standins.azure_front import running_azure_front
from tests.standins.restic import ResticRepository, StockRestic, copy_container
from tests.standins.rights_proxy import AGENT

STOCK_AGENT = replace(AGENT, only_in=("share",))
"""Stock restic writes no record."""
NEEDS_TO_OVERWRITE = ((0, 15), (0, 19))
"""From and before which version stock restic writes to Azure by Put Block List, for which the right to add is not
enough; 0.14 and 0.19 send each pack by one Put Blob."""


@contextmanager
def stock_agent(vault: Vault, restic: StockRestic, folder: Path) -> Iterator[tuple[ResticRepository, Vault]]:
    """Stock restic behind the agent's rights: by its own means, or, where it was built without Azure, by rclone's."""
    with vault.with_rights(STOCK_AGENT) as seen:
        if restic.knows_azure:
            folder.mkdir()
            with running_azure_front(folder, port=seen.proxy.port, key=vault.key) as front:
                yield restic.on_azure(front, vault.account, vault.key, PASSWORD), seen
        else:
            yield restic.on_vault(seen.url, vault.account, vault.key, PASSWORD), seen


def back_up(agent: ResticRepository, folder: Path) -> str:
    made = agent.backup(folder, options=("--tag", TAG, "--host", "FS01"))
    return str(made["snapshot_id"])


def test_stock_restic_writes_with_the_agents_rights(
    lifeboat_in: CommandLine, vault: Vault, stock_restic: StockRestic, tmp_path: Path
) -> None:
    lifeboat_in.set(SHARE_MODE="adopt")
    assert lifeboat_in("backup").codes == ["no-snapshot"]
    with stock_agent(vault, stock_restic, tmp_path / "front") as (agent, seen):
        oldest, first = NEEDS_TO_OVERWRITE
        if stock_restic.knows_azure and oldest <= stock_restic.version < first:
            _is_refused(agent, seen, lifeboat_in.share)
            return
        back_up(agent, lifeboat_in.share)
        agent.check()
    made = lifeboat_in("backup")
    assert (made.code, made.share["files"]) == (0, 10)


def _is_refused(agent: ResticRepository, seen: Vault, folder: Path) -> None:
    """It cannot even take its lock, and tries again until it is stopped."""
    with agent.start("backup", str(folder)) as process:
        seen.faults.kill("before the 3rd other under share/locks/", process)
        process.communicate()
    assert not [call for call in seen.proxy.calls if call.kind == "put"]
    with seen.judge() as store:
        assert list(store.list("locks/")) == []


def test_lifeboat_reads_the_share_with_the_agents_rights_and_its_snapshot_is_adopted(
    lifeboat_in: CommandLine, vault: Vault, tmp_path: Path
) -> None:
    lifeboat_in.set(SHARE_MODE="adopt")
    assert lifeboat_in("backup").codes == ["no-snapshot"]
    with vault.with_rights(AGENT) as seen:
        lifeboat_in.set(SHARE_MODE="read", VAULT_URL=seen.url)
        read = lifeboat_in("backup", "--only", "share")
        assert (read.code, read.json["whole"]) == (0, False)
        assert {call.container for call in seen.proxy.calls} <= {"share", "recovery-points"}
    lifeboat_in.set(SHARE_MODE="adopt", VAULT_URL=vault.url)
    made = lifeboat_in("backup")
    assert (made.code, made.json["snapshot"], made.json["whole"]) == (0, read.json["snapshot"], True)
    restored = lifeboat_in("restore", "share", "--to", str(tmp_path / "restored"))
    assert restored.code == 0
    assert lifeboat_in.contents(tmp_path / "restored") == lifeboat_in.contents()


def test_the_agent_may_do_nothing_else(vault: Vault) -> None:
    with vault.with_rights(AGENT) as seen, vault.judge() as judge:
        judge.put("data/00/old", b"old")
        with seen.store() as share, seen.store("databases") as databases:
            for refused in (
                lambda: share.delete("data/00/old"),
                lambda: databases.put("backup.bak", b"x"),
                lambda: list(databases.list("")),
            ):
                with pytest.raises(StorageForbidden):
                    refused()
        assert judge.get("data/00/old") == b"old"


@pytest.mark.parametrize("inner", ["the agent", "lifeboat"])
def test_two_writers_at_once_do_each_other_no_harm(
    lifeboat_in: CommandLine, vault: Vault, newest_restic: StockRestic, tmp_path: Path, inner: str
) -> None:
    """One runs from its beginning to its end while the other has stored its packs and named none of them."""
    lifeboat_in.fill("shared/a.txt", "shared/b.txt")
    lifeboat_in.set(SHARE_MODE="adopt")
    assert lifeboat_in("backup").codes == ["no-snapshot"]
    lifeboat_in.set(SHARE_MODE="read")
    before = lifeboat_in.contents()
    done: list[object] = []
    with stock_agent(vault, newest_restic, tmp_path / "front") as (agent, seen):
        run: dict[str, Callable[[], object]] = {
            "the agent": lambda: back_up(agent, lifeboat_in.share),
            "lifeboat": lambda: lifeboat_in("backup"),
        }
        outer = "lifeboat" if inner == "the agent" else "the agent"
        faults = vault.faults if outer == "lifeboat" else seen.faults
        faults.call("before the 1st put under share/index/", lambda call: done.append(run[inner]()))
        done.append(run[outer]())
        assert len(done) == 2
    with vault.judge() as store:
        repository = newest_restic.on_folder(copy_container(store, tmp_path / "copy"), PASSWORD)
        assert list(store.list("locks/")) == []
    repository.check()
    ours, theirs = sorted(repository.snapshots(), key=lambda each: each["hostname"] == "FS01")
    assert (ours["hostname"], theirs["hostname"]) == ("localhost", "FS01")
    restored = repository.restore(tmp_path / "ours", ours["id"]) / lifeboat_in.share.name
    assert lifeboat_in.contents(restored) == before
    restored = repository.restore(tmp_path / "theirs", theirs["id"]) / lifeboat_in.share.relative_to("/")
    assert lifeboat_in.contents(restored) == before
    assert lifeboat_in("check", "--read-data").status == "ok"
    lifeboat_in.set(SHARE_MODE="adopt")
    assert lifeboat_in("backup").code == 0
