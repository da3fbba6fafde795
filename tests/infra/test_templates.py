"""Microsoft's compiler has nothing to say of any template, under every rule of its linter that can be an error."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.infra.bicep import INFRA, build, run

TEMPLATES = sorted(INFRA.rglob("*.bicep*"))
"""Parameter files as well."""

RULES = {line for line in Path(__file__).with_name("linter_rules.txt").read_text().splitlines() if line[0] != "#"}

NO_ERROR = {
    "use-recent-api-versions": "goes by today's date: a green build would turn red by itself. Run it by hand",
    "no-module-name": "asks for modules without names, and then no snapshot knows what one hands to another",
    "use-description-vars": "a variable is named after what it holds, and says more only where that is not enough",
    "use-description-type-properties": "the same; what the settings mean is in the README's table",
}


def test_every_rule_of_the_linter_is_an_error_but_for_those_with_a_reason() -> None:
    core = json.loads((INFRA / "bicepconfig.json").read_text())["analyzers"]["core"]
    assert core["enabled"] is True
    levels = {name: rule["level"] for name, rule in core["rules"].items()}
    assert levels == {name: "off" if name in NO_ERROR else "error" for name in RULES}


def test_templates_and_shapes_compile_and_lint_without_a_word() -> None:
    looked = run("lint", "--pattern", "infra/**/*.bicep*")
    assert (looked.returncode, looked.stdout, looked.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("param unused string\n", "Error no-unused-params"),
        (
            "resource account 'Microsoft.Storage/storageAccounts@2025-06-01' = {\n  name: 'account'\n"
            "  location: 'global'\n  kind: 'StorageV2'\n  sku: { name: 'Standard_LRS' }\n"
            "  properties: { allowBlobPublicAcess: false }\n}\n",
            "Warning BCP089",  # for which the compiler ends with 0
        ),
        ("output number int = 'text'\n", "Error BCP033"),
    ],
)
def test_what_is_planted_is_told(tmp_path: Path, template: str, said: str) -> None:
    shutil.copy(INFRA / "bicepconfig.json", tmp_path)
    (tmp_path / "planted.bicep").write_text(template)
    with pytest.raises(AssertionError, match=said):
        build(tmp_path / "planted.bicep")
    looked = run("lint", "--pattern", "*.bicep*", cwd=tmp_path)
    assert said in looked.stdout + looked.stderr


def test_templates_are_formatted(tmp_path: Path) -> None:
    shutil.copytree(INFRA, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.snapshot.json"))
    (tmp_path / "planted.bicep").write_text("var   unformatted=[1,2]\n")
    done = run("format", "--pattern", "**/*.bicep*", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "planted.bicep").read_text() == "var unformatted = [1, 2]\n"
    changed = [path for path in TEMPLATES if path.read_text() != (tmp_path / path.relative_to(INFRA)).read_text()]
    assert changed == [], "bicep format --pattern 'infra/**/*.bicep*'"


def test_every_template_is_reached_from_main() -> None:
    reached: set[Path] = set()
    waiting = [INFRA / "main.bicep"]
    while waiting:
        path = waiting.pop()
        if path in reached:
            continue
        reached.add(path)
        waiting += [(path.parent / each).resolve() for each in re.findall(r"'([^'\n]+\.bicep)'", path.read_text())]
    assert {path for path in TEMPLATES if path.suffix == ".bicep"} == reached
