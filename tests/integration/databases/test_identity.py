"""As in Azure: no key anywhere. A managed identity for vault, landing and Key Vault, a user delegation SAS for SQL
Server, its password and the logins of ``master`` in the Key Vault."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path

import pytest

from tests.conftest import new_vault
from tests.integration.commandline.conftest import CommandLine
from tests.integration.databases.conftest import HOSTING, by_identity, rows
from tests.standins.azurite import Azurite
from tests.standins.certificate import Certificate
from tests.standins.identity_endpoint import running_identity_endpoint
from tests.standins.keyvault import running_key_vault


def test_with_nothing_but_its_identity_databases_are_backed_up_and_restored(
    azurite_https: Azurite,
    certificate: Certificate,
    clean_environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    with by_identity(azurite_https, certificate, clean_environment, capsys, tmp_path) as site:
        command, server, key_vault = site.command, site.server, site.key_vault
        answer = command("backup", "--only", "databases")
        assert (answer.code, answer.status) == (0, "complete"), answer.reasons
        credential = next(text for text in server.statements if text.startswith("CREATE CREDENTIAL"))
        assert "skoid=" in credential, "signed by a user delegation key"
        assert "spr=https" in credential
        assert "st=" not in credential.replace("skt=", ""), "a SAS without a start time"
        server.execute(HOSTING, "DELETE FROM sites")
        restored = command("restore", "databases", "--as", "_back")
        assert restored.code == 0, restored.reasons
        assert rows(server, f"{HOSTING}_back") == [(1, "first"), (2, "zweite Straße")]

        record = command("show", answer.json["point"]).json["components"]["databases"]
        assert record["logins"]["saved"] == 4
        script = tmp_path / "logins.sql"
        assert command("restore", "logins", "--to", str(script)).code == 0
        (part,) = key_vault.secrets["sql-logins-part-01"]
        document = zlib.decompress(base64.b64decode(part.value))
        assert {login["name"] for login in json.loads(document)["logins"]} == {
            "sa",
            "tests",
            "lifeboat",
            "lifeboat_restore",
        }
        assert "HASHED, SID = 0x" in script.read_text()
        assert command("backup", "--only", "databases").code == 0
        assert len(key_vault.secrets["sql-logins"]) == 1, "the same logins again make no new version"
        hashes = [login["password_hash"] for login in json.loads(document)["logins"]]
        with site.vault.judge("recovery-points") as store:
            written = "".join(store.get(blob.name).decode() for blob in store.list(""))
        assert not [each for each in hashes if each in written]


def test_a_password_that_is_nowhere_names_the_setting(
    azurite_https: Azurite,
    certificate: Certificate,
    clean_environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    command = CommandLine(clean_environment, capsys, tmp_path)
    for name, value in certificate.environment().items():
        clean_environment.setenv(name, value)
    with (
        new_vault(azurite_https) as vault,
        running_key_vault(certificate) as key_vault,
        running_identity_endpoint() as identity,
    ):
        for name, value in identity.environment().items():
            clean_environment.setenv(name, value)
        command.set(
            VAULT_URL=vault.url,
            LANDING_URL=vault.url,
            STORAGE_API_VERSION=vault.api_version,
            KEY_VAULT_URL=key_vault.url,
            SQL_SERVER="127.0.0.1,1",
            SQL_USERNAME="x",
        )
        answer = command("backup", "--only", "databases")
        assert (answer.code, answer.reasons[0]["setting"]) == (2, "LIFEBOAT_SQL_PASSWORD")
        assert "sql-password" in answer.reasons[0]["remedy"]
