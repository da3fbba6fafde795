"""The real SDK's orchestrations under the stand-in: each feature does what the real host does with it."""

from __future__ import annotations

import json

import pytest

from tests.hosting.durable.conftest import Marks
from tests.standins.durable import AlreadyExists, BadArgument, DurableHost, NotDeterministic, Stuck
from tests.standins.durable.history import EventType


def test_activities_fan_out_and_their_results_come_back_in_order(host: DurableHost) -> None:
    status = host.wait(host.start("fan", 5))
    assert (status.runtime_status, status.output) == ("Completed", {"total": 20})
    assert status.custom_status == {"of": 5, "total": 20}
    assert status.input == 5
    assert sorted(host.started) == ["double"] * 5 + ["total"]


def test_a_history_is_one_of_the_framework(host: DurableHost) -> None:
    id_ = host.start("fan", 1)
    host.wait(id_)
    kinds = [EventType(each["EventType"]).name for each in host.history(id_)]
    assert kinds == [
        "ORCHESTRATOR_STARTED",
        "EXECUTION_STARTED",
        "TASK_SCHEDULED",
        "ORCHESTRATOR_COMPLETED",
        "ORCHESTRATOR_STARTED",
        "TASK_COMPLETED",
        "TASK_SCHEDULED",
        "ORCHESTRATOR_COMPLETED",
        "ORCHESTRATOR_STARTED",
        "TASK_COMPLETED",
        "EXECUTION_COMPLETED",
        "ORCHESTRATOR_COMPLETED",
    ]


def test_no_activities_at_all_are_no_result(host: DurableHost) -> None:
    status = host.wait(host.start("fan", 0))
    assert status.runtime_status == "Failed"  # task_all([]) yields None, which sum does not take
    assert "Activity function 'total' failed" in status.output


def test_a_failure_as_a_value_fails_nothing(host: DurableHost) -> None:
    status = host.wait(host.start("guarded"))
    assert [each["ok"] for each in status.output] == [True, False, True]


def test_an_activity_that_raises_fails_the_run_that_does_not_catch_it(host: DurableHost) -> None:
    status = host.wait(host.start("failing"))
    assert status.runtime_status == "Failed"
    assert status.output.startswith("Orchestrator function 'failing' failed: Activity function 'refuse' failed:")
    assert "ValueError: disk full" in status.output
    assert host.failures[0][0] == "refuse"


def test_an_activity_that_raises_can_be_caught(host: DurableHost) -> None:
    status = host.wait(host.start("caught"))
    assert status.output.startswith("caught: Activity function 'refuse' failed:  ValueError: disk full")


def test_retries_are_made_with_their_pauses_and_cost_no_time(host: DurableHost) -> None:
    status = host.wait(host.start("retried", 3))
    assert status.output == {"result": 3, "after": 42, "minutes": 10}
    assert host.started == ["third_time"] * 3 + ["double"]


def test_retries_that_are_used_up_fail_with_the_last_error(host: DurableHost) -> None:
    status = host.wait(host.start("retried", 2))
    assert status.runtime_status == "Failed"
    assert "try 2" in status.output


def test_a_timer_fires_when_no_event_comes(host: DurableHost) -> None:
    before = host.now()
    assert host.wait(host.start("approval")).output == "expired"
    assert (host.now() - before).total_seconds() >= 300


def test_an_event_wins_over_a_timer(host: DurableHost) -> None:
    id_ = host.start("approval")
    host.raise_event(id_, "approved", {"by": "me"})
    assert host.wait(id_).output == {"by": "me"}


def test_an_event_that_came_early_is_given_out_twice_and_the_run_never_ends(host: DurableHost, marks: Marks) -> None:
    """The SDK's issue 507: it takes the same event for both waits and goes on, the extension waits for a second one."""
    id_ = host.start("two_events")
    host.wait_until(lambda: marks.began("early"))
    host.raise_event(id_, "news", "first")
    marks.go("early")
    with pytest.raises(Stuck, match="nothing is left to do"):
        host.wait(id_)
    host.raise_event(id_, "news", "second")
    assert host.wait(id_).output == ["first", "first"]


def test_time_that_a_test_moves_fires_a_timer(host: DurableHost) -> None:
    id_ = host.start("approval")
    host.settle(jump=False)
    assert host.instances()[0].runtime_status == "Running"
    host.advance(200)
    host.settle(jump=False)
    assert host.instances()[0].runtime_status == "Running"
    host.advance(200)
    host.wait_until(lambda: host.instances()[0].terminal)
    assert host.wait(id_).output == "expired"


def test_a_timer_longer_than_a_message_may_be_delayed_is_made_of_several(host: DurableHost) -> None:
    id_ = host.start("long_timer")
    assert host.wait(id_).output == 10
    fired = [each for each in host.history(id_) if each["EventType"] == EventType.TIMER_FIRED]
    assert len(fired) == 3


def test_a_run_waits_for_the_activity_that_it_left_behind(host: DurableHost, marks: Marks) -> None:
    id_ = host.start("left_behind")
    host.wait_until(lambda: marks.began("left-behind"))
    host.raise_event(id_, "cancel")
    host.wait_until(lambda: len(host.history(id_)) > 5)
    assert host.instances()[0].runtime_status == "Running"
    marks.go("left-behind")
    assert host.wait(id_).output == "did not wait"


def test_sub_orchestrations_succeed_and_fail_as_tasks(host: DurableHost) -> None:
    status = host.wait(host.start("parent"))
    assert status.output["good"] == {"total": 2}
    assert "Orchestrator function 'failing' failed" in status.output["bad"]
    child = host.status("the-child")
    assert child is not None
    assert child.runtime_status == "Completed"


def test_a_run_that_continues_as_new_begins_a_new_history(host: DurableHost) -> None:
    id_ = host.start("counter", 1)
    status = host.wait(id_)
    assert (status.output, status.input) == (3, 3)
    assert len(host.history(id_)) == 8
    assert host.started == ["double"] * 3


def test_a_run_knows_who_it_is(host: DurableHost) -> None:
    output = host.wait(host.start("identity", instance_id="me")).output
    assert output[:2] == ["me", None]


def test_a_fixed_id_is_refused_while_it_runs_and_free_afterwards(host: DurableHost) -> None:
    host.start("approval", instance_id="the-run")
    with pytest.raises(AlreadyExists):
        host.start("approval", instance_id="the-run")
    host.wait("the-run")
    host.start("fan", 1, instance_id="the-run")
    assert host.wait("the-run").output == {"total": 0}


def test_an_id_that_is_none_is_refused(host: DurableHost) -> None:
    with pytest.raises(BadArgument, match="must not contain"):
        host.start("fan", 1, instance_id="a/b")


def test_terminating_frees_the_id_and_stops_nothing(host: DurableHost, marks: Marks) -> None:
    """Two at once: of three, the third is queued, and is started though its run was terminated."""
    host.start("holding", ["a", "b", "c"], instance_id="the-run")
    host.wait_until(lambda: marks.began("a") and marks.began("b"))
    host.terminate("the-run", "enough")
    status = host.wait("the-run")
    assert (status.runtime_status, status.output) == ("Terminated", "enough")
    host.start("fan", 1, instance_id="the-run")
    assert [each.name for each in host.running()] == ["hold", "hold"]
    for name in "abc":
        marks.go(name)
    host.settle()
    assert marks.began("c")
    assert host.wait("the-run").output == {"total": 0}


def test_what_can_never_happen_is_told(host: DurableHost) -> None:
    id_ = host.start("approval")
    host.terminate(id_, "gone")
    host.wait(id_)
    with pytest.raises(Stuck, match="there is no instance nobody"):
        host.wait("nobody")


def test_an_orchestrator_that_rolls_dice_is_caught(host: DurableHost) -> None:
    id_ = host.start("dice")
    with pytest.raises(NotDeterministic, match="wants two things after one history"):
        host.wait(id_)


def test_an_orchestrator_that_changes_its_mind_between_turns_is_caught(host: DurableHost) -> None:
    id_ = host.start("moody")
    with pytest.raises(NotDeterministic, match="does not do what it did before") as caught:
        host.settle()
    assert "change_mood" in str(caught.value)
    assert json.loads(str(caught.value)[str(caught.value).index("\n[") :])
    assert host.wait(id_).runtime_status == "Failed"
