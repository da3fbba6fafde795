"""All three components: a share, the databases of the stand-in for SQL Server, and a stand-in for Key Vault."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.integration.commandline.conftest import Answer, CommandLine
from tests.integration.databases.conftest import HOSTING, METERING, Bench, backup_login, bench, landing, sql_server
from tests.standins.certificate import Certificate
from tests.standins.identity_endpoint import running_identity_endpoint
from tests.standins.keyvault import KeyVaultStandin, running_key_vault

__all__ = ["bench", "landing", "sql_server"]

CANARY = "canary-7Hq2-never-to-be-seen"
"""In every value of a secret that tests plant: it may be in the Key Vault, and in what a restore writes, alone."""
SYSTEM_SECRETS = json.dumps(
    {
        "WebServerPassword": CANARY,
        "Sql": {"HostingConnectionString": f"Server=sql01;Password={CANARY}"},
        "build": "102.20.2.2",
    }
).encode()
OPERATIONS = "appservice_hosting_Operations"


@dataclass
class Site:
    """App Service, and the command line over it. SystemSecrets.JSON is not uploaded yet."""

    bench: Bench
    key_vault: KeyVaultStandin
    folder: Path
    """For what an operator downloads, and what is restored."""

    @property
    def command(self) -> CommandLine:
        return self.bench.command

    def downloaded(self, content: bytes = SYSTEM_SECRETS, name: str = "SystemSecrets.JSON") -> str:
        """A file as the operator has it."""
        path = self.folder / name
        path.write_bytes(content)
        return str(path)

    def files(self) -> set[str]:
        """What lies in the operator's folder."""
        return {path.name for path in self.folder.iterdir()}

    def put(self, content: bytes = SYSTEM_SECRETS) -> Answer:
        answer = self.command("secrets", "put", self.downloaded(content))
        assert answer.code == 0, answer.reasons
        return answer

    def back_up(self, *arguments: str) -> Answer:
        return self.command("backup", *arguments)

    def component(self, answer: Answer) -> dict[str, Any]:
        """The secrets as the record has them."""
        found: dict[str, Any] = self.bench.record(answer.json["point"])["components"]["secrets"]
        return found

    def rotate(self) -> None:
        """As App Service does: another password for one of its own users."""
        self.bench.server.rotate(HOSTING, OPERATIONS)


@pytest.fixture
def site(bench: Bench, certificate: Certificate, tmp_path: Path) -> Iterator[Site]:
    folder = tmp_path / "operator"
    folder.mkdir()
    last_year = datetime.now(UTC) - timedelta(days=365)
    for database, users in {
        HOSTING: [OPERATIONS, "appservice_hosting_Publisher", "WebWorker_10_0_0_4"],
        METERING: ["appservice_metering_Common"],
    }.items():
        bench.server.execute("master", f"DROP DATABASE {database}")
        bench.server.add_database(database, containment="PARTIAL", users=dict.fromkeys(users, last_year))
        bench.server.execute(database, "CREATE TABLE sites (id int PRIMARY KEY, name nvarchar(100))")
        bench.server.execute(database, "INSERT INTO sites (id, name) VALUES (1, N'first'), (2, N'zweite Straße')")
    bench.server.add_login(backup_login())
    for name, value in certificate.environment().items():
        bench.monkeypatch.setenv(name, value)
    with running_key_vault(certificate) as key_vault, running_identity_endpoint() as identity:
        for name, value in identity.environment().items():
            bench.monkeypatch.setenv(name, value)
        key_vault.purge_protection = True
        bench.command.unset("REPOSITORY_PASSWORD")
        bench.command.set(KEY_VAULT_URL=key_vault.url, SHARE_URL=bench.command.share.as_uri())
        yield Site(bench, key_vault, folder)
