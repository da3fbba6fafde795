"""``preflight``: what an operator sees of the whole site, and what a planted fault looks like in the printed table."""

from __future__ import annotations

import socket

import pytest

from tests.integration.commandline.conftest import CommandLine
from tests.integration.databases.conftest import HOSTING
from tests.integration.secrets.conftest import Site, bench, landing, site, sql_server

__all__ = ["bench", "landing", "site", "sql_server"]


def test_nothing_fails_on_a_site_that_is_in_order_and_a_backup_leaves_nothing_behind(site: Site) -> None:
    site.put()
    site.command.set(SHARE_PREVIOUS_VERSION="off")
    found = site.command("preflight")
    assert [row for row in found.json["checks"] if row["result"] == "fail"] == []
    assert (found.code, found.status) == (0, "ok")
    assert {row["component"] for row in found.json["checks"]} == {"share", "databases", "secrets", "vault", "telemetry"}
    assert site.back_up().status == "complete"
    assert site.command("check", "--read-data").code == 0
    assert site.command("preflight").code == 0, "after the first backup there is a repository to look at too"
    assert site.command("points").code == 0


def test_the_table_begins_with_what_fails_and_says_what_to_do(lifeboat_in: CommandLine) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # taken, and nobody listens
        lifeboat_in.set(
            SHARE_URL=f"smb://127.0.0.1:{closed.getsockname()[1]}/WebSites",
            SHARE_USERNAME="someone",
            SHARE_PASSWORD="x",
        )
        code, out, _ = lifeboat_in.people("preflight")
    assert code == 1
    lines = out.splitlines()
    assert lines[1].split()[:3] == ["FAIL", "share", "port"]
    assert "-> " in lines[2]
    assert "LIFEBOAT_SHARE_URL" in out
    assert lines[-1].startswith("preflight: failed (1 fail, ")


def test_only_narrows_and_refuses_what_is_not_there(lifeboat_in: CommandLine) -> None:
    narrowed = lifeboat_in("preflight", "--only", "share")
    assert {row["component"] for row in narrowed.json["checks"]} == {"share"}
    unknown = lifeboat_in("preflight", "--only", "shares")
    assert (unknown.code, unknown.json["checks"]) == (2, [])
    absent = lifeboat_in("preflight", "--only", "databases")
    assert (absent.code, absent.reasons[0]["setting"]) == (2, "LIFEBOAT_SQL_SERVER")


@pytest.mark.parametrize("missing", ["VAULT_URL", "SHARE_URL"])
def test_a_setting_that_is_missing_is_a_row_and_exit_code_2(lifeboat_in: CommandLine, missing: str) -> None:
    lifeboat_in.unset(missing)
    if missing == "SHARE_URL":
        lifeboat_in.set(SHARE_URL="smb://fs.example/WebSites")  # and no user for it
        missing = "SHARE_USERNAME"
    found = lifeboat_in("preflight")
    first = found.json["checks"][0]
    assert (first["name"], first["result"], first["setting"]) == ("settings", "fail", f"LIFEBOAT_{missing}")
    assert found.code == 2


def test_a_backup_that_comes_to_nothing_names_the_failing_check(lifeboat_in: CommandLine) -> None:
    lifeboat_in.set_databases_that_fail()
    answer = lifeboat_in("backup")
    assert answer.status == "partial"
    (why,) = [reason for reason in answer.reasons if reason["component"] == "databases"]
    assert (why["check"], why["setting"]) == ("port", "LIFEBOAT_SQL_SERVER")
    assert lifeboat_in("show", answer.json["point"]).reasons == answer.reasons


def test_a_drill_server_that_is_down_explains_no_backup_that_failed(site: Site) -> None:
    site.put()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        site.command.set(
            DRILL_SQL_SERVER=f"127.0.0.1,{closed.getsockname()[1]}",
            DRILL_SQL_USERNAME="drill",
            DRILL_SQL_PASSWORD="x",
            SQL_DATABASES=HOSTING,
        )
        site.bench.server.fail_next("BACKUP DATABASE", 3043, "BACKUP detected an error on page (1:1)", times=9)
        answer = site.command("backup")
    (why,) = [each for each in answer.reasons if each["component"] == "databases"]
    assert "error on page" in why["message"]
    assert "check" not in why
    assert why.get("setting") != "LIFEBOAT_DRILL_SQL_SERVER"
