"""The steps of a run as activities: each takes ``{"run", "arguments"}`` and returns what the step returns."""

from __future__ import annotations

from typing import Any

import azure.durable_functions as df

Json = dict[str, Any]

STEPS = (
    "begin",
    "plan_share",
    "back_up_shard",
    "join_share",
    "adopt_share",
    "back_up_database",
    "look_at_secrets",
    "diagnose",
    "record",
    "verify",
    "refresh",
    "give_up",
)


def register(blueprint: df.Blueprint) -> None:
    for name in STEPS:
        _register(blueprint, name)


def _register(blueprint: df.Blueprint, name: str) -> None:
    def activity(payload: dict) -> dict:  # type: ignore[type-arg]  # the worker takes no other annotation
        from shared.preflight.diagnosis import diagnose  # not while the app is indexed
        from shared.recovery_point import steps
        from shared.settings import Settings
        from shared.telemetry import configure_telemetry, flush_telemetry

        configure_telemetry()
        try:
            step = diagnose if name == "diagnose" else getattr(steps, name)
            result: Json = step(Settings.from_environment(), payload["run"], **payload["arguments"])
            return result
        finally:
            flush_telemetry()  # the instance may be put to sleep before the next batch goes out

    activity.__name__ = name
    blueprint.activity_trigger(input_name="payload", activity=name)(activity)
