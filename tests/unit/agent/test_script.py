"""The script for one site: its names are filled in, no value of a setting becomes code, no secret is in it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.agent.script import LEAST_RESTIC, LIFEBOAT, RESTIC, agent_script, write_script
from shared.errors import LifeboatError, SettingsError, UsageError
from shared.fileshare.inside import TAG
from shared.settings import Settings
from tests.unit.agent.powershell_grammar import named, parsed, text_of, value_of

SITE = {
    "LIFEBOAT_VAULT_URL": "https://siteacc.blob.core.windows.net",
    "LIFEBOAT_KEY_VAULT_URL": "https://sitekv.vault.azure.net",
    "LIFEBOAT_SHARE_URL": "smb://fs01.example:4445/WebSites",
    "LIFEBOAT_SHARE_MODE": "adopt",
    "LIFEBOAT_SHARE_ADOPT_PATH": "/D/WebSites",
    "LIFEBOAT_SHARE_USERNAME": "STAMP\\reader",
}
SECRETS = {
    "LIFEBOAT_VAULT_KEY": "planted-vault-key",
    "LIFEBOAT_REPOSITORY_PASSWORD": "planted-repository-password",
    "LIFEBOAT_SHARE_PASSWORD": "planted-share-password",
    "LIFEBOAT_SQL_PASSWORD": "planted-sql-password",
}


def _settings(**more: str) -> Settings:
    return Settings.from_environment(SITE | {f"LIFEBOAT_{name}": value for name, value in more.items()})


def _values(script: str) -> list[str]:
    """Every string that stands in the site's part of the script."""
    block = script.split("# --- what is this site's ---")[1].split("# --- what is every site's ---")[0]
    expressions = named(parsed(block), "string_literal")
    return [value_of(text_of(each)) for each in expressions]


def test_for_restic_the_account_the_container_the_path_and_the_time_are_filled_in() -> None:
    made = agent_script(_settings())
    assert {"siteacc", "core.windows.net", "azure:share:/", "D:\\WebSites", "23:00"} <= set(_values(made.text))
    assert made.path == "D:\\WebSites"
    assert made.start_times == ("23:00",)
    assert made.notes == []


def test_restic_is_run_with_a_shadow_copy_and_the_tag_that_lifeboat_looks_for() -> None:
    values = _values(agent_script(_settings()).text)
    begin = values.index("backup")
    assert values[begin : begin + 8] == [
        *("backup", "--use-fs-snapshot", "--tag", TAG, "--retry-lock", "30m", "--", "D:\\WebSites")
    ]
    assert LEAST_RESTIC in values


def test_for_lifeboat_the_share_is_reached_at_the_port_of_windows_in_mode_read() -> None:
    made = agent_script(_settings(SHARE_EXCLUDE="**/logs/**", SHARE_PREVIOUS_VERSION="newest"), tool=LIFEBOAT)
    values = _values(made.text)
    for name, value in {
        "LIFEBOAT_SHARE_URL": "smb://fs01.example/WebSites",
        "LIFEBOAT_SHARE_MODE": "read",
        "LIFEBOAT_SHARE_USERNAME": "STAMP\\reader",
        "LIFEBOAT_SHARE_EXCLUDE": "**/logs/**",
        "LIFEBOAT_SHARE_PREVIOUS_VERSION": "newest",
        "LIFEBOAT_VAULT_URL": "https://siteacc.blob.core.windows.net",
    }.items():
        assert values[values.index(name) + 1] == value
    begin = values.index("backup")
    assert values[begin : begin + 3] == ["backup", "--only", "share"]


@pytest.mark.parametrize("tool", [RESTIC, LIFEBOAT])
def test_no_secret_of_the_settings_is_in_the_script(tool: str) -> None:
    made = agent_script(
        _settings(**{name.removeprefix("LIFEBOAT_"): value for name, value in SECRETS.items()}), tool=tool
    )
    assert "planted" not in made.text


@pytest.mark.parametrize("tool", [RESTIC, LIFEBOAT])
def test_secrets_are_asked_for_by_name_and_hidden_while_they_are_typed(tool: str) -> None:
    text = agent_script(_settings(), tool=tool).text
    asked = [block.split("}")[0] for block in text.split("'Name' = ")[1:]]
    secret = {block.split("'")[1] for block in asked if "$true" in block}
    shown = {block.split("'")[1] for block in asked if "$false" in block}
    assert shown == {"AZURE_TENANT_ID", "AZURE_CLIENT_ID"}
    assert (
        secret
        == {
            RESTIC: {"AZURE_CLIENT_SECRET", "AZURE_ACCOUNT_SAS", "AZURE_ACCOUNT_KEY", "RESTIC_PASSWORD"},
            LIFEBOAT: {
                *(
                    "AZURE_CLIENT_SECRET",
                    "LIFEBOAT_VAULT_KEY",
                    "LIFEBOAT_REPOSITORY_PASSWORD",
                    "LIFEBOAT_SHARE_PASSWORD",
                )
            },
        }[tool]
    )


@pytest.mark.parametrize("suffix", ["core.chinacloudapi.cn", "core.usgovcloudapi.net"])
@pytest.mark.parametrize("tool", [RESTIC, LIFEBOAT])
def test_in_another_cloud_tokens_come_from_its_own_authority(suffix: str, tool: str) -> None:
    values = _values(agent_script(_settings(VAULT_URL=f"https://siteacc.blob.{suffix}"), tool=tool).text)
    assert values[values.index("AZURE_AUTHORITY_HOST") + 1].startswith("https://login.")


HOSTILE = st.text(st.sampled_from("'\"`$(){};|&#@<>\\/:\r\n\t ‘’‚‛“”–ü\u2028😀azD")) | st.text()
NO_SETTING_HOLDS = str.maketrans("", "", "\0")
"""The operating system has no such variable."""


@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
def test_no_value_of_a_setting_becomes_code(folder: str, key_vault: str, user: str, pattern: str) -> None:
    """Whatever the settings hold, the script has the same commands and variables as one for a harmless site."""
    hostile = {
        "KEY_VAULT_URL": f"https://{key_vault}",
        "SHARE_USERNAME": f"u{user}",
        "SHARE_EXCLUDE": f"x{pattern}",
        "SHARE_ADOPT_PATH": f"/D/{folder}",
    }
    settings = _settings(**{name: value.translate(NO_SETTING_HOLDS) for name, value in hostile.items()})
    assert _code(agent_script(settings, tool=LIFEBOAT).text) == HARMLESS[LIFEBOAT]
    with contextlib.suppress(UsageError):  # no folder of Windows has such a name
        assert _code(agent_script(settings, tool=RESTIC).text) == HARMLESS[RESTIC]


def _code(script: str) -> list[str]:
    """What a script does, apart from its values."""
    assert script.isascii()
    tree = parsed(script)
    assert not tree.has_error
    return [text_of(each) for each in named(tree, "command", "variable", "invokation_expression")]


HARMLESS = {tool: _code(agent_script(_settings(SHARE_EXCLUDE="x"), tool=tool).text) for tool in (RESTIC, LIFEBOAT)}


@pytest.mark.parametrize(
    "path", ["D:\\Web Sites", "D:\\O'Brien", "D:\\$env\\$(Get-Date)", "D:\\äöü", "D:\\‘; Get-Date; ’", "D:\\a`b;c"]
)
def test_a_path_with_every_character_that_windows_allows_stays_what_it_is(path: str) -> None:
    made = agent_script(_settings(), path=path)
    block = made.text.split("'SharePath' = ")[1].split("\n")[0]
    assert value_of(block) == path


def test_the_path_that_is_given_wins_and_the_setting_that_disagrees_is_named() -> None:
    made = agent_script(_settings(), path="E:\\Other")
    assert made.path == "E:\\Other"
    assert any("LIFEBOAT_SHARE_ADOPT_PATH=/E/Other" in note for note in made.notes)


def test_where_nothing_says_the_path_it_is_asked_for() -> None:
    with pytest.raises(UsageError, match="where the share lies") as refused:
        agent_script(_settings(SHARE_ADOPT_PATH=""))
    assert "--path" in refused.value.remedy


def test_a_path_of_another_system_is_named() -> None:
    with pytest.raises(UsageError, match="/srv/WebSites"):
        agent_script(_settings(SHARE_ADOPT_PATH="/srv/WebSites"))


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:10000/devstoreaccount1", "https://vault.example", "https://acc.blob.core.windows.net:444"]
)
def test_a_vault_that_restic_cannot_name_is_refused_with_the_tool_that_can(url: str) -> None:
    with pytest.raises(SettingsError) as refused:
        agent_script(_settings(VAULT_URL=url))
    assert refused.value.setting == "LIFEBOAT_VAULT_URL"
    assert "--tool lifeboat" in refused.value.remedy
    assert agent_script(_settings(VAULT_URL=url), tool=LIFEBOAT).path == "smb://fs01.example/WebSites"


def test_an_older_protocol_is_told_to_be_nothing_for_restic() -> None:
    (note,) = agent_script(_settings(STORAGE_API_VERSION="2019-07-07")).notes
    assert "--tool lifeboat" in note


def test_where_lifeboat_still_reads_the_share_itself_it_is_told_to_adopt() -> None:
    (note,) = agent_script(_settings(SHARE_MODE="read")).notes
    assert "LIFEBOAT_SHARE_MODE=adopt" in note


def test_patterns_are_told_not_to_reach_restic() -> None:
    (note,) = agent_script(_settings(SHARE_EXCLUDE="**/logs/**")).notes
    assert "LIFEBOAT_SHARE_EXCLUDE" in note


def test_what_lifeboat_on_the_file_server_lacks_is_named() -> None:
    for more, setting in (
        ({"SHARE_URL": "file:///D:/x"}, "LIFEBOAT_SHARE_URL"),
        ({"SHARE_USERNAME": ""}, "LIFEBOAT_SHARE_USERNAME"),
    ):
        with pytest.raises(SettingsError) as refused:
            agent_script(_settings(**more), tool=LIFEBOAT)
        assert refused.value.setting == setting
    with pytest.raises(UsageError, match="--path is for restic"):
        agent_script(_settings(), tool=LIFEBOAT, path="D:\\WebSites")
    with pytest.raises(UsageError, match="no tool 'robocopy'"):
        agent_script(_settings(), tool="robocopy")


def test_a_schedule_that_is_none_is_named() -> None:
    with pytest.raises(SettingsError) as refused:
        agent_script(_settings(SCHEDULE_BACKUP="tonight"))
    assert refused.value.setting == "LIFEBOAT_SCHEDULE_BACKUP"


def test_the_script_is_written_once_with_the_line_ends_of_windows(tmp_path: Path) -> None:
    made = agent_script(_settings())
    write_script(made, tmp_path / "agent.ps1")
    assert (tmp_path / "agent.ps1").read_bytes() == made.text.replace("\n", "\r\n").encode("ascii")
    with pytest.raises(UsageError, match="is there already"):
        write_script(made, tmp_path / "agent.ps1")
    with pytest.raises(LifeboatError, match="could not be written"):
        write_script(made, tmp_path / "nowhere" / "agent.ps1")
