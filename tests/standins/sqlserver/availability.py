"""Availability groups: instances that share databases, one of them the primary."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from tests.standins.sqlserver.instance import Instance
from tests.standins.sqlserver.messages import refusal
from tests.standins.sqlserver.model import Database, LogRecord, new_guid

if TYPE_CHECKING:
    from tests.standins.sqlserver.server import SqlServer

_PREFERENCES = {"PRIMARY": 0, "SECONDARY_ONLY": 1, "SECONDARY": 2, "NONE": 3}
_ROLES = {"RESOLVING": 0, "PRIMARY": 1, "SECONDARY": 2}
_SYNCHRONIZATION = {"NOT SYNCHRONIZING": 0, "SYNCHRONIZING": 1, "SYNCHRONIZED": 2}


class AvailabilityGroup:
    """Replicas share the content and the log of its databases; logins, credentials and msdb stay with each instance.

    ``preference`` is the automated backup preference; every member starts SYNCHRONIZED.
    """

    def __init__(
        self, name: str, servers: Sequence[SqlServer], databases: Sequence[str], *, preference: str = "SECONDARY"
    ) -> None:
        """The first server is the primary and has the databases already; the others get them."""
        self.name, self.preference = name, preference
        self.readable_secondaries = False
        self._group_id = new_guid()
        self._servers = {server.instance.name: server for server in servers}
        self._replica_ids = {name: new_guid() for name in self._servers}
        self._databases = {database.lower(): new_guid() for database in databases}
        self._primary: str | None = servers[0].instance.name
        self._synchronization = dict.fromkeys(self._servers, "SYNCHRONIZED")
        for server in servers:
            server.instance.group = self
            for database in databases:
                self._join(servers[0], server, database)

    def _join(self, primary: SqlServer, server: SqlServer, database: str) -> None:
        if server is primary:
            return
        source = primary.database(database)
        made = server.add_database(source.name, recovery=source.recovery, filler_bytes=source.filler_bytes)
        self._copy(source, made)

    def _copy(self, source: Database, target: Database) -> None:
        """What replicas have in common; the list of log records itself is shared."""
        for field in (
            "content",
            "log",
            "current_lsn",
            "database_guid",
            "family_guid",
            "recovery_fork_guid",
            "first_recovery_fork_guid",
            "fork_point_lsn",
            "last_log_backup_lsn",
            "chain_is_new",
            "last_full_lsn",
            "differential_base",
            "tail_lsn",
            "users",
            "filler_bytes",
            "files",
        ):
            setattr(target, field, getattr(source, field))

    # ---- what is asked of it

    def has(self, database: str) -> bool:
        return database.lower() in self._databases

    def role(self, instance: Instance) -> str:
        if self._primary is None:
            return "RESOLVING"
        return "PRIMARY" if instance.name == self._primary else "SECONDARY"

    def is_secondary(self, instance: Instance, database: Database) -> bool:
        return self.has(database.name) and self.role(instance) != "PRIMARY"

    def is_preferred(self, instance: Instance) -> bool:
        """What sys.fn_hadr_backup_is_preferred_replica answers on this replica."""
        is_primary = self.role(instance) == "PRIMARY"
        if self.preference == "NONE":
            return True
        if self.preference == "PRIMARY":
            return is_primary
        others = [name for name in self._servers if name != self._primary]
        usable = [name for name in others if self._synchronization[name] != "NOT SYNCHRONIZING"]
        if not usable:
            return is_primary and self.preference == "SECONDARY"
        return instance.name == usable[0]

    def require_backup(self, instance: Instance, database: str, kind: str, *, copy_only: bool) -> None:
        """SqlError where this replica may not back the database up so."""
        role = self.role(instance)
        if role == "PRIMARY":
            return
        if role == "RESOLVING":
            raise refusal(
                983,
                f"Unable to access availability database '{database}' because the database replica is not in the "
                "PRIMARY or "
                "SECONDARY role.",
                severity=14,
            )
        synchronized = self._synchronization[instance.name] != "NOT SYNCHRONIZING"
        allowed = copy_only if kind == "D" else kind == "L" and not copy_only
        if instance.major >= 2025:
            allowed = True
        if instance.edition not in ("Enterprise", "Developer") or not allowed or not synchronized:
            text = "This BACKUP or RESTORE command is not supported on a database mirror or secondary replica."
            raise refusal(3059, text)

    # ---- what changes

    def synchronization(self, server: SqlServer, state: str) -> None:
        """``SYNCHRONIZED``, ``SYNCHRONIZING`` or ``NOT SYNCHRONIZING``."""
        self._synchronization[server.instance.name] = state

    def replicate(self, instance: Instance, database: Database, record: LogRecord) -> None:
        """A change on the primary reaches every replica at once (synchronous commit)."""
        del record
        self._spread(instance, database)

    def share(self, instance: Instance, database: Database) -> None:
        """After a backup: log chain and differential base are the database's, wherever it was taken."""
        self._spread(instance, database)

    def _spread(self, instance: Instance, database: Database) -> None:
        for name, server in self._servers.items():
            if name != instance.name:
                self._copy(database, server.database(database.name))

    def failover(self, to: SqlServer) -> None:
        """Make another replica the primary: what runs on the old one in these databases is broken off."""
        old = self._servers.get(self._primary or "")
        self._primary = to.instance.name
        if old is not None and old is not to:
            self._break_off(old)

    def resolving(self) -> None:
        """No primary for now: databases cannot be accessed anywhere."""
        old = self._servers.get(self._primary or "")
        self._primary = None
        if old is not None:
            self._break_off(old)

    def _break_off(self, server: SqlServer) -> None:
        with server.instance.lock:
            for session in list(server.instance.sessions.values()):
                busy = session.request is not None and self.has(session.request.database)
                if busy or self.has(session.database):
                    session.killed = True
                    session.disconnect()

    # ---- the views

    def replica_id(self, instance: Instance) -> str:
        return self._replica_ids[instance.name]

    def database_id(self, database: str) -> str:
        return self._databases[database.lower()]

    def rows(self, view: str, instance: Instance) -> Iterable[Mapping[str, object]]:
        """Rows of the views about availability groups as this replica has them."""
        builders: Mapping[str, Callable[[], Iterable[Mapping[str, object]]]] = {
            "sys.availability_groups": self._groups,
            "sys.availability_replicas": self._replicas,
            "sys.availability_databases_cluster": self._members,
            "sys.dm_hadr_availability_replica_states": lambda: self._replica_states(instance),
            "sys.dm_hadr_availability_replica_cluster_states": self._cluster_states,
            "sys.dm_hadr_database_replica_states": lambda: self._database_states(instance),
        }
        return builders[view]() if view in builders else []

    def _groups(self) -> Iterator[Mapping[str, object]]:
        yield {
            "group_id": self._group_id,
            "name": self.name,
            "automated_backup_preference": _PREFERENCES[self.preference],
            "automated_backup_preference_desc": self.preference.lower(),
            "cluster_type": 0,
            "cluster_type_desc": "wsfc",
        }

    def _replicas(self) -> Iterator[Mapping[str, object]]:
        for name, replica in self._replica_ids.items():
            yield {
                "replica_id": replica,
                "group_id": self._group_id,
                "replica_server_name": name,
                "availability_mode": 1,
                "availability_mode_desc": "SYNCHRONOUS_COMMIT",
                "failover_mode": 0,
                "failover_mode_desc": "AUTOMATIC",
                "secondary_role_allow_connections": int(self.readable_secondaries) * 2,
                "secondary_role_allow_connections_desc": "ALL" if self.readable_secondaries else "NO",
                "backup_priority": 50,
            }

    def _members(self) -> Iterator[Mapping[str, object]]:
        for database, identifier in self._databases.items():
            yield {"group_id": self._group_id, "group_database_id": identifier, "database_name": database}

    def _visible(self, instance: Instance) -> list[str]:
        """The primary knows of all replicas, a secondary only of itself."""
        return list(self._servers) if self.role(instance) == "PRIMARY" else [instance.name]

    def _replica_states(self, instance: Instance) -> Iterator[Mapping[str, object]]:
        for name in self._visible(instance):
            role = self.role(self._servers[name].instance)
            yield {
                "replica_id": self._replica_ids[name],
                "group_id": self._group_id,
                "is_local": name == instance.name,
                "role": _ROLES[role],
                "role_desc": role,
                "connected_state": 1,
                "connected_state_desc": "CONNECTED",
                "synchronization_health": 2,
                "synchronization_health_desc": "HEALTHY",
            }

    def _cluster_states(self) -> Iterator[Mapping[str, object]]:
        for name, replica in self._replica_ids.items():
            yield {"replica_id": replica, "replica_server_name": name, "group_id": self._group_id, "join_state": 1}

    def _database_states(self, instance: Instance) -> Iterator[Mapping[str, object]]:
        for name in self._visible(instance):
            theirs = self._servers[name].instance
            for database, identifier in self._databases.items():
                state = self._synchronization[name]
                yield {
                    "database_id": theirs.database(database).database_id,
                    "group_id": self._group_id,
                    "replica_id": self._replica_ids[name],
                    "group_database_id": identifier,
                    "is_local": name == instance.name,
                    "is_primary_replica": self.role(theirs) == "PRIMARY",
                    "synchronization_state": _SYNCHRONIZATION[state],
                    "synchronization_state_desc": state,
                    "synchronization_health": 2 if state != "NOT SYNCHRONIZING" else 0,
                    "synchronization_health_desc": "HEALTHY" if state != "NOT SYNCHRONIZING" else "NOT_HEALTHY",
                    "database_state": 0,
                    "database_state_desc": "ONLINE",
                }

    @contextlib.contextmanager
    def listener(self) -> Iterator[int]:
        """A port that leads to whoever is the primary when a connection is made, until the block ends."""
        with socket.create_server(("127.0.0.1", 0)) as door:
            threading.Thread(target=self._forward, args=(door,), daemon=True).start()
            try:
                yield door.getsockname()[1]
            finally:
                with contextlib.suppress(OSError):
                    door.shutdown(socket.SHUT_RDWR)

    def _forward(self, door: socket.socket) -> None:
        while True:
            try:
                client, _ = door.accept()
            except OSError:
                return
            primary = self._servers.get(self._primary or "")
            if primary is None:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", primary.port))
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=_pump, args=(source, target), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
