"""The checks of the Key Vault: the way there, that the secrets which are needed can be read, that secrets can be set,
and that nobody can purge them.

To set one is the only way to see that it can be set: the secret ``lifeboat-preflight``, disabled, of no content. It is
never deleted, since nobody's app may do that; each look makes it another version.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from shared.errors import SettingsError, StorageForbidden
from shared.preflight.check import Check, ComponentChecks, Found, failed, passed, skipped, warned
from shared.preflight.network import https_checks
from shared.repository.initialise import PASSWORD_SECRET
from shared.secrets.files import SYSTEM_SECRETS, SecretFiles, no_secrets
from shared.settings import Settings
from shared.storage.credentials import open_credential
from shared.storage.key_vault import SETTING, KeyVaultSecrets

PROBE = "lifeboat-preflight"
"""Name of the secret that preflight sets."""
CONTENT = "Set by Lifeboat's preflight to see that it can. There is nothing in it."
READER = "'Key Vault Secrets User'"
WRITER = "'Lifeboat secrets writer', made by the deployment, (and 'Key Vault Secrets Officer', which may delete too)"
"""Roles that have the right to read secrets, and to set them."""
PURGE_PROTECTION = "purge-protection"


def secrets_checks(settings: Settings) -> ComponentChecks:
    """``SettingsError`` where the URL is none; nothing is sent yet."""
    url = settings.key_vault_url()
    if url is None:
        raise SettingsError(f"{SETTING} is not set", remedy="Set it to https://NAME.vault.azure.net.", setting=SETTING)
    looking = _KeyVault(settings, url, KeyVaultSecrets.open(url, open_credential()))
    return ComponentChecks("secrets", tuple(looking.checks()), looking.close)


def needed(settings: Settings) -> Mapping[str, str]:
    """Secrets that have to be there, since their settings are not: each with its setting. What a component lacks
    besides is told by its own checks."""
    found: dict[str, str] = {}
    for add in (_of_the_share, _of_the_databases, _of_the_drill):
        try:
            found.update(add(settings))
        except SettingsError:
            continue
    return found


class _KeyVault:
    def __init__(self, settings: Settings, url: str, store: KeyVaultSecrets) -> None:
        self._settings = settings
        self._url = url
        self._store = store
        self._vault_name = (urlsplit(url).hostname or "").partition(".")[0]
        self._keeper = settings.role == "keeper"
        self._level: str | None = None
        """What becomes of secrets that are deleted, as soon as one was seen."""

    def checks(self) -> Iterator[Check]:
        way = https_checks(self._url, setting=SETTING)
        yield from way
        for name, run, after in (
            ("get", self._get, way[-1].name),
            ("set", self._set, "get"),
            ("system-secrets", self._system_secrets, "get"),
            (PURGE_PROTECTION, self._purge_protection, "get" if self._keeper else "set"),
        ):
            if self._keeper and name in ("set", "system-secrets"):
                continue  # it only reads the password of the repository
            yield Check(
                name,
                run,
                after=(after,),
                limit_seconds=45,
                silent="The Key Vault, or Entra ID, falls silent: open TCP 443 to it and to login.microsoftonline.com.",
                setting=SETTING,
            )

    def close(self) -> None:
        self._store.close()

    def _get(self) -> Found:
        wanted = {} if self._keeper else needed(self._settings)
        there: list[str] = []
        missing: list[str] = []
        try:
            for name in [PASSWORD_SECRET, *wanted]:
                found = self._store.get(name)
                (missing if found is None else there).append(name)
                self._level = found.recovery_level if found else self._level
            count = None if self._keeper else len(self._store.names())
        except StorageForbidden as refusal:
            return _refused(refusal, READER)
        lacking = [name for name in missing if name in wanted]
        if lacking:
            return failed(
                f"the Key Vault holds no secret {', '.join(lacking)}",
                " ".join(self._how_to_set(name, wanted[name]) for name in lacking),
                setting=wanted[lacking[0]],
            )
        told = "secrets can be read" if count is None else f"secrets can be read and listed; there are {count}"
        if PASSWORD_SECRET in missing and not self._settings.values.get("LIFEBOAT_REPOSITORY_PASSWORD"):
            told += f"; the first backup makes {PASSWORD_SECRET}"
        return passed(f"{told}; {', '.join(there)} {'is' if len(there) == 1 else 'are'} there" if there else told)

    def _set(self) -> Found:
        try:
            made = self._store.set(PROBE, CONTENT, {"lifeboat": "preflight"}, enabled=False)
        except StorageForbidden as refusal:
            return _refused(refusal, WRITER)
        self._level = made.recovery_level or self._level
        return passed(f"secrets can be set: {PROBE}, which is disabled and holds nothing, has another version")

    def _system_secrets(self) -> Found:
        found = SecretFiles(self._store).current(SYSTEM_SECRETS)
        if found is None:
            error = no_secrets(SYSTEM_SECRETS)
            return warned(f"{error}: until it is uploaded each recovery point is partial", error.remedy)
        return passed(f"SystemSecrets.JSON is there, of {found.moment:%Y-%m-%d %H:%M} UTC")

    def _purge_protection(self) -> Found:
        remedy = f"az keyvault update --name {self._vault_name} --enable-purge-protection true (for good)"
        if self._level is None:
            told = "no secret was seen that tells whether" if self._keeper else "the Key Vault does not say whether"
            return (skipped if self._keeper else warned)(f"{told} secrets can be purged", remedy, setting=SETTING)
        if "purgeable" in self._level.lower():
            return failed(
                f"who may delete and purge secrets can do it at once ({self._level}): without {PASSWORD_SECRET} nobody "
                "reads a backup of the share again",
                remedy,
                setting=SETTING,
            )
        return passed(f"secrets that are deleted can be recovered, and nobody can purge them ({self._level})")

    def _how_to_set(self, name: str, setting: str) -> str:
        return (
            f"Put the value into a file and run: az keyvault secret set --vault-name {self._vault_name} --name {name} "
            f"--file FILE; or set {setting}."
        )


def _refused(refusal: StorageForbidden, role: str) -> Found:
    """With the role that has the right, where it is a right that is missing."""
    remedy = refusal.remedy
    if "Microsoft.KeyVault/" in remedy:
        remedy += f", which the role {role} has"
    return failed(str(refusal), remedy, setting=refusal.setting)


def _of_the_share(settings: Settings) -> Iterator[tuple[str, str]]:
    if "share" in settings.configured():
        share = settings.share()
        if share.folder is None and not share.adopted and not share.password:
            yield "share-password", "LIFEBOAT_SHARE_PASSWORD"


def _of_the_databases(settings: Settings) -> Iterator[tuple[str, str]]:
    if "databases" in settings.configured():
        databases = settings.databases()
        if not databases.server.password:
            yield databases.server.secret, f"{databases.server.prefix}_PASSWORD"
        if databases.mode == "disk" and not settings.disk().password:
            yield "share-password", "LIFEBOAT_SQL_DISK_PASSWORD"


def _of_the_drill(settings: Settings) -> Iterator[tuple[str, str]]:
    drill = settings.drill_sql_server()
    if drill is not None and not drill.password:
        yield drill.secret, f"{drill.prefix}_PASSWORD"
