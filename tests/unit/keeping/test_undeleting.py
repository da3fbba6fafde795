"""What comes back, in which version, and what is told of the rest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import (
    BlobExists,
    BlobNotFound,
    BlobProtected,
    ContainerMissing,
    StorageError,
    StorageForbidden,
    StorageUnavailable,
)
from shared.keeping.inventory import take_inventory
from shared.keeping.journal import Journal, Left, journals, put_journal
from shared.keeping.protecting import tampering
from shared.keeping.purging import purge
from shared.keeping.undeleting import Undeleted, undelete
from shared.recovery_point.record import COMPLETE, RecoveryPoint
from shared.settings import Settings
from shared.storage.versions import BlobVersion
from tests.examples import examples
from tests.faults.helpers import Killed, StopAtCall
from tests.standins.memory_vault import MemoryStore, MemoryVault
from tests.standins.rights_proxy import KEEPER, RESTORER
from tests.standins.worm import DeleteUnderPolicy, Worm

NOW = datetime(2026, 11, 23, 7, 30, tzinfo=UTC)
CONTAINERS = ("share", "recovery-points", "databases")
PACK = b"the sealed blobs of a pack"
PACK_NAME = f"data/{sha256(PACK).hexdigest()[:2]}/{sha256(PACK).hexdigest()}"


@pytest.fixture
def vault() -> MemoryVault:
    """Nobody has the password."""
    return MemoryVault(clock=lambda: NOW, password=None)


def bring_back(vault: MemoryVault, *, everything: bool = False, dry_run: bool = False) -> Undeleted:
    """As the keeper."""
    with patch("shared.keeping.undeleting.Vault", lambda _: vault.with_rights(KEEPER)):
        where = Settings.from_environment({"LIFEBOAT_VAULT_URL": "memory"})
        return undelete(where, everything=everything, dry_run=dry_run)


def record(point: str = "20261123T073000Z-abcdef") -> RecoveryPoint:
    return RecoveryPoint(point, "2026-11-23T07:30:00Z", COMPLETE, ["share"], [], [], True, False, {})


def fill(vault: MemoryVault) -> dict[str, bytes]:
    """One blob of each kind."""
    blobs = {
        "share/config": b"config",
        **{
            f"share/{kind}/{sha256(kind.encode()).hexdigest()}": kind.encode()
            for kind in ("keys", "snapshots", "index")
        },
        f"share/{PACK_NAME}": PACK,
        "recovery-points/init": b"{}",
        f"recovery-points/points/{record().point}.json": record().to_bytes(),
        "databases/appservice_hosting/full.bak": b"a full backup",
    }
    for name, body in blobs.items():
        container, _, inside = name.partition("/")
        vault.judge(container).put(inside, body)
    return blobs


def delete_all(vault: MemoryVault) -> None:
    for container in CONTAINERS:
        for blob in list(vault.judge(container).list("")):
            vault.judge(container).delete(blob.name)


def current(vault: MemoryVault) -> dict[str, bytes]:
    return {
        f"{container}/{blob.name}": vault.judge(container).get(blob.name)
        for container in CONTAINERS
        for blob in vault.judge(container).list("")
    }


def write_all(store: MemoryStore, name: str, *bodies: bytes) -> None:
    """One after the other, each over the one before."""
    for body in bodies:
        store.overwrite(name, body)


def test_without_password_config_or_key_everything_comes_back(vault: MemoryVault) -> None:
    blobs = fill(vault)
    delete_all(vault)

    result = bring_back(vault)

    assert (result.status, result.reasons) == ("ok", [])
    assert (result.restored, result.bytes) == (len(blobs), sum(map(len, blobs.values())))
    assert current(vault) == blobs
    assert "LIFEBOAT_REPOSITORY_PASSWORD" in " ".join(result.notes)
    assert "'check'" in result.notes[-1]


def test_a_vault_that_nobody_touched_stays_as_it_is(vault: MemoryVault) -> None:
    blobs = fill(vault)

    result = bring_back(vault)

    assert (result.status, result.restored) == ("ok", 0)
    assert current(vault) == blobs


def test_a_pack_of_which_there_is_one_version_is_not_downloaded(vault: MemoryVault) -> None:
    fill(vault)
    delete_all(vault)
    keeper = vault.with_rights(KEEPER)

    with patch("shared.keeping.undeleting.Vault", lambda _: keeper):
        undelete(Settings.from_environment({"LIFEBOAT_VAULT_URL": "memory"}))

    assert keeper.traffic().requests["get"] == 1  # the record, to tell what it names


class TestWhichVersion:
    @pytest.mark.parametrize("bodies", [(PACK, b"x"), (b"x", PACK), (b"x", PACK, b"y" * len(PACK))])
    @pytest.mark.parametrize("deleted", [False, True])
    def test_a_name_that_is_a_hash_gets_what_has_the_hash(
        self, vault: MemoryVault, bodies: tuple[bytes, ...], deleted: bool
    ) -> None:
        fill(vault)
        store = vault.judge()
        store.delete(PACK_NAME)
        store.delete_version(PACK_NAME, next(store.list_versions(PACK_NAME)).version or "")
        write_all(store, PACK_NAME, *bodies)
        if deleted:
            store.delete(PACK_NAME)

        assert bring_back(vault).status == "ok"
        assert store.get(PACK_NAME) == PACK
        assert bring_back(vault).restored == 0

    def test_where_no_version_has_the_hash_nothing_is_changed_and_that_is_told(self, vault: MemoryVault) -> None:
        fill(vault)
        name = f"snapshots/{'a' * 64}"
        write_all(vault.judge(), name, b"x", b"y")

        result = bring_back(vault)

        assert (result.status, [reason["object"] for reason in result.reasons]) == ("partial", [f"share/{name}"])
        assert vault.judge().get(name) == b"y"

    @pytest.mark.parametrize("name", ["share/config", "recovery-points/init", "databases/appservice_hosting/full.bak"])
    def test_a_name_that_says_nothing_gets_what_was_written_first(self, vault: MemoryVault, name: str) -> None:
        blobs = fill(vault)
        container, _, inside = name.partition("/")
        write_all(vault.judge(container), inside, b"false", b"falser")

        assert bring_back(vault).restored == 1
        assert current(vault) == blobs

    def test_what_the_keeper_has_given_a_date_is_true_even_where_what_was_first_is_gone(self) -> None:
        now = [NOW]
        vault = MemoryVault(clock=lambda: now[0], password=None)
        fill(vault)
        vault.judge().protect("config", NOW + timedelta(days=14))
        vault.judge().overwrite("config", b"false")
        bring_back(vault)
        vault.judge().protect("config", NOW + timedelta(days=28))
        now[0] += timedelta(days=20)
        vault.judge().delete_version("config", next(vault.judge().list_versions("config")).version or "")

        assert bring_back(vault).restored == 0
        assert vault.judge().get("config") == b"config"

    def test_the_keeper_deletes_false_versions_before_the_true_one(self, vault: MemoryVault) -> None:
        fill(vault)
        vault.judge().overwrite("config", b"false")
        bring_back(vault)

        for left_over in ([b"config", b"config"], [b"config"]):
            inventory = take_inventory(vault)  # type: ignore[arg-type]
            later = NOW + timedelta(days=31)
            purge(vault, inventory, Left(), later, later, lambda: None)  # type: ignore[arg-type]
            assert [version.body for version in vault.container("share").versions("config")] == left_over
            assert tampering(take_inventory(vault), Left()) == []  # type: ignore[arg-type]

    def test_a_record_gets_the_first_version_that_is_one(self, vault: MemoryVault) -> None:
        fill(vault)
        store, name = vault.judge("recovery-points"), "points/20261123T080000Z-aaaaaa.json"
        true, forged = record("20261123T080000Z-aaaaaa"), replace(record("20261123T080000Z-aaaaaa"), suspect=True)
        write_all(store, name, b"{", true.to_bytes(), forged.to_bytes())

        assert bring_back(vault).status == "ok"
        assert store.get(name) == true.to_bytes()

    def test_no_version_is_ever_deleted(self, vault: MemoryVault) -> None:
        fill(vault)
        write_all(vault.judge(), "config", b"false", b"falser")

        bring_back(vault)

        bodies = [version.body for version in vault.container("share").versions("config")]
        assert bodies == [b"config", b"false", b"falser", b"config"]

    def test_a_false_blob_under_a_date_is_told_and_goes_when_it_has_passed(self) -> None:
        now = [NOW]
        vault = MemoryVault(clock=lambda: now[0], worm=Worm(delete_under_policy="refused"), password=None)
        fill(vault)
        vault.judge().protect("config", NOW + timedelta(hours=1))
        vault.judge().overwrite("config", b"false")
        vault.judge().protect("config", NOW + timedelta(days=1))

        refused = bring_back(vault)
        now[0] += timedelta(days=2)
        done = bring_back(vault)

        assert (refused.status, [reason["code"] for reason in refused.reasons]) == ("partial", ["protected"])
        assert done.status == "ok"
        assert vault.judge().get("config") == b"config"

    def test_a_copy_that_has_lost_its_md5_is_not_made_again(self) -> None:
        vault = _CopiesWithoutMd5(clock=lambda: NOW, password=None)
        fill(vault)
        delete_all(vault)

        assert bring_back(vault).restored == 8
        assert bring_back(vault).restored == 0


@dataclass(frozen=True)
class _StoreWithoutMd5(MemoryStore):
    def list_versions(self, prefix: str) -> Iterator[BlobVersion]:
        return (replace(each, md5=None) if each.current else each for each in super().list_versions(prefix))


class _CopiesWithoutMd5(MemoryVault):
    def versions(self, container: str) -> MemoryStore:
        return _StoreWithoutMd5(self, container)


class TestWhatTheKeeperHasDeleted:
    def keeper_deletes(self, vault: MemoryVault) -> tuple[str, str]:
        """A pack at once and, marked before, a backup of a database."""
        entry = Journal(NOW, deletes=(f"share/{PACK_NAME}",), marks=("databases/appservice_hosting/full.bak",))
        put_journal(vault.judge("recovery-points"), entry)
        vault.judge().delete(PACK_NAME)
        vault.judge("databases").delete("appservice_hosting/full.bak")
        return f"share/{PACK_NAME}", "databases/appservice_hosting/full.bak"

    def test_stays_deleted_and_is_told_with_the_date_of_the_journal(self, vault: MemoryVault) -> None:
        blobs = fill(vault)
        gone = self.keeper_deletes(vault)
        before = current(vault)
        delete_all(vault)

        result = bring_back(vault)

        assert (result.status, result.left_out) == ("ok", 2)
        assert result.restored == len(blobs) - 2 + 1  # and the journal itself
        assert current(vault) == before
        assert not set(gone) & set(current(vault))
        assert any("2026-11-23" in note and "--everything" in note for note in result.notes)

    def test_comes_back_with_everything_and_is_nobodys_deletion_from_then_on(self, vault: MemoryVault) -> None:
        blobs = fill(vault)
        gone = self.keeper_deletes(vault)

        result = bring_back(vault, everything=True)

        assert (result.left_out, result.restored) == (0, 2)
        assert blobs.items() <= current(vault).items()
        left = Left.by(journals(vault.judge("recovery-points")))
        assert not any(name in left for name in gone)
        vault.judge().delete(PACK_NAME)
        assert tampering(take_inventory(vault), left)  # type: ignore[arg-type]
        assert bring_back(vault).restored == 1

    def test_what_was_restored_by_a_later_entry_comes_back(self, vault: MemoryVault) -> None:
        fill(vault)
        self.keeper_deletes(vault)
        later = Journal(NOW + timedelta(days=1), restores=(f"share/{PACK_NAME}",))
        put_journal(vault.judge("recovery-points"), later)

        result = bring_back(vault)

        assert (result.restored, result.left_out) == (1, 1)

    def test_a_journal_that_was_overwritten_counts_as_it_was_first(self, vault: MemoryVault) -> None:
        fill(vault)
        self.keeper_deletes(vault)
        name = next(vault.judge("recovery-points").list("prunes/")).name
        everything = tuple(current(vault))
        vault.judge("recovery-points").overwrite(name, Journal(NOW, deletes=everything).to_bytes())
        delete_all(vault)

        assert bring_back(vault).left_out == 2

    def test_a_journal_that_cannot_be_read_hides_nothing(self, vault: MemoryVault) -> None:
        blobs = fill(vault)
        vault.judge("recovery-points").put("prunes/20261123T073000Z-aaaaaa.json", b"{")
        delete_all(vault)

        result = bring_back(vault)

        assert [reason["object"] for reason in result.reasons] == [
            "recovery-points/prunes/20261123T073000Z-aaaaaa.json"
        ]
        assert blobs.items() <= current(vault).items()

    def test_locks_stay_deleted_even_with_everything(self, vault: MemoryVault) -> None:
        fill(vault)
        vault.judge().put(f"locks/{'a' * 64}", b"of a run that ended long ago")
        vault.judge().delete(f"locks/{'a' * 64}")

        assert bring_back(vault, everything=True).restored == 0
        assert not any(name.startswith("share/locks/") for name in current(vault))


def test_a_dry_run_says_the_same_and_changes_nothing(vault: MemoryVault) -> None:
    fill(vault)
    TestWhatTheKeeperHasDeleted().keeper_deletes(vault)
    write_all(vault.judge(), "config", b"false")
    delete_all(vault)
    before = {name: list(vault.container(name).versions("")) for name in CONTAINERS}

    told = bring_back(vault, dry_run=True)
    assert {name: list(vault.container(name).versions("")) for name in CONTAINERS} == before
    done = bring_back(vault)

    assert (told.restored, told.bytes, told.left_out) == (done.restored, done.bytes, done.left_out)
    assert told.answer()["dry_run"] is True


def test_killed_at_any_call_it_is_run_again_and_all_is_there() -> None:
    """What is needed first is there first, too."""
    calls = 0
    while True:
        vault = MemoryVault(clock=lambda: NOW, password=None)
        blobs = fill(vault)
        TestWhatTheKeeperHasDeleted().keeper_deletes(vault)
        expected = current(vault)
        write_all(vault.judge(), "config", b"false")
        delete_all(vault)
        keeper = vault.with_rights(KEEPER)
        keeper.before = StopAtCall(calls)
        with patch("shared.keeping.undeleting.Vault", lambda _, keeper=keeper: keeper):
            try:
                undelete(Settings.from_environment({"LIFEBOAT_VAULT_URL": "memory"}))
            except Killed:
                calls += 1
            else:
                break
        assert bring_back(vault).status == "ok"
        assert current(vault) == expected
        assert blobs["share/config"] == b"config"
    assert calls > 15


def test_config_and_keys_come_before_packs(vault: MemoryVault) -> None:
    fill(vault)
    delete_all(vault)
    made: list[str] = []
    keeper = vault.with_rights(KEEPER)
    keeper.before = lambda kind, name: made.append(name) if kind == "make_current" else None

    with (
        patch("shared.keeping.undeleting.Vault", lambda _: keeper),
        patch("shared.keeping.deleting.AT_ONCE", 1),
    ):
        undelete(Settings.from_environment({"LIFEBOAT_VAULT_URL": "memory"}))

    kinds = [name.partition("/")[0] for name in made]
    assert kinds == ["config", "keys", "init", "points", "snapshots", "index", "data", "appservice_hosting"]


def test_a_vault_without_versions_is_told_plainly() -> None:
    vault = MemoryVault(clock=lambda: NOW, worm=Worm(versioning=False, immutability=False), password=None)
    fill(vault)

    result = bring_back(vault)

    assert (result.status, [reason["code"] for reason in result.reasons]) == ("failed", ["no-versions"])
    assert "versioning" in result.reasons[0]["remedy"]


def test_a_container_that_was_deleted_is_told_and_the_others_come_back(vault: MemoryVault) -> None:
    class WithoutShare(MemoryVault):
        def versions(self, container: str) -> MemoryStore:
            if container == "share":
                raise ContainerMissing("there is no container 'share'")
            return super().versions(container)

    broken = WithoutShare(clock=lambda: NOW, password=None)
    blobs = fill(broken)
    delete_all(broken)

    result = bring_back(broken)

    assert (result.status, [reason["code"] for reason in result.reasons]) == ("partial", ["no-container"])
    assert "az storage container restore" in result.reasons[0]["remedy"]
    assert current(broken) == {name: body for name, body in blobs.items() if not name.startswith("share/")}


@pytest.mark.parametrize("error", [StorageError("too large to be copied"), BlobExists("another one is there")])
def test_one_blob_that_cannot_be_made_current_costs_no_other(vault: MemoryVault, error: StorageError) -> None:
    blobs = fill(vault)
    delete_all(vault)
    keeper = vault.with_rights(KEEPER)

    def refuse(kind: str, name: str) -> None:
        if (kind, name) == ("make_current", PACK_NAME):
            raise error

    keeper.before = refuse
    with patch("shared.keeping.undeleting.Vault", lambda _: keeper):
        result = undelete(Settings.from_environment({"LIFEBOAT_VAULT_URL": "memory"}))

    assert (result.status, [reason["object"] for reason in result.reasons]) == ("partial", [f"share/{PACK_NAME}"])
    assert len(current(vault)) == len(blobs) - 1


def test_who_may_not_add_blobs_learns_it_at_once(vault: MemoryVault) -> None:
    fill(vault)
    delete_all(vault)

    with (
        patch("shared.keeping.undeleting.Vault", lambda _: vault.with_rights(RESTORER)),
        pytest.raises(StorageForbidden),
    ):
        undelete(Settings.from_environment({"LIFEBOAT_VAULT_URL": "memory"}))


def test_a_storage_that_does_not_answer_ends_it_for_the_next_run(vault: MemoryVault) -> None:
    blobs = fill(vault)
    delete_all(vault)
    keeper = vault.with_rights(KEEPER)

    def fail(kind: str, name: str) -> None:
        if (kind, name) == ("make_current", PACK_NAME):
            raise StorageUnavailable("no answer")

    keeper.before = fail
    with patch("shared.keeping.undeleting.Vault", lambda _: keeper), pytest.raises(StorageUnavailable):
        undelete(Settings.from_environment({"LIFEBOAT_VAULT_URL": "memory"}))

    assert bring_back(vault).status == "ok"
    assert current(vault) == blobs


def test_what_a_record_names_and_is_nowhere_is_told(vault: MemoryVault) -> None:
    fill(vault)
    point = record("20261123T090000Z-aaaaaa")
    point.components = {"share": {"status": COMPLETE, "snapshot": "b" * 64}}
    vault.judge("recovery-points").put(f"points/{point.point}.json", point.to_bytes())

    result = bring_back(vault)

    assert (result.status, [reason["object"] for reason in result.reasons]) == (
        "partial",
        [f"share/snapshots/{'b' * 64}"],
    )
    assert point.point in result.reasons[0]["message"]


_deeds = st.lists(
    st.tuples(st.sampled_from(["overwrite", "delete", "delete versions", "protect", "hold"]), st.integers(0, 7)),
    max_size=25,
)


@examples(80)
@given(deeds=_deeds, reading=st.sampled_from(["refused", "previous version"]), soft_delete=st.booleans())
def test_whatever_somebody_does_to_a_protected_vault_each_blob_comes_back_or_is_told(
    deeds: list[tuple[str, int]], reading: DeleteUnderPolicy, soft_delete: bool
) -> None:
    """What is told is a false blob under a date or a hold of its own; when that is over, it goes too."""
    now = [NOW]
    worm = Worm(delete_under_policy=reading, soft_delete=soft_delete)
    vault = MemoryVault(clock=lambda: now[0], worm=worm, password=None)
    blobs = fill(vault)
    for name in blobs:
        container, _, inside = name.partition("/")
        vault.judge(container).protect(inside, NOW + timedelta(days=14))
    for deed, number in deeds:
        do_harm(vault, deed, list(blobs)[number])

    result = bring_back(vault)
    wrong = {name for name, body in blobs.items() if current(vault).get(name) != body}
    assert wrong <= {reason["object"] for reason in result.reasons if reason["code"] == "protected"}

    now[0] += timedelta(days=2)
    for name in wrong:
        container, _, inside = name.partition("/")
        vault.container(container).hold(inside, False)
    assert bring_back(vault).status == "ok"
    assert current(vault) == blobs


def do_harm(vault: MemoryVault, deed: str, name: str) -> None:
    """As far as Azure lets it."""
    container, _, inside = name.partition("/")
    store, there = vault.judge(container), vault.container(container).current(inside)
    with suppress(BlobProtected, BlobNotFound):
        if deed == "overwrite":
            store.overwrite(inside, f"false {NOW}".encode())
        elif deed == "delete":
            store.delete(inside)
        elif deed == "delete versions":
            for version in list(store.list_versions(inside)):
                if not version.current and not version.deleted:
                    with suppress(BlobProtected):
                        store.delete_version(inside, str(version.version))
        elif there is not None and there.body.startswith(b"false"):
            if deed == "protect":
                store.protect(inside, NOW + timedelta(days=1))
            else:
                store.hold(inside, True)
