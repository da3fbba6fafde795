"""What a recovery needs and can be asked for: each answer a ticked or crossed box, never an error.

What no setting leads to is left to the person. The parts are asked side by side, each under a limit, as the checks of
preflight are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from shared.databases import inspection, statements
from shared.databases.connection import Connection
from shared.databases.disk_folder import DiskFolder
from shared.databases.grants import restore_permissions
from shared.databases.inspection import VERSION_NAMES
from shared.preflight.check import FAIL, PASS, SKIP, Check, ComponentChecks, Found, Row, skipped
from shared.preflight.runner import in_order
from shared.recovery_point.databases import connect, in_vault
from shared.repository.initialise import choose_passwords, open_repository
from shared.secrets.files import SecretFiles, secret_of
from shared.settings import Settings, local_folder
from shared.smb.client import SmbClient
from shared.smb.endpoint import SmbEndpoint
from shared.status.runbook.facts import Facts
from shared.storage.landing import Landing
from shared.storage.vault import Vault

Json = dict[str, Any]

LIMIT_SECONDS = 60.0
"""For one part, connecting included."""
_CONNECT_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that is asked, on one way."""

    component: str
    name: str
    applies: bool
    """The point needs it."""
    setting: str | None
    """Without which it is left to the person."""
    by_hand: str
    """How a person looks."""
    ask: Callable[[Settings, Facts], Iterator[Found]]
    """Yields a check as soon as it has one; errors pass, and cross the part."""


def run_checks(settings: Settings, facts: Facts, *, limit_seconds: float = LIMIT_SECONDS) -> list[Json]:
    """All of them, in the order of the runbook."""
    asked = [ComponentChecks(part.component, (_asked(part, settings, facts, limit_seconds),)) for part in _parts(facts)]
    return [_record(facts), *(row.to_json() for row in in_order(asked, limit_seconds=limit_seconds))]


def for_people(facts: Facts) -> list[Json]:
    """The same, nothing asked."""
    left = [Row(part.component, part.name, SKIP, 0.0, part.by_hand, setting=part.setting) for part in _parts(facts)]
    return [_record(facts), *(row.to_json() for row in left)]


def _record(facts: Facts) -> Json:
    return Row("lifeboat", "Record of this point", PASS, 0.0, f"read from {facts.vault_url}").to_json()


def _parts(facts: Facts) -> list[Part]:
    point = facts.id
    parts = [
        Part(
            "databases",
            "Backups of the databases in the vault",
            bool(facts.chains or facts.master),
            "LIFEBOAT_VAULT_URL",
            "python lifeboat.py check looks at their lengths",
            _backups,
        ),
        Part(
            "share",
            "Snapshot of the share in the repository",
            facts.has_share,
            "LIFEBOAT_VAULT_URL",
            "restic snapshots lists it",
            _snapshot,
        ),
        Part(
            "share",
            "Password of the repository",
            facts.needs_repository,
            "LIFEBOAT_KEY_VAULT_URL or LIFEBOAT_REPOSITORY_PASSWORD",
            "python lifeboat.py check opens the repository with it",
            _repository,
        ),
        Part(
            "secrets",
            "SystemSecrets.JSON in the Key Vault",
            facts.has_secrets,
            "LIFEBOAT_KEY_VAULT_URL",
            f"python lifeboat.py restore secrets --point {point} --to FILE reads it back",
            _system_secrets,
        ),
        Part(
            "secrets",
            "Certificates of encrypted databases in the Key Vault",
            bool(facts.thumbprints),
            "LIFEBOAT_KEY_VAULT_URL",
            f"python lifeboat.py restore secrets --point {point} --name NAME --to FILE reads them back",
            _certificates,
        ),
        Part(
            "secrets",
            "Logins of SQL Server in the Key Vault",
            bool((facts.databases.get("logins") or {}).get("version")),
            "LIFEBOAT_KEY_VAULT_URL",
            f"python lifeboat.py restore logins --point {point} --to FILE reads them back",
            _logins,
        ),
        Part(
            "databases",
            "SQL Server that is restored to",
            bool(facts.chains),
            "LIFEBOAT_SQL_SERVER",
            "sqlcmd reaches it; the first step of its section says what it must be",
            _sql_server,
        ),
        Part(
            "databases",
            "Landing account, from which SQL Server restores",
            bool(facts.chains) and facts.mode == "url",
            "LIFEBOAT_LANDING_URL",
            "the SQL server reaches its address by https (443)",
            _landing,
        ),
        Part(
            "databases",
            "Folder from which SQL Server restores",
            bool(facts.chains) and facts.mode == "disk",
            "LIFEBOAT_SQL_DISK_PATH",
            "the account of the SQL Server service can read it, and this machine can write into it",
            _disk_folder,
        ),
        Part(
            "share",
            "File server that is restored to",
            facts.has_share,
            "LIFEBOAT_SHARE_URL",
            f"the share can be opened from this machine (port {facts.share_port}) by whoever restores",
            _share_target,
        ),
    ]
    return [*(_missing_parts(facts)), *(part for part in parts if part.applies)]


def _missing_parts(facts: Facts) -> Iterator[Part]:
    """What the point does not hold at all, so that the first list already says it."""
    missing = {
        "databases": ("Databases", not facts.chains),
        "share": ("Share", not facts.has_share),
        "secrets": ("SystemSecrets.JSON", not facts.has_secrets),
    }
    for component, (name, is_missing) in missing.items():
        if is_missing:

            def ask(_: Settings, __: Facts, name: str = name) -> Iterator[Found]:
                yield _check(
                    name,
                    False,
                    "this point holds none that can be used",
                    "See its section for what can be done instead.",
                )

            yield Part(component, name, True, None, "this point holds none: see its section", ask)


# --- asking ---


def _asked(part: Part, settings: Settings, facts: Facts, limit_seconds: float) -> Check:
    def run() -> Iterator[Found]:
        if is_configured(settings, part.setting):
            yield from part.ask(settings, facts)
        else:
            yield skipped(f"{part.by_hand} ({part.setting} is not set here)", setting=part.setting)

    return Check(part.name, run, limit_seconds=limit_seconds, silent=f"By hand: {part.by_hand}.")


def is_configured(settings: Settings, names: str | None) -> bool:
    """One of these settings is there."""
    return names is None or any(settings.values.get(name) for name in names.split(" or "))


def _check(name: str, good: bool, detail: str, remedy: str = "", setting: str | None = None) -> Found:
    return Found(PASS if good else FAIL, detail, "" if good else remedy, setting, name)


# --- the vault ---


def _backups(settings: Settings, facts: Facts) -> Iterator[Found]:
    with Vault(settings.vault()) as vault:
        present = in_vault(vault)
        needed = {name: chain.sets for name, chain in facts.chains.items()}
        if facts.master is not None:
            needed["master"] = (facts.master,)
        for name, sets in needed.items():
            gone = [each for each in sets if not present(each)]
            detail = f"{len(sets)} backup(s), with the lengths that were recorded"
            if gone:
                named = ", ".join(f"the {each.kind} of {each.finished:%Y-%m-%d %H:%M:%S}Z" for each in gone)
                detail = f"not there, or of another length: {named}"
            remedy = (
                "Choose another point ('points'); what was deleted may be there as a previous version ('undelete')."
            )
            yield _check(f"Backup of {name} in the vault", not gone, detail, remedy)


def _snapshot(settings: Settings, facts: Facts) -> Iterator[Found]:
    snapshot = facts.point.snapshot
    with Vault(settings.vault()) as vault:
        there = any(blob.name.rpartition("/")[2] == snapshot for blob in vault.share.list("snapshots/"))
        detail = f"{snapshot} is there" if there else f"{snapshot} is not there"
        yield _check("Snapshot of the share in the repository", there, detail, "Run 'check'; choose another point.")


def _repository(settings: Settings, facts: Facts) -> Iterator[Found]:
    with Vault(settings.vault()) as vault:
        passwords = choose_passwords(vault.settings.repository_password, vault.secrets)
        repository = open_repository(vault.share, vault.records, passwords)
        yield _check("Password of the repository", True, f"it opens the repository {repository.config.id[:10]}")


# --- the Key Vault ---


def _files(vault: Vault) -> SecretFiles:
    assert vault.secrets is not None, "configured, or the part is left to the person"
    return SecretFiles(vault.secrets)


def _system_secrets(settings: Settings, facts: Facts) -> Iterator[Found]:
    secrets = facts.secrets
    with Vault(settings.vault()) as vault:
        yield _one_file(
            _files(vault),
            "SystemSecrets.JSON in the Key Vault",
            str(secrets["name"]),
            secrets["version"],
            secrets["sha256"],
        )


def _one_file(files: SecretFiles, name: str, secret: str, version: str, sha256: str) -> Found:
    stored, content = files.read(secret, version)
    good = stored.sha256 == sha256
    detail = f"version {version} was read back, {len(content):,} bytes, with the recorded hash"
    return _check(name, good, detail if good else f"version {version} is not what this point recorded", "Run 'check'.")


def _certificates(settings: Settings, facts: Facts) -> Iterator[Found]:
    with Vault(settings.vault()) as vault:
        files = _files(vault)
        for thumbprint, databases in facts.thumbprints.items():
            name = f"Certificate {thumbprint} of {', '.join(databases)}"
            holders = facts.holders(thumbprint)
            if not holders:
                remedy = "Find it, and keep it: python lifeboat.py secrets put FILE --name NAME."
                yield _check(name, False, "it is not held among the secrets of this point", remedy)
                continue
            for kept in (holders[0], f"{holders[0]}-key", f"{holders[0]}-password"):
                file = facts.files.get(kept)
                if file is not None:
                    yield _one_file(files, f"{name}: {kept}", secret_of(kept), file["version"], file["sha256"])


def _logins(settings: Settings, facts: Facts) -> Iterator[Found]:
    name, saved = "Logins of SQL Server in the Key Vault", facts.databases["logins"]
    with Vault(settings.vault()) as vault:
        yield _one_file(_files(vault), name, saved["secret"], saved["version"], saved["sha256"])


# --- the targets ---


def _sql_server(settings: Settings, facts: Facts) -> Iterator[Found]:
    server = settings.restore_sql_server(None)
    with ExitStack() as leaving:
        with Vault(settings.vault()) as vault:
            connection = leaving.enter_context(connect(server, vault)())
        found = inspection.inspect(connection)
        told = f"{found.name} answers as {server.username}: version {found.version}, {found.edition}"
        yield _check(f"SQL Server {server.server}", True, told)
        newest = facts.newest_major or 0
        version = VERSION_NAMES.get(newest, str(newest))
        yield _check(
            "Version of SQL Server",
            found.major >= newest,
            f"these backups need {version} or later, and it is {VERSION_NAMES.get(found.major, found.major)}",
            f"Restore to a server of version {version} or later.",
        )
        yield from _modes(connection, facts)
        yield _permissions(connection, facts)
        present = [each for each in facts.names if found.find(each) is not None]
        grouped = [
            each for each in present if (facts_of := found.find(each)) is not None and facts_of.replica is not None
        ]
        if grouped:
            yield _check(
                "Availability group",
                False,
                f"{', '.join(grouped)} on it is in an availability group, and nothing is restored over that",
                "Take it out first: see the step in the section on SQL Server.",
            )


def _modes(connection: Connection, facts: Facts) -> Iterator[Found]:
    (row,) = connection.rows(statements.IS_MIXED_MODE)
    yield _check(
        "Mixed mode authentication",
        bool(row["is_mixed_mode"]),
        "SQL logins are taken" if row["is_mixed_mode"] else "only Windows logins are taken, and App Service has none",
        "Set the server to SQL Server and Windows Authentication mode, and restart its service.",
    )
    rows = connection.rows(statements.CONTAINED_AUTHENTICATION)
    enabled = bool(rows and rows[0]["enabled"])
    yield _check(
        "Contained database authentication",
        enabled,
        "it is on" if enabled else "it is off, or may not be seen by this login",
        "The first step of the section on SQL Server switches it on.",
    )


def _permissions(connection: Connection, facts: Facts) -> Found:
    missing = inspection.missing_permissions(connection, restore_permissions(facts.mode), {})
    detail = f"the login {connection.username} may restore"
    if missing:
        detail = f"the login {connection.username} lacks {', '.join(missing)}"
    return _check(
        "Rights of the login that restores",
        not missing,
        detail,
        "python lifeboat.py runbook --grants prints what to grant; LIFEBOAT_RESTORE_SQL_USERNAME names another login.",
    )


def _landing(settings: Settings, facts: Facts) -> Iterator[Found]:
    with Landing(settings.landing()) as landing:
        landing.stale_containers(timedelta(days=36_500))
        yield _check("Landing account", True, f"{landing.url} answers this machine")


def _disk_folder(settings: Settings, facts: Facts) -> Iterator[Found]:
    disk = settings.disk()
    with Vault(settings.vault()) as vault:
        password = disk.password or vault.secret("share-password", setting="LIFEBOAT_SQL_DISK_PASSWORD")
    with DiskFolder.open(disk, password):
        yield _check("Folder from which SQL Server restores", True, f"{disk.path} can be opened from here")


def _share_target(settings: Settings, facts: Facts) -> Iterator[Found]:
    name, url = "File server that is restored to", settings.share_url() or ""
    folder = local_folder(url)
    if folder is not None:
        there = folder.is_dir()
        detail = f"{folder} is {'there' if there else 'not there'}"
        yield _check(name, there, detail, "Make it, or restore elsewhere (--to).", "LIFEBOAT_SHARE_URL")
        return
    username, given = settings.restore_credentials()
    username = username or settings.share().username
    with Vault(settings.vault()) as vault:
        password = given or vault.secret("share-password", setting="LIFEBOAT_RESTORE_PASSWORD")
    endpoint = SmbEndpoint.parse(url, username, password, setting="LIFEBOAT_SHARE_URL")
    client = SmbClient(
        endpoint,
        connect_timeout_seconds=_CONNECT_SECONDS,
        reconnect_seconds=_CONNECT_SECONDS,
        settings_prefix="LIFEBOAT_RESTORE",
    )
    with closing(client):
        client.connect()
        yield _check(name, True, f"{endpoint.url} can be opened by {endpoint.username}")
