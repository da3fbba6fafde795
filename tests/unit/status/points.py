"""Recovery points for the runbook's tests: a whole one, and what each test leaves out or changes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.databases.backup_set import BackupSet
from shared.recovery_point.catalog import Catalog
from shared.recovery_point.record import RecoveryPoint
from shared.settings import Settings
from shared.status.runbook.facts import Facts, collect
from shared.status.runbook.make import build
from shared.status.runbook.prechecks import for_people
from shared.storage.blob_store import BlobStore
from tests.unit.databases.making import NOON, full

Json = dict[str, Any]

ID = "20261125T120000Z-0a1b2c"
NOW = NOON + timedelta(hours=15)
SNAPSHOT = "5e" * 32
SHA256 = "ab" * 32
VERSION = "0123456789abcdef0123456789abcdef"
THUMBPRINT = "0102030405060708090A0B0C0D0E0F1011121314"
SETTINGS = {
    "LIFEBOAT_VAULT_URL": "https://vaultacct.blob.core.windows.net",
    "LIFEBOAT_LANDING_URL": "https://landingacct.blob.core.windows.net",
    "LIFEBOAT_KEY_VAULT_URL": "https://kv-lifeboat.vault.azure.net",
}
FILES = (
    {"logical_name": "hosting", "physical_name": "D:\\Data\\hosting.mdf", "type": "D", "size_bytes": 1 << 30},
    {"logical_name": "hosting_log", "physical_name": "L:\\Log\\hosting.ldf", "type": "L", "size_bytes": 1 << 28},
)


def blobs(name: str) -> Json:
    return {
        "kind": "blobs",
        "blobs": [{"name": f"{name}/1of1.bak", "size_bytes": 5_000_000, "sha256": None}],
        "bytes_stored": 5_000_000,
    }


def in_repository(name: str, snapshot: str = "d1" * 32) -> Json:
    return {
        "kind": "repository",
        "snapshot": snapshot,
        "files": [{"name": f"{name}.bak", "size_bytes": 5_000_000, "sha256": SHA256}],
        "bytes_stored": 2_000_000,
    }


def hosting(**other: Any) -> BackupSet:
    own = {"copy_only": True, "stored": blobs("appservice_hosting/20261125T120000Z-full-000001"), "files": FILES}
    return full(100, 110, **own | {"containment": 1} | other)


def metering(**other: Any) -> BackupSet:
    own = {"database": "appservice_metering", "copy_only": True, "containment": 1}
    return full(200, 210, **own | {"stored": blobs("appservice_metering/20261125T120000Z-full-000002")} | other)


def master(**other: Any) -> BackupSet:
    own = {"database": "master", "copy_only": True, "stored": blobs("master/20261125T120000Z-full-000003")}
    return full(300, 310, **own | other)


def databases(*sets: BackupSet, **other: Any) -> Json:
    by_name: dict[str, list[BackupSet]] = {}
    for each in sets or (hosting(), metering(), master()):
        by_name.setdefault(each.database, []).append(each)
    component = {
        "status": "complete",
        "mode": "url",
        "source": "sqlag-listener,1433",
        "requested": list(by_name),
        "server": {"name": "SQL01", "version": "15.0.4430.1", "edition": "Enterprise Edition (64-bit)"},
        "databases": {
            name: {"status": "complete", "backups": [each.to_json() for each in backups], "notes": []}
            for name, backups in by_name.items()
        },
        "logins": {"saved": 4, "secret": "sql-logins", "version": VERSION, "sha256": SHA256},
        "notes": [],
    }
    return component | other


def share(**other: Any) -> Json:
    component = {
        "status": "complete",
        "snapshot": SNAPSHOT,
        "source": {"hostname": "sofs01.appservice.local", "path": "/WebSites", "name": "WebSites"},
        "data_time": "2026-11-25T12:01:02.000003Z",
        "files": 20_000,
        "bytes": 3 << 30,
        "unreadable": {"count": 0, "first": []},
        "tolerated": {"count": 0, "first": []},
    }
    return component | other


def secrets(**other: Any) -> Json:
    component = {
        "status": "complete",
        "key_vault": "https://kv-lifeboat.vault.azure.net/",
        "name": "system-secrets",
        "version": VERSION,
        "sha256": SHA256,
        "size_bytes": 24_000,
        "filename": "SystemSecrets.JSON",
        "moment": "2026-11-01T08:00:00Z",
        "pairing": {"verdict": "fits", "detail": "no password was changed since", "rotated": [], "users": []},
        "certificates": [],
        "expiring": [],
        "kept": {},
        "notes": [],
    }
    return component | other


def source(**other: Any) -> Json:
    found = {
        "sql_server": "sqlag-listener,1433",
        "sql_name": "SQL01",
        "sql_version": "15.0.4430.1",
        "sql_edition": "Enterprise Edition (64-bit)",
        "databases": ["appservice_hosting", "appservice_metering", "master"],
        "share": "smb://sofs01.appservice.local/WebSites",
        "share_unc": "\\\\sofs01.appservice.local\\WebSites",
        "resource_provider_build": "102.20.2.2",
        "key_vault": "https://kv-lifeboat.vault.azure.net",
        "lifeboat": "0.1.0",
    }
    return found | other


def point(components: Json | None = None, **other: Any) -> RecoveryPoint:
    components = (
        {"databases": databases(), "share": share(), "secrets": secrets()} if components is None else components
    )
    values: Json = {
        "point": ID,
        "time": "2026-11-25T12:00:00Z",
        "status": "complete",
        "requested": list(components),
        "not_configured": [],
        "without": [],
        "whole": True,
        "suspect": False,
        "components": components,
        "source": source(),
        "lifeboat": "0.1.0",
    }
    return RecoveryPoint(**values | other)


@dataclass
class Records(Catalog):
    """A catalog of points that are in memory."""

    points: tuple[RecoveryPoint, ...] = ()

    def newest_first(self):  # type: ignore[no-untyped-def]  # as Catalog's
        return iter(self.points)

    def get(self, point: str) -> RecoveryPoint:
        return next(each for each in self.points if each.point == point)


def records(*points: RecoveryPoint) -> Records:
    nowhere: BlobStore = None  # type: ignore[assignment]  # nothing is read from it
    return Records(nowhere, points=points)


def facts(made: RecoveryPoint | None = None, *, settings: Json | None = None, earlier: Any = ()) -> Facts:
    made = made or point()
    found = collect(records(made, *earlier), made, Settings(SETTINGS if settings is None else settings))
    return Facts(found.point, found.chains, found.reasons, found.master, found.settings, NOW.astimezone(UTC))


def written(made: RecoveryPoint | None = None, *, checks: list[Json] | None = None, **other: Any) -> str:
    found = facts(made, **other)
    return build(found, for_people(found) if checks is None else checks)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
