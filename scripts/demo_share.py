"""The share of the demo: made from a seed, changed a little, destroyed, and compared with what it was."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SEED = 1123
TICK_NS = 100
"""SMB keeps times in these units."""
_FIRST_TIME_SECONDS = 1_690_000_000
_TIME_SPAN_SECONDS = 60_000_000

ODD_NAMES = (
    "Über uns – Größe & Maße (Kopie).html",
    "price list #3, 100%25 [final] 'v2'.txt",
    "日本語のページ.html",
    "e\u0301te\u0301 (decomposed).txt",
    "été (composed).txt",
    "🚀 launch.md",
    ".htaccess",
    "~$draft.docx",
    "n" * 230 + ".txt",
)
_DEEP = "/".join(f"node_modules/package-number-{level:02}" for level in range(9))
"""Longer than the 260 characters that old Windows programs stop at."""


@dataclass(frozen=True)
class Scale:
    """How much to make. Counts of files are for each framework and each site."""

    sites: int
    framework_files: int
    own_files: int
    log_bytes: int
    zip_bytes: int


REALISTIC = Scale(sites=16, framework_files=150, own_files=100, log_bytes=60 << 20, zip_bytes=100 << 20)
SMALL = Scale(sites=3, framework_files=10, own_files=10, log_bytes=200_000, zip_bytes=1_000_000)

_FRAMEWORKS = ("wordpress-6.4", "umbraco-12", "angular-app")
_KINDS = {  # suffix: (share of the files, median size in bytes)
    ".js": (0.36, 5_000),
    ".php": (0.24, 4_000),
    ".css": (0.10, 4_000),
    ".json": (0.14, 1_200),
    ".png": (0.12, 14_000),
    ".dll": (0.04, 40_000),
}


@dataclass(frozen=True)
class Count:
    files: int
    folders: int
    bytes: int


def make_share(folder: Path, scale: Scale) -> None:
    """Fill the empty ``folder`` as a hoster's file server looks: sites, frameworks copied between them, odd things."""
    rng = random.Random(SEED)
    lines = _stock_of_lines(rng)
    frameworks = {name: list(_tree(rng, lines, scale.framework_files)) for name in _FRAMEWORKS}
    for number, name in zip(range(scale.sites), itertools.cycle(_FRAMEWORKS)):
        site = folder / f"{rng.randrange(256):02x}" / f"tenant-{number:02}-shop"
        for path, content in frameworks[name]:
            _write(site / "site/wwwroot" / name / path, content, rng)
        for path, content in _tree(rng, lines, scale.own_files):
            _write(site / "site/wwwroot" / path, content, rng)
        _write(site / "site/wwwroot/web.config", _config(number), rng)
    first = first_site(folder)
    for name in ODD_NAMES:
        _write(first / "site/wwwroot/odd names" / name, f"The content of {name}\n".encode(), rng)
    _write(first / "site/wwwroot" / _DEEP / "index.js", b"module.exports = {};\n", rng)
    _write(first / "site/wwwroot/empty.txt", b"", rng)
    (first / "data/empty folder").mkdir(parents=True)
    _write_log(first / "LogFiles/http/RawLogs/access.log", scale.log_bytes, rng)
    _write_zip(first / "site/deployments/release-2023-11.zip", scale.zip_bytes, rng)


def first_site(folder: Path) -> Path:
    return next(iter(sorted(folder.glob("*/tenant-00-shop"))))


def change_a_little(folder: Path) -> tuple[str, str, str]:
    """Change one file, add one, delete one; returns their paths inside the share."""
    root = first_site(folder) / "site/wwwroot"
    changed, added, deleted = root / "web.config", root / "odd names/Neu – added today.txt", root / "empty.txt"
    with changed.open("ab") as file:
        file.write(b"<!-- edited by the tenant -->\n")
    added.write_bytes(b"A page that was not there before.\n")
    deleted.unlink()
    paths = (str(path.relative_to(folder)) for path in (changed, added, deleted))
    return next(paths), next(paths), next(paths)


def destroy(folder: Path) -> None:
    """Delete everything in the folder; the folder stays."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def keep_copy(folder: Path, copy: Path) -> None:
    """Copy everything, times included. ``copy`` must not exist yet."""
    shutil.copytree(folder, copy)


def count(folder: Path) -> Count:
    files = folders = size = 0
    for parent, below, names in os.walk(folder):
        files += len(names)
        folders += len(below)
        size += sum(os.lstat(f"{parent}/{name}").st_size for name in names)
    return Count(files, folders, size)


def differences(kept: Path, share: Path) -> Iterator[str]:
    """In what ``share`` is not what ``kept`` is: names, kinds, sizes, times of files and folders, every byte."""
    before, after = _facts(kept), _facts(share)
    for path in sorted(before.keys() | after.keys()):
        was, now = before.get(path), after.get(path)
        if now is None:
            yield f"missing: {path}"
        elif was is None:
            yield f"not there before: {path}"
        elif was.is_folder != now.is_folder:
            yield f"a folder became a file, or a file a folder: {path}"
        elif was.size_bytes != now.size_bytes:
            yield f"{was.size_bytes:,} bytes became {now.size_bytes:,}: {path}"
        elif not was.is_folder and not _same_bytes(kept / path, share / path):
            yield f"other content: {path}"
        elif was.modified_ticks != now.modified_ticks:
            yield f"other time of change: {path}"


@dataclass(frozen=True)
class _Facts:
    is_folder: bool
    size_bytes: int
    """0 for a folder."""
    modified_ticks: int


def _facts(root: Path) -> dict[str, _Facts]:
    found: dict[str, _Facts] = {}
    for parent, folders, files in os.walk(root):
        for name in folders + files:
            path = Path(parent, name)
            status = path.lstat()
            is_folder = path.is_dir()
            size_bytes = 0 if is_folder else status.st_size
            found[str(path.relative_to(root))] = _Facts(is_folder, size_bytes, status.st_mtime_ns // TICK_NS)
    return found


def _same_bytes(one: Path, other: Path) -> bool:
    with one.open("rb") as left, other.open("rb") as right:
        while True:
            piece = left.read(1 << 20)
            if piece != right.read(1 << 20):
                return False
            if not piece:
                return True


def _stock_of_lines(rng: random.Random) -> list[bytes]:
    syllables = [a + b for a in "bcdfghklmnprstvw" for b in ("a", "e", "i", "o", "u", "er", "on", "al")]
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(3000)]
    return [
        f"  var {a} = {b}.{c}({d}, '{e}');\n".encode()
        for a, b, c, d, e in (rng.choices(words, k=5) for _ in range(8000))
    ]


def _tree(rng: random.Random, lines: list[bytes], files: int) -> Iterator[tuple[str, bytes]]:
    """``files`` files under folders of about twelve: path and content."""
    folders = [""]
    weights = [share for share, _ in _KINDS.values()]
    for number in range(files):
        if number % 12 == 0:
            folders.append(f"{rng.choice(folders[-8:])}part-{number:03}/")
        suffix = rng.choices(list(_KINDS), weights)[0]
        size = min(int(_KINDS[suffix][1] * rng.lognormvariate(0, 1)), 1_000_000)
        if suffix in (".png", ".dll"):
            content = rng.randbytes(size)
        else:
            content = b"".join(rng.choices(lines, k=size // 36 + 1))
        yield f"{folders[-1]}file-{number:03}{suffix}", content


def _config(number: int) -> bytes:
    return f'<configuration><add key="site" value="tenant-{number:02}" /></configuration>\n'.encode()


def _write_log(path: Path, size_bytes: int, rng: random.Random) -> None:
    """An access log: text, every line another time and caller."""
    pages = [f"/shop/item/{rng.randrange(10_000)}" for _ in range(500)]

    def lines() -> Iterator[bytes]:
        for number in itertools.count():
            minutes, second = divmod(number, 60)
            at = f"2023-11-07 {minutes // 60 % 24:02}:{minutes % 60:02}:{second:02}"
            caller = rng.getrandbits(24)
            yield (
                f"{at} GET {pages[caller % 500]} - 443 - 10.{caller >> 16}.{caller >> 8 & 255}.{caller & 255} "
                f"Mozilla/5.0+(Windows+NT+10.0;+Win64;+x64) 200 0 0 {caller % 900}\n"
            ).encode()

    path.parent.mkdir(parents=True)
    written = 0
    with path.open("wb") as file:
        for line in lines():
            written += file.write(line)
            if written >= size_bytes:
                break
    _set_time(path, rng)


def _write_zip(path: Path, size_bytes: int, rng: random.Random) -> None:
    """A real archive of incompressible entries of 1 MB."""
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for number in range(max(1, size_bytes // 1_000_000)):
            archive.writestr(f"lib/assembly-{number:03}.dll", rng.randbytes(1_000_000))
    _set_time(path, rng)


def _write(path: Path, content: bytes, rng: random.Random) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    _set_time(path, rng)


def _set_time(path: Path, rng: random.Random) -> None:
    at = (_FIRST_TIME_SECONDS + rng.randrange(_TIME_SPAN_SECONDS)) * 10**9 + rng.randrange(10**7) * TICK_NS
    os.utime(path, ns=(at, at))
