"""Patterns: ``/`` between parts, ``*`` within one, ``**`` across, without regard to case."""

from __future__ import annotations

import pytest

from shared.fileshare.patterns import Patterns


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("*.log", ["a.log", "A.LOG", ".log"], ["site/a.log", "a.logs", "log"]),
        ("**/*.log", ["a.log", "x/a.log", "x/y/a.LOG"], ["a.txt", "x/a.log2"]),
        ("site1", ["site1", "site1/a", "SITE1/a/b"], ["site10", "x/site1", "site"]),
        ("/site1/", ["site1", "site1/a"], ["site10"]),
        ("site?/data", ["site1/data", "siteX/data/y"], ["site/data", "site12/data", "site//data"]),
        ("a/**/z", ["a/z", "a/b/z", "a/b/c/z", "a/z/inside"], ["az", "b/a/z", "a/zz"]),
        ("a/**", ["a/b", "a/b/c"], ["b/a"]),
        ("**", ["a", "a/b"], []),
        ("a+b(c)[d]{e}.$^|", ["a+b(c)[d]{e}.$^|"], ["aab", "a+bc"]),
        ("über*", ["ÜBERALL"], ["uber"]),
        ("a\nb", ["a\nb"], ["a"]),
    ],
)
def test_what_a_pattern_matches(pattern: str, matching: list[str], others: list[str]) -> None:
    patterns = Patterns([pattern])

    assert [path for path in matching if not patterns.match(path)] == []
    assert [path for path in others if patterns.match(path)] == []


@pytest.mark.parametrize("none", [[], [""], [" ", "/"]])
def test_no_pattern_matches_nothing(none: list[str]) -> None:
    assert not Patterns(none)
    assert not Patterns(none).match("anything")


def test_any_of_several_is_enough() -> None:
    patterns = Patterns([" a ", "b/*"])

    assert [path for path in ("a", "b", "b/c", "c") if patterns.match(path)] == ["a", "b/c"]
