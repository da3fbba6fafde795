"""Prune keeps what snapshots need, and marks all else; sweeping deletes only what no index file names."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from shared.errors import Damaged, RepositoryLocked
from shared.repository.index_files import IndexFiles
from shared.repository.needs import find_needs
from shared.repository.prune import PruneLimits, carry_out, plan_prune, sweepable
from tests.faults.helpers import Watched
from tests.unit.repository.model import ALL, Model

ID = b"ab" * 32
NOTHING_REPACKED = PruneLimits(max_unused=1.0, max_repack_bytes=1 << 30)


def blob(number: int, size: int = 1000) -> bytes:
    return b"%d " % number * (size // 4)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return Model.make(tmp_path / "share")


def nothing_changes(model: Model, limits: PruneLimits = ALL) -> None:
    """A second prune finds nothing to write and nothing to delete from the index."""
    before = model.names("")
    change = model.mark(limits)
    assert (change.written, change.obsolete_indexes) == ([], ())
    assert model.names("") == before


def _half_needed(model: Model) -> str:
    """A snapshot that needs one of the two blobs of a pack, whose name is returned, and one of two trees."""
    pack = model.pack(blob(1), blob(2))
    trees = [model.trees({"a": [blob(number)]})[0] for number in (1, 2)]
    model.pack(*trees, tree=True)
    model.index()
    model.snapshot(trees[1])
    return pack


# --- mark ---


def test_where_everything_is_needed_nothing_is_done(model: Model) -> None:
    model.back_up({"a": [blob(1)], "d/b": [blob(2)]})
    plan = model.plan()
    assert plan.remove_packs == plan.repack == plan.unindexed == plan.rescued == {}
    assert plan.rewrite_indexes == plan.missing == ()
    assert plan.used_packs.keys() == model.names("data/")
    assert plan.unused_bytes == plan.bytes_freed == 0
    nothing_changes(model)


def test_packs_that_only_a_forgotten_snapshot_needs_leave_the_index_and_stay_where_they_are(model: Model) -> None:
    old = model.back_up({"a": [blob(1)]})
    forgotten = model.names("data/")
    model.back_up({"b": [blob(2)]})
    kept = model.names("data/") - forgotten
    model.forget([old])
    plan = model.plan()
    assert plan.remove_packs.keys() == forgotten
    assert plan.used_packs.keys() == kept
    change = model.mark()
    assert change.marked == {name: len(model.store.get(name)) for name in forgotten}
    assert plan.bytes_freed == sum(change.marked.values())
    assert change.written == []
    assert model.names("data/") == forgotten | kept
    assert model.findings() == []
    nothing_changes(model)


def test_planning_writes_and_deletes_nothing(model: Model) -> None:
    model.forget([model.back_up({"a": [blob(1)]})])
    calls: list[str] = []
    model.plan(store=Watched(model.store, before=lambda kind, name: calls.append(kind)))
    assert set(calls) == {"list", "get"}
    assert len(model.names("index/")) == 1


def test_carrying_out_deletes_nothing(model: Model) -> None:
    _half_needed(model)
    calls: list[str] = []
    store = Watched(model.store, before=lambda kind, name: calls.append(kind))
    repository = model.open(store)
    carry_out(repository, plan_prune(repository, model.snapshots(), ALL), check=lambda: None)
    assert "put" in calls
    assert "delete" not in calls


def test_a_kept_pack_of_an_obsolete_index_file_is_named_again_and_no_other(model: Model) -> None:
    tree_old, tree_new = model.trees({"a": [blob(1)]})[0], model.trees({"b": [blob(2)]})[0]
    data_old, data_new = model.pack(blob(1)), model.pack(blob(2))
    trees_old, trees_new = model.pack(tree_old, tree=True), model.pack(tree_new, tree=True)
    model.index()
    old, _ = model.snapshot(tree_old), model.snapshot(tree_new)
    other = model.back_up({"c": [blob(3)]})
    model.forget([old])
    change = model.mark()
    assert len(change.written) == 1
    files = IndexFiles.read(model.open())
    (written,) = (files.files[name] for name in change.written)
    assert {files.pack_ids[number].hex() for number in written} == {data_new[-64:], trees_new[-64:]}
    assert change.marked.keys() == {data_old, trees_old}
    assert other in model.snapshots()
    assert model.findings() == []
    nothing_changes(model)


def test_a_pack_of_which_a_part_is_needed_is_repacked_and_its_blobs_stay_sealed_as_they_are(model: Model) -> None:
    both = model.pack(blob(1), blob(2))
    model.index()
    sealed = [model.store.get(both, each.offset, each.length) for each in IndexFiles.read(model.open()).blobs(0)]
    model.forget([model.back_up({"x": [blob(9)]})])
    tree = model.trees({"b": [blob(2)]})[0]
    model.pack(tree, tree=True)
    model.index()
    model.snapshot(tree)
    plan = model.plan()
    assert plan.repack.keys() == {both}
    assert plan.bytes_repacked == len(sealed[1])
    change = model.mark()
    assert change.bytes_repacked == len(sealed[1])
    assert both in change.marked
    (new,) = (name for name in change.written if name.startswith("data/"))
    assert model.store.get(new).startswith(sealed[1])
    assert model.findings() == []
    nothing_changes(model)


def test_trees_and_data_are_repacked_into_packs_of_their_own(model: Model) -> None:
    _half_needed(model)
    change = model.mark()
    assert sum(name.startswith("data/") for name in change.written) == 2
    assert model.findings() == [], "the check notices mixed packs"


def test_waste_below_the_limit_is_tolerated_and_the_most_wasteful_pack_goes_first(model: Model) -> None:
    much, little = model.pack(blob(1), blob(2, 9000)), model.pack(blob(3, 9000), blob(4))
    tree = model.trees({"a": [blob(1)], "b": [blob(3, 9000)]})[0]
    model.pack(tree, tree=True)
    model.index()
    model.snapshot(tree)
    assert model.plan(NOTHING_REPACKED).repack == {}
    some = PruneLimits(max_unused=0.2, max_repack_bytes=1 << 30)
    assert model.plan(some).repack.keys() == {much}
    assert model.plan(ALL).repack.keys() == {much, little}
    model.mark(some)
    nothing_changes(model, some)
    assert model.findings() == []


def test_what_the_repack_limit_leaves_is_repacked_by_the_next_prunes(model: Model) -> None:
    packs = [model.pack(blob(number), blob(number + 100)) for number in range(6)]
    tree = model.trees({str(number): [blob(number)] for number in range(6)})[0]
    model.pack(tree, tree=True)
    model.index()
    model.snapshot(tree)
    limits = PruneLimits(max_unused=0.0, max_repack_bytes=2 * (len(blob(0)) + 40))
    repacked = []
    while plan := model.plan(limits).repack:
        assert sum(plan.values()) <= limits.max_repack_bytes
        repacked.append(len(plan))
        model.mark(limits)
        assert model.findings() == []
    assert repacked == [2, 2, 2]
    assert model.plan(limits).unused_bytes == 0
    assert model.names("data/") > set(packs)


def test_with_no_room_to_repack_whole_packs_still_go(model: Model) -> None:
    old = model.back_up({"a": [blob(1)]})
    model.pack(blob(2), blob(3))
    tree = model.trees({"b": [blob(2)]})[0]
    model.pack(tree, tree=True)
    model.index()
    model.snapshot(tree)
    model.forget([old])
    plan = model.plan(PruneLimits(max_unused=0.0, max_repack_bytes=0))
    assert plan.repack == {}
    assert len(plan.remove_packs) == 2


def test_of_a_blob_in_two_packs_one_copy_stays(model: Model) -> None:
    model.back_up({"a": [blob(1)]})
    model.back_up({"a": [blob(1)]})
    plan = model.plan()
    assert plan.duplicates == 2
    assert len(plan.remove_packs) == 2
    model.mark()
    assert model.findings() == []
    nothing_changes(model)
    assert len(model.plan().used_packs) == 2


def test_a_blob_twice_in_one_pack_is_needed_once(model: Model) -> None:
    model.pack(blob(1), blob(1))
    tree = model.trees({"a": [blob(1)]})[0]
    model.pack(tree, tree=True)
    model.index()
    model.snapshot(tree)
    plan = model.plan()
    assert plan.duplicates == 1
    assert len(plan.repack) == 1
    model.mark()
    assert model.findings() == []
    nothing_changes(model)


def test_a_pack_that_two_index_files_name_stays_as_long_as_it_is_needed(model: Model) -> None:
    old = model.back_up({"a": [blob(1)]})
    pack = IndexFiles.read(model.open()).pack(0)
    model.open().write_index([pack])
    model.back_up({"b": [blob(1)]})
    model.forget([old])
    model.mark()
    assert model.findings() == []
    nothing_changes(model)


def test_two_index_files_that_each_name_a_part_of_a_pack_name_all_of_it_together(model: Model) -> None:
    model.pack(blob(1), blob(2))
    (whole,) = model._unindexed
    tree = model.trees({"a": [blob(1), blob(2)]})[0]
    model._unindexed = []
    model.pack(tree, tree=True)
    model.index()
    for part in whole.blobs:
        model.open().write_index([type(whole)(whole.id, (part,))])
    model.snapshot(tree)
    plan = model.plan()
    assert plan.missing == ()
    assert len(plan.used_packs) == 2


def test_an_empty_file_and_an_empty_snapshot_need_no_data(model: Model) -> None:
    model.back_up({"empty": []})
    model.back_up({})
    assert model.plan().remove_packs == {}


def test_without_a_snapshot_nothing_is_needed(model: Model) -> None:
    model.forget([model.back_up({"a": [blob(1)]})])
    change = model.mark()
    assert model.names("index/") == set()
    assert change.marked.keys() == model.names("data/")
    assert model.sweep(change.marked) == sorted(change.marked)
    assert model.names("data/") == set()


def test_packs_of_interrupted_runs_are_marked(model: Model) -> None:
    model.back_up({"a": [blob(1)]})
    left = model.pack(blob(2), named=False)
    assert model.plan().unindexed == {left: len(model.store.get(left))}
    assert model.mark().marked.keys() == {left}


def test_a_blob_that_is_asked_for_besides_is_kept_and_one_that_is_nowhere_stops_nothing(model: Model) -> None:
    asked = model.pack(blob(1), blob(2))
    model.back_up({"b": [blob(3)]})
    ids = [hashlib.sha256(blob(number)).hexdigest() for number in (1, 9)]
    plan = plan_prune(model.open(), model.snapshots(), ALL, also=ids)
    assert plan.repack.keys() == {asked}
    assert plan.missing == ()
    assert asked in model.plan().remove_packs
    assert model.plan().repack == {}


# --- what is damaged ---


def _flip(model: Model, name: str, at: int = 20) -> None:
    body = model.store.get(name)
    model.store.delete(name)
    model.store.put(name, body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :])


def test_an_index_file_that_cannot_be_read_stops_everything_fault_7(model: Model) -> None:
    model.back_up({"a": [blob(1)]})
    (index,) = model.names("index/")
    _flip(model, index)
    for call in (model.plan, lambda: sweepable(model.open(), [])):
        with pytest.raises(Damaged) as error:
            call()
        assert error.value.object == index


@pytest.mark.parametrize(
    "document",
    [
        b"{}",
        b'{"packs":7}',
        b'{"packs":[7]}',
        b'{"packs":[{"id":"zz","blobs":[]}]}',
        b'{"packs":[{"id":"%s","blobs":[{"id":"%s","type":"data","offset":-1,"length":1}]}]}'
        % (b"ab" * 32, b"cd" * 32),
        b'{"packs":[{"id":"%s","blobs":[{"id":"%s","type":"data","offset":"0","length":1}]}]}'
        % (b"ab" * 32, b"cd" * 32),
    ],
)
def test_an_index_file_that_holds_something_else_stops_everything(model: Model, document: bytes) -> None:
    name = f"index/{model.open().save_unpacked('index', document)}"
    with pytest.raises(Damaged) as error:
        model.plan()
    assert error.value.object == name


def test_an_index_file_that_is_deleted_meanwhile_stops_everything(model: Model) -> None:
    model.back_up({"a": [blob(1)]})
    (index,) = model.names("index/")

    def delete(kind: str, name: str) -> None:
        if kind == "get" and name == index:
            model.store.delete(index)

    with pytest.raises(Damaged) as error:
        model.plan(store=Watched(model.store, before=delete))
    assert error.value.object == index


def test_a_snapshot_that_is_not_there_or_cannot_be_read_stops_everything_fault_7(model: Model) -> None:
    snapshot = model.back_up({"a": [blob(1)]})
    with pytest.raises(Damaged) as error:
        plan_prune(model.open(), ["ab" * 32], ALL)
    assert error.value.object == f"snapshots/{'ab' * 32}"
    _flip(model, f"snapshots/{snapshot}")
    with pytest.raises(Damaged) as error:
        model.plan()
    assert error.value.object == f"snapshots/{snapshot}"


@pytest.mark.parametrize("damage", ["flipped", "gone", "short"])
def test_a_tree_that_cannot_be_read_stops_everything_and_its_pack_is_named_faults_6_and_8(
    model: Model, damage: str
) -> None:
    tree = model.trees({"a": [blob(1)]})[0]
    model.pack(blob(1))
    pack = model.pack(tree, tree=True)
    model.index()
    model.snapshot(tree)
    if damage == "flipped":
        _flip(model, pack)
    else:
        body = model.store.get(pack)
        model.store.delete(pack)
        if damage == "short":
            model.store.put(pack, body[:-5])
    with pytest.raises(Damaged) as error:
        model.plan()
    assert error.value.object == pack


def test_a_tree_that_is_nowhere_stops_everything(model: Model) -> None:
    tree = model.trees({"a": [blob(1)]})[0]
    model.snapshot(tree)
    with pytest.raises(Damaged):
        model.plan()


@pytest.mark.parametrize("damage", ["gone", "short"])
def test_data_that_is_missing_is_told_and_its_pack_stays_named_and_stays_fault_8(model: Model, damage: str) -> None:
    old = model.back_up({"a": [blob(1)]})
    pack = model.pack(blob(2), blob(3))
    tree = model.trees({"b": [blob(2)]})[0]
    model.pack(tree, tree=True)
    model.index()
    model.snapshot(tree)
    model.forget([old])
    body = model.store.get(pack)
    model.store.delete(pack)
    if damage == "short":
        model.store.put(pack, body[:-5])
    plan = model.plan()
    assert plan.missing == (pack,)
    assert pack not in plan.remove_packs
    assert (pack in plan.used_packs) == (damage == "short")
    assert len(plan.remove_packs) == 2, "of the forgotten snapshot"
    change = model.mark()
    assert pack not in change.marked
    if damage == "short":
        model.store.delete(pack)
    model.store.put(pack, body)
    assert model.findings() == [], "somebody brought it back"


def test_data_that_no_index_and_no_pack_holds_is_told_by_its_id(model: Model) -> None:
    tree = model.trees({"b": [blob(2)]})[0]
    model.pack(tree, tree=True)
    model.index()
    model.snapshot(tree)
    (missing,) = model.plan().missing
    assert missing in tree.decode()


def test_a_pack_that_is_gone_and_not_needed_leaves_the_index_fault_41(model: Model) -> None:
    model.back_up({"a": [blob(1)]})
    gone = model.pack(blob(2))
    model.index()
    model.store.delete(gone)
    assert model.findings() != []
    plan = model.plan()
    assert plan.gone_packs == (gone,)
    assert plan.remove_packs == {}
    assert gone not in model.mark().marked
    assert model.findings() == []
    nothing_changes(model)


def test_a_pack_with_a_damaged_blob_that_is_needed_stays_as_it_is_and_is_told_fault_6(model: Model) -> None:
    damaged, fine = model.pack(blob(1), blob(2)), model.pack(blob(3), blob(4))
    tree = model.trees({"a": [blob(1)], "b": [blob(3)]})[0]
    model.pack(tree, tree=True)
    model.index()
    model.snapshot(tree)
    _flip(model, damaged)
    change = model.mark()
    assert list(change.damaged) == [damaged]
    assert damaged not in change.marked
    assert fine in change.marked
    named = IndexFiles.read(model.open())
    assert named.number(bytes.fromhex(damaged[-64:])) is not None
    assert all(finding.startswith(damaged) for finding in model.findings())


def test_a_damaged_blob_that_nothing_needs_keeps_nothing_from_being_repacked(model: Model) -> None:
    pack = model.pack(blob(1), blob(2))
    tree = model.trees({"b": [blob(2)]})[0]
    model.pack(tree, tree=True)
    model.index()
    model.snapshot(tree)
    _flip(model, pack)
    change = model.mark()
    assert change.damaged == {}
    assert pack in change.marked
    assert model.findings() == []


# --- rescue ---


def test_a_pack_that_no_index_names_and_a_snapshot_needs_is_named_again(model: Model) -> None:
    """A writer that slept had loaded its index before the packs were marked, and wrote its snapshot afterwards."""
    old = model.back_up({"a": [blob(1)], "d/b": [blob(2)]})
    model.forget([old])
    marked = model.mark().marked
    assert len(marked) == 2
    model.snapshot(model.trees({"a": [blob(1)], "d/b": [blob(2)]})[0])
    assert model.findings() != []
    plan = model.plan()
    assert plan.rescued == marked
    assert plan.unindexed == {}
    assert find_needs(model.open(), model.snapshots()).used_packs() == marked
    change = model.mark()
    assert change.marked == {}
    assert model.findings() == []
    assert model.sweep(marked) == []
    nothing_changes(model)


def test_data_alone_is_rescued_too_and_what_is_not_needed_of_it_is_left(model: Model) -> None:
    pack = model.pack(blob(1), blob(2), named=False)
    left = model.pack(blob(3), named=False)
    garbage = "data/ab/" + "ab" * 32
    model.store.put(garbage, b"garbage")
    tree = model.trees({"a": [blob(1)]})[0]
    model.pack(tree, tree=True)
    model.index()
    model.snapshot(tree)
    plan = model.plan(NOTHING_REPACKED)
    assert plan.rescued.keys() == {pack}
    assert model.plan().repack.keys() == {pack}
    assert model.plan().rescued == {}, "what is copied is not named again itself"
    assert plan.unindexed.keys() == {left, garbage}
    model.mark()
    assert model.findings() == []
    nothing_changes(model)


def test_what_an_index_names_in_a_lost_pack_is_rescued_from_a_pack_that_none_names_fault_41(model: Model) -> None:
    lost = model.pack(blob(1))
    tree = model.trees({"a": [blob(1)]})[0]
    model.pack(tree, tree=True)
    model.index()
    model.snapshot(tree)
    copy = model.pack(blob(1), named=False)
    model.store.delete(lost)
    plan = model.plan()
    assert plan.missing == ()
    assert plan.rescued.keys() == {copy}
    assert plan.gone_packs == (lost,)
    model.mark()
    assert model.findings() == []


# --- sweep, and what the vault refuses ---


def test_a_pack_is_swept_only_when_no_index_file_names_it(model: Model) -> None:
    old = model.back_up({"a": [blob(1)]})
    packs = model.names("data/")
    model.back_up({"b": [blob(2)]})
    model.forget([old])
    assert model.sweep(packs) == [], "not marked yet"
    marked = model.mark().marked
    assert model.sweep([*marked, "data/ab/" + "ab" * 32]) == sorted(packs)
    assert model.sweep(marked) == []
    assert model.findings() == []


def test_while_the_vault_refuses_to_delete_an_index_file_its_packs_stay_and_nothing_is_written_again_fault_32(
    model: Model,
) -> None:
    stays = model.trees({"z": [blob(5)]})[0]
    model.pack(blob(5))
    model.pack(stays, tree=True)
    _half_needed(model)
    model.snapshot(stays)
    model.back_up({"x": [blob(3)]})
    refused = carry_out(model.open(), model.plan(), check=lambda: None)
    assert len(refused.obsolete_indexes) == 1
    assert len(refused.marked) == 2
    for _ in range(3):
        assert model.sweep(refused.marked) == []
        again = carry_out(model.open(), model.plan(), check=lambda: None)
        assert again.written == []
        assert again.obsolete_indexes == refused.obsolete_indexes
        assert again.marked == refused.marked
        assert model.findings() == []
    model.store.delete(refused.obsolete_indexes[0])
    assert model.sweep(refused.marked) == sorted(refused.marked)
    assert model.findings() == []
    nothing_changes(model)


# --- the lock ---


def test_a_lost_lock_ends_every_step_before_anything_is_said_to_be_deletable_fault_14(model: Model) -> None:
    """At whichever of its looks at the lock the loss shows."""
    _half_needed(model)
    plan, marked = model.plan(), model.names("data/")

    class Lock:
        def __init__(self, looks: int) -> None:
            self.looks = looks

        def check(self) -> None:
            self.looks -= 1
            if self.looks < 0:
                raise RepositoryLocked("lost")

    def planning(lock: Lock) -> None:
        plan_prune(model.open(), model.snapshots(), ALL, check=lock.check)

    def carrying_out(lock: Lock) -> None:
        carry_out(model.open(), plan, check=lock.check)

    def asking(lock: Lock) -> None:
        sweepable(model.open(), marked, check=lock.check)

    for step, fewest in ((planning, 5), (carrying_out, 3), (asking, 1)):
        looks = 0
        while True:
            try:
                step(Lock(looks))
            except RepositoryLocked:
                looks += 1
            else:
                break
        assert looks >= fewest, step


def test_the_last_thing_that_every_step_does_is_to_look_at_the_lock_fault_14(model: Model) -> None:
    _half_needed(model)
    done: list[str] = []
    repository = model.open(Watched(model.store, after=lambda kind, name: done.append(name)))

    def check() -> None:
        done.append("lock")

    plan = plan_prune(repository, model.snapshots(), ALL, check=check)
    assert done[-1] == "lock"
    carry_out(repository, plan, check=check)
    assert done[-1] == "lock"
    sweepable(repository, model.names("data/"), check=check)
    assert done[-1] == "lock"
