"""``backup``: statuses, exit codes, what makes a point whole, and the guard against a share that shrank."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from shared.recovery_point import share as share_module
from tests.conftest import Vault
from tests.integration.commandline.conftest import PASSWORD, CommandLine
from tests.standins.restic import StockRestic


def test_a_good_share_is_a_complete_and_whole_point(
    lifeboat_in: CommandLine, vault: Vault, newest_restic: StockRestic
) -> None:
    answer = lifeboat_in("backup")

    assert (answer.code, answer.status, answer.reasons) == (0, "complete", [])
    assert (answer.json["requested"], answer.json["whole"], answer.json["suspect"]) == (["share"], True, False)
    assert answer.share["status"] == "complete"
    assert answer.share["files"] == 10
    assert answer.share["unchanged"] == 0
    assert set(answer.share) == {"status", "files", "bytes_read", "bytes_stored", "unchanged", "finished"}
    assert len(answer.json["snapshot"]) == 64
    repository = vault.seen_by(newest_restic, PASSWORD)
    repository.check()
    repository.rewrite_changes_nothing()


def test_nothing_is_read_when_nothing_changed(lifeboat_in: CommandLine) -> None:
    lifeboat_in("backup")

    again = lifeboat_in("backup")

    assert again.code == 0
    assert (again.share["files"], again.share["unchanged"], again.share["bytes_read"]) == (10, 10, 0)


def test_several_workers_make_the_same_point(lifeboat_in: CommandLine) -> None:
    one = lifeboat_in("backup")
    several = lifeboat_in("backup", "--workers", "3")

    assert several.code == 0
    assert several.share["unchanged"] == one.share["files"]


def test_what_cannot_be_read_makes_the_point_partial_and_is_named(lifeboat_in: CommandLine) -> None:
    lifeboat_in.fill("site1/open.ldf")
    _deny(lifeboat_in, "site1/open.ldf")

    answer = lifeboat_in("backup")

    assert (answer.code, answer.status) == (3, "partial")
    assert [(reason["code"], reason["path"]) for reason in answer.reasons] == [("unreadable-file", "site1/open.ldf")]
    assert "LIFEBOAT_SHARE_USERNAME" in answer.reasons[0]["remedy"]
    assert answer.json["snapshot"]


def test_what_is_tolerated_is_listed_and_the_point_is_complete(lifeboat_in: CommandLine) -> None:
    lifeboat_in.fill("site1/open.ldf")
    _deny(lifeboat_in, "site1/open.ldf")
    lifeboat_in.set(SHARE_TOLERATE="**/*.ldf")

    answer = lifeboat_in("backup")

    assert (answer.code, answer.status) == (0, "complete")
    record = lifeboat_in("show", answer.json["point"]).json
    assert record["components"]["share"]["tolerated"]["first"][0]["path"] == "site1/open.ldf"


def _deny(command: CommandLine, name: str) -> None:
    """Opening the file is refused from now on: root is not stopped by a mode, so the open itself is."""
    full = os.fspath(command.share / name)
    before = Path.open

    def refuse(self: Path, *arguments: object, **options: object) -> object:
        if os.fspath(self) == full:
            raise PermissionError(13, "Permission denied")
        return before(self, *arguments, **options)  # type: ignore[call-overload]

    command.settings.setattr(Path, "open", refuse)


def test_what_came_while_somebody_s_lock_was_waited_for_is_in_the_point(lifeboat_in: CommandLine, vault: Vault) -> None:
    """The share is listed while the vault is being opened; a listing from before a long wait is not used."""
    lifeboat_in("backup")
    lifeboat_in.settings.setattr(share_module, "AHEAD_SECONDS", 0.0)
    vault.faults.call("before the 1st put under share/locks/", lambda call: lifeboat_in.fill("came/later.html"))

    answer = lifeboat_in("backup")

    assert (answer.code, answer.share["files"], answer.share["unchanged"]) == (0, 11, 10)


# --- requested, whole, without ---------------------------------------------------------------------------------------


def test_a_point_of_some_components_only_is_not_whole(lifeboat_in: CommandLine) -> None:
    answer = lifeboat_in("backup", "--only", "share")

    assert (answer.code, answer.status, answer.json["whole"]) == (0, "complete", False)


def test_one_component_that_fails_makes_the_point_partial(lifeboat_in: CommandLine) -> None:
    """A configured component that fails is never left out silently."""
    lifeboat_in.set_databases_that_fail()

    answer = lifeboat_in("backup")

    assert (answer.code, answer.status) == (3, "partial")
    assert answer.json["requested"] == ["databases", "share"]
    assert {name: each["status"] for name, each in answer.json["components"].items()} == {
        "databases": "failed",
        "share": "complete",
    }
    assert [reason["component"] for reason in answer.reasons] == ["databases"]


def test_all_components_failed_is_a_failed_point(lifeboat_in: CommandLine) -> None:
    shutil.rmtree(lifeboat_in.share)

    answer = lifeboat_in("backup")

    assert (answer.code, answer.status, answer.json["snapshot"]) == (1, "failed", None)
    assert answer.reasons[0]["setting"] == "LIFEBOAT_SHARE_URL"
    assert [point["status"] for point in lifeboat_in("points").json["points"]] == ["failed"]


def test_a_component_that_an_earlier_whole_point_had_is_missed_until_it_is_said_to_be_meant(
    lifeboat_in: CommandLine,
) -> None:
    lifeboat_in.set_databases_that_fail()
    assert lifeboat_in("backup").json["whole"] is True
    lifeboat_in.unset("SQL_SERVER")

    missed = lifeboat_in("backup")
    meant = lifeboat_in("backup", "--without", "databases")
    afterwards = lifeboat_in("backup")

    assert (missed.status, missed.json["whole"]) == ("complete", False)
    assert meant.json["whole"] is True
    assert afterwards.json["whole"] is True, "it was said once"
    assert lifeboat_in("show", meant.json["point"]).json["without"] == ["databases"]
    assert set(lifeboat_in("show", missed.json["point"]).json["not_configured"]) == {"databases", "secrets"}


# --- fault 25: a share that is empty or lost most of its files -------------------------------------------------------


def _empty(command: CommandLine, keep: int = 0) -> None:
    for path in sorted(command.share.iterdir())[keep:]:
        shutil.rmtree(path)


def test_an_empty_share_at_the_first_run_has_failed_fault_25(lifeboat_in: CommandLine) -> None:
    _empty(lifeboat_in)

    answer = lifeboat_in("backup")

    assert (answer.code, answer.status, answer.json["suspect"]) == (1, "failed", True)
    assert answer.codes == ["share-shrank"]
    assert "--allow-shrink" in answer.reasons[0]["remedy"]


@pytest.mark.parametrize(("left", "code"), [(0, 1), (4, 1), (5, 0), (9, 0)])
def test_losing_more_than_the_allowed_part_has_failed_and_the_snapshot_is_kept_fault_25(
    lifeboat_in: CommandLine, left: int, code: int
) -> None:
    lifeboat_in("backup")
    _empty(lifeboat_in, keep=left)

    answer = lifeboat_in("backup")

    assert answer.code == code
    assert answer.json["suspect"] is (code == 1)
    assert answer.codes == (["share-shrank"] if code else [])
    assert answer.json["snapshot"], "it is kept"
    if code:
        assert answer.reasons[0]["setting"] == "LIFEBOAT_SHARE_MAX_SHRINK"


def test_the_allowed_part_is_a_setting(lifeboat_in: CommandLine) -> None:
    lifeboat_in.set(SHARE_MAX_SHRINK="0.1")
    lifeboat_in("backup")
    _empty(lifeboat_in, keep=8)

    assert lifeboat_in("backup").code == 1


def test_a_loss_stays_a_failure_until_it_is_accepted(lifeboat_in: CommandLine) -> None:
    lifeboat_in("backup")
    _empty(lifeboat_in, keep=1)

    assert [lifeboat_in("backup").code for _ in range(3)] == [1, 1, 1]
    assert lifeboat_in("backup", "--allow-shrink").code == 0
    assert lifeboat_in("backup").code == 0, "what was accepted is the baseline"


def test_a_loss_in_steps_is_measured_against_the_newest_good_snapshot(lifeboat_in: CommandLine) -> None:
    lifeboat_in("backup")
    _empty(lifeboat_in, keep=4)
    assert lifeboat_in("backup").code == 1
    lifeboat_in.fill("site8/index.html", "site9/index.html")

    assert lifeboat_in("backup").code == 0, "six of ten: half of them may go"


def test_an_accepted_empty_share_is_the_baseline_zero(lifeboat_in: CommandLine) -> None:
    lifeboat_in("backup")
    _empty(lifeboat_in)

    accepted = lifeboat_in("backup", "--allow-shrink")

    assert (accepted.code, accepted.status, accepted.json["suspect"]) == (0, "complete", False)
    assert lifeboat_in("backup").code == 0
    lifeboat_in.fill("new/index.html")
    assert lifeboat_in("backup").code == 0


def test_what_was_accepted_in_a_partial_run_is_the_baseline_too(lifeboat_in: CommandLine) -> None:
    lifeboat_in("backup")
    _empty(lifeboat_in, keep=2)
    lifeboat_in.set_databases_that_fail()
    assert lifeboat_in("backup", "--allow-shrink").status == "partial"
    lifeboat_in.unset("SQL_SERVER")

    assert lifeboat_in("backup").code == 0


def test_a_suspect_snapshot_is_nobody_s_parent_fault_25(lifeboat_in: CommandLine) -> None:
    good = lifeboat_in("backup")
    aside = lifeboat_in.share.with_name("aside")
    shutil.move(lifeboat_in.share, aside)
    lifeboat_in.share.mkdir()
    suspect = lifeboat_in("backup")
    lifeboat_in.share.rmdir()
    shutil.move(aside, lifeboat_in.share)

    back = lifeboat_in("backup")

    assert (suspect.code, back.code) == (1, 0)
    record = lifeboat_in("show", back.json["point"]).json["components"]["share"]
    assert record["parent"] == good.json["snapshot"]
    assert back.share["unchanged"] == 10


@pytest.mark.parametrize(("look_every", "looked_by"), [("0s", 3), ("1d", 1)])
def test_files_that_seem_unchanged_are_opened_as_often_as_the_setting_says(
    lifeboat_in: CommandLine, look_every: str, looked_by: int
) -> None:
    """The first run reads everything, so it counts as a look. Runs between two looks do not put off the next one."""
    lifeboat_in.set(SHARE_LOOK_EVERY=look_every)

    runs = [lifeboat_in("backup") for _ in range(3)]

    records = [lifeboat_in("show", run.json["point"]).json["components"]["share"] for run in runs]
    assert records[2]["looked"] == records[looked_by - 1]["started"]
    assert [run.share["unchanged"] for run in runs] == [0, 10, 10]
