"""Values as PowerShell source, so that no value can be anything but a value.

What is written is ASCII whatever the value holds: Windows PowerShell reads a script without a byte-order mark in the
machine's own code page, and takes typographic quotes for quotes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Value = str | int | bool | Sequence["Value"] | Mapping[str, "Value"]

INDENT = "    "


def literal(value: Value, indent: str = "") -> str:
    """``value`` as an expression. A mapping becomes an ordered dictionary, a sequence an array, also of one or none;
    ``indent`` is that of the line on which it begins."""
    if isinstance(value, bool):
        return "$true" if value else "$false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return text(value)
    inner = indent + INDENT
    if isinstance(value, Mapping):
        lines = [f"{inner}{text(name)} = {literal(each, inner)}\n" for name, each in value.items()]
        return f"[ordered] @{{\n{''.join(lines)}{indent}}}" if lines else "[ordered] @{}"
    # An array inside an array would be poured out into it, but for the comma.
    commas = ["" if isinstance(each, str | int | Mapping) else ", " for each in value]
    lines = [f"{inner}{comma}{literal(each, inner)}\n" for comma, each in zip(commas, value, strict=True)]
    return f"@(\n{''.join(lines)}{indent})" if lines else "@()"


def text(value: str) -> str:
    """A single-quoted string; what is not printable ASCII is added to it character by character (UTF-16)."""
    units = value.encode("utf-16-le", "surrogatepass")
    parts: list[str] = []
    plain = ""
    for at in range(0, len(units), 2):
        unit = int.from_bytes(units[at : at + 2], "little")
        if 0x20 <= unit < 0x7F:
            plain += chr(unit)
            continue
        parts += [quoted(plain)] if plain else []
        parts.append(f"[char] 0x{unit:04X}")
        plain = ""
    parts += [quoted(plain)] if plain or not parts else []
    if len(parts) == 1 and parts[0].startswith("'"):
        return parts[0]
    # An operand on the left that is a string makes the sum one.
    return "(" + " + ".join(parts if parts[0].startswith("'") else ["''", *parts]) + ")"


def quoted(plain: str) -> str:
    return "'" + plain.replace("'", "''") + "'"
