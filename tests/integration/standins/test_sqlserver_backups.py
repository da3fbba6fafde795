"""Backups and restores of the stand-in for SQL Server, to blobs and to files, through both ODBC drivers."""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyodbc
import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobClient, ContainerClient, ContainerSasPermissions, generate_container_sas

from tests.standins.azurite import API_VERSION, KEY, Azurite
from tests.standins.certificate import Certificate
from tests.standins.sqlserver import AvailabilityGroup, Login, SqlError, SqlServer, running_sql_server
from tests.standins.sqlserver.odbc import DRIVERS, connect

SHARE = r"\\fileserver\backups"
OPERATOR = Login(
    "operator",
    "operator-1",
    server_permissions={"ALTER ANY CREDENTIAL", "VIEW SERVER STATE", "VIEW ANY DEFINITION", "CREATE ANY DATABASE"},
    server_roles={"dbcreator"},
    database_roles={"app": {"db_backupoperator", "db_datareader"}, "master": {"db_backupoperator"}},
    msdb_select=True,
)


@dataclass(frozen=True)
class Landing:
    """A container and what is needed to write into it."""

    account: str
    client: ContainerClient

    @property
    def url(self) -> str:
        return str(self.client.url)

    def signature(self, rights: str = "rwdl", *, lasts: dt.timedelta = dt.timedelta(hours=1)) -> str:
        expiry = dt.datetime.now(dt.UTC) + lasts
        permission = ContainerSasPermissions.from_string(rights)
        return generate_container_sas(
            self.account, "landing", account_key=KEY, permission=permission, expiry=expiry, version=API_VERSION
        )

    def credential(self, rights: str = "rwdl", *, lasts: dt.timedelta = dt.timedelta(hours=1)) -> str:
        secret = self.signature(rights, lasts=lasts)
        return f"CREATE CREDENTIAL [{self.url}] WITH IDENTITY = 'SHARED ACCESS SIGNATURE', SECRET = '{secret}'"

    def blob(self, name: str) -> BlobClient:
        return self.client.get_blob_client(name)


@pytest.fixture
def landing(azurite: Azurite) -> Iterator[Landing]:
    account = azurite.new_account()
    with ContainerClient(azurite.url(account), "landing", credential=KEY, api_version=API_VERSION) as client:
        client.create_container()
        yield Landing(account, client)


@pytest.fixture
def share(tmp_path: Path) -> Path:
    folder = tmp_path / "share"
    folder.mkdir()
    return folder


@pytest.fixture
def server(certificate: Certificate, share: Path) -> Iterator[SqlServer]:
    with running_sql_server(certificate, unc={SHARE: share}) as running:
        running.add_database("app")
        running.add_login(OPERATOR)
        running.execute("app", "CREATE TABLE sites (id int IDENTITY PRIMARY KEY, name nvarchar(50))")
        running.execute("app", "INSERT INTO sites (name) VALUES ('one')")
        yield running


@pytest.fixture(params=DRIVERS, ids=lambda path: Path(path).name)
def connection(request: pytest.FixtureRequest, server: SqlServer) -> Iterator[pyodbc.Connection]:
    with connect(request.param, server, OPERATOR) as opened:
        yield opened
    opened.close()


def run(connection: pyodbc.Connection, statement: str) -> list[str]:
    """All messages of a statement, drained to its end."""
    cursor = connection.execute(statement)
    messages = [text for _, text in cursor.messages or []]
    while cursor.nextset():
        messages += [text for _, text in cursor.messages or []]
    return messages


def sites(server: SqlServer, database: str = "app") -> list[object]:
    return [row[0] for row in server.query(database, "SELECT name FROM sites ORDER BY id")]


def numbers(failure: pytest.ExceptionInfo[SqlError]) -> list[int]:
    return [message.number for message in failure.value.messages]


# ---- to blobs


@pytest.mark.parametrize("framing", ["each", "final"])
def test_a_backup_to_blobs_is_verified_and_restored(
    server: SqlServer, connection: pyodbc.Connection, landing: Landing, framing: str
) -> None:
    server.framing = "each" if framing == "each" else "final"
    server.database("app").filler_bytes = 1 << 20
    stripes = ", ".join(f"URL = N'{landing.url}/app-{number}.bak'" for number in (1, 2))
    connection.execute(landing.credential())
    messages = run(
        connection,
        f"BACKUP DATABASE [app] TO {stripes} WITH COPY_ONLY, CHECKSUM, COMPRESSION, MAXTRANSFERSIZE = 262144, "
        "STATS = 20",
    )
    assert any("BACKUP DATABASE successfully processed" in message for message in messages)
    assert any("100 percent processed." in message for message in messages)
    assert all(landing.blob(f"app-{number}.bak").get_blob_properties().size > 400_000 for number in (1, 2))

    sources = stripes.replace("TO", "FROM")
    assert any("is valid" in message for message in run(connection, f"RESTORE VERIFYONLY FROM {sources} WITH CHECKSUM"))
    header = connection.execute(f"RESTORE HEADERONLY FROM URL = N'{landing.url}/app-1.bak'")
    (row,) = header.fetchall()
    assert (row.DatabaseName, row.BackupType, row.IsCopyOnly, row.HasBackupChecksums) == ("app", 1, True, True)
    assert len(header.description) == 56
    files = connection.execute(f"RESTORE FILELISTONLY FROM {sources}").fetchall()
    assert [file.LogicalName for file in files] == ["app", "app_log"]

    moves = ", ".join(f"MOVE N'{file.LogicalName}' TO N'D:\\drill\\{file.LogicalName}'" for file in files)
    run(connection, f"RESTORE DATABASE [drill] FROM {sources} WITH {moves}, CHECKSUM, STATS = 5")
    assert sites(server, "drill") == ["one"]
    history = connection.execute(
        "SELECT s.type, s.is_copy_only, s.backup_set_uuid, COUNT(f.physical_device_name) FROM msdb.dbo.backupset s"
        " JOIN msdb.dbo.backupmediafamily f ON f.media_set_id = s.media_set_id"
        " GROUP BY s.type, s.is_copy_only, s.backup_set_uuid"
    ).fetchall()
    assert [(entry[0], entry[1], entry[3]) for entry in history] == [("D", True, 2)]


def test_without_a_credential_a_url_is_refused(connection: pyodbc.Connection, landing: Landing) -> None:
    with pytest.raises(pyodbc.Error, match=r"(error 50\(The request is not supported|terminating abnormally)"):
        run(connection, f"BACKUP DATABASE app TO URL = '{landing.url}/x.bak' WITH COPY_ONLY")


@pytest.mark.parametrize(
    ("rights", "hours", "system_error"), [("rwdl", -1, "error 86("), ("rl", 1, "error 5("), ("rwl", 1, "error 5(")]
)
def test_a_signature_that_has_expired_or_lacks_a_right_is_refused(
    server: SqlServer, landing: Landing, rights: str, hours: int, system_error: str
) -> None:
    server.execute("master", landing.credential(rights, lasts=dt.timedelta(hours=hours)))
    with pytest.raises(SqlError) as failure:
        server.execute("master", f"BACKUP DATABASE app TO URL = '{landing.url}/x.bak' WITH COPY_ONLY")
    assert numbers(failure) == [3201, 3013]
    assert system_error in str(failure.value)


def test_a_blob_that_exists_is_not_overwritten_without_format(server: SqlServer, landing: Landing) -> None:
    server.execute("master", landing.credential())
    statement = f"BACKUP DATABASE app TO URL = '{landing.url}/x.bak' WITH COPY_ONLY"
    server.execute("master", statement)
    with pytest.raises(SqlError) as failure:
        server.execute("master", statement)
    assert numbers(failure) == [3271, 3013]
    server.execute("master", f"{statement}, FORMAT")


def test_reading_back_needs_more_than_a_signature_that_only_reads(server: SqlServer, landing: Landing) -> None:
    server.execute("master", landing.credential())
    server.execute("master", f"BACKUP DATABASE app TO URL = '{landing.url}/x.bak' WITH COPY_ONLY")
    secret = landing.signature("rl")
    change = f"ALTER CREDENTIAL [{landing.url}] WITH IDENTITY = 'SHARED ACCESS SIGNATURE', SECRET = '{secret}'"
    server.execute("master", change)
    with pytest.raises(SqlError, match="Cannot open backup device"):
        server.execute("master", f"RESTORE VERIFYONLY FROM URL = '{landing.url}/x.bak'")


def test_a_damaged_blob_does_not_verify(server: SqlServer, landing: Landing) -> None:
    server.execute("master", landing.credential())
    server.execute("master", f"BACKUP DATABASE app TO URL = '{landing.url}/x.bak' WITH COPY_ONLY, CHECKSUM")
    data = bytearray(landing.blob("x.bak").download_blob().readall())
    data[len(data) // 2] ^= 1
    landing.blob("x.bak").upload_blob(bytes(data), overwrite=True)
    with pytest.raises(SqlError) as failure:
        server.execute("master", f"RESTORE VERIFYONLY FROM URL = '{landing.url}/x.bak' WITH CHECKSUM")
    assert numbers(failure) == [3189, 3013]


@pytest.mark.parametrize("edition", ["Express", "Web"])
def test_small_editions_know_no_url(certificate: Certificate, landing: Landing, edition: str) -> None:
    with running_sql_server(certificate, edition=edition) as server:
        server.add_database("app")
        server.execute("master", landing.credential())
        with pytest.raises(SqlError, match="not supported"):
            server.execute("master", f"BACKUP DATABASE app TO URL = '{landing.url}/x.bak'")


def test_a_cancelled_backup_leaves_nothing_valid(
    server: SqlServer, connection: pyodbc.Connection, landing: Landing
) -> None:
    connection.execute(landing.credential())
    begun = threading.Event()
    server.instance.piece_written = lambda number: begun.set()
    server.slow("BACKUP", 60.0)
    cursor = connection.cursor()

    def cancel() -> None:
        begun.wait(20)
        cursor.cancel()

    watchdog = threading.Thread(target=cancel)
    watchdog.start()
    with contextlib.suppress(pyodbc.Error):  # none when the driver was between two messages
        cursor.execute(f"BACKUP DATABASE app TO URL = '{landing.url}/x.bak' WITH COPY_ONLY, STATS = 1")
        while cursor.nextset():
            pass
    watchdog.join()
    assert connection.execute("SELECT COUNT(*) FROM msdb.dbo.backupset").fetchval() == 0
    assert landing.blob("x.bak").get_blob_properties().size == 0


def test_a_running_backup_is_seen_and_dies_with_its_connection(
    server: SqlServer, connection: pyodbc.Connection, landing: Landing
) -> None:
    server.execute("master", landing.credential())
    begun = threading.Event()
    server.instance.piece_written = lambda number: begun.set()
    server.slow("BACKUP", 60.0)

    def back_up() -> None:
        with pytest.raises(pyodbc.Error):
            run(connection, f"BACKUP DATABASE app TO URL = '{landing.url}/x.bak' WITH COPY_ONLY, STATS = 1")

    worker = threading.Thread(target=back_up)
    worker.start()
    begun.wait(20)
    asked = "SELECT command, DB_NAME(database_id) FROM sys.dm_exec_requests WHERE command LIKE 'BACKUP%'"
    assert server.query("master", asked) == [("BACKUP DATABASE", "app")]
    server.kill_connections()
    worker.join()
    assert server.query("msdb", "SELECT * FROM dbo.backupset") == []
    properties = landing.blob("x.bak").get_blob_properties()
    assert properties.size == 0


def test_a_signature_that_is_refused_in_mid_way_ends_the_backup(server: SqlServer, landing: Landing) -> None:
    server.execute("master", landing.credential())
    server.database("app").filler_bytes = 1 << 20
    server.instance.piece_written = lambda number: landing.client.delete_container() if number == 2 else None
    with pytest.raises(SqlError) as failure:
        server.execute("master", f"BACKUP DATABASE app TO URL = '{landing.url}/x.bak' WITH MAXTRANSFERSIZE = 65536")
    assert numbers(failure) == [3271, 3013]
    assert server.query("msdb", "SELECT * FROM dbo.backupset") == []
    assert server.database("app").differential_base is None


def test_https_is_verified_with_the_authority_that_the_server_trusts(
    certificate: Certificate, azurite_https: Azurite
) -> None:
    account = azurite_https.new_account()
    with ContainerClient(
        azurite_https.url(account),
        "landing",
        credential=KEY,
        api_version=API_VERSION,
        connection_verify=str(certificate.chain),
    ) as client:
        client.create_container()
        landing = Landing(account, client)
        statement = f"BACKUP DATABASE app TO URL = '{landing.url}/x.bak'"
        for ca_file in (None, certificate.chain):
            with running_sql_server(certificate, ca_file=ca_file) as server:
                server.add_database("app")
                server.execute("master", landing.credential())
                if ca_file:
                    server.execute("master", statement)
                else:
                    with pytest.raises(SqlError, match="Unable to connect to the remote server"):
                        server.execute("master", statement)


# ---- to files


def test_a_second_backup_to_a_file_is_appended_and_the_first_is_restored(server: SqlServer) -> None:
    device = rf"{SHARE}\app.bak"
    server.execute("master", f"BACKUP DATABASE app TO DISK = '{device}'")
    server.execute("app", "INSERT INTO sites (name) VALUES ('two')")
    server.execute("master", f"BACKUP DATABASE app TO DISK = '{device}'")
    moves = r"MOVE 'app' TO 'D:\a', MOVE 'app_log' TO 'D:\b'"
    server.execute("master", f"RESTORE DATABASE old FROM DISK = '{device}' WITH {moves}")
    assert sites(server, "old") == ["one"]
    server.execute("master", f"RESTORE DATABASE old FROM DISK = '{device}' WITH FILE = 2, REPLACE, {moves}")
    assert sites(server, "old") == ["one", "two"]


@pytest.mark.parametrize(
    ("device", "code"),
    [(r"\\elsewhere\x\app.bak", 53), (rf"{SHARE}\missing\app.bak", 3), (rf"{SHARE}\secret\app.bak", 5)],
)
def test_a_path_that_cannot_be_reached_is_refused(server: SqlServer, device: str, code: int) -> None:
    server.deny(rf"{SHARE}\secret")
    with pytest.raises(SqlError, match=rf"Operating system error {code}\("):
        server.execute("master", f"BACKUP DATABASE app TO DISK = '{device}'")


def test_a_full_disk_ends_the_backup_and_leaves_nothing(server: SqlServer, share: Path) -> None:
    server.free_for_backups(1000)
    with pytest.raises(SqlError) as failure:
        server.execute("master", rf"BACKUP DATABASE app TO DISK = '{SHARE}\app.bak'")
    assert numbers(failure) == [3202, 3013]
    assert list(share.iterdir()) == []


# ---- chains


def test_differentials_and_logs_bring_back_a_moment(server: SqlServer) -> None:
    server.execute("master", rf"BACKUP DATABASE app TO DISK = '{SHARE}\full'")
    server.execute("app", "INSERT INTO sites (name) VALUES ('two')")
    server.execute("master", rf"BACKUP DATABASE app TO DISK = '{SHARE}\diff' WITH DIFFERENTIAL")
    server.execute("app", "INSERT INTO sites (name) VALUES ('three')")
    moment = server.instance.clock.local_text(server.instance.clock.now() + dt.timedelta(seconds=1))
    server.skew(dt.timedelta(seconds=5))
    server.execute("app", "INSERT INTO sites (name) VALUES ('four')")
    server.execute("master", rf"BACKUP LOG app TO DISK = '{SHARE}\log'")
    moves = r"MOVE 'app' TO 'D:\a', MOVE 'app_log' TO 'D:\b'"
    server.execute("master", rf"RESTORE DATABASE new FROM DISK = '{SHARE}\full' WITH NORECOVERY, {moves}")
    server.execute("master", rf"RESTORE DATABASE new FROM DISK = '{SHARE}\diff' WITH NORECOVERY")
    server.execute("master", rf"RESTORE LOG new FROM DISK = '{SHARE}\log' WITH STOPAT = '{moment}', RECOVERY")
    assert sites(server, "new") == ["one", "two", "three"]
    assert server.database("new").recovery_fork_guid != server.database("app").recovery_fork_guid


def test_a_moment_after_the_last_log_leaves_the_database_restoring(server: SqlServer) -> None:
    server.execute("master", rf"BACKUP DATABASE app TO DISK = '{SHARE}\full'")
    server.execute("master", rf"BACKUP LOG app TO DISK = '{SHARE}\log'")
    moves = r"MOVE 'app' TO 'D:\a', MOVE 'app_log' TO 'D:\b'"
    server.execute("master", rf"RESTORE DATABASE new FROM DISK = '{SHARE}\full' WITH NORECOVERY, {moves}")
    server.execute("master", rf"RESTORE LOG new FROM DISK = '{SHARE}\log' WITH STOPAT = '2099-01-01', RECOVERY")
    assert server.query("master", "SELECT state_desc FROM sys.databases WHERE name = 'new'") == [("RESTORING",)]


def test_a_log_that_was_left_out_is_missed(server: SqlServer) -> None:
    for name in ("full", "one", "two"):
        kind = "DATABASE" if name == "full" else "LOG"
        server.execute("master", rf"BACKUP {kind} app TO DISK = '{SHARE}\{name}'")
        server.execute("app", f"INSERT INTO sites (name) VALUES ('{name}')")
    moves = r"MOVE 'app' TO 'D:\a', MOVE 'app_log' TO 'D:\b'"
    server.execute("master", rf"RESTORE DATABASE new FROM DISK = '{SHARE}\full' WITH NORECOVERY, {moves}")
    with pytest.raises(SqlError) as failure:
        server.execute("master", rf"RESTORE LOG new FROM DISK = '{SHARE}\two' WITH NORECOVERY")
    assert numbers(failure) == [4305, 3013]


def test_copy_only_moves_neither_base_nor_chain(server: SqlServer) -> None:
    server.execute("master", rf"BACKUP DATABASE app TO DISK = '{SHARE}\copy' WITH COPY_ONLY")
    assert server.database("app").differential_base is None
    with pytest.raises(SqlError) as failure:
        server.execute("master", rf"BACKUP LOG app TO DISK = '{SHARE}\log'")
    assert numbers(failure) == [4214, 3013]
    server.foreign_full("app")
    before = server.database("app").last_log_backup_lsn
    server.execute("master", rf"BACKUP LOG app TO DISK = '{SHARE}\log' WITH COPY_ONLY")
    assert server.database("app").last_log_backup_lsn == before
    server.foreign_log("app")
    after = server.database("app").last_log_backup_lsn
    assert before is not None
    assert after is not None
    assert after > before


@pytest.mark.parametrize(
    ("statement", "number"),
    [
        ("BACKUP LOG master TO DISK = '{device}'", 4212),
        ("BACKUP DATABASE master TO DISK = '{device}' WITH DIFFERENTIAL", 3024),
        ("BACKUP DATABASE app TO DISK = '{device}' WITH DIFFERENTIAL", 3035),
        ("BACKUP DATABASE nothing TO DISK = '{device}'", 911),
        ("BEGIN TRANSACTION; BACKUP DATABASE app TO DISK = '{device}'", 3021),
        ("ALTER DATABASE app SET RECOVERY SIMPLE; BACKUP LOG app TO DISK = '{device}'", 4208),
        ("ALTER DATABASE app SET OFFLINE; BACKUP DATABASE app TO DISK = '{device}'", 942),
        ("BACKUP DATABASE app TO URL = 'https://x.y/z/" + "a" * 250 + "'", 3063),
    ],
)
def test_what_is_refused(server: SqlServer, statement: str, number: int) -> None:
    with pytest.raises(SqlError) as failure:
        server.execute("master", statement.format(device=rf"{SHARE}\x"))
    assert numbers(failure) == [number, 3013]


def test_a_backup_stands_for_its_finish(server: SqlServer) -> None:
    server.database("app").filler_bytes = 4 << 20
    changed = [False]

    def change(number: int) -> None:
        if not changed[0]:
            changed[0] = True
            server.execute("app", "INSERT INTO sites (name) VALUES ('meanwhile')")

    server.instance.piece_written = change
    server.execute("master", rf"BACKUP DATABASE app TO DISK = '{SHARE}\full'")
    moves = r"MOVE 'app' TO 'D:\a', MOVE 'app_log' TO 'D:\b'"
    server.execute("master", rf"RESTORE DATABASE new FROM DISK = '{SHARE}\full' WITH {moves}")
    assert sites(server, "new") == ["one", "meanwhile"]


def test_a_moment_inside_a_bulk_logged_backup_is_refused(server: SqlServer) -> None:
    server.execute("app", "ALTER DATABASE app SET RECOVERY BULK_LOGGED")
    server.execute("master", rf"BACKUP DATABASE app TO DISK = '{SHARE}\full'")
    server.skew(dt.timedelta(seconds=5))
    moment = server.instance.clock.local_text()
    server.skew(dt.timedelta(seconds=10))
    server.execute("app", "INSERT INTO sites (name) VALUES ('two')")
    server.execute("master", rf"BACKUP LOG app TO DISK = '{SHARE}\log'")
    moves = r"MOVE 'app' TO 'D:\a', MOVE 'app_log' TO 'D:\b'"
    server.execute("master", rf"RESTORE DATABASE new FROM DISK = '{SHARE}\full' WITH NORECOVERY, {moves}")
    with pytest.raises(SqlError) as failure:
        server.execute("master", rf"RESTORE LOG new FROM DISK = '{SHARE}\log' WITH STOPAT = '{moment}'")
    assert numbers(failure) == [4341, 3013]


def test_a_snapshot_of_another_product_moves_the_differential_base(server: SqlServer) -> None:
    taken = server.foreign_snapshot("app")
    base = server.query("master", "SELECT differential_base_guid FROM sys.master_files WHERE name = 'app'")
    assert [str(guid).upper() for (guid,) in base] == [taken.backup_set_uuid]
    asked = "SELECT s.is_snapshot, f.device_type FROM dbo.backupset s JOIN dbo.backupmediafamily f"
    assert server.query("msdb", f"{asked} ON f.media_set_id = s.media_set_id") == [(True, 7)]


# ---- over what is there


def test_a_restore_over_a_database_wants_its_tail_and_the_database_to_itself(
    server: SqlServer, connection: pyodbc.Connection
) -> None:
    server.execute("master", rf"BACKUP DATABASE app TO DISK = '{SHARE}\full'")
    server.execute("app", "INSERT INTO sites (name) VALUES ('two')")
    with pytest.raises(pyodbc.Error):
        run(connection, rf"RESTORE DATABASE app FROM DISK = '{SHARE}\full'")
    connection.execute("USE app")
    with pytest.raises(SqlError) as failure:
        server.execute("master", rf"RESTORE DATABASE app FROM DISK = '{SHARE}\full' WITH REPLACE")
    assert numbers(failure) == [3101, 3013]
    connection.execute("USE master")
    connection.execute("ALTER DATABASE app SET SINGLE_USER WITH ROLLBACK IMMEDIATE")
    run(connection, rf"RESTORE DATABASE app FROM DISK = '{SHARE}\full' WITH REPLACE")
    connection.execute("ALTER DATABASE app SET MULTI_USER")
    assert sites(server) == ["one"]
    restored = connection.execute("SELECT destination_database_name, replace FROM msdb.dbo.restorehistory").fetchall()
    assert [tuple(row) for row in restored] == [("app", True)]


def test_a_newer_backup_and_a_missing_certificate_are_refused(
    certificate: Certificate, share: Path, server: SqlServer
) -> None:
    with running_sql_server(certificate, version="2022", unc={SHARE: share}) as newer:
        newer.add_database("app")
        newer.execute("master", rf"BACKUP DATABASE app TO DISK = '{SHARE}\newer'")
    with pytest.raises(SqlError) as failure:
        server.execute("master", rf"RESTORE DATABASE app2 FROM DISK = '{SHARE}\newer'")
    assert numbers(failure) == [3169, 3013]
    with running_sql_server(certificate, unc={SHARE: share}) as encrypted:
        encrypted.add_database("app", encrypted_by="ab" * 20)
        encrypted.execute("master", rf"BACKUP DATABASE app TO DISK = '{SHARE}\tde'")
    with pytest.raises(SqlError) as failure:
        server.execute("master", rf"RESTORE DATABASE app2 FROM DISK = '{SHARE}\tde'")
    assert numbers(failure) == [33111, 3013]


# ---- availability groups


def test_a_secondary_takes_copies_and_a_failover_breaks_what_runs(certificate: Certificate, share: Path) -> None:
    with (
        running_sql_server(certificate, edition="Enterprise", name="A", unc={SHARE: share}) as first,
        running_sql_server(certificate, edition="Enterprise", name="B", unc={SHARE: share}) as second,
    ):
        first.add_database("app")
        group = AvailabilityGroup("ag", [first, second], ["app"])
        preferred = "SELECT sys.fn_hadr_backup_is_preferred_replica('app')"
        assert (first.query("master", preferred), second.query("master", preferred)) == ([(False,)], [(True,)])
        with pytest.raises(SqlError) as failure:
            second.execute("master", rf"BACKUP DATABASE app TO DISK = '{SHARE}\x'")
        assert numbers(failure) == [3059, 3013]
        second.execute("master", rf"BACKUP DATABASE app TO DISK = '{SHARE}\x' WITH COPY_ONLY")
        with pytest.raises(SqlError) as failure:
            first.execute("master", rf"RESTORE DATABASE app FROM DISK = '{SHARE}\x' WITH REPLACE")
        assert numbers(failure) == [3104, 3013]
        first.add_login(OPERATOR)
        second.add_login(OPERATOR)
        begun = threading.Event()
        first.instance.piece_written = lambda number: begun.set()
        first.slow("BACKUP", 60.0)
        with group.listener() as port, connect(DRIVERS[0], first, OPERATOR, port=port) as connection:

            def fail_over() -> None:
                begun.wait(20)
                group.failover(second)

            thread = threading.Thread(target=fail_over)
            thread.start()
            with pytest.raises(pyodbc.Error):
                run(connection, rf"BACKUP DATABASE app TO DISK = '{SHARE}\y' WITH COPY_ONLY, STATS = 1")
            thread.join()
            assert first.query("msdb", "SELECT * FROM dbo.backupset") == []
            with connect(DRIVERS[0], second, OPERATOR, port=port) as again:
                assert again.execute("SELECT @@SERVERNAME").fetchval() == "B"


def test_nothing_of_another_test_is_left(landing: Landing) -> None:
    with pytest.raises(ResourceNotFoundError):
        landing.blob("x.bak").get_blob_properties()
