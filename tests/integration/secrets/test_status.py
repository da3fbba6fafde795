"""``status`` of all three components: from real points, and from what the Key Vault says now."""

from __future__ import annotations

from tests.integration.databases.conftest import HOSTING, METERING
from tests.integration.secrets.conftest import SYSTEM_SECRETS, Site


def test_all_three_components_are_told_each_by_itself(site: Site) -> None:
    site.put()
    point = site.back_up().json["point"]

    answer = site.command("status")

    assert (answer.code, answer.status, answer.reasons) == (0, "ok", [])
    components = answer.json["components"]
    assert {name: each["newest"] for name, each in components.items()} == dict.fromkeys(
        ("databases", "share", "secrets"), point
    )
    assert {HOSTING, METERING, "master"} == components["databases"]["databases"].keys()
    assert answer.json["drift"]["verdict"] == "fits"


def test_drift_is_told_until_somebody_confirms_and_needs_no_backup_for_that(site: Site) -> None:
    site.put()
    good = site.back_up().json["point"]
    site.rotate()
    drifted = site.back_up()
    assert drifted.codes == ["drift"]

    answer = site.command("status")
    assert (answer.code, answer.status, answer.codes) == (0, "ok", ["drift"])
    assert answer.json["drift"]["point"] == drifted.json["point"]
    assert answer.json["components"]["secrets"]["newest"] == good

    assert site.command("secrets", "confirm").code == 0
    answer = site.command("status")
    assert (answer.json["drift"]["verdict"], answer.reasons) == ("fits", [])


def test_people_are_told_ok_only_where_everything_is_well(site: Site) -> None:
    site.put()
    site.back_up()
    code, out, _ = site.command.people("status")
    assert (code, out.splitlines()[-1]) == (0, "ok: each component has a good backup that is young enough")
    assert "secrets and databases: fits" in out
    assert "(as of the backup of 20" in out

    site.key_vault.secrets["system-secrets"].clear()
    code, out, _ = site.command.people("status")
    assert (code, out.splitlines()[-1]) == (0, "in time, but not well: no-secrets")
    assert "secrets and databases: fits" not in out


def test_new_bytes_clear_drift_at_once_and_are_told_to_be_in_no_point_yet(site: Site) -> None:
    site.put()
    site.back_up()
    site.rotate()
    site.back_up()
    site.put(SYSTEM_SECRETS.replace(b"102.20.2.2", b"102.20.2.3"))

    answer = site.command("status")

    assert (answer.json["drift"]["verdict"], answer.reasons) == ("fits", [])
    assert any("uploaded anew" in note for note in answer.json["notes"])


def test_without_a_key_vault_that_can_be_asked_the_points_word_stands(site: Site) -> None:
    site.put()
    point = site.back_up().json["point"]
    site.command.unset("KEY_VAULT_URL", "SHARE_URL", "SQL_SERVER")

    answer = site.command("status")

    assert (answer.code, answer.reasons, answer.json["drift"]["verdict"]) == (0, [], "fits")
    assert answer.json["components"]["secrets"]["newest"] == point
