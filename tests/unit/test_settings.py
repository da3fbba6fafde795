"""Settings: what they mean, and what is said of those that mean nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath

import pytest

from shared.errors import SettingsError
from shared.settings import Settings, ShareSettings, local_folder


def share(**values: str) -> ShareSettings:
    named = {"LIFEBOAT_SHARE_URL": "file:///data", **{f"LIFEBOAT_{name}": value for name, value in values.items()}}
    return Settings.from_environment(named).share()


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("26h", 93_600), ("30d", 2_592_000), ("0s", 0)]
)
def test_durations(text: str, seconds: int) -> None:
    assert Settings.from_environment({"LIFEBOAT_LOCK_WAIT": text}).lock_wait_seconds() == seconds


@pytest.mark.parametrize("text", ["90", "s", "1.5h", "-1s", "1w", "1 h", "1H", "١s ago", "1h30m"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({"LIFEBOAT_LOCK_WAIT": text}).lock_wait_seconds()

    assert caught.value.setting == "LIFEBOAT_LOCK_WAIT"
    assert "26h" in caught.value.remedy


@pytest.mark.parametrize(("text", "value"), [("true", True), ("False", False), ("TRUE", True)])
def test_booleans(text: str, value: bool) -> None:
    assert share(SHARE_ACL=text).acl is value


@pytest.mark.parametrize("text", ["1", "0", "yes", "on", "t"])
def test_what_is_no_boolean(text: str) -> None:
    with pytest.raises(SettingsError):
        share(SHARE_ACL=text)


@pytest.mark.parametrize("text", ["-0.1", "1.1", "50%", "nan", "inf", "half"])
def test_what_is_no_fraction(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        share(SHARE_MAX_SHRINK=text)

    assert caught.value.setting == "LIFEBOAT_SHARE_MAX_SHRINK"


def test_lists_are_separated_by_commas() -> None:
    assert share(SHARE_EXCLUDE=" a , b/*,, ").exclude == ("a", "b/*")


def test_an_empty_setting_counts_as_absent() -> None:
    assert share(SHARE_EXCLUDE="", SHARE_LOOK_EVERY="").look_every_seconds == 86_400
    assert Settings.from_environment({"LIFEBOAT_SHARE_URL": ""}).configured() == []


def test_defaults_are_those_of_the_contract() -> None:
    settings = share()

    assert (settings.include, settings.exclude, settings.tolerate) == ((), (), ())
    assert (settings.previous_version, settings.max_shrink) == ("off", 0.5)
    assert Settings.from_environment({}).lock_wait_seconds() == 30 * 60
    vault = Settings.from_environment({"LIFEBOAT_VAULT_URL": "https://vault.example/"}).vault()
    assert (vault.url, vault.key, vault.api_version) == ("https://vault.example", None, "2025-11-05")


@pytest.mark.parametrize(("url", "acl"), [("smb://fs/WebSites", True), ("file:///WebSites", False)])
def test_descriptors_are_kept_of_smb_shares_by_default(url: str, acl: bool) -> None:
    assert share(SHARE_URL=url, SHARE_USERNAME="u").acl is acl


@pytest.mark.parametrize(
    ("settings", "configured"),
    [
        ({}, []),
        ({"SHARE_URL": "file:///x"}, ["share"]),
        (
            {"SQL_SERVER": "sql", "KEY_VAULT_URL": "https://kv", "SHARE_URL": "smb://a/b"},
            ["databases", "share", "secrets"],
        ),
        ({"SHARE_USERNAME": "u", "SQL_USERNAME": "u"}, []),
    ],
)
def test_a_component_is_configured_when_its_first_setting_is_there(
    settings: dict[str, str], configured: list[str]
) -> None:
    named = {f"LIFEBOAT_{name}": value for name, value in settings.items()}

    assert Settings.from_environment(named).configured() == configured


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"SHARE_USERNAME": "s", "SHARE_PASSWORD": "sp"}, ("s", "sp")),
        (
            {"SHARE_USERNAME": "s", "SHARE_PASSWORD": "sp", "RESTORE_USERNAME": "r", "RESTORE_PASSWORD": "rp"},
            ("r", "rp"),
        ),
        ({"SHARE_USERNAME": "s", "SHARE_PASSWORD": "sp", "RESTORE_USERNAME": "r"}, ("r", None)),
        ({}, (None, None)),
    ],
)
def test_a_restore_uses_the_share_s_credentials_unless_it_has_its_own(
    given: dict[str, str], expected: tuple[str | None, str | None]
) -> None:
    """One user's name is never tried with another's password."""
    named = {f"LIFEBOAT_{name}": value for name, value in given.items()}

    assert Settings.from_environment(named).restore_credentials() == expected


@pytest.mark.parametrize(
    ("url", "folder"),
    [("file:///mnt/web%20sites", "/mnt/web sites"), ("FILE:///x", "/x"), ("smb://a/b", None), ("/mnt", None)],
)
def test_the_folder_of_a_file_url(url: str, folder: str | None) -> None:
    found = local_folder(url)

    assert (None if found is None else PurePosixPath(found.as_posix())) == (folder and PurePosixPath(folder))


def test_no_secret_is_in_a_settings_text() -> None:
    settings = Settings.from_environment(
        {
            "LIFEBOAT_VAULT_URL": "https://vault.example",
            "LIFEBOAT_VAULT_KEY": "hush",
            "LIFEBOAT_REPOSITORY_PASSWORD": "hush",
            "LIFEBOAT_SHARE_URL": "smb://a/b",
            "LIFEBOAT_SHARE_USERNAME": "u",
            "LIFEBOAT_SHARE_PASSWORD": "hush",
        }
    )

    assert "hush" not in f"{settings!r} {settings.vault()!r} {settings.share()!r}"


@pytest.mark.parametrize("text", ["0s", "9s"])
def test_a_step_in_which_nothing_gets_done_is_refused(text: str) -> None:
    """It would be gone on with for ever."""
    wrong("SHARD_BUDGET", lambda: Settings({"LIFEBOAT_SHARD_BUDGET": text}).steps())
    assert Settings({"LIFEBOAT_SHARD_BUDGET": "10s"}).steps().shard_budget_seconds == 10


# --- databases ---


def sql(**values: str) -> Settings:
    named = {"SQL_SERVER": "sql.local", "SQL_USERNAME": "lifeboat", **values}
    return Settings.from_environment({f"LIFEBOAT_{name}": value for name, value in named.items()})


def wrong(setting: str, read: Callable[[], object]) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        read()
    assert caught.value.setting == f"LIFEBOAT_{setting}"
    assert f"LIFEBOAT_{setting}" in str(caught.value)
    assert caught.value.remedy
    return caught.value


def test_defaults_of_the_databases_are_those_of_the_contract() -> None:
    settings = sql().databases()

    assert settings.databases == ("appservice_hosting", "appservice_metering", "master")
    assert (settings.mode, settings.own_log_chain) == ("url", False)
    assert (settings.full_every_seconds, settings.statement_limit_seconds) == (7 * 86_400, 8 * 3600)
    server = settings.server
    assert (server.server, server.username, server.password) == ("sql.local", "lifeboat", None)
    assert (server.secret, server.prefix) == ("sql-password", "LIFEBOAT_SQL")
    assert (server.driver, server.trust_server_certificate, server.server_certificate) == (None, False, None)


@pytest.mark.parametrize(("mode", "compressed"), [("url", True), ("disk", False), ("URL", True)])
def test_backups_on_disk_are_not_compressed_by_default_since_the_repository_does_it_better(
    mode: str, compressed: bool
) -> None:
    assert sql(SQL_MODE=mode).databases().compression is compressed
    assert sql(SQL_MODE=mode, SQL_COMPRESSION=str(not compressed)).databases().compression is not compressed


def test_what_is_set_of_the_databases_is_taken() -> None:
    settings = sql(
        SQL_DATABASES=" b , a,b,, ",
        SQL_OWN_LOG_CHAIN="true",
        SQL_FULL_EVERY="2d",
        SQL_STATEMENT_LIMIT="90m",
        SQL_PASSWORD="hush",
        SQL_DRIVER="FreeTDS",
        SQL_TRUST_SERVER_CERTIFICATE="true",
        SQL_SERVER_CERTIFICATE="/x.pem",
    ).databases()

    assert settings.databases == ("b", "a")
    assert settings.own_log_chain
    assert (settings.full_every_seconds, settings.statement_limit_seconds) == (172_800, 5400)
    server = settings.server
    assert (server.password, server.driver) == ("hush", "FreeTDS")
    assert (server.trust_server_certificate, server.server_certificate) == (True, "/x.pem")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SQL_MODE", "tape"),
        ("SQL_OWN_LOG_CHAIN", "1"),
        ("SQL_FULL_EVERY", "weekly"),
        ("SQL_STATEMENT_LIMIT", "8"),
        ("SQL_COMPRESSION", "yes"),
        ("SQL_TRUST_SERVER_CERTIFICATE", "maybe"),
        ("SQL_SERVER", ""),
        ("SQL_USERNAME", ""),
        ("SQL_PASSWORD", "@Microsoft.KeyVault(SecretUri=https://kv/secrets/x)"),
    ],
)
def test_what_is_wrong_of_the_databases_names_its_setting(name: str, value: str) -> None:
    wrong(name, lambda: sql(**{name: value}).databases())


@pytest.mark.parametrize(
    ("key", "sas", "expected"),
    [
        (None, None, "user-delegation"),
        ("k", None, "account-key"),
        ("k", "user-delegation", "user-delegation"),
        ("k", "Account-Key", "account-key"),
    ],
)
def test_who_signs_what_sql_server_is_given(key: str | None, sas: str | None, expected: str) -> None:
    values = {"LANDING_URL": "https://landing.blob/", "LANDING_KEY": key or "", "SQL_SAS": sas or ""}
    landing = sql(**values).landing()

    assert (landing.url, landing.key, landing.sas) == ("https://landing.blob", key, expected)
    assert landing.api_version == "2025-11-05"


def test_what_is_wrong_of_landing_names_its_setting() -> None:
    wrong("LANDING_URL", lambda: sql().landing())
    wrong("LANDING_KEY", lambda: sql(LANDING_URL="https://l", SQL_SAS="account-key").landing())
    wrong("SQL_SAS", lambda: sql(LANDING_URL="https://l", SQL_SAS="mine").landing())


def test_landing_is_asked_for_only_where_it_is_used() -> None:
    sql().databases()
    sql().restore_sql_server(None)
    assert sql().drill_sql_server() is None


def test_the_folder_of_mode_disk_is_reached_by_its_unc_path_unless_it_says_how() -> None:
    plain = sql(SQL_DISK_PATH="\\\\srv\\share\\50% ü\\", SHARE_USERNAME="s", SHARE_PASSWORD="sp").disk()
    own = sql(
        SQL_DISK_PATH="\\\\srv\\share",
        SQL_DISK_URL="smb://other:1445/x",
        SQL_DISK_USERNAME="d",
        SQL_DISK_PASSWORD="dp",
        SHARE_USERNAME="s",
        SHARE_PASSWORD="sp",
    ).disk()

    assert (plain.path, plain.url) == ("\\\\srv\\share\\50% ü", "smb://srv/share/50%25 ü")
    assert (plain.username, plain.password) == ("s", "sp")
    assert (own.path, own.url, own.username, own.password) == ("\\\\srv\\share", "smb://other:1445/x", "d", "dp")


@pytest.mark.parametrize(
    "path", ["D:\\backup", "/mnt/backup", "\\\\srv", "\\\\srv\\", "smb://srv/share", "\\srv\\share"]
)
def test_what_is_no_unc_path(path: str) -> None:
    wrong("SQL_DISK_PATH", lambda: sql(SQL_DISK_PATH=path, SHARE_USERNAME="s").disk())


def test_what_is_missing_of_mode_disk_names_its_setting() -> None:
    wrong("SQL_DISK_PATH", lambda: sql(SHARE_USERNAME="s").disk())
    wrong("SHARE_USERNAME", lambda: sql(SQL_DISK_PATH="\\\\srv\\share").disk())


@pytest.mark.parametrize(
    ("given", "server", "expected"),
    [
        ({}, None, ("sql.local", "lifeboat", "sp", "LIFEBOAT_SQL")),
        ({}, "other", ("other", "lifeboat", "sp", "LIFEBOAT_SQL")),
        ({"U": "r", "P": "rp"}, None, ("sql.local", "r", "rp", "LIFEBOAT_RESTORE_SQL")),
        ({"U": "r", "P": "rp"}, "other", ("other", "r", "rp", "LIFEBOAT_RESTORE_SQL")),
        ({"P": "rp"}, "other", ("other", "lifeboat", "rp", "LIFEBOAT_RESTORE_SQL")),
    ],
)
def test_who_restores_is_who_backs_up_unless_it_has_its_own_login(
    given: dict[str, str], server: str | None, expected: tuple[str, str, str, str]
) -> None:
    named = {"RESTORE_SQL_USERNAME": given.get("U", ""), "RESTORE_SQL_PASSWORD": given.get("P", "")}
    found = sql(SQL_PASSWORD="sp", **named).restore_sql_server(server)

    assert (found.server, found.username, found.password, found.prefix) == expected
    assert found.secret == "sql-password"


def test_a_restore_to_another_server_needs_no_source() -> None:
    """On a bare machine the source may be gone."""
    settings = Settings.from_environment({"LIFEBOAT_RESTORE_SQL_USERNAME": "r", "LIFEBOAT_RESTORE_SQL_PASSWORD": "p"})

    assert settings.restore_sql_server("new").username == "r"
    assert settings.sql_mode(default="disk") == "disk"
    wrong("SQL_SERVER", lambda: settings.restore_sql_server(None))


def test_a_restore_login_is_enough_to_restore_to_the_source() -> None:
    """On the machine of whoever restores nobody knows the login of the backups."""
    own = {"RESTORE_SQL_USERNAME": "r", "RESTORE_SQL_PASSWORD": "p"}
    found = sql(SQL_USERNAME="", **own).restore_sql_server(None)

    assert (found.server, found.username, found.password) == ("sql.local", "r", "p")


@pytest.mark.parametrize("server", [None, "other"])
@pytest.mark.parametrize("password", ["", "p"])
def test_without_any_login_the_one_that_restores_is_asked_for(server: str | None, password: str) -> None:
    error = wrong(
        "RESTORE_SQL_USERNAME",
        lambda: sql(SQL_USERNAME="", RESTORE_SQL_PASSWORD=password).restore_sql_server(server),
    )
    assert "LIFEBOAT_SQL_USERNAME" in error.remedy


def test_a_drill_has_a_server_of_its_own_and_its_password_is_another_secret() -> None:
    found = sql(DRILL_SQL_SERVER="drill", SQL_PASSWORD="sp").drill_sql_server()
    own = sql(DRILL_SQL_SERVER="drill", DRILL_SQL_USERNAME="d", DRILL_SQL_PASSWORD="dp").drill_sql_server()

    assert found is not None
    assert (found.server, found.username, found.password) == ("drill", "lifeboat", None)
    assert (found.secret, found.prefix) == ("drill-sql-password", "LIFEBOAT_DRILL_SQL")
    assert own is not None
    assert (own.username, own.password) == ("d", "dp")


def test_no_secret_of_the_databases_is_in_a_settings_text() -> None:
    secrets = ("SQL_PASSWORD", "LANDING_KEY", "SQL_DISK_PASSWORD", "RESTORE_SQL_PASSWORD", "DRILL_SQL_PASSWORD")
    settings = sql(
        LANDING_URL="https://l",
        SQL_DISK_PATH="\\\\srv\\share",
        SQL_DISK_USERNAME="d",
        DRILL_SQL_SERVER="drill",
        **dict.fromkeys(secrets, "hush"),
    )
    texts = (
        settings,
        settings.databases(),
        settings.landing(),
        settings.disk(),
        settings.sql_server(),
        settings.restore_sql_server("other"),
        settings.drill_sql_server(),
    )

    assert "hush" not in repr(texts)


@pytest.mark.parametrize(
    "reference",
    [
        "@Microsoft.KeyVault(SecretUri=https://kv.example/secrets/x)",
        "@microsoft.keyvault(SecretUri=https://kv.example/secrets/x)",
        "  @Microsoft.KEYVAULT(VaultName=kv;SecretName=x)",
        "\n\t@Microsoft.KeyVault(SecretUri=https://kv.example/secrets/x)",
    ],
)
def test_a_reference_that_nobody_resolved_is_refused_however_it_is_written(reference: str) -> None:
    error = wrong("SHARE_PASSWORD", lambda: share(SHARE_PASSWORD=reference))

    assert "Key Vault reference" in str(error)
    assert "kv" not in str(error)


@pytest.mark.parametrize("password", ["Microsoft.KeyVault(x)", " @Microsoft", "x@Microsoft.KeyVault(x)"])
def test_what_only_looks_a_little_like_a_reference_is_a_value_as_it_is(password: str) -> None:
    assert share(SHARE_PASSWORD=password).password == password


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PRUNE_WAIT", "999999999999999d"),
        ("UNDELETE_FOR", "3000000d"),
        ("KEEP_DAILY", "9" * 5000),
        ("PRUNE_MAX_REPACK", "99999999999T"),
        ("PROTECT_FOR", "401d"),
        ("KEEP_LAST", "0"),
    ],
)
def test_what_is_absurd_is_refused_before_anything_is_kept_or_deleted_by_it(name: str, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({f"LIFEBOAT_{name}": text}).keeping()
    assert caught.value.setting == f"LIFEBOAT_{name}"


def test_what_is_kept_by_default_is_what_the_contract_says() -> None:
    keeping = Settings.from_environment({}).keeping()
    assert (keeping.last, keeping.hourly, keeping.daily, keeping.weekly) == (3, 0, 14, 8)
    assert (keeping.monthly, keeping.yearly, keeping.within_seconds) == (12, 0, 2 * 86_400)
    assert keeping.protect_for_seconds == 14 * 86_400


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"SQL_MODE": "adopt", "LANDING_URL": "https://l", "SQL_DISK_PATH": r"\\a\b"}, "url"),
        ({"SQL_MODE": "adopt", "SQL_DISK_PATH": r"\\a\b"}, "disk"),
        ({"SQL_MODE": "disk", "LANDING_URL": "https://l"}, "disk"),
        ({"SQL_DISK_PATH": r"\\a\b"}, "disk"),
        ({"SQL_MODE": "url"}, "url"),
    ],
)
def test_adopted_backups_come_back_by_the_way_that_is_set(values: dict[str, str], expected: str) -> None:
    settings = Settings.from_environment({f"LIFEBOAT_{name}": value for name, value in values.items()})
    assert settings.restore_sql_mode(default="adopt") == expected


def test_where_there_is_no_way_back_for_adopted_backups_both_are_named() -> None:
    settings = Settings.from_environment({"LIFEBOAT_SQL_MODE": "adopt"})
    with pytest.raises(SettingsError, match="LIFEBOAT_LANDING_URL nor LIFEBOAT_SQL_DISK_PATH"):
        settings.restore_sql_mode()


def test_in_adopt_mode_the_log_chain_is_never_ours_and_logs_are_taken_all_the_same() -> None:
    settings = Settings.from_environment({"LIFEBOAT_SQL_MODE": "adopt", "LIFEBOAT_SQL_OWN_LOG_CHAIN": "true"})
    assert (settings.own_log_chain(), settings.takes_logs()) == (False, True)
    assert not Settings.from_environment({}).takes_logs()
