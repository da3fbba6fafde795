"""Preflight as a whole: what is looked at, and what the answer and the exit code say of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.errors import SettingsError, UsageError
from shared.preflight import make
from shared.preflight.check import Check, ComponentChecks, Found, failed, passed, skipped, warned
from shared.preflight.diagnosis import diagnosis_of
from shared.preflight.make import COMPONENTS, preflight
from shared.recovery_point.diagnosis import Diagnosis
from shared.settings import Settings

SHARE = Settings({"LIFEBOAT_SHARE_URL": "smb://fs/x", "LIFEBOAT_VAULT_URL": "https://vault"})


def finding(monkeypatch: pytest.MonkeyPatch, **found: Found) -> None:
    """Each component has one check, named ``look``, that finds this; others find nothing wrong."""

    def maker(component: str) -> Callable[[Settings], ComponentChecks]:
        what = found.get(component, passed("fine"))
        return lambda settings: ComponentChecks(component, (Check("look", lambda: what),))

    monkeypatch.setattr(make, "_makers", lambda: {name: maker(name) for name in COMPONENTS})


def test_what_is_configured_is_looked_at_and_the_vault_and_telemetry_always(monkeypatch: pytest.MonkeyPatch) -> None:
    finding(monkeypatch)
    found = preflight(SHARE)
    assert [row.component for row in found.rows] == ["share", "vault", "telemetry"]
    assert (found.status, found.exit_code) == ("ok", 0)
    assert found.to_json()["reasons"] == []


def test_only_narrows_what_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    finding(monkeypatch)
    assert [row.component for row in preflight(SHARE, ("vault",)).rows] == ["vault"]


def test_only_refuses_what_there_is_none_of_and_what_is_not_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    finding(monkeypatch)
    with pytest.raises(UsageError, match="'shares'") as wrong:
        preflight(SHARE, ("shares",))
    assert "share, databases, secrets, vault, telemetry" in wrong.value.remedy
    with pytest.raises(SettingsError) as absent:
        preflight(SHARE, ("databases",))
    assert absent.value.setting == "LIFEBOAT_SQL_SERVER"


def test_a_failure_is_a_reason_that_names_the_check_and_warnings_change_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finding(monkeypatch, share=warned("slow", "wait"), telemetry=skipped("none"))
    assert (preflight(SHARE).status, preflight(SHARE).exit_code) == ("ok", 0)
    finding(monkeypatch, vault=failed("closed", "open it", setting="LIFEBOAT_VAULT_URL"), share=warned("slow"))
    found = preflight(SHARE)
    assert (found.status, found.exit_code) == ("failed", 1)
    assert [(row.result, row.component) for row in found.rows] == [
        ("fail", "vault"), ("warn", "share"), ("pass", "telemetry"),
    ]  # fmt: skip
    assert found.to_json()["reasons"] == [
        {
            "component": "vault",
            "code": "preflight",
            "message": "look: closed",
            "remedy": "open it",
            "check": "look",
            "setting": "LIFEBOAT_VAULT_URL",
        }
    ]


def test_a_setting_that_is_missing_is_a_row_and_exit_code_2_and_the_rest_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finding(monkeypatch)
    makers = make._makers()

    def no_username(settings: Settings) -> ComponentChecks:
        raise SettingsError("LIFEBOAT_SHARE_USERNAME is not set", remedy="Set it.", setting="LIFEBOAT_SHARE_USERNAME")

    monkeypatch.setattr(make, "_makers", lambda: {**makers, "share": no_username})
    found = preflight(SHARE)
    first = found.rows[0]
    assert (first.component, first.name, first.setting) == ("share", "settings", "LIFEBOAT_SHARE_USERNAME")
    assert [row.result for row in found.rows] == ["fail", "pass", "pass"]
    assert (found.status, found.exit_code) == ("failed", 2)
    assert found.to_json()["reasons"][0]["code"] == "wrong-setting"


def test_there_is_a_maker_for_every_component() -> None:
    assert make._makers().keys() == set(COMPONENTS)


def test_what_keeps_no_backup_from_being_made_explains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings({"LIFEBOAT_KEY_VAULT_URL": "https://kv"})
    purgeable = failed("anybody may purge", "switch it on", name="purge-protection")
    finding(monkeypatch, secrets=purgeable)
    assert diagnosis_of(settings, "secrets") == Diagnosis(None)
    finding(monkeypatch, secrets=failed("refused", "give the role"))
    found = diagnosis_of(settings, "secrets")
    assert found is not None
    assert (found.check, found.remedy) == ("look", "give the role")
    assert diagnosis_of(settings, "share") is None, "it is not configured, so nothing could be looked at"
