"""What a month costs, in a steady state: when as many points are kept as retention keeps.

The model in one paragraph. Each day makes a point. Between two kept points so many days apart, the part of the share
that changed is stored once more; what retention drops waits (``PRUNE_WAIT``, ``UNDELETE_FOR``, soft deletion) and is
paid for that long. Databases are a full backup in each kept point (mode ``url``), or the pages that changed (mode
``disk``, which deduplicates). Packs are of 16 MiB, each one write; all of it is read back within ``VERIFY_WITHIN`` and
gets its date put off every half ``PROTECT_FOR``. Functions are paid by the second in which they run. Sizes are binary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from shared.cost.prices import PriceList
from shared.cost.shapes import FixedParts
from shared.repository.packs import DATA_PACK_BYTES
from shared.settings import KeepingSettings

GIB = float(1 << 30)
MONTH_DAYS = 30
MONTH_HOURS = 730
DAY_SECONDS = 86_400
MONTH_SECONDS = MONTH_HOURS * 3600
LIST_PAGE = 5_000
"""Names in one answer of List Blobs."""

SOFT_DELETION_DAYS = 14
"""Of the vault, in infra/modules/vault.bicep."""
READ_BYTES_PER_SECOND = 40e6
LOOK_FILES_PER_SECOND = 5_000
BACK_UP_BYTES_PER_SECOND = 100e6
VERIFY_BYTES_PER_SECOND = 60e6
WATCHDOG_SECONDS = 20
KEEPER_SECONDS = 240
SMALL_BLOBS_PER_DAY = 40
LOG_BYTES_PER_DAY = 30e6
SECRET_OPERATIONS_PER_DAY = 400
KEEPER_MEMORY_GB = 2


@dataclass(frozen=True, slots=True)
class Site:
    """What is backed up."""

    share_bytes: float
    files: int
    changed_per_day: float
    """Fraction of the share's bytes that is other on the next day."""
    share_ratio: float
    """Bytes stored for one read: deduplication and compression."""
    databases_bytes: float
    databases_changed_per_day: float
    databases_ratio: float
    """Bytes stored for one of the database: compression."""


@dataclass(frozen=True, slots=True)
class Ways:
    """What the settings say that it is done like."""

    keeping: KeepingSettings
    disk: bool
    """Databases go into the repository, deduplicated."""
    own_log_chain: bool
    full_every_seconds: int
    verify_within_seconds: int


@dataclass(frozen=True, slots=True)
class Item:
    item: str
    amount: float
    unit: str
    price: float
    """Of one unit."""
    per: float
    """How many of the amount make a unit: 10,000 operations, or 1."""
    why: str

    @property
    def cost(self) -> float:
        return self.amount / self.per * self.price


@dataclass(frozen=True, slots=True)
class Estimate:
    items: list[Item]
    stored_bytes: float
    restore_cost: float
    """Of bringing all of it back once, out of Azure."""
    assumptions: list[str]

    @property
    def month(self) -> float:
        return sum(each.cost for each in self.items)


def kept_ages(keeping: KeepingSettings) -> list[int]:
    """How old the kept points are, in days, where each day makes one."""
    ages = {*range(max(keeping.last, keeping.daily, -(-keeping.within_seconds // DAY_SECONDS)))}
    for step, count in ((7, keeping.weekly), (30, keeping.monthly), (365, keeping.yearly)):
        ages |= {step * each for each in range(count)}
    return sorted(ages)


def _copies(ages: list[int], changed_per_day: float) -> float:
    """How often the data is stored over all kept points: once, and what changed between each two of them."""
    gaps = [later - earlier for earlier, later in pairwise(ages)]
    return 1 + sum(1 - (1 - changed_per_day) ** gap for gap in gaps)


def estimate(site: Site, ways: Ways, shape: FixedParts, redundancy: str, prices: PriceList) -> Estimate:
    """A month of ``shape``; ``redundancy`` of the vault may be another than the shape's."""
    keeping = ways.keeping
    ages = kept_ages(keeping)
    waiting_days = (keeping.wait_seconds + keeping.undelete_for_seconds) / DAY_SECONDS + SOFT_DELETION_DAYS
    share_day = site.share_bytes * site.changed_per_day * site.share_ratio
    share = site.share_bytes * site.share_ratio * _copies(ages, site.changed_per_day)
    databases_day, databases = _databases(site, ways, ages)
    dropped = (share_day + databases_day) * waiting_days
    stored = share + databases + dropped
    packs_day = (share_day + (databases_day if ways.disk else 0)) / DATA_PACK_BYTES
    blobs = stored / DATA_PACK_BYTES + SMALL_BLOBS_PER_DAY * len(ages)
    dates = 2 * MONTH_SECONDS / keeping.protect_for_seconds if keeping.protect_for_seconds else 0
    writes = (packs_day + SMALL_BLOBS_PER_DAY) * MONTH_DAYS + blobs * dates
    read_back = stored * MONTH_DAYS * DAY_SECONDS / ways.verify_within_seconds
    read = site.share_bytes * site.changed_per_day + _read_of_databases(site, ways)
    items = [
        *_storage(shape, redundancy, stored, share + databases, ages, prices),
        _operations("writes, and dates put off", writes, f"writes-{redundancy}", prices, "a pack is one write"),
        _operations(
            "reads", read_back / DATA_PACK_BYTES * 2 + 3_000 * MONTH_DAYS, "reads", prices, "all of it is read back"
        ),
        _operations(
            "lists",
            (10 + 24 * 3 + blobs / LIST_PAGE * 6) * MONTH_DAYS,
            "lists",
            prices,
            "each run, and the watchdog each hour",
        ),
        *_functions(site, ways, shape, read_back / MONTH_DAYS, prices),
        _operations(
            "Key Vault",
            SECRET_OPERATIONS_PER_DAY * MONTH_DAYS,
            "secret-operations",
            prices,
            "passwords are read by each run",
        ),
        *_monitor(shape, prices),
        *_network(shape, read * MONTH_DAYS, read_back, prices),
    ]
    out = max(0.0, (site.share_bytes * site.share_ratio + databases / max(1, len(ages))) / GIB)
    restore = max(0.0, out - prices["egress-free"].amount) * prices["egress"].amount
    return Estimate([each for each in items if each.amount], stored, restore, _assumptions(site, ages, waiting_days))


def _databases(site: Site, ways: Ways, ages: list[int]) -> tuple[float, float]:
    """Bytes that a day adds, and that are kept."""
    full = site.databases_bytes * site.databases_ratio
    changed = full * site.databases_changed_per_day
    if ways.disk:
        return changed, full * _copies(ages, site.databases_changed_per_day)
    if not ways.own_log_chain:
        return full, full * len(ages)
    period = max(1.0, ways.full_every_seconds / DAY_SECONDS)
    fulls = len({int(age // period) for age in ages})
    differentials = sum(min(1.0, site.databases_changed_per_day * (age % period)) for age in ages)
    return full / period + changed, full * (fulls + differentials) + changed * len(ages)


def _read_of_databases(site: Site, ways: Ways) -> float:
    """Bytes that pass through the app in a day: in mode ``url`` SQL Server writes into Azure itself."""
    if not ways.disk:
        return 0
    if not ways.own_log_chain:
        return site.databases_bytes
    return site.databases_bytes * (DAY_SECONDS / ways.full_every_seconds + site.databases_changed_per_day)


def _storage(
    shape: FixedParts, redundancy: str, stored: float, kept: float, ages: list[int], prices: PriceList
) -> Iterator[Item]:
    cool = 0.0
    if shape.tier_after_days and ages and ages[-1] > shape.tier_after_days:
        cool = kept * (1 - shape.tier_after_days / ages[-1])
    yield _item("kept in the vault", (stored - cool) / GIB, f"hot-{redundancy}", prices, "points, and what still waits")
    yield _item("kept in the cool tier", cool / GIB, f"cool-{redundancy}", prices, "older than the lifecycle asks for")
    yield _item("read back from the cool tier", cool / GIB, "cool-reading", prices, "verification reads all of it")


def _functions(site: Site, ways: Ways, shape: FixedParts, verified_day: float, prices: PriceList) -> Iterator[Item]:
    run = (
        site.share_bytes * site.changed_per_day / READ_BYTES_PER_SECOND
        + site.files / LOOK_FILES_PER_SECOND
        + site.databases_bytes / BACK_UP_BYTES_PER_SECOND
        + _read_of_databases(site, ways) / READ_BYTES_PER_SECOND
    )
    day = run + verified_day / VERIFY_BYTES_PER_SECOND + 24 * WATCHDOG_SECONDS
    backup = day * MONTH_DAYS * shape.memory_gb
    keeper = KEEPER_SECONDS * MONTH_DAYS * KEEPER_MEMORY_GB
    on_demand = keeper if shape.always_ready else backup + keeper
    free = prices["execution-free"].amount
    yield _item(
        "functions, by the second", max(0.0, on_demand - free), "execution", prices, f"beyond {free:,.0f} that are free"
    )
    if shape.always_ready:
        yield _item("functions, always ready", backup, "always-ready-execution", prices, "the instance that is kept")
        yield _item(
            "an instance that is kept running",
            MONTH_SECONDS * shape.memory_gb,
            "always-ready-baseline",
            prices,
            "whether it works or not",
        )


def _monitor(shape: FixedParts, prices: PriceList) -> Iterator[Item]:
    logs = LOG_BYTES_PER_DAY * MONTH_DAYS / GIB
    free = prices["log-ingestion-free"].amount
    yield _item(
        "logs taken in", max(0.0, logs - free), "log-ingestion", prices, f"beyond {free:,.0f} GiB that are free"
    )
    kept = LOG_BYTES_PER_DAY * max(0, shape.log_days - 90) / GIB
    yield _item("logs kept", kept, "log-retention", prices, "most of these tables are free for 90 days")
    yield _item("alerts on logs", shape.log_alerts, "log-alert", prices, "one for each rule")
    yield _item("alerts on metrics", shape.metric_alerts * 5, "metric-alert", prices, "five kinds of throttling each")


def _network(shape: FixedParts, read: float, vault_traffic: float, prices: PriceList) -> Iterator[Item]:
    hours = MONTH_HOURS
    yield _item("NAT gateway", shape.nat_gateways * hours, "nat-gateway", prices, "one fixed address to the stamp")
    yield _item("public addresses", shape.public_addresses * hours, "public-address", prices, "of the gateways")
    if shape.nat_gateways:
        yield _item("through the NAT gateway", read / GIB, "nat-traffic", prices, "what is read from the stamp")
    yield _item(
        "private endpoints", shape.private_endpoints * hours, "private-endpoint", prices, "one for each service"
    )
    if shape.private_endpoints:
        yield _item(
            "through private endpoints", (read + vault_traffic) / GIB, "private-endpoint-traffic", prices, "in and out"
        )
    yield _item("private DNS zones", shape.private_zones, "private-zone", prices, "names that lead to the endpoints")
    yield _item("VPN gateway", shape.vpn_gateways * hours, "vpn-gateway", prices, "to the device before the stamp")


def _item(item: str, amount: float, price: str, prices: PriceList, why: str) -> Item:
    return Item(item, amount, prices[price].unit, prices[price].amount, 1, why)


def _operations(item: str, count: float, price: str, prices: PriceList, why: str) -> Item:
    return Item(item, count, prices[price].unit, prices[price].amount, 10_000, why)


def _assumptions(site: Site, ages: list[int], waiting_days: float) -> list[str]:
    return [
        f"one point a day; {len(ages)} are kept, the oldest {ages[-1]} days old",
        f"{site.changed_per_day:.1%} of the share, {site.databases_changed_per_day:.1%} of databases change in a day",
        f"{site.share_ratio:.2f} bytes are stored for one of the share, {site.databases_ratio:.2f} of the databases",
        f"what is dropped is paid for {waiting_days:.0f} days more: PRUNE_WAIT, UNDELETE_FOR and soft deletion",
        f"read at {READ_BYTES_PER_SECOND / 1e6:.0f} MB/s, verified at {VERIFY_BYTES_PER_SECOND / 1e6:.0f} MB/s, "
        f"{LOOK_FILES_PER_SECOND:,} files looked at a second",
        f"{LOG_BYTES_PER_DAY / 1e6:.0f} MB of logs a day",
        "left out: landing and host storage, seldom more than a coin; tax, discounts, and the line to the stamp",
    ]
