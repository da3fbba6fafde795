"""SQL Server's own way to where it is to write, as preflight shows it, and what is left of looking: nothing.

The server is the stand-in, reached through Microsoft's driver; the landing account is Azurite behind the rights that
``landing`` has, the folder of mode ``disk`` is Samba.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.preflight import servers_way
from shared.preflight.check import CLEAN_UP, FAIL
from tests.integration.commandline.conftest import lifeboat_in
from tests.integration.databases.conftest import (
    Bench,
    bench,
    by_identity,
    landing,
    sql_server,
)
from tests.integration.databases.test_disk import disk, samba
from tests.integration.preflight.conftest import databases_table as look
from tests.standins.azurite import Azurite
from tests.standins.certificate import Certificate
from tests.standins.samba import Samba

__all__ = ["bench", "disk", "landing", "lifeboat_in", "samba", "sql_server"]


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (3201, "Cannot open backup device. Operating system error 86(The specified network password is not correct.)."),
        (3201, "Cannot open backup device. Operating system error 50(The request is not supported.)."),
        (3271, "A nonrecoverable I/O error occurred on file: Error accessing remote storage, connection timed out."),
    ],
)
def test_a_server_that_gets_no_further_than_the_landing_account_names_port_host_and_kind_of_sas(
    bench: Bench, number: int, told: str
) -> None:
    bench.server.fail_next("BACKUP DATABASE", number, told, times=5)
    cause = look().cause
    assert (cause.name, cause.setting) == ("server-to-landing", "LIFEBOAT_LANDING_URL")
    assert told in cause.detail
    assert f"127.0.0.1 by TCP {bench.landing.url.split(':')[2].split('/')[0]}" in cause.remedy
    assert "a SAS of kind account-key" in cause.remedy
    assert "LIFEBOAT_SQL_SAS" in cause.remedy
    assert "clock" in cause.remedy
    assert bench.landed() == []
    assert len(bench.sent("CREATE CREDENTIAL")) == len(bench.sent("DROP CREDENTIAL")) == 1


def test_a_backup_that_can_be_written_and_not_read_back(bench: Bench) -> None:
    bench.server.fail_next("RESTORE VERIFYONLY", 3201, "Cannot open backup device. Operating system error 5.", times=5)
    cause = look().cause
    assert cause.name == "server-to-landing"
    assert "RESTORE VERIFYONLY failed" in cause.detail
    assert bench.landed() == []


def test_a_user_delegation_sas_is_the_kind_that_is_tried_where_there_is_no_key(
    azurite_https: Azurite,
    certificate: Certificate,
    clean_environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    with by_identity(azurite_https, certificate, clean_environment, capsys, tmp_path) as bench:
        seen = look()
        (credential,) = [text for text in bench.server.statements if text.startswith("CREATE CREDENTIAL")]
    assert seen.named(FAIL) == set()
    assert {"landing-tls", "landing-to-vault", "server-to-landing"} <= seen.passed
    assert "SAS of kind user-delegation" in seen["server-to-landing"].detail
    assert "skoid=" in credential, "signed by a user delegation key"
    assert "the secret sql-password" in seen["password"].detail


def test_a_backup_without_an_answer_in_time_is_given_up_and_cleared_away(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check is over long before the statement; closing ends both."""
    monkeypatch.setattr(servers_way, "LIMIT_SECONDS", 2.0)
    bench.server.slow("BACKUP DATABASE", 60)
    seen = look()
    assert "no answer within" in seen.cause.detail
    assert "sys.dm_exec_requests" in seen.cause.remedy
    assert CLEAN_UP not in seen.warned
    assert bench.landed() == []
    assert len(bench.sent("CREATE CREDENTIAL")) == len(bench.sent("DROP CREDENTIAL")) == 1


def test_what_is_not_cleared_away_by_the_end_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers_way, "LIMIT_SECONDS", 2.0)
    monkeypatch.setattr(servers_way, "END_SECONDS", 0.0)
    bench.server.slow("BACKUP DATABASE", 60)
    row = look()[CLEAN_UP]
    assert "has not ended the small backup of master" in row.detail
    assert "lifeboat-" in row.remedy
    _until(lambda: bench.landed() == [] and bool(bench.sent("DROP CREDENTIAL")))


def _until(true: Callable[[], bool]) -> None:
    """Whoever waits here for ever is ended by the limit of the test run."""
    pause = threading.Event()
    while not true():
        pause.wait(0.1)


def test_the_folder_of_mode_disk_names_the_path_and_the_account_that_writes(disk: Bench, samba: Samba) -> None:
    assert "disk-list" in look().passed
    disk.server.fail_next("BACKUP DATABASE", 3201, "Cannot open backup device. Operating system error 5.", times=5)
    cause = look().cause
    assert (cause.name, cause.setting) == ("server-to-disk", "LIFEBOAT_SQL_DISK_PATH")
    assert "TCP 445, as the account of its service" in cause.remedy
    assert list((samba.root / "sql").iterdir()) == []
