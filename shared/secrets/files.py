"""Files in the Key Vault: SystemSecrets.JSON, and what else is needed to restore, byte for byte.

A secret holds 25,000 characters at most, so a file is compressed, written in base64 and cut into *parts*, each a secret
of its own; then a *manifest* is written, last, which names the exact version of each part. Every version of a secret is
kept, so whatever is interrupted leaves the manifest of before, and with it the file of before; parts that no manifest
names are never read.

    system-secrets            the manifest: JSON {"format", "sha256", "size_bytes", "parts": [version, ...]}
    system-secrets-part-01    the first part
    file-NAME, file-NAME-part-01, ...    a file that is kept under a name

What is known of a file without reading it stands in the tags of its manifest, times by our own clock. The limits of
names, values and tags: Key Vault, "About keys, secrets and certificates" and "Azure Key Vault service limits".
"""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import orjson

from shared.errors import Damaged, NoSecrets, StorageForbidden, UsageError
from shared.secrets.findings import MOST_BYTES
from shared.storage.key_vault import Secret, SecretStore

SYSTEM_SECRETS = "system-secrets"
RESERVED = frozenset(
    {
        SYSTEM_SECRETS,
        "sql-logins",
        "repository-password",
        "share-password",
        "sql-password",
        "drill-sql-password",
        "sql-adopt-sas",
        "lifeboat-preflight",
    }
)
"""Secrets with a meaning of their own: who keeps a file under such a name means the secret, which it would not be."""
MOST_CHARACTERS = 25_000
"""Of the value of one secret."""
CONTENT_TYPE = "application/vnd.lifeboat.file+json"
PART_CONTENT_TYPE = "application/vnd.lifeboat.part"
_FORMAT = 1
_PREFIX = "file-"
_TAG, _TAG_VALUE = "lifeboat", "file"
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{0,79}\Z")
_LOOKS_LIKE_A_PART = re.compile(r"-part-\d+\Z")
_LONGEST_TAG = 256
_CLOCKS_DIFFER = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One version of a file, without its content."""

    secret: str
    """Name of the manifest."""
    version: str
    """Of the manifest."""
    sha256: str
    size_bytes: int
    filename: str
    """What the file was called where it came from."""
    uploaded: datetime
    """When these bytes came."""
    refreshed: datetime | None = None
    """When the same bytes came again, the last time."""
    confirmed: datetime | None = None
    """When somebody last said that nothing was rotated."""
    expires: datetime | None = None
    """The reminder; the file can be read after it, too."""

    @property
    def moment(self) -> datetime:
        """What its age is counted from."""
        return max(filter(None, (self.uploaded, self.refreshed, self.confirmed)))

    @property
    def last_word(self) -> datetime:
        """When somebody last said that this is right, by new bytes or by confirming; not by the same bytes again."""
        return max(filter(None, (self.uploaded, self.confirmed)))

    @property
    def name(self) -> str:
        """The name that it is kept under; for SystemSecrets.JSON that of its secret."""
        return self.secret.removeprefix(_PREFIX)


class Put(NamedTuple):
    """What came of keeping a file."""

    file: StoredFile
    new: bool
    """It made a new version: the bytes that are current already make none."""
    before: tuple[StoredFile, bytes] | None
    """What was current; None also where it could not be read back."""


@dataclass(frozen=True, slots=True)
class SecretFiles:
    """The files of one Key Vault. Errors besides those named: those of ``SecretStore``."""

    store: SecretStore

    def put(self, secret: str, content: bytes, *, filename: str, remind_after: timedelta | None, now: datetime) -> Put:
        """Keep ``content``.

        ``remind_after``: the version's expiry date, which is a reminder; Key Vault gives the version out after it too.
        """
        sha256 = hashlib.sha256(content).hexdigest()
        before = self._readable(secret)
        if before is not None and before[0].sha256 == sha256:
            return Put(before[0], False, before)
        first = self._first_upload(secret, sha256)
        coded = base64.b64encode(zlib.compress(content, 9)).decode("ascii")
        parts = []
        for number, part in enumerate(_pieces(coded), 1):
            made = self.store.set(_part(secret, number), part, {_TAG: "part"}, content_type=PART_CONTENT_TYPE)
            parts.append(made.version)
        manifest = {"format": _FORMAT, "sha256": sha256, "size_bytes": len(content), "parts": parts}
        name = plain(filename)[-_LONGEST_TAG:]
        made_of = StoredFile(secret, "", sha256, len(content), name, first or now, now if first else None)
        made = self.store.set(
            secret,
            orjson.dumps(manifest).decode(),
            _tags(made_of),
            content_type=CONTENT_TYPE,
            expires=_after(now, remind_after),
        )
        return Put(_stored(made), True, before)

    def refresh(self, file: StoredFile, *, remind_after: timedelta | None, now: datetime) -> StoredFile:
        """Record that the bytes of ``file`` came once more."""
        return self._tag(replace(file, refreshed=now), _after(now, remind_after))

    def confirm(self, secret: str, *, remind_after: timedelta | None, now: datetime) -> StoredFile:
        """Record that the current version, which is read back for it, is still right. ``NoSecrets``, ``Damaged``."""
        current, _ = self.read(secret)
        return self._tag(replace(current, confirmed=now), _after(now, remind_after))

    def current(self, secret: str) -> StoredFile | None:
        """The current version; None where there is none. ``Damaged`` for a secret that is no manifest of ours."""
        found = self.store.get(secret)
        return _stored(found) if found is not None else None

    def read(self, secret: str, version: str | None = None) -> tuple[StoredFile, bytes]:
        """That version, by default the current one, and its content, exactly as it came.

        ``NoSecrets`` where there is none; ``Damaged`` where a part is missing or the hash is not right.
        """
        found = self.store.get(secret, version)
        if found is None:
            raise no_secrets(secret, version)
        stored = _stored(found)
        return stored, self._content(stored, _manifest(found))

    def kept(self) -> list[str]:
        """The names under which files are kept beside SystemSecrets.JSON."""
        return sorted(
            each.name.removeprefix(_PREFIX)
            for each in self.store.names()
            if each.tags.get(_TAG) == _TAG_VALUE and each.name.startswith(_PREFIX)
        )

    def _content(self, stored: StoredFile, manifest: Mapping[str, object]) -> bytes:
        coded = []
        versions = manifest["parts"]
        assert isinstance(versions, list)
        for number, version in enumerate(versions, 1):
            part = self.store.get(_part(stored.secret, number), version)
            if part is None:
                raise _damaged(stored, f"its part {_part(stored.secret, number)}, version {version}, is gone")
            coded.append(part.value)
        try:
            content = _decompressed(base64.b64decode("".join(coded), validate=True))
        except (ValueError, zlib.error):
            raise _damaged(stored, "its parts cannot be put together") from None
        if hashlib.sha256(content).hexdigest() != stored.sha256 or len(content) != stored.size_bytes:
            raise _damaged(stored, "its hash is not the recorded one")
        return content

    def _readable(self, secret: str) -> tuple[StoredFile, bytes] | None:
        """The current version; None also where nobody can read it back: then the same bytes are worth a new version."""
        try:
            return self.read(secret)
        except (Damaged, NoSecrets):
            return None
        except StorageForbidden:
            if any(each.name == secret and not each.enabled for each in self.store.names()):
                return None  # somebody has disabled it
            raise

    def _first_upload(self, secret: str, sha256: str) -> datetime | None:
        """When these bytes first came, as an earlier version tells: bytes of before a rotation are no news of it."""
        same = [each for each in self.store.versions(secret) if each.tags.get("sha256") == sha256]
        return min((_time(each.tags, "uploaded") or each.created for each in same), default=None)

    def _tag(self, file: StoredFile, expires: datetime | None) -> StoredFile:
        self.store.set_tags(file.secret, file.version, _tags(file), expires=expires)
        return replace(file, expires=expires or file.expires)


def secret_of(name: str | None) -> str:
    """The secret for a file that is kept under ``name``; None: SystemSecrets.JSON. ``UsageError``."""
    if name is None:
        return SYSTEM_SECRETS
    if not _NAME.match(name) or _LOOKS_LIKE_A_PART.search(name):
        raise UsageError(
            f"{name!r} is no name for a file in the Key Vault",
            remedy="Use up to 80 letters, digits and hyphens, no hyphen first, and no -part-01 at the end.",
        )
    return _PREFIX + name.lower()  # a Key Vault does not tell upper and lower case apart


def plain(name: str) -> str:
    """The name of a file, fit for a line on a terminal: what does not print is escaped."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in name)


def no_secrets(secret: str, version: str | None = None) -> NoSecrets:
    if secret == SYSTEM_SECRETS:
        which = f"version {version} of SystemSecrets.JSON" if version else "SystemSecrets.JSON"
        return NoSecrets(
            f"the Key Vault holds no {which} (secret {secret})",
            remedy="Download it in the administrator portal (App Service, Secrets, Download Secrets), then: "
            "python lifeboat.py secrets put SystemSecrets.JSON. If it was deleted: az keyvault secret recover.",
            setting="LIFEBOAT_KEY_VAULT_URL",
        )
    which = f"version {version} of the secret {secret}" if version else f"secret {secret}"
    return NoSecrets(
        f"the Key Vault holds no {which}",
        remedy=f"Keep it ('secrets put FILE --name {secret.removeprefix(_PREFIX)}'); if it was deleted: "
        f"az keyvault secret recover --vault-name VAULT --name {secret}.",
        setting="LIFEBOAT_KEY_VAULT_URL",
    )


def _after(now: datetime, wait: timedelta | None) -> datetime | None:
    return now + wait if wait is not None else None


def _part(secret: str, number: int) -> str:
    return f"{secret}-part-{number:02}"


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, max(len(text), 1), MOST_CHARACTERS):
        yield text[start : start + MOST_CHARACTERS]


def _decompressed(data: bytes) -> bytes:
    """No more than a file may have: a small part must not grow into gigabytes. ``zlib.error``, ``ValueError``."""
    reader = zlib.decompressobj()
    content = reader.decompress(data, MOST_BYTES + 1)
    if not reader.eof or len(content) > MOST_BYTES:
        raise ValueError("cut short, or too large")
    return content


def _manifest(found: Secret) -> dict[str, object]:
    try:
        manifest = orjson.loads(found.value)
        if manifest["format"] > _FORMAT:
            raise Damaged(
                f"the secret {found.name} was written by a newer Lifeboat",
                remedy="Use that version or a newer one.",
                blob=found.name,
            )
        if not isinstance(manifest["parts"], list) or type(manifest["size_bytes"]) is not int:
            raise TypeError
        if not all(isinstance(version, str) for version in [manifest["sha256"], *manifest["parts"]]):
            raise TypeError
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise Damaged(
            f"the secret {found.name} is no file that Lifeboat has written",
            remedy="Somebody has set it by other means: upload the file anew ('secrets put'). Points name earlier "
            f"versions; all of them: az keyvault secret list-versions --vault-name VAULT --name {found.name}.",
            blob=found.name,
        ) from None  # the cause holds the value
    return dict(manifest)


def _tags(file: StoredFile) -> dict[str, str]:
    times = {"uploaded": file.uploaded, "refreshed": file.refreshed, "confirmed": file.confirmed}
    return {
        _TAG: _TAG_VALUE,
        "sha256": file.sha256,
        "size": str(file.size_bytes),
        "filename": file.filename,
        **{name: time.isoformat() for name, time in times.items() if time is not None},
    }


def _stored(found: Secret) -> StoredFile:
    """From the manifest, which cannot be changed; the times from its tags."""
    manifest = _manifest(found)
    tags = found.tags
    size = manifest["size_bytes"]
    assert isinstance(size, int)
    return StoredFile(
        found.name,
        found.version,
        str(manifest["sha256"]),
        size,
        plain(tags.get("filename", found.name)),
        _uploaded(found),
        _time(tags, "refreshed"),
        _time(tags, "confirmed"),
        found.expires,
    )


def _uploaded(found: Secret) -> datetime:
    """By our own clock, to the microsecond; by the service's where ours was far off, which is in whole seconds."""
    told = _time(found.tags, "uploaded")
    return told if told is not None and told <= found.created + _CLOCKS_DIFFER else found.created


def _time(tags: Mapping[str, str], name: str) -> datetime | None:
    """None where it is absent, or was edited by hand into something that is no time."""
    try:
        return datetime.fromisoformat(tags[name]).astimezone(UTC)
    except (KeyError, ValueError, OverflowError):
        return None


def _damaged(stored: StoredFile, why: str) -> Damaged:
    return Damaged(
        f"the secret {stored.secret}, version {stored.version} ({stored.filename}), cannot be read back: {why}",
        remedy="Upload it anew ('secrets put'), or use an earlier recovery point; a part that was deleted can be "
        "recovered: az keyvault secret recover.",
        blob=stored.secret,
    )
