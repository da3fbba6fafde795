"""How things stand: each component's newest good backup against how old it may be, drift, expiries, the last
verification and the last drill.

Only records are read, and of the Key Vault what stands in the tags of the current SystemSecrets.JSON: whether what they
name can be restored is for ``check`` and ``drill`` to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from shared.errors import Damaged, LifeboatError, SettingsError
from shared.recovery_point.catalog import Catalog
from shared.recovery_point.drill_results import DrillResult, drills_newest_first
from shared.repository.trees import rfc3339_of
from shared.settings import Settings
from shared.status.history import (
    DATABASES,
    SECRETS,
    Good,
    History,
    PassedOver,
    RecordedPairing,
    RecordedSecrets,
    read,
    wanted,
)
from shared.status.last_verification import LastVerification, read_verifications
from shared.storage.blob_store import BlobStore
from shared.storage.vault import RECORDS_CONTAINER, Vault

if TYPE_CHECKING:
    from shared.secrets.files import StoredFile
    from shared.storage.key_vault import SecretStore

Json = dict[str, Any]

OK, LATE = "ok", "late"
CLOCKS_DIFFER_SECONDS = 300
"""From here on a moment that lies ahead is a clock that is wrong, and its age worth nothing."""
_NAMED = 3
_LISTED = 20
_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Standing:
    """How a component, or a database, stands."""

    name: str
    rpo_seconds: int
    newest: str | None
    """The point with its newest good backup; None: there is none."""
    moment: datetime | None
    """That this backup stands for: its age is counted from there."""
    age_seconds: float | None
    """Never below zero."""
    late: bool
    passed_over: tuple[PassedOver, ...] = ()
    """Newer than that, and not good; newest first."""
    notes: tuple[str, ...] = ()
    databases: tuple[Standing, ...] | None = None
    """Of the component ``databases``, which is as old as the oldest of them."""

    def rows(self, indent: str = "") -> list[tuple[str, ...]]:
        """For a table: name, newest good backup, the moment it stands for, age, allowed age, state; the databases
        below their component."""
        row = (
            indent + self.name,
            self.newest or "none",
            f"{self.moment:%Y-%m-%d %H:%M}Z" if self.moment else "",
            "" if self.age_seconds is None else age_text(self.age_seconds),
            age_text(self.rpo_seconds),
            LATE if self.late else OK,
        )
        return [row, *(each for database in self.databases or () for each in database.rows("  "))]

    def to_json(self) -> Json:
        value: Json = {
            "newest": self.newest,
            "moment": rfc3339_of(self.moment) if self.moment else None,
            "age_seconds": None if self.age_seconds is None else round(self.age_seconds, 3),
            "rpo_seconds": self.rpo_seconds,
            "late": self.late,
            "passed_over": [{"point": each.point, "status": each.status} for each in self.passed_over[:_LISTED]],
            "notes": list(self.notes),
        }
        if self.databases is not None:
            value["databases"] = {each.name: each.to_json() for each in self.databases}
        return value


@dataclass(frozen=True, slots=True)
class Drift:
    """Whether the current SystemSecrets.JSON fits the databases, as far as is known."""

    verdict: str
    """``fits``, ``drift`` or ``unknown``."""
    detail: str
    rotated: tuple[str, ...]
    point: str
    """That looked at the databases' users, at ``time``."""
    time: str

    def to_json(self) -> Json:
        return {
            "verdict": self.verdict,
            "detail": self.detail,
            "rotated": list(self.rotated),
            "point": self.point,
            "time": self.time,
        }


@dataclass(frozen=True, slots=True)
class Expiry:
    """A certificate that has expired, or will within LIFEBOAT_EXPIRY_WARNING."""

    file: str
    subject: str
    thumbprint: str
    not_after: datetime
    days: int
    """Whole days that are left; below zero: it has expired."""

    def to_json(self) -> Json:
        return {
            "file": self.file,
            "subject": self.subject,
            "thumbprint": self.thumbprint,
            "not_after": rfc3339_of(self.not_after),
            "days": self.days,
        }

    @property
    def sentence(self) -> str:
        when = f"expires in {self.days} days, on" if self.days >= 0 else "has expired, on"
        return f"the certificate {self.subject} ({self.thumbprint}) in {self.file} {when} {self.not_after:%Y-%m-%d}"


@dataclass(frozen=True, slots=True)
class LastDrill:
    result: DrillResult
    age_seconds: float

    def to_json(self) -> Json:
        return {
            "point": self.result.point,
            "time": rfc3339_of(self.result.time),
            "status": self.result.status,
            "rto_seconds": self.result.rto_seconds,
            "estimated_rto_seconds": self.result.estimated_rto_seconds,
            "drilled": list(self.result.drilled),
            "age_seconds": round(self.age_seconds, 3),
        }


@dataclass(frozen=True, slots=True)
class Health:
    time: datetime
    """When it was looked at."""
    components: tuple[Standing, ...] = ()
    reasons: tuple[Json, ...] = ()
    drift: Drift | None = None
    """None where no point has looked at secrets."""
    expiries: tuple[Expiry, ...] = ()
    last_verification: LastVerification | None = None
    """What every backup proves before its record is written (VERIFYONLY, hashes) is what makes it good; this is whether
    it still is."""
    last_drill: LastDrill | None = None
    notes: tuple[str, ...] = ()
    failure: LifeboatError | None = None
    """Why nothing could be looked at."""

    @property
    def status(self) -> str:
        """``ok`` or ``late``, the contract's two words: what nobody could look at is not known to be in time, and who
        watches for ``late`` must hear of it too. The reasons say which of both it is."""
        in_time = self.components and not any(each.late for each in self.components)
        return OK if in_time and self.failure is None else LATE

    @property
    def summary(self) -> str:
        """What the status rests on, in a few words."""
        if self.failure is not None:
            return "nothing could be looked at"
        late = [each.name for each in self.components if each.late]
        if late:
            return ", ".join(late)
        if self.status == OK and self.reasons:
            return f"in time, but not well: {'; '.join(dict.fromkeys(each['code'] for each in self.reasons))}"
        return "each component has a good backup that is young enough" if self.components else "there is nothing yet"

    @property
    def is_well(self) -> bool:
        """In time, and there is nothing else to be done either."""
        return self.status == OK and not self.reasons

    @property
    def headline(self) -> str:
        """Status and summary in one line, which says ``ok`` only where everything is well."""
        return self.summary if self.status == OK and not self.is_well else f"{self.status}: {self.summary}"

    @property
    def exit_code(self) -> int:
        """0 or 1; where nothing could be looked at, that of the error: 2 for settings, 10 for a container that is
        missing."""
        if self.failure is not None:
            return self.failure.exit_code
        return 0 if self.status == OK else 1

    def to_json(self) -> Json:
        """All keys of the contract, always."""
        return {
            "status": self.status,
            "reasons": list(self.reasons),
            "time": rfc3339_of(self.time),
            "components": {each.name: each.to_json() for each in self.components},
            "drift": self.drift.to_json() if self.drift else None,
            "expiries": [each.to_json() for each in self.expiries],
            "last_verification": self.last_verification.to_json() if self.last_verification else None,
            "last_drill": self.last_drill.to_json() if self.last_drill else None,
            "notes": list(self.notes),
        }


def read_health(settings: Settings, *, now: datetime | None = None) -> Health:
    """Look at the vault, and at the Key Vault where one is configured. No error: what keeps it from looking is in the
    answer, with the components that are configured here as never backed up."""
    now = now or datetime.now(UTC)
    try:
        with Vault(settings.vault()) as vault:
            vault.ensure_there(create=False)
            health = judge_health(settings, vault.records, lambda: vault.secrets, now)
            if all(each.newest is None for each in health.components):
                return replace(health, reasons=(*_emptied(vault), *health.reasons))
            return health
    except LifeboatError as failure:
        return _unseen(settings, failure, now)


def _emptied(vault: Vault) -> Iterator[Json]:
    """A vault without points, in which there were some."""
    gone = sum(not version.current for version in vault.versions(RECORDS_CONTAINER).list_versions("points/"))
    if gone:
        yield {
            "component": "lifeboat",
            "code": "tampered",
            "message": f"somebody has deleted what was in this vault: {gone:,} records of recovery points at least",
            "remedy": "Run 'undelete', as the keeper: it makes previous versions current again. Make no backup before.",
            "object": f"{RECORDS_CONTAINER}/points/",
        }


def judge_health(
    settings: Settings, records: BlobStore, key_vault: Callable[[], SecretStore | None], now: datetime
) -> Health:
    """As ``read_health``, of the container of recovery points. The errors are those of ``records`` and of settings;
    what is wrong with the Key Vault is in the answer."""
    configured = _configured(settings)
    history = read(Catalog(records).newest_first(), configured)
    there = wanted(history, configured)
    live = _ask(key_vault, settings, history) if SECRETS in there else _Live()
    rpo = settings.rpo_seconds()
    components = tuple(_component(name, names, rpo[name], history, live, now) for name, names in there.items())
    drift = _drift(history.pairing, live, now) if SECRETS in there else None
    expiries = _expiries(settings, history, now) if SECRETS in there else ()
    verifications = read_verifications(records, now)
    last_drill, damaged_drills = _last_drill(records, now)
    unreadable = [*history.damaged, *verifications.unreadable, *damaged_drills, *settings.wrong_schedules()]
    reasons = [
        *(reason for each in components for reason in _late(each, configured)),
        *([] if components else [_nothing_there()]),
        *(reason for each in components for reason in _ahead(each, now)),
        *live.reasons,
        *_drifted(drift),
        *_expiring(expiries),
        *verifications.reasons(),
        *_failed_drill(last_drill),
        *(each.as_reason("lifeboat") for each in unreadable),
    ]
    return Health(
        time=now,
        components=components,
        reasons=tuple(reasons),
        drift=drift,
        expiries=expiries,
        last_verification=verifications.last,
        last_drill=last_drill,
        notes=tuple(_notes(components)) + live.notes + verifications.notes,
    )


def age_text(seconds: float) -> str:
    """How old, in words: ``20 s``, ``5 min``, ``26 h``, ``3 d 4 h``; cut off, not rounded."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 2 * _DAY_SECONDS:
        return f"{whole // 3600} h" + (f" {whole % 3600 // 60:02d} min" if whole % 3600 >= 60 else "")
    hours = whole % _DAY_SECONDS // 3600
    return f"{whole // _DAY_SECONDS} d" + (f" {hours} h" if hours else "")


# --- components ---


def _configured(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Components that are configured here; of ``databases`` their names."""
    return {name: settings.database_names() if name == DATABASES else () for name in settings.configured()}


def _component(
    name: str, databases: Sequence[str], rpo_seconds: int, history: History, live: _Live, now: datetime
) -> Standing:
    if name != DATABASES:
        good = history.good.get((name, ""))
        standing = _standing(name, (name, ""), good, rpo_seconds, history, now)
        return _refined(standing, history.good_secrets, live, now) if name == SECRETS else standing
    each = tuple(
        _standing(database, (name, key), history.good.get((name, key)), rpo_seconds, history, now)
        for database, key in ((database, database.casefold()) for database in databases)
    )
    return _oldest(each, rpo_seconds)


def _standing(
    name: str, key: tuple[str, str], good: Good | None, rpo_seconds: int, history: History, now: datetime
) -> Standing:
    passed_over = tuple(history.passed_over.get(key, ()))
    if good is None:
        return Standing(name, rpo_seconds, None, None, None, True, passed_over)
    return _aged(Standing(name, rpo_seconds, good.point, good.moment, 0.0, False, passed_over), good.moment, now)


def _aged(standing: Standing, moment: datetime, now: datetime) -> Standing:
    seconds = (now - moment).total_seconds()
    notes = standing.notes
    if seconds < 0:
        notes += (f"its moment is {age_text(-seconds)} ahead of the clock here",)
    age_seconds = max(0.0, seconds)
    return replace(
        standing, moment=moment, age_seconds=age_seconds, late=age_seconds > standing.rpo_seconds, notes=notes
    )


def _oldest(databases: tuple[Standing, ...], rpo_seconds: int) -> Standing:
    never = Standing(DATABASES, rpo_seconds, None, None, None, True, databases=databases)
    aged = [(each.age_seconds, each) for each in databases if each.age_seconds is not None]
    if not aged or len(aged) < len(databases):
        return never
    _, oldest = max(aged, key=lambda pair: pair[0])
    return replace(never, newest=oldest.newest, moment=oldest.moment, age_seconds=oldest.age_seconds, late=oldest.late)


def _late(standing: Standing, configured: Mapping[str, Sequence[str]]) -> Iterator[Json]:
    """One reason for each database, or for the component, that is late; with what to do."""
    if not standing.databases:
        if standing.late:
            yield _late_reason(standing, standing.name, f"the {standing.name}", standing.name in configured, configured)
        return
    here = {name.casefold() for name in configured.get(DATABASES, ())}
    for each in standing.databases:
        if each.late:
            is_here = each.name.casefold() in here
            reason = _late_reason(each, DATABASES, f"the database {each.name}", is_here, configured)
            yield reason | {"database": each.name}


def _late_reason(
    standing: Standing, component: str, what: str, is_here: bool, configured: Mapping[str, Sequence[str]]
) -> Json:
    if standing.newest is None or standing.moment is None or standing.age_seconds is None:
        message = f"there is no good backup of {what}"
    else:
        message = (
            f"the newest good backup of {what} is {age_text(standing.age_seconds)} old and may be "
            f"{age_text(standing.rpo_seconds)}: it stands for {standing.moment:%Y-%m-%d %H:%M:%S}Z ({standing.newest})"
        )
    if standing.passed_over:
        message += f"; {_passed_over(standing)}"
    return {
        "component": component,
        "code": LATE,
        "message": message,
        "remedy": " ".join(_remedies(standing, component, is_here, configured)),
    }


def _remedies(
    standing: Standing, component: str, is_here: bool, configured: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    if standing.passed_over:
        yield f"See why: 'show {standing.passed_over[0].point}' (its reasons), and put that right."
    if component == SECRETS:
        yield "Download the secrets anew in the administrator portal and run 'secrets put';"
        yield "where nothing was rotated, 'secrets confirm'. Then run 'backup'."
    elif is_here or not configured:
        yield "Run 'backup'." if is_here else "Run 'backup' where this is configured."
    if configured and not is_here:
        yield (
            "It is not configured here, and the newest whole point has it: configure it, or, if it is meant to be "
            f"missing, run 'backup --without {standing.name}'."
        )


def _passed_over(standing: Standing) -> str:
    named = ", ".join(f"{each.point} ({each.status})" for each in standing.passed_over[:_NAMED])
    more = len(standing.passed_over) - _NAMED
    return f"{'newer and ' if standing.newest else ''}not good: {named}{f' and {more:,} more' if more > 0 else ''}"


def _each(components: Sequence[Standing]) -> Iterator[tuple[str, Standing]]:
    """Each component, or database, by the name that people know it by."""
    for component in components:
        if component.databases is None:
            yield component.name, component
        for database in component.databases or ():
            yield f"database {database.name}", database


def _notes(components: Sequence[Standing]) -> Iterator[str]:
    for name, each in _each(components):
        if each.passed_over and not each.late:
            yield f"{name}: {_passed_over(each)}; its newest good backup is that of {each.newest}"
        for note in each.notes:
            yield f"{name}: {note}"


def _ahead(component: Standing, now: datetime) -> Iterator[Json]:
    """Moments so far ahead that a clock must be wrong: such an age hides how late a backup is."""
    for name, each in _each([component]):
        if each.moment is not None and (ahead := (each.moment - now).total_seconds()) > CLOCKS_DIFFER_SECONDS:
            yield {
                "component": component.name,
                "code": "clock-differs",
                "message": f"{name}: the newest good backup ({each.newest}) stands for "
                f"{each.moment:%Y-%m-%d %H:%M:%S}Z, {age_text(ahead)} ahead of the clock here: its age cannot be told",
                "remedy": "Compare the clock here with those of the machine that ran 'backup' and of the servers it "
                "reads from.",
            }


def _nothing_there() -> Json:
    return {
        "component": "lifeboat",
        "code": LATE,
        "message": "there is no recovery point, and no component is configured here",
        "remedy": "Check LIFEBOAT_VAULT_URL; set what is to be backed up (LIFEBOAT_SHARE_URL, LIFEBOAT_SQL_SERVER, "
        "LIFEBOAT_KEY_VAULT_URL) and run 'backup'.",
    }


def _unseen(settings: Settings, failure: LifeboatError, now: datetime) -> Health:
    components: tuple[Standing, ...] = ()
    with suppress(SettingsError):  # then it is those that could not be read
        rpo = settings.rpo_seconds()
        components = tuple(
            _component(name, names, rpo[name], History(), _Live(), now) for name, names in _configured(settings).items()
        )
    return Health(time=now, components=components, reasons=(failure.as_reason("lifeboat"),), failure=failure)


# --- secrets ---


@dataclass(frozen=True, slots=True)
class _Live:
    """What the Key Vault holds now."""

    file: StoredFile | None = None
    """None: it was not asked, could not be, or is not the one that the points tell of."""
    gone: bool = False
    """It was asked, and there is none."""
    reasons: tuple[Json, ...] = ()
    notes: tuple[str, ...] = ()


def _ask(key_vault: Callable[[], SecretStore | None], settings: Settings, history: History) -> _Live:
    url = settings.key_vault_url()
    if url is None:
        return _Live()
    recorded = history.good_secrets
    if recorded and recorded.key_vault and _same_url(recorded.key_vault) != _same_url(url):
        note = (
            f"LIFEBOAT_KEY_VAULT_URL is not the Key Vault of {recorded.point} ({recorded.key_vault}): it was not asked"
        )
        return _Live(notes=(note,))
    from shared.secrets.files import SYSTEM_SECRETS, SecretFiles, no_secrets  # not for a share alone

    try:
        store = key_vault()
        file = SecretFiles(store).current(SYSTEM_SECRETS) if store is not None else None
    except LifeboatError as error:
        return _Live(
            reasons=(error.as_reason(SECRETS),), notes=("the Key Vault was not read: the points' word stands",)
        )
    if file is None:
        return _Live(gone=True, reasons=(no_secrets(SYSTEM_SECRETS).as_reason(SECRETS),))
    if recorded and file.sha256 != recorded.sha256:
        note = (
            f"SystemSecrets.JSON was uploaded anew at {file.uploaded:%Y-%m-%d %H:%M:%S}Z and is in no good recovery "
            "point yet: the next 'backup' takes it"
        )
        return _Live(file, notes=(note,))
    return _Live(file)


def _same_url(url: str) -> str:
    return url.rstrip("/").casefold()


def _refined(standing: Standing, recorded: RecordedSecrets | None, live: _Live, now: datetime) -> Standing:
    """A later upload of the bytes that the point names, or a later confirmation of them, makes them younger."""
    if recorded is None or live.file is None or standing.moment is None or live.file.sha256 != recorded.sha256:
        return standing
    moment = live.file.moment
    return _aged(replace(standing, notes=()), moment, now) if moment > standing.moment else standing


def _drift(pairing: RecordedPairing | None, live: _Live, now: datetime) -> Drift | None:
    """The newest point's word, as the next one would have it: a finding holds until new bytes or a confirmation come
    after it was made. Of the databases what it saw still stands: they are not asked here."""
    if pairing is None:
        return None
    as_of = f"the backup of {pairing.time[:10]} {pairing.time[11:16]}Z"
    recorded = Drift(pairing.verdict, f"{pairing.detail} (as of {as_of})", pairing.rotated, pairing.point, pairing.time)
    file = live.file
    if file is None:
        if live.gone and pairing.verdict == "fits":
            gone = f"the Key Vault has no current SystemSecrets.JSON; what {as_of} found there did fit"
            return replace(recorded, verdict="unknown", detail=gone)
        return recorded
    spoken = pairing.is_answered_by(file.last_word)
    if file.version == pairing.version and not spoken:
        return recorded
    from shared.secrets.pairing import judge  # not for a share alone

    judged = judge(pairing.users, pairing.hidden, uploaded=file.uploaded, confirmed=file.confirmed, now=now)
    if not spoken and judged.verdict != "drift":
        return recorded
    said = "confirmed" if file.confirmed and file.confirmed > file.uploaded else "uploaded"
    how = f"It was {said} after" if spoken else "It was put in the place of what was there at"
    detail = (
        f"{judged.detail}. {how} {as_of} ({pairing.point}), which looked at the databases and said "
        f"'{pairing.verdict}'; the next 'backup' looks again"
    )
    return Drift(judged.verdict, detail, judged.rotated, pairing.point, pairing.time)


def _drifted(drift: Drift | None) -> Iterator[Json]:
    if drift is not None and drift.verdict == "drift":
        yield {
            "component": SECRETS,
            "code": "drift",
            "message": drift.detail,
            "remedy": "Download the secrets anew in the administrator portal and run 'secrets put'; where nothing was "
            "rotated, or an earlier file was put back that fits, 'secrets confirm'. Then run 'backup'.",
        }


def _expiries(settings: Settings, history: History, now: datetime) -> tuple[Expiry, ...]:
    """Soonest first."""
    warning_seconds = settings.expiry_warning_seconds()
    return tuple(
        Expiry(each.file, each.subject, each.thumbprint, each.not_after, (each.not_after - now).days)
        for each in sorted(history.certificates or (), key=lambda each: each.not_after)
        if (each.not_after - now).total_seconds() <= warning_seconds
    )


def _expiring(expiries: Sequence[Expiry]) -> Iterator[Json]:
    for each in expiries:
        yield {
            "component": SECRETS,
            "code": "certificate-expires",
            "message": each.sentence,
            "remedy": "Rotate it in the administrator portal (App Service, Secrets), download the secrets anew, run "
            "'secrets put' and 'backup'."
            if each.file == "system-secrets"
            else f"Put another in its place and keep it: 'secrets put FILE --name {each.file}'; then 'backup'.",
        }


# --- drills ---


def _last_drill(records: BlobStore, now: datetime) -> tuple[LastDrill | None, list[Damaged]]:
    damaged: list[Damaged] = []
    for each in drills_newest_first(records):
        if isinstance(each, DrillResult):
            return LastDrill(each, max(0.0, (now - each.time).total_seconds())), damaged
        damaged.append(each)
    return None, damaged


def _failed_drill(drill: LastDrill | None) -> Iterator[Json]:
    if drill is not None and drill.result.status != OK:
        yield {
            "component": drill.result.failed[0] if drill.result.failed else DATABASES,
            "code": "drill-failed",
            "message": f"the last drill, of {drill.result.point} at {drill.result.time:%Y-%m-%d %H:%M}Z, ended "
            f"{drill.result.status}{': ' if drill.result.failed else ''}{', '.join(drill.result.failed)}",
            "remedy": f"Its checks and reasons are in {RECORDS_CONTAINER}/drills/{drill.result.point}/; put that right "
            "and run 'drill' again.",
        }
