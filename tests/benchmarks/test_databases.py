"""The model of a week of full backups does what it says."""

import struct
import zlib
from pathlib import Path

import pytest

from tests.benchmarks.databases import (
    HEADER_BYTES,
    PAGE_BYTES,
    PAGES_PER_EXTENT,
    SQL_BLOCK_BYTES,
    Database,
    measure,
    sql_compressed,
)

PAGES = 1_003
"""8 MB; the last extent is not full."""


@pytest.mark.parametrize("fraction", [0.005, 0.02, 0.1])
def test_exactly_the_pages_that_changed_are_others_the_next_day(fraction: float) -> None:
    database = Database(PAGES)
    before = [database.page(number) for number in range(PAGES)]
    change = database.change(fraction)

    assert len(change.updated) + change.appended == round(PAGES * fraction)
    assert abs(len(change.updated) - change.appended) <= 1
    assert database.pages == PAGES + change.appended
    assert {n for n in range(PAGES) if database.page(n) != before[n]} == change.updated
    for number in change.updated:
        old, new = before[number], database.page(number)
        assert struct.unpack_from("<II", new, 40) > struct.unpack_from("<II", old, 40)  # the LSN
        differing = [at for at in range(PAGE_BYTES) if old[at] != new[at]]
        assert len([at for at in differing if at >= 96]) <= 12  # a datetime and a state of one row
        assert {at for at in differing if at < 96} <= {*range(40, 50), *range(60, 64)}  # LSN and checksum


def test_an_unchanged_extent_is_byte_for_byte_the_same_the_next_day() -> None:
    database = Database(PAGES)
    first = database.backup(1)
    change = database.change(0.02)
    second = database.backup(2)

    touched = {page // PAGES_PER_EXTENT for page in change.updated}
    touched |= {page // PAGES_PER_EXTENT for page in range(PAGES, PAGES + change.appended)}
    extents = len(first) - 1
    assert {len(extent) for extent in first[1:]} == {64 << 10}
    assert {n for n in range(extents) if first[1 + n] != second[1 + n]} == touched & set(range(extents))
    assert len(first[0]) == len(second[0]) == HEADER_BYTES
    assert first[0] != second[0]


def test_a_page_is_full_of_rows_and_has_some_free_space() -> None:
    database = Database(PAGES)
    used = 0
    for number in range(PAGES):
        page = database.page(number)
        slots, free, end = (struct.unpack_from("<H", page, at)[0] for at in (22, 28, 30))
        assert struct.unpack_from("<I", page, 32)[0] == number
        assert page[end : end + free] == bytes(free)
        assert end + free + 2 * slots == PAGE_BYTES
        for offset in struct.unpack_from(f"<{slots}H", page, PAGE_BYTES - 2 * slots):
            assert page[offset] == 0x30
        used += PAGE_BYTES - free
    assert 0.7 < used / (PAGES * PAGE_BYTES) < 0.9


def test_a_database_is_the_same_whenever_it_is_made() -> None:
    databases = [Database(50), Database(50)]
    assert databases[0].change(0.1) == databases[1].change(0.1)
    assert databases[0].extents() == databases[1].extents()


def test_the_stand_in_for_xpress_compresses_each_mib_by_itself() -> None:
    backup = Database(300).backup(1)
    plain = b"".join(backup)
    blocks = sql_compressed(backup)
    assert len(blocks) == -(-len(plain) // SQL_BLOCK_BYTES)
    assert b"".join(zlib.decompress(block[8:]) for block in blocks) == plain


def test_the_second_day_of_uncompressed_backups_adds_less_than_the_first(tmp_path: Path) -> None:
    week = measure(0.005, pages=PAGES, folder=tmp_path, days=2)
    assert 0 < week.b[1] - week.b[0] < week.b[0]
    assert week.b[1] < week.c[1]
    assert week.b[0] == pytest.approx(week.c[0], rel=0.05)
    assert week.a[1] > week.a[0] > 0
