"""Fingerprints of listings: a folder that lists exactly as it did is the folder that it was.

After a run the fingerprint of each folder's listing (names, kinds, sizes, times, file ids, the folder's own metadata)
is kept with the id of the tree that came of it. The next run then neither reads the parent's trees nor compares file by
file where nothing changed. It is the same evidence as the comparison of each file uses, and as stale as a listing can
be; the daily look does not use it.

They are data blobs of the repository that no snapshot refers to: a prune may remove them, and the next run then
compares file by file. They hold only as long as every index file of that time is still there, so that what the trees
refer to is known to be stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from shared.errors import Damaged
from shared.repository.reader import BlobReader
from shared.repository.repository import Repository
from shared.repository.writer import BlobWriter

FORMAT_VERSION = 1
BYTES = 16

Json = dict[str, Any]


class Known(NamedTuple):
    """What a folder was when its listing had this fingerprint."""

    fingerprint: str
    """Hex."""
    tree: str
    files: int
    """In the folder itself, those of other folders not counted."""
    bytes: int


class Fingerprints:
    """By the path of the folder: those of the parent snapshot, and those of this run."""

    def __init__(self, known: dict[str, Known] | None = None) -> None:
        self.known = known or {}
        self.new: dict[str, Known] = {}

    @classmethod
    def load(cls, reader: BlobReader, blobs: Iterable[str], options: str) -> Fingerprints:
        """From the blobs of an earlier run; empty where one is gone, or was made with other options."""
        known: dict[str, Known] = {}
        try:
            for blob in blobs:
                value = orjson.loads(reader.load(bytes.fromhex(blob), tree=False))
                if value["version"] != FORMAT_VERSION or value["options"] != options:
                    return cls()
                known |= {path: Known(*fields) for path, fields in value["folders"].items()}
        except (Damaged, orjson.JSONDecodeError, KeyError, TypeError):
            return cls()
        return cls(known)

    def save(self, writer: BlobWriter, options: str) -> str:
        """Store those of this run. Returns the blob's id; equal ones are stored once."""
        folders = {path: tuple(known) for path, known in sorted(self.new.items()) if _is_unicode(path)}
        value = {"version": FORMAT_VERSION, "options": options, "folders": folders}
        return writer.save(orjson.dumps(value)).hex()


def _is_unicode(path: str) -> bool:
    """False for a Windows name with half a surrogate pair, which JSON cannot hold."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def options_digest(*patterns: Sequence[str]) -> str:
    """Stands for the settings that decide what of a listing is backed up."""
    return hashlib.blake2b(orjson.dumps(patterns), digest_size=BYTES).hexdigest()


def index_state(repository: Repository, until: datetime | None = None) -> Json:
    """Which index files there are: all, or those written by the storage's clock up to ``until``."""
    blobs = [blob for blob in repository.store.list("index/") if until is None or blob.modified <= until]
    names = "".join(sorted(blob.name for blob in blobs))
    newest = max((blob.modified for blob in blobs), default=None)
    return {
        "digest": hashlib.blake2b(names.encode(), digest_size=BYTES).hexdigest(),
        "until": newest.isoformat() if newest else None,
    }


def still_indexed(repository: Repository, then: Json) -> bool:
    """Whether every index file of that time is still there."""
    until = then.get("until")
    return until is not None and index_state(repository, datetime.fromisoformat(until)) == then
