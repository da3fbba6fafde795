"""Names and texts in T-SQL: whatever is accepted comes back, and nothing ends a quote early."""

from __future__ import annotations

import pytest
import sqlglot
from hypothesis import example, given
from hypothesis import strategies as st

from shared.databases.tsql import literal, quote_name
from shared.errors import UsageError
from tests.unit.databases.lexer import Token, tokens

NASTY = "[]'\"-/*\\\r\n \t;`)(N@#é日😀"

any_text = st.one_of(
    st.text(max_size=60),
    st.text(st.sampled_from(NASTY), max_size=60),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60),
)
"""Surrogates and NUL too: hypothesis makes them by itself in the first."""
any_name = st.one_of(any_text, st.text(st.sampled_from(NASTY), min_size=100, max_size=140))


def utf16_units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def has_lone_surrogate(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def continues_a_line(text: str) -> bool:
    return any(f"\\{end}" in text for end in "\r\n")


@given(any_name)
@example("]")
@example("a]]b]")
@example("x] WITH REPLACE; DROP DATABASE [master")
@example("\\\n")
@example("x" * 128)
@example("😀" * 64)
def test_a_name_that_is_accepted_comes_back(name: str) -> None:
    try:
        quoted = quote_name(name)
    except UsageError:
        assert name == "" or "\0" in name or has_lone_surrogate(name) or utf16_units(name) > 128
        return
    assert tokens(f"DROP DATABASE {quoted} AFTER") == [
        Token("word", "DROP"),
        Token("word", "DATABASE"),
        Token("name", name),
        Token("word", "AFTER"),
    ]


@given(any_text)
@example("'")
@example("''")
@example("x'; DROP DATABASE [master]; --")
@example("\\")
@example("ends in \\")
@example("\\'\n")
def test_a_text_that_is_accepted_comes_back(text: str) -> None:
    try:
        quoted = literal(text)
    except UsageError:
        assert "\0" in text or has_lone_surrogate(text) or continues_a_line(text)
        return
    assert tokens(f"NAME = {quoted}, STATS") == [
        Token("word", "NAME"),
        Token("sign", "="),
        Token("text", text),
        Token("sign", ","),
        Token("word", "STATS"),
    ]


@given(any_name, any_text)
def test_sqlglot_reads_the_same(name: str, text: str) -> None:
    """Where it can: for it, unlike for SQL Server, a backslash in a text quotes what follows."""
    try:
        statement = f"A {quote_name(name)} {literal(text.replace(chr(92), '/'))} B"
    except UsageError:
        return
    found = [(token.token_type.name, token.text) for token in sqlglot.tokenize(statement, dialect="tsql")]

    assert found[1:3] == [("IDENTIFIER", name), ("NATIONAL_STRING", text.replace("\\", "/"))]
    assert len(found) == 4


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800", "a\udfffb", "x" * 129, "😀" * 64 + "x"])
def test_what_no_object_can_be_called_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        quote_name(name)

    str(caught.value).encode()  # it can be shown
    assert caught.value.remedy


@pytest.mark.parametrize("name", ["x" * 128, "😀" * 64, " ", "\n", "master"])
def test_128_units_of_utf_16_are_a_name(name: str) -> None:
    assert quote_name(name) == f"[{name}]"


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "\udc00'"])
def test_what_no_text_can_hold_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        literal(text)

    str(caught.value).encode()


@pytest.mark.parametrize("text", ["a\\\nb", "a\\\r\nb", "\\\r"])
def test_a_backslash_before_the_end_of_a_line_is_refused_since_sql_server_drops_both(text: str) -> None:
    """ "Backslash (line continuation)": N'a\\<newline>b' is the text ab."""
    with pytest.raises(UsageError):
        literal(text)


def test_an_empty_text_is_a_text() -> None:
    assert literal("") == "N''"
