"""What goes wrong before anything is read names the setting and the remedy, and never the password."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from shared.errors import SourceError, SourceLoginRefused, SourceNotFound, SourceUnreachable
from shared.smb.client import SmbClient
from shared.smb.endpoint import SmbEndpoint
from tests.integration.smb.conftest import Place
from tests.integration.smb.helpers import walk
from tests.standins.samba import PASSWORD, USERNAME


def refusal(client: SmbClient, kind: type[SourceError]) -> SourceError:
    with client, pytest.raises(kind) as caught:
        client.connect()
    assert type(caught.value) is kind
    assert caught.value.remedy
    text = f"{caught.value} {caught.value.remedy} {caught.value.setting}"
    assert PASSWORD not in text
    assert "wrong-secret" not in text
    return caught.value


@pytest.mark.parametrize("configuration", ["signing-only", "smb-2.1", "encryption-required"])
def test_a_wrong_password(configuration: str, place_on: Callable[[str], Place]) -> None:
    place = place_on(configuration)
    endpoint = SmbEndpoint.parse(place.samba.url(), USERNAME, "wrong-secret")
    error = refusal(SmbClient(endpoint), SourceLoginRefused)
    assert error.setting == "LIFEBOAT_SHARE_PASSWORD"
    assert "LIFEBOAT_SHARE_USERNAME" in error.remedy
    assert USERNAME in str(error)
    assert "STATUS_LOGON_FAILURE" in str(error)


def test_an_unknown_user(place: Place) -> None:
    error = refusal(SmbClient(SmbEndpoint.parse(place.samba.url(), "nobody-like-this", "x")), SourceLoginRefused)
    assert "nobody-like-this" in str(error)


def test_an_unknown_share(place: Place) -> None:
    error = refusal(SmbClient(SmbEndpoint.parse(place.samba.url("nosuch"), USERNAME, PASSWORD)), SourceNotFound)
    assert error.setting == "LIFEBOAT_SHARE_URL"
    assert "nosuch" in str(error)


def test_an_unknown_path_and_a_path_to_a_file(place: Place) -> None:
    place.put("file", b"1")
    for path in ("no/such/folder", "file"):
        endpoint = place.endpoint(path=f"{place.name}/{path}")
        error = refusal(SmbClient(endpoint, settings_prefix="LIFEBOAT_RESTORE"), SourceNotFound)
        assert error.setting == "LIFEBOAT_RESTORE_URL"
        assert path in str(error)


def test_a_folder_that_the_user_may_not_open(place: Place) -> None:
    place.put("closed/x", b"1").parent.chmod(0o700)
    (place.folder / "closed").chmod(0o700)
    place.folder.chmod(0o700)
    endpoint = place.endpoint("limited", path=f"{place.name}/closed")
    error = refusal(SmbClient(endpoint), SourceLoginRefused)
    assert error.setting == "LIFEBOAT_SHARE_USERNAME"


def test_no_server_at_the_port() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"smb://127.0.0.1:{taken.getsockname()[1]}/data"
        error = refusal(SmbClient(SmbEndpoint.parse(url, "u", "p")), SourceUnreachable)
    assert error.setting == "LIFEBOAT_SHARE_URL"
    assert "refused" in str(error)


def test_an_unknown_server_name() -> None:
    error = refusal(SmbClient(SmbEndpoint.parse("smb://no-such-server.invalid/data", "u", "p")), SourceUnreachable)
    assert "no-such-server.invalid" in str(error)


@contextmanager
def server_that_says(answer: bytes | None) -> Iterator[int]:
    """Accepts one connection and sends ``answer``, or nothing for ever."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        accepted: list[socket.socket] = []

        def accept() -> None:
            connection, _ = listening.accept()
            accepted.append(connection)
            if answer is not None:
                connection.recv(100)
                connection.sendall(answer)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            for connection in accepted:
                connection.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\0\0\0\x10" + b"no SMB at all!!!",
        b"\0\0\0\0",
        b"\0\0\0\x48" + b"\xfeSMB" + bytes(68),
    ],
)
def test_a_server_of_another_kind(answer: bytes) -> None:
    with server_that_says(answer) as port:
        endpoint = SmbEndpoint.parse(f"smb://127.0.0.1:{port}/data", "u", "p")
        refusal(SmbClient(endpoint, connect_timeout_seconds=2), SourceUnreachable)


def test_a_server_that_accepts_and_says_nothing() -> None:
    began = time.monotonic()
    with server_that_says(None) as port:
        endpoint = SmbEndpoint.parse(f"smb://127.0.0.1:{port}/data", "u", "p")
        refusal(SmbClient(endpoint, connect_timeout_seconds=0.5), SourceUnreachable)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("name", [USERNAME, f"LIFEBOAT\\{USERNAME}"])
def test_a_user_name_with_and_without_its_domain(place: Place, name: str) -> None:
    place.put("x", b"1")
    with SmbClient(SmbEndpoint.parse(place.samba.url(path=place.name), name, PASSWORD)) as client:
        listed, _ = walk(client)
        assert len(listed[""].entries) == 1


def test_a_failed_login_leaves_no_thread_behind(place: Place) -> None:
    before = threading.active_count()
    for _ in range(3):
        refusal(SmbClient(SmbEndpoint.parse(place.samba.url(), USERNAME, "wrong-secret")), SourceLoginRefused)
    assert threading.active_count() <= before


def test_a_closed_client_may_be_used_again(place: Place) -> None:
    place.put("x", b"1")
    client = place.client()
    for _ in range(2):
        client.connect()
        listed, _ = walk(client)
        assert len(listed[""].entries) == 1
        client.close()
