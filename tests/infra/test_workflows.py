"""What GitHub runs: the same as anybody, with no more rights than it needs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.infra.bicep import SHAPES

FOLDER = Path(__file__).resolve().parents[2] / ".github" / "workflows"
WORKFLOWS: dict[str, Any] = {each.name: yaml.safe_load(each.read_text("utf-8")) for each in FOLDER.glob("*.yml")}


def _steps(name: str) -> list[dict[str, Any]]:
    return [step for job in WORKFLOWS[name]["jobs"].values() for step in job["steps"]]


def test_the_run_is_that_of_everybody() -> None:
    assert [step["run"].split()[-1] for step in _steps("ci.yml") if ".ci/run" in step.get("run", "")] == [".ci/run"]


def test_every_shape_is_looked_at_before_it_is_merged() -> None:
    job = WORKFLOWS["what-if.yml"]["jobs"]["what-if"]
    assert sorted(job["strategy"]["matrix"]["shape"]) == sorted(SHAPES)
    asked = [step for step in job["steps"] if "az deployment sub what-if" in step.get("run", "")]
    assert len(asked) == 1
    without, *with_credentials = [step["if"] for step in job["steps"]]
    assert (without, set(with_credentials)) == ("env.CLIENT == ''", {"env.CLIENT != ''"})
    assert not re.search(r"az deployment sub create|azd (up|provision|deploy)", (FOLDER / "what-if.yml").read_text())


@pytest.mark.parametrize("name", WORKFLOWS)
def test_it_may_read_and_what_it_uses_is_pinned(name: str) -> None:
    assert WORKFLOWS[name]["permissions"] == {"contents": "read"}
    for job in WORKFLOWS[name]["jobs"].values():
        assert job.get("permissions", {}) in ({}, {"contents": "read", "id-token": "write"})
    for step in _steps(name):
        assert re.fullmatch(r"(actions|azure)/[a-z-]+@v\d+", step.get("uses", "actions/checkout@v1"))
        assert "${{ github.event" not in step.get("run", "")
