"""Whether all that a snapshot refers to is in the vault: cheap where nothing is missing, exact where something is."""

from __future__ import annotations

from shared.repository.packs import pack_name
from shared.repository.reader import BlobReader
from shared.repository.repository import Repository
from shared.repository.walk import TreeWalker, data_ids


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
    missing: dict[str, None] = {}
    for tree in TreeWalker(BlobReader(repository)).walk([root_tree]):
        if tree.error:
            missing[tree.error.object or tree.id] = None
        for node in tree.nodes:
            for blob_id in data_ids(node):
                found = repository.index.find(blob_id, tree=False)
                if found is None:
                    missing[blob_id.hex()] = None
                elif found.pack in gone:
                    missing[pack_name(found.pack)] = None
    return list(missing)
