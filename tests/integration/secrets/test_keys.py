"""Fault 29: a key is wrong, or was revoked. What was acknowledged stays restorable, and nobody makes a second vault."""

from __future__ import annotations

import pytest

from tests.integration.secrets.conftest import SYSTEM_SECRETS, Site
from tests.standins.keyvault import StoredVersion


@pytest.fixture
def point(site: Site) -> str:
    site.put()
    answer = site.back_up()
    assert answer.code == 0, answer.reasons
    return str(answer.json["point"])


def test_29_a_wrong_repository_password_that_somebody_set_does_not_lock_the_repository(site: Site, point: str) -> None:
    site.key_vault.secrets["repository-password"].append(StoredVersion("f" * 32, "wrong", {}, created=2**31))
    answer = site.back_up()
    assert answer.code == 0, answer.reasons
    assert site.key_vault.secrets["repository-password"][-1].value != "wrong", "the elected one is current again"
    assert site.command("check").code == 0
    back = site.folder / "share"
    assert site.command("restore", "share", "--point", point, "--to", str(back)).code == 0
    assert site.command.contents(back) == site.command.contents()


def test_29_without_the_right_password_anywhere_nothing_is_written(site: Site, point: str) -> None:
    kept = site.key_vault.secrets["repository-password"]
    right = kept[:]
    kept[:] = [StoredVersion("f" * 32, "wrong", {}, created=1)]
    for arguments in (["backup"], ["check"], ["restore", "share", "--to", str(site.folder / "share")]):
        answer = site.command(*arguments)
        assert (answer.code, answer.codes) == (12, ["wrong-password"])
    kept[:] = right
    assert [each["point"] for each in site.command("points").json["points"]] == [point]
    assert site.back_up().code == 0


@pytest.mark.parametrize("refusal", ["ForbiddenByRbac", "ForbiddenByFirewall"])
def test_29_an_identity_whose_rights_on_the_key_vault_were_revoked_makes_no_second_repository(
    site: Site, point: str, refusal: str
) -> None:
    site.key_vault.refusal = refusal
    answer = site.back_up()
    assert (answer.code, answer.codes) == (1, ["storage-forbidden"])
    assert refusal in answer.reasons[0]["message"]
    site.key_vault.refusal = None
    assert len(site.key_vault.secrets["repository-password"]) == 1
    assert site.back_up().code == 0


def test_29_rights_that_are_revoked_in_the_middle_of_a_run_cost_the_secrets_alone(site: Site, point: str) -> None:
    site.key_vault.requests.clear()
    assert site.back_up("--only", "share", "--only", "secrets").code == 0
    site.command.set(REPOSITORY_PASSWORD=site.key_vault.secrets["repository-password"][-1].value)
    site.key_vault.refusal = "ForbiddenByRbac"
    answer = site.back_up()
    assert (answer.code, answer.status) == (3, "partial")
    components = answer.json["components"]
    assert [components[name]["status"] for name in ("databases", "share", "secrets")] == [
        "complete",
        "complete",
        "failed",
    ]


def test_29_a_password_of_sql_server_that_was_changed_costs_the_databases_alone(site: Site, point: str) -> None:
    site.command.set(SQL_PASSWORD="of yesterday")
    answer = site.back_up()
    assert (answer.code, answer.status, answer.codes) == (3, "partial", ["login-refused"])
    assert site.component(answer)["pairing"]["verdict"] == "unknown"
    back = site.folder / "back.json"
    assert site.command("restore", "secrets", "--to", str(back)).code == 0
    assert back.read_bytes() == SYSTEM_SECRETS
