"""The shapes by Microsoft's compiler: what they would deploy is what was reviewed; what is out of range is refused."""

from __future__ import annotations

import json
import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.infra.bicep import INFRA, ROOT, SHAPES, build, evaluate, run

# --- the files ---


def test_there_is_a_shape_and_what_it_deploys_for_each_that_is_promised() -> None:
    files = {path.name for path in (INFRA / "shapes").iterdir()}
    assert files == {f"{shape}{ending}" for shape in SHAPES for ending in (".bicepparam", ".snapshot.json")}
    promised = re.search(r"(?m)^type ShapeName = (.+)$", (INFRA / "types.bicep").read_text())
    assert promised
    assert sorted(re.findall(r"'([\w-]+)'", promised[1])) == sorted(SHAPES)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_names_itself_and_what_a_site_would_say(shape: str) -> None:
    text = (INFRA / "shapes" / f"{shape}.bicepparam").read_text()
    given = dict(re.findall(r"(?m)^param (\w+) = (.*)$", text))
    assert given["shape"] == f"'{shape}'"
    assert given.keys() <= parameters_of_azd().keys()


def test_each_variable_that_azd_hands_on_is_documented() -> None:
    documented = (ROOT / "docs/deploying.md").read_text()
    names = {name for value in parameters_of_azd().values() for name in re.findall(r"\$\{(\w+)", str(value))}
    assert len(names) == len(parameters_of_azd())
    assert names - set(re.findall(r"\w+", documented)) == set()


# --- by the compiler ---


@pytest.mark.parametrize("shape", SHAPES)
def test_what_a_shape_would_deploy_is_what_was_reviewed(shape: str) -> None:
    compared = evaluate(INFRA / "shapes" / f"{shape}.bicepparam", "validate")
    assert compared.returncode == 0, (
        f"{compared.stdout}{compared.stderr}\nRenew it and read the difference: make snapshots"
    )
    assert compared.stderr == ""


def test_azd_hands_on_every_parameter_of_main_that_an_operator_sets() -> None:
    parameters = compiled()["parameters"]
    assert parameters_of_azd().keys() == parameters.keys()
    assert {name for name, parameter in parameters.items() if needed(parameter)} == {"environmentName", "location"}


def test_a_change_shows_and_landing_alone_takes_keys_where_a_setting_asks_for_it(tmp_path: Path) -> None:
    shutil.copytree(INFRA, tmp_path, dirs_exist_ok=True)
    plain = tmp_path / "shapes/plain.bicepparam"
    plain.write_text(changed("SQL_USERNAME:", "SQL_SAS: 'account-key'\n  SQL_USERNAME:"))
    compared = evaluate(plain, "validate")
    assert compared.returncode == 1
    said = re.sub(r"\x1b\[[\d;]*m", "", compared.stdout)
    assert re.findall(r"[~+-] (Microsoft[\w./]+/(?:stlb.|func-lifeboat-\w+))", said) == [
        "Microsoft.Storage/storageAccounts/stlbl",
        "Microsoft.Web/sites/func-lifeboat-backup",
    ]
    assert re.findall(r"([~+-]) properties\.(\w+): +(\S+)", said) == [
        ("~", "allowSharedKeyAccess", "false"),  # => true
        ("+", "LIFEBOAT_LANDING_KEY", "\"[format('@Microsoft.KeyVault(SecretUri={0}secrets/{1})',"),
        ("+", "LIFEBOAT_SQL_SAS", '"account-key"'),
    ]


THRESHOLDS = re.findall(r"(?ms)^param thresholds Thresholds( = .*?^})", (INFRA / "main.bicep").read_text())[0]
"""As they are when nobody says anything."""


def threshold(right: str, wrong: str) -> tuple[str, str]:
    assert right in THRESHOLDS
    return "param alertEmails", f"param thresholds{THRESHOLDS.replace(right, wrong)}\nparam alertEmails"


OUT_OF_RANGE = {
    "unknown-shape": ("param shape = 'plain'", "param shape = 'huge'"),
    "no-name": ("param environmentName = 'plain'", "param environmentName = ''"),
    "long-name": ("param environmentName = 'plain'", f"param environmentName = '{'x' * 65}'"),
    "no-region": ("param location = 'westeurope'", "param location = ''"),
    "long-token": ("param alertEmails", "param resourceToken = 'fourteenletter'\nparam alertEmails"),
    "unknown-sku": ("param alertEmails", "param vaultSku = 'Premium_LRS'\nparam alertEmails"),
    "no-network": ("param alertEmails", "param addressSpace = '10.0.0'\nparam alertEmails"),
    "unknown-setting": ("SQL_USERNAME:", "SQL_USERNAMES:"),
    "password": ("SQL_USERNAME:", "SQL_PASSWORD: 'hush'\n  SQL_USERNAME:"),
    "unknown-mode": ("SQL_USERNAME:", "SQL_MODE: 'tape'\n  SQL_USERNAME:"),
    "no-boolean": ("SQL_USERNAME:", "SQL_OWN_LOG_CHAIN: 'yes'\n  SQL_USERNAME:"),
    "hour-of-silence": threshold("watchdogSilentHours: 3", "watchdogSilentHours: 1"),
    "long-silence": threshold("keeperSilentHours: 36", "keeperSilentHours: 49"),
    "no-growth": threshold("growthRatio: 3", "growthRatio: 1"),
    "lacking-threshold": threshold("  expiryDays: 30\n", ""),
    "no-count": ("SQL_USERNAME:", "KEEP_LAST: '1234567'\n  SQL_USERNAME:"),
}
"""What is changed in the shape ``plain``, and to what."""


def test_what_is_out_of_range_is_refused(tmp_path: Path) -> None:
    shutil.copytree(INFRA, tmp_path, dirs_exist_ok=True)
    for name, (right, wrong) in OUT_OF_RANGE.items():
        (tmp_path / "shapes" / f"wrong-{name}.bicepparam").write_text(changed(right, wrong))
    (tmp_path / "shapes/wrong-not.bicepparam").write_text(changed("plain", "plain"))
    looked = run("lint", "--pattern", "shapes/wrong-*.bicepparam", cwd=tmp_path)
    assert set(re.findall(r"wrong-([a-z-]+)\.bicepparam\(\d+,\d+\) : Error BCP", looked.stderr)) == set(OUT_OF_RANGE)


def changed(right: str, wrong: str) -> str:
    """The shape ``plain`` with something else in it."""
    text = (INFRA / "shapes/plain.bicepparam").read_text()
    assert right in text
    return text.replace(right, wrong, 1)


@cache
def compiled() -> dict[str, Any]:
    return build(INFRA / "main.bicep")


def needed(parameter: dict[str, Any]) -> bool:
    return "defaultValue" not in parameter and not parameter.get("nullable")


@cache
def parameters_of_azd() -> dict[str, Any]:
    """With their values, ``${VARIABLE=default}``."""
    parameters = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    return {name: each["value"] for name, each in parameters.items()}
