"""The rows of the system views and of msdb's tables, made afresh from the instance for each query.

A builder says what it knows of a row; of what else the documentation lists a bit is 0 and anything else NULL. Columns
that this version does not have are not there.
"""

from __future__ import annotations

import binascii
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict

from tests.standins.sqlserver.instance import DATA_FOLDER, Instance, SessionState
from tests.standins.sqlserver.messages import Column, denied
from tests.standins.sqlserver.model import DATABASE_VERSIONS, PAGE_BYTES, Database, HistoryEntry, Login, column_text
from tests.standins.sqlserver.queries import Table
from tests.standins.sqlserver.rights import Rights, documentation, known_permissions
from tests.standins.sqlserver.types import parse_type

Row = Mapping[str, object]
_STATES = {"ONLINE": 0, "RESTORING": 1, "SUSPECT": 4, "OFFLINE": 6}
_RECOVERY = {"FULL": 1, "BULK_LOGGED": 2, "SIMPLE": 3}
_ACCESS = {"MULTI_USER": 0, "SINGLE_USER": 1, "RESTRICTED_USER": 2}
_COLLATION = "SQL_Latin1_General_CP1_CI_AS"
_GIVEN_BY_MSDB = ("backupset", "backupmediafamily", "backupmediaset", "backupfile", "backupfilegroup")


class Views:
    """The views as one session sees them."""

    def __init__(self, instance: Instance, session: SessionState) -> None:
        self._instance, self._session = instance, session
        self._rights = Rights(instance, session.login)

    def table(self, database: str, name: str, arguments: Sequence[object]) -> Table | None:
        """The view ``sys.x``, or a table ``dbo.x`` of msdb; None when there is none of that name."""
        known = documentation()["views"].get(name)
        if known is None or (name.startswith("dbo.") and database.lower() != "msdb"):
            return None
        columns = [
            Column(column, parse_type("nvarchar(128)" if kind == "nvarchar" else kind))
            for column, (kind, since) in known.items()
            if 0 < since <= self._instance.major
        ]
        if not columns:
            return None
        self._check(name)
        rows = self._rows(database, name, arguments)
        return Table(columns, [_completed(columns, row) for row in rows])

    def _check(self, name: str) -> None:
        if name.startswith("dbo."):
            if name != "dbo.suspect_pages" and not self._rights.reads_msdb():
                text = f"The SELECT permission was denied on the object '{name[4:]}', database 'msdb', schema 'dbo'."
                raise denied(229, text)
            return
        needs = documentation()["needs"].get(name, {})
        wanted = needs.get("<=2019" if self._instance.major <= 2019 else ">=2022", "")
        if wanted.startswith("VIEW SERVER") and "else" not in needs:
            self._rights.require_state(wanted)

    def _rows(self, database: str, name: str, arguments: Sequence[object]) -> Iterable[Row]:
        if name == "sys.dm_io_virtual_file_stats":
            return [row for row in self._file_stats() if _matches(row, arguments, ("database_id", "file_id"))]
        if name == "sys.dm_os_volume_stats":
            return [row for row in self._volume_stats() if _matches(row, arguments, ("database_id", "file_id"))]
        if name == "sys.dm_db_log_stats":
            wanted = arguments or [None]
            return [row for row in self._log_stats(database) if _matches(row, wanted, ("database_id",))]
        if name == "sys.fn_my_permissions":
            return self._my_permissions(database, arguments)
        builder: Callable[[], Iterable[Row]] | None = getattr(self, "_" + name.replace(".", "_"), None)
        if builder is not None:
            return builder()
        inner: Callable[[str], Iterable[Row]] | None = getattr(self, "_in_" + name.replace(".", "_"), None)
        if inner is not None:
            return inner(database)
        return self._group_rows(name)

    def _group_rows(self, name: str) -> Iterable[Row]:
        if self._instance.group is None or not name.startswith(("sys.availability", "sys.dm_hadr")):
            return []
        visible = self._rights.on_server("VIEW ANY DEFINITION") or name.startswith("sys.dm_hadr")
        if name in ("sys.availability_databases_cluster", "sys.availability_group_listeners"):
            visible = True
        return self._instance.group.rows(name, self._instance) if visible else []

    # ---- databases and their files

    def _databases(self) -> list[Database]:
        found = sorted(self._instance.databases.values(), key=lambda database: database.database_id)
        return [
            database
            for database in found
            if self._rights.sees(database) or database.name.lower() == self._session.database.lower()
        ]

    def _local(self, moment: object) -> object:
        return None if moment is None else self._instance.clock.local_text(moment)  # type: ignore[arg-type]

    def _sys_databases(self) -> Iterable[Row]:
        for database in self._databases():
            state = "ONLINE" if database.state == "STANDBY" else database.state
            group = self._instance.group
            member = group is not None and group.has(database.name)
            yield {
                "name": database.name,
                "database_id": database.database_id,
                "owner_sid": self._sid(database.owner),
                "create_date": self._local(database.created),
                "compatibility_level": self._instance.build[0] * 10,
                "collation_name": _COLLATION if database.usable else None,
                "user_access": _ACCESS[database.user_access],
                "user_access_desc": database.user_access,
                "is_read_only": database.read_only or database.state == "STANDBY",
                "state": _STATES[state],
                "state_desc": state,
                "is_in_standby": database.state == "STANDBY",
                "recovery_model": _RECOVERY[database.recovery],
                "recovery_model_desc": database.recovery,
                "page_verify_option": 2,
                "page_verify_option_desc": "CHECKSUM",
                "is_encrypted": database.encrypted_by is not None,
                "replica_id": group.replica_id(self._instance) if group and member else None,
                "group_database_id": group.database_id(database.name) if group and member else None,
                "containment": int(database.containment == "PARTIAL"),
                "containment_desc": database.containment,
                "log_reuse_wait": 2 if database.log_full else 0,
                "log_reuse_wait_desc": "LOG_BACKUP" if database.log_full else "NOTHING",
                "physical_database_name": database.name,
                "target_recovery_time_in_seconds": 60,
            }

    def _sid(self, login: str) -> bytes | None:
        found = self._instance.logins.get(login.lower())
        return None if found is None else found.security_identifier

    def _sys_database_recovery_status(self) -> Iterable[Row]:
        for database in self._databases():
            open_here = database.usable
            yield {
                "database_id": database.database_id,
                "database_guid": database.database_guid if open_here else None,
                "family_guid": database.family_guid if open_here else None,
                "last_log_backup_lsn": database.last_log_backup_lsn if open_here else None,
                "recovery_fork_guid": database.recovery_fork_guid if open_here else None,
                "first_recovery_fork_guid": database.first_recovery_fork_guid if open_here else None,
                "fork_point_lsn": database.fork_point_lsn if open_here else None,
            }

    def _files(self, database: Database) -> Iterable[Row]:
        base = database.differential_base
        for file in database.files:
            is_data = file.kind == "D"
            yield {
                "database_id": database.database_id,
                "file_id": file.file_id,
                "file_guid": file.guid,
                "type": 0 if is_data else 1,
                "type_desc": "ROWS" if is_data else "LOG",
                "data_space_id": int(is_data),
                "name": file.logical_name,
                "physical_name": file.physical_name,
                "state": _STATES.get(database.state, 0),
                "state_desc": "ONLINE" if database.state == "STANDBY" else database.state,
                "size": database.pages() if is_data else 1024,
                "max_size": -1,
                "growth": 8192,
                "create_lsn": 0,
                "differential_base_lsn": base.lsn if base and is_data else None,
                "differential_base_guid": base.guid if base and is_data else None,
                "differential_base_time": base.time if base and is_data else None,
            }

    def _sys_master_files(self) -> Iterable[Row]:
        rights = self._rights
        if rights.may_create_databases() or rights.on_server("VIEW ANY DEFINITION"):
            for database in sorted(self._instance.databases.values(), key=lambda found: found.database_id):
                yield from self._files(database)

    def _in_sys_database_files(self, database: str) -> Iterable[Row]:
        return self._files(self._instance.database(database))

    def _file_stats(self) -> Iterable[Row]:
        for database in self._instance.databases.values():
            for file in database.files:
                yield {
                    "database_id": database.database_id,
                    "file_id": file.file_id,
                    "size_on_disk_bytes": database.pages() * PAGE_BYTES,
                    "num_of_reads": 0,
                    "num_of_writes": 0,
                }

    def _volume_stats(self) -> Iterable[Row]:
        for database in self._instance.databases.values():
            for file in database.files:
                yield {
                    "database_id": database.database_id,
                    "file_id": file.file_id,
                    "volume_mount_point": "C:\\",
                    "volume_id": "\\\\?\\Volume{00000000-0000-0000-0000-000000000001}\\",
                    "logical_volume_name": "",
                    "file_system_type": "NTFS",
                    "total_bytes": 2**40,
                    "available_bytes": self._instance.data_free_bytes,
                }

    def _sys_dm_os_volume_stats(self) -> Iterable[Row]:
        return self._volume_stats()

    def _log_stats(self, current: str) -> Iterable[Row]:
        del current
        for database in self._instance.databases.values():
            yield {
                "database_id": database.database_id,
                "recovery_model": database.recovery,
                "log_end_lsn": _hexadecimal(database.current_lsn),
                "log_min_lsn": _hexadecimal(database.log[0].lsn if database.log else database.current_lsn),
                "total_log_size_mb": 8.0,
                "active_log_size_mb": 0.5,
                "log_since_last_log_backup_mb": len(database.log) / 1024,
                "log_backup_lsn": _hexadecimal(database.last_log_backup_lsn or 0),
            }

    def _in_sys_dm_db_log_space_usage(self, database: str) -> Iterable[Row]:
        found = self._instance.database(database)
        yield {
            "database_id": found.database_id,
            "total_log_size_in_bytes": 8 * 2**20,
            "used_log_space_in_bytes": 2**19 if not found.log_full else 8 * 2**20,
            "used_log_space_in_percent": 100.0 if found.log_full else 6.25,
            "log_space_in_bytes_since_last_backup": 1024 * len(found.log),
        }

    def _sys_dm_database_encryption_keys(self) -> Iterable[Row]:
        for database in self._instance.databases.values():
            if database.encrypted_by:
                yield {
                    "database_id": database.database_id,
                    "encryption_state": 3,
                    "encryption_state_desc": "ENCRYPTED",
                    "key_algorithm": "AES",
                    "key_length": 256,
                    "encryptor_thumbprint": binascii.unhexlify(database.encrypted_by),
                    "encryptor_type": "CERTIFICATE",
                    "percent_complete": 0.0,
                }

    def _in_sys_certificates(self, database: str) -> Iterable[Row]:
        if database.lower() != "master" or not self._rights.on_server("VIEW ANY DEFINITION"):
            return
        for number, thumbprint in enumerate(sorted(self._instance.certificates), 256):
            yield {
                "name": f"certificate_{number}",
                "certificate_id": number,
                "principal_id": 1,
                "pvt_key_encryption_type": "MK",
                "pvt_key_encryption_type_desc": "ENCRYPTED_BY_MASTER_KEY",
                "thumbprint": binascii.unhexlify(thumbprint),
            }

    # ---- what is inside a database

    def _objects(self, database: str) -> Iterable[tuple[int, str, int]]:
        """Object id, name and number of rows of each user table."""
        found = self._instance.database(database)
        with closing(sqlite3.connect(":memory:")) as connection:
            if found.content:
                connection.deserialize(found.content)
            listed = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
            for number, (name,) in enumerate(connection.execute(listed).fetchall(), 245575913):
                (rows,) = connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()
                yield number, name, rows

    def _in_sys_objects(self, database: str) -> Iterable[Row]:
        created = self._local(self._instance.database(database).created)
        for number, name, _ in self._objects(database):
            yield {
                "name": name,
                "object_id": number,
                "schema_id": 1,
                "parent_object_id": 0,
                "type": "U ",
                "type_desc": "USER_TABLE",
                "create_date": created,
                "modify_date": created,
            }

    _in_sys_tables = _in_sys_objects

    def _in_sys_partitions(self, database: str) -> Iterable[Row]:
        for number, _, rows in self._objects(database):
            yield {
                "partition_id": number * 2**16,
                "object_id": number,
                "index_id": 1,
                "partition_number": 1,
                "rows": rows,
            }

    def _in_sys_schemas(self, database: str) -> Iterable[Row]:
        del database
        yield {"name": "dbo", "schema_id": 1, "principal_id": 1}
        yield {"name": "sys", "schema_id": 4, "principal_id": 4}

    def _in_sys_database_principals(self, database: str) -> Iterable[Row]:
        found = self._instance.database(database)
        all_visible = self._rights.sees_users(found)
        for number, user in enumerate(found.users.values(), 1):
            if not all_visible and user.login_name.lower() not in (self._session.login.name.lower(), "dbo"):
                continue
            login = None if user.contained else self._sid(user.login_name)
            kind = "DATABASE" if user.contained else "INSTANCE"
            yield {
                "name": user.name,
                "principal_id": number,
                "type": "S",
                "type_desc": "SQL_USER",
                "default_schema_name": "dbo",
                "create_date": self._local(found.created),
                "modify_date": column_text(user.modified),
                "sid": login or user.security_identifier,
                "authentication_type": 2 if user.contained else 1,
                "authentication_type_desc": kind,
            }
        for number, role in enumerate(("public", "db_owner", "db_backupoperator", "db_datareader"), 16384):
            yield {"name": role, "principal_id": number, "type": "R", "type_desc": "DATABASE_ROLE", "is_fixed_role": 1}

    def _in_sys_database_role_members(self, database: str) -> Iterable[Row]:
        roles = {"db_owner": 16385, "db_backupoperator": 16386, "db_datareader": 16387}
        for number, user in enumerate(self._instance.database(database).users.values(), 1):
            for role in user.roles & roles.keys():
                yield {"role_principal_id": roles[role], "member_principal_id": number}

    # ---- the server

    def _sys_credentials(self) -> Iterable[Row]:
        if not (self._rights.on_server("VIEW ANY DEFINITION") or self._rights.on_server("ALTER ANY CREDENTIAL")):
            return
        for credential in self._instance.credentials.values():
            yield {
                "credential_id": credential.credential_id,
                "name": credential.name,
                "credential_identity": credential.identity,
                "create_date": self._local(credential.created),
                "modify_date": self._local(credential.modified),
            }

    def _logins(self) -> list[tuple[int, Login]]:
        numbered = list(enumerate(self._instance.logins.values(), 1))
        if self._rights.on_server("ALTER ANY LOGIN") or self._rights.on_server("VIEW ANY SECURITY DEFINITION"):
            return numbered
        return [(number, login) for number, login in numbered if login.name in ("sa", self._session.login.name)]

    def _sys_server_principals(self) -> Iterable[Row]:
        for number, login in self._logins():
            yield {
                "name": login.name,
                "principal_id": number,
                "sid": login.security_identifier,
                "type": "S",
                "type_desc": "SQL_LOGIN",
                "is_disabled": int(login.disabled),
                "create_date": self._local(self._instance.started),
                "modify_date": column_text(login.modified) if login.modified else self._local(self._instance.started),
                "default_database_name": "master",
                "default_language_name": "us_english",
            }
        for number, role in enumerate(("public", "sysadmin", "securityadmin", "dbcreator"), 2):
            yield {
                "name": role,
                "principal_id": 1000 + number,
                "type": "R",
                "type_desc": "SERVER_ROLE",
                "is_fixed_role": 1,
            }

    def _sys_sql_logins(self) -> Iterable[Row]:
        shows_hash = self._rights.on_server("CONTROL SERVER") or (
            self._instance.major >= 2022 and self._rights.on_server("VIEW ANY CRYPTOGRAPHICALLY SECURED DEFINITION")
        )
        for (_, login), row in zip(self._logins(), self._sys_server_principals(), strict=False):
            stored = (
                b"\x02\x00" + binascii.crc32(login.password.encode()).to_bytes(4, "big") + login.security_identifier
            )
            yield {**row, "is_policy_checked": 1, "password_hash": stored if shows_hash else None}

    def _sys_configurations(self) -> Iterable[Row]:
        numbers = {"contained database authentication": 16393, "backup compression default": 1579}
        numbers |= {"show advanced options": 518, "backup checksum default": 1584}
        for name, (value, in_use) in self._instance.configuration.items():
            yield {
                "configuration_id": numbers[name],
                "name": name,
                "value": value,
                "minimum": 0,
                "maximum": 1,
                "value_in_use": in_use,
                "description": name,
                "is_dynamic": 1,
            }

    def _sys_servers(self) -> Iterable[Row]:
        yield {"server_id": 0, "name": self._instance.name, "product": "SQL Server", "provider": "SQLNCLI"}

    def _sys_dm_os_host_info(self) -> Iterable[Row]:
        yield {"host_platform": "Windows", "host_distribution": "Windows Server 2019 Standard", "host_release": "10.0"}

    def _sys_dm_server_services(self) -> Iterable[Row]:
        yield {
            "servicename": "SQL Server (MSSQLSERVER)",
            "startup_type": 2,
            "startup_type_desc": "Automatic",
            "status": 4,
            "status_desc": "Running",
            "service_account": r"NT Service\MSSQLSERVER",
            "is_clustered": "N",
        }

    def _sys_dm_os_sys_info(self) -> Iterable[Row]:
        yield {
            "cpu_count": 2,
            "physical_memory_kb": 8 * 2**20,
            "sqlserver_start_time": self._local(self._instance.started),
        }

    def _sessions(self) -> list[SessionState]:
        wanted = "VIEW SERVER STATE" if self._instance.major <= 2019 else "VIEW SERVER PERFORMANCE STATE"
        if self._rights.on_server(wanted):
            return list(self._instance.sessions.values())
        return [self._session]

    def _sys_dm_exec_requests(self) -> Iterable[Row]:
        for session in self._sessions():
            running = session.request
            if running is None:
                continue
            found = self._instance.databases.get(running.database.lower())
            yield {
                "session_id": session.spid,
                "request_id": 0,
                "start_time": self._local(running.started),
                "status": "running",
                "command": running.command,
                "database_id": found.database_id if found else 1,
                "user_id": 1,
                "percent_complete": running.percent,
                "total_elapsed_time": int((self._instance.clock.now() - running.started).total_seconds() * 1000),
                "blocking_session_id": 0,
            }

    def _sys_dm_exec_sessions(self) -> Iterable[Row]:
        for session in self._sessions():
            found = self._instance.databases.get(session.database.lower())
            yield {
                "session_id": session.spid,
                "login_time": self._local(session.started),
                "host_name": session.host,
                "program_name": session.program,
                "login_name": session.login.name,
                "original_login_name": session.login.name,
                "status": "running" if session.request else "sleeping",
                "is_user_process": 1,
                "database_id": found.database_id if found else 1,
                "open_transaction_count": int(session.in_transaction),
            }

    def _sys_dm_exec_connections(self) -> Iterable[Row]:
        for session in self._sessions():
            yield {
                "session_id": session.spid,
                "connect_time": self._local(session.started),
                "net_transport": "TCP",
                "protocol_type": "TSQL",
                "encrypt_option": "TRUE" if session.is_encrypted else "FALSE",
                "auth_scheme": "SQL",
            }

    def _my_permissions(self, database: str, arguments: Sequence[object]) -> Iterable[Row]:
        kind = str(([*list(arguments), None, None])[1] or "SERVER").upper()
        if kind not in ("SERVER", "DATABASE"):
            return
        for name in known_permissions(kind, self._instance.major):
            held = self._rights.on_server(name) if kind == "SERVER" else self._rights.in_database(database, name)
            if held:
                yield {"entity_name": kind.lower(), "subentity_name": "", "permission_name": name}

    # ---- msdb

    def _dbo_backupset(self) -> Iterable[Row]:
        for entry in self._instance.history:
            backup = entry.backup
            yield {
                **asdict(backup),
                "backup_set_id": entry.backup_set_id,
                "media_set_id": entry.media_set_id,
                "first_family_number": 1,
                "first_media_number": 1,
                "last_family_number": len(entry.media.families),
                "last_media_number": 1,
                "catalog_family_number": 1,
                "catalog_media_number": 1,
                "software_vendor_id": 4608,
                "machine_name": backup.server_name.split("\\")[0],
                "collation_name": _COLLATION,
                "sort_order": 52,
                "code_page": 0,
                "unicode_locale": 1033,
                "unicode_compare_style": 196609,
                "flags": 512,
                "is_force_offline": 0,
            }

    def _dbo_backupmediaset(self) -> Iterable[Row]:
        for entry in self._media():
            yield {
                "media_set_id": entry.media_set_id,
                "media_uuid": entry.media.uuid,
                "media_family_count": len(entry.media.families),
                "name": entry.media.name,
                "software_name": "Microsoft SQL Server",
                "software_vendor_id": 4608,
                "MTF_major_version": 1,
                "mirror_count": 1 + len(entry.media.mirrors),
                "is_compressed": entry.media.is_compressed,
            }

    def _media(self) -> list[HistoryEntry]:
        """One entry for each media set."""
        return list({entry.media_set_id: entry for entry in self._instance.history}.values())

    def _dbo_backupmediafamily(self) -> Iterable[Row]:
        for entry in self._media():
            media = entry.media
            for mirror, devices in enumerate((media.devices, *media.mirrors)):
                for number, (family, device) in enumerate(zip(media.families, devices, strict=True), 1):
                    yield {
                        "media_set_id": entry.media_set_id,
                        "family_sequence_number": number,
                        "media_family_id": family,
                        "media_count": 1,
                        "physical_device_name": device,
                        "device_type": media.device_type,
                        "physical_block_size": 65536 if media.device_type == 9 else 512,
                        "mirror": mirror,
                    }

    def _dbo_backupfile(self) -> Iterable[Row]:
        for entry in self._instance.history:
            for number, kind, logical, physical, guid, size in entry.backup.files:
                yield {
                    "backup_set_id": entry.backup_set_id,
                    "first_family_number": 1,
                    "first_media_number": 1,
                    "filegroup_name": "PRIMARY" if kind == "D" else None,
                    "page_size": PAGE_BYTES,
                    "file_number": number,
                    "backed_up_page_count": size // PAGE_BYTES,
                    "file_type": kind,
                    "file_size": size,
                    "logical_name": logical,
                    "physical_drive": physical[:2],
                    "physical_name": physical,
                    "state": 0,
                    "state_desc": "ONLINE",
                    "file_guid": guid,
                    "backup_size": size if kind == "D" else 0,
                    "differential_base_lsn": entry.backup.differential_base_lsn,
                    "differential_base_guid": entry.backup.differential_base_guid,
                    "is_present": 1,
                }

    def _dbo_restorehistory(self) -> Iterable[Row]:
        for entry in self._instance.restores:
            yield {
                **asdict(entry),
                "destination_database_name": entry.destination,
                "device_count": entry.devices,
                "restart": 0,
            }

    def _dbo_suspect_pages(self) -> Iterable[Row]:
        for database in self._instance.databases.values():
            if database.damaged:
                yield {
                    "database_id": database.database_id,
                    "file_id": 1,
                    "page_id": 57,
                    "event_type": 2,
                    "error_count": 1,
                }

    def _dbo_sysjobs(self) -> Iterable[Row]:
        return []

    def server_property(self, name: object) -> object:
        """SERVERPROPERTY: None for a name that this version does not have."""
        instance = self._instance
        wanted = {known.lower(): known for known in documentation()["serverproperty"]}.get(str(name).lower())
        if wanted is None or documentation()["first_version"]["serverproperty"].get(wanted, 2008) > instance.major:
            return None
        machine, _, instance_name = instance.name.partition("\\")
        editions = {"Standard": 2, "Web": 2, "Enterprise": 3, "Developer": 3, "Express": 4}
        bits = {"Enterprise": " Edition (64-bit)", "Developer": " Edition (64-bit)", "Express": " Edition (64-bit)"}
        return {
            "ProductVersion": f"{instance.build[0]}.{instance.build[1]}.{instance.build[2]}.1",
            "ProductMajorVersion": str(instance.build[0]),
            "ProductMinorVersion": str(instance.build[1]),
            "ProductBuild": str(instance.build[2]),
            "ProductLevel": "RTM",
            "Edition": instance.edition + bits.get(instance.edition, " Edition (64-bit)"),
            "EngineEdition": editions[instance.edition],
            "ServerName": instance.name,
            "MachineName": machine,
            "ComputerNamePhysicalNetBIOS": machine,
            "InstanceName": instance_name or None,
            "Collation": _COLLATION,
            "IsClustered": 0,
            "IsHadrEnabled": int(instance.group is not None),
            "HadrManagerStatus": 1 if instance.group else 2,
            "IsIntegratedSecurityOnly": int(instance.windows_logins_only),
            "IsSingleUser": 0,
            "IsFullTextInstalled": 0,
            "IsLocalDB": 0,
            "ProcessID": 1234,
            "InstanceDefaultDataPath": DATA_FOLDER + "\\",
            "InstanceDefaultLogPath": DATA_FOLDER + "\\",
            "InstanceDefaultBackupPath": DATA_FOLDER.replace("DATA", "Backup"),
            "PathSeparator": "\\",
            "LCID": 1033,
        }.get(wanted)

    def database_property(self, name: object, wanted: object) -> object:
        """DATABASEPROPERTYEX: None when it cannot say."""
        database = self._instance.databases.get(str(name).lower())
        if database is None or not self._rights.sees(database):
            return None
        usable = database.usable
        return {
            "status": "ONLINE" if database.state == "STANDBY" else database.state,
            "recovery": database.recovery,
            "useraccess": database.user_access,
            "updateability": "READ_ONLY" if database.read_only or database.state == "STANDBY" else "READ_WRITE",
            "isinstandby": int(database.state == "STANDBY"),
            "collation": _COLLATION if usable else None,
            "version": DATABASE_VERSIONS[self._instance.version] if usable else None,
        }.get(str(wanted).lower())


def _completed(columns: Sequence[Column], row: Row) -> list[object]:
    known = {name.lower(): value for name, value in row.items()}
    return [known.get(column.name.lower(), 0 if column.type.name == "bit" else None) for column in columns]


def _matches(row: Row, arguments: Sequence[object], names: Sequence[str]) -> bool:
    return all(argument is None or row[name] == argument for argument, name in zip(arguments, names, strict=False))


def _hexadecimal(lsn: int) -> str:
    vlf, rest = divmod(lsn, 10**15)
    block, slot = divmod(rest, 10**5)
    return f"{vlf:08x}:{block:08x}:{slot:04x}"
