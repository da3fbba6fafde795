"""The sample app under the Durable host stand-in, in this process and in processes of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.standins.durable import DurableHost

SAMPLE = Path(__file__).parent / "sample"


class Marks:
    """The folder through which a test and the sample's activities talk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def began(self, name: str, times: int = 1) -> bool:
        file = self.folder / f"began-{name}"
        return file.exists() and len(file.read_text().splitlines()) >= times

    def go(self, name: str) -> None:
        (self.folder / f"go-{name}").touch()


@pytest.fixture
def marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Marks:
    marks = Marks(tmp_path / "marks")
    monkeypatch.setenv("MARKS", str(marks.folder))
    monkeypatch.setenv("SCHEDULE", "0 0 2 * * *")
    return marks


@pytest.fixture
def host(marks: Marks, tmp_path: Path) -> Iterator[DurableHost]:
    with DurableHost(SAMPLE, tmp_path / "hub") as host:
        yield host


@pytest.fixture
def open_host(marks: Marks, tmp_path: Path) -> Iterator[Callable[..., DurableHost]]:
    """Opens a host with processes; several in turn use one task hub."""
    with ExitStack() as stack:

        def open_(**options: Any) -> DurableHost:
            environment = dict(os.environ)
            return stack.enter_context(
                DurableHost(SAMPLE, tmp_path / "hub", processes=True, environment=environment, **options)
            )

        yield open_
