"""The app registration by which people sign in to the dashboard. Bicep can make none.

It has no secret: the backup app's identity answers for it (a federated credential). Only those whom somebody assigns
may sign in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra.hooks.azure_cli import AzureCli, AzureCliError, NotThere
from infra.hooks.environment import Environment
from infra.hooks.findings import Finding, failed, passed, warned
from infra.hooks.templates import Shape

VARIABLE = "LIFEBOAT_AUTH_CLIENT_ID"
GRAPH = "00000003-0000-0000-c000-000000000000"
SCOPES = {
    "openid": "37f7f235-527c-4136-accd-4a02d197296e",
    "profile": "14dad69e-099b-42c9-810b-d002981feec1",
    "email": "64a6cdd6-aab1-4aaf-94b8-3cc8405e90d0",
}
"""Delegated permissions of Microsoft Graph: who somebody is, and no more."""
AUDIENCES: Mapping[str, str] = {
    "AzureCloud": "api://AzureADTokenExchange",
    "AzureUSGovernment": "api://AzureADTokenExchangeUSGov",
    "AzureChinaCloud": "api://AzureADTokenExchangeChina",
}
NAME = "lifeboat-backup-app"
"""Of the federated credential."""


def register(environment: Environment, cli: AzureCli, shape: Shape) -> list[Finding]:
    """Before the deployment, which takes its client id; the one that was made or named before is kept."""
    if not shape.has("dashboard") or not environment.flag("LIFEBOAT_DASHBOARD", True):
        if environment.get(VARIABLE):
            environment.set(VARIABLE, "")
        return [passed("the dashboard answers nobody: status is told by the API and the command line")]
    client = environment.get(VARIABLE)
    try:
        if client:
            cli.run("ad", "app", "show", "--id", client)
            found = [passed(f"people sign in to the dashboard by the app registration {client}")]
        else:
            client = _create(cli, f"Lifeboat dashboard ({environment.name})")
            environment.set(VARIABLE, client)
            found = [passed(f"made the app registration {client}, by which people sign in to the dashboard")]
    except NotThere as error:
        return [
            failed(
                f"the app registration {client} is not in this tenant: {error}",
                f"Have a new one made: azd env set {VARIABLE} ''",
            )
        ]
    except AzureCliError as error:
        if not client:
            return [
                warned(
                    f"no app registration could be made, so the dashboard will answer nobody: {error}",
                    f"Who may make one (Application Developer) does, and you: azd env set {VARIABLE}, to its client "
                    "id.\nWithout a dashboard: azd env set LIFEBOAT_DASHBOARD false",
                )
            ]
        found = [warned(f"could not look at the app registration {client}: {error}")]
    return [*found, *_only_who_is_assigned(cli, client)]


def _create(cli: AzureCli, name: str) -> str:
    access = [{"resourceAppId": GRAPH, "resourceAccess": [{"id": each, "type": "Scope"} for each in SCOPES.values()]}]
    made = cli.with_body(
        "--required-resource-accesses",
        access,
        *("ad", "app", "create", "--display-name", name, "--sign-in-audience", "AzureADMyOrg"),
        *("--enable-id-token-issuance", "true"),
    )
    return str(made["appId"])


def _only_who_is_assigned(cli: AzureCli, client: str) -> list[Finding]:
    """Looked at in each run: an earlier one may have been denied what it takes."""
    create = ("ad", "sp", "create", "--id", client)
    restrict = ("ad", "sp", "update", "--id", client, "--set", "appRoleAssignmentRequired=true")
    left: list[tuple[str, ...]] = []
    try:
        principal = cli.run("ad", "sp", "show", "--id", client) or {}
        if principal.get("appRoleAssignmentRequired") is not True:
            left = [restrict]
    except NotThere:
        left = [create, restrict]
    except AzureCliError as error:
        return [
            warned(
                f"could not look whether only those who are assigned may sign in to the dashboard: {error}",
                f"Who may look and change it runs:\n{_typed(restrict)}",
            )
        ]
    try:
        while left:
            cli.run(*left[0])
            del left[0]
    except AzureCliError as error:
        return [
            warned(
                f"everybody in the tenant may sign in to the dashboard: {error}",
                "Run azd again, or who may (the registration's owner, Cloud Application Administrator) runs:\n"
                + "\n".join(map(_typed, left)),
            )
        ]
    return []


def _typed(command: tuple[str, ...]) -> str:
    return " ".join(("az", *command))


def complete(environment: Environment, cli: AzureCli) -> list[Finding]:
    """After the deployment: where Entra sends people back to, and that the app's identity answers for it."""
    client = environment.get(VARIABLE)
    if not client:
        return []
    host, principal = environment.get("LIFEBOAT_BACKUP_HOST"), environment.get("LIFEBOAT_BACKUP_PRINCIPAL_ID")
    try:
        _send_back_to(cli, client, redirect(host))
        _answered_for_by(cli, client, principal)
    except AzureCliError as error:
        return [warned(f"the app registration {client} is not complete: {error}", "dashboard.md has the commands.")]
    return [passed(f"people sign in at https://{host}/api/dashboard")]


def redirect(host: str) -> str:
    return f"https://{host}/.auth/login/aad/callback"


def _send_back_to(cli: AzureCli, client: str, address: str) -> None:
    there = list((cli.run("ad", "app", "show", "--id", client).get("web") or {}).get("redirectUris", []))
    if address not in there:
        cli.run("ad", "app", "update", "--id", client, "--web-redirect-uris", *there, address)


def _answered_for_by(cli: AzureCli, client: str, principal: str) -> None:
    there = cli.run("ad", "app", "federated-credential", "list", "--id", client) or []
    if any(each.get("subject") == principal for each in there):
        return
    command = (
        ("update", "--federated-credential-id", NAME)
        if any(each.get("name") == NAME for each in there)
        else ("create",)
    )
    cli.with_body(
        "--parameters", credential(cli, principal), "ad", "app", "federated-credential", *command, "--id", client
    )


def credential(cli: AzureCli, principal: str) -> dict[str, Any]:
    cloud = cli.run("cloud", "show")
    login = str((cloud.get("endpoints") or {}).get("activeDirectory", "")).rstrip("/")
    tenant = cli.run("account", "show").get("tenantId")
    return {
        "name": NAME,
        "issuer": f"{login}/{tenant}/v2.0",
        "subject": principal,
        "audiences": [AUDIENCES.get(str(cloud.get("name")), AUDIENCES["AzureCloud"])],
    }
