"""How a name and a text get into T-SQL: everything that reaches a statement is a parameter or went through here.

BACKUP, RESTORE, CREATE CREDENTIAL, ALTER DATABASE and DBCC take no parameters, so their names and texts are quoted.
"""

from __future__ import annotations

from shared.errors import UsageError

LONGEST_NAME = 128
"""``sysname``: that many UTF-16 code units."""


def quote_name(name: str) -> str:
    """``name`` as a delimited identifier, ``[...]``. ``UsageError`` for what no object of SQL Server can be called."""
    _check(name, "name")
    if not name or len(name.encode("utf-16-le")) > 2 * LONGEST_NAME:
        raise UsageError(f"{name[:40]!r} cannot be a name in SQL Server", remedy="Names have 1 to 128 characters.")
    return "[" + name.replace("]", "]]") + "]"


def literal(text: str) -> str:
    """``text`` as a Unicode string literal, ``N'...'``. ``UsageError`` for what no literal can hold."""
    _check(text, "text")
    if "\\\n" in text or "\\\r" in text:  # sql-docs, "Backslash (line continuation)": the server drops both
        raise UsageError(
            f"the text {ascii(text)[:60]} has a backslash at the end of a line, which SQL Server would leave out",
            remedy="Check the setting that it comes from.",
        )
    return "N'" + text.replace("'", "''") + "'"


def _check(text: str, what: str) -> None:
    try:
        text.encode("utf-16-le")
    except UnicodeEncodeError:
        bad = True
    else:
        bad = "\0" in text
    if bad:
        raise UsageError(
            f"the {what} {ascii(text)[:60]} has a character that SQL Server does not take",
            remedy="Check the setting that it comes from.",
        )
