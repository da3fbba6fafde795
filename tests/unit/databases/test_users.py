"""App Service's SQL users: who counts, what their moment is on our clock, and what is told when it cannot be seen."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.databases import statements
from shared.databases.inspection import ServerFacts
from shared.databases.users import Earlier, ServiceUser, ServiceUsers, read_service_users
from shared.errors import DatabaseError, PermissionMissing, SourceUnreachable, StatementCancelled
from tests.unit.databases.answers import Reply, Row, connection
from tests.unit.databases.making import facts
from tests.unit.databases.views import NotThere, require_known, require_permission

HOSTING, METERING = "appservice_hosting", "appservice_metering"
OPERATIONS, COMMON = "appservice_hosting_Operations", "appservice_metering_Common"
LOCAL = "2026-07-01T12:30:00.127"


def server(states: Mapping[str, str] | None = None, *, minutes: int = 0, skew: float = 0.0) -> ServerFacts:
    """With both databases online; ``states`` by name tells others."""
    there = {HOSTING: "ONLINE", METERING: "ONLINE", **(states or {})}
    return ServerFacts(
        name="SQL1",
        version="15.0.4430.1",
        edition="Standard Edition (64-bit)",
        is_hadr_enabled=False,
        default_data_path="",
        default_log_path="",
        time=datetime(2026, 11, 25, 12, tzinfo=timezone(timedelta(minutes=minutes))),
        clock_skew_seconds=skew,
        databases={name: facts(None, name=name, state=state) for name, state in there.items()},
    )


def user(name: str = OPERATIONS, modified: str = LOCAL, *, login: str | None = None, mapped: bool = False) -> Row:
    kind = "INSTANCE" if mapped or login else "DATABASE"
    return {"name": name, "authentication_type_desc": kind, "modified": modified, "login_modified": login}


def read(
    *rows: Row,
    of: ServerFacts | None = None,
    databases: tuple[str, ...] = (HOSTING,),
    earlier: Earlier | None = None,
    database_permission: Reply = ({"granted": 1},),
    server_permission: Reply = ({"granted": 1},),
    others: Mapping[str, Reply] | None = None,
) -> ServiceUsers:
    replies: dict[str, Reply] = {
        statements.DATABASE_PERMISSION: database_permission,
        statements.SERVER_PERMISSION: server_permission,
        statements.sql_users(HOSTING): rows,
        **(others or {}),
    }
    made, _ = connection(replies)
    return read_service_users(made, of or server(), databases, earlier or {})


def moments(found: ServiceUsers) -> list[datetime]:
    return [each.modified for each in found.users]


# --- who counts ---


def test_users_whose_names_begin_with_appservice_count_in_any_case() -> None:
    found = read(
        *map(user, ("dbo", "guest", "WebWorker_10_0_0_4", "appservice", "my_appservice_hosting", "tests")),
        user("APPSERVICE_Hosting_Publisher"),
        user("appservice_hosting_FileServer"),
    )

    assert [each.name for each in found.users] == ["APPSERVICE_Hosting_Publisher", "appservice_hosting_FileServer"]
    assert found.hidden == ()


def test_our_own_user_does_not_count_however_it_is_called() -> None:
    made, answers = connection(
        {
            statements.DATABASE_PERMISSION: [{"granted": 1}],
            statements.sql_users(HOSTING): [user("AppService_Backup"), user()],
        }
    )
    answers.username = "appservice_backup"

    found = read_service_users(made, server(), [HOSTING], {})

    assert [each.name for each in found.users] == [OPERATIONS]


@pytest.mark.parametrize("name", ["master", "MSDB", "model", "tempdb"])
def test_no_user_of_a_system_database_is_looked_for(name: str) -> None:
    found = read(user(), databases=(name, HOSTING))

    assert ([each.database for each in found.users], found.hidden) == ([HOSTING], ())


def test_a_database_is_called_as_the_server_spells_it_and_read_once() -> None:
    found = read(user(), databases=("APPSERVICE_HOSTING", HOSTING))

    assert [each.database for each in found.users] == [HOSTING]


def test_users_are_in_the_order_of_databases_and_names() -> None:
    others = {statements.sql_users(METERING): [user(COMMON)]}
    found = read(user("appservice_b"), user("appservice_a"), databases=(METERING, HOSTING), others=others)

    assert [each.name for each in found.users] == ["appservice_a", "appservice_b", COMMON]


# --- when ---


def test_local_time_is_kept_as_told_and_turned_into_a_moment_of_our_clock() -> None:
    found = read(user(), of=server(minutes=120))

    moment = datetime(2026, 7, 1, 10, 30, 0, 127_000, UTC)
    assert found.users == (ServiceUser(HOSTING, OPERATIONS, LOCAL, moment),)


def test_a_whole_second_has_milliseconds_too() -> None:
    (found,) = read(user(modified="2026-07-01T12:30:00")).users

    assert found.local == "2026-07-01T12:30:00.000"


@pytest.mark.parametrize(("minutes", "hour", "minute"), [(120, 10, 30), (-480, 20, 30), (330, 7, 0), (-210, 16, 0)])
def test_the_zone_of_the_server_is_taken_off(minutes: int, hour: int, minute: int) -> None:
    assert moments(read(user(), of=server(minutes=minutes))) == [datetime(2026, 7, 1, hour, minute, 0, 127_000, UTC)]


@pytest.mark.parametrize(
    ("skew", "taken"), [(0.0, 0), (1.9, 0), (-1.9, 0), (2.0, 2.0), (-2.0, -2.0), (3600.5, 3600.5), (-90.0, -90.0)]
)
def test_a_clock_that_is_off_is_put_right_and_a_small_difference_is_none(skew: float, taken: float) -> None:
    """A clock that is fast shows a later time than ours."""
    right = datetime(2026, 7, 1, 12, 30, 0, 127_000, UTC)

    assert moments(read(user(), of=server(skew=skew))) == [right - timedelta(seconds=taken)]


@given(
    moment=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)),
    quarters=st.integers(-56, 56),
    skew=st.integers(-100_000, 100_000).filter(lambda seconds: abs(seconds) >= 2),
)
def test_what_a_server_shows_of_a_moment_leads_back_to_it(moment: datetime, quarters: int, skew: int) -> None:
    moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    shown = moment + timedelta(minutes=15 * quarters, seconds=skew)

    found = read(user(modified=shown.isoformat()), of=server(minutes=15 * quarters, skew=skew))

    assert moments(found) == [moment.replace(tzinfo=UTC)]


def test_an_earlier_moment_stays_where_local_time_did_not_change() -> None:
    """In summer it was worked out rightly; the offset of a winter's day is not that of the change."""
    (summer,) = read(user(), of=server(minutes=120)).users
    earlier = {(HOSTING, OPERATIONS): (summer.local, summer.modified)}

    (winter,) = read(user(), of=server(minutes=60), earlier=earlier).users

    assert winter == summer


def test_an_earlier_moment_goes_where_local_time_changed() -> None:
    earlier = {(HOSTING, OPERATIONS): (LOCAL, datetime(2026, 7, 1, 10, 30, tzinfo=UTC))}

    (found,) = read(user(modified="2026-11-02T09:00:00.003"), of=server(minutes=60), earlier=earlier).users

    assert found.modified == datetime(2026, 11, 2, 8, 0, 0, 3000, UTC)


@pytest.mark.parametrize("other", [(METERING, OPERATIONS), (HOSTING, COMMON)])
def test_the_moment_of_another_user_says_nothing(other: tuple[str, str]) -> None:
    found = read(user(), earlier={other: (LOCAL, datetime(2000, 1, 1, tzinfo=UTC))})

    assert moments(found) == [datetime(2026, 7, 1, 12, 30, 0, 127_000, UTC)]


# --- users that are mapped to a login ---


@pytest.mark.parametrize(
    ("own", "login", "later"),
    [
        ("2026-07-01T12:30:00", "2026-09-09T09:09:09.003", "2026-09-09T09:09:09.003"),
        ("2026-09-09T09:09:09.003", "2026-07-01T12:30:00", "2026-09-09T09:09:09.003"),
    ],
)
def test_a_mapped_user_changed_when_it_or_its_login_did(own: str, login: str, later: str) -> None:
    (found,) = read(user(modified=own, login=login)).users

    assert found.local == later


def test_a_contained_user_has_nothing_to_do_with_a_login_of_the_same_sid() -> None:
    row = user() | {"login_modified": "2026-09-09T09:09:09"}

    assert read(row).users[0].local == LOCAL


def test_a_login_that_may_not_be_seen_is_told_with_its_permission() -> None:
    """The user stays: a change of its own would be evidence enough."""
    found = read(user(mapped=True), server_permission=[{"granted": 0}])

    assert [each.local for each in found.users] == [LOCAL]
    assert found.hidden == (
        f"the login of {OPERATIONS}, a user of {HOSTING}, cannot be seen: that needs VIEW ANY DEFINITION "
        "('runbook --grants' prints it)",
    )


def test_a_login_that_is_not_there_is_told() -> None:
    found = read(user(mapped=True))

    assert found.hidden == (f"the user {OPERATIONS} of {HOSTING} has no login on SQL1, so its password has no date",)


# --- what cannot be seen ---


@pytest.mark.parametrize("granted", [0, None])
def test_without_the_permission_to_see_users_nothing_is_asked_and_the_grant_is_named(granted: int | None) -> None:
    found = read(user(), database_permission=[{"granted": granted}])

    assert found == ServiceUsers(
        (),
        (
            "the users of appservice_hosting cannot be seen: that needs VIEW DEFINITION in appservice_hosting "
            "('runbook --grants' prints it)",
        ),
    )


def test_the_permission_is_asked_for_by_the_quoted_name_of_the_database() -> None:
    asked: list[tuple[object, ...]] = []

    def permission(*parameters: object) -> list[Row]:
        asked.append(parameters)
        return [{"granted": 1}]

    others = {statements.sql_users("a]b"): [user()]}
    read(of=server({"a]b": "ONLINE"}), databases=("a]b",), database_permission=permission, others=others)

    assert asked == [("[a]]b]", "VIEW DEFINITION")]


def test_a_database_without_any_user_of_app_services_is_asked_about() -> None:
    found = read(user("dbo"), user("WebWorker_10_0_0_4"))

    assert found == ServiceUsers((), (f"no user of App Service's is in {HOSTING}: is this its database?",))


def test_where_no_database_is_looked_at_that_is_told() -> None:
    assert read(databases=("master",)) == ServiceUsers(
        (), ("no database of App Service's is among those that are backed up",)
    )


@pytest.mark.parametrize("state", ["OFFLINE", "RESTORING", "SUSPECT"])
def test_a_database_that_is_not_online_hides_its_own_users_only(state: str) -> None:
    found = read(user(), of=server({METERING: state}), databases=(METERING, HOSTING))

    assert [each.database for each in found.users] == [HOSTING]
    (told,) = found.hidden
    assert f"the users of {METERING} cannot be seen" in told
    assert state in told


def test_a_database_that_is_missing_hides_its_own_users_only() -> None:
    found = read(user(), databases=("gone", HOSTING))

    assert [each.database for each in found.users] == [HOSTING]
    (told,) = found.hidden
    assert told.startswith("the users of gone cannot be seen: there is no database 'gone' on sql.local")


REFUSALS: list[DatabaseError] = [
    DatabaseError("SELECT failed on sql.local: the replica is not readable (976)", number=976),
    PermissionMissing("lifeboat lacks a permission on sql.local (916)", number=916),
    StatementCancelled("SELECT was cancelled after 120 seconds"),
]


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("of", ["database_permission", "others"])
def test_a_statement_that_fails_hides_the_users_of_its_database(error: DatabaseError, of: str) -> None:
    failing: dict[str, Any] = {"others": {statements.sql_users(HOSTING): error}, "database_permission": error}

    found = read(**{of: failing[of]})

    assert found == ServiceUsers((), (f"the users of {HOSTING} cannot be seen: {error}",))


@pytest.mark.parametrize("of", ["database_permission", "others"])
def test_a_lost_connection_is_raised(of: str) -> None:
    lost = SourceUnreachable("the connection to SQL Server sql.local was lost")
    failing: dict[str, Any] = {"others": {statements.sql_users(HOSTING): lost}, "database_permission": lost}

    with pytest.raises(SourceUnreachable):
        read(**{of: failing[of]})


# --- the statements ---


def test_every_column_and_permission_is_there_in_the_oldest_version() -> None:
    """Resolved in ``master``, whose schema the views are written down in."""
    text = statements.sql_users("master")

    require_known(text, 2012)
    require_permission("SERVER", "VIEW ANY DEFINITION", 2012)
    require_permission("DATABASE", "VIEW DEFINITION", 2012)
    with pytest.raises(NotThere):
        require_known(text.replace("u.authentication_type_desc", "u.authentication_kind_desc"), 2012)


def test_a_users_columns_are_new_in_2012() -> None:
    with pytest.raises(NotThere):
        require_known(statements.sql_users("master"), 2008)
