"""Where the share lies on the file server, and where restic puts it in a snapshot."""

from __future__ import annotations

import pytest

from shared.agent.windows_path import from_snapshot, local_path, path_in_snapshot
from shared.errors import UsageError


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("D:\\WebSites", "D:\\WebSites"),
        ("d:/Web Sites/", "d:\\Web Sites"),
        ("D:\\O'Brien $x `y` äöü ‘q’", "D:\\O'Brien $x `y` äöü ‘q’"),
        ("D:\\", "D:\\"),
        ("D:", "D:\\"),
        ("C:\\ClusterStorage\\Volume1\\Shares\\WebSites", "C:\\ClusterStorage\\Volume1\\Shares\\WebSites"),
    ],
)
def test_a_folder_on_a_drive_is_taken(given: str, taken: str) -> None:
    assert local_path(given) == taken


@pytest.mark.parametrize("path", ["\\\\fs\\WebSites", "//fs/WebSites", "\\\\?\\UNC\\fs\\WebSites"])
def test_a_path_in_the_network_is_refused_since_no_shadow_copy_is_made_of_it(path: str) -> None:
    with pytest.raises(UsageError, match="no shadow copy") as refused:
        local_path(path)
    assert "Get-SmbShare" in refused.value.remedy


@pytest.mark.parametrize(
    "path",
    ["", "WebSites", "\\WebSites", "D:WebSites", "D:\\a\\..\\b", "D:\\a:b", 'D:\\a"b', "D:\\a\nb", "D:\\*", "é:\\a"],
)
def test_what_is_no_folder_on_a_drive_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match="no path of a folder"):
        local_path(path)


@pytest.mark.parametrize(
    ("windows", "snapshot"),
    [("D:\\WebSites", "/D/WebSites"), ("C:\\a b\\c", "/C/a b/c"), ("D:\\", "/D")],
)
def test_restic_makes_the_drive_a_folder(windows: str, snapshot: str) -> None:
    assert path_in_snapshot(windows) == snapshot
    found = from_snapshot(snapshot)
    assert found is not None
    assert local_path(found) == windows


@pytest.mark.parametrize("setting", ["/D/WebSites", "D:\\WebSites", "D/WebSites/", "D:/WebSites"])
def test_the_setting_may_be_written_as_windows_or_restic_does(setting: str) -> None:
    assert from_snapshot(setting) == "D:\\WebSites"


@pytest.mark.parametrize("path", ["/srv/WebSites", "WebSites", "", "//D", "\\\\fs\\WebSites"])
def test_a_path_of_another_system_names_no_drive(path: str) -> None:
    assert from_snapshot(path) is None
