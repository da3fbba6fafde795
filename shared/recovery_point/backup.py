"""Making a recovery point: each requested component, one lock from plan to record, the record last; then it is
verified."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from shared.databases.progress import Progress as DatabasesProgress
from shared.errors import Cancelled, RepositoryLocked, SourceError
from shared.fileshare.shard import Progress
from shared.fileshare.sources import SourceOpener
from shared.recovery_point.adopted_share import AdoptedShare, adopted_share
from shared.recovery_point.catalog import Catalog
from shared.recovery_point.diagnosis import Diagnose, diagnose_all
from shared.recovery_point.opening import open_for_backup, open_share
from shared.recovery_point.record import FAILED, RecoveryPoint
from shared.recovery_point.recording import make_record, tell
from shared.recovery_point.run_verification import verify_run
from shared.recovery_point.scope import BackupRequest, refuse_unknown, scope_of
from shared.recovery_point.share import History, ScanAhead, ShareComponent
from shared.recovery_point.verifications import Verification
from shared.repository.locks import HeldLock
from shared.repository.repository import Repository
from shared.settings import DatabasesSettings, Settings
from shared.storage.vault import Vault

if TYPE_CHECKING:
    from shared.recovery_point.databases import DatabasesComponent
    from shared.recovery_point.secrets import SecretsComponent

Json = dict[str, Any]


@dataclass(slots=True)
class Backup:
    """One run. ``run`` returns the recorded point; an error means that nothing could begin, or that no record could
    be written."""

    settings: Settings
    request: BackupRequest
    progress: Progress = field(default_factory=Progress)
    databases_progress: DatabasesProgress = field(default_factory=DatabasesProgress)
    check: Callable[[], None] = lambda: None
    diagnose: Diagnose = lambda component: None
    """Looks at the way to a component that came to nothing."""
    verification: Verification | None = None
    """After ``run``: what was found when the point was verified. It changes neither the point nor what came of it."""

    def run(self) -> RecoveryPoint:
        scope = scope_of(self.settings, self.request)
        share = self.settings.share() if "share" in scope.requested else None
        sql = self.settings.databases() if "databases" in scope.requested else None
        wait = self.settings.lock_wait_seconds()
        began = time.monotonic()
        now = datetime.now(UTC)
        with Vault(self.settings.vault()) as vault, ExitStack() as closing:
            opener = open_share(vault, share) if share else None
            ahead = self._scan_ahead(opener, closing) if opener and not opener.settings.adopted else None
            catalog = Catalog(vault.records)
            refuse_unknown(catalog, self.request)
            repository, history = open_for_backup(vault, catalog, new_repository=self.request.new_repository)
            with HeldLock(repository, exclusive=False, hostname=platform.node(), wait_seconds=wait) as lock:
                if ahead and ahead.is_stale():
                    ahead.scan.close()
                    ahead = None

                def check() -> None:
                    self.check()
                    lock.check()

                component = self._share(opener, repository, history, check, ahead) if opener else None
                secrets = self._secrets(vault, catalog, scope.requested)
                held = secrets.held_certificates if secrets else frozenset()
                with self._databases(sql, vault, repository, check, held) as databases:
                    components, reasons = self._components(scope.requested, component, databases, secrets)
                reasons = diagnose_all(components, reasons, self.diagnose)
                try:
                    lock.check()
                except RepositoryLocked as lost:  # whatever was stored may have been pruned since: nothing of it counts
                    components = {name: each | {"status": FAILED} for name, each in components.items()}
                    reasons.append(lost.as_reason("share"))
                point = make_record(
                    self.settings,
                    self.request,
                    scope,
                    catalog,
                    time=now,
                    duration_seconds=time.monotonic() - began,
                    components=components,
                    reasons=reasons,
                )
                catalog.add(point)
            tell(point)
            self.verification = verify_run(vault, point.point, lambda: repository, is_listed=True)
        return point

    def _share(
        self,
        opener: SourceOpener,
        repository: Repository,
        history: History,
        check: Callable[[], None],
        ahead: ScanAhead | None,
    ) -> ShareComponent | AdoptedShare:
        if opener.settings.adopted:
            return adopted_share(
                opener, repository, history, check, progress=self.progress, allow_shrink=self.request.allow_shrink
            )
        return ShareComponent(
            settings=opener.settings,
            repository=repository,
            history=history,
            opener=opener,
            progress=self.progress,
            check=check,
            allow_shrink=self.request.allow_shrink,
            workers=self.request.workers,
            ahead=ahead,
        )

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
        own = Repository(repository.store, repository.key, repository.config, distrusted=repository.distrusted)

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

    def _secrets(self, vault: Vault, catalog: Catalog, requested: Sequence[str]) -> SecretsComponent | None:
        """What is kept in the Key Vault: certificates in it decide on databases too."""
        if vault.secrets is None or not {"databases", "secrets"} & set(requested):
            return None
        from shared.recovery_point.secrets import SecretsComponent  # not for a share alone

        component = SecretsComponent(self.settings, vault, catalog.earlier)
        component.begin()
        return component

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
        share: ShareComponent | AdoptedShare | None,
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
        if secrets is not None and "secrets" in requested:
            components["secrets"], why["secrets"] = secrets.finish(components.get("databases"))
        ordered = {name: components[name] for name in requested}
        return ordered, [reason for name in requested for reason in why[name]]


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
