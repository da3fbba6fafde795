"""Rows of RESTORE HEADERONLY and FILELISTONLY, with the columns that a version of SQL Server returns."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from tests.unit.databases.views import VIEWS

Row = dict[str, Any]
LSN = Decimal("1234567890123456789012345")
"""All 25 digits that numeric(25,0) has."""
LOCAL_START, LOCAL_END = datetime(2026, 11, 25, 13, 0, 0), datetime(2026, 11, 25, 13, 0, 7)

_VALUES: Row = {
    "BackupType": 1,
    "DatabaseName": "appservice_hosting",
    "DatabaseVersion": 904,
    "BackupSize": Decimal(3_000_000_000),
    "CompressedBackupSize": 1_000_000_000,
    "FirstLSN": LSN,
    "LastLSN": LSN + 2,
    "CheckpointLSN": LSN + 1,
    "DatabaseBackupLSN": Decimal(0),
    "BackupStartDate": LOCAL_START,
    "BackupFinishDate": LOCAL_END,
    "SoftwareVersionMajor": 15,
    "SoftwareVersionMinor": 0,
    "SoftwareVersionBuild": 4430,
    "BindingID": UUID(int=1),
    "RecoveryForkID": UUID(int=0xABCDEF),
    "FirstRecoveryForkID": UUID(int=0xABCDEF),
    "FamilyGUID": UUID(int=3),
    "HasBackupChecksums": True,
    "RecoveryModel": "BULK-LOGGED",
    "BackupSetGUID": UUID(int=4),
    "BackupTypeDescription": "Database",
    "containment": 1,
    "EncryptorThumbprint": b"\x0a\xff",
}
_FILE: Row = {
    "LogicalName": "data",
    "PhysicalName": "D:\\x.mdf",
    "Type": "D",
    "Size": Decimal(8_388_608),
    "TDEThumbprint": b"\x01\x02",
}


def header(version: int, **values: Any) -> Row:
    return _row("RESTORE HEADERONLY", version, _VALUES | values)


def file(version: int, **values: Any) -> Row:
    return _row("RESTORE FILELISTONLY", version, _FILE | values)


def _row(result_set: str, version: int, values: Row) -> Row:
    known = [name for name, _, first in VIEWS["result_sets"][result_set] if first <= version]
    return {name: values.get(name) for name in known}
