"""``status``: how old the newest good backups are, from a vault that ``backup`` has written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.recovery_point.drill_results import put_drill_result
from shared.recovery_point.record import RecoveryPoint
from shared.repository.trees import rfc3339_of
from tests.conftest import Vault
from tests.integration.commandline.conftest import KEYS, CommandLine


def age(vault: Vault, point: str, **how_long: float) -> None:
    """The same record, of a share that was read so long ago."""
    name = f"points/{point}.json"
    with vault.judge("recovery-points") as store:
        record = RecoveryPoint.from_bytes(store.get(name), name)
        record.components["share"]["data_time"] = rfc3339_of(datetime.now(UTC) - timedelta(**how_long))
        store.delete(name)
        store.put(name, record.to_bytes())


def test_after_a_backup_everything_is_in_time(lifeboat_in: CommandLine) -> None:
    point = lifeboat_in("backup").json["point"]

    answer = lifeboat_in("status")

    assert (answer.code, answer.status, answer.reasons) == (0, "ok", [])
    share = answer.json["components"]["share"]
    assert (share["newest"], share["late"], share["rpo_seconds"]) == (point, False, 26 * 3600)
    assert share["age_seconds"] >= 0
    assert (answer.json["drift"], answer.json["expiries"], answer.json["last_drill"]) == (None, [], None)


def test_a_share_that_is_older_than_allowed_is_late_and_the_exit_code_is_1(
    lifeboat_in: CommandLine, vault: Vault
) -> None:
    point = lifeboat_in("backup").json["point"]
    age(vault, point, hours=27)

    answer = lifeboat_in("status")

    assert (answer.code, answer.status, answer.codes) == (1, "late", ["late"])
    assert point in answer.reasons[0]["message"]
    assert answer.reasons[0]["remedy"] == "Run 'backup'."
    lifeboat_in.set(RPO_SHARE="28h")
    assert lifeboat_in("status").code == 0


def test_a_partial_backup_does_not_make_the_share_younger(lifeboat_in: CommandLine, vault: Vault) -> None:
    good = lifeboat_in("backup").json["point"]
    age(vault, good, hours=27)
    for path in lifeboat_in.share.rglob("*.html"):
        path.unlink()
    failed = lifeboat_in("backup")
    assert failed.codes == ["share-shrank"]

    answer = lifeboat_in("status")

    assert (answer.code, answer.json["components"]["share"]["newest"]) == (1, good)
    assert failed.json["point"] in answer.reasons[0]["message"]


def test_before_the_first_backup_everything_configured_is_late(lifeboat_in: CommandLine) -> None:
    answer = lifeboat_in("status")

    assert (answer.code, answer.status) == (1, "late")
    assert KEYS["status"] <= answer.json.keys()
    assert answer.json["components"]["share"]["newest"] is None


def test_who_has_only_the_vaults_settings_is_told_of_what_the_newest_whole_point_has(lifeboat_in: CommandLine) -> None:
    point = lifeboat_in("backup").json["point"]
    lifeboat_in.unset("SHARE_URL", "REPOSITORY_PASSWORD")

    answer = lifeboat_in("status")

    assert (answer.code, answer.json["components"]["share"]["newest"]) == (0, point)


def test_a_vault_without_containers_is_told_with_all_keys(lifeboat_in: CommandLine, vault: Vault) -> None:
    for container in vault.containers:
        with vault.judge(container) as store:
            store.delete_container()

    answer = lifeboat_in("status")

    assert (answer.code, answer.status, answer.codes) == (10, "late", ["no-container"])
    assert KEYS["status"] <= answer.json.keys()
    assert answer.json["components"]["share"]["late"] is True


def test_a_vault_that_does_not_answer_is_told_with_all_keys(lifeboat_in: CommandLine) -> None:
    lifeboat_in.settings.setattr("shared.storage.vault.FIRST_ANSWER_SECONDS", 0.1)
    lifeboat_in.set(VAULT_URL="http://127.0.0.1:1/account")

    answer = lifeboat_in("status")

    assert (answer.code, answer.status, answer.codes) == (1, "late", ["storage-unavailable"])
    assert KEYS["status"] <= answer.json.keys()


@pytest.mark.parametrize(("setting", "value"), [("RPO_SHARE", "soon"), ("VAULT_URL", "not a url")])
def test_a_setting_that_is_wrong_is_told_with_all_keys(lifeboat_in: CommandLine, setting: str, value: str) -> None:
    lifeboat_in.set(**{setting: value})

    answer = lifeboat_in("status")

    assert (answer.code, answer.status, answer.codes) == (2, "late", ["wrong-setting"])
    assert KEYS["status"] <= answer.json.keys()


def test_people_get_a_table_and_what_to_do(lifeboat_in: CommandLine, vault: Vault) -> None:
    point = lifeboat_in("backup").json["point"]
    with vault.judge("recovery-points") as store:
        put_drill_result(store, point, datetime.now(UTC), {"status": "ok", "rto_seconds": 61.0})

    code, out, _ = lifeboat_in.people("status")

    assert code == 0
    assert point in out
    assert "26 h" in out
    assert "last drill: ok" in out
    assert "1 min 01 s" in out
    assert out.splitlines()[-1].startswith("ok: ")

    age(vault, point, days=3)
    code, out, err = lifeboat_in.people("status")

    assert code == 1
    assert "3 d" in out
    assert out.splitlines()[-1] == "late: share"
    assert "late: the newest good backup of the share is 3 d old and may be 26 h" in err
    assert "Run 'backup'." in err
