"""A real Samba on loopback, from a folder of its own, in the configuration that a test names.

Nothing of the system's own Samba is used or touched: password database, sockets, locks and logs lie in a temporary
folder; the one user ``lifeboat`` exists in that password database alone and is mapped to ``root``. The daemon must be
started by root (it changes to the user of each session); anything that keeps it from starting is raised as
``SambaCannotStart`` with the reason in plain words.

Shares: ``data`` (full rights), ``limited`` (the same folder, as the user ``nobody``, so that file modes deny),
``limitedacl`` (the same with NT rights instead of modes), ``sealed`` (the same folder, encryption demanded by the
share alone), ``versions`` (previous versions from ``.snapshots/@GMT-YYYY.MM.DD-HH.MM.SS`` inside the folder).
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

USERNAME = "lifeboat"
PASSWORD = "Loopback-only-1"

CONFIGURATIONS: Mapping[str, tuple[str, ...]] = {
    "signing-only": ("server signing = mandatory", "smb encrypt = off"),
    "signing-cmac": (
        "server signing = mandatory",
        "smb encrypt = off",
        "server smb3 signing algorithms = AES-128-CMAC",
    ),
    "signing-hmac": (
        "server signing = mandatory",
        "smb encrypt = off",
        "server smb3 signing algorithms = HMAC-SHA256",
    ),
    "encryption-required": ("smb encrypt = required",),
    "encryption-ccm": ("smb encrypt = required", "server smb3 encryption algorithms = AES-128-CCM"),
    "encryption-256-gcm": ("smb encrypt = required", "server smb3 encryption algorithms = AES-256-GCM"),
    "encryption-256-ccm": ("smb encrypt = required", "server smb3 encryption algorithms = AES-256-CCM"),
    "encryption-on-the-share": ("smb encrypt = default",),
    "smb-2.0.2": ("server max protocol = SMB2_02", "server signing = mandatory"),
    "smb-2.1": ("server max protocol = SMB2_10", "server signing = mandatory"),
    "smb-3.0": ("server max protocol = SMB3_00", "server signing = mandatory", "smb encrypt = off"),
    "smb-3.0-encrypted": ("server max protocol = SMB3_00", "smb encrypt = required"),
    "smb-3.0.2": ("server max protocol = SMB3_02", "server signing = mandatory", "smb encrypt = off"),
    "smb-3.1.1": ("server max protocol = SMB3_11",),
    "few-credits": ("smb2 max credits = 2", "server signing = mandatory", "smb encrypt = off"),
    "small-reads": ("smb2 max read = 65536", "smb2 max write = 65536", "smb2 max trans = 65536"),
}
"""Each name with the lines that it adds to ``[global]``. Without its own word on encryption Samba negotiates it."""


class SambaCannotStart(Exception):
    """smbd is not installed, may not run here, or ended at once; the text says which and what to do."""


class Samba:
    """A running smbd. Use as a context manager; the folder and the daemon are gone afterwards.

    ``port`` and ``root`` (the folder behind every share) are valid while it runs. ``stop`` and ``start`` may be
    called in between to test what clients do when the server goes away; the port stays the same.
    """

    def __init__(self, configuration: str, *, root: Path | None = None, extra: tuple[str, ...] = ()) -> None:
        self._lines = (*CONFIGURATIONS[configuration], *extra)
        self._folder = Path(tempfile.mkdtemp(prefix="lbsmb-"))
        self._folder.chmod(0o755)
        self._root = root
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        self.root = root or self._folder / "share"

    def __enter__(self) -> Samba:
        try:
            self._prepare()
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def url(self, share: str = "data", path: str = "") -> str:
        return f"smb://127.0.0.1:{self.port}/{share}" + (f"/{path}" if path else "")

    def start(self) -> None:
        """Launch smbd and return when it accepts connections."""
        log = self._folder / "smbd.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [_tool("smbd"), "--foreground", "--no-process-group", "-s", str(self._conf), "-l", str(self._folder)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        self.stop()
        raise SambaCannotStart(f"smbd did not begin to listen on port {self.port}:\n{self._log_tail()}")

    def stop(self) -> None:
        """End smbd and the processes of its sessions; their connections break."""
        process, self._process = self._process, None
        if process is None:
            return
        for kind, patience_seconds in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
            try:
                os.killpg(process.pid, kind)
            except ProcessLookupError:
                break
            try:
                process.wait(patience_seconds)
            except subprocess.TimeoutExpired:
                continue
        process.wait(5)

    def administer(self, tool: str, *arguments: str) -> None:
        """Run one of Samba's own tools (``pdbedit``, ``net``) on this Samba; logins that come later see what it did.
        The one user is called ``root`` there."""
        done = subprocess.run(
            [_tool(tool), "-s", str(self._conf), *arguments], capture_output=True, timeout=30, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{tool} {arguments}: {(done.stdout + done.stderr).decode(errors='replace')}")

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _conf(self) -> Path:
        return self._folder / "smb.conf"

    def _prepare(self) -> None:
        if os.geteuid() != 0:
            raise SambaCannotStart("smbd must be started by root: it becomes the user of each session")
        private = {name: self._folder / name for name in ("private", "lock", "state", "cache", "pid", "rpc")}
        for folder in private.values():
            folder.mkdir(mode=0o755)
        private["private"].chmod(0o700)
        self.root.mkdir(exist_ok=True)
        (self._folder / "users.map").write_text(f"root = {USERNAME}\n")
        share = [f"path = {self.root}", "read only = no", "guest ok = no"]
        self._conf.write_text(
            "\n".join(
                [
                    "[global]",
                    "server role = standalone server",
                    "workgroup = LIFEBOAT",
                    "map to guest = never",
                    "interfaces = lo",
                    "bind interfaces only = yes",
                    f"smb ports = {self.port}",
                    f"private dir = {private['private']}",
                    f"passdb backend = tdbsam:{private['private']}/users.tdb",
                    f"username map = {self._folder}/users.map",
                    f"lock directory = {private['lock']}",
                    f"state directory = {private['state']}",
                    f"cache directory = {private['cache']}",
                    f"pid directory = {private['pid']}",
                    f"ncalrpc dir = {private['rpc']}",
                    "disable spoolss = yes",
                    "load printers = no",
                    "printcap name = /dev/null",
                    "log level = 1",
                    "server min protocol = SMB2_02",
                    "vfs objects = acl_xattr",
                    "acl_xattr:ignore system acls = yes",
                    "store dos attributes = yes",
                    "map archive = no",
                    "map system = no",
                    "map hidden = no",
                    "map readonly = no",
                    "ea support = yes",
                    "kernel oplocks = no",
                    *self._lines,
                    "[data]",
                    *share,
                    "[limited]",
                    *share,
                    "force user = nobody",
                    "vfs objects =",
                    "[limitedacl]",
                    *share,
                    "force user = nobody",
                    "[sealed]",
                    *share,
                    *([] if any("smb encrypt = off" in line for line in self._lines) else ["smb encrypt = required"]),
                    "[versions]",
                    *share,
                    "vfs objects = shadow_copy2",
                    f"shadow:mountpoint = {self.root}",
                    "shadow:snapdir = .snapshots",
                    "shadow:sort = desc",
                    "",
                ]
            )
        )
        done = subprocess.run(
            [_tool("smbpasswd"), "-c", str(self._conf), "-s", "-a", "root"],
            input=f"{PASSWORD}\n{PASSWORD}\n".encode(),
            capture_output=True,
            timeout=30,
            check=False,
        )
        if done.returncode:
            text = (done.stdout + done.stderr).decode(errors="replace")
            raise SambaCannotStart(f"smbpasswd could not make the user: {text}")

    def _log_tail(self) -> str:
        parts = [path.read_text(errors="replace")[-2000:] for path in sorted(self._folder.glob("*smbd*"))]
        return "\n".join(parts) or "(smbd wrote no log)"


def _tool(name: str) -> str:
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        raise SambaCannotStart(f"{name} is not installed; on Debian: apt-get install samba")
    return path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
