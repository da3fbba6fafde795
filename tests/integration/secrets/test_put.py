"""What an operator uploads, from the command line: what is taken, what is refused, and what is told of it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.integration.databases.conftest import backup_login
from tests.integration.secrets.conftest import CANARY, SYSTEM_SECRETS, Site
from tests.standins.certificate_files import make_certificate_file, thumbprint_of


def test_an_upload_is_answered_with_name_version_and_hash(site: Site) -> None:
    answer = site.put()
    assert answer.json["name"] == "system-secrets"
    assert answer.json["version"] == site.key_vault.secrets["system-secrets"][-1].version
    assert answer.json["sha256"] == hashlib.sha256(SYSTEM_SECRETS).hexdigest()
    assert answer.json["new"] is True
    assert answer.json["passwords"] == 2


def test_an_upload_needs_no_vault_only_the_key_vault(site: Site) -> None:
    site.command.unset("VAULT_URL", "VAULT_KEY", "SQL_SERVER", "SHARE_URL")
    site.put()
    assert site.command("secrets", "confirm").code == 0


def test_the_same_bytes_again_make_no_new_version_and_refresh_their_age(site: Site) -> None:
    first, again = site.put().json, site.put().json
    assert (again["version"], again["new"]) == (first["version"], False)
    assert again["moment"] > first["moment"]
    assert {name: len(versions) for name, versions in site.key_vault.secrets.items()} == {
        "system-secrets": 1,
        "system-secrets-part-01": 1,
    }


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty"),
        (b"not json", "JSON"),
        (SYSTEM_SECRETS[:-20], "cut"),
        (b"[1, 2]", "object"),
        (b'"text"', "object"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "HTML"),
        (os.urandom(5 * 1024 * 1024), "5,242,880"),
    ],
)
def test_30_what_is_no_secrets_file_is_refused_and_what_was_kept_stays_readable(
    site: Site, content: bytes, told: str
) -> None:
    site.put()
    answer = site.command("secrets", "put", site.downloaded(content, "bad.json"))
    assert (answer.code, answer.status, answer.codes) == (1, "failed", ["not-secrets"])
    assert told in answer.reasons[0]["message"]
    assert answer.reasons[0]["remedy"]
    back = site.folder / "back.json"
    assert site.back_up("--only", "secrets").code == 0
    assert site.command("restore", "secrets", "--to", str(back)).code == 0
    assert back.read_bytes() == SYSTEM_SECRETS
    assert len(site.key_vault.secrets["system-secrets"]) == 1


def test_a_file_that_is_not_there_or_is_a_folder_is_told(site: Site) -> None:
    for path in (site.folder / "nothing.json", site.folder):
        answer = site.command("secrets", "put", str(path))
        assert (answer.code, answer.codes) == (1, ["not-secrets"])
        assert str(path) in answer.reasons[0]["message"]


def test_what_is_no_regular_file_is_refused_and_nobody_waits_for_it(site: Site) -> None:
    fifo = site.folder / "fifo"
    os.mkfifo(fifo)
    for path, what in ((str(fifo), "a FIFO"), ("/dev/zero", "a device"), (str(site.folder), "a folder")):
        answer = site.command("secrets", "put", path)
        assert (answer.code, answer.codes) == (1, ["not-secrets"])
        assert f"{path} is {what}" in answer.reasons[0]["message"]
    assert site.key_vault.secrets.keys() <= {"repository-password"}


def test_a_refusal_names_the_file_as_it_was_given(site: Site) -> None:
    answer = site.command("secrets", "put", site.downloaded(b"[1, 2]", "list.json"))
    assert answer.reasons[0]["message"].startswith("list.json is JSON, but a list")


def test_a_certificate_or_key_that_was_given_no_name_is_told_how_to_be_kept(site: Site) -> None:
    certificate, key = make_certificate_file()
    der = load_pem_private_key(key, None).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    pvk = b"\x1e\xf1\xb5\xb0" + bytes(20)
    for content in (certificate, key, der, pvk):
        answer = site.command("secrets", "put", site.downloaded(content, "tde.cer"))
        assert (answer.code, answer.codes) == (1, ["not-secrets"])
        assert "--name NAME" in answer.reasons[0]["remedy"]


def test_control_characters_in_a_name_never_reach_a_terminal(site: Site) -> None:
    path = site.downloaded(b"[", "evil\x1b[2J\r.json")
    code, out, err = site.command.people("secrets", "put", path)
    assert (code, "\x1b" in out + err, "\r" in out + err) == (1, False, False)
    path = site.downloaded(name="evil\x1b[2J\r.json")
    code, out, err = site.command.people("secrets", "put", path)
    assert (code, "\x1b" in out + err, "\r" in out + err) == (0, False, False)
    assert site.command("secrets", "put", path).json["filename"] == "evil\\x1b[2J\\r.json"


def test_without_a_key_vault_the_setting_is_named(site: Site) -> None:
    site.command.unset("KEY_VAULT_URL")
    answer = site.command("secrets", "put", site.downloaded())
    assert (answer.code, answer.reasons[0]["setting"]) == (2, "LIFEBOAT_KEY_VAULT_URL")


@pytest.mark.parametrize("denied", ["set", "update"])
def test_a_missing_right_is_named_and_the_previous_version_stays(site: Site, denied: str) -> None:
    site.put()
    site.key_vault.denied.add(denied)
    content = SYSTEM_SECRETS if denied == "update" else SYSTEM_SECRETS + b"\n"
    answer = site.command("secrets", "put", site.downloaded(content))
    assert (answer.code, answer.codes) == (1, ["storage-forbidden"])
    site.key_vault.denied.clear()
    assert site.back_up("--only", "secrets").code == 0
    assert len(site.key_vault.secrets["system-secrets"]) == 1


def test_a_name_whose_secret_was_deleted_says_how_to_recover_it(site: Site) -> None:
    site.put()
    site.key_vault.delete("system-secrets")
    answer = site.command("secrets", "put", site.downloaded())
    assert answer.code == 1
    assert "az keyvault secret recover" in answer.reasons[0]["remedy"]


def test_a_key_vault_that_throttles_without_end_leaves_the_previous_version(site: Site) -> None:
    site.put()
    site.key_vault.failures[:] = [429] * 40
    answer = site.command("secrets", "put", site.downloaded(SYSTEM_SECRETS + b"\n"))
    assert (answer.code, answer.codes) == (1, ["storage-unavailable"])
    site.key_vault.failures.clear()
    assert len(site.key_vault.secrets["system-secrets"]) == 1
    assert site.back_up("--only", "secrets").code == 0


def test_a_large_file_is_kept_in_parts_each_small_enough(site: Site) -> None:
    content = json.dumps({"blob": os.urandom(150_000).hex()}).encode()
    site.put(content)
    values = [version.value for versions in site.key_vault.secrets.values() for version in versions]
    assert len(values) > 5
    assert max(map(len, values)) <= 25_000
    site.back_up("--only", "secrets")
    back = site.folder / "back.json"
    site.command("restore", "secrets", "--to", str(back))
    assert back.read_bytes() == content


def test_people_are_told_what_was_found_and_never_a_value(site: Site) -> None:
    code, out, err = site.command.people("secrets", "put", site.downloaded())
    assert code == 0
    assert "SHA-256" in out
    assert CANARY not in out + err
    assert "Delete" in err, "the file on the operator's machine is as good as App Service itself"


def test_people_are_told_what_an_upload_replaces_and_how_much_was_in_it(site: Site) -> None:
    first = site.put()
    assert first.json["replaced"] is None
    more = json.dumps({**json.loads(SYSTEM_SECRETS), "AnotherPassword": CANARY}).encode()
    code, out, _ = site.command.people("secrets", "put", site.downloaded(more))
    assert code == 0
    assert "3 passwords or keys and 0 certificates" in out
    assert f"replaces version {first.json['version']}" in out
    assert f"{len(SYSTEM_SECRETS):,} bytes with 2 passwords or keys and 0 certificates" in out
    second = site.put(SYSTEM_SECRETS + b"\n").json
    assert second["replaced"]["passwords"] == 3
    assert second["replaced"].keys() == {"version", "size_bytes", "passwords", "certificates"}
    assert second["notes"] == []


@pytest.mark.parametrize("content", [b'{"name": "a package"}', b'{"WebServerPassword": "x"}'])
def test_what_does_not_look_like_the_secrets_is_taken_and_told_loudly(site: Site, content: bytes) -> None:
    many = json.dumps({f"Password{number}": CANARY for number in range(3)}).encode()
    version = site.put(many).json["version"]
    code, _, err = site.command.people("secrets", "put", site.downloaded(content))
    assert code == 0, "any object is taken: the file has no documented schema"
    assert "ATTENTION: this does not look like SystemSecrets.JSON" in err
    assert f"the version before is still there: {version}" in err


def test_the_first_file_that_holds_no_secret_is_told_too(site: Site) -> None:
    (note,) = site.put(b'{"name": "a package"}').json["notes"]
    assert "does not look like SystemSecrets.JSON" in note
    assert "version before" not in note


def test_a_file_that_was_written_before_the_version_it_replaces_was_uploaded_is_told(site: Site) -> None:
    site.put()
    path = site.downloaded(SYSTEM_SECRETS + b"\n")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    (note,) = site.command("secrets", "put", path).json["notes"]
    assert "last written at 2023-11-14 22:13:20Z" in note
    assert "older download" in note


def test_the_same_bytes_again_say_that_they_do_not_clear_drift(site: Site) -> None:
    uploaded = site.put().json["uploaded"]
    (note,) = site.put().json["notes"]
    assert f"here since {uploaded[:19].replace('T', ' ')}Z" in note
    assert "download them anew" in note


def test_bytes_of_an_older_version_say_that_drift_needs_a_confirmation(site: Site) -> None:
    uploaded = site.put().json["uploaded"]
    site.put(SYSTEM_SECRETS + b"\n")
    again = site.put().json
    assert again["new"] is True
    (note,) = again["notes"]
    assert f"first uploaded at {uploaded[:19].replace('T', ' ')}Z" in note
    assert "'secrets confirm'" in note


def test_a_confirmation_says_what_it_is_of_and_what_it_overrides(site: Site) -> None:
    version = site.put().json["version"]
    code, out, err = site.command.people("secrets", "confirm")
    assert code == 0
    assert version in out
    assert f"SystemSecrets.JSON, {len(SYSTEM_SECRETS):,} bytes" in out
    assert "last confirmed never" in out
    assert "nothing was rotated since, or this file fits the databases as they are now" in err
    first = site.command("secrets", "confirm").json
    again = site.command("secrets", "confirm").json
    assert again["confirmed_before"] == first["confirmed"]
    assert (
        f"last confirmed {again['confirmed'][:19].replace('T', ' ')}Z" in site.command.people("secrets", "confirm")[1]
    )


def test_of_another_file_neither_drift_nor_passwords_are_told(site: Site) -> None:
    site.command("secrets", "put", site.downloaded(b"text", "note.txt"), "--name", "note")
    replaced = site.command("secrets", "put", site.downloaded(b"more text", "note.txt"), "--name", "note").json
    again = site.command("secrets", "put", site.downloaded(b"more text", "note.txt"), "--name", "note").json
    assert (replaced["replaced"]["size_bytes"], replaced["notes"], again["notes"]) == (4, [], [])


def test_a_tde_certificate_that_is_kept_with_its_key_makes_the_point_of_an_encrypted_database_complete(
    site: Site,
) -> None:
    certificate, key = make_certificate_file()
    site.bench.server.add_database("appservice_tde", encrypted_by=thumbprint_of(certificate))
    site.bench.server.add_login(backup_login(("appservice_tde",)))
    site.command.set(SQL_DATABASES="appservice_tde")
    site.put()
    lacking = site.back_up()
    assert (lacking.code, lacking.codes) == (3, ["certificate-not-held"])
    assert site.command("secrets", "put", site.downloaded(certificate, "tde.cer"), "--name", "tde").code == 0
    assert site.back_up().codes == ["certificate-not-held"], "without its private key it restores nothing"
    locked = load_pem_private_key(key, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(CANARY.encode())
    )
    put = site.command("secrets", "put", site.downloaded(locked, "tde.pem"), "--name", "tde-key")
    assert put.code == 0
    closed = site.back_up()
    assert closed.codes == ["certificate-not-held"], "nor with a key that may be any"
    assert "secrets put FILE --name NAME" in closed.reasons[0]["remedy"]
    assert any("NAME-password" in note for note in site.component(closed)["notes"])
    password = site.downloaded(CANARY.encode(), "password.txt")
    assert site.command("secrets", "put", password, "--name", "tde-password").code == 0
    held = site.back_up()
    assert held.code == 0, held.reasons
    assert site.component(held)["kept"]["tde"]["thumbprints"] == [thumbprint_of(certificate)]
    alone = site.back_up("--only", "databases")
    assert (alone.code, list(alone.json["components"])) == (0, ["databases"]), alone.reasons
    site.command.set(SQL_OWN_LOG_CHAIN="true")
    assert site.back_up("--only", "databases").code == 0
    logs = site.back_up("--logs")
    assert (logs.code, list(logs.json["components"])) == (0, ["databases"]), logs.reasons
    back = site.folder / "back.cer"
    assert site.command("restore", "secrets", "--name", "tde", "--to", str(back)).code == 0
    assert back.read_bytes() == certificate


def test_a_name_that_no_secret_can_have_is_wrong_usage(site: Site) -> None:
    answer = site.command("secrets", "put", site.downloaded(), "--name", "a/b")
    assert (answer.code, answer.codes) == (2, ["wrong-usage"])


def test_nothing_that_was_planted_is_in_any_output_record_log_or_blob(
    site: Site, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Every command, good and bad; then everything that was written anywhere but into the Key Vault is searched."""
    with caplog.at_level("DEBUG"):
        shown: list[str] = []
        for content in (SYSTEM_SECRETS, SYSTEM_SECRETS[:-9], b"x" + SYSTEM_SECRETS):
            shown += site.command.people("secrets", "put", site.downloaded(content))[1:]
        site.command("secrets", "put", site.downloaded(CANARY.encode(), "password"), "--name", "tde-password")
        site.rotate()
        for arguments in (
            ["backup"],
            ["secrets", "confirm"],
            ["backup"],
            ["points"],
            ["status"],
            ["runbook"],
            ["restore", "secrets", "--to", str(tmp_path / "back.json")],
        ):
            shown += site.command.people(*arguments)[1:]
            shown.append(json.dumps(site.command(*arguments).json))
        shown.append(json.dumps(site.bench.record(site.back_up().json["point"])))
        (site.key_vault.secrets["system-secrets-part-01"])[-1].value = CANARY
        (site.key_vault.secrets["system-secrets"])[-1].value = CANARY
        shown += site.command.people("backup")[1:]
        site.command.set(DEBUG="true")
        shown += site.command.people("secrets", "confirm")[1:]
    for container in ("share", "recovery-points", "databases"):
        with site.bench.vault.judge(container) as store:
            shown += [store.get(blob.name).decode("latin-1") for blob in store.list("")]
    shown += site.bench.server.statements
    shown += [record.getMessage() + str(record.__dict__) for record in caplog.records]
    assert not [text for text in shown if CANARY in text]
    assert (tmp_path / "back.json").read_bytes() == SYSTEM_SECRETS, "the restore wrote it, and nothing else did"
