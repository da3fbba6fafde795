"""Mode ``adopt``: a plan that is not ours backs up; Lifeboat finds that in msdb, fetches it over SMB, and restores.

The plan's statements run beside the wire, as its own account; Lifeboat's login has the rights of adopt mode alone.
"""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

import pytest
from azure.storage.blob import BlobClient

from shared.databases.adopted_files import PlanFiles
from shared.databases.driver import installed_drivers
from shared.errors import PermissionMissing
from shared.recovery_point import steps
from shared.settings import Settings
from shared.storage.sas import Signer
from tests.conftest import new_vault
from tests.integration.databases.conftest import (
    BACKUP_LOGIN,
    HOSTING,
    METERING,
    PASSWORD,
    Bench,
    address,
    connected,
    rows,
)
from tests.standins.azurite import KEY, Azurite
from tests.standins.delay import Relay
from tests.standins.rights_proxy import KEEPER, LANDING
from tests.standins.samba import PASSWORD as SMB_PASSWORD
from tests.standins.samba import USERNAME as SMB_USERNAME
from tests.standins.samba import Samba
from tests.standins.sqlserver import AvailabilityGroup, Login, SqlServer, running_sql_server

UNC = r"\\fs\backups"
BEFORE = [(1, "first"), (2, "zweite Straße")]
THIRD, FOURTH = (3, "third"), (4, "fourth")


def adopt_login(*, landing: bool = False) -> Login:
    """What ``runbook --grants`` asks for in this mode: no db_backupoperator."""
    permissions = {"VIEW SERVER STATE", "VIEW ANY DEFINITION", "CREATE ANY DATABASE"}
    return Login(
        BACKUP_LOGIN,
        PASSWORD,
        server_permissions=permissions | ({"ALTER ANY CREDENTIAL"} if landing else set()),
        database_roles={HOSTING: set(), METERING: set(), "master": set()},
        msdb_select=True,
    )


@dataclass
class Plan:
    """Somebody else's backups, to a folder that SQL Server calls ``UNC``."""

    server: SqlServer
    folder: Path
    made: int = 0
    files: list[str] = field(default_factory=list)

    def full(
        self, database: str = HOSTING, *, to: str | None = None, stripes: int = 1, options: str = ""
    ) -> list[Path]:
        return self._back_up("DATABASE", database, to, stripes, options)

    def differential(self, database: str = HOSTING, *, to: str | None = None) -> list[Path]:
        return self._back_up("DATABASE", database, to, 1, "DIFFERENTIAL")

    def log(self, database: str = HOSTING, *, to: str | None = None, options: str = "") -> list[Path]:
        return self._back_up("LOG", database, to, 1, options)

    def full_of_all(self) -> None:
        for database in (HOSTING, METERING, "master"):
            self.full(database)

    def _back_up(self, what: str, database: str, to: str | None, stripes: int, options: str) -> list[Path]:
        self.made += 1
        names = [f"{to or f'{database}-{self.made}'}{f'-{n}' if stripes > 1 else ''}.bak" for n in range(stripes)]
        devices = ", ".join(f"DISK = N'{UNC}\\{name}'" for name in names)
        with_options = ", ".join(filter(None, ["CHECKSUM", options]))
        self.server.execute("master", f"BACKUP {what} [{database}] TO {devices} WITH {with_options}")
        pass_time(self.server)
        self.files += names
        return [self.folder / name for name in names]


@pytest.fixture
def samba() -> Iterator[Samba]:
    root = Path(tempfile.mkdtemp(prefix="lbadopt-"))
    for folder in (root, root / "plan", root / "back"):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
    try:
        with Samba("smb-3.1.1", root=root) as running:
            yield running
    finally:
        shutil.rmtree(root)


@pytest.fixture
def adopting(bench: Bench, samba: Samba) -> Bench:
    """Adopts what lies under ``UNC``, and restores through a folder; no landing account."""
    bench.server.instance.unc[UNC] = samba.root / "plan"
    bench.server.instance.unc[r"\\fs\restores"] = samba.root / "back"
    bench.server.add_login(adopt_login())
    bench.command.unset("LANDING_URL", "LANDING_KEY")
    bench.command.set(
        SQL_MODE="adopt",
        SQL_PATH_MAP=f"{UNC}={samba.url(path='plan')}",
        SQL_DATABASES=HOSTING,
        SQL_DISK_PATH=r"\\fs\restores",
        SQL_DISK_URL=samba.url(path="back"),
        SQL_DISK_USERNAME=SMB_USERNAME,
        SQL_DISK_PASSWORD=SMB_PASSWORD,
    )
    return bench


@pytest.fixture
def plan(adopting: Bench, samba: Samba) -> Plan:
    return Plan(adopting.server, samba.root / "plan")


def insert(bench: Bench, row: tuple[int, str], database: str = HOSTING) -> datetime:
    """Returns a moment at which it is there, and nothing else is yet."""
    bench.server.execute(database, f"INSERT INTO sites (id, name) VALUES ({row[0]}, N'{row[1]}')")
    moment = bench.server.instance.clock.now()
    pass_time(bench.server)
    return moment


def pass_time(server: SqlServer) -> None:
    """The server's clock moves on: what follows is later, as it would be."""
    server.skew(server.instance.clock.skew + timedelta(seconds=2))


def taken(bench: Bench, point: str, database: str = HOSTING) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = bench.record(point)["components"]["databases"]["databases"][database]["backups"]
    return found


def notes(bench: Bench, point: str, database: str = HOSTING) -> str:
    return "\n".join(bench.record(point)["components"]["databases"]["databases"][database]["notes"])


def restored(bench: Bench, *options: str, suffix: str = "_back", database: str = HOSTING) -> list[tuple[object, ...]]:
    bench.as_restorer()
    answer = bench.command("restore", "databases", "--as", suffix, *options)
    assert (answer.code, answer.reasons) == (0, [])
    return rows(bench.server, f"{database}{suffix}")


def test_what_a_plan_backed_up_is_adopted_verified_drilled_and_restored(adopting: Bench, plan: Plan) -> None:
    adopting.command.set(SQL_DATABASES=f"{HOSTING},{METERING},master")
    plan.full_of_all()
    insert(adopting, THIRD)
    plan.differential()
    insert(adopting, FOURTH)
    plan.log()
    answer = adopting.command("backup")
    assert (answer.code, answer.status, answer.reasons) == (0, "complete", [])
    assert adopting.sent("BACKUP") == []
    assert adopting.sent("CREATE CREDENTIAL") == []
    record = adopting.record(answer.json["point"])["components"]["databases"]
    assert record["mode"] == "adopt"
    assert [each["kind"] for each in taken(adopting, answer.json["point"])] == ["full", "differential", "log"]
    for backup in taken(adopting, answer.json["point"]):
        assert backup["adopted"]["user"] == "sa"
        assert backup["adopted"]["checked"] == "verifyonly"
        assert len(backup["stored"]["files"][0]["sha256"]) == 64
    assert adopting.command("verify").status == "ok"
    assert adopting.command("check", "--read-data").status == "ok"
    assert restored(adopting) == [*BEFORE, THIRD, FOURTH]
    assert rows(adopting.server, f"{METERING}_back") == BEFORE
    adopting.command.set(DRILL_SQL_SERVER=address(adopting.server))
    adopting.server.add_login(
        Login(
            "drill",
            PASSWORD,
            server_permissions={"VIEW SERVER STATE", "VIEW ANY DEFINITION"},
            server_roles={"dbcreator"},
        )
    )
    adopting.command.set(DRILL_SQL_USERNAME="drill", DRILL_SQL_PASSWORD=PASSWORD)
    drill = adopting.command("drill", "--on-production")
    assert (drill.code, drill.reasons) == (0, [])


def test_each_moment_since_the_full_backup_can_be_restored(adopting: Bench, plan: Plan) -> None:
    """Logs that the newest differential makes needless are taken all the same."""
    plan.full()
    between = insert(adopting, THIRD)
    plan.log()
    insert(adopting, FOURTH)
    plan.differential()
    plan.log()
    assert adopting.command("backup").status == "complete"
    assert restored(adopting, "--at", between.isoformat()) == [*BEFORE, THIRD]
    assert restored(adopting, suffix="_end") == [*BEFORE, THIRD, FOURTH]


def test_a_night_fetches_only_what_is_new(adopting: Bench, plan: Plan) -> None:
    plan.full()
    first = adopting.command("backup").json["point"]
    insert(adopting, THIRD)
    plan.log()
    second = adopting.command("backup")
    assert [each["kind"] for each in taken(adopting, first)] == ["full"]
    assert [each["kind"] for each in taken(adopting, second.json["point"])] == ["log"]
    assert len(adopting.sent("RESTORE VERIFYONLY")) == 2
    idle = adopting.command("backup")
    assert (idle.code, idle.status, idle.reasons) == (0, "complete", [])
    assert len(adopting.sent("RESTORE VERIFYONLY")) == 2
    assert taken(adopting, idle.json["point"])[0]["uuid"] == taken(adopting, second.json["point"])[0]["uuid"]
    assert idle.json["components"]["databases"]["bytes_read"] == 0
    assert restored(adopting) == [*BEFORE, THIRD]
    assert adopting.command("check").status == "ok"


def test_a_run_of_logs_takes_new_logs_alone(adopting: Bench, plan: Plan) -> None:
    adopting.command.set(SQL_DATABASES=f"{HOSTING},master")
    plan.full()
    plan.full("master")
    adopting.command("backup")
    insert(adopting, THIRD)
    plan.log()
    plan.full()
    plan.log()
    answer = adopting.command("backup", "--logs")
    assert (answer.code, answer.reasons) == (0, [])
    assert [each["kind"] for each in taken(adopting, answer.json["point"])] == ["log", "log"]
    assert "master" not in adopting.record(answer.json["point"])["components"]["databases"]["databases"]
    assert restored(adopting) == [*BEFORE, THIRD]


def test_logs_that_belong_to_no_full_backup_that_is_held_are_a_gap(adopting: Bench, plan: Plan) -> None:
    plan.full()
    adopting.command("backup")
    plan.log()
    (lost,) = plan.log()
    plan.log()
    lost.unlink()
    answer = adopting.command("backup", "--logs")
    assert (answer.code, sorted(answer.codes)) == (3, ["backup-file-missing", "chain-gap"])
    gap = next(each for each in answer.reasons if each["code"] == "chain-gap")
    assert "begins at LSN" in gap["message"]
    assert "what is held ends at LSN" in gap["message"]


def test_backups_behind_each_other_in_one_file_are_restored_from_their_place(adopting: Bench, plan: Plan) -> None:
    """And what is appended later does not change what is held."""
    plan.full(to="all")
    insert(adopting, THIRD)
    plan.log(to="all")
    insert(adopting, FOURTH)
    plan.log(to="all")
    answer = adopting.command("backup")
    assert (answer.code, answer.reasons) == (0, [])
    backups = taken(adopting, answer.json["point"])
    assert [each["position"] for each in backups] == [1, 2, 3]
    assert len({each["stored"]["snapshot"] for each in backups}) == 1
    assert restored(adopting) == [*BEFORE, THIRD, FOURTH]
    assert [text for text in adopting.sent("RESTORE LOG") if "FILE = 3" in text]
    plan.log(to="all")
    later = adopting.command("backup")
    assert [each["position"] for each in taken(adopting, later.json["point"])] == [4]
    assert restored(adopting, suffix="_again") == [*BEFORE, THIRD, FOURTH]


def test_stripes_are_taken_together(adopting: Bench, plan: Plan) -> None:
    files = plan.full(stripes=3)
    answer = adopting.command("backup")
    assert (answer.code, answer.reasons) == (0, [])
    (backup,) = taken(adopting, answer.json["point"])
    assert [file["size_bytes"] for file in backup["stored"]["files"]] == [path.stat().st_size for path in files]
    assert restored(adopting) == BEFORE


def test_a_stripe_that_is_missing_costs_the_backup(adopting: Bench, plan: Plan) -> None:
    plan.full()
    *_, last = plan.full(stripes=3)
    last.unlink()
    answer = adopting.command("backup")
    assert (answer.code, answer.codes) == (3, ["backup-file-missing"])
    assert last.name in answer.reasons[0]["message"]
    assert restored(adopting) == BEFORE


def test_the_mirror_is_taken_where_the_first_file_is_gone(adopting: Bench, plan: Plan) -> None:
    (original,) = plan.full()
    mirror = original.with_name("mirror.bak")
    original.rename(mirror)
    entry = adopting.server.instance.history[-1]
    adopting.server.instance.history[-1] = replace(
        entry, media=replace(entry.media, mirrors=((f"{UNC}\\{mirror.name}",),))
    )
    answer = adopting.command("backup")
    assert (answer.code, answer.reasons) == (0, [])
    assert taken(adopting, answer.json["point"])[0]["adopted"]["devices"] == [f"{UNC}\\{mirror.name}"]


def test_an_older_full_backup_is_taken_where_the_newest_was_cleaned_up(adopting: Bench, plan: Plan) -> None:
    plan.full()
    insert(adopting, THIRD)
    (newest,) = plan.full()
    newest.unlink()
    answer = adopting.command("backup")
    assert (answer.code, answer.status, answer.codes) == (3, "partial", ["backup-file-missing"])
    assert "keep its files until Lifeboat has taken them" in answer.reasons[0]["remedy"]
    assert restored(adopting) == BEFORE


def test_nothing_is_missed_that_logs_bring_back(adopting: Bench, plan: Plan) -> None:
    """The newest full is gone, and the logs go on from the one before it: a note, and the point is complete."""
    plan.full()
    plan.log()
    (newest,) = plan.full()
    newest.unlink()
    insert(adopting, THIRD)
    plan.log()
    answer = adopting.command("backup")
    assert (answer.code, answer.reasons) == (0, [])
    assert f"not needed, and not taken: the full backup of {HOSTING}" in notes(adopting, answer.json["point"])
    assert restored(adopting) == [*BEFORE, THIRD]


def test_a_file_that_holds_another_backup_by_now_is_not_taken_for_it(adopting: Bench, plan: Plan) -> None:
    plan.full(METERING)
    (mine,) = plan.full()
    (other,) = plan.full(METERING)
    shutil.copy(other, mine)
    answer = adopting.command("backup")
    assert (answer.code, answer.status, answer.codes) == (1, "failed", ["backup-file-changed"])
    assert "there is another backup now" in answer.reasons[0]["message"]


def test_a_file_that_is_cut_off_is_not_taken_for_whole(adopting: Bench, plan: Plan) -> None:
    (file,) = plan.full()
    file.write_bytes(file.read_bytes()[:-100])
    answer = adopting.command("backup")
    assert (answer.code, answer.codes[0]) == (1, "backup-damaged")
    file.write_bytes(file.read_bytes()[:500])
    answer = adopting.command("backup")
    assert (answer.code, answer.codes) == (1, ["backup-file-changed"])
    assert "has 500 bytes, and msdb says" in answer.reasons[0]["message"]


def test_damage_that_the_server_finds_is_a_reason(adopting: Bench, plan: Plan) -> None:
    plan.full()
    (newest,) = plan.full()
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    answer = adopting.command("backup")
    assert (answer.code, answer.codes) == (3, ["backup-damaged"])
    assert restored(adopting) == BEFORE


def test_pages_that_were_damaged_when_it_was_made_are_a_reason(adopting: Bench, plan: Plan) -> None:
    plan.full()
    history = adopting.server.instance.history
    history[-1] = replace(history[-1], backup=replace(history[-1].backup, is_damaged=True))
    assert adopting.command("backup").codes == ["backup-damaged"]


def test_a_snapshot_product_is_named_and_that_it_moved_the_base(adopting: Bench, plan: Plan) -> None:
    plan.full()
    adopting.server.foreign_snapshot(HOSTING)
    plan.differential()
    answer = adopting.command("backup")
    assert (answer.code, sorted(answer.codes)) == (3, ["chain-gap", "device-unreadable"])
    unreadable = next(each for each in answer.reasons if each["code"] == "device-unreadable")
    assert "a snapshot (VSS), made by sa" in unreadable["message"]
    assert "it moved the differential base" in unreadable["message"]
    gap = next(each for each in answer.reasons if each["code"] == "chain-gap")
    assert "its full backup" in gap["message"]
    assert restored(adopting) == BEFORE


def test_a_log_that_another_tool_took_is_a_gap(adopting: Bench, plan: Plan) -> None:
    plan.full()
    plan.log()
    adopting.server.foreign_log(HOSTING, device=None)
    insert(adopting, THIRD)
    plan.log()
    answer = adopting.command("backup")
    assert (answer.code, sorted(answer.codes)) == (3, ["backup-file-unreadable", "chain-gap"])
    unmapped = next(each for each in answer.reasons if each["code"] == "backup-file-unreadable")
    assert unmapped["setting"] == "LIFEBOAT_SQL_PATH_MAP"
    assert restored(adopting) == BEFORE


def test_a_path_of_the_servers_own_is_reached_by_the_map(adopting: Bench, plan: Plan, samba: Samba) -> None:
    adopting.server.instance.unc["D:\\Backup"] = samba.root / "plan"
    adopting.command.set(SQL_PATH_MAP=f"D:\\Backup={samba.url(path='plan')}")
    adopting.server.foreign_full(HOSTING, device=r"D:\Backup\night.bak")
    answer = adopting.command("backup")
    assert (answer.code, answer.reasons) == (0, [])
    assert "without checksums" in notes(adopting, answer.json["point"])
    assert restored(adopting) == BEFORE
    assert "CHECKSUM" not in adopting.sent("RESTORE VERIFYONLY")[0]


def test_a_database_that_nobody_backs_up_has_failed(adopting: Bench, plan: Plan) -> None:
    adopting.command.set(SQL_DATABASES=f"{HOSTING},{METERING}")
    plan.full()
    answer = adopting.command("backup")
    assert (answer.code, answer.codes) == (3, ["no-backup"])
    assert answer.reasons[0]["database"] == METERING


def test_another_database_of_the_same_name_is_not_backed_up_by_what_is_held_of_the_first(
    adopting: Bench, plan: Plan
) -> None:
    plan.full()
    assert adopting.command("backup").status == "complete"
    adopting.server.instance.databases[HOSTING].family_guid = str(uuid4()).upper()
    answer = adopting.command("backup")
    assert (answer.code, answer.status, answer.codes) == (1, "failed", ["no-backup"])
    plan.full()
    answer = adopting.command("backup")
    assert (answer.code, answer.status, answer.reasons) == (0, "complete", [])
    assert [each["kind"] for each in taken(adopting, answer.json["point"])] == ["full"]


def test_what_lifeboat_itself_made_is_no_plan_of_others(bench: Bench, samba: Samba) -> None:
    """After a change of the mode: what the vault holds counts, and is not fetched again; there is nothing else."""
    bench.command.set(SQL_DATABASES=HOSTING)
    assert bench.command("backup").status == "complete"
    bench.command.set(SQL_MODE="adopt", RPO_DATABASES="1h")
    answer = bench.command("backup")
    assert (answer.code, answer.reasons) == (0, [])
    bench.as_restorer()
    assert bench.command("restore", "databases", "--as", "_back").code == 0


def test_backups_that_are_older_than_the_rpo_are_partial(adopting: Bench, plan: Plan) -> None:
    adopting.server.skew(timedelta(days=-3))
    plan.full()
    adopting.server.skew(timedelta())
    answer = adopting.command("backup")
    assert (answer.code, answer.status, answer.codes) == (3, "partial", ["too-old"])
    assert "72.0 hours ago; 26.0 are allowed" in answer.reasons[0]["message"]
    assert adopting.command("status").json["components"]["databases"]["late"]
    assert restored(adopting) == BEFORE


def test_a_backup_from_the_future_hides_no_plan_that_has_stopped(adopting: Bench, plan: Plan) -> None:
    """The server's clock was days ahead when it was made, and was set right: it would be young for days."""
    adopting.server.skew(timedelta(days=30))
    plan.full()
    adopting.server.skew(timedelta())
    answer = adopting.command("backup")
    assert (answer.code, answer.status, answer.codes) == (3, "partial", ["clock-differs"])
    assert "in the future" in answer.reasons[0]["message"]
    assert restored(adopting) == BEFORE


def test_where_the_server_cannot_open_the_file_it_says_how_it_was_checked(adopting: Bench, plan: Plan) -> None:
    plan.full()
    insert(adopting, THIRD)
    plan.log()
    adopting.server.deny(UNC)
    answer = adopting.command("backup")
    assert (answer.code, answer.reasons) == (0, [])
    assert "and 1 more: not verified by the server" in notes(adopting, answer.json["point"])
    assert {each["adopted"]["checked"] for each in taken(adopting, answer.json["point"])} == {"header-and-hash"}
    assert restored(adopting) == [*BEFORE, THIRD]


def test_a_log_that_was_written_over_is_a_gap_where_the_server_cannot_look_either(adopting: Bench, plan: Plan) -> None:
    """The file is there, begins as a backup and is long enough: it is the last log, and not those before."""
    plan.full()
    insert(adopting, THIRD)
    plan.log(to="log", options="INIT")
    insert(adopting, FOURTH)
    plan.log(to="log", options="INIT")
    adopting.server.deny(UNC)
    answer = adopting.command("backup")
    assert (answer.code, sorted(answer.codes)) == (3, ["backup-file-changed", "chain-gap"])
    assert [each["kind"] for each in taken(adopting, answer.json["point"])] == ["full"]
    assert restored(adopting) == BEFORE


def test_a_file_that_is_no_backup_is_not_taken_where_the_server_cannot_look(adopting: Bench, plan: Plan) -> None:
    (file,) = plan.full()
    file.write_bytes(b"x" * file.stat().st_size)
    adopting.server.deny(UNC)
    answer = adopting.command("backup")
    assert (answer.code, answer.codes) == (1, ["backup-file-changed"])
    assert "is no backup of SQL Server" in answer.reasons[0]["message"]


def test_an_encrypted_database_without_its_certificate_is_partial_each_night(adopting: Bench, plan: Plan) -> None:
    adopting.server.add_database("secret", encrypted_by="AB" * 20)
    adopting.server.add_login(replace(adopt_login(), database_roles={"secret": set(), HOSTING: set()}))
    adopting.command.set(SQL_DATABASES="secret")
    plan.full("secret")
    for _ in range(2):
        answer = adopting.command("backup")
        assert (answer.code, answer.codes) == (3, ["certificate-not-held"])


def test_the_server_whose_files_nobody_may_read_is_named_once(adopting: Bench, plan: Plan) -> None:
    plan.full()
    plan.full()
    adopting.command.set(SQL_DISK_PASSWORD="wrong")
    answer = adopting.command("backup")
    assert (answer.code, answer.codes) == (1, ["backup-file-unreadable"])
    assert "refuses the user" in answer.reasons[0]["message"]
    assert "(and 1 more like it)" in answer.reasons[0]["message"]


def test_without_a_way_back_the_restore_names_both_settings(adopting: Bench, plan: Plan) -> None:
    plan.full()
    adopting.command("backup")
    adopting.command.unset("SQL_DISK_PATH", "SQL_DISK_URL")
    adopting.as_restorer()
    answer = adopting.command("restore", "databases", "--as", "_back")
    assert answer.code == 2
    assert "LIFEBOAT_LANDING_URL" in answer.reasons[0]["message"]
    assert "LIFEBOAT_SQL_DISK_PATH" in answer.reasons[0]["message"]


# --- blobs ---


@dataclass
class BlobPlan:
    """Somebody else's backups to a container of an account of theirs."""

    server: SqlServer
    url: str
    sas: str

    def back_up(self, what: str = "DATABASE", *, stripes: int = 1, options: str = "CHECKSUM") -> list[str]:
        urls = [f"{self.url}/{HOSTING}-{secrets.token_hex(4)}.bak" for _ in range(stripes)]
        devices = ", ".join(f"URL = N'{url}'" for url in urls)
        self.server.execute("master", f"BACKUP {what} [{HOSTING}] TO {devices} WITH {options}")
        return urls


@pytest.fixture
def blobs(bench: Bench, azurite: Azurite) -> Iterator[BlobPlan]:
    """Adopts blobs; verifies in, and restores through, the landing account."""
    with new_vault(azurite, rights=LANDING, containers=("plan",)) as account:
        signer = Signer(account.account, KEY, account.api_version, https_only=False)
        ends = datetime.now(UTC) + timedelta(hours=1)
        url = f"{account.url}/plan"
        bench.server.execute(
            "master",
            f"CREATE CREDENTIAL [{url}] WITH IDENTITY = 'SHARED ACCESS SIGNATURE', "
            f"SECRET = '{signer.container('plan', 'rwdl', ends).token}'",
        )
        bench.server.add_login(adopt_login(landing=True))
        sas = signer.container("plan", "r", ends).token
        bench.command.set(SQL_MODE="adopt", SQL_DATABASES=HOSTING, SQL_ADOPT_SAS=f"?{sas}")
        yield BlobPlan(bench.server, url, sas)


def test_blobs_are_copied_by_the_service_and_verified_in_landing(bench: Bench, blobs: BlobPlan) -> None:
    urls = blobs.back_up(stripes=2)
    insert(bench, THIRD)
    blobs.back_up("LOG")
    answer = bench.command("backup")
    assert (answer.code, answer.reasons) == (0, [])
    full, log = taken(bench, answer.json["point"])
    assert [full["stored"]["kind"], log["stored"]["kind"]] == ["blobs", "blobs"]
    assert full["adopted"]["devices"] == urls
    assert full["adopted"]["checked"] == "verifyonly"
    assert all("lifeboat-" in text for text in bench.sent("RESTORE VERIFYONLY"))
    assert bench.landed() == []
    assert bench.command("verify").status == "ok"
    assert restored(bench) == [*BEFORE, THIRD]


def test_without_a_landing_account_blobs_are_read_and_hashed(bench: Bench, blobs: BlobPlan, samba: Samba) -> None:
    blobs.back_up(stripes=2)
    bench.command.unset("LANDING_URL", "LANDING_KEY")
    bench.server.add_login(adopt_login())
    answer = bench.command("backup")
    assert (answer.code, answer.reasons) == (0, [])
    (backup,) = taken(bench, answer.json["point"])
    assert backup["adopted"]["checked"] == "header-and-hash"
    assert all(len(file["sha256"]) == 64 for file in backup["stored"]["files"])
    assert "LIFEBOAT_LANDING_URL is not set" in notes(bench, answer.json["point"])
    bench.server.instance.unc[r"\\fs\restores"] = samba.root / "back"
    bench.command.set(
        SQL_DISK_PATH=r"\\fs\restores",
        SQL_DISK_URL=samba.url(path="back"),
        SQL_DISK_USERNAME=SMB_USERNAME,
        SQL_DISK_PASSWORD=SMB_PASSWORD,
    )
    assert restored(bench) == BEFORE


def test_a_copy_that_the_service_refuses_is_streamed(bench: Bench, blobs: BlobPlan) -> None:
    blobs.back_up()
    bench.command.set(STORAGE_API_VERSION="2019-12-12")  # before there was Put Blob From URL
    answer = bench.command("backup")
    assert (answer.code, answer.reasons) == (0, [])
    (backup,) = taken(bench, answer.json["point"])
    assert backup["stored"]["kind"] == "repository"
    assert backup["adopted"]["checked"] == "verifyonly"
    assert restored(bench) == BEFORE


def test_a_blob_that_is_gone_and_a_sas_that_opens_nothing_are_told_apart(bench: Bench, blobs: BlobPlan) -> None:
    (url,) = blobs.back_up()
    bench.command.set(SQL_ADOPT_SAS=blobs.sas.replace("sig=", "sig=AAAA"))
    answer = bench.command("backup")
    assert (answer.code, answer.codes) == (1, ["backup-file-unreadable"])
    assert answer.reasons[0]["setting"] == "LIFEBOAT_SQL_ADOPT_SAS"
    assert "sig=" not in json.dumps(answer.json)
    bench.command.set(SQL_ADOPT_SAS=blobs.sas)
    with BlobClient.from_blob_url(url, credential=bench.server.instance.credentials[blobs.url.lower()].secret) as blob:
        blob.delete_blob()
    assert bench.command("backup").codes == ["backup-file-missing"]


def test_a_blob_is_looked_for_by_https_alone(bench: Bench, blobs: BlobPlan) -> None:
    blobs.back_up()
    history = bench.server.instance.history
    history[-1] = replace(
        history[-1], media=replace(history[-1].media, devices=("http://elsewhere.example/plan/x.bak",))
    )
    answer = bench.command("backup")
    assert (answer.code, answer.codes) == (1, ["backup-file-unreadable"])
    assert "over plain http a SAS is readable" in answer.reasons[0]["message"]


def test_a_sas_with_its_container_s_address_is_for_that_one_alone(bench: Bench, blobs: BlobPlan) -> None:
    blobs.back_up()
    bench.command.set(SQL_ADOPT_SAS=f"{blobs.url}-of-others?{blobs.sas}")
    answer = bench.command("backup")
    assert (answer.code, answer.codes) == (1, ["backup-file-unreadable"])
    assert "it is for another container" in answer.reasons[0]["message"]
    assert answer.reasons[0]["setting"] == "LIFEBOAT_SQL_ADOPT_SAS"
    bench.command.set(SQL_ADOPT_SAS=f"{blobs.url}?{blobs.sas}")
    assert bench.command("backup").status == "complete"


def test_no_sas_gets_into_record_output_or_log(bench: Bench, blobs: BlobPlan, caplog: pytest.LogCaptureFixture) -> None:
    blobs.back_up()
    answer = bench.command("backup")
    signature = blobs.sas.partition("sig=")[2]
    told = json.dumps(answer.json) + json.dumps(bench.record(answer.json["point"])) + caplog.text
    assert signature not in told
    assert unquote(signature) not in told


def test_a_backup_behind_others_is_not_restored_from_a_url(bench: Bench, blobs: BlobPlan, samba: Samba) -> None:
    bench.server.instance.unc[UNC] = samba.root / "plan"
    bench.command.set(
        SQL_PATH_MAP=f"{UNC}={samba.url(path='plan')}", SQL_DISK_USERNAME=SMB_USERNAME, SQL_DISK_PASSWORD=SMB_PASSWORD
    )
    plan = Plan(bench.server, samba.root / "plan")
    plan.full(to="all")
    plan.log(to="all")
    assert bench.command("backup").status == "complete"
    bench.as_restorer()
    answer = bench.command("restore", "databases", "--as", "_back")
    assert (answer.code, answer.reasons[0]["setting"]) == (1, "LIFEBOAT_SQL_DISK_PATH")
    assert "number 2 of those" in answer.reasons[0]["message"]
    bench.server.instance.unc[r"\\fs\restores"] = samba.root / "back"
    bench.command.set(SQL_DISK_PATH=r"\\fs\restores", SQL_DISK_URL=samba.url(path="back"))
    assert restored(bench) == BEFORE


# --- rights, groups, steps ---


def test_the_script_of_the_grants_is_enough_and_backs_nothing_up(adopting: Bench, plan: Plan) -> None:
    plan.full()
    adopting.server.add_login(Login(BACKUP_LOGIN, PASSWORD))
    adopting.command.set(SQL_DATABASES=HOSTING)
    denied = adopting.command("backup")
    assert denied.code == 1
    assert "VIEW SERVER STATE" in denied.reasons[0]["message"]
    _, script, _ = adopting.command.people("runbook", "--grants")
    part = script.split("-- Adopting backups")[1].split("\n\n")[0]
    assert "db_backupoperator" not in part
    assert "ALTER ANY CREDENTIAL" not in part
    for block in part.split("USE ")[1:]:
        database, _, lines = block.partition(";\n")
        for line in lines.strip().splitlines():
            adopting.server.execute(database.strip("[]"), line.rstrip(";"))
    answer = adopting.command("backup")
    assert (answer.code, answer.reasons) == (0, [])
    driver = next(each for each in installed_drivers() if each.is_microsoft)
    with (
        connected(adopting.server, driver, adopting.certificate) as connection,
        pytest.raises(PermissionMissing, match="BACKUP DATABASE"),
    ):
        connection.run(f"BACKUP DATABASE [{HOSTING}] TO DISK = N'{UNC}\\no.bak'", limit_seconds=10)


def test_each_right_that_is_missing_is_named(adopting: Bench, plan: Plan) -> None:
    plan.full()
    adopting.server.add_login(replace(adopt_login(), msdb_select=False))
    answer = adopting.command("backup")
    assert answer.code == 1
    assert "backupset" in answer.reasons[0]["message"]
    assert "--grants" in answer.reasons[0]["remedy"]
    adopting.server.add_login(
        replace(adopt_login(), server_permissions=frozenset({"VIEW SERVER STATE", "VIEW ANY DEFINITION"}))
    )
    answer = adopting.command("backup")
    assert "CREATE ANY DATABASE" in answer.reasons[0]["message"]


def test_a_step_of_a_run_in_azure_adopts_one_database(adopting: Bench, plan: Plan) -> None:
    plan.full()
    adopting.command("backup")  # makes the repository
    insert(adopting, THIRD)
    plan.log()
    run = "0123456789abcdef"
    settings = Settings.from_environment()
    begun = steps.begin(settings, run, {"only": [], "logs": False, "allow_shrink": False})
    assert (begun["ok"], begun["own_log_chain"]) == (True, False)
    made = steps.back_up_database(settings, run, name=HOSTING, held=[], logs_only=False, after=[])
    assert (made["ok"], made["status"]) == (True, "complete"), made
    end = steps.record(
        settings,
        run,
        request={"only": [], "logs": False, "allow_shrink": False},
        begun=begun,
        parts={"databases": [made | {"database": HOSTING}]},
        caller=None,
    )
    assert end["end"]["status"] == "complete", end
    assert [each["kind"] for each in taken(adopting, end["end"]["point"])] == ["log"]
    assert restored(adopting, "--point", end["end"]["point"]) == [*BEFORE, THIRD]


# --- faults ---


def test_a_connection_that_is_cut_while_a_file_is_fetched_is_made_anew(
    adopting: Bench, plan: Plan, samba: Samba
) -> None:
    adopting.server.database(HOSTING).filler_bytes = 12 << 20
    plan.full()
    with Relay(samba.port, cut_after=(3_000_000, 5_000_000)) as relay:
        adopting.command.set(SQL_PATH_MAP=f"{UNC}=smb://127.0.0.1:{relay.port}/data/plan")
        answer = adopting.command("backup")
        assert (answer.code, answer.reasons) == (0, [])
        assert relay.connections >= 3
    assert restored(adopting) == BEFORE


def test_a_file_that_is_deleted_while_it_is_fetched_is_missing_and_nothing_of_it_is_kept(
    adopting: Bench, plan: Plan, samba: Samba
) -> None:
    """The plan's clean-up, and the connection is cut at the same moment, so it cannot be read on."""
    plan.full()
    adopting.server.database(HOSTING).filler_bytes = 64 << 20  # more than is asked for ahead
    (newest,) = plan.full()
    with Relay(samba.port) as relay:
        adopting.command.set(SQL_PATH_MAP=f"{UNC}=smb://127.0.0.1:{relay.port}/data/plan")
        seen = PlanFiles._read_file

        def reading(plan_files: PlanFiles, *arguments: Any) -> Iterator[memoryview]:
            for number, piece in enumerate(seen(plan_files, *arguments)):
                if number == 1 and newest.exists():
                    newest.unlink()
                    relay.cut_all()
                yield piece

        adopting.monkeypatch.setattr(PlanFiles, "_read_file", reading)
        answer = adopting.command("backup")
    assert (answer.code, answer.codes) == (3, ["backup-file-missing"])
    assert len(taken(adopting, answer.json["point"])) == 1
    assert restored(adopting) == BEFORE


def test_a_file_that_is_deleted_after_it_was_opened_is_held_whole(adopting: Bench, plan: Plan) -> None:
    """What was opened can be read to its end, was verified before, and has its length."""
    adopting.server.database(HOSTING).filler_bytes = 12 << 20
    (file,) = plan.full()
    seen = PlanFiles._read_file

    def reading(plan_files: PlanFiles, *arguments: Any) -> Iterator[memoryview]:
        for number, piece in enumerate(seen(plan_files, *arguments)):
            if number == 1 and file.exists():
                file.unlink()
            yield piece

    adopting.monkeypatch.setattr(PlanFiles, "_read_file", reading)
    answer = adopting.command("backup")
    assert (answer.code, answer.reasons) == (0, [])
    assert restored(adopting) == BEFORE


def test_a_file_that_the_plan_appends_to_meanwhile_is_read_again(adopting: Bench, plan: Plan) -> None:
    adopting.server.database(HOSTING).filler_bytes = 4 << 20
    plan.full(to="all")
    seen = PlanFiles._read_file
    appended: list[bool] = []

    def reading(plan_files: PlanFiles, *arguments: Any) -> Iterator[memoryview]:
        for number, piece in enumerate(seen(plan_files, *arguments)):
            yield piece
            if number == 3 and not appended:
                appended.append(True)
                insert(adopting, THIRD)
                plan.log(to="all")

    adopting.monkeypatch.setattr(PlanFiles, "_read_file", reading)
    answer = adopting.command("backup")
    assert (answer.code, answer.reasons) == (0, [])
    assert restored(adopting) == BEFORE
    assert [each["position"] for each in taken(adopting, adopting.command("backup").json["point"])] == [2]
    assert restored(adopting, suffix="_later") == [*BEFORE, THIRD]


def test_several_databases_behind_each_other_in_one_file_are_each_their_own(adopting: Bench, plan: Plan) -> None:
    adopting.command.set(SQL_DATABASES=f"{HOSTING},{METERING},master")
    for database in (HOSTING, METERING, "master"):
        plan.full(database, to="all")
    insert(adopting, THIRD, METERING)
    plan.log(METERING, to="all")
    answer = adopting.command("backup")
    assert (answer.code, answer.reasons) == (0, [])
    assert restored(adopting) == BEFORE
    assert rows(adopting.server, f"{METERING}_back") == [*BEFORE, THIRD]
    _, runbook, _ = adopting.command.people("runbook")
    assert "FILE = 2" in runbook
    assert "LIFEBOAT_SQL_MODE" in runbook


def test_what_another_replica_backed_up_is_not_seen_and_that_is_told(adopting: Bench, plan: Plan) -> None:
    with running_sql_server(adopting.certificate, name="SQL02") as other:
        other.add_login(adopt_login())
        AvailabilityGroup("ag", [adopting.server, other], [HOSTING])
        plan.full()
        answer = adopting.command("backup")
        assert (answer.code, answer.reasons) == (0, [])
        assert "is in the availability group ag, and only the history of SQL01" in notes(adopting, answer.json["point"])


def test_many_logs_of_a_night_are_one_snapshot(adopting: Bench, plan: Plan) -> None:
    plan.full()
    for number in range(3, 9):
        insert(adopting, (number, f"row {number}"))
        plan.log()
    answer = adopting.command("backup")
    assert (answer.code, answer.reasons) == (0, [])
    full, *logs = taken(adopting, answer.json["point"])
    assert len(logs) == 6
    assert len({each["stored"]["snapshot"] for each in logs}) == 1
    assert len({each["stored"]["files"][0]["name"] for each in logs}) == 6
    assert [each["stored"]["bytes_stored"] > 0 for each in logs] == [True, *[False] * 5]
    assert full["stored"]["snapshot"] != logs[0]["stored"]["snapshot"]
    assert restored(adopting) == [*BEFORE, *((number, f"row {number}") for number in range(3, 9))]


def test_logs_that_were_cleaned_up_before_the_newest_differential_are_not_missed(adopting: Bench, plan: Plan) -> None:
    plan.full()
    gone = [path for _ in range(5) for path in plan.log()]
    insert(adopting, THIRD)
    plan.differential()
    insert(adopting, FOURTH)
    plan.log()
    for path in gone:
        path.unlink()
    answer = adopting.command("backup")
    assert (answer.code, answer.reasons) == (0, [])
    assert [each["kind"] for each in taken(adopting, answer.json["point"])] == ["full", "differential", "log"]
    assert "(and 4 more like it)" in notes(adopting, answer.json["point"])
    assert restored(adopting) == [*BEFORE, THIRD, FOURTH]


def test_a_log_among_many_that_cannot_be_read_costs_what_comes_after_it(adopting: Bench, plan: Plan) -> None:
    plan.full()
    insert(adopting, THIRD)
    plan.log()
    (broken,) = plan.log()
    plan.log()
    broken.write_bytes(b"x" * broken.stat().st_size)
    answer = adopting.command("backup")
    assert (answer.code, sorted(answer.codes)) == (3, ["backup-file-changed", "chain-gap"])
    assert restored(adopting) == [*BEFORE, THIRD]


def test_a_server_that_goes_away_in_the_middle_is_asked_again(adopting: Bench, plan: Plan) -> None:
    plan.full()
    insert(adopting, THIRD)
    plan.log()
    seen = PlanFiles.find
    killed: list[bool] = []

    def finding(plan_files: PlanFiles, offered: Any) -> Any:
        if offered.backup.kind == "log" and not killed:
            killed.append(True)
            adopting.server.kill_connections()
        return seen(plan_files, offered)

    adopting.monkeypatch.setattr(PlanFiles, "find", finding)
    answer = adopting.command("backup")
    assert (answer.code, answer.reasons) == (0, [])
    assert "begun again" in notes(adopting, answer.json["point"])
    assert len(adopting.sent("RESTORE VERIFYONLY")) == 2
    assert restored(adopting) == [*BEFORE, THIRD]


def test_what_idle_nights_name_again_is_kept_by_prune(adopting: Bench, plan: Plan) -> None:
    plan.full()
    points = [adopting.command("backup").json["point"] for _ in range(3)]
    with adopting.vault.with_rights(KEEPER) as keeper:
        adopting.command.set(
            VAULT_URL=keeper.url,
            KEEP_LAST="1",
            KEEP_DAILY="0",
            KEEP_WEEKLY="0",
            KEEP_MONTHLY="0",
            KEEP_WITHIN="0s",
            PROTECT_FOR="0s",
            PRUNE_WAIT="0s",
        )
        pruned = adopting.command("prune")
        assert (pruned.code, pruned.reasons) == (0, [])
        assert pruned.json["points_removed"] == 2
    adopting.command.set(VAULT_URL=adopting.vault.url)
    assert [each["point"] for each in adopting.command("points").json["points"]] == points[-1:]
    assert adopting.command("check").status == "ok"
    assert restored(adopting) == BEFORE
