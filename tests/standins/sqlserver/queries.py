"""Queries are run for real: T-SQL is qualified against the schema, turned into SQLite's dialect and executed there.

Each statement gets a SQLite connection of its own, into which the views that it names are written as tables and the
user databases that it names are attached. What does not exist in the emulated version does not exist here: error 207
for a column, 208 for an object.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast

import sqlglot
from sqlglot import exp
from sqlglot.errors import OptimizeError, ParseError, TokenError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, build_scope

from tests.standins.sqlserver import functions
from tests.standins.sqlserver.messages import Column, Count, Rows, SqlError, refusal, syntax_error
from tests.standins.sqlserver.types import BIGINT, INT, SqlType, from_sqlite, parse_type, to_sqlite, type_of

MAIN = "main"


@dataclass(frozen=True)
class Table:
    """A view as this login sees it."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[object]]


class Source(Protocol):
    """What a query may reach, as its login and its moment have it."""

    @property
    def database(self) -> str:
        """The current database."""

    def view(self, database: str, name: str, arguments: Sequence[object]) -> Table | None:
        """A view as ``sys.databases``; None when there is none of this name; SqlError when it may not be read."""

    def content(self, database: str, *, write: bool) -> tuple[str, bytes]:
        """The database's true name and its serialized content; SqlError when it may not be used."""

    def constant(self, name: str) -> object:
        """A global such as ``SPID``; SqlError when there is none."""

    def functions(self) -> Mapping[str, Callable[..., object]]:
        """Functions of the instance, by upper-case name."""


@dataclass(frozen=True)
class Outcome:
    """A query's result and, when it changed a database, the new content and what a replay needs."""

    result: Rows | Count | None
    database: str = ""
    content: bytes | None = None
    statement: str = ""
    """The change in SQLite's dialect, and its parameters."""
    parameters: Mapping[str, object] = field(default_factory=dict)
    is_insert: bool = False


FUNCTION_TYPES = {
    "HAS_PERMS_BY_NAME": INT,
    "DB_ID": SqlType("smallint"),
    "OBJECT_ID": INT,
    "DB_NAME": SqlType("nvarchar", length=128),
    "SUSER_ID": INT,
    "USER_ID": INT,
    "SUSER_SNAME": SqlType("nvarchar", length=128),
    "SUSER_NAME": SqlType("nvarchar", length=128),
    "ORIGINAL_LOGIN": SqlType("nvarchar", length=128),
    "USER_NAME": SqlType("nvarchar", length=128),
    "SERVERPROPERTY": SqlType("sql_variant"),
    "DATABASEPROPERTYEX": SqlType("sql_variant"),
    "IS_SRVROLEMEMBER": INT,
    "IS_MEMBER": INT,
    "IS_ROLEMEMBER": INT,
    "HAS_DBACCESS": INT,
    "FN_HADR_BACKUP_IS_PREFERRED_REPLICA": SqlType("bit"),
    "TSQL_GETDATE": SqlType("datetime"),
    "GETUTCDATE": SqlType("datetime"),
    "SYSDATETIME": SqlType("datetime2", scale=7),
    "SYSUTCDATETIME": SqlType("datetime2", scale=7),
    "TSQL_SYSDATETIMEOFFSET": SqlType("datetimeoffset", scale=7),
    "TODATETIMEOFFSET": SqlType("datetimeoffset", scale=7),
    "TSQL_DATEADD": SqlType("datetime"),
    "TSQL_DATEDIFF": INT,
    "NEWID": SqlType("uniqueidentifier"),
}
CONSTANT_TYPES = {
    "SPID": SqlType("smallint"),
    "TRANCOUNT": INT,
    "ROWCOUNT": INT,
    "MICROSOFTVERSION": INT,
    "SERVERNAME": SqlType("nvarchar", length=128),
    "VERSION": SqlType("nvarchar", length=300),
}


def execute(source: Source, text: str, parameters: Mapping[str, object]) -> Outcome:
    """Run one statement; SqlError with SQL Server's number when it cannot."""
    tree = _parsed(text)
    run = _Run(source, {name.lstrip("@").lower(): to_sqlite(value) for name, value in parameters.items()})
    try:
        return run.read(tree) if isinstance(tree, exp.Query) else run.write(tree)
    except sqlite3.Error as failure:
        raise run.failure or _sqlite_error(failure) from failure
    finally:
        run.close()


def replay(content: bytes, statement: str, parameters: Mapping[str, object], calls: functions.Frozen) -> bytes:
    """Apply a logged change (already in SQLite's dialect) to a database's content."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        if content:
            connection.deserialize(content)
        for name, function in functions.builtin(calls).items():
            _register(connection, name, lambda *arguments, call=function: to_sqlite(call(*arguments)))
        connection.execute(statement, dict(parameters))
        return connection.serialize()


def _register(connection: sqlite3.Connection, name: str, function: Callable[..., object]) -> None:
    """``function`` gives what SQLite can keep, which its type cannot say."""
    connection.create_function(name, -1, cast(Callable[..., str], function))


def _parsed(text: str) -> exp.Expr:
    try:
        tree = sqlglot.parse_one(text, dialect="tsql")
    except (ParseError, TokenError) as failure:
        near = re.search(r"\x1b\[4m(.*?)\x1b", str(failure))
        raise syntax_error(near[1] if near else text.split()[-1]) from failure
    if isinstance(tree, exp.Query | exp.Insert | exp.Update | exp.Delete | exp.Create | exp.Drop | exp.TruncateTable):
        return tree
    raise syntax_error(text.split()[0])


def _sqlite_error(failure: sqlite3.Error) -> SqlError:
    text = str(failure)
    if match := re.search(r"no such column: (?:.*\.)?(\S+)|has no column named (\S+)", text):
        return refusal(207, f"Invalid column name '{match[1] or match[2]}'.")
    if match := re.search(r"no such table: (?:.*?\.)?(\S+)", text):
        return refusal(208, f"Invalid object name '{match[1]}'.")
    if match := re.search(r"no such function: (\S+)", text):
        return refusal(195, f"'{match[1]}' is not a recognized built-in function name.", severity=15)
    if match := re.search(r"table \S*?(\w+)\S* already exists", text):
        return refusal(2714, f"There is already an object named '{match[1]}' in the database.")
    if "UNIQUE constraint" in text:
        return refusal(2627, "Violation of PRIMARY KEY constraint. Cannot insert duplicate key in object.", severity=14)
    if "NOT NULL constraint" in text:
        return refusal(515, "Cannot insert the value NULL into a column that does not allow nulls. INSERT fails.")
    return refusal(8180, f"Statement(s) could not be prepared: {text}")


class _Run:
    """One statement on its own connection."""

    def __init__(self, source: Source, parameters: Mapping[str, object]) -> None:
        self._source = source
        self._parameters = parameters
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        self._schema: dict[str, dict[str, dict[str, str]]] = {MAIN: {}}
        self._types: dict[tuple[str, str], dict[str, SqlType]] = {}
        self._spelling: dict[str, str] = {}
        self._constants: dict[str, object] = {}
        self.failure: SqlError | None = None
        for name, function in source.functions().items():
            _register(self._connection, name, self._guarded(function))

    def close(self) -> None:
        self._connection.close()

    def _guarded(self, function: Callable[..., object]) -> Callable[..., object]:
        """SQLite swallows what a function raises; keep it."""

        def call(*arguments: object) -> object:
            try:
                return to_sqlite(function(*arguments))
            except SqlError as failure:
                self.failure = failure
                raise
            except (ValueError, TypeError, ArithmeticError) as failure:
                self.failure = refusal(8114, f"Error converting data type: {failure}.")
                raise

        return call

    def _add_collations(self, tree: exp.Expr) -> None:
        """A collation that the statement names compares bytes, or without regard to case if it is one of those."""
        for collate in tree.find_all(exp.Collate):
            name = collate.expression.name
            fold = "_CI" in name.upper()
            self._connection.create_collation(name, _compare_folded if fold else _compare)

    # ---- reading

    def read(self, tree: exp.Expr) -> Outcome:
        _plain_expressions(tree)
        self._add_collations(tree)
        explicit = [_explicit_name(projection) for projection in _selects(tree)]
        self._bind_tables(tree)
        self._canonical_names(tree)
        self._check_qualifiers(tree)
        try:
            qualified = qualify(
                tree,
                dialect="tsql",
                schema=self._known(),
                expand_alias_refs=False,
                quote_identifiers=True,
                identify=True,
                isolate_tables=False,
            )
        except OptimizeError as failure:
            raise self._unresolved(str(failure)) from failure
        scope = build_scope(qualified)
        projections = _selects(qualified)
        names = explicit if len(explicit) == len(projections) and "*" not in explicit else [""] * len(projections)
        types = [self._type(projection, scope) for projection in projections]
        columns = [name or self._shown(projection) for name, projection in zip(names, projections, strict=True)]
        found = self._connection.execute(self._sqlite(qualified), self._bound(qualified)).fetchall()
        return Outcome(_typed_rows(columns, types, found))

    def _check_qualifiers(self, tree: exp.Expr) -> None:
        """SqlError 4104 for a column of a table that the statement does not name."""
        known = {source.alias_or_name.lower() for source in tree.find_all(exp.Table, exp.Subquery, exp.CTE)}
        for column in tree.find_all(exp.Column):
            if column.table and column.table.lower() not in known:
                raise refusal(4104, f'The multi-part identifier "{column.table}.{column.name}" could not be bound.')

    def _unresolved(self, text: str) -> SqlError:
        """What sqlglot could not place, in SQL Server's words."""
        match = re.search(r"Column '([^']+)'", text) or re.search(r"Unknown column: (\S+)", text)
        if match is None:
            return refusal(8180, f"Statement(s) could not be prepared: {text}")
        name = match[1].replace('"', "").split(".")[-1]
        return refusal(207, f"Invalid column name '{name}'.")

    def _known(self) -> dict[str, object] | None:
        """The schema for sqlglot, which takes no empty table."""
        found = {
            schema: {table: columns for table, columns in tables.items() if columns}
            for schema, tables in self._schema.items()
        }
        return {schema: tables for schema, tables in found.items() if tables} or None

    def _shown(self, projection: exp.Expr) -> str:
        return self._spelling.get(
            projection.alias_or_name.lower(),
            "" if projection.alias_or_name.startswith("_col_") else projection.alias_or_name,
        )

    def _bind_tables(self, tree: exp.Expr) -> None:
        """Make every table that the statement names real, and let the statement name it there."""
        named = {cte.alias_or_name.lower() for cte in tree.find_all(exp.CTE)}
        for lateral in list(tree.find_all(exp.Lateral)):
            self._bind_apply(lateral)
        for table in list(tree.find_all(exp.Table)):
            if table.db or table.name.lower() not in named:
                self._bind(table, write=False)

    def _bind_apply(self, lateral: exp.Lateral) -> None:
        """CROSS APPLY of a function over another table's columns: a join on its leading columns."""
        schema, name, arguments = _called(lateral.this)
        join = lateral.parent
        if schema != "sys" or not isinstance(join, exp.Join):
            raise refusal(208, f"Invalid object name '{name}'.")
        view = self._source.view(self._source.database, f"sys.{name}", [])
        if view is None:
            raise refusal(208, f"Invalid object name 'sys.{name}'.")
        alias = lateral.alias_or_name or name
        conditions = [
            exp.EQ(this=exp.column(view.columns[i].name, table=alias), expression=argument.copy())
            for i, argument in enumerate(arguments)
        ]
        table = exp.table_(self._materialize(f"sys.{name}", view), db=MAIN, alias=alias, quoted=True)
        join.set("this", table)
        join.set("on", exp.and_(*conditions, copy=False))
        join.set("kind", None)
        join.set("side", None if lateral.args.get("cross_apply") else "LEFT")

    def _bind(self, table: exp.Table, *, write: bool) -> None:
        table.set("hints", None)
        if table.db == MAIN and table.name in self._schema[MAIN]:
            return
        database = table.catalog or self._source.database
        schema = table.db.lower()
        alias = table.alias or table.name
        if isinstance(table.this, exp.Anonymous):
            alias = table.alias or table.this.name
        target = self._view(table, database, schema) or self._user_table(table, database, schema, write=write)
        replacement = exp.Table(
            this=exp.to_identifier(target[1], quoted=True),
            db=exp.to_identifier(target[0], quoted=True),
            alias=exp.TableAlias(this=exp.to_identifier(alias)) if not write or table.alias else None,
            joins=table.args.get("joins"),
        )
        table.replace(replacement)

    def _view(self, table: exp.Table, database: str, schema: str) -> tuple[str, str] | None:
        name, arguments = table.name, list[exp.Expr]()
        if isinstance(table.this, exp.Anonymous):
            name, arguments = table.this.name, list(table.this.expressions)
        if schema not in ("sys", "dbo", ""):
            return None
        full = f"{schema or 'dbo'}.{name.lower()}"
        view = self._source.view(database, full, [self._evaluated(argument) for argument in arguments])
        if view is None:
            return None
        return MAIN, self._materialize(f"{database}.{full}({len(self._types) if arguments else ''})", view)

    def _evaluated(self, expression: exp.Expr) -> object:
        """The value of a table function's argument, which may use functions and parameters but no columns."""
        tree = exp.select(expression.copy())
        (value,) = self._connection.execute(self._sqlite(tree), self._bound(tree)).fetchone()
        return cast(object, value)

    def _materialize(self, name: str, view: Table) -> str:
        key = (MAIN, name)
        if key not in self._types:
            declared = ", ".join(f'"{column.name}" {column.type.sqlite}' for column in view.columns)
            self._connection.execute(f'CREATE TABLE "{name}" ({declared})')
            marks = ", ".join("?" * len(view.columns))
            self._connection.executemany(
                f'INSERT INTO "{name}" VALUES ({marks})', ([to_sqlite(value) for value in row] for row in view.rows)
            )
            self._describe(key, [(column.name, column.type) for column in view.columns])
        return name

    def _describe(self, key: tuple[str, str], columns: Iterable[tuple[str, SqlType]]) -> None:
        self._types[key] = {name.lower(): kind for name, kind in columns}
        self._schema.setdefault(key[0], {})[key[1]] = {name: "int" for name, _ in columns}
        self._spelling.update({name.lower(): name for name, _ in columns})

    def _user_table(self, table: exp.Table, database: str, schema: str, *, write: bool) -> tuple[str, str]:
        true_name = self._attach(database, write=write)
        key = (true_name, table.name.lower())
        rows = self._connection.execute(f'PRAGMA "{true_name}".table_info("{table.name}")').fetchall()
        if schema not in ("", "dbo") or (not rows and not write):
            raise refusal(208, f"Invalid object name '{'.'.join(part.name for part in table.parts)}'.")
        self._describe(key, [(str(row[1]), parse_type(str(row[2]))) for row in rows])
        return key

    def _attach(self, database: str, *, write: bool) -> str:
        true_name, content = self._source.content(database, write=write)
        attached = {row[1] for row in self._connection.execute("PRAGMA database_list")}
        if true_name not in attached:
            self._connection.execute(f"ATTACH ':memory:' AS \"{true_name}\"")
            if content:
                self._connection.deserialize(content, name=true_name)
        return true_name

    def _canonical_names(self, tree: exp.Expr) -> None:
        """Names compare without regard to case: spell columns as the schema does and aliases in lower case."""
        for column in tree.find_all(exp.Column):
            if isinstance(column.this, exp.Identifier):
                name = column.this.name
                column.set("this", exp.to_identifier(self._spelling.get(name.lower(), name).lower()))
            if column.table:
                column.set("table", exp.to_identifier(column.table.lower()))
            column.set("db", None)
            column.set("catalog", None)
        for alias in tree.find_all(exp.TableAlias):
            if alias.this:
                alias.set("this", exp.to_identifier(alias.name.lower()))
        for schema in self._schema.values():
            for table, columns in schema.items():
                schema[table] = {name.lower(): kind for name, kind in columns.items()}

    # ---- types of what is selected

    def _type(self, expression: exp.Expr, scope: Scope | None) -> SqlType | None:
        """The type of a selected expression; None when only its values can tell."""
        if isinstance(expression, exp.Alias | exp.Paren | exp.Max | exp.Min | exp.Abs):
            return self._type(expression.this, scope)
        if isinstance(expression, exp.Column):
            return self._column_type(expression, scope)
        if isinstance(expression, exp.Subquery):
            return self._type(_selects(expression.this)[0], build_scope(expression.this))
        if isinstance(expression, exp.Cast | exp.TryCast | exp.Convert):
            target = expression.this if isinstance(expression, exp.Convert) else expression.to
            return parse_type(target.sql("tsql"))
        if isinstance(expression, exp.Coalesce | exp.If | exp.Case):
            return self._branch_type(expression, scope)
        return _function_type(expression)

    def _branch_type(self, expression: exp.Expr, scope: Scope | None) -> SqlType | None:
        if isinstance(expression, exp.Coalesce):
            branches = [expression.this, *expression.expressions]
        elif isinstance(expression, exp.If):
            branches = [expression.args.get("true"), expression.args.get("false")]
        else:
            branches = [branch.args["true"] for branch in expression.args["ifs"]] + [expression.args.get("default")]
        known = (self._type(branch, scope) for branch in branches if branch is not None)
        return next((kind for kind in known if kind is not None), None)

    def _column_type(self, column: exp.Column, scope: Scope | None) -> SqlType | None:
        source = scope.sources.get(column.table) if scope else None
        if isinstance(source, exp.Table):
            return self._types.get((source.db, source.name), {}).get(column.name.lower())
        if isinstance(source, Scope):
            for projection in _selects(source.expression):
                if projection.alias_or_name.lower() == column.name.lower():
                    return self._type(projection, source)
        return None

    # ---- writing

    def write(self, tree: exp.Expr) -> Outcome:
        _plain_expressions(tree)
        target = tree.find(exp.Table)
        if target is None:
            raise syntax_error(tree.key.upper())
        home = self._attach(target.catalog or self._source.database, write=True)
        for table in list(tree.find_all(exp.Table)):
            if table.db.lower() in ("dbo", ""):
                self._bind(table, write=True)
        statement = _create_table(tree) if isinstance(tree, exp.Create) else self._sqlite(tree)
        statement = statement.replace(f'"{home}".', "")
        bound = self._bound(tree)
        with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            if content := self._source.content(home, write=True)[1]:
                connection.deserialize(content)
            for name, function in self._source.functions().items():
                _register(connection, name, self._guarded(function))
            cursor = connection.execute(statement, bound)
            changed = Count(cursor.rowcount) if isinstance(tree, exp.DML | exp.Insert) else None
            changed_content = connection.serialize()
        return Outcome(changed, home, changed_content, statement, bound, isinstance(tree, exp.Insert))

    # ---- SQLite's dialect

    def _sqlite(self, tree: exp.Expr) -> str:
        return _rewritten(tree, self._translated).sql("sqlite")

    def _bound(self, tree: exp.Expr) -> dict[str, object]:
        names = {node.name.lower() for node in tree.find_all(exp.Parameter) if not _is_global(node)}
        for name in names - self._parameters.keys():
            if not isinstance(tree, exp.Create):
                raise refusal(137, f'Must declare the scalar variable "@{name}".', severity=15)
        return {name: self._parameters[name] for name in names if name in self._parameters} | self._constants

    def _translated(self, node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Parameter):
            if isinstance(node.this, exp.Placeholder):
                name = str(node.this.this)
                self._constants[f"global_{name}"] = to_sqlite(self._source.constant(name.upper()))
                return exp.Placeholder(this=f"global_{name}")
            return exp.Placeholder(this=node.name.lower())
        if isinstance(node, exp.Cast | exp.TryCast | exp.Convert):
            return _converted(node)
        return _translated_function(node)


def _rewritten(tree: exp.Expr, rule: Callable[[exp.Expr], exp.Expr]) -> exp.Expr:
    """A copy with the rule applied to every node, inner ones first."""
    root = tree.copy()
    for node in reversed(list(root.walk(bfs=False))):
        new = rule(node)
        if new is not node:
            if node is root:
                root = new
            else:
                node.replace(new)
    return root


def _is_global(node: exp.Parameter) -> bool:
    """``@@NAME`` is a parameter inside a parameter."""
    return isinstance(node.this, exp.Parameter) or isinstance(node.parent, exp.Parameter)


def _selects(tree: exp.Expr) -> list[exp.Expr]:
    assert isinstance(tree, exp.Query)
    return list(tree.selects)


def _explicit_name(projection: exp.Expr) -> str:
    if isinstance(projection, exp.Star) or (
        isinstance(projection, exp.Column) and isinstance(projection.this, exp.Star)
    ):
        return "*"
    return projection.alias if isinstance(projection, exp.Alias) else ""


def _called(node: exp.Expr) -> tuple[str, str, list[exp.Expr]]:
    """Schema, name and arguments of a function call in FROM."""
    if isinstance(node, exp.Dot) and isinstance(node.expression, exp.Anonymous):
        return node.this.name.lower(), node.expression.name.lower(), list(node.expression.expressions)
    return "", node.name.lower(), list(node.expressions)


def _plain_expressions(tree: exp.Expr) -> None:
    """Take away what only concerns locks, and name what sqlglot understands too well."""
    for query in tree.find_all(exp.Select):
        query.set("hint", None)
        query.set("options", None)


def _compare(left: str, right: str) -> int:
    return (left > right) - (left < right)


def _compare_folded(left: str, right: str) -> int:
    return _compare(left.casefold(), right.casefold())


def _typed_rows(names: Sequence[str], types: Sequence[SqlType | None], rows: Sequence[Sequence[object]]) -> Rows:
    columns = []
    for i, (name, kind) in enumerate(zip(names, types, strict=True)):
        sample = max((type_of(row[i]) for row in rows if row[i] is not None), key=_width, default=INT)
        columns.append(Column(name, kind or sample))
    typed = []
    for row in rows:
        try:
            typed.append([from_sqlite(column.type, value) for column, value in zip(columns, row, strict=True)])
        except (ValueError, ArithmeticError) as failure:
            raise refusal(8114, f"Error converting data type: {failure}.") from failure
    return Rows(columns, typed)


def _width(kind: SqlType) -> int:
    order = ["bit", "int", "bigint", "numeric", "float", "varbinary", "nvarchar"]
    return order.index(kind.name) * 2 + (kind.length is None) if kind.name in order else 0


def _function_type(expression: exp.Expr) -> SqlType | None:
    if isinstance(expression, exp.Count):
        return INT
    if isinstance(expression, exp.Parameter) and isinstance(expression.this, exp.Parameter):
        return CONSTANT_TYPES.get(expression.this.name.upper())
    if isinstance(expression, exp.Sum):
        return BIGINT
    translated = _translated_function(expression.copy())
    if isinstance(translated, exp.Anonymous):
        return FUNCTION_TYPES.get(translated.name.upper())
    return None


def _converted(node: exp.Expr) -> exp.Expr:
    target, value, style = node.args.get("to"), node.this, None
    if isinstance(node, exp.Convert):
        target, value, style = node.this, node.expression, node.args.get("style")
    assert isinstance(target, exp.Expr)
    kind = exp.Literal.string(target.sql("tsql"))
    tolerant = isinstance(node, exp.TryCast) or bool(node.args.get("safe"))
    return _call("TSQL_TRY_CONVERT" if tolerant else "TSQL_CONVERT", value, kind, style or exp.Null())


def _call(name: str, *arguments: exp.Expr) -> exp.Anonymous:
    return exp.Anonymous(this=name, expressions=list(arguments))


def _translated_function(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.National):
        return exp.Literal.string(node.name)
    if isinstance(node, exp.HexString):
        return exp.HexString(this=node.name)
    if isinstance(node, exp.Dot) and isinstance(node.expression, exp.Anonymous):
        return node.expression
    if isinstance(node, exp.CurrentTimestampLTZ):
        return _call("TSQL_SYSDATETIMEOFFSET")
    if isinstance(node, exp.CurrentTimestamp):
        return _call("TSQL_GETDATE")
    if isinstance(node, exp.CurrentUser):
        return _call("SUSER_SNAME")
    if isinstance(node, exp.Uuid):
        return _call("NEWID")
    if isinstance(node, exp.TimeStrToTime | exp.TsOrDsToTimestamp | exp.TsOrDsToDate):
        return cast(exp.Expr, node.this)
    if isinstance(node, exp.DateAdd):
        return _call("TSQL_DATEADD", exp.Literal.string(str(node.args["unit"])), node.expression, node.this)
    if isinstance(node, exp.DateDiff):
        return _call("TSQL_DATEDIFF", exp.Literal.string(str(node.args["unit"])), node.expression, node.this)
    if isinstance(node, exp.Add):
        return _call("TSQL_ADD", node.this, node.expression)
    return node


def _create_table(tree: exp.Create) -> str:
    """Columns keep their T-SQL types, which SQLite stores as it is told."""
    schema = tree.this
    if tree.kind != "TABLE" or not isinstance(schema, exp.Schema):
        raise syntax_error(str(tree.kind))
    table = schema.this
    columns = [_column(part) if isinstance(part, exp.ColumnDef) else part.sql("sqlite") for part in schema.expressions]
    return f'CREATE TABLE "{table.name}" ({", ".join(columns)})'


def _column(definition: exp.ColumnDef) -> str:
    constraints = [constraint.args["kind"] for constraint in definition.constraints]
    if any(isinstance(kind, exp.GeneratedAsIdentityColumnConstraint) for kind in constraints):
        key = (
            " PRIMARY KEY AUTOINCREMENT"
            if any(isinstance(k, exp.PrimaryKeyColumnConstraint) for k in constraints)
            else ""
        )
        return f'"{definition.name}" INTEGER{key}'
    declared = parse_type(definition.args["kind"].sql("tsql"))
    text = f'"{definition.name}" "{definition.args["kind"].sql("tsql").lower()}"'
    if declared.is_character:
        text += " COLLATE NOCASE"
    for kind in constraints:
        if isinstance(kind, exp.PrimaryKeyColumnConstraint):
            text += " PRIMARY KEY"
        elif isinstance(kind, exp.UniqueColumnConstraint):
            text += " UNIQUE"
        elif isinstance(kind, exp.NotNullColumnConstraint) and not kind.args.get("allow_null"):
            text += " NOT NULL"
        elif isinstance(kind, exp.DefaultColumnConstraint):
            text += f" DEFAULT ({_default(kind.this)})"
    return text


def _default(value: exp.Expr) -> str:
    return _rewritten(value, _translated_function).sql("sqlite")
