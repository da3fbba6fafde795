"""What the measured commands talk to: the sink, the delaying proxy, Samba. All on loopback, all context managers."""

import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from tests.benchmarks import measure
from tests.standins.samba import PASSWORD, USERNAME, Samba

ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The emulator's account and key, published by Microsoft; the sink checks neither."""

_PROJECT = Path(__file__).parents[2]


@contextmanager
def _helper(module: str, *arguments: str) -> Iterator[tuple[int, int]]:
    """A server of this package in a process of its own: (pid, port). It ends when its input is closed."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=_PROJECT
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.pid, int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


@dataclass(frozen=True)
class SinkStats:
    """Since the last `reset`; `stored_bytes` and `blobs` are what is there now."""

    requests: dict[str, int]
    bytes_in: int
    bytes_out: int
    blobs: int
    stored_bytes: int
    cpu_seconds: float

    @property
    def request_count(self) -> int:
        return sum(self.requests.values())


@dataclass(frozen=True)
class Sink:
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}"

    def empty(self) -> None:
        self._get("/__empty")

    def stats(self, *, reset: bool = False) -> SinkStats:
        return SinkStats(**json.loads(self._get("/__stats" + ("?reset" if reset else ""))))

    def export(self, container: str, folder: Path) -> None:
        """Writes every blob of a container into a folder, under its name."""
        page = self._get(f"/{ACCOUNT}/{container}?restype=container&comp=list&maxresults=1000000")
        for element in ElementTree.fromstring(page).iter("Name"):
            path = folder / (element.text or "")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self._get(f"/{ACCOUNT}/{container}/{element.text}"))

    def make_container(self, name: str) -> None:
        self._get(f"/{ACCOUNT}/{name}?restype=container", method="PUT")

    def _get(self, path: str, method: str = "GET") -> bytes:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            body: bytes = answer.read()
            return body


@contextmanager
def sink(*, latency_ms: float, keep_mib: int, discard_from_kib: int | None) -> Iterator[Sink]:
    limits = [] if discard_from_kib is None else ["--discard-from-kib", str(discard_from_kib)]
    arguments = ["--latency-ms", str(latency_ms), "--keep-mib", str(keep_mib), *limits]
    with _helper("tests.benchmarks.sink", *arguments) as (_, port):
        yield Sink(port)


@dataclass
class Share:
    """The folder of data sets, served by Samba; with a proxy in front of it for each round-trip time asked for."""

    root: Path
    _samba: Samba
    _proxies: ExitStack
    _ports: dict[float, int] = field(default_factory=dict)

    username = USERNAME
    password = PASSWORD

    def port(self, round_trip_ms: float) -> int:
        if round_trip_ms not in self._ports:
            if round_trip_ms:
                delay = _helper("tests.benchmarks.delay", str(self._samba.port), str(round_trip_ms))
                self._ports[round_trip_ms] = self._proxies.enter_context(delay)[1]
            else:
                self._ports[round_trip_ms] = self._samba.port
        return self._ports[round_trip_ms]

    def path(self, folder: Path) -> str:
        """The share's name and the path in it, with `/` between."""
        return f"data/{folder.relative_to(self.root).as_posix()}"

    def cpu_seconds(self) -> float:
        return measure.cpu_seconds_of(self._daemons)

    @property
    def _daemons(self) -> list[int]:
        children = Path(f"/proc/self/task/{threading.main_thread().native_id}/children").read_text().split()
        return [int(c) for c in children if Path(f"/proc/{c}/comm").read_text().strip() == "smbd"]


@contextmanager
def share(root: Path) -> Iterator[Share]:
    """Raises SambaCannotStart."""
    with ExitStack() as proxies, Samba("signing-only", root=root, extra=("smb encrypt = default",)) as samba:
        yield Share(root, samba, proxies)


def samba_version() -> str:
    try:
        said = subprocess.run(["smbd", "--version"], capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return "no Samba"
    return said.strip().replace("Version ", "Samba ").replace("-Debian", "")
