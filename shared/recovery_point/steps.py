"""A recovery point made in steps, each on any machine: what a distributed engine calls.

    begin              opens the vault, takes the lock, says what is to be done
    plan_share         cuts the share into shards
    back_up_shard      reads and stores one shard, or a part of it within a time budget
    join_share         puts the shards together into a snapshot
    adopt_share        instead of these three: takes the snapshot that an agent near to the share has made
    back_up_database   one database, or its log
    look_at_secrets    reads the secrets back and holds them against the databases
    record             puts the components together, writes the point, gives the lock back
    verify             reads the point's record back and looks for all that it names
    refresh            keeps the run's lock alive, as steps that store do; to be called every few minutes
    give_up            ends a run that comes to no record
    end_dead_run       the same from outside, for one that was terminated or failed in the engine

Each takes and returns small JSON; what is large lies in the vault and goes by its name (``runs``). Each may run twice,
or be cut off and run again. A failure is a value: ``{"ok": false, "reason": ..., "retry": ...}``; nothing is raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, wraps
from typing import Any, ParamSpec

from shared.errors import BlobExists, Cancelled, LifeboatError, RepositoryLocked
from shared.fileshare.backup import ShareBackup
from shared.fileshare.inside import TAG
from shared.fileshare.shard import Progress
from shared.recovery_point.adopted_share import adopted_share
from shared.recovery_point.catalog import Catalog
from shared.recovery_point.diagnosis import Diagnosis, explain, is_refused
from shared.recovery_point.opening import open_for_backup, open_share
from shared.recovery_point.record import FAILED, RecoveryPoint
from shared.recovery_point.recording import make_record, tell
from shared.recovery_point.run_verification import verify_run
from shared.recovery_point.runs import RunRequest, Runs, Wanted, run_end
from shared.recovery_point.scope import COMPONENTS, Scope, scope_of
from shared.recovery_point.share import History, ShareComponent
from shared.redaction import redacted
from shared.repository.initialise import choose_passwords, open_repository
from shared.repository.locks import HeldLock, acquire, held_by, keep_held, release_all
from shared.repository.repository import Repository
from shared.repository.trees import datetime_of, rfc3339_of
from shared.settings import Settings
from shared.storage.vault import Vault
from shared.telemetry import Event, emit

Json = dict[str, Any]
MOST_TOLD = 500
"""Characters of what an unexpected error says."""
Step = ParamSpec("Step")


def failures_are_values(step: Callable[Step, Json]) -> Callable[Step, Json]:
    """Makes a step of a function that returns small JSON."""

    @wraps(step)
    def guarded(*args: Step.args, **kwargs: Step.kwargs) -> Json:
        try:
            return {"ok": True, **step(*args, **kwargs)}
        except LifeboatError as error:
            reason = error.as_reason("lifeboat")
            return {"ok": False, "reason": reason, "retry": error.retryable and not isinstance(error, Cancelled)}
        except Exception as error:
            reason = LifeboatError(
                redacted(f"something that Lifeboat did not expect: {type(error).__name__}: {error}")[:MOST_TOLD],
                remedy="Look at the exception in Application Insights, and report it.",
            ).as_reason("lifeboat")
            return {"ok": False, "reason": reason, "retry": True}

    return guarded


@dataclass(frozen=True, slots=True)
class _Opened:
    settings: Settings
    run: str
    vault: Vault
    catalog: Catalog
    runs: Runs
    repository: Repository
    history: History

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.runs, self.run)

    def share(self, *, allow_shrink: bool = False, shards: int = 1) -> tuple[ShareComponent, ShareBackup]:
        settings = self.settings.share()
        opener = open_share(self.vault, settings)
        progress = Progress()
        component = ShareComponent(
            settings=settings,
            repository=self.repository,
            history=self.history,
            opener=opener,
            progress=progress,
            check=self.wanted,
            allow_shrink=allow_shrink,
            workers=shards,
        )
        return component, ShareBackup(settings, self.repository, opener.open, progress, self.wanted)


@contextmanager
def _open(settings: Settings, run: str) -> Iterator[_Opened]:
    with Vault(settings.vault()) as vault:
        catalog = Catalog(vault.records)
        repository, history = open_for_backup(vault, catalog, new_repository=False)
        yield _Opened(settings, run, vault, catalog, Runs(vault.records), repository, history)


@contextmanager
def _open_to_store(settings: Settings, run: str) -> Iterator[_Opened]:
    """A step that stores holds a lock of its own too, and keeps the run's alive: the step that refreshes that one may
    have to wait behind others for hours, until it counts as stale."""
    with _open(settings, run) as opened:
        repository = opened.repository
        with HeldLock(
            repository,
            exclusive=False,
            hostname=_step_holder(run),
            beside=lambda: keep_held(repository, _holder(run)),
        ):
            yield opened


def _release(opened: _Opened) -> None:
    """Give back the run's lock, and those of its steps that were killed."""
    for holder in (_holder(opened.run), _step_holder(opened.run)):
        release_all(opened.repository, holder)


def _step_holder(run: str) -> str:
    return f"step of {_holder(run)}"


def _holder(run: str) -> str:
    """Whose lock it is, in the lock."""
    return f"run {run}"


@failures_are_values
def begin(settings: Settings, run: str, request: Json) -> Json:
    """Takes the run's lock, which is to be refreshed, and is given back by ``record`` or ``give_up``."""
    asked = RunRequest.from_json(request).backup_request()
    scope = scope_of(settings, asked)
    now = datetime.now(UTC)
    databases = settings.databases() if "databases" in scope.requested else None
    with _open(settings, run) as opened:
        held: Sequence[str] = ()
        version: str | None = None
        if opened.vault.secrets is not None and {"databases", "secrets"} & set(scope.requested):
            from shared.recovery_point.secrets import SecretsComponent  # not for a share alone

            secrets = SecretsComponent(settings, opened.vault, opened.catalog.earlier)
            secrets.begin()
            held, version = sorted(secrets.held_certificates), secrets.version_at_start
        if "share" in scope.requested:
            open_share(opened.vault, settings.share())  # what is wrong with its settings is told before anything
        if not held_by(opened.repository, _holder(run)):  # else it has begun before, and nobody heard of it
            acquire(opened.repository, exclusive=False, hostname=_holder(run))
    return {
        "time": rfc3339_of(now),
        "requested": scope.requested,
        "configured": scope.configured,
        "adopts_share": "share" in scope.requested and settings.share().adopted,
        "databases": list(databases.databases) if databases else [],
        "own_log_chain": databases.own_log_chain if databases else False,
        "held": held,
        "secrets_version": version,
    }


@failures_are_values
def plan_share(settings: Settings, run: str, *, shards: int, fingerprints: bool) -> Json:
    """``plan`` names the plan; ``shards`` how many there are. ``fingerprints``: take a folder that lists as it did for
    what it was."""
    with _open(settings, run) as opened:
        component, backup = opened.share(shards=shards)
        before = opened.history.fingerprints if fingerprints else None
        plan = component.plan(backup, before, component.opener.choose_previous_version())
        name = opened.runs.keep(run, "plan", plan)
    return {"plan": name, "shards": len(plan["shards"]), "fingerprints": bool(plan["fingerprints"])}


@failures_are_values
def back_up_shard(
    settings: Settings, run: str, *, plan: str, number: int, continue_from: str | None, budget_seconds: float
) -> Json:
    """``done`` false: call again with ``continue_from``."""
    with _open_to_store(settings, run) as opened:
        _, backup = opened.share()
        document = opened.runs.load(plan)
        result = backup.backup_shard(
            document, document["shards"][number], continue_from=continue_from, budget_seconds=budget_seconds
        )
        if not result["done"]:
            return {"done": False, "continue_from": result["continue_from"]}
        name = opened.runs.keep(run, f"shard-{number}", result)
    return {"done": True, "result": name}


@failures_are_values
def join_share(settings: Settings, run: str, *, plan: str, results: Sequence[str], allow_shrink: bool) -> Json:
    with _open_to_store(settings, run) as opened:
        component, backup = opened.share(allow_shrink=allow_shrink)
        document = opened.runs.load(plan)
        joined = backup.join(document, [opened.runs.load(name) for name in results], tags=[TAG])
        share, reasons = component.judge(document, joined)
        name = opened.runs.keep(run, "share", {"component": share, "reasons": reasons})
    return {"component": name, "status": share["status"], "data_time": share["data_time"]}


@failures_are_values
def adopt_share(settings: Settings, run: str, *, allow_shrink: bool) -> Json:
    with _open_to_store(settings, run) as opened:
        opener = open_share(opened.vault, settings.share())
        component = adopted_share(opener, opened.repository, opened.history, opened.wanted, allow_shrink=allow_shrink)
        share, reasons = component.adopt()
        name = opened.runs.keep(run, "share", {"component": share, "reasons": reasons})
    return {"component": name, "status": share["status"], "data_time": share.get("data_time")}


@failures_are_values
def back_up_database(
    settings: Settings, run: str, *, name: str, held: Sequence[str], logs_only: bool, after: Sequence[str]
) -> Json:
    """One database; with ``logs_only`` its log, where the log chain is ours. ``after`` names what steps of this run
    have left of databases: the log goes on from there."""
    from shared.recovery_point.databases import DatabasesComponent, in_vault, read_sets, with_parts

    sql = replace(settings.databases(), databases=(name,))
    with _open_to_store(settings, run) as opened:
        vault = opened.vault
        with DatabasesComponent(
            settings=sql,
            source=settings,
            vault=vault,
            repository=lambda: opened.repository,
            history=lambda: with_parts(
                read_sets(Catalog(vault.records).readable(), sql.databases, in_vault(vault)),
                [opened.runs.load(part)["component"] for part in after],
            ),
            check=opened.wanted,
            logs_only=logs_only,
            held_certificates=frozenset(held),
        ) as database:
            database.back_up()
            component, reasons = database.finish(None)
        kept = opened.runs.keep(run, "logs" if logs_only else "database", {"component": component, "reasons": reasons})
    return {
        "component": kept,
        "status": component["status"],
        "data_time": component.get("data_time"),
        "refused": is_refused(reasons, "databases"),
    }


@failures_are_values
def look_at_secrets(settings: Settings, run: str, *, databases: Sequence[str], version: str | None) -> Json:
    """``databases`` names what ``back_up_database`` has left, ``version`` what was current when the run began."""
    from shared.recovery_point.secrets import SecretsComponent

    with _open(settings, run) as opened:
        made = [opened.runs.load(name)["component"] for name in databases]
        earliest = min((each for each in made if "data_time" in each), key=lambda each: each["data_time"], default=None)
        secrets = SecretsComponent(settings, opened.vault, opened.catalog.earlier, version_at_start=version)
        secrets.begin()
        component, reasons = secrets.finish(earliest)
        kept = opened.runs.keep(run, "secrets", {"component": component, "reasons": reasons})
    return {"component": kept, "status": component["status"], "data_time": component.get("data_time")}


@failures_are_values
def record(
    settings: Settings,
    run: str,
    *,
    request: Json,
    begun: Json,
    parts: Json,
    caller: str | None,
    diagnoses: Mapping[str, Json | None] | None = None,
) -> Json:
    """Write the point from what the steps have left, give the lock back, and write the record of the run's end.

    ``parts``: by component, a list of what its steps returned; for a database that failed as a step, with its name as
    ``database``. ``diagnoses``: by component, what was found on the way to one that came to nothing.

    A run that is recorded twice has one point: its id comes from the run's.
    """
    asked = RunRequest.from_json(request).backup_request()
    scope = Scope(begun["requested"], begun["configured"])
    began = datetime_of(begun["time"])
    with _open(settings, run) as opened:
        ended = opened.runs.ended(run)
        if ended is not None:  # it was recorded, or given up, and nobody heard of it
            _release(opened)
            return {"end": ended}
        components: dict[str, Json] = {}
        reasons: list[Json] = []
        for name in COMPONENTS:
            if name in scope.requested:
                components[name], why = _component(opened.runs, name, parts.get(name, []), settings)
                diagnosis = (diagnoses or {}).get(name)
                reasons += explain(why, name, Diagnosis.from_json(diagnosis) if diagnosis else None)
        moment = (components.get("share") or {}).get("data_time")
        if begun["own_log_chain"] and moment and "databases" in components and not asked.logs:
            components["databases"]["share_moment"] = _share_moment(opened, moment, components["databases"])
        try:
            keep_held(opened.repository, _holder(run))
        except RepositoryLocked as lost:
            components = {name: each | {"status": FAILED} for name, each in components.items()}
            reasons.append(lost.as_reason("share"))
        point = make_record(
            settings,
            asked,
            scope,
            opened.catalog,
            time=began,
            duration_seconds=(datetime.now(UTC) - began).total_seconds(),
            components=components,
            reasons=reasons,
            run=run,
            caller=caller,
        )
        try:
            opened.catalog.add(point)
        except BlobExists:  # it was recorded, and nobody heard of it
            point = opened.catalog.get(point.point)
        _release(opened)
        end = opened.runs.end(run_end(run, begun["time"], point.status, point.reasons, point=point.point))
    tell(point)
    return {"end": end}


@failures_are_values
def verify(settings: Settings, run: str, *, point: str) -> Json:
    """What is found is kept beside the point and told by an event; ``findings``: how much it is. Without a lock:
    nothing is stored in the repository."""
    with Vault(settings.vault()) as vault:

        @cache
        def repository() -> Repository:
            passwords = choose_passwords(vault.settings.repository_password, vault.secrets)
            opened = open_repository(vault.share, vault.records, passwords)
            opened.load_index(present=opened.list_packs())
            return opened

        return {"findings": len(verify_run(vault, point, repository, is_listed=False).reasons)}


@failures_are_values
def refresh(settings: Settings, run: str) -> Json:
    """Not ``ok`` with the code ``locked``: the lock was lost, and what is stored may have been pruned."""
    with _open(settings, run) as opened:
        keep_held(opened.repository, _holder(run))
    return {}


@failures_are_values
def give_up(settings: Settings, run: str, *, status: str, reasons: Sequence[Json], started: str, locked: bool) -> Json:
    """End a run without a point: ``failed`` or ``cancelled``. What it has stored is used again by the next."""
    with Vault(settings.vault()) as vault:
        end = Runs(vault.records).end(run_end(run, started, status, list(reasons)))
    if locked:
        with _open(settings, run) as opened:
            _release(opened)
    if end["status"] == "failed":
        emit(Event.RECOVERY_POINT_FAILED, code=reasons[0]["code"], detail=reasons[0]["message"])
    return {"end": end}


def _share_moment(opened: _Opened, moment: str, databases: Json) -> Json:
    """Whether all databases can be brought to the moment of the share."""
    from shared.recovery_point.databases import in_vault, reaches, read_sets, with_parts

    recorded = read_sets(opened.catalog.readable(), databases["requested"], in_vault(opened.vault))
    return {"moment": moment, "reachable": reaches(moment, with_parts(recorded, [databases]))}


def end_dead_run(settings: Settings, run: str, started: str, *, terminated: bool) -> None:
    """Write the end of a run that could not do so itself, unless it has. Steps of it that still run are told to stop;
    if it has come to a point, that is what came of it. Its lock is given back: who still stores holds one of its own.
    """
    with Vault(settings.vault()) as vault:
        runs = Runs(vault.records)
        if runs.ended(run) is not None:
            return
        runs.cancel(run)
        point = _point_of(Catalog(vault.records), run)
        if point is not None:
            runs.end(run_end(run, started, point.status, point.reasons, point=point.point))
        else:
            what = "was terminated" if terminated else "failed in the engine"
            reason = LifeboatError(
                f"the run {what} and wrote no record", remedy="What it has stored is used again by the next run."
            ).as_reason("lifeboat")
            runs.end(run_end(run, started, "cancelled" if terminated else "failed", [reason]))
            emit(Event.RECOVERY_POINT_FAILED, code=str(reason["code"]), detail=str(reason["message"]))
    with suppress(LifeboatError), _open(settings, run) as opened:
        release_all(opened.repository, _holder(run))


def _point_of(catalog: Catalog, run: str) -> RecoveryPoint | None:
    """The point that a run has come to: its id ends in what the run's begins with."""
    found = (catalog.get(each) for each in catalog.ids() if each.endswith(f"-{run[:6]}"))
    return next((point for point in found if point.run.get("run") == run), None)


def _component(runs: Runs, name: str, parts: Sequence[Json], settings: Settings) -> tuple[Json, list[Json]]:
    """A component's object for the record out of its parts, and the reasons why it is not complete."""
    made = [runs.load(part["component"]) for part in parts if part.get("component")]
    failed = [part for part in parts if not part.get("component")]
    reasons = [part["reason"] | {"component": name} for part in failed]
    if name == "databases":
        from shared.recovery_point.databases import merged

        failures = {
            str(part["database"]): part["reason"] | {"component": name, "database": part["database"]} for part in failed
        }
        found = [(each["component"], each["reasons"]) for each in made]
        return merged(found, failures, settings.databases())
    if not made:
        return {"status": FAILED} | ({"snapshot": None} if name == "share" else {}), reasons
    return made[-1]["component"], [*made[-1]["reasons"], *reasons]
