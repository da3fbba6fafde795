"""Faults of databases, by their numbers in the list: 12, 26, 27, 28, 43, and a run that is killed (1, 2)."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.databases import backup as backup_module
from shared.databases import statements
from shared.databases.connection import Connection
from shared.storage.landing import LandingContainer
from shared.storage.sas import Sas
from tests.integration.databases.conftest import (
    ADMIN_LOGIN,
    HOSTING,
    METERING,
    PASSWORD,
    Bench,
    address,
    backup_login,
    rows,
)
from tests.integration.databases.conftest import bench as bench
from tests.integration.databases.conftest import landing as landing
from tests.integration.databases.conftest import sql_server as sql_server
from tests.standins.certificate import Certificate
from tests.standins.sqlserver import AvailabilityGroup, Login, SqlServer, running_sql_server

ROOT = Path(__file__).parents[2]
BEFORE = [(1, "first"), (2, "zweite Straße")]


# --- 12: SAS expires during BACKUP ---


def test_12_a_sas_that_expires_during_a_backup_fails_that_backup_and_the_next_try_has_a_new_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first SAS is over before the upload begins; the second attempt is given a good one, under another name."""
    made = LandingContainer.sas
    given: list[Sas] = []

    def sas(self: LandingContainer, *, lifetime: timedelta) -> Sas:
        expired = len(given) < 2  # of CREATE CREDENTIAL, and of the first BACKUP
        given.append(made(self, lifetime=timedelta(seconds=-60) if expired else lifetime))
        return given[-1]

    monkeypatch.setattr(LandingContainer, "sas", sas)
    monkeypatch.setattr(backup_module, "FAILOVER_POLL_SECONDS", 0.1)
    bench.command.set(SQL_DATABASES=HOSTING)
    answer = bench.command("backup")
    assert answer.status == "complete", answer.reasons
    first, second = bench.sent("BACKUP")
    assert re.findall(r"full-(\w+)", first)[0] != re.findall(r"full-(\w+)", second)[0]
    notes = answer.json["components"]["databases"]["databases"][HOSTING]["notes"]
    assert any(note.startswith("tried again") for note in notes)
    for sas_ in given:
        assert sas_.token not in str(answer.json)


def test_12_a_sas_outlives_the_statement_and_its_verification(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    lifetimes: list[timedelta] = []
    made = LandingContainer.sas

    def sas(self: LandingContainer, *, lifetime: timedelta) -> Sas:
        lifetimes.append(lifetime)
        return made(self, lifetime=lifetime)

    monkeypatch.setattr(LandingContainer, "sas", sas)
    bench.command.set(SQL_STATEMENT_LIMIT="3h", SQL_DATABASES=f"{HOSTING},{METERING}")
    bench.command("backup")
    assert set(lifetimes) == {timedelta(hours=7)}
    assert len(lifetimes) == 3, "once for the credential, and anew before each backup"
    bench.command.set(SQL_STATEMENT_LIMIT="1s")
    bench.server.slow("BACKUP", 30, times=1)
    answer = bench.command("backup")
    assert answer.code == 3
    assert "LIFEBOAT_SQL_STATEMENT_LIMIT" in {reason.get("setting") for reason in answer.reasons}


# --- 26: failover of an availability group during a backup ---


@pytest.fixture
def pair(bench: Bench, certificate: Certificate) -> Iterator[tuple[Bench, SqlServer, AvailabilityGroup]]:
    """Two replicas with a listener, which is what Lifeboat is given; the second one has the same logins."""
    with ExitStack() as stack:
        bench.server.instance.edition = "Enterprise"
        other = stack.enter_context(running_sql_server(certificate, name="SQL02", edition="Enterprise"))
        other.add_login(backup_login())
        other.add_login(Login(ADMIN_LOGIN, PASSWORD, sysadmin=True))
        group = AvailabilityGroup("AG", [bench.server, other], [HOSTING, METERING])
        other.add_login(backup_login())
        port = stack.enter_context(group.listener())
        bench.command.set(SQL_SERVER=f"127.0.0.1,{port}")
        yield bench, other, group


def test_26_by_its_listener_the_primary_is_backed_up_whatever_the_group_prefers(
    pair: tuple[Bench, SqlServer, AvailabilityGroup],
) -> None:
    bench, other, _ = pair
    assert bench.command("backup").status == "complete"
    assert len(bench.sent("BACKUP")) == 3
    assert not [text for text in other.statements if text.startswith("BACKUP")]


def test_26_a_failover_in_the_middle_is_waited_for_and_the_database_begun_anew_on_the_new_primary(
    pair: tuple[Bench, SqlServer, AvailabilityGroup], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, other, group = pair
    monkeypatch.setattr(backup_module, "FAILOVER_POLL_SECONDS", 0.1)
    bench.command.set(SQL_DATABASES=f"{HOSTING},{METERING}")
    bench.server.slow("BACKUP", 20, times=1)
    watch = threading.Thread(target=_fail_over_when_it_runs, args=(bench, group, other))
    watch.start()
    answer = bench.command("backup")
    watch.join()
    assert answer.status == "complete", answer.reasons
    record = bench.record(answer.json["point"])["components"]["databases"]
    assert {each["backups"][0]["server"] for each in record["databases"].values()} == {"SQL02"}
    assert any("begun again" in note for note in record["databases"][HOSTING]["notes"])
    assert other.query("master", "SELECT name FROM sys.credentials") == []
    assert bench.landed() == []


def test_26_while_nobody_is_the_primary_the_new_one_is_waited_for(
    pair: tuple[Bench, SqlServer, AvailabilityGroup], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, other, group = pair
    monkeypatch.setattr(backup_module, "FAILOVER_POLL_SECONDS", 0.1)
    bench.command.set(SQL_DATABASES=f"{HOSTING},{METERING}")
    bench.server.slow("BACKUP", 20, times=1)

    def elect() -> None:
        while not bench.sent("BACKUP"):
            time.sleep(0.02)
        time.sleep(0.2)
        group.resolving()
        time.sleep(1.0)
        group.failover(other)

    election = threading.Thread(target=elect)
    election.start()
    answer = bench.command("backup")
    election.join()
    assert answer.status == "complete", answer.reasons
    record = bench.record(answer.json["point"])["components"]["databases"]
    assert {each["backups"][0]["server"] for each in record["databases"].values()} == {"SQL02"}


def test_26_between_two_steps_another_instance_is_noticed_by_its_name(
    pair: tuple[Bench, SqlServer, AvailabilityGroup], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failover comes when nothing runs. Our session stays where it is, on what is a secondary now, and there the
    server takes no backup that belongs to a chain: so the listener is asked again."""
    bench, other, group = pair
    bench.command.set(SQL_OWN_LOG_CHAIN="true")
    monkeypatch.setattr(backup_module, "FAILOVER_POLL_SECONDS", 0.1)
    renew = backup_module.DatabaseBackups._take_once
    once: list[bool] = []

    def fail_over_first(self: object, *arguments: object) -> object:
        if not once:
            once.append(True)
            group.failover(other)
        return renew(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(backup_module.DatabaseBackups, "_take_once", fail_over_first)
    answer = bench.command("backup", "--only", "databases")
    assert answer.status == "complete", answer.reasons
    record = bench.record(answer.json["point"])["components"]["databases"]
    assert record["server"]["name"] == "SQL02"


def test_26_a_replica_addressed_by_itself_honours_the_preference(
    pair: tuple[Bench, SqlServer, AvailabilityGroup],
) -> None:
    bench, other, group = pair
    bench.command.set(SQL_SERVER=address(other), SQL_DATABASES=HOSTING)
    bench.use(other)
    answer = bench.command("backup")
    assert answer.status == "complete", answer.reasons
    assert [text for text in other.statements if text.startswith("BACKUP") and "COPY_ONLY" in text]
    group.preference = "PRIMARY"
    refused = bench.command("backup")
    assert "prefers another replica" in refused.reasons[0]["message"]
    assert "listener" in refused.reasons[0]["remedy"]


def test_26_standard_edition_backs_up_nothing_on_a_secondary(
    pair: tuple[Bench, SqlServer, AvailabilityGroup],
) -> None:
    bench, other, _ = pair
    other.instance.edition = "Standard"
    bench.use(other)
    bench.command.set(SQL_DATABASES=HOSTING)
    assert "Standard" in bench.command("backup").reasons[0]["message"]


def test_26_a_secondary_that_does_not_synchronise_is_no_source(
    pair: tuple[Bench, SqlServer, AvailabilityGroup],
) -> None:
    bench, other, group = pair
    group.synchronization(other, "NOT SYNCHRONIZING")
    bench.use(other)
    bench.command.set(SQL_DATABASES=HOSTING)
    assert "NOT SYNCHRONIZING" in bench.command("backup").reasons[0]["message"]


def test_26_nothing_is_restored_over_a_database_of_a_group(pair: tuple[Bench, SqlServer, AvailabilityGroup]) -> None:
    bench, _, _ = pair
    bench.command.set(SQL_DATABASES=HOSTING)
    bench.command("backup")
    bench.as_restorer()
    answer = bench.command("restore", "databases", "--overwrite")
    assert answer.code == 1
    assert "availability group AG" in answer.reasons[0]["message"]
    assert rows(bench.server, HOSTING) == BEFORE


def _fail_over_when_it_runs(bench: Bench, group: AvailabilityGroup, to: SqlServer) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if bench.sent("BACKUP"):
            time.sleep(0.2)
            group.failover(to)
            return
        time.sleep(0.02)


# --- 27: another tool breaks the log chain ---


@pytest.fixture
def own(bench: Bench) -> Bench:
    bench.command.set(SQL_OWN_LOG_CHAIN="true", SQL_DATABASES=HOSTING)
    assert bench.command("backup").status == "complete"
    return bench


def kinds(bench: Bench, *arguments: str) -> list[str]:
    answer = bench.command("backup", *arguments)
    assert answer.status == "complete", answer.reasons
    found: list[str] = answer.json["components"]["databases"]["databases"][HOSTING]["backups"]
    return found


def test_27_a_log_backup_of_another_tool_is_noticed_and_answered_by_a_full(own: Bench) -> None:
    assert kinds(own, "--logs") == ["log"]
    own.server.foreign_log(HOSTING)
    assert kinds(own, "--logs") == ["full"]
    assert kinds(own, "--logs") == ["log"]


def test_27_a_full_of_another_tool_moves_the_base_and_is_answered_by_a_full(own: Bench) -> None:
    own.server.foreign_full(HOSTING)
    assert kinds(own) == ["full"]
    own.server.foreign_snapshot(HOSTING)
    assert kinds(own) == ["full"]
    assert kinds(own) == ["differential"]


def test_27_what_was_taken_before_the_break_stays_restorable(own: Bench) -> None:
    own.server.execute(HOSTING, "INSERT INTO sites (id, name) VALUES (3, N'before')")
    kinds(own, "--logs")
    point = own.command("points").json["points"][0]["point"]
    own.server.foreign_log(HOSTING)
    kinds(own, "--logs")
    own.as_restorer()
    answer = own.command("restore", "databases", "--point", point, "--as", "_old")
    assert answer.code == 0, answer.reasons
    assert rows(own.server, f"{HOSTING}_old") == [*BEFORE, (3, "before")]


def test_27_without_an_own_chain_another_tools_backups_are_left_as_they_are(bench: Bench) -> None:
    bench.server.foreign_full(HOSTING)
    base = bench.server.query("master", "SELECT differential_base_guid FROM sys.master_files WHERE database_id = 5")
    before = bench.server.database(HOSTING).last_log_backup_lsn
    assert bench.command("backup").status == "complete"
    assert (
        bench.server.query("master", "SELECT differential_base_guid FROM sys.master_files WHERE database_id = 5")
        == base
    )
    assert bench.server.database(HOSTING).last_log_backup_lsn == before


# --- 28: SQL Server's disk or log is full ---


def test_28_a_full_disk_fails_the_database_and_not_the_others(bench: Bench) -> None:
    full = 'Write on "x" failed: 112(There is not enough space on the disk.)'
    bench.server.fail_next("BACKUP DATABASE", 3202, full, times=2)
    answer = bench.command("backup")
    assert (answer.code, answer.status) == (3, "partial")
    (reason,) = answer.reasons
    assert (reason["code"], reason["database"]) == ("database-failed", HOSTING)
    assert "not enough space" in reason["message"]
    assert "room" in reason["remedy"]


def test_28_a_full_log_is_told_with_the_remedy(own: Bench) -> None:
    own.server.fail_next("BACKUP LOG", 9002, "The transaction log for database 'appservice_hosting' is full.")
    answer = own.command("backup", "--logs")
    assert (answer.code, answer.codes) == (1, ["database-failed"])
    assert "log is full" in answer.reasons[0]["remedy"]
    assert own.command("backup", "--logs").status == "complete"


def test_28_no_room_on_the_target_is_told_before_anything_is_replaced(bench: Bench) -> None:
    bench.command("backup")
    bench.as_restorer()
    bench.server.instance.data_free_bytes = 100
    answer = bench.command("restore", "databases", "--as", "_back")
    assert answer.code == 1
    assert "bytes on" in answer.reasons[0]["message"]
    assert bench.sent("RESTORE DATABASE") == []


# --- 43: a DBA's job or a second run beside ours on the same server ---


def test_43_two_runs_at_once_do_not_step_on_each_other(bench: Bench, tmp_path: Path) -> None:
    bench.server.slow("BACKUP", 0.5)
    environment = {**os.environ}
    runs = [
        subprocess.Popen(
            [sys.executable, "lifeboat.py", "backup", "--json"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        for _ in range(2)
    ]
    ended = [(run.communicate(timeout=120), run.returncode) for run in runs]
    assert [code for _, code in ended] == [0, 0], ended
    assert bench.landed() == []
    assert bench.server.query("master", "SELECT name FROM sys.credentials") == []
    assert len(bench.command("points").json["points"]) == 2


def test_43_a_dbas_own_credential_for_his_container_stays(bench: Bench) -> None:
    name = f"{bench.landing.url}/dba"
    bench.server.execute(
        "master", f"CREATE CREDENTIAL [{name}] WITH IDENTITY = 'SHARED ACCESS SIGNATURE', SECRET = 'sv=1&sig=x'"
    )
    bench.command("backup")
    assert bench.server.query("master", "SELECT name FROM sys.credentials") == [(name,)]


def test_43_a_backup_that_goes_on_at_the_server_is_not_begun_a_second_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours failed at our side; at the server one of that database still runs: it is waited for, then told."""
    monkeypatch.setattr(backup_module, "FAILOVER_POLL_SECONDS", 0.05)
    monkeypatch.setattr(backup_module, "STILL_RUNNING_SECONDS", 0.3)
    bench.command.set(SQL_DATABASES=HOSTING)
    bench.server.fail_next("BACKUP", 3271, "A nonrecoverable I/O error occurred.")
    running = {"session_id": 77, "command": "BACKUP DATABASE", "percent_complete": 12.0, "database_id": 5}
    rows_of = Connection.rows

    def with_one_running(self: object, statement: str, *parameters: object) -> object:
        if statement == statements.RUNNING:
            facts = rows_of(self, "SELECT database_id FROM sys.databases WHERE name = ?", HOSTING)  # type: ignore[arg-type]
            return [{**running, "database_id": facts[0]["database_id"]}]
        return rows_of(self, statement, *parameters)  # type: ignore[arg-type]

    monkeypatch.setattr(Connection, "rows", with_one_running)
    answer = bench.command("backup")
    assert "still runs on the server (session 77" in answer.reasons[0]["message"]
    assert len(bench.sent("BACKUP")) == 1


# --- 1, 2: killed ---


def test_1_a_run_that_is_killed_in_the_middle_leaves_what_the_next_one_clears(bench: Bench, tmp_path: Path) -> None:
    assert bench.command("backup").status == "complete"
    bench.server.slow("BACKUP", 30, times=1)
    run = subprocess.Popen([sys.executable, "lifeboat.py", "backup"], cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while len(bench.sent("BACKUP")) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.wait()
    (left,) = bench.landed()
    assert bench.server.query("master", "SELECT name FROM sys.credentials") != []
    bench.as_restorer()
    assert bench.command("restore", "databases", "--as", "_back").code == 0
    assert rows(bench.server, f"{HOSTING}_back") == BEFORE
    old = datetime.now(UTC) - timedelta(days=9)
    assert left.startswith("lifeboat-")
    stale = f"lifeboat-{old:%Y%m%dt%H%M%Sz}-ab12cd"
    name = f"{bench.landing.url}/{stale}"
    bench.server.execute(
        "master", f"CREATE CREDENTIAL [{name}] WITH IDENTITY = 'SHARED ACCESS SIGNATURE', SECRET = 'sv=1&sig=x'"
    )
    assert bench.command("backup").status == "complete"
    assert (name,) not in bench.server.query("master", "SELECT name FROM sys.credentials")


def test_2_killed_between_data_and_record_nothing_passes_for_a_point(bench: Bench) -> None:
    bench.vault.faults.add("answer every put under recovery-points/points/ with 403 AuthorizationFailure")
    answer = bench.command("backup")
    assert answer.code == 1
    bench.vault.faults.clear()
    assert bench.command("points").json["points"] == []
    assert bench.command("backup").status == "complete"
