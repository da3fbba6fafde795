"""A log chain of our own, held against what the server says of it; databases and share as of one moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.databases.conftest import ADMIN_LOGIN, HOSTING, METERING, Bench, rows


@pytest.fixture
def own(bench: Bench) -> Bench:
    bench.command.set(SQL_OWN_LOG_CHAIN="true", SQL_DATABASES=f"{HOSTING},{METERING}")
    return bench


def kinds(bench: Bench, *arguments: str) -> dict[str, list[str]]:
    answer = bench.command("backup", *arguments)
    assert answer.status == "complete", answer.reasons
    return {name: each["backups"] for name, each in answer.json["components"]["databases"]["databases"].items()}


def notes(bench: Bench, database: str = HOSTING) -> str:
    point = bench.command("points").json["points"][0]["point"]
    return " ".join(bench.record(point)["components"]["databases"]["databases"][database]["notes"])


def test_first_a_full_that_is_not_copy_only_then_differentials_and_logs(own: Bench) -> None:
    assert kinds(own) == {HOSTING: ["full"], METERING: ["full"]}
    assert "COPY_ONLY" not in own.sent("BACKUP DATABASE")[0]
    assert kinds(own, "--logs") == {HOSTING: ["log"], METERING: ["log"]}
    assert kinds(own) == {HOSTING: ["differential"], METERING: ["differential"]}
    assert kinds(own, "--logs") == {HOSTING: ["log"], METERING: ["log"]}


def test_a_full_is_renewed_when_it_is_due(own: Bench) -> None:
    own.command.set(SQL_FULL_EVERY="0s")
    assert kinds(own)[HOSTING] == ["full"]
    assert kinds(own)[HOSTING] == ["full"]


def test_master_is_copied_in_full_only_and_a_simple_database_has_no_logs(own: Bench) -> None:
    own.command.set(SQL_DATABASES=f"{HOSTING},master")
    own.server.execute("master", f"ALTER DATABASE {HOSTING} SET RECOVERY SIMPLE")
    assert kinds(own) == {HOSTING: ["full"], "master": ["full"]}
    assert "COPY_ONLY" in own.sent("BACKUP DATABASE [master]")[0]
    assert kinds(own) == {HOSTING: ["differential"], "master": ["full"]}
    answer = own.command("backup", "--logs")
    assert answer.json["components"]["databases"]["databases"] == {}, "it says nothing of those that have no log"
    assert (answer.code, answer.json["whole"]) == (0, False)


def test_logs_need_a_chain_of_our_own(bench: Bench) -> None:
    refused = bench.command("backup", "--logs")
    assert (refused.code, refused.reasons[0]["setting"]) == (2, "LIFEBOAT_SQL_OWN_LOG_CHAIN")
    bench.command.set(SQL_OWN_LOG_CHAIN="true")
    assert bench.command("backup", "--logs", "--only", "share").code == 2


def test_a_switch_of_the_recovery_model_is_answered_by_a_full(own: Bench) -> None:
    kinds(own)
    own.server.execute("master", f"ALTER DATABASE {HOSTING} SET RECOVERY SIMPLE")
    own.server.execute("master", f"ALTER DATABASE {HOSTING} SET RECOVERY FULL")
    assert kinds(own, "--logs") == {HOSTING: ["full"], METERING: ["log"]}
    assert "chain broken" in notes(own)
    assert kinds(own, "--logs")[HOSTING] == ["log"]


def test_a_restore_is_answered_by_a_full(own: Bench) -> None:
    kinds(own)
    own.as_restorer()
    assert own.command("restore", "databases", "--overwrite").status == "complete"
    assert kinds(own)[HOSTING] == ["full"]
    assert "restored" in notes(own)


def test_an_event_tells_that_a_chain_broke(own: Bench, caplog: pytest.LogCaptureFixture) -> None:
    kinds(own)
    own.server.foreign_log(HOSTING)
    caplog.clear()
    kinds(own, "--logs")
    assert "database.chain_broken" in [record.getMessage() for record in caplog.records]


def test_with_a_share_all_databases_can_be_brought_to_its_moment(own: Bench, tmp_path: Path) -> None:
    own.command.set(SHARE_URL=own.command.share.as_uri())
    first = own.command("backup").json["components"]["databases"]
    assert first["share_moment"]["reachable"] is False, "the very first full ends after the share was listed"
    component = own.command("backup").json["components"]["databases"]
    assert component["share_moment"]["reachable"] is True
    assert component["databases"][HOSTING]["backups"] == ["differential", "log"]
    moment = component["share_moment"]["moment"]
    own.as_restorer()
    own.server.execute(HOSTING, "INSERT INTO sites (id, name) VALUES (3, N'after')")
    restored = own.command("restore", "databases", "--as", "_share", "--at", moment)
    assert restored.code == 0, restored.reasons
    assert rows(own.server, f"{HOSTING}_share") == [(1, "first"), (2, "zweite Straße")]


def test_where_one_database_has_no_log_the_moment_is_not_reachable_and_that_is_told(own: Bench) -> None:
    own.server.execute("master", f"ALTER DATABASE {METERING} SET RECOVERY SIMPLE")
    own.command.set(SHARE_URL=own.command.share.as_uri())
    component = own.command("backup").json["components"]["databases"]
    assert component["share_moment"]["reachable"] is False


def test_logins_are_saved_as_a_secret_where_that_is_permitted(bench: Bench) -> None:
    record = bench.record(bench.command("backup").json["point"])["components"]["databases"]
    assert record["logins"] == {"saved": 0, "why": "no Key Vault is configured (LIFEBOAT_KEY_VAULT_URL)"}
    bench.use(bench.server, username=ADMIN_LOGIN)
    assert bench.command("backup").status == "complete"


def test_people_are_told_whether_the_moment_of_the_share_can_be_reached(own: Bench) -> None:
    own.command.set(SHARE_URL=own.command.share.as_uri())
    _, out, _ = own.command.people("backup")
    assert "databases cannot all be brought to the moment of the share" in out
    _, out, _ = own.command.people("backup")
    assert "databases can all be brought to the moment of the share: --at 20" in out
    point = own.command("points").json["points"][0]["point"]
    _, _, err = own.command.people("show", point)
    assert "databases can all be brought to the moment of the share" in err
