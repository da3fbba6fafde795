"""Short ways to ask a client for what tests compare."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import TypeVar

from shared.smb.client import SmbClient
from shared.smb.types import (
    FileRead,
    Listing,
    Looked,
    ReadRequest,
    TooLarge,
    Unreadable,
    Unwritten,
    WriteRequest,
    Written,
)

T = TypeVar("T")


def feed(requests: Iterable[T]) -> Callable[[bool], T | None]:
    waiting = iter(requests)

    def following(wait: bool) -> T | None:
        for request in waiting:
            return request
        raise EOFError

    return following


def walk(client: SmbClient, *, security: bool = False) -> tuple[dict[str, Listing], dict[str, Unreadable]]:
    """Every directory that can be reached, and those that could not be listed."""
    pending = [""]
    listed: dict[str, Listing] = {}
    failed: dict[str, Unreadable] = {}
    for outcome in client.list_directories(pending, security=security):
        if isinstance(outcome, Unreadable):
            failed[outcome.path] = outcome
            continue
        assert outcome.path not in listed
        listed[outcome.path] = outcome
        pending += [join(outcome.path, entry.name) for entry in outcome.entries if entry.is_directory]
    return listed, failed


def join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def files(listed: dict[str, Listing]) -> dict[str, int]:
    """Path -> size of all that are no directories."""
    return {
        join(listing.path, entry.name): entry.size
        for listing in listed.values()
        for entry in listing.entries
        if not entry.is_directory
    }


def read(
    client: SmbClient, sizes: dict[str, int], *, limit: int = 1 << 20, security: bool = False
) -> dict[str, FileRead | TooLarge | Unreadable]:
    outcomes: dict[str, FileRead | TooLarge | Unreadable] = {}
    requests = [ReadRequest(path, size) for path, size in sizes.items()]
    for outcome in client.read_files(feed(requests), small_limit_bytes=limit, security=security):
        assert outcome.request is not None
        assert outcome.request.path not in outcomes
        outcomes[outcome.request.path] = outcome
    return outcomes


def contents(outcomes: dict[str, FileRead | TooLarge | Unreadable]) -> dict[str, bytes]:
    result = {}
    for path, outcome in outcomes.items():
        assert isinstance(outcome, FileRead), outcome
        result[path] = bytes(outcome.data)
    return result


def read_one(
    client: SmbClient, path: str, size: int = 0, *, limit: int = 1 << 20, security: bool = False
) -> FileRead | TooLarge | Unreadable:
    return read(client, {path: size}, limit=limit, security=security)[path]


def look(client: SmbClient, paths: Iterable[str]) -> dict[str, Looked | Unreadable]:
    outcomes: dict[str, Looked | Unreadable] = {}
    for outcome in client.look(feed(ReadRequest(path, 0) for path in paths)):
        assert outcome.request is not None
        outcomes[outcome.request.path] = outcome
    return outcomes


def stream_sha256(client: SmbClient, path: str, *, offset: int = 0) -> str:
    digest = hashlib.sha256()
    with client.open_stream(path, offset=offset) as stream:
        for view in stream:
            digest.update(view)
    return digest.hexdigest()


def write(client: SmbClient, requests: Iterable[WriteRequest]) -> dict[str, Written | Unwritten]:
    return {outcome.request.path: outcome for outcome in client.write_files(feed(requests))}
