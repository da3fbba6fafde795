"""Lines that a person types: PowerShell, ``lifeboat.py``, the Azure command line and restic. Values are quoted here.

A value that cannot be shown (control characters, line ends) cannot be typed either: it is replaced by a placeholder,
never left out in silence.
"""

from __future__ import annotations

import re

from shared.status.markdown import visible

_BARE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/=-]*\Z")
_POWERSHELL_QUOTES = re.compile("(['\u2018\u2019\u201a\u201b])")
"""All of them end a quoted text there."""


def quote(value: str) -> str:
    """One argument for PowerShell. Where nothing needs quoting, and within single quotes where the value has none of
    its own, every other shell reads the same."""
    if visible(value) != value:
        return placeholder("a name that cannot be typed: see the record")
    if _BARE.match(value):
        return value
    return text(value)


def text(value: str) -> str:
    """A text within quotes, for PowerShell, whatever is in it."""
    if visible(value) != value:
        return placeholder("a name that cannot be typed: see the record")
    return "'" + _POWERSHELL_QUOTES.sub(r"\1\1", value) + "'"


def placeholder(what: str) -> str:
    """For the person to fill in."""
    return f"'<{what}>'"


def lifeboat(*arguments: str) -> str:
    """Arguments are written already: options as they are, values by ``quote``."""
    return " ".join(["python lifeboat.py", *arguments])


def variable(name: str, value: str) -> str:
    """``value`` is a PowerShell expression."""
    return f"$env:{name} = {value}"


def asked(prompt: str) -> str:
    """A PowerShell expression: a secret that is typed and not shown."""
    return f"[Net.NetworkCredential]::new('', (Read-Host {text(prompt)} -AsSecureString)).Password"
