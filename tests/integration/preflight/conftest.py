"""Preflight of one component, and its rows as a reader of the table finds them."""

from __future__ import annotations

from dataclasses import dataclass

from shared.preflight.check import FAIL, PASS, WARN, Row
from shared.preflight.make import preflight
from shared.settings import Settings
from tests.integration.smb.conftest import serve

__all__ = ["serve"]


@dataclass(frozen=True)
class Table:
    """In the order in which they are printed."""

    rows: tuple[Row, ...]

    def __getitem__(self, name: str) -> Row:
        (row,) = [row for row in self.rows if row.name == name]
        return row

    @property
    def cause(self) -> Row:
        """What a reader sees first, and must be enough: the one row that failed."""
        (failed,) = [row for row in self.rows if row.result == FAIL]
        assert failed is self.rows[0], "what failed is on top"
        assert failed.remedy
        return failed

    def named(self, result: str) -> set[str]:
        return {row.name for row in self.rows if row.result == result}

    @property
    def passed(self) -> set[str]:
        return self.named(PASS)

    @property
    def warned(self) -> set[str]:
        return self.named(WARN)

    @property
    def text(self) -> str:
        return "\n".join(f"{row.detail} {row.remedy} {row.setting}" for row in self.rows)


def databases_table() -> Table:
    """Of the databases, with the settings of the environment."""
    return Table(preflight(Settings.from_environment(), ("databases",)).rows)


def table(component: str, **settings: str) -> Table:
    """Look at ``component`` with these settings, written without their prefix."""
    named = {f"LIFEBOAT_{name}": value for name, value in settings.items()}
    return Table(preflight(Settings(named), (component,)).rows)
