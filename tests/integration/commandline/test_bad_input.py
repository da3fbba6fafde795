"""Bad input: each time a message that names setting and remedy, the right exit code, and nothing half-written."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from shared.storage import retrying
from shared.storage import vault as vault_module
from tests.conftest import Vault, new_vault
from tests.integration.commandline.conftest import KEYS, Answer, CommandLine
from tests.standins.azurite import Azurite
from tests.standins.restic import StockRestic
from tests.standins.rights_proxy import READER


def _nothing_written(vault: Vault) -> None:
    for container in vault.containers:
        with vault.judge(container) as store:
            assert list(store.list("")) == []


def _refused(answer: Answer, code: int, setting: str) -> None:
    assert answer.code == code
    assert answer.status in ("failed", "damaged"), "of check and verify"
    (reason,) = answer.reasons
    assert reason.get("setting") == setting
    assert reason["remedy"], "there is a next step"
    assert setting in reason["message"] + reason["remedy"], "a person who sees no JSON reads it too"


# --- wrong usage -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["bakcup"],
        ["backup", "--quickly"],
        ["backup", "extra"],
        ["backup", "--only"],
        ["backup", "--only", "shares"],
        ["backup", "--without", "nobody"],
        ["backup", "--workers", "0"],
        ["backup", "--workers", "many"],
        ["show"],
        ["restore"],
        ["restore", "databases"],
        ["prune", "--forget"],
        ["check", "--read-date"],
        ["verify", "--point"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_object_too(lifeboat_in: CommandLine, vault: Vault, arguments: list[str]) -> None:
    answer = lifeboat_in(*arguments)

    failed = "damaged" if arguments[:1] in (["check"], ["verify"]) else "failed"
    assert (answer.code, answer.status, answer.codes) == (2, failed, ["wrong-usage"])
    assert answer.reasons[0]["remedy"]
    _nothing_written(vault)


def test_wrong_usage_is_told_to_people_on_standard_error(lifeboat_in: CommandLine) -> None:
    code, out, err = lifeboat_in.people("backup", "--quickly")

    assert (code, out) == (2, "")
    assert "--quickly" in err


def test_help_is_no_failure(lifeboat_in: CommandLine) -> None:
    code, out, _ = lifeboat_in.people("backup", "--help")

    assert code == 0
    assert "--allow-shrink" in out


# --- settings --------------------------------------------------------------------------------------------------------

WRONG_SETTINGS = [
    ("LOCK_WAIT", "half an hour"),
    ("LOCK_WAIT", "30"),
    ("LOCK_WAIT", "-1s"),
    ("SHARE_LOOK_EVERY", "1w"),
    ("SHARE_ACL", "yes"),
    ("SHARE_MODE", "write"),
    ("SHARE_PREVIOUS_VERSION", "oldest"),
    ("SHARE_MAX_SHRINK", "50%"),
    ("SHARE_MAX_SHRINK", "1.5"),
    ("SHARE_MAX_SHRINK", "nan"),
    ("SHARE_URL", "/mnt/share"),
    ("SHARE_URL", "https://files.example/share"),
    ("SHARE_URL", "smb://files.example"),
    ("SHARE_URL", "smb://user:secret@files.example/share"),
    ("SHARE_URL", "smb://files.example:port/share"),
    ("VAULT_URL", "not a URL"),
    ("VAULT_URL", "ftp://vault.example"),
    ("VAULT_KEY", "not base 64"),
    ("EXPIRY_WARNING", "two months"),
    ("RPO_DATABASES", "26"),
    ("RPO_SHARE", "1w"),
    ("RPO_SECRETS", "never"),
    ("APP_SERVICE_BUILD", "@Microsoft.KeyVault(VaultName=kv;SecretName=build)"),
]


@pytest.mark.parametrize(("setting", "value"), WRONG_SETTINGS)
def test_a_malformed_setting_is_named(lifeboat_in: CommandLine, vault: Vault, setting: str, value: str) -> None:
    lifeboat_in.set(SHARE_USERNAME="reader", SHARE_PASSWORD="x", **{setting: value})

    answer = lifeboat_in("backup")

    _refused(answer, 2, f"LIFEBOAT_{setting}")
    assert "secret" not in answer.reasons[0]["message"] + answer.stderr
    _nothing_written(vault)


@pytest.mark.parametrize("setting", ["VAULT_URL", "REPOSITORY_PASSWORD"])
@pytest.mark.parametrize("arguments", [["backup"], ["restore", "share", "--to", "x"], ["check"]], ids=" ".join)
def test_a_missing_setting_is_named(lifeboat_in: CommandLine, vault: Vault, setting: str, arguments: list[str]) -> None:
    lifeboat_in.unset(setting)
    if setting == "REPOSITORY_PASSWORD" and arguments != ["backup"]:
        with vault.judge() as store:
            store.put("config", b"there is a repository")

    _refused(lifeboat_in(*arguments), 2, f"LIFEBOAT_{setting}")


def test_nothing_configured_is_told(lifeboat_in: CommandLine) -> None:
    lifeboat_in.unset("SHARE_URL")

    _refused(lifeboat_in("backup"), 2, "LIFEBOAT_SHARE_URL")


@pytest.mark.parametrize(
    ("only", "setting"),
    [("databases", "LIFEBOAT_SQL_SERVER"), ("secrets", "LIFEBOAT_KEY_VAULT_URL"), ("share", "LIFEBOAT_SHARE_URL")],
)
def test_only_of_a_component_that_is_not_configured_is_refused(
    lifeboat_in: CommandLine, vault: Vault, only: str, setting: str
) -> None:
    lifeboat_in.set(SHARE_URL="")
    if only != "share":
        lifeboat_in.set(SHARE_URL=lifeboat_in.share.as_uri())

    _refused(lifeboat_in("backup", "--only", only), 2, setting)
    _nothing_written(vault)


@pytest.mark.parametrize(
    "setting", ["VAULT_URL", "VAULT_KEY", "REPOSITORY_PASSWORD", "SHARE_URL", "SHARE_PASSWORD", "SQL_SERVER", "DEBUG"]
)
def test_a_key_vault_reference_that_nobody_resolved_is_refused(
    lifeboat_in: CommandLine, vault: Vault, setting: str
) -> None:
    reference = "@Microsoft.KeyVault(SecretUri=https://kv.example/secrets/x)"
    lifeboat_in.set(**{setting: reference})

    answer = lifeboat_in("backup")

    assert reference not in str(answer.json)
    if setting != "DEBUG":  # asked for only when something unexpected has happened
        _refused(answer, 2, f"LIFEBOAT_{setting}")
        _nothing_written(vault)


@pytest.mark.parametrize("debug", ["maybe", "@Microsoft.KeyVault(x)"])
def test_something_unexpected_is_told_as_everything_else(
    lifeboat_in: CommandLine, monkeypatch: pytest.MonkeyPatch, debug: str
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("nobody thought of this")

    monkeypatch.setattr("shared.recovery_point.listing.list_points", broken)
    lifeboat_in.set(DEBUG=debug)

    answer = lifeboat_in("points")

    assert answer.code == 1
    assert "nobody thought of this" in answer.reasons[0]["message"]


# --- the vault -------------------------------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not answer is not asked for long."""
    monkeypatch.setattr(vault_module, "FIRST_ANSWER_SECONDS", 0.0)
    monkeypatch.setattr(retrying, "LIMIT_SECONDS", 0.0, raising=False)


def _unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


COMMANDS = [["backup"], ["points"], ["check"], ["restore", "share", "--to", "x"], ["show", "20990101T000000Z-abcdef"]]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_vault_that_does_not_answer(lifeboat_in: CommandLine, arguments: list[str]) -> None:
    lifeboat_in.set(VAULT_URL=f"http://127.0.0.1:{_unused_port()}/test")

    answer = lifeboat_in(*arguments)

    assert answer.code == 1
    assert answer.codes == ["storage-unavailable"]
    assert "LIFEBOAT_VAULT_URL" in answer.reasons[0]["message"] + answer.reasons[0]["remedy"]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_wrong_vault_key(lifeboat_in: CommandLine, arguments: list[str]) -> None:
    """Fault 29."""
    lifeboat_in.set(VAULT_KEY="d3Jvbmc=")

    answer = lifeboat_in(*arguments)

    assert answer.code == 1
    assert "LIFEBOAT_VAULT_KEY" in answer.reasons[0]["message"] + answer.reasons[0]["remedy"]


@pytest.mark.parametrize("arguments", COMMANDS[1:], ids=" ".join)
def test_only_a_backup_makes_containers(lifeboat_in: CommandLine, azurite: Azurite, arguments: list[str]) -> None:
    with new_vault(azurite, containers=()) as empty:
        lifeboat_in.set(VAULT_URL=empty.direct)
        answer = lifeboat_in(*arguments)

        assert (answer.code, answer.codes) == (10, ["no-container"])
        assert answer.reasons[0]["setting"] == "LIFEBOAT_VAULT_URL"
        lifeboat_in("backup")
        assert lifeboat_in("points").code == 0


def test_a_backup_that_may_not_make_containers_names_the_right(lifeboat_in: CommandLine, azurite: Azurite) -> None:
    with new_vault(azurite, containers=()) as empty:
        lifeboat_in.set(VAULT_URL=empty.url)

        answer = lifeboat_in("backup")

    assert answer.code == 1
    assert "container" in answer.reasons[0]["message"] + answer.reasons[0]["remedy"]


def test_a_vault_that_may_only_be_read(lifeboat_in: CommandLine, azurite: Azurite) -> None:
    with new_vault(azurite, rights=READER) as vault:
        lifeboat_in.set(VAULT_URL=vault.url)

        answer = lifeboat_in("backup")

        assert (answer.code, answer.codes) == (1, ["storage-forbidden"])
        assert answer.reasons[0]["remedy"]
        _nothing_written(vault)


# --- the repository --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["backup"], ["check"], ["restore", "share", "--to", "x"]], ids=" ".join)
def test_a_wrong_repository_password_is_12(lifeboat_in: CommandLine, vault: Vault, arguments: list[str]) -> None:
    lifeboat_in("backup")
    with vault.judge() as store:
        before = [blob.name for blob in store.list("")]
    lifeboat_in.set(REPOSITORY_PASSWORD="wrong")

    _refused(lifeboat_in(*arguments), 12, "LIFEBOAT_REPOSITORY_PASSWORD")

    with vault.judge() as store:
        assert [blob.name for blob in store.list("")] == before
    assert len(lifeboat_in("points").json["points"]) == 1


@pytest.mark.parametrize("arguments", [["check"], ["restore", "share", "--to", "x"]], ids=" ".join)
def test_no_repository_is_10(lifeboat_in: CommandLine, vault: Vault, arguments: list[str]) -> None:
    answer = lifeboat_in(*arguments)

    assert (answer.code, answer.codes) == (10, ["no-repository"])
    assert "backup" in answer.reasons[0]["remedy"]
    _nothing_written(vault)


def test_a_vault_that_somebody_emptied_is_10_and_the_way_out_is_named(lifeboat_in: CommandLine, vault: Vault) -> None:
    lifeboat_in("backup")
    with vault.judge() as store:
        for blob in list(store.list("")):
            store.delete(blob.name)

    answer = lifeboat_in("backup")

    assert (answer.code, answer.codes) == (10, ["no-repository"])
    assert "undelete" in answer.reasons[0]["remedy"]
    assert "--new-repository" in answer.reasons[0]["remedy"]
    with vault.judge() as store:
        assert list(store.list("")) == []
    anew = lifeboat_in("backup", "--new-repository")
    assert (anew.code, anew.share["files"]) == (0, 10)


@pytest.mark.parametrize("victim", ["config", "keys/", "index/", "snapshots/", "data/"])
def test_a_corrupted_blob_is_told_and_named(
    lifeboat_in: CommandLine, vault: Vault, tmp_path: Path, victim: str
) -> None:
    """Faults 6, 7."""
    lifeboat_in("backup")
    with vault.judge() as store:
        for blob in list(store.list(victim)):
            body = bytearray(store.get(blob.name))
            body[len(body) // 2] ^= 1
            store.delete(blob.name)
            store.put(blob.name, bytes(body))

    checked = lifeboat_in("check", "--read-data")
    restored = lifeboat_in("restore", "share", "--to", str(tmp_path / "back"))

    assert checked.code in (1, 12)
    assert restored.code in (1, 3, 12)
    assert all(reason["remedy"] for reason in checked.reasons + restored.reasons)
    if victim not in ("config", "keys/"):
        assert any(victim in reason.get("object", "") for reason in checked.reasons)
    for name, content in lifeboat_in.contents(tmp_path / "back").items():
        assert content == lifeboat_in.contents()[name], "never a wrong file"


def test_a_lock_of_somebody_else_is_11_and_nothing_is_written(
    lifeboat_in: CommandLine, vault: Vault, newest_restic: StockRestic
) -> None:
    from shared.repository.initialise import GivenPassword, open_repository
    from shared.repository.locks import HeldLock
    from tests.integration.commandline.conftest import PASSWORD

    lifeboat_in("backup")
    lifeboat_in.set(LOCK_WAIT="0s")
    with vault.judge() as share, vault.judge("recovery-points") as records:
        repository = open_repository(share, records, GivenPassword(PASSWORD))
        with HeldLock(repository, exclusive=True, hostname="the-keeper"):
            answer = lifeboat_in("backup")
        assert (answer.code, answer.codes) == (11, ["locked"])
        assert "the-keeper" in answer.reasons[0]["message"]
        assert "LIFEBOAT_LOCK_WAIT" in answer.reasons[0]["remedy"]
        assert list(share.list("locks/")) == []
    assert len(lifeboat_in("points").json["points"]) == 1
    assert lifeboat_in("backup").code == 0


# --- the share -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["nowhere", "a-file"])
def test_a_folder_that_is_none_is_a_failed_point_fault_25(lifeboat_in: CommandLine, path: str) -> None:
    (lifeboat_in.share / "a-file").write_text("no folder")
    lifeboat_in.set(SHARE_URL=(lifeboat_in.share / path).as_uri())

    answer = lifeboat_in("backup")

    assert (answer.code, answer.status, answer.codes) == (1, "failed", ["source-not-found"])
    assert answer.reasons[0]["setting"] == "LIFEBOAT_SHARE_URL"
    assert answer.json["snapshot"] is None


def test_an_smb_server_that_is_not_there_is_a_failed_point(lifeboat_in: CommandLine) -> None:
    lifeboat_in.set(SHARE_URL=f"smb://127.0.0.1:{_unused_port()}/data", SHARE_USERNAME="u", SHARE_PASSWORD="p")

    answer = lifeboat_in("backup")

    assert (answer.code, answer.status, answer.codes) == (1, "failed", ["source-unreachable"])
    assert answer.reasons[0]["setting"] == "LIFEBOAT_SHARE_URL"


def test_an_smb_share_needs_a_user_and_a_password(lifeboat_in: CommandLine, vault: Vault) -> None:
    lifeboat_in.set(SHARE_URL="smb://files.example/data")
    _refused(lifeboat_in("backup"), 2, "LIFEBOAT_SHARE_USERNAME")

    lifeboat_in.set(SHARE_USERNAME="reader")
    _refused(lifeboat_in("backup"), 2, "LIFEBOAT_SHARE_PASSWORD")
    _nothing_written(vault)


@pytest.mark.parametrize("arguments", [["status", "--bogus"], ["status"]])
def test_status_has_all_of_its_keys_whatever_happens(lifeboat_in: CommandLine, arguments: list[str]) -> None:
    lifeboat_in.unset("VAULT_URL")
    answer = lifeboat_in(*arguments)
    assert (answer.code, answer.json["status"]) == (2, "late")
    assert KEYS["status"] <= answer.json.keys()
