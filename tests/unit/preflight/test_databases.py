"""What is looked at of the databases in each mode, and that there is time for all of it."""

from __future__ import annotations

import pytest

from shared.preflight.databases import databases_checks
from shared.preflight.runner import CLOSE_SECONDS
from shared.preflight.servers_way import END_SECONDS
from shared.settings import Settings

SQL = {"SQL_SERVER": "sql01,1433", "SQL_USERNAME": "u", "SQL_PASSWORD": "p"}
VAULT = {"VAULT_URL": "http://127.0.0.1:1/vault", "VAULT_KEY": "a2V5"}
LANDING = {"LANDING_URL": "http://127.0.0.1:1/landing", "LANDING_KEY": "a2V5"}
DISK = {
    "SQL_DISK_PATH": r"\\fs\backups",
    "SQL_DISK_URL": "smb://fs/backups",
    "SQL_DISK_USERNAME": "u",
    "SQL_DISK_PASSWORD": "p",
}
OTHERS = {
    "RESTORE_SQL_USERNAME": "r",
    "RESTORE_SQL_PASSWORD": "p",
    "DRILL_SQL_SERVER": "sql02",
    "DRILL_SQL_USERNAME": "d",
    "DRILL_SQL_PASSWORD": "p",
}
MODES = {"url": LANDING, "disk": DISK, "adopt": {}}
CHAIN_SECONDS = 160.0
"""Of all that there is, less what the rest of a request takes."""


def made(mode: str, **more: str) -> dict[str, tuple[float, tuple[str, ...]]]:
    """Each check by its name: its limit, and what it comes after."""
    values = SQL | VAULT | MODES[mode] | {"SQL_MODE": mode} | more
    checks = databases_checks(Settings({f"LIFEBOAT_{name}": value for name, value in values.items()}))
    checks.close()
    return {check.name: (check.limit_seconds, check.after) for check in checks.checks}


@pytest.mark.parametrize("mode", MODES)
def test_there_is_time_for_whoever_comes_last_on_the_way_of_the_server(mode: str) -> None:
    """However slow those before are; the ways of landing account and folder have lines of their own."""
    ends: dict[str, float] = {}
    for name, (limit, after) in made(mode, **OTHERS).items():
        of_the_server = [ends[each] for each in after if not each.startswith(("landing-", "disk-"))]
        ends[name] = limit + max(of_the_server, default=0.0)
    late = {name: seconds for name, seconds in ends.items() if seconds > CHAIN_SECONDS}
    assert late == {}


def test_what_is_given_up_has_ended_before_clearing_away_is_given_up_too() -> None:
    assert END_SECONDS < CLOSE_SECONDS


@pytest.mark.parametrize(
    ("mode", "there", "absent"),
    [
        ("url", {"landing-container", "server-to-landing", "own-log-chain"}, {"disk-login", "adopted"}),
        ("disk", {"disk-list", "disk-write", "server-to-disk", "own-log-chain"}, {"landing-container", "adopted"}),
        ("adopt", {"adopted", "msdb"}, {"server-to-landing", "server-to-disk", "own-log-chain"}),
    ],
)
def test_each_mode_has_the_checks_of_its_own_way(mode: str, there: set[str], absent: set[str]) -> None:
    names = made(mode).keys()
    assert there <= names
    assert not absent & names


def test_who_restores_and_drills_is_looked_at_where_there_is_one() -> None:
    assert not [name for name in made("url") if name.startswith(("restore-", "drill-"))]
    more = made("url", **OTHERS).keys() - made("url").keys()
    assert more == {
        "restore-password", "restore-login", "restore-permissions",
        "drill-password", "drill-login", "drill-permissions", "drill-server",
    }  # fmt: skip


def test_a_named_instance_without_a_port_has_no_port_to_knock_at() -> None:
    assert "answer" not in made("url", SQL_SERVER=r"sql01\APPSERVICE")
    assert "answer" in made("url", SQL_SERVER=r"sql01\APPSERVICE,14330")
