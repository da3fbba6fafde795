"""The head of the runbook: which point, what it holds and lacks, and what no point can bring back."""

from __future__ import annotations

from collections.abc import Iterator

from shared.errors import Damaged
from shared.recovery_point.record import COMPLETE
from shared.repository.trees import datetime_of
from shared.status.markdown import bullets, code, plain, table
from shared.status.runbook.document import warning
from shared.status.runbook.facts import Facts
from shared.status.runbook.words import build_text, kinds, sentences, size, time
from shared.terminal import bytes_text, duration_text

MOST_REASONS = 20


def head(facts: Facts) -> list[str]:
    point = facts.point
    made = "" if facts.settings.values else " No settings were at hand: what stands in `<...>` is for you to fill in."
    return [
        f"Written by Lifeboat on {facts.now:%Y-%m-%d %H:%M}Z for the recovery point {code(facts.id)}. Work from top "
        f"to bottom, tick each box, and do not go on past a step that did not work.{made}",
        "Commands are for PowerShell on one machine of the operator, unless a step says where. What stands in "
        "`<...>` is for you to fill in. On Linux or macOS write `export NAME=value` for `$env:NAME = value`; the "
        "lines that begin with `python lifeboat.py` are the same there.",
        *_warnings(facts),
        table(("this point", ""), _rows(facts)),
        "**What it lacks**",
        bullets(_lacks(facts)) or "Nothing that was asked for.",
        "**What no recovery point brings back**",
        bullets(_never(facts)),
        f"The record itself: {code(f'python lifeboat.py show {point.point}')}",
    ]


def _warnings(facts: Facts) -> Iterator[str]:
    point, secrets = facts.point, facts.secrets
    if point.status != COMPLETE:
        yield warning(
            f"**This point is {plain(point.status)}.** It lacks what is listed below. `python lifeboat.py points` "
            "lists the others; a runbook for another one: `runbook --point ID`."
        )
    if point.suspect:
        yield warning(
            "**This point is suspect**: what was found was so different from before that the share may already have "
            "been emptied or damaged when it was made. Look at an earlier point first."
        )
    if any(component.get("tail_of_restore") for component in point.components.values()):
        yield warning(
            "**This point holds only the tail of a log** that a restore saved before it replaced a database. It is "
            "no point to recover App Service from."
        )
    verdict, detail = _pairing(facts)
    if verdict == "drift":
        yield warning(
            f"**SystemSecrets.JSON of this point does not fit its databases**: {plain(detail)}.",
            "With it App Service cannot log in to the restored databases. Look for a version that fits: download "
            "the file again in the administrator portal if the stamp still lives (App Service, Secrets, Download "
            "Secrets), or choose a point from before the rotation; after the restore, rotating the connection "
            "strings makes new ones.",
        )
    elif verdict == "unknown" and secrets.get("version"):
        yield warning(
            f"Whether SystemSecrets.JSON fits the databases **is not known**: {plain(detail)}. Ask whoever keeps App "
            "Service whether keys, connection strings, certificates or system credentials were rotated since "
            f"{time(secrets.get('moment'))}."
        )
    expiring = secrets.get("expiring") or []
    if expiring:
        named = "; ".join(f"{plain(each.get('subject'))}, {time(each.get('not_after'))}" for each in expiring[:10])
        yield warning(
            f"**Certificates that end soon, or have ended, when the point was made:** {named}. App Service does not "
            "start rightly with expired ones: have new ones at hand, and rotate them in the portal after the "
            "recovery."
        )


def _pairing(facts: Facts) -> tuple[str, str]:
    pairing = facts.secrets.get("pairing") or {}
    return str(pairing.get("verdict") or ""), str(pairing.get("detail") or "the record does not say").rstrip(".")


def _rows(facts: Facts) -> Iterator[tuple[str, str]]:
    point = facts.point
    whole = "whole" if point.whole else "not whole: not everything of App Service was asked for"
    yield "Made", f"{time(point.time)}, {_age(facts)} before this page"
    yield "Status", f"**{plain(point.status)}**, {whole}{', suspect' if point.suspect else ''}"
    for name, chain in facts.chains.items():
        yield (
            f"Database {code(name)}",
            f"as of {chain.moment:%Y-%m-%d %H:%M:%S}Z; {kinds(chain)}, {bytes_text(size(chain))} in the vault",
        )
    if facts.master is not None:
        yield f"Database {code('master')}", f"as of {facts.master.finished:%Y-%m-%d %H:%M:%S}Z; see its section"
    server = facts.sql_facts
    if facts.sql_server:
        told = ", ".join(plain(server[key]) for key in ("version", "edition") if server.get(key))
        named = f", calls itself {code(server['name'])}" if server.get("name") else ""
        yield "SQL Server", f"{code(facts.sql_server)}{named}{f'; {told}' if told else ''}"
    if facts.has_share:
        share = facts.share
        unc = f", {code(facts.share_unc)}" if facts.share_unc else ""
        files = f"{share['files']:,} files, " if isinstance(share.get("files"), int) else ""
        held = bytes_text(share["bytes"]) if isinstance(share.get("bytes"), int) else "size unknown"
        yield "Share", f"{code(facts.share_url) if facts.share_url else 'address not recorded'}{unc}"
        yield "", f"as of {time(share.get('data_time'))}; {files}{held}; snapshot {code(point.snapshot)}"
    if facts.has_secrets:
        secrets = facts.secrets
        yield (
            "SystemSecrets.JSON",
            f"secret {code(secrets.get('name'))}, version {code(secrets.get('version'))}, uploaded or "
            f"confirmed last at {time(secrets.get('moment'))}; SHA-256 {code(secrets.get('sha256'))}",
        )
    for name, file in facts.files.items():
        yield f"Kept file {code(name)}", f"version {code(file.get('version'))}; SHA-256 {code(file.get('sha256'))}"
    if point.skew_seconds:
        yield "Apart", f"{duration_text(point.skew_seconds)} between the earliest and the latest moment of these"
    yield "Resource provider", build_text(facts)
    yield "Vault", code(facts.vault_url)
    yield "Key Vault", code(facts.key_vault_url) if facts.key_vault_url else "none recorded"


def _age(facts: Facts) -> str:
    try:
        return duration_text(max((facts.now - datetime_of(facts.point.time)).total_seconds(), 0.0))
    except Damaged:
        return "an unknown time"


def _lacks(facts: Facts) -> Iterator[str]:
    point = facts.point
    reasons = [*point.reasons, *(each for each in facts.reasons if each not in point.reasons)]
    for reason in reasons[:MOST_REASONS]:
        yield f"{plain(reason.get('component', ''))}: {sentences(reason.get('message'), reason.get('remedy'))}"
    if len(reasons) > MOST_REASONS:
        yield f"and {len(reasons) - MOST_REASONS:,} more: see the record"
    if point.gone:
        named = ", ".join(code(name) for name in point.gone)
        yield f"{named} was in earlier whole points and was not configured any more: look for it in an earlier point"
    if point.not_configured:
        yield f"not configured when it was made: {plain(', '.join(point.not_configured))}"
    if point.without:
        yield f"meant to be missing (`--without`): {', '.join(code(name) for name in point.without)}"
    unreadable = (facts.share.get("unreadable") or {}).get("count")
    if unreadable:
        yield f"{unreadable:,} file(s) of the share could not be read when it was made"
    if facts.has_share and facts.databases and not (facts.databases.get("share_moment") or {}).get("reachable"):
        yield (
            "databases and share are of different moments: a site that was made or deleted in between may have its "
            "record without its files, or the other way round"
        )
    for note in facts.secrets.get("notes") or []:
        yield plain(note)


def _never(facts: Facts) -> Iterator[str]:
    yield (
        "the roles of App Service (controllers, management, front ends, publishers, workers): the cmdlets in "
        f"section 5 rebuild them. The resource provider has to be there, of the same build: {build_text(facts)}"
    )
    yield (
        "function apps whose storage account was on the same stamp: each needs a new account, and its settings "
        "`AzureWebJobsStorage` and `AzureWebJobsDashboard` edited (see the section After)"
    )
    yield (
        "users `WebWorker_<ip address>` in the databases belong to workers that may be gone; App Service makes "
        "those that it needs"
    )
    yield "anything else that tenants keep elsewhere: their databases, storage accounts, queues"
    if (facts.share.get("tolerated") or {}).get("count"):
        yield f"{facts.share['tolerated']['count']:,} file(s) of the share that `LIFEBOAT_SHARE_TOLERATE` leaves out"
