"""Fault 39: two initialisers at once, or one killed between any two of its calls. One key, one config, in the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.errors import LifeboatError, RepositoryMissing, SettingsError, StorageForbidden, WrongPassword
from shared.repository.initialise import (
    PASSWORD_SECRET,
    GivenPassword,
    KeyVaultPassword,
    Passwords,
    open_or_initialise,
    open_repository,
)
from shared.repository.repository import Repository
from tests.faults.helpers import (
    PASSWORD,
    FolderVault,
    Killed,
    StopAtCall,
    back_up,
    make_share,
    quick,
)
from tests.standins.memory_secrets import MemorySecrets
from tests.standins.restic import StockRestic


@pytest.fixture(autouse=True)
def cheap_keys() -> Iterator[None]:
    with quick():
        yield


class Try:
    """A vault, and whoever initialises it: with a password that is given, or one in the Key Vault."""

    def __init__(self, folder: Path, how: str) -> None:
        self.vault = FolderVault(folder, MemorySecrets() if how == "key vault" else None)

    def initialise(self, hook: StopAtCall | None = None, *, new_repository: bool = False) -> Repository:
        """As one process would, every call of it told to ``hook``."""
        mine = FolderVault(self.vault.folder, before=hook) if hook else FolderVault(self.vault.folder)
        return open_or_initialise(mine.share, mine.records, self._passwords(hook), new_repository=new_repository)

    def password(self) -> str:
        """What an operator would find to be the password."""
        return self._passwords(None).current() or ""

    def empty(self) -> None:
        """Somebody deletes the whole repository, not the records."""
        store = self.vault.judge()
        for blob in list(store.list("")):
            store.delete(blob.name)

    def names(self, prefix: str, container: str = "share") -> list[str]:
        return [blob.name for blob in self.vault.judge(container).list(prefix)]

    def assert_sound(self) -> Repository:
        """One key, one config, and the current password opens them."""
        repository = Repository.open(self.vault.judge(), self.password())
        assert len(self.names("keys/")) == 1
        secrets = self.vault.secrets
        if isinstance(secrets, MemorySecrets):
            assert secrets.kept[PASSWORD_SECRET][-1].tags["repository"] == repository.config.id
        return repository

    def _passwords(self, hook: StopAtCall | None) -> Passwords:
        secrets = self.vault.secrets
        if not isinstance(secrets, MemorySecrets):
            return GivenPassword(PASSWORD)
        return KeyVaultPassword(MemorySecrets(hook, secrets.kept) if hook else MemorySecrets(kept=secrets.kept))


@pytest.fixture(params=["given password", "key vault"])
def how(request: pytest.FixtureRequest) -> str:
    password: str = request.param
    return password


def test_an_initialiser_killed_between_any_two_calls_is_finished_by_the_next_one_fault_39(
    tmp_path: Path, how: str, newest_restic: StockRestic
) -> None:
    call = 0
    while True:
        attempt = Try(tmp_path / str(call), how)
        try:
            attempt.initialise(StopAtCall(call))
            break
        except Killed:
            pass
        attempt.initialise()
        attempt.assert_sound()
        assert attempt.names("init", "recovery-points") == ["init"]
        call += 1
    assert call > 5
    judge = newest_restic.on_folder(tmp_path / str(call) / "share", attempt.password())
    judge.check()


class Preempt(StopAtCall):
    """At one call, something else happens first, all of it."""

    def __init__(self, call: int, other: Try) -> None:
        super().__init__()
        self._call, self._other = call, other

    def __call__(self, kind: str, name: str) -> None:
        super().__call__(kind, name)
        if self.seen == self._call:
            self._other.initialise()


def test_an_initialiser_that_is_overtaken_at_any_call_ends_up_with_the_others_repository_fault_39(
    tmp_path: Path, how: str
) -> None:
    call = 1
    while True:
        attempt = Try(tmp_path / str(call), how)
        hook = Preempt(call, attempt)
        ours = attempt.initialise(hook)
        if hook.seen < call:
            break
        attempt.initialise()
        assert attempt.assert_sound().config == ours.config, call
        call += 1
    assert call > 5


class InStep(StopAtCall):
    """Every call waits until the others have come to theirs."""

    def __init__(self, barrier: threading.Barrier) -> None:
        super().__init__()
        self._barrier = barrier

    def __call__(self, kind: str, name: str) -> None:
        try:
            self._barrier.wait(10)
        except threading.BrokenBarrierError:
            return  # one of them has ended


@pytest.mark.parametrize("initialisers", [2, 5])
def test_initialisers_in_step_at_every_call_make_one_repository_fault_39(
    tmp_path: Path, how: str, initialisers: int, newest_restic: StockRestic
) -> None:
    attempt = Try(tmp_path / "vault", how)
    barrier = threading.Barrier(initialisers)

    def initialise(_: int) -> str:
        try:
            return attempt.initialise(InStep(barrier)).config.id
        finally:
            barrier.abort()

    with ThreadPoolExecutor(initialisers) as pool:
        ids = set(pool.map(initialise, range(initialisers)))
    assert len(ids) == 1
    attempt.initialise()
    assert {attempt.assert_sound().config.id} == ids
    newest_restic.on_folder(tmp_path / "vault" / "share", attempt.password()).check()


# --- somebody emptied the vault ---


def _with_a_point(folder: Path, how: str) -> tuple[Try, str]:
    """A vault whose repository was made and used; with its repository's id."""
    attempt = Try(folder, how)
    made = attempt.initialise().config.id
    if how == "given password":
        attempt.vault.judge("recovery-points").put("points/20261123T000000Z-000000.json", b"{}")
    return attempt, made


def test_an_emptied_vault_is_told_and_not_begun_anew(tmp_path: Path, how: str) -> None:
    attempt, _ = _with_a_point(tmp_path, how)
    attempt.empty()
    with pytest.raises(RepositoryMissing) as error:
        attempt.initialise()
    assert error.value.exit_code == 10
    assert "--new-repository" in error.value.remedy
    assert "undelete" in error.value.remedy
    assert attempt.names("") == [], "nothing was written"


def test_a_new_repository_is_begun_where_it_is_asked_for(tmp_path: Path, how: str, newest_restic: StockRestic) -> None:
    attempt, old = _with_a_point(tmp_path, how)
    old_password = attempt.password()
    attempt.empty()
    repository = attempt.initialise(new_repository=True)
    assert repository.config.id != old
    assert attempt.assert_sound().config.id == repository.config.id
    assert attempt.names("init", "recovery-points") == ["init", "init-2"]
    assert (attempt.password() == old_password) == (how == "given password")
    newest_restic.on_folder(tmp_path / "share", attempt.password()).check()


def test_asking_for_a_new_repository_where_there_is_one_changes_nothing(tmp_path: Path, how: str) -> None:
    attempt, old = _with_a_point(tmp_path, how)
    assert attempt.initialise(new_repository=True).config.id == old
    assert attempt.names("init", "recovery-points") == ["init"]


@pytest.mark.parametrize("asked_again", [True, False])
def test_a_new_repository_that_was_killed_at_any_call_is_finished_and_not_doubled_fault_39(
    tmp_path: Path, how: str, asked_again: bool
) -> None:
    call = 0
    while True:
        attempt, old = _with_a_point(tmp_path / str(call), how)
        attempt.empty()
        try:
            attempt.initialise(StopAtCall(call), new_repository=True)
            break
        except Killed:
            pass
        begun = "init-2" in attempt.names("init", "recovery-points")
        if not begun and not asked_again:
            attempt.initialise(new_repository=True)
        attempt.initialise(new_repository=asked_again)
        assert attempt.assert_sound().config.id != old, call
        assert attempt.names("init", "recovery-points") == ["init", "init-2"], call
        call += 1
    assert call > 5


class PreemptNew(Preempt):
    def __call__(self, kind: str, name: str) -> None:
        StopAtCall.__call__(self, kind, name)
        if self.seen == self._call:
            self._other.initialise(new_repository=True)


def test_two_that_begin_anew_at_once_make_one_repository_fault_39(tmp_path: Path, how: str) -> None:
    call = 1
    while True:
        attempt, _ = _with_a_point(tmp_path / str(call), how)
        attempt.empty()
        hook = PreemptNew(call, attempt)
        ours = attempt.initialise(hook, new_repository=True)
        if hook.seen < call:
            break
        attempt.initialise()
        assert attempt.assert_sound().config == ours.config, call
        assert attempt.names("init", "recovery-points") == ["init", "init-2"], call
        call += 1
    assert call > 5


def test_a_second_emptying_is_told_too(tmp_path: Path, how: str) -> None:
    attempt, _ = _with_a_point(tmp_path, how)
    attempt.empty()
    attempt.initialise(new_repository=True)
    attempt.vault.judge("recovery-points").put("points/20261124T000000Z-000000.json", b"{}")
    attempt.empty()
    with pytest.raises(RepositoryMissing):
        attempt.initialise()
    attempt.initialise(new_repository=True)
    attempt.assert_sound()
    assert attempt.names("init", "recovery-points") == ["init", "init-2", "init-3"]


# --- passwords ---


def test_a_wrong_password_is_told_and_makes_nothing(tmp_path: Path) -> None:
    attempt = Try(tmp_path, "given password")
    attempt.initialise()
    before = attempt.names("")
    with pytest.raises(WrongPassword) as error:
        open_or_initialise(attempt.vault.share, attempt.vault.records, GivenPassword("wrong"))
    assert error.value.exit_code == 12
    assert attempt.names("") == before


def test_no_password_at_all_is_a_setting_that_is_missing(tmp_path: Path) -> None:
    attempt = Try(tmp_path, "given password")
    with pytest.raises(SettingsError) as error:
        open_or_initialise(attempt.vault.share, attempt.vault.records, GivenPassword(None))
    assert error.value.setting == "LIFEBOAT_REPOSITORY_PASSWORD"
    assert attempt.names("") == []


def test_equal_versions_after_a_lost_reply_are_no_loser_and_the_current_one_is_tagged(tmp_path: Path) -> None:
    attempt = Try(tmp_path, "key vault")
    attempt.initialise()
    secrets = attempt.vault.secrets
    assert isinstance(secrets, MemorySecrets)
    secrets.set(PASSWORD_SECRET, secrets.kept[PASSWORD_SECRET][-1].value, {"owner": "somebody"})
    repository = attempt.initialise()
    assert len(secrets.kept[PASSWORD_SECRET]) == 2
    assert secrets.kept[PASSWORD_SECRET][-1].tags == {"owner": "somebody", "repository": repository.config.id}


def test_a_restorer_opens_with_the_elected_password_although_a_losers_is_current_and_may_not_change_it(
    tmp_path: Path,
) -> None:
    attempt = Try(tmp_path, "key vault")
    made = attempt.initialise()
    secrets = attempt.vault.secrets
    assert isinstance(secrets, MemorySecrets)
    secrets.set(PASSWORD_SECRET, "the losing initialiser's", {})

    def refuse(kind: str, name: str) -> None:
        if kind in ("secret-set", "secret-tag"):
            raise StorageForbidden("no right to set secrets")

    passwords = KeyVaultPassword(MemorySecrets(refuse, secrets.kept))
    opened = open_repository(attempt.vault.share, attempt.vault.records, passwords)
    assert opened.config.id == made.config.id
    attempt.initialise()
    attempt.assert_sound()


def test_a_run_in_an_emptied_vault_leaves_no_point(tmp_path: Path) -> None:
    share = make_share(tmp_path / "source" / "site")
    vault = FolderVault(tmp_path / "vault")
    back_up(vault, share)
    for blob in list(vault.judge().list("")):
        vault.judge().delete(blob.name)
    points = [blob.name for blob in vault.judge("recovery-points").list("points/")]
    with pytest.raises(LifeboatError) as error:
        back_up(vault, share)
    assert error.value.exit_code == 10
    assert [blob.name for blob in vault.judge("recovery-points").list("points/")] == points
    assert back_up(vault, share, new_repository=True).status == "complete"
