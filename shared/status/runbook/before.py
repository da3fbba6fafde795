"""What has to be there before anything is changed: what was checked, and what a person checks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from shared.status.markdown import DONE, FAILED, OPEN, block, bullets, plain
from shared.status.runbook.commands import asked, placeholder, quote, text, variable
from shared.status.runbook.document import Section, Step, section, step
from shared.status.runbook.facts import Facts
from shared.status.runbook.words import build_text, host_of, sentences
from shared.storage.azure_blobs import account_name

Json = dict[str, Any]

_BOX = {"pass": DONE, "fail": FAILED, "skip": OPEN}


def before(facts: Facts, checks: Sequence[Json]) -> Section:
    failed = sum(check["result"] == "fail" for check in checks)
    told = (
        f"As of {facts.now:%Y-%m-%d %H:%M}Z: a tick is what Lifeboat looked at and found good, a cross what was not, "
        "an open box is for you to look at."
    )
    alarm = f"**{failed} of them failed: mend those first.**" if failed else ""
    return section(
        "Check what is there",
        told,
        bullets(_line(check) for check in checks),
        alarm,
        steps=[_rights(facts), _machine(facts), _resource_provider(facts), _quiet()],
    )


def _line(check: Json) -> str:
    remedy = f" **Do:** {sentences(check['remedy'])}" if check.get("remedy") else ""
    return f"{_BOX[check['result']]} {plain(check['name'])}: {sentences(check['detail'])}{remedy}"


def _rights(facts: Facts) -> Step:
    vault = account_name(facts.vault_url)
    lines = [_assign("Storage Blob Data Reader", _account_scope(vault))]
    if facts.key_vault_url:
        lines.append(_assign("Key Vault Secrets User", _key_vault_scope(facts.key_vault_url)))
    if facts.chains and facts.mode == "url":
        lines.append(_assign("Storage Blob Data Contributor", _account_scope(account_name(facts.landing_url))))
    return step(
        "Rights of whoever restores",
        "A member of the group of restorers has them already. They are: read the vault, get secrets, and, for the "
        "databases, make and write containers in the landing account. Where they are missing, an owner of the "
        "subscription gives them, until the recovery is done:",
        block(lines, "powershell"),
        works=f"`az login` and `python lifeboat.py show {facts.id}` print the record. A new assignment may take some "
        "minutes.",
    )


def _machine(facts: Facts) -> Step:
    return step(
        "A machine with Lifeboat",
        "Any machine with Python 3.11 or later that reaches the vault, the SQL server (1433) and the file server "
        "(445). In Lifeboat's folder: `pip install -r requirements.txt`, `az login`, and:",
        block(_settings(facts), "powershell"),
        works=f"`python lifeboat.py runbook --point {facts.id}` prints this page, its checks run anew.",
    )


def _settings(facts: Facts) -> Iterator[str]:
    yield variable("LIFEBOAT_VAULT_URL", text(facts.vault_url))
    if facts.key_vault_url:
        yield variable("LIFEBOAT_KEY_VAULT_URL", text(facts.key_vault_url))
    else:
        yield variable("LIFEBOAT_REPOSITORY_PASSWORD", asked("password of the repository"))
    if facts.chains:
        yield variable("LIFEBOAT_SQL_MODE", text(facts.mode))
        if facts.mode == "url":
            yield variable("LIFEBOAT_LANDING_URL", text(facts.landing_url))
        else:
            path = facts.settings.values.get("LIFEBOAT_SQL_DISK_PATH")
            shown = text(path) if path else placeholder(r"\\server\share\folder that the new SQL server reads")
            yield variable("LIFEBOAT_SQL_DISK_PATH", shown)
            yield variable("LIFEBOAT_SQL_DISK_USERNAME", placeholder("who writes there"))
            yield variable("LIFEBOAT_SQL_DISK_PASSWORD", asked("password of that user"))
        yield variable("LIFEBOAT_SQL_SERVER", text(facts.sql_server or "<sql server>"))
        yield variable("LIFEBOAT_RESTORE_SQL_USERNAME", placeholder("login of SQL Server that restores"))
        yield variable("LIFEBOAT_RESTORE_SQL_PASSWORD", asked("password of that login"))
    if facts.has_share:
        yield variable("LIFEBOAT_RESTORE_USERNAME", placeholder(r"DOMAIN\administrator of the file server"))
        yield variable("LIFEBOAT_RESTORE_PASSWORD", asked("password of that user"))


def _resource_provider(facts: Facts) -> Step:
    return step(
        "App Service's resource provider is there, of the same build",
        f"Build when this point was made: {build_text(facts)}. The administrator portal shows it under App Service. "
        "If the stamp was lost, deploy the resource provider first, that very build, with its own installer and "
        "helper scripts; update it only when everything works again. Databases of one build under another are for "
        "Microsoft's support.",
        works="the virtual machine `CN0-VM` runs in the resource group `AppService.<region>`, and the builds are "
        "the same.",
    )


def _quiet() -> Step:
    return step(
        "Nobody writes any more",
        "If controllers of the old stamp still run: on **each** of them, in an administrator's prompt, before a "
        "database or file is replaced (how to reach them is in the section on the controllers):",
        block(["net stop WebFarmService", "net stop ResourceMetering"], "powershell"),
        "Stop the backups too: disable the timer functions of the backup app, or its app, so that no run records a "
        "half restored server.",
        works="`sc.exe query WebFarmService` says STOPPED on each controller.",
    )


def _account_scope(account: str) -> str:
    return (
        "/subscriptions/<subscription>/resourceGroups/<resource "
        f"group>/providers/Microsoft.Storage/storageAccounts/{account}"
    )


def _key_vault_scope(url: str) -> str:
    name = host_of(url).split(".")[0]
    return f"/subscriptions/<subscription>/resourceGroups/<resource group>/providers/Microsoft.KeyVault/vaults/{name}"


def _assign(role: str, scope: str) -> str:
    return f"az role assignment create --assignee {placeholder('user')} --role {quote(role)} --scope {text(scope)}"


def break_glass(facts: Facts) -> list[str]:
    """The assignment that nobody has, and its end."""
    scope = text(_account_scope(account_name(facts.vault_url)))
    rest = f"--assignee {placeholder('user')} --role {placeholder('name of the break-glass role')} --scope {scope}"
    return [f"az role assignment create {rest}", f"az role assignment delete {rest}"]
