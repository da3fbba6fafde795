"""The command line in this process: each call as a script would make it, its answer held to the contract."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest

import lifeboat
from shared.recovery_point import backup as backup_module
from shared.recovery_point import restore_databases as restore_databases_module
from tests.conftest import Vault
from tests.standins.azurite import KEY

PASSWORD = "of the repository"
Json = dict[str, Any]

KEYS = {
    "backup": {
        "status", "reasons", "point", "snapshot", "requested", "whole", "suspect", "components", "skew_seconds",
        "duration_seconds",
    },
    "points": {"status", "reasons", "points"},
    "restore": {
        "status", "reasons", "point", "target", "restored", "unchanged", "skipped", "skipped_names", "bytes",
    },
    "check": {"status", "reasons", "snapshots", "trees", "packs", "packs_read", "bytes_read"},
    "preflight": {"status", "reasons", "checks"},
    "verify": {"status", "reasons", "kind", "point", "packs", "bytes_read"},
    "prune": {"status", "reasons", "dry_run", "points_removed", "bytes_freed", "refused"},
    "protect": {"status", "reasons", "blobs", "extended", "until"},
    "undelete": {"status", "reasons", "restored", "left_out"},
    "secrets": {"status", "reasons", "name", "version", "sha256"},
    "secrets list": {"status", "reasons", "files"},
    "password": {"status", "reasons"},
    "status": {
        "status", "reasons", "components", "drift", "expiries", "last_verification", "last_drill",
    },
    "show": {"status", "reasons", "point"},
    "drill": {"status", "reasons", "rto_seconds", "checks"},
    "agent-script": {"status", "reasons", "tool", "path", "start_times", "script", "output", "notes"},
    "runbook": {"status", "reasons"},  # and with --grants "grants", else "point", "format", "runbook", "checks"
}  # fmt: skip
EXIT_CODES = {"complete": 0, "ok": 0, "partial": 3, "failed": 1, "damaged": 1, "late": 1}


@dataclass(frozen=True)
class Answer:
    code: int
    json: Json
    stderr: str

    @property
    def status(self) -> str:
        return str(self.json["status"])

    @property
    def reasons(self) -> list[Json]:
        reasons: list[Json] = self.json["reasons"]
        return reasons

    @property
    def codes(self) -> list[str]:
        return [reason["code"] for reason in self.reasons]

    @property
    def share(self) -> Json:
        share: Json = self.json["components"]["share"]
        return share


class _EachRunInASecondOfItsOwn(datetime):
    """The ids of points are in order by the second; here several runs fit into one."""

    _runs = itertools.count(1)

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) + timedelta(seconds=next(cls._runs))


class CommandLine:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self.settings = monkeypatch
        self._capsys = capsys
        for module in (backup_module, restore_databases_module):
            monkeypatch.setattr(module, "datetime", _EachRunInASecondOfItsOwn)
        self.share = folder
        """The share: a folder of this machine."""

    def set(self, **settings: str) -> None:
        """``set(SHARE_URL="...")``"""
        for name, value in settings.items():
            self.settings.setenv(f"LIFEBOAT_{name}", value)

    def set_databases_that_fail(self) -> None:
        """Everything that they need is set, and nobody listens at their server."""
        self.set(
            SQL_SERVER="127.0.0.1,1",
            SQL_USERNAME="nobody",
            SQL_PASSWORD="secret",
            LANDING_URL="http://127.0.0.1:1/landing",
            LANDING_KEY=KEY,
        )

    def unset(self, *names: str) -> None:
        for name in names:
            self.settings.delenv(f"LIFEBOAT_{name}", raising=False)

    def __call__(self, *arguments: str) -> Answer:
        """Run with ``--json``. Whatever happens there is one object on standard output, and no trace of a stack."""
        self._capsys.readouterr()
        code = lifeboat.main([*arguments, "--json"])
        captured = self._capsys.readouterr()
        assert "Traceback" not in captured.err
        assert captured.out.count("\n") == 1, f"one object, not {captured.out!r}"
        answer = json.loads(captured.out)
        assert {"status", "reasons"} <= answer.keys()
        for reason in answer["reasons"]:
            assert {"component", "code", "message", "remedy"} <= reason.keys()
            assert reason["message"]
            assert reason["code"] == reason["code"].lower().replace("_", "-").replace(" ", "-")
        if arguments[:1] in (("check",), ("verify",)):  # all of theirs, always
            assert KEYS[arguments[0]] <= answer.keys()
            assert answer["status"] in ("ok", "damaged")
            assert all(reason["object"] for reason in answer["reasons"])
        if arguments[:1] == ("preflight",):  # all of its, always; 2 is for a setting, beside what the status says
            assert KEYS["preflight"] <= answer.keys()
            return Answer(code, answer, captured.err)
        if code in (0, 3):
            assert KEYS.get(" ".join(arguments[:2]), KEYS[arguments[0]]) <= answer.keys()
        if arguments[:1] != ("show",) and code in EXIT_CODES.values():
            assert EXIT_CODES[answer["status"]] == code
        return Answer(code, answer, captured.err)

    def people(self, *arguments: str) -> tuple[int, str, str]:
        """Run as people do: exit code, standard output, standard error."""
        self._capsys.readouterr()
        code = lifeboat.main(list(arguments))
        captured = self._capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    def fill(self, *names: str) -> None:
        for name in names:
            path = self.share / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"content of {name}")

    def contents(self, folder: Path | None = None) -> dict[str, bytes]:
        root = folder or self.share
        return {
            path.relative_to(root).as_posix(): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file() and not path.is_symlink()
        }


@pytest.fixture
def lifeboat_in(
    vault: Vault, clean_environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> CommandLine:
    """Configured: a vault behind the backup app's rights, and a share of ten files."""
    share = tmp_path / "WebSites"
    share.mkdir()
    command = CommandLine(clean_environment, capsys, share)
    for name, value in vault.environment().items():
        clean_environment.setenv(name, value)
    command.set(REPOSITORY_PASSWORD=PASSWORD, SHARE_URL=share.as_uri())
    command.fill(*(f"site{number}/index.html" for number in range(10)))
    return command
