"""A component that came to nothing: its reason names the check of preflight that fails."""

from __future__ import annotations

from typing import Any

from shared.recovery_point.diagnosis import Diagnosis, diagnose_all, explain

Json = dict[str, Any]
PORT = Diagnosis("port", "nothing answers on TCP 445", "Name another port.", "LIFEBOAT_SHARE_URL")
FAILED: Json = {"status": "failed", "snapshot": None}


def reason(component: str = "share", code: str = "source-unreachable") -> Json:
    return {"component": component, "code": code, "message": "it does not answer", "remedy": "Look."}


def test_the_first_reason_of_the_component_names_the_check_what_it_found_and_its_remedy() -> None:
    first, second, third = explain([reason("databases"), reason(), reason(code="other")], "share", PORT)
    assert second["check"] == "port"
    assert second["message"] == "it does not answer (preflight: port: nothing answers on TCP 445)"
    assert (second["remedy"], second["setting"]) == ("Name another port.", "LIFEBOAT_SHARE_URL")
    assert second["code"] == "source-unreachable"
    assert (first, third) == (reason("databases"), reason(code="other"))


def test_what_the_backup_has_said_already_is_not_said_twice() -> None:
    (told,) = explain([reason()], "share", Diagnosis("login", "it does not answer", "Check it."))
    assert told["message"] == "it does not answer (preflight: login)"
    assert told["check"] == "login"


def test_where_preflight_finds_nothing_it_says_so_and_keeps_the_remedy() -> None:
    (told,) = explain([reason()], "share", Diagnosis(None))
    assert "finds nothing wrong" in told["message"]
    assert told["remedy"] == "Look."
    assert "check" not in told


def test_only_what_came_to_nothing_is_looked_at() -> None:
    asked: list[str] = []

    def diagnose(component: str) -> Diagnosis | None:
        asked.append(component)
        return None

    components: dict[str, Json] = {
        "share": FAILED | {"data_time": "2026-11-25T00:00:00Z"},  # it shrank, say: the way to it is fine
        "databases": FAILED,
        "secrets": {"status": "partial"},
    }
    assert diagnose_all(components, [reason("databases")], diagnose) == [reason("databases")]
    assert asked == ["databases"]


def test_what_is_diagnosed_comes_back_from_json_as_it_was() -> None:
    assert Diagnosis.from_json(PORT.to_json()) == PORT


def test_a_login_that_was_refused_is_not_tried_once_more() -> None:
    def look(component: str) -> Diagnosis | None:
        raise AssertionError(component)

    refused = reason("databases", "login-refused")
    assert diagnose_all({"databases": FAILED}, [refused], look) == [refused | {"check": "login"}]
