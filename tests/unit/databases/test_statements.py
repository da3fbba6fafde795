"""What is sent to SQL Server, as text; each statement before Microsoft's own parser and Microsoft's own views."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

import shared
from shared.databases import grants, logins, statements
from shared.databases.statements import BackupType, Devices
from shared.errors import UsageError
from tests.unit.databases.lexer import tokens
from tests.unit.databases.samples import (
    EVERY_VERSION,
    HARD_NAME,
    WITH_URL,
    Sample,
    constants,
    functions,
    samples,
    write_files,
)
from tests.unit.databases.views import NotThere, require_known, require_permission

PARSER_MISSING = "tsqlparse, Microsoft's parser of T-SQL, is not on the PATH"
parser = shutil.which("tsqlparse")
needs_the_parser = pytest.mark.skipif(parser is None, reason=PARSER_MISSING)

DISK = Devices("DISK", ("\\\\srv\\b\\it's.bak",))
URL = Devices("URL", ("https://a.blob.x/run/1.bak", "https://a.blob.x/run/2.bak"))
ON_DISK = r"DISK = N'\\srv\b\it''s.bak'"
AT_URLS = "URL = N'https://a.blob.x/run/1.bak', URL = N'https://a.blob.x/run/2.bak'"
NAME = "a]b'c 日本"
QUOTED = "[a]]b'c 日本]"


# --- their texts ---


@pytest.mark.parametrize(
    ("kind", "copy_only", "compression", "expected"),
    [
        (BackupType.FULL, True, True, "DATABASE {} TO {} WITH COPY_ONLY, INIT, FORMAT, CHECKSUM, COMPRESSION, {}"),
        (BackupType.FULL, False, False, "DATABASE {} TO {} WITH INIT, FORMAT, CHECKSUM, NO_COMPRESSION, {}"),
        (BackupType.DIFFERENTIAL, False, None, "DATABASE {} TO {} WITH DIFFERENTIAL, INIT, FORMAT, CHECKSUM, {}"),
        (BackupType.LOG, False, None, "LOG {} TO {} WITH INIT, FORMAT, CHECKSUM, {}"),
        (BackupType.LOG, True, None, "LOG {} TO {} WITH COPY_ONLY, INIT, FORMAT, CHECKSUM, {}"),
    ],
)
def test_a_backup_to_disk(kind: BackupType, copy_only: bool, compression: bool | None, expected: str) -> None:
    text = statements.backup(kind, NAME, DISK, name="it's me", copy_only=copy_only, compression=compression)

    assert text == "BACKUP " + expected.format(QUOTED, ON_DISK, "NAME = N'it''s me', STATS = 5")


@pytest.mark.parametrize(
    ("kind", "copy_only", "compression", "expected"),
    [
        (BackupType.FULL, True, True, "DATABASE {} TO {} WITH COPY_ONLY, CHECKSUM, COMPRESSION, {}"),
        (BackupType.DIFFERENTIAL, False, False, "DATABASE {} TO {} WITH DIFFERENTIAL, CHECKSUM, NO_COMPRESSION, {}"),
        (BackupType.LOG, False, True, "LOG {} TO {} WITH CHECKSUM, COMPRESSION, {}"),
    ],
)
def test_a_backup_to_urls(kind: BackupType, copy_only: bool, compression: bool | None, expected: str) -> None:
    """Large blocks, since a blob has 50,000 of them at most; neither INIT nor FORMAT: the names are new."""
    text = statements.backup(kind, NAME, URL, name="n", copy_only=copy_only, compression=compression)

    options = "MAXTRANSFERSIZE = 4194304, BLOCKSIZE = 65536, NAME = N'n', STATS = 5"
    assert text == "BACKUP " + expected.format(QUOTED, AT_URLS, options)


def test_looking_at_media() -> None:
    assert statements.verify_only(URL) == f"RESTORE VERIFYONLY FROM {AT_URLS} WITH CHECKSUM, STATS = 5"
    assert statements.header_only(DISK) == f"RESTORE HEADERONLY FROM {ON_DISK}"
    assert statements.file_list_only(DISK) == f"RESTORE FILELISTONLY FROM {ON_DISK}"


def test_a_backup_behind_others_is_read_by_its_place_and_one_without_checksums_without_them() -> None:
    third = replace(DISK, position=3)
    assert statements.header_only(third) == f"RESTORE HEADERONLY FROM {ON_DISK}"
    assert statements.file_list_only(third) == f"RESTORE FILELISTONLY FROM {ON_DISK} WITH FILE = 3"
    assert statements.verify_only(third) == f"RESTORE VERIFYONLY FROM {ON_DISK} WITH FILE = 3, CHECKSUM, STATS = 5"
    plain = replace(third, has_checksums=False)
    assert statements.verify_only(plain) == f"RESTORE VERIFYONLY FROM {ON_DISK} WITH FILE = 3, STATS = 5"
    restore = statements.restore_database(NAME, plain, move={}, replace=False)
    assert restore.endswith(" WITH NORECOVERY, FILE = 3, STATS = 5")
    assert statements.restore_log(NAME, plain, stop_at=None).endswith(" WITH NORECOVERY, FILE = 3, STATS = 5")


def test_credentials() -> None:
    """No trailing slash is added, no question mark: the container's URL is the name, and the secret the bare token."""
    url, token = "https://a.blob.x/c]", "sv=1&sig=a'b"

    assert statements.create_credential(url, token) == (
        "CREATE CREDENTIAL [https://a.blob.x/c]]] WITH IDENTITY = 'SHARED ACCESS SIGNATURE', SECRET = N'sv=1&sig=a''b'"
    )
    assert statements.alter_credential(url, token) == (
        "ALTER CREDENTIAL [https://a.blob.x/c]]] WITH IDENTITY = 'SHARED ACCESS SIGNATURE', SECRET = N'sv=1&sig=a''b'"
    )
    assert statements.drop_credential(url) == "DROP CREDENTIAL [https://a.blob.x/c]]]"


def test_a_full_is_restored_with_its_files_moved_and_without_recovery() -> None:
    text = statements.restore_database(NAME, DISK, move={"d'1": "D:\\x.mdf", "log": "L:\\x.ldf"}, replace=True)

    assert text == (
        f"RESTORE DATABASE {QUOTED} FROM {ON_DISK} WITH MOVE N'd''1' TO N'D:\\x.mdf', MOVE N'log' TO N'L:\\x.ldf', "
        "REPLACE, NORECOVERY, CHECKSUM, STATS = 5"
    )


def test_beside_what_is_there_nothing_is_replaced() -> None:
    beside = statements.restore_database(NAME, URL, move={}, replace=False)

    assert beside == f"RESTORE DATABASE {QUOTED} FROM {AT_URLS} WITH NORECOVERY, CHECKSUM, STATS = 5"


def test_alone_with_the_database_and_its_tail_in_one_batch() -> None:
    tail = statements.backup(
        BackupType.LOG, NAME, DISK, name="n", copy_only=True, compression=None, then_restoring=True
    )

    assert statements.in_one_batch(statements.single_user(NAME), tail) == (
        f"ALTER DATABASE {QUOTED} SET SINGLE_USER WITH ROLLBACK IMMEDIATE; BACKUP LOG {QUOTED} TO {ON_DISK} WITH "
        "COPY_ONLY, NORECOVERY, INIT, FORMAT, CHECKSUM, NAME = N'n', STATS = 5"
    )


def test_the_last_log_to_a_moment_brings_the_database_up_itself() -> None:
    text = statements.restore_log(NAME, DISK, stop_at=datetime(2026, 11, 25, 13), recovery=True)

    assert text == (
        f"RESTORE LOG {QUOTED} FROM {ON_DISK} WITH STOPAT = N'2026-11-25T13:00:00.000', RECOVERY, CHECKSUM, STATS = 5"
    )


def test_a_log_is_restored_to_its_end_or_to_a_moment_in_milliseconds() -> None:
    whole = statements.restore_log(NAME, DISK, stop_at=None)
    part = statements.restore_log(NAME, DISK, stop_at=datetime(2026, 1, 2, 3, 4, 5, 67_999))

    assert whole == f"RESTORE LOG {QUOTED} FROM {ON_DISK} WITH NORECOVERY, CHECKSUM, STATS = 5"
    assert part == (
        f"RESTORE LOG {QUOTED} FROM {ON_DISK} WITH STOPAT = N'2026-01-02T03:04:05.067', NORECOVERY, CHECKSUM, STATS = 5"
    )


def test_what_is_done_to_a_database() -> None:
    assert statements.recover(NAME) == f"RESTORE DATABASE {QUOTED} WITH RECOVERY"
    assert statements.single_user(NAME) == f"ALTER DATABASE {QUOTED} SET SINGLE_USER WITH ROLLBACK IMMEDIATE"
    assert statements.multi_user(NAME) == f"ALTER DATABASE {QUOTED} SET MULTI_USER"
    assert statements.check_database(NAME) == "DBCC CHECKDB (N'a]b''c 日本') WITH NO_INFOMSGS, ALL_ERRORMSGS"
    assert statements.drop_database(NAME) == f"DROP DATABASE {QUOTED}"


@pytest.mark.parametrize("count", [0, 65])
def test_a_backup_has_1_to_64_devices(count: int) -> None:
    with pytest.raises(UsageError):
        Devices("URL", tuple(f"https://a/{number}" for number in range(count)))


def test_the_name_of_a_device_has_259_characters_at_most() -> None:
    Devices("DISK", ("x" * 259,))
    with pytest.raises(UsageError) as caught:
        Devices("DISK", ("\\\\srv\\b\\" + "x" * 252,))

    assert caught.value.setting == "LIFEBOAT_SQL_DISK_PATH"


# --- all of them ---


def test_no_quote_of_a_statement_is_left_open() -> None:
    """Else a comment would begin where none is meant, or the lexer find no end."""
    for sample in samples():
        assert "comment" not in {token.kind for token in tokens(sample.statement)}


def test_every_statement_has_a_sample() -> None:
    """A new function of these modules is held against the parser by being added to ``samples``."""
    sampled = {sample.of for sample in samples()}
    wanted = functions(statements) | set(constants()) | (functions(logins) - {"read_logins"})
    wanted |= functions(grants) - {"server_permissions", "restore_permissions"}

    assert wanted == sampled


def test_the_names_of_samples_are_different() -> None:
    names = [sample.name for sample in samples()]

    assert sorted(set(names)) == sorted(names)


def test_statements_with_a_url_are_for_2016_and_later() -> None:
    for sample in samples():
        if "URL = " in sample.statement or "CREDENTIAL [" in sample.statement:
            assert sample.versions == WITH_URL


def test_only_these_modules_write_t_sql() -> None:
    """So nothing reaches a server past ``tsql`` and this page."""
    begins = re.compile(r"\s*(SELECT|BACKUP|RESTORE|ALTER|CREATE|DROP|GRANT|DBCC|EXEC|USE|KILL|INSERT|UPDATE) \S")
    found = set()
    package = Path(shared.__file__).parent
    for path in (*package.glob("databases/*.py"), *package.glob("recovery_point/*.py")):
        for text in _texts(ast.parse(path.read_text(encoding="utf-8"))):
            if begins.match(text) and text not in ("BACKUP DATABASE", "BACKUP LOG"):
                found.add(path.relative_to(package).as_posix())

    assert found == {"databases/statements.py", "databases/grants.py", "databases/logins.py"}


def _texts(tree: ast.Module) -> Iterator[str]:
    """Every text of a module that is no comment on something."""
    comments = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in comments:
            yield node.value


# --- before Microsoft's parser ---


def _parse(version: str, files: list[Path]) -> tuple[int, str]:
    done = subprocess.run(
        [str(parser), "--server", version, *map(str, files)],
        env={**os.environ, "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, "\n".join(line for line in done.stdout.splitlines() if "error" in line) + done.stderr


@needs_the_parser
@pytest.mark.parametrize("version", EVERY_VERSION)
def test_microsofts_parser_takes_every_statement_of_the_versions_it_is_meant_for(tmp_path: Path, version: str) -> None:
    write_files(tmp_path)
    files = sorted((tmp_path / version).iterdir())
    assert len(files) == sum(version in sample.versions for sample in samples())

    assert _parse(version, files) == (0, "")


@needs_the_parser
def test_microsofts_parser_refuses_what_is_misspelt(tmp_path: Path) -> None:
    (tmp_path / "wrong.sql").write_text(statements.header_only(DISK).replace("HEADERONLY", "HEADER_ONLY"))
    code, told = _parse("2016", [tmp_path / "wrong.sql"])

    assert code == 1
    assert "wrong.sql" in told


# --- before Microsoft's views ---


@pytest.mark.parametrize("constant", constants())
def test_every_column_that_is_read_is_there_in_the_oldest_version(constant: str) -> None:
    (sample,) = [each for each in samples() if each.name == constant]
    assert sample.statement.startswith("SELECT ")

    require_known(sample.for_parser, min(map(int, sample.versions)))


@pytest.mark.parametrize(
    ("constant", "right", "wrong"),
    [
        ("DATABASES", "d.user_access_desc", "d.user_acess_desc"),
        ("DATABASES", "r.family_guid", "d.family_guid"),
        ("FILES", "differential_base_guid", "differential_base_uid"),
        ("FREE_SPACE", "v.available_bytes", "v.free_bytes"),
        ("FREE_SPACE", "f.file_id", "f.fileid"),
        ("FREE_SPACE", "dm_os_volume_stats", "dm_os_volumes"),
        ("BACKUP_SET", "msdb.dbo.backupset", "dbo.backupset"),
        ("BACKUP_SET", "s.backup_set_id DESC", "s.backup_id DESC"),
        ("RUNNING", "sys.dm_exec_requests", "sys.dm_exec_request"),
        ("SERVER", "'InstanceDefaultDataPath'", "'DefaultDataPath'"),
        ("SERVER", "'InstanceDefaultDataPath'", "'InstanceDefaultBackupPath'"),
        ("SERVER_PERMISSION", "HAS_PERMS_BY_NAME", "HAS_PERM_BY_NAME"),
        ("LOGINS", "default_database_name", "default_database"),
    ],
)
def test_a_column_that_is_misspelt_or_newer_is_found(constant: str, right: str, wrong: str) -> None:
    text = Sample(constant, EVERY_VERSION, constants()[constant]).for_parser
    assert right in text
    with pytest.raises(NotThere):
        require_known(text.replace(right, wrong), 2014)


def test_a_column_of_a_later_version_is_found_to_be_missing_before() -> None:
    require_known("SELECT is_query_store_on FROM sys.databases", 2016)
    with pytest.raises(NotThere):
        require_known("SELECT is_query_store_on FROM sys.databases", 2014)


@pytest.mark.parametrize("permission", sorted({*grants.server_permissions("url"), *grants.restore_permissions("url")}))
def test_the_permissions_that_are_asked_for_exist_in_the_oldest_version(permission: str) -> None:
    require_permission("SERVER", permission, 2012)


def test_password_hashes_have_a_permission_of_their_own_from_2022_on() -> None:
    require_permission("SERVER", grants.PASSWORD_HASH_PERMISSION, 2022)
    with pytest.raises(NotThere):
        require_permission("SERVER", grants.PASSWORD_HASH_PERMISSION, 2019)


def test_the_tables_of_msdb_that_are_granted_are_those_that_are_read() -> None:
    read = {table for text in constants().values() for table in re.findall(r"msdb\.dbo\.(\w+)", text)}

    assert read <= set(grants.MSDB_TABLES)


def test_a_hard_name_is_one_name_in_every_statement_that_takes_it() -> None:
    for sample in samples():
        if sample.of in {"recover", "single_user", "multi_user", "drop_database", "backup", "restore_database"}:
            assert ("name", HARD_NAME) in {(token.kind, token.value) for token in tokens(sample.statement)}
