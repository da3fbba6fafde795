"""JSON documents that tell when a bit in them has flipped: each holds the SHA-256 of everything else in it.

It is taken over the canonical form: orjson's, keys sorted, without spaces. It is no signature: who may write may write
another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from shared.errors import Damaged

Json = dict[str, Any]

DIGEST = "digest"


def sealed(document: Mapping[str, Any]) -> bytes:
    """The document with its digest, for people to read too."""
    return orjson.dumps({**document, DIGEST: _digest(document)}, option=orjson.OPT_INDENT_2)


def opened(body: bytes, name: str, *, remedy: str) -> Json:
    """The document without its digest. One without any is taken as it is: records were written so before there were
    digests. ``Damaged``, naming the blob."""
    try:
        document = orjson.loads(body)
        if not isinstance(document, dict):
            raise TypeError("it is no object")
    except (orjson.JSONDecodeError, TypeError) as error:
        raise Damaged(f"{name} cannot be read: {error!r}", remedy=remedy, blob=name) from error
    digest = document.pop(DIGEST, None)
    try:
        real = _digest(document)
    except TypeError as error:  # orjson reads what is nested deeper than it writes
        raise Damaged(f"{name} cannot be read: it is nested too deeply", remedy=remedy, blob=name) from error
    if digest is not None and digest != real:
        raise Damaged(
            f"{name} cannot be read: it is not what was written, for its digest does not fit", remedy=remedy, blob=name
        )
    return document


def _digest(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()
