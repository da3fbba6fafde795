"""List prices, in one place with their date; an operator who has others puts them into a file.

They are written down, not fetched: no command of Lifeboat asks anybody but the services that it works with.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shared.errors import UsageError

LARGEST_FILE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Price:
    unit: str
    """What one of it is: ``GiB and month``, ``10,000 operations``, ``hour`` and the like."""
    amount: float
    """In the currency of the list; of a ``..._free`` one, how much of it costs nothing each month."""
    source: str
    """Service and meter, as Azure's Retail Prices API and a bill name them; or the page, where it is from memory."""


@dataclass(frozen=True, slots=True)
class PriceList:
    currency: str
    region: str
    date: str
    """ISO 8601: the day on which they were in force."""
    prices: Mapping[str, Price]

    def __getitem__(self, name: str) -> Price:
        return self.prices[name]


_LRS, _ZRS, _GRS, _RAGRS, _GZRS, _RAGZRS = "LRS", "ZRS", "GRS", "RAGRS", "GZRS", "RAGZRS"
_HOT = {_LRS: 0.0196, _ZRS: 0.024, _GRS: 0.0392, _RAGRS: 0.049, _GZRS: 0.046, _RAGZRS: 0.0575}
_COOL = {_LRS: 0.01, _ZRS: 0.0131, _GRS: 0.02, _RAGRS: 0.025, _GZRS: 0.0231, _RAGZRS: 0.028875}
_WRITES = {_LRS: 0.054, _ZRS: 0.0675, _GRS: 0.108, _RAGRS: 0.108, _GZRS: 0.1175, _RAGZRS: 0.1175}
_LISTS = {_LRS: 0.054, _ZRS: 0.0675, _GRS: 0.108, _RAGRS: 0.108, _GZRS: 0.1175, _RAGZRS: 0.06786}
REDUNDANCIES = tuple(_HOT)
ACROSS_REGIONS = (_GRS, _RAGRS, _GZRS, _RAGZRS)

_BLOBS = "General Block Blob v2"
_FLEX = "Functions, Flex Consumption"
_MEMORY = "page {!r}, from memory"
_PRIVATE_LINK = _MEMORY.format("Azure Private Link pricing")
_BANDWIDTH = _MEMORY.format("Bandwidth pricing")
_NAT = _MEMORY.format("Azure NAT Gateway pricing")

LIST = PriceList(
    currency="USD",
    region="West Europe",
    date="2026-08-15",
    prices={
        **{f"hot-{kind}": Price("GiB and month", price, f"{_BLOBS}: Hot Data Stored") for kind, price in _HOT.items()},
        **{
            f"cool-{kind}": Price("GiB and month", price, f"{_BLOBS}: Cool Data Stored")
            for kind, price in _COOL.items()
        },
        **{
            f"writes-{kind}": Price("10,000 operations", price, f"{_BLOBS}: Hot Write Operations")
            for kind, price in _WRITES.items()
        },
        **{
            f"lists-{kind}": Price("10,000 operations", price, f"{_BLOBS}: List and Create Container Operations")
            for kind, price in _LISTS.items()
        },
        "reads": Price("10,000 operations", 0.0043, f"{_BLOBS}: Hot Read Operations"),
        "other-operations": Price("10,000 operations", 0.0043, f"{_BLOBS}: All Other Operations"),
        "cool-reading": Price("GiB", 0.01, f"{_BLOBS}: Cool Data Retrieval"),
        "geo-replication": Price("GiB", 0.02, "Storage Bandwidth: Geo-Replication v2 Data Transfer"),
        "execution": Price("GB-second", 0.000026, f"{_FLEX}: On Demand Execution Time"),
        "execution-free": Price("GB-second", 100_000, f"{_FLEX}: On Demand Execution Time"),
        "executions": Price("million executions", 0.4, f"{_FLEX}: Total Executions"),
        "executions-free": Price("million executions", 0.25, f"{_FLEX}: On Demand Total Executions"),
        "always-ready-execution": Price("GB-second", 0.000016, f"{_FLEX}: Always Ready Execution Time"),
        "always-ready-baseline": Price("GB-second", 0.000004, f"{_FLEX}: Always Ready Baseline"),
        "secret-operations": Price("10,000 operations", 0.03, "Key Vault: Operations"),
        "log-ingestion": Price("GiB", 2.99, "Log Analytics: Analytics Logs Data Ingestion"),
        "log-ingestion-free": Price("GiB", 5, "Log Analytics: Analytics Logs Data Ingestion"),
        "log-retention": Price("GiB and month", 0.13, "Log Analytics: Analytics Logs Data Retention"),
        "log-alert": Price("rule and month", 0.5, "Azure Monitor: Alerts System Log Monitored at 15 Minute Frequency"),
        "metric-alert": Price("series and month", 0.1, "Azure Monitor: Alerts Metric Monitored"),
        "metric-alert-free": Price("series and month", 10, "Azure Monitor: Alerts Metric Monitored"),
        "public-address": Price("hour", 0.005, "IP Addresses: Standard IPv4 Static Public IP"),
        "vpn-gateway": Price("hour", 0.21, "VPN Gateway: VpnGw1AZ"),
        "nat-gateway": Price("hour", 0.045, _NAT),
        "nat-traffic": Price("GiB", 0.045, _NAT),
        "private-endpoint": Price("hour", 0.01, _PRIVATE_LINK),
        "private-endpoint-traffic": Price("GiB", 0.01, _PRIVATE_LINK),
        "private-zone": Price("zone and month", 0.5, _MEMORY.format("Azure DNS pricing")),
        "peering-traffic": Price("GiB", 0.01, _MEMORY.format("Virtual Network pricing")),
        "egress": Price("GiB", 0.087, _BANDWIDTH),
        "egress-free": Price("GiB", 100, _BANDWIDTH),
    },
)
"""What names a meter is as Azure's Retail Prices API answered on that day (in a public copy of its answers). Without
tax, discounts and what is cheaper by the hundred TB. What is free is each subscription's, or workspace's, once a
month."""


def load_prices(file: Path | None) -> PriceList:
    """``LIST``, with what ``file`` says in the place of its own: ``{"currency", "region", "date", "prices": {NAME:
    NUMBER}}``, each of them optional. ``UsageError``: it cannot be read, or names a price that there is not."""
    if file is None:
        return LIST
    try:
        if file.stat().st_size > LARGEST_FILE_BYTES:
            raise UsageError(f"{file} is larger than a list of prices", remedy="Name a JSON file with prices.")
        told = json.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise UsageError(f"{file} is no list of prices: {error}", remedy=_FORM) from error
    if not isinstance(told, dict) or not isinstance(told.get("prices", {}), dict):
        raise UsageError(f"{file} is no list of prices: it is no object with an object 'prices'", remedy=_FORM)
    if strange := told.keys() - {"currency", "region", "date", "prices"}:
        raise UsageError(f"{file} is no list of prices: {min(strange)!r} is none of its names", remedy=_FORM)
    texts = {}
    for name in ("currency", "region", "date"):
        texts[name] = told.get(name, getattr(LIST, name))
        if not isinstance(texts[name], str):
            raise UsageError(f"{file}: {name} is no text", remedy=_FORM)
    prices = dict(LIST.prices)
    for name, amount in told.get("prices", {}).items():
        if name not in prices:
            raise UsageError(f"{file}: there is no price {name!r}", remedy=f"Names are: {', '.join(prices)}.")
        number = isinstance(amount, int | float) and not isinstance(amount, bool)
        if not number or not math.isfinite(amount) or amount < 0:
            raise UsageError(f"{file}: the price {name!r} is {amount!r}, which is none", remedy="Write a number.")
        prices[name] = Price(prices[name].unit, float(amount), str(file))
    return PriceList(prices=prices, **texts)


_FORM = 'Write {"currency": "EUR", "date": "2026-11-26", "prices": {"hot-ZRS": 0.023}}; what is left out stays.'
