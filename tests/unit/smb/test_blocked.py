"""Where the code runs decides what is said of a file server's port that gives no connection."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from shared.smb.blocked import in_function_app, no_connection

FLEX = {"WEBSITE_SKU": "FlexConsumption", "CONTAINER_NAME": "c", "LEGION_SERVICE_HOST": "1", "WEBSITE_SITE_NAME": "app"}


@pytest.mark.parametrize(
    ("environment", "inside"),
    [
        (FLEX, True),
        ({"CONTAINER_NAME": "c", "LEGION_SERVICE_HOST": "1"}, True),
        ({"WEBSITE_INSTANCE_ID": "0a1b", "WEBSITE_SKU": "ElasticPremium"}, True),
        ({}, False),
        ({"WEBSITE_INSTANCE_ID": ""}, False),
        ({"FUNCTIONS_WORKER_RUNTIME": "python", "WEBSITE_HOSTNAME": "localhost:7071"}, False),
        (FLEX | {"CONTAINER_APP_NAME": "app"}, False),
        (FLEX | {"MANAGED_ENVIRONMENT": "env"}, False),
    ],
    ids=["Flex", "Flex at its start", "Premium", "a machine", "empty", "func start", "Container App", "managed"],
)
def test_a_function_app_is_told_from_a_machine_and_from_a_container_app(
    environment: Mapping[str, str], inside: bool
) -> None:
    assert in_function_app(environment) is inside


def test_only_port_445_in_a_function_app_is_the_platforms_own() -> None:
    here = no_connection("fs01", 445, setting="LIFEBOAT_SHARE_URL", environment={})
    other = no_connection("fs01", 4445, setting="LIFEBOAT_SHARE_URL", environment=FLEX)
    assert (here.hint, other.hint) == ("", "")
    assert "TCP 445" in here.remedy
    assert "TCP 4445" in other.remedy
    for ordinary in (here, other):
        assert "LIFEBOAT_SHARE_URL" in ordinary.remedy
        assert "Azure" not in ordinary.remedy


def test_the_ways_out_are_complete_and_name_the_setting_that_is_to_change() -> None:
    told = no_connection("fs01", 445, setting="LIFEBOAT_SHARE_URL", environment=FLEX)
    assert told.hint.startswith("; ")
    assert "set LIFEBOAT_SHARE_URL to smb://fs01:4445/share" in told.remedy
    for way in ("load-balancer rule", "netsh interface portproxy", "Container Apps", "LIFEBOAT_SHARE_MODE=adopt"):
        assert way in told.remedy
    assert "docs/reaching-the-stamp.md" in told.remedy


def test_a_folder_of_databases_has_another_way_out_than_adopting_the_share() -> None:
    told = no_connection("nas", 445, setting="LIFEBOAT_SQL_DISK_URL", environment=FLEX)
    assert "set LIFEBOAT_SQL_DISK_URL to smb://nas:4445/share" in told.remedy
    assert "LIFEBOAT_SQL_MODE=url" in told.remedy
    assert "LIFEBOAT_SHARE_MODE" not in told.remedy
