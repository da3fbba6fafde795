"""What recovery points say of backups, read from the newest back, as far as a question needs.

A backup is *good* where its record says ``complete``: of a component, and of each database by itself. It does not
matter whether the point is whole, or what became of the other components. Nothing counts of a component that is
``failed`` (among them those whose lock was lost, with databases that look complete), of a share that is suspect, and
of the tails of logs that a restore took before it replaced a database: they are of what is not there any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared.errors import Damaged
from shared.recovery_point.catalog import Unreadable
from shared.recovery_point.record import COMPLETE, FAILED, RecoveryPoint
from shared.repository.trees import datetime_of

Json = dict[str, Any]

Key = tuple[str, str]
"""A component and the name of a database in small letters, empty for a component without databases."""

DATABASES, SHARE, SECRETS = "databases", "share", "secrets"
SUSPECT = "suspect"
_MOMENTS = {SHARE: "data_time", SECRETS: "moment"}
"""Where a component's record has the moment that its data stands for."""


@dataclass(frozen=True, slots=True)
class Good:
    """A good backup."""

    point: str
    moment: datetime
    """That its data stands for, aware UTC."""


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A backup that is newer than the newest good one, and is not good."""

    point: str
    status: str
    """``failed``, ``partial`` or ``suspect``."""


@dataclass(frozen=True, slots=True)
class User:
    """One of App Service's own users, as a point saw it."""

    database: str
    name: str
    modified: datetime


@dataclass(frozen=True, slots=True)
class RecordedPairing:
    """What a point says of its secrets and databases fitting each other, and what it was told by."""

    point: str
    time: str
    verdict: str
    detail: str
    rotated: tuple[str, ...]
    users: tuple[User, ...]
    hidden: tuple[str, ...]
    version: str
    uploaded: datetime
    confirmed: datetime | None
    found: datetime | None
    """When a finding was made that holds until somebody has spoken; None: there is none."""

    @property
    def last_word(self) -> datetime:
        """The newest upload or confirmation that it knew of."""
        return max(self.uploaded, self.confirmed or self.uploaded)

    def is_answered_by(self, word: datetime) -> bool:
        """An upload of new bytes or a confirmation of then is one that this could not take into account."""
        return word > max(self.last_word, self.found or self.last_word)


@dataclass(frozen=True, slots=True)
class RecordedCertificate:
    file: str
    """``system-secrets``, or the name that a file is kept under."""
    subject: str
    thumbprint: str
    not_after: datetime


@dataclass(frozen=True, slots=True)
class RecordedSecrets:
    """The version of SystemSecrets.JSON that a point names."""

    point: str
    key_vault: str | None
    sha256: str | None
    """None where the point found none."""


@dataclass(slots=True)
class History:
    """``read`` fills it."""

    good: dict[Key, Good] = field(default_factory=dict)
    """The newest of each."""
    passed_over: dict[Key, list[PassedOver]] = field(default_factory=dict)
    """Newest first."""
    whole: RecoveryPoint | None = None
    """The newest whole point."""
    newest: RecoveryPoint | None = None
    good_secrets: RecordedSecrets | None = None
    """Of the newest good backup of the secrets."""
    pairing: RecordedPairing | None = None
    """The newest."""
    certificates: tuple[RecordedCertificate, ...] | None = None
    """Those of the newest point in which the secrets could be read."""
    damaged: list[Damaged] = field(default_factory=list)
    """Records that could not be read, newest first."""

    @property
    def reference(self) -> RecoveryPoint | None:
        """What tells which components and databases there should be: the newest whole point; where there never was one,
        the newest."""
        return self.whole or self.newest


def read(points: Iterable[RecoveryPoint | Unreadable], configured: Mapping[str, Sequence[str]]) -> History:
    """From ``points``, newest first, until everything that ``wanted`` names was found. A record that makes no sense is
    one that cannot be read."""
    history = History()
    for point in points:
        if isinstance(point, Unreadable):
            history.damaged.append(point.error)
            continue
        try:
            take = _taken(point)
        except (Damaged, KeyError, TypeError, ValueError, AttributeError) as error:
            blob = f"points/{point.point}.json"
            history.damaged.append(Damaged(f"{blob} cannot be read: {error!r}", remedy="Run 'check'.", blob=blob))
            continue
        _add(history, point, take)
        if _is_enough(history, configured):
            break
    return history


def wanted(history: History, configured: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The components that there should be good backups of, with the databases of ``databases``: those that are
    configured here, and those that the reference had and whose absence nobody has accepted."""
    found = {component: tuple(names) for component, names in configured.items()}
    reference = history.reference
    if reference is None:
        return found
    for component in reference.requested:
        if component not in reference.without:
            found.setdefault(component, ())
    if DATABASES in found:
        there = {name.casefold() for name in found[DATABASES]}
        found[DATABASES] += tuple(
            name
            for name in reference.requested_databases
            if name.casefold() not in there and name not in reference.without
        )
    return {component: found[component] for component in (DATABASES, SHARE, SECRETS) if component in found}


@dataclass(slots=True)
class _Taken:
    """What one record says; made whole or not at all."""

    states: list[tuple[Key, str, datetime | None]]
    secrets: RecordedSecrets | None = None
    pairing: RecordedPairing | None = None
    certificates: tuple[RecordedCertificate, ...] | None = None


def _taken(point: RecoveryPoint) -> _Taken:
    for names in (point.requested, point.without, point.requested_databases):
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise TypeError("names are no list of texts")
    taken = _Taken(list(_states(point)))
    secrets = point.components.get(SECRETS)
    if secrets is None:
        return taken
    taken.secrets = RecordedSecrets(point.point, secrets.get("key_vault"), secrets.get("sha256"))
    _expect_texts(taken.secrets.key_vault or "", taken.secrets.sha256 or "")
    if "pairing" in secrets:
        taken.pairing = _pairing(point, secrets)
    certificates = tuple(
        RecordedCertificate(each["file"], each["subject"], each["thumbprint"], datetime_of(each["not_after"]))
        for each in secrets.get("certificates", ())
    )
    for each in certificates:
        _expect_texts(each.file, each.subject, each.thumbprint)
    if certificates or secrets["status"] != FAILED:
        taken.certificates = certificates
    return taken


def _states(point: RecoveryPoint) -> Iterator[tuple[Key, str, datetime | None]]:
    """Each component, and each database, of which the point says anything: how it went, and, where it is good, the
    moment that it stands for."""
    for component, key in _MOMENTS.items():
        content = point.components.get(component)
        if content is not None:
            status = SUSPECT if content.get("suspect") else str(content["status"])
            yield (component, ""), status, datetime_of(content[key]) if status == COMPLETE else None
    content = point.components.get(DATABASES)
    if content is None or content.get("tail_of_restore"):
        return
    failed = content["status"] == FAILED
    for name in dict.fromkeys([*point.databases, *(point.requested_databases if failed else ())]):
        status = FAILED if failed else str(point.databases[name]["status"])
        moment = datetime_of(point.databases[name]["moment"]) if status == COMPLETE else None
        yield (DATABASES, name.casefold()), status, moment


def _pairing(point: RecoveryPoint, secrets: Json) -> RecordedPairing:
    pairing = secrets["pairing"]
    finding = (pairing.get("memory") or {}).get("open")
    found = RecordedPairing(
        point.point,
        point.time,
        pairing["verdict"],
        pairing["detail"],
        tuple(pairing.get("rotated", ())),
        tuple(User(user["database"], user["name"], datetime_of(user["modified"])) for user in pairing.get("users", ())),
        tuple(pairing.get("hidden", ())),
        secrets["version"],
        datetime_of(secrets["uploaded"]),
        datetime_of(secrets["confirmed"]) if secrets.get("confirmed") else None,
        datetime_of(finding["at"]) if finding else None,
    )
    _expect_texts(found.verdict, found.detail, found.version, *found.rotated, *found.hidden)
    for user in found.users:
        _expect_texts(user.database, user.name)
    return found


def _expect_texts(*values: object) -> None:
    if not all(isinstance(value, str) for value in values):
        raise TypeError("something that is no text stands where one is expected")


def _add(history: History, point: RecoveryPoint, taken: _Taken) -> None:
    if history.newest is None:
        history.newest = point
    if history.whole is None and point.whole:
        history.whole = point
    for key, status, moment in taken.states:
        if key in history.good:
            continue
        if moment is None:
            history.passed_over.setdefault(key, []).append(PassedOver(point.point, status))
            continue
        history.good[key] = Good(point.point, moment)
        if key[0] == SECRETS:
            history.good_secrets = taken.secrets
    if history.pairing is None:
        history.pairing = taken.pairing
    if history.certificates is None:
        history.certificates = taken.certificates


def _is_enough(history: History, configured: Mapping[str, Sequence[str]]) -> bool:
    if history.whole is None:
        return False
    there = wanted(history, configured)
    keys = [(SHARE, "")] if SHARE in there else []
    keys += [(DATABASES, name.casefold()) for name in there.get(DATABASES, ())]
    if SECRETS in there:
        keys.append((SECRETS, ""))
        if history.pairing is None or history.certificates is None:
            return False
    return all(key in history.good for key in keys)
