"""Checks that fail, hang or break: each a crossed box in its place, and never an error."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shared.errors import SourceUnreachable
from shared.preflight.check import Found, passed
from shared.settings import Settings
from shared.status.runbook import prechecks
from shared.status.runbook.facts import Facts
from shared.status.runbook.prechecks import Part, for_people, run_checks
from tests.unit.status.points import SETTINGS, databases, facts, hosting, in_repository, point, share

Json = dict[str, Any]
Ask = Callable[[Settings, Facts], Iterator[Found]]


def good(name: str) -> Found:
    return passed("it is there", name=name)


def asked(monkeypatch: pytest.MonkeyPatch, *asks: Ask, setting: str | None = None) -> list[Json]:
    """The checks after the one on the record."""
    parts = [Part("share", f"part {number}", True, setting, "look at it", ask) for number, ask in enumerate(asks)]
    monkeypatch.setattr(prechecks, "_parts", lambda _: parts)
    return run_checks(Settings(SETTINGS), facts(), limit_seconds=0.5)[1:]


def test_what_was_found_before_an_error_stays_and_the_error_is_told_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ask(*_: object) -> Iterator[Found]:
        yield good("first")
        raise SourceUnreachable("nobody answers", remedy="Start it.", setting="LIFEBOAT_SHARE_URL")

    first, second = asked(monkeypatch, ask)

    assert first["result"] == "pass"
    assert (second["name"], second["result"]) == ("part 0", "fail")
    assert (second["detail"], second["remedy"], second["setting"]) == (
        "nobody answers",
        "Start it.",
        "LIFEBOAT_SHARE_URL",
    )


def test_one_that_gives_no_answer_is_crossed_and_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()

    def hang(*_: object) -> Iterator[Found]:
        yield good("begun")
        never.wait()

    def answer(*_: object) -> Iterator[Found]:
        yield good("answered")

    begun, hanging, answered = asked(monkeypatch, hang, answer)
    never.set()

    assert begun["result"] == answered["result"] == "pass"
    assert hanging["result"] == "fail"
    assert "no answer within" in hanging["detail"]
    assert "look at it" in hanging["remedy"]


def test_an_error_that_nobody_expected_is_crossed_without_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Iterator[Found]:
        yield from ()
        raise RuntimeError("password=hunter2")

    (found,) = asked(monkeypatch, broken)

    assert found["result"] == "fail"
    assert "RuntimeError" in found["detail"]
    assert "hunter2" not in str(found)


def test_what_no_setting_leads_to_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> Iterator[Found]:
        raise AssertionError

    (found,) = asked(monkeypatch, never, setting="LIFEBOAT_SHARE_URL or LIFEBOAT_SQL_SERVER")

    assert found["result"] == "skip"
    assert "LIFEBOAT_SHARE_URL or LIFEBOAT_SQL_SERVER is not set here" in found["detail"]


def test_a_point_is_asked_only_for_what_it_needs() -> None:
    names = {check["name"] for check in for_people(facts(point({"share": share()})))}
    on_disk = point({"databases": databases(hosting(stored=in_repository("x")), mode="disk", logins={})})
    of_databases = {check["name"] for check in for_people(facts(on_disk))}

    assert "SQL Server that is restored to" not in names
    assert {"Databases", "SystemSecrets.JSON"} <= names
    assert "Folder from which SQL Server restores" in of_databases
    assert "Password of the repository" in of_databases
    assert "Landing account, from which SQL Server restores" not in of_databases
    assert "Logins of SQL Server in the Key Vault" not in of_databases


def test_every_check_has_the_shape_of_those_of_preflight() -> None:
    for check in for_people(facts()):
        assert check.keys() == {"component", "name", "result", "seconds", "detail", "remedy", "setting"}
        assert check["result"] in ("pass", "fail", "skip")
