"""A snapshot as restic makes it on Windows, adopted and brought back to a share: its path begins with a drive, and its
nodes have what Windows knows of files."""

from __future__ import annotations

import time

import orjson
import pytest

from shared.fileshare.inside import TAG
from shared.repository.reader import BlobReader
from shared.repository.repository import Repository
from shared.repository.snapshots import Summary, load_snapshot, save_snapshot
from shared.repository.trees import Metadata, dir_node, rfc3339, tree_bytes
from shared.repository.writer import BlobWriter
from tests.integration.share.conftest import PASSWORD, Site, contents


def _as_on_windows(site: Site, snapshot: str, folders: tuple[str, ...]) -> str:
    """The share of ``snapshot`` again, where restic on a file server would have put it. There is no Windows here: the
    trees of the share are those that Lifeboat read over SMB, the rest is written by restic's rules."""
    with site.vault.judge() as store:
        repository = Repository.open(store, PASSWORD)
        repository.load_index()
        (share,) = BlobReader(repository).tree(load_snapshot(repository, snapshot).tree)
        *above, name = folders
        node = orjson.dumps(share | {"name": name.replace("\\", "\\\\")})
        with BlobWriter(repository) as writer:
            tree = writer.save(tree_bytes([(name.encode(), node)]), tree=True).hex()
            for folder in reversed(above):
                raw = folder.encode()
                node = dir_node(raw, Metadata(mtime_ns=0, ctime_ns=0), tree)
                tree = writer.save(tree_bytes([(raw, node)]), tree=True).hex()
        windows = f"{folders[0]}:\\" + "\\".join(folders[1:]) if len(folders[0]) == 1 else "\\".join(folders)
        return save_snapshot(
            repository,
            time=rfc3339(time.time_ns()),
            tree=tree,
            paths=[windows],
            hostname="FS01",
            program_version="restic 0.19.1",
            summary=Summary("", "", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
            tags=[TAG],
        )


@pytest.mark.parametrize(
    ("folders", "setting", "path"),
    [
        (("D", "Shares", "WebSites"), None, "/D/Shares/WebSites"),
        (("D", "WebSites"), "d:\\websites", "/D/WebSites"),
        (("\\\\fs01\\WebSites",), None, "/\\\\fs01\\WebSites"),
    ],
)
def test_what_restic_has_made_on_windows_comes_back_to_a_share(
    site: Site, folders: tuple[str, ...], setting: str | None, path: str
) -> None:
    for number in range(12):
        site.put(f"site{number % 3}/wwwroot/page {number}.html", b"page %d" % number)
    site.put("zip/big.zip", bytes(range(256)) * 20_000)
    read = site.back_up()
    snapshot = _as_on_windows(site, read["snapshot"], folders)
    site.set(SHARE_MODE="adopt")
    if setting:
        site.set(SHARE_ADOPT_PATH=setting)
    made = site.back_up()
    assert made["snapshot"] == snapshot
    assert made["components"]["share"]["files"] == 13
    record = site.run("show", made["point"])[1]["components"]["share"]
    assert (record["path"], record["baseline_files"]) == (path, 13)

    target = site.samba.root / f"{site.name}-restored"
    target.mkdir()
    target.chmod(0o777)
    code, restored = site.run("restore", "share", "--to", site.samba.url("data", target.name))
    assert (code, restored["restored"], restored["reasons"]) == (0, 13, [])
    assert contents(target) == contents(site.folder)
    for file in target.rglob("*.html"):
        assert file.stat().st_mtime_ns // 100 == (site.folder / file.relative_to(target)).stat().st_mtime_ns // 100
