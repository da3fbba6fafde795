"""What has to be there before anything is changed: what was checked, and what a person checks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from shared.status.markdown import DONE, FAILED, OPEN, block, bullets, plain
from shared.status.runbook.commands import asked, placeholder, quote, text, variable
from shared.status.runbook.document import Section, Step, section, step
from shared.status.runbook.facts import Facts
from shared.status.runbook.words import build_text, host_of, sentences
from shared.storage.azure_endpoint import account_name

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
        steps=[_rights(facts), _machine(facts), _resource_provider(facts), _let_in(), _quiet()],
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
    driver = ", Microsoft's ODBC driver for SQL Server installed," if facts.chains else ""
    return step(
        "A machine with Lifeboat",
        f"Any machine with Python 3.11 or later{driver} that reaches the vault, the SQL server (1433) and the file "
        f"server ({facts.share_port}). In Lifeboat's folder: `pip install -r requirements.txt`, `az login`, and these, "
        "which are all that a restore needs:",
        block(_settings(facts), "powershell"),
        *(_certificate_words(facts) if facts.chains else ()),
        works=f"`python lifeboat.py runbook --point {facts.id}` prints this page, its checks run anew.",
    )


def _settings(facts: Facts) -> Iterator[str]:
    """Lines of PowerShell; what may not apply is a comment."""
    yield variable("LIFEBOAT_VAULT_URL", text(facts.vault_url))
    if facts.setting("VAULT_KEY"):
        yield variable("LIFEBOAT_VAULT_KEY", asked("account key of the vault"))
    yield from _as_set(facts, "STORAGE_API_VERSION")
    if facts.key_vault_url:
        yield variable("LIFEBOAT_KEY_VAULT_URL", text(facts.key_vault_url))
    if not facts.key_vault_url or facts.setting("REPOSITORY_PASSWORD"):
        yield variable("LIFEBOAT_REPOSITORY_PASSWORD", asked("password of the repository"))
    if facts.chains:
        yield from _medium(facts)
        yield variable("LIFEBOAT_SQL_SERVER", text(facts.sql_server or "<sql server>"))
        yield variable("LIFEBOAT_RESTORE_SQL_USERNAME", placeholder("login of SQL Server that restores"))
        yield variable("LIFEBOAT_RESTORE_SQL_PASSWORD", asked("password of that login"))
        yield from _certificate(facts)
        yield from _driver(facts)
        yield from _as_set(facts, "SQL_STATEMENT_LIMIT", "SQL_OWN_LOG_CHAIN")
    if facts.has_share:
        yield variable("LIFEBOAT_SHARE_URL", text(facts.share_url or "smb://<file server>/<share>"))
        yield variable("LIFEBOAT_RESTORE_USERNAME", placeholder(r"DOMAIN\administrator of the file server"))
        yield variable("LIFEBOAT_RESTORE_PASSWORD", asked("password of that user"))


def _as_set(facts: Facts, *names: str) -> Iterator[str]:
    for name in names:
        if value := facts.setting(name):
            yield variable(f"LIFEBOAT_{name}", text(value))


def _medium(facts: Facts) -> Iterator[str]:
    yield variable("LIFEBOAT_SQL_MODE", text(facts.mode))
    if facts.mode == "url":
        yield variable("LIFEBOAT_LANDING_URL", text(facts.landing_url))
        if facts.setting("LANDING_KEY"):
            yield variable("LIFEBOAT_LANDING_KEY", asked("account key of the landing account"))
        yield from _as_set(facts, "SQL_SAS")
        return
    path = facts.setting("SQL_DISK_PATH")
    shown = text(path) if path else placeholder(r"\\server\share\folder that the new SQL server reads")
    yield variable("LIFEBOAT_SQL_DISK_PATH", shown)
    yield from _as_set(facts, "SQL_DISK_URL")
    yield variable("LIFEBOAT_SQL_DISK_USERNAME", placeholder("who writes there"))
    yield variable("LIFEBOAT_SQL_DISK_PASSWORD", asked("password of that user"))


def _certificate(facts: Facts) -> Iterator[str]:
    """How the SQL server is trusted: as it was here; a new server may need another way."""
    pinned = variable("LIFEBOAT_SQL_SERVER_CERTIFICATE", placeholder("file of the certificate of the SQL server, PEM"))
    trusting = variable("LIFEBOAT_SQL_TRUST_SERVER_CERTIFICATE", text("true"))
    trusts = (facts.setting("SQL_TRUST_SERVER_CERTIFICATE") or "").lower() == "true"
    yield pinned if facts.setting("SQL_SERVER_CERTIFICATE") else f"# {pinned}"
    yield trusting if trusts else f"# {trusting}"


def _certificate_words(facts: Facts) -> Iterator[str]:
    yield (
        "A freshly installed SQL Server has a certificate that it signed itself, and this machine refuses it. Let the "
        "server's administrator give it one of an authority that this machine trusts; or export the one it uses (SQL "
        "Server Configuration Manager, protocols, Certificate; without its key, Base-64) and name that file in "
        "`LIFEBOAT_SQL_SERVER_CERTIFICATE`. Only where neither can be had, and the network between is your own: "
        "`LIFEBOAT_SQL_TRUST_SERVER_CERTIFICATE`. **Whoever stands in between then reads the password and everything "
        "else.**"
    )


def _driver(facts: Facts) -> Iterator[str]:
    driver = facts.setting("SQL_DRIVER")
    if driver:
        line = variable("LIFEBOAT_SQL_DRIVER", text(driver))
        is_path = "/" in driver or "\\" in driver
        yield f"# {line}   # where the driver lies there on this machine too" if is_path else line


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


def _let_in() -> Step:
    return step(
        "Let yourself in to the controllers",
        "Administrator portal, Network Security Groups, `ControllersNSG`: set the rule `Inbound_Rdp_3389` to "
        "**Allow** (some of Microsoft's pages call it `Inbound_Rdp_2289`). In the resource group "
        "`AppService.<region>` (by default) connect by Remote Desktop to `CN0-VM` as `roleadmin`, with the password "
        "that was given at the installation, or at the last rotation of system credentials. The last step of section "
        "5 closes this door again.",
        works="you see the desktop of CN0-VM. Reach the other controllers (CN1-VM and so on) from there the same way.",
    )


def _quiet() -> Step:
    return step(
        "Nobody writes any more",
        "If controllers of the old stamp still run: on **each** of them, in an administrator's prompt, before a "
        "database or file is replaced:",
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
    """The assignment that nobody has, and its end. The role's name ends in what each deployment has of its own."""
    vault = account_name(facts.vault_url)
    scope = text(_account_scope(vault))
    found = "[?starts_with(roleName, 'Lifeboat break-glass')].roleName"
    rest = f"--assignee {placeholder('user')} --role $role --scope {scope}"
    lock = (
        f"az lock delete --name backups --resource {vault} --resource-type Microsoft.Storage/storageAccounts "
        f"--resource-group {placeholder('resource group')}"
    )
    return [
        f'$role = az role definition list --custom-role-only true --scope {scope} --query "{found}" --output tsv',
        f"az role assignment create {rest}",
        "# Where the vault has a lock (az lock list), Azure takes no assignment back before the lock is gone, and",
        f"# azd provision --no-state makes it again: {lock}",
        f"az role assignment delete {rest}",
    ]
