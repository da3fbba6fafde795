"""The keeper is handed what it reads, and nothing else: infra/settings.bicep against the code that runs there."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from functions import register
from shared.settings import PREFIX, SCHEDULES, Settings
from tests.faults.helpers import change_share, make_share
from tests.faults.simulated import simulated_site

SETTINGS_FILE = Path("infra/settings.bicep")
KNOWN_OTHERWISE = {"ROLE", "VAULT_URL", "KEY_VAULT_URL"}
"""main.bicep knows them itself."""
IN_THE_KEY_VAULT = {"VAULT_KEY", "REPOSITORY_PASSWORD"}
"""Asked for and left absent: the identity, and the secret, stand for them."""


def _given_to_the_keeper() -> set[str]:
    names = re.search(r"var keeperNames = \[(.*?)\]", SETTINGS_FILE.read_text(), re.DOTALL)
    assert names
    return set(re.findall(r"'([A-Z_]+)'", names[1]))


def test_the_keeper_is_given_every_setting_that_it_reads_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: set[str] = set()
    text = Settings._text

    def reading(self: Settings, name: str) -> str | None:
        read.add(name)
        return text(self, name)

    with simulated_site(
        make_share(tmp_path / "site", large=False),
        settings={"KEEP_LAST": "1", "KEEP_DAILY": "1", "KEEP_WEEKLY": "0", "KEEP_MONTHLY": "0"},
    ) as site:
        for day in range(4):
            change_share(site.share, day)
            site.back_up()
            site.pass_by(timedelta(days=40))
        monkeypatch.setattr(Settings, "_text", reading)
        assert site.protect().status == "ok"
        assert site.prune().points_removed
    timers = _timers_of("keeper", monkeypatch, read)
    assert timers == {"PROTECT", "RETENTION", "PRUNE"}
    read |= {"DEBUG"}  # an unexpected error shows where it comes from
    assert read - KNOWN_OTHERWISE - IN_THE_KEY_VAULT == _given_to_the_keeper()


def _timers_of(role: str, monkeypatch: pytest.MonkeyPatch, read: set[str]) -> set[str]:
    """The timers that the app of ``role`` registers, whose schedules it reads as it loads."""
    import azure.functions as func

    monkeypatch.setenv(PREFIX + "ROLE", role)
    before = {name for name in read if name.startswith("SCHEDULE_")}
    assert not before
    register(func.FunctionApp())
    return {name.removeprefix("SCHEDULE_") for name in read if name.startswith("SCHEDULE_")} & set(SCHEDULES)
