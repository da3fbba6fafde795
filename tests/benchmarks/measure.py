"""One command, measured: wall time, CPU and memory of its whole process tree."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SAMPLE_SECONDS: Final = 0.05
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Measured:
    """What one command took. A command that failed has its exit code and the end of what it said."""

    exit_code: int
    seconds: float
    cpu_seconds: float
    """User and system time of the command and of every child that it waited for."""
    peak_bytes: int
    """Greatest resident memory of the process tree (sampled; for one process the kernel's own mark)."""
    output: str
    errors: str


def run(
    command: Sequence[str], environment: Mapping[str, str], *, cwd: Path | None = None, timeout_seconds: float = 1800
) -> Measured:
    """Runs it to its end. Only what is in `environment` is set for it, besides PATH."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        env={"PATH": os.environ.get("PATH", os.defpath), **environment},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    watcher = _Watcher(process.pid)
    watcher.start()
    said: list[str] = ["", ""]
    readers = [
        threading.Thread(target=lambda at=at, pipe=pipe: said.__setitem__(at, pipe.read()), daemon=True)
        for at, pipe in enumerate((process.stdout, process.stderr))
    ]
    for reader in readers:
        reader.start()
    alarm = threading.Timer(timeout_seconds, process.kill)
    alarm.start()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    alarm.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    watcher.stop()
    for reader in readers:
        reader.join(5)
    return Measured(
        exit_code=process.returncode,
        seconds=seconds,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_bytes=watcher.peak_bytes,
        output=said[0],
        errors=said[1],
    )


class _Watcher(threading.Thread):
    """Samples the memory of a process and its descendants."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak_bytes = 0
        self._pid = pid
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            marks = [memory for pid in descendants(self._pid) if (memory := _resident(pid))]
            now = marks[0][1] if len(marks) == 1 else sum(current for current, _ in marks)
            self.peak_bytes = max(self.peak_bytes, now)

    def stop(self) -> None:
        self._over.set()
        self.join()


def descendants(pid: int) -> Iterator[int]:
    """The process itself first, then its children and theirs."""
    yield pid
    try:
        children = [int(c) for task in Path(f"/proc/{pid}/task").iterdir() for c in _read(task / "children").split()]
    except OSError:
        return
    for child in children:
        yield from descendants(child)


def cpu_seconds_of(pids: Sequence[int]) -> float:
    """CPU used so far by these processes, their living descendants, and the ended ones that were waited for."""
    total = 0
    for pid in {p for root in pids for p in descendants(root)}:
        fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
        if fields:
            total += sum(map(int, fields[11:15]))
    return total / _TICKS


def _resident(pid: int) -> tuple[int, int] | None:
    """Resident bytes now, and their greatest value so far."""
    found = {
        line.split(":")[0]: int(line.split()[1]) * 1024
        for line in _read(Path(f"/proc/{pid}/status")).splitlines()
        if line.startswith(("VmRSS:", "VmHWM:"))
    }
    return (found["VmRSS"], found["VmHWM"]) if len(found) == 2 else None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
