"""``points``, ``show``, ``check`` and ``password``."""

from __future__ import annotations

import pytest

from tests.conftest import Vault
from tests.integration.commandline.conftest import PASSWORD, CommandLine


def test_points_are_listed_newest_first(lifeboat_in: CommandLine) -> None:
    made = [lifeboat_in("backup").json["point"] for _ in range(3)]

    answer = lifeboat_in("points")

    assert (answer.code, answer.status) == (0, "ok")
    assert [point["point"] for point in answer.json["points"]] == made[::-1]
    for point in answer.json["points"]:
        assert {"point", "time", "status", "whole", "suspect", "components"} <= point.keys()
        assert point["components"]["share"]["status"] == "complete"


def test_a_record_that_cannot_be_read_is_listed_as_damaged(lifeboat_in: CommandLine, vault: Vault) -> None:
    good = lifeboat_in("backup").json["point"]
    damaged = "20990101T000000Z-abcdef"
    with vault.judge("recovery-points") as store:
        store.put(f"points/{damaged}.json", b'{"version": 1, "point": ')

    answer = lifeboat_in("points")

    assert (answer.code, answer.status) == (3, "partial")
    assert [(point["point"], point["status"]) for point in answer.json["points"]] == [
        (damaged, "damaged"),
        (good, "complete"),
    ]
    assert answer.codes == ["damaged"]
    assert damaged in answer.reasons[0]["object"]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b'"text"', b'{"version": 99}', b'{"version": "1"}', b'{"version": 1}', b"\xff\xfe"]
)
def test_whatever_a_damaged_record_holds_the_others_are_told_faults_7_and_34(
    lifeboat_in: CommandLine, vault: Vault, body: bytes
) -> None:
    """Fault 7, and 34: anybody who may add a blob may add garbage."""
    lifeboat_in("backup")
    with vault.judge("recovery-points") as store:
        store.put("points/20990101T000000Z-abcdef.json", body)
    assert lifeboat_in("backup").share["unchanged"] == 10

    answer = lifeboat_in("points")

    assert answer.code == 3
    assert sorted(point["status"] for point in answer.json["points"]) == ["complete", "complete", "damaged"]
    assert lifeboat_in("show", "20990101T000000Z-abcdef").codes == ["damaged"]
    assert lifeboat_in("check").codes == ["damaged"]
    assert lifeboat_in("restore", "share", "--to", str(lifeboat_in.share.with_name("back"))).code == 0


def test_what_is_no_point_is_not_listed(lifeboat_in: CommandLine, vault: Vault) -> None:
    with vault.judge("recovery-points") as store:
        store.put("points/readme.txt", b"not a record")
        store.put("preflight/20990101T000000Z-abcdef.json", b"not a record")

    assert lifeboat_in("points").json["points"] == []


def test_show_prints_the_record(lifeboat_in: CommandLine) -> None:
    made = lifeboat_in("backup").json

    record = lifeboat_in("show", made["point"]).json

    assert record["point"] == made["point"]
    assert record["components"]["share"]["snapshot"] == made["snapshot"]
    assert record["not_configured"] == ["databases", "secrets"]


@pytest.mark.parametrize("point", ["20990101T000000Z-abcdef", "yesterday", "../init", ""])
def test_show_of_a_point_that_is_none_is_wrong_usage(lifeboat_in: CommandLine, point: str) -> None:
    answer = lifeboat_in("show", point)

    assert (answer.code, answer.codes) == (2, ["wrong-usage"])
    assert "points" in answer.reasons[0]["remedy"]


def test_people_are_told_the_same(lifeboat_in: CommandLine) -> None:
    assert "no recovery points yet" in lifeboat_in.people("points")[1]

    code, out, err = lifeboat_in.people("backup")
    assert code == 0
    assert "complete" in out
    assert "10 files" in out
    assert err == ""
    code, out, _ = lifeboat_in.people("points")
    assert code == 0
    assert out.count("complete") == 2
    assert lifeboat_in.people("check")[0] == 0


# --- check -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["--read-data"]])
def test_check_of_a_good_vault(lifeboat_in: CommandLine, options: list[str]) -> None:
    lifeboat_in("backup")

    assert (lifeboat_in("check", *options).code, lifeboat_in("check", *options).status) == (0, "ok")


def test_check_names_a_missing_pack_and_a_missing_snapshot(lifeboat_in: CommandLine, vault: Vault) -> None:
    snapshot = lifeboat_in("backup").json["snapshot"]
    with vault.judge() as store:
        pack = next(iter(store.list("data/"))).name
        store.delete(pack)
        store.delete(f"snapshots/{snapshot}")

    answer = lifeboat_in("check")

    assert (answer.code, answer.status) == (1, "damaged")
    objects = {reason["object"] for reason in answer.reasons}
    assert f"share/{pack}" in objects
    assert any(each.startswith("recovery-points/points/") for each in objects)


# --- password --------------------------------------------------------------------------------------------------------


def test_the_password_is_shown_only_after_asking(lifeboat_in: CommandLine) -> None:
    answer = lifeboat_in("password")

    assert (answer.code, answer.codes) == (2, ["wrong-usage"])
    assert "--yes" in answer.reasons[0]["remedy"]
    code, out, _ = lifeboat_in.people("password")
    assert (code, out) == (2, "")


def test_the_password_is_shown_to_who_says_yes(lifeboat_in: CommandLine) -> None:
    assert lifeboat_in("password", "--yes").json["password"] == PASSWORD
    assert lifeboat_in.people("password", "--yes")[1] == f"{PASSWORD}\n"


def test_no_password_names_the_setting(lifeboat_in: CommandLine) -> None:
    lifeboat_in.unset("REPOSITORY_PASSWORD")

    answer = lifeboat_in("password", "--yes")

    assert (answer.code, answer.reasons[0]["setting"]) == (2, "LIFEBOAT_REPOSITORY_PASSWORD")
