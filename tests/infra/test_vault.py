"""What holds in each shape of the accounts in which backups, files on their way, and secrets lie."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from shared.databases.medium import LEFT_OVER_AFTER
from shared.storage.vault import DATABASES_CONTAINER, RECORDS_CONTAINER, SHARE_CONTAINER
from tests.infra.bicep import SHAPES, Snapshot, snapshot
from tests.infra.effective_rights import Deployment, deployment_of

STORAGE = "Microsoft.Storage/storageAccounts"
WITH_DATES = {shape for shape in SHAPES if shape != "smallest"}
LOCKED = {"locked-immutability", "everything"}


def resource(resources: Snapshot, kind: str, beginning: str) -> dict[str, Any]:
    (found,) = [each for each in resources.of(kind) if each.id.startswith(beginning)]
    return dict(found.properties)


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest) -> tuple[str, Snapshot, Deployment]:
    resources = snapshot(request.param)
    return request.param, resources, deployment_of(resources)


def test_what_is_deleted_or_overwritten_in_the_vault_stays_as_a_version(
    shape: tuple[str, Snapshot, Deployment],
) -> None:
    _, resources, deployment = shape
    service = resource(resources, f"{STORAGE}/blobServices", deployment.vault)
    assert service["isVersioningEnabled"] is True
    assert service["deleteRetentionPolicy"]["enabled"] is True
    assert service["deleteRetentionPolicy"]["allowPermanentDelete"] is False
    assert service["containerDeleteRetentionPolicy"]["enabled"] is True


def test_the_vault_has_the_containers_that_the_code_uses_and_no_other(shape: tuple[str, Snapshot, Deployment]) -> None:
    _, _, deployment = shape
    assert deployment.vault_containers == {SHARE_CONTAINER, RECORDS_CONTAINER, DATABASES_CONTAINER}


def test_dates_can_be_set_wherever_the_shape_promises_them(shape: tuple[str, Snapshot, Deployment]) -> None:
    name, resources, deployment = shape
    support = resource(resources, STORAGE, deployment.vault).get("immutableStorageWithVersioning")
    assert (support == {"enabled": True}) == (name in WITH_DATES)  # support alone: no policy for the whole account


def test_a_default_policy_is_on_databases_alone_and_where_it_is_promised_with_a_lock(
    shape: tuple[str, Snapshot, Deployment],
) -> None:
    name, resources, deployment = shape
    policies = [each.id for each in resources.of(f"{STORAGE}/blobServices/containers/immutabilityPolicies")]
    locks = [each for each in resources.of("Microsoft.Authorization/locks") if each.id.startswith(deployment.vault)]
    container = f"{deployment.vault}/blobServices/default/containers/{DATABASES_CONTAINER}"
    assert policies == ([f"{container}/immutabilityPolicies/default"] if name in LOCKED else [])
    assert [each.properties["level"] for each in locks] == (["CanNotDelete"] if name in LOCKED else [])


def test_no_rule_deletes_in_the_vault_by_age(shape: tuple[str, Snapshot, Deployment]) -> None:
    _, resources, deployment = shape
    for policies in resources.of(f"{STORAGE}/managementPolicies"):
        if policies.id.startswith(deployment.vault):
            for rule in policies.properties["policy"]["rules"]:
                assert rule["definition"]["actions"].keys() == {"baseBlob"}
                assert rule["definition"]["actions"]["baseBlob"].keys() == {"tierToCool"}
                assert rule["definition"]["filters"]["prefixMatch"] == ["databases/", "share/data/"]


def test_landing_is_cleared_no_earlier_than_the_next_run_would(shape: tuple[str, Snapshot, Deployment]) -> None:
    _, resources, deployment = shape
    if deployment.landing is not None:
        (rule,) = resource(resources, f"{STORAGE}/managementPolicies", deployment.landing)["policy"]["rules"]
        days = rule["definition"]["actions"]["baseBlob"]["delete"]["daysAfterModificationGreaterThan"]
        assert timedelta(days=days) >= LEFT_OVER_AFTER


def test_no_account_takes_keys_unless_a_setting_asks_for_it(shape: tuple[str, Snapshot, Deployment]) -> None:
    _, resources, _ = shape
    for account in resources.of(STORAGE):
        assert account.properties["allowSharedKeyAccess"] is False  # no shape has SQL_SAS=account-key
        assert account.properties["allowBlobPublicAccess"] is False
        assert account.properties["minimumTlsVersion"] == "TLS1_2"


def test_secrets_cannot_be_purged(shape: tuple[str, Snapshot, Deployment]) -> None:
    _, resources, deployment = shape
    vault = resource(resources, "Microsoft.KeyVault/vaults", deployment.key_vault)
    assert vault["enableRbacAuthorization"] is True
    assert vault["enablePurgeProtection"] is True
    assert (vault["enableSoftDelete"], vault["softDeleteRetentionInDays"]) == (True, 90)
