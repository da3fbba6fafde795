"""Whether a SELECT reads only what a version of SQL Server has: Microsoft's views, resolved by sqlglot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import OptimizeError
from sqlglot.optimizer.qualify import qualify

VIEWS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "standins" / "sqlserver" / "views.json").read_text(encoding="utf-8")
)
FUNCTIONS_WITHOUT_A_VIEW = frozenset({"fn_hadr_backup_is_preferred_replica", "IS_SRVROLEMEMBER"})
"""Functions that return one value: of schema ``sys``, since SQL Server 2012, and a built-in one, since 2005."""


class NotThere(Exception):
    """A view, a column, a property or a permission that this version does not have."""


def require_known(select: str, version: int) -> None:
    """``NotThere`` for anything that ``select`` names and SQL Server ``version`` does not have."""
    tree = sqlglot.parse_one(select, dialect="tsql")
    for lateral in list(tree.find_all(exp.Lateral)):
        _as_a_view(lateral)
    for table in tree.find_all(exp.Table):
        if not _columns(f"{table.db}.{table.name}", version):
            raise NotThere(f"there is no {table.db}.{table.name} in {version}")
        if (table.db == "dbo") != (table.catalog == "msdb"):
            raise NotThere(f"{table.sql()} is not where it should be")
    try:
        qualify(tree, dialect="tsql", schema=_schema(version), catalog="master")
    except OptimizeError as error:
        raise NotThere(str(error)) from error
    for call in tree.find_all(exp.Anonymous):
        _require_function(call, version)


def _as_a_view(lateral: exp.Lateral) -> None:
    """CROSS APPLY sys.f(x, y) AS v: for the names of columns it is a join with a table."""
    join = lateral.parent
    assert isinstance(join, exp.Join)
    call = lateral.this.find(exp.Anonymous)
    table = exp.table_(call.name, db="sys", alias=lateral.alias)
    read = [exp.EQ(this=each.copy(), expression=each.copy()) for each in call.expressions]
    join.set("this", table)
    join.set("kind", None)
    join.set("side", None)
    join.set("on", exp.and_(*read))


def _require_function(call: exp.Anonymous, version: int) -> None:
    name = call.name.upper()
    first: dict[str, dict[str, int]] = VIEWS["first_version"]
    if name == "SERVERPROPERTY":
        named, known, since = call.expressions[0], VIEWS["serverproperty"], first["serverproperty"]
        if named.name not in known or since.get(named.name, 0) > version:
            raise NotThere(f"SERVERPROPERTY({named.name}) in {version}")
    elif name != "HAS_PERMS_BY_NAME" and call.name not in FUNCTIONS_WITHOUT_A_VIEW:
        raise NotThere(f"the function {call.name}")


def require_permission(kind: str, permission: str, version: int) -> None:
    """``NotThere`` for a name that HAS_PERMS_BY_NAME of this version answers with NULL."""
    since = VIEWS["first_version"][f"permissions.{kind}"].get(permission, 0)
    if permission not in VIEWS["permissions"][kind] or since > version:
        raise NotThere(f"the permission {permission} in {version}")


def _columns(view: str, version: int) -> dict[str, str]:
    known: dict[str, tuple[str, int]] = VIEWS["views"].get(view, {})
    return {name: kind for name, (kind, first) in known.items() if first <= version}


def _schema(version: int) -> dict[str, object]:
    sys: dict[str, object] = {}
    dbo: dict[str, object] = {}
    for view in VIEWS["views"]:
        owner, _, name = view.partition(".")
        if columns := _columns(view, version):
            (dbo if owner == "dbo" else sys)[name] = columns
    return {"master": {"sys": sys}, "msdb": {"dbo": dbo}}
