"""The ODBC driver and its connection string: encrypted always, and no password breaks out of it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.databases import driver as module
from shared.databases.driver import Address, Driver, choose_driver, connection_string, installed_drivers, trusting
from shared.errors import DriverMissing, SettingsError
from shared.settings import ServerSettings
from tests.standins.certificate import make_certificate

MICROSOFT, FREETDS = Driver("ODBC Driver 18 for SQL Server"), Driver("FreeTDS")


def server(name: str = "sql.local", **other: Any) -> ServerSettings:
    values: dict[str, Any] = {
        "server": name,
        "username": "lifeboat",
        "password": None,
        "secret": "sql-password",
        "prefix": "LIFEBOAT_SQL",
        "named_by": "LIFEBOAT_SQL_SERVER",
        "driver": None,
        "trust_server_certificate": False,
        "server_certificate": None,
    }
    return ServerSettings(**values | other)


def parsed(text: str) -> dict[str, str]:
    """The attributes of a connection string, by the rules of ODBC: a value in braces ends at the first } that is not
    doubled."""
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        key, _, rest = text[at:].partition("=")
        at += len(key) + 1
        if rest.startswith("{"):
            match = re.compile(r"\{((?:[^}]|\}\})*)\}(;|\Z)").match(text, at)
            assert match, f"a brace does not end: {text[at:]}"
            value = match[1].replace("}}", "}")
        else:
            match = re.compile(r"([^;]*)(;|\Z)").match(text, at)
            assert match
            value = match[1]
        at = match.end()
        assert key not in found
        found[key] = value
    return found


# --- addresses ---


@pytest.mark.parametrize(
    ("text", "host", "instance", "port"),
    [
        ("sql", "sql", None, None),
        ("sql.azs.local,1433", "sql.azs.local", None, 1433),
        ("sql\\APPSVC", "sql", "APPSVC", None),
        ("sql\\APPSVC,50000", "sql", "APPSVC", 50000),
        ("tcp:10.0.0.4,1", "10.0.0.4", None, 1),
        (" sql,65535 ", "sql", None, 65535),
    ],
)
def test_an_address_is_a_host_an_instance_and_a_port(
    text: str, host: str, instance: str | None, port: int | None
) -> None:
    assert Address.parse(text, "LIFEBOAT_SQL_SERVER") == Address(host, instance, port)


NO_ADDRESSES = ["", " ", "a b", "sql,", "sql,0", "sql,65536", "sql,x", "sql\\", "\\x", "sql\\a\\b", "sql:1433,1,2"]
BREAKING_OUT = ["sql;Encrypt=no", "sql}", "{sql}", "a=b", "sql,1433;UID=sa", "sql\n;x", "sql,14\n33"]


@pytest.mark.parametrize("text", NO_ADDRESSES + BREAKING_OUT)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Address.parse(text, "LIFEBOAT_DRILL_SQL_SERVER")

    assert caught.value.setting == "LIFEBOAT_DRILL_SQL_SERVER"
    assert "host[\\instance][,port]" in caught.value.remedy


# --- which driver ---


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    monkeypatch.setattr(module, "odbc", lambda: SimpleNamespace(drivers=lambda: names))
    monkeypatch.setattr(module, "_bundled", list)
    return names


def test_the_newest_of_microsofts_drivers_is_taken(installed: list[str]) -> None:
    installed += ["FreeTDS", "ODBC Driver 9 for SQL Server", "ODBC Driver 18 for SQL Server", "PostgreSQL"]
    installed += ["ODBC Driver 17 for SQL Server"]

    assert choose_driver(None) == MICROSOFT
    assert [each.name for each in installed_drivers()] == [
        "ODBC Driver 18 for SQL Server",
        "ODBC Driver 17 for SQL Server",
        "ODBC Driver 9 for SQL Server",
        "FreeTDS",
    ]


@pytest.mark.parametrize("wanted", ["FreeTDS", "freetds", "{FreeTDS}"])
def test_another_driver_is_taken_by_name(installed: list[str], wanted: str) -> None:
    installed += ["ODBC Driver 18 for SQL Server", "FreeTDS"]

    assert choose_driver(wanted) == FREETDS


def test_a_driver_is_taken_by_its_path(installed: list[str], tmp_path: Path) -> None:
    library = tmp_path / "libmsodbcsql-18.5.so.1.1"
    library.touch()

    chosen = choose_driver(str(library))
    assert chosen.name == str(library)
    assert chosen.is_microsoft


@pytest.mark.parametrize("wanted", ["ODBC Driver 19 for SQL Server", "/nowhere/libmsodbcsql-18.so", None])
def test_a_driver_that_is_missing_is_told_with_those_that_are_there(installed: list[str], wanted: str | None) -> None:
    installed += ["FreeTDS"]
    with pytest.raises(DriverMissing, match="installed: FreeTDS") as caught:
        choose_driver(wanted)

    assert caught.value.setting == "LIFEBOAT_SQL_DRIVER"
    if wanted:
        assert wanted in str(caught.value)


def test_without_any_driver_it_says_none(installed: list[str]) -> None:
    with pytest.raises(DriverMissing, match="installed: none"):
        choose_driver(None)


# --- connection strings ---


def test_microsofts_driver_encrypts_and_checks_the_certificate() -> None:
    assert parsed(connection_string(server("sql.local,1444"), "secret", MICROSOFT)) == {
        "Driver": "ODBC Driver 18 for SQL Server",
        "UID": "lifeboat",
        "PWD": "secret",
        "Server": "tcp:sql.local,1444",
        "Encrypt": "yes",
        "TrustServerCertificate": "no",
        "ConnectRetryCount": "0",
        "MultiSubnetFailover": "yes",
        "APP": "Lifeboat",
    }


@pytest.mark.parametrize(
    ("name", "expected"), [("sql", "sql"), ("sql\\A", "sql\\A"), ("sql\\A,5", "tcp:sql,5"), ("tcp:sql", "sql")]
)
def test_the_server_as_microsofts_driver_takes_it(name: str, expected: str) -> None:
    assert parsed(connection_string(server(name), "p", MICROSOFT))["Server"] == expected


def test_a_named_instance_without_a_port_is_not_looked_for_in_all_subnets() -> None:
    """Microsoft's driver refuses the two together."""
    assert "MultiSubnetFailover" not in parsed(connection_string(server("sql\\A"), "p", MICROSOFT))
    assert "MultiSubnetFailover" in parsed(connection_string(server("sql\\A,5"), "p", MICROSOFT))


def test_any_certificate_is_accepted_only_where_the_operator_says_so() -> None:
    made = parsed(connection_string(server(trust_server_certificate=True), "p", MICROSOFT))

    assert (made["Encrypt"], made["TrustServerCertificate"]) == ("yes", "yes")


def test_the_one_certificate_to_accept_is_trusted_during_the_login_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path)
    settings = server(server_certificate=str(certificate.chain))
    made = parsed(connection_string(settings, "p", MICROSOFT))

    assert made["HostnameInCertificate"]
    assert made["TrustServerCertificate"] == "no"
    for before in ("/etc/others.pem", None):
        if before:
            monkeypatch.setenv("SSL_CERT_FILE", before)
        else:
            monkeypatch.delenv("SSL_CERT_FILE")
        with trusting(settings):
            assert os.environ["SSL_CERT_FILE"] == str(certificate.chain)
        assert os.environ.get("SSL_CERT_FILE") == before
    with trusting(server()):
        assert "SSL_CERT_FILE" not in os.environ


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_file_that_holds_no_certificate_is_told(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "server.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        connection_string(server(server_certificate=str(file)), "p", MICROSOFT)

    assert caught.value.setting == "LIFEBOAT_SQL_SERVER_CERTIFICATE"


def test_freetds_encrypts() -> None:
    settings = server("sql.local", trust_server_certificate=True)

    assert parsed(connection_string(settings, "secret", FREETDS)) == {
        "Driver": "FreeTDS",
        "UID": "lifeboat",
        "PWD": "secret",
        "Server": "sql.local",
        "Port": "1433",
        "TDS_Version": "7.4",
        "ClientCharset": "UTF-8",
        "Encryption": "require",
        "APP": "Lifeboat",
    }


@pytest.mark.parametrize(
    ("name", "expected", "port"), [("sql,5", "sql", "5"), ("sql\\A", "sql\\A", None), ("sql\\A,5", "sql", "5")]
)
def test_the_server_as_freetds_takes_it(name: str, expected: str, port: str | None) -> None:
    made = parsed(connection_string(server(name, trust_server_certificate=True), "p", FREETDS))

    assert (made["Server"], made.get("Port")) == (expected, port)


def test_freetds_is_refused_where_the_certificate_has_to_be_checked() -> None:
    with pytest.raises(SettingsError) as caught:
        connection_string(server(), "secret", FREETDS)

    assert caught.value.setting == "LIFEBOAT_SQL_TRUST_SERVER_CERTIFICATE"
    assert "secret" not in str(caught.value)


@given(
    st.text(st.sampled_from("{};=aB'\" %é\\"), max_size=12), st.text(st.sampled_from("{};=a"), min_size=1, max_size=6)
)
def test_no_password_breaks_out_of_the_connection_string(password: str, username: str) -> None:
    made = parsed(connection_string(server(username=username), password, MICROSOFT))

    assert (made["UID"], made["PWD"]) == (username, password)
    assert (made["Encrypt"], made["TrustServerCertificate"]) == ("yes", "no")


@given(st.text(st.sampled_from("{};=aB'\" %é\\"), max_size=12))
def test_freetds_is_given_no_password_that_it_would_read_as_something_else(password: str) -> None:
    """It knows no escape, and reads a value in braces up to ``};``."""
    try:
        made = connection_string(server(trust_server_certificate=True), password, FREETDS)
    except SettingsError as error:
        if "};" not in password or (password in str(error) and password != "};"):
            raise
        return
    assert made.partition("PWD={")[2].partition("};")[0] == password
