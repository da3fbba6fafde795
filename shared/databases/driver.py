"""The ODBC driver: which are installed here, which is taken, and the connection string for it.

Microsoft's driver 18 is the default; FreeTDS can be named by ``LIFEBOAT_SQL_DRIVER``. Azure's Functions images carry
unixODBC and Microsoft's driver for Python 3.11 to 3.13.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import DriverMissing, SettingsError
from shared.settings import ServerSettings

APPLICATION = "Lifeboat"
DEFAULT_PORT = 1433
_MICROSOFT = re.compile(r"ODBC Driver (\d+) for SQL Server\Z")
_SERVER = re.compile(
    r"(?P<host>[^\\,:\s]+|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)(\\(?P<instance>[^\\,\s]+))?(,(?P<port>\d{1,5}))?\Z"
)


@dataclass(frozen=True, slots=True)
class Driver:
    """``name`` is what ``Driver=`` takes: a registered name, or the path of the library."""

    name: str

    @property
    def is_microsoft(self) -> bool:
        return _MICROSOFT.match(self.name) is not None or "msodbcsql" in self.name.lower()


@dataclass(frozen=True, slots=True)
class Address:
    """``host[\\instance][,port]`` taken apart."""

    host: str
    instance: str | None
    port: int | None

    @classmethod
    def parse(cls, server: str, setting: str) -> Address:
        match = _SERVER.match(server.strip().removeprefix("tcp:"))
        port = int(match["port"]) if match and match["port"] else None
        if match is None or port == 0 or (port or 0) > 65535 or set(server) & set(";{}="):
            raise SettingsError(
                f"{setting} is {server!r}, which names no SQL server",
                remedy="Write host[\\instance][,port], with a comma before the port.",
                setting=setting,
            )
        return cls(match["host"], match["instance"], port)


def odbc() -> Any:  # Any: a module that is imported late, since its library may be missing
    """The module ``pyodbc``. ``DriverMissing`` where it, or the ODBC driver manager below it, is not there."""
    try:
        import pyodbc
    except ImportError as error:
        raise DriverMissing(
            f"ODBC cannot be used here: {error}",
            remedy="Install pyodbc and unixODBC (on Debian: apt-get install libodbc2).",
        ) from error
    return pyodbc


def installed_drivers() -> list[Driver]:
    """Drivers that can reach SQL Server, the one that is taken by default first."""
    registered = [Driver(name) for name in odbc().drivers()]
    microsoft = sorted((each for each in registered if each.is_microsoft), key=_version, reverse=True)
    others = [each for each in registered if not each.is_microsoft and "tds" in each.name.lower()]
    return [*microsoft, *_bundled(), *others]


def choose_driver(wanted: str | None) -> Driver:
    """The driver of ``LIFEBOAT_SQL_DRIVER``, by default the newest of Microsoft's. ``DriverMissing`` says what there
    is instead."""
    there = installed_drivers()
    if wanted is None:
        found = next((each for each in there if each.is_microsoft), None)
    elif "/" in wanted or "\\" in wanted:
        found = Driver(wanted) if Path(wanted).exists() else None
    else:
        found = next((each for each in there if each.name.lower() == wanted.strip("{}").lower()), None)
    if found is None:
        names = ", ".join(each.name for each in there) or "none"
        what = f"there is no ODBC driver {wanted!r}" if wanted else "Microsoft's ODBC driver for SQL Server is not here"
        raise DriverMissing(
            f"{what}; installed: {names}",
            remedy="Install msodbcsql18 (Azure's Functions images have it; the Python package mssql-python-odbc brings "
            "it along), or set LIFEBOAT_SQL_DRIVER to the name or path of a driver that is installed.",
            setting="LIFEBOAT_SQL_DRIVER",
        )
    return found


def connection_string(settings: ServerSettings, password: str, driver: Driver) -> str:
    """Encrypted always. ``SettingsError`` where the server is none, or the driver cannot do what is asked."""
    address = Address.parse(settings.server, settings.named_by)
    braced = _braced if driver.is_microsoft else _braced_for_freetds
    parts = {"Driver": _braced(driver.name), "UID": braced(settings.username), "PWD": braced(password)}
    parts |= _for_microsoft(settings, address) if driver.is_microsoft else _for_freetds(settings, address)
    return ";".join(f"{key}={value}" for key, value in (parts | {"APP": APPLICATION}).items())


def _for_microsoft(settings: ServerSettings, address: Address) -> dict[str, str]:
    if address.port:
        server = f"tcp:{address.host},{address.port}"
    else:
        server = address.host + (f"\\{address.instance}" if address.instance else "")
    parts = {
        "Server": server,
        "Encrypt": "yes",
        "TrustServerCertificate": "yes" if settings.trust_server_certificate else "no",
        "ConnectRetryCount": "0",  # a session that is made anew in silence may be on another replica
    }
    if settings.server_certificate:
        parts["HostnameInCertificate"] = _name_in(settings.server_certificate)
    if address.port or not address.instance:  # the driver refuses it together with a named instance
        parts["MultiSubnetFailover"] = "yes"  # an availability group's listener may have an address in each subnet
    return parts


@contextmanager
def trusting(settings: ServerSettings) -> Iterator[None]:
    """While the block runs, a login accepts the certificate of ``LIFEBOAT_SQL_SERVER_CERTIFICATE`` and no other.

    Microsoft's driver takes ``ServerCertificate=`` only with TDS 8, which SQL Server has from 2022 on; what it asks on
    Linux for every server is OpenSSL's default file, so that is another one for the moment of the login.
    """
    if settings.server_certificate is None:
        yield
        return
    with _trust_lock:
        before = {name: os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")}
        os.environ["SSL_CERT_FILE"] = settings.server_certificate
        os.environ["SSL_CERT_DIR"] = settings.server_certificate  # no folder: no other certificate either
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


_trust_lock = threading.Lock()
"""The environment is the process's."""


def _name_in(file: str) -> str:
    """A name that the certificate is for. ``SettingsError`` where the file holds none (PEM)."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        certificate = x509.load_pem_x509_certificate(Path(file).read_bytes())
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"LIFEBOAT_SQL_SERVER_CERTIFICATE names no certificate: {file} ({error})",
            remedy="Give the path of a PEM file with the certificate that the server shows, or its authority's.",
            setting="LIFEBOAT_SQL_SERVER_CERTIFICATE",
        ) from error
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        dns = names.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        dns = []
    common = [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return (dns or common or [""])[0]


def _for_freetds(settings: ServerSettings, address: Address) -> dict[str, str]:
    if not settings.trust_server_certificate:
        raise SettingsError(
            "the FreeTDS driver encrypts, and cannot check whose certificate the server shows",
            remedy="Use Microsoft's driver, or accept that with LIFEBOAT_SQL_TRUST_SERVER_CERTIFICATE=true.",
            setting="LIFEBOAT_SQL_TRUST_SERVER_CERTIFICATE",
        )
    parts = {"TDS_Version": "7.4", "ClientCharset": "UTF-8", "Encryption": "require"}
    if address.port or not address.instance:
        return {"Server": address.host, "Port": str(address.port or DEFAULT_PORT), **parts}
    return {"Server": f"{address.host}\\{address.instance}", **parts}


def _braced(value: str) -> str:
    return "{" + value.replace("}", "}}") + "}"


def _braced_for_freetds(value: str) -> str:
    """It knows no escape inside braces and reads up to ``};``."""
    if "};" in value:
        raise SettingsError(
            "FreeTDS cannot be given a user name or password with '};' in it",
            remedy="Use Microsoft's driver, or change the password.",
            setting="LIFEBOAT_SQL_DRIVER",
        )
    return "{" + value + "}"


def _version(driver: Driver) -> int:
    match = _MICROSOFT.match(driver.name)
    return int(match[1]) if match else 0


def _bundled() -> list[Driver]:
    """Microsoft's driver inside its Python package ``mssql-python``, where that is installed."""
    spec = importlib.util.find_spec("mssql_python_odbc")
    folders = (spec.submodule_search_locations or []) if spec else []
    machine = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
    pattern = f"libs/linux/debian_ubuntu/{machine}/lib/libmsodbcsql-*"
    found = [path for folder in folders for path in Path(folder).glob(pattern)]
    return [Driver(str(path)) for path in sorted(found, reverse=True)]
