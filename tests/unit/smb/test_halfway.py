"""Servers that answer otherwise than Samba: compounds that fail halfway, replies that come late, apart or never."""

from __future__ import annotations

import pytest

from shared.smb import ntstatus, wire
from shared.smb.types import (
    FileRead,
    FileUnreadable,
    Listing,
    Looked,
    TooLarge,
    Unreadable,
    Unwritten,
    WriteRequest,
    Written,
)
from tests.integration.smb.helpers import contents, look, read, read_one, stream_sha256, walk, write
from tests.unit.smb.scripted import Answer, Request, Server, page

INTERNAL_ERROR = 0xC00000E5
LATER = {"security": wire.QUERY_INFO, "read": wire.READ, "close": wire.CLOSE}


def in_compound(command: int, status: int, *, onwards: bool = False) -> object:
    """Fails ``command`` wherever it stands in a compound; with ``onwards`` all that follow in it, too."""
    failed: list[int] = []

    def script(request: Request) -> Answer | None:
        if request.position == 0:
            failed.clear()
        if request.compound > 1 and (request.command == command or (onwards and failed)):
            failed.append(1)
            return Answer(status)
        return None

    return script


def done(server: Server) -> None:
    assert server.failure is None, server.failure
    assert not server.open, "a file was left open"


@pytest.mark.parametrize("onwards", [False, True])
@pytest.mark.parametrize("status", [INTERNAL_ERROR, ntstatus.INVALID_PARAMETER, 0xC000009A])
@pytest.mark.parametrize("what", LATER)
def test_a_compound_that_fails_halfway_is_done_again_in_single_steps(what: str, status: int, onwards: bool) -> None:
    server = Server(files={"x": b"content"}, script=in_compound(LATER[what], status, onwards=onwards))  # type: ignore[arg-type]  # a script
    with server.client() as client:
        outcome = read_one(client, "x", 7, security=True)
    assert isinstance(outcome, FileRead)
    assert outcome.data == b"content"
    assert outcome.security == b"descript"
    assert not outcome.security_denied
    done(server)


def test_what_only_could_not_be_closed_in_the_compound_is_closed_by_its_id_and_not_read_twice() -> None:
    server = Server(files={"x": b"content"}, script=in_compound(wire.CLOSE, INTERNAL_ERROR))  # type: ignore[arg-type]  # a script
    with server.client() as client:
        assert contents({"x": read_one(client, "x", 7)}) == {"x": b"content"}
    assert server.commands() == [[wire.CREATE, wire.READ, wire.CLOSE], [wire.CLOSE]]
    done(server)


def test_an_empty_file_whose_end_fails_the_rest_of_the_compound_is_still_closed() -> None:
    """3.3.5.2.7.2: a server may fail what follows a failed request with the same status."""
    server = Server(files={"x": b""}, script=in_compound(wire.READ, ntstatus.END_OF_FILE, onwards=True))  # type: ignore[arg-type]  # a script
    with server.client() as client:
        assert contents({"x": read_one(client, "x", 5)}) == {"x": b""}
    done(server)


@pytest.mark.parametrize("what", ["directory", "second", "security", "close"])
def test_a_listing_that_fails_halfway_is_done_again_in_single_steps(what: str) -> None:
    def script(request: Request) -> Answer | None:
        place = {"security": 1, "directory": 2, "second": 3, "close": 4}[what]
        return Answer(INTERNAL_ERROR) if request.compound > 1 and request.position == place else None

    server = Server(folders={"": [page(("a", 0x20, 0), ("b", 0x20, 0))]}, script=script)
    with server.client() as client:
        listed, failed = walk(client, security=True)
    assert not failed
    assert [entry.name for entry in listed[""].entries] == ["a", "b"]
    assert listed[""].security == b"descript"
    done(server)


def test_a_directory_of_many_pages_is_continued() -> None:
    pages = [page(*((f"{number}-{name}", 0x20, 0) for name in range(5))) for number in range(40)]
    server = Server(folders={"": pages})
    with server.client() as client:
        listed, _ = walk(client)
    assert len(listed[""].entries) == 200
    done(server)


def test_a_server_that_fails_every_compound_is_soon_asked_in_single_steps() -> None:
    files = {f"f{number}": b"content" for number in range(50)}
    server = Server(files=files, script=in_compound(wire.READ, INTERNAL_ERROR))  # type: ignore[arg-type]  # a script
    with server.client(window=4) as client:
        assert contents(read(client, dict.fromkeys(files, 7))) == files
    compounds = [commands for commands in server.commands() if len(commands) > 1]
    assert len(compounds) < 20
    done(server)


@pytest.mark.parametrize("pending", [wire.CREATE, wire.READ, wire.CLOSE, None])
def test_interim_replies_are_waited_out(pending: int | None) -> None:
    """A CREATE that waits for somebody's lease; or, with None, every request of the compound (3.3.5.2.7.2)."""
    files = {f"f{number}": bytes([number]) * number for number in range(30)}
    server = Server(files=files)

    def script(request: Request) -> Answer | None:
        if pending is not None and request.command != pending:
            return None
        answer, _ = server._usual(request, _file(server), {})
        answer.pending_first = True
        return answer if request.command != wire.CREATE else Answer(0, pending_first=True)

    server.script = script
    with server.client() as client:
        assert contents(read(client, {name: len(data) for name, data in files.items()})) == files
    done(server)


def _file(server: Server) -> bytes:
    return next(reversed(server.open), b"")


def test_replies_of_a_compound_that_come_apart_and_interleaved_belong_together() -> None:
    files = {f"f{number}": bytes([number]) * 500 for number in range(30)}
    server = Server(files=files)
    usual = server._usual

    def apart(request: Request, file: bytes, listed: dict[bytes, int]) -> tuple[Answer, bytes]:
        answer, file = usual(request, file, listed)
        answer.alone = request.position % 2 == 1
        return answer, file

    server._usual = apart  # type: ignore[method-assign]  # the point of the test
    with server.client() as client:
        assert contents(read(client, dict.fromkeys(files, 500))) == files
    done(server)


@pytest.mark.parametrize("granted", [1, 2, 3, 5])
def test_few_credits_are_enough(granted: int) -> None:
    """The server gives back what was spent and never more."""
    files = {f"f{number}": bytes([number]) * 1000 * number for number in range(20)}
    server = Server(files=files, folders={"": [page(*((name, 0x20, 0) for name in files))]})
    usual = server._usual

    def frugal(request: Request, file: bytes, listed: dict[bytes, int]) -> tuple[Answer, bytes]:
        answer, file = usual(request, file, listed)
        answer.credits = 1
        return answer, file

    server._usual = frugal  # type: ignore[method-assign]  # the point of the test
    with server.client(granted=granted) as client:
        listed, _ = walk(client, security=True)
        assert len(listed[""].entries) == 20
        assert contents(read(client, {name: len(data) for name, data in files.items()}, security=True)) == files
        assert stream_sha256(client, "f19")
        assert all(isinstance(one, Looked) for one in look(client, files).values())
    done(server)


def test_a_busy_server_is_asked_again() -> None:
    refusals = [1, 1]

    def script(request: Request) -> Answer | None:
        if request.command == wire.CREATE and refusals:
            refusals.pop()
            return Answer(0xC000009A)
        return None

    server = Server(files={"x": b"content"}, script=script)
    with server.client() as client:
        assert contents({"x": read_one(client, "x", 7)}) == {"x": b"content"}
    done(server)


def test_a_server_that_stays_busy_leaves_the_file_unread_with_its_reason() -> None:
    server = Server(files={"x": b"1"}, script=lambda request: Answer(0xC000009A) if request.position == 0 else None)
    with server.client() as client:
        outcome = read_one(client, "x", 1)
    assert isinstance(outcome, Unreadable)
    assert outcome.reason == "server-busy"


@pytest.mark.parametrize("status", sorted(ntstatus.SESSION_GONE))
def test_a_session_that_the_server_forgot_is_made_anew(status: int) -> None:
    forgotten: list[int] = []

    def script(request: Request) -> Answer | None:
        if request.command == wire.READ and not forgotten:
            forgotten.append(1)
            return Answer(status)
        return None

    server = Server(files={"x": b"content"}, script=script)
    with server.client() as client:
        assert contents({"x": read_one(client, "x", 7)}) == {"x": b"content"}
    assert server.connections == 2


def test_a_reply_that_makes_no_sense_is_not_believed() -> None:
    def script(request: Request) -> Answer | None:
        if request.command == wire.READ:
            return Answer(0, bytes.fromhex("1100500000ffffff") + bytes(8))
        return None

    server = Server(files={"x": b"content"}, script=script)
    with server.client() as client:
        outcome = read_one(client, "x", 7)
        with pytest.raises(FileUnreadable) as refused:
            stream_sha256(client, "x")
    assert isinstance(outcome, Unreadable)
    assert outcome.reason == refused.value.unreadable.reason == "bad-reply"


def test_a_stream_that_breaks_at_the_same_place_each_time_is_given_up() -> None:
    def script(request: Request) -> Answer | None:
        return Answer(0xC0000203) if request.command == wire.READ else None

    server = Server(files={"x": b"content"}, script=script)
    with server.client() as client, pytest.raises(FileUnreadable) as refused:
        stream_sha256(client, "x")
    assert refused.value.unreadable.reason == "no-answer"
    assert server.connections < 10


def test_a_listing_with_names_that_lead_elsewhere_is_not_believed() -> None:
    for name in ("../x", "a\\b", "a\0", ""):
        server = Server(folders={"": [page((name, 0x20, 0))]})
        with server.client() as client:
            listed, failed = walk(client)
        assert not listed
        assert failed[""].reason == "bad-reply"


def test_links_are_told_from_other_reparse_points() -> None:
    tags = {
        "symlink": 0xA000000C,
        "junction": 0xA0000003,
        "deduplicated": 0x80000013,
        "tiered": 0x9000001A,
        "plain": 0,
    }
    server = Server(folders={"": [page(*((name, 0x410 if tag else 0x10, tag) for name, tag in tags.items()))]})
    server.folders |= {name: [page((f"in {name}", 0x20, 0))] for name in ("deduplicated", "tiered", "plain")}
    with server.client() as client:
        listed, failed = walk(client)
    assert not failed
    assert {entry.name for entry in listed[""].entries if entry.is_link} == {"symlink", "junction"}
    assert set(listed) == {"", "deduplicated", "tiered", "plain"}
    assert {entry.name: entry.reparse_tag for entry in listed[""].entries} == tags


def test_ea_size_is_no_tag_without_the_attribute() -> None:
    server = Server(folders={"": [page(("x", 0x10, 0xA000000C))], "x": []})
    with server.client() as client:
        listed, _ = walk(client)
    assert set(listed) == {"", "x"}
    assert listed[""].entries[0].reparse_tag == 0


def test_lone_surrogates_go_there_and_back() -> None:
    name = "a\ud800b\udc00"
    server = Server(folders={"": [page((name, 0x20, 0))]}, files={name: b"content"})
    with server.client() as client:
        listed, _ = walk(client)
        assert listed[""].entries[0].name == name
        assert contents({name: read_one(client, name, 7)}) == {name: b"content"}


def test_every_open_has_backup_intent_shares_everything_and_asks_for_no_lease() -> None:
    server = Server(files={"x": b"content"}, folders={"": [page(("x", 0x20, 0))]})
    with server.client() as client:
        walk(client, security=True)
        read_one(client, "x", 7, security=True)
        look(client, ["x"])
        stream_sha256(client, "x")
    opens = [request.body for request in server.requests if request.command == wire.CREATE]
    assert len(opens) == 4
    for body in opens:
        assert int.from_bytes(body[40:44], "little") & 0x4000
        assert not int.from_bytes(body[40:44], "little") & 0x200000
        assert body[32:36] == (7).to_bytes(4, "little")
        assert body[3] == 0


def test_a_file_above_the_limit_is_not_read_to_the_end() -> None:
    server = Server(files={"x": bytes(5000)})
    with server.client() as client:
        outcome = read_one(client, "x", 10, limit=1000)
    assert isinstance(outcome, TooLarge)
    done(server)


@pytest.mark.parametrize("position", [1, 2, 3, 4, 5])
def test_a_write_that_fails_halfway_is_done_again_in_single_steps(position: int) -> None:
    def script(request: Request) -> Answer | None:
        if request.command == wire.CREATE:
            return Answer()
        if request.compound > 1 and request.position == position:
            return Answer(INTERNAL_ERROR)
        if request.command == wire.WRITE:
            return Answer(0, bytes.fromhex("1100000007000000") + bytes(8))
        return None

    server = Server(script=script)
    request = WriteRequest("x", "x.part", b"content", 0x20, 1, 2, b"descriptor", False)
    with server.client() as client:
        outcome = write(client, [request])["x"]
    assert isinstance(outcome, Written), outcome
    assert outcome.security == "all"
    done(server)


def test_a_write_without_the_right_to_owners_keeps_the_dacl_and_says_so() -> None:
    def script(request: Request) -> Answer | None:
        if request.command == wire.CREATE:
            return Answer()
        if request.command == wire.SET_INFO and request.body[2] == 3:
            wanted = int.from_bytes(request.body[12:16], "little")
            return Answer(0 if wanted == wire.DACL else 0xC000005A, b"\x02\0")
        return None

    server = Server(script=script)
    request = WriteRequest("x", "x.part", b"content", 0x20, 1, 2, b"descriptor", False)
    with server.client() as client:
        outcome = write(client, [request])["x"]
    assert isinstance(outcome, Written), outcome
    assert outcome.security == "dacl"
    done(server)


def test_a_full_disk_leaves_no_temporary_file_fault_35() -> None:
    removed: list[str] = []

    def script(request: Request) -> Answer | None:
        if request.command == wire.CREATE:
            return Answer()
        if request.command == wire.WRITE:
            return Answer(0xC000007F)
        if request.command == wire.SET_INFO and request.body[3] == 13:
            removed.append(server.open[request.file])
        return None

    server = Server(script=script)
    with server.client() as client:
        outcome = write(client, [WriteRequest("x", "x.part", b"content", 0x20, 1, 2, None, False)])["x"]
    assert isinstance(outcome, Unwritten)
    assert outcome.reason == "disk-full"
    assert removed == ["x.part"]
    done(server)


def test_a_descriptor_that_is_larger_than_usual_is_asked_for_again() -> None:
    def script(request: Request) -> Answer | None:
        if request.command == wire.QUERY_INFO and int.from_bytes(request.body[4:8], "little") <= 65536:
            return Answer(ntstatus.BUFFER_TOO_SMALL)
        return None

    server = Server(files={"x": b"content"}, folders={"": []}, script=script)
    with server.client() as client:
        outcome = read_one(client, "x", 7, security=True)
        (listing,) = client.list_directories([""], security=True)
    assert isinstance(outcome, FileRead)
    assert outcome.security == b"descript"
    assert isinstance(listing, Listing)
    assert listing.security == b"descript"
    done(server)
