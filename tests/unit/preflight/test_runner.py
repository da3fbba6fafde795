"""Checks are run side by side, each under its limit, and nothing of what one does reaches the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from shared.errors import SourceUnreachable
from shared.preflight import runner
from shared.preflight.check import Check, ComponentChecks, Findings, Found, Row, failed, passed, skipped, warned
from shared.preflight.runner import run_checks

NEVER = 3600.0
"""A limit that no test waits for."""


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Set when the test is over, so that threads which were left behind end."""
    event = threading.Event()
    yield event
    event.set()


def check(
    name: str, run: Callable[[], Findings] = lambda: passed("fine"), *after: str, limit_seconds: float = NEVER
) -> Check:
    return Check(
        name, run, after=after, limit_seconds=limit_seconds, silent="look at the firewall", setting="LIFEBOAT_X"
    )


def noting(order: list[str], name: str, found: Found) -> Callable[[], Found]:
    """Notes that it was begun."""

    def run() -> Found:
        order.append(name)
        return found

    return run


def rows_of(*checks: Check, close: Callable[[], object] = lambda: None, limit_seconds: float = NEVER) -> list[Row]:
    return run_checks([ComponentChecks("share", checks, close)], limit_seconds=limit_seconds)


def told(rows: list[Row]) -> list[tuple[str, str]]:
    return [(row.name, row.result) for row in rows]


# --- order ---


def test_failing_rows_come_first_then_warnings_passes_and_what_was_left_out_each_in_the_order_of_the_checks() -> None:
    rows = rows_of(
        check("a"),
        check("b", lambda: skipped("not there")),
        check("c", lambda: warned("old")),
        check("d", lambda: failed("closed", "open it")),
        check("e"),
        check("f", lambda: failed("gone", "bring it")),
    )
    assert told(rows) == [
        ("d", "fail"), ("f", "fail"), ("c", "warn"), ("a", "pass"), ("e", "pass"), ("b", "skip"),
    ]  # fmt: skip


def test_components_keep_their_order_and_do_not_wait_for_one_another() -> None:
    both = threading.Barrier(2, timeout=30)

    def meet() -> Found:
        both.wait()
        return passed("met")

    rows = run_checks([ComponentChecks(name, (check("meet", meet),)) for name in ("share", "databases")])
    assert [(row.component, row.result) for row in rows] == [("share", "pass"), ("databases", "pass")]


def test_one_check_may_find_several_things_each_with_a_row_of_its_own() -> None:
    rows = rows_of(
        check("rights", lambda: [passed("may read", name="read"), failed("may not write", "", name="write")])
    )
    assert told(rows) == [("write", "fail"), ("read", "pass")]


# --- what comes after what ---


def test_a_check_begins_when_those_before_it_have_passed_and_a_warning_is_no_hindrance() -> None:
    order: list[str] = []
    rows = rows_of(
        check("name", noting(order, "name", passed("known"))),
        check("port", noting(order, "port", warned("slow")), "name"),
        check("login", noting(order, "login", passed("in")), "name", "port"),
    )
    assert order == ["name", "port", "login"]
    assert {row.result for row in rows} == {"warn", "pass"}


@pytest.mark.parametrize("before", [failed("closed", "open it"), skipped("not there")])
def test_what_comes_after_one_that_has_not_passed_is_left_out_and_says_after_which(before: Found) -> None:
    begun: list[str] = []
    run = noting(begun, "begun", passed("fine"))
    rows = rows_of(check("port", lambda: before), check("login", run, "port"), check("list", run, "login"))
    by_name = {row.name: row for row in rows}
    assert begun == []
    assert by_name["login"].detail == "not looked at, since 'port' has not passed"
    assert by_name["list"].detail == "not looked at, since 'login' has not passed"
    assert by_name["list"].result == "skip"


def test_a_check_of_which_one_finding_failed_has_not_passed() -> None:
    rows = rows_of(
        check("rights", lambda: [passed("may read", name="read"), failed("may not", "", name="write")]),
        check("use", lambda: passed("used"), "rights"),
    )
    assert rows[-1].detail == "not looked at, since 'write' has not passed"


@pytest.mark.parametrize(
    "checks",
    [
        (check("a"), check("a")),
        (check("a", lambda: passed(""), "nosuch"),),
        (check("a", lambda: passed(""), "b"), check("b")),
        (check("a", lambda: passed(""), "a"),),
    ],
)
def test_checks_of_one_name_and_an_order_that_can_never_be_are_refused_at_once(checks: tuple[Check, ...]) -> None:
    with pytest.raises(ValueError, match="share"):
        ComponentChecks("share", checks)


# --- limits ---


def test_a_check_that_gives_no_answer_fails_at_its_limit_with_what_to_do_about_silence(
    released: threading.Event,
) -> None:
    def silent() -> Found:
        released.wait()
        return passed("too late")

    rows = rows_of(
        check("port", silent, limit_seconds=0.05), check("login", lambda: passed(""), "port"), check("other")
    )
    assert told(rows) == [("port", "fail"), ("other", "pass"), ("login", "skip")]
    assert rows[0].detail == "no answer within 0 s"
    assert (rows[0].remedy, rows[0].setting) == ("look at the firewall", "LIFEBOAT_X")


def test_the_late_answer_of_one_that_was_given_up_changes_nothing() -> None:
    given_up = threading.Event()

    def late() -> Found:
        given_up.wait(30)
        return passed("too late")

    def last() -> Found:
        """Begins when the late one has been given up, whose limit is no time at all; ends when its answer is there."""
        given_up.set()
        for thread in threading.enumerate():
            if "'late'" in thread.name:
                thread.join(30)
        return passed("fine")

    rows = rows_of(check("late", late, limit_seconds=0), check("first"), check("last", last, "first"))
    assert told(rows) == [("late", "fail"), ("first", "pass"), ("last", "pass")]
    assert "no answer" in rows[0].detail


def test_all_checks_end_by_the_one_deadline_and_what_never_began_says_so(released: threading.Event) -> None:
    def silent() -> Found:
        released.wait()
        return passed("too late")

    rows = rows_of(check("name", silent), check("port", lambda: passed(""), "name"), limit_seconds=0.05)
    assert told(rows) == [("name", "fail"), ("port", "skip")]
    assert "no answer" in rows[0].detail
    assert rows[1].detail.startswith("not begun")


# --- what a check raises ---


def test_an_error_of_ours_is_a_failure_with_its_own_remedy_and_setting() -> None:
    def run() -> Found:
        raise SourceUnreachable("nobody there", remedy="switch it on", setting="LIFEBOAT_SHARE_URL")

    (row,) = rows_of(check("port", run))
    assert (row.result, row.detail, row.remedy, row.setting) == (
        "fail", "nobody there", "switch it on", "LIFEBOAT_SHARE_URL",
    )  # fmt: skip


def test_whatever_else_a_check_raises_is_a_failure_too_and_the_others_go_on() -> None:
    def run() -> Found:
        raise KeyError("x" * 2000)

    rows = rows_of(check("odd", run), check("other"))
    assert told(rows) == [("odd", "fail"), ("other", "pass")]
    assert "KeyError" in rows[0].detail
    assert len(rows[0].detail) <= runner.MOST_TOLD
    assert "LIFEBOAT_DEBUG" in rows[0].remedy


def test_no_row_holds_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIFEBOAT_SHARE_PASSWORD", "hunter2-and-more")
    (row,) = rows_of(check("login", lambda: failed("hunter2-and-more is wrong", "do not use hunter2-and-more")))
    assert "hunter2" not in f"{row.detail}{row.remedy}"
    assert "is wrong" in row.detail


def test_a_name_that_no_encoding_takes_can_be_printed() -> None:
    (row,) = rows_of(check("read", lambda: passed("read \ud800.txt")))
    assert row.detail == "read \\ud800.txt"


# --- clearing away ---


def test_each_component_is_closed_once_after_all_its_checks() -> None:
    order: list[str] = []
    rows = rows_of(
        check("a", noting(order, "a", passed(""))),
        check("b", noting(order, "b", failed("", "")), "a"),
        close=lambda: order.append("closed"),
    )
    assert order == ["a", "b", "closed"]
    assert len(rows) == 2


def test_a_component_is_closed_though_a_check_was_given_up(released: threading.Event) -> None:
    closed: list[bool] = []

    def silent() -> Found:
        released.wait()
        return passed("")

    rows_of(check("a", silent, limit_seconds=0.05), close=lambda: closed.append(True))
    assert closed == [True]


def test_who_is_interrupted_clears_away_too(monkeypatch: pytest.MonkeyPatch, released: threading.Event) -> None:
    closed: list[bool] = []

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner._Run, "_wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        rows_of(check("a", lambda: passed(str(released.wait()))), close=lambda: closed.append(True))
    assert closed == [True]


def test_what_cannot_be_cleared_away_is_a_warning(
    released: threading.Event, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner, "CLOSE_SECONDS", 0.05)

    def refused() -> None:
        raise SourceUnreachable("the blob stays", remedy="delete it")

    rows = run_checks(
        [
            ComponentChecks("share", (check("a"),), refused),
            ComponentChecks("databases", (check("a"),), released.wait),
            ComponentChecks("vault", (check("a"),)),
        ]
    )
    assert [(row.component, row.name, row.result) for row in rows][:2] == [
        ("share", "clean-up", "warn"), ("databases", "clean-up", "warn"),
    ]  # fmt: skip
    assert (rows[0].detail, rows[0].remedy) == ("the blob stays", "delete it")
    assert "no answer within" in rows[1].detail
    assert len(rows) == 5
    assert capfd.readouterr().err == ""
