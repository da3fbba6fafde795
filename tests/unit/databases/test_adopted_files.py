"""Where the files of somebody else's backups are for us: paths of the SQL server, mapped to shares, and URLs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.databases.adopted import FileUnreadable, Offered
from shared.databases.adopted_files import PlanFiles
from shared.errors import SettingsError
from shared.settings import AdoptSettings
from shared.smb.endpoint import SmbEndpoint
from shared.storage.foreign_blobs import parts_of
from tests.unit.databases.making import full

MAP = (
    ("\\\\fs\\backups", "smb://nas:4455/sql"),
    ("\\\\fs\\backups\\deep", "smb://other/deep/er"),
    ("D:\\Backup", "smb://sql01/backup"),
    ("E:", "smb://sql01/e"),
)


def place(name: str, *, path_map: tuple[tuple[str, str], ...] = MAP, username: str | None = "u") -> tuple[str, str]:
    files = PlanFiles(AdoptSettings(path_map, username, "p", None), lambda: "p", lambda: "", api_version="2025-11-05")
    found = files._place(Offered(full(0, 1), 1, 2, ((name,),), 1, False, "", "dba"), name)
    assert isinstance(found.endpoint, SmbEndpoint)
    return found.endpoint.url, found.path


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("\\\\fs\\backups\\x.bak", ("smb://nas:4455/sql", "x.bak")),
        ("\\\\FS\\Backups\\Night\\x.bak", ("smb://nas:4455/sql", "Night/x.bak")),
        ("\\\\fs\\backups\\deep\\x.bak", ("smb://other/deep/er", "x.bak")),
        ("\\\\fs\\backups2\\x.bak", ("smb://fs/backups2", "x.bak")),
        ("\\\\other\\share\\a b%20#\\x.bak", ("smb://other/share", "a b%20#/x.bak")),
        ("D:\\Backup\\a\\x.bak", ("smb://sql01/backup", "a/x.bak")),
        ("d:\\backup\\x.bak", ("smb://sql01/backup", "x.bak")),
        ("E:\\x.bak", ("smb://sql01/e", "x.bak")),
    ],
)
def test_a_path_of_the_server_is_a_file_on_a_share_for_us(name: str, expected: tuple[str, str]) -> None:
    assert place(name) == expected


@pytest.mark.parametrize("name", ["C:\\x.bak", "D:\\Backups\\x.bak", "/var/opt/mssql/x.bak", "x.bak"])
def test_a_path_that_is_nowhere_for_us_names_the_map(name: str) -> None:
    with pytest.raises(FileUnreadable) as raised:
        place(name)
    assert raised.value.setting == "LIFEBOAT_SQL_PATH_MAP"


def test_a_user_that_is_missing_is_named_by_its_setting() -> None:
    with pytest.raises(FileUnreadable) as raised:
        place("\\\\fs\\backups\\x.bak", username=None)
    assert raised.value.setting == "LIFEBOAT_SQL_DISK_USERNAME"


@pytest.mark.parametrize("name", ["\\\\fs\\backups\\..\\secret\\x.bak", "\\\\fs\\other\\..\\x.bak", "\\\\fs\\share"])
def test_a_path_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(FileUnreadable):
        place(name)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters='\\/:*?"<>|\0'), min_size=1), min_size=1))
def test_no_name_leaves_the_folder_that_is_mapped(parts: list[str]) -> None:
    name = "\\".join(["D:\\Backup", *parts])
    try:
        endpoint, path = place(name)
    except FileUnreadable:
        assert {".", ".."} & set(parts) or all(part in (".", "..") for part in parts)
    else:
        assert endpoint == "smb://sql01/backup"
        assert ".." not in path.split("/")


# --- URLs ---


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.blob.core.windows.net/c/d/x.bak", ("https://a.blob.core.windows.net", "c", "d/x.bak")),
        (
            "https://a.blob.local.azurestack.external/c/x%20y.bak",
            ("https://a.blob.local.azurestack.external", "c", "x y.bak"),
        ),
        ("http://127.0.0.1:10000/a/c/x.bak", ("http://127.0.0.1:10000/a", "c", "x.bak")),
    ],
)
def test_a_url_is_taken_apart(url: str, expected: tuple[str, str, str]) -> None:
    assert parts_of(url) == expected


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://a.blob.core.windows.net/c/x.bak", "over plain http"),
        ("ftp://a/c/x.bak", "no http or https"),
        ("https://a.blob.core.windows.net/c/x.bak?sig=SECRET", "more than an address"),
        ("https://user:SECRET@a.blob.core.windows.net/c/x.bak", "more than an address"),
        ("https://a.blob.core.windows.net/c", "names no blob"),
    ],
)
def test_a_url_that_no_sas_is_sent_to(url: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says) as raised:
        parts_of(url)
    assert "SECRET" not in str(raised.value)
