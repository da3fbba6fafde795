"""Which snapshot a share is compared with, where those of other shares and of databases stand among its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from shared.databases.stored_files import TAG
from shared.fileshare.shard import Progress
from shared.fileshare.sources import SourceOpener
from shared.recovery_point.share import SNAPSHOTS_LOADED, SNAPSHOTS_TRIED, History, ShareComponent
from shared.repository.repository import Repository
from shared.repository.snapshots import Summary, save_snapshot
from shared.storage.counting import CountingStore
from tests.unit.fileshare.helpers import Bench, share_settings


class Snapshots:
    """A repository of snapshots without content, each a second younger than the one before."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._first = bench.open()
        self.counted = CountingStore(bench.store)
        self._settings = share_settings(SHARE_URL=bench.folder.as_uri())
        self.opener = SourceOpener(self._settings, "")
        self._made = 0

    def share(self, path: str | None = None) -> str:
        hostname, paths = self.opener.describe()
        return self._save(hostname, [path] if path else paths)

    def database(self, path: str = "/databases/a", hostname: str = "sql01") -> str:
        return self._save(hostname, [path], [TAG])

    def parent(self, history: History | None = None) -> str | None:
        component = ShareComponent(
            settings=self._settings,
            repository=Repository(self.counted, self._first.key, self._first.config),
            history=history or History(),
            opener=self.opener,
            progress=Progress(),
            check=lambda: None,
        )
        return component._parent(component.history)

    def damage(self, snapshot: str) -> None:
        (self._bench.path / "snapshots" / snapshot).write_bytes(b"\0" * 100)
        self._date(snapshot, self._made)

    def _save(self, hostname: str, paths: Sequence[str], tags: Sequence[str] = ()) -> str:
        self._made += 1
        saved = save_snapshot(
            self._first,
            time=f"2026-11-25T10:{self._made // 60:02d}:{self._made % 60:02d}Z",
            tree="00" * 32,
            paths=paths,
            hostname=hostname,
            program_version="test",
            summary=Summary("", "", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
            tags=tags,
        )
        self._date(saved, self._made)
        return saved

    def _date(self, snapshot: str, second: int) -> None:
        moment = 1_800_000_000 + second
        os.utime(self._bench.path / "snapshots" / snapshot, (moment, moment))


@pytest.fixture
def snapshots(tmp_path: Path) -> Snapshots:
    return Snapshots(Bench(tmp_path))


def test_there_is_none_at_first(snapshots: Snapshots) -> None:
    assert snapshots.parent() is None


def test_it_is_the_newest_of_the_share_recorded_or_not(snapshots: Snapshots) -> None:
    recorded, not_recorded = snapshots.share(), snapshots.share()
    assert snapshots.parent(History(newest=recorded)) == not_recorded


def test_the_recorded_one_needs_no_look_where_it_is_the_newest(snapshots: Snapshots) -> None:
    recorded = snapshots.share()
    assert snapshots.parent(History(newest=recorded)) == recorded
    assert snapshots.counted.traffic.requests["get"] == 0


def test_snapshots_of_databases_do_not_hide_it(snapshots: Snapshots) -> None:
    mine = snapshots.share()
    for _ in range(3 * SNAPSHOTS_TRIED):
        snapshots.database()
    assert snapshots.parent() == mine


def test_many_snapshots_of_other_shares_do(snapshots: Snapshots) -> None:
    snapshots.share()
    for _ in range(SNAPSHOTS_TRIED):
        snapshots.share("/another")
    assert snapshots.parent() is None


def test_those_of_databases_are_not_counted_among_other_shares(snapshots: Snapshots) -> None:
    mine = snapshots.share()
    for _ in range(SNAPSHOTS_TRIED - 1):
        snapshots.share("/another")
        snapshots.database()
    assert snapshots.parent() == mine


def test_a_database_is_no_parent_even_where_it_is_called_as_the_share(snapshots: Snapshots) -> None:
    mine = snapshots.share()
    hostname, (path,) = snapshots.opener.describe()
    snapshots.database(path, hostname)
    assert snapshots.parent() == mine


@pytest.mark.parametrize("recorded", [True, False])
def test_a_year_of_log_backups_is_not_read(snapshots: Snapshots, recorded: bool) -> None:
    mine = snapshots.share()
    for _ in range(SNAPSHOTS_LOADED + 20):
        snapshots.database()
    assert snapshots.parent(History(newest=mine if recorded else None)) == (mine if recorded else None)
    assert snapshots.counted.traffic.requests["get"] == SNAPSHOTS_LOADED


def test_a_suspect_or_damaged_one_is_passed_over(snapshots: Snapshots) -> None:
    good, damaged, suspect = snapshots.share(), snapshots.share(), snapshots.share()
    snapshots.damage(damaged)
    snapshots.database()
    assert snapshots.parent(History(suspect={suspect}, newest=good)) == good
