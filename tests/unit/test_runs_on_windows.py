"""Operators sit at Windows: no call that only Unix has may be in the command line or the product."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [ROOT / "lifeboat.py", *sorted((ROOT / "shared").rglob("*.py"))]

UNIX_MODULES = {"fcntl", "grp", "pwd", "pty", "resource", "termios", "tty", "syslog", "crypt", "posix", "readline"}
UNIX_CALLS = {
    "os": {
        "chown", "chroot", "fchmod", "fchown", "fork", "forkpty", "getegid", "geteuid", "getgid", "getgroups",
        "getloadavg", "getpgid", "getuid", "killpg", "lchown", "link_at", "mkfifo", "mknod", "nice", "pread", "preadv",
        "pwrite", "pwritev", "posix_fadvise", "posix_fallocate", "sendfile", "setgid", "setsid", "setuid", "setxattr",
        "getxattr", "listxattr", "statvfs", "sync", "uname", "wait", "wait3", "wait4", "O_NOFOLLOW", "O_DIRECTORY",
        "O_CLOEXEC", "O_NONBLOCK",
    },
    "signal": {
        "SIGKILL", "SIGALRM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGCHLD", "alarm", "setitimer",
        "pause", "sigwait", "pthread_sigmask", "pthread_kill", "siginterrupt",
    },
    "socket": {"AF_UNIX", "socketpair_unix", "SO_REUSEPORT", "MSG_DONTWAIT", "sendmsg", "recvmsg", "recvmsg_into"},
    "time": {"tzset", "clock_gettime", "clock_settime"},
    "select": {"poll", "epoll", "kqueue"},
    "asyncio": {"SelectorEventLoop"},
    "multiprocessing": {"fork"},
}  # fmt: skip


def _unix_only(source: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names if alias.name.split(".")[0] in UNIX_MODULES]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            calls = UNIX_CALLS.get(module, set())
            found = [f"{module}.{alias.name}" for alias in node.names if alias.name in calls or module in UNIX_MODULES]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            known = UNIX_CALLS.get(node.value.id, set())
            found = [f"{node.value.id}.{node.attr}"] if node.attr in known else []
        else:
            continue
        for name in found:
            yield f"line {node.lineno}: {name}"


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.relative_to(ROOT).as_posix())
def test_nothing_that_only_unix_has_is_called(source: Path) -> None:
    """A call behind ``getattr`` with a default is meant to be missing on Windows, and passes."""
    assert list(_unix_only(source)) == []


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.relative_to(ROOT).as_posix())
def test_text_files_are_opened_with_an_encoding(source: Path) -> None:
    """Without one Windows reads and writes them in its code page."""
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr not in ("read_text", "write_text") or node.args or node.keywords, (
                f"line {node.lineno}: {node.func.attr} without an encoding"
            )
