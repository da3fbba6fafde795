"""Which files a drill draws: bounded, the same again from the same seed, and any file may be among them."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from shared.recovery_point.drill_sample import MOST_FILES, draw

FILES = st.lists(st.integers(0, 50), max_size=60).map(lambda sizes: [(f"f{n}", size) for n, size in enumerate(sizes)])


@given(FILES, st.text(min_size=1), st.integers(1, 200), st.integers(1, 20))
def test_a_sample_is_files_of_the_share_within_both_limits_and_the_same_from_the_same_seed(
    files: list[tuple[str, int]], seed: str, sample_bytes: int, most_files: int
) -> None:
    sample = draw(iter(files), seed=seed, sample_bytes=sample_bytes, most_files=most_files)

    sizes = dict(files)
    assert len(set(sample.paths)) == len(sample.paths) <= most_files
    assert sample.bytes == sum(sizes[path] for path in sample.paths)
    assert sample.bytes <= sample_bytes or len(sample.paths) == 1
    assert bool(sample.paths) == bool(files)
    assert (sample.of_files, sample.of_bytes) == (len(files), sum(sizes.values()))
    assert sample == draw(iter(files), seed=seed, sample_bytes=sample_bytes, most_files=most_files)


def test_every_file_comes_up_as_often_as_any_other() -> None:
    files = [(f"f{n}", n) for n in range(20)]
    counts = Counter(
        path for n in range(2_000) for path in draw(files, seed=str(n), sample_bytes=10**6, most_files=5).paths
    )
    assert set(counts) == {path for path, _ in files}
    assert 400 < min(counts.values()) < max(counts.values()) < 600


def test_all_of_a_share_that_is_smaller_than_the_sample_is_drawn() -> None:
    files = [(f"f{n}", 10) for n in range(100)]
    assert set(draw(files, seed="s", sample_bytes=1_000).paths) == {path for path, _ in files}


def test_a_file_that_is_larger_than_the_sample_is_not_drawn_and_is_counted() -> None:
    sample = draw([("small", 5), ("large", 11), ("larger", 12)], seed="s", sample_bytes=10)
    assert (sample.paths, sample.too_large, sample.of_bytes) == (("small",), 2, 28)


def test_where_every_file_is_larger_than_the_sample_the_smallest_is_taken_whole() -> None:
    sample = draw([("larger", 12), ("large", 11)], seed="s", sample_bytes=10)
    assert (sample.paths, sample.bytes, sample.too_large) == (("large",), 11, 1)


def test_a_large_file_that_comes_first_leaves_room_for_small_ones_after_it() -> None:
    files = [("large", 9), *((f"small{n}", 1) for n in range(30))]
    with_large = [draw(files, seed=str(n), sample_bytes=10) for n in range(100)]
    assert any("large" in sample.paths and len(sample.paths) == 2 for sample in with_large)
    assert all(sample.bytes == 10 for sample in with_large)


def test_a_share_without_files_has_an_empty_sample() -> None:
    sample = draw([], seed="s", sample_bytes=10)
    assert (sample.paths, sample.bytes, sample.of_files, sample.too_large) == ((), 0, 0, 0)


def test_of_a_million_files_no_more_are_in_memory_than_may_be_drawn() -> None:
    def files() -> Iterator[tuple[str, int]]:
        for number in range(1_000_000):
            yield f"{number:032x}", number % 10_000

    tracemalloc.start()
    try:
        sample = draw(files(), seed="s", sample_bytes=10**9)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(sample.paths) == MOST_FILES
    assert peak_bytes < 2_000 * MOST_FILES
