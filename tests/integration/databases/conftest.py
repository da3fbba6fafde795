"""A SQL server, a vault and a landing account for tests of the databases.

The server is the stand-in, reached through both ODBC drivers. The contract tests (``test_contract.py``) run against a
real one too when these are set: ``LIFEBOAT_TEST_SQL_SERVER``, ``_USERNAME``, ``_PASSWORD`` (a sysadmin),
``LIFEBOAT_TEST_LANDING_URL`` and ``_KEY`` (an account that the server reaches), ``LIFEBOAT_TEST_VAULT_URL`` and
``_KEY``.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from shared.databases.connection import Connection
from shared.databases.driver import Driver, installed_drivers
from shared.settings import ServerSettings
from tests.conftest import Vault, new_vault
from tests.integration.commandline.conftest import CommandLine
from tests.standins.azurite import KEY, Azurite
from tests.standins.certificate import Certificate
from tests.standins.identity_endpoint import running_identity_endpoint
from tests.standins.keyvault import KeyVaultStandin, StoredVersion, running_key_vault
from tests.standins.rights_proxy import LANDING
from tests.standins.sqlserver import Login, SqlServer, running_sql_server

HOSTING, METERING = "appservice_hosting", "appservice_metering"
DATABASES = (HOSTING, METERING, "master")
PASSWORD = "p;a}s{s'w\"o=rd"
"""Every character that a connection string could stumble over."""
BACKUP_LOGIN, ADMIN_LOGIN, RESTORE_LOGIN = "lifeboat", "tests", "lifeboat_restore"

BACKUP_PERMISSIONS = frozenset(
    {"VIEW SERVER STATE", "VIEW ANY DEFINITION", "CREATE ANY DATABASE", "ALTER ANY CREDENTIAL"}
)


def backup_login(databases: tuple[str, ...] = DATABASES) -> Login:
    """What ``runbook --grants`` asks for, and no more."""
    return Login(
        BACKUP_LOGIN,
        PASSWORD,
        server_permissions=BACKUP_PERMISSIONS,
        database_roles={name: {"db_backupoperator"} for name in databases},
        msdb_select=True,
    )


def restore_login(databases: tuple[str, ...] = DATABASES) -> Login:
    return Login(
        RESTORE_LOGIN,
        PASSWORD,
        server_permissions={"VIEW SERVER STATE", "VIEW ANY DEFINITION", "ALTER ANY CREDENTIAL"},
        server_roles={"dbcreator"},
        database_roles={name: {"db_backupoperator"} for name in databases if name != "master"},
    )


def fill(server: SqlServer, *, recovery: str = "FULL", filler_bytes: int = 0) -> None:
    """The databases of App Service with a little in them, and the logins of backup, restore and tests."""
    for name in (HOSTING, METERING):
        server.add_database(name, recovery=recovery, filler_bytes=filler_bytes)
        server.execute(name, "CREATE TABLE sites (id int PRIMARY KEY, name nvarchar(100))")
        server.execute(name, "INSERT INTO sites (id, name) VALUES (1, N'first'), (2, N'zweite Straße')")
    server.add_login(backup_login())
    server.add_login(restore_login())
    server.add_login(Login(ADMIN_LOGIN, PASSWORD, sysadmin=True))


@dataclass(frozen=True)
class IdentityBench:
    """A site as in Azure, without a key anywhere: reached by a managed identity, its passwords in the Key Vault."""

    command: CommandLine
    server: SqlServer
    vault: Vault
    key_vault: KeyVaultStandin


@contextlib.contextmanager
def by_identity(
    azurite: Azurite,
    certificate: Certificate,
    environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: Path,
) -> Iterator[IdentityBench]:
    """``azurite`` speaks https, as Entra ID asks for."""
    command = CommandLine(environment, capsys, folder)
    for name, value in certificate.environment().items():
        environment.setenv(name, value)
    with (
        new_vault(azurite) as vault,
        new_vault(azurite, rights=LANDING, containers=()) as landing,
        running_key_vault(certificate) as key_vault,
        running_identity_endpoint() as identity,
        running_sql_server(certificate, ca_file=certificate.chain) as server,
    ):
        fill(server)
        key_vault.secrets["sql-password"] = [StoredVersion("1", PASSWORD, {}, created=1)]
        for name, value in identity.environment().items():
            environment.setenv(name, value)
        command.set(
            VAULT_URL=vault.url,
            LANDING_URL=landing.url,
            STORAGE_API_VERSION=vault.api_version,
            KEY_VAULT_URL=key_vault.url,
            SQL_SERVER=address(server),
            SQL_USERNAME=ADMIN_LOGIN,
            SQL_SERVER_CERTIFICATE=str(certificate.chain),
        )
        yield IdentityBench(command, server, vault, key_vault)


def rows(server: SqlServer, database: str) -> list[tuple[object, ...]]:
    return server.query(database, "SELECT id, name FROM sites ORDER BY id")


@dataclass
class Bench:
    """Everything that a test of the databases needs, and the command line over it."""

    server: SqlServer
    vault: Vault
    landing: Vault
    command: CommandLine
    monkeypatch: pytest.MonkeyPatch
    certificate: Certificate
    folders: dict[str, Path] = field(default_factory=dict)

    def use(self, server: SqlServer, *, username: str = BACKUP_LOGIN) -> None:
        """Back up this server."""
        self.command.set(SQL_SERVER=address(server), SQL_USERNAME=username, SQL_PASSWORD=PASSWORD)

    def as_restorer(self) -> None:
        self.command.set(RESTORE_SQL_USERNAME=RESTORE_LOGIN, RESTORE_SQL_PASSWORD=PASSWORD)

    def sent(self, begins: str = "") -> list[str]:
        """Statements that begin so, in their order; those of one batch one by one."""
        parts = [part.lstrip() for text in self.server.statements for part in text.split("; ")]
        return [part for part in parts if part.upper().startswith(begins.upper())]

    def landed(self) -> list[str]:
        """Containers that are in the landing account now."""
        from azure.storage.blob import BlobServiceClient

        with BlobServiceClient(
            self.landing.direct, credential={"account_name": self.landing.account, "account_key": KEY}
        ) as client:
            return [container["name"] for container in client.list_containers()]

    def record(self, point: str) -> dict[str, Any]:
        return self.command("show", point).json


def address(server: SqlServer) -> str:
    return f"127.0.0.1,{server.port}"


@pytest.fixture
def sql_server(certificate: Certificate) -> Iterator[SqlServer]:
    with running_sql_server(certificate) as server:
        fill(server)
        yield server


@pytest.fixture
def landing(azurite: Azurite) -> Iterator[Vault]:
    with new_vault(azurite, rights=LANDING, containers=()) as account:
        yield account


@pytest.fixture
def bench(
    sql_server: SqlServer,
    vault: Vault,
    landing: Vault,
    certificate: Certificate,
    clean_environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Bench:
    """Mode ``url``, COPY_ONLY, the least rights of a backup, a share of three files that is not configured."""
    share = tmp_path / "WebSites"
    share.mkdir()
    command = CommandLine(clean_environment, capsys, share)
    for name, value in vault.environment().items():
        clean_environment.setenv(name, value)
    command.set(
        REPOSITORY_PASSWORD="of the repository",
        SQL_SERVER_CERTIFICATE=str(certificate.chain),
        LANDING_URL=landing.url,
        LANDING_KEY=KEY,
    )
    command.fill("a.txt", "b.txt", "c/d.txt")
    made = Bench(sql_server, vault, landing, command, clean_environment, certificate)
    made.use(sql_server)
    return made


@pytest.fixture(params=["microsoft", "freetds"])
def odbc_driver(request: pytest.FixtureRequest) -> Driver:
    """Each ODBC driver in turn."""
    found = [each for each in installed_drivers() if each.is_microsoft == (request.param == "microsoft")]
    if not found:
        pytest.fail(f"the {request.param} ODBC driver is not installed: run scripts/setup.sh test")
    return found[0]


def server_settings(
    server: str, driver: Driver, certificate: Certificate | None, *, username: str, password: str = PASSWORD
) -> ServerSettings:
    return ServerSettings(
        server=server,
        username=username,
        password=password,
        secret="sql-password",
        prefix="LIFEBOAT_SQL",
        named_by="LIFEBOAT_SQL_SERVER",
        driver=driver.name,
        trust_server_certificate=not driver.is_microsoft or certificate is None,
        server_certificate=str(certificate.chain) if certificate and driver.is_microsoft else None,
    )


@contextlib.contextmanager
def connected(
    server: SqlServer, driver: Driver, certificate: Certificate, *, username: str = BACKUP_LOGIN
) -> Iterator[Connection]:
    settings = server_settings(address(server), driver, certificate, username=username)
    with Connection.open(settings, PASSWORD) as connection:
        yield connection


REAL_SERVER = os.environ.get("LIFEBOAT_TEST_SQL_SERVER")
REAL = {name: os.environ.get(f"LIFEBOAT_TEST_{name}", "") for name in (
    "SQL_USERNAME", "SQL_PASSWORD", "LANDING_URL", "LANDING_KEY", "VAULT_URL", "VAULT_KEY",
)}  # fmt: skip


def unique(name: str) -> str:
    return f"lifeboat_test_{name}_{secrets.token_hex(4)}"
