"""What azd packs for the two apps: ``project: .`` is this folder without what .funcignore names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]
from dockerfile_parse import DockerfileParser  # type: ignore[import-untyped]
from pathspec import PathSpec

from functions import ROLES

ROOT = Path(__file__).resolve().parents[2]
IGNORED = PathSpec.from_lines("gitignore", (ROOT / ".funcignore").read_text("utf-8").splitlines())
LEFT_BEHIND = (
    *(".git/config", ".venv/bin/python", ".cache/node/package.json", ".azure/contoso/.env", "node_modules/x/index.js"),
    *("local.settings.json", ".env", ".vscode/settings.json", ".mypy_cache/x.json", ".ruff_cache/x", ".hypothesis/x"),
    *("shared/__pycache__/errors.cpython-312.pyc", "functions/x.pyc", "lifeboat-next-steps/next-steps.md"),
    *(".pytest_cache/x", "package.zip", ".DS_Store", "shared/.DS_Store", ".gitignore", ".github/workflows/ci.yml"),
)
"""What lies about in a working folder and is none of git's files, or goes by a name that begins with a dot."""


def _of_git() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [each for each in listed.stdout.split("\0") if each]


def _packed() -> list[str]:
    return [each for each in _of_git() if not IGNORED.match_file(each)]


def _copied_into_the_image(tmp_path: Path) -> set[str]:
    """Files and folders of this project that the Dockerfile copies into the app."""
    parser = DockerfileParser(path=str(tmp_path / "Dockerfile"))
    parser.content = (ROOT / "Dockerfile").read_text("utf-8")
    lines = [each["value"] for each in parser.structure if each["instruction"] == "COPY"]
    return {name for line in lines for name in line.split()[:-1]}


def test_the_package_holds_what_the_image_holds_and_nothing_else(tmp_path: Path) -> None:
    assert {each.partition("/")[0] for each in _packed()} == _copied_into_the_image(tmp_path)


def test_every_file_of_the_product_is_in_the_package() -> None:
    """Those that are read at run time too, such as the agent's script."""
    product = {each for each in _of_git() if each.startswith(("functions/", "shared/"))}
    assert product <= set(_packed())
    assert "shared/agent/agent.ps1" in product


@pytest.mark.parametrize("path", LEFT_BEHIND)
def test_what_lies_about_in_a_working_folder_stays_behind(path: str) -> None:
    assert IGNORED.match_file(path)


@pytest.mark.parametrize("role", ROLES)
def test_the_package_loads_as_each_of_the_two_apps(tmp_path: Path, role: str) -> None:
    """From nothing but what is packed, with no setting but the role, as the host does it at every start."""
    for name in _packed():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    look = (
        "import json, function_app; "
        "print(json.dumps(sorted(each.get_function_name() for each in function_app.app.get_functions())))"
    )
    done = subprocess.run(
        [sys.executable, "-c", look],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "LIFEBOAT_ROLE": role},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    functions = json.loads(done.stdout)
    assert ("protect" in functions) == (role == "keeper")
    assert ("api_start_run" in functions) == (role == "backup")


def test_both_services_are_this_package_and_are_found_by_their_tag() -> None:
    services = yaml.safe_load((ROOT / "azure.yaml").read_text("utf-8"))["services"]
    assert services == {role: {"project": ".", "language": "python", "host": "function"} for role in ROLES}
