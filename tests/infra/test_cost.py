"""What ``cost`` counts as standing there is what the templates would deploy."""

from __future__ import annotations

import pytest

from infra.hooks import templates
from shared.cost.estimate import SOFT_DELETION_DAYS
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
    assert fixed.memory_gb * 1024 == int(chosen["instanceMemoryMB"])
    assert fixed.always_ready is chosen.has("alwaysReady")
    assert (fixed.log_days, fixed.tier_after_days) == (int(chosen["logDays"]), int(chosen["tierAfterDays"]))
    assert dict(fixed.settings) == dict(chosen.settings)


def test_no_shape_is_missing() -> None:
    assert set(FIXED) == set(SHAPES)


def test_soft_deletion_lasts_as_long_as_it_is_paid_for() -> None:
    (service,) = [
        each for each in snapshot("plain").of("Microsoft.Storage/storageAccounts/blobServices") if "stlbv" in each.id
    ]
    assert service.properties["deleteRetentionPolicy"]["days"] == SOFT_DELETION_DAYS
