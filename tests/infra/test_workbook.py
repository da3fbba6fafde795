"""The workbook: a page that the portal can read, with a chart for each query; test_alerts judges the queries."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.infra import kql
from tests.infra.bicep import SHAPES, Snapshot, snapshot
from tests.infra.test_alerts import assert_is_a_command, lifeboat_commands

WORKBOOK = "Microsoft.Insights/workbooks"
NUMBERS = ("int", "long", "real")


@pytest.fixture(params=[shape for shape in SHAPES if shape != "smallest"])
def deployed(request: pytest.FixtureRequest) -> Snapshot:
    return snapshot(request.param)


def _page(deployed: Snapshot) -> dict[str, Any]:
    (workbook,) = deployed.of(WORKBOOK)
    page: dict[str, Any] = json.loads(workbook.properties["serializedData"])
    return page


def _charts(page: dict[str, Any]) -> list[dict[str, Any]]:
    return [item for item in page["items"] if item["type"] == 3]


def test_the_smallest_way_to_deploy_has_none() -> None:
    assert snapshot("smallest").of(WORKBOOK) == []


def test_it_is_a_notebook_of_texts_charts_and_one_choice_of_time(deployed: Snapshot) -> None:
    page = _page(deployed)
    assert page["version"] == "Notebook/1.0"
    assert page["fallbackResourceIds"] == [each.id for each in deployed.of("Microsoft.OperationalInsights/workspaces")]
    names = [item["name"] for item in page["items"]]
    assert len(set(names)) == len(names)
    (choice,) = [item for item in page["items"] if item["type"] == 9]
    (parameter,) = choice["content"]["parameters"]
    assert {item["content"]["timeContextFromParameter"] for item in _charts(page)} == {parameter["name"]}
    assert {item["type"] for item in page["items"]} == {1, 3, 9}


def test_each_query_has_its_chart(deployed: Snapshot) -> None:
    queries = [item["content"]["query"] for item in _charts(_page(deployed))]
    assert sorted(queries) == sorted(kql.charts().values())


def test_a_chart_over_time_has_a_time_a_number_and_at_most_one_name_for_a_line(deployed: Snapshot) -> None:
    names = {text: name for name, text in kql.charts().items()}
    looked = kql.look(kql.charts())
    for item in _charts(_page(deployed)):
        name = names[item["content"]["query"]]
        kinds = list(looked[name].columns.values())
        if item["content"]["visualization"] == "table":
            continue
        assert kinds.count("datetime") == 1, name
        assert any(kind in NUMBERS for kind in kinds), name
        assert kinds.count("string") <= 1, name


def test_it_covers_what_was_asked_for() -> None:
    asked = {"age-against-rpo", "durations", "share-size", "stored", "stored-of-read", "rto", "requests"}
    assert asked | {"writes-and-deletions", "points", "drills"} <= set(kql.charts())


def test_its_texts_name_commands_that_there_are(deployed: Snapshot) -> None:
    for item in _page(deployed)["items"]:
        for command in lifeboat_commands(item["content"].get("json", "")):
            assert_is_a_command(command)
