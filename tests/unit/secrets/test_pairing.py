"""Whether SystemSecrets.JSON fits the databases, from when App Service's own users were modified."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from shared.secrets.pairing import DRIFT, FITS, UNKNOWN, Finding, Known, Memory, Pairing, judge, remember, settle

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class User:
    modified: datetime
    database: str = "appservice_hosting"
    name: str = "appservice_hosting_Operations"
    local: str = ""


def test_users_that_were_last_modified_before_the_upload_fit() -> None:
    pairing = judge([User(NOON - HOUR), User(NOON)], [], uploaded=NOON, confirmed=None)
    assert (pairing.verdict, pairing.rotated) == (FITS, ())
    assert "cannot be seen" in pairing.detail, "it says what connection strings cannot show"


def test_a_user_that_was_modified_after_the_upload_is_drift_and_is_named() -> None:
    pairing = judge([User(NOON - HOUR), User(NOON + HOUR, name="other")], [], uploaded=NOON, confirmed=None)
    assert (pairing.verdict, pairing.rotated) == (DRIFT, ("appservice_hosting.other",))
    assert "2026-11-25 13:00:00Z" in pairing.detail


def test_a_confirmation_after_the_change_clears_the_drift_and_one_before_it_does_not() -> None:
    users = [User(NOON + HOUR)]
    assert judge(users, [], uploaded=NOON, confirmed=NOON + 2 * HOUR).verdict == FITS
    assert judge(users, [], uploaded=NOON, confirmed=NOON + HOUR / 2).verdict == DRIFT


def test_where_users_cannot_be_seen_the_verdict_is_unknown_and_never_fits() -> None:
    assert judge([], ["VIEW DEFINITION is missing"], uploaded=NOON, confirmed=None).verdict == UNKNOWN
    assert judge([User(NOON - HOUR)], ["one login"], uploaded=NOON, confirmed=None).verdict == UNKNOWN
    assert judge([], [], uploaded=NOON, confirmed=None).verdict == UNKNOWN


def test_drift_that_is_seen_is_told_though_not_everything_can_be_seen() -> None:
    assert judge([User(NOON + HOUR)], ["one login"], uploaded=NOON, confirmed=None).verdict == DRIFT


def test_31_secrets_that_were_rotated_between_the_components_are_drift_though_they_were_saved_again() -> None:
    """Databases at noon, rotated at one, saved again at two: their backup has the passwords of before."""
    users = [User(NOON + HOUR)]
    pairing = judge(users, [], uploaded=NOON + 2 * HOUR, confirmed=None, databases_moment=NOON)
    assert pairing.verdict == DRIFT
    assert "while this point was made" in pairing.detail
    assert judge(users, [], uploaded=NOON + 2 * HOUR, confirmed=None, databases_moment=NOON + HOUR * 3).verdict == FITS


def test_an_upload_while_the_point_was_made_is_not_known_to_belong_to_it() -> None:
    pairing = judge([User(NOON - HOUR)], [], uploaded=NOON + HOUR, confirmed=None, databases_moment=NOON)
    assert pairing.verdict == UNKNOWN


def remembered(user: User, *, at: datetime, finding: Finding | None = None) -> Memory:
    return Memory(at, {(user.database, user.name): Known("", user.modified, user.modified)}, finding)


def test_databases_that_were_brought_back_to_before_a_rotation_do_not_fit_the_secrets_of_after() -> None:
    before, after = User(NOON - 9 * HOUR), User(NOON - 5 * HOUR)
    memory = remembered(after, at=NOON)
    uploaded = NOON - 4 * HOUR
    pairing = judge([before], [], uploaded=uploaded, confirmed=None, memory=memory)
    assert (pairing.verdict, pairing.rotated) == (DRIFT, ("appservice_hosting.appservice_hosting_Operations",))
    assert judge([after], [], uploaded=uploaded, confirmed=None, memory=memory).verdict == FITS


def test_a_word_between_the_last_look_and_the_return_of_the_databases_leaves_it_unknown() -> None:
    """It may have been said before they were brought back, or after."""
    before, after = User(NOON - 9 * HOUR), User(NOON - 5 * HOUR)
    for confirmed, uploaded in ((NOON + HOUR, NOON - 4 * HOUR), (None, NOON + HOUR)):
        memory = remembered(after, at=NOON)
        assert judge([before], [], uploaded=uploaded, confirmed=confirmed, memory=memory).verdict == UNKNOWN


def run(
    users: list[User], memory: Memory, *, now: datetime, uploaded: datetime, confirmed: datetime | None = None
) -> tuple[Pairing, Memory]:
    """One recovery point: the verdict, and what the next one is handed."""
    fresh = judge(users, [], uploaded=uploaded, confirmed=confirmed, memory=memory, now=now)
    last_word = max(uploaded, confirmed or uploaded)
    pairing, finding = settle(fresh, memory, last_word=last_word, now=now)
    return pairing, remember(users, memory, finding, last_word=last_word, now=now)


def test_drift_stays_until_somebody_has_spoken_though_what_showed_it_is_gone() -> None:
    """A user that was dropped, a database that is not backed up any more, a right that was taken."""
    other = User(NOON - 9 * HOUR, name="appservice_hosting_Publisher")
    pairing, memory = run([User(NOON + HOUR), other], Memory(), now=NOON + 2 * HOUR, uploaded=NOON)
    assert pairing.verdict == DRIFT
    for hour in (3, 4):
        pairing, memory = run([other], memory, now=NOON + hour * HOUR, uploaded=NOON)
        assert (pairing.verdict, pairing.rotated) == (DRIFT, ("appservice_hosting.appservice_hosting_Operations",))
    pairing, memory = run([other], memory, now=NOON + 6 * HOUR, uploaded=NOON, confirmed=NOON + 5 * HOUR)
    assert pairing.verdict == FITS
    assert memory.open is None


def test_what_was_brought_back_is_as_it_should_be_once_somebody_has_answered_for_it() -> None:
    after, before = User(NOON - HOUR), User(NOON - 9 * HOUR)
    _, memory = run([after], Memory(), now=NOON, uploaded=NOON - HOUR / 2)
    for hour in (1, 2):
        pairing, memory = run([before], memory, now=NOON + hour * HOUR, uploaded=NOON - HOUR / 2)
        assert pairing.verdict == DRIFT
    answered = NOON + 3 * HOUR
    for hour in (4, 5):
        pairing, memory = run([before], memory, now=NOON + hour * HOUR, uploaded=NOON, confirmed=answered)
        assert pairing.verdict == FITS, hour


def test_secrets_rotated_and_saved_while_a_point_was_made_are_no_drift_of_the_next_point() -> None:
    user = User(NOON + HOUR)
    fresh = judge([user], [], uploaded=NOON + 2 * HOUR, confirmed=None, databases_moment=NOON)
    pairing, finding = settle(fresh, Memory(), last_word=NOON + 2 * HOUR, now=NOON + 3 * HOUR)
    assert (pairing.verdict, finding) == (DRIFT, None)
    memory = remember([user], Memory(), finding, last_word=NOON + 2 * HOUR, now=NOON + 3 * HOUR)
    assert run([user], memory, now=NOON + 4 * HOUR, uploaded=NOON + 2 * HOUR)[0].verdict == FITS


def test_a_word_that_is_yet_to_come_says_that_a_clock_is_wrong() -> None:
    pairing = judge([User(NOON - HOUR)], [], uploaded=NOON + 24 * HOUR, confirmed=None, now=NOON)
    assert pairing.verdict == UNKNOWN
    assert "clock" in pairing.detail


hours = st.integers(-48, 48).map(lambda hour: NOON + hour * HOUR)


@given(st.lists(hours.map(User)), hours, st.none() | hours, st.none() | hours, st.booleans())
def test_it_never_fits_when_anything_speaks_against_it(
    users: list[User], uploaded: datetime, confirmed: datetime | None, moment: datetime | None, hidden: bool
) -> None:
    pairing = judge(
        users, ["hidden"] if hidden else [], uploaded=uploaded, confirmed=confirmed, databases_moment=moment
    )
    last_word = max(uploaded, confirmed or uploaded)
    changed = [user for user in users if user.modified > last_word or (moment and user.modified > moment)]
    assert (pairing.verdict == DRIFT) == bool(changed)
    if pairing.verdict == FITS:
        assert users
        assert not hidden
        assert moment is None or uploaded <= moment
