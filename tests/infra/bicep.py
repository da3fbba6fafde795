"""Microsoft's Bicep compiler, as a program, and the committed snapshots: what each shape would deploy.

A snapshot is what ``bicep snapshot`` works out without Azure. What only Azure knows (an address, a principal's id)
stays an expression in it, ``[reference('/subscriptions/...').principalId]``, so that it can still be followed. Reading
one needs no compiler; making one does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

ROOT = Path(__file__).resolve().parents[2]
INFRA = ROOT / "infra"
SHAPES = ("disk-log-chain", "everything", "locked-immutability", "plain", "private-network", "smallest")
"""One for each way to deploy that is promised; what each stands for is in ``infra/shapes.bicep``."""
SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
LOCATION = "westeurope"
"""Into which subscription and region snapshots pretend to deploy: the names in them follow from these."""
SETTING = "LIFEBOAT_TEST_BICEP"
MISSING = (
    f"bicep, Microsoft's compiler, is not on the PATH: get it from the releases of Azure/bicep, or name it in {SETTING}"
)


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource that would be made."""

    raw: dict[str, Any]
    """As it stands in the snapshot."""

    @property
    def id(self) -> str:
        return str(self.raw["id"])

    @property
    def type(self) -> str:
        return str(self.raw["type"])

    @property
    def name(self) -> str:
        return str(self.raw["name"])

    @property
    def location(self) -> str | None:
        return self.raw.get("location")

    @property
    def properties(self) -> dict[str, Any]:
        return self.raw.get("properties") or {}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a shape would deploy."""

    raw: dict[str, Any]
    """As it stands in the file: ``predictedResources``, ``diagnostics``, ``outputs``."""

    @property
    def resources(self) -> list[Resource]:
        return [Resource(each) for each in self.raw["predictedResources"]]

    @property
    def outputs(self) -> dict[str, Any]:
        """Of main.bicep, which azd keeps in its environment."""
        outputs: dict[str, Any] = self.raw["outputs"]
        return outputs

    def of(self, kind: str) -> list[Resource]:
        """Those of a type, by its exact case."""
        return [each for each in self.resources if each.type == kind]

    def __iter__(self) -> Iterator[Resource]:
        return iter(self.resources)


def snapshot(shape: str) -> Snapshot:
    """The committed one."""
    return Snapshot(orjson.loads((INFRA / "shapes" / f"{shape}.snapshot.json").read_bytes()))


def find_compiler() -> Path | None:
    """What ``LIFEBOAT_TEST_BICEP`` names, else ``bicep`` on the PATH."""
    found = os.environ.get(SETTING) or shutil.which("bicep")
    return Path(found) if found else None


def compiler() -> Path:
    """The test is skipped where there is none."""
    found = find_compiler()
    if not found:
        pytest.skip(MISSING)
    return found


def run(*arguments: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """The compiler with ``arguments``. It says what is wrong on standard error, and may end with 0 all the same."""
    dotnet = {
        "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1",  # needs no libicu
        "DOTNET_TieredPGO": "0",  # a run of seconds gains nothing by measuring itself
    }
    with tempfile.TemporaryDirectory() as home:
        return subprocess.run(
            [compiler(), *arguments],
            cwd=cwd,
            env={**os.environ, **dotnet, "HOME": home},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )


def evaluate(parameters: Path, mode: str) -> subprocess.CompletedProcess[str]:
    """``bicep snapshot`` on a parameter file: ``overwrite`` writes its ``.snapshot.json`` beside it, ``validate`` ends
    with 1, and prints the difference, where that is no longer what would be deployed."""
    where = ("--subscription-id", SUBSCRIPTION, "--location", LOCATION)
    return run("snapshot", parameters, "--mode", mode, *where)


def build(path: Path) -> dict[str, Any]:
    """The template that ``path`` compiles to, without a word."""
    built = run("build", path, "--stdout")
    assert not built.stderr, built.stderr
    assert built.returncode == 0
    template: dict[str, Any] = orjson.loads(built.stdout)
    return template
