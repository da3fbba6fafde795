"""The component ``secrets`` of a recovery point: SystemSecrets.JSON, the files kept beside it, and whether it fits."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.errors import LifeboatError, SecretsFileError, SettingsError, UsageError
from shared.recovery_point.record import COMPLETE, FAILED, PARTIAL, RecoveryPoint
from shared.repository.trees import datetime_of, rfc3339_of
from shared.secrets.files import RESERVED, SYSTEM_SECRETS, SecretFiles, StoredFile, plain, secret_of
from shared.secrets.findings import (
    MOST_BYTES,
    Certificate,
    Findings,
    check_system_secrets,
    find_in_file,
    find_in_system_secrets,
)
from shared.secrets.pairing import DRIFT, UNKNOWN, Finding, Known, Memory, judge, remember, settle
from shared.settings import Settings
from shared.storage.credentials import open_credential
from shared.storage.key_vault import KeyVaultSecrets
from shared.storage.vault import Vault
from shared.telemetry import Event, emit

if TYPE_CHECKING:
    from shared.databases.users import ServiceUsers

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Replaced:
    """The version of a file before the one that was just made."""

    file: StoredFile
    findings: Findings


@dataclass(frozen=True, slots=True)
class PutSecrets:
    """What came of an upload."""

    file: StoredFile
    new: bool
    """False: these bytes were current already, and their age was refreshed."""
    findings: Findings
    replaced: Replaced | None = None
    """What was current before; None where nothing was replaced, or it cannot be read back."""
    notes: tuple[str, ...] = ()
    """For people, of the file and of what it replaced."""

    def answer(self) -> Json:
        """What the command answers, and the HTTP upload."""
        return described(self.file) | {
            "new": self.new,
            "certificates": [_certificate(self.file.name, each) for each in self.findings.certificates],
            "passwords": self.findings.passwords,
            "replaced": {
                "version": self.replaced.file.version,
                "size_bytes": self.replaced.file.size_bytes,
                "passwords": self.replaced.findings.passwords,
                "certificates": len(self.replaced.findings.certificates),
            }
            if self.replaced
            else None,
            "notes": list(self.notes),
        }


def put_secrets(
    settings: Settings,
    content: bytes,
    *,
    name: str | None = None,
    filename: str,
    modified: datetime | None = None,
) -> PutSecrets:
    """Keep SystemSecrets.JSON, or another file under ``name``, in the Key Vault. ``modified``: when the file was last
    written, where that is known.

    ``SecretsFileError`` for what cannot be SystemSecrets.JSON, or is larger than 1 MiB; ``UsageError`` for a name that
    is none; ``SettingsError``, and the errors of the Key Vault. Whatever goes wrong, what was current stays current.
    """
    if name is not None and name.lower() in RESERVED:
        raise UsageError(
            f"{name!r} is reserved: a file that is kept under it would not be the secret of that name",
            remedy="Choose another name; SystemSecrets.JSON is kept without --name, and a password that Lifeboat is to "
            "use is set by: az keyvault secret set --vault-name VAULT --name NAME --file FILE.",
        )
    secret, filename = secret_of(name), plain(filename)
    if name is None:
        check_system_secrets(content, filename)
    elif not content or len(content) > MOST_BYTES:
        what = "is empty" if not content else f"has {len(content):,} bytes, and {MOST_BYTES:,} are the limit"
        raise SecretsFileError(f"{filename} {what}", remedy="Is it the right file?")
    with open_files(settings) as files:
        now, remind_after = datetime.now(UTC), _remind_after(settings)
        put = files.put(secret, content, filename=filename, remind_after=remind_after, now=now)
        stored = put.file if put.new else files.refresh(put.file, remind_after=remind_after, now=now)
        findings = _find(files, stored, content, files.kept() if name else ())
    replaced = Replaced(put.before[0], _find_alone(*put.before)) if put.new and put.before else None
    done = PutSecrets(stored, put.new, findings, replaced, findings.notes)
    return done if name else replace(done, notes=(*findings.notes, *_notes(done, modified)))


def _notes(put: PutSecrets, modified: datetime | None) -> Iterator[str]:
    """What speaks against a file that was taken as SystemSecrets.JSON, any JSON object being one."""
    before = put.replaced
    if not _count(put.findings) or (before and 2 * _count(put.findings) < _count(before.findings)):
        held = f", where the version before holds {found_text(before.findings)}" if before else ""
        still = f"; the version before is still there: {before.file.version}" if before else ""
        yield (
            f"ATTENTION: this does not look like SystemSecrets.JSON: {put.file.filename} holds "
            f"{found_text(put.findings)}{held}{still}"
        )
    if before and modified and modified < before.file.uploaded:
        yield (
            f"ATTENTION: {put.file.filename} was last written at {time_text(modified)}, before the version that it "
            f"replaced was uploaded ({time_text(before.file.uploaded)}): is it an older download?"
        )
    if not put.new:
        yield (
            f"these bytes are current already, they are here since {time_text(put.file.uploaded)}, and that they came "
            "again does not clear drift: if the secrets were rotated since, download them anew"
        )
    elif put.file.refreshed:
        yield (
            f"these bytes are not new, they were first uploaded at {time_text(put.file.uploaded)}: for drift to be "
            "cleared 'secrets confirm' is needed, where they fit the databases as they are now"
        )


def _count(findings: Findings) -> int:
    return findings.passwords + len(findings.certificates)


def found_text(findings: Findings) -> str:
    """``12 passwords or keys and 1 certificate``"""
    passwords, certificates = findings.passwords, len(findings.certificates)
    return (
        f"{passwords} {'password or key' if passwords == 1 else 'passwords or keys'} and "
        f"{certificates} certificate{'' if certificates == 1 else 's'}"
    )


def time_text(moment: datetime) -> str:
    """For people, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


@dataclass(frozen=True, slots=True)
class Confirmed:
    file: StoredFile
    before: datetime | None
    """When it had been confirmed the last time before."""

    def answer(self) -> Json:
        """What the command answers."""
        return described(self.file) | {"confirmed_before": rfc3339_of(self.before) if self.before else None}


def confirm_secrets(settings: Settings) -> Confirmed:
    """Record that somebody looked: nothing was rotated since, or the file fits the databases as they are now.
    ``NoSecrets``, ``Damaged``."""
    with open_files(settings) as files:
        before = files.current(SYSTEM_SECRETS)
        file = files.confirm(SYSTEM_SECRETS, remind_after=_remind_after(settings), now=datetime.now(UTC))
    return Confirmed(file, before.confirmed if before else None)


@dataclass(frozen=True, slots=True)
class SecretsListed:
    """What is current in the Key Vault."""

    files: tuple[StoredFile, ...]
    """SystemSecrets.JSON, where there is one, then what is kept beside it, by name."""
    reasons: tuple[Json, ...]
    """Of what could not be looked at."""

    def answer(self) -> Json:
        """What the command answers."""
        status = "ok" if not self.reasons else PARTIAL if self.files else FAILED
        return {
            "status": status,
            "reasons": list(self.reasons),
            "files": [
                described(file)
                | {
                    "name": file.name,
                    "secret": file.secret,
                    "expires": rfc3339_of(file.expires) if file.expires else None,
                }
                for file in self.files
            ],
        }


def list_secrets(settings: Settings) -> SecretsListed:
    """Look at the newest version of each file, without its content. ``SettingsError``; all else is a result."""
    found: list[StoredFile] = []
    reasons: list[Json] = []
    with open_files(settings) as files:
        names: list[str | None] = [None]
        try:
            names += files.kept()
        except LifeboatError as error:
            reasons.append(error.as_reason("secrets"))
        for name in names:
            try:
                current = files.current(secret_of(name))
            except LifeboatError as error:
                reasons.append(error.as_reason("secrets"))
            else:
                found += [current] if current else []
    return SecretsListed(tuple(found), tuple(each for at, each in enumerate(reasons) if each not in reasons[:at]))


class Upload(NamedTuple):
    content: bytes
    modified: datetime
    """When the file was last written, aware."""


def read_upload(path: Path) -> Upload:
    """A file that is to be kept. ``SecretsFileError`` where it cannot be read, is no regular file, or is too large."""
    name = plain(str(path))
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # opening a FIFO would wait for whoever writes to it
            raise SecretsFileError(
                f"{name} is {_kind(found.st_mode)}, no regular file",
                remedy="Name the file that was downloaded; what comes out of a pipe, save to a file first.",
            )
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise SecretsFileError(
            f"{name} cannot be read: {error.strerror or error}", remedy="Name the file that was downloaded."
        ) from error
    if max(found.st_size, len(content)) > MOST_BYTES:
        size = f"{found.st_size:,}" if found.st_size > MOST_BYTES else f"more than {MOST_BYTES:,}"
        raise SecretsFileError(
            f"{name} has {size} bytes, and {MOST_BYTES:,} are the limit", remedy="Is it the right file?"
        )
    return Upload(content, datetime.fromtimestamp(found.st_mtime, UTC))


def _kind(mode: int) -> str:
    kinds = {"a folder": stat.S_ISDIR, "a FIFO": stat.S_ISFIFO, "a socket": stat.S_ISSOCK}
    return next((kind for kind, is_it in kinds.items() if is_it(mode)), "a device")


@contextmanager
def open_files(settings: Settings, *, recorded: str | None = None) -> Iterator[SecretFiles]:
    """``SettingsError`` where no Key Vault is configured, which tells the one that a point has ``recorded``."""
    url = settings.key_vault_url()
    if url is None:
        raise SettingsError(
            "there is no Key Vault",
            remedy=f"Set LIFEBOAT_KEY_VAULT_URL{f' to {recorded}' if recorded else ', such as https://NAME.vault.azure.net'}.",
            setting="LIFEBOAT_KEY_VAULT_URL",
        )
    with KeyVaultSecrets.open(url, open_credential()) as store:
        yield SecretFiles(store)


@dataclass(slots=True)
class SecretsComponent:
    """Looks at the secrets as part of a recovery point: they lie in the Key Vault already, so nothing is copied; what
    is there is read back and held against its hash, and the point names its version.

    ``begin`` before the databases are backed up, ``finish`` after."""

    settings: Settings
    vault: Vault
    points: Callable[[], Iterable[RecoveryPoint]]
    """Earlier points, newest first."""
    _files: dict[str, StoredFile] = field(default_factory=dict)
    _certificates: list[tuple[str, Certificate]] = field(default_factory=list)
    _notes: list[str] = field(default_factory=list)
    _reasons: list[Json] = field(default_factory=list)
    version_at_start: str | None = None
    """Of SystemSecrets.JSON, when the run began."""

    def begin(self) -> None:
        """Read the files that are kept beside SystemSecrets.JSON. What goes wrong is a result: see ``finish``."""
        files = self._secret_files
        try:
            current = files.current(SYSTEM_SECRETS)
            self.version_at_start = self.version_at_start or (current.version if current else None)
            names = files.kept()
        except LifeboatError as error:
            self._reasons.append(error.as_reason("secrets"))
            return
        for name in names:
            try:
                stored, content = files.read(secret_of(name))
                found = _find(files, stored, content, names)
            except LifeboatError as error:
                self._reasons.append(error.as_reason("secrets"))
                continue
            self._files[name] = stored
            self._certificates += [(name, certificate) for certificate in found.certificates]
            self._notes += [f"{name}: {note}" for note in found.notes]

    @property
    def held_certificates(self) -> frozenset[str]:
        """Thumbprints of certificates that are kept with their private key."""
        return frozenset(certificate.thumbprint for _, certificate in self._certificates if certificate.has_key)

    def finish(self, databases: Json | None) -> tuple[Json, list[Json]]:
        """The component's object for the record, and the reasons why it is not complete. ``databases``: that component
        of the same point, None where it was not requested."""
        component: Json = {"key_vault": self.settings.key_vault_url()}
        try:
            stored, content = self._secret_files.read(SYSTEM_SECRETS)
        except LifeboatError as error:
            reason = error.as_reason("secrets")
            if reason not in self._reasons:
                self._reasons.append(reason)
            component["status"] = FAILED
        else:
            found = find_in_system_secrets(content)
            self._certificates += [(SYSTEM_SECRETS, certificate) for certificate in found.certificates]
            self._notes += [f"SystemSecrets.JSON: {note}" for note in found.notes]
            component |= described(stored) | {
                "pairing": self._pair(stored, databases or {}),
                "status": PARTIAL if self._reasons else COMPLETE,
            }
        return component | self._more(), self._reasons

    @property
    def _secret_files(self) -> SecretFiles:
        assert self.vault.secrets is not None, "requested only where it is configured"
        return SecretFiles(self.vault.secrets)

    def _pair(self, stored: StoredFile, databases: Json) -> Json:
        now = datetime.now(UTC)
        memory = _memory(self.points())
        seen = self._users(memory)
        moment = _moment(databases)
        fresh = judge(
            seen.users,
            seen.hidden,
            uploaded=stored.uploaded,
            confirmed=stored.confirmed,
            databases_moment=moment,
            memory=memory,
            now=now,
        )
        pairing, finding = settle(fresh, memory, last_word=stored.last_word, now=now)
        if pairing.verdict == DRIFT:
            self._reasons.append(
                {"component": "secrets", "code": "drift", "message": pairing.detail, "remedy": self._remedy(stored)}
            )
        elif pairing.verdict == UNKNOWN:
            self._notes.append(f"whether the secrets fit the databases is unknown: {pairing.detail}")
        return {
            "verdict": pairing.verdict,
            "detail": pairing.detail,
            "rotated": list(pairing.rotated),
            "databases_moment": rfc3339_of(moment) if moment else None,
            "users": [
                {
                    "database": user.database,
                    "name": user.name,
                    "local": user.local,
                    "modified": rfc3339_of(user.modified),
                }
                for user in seen.users
            ],
            "hidden": list(seen.hidden),
            "memory": _to_json(remember(seen.users, memory, finding, last_word=stored.last_word, now=now)),
        }

    def _remedy(self, stored: StoredFile) -> str:
        if self.version_at_start not in (None, stored.version):
            return f"Run 'backup' again. What fits the databases in this point is version {self.version_at_start}."
        return (
            "Download the secrets anew in the administrator portal and run 'secrets put'; where nothing was rotated, "
            "or an earlier file was put back that fits, 'secrets confirm'."
        )

    def _users(self, memory: Memory) -> ServiceUsers:
        """App Service's own users, and what of them cannot be seen."""
        from shared.databases.inspection import inspect  # not for a share alone
        from shared.databases.users import ServiceUsers, read_service_users
        from shared.recovery_point.databases import connect

        if "databases" not in self.settings.configured():
            return ServiceUsers((), ("the databases are not configured here (LIFEBOAT_SQL_SERVER)",))
        earlier = {user: (known.local, known.modified) for user, known in memory.known.items()}
        try:
            sql = self.settings.databases()
            with connect(sql.server, self.vault)() as connection:
                return read_service_users(connection, inspect(connection), sql.databases, earlier)
        except LifeboatError as error:
            return ServiceUsers((), (f"the databases cannot be asked: {error}",))

    def _more(self) -> Json:
        now = datetime.now(UTC)
        warn = now + timedelta(seconds=self.settings.expiry_warning_seconds())
        certificates = [_certificate(file, each) for file, each in self._certificates]
        expiring = [
            line for line, (_, each) in zip(certificates, self._certificates, strict=True) if each.not_after <= warn
        ]
        self._notes += [_expiry_note(line, now) for line in expiring]
        return {
            "kept": {
                name: {
                    **{key: value for key, value in described(stored).items() if key in _KEPT_KEYS},
                    "thumbprints": [each.thumbprint for file, each in self._certificates if file == name],
                }
                for name, stored in self._files.items()
            },
            "certificates": certificates,
            "expiring": expiring,
            "finished": rfc3339_of(now),
            "notes": self._notes,
        }


_KEPT_KEYS = ("version", "sha256", "size_bytes", "filename", "uploaded")


def tell(component: Json, point: str) -> None:
    """An event where the secrets drifted."""
    pairing = component.get("pairing", {})
    if pairing.get("verdict") == DRIFT:
        emit(Event.SECRETS_DRIFT, point=point, rotated=", ".join(pairing["rotated"]))


def _memory(points: Iterable[RecoveryPoint]) -> Memory:
    """What the newest point that looked has handed on."""
    for point in points:
        carried = (point.components.get("secrets", {}).get("pairing") or {}).get("memory")
        if carried:
            return _from_json(carried)
    return Memory()


def _to_json(memory: Memory) -> Json:
    finding = memory.open
    return {
        "at": rfc3339_of(memory.at) if memory.at else None,
        "known": [
            {
                "database": database,
                "name": name,
                "local": known.local,
                "modified": rfc3339_of(known.modified),
                "highest": rfc3339_of(known.highest),
            }
            for (database, name), known in memory.known.items()
        ],
        "open": {
            "at": rfc3339_of(finding.at),
            "verdict": finding.verdict,
            "detail": finding.detail,
            "rotated": list(finding.rotated),
        }
        if finding
        else None,
    }


def _from_json(carried: Json) -> Memory:
    finding = carried["open"]
    return Memory(
        datetime_of(carried["at"]) if carried["at"] else None,
        {
            (user["database"], user["name"]): Known(
                user["local"], datetime_of(user["modified"]), datetime_of(user["highest"])
            )
            for user in carried["known"]
        },
        Finding(datetime_of(finding["at"]), finding["verdict"], finding["detail"], tuple(finding["rotated"]))
        if finding
        else None,
    )


def _moment(databases: Json) -> datetime | None:
    """The earliest that a backup of the same point stands for, on our own clock: the record has the server's."""
    from shared.databases.users import SKEW_SECONDS

    if "data_time" not in databases:
        return None
    skew = (databases.get("server") or {}).get("clock_skew_seconds") or 0.0
    return datetime_of(databases["data_time"]) - timedelta(seconds=skew if abs(skew) >= SKEW_SECONDS else 0)


def described(stored: StoredFile) -> Json:
    """A file as records and answers have it."""
    return {
        "name": stored.secret,
        "version": stored.version,
        "sha256": stored.sha256,
        "size_bytes": stored.size_bytes,
        "filename": stored.filename,
        "uploaded": rfc3339_of(stored.uploaded),
        "refreshed": rfc3339_of(stored.refreshed) if stored.refreshed else None,
        "confirmed": rfc3339_of(stored.confirmed) if stored.confirmed else None,
        "moment": rfc3339_of(stored.moment),
        "age_seconds": round(max(0.0, (datetime.now(UTC) - stored.moment).total_seconds()), 3),
    }


def _certificate(file: str, certificate: Certificate) -> Json:
    return {
        "file": file,
        "subject": certificate.subject,
        "thumbprint": certificate.thumbprint,
        "not_after": rfc3339_of(certificate.not_after),
        "has_key": certificate.has_key,
    }


def _expiry_note(line: Json, now: datetime) -> str:
    not_after = datetime_of(line["not_after"])
    days = abs((not_after - now).days)
    when = f"expires in {days} days" if not_after > now else f"expired {days} days ago"
    return f"the certificate {line['subject']} ({line['thumbprint']}) in {line['file']} {when}, on {not_after:%Y-%m-%d}"


def _find(files: SecretFiles, stored: StoredFile, content: bytes, names: Sequence[str]) -> Findings:
    """What is in a file; a certificate's key and password are looked for beside it: NAME-key, NAME-password."""
    if stored.secret == SYSTEM_SECRETS:
        return find_in_system_secrets(content)
    beside: dict[str, bytes | None] = {"key": None, "password": None}
    for what in beside:
        name = f"{stored.name}-{what}"
        if name in names:
            _, beside[what] = files.read(secret_of(name))
    return find_in_file(content, key=beside["key"], password=beside["password"])


def _find_alone(stored: StoredFile, content: bytes) -> Findings:
    return find_in_system_secrets(content) if stored.secret == SYSTEM_SECRETS else find_in_file(content)


def _remind_after(settings: Settings) -> timedelta:
    return timedelta(seconds=settings.rpo_seconds()["secrets"])
