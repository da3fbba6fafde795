"""The dashboard: what it tells of samples made by hand, and that no name on it is anything but text."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import StorageUnavailable, TargetError
from shared.recovery_point.drill_results import DrillResult
from shared.recovery_point.record import RecoveryPoint
from shared.recovery_point.rotation import CIRCLE, Arc, Rotation
from shared.recovery_point.verifications import POINT, ROUND, KeptVerification
from shared.settings import Settings
from shared.status.dashboard import (
    MOST_POINTS,
    Dashboard,
    PointSeen,
    newest_points,
    read_dashboard,
    render,
    write_page,
)
from shared.status.health import Drift, Expiry, Health, LastDrill, Standing, read_health
from shared.status.history import PassedOver
from shared.status.last_verification import LastVerification, Verifications
from shared.storage.blob_store import BlobStore
from shared.storage.local_folder import LocalFolderStore
from tests.unit.status.points import point as record

Json = dict[str, Any]

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
HOUR, DAY = 3600, 86_400
MIB, GIB = 1 << 20, 1 << 30

# --- samples, which are looked at in a browser too ---


def point_id(number: int) -> str:
    """Of the night ``number`` days ago."""
    return f"{NOW - timedelta(days=number):%Y%m%d}T010000Z-{number:06x}"


def standing(name: str, hours: float | None, rpo_hours: float = 26, **other: Any) -> Standing:
    """``hours`` old; None: never backed up."""
    late = hours is None or hours > rpo_hours
    values: Json = {
        "newest": None if hours is None else point_id(int(hours) // 24),
        "moment": None if hours is None else NOW - timedelta(hours=hours),
        "age_seconds": None if hours is None else hours * HOUR,
    }
    return Standing(name, int(rpo_hours * HOUR), late=late, **(values | other))


def databases(*each: Standing) -> Standing:
    oldest = max(each, key=lambda one: float("inf") if one.age_seconds is None else one.age_seconds)
    return standing("databases", None if oldest.age_seconds is None else oldest.age_seconds / HOUR, databases=each)


def seen(number: int, status: str = "complete", **other: Any) -> PointSeen:
    values: Json = {
        "time": datetime(2026, 11, 25, 1, 0, tzinfo=UTC) - timedelta(days=number),
        "whole": True,
        "duration_seconds": 372 + 19 * (number * 7 % 11),
        "files": 2_014_511 - 350 * number,
        "stored": (("databases", (410 + number * 13 % 60) * MIB), ("share", (90 + number * 37 % 140) * MIB)),
    }
    return PointSeen(point_id(number), status, **(values | other))


def verification(
    status: str, *, hours: float, findings: int = 0, read_back_since: datetime | None = None, point: str | None = None
) -> LastVerification:
    """A round of so many ``hours`` ago, or, with ``point``, that of a point."""
    began = NOW - timedelta(hours=hours)
    rotation = Rotation(0, began, (Arc(CIRCLE, read_back_since),)) if read_back_since else None
    kind = POINT if point else ROUND
    name = f"verifications/rounds/{began:%Y%m%dT%H%M%SZ}-round-5a11ed.json"
    objects = (f"share/data/5e/5e{'07c1' * 15}b2",) if findings else ()
    kept = KeptVerification(name, kind, point, began, status, findings, objects, 2_310 * MIB, rotation)
    return LastVerification(kept, hours * HOUR)


def empty() -> Dashboard:
    """A vault that nobody has set: the first start."""
    return Dashboard(read_health(Settings({}), now=NOW))


def healthy() -> Dashboard:
    health = Health(
        time=NOW,
        components=(
            databases(
                standing("appservice_hosting", 0.6),
                standing("appservice_metering", 0.6),
                standing("master", 10.9),
            ),
            standing("share", 10.9),
            standing("secrets", 31 * 24, 90 * 24),
        ),
        drift=Drift("fits", "no password was changed in the databases since it was uploaded", (), point_id(0), ""),
        last_verification=verification("ok", hours=9.5, read_back_since=NOW - timedelta(days=27, hours=9)),
        last_drill=LastDrill(
            DrillResult(
                point_id(3),
                NOW - timedelta(days=3, hours=6),
                "ok",
                1904.0,
                estimated_rto_seconds=16_260.0,
                drilled=("databases", "share", "secrets"),
            ),
            3.25 * DAY,
        ),
    )
    first = seen(44, duration_seconds=15_600, stored=(("databases", 2 * GIB), ("share", 61 * GIB)))
    reasons = ("the file u/1042/app_offline.htm could not be read: it is locked by another",)
    others = [seen(each) for each in range(44) if each != 17]
    partial = seen(17, "partial", reasons=reasons)
    return Dashboard(health, (*others[:17], partial, *others[17:], first), vault="lifeboatvault.blob.core.windows.net")


def failing() -> Dashboard:
    late = "the newest good backup of the share is 3 d 11 h old and may be 26 h: it stands for 2026-11-22 01:03:20Z"
    drift = "the secrets were rotated at 2026-11-23 14:10Z and nobody saved them again: these do not open the databases"
    damaged = verification("damaged", hours=10, findings=2)
    health = Health(
        time=NOW,
        components=(
            databases(
                standing("appservice_hosting", 11),
                standing("appservice_metering", 83, passed_over=(PassedOver(point_id(0), "failed"),)),
                standing("master", None),
            ),
            standing("share", 83),
            standing("secrets", 31 * 24, 90 * 24),
        ),
        reasons=(
            {
                "component": "share",
                "code": "late",
                "message": late,
                "remedy": f"See why: 'show {point_id(0)}' (its reasons), and put that right. Run 'backup'.",
            },
            {
                "component": "databases",
                "code": "late",
                "message": "there is no good backup of the database master",
                "remedy": "Run 'backup'.",
            },
            {
                "component": "secrets",
                "code": "drift",
                "message": drift,
                "remedy": "Download the secrets anew in the administrator portal and run 'secrets put'.",
            },
            *Verifications(damaged=(damaged.result,)).reasons(),
        ),
        drift=Drift("drift", drift, ("appservice_hosting.appservice_hosting_Operations",), point_id(0), ""),
        expiries=(
            Expiry("system-secrets", "CN=api.appservice.local", "AB" * 20, NOW + timedelta(days=12), 12),
            Expiry("tde", "CN=TDE", "CD" * 20, NOW - timedelta(days=2), -2),
        ),
        last_verification=damaged,
        last_drill=LastDrill(DrillResult(point_id(20), NOW - timedelta(days=20), "failed", None), 20 * DAY),
        notes=("database appservice_metering: its moment is 2 min ahead of the clock here",),
    )
    unreachable = ("smb://fs01/WebSites could not be reached: no answer on port 445",)
    points = (
        seen(0, "failed", files=None, stored=(), duration_seconds=61, reasons=unreachable, more_reasons=3),
        seen(1, "partial", suspect=True, files=1204, reasons=("the share holds 1,204 files and held 2,014,161",)),
        PointSeen(point_id(2), "damaged", reasons=(f"points/{point_id(2)}.json cannot be read",)),
        seen(3),
        seen(4, "complete", whole=False, files=None, stored=(("databases", 12 * MIB),)),
    )
    return Dashboard(health, points, vault="lifeboatvault.blob.core.windows.net")


SAMPLES = {"empty": empty, "healthy": healthy, "failing": failing}


# --- what is read off the page ---


class Reader(HTMLParser):
    """Tags with their attributes, the text, the document's balance."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "title"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def read(dashboard: Dashboard, *, links: bool = False) -> Reader:
    return Reader(render(dashboard, links=links))


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_page_is_whole_has_no_script_and_asks_for_nothing_from_outside(sample: str) -> None:
    reader = read(SAMPLES[sample](), links=True)
    assert reader.open == []
    for tag, attributes in reader.tags:
        assert tag not in {"script", "link", "img", "iframe", "object", "form"}
        assert not {"src", "style", "srcset", "action"} & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)
    assert len([tag for tag, _ in reader.tags if tag == "style"]) == 1


def test_a_healthy_vault_is_told_in_words() -> None:
    text = read(healthy()).text
    assert "ok: each component has a good backup that is young enough" in text
    assert "What is wrong" not in text
    assert text.count("✔ in time") == 6
    assert "10 h 54 min old of 26 h" in text
    assert "back in 31 min 44 s (the measured RTO); all of it would take about 4 h 31 min" in text
    assert "drilled: databases, share, secrets; 3 d 6 h ago" in text
    assert "ok, of what was due; 9 h 30 min ago" in text
    assert "everything has been read back since 2026-10-29 03:00Z" in text
    assert "the secrets fit the databases" in text
    assert "No certificate among them ends soon" in text


def test_what_is_wrong_comes_first_with_its_remedy() -> None:
    text = read(failing()).text
    wrong = text.index("What is wrong, and what to do")
    assert wrong < text.index("3 d 11 h old and may be 26 h") < text.index("Run 'backup'.") < text.index("Newest good")
    assert text.index("Last verification") < text.index("Last drill") < text.index("Recovery points")
    assert "✘ never backed up" in text
    assert "✘ late" in text
    assert "rotated: appservice_hosting.appservice_hosting_Operations" in text
    assert "expires in 12 days" in text
    assert "has expired" in text
    assert "damaged, 2 finding(s)" in text
    assert "failed, nothing came back; 20 d ago" in text
    assert "and 3 more reasons" in text


def test_without_settings_the_page_names_the_one_that_is_missing() -> None:
    text = read(empty()).text
    assert "LIFEBOAT_VAULT_URL" in text
    assert "nothing could be looked at" in text
    assert "None could be listed" in text


def test_an_empty_vault_with_a_configured_component_says_never() -> None:
    health = Health(time=NOW, components=(standing("share", None),))
    text = read(Dashboard(health)).text
    assert "✘ never backed up" in text
    assert "There is no good backup; 26 h is allowed" in text


def test_a_component_that_nobody_could_look_at_is_not_said_to_be_never_backed_up() -> None:
    health = read_health(Settings({"LIFEBOAT_SHARE_URL": "file:///x"}), now=NOW)
    text = read(Dashboard(health)).text
    assert "share ? not known" in text
    assert "never backed up" not in text


def test_points_that_could_not_be_read_are_a_reason_beside_the_state() -> None:
    away = StorageUnavailable("the vault does not answer", remedy="Try later.")
    text = read(Dashboard(healthy().health, points_failure=away)).text
    assert "the vault does not answer" in text
    assert "Try later." in text


def test_links_lead_to_runbooks_in_the_app_and_nowhere_in_a_file() -> None:
    def links(reader: Reader) -> list[str | None]:
        return [attributes["href"] for tag, attributes in reader.tags if tag == "a"]

    assert links(read(failing())) == []
    expected = [f"/api/dashboard/recovery-points/{point_id(each)}/runbook" for each in (0, 1, 3, 4)]
    assert links(read(failing(), links=True)) == expected, "all but the damaged one"


def test_every_drawing_is_told_in_words() -> None:
    for make in SAMPLES.values():
        outer = [each for tag, each in read(make()).tags if tag == "svg" and each.get("width") == "100%"]
        assert all(each["role"] == "img" and each["aria-label"] for each in outer)
    bars = [str(each["aria-label"]) for tag, each in read(failing()).tags if tag == "svg" and each.get("aria-label")]
    assert "database appservice_metering: 3 d 11 h old, 26 h is allowed" in bars
    assert "database master: there is no good backup; 26 h is allowed" in bars


def test_bars_stay_within_the_page_however_late_or_short_the_allowed_age() -> None:
    for hours, rpo_hours in ((0, 26), (100_000, 1), (1, 0), (0, 0)):
        page = render(Dashboard(Health(time=NOW, components=(standing("share", hours, rpo_hours),))), links=False)
        shares = [float(each) for each in re.findall(r'(?:width|x1|x2)="([\d.]+)%"', page)]
        assert shares
        assert max(shares) <= 100


# --- names that anybody may have chosen ---

HOSTILE = st.one_of(
    st.text(min_size=1, max_size=40),
    st.sampled_from(
        [
            "</title><script>alert(1)</script>",
            '"><img src=x onerror=alert(1)>',
            "' onload='x",
            "</style></svg><b>",
            "a\u202eb\x00\ud800",
            "<!--",
            "&lt;",
            "<![CDATA[",
        ]
    ),
).map(lambda name: name + "~")  # so that it is none of the words that the page knows, such as a status


def hostile(name: str) -> Dashboard:
    reason = {"component": name, "code": name, "message": name, "remedy": name}
    bad = standing(name, 3, newest=name)
    return Dashboard(
        Health(
            time=NOW,
            components=(databases(bad), bad),
            reasons=(reason,),
            drift=Drift(name, name, (name,), name, name),
            expiries=(Expiry(name, name, name, NOW, 0),),
            last_verification=verification(name, hours=1, point=name),
            last_drill=LastDrill(DrillResult(name, NOW, name, 1.0, drilled=(name,)), 1.0),
            notes=(name,),
        ),
        (PointSeen(name, name, NOW, stored=((name, 1),), reasons=(name,)), PointSeen(name, name)),
        vault=name,
    )


@settings(max_examples=150, deadline=None)
@given(HOSTILE)
def test_a_name_changes_no_tag_and_adds_no_attribute(name: str) -> None:
    def shape(reader: Reader) -> list[tuple[str, list[str]]]:
        return [(tag, sorted(attributes)) for tag, attributes in reader.tags]

    reader = read(hostile(name), links=True)
    reader_of_a_plain_name = read(hostile("x"), links=True)
    assert shape(reader) == shape(reader_of_a_plain_name)
    assert reader.open == []
    render(hostile(name), links=True).encode()


# --- records ---


@pytest.fixture
def records(tmp_path: Path) -> LocalFolderStore:
    return LocalFolderStore(tmp_path)


def put(records: BlobStore, number: int, made: RecoveryPoint | None = None, **other: Any) -> None:
    made = made or record(**other)
    made.point = f"20261125T000000Z-{number:06x}"
    records.put(f"points/{made.point}.json", made.to_bytes())


def test_a_point_is_told_with_files_bytes_duration_and_the_first_line_of_its_reasons(
    records: LocalFolderStore,
) -> None:
    components: Json = {
        "share": {"status": "partial", "files": 7, "bytes_stored": 100},
        "databases": {"status": "complete", "bytes_stored": 50},
        "secrets": {"status": "complete"},
    }
    reasons = [{"component": "share", "code": "x", "message": f"first {n}\nsecond", "remedy": ""} for n in range(7)]
    put(records, 1, components=components, status="partial", duration_seconds=4.5, reasons=reasons)
    ((told,), are_all) = newest_points(records)
    assert (told.status, told.files, told.stored_bytes, told.duration_seconds) == ("partial", 7, 150, 4.5)
    assert told.stored == (("share", 100), ("databases", 50))
    assert told.reasons == tuple(f"first {n}" for n in range(5))
    assert (told.more_reasons, are_all) == (2, True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"time": "yesterday"},
        {"time": None},
        {"components": []},
        {"components": {"share": {"files": "many"}}},
        {"components": {"share": 3}},
        {"reasons": [{}]},
        {"reasons": [{"message": None}]},
        {"duration_seconds": None},
    ],
)
def test_a_record_that_makes_no_sense_is_damaged_and_the_others_are_told(
    records: LocalFolderStore, wrong: Json
) -> None:
    put(records, 1)
    put(records, 2, **wrong)
    records.put("points/20261125T000000Z-000003.json", b"{")
    points, _ = newest_points(records)
    assert [each.status for each in points] == ["damaged", "damaged", "complete"]
    assert read(Dashboard(healthy().health, points)).text.count("· damaged") == 2


def test_of_many_points_the_newest_are_told_and_little_more_is_read(records: LocalFolderStore, tmp_path: Path) -> None:
    for number in range(MOST_POINTS + 40):
        put(records, number)
    counting = _Counting(tmp_path)
    points, are_all = newest_points(counting)
    assert (len(points), are_all) == (MOST_POINTS, False)
    assert points[0].point.endswith(f"{MOST_POINTS + 39:06x}")
    assert counting.gets < MOST_POINTS + 10
    assert f"There are older ones than these {MOST_POINTS}" in read(Dashboard(healthy().health, points, False)).text


class _Counting(LocalFolderStore):
    """Counts what is read."""

    gets = 0

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        self.gets += 1
        return super().get(name, offset, length)


def test_a_vault_that_is_not_set_is_no_error() -> None:
    dashboard = read_dashboard(Settings({"LIFEBOAT_SHARE_URL": "file:///x"}), now=NOW)
    assert dashboard.health.exit_code == 2
    assert dashboard.points == ()


# --- the file ---


def test_the_page_replaces_what_was_there_and_leaves_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "status.html"
    file.write_text("old")
    write_page("new ✔", file)
    assert file.read_text(encoding="utf-8") == "new ✔"
    assert [each.name for each in tmp_path.iterdir()] == ["status.html"]


def test_behind_a_link_the_file_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "link.html").symlink_to(tmp_path / "real.html")
    write_page("new", tmp_path / "link.html")
    assert (tmp_path / "link.html").is_symlink()
    assert (tmp_path / "real.html").read_text() == "new"


@pytest.mark.parametrize("name", ["", "missing/x.html", "file/x.html", "x" * 300, "/dev/null"])
def test_a_path_that_cannot_be_written_is_told_and_nothing_is_left(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TargetError) as told:
        write_page("new", tmp_path / name)
    assert str(tmp_path / name) in str(told.value)
    assert told.value.remedy
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
