"""Who can do what, computed from what would be deployed: each operation on each place, by everything that an app, or a
person, can be there.

Code in an app can act as every identity of that app, so rights are counted by app, all its identities together: from
the site to its identities, from these to the role assignments, from those to role definitions, places and conditions.
Nothing but these sites may be one of the identities.
Whatever cannot be followed (a principal, a role, a condition) is an error and never "no right".

``python -m tests.infra.effective_rights`` prints the table that ``docs/guarantees.md`` shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from tests.infra.bicep import Resource, Snapshot, snapshot
from tests.standins.rights_proxy import Rights

SHAPE_WITH_EVERYBODY = "everything"
SITES = "Microsoft.Web/sites"
AUTHORIZATION = "/providers/Microsoft.Authorization/"

# --- operations ---

_CONTAINERS = "Microsoft.Storage/storageAccounts/blobServices/containers"
_BLOBS = f"{_CONTAINERS}/blobs"
_SECRETS = "Microsoft.KeyVault/vaults/secrets"
_QUEUES = "Microsoft.Storage/storageAccounts/queueServices/queues"
_TABLES = "Microsoft.Storage/storageAccounts/tableServices/tables"

BLOB_OPERATIONS: Mapping[str, str] = {
    "read": f"{_BLOBS}/read",
    "add": f"{_BLOBS}/add/action",
    "overwrite": f"{_BLOBS}/write",
    "delete": f"{_BLOBS}/delete",
    "delete versions": f"{_BLOBS}/deleteBlobVersion/action",
    "override soft deletion": f"{_BLOBS}/permanentDelete/action",
    "set dates": f"{_BLOBS}/immutableStorage/runAsSuperUser/action",
    "see settings": f"{_CONTAINERS}/read",
    "make containers": f"{_CONTAINERS}/write",
    "delete containers": f"{_CONTAINERS}/delete",
    "sign": "Microsoft.Storage/storageAccounts/blobServices/generateUserDelegationKey/action",
}
"""What can be done with a container and its blobs, by Microsoft's "Permissions for Blob service operations"."""

SECRET_OPERATIONS: Mapping[str, str] = {
    "get": f"{_SECRETS}/getSecret/action",
    "list": f"{_SECRETS}/readMetadata/action",
    "set": f"{_SECRETS}/setSecret/action",
    "tag": f"{_SECRETS}/update/action",
    "delete": f"{_SECRETS}/delete",
    "purge": f"{_SECRETS}/purge/action",
    "recover": f"{_SECRETS}/recover/action",
    "take away": f"{_SECRETS}/backup/action",
    "put back": f"{_SECRETS}/restore/action",
}
HOST_OPERATIONS: Mapping[str, str] = {
    **{name: BLOB_OPERATIONS[name] for name in ("read", "add", "overwrite", "delete")},
    "queues": f"{_QUEUES}/messages/write",
    "tables": f"{_TABLES}/entities/write",
}
"""What runs an app is in its host storage, its code included: who can write there is the app."""

TELEMETRY_OPERATIONS: Mapping[str, str] = {"send": "Microsoft.Insights/Telemetry/Write"}

WITHOUT_EFFECT = {f"{_BLOBS}/move/action"}
"""Renames, in accounts with directories; none of ours is one."""


def is_of_data(action: str) -> bool:
    """Whether Azure looks for it under ``dataActions`` of a role, and under ``actions`` otherwise."""
    of_data = (f"{_BLOBS}/*", f"{_QUEUES}/messages/*", f"{_TABLES}/entities/*", *TELEMETRY_OPERATIONS.values())
    return _matches((*of_data, *SECRET_OPERATIONS.values()), action)


# --- roles ---


@dataclass(frozen=True)
class Permission:
    """A block of a role, with ``*``. What it excepts is allowed all the same where another block allows it."""

    actions: tuple[str, ...] = ()
    data_actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    not_data_actions: tuple[str, ...] = ()

    def allows(self, action: str) -> bool:
        if is_of_data(action):
            return _matches(self.data_actions, action) and not _matches(self.not_data_actions, action)
        return _matches(self.actions, action) and not _matches(self.not_actions, action)


@dataclass(frozen=True)
class Role:
    name: str
    permissions: tuple[Permission, ...]

    def allows(self, action: str) -> bool:
        return any(each.allows(action) for each in self.permissions)


def _matches(patterns: Iterable[str], action: str) -> bool:
    return any(fnmatchcase(action.lower(), pattern.lower()) for pattern in patterns)


def _built_in(name: str, actions: Sequence[str], data_actions: Sequence[str]) -> Role:
    return Role(name, (Permission(tuple(actions), tuple(data_actions)),))


BUILT_IN: Mapping[str, Role] = {
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": _built_in(
        "Storage Blob Data Contributor",
        [*(f"{_CONTAINERS}/{each}" for each in ("read", "write", "delete")), BLOB_OPERATIONS["sign"]],
        [f"{_BLOBS}/{each}" for each in ("read", "write", "delete", "add/action", "move/action")],
    ),
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": _built_in(
        "Storage Blob Data Owner", [f"{_CONTAINERS}/*", BLOB_OPERATIONS["sign"]], [f"{_BLOBS}/*"]
    ),
    "974c5e8b-45b9-4653-ba55-5f855dd0fb88": _built_in(
        "Storage Queue Data Contributor",
        [f"{_QUEUES}/{each}" for each in ("read", "write", "delete")],
        [f"{_QUEUES}/messages/{each}" for each in ("read", "write", "delete", "process/action")],
    ),
    "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": _built_in(
        "Storage Table Data Contributor",
        [f"{_TABLES}/{each}" for each in ("read", "write", "delete")],
        [f"{_TABLES}/entities/{each}" for each in ("read", "write", "delete", "add/action", "update/action")],
    ),
    "4633458b-17de-408a-b874-0445c86b69e6": _built_in(
        "Key Vault Secrets User", [], [SECRET_OPERATIONS["get"], SECRET_OPERATIONS["list"]]
    ),
    "3913510d-42f4-4e42-8a64-420c390055eb": _built_in(
        "Monitoring Metrics Publisher",
        [
            "Microsoft.Insights/Register/Action",
            "Microsoft.Support/*",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
        ],
        ["Microsoft.Insights/Metrics/Write", "Microsoft.Insights/Telemetry/Write"],
    ),
}
"""Those that rights.bicep assigns, as they stand in Microsoft's "Azure built-in roles" (storage, security, monitor) on
2026-11-26. Another one has to be put here before it can be assigned."""


def roles_of(resources: Snapshot) -> dict[str, Role]:
    """All that can be assigned, by their GUIDs."""
    found = dict(BUILT_IN)
    kinds = ("actions", "dataActions", "notActions", "notDataActions")
    for definition in resources.of("Microsoft.Authorization/roleDefinitions"):
        permissions = tuple(
            Permission(*(tuple(block.get(kind) or ()) for kind in kinds))
            for block in definition.properties["permissions"]
        )
        found[_last(definition.id)] = Role(definition.properties["roleName"], permissions)
    return found


# --- places ---


@dataclass(frozen=True)
class Place:
    """Where something is done: a resource, and in a container a blob's name."""

    id: str
    path: str = ""

    @property
    def container(self) -> str:
        return _last(self.id)

    def is_within(self, scope: str) -> bool:
        return f"{self.id}/".lower().startswith(f"{scope}/".lower())


def container(account: str, name: str, path: str = "anything") -> Place:
    return Place(f"{account}/blobServices/default/containers/{name}", path)


def _last(resource: str) -> str:
    return resource.rpartition("/")[2]


# --- conditions ---


@dataclass(frozen=True)
class Condition:
    """Of a role assignment, version 2.0; of its grammar what is used here. ``ValueError`` for anything else.

    Written from "Azure role assignment condition format and syntax": ``!``, AND, OR, brackets, ActionMatches, and
    StringEquals and StringLike on the names of a container and a blob. ``*`` in StringLike is any text, ``?`` one
    character; both comparisons look at case.
    """

    text: str

    def __post_init__(self) -> None:
        self.holds("", Place(""))

    def holds(self, action: str, place: Place) -> bool:
        return _Reading(self.text, action, place).whole()


_TOKEN = re.compile(
    r"\s*(?:(?P<action>ActionMatches\{'(?P<pattern>[^']*)'\})"
    r"|(?P<attribute>@Resource\[(?P<name>[^\]]*)\]\s+(?P<operator>\w+)\s+'(?P<value>[^']*)')"
    r"|(?P<word>\(|\)|!|AND\b|&&|OR\b|\|\|))"
)


class _Reading:
    """Reads and evaluates at once, both sides of each AND and OR, so that what is not understood is always found."""

    def __init__(self, text: str, action: str, place: Place) -> None:
        self._text, self._action, self._place = text, action, place
        self._at = 0

    def whole(self) -> bool:
        value = self._either()
        if self._text[self._at :].strip():
            raise self._unknown()
        return value

    def _either(self) -> bool:
        value = self._both()
        while self._take("OR", "||"):
            other = self._both()
            value = value or other
        return value

    def _both(self) -> bool:
        value = self._single()
        while self._take("AND", "&&"):
            other = self._single()
            value = value and other
        return value

    def _single(self) -> bool:
        if self._take("!"):
            return not self._single()
        if self._take("("):
            value = self._either()
            if not self._take(")"):
                raise self._unknown()
            return value
        token = _TOKEN.match(self._text, self._at)
        if token is None or token["word"]:
            raise self._unknown()
        self._at = token.end()
        if token["action"]:
            return _matches([token["pattern"]], self._action)
        actual = {f"{_CONTAINERS}:name": self._place.container, f"{_BLOBS}:path": self._place.path}
        if token["name"] not in actual:
            raise ValueError(f"the attribute {token['name']} is not known here: {self._text}")
        return _compare(token["operator"], actual[token["name"]], token["value"])

    def _take(self, *words: str) -> bool:
        token = _TOKEN.match(self._text, self._at)
        if token is None or token["word"] not in words:
            return False
        self._at = token.end()
        return True

    def _unknown(self) -> ValueError:
        return ValueError(f"this part of a condition is not understood: {self._text[self._at :]!r}")


def _compare(operator: str, actual: str, value: str) -> bool:
    if operator == "StringEquals":
        return actual == value
    if operator == "StringLike":
        pattern = "".join({"*": ".*", "?": "."}.get(each, re.escape(each)) for each in value)
        return re.fullmatch(pattern, actual, re.DOTALL) is not None
    raise ValueError(f"the operator {operator} is not known here")


# --- assignments ---


@dataclass(frozen=True)
class Assignment:
    principal: str
    """Resource id of an identity of this deployment, or the object id of somebody from outside."""
    kind: str
    scope: str
    role: Role
    condition: Condition | None = None

    def allows(self, action: str, place: Place) -> bool:
        return (
            place.is_within(self.scope)
            and self.role.allows(action)
            and (self.condition is None or self.condition.holds(action, place))
        )


_IDENTITY = re.compile(
    r"\[reference\('(?P<id>/subscriptions/[^']+/userAssignedIdentities/[^'/]+)', '[^']+'\)\.principalId\]",
    re.IGNORECASE,
)
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def assignments_of(resources: Snapshot) -> list[Assignment]:
    roles = roles_of(resources)
    return [_assignment(each, roles) for each in resources.of("Microsoft.Authorization/roleAssignments")]


def _assignment(resource: Resource, roles: Mapping[str, Role]) -> Assignment:
    properties = resource.properties
    if properties.get("delegatedManagedIdentityResourceId") or "condition" in resource.raw:
        raise ValueError(f"it cannot be told whether this is assigned: {resource.id}")
    scope = resource.raw.get("scope") or resource.id.partition(AUTHORIZATION)[0]
    if "[" in scope:
        raise ValueError(f"it cannot be told where this is assigned: {resource.id}")
    role = roles.get(_last(properties["roleDefinitionId"]))
    if role is None:
        raise ValueError(f"the role {properties['roleDefinitionId']} is not in the table of built-in roles")
    text = properties.get("condition")
    if text and properties.get("conditionVersion") != "2.0":
        raise ValueError(f"a condition without version 2.0: {resource.id}")
    principal, kind = _principal(properties["principalId"]), properties["principalType"]
    return Assignment(principal, kind, scope, role, Condition(text) if text else None)


def _principal(text: str) -> str:
    if found := _IDENTITY.fullmatch(text):
        return found["id"]
    if _GUID.fullmatch(text):
        return text
    raise ValueError(f"it cannot be told who this is: {text}")


# --- who there is, and what they reach ---

BACKUP, KEEPER, AGENT, RESTORERS, BREAK_GLASS = "backup app", "keeper app", "agent", "restorers", "break-glass"


_NEARLY_LOCKS = ("locks", "Locks/ab", "locksmith/ab", "data/locks/ab", "/locks/ab")
_BLOB_NAMES: Mapping[str, tuple[str, ...]] = {
    "share": ("locks/ab", "config", "data/ab/abcd", "index/ab", "keys/ab", "snapshots/ab", *_NEARLY_LOCKS),
    "databases": ("20261126T000000Z-abcdef/master/full-1.bak", "locks/ab"),
    "recovery-points": ("points/a.json", "init", "prunes/a.json", "runs/a", "preflight/a", "locks/ab"),
}
"""One name of each kind that there is in the vault, and some that look like a lock and are none."""


@dataclass(frozen=True)
class Deployment:
    """A shape as those see it who act in it."""

    assignments: Sequence[Assignment]
    roles: Mapping[str, Role]
    principals: Mapping[str, frozenset[str]]
    """By who: all that they can act as."""
    vault: str
    """Resource id, as the following."""
    landing: str | None
    key_vault: str
    hosts: Mapping[str, str]
    """By app: the account of its code, locks, queues and tables."""
    app_insights: str
    vault_containers: frozenset[str]

    def may(self, who: str, action: str, place: Place) -> bool:
        return any(
            assignment.principal in self.principals[who] and assignment.allows(action, place)
            for assignment in self.assignments
        )

    def operations(self, who: str, place: Place, named: Mapping[str, str]) -> tuple[str, ...]:
        """Those of ``named`` that they can do there. Who may overwrite may add."""
        return tuple(
            name
            for name, action in named.items()
            if self.may(who, action, place) or (name == "add" and self.may(who, BLOB_OPERATIONS["overwrite"], place))
        )


_BREAK_GLASS_ROLE = "Lifeboat break-glass "


def deployment_of(resources: Snapshot) -> Deployment:
    """``ValueError`` where something cannot be followed."""
    roles = roles_of(resources)
    assignments = assignments_of(resources)
    sites = {service: site_of(resources, service) for service in ("backup", "keeper")}
    _refuse_others(resources, sites.values())
    settings = {name: _settings_of(resources, site) for name, site in sites.items()}
    backup = settings["backup"]
    vault = _referred(backup["LIFEBOAT_VAULT_URL"])
    principals = {BACKUP: _identities_of(sites["backup"]), KEEPER: _identities_of(sites["keeper"])}
    for who, kind in ((AGENT, "ServicePrincipal"), (RESTORERS, "Group")):
        outside = {each.principal for each in assignments if _GUID.fullmatch(each.principal) and each.kind == kind}
        if outside:
            principals[who] = frozenset(outside)
    known = frozenset().union(*principals.values())
    if unknown := {each.principal for each in assignments} - known:
        raise ValueError(f"rights for somebody who is not made here: {sorted(unknown)}")
    principals[BREAK_GLASS] = frozenset({BREAK_GLASS})
    (glass,) = [role for role in roles.values() if role.name.startswith(_BREAK_GLASS_ROLE)]
    in_vault = [
        each for each in resources.of("Microsoft.Storage/storageAccounts/blobServices/containers") if vault in each.id
    ]
    return Deployment(
        assignments=[*assignments, Assignment(BREAK_GLASS, "User", vault, glass)],  # as the runbook's command would
        roles=roles,
        principals=principals,
        vault=vault,
        landing=_referred(backup["LIFEBOAT_LANDING_URL"]) if "LIFEBOAT_LANDING_URL" in backup else None,
        key_vault=_referred(backup["LIFEBOAT_KEY_VAULT_URL"]),
        hosts={BACKUP: _host_of(sites["backup"], backup), KEEPER: _host_of(sites["keeper"], settings["keeper"])},
        app_insights=_referred(backup["APPLICATIONINSIGHTS_CONNECTION_STRING"]),
        vault_containers=frozenset(_last(each.id) for each in in_vault),
    )


def site_of(resources: Snapshot, service: str) -> Resource:
    """The one that azd puts the code of a service on."""
    found = [each for each in resources.of(SITES) if (each.raw.get("tags") or {}).get("azd-service-name") == service]
    if len(found) != 1:
        raise ValueError(f"not one site of {service}: {[each.id for each in found]}")
    return found[0]


def _refuse_others(resources: Snapshot, sites: Iterable[Resource]) -> None:
    """Whatever else runs as somebody (a slot, a script), and whoever from outside can sign in as an identity."""
    known = {each.id for each in sites}
    for each in resources:
        if each.raw.get("identity") and each.id not in known:
            raise ValueError(f"nobody follows what this does with its identity: {each.id}")
        if each.type.lower().endswith("/federatedidentitycredentials"):
            raise ValueError(f"an identity that others can have from outside: {each.id}")


def _identities_of(site: Resource) -> frozenset[str]:
    identity: dict[str, Any] = site.raw["identity"]
    if identity["type"] != "UserAssigned":
        raise ValueError(f"an identity that nobody follows: {identity['type']} of {site.name}")
    return frozenset(identity["userAssignedIdentities"])


def _settings_of(resources: Snapshot, site: Resource) -> dict[str, str]:
    (found,) = [
        each for each in resources.of("Microsoft.Web/sites/config") if each.id == f"{site.id}/config/appsettings"
    ]
    settings: dict[str, str] = found.properties
    return settings


def _host_of(site: Resource, settings: Mapping[str, str]) -> str:
    code = _referred(site.properties["functionAppConfig"]["deployment"]["storage"]["value"])
    if code != _referred(settings["AzureWebJobsStorage__blobServiceUri"]):
        raise ValueError(f"the code of {site.name} is not in its host storage")
    return code


def _referred(expression: str) -> str:
    """Id of the one resource that an expression refers to."""
    (found,) = set(re.findall(r"reference\('([^']+)'", expression))
    return str(found)


# --- as the stand-in for rights has it ---


def in_the_vault(deployment: Deployment, who: str) -> Rights:
    """What the stand-in is to enforce for them. ``ValueError``: it could not, since their containers differ."""
    readable = {
        name
        for name in deployment.vault_containers
        if deployment.may(who, BLOB_OPERATIONS["read"], container(deployment.vault, name))
    }
    rights = _as_stand_in(deployment, who, {name: container(deployment.vault, name) for name in readable})
    everywhere = readable == deployment.vault_containers
    within = () if everywhere else tuple(sorted(readable, key=_ORDER.index))
    return replace(rights, delete_under=_deletable(deployment, who), only_in=within)


def in_landing(deployment: Deployment, who: str) -> Rights:
    assert deployment.landing is not None
    place = container(deployment.landing, "lifeboat-20261126")
    rights = _as_stand_in(deployment, who, {"any": place})
    return replace(rights, delete_under=("",) if deployment.may(who, BLOB_OPERATIONS["delete"], place) else ())


_ORDER = ("share", "databases", "recovery-points")


def _as_stand_in(deployment: Deployment, who: str, places: Mapping[str, Place]) -> Rights:
    def may(name: str) -> bool:
        told = {name in deployment.operations(who, place, BLOB_OPERATIONS) for place in places.values()}
        if len(told) > 1:
            raise ValueError(f"{who} may {name} in some containers alone")
        return told == {True}

    return Rights(
        add=may("add"),
        write=may("overwrite"),
        delete_versions=may("delete versions"),
        immutability=may("set dates"),
        make_containers=may("make containers"),
        delete_containers=may("delete containers"),
        delegate=may("sign"),
    )


def _deletable(deployment: Deployment, who: str) -> tuple[str, ...]:
    names = [f"{each}/{name}" for each in deployment.vault_containers for name in _BLOB_NAMES[each]]
    deletable = [
        name
        for name in names
        if deployment.may(who, BLOB_OPERATIONS["delete"], container(deployment.vault, *name.split("/", 1)))
    ]
    if len(deletable) == len(names):
        return ("",)
    return tuple(sorted({name.rpartition("/")[0] + "/" for name in deletable}))


# --- the table ---

NOTHING = "–"


def places_of(deployment: Deployment) -> Iterator[tuple[str, Place, Mapping[str, str]]]:
    """Each place with its name in the table and what can be done there."""
    vault = deployment.vault
    yield "vault: `share/locks/`", container(vault, "share", "locks/ab"), BLOB_OPERATIONS
    yield "vault: `share`, the rest", container(vault, "share", "data/ab/abcd"), BLOB_OPERATIONS
    yield "vault: `databases`", container(vault, "databases"), BLOB_OPERATIONS
    yield "vault: `recovery-points`", container(vault, "recovery-points"), BLOB_OPERATIONS
    if deployment.landing is not None:
        yield "landing", container(deployment.landing, "lifeboat-20261126"), BLOB_OPERATIONS
    secrets = f"{deployment.key_vault}/secrets"
    yield "Key Vault: `repository-password`", Place(f"{secrets}/repository-password"), SECRET_OPERATIONS
    yield "Key Vault: all other secrets", Place(f"{secrets}/another"), SECRET_OPERATIONS
    for app in (BACKUP, KEEPER):
        yield f"code and host storage of the {app}", container(deployment.hosts[app], "code"), HOST_OPERATIONS
    yield "telemetry", Place(deployment.app_insights), TELEMETRY_OPERATIONS


def table(deployment: Deployment) -> str:
    """In markdown: a row for each place, a column for each who."""
    people = list(deployment.principals)
    lines = [f"| | {' | '.join(people)} |", f"|---|{'---|' * len(people)}"]
    for name, place, named in places_of(deployment):
        cells = [", ".join(deployment.operations(who, place, named)) or NOTHING for who in people]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(deployment_of(snapshot(SHAPE_WITH_EVERYBODY))))
