"""``prune``, ``protect``, ``undelete`` and ``verify`` by command, on Azurite behind the keeper's rights."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Vault, new_vault
from tests.integration.commandline.conftest import PASSWORD, CommandLine
from tests.standins.azurite import Azurite
from tests.standins.restic import StockRestic
from tests.standins.rights_proxy import KEEPER
from tests.standins.worm import Worm

KEEP_ONE = {"KEEP_LAST": "1", "KEEP_DAILY": "0", "KEEP_WEEKLY": "0", "KEEP_MONTHLY": "0", "KEEP_WITHIN": "0s"}


def _use(command: CommandLine, vault: Vault) -> None:
    command.set(VAULT_URL=vault.url)


@pytest.fixture
def worm_vault(azurite: Azurite, lifeboat_in: CommandLine) -> Iterator[Vault]:
    """A vault that keeps versions and dates; ``lifeboat_in`` uses it as the backup app."""
    with new_vault(azurite, worm=Worm()) as made:
        _use(lifeboat_in, made)
        yield made


def _three_points(command: CommandLine) -> list[str]:
    points = []
    for number in range(3):
        command.fill(f"new{number}.txt")
        points.append(command("backup").json["point"])
    return points


def test_prune_removes_what_is_not_kept_and_stock_restic_finds_nothing_wrong(
    lifeboat_in: CommandLine, vault: Vault, newest_restic: StockRestic, tmp_path: Path
) -> None:
    points = _three_points(lifeboat_in)
    lifeboat_in.set(PRUNE_WAIT="0s", PRUNE_MAX_UNUSED="0", **KEEP_ONE)
    with vault.with_rights(KEEPER) as keeper:
        _use(lifeboat_in, keeper)
        said = lifeboat_in("prune", "--dry-run")
        assert (said.code, said.json["dry_run"], said.json["points_removed"]) == (0, True, 2)
        assert said.json["bytes_freed"] > 0
        assert len(lifeboat_in("points").json["points"]) == 3
        done = lifeboat_in("prune")
        assert (done.code, done.json["dry_run"], done.json["points_removed"]) == (0, False, 2)
        assert done.json["bytes_freed"] > 0
        assert lifeboat_in("check", "--read-data").code == 0
        assert [each["point"] for each in lifeboat_in("points").json["points"]] == points[-1:]
    _use(lifeboat_in, vault)
    vault.seen_by(newest_restic, PASSWORD).check()
    assert lifeboat_in("restore", "share", "--to", str(tmp_path / "back")).code == 0
    assert lifeboat_in.contents(tmp_path / "back") == lifeboat_in.contents()


def test_people_are_told_what_is_kept_and_why(lifeboat_in: CommandLine, vault: Vault) -> None:
    points = _three_points(lifeboat_in)
    lifeboat_in.set(**KEEP_ONE)
    with vault.with_rights(KEEPER) as keeper:
        _use(lifeboat_in, keeper)
        code, out, _ = lifeboat_in.people("prune", "--dry-run")
    assert code == 0
    assert "last 1 of 1" in next(line for line in out.splitlines() if points[-1] in line)
    assert "would be removed" in next(line for line in out.splitlines() if points[0] in line)


def test_who_may_only_back_up_prunes_nothing(lifeboat_in: CommandLine) -> None:
    _three_points(lifeboat_in)
    lifeboat_in.set(**KEEP_ONE)
    answer = lifeboat_in("prune")
    assert (answer.code, answer.codes) == (1, ["storage-forbidden"])
    assert "blobs/delete" in answer.reasons[0]["remedy"]
    assert len(lifeboat_in("points").json["points"]) == 3


def test_what_is_protected_cannot_be_deleted_and_what_was_deleted_comes_back_fault_42(
    lifeboat_in: CommandLine, worm_vault: Vault, tmp_path: Path
) -> None:
    _three_points(lifeboat_in)
    with worm_vault.with_rights(KEEPER) as keeper:
        _use(lifeboat_in, keeper)
        protected = lifeboat_in("protect")
        assert (protected.code, protected.status) == (0, "ok")
        assert protected.json["extended"] == protected.json["blobs"] > 10
        assert lifeboat_in("protect").json["extended"] == 0
        lifeboat_in.set(PRUNE_WAIT="0s", **KEEP_ONE)
        pruned = lifeboat_in("prune")
        assert (pruned.code, pruned.json["points_removed"]) == (0, 0)
        with keeper.store("recovery-points") as store:
            removed = [blob.name for blob in store.list("verifications/")]
            for name in removed:
                store.delete(name)
        stopped = lifeboat_in("prune")
        assert (stopped.code, stopped.codes) == (1, ["tampered"])
        back = lifeboat_in("undelete")
        assert (back.code, back.json["restored"]) == (0, len(removed))
        assert lifeboat_in("prune").code == 0
    _use(lifeboat_in, worm_vault)
    assert lifeboat_in("restore", "share", "--to", str(tmp_path / "back")).code == 0


def test_an_emptied_vault_is_told_with_the_way_back(lifeboat_in: CommandLine, worm_vault: Vault) -> None:
    _three_points(lifeboat_in)
    with worm_vault.with_rights(KEEPER) as thief, thief.store("recovery-points") as store:
        for blob in list(store.list("points/")):
            store.delete(blob.name)
    answer = lifeboat_in("status")
    assert (answer.code, answer.codes[0]) == (1, "tampered")
    assert "undelete" in answer.reasons[0]["remedy"]


def test_a_vault_without_versions_and_dates_is_told_so(lifeboat_in: CommandLine, vault: Vault) -> None:
    _three_points(lifeboat_in)
    lifeboat_in.set(VAULT_URL=vault.direct)
    protected = lifeboat_in("protect")
    assert (protected.code, protected.status) == (1, "failed")
    assert "LIFEBOAT_PROTECT_FOR" in protected.reasons[0]["remedy"]
    lifeboat_in.set(PROTECT_FOR="0s")
    assert lifeboat_in("protect").code == 0
    assert lifeboat_in("undelete").code == 1


def test_verify_reads_back_a_point_or_the_part_that_is_due(lifeboat_in: CommandLine, vault: Vault) -> None:
    point = _three_points(lifeboat_in)[-1]
    assert lifeboat_in("status").json["last_verification"]["kind"] == "run"
    whole = lifeboat_in("verify", "--point", point)
    assert (whole.code, whole.status, whole.json["kind"], whole.json["point"]) == (0, "ok", "point", point)
    assert whole.json["packs"] > 0
    due = lifeboat_in("verify")
    assert (due.code, due.json["kind"]) == (0, "round")
    assert lifeboat_in("status").json["last_verification"]["status"] == "ok"
    with vault.judge() as store:
        name = max((blob.name for blob in store.list("data/")), key=lambda each: store.stat(each).size_bytes)  # type: ignore[union-attr]
        body = bytearray(store.get(name))
        body[40] ^= 1
        store.delete(name)
        store.put(name, bytes(body))
    time.sleep(1.1)  # the storage tells times in whole seconds
    damaged = lifeboat_in("verify", "--point", point)
    assert (damaged.code, damaged.status) == (1, "damaged")
    assert f"share/{name}" in [reason["object"] for reason in damaged.reasons]
    assert "damaged" in lifeboat_in("status").codes


@pytest.mark.parametrize("command", ["prune", "protect", "undelete", "verify"])
def test_a_vault_that_is_not_there_is_exit_code_10(lifeboat_in: CommandLine, azurite: Azurite, command: str) -> None:
    with new_vault(azurite, rights=KEEPER, containers=()) as empty:
        _use(lifeboat_in, empty)
        assert lifeboat_in(command).code == 10
