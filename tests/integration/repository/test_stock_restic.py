"""Stock restic as the judge of what Lifeboat writes, and each on top of the other."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import PROGRAM_VERSION
from shared.fileshare.backup import ShareBackup
from shared.fileshare.local_source import LocalSource
from shared.fileshare.source import Listing, Unreadable
from shared.repository.initialise import GivenPassword, open_or_initialise
from shared.repository.snapshots import Summary, save_snapshot
from shared.repository.trees import Metadata, dir_node, file_node, rfc3339, tree_bytes
from shared.repository.writer import BlobWriter
from tests.conftest import Vault
from tests.integration.repository.helpers import PASSWORD, FolderVault, back_up, check, facts, share_settings
from tests.standins.restic import StockRestic, copy_container


@pytest.mark.parametrize("shards", [1, 4])
def test_what_lifeboat_wrote_from_odd_files_is_checked_and_restored_byte_for_byte(
    folder_vault: FolderVault, odd_tree: Path, stock_restic: StockRestic, tmp_path: Path, shards: int
) -> None:
    repository = folder_vault.open()
    joined = back_up(repository, odd_tree, shards=shards)
    judge = folder_vault.seen_by(stock_restic)
    judge.check()
    restored = judge.restore(tmp_path / "restored", joined["snapshot"]) / "site"
    assert facts(restored) == facts(odd_tree)
    assert joined["outcome"]["not_descended"]["count"] == 2
    assert joined["outcome"]["unreadable"]["count"] == 0
    if judge.has_rewrite:
        judge.rewrite_changes_nothing()
    assert check(folder_vault.share) == []


def test_a_second_run_stores_only_what_changed_and_both_snapshots_restore(
    folder_vault: FolderVault, odd_tree: Path, newest_restic: StockRestic, tmp_path: Path
) -> None:
    before = facts(odd_tree)
    first = back_up(folder_vault.open(), odd_tree)
    (odd_tree / "text").chmod(0o644)
    (odd_tree / "text").write_bytes(b"changed")
    (odd_tree / "plain.txt").unlink()
    (odd_tree / "new").mkdir()
    (odd_tree / "new" / "file\n").write_bytes(b"new")
    after = facts(odd_tree)
    second = back_up(folder_vault.open(), odd_tree, parent=first["snapshot"])
    counts = second["outcome"]["counts"]
    assert (counts["files_new"], counts["files_changed"]) == (1, 1)
    assert counts["files_unmodified"] == sum(content != "folder" for *_, content in before.values()) - 2
    assert counts["data_blobs"] == 2
    judge = folder_vault.seen_by(newest_restic)
    judge.check()
    judge.rewrite_changes_nothing()
    assert facts(judge.restore(tmp_path / "1", first["snapshot"]) / "site") == before
    assert facts(judge.restore(tmp_path / "2", second["snapshot"]) / "site") == after


def test_a_run_without_a_change_stores_no_data_and_the_same_tree(
    folder_vault: FolderVault, odd_tree: Path, newest_restic: StockRestic
) -> None:
    first = back_up(folder_vault.open(), odd_tree)
    second = back_up(folder_vault.open(), odd_tree, parent=first["snapshot"])
    counts = second["outcome"]["counts"]
    assert (counts["data_blobs"], counts["tree_blobs"], counts["packs"]) == (0, 0, 0)
    sharded = back_up(folder_vault.open(), odd_tree, shards=4)
    assert sharded["outcome"]["counts"]["data_blobs"] == 0
    judge = folder_vault.seen_by(newest_restic)
    assert len({snapshot["tree"] for snapshot in judge.snapshots()}) == 1
    judge.rewrite_changes_nothing()


def test_stock_restic_goes_on_from_a_snapshot_of_lifeboat(
    folder_vault: FolderVault, odd_tree: Path, stock_restic: StockRestic, tmp_path: Path
) -> None:
    ours = back_up(folder_vault.open(), odd_tree)
    judge = folder_vault.seen_by(stock_restic)
    (odd_tree / "added").write_bytes(b"after ours")
    (odd_tree / "link").unlink()
    (odd_tree / "fifo").unlink()
    summary = judge.backup("site", cwd=odd_tree.parent, options=("--parent", ours["snapshot"]))
    assert summary["files_new"] == 1
    assert summary["files_changed"] == 0
    judge.check()
    assert check(folder_vault.share) == []
    assert facts(judge.restore(tmp_path / "theirs") / "site") == facts(odd_tree)


def test_lifeboat_goes_on_from_a_snapshot_of_stock_restic_fault_33(
    folder_vault: FolderVault, odd_tree: Path, stock_restic: StockRestic, tmp_path: Path
) -> None:
    (odd_tree / "link").unlink()
    (odd_tree / "fifo").unlink()
    (folder_vault.folder / "share").mkdir(parents=True)
    judge = folder_vault.seen_by(stock_restic)
    judge.init()
    judge.backup("site", cwd=odd_tree.parent)
    theirs = judge.snapshots()[0]["id"]
    (odd_tree / "added").write_bytes(b"after theirs")
    ours = back_up(folder_vault.open(), odd_tree, parent=theirs)
    counts = ours["outcome"]["counts"]
    assert (counts["files_new"], counts["files_changed"]) == (1, 0)
    assert counts["data_blobs"] == 1
    judge.check()
    assert check(folder_vault.share) == []
    assert facts(judge.restore(tmp_path / "ours", ours["snapshot"]) / "site") == facts(odd_tree)
    if judge.has_rewrite:
        judge.rewrite_changes_nothing()


@pytest.mark.parametrize("version", ["1", "2"])
def test_lifeboat_writes_into_a_repository_of_either_version_that_stock_restic_made_fault_33(
    folder_vault: FolderVault, odd_tree: Path, newest_restic: StockRestic, tmp_path: Path, version: str
) -> None:
    (folder_vault.folder / "share").mkdir(parents=True)
    judge = folder_vault.seen_by(newest_restic)
    judge.run("init", "--repository-version", version)
    back_up(folder_vault.open(), odd_tree)
    judge.check()
    assert facts(judge.restore(tmp_path / "restored") / "site") == facts(odd_tree)
    assert check(folder_vault.share) == []
    assert list(folder_vault.records.list("init")) == [], "nobody was elected: the repository was there"


def test_after_a_prune_by_stock_restic_lifeboat_backs_up_again(
    folder_vault: FolderVault, odd_tree: Path, stock_restic: StockRestic, tmp_path: Path
) -> None:
    first = back_up(folder_vault.open(), odd_tree)
    (odd_tree / "random").unlink()
    second = back_up(folder_vault.open(), odd_tree, parent=first["snapshot"])
    judge = folder_vault.seen_by(stock_restic)
    judge.forget_prune()
    (odd_tree / "random").write_bytes(b"r" * 100_000)
    third = back_up(folder_vault.open(), odd_tree, parent=second["snapshot"])
    judge.check()
    assert check(folder_vault.share) == []
    assert facts(judge.restore(tmp_path / "restored", third["snapshot"]) / "site") == facts(odd_tree)
    assert first["snapshot"] not in {snapshot["id"] for snapshot in judge.snapshots()}
    judge.forget_prune()
    judge.check()


def test_a_repository_behind_the_rights_of_the_backup_app_is_clean(
    vault: Vault, odd_tree: Path, stock_restic: StockRestic, tmp_path: Path
) -> None:
    with vault.store() as share, vault.store("recovery-points") as records:
        repository = open_or_initialise(share, records, GivenPassword(PASSWORD))
        back_up(repository, odd_tree, shards=3)
    with vault.judge() as store:
        judge = stock_restic.on_folder(copy_container(store, tmp_path / "copy"), PASSWORD)
    judge.check()
    assert facts(judge.restore(tmp_path / "restored") / "site") == facts(odd_tree)


def _every_character() -> list[bytes]:
    """Names that hold every character of Unicode, 200 in each; and every byte that is no UTF-8."""
    usable = [code for code in range(1, sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF and code != ord("/")]
    names = ["".join(map(chr, usable[at : at + 200])).encode() for at in range(0, len(usable), 200)]
    return [*names, bytes(range(128, 256)), b"\xed\xa0\x80\xed\xb0\x80", b"\xc3", b"\xf4\x90\x80\x80", b"\xc0\x80"]


def test_every_character_in_a_name_is_written_as_stock_restic_writes_it(
    folder_vault: FolderVault, newest_restic: StockRestic
) -> None:
    repository = folder_vault.open()
    names = _every_character()
    file_facts = Metadata(mtime_ns=1, ctime_ns=2)
    with BlobWriter(repository) as writer:
        inner = writer.save(tree_bytes((name, file_node(name, file_facts, 0, ())) for name in names), tree=True)
        folder = Metadata(mtime_ns=1, ctime_ns=2, mode=0o755)
        tree = writer.save(tree_bytes([(b"site", dir_node(b"site", folder, inner.hex()))]), tree=True)
    now = rfc3339(10**18)
    save_snapshot(
        repository,
        time=now,
        tree=tree.hex(),
        paths=["/site"],
        hostname="server",
        program_version=PROGRAM_VERSION,
        summary=Summary(now, now, len(names), 0, 0, 2, 0, 0, 0, 2, 0, 0, len(names), 0),
    )
    judge = folder_vault.seen_by(newest_restic)
    judge.check()
    judge.rewrite_changes_nothing()


def test_restic_sees_server_share_and_totals(
    folder_vault: FolderVault, odd_tree: Path, newest_restic: StockRestic
) -> None:
    back_up(folder_vault.open(), odd_tree)
    (snapshot,) = folder_vault.seen_by(newest_restic).snapshots()
    files = [content for *_, content in facts(odd_tree).values() if isinstance(content, bytes)]
    assert (snapshot["hostname"], snapshot["paths"]) == ("localhost", [os.fspath(odd_tree)])
    assert snapshot["summary"]["total_files_processed"] == len(files)
    assert snapshot["summary"]["total_bytes_processed"] == sum(map(len, files))


class StutteringSource(LocalSource):
    """A server may list an entry twice while its folder changes."""

    def scan(self, pending: list[str]) -> Iterator[Listing | Unreadable]:
        for listing in super().scan(pending):
            if isinstance(listing, Listing):
                entries = sorted(listing.entries, key=lambda entry: entry.kind)
                yield Listing(listing.path, entries + entries[:2] + entries[-2:], listing.metadata)
            else:
                yield listing


def test_what_a_listing_names_twice_is_in_the_tree_once(folder_vault: FolderVault, odd_tree: Path) -> None:
    repository = folder_vault.open()
    backup = ShareBackup(share_settings(odd_tree), repository, lambda _: StutteringSource(odd_tree))
    plan = backup.plan(shards=1, parent=None, look=False)
    backup.join(plan, [backup.backup_shard(plan, items) for items in plan["shards"]])
    assert check(folder_vault.share) == []
