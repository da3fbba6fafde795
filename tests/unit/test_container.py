"""The Dockerfile and what is sent to its builder. It cannot be built here (no container engine, no image registry): it
is linted by hadolint, and what it copies is put together by hand and imported."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
from dockerfile_parse import DockerfileParser  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text("utf-8")
IGNORE = (ROOT / ".dockerignore").read_text("utf-8")
HADOLINT = Path(sys.executable).with_name("hadolint")


def _steps(text: str, tmp_path: Path) -> list[tuple[str, str]]:
    parser = DockerfileParser(path=str(tmp_path / "Dockerfile"))
    parser.content = text
    return [(each["instruction"], each["value"]) for each in parser.structure if each["instruction"] != "COMMENT"]


def _values(instruction: str, tmp_path: Path) -> list[str]:
    return [value for name, value in _steps(TEXT, tmp_path) if name == instruction]


def _lint(text: str) -> str:
    done = subprocess.run([HADOLINT, "-"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def test_hadolint_finds_nothing() -> None:
    assert _lint(TEXT) == ""


@pytest.mark.parametrize(
    ("right", "wrong", "rule"),
    [
        ("python:4-python3.12\n\n", "python:latest\n\n", "DL3007"),
        ("--no-cache-dir ", "", "DL3042"),
        ("COPY functions", "ADD functions", "DL3020"),
        ("USER 1654:1654", "USER root", "DL3002"),
        ("WORKDIR /home", "WORKDIR home", "DL3000"),
    ],
)
def test_hadolint_finds_what_is_planted(right: str, wrong: str, rule: str) -> None:
    assert right in TEXT
    assert rule in _lint(TEXT.replace(right, wrong, 1))


def test_the_image_is_microsofts_with_a_tag_of_its_own(tmp_path: Path) -> None:
    (image,) = _values("FROM", tmp_path)
    assert re.fullmatch(r"mcr\.microsoft\.com/azure-functions/python:4-python3\.\d\d(@sha256:[0-9a-f]{64})?", image)


def test_it_runs_as_a_number_that_is_not_root_on_a_port_that_anybody_may_open(tmp_path: Path) -> None:
    """By number, so that a cluster which demands it can see that it is not root."""
    steps = _steps(TEXT, tmp_path)
    users = [at for at, (name, _) in enumerate(steps) if name == "USER"]
    assert int(steps[users[-1]][1].split(":")[0]) > 0
    assert all(name in ("EXPOSE", "CMD") for name, _ in steps[users[-1] + 1 :])
    (port,) = _values("EXPOSE", tmp_path)
    assert int(port) >= 1024
    assert f"ASPNETCORE_URLS=http://+:{port} " in TEXT


def test_no_secret_and_no_setting_of_a_site_is_in_the_image() -> None:
    assert not re.search(r"LIFEBOAT_(?!ROLE\b)|KEY=|PASSWORD|CONNECTION", TEXT)


def _sent(path: str) -> bool:
    """Whether ``path`` goes to the builder; as Docker has it, the last line that fits it, or a folder above, counts."""
    above = PurePosixPath(path)
    places = [above.as_posix(), *(each.as_posix() for each in above.parents if each != PurePosixPath("."))]
    sent = True
    for line in IGNORE.splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!")
        fits = "".join(
            {"**/": "(?:.*/)?", "*": "[^/]*"}.get(part, re.escape(part)) for part in re.split(r"(\*\*/|\*)", pattern)
        )
        if any(re.fullmatch(fits, place) for place in places):
            sent = line.startswith("!")
    return sent


@pytest.mark.parametrize(
    "path",
    [
        ".git/config", ".venv/bin/python", "tests/conftest.py", "docs/guarantees.md", ".cache/x", "local.settings.json",
        "scripts/demo.py", "README.md", "shared/__pycache__/errors.cpython-311.pyc", "functions/x/__pycache__/y.pyc",
        ".env", "requirements-dev.txt", "infra/main.bicep", "Dockerfile", "key.pem", "shared/old.pyc",
    ],
)  # fmt: skip
def test_what_does_not_belong_into_the_image_is_not_even_sent(path: str) -> None:
    assert not _sent(path)


def _copied() -> Iterator[tuple[Path, str]]:
    """Source and place in the app's folder, of each file that the Dockerfile copies and that is sent."""
    for line in TEXT.splitlines():
        if not line.startswith("COPY "):
            continue
        *sources, target = line.split()[1:]
        for source in sources:
            found = ROOT / source
            assert found.exists(), f"COPY names {source}, which is not there"
            for file in found.rglob("*") if found.is_dir() else [found]:
                within = file.relative_to(ROOT).as_posix()
                if file.is_file() and target.startswith(".") and _sent(within):
                    yield file, within


def test_everything_that_is_sent_is_copied() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    sent = {path for path in tracked if path and _sent(path) and (ROOT / path).exists()}
    assert sent <= {within for _, within in _copied()}
    assert {"function_app.py", "host.json", "shared/agent/agent.ps1", "lifeboat.py"} <= sent


@pytest.mark.parametrize("role", ["backup", "keeper"])
def test_what_is_copied_is_all_that_the_app_and_the_command_line_import(role: str, tmp_path: Path) -> None:
    for file, within in _copied():
        (tmp_path / within).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, tmp_path / within)
    every = (
        "import importlib, pkgutil, function_app, lifeboat, functions, shared\n"
        "for package in (functions, shared):\n"
        "    for each in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        importlib.import_module(each.name)\n"
        "print(len(function_app.app.get_functions()), function_app.__file__)\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LIFEBOAT_", "PYTHON"))}
    done = subprocess.run(
        [sys.executable, "-c", every],
        cwd=tmp_path,
        env=environment | {"LIFEBOAT_ROLE": role},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    count, place = done.stdout.split()
    assert int(count) > 0
    assert Path(place).parent == tmp_path
