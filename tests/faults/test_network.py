"""The network between us, the vault and SQL Server: storms, names that do not resolve, TLS, tokens, broken lines."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit, urlunsplit

import pytest

from shared.databases import backup as backup_module
from shared.errors import StorageForbidden
from shared.recovery_point.backup import Backup
from shared.recovery_point.record import RecoveryPoint
from shared.recovery_point.restore import ShareRestoreRequest, restore_share
from shared.recovery_point.scope import BackupRequest
from shared.repository.checker import Checker
from shared.repository.repository import Repository
from shared.settings import Settings
from shared.storage.retrying import RetryingVersions
from tests.conftest import Vault, new_vault
from tests.faults.helpers import PASSWORD, change_share, contents, make_share, quick
from tests.integration.databases.conftest import HOSTING, Bench, rows
from tests.integration.databases.conftest import bench as bench
from tests.integration.databases.conftest import landing as landing
from tests.integration.databases.conftest import sql_server as sql_server
from tests.integration.databases.test_worst_moments import when
from tests.standins.azurite import Azurite
from tests.standins.certificate import Certificate
from tests.standins.faults import Call
from tests.standins.identity_endpoint import running_identity_endpoint
from tests.standins.tcp_faults import FaultyLine


@pytest.fixture
def share(tmp_path: Path) -> Path:
    return make_share(tmp_path / "source" / "site")


def _settings(vault: Vault, share: Path, url: str | None = None) -> dict[str, str]:
    return vault.environment() | {
        "LIFEBOAT_VAULT_URL": url or vault.url,
        "LIFEBOAT_SHARE_URL": share.as_uri(),
        "LIFEBOAT_REPOSITORY_PASSWORD": PASSWORD,
        "LIFEBOAT_LOCK_WAIT": "0s",
    }


def _back_up(settings: dict[str, str], waits: list[float] | None = None) -> RecoveryPoint:
    """A whole backup in this process; the waits between tries are noted and not waited."""
    impatient = partial(RetryingVersions, sleep=(waits if waits is not None else []).append)
    with quick(), patch("shared.storage.vault.RetryingVersions", impatient):
        return Backup(Settings.from_environment(settings), BackupRequest()).run()


def _restored(settings: dict[str, str], target: Path, waits: list[float] | None = None) -> dict[str, bytes]:
    impatient = partial(RetryingVersions, sleep=(waits if waits is not None else []).append)
    with patch("shared.storage.vault.RetryingVersions", impatient):
        result = restore_share(Settings.from_environment(settings), ShareRestoreRequest(to=str(target))).result
    assert result.status == "complete", result.reasons
    return contents(target)


def _findings(vault: Vault) -> list[str]:
    with vault.judge() as store:
        return [finding.object for finding in Checker(Repository.open(store, PASSWORD)).run(read_data=True)]


def _by(line: FaultyLine, url: str, host: str = "127.0.0.1") -> str:
    return urlunsplit(urlsplit(url)._replace(netloc=f"{host}:{line.port}"))


# --- 9: a storm of 429 and 503 with Retry-After ---


def test_a_storm_through_a_whole_backup_and_restore_is_sat_out_as_the_service_asks_fault_9(
    vault: Vault, share: Path, tmp_path: Path
) -> None:
    """Two of three calls are refused, all the time."""
    for number in range(1, 400, 3):
        vault.faults.add(f"answer the {number}th call with 503 ServerBusy and Retry-After 7")
        vault.faults.add(f"answer the {number + 1}th call with 429 TooManyRequests and Retry-After 7")
    waits: list[float] = []
    point = _back_up(_settings(vault, share), waits)
    assert point.status == "complete", point.reasons
    assert len(waits) > 40
    assert min(waits) >= 7
    assert _restored(_settings(vault, share), tmp_path / "back", waits) == contents(share)
    vault.faults.clear()
    assert _findings(vault) == []


# --- 10: names that do not resolve, TLS that fails ---


def test_a_name_that_does_not_resolve_for_a_while_costs_nothing_fault_10(
    vault: Vault, share: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = socket.getaddrinfo
    unresolved = [0]

    def fails(host: Any, *arguments: Any, **options: Any) -> Any:
        if host == "localhost" and unresolved[0]:
            unresolved[0] -= 1
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return look_up(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    with FaultyLine(vault.proxy.port) as line:

        def strike(call: Call) -> None:
            unresolved[0] = 3
            line.cut_all()

        vault.faults.call("before the 3rd put under share/data/", strike)
        waits: list[float] = []
        point = _back_up(_settings(vault, share, _by(line, vault.url, "localhost")), waits)
    assert point.status == "complete", point.reasons
    assert unresolved == [0]
    assert len(waits) >= 3
    assert _findings(vault) == []


def test_a_handshake_of_tls_that_breaks_is_begun_again_fault_10(
    azurite_https: Azurite, certificate: Certificate, share: Path, clean_environment: pytest.MonkeyPatch
) -> None:
    for name, value in certificate.environment().items():
        clean_environment.setenv(name, value)
    with new_vault(azurite_https) as vault, FaultyLine(vault.proxy.port) as line:
        line.add("reset the 1st connection after 300 bytes from the server")
        line.add("cut the 2nd connection after 100 bytes from the client")
        line.add("turn a bit of the 3rd connection after 700 bytes from the server")
        point = _back_up(_settings(vault, share, _by(line, vault.url)))
        assert point.status == "complete", point.reasons
        assert line.struck == 3
        assert _findings(vault) == []


# --- 11: the token expires ---


def test_tokens_that_expire_in_the_middle_of_a_run_are_renewed_fault_11(
    azurite_https: Azurite, certificate: Certificate, share: Path, tmp_path: Path, clean_environment: pytest.MonkeyPatch
) -> None:
    """A token is good for two seconds, the run takes longer, and the endpoint that makes them stumbles too."""
    for name, value in certificate.environment().items():
        clean_environment.setenv(name, value)
    with new_vault(azurite_https) as vault, running_identity_endpoint() as identity:
        identity.lifetime_seconds = 2
        for name, value in identity.environment().items():
            clean_environment.setenv(name, value)
        settings = _settings(vault, share) | {"LIFEBOAT_VAULT_KEY": ""}
        vault.faults.add("delay every put by 250 ms")

        def stumble(call: Call) -> None:
            identity.failures = 2

        vault.faults.call("before the 2nd put under share/data/", stumble)
        point = _back_up(settings)
        assert point.status == "complete", point.reasons
        assert identity.failures == 0
        assert len(identity.asked) > 2
        vault.faults.clear()
        assert _restored(settings, tmp_path / "back") == contents(share)
        assert _findings(vault) == []


@pytest.mark.parametrize("under", ["share/data/", "share/index/", "share/snapshots/", "recovery-points/points/"])
def test_a_token_that_is_not_taken_any_more_ends_the_run_with_its_name_and_the_next_completes_fault_11(
    vault: Vault, share: Path, tmp_path: Path, under: str
) -> None:
    settings = _settings(vault, share)
    _back_up(settings)
    before = contents(share)
    change_share(share, 1)
    vault.faults.add(f"answer every put under {under} with 401 InvalidAuthenticationInfo")
    if under == "recovery-points/points/":  # no record can be written
        with pytest.raises(StorageForbidden, match="InvalidAuthenticationInfo"):
            _back_up(settings)
    else:
        point = _back_up(settings)
        assert (point.status, [reason["code"] for reason in point.reasons]) == ("failed", ["storage-forbidden"])
    vault.faults.clear()
    assert _restored(settings, tmp_path / "back") == before
    assert _back_up(settings).status == "complete"
    assert _findings(vault) == []


# --- lines that break ---


@pytest.mark.parametrize(
    "sentence",
    [
        "cut the 1st to 8th connection after 6000 bytes from the client",
        "reset the 1st to 8th connection after 3000 bytes from the client",
        "reset the 1st to 6th connection after 900 bytes from the server",
        "refuse the 1st to 5th connection",
    ],
)
def test_connections_to_the_vault_that_break_all_the_time_cost_nothing_faults_3_and_4(
    vault: Vault, tmp_path: Path, sentence: str
) -> None:
    share = make_share(tmp_path / "source" / "site", large=False)
    with FaultyLine(vault.proxy.port) as line:
        line.add(sentence)
        point = _back_up(_settings(vault, share, _by(line, vault.url)))
        assert point.status == "complete", point.reasons
        assert line.struck > 0
    assert _findings(vault) == []
    assert _restored(_settings(vault, share), tmp_path / "back") == contents(share)


@pytest.fixture
def tds(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyLine]:
    """SQL Server is reached through it."""
    monkeypatch.setattr(backup_module, "FAILOVER_POLL_SECONDS", 0.1)
    with FaultyLine(bench.server.port) as line:
        bench.command.set(SQL_SERVER=f"127.0.0.1,{line.port}", SQL_DATABASES=HOSTING)
        yield line


@pytest.mark.parametrize("reset", [False, True], ids=["cut", "reset"])
def test_a_line_to_sql_server_that_breaks_in_the_middle_of_a_backup_has_it_begun_again_fault_26(
    bench: Bench, tds: FaultyLine, reset: bool
) -> None:
    bench.server.slow("BACKUP", 20, times=1)
    strike = when(bench, "BACKUP", partial(tds.cut_all, reset=reset))
    answer = bench.command("backup")
    strike.join()
    assert answer.status == "complete", answer.reasons
    notes = answer.json["components"]["databases"]["databases"][HOSTING]["notes"]
    assert any(note.startswith("begun again") for note in notes)
    assert bench.landed() == []
    bench.as_restorer()
    assert bench.command("restore", "databases", "--as", "_back").code == 0
    assert rows(bench.server, f"{HOSTING}_back") == rows(bench.server, HOSTING)


def test_a_line_to_sql_server_that_stalls_is_waited_for(bench: Bench, tds: FaultyLine) -> None:
    tds.add("stall every connection after 3000 bytes from the server for 0.5 s")
    answer = bench.command("backup")
    assert answer.status == "complete", answer.reasons
    assert tds.struck > 0
