"""Somebody else has the files open: with leases, for themselves alone, or with locks."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from smbprotocol.connection import Connection
from smbprotocol.create_contexts import CreateContextName, LeaseState, SMB2CreateContextRequest, SMB2CreateRequestLease
from smbprotocol.open import (
    CreateDisposition,
    CreateOptions,
    FilePipePrinterAccessMask,
    ImpersonationLevel,
    Open,
    RequestedOplockLevel,
    ShareAccess,
)
from smbprotocol.session import Session
from smbprotocol.tree import TreeConnect

from shared.smb import wire
from shared.smb.channel import Channel, Inbox
from shared.smb.handshake import log_in
from shared.smb.types import FileRead, FileUnreadable, Looked, ReadRequest, Unreadable
from tests.integration.smb.conftest import Place
from tests.integration.smb.helpers import feed, look, read_one
from tests.standins.samba import PASSWORD, USERNAME

SHARE_ALL = ShareAccess.FILE_SHARE_READ | ShareAccess.FILE_SHARE_WRITE | ShareAccess.FILE_SHARE_DELETE


@contextmanager
def second_client(place: Place) -> Iterator[Any]:
    connection = Connection(uuid.uuid4(), "127.0.0.1", place.samba.port)
    connection.connect()
    try:
        session = Session(connection, USERNAME, PASSWORD, require_encryption=False)
        session.connect()
        tree = TreeConnect(session, r"\\127.0.0.1\data")
        tree.connect()
        yield tree
    finally:
        connection.disconnect(False)


def hold(tree: Any, place: Place, name: str, *, share: int, contexts: Any = None, oplock: int = 0) -> Any:
    opened = Open(tree, f"{place.name}\\{name}")
    opened.create(
        ImpersonationLevel.Impersonation,
        FilePipePrinterAccessMask.GENERIC_READ | FilePipePrinterAccessMask.GENERIC_WRITE,
        0,
        share,
        CreateDisposition.FILE_OPEN,
        CreateOptions.FILE_NON_DIRECTORY_FILE,
        create_contexts=contexts,
        oplock_level=oplock,
    )
    return opened


def lease() -> Any:
    request = SMB2CreateRequestLease()
    request["lease_key"] = uuid.uuid4().bytes
    state = LeaseState.SMB2_LEASE_READ_CACHING | LeaseState.SMB2_LEASE_WRITE_CACHING
    request["lease_state"] = state | LeaseState.SMB2_LEASE_HANDLE_CACHING
    context = SMB2CreateContextRequest()
    context["buffer_name"] = CreateContextName.SMB2_CREATE_REQUEST_LEASE
    context["buffer_data"] = request
    return [context]


def test_a_file_under_a_read_write_handle_lease_is_read(place: Place) -> None:
    place.put("x", b"content")
    with second_client(place) as tree:
        hold(tree, place, "x", share=SHARE_ALL, contexts=lease(), oplock=RequestedOplockLevel.SMB2_OPLOCK_LEVEL_LEASE)
        with place.client() as client:
            outcome = read_one(client, "x", 7, security=True)
    assert isinstance(outcome, FileRead)
    assert outcome.data == b"content"


def test_an_open_that_waits_for_a_silent_holder_of_a_lease_is_waited_for(place: Place) -> None:
    """The CREATE of the compound becomes asynchronous; the others in flight are not held up by it."""
    place.put("x", b"content")
    for number in range(200):
        place.put(f"f{number}", b"other")
    holder = silent_holder_of_a_lease(place, "x")
    released = threading.Timer(2.0, holder.close)
    finished: list[str] = []
    with place.client() as client:
        client.connect()
        released.start()
        requests = [ReadRequest("x", 7), *(ReadRequest(f"f{number}", 5) for number in range(200))]
        for outcome in client.read_files(feed(requests), small_limit_bytes=100, security=True):
            assert isinstance(outcome, FileRead)
            finished.append(outcome.request.path)
        assert client.reconnects == 0
    released.join()
    assert len(finished) == 201
    assert finished[-1] == "x"


def silent_holder_of_a_lease(place: Place, name: str) -> Channel:
    """A client that was granted read, write and handle caching and never answers when it is to give them up."""
    channel = Channel(
        log_in(place.endpoint(), timeout_seconds=10, settings_prefix="LIFEBOAT_SHARE"), timeout_seconds=10
    )
    lease_context = uuid.uuid4().bytes + (0x7).to_bytes(4, "little") + bytes(12)
    opening = wire.create(
        wire.wire_path(f"{place.name}/{name}"),
        wire.FILE_READ_DATA | wire.FILE_WRITE_DATA,
        wire.NON_DIRECTORY_FILE,
        contexts=((b"RqLs", lease_context),),
    )
    inbox = Inbox()
    channel.submit(inbox, (opening._replace(body=opening.body[:3] + b"\xff" + opening.body[4:]),))
    channel.flush()
    channel.receive()
    (exchange,) = inbox.completed
    assert exchange.replies[0].status == 0
    assert exchange.replies[0].data[exchange.replies[0].start + 66] == 0xFF
    return channel


def test_looking_does_not_break_a_lease(place: Place) -> None:
    place.put("x", b"content")
    with second_client(place) as tree:
        hold(tree, place, "x", share=SHARE_ALL, contexts=lease(), oplock=RequestedOplockLevel.SMB2_OPLOCK_LEVEL_LEASE)
        with place.client() as client:
            assert isinstance(look(client, ["x"])["x"], Looked)
        assert tree.session.connection._t_exc is None
        assert tree.session.connection.echo(sid=tree.session.session_id) >= 0


def test_a_file_under_an_oplock_is_read(place: Place) -> None:
    place.put("x", b"content")
    with second_client(place) as tree:
        hold(tree, place, "x", share=SHARE_ALL, oplock=RequestedOplockLevel.SMB2_OPLOCK_LEVEL_BATCH)
        with place.client() as client:
            outcome = read_one(client, "x", 7)
    assert isinstance(outcome, FileRead)


def test_a_file_that_another_keeps_for_itself_is_unreadable_and_says_why_fault_22(place: Place) -> None:
    place.put("x", b"content")
    place.put("y", b"other")
    with second_client(place) as tree:
        hold(tree, place, "x", share=0)
        with place.client() as client:
            outcome = read_one(client, "x", 7, security=True)
            with pytest.raises(FileUnreadable) as refused:
                client.open_stream("x")
            assert isinstance(read_one(client, "y", 5), FileRead)
    assert isinstance(outcome, Unreadable)
    assert outcome.reason == "sharing-violation"
    assert refused.value.unreadable.reason == "sharing-violation"
