"""Values as PowerShell source: whatever a value holds, it stays a value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.agent.powershell import literal, text
from tests.unit.agent.powershell_grammar import mistakes, value_of

HOSTILE = st.text(st.sampled_from("'\"`$(){};|&#@<>\\\n\r\t\0 ‘’‚‛“”„%–—ü\u2028😀 x")) | st.text()


@given(HOSTILE)
def test_a_text_is_one_value_whatever_it_holds(value: str) -> None:
    assert value_of(text(value)) == value


@given(HOSTILE)
def test_what_is_written_is_one_line_of_ascii(value: str) -> None:
    """The machine's code page, a missing byte-order mark and typographic quotes then change nothing."""
    assert text(value).isascii()
    assert text(value).isprintable()


def test_a_lone_surrogate_stays_what_it_is() -> None:
    assert value_of(text("a\ud800b")) == "a\ud800b"


def test_the_evaluator_of_these_tests_refuses_what_is_more_than_a_value() -> None:
    for source in ("'a' + $b", "'a'; Get-Date", "'a' + [int] 0x41", '"a$(Get-Date)"', "'a' 'b'"):
        with pytest.raises(AssertionError):
            value_of(source)


def test_dictionaries_and_arrays_are_written_with_their_names() -> None:
    written = literal({"Path": "D:\\it's", "Times": ("23:00",), "None": (), "Minutes": 720, "Secret": False})
    assert written == (
        "[ordered] @{\n"
        "    'Path' = 'D:\\it''s'\n"
        "    'Times' = @(\n"
        "        '23:00'\n"
        "    )\n"
        "    'None' = @()\n"
        "    'Minutes' = 720\n"
        "    'Secret' = $false\n"
        "}"
    )
    assert mistakes(f"$x = {written}\n") == []


def test_an_array_inside_an_array_stays_one() -> None:
    """PowerShell pours it out into the outer one, but for a comma before it."""
    assert literal((("a", "b"),)) == "@(\n    , @(\n        'a'\n        'b'\n    )\n)"
    assert mistakes(f"$x = {literal((('a', 'b'), 'c'))}\n") == []
