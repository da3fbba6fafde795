"""Restoring the databases of a recovery point, or of a moment between two."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from shared import VERSION
from shared.databases.backup_set import BackupSet
from shared.databases.chains import Chain, NoChain, chain_at, chain_to
from shared.databases.medium import REPOSITORY, Depot
from shared.databases.progress import Progress
from shared.databases.restore import AS, TO, DatabaseRestores, Planned, Restored
from shared.errors import Cancelled, DatabaseError, LifeboatError, UsageError
from shared.recovery_point.catalog import Catalog
from shared.recovery_point.databases import connect, open_medium, readable_sets, restore_mode, sets_of
from shared.recovery_point.record import COMPLETE, FAILED, PARTIAL, RecoveryPoint, new_id
from shared.recovery_point.verifications import damaged_packs
from shared.repository.initialise import choose_passwords, open_repository
from shared.repository.locks import HeldLock
from shared.repository.repository import Repository
from shared.repository.trees import rfc3339_of
from shared.settings import ServerSettings, Settings
from shared.storage.vault import Vault

Json = dict[str, Any]
NAMES_LISTED = 100


@dataclass(frozen=True, slots=True)
class DatabasesRestoreRequest:
    point: str | None = None
    """None: the newest point in which a database is good or usable in part."""
    to: str | None = None
    """``host[\\instance][,port]``; None: the source."""
    suffix: str = ""
    """Appended to each database's name."""
    at: str | None = None
    """ISO 8601 with an offset or ``Z``."""
    overwrite: bool = False
    dry_run: bool = False
    check_database: bool = False
    """DBCC CHECKDB after each restore."""


@dataclass(slots=True)
class DatabasesRestored:
    point: str
    target: str
    restored: list[Restored] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    reasons: list[Json] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    statements: list[str] = field(default_factory=list)
    """Of a dry run: the T-SQL, in its order."""
    planned: list[str] = field(default_factory=list)
    """Names that databases are to be restored under."""

    @property
    def status(self) -> str:
        if not self.reasons and not self.skipped:
            return COMPLETE
        return PARTIAL if self.restored or (self.skipped and len(self.skipped) == len(self.reasons)) else FAILED

    @property
    def bytes(self) -> int:
        return sum(each.bytes for each in self.restored)

    def answer(self) -> Json:
        """What the command answers."""
        return {
            "status": self.status,
            "reasons": self.reasons,
            "point": self.point,
            "target": self.target,
            "restored": len(self.restored),
            "unchanged": 0,
            "skipped": len(self.skipped),
            "skipped_names": self.skipped[:NAMES_LISTED],
            "bytes": self.bytes,
            "databases": [each.target for each in self.restored],
            "notes": self.notes,
        }


def restore_databases(
    settings: Settings,
    request: DatabasesRestoreRequest,
    *,
    progress: Progress | None = None,
    check: Callable[[], None] = lambda: None,
) -> DatabasesRestored:
    """Restore every database of the chosen point but ``master``, each to the end of its backup there, or all to one
    moment.

    Asks for no setting that it does not use. Errors: ``UsageError``, ``SettingsError``, those of the vault, and of the
    server as a whole; a database that cannot be restored is a reason in the result.
    """
    moment = parse_moment(request.at) if request.at else None
    _refuse_live(settings, request)
    server = settings.restore_sql_server(request.to)
    with ExitStack() as closing:
        vault = closing.enter_context(Vault(settings.vault()))
        vault.ensure_there(create=False)
        catalog = Catalog(vault.records)
        point, notes = choose_point(catalog, request.point)
        result = DatabasesRestored(point.point, server.server, notes=notes)
        chains = choose_chains(catalog, point, moment, result.reasons)
        mode = restore_mode(settings, str(point.components["databases"]["mode"]), chains)
        restores = closing.enter_context(
            open_restores(
                settings, vault, server, mode, chains, point, progress or Progress(), check, attach=not request.dry_run
            )
        )
        planned = _plan(restores, chains, request, result)
        result.planned = [each.target for each in planned]
        for each in planned:
            if request.dry_run:
                result.statements += restores.preview(each)
                continue
            if not _restore(restores, each, request.check_database, result):
                break
        result.notes += restores.notes
        result.notes += restores.put_away()
        return result


def _refuse_live(settings: Settings, request: DatabasesRestoreRequest) -> None:
    """``UsageError`` where databases of the source would be replaced, and nobody said that this is meant."""
    if request.to is not None and not request.to.strip():
        raise UsageError(
            "the server to restore to is empty",
            remedy=f"Name it with {TO}, or leave that out to restore to the source.",
        )
    to_source = request.to is None or request.to == settings.values.get("LIFEBOAT_SQL_SERVER")
    if to_source and not request.suffix and not request.overwrite:
        raise UsageError(
            "this would restore over the databases of the source",
            remedy=f"Restore beside them with {AS}, or to another server with {TO}; --overwrite replaces them.",
        )


def _restore(restores: DatabaseRestores, planned: Planned, check_database: bool, result: DatabasesRestored) -> bool:
    """One database, its outcome added to ``result``. False: somebody asked for the run to stop."""
    done: Restored | None = None
    try:
        done = restores.restore(planned)
        result.restored.append(done)
        if check_database:
            done.check_seconds = restores.check_database(planned.target)
    except LifeboatError as error:
        result.reasons.append(reason(error, planned.database))
        return not isinstance(error, Cancelled)
    return True


def parse_moment(text: str) -> datetime:
    """Aware UTC. ``UsageError`` for what is not ISO 8601 with an offset or ``Z``."""
    with suppress(ValueError, OverflowError):
        moment = datetime.fromisoformat(text.strip())
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    raise UsageError(
        f"--at {text!r} is no moment", remedy="Write it as 2026-11-25T13:00:00Z, or with an offset: ...+01:00."
    )


def choose_point(catalog: Catalog, point_id: str | None) -> tuple[RecoveryPoint, list[str]]:
    """The point asked for, or the newest in which a database is good or usable in part; and what is to be told."""
    if point_id is not None:
        point = catalog.get(point_id)
        if not sets_of(point):
            raise UsageError(
                f"the recovery point {point_id} has no backup of a database",
                remedy="Run 'points' to see which have one.",
            )
        return point, _lacks(point, catalog)
    passed_over: list[str] = []
    for point in catalog.readable(passed_over):
        component = point.components.get("databases", {})
        state = component.get("status", "not requested")
        if component.get("tail_of_restore"):
            state = "the tails of logs that a restore replaced"
        elif state in (COMPLETE, PARTIAL) and readable_sets(point):
            return point, passed_over + _lacks(point, catalog)
        passed_over.append(f"passed over: {point.point}, in which databases are {state}")
    raise UsageError("no recovery point holds a backup of a database", remedy="Run 'points' to see what there is.")


def choose_chains(
    catalog: Catalog, point: RecoveryPoint, moment: datetime | None, reasons: list[Json]
) -> dict[str, Chain]:
    """For each database of the point, ``master`` apart, what is restored. One that has no backup there, and a chain
    with a gap, go to ``reasons``."""
    all_sets: list[BackupSet] = sets_of(point)
    if moment is not None or any(each.kind != "full" for each in all_sets):
        all_sets = [each for other in catalog.readable() for each in readable_sets(other)]
    chains: dict[str, Chain] = {}
    for name, database in point.databases.items():
        if name.lower() == "master":
            continue
        try:
            chains[name] = _chain(name, database, point, moment, all_sets)
        except LifeboatError as error:
            reasons.append(reason(error, name))
    return chains


def _chain(
    name: str, database: Json, point: RecoveryPoint, moment: datetime | None, all_sets: list[BackupSet]
) -> Chain:
    """To ``moment``, else to the end of the last backup in the point that can be restored."""
    made = [BackupSet.from_json(document, point.point) for document in database["backups"]]
    if not made and moment is None:
        raise DatabaseError(
            f"{point.point} holds no backup of {name!r}: it is {database['status']} there",
            remedy="Run 'points' and choose another with --point.",
            database=name,
        )
    named = made[-1].database if made else name
    sets = [each for each in all_sets if each.database.casefold() == named.casefold()]
    if moment is not None:
        return chain_at(moment, sets, name)
    failure: NoChain | None = None
    for each in reversed(made):
        try:
            return chain_to(each, sets)
        except NoChain as error:
            failure = failure or error
    assert failure is not None
    raise failure


@contextmanager
def open_restores(
    settings: Settings,
    vault: Vault,
    server: ServerSettings,
    mode: str,
    chains: Mapping[str, Chain],
    point: RecoveryPoint,
    progress: Progress,
    check: Callable[[], None],
    *,
    attach: bool = True,
) -> Iterator[DatabaseRestores]:
    """Connected to ``server``, which can read what the medium brings until the block ends; without ``attach`` it is
    only looked at."""
    limit = settings.statement_limit_seconds()
    with ExitStack() as closing:
        repository = _LazyRepository(vault)
        in_repository = any(each.stored["kind"] == REPOSITORY for chain in chains.values() for each in chain.sets)
        if in_repository:
            repository()  # a wrong password is told before anything is sent to the server
        depot = Depot(vault, repository, server.server, repository.lock)
        medium = closing.enter_context(open_medium(settings, mode, vault, depot, limit))
        connection = closing.enter_context(connect(server, vault)())
        restores = DatabaseRestores(
            connection=connection,
            medium=medium,
            limit_seconds=limit,
            record_tail=lambda tail: _record_tail(Catalog(vault.records), point, tail),
            own_log_chain=settings.own_log_chain(),
            progress=progress,
            check=check,
        )
        closing.callback(medium.detach, connection)
        if attach:
            medium.attach(connection)
        yield restores


class _LazyRepository:
    """The repository, opened when it is first needed. The tail of a log is written into it under a lock."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._opened: Repository | None = None

    def __call__(self) -> Repository:
        if self._opened is None:
            vault = self._vault
            passwords = choose_passwords(vault.settings.repository_password, vault.secrets)
            repository = open_repository(vault.share, vault.records, passwords)
            repository.distrusted = damaged_packs(vault.records)
            repository.load_index(present=repository.trusted_packs(), keep_missing=True)
            self._opened = repository
        return self._opened

    def lock(self) -> HeldLock:
        return HeldLock(self(), exclusive=False, hostname=platform.node())


def _plan(
    restores: DatabaseRestores,
    chains: Mapping[str, Chain],
    request: DatabasesRestoreRequest,
    result: DatabasesRestored,
) -> list[Planned]:
    """Everything is planned before anything is done."""
    planned = []
    for name, chain in chains.items():
        target = chain.full.database + request.suffix
        try:
            plan = restores.plan(chain, target, overwrite=request.overwrite)
        except LifeboatError as error:
            if error.exit_code == 2:
                raise
            result.reasons.append(reason(error, name))
            continue
        if plan is None:
            result.skipped.append(target)
            result.reasons.append(
                {
                    "component": "databases",
                    "code": "exists",
                    "message": f"{target} is on {result.target} already and was left as it is",
                    "remedy": f"Choose another suffix with {AS}, or replace it with --overwrite.",
                    "database": name,
                }
            )
        else:
            planned.append(plan)
    return planned


def reason(error: LifeboatError, database: str) -> Json:
    return error.as_reason("databases") | {"database": database}


def _lacks(point: RecoveryPoint, catalog: Catalog) -> list[str]:
    whole = next((other for other in catalog.readable() if other.whole), None)
    absent = sorted(set(whole.requested_databases) - set(point.databases)) if whole else []
    notes = [
        f"{name} is {database['status']} in {point.point}"
        for name, database in point.databases.items()
        if database["status"] != COMPLETE
    ]
    if absent:
        notes.append(f"{', '.join(absent)} of {whole.point if whole else ''} is not in {point.point}")
    if any(name.lower() == "master" for name in point.databases):
        notes.append("master is never restored by command: the runbook has a page on it")
    return notes


def _record_tail(catalog: Catalog, point: RecoveryPoint, tail: BackupSet) -> str:
    """A point of its own that holds nothing but this: so it can be restored too, and is kept like any backup."""
    now = datetime.now(UTC)
    moment = rfc3339_of(tail.finished)
    source = point.components["databases"]
    component = {
        "status": COMPLETE,
        "mode": source["mode"],
        "source": source["source"],
        "server": source["server"],
        "tail_of_restore": point.point,
        "finished": moment,
        "data_time": moment,
        "newest_data_time": moment,
        "bytes_stored": tail.stored["bytes_stored"],
        "databases": {
            tail.database: {
                "status": COMPLETE,
                "recovery_model": tail.recovery_model,
                "moment": moment,
                "backups": [tail.to_json()],
                "headers": [],
                "notes": ["taken before a restore replaced the database: what no backup held"],
            }
        },
        "logins": {},
        "notes": [],
    }
    tail_point = RecoveryPoint(
        point=new_id(now),
        time=rfc3339_of(now),
        status=COMPLETE,
        requested=["databases"],
        not_configured=[],
        without=[],
        whole=False,
        suspect=False,
        components={"databases": component},
        lifeboat=VERSION,
    )
    catalog.add(tail_point)
    return tail_point.point
