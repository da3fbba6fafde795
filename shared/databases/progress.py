"""What a person is shown while databases are backed up or restored."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Progress:
    text: str = ""
    """What goes on now, with the server's own percentage where it tells one."""
