"""The chunker polynomial that stock restic needs in the config."""

from __future__ import annotations

import pytest

from shared.repository.polynomial import DEGREE, is_irreducible, random_polynomial


@pytest.mark.parametrize(
    ("degree", "count"), [(1, 2), (2, 1), (3, 2), (4, 3), (5, 6), (6, 9), (7, 18), (8, 30), (9, 56)]
)
def test_there_are_as_many_irreducible_polynomials_as_mathematics_says(degree: int, count: int) -> None:
    assert sum(is_irreducible(candidate) for candidate in range(1 << degree, 2 << degree)) == count


def test_the_polynomial_of_restics_own_documentation_is_irreducible() -> None:
    assert is_irreducible(0x3DA3358B4DC173)
    assert not is_irreducible(0x3DA3358B4DC173 ^ 1)


def test_a_random_polynomial_is_irreducible_of_degree_53_and_another_one_each_time() -> None:
    drawn = {random_polynomial() for _ in range(20)}
    assert len(drawn) == 20
    for text in drawn:
        assert int(text, 16).bit_length() - 1 == DEGREE == 53
        assert is_irreducible(int(text, 16))
