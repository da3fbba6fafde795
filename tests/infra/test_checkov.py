"""What each shape would deploy, by checkov, and by nothing left out in silence.

On what Bicep compiles checkov finds no resource, so that it passes anything: it is given those of the snapshots.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from tests.infra.bicep import ROOT, SHAPES, snapshot

CHECKOV = ROOT / ".cache/checkov/bin/checkov"
PUBLIC = ("disk-log-chain", "locked-immutability", "plain", "smallest")
PRIVATE = ("everything", "private-network")


@dataclass(frozen=True, slots=True)
class Skip:
    """Failures that are meant: of each check, on each kind of resource, in each shape; else the skip is too wide."""

    checks: tuple[str, ...]
    resources: tuple[str, ...]
    """Type and beginning of the name."""
    why: str
    shapes: tuple[str, ...] = SHAPES


STORAGE = "Microsoft.Storage/storageAccounts"
VAULT, LANDING, HOSTS = f"{STORAGE}.stlbv", f"{STORAGE}.stlbl", (f"{STORAGE}.stlbb", f"{STORAGE}.stlbk")
KEY_VAULT = "Microsoft.KeyVault/vaults.kv-lb-"
APPS = ("Microsoft.Web/sites.func-lifeboat-backup-", "Microsoft.Web/sites.func-lifeboat-keeper-")
PLANS = ("Microsoft.Web/serverfarms.plan-lb-backup-", "Microsoft.Web/serverfarms.plan-lb-keeper-")
LISTS_OF_SETTINGS = tuple(
    f"Microsoft.Web/sites/config.func-lifeboat-{app}-*/appsettings" for app in ("backup", "keeper")
)
SIGN_IN = "Microsoft.Web/sites/config.func-lifeboat-backup-*/authsettingsV2"
NETWORK = "Microsoft.Network/virtualNetworks.vnet-lifeboat-"
ABOUT_A_SITE = tuple(f"CKV_AZURE_{number}" for number in (13, 63, 65, 66, 80, 88, 222))

SKIPS = (
    # Public endpoints, in the shapes that say so.
    Skip(
        ("CKV_AZURE_35", "CKV_AZURE_59"),
        (VAULT, *HOSTS),
        "reached by its public endpoint, which takes Entra ID alone: no key, no anonymous read",
        PUBLIC,
    ),
    Skip(
        ("CKV_AZURE_35", "CKV_AZURE_59"),
        (LANDING,),
        "SQL Server writes to it from the stamp; LIFEBOAT_STAMP_ADDRESSES closes it to everybody else",
        ("locked-immutability", "plain", "smallest"),
    ),
    Skip(
        ("CKV_AZURE_109", "CKV_AZURE_189"),
        (KEY_VAULT,),
        "reached by its public endpoint, which takes Entra ID alone",
        PUBLIC,
    ),
    Skip(
        ("CKV_AZURE_222",),
        APPS,
        "the backup app has an API and a dashboard; the keeper's code is deployed over the internet, by Entra ID, and "
        "its own host name denies everybody",
        PUBLIC,
    ),
    Skip(
        ("CKV_AZURE_36",),
        (VAULT, *HOSTS),
        "nobody is let in for being a service of Microsoft's",
        PRIVATE,
    ),
    Skip(("CKV_AZURE_36",), (LANDING,), "the same", PRIVATE),
    # What a copy more would cost.
    Skip(
        ("CKV_AZURE_206",),
        (VAULT,),
        "the check knows copies in another region only; the shape's are in other zones (smallest: in one building), "
        "and LIFEBOAT_VAULT_SKU says otherwise",
        tuple(shape for shape in SHAPES if shape != "everything"),
    ),
    Skip(
        ("CKV_AZURE_206",),
        (LANDING,),
        "holds files for the time of a run: what is lost is written again by the next",
        tuple(shape for shape in SHAPES if shape != "disk-log-chain"),
    ),
    Skip(("CKV_AZURE_206",), HOSTS, "holds code and the state of a run: `azd deploy`, and the next run, make it again"),
    Skip(("CKV_AZURE_225",), PLANS, "a zone that is lost costs a run, and few regions have them for Flex Consumption"),
    # What Flex Consumption does itself, or is not for.
    Skip(("CKV_AZURE_212",), APPS, "Flex Consumption starts what is needed; a timer needs no second instance"),
    Skip(("CKV_AZURE_213",), APPS, "not offered for Flex Consumption; the watchdog's alert says that an app is silent"),
    Skip(("CKV_AZURE_78",), APPS, "Flex Consumption has no FTP, and refuses a site that says anything about it"),
    Skip(("CKV_AZURE_17",), APPS, "callers have a function key or sign in by Entra ID; nobody has a certificate"),
    # Taken for something else.
    Skip(ABOUT_A_SITE, LISTS_OF_SETTINGS, "a list of settings, taken for the site: what is asked for stands there"),
    Skip(ABOUT_A_SITE, (SIGN_IN,), "the sign-in, taken for the site", ("everything", "plain", "private-network")),
    # DNS
    Skip(
        ("CKV_AZURE_183",),
        (NETWORK,),
        "whatever servers there are know the names of the stamp, and stand before it, not in this network",
        tuple(shape for shape in SHAPES if shape != "smallest"),
    ),
)
INSECURE: dict[str, Any] = {
    "type": STORAGE,
    "apiVersion": "2025-06-01",
    "name": "stplanted",
    "location": "westeurope",
    "kind": "StorageV2",
    "sku": {"name": "Standard_LRS"},
    "properties": {"minimumTlsVersion": "TLS1_0", "supportsHttpsTrafficOnly": False, "allowBlobPublicAccess": True},
}


@dataclass(frozen=True, slots=True, order=True)
class Failure:
    shape: str
    check: str
    resource: str
    """Type and name."""
    says: str


@dataclass(frozen=True, slots=True)
class Report:
    summary: dict[str, Any]
    failures: list[Failure]
    passed: set[str]
    """Shapes with a check that something passed."""


def template(resources: list[dict[str, Any]]) -> str:
    schema = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
    return json.dumps({"$schema": schema, "contentVersion": "1.0.0.0", "resources": resources}, indent=1)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """On all shapes, and on one account that is insecure, as the shape ``planted``."""
    if not CHECKOV.exists():
        pytest.fail("checkov is not installed: run scripts/setup.sh test")
    folder = tmp_path_factory.mktemp("checkov")
    for shape in SHAPES:
        (folder / f"{shape}.json").write_text(template([each.raw for each in snapshot(shape).resources]))
    (folder / "planted.json").write_text(template([INSECURE]))
    done = subprocess.run(
        [CHECKOV, "--framework", "arm", "--skip-download", "--output", "json", "--directory", folder],
        env={**os.environ, "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.stdout, done.stderr
    said = json.loads(done.stdout)
    results = said["results"]
    failures = [
        Failure(Path(each["file_path"]).stem, each["check_id"], each["resource"], each["check_name"])
        for each in results["failed_checks"]
    ]
    passed = {Path(each["file_path"]).stem for each in results["passed_checks"]}
    return Report(said["summary"], failures, passed)


def test_checkov_has_read_every_resource(report: Report) -> None:
    assert report.summary["parsing_errors"] == 0
    # It tells resources apart by type and name.
    named = {(shape, each.type, each.name) for shape in SHAPES for each in snapshot(shape)}
    assert report.summary["resource_count"] == 1 + len(named)
    assert report.passed == {*SHAPES, "planted"}


def test_an_account_that_is_insecure_fails(report: Report) -> None:
    said = {failure.check for failure in report.failures if failure.shape == "planted"}
    assert {"CKV_AZURE_3", "CKV_AZURE_44"} <= said  # http, and TLS 1.0


def test_nothing_fails_but_what_is_meant(report: Report) -> None:
    assert [
        failure
        for failure in sorted(report.failures)
        if failure.shape != "planted" and not any(covers(one, failure) for one in single_skips())
    ] == []


def test_nothing_is_skipped_that_would_not_fail(report: Report) -> None:
    assert [one for one in single_skips() if not any(covers(one, failure) for failure in report.failures)] == []


def single_skips() -> Iterator[tuple[str, str, str]]:
    """Each check, kind of resource and shape that is skipped."""
    for skip in SKIPS:
        for check in skip.checks:
            for resource in skip.resources:
                for shape in skip.shapes:
                    yield check, resource, shape


def covers(skip: tuple[str, str, str], failure: Failure) -> bool:
    check, resource, shape = skip
    return (check, shape) == (failure.check, failure.shape) and fnmatchcase(failure.resource, f"{resource}*")
