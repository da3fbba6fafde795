"""Nothing of it is ours: the share backed up by stock restic, the databases by somebody's maintenance plan. What
Lifeboat makes of that is looked at first, paired, verified, drilled, pruned around and restored like anything else."""

from __future__ import annotations

from pathlib import Path

from tests.integration.commandline.conftest import CommandLine, lifeboat_in
from tests.integration.databases.conftest import (
    HOSTING,
    METERING,
    PASSWORD,
    Bench,
    address,
    bench,
    landing,
    rows,
    sql_server,
)
from tests.integration.databases.test_adopt import BEFORE, FOURTH, THIRD, Plan, adopting, insert, plan, samba
from tests.standins.restic import StockRestic
from tests.standins.rights_proxy import KEEPER
from tests.standins.sqlserver import Login

__all__ = ["adopting", "bench", "landing", "lifeboat_in", "plan", "samba", "sql_server"]
REPOSITORY_PASSWORD = "of the repository"


def failing(command: CommandLine) -> dict[str, str]:
    """Rows of preflight that fail, and what they say."""
    return {
        f"{row['component']} {row['name']}": row["detail"]
        for row in command("preflight").json["checks"]
        if row["result"] == "fail"
    }


def test_what_others_backed_up_is_looked_at_paired_verified_drilled_and_restored(
    adopting: Bench, plan: Plan, stock_restic: StockRestic, tmp_path: Path
) -> None:
    command = adopting.command
    command.set(
        SHARE_MODE="adopt", SHARE_URL="smb://fs01.example/WebSites", SQL_DATABASES=f"{HOSTING},{METERING},master"
    )
    assert failing(command).keys() == {
        "share adopt", f"databases adopted {HOSTING}", f"databases adopted {METERING}", "databases adopted master",
    }, "before anybody has backed anything up"  # fmt: skip
    nothing = command("backup")
    assert nothing.status == "failed"
    assert {(why["component"], why["check"]) for why in nothing.reasons if "check" in why} == {
        ("share", "adopt"), ("databases", f"adopted {HOSTING}"),
    }  # fmt: skip

    agent = adopting.vault.seen_by(stock_restic, REPOSITORY_PASSWORD)
    agent.backup(command.share, options=("--tag", "lifeboat-share", "--host", "FS01"))
    plan.full_of_all()
    insert(adopting, THIRD)
    plan.differential()
    insert(adopting, FOURTH)
    plan.log()
    assert failing(command) == {}

    made = command("backup")
    assert (made.code, made.status, made.reasons) == (0, "complete", [])
    assert made.json["whole"]
    assert made.json["skew_seconds"] < 300
    assert adopting.sent("BACKUP") == []
    point = made.json["point"]
    assert command("verify", "--point", point).status == "ok"
    assert command("check", "--read-data").status == "ok"
    assert "no errors were found" in agent.check()

    rights = {"VIEW SERVER STATE", "VIEW ANY DEFINITION"}
    adopting.server.add_login(Login("drill", PASSWORD, server_permissions=rights, server_roles={"dbcreator"}))
    command.set(DRILL_SQL_SERVER=address(adopting.server), DRILL_SQL_USERNAME="drill", DRILL_SQL_PASSWORD=PASSWORD)
    drilled = command("drill", "--on-production")
    assert (drilled.code, drilled.reasons) == (0, [])
    with adopting.vault.with_rights(KEEPER) as keeper:
        command.set(VAULT_URL=keeper.url)
        pruned = command("prune")
        assert (pruned.code, pruned.json["refused"]) == (0, 0)
    command.set(VAULT_URL=adopting.vault.url)

    adopting.as_restorer()
    back = command(
        "restore", "all", "--share-to", str(tmp_path / "back"), "--databases-as", "_back", "--point", point, "--yes"
    )
    assert back.code == 0, back.reasons
    assert command.contents(tmp_path / "back") == command.contents()
    assert rows(adopting.server, f"{HOSTING}_back") == [*BEFORE, THIRD, FOURTH]
    assert rows(adopting.server, f"{METERING}_back") == BEFORE
    code, runbook, _ = command.people("runbook", "--point", point)
    assert code == 0
    assert f"RESTORE DATABASE [{HOSTING}]" in runbook
