"""What is left for people, written with the real names: a list in order, and a file for whoever does each part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from infra.hooks import sign_in
from infra.hooks.on_the_stamp import (
    GRANTS,
    GRANTS_DRILL,
    GRANTS_RESTORE,
    RESTORE_LOGIN,
    firewall,
    grants,
    reads_share,
    smb_account,
)
from infra.hooks.site import Site

NEXT_STEPS = "next-steps.md"
FIREWALL, SMB_ACCOUNT, DASHBOARD = "firewall.md", "smb-account.md", "dashboard.md"
FILES = (NEXT_STEPS, FIREWALL, SMB_ACCOUNT, GRANTS, GRANTS_RESTORE, GRANTS_DRILL, DASHBOARD)


@dataclass(frozen=True, slots=True)
class Step:
    title: str
    text: str
    file: str = ""
    """What has more about it."""


def files(site: Site) -> dict[str, str]:
    """By name; what does not apply is not there. ``SettingsError``."""
    own = {FIREWALL: firewall(site), GRANTS: "", GRANTS_RESTORE: "", GRANTS_DRILL: "", SMB_ACCOUNT: "", DASHBOARD: ""}
    if reads_share(site):
        own[SMB_ACCOUNT] = smb_account(site)
    own.update(grants(site))
    if site.client_id:
        own[DASHBOARD] = dashboard(site)
    own[NEXT_STEPS] = next_steps(site)
    return {name: text for name, text in own.items() if text}


def next_steps(site: Site) -> str:
    parts = [
        f"# What is left to do: {site.group}\n\n"
        "Written by `azd provision`, and anew each time. Lines are for bash with the Azure CLI, by whoever owns the "
        "resource group; those for Windows say so.\n"
    ]
    if site.network == "private":
        parts.append(
            "Nothing here answers on a public address. Lines that touch secrets, or call the app, work from inside the "
            "network only: on a machine in it, in the hub, or at the other end of the VPN, which asks the private DNS "
            "zones.\n"
        )
    for number, step in enumerate(steps(site), 1):
        parts.append(f"## {number}. {step.title}\n\n{step.text.strip()}\n")
    return "\n".join(parts)


def steps(site: Site) -> list[Step]:
    """In the order in which they have to be done."""
    return [
        *_alerts(site),
        *_way(site),
        Step("Open the firewall before the stamp", f"`{FIREWALL}` has from where to where, and which ports.", FIREWALL),
        *_accounts(site),
        *_secrets(site),
        *_people(site),
        *_lock(site),
        Step(
            "Look again, and make the first backup",
            f"Preflight, from inside the app:\n\n{_sh('azd hooks run postdeploy')}\n\nWhen nothing fails:\n\n"
            + _sh(
                _key(site),
                f"curl -fsS -X POST -H \"x-functions-key: $KEY\" -H 'Content-Type: application/json' -d '{{}}' "
                f"{site.origin}/api/recovery-points",
                f'curl -fsS -H "x-functions-key: $KEY" {site.origin}/api/status; unset KEY',
            )
            + "\n\nThe first backup makes the repository and its password (secret `repository-password`). Keep a copy "
            "of that in a safe: without it the backups are worth nothing.",
        ),
    ]


def _alerts(site: Site) -> Iterator[Step]:
    if not site.somebody_is_told:
        yield Step(
            "Somebody who is told when a backup fails",
            "Alerts fire, and nobody gets them. Name who does, by e-mail, by a webhook that takes the common alert "
            "schema (`LIFEBOAT_ALERT_WEBHOOK`), or both:\n\n"
            + _sh("azd env set LIFEBOAT_ALERT_EMAILS 'backup@contoso.example,night@contoso.example'", "azd provision"),
        )


# --- the way to the stamp ---


def _way(site: Site) -> Iterator[Step]:
    if site.hub_id:
        parts = site.hub_id.strip("/").split("/")
        yield Step(
            "The hub's half of the peering",
            "Whoever owns the hub runs:\n\n"
            + _sh(
                f"az network vnet peering create --subscription {parts[1]} --resource-group {parts[3]} "
                f"--vnet-name {parts[7]} --name to-lifeboat --remote-vnet {site.network_id} --allow-vnet-access true "
                "--allow-forwarded-traffic true --allow-gateway-transit true",
            )
            + "\n\nTo use the hub's gateway, afterwards:\n\n"
            + _sh("azd env set LIFEBOAT_USE_HUB_GATEWAY true", "azd provision"),
        )
    if site.gateway_address:
        yield from _vpn(site)
    if site.network == "private" and not site.hub_id and not site.gateway_address:
        yield Step(
            "A way into the network",
            "Nothing leads to the stamp yet. Peer the network with one that has a way there:\n\n"
            + _sh("azd env set LIFEBOAT_HUB_NETWORK_ID THE-HUBS-RESOURCE-ID", "azd provision"),
        )


def _vpn(site: Site) -> Iterator[Step]:
    name = site.network_id.rpartition("/")[2]
    if not site.stamp_gateway:
        yield Step(
            "Connect the VPN gateway",
            f"Our end is {site.gateway_address}. Tell it the other:\n\n"
            + _sh(
                "azd env set LIFEBOAT_STAMP_GATEWAY PUBLIC-ADDRESS-OF-THE-VPN-DEVICE",
                "azd env set LIFEBOAT_STAMP_RANGES 10.20.0.0/16",
                "azd provision",
            ),
        )
        return
    yield Step(
        "The key that both ends of the VPN share",
        f"On the device at {site.stamp_gateway} the other end is {site.gateway_address}, with {site.address_space} "
        "behind it, IKEv2. Here, and again where the tunnel is down after a later azd provision, which may have given "
        "the connection another key:\n\n"
        + _sh(
            "IFS= read -rsp 'shared key: ' KEY",
            f"az network vpn-connection shared-key update --resource-group {site.group} "
            f'--connection-name con-{name}-stamp --value "$KEY" --output none; unset KEY',
            f"az network vpn-connection show --resource-group {site.group} --name con-{name}-stamp "
            "--query connectionStatus --output tsv",
        ),
    )


# --- accounts on the stamp ---


def _accounts(site: Site) -> Iterator[Step]:
    if reads_share(site):
        yield Step(
            "The account that reads the share",
            f"`{SMB_ACCOUNT}` has the PowerShell for the file server.",
            SMB_ACCOUNT,
        )
    if "databases" in site.settings.configured():
        login = site.settings.sql_login("SQL") or "lifeboat"
        text = (
            f"An administrator of {site.settings.sql_server_name()} makes the login `{login}` (SQL Server "
            "authentication, with a password that nothing else has), then runs what gives it the least rights:\n\n"
            + _sh(f"sqlcmd -S {_shell(site.settings.sql_server_name() or '')} -E -b -i {GRANTS}")
            + f"\n\n`{GRANTS_RESTORE}` is for a login that restores, `{RESTORE_LOGIN}` or as "
            "`LIFEBOAT_RESTORE_SQL_USERNAME` has it: make it when it is needed."
        )
        if site.settings.sql_server_name("DRILL_SQL"):
            text += f" `{GRANTS_DRILL}` is for the login on the drill server."
        yield Step("The login of SQL Server", text, GRANTS)


# --- secrets ---


def secrets(site: Site) -> Mapping[str, str]:
    """Those that somebody has to type, and whose they are."""
    settings, found = site.settings, {}
    if reads_share(site):
        found["share-password"] = f"of {settings.share().username}"
    if "databases" in settings.configured():
        found["sql-password"] = f"of the login {settings.sql_login('SQL')}"
        disk_user = settings.adopting().username
        if disk_user and disk_user != settings.values.get("LIFEBOAT_SHARE_USERNAME"):
            found["sql-disk-password"] = f"of {disk_user}"
    if settings.sql_server_name("DRILL_SQL"):
        found["drill-sql-password"] = f"of the login {settings.sql_login('DRILL_SQL')} on the drill server"
    return found


def _secrets(site: Site) -> Iterator[Step]:
    officer = "--role 'Key Vault Secrets Officer'"
    typed = secrets(site)
    lines = [
        "ME=$(az ad signed-in-user show --query id --output tsv)",
        f'az role assignment create {officer} --assignee-object-id "$ME" --assignee-principal-type User '
        f"--scope {site.key_vault_id} --output none",
        "# it counts after a minute or two",
        *(_set_secret(site, name, whose) for name, whose in typed.items()),
    ]
    signs_by_key = site.landing and site.settings.values.get("LIFEBOAT_SQL_SAS") == "account-key"
    if signs_by_key:
        lines.append(
            f"az storage account keys list --resource-group {site.group} --account-name {site.landing} "
            f"--query '[0].value' --output tsv | tr -d '\\n' | {_secret_from(site, 'landing-key', '/dev/stdin')}"
        )
    lines.append(f'az role assignment delete {officer} --assignee "$ME" --scope {site.key_vault_id}')
    if signs_by_key or "sql-disk-password" in typed:
        refresh = f"{site.app_id}/config/configreferences/appsettings/refresh?api-version=2022-03-01"
        lines.append(f"az rest --method post --url {refresh} --output none   # the app looks again")
    windows = [
        "$file = New-TemporaryFile",
        *(
            f"[IO.File]::WriteAllText($file, (Read-Host '{name}' -MaskInput)); {_secret_from(site, name, '$file')}"
            for name in typed
        ),
        "Remove-Item $file",
    ]
    if typed or signs_by_key:
        yield Step(
            "Passwords, into the Key Vault",
            "Whoever deploys has no right to secrets, so it is lent for the time (an alert tells of it, rightly). What "
            "is typed is shown nowhere and is in no history:\n\n"
            + _sh(*lines)
            + (
                "\n\nIn PowerShell 7 on Windows, between the same two `role assignment` lines (letters outside ASCII: "
                "in the portal):\n\n" + _fenced("powershell", *windows)
                if typed
                else ""
            ),
        )
    adopts = "databases" in site.settings.configured() and site.settings.sql_mode() == "adopt"
    yield Step(
        "SystemSecrets.JSON",
        "Download it from the stamp: administrator portal, App Service, Secrets. Then:\n\n"
        + _sh(
            _key(site),
            f'curl -fsS -T SystemSecrets.JSON -H "x-functions-key: $KEY" {site.origin}/api/secrets; unset KEY',
        )
        + "\n\nAfter each rotation of secrets again. Then delete the file."
        + (
            "\n\nBackups in a blob container of the DBA's: a SAS with read and list goes into the secret "
            "`sql-adopt-sas` in the same way as the passwords."
            if adopts
            else ""
        ),
    )


def _set_secret(site: Site, name: str, whose: str) -> str:
    prompt = _shell(f"{name}, {whose}: ")
    put = _secret_from(site, name, "/dev/stdin")
    return f'IFS= read -rsp {prompt} SECRET && printf %s "$SECRET" | {put}; unset SECRET; echo'


def _secret_from(site: Site, name: str, file: str) -> str:
    return f"az keyvault secret set --vault-name {site.key_vault} --name {name} --file {file} --output none"


# --- people ---


def _people(site: Site) -> Iterator[Step]:
    if not site.restorers:
        yield Step(
            "Who restores",
            "Nobody has the rights yet. Make an Entra group of those who restore, and:\n\n"
            + _sh("azd env set LIFEBOAT_RESTORERS_GROUP_ID ITS-OBJECT-ID", "azd provision"),
        )
    if site.client_id:
        yield Step("Who may see the dashboard", f"`{DASHBOARD}` has the commands.", DASHBOARD)
    if site.agent_principal_id:
        yield Step(
            "The agent on the file server",
            f"Its rights are given, to `{site.agent_principal_id}`. docs/reaching-the-stamp.md, *A reader nearer to "
            "the share*, has the steps; the script for the file server is printed by:\n\n"
            + _sh("python lifeboat.py agent-script --output lifeboat-agent.ps1"),
        )


def dashboard(site: Site) -> str:
    back = sign_in.redirect(site.host)
    graph = "https://graph.microsoft.com/v1.0/servicePrincipals"
    default_role = "00000000-0000-0000-0000-000000000000"
    fields = (("principalId", "$WHO"), ("resourceId", "$SP"), ("appRoleId", default_role))
    body = "{" + ", ".join(f'\\"{name}\\": \\"{value}\\"' for name, value in fields) + "}"
    return f"""# The dashboard: {site.origin}/api/dashboard

People sign in by the app registration `{site.client_id}`. Only those whom you assign may, and an administrator of the
tenant consents once for all of them, to no more than who they are.

```sh
az ad app permission admin-consent --id {site.client_id}
SP=$(az ad sp show --id {site.client_id} --query id --output tsv)
WHO=$(az ad user show --id somebody@contoso.example --query id --output tsv)      # or az ad group show --group NAME
az rest --method post --url {graph}/$SP/appRoleAssignedTo --body "{body}"
```

Where `azd provision` could not complete the registration, whoever owns it runs:

```sh
az ad sp create --id {site.client_id}
az ad sp update --id {site.client_id} --set appRoleAssignmentRequired=true
az ad app update --id {site.client_id} --web-redirect-uris {back}
```

and `azd hooks run postprovision` once more, which makes the federated credential by which the app's identity answers
for it. `azd down` leaves the registration: `az ad app delete --id {site.client_id}`.
"""


def _lock(site: Site) -> Iterator[Step]:
    if site.immutability != "locked" or site.policy_is_locked:
        return
    named = f"--account-name {site.vault} --container-name databases"
    yield Step(
        "Lock the policy of the vault, for good",
        "Until then an owner can take the default policy of `databases` away. Once it is locked nobody can, and the "
        "container goes only when it is empty. Wait until the first backups are good, then:\n\n"
        + _sh(
            f"ETAG=$(az storage container immutability-policy show {named} --resource-group {site.group} --query etag "
            "--output tsv)",
            f'az storage container immutability-policy lock {named} --resource-group {site.group} --if-match "$ETAG"',
            "azd env set LIFEBOAT_POLICY_IS_LOCKED true    # deployments leave alone what cannot be written again",
        ),
    )


# --- how it is written ---


def _key(site: Site) -> str:
    return (
        f"KEY=$(az functionapp keys list --resource-group {site.group} --name {site.app} "
        "--query functionKeys.default --output tsv)"
    )


def _sh(*lines: str) -> str:
    return _fenced("sh", *lines)


def _fenced(language: str, *lines: str) -> str:
    return "\n".join((f"```{language}", *lines, "```"))


def _shell(text: str) -> str:
    """A word for bash."""
    return "'" + text.replace("'", "'\\''") + "'"
