"""For whoever looks after the stamp: firewall openings, the account that reads the share, T-SQL for the logins."""

from __future__ import annotations

from collections.abc import Iterator

from infra.hooks.site import Site
from shared.agent.powershell import text as powershell
from shared.databases.driver import DEFAULT_PORT, Address
from shared.databases.grants import backup_grants, drill_grants, restore_grants
from shared.smb.endpoint import SmbEndpoint

GRANTS, GRANTS_RESTORE, GRANTS_DRILL = "grants.sql", "grants-restore.sql", "grants-drill.sql"
RESTORE_LOGIN = "lifeboat_restore"
"""A login of its own, so that what runs every night cannot restore."""


def reads_share(site: Site) -> bool:
    settings = site.settings
    return "share" in settings.configured() and not settings.share().adopted and settings.share().folder is None


def firewall(site: Site) -> str:
    sources = {
        "public": "Azure's own addresses: this shape has none of its own. Open it for the service tag "
        "`AzureCloud` of the region, or choose a shape with a network",
        "integrated": f"{site.outbound_address} (by the Internet), or {site.backup_subnet} (by a peering or VPN)",
        "private": f"{site.backup_subnet} (by the peering or VPN)",
    }
    rows = "".join(f"| {' | '.join(row)} |\n" for row in _openings(site))
    return (
        f"# Firewall openings for Lifeboat\n\nThe app comes from {sources[site.network]}. Everything is TCP unless it "
        "says so, and begun by the source; nothing is opened towards the app.\n\n"
        f"| from | to | port | why |\n|---|---|---|---|\n{rows}\n"
        "Port 445 may be kept from going out in Azure: preflight tells, and docs/reaching-the-stamp.md has four ways "
        "round it. Proxies, certificates and DNS are there too.\n"
    )


def _openings(site: Site) -> Iterator[tuple[str, str, str, str]]:
    settings, configured = site.settings, site.settings.configured()
    app = "the app"
    if "share" in configured and not settings.share().adopted:
        share = _endpoint(settings.share().url, "LIFEBOAT_SHARE_URL")
        yield app, share.server, str(share.port), "the share"
    if "databases" in configured:
        mode = settings.sql_mode()
        server = Address.parse(settings.sql_server().server, "LIFEBOAT_SQL_SERVER")
        yield app, server.host, _port(server), "SQL Server"
        back = settings.restore_sql_mode() if settings.has_landing() or settings.has_disk() or mode != "adopt" else ""
        if site.landing and back == "url":
            yield f"{server.host} itself", _host(site.landing_url), "443", "SQL Server's backups and restores"
        if mode == "disk":
            disk = _endpoint(settings.disk().url, "LIFEBOAT_SQL_DISK_URL")
            yield app, disk.server, str(disk.port), "backups of databases"
            folder = settings.disk().path.lstrip("\\").partition("\\")[0]
            yield f"{server.host} itself", folder, "445", "SQL Server's backups into the folder"
        drill = settings.sql_server_name("DRILL_SQL")
        if drill:
            address = Address.parse(drill, "LIFEBOAT_DRILL_SQL_SERVER")
            yield app, address.host, _port(address), "drills"
            if site.landing and back == "url":
                yield f"{address.host} itself", _host(site.landing_url), "443", "restores of drills"
    if site.agent_principal_id:
        yield "the file server", _host(site.vault_url), "443", "the agent's backups"
        yield "the file server", "login.microsoftonline.com", "443", "the agent's token"
    for server_address in [each.strip() for each in site.dns_servers.split(",") if each.strip()]:
        yield app, server_address, "53, TCP and UDP", "names of the stamp"


def _endpoint(url: str, setting: str) -> SmbEndpoint:
    return SmbEndpoint.parse(url, "anybody", "", setting=setting)


def _port(server: Address) -> str:
    if server.port is None and server.instance:
        return "the instance's fixed port (give it one, and write it in the setting after a comma)"
    return str(server.port or DEFAULT_PORT)


def _host(url: str) -> str:
    return url.removeprefix("https://").strip("/")


def smb_account(site: Site) -> str:
    share = site.settings.share()
    where = _endpoint(share.url, "LIFEBOAT_SHARE_URL")
    user, name = powershell(share.username), powershell(where.share)
    account = powershell(share.username.rpartition("\\")[2].partition("@")[0])
    return f"""# The account that reads {share.url}

On the file server {where.server}, in PowerShell as administrator. *Backup Operators* read what ordinary users may not;
without it files that the account may not read are listed, and recovery points are `partial`.

```powershell
# A domain's account, made where the ActiveDirectory module is; asks for the password, which next-steps.md needs
New-ADUser -Name {account} -SamAccountName {account} -AccountPassword (Read-Host -AsSecureString) -Enabled $true
# or, without a domain, an account of the file server
New-LocalUser -Name {account} -Password (Read-Host -AsSecureString) -PasswordNeverExpires

Add-LocalGroupMember -Group 'Backup Operators' -Member {user}
Grant-SmbShareAccess -Name {name} -AccountName {user} -AccessRight Read -Force
Get-SmbShareAccess -Name {name}                                                  # check
```

A cluster's share is granted on the node that owns it, and every node has its own *Backup Operators*.
"""


def grants(site: Site) -> dict[str, str]:
    settings = site.settings
    if "databases" not in settings.configured():
        return {}
    mode, databases = settings.sql_mode(), settings.database_names()
    back = mode if mode != "adopt" else "url" if settings.has_landing() else "disk"
    login, server = settings.sql_login("SQL") or "lifeboat", settings.sql_server_name()
    found = {
        GRANTS: _script(
            f"What the login that makes the backups needs, on {server}",
            backup_grants(login, databases, mode=mode, landing=settings.has_landing()),
        ),
        GRANTS_RESTORE: _script(
            f"What a login that restores needs, on {server} or where databases are restored to. Write its name for "
            f"{RESTORE_LOGIN}",
            restore_grants(RESTORE_LOGIN, databases, mode=back),
        ),
    }
    drill = settings.sql_server_name("DRILL_SQL")
    if drill:
        found[GRANTS_DRILL] = _script(
            f"What the login of drills needs, on {drill} alone",
            drill_grants(settings.sql_login("DRILL_SQL") or login, mode=back),
        )
    return found


def _script(title: str, lines: list[str]) -> str:
    return f"-- {title}.\n" + "".join(f"{line};\n" for line in lines)
