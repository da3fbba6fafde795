"""What each shape would deploy, read resource by resource from the committed snapshots: no compiler is needed."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from shared.settings import PREFIX, SCHEDULES, Settings
from tests.infra.bicep import INFRA, ROOT, SHAPES, Resource, Snapshot, snapshot

SITES = "Microsoft.Web/sites"
STORAGE = "Microsoft.Storage/storageAccounts"


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def deployed(shape: str) -> Snapshot:
    return snapshot(shape)


# --- that it is known before a deployment ---


def test_everything_that_decides_what_is_made_is_known_before_a_deployment(deployed: Snapshot) -> None:
    assert deployed.raw["diagnostics"] == []
    ids = [resource.id for resource in deployed]
    assert [each for each, times in Counter(ids).items() if times > 1] == []
    # Names of zones follow from the cloud; every other id is plain.
    assert [each for each in ids if "[" in each and "Microsoft.Network/privateDnsZones" not in each] == []


# --- names ---

_NETWORK = r"[A-Za-z0-9]([\w.-]*\w)?"
_GUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_MONITOR = r"[^*#&+:<>?@%{}\\/|]*[^*#&+:<>?@%{}\\/| .]"
NAMES: Mapping[str, tuple[int, int, str]] = {
    "Microsoft.Authorization/locks": (1, 90, r"[\w.()-]*[\w()-]"),
    "Microsoft.Authorization/roleAssignments": (36, 36, _GUID),
    "Microsoft.Authorization/roleDefinitions": (36, 36, _GUID),
    "Microsoft.Insights/actionGroups": (1, 260, _MONITOR),
    "Microsoft.Insights/activityLogAlerts": (1, 260, _MONITOR),
    "Microsoft.Insights/components": (1, 260, _MONITOR),
    "Microsoft.Insights/diagnosticSettings": (1, 260, _MONITOR),
    "Microsoft.Insights/metricAlerts": (1, 260, _MONITOR),
    "Microsoft.Insights/scheduledQueryRules": (1, 260, _MONITOR),
    "Microsoft.Insights/workbooks": (36, 36, _GUID),
    "Microsoft.KeyVault/vaults": (3, 24, r"[A-Za-z](-?[A-Za-z0-9])*"),
    "Microsoft.ManagedIdentity/userAssignedIdentities": (3, 128, r"[A-Za-z0-9][\w-]*"),
    "Microsoft.Network/connections": (1, 80, _NETWORK),
    "Microsoft.Network/localNetworkGateways": (1, 80, _NETWORK),
    "Microsoft.Network/natGateways": (1, 80, _NETWORK),
    "Microsoft.Network/networkSecurityGroups": (1, 80, _NETWORK),
    "Microsoft.Network/privateDnsZones": (1, 63, r"[\w-]+(\.[\w-]+){1,33}"),
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks": (1, 80, _NETWORK),
    "Microsoft.Network/privateEndpoints": (2, 64, _NETWORK),
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups": (1, 80, _NETWORK),
    "Microsoft.Network/publicIPAddresses": (1, 80, _NETWORK),
    "Microsoft.Network/virtualNetworkGateways": (1, 80, _NETWORK),
    "Microsoft.Network/virtualNetworks": (2, 64, _NETWORK),
    "Microsoft.Network/virtualNetworks/subnets": (1, 80, _NETWORK),
    "Microsoft.Network/virtualNetworks/virtualNetworkPeerings": (1, 80, _NETWORK),
    "Microsoft.OperationalInsights/workspaces": (4, 63, r"[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9]"),
    "Microsoft.Resources/resourceGroups": (1, 90, r"[\w.()-]*[\w()-]"),
    STORAGE: (3, 24, r"[a-z0-9]+"),
    f"{STORAGE}/blobServices": (7, 7, "default"),
    f"{STORAGE}/blobServices/containers": (3, 63, r"[a-z0-9](-?[a-z0-9])*"),
    f"{STORAGE}/blobServices/containers/immutabilityPolicies": (7, 7, "default"),
    f"{STORAGE}/managementPolicies": (7, 7, "default"),
    "Microsoft.Web/serverfarms": (1, 40, r"[A-Za-z0-9-]+"),
    SITES: (2, 60, r"[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9]"),
    f"{SITES}/basicPublishingCredentialsPolicies": (3, 3, "ftp|scm"),
    f"{SITES}/config": (11, 14, "appsettings|authsettingsV2"),
}
"""Characters, at least and at most, and which, of a name's last part: Microsoft's "Naming rules and restrictions for
Azure resources"; what is not there is from the type's page in the reference of templates."""


def test_names_are_within_their_limits(deployed: Snapshot) -> None:
    for resource in deployed:
        name = in_the_public_cloud(resource.name).rpartition("/")[2]
        least, most, form = NAMES[resource.type]
        assert least <= len(name) <= most, f"{resource.type} {name}"
        assert re.fullmatch(form, name), f"{resource.type} {name}"


def test_names_are_given_to_every_type_that_is_deployed_and_to_no_other() -> None:
    assert set(NAMES) == {resource.type for shape in SHAPES for resource in snapshot(shape)}


def in_the_public_cloud(name: str) -> str:
    """A name, or the expression that becomes one where the cloud is known."""
    if not name.startswith("["):
        return name
    parts = re.findall(r"'([^']*)'|(environment\(\)\.suffixes\.storage)", name[1:-1])
    texts = iter("core.windows.net" if known else text for text, known in parts)
    return _formatted(texts)


def _formatted(texts: Iterator[str]) -> str:
    """``format`` with its arguments, in the order in which they stand."""
    text = next(texts)
    return re.sub(r"\{\d\}", lambda _: _formatted(texts), text)


# --- what is open ---


def test_nothing_speaks_an_old_tls_or_plain_http(deployed: Snapshot) -> None:
    for resource in deployed:
        for name, value in members(resource.properties):
            if re.fullmatch(r"(?i)(min(imum)?|scmMin)TlsVersion", name):
                assert value in ("TLS1_2", "TLS1_3", "1.2", "1.3"), resource.id
            if name in ("httpsOnly", "supportsHttpsTrafficOnly", "requireHttps"):
                assert value is True, resource.id
    for account in deployed.of(STORAGE):
        assert {"minimumTlsVersion", "supportsHttpsTrafficOnly"} <= account.properties.keys(), account.name
    for site in deployed.of(SITES):
        assert site.properties["httpsOnly"] is True
        assert {"minTlsVersion", "scmMinTlsVersion"} <= site.properties["siteConfig"].keys(), site.name


def test_no_account_takes_a_key_or_serves_anybody_unless_he_is_known(deployed: Snapshot) -> None:
    for account in deployed.of(STORAGE):
        assert account.properties["allowBlobPublicAccess"] is False, account.name
        assert account.properties["allowSharedKeyAccess"] is False, account.name
        assert account.properties["allowCrossTenantReplication"] is False, account.name
    for container in deployed.of(f"{STORAGE}/blobServices/containers"):
        assert container.properties["publicAccess"] == "None", container.name
    for kind in ("Microsoft.Insights/components", "Microsoft.OperationalInsights/workspaces"):
        (found,) = deployed.of(kind)
        assert found.properties.get("DisableLocalAuth") or found.properties["features"]["disableLocalAuth"]


def test_code_comes_to_an_app_by_entra_id_alone(deployed: Snapshot) -> None:
    for site in deployed.of(SITES):
        passwords = [each for each in deployed.of(f"{SITES}/basicPublishingCredentialsPolicies") if site.id in each.id]
        assert {each.name.rpartition("/")[2]: each.properties["allow"] for each in passwords} == {
            "ftp": False,
            "scm": False,
        }
        storage = site.properties["functionAppConfig"]["deployment"]["storage"]
        assert storage["authentication"]["type"] == "UserAssignedIdentity"


def test_a_site_says_nothing_that_flex_consumption_refuses(deployed: Snapshot) -> None:
    """Error 51021; see Azure/terraform-azurerm-avm-res-web-site#345, and Azure/bicep-types-az#1571 for the region."""
    refused = {"alwaysOn", "ftpsState", "functionAppScaleLimit", "linuxFxVersion", "use32BitWorkerProcess"}
    refused_settings = {"FUNCTIONS_EXTENSION_VERSION", "FUNCTIONS_WORKER_RUNTIME", "WEBSITE_RUN_FROM_PACKAGE"}
    for site in deployed.of(SITES):
        assert not refused & set(site.properties["siteConfig"]), site.name
    for settings in deployed.of(f"{SITES}/config"):
        assert not refused_settings & set(settings.properties), settings.name
    for policy in deployed.of(f"{SITES}/basicPublishingCredentialsPolicies"):
        assert policy.location, policy.name


def test_nobody_outside_reaches_the_keeper_by_http(deployed: Snapshot) -> None:
    keeper = site_of(deployed, "keeper")
    configured = keeper.properties["siteConfig"]
    assert configured["ipSecurityRestrictionsDefaultAction"] == "Deny"
    assert not configured.get("ipSecurityRestrictions")


def test_in_a_private_network_nothing_answers_on_a_public_address(deployed: Snapshot, shape: str) -> None:
    private = deployed.raw["outputs"]["LIFEBOAT_NETWORK"] == "private"
    assert private == (shape in ("private-network", "everything"))
    if private:
        for kind in (STORAGE, "Microsoft.KeyVault/vaults", SITES):
            for resource in deployed.of(kind):
                assert resource.properties["publicNetworkAccess"] == "Disabled", resource.name


# --- secrets ---

TELLS_WHERE_TO_SEND = "APPLICATIONINSIGHTS_CONNECTION_STRING"
"""The key in it opens nothing: Application Insights takes Entra ID alone (``DisableLocalAuth``)."""
IN_THE_KEY_VAULT = re.compile(
    r"\[format\('@Microsoft\.KeyVault\(SecretUri=\{0\}secrets/\{1\}\)', reference\('[^']*/vaults/[^']*', '[\d-]+'\)"
    r"\.vaultUri, '[a-z-]+'\)\]"
)


def test_no_setting_and_no_output_holds_a_secret(deployed: Snapshot) -> None:
    for site in deployed.of(SITES):
        for name, value in app_settings(deployed, site).items():
            if re.search(r"PASSWORD|KEY$|SAS$|SECRET|TOKEN", name):
                assert IN_THE_KEY_VAULT.fullmatch(value), name
            elif name != TELLS_WHERE_TO_SEND:
                assert not re.search(r"(?i)connection_?string|(account|access)_?key=|[?&]sig=", name + value), name
        assert "AzureWebJobsStorage" not in app_settings(deployed, site)
    # Whoever may read deployments reads outputs, and what a function of the template lists.
    text = json.dumps(deployed.raw)
    assert re.findall(r"\blist[A-Z]\w*\(", text) == []
    assert not re.search(
        r"(?i)password|secret|connectionstring|sharedaccess|[?&]sig=", json.dumps(deployed.raw["outputs"])
    )


def test_the_webhook_of_alerts_is_shown_to_nobody() -> None:
    given = re.search(r"param alertWebhook = '(.+)'", (INFRA / "shapes/everything.bicepparam").read_text())
    assert given
    assert given[1] not in json.dumps(snapshot("everything").raw)


# --- settings ---

BY_MAIN = {"ROLE", "VAULT_URL", "KEY_VAULT_URL", "LANDING_URL", "LANDING_KEY", "SQL_DISK_PASSWORD"}
"""main.bicep knows them better than anybody; the last two are references into the Key Vault."""
NEVER_DEPLOYED = {
    **dict.fromkeys(
        ("REPOSITORY_PASSWORD", "SHARE_PASSWORD", "SQL_PASSWORD", "DRILL_SQL_PASSWORD", "SQL_ADOPT_SAS"),
        "Lifeboat reads it from the Key Vault itself",
    ),
    "VAULT_KEY": "the vault takes no key",
    **dict.fromkeys(
        ("RESTORE_USERNAME", "RESTORE_PASSWORD", "RESTORE_SQL_USERNAME", "RESTORE_SQL_PASSWORD"),
        "for the command line of the person who restores",
    ),
}


def test_every_setting_can_be_deployed_or_has_a_reason_why_not() -> None:
    readme = (ROOT / "README.md").read_text().split("### Settings\n")[1].split("\n#")[0]
    rows = [line.split("|")[1] for line in readme.splitlines() if line.startswith("| `")]
    known = re.findall(r"`([A-Z][A-Z_]+)`", "\n".join(rows))  # tests/unit/test_readme.py: what settings.py reads
    deployable = re.findall(r"(?m)^  ([A-Z][A-Z_]+):", (INFRA / "settings.bicep").read_text())
    assert sorted(known) == sorted([*deployable, *BY_MAIN, *NEVER_DEPLOYED])


def test_apps_are_given_no_setting_that_nobody_reads(deployed: Snapshot) -> None:
    deployable = set(re.findall(r"(?m)^  ([A-Z][A-Z_]+):", (INFRA / "settings.bicep").read_text()))
    for site in deployed.of(SITES):
        given = {name.removeprefix(PREFIX) for name in app_settings(deployed, site) if name.startswith(PREFIX)}
        assert given <= deployable | BY_MAIN


def test_the_backup_app_can_read_its_settings(deployed: Snapshot, shape: str) -> None:
    settings = settings_of(deployed, "backup")
    assert settings.role == "backup"
    assert settings.configured() == ["databases", "share", "secrets"]
    assert settings.vault().key is None
    assert settings.share().password is None  # in the Key Vault
    databases = settings.databases()
    assert databases.mode == ("disk" if shape == "disk-log-chain" else "url")
    if databases.mode == "disk":
        assert settings.disk().url.startswith("smb://")
    else:
        assert settings.landing().sas == "user-delegation"
    assert settings.has_landing() == bool(deployed.raw["outputs"]["LIFEBOAT_LANDING_URL"])
    assert databases.own_log_chain == (shape in ("disk-log-chain", "everything"))
    settings.drill_sql_server()
    settings.drill_share_sample_bytes()
    settings.steps()
    settings.rpo_seconds()
    settings.expiry_warning_seconds()
    settings.verify_within_seconds()
    settings.preflight_backs_up()
    assert settings.wrong_schedules() == []


def test_the_keeper_can_read_its_settings_and_protects_where_the_vault_lets_it(deployed: Snapshot) -> None:
    settings = settings_of(deployed, "keeper")
    assert settings.role == "keeper"
    assert settings.vault().key is None
    assert settings.vault().url == settings_of(deployed, "backup").vault().url
    keeping = settings.keeping()
    assert keeping == settings_of(deployed, "backup").keeping()
    (vault,) = [each for each in deployed.of(STORAGE) if each.name == deployed.raw["outputs"]["LIFEBOAT_VAULT_NAME"]]
    assert bool(keeping.protect_for_seconds) == bool(vault.properties.get("immutableStorageWithVersioning"))
    settings.lock_wait_seconds()
    settings.max_shrink()
    for name in SCHEDULES:
        settings.schedule(name)


# --- that all of it belongs together ---

STANDS_ALONE = {
    **dict.fromkeys(
        (
            "Microsoft.Authorization/locks",
            "Microsoft.Authorization/roleAssignments",
            "Microsoft.Insights/diagnosticSettings",
            f"{STORAGE}/blobServices",
            f"{STORAGE}/blobServices/containers",
            f"{STORAGE}/blobServices/containers/immutabilityPolicies",
            f"{STORAGE}/managementPolicies",
            f"{SITES}/basicPublishingCredentialsPolicies",
            f"{SITES}/config",
            "Microsoft.Network/privateDnsZones/virtualNetworkLinks",
            "Microsoft.Network/privateEndpoints/privateDnsZoneGroups",
            "Microsoft.Network/virtualNetworks/virtualNetworkPeerings",
        ),
        "says something of the resource that its id begins with",
    ),
    **dict.fromkeys(
        ("Microsoft.Network/connections", "Microsoft.Network/privateEndpoints"), "joins two that it refers to itself"
    ),
    **dict.fromkeys(
        (
            "Microsoft.Insights/activityLogAlerts",
            "Microsoft.Insights/metricAlerts",
            "Microsoft.Insights/scheduledQueryRules",
            "Microsoft.Insights/workbooks",
        ),
        "what people are told, and look at",
    ),
    SITES: "what all of it is for",
}
FOR_PEOPLE = {
    "Lifeboat break-glass": "given by hand, for as long as it is needed",
    "Lifeboat vault reader": "given to the group of those who restore, where there is one",
}
"""Roles that no app has, and so perhaps nobody."""


def test_there_is_no_resource_that_nobody_refers_to(deployed: Snapshot) -> None:
    texts = {resource.id: json.dumps({**resource.raw, "id": ""}) for resource in deployed}
    outputs = json.dumps(deployed.raw["outputs"])
    alone = [
        resource
        for resource in deployed
        if resource.type not in STANDS_ALONE
        and not refers(outputs, resource)
        and not any(refers(text, resource) for each, text in texts.items() if each != resource.id)
    ]
    assert [each.id for each in alone if each.properties.get("roleName", "").rpartition(" ")[0] not in FOR_PEOPLE] == []


def refers(text: str, resource: Resource) -> bool:
    identifier = resource.name if resource.type == "Microsoft.Authorization/roleDefinitions" else resource.id
    return bool(re.search(re.escape(json.dumps(identifier)[1:-1]) + r"(?![\w/.-])", text))


def test_what_stands_alone_is_deployed_somewhere() -> None:
    assert set(STANDS_ALONE) <= {resource.type for shape in SHAPES for resource in snapshot(shape)}


def test_everything_has_the_tag_by_which_azd_finds_it(deployed: Snapshot, shape: str) -> None:
    parts = (f"{SITES}/basicPublishingCredentialsPolicies",)
    for resource in deployed:
        # What has no location is a part of something that has, and takes no tags.
        if "location" in resource.raw and resource.type not in parts:
            assert resource.raw["tags"]["azd-env-name"] == shape, resource.id


def test_azd_finds_an_app_for_each_of_its_services(deployed: Snapshot) -> None:
    services = re.search(r"(?ms)^services:\n(.*?)^\S", (ROOT / "azure.yaml").read_text())
    assert services
    tagged = [resource.raw["tags"].get("azd-service-name") for resource in deployed if "tags" in resource.raw]
    assert sorted(filter(None, tagged)) == sorted(re.findall(r"(?m)^  (\w+):", services[1]))


# --- helpers ---


def members(value: Any) -> Iterator[tuple[str, Any]]:
    """Each name with its value, at any depth."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield name, each
            yield from members(each)
    elif isinstance(value, list):
        for each in value:
            yield from members(each)


def site_of(deployed: Snapshot, service: str) -> Resource:
    (site,) = [each for each in deployed.of(SITES) if each.raw["tags"]["azd-service-name"] == service]
    return site


def app_settings(deployed: Snapshot, site: Resource) -> dict[str, str]:
    (config,) = [each for each in deployed.of(f"{SITES}/config") if each.id == f"{site.id}/config/appsettings"]
    return dict(config.properties)


def settings_of(deployed: Snapshot, service: str) -> Settings:
    """As the app will read them: with what only Azure knows in its place."""
    given = app_settings(deployed, site_of(deployed, service))
    return Settings.from_environment(
        {name: _as_in_azure(value) for name, value in given.items() if name.startswith(PREFIX)}
    )


def _as_in_azure(value: str) -> str:
    if not value.startswith("["):
        return value
    if IN_THE_KEY_VAULT.fullmatch(value):
        return "what the platform has read there"
    address = re.fullmatch(r"\[reference\('[^']*/([^'/]*)', '[\d-]+'\)\.(primaryEndpoints\.blob|vaultUri)\]", value)
    assert address, f"{value} cannot be followed"
    return f"https://{address[1]}.example/"
