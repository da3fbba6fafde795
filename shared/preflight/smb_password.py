"""The password of a user on the file server, as preflight finds it: in its setting, or in the Key Vault."""

from __future__ import annotations

from shared.preflight.check import Found, passed
from shared.settings import Settings
from shared.storage.vault import Vault


def smb_password(settings: Settings, given: str | None, *, username: str, setting: str) -> tuple[str, Found]:
    """The password, and what the check of it finds. ``SettingsError`` where it is nowhere."""
    if given:
        return given, passed(f"the password of {username} is in {setting}")
    with Vault(settings.vault()) as vault:
        password = vault.secret("share-password", setting=setting)
    return password, passed(f"the password of {username} is in the secret share-password of the Key Vault")
