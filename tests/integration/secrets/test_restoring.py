"""Bringing the secrets back, and all three components at once."""

from __future__ import annotations

import stat

import pytest

from tests.integration.commandline.conftest import Answer
from tests.integration.databases.conftest import HOSTING, METERING, rows
from tests.integration.secrets.conftest import SYSTEM_SECRETS, Site

BEFORE = [(1, "first"), (2, "zweite Straße")]


@pytest.fixture
def point(site: Site) -> str:
    """A point that is complete and whole."""
    site.put()
    answer = site.back_up()
    assert answer.code == 0, answer.reasons
    return str(answer.json["point"])


def test_the_file_comes_back_byte_for_byte_and_only_its_owner_can_read_it(site: Site, point: str) -> None:
    back = site.folder / "back.json"
    answer = site.command("restore", "secrets", "--point", point, "--to", str(back))
    assert (answer.code, answer.json["restored"], answer.json["bytes"]) == (0, 1, len(SYSTEM_SECRETS))
    assert back.read_bytes() == SYSTEM_SECRETS
    assert stat.S_IMODE(back.stat().st_mode) == 0o600
    assert site.files() == {"SystemSecrets.JSON", "back.json"}, "and nothing else is left"


def test_a_file_that_is_there_is_refused_whatever_it_is(site: Site, point: str) -> None:
    there, dangling = site.folder / "there.json", site.folder / "link.json"
    there.write_text("mine")
    dangling.symlink_to(site.folder / "nowhere")
    for path in (there, dangling, site.folder):
        answer = site.command("restore", "secrets", "--to", str(path))
        assert (answer.code, answer.codes) == (1, ["target-failed"])
    assert there.read_text() == "mine"
    assert dangling.is_symlink()


def test_a_folder_that_is_not_there_is_told(site: Site, point: str) -> None:
    answer = site.command("restore", "secrets", "--to", str(site.folder / "no" / "back.json"))
    assert (answer.code, answer.codes) == (1, ["target-failed"])


def test_an_older_point_brings_the_version_that_it_names(site: Site, point: str) -> None:
    site.put(SYSTEM_SECRETS + b"\n")
    assert site.back_up().code == 0
    back = site.folder / "old.json"
    assert site.command("restore", "secrets", "--point", point, "--to", str(back)).code == 0
    assert back.read_bytes() == SYSTEM_SECRETS
    newest = site.folder / "new.json"
    assert site.command("restore", "secrets", "--to", str(newest)).code == 0
    assert newest.read_bytes() == SYSTEM_SECRETS + b"\n"


def test_a_point_without_secrets_is_passed_over_and_told(site: Site, point: str) -> None:
    newer = site.back_up("--only", "share").json["point"]
    back = site.folder / "back.json"
    answer = site.command("restore", "secrets", "--to", str(back))
    assert (answer.code, answer.json["point"]) == (0, point)
    assert any(newer in note for note in answer.json["notes"])
    refused = site.command("restore", "secrets", "--point", newer, "--to", str(site.folder / "x"))
    assert (refused.code, refused.codes) == (2, ["wrong-usage"])


def test_what_is_current_comes_back_without_a_point_and_without_the_vault(site: Site) -> None:
    version = site.put().json["version"]
    certificate = site.downloaded(b"text", "tde.cer")
    site.command("secrets", "put", certificate, "--name", "tde")
    site.command.unset("VAULT_URL", "VAULT_KEY", "SQL_SERVER", "SHARE_URL")
    back, kept = site.folder / "back.json", site.folder / "back.cer"
    answer = site.command("restore", "secrets", "--current", "--to", str(back))
    assert (answer.code, answer.json["point"], answer.json["version"]) == (0, None, version)
    assert back.read_bytes() == SYSTEM_SECRETS
    assert stat.S_IMODE(back.stat().st_mode) == 0o600
    assert "was not looked at" in answer.json["notes"][0]
    assert site.command("restore", "secrets", "--current", "--name", "TDE", "--to", str(kept)).code == 0
    assert kept.read_bytes() == b"text"
    again = site.command("restore", "secrets", "--current", "--to", str(back))
    assert (again.code, again.codes) == (1, ["target-failed"])
    code, out, err = site.command.people("restore", "secrets", "--current", "--to", str(site.folder / "people"))
    assert (code, f"the current version, {version}" in out, "current in the Key Vault" in err) == (0, True, True)


def test_nothing_that_is_current_is_told(site: Site) -> None:
    answer = site.command("restore", "secrets", "--current", "--to", str(site.folder / "back.json"))
    assert (answer.code, answer.codes) == (1, ["no-secrets"])


def test_what_is_current_and_a_point_contradict_each_other(site: Site, point: str) -> None:
    answer = site.command("restore", "secrets", "--current", "--point", point, "--to", str(site.folder / "x"))
    assert (answer.code, answer.codes) == (2, ["wrong-usage"])
    assert not (site.folder / "x").exists()


def test_where_the_vault_or_a_point_is_missing_the_way_without_them_is_told(site: Site) -> None:
    site.put()
    site.back_up("--only", "share")
    arguments = ("restore", "secrets", "--to", str(site.folder / "x"))
    lacking = site.command(*arguments)
    assert (lacking.code, "restore secrets --current" in lacking.reasons[0]["remedy"]) == (2, True)
    site.command.set(VAULT_URL="https://127.0.0.1:1/vault")
    away = site.command(*arguments)
    assert (away.status, "restore secrets --current" in away.reasons[0]["remedy"]) == ("failed", True)
    site.command.unset("VAULT_URL")
    unset = site.command(*arguments)
    assert (unset.code, "restore secrets --current" in unset.reasons[0]["remedy"]) == (2, True)


def test_of_a_point_that_not_everything_would_be_restored_from_its_databases_and_the_verdict_are_told(
    site: Site, point: str
) -> None:
    assert site.command("restore", "secrets", "--to", str(site.folder / "quiet")).json["notes"] == []
    site.rotate()
    drifted = site.back_up().json["point"]
    taken = site.command("restore", "secrets", "--to", str(site.folder / "drifted")).json
    assert taken["point"] == drifted
    (told,) = [note for note in taken["notes"] if note.startswith("databases of this point")]
    assert f"{HOSTING}, {METERING}" in told
    assert told.endswith("drift")
    assert not any("another version" in note for note in taken["notes"])


def test_that_the_newest_complete_and_whole_point_names_another_version_is_told(site: Site, point: str) -> None:
    version = site.put(SYSTEM_SECRETS + b"\n").json["version"]
    newest = site.back_up().json["point"]
    taken = site.command("restore", "secrets", "--point", point, "--to", str(site.folder / "old")).json
    assert any(newest in note and version in note for note in taken["notes"])
    assert any(note.startswith("databases of this point") and note.endswith("fits") for note in taken["notes"])


def test_a_version_that_is_gone_or_changed_writes_nothing(site: Site, point: str) -> None:
    site.key_vault.secrets["system-secrets-part-01"].clear()
    back = site.folder / "back.json"
    answer = site.command("restore", "secrets", "--point", point, "--to", str(back))
    assert (answer.code, answer.codes) == (1, ["damaged"])
    site.key_vault.secrets["system-secrets"].clear()
    answer = site.command("restore", "secrets", "--point", point, "--to", str(back))
    assert (answer.code, answer.codes) == (1, ["no-secrets"])
    assert not back.exists()


def test_logins_come_back_as_t_sql_in_a_file_of_their_own(site: Site) -> None:
    site.bench.use(site.bench.server, username="tests")
    site.put()
    assert site.back_up().code == 0
    script = site.folder / "logins.sql"
    answer = site.command("restore", "logins", "--to", str(script))
    assert answer.code == 0, answer.reasons
    assert "CREATE LOGIN [lifeboat] WITH PASSWORD = 0x" in script.read_text()
    assert stat.S_IMODE(script.stat().st_mode) == 0o600


def test_logins_that_were_not_saved_are_told(site: Site, point: str) -> None:
    answer = site.command("restore", "logins", "--to", str(site.folder / "logins.sql"))
    assert (answer.code, answer.codes) == (2, ["wrong-usage"])
    assert "--grants" in answer.reasons[0]["remedy"]


def test_everything_comes_back_by_one_command(site: Site, point: str) -> None:
    site.bench.as_restorer()
    share = site.command.contents()
    target, secrets = site.folder / "share", site.folder / "SystemSecrets-back.JSON"
    answer = site.command(
        "restore", "all", "--yes", "--share-to", str(target), "--databases-as", "_back", "--secrets-to", str(secrets)
    )
    assert (answer.code, answer.status, answer.json["point"]) == (0, "complete", point), answer.reasons
    assert list(answer.json["components"]) == ["databases", "share", "secrets"], "in the order of the documentation"
    assert site.command.contents(target) == share
    assert secrets.read_bytes() == SYSTEM_SECRETS
    for name in (HOSTING, METERING):
        assert rows(site.bench.server, f"{name}_back") == BEFORE
    assert answer.json["restored"] == len(share) + 2 + 1


def test_everything_comes_back_over_what_is_there_when_that_is_meant(site: Site, point: str) -> None:
    site.bench.as_restorer()
    share = site.command.contents()
    site.bench.server.execute(HOSTING, "DELETE FROM sites")
    (site.command.share / "a.txt").write_text("encrypted by somebody")
    answer = site.command("restore", "all", "--yes", "--overwrite", "--secrets-to", str(site.folder / "s"))
    assert (answer.code, answer.status) == (0, "complete"), answer.reasons
    assert rows(site.bench.server, HOSTING) == BEFORE
    assert site.command.contents() == share


def test_the_plan_is_shown_first_and_nothing_is_done(site: Site, point: str) -> None:
    site.bench.as_restorer()
    arguments = ("restore", "all", "--share-to", str(site.folder / "share"), "--databases-as", "_back")
    secrets = ("--secrets-to", str(site.folder / "s"))
    code, _, err = site.command.people(*arguments, *secrets, "--dry-run")
    assert code == 0
    assert point in err
    assert "appservice_hosting_back" in err
    assert "SystemSecrets.JSON, version" in err
    assert err.index("1. databases") < err.index("2. share") < err.index("3. secrets")
    asked = site.command(*arguments, *secrets)
    assert (asked.code, asked.codes) == (2, ["wrong-usage"]), "without --yes nobody can be asked here"
    assert site.files() == {"SystemSecrets.JSON"}
    assert f"{HOSTING}_back" not in {
        name for (name,) in site.bench.server.query("master", "SELECT name FROM sys.databases")
    }


def test_nothing_live_is_replaced_by_accident(site: Site, point: str) -> None:
    answer = site.command("restore", "all", "--yes", "--secrets-to", str(site.folder / "s"))
    assert (answer.code, answer.codes) == (2, ["wrong-usage"])
    assert not (site.folder / "s").exists()


def test_a_target_that_is_empty_is_refused_before_anything_is_touched(site: Site, point: str) -> None:
    site.bench.as_restorer()
    site.bench.monkeypatch.chdir(site.folder)
    answer = site.command("restore", "all", "--yes", "--share-to", "", "--databases-as", "_b", "--secrets-to", "s")
    assert (answer.code, answer.codes) == (2, ["wrong-usage"])
    assert not site.bench.sent("RESTORE DATABASE")
    assert site.files() == {"SystemSecrets.JSON"}


def test_a_file_of_secrets_that_is_there_stops_it_before_anything_is_touched(site: Site, point: str) -> None:
    site.bench.as_restorer()
    there = site.folder / "there"
    there.write_text("mine")
    answer = site.command("restore", "all", "--yes", "--overwrite", "--secrets-to", str(there))
    assert (answer.code, answer.codes) == (1, ["target-failed"])
    assert not site.bench.sent("RESTORE DATABASE")


def test_a_newer_partial_point_is_passed_over_and_named(site: Site, point: str) -> None:
    site.bench.as_restorer()
    site.rotate()
    partial = site.back_up()
    assert partial.codes == ["drift"]
    answer = site.command(
        "restore", "all", "--yes", "--share-to", str(site.folder / "w"), "--databases-as", "_b",
        "--secrets-to", str(site.folder / "s"),
    )  # fmt: skip
    assert (answer.code, answer.json["point"]) == (0, point)
    assert any(partial.json["point"] in note for note in answer.json["notes"])


def test_of_a_partial_point_what_is_good_is_restored_and_the_rest_is_told(site: Site) -> None:
    site.bench.as_restorer()
    partial = site.back_up()
    assert partial.codes == ["no-secrets"]
    arguments = ("restore", "all", "--yes", "--share-to", str(site.folder / "w"), "--databases-as", "_b")
    assert site.command(*arguments).code == 2, "no point is complete and whole"
    answer = site.command(*arguments, "--point", partial.json["point"])
    assert (answer.code, answer.status, answer.codes) == (3, "partial", ["not-in-point"])
    assert site.command.contents(site.folder / "w") == site.command.contents()


def replacing(site: Site, *arguments: str) -> Answer:
    return site.command("restore", "all", "--yes", "--overwrite", "--secrets-to", str(site.folder / "s"), *arguments)


def test_what_cannot_be_done_in_whole_is_not_begun_before_anything_live_is_replaced(site: Site, point: str) -> None:
    """The share's target away, the secrets gone, the repository's password wrong: the databases stay as they are."""
    site.bench.as_restorer()
    (site.folder / "file").write_text("no folder")
    key_vault = site.key_vault.url
    answers = [replacing(site, "--share-to", str(site.folder / "file" / "below"))]
    site.command.set(RESTORE_USERNAME="x", RESTORE_PASSWORD="x")
    answers.append(replacing(site, "--share-to", "smb://127.0.0.1:1/data"))
    site.command.unset("KEY_VAULT_URL")
    answers.append(replacing(site))
    site.command.set(KEY_VAULT_URL=key_vault, REPOSITORY_PASSWORD="wrong")
    answers.append(replacing(site))
    site.command.unset("REPOSITORY_PASSWORD")
    part = site.key_vault.secrets.pop("system-secrets-part-01")
    answers.append(replacing(site))
    site.key_vault.secrets["system-secrets-part-01"] = part
    assert [(answer.code, answer.codes) for answer in answers] == [
        (1, ["target-failed"]),
        (1, ["source-unreachable"]),
        (2, ["wrong-setting"]),
        (12, ["wrong-password"]),
        (1, ["damaged"]),
    ]
    assert site.bench.sent("RESTORE DATABASE") == []
    assert replacing(site).code == 0


def test_a_restore_that_was_cut_is_run_again(site: Site, point: str) -> None:
    site.bench.as_restorer()
    (site.folder / "s").write_bytes(SYSTEM_SECRETS)
    answer = replacing(site)
    assert (answer.code, answer.status) == (0, "complete"), answer.reasons
    assert answer.json["components"]["secrets"]["unchanged"] == 1


def test_the_plan_says_what_the_parts_stand_for_and_whether_they_fit(site: Site, point: str) -> None:
    site.bench.as_restorer()
    site.rotate()
    drifted = site.back_up().json["point"]
    arguments = ("restore", "all", "--databases-as", "_b", "--secrets-to", str(site.folder / "s"), "--dry-run")
    code, _, err = site.command.people(*arguments)
    assert code == 0
    assert "databases as of 2" in err
    assert "secrets and databases: fits" in err
    assert f"{drifted}, which is partial" in err
    assert "drift: " in err, "why it was passed over"
    _, _, err = site.command.people(*arguments, "--point", drifted)
    assert "secrets and databases: drift" in err


def test_a_newer_record_that_cannot_be_read_is_told(site: Site, point: str) -> None:
    site.bench.as_restorer()
    with site.bench.vault.judge("recovery-points") as store:
        store.put("points/20991231T000000Z-ffffff.json", b"{")
    answer = site.command("restore", "all", "--databases-as", "_b", "--secrets-to", str(site.folder / "s"), "--dry-run")
    assert any("20991231T000000Z-ffffff" in note for note in answer.json["notes"])


def test_one_component_that_fails_does_not_keep_the_others_from_being_restored(
    site: Site, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the share goes away after the plan was shown."""
    site.bench.as_restorer()
    (site.folder / "file").write_text("no folder")
    monkeypatch.setattr("shared.fileshare.local_target.LocalTarget.reach", lambda self: None)
    answer = site.command(
        "restore", "all", "--yes", "--share-to", str(site.folder / "file"), "--databases-as", "_b",
        "--secrets-to", str(site.folder / "s"),
    )  # fmt: skip
    assert (answer.code, answer.status) == (3, "partial")
    assert answer.json["components"]["share"]["status"] == "failed"
    assert rows(site.bench.server, f"{HOSTING}_b") == BEFORE
    assert (site.folder / "s").read_bytes() == SYSTEM_SECRETS
