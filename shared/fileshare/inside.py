"""Where the share lies inside a snapshot: at its top, or deeper where stock restic has made it.

restic keeps the whole path of what it backs up, as folders in each other. On Windows the first of them is the volume:
``D:\\WebSites`` is the folder ``/D/WebSites``, and of ``\\\\server\\share\\folder`` the first one is called
``\\\\server\\share`` (restic's ``internal/archiver/tree.go``, pathComponents). A shadow copy changes nothing in that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from shared.errors import Damaged, UsageError
from shared.repository.reader import BlobReader
from shared.repository.trees import Node

TAG = "lifeboat-share"
"""What marks a snapshot as one of the share, whoever made it."""

_DRIVE = re.compile(r"/?([A-Za-z]):(?=[\\/]|\Z)")
_SEPARATORS = re.compile(r"[\\/]+")


def parts_of(path: str) -> tuple[str, ...]:
    """Names of the folders that restic keeps ``path`` in, from the top of a snapshot down.

    ``path`` as Windows has it (``D:\\WebSites``, ``\\\\server\\share\\folder``), as a snapshot has it (``/D/WebSites``)
    or as Unix has it. ``ValueError`` for one that names no folder.
    """
    drive = _DRIVE.match(path)
    if drive:
        volume, inside = [drive[1]], _SEPARATORS.split(path[drive.end() :])
    elif path.startswith(("\\\\", "//")):
        inside = [part for part in _SEPARATORS.split(path) if part]
        if len(inside) < 2:
            raise ValueError("it names no share")
        volume, inside = [f"\\\\{inside[0]}\\{inside[1]}"], inside[2:]
    else:
        volume, inside = [], path.split("/")
    parts = [*volume, *(part for part in inside if part not in ("", "."))]
    if ".." in parts or not parts:
        raise ValueError("it names no folder")
    return tuple(parts)


def holds_some_only(paths: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether a snapshot of ``paths`` has of the folder ``parts`` only some of what lies in it: then
    it is in the snapshot all the same, as what leads to them.

    A path that was given to restic relatively is whole in ``paths``, and not in the tree: so ``parts`` may be its end.
    """
    folder = [part.casefold() for part in parts]
    some = False
    for path in paths:
        try:
            given = [part.casefold() for part in parts_of(path)]
        except ValueError:  # the root of everything
            return False
        if given[-len(folder) :] == folder or given == folder[: len(given)]:
            return False
        some |= any(given[at : at + len(folder)] == folder for at in range(len(given)))
    return some


def find_folder(reader: BlobReader, tree: str, parts: Sequence[str]) -> tuple[Node, str] | None:
    """The folder ``parts`` below ``tree``, and its path as the snapshot has it; None: there is none.

    A name that is not there is looked for in other letters' case, as Windows does, and taken where only one fits.
    ``Damaged``: a tree on the way cannot be read.
    """
    found: Node | None = None
    names: list[str] = []
    below: str | None = tree
    for part in parts:
        folders = [node for node in reader.nodes(below) if node.kind == "dir"] if below else []
        named = {node.name.decode("utf-8", "replace"): node for node in folders}
        alike = [part] if part in named else [name for name in named if name.casefold() == part.casefold()]
        if len(alike) != 1:
            return None
        found = named[alike[0]]
        names.append(alike[0])
        below = found.subtree
    return (found, "/" + "/".join(names)) if found else None


def share_folder(reader: BlobReader, tree: str, name: str | None, path: str | None = None) -> Node:
    """The node of the share's own folder in a snapshot whose root is ``tree``.

    ``path``: where it lies, as ``find_folder`` has told it; None: at the top, called ``name``, or the only one there.
    ``Damaged`` where it is not at its path; ``UsageError`` where nobody can tell which one it is.
    """
    if path is not None:
        found = find_folder(reader, tree, path.strip("/").split("/"))
        if found is None:
            raise Damaged(
                f"the snapshot holds no folder {path}, in which the share is by its record", remedy="Run 'check'."
            )
        return found[0]
    folders = [node for node in reader.nodes(tree) if node.kind == "dir"]
    for node in folders:
        if name is not None and node.name == name.encode("utf-8", "surrogatepass"):
            return node
    if len(folders) == 1:
        return folders[0]
    names = ", ".join(sorted(node.name.decode("utf-8", "replace") for node in folders))
    raise UsageError(
        f"the snapshot holds several folders at its top ({names}), and none is called {name}",
        remedy="Restore it with stock restic.",
    )
