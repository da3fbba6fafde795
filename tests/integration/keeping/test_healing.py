"""A pack that rots heals: what was found damaged is stored anew by the next backup, read from where it is whole, and
gone after the next prune."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.faults.helpers import contents, make_share
from tests.faults.simulated import SimulatedSite, simulated_site
from tests.standins.restic import StockRestic

SETTINGS = {"VERIFY_WITHIN": "1s", "KEEP_LAST": "1", "KEEP_WITHIN": "0s", "KEEP_DAILY": "1"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[SimulatedSite]:
    share = make_share(tmp_path / "site", large=False)
    with simulated_site(share, settings=SETTINGS) as made:
        yield made


def _rot(site: SimulatedSite, *, tree: bool) -> str:
    """Turn a bit in the smallest pack, which holds trees, or in the largest, which holds data."""
    store = site.vault.judge()
    sizes = {name: len(store.get(name)) for name in site.names("data/")}
    name = (min if tree else max)(sizes, key=lambda each: sizes[each])
    body = bytearray(store.get(name))
    body[20] ^= 1
    site.vault.container("share").rot(name, bytes(body))
    return name


@pytest.mark.parametrize("tree", [False, True], ids=["data", "trees"])
def test_what_a_rotten_pack_held_is_stored_anew_and_read_from_there_fault_6(
    site: SimulatedSite, newest_restic: StockRestic, tmp_path: Path, tree: bool
) -> None:
    site.back_up()
    site.pass_by(timedelta(days=1))
    rotten = _rot(site, tree=tree)
    found = site.verify()
    assert {reason["object"] for reason in found.reasons} == {f"share/{rotten}"}
    site.pass_by(timedelta(hours=1))
    healed = site.back_up()
    assert healed.status == "complete"
    assert site.restored(healed.point, tmp_path / "healed") == contents(site.share)
    site.pass_by(timedelta(days=3))
    site.back_up()
    pruned = site.prune()
    assert pruned.status == "ok", pruned.reasons
    site.pass_by(timedelta(days=3))
    site.prune()
    assert rotten not in site.names("data/")
    assert site.verify().reasons == []
    site.judged_by(newest_restic, tmp_path / "judge")
