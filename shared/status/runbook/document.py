"""The shape of the runbook: sections of numbered steps, each with a box, what to do, and how to see that it worked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shared.status.markdown import OPEN, bullets
from shared.status.page import slug


@dataclass(frozen=True, slots=True)
class Step:
    title: str
    """Words of ours; names in it are ``code``."""
    body: tuple[str, ...]
    """Paragraphs and blocks, in markdown."""
    works: str = ""
    """How to see that it worked: the end of a sentence that begins "It worked when"."""


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    intro: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()


def render(title: str, head: Iterable[str], sections: Sequence[Section]) -> str:
    numbered = [(f"{number}. {section.title}", number, section) for number, section in enumerate(sections, 1)]
    contents = bullets(f"[{heading}](#{slug(heading)})" for heading, _, _ in numbered)
    parts = [f"# {title}", contents, *head]
    for heading, number, section in numbered:
        parts += [f"## {heading}", *section.intro]
        for place, step in enumerate(section.steps, 1):
            parts += [f"### {OPEN} {number}.{place} {step.title}", *step.body]
            if step.works:
                parts.append(f"**It worked when** {step.works}")
    return "\n\n".join(part for part in parts if part) + "\n"


def warning(*paragraphs: str) -> str:
    """Set apart, so that it is seen."""
    return "\n>\n".join(f"> {paragraph}" for paragraph in paragraphs)


def section(title: str, *intro: str, steps: Iterable[Step | None] = ()) -> Section:
    """Steps that do not apply are None."""
    return Section(title, intro, tuple(step for step in steps if step is not None))


def step(title: str, *body: str, works: str = "") -> Step:
    return Step(title, tuple(part for part in body if part), works)
