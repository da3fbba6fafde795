"""Why a component came to nothing: the check of the way to it that fails, named in the point's own reasons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.recovery_point.record import FAILED

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What preflight finds on the way to a component."""

    check: str | None
    """Name of the check that fails; None: none does."""
    detail: str = ""
    remedy: str = ""
    setting: str | None = None

    def to_json(self) -> Json:
        return {"check": self.check, "detail": self.detail, "remedy": self.remedy, "setting": self.setting}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Diagnosis:
        return cls(document["check"], document["detail"], document["remedy"], document["setting"])


LOGIN_REFUSED, LOGIN = "login-refused", "login"
"""A reason that says enough: looking would try the password once more, until the login is locked out."""
Diagnose = Callable[[str], Diagnosis | None]
"""Looks at the way to a component. None: it was not looked at."""


def came_to_nothing(component: Mapping[str, Any]) -> bool:
    """Whether a component failed without any data, so that the way to it may be at fault."""
    return component["status"] == FAILED and not component.get("data_time")


def diagnose_all(components: Mapping[str, Json], reasons: Sequence[Json], diagnose: Diagnose) -> list[Json]:
    """``reasons``, with what was found on the way to each component that came to nothing."""
    explained = list(reasons)
    for name, component in components.items():
        refused = is_refused(explained, name)
        diagnosis = diagnose(name) if came_to_nothing(component) and not refused else None
        if diagnosis is not None or refused:
            explained = explain(explained, name, diagnosis)
    return explained


def is_refused(reasons: Sequence[Json], component: str) -> bool:
    """A login to the component was refused, so that nothing more has to be looked at."""
    return any(reason["component"] == component and reason["code"] == LOGIN_REFUSED for reason in reasons)


def explain(reasons: Sequence[Json], component: str, diagnosis: Diagnosis | None) -> list[Json]:
    """The first reason of the component gets the check's name as ``check``, what it found, and its remedy; without a
    diagnosis one that says by itself which check fails gets its name."""
    explained = list(reasons)
    if diagnosis is None:
        return [
            reason | {"check": LOGIN}
            if reason["component"] == component and reason["code"] == LOGIN_REFUSED
            else reason
            for reason in explained
        ]
    at = next((index for index, reason in enumerate(reasons) if reason["component"] == component), None)
    if at is None:
        return explained
    reason = dict(reasons[at])
    if diagnosis.check is None:
        reason["message"] += " (preflight, right after it, finds nothing wrong on the way)"
    else:
        told = "" if diagnosis.detail in reason["message"] else f": {diagnosis.detail}"
        reason["message"] += f" (preflight: {diagnosis.check}{told})"
        reason["check"] = diagnosis.check
        reason["remedy"] = diagnosis.remedy or reason["remedy"]
        if diagnosis.setting:
            reason["setting"] = diagnosis.setting
    explained[at] = reason
    return explained
