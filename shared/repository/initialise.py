"""Making a repository exactly once, whoever else tries at the same time, and finishing what a dead initialiser began.

A kill or a race between ``keys/`` and ``config`` would leave two keys with one password and two masters, which restic
takes for damage for ever. So the initialiser is elected: the blob ``init`` in the container ``recovery-points``, put if
absent, holds the whole key file, the sealed config and the version of the password in the Key Vault. Whoever finds it
writes just these bytes. After ``--new-repository`` the election is ``init-2``, and so on: nothing is ever overwritten.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import secrets
import time
from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar, Protocol

import orjson

from shared.errors import (
    BlobExists,
    BlobNotFound,
    Damaged,
    RepositoryMissing,
    SettingsError,
    StorageForbidden,
    WrongPassword,
)
from shared.repository.crypto import MasterKey, write_key_file
from shared.repository.polynomial import random_polynomial
from shared.repository.repository import Config, KeyMissing, Repository
from shared.repository.trees import rfc3339
from shared.storage.blob_store import BlobStore
from shared.storage.key_vault import Secret, SecretStore

PASSWORD_SECRET = "repository-password"  # noqa: S105 - the name of the secret, not its value
REPOSITORY_TAG = "repository"
"""Tag on the password's version: the id of the repository that it opens, once that is complete."""
EARLIER_TAG = "earlier-repository"
"""Tag on a version made by ``--new-repository``: the id of the repository that it is to replace."""


class Passwords(Protocol):
    """Where the repository password comes from."""

    settles: ClassVar[bool]
    """Whether it keeps versions, of which one is to be made the current one."""

    def current(self) -> str | None:
        """The password, or None where there is none yet."""
        ...

    def repository_id(self) -> str | None:
        """The repository that the current password is known to have opened."""
        ...

    def earlier_repository_id(self) -> str | None:
        """The repository that an earlier password is known to have opened, where the current one opened none."""
        ...

    def propose(self, *, fresh: bool) -> tuple[str, str | None]:
        """A password and its version for a new repository; ``fresh``: never one that was used before."""
        ...

    def elected(self, version: str | None) -> str | None:
        """The password of the version that an election names."""
        ...

    def settle(self, version: str | None, repository_id: str) -> None:
        """Make the elected version the current one and tag it with the repository."""
        ...


@dataclass(frozen=True, slots=True)
class GivenPassword:
    """The setting LIFEBOAT_REPOSITORY_PASSWORD."""

    settles: ClassVar[bool] = False

    value: str | None

    def current(self) -> str | None:
        return self.value

    def repository_id(self) -> str | None:
        return None

    def earlier_repository_id(self) -> str | None:
        return None

    def propose(self, *, fresh: bool) -> tuple[str, str | None]:
        del fresh  # the operator's own choice either way
        if not self.value:
            raise _no_password()
        return self.value, None

    def elected(self, version: str | None) -> str | None:
        del version
        return self.value

    def settle(self, version: str | None, repository_id: str) -> None:
        """Nothing to settle: a setting has no versions."""


@dataclass(frozen=True, slots=True)
class KeyVaultPassword:
    """The Key Vault secret ``repository-password``, made at first use."""

    settles: ClassVar[bool] = True

    secrets: SecretStore

    def current(self) -> str | None:
        secret = self._current()
        return secret.value if secret else None

    def repository_id(self) -> str | None:
        secret = self._current()
        return secret.tags.get(REPOSITORY_TAG) if secret else None

    def earlier_repository_id(self) -> str | None:
        secret = self._current()
        return secret.tags.get(EARLIER_TAG) if secret else None

    def propose(self, *, fresh: bool) -> tuple[str, str | None]:
        secret = self._current()
        if secret is None or fresh:
            earlier = (secret.tags.get(REPOSITORY_TAG) or secret.tags.get(EARLIER_TAG)) if secret else None
            tags = {EARLIER_TAG: earlier} if earlier else {}
            secret = self.secrets.set(PASSWORD_SECRET, secrets.token_urlsafe(32), tags)
        return secret.value, secret.version

    def elected(self, version: str | None) -> str | None:
        secret = self.secrets.get(PASSWORD_SECRET, version)
        return secret.value if secret else None

    def settle(self, version: str | None, repository_id: str) -> None:
        current = self._current()
        value = current.value if current and current.version == version else self.elected(version)
        if value is None:
            raise Damaged(
                f"the Key Vault has no version {version} of the secret '{PASSWORD_SECRET}', with which the repository "
                "was made",
                remedy="Recover that secret in the Key Vault.",
            )
        tags = {REPOSITORY_TAG: repository_id}
        if current is None or current.value != value:
            self.secrets.set(PASSWORD_SECRET, value, tags)
        elif current.tags.get(REPOSITORY_TAG) != repository_id:
            self.secrets.set_tags(PASSWORD_SECRET, current.version, {**current.tags, **tags})

    def _current(self) -> Secret | None:
        return self.secrets.get(PASSWORD_SECRET)


def choose_passwords(given: str | None, key_vault: SecretStore | None) -> Passwords:
    """The setting where it is there, else the Key Vault where one is configured."""
    if given or key_vault is None:
        return GivenPassword(given)
    return KeyVaultPassword(key_vault)


@dataclass(frozen=True, slots=True)
class _Election:
    repository_id: str
    key_file: bytes
    sealed_config: bytes
    password_version: str | None
    after: str | None
    """The newest recovery point that was there when it was made: a newer one says that the repository was finished."""

    def to_json(self) -> bytes:
        return orjson.dumps(
            {
                "version": 1,
                "repository": self.repository_id,
                "key": base64.b64encode(self.key_file).decode(),
                "config": base64.b64encode(self.sealed_config).decode(),
                "password_version": self.password_version,
                "after": self.after,
            }
        )

    @classmethod
    def from_json(cls, document: bytes, name: str) -> _Election:
        try:
            fields = orjson.loads(document)
            repository_id, version, after = fields["repository"], fields["password_version"], fields.get("after")
            if not isinstance(repository_id, str) or not all(isinstance(each, str | None) for each in (version, after)):
                raise TypeError("a field is no text")
            return cls(
                repository_id, base64.b64decode(fields["key"]), base64.b64decode(fields["config"]), version, after
            )
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise Damaged(f"recovery-points/{name} cannot be read: {error!r}", blob=name) from error


def open_repository(share: BlobStore, records: BlobStore, passwords: Passwords) -> Repository:
    """Open the repository in ``share``; nothing is written but, in the Key Vault, the elected password made current
    where the rights allow that.

    ``RepositoryMissing``, ``WrongPassword``, ``SettingsError`` when no password is to be had, ``Damaged``.
    """
    password = passwords.current()
    if password is None:
        if not _has_config(share):
            raise _missing()
        password = passwords.current()  # an initialiser may have made both since
        if password is None:
            raise _no_password()
    try:
        return Repository.open(share, password)
    except WrongPassword:
        _, election = _newest_election(records)
        elected = passwords.elected(election.password_version) if election else None
        if election is None or elected is None or elected == password:
            raise
        repository = Repository.open(share, elected)
        with contextlib.suppress(StorageForbidden):  # a restorer may read secrets and not set them
            passwords.settle(election.password_version, repository.config.id)
        return repository


def open_or_initialise(
    share: BlobStore, records: BlobStore, passwords: Passwords, *, new_repository: bool = False
) -> Repository:
    """Open the repository in ``share``; make it where there is none, or finish one that is half made.

    ``records`` is the container of recovery points. ``new_repository``: make one although the vault seems to have been
    emptied. Errors as ``open_repository``.
    """
    try:
        repository = open_repository(share, records, passwords)
    except RepositoryMissing:
        _elect_and_write(share, records, passwords, new_repository)
        repository = open_repository(share, records, passwords)
    except KeyMissing:
        _, election = _newest_election(records)
        if election is None:
            raise
        _write(share, election)
        repository = open_repository(share, records, passwords)
    if passwords.settles and passwords.repository_id() != repository.config.id:
        _, election = _newest_election(records)
        if election is not None and election.repository_id == repository.config.id:
            passwords.settle(election.password_version, repository.config.id)
    return repository


def _elect_and_write(share: BlobStore, records: BlobStore, passwords: Passwords, new_repository: bool) -> None:
    known = passwords.repository_id() or passwords.earlier_repository_id()
    newest_point = _newest_point(records)
    number, election = _newest_election(records)  # last: so that it is no older than what the other two tell
    if _was_complete(election, known, newest_point):
        if _has_config(share):
            return  # somebody was quicker
        if not new_repository:
            raise RepositoryMissing(
                "the vault's container 'share' holds no repository, but there was one: somebody emptied the vault",
                remedy="Run 'undelete' to bring it back, or 'backup --new-repository' to begin anew without it.",
                blob="config",
            )
        election = None
    if election is None:
        election = _elect(records, passwords, number + 1, new_repository)
    _write(share, election)


def _elect(records: BlobStore, passwords: Passwords, number: int, fresh: bool) -> _Election:
    """Stand for election; returns the winner's, which is ours unless somebody was quicker."""
    password, version = passwords.propose(fresh=fresh)
    master = MasterKey.generate()
    config = Config(os.urandom(32).hex(), 2, random_polynomial())
    key_file = write_key_file(master, password, created=rfc3339(time.time_ns()))
    ours = _Election(config.id, key_file, config.sealed(master), version, _newest_point(records))
    name = _election_name(number)
    try:
        records.put(name, ours.to_json())
    except BlobExists:
        return _Election.from_json(records.get(name), name)
    return ours


def _write(share: BlobStore, election: _Election) -> None:
    """Key, then config: with the config the repository is there. The bytes are the election's: it may run twice."""
    share.put(f"keys/{sha256(election.key_file).hexdigest()}", election.key_file)
    try:
        share.put("config", election.sealed_config)
    except BlobExists as error:
        raise Damaged(
            "the vault holds a config that is not of the repository that Lifeboat began here",
            remedy="Another tool made a repository in the same container: give Lifeboat a vault of its own.",
            blob="config",
        ) from error


def _newest_election(records: BlobStore) -> tuple[int, _Election | None]:
    """Number and content of the newest election; 0 and None where there was none."""
    number = 0
    for blob in records.list("init"):
        match = _ELECTION.match(blob.name)
        if match is not None:
            number = max(number, int(match[1] or 1))
    if not number:
        return 0, None
    name = _election_name(number)
    return number, _Election.from_json(records.get(name), name)


_ELECTION = re.compile(r"init(?:-([1-9][0-9]{0,8}))?\Z")


def _election_name(number: int) -> str:
    return "init" if number == 1 else f"init-{number}"


def _was_complete(election: _Election | None, known: str | None, newest_point: str | None) -> bool:
    """Whether a repository was there before; one that an initialiser died over was not, and is to be finished.

    ``known``: the repository that the password is known to have opened.
    """
    if election is None:
        return known is not None or newest_point is not None
    return known == election.repository_id or (newest_point or "") > (election.after or "")


def _newest_point(records: BlobStore) -> str | None:
    return max((blob.name for blob in records.list("points/")), default=None)


def _has_config(share: BlobStore) -> bool:
    try:
        share.get("config", 0, 1)
    except BlobNotFound:
        return False
    return True


def _missing() -> RepositoryMissing:
    return RepositoryMissing(
        "the vault's container 'share' holds no repository",
        remedy="Run 'backup' to make one. If there was one, somebody emptied the vault: run 'undelete'.",
        blob="config",
    )


def _no_password() -> SettingsError:
    return SettingsError(
        "there is no repository password",
        remedy="Set LIFEBOAT_REPOSITORY_PASSWORD, or LIFEBOAT_KEY_VAULT_URL, in which it is made at first use.",
        setting="LIFEBOAT_REPOSITORY_PASSWORD",
    )
