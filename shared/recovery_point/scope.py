"""What a run is to back up: what is configured, narrowed by what was asked for."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from shared.errors import ContainerMissing, SettingsError, UsageError
from shared.recovery_point.catalog import Catalog
from shared.settings import Settings

COMPONENTS = ("databases", "share", "secrets")
_FIRST_SETTING = {
    "databases": "LIFEBOAT_SQL_SERVER",
    "share": "LIFEBOAT_SHARE_URL",
    "secrets": "LIFEBOAT_KEY_VAULT_URL",
}


@dataclass(frozen=True, slots=True)
class BackupRequest:
    only: tuple[str, ...] = ()
    """Components to be backed up; empty: all that are configured."""
    without: tuple[str, ...] = ()
    """Components, and databases, of an earlier whole point whose absence is meant."""
    allow_shrink: bool = False
    new_repository: bool = False
    logs: bool = False
    """Log backups only, of databases whose log chain is ours."""
    workers: int = 1
    """Shards that are read side by side."""


@dataclass(frozen=True, slots=True)
class Scope:
    requested: list[str]
    configured: list[str]

    @property
    def is_narrowed(self) -> bool:
        """Less was requested than is configured."""
        return self.requested != [name for name in COMPONENTS if name in self.configured]


def scope_of(settings: Settings, request: BackupRequest) -> Scope:
    """``UsageError``, ``SettingsError``: what was asked for makes no sense, or is not configured; or a setting is wrong
    that is needed only when everything has been backed up."""
    settings.rpo_seconds()
    settings.expiry_warning_seconds()
    settings.app_service_build()
    configured = settings.configured()
    for name in request.only:
        if name not in COMPONENTS:
            raise UsageError(f"there is no component {name!r}", remedy=f"Components are {', '.join(COMPONENTS)}.")
    for name in request.only:
        if name not in configured:
            raise SettingsError(
                f"the component {name!r} is not configured",
                remedy=f"Set {_FIRST_SETTING[name]}.",
                setting=_FIRST_SETTING[name],
            )
    there = [*configured, *(settings.databases().databases if "databases" in configured else ())]
    for name in request.without:
        if name in there:
            setting = _FIRST_SETTING.get(name, "LIFEBOAT_SQL_DATABASES")
            raise UsageError(
                f"--without {name} says that {name} is not configured here, and it is",
                remedy=f"Take it out of {setting}, or leave a component out of one run by --only.",
                setting=setting,
            )
    if not configured:
        raise SettingsError(
            "nothing to back up is configured",
            remedy=f"Set {', '.join(_FIRST_SETTING.values())}, or some of them.",
            setting="LIFEBOAT_SHARE_URL",
        )
    if request.logs:
        _require_own_logs(settings, request)
    only = ("databases",) if request.logs else request.only
    return Scope([name for name in COMPONENTS if name in (only or configured)], configured)


def refuse_unknown(catalog: Catalog, request: BackupRequest) -> None:
    """``UsageError`` for a ``--without`` that names neither a component nor what the whole point before had, or was
    told to do without: a slip of the pen would accept nothing and say nothing."""
    databases = [name for name in request.without if name not in COMPONENTS]
    before = None
    if databases:
        with suppress(ContainerMissing):
            before = next((point for point in catalog.readable() if point.whole), None)
    known = {*before.requested_databases, *before.without} if before else set()
    for name in databases:
        if name not in known:
            raise UsageError(
                f"--without {name}: there is no such component, and the whole point before had no such database",
                remedy=f"Components are {', '.join(COMPONENTS)}; databases are named as in the point before.",
            )


def gone_since(catalog: Catalog, settings: Settings, request: BackupRequest, configured: list[str]) -> list[str]:
    """Components and databases of the newest whole point that are not configured here, and nobody said that this is
    meant."""
    before = next((point for point in catalog.earlier() if point.whole), None)
    if before is None:
        return []
    gone = set(before.requested) - set(configured)
    if "databases" in configured:
        gone |= set(before.requested_databases) - set(settings.databases().databases)
    return sorted(gone - set(request.without))


def _require_own_logs(settings: Settings, request: BackupRequest) -> None:
    """``UsageError``: log backups were asked for, and cannot be made."""
    if set(request.only) - {"databases"}:
        raise UsageError("--logs backs up databases only", remedy="Leave --only out, or give it 'databases'.")
    settings.databases()  # what is missing is told first
    if not settings.takes_logs():
        raise UsageError(
            "--logs needs a log chain of its own, and LIFEBOAT_SQL_OWN_LOG_CHAIN is not true",
            remedy="Set LIFEBOAT_SQL_OWN_LOG_CHAIN=true, if no other tool backs up these logs.",
            setting="LIFEBOAT_SQL_OWN_LOG_CHAIN",
        )
