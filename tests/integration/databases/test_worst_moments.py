"""What reviewers broke, each once: servers that go away, records that are odd, a vault that lost something, tails."""

from __future__ import annotations

import json
import threading
import time

import pytest

from shared.databases import backup as backup_module
from tests.integration.databases.conftest import HOSTING, METERING, Bench, backup_login, rows
from tests.standins.sqlserver import Login

BEFORE = [(1, "first"), (2, "zweite Straße")]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup_module, "FAILOVER_POLL_SECONDS", 0.1)


def share_too(bench: Bench) -> None:
    bench.command.set(SHARE_URL=bench.command.share.as_uri())


def when(bench: Bench, begins: str, act: object, count: int = 1) -> threading.Thread:
    """Call ``act`` in a thread once ``count`` statements that begin so have come."""
    before = len(bench.sent(begins))

    def watch() -> None:
        deadline = time.monotonic() + 30
        while len(bench.sent(begins)) < before + count and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.2)
        act()  # type: ignore[operator]

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


# --- the server ---


def test_a_connection_that_is_cut_during_a_backup_is_made_anew_and_the_backup_too(bench: Bench) -> None:
    bench.server.slow("BACKUP", 20, times=1)
    cut = when(bench, "BACKUP", bench.server.kill_connections)
    answer = bench.command("backup")
    cut.join()
    assert answer.status == "complete", answer.reasons
    notes = answer.json["components"]["databases"]["databases"][HOSTING]["notes"]
    assert any(note.startswith("begun again") for note in notes)
    assert bench.server.query("master", "SELECT name FROM sys.credentials") == []
    assert bench.landed() == []
    assert answer.json["components"]["databases"]["notes"] == [
        "logins were not saved: no Key Vault is configured (LIFEBOAT_KEY_VAULT_URL)"
    ]


def test_a_server_that_is_gone_for_good_costs_the_databases_and_not_the_share(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_module, "FAILOVER_SECONDS", 0.5)
    share_too(bench)
    bench.server.slow("BACKUP", 20, times=1)
    stop = when(bench, "BACKUP", bench.server.stop)
    answer = bench.command("backup")
    stop.join()
    assert (answer.code, answer.status) == (3, "partial")
    assert answer.share["status"] == "complete"
    assert {reason["component"] for reason in answer.reasons} == {"databases"}
    assert len(answer.reasons) == 3
    assert len(bench.command("points").json["points"]) == 1
    notes = answer.json["components"]["databases"]["notes"]
    assert [note for note in notes if note.startswith("the credential")] or bench.landed() == []


def test_a_server_that_is_not_there_costs_the_databases_and_not_the_share(bench: Bench) -> None:
    share_too(bench)
    bench.command.set(SQL_SERVER="127.0.0.1,1")
    answer = bench.command("backup")
    assert (answer.code, answer.codes) == (3, ["source-unreachable"])
    assert answer.share["status"] == "complete"


def test_a_driver_that_is_not_there_costs_the_databases_and_not_the_share(bench: Bench) -> None:
    share_too(bench)
    bench.command.set(SQL_DRIVER="Nope")
    answer = bench.command("backup")
    assert (answer.code, answer.codes) == (3, ["no-driver"])
    assert "installed: " in answer.reasons[0]["message"]
    assert answer.reasons[0]["setting"] == "LIFEBOAT_SQL_DRIVER"


def test_a_wrong_setting_is_told_before_anything_is_read(bench: Bench) -> None:
    share_too(bench)
    bench.command.set(SQL_SERVER_CERTIFICATE="/no/such/file.pem")
    answer = bench.command("backup")
    assert (answer.code, answer.reasons[0]["setting"]) == (2, "LIFEBOAT_SQL_SERVER_CERTIFICATE")
    assert bench.command("points").code in (0, 10)


@pytest.mark.parametrize(
    ("setting", "value", "named"),
    [
        ("SQL_STATEMENT_LIMIT", "0s", "LIFEBOAT_SQL_STATEMENT_LIMIT"),
        ("SQL_SERVER", "127.0.0.1:1433", "LIFEBOAT_SQL_SERVER"),
        ("SQL_SERVER", "a b", "LIFEBOAT_SQL_SERVER"),
        ("SQL_MODE", "tape", "LIFEBOAT_SQL_MODE"),
        ("LANDING_URL", "ftp://x", "LIFEBOAT_LANDING_URL"),
    ],
)
def test_a_setting_that_cannot_be_is_exit_code_2(bench: Bench, setting: str, value: str, named: str) -> None:
    bench.command.set(**{setting: value})
    answer = bench.command("backup")
    assert (answer.code, answer.reasons[0]["setting"]) == (2, named)
    assert answer.reasons[0]["remedy"]


def test_a_folder_of_mode_disk_that_is_away_costs_the_databases_and_not_the_share(bench: Bench) -> None:
    share_too(bench)
    bench.command.set(
        SQL_MODE="disk",
        SQL_DISK_PATH=r"\\fs\b",
        SQL_DISK_URL="smb://127.0.0.1:1/b",
        SQL_DISK_USERNAME="x",
        SQL_DISK_PASSWORD="y",
    )
    answer = bench.command("backup")
    assert (answer.code, answer.status) == (3, "partial")
    assert answer.share["status"] == "complete"


def test_a_clock_that_is_wrong_is_told(bench: Bench) -> None:
    import datetime as dt

    bench.server.skew(dt.timedelta(hours=3))
    answer = bench.command("backup")
    assert any("the clock of SQL01 differs" in note for note in answer.json["components"]["databases"]["notes"])


# --- the vault ---


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


def test_a_base_that_is_gone_from_the_vault_is_answered_by_a_full(own: Bench) -> None:
    with own.vault.judge("databases") as store:
        for blob in store.list(""):
            store.delete(blob.name)
    assert kinds(own) == ["full"]
    own.as_restorer()
    assert own.command("restore", "databases", "--as", "_back").code == 0


def test_a_log_that_is_gone_from_the_vault_is_answered_by_a_full(own: Bench) -> None:
    assert kinds(own, "--logs") == ["log"]
    with own.vault.judge("databases") as store:
        (log,) = [blob.name for blob in store.list("") if "-log-" in blob.name]
        store.delete(log)
    assert kinds(own, "--logs") == ["full"]


def test_a_log_backup_that_cannot_be_kept_is_left_where_it_is_the_only_copy(own: Bench) -> None:
    own.vault.faults.add("answer every put under databases/ with 403 AuthorizationPermissionMismatch")
    answer = own.command("backup", "--logs")
    assert (answer.code, answer.codes) == (1, ["database-failed"])
    assert "stays at" in answer.reasons[0]["message"]
    assert len(own.sent("BACKUP LOG")) == 1, "what was truncated cannot be backed up twice"
    assert len(own.landed()) == 1
    own.vault.faults.clear()
    assert kinds(own, "--logs") == ["full"]


def test_a_record_that_is_odd_stops_neither_backups_nor_restores(own: Bench) -> None:
    point = own.command("points").json["points"][0]["point"]
    with own.vault.judge("recovery-points") as store:
        record = json.loads(store.get(f"points/{point}.json"))
        del record["digest"]
        record["components"]["databases"]["databases"][HOSTING]["backups"][0]["first_lsn"] = "odd"
        odd = point.replace(point[:8], "20990101")
        record["point"] = odd
        store.put(f"points/{odd}.json", json.dumps(record).encode())
    own.as_restorer()
    assert own.command("restore", "databases", "--as", "_back").json["point"] == point
    assert kinds(own) == ["differential"]
    assert own.command("check").status == "damaged"


def test_a_run_that_failed_does_not_make_a_missing_database_pass_for_whole(bench: Bench) -> None:
    assert bench.command("backup").json["whole"] is True
    bench.command.set(SQL_PASSWORD="wrong")
    assert bench.command("backup").status == "failed"
    bench.use(bench.server)
    bench.command.set(SQL_DATABASES=f"{HOSTING},master")
    answer = bench.command("backup")
    assert (answer.json["whole"], answer.json["gone"]) == (False, [METERING])
    code, _, err = bench.command.people("backup")
    assert code == 0
    assert f"--without {METERING}" in err


def test_reasons_of_the_databases_outlive_the_logs_after_the_share(own: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    share_too(own)
    own.command.set(SQL_DATABASES=f"{HOSTING},nowhere")
    answer = own.command("backup")
    assert (answer.code, answer.status) == (3, "partial")
    assert [reason["database"] for reason in answer.reasons] == ["nowhere"]


# --- restores ---


def test_a_database_that_failed_in_the_point_is_missing_in_the_restore_and_told(bench: Bench) -> None:
    bench.server.fail_next("BACKUP DATABASE", 3202, "Write failed: 112(There is not enough space.)", times=2)
    assert bench.command("backup").code == 3
    bench.as_restorer()
    answer = bench.command("restore", "databases", "--as", "_back")
    assert (answer.code, answer.status, answer.json["restored"]) == (3, "partial", 1)
    (reason,) = answer.reasons
    assert (reason["code"], reason["database"]) == ("database-failed", HOSTING)


def test_the_tail_is_recorded_before_anything_is_replaced(own: Bench) -> None:
    own.server.execute(HOSTING, "INSERT INTO sites (id, name) VALUES (3, N'newest')")
    own.as_restorer()
    own.server.fail_next("RESTORE DATABASE", 3203, "Read on the backup device failed.")
    answer = own.command("restore", "databases", "--overwrite")
    assert answer.code == 1
    assert "is as it was" in answer.reasons[0]["message"]
    assert rows(own.server, HOSTING) == [*BEFORE, (3, "newest")]
    tail = own.command("points").json["points"][0]
    assert tail["components"]["databases"]["tail_of_restore"]
    assert own.command("restore", "databases", "--point", tail["point"], "--as", "_tail").code == 0
    assert rows(own.server, f"{HOSTING}_tail") == [*BEFORE, (3, "newest")]


def test_nothing_can_be_written_between_the_tail_and_the_restore(own: Bench) -> None:
    own.as_restorer()
    own.server.slow("RESTORE VERIFYONLY", 0.3)
    seen: list[str] = []

    def write() -> None:
        try:
            own.server.execute(HOSTING, "INSERT INTO sites (id, name) VALUES (9, N'after the tail')")
        except Exception as error:  # the stand-in's own error, whatever it is: the write was refused
            seen.append(str(error))

    writer = when(own, "BACKUP LOG", write)
    assert own.command("restore", "databases", "--overwrite").code == 0
    writer.join()
    assert seen, "the database took a write that is in no backup"
    assert rows(own.server, HOSTING) == BEFORE


def test_a_tail_that_does_not_verify_leaves_the_old_database_in_use(own: Bench) -> None:
    own.as_restorer()
    own.server.fail_next("RESTORE HEADERONLY", 3241, "The media family is incorrectly formed.")
    answer = own.command("restore", "databases", "--overwrite")
    assert answer.code == 1
    assert "nothing was replaced" in answer.reasons[0]["message"]
    assert "is as it was" in answer.reasons[0]["message"]
    state = own.server.database(HOSTING)
    assert (state.state, state.user_access) == ("ONLINE", "MULTI_USER")


def test_what_could_not_be_saved_of_a_simple_database_is_told(bench: Bench) -> None:
    bench.server.execute("master", f"ALTER DATABASE {HOSTING} SET RECOVERY SIMPLE")
    bench.command("backup")
    bench.as_restorer()
    answer = bench.command("restore", "databases", "--overwrite")
    assert answer.code == 0
    notes = " ".join(answer.json["notes"])
    assert f"{HOSTING} had no tail of its log to save: its recovery model is SIMPLE" in notes


def test_a_checkdb_without_the_right_to_it_takes_nothing_from_the_restore(bench: Bench) -> None:
    bench.command("backup")
    bench.as_restorer()
    bench.server.fail_next("DBCC", 7983, "User does not have permission to run DBCC CHECKDB.", times=2)
    answer = bench.command("restore", "databases", "--as", "_back", "--checkdb")
    assert (answer.code, answer.status, answer.json["restored"]) == (3, "partial", 2)
    assert answer.reasons[0]["remedy"]


def test_the_credential_is_renewed_before_each_long_statement_of_a_restore(own: Bench) -> None:
    assert kinds(own, "--logs") == ["log"]
    own.as_restorer()
    before = len(own.sent("ALTER CREDENTIAL"))
    assert own.command("restore", "databases", "--as", "_back").code == 0
    assert len(own.sent("ALTER CREDENTIAL")) - before == 3, "the full, the log, the recovery"


def test_an_empty_server_is_no_server(bench: Bench) -> None:
    bench.command("backup")
    answer = bench.command("restore", "databases", "--to", "")
    assert answer.code == 2
    assert "is empty" in answer.reasons[0]["message"]
    away = bench.command("restore", "databases", "--to", "127.0.0.1,1")
    assert away.reasons[0]["setting"] == "--to"


def test_a_login_that_sees_less_than_all_is_told_what(bench: Bench) -> None:
    login = backup_login()
    permissions = login.server_permissions - {"VIEW SERVER STATE"}
    bench.server.add_login(Login(**{**vars(login), "server_permissions": permissions}))
    answer = bench.command("backup")
    assert answer.status == "complete", answer.reasons
    assert any("VIEW SERVER STATE" in note for note in answer.json["components"]["databases"]["notes"])


# --- a connection that is cut at the worst moment of a restore ---


def test_cut_after_the_tail_the_next_restore_recovers_what_is_there_and_loses_nothing(own: Bench) -> None:
    own.server.execute(HOSTING, "INSERT INTO sites (id, name) VALUES (3, N'newest')")
    own.command.set(SQL_OWN_LOG_CHAIN="false")
    own.as_restorer()
    own.server.slow("RESTORE HEADERONLY", 20, times=1)
    cut = when(own, "RESTORE HEADERONLY", own.server.kill_connections)
    answer = own.command("restore", "databases", "--overwrite")
    cut.join()
    assert answer.code == 1
    assert "Run it again" in answer.reasons[0]["remedy"]
    assert len(own.landed()) == 1, "the tail may be the only copy, and stays"
    again = own.command("restore", "databases", "--overwrite")
    assert again.code == 0, again.reasons
    assert rows(own.server, HOSTING) == BEFORE
    tail = own.command("points").json["points"][0]["point"]
    assert own.command("restore", "databases", "--point", tail, "--as", "_tail").code == 0
    assert rows(own.server, f"{HOSTING}_tail") == [*BEFORE, (3, "newest")]


def test_a_log_whose_connection_is_cut_is_left_since_the_server_may_have_truncated_it(own: Bench) -> None:
    own.server.slow("BACKUP LOG", 20, times=1)
    cut = when(own, "BACKUP LOG", own.server.kill_connections)
    answer = own.command("backup", "--logs")
    cut.join()
    assert answer.status == "complete", answer.reasons
    notes = answer.json["components"]["databases"]["databases"][HOSTING]["notes"]
    assert any("the log backup stays at" in note for note in notes)


def test_a_suspect_database_is_not_replaced_without_a_word_about_its_tail(own: Bench) -> None:
    own.as_restorer()
    own.server.database(HOSTING).state = "SUSPECT"
    answer = own.command("restore", "databases", "--overwrite")
    assert answer.code == 1
    assert "SUSPECT" in answer.reasons[0]["message"]
    assert "NO_TRUNCATE" in answer.reasons[0]["remedy"]
    assert "DROP DATABASE" in answer.reasons[0]["remedy"]
    assert own.sent("RESTORE DATABASE") == []


def test_a_point_of_logs_says_nothing_of_databases_that_have_none(own: Bench) -> None:
    own.command.set(SQL_DATABASES=f"{HOSTING},{METERING}")
    own.server.execute("master", f"ALTER DATABASE {METERING} SET RECOVERY SIMPLE")
    assert own.command("backup").status == "complete"
    answer = own.command("backup", "--logs")
    assert list(answer.json["components"]["databases"]["databases"]) == [HOSTING]
    own.as_restorer()
    restored = own.command("restore", "databases", "--as", "_back")
    assert (restored.code, restored.json["databases"]) == (0, [f"{HOSTING}_back"])
    assert any(METERING in note and "is not in" in note for note in restored.json["notes"])


def test_databases_that_nobody_came_to_have_failed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup_module, "FAILOVER_SECONDS", 0.2)
    stop = when(bench, "RESTORE FILELISTONLY", bench.server.stop)
    bench.server.slow("RESTORE FILELISTONLY", 5, times=1)
    answer = bench.command("backup")
    stop.join()
    states = {name: each["status"] for name, each in answer.json["components"]["databases"]["databases"].items()}
    assert states == {HOSTING: "failed", METERING: "failed", "master": "failed"}


def test_a_vault_without_the_container_of_databases_gets_it_with_an_own_chain_too(own: Bench) -> None:
    from azure.storage.blob import ContainerClient

    from tests.standins.azurite import KEY

    credential = {"account_name": own.vault.account, "account_key": KEY}
    with ContainerClient(own.vault.direct, "databases", credential=credential, api_version="2025-11-05") as container:
        container.delete_container()
    answer = own.command("backup")
    assert "databases" in json.dumps(answer.json["reasons"]) or answer.status == "complete"


@pytest.mark.parametrize("server", ["a..b", "." + "x", "y" * 64 + ".example"])
def test_a_name_that_no_host_can_have_costs_the_databases_only(bench: Bench, server: str) -> None:
    share_too(bench)
    bench.command.set(SQL_SERVER=server)
    answer = bench.command("backup")
    assert (answer.code, answer.codes) == (3, ["source-unreachable"])
