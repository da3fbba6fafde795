"""What ``cost`` counts as standing there is what the templates would deploy."""

from __future__ import annotations

import pytest

from infra.hooks import templates
from shared.cost.estimate import SERIES_OF_A_METRIC_ALERT, SOFT_DELETION_DAYS
from shared.cost.shapes import SHAPES as FIXED
from tests.infra.bicep import SHAPES, snapshot

KINDS = {
    "nat_gateways": "Microsoft.Network/natGateways",
    "public_addresses": "Microsoft.Network/publicIPAddresses",
    "private_endpoints": "Microsoft.Network/privateEndpoints",
    "private_zones": "Microsoft.Network/privateDnsZones",
    "vpn_gateways": "Microsoft.Network/virtualNetworkGateways",
    "log_alerts": "Microsoft.Insights/scheduledQueryRules",
    "metric_alerts": "Microsoft.Insights/metricAlerts",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_fixed_parts_of_a_shape_are_those_of_its_snapshot(shape: str) -> None:
    resources, fixed, chosen = snapshot(shape), FIXED[shape], templates.shapes()[shape]
    for name, kind in KINDS.items():
        assert getattr(fixed, name) == len(resources.of(kind)), name
    assert f"Standard_{fixed.redundancy}" == chosen["vaultSku"]
    landing = f"Standard_{fixed.landing}" if fixed.landing else None
    assert landing == (chosen["landingSku"] if chosen.has("landing") else None)
    assert fixed.peered is bool(resources.of("Microsoft.Network/virtualNetworks/virtualNetworkPeerings"))
    assert fixed.memory_gb * 1024 == int(chosen["instanceMemoryMB"])
    assert fixed.always_ready is chosen.has("alwaysReady")
    assert (fixed.log_days, fixed.tier_after_days) == (int(chosen["logDays"]), int(chosen["tierAfterDays"]))
    assert dict(fixed.settings) == dict(chosen.settings)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_stands_there_is_of_the_kind_that_has_the_price(shape: str) -> None:
    resources = snapshot(shape)
    often = {each.properties["evaluationFrequency"] for each in resources.of(KINDS["log_alerts"])}
    assert often <= {"PT15M", "PT30M", "PT1H"}  # more often is dearer
    assert {each.properties["sku"]["name"] for each in resources.of(KINDS["vpn_gateways"])} <= {"VpnGw1AZ"}
    for alert in resources.of(KINDS["metric_alerts"]):
        (criterion,) = alert.properties["criteria"]["allOf"]
        assert [len(each["values"]) for each in criterion["dimensions"]] == [SERIES_OF_A_METRIC_ALERT]


def test_no_shape_is_missing() -> None:
    assert set(FIXED) == set(SHAPES)


def test_soft_deletion_lasts_as_long_as_it_is_paid_for() -> None:
    (service,) = [
        each for each in snapshot("plain").of("Microsoft.Storage/storageAccounts/blobServices") if "stlbv" in each.id
    ]
    assert service.properties["deleteRetentionPolicy"]["days"] == SOFT_DELETION_DAYS
