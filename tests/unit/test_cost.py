"""What a month costs: that the model behaves, and one month by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from shared.cost.command import Asked, Cost, cost
from shared.cost.estimate import kept_ages
from shared.cost.prices import LIST, load_prices
from shared.cost.shapes import SHAPES
from shared.errors import LifeboatError, UsageError
from shared.settings import Settings


def month(environment: dict[str, str] | None = None, **asked: object) -> Cost:
    return cost(replace(Asked(), **asked), environment or {})  # type: ignore[arg-type]


def amounts(worked_out: Cost) -> dict[str, float]:
    return {each.item: each.amount for each in worked_out.estimate.items}


def test_a_month_by_hand() -> None:
    """100 GiB that never change, no databases, nothing waiting: the smallest shape keeps 50 GiB, and no more."""
    found = month(
        shape="smallest", share_size="100G", files="0", changed="0%", databases_size="0", databases_changed="0%"
    )
    assert amounts(found)["kept in the vault"] == pytest.approx(50)
    told = {each.item: each.cost for each in found.estimate.items}
    assert told["kept in the vault"] == pytest.approx(50 * 0.0196)
    assert told["alerts on logs"] == pytest.approx(25 * 0.5)
    assert found.estimate.restore_cost == 0  # within what is free
    assert found.estimate.month == pytest.approx(sum(told.values()))


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
    one = month(share_size="1T", databases_size="10G")
    other = month(share_size="2T", databases_size="20G")
    assert other.estimate.stored_bytes == pytest.approx(2 * one.estimate.stored_bytes)


def test_nothing_to_back_up_costs_what_stands_there() -> None:
    found = amounts(month(share_size="0", databases_size="0", files="0"))
    assert "kept in the vault" not in found
    assert {"NAT gateway", "public addresses", "alerts on logs", "alerts on metrics"} <= found.keys()


def test_the_smallest_shape_is_the_cheapest_and_everything_the_dearest() -> None:
    months = {shape: month(shape=shape).estimate.month for shape in SHAPES}
    assert min(months, key=lambda each: months[each]) == "smallest"
    assert max(months, key=lambda each: months[each]) == "everything"


def test_the_settings_of_the_operator_go_before_those_of_the_shape() -> None:
    plain, dates = (
        month(shape="locked-immutability"),
        month({"LIFEBOAT_PROTECT_FOR": "1d"}, shape="locked-immutability"),
    )
    assert amounts(dates)["writes, and dates put off"] > amounts(plain)["writes, and dates put off"]


def test_databases_that_are_deduplicated_take_less_than_fulls() -> None:
    of_disk = month({"LIFEBOAT_SQL_MODE": "disk"}, share_size="0", databases_size="100G")
    of_url = month(share_size="0", databases_size="100G")
    assert of_disk.estimate.stored_bytes < of_url.estimate.stored_bytes / 3


def test_prices_of_ones_own_replace_those_of_the_list(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    file.write_text(json.dumps({"currency": "EUR", "date": "2027-01-01", "prices": {"hot-ZRS": 1, "nat-gateway": 0}}))
    found = month(prices=file).as_json()
    assert (found["currency"], found["prices_date"], found["region"]) == ("EUR", "2027-01-01", LIST.region)
    told = {each["item"]: each for each in found["items"]}
    assert told["kept in the vault"]["cost"] == pytest.approx(told["kept in the vault"]["amount"], rel=1e-3)
    assert told["NAT gateway"]["cost"] == 0


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
    assert answer["month"] == pytest.approx(sum(each["cost"] for each in answer["items"]), abs=0.01)
    assert answer["assumptions"]


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
