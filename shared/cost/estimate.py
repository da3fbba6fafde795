"""What a month costs, in a steady state: when as many points are kept as retention keeps, and what it drops in a day
is what a day adds.

The model in one paragraph. Each day makes a point. Between two kept points so many days apart, the part of the share
that changed is stored once more; what retention drops is paid for until its date is over, ``prune`` has come by and
nobody can bring it back any more. Databases are a full backup in each kept point (mode ``url``, ``adopt``), or the
chunks whose pages changed (mode ``disk``). Packs are of 16 MiB, each one write; all of it is read back within
``VERIFY_WITHIN`` and has its date put off every half ``PROTECT_FOR``. Functions are paid by the second in which they
run; what leaves Azure is what SQL Server reads back, to verify its backups and in drills. Sizes are binary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from shared.cost.prices import ACROSS_REGIONS, Price, PriceList
from shared.cost.shapes import FixedParts
from shared.repository.chunker import AVERAGE_CHUNK_BYTES
from shared.repository.packs import DATA_PACK_BYTES
from shared.settings import KeepingSettings

GIB = float(1 << 30)
MONTH_DAYS = 30
MONTH_HOURS = 730
MONTH_SECONDS = MONTH_HOURS * 3600
DAY_SECONDS = 86_400
LIST_PAGE = 5_000
"""Names in one answer of List Blobs."""
READ_PIECE_BYTES = 8 << 20
"""Of what verification reads at once."""
TRANSFER_BYTES = 4 << 20
"""What SQL Server writes into the landing account by one request, and reads back: MAXTRANSFERSIZE."""
PAGES_IN_A_CHUNK = AVERAGE_CHUNK_BYTES // 8192
"""One changed page of a database stores its whole chunk once more. With it a week of daily fulls comes to what
tests/benchmarks/databases.py measures."""

SOFT_DELETION_DAYS = 14
"""Of the vault, in infra/modules/vault.bicep."""
SERIES_OF_A_METRIC_ALERT = 5
"""Kinds of throttling, in infra/modules/throttling.bicep."""
PRUNE_EVERY_DAYS = 7
READ_BYTES_PER_SECOND = 40e6
LOOK_FILES_PER_SECOND = 5_000
BACK_UP_BYTES_PER_SECOND = 100e6
VERIFY_BYTES_PER_SECOND = 60e6
WATCHDOG_SECONDS = 20
KEEPER_SECONDS = 240
KEEPER_MEMORY_GB = 2
EXECUTIONS_PER_DAY = 1_000
SMALL_BLOBS_PER_DAY = 40
SMALL_READS_PER_DAY = 3_000
LISTS_PER_DAY = 10 + 24 * 3
WHOLE_LISTINGS_PER_DAY = 6
SECRET_OPERATIONS_PER_DAY = 400
LOG_BYTES_PER_DAY = 30e6
LOG_BYTES_PER_OPERATION = 1_000
"""The vault's writes are logged, and every access to landing."""
LOG_FREE_DAYS = 31


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
    """Fraction of the pages."""
    databases_ratio: float
    """Bytes stored for one of the database: compression."""


@dataclass(frozen=True, slots=True)
class Ways:
    """What the settings say that it is done like."""

    keeping: KeepingSettings
    sql_mode: str
    """``url``, ``disk`` or ``adopt``."""
    own_log_chain: bool
    full_every_seconds: int
    drills_databases: bool
    """Once a week, on a server outside Azure."""
    verify_within_seconds: int


@dataclass(frozen=True, slots=True)
class Item:
    """``amount`` times ``price`` is what it costs in a month."""

    item: str
    amount: float
    unit: str
    price: float
    why: str
    source: str
    """Where the price is from."""

    @property
    def cost(self) -> float:
        return self.amount * self.price


@dataclass(frozen=True, slots=True)
class Estimate:
    items: list[Item]
    stored_bytes: float
    restore_cost: float
    """Of bringing the newest point back once, out of Azure."""
    assumptions: list[str]

    @property
    def month(self) -> float:
        return sum(each.cost for each in self.items)


@dataclass(frozen=True, slots=True)
class _Day:
    """Bytes that move in a day."""

    read: float
    """From the stamp, by the app."""
    landed: float
    """Written by SQL Server into the landing account."""
    read_back: float
    """By SQL Server, out of Azure: RESTORE VERIFYONLY, and drills."""
    stored: float
    """That the vault gains; as much is dropped."""
    verified: float


@dataclass(frozen=True, slots=True)
class _Kept:
    """Bytes in the vault."""

    packs: float
    backups: float
    """Of databases, beside the repository."""
    dropped: float
    """What no point needs, and is still there."""
    cool: float
    """Of packs and backups: in the cool tier."""

    @property
    def needed(self) -> float:
        return self.packs + self.backups


@dataclass(frozen=True, slots=True)
class _Operations:
    """In a month."""

    writes: float
    dates: float
    landed: float
    """Writes of SQL Server into landing; it reads as often, to verify."""


def kept_ages(keeping: KeepingSettings) -> list[int]:
    """How old the kept points are, in days, where each day makes one."""
    ages = {*range(max(keeping.last, keeping.daily, -(-keeping.within_seconds // DAY_SECONDS)))}
    for step, count in ((7, keeping.weekly), (30, keeping.monthly), (365, keeping.yearly)):
        ages |= {step * each for each in range(count)}
    return sorted(ages)


def copies(ages: list[int], changed_per_day: float, units: int = 1) -> float:
    """How often data is stored over points of such ages: once, and what changed between each two of them. ``units``:
    so many pages are stored again when one of them changed. 0 where there are no points."""
    gaps = [later - earlier for earlier, later in pairwise(ages)]
    return (1 if ages else 0) + sum(1 - (1 - changed_per_day) ** (gap * units) for gap in gaps)


def waiting_days(keeping: KeepingSettings) -> float:
    """How long something is paid for after the last point that needed it was dropped: until the ``prune`` after
    its date (of which a quarter is over on average) or ``PRUNE_WAIT`` takes it away, then as a previous version."""
    refused = 0.75 * keeping.protect_for_seconds
    deleted = max(refused, keeping.wait_seconds, PRUNE_EVERY_DAYS * DAY_SECONDS) / DAY_SECONDS + PRUNE_EVERY_DAYS / 2
    return deleted + keeping.undelete_for_seconds / DAY_SECONDS + SOFT_DELETION_DAYS


def estimate(site: Site, ways: Ways, shape: FixedParts, redundancy: str, prices: PriceList) -> Estimate:
    """A month of ``shape``; ``redundancy`` of the vault may be another than the shape's."""
    ages = kept_ages(ways.keeping)
    kept = _kept(site, ways, ages, shape.tier_after_days)
    day = _day(site, ways, kept)
    count = _Operations(
        writes=((day.stored - day.landed) / DATA_PACK_BYTES + SMALL_BLOBS_PER_DAY) * MONTH_DAYS,
        dates=_dates(ways.keeping, kept, ages),
        landed=day.landed * MONTH_DAYS / TRANSFER_BYTES,
    )
    items = [
        *_storage(kept, day, redundancy, ways, prices),
        *_operations(count, day, kept, redundancy, shape.landing or "LRS", prices),
        *_functions(site, day, shape, prices),
        *_monitor(shape, count, prices),
        *_network(shape, day, prices),
    ]
    point = site.share_bytes * site.share_ratio + site.databases_bytes * site.databases_ratio
    out = max(0.0, point / GIB - prices["egress-free"].amount) * prices["egress"].amount
    told = _assumptions(site, ways, shape, ages)
    return Estimate([each for each in items if each.amount], kept.needed + kept.dropped, out, told)


# --- what is stored, and what moves ---


def _kept(site: Site, ways: Ways, ages: list[int], tier_after_days: int) -> _Kept:
    share = site.share_bytes * site.share_ratio
    old = [age for age in ages if tier_after_days and age >= tier_after_days]
    packs = share * copies(ages, site.changed_per_day)
    backups = _backups(site, ways, ages) + _logs(site, ways)
    if ways.sql_mode == "disk":
        packs, backups = packs + backups, 0.0
    day = share * site.changed_per_day + _databases_day(site, ways)
    return _Kept(
        packs=packs * (1 + ways.keeping.max_unused),
        backups=backups,
        dropped=day * waiting_days(ways.keeping),
        cool=share * copies(old, site.changed_per_day) + _backups(site, ways, old),
    )


def _logs(site: Site, ways: Ways) -> float:
    """Of an own chain: for as long as any moment can be reached."""
    if not ways.own_log_chain:
        return 0
    day = site.databases_bytes * site.databases_ratio * site.databases_changed_per_day
    return day * ways.keeping.within_seconds / DAY_SECONDS


def _backups(site: Site, ways: Ways, ages: list[int]) -> float:
    """Of the databases, in points of such ages: fulls, and with an own chain differentials with what they build on."""
    full = site.databases_bytes * site.databases_ratio
    if ways.own_log_chain:
        period = max(1.0, ways.full_every_seconds / DAY_SECONDS)
        fulls = len({int(age // period) for age in ages})
        return full * (fulls + sum(_differential(site, age % period) for age in ages))
    if ways.sql_mode == "disk":
        return full * copies(ages, site.databases_changed_per_day, PAGES_IN_A_CHUNK)
    return full * len(ages)


def _differential(site: Site, days: float) -> float:
    """As a part of a full, so many days after it."""
    return float(1 - (1 - site.databases_changed_per_day) ** days)


def _databases_day(site: Site, ways: Ways) -> float:
    """Bytes of databases that a day adds to the vault."""
    full, changed = site.databases_bytes * site.databases_ratio, site.databases_changed_per_day
    if ways.own_log_chain:
        period = max(1.0, ways.full_every_seconds / DAY_SECONDS)
        return full * (1 / period + _differential(site, period / 2) + changed)
    return full * (1 - (1 - changed) ** PAGES_IN_A_CHUNK) if ways.sql_mode == "disk" else full


def _day(site: Site, ways: Ways, kept: _Kept) -> _Day:
    databases = _databases_day(site, ways)
    full = site.databases_bytes * site.databases_ratio
    by_url = ways.sql_mode == "url"
    through_the_app = 0.0 if by_url else databases
    if ways.sql_mode == "disk":  # as it lies on the disk, uncompressed
        through_the_app = databases / site.databases_ratio if ways.own_log_chain else site.databases_bytes
    drilled = 0.0
    if ways.drills_databases:  # verified, then restored; or written to the folder
        drilled = (2 * full if by_url else site.databases_bytes) / 7
    return _Day(
        read=site.share_bytes * site.changed_per_day + through_the_app,
        landed=databases if by_url else 0.0,
        read_back=(databases if by_url else 0.0) + drilled,
        stored=site.share_bytes * site.share_ratio * site.changed_per_day + databases,
        verified=kept.needed * DAY_SECONDS / ways.verify_within_seconds,
    )


def _dates(keeping: KeepingSettings, kept: _Kept, ages: list[int]) -> float:
    """Dates set in a month: of each blob that is needed, whenever half of it is over."""
    if not keeping.protect_for_seconds:
        return 0
    blobs = kept.packs / DATA_PACK_BYTES + SMALL_BLOBS_PER_DAY * len(ages)
    return blobs * MONTH_SECONDS / (keeping.protect_for_seconds / 2)


# --- what it costs ---


def _storage(kept: _Kept, day: _Day, redundancy: str, ways: Ways, prices: PriceList) -> Iterator[Item]:
    hot = prices[f"hot-{redundancy}"]
    yield _item("kept in the vault", (kept.needed - kept.cool) / GIB, hot, "what recovery points need")
    yield _item("kept in the cool tier", kept.cool / GIB, prices[f"cool-{redundancy}"], "older than the lifecycle says")
    yield _item("dropped, and not gone yet", kept.dropped / GIB, hot, "its date, PRUNE_WAIT, UNDELETE_FOR")
    read = kept.cool / GIB * MONTH_DAYS * DAY_SECONDS / ways.verify_within_seconds
    yield _item("read from the cool tier", read, prices["cool-reading"], "verification reads all of it")
    if redundancy in ACROSS_REGIONS:
        sent = day.stored * MONTH_DAYS / GIB
        yield _item("sent to the other region", sent, prices["geo-replication"], "what is new")


def _operations(
    count: _Operations, day: _Day, kept: _Kept, redundancy: str, landing: str, prices: PriceList
) -> Iterator[Item]:
    blobs = (kept.needed + kept.dropped) / DATA_PACK_BYTES
    reads = (day.verified / READ_PIECE_BYTES + SMALL_READS_PER_DAY) * MONTH_DAYS
    lists = (LISTS_PER_DAY + WHOLE_LISTINGS_PER_DAY * blobs / LIST_PAGE) * MONTH_DAYS
    secrets = SECRET_OPERATIONS_PER_DAY * MONTH_DAYS
    yield _item("blobs written", count.writes / 1e4, prices[f"writes-{redundancy}"], "a pack is one write")
    yield _item("dates put off", count.dates / 1e4, prices["other-operations"], "every half PROTECT_FOR")
    yield _item("blobs read", reads / 1e4, prices["reads"], "all of it within VERIFY_WITHIN")
    yield _item("listings", lists / 1e4, prices[f"lists-{redundancy}"], "each run; the watchdog each hour")
    yield _item("landing", count.landed / 1e4, prices[f"writes-{landing}"], "SQL Server writes 4 MiB at once")
    yield _item("Key Vault", secrets / 1e4, prices["secret-operations"], "passwords are read by each run")


def _functions(site: Site, day: _Day, shape: FixedParts, prices: PriceList) -> Iterator[Item]:
    run = day.read / READ_BYTES_PER_SECOND + site.files / LOOK_FILES_PER_SECOND
    run += site.databases_bytes / BACK_UP_BYTES_PER_SECOND
    seconds = run + day.verified / VERIFY_BYTES_PER_SECOND + 24 * WATCHDOG_SECONDS
    backup = seconds * MONTH_DAYS * shape.memory_gb
    keeper = KEEPER_SECONDS * MONTH_DAYS * KEEPER_MEMORY_GB
    count = EXECUTIONS_PER_DAY * MONTH_DAYS / 1e6
    ready = shape.always_ready
    on_demand = _beyond(keeper if ready else backup + keeper, prices["execution-free"])
    yield _item("functions, by the second", on_demand, prices["execution"], "beyond what is free")
    executions = count if ready else _beyond(count, prices["executions-free"])
    yield _item("functions, by the call", executions, prices["executions"], "beyond what is free")
    if ready:
        yield _item("functions, always ready", backup, prices["always-ready-execution"], "the instance that is kept")
        kept = MONTH_SECONDS * shape.memory_gb
        yield _item("an instance that is kept", kept, prices["always-ready-baseline"], "whether it works or not")


def _monitor(shape: FixedParts, count: _Operations, prices: PriceList) -> Iterator[Item]:
    logged = count.writes + count.dates + 2 * count.landed
    told = (LOG_BYTES_PER_DAY * MONTH_DAYS + LOG_BYTES_PER_OPERATION * logged) / GIB
    yield _item("logs", _beyond(told, prices["log-ingestion-free"]), prices["log-ingestion"], "beyond what is free")
    kept = told / MONTH_DAYS * max(0, shape.log_days - LOG_FREE_DAYS)
    yield _item("logs kept", kept, prices["log-retention"], f"beyond {LOG_FREE_DAYS} days; some tables are free for 90")
    yield _item("alerts on logs", shape.log_alerts, prices["log-alert"], "one for each rule")
    series = _beyond(shape.metric_alerts * SERIES_OF_A_METRIC_ALERT, prices["metric-alert-free"])
    yield _item("alerts on metrics", series, prices["metric-alert"], "beyond what is free")


def _network(shape: FixedParts, day: _Day, prices: PriceList) -> Iterator[Item]:
    hours = MONTH_HOURS
    with_the_stamp = (day.read + day.landed + day.read_back) * MONTH_DAYS / GIB
    by_endpoint = (day.stored + day.landed + day.read_back + day.verified) * MONTH_DAYS / GIB
    yield _item("NAT gateway", shape.nat_gateways * hours, prices["nat-gateway"], "one fixed address to the stamp")
    yield _item("public addresses", shape.public_addresses * hours, prices["public-address"], "of the gateways")
    if shape.peered:
        yield _item("through the hub", 2 * with_the_stamp, prices["peering-traffic"], "counted in both networks")
    elif shape.nat_gateways and not shape.vpn_gateways:
        through = day.read * MONTH_DAYS / GIB
        yield _item("through the NAT gateway", through, prices["nat-traffic"], "what is read from the stamp")
    yield _item(
        "private endpoints", shape.private_endpoints * hours, prices["private-endpoint"], "one for each service"
    )
    if shape.private_endpoints:
        yield _item("through private endpoints", by_endpoint, prices["private-endpoint-traffic"], "in and out")
    yield _item("private DNS zones", shape.private_zones, prices["private-zone"], "names that lead to the endpoints")
    yield _item("VPN gateway", shape.vpn_gateways * hours, prices["vpn-gateway"], "to the device before the stamp")
    out = _beyond(day.read_back * MONTH_DAYS / GIB, prices["egress-free"])
    yield _item("out of Azure", out, prices["egress"], "SQL Server reads its backups back, to verify them")


def _beyond(amount: float, free: Price) -> float:
    return max(0.0, amount - free.amount)


def _item(item: str, amount: float, price: Price, why: str) -> Item:
    return Item(item, amount, price.unit, price.amount, why, price.source)


def _assumptions(site: Site, ways: Ways, shape: FixedParts, ages: list[int]) -> list[str]:
    drills = "one of databases a week, outside Azure" if ways.drills_databases else "none of databases"
    return [
        f"a point a day, in a steady state: {len(ages)} are kept, the oldest {ages[-1]} days old",
        f"{site.changed_per_day:.1%} of the share and {site.databases_changed_per_day:.1%} of the databases' pages, "
        "scattered, change in a day",
        f"{site.share_ratio:.2f} bytes are stored for one of the share, {site.databases_ratio:.2f} for one of the "
        "databases: your first backups tell",
        f"what is dropped is paid for {waiting_days(ways.keeping):.0f} days more: PROTECT_FOR or PRUNE_WAIT, "
        f"the weekly prune, UNDELETE_FOR, {SOFT_DELETION_DAYS} of soft deletion",
        f"functions of {shape.memory_gb:.0f} GB read {READ_BYTES_PER_SECOND / 1e6:.0f} MB/s, look at "
        f"{LOOK_FILES_PER_SECOND:,} files/s, verify {VERIFY_BYTES_PER_SECOND / 1e6:.0f} MB/s, wait for "
        f"{BACK_UP_BYTES_PER_SECOND / 1e6:.0f} MB/s of SQL Server",
        f"logs: {LOG_BYTES_PER_DAY / 1e6:.0f} MB a day, and {LOG_BYTES_PER_OPERATION / 1e3:.0f} KB for each write",
        f"SQL mode {ways.sql_mode}, SQL Server outside Azure; drills: {drills}",
        "left out: the apps' host storage and moving to the cool tier, seldom more than a coin; a hub's gateway, the "
        "line to the stamp, tax, discounts",
    ]
