"""The way out to the stamp, and the way in that there is not."""

from __future__ import annotations

import ipaddress
import itertools
from typing import Any

import pytest

from tests.infra.bicep import INFRA, SHAPES, Resource, Snapshot, build, snapshot

NETWORK = "Microsoft.Network/"
SUBNET = f"{NETWORK}virtualNetworks/subnets"
ENDPOINT = f"{NETWORK}privateEndpoints"
WITH_NETWORK = tuple(shape for shape in SHAPES if shape != "smallest")
PRIVATE = ("private-network", "everything")
DATA_PLANES = (
    "Microsoft.Storage/storageAccounts",
    "Microsoft.KeyVault/vaults",
    "Microsoft.Web/sites",
)
LEAST_PREFIX = {"backup-app": 25, "keeper-app": 27, "private-endpoints": 27, "GatewaySubnet": 27}
"""Azure asks for a /27 at least, for Flex Consumption and for a gateway; the backup app has room for its instances."""


def _subnets(shape: str) -> dict[str, Resource]:
    return {each.name.split("/")[1]: each for each in snapshot(shape).of(SUBNET)}


@pytest.mark.parametrize("shape", WITH_NETWORK)
def test_subnets_lie_in_the_network_and_apart_and_are_large_enough(shape: str) -> None:
    (network,) = snapshot(shape).of(f"{NETWORK}virtualNetworks")
    (space,) = map(ipaddress.IPv4Network, network.properties["addressSpace"]["addressPrefixes"])
    ranges = {name: ipaddress.IPv4Network(each.properties["addressPrefix"]) for name, each in _subnets(shape).items()}
    for name, each in ranges.items():
        assert each.subnet_of(space), name
        assert each.prefixlen <= LEAST_PREFIX[name]
        assert not [other for other in ranges if other != name and ranges[other].overlaps(each)]


@pytest.mark.parametrize("shape", WITH_NETWORK)
def test_each_app_goes_out_by_a_subnet_of_its_own_and_by_the_one_address(shape: str) -> None:
    (nat,) = snapshot(shape).of(f"{NETWORK}natGateways")
    used = [app.properties["virtualNetworkSubnetId"] for app in snapshot(shape).of("Microsoft.Web/sites")]
    subnets = {each.id: each for each in _subnets(shape).values()}
    assert len(set(used)) == 2
    for each in used:
        properties = subnets[each].properties
        assert [it["properties"]["serviceName"] for it in properties["delegations"]] == ["Microsoft.App/environments"]
        assert properties["natGateway"]["id"] == nat.id
        assert "_" not in subnets[each].name.rpartition("/")[2]  # which Flex Consumption does not take
    assert not [name for name, each in _subnets(shape).items() if each.properties["defaultOutboundAccess"]]


@pytest.mark.parametrize("shape", WITH_NETWORK)
def test_nothing_is_opened_towards_the_internet(shape: str) -> None:
    groups = {each.id: each for each in snapshot(shape).of(f"{NETWORK}networkSecurityGroups")}
    for name, subnet in _subnets(shape).items():
        if name == "GatewaySubnet":  # which takes none
            continue
        rules = groups[subnet.properties["networkSecurityGroup"]["id"]].properties["securityRules"]
        assert _decides(rules, "Internet") == "Deny", name
        for rule in rules:
            source = rule["properties"]["sourceAddressPrefix"]
            assert rule["properties"]["access"] == "Deny" or source == "VirtualNetwork"


def _decides(rules: list[dict[str, Any]], source: str) -> str | None:
    """What the first inbound rule that a packet from ``source`` meets says, by the order in which Azure looks."""
    for rule in sorted(rules, key=lambda each: int(each["properties"]["priority"])):
        told = rule["properties"]
        if told["direction"] == "Inbound" and told["sourceAddressPrefix"] in (source, "*"):
            return str(told["access"])
    return None


@pytest.mark.parametrize("shape", PRIVATE)
def test_in_a_private_shape_nothing_answers_on_a_public_address(shape: str) -> None:
    found = [each for kind in DATA_PLANES for each in snapshot(shape).of(kind)]
    assert len(found) == 7  # vault, landing, two host storages, Key Vault, two apps
    for each in found:
        assert each.properties["publicNetworkAccess"] == "Disabled", each.name
        if "networkAcls" in each.properties:
            assert each.properties["networkAcls"] | {"ipRules": [], "virtualNetworkRules": []} == {
                "bypass": "None",
                "defaultAction": "Deny",
                "ipRules": [],
                "virtualNetworkRules": [],
            }


@pytest.mark.parametrize("shape", PRIVATE)
def test_whatever_is_private_is_reached_by_an_endpoint_under_its_usual_name(shape: str) -> None:
    resources = snapshot(shape)
    reached = {_target(each): each for each in resources.of(ENDPOINT)}
    for kind, groups in {
        "Microsoft.Storage/storageAccounts": ("blob",),
        "Microsoft.KeyVault/vaults": ("vault",),
        "Microsoft.Web/sites": ("sites",),
    }.items():
        for each in resources.of(kind):
            assert {(each.id, group) for group in groups} <= reached.keys(), each.name
    (network,) = resources.of(f"{NETWORK}virtualNetworks")
    (private,) = [each for name, each in _subnets(shape).items() if name == "private-endpoints"]
    zones = {each.id: each.name for each in resources.of(f"{NETWORK}privateDnsZones")}
    links = [
        each.name
        for each in resources.of(f"{NETWORK}privateDnsZones/virtualNetworkLinks")
        if each.properties["virtualNetwork"]["id"] == network.id
    ]
    names = {each.id.rpartition("/privateDnsZoneGroups/")[0]: each for each in _zone_groups(resources)}
    for (_, group), endpoint in reached.items():
        assert endpoint.properties["subnet"]["id"] == private.id
        (config,) = names[endpoint.id].properties["privateDnsZoneConfigs"]
        zone = config["properties"]["privateDnsZoneId"]
        assert [each for each in links if zones[zone].strip("[]") in each], "the network knows the zone"
        assert {"vault": "vaultcore", "sites": "azurewebsites"}.get(group, group) in zones[zone]
    assert len(zones) == len({group for _, group in reached})


@pytest.mark.parametrize("shape", PRIVATE)
def test_the_rules_of_the_endpoints_subnet_hold_for_endpoints(shape: str) -> None:
    """Azure leaves them out for private endpoints unless it is told."""
    assert _subnets(shape)["private-endpoints"].properties["privateEndpointNetworkPolicies"] == "Enabled"


def _zone_groups(resources: Snapshot) -> list[Resource]:
    return resources.of(f"{ENDPOINT}/privateDnsZoneGroups")


def _target(endpoint: Resource) -> tuple[str, str]:
    (connection,) = endpoint.properties["privateLinkServiceConnections"]
    (group,) = connection["properties"]["groupIds"]
    return connection["properties"]["privateLinkServiceId"], group


def test_the_history_of_the_backup_app_is_reached_privately_too() -> None:
    """Queues and tables of its host storage; the keeper keeps none."""
    for shape in PRIVATE:
        (app,) = [each for each in snapshot(shape).of("Microsoft.Web/sites") if "backup" in each.name]
        account = app.name.rpartition("-")[2]
        groups = {group for target, group in map(_target, snapshot(shape).of(ENDPOINT)) if f"stlbb{account}" in target}
        assert groups == {"blob", "queue", "table"}


def test_the_hub_is_peered_and_its_gateway_used() -> None:
    (peering,) = snapshot("private-network").of(f"{NETWORK}virtualNetworks/virtualNetworkPeerings")
    assert peering.properties["remoteVirtualNetwork"]["id"].endswith("/vnet-hub")
    assert peering.properties["useRemoteGateways"] is True
    (network,) = snapshot("private-network").of(f"{NETWORK}virtualNetworks")
    assert network.properties["dhcpOptions"]["dnsServers"] == ["10.0.0.4", "10.0.0.5"]


def test_the_gateway_leads_to_the_stamp_and_no_template_knows_its_key() -> None:
    resources = snapshot("everything")
    (gateway,) = resources.of(f"{NETWORK}virtualNetworkGateways")
    (stamp,) = resources.of(f"{NETWORK}localNetworkGateways")
    (connection,) = resources.of(f"{NETWORK}connections")
    assert connection.properties["virtualNetworkGateway1"]["id"] == gateway.id
    assert connection.properties["localNetworkGateway2"]["id"] == stamp.id
    assert stamp.properties["localNetworkAddressSpace"]["addressPrefixes"] == ["10.20.0.0/16"]
    assert "sharedKey" not in connection.properties
    (address,) = [each for each in resources.of(f"{NETWORK}publicIPAddresses") if each.name.endswith("-gateway")]
    assert gateway.properties["ipConfigurations"][0]["properties"]["publicIPAddress"]["id"] == address.id


def test_a_network_is_changed_by_one_thing_at_a_time() -> None:
    """Or Azure refuses the second. Whoever waits for what is not made waits for nothing."""
    children = {
        name: each
        for name, each in build(INFRA / "modules" / "network.bicep")["resources"].items()
        if each["type"].startswith(f"{NETWORK}virtualNetworks/")
    }
    optional = sorted(name for name, each in children.items() if "condition" in each)
    assert len(optional) == 3
    for absent in itertools.chain.from_iterable(itertools.combinations(optional, count) for count in range(4)):
        there = {name: each for name, each in children.items() if name not in absent}
        for one, other in itertools.combinations(there, 2):
            waits = other in _waits_for(there, one) or one in _waits_for(there, other)
            assert waits, f"{one} and {other}, without {absent}"


def _waits_for(resources: dict[str, Any], name: str) -> set[str]:
    found: set[str] = set()
    for each in set(resources[name].get("dependsOn", ())) & resources.keys():
        found |= {each} | _waits_for(resources, each)
    return found
