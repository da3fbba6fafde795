"""The whole way: a real Samba, the command line, a vault behind the backup app's rights, stock restic as the judge."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import lifeboat
from tests.conftest import Vault
from tests.standins.restic import ResticRepository, StockRestic, copy_container
from tests.standins.samba import PASSWORD as SHARE_PASSWORD
from tests.standins.samba import USERNAME, Samba

PASSWORD = "of the repository"
Json = dict[str, Any]
Serve = Callable[[str], Samba]


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


class Site:
    """A folder on a Samba's share, configured as the share of a vault."""

    def __init__(
        self,
        samba: Samba,
        name: str,
        vault: Vault,
        environment: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self.samba = samba
        self.name = name
        self.vault = vault
        self.folder = samba.root / name
        self.folder.mkdir()
        self.folder.chmod(0o777)
        self._environment = environment
        self._capsys = capsys
        for setting, value in vault.environment().items():
            environment.setenv(setting, value)
        self.set(REPOSITORY_PASSWORD=PASSWORD, SHARE_USERNAME=USERNAME, SHARE_PASSWORD=SHARE_PASSWORD)
        self.use_share("data")

    def use_share(self, share: str) -> None:
        self.set(SHARE_URL=self.samba.url(share, self.name))

    def set(self, **settings: str) -> None:
        for name, value in settings.items():
            self._environment.setenv(f"LIFEBOAT_{name}", value)

    def put(self, path: str, content: bytes) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file

    def run(self, *arguments: str) -> tuple[int, Json]:
        """One command: exit code and answer."""
        self._capsys.readouterr()
        code = lifeboat.main([*arguments, "--json"])
        captured = self._capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, json.loads(captured.out)

    def back_up(self, *arguments: str) -> Json:
        """A backup that is complete."""
        code, answer = self.run("backup", *arguments)
        assert (code, answer["status"]) == (0, "complete"), answer
        return answer

    def judged_by(self, judge: StockRestic, folder: Path) -> ResticRepository:
        """The repository, fetched with all rights into ``folder``."""
        with self.vault.judge() as store:
            return judge.on_folder(copy_container(store, folder), PASSWORD)


@pytest.fixture
def site_on(
    serve: Serve,
    vault: Vault,
    clean_environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> Callable[[str], Site]:
    number = abs(hash(request.node.nodeid)) % 10**9
    return lambda configuration: Site(serve(configuration), f"s{number}", vault, clean_environment, capsys)


@pytest.fixture
def site(site_on: Callable[[str], Site]) -> Site:
    """On the Samba that signs only."""
    return site_on("signing-only")


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every path below: a file's bytes, None for a folder."""
    return {
        path.relative_to(folder).as_posix(): None if path.is_dir() else path.read_bytes() for path in folder.rglob("*")
    }
