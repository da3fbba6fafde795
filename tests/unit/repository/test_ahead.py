"""What is fetched ahead comes in its order, and only a few at a time."""

from __future__ import annotations

import pytest

from shared.errors import Damaged
from shared.repository.ahead import fetched_ahead


def test_results_come_in_the_order_of_their_items_and_no_more_are_fetched_than_asked_for() -> None:
    fetched: list[int] = []

    def fetch(number: int) -> int:
        fetched.append(number)
        return number * number

    for used, (number, square) in enumerate(fetched_ahead(fetch, range(50), at_once=4)):
        assert (number, square) == (used, used * used)
        assert len(fetched) <= used + 4
    assert sorted(fetched) == list(range(50))
    assert list(fetched_ahead(fetch, [], at_once=4)) == []


def test_an_error_is_raised_in_its_turn() -> None:
    def fetch(number: int) -> int:
        if number == 3:
            raise Damaged("the third")
        return number

    results = fetched_ahead(fetch, range(9), at_once=4)
    assert [next(results)[0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(Damaged):
        next(results)
