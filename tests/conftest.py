"""Fixtures that every test may use, and the rule that nothing is skipped unsaid."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import settings

from shared.storage.azure_blobs import AzureBlobStore
from tests.examples import examples
from tests.standins import restic
from tests.standins.azurite import API_VERSION, KEY, Azurite, AzuriteMissing, running_azurite
from tests.standins.certificate import Certificate, make_certificate
from tests.standins.faults import Faults
from tests.standins.restic import ResticRepository, StockRestic
from tests.standins.rights_proxy import BACKUP_APP, ExistingName, Rights, RightsProxy, running_rights_proxy
from tests.standins.worm import Clock, Worm
from tests.standins.worm_http import WormService

CONTAINERS = ("share", "recovery-points", "databases")


@dataclass(frozen=True)
class Vault:
    """A vault of one test: an account of its own, with its containers made, behind the rights of the backup app."""

    account: str
    azurite: Azurite
    proxy: RightsProxy
    key: str = KEY
    api_version: str = API_VERSION
    containers: tuple[str, ...] = field(default=CONTAINERS)

    @property
    def url(self) -> str:
        """The way of the product: through the stand-in for the rights."""
        return self.proxy.url(self.account)

    @property
    def direct(self) -> str:
        """The way of judges: to the emulator itself, with all rights and without versions."""
        return self.azurite.url(self.account)

    @property
    def faults(self) -> Faults:
        return self.proxy.faults

    @contextlib.contextmanager
    def with_rights(self, rights: Rights) -> Iterator[Vault]:
        """The same account as another identity sees it, with faults of its own."""
        with running_rights_proxy(
            self.azurite, rights=rights, existing_name=self.proxy.existing_name, worm=self.proxy.worm
        ) as proxy:
            yield replace(self, proxy=proxy)

    def environment(self) -> dict[str, str]:
        """The settings of a command that uses this vault."""
        return {
            "LIFEBOAT_VAULT_URL": self.url,
            "LIFEBOAT_VAULT_KEY": self.key,
            "LIFEBOAT_STORAGE_API_VERSION": self.api_version,
        }

    def store(self, container: str = "share") -> AzureBlobStore:
        """The container with the rights of the backup app."""
        return self._open(self.url, container)

    def judge(self, container: str = "share") -> AzureBlobStore:
        """The container with all rights."""
        return self._open(self.direct, container)

    def seen_by(self, judge: StockRestic, password: str, container: str = "share") -> ResticRepository:
        """The repository in the container as a stock restic sees it, with all rights."""
        return judge.on_vault(self.direct, self.account, self.key, password, container)

    def _open(self, url: str, container: str) -> AzureBlobStore:
        return AzureBlobStore.open(url, container, account_key=self.key, credential=None, api_version=self.api_version)


@contextlib.contextmanager
def new_vault(
    azurite: Azurite,
    *,
    rights: Rights = BACKUP_APP,
    existing_name: ExistingName = "409 BlobAlreadyExists",
    containers: tuple[str, ...] = CONTAINERS,
    worm: Worm | None = None,
    clock: Clock = lambda: datetime.now(UTC),
) -> Iterator[Vault]:
    """For tests that need another vault than ``vault``: other rights, another answer, or containers missing; with
    ``worm`` one that keeps versions and holds immutability policies, whose dates pass by ``clock``."""
    service = WormService(azurite, worm, clock) if worm else None
    with running_rights_proxy(azurite, rights=rights, existing_name=existing_name, worm=service) as proxy:
        vault = Vault(azurite.new_account(), azurite, proxy, containers=containers)
        for container in containers:
            with vault.judge(container) as store:
                store.create_container_if_missing()
        yield vault


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """One emulator, plain http and account keys, for the whole run."""
    try:
        with running_azurite(tmp_path_factory.mktemp("azurite")) as running:
            yield running
    except AzuriteMissing as missing:
        pytest.fail(str(missing))


@pytest.fixture(scope="session")
def azurite_https(tmp_path_factory: pytest.TempPathFactory, certificate: Certificate) -> Iterator[Azurite]:
    """One emulator that speaks https and takes Entra ID tokens as well as keys."""
    try:
        with running_azurite(tmp_path_factory.mktemp("azurite-https"), certificate=certificate) as running:
            yield running
    except AzuriteMissing as missing:
        pytest.fail(str(missing))


@pytest.fixture
def vault(azurite: Azurite) -> Iterator[Vault]:
    with new_vault(azurite) as made:
        yield made


def _judges() -> Sequence[object]:
    found = [
        pytest.param(StockRestic(binary), id="restic-" + ".".join(map(str, restic.version_of(binary))))
        for binary in restic.installed()
    ]
    if not restic.NEWEST.exists():
        found.append(pytest.param(None, id="restic-0.19", marks=pytest.mark.skip(reason=restic.NEWEST_MISSING)))
    return found


@pytest.fixture(params=_judges())
def stock_restic(request: pytest.FixtureRequest) -> StockRestic:
    """Each stock restic of this machine in turn."""
    judge: StockRestic = request.param
    return judge


@pytest.fixture(scope="session")
def newest_restic() -> StockRestic:
    """The strictest judge that is here: the highest version."""
    found = restic.installed()
    if not found:
        pytest.fail("stock restic is not installed: run scripts/setup.sh test")
    return StockRestic(max(found, key=restic.version_of))


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No setting of Lifeboat, and nothing of an identity, is left from outside."""
    for name in list(os.environ):
        if name.startswith(("LIFEBOAT_", "AZURE_", "IDENTITY_", "MSI_")):
            monkeypatch.delenv(name)
    return monkeypatch


ALLOWED_SKIPS = Path(__file__).with_name("allowed_skips.txt")


def pytest_configure(config: pytest.Config) -> None:
    settings.register_profile("lifeboat", examples(100))
    settings.load_profile("lifeboat")
    config.pluginmanager.register(_NoSilentSkips(), "no-silent-skips")


class _NoSilentSkips:
    """Fails the run when a test is skipped for a reason that ``allowed_skips.txt`` does not hold."""

    def __init__(self) -> None:
        lines = ALLOWED_SKIPS.read_text().splitlines()
        self._allowed = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        self._unsaid: list[str] = []

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not any(allowed in reason for allowed in self._allowed):
            self._unsaid.append(f"{report.nodeid}: {reason}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._unsaid:
            terminalreporter.section("skipped, and not on tests/allowed_skips.txt", red=True)
            for line in self._unsaid:
                terminalreporter.write_line(line)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._unsaid and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
