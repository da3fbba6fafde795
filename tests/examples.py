"""How many examples a property is tried with: one knob for all tests.

Each run draws the same examples, so that a run that fails does so again. ``LIFEBOAT_TEST_EXAMPLES=5000`` draws so many
for each property, others each time.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("LIFEBOAT_TEST_EXAMPLES", "0"))


def examples(count: int) -> settings:
    """``count`` examples, unless the environment asks for more; without a clock, for a machine may be busy."""
    return settings(
        max_examples=EXAMPLES or count,
        derandomize=not EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
