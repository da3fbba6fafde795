"""The folder of mode ``disk`` on a bad line and a server that says no; stock restic as the judge of what came from it.

What works when nothing is wrong: ``test_disk.py``.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from shared.databases.disk_folder import DiskFolder
from shared.databases.stored_files import open_stored, store_files, stored_pieces
from shared.errors import DatabaseError, SourceLoginRefused, SourceUnreachable, TargetError
from shared.settings import DiskSettings
from shared.smb import ntstatus
from shared.smb.client import SmbClient
from shared.smb.endpoint import SmbEndpoint
from shared.smb.types import FileUnwritable
from tests.standins.delay import Relay
from tests.standins.restic import StockRestic
from tests.standins.samba import PASSWORD, USERNAME, Samba
from tests.unit.fileshare.helpers import PASSWORD as REPOSITORY_PASSWORD
from tests.unit.fileshare.helpers import Bench

MIB = 1 << 20
UNC = r"\\fs\backups\sql"
CONTENT = Random(1).randbytes(24 * MIB)


@pytest.fixture(scope="module")
def samba() -> Iterator[Samba]:
    root = Path(tempfile.mkdtemp(prefix="lbfolder-"))
    root.chmod(0o777)
    try:
        with Samba("smb-3.1.1", root=root) as running:
            yield running
    finally:
        shutil.rmtree(root)


@pytest.fixture
def sql(samba: Samba) -> Iterator[Path]:
    """The folder, as its server sees it."""
    folder = samba.root / "sql"
    folder.mkdir()
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def opened(samba: Samba, share: str = "data", *, password: str = PASSWORD) -> DiskFolder:
    return DiskFolder.open(DiskSettings(UNC, samba.url(share, "sql"), USERNAME, password), password)


@contextlib.contextmanager
def behind(relay: Relay) -> Iterator[DiskFolder]:
    url = f"smb://127.0.0.1:{relay.port}/data/sql"
    client = SmbClient(
        SmbEndpoint.parse(url, USERNAME, PASSWORD), reconnect_seconds=1.0, settings_prefix="LIFEBOAT_SQL_DISK"
    )
    with DiskFolder(client, UNC) as folder:
        yield folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_cut_in_the_middle_of_a_file_goes_on_where_it_was_fault_20(samba: Samba, sql: Path) -> None:
    """Fault 20."""
    (sql / "a.bak").write_bytes(CONTENT)
    with Relay(samba.port, cut_after=(4_000_000, 9_500_000)) as relay, behind(relay) as folder:
        digest = hashlib.sha256()
        for piece in folder.read("a.bak"):
            digest.update(piece)
        assert relay.connections == 3
    assert digest.digest() == hashlib.sha256(CONTENT).digest()


@pytest.mark.parametrize("change", ["gone", "another"])
def test_a_file_that_is_another_after_the_cut_is_named(samba: Samba, sql: Path, change: str) -> None:
    """Faults 20 and 21."""
    file = sql / "a.bak"
    file.write_bytes(CONTENT)
    with Relay(samba.port) as relay, behind(relay) as folder:
        pieces = folder.read("a.bak")
        next(pieces)
        file.unlink()
        if change == "another":
            file.write_bytes(CONTENT[::-1])
        relay.cut_all()
        with pytest.raises(DatabaseError, match=r"sql\\a\.bak") as caught:
            list(pieces)
    assert caught.value.remedy


def test_a_server_that_stays_away_is_told_by_the_setting(samba: Samba, sql: Path) -> None:
    (sql / "a.bak").write_bytes(CONTENT)
    with contextlib.ExitStack() as stack:
        relay = stack.enter_context(Relay(samba.port))
        folder = stack.enter_context(behind(relay))
        pieces = folder.read("a.bak")
        next(pieces)
        samba.stop()
        try:
            with pytest.raises(SourceUnreachable) as caught:
                list(pieces)
        finally:
            samba.start()
    assert caught.value.setting == "LIFEBOAT_SQL_DISK_URL"
    assert caught.value.retryable


def test_a_cut_in_the_middle_of_writing_leaves_nothing_half_written(samba: Samba, sql: Path) -> None:
    with Relay(samba.port) as relay, behind(relay) as folder:

        def cut() -> Iterator[bytes]:
            for at in range(0, len(CONTENT), MIB):
                if at == 12 * MIB:
                    relay.cut_all()
                yield CONTENT[at : at + MIB]

        with pytest.raises(TargetError, match=r"sql\\a\.bak.*disconnected"):
            folder.write("a.bak", cut())
        assert names(sql) == []
        assert folder.write("a.bak", [CONTENT]) == len(CONTENT)  # the same folder goes on to be used
    assert (sql / "a.bak").read_bytes() == CONTENT


def test_a_server_that_goes_away_does_not_hide_why_writing_ended(samba: Samba, sql: Path) -> None:
    with Relay(samba.port) as relay, behind(relay) as folder:

        def ends() -> Iterator[bytes]:
            yield CONTENT
            samba.stop()
            raise KeyboardInterrupt

        try:
            with pytest.raises(KeyboardInterrupt):
                folder.write("a.bak", ends())
        finally:
            samba.start()
    assert "a.bak" not in names(sql)


def test_a_full_disk_is_told_and_nothing_is_left_fault_35(
    samba: Samba, sql: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's answer is made up; the file is on a real one."""
    with opened(samba) as folder:
        take = folder._client.open_writer

        def full(path: str, *, ahead_bytes: int) -> object:
            writer = take(path, ahead_bytes=ahead_bytes)
            write = writer.write

            def until_full(data: bytes) -> None:
                if writer.position >= 8 * MIB:
                    status = 0xC000007F
                    raise FileUnwritable(path, ntstatus.reason(status), status, ntstatus.message(status))
                write(data)

            monkeypatch.setattr(writer, "write", until_full)
            return writer

        monkeypatch.setattr(folder._client, "open_writer", full)
        with pytest.raises(TargetError, match=r"sql\\a\.bak: the disk is full"):
            folder.write("a.bak", [CONTENT[at : at + MIB] for at in range(0, len(CONTENT), MIB)])
        assert names(sql) == []


def test_who_may_not_read_is_told(samba: Samba, sql: Path) -> None:
    (sql / "a.bak").write_bytes(b"x")
    (sql / "a.bak").chmod(0o600)
    with opened(samba, "limited") as limited:
        with pytest.raises(DatabaseError, match=r"sql\\a\.bak cannot be read") as caught:
            list(limited.read("a.bak"))
        assert "LIFEBOAT_SQL_DISK_USERNAME" in caught.value.remedy
        assert limited.names("a") == [("a.bak", 1)]
    with pytest.raises(SourceLoginRefused) as refused, opened(samba, password="not-the-one"):
        pass
    assert "LIFEBOAT_SQL_DISK" in (refused.value.setting or "")
    assert "not-the-one" not in str(refused.value)


def test_what_stands_there_is_replaced_only_by_a_whole_file(samba: Samba, sql: Path) -> None:
    (sql / "a.bak").write_bytes(b"of before")
    (sql / "a.folder").mkdir()

    def breaks() -> Iterator[bytes]:
        yield CONTENT
        raise DatabaseError("the source broke")

    with opened(samba) as folder:
        with pytest.raises(DatabaseError):
            folder.write("a.bak", breaks())
        assert (sql / "a.bak").read_bytes() == b"of before"
        assert folder.write("a.bak", iter([])) == 0
        assert folder.names("a") == [("a.bak", 0)]
        assert list(folder.read("a.bak")) == []
        free = folder.free_bytes()
    assert free is not None
    assert free > MIB


def test_stock_restic_gives_back_what_sql_server_wrote(
    samba: Samba, sql: Path, tmp_path: Path, stock_restic: StockRestic
) -> None:
    expected = {"full.bak": CONTENT, "log.trn": CONTENT[:700_000], "empty.trn": b""}
    for name, content in expected.items():
        (sql / name).write_bytes(content)
    bench = Bench(tmp_path)
    repository = bench.open()
    repository.load_index(present=repository.list_packs())
    with opened(samba) as folder:
        stored = store_files(
            repository,
            [(name, lambda name=name: folder.read(name)) for name in expected],  # type: ignore[misc]
            hostname="sql01",
            path="/databases/appservice_hosting",
        )
        for name in expected:
            folder.delete(name)
        judge = stock_restic.on_folder(bench.path, REPOSITORY_PASSWORD)
        judge.check(read_data=True)
        restored = judge.restore(tmp_path / "out", stored.snapshot) / "appservice_hosting"
        assert {path.name: path.read_bytes() for path in restored.iterdir()} == expected

        again = bench.open()
        again.load_index(present=again.list_packs(), keep_missing=True)
        for name, node in open_stored(again, stored.snapshot).items():
            assert folder.write(name, stored_pieces(again, node)) == node.size_bytes
    assert {path.name: path.read_bytes() for path in sql.iterdir()} == expected


def test_the_newest_restic_would_write_the_snapshot_no_otherwise(tmp_path: Path, newest_restic: StockRestic) -> None:
    bench = Bench(tmp_path)
    repository = bench.open()
    repository.load_index(present=repository.list_packs())
    files = [("z.bak", lambda: [CONTENT]), ("a ö <&>.bak", lambda: [b"x"]), ("empty.bak", lambda: [b""])]
    store_files(repository, files, hostname="sql01\\instance,1433", path="/databases/it's one")
    newest_restic.on_folder(bench.path, REPOSITORY_PASSWORD).rewrite_changes_nothing()
