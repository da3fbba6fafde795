"""Every setting, typed, read once from the environment. An error names the variable and what to write in it.

A setting that is missing is an error only where it is needed: each command asks for the group that it uses. An empty
value counts as absent.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from shared.errors import SettingsError
from shared.ncrontab import Ncrontab

PREFIX = "LIFEBOAT_"
API_VERSION = "2025-11-05"
"""Version of the storage protocol that Azure and the emulators know."""
SCHEDULES: Mapping[str, str] = {
    "BACKUP": "0 0 1 * * *",
    "LOGS": "0 30 * * * *",
    "WATCHDOG": "0 15 * * * *",
    "VERIFY": "0 0 5 * * *",
    "DRILL": "0 0 6 * * SUN",
    "PROTECT": "0 0 7 * * *",
    "RETENTION": "0 0 8 * * *",
    "PRUNE": "0 0 9 * * SUN",
}
"""What is done when, unless ``LIFEBOAT_SCHEDULE_NAME`` says otherwise; NCRONTAB, UTC."""
LEAST_SHARD_BUDGET_SECONDS = 10
"""A step opens the repository and lists what is there before it stores anything."""
MOST_DIGITS = 6
LONGEST_PROTECTION_SECONDS = 400 * 86_400
"""A locked date can never be brought forward: who mistypes it cannot take that back."""
MOST_STEPS = 256
"""More shards, or more steps at once, only make more of the same."""
Value = TypeVar("Value")

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d{1,12})([smhd])\Z")
LONGEST_DURATION_SECONDS = 36_525 * 86_400
_SHIFTS = {"K": 10, "M": 20, "G": 30, "T": 40}
_SIZE = re.compile(r"(\d{1,6})([KMGT])\Z")


@dataclass(frozen=True, slots=True)
class VaultSettings:
    """How the vault is reached."""

    url: str
    key: str | None = field(repr=False)
    """Account key; None: Entra ID."""
    api_version: str
    key_vault_url: str | None
    repository_password: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class ShareSettings:
    """What is read, and how."""

    url: str
    username: str
    password: str | None = field(repr=False)
    """None: the Key Vault secret ``share-password``."""
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    tolerate: tuple[str, ...]
    acl: bool
    """Keep security descriptors."""
    previous_version: str
    """``off``, ``newest`` or ``require``."""
    previous_version_max_age_seconds: int
    max_shrink: float
    """Fraction of the files that may be gone before the run fails."""
    look_every_seconds: int
    """How often files that only seem unchanged are opened."""
    mode: str = "read"
    """``read``, or ``adopt``: something nearer to the share backs it up into the repository."""
    adopt_path: str | None = None
    """The share's path inside an adopted snapshot; None: the snapshot's only path."""
    max_age_seconds: int = 26 * 3600
    """How old an adopted snapshot may be."""

    @property
    def adopted(self) -> bool:
        return self.mode == "adopt"

    @property
    def folder(self) -> Path | None:
        """The folder of a ``file://`` URL, None for SMB."""
        return local_folder(self.url)


@dataclass(frozen=True, slots=True)
class LandingSettings:
    """The storage account into which SQL Server itself writes, and from which it restores."""

    url: str
    key: str | None = field(repr=False)
    """Account key; None: Entra ID."""
    api_version: str
    sas: str
    """Who signs what SQL Server is given: ``user-delegation`` or ``account-key``."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """A SQL server and who logs in there."""

    server: str
    """``host[\\instance][,port]``"""
    username: str
    password: str | None = field(repr=False)
    """None: the Key Vault secret ``secret``."""
    secret: str
    prefix: str
    """What the settings of this login begin with, for errors: ``LIFEBOAT_SQL`` and the like."""
    named_by: str
    """Where ``server`` comes from: a setting, or ``--to``."""
    driver: str | None
    """Name or path of the ODBC driver; None: the newest of Microsoft's that is found."""
    trust_server_certificate: bool
    server_certificate: str | None
    """File of the one certificate to accept."""


@dataclass(frozen=True, slots=True)
class DiskSettings:
    """The folder of mode ``disk``: as SQL Server sees it, and as we reach it."""

    path: str
    """UNC."""
    url: str
    username: str
    password: str | None = field(repr=False)
    """None: the Key Vault secret ``share-password``."""


@dataclass(frozen=True, slots=True)
class AdoptSettings:
    """How somebody else's backups of databases are reached."""

    path_map: tuple[tuple[str, str], ...]
    """UNC prefix, and the SMB URL of the same folder; what is not mapped is on the same server, port 445."""
    username: str | None
    password: str | None = field(repr=False)
    """None: the Key Vault secret ``share-password``."""
    sas: str | None = field(repr=False)
    """To read the DBA's own blob container; None: the Key Vault secret ``sql-adopt-sas``."""


@dataclass(frozen=True, slots=True)
class DatabasesSettings:
    """What is backed up, and how."""

    server: ServerSettings
    databases: tuple[str, ...]
    mode: str
    """``url``, ``disk`` or ``adopt``."""
    own_log_chain: bool
    full_every_seconds: int
    """With an own log chain: a recovery point makes a differential until the full is older than this."""
    statement_limit_seconds: int
    """What a BACKUP, RESTORE or CHECKDB may take before it is cancelled."""
    compression: bool


@dataclass(frozen=True, slots=True)
class StepSettings:
    """How a run in Azure is cut into steps."""

    shards: int
    """That the share is cut into at most."""
    window: int
    """Steps that run at once, over all instances."""
    shard_budget_seconds: int
    """After which a step on a shard stops, to be gone on with."""
    lock_wait_seconds: int


@dataclass(frozen=True, slots=True)
class KeepingSettings:
    """What is kept of the vault, and for how long. Counts as in restic's ``forget``."""

    last: int
    """At least 1."""
    hourly: int
    daily: int
    weekly: int
    monthly: int
    yearly: int
    within_seconds: int
    protect_for_seconds: int
    """How far ahead ``protect`` sets until-dates; 0: the vault holds no immutability policies, nothing is protected."""
    wait_seconds: int
    """How long a pack or a backup of a database that nothing needs any more stays before it is deleted."""
    undelete_for_seconds: int
    """How long what was deleted stays as a previous version, from which it can be brought back."""
    max_unused: float
    """Fraction of the repository's bytes that may be unused before packs are repacked."""
    max_repack_bytes: int
    """How much one ``prune`` repacks at most."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one process."""

    values: Mapping[str, str] = field(repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        source = os.environ if environment is None else environment
        return cls({name: value for name, value in source.items() if name.startswith(PREFIX) and value})

    # --- groups ---

    def vault(self) -> VaultSettings:
        return VaultSettings(
            url=self._required("VAULT_URL", "Set it to the blob endpoint of the vault's storage account.").rstrip("/"),
            key=self._text("VAULT_KEY"),
            api_version=self._text("STORAGE_API_VERSION") or API_VERSION,
            key_vault_url=self.key_vault_url(),
            repository_password=self._text("REPOSITORY_PASSWORD"),
        )

    def share(self) -> ShareSettings:
        url = self._required("SHARE_URL", "Set it to smb://server[:port]/share[/path] or file:///folder.")
        smb = _scheme(url) != "file"
        mode = self._choice("SHARE_MODE", "read", ("read", "adopt"))
        reads = smb and mode == "read"  # what is adopted is read by somebody else, under a login of its own
        return ShareSettings(
            url=url,
            username=self._required("SHARE_USERNAME", "Set it to the user who reads the share.")
            if reads
            else self._text("SHARE_USERNAME") or "",
            password=self._text("SHARE_PASSWORD"),
            include=self._list("SHARE_INCLUDE"),
            exclude=self._list("SHARE_EXCLUDE"),
            tolerate=self._list("SHARE_TOLERATE"),
            acl=self._boolean("SHARE_ACL", smb),
            previous_version=self._choice("SHARE_PREVIOUS_VERSION", "off", ("off", "newest", "require")),
            previous_version_max_age_seconds=self._duration("SHARE_PREVIOUS_VERSION_MAX_AGE", "26h"),
            max_shrink=self.max_shrink(),
            look_every_seconds=self._duration("SHARE_LOOK_EVERY", "24h"),
            mode=mode,
            adopt_path=self._text("SHARE_ADOPT_PATH"),
            max_age_seconds=self._duration("SHARE_MAX_AGE", "26h"),
        )

    def max_shrink(self) -> float:
        """Fraction of the files that may be gone before a share is not believed."""
        return self._fraction("SHARE_MAX_SHRINK", 0.5)

    def sql_mode(self, default: str = "url") -> str:
        """``url``, ``disk`` or ``adopt``; ``default`` where the setting is absent."""
        return self._choice("SQL_MODE", default, ("url", "disk", "adopt"))

    def restore_sql_mode(self, default: str = "url") -> str:
        """``url`` or ``disk``: the way by which databases are brought back. Adopted ones: through the landing account
        where it is set, else through the disk folder. ``SettingsError`` where neither is."""
        mode = self.sql_mode(default)
        if mode != "adopt":
            return mode
        if self.has_landing():
            return "url"
        if self.has_disk():
            return "disk"
        raise SettingsError(
            "backups that were adopted are to be brought back, and neither LIFEBOAT_LANDING_URL nor "
            "LIFEBOAT_SQL_DISK_PATH says where the SQL server can read them",
            remedy="Set LIFEBOAT_LANDING_URL (a storage account), or LIFEBOAT_SQL_DISK_PATH (a UNC folder, with "
            "LIFEBOAT_SQL_DISK_URL).",
            setting="LIFEBOAT_LANDING_URL",
        )

    def has_landing(self) -> bool:
        return self._text("LANDING_URL") is not None

    def has_disk(self) -> bool:
        return self._text("SQL_DISK_PATH") is not None

    def databases(self) -> DatabasesSettings:
        mode = self.sql_mode()
        return DatabasesSettings(
            server=self.sql_server(),
            databases=self.database_names(),
            mode=mode,
            own_log_chain=self.own_log_chain(),
            full_every_seconds=self.full_every_seconds(),
            statement_limit_seconds=self.statement_limit_seconds(),
            compression=self._boolean("SQL_COMPRESSION", mode == "url"),
        )

    def database_names(self) -> tuple[str, ...]:
        """What is to be backed up of the server, for who asks nothing of it; each name once."""
        names = self._list("SQL_DATABASES") or ("appservice_hosting", "appservice_metering", "master")
        return tuple(dict.fromkeys(names))

    def full_every_seconds(self) -> int:
        """With an own log chain: how long differentials follow a full backup."""
        return self._duration("SQL_FULL_EVERY", "7d")

    def statement_limit_seconds(self) -> int:
        limit = self._duration("SQL_STATEMENT_LIMIT", "8h")
        if not limit:
            raise SettingsError(
                "LIFEBOAT_SQL_STATEMENT_LIMIT is no time at all",
                remedy="Set it to what the longest BACKUP or RESTORE may take, such as 8h.",
                setting="LIFEBOAT_SQL_STATEMENT_LIMIT",
            )
        return limit

    def own_log_chain(self) -> bool:
        """Never where somebody else makes the backups."""
        return self.sql_mode() != "adopt" and self._boolean("SQL_OWN_LOG_CHAIN", False)

    def takes_logs(self) -> bool:
        """Whether there are log backups between recovery points: of our own chain, or somebody else's."""
        return self.sql_mode() == "adopt" or self.own_log_chain()

    def sql_server(self) -> ServerSettings:
        """The source."""
        return self._server("SQL", "sql-password", self._source(), "LIFEBOAT_SQL_SERVER")

    @property
    def has_restore_sql_login(self) -> bool:
        """Another login than the backup's restores databases."""
        return bool(self._text("RESTORE_SQL_USERNAME") or self._text("RESTORE_SQL_PASSWORD"))

    def restore_sql_server(self, server: str | None) -> ServerSettings:
        """Where databases are restored to; None: the source. Who restores, there too, is ``LIFEBOAT_RESTORE_SQL_*``,
        by default who makes the backups: whoever has only one of both logins can restore."""
        named_by = "--to" if server else "LIFEBOAT_SQL_SERVER"
        server = server or self._source()
        if not self.sql_login("RESTORE_SQL"):
            self._required(
                "RESTORE_SQL_USERNAME",
                "Set it to the login of SQL Server that restores; where it is absent, LIFEBOAT_SQL_USERNAME is taken.",
            )
        return self._server("RESTORE_SQL" if self.has_restore_sql_login else "SQL", "sql-password", server, named_by)

    def drill_sql_server(self) -> ServerSettings | None:
        """Where drills restore to; None: there is no drill of databases."""
        server = self._text("DRILL_SQL_SERVER")
        if not server:
            return None
        return self._server("DRILL_SQL", "drill-sql-password", server, "LIFEBOAT_DRILL_SQL_SERVER")

    def sql_server_name(self, name: str = "SQL") -> str | None:
        """The server of ``SQL`` or ``DRILL_SQL``, for who only names it."""
        return self._text(f"{name}_SERVER")

    def sql_login(self, name: str) -> str | None:
        """The login of ``SQL``, ``RESTORE_SQL`` or ``DRILL_SQL``, by default the source's; None: neither is set."""
        return self._text(f"{name}_USERNAME") or self._text("SQL_USERNAME")

    def _source(self) -> str:
        return self._required("SQL_SERVER", "Set it to host[\\instance][,port].")

    def _server(self, name: str, secret: str, server: str, named_by: str) -> ServerSettings:
        """User and password by their own settings; those that are absent are the source's, but a drill's password is
        a secret of its own."""
        username = self.sql_login(name) or self._required(
            "SQL_USERNAME", "Set it to the login of SQL Server that makes the backups."
        )
        password = self._text(f"{name}_PASSWORD")
        if name == "RESTORE_SQL":
            password = password or self._text("SQL_PASSWORD")
        return ServerSettings(
            server=server,
            username=username,
            password=password,
            secret=secret,
            prefix=f"{PREFIX}{name}",
            named_by=named_by,
            driver=self._text("SQL_DRIVER"),
            trust_server_certificate=self._boolean("SQL_TRUST_SERVER_CERTIFICATE", False),
            server_certificate=self._text("SQL_SERVER_CERTIFICATE"),
        )

    def landing(self) -> LandingSettings:
        key = self._text("LANDING_KEY")
        url = self._required("LANDING_URL", "Set it to the blob endpoint of the landing storage account.")
        sas = self._choice("SQL_SAS", "account-key" if key else "user-delegation", ("user-delegation", "account-key"))
        if sas == "account-key" and not key:
            raise SettingsError(
                "LIFEBOAT_SQL_SAS is 'account-key', and LIFEBOAT_LANDING_KEY is not set",
                remedy="Set LIFEBOAT_LANDING_KEY, or LIFEBOAT_SQL_SAS to 'user-delegation'.",
                setting="LIFEBOAT_LANDING_KEY",
            )
        return LandingSettings(
            url=url.rstrip("/"), key=key, api_version=self._text("STORAGE_API_VERSION") or API_VERSION, sas=sas
        )

    def disk(self) -> DiskSettings:
        path = self._required("SQL_DISK_PATH", "Set it to the UNC folder that SQL Server writes to.")
        if not path.startswith("\\\\") or len([part for part in path.split("\\") if part]) < 2:
            raise SettingsError(
                f"LIFEBOAT_SQL_DISK_PATH is {path!r}, which is no UNC path",
                remedy="Write \\\\server\\share\\folder, as SQL Server sees it.",
                setting="LIFEBOAT_SQL_DISK_PATH",
            )
        return DiskSettings(
            path=path.rstrip("\\"),
            url=self._text("SQL_DISK_URL") or "smb:" + path.rstrip("\\").replace("\\", "/").replace("%", "%25"),
            username=self._text("SQL_DISK_USERNAME")
            or self._required("SHARE_USERNAME", "Set it, or LIFEBOAT_SQL_DISK_USERNAME."),
            password=self._text("SQL_DISK_PASSWORD") or self._text("SHARE_PASSWORD"),
        )

    def adopting(self) -> AdoptSettings:
        """How the files that somebody else's backups of databases lie in are reached, in mode ``adopt``."""
        return AdoptSettings(
            path_map=tuple(self._mapping(each) for each in self._list("SQL_PATH_MAP")),
            username=self._text("SQL_DISK_USERNAME") or self._text("SHARE_USERNAME"),
            password=self._text("SQL_DISK_PASSWORD") or self._text("SHARE_PASSWORD"),
            sas=self._text("SQL_ADOPT_SAS"),
        )

    @staticmethod
    def _mapping(text: str) -> tuple[str, str]:
        path, _, url = text.partition("=")
        is_path = path.startswith("\\\\") or path[1:3] == ":\\"
        if not is_path or not url.lower().startswith("smb://"):
            raise SettingsError(
                f"LIFEBOAT_SQL_PATH_MAP has {text!r}, which maps no path of the SQL server to an SMB URL",
                remedy="Write \\\\server\\share=smb://server:port/share, several by commas.",
                setting="LIFEBOAT_SQL_PATH_MAP",
            )
        return path.rstrip("\\"), url.rstrip("/")

    def preflight_backs_up(self) -> bool:
        """Whether preflight has SQL Server write a small backup of ``master``, to see its own way."""
        return self._boolean("PREFLIGHT_BACKUP", True)

    def steps(self) -> StepSettings:
        budget = self._duration("SHARD_BUDGET", "4m")
        if budget < LEAST_SHARD_BUDGET_SECONDS:
            raise SettingsError(
                f"LIFEBOAT_SHARD_BUDGET is {budget}s, in which a step gets nothing done",
                remedy=f"Set it to {LEAST_SHARD_BUDGET_SECONDS}s or more, such as 4m, or remove it.",
                setting="LIFEBOAT_SHARD_BUDGET",
            )
        return StepSettings(
            shards=self._count("SHARDS", 16),
            window=self._count("WINDOW", 8),
            shard_budget_seconds=budget,
            lock_wait_seconds=self.lock_wait_seconds(),
        )

    def keeping(self) -> KeepingSettings:
        last = self._number("KEEP_LAST", 3)
        if last < 1:
            raise SettingsError(
                "LIFEBOAT_KEEP_LAST is 0, by which the last good backup could be deleted",
                remedy="Set it to 1 or more, or remove it.",
                setting="LIFEBOAT_KEEP_LAST",
            )
        protect_for = self._duration("PROTECT_FOR", "14d")
        if protect_for > LONGEST_PROTECTION_SECONDS:
            raise SettingsError(
                f"LIFEBOAT_PROTECT_FOR is {protect_for // 86_400} days, and a date that is locked can never be brought "
                "forward",
                remedy="Set it to 400d at most, or remove it.",
                setting="LIFEBOAT_PROTECT_FOR",
            )
        return KeepingSettings(
            last=last,
            hourly=self._number("KEEP_HOURLY", 0),
            daily=self._number("KEEP_DAILY", 14),
            weekly=self._number("KEEP_WEEKLY", 8),
            monthly=self._number("KEEP_MONTHLY", 12),
            yearly=self._number("KEEP_YEARLY", 0),
            within_seconds=self._duration("KEEP_WITHIN", "2d"),
            protect_for_seconds=protect_for,
            wait_seconds=self._duration("PRUNE_WAIT", "2d"),
            undelete_for_seconds=self._duration("UNDELETE_FOR", "30d"),
            max_unused=self._fraction("PRUNE_MAX_UNUSED", 0.05),
            max_repack_bytes=self._size("PRUNE_MAX_REPACK", "4G"),
        )

    def verify_within_seconds(self) -> int:
        """Within what time every byte of the vault is read back by the daily verification."""
        seconds = self._duration("VERIFY_WITHIN", "30d")
        if not seconds:
            raise SettingsError(
                "LIFEBOAT_VERIFY_WITHIN is no time at all",
                remedy="Set it to the time in which everything is to be read back, such as 30d.",
                setting="LIFEBOAT_VERIFY_WITHIN",
            )
        return seconds

    def drill_share_sample_bytes(self) -> int:
        """How much of the share a drill restores and compares."""
        return self._size("DRILL_SHARE_SAMPLE", "256M")

    def lock_wait_seconds(self) -> int:
        """How long a backup waits for another's exclusive lock."""
        return self._duration("LOCK_WAIT", "30m")

    def rpo_seconds(self) -> dict[str, int]:
        """How old the newest good backup of each component may be."""
        return {
            "databases": self._duration("RPO_DATABASES", "26h"),
            "share": self._duration("RPO_SHARE", "26h"),
            "secrets": self._duration("RPO_SECRETS", "90d"),
        }

    def expiry_warning_seconds(self) -> int:
        """How long before its end a certificate is told of."""
        return self._duration("EXPIRY_WARNING", "60d")

    def schedule(self, name: str) -> str:
        """When the timer ``name``, one of ``SCHEDULES``, fires: NCRONTAB. ``SettingsError``: what is set is none."""
        setting = f"SCHEDULE_{name}"
        text = self._text(setting) or SCHEDULES[name]
        try:
            return Ncrontab.parse(text).text
        except ValueError as error:
            raise SettingsError(
                f"{PREFIX}{setting} is {text!r}, which is no schedule: {error}",
                remedy=f"Write NCRONTAB with six fields, in UTC, such as {SCHEDULES[name]!r}, or remove it. Until then "
                "what it is the schedule of is not done.",
                setting=PREFIX + setting,
            ) from None

    def wrong_schedules(self) -> list[SettingsError]:
        """One error for each schedule that is none: its timer is not there, and everything else is."""
        wrong: list[SettingsError] = []
        for name in SCHEDULES:
            try:
                self.schedule(name)
            except SettingsError as error:
                wrong.append(error)
        return wrong

    def key_vault_url(self) -> str | None:
        return self._text("KEY_VAULT_URL")

    def app_service_build(self) -> str | None:
        """The resource provider's build, as the operator reads it in the portal: nothing else can tell us."""
        return self._text("APP_SERVICE_BUILD")

    @property
    def role(self) -> str:
        """Which of the two apps this is: ``backup`` or ``keeper``; the command line is a backup's unless it is told."""
        return self._text("ROLE") or "backup"

    def configured(self) -> list[str]:
        """The components whose first setting is there."""
        first = {"databases": "SQL_SERVER", "share": "SHARE_URL", "secrets": "KEY_VAULT_URL"}
        return [component for component, name in first.items() if self._text(name)]

    @property
    def debug(self) -> bool:
        """Show where an unexpected error comes from. Never an error itself: it is asked for when one is told."""
        try:
            return self._boolean("DEBUG", False)
        except SettingsError:
            return False

    @property
    def has_restore_credentials(self) -> bool:
        """Another user than the share's restores it."""
        return bool(self._text("RESTORE_USERNAME") or self._text("RESTORE_PASSWORD"))

    def restore_credentials(self) -> tuple[str | None, str | None]:
        """User and password for a restore to an SMB share; by default the share's."""
        username, password = self._text("RESTORE_USERNAME"), self._text("RESTORE_PASSWORD")
        if username or password:
            return username or self._text("SHARE_USERNAME"), password
        return self._text("SHARE_USERNAME"), self._text("SHARE_PASSWORD")

    def share_url(self) -> str | None:
        return self._text("SHARE_URL")

    def share_name(self) -> str | None:
        """Name of the folder that the share is in the repository; None where no share is configured."""
        url = self.share_url()
        return unquote(urlsplit(url).path.rstrip("/").rpartition("/")[2]) if url else None

    # --- values ---

    def _text(self, name: str) -> str | None:
        value = self.values.get(PREFIX + name)
        if value and value.lstrip().lower().startswith("@microsoft.keyvault("):
            raise SettingsError(
                f"{PREFIX}{name} is a Key Vault reference that nobody has resolved",
                remedy="In Azure: give the app's identity the right to get that secret. On your own machine: set "
                "LIFEBOAT_KEY_VAULT_URL, or a plain value.",
                setting=PREFIX + name,
            )
        return value

    def _required(self, name: str, remedy: str) -> str:
        value = self._text(name)
        if not value:
            raise SettingsError(f"{PREFIX}{name} is not set", remedy=remedy, setting=PREFIX + name)
        return value

    def _list(self, name: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in (self._text(name) or "").split(",") if part.strip())

    def _boolean(self, name: str, default: bool) -> bool:
        value = self._choice(name, str(default).lower(), ("true", "false"))
        return value == "true"

    def _choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        return self._parsed(
            name,
            default,
            lambda text: text.lower() if text.lower() in allowed else None,
            f"one of {', '.join(allowed)}",
        )

    def _duration(self, name: str, default: str) -> int:
        def parse(text: str) -> int | None:
            match = _DURATION.match(text.strip())
            seconds = int(match[1]) * _UNITS[match[2]] if match else None
            return None if seconds is None or seconds > LONGEST_DURATION_SECONDS else seconds

        return self._parsed(name, default, parse, "a number and a unit: 90s, 15m, 26h or 30d; 100 years at most")

    def _count(self, name: str, default: int) -> int:
        return self._parsed(
            name,
            str(default),
            lambda text: int(text) if text.isdecimal() and 1 <= int(text) <= MOST_STEPS else None,
            f"a whole number from 1 to {MOST_STEPS}",
        )

    def _number(self, name: str, default: int) -> int:
        return self._parsed(
            name,
            str(default),
            lambda text: int(text) if text.isdecimal() and len(text) <= MOST_DIGITS else None,
            "a whole number, 0 or more",
        )

    def _size(self, name: str, default: str) -> int:
        def parse(text: str) -> int | None:
            match = _SIZE.match(text.strip())
            return int(match[1]) << _SHIFTS[match[2]] if match else None

        return self._parsed(name, default, parse, "a number and a unit: 512M, 4G or 1T")

    def _fraction(self, name: str, default: float) -> float:
        def parse(text: str) -> float | None:
            try:
                value = float(text)
            except ValueError:
                return None
            return value if 0 <= value <= 1 else None

        return self._parsed(name, str(default), parse, "a number from 0 to 1")

    def _parsed(self, name: str, default: str, parse: Callable[[str], Value | None], form: str) -> Value:
        text = self._text(name) or default
        value = parse(text)
        if value is None:
            raise SettingsError(
                f"{PREFIX}{name} is {text!r}, which cannot be understood",
                remedy=f"Write {form}.",
                setting=PREFIX + name,
            )
        return value


def _scheme(url: str) -> str:
    """Of a URL that need not be one: what is wrong with it is told by whoever takes it apart."""
    return url.partition(":")[0].strip().lower()


def local_folder(url: str) -> Path | None:
    """The folder that a ``file://`` URL names, None for any other URL."""
    if _scheme(url) != "file":
        return None
    path = unquote(urlsplit(url).path)
    if os.name == "nt":
        path = path.lstrip("/")
    return Path(path)
