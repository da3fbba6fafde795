"""The main job, seen once on real parts: ``make demo``.

A share like a hoster's, served by a real Samba, the databases of a stand-in for SQL Server and the secrets in one for
Key Vault are backed up into a real Azurite, changed, backed up again, checked by Lifeboat and by stock restic, read
back, drilled, protected, destroyed together with the vault, and brought back, byte for byte and row for row. Every
command is run as an operator would run it. Exit code 0 when all is as it should be, 1 when anything is not, 130 when
interrupted. Everything but the runbook, which is to be read, lies in a temporary folder that is removed at the end;
servers are stopped whatever happens.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table
from rich.text import Text

from scripts import demo_share
from scripts.demo_databases import HOSTING, Databases, running_databases
from scripts.demo_secrets import Secrets, running_secrets
from scripts.demo_vault import DemoVault, running_vault
from shared.errors import DriverMissing, LifeboatError
from shared.recovery_point.listing import list_points, show_point
from shared.settings import Settings
from shared.terminal import bytes_text, duration_text
from tests.standins import restic
from tests.standins.azurite import KEY, PROGRAM, REPOSITORY, Azurite, AzuriteMissing, running_azurite
from tests.standins.rights_proxy import LANDING, running_rights_proxy
from tests.standins.samba import PASSWORD, USERNAME, Samba, SambaCannotStart

SECRET_SETTINGS = (
    "LIFEBOAT_SHARE_PASSWORD",
    "LIFEBOAT_VAULT_KEY",
    "LIFEBOAT_SQL_PASSWORD",
    "LIFEBOAT_DRILL_SQL_PASSWORD",
    "LIFEBOAT_LANDING_KEY",
)
KEEP_ONE = {
    "LIFEBOAT_KEEP_LAST": "1",
    "LIFEBOAT_KEEP_WITHIN": "0s",
    "LIFEBOAT_KEEP_DAILY": "0",
    "LIFEBOAT_KEEP_WEEKLY": "0",
    "LIFEBOAT_KEEP_MONTHLY": "0",
}
"""By default all that is younger than two days is kept, so nothing of a demo would go."""
UNPROTECTED = tuple(f"recovery-points/{folder}/" for folder in ("runs", "verifications", "drills", "preflight"))
"""Results, and what preflight wrote, of which nothing is restored."""
RUNBOOK = REPOSITORY / ".cache" / "demo-runbook.html"
"""What the demo leaves behind, to be read."""
INTERRUPTED = 130
_OTHERS = ("LIFEBOAT_", "AZURE_", "IDENTITY_", "MSI_", "RESTIC_", "FORCE_COLOR")
"""What commands must not inherit from whoever runs the demo."""


class NotAsItShouldBe(Exception):
    """The demo has shown something else than it promised; the text says what."""


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    code: int
    output: str
    seconds: float
    calls: Counter[str]
    """Requests to the vault by kind: put, get, list, stat, delete, other."""


@dataclass(frozen=True)
class Line:
    """A row of the closing table."""

    what: str
    seconds: float
    calls: Counter[str] | None


@dataclass(frozen=True)
class Lost:
    """What the worst day has destroyed, and what everything is compared with when it is back."""

    download: bytes
    rows: Mapping[str, list[tuple[object, ...]]]
    """By database."""


class Screen:
    """What is printed, on a terminal of any width and in a pipe alike (there: 80 columns, no colour)."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, markup=False, emoji=False)
        self._step = 0
        self._width = min(self.console.width, 110)
        plain = not self.console.encoding.startswith("utf")
        self._good, self._bad = (" + ", " x ") if plain else (" ✓ ", " ✗ ")

    def title(self, text: str) -> None:
        self._print(Text(text, "bold"))

    def headline(self, text: str) -> None:
        """Begin a step."""
        self._step += 1
        self.console.print()
        first, *rest = textwrap.wrap(f"{self._step}. {text}", self._width, subsequent_indent="   ")
        for line in (first, *rest):
            self._print(Text(line, "bold"))

    def says(self, text: str) -> None:
        self._wrapped(text, "   ", "")

    def good(self, text: str) -> None:
        self._wrapped(text, self._good, "green")

    def bad(self, text: str) -> None:
        self._wrapped(text, self._bad, "bold red", "bold red")

    def command(self, text: str) -> None:
        self._wrapped(f"$ {text}", "   ", "", "cyan")

    def output(self, text: str) -> None:
        """A line that a command printed; further lines of a long one are set in."""
        indent = "   " + " " * (len(text) - len(text.lstrip()))
        for number, line in enumerate(textwrap.wrap(text.strip(), self._width - len(indent) - 2) or [""]):
            self._print(Text(f"{indent}{'  ' if number else ''}{line}".rstrip(), "dim"))

    def table(self, table: Table) -> None:
        with self.console.capture() as captured:
            self.console.print(table)
        for line in captured.get().splitlines():
            self._print(Text("   ") + Text.from_ansi(line.rstrip()))

    def end(self, text: str, good: bool) -> None:
        self.console.print()
        (self.good if good else self.bad)(text)

    def _wrapped(self, text: str, mark: str, style: str, body: str = "default") -> None:
        lines = textwrap.wrap(text, self._width - len(mark), break_on_hyphens=False) or [""]
        for number, line in enumerate(lines):
            begin = Text(mark if number == 0 else " " * len(mark), style)
            self._print(begin.append(line, body) if line else Text())

    def _print(self, text: Text) -> None:
        self.console.print(text, soft_wrap=True)


@dataclass
class Demo:
    """The story, step by step. Each step raises ``NotAsItShouldBe`` where it does not come true."""

    screen: Screen
    folder: Path
    share: Path
    share_url: str
    vault: DemoVault
    databases: Databases | None
    """None where no ODBC driver is to be had."""
    landing_url: str
    secrets: Secrets
    lines: list[Line] = field(default_factory=list)

    @property
    def kept(self) -> Path:
        """A copy of the share as it was when it was last backed up: what the restore is compared with."""
        return self.folder / "kept-copy"

    def settings(self) -> dict[str, str]:
        smb = {"LIFEBOAT_SHARE_USERNAME": USERNAME, "LIFEBOAT_SHARE_PASSWORD": PASSWORD}
        return {
            "LIFEBOAT_SHARE_URL": self.share_url,
            **(smb if self.share_url.startswith("smb:") else {}),
            "LIFEBOAT_VAULT_URL": self.vault.backup.url(self.vault.account),
            "LIFEBOAT_VAULT_KEY": KEY,
            **self.secrets.settings(),
            "LIFEBOAT_DRILL_SHARE_SAMPLE": "32M",
            **(
                {**self.databases.settings(), "LIFEBOAT_LANDING_URL": self.landing_url, "LIFEBOAT_LANDING_KEY": KEY}
                if self.databases
                else {}
            ),
        }

    def keeper(self) -> dict[str, str]:
        """The settings of the keeper's commands."""
        return self.settings() | {"LIFEBOAT_VAULT_URL": self.vault.keeper.url(self.vault.account)}

    def tell(self) -> None:
        self.tell_settings()
        self.looked_first()
        self.secrets_kept()
        first = self.first_backup()
        second = self.second_backup(first)
        self.points()
        self.check()
        self.screen.headline("A judge that we did not write: stock restic checks the same repository")
        self.stock_restic()
        self.destroyed()
        self.restored(second)
        self.compared()
        if self.databases:
            self.secrets_rotated(self.databases)
        newest = self.newest_whole_point()
        self.verified(newest)
        self.drilled()
        self.status()
        self.kept_and_protected()
        lost = self.worst_day()
        self.vault_brought_back()
        self.all_restored(newest, lost)
        self.runbook(newest)

    # --- steps ---

    def tell_settings(self) -> None:
        self.screen.says("")
        self.screen.says("The settings of every command below, all in the environment:")
        for name, value in self.settings().items():
            self.screen.says(f"  {name}={'(secret)' if name in SECRET_SETTINGS else value}")

    def looked_first(self) -> None:
        self.screen.headline("Before anything else: the way to every part, looked at from here")
        told = ("FAIL", "preflight:")
        ran = self.lifeboat("preflight", what="preflight", shown=lambda line: line.startswith(told))
        self.expect_code(ran, 0)
        passed = sum(line.startswith("PASS") for line in ran.output.splitlines())
        self.screen.good(
            f"{passed} checks pass: names, ports, logins, every permission by its name, what the vault must refuse, "
            "SQL Server's own way to the landing account, clocks"
        )

    def secrets_kept(self) -> None:
        self.screen.headline("The secrets: what the operator downloads in the portal is kept in the Key Vault")
        ran = self.lifeboat("secrets", "put", str(self.secrets.download), what="secrets put")
        self.expect_code(ran, 0)
        self.screen.good("kept with its hash, as a version of its own; nothing that it holds was printed")

    def first_backup(self) -> dict[str, Any]:
        self.screen.headline("The first backup reads everything")
        ran = self.lifeboat("backup", what="first backup")
        self.expect_code(ran, 0)
        record = self.record(ran)
        share = record["components"]["share"]
        there = demo_share.count(self.share)
        self.expect(record["status"] == "complete" and record["whole"], "the recovery point is not complete and whole")
        self.expect(share["files"] == there.files, f"{share['files']:,} files backed up of {there.files:,}")
        self.expect(share["bytes"] == there.bytes, f"{share['bytes']:,} bytes backed up of {there.bytes:,}")
        self.screen.good(
            f"{share['files']:,} files ({bytes_text(share['bytes'])}) in {duration_text(ran.seconds)}, start-up "
            f"included: {bytes_text(share['bytes'] / ran.seconds)}/s"
        )
        self.screen.good(
            f"stored {bytes_text(share['bytes_stored'])}: copies of frameworks are kept once, text is compressed, "
            f"all is encrypted; {ran.calls['put']:,} blobs written, not {share['files']:,}"
        )
        self.expect_databases(record)
        return record

    def expect_databases(self, record: dict[str, Any]) -> None:
        if not self.databases:
            return
        component = record["components"]["databases"]
        self.expect(component["status"] == "complete", "the databases are not complete")
        names = ", ".join(component["databases"])
        self.screen.good(
            f"databases beside it: {names}; each BACKUP verified by RESTORE VERIFYONLY and copied into the vault "
            f"({bytes_text(component['bytes_stored'])}); the moments of all parts lie {record['skew_seconds']:.1f} s "
            "apart"
        )

    def second_backup(self, first: dict[str, Any]) -> dict[str, Any]:
        self.screen.headline("One file changes, one comes, one goes; the second backup reads only those")
        changed, added, deleted = demo_share.change_a_little(self.share)
        self.screen.says(f"changed: {changed}")
        self.screen.says(f"added:   {added}")
        self.screen.says(f"deleted: {deleted}")
        demo_share.keep_copy(self.share, self.kept)
        ran = self.lifeboat("backup", what="second backup")
        self.expect_code(ran, 0)
        record = self.record(ran)
        share = record["components"]["share"]
        there = demo_share.count(self.share)
        unchanged = first["components"]["share"]["files"] - 2
        self.expect(record["status"] == "complete", "the recovery point is not complete")
        self.expect(share["files"] == there.files, f"{share['files']:,} files in the snapshot of {there.files:,}")
        self.expect(share["unchanged"] == unchanged, f"{share['unchanged']:,} files unchanged, not {unchanged:,}")
        self.screen.good(
            f"{duration_text(ran.seconds)}: {share['files']:,} files looked at, {share['files'] - share['unchanged']} "
            f"read; {bytes_text(share['bytes_stored'])} more in the vault, in {ran.calls['put']} blobs"
        )
        return record

    def points(self) -> None:
        self.screen.headline("What there is to go back to")
        ran = self.lifeboat("points", what="points")
        self.expect_code(ran, 0)
        self.expect(ran.output.count(" complete ") >= 2, "not two complete points")
        self.screen.good("two recovery points, each with everything that is configured")

    def check(self) -> None:
        self.screen.headline("Lifeboat checks the vault: structure, and every stored byte")
        ran = self.lifeboat("check", "--read-data", what="check --read-data")
        self.expect_code(ran, 0)
        self.screen.good(f"nothing damaged, in {duration_text(ran.seconds)}")

    def stock_restic(self) -> None:
        binaries = restic.installed()
        if not binaries:
            self.screen.says("skipped: restic is not installed here (on Debian: apt-get install restic)")
            return
        copy = self.folder / "vault-copy"
        with self.vault.store("share") as store:
            restic.copy_container(store, copy)
            blobs = list(store.list(""))
        size = sum(blob.size_bytes for blob in blobs)
        self.screen.says(
            f"The repository is the vault's container, copied out of Azurite: {len(blobs)} blobs, {bytes_text(size)}."
        )
        for binary in binaries:
            version = ".".join(map(str, restic.version_of(binary)))
            self.screen.command(f"restic check --read-data        # restic {version}")
            ran = self.run(
                [str(binary), "--no-cache", "check", "--read-data"],
                {"RESTIC_REPOSITORY": str(copy), "RESTIC_PASSWORD": self.secrets.repository_password()},
                shown=lambda line: "no errors" in line,
            )
            if ran.code:
                for line in ran.output.splitlines():
                    self.screen.output(line)
            self.lines.append(Line(f"restic {version} check --read-data", ran.seconds, None))
            self.expect(ran.code == 0 and "no errors were found" in ran.output, f"restic {version} found errors")
        shutil.rmtree(copy)
        names = " and ".join("restic " + ".".join(map(str, restic.version_of(binary))) for binary in binaries)
        self.screen.good(f"{names}: no errors")

    def destroyed(self) -> None:
        self.screen.headline("Disaster: the share is emptied. A backup now must not pass for a good one")
        demo_share.destroy(self.share)
        left = demo_share.count(self.share)
        self.expect((left.files, left.folders) == (0, 0), "the share is not empty")
        ran = self.lifeboat("backup", "--only", "share", what="backup of the emptied share")
        self.expect_code(ran, 1)
        record = self.record(ran)
        self.expect("share-shrank" in ran.output, "the reason share-shrank is not told")
        self.expect(record["status"] == "failed", f"the point is {record['status']}, not failed")
        self.expect(record["suspect"], "the point is not marked suspect")
        self.screen.good("refused with exit code 1: the point is failed and suspect, so it replaces no earlier one")

    def restored(self, newest_good: dict[str, Any]) -> None:
        self.screen.headline("The share is brought back")
        ran = self.lifeboat("restore", "share", what="restore share")
        self.expect_code(ran, 0)
        self.expect(f" of {newest_good['point']} to " in ran.output, "it is not the newest good point that came back")
        there = demo_share.count(self.share)
        self.screen.good(
            f"{there.files:,} files ({bytes_text(there.bytes)}) in {duration_text(ran.seconds)}: "
            f"{bytes_text(there.bytes / ran.seconds)}/s, from the newest good point"
        )

    def compared(self) -> None:
        self.screen.headline("Is it what it was? Compared with a copy that was set aside")
        began = time.monotonic()
        found = list(demo_share.differences(self.kept, self.share))
        seconds = time.monotonic() - began
        for difference in found[:20]:
            self.screen.says(difference)
        self.expect(not found, f"{len(found):,} differences, the first of them above")
        there = demo_share.count(self.kept)
        self.screen.good(
            f"{there.files:,} files and {there.folders:,} folders, {there.bytes:,} bytes: the same names, sizes, times "
            f"of change, and every byte (compared in {duration_text(seconds)})"
        )

    def secrets_rotated(self, databases: Databases) -> None:
        self.screen.headline("Somebody rotates App Service's secrets, and nobody saves them again")
        databases.rotate()
        ran = self.lifeboat("backup", what="backup after a rotation")
        self.expect_code(ran, 3)
        self.expect("drift" in ran.output, "the reason drift is not told")
        self.screen.good("exit code 3: this point is partial, since its secrets would not open its databases")
        self.secrets.download_anew()
        ran = self.lifeboat("secrets", "put", str(self.secrets.download), what="secrets put, after the rotation")
        self.expect_code(ran, 0)
        ran = self.lifeboat("backup", what="third backup")
        self.expect_code(ran, 0)
        record = self.record(ran)
        pairing = record["components"]["secrets"]["pairing"]
        self.expect(pairing["verdict"] == "fits", f"the secrets are {pairing['verdict']}, and should fit")
        self.screen.good("share, databases and secrets in one recovery point, known to fit each other")

    def verified(self, point: str) -> None:
        self.screen.headline("Is all of it still there? Whatever the newest point needs is read back and hashed")
        ran = self.lifeboat("verify", "--point", point, what="verify")
        self.expect_code(ran, 0)
        self.screen.good(f"nothing damaged, in {duration_text(ran.seconds)}; by timer, all of the vault within 30 days")

    def drilled(self) -> None:
        self.screen.headline("A drill: restored for real, measured, and thrown away")
        if self.databases:
            self.screen.says("The databases go to the other stand-in for SQL Server; of the share a sample is taken.")
        ran = self.lifeboat("drill", what="drill")
        self.expect_code(ran, 0)
        if self.databases:
            self.expect(not self.databases.left_by_drills(), "the drill has left databases behind")
        self.screen.good("what came back was compared, and is gone again; the result is kept beside the point")

    def status(self) -> None:
        self.screen.headline("How things stand")
        ran = self.lifeboat("status", what="status")
        self.expect_code(ran, 0)
        self.screen.good("each component has a good backup that is younger than its recovery point objective")

    def kept_and_protected(self) -> None:
        self.screen.headline("The keeper, another identity, says what may go, and locks what is needed")
        self.screen.says(
            f"For it LIFEBOAT_VAULT_URL is {self.keeper()['LIFEBOAT_VAULT_URL']}. What would go, were only the newest "
            "point kept (LIFEBOAT_KEEP_LAST=1, all other KEEP_... 0)?"
        )
        ran = self.lifeboat("prune", "--dry-run", what="prune --dry-run", settings=self.keeper() | KEEP_ONE)
        self.expect_code(ran, 0)
        self.expect("would be removed" in ran.output, "nothing would be removed")
        self.screen.good("nothing was deleted: a dry run")
        ran = self.lifeboat("protect", what="protect", settings=self.keeper())
        self.expect_code(ran, 0)
        self.expect("none can be deleted before" in ran.output, "something has no date")
        self.screen.good("until that date nobody can delete them for good, with whatever rights")

    def worst_day(self) -> Lost:
        lost = "the share is emptied" + (f", {HOSTING} is dropped" if self.databases else "")
        self.screen.headline(f"The worst day: {lost}, and somebody with every right deletes what is in the vault")
        destroyed = self.destroy_all()
        attacked = self.vault.delete_everything()
        self.expect(not attacked.left, f"{attacked.left} blobs are still there")
        needed = [name for name in attacked.for_good if not name.startswith(UNPROTECTED)]
        self.expect(not needed, f"gone for good, and needed: {', '.join(needed)}")
        self.screen.says(
            f"{attacked.gone} blobs are gone: every one that was there. Of {len(attacked.for_good)}, the results of "
            "runs, verifications and drills, no version is left either: nothing needs them. Of the others the storage "
            "has refused to delete the last version, since its date has not come."
        )
        ran = self.lifeboat("status", what="status of an empty vault")
        self.expect_code(ran, 1)
        self.screen.good("exit code 1: it does not go unnoticed")
        return destroyed

    def destroy_all(self) -> Lost:
        """Everything but the vault."""
        lost = Lost(self.secrets.download.read_bytes(), self.databases.contents() if self.databases else {})
        demo_share.destroy(self.share)
        self.secrets.download.unlink()
        if self.databases:
            self.databases.drop()
            self.expect(HOSTING not in self.databases.names(), f"{HOSTING} is still there")
            self.screen.says(f"DROP DATABASE {HOSTING}")
        return lost

    def vault_brought_back(self) -> None:
        self.screen.headline("The vault is brought back by the keeper, and checked by us and by the judge")
        ran = self.lifeboat("undelete", what="undelete", settings=self.keeper())
        self.expect_code(ran, 0)
        self.screen.good(f"whatever points need is there again, in {duration_text(ran.seconds)}")
        ran = self.lifeboat("check", "--read-data", what="check --read-data, after undelete")
        self.expect_code(ran, 0)
        self.screen.good("nothing damaged")
        self.stock_restic()
        ran = self.lifeboat("protect", what="protect, after undelete", settings=self.keeper())
        self.expect_code(ran, 0)
        self.screen.good("what has come back cannot be deleted for good either")

    def all_restored(self, point: str, lost: Lost) -> None:
        self.screen.headline("Everything is brought back from it by one command")
        ran = self.lifeboat(
            "restore", "all", "--overwrite", "--yes", "--secrets-to", str(self.secrets.download), what="restore all"
        )
        self.expect_code(ran, 0)
        self.expect(f"restored {point}: complete" in ran.output, "it is not the newest whole point that came back")
        self.expect(self.secrets.download.read_bytes() == lost.download, "SystemSecrets.JSON is not what it was")
        found = list(demo_share.differences(self.kept, self.share))
        self.expect(not found, f"{len(found):,} differences in the share")
        self.screen.good("share: every byte, name and time as before; SystemSecrets.JSON: every byte, mode 0600")
        if self.databases:
            after = self.databases.contents()
            self.expect(lost.rows == after, "the rows are not those that were there")
            rows = sum(len(each) for each in after.values())
            self.screen.good(f"both databases are ONLINE, with the same {rows:,} rows")
        self.screen.good(f"in {duration_text(ran.seconds)}")

    def runbook(self, point: str) -> None:
        self.screen.headline("What follows by hand, on the stamp: the runbook for this very point")
        RUNBOOK.parent.mkdir(parents=True, exist_ok=True)
        ran = self.lifeboat("runbook", "--point", point, "--format", "html", what="runbook", shown=lambda line: False)
        self.expect_code(ran, 0)
        self.expect("Restore-AppServiceStamp" in ran.output, "the runbook does not tell how the stamp is restored")
        RUNBOOK.write_text(ran.output[ran.output.lower().index("<!doctype") :], encoding="utf-8")
        self.screen.good(f"written to {RUNBOOK.relative_to(REPOSITORY)}: open it in a browser")

    # --- tools of the steps ---

    def lifeboat(
        self,
        *arguments: str,
        what: str,
        settings: Mapping[str, str] | None = None,
        shown: Callable[[str], bool] = lambda line: True,
    ) -> Ran:
        """Run a command of Lifeboat, showing it and what it prints."""
        self.screen.command(f"python lifeboat.py {' '.join(arguments)}")
        asked = (self.vault.backup.calls, self.vault.keeper.calls)
        before = [len(calls) for calls in asked]
        ran = self.run([sys.executable, "lifeboat.py", *arguments], settings or self.settings(), shown)
        for calls, count in zip(asked, before, strict=True):
            ran.calls.update(call.kind for call in calls[count:])
        self.lines.append(Line(what, ran.seconds, ran.calls))
        return ran

    def run(
        self, command: Sequence[str], environment: Mapping[str, str], shown: Callable[[str], bool] = lambda line: True
    ) -> Ran:
        """Run to the end; lines that ``shown`` accepts are printed as they come. ``command`` may hold no secret."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OTHERS)}
        began = time.monotonic()
        output: list[str] = []
        with (
            self.waiting(),
            subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env={
                    **inherited,
                    **self.secrets.environment,
                    "NO_COLOR": "1",
                    "PYTHONIOENCODING": "utf-8",
                    **environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
            ) as process,
        ):
            try:
                assert process.stdout is not None
                for line in process.stdout:
                    output.append(line.rstrip())
                    if shown(output[-1]):
                        self.screen.output(output[-1])
                code = process.wait()
            except BaseException:
                process.kill()
                raise
        return Ran(code, "\n".join(output), time.monotonic() - began, Counter())

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Show that something goes on, where somebody may be looking."""
        if self.screen.console.is_terminal:
            with self.screen.console.status("running"):
                yield
        else:
            yield

    def record(self, ran: Ran) -> dict[str, Any]:
        """The record of the point that a backup has just made."""
        match = re.search(r"recovery point (\S+):", ran.output)
        if not match:
            raise NotAsItShouldBe("no recovery point was made")
        return show_point(self.values(), match[1])

    def values(self) -> Settings:
        return Settings.from_environment(self.settings())

    def newest_whole_point(self) -> str:
        shown = list_points(self.values())["points"]
        return next(str(each["point"]) for each in shown if each["status"] == "complete" and each["whole"])

    def expect_code(self, ran: Ran, code: int) -> None:
        self.expect(ran.code == code, f"the exit code is {ran.code}, not {code}")

    def expect(self, true: bool, otherwise: str) -> None:
        if not true:
            raise NotAsItShouldBe(otherwise)

    def figures(self) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 1))
        table.add_column("what ran", no_wrap=True)
        for name in ("seconds", "writes", "reads", "lists, looks"):
            table.add_column(name, justify="right", no_wrap=True)
        for line in self.lines:
            calls = line.calls
            counts = ["", "", ""]
            if calls is not None:
                others = calls["list"] + calls["stat"] + calls["other"]
                counts = [f"{number:,}" for number in (calls["put"], calls["get"], others)]
            table.add_row(line.what, f"{line.seconds:.1f}", *counts)
        return table


def tell_story(screen: Screen, options: argparse.Namespace) -> None:
    """Set the stage, tell the story, clear everything away."""
    with contextlib.ExitStack() as stage:
        folder = stage.enter_context(_temporary_folder(screen, keep=options.keep))
        share = folder / "share"
        share.mkdir()
        screen.title("Lifeboat: App Service backed up, checked, destroyed, brought back")
        screen.headline("A share like a hoster's, databases, secrets, and the servers")
        demo_share.make_share(share, demo_share.SMALL if options.small else demo_share.REALISTIC)
        there = demo_share.count(share)
        screen.good(
            f"data: {there.files:,} files in {there.folders:,} folders, {bytes_text(there.bytes)}: tenants' sites, "
            "frameworks copied between them, a big log, a big zip, odd names, an empty folder"
        )
        share_url = _serve(stage, screen, share, local_folder=options.local_folder)
        azurite_folder = folder / "azurite"
        azurite_folder.mkdir()
        azurite = stage.enter_context(running_azurite(azurite_folder, in_memory=False))
        vault = stage.enter_context(running_vault(azurite))
        screen.good(f"vault: Azurite {_azurite_version()}, Microsoft's emulator of blob storage, port {azurite.port}")
        screen.good(
            f"rights: a STAND-IN before it does what Azure's role assignments do: the backup, at port "
            f"{vault.backup.port}, may read and add, never overwrite, and delete only its locks; the keeper, at port "
            f"{vault.keeper.port}, may delete and set dates"
        )
        screen.good(
            "versions and dates of blobs, which Azurite lacks: the same STAND-IN keeps them in memory, by Azure's rules"
        )
        databases, landing_url = _serve_databases(stage, screen, folder, azurite)
        kept = folder / "operator"
        kept.mkdir()
        kept_secrets = stage.enter_context(running_secrets(kept))
        screen.good(
            f"secrets: a STAND-IN for Key Vault, port {kept_secrets.key_vault.port}, and one for an app's identity:"
            " TLS, challenge, tokens and versions as the real ones have them"
        )
        demo = Demo(screen, folder, share, share_url, vault, databases, landing_url, kept_secrets)
        demo.tell()
        screen.headline("The figures: seconds, start-up included, and requests to the vault")
        screen.table(demo.figures())


def _serve(stage: contextlib.ExitStack, screen: Screen, share: Path, *, local_folder: bool) -> str:
    """Serve the folder by Samba until the stage is cleared; returns the share's URL."""
    try:
        if local_folder:
            raise SambaCannotStart("asked for by --local-folder")
        samba = stage.enter_context(Samba("smb-3.1.1", root=share))
    except (SambaCannotStart, OSError) as reason:
        screen.says(
            f"share: NO SMB SERVER here ({str(reason).splitlines()[0]}). The share is the local folder itself; what "
            "follows shows everything but the reading and writing over SMB."
        )
        return share.as_uri()
    said = subprocess.run([_smbd(), "--version"], capture_output=True, text=True, check=False).stdout
    version = said.strip().removeprefix("Version ").partition("-")[0]
    screen.good(f"share: served by Samba {version}, a real SMB server, on loopback, port {samba.port}")
    return samba.url()


def _serve_databases(
    stage: contextlib.ExitStack, screen: Screen, folder: Path, azurite: Azurite
) -> tuple[Databases | None, str]:
    """Databases and the landing account, until the stage is cleared; None where no driver could reach them."""
    try:
        databases = stage.enter_context(running_databases(folder))
    except DriverMissing as reason:
        screen.says(f"databases: NONE, since {reason}. What follows shows share and secrets alone.")
        return None, ""
    landing = stage.enter_context(running_rights_proxy(azurite, rights=LANDING))
    screen.good(
        f"databases: a STAND-IN for SQL Server (the real one cannot run here), port {databases.server.port}: it speaks "
        "SQL Server's own protocol with TLS to Microsoft's ODBC driver, and its backups are in a format of its own; a "
        f"second one, port {databases.drill_server.port}, is for drills"
    )
    screen.good("landing: a second account of Azurite, into which that server writes by itself, with a SAS")
    return databases, landing.url(azurite.new_account())


def _smbd() -> str:
    return shutil.which("smbd") or "/usr/sbin/smbd"


def _azurite_version() -> str:
    package = json.loads((PROGRAM.parents[3] / "package.json").read_text())
    return str(package["version"])


@contextlib.contextmanager
def _temporary_folder(screen: Screen, *, keep: bool) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="lifeboat-demo-"))
    try:
        yield folder
    finally:
        if keep:
            screen.says("")
            screen.says(f"kept: {folder} (the share, its copy, Azurite's data)")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _interrupt(*_: object) -> NoReturn:
    """The first one ends the demo; later ones must not cut off the clearing away."""
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    raise KeyboardInterrupt


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts.demo", description="See the main job done on real parts.")
    parser.add_argument("--small", action="store_true", help="a tiny share: to see that the demo runs")
    parser.add_argument("--local-folder", action="store_true", help="no Samba: the share is a local folder")
    parser.add_argument("--keep", action="store_true", help="leave the temporary folder with all data")
    options = parser.parse_args(arguments)
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, _interrupt)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    screen = Screen()
    began = time.monotonic()
    try:
        tell_story(screen, options)
    except (NotAsItShouldBe, AzuriteMissing, LifeboatError) as error:
        screen.bad(str(error))
        screen.end("the demo failed: this is not as it should be", good=False)
        return 1
    except KeyboardInterrupt:
        screen.end(f"interrupted: servers are stopped{'' if options.keep else ', data is removed'}", good=False)
        return INTERRUPTED
    screen.end(f"everything is as it should be, in {duration_text(time.monotonic() - began)}", good=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
