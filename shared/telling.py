"""What each command says to people: results on standard output, what else they should know on standard error.

One function for a command that says more than a line, named after it. Nothing here decides anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.terminal import bytes_text, console, duration_text, message, result

if TYPE_CHECKING:
    from shared.cost.command import Cost
    from shared.keeping.protecting import Protected
    from shared.keeping.pruning import Pruned
    from shared.keeping.undeleting import Undeleted
    from shared.preflight.check import Row
    from shared.preflight.make import Preflight
    from shared.recovery_point.check import CheckResult
    from shared.recovery_point.drill import Drilled
    from shared.recovery_point.record import RecoveryPoint
    from shared.recovery_point.restore import ShareRestored
    from shared.recovery_point.restore_databases import DatabasesRestored
    from shared.recovery_point.secrets import Confirmed, PutSecrets, SecretsListed
    from shared.recovery_point.verifications import Verification
    from shared.repository.checker import CheckProgress
    from shared.status.health import Health

Json = dict[str, Any]


def backup(point: RecoveryPoint) -> None:
    """A point that has been recorded."""
    reasons(point.reasons)
    result(f"recovery point {point.point}: {point.status} after {duration_text(point.duration_seconds)}")
    share = point.share
    if share is not None and "adopted" in share:
        result(
            f"  share: {share['files']:,} files, {bytes_text(share['bytes'])}; adopted the snapshot "
            f"{share['snapshot'][:8]} of {share['data_time'][:19]}Z, made on {share['adopted']['hostname']}"
        )
    elif share is not None and "files" in share:
        result(
            f"  share: {share['files']:,} files, {share['unchanged']:,} of them unchanged; "
            f"read {bytes_text(share['bytes_read'])}, stored {bytes_text(share['bytes_stored'])}; "
            f"snapshot {share['snapshot'][:8]}"
        )
    databases(point.components.get("databases", {}))
    secrets(point.components.get("secrets", {}))
    for component in ("databases", "share"):
        for note in point.components.get(component, {}).get("notes", ()):
            message(note)
    if point.gone:
        message(
            f"not whole: {', '.join(point.gone)} of the whole point before is not configured any more; if that is "
            f"meant: backup {' '.join(f'--without {name}' for name in point.gone)}"
        )


def points(listed: Json) -> None:
    """The recovery points, newest first."""
    reasons(listed["reasons"])
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


def restore_share(restored: ShareRestored) -> None:
    """What came of a restore of the share."""
    for note in restored.notes:
        message(note)
    outcome = restored.result
    reasons(outcome.reasons)
    result(
        f"restored {outcome.restored:,} files ({bytes_text(outcome.bytes)}) of {restored.point} to "
        f"{restored.target}; {outcome.unchanged:,} were there already, {outcome.skipped:,} skipped, "
        f"{outcome.failed:,} failed"
    )


def restore_databases(restored: DatabasesRestored, dry_run: bool) -> None:
    """What came of a restore of databases, or what it would do."""
    for note in restored.notes:
        message(note)
    reasons(restored.reasons)
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


def secrets_put(put: PutSecrets, name: str | None, file: Path) -> None:
    """What is kept now, and what it replaces. ``name``: what the file is kept under; None: SystemSecrets.JSON."""
    from shared.recovery_point.secrets import found_text, time_text
    from shared.secrets.files import plain

    shown = plain(str(file))
    kept = "kept as" if put.new else "is current already, its age was refreshed:"
    result(f"{shown} {kept} {put.file.secret}, version {put.file.version}")
    result(f"  SHA-256 {put.file.sha256}, {put.file.size_bytes:,} bytes")
    if name is None:
        result(f"  found in it: {found_text(put.findings)}")
    if put.replaced is not None:
        before, held = put.replaced.file, "" if name else f" with {found_text(put.replaced.findings)}"
        result(
            f"  replaces version {before.version} of {time_text(before.uploaded)}: {before.size_bytes:,} bytes{held}"
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


def secrets_list(listed: SecretsListed, answer: Json) -> None:
    """What is kept in the Key Vault."""
    from shared.recovery_point.secrets import time_text
    from shared.secrets.files import SYSTEM_SECRETS

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
    reasons(list(listed.reasons))


def secrets_confirm(confirmed: Confirmed) -> None:
    """What was confirmed."""
    from shared.recovery_point.secrets import time_text

    file, before = confirmed.file, confirmed.before
    result(f"SystemSecrets.JSON, version {file.version}, is confirmed")
    result(f"  {file.filename}, {file.size_bytes:,} bytes, SHA-256 {file.sha256}")
    result(f"  uploaded {time_text(file.uploaded)}; last confirmed {time_text(before) if before else 'never'}")
    message(
        "You have said: nothing was rotated since, or this file fits the databases as they are now. It overrides "
        "whatever drift was found before. If it is not so, download the secrets anew and run 'secrets put'."
    )


def drill(drilled: Drilled) -> None:
    """What came of a drill."""
    for note in drilled.notes:
        message(note)
    reasons(drilled.reasons)
    for each in drilled.checks:
        result(f"  {each['result']}  {each['name']}: {each['detail']}")
    rto = "" if drilled.rto_seconds is None else f"; back in {duration_text(drilled.rto_seconds)}"
    if drilled.estimated_rto_seconds is not None:
        rto += f", all of it in about {duration_text(drilled.estimated_rto_seconds)}"
    where = f" on {drilled.server}" if drilled.server else ""
    result(f"drill of {drilled.point}{where}: {drilled.status}{rto}")


def verify(verified: Verification) -> None:
    """What a verification has found."""
    for note in verified.notes:
        message(note)
    reasons(verified.reasons)
    what = f"of {verified.point}" if verified.point else "of what was due"
    result(
        f"{verified.status}: verification {what}; read back {verified.packs:,} packs, {verified.database_blobs:,} "
        f"backups of databases and {verified.secret_files:,} secrets, {bytes_text(verified.bytes_read)}"
    )
    if verified.rotation and verified.rotation.read_back_since:
        result(f"  everything has been read back once since {verified.rotation.read_back_since:%Y-%m-%d %H:%M}Z")


def protect(protected: Protected) -> None:
    """What is protected now."""
    for note in protected.notes:
        message(note)
    reasons(protected.reasons)
    until = f"; none can be deleted before {protected.until:%Y-%m-%d %H:%M}Z" if protected.until else ""
    result(
        f"{protected.status}: {protected.blobs:,} blobs are needed ({bytes_text(protected.bytes)}), the date of "
        f"{protected.extended:,} was set{until}"
    )


def prune(pruned: Pruned) -> None:
    """What went, or would."""
    for note in pruned.notes:
        message(note)
    reasons(pruned.reasons)
    would = "would be " if pruned.dry_run else ""
    if pruned.decision is not None:
        _table(
            ("point", "kept as"),
            [
                *((point, ", ".join(why)) for point, why in pruned.decision.kept.items()),
                *((point, f"{would}removed") for point in pruned.points_removed),
            ],
        )
    result(
        f"{pruned.status}: {len(pruned.points_removed):,} points {would}removed, {bytes_text(pruned.bytes_freed)} "
        f"{would}freed; {bytes_text(pruned.bytes_waiting)} {'would ' if pruned.dry_run else ''}wait for "
        "LIFEBOAT_PRUNE_WAIT"
    )
    if pruned.bytes_repacked:
        result(f"  {bytes_text(pruned.bytes_repacked)} {would}repacked")
    if pruned.refused:
        until = pruned.refused_until
        when = f"; the last date is {until:%Y-%m-%d %H:%M}Z" if until else ""
        result(f"  {len(pruned.refused):,} blobs are protected and stay until the first prune after their date{when}")


def undelete(undeleted: Undeleted) -> None:
    """What came back, or would."""
    for note in undeleted.notes:
        message(note)
    reasons(undeleted.reasons)
    would = "would be " if undeleted.dry_run else ""
    result(
        f"{undeleted.status}: {undeleted.restored:,} blobs {would}brought back ({bytes_text(undeleted.bytes)}), "
        f"{undeleted.left_out:,} left out"
    )


def check(checked: CheckResult, done: CheckProgress, read_data: bool) -> None:
    """What a check has found."""
    reasons(checked.reasons)
    read = f", {done.packs_read:,} of them read ({bytes_text(done.bytes_read)})" if read_data else ""
    result(f"{checked.status}: {done.snapshots:,} snapshots, {done.trees:,} trees, {done.packs:,} packs{read}")
    if checked.database_backups:
        result(f"  {checked.database_backups:,} backups of databases: there, with the lengths that were recorded")
    if checked.secret_files:
        result(f"  {checked.secret_files:,} versions of files in the Key Vault: read back, as they were recorded")
    for note in checked.notes:
        message(f"  {note}")


def preflight(found: Preflight) -> None:
    """Each check in a line, those that fail first, with what to do below each that does not pass."""
    if not found.rows:
        result("There is nothing to look at.")
        return
    left_out: dict[str, list[str]] = {}
    for row in found.rows:
        if row.left_out:
            left_out.setdefault(row.component, []).append(row.name)
    _table(
        ("result", "component", "check", "took", "what was found"),
        [
            (row.result.upper(), row.component, row.name, duration_text(row.seconds), _found(row))
            for row in found.rows
            if not row.left_out
        ],
    )
    for component, names in left_out.items():
        result(f"not looked at in {component}, since what comes before has not passed: {', '.join(names)}")
    counts = ", ".join(f"{count} {name}" for name, count in Counter(row.result for row in found.rows).items())
    result(f"preflight: {found.status} ({counts})")


def _found(row: Row) -> str:
    if row.result not in ("fail", "warn") or not row.remedy:
        return row.detail
    setting = f" [{row.setting}]" if row.setting and row.setting not in row.remedy else ""
    return f"{row.detail}\n-> {row.remedy}{setting}"


def status(health: Health) -> None:
    """How things stand."""
    from shared.status.health import age_text

    if health.failure is None and health.components:
        heads = ("component", "newest good backup", "stands for", "age", "allowed", "state")
        _table(heads, [row for each in health.components for row in each.rows()])
    for note in health.notes:
        message(note)
    reasons(list(health.reasons))
    if health.drift and health.drift.verdict != "drift":  # which is among the reasons
        result(f"secrets and databases: {health.drift.verdict}; {health.drift.detail}")
    if health.last_drill:
        drilled, age = health.last_drill.result, age_text(health.last_drill.age_seconds)
        rto = "" if drilled.rto_seconds is None else f"; back in {duration_text(drilled.rto_seconds)}"
        if drilled.estimated_rto_seconds is not None:
            rto += f", all of it in about {duration_text(drilled.estimated_rto_seconds)}"
        result(f"last drill: {drilled.status}, {age} ago, of {drilled.point}{rto}")
    elif health.failure is None:
        result("last drill: never")
    if health.last_verification:
        verified = health.last_verification
        result(f"last verification: {verified.result.status}, {age_text(verified.age_seconds)} ago, {verified.what}")
        if verified.result.read_back_since:
            result(f"  everything has been read back once since {verified.result.read_back_since:%Y-%m-%d %H:%M}Z")
    elif health.failure is None:
        result("last verification: never")
    result(health.headline)


def _component_text(name: str, component: Json) -> str:
    more = f" ({component['files']:,} files)" if "files" in component else ""
    if component.get("databases"):
        more = f" ({len(component['databases'])}{', tail of a restore' if component.get('tail_of_restore') else ''})"
    return f"{name} {component['status']}{more}"


def databases(component: Json, say: Callable[[str], None] = result) -> None:
    for name, database in component.get("databases", {}).items():
        kinds = ", ".join(_backup_text(backup) for backup in database["backups"]) or "no backup"
        say(f"  {name}: {database['status']}; {kinds}")
        for note in database["notes"]:
            say(f"    {note}")
    if moment := component.get("share_moment"):
        can = "can" if moment["reachable"] else "cannot"
        say(f"  databases {can} all be brought to the moment of the share: --at {moment['moment']}")


def secrets(component: Json) -> None:
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


def cost(worked_out: Cost) -> None:
    """What costs most first, and all that was assumed."""
    told, prices = worked_out.estimate, worked_out.prices
    _table(
        ("a month", "for", "how much", "of what", "why"),
        [
            (
                f"{each.cost:,.2f}",
                each.item,
                f"{each.amount:,.0f}" if each.amount >= 10 else f"{each.amount:.2g}",
                each.unit,
                each.why,
            )
            for each in sorted(told.items, key=lambda each: -each.cost)
        ],
    )
    result(
        f"{told.month:,.2f} {prices.currency} a month: shape {worked_out.shape}, {worked_out.redundancy}, "
        f"{bytes_text(told.stored_bytes)} in the vault. Once, to bring a point back out of Azure: "
        f"{told.restore_cost:,.2f}"
    )
    result(f"List prices of {prices.date}, {prices.region}; your own by --prices. Assumed:")
    for assumption in told.assumptions:
        result(f"  - {assumption}")


def reasons(reasons: list[Json]) -> None:
    shown = 20
    for reason in reasons[:shown]:
        message(f"{reason['code']}: {reason['message']}")
        if reason["remedy"]:
            message(f"  {reason['remedy']}")
    if len(reasons) > shown:
        message(f"and {len(reasons) - shown:,} more; --json lists them")


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(*heads, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console().print(table)
