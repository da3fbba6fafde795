"""The timers that look after what there is, under Microsoft's own worker, with a real vault."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.recovery_point.backup import Backup
from shared.recovery_point.scope import BackupRequest
from shared.settings import Settings
from shared.telemetry import Event
from tests.conftest import Vault
from tests.integration.databases.conftest import (
    PASSWORD,
    RESTORE_LOGIN,
    Bench,
    address,
    bench,
    landing,
    restore_login,
    sql_server,
)
from tests.standins.azurite import REPOSITORY
from tests.standins.certificate import Certificate
from tests.standins.functions_worker import FunctionsWorker, WorkerRefused
from tests.standins.in_memory_telemetry import Exported, listening
from tests.standins.sqlserver import running_sql_server

__all__ = ["bench", "landing", "sql_server"]
"""Fixtures of the databases' tests, used here too."""

APP = """
import azure.functions as func
from functions import watch

app = func.FunctionApp()
app.register_functions(watch.blueprint())
"""
SCHEDULES = {"watchdog": "0 15 * * * *", "verification": "0 0 5 * * *", "drill": "0 0 6 * * SUN"}


@pytest.fixture
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An app with these timers and nothing else."""
    folder = tmp_path_factory.mktemp("app")
    (folder / "function_app.py").write_text(APP)
    return folder


@pytest.fixture
def exported() -> Iterator[Exported]:
    with listening() as found:
        yield found


@pytest.fixture
def settings(vault: Vault, clean_environment: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Of an app that backs up a folder into the vault."""
    share = tmp_path / "WebSites"
    share.mkdir()
    (share / "a.txt").write_text("a" * 10_000)
    for name, value in vault.environment().items():
        clean_environment.setenv(name, value)
    clean_environment.setenv("LIFEBOAT_REPOSITORY_PASSWORD", "of the repository")
    clean_environment.setenv("LIFEBOAT_SHARE_URL", share.as_uri())
    return clean_environment


def back_up() -> str:
    return Backup(Settings.from_environment(), BackupRequest()).run().point


# --- indexing ---


def test_the_timers_are_indexed_with_their_bindings_and_default_schedules(
    app: Path, clean_environment: pytest.MonkeyPatch
) -> None:
    with FunctionsWorker(app) as worker:
        found = {name: function.raw_bindings for name, function in worker.functions.items()}

    assert set(found) == set(SCHEDULES)
    for name, bindings in found.items():
        [binding] = bindings
        assert (binding["type"], binding["name"], binding["direction"]) == ("timerTrigger", "timer", "IN")
        assert binding["schedule"] == SCHEDULES[name]
        assert not binding.get("runOnStartup")


def test_each_schedule_is_a_setting(app: Path, clean_environment: pytest.MonkeyPatch) -> None:
    clean_environment.setenv("LIFEBOAT_SCHEDULE_WATCHDOG", "0 */10 * * * *")

    with FunctionsWorker(app) as worker:
        assert worker.functions["watchdog"].trigger["schedule"] == "0 */10 * * * *"


@pytest.mark.parametrize(
    ("name", "function"), [("WATCHDOG", "watchdog"), ("VERIFY", "verification"), ("DRILL", "drill")]
)
def test_a_schedule_that_is_none_keeps_only_its_own_timer_away_and_is_named(
    app: Path, clean_environment: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, function: str
) -> None:
    clean_environment.setenv(f"LIFEBOAT_SCHEDULE_{name}", "every hour")

    with caplog.at_level(logging.ERROR, "lifeboat"), FunctionsWorker(app) as worker:
        assert set(worker.functions) == set(SCHEDULES) - {function}

    assert f"LIFEBOAT_SCHEDULE_{name} is 'every hour'" in caplog.text


def test_loading_them_takes_no_library_that_only_a_run_needs(app: Path) -> None:
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment |= {"PYTHONPATH": str(REPOSITORY), "APPLICATIONINSIGHTS_CONNECTION_STRING": "InstrumentationKey=x"}
    command = [sys.executable, "-m", "tests.standins.functions_worker"]
    done = subprocess.run(command, cwd=app, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    modules = {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])["modules"]}
    assert modules.isdisjoint({"opentelemetry", "pyodbc", "smbprotocol", "cryptography", "zstandard"})


def test_the_host_sends_its_own_telemetry_as_open_telemetry_and_no_chatter() -> None:
    host = json.loads((REPOSITORY / "host.json").read_text())

    assert host["telemetryMode"] == "OpenTelemetry"
    assert host["logging"]["logLevel"]["default"] == "Warning"


# --- the watchdog ---


@pytest.mark.parametrize("past_due", [False, True])
def test_the_watchdog_says_that_it_is_alive_and_how_old_the_share_is_fault_18(
    app: Path, settings: pytest.MonkeyPatch, exported: Exported, past_due: bool
) -> None:
    """Fault 18: a timer that was missed fires once, past due, and does what it always does."""
    back_up()
    with FunctionsWorker(app) as worker:
        worker.timer("watchdog", past_due=past_due)

    [alive] = exported.named(Event.WATCHDOG_ALIVE)
    assert (alive["status"], alive["share_late"], alive["wrong_settings_count"]) == ("ok", False, 0)
    assert 0 <= alive["share_age_seconds"] < 600
    assert alive["added_week_bytes"] > 0
    gauges = exported.gauges()
    assert gauges["lifeboat.age", "s"] == [({"component": "share"}, alive["share_age_seconds"])]
    assert gauges["lifeboat.files", "{file}"] == [({}, 1)]


def test_a_component_that_is_late_is_told_by_name(app: Path, settings: pytest.MonkeyPatch, exported: Exported) -> None:
    point = back_up()
    settings.setenv("LIFEBOAT_RPO_SHARE", "0s")

    with FunctionsWorker(app) as worker:
        worker.timer("watchdog")

    [late] = exported.named(Event.COMPONENT_LATE)
    assert (late["component"], late["newest"], late["rpo_seconds"]) == ("share", point, 0)


def test_the_watchdog_is_alive_where_the_vault_does_not_answer(
    app: Path, settings: pytest.MonkeyPatch, exported: Exported
) -> None:
    settings.setenv("LIFEBOAT_VAULT_URL", "http://127.0.0.1:1/nobody")

    with FunctionsWorker(app) as worker:
        worker.timer("watchdog")

    [alive] = exported.named(Event.WATCHDOG_ALIVE)
    assert (alive["status"], alive["late"], alive["code"]) == ("unseen", "share", "storage-unavailable")


def test_the_watchdog_is_alive_without_any_setting_and_names_what_is_missing(
    app: Path, clean_environment: pytest.MonkeyPatch, exported: Exported
) -> None:
    clean_environment.setenv("LIFEBOAT_SCHEDULE_DRILL", "@weekly")

    with FunctionsWorker(app) as worker:
        worker.timer("watchdog")

    [alive] = exported.named(Event.WATCHDOG_ALIVE)
    assert (alive["status"], alive["code"]) == ("unseen", "wrong-setting")
    assert alive["wrong_settings"] == "LIFEBOAT_VAULT_URL, LIFEBOAT_SCHEDULE_DRILL"


# --- the verification ---


def test_the_verification_checks_the_vault(
    app: Path, settings: pytest.MonkeyPatch, vault: Vault, exported: Exported
) -> None:
    back_up()
    with FunctionsWorker(app) as worker:
        worker.timer("verification")
        assert [each["findings"] for each in exported.named(Event.VERIFICATION_COMPLETED)] == [0]

        with vault.judge() as store:
            pack = next(blob.name for blob in store.list("data/"))
            store.delete(pack)
        worker.timer("verification")

    assert exported.named(Event.VERIFICATION_COMPLETED)[-1]["findings"] > 0
    assert len(exported.named(Event.REPOSITORY_DAMAGED)) == 1


def test_a_verification_that_cannot_be_made_is_told_and_fails(
    app: Path, settings: pytest.MonkeyPatch, exported: Exported
) -> None:
    with FunctionsWorker(app) as worker, pytest.raises(WorkerRefused, match="RepositoryMissing"):
        worker.timer("verification")

    [failed] = exported.named(Event.VERIFICATION_FAILED)
    assert failed["code"] == "no-repository"


# --- the drill ---


def test_without_a_point_the_drill_is_nothing(app: Path, settings: pytest.MonkeyPatch, exported: Exported) -> None:
    with FunctionsWorker(app) as worker:
        worker.timer("drill")

    assert exported.events() == []


def test_without_a_drill_server_a_vault_of_databases_is_not_drilled_and_nobody_is_alarmed(
    app: Path, bench: Bench
) -> None:
    assert bench.command("backup").status == "complete"
    with listening() as exported:
        with FunctionsWorker(app) as worker:
            worker.timer("drill")
            worker.timer("watchdog")

        [alive] = exported.events()
        assert alive["drill_overdue"] is False


def test_without_a_drill_server_the_share_is_drilled(
    app: Path, settings: pytest.MonkeyPatch, exported: Exported
) -> None:
    point = back_up()
    with FunctionsWorker(app) as worker:
        worker.timer("drill")
        worker.timer("watchdog")

    [done] = exported.named(Event.DRILL_COMPLETED)
    [alive] = exported.named(Event.WATCHDOG_ALIVE)
    assert (done["point"], done["databases"]) == (point, 0)
    assert done["rto_seconds"] > 0
    assert (alive["drill_status"], alive["drill_overdue"]) == ("ok", False)


def test_without_any_setting_the_drill_is_told_and_fails(
    app: Path, clean_environment: pytest.MonkeyPatch, exported: Exported
) -> None:
    with FunctionsWorker(app) as worker, pytest.raises(WorkerRefused, match="LIFEBOAT_VAULT_URL"):
        worker.timer("drill")

    [failed] = exported.named(Event.DRILL_FAILED)
    assert failed["code"] == "wrong-setting"


def test_a_drill_restores_the_newest_point_on_the_drill_server(
    app: Path, bench: Bench, certificate: Certificate
) -> None:
    assert bench.command("backup").status == "complete"
    with running_sql_server(certificate, name="SQL02") as server, listening() as exported:
        server.add_login(restore_login(()))
        bench.command.set(
            DRILL_SQL_SERVER=address(server), DRILL_SQL_USERNAME=RESTORE_LOGIN, DRILL_SQL_PASSWORD=PASSWORD
        )
        with FunctionsWorker(app) as worker:
            worker.timer("drill")
            worker.timer("watchdog")

        [done] = exported.named(Event.DRILL_COMPLETED)
        [alive] = exported.named(Event.WATCHDOG_ALIVE)
        assert done["databases"] == 2
        assert exported.gauges()["lifeboat.drill.rto", "s"] == [({}, done["rto_seconds"])]
        assert (alive["drill_status"], alive["drill_overdue"]) == ("ok", False)


def test_a_drill_that_cannot_begin_is_told_and_fails(
    app: Path, settings: pytest.MonkeyPatch, exported: Exported
) -> None:
    back_up()
    settings.setenv("LIFEBOAT_DRILL_SQL_SERVER", "127.0.0.1,1")

    with FunctionsWorker(app) as worker, pytest.raises(WorkerRefused, match="LIFEBOAT_SQL_USERNAME"):
        worker.timer("drill")

    [failed] = exported.named(Event.DRILL_FAILED)
    assert (failed["code"], failed["detail"]) == ("wrong-setting", "LIFEBOAT_SQL_USERNAME is not set")
