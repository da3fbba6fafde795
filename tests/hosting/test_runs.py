"""Runs in the backup app: the real SDK and the real worker library under the stand-in for the Durable host."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.runs import LOG_BACKUP, RECOVERY_POINT
from shared.errors import Damaged
from shared.fileshare.backup import ShareBackup
from shared.recovery_point import steps
from shared.repository.locks import acquire
from shared.repository.repository import Repository
from tests.integration.databases.conftest import HOSTING
from tests.integration.secrets.conftest import Site
from tests.standins.azurite import REPOSITORY
from tests.standins.durable import DurableHost
from tests.standins.functions_worker import WorkerRefused

ORCHESTRATOR = "recovery_point"


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    return tmp_path / "hub"


@pytest.fixture
def host(site: Site, hub: Path) -> Iterator[DurableHost]:
    """One instance of the app in this process; the operator has uploaded the secrets."""
    site.put()
    with DurableHost(REPOSITORY, hub) as running:
        yield running


def order(run: str = "0123456789abcdef", **changes: Any) -> dict[str, Any]:
    return {
        "run": run,
        "request": {"only": [], "logs": False, "allow_shrink": False},
        "caller": None,
        "started": "2026-11-25T12:00:00Z",
        "lock_wait_seconds": 1800,
        "shards": 4,
        "window": 4,
        "budget_seconds": 60,
        **changes,
    }


def locks(site: Site) -> list[str]:
    with site.bench.vault.judge() as store:
        return [blob.name for blob in store.list("locks/")]


def test_the_backup_timer_makes_a_complete_recovery_point_of_all_three_components(
    site: Site, host: DurableHost
) -> None:
    host.timer("backup")
    ended = host.wait(RECOVERY_POINT)
    assert ended.runtime_status == "Completed"
    assert ended.output["status"] == "complete", ended.output
    record = site.bench.record(ended.output["point"])
    assert record["whole"]
    assert record["components"]["secrets"]["pairing"]["verdict"] == "fits"
    assert host.started.count("back_up_database") == 3
    assert host.started[-2:] == ["record", "verify"]
    with site.bench.vault.judge("recovery-points") as store:
        (name,) = [blob.name for blob in store.list(f"verifications/{ended.output['point']}/")]
        assert json.loads(store.get(name))["status"] == "ok"
    assert locks(site) == []
    assert host.failures == []


def test_18_a_timer_that_was_missed_makes_its_run_and_one_that_fires_twice_starts_no_second(
    site: Site, host: DurableHost
) -> None:
    host.timer("backup", past_due=True)
    host.timer("backup")
    host.timer("backup")
    assert host.wait(RECOVERY_POINT).output["status"] == "complete"
    assert len(site.command("points").json["points"]) == 1
    host.timer("backup")
    assert host.wait(RECOVERY_POINT).output["status"] == "complete"
    assert len(site.command("points").json["points"]) == 2


def test_the_log_timer_does_nothing_where_the_log_chain_is_not_ours(site: Site, host: DurableHost) -> None:
    host.timer("log_backup")
    assert host.instances() == []


def test_logs_run_under_an_id_of_their_own(site: Site, host: DurableHost) -> None:
    site.command.set(SQL_OWN_LOG_CHAIN="true")
    host.timer("backup")
    assert host.wait(RECOVERY_POINT).output["status"] == "complete"
    host.timer("log_backup")
    logs = host.wait(LOG_BACKUP).output
    assert logs["status"] == "complete", logs
    assert not site.bench.record(logs["point"])["whole"]


def test_shards_are_read_by_several_steps_and_a_small_window_bounds_them(site: Site, host: DurableHost) -> None:
    site.command.fill(*(f"site{number}/index.html" for number in range(40)))
    host.start(ORCHESTRATOR, order(shards=5, window=2), RECOVERY_POINT)
    ended = host.wait(RECOVERY_POINT)
    assert ended.output["status"] == "complete", ended.output
    assert host.started.count("back_up_shard") == 5
    assert site.command("check", "--read-data").code == 0


def test_a_shard_that_spent_its_budget_is_continued(
    site: Site, host: DurableHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up = ShareBackup.backup_shard
    budgets = iter([0.0, 0.0, 60.0])

    def in_slices(backup: ShareBackup, plan: Any, items: Any, **rest: Any) -> Any:
        return back_up(backup, plan, items, **rest | {"budget_seconds": next(budgets)})

    monkeypatch.setattr(ShareBackup, "backup_shard", in_slices)
    request = {"only": ["share"], "logs": False, "allow_shrink": False}
    host.start(ORCHESTRATOR, order(request=request, shards=1), RECOVERY_POINT)
    assert host.wait(RECOVERY_POINT).output["status"] == "complete"
    assert host.started.count("back_up_shard") == 3


def test_the_history_holds_names_and_no_data(site: Site, host: DurableHost) -> None:
    """So that a share of ten million files leaves it as small as one of ten."""
    site.command.fill(*(f"a folder/with a name that is long {number}/index.html" for number in range(200)))
    host.start(ORCHESTRATOR, order(), RECOVERY_POINT)
    assert host.wait(RECOVERY_POINT).output["status"] == "complete"
    history = host.history(RECOVERY_POINT)
    assert max(len(str(event)) for event in history) < 4_000
    assert "a name that is long" not in str(history)


def test_what_fails_is_a_value_and_the_rest_is_recorded(site: Site, host: DurableHost) -> None:
    site.command.set(SQL_SERVER="127.0.0.1,1")
    host.start(ORCHESTRATOR, order(), RECOVERY_POINT)
    ended = host.wait(RECOVERY_POINT)
    assert (ended.runtime_status, ended.output["status"]) == ("Completed", "partial")
    assert {reason["component"] for reason in ended.output["reasons"]} == {"databases"}


def test_an_exclusive_lock_of_somebody_elses_is_waited_for_and_then_told(site: Site, host: DurableHost) -> None:
    assert site.back_up("--only", "share").code == 0

    with site.bench.vault.judge() as store:
        repository = Repository.open(store, site.key_vault.secrets["repository-password"][-1].value)
        acquire(repository, exclusive=True, hostname="a prune")
        host.start(ORCHESTRATOR, order(lock_wait_seconds=90), RECOVERY_POINT)
        ended = host.wait(RECOVERY_POINT)
    assert ended.output["status"] == "failed"
    assert [reason["code"] for reason in ended.output["reasons"]] == ["locked"]
    assert ended.output["point"] is None
    assert host.started.count("begin") > 2


def test_a_step_that_may_succeed_later_is_tried_again_after_pauses_that_double(
    site: Site, host: DurableHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault: the first three times that the share is joined, the storage is busy."""
    join, busy = steps.join_share, iter([True, True, True])
    reason = {"component": "lifeboat", "code": "storage-unavailable", "message": "503", "remedy": ""}

    def join_share(*args: Any, **arguments: Any) -> Any:
        return {"ok": False, "reason": reason, "retry": True} if next(busy, False) else join(*args, **arguments)

    monkeypatch.setattr(steps, "join_share", join_share)
    began = host.now()
    host.start(ORCHESTRATOR, order(request={"only": ["share"], "logs": False, "allow_shrink": False}), RECOVERY_POINT)
    assert host.wait(RECOVERY_POINT).output["status"] == "complete"
    assert host.started.count("join_share") == 4
    assert host.now() - began >= timedelta(seconds=15 + 30 + 60), "by the clock of the engine"


def test_a_step_that_never_succeeds_costs_its_component_alone(
    site: Site, host: DurableHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plan_share(*args: Any, **arguments: Any) -> Any:
        raise MemoryError("an instance that is too small")

    monkeypatch.setattr(steps, "plan_share", plan_share)
    host.start(ORCHESTRATOR, order(), RECOVERY_POINT)
    ended = host.wait(RECOVERY_POINT).output
    assert (ended["status"], {reason["component"] for reason in ended["reasons"]}) == ("partial", {"share"})
    assert host.started.count("plan_share") == 4
    assert site.bench.record(ended["point"])["components"]["databases"]["status"] == "complete"


def test_a_damaged_fingerprint_makes_the_share_be_compared_file_by_file(
    site: Site, host: DurableHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert site.back_up("--only", "share").code == 0
    shard, seen = steps.back_up_shard, iter([True])
    damaged = {"ok": False, "reason": Damaged("a tree cannot be read").as_reason("share"), "retry": False}
    monkeypatch.setattr(
        steps, "back_up_shard", lambda *args, **rest: damaged if next(seen, False) else shard(*args, **rest)
    )
    host.start(ORCHESTRATOR, order(request={"only": ["share"], "logs": False, "allow_shrink": False}), RECOVERY_POINT)
    assert host.wait(RECOVERY_POINT).output["status"] == "complete"
    assert host.started.count("plan_share") == 2


def test_the_lock_is_refreshed_while_a_step_takes_long(
    site: Site, host: DurableHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    join, going_on = steps.join_share, threading.Event()

    def slow(*args: Any, **arguments: Any) -> Any:
        assert going_on.wait(60)
        return join(*args, **arguments)

    monkeypatch.setattr(steps, "join_share", slow)
    host.start(ORCHESTRATOR, order(request={"only": ["share"], "logs": False, "allow_shrink": False}), RECOVERY_POINT)
    host.wait_until(lambda: any(each.name == "join_share" for each in host.running()))
    before = locks(site)
    host.advance(5 * 60)
    host.wait_until(lambda: host.started.count("refresh") == 1 and "refresh" not in {r.name for r in host.running()})
    assert set(locks(site)) != set(before), "under a new name"
    going_on.set()
    assert host.wait(RECOVERY_POINT).output["status"] == "complete"
    assert locks(site) == []


def test_the_window_stays_full_until_nothing_is_left(
    site: Site, host: DurableHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine waits for what a turn begins, and not for what earlier ones have begun."""
    shard, lock, most, now = steps.back_up_shard, threading.Lock(), list[int](), 0

    def counted(*args: Any, **arguments: Any) -> Any:
        nonlocal now
        with lock:
            now += 1
            most.append(now)
        try:
            time.sleep(0.3)
            return shard(*args, **arguments)
        finally:
            with lock:
                now -= 1

    monkeypatch.setattr(steps, "back_up_shard", counted)
    site.command.fill(*(f"site{number}/index.html" for number in range(100)))
    request = {"only": ["share"], "logs": False, "allow_shrink": False}
    host.start(ORCHESTRATOR, order(request=request, shards=10, window=2), RECOVERY_POINT)
    assert host.wait(RECOVERY_POINT).output["status"] == "complete"
    assert len(most) == 10
    assert most[4:9].count(2) >= 2, most


def test_logs_are_left_to_a_recovery_point_that_is_being_made(
    site: Site, host: DurableHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes them itself, and what it has taken is in no record yet: two would break each other's chain."""
    site.command.set(SQL_OWN_LOG_CHAIN="true")
    join, going_on = steps.join_share, threading.Event()

    def slow(*args: Any, **arguments: Any) -> Any:
        assert going_on.wait(60)
        return join(*args, **arguments)

    monkeypatch.setattr(steps, "join_share", slow)
    host.timer("backup")
    host.wait_until(lambda: [each.name for each in host.running()] == ["join_share"])
    host.timer("log_backup")
    assert host.status(LOG_BACKUP) is None
    going_on.set()
    ended = host.wait(RECOVERY_POINT).output
    assert ended["status"] == "complete", ended
    databases = site.bench.record(ended["point"])["components"]["databases"]["databases"]
    assert [each["kind"] for each in databases[HOSTING]["backups"]] == ["full", "log"]


def test_a_message_that_is_very_long_does_not_keep_the_run_from_being_shown(
    site: Site, host: DurableHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = {"component": "lifeboat", "code": "failed", "message": "x" * 50_000, "remedy": "y" * 50_000}
    monkeypatch.setattr(
        steps, "back_up_database", lambda *args, **rest: {"ok": False, "reason": reason, "retry": False}
    )
    host.start(ORCHESTRATOR, order(), RECOVERY_POINT)
    ended = host.wait(RECOVERY_POINT)
    assert (ended.runtime_status, ended.output["status"]) == ("Completed", "partial")
    assert len(json.dumps(ended.custom_status)) < 8_000


def test_a_timer_that_cannot_start_its_run_is_told(
    site: Site, host: DurableHost, caplog: pytest.LogCaptureFixture
) -> None:
    site.command.set(RPO_SHARE="soon")
    with pytest.raises(WorkerRefused):
        host.timer("backup")
    assert "recovery_point.failed" in caplog.text


# --- over HTTP, and on several instances ---


@pytest.fixture
def instances(site: Site, hub: Path) -> Iterator[DurableHost]:
    """Three instances of the app, each a process of its own."""
    site.put()
    site.command.set(SHARDS="6", WINDOW="6")
    site.command.fill(*(f"site{number}/page{page}.html" for number in range(30) for page in range(10)))
    environment = {**os.environ, "WEBSITE_AUTH_ENABLED": "true"}
    with DurableHost(REPOSITORY, hub, workers=3, processes=True, environment=environment) as running:
        yield running


def start(host: DurableHost, **request: Any) -> str:
    answer = host.keyed(
        "POST",
        "/api/recovery-points",
        body=json.dumps(request).encode(),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status == 202, answer.body
    run: str = answer.json()["run"]
    assert answer.headers["Location"].endswith(f"/api/runs/{run}")
    return run


def state(host: DurableHost, run: str) -> dict[str, Any]:
    answer = host.keyed("GET", f"/api/runs/{run}")
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json()
    return found


def test_a_post_makes_a_complete_recovery_point_with_shards_on_several_instances(
    site: Site, instances: DurableHost
) -> None:
    run = start(instances)
    assert state(instances, run)["status"] == "running"
    again = instances.keyed("POST", "/api/recovery-points")
    assert (again.status, again.json()["run"]) == (409, run), "one recovery point at a time"
    instances.wait_until(lambda: len({each.worker for each in instances.running() if each.name == "back_up_shard"}) > 1)
    instances.wait(RECOVERY_POINT)
    ended = state(instances, run)
    assert (ended["status"], ended["reasons"]) == ("complete", [])
    listed = instances.keyed("GET", "/api/recovery-points").json()
    assert [(each["point"], each["status"], each["whole"]) for each in listed["points"]] == [
        (ended["point"], "complete", True)
    ]
    page = instances.http("GET", "/api/dashboard", headers={"X-MS-CLIENT-PRINCIPAL-NAME": "operator"})
    assert page.status == 200
    assert ended["point"].encode() in page.body, "the page shows it"
    assert site.command("check", "--read-data").code == 0
    back = site.folder / "back"
    assert site.command("restore", "share", "--to", str(back)).code == 0
    assert site.command.contents(back) == site.command.contents()
    assert locks(site) == []


def test_19_an_instance_that_is_killed_in_the_middle_costs_nothing_but_time(site: Site, instances: DurableHost) -> None:
    run = start(instances)
    instances.wait_until(lambda: any(each.name == "back_up_shard" for each in instances.running()))
    victim = next(each.worker for each in instances.running() if each.name == "back_up_shard")
    instances.kill_worker(victim)
    instances.wait(RECOVERY_POINT)
    assert state(instances, run)["status"] == "complete"
    assert site.command("check", "--read-data").code == 0
    assert locks(site) == []


def test_19_a_host_that_is_killed_goes_on_from_its_history_when_it_starts_again(
    site: Site, instances: DurableHost, hub: Path
) -> None:
    run = start(instances)
    instances.wait_until(lambda: any(each.name == "back_up_shard" for each in instances.running()))
    instances.kill()
    with DurableHost(REPOSITORY, hub, workers=2, processes=True, environment=dict(os.environ)) as resumed:
        resumed.wait(RECOVERY_POINT)
        assert state(resumed, run)["reasons"] == []
        assert len(resumed.keyed("GET", "/api/recovery-points").json()["points"]) == 1
    assert site.command("check", "--read-data").code == 0
    assert locks(site) == []


def test_a_run_that_is_cancelled_ends_and_leaves_nothing_locked(site: Site, host: DurableHost) -> None:
    run = start(host)
    answer = host.keyed("DELETE", f"/api/runs/{run}")
    assert answer.status == 202
    host.wait(RECOVERY_POINT)
    ended = state(host, run)
    assert (ended["status"], ended["point"]) == ("cancelled", None)
    assert [reason["code"] for reason in ended["reasons"]] == ["cancelled"]
    assert host.keyed("DELETE", f"/api/runs/{run}").status == 409
    assert locks(site) == []
    again = start(host)
    host.wait(RECOVERY_POINT)
    assert state(host, again)["status"] == "complete"


def test_a_run_that_was_terminated_in_the_engine_is_written_down_as_cancelled(site: Site, host: DurableHost) -> None:
    run = start(host)
    host.terminate(RECOVERY_POINT, "somebody in the portal")
    host.settle()
    ended = state(host, run)
    assert ended["status"] == "cancelled"
    assert "terminated" in ended["reasons"][0]["message"]
    assert locks(site) == []
    second = start(host)
    host.wait(RECOVERY_POINT)
    assert state(host, second)["status"] == "complete"


def test_a_run_that_ended_in_the_engine_is_told_as_ended_when_somebody_cancels_it(
    site: Site, host: DurableHost
) -> None:
    run = start(host)
    host.terminate(RECOVERY_POINT, "somebody in the portal")
    host.settle()
    assert host.keyed("DELETE", f"/api/runs/{run}").status == 409


def test_a_run_that_nobody_started_is_not_found(host: DurableHost) -> None:
    assert host.keyed("GET", "/api/runs/0123456789abcdef").status == 404
    assert host.keyed("GET", "/api/runs/..").status in (404, 400)


def test_a_share_that_cannot_be_reached_names_the_failing_check_in_the_point(site: Site, host: DurableHost) -> None:
    site.command.set(SHARE_URL="smb://nosuch.invalid:4445/WebSites", SHARE_USERNAME="someone", SHARE_PASSWORD="x")
    host.start(ORCHESTRATOR, order(), RECOVERY_POINT)
    ended = host.wait(RECOVERY_POINT)
    assert ended.output["status"] == "partial", ended.output
    (why,) = [each for each in site.bench.record(ended.output["point"])["reasons"] if each["component"] == "share"]
    assert (why["check"], why["setting"]) == ("name", "LIFEBOAT_SHARE_URL")
    assert "nosuch.invalid does not resolve" in why["message"]
    assert host.started.count("diagnose") == 1
