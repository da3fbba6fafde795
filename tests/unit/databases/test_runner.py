"""Long statements: progress, and what VERIFYONLY and the media must say."""

from __future__ import annotations

import pytest

from shared.databases import statements
from shared.databases.connection import Message
from shared.databases.progress import Progress
from shared.databases.runner import Runner
from shared.databases.statements import Devices
from shared.errors import DatabaseError
from tests.unit.databases.answers import Reply, connection

DEVICES = Devices("DISK", ("\\\\srv\\b\\x.bak",))
VALID = Message(3262, "The backup set on file 1 is valid.")


def runner(**replies: Reply) -> Runner:
    made, _ = connection({getattr(statements, name)(DEVICES): reply for name, reply in replies.items()})
    return Runner(made, 60, Progress(), lambda: None)


def test_a_person_is_shown_what_is_done_and_how_far_it_is() -> None:
    seen = []

    class Watched(Progress):
        def __setattr__(self, name: str, value: str) -> None:
            seen.append(value)
            super().__setattr__(name, value)

    made, _ = connection(
        {"BACKUP": [{"message": Message(3211, "40 percent processed.")}, {"message": Message(1, "x")}]}
    )
    Runner(made, 60, Watched(), lambda: None).long("BACKUP", "a", "backing up a")

    assert seen[-2:] == ["backing up a", "backing up a: 40 %"]


@pytest.mark.parametrize(
    "also", [[], [Message(3211, "100 percent processed.")], [Message(3181, "x"), Message(3257, "y")]]
)
def test_verifyonly_passes_when_3262_arrives(also: list[Message]) -> None:
    runner(verify_only=[{"message": message} for message in [*also, VALID]]).verify(DEVICES, "a")


@pytest.mark.parametrize("said", [[], [Message(3181, "Attempting to restore this backup may encounter problems.")]])
def test_verifyonly_that_does_not_say_valid_is_a_failure(said: list[Message]) -> None:
    with pytest.raises(DatabaseError) as caught:
        runner(verify_only=[{"message": message} for message in said]).verify(DEVICES, "a")

    assert caught.value.database == "a"


def test_media_hold_one_backup_set() -> None:
    header, files = runner(header_only=[{"BackupName": "n"}], file_list_only=[{"LogicalName": "d"}]).read_media(
        DEVICES, "a"
    )

    assert (header, files) == ({"BackupName": "n"}, [{"LogicalName": "d"}])


@pytest.mark.parametrize("count", [0, 2])
def test_media_with_another_number_of_backup_sets_are_refused(count: int) -> None:
    with pytest.raises(DatabaseError, match=f"{count} backup sets"):
        runner(header_only=[{"BackupName": "n"}] * count).read_media(DEVICES, "a")
