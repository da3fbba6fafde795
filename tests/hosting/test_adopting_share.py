"""Runs in the backup app where somebody nearer to it backs the share up."""

from __future__ import annotations

from typing import Any

import pytest

from functions.runs import RECOVERY_POINT
from shared.errors import StorageUnavailable
from shared.fileshare.inside import TAG
from shared.recovery_point.adopted_share import AdoptedShare
from tests.hosting.test_runs import ORCHESTRATOR, host, hub, locks, order
from tests.integration.secrets.conftest import Site
from tests.standins.durable import DurableHost
from tests.standins.restic import ResticRepository, StockRestic

__all__ = ["host", "hub"]


@pytest.fixture
def agent(site: Site, newest_restic: StockRestic) -> ResticRepository:
    """Stock restic on the file server, in a vault that Lifeboat has made; nobody here reaches the share."""
    assert site.command("backup", "--only", "share").code == 0
    site.command.set(SHARE_MODE="adopt", SHARE_URL="smb://fs01.example/WebSites")
    password = site.key_vault.secrets["repository-password"][-1].value
    return site.bench.vault.seen_by(newest_restic, password)


def test_where_somebody_else_backs_the_share_up_one_step_adopts_what_he_has_made(
    site: Site, host: DurableHost, agent: ResticRepository
) -> None:
    agent.backup(site.command.share, options=("--tag", TAG))
    host.start(ORCHESTRATOR, order(), RECOVERY_POINT)
    ended = host.wait(RECOVERY_POINT)
    assert ended.output["status"] == "complete", ended.output
    assert host.started.count("adopt_share") == 1
    assert not {"plan_share", "back_up_shard", "join_share"} & set(host.started)
    record = site.bench.record(ended.output["point"])
    assert (record["whole"], record["components"]["share"]["mode"]) == (True, "adopt")
    assert record["components"]["share"]["snapshot"] == agent.snapshots()[-1]["id"]
    assert record["skew_seconds"] > 0
    assert locks(site) == []


def test_a_snapshot_that_is_missing_is_a_reason_and_the_rest_is_recorded(
    site: Site, host: DurableHost, agent: ResticRepository
) -> None:
    host.start(ORCHESTRATOR, order(), RECOVERY_POINT)
    ended = host.wait(RECOVERY_POINT)
    assert (ended.runtime_status, ended.output["status"]) == ("Completed", "partial")
    assert [reason["code"] for reason in ended.output["reasons"]] == ["no-snapshot"]


def test_a_step_that_adopts_is_tried_again_where_the_vault_gave_no_answer(
    site: Site, host: DurableHost, agent: ResticRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent.backup(site.command.share, options=("--tag", TAG))
    adopt = AdoptedShare.adopt
    answers = iter([StorageUnavailable("the storage gave no answer"), None])

    def at_first_not(share: AdoptedShare) -> Any:
        if (refusal := next(answers)) is not None:
            raise refusal
        return adopt(share)

    monkeypatch.setattr(AdoptedShare, "adopt", at_first_not)
    host.start(ORCHESTRATOR, order(request={"only": ["share"], "logs": False, "allow_shrink": False}), RECOVERY_POINT)
    assert host.wait(RECOVERY_POINT).output["status"] == "complete"
    assert host.started.count("adopt_share") == 2
