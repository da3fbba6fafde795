"""The secrets as part of a recovery point: which version, how old, and whether it fits the databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.recovery_point import backup
from shared.recovery_point.secrets import SecretsComponent, put_secrets
from shared.repository.locks import HeldLock
from shared.settings import Settings
from tests.integration.databases.conftest import BACKUP_PERMISSIONS, HOSTING, backup_login
from tests.integration.secrets.conftest import OPERATIONS, SYSTEM_SECRETS, Site
from tests.standins.certificate_files import make_certificate_file
from tests.standins.keyvault import Throttling


def test_a_point_of_all_three_components_is_complete_whole_and_fits(site: Site) -> None:
    put = site.put().json
    answer = site.back_up()
    assert (answer.code, answer.status, answer.json["whole"]) == (0, "complete", True), answer.reasons
    secrets = site.component(answer)
    assert (secrets["name"], secrets["version"], secrets["sha256"]) == (put["name"], put["version"], put["sha256"])
    assert secrets["pairing"]["verdict"] == "fits", secrets["pairing"]
    assert {user["name"] for user in secrets["pairing"]["users"]} == {
        OPERATIONS,
        "appservice_hosting_Publisher",
        "appservice_metering_Common",
    }, "workers' users come and go, and are not looked at"
    assert secrets["age_seconds"] >= 0
    assert answer.json["components"]["secrets"]["pairing"]["verdict"] == "fits"


def test_a_point_names_what_app_service_was_made_of(site: Site) -> None:
    site.put()
    site.command.set(APP_SERVICE_BUILD="102.20.2.2")
    source = site.bench.record(site.back_up().json["point"])["source"]
    assert source["resource_provider_build"] == "102.20.2.2"
    assert source["sql_server"] == f"127.0.0.1,{site.bench.server.port}"
    assert source["sql_version"].startswith("15.")
    assert source["databases"] == ["appservice_hosting", "appservice_metering", "master"]
    assert source["share"] == site.command.share.as_uri()
    assert source["key_vault"] == site.key_vault.url
    assert source["lifeboat"]


def test_without_an_upload_the_point_is_partial_and_says_what_to_do(site: Site) -> None:
    answer = site.back_up()
    assert (answer.code, answer.status, answer.codes) == (3, "partial", ["no-secrets"])
    assert "secrets put" in answer.reasons[0]["remedy"]
    alone = site.back_up("--only", "secrets")
    assert (alone.code, alone.status, alone.codes) == (1, "failed", ["no-secrets"]), "nothing usable came out"


def test_31_secrets_that_were_rotated_and_not_saved_again_make_the_point_partial_until_new_bytes_come(
    site: Site,
) -> None:
    site.put()
    site.rotate()
    drifted = site.back_up()
    assert (drifted.code, drifted.status, drifted.codes) == (3, "partial", ["drift"])
    assert OPERATIONS in drifted.reasons[0]["message"]
    assert site.component(drifted)["pairing"]["rotated"] == [f"{HOSTING}.{OPERATIONS}"]

    again = site.put()
    assert again.json["new"] is False, "these bytes are current already"
    assert site.back_up().codes == ["drift"], "the same bytes again refresh their age and clear nothing"

    site.put(SYSTEM_SECRETS.replace(b"102.20.2.2", b"102.20.2.3"))
    assert (cleared := site.back_up()).code == 0, cleared.reasons
    assert site.component(cleared)["pairing"]["verdict"] == "fits"


def test_drift_is_not_cleared_by_bytes_that_were_here_before_nor_by_taking_away_what_shows_it(site: Site) -> None:
    site.put()
    site.put(SYSTEM_SECRETS + b" ")
    site.rotate()
    assert site.back_up().codes == ["drift"]
    assert site.put().json["new"], "another version is current"
    assert site.back_up().codes == ["drift"]
    site.bench.server.execute(HOSTING, f"DROP USER [{OPERATIONS}]")
    assert site.back_up().codes == ["drift"]
    site.put(SYSTEM_SECRETS + b"  ")
    assert site.back_up().code == 0


@pytest.mark.parametrize("skew", [timedelta(hours=1), timedelta(hours=-1)])
def test_a_server_whose_clock_is_wrong_is_judged_by_ours(site: Site, skew: timedelta) -> None:
    site.bench.server.instance.clock.skew = skew
    site.rotate()
    site.put()
    answer = site.back_up()
    assert (answer.code, site.component(answer)["pairing"]["verdict"]) == (0, "fits"), answer.reasons
    finish = SecretsComponent.finish

    def rotated_first(component: SecretsComponent, databases: dict[str, Any] | None) -> Any:
        site.rotate()
        put_secrets(Settings.from_environment(), SYSTEM_SECRETS + b" ", filename="SystemSecrets.JSON")
        return finish(component, databases)

    site.bench.monkeypatch.setattr(SecretsComponent, "finish", rotated_first)
    assert site.back_up().codes == ["drift"]


def test_one_database_that_is_away_for_one_point_does_not_move_the_others_times(site: Site) -> None:
    server = site.bench.server
    server.set_time_zone(120)
    site.rotate()
    site.put()
    assert site.back_up().code == 0
    site.command.set(SQL_DATABASES="appservice_metering")
    site.back_up("--without", HOSTING, "--without", "master")
    site.command.set(SQL_DATABASES="appservice_hosting,appservice_metering,master")
    server.set_time_zone(60)
    assert site.back_up().codes == []


def test_a_confirmation_clears_the_drift(site: Site) -> None:
    site.put()
    site.rotate()
    assert site.back_up().codes == ["drift"]
    confirmed = site.command("secrets", "confirm")
    assert confirmed.code == 0
    assert confirmed.json["confirmed"] > confirmed.json["uploaded"]
    assert site.back_up().code == 0


def test_nothing_can_be_confirmed_before_an_upload(site: Site) -> None:
    answer = site.command("secrets", "confirm")
    assert (answer.code, answer.codes) == (1, ["no-secrets"])


@pytest.mark.parametrize("saved_again", [True, False])
def test_31_secrets_rotated_after_the_databases_were_backed_up_do_not_pass_for_fitting(
    site: Site, saved_again: bool
) -> None:
    first = site.put().json["version"]
    finish = SecretsComponent.finish

    def rotated_first(component: SecretsComponent, databases: dict[str, Any] | None) -> Any:
        site.rotate()
        if saved_again:
            put_secrets(Settings.from_environment(), SYSTEM_SECRETS + b" ", filename="SystemSecrets.JSON")
        return finish(component, databases)

    site.bench.monkeypatch.setattr(SecretsComponent, "finish", rotated_first)
    answer = site.back_up()
    assert (answer.status, answer.codes) == ("partial", ["drift"]), answer.reasons
    assert (first in answer.reasons[0]["remedy"]) is saved_again, "it names the version that fits"
    site.bench.monkeypatch.setattr(SecretsComponent, "finish", finish)
    assert site.back_up().code == (0 if saved_again else 3)


def test_where_the_users_may_not_be_seen_the_verdict_is_unknown_and_the_point_good(site: Site) -> None:
    site.put()
    site.bench.server.add_login(
        replace(backup_login(), server_permissions=BACKUP_PERMISSIONS - {"VIEW ANY DEFINITION"})
    )
    answer = site.back_up()
    assert answer.code in (0, 3)
    pairing = site.component(answer)["pairing"]
    assert pairing["verdict"] == "unknown"
    assert "VIEW DEFINITION" in pairing["detail"]
    assert site.component(answer)["status"] == "complete", "unknown is good, and told"
    assert any("unknown" in note for note in site.component(answer)["notes"])


def test_drift_that_was_seen_stays_drift_when_the_users_can_no_longer_be_seen(site: Site) -> None:
    site.put()
    site.rotate()
    assert site.back_up().codes == ["drift"]
    site.command.set(SQL_SERVER="127.0.0.1,1")
    for _ in range(2):
        assert "drift" in site.back_up("--only", "secrets").codes
    assert site.command("secrets", "confirm").code == 0
    assert site.back_up("--only", "secrets").code == 0


def test_without_databases_the_verdict_is_unknown(site: Site) -> None:
    site.put()
    site.command.unset("SQL_SERVER")
    answer = site.back_up()
    assert (answer.code, site.component(answer)["pairing"]["verdict"]) == (0, "unknown")


def test_a_server_that_is_away_makes_the_verdict_unknown_and_costs_the_secrets_nothing(site: Site) -> None:
    site.put()
    site.command.set(SQL_SERVER="127.0.0.1,1")
    answer = site.back_up("--only", "secrets")
    assert (answer.code, site.component(answer)["pairing"]["verdict"]) == (0, "unknown")


@pytest.mark.parametrize("denied", ["get", "list"])
def test_a_right_that_is_missing_is_named_and_costs_the_secrets_alone(site: Site, denied: str) -> None:
    site.put()
    assert site.back_up().code == 0
    site.command.set(REPOSITORY_PASSWORD=site.key_vault.secrets["repository-password"][-1].value)
    site.key_vault.denied.add(denied)
    answer = site.back_up()
    assert (answer.code, answer.status) == (3, "partial")
    assert {reason["code"] for reason in answer.reasons} == {"storage-forbidden"}
    assert "Microsoft.KeyVault/vaults/secrets" in answer.reasons[0]["remedy"]
    assert answer.json["components"]["databases"]["status"] == "complete"


def test_a_key_vault_that_throttles_for_a_while_is_waited_for(site: Site) -> None:
    site.put()
    site.key_vault.throttling = Throttling(passing=3, refused=2)
    assert site.back_up().code == 0


def test_a_part_that_somebody_deleted_or_changed_is_damage_that_is_named(site: Site) -> None:
    site.put()
    (part,) = site.key_vault.secrets["system-secrets-part-01"]
    part.value = part.value[:-4]
    answer = site.back_up()
    assert (answer.code, answer.codes) == (3, ["damaged"])
    assert answer.reasons[0]["object"] == "system-secrets"


def test_a_disabled_secret_is_told(site: Site) -> None:
    site.put()
    site.key_vault.secrets["system-secrets"][-1].enabled = False
    answer = site.back_up()
    assert (answer.code, set(answer.codes)) == (3, {"storage-forbidden"})
    assert "SecretDisabled" in answer.reasons[0]["message"]


def test_after_daylight_saving_ends_an_old_change_does_not_become_newer(site: Site) -> None:
    """The server tells local time without a zone; today's offset is wrong for a date of last summer."""
    server = site.bench.server
    server.instance.clock.zone_minutes = 120
    server.rotate(HOSTING, OPERATIONS)
    site.put()
    assert site.back_up().code == 0
    before = {user["name"]: user for user in site.component(site.back_up())["pairing"]["users"]}
    server.instance.clock.zone_minutes = 60
    answer = site.back_up()
    assert answer.code == 0, answer.reasons
    assert before == {user["name"]: user for user in site.component(answer)["pairing"]["users"]}


def test_databases_that_were_restored_to_before_a_rotation_do_not_pass_for_fitting_the_newer_secrets(
    site: Site,
) -> None:
    site.bench.as_restorer()
    site.put()
    old = site.back_up().json["point"]
    site.rotate()
    site.put(SYSTEM_SECRETS + b" ")
    assert site.back_up().code == 0
    assert site.command("restore", "databases", "--point", old, "--overwrite").code == 0
    for _ in range(2):
        answer = site.back_up()
        assert (answer.code, answer.codes) == (3, ["drift"]), answer.reasons
        assert "brought back" in answer.reasons[0]["message"]
    site.put(SYSTEM_SECRETS)
    assert site.back_up().codes == ["drift"], "these bytes are not new: they are those of before"
    assert site.command("secrets", "confirm").code == 0
    for _ in range(2):
        assert site.back_up().code == 0


def test_certificates_that_expire_soon_are_named(site: Site) -> None:
    certificate, _ = make_certificate_file("share", not_after=datetime.now(UTC) + timedelta(days=20))
    site.put()
    put = site.command("secrets", "put", site.downloaded(certificate, "share.cer"), "--name", "share")
    assert put.code == 0, put.reasons
    answer = site.back_up()
    assert answer.code == 0
    (expiring,) = site.component(answer)["expiring"]
    assert expiring["file"] == "share"
    assert any("expires in 19 days" in note for note in site.component(answer)["notes"])
    site.command.set(EXPIRY_WARNING="10d")
    assert site.component(site.back_up())["expiring"] == []


@pytest.mark.parametrize("only", ["databases", "share", "secrets"])
def test_whatever_is_backed_up_waits_for_a_lock_as_long_as_the_setting_says(site: Site, only: str) -> None:
    site.put()
    waits = []

    def held(*arguments: Any, wait_seconds: float, **more: Any) -> HeldLock:
        waits.append(wait_seconds)
        return HeldLock(*arguments, wait_seconds=wait_seconds, **more)

    site.bench.monkeypatch.setattr(backup, "HeldLock", held)
    site.command.set(LOCK_WAIT="7m")
    assert site.back_up("--only", only).code == 0
    assert waits == [7 * 60]
    site.command.set(LOCK_WAIT="soon")
    refused = site.back_up("--only", only)
    assert (refused.code, refused.reasons[0]["setting"]) == (2, "LIFEBOAT_LOCK_WAIT")
