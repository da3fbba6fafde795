"""What the benchmarks stand on: data that is the same everywhere, a sink that keeps its word, a proxy that waits."""

import hashlib
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.benchmarks import datasets, delay, measure
from tests.benchmarks.servers import Sink, sink


def call(url: str, method: str = "GET", body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, sent, method=method), timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def digest(folder: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        changing = path.name == datasets.CHANGING_FILE
        whole.update(f"{path.relative_to(folder)} {0 if changing else path.stat().st_mtime_ns}\n".encode())
        whole.update(path.read_bytes())
    return whole.hexdigest()


def test_a_data_set_is_the_same_whenever_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(datasets, "cache_folder", lambda name=name: tmp_path / name)
        made.append(datasets.small_files(1_000))
    assert made[0].files == sum(p.is_file() for p in made[0].path.rglob("*")) == 1_000
    assert digest(made[0].path) == digest(made[1].path)


def test_the_sink_puts_if_absent_reads_ranges_and_lists_in_pages() -> None:
    with sink(latency_ms=0, keep_mib=4, discard_from_kib=None) as served:
        share = f"{served.url}/share"
        served.make_container("share")
        for name in ("config", "data/aa/1", "data/aa/2", "data/bb/3", "keys/k"):
            assert call(f"{share}/{name}", "PUT", name.encode() * 3, If_None_Match="*")[0] == 201
        assert call(f"{share}/config", "PUT", b"other", If_None_Match="*")[0] == 409
        assert call(f"{share}/config", x_ms_range="bytes=2-7") == (206, b"nfigco")
        assert call(f"{share}/nothing")[0] == 404
        status, folders = call(f"{share}?restype=container&comp=list&prefix=data/&delimiter=/")
        assert (status, folders.count(b"<BlobPrefix>"), folders.count(b"<Blob>")) == (200, 2, 0)
        assert b"<NextMarker>data/aa/2<" in call(f"{share}?restype=container&comp=list&maxresults=2")[1]
        rest = call(f"{share}?restype=container&comp=list&marker=data/aa/2")[1]
        assert rest.count(b"<Blob>") == 3
        assert call(f"{share}/config", "DELETE")[0] == 202
        stats = served.stats(reset=True)
        assert (stats.blobs, stats.requests["put"], stats.requests["list"]) == (4, 6, 3)
        assert served.stats().request_count == 0


def test_the_sink_joins_blocks_and_keeps_large_bodies() -> None:
    body = bytes(range(256)) * 12_000
    with sink(latency_ms=0, keep_mib=16, discard_from_kib=None) as served:
        served.make_container("share")
        blob = f"{served.url}/share/large"
        for block, part in (("b", body[1_000_000:]), ("a", body[:1_000_000])):
            assert call(f"{blob}?comp=block&blockid={block}", "PUT", part)[0] == 201
        order = b"<BlockList><Latest>a</Latest><Latest>b</Latest></BlockList>"
        assert call(f"{blob}?comp=blocklist", "PUT", order)[0] == 201
        assert call(blob) == (200, body)
        assert call(blob, Range="bytes=999990-1000009") == (206, body[999990:1000010])


def test_the_sink_discards_what_it_was_told_to_and_says_so_when_it_is_read() -> None:
    with sink(latency_ms=0, keep_mib=4, discard_from_kib=1024) as served:
        served.make_container("share")
        assert call(f"{served.url}/share/pack", "PUT", bytes(3_000_000))[0] == 201
        assert served.stats().stored_bytes == 3_000_000
        assert call(f"{served.url}/share/pack")[0] == 500


def test_a_repository_is_exported_under_its_names(tmp_path: Path) -> None:
    with sink(latency_ms=0, keep_mib=4, discard_from_kib=None) as served:
        served.make_container("share")
        call(f"{served.url}/share/data/ab/abcd", "PUT", b"pack")
        Sink(served.port).export("share", tmp_path)
        assert (tmp_path / "data" / "ab" / "abcd").read_bytes() == b"pack"


def test_the_proxy_adds_at_least_the_round_trip_asked_for() -> None:
    assert delay.measured_round_trip_ms(10, tries=5) >= 10


def test_a_measured_command_has_its_output_its_memory_and_the_cpu_of_its_children() -> None:
    inner = "import time; t = time.process_time()\nwhile time.process_time() - t < 0.2: pass"
    outer = (
        "import subprocess, sys; held = bytearray(80_000_000)\n"
        f"subprocess.run([sys.executable, '-c', {inner!r}]); print('ok')"
    )
    measured = measure.run([sys.executable, "-c", outer], {})
    assert (measured.exit_code, measured.output.strip()) == (0, "ok")
    assert measured.cpu_seconds >= 0.2
    assert measured.peak_bytes >= 80_000_000
