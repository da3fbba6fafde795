"""The hooks of azure.yaml, run as azd runs them, with stand-ins for az and azd (``tests/standins/azure_tools.py``). The
Python that runs them has no packages."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from infra.hooks import templates
from infra.hooks.asked import SWITCHES
from infra.hooks.names import Names
from infra.hooks.next_steps import FILES
from infra.hooks.on_the_stamp import GRANTS_DRILL, GRANTS_RESTORE
from infra.hooks.preprovision import PROVIDERS
from shared import settings as product
from shared.databases.grants import MSDB_TABLES
from tests.infra.bicep import SHAPES, snapshot
from tests.standins.azure_tools import ROOT, AzureTools, changes, refused
from tests.standins.certificate import make_certificate
from tests.unit.agent.powershell_grammar import mistakes

AZURE_YAML = yaml.safe_load((ROOT / "azure.yaml").read_text("utf-8"))
SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
TENANT = "99999999-8888-7777-6666-555555555555"
CLIENT = "77777777-7777-7777-7777-777777777777"
GROUP = "33333333-3333-3333-3333-333333333333"
HUB = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-hub/providers/Microsoft.Network/virtualNetworks/hub"
PERMISSIONS = "providers/Microsoft.Authorization/permissions"
VAULT_NAMES = "Microsoft.KeyVault/checkNameAvailability"
APP_NAMES = "Microsoft.Web/checkNameAvailability"
NOT_FOUND = refused("(ResourceGroupNotFound) Resource group 'rg-contoso' could not be found.")
NO_LOGIN = refused("Please run 'az login' to setup account.")
DENIED = refused("Insufficient privileges to complete the operation.")
ABSENT = refused("Resource '88888888' does not exist or one of its queried reference-property objects are not present.")
ASKED = {
    "AZURE_ENV_NAME": "contoso",
    "AZURE_SUBSCRIPTION_ID": SUBSCRIPTION,
    "AZURE_LOCATION": "westeurope",
    "LIFEBOAT_SHARE_URL": "smb://fs01.stamp.example/WebSites",
    "LIFEBOAT_SHARE_USERNAME": r"CONTOSO\reader",
    "LIFEBOAT_SQL_SERVER": r"sql01.stamp.example\APPSVC,14330",
    "LIFEBOAT_SQL_USERNAME": "lifeboat",
    "LIFEBOAT_ALERT_EMAILS": "backup@contoso.example, night@contoso.example",
    "LIFEBOAT_RESTORERS_GROUP_ID": GROUP,
}
THRESHOLDS = {name: least for name, (least, _) in templates.thresholds().items()}
REGIONS = ["westeurope", "northeurope"]
AZURE: Mapping[str, Any] = {
    "account show": {"id": SUBSCRIPTION, "tenantId": TENANT, "name": "Contoso", "user": {"name": "op@contoso.example"}},
    "group show --name": NOT_FOUND,
    PERMISSIONS: {"value": [{"actions": ["*"], "notActions": []}]},
    "provider list": [{"namespace": name, "state": "Registered"} for name in PROVIDERS],
    "list-flexconsumption-locations": [{"name": each} for each in REGIONS],
    "list-flexconsumption-runtimes": [{"runtime": "python", "version": each} for each in ("3.11", "3.12", "3.13")],
    "storage sku list": [
        {"name": name, "kind": "StorageV2", "locations": [each], "restrictions": []}
        for name in ("Standard_LRS", "Standard_ZRS", "Standard_GRS", "Standard_GZRS")
        for each in REGIONS
    ],
    "storage account check-name": {"nameAvailable": True},
    APP_NAMES: {"nameAvailable": True},
    VAULT_NAMES: {"nameAvailable": True},
    "keyvault list-deleted": [],
    "ad group show": {"id": GROUP},
    "ad app create": {"appId": CLIENT},
    "ad app show": {"appId": CLIENT, "web": {"redirectUris": ["https://elsewhere.example/callback"]}},
    "ad app update": None,
    "ad sp show": changes(
        "ad sp create",
        ABSENT,
        changes("ad sp update", {"appRoleAssignmentRequired": False}, {"appRoleAssignmentRequired": True}),
    ),
    "ad sp create": {"appId": CLIENT},
    "ad sp update": None,
    "federated-credential list": [],
    "federated-credential create": {},
    "cloud show": {"name": "AzureCloud", "endpoints": {"activeDirectory": "https://login.microsoftonline.com"}},
    "functionapp keys list": {"functionKeys": {"default": "a-function-key"}},
}


def _vault_in(group: str) -> str:
    return f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/kv-lb-abcde"


@pytest.fixture
def azure(tmp_path: Path) -> AzureTools:
    """An operator with every right, in a region that has everything, who has asked for something that makes sense."""
    return AzureTools(tmp_path, answers=dict(AZURE), environment=dict(ASKED))


def _refuses(azure: AzureTools, *said: str) -> None:
    """It says all of ``said`` in its first row, ends with 1, and nothing was made or set."""
    before = dict(azure.environment)
    done = azure.hook("preprovision")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    rows = done.stdout.partition("Lifeboat, before anything is made:\n")[2]
    first = re.split(r"\n  (?=fail|warn|pass)", rows)[0]
    assert first.startswith("  fail"), rows
    for each in said:
        assert each in first, first
    assert "nothing was made" in done.stderr
    assert azure.environment == before
    assert not [each for each in azure.calls if re.search(r"ad app create|ad app update|ad sp", each)]


# --- before ---


def test_when_nothing_is_in_the_way_azd_goes_on_with_what_the_templates_take(azure: AzureTools) -> None:
    done = azure.hook("preprovision")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " fail" not in done.stdout
    assert " warn" not in done.stdout
    set_by_it = {name: value for name, value in azure.environment.items() if name not in ASKED}
    assert set(set_by_it) == {
        "LIFEBOAT_TOKEN",
        "LIFEBOAT_SETTINGS",
        "LIFEBOAT_RECOVER_KEY_VAULT",
        "LIFEBOAT_AUTH_CLIENT_ID",
    }
    assert set(set_by_it) <= templates.parameters()
    assert re.fullmatch("[a-z0-9]{5,13}", set_by_it["LIFEBOAT_TOKEN"])
    assert json.loads(set_by_it["LIFEBOAT_SETTINGS"]) == {
        "SHARE_URL": "smb://fs01.stamp.example/WebSites",
        "SHARE_USERNAME": r"CONTOSO\reader",
        "SQL_SERVER": r"sql01.stamp.example\APPSVC,14330",
        "SQL_USERNAME": "lifeboat",
    }


def test_a_second_time_changes_nothing_and_makes_nothing(azure: AzureTools) -> None:
    assert azure.hook("preprovision").returncode == 0
    first, calls = dict(azure.environment), len(azure.calls)
    assert azure.hook("preprovision").returncode == 0
    assert azure.environment == first
    assert not [each for each in azure.calls[calls:] if "create" in each or "update" in each or "register" in each]


def test_what_was_deployed_before_there_was_a_token_keeps_its_names(azure: AzureTools) -> None:
    azure.environment["LIFEBOAT_VAULT_NAME"] = "stlbvabcdefghijk23"
    assert azure.hook("preprovision").returncode == 0
    assert azure.environment["LIFEBOAT_TOKEN"] == "abcdefghijk23"


def test_only_those_who_are_assigned_sign_in_to_the_dashboard_which_learns_who_they_are_and_no_more(
    azure: AzureTools,
) -> None:
    assert azure.hook("preprovision").returncode == 0
    assert azure.environment["LIFEBOAT_AUTH_CLIENT_ID"] == CLIENT
    assert f"ad sp update --id {CLIENT} --set appRoleAssignmentRequired=true --output json" in azure.calls
    assert not [each for each in azure.calls if "credential reset" in each]
    (access,) = azure.body_of("ad app create")
    assert len(access["resourceAccess"]) == 3
    assert {each["type"] for each in access["resourceAccess"]} == {"Scope"}


@pytest.mark.parametrize("command", ["ad app create", "ad sp update"])
def test_who_may_make_no_app_registration_is_told_and_deploys_all_the_same(azure: AzureTools, command: str) -> None:
    azure.answers[command] = DENIED
    done = azure.hook("preprovision")
    assert done.returncode == 0
    assert "  warn" in done.stdout
    assert "LIFEBOAT_DASHBOARD false" in done.stdout or "appRoleAssignmentRequired=true" in done.stdout
    assert azure.environment.get("LIFEBOAT_AUTH_CLIENT_ID", "") == ("" if "create" in command else CLIENT)


@pytest.mark.parametrize("command", ["ad sp create", "ad sp update"])
def test_as_long_as_everybody_may_see_the_dashboard_each_run_tries_to_end_it_or_says_so(
    azure: AzureTools, command: str
) -> None:
    azure.answers[command] = DENIED
    for _ in range(2):
        done = azure.hook("preprovision")
        assert done.returncode == 0, done.stderr
        assert "  warn  everybody in the tenant may sign in to the dashboard: Insufficient" in done.stdout
        assert f"az ad sp update --id {CLIENT} --set appRoleAssignmentRequired=true" in done.stdout
        assert ("az ad sp create" in done.stdout) == (command == "ad sp create")
    azure.answers[command] = None
    assert " warn" not in azure.hook("preprovision").stdout
    calls = len(azure.calls)
    assert " warn" not in azure.hook("preprovision").stdout
    assert not [each for each in azure.calls[calls:] if "ad sp create" in each or "ad sp update" in each]


def test_who_may_not_look_at_who_signs_in_is_told_so(azure: AzureTools) -> None:
    azure.environment["LIFEBOAT_AUTH_CLIENT_ID"] = CLIENT
    azure.answers["ad sp show"] = DENIED
    done = azure.hook("preprovision")
    assert done.returncode == 0
    assert "could not look whether only those who are assigned may sign in" in done.stdout
    assert "appRoleAssignmentRequired=true" in done.stdout


@pytest.mark.parametrize("receivers", [{}, {"LIFEBOAT_ALERT_EMAILS": " , "}])
def test_alerts_that_nobody_would_get_stop_nothing_and_are_told(azure: AzureTools, receivers: dict[str, str]) -> None:
    azure.environment |= {"LIFEBOAT_ALERT_EMAILS": "", **receivers}
    done = azure.hook("preprovision")
    assert done.returncode == 0
    assert "  warn  nobody will be told when a backup fails" in done.stdout
    assert "azd env set LIFEBOAT_ALERT_EMAILS" in done.stdout
    azure.environment["LIFEBOAT_ALERT_WEBHOOK"] = "https://alerts.contoso.example/hook"
    assert "nobody will be told" not in azure.hook("preprovision").stdout


@pytest.mark.parametrize("asked", [{"LIFEBOAT_DASHBOARD": "false"}, {"LIFEBOAT_SHAPE": "smallest"}])
def test_without_a_dashboard_there_is_no_app_registration(azure: AzureTools, asked: dict[str, str]) -> None:
    azure.environment |= asked
    assert azure.hook("preprovision").returncode == 0
    assert not [each for each in azure.calls if each.startswith("ad app")]


def test_a_provider_that_is_not_registered_is(azure: AzureTools) -> None:
    azure.answers["provider list"] = [
        each | {"state": "NotRegistered"} if each["namespace"] == "Microsoft.App" else each
        for each in AZURE["provider list"]
    ]
    azure.answers["provider register"] = None
    done = azure.hook("preprovision")
    assert done.returncode == 0
    assert "registered the resource provider Microsoft.App" in done.stdout
    assert [each for each in azure.calls if "provider register" in each] == [
        f"provider register --namespace Microsoft.App --wait --subscription {SUBSCRIPTION} --output json"
    ]


def test_a_key_vault_that_was_deleted_with_its_group_is_taken_back(azure: AzureTools) -> None:
    azure.environment["LIFEBOAT_TOKEN"] = "abcde"
    deleted = {
        "name": "kv-lb-abcde",
        "properties": {
            "location": "West Europe",
            "vaultId": _vault_in("rg-contoso"),
        },
    }
    azure.answers["keyvault list-deleted"] = [deleted]
    azure.answers[VAULT_NAMES] = {"nameAvailable": False}
    done = azure.hook("preprovision")
    assert done.returncode == 0, done.stdout
    assert "is taken back" in done.stdout
    assert azure.environment["LIFEBOAT_RECOVER_KEY_VAULT"] == "true"

    azure.answers["keyvault list-deleted"] = []
    azure.answers["group show --name"] = {"location": "westeurope"}
    azure.answers["resource list"] = [{"name": "kv-lb-abcde"}]
    assert azure.hook("preprovision").returncode == 0
    assert azure.environment["LIFEBOAT_RECOVER_KEY_VAULT"] == "false"


TAKEN = {"nameAvailable": False, "reason": "AlreadyExists", "message": "The name is already taken."}
READER = {"value": [{"actions": ["*/read"], "notActions": []}]}
CONTRIBUTOR = {
    "value": [
        {"actions": ["*"], "notActions": ["Microsoft.Authorization/*/Write", "Microsoft.Authorization/*/Delete"]},
        {"actions": ["Microsoft.Authorization/roleAssignments/write"], "notActions": []},
    ]
}
"""Contributor, and Role Based Access Control Administrator."""
DELETED_ELSEWHERE = [
    {
        "name": "kv-lb-abcde",
        "properties": {
            "location": "westeurope",
            "vaultId": _vault_in("rg-other"),
            "scheduledPurgeDate": "2027-01-01T00:00:00Z",
        },
    }
]


@pytest.mark.parametrize(
    ("command", "answer", "said"),
    [
        ("account show", NO_LOGIN, ["az login", SUBSCRIPTION]),
        (
            "provider list",
            refused("AADSTS700082: The refresh token has expired. Please run az login"),
            ["no longer good", f"az login --tenant {TENANT}\n"],
        ),
        (
            "account show --output",
            {"id": "x", "tenantId": "another"},
            ["another tenant", f"az login --tenant {TENANT}\n", f"az account set --subscription {SUBSCRIPTION}"],
        ),
        (
            "account show --subscription",
            refused(f"The subscription of '{SUBSCRIPTION}' doesn't exist in cloud 'AzureCloud'."),
            ["doesn't exist", "az login --tenant TENANT", f"az account set --subscription {SUBSCRIPTION}"],
        ),
        ("group show --name", {"location": "northeurope"}, ["rg-contoso", "AZURE_LOCATION northeurope"]),
        (PERMISSIONS, READER, ["deployments/write", "roleAssignments/write", "Owner"]),
        (
            PERMISSIONS,
            CONTRIBUTOR,
            ["lacks Microsoft.Authorization/roleDefinitions/write", "User Access Administrator"],
        ),
        ("list-flexconsumption-locations", [{"name": "northeurope"}], ["Flex Consumption", "to one of: northeurope"]),
        ("list-flexconsumption-runtimes", [{"version": "3.11"}], ["does not offer Python 3.12"]),
        (
            "storage sku list",
            [{"name": "Standard_LRS", "kind": "StorageV2", "locations": ["westeurope"], "restrictions": []}],
            ["Standard_ZRS", "LIFEBOAT_VAULT_SKU", "to one of: Standard_LRS"],
        ),
        ("storage account check-name", TAKEN, ["storage account stlbvabcde is taken", "LIFEBOAT_TOKEN"]),
        (APP_NAMES, TAKEN, ["function app func-lifeboat-backup-abcde is taken"]),
        (VAULT_NAMES, TAKEN, ["Key Vault kv-lb-abcde is taken"]),
        ("keyvault list-deleted", DELETED_ELSEWHERE, ["was deleted", "2027-01-01", "az keyvault recover"]),
        ("ad group show", refused(f"Resource '{GROUP}' does not exist"), [GROUP, "LIFEBOAT_RESTORERS_GROUP_ID"]),
    ],
)
def test_what_azure_would_refuse_is_told_first(azure: AzureTools, command: str, answer: Any, said: list[str]) -> None:
    azure.environment["LIFEBOAT_TOKEN"] = "abcde"
    azure.answers[command] = answer
    _refuses(azure, *said)


def test_a_region_without_zones_has_no_place_for_everything(azure: AzureTools) -> None:
    azure.environment["LIFEBOAT_SHAPE"] = "everything"
    azure.environment["LIFEBOAT_VAULT_SKU"] = "Standard_LRS"
    azure.answers["storage sku list"] = [
        {"name": "Standard_LRS", "kind": "StorageV2", "locations": [each], "restrictions": []} for each in REGIONS
    ]
    _refuses(azure, "has no zones", "AZURE_LOCATION")


def test_a_provider_that_nobody_here_may_register_is_told_first(azure: AzureTools) -> None:
    azure.answers["provider list"] = []
    azure.answers["provider register"] = refused("(AuthorizationFailed) The client does not have authorization")
    _refuses(azure, "Microsoft.App is not registered", "az provider register --namespace Microsoft.App --wait")


def test_a_lock_needs_a_right_of_its_own(azure: AzureTools) -> None:
    azure.environment["LIFEBOAT_SHAPE"] = "locked-immutability"
    azure.answers[PERMISSIONS] = {
        "value": [{"actions": ["*"], "notActions": ["Microsoft.Authorization/locks/*"]}]  # as a custom role may have it
    }
    _refuses(azure, "lacks Microsoft.Authorization/locks/write")


@pytest.mark.parametrize(
    ("hub", "asked", "said"),
    [
        ({"addressSpace": {"addressPrefixes": ["10.76.0.0/16"]}}, {}, "overlaps with 10.76.0.0/16"),
        (
            {"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}, "virtualNetworkPeerings": []},
            {"LIFEBOAT_USE_HUB_GATEWAY": "true", "LIFEBOAT_VIRTUAL_NETWORK_ID": HUB + "2"},
            "before the hub is peered",
        ),
    ],
)
def test_a_hub_that_cannot_be_peered_is_told_first(
    azure: AzureTools, hub: dict[str, Any], asked: dict[str, str], said: str
) -> None:
    azure.environment |= {"LIFEBOAT_HUB_NETWORK_ID": HUB, **asked}
    azure.answers["network vnet show"] = hub
    _refuses(azure, said)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"AZURE_LOCATION": ""}, ["AZURE_LOCATION is not set"]),
        ({"AZURE_SUBSCRIPTION_ID": ""}, ["AZURE_SUBSCRIPTION_ID is not set", "az account list"]),
        ({"LIFEBOAT_SHAPE": "largest"}, ["'largest'", "plain, private-network"]),
        ({"LIFEBOAT_SHARE_ULR": "smb://a/b"}, ["LIFEBOAT_SHARE_ULR", "Is LIFEBOAT_SHARE_URL meant?"]),
        ({"LIFEBOAT_SQL_PASSWORD": "hunter2"}, ["Key Vault", "secret sql-password"]),
        ({"LIFEBOAT_RESTORE_SQL_USERNAME": "sa"}, ["whoever restores"]),
        ({"LIFEBOAT_SHARE_URL": "//fs01/WebSites"}, ["LIFEBOAT_SHARE_URL", "smb://server[:port]/share[/path]"]),
        ({"LIFEBOAT_SHARE_USERNAME": ""}, ["LIFEBOAT_SHARE_USERNAME is not set"]),
        ({"LIFEBOAT_SQL_SERVER": "sql01:1433"}, ["comma before the port"]),
        ({"LIFEBOAT_KEEP_LAST": "0"}, ["LIFEBOAT_KEEP_LAST is 0"]),
        ({"LIFEBOAT_RPO_SHARE": "26"}, ["LIFEBOAT_RPO_SHARE", "26h"]),
        ({"LIFEBOAT_SCHEDULE_BACKUP": "0 1 * * *"}, ["LIFEBOAT_SCHEDULE_BACKUP", "six fields"]),
        ({"LIFEBOAT_SQL_SAS": "password"}, ["LIFEBOAT_SQL_SAS", "user-delegation, account-key"]),
        ({"LIFEBOAT_SHAPE": "disk-log-chain"}, ["LIFEBOAT_SQL_DISK_PATH is not set"]),
        ({"LIFEBOAT_SHAPE": "disk-log-chain", "LIFEBOAT_SQL_MODE": "url"}, ["no landing account"]),
        ({"LIFEBOAT_SHAPE": "smallest", "LIFEBOAT_PROTECT_FOR": "14d"}, ["takes none", "PROTECT_FOR 0s"]),
        ({"LIFEBOAT_SHAPE": "smallest", "LIFEBOAT_STAMP_ADDRESSES": "203.0.113.8"}, ["no network"]),
        ({"LIFEBOAT_TOKEN": "Contoso!"}, ["5 to 13 lower-case letters"]),
        ({"LIFEBOAT_VAULT_SKU": "Premium_LRS"}, ["Standard_LRS"]),
        ({"LIFEBOAT_ALERT_EMAILS": "backup"}, ["e-mail addresses"]),
        ({"LIFEBOAT_ALERT_WEBHOOK": "http://alerts"}, ["https://"]),
        ({"LIFEBOAT_THRESHOLDS": "6"}, ["as one JSON object"]),
        ({"LIFEBOAT_THRESHOLDS": '{"expiryDays": 30}'}, ["lacks", "watchdogSilentHours"]),
        ({"LIFEBOAT_THRESHOLDS": json.dumps(THRESHOLDS | {"expiryDay": 30})}, ["expiryDay"]),
        ({"LIFEBOAT_THRESHOLDS": json.dumps(THRESHOLDS | {"growthRatio": 1})}, ["growthRatio is 1", "from 2 to 1000"]),
        ({"LIFEBOAT_THRESHOLDS": ""}, ["LIFEBOAT_THRESHOLDS is empty", ".env"]),
        (
            {"LIFEBOAT_SHAPE": "everything", "LIFEBOAT_STAMP_GATEWAY": "203.0.113.1"},
            ["LIFEBOAT_STAMP_RANGES does not say"],
        ),
        (
            {"LIFEBOAT_SHAPE": "everything", "LIFEBOAT_USE_HUB_GATEWAY": "true", "LIFEBOAT_HUB_NETWORK_ID": HUB},
            ["a gateway of its own"],
        ),
        ({"LIFEBOAT_STAMP_ADDRESSES": "10.20.0.4"}, ["public IPv4 addresses"]),
        ({"LIFEBOAT_STAMP_ADDRESSES": "203.0.113.8,203.0.113.8/31"}, ["has '203.0.113.8/31'"]),
        ({"LIFEBOAT_ADDRESS_SPACE": "10.76.0.0/25"}, ["from /8 to /24"]),
        ({"LIFEBOAT_STAMP_RANGES": "10.76.0.0/16"}, ["overlap"]),
        ({"LIFEBOAT_DNS_SERVERS": "dns01"}, ["IPv4 addresses"]),
        ({"LIFEBOAT_HUB_NETWORK_ID": "hub"}, ["resource id"]),
        ({"LIFEBOAT_USE_HUB_GATEWAY": "yes"}, ["true or false"]),
    ],
)
def test_what_makes_no_sense_is_told_before_azure_is_asked_to_make_it(
    azure: AzureTools, asked: dict[str, str], said: list[str]
) -> None:
    azure.environment |= asked
    _refuses(azure, *said)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LIFEBOAT_ALERT_WEBHOOK", 'https://alerts.contoso.example/hook?sig=hunter"2'),
        ("LIFEBOAT_ALERT_WEBHOOK", r"https://alerts.contoso.example/hook?sig=hunter\2"),
        ("LIFEBOAT_ALERT_EMAILS", r"night\@contoso.example"),
        ("LIFEBOAT_HUB_NETWORK_ID", HUB + '"'),
        ("LIFEBOAT_RESTORERS_GROUP_ID", GROUP + "\n"),
    ],
)
def test_what_would_break_the_json_that_azd_writes_values_into_is_told_first(
    azure: AzureTools, variable: str, value: str
) -> None:
    azure.environment[variable] = value
    azure.answers["network vnet show"] = {}
    done = azure.hook("preprovision")
    assert done.returncode == 1
    assert f"  fail  {variable} has a double quote, a backslash or a line break in it" in done.stdout
    assert "hunter" not in done.stdout + done.stderr


def test_a_webhook_is_one_address_that_nobody_is_shown(azure: AzureTools) -> None:
    azure.environment["LIFEBOAT_ALERT_WEBHOOK"] = "https://alerts.contoso.example/hook?scope=a,b&sig=hunter2"
    assert azure.hook("preprovision").returncode == 0
    azure.environment["LIFEBOAT_ALERT_WEBHOOK"] = "alerts.contoso.example/hook?sig=hunter2"
    done = azure.hook("preprovision")
    assert done.returncode == 1
    assert "begins with https://" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr


NOBODY_ACTS = "which takes the keeper for silent"
NOBODY_LOOKS = "which takes the watchdog for silent"
TOO_EARLY = "nothing is known of a certificate"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"LIFEBOAT_SCHEDULE_PROTECT": "0 0 7 */2 * *"}, [NOBODY_ACTS, "SCHEDULE_PROTECT", "48 hours", "36 hours"]),
        ({"LIFEBOAT_SCHEDULE_PROTECT": "0 0 7 * * MON-FRI"}, [NOBODY_ACTS, "72 hours", "at least once a day"]),
        ({"LIFEBOAT_SCHEDULE_RETENTION": "0 0 8 * * SUN"}, []),
        ({"LIFEBOAT_SCHEDULE_RETENTION": "0 0 8 * * SUN", "LIFEBOAT_PROTECT_FOR": "0s"}, [NOBODY_ACTS, "RETENTION"]),
        ({"LIFEBOAT_SCHEDULE_PROTECT": "0 0 7 * * SUN", "LIFEBOAT_PROTECT_FOR": "0s"}, []),
        ({"LIFEBOAT_SCHEDULE_WATCHDOG": "0 15 */2 * * *"}, []),
        ({"LIFEBOAT_SCHEDULE_WATCHDOG": "0 15 */3 * * *"}, [NOBODY_LOOKS, "SCHEDULE_WATCHDOG", "3 hours"]),
        ({"LIFEBOAT_SCHEDULE_WATCHDOG": "0 15 6-20 * * *"}, [NOBODY_LOOKS, "10 hours"]),
        (
            {
                "LIFEBOAT_SCHEDULE_WATCHDOG": "0 15 */3 * * *",
                "LIFEBOAT_THRESHOLDS": json.dumps(THRESHOLDS | {"watchdogSilentHours": 4}),
            },
            [],
        ),
        ({"LIFEBOAT_EXPIRY_WARNING": "14d"}, [TOO_EARLY, "14 days", "expiryDays", "30"]),
        ({"LIFEBOAT_THRESHOLDS": json.dumps(THRESHOLDS | {"expiryDays": 90})}, [TOO_EARLY, "60 days", "90"]),
        ({"LIFEBOAT_EXPIRY_WARNING": "30d"}, []),
    ],
)
def test_an_alert_that_would_always_fire_or_never_is_warned_of(
    azure: AzureTools, asked: dict[str, str], said: list[str]
) -> None:
    azure.environment |= asked
    done = azure.hook("preprovision")
    assert done.returncode == 0, done.stdout + done.stderr
    warnings = re.findall(r"^  warn  .*(?:\n        .*)*", done.stdout, re.MULTILINE)
    assert len(warnings) == bool(said), done.stdout
    for each in said:
        assert each in warnings[0]


def test_everything_that_is_in_the_way_is_told_at_once_and_no_secret_with_it(azure: AzureTools) -> None:
    azure.environment |= {"LIFEBOAT_KEEP_LAST": "0", "LIFEBOAT_SQL_PASSWORD": "hunter2"}
    azure.answers["list-flexconsumption-locations"] = []
    done = azure.hook("preprovision")
    assert done.stdout.count("  fail") == 3
    assert "hunter2" not in done.stdout + done.stderr


def test_what_azure_does_not_tell_is_no_failure(azure: AzureTools) -> None:
    azure.answers["storage sku list"] = refused("(TooManyRequests) later")
    done = azure.hook("preprovision")
    assert done.returncode == 0
    assert "could not look at what the region offers: (TooManyRequests) later" in done.stdout


def test_whoever_knows_better_than_what_azure_says_can_overrule_it(azure: AzureTools) -> None:
    azure.environment["LIFEBOAT_CHECKS"] = "warn"
    azure.answers[PERMISSIONS] = READER
    done = azure.hook("preprovision")
    assert done.returncode == 0, done.stderr
    assert "  warn  who is logged in lacks" in done.stdout
    azure.environment["LIFEBOAT_KEEP_LAST"] = "0"
    assert azure.hook("preprovision").returncode == 1


def test_a_password_of_the_shell_that_is_meant_for_the_command_line_is_not_deployed(azure: AzureTools) -> None:
    azure.shell = {"LIFEBOAT_SHARE_PASSWORD": "hunter2", "LIFEBOAT_SHARE_EXCLUDE": "tmp"}
    assert azure.hook("preprovision").returncode == 0
    assert "SHARE_EXCLUDE" not in azure.environment["LIFEBOAT_SETTINGS"]


# --- after ---


def _deployed(azure: AzureTools, shape: str) -> None:
    """As azd has it after ``shape`` was deployed: the outputs of main.bicep, what only Azure knows made up."""
    made_up = {
        "LIFEBOAT_BACKUP_HOST": "func-lifeboat-backup.azurewebsites.net",
        "LIFEBOAT_BACKUP_PRINCIPAL_ID": "55555555-5555-5555-5555-555555555555",
        "LIFEBOAT_OUTBOUND_ADDRESS": "20.50.60.70",
        "LIFEBOAT_GATEWAY_ADDRESS": "20.50.60.71",
        "LIFEBOAT_VAULT_URL": "https://vault.blob.core.windows.net/",
        "LIFEBOAT_LANDING_URL": "https://landing.blob.core.windows.net/",
        "LIFEBOAT_KEY_VAULT_URL": "https://key-vault.vault.azure.net/",
    }
    outputs = {
        name: made_up[name] if str(value).startswith("[") else str(value)
        for name, value in snapshot(shape).outputs.items()
    }
    azure.environment |= {**outputs, "LIFEBOAT_SHAPE": shape, "LIFEBOAT_AUTH_CLIENT_ID": CLIENT}


@pytest.fixture
def written(azure: AzureTools) -> Iterator[Path]:
    """Where the files are written to: beside what azd keeps, which git does not see."""
    azure.environment["AZURE_ENV_NAME"] = f"test-{os.getpid()}"
    folder = ROOT / ".azure" / azure.environment["AZURE_ENV_NAME"]
    folder.mkdir(parents=True)
    yield folder / "lifeboat"
    shutil.rmtree(folder)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()


def _files(folder: Path) -> dict[str, str]:
    return {each.name: each.read_text("utf-8") for each in folder.iterdir()}


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_left_to_do_is_written_with_real_names(azure: AzureTools, written: Path, shape: str) -> None:
    if shape == "disk-log-chain":
        azure.environment["LIFEBOAT_SQL_DISK_PATH"] = r"\\fs01\backups\lifeboat"
    _deployed(azure, shape)
    done = azure.hook("postprovision")
    assert done.returncode == 0, done.stderr
    files = _files(written)
    steps = files["next-steps.md"]
    assert {
        "next-steps.md",
        "firewall.md",
        "smb-account.md",
        "grants.sql",
        "grants-restore.sql",
        "dashboard.md",
    } == set(files)
    for name in ("LIFEBOAT_BACKUP_APP", "LIFEBOAT_BACKUP_HOST", "LIFEBOAT_KEY_VAULT_NAME", "AZURE_RESOURCE_GROUP"):
        assert azure.environment[name] in steps
    everything = "\n".join(files.values())
    assert not re.search(r"\bNone\b|\binvalid\b|\{\w+\}|reference\(", everything)
    titles = re.findall(r"^## \d+\. (.*)$", steps, re.MULTILINE)
    order = [
        line.partition(". ")[2].partition(" (")[0] for line in done.stdout.splitlines() if re.match(r" +\d+\. ", line)
    ]
    assert order == titles
    assert ("Lock the policy of the vault, for good" in titles) == (shape in ("locked-immutability", "everything"))


def test_the_files_say_from_where_to_where(azure: AzureTools, written: Path) -> None:
    azure.environment["LIFEBOAT_DRILL_SQL_SERVER"] = "sqldrill"
    _deployed(azure, "plain")
    assert azure.hook("postprovision").returncode == 0
    files = _files(written)
    subnets = {
        each.name.rpartition("/")[2]: each.properties["addressPrefix"]
        for each in snapshot("plain").of("Microsoft.Network/virtualNetworks/subnets")
    }
    assert f"20.50.60.70 (by the Internet), or {subnets['backup-app']}" in files["firewall.md"]
    for row in (
        "| the app | fs01.stamp.example | 445 | the share |",
        "| the app | sql01.stamp.example | 14330 | SQL Server |",
        "| sql01.stamp.example itself | landing.blob.core.windows.net | 443 |",
        "| the app | sqldrill | 1433 | drills |",
    ):
        assert row in files["firewall.md"]
    assert "-Member 'CONTOSO\\reader'" in files["smb-account.md"]
    grants = files["grants.sql"]
    assert all(f"dbo.{table} TO [lifeboat];" in grants for table in MSDB_TABLES)
    assert "[appservice_hosting]" in grants
    assert "dbcreator" not in grants
    assert "dbcreator" in files["grants-drill.sql"]


@pytest.mark.parametrize("variable", ["LIFEBOAT_ALERT_EMAILS", "LIFEBOAT_ALERT_WEBHOOK"])
def test_where_nobody_is_told_of_alerts_that_is_the_first_thing_left_to_do(
    azure: AzureTools, written: Path, variable: str
) -> None:
    _deployed(azure, "everything")
    told = azure.environment.pop("LIFEBOAT_ALERT_EMAILS")
    title = "Somebody who is told when a backup fails"
    assert azure.hook("postprovision").returncode == 0
    first = _files(written)["next-steps.md"].partition("## 1. ")[2].partition("\n## ")[0]
    assert first.startswith(title)
    assert "azd env set LIFEBOAT_ALERT_EMAILS" in first
    assert "azd provision" in first
    azure.environment[variable] = told
    assert azure.hook("postprovision").returncode == 0
    assert title not in _files(written)["next-steps.md"]


def test_no_secret_is_typed_into_a_command_line(azure: AzureTools, written: Path) -> None:
    azure.environment["LIFEBOAT_SQL_SAS"] = "account-key"
    _deployed(azure, "everything")
    assert azure.hook("postprovision").returncode == 0
    steps = _files(written)["next-steps.md"]
    puts = re.findall(r"az keyvault secret set .*", steps)
    named = set(re.findall(r"secret set .*--name ([a-z-]+) ", steps))
    assert named == {"share-password", "sql-password", "landing-key"}
    assert all(re.search(r"--file (/dev/stdin|\$file)\b", each) and "--output none" in each for each in puts)
    assert "--value" not in "".join(puts)


def test_a_password_arrives_as_it_was_typed_and_does_not_stay_in_the_shell(azure: AzureTools, written: Path) -> None:
    """With ``az`` as a function that prints what it is handed."""
    azure.environment |= {"LIFEBOAT_STAMP_GATEWAY": "203.0.113.1", "LIFEBOAT_STAMP_RANGES": "10.20.0.0/16"}
    _deployed(azure, "everything")
    assert azure.hook("postprovision").returncode == 0
    steps = _files(written)["next-steps.md"]
    assert steps.count("read -rsp") == 3
    typed = " \\pass  word\t"
    for block in re.findall(r"```sh\n(.*?)```", steps, re.DOTALL):
        script = "".join(line + "\n" for line in block.splitlines() if "KEY" in line or "SECRET" in line)
        if not script:
            continue
        done = subprocess.run(
            [
                "bash",
                "-c",
                f'az() {{ echo "<$*>"; [[ $* != *stdin* ]] || cat; }}; curl() {{ :; }}\n{script}\n'
                'echo; echo "left: ${KEY-gone} ${SECRET-gone}"',
            ],
            input=f"{typed}\n" * 2,
            capture_output=True,
            text=True,
            check=True,
        )
        assert (typed in done.stdout) == ("read -rsp" in script), done.stdout
        assert done.stdout.endswith("left: gone gone\n"), script


def test_powershell_in_the_files_can_be_read(azure: AzureTools, written: Path) -> None:
    azure.environment["LIFEBOAT_SHARE_USERNAME"] = "CONTOSO\\o'neill"
    _deployed(azure, "everything")
    assert azure.hook("postprovision").returncode == 0
    blocks = re.findall(r"```powershell\n(.*?)```", "\n".join(_files(written).values()), re.DOTALL)
    assert len(blocks) == 2
    assert [mistakes(each) for each in blocks] == [[], []]


def test_files_that_no_longer_apply_go(azure: AzureTools, written: Path) -> None:
    azure.environment["LIFEBOAT_DRILL_SQL_SERVER"] = "sqldrill"
    _deployed(azure, "plain")
    azure.hook("postprovision")
    assert "grants-drill.sql" in _files(written)
    azure.environment |= {"LIFEBOAT_DRILL_SQL_SERVER": "", "LIFEBOAT_AUTH_CLIENT_ID": ""}
    azure.hook("postprovision")
    assert {"grants-drill.sql", "dashboard.md"} & set(_files(written)) == set()


def test_the_apps_identity_answers_for_the_app_registration(azure: AzureTools, written: Path) -> None:
    _deployed(azure, "plain")
    assert azure.hook("postprovision").returncode == 0
    assert azure.body_of("federated-credential create") == {
        "name": "lifeboat-backup-app",
        "issuer": f"https://login.microsoftonline.com/{TENANT}/v2.0",
        "subject": "55555555-5555-5555-5555-555555555555",
        "audiences": ["api://AzureADTokenExchange"],
    }
    (update,) = [each for each in azure.calls if "ad app update" in each]
    assert (
        "https://elsewhere.example/callback https://func-lifeboat-backup.azurewebsites.net/.auth/login/aad/callback"
        in update
    )


def test_what_is_there_already_is_not_made_again(azure: AzureTools, written: Path) -> None:
    _deployed(azure, "plain")
    azure.answers["federated-credential list"] = [
        {"name": "x", "subject": azure.environment["LIFEBOAT_BACKUP_PRINCIPAL_ID"]}
    ]
    azure.answers["ad app show"] = {
        "web": {"redirectUris": ["https://func-lifeboat-backup.azurewebsites.net/.auth/login/aad/callback"]}
    }
    assert azure.hook("postprovision").returncode == 0
    assert not [each for each in azure.calls if "create" in each or "update" in each]


@pytest.mark.parametrize("tools", [("azd",), ()])
def test_the_files_are_written_without_the_azure_cli(azure: AzureTools, written: Path, tools: tuple[str, ...]) -> None:
    azure.tools = tools
    _deployed(azure, "plain")
    done = azure.hook("postprovision")
    assert done.returncode == 0, done.stderr
    assert "dashboard.md has the commands" in done.stdout
    assert "next-steps.md" in _files(written)


# --- preflight ---

CHECKS = [
    {"component": "vault", "name": "create", "result": "pass", "detail": "may add", "remedy": ""},
    {"component": "share", "name": "login", "result": "warn", "detail": "NTLM", "remedy": "none needed"},
    {"component": "databases", "name": "port", "result": "fail", "detail": "no answer", "remedy": "Opening 2."},
]


@contextlib.contextmanager
def _app(azure: AzureTools, *answers: tuple[int, object]) -> Iterator[list[str | None]]:
    """The app, which gives ``answers`` in turn, the last for ever; yields the keys that it was shown."""
    keys: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, body = answers[min(len(keys), len(answers) - 1)]
            keys.append(self.headers.get("x-functions-key"))
            assert self.path == "/api/preflight"
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    certificate = make_certificate(azure.folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    azure.shell |= certificate.environment()
    azure.environment["LIFEBOAT_BACKUP_HOST"] = f"localhost:{server.server_port}"
    try:
        yield keys
    finally:
        server.shutdown()
        server.server_close()


def test_preflight_looks_from_inside_the_app_and_says_what_fails_first(azure: AzureTools) -> None:
    _deployed(azure, "plain")
    with _app(azure, (200, {"checks": CHECKS})) as keys:
        done = azure.hook("postdeploy")
    assert done.returncode == 0, done.stderr
    assert keys == ["a-function-key"]
    rows = [line for line in done.stdout.splitlines() if re.match("  (fail|warn|pass)", line)]
    assert rows == ["  fail  databases port: no answer", "  warn  share login: NTLM"]
    assert "        Opening 2." in done.stdout
    assert "1 of 3 checks FAIL" in done.stdout
    assert "The deployment itself is done" in done.stdout
    assert "a-function-key" not in done.stdout + done.stderr


def test_an_app_that_is_still_starting_is_waited_for(azure: AzureTools) -> None:
    _deployed(azure, "plain")
    with _app(azure, (503, {}), (200, {"checks": CHECKS[:1]})) as keys:
        done = azure.hook("postdeploy")
    assert len(keys) == 2
    assert "1 of 1 checks pass, none fails" in done.stdout


def test_an_app_that_refuses_fails_no_deployment_and_is_quoted(azure: AzureTools) -> None:
    _deployed(azure, "private-network")
    with _app(azure, (403, {"detail": "Ip Forbidden"})):
        done = azure.hook("postdeploy")
    assert done.returncode == 0
    assert "It could not be run: 403: Ip Forbidden" in done.stdout
    assert "azd hooks run postdeploy, from a machine inside the network" in done.stdout


# --- down ---


@pytest.mark.parametrize("shape", SHAPES)
def test_a_vault_that_holds_locked_dates_is_not_taken_down_by_accident(azure: AzureTools, shape: str) -> None:
    _deployed(azure, shape)
    done = azure.hook("predown")
    assert done.returncode == (0 if shape == "smallest" else 1)
    if done.returncode:
        assert azure.environment["LIFEBOAT_VAULT_NAME"] in done.stderr
        assert "docs/deploying.md, *Taking it down*" in done.stderr
        assert "\n## Taking it down\n" in (ROOT / "docs" / "deploying.md").read_text("utf-8")
        azure.environment["LIFEBOAT_DOWN"] = "confirmed"
        assert azure.hook("predown").returncode == 0


# --- by themselves ---


@pytest.mark.parametrize("hook", ["preprovision", "postprovision", "postdeploy", "predown"])
@pytest.mark.parametrize("tools", [("azd",), ()])
def test_a_hook_in_an_empty_environment_says_what_is_missing(
    azure: AzureTools, hook: str, tools: tuple[str, ...]
) -> None:
    azure.tools, azure.environment = tools, {"AZURE_ENV_NAME": "contoso"}
    done = azure.hook(hook)
    assert done.returncode == (0 if hook == "predown" else 1)
    assert "Traceback" not in done.stderr
    assert re.search(r"nothing was (made|deployed)", done.stdout + done.stderr)
    assert "az login" in done.stdout or hook != "preprovision"


def test_azure_yaml_runs_each_hook_in_both_shells(azure: AzureTools) -> None:
    """As azd does: the line goes into a script of its own, which runs in the project's folder."""
    assert set(AZURE_YAML["hooks"]) == {"preprovision", "postprovision", "postdeploy", "predown"}
    for name, hook in AZURE_YAML["hooks"].items():
        assert (hook["posix"]["shell"], hook["windows"]["shell"]) == ("sh", "pwsh")
        assert hook["windows"]["run"] == f"./infra/hooks/run.ps1 {name}; exit $LASTEXITCODE"
        script = azure.folder / f"azd-{name}.sh"
        script.write_text(f"#!/bin/sh\n\n{hook['posix']['run']}", "utf-8")
        azure.environment = {}
        done = azure.run("sh", script)
        assert done.returncode == (0 if name == "predown" else 1), done.stderr
        assert "Lifeboat" in done.stdout + done.stderr


def test_the_wrapper_for_powershell_can_be_read_and_finds_what_it_starts() -> None:
    text = (ROOT / "infra" / "hooks" / "run.ps1").read_text("ascii")
    assert mistakes(text) == []
    assert "-m infra.hooks @args" in text
    assert mistakes(text.replace("@args", "@(args")) != []


def test_without_a_python_the_wrapper_says_which_is_needed(azure: AzureTools) -> None:
    azure.tools = ()
    azure.run("true")
    (azure.folder / "bin" / "python3").write_text("#!/bin/sh\nexit 1\n", "utf-8")
    azure.shell = {"PATH": str(azure.folder / "bin")}
    for name in ("dirname", "sh"):
        (azure.folder / "bin" / name).symlink_to(f"/usr/bin/{name}")
    done = subprocess.run(
        ["/bin/sh", ROOT / "infra/hooks/run.sh", "predown"],
        env=azure.shell,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Python 3.11 or later" in done.stderr


# --- what is read out of the templates ---


def test_names_that_are_looked_up_are_those_that_are_deployed() -> None:
    for shape in SHAPES:
        made = snapshot(shape)
        token = str(made.outputs["LIFEBOAT_VAULT_NAME"]).removeprefix("stlbv")
        names = Names.of(shape, token)
        deployed = {each.name for each in made}
        unused = {f"stlbl{token}"} if not made.outputs["LIFEBOAT_LANDING_NAME"] else set()
        assert {*names.storage, names.key_vault, *names.apps} - deployed == unused
        assert names.group == made.outputs["AZURE_RESOURCE_GROUP"]


def test_providers_that_are_registered_are_those_of_what_is_deployed() -> None:
    deployed = {each.type.partition("/")[0] for shape in SHAPES for each in snapshot(shape)}
    always = {"Microsoft.Authorization", "Microsoft.Resources"}
    assert deployed - always | {"Microsoft.App"} == set(PROVIDERS)
    delegations = {
        delegation["properties"]["serviceName"]
        for each in snapshot("plain").of("Microsoft.Network/virtualNetworks/subnets")
        for delegation in each.properties.get("delegations", [])
    }
    assert delegations == {"Microsoft.App/environments"}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_is_read_as_it_is_deployed(shape: str) -> None:
    assert set(templates.shapes()) == set(SHAPES)
    read, made = templates.shapes()[shape], snapshot(shape)
    assert (read["network"], read["immutability"]) == (
        made.outputs["LIFEBOAT_NETWORK"],
        made.outputs["LIFEBOAT_IMMUTABILITY"],
    )
    assert read.has("landing") == bool(made.outputs["LIFEBOAT_LANDING_NAME"])
    accounts = {each.name: each.raw["sku"]["name"] for each in made.of("Microsoft.Storage/storageAccounts")}
    assert read["vaultSku"] == accounts[str(made.outputs["LIFEBOAT_VAULT_NAME"])]
    (backup,) = [
        each for each in made.of("Microsoft.Web/sites/config") if "backup" in each.name and "settings" in each.name
    ][:1]
    for name, value in read.settings.items():
        assert backup.properties[f"LIFEBOAT_{name}"] == value


def test_settings_that_can_be_deployed_are_settings() -> None:
    readme = (ROOT / "README.md").read_text("utf-8").split("### Settings\n")[1].split("\n#")[0]
    assert set(templates.settings()) <= set(re.findall(r"`([A-Z][A-Z_]+)`", readme))
    assert {f"SCHEDULE_{name}" for name in product.SCHEDULES} <= set(templates.settings())
    assert not [name for name in templates.settings() if re.search("PASSWORD|KEY$|ADOPT_SAS", name)]
    assert templates.settings()["DEBUG"] == ("true", "false")
    assert templates.settings()["SQL_MODE"] == ("url", "disk", "adopt")


def test_thresholds_are_read_with_their_ranges() -> None:
    main = (ROOT / "infra" / "main.bicep").read_text("utf-8")
    defaults = re.search(r"^param thresholds Thresholds = \{\n(.*?)^\}", main, re.MULTILINE | re.DOTALL)
    assert defaults
    values = {name: int(value) for name, value in re.findall(r"(\w+): (\d+)", defaults[1])}
    assert values.keys() == templates.thresholds().keys()
    assert templates.default_thresholds() == values
    assert all(least <= values[name] <= most for name, (least, most) in templates.thresholds().items())


def test_every_output_is_what_a_hook_reads_or_azd_needs() -> None:
    made = set(snapshot("plain").outputs)
    assert templates.outputs() == made
    assert {"LIFEBOAT_BACKUP_APP", "LIFEBOAT_KEY_VAULT_NAME"} <= made
    sources = "\n".join(each.read_text("utf-8") for each in (ROOT / "infra" / "hooks").glob("*.py"))
    assert {name for name in made if name not in sources} <= {"LIFEBOAT_KEY_VAULT_URL"}


# --- what the page says ---


def test_the_page_has_every_variable_every_shape_every_hook_and_every_file() -> None:
    page = (ROOT / "docs" / "deploying.md").read_text("utf-8")
    cells = re.findall(r"^\| (`[^|]+) \|", page, re.MULTILINE)
    told = {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}
    variables = templates.parameters() - {"LIFEBOAT_SETTINGS"} | {"AZURE_SUBSCRIPTION_ID", *SWITCHES}
    assert told == {*variables, *SHAPES, *AZURE_YAML["hooks"], *FILES} - {
        GRANTS_RESTORE,
        GRANTS_DRILL,  # named with the first
    }
    assert all(f"`{name}`" in page for name in (GRANTS_RESTORE, GRANTS_DRILL))
