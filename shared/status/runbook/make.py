"""The runbook of one recovery point: chosen, checked, written, as markdown or as a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.errors import UsageError
from shared.recovery_point.catalog import Catalog
from shared.recovery_point.record import COMPLETE, RecoveryPoint
from shared.settings import Settings
from shared.status.page import page, to_html
from shared.status.runbook.before import before, break_glass
from shared.status.runbook.controllers import afterwards, controllers
from shared.status.runbook.document import render
from shared.status.runbook.facts import Facts, Json, collect, is_usable
from shared.status.runbook.head import head
from shared.status.runbook.prechecks import for_people, run_checks
from shared.status.runbook.share import share
from shared.status.runbook.sql_server import master, sql_server
from shared.storage.vault import Vault

FORMATS = ("md", "html")


@dataclass(frozen=True, slots=True)
class Runbook:
    point: str
    text: str
    """In the form that was asked for. It holds no secret."""
    checks: list[Json]
    """As ``preflight`` tells its own: component, name, result (``pass``, ``fail``, ``skip``), seconds, detail, remedy,
    setting."""
    notes: list[str] = field(default_factory=list)
    """Points that were passed over in choosing this one, and why."""


def make_runbook(
    settings: Settings, point_id: str | None = None, *, form: str = "md", run_checks: bool = True
) -> Runbook:
    """How to recover App Service from that point, by default from the newest complete and whole one, else from the
    newest with anything usable in it.

    ``UsageError`` for a form or id that is none, and where there is no such point; ``Damaged`` for a record that cannot
    be read; errors of the vault. What the checks find is in the text and in ``checks``, never an error. Without
    ``run_checks`` nothing but the vault's records is asked.
    """
    if form not in FORMATS:
        raise UsageError(f"there is no format {form!r}", remedy=f"Formats are {' and '.join(FORMATS)}.")
    with Vault(settings.vault()) as vault:
        vault.ensure_there(create=False)
        catalog = Catalog(vault.records)
        point, notes = choose_point(catalog, point_id)
        facts = collect(catalog, point, settings)
    checks = _run(settings, facts) if run_checks else for_people(facts)
    text = build(facts, checks)
    if form == "html":
        text = page(f"Recovery of App Service from {point.point}", to_html(text))
    return Runbook(point.point, text, checks, notes)


_run = run_checks


def build(facts: Facts, checks: Sequence[Json]) -> str:
    """The whole text, in markdown. Nothing is asked of anybody."""
    return render(
        f"Recovery of App Service from recovery point {facts.id}",
        head(facts),
        [
            before(facts, checks),
            sql_server(facts),
            master(facts),
            share(facts),
            controllers(facts),
            afterwards(facts, break_glass(facts)),
        ],
    )


def choose_point(catalog: Catalog, point_id: str | None) -> tuple[RecoveryPoint, list[str]]:
    """The point, and what is to be told of the choice."""
    if point_id is not None:
        return catalog.get(point_id), []
    usable: RecoveryPoint | None = None
    passed_over: list[str] = []
    for point in catalog.readable():
        if point.status == COMPLETE and point.whole and is_usable(point):
            return point, [f"passed over: {each}" for each in passed_over]
        if usable is None and is_usable(point):
            usable = point
        passed_over.append(f"{point.point}, which is {point.status}{'' if point.whole else ' and not whole'}")
    if usable is None:
        raise UsageError(
            "no recovery point holds anything to recover from", remedy="Run 'points' to see what there is."
        )
    return usable, ["no point is complete and whole: this is the newest one with anything usable in it"]
