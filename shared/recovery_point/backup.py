"""Making a recovery point: each requested component, one lock from plan to record, the record last."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from shared import VERSION
from shared.databases.progress import Progress as DatabasesProgress
from shared.errors import Cancelled, ContainerMissing, RepositoryLocked, SettingsError, SourceError, UsageError
from shared.fileshare.shard import Progress
from shared.fileshare.sources import SourceOpener
from shared.recovery_point.catalog import Catalog
from shared.recovery_point.record import COMPLETE, FAILED, PARTIAL, RecoveryPoint, new_id
from shared.recovery_point.share import History, ScanAhead, ShareComponent, read_history
from shared.repository.initialise import choose_passwords, open_or_initialise
from shared.repository.locks import HeldLock
from shared.repository.repository import Repository
from shared.repository.trees import parse_rfc3339, rfc3339_of
from shared.settings import DatabasesSettings, Settings, ShareSettings
from shared.smb.endpoint import unc_path
from shared.storage.vault import Vault
from shared.telemetry import Event, emit

COMPONENTS = ("databases", "share", "secrets")
if TYPE_CHECKING:
    from shared.recovery_point.databases import DatabasesComponent
    from shared.recovery_point.secrets import SecretsComponent

Json = dict[str, Any]


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


@dataclass(slots=True)
class Backup:
    """One run. ``run`` returns the recorded point; an error means that nothing could begin, or that no record could
    be written."""

    settings: Settings
    request: BackupRequest
    progress: Progress = field(default_factory=Progress)
    databases_progress: DatabasesProgress = field(default_factory=DatabasesProgress)
    check: Callable[[], None] = lambda: None

    def run(self) -> RecoveryPoint:
        requested, configured = self._requested()
        share = self.settings.share() if "share" in requested else None
        sql = self.settings.databases() if "databases" in requested else None
        began = time.monotonic()
        now = datetime.now(UTC)
        with Vault(self.settings.vault()) as vault, ExitStack() as closing:
            opener = self._opener(vault, share) if share else None
            ahead = self._scan_ahead(opener, closing) if opener else None
            catalog = Catalog(vault.records)
            self._refuse_unknown(catalog)
            repository, history = self._open(vault, catalog)
            wait = (share or sql or _Impatient()).lock_wait_seconds
            with HeldLock(repository, exclusive=False, hostname=platform.node(), wait_seconds=wait) as lock:
                if ahead and ahead.is_stale():
                    ahead.scan.close()
                    ahead = None

                def check() -> None:
                    self.check()
                    lock.check()

                component = (
                    ShareComponent(
                        settings=share,
                        repository=repository,
                        history=history,
                        opener=opener,
                        progress=self.progress,
                        check=check,
                        allow_shrink=self.request.allow_shrink,
                        workers=self.request.workers,
                        ahead=ahead,
                    )
                    if share and opener
                    else None
                )
                secrets = self._secrets(vault, catalog) if "secrets" in requested else None
                held = secrets.held_certificates if secrets else frozenset()
                with self._databases(sql, vault, repository, check, held) as databases:
                    components, reasons = self._components(requested, component, databases, secrets)
                try:
                    lock.check()
                except RepositoryLocked as lost:  # whatever was stored may have been pruned since: nothing of it counts
                    components = {name: each | {"status": FAILED} for name, each in components.items()}
                    reasons.append(lost.as_reason("share"))
                point = self._record(catalog, now, began, requested, configured, components, reasons)
                catalog.add(point)
        _tell(point)
        return point

    @contextmanager
    def _databases(
        self,
        sql: DatabasesSettings | None,
        vault: Vault,
        repository: Repository,
        check: Callable[[], None],
        held_certificates: frozenset[str],
    ) -> Iterator[_Beside | None]:
        """The databases, backed up beside the share while the block runs; None where they are not requested."""
        if sql is None:
            yield None
            return
        from shared.recovery_point.databases import DatabasesComponent, in_vault, read_sets  # not for a share alone

        # The share writes beside: what it has on its way and not indexed yet must not count as stored.
        own = Repository(repository.store, repository.key, repository.config)

        with (
            DatabasesComponent(
                settings=sql,
                source=self.settings,
                vault=vault,
                repository=lambda: own,
                history=lambda: read_sets(Catalog(vault.records).readable(), sql.databases, in_vault(vault)),
                check=check,
                progress=self.databases_progress,
                logs_only=self.request.logs,
                held_certificates=held_certificates,
            ) as component,
            _Beside(component, check) as beside,
        ):
            yield beside

    def _secrets(self, vault: Vault, catalog: Catalog) -> SecretsComponent:
        from shared.recovery_point.secrets import SecretsComponent  # not for a share alone

        component = SecretsComponent(self.settings, vault, catalog.earlier)
        component.begin()
        return component

    def _requested(self) -> tuple[list[str], list[str]]:
        """What this run backs up, and what is configured. ``UsageError``, ``SettingsError``."""
        configured = self.settings.configured()
        for name in self.request.only:
            if name not in COMPONENTS:
                raise UsageError(f"there is no component {name!r}", remedy=f"Components are {', '.join(COMPONENTS)}.")
        for name in self.request.only:
            if name not in configured:
                raise SettingsError(
                    f"the component {name!r} is not configured",
                    remedy=f"Set {_FIRST_SETTING[name]}.",
                    setting=_FIRST_SETTING[name],
                )
        there = [*configured, *(self.settings.databases().databases if "databases" in configured else ())]
        for name in self.request.without:
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
        if self.request.logs:
            self._require_own_logs()
        only = ("databases",) if self.request.logs else self.request.only
        return [name for name in COMPONENTS if name in (only or configured)], configured

    def _require_own_logs(self) -> None:
        """``UsageError``: log backups were asked for, and cannot be made."""
        if set(self.request.only) - {"databases"}:
            raise UsageError("--logs backs up databases only", remedy="Leave --only out, or give it 'databases'.")
        if not self.settings.databases().own_log_chain:
            raise UsageError(
                "--logs needs a log chain of its own, and LIFEBOAT_SQL_OWN_LOG_CHAIN is not true",
                remedy="Set LIFEBOAT_SQL_OWN_LOG_CHAIN=true, if no other tool backs up these logs.",
                setting="LIFEBOAT_SQL_OWN_LOG_CHAIN",
            )

    def _opener(self, vault: Vault, share: ShareSettings) -> SourceOpener:
        password = share.password or ""
        if share.folder is None and not password:
            password = vault.secret("share-password", setting="LIFEBOAT_SHARE_PASSWORD")
        opener = SourceOpener(share, password)
        if share.folder is None:
            opener.describe()  # a URL that is none is told before anything is written
        return opener

    def _open(self, vault: Vault, catalog: Catalog) -> tuple[Repository, History]:
        """The repository, and at the same time what earlier points say."""
        with ThreadPoolExecutor(1, "history") as pool:
            reading = pool.submit(lambda: read_history(catalog.earlier()))
            try:
                return self._open_repository(vault), reading.result()
            except ContainerMissing:
                vault.ensure_there(create=True)
                return self._open_repository(vault), History()

    def _open_repository(self, vault: Vault) -> Repository:
        passwords = choose_passwords(vault.settings.repository_password, vault.secrets)
        return open_or_initialise(vault.share, vault.records, passwords, new_repository=self.request.new_repository)

    def _scan_ahead(self, opener: SourceOpener, closing: ExitStack) -> ScanAhead | None:
        """Begin to list the share while the vault is being opened. A share that fails does so again, and is told,
        when it is its turn."""
        if self.request.workers > 1 or opener.settings.previous_version != "off":
            return None
        try:
            ahead = ScanAhead(opener)
        except SourceError:
            return None
        closing.callback(ahead.scan.close)
        return ahead

    def _components(
        self,
        requested: Sequence[str],
        share: ShareComponent | None,
        databases: _Beside | None,
        secrets: SecretsComponent | None,
    ) -> tuple[dict[str, Json], list[Json]]:
        components: dict[str, Json] = {}
        why: dict[str, list[Json]] = {}
        if share is not None:
            components["share"], why["share"] = share.back_up()
        if databases is not None:
            moment = components.get("share", {}).get("data_time")
            components["databases"], why["databases"] = databases.result(moment)
        if secrets is not None:
            components["secrets"], why["secrets"] = secrets.finish(components.get("databases"))
        ordered = {name: components[name] for name in requested}
        return ordered, [reason for name in requested for reason in why[name]]

    def _record(
        self,
        catalog: Catalog,
        now: datetime,
        began: float,
        requested: list[str],
        configured: list[str],
        components: dict[str, Json],
        reasons: list[Json],
    ) -> RecoveryPoint:
        states = [component["status"] for component in components.values()]
        if all(state == COMPLETE for state in states):
            status = COMPLETE
        elif all(state == FAILED for state in states):
            status = FAILED
        else:
            status = PARTIAL
        moments = [each.get(key) for each in components.values() for key in ("data_time", "newest_data_time")]
        gone = self._gone(catalog, configured)
        narrowed = (
            self.request.only or self.request.logs or requested != [name for name in COMPONENTS if name in configured]
        )
        times = [parse_rfc3339(moment) for moment in moments if moment]
        return RecoveryPoint(
            point=new_id(now),
            time=rfc3339_of(now),
            status=status,
            requested=requested,
            not_configured=[name for name in COMPONENTS if name not in configured],
            without=list(self.request.without),
            whole=not narrowed and not gone,
            gone=gone,
            suspect=any(component.get("suspect") for component in components.values()),
            components=components,
            reasons=reasons,
            skew_seconds=(max(times) - min(times)) / 1e9 if times else 0.0,
            duration_seconds=round(time.monotonic() - began, 3),
            source=self._source(components),
            lifeboat=VERSION,
        )

    def _source(self, components: dict[str, Json]) -> Json:
        """What App Service was made of when the point was made: what a recovery has to name or to replace."""
        source: Json = {
            "resource_provider_build": self.settings.app_service_build(),
            "key_vault": self.settings.key_vault_url(),
            "lifeboat": VERSION,
        }
        if "share" in components:
            url = self.settings.share_url() or ""
            source |= {"share": url, "share_unc": unc_path(url)}
        if "databases" in components:
            databases = components["databases"]
            server = databases.get("server") or {}
            source |= {
                "sql_server": databases.get("source"),
                "sql_name": server.get("name"),
                "sql_version": server.get("version"),
                "sql_edition": server.get("edition"),
                "databases": databases.get("requested"),
            }
        return source

    def _refuse_unknown(self, catalog: Catalog) -> None:
        """``UsageError`` for a ``--without`` that names neither a component nor what the whole point before had, or was
        told to do without: a slip of the pen would accept nothing and say nothing."""
        databases = [name for name in self.request.without if name not in COMPONENTS]
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

    def _gone(self, catalog: Catalog, configured: list[str]) -> list[str]:
        """Components and databases of the newest whole point that are not configured here, and nobody said that this
        is meant."""
        before = next((point for point in catalog.earlier() if point.whole), None)
        if before is None:
            return []
        gone = set(before.requested) - set(configured)
        if "databases" in configured:
            gone |= set(before.requested_databases) - set(self.settings.databases().databases)
        return sorted(gone - set(self.request.without))


@dataclass(frozen=True, slots=True)
class _Impatient:
    lock_wait_seconds: int = 0


class _Beside:
    """Databases in a thread of their own while the share is read. Leaving the block ends them first."""

    def __init__(self, component: DatabasesComponent, check: Callable[[], None]) -> None:
        self._component = component
        self._check = check
        self._given_up = threading.Event()
        component.check = self._still_wanted
        self._pool = ThreadPoolExecutor(1, "databases")

    def __enter__(self) -> _Beside:
        self._running = self._pool.submit(self._component.back_up)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._given_up.set()
        self._pool.shutdown(wait=True)

    def result(self, share_moment: str | None) -> tuple[Json, list[Json]]:
        """Waits for them."""
        self._running.result()
        return self._pool.submit(self._component.finish, share_moment).result()

    def _still_wanted(self) -> None:
        if self._given_up.is_set():
            raise Cancelled("the run was given up")
        self._check()


_FIRST_SETTING = {
    "databases": "LIFEBOAT_SQL_SERVER",
    "share": "LIFEBOAT_SHARE_URL",
    "secrets": "LIFEBOAT_KEY_VAULT_URL",
}

_EVENTS = {
    COMPLETE: (Event.RECOVERY_POINT_COMPLETED, Event.SHARE_COMPLETED),
    PARTIAL: (Event.RECOVERY_POINT_PARTIAL, Event.SHARE_PARTIAL),
    FAILED: (Event.RECOVERY_POINT_FAILED, Event.SHARE_FAILED),
}


def _tell(point: RecoveryPoint) -> None:
    share = point.share
    if share is not None:
        sizes = {key: share[key] for key in ("files", "bytes_read", "bytes_stored") if key in share}
        emit(_EVENTS[share["status"]][1], point=point.point, **sizes)
    if "databases" in point.components:
        from shared.recovery_point.databases import tell as tell_databases

        tell_databases(point.components["databases"], point.point)
    if "secrets" in point.components:
        from shared.recovery_point.secrets import tell as tell_secrets

        tell_secrets(point.components["secrets"], point.point)
    emit(
        _EVENTS[point.status][0],
        point=point.point,
        whole=point.whole,
        suspect=point.suspect,
        duration_seconds=point.duration_seconds,
    )
