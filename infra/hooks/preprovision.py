"""Before anything is made: what is in the way, all of it at once, each row with what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from infra.hooks import sign_in, templates
from infra.hooks.asked import address_space, as_parameter, look_at_what_was_asked, network_of, own_settings, shape_of
from infra.hooks.azure_cli import AzureCli, AzureCliError, CliMissing, Denied, LoginMissing, NotThere
from infra.hooks.environment import Environment
from infra.hooks.findings import FAIL, WARN, Finding, HookFailed, failed, passed, say, show, warned
from infra.hooks.names import Names, token_of
from infra.hooks.templates import Shape

PROVIDERS = (
    "Microsoft.App",
    "Microsoft.Insights",
    "Microsoft.KeyVault",
    "Microsoft.ManagedIdentity",
    "Microsoft.Network",
    "Microsoft.OperationalInsights",
    "Microsoft.Storage",
    "Microsoft.Web",
)
"""Whose resources are deployed; Microsoft.App has the subnets of Flex Consumption."""
OF_SUBSCRIPTION = ("Microsoft.Resources/deployments/write", "Microsoft.Resources/subscriptions/resourceGroups/write")
OF_GROUP = (
    "Microsoft.Authorization/roleAssignments/write",
    "Microsoft.Authorization/roleDefinitions/write",
    "Microsoft.Storage/storageAccounts/write",
    "Microsoft.Web/sites/write",
)
LOCKS = "Microsoft.Authorization/locks/write"
FREE = "Take other names: azd env set LIFEBOAT_TOKEN with 5 to 13 lower-case letters and digits."

Json = Any  # what the Azure CLI prints


def run(environment: Environment) -> int:
    found = look_at_what_was_asked(environment)
    token = token_of(environment)
    checks = Checks(environment, AzureCli(environment.get("AZURE_SUBSCRIPTION_ID")), token)
    _, shape = shape_of(environment)
    found += checks.run(shape) if shape is not None else []
    if not any(each.result == FAIL for each in found):
        if shape is not None:
            found += sign_in.register(environment, checks.cli, shape)
        environment.set("LIFEBOAT_TOKEN", token)
        environment.set("LIFEBOAT_SETTINGS", as_parameter(own_settings(environment)))
        if checks.recover_key_vault is not None:
            environment.set("LIFEBOAT_RECOVER_KEY_VAULT", str(checks.recover_key_vault).lower())
    say("Lifeboat, before anything is made:\n" + show(found))
    count = sum(each.result == FAIL for each in found)
    if count:
        raise HookFailed(
            f"{count} of these would make the deployment fail, or not do what was meant; nothing was made",
            "Do what stands below each, then run azd again. What Azure is asked can be overruled, at your own risk: "
            "azd env set LIFEBOAT_CHECKS warn",
        )
    return 0


class Checks:
    """What Azure is asked. ``recover_key_vault``: whether one of that name was deleted and is to be taken back; None:
    not looked at."""

    def __init__(self, environment: Environment, cli: AzureCli, token: str) -> None:
        self.environment = environment
        self.cli = cli
        self.names = Names.of(environment.get("AZURE_ENV_NAME"), token) if token else None
        self.location = environment.get("AZURE_LOCATION")
        self.recover_key_vault: bool | None = None
        self._group_exists = False
        self._tenant = environment.get("AZURE_TENANT_ID")

    def run(self, shape: Shape) -> list[Finding]:
        """With LIFEBOAT_CHECKS=warn nothing of it fails."""
        found = list(self._all(shape))
        if self.environment.get("LIFEBOAT_CHECKS") == "warn":
            return [replace(each, result=WARN) if each.result == FAIL else each for each in found]
        return found

    def _all(self, shape: Shape) -> Iterator[Finding]:
        try:
            yield from self._login()
        except CliMissing as error:
            yield failed(
                f"nothing could be looked at in Azure: {error}", "Install it: https://aka.ms/azure-cli, then az login"
            )
            return
        except AzureCliError as error:
            yield failed(f"nothing could be looked at in Azure: {error}", self._log_in())
            return
        for look in (
            self._group,
            self._permissions,
            self._providers,
            self._region,
            self._names,
            self._restorers,
            self._hub,
        ):
            try:
                yield from look(shape)
            except LoginMissing as error:
                yield failed(f"the login of the Azure CLI is no longer good: {error}", self._log_in())
                return
            except AzureCliError as error:
                yield warned(f"could not look {_WHAT[look.__name__]}: {error}")

    def _log_in(self) -> str:
        choose = f"az account set --subscription {self.cli.subscription or 'ID'}"
        if self._tenant:
            return f"az login --tenant {self._tenant}\n{choose}"
        return f"az login\n{choose}\nWhere it belongs to another tenant than your own: az login --tenant TENANT"

    def _login(self) -> Iterator[Finding]:
        """Its tenant counts for app registrations, which belong to no subscription."""
        account = self.cli.run("account", "show")
        own = AzureCli().run("account", "show")
        self._tenant = str(account.get("tenantId") or self._tenant)
        if account.get("tenantId") != own.get("tenantId"):
            yield failed(
                f"the Azure CLI is set to another tenant than that of the subscription {account.get('name')}",
                self._log_in(),
            )
            return
        who = (account.get("user") or {}).get("name", "somebody")
        yield passed(f"{who} is logged in, subscription {account.get('name')}")

    def _group(self, _: Shape) -> Iterator[Finding]:
        if self.names is None:
            return
        try:
            group = self.cli.run("group", "show", "--name", self.names.group)
        except NotThere:
            return
        self._group_exists = True
        if _plain(group.get("location", "")) != _plain(self.location):
            yield failed(
                f"the resource group {self.names.group} is there already, in {group.get('location')}",
                f"azd env set AZURE_LOCATION {group.get('location')}, or make another environment: azd env new NAME",
            )

    def _permissions(self, shape: Shape) -> Iterator[Finding]:
        subscription = f"/subscriptions/{self.cli.subscription}"
        here = subscription
        if self._group_exists and self.names is not None:
            here += f"/resourceGroups/{self.names.group}"
        wanted = [*OF_GROUP, *([LOCKS] if shape["immutability"] == "locked" else [])]
        missing = [each for each in OF_SUBSCRIPTION if not _allows(self._rights(subscription), each)]
        rights = self._rights(here)
        missing += [each for each in wanted if not _allows(rights, each)]
        if missing:
            yield failed(
                f"who is logged in lacks {', '.join(missing)}",
                "An owner of the subscription gives Owner, or Contributor with User Access Administrator (Role Based "
                "Access Control Administrator is not enough: it makes no roles). Where roles are activated for a time, "
                "activate it.\naz role assignment create --role Owner --assignee WHO --scope " + subscription,
            )
        else:
            yield passed("may deploy, make roles and assign them")

    def _rights(self, scope: str) -> list[Json]:
        url = f"{scope}/providers/Microsoft.Authorization/permissions?api-version=2022-04-01"
        return list(self.cli.run("rest", "--method", "get", "--url", url).get("value", []))

    def _providers(self, _: Shape) -> Iterator[Finding]:
        listed = self.cli.run("provider", "list", "--query", "[].{namespace:namespace,state:registrationState}")
        registered = {each["namespace"].lower() for each in listed if each.get("state") == "Registered"}
        missing = [name for name in PROVIDERS if name.lower() not in registered]
        for name in missing:
            say(f"Registering the resource provider {name}, which takes a minute or two ...")
            try:
                self.cli.run("provider", "register", "--namespace", name, "--wait")
            except LoginMissing:
                raise
            except AzureCliError as error:
                yield failed(
                    f"the resource provider {name} is not registered, and could not be: {error}",
                    f"Who may register it runs: az provider register --namespace {name} --wait",
                )
            else:
                yield passed(f"registered the resource provider {name}")
        if not missing:
            yield passed("all resource providers are registered")

    def _region(self, shape: Shape) -> Iterator[Finding]:
        if not self.location:  # which is told already
            return
        here = _plain(self.location)
        offered = {
            _plain(each.get("name", "")) for each in self.cli.run("functionapp", "list-flexconsumption-locations")
        }
        if here not in offered:
            yield failed(
                f"the region {self.location} does not offer Flex Consumption, on which the apps run",
                f"azd env set AZURE_LOCATION, to one of: {', '.join(sorted(offered))}",
            )
            return
        version = templates.python_version()
        runtimes = self.cli.run(
            "functionapp", "list-flexconsumption-runtimes", "--location", self.location, "--runtime", "python"
        )
        if version not in {str(each.get("version", "")) for each in runtimes}:
            yield failed(
                f"the region {self.location} does not offer Python {version} on Flex Consumption yet",
                "azd env set AZURE_LOCATION, to another region.",
            )
            return
        yield from self._redundancy(shape, here)
        yield passed(f"the region {self.location} offers Flex Consumption with Python {version}")

    def _redundancy(self, shape: Shape, here: str) -> Iterator[Finding]:
        wanted = self.environment.get("LIFEBOAT_VAULT_SKU", shape["vaultSku"])
        skus = [
            each
            for each in self.cli.run("storage", "sku", "list")
            if each.get("kind") == "StorageV2" and here in map(_plain, each.get("locations", []))
        ]
        offered = {each.get("name") for each in skus if not each.get("restrictions")}
        if skus and wanted not in offered:
            others = sorted(each for each in offered if str(each).startswith("Standard_"))
            yield failed(
                f"the region {self.location} has no storage of kind {wanted} for the vault",
                f"azd env set LIFEBOAT_VAULT_SKU, to one of: {', '.join(map(str, others))}",
            )
        zones = [shape["landingSku"]] if shape.has("landing") else []
        zones += ["Standard_ZRS"] if shape.has("gateway") else []  # it is spread over zones as well
        if skus and not offered.issuperset(zones):
            yield failed(
                f"the region {self.location} has no zones, over which this shape spreads landing and gateway",
                "Choose another region (azd env set AZURE_LOCATION), or another shape (azd env set LIFEBOAT_SHAPE).",
            )

    def _names(self, _: Shape) -> Iterator[Finding]:
        if self.names is None:
            return
        ours: set[str] = set()
        if self._group_exists:
            listed = self.cli.run("resource", "list", "--resource-group", self.names.group)
            ours = {str(each.get("name", "")).lower() for each in listed}
        taken = [*self._taken_storage(ours), *self._taken_apps(ours), *self._taken_key_vault(ours)]
        yield from taken
        if not any(each.result == FAIL for each in taken):
            yield passed("names are free" if not ours else "names are free, or ours")

    def _taken_storage(self, ours: set[str]) -> Iterator[Finding]:
        for name in self.names.storage if self.names else ():
            if name not in ours:
                answer = self.cli.run("storage", "account", "check-name", "--name", name)
                yield from _taken(answer, f"the name of the storage account {name}")

    def _taken_apps(self, ours: set[str]) -> Iterator[Finding]:
        for name in self.names.apps if self.names else ():
            if name not in ours:
                yield from _taken(
                    self._available("Microsoft.Web", "sites", name), f"the name of the function app {name}"
                )

    def _taken_key_vault(self, ours: set[str]) -> Iterator[Finding]:
        """A deleted one cannot be purged, and is taken back where that can be: what is in it opens the backups."""
        if self.names is None:
            return
        name = self.names.key_vault
        self.recover_key_vault = False
        if name in ours:
            return
        deleted = self.cli.run("keyvault", "list-deleted", "--resource-type", "vault")
        of_this_name = [each for each in deleted if str(each.get("name", "")).lower() == name]
        if not of_this_name:
            yield from _taken(
                self._available("Microsoft.KeyVault", "vaults", name), f"the name of the Key Vault {name}"
            )
            return
        told = of_this_name[0].get("properties") or {}
        was = str(told.get("vaultId", ""))
        same_group = f"/resourcegroups/{self.names.group.lower()}/" in was.lower()
        if same_group and _plain(told.get("location", "")) == _plain(self.location):
            self.recover_key_vault = True
            yield warned(
                f"the Key Vault {name} was deleted and is taken back, with the secrets that are in it "
                "(LIFEBOAT_RECOVER_KEY_VAULT)",
                "That is meant, where this environment was taken down before. To begin with a new one instead: "
                "azd env set LIFEBOAT_TOKEN, to other 5 to 13 letters and digits.",
            )
        else:
            yield failed(
                f"the name of the Key Vault {name} belongs to one that was deleted, in {told.get('location')} ({was}), "
                f"and cannot be purged before {told.get('scheduledPurgeDate')}",
                f"Take it back where it was: az keyvault recover --name {name}. Or: {FREE[0].lower()}{FREE[1:]}",
            )

    def _available(self, provider: str, kind: str, name: str) -> Json:
        version = {"Microsoft.Web": "2024-11-01", "Microsoft.KeyVault": "2023-07-01"}[provider]
        url = f"/subscriptions/{self.cli.subscription}/providers/{provider}/checkNameAvailability?api-version={version}"
        body = {"name": name, "type": f"{provider}/{kind}"}
        return self.cli.with_body("--body", body, "rest", "--method", "post", "--url", url)

    def _restorers(self, _: Shape) -> Iterator[Finding]:
        group = self.environment.get("LIFEBOAT_RESTORERS_GROUP_ID")
        if not group:
            yield warned(
                "nobody will have the rights to restore: LIFEBOAT_RESTORERS_GROUP_ID is not set",
                "azd env set LIFEBOAT_RESTORERS_GROUP_ID, to the object id of an Entra group. It can be done later.",
            )
            return
        try:
            self.cli.run("ad", "group", "show", "--group", group)
        except NotThere:
            yield failed(
                f"there is no Entra group with the object id {group} (LIFEBOAT_RESTORERS_GROUP_ID)",
                "az ad group show --group NAME --query id -o tsv tells it.",
            )
        except Denied:
            return  # the directory tells guests nothing

    def _hub(self, _: Shape) -> Iterator[Finding]:
        hub = self.environment.get("LIFEBOAT_HUB_NETWORK_ID")
        if not hub:
            return
        network = self.cli.run("network", "vnet", "show", "--ids", hub)
        space = network_of(address_space(self.environment))
        for text in (network.get("addressSpace") or {}).get("addressPrefixes", []):
            other = network_of(text)
            if space is not None and other is not None and space.overlaps(other):
                yield failed(
                    f"our network {space} overlaps with {text} of the hub: they cannot be peered",
                    "azd env set LIFEBOAT_ADDRESS_SPACE, to a /24 or larger that nobody else uses.",
                )
        ours = self.environment.get("LIFEBOAT_VIRTUAL_NETWORK_ID").lower()
        peered = {
            str((each.get("remoteVirtualNetwork") or {}).get("id", "")).lower()
            for each in network.get("virtualNetworkPeerings", [])
        }
        if self.environment.flag("LIFEBOAT_USE_HUB_GATEWAY", False) and (not ours or ours not in peered):
            yield failed(
                "the hub's gateway cannot be used before the hub is peered with our network",
                "azd env set LIFEBOAT_USE_HUB_GATEWAY false and azd provision; then the hub's half of the peering, "
                "a command in next-steps.md; then true again, and azd provision.",
            )


_WHAT: Mapping[str, str] = {
    "_group": "for the resource group",
    "_permissions": "at your permissions",
    "_providers": "at the resource providers",
    "_region": "at what the region offers",
    "_names": "whether names are free",
    "_restorers": "for the group of those who restore",
    "_hub": "at the hub's network",
}


def _taken(answer: Json, what: str) -> Iterator[Finding]:
    if not answer.get("nameAvailable", True):
        yield failed(f"{what} is taken: {' '.join(str(answer.get('message', '')).split())}", FREE)


def _plain(location: str) -> str:
    """``West Europe`` is ``westeurope``."""
    return location.lower().replace(" ", "")


def _allows(rights: Iterable[Mapping[str, Any]], action: str) -> bool:
    """Each entry is a role that is assigned: what one forbids another may give."""
    return any(
        _matches(each.get("actions", []), action) and not _matches(each.get("notActions", []), action)
        for each in rights
    )


def _matches(patterns: Iterable[str], action: str) -> bool:
    return any(re.fullmatch(re.escape(each).replace(r"\*", ".*"), action, re.IGNORECASE) for each in patterns)
