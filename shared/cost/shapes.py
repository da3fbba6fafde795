"""What of each shape in ``infra/`` costs something even where nothing is backed up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class FixedParts:
    """Counted in what the templates would deploy: tests/infra/test_cost.py holds them together."""

    redundancy: str
    """Of the vault."""
    landing: str | None
    """Redundancy of the landing account. None: there is none."""
    memory_gb: float
    """Of an instance of the backup app."""
    always_ready: bool
    nat_gateways: int
    public_addresses: int
    private_endpoints: int
    private_zones: int
    vpn_gateways: int
    peered: bool
    """The stamp is reached by way of a hub network."""
    log_alerts: int
    metric_alerts: int
    log_days: int
    tier_after_days: int
    """0: everything stays in the hot tier."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Those that the shape stands for, without their prefix."""


_PLAIN = FixedParts(
    redundancy="ZRS",
    landing="LRS",
    memory_gb=2,
    always_ready=False,
    nat_gateways=1,
    public_addresses=1,
    private_endpoints=0,
    private_zones=0,
    vpn_gateways=0,
    peered=False,
    log_alerts=25,
    metric_alerts=2,
    log_days=90,
    tier_after_days=0,
)

_LONG = {"PROTECT_FOR": "35d", "UNDELETE_FOR": "60d"}

SHAPES: Mapping[str, FixedParts] = {
    "plain": _PLAIN,
    "private-network": replace(_PLAIN, peered=True, private_endpoints=9, private_zones=5),
    "locked-immutability": replace(_PLAIN, settings=_LONG),
    "disk-log-chain": replace(
        _PLAIN,
        landing=None,
        metric_alerts=1,
        settings={
            "SQL_MODE": "disk",
            "SQL_OWN_LOG_CHAIN": "true",
            "SCHEDULE_LOGS": "0 */15 * * * *",
            "RPO_DATABASES": "2h",
        },
    ),
    "smallest": replace(
        _PLAIN, redundancy="LRS", nat_gateways=0, public_addresses=0, log_days=30, settings={"PROTECT_FOR": "0s"}
    ),
    "everything": replace(
        _PLAIN,
        redundancy="GZRS",
        landing="ZRS",
        memory_gb=4,
        always_ready=True,
        public_addresses=2,
        private_endpoints=9,
        private_zones=5,
        vpn_gateways=1,
        log_days=365,
        tier_after_days=90,
        settings={**_LONG, "SQL_OWN_LOG_CHAIN": "true"},
    ),
}
