"""Bringing databases back: beside, elsewhere, over a live one, to a moment; what is refused beforehand; drills."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.databases.conftest import (
    ADMIN_LOGIN,
    HOSTING,
    METERING,
    PASSWORD,
    Bench,
    address,
    backup_login,
    restore_login,
    rows,
)
from tests.standins.certificate import Certificate
from tests.standins.sqlserver import Login, SqlServer, running_sql_server

BEFORE = [(1, "first"), (2, "zweite Straße")]
USER_DATABASES = (HOSTING, METERING)


@pytest.fixture
def backed_up(bench: Bench) -> Bench:
    assert bench.command("backup").status == "complete"
    bench.as_restorer()
    return bench


@pytest.fixture
def other_server(certificate: Certificate) -> Iterator[SqlServer]:
    with running_sql_server(certificate, name="SQL02", time_zone_minutes=-300) as server:
        server.add_login(restore_login(()))
        yield server


def test_databases_come_back_beside_those_that_are_there(backed_up: Bench) -> None:
    backed_up.server.execute(HOSTING, "DELETE FROM sites")
    answer = backed_up.command("restore", "databases", "--as", "_back", "--checkdb")
    assert (answer.code, answer.status) == (0, "complete")
    assert answer.json["databases"] == [f"{HOSTING}_back", f"{METERING}_back"]
    assert (answer.json["restored"], answer.json["skipped"]) == (2, 0)
    assert answer.json["bytes"] > 0
    for name in USER_DATABASES:
        assert rows(backed_up.server, f"{name}_back") == BEFORE
    assert rows(backed_up.server, HOSTING) == []
    assert any("master is never restored" in note for note in answer.json["notes"])
    assert not any("master" in text for text in backed_up.sent("RESTORE DATABASE"))
    assert len(backed_up.sent("DBCC CHECKDB")) == 2
    assert backed_up.landed() == []
    assert backed_up.server.query("master", "SELECT name FROM sys.credentials") == []


def test_each_file_is_moved_to_the_default_folders_under_the_new_name(backed_up: Bench) -> None:
    backed_up.command("restore", "databases", "--as", "_back")
    statement = next(text for text in backed_up.sent("RESTORE DATABASE") if HOSTING in text)
    assert statement.count("MOVE N'") == 2
    assert f"{HOSTING}_back_1.mdf'" in statement
    assert f"{HOSTING}_back_2.ldf'" in statement
    assert "REPLACE" not in statement
    assert "NORECOVERY" in statement


def test_they_come_back_on_another_server(backed_up: Bench, other_server: SqlServer) -> None:
    answer = backed_up.command("restore", "databases", "--to", address(other_server))
    assert (answer.code, answer.json["target"]) == (0, address(other_server))
    assert rows(other_server, HOSTING) == BEFORE
    assert backed_up.sent("RESTORE DATABASE") == []


def test_nothing_live_is_replaced_by_accident(backed_up: Bench) -> None:
    for arguments in ((), ("--to", address(backed_up.server))):
        answer = backed_up.command("restore", "databases", *arguments)
        assert answer.code == 2
        assert "--as" in answer.reasons[0]["remedy"]
    assert backed_up.sent("RESTORE DATABASE") == []


def test_a_name_that_is_taken_is_skipped(backed_up: Bench, other_server: SqlServer) -> None:
    other_server.add_database(METERING)
    answer = backed_up.command("restore", "databases", "--to", address(other_server))
    assert (answer.code, answer.status) == (3, "partial")
    assert (answer.json["restored"], answer.json["skipped"], answer.json["skipped_names"]) == (1, 1, [METERING])
    assert answer.codes == ["exists"]


def test_over_a_live_database_its_tail_is_saved_and_it_is_what_it_was(backed_up: Bench) -> None:
    backed_up.server.foreign_full(HOSTING)
    backed_up.server.execute(HOSTING, "INSERT INTO sites (id, name) VALUES (3, N'too late')")
    answer = backed_up.command("restore", "databases", "--overwrite")
    assert (answer.code, answer.status) == (0, "complete")
    assert rows(backed_up.server, HOSTING) == BEFORE
    (tail,) = backed_up.sent("BACKUP LOG")
    assert "WITH COPY_ONLY, NORECOVERY, CHECKSUM" in tail
    assert any("SET SINGLE_USER" in text and "BACKUP LOG" in text for text in backed_up.server.statements), "one batch"
    order = [
        text.split(" WITH ")[0].split(" FROM ")[0].split(" TO ")[0]
        for text in backed_up.sent()
        if f"[{HOSTING}]" in text and text.split()[0] in ("BACKUP", "RESTORE", "ALTER")
    ]
    assert order[1:] == [
        f"ALTER DATABASE [{HOSTING}] SET SINGLE_USER",
        f"BACKUP LOG [{HOSTING}]",
        f"RESTORE DATABASE [{HOSTING}]",
        f"RESTORE DATABASE [{HOSTING}]",
        f"ALTER DATABASE [{HOSTING}] SET MULTI_USER",
    ]
    points = backed_up.command("points").json["points"]
    assert points[0]["components"]["databases"]["databases"] == {HOSTING: "complete"}
    again = backed_up.command("restore", "databases", "--as", "_again")
    assert again.json["point"] == points[1]["point"]
    assert any("tails of logs" in note for note in again.json["notes"])
    assert points[0]["whole"] is False
    database = backed_up.server.database(HOSTING)
    assert database.user_access == "MULTI_USER"


def test_the_tail_brings_back_what_was_written_after_the_backup(backed_up: Bench) -> None:
    """Lost to the restore, and not lost: the tail is a point of its own."""
    backed_up.command.set(SQL_OWN_LOG_CHAIN="true")
    assert backed_up.command("backup").status == "complete"
    backed_up.server.execute(HOSTING, "INSERT INTO sites (id, name) VALUES (3, N'too late')")
    assert backed_up.command("restore", "databases", "--overwrite").status == "complete"
    assert rows(backed_up.server, HOSTING) == BEFORE
    points = backed_up.command("points").json["points"]
    tail = next(each["point"] for each in points if HOSTING in each["components"]["databases"]["databases"])
    answer = backed_up.command("restore", "databases", "--point", tail, "--as", "_tail")
    assert answer.code == 0, answer.reasons
    assert rows(backed_up.server, f"{HOSTING}_tail") == [*BEFORE, (3, "too late")]


def test_a_tail_that_cannot_be_saved_leaves_the_database_alone(backed_up: Bench) -> None:
    backed_up.server.foreign_full(HOSTING)
    backed_up.server.execute(HOSTING, "INSERT INTO sites (id, name) VALUES (3, N'new')")
    backed_up.server.fail_next("BACKUP LOG", 9002, "The transaction log for database is full.")
    answer = backed_up.command("restore", "databases", "--overwrite")
    assert answer.code == 3
    assert answer.reasons[0]["database"] == HOSTING
    assert "nothing was replaced" in answer.reasons[0]["message"]
    assert rows(backed_up.server, HOSTING) == [*BEFORE, (3, "new")]


def test_who_may_not_write_into_the_vault_keeps_the_tail_where_it_is(backed_up: Bench) -> None:
    backed_up.server.foreign_full(HOSTING)
    backed_up.vault.faults.add("answer every put with 403 AuthorizationPermissionMismatch")
    answer = backed_up.command("restore", "databases", "--overwrite")
    assert answer.status == "complete", answer.reasons
    assert [note for note in answer.json["notes"] if "stays at" in note and backed_up.landing.url in note]
    assert len(backed_up.landed()) == 1


def test_a_failure_in_the_middle_says_how_the_database_stands(backed_up: Bench) -> None:
    backed_up.server.fail_next("RESTORE DATABASE", 3203, "Read on the backup device failed.")
    answer = backed_up.command("restore", "databases", "--overwrite")
    assert answer.code == 3
    assert "is as it was" in answer.reasons[0]["message"]
    assert backed_up.server.database(HOSTING).user_access == "MULTI_USER"


def test_a_dry_run_prints_the_statements_and_does_nothing(backed_up: Bench) -> None:
    before = len(backed_up.server.statements)
    answer = backed_up.command("restore", "databases", "--overwrite", "--dry-run")
    assert (answer.code, answer.json["restored"]) == (0, 0)
    printed = answer.json["statements"]
    assert [text for text in backed_up.server.statements[before:] if not text.lstrip().startswith("SELECT")] == []
    assert backed_up.landed() == []
    backed_up.command("restore", "databases", "--overwrite")
    sent = [
        text
        for text in backed_up.server.statements[before:]
        if text.split()[0] in ("BACKUP", "RESTORE", "ALTER") and "CREDENTIAL" not in text
    ]
    container = sent[0].split("lifeboat-")[1].split("/")[0]
    assert [text.replace(container, "RUN") for text in sent if "MULTI_USER" not in text] == printed


def test_people_are_told_what_came_back(backed_up: Bench) -> None:
    code, out, _ = backed_up.command.people("restore", "databases", "--as", "_back")
    assert code == 0
    assert f"{HOSTING}_back: " in out
    assert "restored 2 database(s)" in out


def test_a_newer_backup_is_refused_before_anything_is_done(backed_up: Bench, certificate: Certificate) -> None:
    with running_sql_server(certificate, version="2016") as old:
        old.add_login(restore_login(()))
        answer = backed_up.command("restore", "databases", "--to", address(old))
        assert answer.code == 1
        assert "2019" in answer.reasons[0]["message"]
        assert "2016" in answer.reasons[0]["message"]
        assert [text for text in old.statements if text.startswith(("RESTORE", "CREATE DATABASE"))] == []


def test_a_contained_database_is_refused_where_contained_authentication_is_off(
    bench: Bench, other_server: SqlServer
) -> None:
    bench.server.add_database("contained", containment="PARTIAL")
    bench.server.add_login(backup_login(("contained",)))
    bench.command.set(SQL_DATABASES="contained")
    bench.command("backup")
    bench.as_restorer()
    refused = bench.command("restore", "databases", "--to", address(other_server))
    assert refused.code == 1
    assert "sp_configure 'contained database authentication', 1" in refused.reasons[0]["remedy"]
    other_server.execute("master", "EXEC sp_configure 'contained database authentication', 1")
    other_server.execute("master", "RECONFIGURE")
    assert bench.command("restore", "databases", "--to", address(other_server)).code == 0


def test_an_encrypted_database_fails_clearly_on_a_server_without_its_certificate(
    bench: Bench, other_server: SqlServer
) -> None:
    bench.server.add_database("secret", encrypted_by="AB" * 20)
    bench.server.add_login(backup_login(("secret",)))
    bench.command.set(SQL_DATABASES="secret")
    bench.command("backup")
    bench.as_restorer()
    answer = bench.command("restore", "databases", "--to", address(other_server))
    assert answer.code == 1
    assert "certificate" in f"{answer.reasons[0]['message']} {answer.reasons[0]['remedy']}"


def test_a_login_without_the_right_to_restore_is_told_which(backed_up: Bench) -> None:
    backed_up.command.unset("RESTORE_SQL_USERNAME", "RESTORE_SQL_PASSWORD")
    answer = backed_up.command("restore", "databases", "--overwrite")
    assert answer.code == 1
    assert "runbook --grants" in answer.reasons[0]["remedy"]
    assert rows(backed_up.server, HOSTING) == BEFORE


def test_a_blob_that_is_gone_from_the_vault_touches_nothing(backed_up: Bench) -> None:
    with backed_up.vault.judge("databases") as store:
        for blob in store.list(f"{HOSTING}/"):
            store.delete(blob.name)
    answer = backed_up.command("restore", "databases", "--overwrite")
    assert (answer.code, answer.codes) == (3, ["damaged"])
    assert rows(backed_up.server, HOSTING) == BEFORE
    assert backed_up.server.database(HOSTING).user_access == "MULTI_USER"


def test_check_finds_a_blob_that_is_gone_or_too_short(backed_up: Bench) -> None:
    assert backed_up.command("check").status == "ok"
    with backed_up.vault.judge("databases") as store:
        names = [blob.name for blob in store.list("")]
        store.delete(names[0])
        store.delete(names[1])
        store.put(names[1], b"short")
    answer = backed_up.command("check")
    assert (answer.code, answer.status) == (1, "damaged")
    assert {reason["object"] for reason in answer.reasons} == {f"databases/{name}" for name in names[:2]}


# --- moments ---


@pytest.fixture
def chained(bench: Bench) -> Bench:
    """An own log chain: a full, a log, a differential, a log, with a row before each."""
    bench.command.set(SQL_OWN_LOG_CHAIN="true", SQL_DATABASES=HOSTING)
    bench.as_restorer()
    assert bench.command("backup").status == "complete"
    add(bench, 3)
    assert bench.command("backup", "--logs").status == "complete"
    add(bench, 4)
    assert bench.command("backup").status == "complete"
    add(bench, 5)
    assert bench.command("backup", "--logs").status == "complete"
    return bench


def add(bench: Bench, number: int) -> datetime:
    """A further row, a while after and before everything else; returns a moment just after it."""
    time.sleep(0.05)
    bench.server.execute(HOSTING, f"INSERT INTO sites (id, name) VALUES ({number}, N'more')")
    time.sleep(0.05)
    moment = datetime.now(UTC)
    time.sleep(0.05)
    return moment


def numbers(bench: Bench, database: str) -> list[object]:
    return [number for number, _ in rows(bench.server, database)]


def test_the_newest_point_of_a_chain_brings_everything_back(chained: Bench) -> None:
    answer = chained.command("restore", "databases", "--as", "_back")
    assert answer.code == 0, answer.reasons
    assert numbers(chained, f"{HOSTING}_back") == [1, 2, 3, 4, 5]
    kinds = [text.split()[1] for text in chained.sent("RESTORE") if "_back" in text and "VERIFY" not in text]
    assert kinds == ["DATABASE", "DATABASE", "LOG", "DATABASE"]


def test_each_point_brings_back_its_own_moment(chained: Bench) -> None:
    points = [each["point"] for each in chained.command("points").json["points"]]
    expected = [[1, 2, 3, 4, 5], [1, 2, 3, 4], [1, 2, 3], [1, 2]]
    for number, (point, content) in enumerate(zip(points, expected, strict=True)):
        answer = chained.command("restore", "databases", "--point", point, "--as", f"_{number}")
        assert answer.code == 0, answer.reasons
        assert numbers(chained, f"{HOSTING}_{number}") == content


def test_a_moment_between_two_backups_is_reached_by_the_log(chained: Bench) -> None:
    between = add(chained, 6)
    add(chained, 7)
    assert chained.command("backup", "--logs").status == "complete"
    answer = chained.command("restore", "databases", "--as", "_at", "--at", between.isoformat())
    assert answer.code == 0, answer.reasons
    assert numbers(chained, f"{HOSTING}_at") == [1, 2, 3, 4, 5, 6]
    log = [text for text in chained.sent("RESTORE LOG") if "_at" in text]
    local = (between + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S")
    assert all(f"STOPAT = N'{local}" in text for text in log)
    assert chained.server.database(f"{HOSTING}_at").state == "ONLINE"


def test_a_moment_that_no_log_covers_is_refused_with_those_that_can_be_reached(chained: Bench) -> None:
    answer = chained.command("restore", "databases", "--as", "_at", "--at", datetime.now(UTC).isoformat())
    assert (answer.code, answer.codes) == (1, ["no-chain"])
    assert "--at" in answer.reasons[0]["remedy"]


@pytest.mark.parametrize("moment", ["yesterday", "2026-11-25T13:00:00", "25.11.2026"])
def test_a_moment_without_a_zone_is_wrong_usage(chained: Bench, moment: str) -> None:
    assert chained.command("restore", "databases", "--as", "_at", "--at", moment).code == 2


# --- drills ---


def test_a_drill_restores_checks_times_and_drops_what_it_made(backed_up: Bench, other_server: SqlServer) -> None:
    other_server.add_login(restore_login(()))
    backed_up.command.set(
        DRILL_SQL_SERVER=address(other_server), DRILL_SQL_USERNAME="lifeboat_restore", DRILL_SQL_PASSWORD=PASSWORD
    )
    answer = backed_up.command("drill")
    assert (answer.code, answer.status) == (0, "ok")
    assert answer.json["rto_seconds"] > 0
    assert [check["result"] for check in answer.json["checks"]] == ["pass", "pass"]
    assert [
        name for (name,) in other_server.query("master", "SELECT name FROM sys.databases WHERE database_id > 4")
    ] == []
    with backed_up.vault.judge("recovery-points") as store:
        assert [blob.name.startswith(f"drills/{answer.json['point']}/") for blob in store.list("drills/")] == [True]


def test_a_drill_on_the_production_instance_must_be_meant(backed_up: Bench) -> None:
    backed_up.command.set(
        DRILL_SQL_SERVER=address(backed_up.server), DRILL_SQL_USERNAME=ADMIN_LOGIN, DRILL_SQL_PASSWORD=PASSWORD
    )
    refused = backed_up.command("drill")
    assert (refused.code, refused.reasons[0]["setting"]) == (2, "LIFEBOAT_DRILL_SQL_SERVER")
    assert backed_up.command("drill", "--on-production").status == "ok"
    assert rows(backed_up.server, HOSTING) == BEFORE


def test_a_drill_that_finds_damage_fails_and_clears_away(backed_up: Bench, other_server: SqlServer) -> None:
    backed_up.command.set(
        DRILL_SQL_SERVER=address(other_server), DRILL_SQL_USERNAME="lifeboat_restore", DRILL_SQL_PASSWORD=PASSWORD
    )
    other_server.fail_next("DBCC CHECKDB", 8928, "Object ID 1: Page (1:2) could not be processed.")
    answer = backed_up.command("drill")
    assert (answer.code, answer.status) == (3, "partial")
    assert "8928" in answer.reasons[0]["message"]
    assert [
        name for (name,) in other_server.query("master", "SELECT name FROM sys.databases WHERE database_id > 4")
    ] == []


def test_a_drill_drops_no_database_that_is_not_its_own(backed_up: Bench, other_server: SqlServer) -> None:
    other_server.add_database("somebody_elses")
    backed_up.command.set(
        DRILL_SQL_SERVER=address(other_server), DRILL_SQL_USERNAME="lifeboat_restore", DRILL_SQL_PASSWORD=PASSWORD
    )
    other_server.fail_next("RESTORE DATABASE", 3203, "Read on the backup device failed.", times=9)
    assert backed_up.command("drill").status == "failed"
    assert [text for text in other_server.statements if text.startswith("DROP DATABASE")] == []


def test_without_a_drill_server_databases_alone_cannot_be_drilled(backed_up: Bench) -> None:
    answer = backed_up.command("drill")
    assert (answer.code, answer.reasons[0]["setting"]) == (2, "LIFEBOAT_DRILL_SQL_SERVER")


def test_the_grants_are_enough_for_each_use_and_say_what_they_are_for(bench: Bench) -> None:
    code, out, _ = bench.command.people("runbook", "--grants")
    assert code == 0
    backup, restore = out.index("-- Backup"), out.index("-- Restore")
    assert "GRANT ALTER ANY CREDENTIAL TO [lifeboat]" in out[backup:restore]
    assert "ALTER SERVER ROLE [dbcreator]" not in out[backup:restore]
    assert "ALTER SERVER ROLE [dbcreator]" in out[restore:]
    assert isinstance(Login("x", "y"), Login)
