"""How things stand: records made by hand, each newer than the one before, and what ``status`` says of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.errors import StorageUnavailable
from shared.recovery_point.catalog import Catalog
from shared.recovery_point.drill_results import put_drill_result
from shared.recovery_point.record import RecoveryPoint
from shared.repository.trees import rfc3339_of
from shared.secrets.files import SYSTEM_SECRETS, SecretFiles, StoredFile
from shared.settings import Settings
from shared.status.health import Health, age_text, judge_health, read_health
from shared.status.history import read
from shared.storage.key_vault import SecretStore
from shared.storage.local_folder import LocalFolderStore
from tests.standins.memory_secrets import MemorySecrets

Json = dict[str, Any]

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
SHARE = {"LIFEBOAT_SHARE_URL": "smb://fs/WebSites"}
SQL = {"LIFEBOAT_SQL_SERVER": "sql01"}
KEY_VAULT = {"LIFEBOAT_KEY_VAULT_URL": "https://kv.vault.azure.net"}
HOSTING, METERING, MASTER = "appservice_hosting", "appservice_metering", "master"
OPERATIONS = "appservice_hosting_Operations"


def ago(**how_long: float) -> str:
    return rfc3339_of(NOW - timedelta(**how_long))


def share(hours: float = 1, status: str = "complete", **other: Any) -> Json:
    return {"status": status, "data_time": ago(hours=hours), **other}


def databases(status: str = "complete", /, **each: Any) -> Json:
    """``hosting=3``: good, three hours old; ``hosting="failed"``."""
    names = {"hosting": HOSTING, "metering": METERING, "master": MASTER}
    return {
        "status": status,
        "requested": [names.get(name, name) for name in each],
        "databases": {
            names.get(name, name): {
                "status": how if isinstance(how, str) else "complete",
                "moment": None if isinstance(how, str) else ago(hours=how),
                "backups": [],
            }
            for name, how in each.items()
        },
    }


def secrets(days: float = 1, status: str = "complete", *, sha256: str = "aa", **other: Any) -> Json:
    moment = ago(days=days)
    component: Json = {
        "status": status,
        "key_vault": KEY_VAULT["LIFEBOAT_KEY_VAULT_URL"],
        "version": "v1",
        "sha256": sha256,
        "uploaded": moment,
        "refreshed": None,
        "confirmed": None,
        "moment": moment,
        "pairing": {"verdict": "fits", "detail": "no password was changed", "rotated": [], "users": [], "hidden": []},
        "certificates": [],
    }
    return component | other


def drifted(rotated_days: float) -> Json:
    return {
        "verdict": "drift",
        "detail": "the secrets were rotated and not saved again",
        "rotated": [f"{HOSTING}.{OPERATIONS}"],
        "users": [{"database": HOSTING, "name": OPERATIONS, "local": "", "modified": ago(days=rotated_days)}],
        "hidden": [],
        "databases_moment": ago(hours=1),
    }


def certificate(days: float, file: str = SYSTEM_SECRETS) -> Json:
    return {"file": file, "subject": "CN=x", "thumbprint": "AB", "not_after": ago(days=-days), "has_key": True}


@dataclass
class Vault:
    records: LocalFolderStore
    key_vault: MemorySecrets
    settings: dict[str, str] = field(default_factory=lambda: dict(SHARE))
    _made: int = 0

    def configure(self, *groups: dict[str, str], **more: str) -> None:
        self.settings = {}
        for group in groups:
            self.settings |= group
        self.settings |= {f"LIFEBOAT_{name}": value for name, value in more.items()}

    def add(self, *, status: str = "complete", whole: bool = True, **other: Any) -> str:
        """A point, newer than those before; its components by their names."""
        components: Json = {name: other.pop(name) for name in ("databases", "share", "secrets") if name in other}
        self._made += 1
        point = RecoveryPoint(
            point=f"20261125T000000Z-{self._made:06x}",
            time=ago(hours=1),
            status=status,
            requested=other.pop("requested", list(components)),
            not_configured=[],
            without=other.pop("without", []),
            whole=whole,
            suspect=any(each.get("suspect") for each in components.values()),
            components=components,
            **other,
        )
        Catalog(self.records).add(point)
        return point.point

    def garbage(self, body: bytes = b"{") -> str:
        self._made += 1
        point = f"20261125T000000Z-{self._made:06x}"
        self.records.put(f"points/{point}.json", body)
        return point

    def upload(self, content: bytes = b"{}", **ago_: float) -> StoredFile:
        put = SecretFiles(self.key_vault).put(
            SYSTEM_SECRETS, content, filename="SystemSecrets.JSON", remind_after=None, now=NOW - timedelta(**ago_)
        )
        return put.file

    def confirm(self, **ago_: float) -> None:
        SecretFiles(self.key_vault).confirm(SYSTEM_SECRETS, remind_after=None, now=NOW - timedelta(**ago_))

    def look(self, key_vault: Callable[[], SecretStore | None] | None = None) -> Health:
        return judge_health(Settings(self.settings), self.records, key_vault or (lambda: self.key_vault), NOW)

    def component(self, name: str) -> Json:
        found: Json = self.look().to_json()["components"][name]
        return found


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(LocalFolderStore(tmp_path), MemorySecrets())


def codes(health: Health) -> list[str]:
    return [reason["code"] for reason in health.reasons]


def named(**components: Json) -> Json:
    """For components whose name is that of the helper."""
    return components


# --- age and allowed age ---


def test_a_share_is_as_old_as_the_moment_that_its_snapshot_stands_for(vault: Vault) -> None:
    point = vault.add(share=share(hours=3))
    health = vault.look()
    assert (health.status, health.exit_code, health.reasons) == ("ok", 0, ())
    assert vault.component("share") == {
        "newest": point,
        "moment": ago(hours=3),
        "age_seconds": 3 * 3600.0,
        "rpo_seconds": 26 * 3600,
        "late": False,
        "passed_over": [],
        "notes": [],
    }


def test_exactly_as_old_as_allowed_is_in_time_and_a_second_more_is_late(vault: Vault) -> None:
    vault.configure(SHARE, RPO_SHARE="3h")
    vault.add(share=share(hours=3))
    assert vault.look().status == "ok"
    vault.configure(SHARE, RPO_SHARE="10799s")
    health = vault.look()
    assert (health.status, health.exit_code, codes(health)) == ("late", 1, ["late"])


def test_a_late_share_says_how_old_which_point_and_what_to_do(vault: Vault) -> None:
    point = vault.add(share=share(hours=27.5))
    (reason,) = vault.look().reasons
    assert (reason["component"], reason["code"]) == ("share", "late")
    assert "27 h 30 min old and may be 26 h" in reason["message"]
    assert point in reason["message"]
    assert reason["remedy"] == "Run 'backup'."


def test_each_component_has_an_allowed_age_of_its_own(vault: Vault) -> None:
    vault.configure(SHARE, SQL, KEY_VAULT, SQL_DATABASES=HOSTING)
    vault.add(**named(share=share(), databases=databases(hosting=1), secrets=secrets(days=89)))
    health = vault.look().to_json()
    assert {name: each["rpo_seconds"] for name, each in health["components"].items()} == {
        "databases": 26 * 3600,
        "share": 26 * 3600,
        "secrets": 90 * 86_400,
    }
    assert health["status"] == "ok"


def test_a_component_that_was_never_backed_up_has_no_age_and_is_late(vault: Vault) -> None:
    found = vault.component("share")
    assert (found["newest"], found["age_seconds"], found["late"]) == (None, None, True)
    (reason,) = vault.look().reasons
    assert reason["message"] == "there is no good backup of the share"
    assert "backup" in reason["remedy"]


def test_a_moment_ahead_of_the_clock_has_no_age_below_zero_and_a_note(vault: Vault) -> None:
    vault.add(share=share(hours=-0.05))
    found = vault.component("share")
    assert (found["age_seconds"], found["late"]) == (0.0, False)
    assert "3 min ahead of the clock" in found["notes"][0]
    assert vault.look().reasons == ()


def test_a_moment_far_ahead_is_a_clock_that_is_wrong_and_is_told_as_a_reason(vault: Vault) -> None:
    vault.add(share=share(hours=-24 * 365))
    health = vault.look()
    assert (health.status, codes(health)) == ("ok", ["clock-differs"])
    assert "cannot be told" in health.reasons[0]["message"]


# --- what is good ---


@pytest.mark.parametrize(
    "bad",
    [
        share(0.5, "partial"),
        share(0.5, "failed"),
        {"status": "failed", "snapshot": None},
        share(0.5, "failed", suspect=True),
        share(0.5, "complete", suspect=True),
    ],
)
def test_what_is_not_good_is_passed_over_and_named(vault: Vault, bad: Json) -> None:
    good = vault.add(share=share(hours=3))
    newer = vault.add(status="partial", share=bad)
    found = vault.component("share")
    assert (found["newest"], found["late"]) == (good, False)
    assert [each["point"] for each in found["passed_over"]] == [newer]
    health = vault.look()
    assert (health.status, health.reasons) == ("ok", ())
    assert any(newer in note and good in note for note in health.notes)


def test_a_late_component_names_newer_points_that_are_not_good_and_where_to_look(vault: Vault) -> None:
    vault.add(share=share(hours=30))
    newer = [vault.add(status="failed", share=share(1, "failed")) for _ in range(5)]
    (reason,) = vault.look().reasons
    assert (
        f"newer and not good: {newer[4]} (failed), {newer[3]} (failed), {newer[2]} (failed) and 2 more"
        in (reason["message"])
    )
    assert f"show {newer[4]}" in reason["remedy"]


def test_good_backups_count_in_points_that_are_not_whole_or_are_partial(vault: Vault) -> None:
    vault.configure(SHARE, SQL, SQL_DATABASES=HOSTING)
    vault.add(**named(share=share(30), databases=databases(hosting=30)))
    only_share = vault.add(whole=False, share=share(2))
    partial = vault.add(status="partial", **named(share=share(1, "partial"), databases=databases(hosting=1)))
    components = vault.look().to_json()["components"]
    assert components["share"]["newest"] == only_share
    assert components["databases"]["newest"] == partial
    assert vault.look().status == "ok"


def test_a_suspect_share_does_not_spoil_the_databases_of_its_point(vault: Vault) -> None:
    vault.configure(SHARE, SQL, SQL_DATABASES=HOSTING)
    vault.add(**named(share=share(3), databases=databases(hosting=3)))
    suspect = vault.add(**named(share=share(1, "failed", suspect=True), databases=databases(hosting=1)))
    components = vault.look().to_json()["components"]
    assert components["databases"]["newest"] == suspect
    assert components["share"]["newest"] != suspect


# --- databases ---


def test_databases_are_as_old_as_the_oldest_of_them(vault: Vault) -> None:
    vault.configure(SQL)
    old = vault.add(databases=databases(hosting=20, metering=20, master=20))
    new = vault.add(status="partial", databases=databases("partial", hosting=1, metering="failed", master=1))
    found = vault.component("databases")
    assert (found["newest"], found["age_seconds"], found["late"]) == (old, 20 * 3600.0, False)
    assert {name: each["newest"] for name, each in found["databases"].items()} == {
        HOSTING: new,
        METERING: old,
        MASTER: new,
    }
    assert {"newest", "age_seconds", "rpo_seconds", "late", "moment"} <= found["databases"][HOSTING].keys()


def test_one_late_database_makes_its_component_late_and_is_named(vault: Vault) -> None:
    vault.configure(SQL)
    vault.add(databases=databases(hosting=1, metering=40, master=1))
    health = vault.look()
    assert (health.status, [reason.get("database") for reason in health.reasons]) == ("late", [METERING])
    assert vault.component("databases")["late"]
    assert not vault.component("databases")["databases"][HOSTING]["late"]


def test_a_database_that_was_never_backed_up_leaves_the_component_without_a_good_backup(vault: Vault) -> None:
    vault.configure(SQL)
    vault.add(databases=databases("partial", hosting=1, metering=1, master="failed"))
    found = vault.component("databases")
    assert (found["newest"], found["age_seconds"], found["late"]) == (None, None, True)
    assert found["databases"][HOSTING]["late"] is False
    assert [reason["database"] for reason in vault.look().reasons] == [MASTER]


def test_log_backups_make_a_database_younger(vault: Vault) -> None:
    vault.configure(SQL, SQL_DATABASES=f"{HOSTING},{METERING}")
    full = vault.add(databases=databases(hosting=20, metering=20))
    logs = databases(hosting=0.25)
    logs["requested"] = [HOSTING, METERING]
    by_logs = vault.add(whole=False, databases=logs)
    found = vault.component("databases")["databases"]
    assert (found[HOSTING]["newest"], found[METERING]["newest"]) == (by_logs, full)
    assert found[METERING]["passed_over"] == [], "a run of logs says nothing of a database without a chain of ours"


def test_databases_of_a_component_that_failed_do_not_count_though_they_look_complete(vault: Vault) -> None:
    """The lock was lost: what was stored may have been pruned since."""
    vault.configure(SQL, SQL_DATABASES=HOSTING)
    good = vault.add(databases=databases(hosting=5))
    vault.add(status="failed", databases=databases("failed", hosting=1))
    assert vault.component("databases")["newest"] == good


def test_a_server_that_could_not_be_reached_is_passed_over_for_each_database(vault: Vault) -> None:
    vault.configure(SQL, SQL_DATABASES=HOSTING)
    vault.add(databases=databases(hosting=5))
    away = vault.add(
        status="failed", databases={"status": "failed", "requested": [HOSTING], "databases": {}, "server": None}
    )
    (passed_over,) = vault.component("databases")["databases"][HOSTING]["passed_over"]
    assert passed_over == {"point": away, "status": "failed"}


def test_the_tail_of_a_log_that_a_restore_replaced_is_no_backup_of_what_is_there_now(vault: Vault) -> None:
    vault.configure(SQL, SQL_DATABASES=HOSTING)
    good = vault.add(databases=databases(hosting=5))
    vault.add(whole=False, databases=databases(hosting=1) | {"tail_of_restore": good})
    found = vault.component("databases")["databases"][HOSTING]
    assert (found["newest"], found["passed_over"]) == (good, [])


def test_names_of_databases_are_the_same_in_any_case(vault: Vault) -> None:
    vault.configure(SQL, SQL_DATABASES="AppService_Hosting")
    vault.add(databases=databases(hosting=5))
    assert list(vault.component("databases")["databases"]) == ["AppService_Hosting"]
    assert vault.look().status == "ok"


# --- which components and databases ---


def test_where_nothing_is_configured_the_newest_whole_point_says_what_there_should_be(vault: Vault) -> None:
    vault.configure()
    vault.add(**named(share=share(40), databases=databases(hosting=1, metering=1), secrets=secrets()))
    vault.add(whole=False, share=share(30))
    health = vault.look()
    assert [each.name for each in health.components] == ["databases", "share", "secrets"]
    assert list(vault.component("databases")["databases"]) == [HOSTING, METERING]
    (reason,) = health.reasons
    assert reason["remedy"] == "Run 'backup' where this is configured."


def test_a_component_that_is_not_configured_any_more_is_still_looked_at(vault: Vault) -> None:
    vault.add(**named(share=share(40), databases=databases(hosting=40)))
    vault.add(whole=False, share=share(1), gone=["databases"])
    health = vault.look()
    assert [reason["component"] for reason in health.reasons] == ["databases"]
    assert f"--without {HOSTING}" in health.reasons[0]["remedy"]


def test_a_component_that_was_accepted_as_missing_is_not_looked_at(vault: Vault) -> None:
    vault.add(**named(share=share(40), databases=databases(hosting=40)))
    vault.add(share=share(1), without=["databases"])
    health = vault.look()
    assert ([each.name for each in health.components], health.status) == (["share"], "ok")


def test_a_database_that_is_not_configured_any_more_is_looked_at_until_its_absence_is_accepted(vault: Vault) -> None:
    vault.configure(SQL, SQL_DATABASES=HOSTING)
    vault.add(databases=databases(hosting=40, metering=40))
    vault.add(whole=False, databases=databases(hosting=1), gone=[METERING])
    (reason,) = vault.look().reasons
    assert (reason["database"], f"backup --without {METERING}" in reason["remedy"]) == (METERING, True)
    vault.add(databases=databases(hosting=1), without=[METERING])
    assert vault.look().status == "ok"


def test_without_any_whole_point_the_newest_says_what_there_should_be(vault: Vault) -> None:
    vault.configure()
    vault.add(whole=False, share=share(1))
    assert [each.name for each in vault.look().components] == ["share"]


def test_nothing_configured_and_no_point_is_never_ok(vault: Vault) -> None:
    vault.configure()
    health = vault.look()
    assert (health.status, health.exit_code, health.components) == ("late", 1, ())
    assert "LIFEBOAT_VAULT_URL" in health.reasons[0]["remedy"]


def test_a_login_is_not_needed_to_ask(vault: Vault) -> None:
    vault.configure(SQL)
    vault.add(databases=databases(hosting=1, metering=1, master=1))
    assert vault.look().status == "ok"


# --- reading ---


def test_records_are_read_only_as_far_back_as_needed() -> None:
    asked = 0

    def points() -> Any:  # a generator of records, counted
        nonlocal asked
        for number in range(100, 0, -1):
            asked += 1
            yield RecoveryPoint(
                point=f"20261125T000000Z-{number:06x}",
                time=ago(hours=1),
                status="complete",
                requested=["share"],
                not_configured=[],
                without=[],
                whole=number == 90,
                suspect=False,
                components={"share": share(1, "complete" if number < 98 else "failed")},
            )

    history = read(points(), {"share": ()})
    assert asked == 11, "as far as the newest whole point"
    assert history.good["share", ""].point.endswith("000061")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"version": 99}',
        b'{"version":1,"point":"20261125T000000Z-ffffff","time":"","status":"complete","requested":["share"],'
        b'"not_configured":[],"without":[],"whole":true,"suspect":false,"components":[]}',
        b'{"version":1,"point":"20261125T000000Z-ffffff","time":"","status":"complete","requested":null,'
        b'"not_configured":[],"without":[],"whole":true,"suspect":false,"components":{}}',
        b'{"version":1,"point":"20261125T000000Z-ffffff","time":"","status":"complete","requested":["share"],'
        b'"not_configured":[],"without":[],"whole":true,"suspect":false,'
        b'"components":{"share":{"status":"complete","data_time":"tomorrow"}}}',
        b'{"version":1,"point":"20261125T000000Z-ffffff","time":"","status":"complete","requested":["databases"],'
        b'"not_configured":[],"without":[],"whole":true,"suspect":false,'
        b'"components":{"databases":{"status":"complete","databases":{"x":null}}}}',
    ],
)
def test_a_record_that_cannot_be_read_is_told_and_the_others_count(vault: Vault, body: bytes) -> None:
    good = vault.add(share=share(1))
    vault.garbage(body)
    health = vault.look()
    assert (health.status, codes(health)) == ("ok", ["damaged"])
    assert vault.component("share")["newest"] == good
    assert "points/20261125T000000Z-" in health.reasons[0]["object"]


# --- secrets: age ---


def test_a_later_confirmation_in_the_key_vault_counts_at_once(vault: Vault) -> None:
    vault.configure(KEY_VAULT)
    file = vault.upload(days=100)
    vault.add(secrets=secrets(days=100, sha256=file.sha256))
    assert (vault.look().status, codes(vault.look())) == ("late", ["late"])
    assert "secrets confirm" in vault.look().reasons[0]["remedy"]
    vault.confirm(days=2)
    assert vault.component("secrets")["age_seconds"] == 2 * 86_400.0
    assert vault.look().status == "ok"


def test_an_upload_that_no_point_names_yet_does_not_make_the_newest_point_younger(vault: Vault) -> None:
    vault.configure(KEY_VAULT)
    vault.add(secrets=secrets(days=100, sha256="of others"))
    vault.upload(days=1)
    health = vault.look()
    assert health.status == "late"
    assert any("uploaded anew" in note and "next 'backup'" in note for note in health.notes)


def test_a_key_vault_that_cannot_be_read_is_told_and_the_records_word_stands(vault: Vault) -> None:
    vault.configure(KEY_VAULT)
    vault.add(secrets=secrets(days=3))

    def away() -> SecretStore:
        raise StorageUnavailable("the Key Vault does not answer", remedy="Look at the network.")

    health = vault.look(away)
    assert (health.status, codes(health)) == ("ok", ["storage-unavailable"])
    assert health.reasons[0]["component"] == "secrets"
    assert health.drift is not None
    assert health.drift.verdict == "fits"


def test_secrets_that_are_gone_from_the_key_vault_are_told(vault: Vault) -> None:
    vault.configure(KEY_VAULT)
    point = vault.add(secrets=secrets(days=3))
    health = vault.look()
    assert codes(health) == ["no-secrets"]
    assert health.drift is not None
    assert (health.drift.verdict, health.drift.point) == ("unknown", point), "nothing fits that is not there"
    assert "no current SystemSecrets.JSON" in health.drift.detail


def test_drift_stays_drift_when_the_secrets_are_gone(vault: Vault) -> None:
    vault.configure(KEY_VAULT)
    vault.add(secrets=secrets(10, "partial", pairing=drifted(rotated_days=2)))
    assert {"no-secrets", "drift"} <= set(codes(vault.look()))


def test_another_key_vault_than_that_of_the_points_is_not_asked(vault: Vault) -> None:
    vault.configure({"LIFEBOAT_KEY_VAULT_URL": "https://another.vault.azure.net"})
    vault.add(secrets=secrets(days=3))
    health = vault.look()
    assert (health.status, health.reasons) == ("ok", ())
    assert any("https://kv.vault.azure.net" in note for note in health.notes)


# --- secrets: drift ---


def test_drift_is_a_reason_and_does_not_make_the_status_late(vault: Vault) -> None:
    vault.configure(KEY_VAULT)
    file = vault.upload(days=10)
    good = vault.add(secrets=secrets(days=10, sha256=file.sha256))
    point = vault.add(
        secrets=secrets(10, "partial", sha256=file.sha256, version=file.version, pairing=drifted(rotated_days=2))
    )
    health = vault.look()
    assert (health.status, codes(health)) == ("ok", ["drift"])
    drift = health.to_json()["drift"]
    assert (drift["verdict"], drift["point"], drift["rotated"]) == ("drift", point, [f"{HOSTING}.{OPERATIONS}"])
    assert "secrets put" in health.reasons[0]["remedy"]
    assert vault.component("secrets")["newest"] == good, "a point under drift is not good"


@pytest.mark.parametrize("how", ["upload", "confirm"])
def test_drift_is_cleared_at_once_by_new_bytes_or_a_confirmation(vault: Vault, how: str) -> None:
    vault.configure(KEY_VAULT)
    file = vault.upload(days=10)
    vault.add(secrets=secrets(10, "partial", sha256=file.sha256, version=file.version, pairing=drifted(rotated_days=2)))
    vault.upload(b'{"new": 1}', days=1) if how == "upload" else vault.confirm(days=1)
    drift = vault.look().drift
    assert drift is not None
    assert (drift.verdict, drift.rotated) == ("fits", ())
    assert f"{how}ed after" in drift.detail
    assert "next 'backup'" in drift.detail
    assert "drift" not in codes(vault.look())


def test_the_same_bytes_again_do_not_clear_drift(vault: Vault) -> None:
    vault.configure(KEY_VAULT)
    file = vault.upload(days=10)
    vault.add(secrets=secrets(10, "partial", sha256=file.sha256, version=file.version, pairing=drifted(rotated_days=2)))
    SecretFiles(vault.key_vault).refresh(file, remind_after=None, now=NOW)
    assert "drift" in codes(vault.look())


def test_an_upload_from_before_the_rotation_does_not_clear_drift(vault: Vault) -> None:
    vault.configure(KEY_VAULT)
    vault.add(secrets=secrets(10, "partial", pairing=drifted(rotated_days=2)))
    vault.upload(b'{"other": 1}', days=5)
    drift = vault.look().drift
    assert drift is not None
    assert drift.verdict == "drift"


def finding(days: float) -> Json:
    """Databases that were brought back: their users alone show nothing any more."""
    at = ago(days=days)
    memory = {"at": at, "known": [], "open": {"at": at, "verdict": "drift", "detail": "", "rotated": []}}
    return drifted(rotated_days=20) | {"detail": "databases were brought back", "memory": memory}


def test_bytes_that_were_here_before_do_not_clear_a_finding_until_they_are_confirmed(vault: Vault) -> None:
    """They are as old as when they first came."""
    vault.configure(KEY_VAULT)
    vault.upload(b'{"first": 1}', days=12)
    file = vault.upload(b'{"second": 1}', days=10)
    vault.add(secrets=secrets(10, "partial", sha256=file.sha256, version=file.version, pairing=finding(days=2)))
    again = vault.upload(b'{"first": 1}', days=1)
    assert again.version != file.version
    drift = vault.look().drift
    assert drift is not None
    assert drift.verdict == "drift"
    assert drift.detail.startswith("databases were brought back")
    vault.confirm(days=0.5)
    assert "drift" not in codes(vault.look())


def test_what_was_said_before_a_finding_was_made_does_not_answer_it(vault: Vault) -> None:
    """The point that made it had read the Key Vault before that."""
    vault.configure(KEY_VAULT)
    file = vault.upload(days=10)
    vault.add(secrets=secrets(10, "partial", sha256=file.sha256, version=file.version, pairing=finding(days=2)))
    vault.confirm(days=3)
    assert "drift" in codes(vault.look())
    vault.confirm(days=1)
    assert "drift" not in codes(vault.look())


def test_bytes_from_before_a_rotation_that_are_put_back_are_drift_at_once(vault: Vault) -> None:
    vault.configure(KEY_VAULT)
    vault.upload(b'{"first": 1}', days=12)
    file = vault.upload(b'{"second": 1}', days=10)
    fits = drifted(rotated_days=11) | {"verdict": "fits", "rotated": []}
    vault.add(secrets=secrets(10, sha256=file.sha256, version=file.version, pairing=fits))
    assert codes(vault.look()) == []
    vault.upload(b'{"first": 1}', days=1)
    health = vault.look()
    assert codes(health) == ["drift"]
    assert "put in the place of" in health.reasons[0]["message"]


def test_a_confirmation_that_is_yet_to_come_clears_nothing(vault: Vault) -> None:
    vault.configure(KEY_VAULT)
    file = vault.upload(days=10)
    vault.add(secrets=secrets(10, sha256=file.sha256, version=file.version, pairing=finding(days=2)))
    vault.confirm(days=-1)
    drift = vault.look().drift
    assert drift is not None
    assert drift.verdict == "unknown"


def test_what_a_point_said_of_the_secrets_is_said_with_when_that_was(vault: Vault) -> None:
    vault.configure()
    vault.add(secrets=secrets())
    drift = vault.look().drift
    assert drift is not None
    assert drift.detail == "no password was changed (as of the backup of 2026-11-25 11:00Z)"


def test_a_confirmation_does_not_hide_that_users_could_not_be_seen(vault: Vault) -> None:
    vault.configure(KEY_VAULT)
    file = vault.upload(days=10)
    hidden = {"verdict": "unknown", "detail": "", "rotated": [], "users": [], "hidden": ["VIEW DEFINITION is missing"]}
    vault.add(secrets=secrets(10, sha256=file.sha256, version=file.version, pairing=hidden))
    vault.confirm(days=1)
    drift = vault.look().drift
    assert drift is not None
    assert drift.verdict == "unknown"
    assert "VIEW DEFINITION" in drift.detail


def test_the_newest_point_that_has_a_pairing_is_the_one_that_counts(vault: Vault) -> None:
    vault.configure()
    fits = vault.add(secrets=secrets())
    vault.add(status="failed", secrets={"status": "failed", "key_vault": None, "certificates": []})
    drift = vault.look().drift
    assert drift is not None
    assert drift.point == fits


def test_where_secrets_were_never_looked_at_there_is_no_drift(vault: Vault) -> None:
    vault.add(share=share())
    assert vault.look().to_json()["drift"] is None


# --- expiries ---


def test_certificates_that_end_within_the_warning_time_are_named_soonest_first(vault: Vault) -> None:
    vault.configure()
    vault.add(secrets=secrets(certificates=[certificate(59.5), certificate(61), certificate(-0.1, "tde")]))
    health = vault.look()
    assert [(each["file"], each["days"]) for each in health.to_json()["expiries"]] == [
        ("tde", -1),
        (SYSTEM_SECRETS, 59),
    ]
    assert (health.status, codes(health)) == ("ok", ["certificate-expires"] * 2)
    assert "has expired" in health.reasons[0]["message"]
    assert "--name tde" in health.reasons[0]["remedy"]


def test_how_soon_is_told_from_now_and_from_the_settings_of_here(vault: Vault) -> None:
    vault.configure(EXPIRY_WARNING="70d")
    vault.add(secrets=secrets(certificates=[certificate(61)], expiring=[]))
    assert [each.days for each in vault.look().expiries] == [61]


def test_certificates_are_those_of_the_newest_point_that_could_read_the_secrets(vault: Vault) -> None:
    vault.configure()
    vault.add(secrets=secrets(certificates=[certificate(5)]))
    vault.add(status="failed", secrets={"status": "failed", "key_vault": None, "certificates": []})
    assert [each.days for each in vault.look().expiries] == [5]
    vault.add(secrets=secrets(certificates=[]))
    assert vault.look().expiries == ()


# --- drills ---


def drilled(vault: Vault, point: str, status: str = "ok", **ago_: float) -> None:
    put_drill_result(vault.records, point, NOW - timedelta(**ago_), {"status": status, "rto_seconds": 12.5})


def test_the_last_drill_is_the_newest_of_any_point(vault: Vault) -> None:
    older, newer = vault.add(share=share()), vault.add(share=share())
    drilled(vault, newer, days=9)
    drilled(vault, older, days=2)
    assert vault.look().to_json()["last_drill"] == {
        "point": older,
        "time": ago(days=2),
        "status": "ok",
        "rto_seconds": 12.5,
        "estimated_rto_seconds": None,
        "drilled": [],
        "age_seconds": 2 * 86_400.0,
    }


def test_a_drill_that_failed_is_a_reason_and_does_not_make_the_status_late(vault: Vault) -> None:
    drilled(vault, vault.add(share=share()), "failed", days=1)
    assert (vault.look().status, codes(vault.look())) == ("ok", ["drill-failed"])


def test_the_last_drill_says_what_it_drilled_what_failed_and_what_all_would_take(vault: Vault) -> None:
    point = vault.add(share=share())
    checks = [{"component": "share", "result": "fail"}, {"component": "secrets", "result": "pass"}]
    document = {"status": "partial", "rto_seconds": 3.5, "estimated_rto_seconds": 60.0, "checks": checks}
    put_drill_result(vault.records, point, NOW, document | {"reasons": [{"component": "share", "code": "damaged"}]})

    health = vault.look()

    last = health.to_json()["last_drill"]
    assert (last["drilled"], last["estimated_rto_seconds"]) == (["share", "secrets"], 60.0)
    assert (health.reasons[0]["component"], health.reasons[0]["message"][-14:]) == ("share", "partial: share")


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"{}", b'{"version": 2}', b'{"version":1,"point":"p","time":"x","status":"ok","rto_seconds":1}'],
)
def test_a_drills_result_that_cannot_be_read_is_told_and_the_one_before_counts(vault: Vault, body: bytes) -> None:
    point = vault.add(share=share())
    drilled(vault, point, days=2)
    vault.records.put(f"drills/{point}/20991125T000000Z-000000.json", body)
    health = vault.look()
    assert health.last_drill is not None
    assert health.last_drill.result.time == NOW - timedelta(days=2)
    assert codes(health) == ["damaged"]
    assert "drills/" in health.reasons[0]["object"]


def test_without_drills_and_verifications_there_is_none_of_them(vault: Vault) -> None:
    vault.add(share=share())
    health = vault.look().to_json()
    assert (health["last_drill"], health["last_verification"]) == (None, None)


# --- in one line ---


def test_ok_is_said_only_where_everything_is_well(vault: Vault) -> None:
    vault.add(share=share())
    assert vault.look().headline == "ok: each component has a good backup that is young enough"
    vault.garbage()
    assert vault.look().headline == "in time, but not well: damaged"


def test_what_is_in_time_and_not_well_says_why_and_its_exit_code_is_that_of_what_is_in_time(vault: Vault) -> None:
    vault.configure(SHARE, KEY_VAULT, SCHEDULE_BACKUP="hourly")
    vault.add(**named(share=share(), secrets=secrets(10)))
    vault.add(secrets=secrets(10, "partial", pairing=drifted(rotated_days=2)), whole=False)
    vault.garbage()
    vault.garbage()
    health = vault.look()
    assert (health.status, health.exit_code, health.is_well) == ("ok", 0, False)
    assert health.headline == "in time, but not well: no-secrets; drift; damaged; wrong-setting"


def test_what_is_late_is_named(vault: Vault) -> None:
    vault.add(share=share(30))
    assert vault.look().headline == "late: share"


def test_a_schedule_that_is_none_is_told_with_its_setting(vault: Vault) -> None:
    """Its timer is not there: nothing else says so before something is late."""
    vault.configure(SHARE, SCHEDULE_DRILL="sundays")
    vault.add(share=share())
    (reason,) = vault.look().reasons
    assert (reason["component"], reason["code"]) == ("lifeboat", "wrong-setting")
    assert "LIFEBOAT_SCHEDULE_DRILL" in reason["message"]


# --- whatever happens ---

KEYS = {"status", "reasons", "components", "drift", "expiries", "last_verification", "last_drill"}


@pytest.mark.parametrize(
    ("settings", "exit_code", "code"),
    [
        ({}, 2, "wrong-setting"),
        ({"LIFEBOAT_RPO_SHARE": "soon"}, 2, "wrong-setting"),
        ({"LIFEBOAT_VAULT_URL": "@Microsoft.KeyVault(SecretUri=x)"}, 2, "wrong-setting"),
    ],
)
def test_all_keys_are_there_where_nothing_could_be_looked_at(
    settings: dict[str, str], exit_code: int, code: str
) -> None:
    health = read_health(Settings(SHARE | settings), now=NOW)
    answer = health.to_json()
    assert answer.keys() >= KEYS
    assert (answer["status"], health.exit_code, codes(health)) == ("late", exit_code, [code])


def test_what_nobody_could_look_at_is_never_in_time() -> None:
    components = read_health(Settings(SHARE | SQL), now=NOW).to_json()["components"]
    assert components["share"]["late"]
    assert components["share"]["newest"] is None
    assert list(components["databases"]["databases"]) == [HOSTING, METERING, MASTER]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3600, "1 h"),
        (26 * 3600, "26 h"),
        (3660, "1 h 01 min"),
        (90 * 86_400, "90 d"),
        (76 * 3600, "3 d 4 h"),
    ],
)
def test_ages_are_told_as_people_do(seconds: float, text: str) -> None:
    assert age_text(seconds) == text
