"""The endpoint of a storage account: its names, what it must look like, and the connections to it."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from shared.errors import SettingsError

if TYPE_CHECKING:
    from azure.core.pipeline.transport import RequestsTransport

CONNECT_TIMEOUT_SECONDS = 10
READ_TIMEOUT_SECONDS = 60
"""How long the service may stay silent between two packets; a long body that keeps moving is no matter."""

KEEP_ALIVE_SECONDS = 60

SOCKETS = 32
"""Connections kept open for reuse; more threads than that work too and open a connection for each further call."""

READ_BLOCK_BYTES = 4 << 20
"""How much of a body is taken from a socket at once."""


_GIVE = "give the account's blob endpoint, such as https://ACCOUNT.blob.core.windows.net"
NO_ADDRESS = "its port is no number up to 65535, or a bracket is not closed"


def account_name(url: str) -> str:
    """The account that a blob endpoint belongs to: its path for emulators, else the first label of its host."""
    parts = urlsplit(url)
    path = parts.path.strip("/")
    return path.split("/")[0] if path else (parts.hostname or "").split(".")[0]


def blob_url(account_url: str, container: str, name: str) -> str:
    """The plain URL of a blob, its name encoded as the library encodes it."""
    return f"{account_url.rstrip('/')}/{container}/{quote(name, safe='~/')}"


def is_loopback(url: str) -> bool:
    """Whether it is on this machine, as emulators are."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def require_address(url: str, setting: str, *, remedy: str) -> None:
    """``SettingsError`` where it cannot be taken apart. It does not repeat what is there: that may be a password."""
    try:
        _ = urlsplit(url).port
    except ValueError as error:
        raise SettingsError(f"{setting} is no address: {NO_ADDRESS}", remedy=remedy, setting=setting) from error


def check_endpoint(url: str, setting: str, *, entra_id: bool) -> None:
    require_address(url, setting, remedy=_GIVE)
    parts = urlsplit(url)
    reason = None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        reason = "it is no http or https address"
    elif parts.query or parts.username:
        reason = "it must be the bare endpoint, without SAS or credentials"
    elif _is_address(parts.hostname) and not parts.path.strip("/"):
        reason = "an address without a domain needs the account as its path"
    if reason:
        shown = f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
        raise SettingsError(
            f"{setting} ({shown}) cannot be used: {reason}",
            remedy=_GIVE,
            setting=setting,
        )
    if entra_id and parts.scheme == "http":
        raise SettingsError(
            f"{setting} is a plain http address, over which no Entra ID token may be sent",
            remedy="use https, or set the account key",
            setting=setting,
        )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


def check_key(key: str, setting: str) -> None:
    try:
        base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SettingsError(
            f"{setting} is not an account key: it is not base64",
            remedy="copy the key again from the account's access keys",
            setting=setting,
        ) from error


def transport(url: str) -> RequestsTransport:
    """Connections for many threads; proxies and certificates of the environment are looked up once, not per call.

    They are kept alive by TCP too: a copy is silent for longer than Azure's load balancers remember a connection.
    """
    import requests
    from azure.core.pipeline.transport import RequestsTransport
    from requests.adapters import HTTPAdapter
    from requests.utils import get_environ_proxies
    from urllib3.connection import HTTPConnection
    from urllib3.util.retry import Retry

    class KeptAlive(HTTPAdapter):
        def init_poolmanager(self, *arguments: Any, **options: Any) -> None:  # as requests passes them
            super().init_poolmanager(
                *arguments, **options, socket_options=[*HTTPConnection.default_socket_options, *_keep_alive()]
            )

    session = requests.Session()
    session.trust_env = False
    session.proxies.update(get_environ_proxies(url))
    session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    adapter = KeptAlive(
        pool_connections=2, pool_maxsize=SOCKETS, max_retries=Retry(total=False, redirect=False, raise_on_status=False)
    )
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return RequestsTransport(
        session=session,
        connection_verify=session.verify,
        connection_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=READ_TIMEOUT_SECONDS,
        connection_data_block_size=READ_BLOCK_BYTES,
        use_env_settings=False,
    )


def _keep_alive() -> list[tuple[int, int, int]]:
    """Socket options: a sign of life after each ``KEEP_ALIVE_SECONDS`` of silence, as far as this system has them."""
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL"):
        if hasattr(socket, name):
            options.append((socket.IPPROTO_TCP, getattr(socket, name), KEEP_ALIVE_SECONDS))
    return options
