"""Settings: what they mean, and what is said of those that mean nothing."""

from __future__ import annotations

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
    assert share(LOCK_WAIT=text).lock_wait_seconds == seconds


@pytest.mark.parametrize("text", ["90", "s", "1.5h", "-1s", "1w", "1 h", "1H", "١s ago", "1h30m"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        share(LOCK_WAIT=text)

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
    assert share(SHARE_EXCLUDE="", LOCK_WAIT="").lock_wait_seconds == 1800
    assert Settings.from_environment({"LIFEBOAT_SHARE_URL": ""}).configured() == []


def test_defaults_are_those_of_the_contract() -> None:
    settings = share()

    assert (settings.include, settings.exclude, settings.tolerate) == ((), (), ())
    assert (settings.previous_version, settings.max_shrink) == ("off", 0.5)
    assert settings.lock_wait_seconds == 30 * 60
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
