"""The steps of a run, called one after the other as an engine calls them, on all three components."""

from __future__ import annotations

from typing import Any

import pytest

from shared.recovery_point import steps
from shared.recovery_point.databases import DatabasesComponent
from shared.recovery_point.runs import Runs, new_run_id
from shared.settings import Settings
from tests.integration.secrets.conftest import Site

Json = dict[str, Any]
RUN = "0123456789abcdef"
REQUEST: Json = {"only": [], "logs": False, "allow_shrink": False}


class Engine:
    """Calls steps; what it keeps between them is JSON."""

    def __init__(self, run: str = RUN, request: Json = REQUEST) -> None:
        self.run, self.request = run, request
        self.settings = Settings.from_environment()
        self.begun: Json = {}
        self.parts: dict[str, list[Json]] = {}

    def call(self, step: Any, **arguments: Any) -> Json:  # Any: each step has arguments of its own
        result: Json = step(self.settings, self.run, **arguments)
        return result

    def begin(self) -> Json:
        self.begun = self.call(steps.begin, request=self.request)
        return self.begun

    def share(self, *, shards: int = 3, budget_seconds: float = 60.0) -> None:
        plan = self.call(steps.plan_share, shards=shards, fingerprints=True)
        assert plan["ok"], plan
        results = [self.shard(plan["plan"], number, budget_seconds) for number in range(plan["shards"])]
        joined = self.call(
            steps.join_share, plan=plan["plan"], results=results, allow_shrink=self.request["allow_shrink"]
        )
        self.parts["share"] = [joined]

    def shard(self, plan: str, number: int, budget_seconds: float) -> str:
        done: Json = {"done": False, "continue_from": None}
        while not done["done"]:
            done = self.call(
                steps.back_up_shard,
                plan=plan,
                number=number,
                continue_from=done["continue_from"],
                budget_seconds=budget_seconds,
            )
            assert done["ok"], done
        return str(done["result"])

    def databases(self) -> None:
        self.parts["databases"] = [
            self.call(steps.back_up_database, name=name, held=self.begun["held"], logs_only=False, after=[])
            | {"database": name}
            for name in self.begun["databases"]
        ]

    def logs(self) -> None:
        made = [part["component"] for part in self.parts["databases"]]
        self.parts["databases"] += [
            self.call(steps.back_up_database, name=name, held=[], logs_only=True, after=made) | {"database": name}
            for name in ("appservice_hosting", "appservice_metering")
        ]

    def secrets(self) -> None:
        made = [part["component"] for part in self.parts["databases"] if part["ok"]]
        self.parts["secrets"] = [
            self.call(steps.look_at_secrets, databases=made, version=self.begun["secrets_version"])
        ]

    def record(self) -> Json:
        return self.call(steps.record, request=self.request, begun=self.begun, parts=self.parts, caller="somebody")

    def all(self) -> Json:
        assert self.begin()["ok"], self.begun
        self.databases()
        self.share()
        self.secrets()
        return self.record()


def locks(site: Site) -> list[str]:
    with site.bench.vault.judge() as store:
        return [blob.name for blob in store.list("locks/")]


def test_step_by_step_a_point_is_what_it_is_in_one_process(site: Site) -> None:
    site.put()
    recorded = Engine().all()
    assert recorded["ok"], recorded
    end = recorded["end"]
    assert (end["status"], end["reasons"], end["run"]) == ("complete", [], RUN)
    stepwise = site.bench.record(end["point"])
    at_once = site.bench.record(site.back_up().json["point"])
    assert stepwise["whole"]
    assert stepwise["run"] == {"run": RUN, "caller": "somebody"}
    for name in ("databases", "share", "secrets"):
        assert stepwise["components"][name].keys() == at_once["components"][name].keys(), name
    assert stepwise["components"]["share"]["files"] == at_once["components"]["share"]["files"]
    assert set(stepwise["components"]["databases"]["databases"]) == {
        "appservice_hosting",
        "appservice_metering",
        "master",
    }
    assert stepwise["source"] == at_once["source"]
    assert locks(site) == []
    assert site.command("check", "--read-data").code == 0
    back = site.folder / "back"
    assert site.command("restore", "share", "--point", end["point"], "--to", str(back)).code == 0
    assert site.command.contents(back) == site.command.contents()


def test_a_shard_that_stops_at_its_time_budget_is_gone_on_with(site: Site) -> None:
    site.command.fill(*(f"site{number}/page.html" for number in range(12)))
    engine = Engine(request=REQUEST | {"only": ["share"]})
    engine.begin()
    plan = engine.call(steps.plan_share, shards=1, fingerprints=True)
    stopped = engine.call(steps.back_up_shard, plan=plan["plan"], number=0, continue_from=None, budget_seconds=0.0)
    assert (stopped["ok"], stopped["done"]) == (True, False)
    gone_on = engine.call(
        steps.back_up_shard,
        plan=plan["plan"],
        number=0,
        continue_from=stopped["continue_from"],
        budget_seconds=60.0,
    )
    results = [gone_on["result"]]
    engine.parts["share"] = [engine.call(steps.join_share, plan=plan["plan"], results=results, allow_shrink=False)]
    assert engine.record()["end"]["status"] == "complete"


def test_every_step_may_run_twice(site: Site) -> None:
    """As after a host that died before it could say that the step was done."""
    site.put()
    engine = Engine()
    engine.begin()
    engine.databases()
    engine.databases()
    engine.share()
    engine.share()
    engine.secrets()
    engine.secrets()
    first, second = engine.record(), engine.record()
    assert first["end"] == second["end"]
    assert [each["point"] for each in site.command("points").json["points"]] == [first["end"]["point"]]


def test_one_database_that_fails_is_named_and_the_others_are_there(site: Site) -> None:
    site.put()
    site.command.set(SQL_DATABASES="appservice_hosting,nowhere")
    end = Engine().all()["end"]
    assert end["status"] == "partial"
    assert [(reason["code"], reason["database"]) for reason in end["reasons"]] == [("database-failed", "nowhere")]
    databases = site.bench.record(end["point"])["components"]["databases"]
    assert {name: each["status"] for name, each in databases["databases"].items()} == {
        "appservice_hosting": "complete",
        "nowhere": "failed",
    }


def test_a_step_that_failed_for_good_is_a_reason_of_its_component(site: Site) -> None:
    engine = Engine()
    engine.begin()
    reason = {"component": "lifeboat", "code": "failed", "message": "the instance died", "remedy": ""}
    failed = {"ok": False, "reason": reason, "retry": True}
    engine.parts = {
        "databases": [failed | {"database": name} for name in engine.begun["databases"]],
        "share": [failed],
        "secrets": [failed],
    }
    end = engine.record()["end"]
    assert end["status"] == "failed"
    assert [reason["component"] for reason in end["reasons"]] == ["databases"] * 3 + ["share", "secrets"]
    assert site.command("show", end["point"]).code == 0


def test_with_a_log_chain_of_our_own_the_logs_reach_the_moment_of_the_share(site: Site) -> None:
    site.command.set(SQL_OWN_LOG_CHAIN="true")
    site.put()
    engine = Engine()
    assert engine.begin()["own_log_chain"]
    engine.databases()
    engine.share()
    engine.logs()
    engine.secrets()
    end = engine.record()["end"]
    assert end["status"] == "complete", end
    hosting = site.bench.record(end["point"])["components"]["databases"]["databases"]["appservice_hosting"]
    assert [backup["kind"] for backup in hosting["backups"]] == ["full", "log"], "the log goes on from this run's full"
    engine = Engine(new_run_id())
    engine.begin()
    engine.databases()
    engine.share()
    engine.logs()
    engine.secrets()
    second = site.bench.record(engine.record()["end"]["point"])["components"]["databases"]
    assert second["share_moment"]["reachable"]


def test_14_a_lock_that_was_lost_costs_the_point_all_of_its_components(site: Site) -> None:
    site.put()
    engine = Engine()
    engine.begin()
    engine.databases()
    engine.share()
    engine.secrets()
    with site.bench.vault.judge() as store:
        store.delete(locks(site)[0])
    assert engine.call(steps.refresh)["reason"]["code"] == "locked"
    end = engine.record()["end"]
    assert end["status"] == "failed"
    assert "locked" in [reason["code"] for reason in end["reasons"]]


def test_a_refresh_that_is_done_again_and_a_beginning_that_is_done_again_leave_one_lock(site: Site) -> None:
    """As after a host that died before it could say so."""
    engine = Engine()
    engine.begin()
    engine.begin()
    assert len(locks(site)) == 1
    assert engine.call(steps.refresh)["ok"]
    assert engine.call(steps.refresh)["ok"]
    assert len(locks(site)) == 1


def test_an_error_that_nobody_expected_tells_no_secret(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> Any:
        raise ValueError("https://x.blob.core.windows.net/c?sv=1&sig=SECRETSIG and Password=hunter2;")

    monkeypatch.setattr(steps, "open_for_backup", fail)
    told = Engine().begin()["reason"]["message"]
    assert "SECRETSIG" not in told
    assert "hunter2" not in told


def test_while_a_step_stores_nobody_can_prune_though_the_runs_own_lock_could_not_be_refreshed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.put()
    engine = Engine(request=REQUEST | {"only": ["databases"]})
    engine.begin()
    seen: list[list[str]] = []
    monkeypatch.setattr(DatabasesComponent, "back_up", lambda component: seen.append(locks(site)))
    engine.call(steps.back_up_database, name="appservice_hosting", held=[], logs_only=False, after=[])
    assert len(seen[0]) == 2, "the run's, and the step's own"
    assert len(locks(site)) == 1


def test_a_run_that_is_cancelled_stops_and_leaves_nothing_locked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.recovery_point.runs.POLL_SECONDS", 0.0)
    engine = Engine(request=REQUEST | {"only": ["share"]})
    engine.begin()
    plan = engine.call(steps.plan_share, shards=1, fingerprints=True)
    with site.bench.vault.store("recovery-points") as store:
        Runs(store).cancel(RUN)
        Runs(store).cancel(RUN)
    stopped = engine.call(steps.back_up_shard, plan=plan["plan"], number=0, continue_from=None, budget_seconds=60.0)
    assert (stopped["ok"], stopped["reason"]["code"], stopped["retry"]) == (False, "cancelled", False)
    ended = engine.call(
        steps.give_up,
        status="cancelled",
        reasons=[stopped["reason"]],
        started=engine.begun["time"],
        locked=True,
    )
    assert ended["end"]["status"] == "cancelled"
    assert locks(site) == []


def test_what_cannot_begin_says_why_as_a_value(site: Site) -> None:
    site.command.unset("SHARE_URL", "SQL_SERVER", "KEY_VAULT_URL")
    begun = Engine(new_run_id()).begin()
    assert (begun["ok"], begun["reason"]["setting"], begun["retry"]) == (False, "LIFEBOAT_SHARE_URL", False)
