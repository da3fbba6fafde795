"""Restoring a whole recovery point, in the order of Microsoft's page on the recovery of App Service: databases, share,
secrets. What follows on the controllers is in the runbook."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from shared.databases.progress import Progress as DatabasesProgress
from shared.errors import Cancelled, LifeboatError, TargetError, UsageError
from shared.fileshare.shard import Progress
from shared.recovery_point.catalog import Catalog
from shared.recovery_point.record import COMPLETE, FAILED, PARTIAL, RecoveryPoint
from shared.recovery_point.restore import ShareRestoreRequest, open_target, restore_share
from shared.recovery_point.restore_databases import (
    NAMES_LISTED,
    DatabasesRestored,
    DatabasesRestoreRequest,
    restore_databases,
)
from shared.recovery_point.restore_secrets import (
    SecretsRestored,
    SecretsRestoreRequest,
    read_named,
    refuse_existing,
    restore_secrets,
)
from shared.repository.initialise import choose_passwords, open_repository
from shared.repository.snapshots import load_snapshot
from shared.settings import Settings
from shared.storage.vault import Vault

Json = dict[str, Any]

REASONS_TOLD = 3
"""Of a point that is passed over."""
LACKING = "not-in-point"
"""Code of the reason for a component that the point does not hold."""


@dataclass(frozen=True, slots=True)
class AllRestoreRequest:
    point: str | None = None
    """None: the newest point that is complete and whole."""
    share_to: str | None = None
    """A folder or ``smb://``; None: the share itself."""
    databases_to: str | None = None
    databases_as: str = ""
    secrets_to: Path = Path("SystemSecrets.JSON")
    overwrite: bool = False
    """Replace databases and files that are there. A file of secrets is never replaced."""


@dataclass(frozen=True, slots=True)
class Step:
    component: str
    target: str
    lines: tuple[str, ...]
    """What will be done, for people."""


@dataclass(frozen=True, slots=True)
class Plan:
    point: RecoveryPoint
    request: AllRestoreRequest
    """With the point's id in it."""
    steps: tuple[Step, ...]
    reasons: tuple[Json, ...]
    """Why it cannot be all."""
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """For people."""
        lines = [*self.notes, f"plan: {self.point.point} of {self.point.time[:19]}Z, {self.point.status}"]
        for number, step in enumerate(self.steps, 1):
            lines.append(f"  {number}. {step.component}, to {step.target}")
            lines += [f"       {line}" for line in step.lines]
        if any(step.component == "databases" for step in self.steps) and self.request.overwrite:
            lines.append("Live databases are replaced: WebFarmService and ResourceMetering should be stopped.")
        return lines

    def answer(self) -> Json:
        """What a dry run answers."""
        return {
            "status": PARTIAL if self.reasons else COMPLETE,
            "reasons": list(self.reasons),
            "point": self.point.point,
            "target": "; ".join(f"{step.component}: {step.target}" for step in self.steps),
            **dict.fromkeys(("restored", "unchanged", "skipped", "bytes"), 0),
            "skipped_names": [],
            "plan": [asdict(step) for step in self.steps],
            "notes": list(self.notes),
        }


@dataclass(slots=True)
class AllRestored:
    point: str
    components: dict[str, Json] = field(default_factory=dict)
    """By component, what ``restore`` of it answers."""
    reasons: list[Json] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def answer(self) -> Json:
        """What the command answers: sums, and each component's own answer."""
        answers = list(self.components.values())
        sums = {
            key: sum(answer.get(key, 0) for answer in answers) for key in ("restored", "unchanged", "skipped", "bytes")
        }
        return {
            "status": self.status,
            "reasons": self.reasons,
            "point": self.point,
            "target": "; ".join(f"{name}: {answer['target']}" for name, answer in self.components.items()),
            **sums,
            "skipped_names": [name for answer in answers for name in answer.get("skipped_names", ())][:NAMES_LISTED],
            "components": self.components,
            "notes": self.notes,
        }

    @property
    def status(self) -> str:
        states = [component["status"] for component in self.components.values()]
        if all(state == FAILED for state in states):
            return FAILED
        return COMPLETE if all(state == COMPLETE for state in states) and not self.reasons else PARTIAL


def plan_all(settings: Settings, request: AllRestoreRequest) -> Plan:
    """Choose the point, and see that everything in it can be read and every target be reached; nothing is changed.

    ``UsageError`` where databases of the source would be replaced and nobody said so, ``TargetError`` where the file of
    the secrets is there with other content, and the errors of vault, Key Vault, repository, servers and targets: what
    cannot be done in whole is not begun, before anything live is replaced.
    """
    databases = DatabasesRestoreRequest(
        to=request.databases_to, suffix=request.databases_as, overwrite=request.overwrite, dry_run=True
    )
    with Vault(settings.vault()) as vault:
        vault.ensure_there(create=False)
        point, notes = _choose(Catalog(vault.records), request.point)
        steps: list[Step] = []
        reasons = [_lacking(point, name) for name in point.requested if not is_usable(point, name)]
        written = is_usable(point, "secrets") and _is_written(settings, point, request.secrets_to)
        if is_usable(point, "share"):
            _require_snapshot(vault, point)
        if is_usable(point, "databases"):
            looked = restore_databases(settings, replace(databases, point=point.point))
            reasons += looked.reasons
            notes += looked.notes
            steps.append(_databases_step(looked, overwrite=request.overwrite))
        if is_usable(point, "share"):
            target, shown = open_target(settings, vault, request.share_to)
            try:
                target.reach()
            finally:
                target.close()
            steps.append(_share_step(point, shown, overwrite=request.overwrite))
        if is_usable(point, "secrets"):
            steps.append(_secrets_step(point, request.secrets_to, written=written))
    return Plan(point, replace(request, point=point.point), tuple(steps), tuple(reasons), tuple(dict.fromkeys(notes)))


def restore_all(
    settings: Settings,
    plan: Plan,
    *,
    progress: Progress | None = None,
    databases_progress: DatabasesProgress | None = None,
    check: Callable[[], None] = lambda: None,
) -> AllRestored:
    """Do what ``plan`` says. A component that fails is a result, and the next one is gone on with; Ctrl-C is not."""
    request = plan.request
    point = request.point
    runs: dict[str, Callable[[], Json]] = {
        "databases": lambda: restore_databases(
            settings,
            DatabasesRestoreRequest(point, request.databases_to, request.databases_as, overwrite=request.overwrite),
            progress=databases_progress,
            check=check,
        ).answer(),
        "share": lambda: restore_share(
            settings,
            ShareRestoreRequest(point, request.share_to, overwrite=request.overwrite),
            progress=progress,
            check=check,
        ).answer(),
        "secrets": lambda: _restore_secrets(settings, plan),
    }
    done = AllRestored(plan.point.point, notes=list(plan.notes))
    done.reasons += [reason for reason in plan.reasons if reason["code"] == LACKING]
    for step in plan.steps:
        check()
        try:
            answer = runs[step.component]()
        except Cancelled:
            raise
        except LifeboatError as error:
            answer = {"status": FAILED, "reasons": [error.as_reason(step.component)], "target": step.target}
        done.components[step.component] = answer
        done.reasons += answer["reasons"]
    return done


def _choose(catalog: Catalog, point_id: str | None) -> tuple[RecoveryPoint, list[str]]:
    if point_id is not None:
        point = catalog.get(point_id)
        return point, [*_why(point), *_facts(point)]
    passed_over: list[str] = []
    for point in catalog.readable(passed_over):
        if point.status == COMPLETE and point.whole:
            return point, [*passed_over, *_facts(point)]
        if point.status != COMPLETE:
            passed_over.append(f"passed over: the newer {point.point}, which is {point.status}")
            passed_over += [f"  {line}" for line in _why(point)]
    raise UsageError(
        "no recovery point is complete and whole",
        remedy="Run 'points' and choose one with --point: what is good in it is restored.",
    )


def _why(point: RecoveryPoint) -> list[str]:
    """What a point lacks."""
    return [f"{reason['code']}: {reason['message']}" for reason in point.reasons[:REASONS_TOLD]]


def _facts(point: RecoveryPoint) -> list[str]:
    """What the parts stand for, and whether they belong together."""
    moments = {
        "databases": point.components.get("databases", {}).get("data_time"),
        "share": (point.share or {}).get("data_time"),
        "secrets": point.components.get("secrets", {}).get("moment"),
    }
    told = [f"{name} as of {moment[:19]}Z" for name, moment in moments.items() if moment]
    pairing = point.components.get("secrets", {}).get("pairing")
    fit = [f"secrets and databases: {pairing['verdict']}: {pairing['detail']}"] if pairing else []
    return [", ".join(told), *fit] if told else fit


def _require_snapshot(vault: Vault, point: RecoveryPoint) -> None:
    """``WrongPassword``, ``Damaged`` and the like: the share could not be brought back."""
    passwords = choose_passwords(vault.settings.repository_password, vault.secrets)
    load_snapshot(open_repository(vault.share, vault.records, passwords), str(point.snapshot))


def _is_written(settings: Settings, point: RecoveryPoint, to: Path) -> bool:
    """Whether the file is there already, with just these bytes, as when a restore is run again. The secrets are read
    back for it. ``TargetError`` where something else is there."""
    content, _ = read_named(settings, point)
    try:
        if to.is_file() and not to.is_symlink() and to.read_bytes() == content:
            return True
    except OSError as error:
        raise TargetError(f"{to} cannot be read: {error.strerror}", remedy="Name another file.") from error
    refuse_existing(to)
    return False


def _restore_secrets(settings: Settings, plan: Plan) -> Json:
    to = plan.request.secrets_to
    if _is_written(settings, plan.point, to):
        there = SecretsRestored(plan.point.point, str(to), 0).answer()
        return there | {"restored": 0, "unchanged": 1}
    return restore_secrets(settings, SecretsRestoreRequest(to, plan.point.point)).answer()


def is_usable(point: RecoveryPoint, component: str) -> bool:
    """Whether the point holds something of the component that can be restored."""
    found = point.components.get(component)
    if found is None or found["status"] == FAILED:
        return False
    return bool(found.get({"share": "snapshot", "secrets": "version", "databases": "databases"}[component]))


def _lacking(point: RecoveryPoint, component: str) -> Json:
    status = point.components.get(component, {}).get("status", "not there")
    return {
        "component": component,
        "code": LACKING,
        "message": f"the component {component!r} is {status} in {point.point}: it is not restored",
        "remedy": f"Restore it from another point: restore {component} --point ID.",
    }


def _databases_step(looked: DatabasesRestored, *, overwrite: bool) -> Step:
    lines = [f"{name}{', replacing what is there' if overwrite else ''}" for name in looked.planned]
    lines += [f"{name} is there already and is left as it is" for name in looked.skipped]
    return Step("databases", looked.target, tuple(lines))


def _share_step(point: RecoveryPoint, target: str, *, overwrite: bool) -> Step:
    share = point.share or {}
    differing = "replaced" if overwrite else "left as they are, and told"
    return Step(
        "share", target, (f"{share['files']:,} files, {share['bytes']:,} bytes; files that differ are {differing}",)
    )


def _secrets_step(point: RecoveryPoint, target: Path, *, written: bool) -> Step:
    secrets = point.components["secrets"]
    line = f"SystemSecrets.JSON, version {secrets['version']}, {secrets['size_bytes']:,} bytes"
    if written:
        line += ": is there already"
    return Step("secrets", str(target), (line,))
