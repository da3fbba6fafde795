"""A drill of everything: databases on the drill server, a sample of the share, what is in the Key Vault."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from shared.fileshare.local_target import LocalTarget
from shared.fileshare.target import NewFile
from shared.recovery_point import drill_share as drill_share_module
from shared.recovery_point.drill_folder import LEFT_AFTER_SECONDS, PREFIX
from shared.telemetry import Event
from tests.integration.commandline.conftest import Answer
from tests.integration.databases.conftest import ADMIN_LOGIN, PASSWORD, RESTORE_LOGIN, address, restore_login
from tests.integration.secrets.conftest import CANARY, Site
from tests.standins.certificate import Certificate
from tests.standins.in_memory_telemetry import Exported, listening
from tests.standins.sqlserver import SqlServer, running_sql_server

Json = dict[str, Any]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def exported() -> Iterator[Exported]:
    with listening() as found:
        yield found


@pytest.fixture
def drill_server(certificate: Certificate) -> Iterator[SqlServer]:
    with running_sql_server(certificate, name="SQL02") as server:
        server.add_login(restore_login(()))
        server.execute("master", "EXEC sp_configure 'contained database authentication', 1")
        server.execute("master", "RECONFIGURE")
        yield server


@pytest.fixture
def backed_up(site: Site) -> Site:
    """A complete and whole point, made by a login that may see the hashes of passwords: so logins are in it."""
    site.bench.use(site.bench.server, username=ADMIN_LOGIN)
    site.put()
    site.command("secrets", "put", site.downloaded(b"a certificate", "wildcard.cer"), "--name", "wildcard")
    answer = site.back_up()
    assert (answer.code, answer.status, answer.json["whole"]) == (0, "complete", True), answer.reasons
    return site


def drill_on(site: Site, server: SqlServer) -> None:
    site.command.set(DRILL_SQL_SERVER=address(server), DRILL_SQL_USERNAME=RESTORE_LOGIN, DRILL_SQL_PASSWORD=PASSWORD)


def results(answer: Answer) -> dict[tuple[str, str], str]:
    return {(check["component"], check["name"]): check["result"] for check in answer.json["checks"]}


def kept(site: Site) -> list[Json]:
    """The results of drills that lie beside the points."""
    with site.bench.vault.judge("recovery-points") as store:
        return [orjson.loads(store.get(blob.name)) | {"name": blob.name} for blob in store.list("drills/")]


def flip_packs_of_data(site: Site) -> None:
    """A bit in the middle of every pack that holds content of files."""
    with site.bench.vault.judge() as store:
        for blob in list(store.list("data/")):
            body = bytearray(store.get(blob.name))
            if len(body) > 8_000:  # the tree packs of this share are smaller
                body[4_000] ^= 1
                store.delete(blob.name)
                store.put(blob.name, bytes(body))


def test_a_drill_brings_back_databases_a_sample_of_the_share_and_secrets(
    backed_up: Site, drill_server: SqlServer, temporary: Path, exported: Exported
) -> None:
    drill_on(backed_up, drill_server)

    answer = backed_up.command("drill")

    assert (answer.code, answer.status, answer.reasons) == (0, "ok", [])
    assert results(answer) == {
        ("databases", "appservice_hosting"): "pass",
        ("databases", "appservice_metering"): "pass",
        ("share", "WebSites"): "pass",
        ("secrets", "SystemSecrets.JSON"): "pass",
        ("secrets", "wildcard"): "pass",
        ("secrets", "sql-logins"): "pass",
    }
    assert answer.json["rto_seconds"] > 0
    assert list(temporary.iterdir()) == []
    assert drill_server.query("master", "SELECT name FROM sys.databases WHERE database_id > 4") == []
    [result] = kept(backed_up)
    drill_id = result["name"].rpartition("/")[2].removesuffix(".json")
    assert result["version"] == 2
    assert result["point"] == answer.json["point"]
    assert result["seed"] == drill_id
    assert result["rto_seconds"] == answer.json["rto_seconds"]
    assert result["estimated_rto_seconds"] == pytest.approx(result["rto_seconds"], rel=0.01)  # the sample was all
    [share] = [check for check in result["checks"] if check["component"] == "share"]
    assert "3 files" in share["detail"]
    assert f"drawn from 3 files, 50 bytes, by {drill_id}" in share["detail"]
    [done] = exported.named(Event.DRILL_COMPLETED)
    assert (done["point"], done["databases"], done["rto_seconds"]) == (result["point"], 2, result["rto_seconds"])


def test_no_secret_is_written_to_a_disk_or_told(
    backed_up: Site, temporary: Path, monkeypatch: pytest.MonkeyPatch, exported: Exported
) -> None:
    written: list[str] = []
    os_open = os.open

    def watching(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            written.append(os.fsdecode(path))
        return os_open(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", watching)
    answer = backed_up.command("drill")
    assert answer.status == "ok"
    assert CANARY not in orjson.dumps([answer.json, kept(backed_up), exported.events()]).decode() + answer.stderr
    share_files = [path for path in written if path.startswith(str(temporary))]
    assert len(share_files) == 3
    assert [path for path in written if path not in share_files and "secret" in path.casefold()] == []


def test_without_a_drill_server_the_rest_is_drilled_and_a_note_names_the_setting(backed_up: Site) -> None:
    answer = backed_up.command("drill")

    assert (answer.code, answer.status) == (0, "ok")
    assert {component for component, _ in results(answer)} == {"share", "secrets"}
    [note] = [note for note in answer.json["notes"] if "databases" in note]
    assert "LIFEBOAT_DRILL_SQL_SERVER" in note
    [result] = kept(backed_up)
    assert (result["rto_seconds"] > 0, result["estimated_rto_seconds"], result["server"]) == (True, None, None)
    last = backed_up.command("status").json["last_drill"]
    assert (last["drilled"], last["estimated_rto_seconds"]) == (["share", "secrets"], None)


def test_a_point_of_a_share_needs_no_setting_of_sql_server_or_of_a_key_vault(site: Site) -> None:
    site.put()
    assert site.back_up("--only", "share").status == "complete"
    password = site.command("password", "--yes").json["password"]
    site.command.unset("SQL_SERVER", "SQL_USERNAME", "SQL_PASSWORD", "LANDING_URL", "LANDING_KEY", "KEY_VAULT_URL")
    site.command.set(REPOSITORY_PASSWORD=password)

    answer = site.command("drill")

    assert (answer.code, results(answer)) == (0, {("share", "WebSites"): "pass"})
    assert any("no recovery point that is complete and whole" in note for note in answer.json["notes"])


def test_a_flipped_bit_in_a_pack_that_the_sample_needs_fails_the_drill_and_names_the_pack(
    site: Site, temporary: Path, exported: Exported
) -> None:
    (site.command.share / "big.bin").write_bytes(os.urandom(20_000))
    site.put()
    assert site.back_up().status == "complete"
    flip_packs_of_data(site)

    answer = site.command("drill")

    assert (answer.code, answer.status) == (3, "partial")
    assert results(answer)["share", "WebSites"] == "fail"
    [reason] = [each for each in answer.reasons if each.get("path") == "big.bin"]
    assert (reason["component"], reason["code"], reason["object"][:5]) == ("share", "damaged", "data/")
    assert (answer.json["rto_seconds"] > 0, kept(site)[0]["estimated_rto_seconds"]) == (True, None)
    assert list(temporary.iterdir()) == []
    [failed] = exported.named(Event.DRILL_FAILED)
    assert failed["code"] == "damaged"
    [told] = [each for each in site.command("status").reasons if each["code"] == "drill-failed"]
    assert told["component"] == "share"


def test_a_file_that_is_other_than_it_was_on_the_disk_fails_the_drill(
    backed_up: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = LocalTarget._write

    def badly(self: LocalTarget, file: NewFile) -> None:
        write(self, file._replace(data=file.data[:-1] + b"?") if file.path == "c/d.txt" else file)

    monkeypatch.setattr(LocalTarget, "_write", badly)
    answer = backed_up.command("drill")
    [reason] = answer.reasons
    assert (reason["component"], reason["code"], reason["path"]) == ("share", "damaged", "c/d.txt")
    assert "another hash" in reason["message"]


def test_a_full_disk_is_told_once_and_is_no_damage(
    backed_up: Site, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(LocalTarget):
        def _rename(self, temporary: str, path: str, replace: bool) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(drill_share_module, "LocalTarget", Full)
    answer = backed_up.command("drill")
    [reason] = answer.reasons
    assert (reason["component"], reason["code"]) == ("share", "target-failed")
    assert f"the disk of {temporary} is full" in reason["message"]
    assert "TMPDIR" in reason["remedy"]
    assert "LIFEBOAT_DRILL_SHARE_SAMPLE" in reason["remedy"]
    assert results(answer)["secrets", "SystemSecrets.JSON"] == "pass"
    assert list(temporary.iterdir()) == []


def test_a_sample_that_there_is_no_room_for_is_not_begun(backed_up: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(path)._replace(free=100))
    [reason] = backed_up.command("drill").reasons
    assert "has no room for a sample of 50 bytes" in reason["message"]


def test_a_secret_whose_version_is_gone_fails_the_drill_and_the_rest_is_drilled(backed_up: Site) -> None:
    backed_up.key_vault.delete("file-wildcard")

    answer = backed_up.command("drill")

    assert (answer.code, answer.status) == (3, "partial")
    [reason] = answer.reasons
    assert (reason["component"], reason["code"]) == ("secrets", "no-secrets")
    assert results(answer) == {
        ("share", "WebSites"): "pass",
        ("secrets", "SystemSecrets.JSON"): "pass",
        ("secrets", "wildcard"): "fail",
        ("secrets", "sql-logins"): "pass",
    }


def test_a_drill_server_that_does_not_answer_fails_the_databases_and_the_rest_is_drilled(backed_up: Site) -> None:
    backed_up.command.set(DRILL_SQL_SERVER="127.0.0.1,1", DRILL_SQL_USERNAME="nobody", DRILL_SQL_PASSWORD="p")

    answer = backed_up.command("drill")

    assert answer.status == "partial"
    assert {reason["component"] for reason in answer.reasons} == {"databases"}
    assert results(answer)["databases", "databases"] == "fail"
    assert results(answer)["share", "WebSites"] == "pass"


def test_the_sample_keeps_to_its_size_and_its_seed_draws_it_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(60):
        path = site.command.share / f"site{number % 7}" / f"{number}.bin"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(os.urandom(10_000))
    (site.command.share / "huge.bin").write_bytes(os.urandom(200_000))
    site.put()
    point = site.back_up().json["point"]
    site.command.set(DRILL_SHARE_SAMPLE="100K")
    restored: list[set[str]] = []
    write = LocalTarget._write

    def watching(self: LocalTarget, file: NewFile) -> None:
        restored[-1].add(file.path)
        write(self, file)

    monkeypatch.setattr(LocalTarget, "_write", watching)
    seeds: list[str] = []
    for options in ((), (), ("again",)):
        restored.append(set())
        seeds.append(drill_id(site, point, seed=seeds[0] if options else None))
    assert 10 <= len(restored[0]) <= 14  # 100 KiB of files of 10,000 bytes, and three small ones
    assert "huge.bin" not in restored[0]
    assert restored[2] == restored[0] != restored[1]
    assert any("1 file(s) larger than the whole sample, 102,400 bytes" in note for note in kept(site)[0]["notes"])
    assert "drawn from 64 files, 800,050 bytes" in kept(site)[0]["checks"][0]["detail"]


def drill_id(site: Site, point: str, *, seed: str | None) -> str:
    from shared.recovery_point.drill import drill
    from shared.settings import Settings

    done = drill(Settings.from_environment(), point, seed=seed)
    assert done.status == "ok"
    assert done.seed == (seed or done.drill)
    return done.seed


def test_what_a_killed_drill_left_is_deleted_and_told(backed_up: Site, temporary: Path) -> None:
    left = temporary / f"{PREFIX}killed"
    left.mkdir()
    (left / "web.config").write_text("of a tenant")
    moment = left.stat().st_mtime - LEFT_AFTER_SECONDS - 60
    os.utime(left, (moment, moment))

    answer = backed_up.command("drill")

    assert any(str(left) in note for note in answer.json["notes"])
    assert list(temporary.iterdir()) == []


def test_a_complete_and_whole_point_goes_before_a_newer_one_that_is_neither(backed_up: Site) -> None:
    whole = backed_up.command("points").json["points"][0]["point"]
    assert backed_up.back_up("--only", "share").status == "complete"
    newer = backed_up.command("points").json["points"][0]["point"]

    assert backed_up.command("drill").json["point"] == whole
    answer = backed_up.command("drill", "--point", newer)

    assert (answer.json["point"], results(answer)) == (newer, {("share", "WebSites"): "pass"})
    assert [note for note in answer.json["notes"] if "'databases'" in note or "'secrets'" in note]


def test_nothing_that_can_be_drilled_is_wrong_usage_that_says_what_to_do(site: Site) -> None:
    empty = site.command("drill")
    assert (empty.code, empty.codes) == (2, ["wrong-usage"])
    assert "'backup'" in empty.reasons[0]["remedy"]

    point = site.back_up("--only", "databases").json["point"]
    for answer in (site.command("drill"), site.command("drill", "--point", point)):
        assert (answer.code, answer.reasons[0]["setting"]) == (2, "LIFEBOAT_DRILL_SQL_SERVER")
    assert kept(site) == []


def test_the_content_that_is_compared_is_the_content_of_the_share(backed_up: Site, temporary: Path) -> None:
    """Fault: who deletes the folder too early compares nothing."""
    seen: dict[str, str] = {}
    match = drill_share_module._match

    def watching(reader: Any, file: Path, node: Any) -> None:
        match(reader, file, node)
        seen[file.name] = hashlib.sha256(file.read_bytes()).hexdigest()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drill_share_module, "_match", watching)
        assert backed_up.command("drill").status == "ok"
    files = [path for path in backed_up.command.share.rglob("*") if path.is_file()]
    assert seen == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
