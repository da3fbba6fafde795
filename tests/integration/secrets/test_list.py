"""What is kept in the Key Vault, as a list, and the names that it is kept under."""

from __future__ import annotations

import pytest

from shared.secrets.files import RESERVED
from tests.integration.secrets.conftest import CANARY, SYSTEM_SECRETS, Site


def test_all_that_is_kept_is_listed_with_its_ages_and_needs_the_key_vault_alone(site: Site) -> None:
    site.command.unset("VAULT_URL", "VAULT_KEY", "SQL_SERVER", "SHARE_URL")
    put = site.put().json
    site.command("secrets", "put", site.downloaded(CANARY.encode(), "tde.cer"), "--name", "tde")
    confirmed = site.command("secrets", "confirm").json["confirmed"]
    answer = site.command("secrets", "list")
    assert (answer.code, answer.status, answer.reasons) == (0, "ok", [])
    system, tde = answer.json["files"]
    assert (system["name"], system["secret"], tde["name"], tde["secret"]) == (
        "system-secrets", "system-secrets", "tde", "file-tde",
    )  # fmt: skip
    assert [system[key] for key in ("version", "sha256", "uploaded")] == [
        put[key] for key in ("version", "sha256", "uploaded")
    ]
    assert (system["size_bytes"], system["confirmed"], tde["confirmed"]) == (len(SYSTEM_SECRETS), confirmed, None)
    assert system["expires"] > confirmed, "the reminder"
    assert system["age_seconds"] >= 0
    code, out, err = site.command.people("secrets", "list")
    assert code == 0
    assert "SystemSecrets.JSON" in out
    assert "tde" in out
    assert CANARY not in out + err


def test_where_nothing_is_kept_people_are_told_what_to_do(site: Site) -> None:
    assert site.command("secrets", "list").json["files"] == []
    code, _, err = site.command.people("secrets", "list")
    assert (code, "secrets put" in err) == (0, True)


def test_a_file_that_cannot_be_looked_at_does_not_hide_the_others(site: Site) -> None:
    site.put()
    site.command("secrets", "put", site.downloaded(b"text", "tde.cer"), "--name", "tde")
    site.key_vault.secrets["file-tde"][-1].value = CANARY
    answer = site.command("secrets", "list")
    assert (answer.code, answer.status, answer.codes) == (3, "partial", ["damaged"])
    assert [each["name"] for each in answer.json["files"]] == ["system-secrets"]
    site.key_vault.denied.add("list")
    answer = site.command("secrets", "list")
    assert (answer.code, answer.codes) == (3, ["storage-forbidden"])


def test_without_a_key_vault_the_setting_is_named(site: Site) -> None:
    site.command.unset("KEY_VAULT_URL")
    answer = site.command("secrets", "list")
    assert (answer.code, answer.reasons[0]["setting"]) == (2, "LIFEBOAT_KEY_VAULT_URL")


def test_each_command_needs_no_more_rights_than_the_readme_says(site: Site) -> None:
    def allowed(*rights: str) -> None:
        site.key_vault.denied = {"get", "list", "set", "update"} - set(rights)

    allowed("get", "list", "set")
    site.put()
    assert site.command("secrets", "put", site.downloaded(b"x", "tde.cer"), "--name", "tde").code == 0
    allowed("get", "update")
    site.put()
    assert site.command("secrets", "confirm").code == 0
    allowed("get", "list")
    assert site.command("secrets", "list").code == 0
    allowed("get")
    assert site.command("restore", "secrets", "--current", "--to", str(site.folder / "back")).code == 0


@pytest.mark.parametrize("name", sorted(RESERVED | {"SQL-Password"}))
def test_a_name_that_means_another_secret_is_wrong_usage(site: Site, name: str) -> None:
    answer = site.command("secrets", "put", site.downloaded(), "--name", name)
    assert (answer.code, answer.codes) == (2, ["wrong-usage"])
    assert "reserved" in answer.reasons[0]["message"]
    assert f"file-{name}".lower() not in site.key_vault.secrets


def test_a_name_is_found_however_it_is_written(site: Site) -> None:
    site.put()
    site.command("secrets", "put", site.downloaded(b"text", "tde.cer"), "--name", "tde")
    assert site.back_up("--only", "secrets").code == 0
    back = site.folder / "back.cer"
    answer = site.command("restore", "secrets", "--name", "TDE", "--to", str(back))
    assert answer.code == 0, answer.reasons
    assert back.read_bytes() == b"text"
