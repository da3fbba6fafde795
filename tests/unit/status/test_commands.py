"""Values in lines that people type."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.status.runbook.commands import quote, text, variable


@pytest.mark.parametrize("plain", ["sql01", "smb://fs01/WebSites", "20261125T120000Z-0a1b2c", "a_b", "C:/x"])
def test_what_needs_no_quotes_has_none(plain: str) -> None:
    assert quote(plain) == plain


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("it's", "'it''s'"),
        ("a b", "'a b'"),
        ("$env:SECRET", "'$env:SECRET'"),
        ("a;b|c&d", "'a;b|c&d'"),
        ("\u2019quote\u2018", "'\u2019\u2019quote\u2018\u2018'"),
        ("`n", "'`n'"),
        ("", "''"),
        ("--overwrite", "'--overwrite'"),
        ("@file", "'@file'"),
        ("sql01,1433", "'sql01,1433'"),
    ],
)
def test_every_mark_that_powershell_takes_for_a_quote_is_doubled(value: str, written: str) -> None:
    assert quote(value) == written


@pytest.mark.parametrize("value", ["a\nRemove-Item C:\\", "a\x00", "\u202e"])
def test_a_value_that_cannot_be_typed_becomes_a_placeholder(value: str) -> None:
    assert quote(value) == text(value) == "'<a name that cannot be typed: see the record>'"


@given(st.text(max_size=30))
def test_a_value_without_quotes_of_its_own_is_one_argument_in_a_posix_shell_too(value: str) -> None:
    written = quote(value)

    if not set("'\u2018\u2019\u201a\u201b") & set(value):
        (argument,) = shlex.split(written)
        assert argument == value or argument.startswith("<a name that cannot be typed")


def test_a_variable_of_the_environment() -> None:
    assert variable("NAME", text("it's")) == "$env:NAME = 'it''s'"
