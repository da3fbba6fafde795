"""Times, nodes and trees: exact, sorted, unique, and read back as they were written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors import Damaged
from shared.repository.trees import (
    MODE_DIR,
    Metadata,
    dir_node,
    file_node,
    filetime_to_ns,
    ns_to_filetime,
    parse_node,
    parse_rfc3339,
    parse_tree,
    rfc3339,
    tree_bytes,
    unquote,
)
from tests.unit.repository.strategies import AFTER_LAST_NS, FIRST_NS, blob_ids, filetimes, metadata, names, times_ns

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(times_ns)
@example(0)
@example(-1)
@example(FIRST_NS)
@example(AFTER_LAST_NS - 10**9)
@example(951_782_400 * 10**9)  # 29 February 2000
def test_a_time_comes_back_to_the_nanosecond(time_ns: int) -> None:
    assert parse_rfc3339(rfc3339(time_ns)) == time_ns


@given(st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31)))
def test_a_time_reads_as_the_calendar_says(moment: datetime) -> None:
    moment = moment.replace(tzinfo=UTC)
    text = rfc3339((moment - EPOCH) // timedelta(microseconds=1) * 1000)
    assert text.startswith(moment.isoformat()[:19])
    assert text.endswith("Z")
    assert not text.removesuffix("Z").endswith(("0", ".")) or "." not in text


@given(st.integers(-(2**80), 2**80))
@example(FIRST_NS - 1)
@example(AFTER_LAST_NS)
def test_years_that_go_cannot_write_are_clamped(time_ns: int) -> None:
    read = parse_rfc3339(rfc3339(time_ns))
    assert read == time_ns or (read in (FIRST_NS, AFTER_LAST_NS - 10**9) and not FIRST_NS <= time_ns < AFTER_LAST_NS)


@given(filetimes)
def test_the_100_ns_of_windows_are_kept(filetime: int) -> None:
    assert ns_to_filetime(filetime_to_ns(filetime)) == filetime


@given(times_ns)
def test_a_filetime_is_never_negative_and_never_later_than_the_time(time_ns: int) -> None:
    filetime = ns_to_filetime(time_ns)
    assert filetime >= 0
    assert filetime == 0 or 0 <= time_ns - filetime_to_ns(filetime) < 100


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T16:00:00.000000001-08:00", 1),
        ("2024-02-29T23:59:59.999999999Z", 1_709_251_199_999_999_999),
    ],
)
def test_times_of_stock_restic_are_understood(text: str, time_ns: int) -> None:
    assert parse_rfc3339(text) == time_ns


@pytest.mark.parametrize("text", ["", "now", "2024-01-01", "2024-01-01 00:00:00Z", "2024-01-01T00:00:00", "x" * 99])
def test_something_else_than_a_time_is_damage(text: str) -> None:
    with pytest.raises(Damaged):
        parse_rfc3339(text)


@given(names, metadata, st.integers(0, 2**63), st.lists(blob_ids, max_size=3))
def test_a_file_comes_back_with_all_that_was_said_of_it(
    name: bytes, facts: Metadata, size_bytes: int, content: list[bytes]
) -> None:
    ids = tuple(blob_id.hex() for blob_id in content)
    document = tree_bytes([(name, file_node(name, facts, size_bytes, ids))])
    (node,) = map(parse_node, parse_tree(document))
    assert (node.name, node.kind, node.size_bytes, node.content) == (name, "file", size_bytes, ids)
    assert node.metadata == facts
    assert isinstance(node.fields["content"], list)  # null would be damage for restic, of an empty file too
    assert ("size" in node.fields) == (size_bytes > 0)
    assert node.fields["links"] == 1
    assert node.fields["atime"] == node.fields["mtime"]


@given(names, metadata, blob_ids)
def test_a_folder_comes_back_with_all_that_was_said_of_it(name: bytes, facts: Metadata, tree: bytes) -> None:
    (node,) = map(parse_node, parse_tree(tree_bytes([(name, dir_node(name, facts, tree.hex()))])))
    assert (node.name, node.kind, node.subtree, node.content) == (name, "dir", tree.hex(), ())
    assert node.metadata == facts
    assert node.fields["content"] is None
    assert node.fields["mode"] & MODE_DIR


@given(st.lists(names, unique=True, max_size=20), st.randoms(use_true_random=False))
def test_a_tree_is_sorted_by_the_bytes_of_its_names_in_whatever_order_they_came(
    given_names: list[bytes], random: Any
) -> None:
    facts = Metadata(0, 0)
    nodes = [(name, file_node(name, facts, 0, ())) for name in given_names]
    document = tree_bytes(nodes)
    random.shuffle(nodes)
    assert tree_bytes(nodes) == document
    assert document.startswith(b'{"nodes":[')
    assert document.endswith(b"]}\n")
    assert document.count(b"\n") == 1
    assert [unquote(node["name"]) for node in parse_tree(document)] == sorted(given_names)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["nodes", "name", "x"]), inner),
    max_leaves=8,
)


@given(st.binary(max_size=40) | json_values.map(orjson.dumps))
@example(b'{"nodes":[{"name":1}]}')
@example(b'{"nodes":null}\n')
@example(b"[]")
def test_whatever_is_read_as_a_tree_either_holds_nodes_or_is_damage(document: bytes) -> None:
    try:
        nodes = parse_tree(document)
        for node in nodes:
            parse_node(node)
    except Damaged:
        pass
