"""What a month costs: that the model behaves, and one month by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from shared.cost.command import Asked, Cost, cost
from shared.cost.estimate import PAGES_IN_A_CHUNK, copies, kept_ages
from shared.cost.prices import LIST, load_prices
from shared.cost.shapes import SHAPES
from shared.errors import LifeboatError, UsageError
from shared.settings import Settings

STANDS = (
    "NAT gateway",
    "public addresses",
    "private endpoints",
    "private DNS zones",
    "VPN gateway",
    "an instance that is kept",
    "alerts on logs",
    "alerts on metrics",
)


def month(environment: dict[str, str] | None = None, **asked: object) -> Cost:
    return cost(replace(Asked(), **asked), environment or {})  # type: ignore[arg-type]


def amounts(worked_out: Cost) -> dict[str, float]:
    return {each.item: each.amount for each in worked_out.estimate.items}


def test_a_month_by_hand() -> None:
    """100 GiB of which 1 % changes in a day; two points, a day apart; nothing locked, no databases, nothing unused."""
    found = month(
        {
            "LIFEBOAT_KEEP_LAST": "1",
            "LIFEBOAT_KEEP_DAILY": "2",
            "LIFEBOAT_KEEP_WEEKLY": "0",
            "LIFEBOAT_KEEP_MONTHLY": "0",
            "LIFEBOAT_PRUNE_MAX_UNUSED": "0",
        },
        shape="smallest",
        share_size="100G",
        databases_size="0",
    )
    amount = amounts(found)
    # stored is half: 50 GiB, and the 0.5 GiB of the other day
    assert amount["kept in the vault"] == pytest.approx(50.5)
    # 0.5 GiB a day; until the prune of the week after next, half a week on average, then 30 days, then 14
    assert amount["dropped, and not gone yet"] == pytest.approx(0.5 * (7 + 3.5 + 30 + 14))
    # 32 packs and 40 small blobs a day
    assert amount["blobs written"] == pytest.approx((32 + 40) * 30 / 10_000)
    told = {each.item: each.cost for each in found.estimate.items}
    assert told["kept in the vault"] == pytest.approx(50.5 * 0.0196)
    assert told["blobs written"] == pytest.approx(0.216 * 0.054)
    assert told["alerts on logs"] == pytest.approx(25 * 0.5)
    assert found.estimate.restore_cost == 0  # within what is free


@pytest.mark.parametrize("shape", SHAPES)
def test_a_month_is_the_sum_of_its_items_and_each_is_amount_times_price(shape: str) -> None:
    answer = month(shape=shape).as_json()
    assert answer["month"] == pytest.approx(sum(each["cost"] for each in answer["items"]))
    for each in answer["items"]:
        assert each["cost"] == pytest.approx(each["amount"] * each["price"]), each["item"]
        assert all((each["unit"], each["why"], each["source"])), each["item"]


def test_what_retention_keeps_by_days() -> None:
    keeping = Settings.from_environment(
        {
            "LIFEBOAT_KEEP_LAST": "3",
            "LIFEBOAT_KEEP_DAILY": "4",
            "LIFEBOAT_KEEP_WEEKLY": "2",
            "LIFEBOAT_KEEP_MONTHLY": "2",
        }
    ).keeping()
    assert kept_ages(keeping) == [0, 1, 2, 3, 7, 30]


@pytest.mark.parametrize("shape", SHAPES)
def test_more_is_never_cheaper(shape: str) -> None:
    base = month(shape=shape).estimate.month
    assert month(shape=shape, share_size="1T").estimate.month > base
    assert month(shape=shape, databases_size="200G").estimate.month > base
    assert month(shape=shape, changed="3%").estimate.month > base
    assert month(shape=shape, files="200M").estimate.month >= base
    for more in ({"KEEP_MONTHLY": "36"}, {"KEEP_YEARLY": "7"}, {"UNDELETE_FOR": "200d"}, {"KEEP_DAILY": "60"}):
        environment = {f"LIFEBOAT_{name}": value for name, value in more.items()}
        assert month(environment, shape=shape).estimate.month > base, more


def test_twice_as_large_is_twice_as_much_to_keep() -> None:
    one, other = month(share_size="1T", databases_size="10G"), month(share_size="2T", databases_size="20G")
    assert other.estimate.stored_bytes == pytest.approx(2 * one.estimate.stored_bytes)


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_to_back_up_costs_what_stands_there(shape: str) -> None:
    found, more = (
        month(shape=shape, share_size="0", databases_size="0", files="0"),
        month(shape=shape, share_size="100T", databases_size="1T"),
    )
    assert found.estimate.stored_bytes == found.estimate.restore_cost == 0
    told, of_more = ({each.item: each.cost for each in of.estimate.items} for of in (found, more))
    for item in STANDS:
        assert told.get(item) == of_more.get(item), item
    assert found.estimate.month - sum(told.get(item, 0) for item in STANDS) < 10  # the watchdog, listings, logs


def test_the_smallest_shape_is_the_cheapest_and_everything_the_dearest() -> None:
    months = {shape: month(shape=shape).estimate.month for shape in SHAPES}
    assert min(months, key=lambda each: months[each]) == "smallest"
    assert max(months, key=lambda each: months[each]) == "everything"


def test_the_settings_of_the_operator_go_before_those_of_the_shape() -> None:
    plain, dates = (
        month(shape="locked-immutability"),
        month({"LIFEBOAT_PROTECT_FOR": "1d"}, shape="locked-immutability"),
    )
    assert amounts(dates)["dates put off"] > amounts(plain)["dates put off"]


@pytest.mark.parametrize(("changed", "measured"), [(0.005, 1.66), (0.02, 1.22), (0.1, 1.11)])
def test_deduplicated_databases_take_about_what_was_measured(changed: float, measured: float) -> None:
    """By tests/benchmarks/databases.py, as the README has it: a week of daily fulls takes so many times less."""
    assert 7 / copies([*range(7)], changed, PAGES_IN_A_CHUNK) == pytest.approx(measured, rel=0.15)


def test_what_sql_server_reads_back_to_verify_leaves_azure() -> None:
    """30 GiB a day from 100 GiB; the repository's share of it is read where it lies."""
    out = "out of Azure"
    assert amounts(month(databases_size="100G"))[out] == pytest.approx(30 * 30 - LIST["egress-free"].amount)
    assert out not in amounts(month({"LIFEBOAT_SQL_MODE": "disk"}, databases_size="100G"))
    assert out not in amounts(month({"LIFEBOAT_SQL_MODE": "adopt"}, databases_size="100G"))
    drilled = amounts(month({"LIFEBOAT_DRILL_SQL_SERVER": "drill01"}, databases_size="100G"))[out]
    assert drilled == pytest.approx(30 * 30 + 2 * 30 * 30 / 7 - LIST["egress-free"].amount)


def test_dates_far_ahead_keep_longer_what_nobody_needs() -> None:
    near, far = (month({"LIFEBOAT_PROTECT_FOR": time}).estimate for time in ("4d", "100d"))
    assert far.stored_bytes > near.stored_bytes


def test_another_region_is_paid_for_twice() -> None:
    found = amounts(month(redundancy="grs"))
    assert found["sent to the other region"] == pytest.approx((500 * 0.5 * 0.01 + 20 * 0.3) * 30)
    assert "sent to the other region" not in amounts(month(redundancy="zrs"))


def test_the_cool_tier_takes_what_only_old_points_need_and_is_read_back() -> None:
    found = amounts(month(shape="everything", databases_size="0"))
    assert 0 < found["kept in the cool tier"] == found["read from the cool tier"]
    slower = amounts(month({"LIFEBOAT_VERIFY_WITHIN": "60d"}, shape="everything", databases_size="0"))
    assert slower["read from the cool tier"] == pytest.approx(found["read from the cool tier"] / 2)


def test_every_price_says_what_it_is_of_and_where_it_is_from() -> None:
    for name, price in LIST.prices.items():
        assert all((price.unit, price.source, price.amount > 0)), name
    assert all((date.fromisoformat(LIST.date), LIST.region, LIST.currency))


def test_prices_of_ones_own_replace_those_of_the_list(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    file.write_text(json.dumps({"currency": "EUR", "date": "2027-01-01", "prices": {"hot-ZRS": 1, "nat-gateway": 0}}))
    found = month(prices=file).as_json()
    assert (found["currency"], found["prices_date"], found["region"]) == ("EUR", "2027-01-01", LIST.region)
    told = {each["item"]: each for each in found["items"]}
    assert told["kept in the vault"]["cost"] == pytest.approx(told["kept in the vault"]["amount"], rel=1e-3)
    assert told["NAT gateway"]["cost"] == 0
    assert told["NAT gateway"]["source"] == str(file)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is no list of prices"),
        ("[]", "no object"),
        ('{"prices": []}', "no object"),
        ('{"prices": {"hot": 1}}', "there is no price 'hot'"),
        ('{"prices": {"hot-ZRS": "1"}}', "which is none"),
        ('{"prices": {"hot-ZRS": -1}}', "which is none"),
        ('{"prices": {"hot-ZRS": NaN}}', "which is none"),
        ('{"prices": {"hot-ZRS": true}}', "which is none"),
        ('{"currency": 1}', "currency is no text"),
        ('{"price": {"hot-ZRS": 1}}', "'price' is none of its names"),
    ],
)
def test_a_file_that_is_no_list_of_prices_is_named(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "prices.json"
    file.write_text(content)
    with pytest.raises(UsageError, match=said) as caught:
        load_prices(file)
    assert str(file) in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"share_size": "500"}, "--share-size"),
        ({"share_size": "-1G"}, "--share-size"),
        ({"files": "many"}, "--files"),
        ({"changed": "101%"}, "--changed"),
        ({"databases_changed": "5"}, "--databases-changed"),
        ({"share_ratio": 0.0}, "--share-ratio"),
        ({"share_ratio": float("nan")}, "--share-ratio"),
        ({"shape": "large"}, "shape 'large'"),
        ({"redundancy": "XRS"}, "redundancy 'XRS'"),
        ({"prices": Path("no-such-file.json")}, "no-such-file.json"),
    ],
)
def test_what_cannot_be_understood_is_named(asked: dict[str, object], said: str) -> None:
    with pytest.raises(LifeboatError, match=said) as caught:
        month(None, **asked)
    assert caught.value.remedy


def test_the_command_needs_no_setting_and_prints_one_object() -> None:
    done = subprocess.run(
        [sys.executable, "lifeboat.py", "cost", "--shape", "smallest", "--json"],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(done.stdout)
    assert answer["status"] == "ok"
    assert answer["month"] > 0
    assert all((answer["items"], answer["assumptions"]))


def test_wrong_usage_is_told_as_one_object_too() -> None:
    done = subprocess.run(
        [sys.executable, "lifeboat.py", "cost", "--share-size", "much", "--json"],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert json.loads(done.stdout)["status"] == "failed"


def test_the_example_in_the_readme_is_what_the_command_prints() -> None:
    readme = Path("README.md").read_text()
    _, _, after = readme.partition("<!-- python lifeboat.py cost -->\n```\n")
    shown, _, _ = after.partition("\n```")
    done = subprocess.run(
        [sys.executable, "lifeboat.py", "cost"],
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.rstrip() for line in shown.splitlines()] == [line.rstrip() for line in done.stdout.splitlines()]
