"""Who can do what, sentence by sentence, in each shape as it would be deployed."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.status.runbook import before
from tests.infra.bicep import SHAPES, Resource, Snapshot, snapshot
from tests.infra.effective_rights import (
    AGENT,
    BACKUP,
    BLOB_OPERATIONS,
    BREAK_GLASS,
    HOST_OPERATIONS,
    KEEPER,
    RESTORERS,
    SECRET_OPERATIONS,
    SHAPE_WITH_EVERYBODY,
    SITES,
    TELEMETRY_OPERATIONS,
    WITHOUT_EFFECT,
    Assignment,
    Condition,
    Deployment,
    Place,
    assignments_of,
    container,
    deployment_of,
    in_landing,
    in_the_vault,
    is_of_data,
    places_of,
    roles_of,
    site_of,
    table,
)
from tests.standins import rights_proxy

GUARANTEES = Path(__file__).parents[2] / "docs" / "guarantees.md"
BEGIN, END = "<!-- effective rights: begin -->\n", "\n<!-- effective rights: end -->"
NO_RIGHTS = rights_proxy.Rights(add=False)

CONTAINERS = "Microsoft.Storage/storageAccounts/blobServices/containers"
BLOB_CONTRIBUTOR, BLOB_OWNER = "ba92f5b4-2d11-453d-a403-e96b0029c9fe", "b7e6dc6d-f1e8-4753-8033-0f276bb0955b"
SECRETS_OFFICER, SECRETS_USER = "b86a8fe4-44ce-4948-aee5-eccb2c155cd7", "4633458b-17de-408a-b874-0445c86b69e6"

# --- the sentences ---


def the_backup_app_reads_and_adds_and_deletes_locks_alone(_: Snapshot, shape: Deployment) -> None:
    assert in_the_vault(shape, BACKUP) == rights_proxy.BACKUP_APP


def the_keeper_reads_adds_protects_and_deletes_and_overwrites_nothing(_: Snapshot, shape: Deployment) -> None:
    assert in_the_vault(shape, KEEPER) == rights_proxy.KEEPER


def restorers_read_the_vault(_: Snapshot, shape: Deployment) -> None:
    if RESTORERS in shape.principals:
        assert in_the_vault(shape, RESTORERS) == rights_proxy.RESTORER == rights_proxy.READER


def the_agent_adds_to_the_share_and_to_recovery_points_alone(_: Snapshot, shape: Deployment) -> None:
    if AGENT in shape.principals:
        assert in_the_vault(shape, AGENT) == rights_proxy.AGENT


def the_backup_app_and_restorers_write_landing_and_nobody_else_sees_it(_: Snapshot, shape: Deployment) -> None:
    if shape.landing is not None:
        anywhere = container(shape.landing, "lifeboat-20261126")
        for who in shape.principals:
            if who in (BACKUP, RESTORERS):
                assert in_landing(shape, who) == rights_proxy.LANDING
            else:
                assert shape.operations(who, anywhere, BLOB_OPERATIONS) == ()


def break_glass_is_there_and_belongs_to_nobody(resources: Snapshot, shape: Deployment) -> None:
    assert in_the_vault(shape, BREAK_GLASS) == rights_proxy.BREAK_GLASS
    assert not [each for each in assignments_of(resources) if "break-glass" in each.role.name]


def who_may_get_and_set_which_secrets(_: Snapshot, shape: Deployment) -> None:
    may = {
        BACKUP: (("get", "list", "set", "tag"),) * 2,
        KEEPER: (("get", "list"), ()),  # of the repository's password, its versions
        RESTORERS: (("get", "list"),) * 2,
    }
    password, other = Place(f"{shape.key_vault}/secrets/repository-password"), Place(f"{shape.key_vault}/secrets/other")
    for who in shape.principals:
        seen = tuple(shape.operations(who, secret, SECRET_OPERATIONS) for secret in (password, other))
        assert seen == may.get(who, ((), ())), who


def no_app_can_write_the_code_of_the_other(_: Snapshot, shape: Deployment) -> None:
    for app, account in shape.hosts.items():
        for who in shape.principals.keys() - {app}:
            assert shape.operations(who, container(account, "code"), HOST_OPERATIONS) == ()
    assert len({*shape.hosts.values(), shape.vault, shape.landing}) == 4


def each_app_is_one_identity_of_its_own(_: Snapshot, shape: Deployment) -> None:
    assert [len(shape.principals[app]) for app in (BACKUP, KEEPER)] == [1, 1]
    assert shape.principals[BACKUP].isdisjoint(shape.principals[KEEPER])


def whoever_deploys_gets_nothing(resources: Snapshot, shape: Deployment) -> None:
    """Everybody who gets something is made here, or is the one group and the one agent that were named."""
    made = {each.id for each in resources.of("Microsoft.ManagedIdentity/userAssignedIdentities")}
    others = {(each.principal, each.kind) for each in assignments_of(resources) if each.principal not in made}
    assert others <= {
        ("11111111-1111-1111-1111-111111111111", "Group"),
        ("44444444-4444-4444-4444-444444444444", "ServicePrincipal"),
    }
    assert shape.principals.keys() <= {BACKUP, KEEPER, AGENT, RESTORERS, BREAK_GLASS}


def everything_is_assigned_at_a_place_of_the_table(resources: Snapshot, shape: Deployment) -> None:
    """Neither above it, at the resource group or the subscription, nor at one that no row shows."""
    places = {
        *(container(shape.vault, name).id for name in ("share", "databases", "recovery-points")),
        *(each for each in (shape.landing, shape.key_vault, shape.app_insights) if each is not None),
        f"{shape.key_vault}/secrets/repository-password",
        *shape.hosts.values(),
    }
    assert {each.scope for each in assignments_of(resources)} == places


def every_right_is_one_that_the_table_shows(resources: Snapshot, shape: Deployment) -> None:
    """So nobody lists keys, changes what guards the vault, or gives rights to others."""
    shown = {*BLOB_OPERATIONS.values(), *SECRET_OPERATIONS.values(), *WITHOUT_EFFECT}
    of_data = {action for action in shown if is_of_data(action)}
    for each in assignments_of(resources):
        actions = {action for block in each.role.permissions for action in block.actions}
        data_actions = {action for block in each.role.permissions for action in block.data_actions}
        if each.scope == shape.app_insights:
            assert each.role.name == "Monitoring Metrics Publisher"
        elif each.scope in shape.hosts.values():
            for action in actions | data_actions:
                assert re.match(r"Microsoft\.Storage/storageAccounts/(blob|queue|table)Services/", action)
        else:
            assert data_actions <= of_data, each.role.name
            assert actions <= shown - of_data, each.role.name


def accounts_have_neither_directories_nor_users_of_their_own(resources: Snapshot, _: Deployment) -> None:
    """Renames would count then, and local users come in by SFTP with no role at all."""
    for each in resources:
        assert not each.type.lower().endswith("/localusers"), each.id
        for opened in ("isHnsEnabled", "isSftpEnabled", "isLocalUserEnabled"):
            assert not each.properties.get(opened), each.id


def nobody_lists_keys_or_changes_what_guards_the_vault(_: Snapshot, shape: Deployment) -> None:
    storage = "Microsoft.Storage/storageAccounts"
    for who in shape.principals:
        for action in (
            *(f"{storage}/{each}" for each in ("listKeys/action", "listAccountSas/action", "write", "delete")),
            *(f"{storage}/{each}/write" for each in ("managementPolicies", "blobServices")),
            *(f"{CONTAINERS}/immutabilityPolicies/{each}" for each in ("write", "delete", "extend/action")),
            BLOB_OPERATIONS["override soft deletion"],
            "Microsoft.Authorization/roleAssignments/write",
            "Microsoft.Authorization/locks/delete",
            "Microsoft.Insights/diagnosticSettings/delete",
        ):
            assert not shape.may(who, action, container(shape.vault, "share", "data/ab/abcd"))


def custom_roles_can_be_assigned_in_this_resource_group_alone(resources: Snapshot, shape: Deployment) -> None:
    group = shape.vault.partition("/providers/")[0]
    token = shape.vault.rpartition("/stlbv")[2]
    definitions = resources.of("Microsoft.Authorization/roleDefinitions")
    for each in definitions:
        assert each.properties["assignableScopes"] == [group]
        assert each.properties["roleName"].endswith(f" {token}")  # unique in the tenant
    assert len({each.properties["roleName"] for each in definitions}) == len(definitions) == 6


def telemetry_takes_what_the_apps_send(_: Snapshot, shape: Deployment) -> None:
    for who in shape.principals:
        allowed = shape.operations(who, Place(shape.app_insights), TELEMETRY_OPERATIONS)
        assert allowed == (("send",) if who in (BACKUP, KEEPER) else ())


SENTENCES: tuple[Callable[[Snapshot, Deployment], None], ...] = (
    the_backup_app_reads_and_adds_and_deletes_locks_alone,
    the_keeper_reads_adds_protects_and_deletes_and_overwrites_nothing,
    restorers_read_the_vault,
    the_agent_adds_to_the_share_and_to_recovery_points_alone,
    the_backup_app_and_restorers_write_landing_and_nobody_else_sees_it,
    break_glass_is_there_and_belongs_to_nobody,
    who_may_get_and_set_which_secrets,
    no_app_can_write_the_code_of_the_other,
    each_app_is_one_identity_of_its_own,
    whoever_deploys_gets_nothing,
    everything_is_assigned_at_a_place_of_the_table,
    every_right_is_one_that_the_table_shows,
    accounts_have_neither_directories_nor_users_of_their_own,
    nobody_lists_keys_or_changes_what_guards_the_vault,
    custom_roles_can_be_assigned_in_this_resource_group_alone,
    telemetry_takes_what_the_apps_send,
)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sentence", SENTENCES, ids=lambda sentence: sentence.__name__)
def test_what_is_said_of_rights_holds_in_each_shape(
    sentence: Callable[[Snapshot, Deployment], None], shape: str
) -> None:
    resources = snapshot(shape)
    sentence(resources, deployment_of(resources))


def test_everybody_is_in_the_shape_that_the_table_is_made_of() -> None:
    everybody = deployment_of(snapshot(SHAPE_WITH_EVERYBODY))
    assert list(everybody.principals) == [BACKUP, KEEPER, AGENT, RESTORERS, BREAK_GLASS]
    assert everybody.landing is not None
    assert everybody.vault_containers == {"share", "databases", "recovery-points"}


def test_the_guarantees_show_the_table_that_is_computed() -> None:
    shown = GUARANTEES.read_text().split(BEGIN)[1].split(END)[0]
    assert shown == table(deployment_of(snapshot(SHAPE_WITH_EVERYBODY))), "python -m tests.infra.effective_rights"


def test_the_runbook_finds_the_break_glass_role_by_its_name() -> None:
    names = [role.name for role in roles_of(snapshot("plain")).values()]
    (searched,) = re.findall(r"starts_with\(roleName, '([^']+)'\)", Path(before.__file__).read_text())
    assert len([name for name in names if name.startswith(searched)]) == 1


# --- planted faults ---

Fault = Callable[[Snapshot, Deployment], None]


def assigned(resources: Snapshot) -> list[Resource]:
    return resources.of("Microsoft.Authorization/roleAssignments")


def grant(resources: Snapshot, role: str, scope: str, *, like: str = BACKUP, **changes: Any) -> None:
    """One more assignment: that of ``like``'s first, changed."""
    shape = deployment_of(resources)
    (who,) = shape.principals[like]
    found = next(
        each
        for each in resources.of("Microsoft.Authorization/roleAssignments")
        if who in each.properties["principalId"]
    )
    made = copy.deepcopy(found)
    made.raw["scope"] = scope
    made.properties["roleDefinitionId"] = f"/providers/Microsoft.Authorization/roleDefinitions/{role}"
    made.properties.update(changes)
    resources.raw["predictedResources"].append(made.raw)


def custom_role(resources: Snapshot, name: str) -> Resource:
    (found,) = [
        each
        for each in resources.of("Microsoft.Authorization/roleDefinitions")
        if each.properties["roleName"].startswith(f"Lifeboat {name} ")
    ]
    return found


def conditions(resources: Snapshot) -> list[Resource]:
    return [
        each for each in resources.of("Microsoft.Authorization/roleAssignments") if each.properties.get("condition")
    ]


def allow(role: str, action: str) -> Fault:
    def plant(resources: Snapshot, _: Deployment) -> None:
        (block,) = custom_role(resources, role).properties["permissions"]
        block["dataActions" if is_of_data(action) else "actions"].append(action)

    return plant


def misplaced(role: str, action: str) -> Fault:
    """Where Azure does not look for it."""

    def plant(resources: Snapshot, _: Deployment) -> None:
        (block,) = custom_role(resources, role).properties["permissions"]
        there, elsewhere = block["actions"], block["dataActions"]
        if is_of_data(action):
            there, elsewhere = elsewhere, there
        there.remove(action)
        elsewhere.append(action)

    return plant


def excepted_in_another_block(role: str, action: str) -> Fault:
    def plant(resources: Snapshot, shape: Deployment) -> None:
        allow(role, action)(resources, shape)
        blocks = custom_role(resources, role).properties["permissions"]
        blocks.append({"actions": [], "dataActions": [], "notActions": [action], "notDataActions": [action]})

    return plant


def add_role(role: str, place: Callable[[Deployment], str], *, like: str = BACKUP, **changes: Any) -> Fault:
    return lambda resources, shape: grant(resources, role, place(shape), like=like, **changes)


def another_identity(resources: Snapshot, shape: Deployment) -> None:
    (keeper,) = shape.principals[KEEPER]
    site_of(resources, "backup").raw["identity"]["userAssignedIdentities"][keeper] = {}


def no_condition(resources: Snapshot, _: Deployment) -> None:
    for each in conditions(resources):
        each.properties["condition"] = None


def wider_condition(resources: Snapshot, _: Deployment) -> None:
    for each in conditions(resources):
        each.properties["condition"] = each.properties["condition"].replace("'locks/*'", "'lock*'")


def condition_on_another_action(resources: Snapshot, _: Deployment) -> None:
    for each in conditions(resources):
        each.properties["condition"] = each.properties["condition"].replace("blobs/delete'", "blobs/write'")


def assigned_break_glass(resources: Snapshot, shape: Deployment) -> None:
    grant(resources, custom_role(resources, "break-glass").id.rpartition("/")[2], shape.vault, like=KEEPER)


def wider_roles(resources: Snapshot, _: Deployment) -> None:
    custom_role(resources, "vault adder").properties["assignableScopes"].append("/subscriptions/x")


def set_on_the_vault(name: str) -> Fault:
    def plant(resources: Snapshot, shape: Deployment) -> None:
        (vault,) = [each for each in resources if each.id == shape.vault]
        vault.properties[name] = True

    return plant


def local_user(resources: Snapshot, shape: Deployment) -> None:
    kind, name = "Microsoft.Storage/storageAccounts/localUsers", "somebody"
    made = {"id": f"{shape.vault}/localUsers/{name}", "type": kind, "name": name, "properties": {"hasSshKey": True}}
    resources.raw["predictedResources"].append(made)


PLANTED: dict[str, tuple[Fault, Callable[[Snapshot, Deployment], None]]] = {
    "the backup app overwrites": (
        allow("vault adder", f"{CONTAINERS}/blobs/write"),
        the_backup_app_reads_and_adds_and_deletes_locks_alone,
    ),
    "the backup app overwrites by one block and another excepts it": (
        excepted_in_another_block("vault adder", f"{CONTAINERS}/blobs/write"),
        the_backup_app_reads_and_adds_and_deletes_locks_alone,
    ),
    "the backup app makes containers by one block and another excepts it": (
        excepted_in_another_block("vault adder", f"{CONTAINERS}/write"),
        the_backup_app_reads_and_adds_and_deletes_locks_alone,
    ),
    "the backup app cannot add": (
        misplaced("vault adder", f"{CONTAINERS}/blobs/add/action"),
        the_backup_app_reads_and_adds_and_deletes_locks_alone,
    ),
    "the backup app cannot see settings": (
        misplaced("vault adder", f"{CONTAINERS}/read"),
        every_right_is_one_that_the_table_shows,
    ),
    "break-glass cannot make containers": (
        misplaced("break-glass", f"{CONTAINERS}/write"),
        break_glass_is_there_and_belongs_to_nobody,
    ),
    "the backup app contributes to the account": (
        add_role(BLOB_CONTRIBUTOR, lambda shape: shape.vault),
        the_backup_app_reads_and_adds_and_deletes_locks_alone,
    ),
    "the backup app owns the resource group": (
        add_role(BLOB_OWNER, lambda shape: shape.vault.partition("/providers/")[0]),
        everything_is_assigned_at_a_place_of_the_table,
    ),
    "the backup app is the keeper too": (another_identity, the_backup_app_reads_and_adds_and_deletes_locks_alone),
    "two identities": (another_identity, each_app_is_one_identity_of_its_own),
    "locks without a condition": (no_condition, the_backup_app_reads_and_adds_and_deletes_locks_alone),
    "what begins like a lock": (wider_condition, the_backup_app_reads_and_adds_and_deletes_locks_alone),
    "a condition on something else": (
        condition_on_another_action,
        the_backup_app_reads_and_adds_and_deletes_locks_alone,
    ),
    "the keeper overwrites": (
        allow("vault keeper", f"{CONTAINERS}/blobs/*"),
        the_keeper_reads_adds_protects_and_deletes_and_overwrites_nothing,
    ),
    "the keeper reads a secret more": (
        add_role(SECRETS_USER, lambda shape: f"{shape.key_vault}/secrets/sql-password", like=KEEPER),
        everything_is_assigned_at_a_place_of_the_table,
    ),
    "the keeper reads all secrets": (
        add_role(SECRETS_USER, lambda shape: shape.key_vault, like=KEEPER),
        who_may_get_and_set_which_secrets,
    ),
    "the backup app purges secrets": (
        allow("secrets writer", SECRET_OPERATIONS["purge"]),
        who_may_get_and_set_which_secrets,
    ),
    "the backup app writes the keeper's code": (
        add_role(BLOB_CONTRIBUTOR, lambda shape: container(shape.hosts[KEEPER], "code").id),
        no_app_can_write_the_code_of_the_other,
    ),
    "restorers write the vault": (
        allow("vault reader", f"{CONTAINERS}/blobs/add/action"),
        restorers_read_the_vault,
    ),
    "the agent reads databases": (
        add_role(BLOB_CONTRIBUTOR, lambda shape: container(shape.vault, "databases").id, like=AGENT),
        the_agent_adds_to_the_share_and_to_recovery_points_alone,
    ),
    "the keeper writes landing": (
        add_role(BLOB_CONTRIBUTOR, lambda shape: shape.landing or "", like=KEEPER),
        the_backup_app_and_restorers_write_landing_and_nobody_else_sees_it,
    ),
    "somebody has break-glass": (assigned_break_glass, break_glass_is_there_and_belongs_to_nobody),
    "whoever deploys": (
        add_role(
            BLOB_OWNER,
            lambda shape: shape.vault,
            principalId="22222222-2222-2222-2222-222222222222",
            principalType="ServicePrincipal",
        ),
        whoever_deploys_gets_nothing,
    ),
    "a role lists keys": (
        allow("vault adder", "Microsoft.Storage/storageAccounts/listKeys/action"),
        nobody_lists_keys_or_changes_what_guards_the_vault,
    ),
    "a right that no row shows": (
        allow("vault adder", f"{CONTAINERS}/blobs/tags/write"),
        every_right_is_one_that_the_table_shows,
    ),
    "the vault is open to SFTP": (
        set_on_the_vault("isSftpEnabled"),
        accounts_have_neither_directories_nor_users_of_their_own,
    ),
    "the vault lets local users in": (
        set_on_the_vault("isLocalUserEnabled"),
        accounts_have_neither_directories_nor_users_of_their_own,
    ),
    "the vault has directories": (
        set_on_the_vault("isHnsEnabled"),
        accounts_have_neither_directories_nor_users_of_their_own,
    ),
    "the vault has a local user": (local_user, accounts_have_neither_directories_nor_users_of_their_own),
    "a role for the whole subscription": (wider_roles, custom_roles_can_be_assigned_in_this_resource_group_alone),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_broader_right_is_found(fault: str) -> None:
    plant, sentence = PLANTED[fault]
    resources = copy.deepcopy(snapshot(SHAPE_WITH_EVERYBODY))
    sentence(resources, deployment_of(resources))
    plant(resources, deployment_of(resources))
    with pytest.raises((AssertionError, ValueError)):
        sentence(resources, deployment_of(resources))


@pytest.mark.parametrize(
    "changes",
    [
        {"roleDefinitionId": f"/providers/Microsoft.Authorization/roleDefinitions/{SECRETS_OFFICER}"},
        {"principalId": "[deployer().objectId]"},
        {"principalId": "[reference('/subscriptions/x/providers/a/userAssignedIdentities/b', '1').principalId]"},
        {"condition": "@Request[a:b] StringEquals 'x'", "conditionVersion": "2.0"},
        {"condition": "ActionMatches{'a'}", "conditionVersion": "1.0"},
    ],
    ids=["an unknown role", "whoever deploys", "somebody not made here", "an unknown condition", "an old condition"],
)
def test_what_cannot_be_followed_is_an_error_and_never_no_right(changes: dict[str, str]) -> None:
    resources = copy.deepcopy(snapshot("plain"))
    grant(resources, BLOB_CONTRIBUTOR, deployment_of(resources).vault, **changes)
    with pytest.raises(ValueError, match=r"table|who this is|not made here|not understood|version 2\.0"):
        deployment_of(resources)


def federated(resources: Snapshot, identity: str) -> None:
    kind, name = "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials", "elsewhere"
    where = {"issuer": "https://token.actions.githubusercontent.com", "subject": "repo:somebody/something"}
    made = {"id": f"{identity}/federatedIdentityCredentials/{name}", "type": kind, "name": name, "properties": where}
    resources.raw["predictedResources"].append(made)


def script(resources: Snapshot, identity: str) -> None:
    run_as(resources, identity, "Microsoft.Resources/deploymentScripts", "/providers/a/deploymentScripts/b")


def slot(resources: Snapshot, identity: str) -> None:
    run_as(resources, identity, f"{SITES}/slots", f"{site_of(resources, 'backup').id}/slots/next")


def site_without_a_service(resources: Snapshot, identity: str) -> None:
    run_as(resources, identity, SITES, f"{site_of(resources, 'backup').id}-more")


def site_before_that_of_the_service(resources: Snapshot, identity: str) -> None:
    """Where whoever takes the last one does not see it."""
    own = site_of(resources, "backup")
    made = copy.deepcopy(own.raw)
    made["id"] += "-more"
    made["identity"]["userAssignedIdentities"] = {identity: {}}
    resources.raw["predictedResources"].insert(0, made)


def run_as(resources: Snapshot, identity: str, kind: str, where: str) -> None:
    bearer = {"type": "UserAssigned", "userAssignedIdentities": {identity: {}}}
    made = {"id": where, "type": kind, "name": where.rpartition("/")[2], "properties": {}, "identity": bearer}
    resources.raw["predictedResources"].append(made)


@pytest.mark.parametrize("app", [BACKUP, KEEPER])
@pytest.mark.parametrize(
    ("plant", "error"),
    [
        (federated, "from outside"),
        (script, "nobody follows"),
        (slot, "nobody follows"),
        (site_without_a_service, "nobody follows"),
        (site_before_that_of_the_service, "not one site of backup"),
    ],
    ids=["a federated credential", "a script", "a slot", "a site of no service", "a second site of a service"],
)
def test_nothing_but_the_one_site_of_an_app_can_be_that_app(
    plant: Callable[[Snapshot, str], None], error: str, app: str
) -> None:
    resources = copy.deepcopy(snapshot(SHAPE_WITH_EVERYBODY))
    (identity,) = deployment_of(resources).principals[app]
    plant(resources, identity)
    with pytest.raises(ValueError, match=error):
        deployment_of(resources)


# --- conditions ---

DELETE = BLOB_OPERATIONS["delete"]
LOCKS = f"((!(ActionMatches{{'{DELETE}'}})) OR (@Resource[{CONTAINERS}/blobs:path] StringLike 'locks/*'))"


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        (LOCKS, True),
        (LOCKS.replace("locks/*", "lock?/*"), True),
        (LOCKS.replace("locks/*", "Locks/*"), False),
        (LOCKS.replace("locks/*", "lo.ks/*"), False),
        (LOCKS.replace("!(", "("), True),
        (f"@Resource[{CONTAINERS}:name] StringEquals 'share' AND {LOCKS}", True),
        (f"@Resource[{CONTAINERS}:name] StringEquals 'databases' && {LOCKS}", False),
        ("!(ActionMatches{'*'})", False),
        ("ActionMatches{'x'} OR ActionMatches{'*/blobs/delete'} AND ActionMatches{'y'}", False),
    ],
)
def test_a_condition_is_evaluated_as_azure_would(text: str, holds: bool) -> None:
    share = container("/subscriptions/s/resourceGroups/r/providers/p/storageAccounts/a", "share", "locks/ab")
    assert Condition(text).holds(DELETE, share) is holds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "(",
        f"{LOCKS})",
        f"{LOCKS} AND",
        f"{LOCKS} XOR {LOCKS}",
        "SubOperationMatches{'Blob.List'}",
        "@Principal[a:b] StringEquals 'x'",
        f"@Resource[{CONTAINERS}/blobs/tags:x] StringEquals 'x'",
        LOCKS.replace("StringLike", "StringNotLike"),
        LOCKS.replace("StringLike", "StringLikeIgnoreCase"),
        "ActionMatches{'*'} OR @Environment[isPrivateLink] BoolEquals true",
    ],
)
def test_a_condition_that_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not (understood|known)"):
        Condition(text)


def test_a_role_without_what_it_excepts_and_a_scope_with_a_longer_neighbour() -> None:
    roles = roles_of(snapshot("plain"))
    owner = Assignment("x", "User", "/a/storageAccounts/stl", roles[BLOB_OWNER])
    assert owner.allows(DELETE, container("/a/storageAccounts/stl", "share"))
    assert not owner.allows(DELETE, container("/a/storageAccounts/stlonger", "share"))


def test_every_place_of_the_table_is_one_of_the_shape() -> None:
    resources = snapshot(SHAPE_WITH_EVERYBODY)
    made = {each.id for each in resources.resources}
    for name, place, _ in places_of(deployment_of(resources)):
        account = re.match(r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/[^/]+/[^/]+/[^/]+", place.id)
        assert account is not None, name
        assert account[0] in made, name
