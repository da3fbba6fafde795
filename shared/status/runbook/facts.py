"""What the runbook needs to know of a recovery point, in one place, however old its record is.

Nothing is asked of any server here but the vault's records, where a chain reaches back into earlier points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from shared.databases.backup import label_of
from shared.databases.backup_set import BackupSet
from shared.databases.chains import Chain
from shared.databases.medium import REPOSITORY
from shared.errors import LifeboatError
from shared.recovery_point.catalog import Catalog
from shared.recovery_point.databases import readable_sets
from shared.recovery_point.record import FAILED, RecoveryPoint
from shared.recovery_point.restore_databases import choose_chains
from shared.settings import Settings
from shared.smb.endpoint import SMB_PORT, server_and_port, unc_path

Json = dict[str, Any]

RELEASES = {"102.20.2.2": "26R1", "102.10.2.11": "25R1", "102.0.2.5": "24R1"}
"""Of App Service on Azure Stack Hub, by build."""


@dataclass(frozen=True, slots=True)
class Facts:
    point: RecoveryPoint
    chains: Mapping[str, Chain]
    """What each database is restored from, ``master`` apart."""
    reasons: tuple[Json, ...]
    """Why a database of the point has no chain."""
    master: BackupSet | None
    settings: Settings = field(repr=False, default_factory=lambda: Settings({}))
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    # --- where things are ---

    @property
    def id(self) -> str:
        return self.point.point

    @property
    def vault_url(self) -> str:
        return self.setting("VAULT_URL") or "https://<vault account>.blob.core.windows.net"

    @property
    def landing_url(self) -> str:
        return self.setting("LANDING_URL") or "https://<landing account>.blob.core.windows.net"

    @property
    def key_vault_url(self) -> str | None:
        found = self.secrets.get("key_vault") or self.point.source.get("key_vault") or self.setting("KEY_VAULT_URL")
        return str(found).rstrip("/") if found else None

    @property
    def sql_server(self) -> str | None:
        """As it was configured: ``host[\\instance][,port]``."""
        found = self.point.source.get("sql_server") or self.databases.get("source")
        return str(found) if found else None

    @property
    def sql_facts(self) -> Json:
        """Name, version and edition of the server that made the backups."""
        server = self.databases.get("server") or {}
        source = self.point.source
        return {key: server.get(key) or source.get(f"sql_{key}") for key in ("name", "version", "edition")}

    @property
    def share_url(self) -> str | None:
        found = self.point.source.get("share") or self._share_of_older_record()
        return str(found) if found else None

    @property
    def share_unc(self) -> str | None:
        found = self.point.source.get("share_unc") or (unc_path(self.share_url) if self.share_url else None)
        return str(found) if found else None

    @property
    def share_port(self) -> int:
        """At which Lifeboat reaches the file server; controllers and people use 445."""
        found = server_and_port(self.share_url or "")
        return found[1] if found else SMB_PORT

    @property
    def share_name(self) -> str:
        """The folder that the share is in the repository, and the share's own name."""
        source = self.share.get("source") or {}
        return str(source.get("name") or "WebSites")

    @property
    def share_path(self) -> str:
        """Where the share lies inside its snapshot."""
        return str(self.share.get("path") or f"/{self.share_name}")

    @property
    def build(self) -> str | None:
        """Of the resource provider, as the operator told it when the point was made."""
        found = self.point.source.get("resource_provider_build")
        return str(found) if found else None

    # --- what the point holds ---

    @property
    def databases(self) -> Json:
        return dict(self.point.components.get("databases") or {})

    @property
    def share(self) -> Json:
        return dict(self.point.components.get("share") or {})

    @property
    def secrets(self) -> Json:
        return dict(self.point.components.get("secrets") or {})

    @property
    def has_share(self) -> bool:
        return self.point.snapshot is not None

    @property
    def has_secrets(self) -> bool:
        return bool(self.secrets.get("version"))

    @property
    def mode(self) -> str:
        """By which way databases are brought back: ``url`` or ``disk``. Adopted ones through the landing account where
        there is one, unless they lie in a file behind others, of which a URL reads only the first."""
        made_in = str(self.databases.get("mode") or "url")
        if made_in != "adopt":
            return made_in
        behind = any(each.position > 1 for chain in self.chains.values() for each in chain.sets)
        return "url" if self.setting("LANDING_URL") and not behind else "disk"

    @property
    def needs_repository(self) -> bool:
        stored = [each.stored for chain in self.chains.values() for each in chain.sets]
        return self.has_share or any(each["kind"] == REPOSITORY for each in stored)

    @property
    def names(self) -> list[str]:
        """The databases that can be restored, as they are called on the server."""
        return [chain.full.database for chain in self.chains.values()]

    @property
    def is_contained(self) -> bool:
        return any(each.containment for chain in self.chains.values() for each in chain.sets)

    @property
    def newest_major(self) -> int | None:
        """The oldest version of SQL Server that can restore all of it, by its first number."""
        return max((each.major for chain in self.chains.values() for each in chain.sets), default=None)

    @property
    def thumbprints(self) -> dict[str, list[str]]:
        """Certificates that a restore needs on the server, and the databases that need each."""
        needed: dict[str, list[str]] = {}
        for name, chain in self.chains.items():
            for each in chain.sets:
                own = {*each.tde_thumbprints, *([each.encryptor_thumbprint] if each.encryptor_thumbprint else [])}
                for thumbprint in own:
                    named = needed.setdefault(thumbprint, [])
                    if name not in named:
                        named.append(name)
        return dict(sorted(needed.items()))

    @property
    def files(self) -> dict[str, Json]:
        """What is kept beside SystemSecrets.JSON, by name."""
        return dict(self.secrets.get("kept") or {})

    def holders(self, thumbprint: str) -> list[str]:
        """Kept files with that certificate, those with its private key first."""
        keyed = {
            each.get("file")
            for each in self.secrets.get("certificates") or []
            if each.get("has_key") and each.get("thumbprint") == thumbprint
        }
        found = [name for name, file in self.files.items() if thumbprint in (file.get("thumbprints") or [])]
        return sorted(found, key=lambda name: (name not in keyed, name))

    @property
    def other_files(self) -> list[str]:
        """Kept files that no certificate of an encrypted database is in."""
        needed = {found[0] for found in map(self.holders, self.thumbprints) if found}
        of_certificates = {f"{name}{part}" for name in needed for part in ("", "-key", "-password")}
        return [name for name in self.files if name not in of_certificates]

    def setting(self, name: str) -> str | None:
        """As it is where the runbook is made; ``LIFEBOAT_`` is not part of ``name``."""
        value = self.settings.values.get(f"LIFEBOAT_{name}")
        return value.rstrip("/") if value else None

    def _share_of_older_record(self) -> str | None:
        source = self.share.get("source") or {}
        host, path = source.get("hostname"), source.get("path")
        configured = self.setting("SHARE_URL")
        if not host or not path or host == "localhost":  # a folder of the machine that made the backup
            return configured if configured and not configured.lower().startswith("smb:") else None
        server, port = server_and_port(configured or "") or ("", SMB_PORT)
        same_server = server == str(host).lower() and port != SMB_PORT
        where = f"{host}:{port}" if same_server else host
        return f"smb://{where}/{quote(str(path).strip('/'))}"


def collect(catalog: Catalog, point: RecoveryPoint, settings: Settings) -> Facts:
    """Errors of the vault pass; what is wrong with a database is a reason."""
    reasons: list[Json] = []
    chains: dict[str, Chain] = {}
    try:
        if point.databases:
            chains = choose_chains(catalog, point, None, reasons)
    except LifeboatError as error:
        if error.code != "damaged":
            raise
        reasons.append(error.as_reason("databases"))
    masters = [each for each in readable_sets(point) if each.database.lower() == "master"]
    return Facts(point, chains, tuple(reasons), masters[-1] if masters else None, settings)


def is_usable(point: RecoveryPoint) -> bool:
    """Something of App Service can be brought back from it."""
    return any(
        component.get("status") != FAILED and not component.get("tail_of_restore")
        for component in point.components.values()
    )


def folder_of(each: BackupSet) -> str:
    """Where a backup's files lie inside its snapshot."""
    return label_of(each.database)
