"""What people are told: figures, progress, and names that no terminal can show."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.errors import printable
from shared.terminal import Meter, bytes_text, duration_text, message, progress, result


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB"), (3 << 50, "3072.0 TiB")],
)
def test_bytes_in_words(count: int, text: str) -> None:
    assert bytes_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (4.23, "4.2 s"), (200, "3 min 20 s"), (3605, "1 h 00 min"), (7500, "2 h 05 min")],
)
def test_durations_in_words(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_a_meter_tells_files_bytes_rate_and_what_is_left() -> None:
    text = Meter(lambda: (1500, 3 << 20, 3000), "backed up").text()

    assert text.startswith("backed up 1,500 files, 3.0 MiB, ")
    assert "50 %" in text
    assert text.endswith(" left")


@pytest.mark.parametrize("total", [None, 0, 10])
def test_a_meter_does_not_guess_what_nobody_knows(total: int | None) -> None:
    assert "left" not in Meter(lambda: (10, 0, total), "backed up").text()
    Meter(lambda: (0, 0, total), "backed up").text()


def test_a_meter_tells_what_goes_on_beside_the_files() -> None:
    text = Meter(lambda: (10, 0, None), "backed up", beside=lambda: "backing up x: 40 %").text()

    assert text.startswith("backed up 10 files, ")
    assert text.endswith(", backing up x: 40 %")


@pytest.mark.parametrize("done", [None, lambda: (0, 0, None), lambda: (0, 0, 100)])
def test_before_the_first_file_a_meter_tells_only_what_goes_on_beside(
    done: Callable[[], tuple[int, int, int | None]] | None,
) -> None:
    assert Meter(done, "backed up", beside=lambda: "verifying x").text() == "verifying x"


def test_a_meter_without_files_and_nothing_beside_says_what_is_done() -> None:
    assert Meter(None, "restoring").text() == "restoring"
    assert Meter(None, "restoring", beside=lambda: "").text() == "restoring"


def test_with_nothing_beside_a_meter_tells_of_files_from_the_beginning() -> None:
    assert Meter(lambda: (0, 0, 100), "backed up").text().startswith("backed up 0 files, 0 B, ")


def test_what_goes_on_beside_is_asked_each_time() -> None:
    said = ["one", "two"]
    meter = Meter(None, "restoring", beside=lambda: said.pop(0))

    assert [meter.text(), meter.text()] == ["one", "two"]


def test_without_a_terminal_short_work_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(Meter(lambda: (1, 1, 1), "backed up"), quiet=False):
        pass

    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


def test_messages_go_to_standard_error_and_results_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    message("a message")
    result("a result")

    assert capsys.readouterr() == ("a result\n", "a message\n")


def test_a_name_that_is_no_unicode_can_be_shown(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    message("lone \ud800")
    result("lone \udfff")

    assert capsysbinary.readouterr() == (b"lone \\udfff\n", b"lone \\ud800\n")
    assert printable("naïve 日本語") == "naïve 日本語"
