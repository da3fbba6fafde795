"""What is killed: a worker with an activity under way, and the host with all its workers."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hosting.durable.conftest import Marks
from tests.standins.durable import DurableHost, Stuck
from tests.standins.functions_worker import WorkerRefused

Open = Callable[..., DurableHost]


def test_activities_are_spread_over_workers_within_each_ones_limit(open_host: Open, marks: Marks) -> None:
    names = ["a", "b", "c", "d", "e"]
    host = open_host(workers=2)
    id_ = host.start("holding", names)
    host.wait_until(lambda: all(marks.began(name) for name in names[:4]))
    assert sorted(each.worker for each in host.running()) == [0, 0, 1, 1]
    assert not marks.began("e")
    for name in names:
        marks.go(name)
    assert host.wait(id_).output == [f"{name} at 1" for name in names]


def test_what_an_app_prints_is_in_the_log_and_not_between_the_answers(open_host: Open, tmp_path: Path) -> None:
    host = open_host()
    assert host.wait(host.start("fan", 3)).output == {"total": 6}
    assert "a line that is no answer" in (tmp_path / "hub" / "workers.log").read_text()


def test_a_killed_workers_activity_starts_again_elsewhere_after_the_timeout(open_host: Open, marks: Marks) -> None:
    host = open_host(workers=2)
    id_ = host.start("holding", ["a", "b"])
    host.wait_until(lambda: marks.began("a") and marks.began("b"))
    (victim,) = (each for each in host.running() if each.input == "a")
    host.kill_worker(victim.worker)
    host.wait_until(lambda: len(host.running()) == 1)
    marks.go("b")
    host.wait_until(lambda: not host.running())
    host.advance(200)
    host.settle(jump=False)
    assert not marks.began("a", times=2)
    marks.go("a")
    assert host.wait(id_).output == ["a at 2", "b at 1"]
    assert host.started == ["hold"] * 3


def test_a_worker_that_dies_by_itself_is_noticed(open_host: Open, marks: Marks, tmp_path: Path) -> None:
    host = open_host()
    id_ = host.start("holding", ["a"])
    host.wait_until(lambda: marks.began("a"))
    os.kill(host.pid_of(0), signal.SIGKILL)
    host.wait_until(lambda: not host.running())
    with pytest.raises(Stuck, match="nothing is left to do"):
        host.wait(id_)
    assert host.keyed("POST", "/api/runs/fan", body=b"1").status == 500
    host.add_worker()
    marks.go("a")
    assert host.wait(id_).output == ["a at 2"]


def test_a_killed_host_goes_on_from_its_histories(open_host: Open, marks: Marks) -> None:
    """Queued activities at once, those in flight after the timeout; what had ended is not done again."""
    host = open_host(workers=1)
    host.start("holding", ["a", "b", "c", "d"], instance_id="the-run")
    host.wait_until(lambda: marks.began("a") and marks.began("b"))
    marks.go("a")
    host.wait_until(lambda: marks.began("c"))
    host.kill()
    for name in "bcd":
        marks.go(name)

    later = open_host(workers=1)
    later.settle(jump=False)
    assert later.started == ["hold"]
    assert marks.began("d")
    assert not marks.began("b", times=2)
    assert later.wait("the-run").output == ["a at 1", "b at 2", "c at 2", "d at 1"]


def test_a_killed_hosts_timers_fire_under_the_next(open_host: Open) -> None:
    host = open_host()
    host.start("approval", instance_id="the-run")
    host.settle(jump=False)
    host.kill()
    assert open_host().wait("the-run").output == "expired"


def test_a_dead_host_says_so(open_host: Open) -> None:
    host = open_host()
    id_ = host.start("approval")
    host.kill()
    with pytest.raises(Stuck, match="the host is dead"):
        host.wait(id_)


def test_a_worker_in_this_process_cannot_be_killed(host: DurableHost) -> None:
    with pytest.raises(ValueError, match="processes"):
        host.kill_worker(0)


def test_an_app_that_does_not_load_is_told_from_its_process(tmp_path: Path) -> None:
    (tmp_path / "function_app.py").write_text("import no_such_module\n")
    host = DurableHost(tmp_path, tmp_path / "hub", processes=True, environment=dict(os.environ))
    with pytest.raises(WorkerRefused, match="no_such_module"), host:
        pass
