"""python -m tests.benchmarks.databases: what a week of full backups takes up in mode disk. See README.md.

A model, since there is no SQL Server here. A database file of 8 KiB pages is backed up on seven days; between two days
a fraction of its pages changes, part of them by updates of rows in place, the others by pages appended. Each backup is
kept in three ways:

A: compressed by SQL Server, then stored by ``store_files`` in a repository. MS_XPRESS is not to be had here; zlib at
   level 1 over blocks of 1 MiB stands in for it.
B: uncompressed, then stored by ``store_files`` in another: deduplicated, and compressed by zstd.
C: as B, but without deduplication: what the same chunks take up when each day stores all of them.
"""

from __future__ import annotations

import argparse
import os
import random
import string
import struct
import subprocess
import sys
import tempfile
import time
import uuid
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import zstandard

from shared.databases.stored_files import store_files
from shared.repository.chunker import chunk_stream
from shared.repository.compression import compress_blob
from shared.repository.initialise import GivenPassword, open_or_initialise
from shared.storage.local_folder import LocalFolderStore

SEED: Final = 20261125
PAGE_BYTES: Final = 8192
PAGES_PER_EXTENT: Final = 8
DAYS: Final = 7
CHURNS: Final = (0.005, 0.02, 0.1)
SCATTERED: Final = 0.5
MEGABYTES: Final = 120
QUICK_MEGABYTES: Final = 12
SQL_BLOCK_BYTES: Final = 1 << 20
"""What SQL Server compresses at a time: the default of MAXTRANSFERSIZE for a backup to disk."""
HEADER_BYTES: Final = 4096
"""What stands before the first extent of a backup."""

_PROJECT: Final = Path(__file__).resolve().parents[2]
_PASSWORD: Final = "benchmark"
_PAGE_HEADER: Final = struct.Struct("<BBBBHHIHHIHHIHHIHHIIHHIHHI32x")
"""96 bytes, in SQL Server's order: version, type, flags, level, flags, index, previous and next page, slots, object,
free space, page, LSN, checksum; the rest is zero."""
_LSN: Final = struct.Struct("<IIH")
_LSN_AT: Final = 40
_CHECKSUM: Final = struct.Struct("<I")
_CHECKSUM_AT: Final = 60
_FIXED: Final = struct.Struct("<16siQi")
"""The columns of fixed length of every row: a GUID, an int, a datetime, a state."""
_FIXED_AT: Final = 4
_CHANGING: Final = struct.Struct("<Qi")
"""Of these the two that an update in place changes."""
_CHANGING_AT: Final = _FIXED_AT + 20


@dataclass(frozen=True)
class Change:
    """What happened to a database between two days."""

    updated: frozenset[int]
    """Numbers of the pages in which a row was updated in place."""
    appended: int
    """Pages added at the end."""


class Database:
    """A data file of SQL Server, of which only the used extents are kept: one byte for byte the same for each seed.

    Every extent belongs to one of three tables: sites (names, URLs), their settings (JSON), metering (short rows).
    A page is filled with whole rows to 70 to 100 per cent; the rest is zero, as are the pages of the last extent that
    are not used yet. Checksums of pages are CRC-32, which is not SQL Server's own.
    """

    def __init__(self, pages: int, seed: int = SEED) -> None:
        self.pages = 0
        self._rng = random.Random(seed)
        self._rows = _Rows(self._rng)
        self._data = bytearray()
        self._lsn = 1 << 40
        self._table = 0
        for _ in range(pages):
            self._append()

    def change(self, fraction: float, scattered: float = SCATTERED) -> Change:
        """Change ``fraction`` of the pages that are there: of these, the part ``scattered`` by an update of one row in
        place, anywhere in the file and no page twice, which also changes the page's LSN and checksum; as many as
        remain are appended instead."""
        count = round(self.pages * fraction)
        updates = round(count * scattered)
        updated = frozenset(self._rng.sample(range(self.pages), updates))
        for page in sorted(updated):
            self._update(page)
        for _ in range(count - updates):
            self._append()
        return Change(updated, count - updates)

    def extents(self) -> list[bytes]:
        """The used extents in order, 64 KiB each."""
        size = PAGES_PER_EXTENT * PAGE_BYTES
        return [bytes(self._data[at : at + size]) for at in range(0, len(self._data), size)]

    def page(self, number: int) -> bytes:
        return bytes(self._data[number * PAGE_BYTES : (number + 1) * PAGE_BYTES])

    def backup(self, day: int) -> list[bytes]:
        """A full backup in pieces: a header that is another each day, then the extents as they are. The log that SQL
        Server writes behind them is left out."""
        return [_backup_header(day), *self.extents()]

    def _next_lsn(self) -> bytes:
        self._lsn += self._rng.randint(1, 400)
        return _LSN.pack(self._lsn >> 32, self._lsn & 0xFFFFFFFF, self._rng.randint(1, 60))

    def _append(self) -> None:
        if self.pages % PAGES_PER_EXTENT == 0:
            self._data.extend(bytes(PAGES_PER_EXTENT * PAGE_BYTES))
            self._table = self._rng.choices(range(len(_Rows.WEIGHTS)), _Rows.WEIGHTS)[0]
        at = self.pages * PAGE_BYTES
        self._data[at : at + PAGE_BYTES] = self._new_page(self.pages, self._table)
        self.pages += 1
        self._seal(self.pages - 1)

    def _new_page(self, number: int, table: int) -> bytes:
        most = PAGE_BYTES * self._rng.uniform(0.7, 1)
        rows: list[bytes] = []
        offsets: list[int] = []
        end = _PAGE_HEADER.size
        while True:
            row = self._rows.next(table)
            if end + len(row) + 2 * (len(offsets) + 1) > most:
                break
            rows.append(row)
            offsets.append(end)
            end += len(row)
        slots = struct.pack(f"<{len(offsets)}H", *reversed(offsets))
        free = PAGE_BYTES - end - len(slots)
        before, after = max(number - 1, 0), number + 1
        header = _PAGE_HEADER.pack(
            *(1, 1, 0, 0, 0x200, 0),  # version, type: data; flags: with a checksum
            *(before, 1, _FIXED_AT + _FIXED.size, after, 1, len(offsets)),
            *(0x1000 + table, free, end, number, 1, 0),
            *(0, 0, 0),  # LSN, see _seal
            *(0, 0, 0, 0, 0),  # transactions, ghosts; checksum, see _seal
        )
        return b"".join((header, *rows, bytes(free), slots))

    def _update(self, number: int) -> None:
        at = number * PAGE_BYTES
        (slots,) = struct.unpack_from("<H", self._data, at + 22)
        slot = self._rng.randrange(slots)
        (row,) = struct.unpack_from("<H", self._data, at + PAGE_BYTES - 2 * (slot + 1))
        _CHANGING.pack_into(self._data, at + row + _CHANGING_AT, *self._rows.changed())
        self._seal(number)

    def _seal(self, number: int) -> None:
        """Give the page its next LSN and its checksum."""
        at = number * PAGE_BYTES
        self._data[at + _LSN_AT : at + _LSN_AT + _LSN.size] = self._next_lsn()
        _CHECKSUM.pack_into(self._data, at + _CHECKSUM_AT, 0)
        checksum = zlib.crc32(memoryview(self._data)[at : at + PAGE_BYTES])
        _CHECKSUM.pack_into(self._data, at + _CHECKSUM_AT, checksum)


class _Rows:
    """Rows in SQL Server's format, their ids and dates ascending."""

    WEIGHTS: Final = (2, 3, 5)
    """How often an extent belongs to sites, settings, metering."""
    _METERED: Final = ("CpuTime", "MemoryTime", "BytesOut")

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._number = 0
        self._moment = 45_000 << 32
        syllables = [a + b for a in "bcdfghklmnprstvwz" for b in ("a", "e", "i", "o", "u", "er", "on", "in")]
        words = ["".join(rng.choices(syllables, k=rng.randint(2, 4))) for _ in range(2_000)]
        kinds = ("shop", "api", "portal", "web", "intranet", "cms", "func", "auth")
        self._sites = [
            f"{rng.choice(words)}-{rng.choice(kinds)}{rng.choice(('', '-test', '-prod', '-dev'))}" for _ in range(4_000)
        ]
        self._keys = [f"{a}{b}".upper() for a in rng.sample(words, 60) for b in ("_url", "_key", "_enabled", "_limit")]
        self._site_ids = [rng.randbytes(16) for _ in self._sites]
        self._meters = [rng.randbytes(16) for _ in range(40)]

    def next(self, table: int) -> bytes:
        rng = self._rng
        self._number += 1
        self._moment += rng.randint(1, 2_000)
        which = int(rng.random() ** 2 * len(self._sites))  # some sites are met more often
        if table == 0:
            name = self._sites[which]
            texts = (
                name,
                f"https://{name}.appservice.{rng.choice(('east', 'west', 'north'))}.example.com/",
                f"\\\\fileserver\\WebSites\\{which % 256:02x}\\{rng.getrandbits(48):012x}\\site\\wwwroot",
                rng.choice(("Running", "Running", "Running", "Stopped", "Disabled")),
            )
            return self._record(rng.randbytes(16), which, texts)
        if table == 1:
            secret = "".join(rng.choices(string.ascii_letters + string.digits + "+/", k=43))
            pairs = [f'"{key}":"{self._value(key)}"' for key in rng.sample(self._keys, rng.randint(3, 10))]
            settings = f'{{"WEBSITE_NODE_DEFAULT_VERSION":"~{rng.choice((16, 18, 20))}",{",".join(pairs)}}}'
            connection = f"Server=tcp:sql{which % 9}.example.com,1433;Database={self._sites[which]};Password={secret}="
            return self._record(self._site_ids[which], which, ("appsettings", settings, connection))
        meter = rng.choice(self._meters)
        quantity = struct.pack("<qq", rng.getrandbits(40), self._moment - (1 << 32)) + meter
        return self._record(
            self._site_ids[which], which, (rng.choice(("CpuTime", "MemoryTime", "BytesOut")),), quantity
        )

    def changed(self) -> tuple[int, int]:
        """A new datetime and state."""
        self._moment += self._rng.randint(1, 2_000)
        return self._moment, self._rng.getrandbits(20)

    def _value(self, key: str) -> str:
        rng = self._rng
        if key.endswith("_URL"):
            return f"https://{rng.choice(self._sites)}.example.com/v{rng.randint(1, 4)}"
        if key.endswith("_KEY"):
            return str(uuid.UUID(int=rng.getrandbits(128), version=4))
        return rng.choice(("true", "false")) if key.endswith("_ENABLED") else str(rng.randint(1, 5_000))

    def _record(self, guid: bytes, owner: int, texts: Sequence[str], more_fixed: bytes = b"") -> bytes:
        fixed = _FIXED.pack(guid, self._number, self._moment, owner) + more_fixed
        columns = 4 + len(texts)
        variable = [text.encode("utf-16-le") for text in texts]
        bitmap = bytes((columns + 7) // 8)
        end = _FIXED_AT + len(fixed) + 2 + len(bitmap) + 2 + 2 * len(variable)
        ends = []
        for each in variable:
            end += len(each)
            ends.append(end)
        return b"".join(
            (
                struct.pack("<BBH", 0x30, 0, _FIXED_AT + len(fixed)),
                fixed,
                struct.pack("<H", columns),
                bitmap,
                struct.pack(f"<{1 + len(ends)}H", len(ends), *ends),
                *variable,
            )
        )


def _backup_header(day: int) -> bytes:
    """Names, a time and GUIDs, most of it zero."""
    rng = random.Random(day)
    moment = f"2026-11-{day:02d}T02:00:{rng.randint(0, 59):02d}".encode("utf-16-le")
    return b"".join((b"TAPE", rng.randbytes(32), b"SSET", moment, rng.randbytes(64))).ljust(HEADER_BYTES, b"\0")


def sql_compressed(backup: Iterable[bytes]) -> list[bytes]:
    """What stands in for MS_XPRESS: each MiB of the stream by itself, zlib at level 1, behind its two lengths.

    It flatters SQL Server: plain XPRESS has no entropy coding, and what it makes is longer, even after the repository's
    zstd, which then costs CPU that is spared here; and no block holds anything that differs from day to day by itself.
    """
    stream = memoryview(b"".join(backup))
    blocks = []
    for at in range(0, len(stream), SQL_BLOCK_BYTES):
        plain = stream[at : at + SQL_BLOCK_BYTES]
        packed = zlib.compress(plain, 1)
        blocks.append(struct.pack("<II", len(plain), len(packed)) + packed)
    return blocks


class Kept:
    """One way of keeping backups: a repository in a folder. Each day opens it anew, as a run does."""

    def __init__(self, folder: Path) -> None:
        self.cpu_seconds = 0.0
        """Ours so far, for reading, chunking, hashing, compressing, sealing and writing; without opening it."""
        self._share = LocalFolderStore(folder / "share")
        self._records = LocalFolderStore(folder / "recovery-points")
        for store in (self._share, self._records):
            store.create_container_if_missing()

    def store(self, backup: Sequence[bytes]) -> int:
        """Store one day's backup; returns all the bytes that the repository takes up then."""
        repository = open_or_initialise(self._share, self._records, GivenPassword(_PASSWORD))
        repository.load_index(present=repository.list_packs())
        began = time.process_time()
        store_files(repository, [("full.bak", lambda: backup)], hostname="sql01", path="/databases/appservice_hosting")
        self.cpu_seconds += time.process_time() - began
        return sum(blob.size_bytes for blob in self._share.list(""))


def zstd_only_bytes(backup: Sequence[bytes]) -> int:
    """Bytes of the chunks that ``store_files`` makes of the backup, each compressed as the repository does it."""
    return sum(len(compress_blob(chunk) or chunk) for chunk in chunk_stream(memoryview(piece) for piece in backup))


@dataclass(frozen=True)
class Week:
    """Bytes after each day. ``read`` is what one run reads from SQL Server's folder on the last day."""

    churn: float
    a: tuple[int, ...]
    b: tuple[int, ...]
    c: tuple[int, ...]
    read_a: int
    read_b: int
    cpu_a: float
    cpu_b: float


def measure(churn: float, *, pages: int, folder: Path, days: int = DAYS, scattered: float = SCATTERED) -> Week:
    """Back up on so many days, with a change before each but the first. ``folder`` is empty and is written into."""
    database = Database(pages)
    kept_a, kept_b = Kept(folder / "a"), Kept(folder / "b")
    a: list[int] = []
    b: list[int] = []
    c: list[int] = []
    read_a = read_b = 0
    for day in range(1, days + 1):
        if day > 1:
            database.change(churn, scattered)
        plain = database.backup(day)
        compressed = sql_compressed(plain)
        read_a, read_b = sum(map(len, compressed)), sum(map(len, plain))
        a.append(kept_a.store(compressed))
        b.append(kept_b.store(plain))
        c.append(zstd_only_bytes(plain) + (c[-1] if c else 0))
    return Week(churn, tuple(a), tuple(b), tuple(c), read_a, read_b, kept_a.cpu_seconds, kept_b.cpu_seconds)


def heading(megabytes: int, scattered: float) -> str:
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=_PROJECT, capture_output=True, text=True, check=False
    ).stdout.strip()
    load = os.getloadavg()[0]
    return (
        f"Modelled on {datetime.now(UTC):%Y-%m-%d}: a database of {megabytes} MB, {DAYS} daily full backups, "
        f"{scattered:.0%} of the changed pages scattered, the others appended; seed {SEED}. Lifeboat "
        f"{commit or 'without a commit'}, zstd {'.'.join(map(str, zstandard.ZSTD_VERSION))}, zlib "
        f"{zlib.ZLIB_RUNTIME_VERSION} in the place of MS_XPRESS. Load before the first run: {load:.1f}."
    )


def table(weeks: Iterable[Week]) -> Iterator[str]:
    """Lines, each as soon as its week is there."""
    yield (
        "| pages changed a day | A stored MB, day 1 | day 7 | B stored MB, day 1 | day 7 | C stored MB, day 1 | day 7 "
        "| **A / B, day 7** | read a day, A / B | our CPU, A / B |"
    )
    yield "|---" + "|---:" * 9 + "|"
    for week in weeks:
        ends = " | ".join(f"{each / 1e6:.1f}" for of in (week.a, week.b, week.c) for each in (of[0], of[-1]))
        yield (
            f"| {week.churn:.1%} | {ends} | **{week.a[-1] / week.b[-1]:.2f}** | {week.read_a / week.read_b:.2f} "
            f"| {week.cpu_a / week.cpu_b:.2f} |"
        )


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.databases", description="What a week of full backups takes up in mode disk."
    )
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_MEGABYTES} MB: does it all still run?")
    parser.add_argument("--megabytes", type=int, default=MEGABYTES, metavar="N", help=f"of the database ({MEGABYTES})")
    parser.add_argument(
        "--churn", type=float, nargs="+", default=CHURNS, metavar="F", help="fractions of the pages that change a day"
    )
    parser.add_argument(
        "--scattered", type=float, default=SCATTERED, metavar="F", help=f"part of them updated in place ({SCATTERED})"
    )
    arguments = parser.parse_args()
    megabytes = QUICK_MEGABYTES if arguments.quick else arguments.megabytes
    print(heading(megabytes, arguments.scattered), end="\n\n", flush=True)
    for line in table(_weeks(arguments.churn, megabytes * 1_000_000 // PAGE_BYTES, arguments.scattered)):
        print(line, flush=True)
    return 0


def _weeks(churns: Iterable[float], pages: int, scattered: float) -> Iterator[Week]:
    for churn in churns:
        with tempfile.TemporaryDirectory(prefix="lifeboat-databases-") as folder:
            yield measure(churn, pages=pages, folder=Path(folder), scattered=scattered)


if __name__ == "__main__":
    sys.exit(main())
