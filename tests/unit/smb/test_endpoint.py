"""Where a share is, from what people write."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import SettingsError
from shared.smb.endpoint import SmbEndpoint, server_and_port

NAMES = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="/\\"), min_size=1, max_size=20
).filter(lambda name: name not in (".", ".."))


def parse(url: str) -> SmbEndpoint:
    return SmbEndpoint.parse(url, "user", "the-secret", setting="LIFEBOAT_SHARE_URL")


@pytest.mark.parametrize(
    ("url", "server", "port", "share", "path"),
    [
        ("smb://fs/WebSites", "fs", 445, "WebSites", ""),
        ("smb://fs/WebSites/", "fs", 445, "WebSites", ""),
        ("smb://fs.example.com:4450/data/a/b c/d", "fs.example.com", 4450, "data", "a/b c/d"),
        ("SMB://10.0.0.1/data//a//", "10.0.0.1", 445, "data", "a"),
        ("smb://[fe80::1]:444/data", "fe80::1", 444, "data", ""),
        ("smb://fs/data/a%20b/%23", "fs", 445, "data", "a b/#"),
        ("smb://fs/data/a#b?c", "fs", 445, "data", "a#b?c"),
        (r"smb:\\fs\data\sub", "fs", 445, "data", "sub"),
        ("smb://fs/C$", "fs", 445, "C$", ""),
    ],
)
def test_the_parts_of_a_url(url: str, server: str, port: int, share: str, path: str) -> None:
    endpoint = parse(url)
    assert (endpoint.server, endpoint.port, endpoint.share, endpoint.path) == (server, port, share, path)


@pytest.mark.parametrize(
    "url",
    [
        "", "fs/data", "//fs/data", "http://fs/data", "smb://", "smb://fs", "smb://fs/", "smb:///data", "smb://fs:0/data",
        "smb://fs:99999/data", "smb://fs:x/data", "smb://fs/data/../other", "smb://fs/data/.", "smb://fs/data/a%2Fb",
        "smb://fs/data/a%00b", "smb://u:the-secret@fs/data", "smb://[::1/data", "smb://f s/data",
    ],
)  # fmt: skip
def test_what_is_no_address_names_the_setting_and_the_form(url: str) -> None:
    with pytest.raises(SettingsError) as error:
        parse(url)
    assert error.value.setting == "LIFEBOAT_SHARE_URL"
    assert "smb://server" in error.value.remedy
    assert "the-secret" not in str(error.value)


def test_a_missing_user_names_its_setting() -> None:
    with pytest.raises(SettingsError) as error:
        SmbEndpoint.parse("smb://fs/data", "", "x", setting="LIFEBOAT_SHARE_URL")
    assert error.value.setting == "LIFEBOAT_SHARE_USERNAME"


@given(NAMES, st.lists(NAMES, max_size=4), st.integers(1, 65535))
def test_every_name_survives_when_it_is_escaped(share: str, folders: list[str], port: int) -> None:
    path = "/".join(quote(part, safe="") for part in [share, *folders])
    endpoint = parse(f"smb://server:{port}/{path}")
    assert (endpoint.port, endpoint.share, endpoint.path) == (port, share, "/".join(folders))


@given(st.text(max_size=60))
def test_nothing_else_is_ever_raised(url: str) -> None:
    with contextlib.suppress(SettingsError):
        parse(url)


def test_the_password_is_not_printed() -> None:
    endpoint = parse("smb://fs/data")
    assert "the-secret" not in repr(endpoint)
    assert "the-secret" not in endpoint.url


def test_importing_the_client_does_not_import_smbprotocol() -> None:
    heavy = "name.split('.')[0] in ('smbprotocol', 'spnego')"
    code = f"import sys, shared.smb.client; sys.exit(any({heavy} for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("smb://FS01/WebSites", ("fs01", 445)),
        ("smb://fs01:4445/WebSites/a", ("fs01", 4445)),
        ("smb://[fd00::1]:4445/WebSites", ("fd00::1", 4445)),
        ("file:///srv/share", None),
        ("smb://fs01:port/WebSites", None),
        ("smb://[fd00/WebSites", None),
        ("", None),
    ],
)
def test_server_and_port_of_what_a_record_may_hold(url: str, found: tuple[str, int] | None) -> None:
    assert server_and_port(url) == found
