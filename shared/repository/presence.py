"""Whether all that a snapshot refers to is in the vault: cheap where nothing is missing, exact where something is."""

from __future__ import annotations

from shared.errors import Damaged
from shared.repository.packs import pack_name
from shared.repository.reader import BlobReader
from shared.repository.repository import Repository


def missing_content(repository: Repository, root_tree: str) -> list[str]:
    """Names of packs that the tree needs and that are not there; of blobs that no index names, their ids.

    One listing of all packs; only where an indexed pack is missing, or a writer failed on whose blobs another one
    counted, are the trees walked.
    """
    present = repository.list_packs()
    gone = {pack for pack in repository.index.pack_ids() if pack not in present}
    never_stored = any(
        not repository.index.holds(blob_id, tree=tree)
        for tree in (False, True)
        for blob_id in repository.relied_on[tree]
    )
    if not gone and not repository.missing_packs and not never_stored:
        return []
    reader = BlobReader(repository)
    missing: dict[str, None] = {}
    seen: set[str] = set()
    pending = [root_tree]
    while pending:
        tree = pending.pop()
        if tree in seen:
            continue
        seen.add(tree)
        try:
            location = reader.locate(bytes.fromhex(tree), tree=True)
            if location.pack in gone:
                missing[pack_name(location.pack)] = None
                continue
            nodes = reader.tree(tree)
        except Damaged as error:
            missing[error.object or tree] = None
            continue
        for node in nodes:
            if node.get("subtree"):
                pending.append(node["subtree"])
            for blob_id in node.get("content") or ():
                found = repository.index.find(bytes.fromhex(blob_id), tree=False)
                if found is None:
                    missing[blob_id] = None
                elif found.pack in gone:
                    missing[pack_name(found.pack)] = None
    return list(missing)
