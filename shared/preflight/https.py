"""The way to a service that speaks HTTP, as the Azure libraries go it: by the proxy that the environment names, with
trust in the same authorities. Each fault on it has words of its own.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from shared.errors import SettingsError
from shared.preflight.check import Found, failed, passed, warned
from shared.storage.azure_endpoint import NO_ADDRESS

PROXY, BUNDLE = "HTTPS_PROXY", "REQUESTS_CA_BUNDLE"
LOOK_SECONDS = 3.0
"""What reading a certificate that is not trusted may take besides: it only makes the message better."""
MOST_STEPS = 4
"""How many times the limit of a step all of them together may take; whoever waits has given up by then."""
MOST_NAMES = 4
_OLD_TLS = {"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "VERSION_TOO_LOW"}
_NO_TLS = {"WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}
_OTHER_NAME, _NOT_YET, _EXPIRED = {62, 64}, 9, 10
"""Of OpenSSL's results of verification."""


@dataclass(frozen=True, slots=True)
class Proxy:
    host: str
    port: int
    kind: str
    """``http`` is gone through here; of others only name and port are looked at."""
    authorization: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Way:
    host: str
    port: int
    tls: bool
    proxy: Proxy | None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def by(self) -> str:
        """To be put after a detail."""
        return f", by the proxy {self.proxy.host}:{self.proxy.port}" if self.proxy else ""


def way_to(url: str) -> Way:
    """``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY`` as the Azure libraries, which use ``requests``, take them.
    ``SettingsError`` for a proxy that is no address."""
    from requests.utils import get_environ_proxies, select_proxy

    parts = urlsplit(url)
    tls = parts.scheme.lower() == "https"
    named = select_proxy(url, get_environ_proxies(url))
    return Way(parts.hostname or "", parts.port or (443 if tls else 80), tls, _proxy(named) if named else None)


def tls_found(way: Way, *, seconds: float, setting: str) -> Found:
    """TLS, and a certificate that is good for the host and comes from an authority that the libraries trust."""
    if way.proxy and way.proxy.kind != "http":
        return warned(f"{way} is reached by a {way.proxy.kind} proxy, through which preflight does not look")
    try:
        with _opened(way, seconds) as connection:
            secured = _secured(connection, way)
            return passed(f"{secured.version()}, and the certificate is good for {way.host}{way.by}")
    except _NoBundle as error:
        return failed(str(error), f"Correct {BUNDLE}, or remove it.", setting=BUNDLE)
    except ssl.SSLCertVerificationError as error:
        return _not_trusted(way, error, setting)
    except ssl.SSLError as error:
        return _no_tls(way, error, setting)
    except (OSError, http.client.HTTPException) as error:
        return _broken(way, error, setting, "TLS", seconds)


def clock_ahead(way: Way, *, seconds: float, setting: str) -> Found | float | None:
    """How many seconds the clock of the service is ahead of ours, by the header ``Date``; None: it does not tell.
    ``Found``: what answers is no service of Azure's, or nothing does."""
    if way.proxy and way.proxy.kind != "http":
        return warned(f"the clock of {way.host} is not looked at through a {way.proxy.kind} proxy")
    target = f"http://{way}/?comp=list" if way.proxy and not way.tls else "/?comp=list"
    try:
        with _opened(way, seconds) as connection:
            if way.tls:
                _secured(connection, way)
            asked = datetime.now(UTC)
            connection.request("GET", target, headers=_login(way.proxy) if not way.tls else {})
            answer = connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        return _broken(way, error, setting, "HTTP", seconds)
    stranger = _stranger(way, answer, setting)
    if stranger is not None:
        return stranger
    try:
        theirs = parsedate_to_datetime(answer.getheader("Date") or "")
    except ValueError:
        return None
    if theirs.tzinfo is None:
        theirs = theirs.replace(tzinfo=UTC)
    ahead = (theirs - asked).total_seconds()
    return 0.0 if abs(ahead) < 1 else ahead  # it is told in whole seconds


def trusted() -> ssl.SSLContext:
    """What the Azure libraries trust: the authorities in ``REQUESTS_CA_BUNDLE``, else those that ``certifi`` brings.
    ``OSError``: it cannot be read."""
    import certifi

    named = os.environ.get(BUNDLE) or os.environ.get("CURL_CA_BUNDLE") or certifi.where()
    try:
        if Path(named).is_dir():
            return ssl.create_default_context(capath=named)
        return ssl.create_default_context(cafile=named)
    except OSError as error:  # ssl.SSLError, for a file that is none, is one too
        raise _NoBundle(f"{BUNDLE} names {named}, which cannot be read as certificates: {error}") from error


class _NoBundle(OSError):
    """The authorities to trust cannot be read."""


def _proxy(url: str) -> Proxy:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        named = parts.port
    except ValueError as error:
        raise SettingsError(
            f"{PROXY} is no address: {NO_ADDRESS}",
            remedy=f"Set {PROXY} to http://HOST:PORT. In a user and password before the host, write a slash as %2F, a "
            "colon as %3A and an @ as %40.",
            setting=PROXY,
        ) from error
    kind = parts.scheme.lower()
    login = None
    if parts.username:
        plain = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        login = f"Basic {base64.b64encode(plain.encode()).decode()}"
    return Proxy(parts.hostname or "", named or (443 if kind == "https" else 80), kind, login)


def _login(proxy: Proxy | None) -> dict[str, str]:
    return {"Proxy-Authorization": proxy.authorization} if proxy and proxy.authorization else {}


@contextlib.contextmanager
def _opened(way: Way, seconds: float) -> Iterator[http.client.HTTPConnection]:
    """Connected, through the proxy where there is one; TLS is still to come."""
    first = way.proxy or way
    connection = http.client.HTTPConnection(first.host, first.port, timeout=seconds)
    if way.proxy and way.tls:
        connection.set_tunnel(way.host, way.port, _login(way.proxy))
    end = threading.Timer(MOST_STEPS * seconds, _end, [connection])
    end.daemon = True
    end.start()
    try:
        connection.connect()
        yield connection
    finally:
        end.cancel()
        connection.close()


def _end(connection: http.client.HTTPConnection) -> None:
    """Of one whose other side sends so slowly that no limit of a single step ends it."""
    if connection.sock is not None:
        with contextlib.suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)


def _secured(connection: http.client.HTTPConnection, way: Way, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
    """Begin TLS on it; what is asked of the connection from now on goes inside."""
    secured = (context or trusted()).wrap_socket(connection.sock, server_hostname=way.host)
    connection.sock = secured
    return secured


def _not_trusted(way: Way, error: ssl.SSLCertVerificationError, setting: str) -> Found:
    what = f"the certificate that {way} shows{_shown(way)}"
    if error.verify_code in _OTHER_NAME:
        return failed(
            f"{what} is for another name than {way.host}",
            f"Check the name in {setting}, and to which address it resolves (row 'name'): a private endpoint goes by "
            "the service's own name; a proxy or firewall that breaks TLS open must let this host pass.",
            setting=setting,
        )
    if error.verify_code in (_NOT_YET, _EXPIRED):
        return failed(
            f"{what} {'has expired' if error.verify_code == _EXPIRED else 'is not valid yet'}",
            "Have it renewed; if it is good by another clock, set the clock of this machine.",
            setting=setting,
        )
    return failed(
        f"{what} comes from an authority that is not trusted here: {error.verify_message}",
        "If a proxy or firewall breaks TLS open, exempt this host there. If the authority is your own, put its "
        f"certificate, together with those of the file that the Python package certifi names, into a PEM file and set "
        f"{BUNDLE} to it.",
        setting=BUNDLE,
    )


def _shown(way: Way) -> str:
    """For whom the certificate is and by whom, to be put after it; empty where that cannot be seen."""
    from cryptography import x509

    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname = False
    blind.verify_mode = ssl.CERT_NONE  # it is looked at, and nothing is sent
    try:
        with _opened(way, LOOK_SECONDS) as connection:
            shown = x509.load_der_x509_certificate(_secured(connection, way, blind).getpeercert(True) or b"")
        try:
            names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            told = [str(each.value) for each in names if isinstance(each, x509.DNSName | x509.IPAddress)]
        except x509.ExtensionNotFound:
            told = [shown.subject.rfc4514_string()]
        return f" (for {', '.join(told[:MOST_NAMES])}, by {shown.issuer.rfc4514_string()})"
    except (OSError, ValueError, http.client.HTTPException):
        return ""


def _no_tls(way: Way, error: ssl.SSLError, setting: str) -> Found:
    if error.reason in _OLD_TLS:
        return failed(
            f"{way} speaks only a TLS that is older than 1.2",
            "What answers there is no service of Azure's: see which proxy or firewall is in between, and let this "
            "host pass it.",
            setting=setting,
        )
    if error.reason in _NO_TLS:
        return failed(
            f"{way} speaks no TLS{way.by}: something else answers there",
            f"Check the port in {setting}; a proxy that answers plain HTTP is named in {PROXY}, not reached by the "
            "name of the service.",
            setting=setting,
        )
    return failed(
        f"{way} breaks TLS off{way.by}: {error.reason or error}",
        "Something in between refuses it, such as a firewall that looks at the name of the host: let this host pass.",
        setting=setting,
    )


def _broken(way: Way, error: Exception, setting: str, what: str, seconds: float) -> Found:
    """Of a connection that came about, since the check of the port has passed, and no answer on it."""
    if way.proxy and str(error).startswith("Tunnel connection failed"):
        told = str(error).partition(": ")[2]
        if told.startswith("407"):
            remedy = f"Write user and password into {PROXY}, before the proxy's host and an @, or let this host pass."
        else:
            remedy = f"Let the proxy pass {way}, or name the host in NO_PROXY where there is a way without it."
        return failed(f"the proxy {way.proxy.host}:{way.proxy.port} refuses {way}: {told}", remedy, setting=PROXY)
    if isinstance(error, TimeoutError):
        return failed(
            f"{way} takes connections and then says nothing for {seconds:.0f} s{way.by}",
            "Something in between swallows what is sent: a firewall that looks into TLS, a load balancer without a "
            "machine behind it, or packets that are too large for a VPN.",
            setting=setting,
        )
    if isinstance(error, ConnectionError):
        return failed(
            f"{way} takes connections and closes them before it answers{way.by}",
            "Something in between refuses it, such as the firewall of the service or one that looks at the name of "
            "the host: let this network, and this host, pass.",
            setting=setting,
        )
    return failed(
        f"{way} does not answer as {what}{way.by}: {str(error) or type(error).__name__}",
        f"Check {setting}: something else answers there.",
        setting=setting,
    )


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _stranger(way: Way, answer: http.client.HTTPResponse, setting: str) -> Found | None:
    """What answers in place of the service. Each of Azure's marks its answers with headers of its own."""
    if any(name.lower().startswith("x-ms-") for name, _ in answer.getheaders()):
        return None
    past = f"Let {way.host} past the proxy, firewall or portal in between, and check {setting}."
    if answer.status == 407:
        return failed(f"a proxy in front of {way} asks for a login (407)", past, setting=PROXY)
    if 300 <= answer.status < 400:
        where = _host(answer.getheader("Location") or "") or "another page"
        return failed(
            f"{way} sends us on to {where} ({answer.status}), which no service of Azure does: a portal is in between",
            past,
            setting=setting,
        )
    if (answer.getheader("Content-Type") or "").lower().startswith("text/html"):
        return failed(
            f"{way} answers with a web page ({answer.status}), which no service of Azure does: a proxy or a portal is "
            "in between",
            past,
            setting=setting,
        )
    return None
