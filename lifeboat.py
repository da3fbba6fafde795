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
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from shared.errors import Cancelled, LifeboatError, UsageError
from shared.settings import Settings
from shared.terminal import Meter, bytes_text, console, duration_text, interruptible, message, progress, result

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
    from shared.recovery_point.scope import BackupRequest

    request = BackupRequest(tuple(only or ()), tuple(without or ()), allow_shrink, new_repository, logs, workers)
    run = Backup(Settings.from_environment(), request)
    done = run.progress
    meter = Meter(
        lambda: (done.files, done.bytes, done.files_found if done.scanned else None),
        "backed up",
        beside=lambda: run.databases_progress.text,
    )
    with progress(meter, quiet=as_json):
        point = run.run()
    answer = {
        "status": point.status,
        "reasons": point.reasons,
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
        _tell_reasons(point.reasons)
        result(f"recovery point {point.point}: {point.status} after {duration_text(point.duration_seconds)}")
        share = point.share
        if share is not None and "files" in share:
            result(
                f"  share: {share['files']:,} files, {share['unchanged']:,} of them unchanged; "
                f"read {bytes_text(share['bytes_read'])}, stored {bytes_text(share['bytes_stored'])}; "
                f"snapshot {share['snapshot'][:8]}"
            )
        _tell_databases(point.components.get("databases", {}))
        _tell_secrets(point.components.get("secrets", {}))
        for note in point.components.get("databases", {}).get("notes", ()):
            message(note)
        if point.gone:
            message(
                f"not whole: {', '.join(point.gone)} of the whole point before is not configured any more; if that is "
                f"meant: backup {' '.join(f'--without {name}' for name in point.gone)}"
            )
    return _answer(answer, as_json)


@app.command()
def points(as_json: AsJson = False) -> int:
    """List the recovery points, newest first."""
    from shared.recovery_point.listing import list_points

    listed = list_points(Settings.from_environment())
    if not as_json:
        _tell_reasons(listed["reasons"])
        if not listed["points"]:
            result("There are no recovery points yet: run 'backup'.")
        else:
            _table(
                ("point", "status", "whole", "components"),
                [
                    (
                        each["point"],
                        each["status"] + (" (suspect)" if each["suspect"] else ""),
                        "yes" if each["whole"] else "no",
                        ", ".join(_component_text(*component) for component in each["components"].items()),
                    )
                    for each in listed["points"]
                ],
            )
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
    _tell_databases(record["components"].get("databases", {}), message)
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
        for note in restored.notes:
            message(note)
        outcome = restored.result
        _tell_reasons(outcome.reasons)
        result(
            f"restored {outcome.restored:,} files ({bytes_text(outcome.bytes)}) of {restored.point} to "
            f"{restored.target}; {outcome.unchanged:,} were there already, {outcome.skipped:,} skipped, "
            f"{outcome.failed:,} failed"
        )
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
        for note in restored.notes:
            message(note)
        _tell_reasons(restored.reasons)
        if dry_run:
            for statement in restored.statements:
                result(f"{statement};")
            result(f"-- nothing was done; {len(restored.planned)} database(s) of {restored.point} would be restored")
        else:
            for each in restored.restored:
                checked = "" if each.check_seconds is None else f", CHECKDB {duration_text(each.check_seconds)}"
                result(f"  {each.target}: {bytes_text(each.bytes)} in {duration_text(each.seconds)}{checked}")
            result(
                f"restored {len(restored.restored)} database(s) of {restored.point} on {restored.target}; "
                f"{len(restored.skipped)} skipped"
            )
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
        _tell_reasons(list(plan.reasons))
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
        _tell_reasons(restored.reasons)
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
    from shared.recovery_point.secrets import found_text, put_secrets, read_upload, time_text
    from shared.secrets.files import plain

    read = read_upload(file)
    put = put_secrets(Settings.from_environment(), read.content, name=name, filename=file.name, modified=read.modified)
    if not as_json:
        shown = plain(str(file))
        kept = "kept as" if put.new else "is current already, its age was refreshed:"
        result(f"{shown} {kept} {put.file.secret}, version {put.file.version}")
        result(f"  SHA-256 {put.file.sha256}, {put.file.size_bytes:,} bytes")
        if name is None:
            result(f"  found in it: {found_text(put.findings)}")
        if put.replaced is not None:
            before, held = put.replaced.file, "" if name else f" with {found_text(put.replaced.findings)}"
            result(
                f"  replaces version {before.version} of {time_text(before.uploaded)}: "
                f"{before.size_bytes:,} bytes{held}"
            )
        for certificate in put.findings.certificates:
            key = "with its private key" if certificate.has_key else "without a private key"
            result(
                f"  certificate {certificate.subject}, thumbprint {certificate.thumbprint}, {key}, good until "
                f"{certificate.not_after:%Y-%m-%d}"
            )
        for note in put.notes:
            message(note)
        message(f"Delete {shown} here once it is no longer needed: anybody who reads it owns App Service.")
    return _answer({"status": "ok", "reasons": [], **put.answer()}, as_json)


@secrets_app.command("list")
def secrets_list(as_json: AsJson = False) -> int:
    """List what is kept: SystemSecrets.JSON and the files beside it, with their ages. Needs the Key Vault alone."""
    from shared.recovery_point.secrets import list_secrets, time_text
    from shared.secrets.files import SYSTEM_SECRETS

    listed = list_secrets(Settings.from_environment())
    answer = listed.answer()
    if not as_json:
        rows: list[tuple[str, ...]] = [
            (
                "SystemSecrets.JSON" if file.secret == SYSTEM_SECRETS else file.name,
                f"{file.size_bytes:,}",
                time_text(file.uploaded),
                time_text(file.confirmed) if file.confirmed else "never",
                duration_text(each["age_seconds"]),
                file.version,
            )
            for file, each in zip(listed.files, answer["files"], strict=True)
        ]
        if rows:
            _table(("file", "bytes", "uploaded", "confirmed", "age", "version"), rows)
        elif not listed.reasons:
            message("nothing is kept yet: python lifeboat.py secrets put SystemSecrets.JSON")
        _tell_reasons(list(listed.reasons))
    return _answer(answer, as_json)


@secrets_app.command("confirm")
def secrets_confirm(as_json: AsJson = False) -> int:
    """Record that somebody looked: nothing was rotated since, or the file fits the databases as they are now."""
    from shared.recovery_point.secrets import confirm_secrets, time_text

    confirmed = confirm_secrets(Settings.from_environment())
    if not as_json:
        file, before = confirmed.file, confirmed.before
        result(f"SystemSecrets.JSON, version {file.version}, is confirmed")
        result(f"  {file.filename}, {file.size_bytes:,} bytes, SHA-256 {file.sha256}")
        result(f"  uploaded {time_text(file.uploaded)}; last confirmed {time_text(before) if before else 'never'}")
        message(
            "You have said: nothing was rotated since, or this file fits the databases as they are now. It overrides "
            "whatever drift was found before. If it is not so, download the secrets anew and run 'secrets put'."
        )
    return _answer({"status": "ok", "reasons": [], **confirmed.answer()}, as_json)


@app.command()
def drill(
    point: Point = None,
    on_production: Annotated[
        bool, typer.Option("--on-production", help="Allow the very instance that the backups are of.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Restore the databases on the drill server, check them, and throw them away."""
    from shared.databases.progress import Progress
    from shared.recovery_point.drill import drill as run

    done = Progress()
    with progress(Meter(None, "drill", beside=lambda: done.text), quiet=as_json):
        drilled = interruptible(
            lambda check: run(
                Settings.from_environment(), point, on_production=on_production, progress=done, check=check
            )
        )
    answer = {
        "status": drilled.status,
        "reasons": drilled.reasons,
        "point": drilled.point,
        "target": drilled.server,
        "rto_seconds": drilled.rto_seconds,
        "checks": drilled.checks,
        "notes": drilled.notes,
    }
    if not as_json:
        for note in drilled.notes:
            message(note)
        _tell_reasons(drilled.reasons)
        for each in drilled.checks:
            result(f"  {each['result']}  {each['name']}: {each['detail']}")
        rto = "" if drilled.rto_seconds is None else f"; back in {duration_text(drilled.rto_seconds)}"
        result(f"drill of {drilled.point} on {drilled.server}: {drilled.status}{rto}")
    return _answer(answer, as_json)


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
        _tell_reasons(checked.reasons)
        read = f", {done.packs_read:,} of them read ({bytes_text(done.bytes_read)})" if read_data else ""
        result(f"{checked.status}: {done.snapshots:,} snapshots, {done.trees:,} trees, {done.packs:,} packs{read}")
        if checked.database_backups:
            result(f"  {checked.database_backups:,} backups of databases: there, with the lengths that were recorded")
        if checked.secret_files:
            result(f"  {checked.secret_files:,} versions of files in the Key Vault: read back, as they were recorded")
        for note in checked.notes:
            message(f"  {note}")
    return _answer(answer, as_json)


@app.command()
def status(
    html: Annotated[
        Path | None, typer.Option("--html", help="Write it as a page for people, too; replaces FILE.", metavar="FILE")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Show whether the newest good backup of each component is young enough; drift, expiries, the last drill."""
    from shared.status.health import age_text, read_health

    if html is None:
        health = read_health(Settings.from_environment())
    else:
        from shared.status.dashboard import read_dashboard, render, write_page

        dashboard = read_dashboard(Settings.from_environment())
        health = dashboard.health
        write_page(render(dashboard, links=False), html)
    if not as_json:
        if health.failure is None and health.components:
            heads = ("component", "newest good backup", "stands for", "age", "allowed", "state")
            _table(heads, [row for each in health.components for row in each.rows()])
        for note in health.notes:
            message(note)
        _tell_reasons(list(health.reasons))
        if health.drift and health.drift.verdict != "drift":  # which is among the reasons
            result(f"secrets and databases: {health.drift.verdict}; {health.drift.detail}")
        if health.last_drill:
            drilled, age = health.last_drill.result, age_text(health.last_drill.age_seconds)
            rto = "" if drilled.rto_seconds is None else f"; back in {duration_text(drilled.rto_seconds)}"
            result(f"last drill: {drilled.status}, {age} ago, of {drilled.point}{rto}")
        elif health.failure is None:
            result("last drill: never")
        result(health.headline)
    _answer(health.to_json(), as_json)
    return health.exit_code


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


def _component_text(name: str, component: Json) -> str:
    more = f" ({component['files']:,} files)" if "files" in component else ""
    if component.get("databases"):
        more = f" ({len(component['databases'])}{', tail of a restore' if component.get('tail_of_restore') else ''})"
    return f"{name} {component['status']}{more}"


def _tell_databases(component: Json, say: Callable[[str], None] = result) -> None:
    for name, database in component.get("databases", {}).items():
        kinds = ", ".join(_backup_text(backup) for backup in database["backups"]) or "no backup"
        say(f"  {name}: {database['status']}; {kinds}")
        for note in database["notes"]:
            say(f"    {note}")
    if moment := component.get("share_moment"):
        can = "can" if moment["reachable"] else "cannot"
        say(f"  databases {can} all be brought to the moment of the share: --at {moment['moment']}")


def _tell_secrets(component: Json) -> None:
    if "version" in component:
        age = duration_text(component["age_seconds"])
        result(
            f"  secrets: {component['status']}; {component['filename']}, {age} old; {component['pairing']['verdict']}"
        )
    for note in component.get("notes", ()):
        message(f"  {note}")


def _backup_text(backup: Json) -> str:
    kind = f"{'COPY_ONLY ' if backup['copy_only'] else ''}{backup['kind']}"
    return f"{kind} of {backup['finished'][:19]}Z, {bytes_text(backup['stored']['bytes_stored'])}, verified"


def _tell_reasons(reasons: list[Json]) -> None:
    shown = 20
    for reason in reasons[:shown]:
        message(f"{reason['code']}: {reason['message']}")
        if reason["remedy"]:
            message(f"  {reason['remedy']}")
    if len(reasons) > shown:
        message(f"and {len(reasons) - shown:,} more; --json lists them")


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich.table import Table

    table = Table(*heads, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    console().print(table)


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
    "status": {
        "status": "late",
        "components": {},
        "drift": None,
        "expiries": [],
        "last_verification": None,
        "last_drill": None,
    }
}
"""Keys that a command's answer has whatever happens, by command."""


def _failed(error: LifeboatError, arguments: list[str]) -> int:
    if "--json" in arguments:
        command = next((each for each in arguments if not each.startswith("-")), "")
        always = _ALWAYS.get(command, {})
        result(json.dumps({"status": "failed", **always, "reasons": [error.as_reason("lifeboat")]}))
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
