"""Which secrets have to be there: those whose settings are not."""

from __future__ import annotations

import pytest

from shared.errors import SettingsError
from shared.preflight.secrets import PROBE, needed, secrets_checks
from shared.secrets.files import RESERVED
from shared.settings import Settings

SHARE = {"SHARE_URL": "smb://fs/x", "SHARE_USERNAME": "u"}
SQL = {"SQL_SERVER": "sql01", "SQL_USERNAME": "u"}
DISK = {"SQL_MODE": "disk", "SQL_DISK_PATH": r"\\fs\x", "SQL_DISK_USERNAME": "u"}


@pytest.mark.parametrize(
    ("given", "secrets"),
    [
        ({}, {}),
        (SHARE, {"share-password": "LIFEBOAT_SHARE_PASSWORD"}),
        (SHARE | {"SHARE_PASSWORD": "p"}, {}),
        (SHARE | {"SHARE_MODE": "adopt"}, {}),
        ({"SHARE_URL": "file:///srv/x"}, {}),
        ({"SHARE_URL": "smb://fs/x"}, {}),  # what it lacks is told by its own checks
        (SQL, {"sql-password": "LIFEBOAT_SQL_PASSWORD"}),
        (SQL | {"SQL_PASSWORD": "p"}, {}),
        (SQL | DISK | {"SQL_PASSWORD": "p"}, {"share-password": "LIFEBOAT_SQL_DISK_PASSWORD"}),
        (
            SQL | {"SQL_PASSWORD": "p", "DRILL_SQL_SERVER": "sql02"},
            {"drill-sql-password": "LIFEBOAT_DRILL_SQL_PASSWORD"},
        ),
    ],
)
def test_secrets_are_needed_in_place_of_settings(given: dict[str, str], secrets: dict[str, str]) -> None:
    assert needed(Settings({f"LIFEBOAT_{name}": value for name, value in given.items()})) == secrets


def test_nobody_keeps_a_file_under_the_name_of_the_probe() -> None:
    assert PROBE in RESERVED


@pytest.mark.parametrize("url", ["http://name.vault.azure.net", "name.vault.azure.net", ""])
def test_a_url_that_is_none_names_the_setting(url: str) -> None:
    with pytest.raises(SettingsError) as error:
        secrets_checks(Settings({"LIFEBOAT_KEY_VAULT_URL": url}))
    assert error.value.setting == "LIFEBOAT_KEY_VAULT_URL"


def test_every_limit_is_short() -> None:
    made = secrets_checks(Settings({"LIFEBOAT_KEY_VAULT_URL": "https://name.vault.azure.net"}))
    assert all(10 <= check.limit_seconds <= 60 for check in made.checks)
    made.close()
