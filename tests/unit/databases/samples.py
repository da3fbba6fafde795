"""A sample of every statement that Lifeboat can send to SQL Server, with the versions that it is meant for.

``python -m tests.unit.databases.samples FOLDER`` writes them as files, one folder for each version, for Microsoft's
parser: ``tsqlparse --server 2016 FOLDER/2016/*.sql``. Parameters (``?``) are written ``@a``, ``@b`` there.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from string import ascii_lowercase
from types import ModuleType

import orjson

from shared.databases import grants, logins, statements
from shared.databases.statements import BackupType, Devices

EVERY_VERSION = ("2012", "2014", "2016", "2017", "2019", "2022", "2025")
WITH_URL = EVERY_VERSION[2:]
"""The first that writes block blobs by a SAS is SQL Server 2016."""

HARD_NAME = "it's a ]['\"--/* naïve 日本語 😀"
"""A name with everything that could end a quote early."""
SAS = "sv=2025-11-05&sr=c&sp=rwdl&sig=abc%2Bdef%3D"
CONTAINER = "https://account.blob.local.azurestack.external/lifeboat-20261125t130000z-0a1b2c"

DISK = Devices("DISK", ("\\\\server\\share\\it's ü\\x.bak",))
URL = Devices("URL", (f"{CONTAINER}/x.bak",))
BEHIND = Devices("DISK", ("\\\\server\\share\\all of them.bak",), position=7, has_checksums=False)
"""A backup that somebody else has appended to a file, without checksums."""
DISK_STRIPES = Devices("DISK", tuple(f"\\\\server\\share\\x-{number}.bak" for number in range(64)))
URL_STRIPES = Devices("URL", tuple(f"{CONTAINER}/x-{number}.bak" for number in range(64)))


@dataclass(frozen=True)
class Sample:
    name: str
    """The function or constant, a colon, and which case of it."""
    versions: tuple[str, ...]
    statement: str

    @property
    def of(self) -> str:
        return self.name.partition(":")[0]

    @property
    def for_parser(self) -> str:
        """With named variables in the place of parameters, which only a driver knows."""
        parts = self.statement.split("?")
        marks = [f"@{letter}" for letter in ascii_lowercase[: len(parts) - 1]]
        return parts[0] + "".join(mark + part for mark, part in zip(marks, parts[1:], strict=True))


def samples() -> list[Sample]:
    return [
        *_backups(),
        *_media(),
        *_restores(),
        *_others(),
        *(Sample(name, EVERY_VERSION, text) for name, text in constants().items()),
        *_grants(),
        *_logins(),
    ]


def constants() -> dict[str, str]:
    """Every statement of ``statements`` that is a constant."""
    return {
        name: value
        for name, value in vars(statements).items()
        if name.isupper() and isinstance(value, str) and not name.startswith("_")
    }


def functions(module: ModuleType) -> set[str]:
    """The names of the public functions that ``module`` defines."""
    return {
        name
        for name, value in inspect.getmembers(module, inspect.isfunction)
        if value.__module__ == module.__name__ and not name.startswith("_")
    }


def _on_both(name: str, write: Callable[[Devices], str]) -> Iterator[Sample]:
    yield Sample(f"{name}: disk", EVERY_VERSION, write(DISK))
    yield Sample(f"{name}: 64 files", EVERY_VERSION, write(DISK_STRIPES))
    yield Sample(f"{name}: behind others", EVERY_VERSION, write(BEHIND))
    yield Sample(f"{name}: url", WITH_URL, write(URL))
    yield Sample(f"{name}: 64 urls", WITH_URL, write(URL_STRIPES))


def _backups() -> Iterator[Sample]:
    for kind in BackupType:
        for copy_only in (False, True):
            if kind is BackupType.DIFFERENTIAL and copy_only:
                continue  # SQL Server ignores COPY_ONLY there, and Lifeboat never asks for it
            for compression in (None, False, True):

                def write(
                    to: Devices,
                    kind: BackupType = kind,
                    copy_only: bool = copy_only,
                    compression: bool | None = compression,
                ) -> str:
                    return statements.backup(
                        kind, HARD_NAME, to, name=f"lifeboat {HARD_NAME}", copy_only=copy_only, compression=compression
                    )

                case = f"{kind}, {'COPY_ONLY, ' if copy_only else ''}compression {compression}"
                yield from _on_both(f"backup: {case}", write)


def _media() -> Iterator[Sample]:
    for function in (statements.verify_only, statements.header_only, statements.file_list_only):
        yield from _on_both(function.__name__, function)


def _restores() -> Iterator[Sample]:
    move = {"data ]'": "D:\\data\\it's.mdf", "log": "/var/opt/mssql/data/x.ldf"}
    yield from _on_both(
        "restore_database: a full",
        lambda devices: statements.restore_database(HARD_NAME, devices, move=move, replace=True),
    )
    yield from _on_both(
        "restore_database: a full beside",
        lambda devices: statements.restore_database(HARD_NAME, devices, move=move, replace=False),
    )
    yield from _on_both(
        "restore_database: a differential",
        lambda devices: statements.restore_database(HARD_NAME, devices, move={}, replace=False),
    )
    yield from _on_both(
        "in_one_batch: alone, and restored",
        lambda devices: statements.in_one_batch(
            statements.single_user(HARD_NAME),
            statements.restore_database(HARD_NAME, devices, move=move, replace=True),
        ),
    )
    yield from _on_both(
        "in_one_batch: alone, and the tail of the log",
        lambda devices: statements.in_one_batch(
            statements.single_user(HARD_NAME),
            statements.backup(
                BackupType.LOG,
                HARD_NAME,
                devices,
                name="lifeboat tail",
                copy_only=True,
                compression=None,
                then_restoring=True,
            ),
        ),
    )
    moment = datetime(2026, 11, 25, 13, 0, 0, 123456)
    for stop_at in (None, moment):
        yield from _on_both(
            f"restore_log: {'to a moment' if stop_at else 'whole'}",
            lambda devices, stop_at=stop_at: statements.restore_log(  # type: ignore[misc]
                HARD_NAME, devices, stop_at=stop_at, recovery=stop_at is not None
            ),
        )


def _others() -> Iterator[Sample]:
    on_a_database: Sequence[Callable[[str], str]] = (
        statements.recover,
        statements.single_user,
        statements.multi_user,
        statements.check_database,
        statements.drop_database,
        statements.sql_users,
    )
    for function in on_a_database:
        yield Sample(function.__name__, EVERY_VERSION, function(HARD_NAME))
    yield Sample("create_credential", WITH_URL, statements.create_credential(CONTAINER, SAS))
    yield Sample("alter_credential", WITH_URL, statements.alter_credential(CONTAINER, SAS))
    yield Sample("drop_credential", WITH_URL, statements.drop_credential(CONTAINER))


def _grants() -> Iterator[Sample]:
    databases = ("appservice_hosting", HARD_NAME, "master")
    scripts: dict[str, Callable[[str], list[str]]] = {
        "backup_grants": lambda mode: grants.backup_grants(HARD_NAME, databases, mode=mode),
        "restore_grants": lambda mode: grants.restore_grants(HARD_NAME, databases, mode=mode),
        "drill_grants": lambda mode: grants.drill_grants(HARD_NAME, mode=mode),
    }
    for landing in (False, True):
        adopt = grants.backup_grants(HARD_NAME, databases, mode="adopt", landing=landing)
        for number, line in enumerate(adopt, 1):
            yield Sample(f"backup_grants: adopt {landing} {number:02}", EVERY_VERSION, line)
    for name, write in scripts.items():
        for mode, versions in (("disk", EVERY_VERSION), ("url", WITH_URL)):
            for number, line in enumerate(write(mode), 1):
                yield Sample(f"{name}: {mode} {number:02}", versions, line)
    for line in grants.login_grants(HARD_NAME):
        yield Sample("login_grants", ("2022", "2025"), line)


def _logins() -> Iterator[Sample]:
    document = orjson.dumps(
        {
            "version": 1,
            "logins": [
                {
                    "name": name,
                    "sid": "0A1B",
                    "password_hash": "0200FF",
                    "is_policy_checked": plain,
                    "is_expiration_checked": plain,
                    "is_disabled": not plain,
                    "default_database_name": "master" if plain else None,
                }
                for name, plain in (("plain", True), (HARD_NAME, False))
            ],
        }
    )
    for number, line in enumerate(logins.create_statements(document), 1):
        yield Sample(f"create_statements: {number}", EVERY_VERSION, line)


def write_files(folder: Path) -> None:
    """A folder for each version, and in it a file for each sample that is meant for that version."""
    for version in EVERY_VERSION:
        (folder / version).mkdir(parents=True, exist_ok=True)
    for number, sample in enumerate(samples()):
        name = "".join(letter if letter.isalnum() else "-" for letter in sample.name)
        for version in sample.versions:
            (folder / version / f"{number:03}-{name}.sql").write_text(sample.for_parser + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_files(Path(sys.argv[1]))
