"""Mode ``url``: BACKUP to the landing account, verified, copied into the vault, and what goes wrong on the way."""

from __future__ import annotations

import re

import pytest

from tests.integration.databases.conftest import (
    ADMIN_LOGIN,
    BACKUP_LOGIN,
    HOSTING,
    METERING,
    PASSWORD,
    Bench,
    backup_login,
    rows,
)
from tests.standins.sqlserver import Login


def test_a_backup_of_the_databases_is_complete_and_verified(bench: Bench) -> None:
    answer = bench.command("backup")
    assert (answer.code, answer.status, answer.reasons) == (0, "complete", [])
    assert answer.json["requested"] == ["databases"]
    assert answer.json["whole"] is True
    assert answer.json["snapshot"] is None
    component = answer.json["components"]["databases"]
    assert {name: each["backups"] for name, each in component["databases"].items()} == {
        HOSTING: ["full"],
        METERING: ["full"],
        "master": ["full"],
    }
    record = bench.record(answer.json["point"])["components"]["databases"]
    assert record["mode"] == "url"
    assert record["server"]["name"] == "SQL01"
    assert record["server"]["time_zone_minutes"] == 60
    for database in record["databases"].values():
        (backup,) = database["backups"]
        assert backup["copy_only"] is True
        assert backup["has_checksums"] is True
        assert backup["is_damaged"] is False
        assert int(backup["last_lsn"]) >= int(backup["first_lsn"]) > 10**15
        assert backup["time_zone_minutes"] == 60
        assert backup["media_set_id"] is not None
        assert [file["type"] for file in backup["files"]] == ["D", "L"]
        (header,) = database["headers"]
        assert header["BackupSetGUID"].lower() == backup["uuid"]
        for blob in backup["stored"]["blobs"]:
            with bench.vault.judge("databases") as store:
                there = store.stat(blob["name"])
            assert there is not None
            assert there.size_bytes == blob["size_bytes"] > 0
            assert blob["name"].startswith(f"{backup['database']}/")
    assert record["data_time"] <= record["newest_data_time"]


def test_what_a_run_made_on_the_server_and_in_the_landing_account_is_gone_afterwards(bench: Bench) -> None:
    bench.command("backup")
    assert bench.landed() == []
    assert bench.server.query("master", "SELECT name FROM sys.credentials") == []
    assert len(bench.sent("CREATE CREDENTIAL")) == 1
    assert len(bench.sent("DROP CREDENTIAL")) == 1


def test_somebody_elses_credentials_and_containers_are_left_alone(bench: Bench) -> None:
    account = bench.landing.url
    for name in (f"{account}/dba", f"{account}/lifeboat-of-the-dba", f"{account}/lifeboat-20200101t000000z-ab12cd"):
        bench.server.execute(
            "master", f"CREATE CREDENTIAL [{name}] WITH IDENTITY = 'SHARED ACCESS SIGNATURE', SECRET = 'sv=1&sig=x'"
        )
    bench.command("backup")
    left = [name for (name,) in bench.server.query("master", "SELECT name FROM sys.credentials")]
    assert left == [f"{account}/dba", f"{account}/lifeboat-of-the-dba"]


def test_the_statements_are_those_of_a_careful_dba(bench: Bench) -> None:
    bench.command.set(SQL_DATABASES=HOSTING)
    bench.command("backup")
    (backup,) = bench.sent("BACKUP")
    url = re.escape(bench.landing.url)
    assert re.fullmatch(
        rf"BACKUP DATABASE \[appservice_hosting\] TO URL = N'{url}/lifeboat-\d{{8}}t\d{{6}}z-[0-9a-f]{{6}}/"
        r"appservice_hosting/\d{8}T\d{6}Z-full-[0-9a-f]{6}/1of1\.bak' WITH COPY_ONLY, CHECKSUM, COMPRESSION, "
        r"MAXTRANSFERSIZE = 4194304, BLOCKSIZE = 65536, "
        r"NAME = N'lifeboat appservice_hosting/\d{8}T\d{6}Z-full-[0-9a-f]{6}', STATS = 5",
        backup,
    )
    (verify,) = bench.sent("RESTORE VERIFYONLY")
    assert verify.endswith("WITH CHECKSUM, STATS = 5")
    order = [
        text.split()[0:2]
        for text in bench.server.statements
        if text.split()[0] in ("CREATE", "BACKUP", "RESTORE", "DROP")
    ]
    assert order == [
        ["CREATE", "CREDENTIAL"],
        ["BACKUP", "DATABASE"],
        ["RESTORE", "VERIFYONLY"],
        ["RESTORE", "HEADERONLY"],
        ["RESTORE", "FILELISTONLY"],
        ["DROP", "CREDENTIAL"],
    ]


def test_express_and_old_versions_are_told_to_use_the_other_mode(bench: Bench) -> None:
    bench.server.instance.edition = "Express"
    answer = bench.command("backup")
    assert answer.code == 1
    assert "LIFEBOAT_SQL_MODE=disk" in answer.reasons[0]["remedy"]


def test_a_big_database_is_striped_so_that_each_blob_can_be_copied(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.databases.url_medium.STRIPE_BYTES", 4 << 20)
    bench.server.add_database("big", filler_bytes=9 << 20)
    bench.server.add_login(backup_login(("big",)))
    bench.command.set(SQL_DATABASES="big")
    answer = bench.command("backup")
    assert answer.status == "complete"
    (backup,) = bench.record(answer.json["point"])["components"]["databases"]["databases"]["big"]["backups"]
    assert len(backup["stored"]["blobs"]) > 2
    bench.as_restorer()
    restored = bench.command("restore", "databases", "--as", "_b")
    assert restored.code == 0, restored.reasons[0]["message"]


def test_where_network_rules_refuse_the_copy_the_backup_goes_into_the_repository(bench: Bench) -> None:
    bench.vault.faults.add("answer every put under databases/ with 403 CannotVerifyCopySource")
    answer = bench.command("backup")
    assert answer.status == "complete"
    record = bench.record(answer.json["point"])["components"]["databases"]
    kinds = {each["backups"][0]["stored"]["kind"] for each in record["databases"].values()}
    assert kinds == {"repository"}
    assert bench.command("check", "--read-data").status == "ok"


# --- what goes wrong with one database ---


def test_an_unknown_database_fails_alone(bench: Bench) -> None:
    bench.command.set(SQL_DATABASES=f"{HOSTING},nowhere")
    answer = bench.command("backup")
    assert (answer.code, answer.status) == (3, "partial")
    (reason,) = answer.reasons
    assert (reason["code"], reason["database"]) == ("database-failed", "nowhere")
    assert "LIFEBOAT_SQL_DATABASES" in reason["remedy"]


def test_an_offline_database_fails_alone(bench: Bench) -> None:
    bench.server.execute("master", f"ALTER DATABASE {METERING} SET OFFLINE")
    answer = bench.command("backup")
    assert (answer.code, answer.codes) == (3, ["database-failed"])
    assert METERING in answer.reasons[0]["message"]
    assert "OFFLINE" in answer.reasons[0]["message"] or "may not see it" in answer.reasons[0]["message"]


def test_a_missing_permission_is_named(bench: Bench) -> None:
    bench.server.add_login(backup_login((HOSTING, "master")))
    bench.server.database(METERING).users.pop(BACKUP_LOGIN, None)
    answer = bench.command("backup")
    assert answer.code == 3
    (reason,) = answer.reasons
    assert (reason["code"], reason["database"]) == ("database-failed", METERING)
    assert f"lifeboat lacks BACKUP DATABASE in {METERING}: " in reason["message"]
    assert "runbook --grants" in reason["remedy"]


def test_without_the_right_to_make_credentials_the_point_fails_and_names_it(bench: Bench) -> None:
    login = backup_login()
    permissions = login.server_permissions - {"ALTER ANY CREDENTIAL"}
    bench.server.add_login(Login(**{**vars(login), "server_permissions": permissions}))
    answer = bench.command("backup")
    assert (answer.code, answer.status) == (1, "failed")
    assert "lifeboat lacks ALTER ANY CREDENTIAL: " in answer.reasons[0]["message"]
    assert bench.landed() == []


def test_without_msdb_the_record_rests_on_the_media(bench: Bench) -> None:
    login = backup_login()
    bench.server.add_login(Login(**{**vars(login), "msdb_select": False}))
    answer = bench.command("backup")
    assert answer.status == "complete"
    database = bench.record(answer.json["point"])["components"]["databases"]["databases"][HOSTING]
    assert database["backups"][0]["media_set_id"] is None
    assert any("msdb" in note for note in database["notes"])


def test_a_damaged_database_is_no_backup(bench: Bench) -> None:
    bench.server.damage(HOSTING)
    answer = bench.command("backup")
    assert answer.code == 3
    assert {reason["database"] for reason in answer.reasons} == {HOSTING}


def test_informational_messages_of_verifyonly_are_no_failure(bench: Bench) -> None:
    bench.server.say_when_verifying(3181, "Attempting to restore this backup may encounter storage space problems.")
    bench.server.say_when_verifying(3257, "There is insufficient free space on disk volume.")
    assert bench.command("backup").status == "complete"


def test_a_verifyonly_that_does_not_say_valid_is_a_failure(bench: Bench) -> None:
    bench.command.set(SQL_DATABASES=HOSTING)
    bench.server.fail_next("RESTORE VERIFYONLY", 3189, "Damage to the backup set was detected.")
    answer = bench.command("backup")
    assert (answer.code, answer.codes) == (1, ["database-failed"])
    with bench.vault.judge("databases") as store:
        assert list(store.list("")) == []


def test_a_database_encrypted_by_a_certificate_that_is_not_held_makes_the_point_partial(bench: Bench) -> None:
    bench.server.add_database("secret", encrypted_by="AB" * 20)
    bench.server.add_login(backup_login(("secret",)))
    bench.command.set(SQL_DATABASES="secret")
    answer = bench.command("backup")
    assert (answer.code, answer.status, answer.codes) == (3, "partial", ["certificate-not-held"])
    assert "AB" * 20 in answer.reasons[0]["message"]


def test_nobody_backing_up_the_log_is_told(bench: Bench) -> None:
    answer = bench.command("backup")
    notes = answer.json["components"]["databases"]["databases"][HOSTING]["notes"]
    assert any("nobody backs up its log" in note for note in notes)


# --- what goes wrong as a whole ---


def test_a_wrong_login_is_a_failed_point_with_the_setting_named(bench: Bench) -> None:
    bench.command.set(SQL_PASSWORD="wrong")
    answer = bench.command("backup")
    assert (answer.code, answer.status, answer.codes) == (1, "failed", ["login-refused"])
    assert answer.reasons[0]["setting"] == "LIFEBOAT_SQL_USERNAME"


def test_the_landing_account_is_asked_for_only_in_this_mode(bench: Bench) -> None:
    bench.command.unset("LANDING_URL", "LANDING_KEY")
    answer = bench.command("backup")
    assert answer.code == 2
    assert answer.reasons[0]["setting"] == "LIFEBOAT_LANDING_URL"


def test_share_and_databases_are_backed_up_in_one_point_with_their_skew(bench: Bench) -> None:
    bench.command.set(SHARE_URL=bench.command.share.as_uri())
    answer = bench.command("backup")
    assert (answer.status, answer.json["whole"]) == ("complete", True)
    assert answer.json["requested"] == ["databases", "share"]
    assert answer.json["skew_seconds"] > 0
    only = bench.command("backup", "--only", "databases")
    assert (only.status, only.json["whole"], only.json["snapshot"]) == ("complete", False, None)


def test_a_share_that_fails_leaves_the_databases_as_they_are(bench: Bench) -> None:
    bench.command.set(SHARE_URL=(bench.command.share / "gone").as_uri())
    answer = bench.command("backup")
    assert (answer.code, answer.status) == (3, "partial")
    assert answer.json["components"]["databases"]["status"] == "complete"


def test_a_database_that_is_not_configured_any_more_takes_away_whole_until_that_is_meant(bench: Bench) -> None:
    bench.command("backup")
    bench.command.set(SQL_DATABASES=f"{HOSTING},master")
    assert bench.command("backup").json["whole"] is False
    assert bench.command("backup", "--without", METERING).json["whole"] is True
    refused = bench.command("backup", "--without", HOSTING)
    assert (refused.code, refused.reasons[0]["setting"]) == (2, "LIFEBOAT_SQL_DATABASES")


def test_people_are_told_what_each_database_came_to(bench: Bench) -> None:
    code, out, _ = bench.command.people("backup")
    assert code == 0
    assert re.search(
        r"appservice_hosting: complete; COPY_ONLY full of \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ, .*, verified", out
    )
    code, out, _ = bench.command.people("points")
    assert "databases complete (3)" in out


def test_no_sas_is_in_a_record_an_output_or_a_message(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    bench.server.fail_next("BACKUP", 3271, "A nonrecoverable I/O error occurred on file x?sv=1&sig=SECRETSIG123&se=2")
    answer = bench.command("backup")
    signatures = {match for text in bench.server.statements for match in re.findall(r"sig=([^'&]+)", text)} | {
        "SECRETSIG123"
    }
    assert len(signatures) > 1
    with bench.vault.judge("recovery-points") as store:
        records = [store.get(blob.name).decode() for blob in store.list("")]
    ours = [record.getMessage() for record in caplog.records if record.threadName in ("MainThread", "databases_0")]
    assert ours
    everything = "\n".join([str(answer.json), answer.stderr, *ours, *records])
    for signature in signatures:
        assert signature not in everything
    assert PASSWORD not in everything


def test_a_login_with_all_rights_is_no_less_good(bench: Bench) -> None:
    bench.use(bench.server, username=ADMIN_LOGIN)
    assert bench.command("backup").status == "complete"
    assert rows(bench.server, HOSTING) == [(1, "first"), (2, "zweite Straße")]
