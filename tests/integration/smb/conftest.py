"""Sambas, one for each configuration and test session, and clients of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from shared.smb.client import SmbClient
from shared.smb.endpoint import SmbEndpoint
from tests.standins.samba import PASSWORD, USERNAME, Samba

Serve = Callable[..., Samba]


@pytest.fixture(scope="session")
def serve() -> Iterator[Serve]:
    """The running Samba of a configuration; launched when first asked for."""
    running: dict[str, Samba] = {}
    with ExitStack() as stack:

        def get(configuration: str) -> Samba:
            if configuration not in running:
                running[configuration] = stack.enter_context(Samba(configuration))
            return running[configuration]

        yield get


class Place:
    """A folder of its own in a Samba's share, and how to reach it."""

    def __init__(self, samba: Samba, name: str) -> None:
        self.samba = samba
        self.name = name
        self.folder = samba.root / name
        self.folder.mkdir()
        self.folder.chmod(0o777)

    def endpoint(self, share: str = "data", *, port: int | None = None, path: str | None = None) -> SmbEndpoint:
        inside = self.name if path is None else path
        url = f"smb://127.0.0.1:{port or self.samba.port}/{share}/{inside}"
        return SmbEndpoint.parse(url, USERNAME, PASSWORD)

    def client(self, share: str = "data", *, port: int | None = None, **options: Any) -> SmbClient:
        return SmbClient(self.endpoint(share, port=port), **options)

    def put(self, path: str, content: bytes) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file


@pytest.fixture
def place(serve: Serve, request: pytest.FixtureRequest) -> Place:
    """A place on the Samba that signs only."""
    return Place(serve("signing-only"), _folder_name(request))


@pytest.fixture
def place_on(serve: Serve, request: pytest.FixtureRequest) -> Callable[[str], Place]:
    return lambda configuration: Place(serve(configuration), _folder_name(request))


def _folder_name(request: pytest.FixtureRequest) -> str:
    return "t" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]
