"""Where a share is restored to, and as whom: nothing is sent to anybody here."""

from __future__ import annotations

import pytest

from shared.errors import LifeboatError, SettingsError
from shared.fileshare.smb_target import SmbTarget
from shared.recovery_point.restore import open_target
from shared.settings import Settings
from shared.storage.vault import Vault


def opened(to: str | None = None, **values: str) -> tuple[object, str]:
    named = {"VAULT_URL": "https://vault.example", "VAULT_KEY": "a2V5", **values}
    settings = Settings.from_environment({f"LIFEBOAT_{name}": value for name, value in named.items()})
    with Vault(settings.vault()) as vault:
        target, shown = open_target(settings, vault, to)
        target.close()
        return target, shown


def test_who_restores_is_enough_for_the_share_itself() -> None:
    """On the machine of whoever restores nobody knows the user who reads the share for backups."""
    target, shown = opened(SHARE_URL="smb://fs/WebSites", RESTORE_USERNAME="admin", RESTORE_PASSWORD="p")

    assert isinstance(target, SmbTarget)
    assert shown == "smb://fs/WebSites"


def test_without_one_it_is_the_shares_own_user() -> None:
    with pytest.raises(SettingsError) as caught:
        opened(SHARE_URL="smb://fs/WebSites")

    assert caught.value.setting == "LIFEBOAT_SHARE_USERNAME"


@pytest.mark.parametrize(("to", "code"), [(None, "wrong-setting"), ("smb://fs", "wrong-usage")])
def test_an_address_that_is_none_is_told_as_what_named_it(to: str | None, code: str) -> None:
    with pytest.raises(LifeboatError) as caught:
        opened(to, SHARE_URL="smb://fs", RESTORE_USERNAME="admin", RESTORE_PASSWORD="p")

    assert caught.value.code == code


def test_without_a_share_its_setting_is_asked_for() -> None:
    with pytest.raises(SettingsError) as caught:
        opened(RESTORE_USERNAME="admin", RESTORE_PASSWORD="p")

    assert caught.value.setting == "LIFEBOAT_SHARE_URL"
