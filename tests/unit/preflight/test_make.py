"""Preflight as a whole: what is looked at, and what the answer and the exit code say of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Never
from uuid import UUID

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


def test_what_nobody_expected_of_one_component_is_its_row_and_the_rest_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finding(monkeypatch)
    makers = make._makers()

    def surprised(settings: Settings) -> ComponentChecks:
        raise ValueError("surprise")

    monkeypatch.setattr(make, "_makers", lambda: {**makers, "share": surprised})
    found = preflight(SHARE)
    assert [(row.component, row.result) for row in found.rows] == [
        ("share", "fail"), ("vault", "pass"), ("telemetry", "pass"),
    ]  # fmt: skip
    assert "surprise" in found.rows[0].detail
    assert found.exit_code == 1, "no setting is known to be wrong"
    assert diagnosis_of(SHARE, "share") is None, "it explains nothing of a backup"


@pytest.mark.parametrize(
    ("name", "value", "component"),
    [
        ("LIFEBOAT_VAULT_URL", "https://vault:99999", "vault"),
        ("LIFEBOAT_VAULT_URL", "https://[vault", "vault"),
        ("LIFEBOAT_KEY_VAULT_URL", "https://kv:443x", "secrets"),
        ("LIFEBOAT_SHARE_URL", "smb://[fs/x", "share"),
        ("LIFEBOAT_LANDING_URL", "https://landing:x", "databases"),
        ("HTTPS_PROXY", "http://user:odd/Pa55@proxy:8080", "vault"),
        (
            "APPLICATIONINSIGHTS_CONNECTION_STRING",
            f"InstrumentationKey={UUID(int=1)};IngestionEndpoint=https://x:y",
            "telemetry",
        ),
    ],
)
def test_an_address_that_is_none_is_a_row_that_names_its_setting_and_repeats_no_password(
    clean_environment: pytest.MonkeyPatch, name: str, value: str, component: str
) -> None:
    written = {
        "LIFEBOAT_VAULT_URL": "https://vault.invalid",
        "LIFEBOAT_VAULT_KEY": "a2V5",
        "LIFEBOAT_KEY_VAULT_URL": "https://kv.invalid",
        "LIFEBOAT_SHARE_URL": "smb://fs.invalid/x",
        "LIFEBOAT_SHARE_USERNAME": "reader",
        "LIFEBOAT_SQL_SERVER": "sql.invalid",
        "LIFEBOAT_SQL_USERNAME": "backup",
        "LIFEBOAT_SQL_PASSWORD": "of it",
        "LIFEBOAT_LANDING_URL": "https://landing.invalid",
        "LIFEBOAT_LANDING_KEY": "a2V5",
        name: value,
    }
    for each, text in written.items():
        clean_environment.setenv(each, text)
    found = preflight(Settings.from_environment(), (component,))
    (row,) = found.rows
    assert (row.name, row.result, row.setting) == ("settings", "fail", name)
    assert row.remedy
    assert "odd" not in row.detail
    assert found.exit_code == 2


def test_a_diagnosis_that_raises_loses_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Never:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(make, "_makers", broken)
    monkeypatch.setattr(make, "run_checks", lambda *_, **__: broken())
    assert diagnosis_of(SHARE, "share") is None


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
