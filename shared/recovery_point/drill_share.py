"""A sample of the share, restored as any restore does it, read back from the disk and held against the snapshot."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import Damaged, TargetError, printable
from shared.fileshare.local_target import LocalTarget, decode_name
from shared.fileshare.patterns import Files
from shared.fileshare.restore import RestoreResult, ShareRestore
from shared.recovery_point.drill_folder import private_folder, remove_left
from shared.recovery_point.drill_results import DrilledPart
from shared.recovery_point.drill_sample import Sample, draw
from shared.recovery_point.record import RecoveryPoint
from shared.recovery_point.restore import find_share
from shared.repository.initialise import choose_passwords, open_repository
from shared.repository.reader import BlobReader
from shared.repository.trees import Node
from shared.storage.vault import Vault

Json = dict[str, Any]

LONGEST_NAME_BYTES = 255
"""File systems of Linux and macOS write no longer name; one of Windows may need 765 bytes."""
LONGEST_PATH_BYTES = 3_000
DEEPEST = 200
"""Folders in each other, so that what was restored can be deleted again by calls in each other."""
REASONS_KEPT = 100
_ROOM_FOR_EACH_FILE = 16 << 10
"""What a file takes on a disk besides its content, at most, with its folders."""


def drill_share(
    vault: Vault,
    point: RecoveryPoint,
    *,
    seed: str,
    sample_bytes: int,
    check: Callable[[], None],
) -> DrilledPart:
    """Restore files of the point's snapshot that ``seed`` draws, ``sample_bytes`` of them, into a folder that is then
    deleted, and compare each, chunk by chunk, with the hashes that the snapshot names.

    What does not come back is a reason; the errors of the storage and the repository as a whole, ``Cancelled``, and
    ``TargetError`` where there is no room, are raised.
    """
    part = DrilledPart("share", notes=remove_left())
    began = time.monotonic()
    passwords = choose_passwords(vault.settings.repository_password, vault.secrets)
    repository = open_repository(vault.share, vault.records, passwords)
    folder = find_share(repository, point)
    opened_seconds = time.monotonic() - began
    snapshot = _Snapshot(BlobReader(repository), folder, check, part.reasons)
    drawing = time.monotonic()
    sample = draw(snapshot.sizes(), seed=seed, sample_bytes=sample_bytes)
    timed = _Timed(opened_seconds, drawn_seconds=time.monotonic() - drawing)
    part.notes += _notes(snapshot, sample, sample_bytes)
    matched = 0
    if sample.paths:
        chosen = Files(sample.paths)
        finding = time.monotonic()
        nodes = list(snapshot.chosen(chosen))
        timed.found_seconds = time.monotonic() - finding
        with private_folder() as where:
            _require_room(where, sample)
            restoring = time.monotonic()
            restored = ShareRestore(repository, LocalTarget(where), only=chosen, check=check).run(folder)
            timed.restored_seconds = time.monotonic() - restoring
            _require_none_refused(restored, where)
            part.reasons += restored.reasons
            matched = _compare(snapshot, nodes, where, restored, part.reasons)
    passed = not part.reasons
    del part.reasons[REASONS_KEPT:]
    part.seconds = timed.opened_seconds + timed.restored_seconds
    part.estimated_seconds = timed.estimated_seconds(sample) if passed else None
    detail = (
        f"{matched:,} files, {sample.bytes:,} bytes, restored in {timed.restored_seconds:.1f} s and compared"
        if passed
        else f"{matched:,} of {len(sample.paths):,} files came back as they were"
    )
    detail += f"; drawn from {sample.of_files:,} files, {sample.of_bytes:,} bytes, by {seed}"
    part.add(folder.name.decode("utf-8", "replace"), time.monotonic() - began, detail, passed=passed)
    return part


@dataclass(slots=True)
class _Timed:
    """What each part of a drill took."""

    opened_seconds: float
    drawn_seconds: float
    """Walking all of the share."""
    found_seconds: float = 0.0
    """Walking the folders of the sample."""
    restored_seconds: float = 0.0
    """Walking the folders of the sample again, fetching and writing."""

    def estimated_seconds(self, sample: Sample) -> float:
        """What all of the share would have taken: what was measured, the walk of the rest, and the rest fetched and
        written at the rate of the sample, of its files or of its bytes, whichever is slower. It errs upwards:
        files that lie in one pack are fetched together."""
        by_files = sample.of_files / len(sample.paths) if sample.paths else 1.0
        by_bytes = sample.of_bytes / sample.bytes if sample.bytes else 1.0
        written = max(0.0, self.restored_seconds - self.found_seconds) * (max(by_files, by_bytes) - 1.0)
        walked = max(0.0, self.drawn_seconds - self.found_seconds) if by_files > 1.0 else 0.0
        return self.opened_seconds + self.restored_seconds + walked + written


@dataclass(slots=True)
class _Snapshot:
    """The share's folder of a snapshot."""

    reader: BlobReader
    folder: Node
    check: Callable[[], None]
    reasons: list[Json]
    """Gets a reason for each folder that cannot be listed."""
    unfit: int = 0
    """Files and folders that this machine cannot name, and that were passed over by ``sizes``."""

    def sizes(self) -> Iterator[tuple[str, int]]:
        """Path and size in bytes of each file that can be restored here. No more than the folders that are still to be
        read is kept in memory."""
        self.unfit = 0
        for path, node in self._files(lambda _: True):
            yield path, node.size_bytes

    def chosen(self, files: Files) -> Iterator[tuple[str, Node]]:
        return ((path, node) for path, node in self._files(files.enters) if files.match(path))

    def _files(self, enters: Callable[[str], bool]) -> Iterator[tuple[str, Node]]:
        pending = [("", self.folder.subtree)]
        while pending:
            path, tree = pending.pop()
            self.check()
            for name, node in self._nodes(path, tree):
                inside = f"{path}/{name}" if path else name
                if node.kind == "file":
                    yield inside, node
                elif node.kind == "dir" and enters(inside):
                    pending.append((inside, node.subtree))

    def _nodes(self, path: str, tree: str | None) -> Iterator[tuple[str, Node]]:
        try:
            nodes = list(self.reader.nodes(tree)) if tree else []
        except Damaged as error:
            self._tell(path, error)
            return
        length_bytes, depth = len(os.fsencode(path)), path.count("/")
        for node in nodes:
            too_long = len(node.name) > LONGEST_NAME_BYTES or length_bytes + len(node.name) > LONGEST_PATH_BYTES
            if too_long or depth > DEEPEST:
                self.unfit += 1
                continue
            try:
                yield decode_name(node.name), node
            except ValueError:
                self.unfit += 1

    def _tell(self, path: str, error: Damaged) -> None:
        reason = error.as_reason("share") | {"path": printable(path or "/")}
        reason["message"] = f"the folder {printable(path or '/')} cannot be listed: {reason['message']}"
        if len(self.reasons) < REASONS_KEPT and reason not in self.reasons:
            self.reasons.append(reason)


def _notes(snapshot: _Snapshot, sample: Sample, sample_bytes: int) -> list[str]:
    notes = []
    if sample.too_large:
        notes.append(
            f"{sample.too_large:,} file(s) larger than the whole sample, {sample_bytes:,} bytes, were not in the draw: "
            "LIFEBOAT_DRILL_SHARE_SAMPLE sets it"
        )
    if snapshot.unfit:
        notes.append(f"{snapshot.unfit:,} file(s) and folders were not in the draw: this machine cannot name them")
    return notes


def _require_room(where: Path, sample: Sample) -> None:
    if shutil.disk_usage(where).free < sample.bytes + _ROOM_FOR_EACH_FILE * len(sample.paths):
        raise _disk_full(where, f"it has no room for a sample of {sample.bytes:,} bytes")


def _require_none_refused(restored: RestoreResult, where: Path) -> None:
    """A full disk says nothing about the backups."""
    full = next((reason for reason in restored.reasons if reason["code"] == "disk-full"), None)
    if full is not None:
        raise _disk_full(where, str(full["message"]))


def _disk_full(where: Path, why: str) -> TargetError:
    return TargetError(
        f"the disk of {where.parent} is full: {why}",
        remedy="Make room, set TMPDIR to a folder with more, or LIFEBOAT_DRILL_SHARE_SAMPLE to less; then run 'drill' "
        "again.",
    )


def _compare(
    snapshot: _Snapshot, nodes: list[tuple[str, Node]], where: Path, restored: RestoreResult, reasons: list[Json]
) -> int:
    """How many files are on the disk as the snapshot says. One that is not, and of which the restore told nothing, is
    a reason."""
    matched = absent = 0
    for path, node in nodes:
        snapshot.check()
        file = where / path
        if not file.is_file():
            absent += 1
            continue
        try:
            _match(snapshot.reader, file, node)
        except (Damaged, OSError) as error:
            reasons.append(_differs(path, str(error)))
        else:
            matched += 1
    if absent > restored.failed:
        reasons.append(_differs("", f"{absent - restored.failed} file(s) that were told to be restored are not there"))
    return matched


def _match(reader: BlobReader, file: Path, node: Node) -> None:
    """Read the file from the disk. ``Damaged`` unless it has the size and, chunk by chunk, the hashes of its node."""
    file.chmod(0o600)  # its own mode may keep its owner from reading it
    size_bytes = file.stat().st_size
    if size_bytes != node.size_bytes:
        raise Damaged(f"it is {size_bytes:,} bytes long on the disk, and was {node.size_bytes:,}")
    with file.open("rb") as content:
        for text in node.content:
            blob_id = bytes.fromhex(text)
            chunk = content.read(reader.locate(blob_id, tree=False).plain_bytes)
            if hashlib.sha256(chunk).digest() != blob_id:
                raise Damaged(f"the chunk {text} of it has another hash on the disk")


def _differs(path: str, why: str) -> Json:
    shown = printable(path)
    return {
        "component": "share",
        "code": Damaged.code,
        "message": f"{shown or 'the sample'}, restored, is not what the snapshot says: {why}",
        "remedy": "Run 'drill' again, on another machine too: this machine's disk or memory may be at fault. Then run "
        "'check --read-data'.",
        "path": shown,
    }
