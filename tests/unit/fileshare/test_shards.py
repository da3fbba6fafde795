"""plan -> backup_shard -> join: the same snapshot, however it is cut and however often it stops."""

from __future__ import annotations

import multiprocessing
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shared.errors import Cancelled, Damaged, SourceUnreachable
from shared.fileshare import backup as backup_steps
from shared.fileshare import shard as shard_module
from shared.fileshare.backup import ShareBackup
from shared.fileshare.local_source import LocalSource
from shared.repository.repository import Repository
from shared.storage.local_folder import LocalFolderStore
from tests.standins.memory_share import MemoryShare
from tests.standins.restic import StockRestic
from tests.unit.fileshare.helpers import PASSWORD, Bench, paths, share_settings, through_json

SHARDS = [2, 5, 40]
COUNTED = ("files_new", "files_changed", "files_unmodified", "total_bytes", "bytes_read")


@pytest.fixture
def wide(share: MemoryShare) -> MemoryShare:
    """The share with more folders at several levels."""
    for number in range(12):
        share.put(f"many/{number:02}/a/b/c/deep.txt", f"deep {number}".encode())
        share.put(f"many/{number:02}/same.txt", b"the same everywhere")
    return share


@pytest.mark.parametrize("shards", SHARDS)
def test_any_number_of_shards_makes_the_same_tree(bench: Bench, wide: MemoryShare, shards: int) -> None:
    one = bench.back_up(wide.open)
    several = bench.back_up(wide.open, shards=shards)

    assert bench.tree_of(several["snapshot"]) == bench.tree_of(one["snapshot"])
    for count in COUNTED:
        assert several["outcome"]["counts"][count] == one["outcome"]["counts"][count], count


@pytest.mark.parametrize("shards", SHARDS)
@pytest.mark.parametrize(
    "patterns",
    [{"SHARE_EXCLUDE": "many,site1/nothing"}, {"SHARE_EXCLUDE": "**/a"}, {"SHARE_INCLUDE": "**/same.txt"}],
    ids=lambda patterns: next(iter(patterns.values())),
)
def test_patterns_mean_the_same_to_shards(
    bench: Bench, wide: MemoryShare, shards: int, patterns: dict[str, str]
) -> None:
    settings = share_settings(**patterns)
    one = bench.back_up(wide.open, settings=settings)
    several = bench.back_up(wide.open, settings=settings, shards=shards)

    assert bench.contents(several["snapshot"]) == bench.contents(one["snapshot"])
    assert bench.tree_of(several["snapshot"]) == bench.tree_of(one["snapshot"])


@pytest.mark.parametrize("shards", [1, *SHARDS])
def test_shards_say_the_same_of_what_could_not_be_read(bench: Bench, wide: MemoryShare, shards: int) -> None:
    wide.refuse("many/03")
    wide.refuse("site2", "io-error")
    wide.refuse("top.txt", "sharing-violation")
    wide.link("many/link")

    joined = bench.back_up(wide.open, shards=shards)

    assert paths(joined["outcome"], "unreadable") == {
        "many/03": "access-denied",
        "site2": "io-error",
        "top.txt": "sharing-violation",
    }
    assert joined["outcome"]["unreadable"]["count"] == 3
    assert paths(joined["outcome"], "not_descended") == {"many/link": "link"}


@pytest.mark.parametrize("folder", ["many", "site0", "many/05"])
def test_a_folder_that_only_the_plan_could_not_list_is_backed_up_whole(
    bench: Bench, wide: MemoryShare, folder: str
) -> None:
    wide.refuse(folder, "no-answer", times=1)

    joined = bench.back_up(wide.open, shards=5)

    assert joined["outcome"]["unreadable"]["count"] == 0
    assert bench.contents(joined["snapshot"]) == wide.content()


def test_shards_that_run_side_by_side_in_one_process_store_each_blob_once(bench: Bench, wide: MemoryShare) -> None:
    steps = bench.steps(wide.open)
    plan = steps.plan(shards=3, parent=None, look=False)
    results: list[Any] = [None] * 3

    def run(number: int) -> None:
        results[number] = steps.backup_shard(plan, plan["shards"][number])

    threads = [threading.Thread(target=run, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    joined = steps.join(plan, results)

    assert bench.contents(joined["snapshot"]) == wide.content()


def test_a_shard_knows_what_another_has_stored(bench: Bench) -> None:
    share = MemoryShare()
    for number in range(20):
        share.put(f"{number}/framework.dll", b"the same framework in every site" * 1000)
    plan = bench.steps(share.open).plan(shards=2, parent=None, look=False)

    first = bench.steps(share.open).backup_shard(plan, plan["shards"][0])
    second = bench.steps(share.open).backup_shard(plan, plan["shards"][1])

    assert first["outcome"]["counts"]["data_blobs"] == 1
    assert second["outcome"]["counts"]["data_blobs"] == 0


def test_a_shard_may_run_twice(bench: Bench, wide: MemoryShare, newest_restic: StockRestic) -> None:
    plan = through_json(bench.steps(wide.open).plan(shards=2, parent=None, look=False))
    once = [through_json(bench.steps(wide.open).backup_shard(plan, items)) for items in plan["shards"]]
    again = [through_json(bench.steps(wide.open).backup_shard(plan, items)) for items in plan["shards"]]

    assert [result["nodes"] for result in again] == [result["nodes"] for result in once]
    assert all(result["outcome"]["counts"]["data_blobs"] == 0 for result in again)
    joined = bench.steps(wide.open).join(plan, again)
    assert bench.contents(joined["snapshot"]) == wide.content()
    newest_restic.on_folder(bench.path, PASSWORD).check()


def test_a_shard_that_died_is_repeated_and_what_it_stored_is_used_again(bench: Bench, wide: MemoryShare) -> None:
    plan = bench.steps(wide.open).plan(shards=1, parent=None, look=False)
    wide.die_after(35)
    with pytest.raises(SourceUnreachable):
        bench.steps(wide.open).backup_shard(plan, plan["shards"][0])
    wide.die_after(float("inf"))

    result = bench.steps(wide.open).backup_shard(plan, plan["shards"][0])

    joined = bench.steps(wide.open).join(plan, [result])
    assert bench.contents(joined["snapshot"]) == wide.content()


def test_a_shard_that_is_told_to_end_ends(bench: Bench, wide: MemoryShare) -> None:
    def check() -> None:
        if len(wide.read) >= 5:
            raise Cancelled("somebody asked for the run to stop")

    steps = bench.steps(wide.open)
    steps.check = check
    plan = steps.plan(shards=1, parent=None, look=False)

    with pytest.raises(Cancelled):
        steps.backup_shard(plan, plan["shards"][0])

    assert len(wide.read) < len(wide.files)


@pytest.mark.parametrize("which", [0, 1])
def test_no_snapshot_refers_to_a_pack_that_went_before_the_join(bench: Bench, wide: MemoryShare, which: int) -> None:
    plan = bench.steps(wide.open).plan(shards=2, parent=None, look=False)
    results = [bench.steps(wide.open).backup_shard(plan, items) for items in plan["shards"]]
    for gone in [path for path in (bench.path / "data").rglob("*") if path.is_file()][which::2]:
        gone.unlink()

    with pytest.raises(Damaged):
        bench.steps(wide.open).join(plan, results)

    assert not [name for name in bench.blob_names() if name.startswith("snapshots/")]


# --- time budgets ----------------------------------------------------------------------------------------------------


Tick = Callable[[Callable[[], int]], None]


@pytest.fixture
def tick(monkeypatch: pytest.MonkeyPatch) -> Tick:
    """``tick(lambda: share.reading)``: budgets are measured in that, not in seconds."""

    def by(count: Callable[[], int]) -> None:
        clock = SimpleNamespace(monotonic=lambda: float(count()), time_ns=time.time_ns)
        for module in (shard_module, backup_steps):
            monkeypatch.setattr(module, "time", clock)

    return by


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("budget", [1, 3, 10])
def test_a_run_that_stops_many_times_comes_to_the_same_tree(
    bench: Bench, wide: MemoryShare, tick: Tick, shards: int, budget: int
) -> None:
    tick(lambda: wide.reading)
    whole = bench.back_up(wide.open)

    stopped = bench.back_up(wide.open, shards=shards, budget_seconds=budget)

    assert stopped["stops"] >= 3
    assert bench.tree_of(stopped["snapshot"]) == bench.tree_of(whole["snapshot"])
    for count in ("files_new", "files_changed", "files_unmodified", "total_bytes"):
        assert stopped["outcome"]["counts"][count] == whole["outcome"]["counts"][count], count


def test_a_run_can_stop_inside_a_huge_folder(bench: Bench, tick: Tick) -> None:
    share = MemoryShare()
    for number in range(300):
        share.put(f"huge/{number:04}.txt", f"file {number}".encode())
    tick(lambda: share.reading)

    stopped = bench.back_up(share.open, budget_seconds=40)

    assert stopped["stops"] >= 5
    assert bench.contents(stopped["snapshot"]) == share.content()
    assert stopped["outcome"]["counts"]["files_new"] == 300
    assert len(share.read) == 300, "no file is read twice"


def test_a_run_can_stop_inside_a_huge_file(bench: Bench, tick: Tick, newest_restic: StockRestic) -> None:
    share = MemoryShare()
    data = random.Random(1).randbytes(70 << 20)
    share.put("disk.vhdx", data)
    whole = bench.back_up(share.open)
    tick(lambda: share.reading)

    stopped = bench.back_up(share.open, budget_seconds=2)

    assert stopped["stops"] >= 3
    assert bench.contents(stopped["snapshot"]) == {"disk.vhdx": data}
    assert stopped["outcome"]["counts"]["files_new"] == 1
    assert stopped["outcome"]["counts"]["total_bytes"] == len(data)
    assert bench.tree_of(whole["snapshot"]) == bench.tree_of(stopped["snapshot"]), "it is cut alike"
    repository = newest_restic.on_folder(bench.path, PASSWORD)
    repository.check()
    repository.rewrite_changes_nothing()


def test_a_huge_file_that_changed_while_the_run_stood_still_is_read_from_its_start(bench: Bench, tick: Tick) -> None:
    share = MemoryShare()
    share.put("disk.vhdx", b"before" * 4_000_000)
    tick(lambda: share.reading)
    plan = bench.steps(share.open).plan(shards=1, parent=None, look=False)
    stopped = bench.steps(share.open).backup_shard(plan, plan["shards"][0], budget_seconds=2)
    assert not stopped["done"]
    share.put("disk.vhdx", b"AFTER!" * 4_000_000)

    result = bench.steps(share.open).backup_shard(plan, plan["shards"][0], continue_from=stopped["continue_from"])

    joined = bench.steps(share.open).join(plan, [result])
    assert bench.contents(joined["snapshot"]) == share.content()


@pytest.mark.parametrize("budget", [4, 10])
def test_stops_say_each_unreadable_file_once(bench: Bench, wide: MemoryShare, tick: Tick, budget: int) -> None:
    wide.refuse("top.txt", "sharing-violation")
    wide.refuse("site1/wwwroot/page1.html")
    wide.link("site1/link")
    wide.deny_security("site2")
    tick(lambda: wide.reading)

    stopped = bench.back_up(wide.open, budget_seconds=budget)

    outcome = stopped["outcome"]
    assert stopped["stops"] >= 2
    assert outcome["unreadable"]["count"] == 2
    assert outcome["not_descended"]["count"] == 1
    assert outcome["without_security"]["count"] == 1


def test_a_second_run_that_stops_still_reads_nothing(bench: Bench, wide: MemoryShare, tick: Tick) -> None:
    first = bench.back_up(wide.open)
    wide.read.clear()
    tick(lambda: wide.reading)

    second = bench.back_up(wide.open, parent=first["snapshot"], look=True, budget_seconds=10)

    assert second["stops"] >= 2
    assert wide.read == []
    assert bench.tree_of(second["snapshot"]) == bench.tree_of(first["snapshot"])
    assert second["outcome"]["counts"]["files_unmodified"] == len(wide.files)


def test_a_stopped_run_can_carry_names_that_are_no_unicode(bench: Bench, tick: Tick) -> None:
    share = MemoryShare()
    for number in range(60):
        share.put(f"folder \ud800/file {number} \udfff", b"x%d" % number)
    share.put("folder \ud800/big \udfff", b"big" * 1_000_000)
    tick(lambda: share.reading)

    stopped = bench.back_up(share.open, budget_seconds=10, shards=2)

    assert stopped["stops"] >= 2
    assert bench.contents(stopped["snapshot"]) == share.content()


# --- processes -------------------------------------------------------------------------------------------------------


def _in_a_process(vault: Path, folder: Path, plan: dict[str, Any], number: int) -> dict[str, Any]:
    """One shard, on what could be another machine."""
    repository = Repository.open(LocalFolderStore(vault / "share"), PASSWORD)
    steps = ShareBackup(share_settings(), repository, lambda _: LocalSource(folder))
    return steps.backup_shard(plan, plan["shards"][number])


def test_shards_in_processes_of_their_own_make_one_snapshot(
    bench: Bench, tmp_path: Path, newest_restic: StockRestic
) -> None:
    folder = tmp_path / "share"
    expected = {}
    for site in range(6):
        for name, content in (("index.html", b"site %d" % site), ("framework.dll", b"the same" * 10_000)):
            path = folder / f"site{site}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            expected[f"site{site}/{name}"] = content
    plan = through_json(bench.steps(lambda _: LocalSource(folder)).plan(shards=2, parent=None, look=False))
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        results = pool.starmap(_in_a_process, [(bench.folder, folder, plan, number) for number in range(2)])

    joined = bench.steps(lambda _: LocalSource(folder)).join(plan, through_json({"r": results})["r"])

    assert bench.contents(joined["snapshot"]) == expected
    repository = newest_restic.on_folder(bench.path, PASSWORD)
    repository.check()
    repository.rewrite_changes_nothing()
