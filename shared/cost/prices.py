"""List prices, in one place with their date; an operator who has others puts them into a file.

They are written down from Microsoft's public price pages as they are known, not fetched: no command of Lifeboat asks
anybody but the services that it works with.
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
    """What one of it is: ``GiB and month``, ``10,000``, ``hour`` and the like."""
    amount: float
    """In the currency of the list."""


@dataclass(frozen=True, slots=True)
class PriceList:
    currency: str
    region: str
    date: str
    """ISO 8601: the day on which they were written down."""
    prices: Mapping[str, Price]

    def __getitem__(self, name: str) -> Price:
        return self.prices[name]


_LRS, _ZRS, _GRS, _RAGRS, _GZRS, _RAGZRS = "LRS", "ZRS", "GRS", "RAGRS", "GZRS", "RAGZRS"
_HOT = {_LRS: 0.0196, _ZRS: 0.0245, _GRS: 0.0432, _RAGRS: 0.054, _GZRS: 0.0441, _RAGZRS: 0.0551}
_COOL = {_LRS: 0.01, _ZRS: 0.0125, _GRS: 0.02, _RAGRS: 0.025, _GZRS: 0.0225, _RAGZRS: 0.0281}
_WRITES = {_LRS: 0.054, _ZRS: 0.0675, _GRS: 0.108, _RAGRS: 0.108, _GZRS: 0.1215, _RAGZRS: 0.1215}
REDUNDANCIES = tuple(_HOT)

LIST = PriceList(
    currency="USD",
    region="West Europe",
    date="2026-11-26",
    prices={
        # Azure Blob Storage, block blobs, pay as you go, first 50 TB
        **{f"hot-{kind}": Price("GiB and month", amount) for kind, amount in _HOT.items()},
        **{f"cool-{kind}": Price("GiB and month", amount) for kind, amount in _COOL.items()},
        **{f"writes-{kind}": Price("10,000", amount) for kind, amount in _WRITES.items()},
        "lists": Price("10,000", 0.054),
        "reads": Price("10,000", 0.0043),
        "cool-writes": Price("10,000", 0.1),
        "cool-reading": Price("GiB", 0.01),
        # Azure Functions, Flex Consumption; the free grants are each subscription's, once a month
        "execution": Price("GB-second", 0.000026),
        "execution-free": Price("GB-seconds a month, free", 100_000),
        "always-ready-execution": Price("GB-second", 0.000016),
        "always-ready-baseline": Price("GB-second", 0.000004),
        # Key Vault, standard
        "secret-operations": Price("10,000", 0.03),
        # Azure Monitor: analytics logs, pay as you go; alerts
        "log-ingestion": Price("GiB", 2.99),
        "log-ingestion-free": Price("GiB a month, free", 5),
        "log-retention": Price("GiB and month beyond 31 days", 0.13),
        "log-alert": Price("rule and month, every 15 minutes", 0.5),
        "metric-alert": Price("series and month", 0.1),
        # Network
        "public-address": Price("hour", 0.005),
        "nat-gateway": Price("hour", 0.045),
        "nat-traffic": Price("GiB", 0.045),
        "private-endpoint": Price("hour", 0.01),
        "private-endpoint-traffic": Price("GiB", 0.01),
        "private-zone": Price("zone and month", 0.5),
        "vpn-gateway": Price("hour", 0.19),
        "egress": Price("GiB", 0.087),
        "egress-free": Price("GiB a month, free", 100),
    },
)
"""From memory of Microsoft's pages "Azure Blob Storage pricing", "Azure Functions pricing", "Key Vault pricing", "Azure
Monitor pricing", "Virtual Network pricing", "Azure Private Link pricing", "VPN Gateway pricing", "Bandwidth pricing",
without tax and discounts: good for the order of magnitude. Only the price of an execution was found again."""


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
        prices[name] = Price(prices[name].unit, float(amount))
    return PriceList(prices=prices, **texts)


_FORM = 'Write {"currency": "EUR", "date": "2026-11-26", "prices": {"hot-ZRS": 0.023}}; what is left out stays.'
