"""Connections that break, are delayed, or are tampered with: nothing is lost, doubled or made up."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import threading
from collections.abc import Callable

import pytest

from shared.errors import SourceChanged, SourceUnreachable
from shared.smb.channel import Channel, ConnectionLost
from shared.smb.types import FileUnreadable, Unreadable, Unwritten, WriteRequest, Written
from tests.integration.smb.conftest import Place, Serve
from tests.integration.smb.helpers import contents, files, read, stream_sha256, walk, write
from tests.standins.delay import Relay
from tests.standins.samba import Samba
from tests.standins.tcp_faults import FaultyLine

BOTH = pytest.mark.parametrize("configuration", ["signing-only", "smb-3.1.1"])


def make_tree(place: Place, count: int = 400) -> dict[str, bytes]:
    tree = {
        f"d{number % 23}/f{number}": random.Random(number).randbytes(random.Random(-number).randrange(0, 30_000))
        for number in range(count)
    }
    for path, content in tree.items():
        place.put(path, content)
    return tree


@BOTH
@pytest.mark.parametrize("after", [1500, 9_000, 20_000, 40_000])
def test_a_cut_in_the_middle_of_a_listing(configuration: str, after: int, place_on: Callable[[str], Place]) -> None:
    place = place_on(configuration)
    tree = make_tree(place)
    causes: list[str] = []
    with (
        Relay(place.samba.port, cut_after=(after, after + 5000)) as relay,
        place.client(port=relay.port, on_reconnect=causes.append) as client,
    ):
        listed, failed = walk(client, security=True)
    assert not failed
    assert files(listed) == {path: len(content) for path, content in tree.items()}
    assert client.reconnects == len(causes) > 0


@BOTH
@pytest.mark.parametrize("after", [5_000, 100_000, 1_000_000, 3_000_000])
def test_a_cut_in_the_middle_of_small_files(configuration: str, after: int, place_on: Callable[[str], Place]) -> None:
    place = place_on(configuration)
    tree = make_tree(place)
    with (
        Relay(place.samba.port, cut_after=(after, after // 2, after)) as relay,
        place.client(port=relay.port) as client,
    ):
        outcomes = read(client, {path: len(content) for path, content in tree.items()}, security=True)
    assert contents(outcomes) == tree
    assert client.reconnects > 0


@BOTH
def test_a_cut_in_the_middle_of_a_file_goes_on_where_it_was_fault_20(
    configuration: str, place_on: Callable[[str], Place]
) -> None:
    """Fault 20."""
    place = place_on(configuration)
    content = random.Random(20).randbytes(20_000_000)
    place.put("large", content)
    with (
        Relay(place.samba.port, cut_after=(4_000_000, 7_500_000)) as relay,
        place.client(port=relay.port) as client,
    ):
        assert stream_sha256(client, "large") == hashlib.sha256(content).hexdigest()
    assert client.reconnects == 2


@pytest.mark.parametrize("change", ["content", "replaced", "size", "gone"])
def test_a_file_that_changed_while_the_line_was_cut_is_not_joined_from_two_states_faults_20_and_21(
    place: Place, change: str
) -> None:
    """Faults 20 and 21."""
    file = place.put("large", bytes(20_000_000))
    with (
        Relay(place.samba.port) as relay,
        place.client(port=relay.port) as client,
        client.open_stream("large") as stream,
    ):
        next(stream)
        if change == "content":
            file.write_bytes(b"\1" * 20_000_000)
        elif change == "replaced":
            stat = file.stat()
            other = place.put("other", b"\2" * 20_000_000)
            os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
            other.rename(file)
        elif change == "size":
            with file.open("ab") as more:
                more.write(b"more")
        else:
            file.unlink()
        relay.cut_all()
        with pytest.raises(FileUnreadable if change == "gone" else SourceChanged):
            for _ in stream:
                pass


@BOTH
def test_a_server_that_restarts_is_waited_for(configuration: str) -> None:
    with Samba(configuration) as samba:
        place = Place(samba, "x")
        tree = make_tree(place, 200)
        with place.client() as client:
            client.connect()
            samba.stop()
            again = threading.Timer(1.0, samba.start)
            again.start()
            assert contents(read(client, {path: len(content) for path, content in tree.items()})) == tree
            again.join()
            assert client.reconnects == 1


def test_a_server_that_stays_away_is_given_up(serve: Serve) -> None:
    with Samba("signing-only") as samba:
        place = Place(samba, "x")
        place.put("f", b"1")
        with place.client(reconnect_seconds=1.0) as client:
            client.connect()
            samba.stop()
            with pytest.raises(SourceUnreachable) as error:
                read(client, {"f": 1})
    assert error.value.setting == "LIFEBOAT_SHARE_URL"
    assert error.value.retryable


@BOTH
@pytest.mark.parametrize("at", [6_000, 20_001, 54_321, 200_000])
def test_a_changed_byte_is_never_returned(configuration: str, at: int, place_on: Callable[[str], Place]) -> None:
    place = place_on(configuration)
    tree = make_tree(place)
    causes: list[str] = []
    with (
        Relay(place.samba.port, flip_at=(at,)) as relay,
        place.client(port=relay.port, on_reconnect=causes.append, timeout_seconds=2) as client,
    ):
        outcomes = read(client, {path: len(content) for path, content in tree.items()})
    assert contents(outcomes) == tree
    assert len(causes) == 1


@BOTH
def test_a_line_that_changes_a_file_every_time_gives_nothing_of_it(
    configuration: str, place_on: Callable[[str], Place]
) -> None:
    place = place_on(configuration)
    place.put("large", bytes(3_000_000))
    place.put("small", b"1")
    causes: list[str] = []
    with (
        Relay(place.samba.port, flip_at=(500_000,) * 50) as relay,
        place.client(port=relay.port, timeout_seconds=2, on_reconnect=causes.append) as client,
    ):
        outcomes = read(client, {"large": 3_000_000, "small": 1}, limit=4_000_000)
    refused = outcomes["large"]
    assert isinstance(refused, Unreadable)
    assert refused.reason == "no-answer"
    assert any("signature" in cause or "does not open" in cause for cause in causes)
    assert contents({"small": outcomes["small"]}) == {"small": b"1"}


@BOTH
def test_a_changed_byte_in_a_stream_is_never_returned(configuration: str, place_on: Callable[[str], Place]) -> None:
    place = place_on(configuration)
    content = random.Random(3).randbytes(8_000_000)
    place.put("large", content)
    with (
        Relay(place.samba.port, flip_at=(3_000_000,)) as relay,
        place.client(port=relay.port, timeout_seconds=2) as client,
    ):
        assert stream_sha256(client, "large") == hashlib.sha256(content).hexdigest()
    assert client.reconnects == 1


def test_a_long_way_to_the_server_gives_the_same(place: Place) -> None:
    tree = make_tree(place)
    with Relay(place.samba.port, one_way_seconds=0.005) as relay, place.client(port=relay.port) as client:
        listed, _ = walk(client, security=True)
        assert contents(read(client, files(listed), security=True)) == tree


def test_a_server_that_falls_silent_is_left_after_the_time_out(place: Place) -> None:
    place.put("x", b"1")
    with Samba("signing-only") as samba:
        own = Place(samba, "x")
        own.put("f", b"content")
        with own.client(timeout_seconds=1) as client:
            client.connect()
            assert samba._process is not None
            os.killpg(samba._process.pid, signal.SIGSTOP)
            resume = threading.Timer(2.5, lambda: os.killpg(samba._process.pid, signal.SIGCONT))  # type: ignore[union-attr]  # it runs
            resume.start()
            assert contents(read(client, {"f": 7})) == {"f": b"content"}
            resume.join()
            assert client.reconnects >= 1


@pytest.mark.parametrize("after", [3_000, 8_000, 20_000, 40_000])
def test_a_cut_while_files_are_written_leaves_whole_files_only(place: Place, after: int) -> None:
    tree = {f"f{number}": random.Random(number).randbytes(3000) for number in range(300)}
    requests = [
        WriteRequest(path, f"{path}.part", content, 0x80, 0, 133_000_000_000_000_000, None, False)
        for path, content in tree.items()
    ]
    with Relay(place.samba.port, cut_after=(after, after)) as relay, place.client(port=relay.port) as client:
        outcomes = write(client, requests)
    assert client.reconnects > 0
    assert all(isinstance(outcome, Written) for outcome in outcomes.values()), [
        outcome for outcome in outcomes.values() if isinstance(outcome, Unwritten)
    ]
    assert {path.name: path.read_bytes() for path in place.folder.iterdir()} == tree


def test_a_request_that_the_server_never_answers_is_named_and_the_rest_is_read(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file on a tier that hangs must not keep the others from being backed up."""
    place.put("a", b"1")
    place.put("b", b"2")
    receive = Channel.receive
    silences = 3

    def falls_silent(channel: Channel) -> None:
        nonlocal silences
        if silences:
            silences -= 1
            raise ConnectionLost("no answer for 90 s")
        receive(channel)

    with place.client() as client:
        client.connect()
        monkeypatch.setattr(Channel, "receive", falls_silent)
        outcomes = read(client, {"a": 1})
        refused = outcomes["a"]
        assert isinstance(refused, Unreadable)
        assert refused.reason == "no-answer"
        assert "no answer for 90 s" in refused.message
        assert contents(read(client, {"b": 1})) == {"b": b"2"}


@pytest.mark.parametrize("fault", ["reset", "turn a bit of", "cut"])
def test_a_file_gets_through_a_line_that_breaks_sooner_than_one_of_its_pieces_is_long(place: Place, fault: str) -> None:
    """Fault 20: after a loss less is asked for at once, and more again when it comes."""
    content = random.Random(20).randbytes(5_000_000)
    place.put("large", content)
    with FaultyLine(place.samba.port) as line, place.client(port=line.port) as client:
        line.add(f"{fault} every connection after 400000 bytes from the server")
        assert stream_sha256(client, "large") == hashlib.sha256(content).hexdigest()
    assert line.struck >= len(content) // 400_000
