"""The ODBC drivers of this machine, and connections through them to a stand-in for SQL Server."""

from __future__ import annotations

from pathlib import Path

import pyodbc

from shared.databases.driver import installed_drivers
from tests.standins.sqlserver.model import Login
from tests.standins.sqlserver.server import SqlServer


def _found() -> list[str]:
    names = [driver.name for driver in installed_drivers()]
    microsoft = [name for name in names if not _is_free(name)][:1]
    free = [name for name in names if _is_free(name)] or [
        str(path) for path in Path("/usr/lib").glob("*/odbc/libtdsodbc.so")
    ]
    return microsoft + free[:1]


def _is_free(driver: str) -> bool:
    return "tds" in driver.lower()


DRIVERS = _found()
"""Microsoft's driver and FreeTDS, as far as they are here: what ``Driver=`` takes."""


def connect(
    driver: str, server: SqlServer, login: Login, *, database: str = "master", autocommit: bool = True, port: int = 0
) -> pyodbc.Connection:
    """A connection over TLS."""
    password = login.password.replace("}", "}}")
    parts = [f"Driver={driver}", f"UID={login.name}", f"PWD={{{password}}}", f"Database={database}"]
    if _is_free(driver):
        parts += ["Server=127.0.0.1", f"Port={port or server.port}", "TDS_Version=7.4", "ClientCharset=UTF-8"]
        parts += ["Encryption=require"]
    else:
        parts += [f"Server=127.0.0.1,{port or server.port}", "Encrypt=yes", "TrustServerCertificate=yes"]
    return pyodbc.connect(";".join(parts), autocommit=autocommit, timeout=10)
