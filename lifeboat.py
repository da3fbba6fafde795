"""The door for people: python lifeboat.py backup | points | show | status | secrets | restore | drill | runbook | ...

Each command reads its arguments, calls one function of ``shared/`` and shapes the answer. Results go to standard
output, with ``--json`` as one object whatever happens; progress and messages go to standard error. Exit codes: 0 done,
1 failed, 2 wrong usage or settings, 3 done in part, 10 repository or container missing, 11 locked, 12 wrong repository
password.
"""

from __future__ import annotations

import gc
import io
import json
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from shared import telling
from shared.errors import Cancelled, LifeboatError, UsageError
from shared.settings import Settings
from shared.terminal import Meter, interruptible, message, progress, result

Json = dict[str, Any]

app = typer.Typer(
    help="Backs up App Service on Azure Stack Hub, proves the backups and restores them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
restore_app = typer.Typer(help="Bring back a component, or all.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(restore_app, name="restore")
secrets_app = typer.Typer(
    help="SystemSecrets.JSON, and other files that a restore needs, in the Key Vault.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(secrets_app, name="secrets")

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, for machines.")]
Point = Annotated[str | None, typer.Option("--point", help="Id of a recovery point.", metavar="ID")]

INTERRUPTED = 130
"""What typer makes of Ctrl-C."""
EXIT_CODES = {"complete": 0, "ok": 0, "partial": 3, "failed": 1, "damaged": 1, "late": 1}


@app.command()
def backup(
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Back up this component only; may be given again.")
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            "--without", help="A component or database of earlier points is meant to be missing.", metavar="NAME"
        ),
    ] = None,
    allow_shrink: Annotated[
        bool, typer.Option("--allow-shrink", help="Accept a share that is empty or has lost most of its files.")
    ] = False,
    logs: Annotated[
        bool, typer.Option("--logs", help="Back up the logs of databases only (with LIFEBOAT_SQL_OWN_LOG_CHAIN).")
    ] = False,
    new_repository: Annotated[
        bool, typer.Option("--new-repository", help="Begin anew in a vault that somebody has emptied.")
    ] = False,
    workers: Annotated[int, typer.Option("--workers", min=1, max=16, help="Shards read side by side.")] = 1,
    as_json: AsJson = False,
) -> int:
    """Make a recovery point."""
    from shared.recovery_point.backup import Backup
    from shared.recovery_point.diagnosis import Diagnosis
    from shared.recovery_point.scope import BackupRequest

    request = BackupRequest(tuple(only or ()), tuple(without or ()), allow_shrink, new_repository, logs, workers)
    settings = Settings.from_environment()

    def diagnose(component: str) -> Diagnosis | None:
        from shared.preflight.diagnosis import diagnosis_of  # only where a component came to nothing

        return diagnosis_of(settings, component)

    run = Backup(settings, request, diagnose=diagnose)
    done = run.progress
    meter = Meter(
        lambda: (done.files, done.bytes, done.files_found if done.scanned else None),
        "backed up",
        beside=lambda: run.databases_progress.text,
    )
    with progress(meter, quiet=as_json):
        point = run.run()
    found = run.verification.reasons if run.verification else []
    answer = {
        "status": point.status,
        "reasons": [*point.reasons, *found],
        "point": point.point,
        "snapshot": point.snapshot,
        "requested": point.requested,
        "whole": point.whole,
        "suspect": point.suspect,
        "components": {name: _component(component) for name, component in point.components.items()},
        "skew_seconds": point.skew_seconds,
        "duration_seconds": point.duration_seconds,
        "gone": point.gone,
    }
    if not as_json:
        telling.backup(point)
        telling.reasons(found)
    return _answer(answer, as_json)


@app.command()
def points(as_json: AsJson = False) -> int:
    """List the recovery points, newest first."""
    from shared.recovery_point.listing import list_points

    listed = list_points(Settings.from_environment())
    if not as_json:
        telling.points(listed)
    return _answer(listed, as_json)


@app.command()
def show(point: Annotated[str, typer.Argument(metavar="ID")], as_json: AsJson = False) -> int:
    """Show the record of a recovery point."""
    from shared.recovery_point.listing import show_point

    record = show_point(Settings.from_environment(), point)
    if as_json:
        result(json.dumps(record))
        return 0
    result(json.dumps(record, indent=2, ensure_ascii=False))
    telling.databases(record["components"].get("databases", {}), message)
    return 0


@restore_app.command("share")
def restore_share(
    point: Point = None,
    to: Annotated[
        str | None,
        typer.Option("--to", help="A folder or smb://server[:port]/share/path; by default the share itself."),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option("--include", help="Restore only what matches; may be given again.", metavar="GLOB"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there and differ.")] = False,
    as_json: AsJson = False,
) -> int:
    """Bring back the files of the share."""
    from shared.fileshare.shard import Progress
    from shared.recovery_point.restore import ShareRestoreRequest
    from shared.recovery_point.restore import restore_share as run

    done = Progress()
    request = ShareRestoreRequest(point, to, tuple(include or ()), overwrite)
    with progress(Meter(lambda: (done.files, done.bytes, None), "restored"), quiet=as_json):
        restored = run(Settings.from_environment(), request, progress=done)
    if not as_json:
        telling.restore_share(restored)
    return _answer(restored.answer(), as_json)


@restore_app.command("databases")
def restore_databases(
    point: Point = None,
    to: Annotated[
        str | None, typer.Option("--to", help="host[\\instance][,port]; by default the source.", metavar="SERVER")
    ] = None,
    suffix: Annotated[
        str, typer.Option("--as", help="Appended to each name: restored beside what is there.", metavar="SUFFIX")
    ] = "",
    at: Annotated[
        str | None, typer.Option("--at", help="A moment, 2026-11-25T13:00:00Z: by log backups.", metavar="TIME")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace databases that are there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the T-SQL and do nothing.")] = False,
    checkdb: Annotated[bool, typer.Option("--checkdb", help="Run DBCC CHECKDB after each restore.")] = False,
    as_json: AsJson = False,
) -> int:
    """Bring back the databases."""
    from shared.databases.progress import Progress
    from shared.recovery_point.restore_databases import DatabasesRestoreRequest
    from shared.recovery_point.restore_databases import restore_databases as run

    done = Progress()
    if overwrite and not dry_run and not as_json:
        message("Live databases are replaced: App Service's WebFarmService and ResourceMetering should be stopped.")
    request = DatabasesRestoreRequest(point, to, suffix, at, overwrite, dry_run, checkdb)
    with progress(Meter(None, "restoring", beside=lambda: done.text), quiet=as_json):
        restored = interruptible(lambda check: run(Settings.from_environment(), request, progress=done, check=check))
    answer = restored.answer()
    if dry_run:
        answer["statements"] = restored.statements
    if not as_json:
        telling.restore_databases(restored, dry_run)
    return _answer(answer, as_json)


@restore_app.command("secrets")
def restore_secrets(
    to: Annotated[Path, typer.Option("--to", help="A file that is not there yet; mode 0600.", metavar="FILE")],
    point: Point = None,
    name: Annotated[
        str | None, typer.Option("--name", help="What was kept under this name, instead of SystemSecrets.JSON.")
    ] = None,
    current: Annotated[
        bool, typer.Option("--current", help="What is current in the Key Vault, without a point or the vault.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Bring back SystemSecrets.JSON, or another file that was kept."""
    from shared.recovery_point.restore_secrets import SecretsRestoreRequest
    from shared.recovery_point.restore_secrets import restore_secrets as run

    restored = run(Settings.from_environment(), SecretsRestoreRequest(to, point, name, current))
    if not as_json:
        for note in restored.notes:
            message(note)
        source = restored.point or f"the current version, {restored.version},"
        result(f"wrote {restored.bytes:,} bytes of {source} to {restored.target}; delete it when it was used")
    return _answer(restored.answer(), as_json)


@restore_app.command("logins")
def restore_logins(
    to: Annotated[Path, typer.Option("--to", help="A file that is not there yet; mode 0600.", metavar="FILE")],
    point: Point = None,
    as_json: AsJson = False,
) -> int:
    """Write the T-SQL that makes SQL Server's logins, with their passwords' hashes: what one needs of master."""
    from shared.recovery_point.restore_secrets import restore_logins as run

    restored = run(Settings.from_environment(), to, point)
    if not as_json:
        result(f"wrote the logins of {restored.point} to {restored.target}: run it with sqlcmd -i, then delete it")
    return _answer(restored.answer(), as_json)


@restore_app.command("all")
def restore_all(
    point: Point = None,
    share_to: Annotated[
        str | None,
        typer.Option("--share-to", help="A folder or smb://...; by default the share itself.", metavar="TARGET"),
    ] = None,
    databases_to: Annotated[
        str | None, typer.Option("--databases-to", help="By default the source.", metavar="SERVER")
    ] = None,
    databases_as: Annotated[
        str, typer.Option("--databases-as", help="Appended to each database's name.", metavar="SUFFIX")
    ] = "",
    secrets_to: Annotated[
        Path, typer.Option("--secrets-to", help="A file that is not there yet.", metavar="FILE")
    ] = Path("SystemSecrets.JSON"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace databases and files that are there and differ.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and do nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do what the plan says without asking.")] = False,
    as_json: AsJson = False,
) -> int:
    """Bring back everything of a recovery point: databases, share, secrets, in this order, after showing the plan."""
    from shared.databases.progress import Progress as DatabasesProgress
    from shared.fileshare.shard import Progress
    from shared.recovery_point.restore_all import AllRestoreRequest, plan_all
    from shared.recovery_point.restore_all import restore_all as run

    if not (yes or dry_run) and (as_json or not sys.stdin.isatty()):
        raise UsageError(
            "what this restores is shown and asked for first", remedy="Run it on a terminal, with --yes, or --dry-run."
        )
    settings = Settings.from_environment()
    request = AllRestoreRequest(point, share_to, databases_to, databases_as, secrets_to, overwrite)
    plan = interruptible(lambda check: plan_all(settings, request))
    if not as_json:
        for line in plan.lines():
            message(line)
        telling.reasons(list(plan.reasons))
    if dry_run:
        return _answer(plan.answer(), as_json)
    if not yes and not typer.confirm("Do this?", err=True):
        raise UsageError("nothing was restored", remedy="")
    files, databases = Progress(), DatabasesProgress()
    meter = Meter(lambda: (files.files, files.bytes, None), "restored", beside=lambda: databases.text)
    with progress(meter, quiet=as_json):
        restored = interruptible(
            lambda check: run(settings, plan, progress=files, databases_progress=databases, check=check)
        )
    if not as_json:
        telling.reasons(restored.reasons)
        for name, component in restored.components.items():
            result(f"  {name}: {component['status']}, to {component['target']}")
        result(f"restored {restored.point}: {restored.status}; what follows: runbook --point {restored.point}")
    return _answer(restored.answer(), as_json)


@secrets_app.command("put")
def secrets_put(
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    name: Annotated[
        str | None,
        typer.Option("--name", help="Keep another file than SystemSecrets.JSON, such as a TDE certificate."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Keep SystemSecrets.JSON, or another file, in the Key Vault."""
    from shared.recovery_point.secrets import put_secrets, read_upload

    read = read_upload(file)
    put = put_secrets(Settings.from_environment(), read.content, name=name, filename=file.name, modified=read.modified)
    if not as_json:
        telling.secrets_put(put, name, file)
    return _answer({"status": "ok", "reasons": [], **put.answer()}, as_json)


@secrets_app.command("list")
def secrets_list(as_json: AsJson = False) -> int:
    """List what is kept: SystemSecrets.JSON and the files beside it, with their ages. Needs the Key Vault alone."""
    from shared.recovery_point.secrets import list_secrets

    listed = list_secrets(Settings.from_environment())
    answer = listed.answer()
    if not as_json:
        telling.secrets_list(listed, answer)
    return _answer(answer, as_json)


@secrets_app.command("confirm")
def secrets_confirm(as_json: AsJson = False) -> int:
    """Record that somebody looked: nothing was rotated since, or the file fits the databases as they are now."""
    from shared.recovery_point.secrets import confirm_secrets

    confirmed = confirm_secrets(Settings.from_environment())
    if not as_json:
        telling.secrets_confirm(confirmed)
    return _answer({"status": "ok", "reasons": [], **confirmed.answer()}, as_json)


@app.command()
def drill(
    point: Point = None,
    on_production: Annotated[
        bool, typer.Option("--on-production", help="Allow the very instance that the backups are of.")
    ] = False,
    seed: Annotated[
        str | None, typer.Option("--seed", help="That an earlier drill named: the same sample of the share again.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Restore for real, measure it, and throw it away: databases, a sample of the share, secrets."""
    from shared.databases.progress import Progress
    from shared.recovery_point.drill import drill as run

    done = Progress()
    with progress(Meter(None, "drill", beside=lambda: done.text), quiet=as_json):
        drilled = interruptible(
            lambda check: run(
                Settings.from_environment(), point, on_production=on_production, seed=seed, progress=done, check=check
            )
        )
    if not as_json:
        telling.drill(drilled)
    return _answer(drilled.answer(), as_json)


@app.command()
def runbook(
    point: Point = None,
    form: Annotated[str, typer.Option("--format", help="md, or html: one page that can be kept and printed.")] = "md",
    no_checks: Annotated[
        bool, typer.Option("--no-checks", help="Ask no server; leave every box of the checks to the reader.")
    ] = False,
    grants: Annotated[bool, typer.Option("--grants", help="Print the least rights on SQL Server as T-SQL.")] = False,
    as_json: AsJson = False,
) -> int:
    """Print how to recover App Service from a recovery point, step by step."""
    if grants:
        from shared.recovery_point.grants import grants_script

        script = grants_script(Settings.from_environment())
        if not as_json:
            result(script)
        return _answer({"status": "ok", "reasons": [], "grants": script}, as_json)
    from shared.status.runbook import make_runbook

    made = make_runbook(Settings.from_environment(), point, form=form, run_checks=not no_checks)
    if not as_json:
        for note in made.notes:
            message(note)
        result(made.text.rstrip("\n"))
    answer = {
        "status": "ok",
        "reasons": [],
        "point": made.point,
        "format": form,
        "runbook": made.text,
        "checks": made.checks,
        "notes": made.notes,
    }
    return _answer(answer, as_json)


@app.command("agent-script")
def agent_script(
    tool: Annotated[str, typer.Option("--tool", help="What reads the share there: restic or lifeboat.")] = "restic",
    path: Annotated[
        str | None, typer.Option("--path", help="The share's folder on the file server, such as D:\\WebSites.")
    ] = None,
    at: Annotated[
        list[str] | None,
        typer.Option("--at", help="When to begin, in UTC; may be given again.", metavar="HH:MM"),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", help="Write it to this new file.", metavar="FILE")] = None,
    as_json: AsJson = False,
) -> int:
    """Print a PowerShell script that has the file server itself back the share up."""
    from shared.agent.script import agent_script as make
    from shared.agent.script import write_script

    made = make(Settings.from_environment(), tool=tool, path=path, at=at or ())
    if output is not None:
        write_script(made, output)
    if not as_json:
        for note in made.notes:
            message(note)
        if output is None:
            result(made.text.rstrip("\n"))
        else:
            message(f"written to {output}: run it on the file server, as administrator")
    answer = {
        "status": "ok",
        "reasons": [],
        "tool": tool,
        "path": made.path,
        "start_times": list(made.start_times),
        "script": made.text,
        "output": str(output) if output else None,
        "notes": made.notes,
    }
    return _answer(answer, as_json)


@app.command()
def check(
    read_data: Annotated[bool, typer.Option("--read-data", help="Read and open every byte of every pack.")] = False,
    as_json: AsJson = False,
) -> int:
    """Check what the vault holds."""
    from shared.recovery_point.check import check_vault
    from shared.repository.checker import CheckProgress

    done = CheckProgress()
    meter = Meter(lambda: (done.trees, done.bytes_read, None), "checked trees of")
    with progress(meter, quiet=as_json):
        checked = check_vault(Settings.from_environment(), read_data=read_data, progress=done)
    answer = {
        "status": checked.status,
        "reasons": checked.reasons,
        "snapshots": done.snapshots,
        "trees": done.trees,
        "packs": done.packs,
        "packs_read": done.packs_read,
        "bytes_read": done.bytes_read,
        "database_backups": checked.database_backups,
        "secret_files": checked.secret_files,
        "notes": checked.notes,
    }
    if not as_json:
        telling.check(checked, done, read_data)
    return _answer(answer, as_json)


@app.command()
def preflight(
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            help="share, databases, secrets, vault or telemetry only; may be given again.",
            metavar="COMPONENT",
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Look at the way to every part from here: names, ports, logins, permissions, clocks."""
    from shared.preflight.make import preflight as run

    with progress(Meter(None, "looking"), quiet=as_json):
        found = run(Settings.from_environment(), only or ())
    if not as_json:
        telling.preflight(found)
    _answer(found.to_json(), as_json)
    return found.exit_code


@app.command()
def verify(point: Point = None, as_json: AsJson = False) -> int:
    """Read back and hash all that a recovery point needs; without --point, check the vault and read back the part of it
    that is due."""
    from shared.recovery_point.verification import verify_point, verify_round
    from shared.repository.checker import CheckProgress

    done = CheckProgress()
    settings = Settings.from_environment()
    with progress(Meter(lambda: (done.packs_read, done.bytes_read, None), "read back packs"), quiet=as_json):
        if point is not None:
            verified = interruptible(lambda check: verify_point(settings, point, progress=done, check=check))
        else:
            verified = interruptible(lambda check: verify_round(settings, progress=done, check=check))
    if not as_json:
        telling.verify(verified)
    return _answer(verified.answer(), as_json)


@app.command()
def protect(as_json: AsJson = False) -> int:
    """Lock what recovery points need, so that nobody can delete it before its date; extend dates that come near."""
    from shared.keeping.protecting import protect as run

    with progress(Meter(None, "protect"), quiet=as_json):
        protected = interruptible(lambda check: run(Settings.from_environment(), check=check))
    if not as_json:
        telling.protect(protected)
    return _answer(protected.answer(), as_json)


@app.command()
def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted and do nothing.")] = False,
    forget: Annotated[
        list[str] | None,
        typer.Option(
            "--forget",
            help="A recovery point, or a blob that a reason names, that nobody needs any more; may be given again.",
            metavar="NAME",
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Remove the recovery points that LIFEBOAT_KEEP_* does not keep, and then what nothing needs any more."""
    from shared.keeping.pruning import prune as run

    with progress(Meter(None, "prune"), quiet=as_json):
        pruned = interruptible(
            lambda check: run(Settings.from_environment(), dry_run=dry_run, forget=forget or (), check=check)
        )
    if not as_json:
        telling.prune(pruned)
    return _answer(pruned.answer(), as_json)


@app.command()
def undelete(
    everything: Annotated[
        bool, typer.Option("--everything", help="Bring back what retention and prune have deleted, too.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would come back and do nothing.")] = False,
    as_json: AsJson = False,
) -> int:
    """Make previous versions current again, after somebody deleted or overwrote what is in the vault."""
    from shared.keeping.undeleting import undelete as run

    with progress(Meter(None, "undelete"), quiet=as_json):
        undeleted = interruptible(
            lambda check: run(Settings.from_environment(), everything=everything, dry_run=dry_run, check=check)
        )
    if not as_json:
        telling.undelete(undeleted)
    return _answer(undeleted.answer(), as_json)


@app.command()
def status(
    html: Annotated[
        Path | None, typer.Option("--html", help="Write it as a page for people, too; replaces FILE.", metavar="FILE")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Show whether the newest good backup of each component is young enough; drift, expiries, the last drill."""
    from shared.status.health import read_health

    if html is None:
        health = read_health(Settings.from_environment())
    else:
        from shared.status.dashboard import read_dashboard, render, write_page

        dashboard = read_dashboard(Settings.from_environment())
        health = dashboard.health
        write_page(render(dashboard, links=False), html)
    if not as_json:
        telling.status(health)
    _answer(health.to_json(), as_json)
    return health.exit_code


@app.command()
def cost(
    shape: Annotated[str, typer.Option("--shape", help="The way to deploy: plain, private-network, ...")] = "plain",
    share_size: Annotated[str, typer.Option("--share-size", help="Bytes of the share.", metavar="SIZE")] = "500G",
    files: Annotated[str, typer.Option("--files", help="Files of the share.", metavar="COUNT")] = "2M",
    changed: Annotated[
        str, typer.Option("--changed", help="Part of the share that changes a day.", metavar="PERCENT")
    ] = "1%",
    share_ratio: Annotated[float, typer.Option("--share-ratio", help="Bytes stored for each byte of the share.")] = 0.5,
    databases_size: Annotated[
        str, typer.Option("--databases-size", help="Bytes of all databases together.", metavar="SIZE")
    ] = "20G",
    databases_changed: Annotated[
        str, typer.Option("--databases-changed", help="Part of the databases that changes a day.", metavar="PERCENT")
    ] = "5%",
    databases_ratio: Annotated[
        float, typer.Option("--databases-ratio", help="Bytes stored for each byte of a database.")
    ] = 0.3,
    redundancy: Annotated[
        str | None, typer.Option("--redundancy", help="Of the vault: LRS, ZRS, GRS, ...; by default the shape's.")
    ] = None,
    prices: Annotated[
        Path | None, typer.Option("--prices", help="JSON file with prices of your own.", metavar="FILE")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Estimate what a month costs in Azure, for a share and a retention like yours."""
    from shared.cost.command import Asked
    from shared.cost.command import cost as work_out

    asked = Asked(
        shape=shape,
        share_size=share_size,
        files=files,
        changed=changed,
        share_ratio=share_ratio,
        databases_size=databases_size,
        databases_changed=databases_changed,
        databases_ratio=databases_ratio,
        redundancy=redundancy,
        prices=prices,
    )
    worked_out = work_out(asked, os.environ)
    if not as_json:
        telling.cost(worked_out)
    return _answer(worked_out.as_json(), as_json)


@app.command()
def password(yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False, as_json: AsJson = False) -> int:
    """Print the repository password, after asking: stock restic needs it."""
    from shared.recovery_point.listing import repository_password

    if not yes:
        if as_json or not sys.stdin.isatty():
            raise UsageError("the password is shown only after asking", remedy="Run it on a terminal, or with --yes.")
        if not typer.confirm("Show the repository password on this screen?", err=True):
            raise UsageError("nothing was shown", remedy="")
    value = repository_password(Settings.from_environment())
    if not as_json:
        result(value)
    return _answer({"status": "ok", "reasons": [], "password": value}, as_json)


def _answer(answer: Json, as_json: bool) -> int:
    if as_json:
        result(json.dumps(answer))
    return EXIT_CODES[answer["status"]]


_ANSWERED = (
    *("status", "files", "bytes_read", "bytes_stored", "unchanged", "finished", "share_moment", "logins", "notes"),
    *("version", "sha256", "uploaded", "confirmed", "age_seconds", "pairing", "expiring"),
)


def _component(component: Json) -> Json:
    """What ``backup`` says of a component; the record has more."""
    short = {key: component[key] for key in _ANSWERED if key in component}
    if "databases" in component:
        short["databases"] = {
            name: {
                "status": database["status"],
                "moment": database["moment"],
                "backups": [backup["kind"] for backup in database["backups"]],
                "notes": database["notes"],
            }
            for name, database in component["databases"].items()
        }
    return short


def main(arguments: list[str]) -> int:
    """Run a command and return its exit code. Whatever goes wrong is told in the form that was asked for."""
    # Millions of small objects that hold no cycles: Python's default would look through them all the time.
    gc.set_threshold(100_000, 50, 1000)
    try:
        code = app(args=arguments, standalone_mode=False, prog_name="lifeboat.py")
        return _failed(_interrupted(), arguments) if code == INTERRUPTED else int(code or 0)
    except typer.Exit as done:
        return done.exit_code
    except LifeboatError as error:
        return _failed(error, arguments)
    except (KeyboardInterrupt, typer.Abort):
        return _failed(_interrupted(), arguments)
    except Exception as error:
        usage = getattr(error, "format_message", None)
        if usage is not None:
            return _failed(UsageError(usage(), remedy="Run it with --help."), arguments)
        if Settings.from_environment().debug:
            raise
        return _failed(
            LifeboatError(
                f"something that Lifeboat did not expect: {type(error).__name__}: {error}",
                remedy="Run it again with LIFEBOAT_DEBUG=true and report what it prints.",
            ),
            arguments,
        )


_ALWAYS: dict[str, Json] = {
    "check": {"status": "damaged", "snapshots": 0, "trees": 0, "packs": 0, "packs_read": 0, "bytes_read": 0},
    "preflight": {"status": "failed", "checks": []},
    "verify": {"status": "damaged", "kind": None, "point": None, "packs": 0, "bytes_read": 0},
    "status": {
        "status": "late",
        "components": {},
        "drift": None,
        "expiries": [],
        "last_verification": None,
        "last_drill": None,
    },
}
"""Keys that a command's answer has whatever happens, by command. What could not be looked at is not in order."""
_NAMES_OBJECTS = ("check", "verify")
"""Each of their reasons names the blob; where nothing could be looked at, the vault as a whole."""


def _failed(error: LifeboatError, arguments: list[str]) -> int:
    if "--json" in arguments:
        command = next((each for each in arguments if not each.startswith("-")), "")
        always = _ALWAYS.get(command, {})
        reason = error.as_reason("lifeboat")
        if command in _NAMES_OBJECTS:
            reason.setdefault("object", "vault")
        result(json.dumps({"status": "failed", **always, "reasons": [reason]}))
    else:
        message(f"lifeboat: {error}")
        if error.remedy:
            message(f"  {error.remedy}")
    return error.exit_code


def _interrupted() -> LifeboatError:
    return Cancelled("interrupted", remedy="Run it again: what is stored of a share is used again.")


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):  # a code page that lacks a character is no reason to fail
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(main(sys.argv[1:]))
