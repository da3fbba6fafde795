"""The checks of the vault: the way there, who we are to it, that blobs can be added and read, that nothing else can be
done to them, versions and dates, and the repository in it.

Blobs are written under ``recovery-points/preflight/`` alone. Who may delete takes them away again; of who may not they
stay, and the keeper clears them. A lock is taken in the repository and given back; nothing of it is ever made.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from secrets import token_hex

from shared.errors import BlobProtected, RepositoryLocked, RepositoryMissing, StorageError, StorageForbidden
from shared.preflight.check import Check, ComponentChecks, Found, failed, passed, skipped, warned
from shared.preflight.network import https_checks
from shared.repository import locks
from shared.repository.initialise import GivenPassword, KeyVaultPassword, open_repository
from shared.repository.repository import Repository
from shared.settings import Settings
from shared.storage.azure_blobs import AzureBlobAccount
from shared.storage.azure_endpoint import account_name, is_loopback
from shared.storage.azure_errors import NOT_ALLOWED_HERE, NOT_KNOWN, error_code
from shared.storage.credentials import open_credential
from shared.storage.key_vault import KeyVaultSecrets
from shared.storage.vault import DATABASES_CONTAINER, RECORDS_CONTAINER, SHARE_CONTAINER

URL, KEY, PROTECT_FOR = "LIFEBOAT_VAULT_URL", "LIFEBOAT_VAULT_KEY", "LIFEBOAT_PROTECT_FOR"
ROLE = "LIFEBOAT_ROLE"
FOLDER = "preflight/"
"""In the container of records."""
BODY = b"Lifeboat's preflight wrote this to see that it can. The keeper clears it.\n"
DATE_AHEAD = timedelta(minutes=10)
"""Of the date that the keeper sets on a blob of preflight's: long enough for clocks that differ a little."""
_FIRST = "the first 'backup' makes the container"
_NOT_US = NOT_KNOWN | NOT_ALLOWED_HERE | {"KeyBasedAuthenticationNotPermitted", ""}
"""Codes of who is not let in at all; none: there is no token."""
_RIGHTS = "docs/guarantees.md has the rights of each identity"


def vault_checks(settings: Settings) -> ComponentChecks:
    """``SettingsError`` where a setting of the vault is missing or wrong; nothing is sent yet."""
    looking = _Vault(settings)
    return ComponentChecks("vault", tuple(looking.checks()), looking.close)


class _Vault:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._vault = settings.vault()
        self._protects = settings.keeping().protect_for_seconds > 0
        self._keeper = settings.role == "keeper"
        self._account = AzureBlobAccount.open(
            self._vault.url,
            account_key=self._vault.key,
            credential=None if self._vault.key else open_credential(),
            api_version=self._vault.api_version,
            url_setting=URL,
            key_setting=KEY,
        )
        self._share = self._account.container(SHARE_CONTAINER)
        self._records = self._account.container(RECORDS_CONTAINER)
        self._secrets: KeyVaultSecrets | None = None
        self._missing: set[str] = set()
        """Containers that the first backup makes."""
        self._name = f"{FOLDER}{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{token_hex(6)}"
        self._may_delete = False
        self._lock: tuple[Repository, str] | None = None
        """That is still to be given back."""

    def checks(self) -> Iterator[Check]:
        way = https_checks(self._vault.url, setting=URL)
        yield from way
        yield Check(
            "login",
            self._login,
            after=(way[-1].name,),
            limit_seconds=45,
            silent="Entra ID does not answer: open TCP 443 to login.microsoftonline.com, or set the account key.",
            setting=URL,
        )
        yield self._check("containers", self._containers, "login")
        yield self._check("create", self._create, "containers")
        yield self._check("read", self._read, "create")
        yield self._check("versioning", self._versioning, "create")
        yield self._check("overwrite-refused", self._overwrite, "read")  # which must not see other bytes
        if self._keeper:
            yield self._check("delete", self._delete, "create")
            yield self._check("immutability", self._set_date, "create")
        else:
            yield self._check("delete-refused", self._delete_refused, "create")
            yield self._check("immutability", self._holds_dates, "containers")
        yield Check(
            "repository",
            self._repository,
            after=("containers",),
            limit_seconds=60,
            silent="The vault, or the Key Vault with the password, does not answer: see the other rows.",
            setting=URL,
        )

    def close(self) -> None:
        """Who may delete takes away what was written; a lock that was not given back is."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._account.close)
            if self._secrets is not None:
                stack.callback(self._secrets.close)
            if self._lock is not None:
                stack.callback(locks.release, *self._lock)
            if self._may_delete:
                self._records.delete(self._name)

    @staticmethod
    def _check(name: str, run: Callable[[], Found], after: str) -> Check:
        silent = "The storage account falls silent: see what lies in between, such as a firewall that looks into TLS."
        return Check(name, run, after=(after,), limit_seconds=30, silent=silent, setting=URL)

    # --- who we are ---

    def _login(self) -> Found:
        try:
            self._records.container_exists()
        except StorageForbidden as refusal:
            if error_code(refusal.__cause__) in _NOT_US:
                raise
        if self._vault.key:
            return passed("the account key is accepted")
        return passed("Entra ID gives a token, and the vault accepts it")

    def _containers(self) -> Found:
        wanted = [SHARE_CONTAINER, RECORDS_CONTAINER]
        if "databases" in self._settings.configured():
            wanted.append(DATABASES_CONTAINER)
        missing = [name for name in wanted if not self._account.container(name).container_exists()]
        if not missing:
            return passed(f"{', '.join(wanted)} are there")
        told = f"the vault has no container {', '.join(missing)}"
        if self._vault.key and not self._keeper:
            self._missing.update(missing)
            return warned(f"{told}: the first 'backup' makes what is missing", setting=URL)
        commands = "; ".join(
            f"az storage container create --auth-mode login --account-name {account_name(self._vault.url)} -n {name}"
            for name in missing
        )
        return failed(
            told,
            f"Check that {URL} is the vault's. If it is, somebody who may make containers makes them, as a deployment "
            f"does: {commands}",
            setting=URL,
        )

    # --- what we may do ---

    def _create(self) -> Found:
        if RECORDS_CONTAINER in self._missing:
            return skipped(f"nothing to write into yet: {_FIRST} {RECORDS_CONTAINER}")
        self._records.put(self._name, BODY)
        return passed(f"{RECORDS_CONTAINER}/{self._name} was written")

    def _read(self) -> Found:
        if self._records.get(self._name) == BODY:
            return passed("what was written was read back, byte for byte")
        return failed(
            f"{RECORDS_CONTAINER}/{self._name} was read back with other bytes than were written",
            "Something in between changes what passes: look for a proxy that does, and let this host past it.",
            setting=URL,
        )

    def _overwrite(self) -> Found:
        if self._records.refuses_overwriting(self._name, BODY):
            return passed("a blob that is there cannot be overwritten")
        return self._too_much(
            "overwrite what is in the vault",
            "blobs/write",
            "The role needs .../blobs/add/action in its place, which is enough for every backup "
            "('Storage Blob Data Contributor' has both)",
        )

    def _delete_refused(self) -> Found:
        name = f"{self._name}-delete"
        self._records.put(name, BODY)
        try:
            self._records.delete(name)
        except BlobProtected:
            return warned(
                "an immutability policy refused to delete a blob, so whether the right is missing cannot be seen",
                "A default policy makes what a prune deletes stay: the containers of the vault should have none.",
                setting=URL,
            )
        except StorageForbidden as refusal:
            if error_code(refusal.__cause__) in _NOT_US:
                raise
            return passed("a blob that is there cannot be deleted; the keeper clears what was written")
        self._may_delete = True
        return self._too_much(
            "delete what is in the vault",
            "blobs/delete",
            f"The role needs it under the condition that the path begins with locks/ in the container "
            f"{SHARE_CONTAINER}, and nowhere else",
        )

    def _delete(self) -> Found:
        """The keeper has to be able to."""
        name = f"{self._name}-delete"
        self._records.put(name, BODY)
        try:
            self._records.delete(name)
        except StorageForbidden as refusal:
            return _keeper_may_not(refusal)
        self._may_delete = True
        return passed("the keeper can delete blobs")

    # --- versions and dates ---

    def _versioning(self) -> Found:
        versions = self._records.list_versions(self._name)
        if any(each.name == self._name and each.version for each in versions):
            return passed("the account keeps versions: what is deleted or overwritten can be brought back")
        told = "the account keeps no versions: what is deleted or overwritten is gone"
        remedy = (
            f"az storage account blob-service-properties update --account-name {account_name(self._vault.url)} "
            "--enable-versioning true"
        )
        return self._lacking(told, remedy) if self._protects else warned(told, remedy, setting=URL)

    def _holds_dates(self) -> Found:
        if not self._protects:
            return skipped(f"nothing is protected by dates: {PROTECT_FOR} is 0")
        without: list[str] = []
        unknown: list[str] = []
        for container in (self._share, self._records):
            name = SHARE_CONTAINER if container is self._share else RECORDS_CONTAINER
            if name in self._missing:
                continue
            try:
                holds = container.holds_dates()
            except StorageForbidden as refusal:
                return warned(f"whether the vault takes dates cannot be seen: {refusal}", refusal.remedy)
            if not holds:
                (unknown if holds is None else without).append(name)
        if without:
            return self._lacking(
                f"no dates can be set on blobs in {', '.join(without)}, so who may delete can delete everything",
                _NO_DATES,
                PROTECT_FOR,
            )
        if unknown:
            return warned(f"the vault does not say whether it takes dates on blobs in {', '.join(unknown)}", _NO_DATES)
        return passed("the vault takes dates until which nobody can delete a blob")

    def _set_date(self) -> Found:
        """The keeper shows it on a blob that it clears later."""
        if not self._protects:
            return skipped(f"nothing is protected by dates: {PROTECT_FOR} is 0")
        name = f"{self._name}-date"
        self._records.put(name, BODY)
        try:
            self._records.protect(name, datetime.now(UTC) + DATE_AHEAD)
        except StorageForbidden as refusal:
            return _keeper_may_not(refusal)
        except StorageError as error:
            if error.retryable:
                raise
            return self._lacking(str(error), error.remedy, PROTECT_FOR)
        return passed("a date was set until which nobody can delete a blob")

    def _lacking(self, told: str, remedy: str, setting: str = URL) -> Found:
        """What an account of Azure has to have, and one with keys alone, or the emulator, cannot."""
        return (warned if self._weak else failed)(told, remedy, setting=setting)

    def _too_much(self, what: str, right: str, remedy: str) -> Found:
        """What should have been refused was done."""
        if self._vault.key:
            return warned(
                f"the account key may {what}, as every key may",
                f"Where the account knows Entra ID, remove {KEY} and give the app's identity the role; {_RIGHTS}.",
                setting=KEY,
            )
        if is_loopback(self._vault.url):
            return warned(f"this identity may {what}: an emulator refuses nobody", setting=URL)
        return failed(
            f"this identity may {what}: who takes over the app can destroy every backup",
            f"Take the right Microsoft.Storage/storageAccounts/blobServices/containers/{right} from it. {remedy}. "
            f"{_RIGHTS}.",
            setting=URL,
        )

    @property
    def _weak(self) -> bool:
        return self._vault.key is not None or is_loopback(self._vault.url)

    # --- the repository ---

    def _repository(self) -> Found:
        if SHARE_CONTAINER in self._missing or RECORDS_CONTAINER in self._missing:
            return skipped(f"there is no repository yet: {_FIRST}, and the repository in it")
        passwords = self._passwords()
        try:
            repository = open_repository(self._share, self._records, passwords)
        except RepositoryMissing:
            known = passwords.repository_id() or passwords.earlier_repository_id()
            if known or next(self._records.list("points/"), None) is not None:
                return failed(
                    f"the container {SHARE_CONTAINER} holds no repository, but there was one: somebody emptied the "
                    "vault",
                    "Run 'undelete' to bring it back, or 'backup --new-repository' to begin anew without it.",
                    setting=URL,
                )
            return skipped("there is no repository yet: the first 'backup' makes it")
        told = f"the repository {repository.config.id[:8]} opens with the password"
        tagged = passwords.repository_id()
        if tagged is not None and tagged != repository.config.id:
            return warned(
                f"{told}, whose tag in the Key Vault names another one, {tagged[:8]}",
                f"Check that {URL} and LIFEBOAT_KEY_VAULT_URL belong together.",
                setting="LIFEBOAT_KEY_VAULT_URL",
            )
        return self._locked(repository, told)

    def _locked(self, repository: Repository, told: str) -> Found:
        """First a lock that nobody has: who may not delete it would leave ours behind."""
        self._share.delete(f"locks/{token_hex(32)}")
        try:
            lock = locks.acquire(repository, exclusive=False, hostname=f"preflight-{token_hex(4)}")
        except RepositoryLocked as locked:
            return warned(f"{told}, and {locked}", locked.remedy, setting="LIFEBOAT_LOCK_WAIT")
        self._lock = repository, lock
        locks.release(repository, lock)
        self._lock = None
        return passed(f"{told}, and a lock was taken and given back")

    def _passwords(self) -> GivenPassword | KeyVaultPassword:
        if self._vault.repository_password or not self._vault.key_vault_url:
            return GivenPassword(self._vault.repository_password)
        self._secrets = KeyVaultSecrets.open(self._vault.key_vault_url, open_credential())
        return _Looking(self._secrets)


def _keeper_may_not(refusal: StorageForbidden) -> Found:
    """The backup app must never be given what the keeper has: it may only have been taken for the keeper."""
    if error_code(refusal.__cause__) in _NOT_US:
        raise refusal
    return failed(
        f"this looks as the keeper, who has to be able to: {refusal}",
        f"If this is the backup app, which must not be able to, set {ROLE}=backup. If it is the keeper: "
        f"{refusal.remedy}",
        setting=ROLE,
    )


class _Looking(KeyVaultPassword):
    """Sets nothing: which password is the current one is a backup's to settle."""

    def settle(self, version: str | None, repository_id: str) -> None:
        """Nothing is settled."""


_NO_DATES = (
    "Version-level immutability is switched on when the account is made: deploy the vault anew with it, or set "
    f"{PROTECT_FOR} to 0s, which goes without this protection."
)
