"""The component ``databases`` of a recovery point: what the server is, each database's backups, how it went."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from shared.databases.adopted_files import PlanFiles
from shared.databases.adopting import DatabaseAdoptions
from shared.databases.backup import DatabaseBackups, Outcome
from shared.databases.backup_set import BackupSet
from shared.databases.chains import Chain, NoChain, chain_at, newest_base
from shared.databases.connection import Connection, check_settings
from shared.databases.disk_folder import DiskFolder
from shared.databases.disk_medium import DiskMedium
from shared.databases.inspection import ServerFacts
from shared.databases.logins import read_logins
from shared.databases.medium import REPOSITORY, Depot, Medium
from shared.databases.progress import Progress
from shared.databases.tsql import quote_name
from shared.databases.url_medium import UrlMedium
from shared.errors import ContainerMissing, Damaged, DriverMissing, LifeboatError, StorageError
from shared.recovery_point.record import COMPLETE, FAILED, PARTIAL, RecoveryPoint
from shared.repository.repository import Repository
from shared.repository.trees import datetime_of, rfc3339_of
from shared.secrets.files import SecretFiles
from shared.settings import DatabasesSettings, ServerSettings, Settings
from shared.storage.vault import Vault
from shared.telemetry import Event, emit

Json = dict[str, Any]

LOGINS_SECRET = "sql-logins"  # noqa: S105 - the name of a secret, not one
CLOCKS_DIFFER_SECONDS = 300
ADOPT = "adopt"

_EVENTS = {
    COMPLETE: Event.DATABASE_COMPLETED,
    PARTIAL: Event.DATABASE_PARTIAL,
    FAILED: Event.DATABASE_FAILED,
}


def sets_of(point: RecoveryPoint) -> list[BackupSet]:
    """All backups that a point holds. ``Damaged``."""
    try:
        documents = [document for each in point.databases.values() for document in each["backups"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"the databases in {point.point} cannot be read: {error!r}", remedy="Run 'check'.") from error
    return [BackupSet.from_json(document, point.point) for document in documents]


def readable_sets(point: RecoveryPoint) -> list[BackupSet]:
    """As ``sets_of``; none of a point whose record of them cannot be read, which ``check`` tells."""
    try:
        return sets_of(point)
    except Damaged:
        return []


def in_vault(vault: Vault) -> Callable[[BackupSet], bool]:
    """Whether a backup's bytes are still there, by their length; each container is listed once."""
    blobs: dict[str, int] = {}
    snapshots: set[str] = set()
    listed: set[str] = set()

    def present(each: BackupSet) -> bool:
        if each.stored["kind"] == REPOSITORY:
            if REPOSITORY not in listed:
                listed.add(REPOSITORY)
                snapshots.update(blob.name.rpartition("/")[2] for blob in vault.share.list("snapshots/"))
            return each.stored["snapshot"] in snapshots
        for blob in each.stored["blobs"]:
            folder = f"{blob['name'].partition('/')[0]}/"
            if folder not in listed:
                listed.add(folder)
                with suppress(ContainerMissing):  # made with the first blob that is copied into it
                    blobs.update({found.name: found.size_bytes for found in vault.databases.list(folder)})
        return all(blobs.get(blob["name"]) == blob["size_bytes"] for blob in each.stored["blobs"])

    return present


def read_sets(
    points: Iterable[RecoveryPoint], wanted: Sequence[str], present: Callable[[BackupSet], bool]
) -> dict[str, list[BackupSet]]:
    """Backups by database, as it is named in ``wanted``, from ``points``, newest first, as far back as the newest full
    of each that is not COPY_ONLY. Those that are not ``present`` in the vault any more count as never made."""
    history: dict[str, list[BackupSet]] = {name: [] for name in wanted}
    named = {name.casefold(): name for name in wanted}
    for point in points:
        if point.components.get("databases", {}).get("status") == FAILED:
            continue  # among them those whose lock was lost, of which nothing counts
        for each in readable_sets(point):
            if each.database.casefold() in named and present(each):
                history[named[each.database.casefold()]].append(each)
        if all(newest_base(sets) is not None or name.lower() == "master" for name, sets in history.items()):
            break
    return history


def server_password(server: ServerSettings, vault: Vault) -> str:
    return server.password or vault.secret(server.secret, setting=f"{server.prefix}_PASSWORD")


def connect(server: ServerSettings, vault: Vault) -> Callable[[], Connection]:
    """Opens connections; the password is read once, now."""
    password = server_password(server, vault)
    return lambda: Connection.open(server, password)


def restore_mode(settings: Settings, made_in: str, chains: Mapping[str, Chain]) -> str:
    """By which way backups are brought back: ``url`` or ``disk``. ``made_in``: the mode of the point.

    What was adopted comes back through the landing account where there is one, unless it lies in a file behind others
    and there is a disk folder. ``SettingsError``: neither is set.
    """
    mode = settings.restore_sql_mode(default=made_in)
    adopted = settings.sql_mode(default=made_in) == ADOPT
    behind = any(each.position > 1 for chain in chains.values() for each in chain.sets)
    return "disk" if adopted and behind and settings.has_disk() else mode


class Run(Protocol):
    """Backs databases up, or adopts what somebody else did."""

    server: ServerFacts | None
    outcomes: dict[str, Outcome]
    history: Mapping[str, Sequence[BackupSet]]

    def run(self) -> None: ...

    def run_logs(self) -> None: ...

    def close(self) -> None: ...

    @property
    def connection(self) -> Connection: ...


def open_medium(settings: Settings, mode: str, vault: Vault, depot: Depot, limit_seconds: float) -> Medium:
    """Of mode ``url`` or ``disk``. ``SettingsError`` for what that needs and is not set."""
    if mode == "url":
        return UrlMedium(settings.landing(), depot, limit_seconds=limit_seconds)
    disk = settings.disk()
    password = disk.password or vault.secret("share-password", setting="LIFEBOAT_SQL_DISK_PASSWORD")
    return DiskMedium(DiskFolder.open(disk, password), depot)


def plan_files(settings: Settings, vault: Vault) -> PlanFiles:
    """The files of somebody else's backups. ``SettingsError`` for what makes no sense; nothing is sent yet."""
    adopting = settings.adopting()
    return PlanFiles(
        adopting,
        lambda: adopting.password or vault.secret("share-password", setting="LIFEBOAT_SQL_DISK_PASSWORD"),
        lambda: adopting.sas or vault.secret("sql-adopt-sas", setting="LIFEBOAT_SQL_ADOPT_SAS"),
        api_version=vault.settings.api_version,
        near=(vault.settings.url, settings.values.get("LIFEBOAT_LANDING_URL", "")),
    )


@dataclass(slots=True)
class DatabasesComponent:
    """Backs the databases up as part of a recovery point; a context manager. The lock on the repository is held by
    the caller, since what the vault cannot take as a blob goes there."""

    settings: DatabasesSettings
    source: Settings
    vault: Vault
    repository: Callable[[], Repository]
    history: Callable[[], Mapping[str, Sequence[BackupSet]]]
    """Read only where the log chain is ours, or backups are adopted."""
    check: Callable[[], None]
    progress: Progress = field(default_factory=Progress)
    logs_only: bool = False
    held_certificates: frozenset[str] = frozenset()
    """Thumbprints of certificates that are kept with their private key."""
    _medium: Medium | None = None
    _run: Run | None = None
    _closing: ExitStack = field(default_factory=ExitStack)
    _logins: Json = field(default_factory=dict)
    _reasons: list[Json] = field(default_factory=list)

    def __enter__(self) -> DatabasesComponent:
        """``SettingsError``, ``UsageError``: something that the mode needs is not set, or is wrong. Nothing is sent to
        the server yet."""
        for name in self.settings.databases:
            quote_name(name)
        depot = Depot(self.vault, self.repository, self.settings.server.server)
        password = server_password(self.settings.server, self.vault)
        with suppress(DriverMissing):  # that costs the databases, not the share beside them
            check_settings(self.settings.server, password)
        with ExitStack() as opening:
            self._run = (
                self._adoption(depot, password, opening) if self._adopts else self._backup(depot, password, opening)
            )
            self._closing = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._run_there.close()
        self._closing.close()

    @property
    def _adopts(self) -> bool:
        return self.settings.mode == ADOPT

    def _backup(self, depot: Depot, password: str, opening: ExitStack) -> Run:
        limit = self.settings.statement_limit_seconds
        self._medium = opening.enter_context(open_medium(self.source, self.settings.mode, self.vault, depot, limit))
        return DatabaseBackups(
            settings=self.settings,
            open_connection=lambda: Connection.open(self.settings.server, password),
            medium=self._medium,
            history={},
            held_certificates=self.held_certificates,
            progress=self.progress,
            check=lambda: self.check(),
        )

    def _adoption(self, depot: Depot, password: str, opening: ExitStack) -> Run:
        limit = self.settings.statement_limit_seconds
        if self.source.has_landing():
            self._medium = opening.enter_context(UrlMedium(self.source.landing(), depot, limit_seconds=limit))
        return DatabaseAdoptions(
            settings=self.settings,
            open_connection=lambda: Connection.open(self.settings.server, password),
            plan=opening.enter_context(plan_files(self.source, self.vault)),
            depot=depot,
            landing=self._medium,
            history={},
            max_age=timedelta(seconds=self.source.rpo_seconds()["databases"]),
            held_certificates=self.held_certificates,
            progress=self.progress,
            check=lambda: self.check(),
        )

    def back_up(self) -> None:
        """What goes wrong with one database, or with the server, is a result: see ``finish``."""
        run = self._run_there
        try:
            if self.settings.own_log_chain or self._adopts:
                run.history = self.history()
            if self.logs_only:
                run.run_logs()
            else:
                run.run()
                self._logins = self._save_logins(run)
        except LifeboatError as error:
            self._reasons.append(error.as_reason("databases"))

    def finish(self, share_moment: str | None) -> tuple[Json, list[Json]]:
        """The component's object for the record, and the reasons why it is not complete.

        With an own log chain and a share, the logs are backed up once more, so that all databases can be brought to
        the share's moment. What was made for the run is cleared away first, since what could not be is told too.
        """
        run = self._run_there
        to_moment = share_moment if self.settings.own_log_chain and not self.logs_only else None
        if to_moment is not None and not self._reasons:
            try:
                run.run_logs()
            except LifeboatError as error:
                self._reasons.append(error.as_reason("databases"))
        run.close()
        if self._medium is not None:
            self._medium.clear()
        return self._component(to_moment)

    @property
    def _run_there(self) -> Run:
        assert self._run is not None
        return self._run

    def _component(self, share_moment: str | None) -> tuple[Json, list[Json]]:
        run = self._run_there
        outcomes = list(run.outcomes.values())
        if not self.logs_only and run.server is not None:  # those that nobody came to have failed too
            outcomes += [Outcome(name) for name in self.settings.databases if name not in run.outcomes]
        reasons = self._reasons + [reason for outcome in outcomes for reason in outcome.reasons]
        made = [each for outcome in outcomes for each in outcome.backups]
        component: Json = {
            "status": _status(outcomes, reasons),
            "mode": self.settings.mode,
            "source": self.settings.server.server,
            "requested": list(self.settings.databases),
            "server": run.server.to_record() if run.server else None,
            "own_log_chain": self.settings.own_log_chain,
            "finished": rfc3339_of(datetime.now(UTC)),
            "bytes_stored": sum(each.stored["bytes_stored"] for each in made),
            "bytes_read": _bytes_read(outcomes),
            "databases": {
                outcome.name: _database(outcome)
                for outcome in outcomes
                if outcome.backups or outcome.reasons or not self.logs_only  # a run of logs says nothing of the others
            },
            "logins": self._logins,
            "notes": self._notes(),
        }
        moments = [outcome.moment for outcome in outcomes if outcome.moment is not None]
        if moments:
            component["data_time"] = rfc3339_of(min(moments))
            component["newest_data_time"] = rfc3339_of(max(moments))
        if share_moment is not None:
            known = {each.name: [*run.history.get(each.name, ()), *each.backups] for each in outcomes}
            component["share_moment"] = {"moment": share_moment, "reachable": reaches(share_moment, known)}
        return component, reasons

    def _notes(self) -> list[str]:
        server = self._run_there.server
        notes = [*(server.notes if server else ()), *(self._medium.notes if self._medium else ())]
        if server is not None and abs(server.clock_skew_seconds) > CLOCKS_DIFFER_SECONDS:
            notes.append(
                f"the clock of {server.name} differs from ours by {server.clock_skew_seconds:+.0f} s: its backups are "
                "recorded by its own clock"
            )
        if self._logins.get("why"):
            notes.append(f"logins were not saved: {self._logins['why']}")
        return notes

    def _save_logins(self, run: Run) -> Json:
        """Logins of ``master`` into the Key Vault, where there is one and the login may see their hashes."""
        if "master" not in {name.lower() for name in self.settings.databases}:
            return {}
        if self.vault.secrets is None:
            return {"saved": 0, "why": "no Key Vault is configured (LIFEBOAT_KEY_VAULT_URL)"}
        logins = read_logins(run.connection)
        if logins is None:
            return {"saved": 0, "why": "password hashes may not be seen (CONTROL SERVER)"}
        try:
            put = SecretFiles(self.vault.secrets).put(
                LOGINS_SECRET, logins.document, filename="logins.json", remind_after=None, now=datetime.now(UTC)
            )
        except StorageError as error:
            return {"saved": 0, "why": str(error)}
        return {"saved": logins.count, "secret": LOGINS_SECRET, "version": put.file.version, "sha256": put.file.sha256}


def reaches(moment: str, databases: Mapping[str, Sequence[BackupSet]]) -> bool:
    """Whether each database, ``master`` apart, can be restored to that very moment."""
    try:
        for name, sets in databases.items():
            if name.lower() != "master":
                chain_at(datetime_of(moment), list(sets), name)
    except NoChain:
        return False
    return True


def with_parts(history: dict[str, list[BackupSet]], parts: Sequence[Json]) -> dict[str, list[BackupSet]]:
    """Recorded backups, and those of components that are not recorded yet."""
    for component in parts:
        for name, database in component["databases"].items():
            sets = [BackupSet.from_json(document, "this run") for document in database["backups"]]
            if name in history:
                history[name] = [*sets, *history[name]]
    return history


def merged(
    parts: Sequence[tuple[Json, list[Json]]], failures: Mapping[str, Json], settings: DatabasesSettings
) -> tuple[Json, list[Json]]:
    """One component of those that were made for single databases, in the order in which they were made: logs after what
    they follow. ``failures``: reasons, by database, for those that came to no component at all."""
    databases: dict[str, Json] = {}
    for component, _ in parts:
        for name, database in component["databases"].items():
            databases[name] = _continued(databases[name], database) if name in databases else database
    for name in failures:  # a later step that failed takes nothing away from what an earlier one made
        made_before = databases.get(name, {"status": FAILED})["status"] != FAILED
        databases[name] = databases[name] | {"status": PARTIAL} if made_before else _database(Outcome(name))
    components = [component for component, _ in parts]
    reasons = [*failures.values(), *(reason for _, why in parts for reason in why)]
    moments = [database["moment"] for database in databases.values() if database["moment"]]
    made = any(database["backups"] for database in databases.values())
    whole = databases and all(database["status"] == COMPLETE for database in databases.values())
    one: Json = {
        "status": FAILED if not made else COMPLETE if whole and not reasons else PARTIAL,
        "mode": settings.mode,
        "source": settings.server.server,
        "requested": list(settings.databases),
        "server": next((each["server"] for each in components if each["server"]), None),
        "own_log_chain": settings.own_log_chain,
        "finished": max((each["finished"] for each in components), default=rfc3339_of(datetime.now(UTC))),
        "bytes_stored": sum(each["bytes_stored"] for each in components),
        "bytes_read": sum(each["bytes_read"] for each in components),
        "databases": {name: databases[name] for name in settings.databases if name in databases},
        "logins": next((each["logins"] for each in components if each["logins"]), {}),
        "notes": list(dict.fromkeys(note for each in components for note in each["notes"])),
    }
    if moments:
        one |= {"data_time": min(moments), "newest_data_time": max(moments)}
    return one, reasons


def _continued(database: Json, later: Json) -> Json:
    """A database's part of the record, gone on with by logs."""
    moments = [each["moment"] for each in (database, later) if each["moment"]]
    states = {database["status"], later["status"]}
    made = [*database["backups"], *later["backups"]]
    return {
        "status": COMPLETE if states == {COMPLETE} else PARTIAL if made and database["status"] != FAILED else FAILED,
        "recovery_model": later["recovery_model"] or database["recovery_model"],
        "moment": max(moments) if moments else None,
        "backups": made,
        "headers": [*database["headers"], *later["headers"]],
        "notes": [*database["notes"], *later["notes"]],
    }


def tell(component: Json, point: str) -> None:
    """Events: one for each database."""
    for name, database in component["databases"].items():
        emit(
            _EVENTS[database["status"]],
            point=point,
            database=name,
            backups=len(database["backups"]),
            bytes_stored=sum(each["stored"]["bytes_stored"] for each in database["backups"]),
        )
    if not component["databases"]:
        emit(Event.DATABASE_FAILED, point=point, database="")


def _bytes_read(outcomes: Sequence[Outcome]) -> int:
    """What went through us into the repository; files that hold several backups once."""
    read = {
        (each.stored["snapshot"], file["name"]): int(file["size_bytes"])
        for outcome in outcomes
        for each in outcome.backups
        if each.stored["kind"] == REPOSITORY and each.uuid not in outcome.again
        for file in each.stored["files"]
    }
    return sum(read.values())


def _status(outcomes: Sequence[Outcome], reasons: Sequence[Json]) -> str:
    if not reasons and outcomes:
        return COMPLETE
    return PARTIAL if any(outcome.backups for outcome in outcomes) else FAILED


def _database(outcome: Outcome) -> Json:
    status = COMPLETE if outcome.backups else FAILED
    if outcome.reasons:
        status = PARTIAL if outcome.backups and not outcome.failed else FAILED
    return {
        "status": status,
        "recovery_model": outcome.recovery_model,
        "moment": rfc3339_of(outcome.moment) if outcome.moment else None,
        "backups": [each.to_json() for each in outcome.backups],
        "headers": outcome.headers,
        "notes": outcome.notes,
    }
