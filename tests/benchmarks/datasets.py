"""The data sets: made from a seed, the same bytes and times on every machine, kept for the next run.

They lie in the system's temporary folder under a name that holds the seed, the parameters and `VERSION`; one that
is there and finished is used again. Nothing else may write into them, except `touch_one_file`.
"""

import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SEED: Final = 20261123
VERSION: Final = 4
"""To be raised whenever what is made from the same parameters changes."""

FILES_PER_SITE: Final = 500
CHANGING_FILE: Final = "changing.txt"
"""The file that `touch_one_file` rewrites, at the top of the data set."""

_FIRST_TIME_SECONDS: Final = 1_700_000_000
_TIME_SPAN_SECONDS: Final = 60_000_000


@dataclass(frozen=True)
class Dataset:
    """A folder with files, and what is known about it. Counts are of regular files."""

    name: str
    path: Path
    files: int
    bytes: int


def cache_folder() -> Path:
    """Where the data sets are kept; served as one share."""
    folder = Path(tempfile.gettempdir()) / "lifeboat-benchmark-data"
    folder.mkdir(exist_ok=True)
    return folder


def small_files(count: int, seed: int = SEED) -> Dataset:
    """A tenant share: sites of 500 files, each with its own content and a copy of one of a few frameworks.

    About 6.3 KB a file, two fifths of the files copied between sites, fifteen files to a folder; a quarter of the
    bytes are images and fonts, the rest text that zstd brings to about a third.
    """
    return _cached(f"small-{count}", seed, lambda folder: _write_small_files(folder, count, seed))


def big_files(count: int, size: int, seed: int = SEED) -> Dataset:
    """Archives: `count` files of `size` bytes each, incompressible but for the headers of their entries."""
    return _cached(f"big-{count}x{size >> 20}", seed, lambda folder: _write_big_files(folder, count, size, seed))


def tiny_files(count: int, seed: int = SEED) -> Dataset:
    """Many different files of a few dozen bytes, a hundred to a folder: for memory, not for speed."""
    return _cached(f"tiny-{count}", seed, lambda folder: _write_tiny_files(folder, count))


def touch_one_file(dataset: Dataset, run: int) -> None:
    """Gives the one changing file content that differs for each `run`."""
    path = dataset.path / CHANGING_FILE
    path.write_text(f"Run {run} at {time.time_ns()}\n" * 20)


def _cached(name: str, seed: int, write: Callable[[Path], None]) -> Dataset:
    folder = cache_folder() / f"{name}-seed{seed}-v{VERSION}"
    done = folder.with_suffix(".done")
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        write(folder)
        (folder / CHANGING_FILE).write_text("Run 0\n")
        count = size = 0
        for parent, _, names in os.walk(folder):
            count += len(names)
            size += sum(os.lstat(f"{parent}/{n}").st_size for n in names)
        done.write_text(f"{count} {size}")
    files, size_bytes = map(int, done.read_text().split())
    return Dataset(name, folder, files, size_bytes)


# --- small files


class _Texts:
    """Text of each kind at about 100 MB a second: lines drawn from a large stock of made-up ones."""

    _STOCK = 12_000

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        syllables = [a + b for a in "bcdfghklmnprstvwz" for b in ("a", "e", "i", "o", "u", "er", "on", "in", "al")]
        self._words = ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(6_000)]
        self._weights = [1 / (rank + 8) for rank in range(len(self._words))]
        shapes: dict[str, tuple[str, ...]] = {
            ".js": ("  var {} = {}.{}({}, {});\n", "function {}({}) {{ return {}.{}; }}\n", "// {} {} {} {} {}\n"),
            ".css": (".{}-{} {{ {}: {}px; }}\n", "#{} .{} {{ color: #{}; {}: {}; }}\n"),
            ".html": ('<div class="{}"><p>{} {} {} {} {}</p></div>\n', '<a href="/{}/{}">{} {}</a>\n'),
            ".php": ("    ${} = $this->{}('{}', ${});\n", "    if (${} === '{}') {{ return {}(${}); }}\n"),
            ".json": ('    "{}": "{}/{}/{}",\n', '    "{}": {{ "{}": "{}" }},\n'),
            ".txt": ("{} {} {} {} {} {} {} {} {}.\n", "{} {}: {} {} {}\n"),
        }
        self._lines = {suffix: self._stock(forms) for suffix, forms in shapes.items()}

    def _stock(self, shapes: tuple[str, ...]) -> list[bytes]:
        words = iter(self._rng.choices(self._words, self._weights, k=self._STOCK * 10))
        return [
            shape.format(*(next(words) for _ in range(shape.count("{}")))).encode()
            for shape in self._rng.choices(shapes, k=self._STOCK)
        ]

    def word(self) -> str:
        return self._rng.choice(self._words)

    def text(self, suffix: str, size: int) -> bytes:
        """`size` bytes."""
        content = b"".join(self._rng.choices(self._lines[suffix], k=size // 24 + 1))
        while len(content) < size:
            content += b"".join(self._rng.choices(self._lines[suffix], k=size // 24 + 1))
        return content[:size]


_KINDS: Final = {  # suffix: (share of the files, median size in bytes, spread)
    ".js": (0.34, 3_050, 1.1),
    ".css": (0.07, 3_300, 1.1),
    ".html": (0.09, 4_000, 1.0),
    ".php": (0.22, 3_750, 1.0),
    ".json": (0.12, 1_050, 1.2),
    ".txt": (0.06, 2_100, 1.2),
    ".png": (0.07, 7_600, 1.3),
    ".woff2": (0.03, 12_900, 0.8),
}
_MOST_BYTES: Final = 1_500_000


def _tree(rng: random.Random, texts: _Texts, count: int) -> Iterator[tuple[str, bytes]]:
    """`count` files under folders of about fifteen: (path, content)."""
    folders = [""]
    weights = [share for share, _, _ in _KINDS.values()]
    for number in range(count):
        if number % 15 == 0:
            folders.append(f"{rng.choice(folders[-12:])}{texts.word()}{number}/")
        suffix = rng.choices(list(_KINDS), weights)[0]
        _, median, spread = _KINDS[suffix]
        size = min(int(median * rng.lognormvariate(0, spread)), _MOST_BYTES)
        if rng.random() < 0.004:
            size = 0
        content = rng.randbytes(size) if suffix in (".png", ".woff2") else texts.text(suffix, size)
        yield f"{folders[-1]}{texts.word()}{number}{suffix}", content


def _write_small_files(folder: Path, count: int, seed: int) -> None:
    rng = random.Random(seed)
    texts = _Texts(rng)
    sites = max(count // FILES_PER_SITE, 2)
    framework_files = int(FILES_PER_SITE * 0.44)
    frameworks = [list(_tree(rng, texts, framework_files)) for _ in range(min(4, sites // 2))]
    rest = count - 1  # the changing file
    made: set[str] = set()
    for site in range(sites):
        mine = rest // (sites - site)
        rest -= mine
        root = f"{folder}/{site % 256:02x}/{texts.word()}-{site}/site/wwwroot"
        for path, content in frameworks[site % len(frameworks)]:
            _write(f"{root}/framework/{path}", content, rng, made)
        for path, content in _tree(rng, texts, mine - framework_files):
            _write(f"{root}/{path}", content, rng, made)


def _write(path: str, content: bytes, rng: random.Random, made: set[str]) -> None:
    """`made`: the folders that exist; added to."""
    parent = path.rpartition("/")[0]
    if parent not in made:
        Path(parent).mkdir(parents=True, exist_ok=True)
        made.add(parent)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        os.write(handle, content)
        at = (_FIRST_TIME_SECONDS + rng.randrange(_TIME_SPAN_SECONDS)) * 10**9 + rng.randrange(10**7) * 100
        os.utime(handle, ns=(at, at))
    finally:
        os.close(handle)


# --- the others


def _write_big_files(folder: Path, count: int, size: int, seed: int) -> None:
    rng = random.Random(seed)
    entry = b"PK\x03\x04\x14\x00\x00\x00\x08\x00" + b"wwwroot/packages/some.library.of.ours/lib/net48/Library.dll" * 60
    for number in range(count):
        with (folder / f"archive-{number}.zip").open("wb") as file:
            left = size
            while left:
                piece = (entry + rng.randbytes(min(left, 1 << 20)))[: min(left, 1 << 20)]
                file.write(piece)
                left -= len(piece)


def _write_tiny_files(folder: Path, count: int) -> None:
    for first in range(0, count - 1, 100):
        parent = f"{folder}/{first // 100_000:03d}/{first // 100 % 1000:03d}"
        Path(parent).mkdir(parents=True)
        for number in range(first, min(first + 100, count - 1)):
            handle = os.open(f"{parent}/file-{number}.txt", os.O_WRONLY | os.O_CREAT, 0o644)
            os.write(handle, b"content of %d\n" % number)
            os.close(handle)
