"""Mode ``disk``: BACKUP to a UNC folder, streamed over real SMB into the repository, and back."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.databases.disk_folder import DiskFolder
from shared.errors import DatabaseError, SourceNotFound, TargetError
from shared.settings import DiskSettings
from tests.integration.databases.conftest import HOSTING, METERING, Bench, backup_login, rows
from tests.standins.restic import StockRestic
from tests.standins.samba import PASSWORD as SMB_PASSWORD
from tests.standins.samba import USERNAME as SMB_USERNAME
from tests.standins.samba import Samba

UNC = r"\\fs\backups\sql"
BEFORE = [(1, "first"), (2, "zweite Straße")]


@pytest.fixture
def samba() -> Iterator[Samba]:
    root = Path(tempfile.mkdtemp(prefix="lbdisk-"))
    root.chmod(0o777)
    (root / "sql").mkdir()
    (root / "sql").chmod(0o777)
    try:
        with Samba("smb-3.1.1", root=root) as running:
            yield running
    finally:
        shutil.rmtree(root)


@pytest.fixture
def disk(bench: Bench, samba: Samba) -> Bench:
    """SQL Server writes to ``UNC``, which we reach as a folder on Samba."""
    bench.server.instance.unc[UNC] = samba.root / "sql"
    bench.command.unset("LANDING_URL", "LANDING_KEY")
    bench.command.set(
        SQL_MODE="disk",
        SQL_DISK_PATH=UNC,
        SQL_DISK_URL=samba.url(path="sql"),
        SQL_DISK_USERNAME=SMB_USERNAME,
        SQL_DISK_PASSWORD=SMB_PASSWORD,
    )
    bench.folders["unc"] = samba.root / "sql"
    return bench


def left(bench: Bench) -> list[str]:
    return sorted(path.name for path in bench.folders["unc"].iterdir())


def test_backups_go_through_the_folder_into_the_repository(disk: Bench) -> None:
    answer = disk.command("backup")
    assert (answer.code, answer.status, answer.reasons) == (0, "complete", [])
    record = disk.record(answer.json["point"])["components"]["databases"]
    assert record["mode"] == "disk"
    for name, database in record["databases"].items():
        (backup,) = database["backups"]
        (file,) = backup["stored"]["files"]
        assert backup["stored"]["kind"] == "repository"
        assert file["size_bytes"] > 0
        assert len(file["sha256"]) == 64
        assert name in file["name"]
    assert left(disk) == []
    assert disk.command("check", "--read-data").status == "ok"


def test_the_statements_begin_new_media_and_verify_them(disk: Bench) -> None:
    disk.command.set(SQL_DATABASES=HOSTING)
    disk.command("backup")
    (backup,) = disk.sent("BACKUP")
    assert backup.startswith(f"BACKUP DATABASE [{HOSTING}] TO DISK = N'{UNC}\\lifeboat-")
    assert " WITH COPY_ONLY, INIT, FORMAT, CHECKSUM, NO_COMPRESSION, NAME = N'" in backup
    assert len(disk.sent("RESTORE VERIFYONLY FROM DISK")) == 1
    assert disk.sent("CREATE CREDENTIAL") == []


def test_databases_come_back_from_the_repository_through_the_folder(disk: Bench) -> None:
    assert disk.command("backup").status == "complete"
    disk.server.execute(HOSTING, "DELETE FROM sites")
    disk.as_restorer()
    answer = disk.command("restore", "databases", "--overwrite")
    assert (answer.code, answer.status) == (0, "complete"), answer.reasons
    assert rows(disk.server, HOSTING) == BEFORE
    assert rows(disk.server, METERING) == BEFORE
    assert left(disk) == []


def test_a_restore_to_this_mode_takes_what_was_backed_up_to_urls(bench: Bench, samba: Samba) -> None:
    assert bench.command("backup").status == "complete"
    bench.server.instance.unc[UNC] = samba.root / "sql"
    bench.command.set(
        SQL_MODE="disk",
        SQL_DISK_PATH=UNC,
        SQL_DISK_URL=samba.url(path="sql"),
        SQL_DISK_USERNAME=SMB_USERNAME,
        SQL_DISK_PASSWORD=SMB_PASSWORD,
    )
    bench.as_restorer()
    answer = bench.command("restore", "databases", "--as", "_back")
    assert answer.code == 0, answer.reasons
    assert rows(bench.server, f"{HOSTING}_back") == BEFORE


def test_a_chain_with_logs_works_in_this_mode_too(disk: Bench) -> None:
    disk.command.set(SQL_OWN_LOG_CHAIN="true", SQL_DATABASES=HOSTING)
    assert disk.command("backup").status == "complete"
    disk.server.execute(HOSTING, "INSERT INTO sites (id, name) VALUES (3, N'more')")
    assert disk.command("backup", "--logs").status == "complete"
    disk.as_restorer()
    assert disk.command("restore", "databases", "--as", "_back").code == 0
    assert rows(disk.server, f"{HOSTING}_back") == [*BEFORE, (3, "more")]
    assert disk.command("restore", "databases", "--overwrite").code == 0
    tail = disk.command("points").json["points"][0]
    assert tail["components"]["databases"]["databases"] == {HOSTING: "complete"}
    assert left(disk) == []


def test_stock_restic_reads_the_backups(disk: Bench, stock_restic: StockRestic, tmp_path: Path) -> None:
    disk.server.add_database("big", filler_bytes=20 << 20)
    disk.server.add_login(backup_login(("big",)))
    disk.command.set(SQL_DATABASES="big", SHARE_URL=disk.command.share.as_uri())
    answer = disk.command("backup")
    assert answer.status == "complete", answer.reasons
    record = disk.record(answer.json["point"])["components"]["databases"]["databases"]["big"]
    stored = record["backups"][0]["stored"]
    repository = disk.vault.seen_by(stock_restic, "of the repository")
    repository.check(read_data=True)
    repository.restore(tmp_path / "out", stored["snapshot"])
    (file,) = stored["files"]
    restored = tmp_path / "out" / "big" / file["name"]
    assert restored.stat().st_size == file["size_bytes"] > 20 << 20
    assert hashlib.sha256(restored.read_bytes()).hexdigest() == file["sha256"]
    snapshots = {each["id"]: each for each in repository.snapshots()}
    assert snapshots[stored["snapshot"]]["tags"] == ["database"]
    assert snapshots[stored["snapshot"]]["paths"] == ["/databases/big"]


def test_the_newest_restic_would_write_the_snapshot_no_otherwise(disk: Bench, newest_restic: StockRestic) -> None:
    disk.command("backup")
    disk.vault.seen_by(newest_restic, "of the repository").rewrite_changes_nothing()


def test_unchanged_pages_are_stored_once(disk: Bench) -> None:
    disk.server.add_database("big", filler_bytes=24 << 20)
    disk.server.add_login(backup_login(("big",)))
    disk.command.set(SQL_DATABASES="big")
    first = disk.command("backup").json["components"]["databases"]["bytes_stored"]
    second = disk.command("backup").json["components"]["databases"]["bytes_stored"]
    assert first > 20 << 20
    assert second < first / 4


def test_many_snapshots_of_databases_do_not_hide_the_one_that_the_share_is_compared_with(disk: Bench) -> None:
    disk.command.set(SHARE_URL=disk.command.share.as_uri())
    first = disk.command("backup")
    for _ in range(3):
        assert disk.command("backup", "--only", "databases").status == "complete"
    disk.command.fill("new.txt")
    again = disk.command("backup")
    assert again.share["unchanged"] == first.share["files"]
    record = disk.record(again.json["point"])["components"]["share"]
    assert record["parent"] == first.json["snapshot"]


def test_what_an_earlier_run_left_behind_is_cleared_away_and_nothing_else(disk: Bench) -> None:
    mine = "lifeboat-20200101t000000z-ab12cd-appservice_hosting-x.bak"
    for name in (mine, "dba.bak", "lifeboat-notes.txt"):
        (disk.folders["unc"] / name).write_bytes(b"x")
    disk.command("backup")
    assert left(disk) == ["dba.bak", "lifeboat-notes.txt"]


def test_a_folder_that_is_not_the_same_is_told(disk: Bench, samba: Samba) -> None:
    elsewhere = samba.root / "elsewhere"
    elsewhere.mkdir()
    elsewhere.chmod(0o777)
    disk.command.set(SQL_DISK_URL=samba.url(path="elsewhere"))
    answer = disk.command("backup")
    assert answer.code == 1
    assert answer.reasons[0]["setting"] == "LIFEBOAT_SQL_DISK_URL"


def test_a_folder_that_is_not_there_is_a_failed_point(disk: Bench, samba: Samba) -> None:
    disk.command.set(SQL_DISK_URL=samba.url(path="nowhere"))
    answer = disk.command("backup")
    assert (answer.code, answer.status) == (1, "failed")
    assert "nowhere" in answer.reasons[0]["message"]


def test_a_unc_path_is_demanded(disk: Bench) -> None:
    disk.command.set(SQL_DISK_PATH="C:\\backups")
    answer = disk.command("backup")
    assert (answer.code, answer.reasons[0]["setting"]) == (2, "LIFEBOAT_SQL_DISK_PATH")


def test_express_backs_up_without_compression(disk: Bench) -> None:
    disk.server.instance.edition = "Express"
    disk.command.set(SQL_COMPRESSION="true")
    assert disk.command("backup").status == "complete"
    assert "COMPRESSION" not in disk.sent("BACKUP")[0]


def test_an_old_server_backs_up_in_this_mode(disk: Bench) -> None:
    disk.server.instance.version = "2014"
    assert disk.command("backup").status == "complete"


def test_the_password_of_the_folder_appears_nowhere(disk: Bench) -> None:
    answer = disk.command("backup")
    with disk.vault.judge("recovery-points") as store:
        records = "".join(store.get(blob.name).decode() for blob in store.list(""))
    assert SMB_PASSWORD not in f"{json.dumps(answer.json)}{answer.stderr}{records}"


# --- the folder itself ---


@pytest.fixture
def folder(samba: Samba) -> Iterator[DiskFolder]:
    settings = DiskSettings(UNC, samba.url(path="sql"), SMB_USERNAME, SMB_PASSWORD)
    with DiskFolder.open(settings, SMB_PASSWORD) as opened:
        yield opened


def test_what_is_written_comes_back_and_nothing_half_written_is_left(folder: DiskFolder, samba: Samba) -> None:
    content = [bytes([number]) * (1 << 20) for number in range(20)]
    assert folder.write("a.bak", content) == 20 << 20
    assert folder.size("a.bak") == 20 << 20
    assert b"".join(bytes(piece) for piece in folder.read("a.bak")) == b"".join(content)
    assert folder.names("a") == [("a.bak", 20 << 20)]
    assert folder.unc("a.bak") == UNC + "\\a.bak"

    def breaks() -> Iterator[bytes]:
        yield b"x" * 100
        raise DatabaseError("the source broke")

    with pytest.raises(DatabaseError):
        folder.write("b.bak", breaks())
    folder.delete("a.bak")
    folder.delete("a.bak")
    assert list((samba.root / "sql").iterdir()) == []
    assert folder.size("a.bak") is None


def test_reading_goes_on_after_the_connection_was_cut(folder: DiskFolder, samba: Samba) -> None:
    content = hashlib.shake_256(b"x").digest(48 << 20)
    (samba.root / "sql" / "a.bak").write_bytes(content)
    digest = hashlib.sha256()
    for number, piece in enumerate(folder.read("a.bak")):
        digest.update(piece)
        if number == 5:
            samba.stop()
            samba.start()
    assert digest.digest() == hashlib.sha256(content).digest()


def test_a_file_that_is_not_there_and_a_folder_that_may_not_be_written_are_named(
    folder: DiskFolder, samba: Samba
) -> None:
    with pytest.raises(DatabaseError, match=r"gone\.bak"):
        list(folder.read("gone.bak"))
    settings = DiskSettings(UNC, samba.url("limited", "sql"), SMB_USERNAME, SMB_PASSWORD)
    (samba.root / "sql").chmod(0o755)
    with DiskFolder.open(settings, SMB_PASSWORD) as limited, pytest.raises(TargetError, match=r"c\.bak"):
        limited.write("c.bak", [b"x"])
    gone = DiskSettings(UNC, samba.url(path="nowhere"), SMB_USERNAME, SMB_PASSWORD)
    with pytest.raises(SourceNotFound), DiskFolder.open(gone, SMB_PASSWORD):
        pass
