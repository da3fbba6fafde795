"""docs/reaching-the-stamp.md against the code: the settings, commands, checks, files and codes that it names are there,
and its commands are at least commands."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

import lifeboat
from infra.hooks import templates
from shared.agent.script import LEAST_RESTIC, LIMIT_MINUTES
from shared.fileshare.inside import TAG
from shared.preflight.make import COMPONENTS, preflight
from shared.settings import Settings
from shared.smb import blocked
from tests.infra.bicep import snapshot
from tests.unit.agent.powershell_grammar import mistakes

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / blocked.PAGE).read_text("utf-8")
AGENT = (ROOT / "shared" / "agent" / "agent.ps1").read_text("ascii")
ROWS = [
    (component.strip(" `"), name)
    for component, names in re.findall(r"^\| ([^|]+) \| ((?:`[^`|]+`(?:, )?)+) \|", PAGE, re.MULTILINE)
    for name in re.findall(r"`([^`]+)`", names)
    if component.strip(" `") in (*COMPONENTS, "any")
]
"""Component, or ``any``, and row of preflight."""


def _blocks(language: str) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", PAGE, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def test_every_setting_that_it_names_is_one() -> None:
    readme = (ROOT / "README.md").read_text("utf-8").split("### Settings\n")[1].split("\n#")[0]
    settings = set(re.findall(r"`([A-Z][A-Z_]+)`", readme)) | {"ROLE"}
    settings |= {name.removeprefix("LIFEBOAT_") for name in templates.parameters()}  # of the deployment
    named = set(re.findall(r"LIFEBOAT_([A-Z][A-Z_]*[A-Z])", PAGE))
    assert {"SHARE_URL", "SHARE_MODE", "SHARE_ADOPT_PATH", "SHARE_MAX_AGE", "SQL_MODE", "SQL_PATH_MAP"} <= named
    assert named <= settings


def test_every_command_of_lifeboat_that_it_names_is_one_with_these_options() -> None:
    commands: dict[str, Any] = typer.main.get_command(lifeboat.app).commands  # type: ignore[attr-defined]
    used = re.findall(r"lifeboat\.py ([a-z][a-z-]*)((?: +--?[a-z][a-z-]*| +[^-\s`|;\"]+)*)", PAGE)
    assert {"preflight", "agent-script", "runbook", "password", "backup"} <= {name for name, _ in used}
    for name, rest in used:
        assert name in commands
        options = {option for parameter in commands[name].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= options, f"{name} {rest}"


def test_every_check_that_is_made_has_its_row() -> None:
    """Those of the components that ask for nothing but settings; patterns such as ``landing-...`` stand for many."""
    for component, name in _checks():
        fits = [
            row
            for of, row in ROWS
            if of in (component, "any") and (row == name or (row.endswith("...") and name.startswith(row[:-3])))
        ]
        assert fits, f"{component} {name} is not in {blocked.PAGE}"


def _checks() -> list[tuple[str, str]]:
    """Nothing is asked: the time for it is none."""
    nowhere = {
        "LIFEBOAT_VAULT_URL": "http://127.0.0.1:1/vault",
        "LIFEBOAT_VAULT_KEY": "a2V5",
        "LIFEBOAT_LANDING_URL": "http://127.0.0.1:1/landing",
        "LIFEBOAT_LANDING_KEY": "a2V5",
        "LIFEBOAT_KEY_VAULT_URL": "https://127.0.0.1:1",
        "LIFEBOAT_SHARE_URL": "smb://127.0.0.1:1/share",
        "LIFEBOAT_SHARE_USERNAME": "reader",
        "LIFEBOAT_SQL_SERVER": "127.0.0.1,1",
        "LIFEBOAT_SQL_USERNAME": "login",
        "LIFEBOAT_SQL_PASSWORD": "password",
    }
    found = []
    for more in ({}, {"LIFEBOAT_SHARE_MODE": "adopt"}, {"LIFEBOAT_SQL_MODE": "adopt"}):
        done = preflight(Settings.from_environment(nowhere | more), limit_seconds=0.0)
        found += [(row.component, row.name) for row in done.rows]
    assert ("share", "login") in found
    return found


@pytest.mark.parametrize("language", ["sh", "powershell"])
def test_its_commands_are_commands(language: str) -> None:
    blocks = _blocks(language)
    assert blocks
    for block in blocks:
        if language == "powershell":
            assert mistakes(block) == [], block
            continue
        done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), block


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        file, _, anchor = target.partition("#")
        text = (ROOT / "docs" / file).read_text("utf-8") if file else PAGE
        heads = {
            re.sub(r"[^a-z0-9 -]", "", head.lower()).replace(" ", "-")
            for head in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        }
        assert not anchor or anchor in heads, target


def test_it_names_the_agent_as_the_script_does() -> None:
    for name in (TAG, LEAST_RESTIC.removesuffix(".0"), f"{LIMIT_MINUTES // 60} hours", "ten minutes"):
        assert name in PAGE
    for name in ("Lifeboat Agent", "Share backup", "\\Lifeboat\\"):
        assert name in PAGE
        assert f"'{name}'" in AGENT
    assert "$SecondsBetweenAttempts = 600\n" in AGENT


def test_its_table_of_exit_codes_is_the_script_s() -> None:
    known = {int(code) for code in re.findall(r"^    (\d+) +=  ?@\('", AGENT, re.MULTILINE)}
    told = {int(code): int(event) for code, event in re.findall(r"^\| (\d+), (\d+) \|", PAGE, re.MULTILINE)}
    assert told.keys() == known
    assert all(event == 1000 + code for code, event in told.items())


def test_the_agent_s_rights_are_those_that_the_deployment_gives() -> None:
    roles = {
        role.properties["roleName"].rpartition(" ")[0]: role.properties["permissions"][0]["dataActions"]
        for role in snapshot("everything").of("Microsoft.Authorization/roleDefinitions")
    }
    given = [*roles["Lifeboat vault adder"], *roles["Lifeboat lock remover"]]
    actions = [each.removeprefix("Microsoft.Storage/storageAccounts/blobServices/containers/") for each in given]
    assert actions == ["blobs/read", "blobs/add/action", "blobs/delete"]
    for action in actions:
        assert f"`.../{action}`" in PAGE


def test_the_ports_and_the_image_are_those_of_the_dockerfile() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    (port,) = re.findall(r"--target-port (\d+)", PAGE)
    assert f"EXPOSE {port}\n" in dockerfile
    (image,) = re.findall(r"`(azure-functions/python:\S+)`", PAGE)
    assert f"FROM mcr.microsoft.com/{image}\n" in dockerfile


def test_what_was_not_tried_is_said() -> None:
    untried = PAGE.split("## What has not been tried\n")[1]
    for thing in ("Windows", "restic 0.19", "image was not built", "Port 445"):
        assert thing in untried
