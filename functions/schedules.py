"""When timers fire: by settings, read when a function is registered."""

from __future__ import annotations

import logging

_logger = logging.getLogger("lifeboat")


def schedule_of(name: str) -> str | None:
    """The schedule of ``LIFEBOAT_SCHEDULE_name``, or its default. None where it is no schedule: then that one function
    must not be registered, the others stay, and the log names the setting, as ``status`` and the watchdog do."""
    from shared.errors import SettingsError
    from shared.settings import Settings

    try:
        return Settings.from_environment().schedule(name)
    except SettingsError as error:
        _logger.error("%s %s", error, error.remedy)
        return None
