"""Azurite, Microsoft's own emulator of blob storage: the real part, launched for a test run."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.standins.certificate import Certificate

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = REPOSITORY / ".cache/node/node_modules/azurite/dist/src/blob/main.js"
"""Where ``scripts/setup.sh`` puts it."""

API_VERSION = "2025-11-05"

KEY = base64.b64encode(hashlib.sha256(b"every account of a test's emulator").digest()).decode()
"""The key of all accounts. Not a secret: the emulator listens on loopback only and dies with the run."""

_ACCOUNTS = 2000
"""As many as fit into one environment variable."""
_START_LIMIT_SECONDS = 60


class AzuriteMissing(Exception):
    """The emulator is not installed; its text says how it can be."""


@dataclass
class Azurite:
    """A running emulator. Accounts are made up front, so that each test gets one that nobody else uses."""

    port: int
    certificate: Certificate | None
    _numbers: Iterator[int] = field(default_factory=lambda: iter(range(_ACCOUNTS)), repr=False)

    @property
    def scheme(self) -> str:
        return "https" if self.certificate else "http"

    def new_account(self) -> str:
        return _account(next(self._numbers))

    def url(self, account: str) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/{account}"


@contextlib.contextmanager
def running_azurite(
    folder: Path, *, certificate: Certificate | None = None, in_memory: bool = True
) -> Iterator[Azurite]:
    """Azurite on a free loopback port until the block ends; its log and data lie in ``folder``.

    With a certificate it speaks https and takes Entra ID tokens too (``--oauth basic``). Ready when yielded.
    """
    node = shutil.which("node")
    if node is None or not PROGRAM.exists():
        raise AzuriteMissing("Azurite is not installed: run scripts/setup.sh test (it needs Node.js 20 or later)")
    for attempt in itertools.count(1):
        port = _free_port()
        command = [node, str(PROGRAM), "--blobHost", "127.0.0.1", "--blobPort", str(port), "--silent"]
        command += ["--loose", "--skipApiVersionCheck", "--disableTelemetry"]
        command += ["--inMemoryPersistence"] if in_memory else ["--location", str(folder / "data")]
        if certificate:
            command += ["--cert", str(certificate.chain), "--key", str(certificate.key), "--oauth", "basic"]
        with _process(command, folder / f"azurite-{port}.log") as process:
            if not _ready(process, port):
                log = (folder / f"azurite-{port}.log").read_text()
                if "EADDRINUSE" in log and attempt < 5:
                    continue
                raise RuntimeError(f"Azurite did not start: {log}")
            yield Azurite(port, certificate)
            return


def _account(number: int) -> str:
    return f"test{number:04}"


@contextlib.contextmanager
def _process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    accounts = ";".join(f"{_account(number)}:{KEY}" for number in range(_ACCOUNTS))
    environment = {**os.environ, "AZURITE_ACCOUNTS": accounts, "NODE_OPTIONS": "--max-old-space-size=4096"}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _ready(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the port answers; False when the process ended or took too long."""
    deadline = time.monotonic() + _START_LIMIT_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return process.poll() is None
        time.sleep(0.05)
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
