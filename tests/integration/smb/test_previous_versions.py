"""Reading the share as it was at a moment that the server kept."""

from __future__ import annotations

import pytest

from shared.smb.client import SmbClient
from shared.smb.endpoint import SmbEndpoint
from shared.smb.types import FileRead, FileUnreadable, Looked
from tests.integration.smb.conftest import Serve
from tests.integration.smb.helpers import contents, files, look, read, read_one, walk
from tests.standins.samba import PASSWORD, USERNAME

FIRST = 131_592_384_000_000_000  # 2018-01-01 00:00:00
SECOND = 131_592_420_000_000_000  # 2018-01-01 01:00:00


@pytest.fixture
def endpoint(serve: Serve) -> SmbEndpoint:
    samba = serve("smb-3.1.1")
    for name, text in (("2018.01.01-00.00.00", b"first"), ("2018.01.01-01.00.00", b"the second")):
        folder = samba.root / ".snapshots" / f"@GMT-{name}" / "site" / "deep"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "file").write_bytes(text)
        (folder / text.decode()).touch()
        (folder / "big").write_bytes(text * 300_000)
    now = samba.root / "site" / "deep"
    now.mkdir(parents=True, exist_ok=True)
    (now / "file").write_bytes(b"what it is now")
    return SmbEndpoint.parse(samba.url("versions", "site"), USERNAME, PASSWORD)


def test_they_are_listed_newest_first(endpoint: SmbEndpoint) -> None:
    with SmbClient(endpoint) as client:
        assert client.previous_versions() == [SECOND, FIRST]


def test_a_share_without_any_has_none(serve: Serve) -> None:
    samba = serve("signing-only")
    with SmbClient(SmbEndpoint.parse(samba.url(), USERNAME, PASSWORD)) as client:
        assert client.previous_versions() == []


@pytest.mark.parametrize(("moment", "text"), [(FIRST, b"first"), (SECOND, b"the second"), (None, b"what it is now")])
def test_every_way_of_reading_reads_the_version(endpoint: SmbEndpoint, moment: int | None, text: bytes) -> None:
    with SmbClient(endpoint, previous_version=moment) as client:
        client.connect()
        listed, failed = walk(client, security=True)
        assert not failed
        expected = {"deep/file"} if moment is None else {"deep/file", "deep/big", f"deep/{text.decode()}"}
        assert set(files(listed)) == expected
        outcome = read_one(client, "deep/file", len(text), security=True)
        assert isinstance(outcome, FileRead)
        assert outcome.data == text
        looked = look(client, ["deep/file"])["deep/file"]
        assert isinstance(looked, Looked)
        assert looked.opened.size == len(text)
        if moment is not None:
            with client.open_stream("deep/big") as stream:
                assert b"".join(bytes(view) for view in stream) == text * 300_000
            assert len(contents(read(client, {"deep/big": 0}, limit=1 << 22))["deep/big"]) == len(text) * 300_000


def test_a_version_that_is_gone_gives_nothing_of_today(endpoint: SmbEndpoint) -> None:
    with SmbClient(endpoint, previous_version=FIRST + 600_000_000) as client:
        with pytest.raises(FileUnreadable):
            client.open_stream("deep/file")
        assert not isinstance(read_one(client, "deep/file", 1), FileRead)
