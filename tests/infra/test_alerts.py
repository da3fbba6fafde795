"""Alerts: that their queries mean what the telemetry sends, and that each reaches somebody, with what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import typer

import lifeboat
from shared.telemetry import _LEVELS, ATTRIBUTES, CARRIES, GAUGES, Event, Gauge
from tests.infra import kql
from tests.infra.bicep import SHAPES, Snapshot, snapshot

LOG = "Microsoft.Insights/scheduledQueryRules"
ACTIVITY = "Microsoft.Insights/activityLogAlerts"
METRIC = "Microsoft.Insights/metricAlerts"
LONGEST_DESCRIPTION = {LOG: 4_096, ACTIVITY: 2_048, METRIC: 2_048}
"""Characters, by Azure Monitor's limits."""
WINDOWS = {
    **{f"PT{minutes}M": timedelta(minutes=minutes) for minutes in (5, 10, 15, 30, 45)},
    **{f"PT{hours}H": timedelta(hours=hours) for hours in range(1, 7)},
    "P1D": timedelta(days=1),
    "P2D": timedelta(days=2),
}
"""Of log alerts that do not run every minute. How often they run: the same but ``P2D``."""

NO_ALERT_OF_ITS_OWN = {
    **dict.fromkeys(
        (Event.SHARE_PARTIAL, Event.SHARE_FAILED, Event.DATABASE_PARTIAL, Event.DATABASE_FAILED),
        "the recovery point that it is a part of says so",
    ),
}
NOT_ASKED_FOR = {
    **dict.fromkeys(("whole", "duration_seconds", "databases", "rto_seconds"), "a measure, in the workbook"),
    **dict.fromkeys(("files", "bytes_read", "bytes_stored", "backups"), "a measure, in the workbook"),
    **dict.fromkeys(
        [f"{component}_{what}" for component in ("databases", "share", "secrets") for what in ("age_seconds", "late")],
        "component.late says so of each component that is",
    ),
    "late": "component.late says so of each",
    "drill_status": "drill.failed says so when it happens, and drill_overdue when none follows",
    "reasons": "a count of what the others name",
}
"""Attributes of bad news and of the watchdog that no alert reads, and why."""
READ_BY = {str: ("tostring",), int: ("toint", "tolong", "toreal"), float: ("toreal",), bool: ("tobool",)}
"""What turns the text in ``Properties`` into what the attribute is."""


# --- the queries ---


def test_microsofts_language_service_has_nothing_to_say_about_any_query() -> None:
    looked = kql.look(kql.alerts() | {f"workbook/{name}": text for name, text in kql.charts().items()})
    assert len(looked) > 35
    assert {name: each.problems for name, each in looked.items() if each.problems} == {}


@pytest.mark.parametrize(
    ("right", "wrong", "problem"),
    [
        ("AppEvents", "AppEvent", "does not refer to any known table"),
        ("TimeGenerated", "TimeGenrated", "does not refer to any known column"),
        ("toreal(", "torael(", "does not refer to any known function"),
        ('tostring(Properties["newest"])', 'tostring(Properties["newest"]', "Expected"),
        ("/ 3600", '/ "an hour"', "type"),
    ],
)
def test_it_finds_a_mistake_that_is_planted(right: str, wrong: str, problem: str) -> None:
    text = kql.alerts()["component-late"]
    assert right in text
    problems = kql.look({"planted": text.replace(right, wrong)})["planted"].problems
    assert any(problem in each for each in problems), problems


def test_queries_name_events_that_there_are_and_attributes_that_those_carry() -> None:
    known = {event.value: set(CARRIES[event]) for event in Event}
    for name, text in (kql.alerts() | kql.charts()).items():
        if "AppEvents" not in text:
            assert "AppMetrics" in text or not kql.attributes_in(text), name
            continue
        events = kql.events_in(text)
        assert events, f"{name} names no event"
        assert events <= set(known), name
        read = kql.attributes_in(text)
        assert read <= set().union(*(known[event] for event in events)), name
        assert not read or not any(known[event].isdisjoint(read) for event in events), f"{name}: an event for nothing"


def test_queries_name_gauges_that_there_are_and_what_those_are_measured_by() -> None:
    named: set[str] = set()
    for name, text in kql.charts().items():
        if "AppMetrics" in text:
            gauges = kql.events_in(text)
            assert gauges, name
            measures = [GAUGES[Gauge(each)] for each in gauges]  # ValueError: there is none
            assert all(kql.attributes_in(text) <= set(measure.by) for measure in measures), name
            named |= gauges
    assert named >= {Gauge.AGE, Gauge.RPO}


def test_queries_read_each_attribute_as_what_it_is() -> None:
    for name, text in (kql.alerts() | kql.charts()).items():
        for attribute, function in kql.conversions_in(text):
            assert function in READ_BY[ATTRIBUTES[attribute].kind], f"{name}: {function}({attribute})"


def test_all_bad_news_has_an_alert() -> None:
    told = set().union(*(kql.events_in(text) for text in kql.alerts().values()))
    assert {event for event in _LEVELS if event not in told} == set(NO_ALERT_OF_ITS_OWN)


def test_all_that_bad_news_and_the_watchdog_carry_is_read_by_an_alert() -> None:
    carried = set().union(*(CARRIES[event] for event in (*_LEVELS, Event.WATCHDOG_ALIVE)))
    read = set().union(*(kql.attributes_in(text) for text in kql.alerts().values()))
    assert carried - read == set(NOT_ASKED_FOR)


def test_silence_is_a_count_of_all_rows_and_never_by_anything() -> None:
    """With ``by`` no row comes where there is nothing, and nobody hears of it."""
    for name in ("watchdog-silent", "keeper-silent"):
        text = kql.alerts()[name]
        assert re.search(r"\| summarize \w+ = count\(\)\s*$", text), name


def test_no_alert_is_a_union_or_a_search_which_azure_monitor_takes_no_rule_for() -> None:
    for name, text in kql.alerts().items():
        assert not re.search(r"^\s*(\| )?\(?(union|search)\b", text, re.MULTILINE), name


def test_every_threshold_is_a_parameter_that_some_alert_goes_by() -> None:
    types = Path("infra/types.bicep").read_text()
    thresholds = re.search(r"type Thresholds = \{(.*?)\n\}", types, re.DOTALL)
    assert thresholds
    modules = "".join(Path(f"infra/modules/{name}.bicep").read_text() for name in ("alerts", "logAlerts"))
    names = re.findall(r"^  (\w+): int$", thresholds[1], re.MULTILINE)
    assert names
    assert [name for name in names if f"thresholds.{name}" not in modules] == []
    for name, text in kql.alerts().items():
        compared = re.findall(r"(?:<=?|>=?) (\d+)", text)
        assert set(compared) <= {"0", "3", "300"}, f"{name}: a number that nobody can set"  # severity, HTTP status


# --- what is deployed ---


@pytest.fixture(params=SHAPES)
def deployed(request: pytest.FixtureRequest) -> Snapshot:
    return snapshot(request.param)


def test_each_query_is_an_alert_and_each_alert_of_the_logs_has_its_query(deployed: Snapshot) -> None:
    names = [alert.name.partition("lifeboat-")[2] for alert in deployed.of(LOG)]
    assert sorted(names) == sorted(kql.alerts())


def test_every_alert_is_on_and_tells_the_one_action_group(deployed: Snapshot) -> None:
    (group,) = deployed.of("Microsoft.Insights/actionGroups")
    assert group.properties["enabled"]
    alerts = [*deployed.of(LOG), *deployed.of(ACTIVITY), *deployed.of(METRIC)]
    for alert in alerts:
        assert alert.properties["enabled"], alert.name
        told = alert.properties["actions"]
        told = told.get("actionGroups", []) if isinstance(told, dict) else told
        ids = [each["actionGroupId"] if isinstance(each, dict) else each for each in told]
        assert ids == [group.id], alert.name


def test_log_alerts_look_as_far_and_as_often_as_azure_lets_them(deployed: Snapshot) -> None:
    for alert in deployed.of(LOG):
        properties = alert.properties
        window, often = WINDOWS[properties["windowSize"]], WINDOWS[properties["evaluationFrequency"]]
        assert often <= window, alert.name
        assert often < timedelta(days=2), alert.name
        muted = properties.get("muteActionsDuration")
        assert bool(muted) != properties["autoMitigate"], f"{alert.name}: the two exclude each other"
        assert muted is None or WINDOWS[muted] >= window, f"{alert.name}: one thing would be told twice"
        assert properties["skipQueryValidation"], alert.name
        (criterion,) = properties["criteria"]["allOf"]
        assert criterion["failingPeriods"] == {"numberOfEvaluationPeriods": 1, "minFailingPeriodsToAlert": 1}
        for ago in re.findall(r"ago\((\d+)h\)", criterion["query"]):
            assert timedelta(hours=int(ago)) <= window, f"{alert.name}: it looks further than its window"


def test_log_alerts_measure_and_split_by_columns_that_their_queries_have(deployed: Snapshot) -> None:
    looked = kql.look(kql.alerts())
    for alert in deployed.of(LOG):
        columns = looked[alert.name.partition("lifeboat-")[2]].columns
        (criterion,) = alert.properties["criteria"]["allOf"]
        measure = criterion.get("metricMeasureColumn")
        assert (measure is None) == (criterion["timeAggregation"] == "Count"), alert.name
        assert measure is None or columns[measure] in ("long", "int", "real"), alert.name
        for dimension in criterion["dimensions"]:
            assert columns[dimension["name"]] in ("string", "long", "int", "real"), alert.name


def test_what_an_event_may_leave_out_is_never_an_empty_value_that_an_alert_is_split_by() -> None:
    """Not every point tells its first reason; alerts are not raised for a value that is none."""
    for name, column in (("point-failed", "Code"), ("point-partial", "Code"), ("watchdog-blind", "Code")):
        assert re.search(rf"\b{column} = coalesce\(", kql.alerts()[name]), name
    assert "Databases = coalesce(" in kql.alerts()["component-late"]


def test_damage_is_told_until_the_daily_round_has_looked_again(deployed: Snapshot) -> None:
    """What a run or prune finds is an event alone; and the watchdog tells of the newest verification, which may be of
    one point that is good."""
    (alert,) = [each for each in deployed.of(LOG) if each.name.endswith("repository-damaged")]
    assert WINDOWS[alert.properties["windowSize"]] == timedelta(days=1)
    assert '"repository.damaged"' in kql.alerts()["repository-damaged"]


def test_no_place_in_a_query_is_left_empty(deployed: Snapshot) -> None:
    for alert in deployed.of(LOG):
        (criterion,) = alert.properties["criteria"]["allOf"]
        query = criterion["query"]
        if query.startswith("["):  # an identity's id, which only Azure knows, is among its values
            places = set(re.findall(r'"\{(\w+)\}"', query))
            assert places == set(re.findall(r"createObject\('key', '(\w+)'", query)), alert.name
        else:
            assert re.findall(r"\{\w+\}", query) == [], alert.name


def test_the_storage_and_key_vault_tables_that_alerts_ask_are_filled(deployed: Snapshot) -> None:
    (workspace,) = deployed.of("Microsoft.OperationalInsights/workspaces")
    categories: dict[str, set[str]] = {}
    for setting in deployed.of("Microsoft.Insights/diagnosticSettings"):
        assert setting.properties["workspaceId"] == workspace.id
        source = setting.id.split("/")[8]
        logs = {each["category"] for each in setting.properties["logs"] if each["enabled"]}
        categories[source] = categories.get(source, set()) | logs
        assert "vaults" not in setting.id.split("/") or setting.properties["logAnalyticsDestinationType"] == "Dedicated"
    (vault,) = [each.name for each in deployed.of("Microsoft.Storage/storageAccounts") if each.name.startswith("stlbv")]
    (key_vault,) = [each.name for each in deployed.of("Microsoft.KeyVault/vaults")]
    assert categories[vault] >= {"StorageWrite", "StorageDelete"}
    assert "AuditEvent" in categories[key_vault]


def test_activity_alerts_tell_of_what_was_done_and_of_what_was_refused(deployed: Snapshot) -> None:
    told: set[str] = set()
    for alert in deployed.of(ACTIVITY):
        category, operations, statuses = alert.properties["condition"]["allOf"]
        assert category == {"field": "category", "equals": "Administrative"}
        assert {each["field"] for each in operations["anyOf"]} == {"operationName"}
        begun = ["Started"] if alert.name.endswith("group-deleted") else []  # when it is done, no alert is left
        assert [each["equals"] for each in statuses["anyOf"]] == [*begun, "Succeeded", "Failed"]
        told |= {each["equals"] for each in operations["anyOf"]}
    assert told >= {
        "Microsoft.Storage/storageAccounts/delete",
        "Microsoft.Storage/storageAccounts/blobServices/write",
        "Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies/delete",
        "Microsoft.Storage/storageAccounts/managementPolicies/write",
        "Microsoft.Authorization/locks/delete",
        "Microsoft.Authorization/roleAssignments/write",
        "Microsoft.Authorization/roleDefinitions/write",
        "Microsoft.Insights/diagnosticSettings/delete",
        "Microsoft.Insights/actionGroups/write",
        "Microsoft.Insights/scheduledQueryRules/write",
        "Microsoft.KeyVault/vaults/write",
        "Microsoft.Web/sites/delete",
        "Microsoft.Web/sites/basicPublishingCredentialsPolicies/write",
        "Microsoft.Resources/subscriptions/resourceGroups/delete",
        "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/write",
        "Microsoft.OperationalInsights/workspaces/tables/write",
    }


def test_throttling_is_told_of_each_account_that_backups_go_through(deployed: Snapshot) -> None:
    scopes = [alert.properties["scopes"] for alert in deployed.of(METRIC)]
    landing = any(account.name.startswith("stlbl") for account in deployed.of("Microsoft.Storage/storageAccounts"))
    assert len(scopes) == (2 if landing else 1)
    for alert in deployed.of(METRIC):
        (criterion,) = alert.properties["criteria"]["allOf"]
        assert criterion["metricName"] == "Transactions"
        (dimension,) = criterion["dimensions"]
        assert dimension["name"] == "ResponseType"
        assert {"ServerBusyError", "ClientThrottlingError"} <= set(dimension["values"])


def test_each_description_says_what_to_do_by_commands_that_there_are(deployed: Snapshot) -> None:
    for kind, longest in LONGEST_DESCRIPTION.items():
        assert deployed.of(kind), kind
        for alert in deployed.of(kind):
            text = alert.properties["description"]
            assert not text.startswith("["), f"{alert.name}: not known before the deployment, so nobody has read it"
            assert len(text) <= longest, alert.name
            commands = list(lifeboat_commands(text))
            assert commands or "az " in text, f"{alert.name} names no command"
            for command in commands:
                assert_is_a_command(command)


def test_reason_codes_in_descriptions_are_those_of_the_readme_or_of_the_query(deployed: Snapshot) -> None:
    readme, queries = Path("README.md").read_text("utf-8"), "".join(kql.alerts().values())
    named: set[str] = set()
    for alert in deployed.of(LOG):
        named |= set(re.findall(r"; (?!then)([a-z]+(?:-[a-z]+)?): ", alert.properties["description"]))
    assert named >= {"no-repository", "tampered", "see-point", "records-unreadable"}
    assert [code for code in named if f"`{code}`" not in readme and f'"{code}"' not in queries] == []


def lifeboat_commands(text: str) -> Iterator[list[str]]:
    for words in re.findall(r"python lifeboat\.py((?: (?:--)?[\w.-]*\w)+)", text):
        yield words.split()


def assert_is_a_command(words: list[str]) -> None:
    command: Any = typer.main.get_command(lifeboat.app)
    rest = list(words)
    while hasattr(command, "commands"):
        assert rest, f"{words} is no whole command"
        name = rest.pop(0)
        assert name in command.commands, f"no command is called {name}: {words}"
        command = command.commands[name]
    options = {option for parameter in command.params for option in parameter.opts}
    for word in rest:
        if word.startswith("--"):
            assert word in options, f"{words}: {word} is none of {sorted(options)}"
