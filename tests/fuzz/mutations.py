"""Valid samples made invalid: bits, lengths, cuts and splices in bytes; wrong types and absurd values in JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st

from shared.errors import LifeboatError


def only_our_errors(parse: Callable[[], object]) -> LifeboatError | None:
    """What ``parse`` raised, if that is one of our errors; any other exception passes and fails the test."""
    try:
        parse()
    except LifeboatError as error:
        str(error).encode()  # fit for a terminal: no lone surrogate
        return error
    return None


# --- bytes ------------------------------------------------------------------------------------------------------------

_EXTREMES = (0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)


@st.composite
def mutated(draw: st.DrawFn, sample: bytes) -> bytes:
    """``sample`` with one to four changes: a flipped bit, a cut, a piece twice, a piece gone, rubbish, a huge number in
    the place of a length."""
    data = bytearray(sample)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.sampled_from(("bit", "number", "number", "cut", "twice", "gone", "rubbish"))):
            case "bit" if data:
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "number":
                size = draw(st.sampled_from((1, 2, 4, 8)))
                value = draw(st.sampled_from(_EXTREMES)) % (1 << 8 * size)
                data[at : at + size] = value.to_bytes(size, draw(st.sampled_from(("little", "big"))))
            case "cut":
                del data[at:]
            case "twice":
                data[at:at] = data[at : at + draw(st.integers(1, 64))]
            case "gone":
                del data[at : at + draw(st.integers(1, 64))]
            case "rubbish":
                data[at:at] = draw(st.binary(max_size=32))
    return bytes(data)


# --- JSON -------------------------------------------------------------------------------------------------------------

ABSURD = (
    *("null", "true", "0", "-1", "1.5", "1e308", "1e999", "NaN", "-Infinity", "4294967296", "18446744073709551615"),
    *("9" * 400, '""', '"x"', '"\\ud800"', '"\\u0000"', '"../../x"', '"\u00b2\u0663"', '"0001-01-01T00:00:00+23:59"'),
    *('"9999-12-31T23:59:59.999999999-23:59"', "[]", "{}", "[null]", "[[]]", '{"":{}}', '["x"]', "[" * 100_000),
    *('{"a":' * 300 + "1" + "}" * 300, "[" * 500 + "]" * 500),
)
"""JSON, and what is nearly JSON, that a field may hold in place of its value."""
_MARK = "the place that is mutated"

Path = tuple[str | int, ...]


def places(value: object, path: Path = ()) -> Iterator[Path]:
    """Where in a JSON document something may be wrong: each member of each object and list, of lists the first three,
    and the document itself."""
    yield path
    if isinstance(value, dict):
        for key, member in value.items():
            yield from places(member, (*path, key))
    elif isinstance(value, list):
        for index, member in enumerate(value[:3]):
            yield from places(member, (*path, index))


def with_absurd(document: Any, path: Path, absurd: str) -> bytes:
    """The document with ``absurd`` in one place."""
    if not path:
        return absurd.encode()
    return _dumps(_replaced(document, path, _MARK)).replace(json.dumps(_MARK), absurd).encode()


def without(document: Any, path: Path) -> bytes:
    """The document without what is in one place."""
    return _dumps(_replaced(document, path, None, remove=True)).encode()


def each_absurdity(document: Any) -> Iterator[bytes]:
    """Every place with every absurd value, and without anything; each key of the top twice."""
    for path in places(document):
        for absurd in ABSURD:
            yield with_absurd(document, path, absurd)
        if path:
            yield without(document, path)
    if isinstance(document, dict):
        for key in document:
            yield (_dumps(document)[:-1] + f', {json.dumps(key)}: {{"again": true}}}}').encode()


@st.composite
def mutated_json(draw: st.DrawFn, document: Any) -> bytes:
    """A few places with absurd values, or absent; now and then its bytes mutated."""
    found: Any = document
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(found))))
        text = with_absurd(found, path, draw(st.sampled_from(ABSURD))) if draw(st.booleans()) else None
        if text is None:
            text = without(found, path) if path else b"{}"
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return text
    whole = _dumps(found).encode("utf-8", "surrogatepass")
    return draw(mutated(whole)) if draw(st.integers(0, 3)) == 0 else whole


def _dumps(value: object) -> str:
    return json.dumps(value)


def _replaced(value: Any, path: Path, by: object, *, remove: bool = False) -> Any:
    key, *rest = path
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    if rest:
        copy[key] = _replaced(copy[key], tuple(rest), by, remove=remove)
    elif remove:
        del copy[key]
    else:
        copy[key] = by
    return copy
