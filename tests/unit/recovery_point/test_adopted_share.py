"""Which snapshot of the repository is taken for the share, and why one is not: made by stock restic as a task on a file
server makes them, in a folder."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.errors import Damaged, SettingsError
from shared.fileshare.inside import TAG
from shared.fileshare.shard import Progress
from shared.fileshare.sources import SourceOpener
from shared.recovery_point.adopted_share import AdoptedShare, adopted_share
from shared.recovery_point.opening import open_share
from shared.recovery_point.record import RecoveryPoint
from shared.recovery_point.share import History, ShareComponent, read_history
from shared.repository.packs import pack_name
from shared.repository.repository import Repository
from shared.repository.snapshots import load_snapshot
from shared.repository.trees import rfc3339
from tests.standins.restic import ResticRepository, StockRestic
from tests.unit.fileshare.helpers import PASSWORD, Bench, share_settings

Json = dict[str, Any]
HOST = ("--host", "FS01")
TAGGED = ("--tag", TAG)


class Site:
    """A file server with a share, a repository in a folder, and what its recovery points say of the share."""

    def __init__(self, folder: Path, restic: StockRestic) -> None:
        self.bench = Bench(folder / "vault")
        self.share = folder / "data" / "WebSites"
        self.share.mkdir(parents=True)
        self.restic: ResticRepository = restic.on_folder(self.bench.path, PASSWORD)
        self.points: list[RecoveryPoint] = []
        """Newest first."""
        self.fill(10)

    def fill(self, count: int, *, text: str = "content") -> None:
        for file in self.share.rglob("*.html"):
            file.unlink()
        for number in range(count):
            file = self.share / f"site{number % 3}" / f"{number}.html"
            file.parent.mkdir(exist_ok=True)
            file.write_text(f"{text} {number}")

    def agent(self, *paths: Path | str, options: tuple[str, ...] = (*TAGGED, *HOST), cwd: Path | None = None) -> str:
        """The snapshot that stock restic has made."""
        made = self.restic.backup(*(paths or [self.share]), options=options, cwd=cwd)
        return next(str(each["id"]) for each in self.restic.snapshots() if each["id"].startswith(made["snapshot_id"]))

    def at(self, ago: timedelta, **share: Any) -> str:
        """A snapshot that says it is as old as that."""
        moment = (datetime.now() - ago).strftime("%Y-%m-%d %H:%M:%S")  # restic takes the time of its machine
        return self.agent(options=(*TAGGED, *HOST, "--time", moment), **share)

    def component(self, *, allow_shrink: bool = False, **settings: str) -> AdoptedShare:
        made = share_settings(SHARE_MODE="adopt", SHARE_URL="smb://sofs01.example/WebSites", **settings)
        history = read_history(self.points)
        opener = SourceOpener(made, "")
        return adopted_share(opener, self.bench.open(), history, lambda: None, allow_shrink=allow_shrink)

    def adopt(self, *, allow_shrink: bool = False, record: bool = True, **settings: str) -> tuple[Json, list[Json]]:
        """A recovery point's share, which is recorded."""
        share, reasons = self.component(allow_shrink=allow_shrink, **settings).back_up()
        if record:
            self.record(share)
        return share, reasons

    def record(self, share: Json) -> None:
        point = RecoveryPoint(
            point=f"20261125T0000{len(self.points):02d}Z-000000",
            time="2026-11-25T00:00:00Z",
            status=share["status"],
            requested=["share"],
            not_configured=[],
            without=[],
            whole=True,
            suspect=bool(share.get("suspect")),
            components={"share": share},
        )
        self.points.insert(0, RecoveryPoint.from_bytes(point.to_bytes(), "points/x.json"))

    def read(self, **settings: str) -> Json:
        """The share as Lifeboat itself reads it."""
        made = share_settings(SHARE_URL=self.share.as_uri(), **settings)
        component = ShareComponent(
            settings=made,
            repository=self.bench.open(),
            history=read_history(self.points),
            opener=SourceOpener(made, ""),
            progress=Progress(),
            check=lambda: None,
        )
        share, _ = component.back_up()
        self.record(share)
        return share

    def snapshot_file(self, snapshot: str) -> Path:
        return self.bench.path / "snapshots" / snapshot


@pytest.fixture
def site(tmp_path: Path, newest_restic: StockRestic) -> Site:
    return Site(tmp_path, newest_restic)


def codes(reasons: list[Json]) -> list[str]:
    return [reason["code"] for reason in reasons]


def only(reasons: list[Json]) -> Json:
    (reason,) = reasons
    return reason


# --- what fits ---


def test_the_newest_tagged_snapshot_is_taken_with_what_is_in_it(site: Site) -> None:
    site.agent()
    site.fill(12)
    (site.share / "empty" / "deep").mkdir(parents=True)
    newest = site.agent()
    share, reasons = site.adopt()
    assert (share["status"], reasons) == ("complete", [])
    assert share["snapshot"] == newest
    assert share["path"] == site.share.as_posix()
    content = [file for file in site.share.rglob("*") if file.is_file()]
    assert (share["files"], share["bytes"]) == (12, sum(file.stat().st_size for file in content))
    assert share["dirs"] == len([path for path in site.share.rglob("*") if path.is_dir()]) + 1
    assert share["source"] == {"hostname": "sofs01.example", "path": "/WebSites", "name": "WebSites"}
    assert share["adopted"]["hostname"] == "FS01"
    said = site.restic.snapshots()[-1]
    assert share["data_time"] == rfc3339(load_snapshot(site.bench.open(), newest).time_ns)
    assert share["data_time"][:10] == datetime.fromisoformat(said["time"][:26]).astimezone(UTC).isoformat()[:10]
    assert "exit code 3" in share["notes"][0]


def test_folders_that_are_alike_count_in_each_place(site: Site) -> None:
    for name in ("one", "two", "three/inner"):
        copy = site.share / "copies" / name
        shutil.copytree(site.share / "site0", copy, copy_function=shutil.copy2)
    files = [path for path in site.share.rglob("*") if path.is_file()]
    site.agent()
    share, _ = site.adopt()
    assert share["files"] == len(files)


def test_nothing_is_taken_that_is_not_the_share_s(site: Site) -> None:
    site.agent(options=())
    site.agent(options=("--tag", "database", *TAGGED))
    site.agent(options=("--tag", "other"))
    share, reasons = site.adopt()
    assert (share["status"], share["snapshot"]) == ("failed", None)
    assert codes(reasons) == ["no-snapshot"]
    assert "none of the 3 snapshots" in only(reasons)["message"]
    assert only(reasons)["setting"] == "LIFEBOAT_SHARE_MODE"


def test_the_newest_counts_by_its_moment_where_an_older_one_was_brought_back(site: Site) -> None:
    older = site.at(timedelta(hours=5))
    newer = site.at(timedelta(hours=1))
    now = datetime.now().timestamp()
    os.utime(site.snapshot_file(newer), (now - 3600, now - 3600))
    os.utime(site.snapshot_file(older), (now, now))
    assert site.adopt()[0]["snapshot"] == newer


@pytest.mark.parametrize("write", [str, lambda path: str(path) + "/", lambda path: str(path).upper()])
def test_the_setting_says_which_of_several_paths_is_the_share(site: Site, write: Callable[[Path], str]) -> None:
    other = site.share.parent / "Other"
    other.mkdir()
    (other / "file").write_text("of something else")
    site.agent(site.share, other)
    _, reasons = site.adopt(record=False)
    assert codes(reasons) == ["several-paths"]
    assert only(reasons)["setting"] == "LIFEBOAT_SHARE_ADOPT_PATH"
    share, reasons = site.adopt(SHARE_ADOPT_PATH=write(site.share))
    assert (share["status"], share["files"], reasons) == ("complete", 10, [])
    assert share["path"] == site.share.as_posix()


def test_a_relative_path_is_taken_where_the_setting_names_it(site: Site) -> None:
    site.agent("WebSites", cwd=site.share.parent)
    _, reasons = site.adopt(record=False)
    assert codes(reasons) == ["foreign-snapshot"]
    share, reasons = site.adopt(SHARE_ADOPT_PATH="WebSites")
    assert (share["path"], share["files"], reasons) == ("/WebSites", 10, [])


@pytest.mark.parametrize("path", ["D:\\..", "\\\\server", "/"])
def test_a_path_that_is_none_is_a_wrong_setting_before_anything_is_done(path: str) -> None:
    settings = share_settings(SHARE_MODE="adopt", SHARE_ADOPT_PATH=path)
    with pytest.raises(SettingsError) as refused:
        open_share(None, settings)  # type: ignore[arg-type]  # nothing is asked of the vault
    assert refused.value.setting == "LIFEBOAT_SHARE_ADOPT_PATH"


# --- what does not fit ---


def test_a_snapshot_without_the_path_is_foreign_and_an_older_one_is_taken_in_part(site: Site) -> None:
    good = site.agent()
    other = site.share.parent / "Other"
    other.mkdir()
    foreign = site.agent(other)
    share, reasons = site.adopt(SHARE_ADOPT_PATH=str(site.share))
    assert (share["status"], share["snapshot"]) == ("partial", good)
    assert codes(reasons) == ["foreign-snapshot"]
    assert only(reasons)["object"] == f"share/snapshots/{foreign}"


@pytest.mark.parametrize("names", [("site0",), ("site0", "site1")])
def test_a_snapshot_of_some_folders_of_the_share_is_not_the_share(site: Site, names: tuple[str, ...]) -> None:
    """Its path is there all the same: restic keeps what it backs up below all the folders above it."""
    some = site.agent(*(site.share / name for name in names))
    share, reasons = site.adopt(SHARE_ADOPT_PATH=str(site.share), record=False)
    assert (share["status"], codes(reasons)) == ("failed", ["foreign-snapshot"])
    assert only(reasons)["object"] == f"share/snapshots/{some}"
    assert "a part of" in only(reasons)["message"]
    whole = site.agent(site.share / "site0", site.share)
    share, reasons = site.adopt(SHARE_ADOPT_PATH=str(site.share))
    assert (share["status"], share["snapshot"], share["files"], reasons) == ("complete", whole, 10, [])


def test_where_nothing_fits_the_component_has_failed(site: Site) -> None:
    site.agent()
    share, reasons = site.adopt(SHARE_ADOPT_PATH="D:\\WebSites")
    assert (share["status"], codes(reasons)) == ("failed", ["foreign-snapshot"])
    assert "/D/WebSites" in only(reasons)["message"]


def test_a_file_is_no_share(site: Site) -> None:
    (site.share.parent / "file").write_text("x")
    site.agent(site.share.parent / "file")
    assert codes(site.adopt()[1]) == ["foreign-snapshot"]


@pytest.mark.parametrize("moved", ["host", "path"])
def test_another_host_or_path_than_before_is_foreign_until_it_is_accepted(site: Site, moved: str) -> None:
    first = site.agent()
    assert site.adopt()[0]["status"] == "complete"
    elsewhere = site.share.parent.parent / "moved" / "WebSites"
    shutil.copytree(site.share, elsewhere)
    second = site.agent(elsewhere) if moved == "path" else site.agent(options=(*TAGGED, "--host", "FS02"))
    share, reasons = site.adopt()
    assert (share["status"], share["snapshot"], codes(reasons)) == ("partial", first, ["foreign-snapshot"])
    assert "--allow-shrink" in only(reasons)["remedy"]
    share, reasons = site.adopt(allow_shrink=True)
    assert (share["status"], share["snapshot"], reasons) == ("complete", second, [])
    assert site.adopt()[0]["snapshot"] == second


def test_the_case_of_a_host_s_name_does_not_count(site: Site) -> None:
    site.agent()
    site.adopt()
    site.agent(options=(*TAGGED, "--host", "fs01"))
    assert site.adopt()[0]["status"] == "complete"


# --- how old ---


def test_one_that_is_too_old_is_partial_and_says_so(site: Site) -> None:
    snapshot = site.at(timedelta(hours=30))
    share, reasons = site.adopt()
    assert (share["status"], share["snapshot"], codes(reasons)) == ("partial", snapshot, ["too-old"])
    assert "30.0 hours old" in only(reasons)["message"]
    assert only(reasons)["setting"] == "LIFEBOAT_SHARE_MAX_AGE"
    assert site.adopt(SHARE_MAX_AGE="31h")[0]["status"] == "complete"


def test_the_same_one_serves_several_points_while_it_is_young(site: Site) -> None:
    site.agent()
    first, second = site.adopt()[0], site.adopt()[0]
    assert first["snapshot"] == second["snapshot"]
    assert first["data_time"] == second["data_time"]
    assert second["bytes_stored"] == 0
    assert second["status"] == "complete"


def test_one_from_the_future_has_the_time_at_which_it_was_written(site: Site) -> None:
    snapshot = site.at(-timedelta(hours=2))
    share, reasons = site.adopt()
    assert (share["status"], codes(reasons)) == ("partial", ["clock-differs"])
    written = int(site.snapshot_file(snapshot).stat().st_mtime)
    assert share["data_time"] == rfc3339(written * 1_000_000_000)


# --- how much ---


def test_a_share_that_shrank_fails_until_it_is_accepted_and_no_older_one_hides_it(site: Site) -> None:
    site.agent()
    site.adopt()
    site.fill(4)
    emptied = site.agent()
    for _ in range(2):
        share, reasons = site.adopt()
        assert (share["status"], share["suspect"], share["snapshot"]) == ("failed", True, emptied)
        assert codes(reasons) == ["share-shrank"]
    share, reasons = site.adopt(allow_shrink=True)
    assert (share["status"], share["suspect"], reasons) == ("complete", False, [])
    share, _ = site.adopt()
    assert (share["status"], share["baseline_files"]) == ("complete", 4)


def test_an_empty_share_shrank_even_at_first(site: Site) -> None:
    site.fill(0)
    site.agent()
    assert codes(site.adopt()[1]) == ["share-shrank"]


# --- whether it is whole ---


def _new_pack(site: Site, change: Callable[[], object]) -> tuple[Path, str]:
    """The data pack that a second snapshot adds, and that snapshot."""
    before = set((site.bench.path / "data").rglob("*"))
    change()
    snapshot = site.agent()
    repository = site.bench.open()
    repository.load_index()
    added = [path for path in set((site.bench.path / "data").rglob("*")) - before if path.is_file()]
    node = (site.share / "site0" / "0.html").read_bytes()
    for path in added:
        if _holds(repository, path, node):
            return path, snapshot
    raise AssertionError("restic stored no new data")


def _holds(repository: Repository, path: Path, content: bytes) -> bool:
    found = repository.index.find(hashlib.sha256(content).digest(), tree=False)
    return found is not None and path.name == found.pack.hex()


@pytest.mark.parametrize("how", ["deleted", "cut", "distrusted"])
def test_a_snapshot_with_a_damaged_pack_is_not_taken_and_the_one_before_is(site: Site, how: str) -> None:
    good = site.agent()
    pack, snapshot = _new_pack(site, lambda: site.fill(10, text="changed"))
    component = site.component()
    if how == "deleted":
        pack.unlink()
    elif how == "cut":
        pack.chmod(0o600)
        pack.write_bytes(pack.read_bytes()[:-7])
    else:
        component.repository.distrusted = frozenset([bytes.fromhex(pack.name)])
    share, reasons = component.back_up()
    assert (share["status"], share["snapshot"], codes(reasons)) == ("partial", good, ["damaged"])
    assert only(reasons)["object"] == f"share/{pack_name(bytes.fromhex(pack.name))}"
    assert snapshot[:8] in only(reasons)["message"]


def test_where_every_snapshot_is_damaged_the_component_has_failed(site: Site) -> None:
    site.agent()
    shutil.rmtree(site.bench.path / "data")
    (site.bench.path / "data").mkdir()
    share, reasons = site.adopt()
    assert (share["status"], share["snapshot"]) == ("failed", None)
    assert set(codes(reasons)) == {"damaged"}


def test_a_snapshot_file_that_cannot_be_read_is_told_until_there_is_a_newer_one(site: Site) -> None:
    good = site.agent()
    site.fill(11)
    rotten = site.snapshot_file(site.agent())
    rotten.chmod(0o600)
    rotten.write_bytes(b"\0" * 100)
    share, reasons = site.adopt()
    assert (share["status"], share["snapshot"], codes(reasons)) == ("partial", good, ["damaged"])
    assert only(reasons)["object"] == f"share/snapshots/{rotten.name}"
    os.utime(rotten, (0, 0))
    assert site.adopt()[0]["status"] == "complete"


# --- links and the like ---


def test_links_are_no_files_and_are_told_of(site: Site) -> None:
    (site.share / "link").symlink_to("site0")
    site.agent()
    share, reasons = site.adopt()
    assert (share["status"], share["files"], reasons) == ("complete", 10, [])
    assert any("links and special files" in note for note in share["notes"])


# --- Lifeboat as the agent, and changing over ---


class _Local(Site):
    """The share by its folder, so that Lifeboat reads the same share that is adopted."""

    def component(self, *, allow_shrink: bool = False, **settings: str) -> AdoptedShare:
        made = replace(super().component(allow_shrink=allow_shrink, **settings), history=read_history(self.points))
        opener = SourceOpener(share_settings(SHARE_MODE="adopt", SHARE_URL=self.share.as_uri(), **settings), "")
        return replace(made, settings=opener.settings, identity=opener.identity())


@pytest.fixture
def local(tmp_path: Path, newest_restic: StockRestic) -> _Local:
    return _Local(tmp_path, newest_restic)


def test_what_lifeboat_itself_has_read_is_adopted_whatever_the_path_says(local: _Local) -> None:
    read = local.read()
    share, reasons = local.adopt(SHARE_ADOPT_PATH="D:\\WebSites")
    assert (share["status"], share["snapshot"], reasons) == ("complete", read["snapshot"], [])
    assert "path" not in share
    assert share["source"] == read["source"]
    assert share["files"] == 10
    assert not any("exit code 3" in note for note in share["notes"])


def test_what_lifeboat_has_read_of_another_share_is_passed_over_without_a_word(site: Site) -> None:
    stock = site.agent()
    site.read()
    share, reasons = site.adopt()
    assert (share["snapshot"], reasons) == (stock, [])


def test_what_the_agent_could_not_read_is_told_by_whoever_adopts_it(local: _Local) -> None:
    read = local.read()
    unread = {"count": 1, "first": [{"path": "a.txt", "reason": "access-denied", "message": "a.txt: denied"}]}
    local.points.clear()
    local.record(read | {"status": "partial", "unreadable": unread})
    for _ in range(2):
        share, reasons = local.adopt()
        assert (share["status"], codes(reasons)) == ("partial", ["unreadable-file"])
        assert share["unreadable"] == unread
        assert only(reasons)["path"] == "a.txt"


def test_what_was_left_out_of_the_snapshot_by_pattern_is_told(site: Site) -> None:
    """restic's own lines of exclusion: nobody else can tell that the share holds more."""
    site.agent(options=(*TAGGED, *HOST, "--exclude", "*7.html"))
    share, _ = site.adopt()
    assert any("*7.html" in note for note in share["notes"])


def test_from_read_to_adopt_and_back_nothing_is_lost(local: _Local) -> None:
    read = local.read()
    adopted, reasons = (local.agent(), local.adopt())[1]
    assert (adopted["status"], reasons) == ("complete", [])
    assert adopted["baseline_files"] == 10
    back = local.read()
    assert (back["status"], back["baseline_files"], back["unchanged"]) == ("complete", 10, 10)
    assert back["parent"] == read["snapshot"]
    local.restic.check()


def test_the_agent_s_own_runs_go_on_from_its_own_snapshots(local: _Local) -> None:
    first = local.read()
    local.adopt()
    again = local.read()
    assert (again["parent"], again["unchanged"]) == (first["snapshot"], 10)
    history = read_history(local.points)
    assert history.newest == again["snapshot"]
    assert history.fingerprints == again["fingerprints"]


# --- what goes wrong on the way ---


def test_an_index_that_cannot_be_read_is_a_failed_component(site: Site) -> None:
    site.agent()
    for index in (site.bench.path / "index").iterdir():
        index.chmod(0o600)
        index.write_bytes(b"\0" * 100)
    share, reasons = site.adopt(record=False)
    assert (share["status"], share["snapshot"], codes(reasons)) == ("failed", None, ["damaged"])
    with pytest.raises(Damaged):
        site.component().adopt()


def test_it_can_be_interrupted(site: Site) -> None:
    site.agent()

    class Stop(Exception):
        pass

    def stop() -> None:
        raise Stop

    with pytest.raises(Stop):
        replace(site.component(), check=stop).back_up()


def test_a_forged_record_of_an_adopted_share_says_nothing() -> None:
    share = {"status": "complete", "snapshot": "s", "files": 3, "mode": "adopt", "adopted": 7, "path": None}
    point = RecoveryPoint(
        point="20261125T000000Z-000000",
        time="2026-11-25T00:00:00Z",
        status="complete",
        requested=["share"],
        not_configured=[],
        without=[],
        whole=True,
        suspect=False,
        components={"share": share},
    )
    assert read_history([point]) == History(baseline_files=3)


def test_a_snapshot_of_lifeboat_s_own_that_no_point_tells_of_is_never_complete(local: _Local) -> None:
    """Its run was killed before its record, or goes on: what it could not read is not known."""
    local.read()
    recorded = local.points.pop()
    share, reasons = local.adopt()
    assert share["status"] == "partial"
    assert [reason["code"] for reason in reasons] == ["no-record"]
    local.points.append(recorded)
    assert local.adopt()[0]["status"] == "complete"
