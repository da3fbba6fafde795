"""The dashboard: how things stand, on one page for people, in the app and as a file.

What is wrong comes first, then the age of each component's newest good backup, how it was proven (the last
verification, the last drill), the secrets, and the points as a timeline and as a list. What a name or a message holds
is text on the page and nothing else; what colour tells, a word tells too. The style is that of ``page``: geometry is in
attributes of SVG, which a strict policy allows.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

from shared.errors import Damaged, LifeboatError, SettingsError, TargetError
from shared.recovery_point.catalog import Catalog, Unreadable
from shared.recovery_point.record import COMPLETE, FAILED, PARTIAL, RecoveryPoint, is_id
from shared.repository.trees import datetime_of
from shared.settings import Settings
from shared.status.health import OK, Health, Standing, age_text, read_health
from shared.status.markdown import visible
from shared.status.page import page
from shared.storage.blob_store import BlobStore
from shared.storage.vault import Vault
from shared.terminal import bytes_text, duration_text

Json = dict[str, Any]

MOST_POINTS = 60
"""So many records are read, however many there are."""
DAMAGED = "damaged"
RUNBOOK = "/api/dashboard/recovery-points/{}/runbook"
_AT_ONCE = 12
"""Points and reasons that are listed before a fold."""
_MOST_REASONS = 5
_LONGEST = 400
"""Characters of a text that stands in a record."""


@dataclass(frozen=True, slots=True)
class PointSeen:
    """What the page tells of a recovery point."""

    point: str
    status: str
    """As the record has it, or ``damaged`` where it cannot be read."""
    time: datetime | None = None
    whole: bool = False
    suspect: bool = False
    duration_seconds: float = 0.0
    files: int | None = None
    """Of the share; None without one."""
    stored: tuple[tuple[str, int], ...] = ()
    """Bytes that the vault grew by, for each component that tells it."""
    reasons: tuple[str, ...] = ()
    """The first line of each of the first few."""
    more_reasons: int = 0

    @property
    def stored_bytes(self) -> int:
        return sum(count for _, count in self.stored)

    @property
    def is_good(self) -> bool:
        return self.status == COMPLETE and not self.suspect


@dataclass(frozen=True, slots=True)
class Dashboard:
    health: Health
    points: tuple[PointSeen, ...] = ()
    """Newest first."""
    are_all: bool = True
    """There are no older ones."""
    vault: str = ""
    """The host of the vault's address; empty where none is set."""
    points_failure: LifeboatError | None = None
    """Why the points could not be read, where how things stand could be."""

    @property
    def reasons(self) -> tuple[Json, ...]:
        failure = self.points_failure
        return self.health.reasons + ((failure.as_reason("lifeboat"),) if failure else ())


def read_dashboard(settings: Settings, *, now: datetime | None = None) -> Dashboard:
    """Look at the vault as ``read_health`` does, and at the newest points. No error: what keeps it from looking is in
    the answer."""
    health = read_health(settings, now=now)
    vault_name = ""
    with contextlib.suppress(SettingsError, ValueError):
        vault_name = urlsplit(settings.vault().url).hostname or ""
    if health.failure is not None:
        return Dashboard(health, vault=vault_name)
    try:
        with Vault(settings.vault()) as vault:
            points, are_all = newest_points(vault.records)
    except LifeboatError as failure:
        return Dashboard(health, vault=vault_name, points_failure=failure)
    return Dashboard(health, points, are_all, vault_name)


def newest_points(records: BlobStore) -> tuple[tuple[PointSeen, ...], bool]:
    """The newest ``MOST_POINTS``, newest first, and whether they are all; little more is read."""
    points = [_seen(each) for each in islice(Catalog(records).newest_first(), MOST_POINTS + 1)]
    return tuple(points[:MOST_POINTS]), len(points) <= MOST_POINTS


def render(dashboard: Dashboard, *, links: bool) -> str:
    """The page. With ``links``, to the runbooks as the app serves them; in a file there is nothing to link to."""
    health = dashboard.health
    where = f" of the vault {_text(dashboard.vault)}" if dashboard.vault else ""
    body = [
        "<h1>Lifeboat</h1>",
        f"<p>{_mark(health.is_well)} <strong>{_text(health.headline)}</strong>.<br>"
        f"State{where} at {_moment(health.time)}.</p>",
        *_wrong(dashboard.reasons),
        *_standings(health),
        *_verification(health),
        *_drill(health),
        *_secrets(health),
        *_timeline(dashboard.points),
        *_list(dashboard, links),
        *_notes(health.notes),
    ]
    return page(f"Lifeboat: {health.status}", "\n".join(body))


def write_page(text: str, file: Path) -> None:
    """Put the page at ``file``, in place of what is there: whoever reads it meanwhile has the old one or the new one.
    ``TargetError``."""
    target = file.resolve()
    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}")
    try:
        if target.exists() and not target.is_file():
            raise TargetError(f"{file} is not a file", remedy="Name a file that may be replaced.", path=str(file))
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise TargetError(
            f"{file} cannot be written: {reason}",
            remedy="Name a file in a folder that is there and may be written to.",
            path=str(file),
        ) from error


# --- what is read ---


def _seen(point: RecoveryPoint | Unreadable) -> PointSeen:
    if isinstance(point, Unreadable):
        return _unreadable(point.point, point.error)
    try:
        return _read(point)
    except (Damaged, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        return _unreadable(point.point, error)


def _unreadable(point: str, error: Exception) -> PointSeen:
    return PointSeen(str(point), DAMAGED, reasons=(_first_line(str(error)),))


def _read(point: RecoveryPoint) -> PointSeen:
    share = point.share or {}
    messages = [each["message"] for each in point.reasons]
    return PointSeen(
        point.point,
        str(point.status),
        datetime_of(point.time),
        bool(point.whole),
        bool(point.suspect),
        float(point.duration_seconds),
        int(share["files"]) if "files" in share else None,
        tuple(
            (name, int(component["bytes_stored"]))
            for name, component in point.components.items()
            if "bytes_stored" in component
        ),
        tuple(_first_line(each) for each in messages[:_MOST_REASONS]),
        max(0, len(messages) - _MOST_REASONS),
    )


def _first_line(message: str) -> str:
    line = (message.strip().splitlines() or [""])[0]
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "…"


# --- sections ---


def _wrong(reasons: Sequence[Json]) -> Iterator[str]:
    if not reasons:
        return
    yield "<h2>What is wrong, and what to do</h2>"
    yield from _folded([_reason(each) for each in reasons], "more reasons")


def _reason(reason: Json) -> str:
    remedy = f"<br>{_text(reason['remedy'])}" if reason.get("remedy") else ""
    return f"{_cross('wrong')} <strong>{_text(reason['message'])}</strong> <code>{_text(reason['code'])}</code>{remedy}"


def _standings(health: Health) -> Iterator[str]:
    yield "<h2>Newest good backup, and how old it may be</h2>"
    if not health.components:
        yield "<p>No component is known: none is configured here, and no recovery point tells of one.</p>"
        return
    yield (
        "<p>The age is counted from the moment that the data stands for. The upright line is the age that is "
        "allowed.</p>"
    )
    for component in health.components:
        seen = health.failure is None
        yield f"<h3>{_text(component.name)} {_state(component, seen)}</h3>"
        if component.databases is None:
            yield from _standing(component, seen, component.name)
        for database in component.databases or ():
            yield f"<h4>{_text(database.name)} {_state(database, seen)}</h4>"
            yield from _standing(database, seen, f"database {database.name}")


def _state(standing: Standing, seen: bool) -> str:
    if not seen:
        return '<span class="bad">? not known</span>'
    if standing.databases:
        late = sum(each.late for each in standing.databases)
        if late:
            return f'<span class="bad">✘ {late:,} of {len(standing.databases):,} late</span>'
    if standing.late:
        return f'<span class="bad">✘ {"never backed up" if standing.newest is None else "late"}</span>'
    return '<span class="good">✔ in time</span>'


def _standing(standing: Standing, seen: bool, name: str) -> Iterator[str]:
    allowed = age_text(standing.rpo_seconds)
    if standing.age_seconds is None or standing.moment is None:
        told = "there is no good backup" if seen else "nobody could look"
        yield _no_bar(f"{name}: {told}; {allowed} is allowed")
        yield f"<p>{told[:1].upper()}{told[1:]}; {allowed} is allowed.</p>"
        return
    age = age_text(standing.age_seconds)
    yield _bar(standing.age_seconds, standing.rpo_seconds, f"{name}: {age} old, {allowed} is allowed")
    yield (
        f"<p><strong>{age}</strong> old of {allowed}; stands for {_moment(standing.moment)}; "
        f"in <code>{_text(standing.newest or '')}</code></p>"
    )


def _timeline(points: Sequence[PointSeen]) -> Iterator[str]:
    yield "<h2>Recovery points</h2>"
    if not points:
        yield "<p>None could be listed.</p>"
        return
    yield _timeline_drawing(points)
    yield (
        "<p>One column for each point, the newest on the right. Upwards: bytes that the vault grew by; downwards: how "
        "long it took; a column with a gap is longer than is drawn. Between them: a dot is complete, a ring partial or "
        "suspect, a cross failed or damaged.</p>"
    )


def _list(dashboard: Dashboard, links: bool) -> Iterator[str]:
    yield from _folded([_point(each, links) for each in dashboard.points], "earlier points")
    if not dashboard.are_all:
        yield f"<p>There are older ones than these {MOST_POINTS}: <code>points</code> lists all.</p>"


def _point(seen: PointSeen, links: bool) -> str:
    when = _moment(seen.time) if seen.time else _text(seen.point)
    words = [seen.status, *(["suspect"] if seen.suspect else [])]
    if not seen.whole and seen.status != DAMAGED:
        words.append("not whole")
    told = [f"<strong>{_text(', '.join(words))}</strong>" if not seen.is_good else _text(", ".join(words))]
    if seen.status != DAMAGED:
        told.append(f"took {duration_text(seen.duration_seconds)}")
    if seen.files is not None:
        told.append(f"{seen.files:,} files")
    if seen.stored:
        each = ", ".join(f"{_text(name)} {bytes_text(count)}" for name, count in seen.stored)
        told.append(f"stored {bytes_text(seen.stored_bytes)} ({each})")
    line = f"{_mark(seen.is_good, seen.status)} <strong>{when}</strong> · {' · '.join(told)}"
    if links and is_id(seen.point) and seen.status != DAMAGED:
        line += f' · <a href="{RUNBOOK.format(seen.point)}" aria-label="runbook of {seen.point}">runbook</a>'
    elif seen.time:
        line += f" · <code>{_text(seen.point)}</code>"
    line += "".join(f"<br>{_text(each)}" for each in seen.reasons)
    return line + (f"<br>and {seen.more_reasons:,} more reasons" if seen.more_reasons else "")


def _secrets(health: Health) -> Iterator[str]:
    yield "<h2>Secrets</h2>"
    drift = health.drift
    if drift is None:
        yield "<p>Whether the secrets fit the databases is not known: no recovery point has looked.</p>"
    else:
        said = {"fits": "the secrets fit the databases", "drift": "the secrets do not fit the databases"}
        told = said.get(drift.verdict, "whether the secrets fit the databases is not known")
        mark = "?" if drift.verdict not in said else _mark(drift.verdict == "fits")
        yield f"<ul><li>{mark} <strong>{told}</strong>; {_text(drift.detail)}"
        if drift.rotated:
            yield f"<br>rotated: {_text(', '.join(drift.rotated))}"
        yield "</li></ul>"
    if health.expiries:
        yield "<h3>Certificates that end soon</h3>"
        yield _items(f"{_cross('soon')} {_text(each.sentence)}" for each in health.expiries)
    elif drift is not None:
        yield "<p>No certificate among them ends soon.</p>"


def _verification(health: Health) -> Iterator[str]:
    yield "<h2>Last verification</h2>"
    last = health.last_verification
    if last is None:
        known = "Not known." if health.failure else "Never. What lies in a vault can rot unseen: run 'verify'."
        yield f"<p>{_text(known)}</p>"
        return
    result = last.result
    found = "" if result.status == OK else f", {result.findings:,} finding(s)"
    read = f"; {bytes_text(result.bytes_read)} were read back" if result.bytes_read else ""
    since = f"; everything has been read back since {_moment(result.read_back_since)}" if result.read_back_since else ""
    yield (
        f"<ul><li>{_mark(result.status == OK)} <strong>{_text(result.status)}{found}</strong>, {_text(last.what)}; "
        f"{age_text(last.age_seconds)} ago, at {_moment(result.time)}{read}{since}</li></ul>"
    )


def _drill(health: Health) -> Iterator[str]:
    yield "<h2>Last drill</h2>"
    if health.last_drill is None:
        known = "Not known." if health.failure else "Never. A backup that was never restored is a hope: run 'drill'."
        yield f"<p>{_text(known)}</p>"
        return
    drill = health.last_drill.result
    measured = drill.rto_seconds
    rto = "nothing came back" if measured is None else f"back in {duration_text(measured)}"
    kind = "" if measured is None else " (the measured RTO)"
    whole = drill.estimated_rto_seconds
    estimate = "" if whole is None else f"; all of it would take about {duration_text(whole)}"
    drilled = f" drilled: {_text(', '.join(drill.drilled))};" if drill.drilled else ""
    yield (
        f"<ul><li>{_mark(drill.status == OK)} <strong>{_text(drill.status)}, {rto}</strong>{kind}{estimate};"
        f"{drilled} {age_text(health.last_drill.age_seconds)} ago, at {_moment(drill.time)}, of "
        f"<code>{_text(drill.point)}</code></li></ul>"
    )


def _notes(notes: Sequence[str]) -> Iterator[str]:
    if notes:
        yield "<h2>Notes</h2>"
        yield _items(_text(each) for each in notes)


# --- pieces ---


def _text(text: str) -> str:
    return escape(visible(" ".join(str(text).split())))


def _moment(moment: datetime) -> str:
    return f'<time datetime="{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}">{_minute(moment)}</time>'


def _mark(good: bool, word: str = "") -> str:
    if not good:
        return _cross(word or "bad")
    return f'<span class="good" role="img" aria-label="{_text(word or "good")}">✔</span>'


def _cross(word: str) -> str:
    return f'<span class="bad" role="img" aria-label="{_text(word)}">✘</span>'


def _items(items: Iterable[str]) -> str:
    return "\n".join(["<ul>", *(f"<li>{each}</li>" for each in items), "</ul>"])


def _folded(items: Sequence[str], what: str) -> Iterator[str]:
    """The first few, and a fold with the others."""
    if items:
        yield _items(items[:_AT_ONCE])
    if len(items) > _AT_ONCE:
        yield f"<details><summary>{len(items) - _AT_ONCE:,} {what}</summary>"
        yield _items(items[_AT_ONCE:])
        yield "</details>"


def _bar(age_seconds: float, allowed_seconds: float, told: str) -> str:
    """As wide as the page: the age, and the allowed age as an upright line."""
    scale = max(age_seconds, allowed_seconds * 1.25, 1.0)
    age, allowed = 100 * age_seconds / scale, 100 * allowed_seconds / scale
    kind = "bad" if age_seconds > allowed_seconds else "good"
    return (
        f'<svg width="100%" height="18" role="img" aria-label="{_text(told)}">'
        '<rect y="4" width="100%" height="10" rx="3" fill="var(--line)"/>'
        f'<rect y="4" width="{age:.2f}%" height="10" rx="3" class="{kind}" fill="currentColor"/>'
        f'<line x1="{allowed:.2f}%" x2="{allowed:.2f}%" y1="0" y2="18" stroke="currentColor" stroke-width="2"/></svg>'
    )


def _no_bar(told: str) -> str:
    return (
        f'<svg width="100%" height="18" role="img" aria-label="{_text(told)}" class="bad">'
        '<line x1="0" x2="100%" y1="9" y2="9" stroke="currentColor" stroke-width="2" stroke-dasharray="5 5"/></svg>'
    )


_UP, _DOWN, _MIDDLE = 90, 60, 16
"""Heights of the timeline's parts."""
_TOP = 18
_LEAST_COLUMNS = 12
_MEDIANS = 2
"""A column is cut at so many times the usual: a first backup would make nothing of all others."""


def _timeline_drawing(points: Sequence[PointSeen]) -> str:
    most_bytes = _scale([each.stored_bytes for each in points])
    most_seconds = _scale([each.duration_seconds for each in points])
    columns = max(len(points), _LEAST_COLUMNS)
    end = _TOP + _UP + _MIDDLE + _DOWN
    times = [each.time for each in points if each.time]
    good = sum(each.is_good for each in points)
    told = f"{len(points)} recovery points, {good} of them complete; each is in the list below"
    drawn = [
        f'<svg width="100%" height="{end + 2 * _TOP}" role="img" aria-label="{told}">',
        _label(12, f"stored; full height: {bytes_text(most_bytes)}"),
        _label(end + 14, f"took; full height: {duration_text(most_seconds)}"),
    ]
    if times:
        drawn.append(_label(end + 30, f"{_minute(times[-1])} to {_minute(times[0])}"))
    for place, each in enumerate(reversed(points)):
        drawn.append(_column(each, 100 * place / columns, 100 / columns, most_bytes, most_seconds))
    drawn.append("</svg>")
    return "\n".join(drawn)


def _column(seen: PointSeen, x: float, width: float, most_bytes: float, most_seconds: float) -> str:
    up = _height(seen.stored_bytes, most_bytes, _UP)
    down = _height(seen.duration_seconds, most_seconds, _DOWN)
    middle, end = _TOP + _UP, _TOP + _UP + _MIDDLE + _DOWN
    bar = f'x="14%" width="72%" fill="{_COLOURS.get(seen.status, _BAD)}"'
    when = _minute(seen.time) if seen.time else seen.point
    told = f"{when}: {seen.status}, {bytes_text(seen.stored_bytes)}, {duration_text(seen.duration_seconds)}"
    cuts = ((_TOP + 7, seen.stored_bytes > most_bytes), (end - 10, seen.duration_seconds > most_seconds))
    return (
        f'<svg x="{x:.3f}%" width="{width:.3f}%" height="100%"><title>{_text(told)}</title>'
        f'<rect {bar} y="{middle - up:.1f}" height="{up:.1f}"/>{_sign(seen, middle + _MIDDLE / 2)}'
        f'<rect {bar} y="{middle + _MIDDLE}" height="{down:.1f}" fill-opacity=".55"/>'
        + "".join(f'<rect width="100%" y="{y}" height="3" fill="var(--ground)"/>' for y, cut in cuts if cut)
        + "</svg>"
    )


_BAD = "var(--bad)"
_COLOURS = {COMPLETE: "var(--good)", PARTIAL: "var(--warn)", FAILED: _BAD}


def _sign(seen: PointSeen, y: float) -> str:
    if seen.status not in (COMPLETE, PARTIAL):
        return (
            f'<svg x="50%" y="{y}" overflow="visible" width="1" height="1"><path d="M-2.5-2.5l5 5m0-5l-5 5" '
            f'stroke="{_BAD}" stroke-width="2"/></svg>'
        )
    if seen.is_good:
        return f'<circle cx="50%" cy="{y}" r="2.2" fill="var(--good)"/>'
    return f'<circle cx="50%" cy="{y}" r="2" fill="none" stroke="var(--warn)" stroke-width="1.5"/>'


def _scale(values: Sequence[float]) -> float:
    """What a column of full height stands for."""
    there = [each for each in values if each > 0]
    return min(max(there), _MEDIANS * median(there)) if there else 0.0


def _height(value: float, most: float, full: float) -> float:
    """What is not nothing can be seen."""
    return max(2.0, full * min(1.0, value / most)) if value > 0 else 0.0


def _label(y: int, text: str) -> str:
    return f'<text y="{y}" font-size="12" fill="var(--soft)">{_text(text)}</text>'


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}Z"
