"""The record of a recovery point: what was written is what is read, or nothing is."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Damaged
from shared.recovery_point.digest import sealed
from shared.recovery_point.record import RecoveryPoint
from tests.unit.status.points import point

NAME = "points/20261125T120000Z-0a1b2c.json"
BODY = point(skew_seconds=0.1, duration_seconds=1e-7).to_bytes()


def test_a_record_is_read_as_it_was_written() -> None:
    assert RecoveryPoint.from_bytes(BODY, NAME) == point(skew_seconds=0.1, duration_seconds=1e-7)


@given(bit=st.integers(0, len(BODY) * 8 - 1))
def test_a_flipped_bit_is_damage_or_changes_nothing(bit: int) -> None:
    flipped = bytearray(BODY)
    flipped[bit // 8] ^= 1 << bit % 8
    try:
        read = RecoveryPoint.from_bytes(bytes(flipped), NAME)
    except Damaged:
        return
    assert read == RecoveryPoint.from_bytes(BODY, NAME)


@pytest.mark.parametrize(
    ("was", "becomes"),
    [(b'"complete"', b'"complete "'), (b"5000000", b"5000001"), (b'"whole": true', b'"whole": false')],
)
def test_what_leaves_valid_json_is_damage_too(was: bytes, becomes: bytes) -> None:
    assert was in BODY
    with pytest.raises(Damaged, match=f"{NAME} .* digest does not fit"):
        RecoveryPoint.from_bytes(BODY.replace(was, becomes, 1), NAME)


def test_a_record_of_an_older_lifeboat_has_no_digest_and_is_read() -> None:
    older = orjson.loads(BODY)
    del older["digest"]
    assert RecoveryPoint.from_bytes(orjson.dumps(older), NAME) == RecoveryPoint.from_bytes(BODY, NAME)


def test_what_a_newer_lifeboat_adds_counts_for_the_digest_and_is_passed_over() -> None:
    more = point().to_json() | {"weather": "fine"}
    assert RecoveryPoint.from_bytes(sealed(more), NAME) == point()
    with pytest.raises(Damaged, match="digest"):
        RecoveryPoint.from_bytes(sealed(more).replace(b"fine", b"rain"), NAME)
