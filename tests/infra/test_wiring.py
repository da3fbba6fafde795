"""What one thing is told of another is true: who an app is, where telemetry goes, what alerts and operators go by."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest

from infra.hooks.asked import SECRETS
from tests.infra.bicep import INFRA, SHAPES, Resource, Snapshot, evaluate, snapshot

SITES = "Microsoft.Web/sites"
LOG = "Microsoft.Insights/scheduledQueryRules"
METRIC = "Microsoft.Insights/metricAlerts"
IDENTITIES = "Microsoft.ManagedIdentity/userAssignedIdentities"


@pytest.fixture(params=SHAPES)
def deployed(request: pytest.FixtureRequest) -> Snapshot:
    return snapshot(request.param)


def one(resources: Snapshot, kind: str, ending: str = "") -> Resource:
    (found,) = [each for each in resources.of(kind) if re.search(ending, each.id)]
    return found


def identity_of(resources: Snapshot, app: str) -> str:
    (identity,) = one(resources, SITES, f"func-lifeboat-{app}-").raw["identity"]["userAssignedIdentities"]
    return str(identity)


@pytest.mark.parametrize("app", ["backup", "keeper"])
def test_an_app_is_itself_in_whatever_asks_who_it_is(deployed: Snapshot, app: str) -> None:
    site, own = one(deployed, SITES, f"func-lifeboat-{app}-"), identity_of(deployed, app)
    settings = one(deployed, f"{SITES}/config", f"func-lifeboat-{app}-.*/appsettings$").properties
    assert settings["AzureWebJobsStorage__credential"] == "managedidentity"
    asking = {"AzureWebJobsStorage__clientId", "AZURE_CLIENT_ID", "APPLICATIONINSIGHTS_AUTHENTICATION_STRING"}
    if [each for each in deployed.of(f"{SITES}/config") if each.id == f"{site.id}/config/authsettingsV2"]:
        asking.add("OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID")
    named = {name: re.findall(r"'([^']*/userAssignedIdentities/[^']*)'", value) for name, value in settings.items()}
    assert {name: ids for name, ids in named.items() if ids} == {name: [own] for name in asking}
    assert site.properties["keyVaultReferenceIdentity"] == own
    storage = site.properties["functionAppConfig"]["deployment"]["storage"]
    assert storage["authentication"]["userAssignedIdentityResourceId"] == own


def test_telemetry_of_both_apps_comes_whole_into_the_logs_that_alerts_ask(deployed: Snapshot) -> None:
    workspace = one(deployed, "Microsoft.OperationalInsights/workspaces")
    component = one(deployed, "Microsoft.Insights/components")
    assert component.properties["WorkspaceResourceId"] == workspace.id
    assert component.properties["SamplingPercentage"] == 100
    assert workspace.properties["workspaceCapping"] == {"dailyQuotaGb": -1}
    for settings in deployed.of(f"{SITES}/config"):
        if settings.name.endswith("/appsettings"):
            told = settings.properties["APPLICATIONINSIGHTS_CONNECTION_STRING"]
            assert re.fullmatch(rf"\[reference\('{component.id}', '[\d-]+'\)\.ConnectionString\]", told)
            assert settings.properties["APPLICATIONINSIGHTS_AUTHENTICATION_STRING"].endswith(".clientId)]")
            assert settings.properties["PYTHON_ENABLE_OPENTELEMETRY"] == "true"


def test_people_of_this_tenant_sign_in_by_the_app_registration_that_was_made(deployed: Snapshot) -> None:
    for sign_in in (each for each in deployed.of(f"{SITES}/config") if each.name.endswith("/authsettingsV2")):
        assert "func-lifeboat-backup-" in sign_in.name
        assert sign_in.properties["platform"]["enabled"] is True
        (provider,) = sign_in.properties["identityProviders"].values()
        assert provider["registration"]["clientId"] == "22222222-2222-2222-2222-222222222222"
        assert "tenant().tenantId" in provider["registration"]["openIdIssuer"]


def test_alerts_know_the_apps_and_the_agent_by_their_own_identities(deployed: Snapshot) -> None:
    filled = {
        (key, identity)
        for alert in deployed.of(LOG)
        for key, identity in re.findall(
            r"createObject\('key', '(\w+)', 'value', reference\('([^']+)'", json.dumps(alert.properties)
        )
    }
    apps = {(app, identity_of(deployed, app)) for app in ("backup", "keeper")}
    assert filled == apps


def test_alerts_look_at_what_was_deployed(deployed: Snapshot) -> None:
    group = one(deployed, "Microsoft.Resources/resourceGroups")
    workspace = one(deployed, "Microsoft.OperationalInsights/workspaces")
    assert {tuple(each.properties["scopes"]) for each in deployed.of(LOG)} == {(workspace.id,)}
    for alert in deployed.of("Microsoft.Insights/activityLogAlerts"):
        everywhere = group.id.partition("/resourceGroups/")[0]
        assert alert.properties["scopes"] == [everywhere if alert.name.endswith("rights-changed") else group.id]
    accounts = [each.id for each in deployed.of("Microsoft.Storage/storageAccounts") if re.search(r"stlb[vl]", each.id)]
    assert sorted(scope for each in deployed.of(METRIC) for scope in each.properties["scopes"]) == sorted(accounts)


def test_whoever_is_named_hears_of_alerts(deployed: Snapshot) -> None:
    (told,) = [each.properties for each in deployed.of("Microsoft.Insights/actionGroups")]
    assert [each["emailAddress"] for each in told["emailReceivers"]] == ["backup@contoso.example"]
    # The address of a webhook is not in a snapshot, only how it would be put in.
    webhook = told["webhookReceivers"]
    assert webhook == [] or "'serviceUri', parameters('receivers').webhook" in webhook


def test_alerts_are_raised_from_a_number_on_and_silence_below_it(deployed: Snapshot) -> None:
    for alert in (*deployed.of(LOG), *deployed.of(METRIC)):
        (criterion,) = alert.properties["criteria"]["allOf"]
        silent = alert.name.endswith("-silent")
        assert criterion["operator"] == ("LessThan" if silent else "GreaterThanOrEqual"), alert.name
        assert criterion["threshold"] >= 1, alert.name


# --- by the compiler: what an operator sets ---

SET_BY_HAND = """
param stampAddresses = '203.0.113.8, 203.0.113.16/29'
param recoverKeyVault = true
param policyIsLocked = true
param thresholds = {
  watchdogSilentHours: 5
  keeperSilentHours: 41
  expiryDays: 43
  growthRatio: 47
  growthLeastGiB: 53
  functionErrors: 59
  throttledRequests: 61
  foreignDeletions: 67
}
"""


def test_what_an_operator_sets_arrives_where_it_counts(tmp_path: Path) -> None:
    shutil.copytree(INFRA, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "shapes/locked-immutability.bicepparam"
    file.write_text(file.read_text() + SET_BY_HAND)
    made = evaluate(file, "overwrite")
    assert (made.returncode, made.stderr) == (0, "")
    resources = Snapshot(orjson.loads((tmp_path / "shapes/locked-immutability.snapshot.json").read_bytes()))

    rules = one(resources, "Microsoft.Storage/storageAccounts", "/stlbl[^/]*$").properties["networkAcls"]
    assert rules["defaultAction"] == "Deny"
    assert [each["value"] for each in rules["ipRules"]] == ["203.0.113.8", "203.0.113.16/29"]
    subnet = one(resources, SITES, "-backup-").properties["virtualNetworkSubnetId"]
    assert [each["id"] for each in rules["virtualNetworkRules"]] == [subnet]
    services = one(resources, "Microsoft.Network/virtualNetworks/subnets", "/backup-app$").properties
    assert [each["service"] for each in services["serviceEndpoints"]] == ["Microsoft.Storage"]

    assert one(resources, "Microsoft.KeyVault/vaults").properties["createMode"] == "recover"
    assert resources.of("Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies") == []
    assert thresholds_of(resources) == {
        "watchdog-silent": "ago(5h)",
        "keeper-silent": "ago(41h)",
        "certificate-expiry": "<= 43",
        "size-jump": "47 53",
        "function-errors": 59,
        "throttling-landing": 61,
        "throttling-vault": 61,
        "vault-deletions": 67,
    }


def thresholds_of(resources: Snapshot) -> dict[str, Any]:
    """What each alert goes by that has a threshold of its own: the number, or where it stands in the query."""
    found: dict[str, Any] = {}
    for alert in (*resources.of(LOG), *resources.of(METRIC)):
        (criterion,) = alert.properties["criteria"]["allOf"]
        name, query = alert.name.partition("lifeboat-")[2], criterion.get("query", "")
        numbers = re.findall(r"ago\(\d+h\)|<= \d+", query)
        if name == "size-jump":
            numbers = [" ".join(re.findall(r">= (\d+)", query))]
        if criterion["threshold"] != 1 or numbers:
            found[name] = criterion["threshold"] if criterion["threshold"] != 1 else numbers[0]
    return found


def test_what_the_platform_reads_from_the_key_vault_has_the_names_that_the_hooks_print() -> None:
    deployed = snapshot("disk-log-chain")
    found = {
        name: re.search(r"'([a-z-]+)'\)\]$", str(value))
        for settings in deployed.of(f"{SITES}/config")
        for name, value in settings.properties.items()
        if "@Microsoft.KeyVault" in str(value)
    }
    assert {name: match and match[1] for name, match in found.items()} == {
        "LIFEBOAT_SQL_DISK_PASSWORD": SECRETS["SQL_DISK_PASSWORD"]
    }
    assert f"'{SECRETS['LANDING_KEY']}'" in (INFRA / "main.bicep").read_text()
