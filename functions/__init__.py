"""WHEN things are done: triggers, thin, one blueprint for each theme.

One package makes two apps (``LIFEBOAT_ROLE``): ``backup`` may only add to the vault, and ``keeper``, which nobody can
call, protects, prunes and deletes. An app holds the functions of its own role and no others.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module

import azure.functions as func

ROLES: Mapping[str, tuple[str, ...]] = {"backup": ("runs", "api", "dashboard", "watch"), "keeper": ("keeper",)}
"""For each role the modules of this package whose ``blueprint()`` it has."""


def register(app: func.FunctionApp) -> None:
    """Give ``app`` the functions of the role in ``LIFEBOAT_ROLE``, by default ``backup``.

    The host does this at every start, so no other setting may be needed. A role that is not one raises: an app that
    loads with the functions of another role, or silently without any, would be found out too late.
    """
    role = os.environ.get("LIFEBOAT_ROLE") or "backup"
    if role not in ROLES:
        raise ValueError(f"LIFEBOAT_ROLE is {role!r}; it must be one of: {', '.join(ROLES)}")
    for name in ROLES[role]:
        app.register_functions(import_module(f"{__name__}.{name}").blueprint())
