"""The content of a large file, read from its packs in order and fetched ahead."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from shared.errors import Damaged
from shared.repository.compression import MOST_DATA_BYTES
from shared.repository.index import Location
from shared.repository.reader import BlobReader, open_blob
from shared.repository.trees import Node

RANGE_BYTES = 16 << 20
"""What one request fetches at most."""
RANGES_AHEAD = 3


def file_pieces(reader: BlobReader, node: Node) -> Generator[bytes]:
    """The file's blobs in order, each opened and verified. ``Damaged`` before the first wrong byte is handed out.

    Close it when it is not read to its end: its threads end then.
    """
    groups = _groups(reader, node)

    def fetch(group: list[tuple[Location, bytes]]) -> list[bytes]:
        body, start = fetch_range(reader, [location for location, _ in group])
        return [open_in(reader, body, start, location, blob_id) for location, blob_id in group]

    with ThreadPoolExecutor(RANGES_AHEAD, "fetch") as pool:
        ahead: list[Future[list[bytes]]] = []
        for group in groups:
            ahead.append(pool.submit(fetch, group))
            if len(ahead) > RANGES_AHEAD:
                yield from ahead.pop(0).result()
        for future in ahead:
            yield from future.result()


def fetch_range(reader: BlobReader, locations: Sequence[Location]) -> tuple[bytes, int]:
    """The bytes of a pack from the first location to the end of the last, and where they begin."""
    start = locations[0].offset
    end = max(location.offset + location.length for location in locations)
    return reader.fetch(locations[0], start, end - start), start


def open_in(reader: BlobReader, body: bytes, start: int, location: Location, blob_id: bytes) -> bytes:
    """A blob out of what ``fetch_range`` returned."""
    at = location.offset - start
    sealed = memoryview(body)[at : at + location.length]
    return open_blob(reader.repository.key, sealed, blob_id, location, MOST_DATA_BYTES)


def _groups(reader: BlobReader, node: Node) -> list[list[tuple[Location, bytes]]]:
    """The file's blobs, those that lie side by side in a pack together."""
    located = []
    total = 0
    for text in node.content:
        blob_id = bytes.fromhex(text)
        location = reader.locate(blob_id, tree=False)
        total += location.plain_bytes
        located.append((location, blob_id))
    if total != node.size_bytes:
        raise Damaged(f"its blobs are {total} bytes long together, its size is {node.size_bytes}")
    groups: list[list[tuple[Location, bytes]]] = []
    for location, blob_id in located:
        last = groups[-1][-1][0] if groups else None
        adjacent = last and last.pack == location.pack and last.offset + last.length == location.offset
        if adjacent and location.offset + location.length - groups[-1][0][0].offset <= RANGE_BYTES:
            groups[-1].append((location, blob_id))
        else:
            groups.append([(location, blob_id)])
    return groups
