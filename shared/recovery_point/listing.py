"""What there is: the points of a vault, one record, the password that stock restic needs."""

from __future__ import annotations

from typing import Any

from shared.errors import SettingsError
from shared.recovery_point.catalog import Catalog, Unreadable
from shared.repository.initialise import choose_passwords
from shared.settings import Settings
from shared.storage.vault import Vault

Json = dict[str, Any]


def list_points(settings: Settings) -> Json:
    """All points, newest first, as the contract's JSON; a record that cannot be read is listed as ``damaged``."""
    listed: list[Json] = []
    reasons: list[Json] = []
    with Vault(settings.vault()) as vault:
        vault.ensure_there(create=False)
        for point in Catalog(vault.records).newest_first():
            if isinstance(point, Unreadable):
                reasons.append(point.error.as_reason("lifeboat"))
                listed.append(
                    {
                        "point": point.point,
                        "time": None,
                        "status": "damaged",
                        "whole": False,
                        "suspect": False,
                        "components": {},
                    }
                )
                continue
            listed.append(
                {
                    "point": point.point,
                    "time": point.time,
                    "status": point.status,
                    "whole": point.whole,
                    "suspect": point.suspect,
                    "components": {name: _short(component) for name, component in point.components.items()},
                }
            )
    return {"status": "partial" if reasons else "ok", "reasons": reasons, "points": listed}


def show_point(settings: Settings, point: str) -> Json:
    """The record. ``UsageError`` where there is none, ``Damaged``."""
    with Vault(settings.vault()) as vault:
        vault.ensure_there(create=False)
        return Catalog(vault.records).get(point).to_json()


def repository_password(settings: Settings) -> str:
    """``SettingsError`` where there is none."""
    with Vault(settings.vault()) as vault:
        value = choose_passwords(vault.settings.repository_password, vault.secrets).current()
    if value is None:
        raise SettingsError(
            "there is no repository password yet",
            remedy="The first 'backup' makes it in the Key Vault; or set LIFEBOAT_REPOSITORY_PASSWORD.",
            setting="LIFEBOAT_REPOSITORY_PASSWORD",
        )
    return value


def _short(component: Json) -> Json:
    keys = ("status", "snapshot", "files", "bytes", "finished", "tail_of_restore")
    short = {key: component[key] for key in keys if key in component}
    if "databases" in component:
        short["databases"] = {name: database.get("status") for name, database in component["databases"].items()}
    return short
