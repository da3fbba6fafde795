"""Names as Go's strconv.Quote writes them, and JSON as Go's encoding/json does.

That this is how stock restic would write them is judged in ``tests/integration/repository``.
"""

from __future__ import annotations

import contextlib
import json
import re
import unicodedata

import pytest
from hypothesis import example, given

from shared.errors import Damaged
from shared.repository.trees import go_json, quote, unquote
from tests.unit.repository.strategies import names, unicode_names


@given(names)
@example(b"")
@example(b"\xed\xa0\x80")  # a lone high surrogate, as WTF-8
@example(b"\xed\xb0\x80 low alone")
@example(b"\xff\xfe")
@example("line\u2028separator\u2029 <&> \"'\\".encode())
@example(b"\\x41")
def test_a_name_comes_back_byte_for_byte_whatever_it_is(name: bytes) -> None:
    assert unquote(quote(name)) == name


@given(names)
def test_different_names_stay_different_and_a_quoted_name_holds_nothing_that_is_not_printable(name: bytes) -> None:
    quoted = quote(name)
    assert all(character.isprintable() or unicodedata.category(character) == "Cn" for character in quoted)
    assert quote(name + b"x") != quoted
    quoted.encode("utf-8")  # no lone surrogate is left


@given(names)
def test_json_is_written_as_go_writes_it(name: bytes) -> None:
    document = go_json({"name": quote(name)})
    assert json.loads(document) == {"name": quote(name)}
    assert not re.search(rb"[<>&\x00-\x1f\x7f]|\xe2\x80[\xa8\xa9]", document)


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        (b"plain name.txt", "plain name.txt"),
        ("Größe".encode(), "Größe"),
        (b"a\"b\\c'd", "a\\\"b\\\\c'd"),
        (b"\a\b\t\n\v\f\r", "\\a\\b\\t\\n\\v\\f\\r"),
        (b"\x00\x1f\x7f", "\\x00\\x1f\\x7f"),
        ("\x85\xa0\xad".encode(), "\\u0085\\u00a0\\u00ad"),
        ("\u2028\ufeff".encode(), "\\u2028\\ufeff"),
        ("\U000e0001".encode(), "\\U000e0001"),
        ("\ufffd".encode(), "\ufffd"),
        ("\u0cf3\U0002b739".encode(), "\u0cf3\U0002b739"),
        (b"\xed\xa0\x80", "\\xed\\xa0\\x80"),
        (b"caf\xe9", "caf\\xe9"),
    ],
)
def test_known_names_are_quoted_as_go_does(name: bytes, quoted: str) -> None:
    assert quote(name) == quoted


@pytest.mark.parametrize(
    ("quoted", "name"), [("\\u00e9\\U0001f600", "é😀".encode()), ("\\303\\251", "é".encode()), ("a\\'b", b"a'b")]
)
def test_escapes_that_another_writer_may_use_are_understood(quoted: str, name: bytes) -> None:
    assert unquote(quoted) == name


@pytest.mark.parametrize("quoted", ["\\", "\\q", "\\x1", "\\u12", "\\U0011zzzz", "\\U00110000", "\\999", "\\777"])
def test_an_escape_that_go_does_not_know_is_damage_and_nothing_else(quoted: str) -> None:
    with pytest.raises(Damaged):
        unquote(quoted)


@given(unicode_names)
def test_whatever_is_unquoted_either_is_a_name_or_damage(text: bytes) -> None:
    with contextlib.suppress(Damaged):
        unquote(text.decode("utf-8", "surrogatepass"))
