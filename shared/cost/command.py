"""The command ``cost``: what was typed in becomes a site, the settings say the rest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.cost.estimate import Estimate, Site, Ways, estimate
from shared.cost.prices import REDUNDANCIES, PriceList, load_prices
from shared.cost.shapes import SHAPES
from shared.errors import UsageError
from shared.settings import PREFIX, Settings

_SHIFTS = {"K": 10, "M": 20, "G": 30, "T": 40, "P": 50}
_SIZE = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)([KMGTP])\Z", re.IGNORECASE)
_COUNTS = {"": 1, "K": 1_000, "M": 1_000_000}
_COUNT = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)([KM]?)\Z", re.IGNORECASE)
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,3})?)%\Z")


@dataclass(frozen=True, slots=True)
class Asked:
    """As it was typed in."""

    share_size: str = "500G"
    files: str = "2M"
    changed: str = "1%"
    share_ratio: float = 0.5
    databases_size: str = "20G"
    databases_changed: str = "5%"
    databases_ratio: float = 0.3
    shape: str = "plain"
    redundancy: str | None = None
    """None: the shape's."""
    prices: Path | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    shape: str
    redundancy: str
    prices: PriceList
    estimate: Estimate

    def as_json(self) -> dict[str, Any]:
        """Money in ``currency``, not rounded: ``month`` is the sum of ``cost``, each of which is ``amount * price``."""
        return {
            "status": "ok",
            "reasons": [],
            "shape": self.shape,
            "redundancy": self.redundancy,
            "currency": self.prices.currency,
            "region": self.prices.region,
            "prices_date": self.prices.date,
            "month": self.estimate.month,
            "restore_once": self.estimate.restore_cost,
            "stored_bytes": round(self.estimate.stored_bytes),
            "items": [
                {
                    "item": each.item,
                    "amount": each.amount,
                    "unit": each.unit,
                    "price": each.price,
                    "cost": each.cost,
                    "why": each.why,
                    "source": each.source,
                }
                for each in self.estimate.items
            ],
            "assumptions": self.estimate.assumptions,
        }


def cost(asked: Asked, environment: Mapping[str, str]) -> Cost:
    """Retention and the way of backing up are those of ``LIFEBOAT_*`` in ``environment``, else the shape's, else the
    defaults; nothing of Azure is asked. ``UsageError`` or ``SettingsError``: something cannot be understood."""
    shape = SHAPES.get(asked.shape)
    if shape is None:
        raise UsageError(f"there is no shape {asked.shape!r}", remedy=f"Write one of {', '.join(SHAPES)}.")
    redundancy = (asked.redundancy or shape.redundancy).upper()
    if redundancy not in REDUNDANCIES:
        raise UsageError(f"there is no redundancy {redundancy!r}", remedy=f"Write one of {', '.join(REDUNDANCIES)}.")
    settings = Settings.from_environment(
        {PREFIX + name: value for name, value in shape.settings.items()}
        | {name: value for name, value in environment.items() if value}
    )
    ways = Ways(
        keeping=settings.keeping(),
        sql_mode=settings.sql_mode(),
        own_log_chain=settings.own_log_chain(),
        full_every_seconds=settings.full_every_seconds(),
        drills_databases=bool(settings.sql_server_name("DRILL_SQL")),
        verify_within_seconds=settings.verify_within_seconds(),
    )
    site = Site(
        share_bytes=_size("--share-size", asked.share_size),
        files=round(_count("--files", asked.files)),
        changed_per_day=_percent("--changed", asked.changed),
        share_ratio=_ratio("--share-ratio", asked.share_ratio),
        databases_bytes=_size("--databases-size", asked.databases_size),
        databases_changed_per_day=_percent("--databases-changed", asked.databases_changed),
        databases_ratio=_ratio("--databases-ratio", asked.databases_ratio),
    )
    prices = load_prices(asked.prices)
    return Cost(asked.shape, redundancy, prices, estimate(site, ways, shape, redundancy, prices))


def _size(option: str, text: str) -> float:
    match = _SIZE.match(text.strip())
    if not match and text.strip() != "0":
        raise UsageError(f"{option} is {text!r}, which is no size", remedy="Write a number and a unit: 500G or 1.5T.")
    return float(match[1]) * (1 << _SHIFTS[match[2].upper()]) if match else 0.0


def _count(option: str, text: str) -> float:
    match = _COUNT.match(text.strip())
    if not match:
        raise UsageError(f"{option} is {text!r}, which is no number", remedy="Write a number: 200000, 200K or 2M.")
    return float(match[1]) * _COUNTS[match[2].upper()]


def _percent(option: str, text: str) -> float:
    match = _PERCENT.match(text.strip())
    if not match or float(match[1]) > 100:
        raise UsageError(f"{option} is {text!r}, which is no part", remedy="Write a number from 0% to 100%.")
    return float(match[1]) / 100


def _ratio(option: str, value: float) -> float:
    if not 0 < value <= 2:
        raise UsageError(f"{option} is {value}", remedy="Write the bytes stored for each byte read: 0.5 is half.")
    return value
