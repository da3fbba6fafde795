"""Whether SystemSecrets.JSON fits the databases, from when App Service's own users were modified."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from shared.secrets.pairing import DRIFT, FITS, UNKNOWN, Seen, judge

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class User:
    modified: datetime
    database: str = "appservice_hosting"
    name: str = "appservice_hosting_Operations"


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


def test_databases_that_were_brought_back_to_before_a_rotation_do_not_fit_the_secrets_of_after() -> None:
    before, after = User(NOON - 9 * HOUR), User(NOON - 5 * HOUR)
    seen = Seen(NOON, {(after.database, after.name): after.modified})
    uploaded = NOON - 4 * HOUR
    pairing = judge([before], [], uploaded=uploaded, confirmed=None, seen=seen)
    assert (pairing.verdict, pairing.rotated) == (DRIFT, ("appservice_hosting.appservice_hosting_Operations",))
    assert judge([after], [], uploaded=uploaded, confirmed=None, seen=seen).verdict == FITS
    assert judge([before], [], uploaded=uploaded, confirmed=NOON + HOUR, seen=seen).verdict == FITS
    assert judge([before], [], uploaded=NOON + HOUR, confirmed=None, seen=seen).verdict == FITS


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
