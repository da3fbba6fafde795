"""agent-script by command: on the screen, as a file, as JSON, and what is wrong with how it was called."""

from __future__ import annotations

from pathlib import Path

from tests.integration.commandline.conftest import CommandLine


def _site(lifeboat_in: CommandLine) -> None:
    lifeboat_in.set(
        VAULT_URL="https://siteacc.blob.core.windows.net",
        SHARE_URL="smb://fs01/WebSites",
        SHARE_MODE="adopt",
        SHARE_ADOPT_PATH="/D/WebSites",
        SHARE_USERNAME="reader",
    )


def test_the_script_is_printed_and_is_the_same_as_in_json(lifeboat_in: CommandLine) -> None:
    _site(lifeboat_in)
    answer = lifeboat_in("agent-script", "--at", "22:15")
    assert answer.code == 0
    assert (answer.json["tool"], answer.json["path"], answer.json["start_times"]) == (
        "restic",
        "D:\\WebSites",
        ["22:15"],
    )
    code, printed, told = lifeboat_in.people("agent-script", "--at", "22:15")
    assert (code, told) == (0, "")
    assert printed == answer.json["script"]


def test_the_script_is_written_to_a_new_file_only(lifeboat_in: CommandLine, tmp_path: Path) -> None:
    _site(lifeboat_in)
    file = tmp_path / "agent.ps1"
    code, printed, told = lifeboat_in.people("agent-script", "--tool", "lifeboat", "--output", str(file))
    assert (code, printed) == (0, "")
    assert "run it on the file server, as administrator" in told
    assert file.read_bytes().startswith(b"#Requires -Version 5.1\r\n")
    again = lifeboat_in("agent-script", "--output", str(file))
    assert (again.code, again.codes) == (2, ["wrong-usage"])


def test_notes_are_told_beside_the_script(lifeboat_in: CommandLine) -> None:
    _site(lifeboat_in)
    lifeboat_in.set(SHARE_MODE="read")
    code, printed, told = lifeboat_in.people("agent-script")
    assert code == 0
    assert printed.startswith("#Requires")
    assert "LIFEBOAT_SHARE_MODE=adopt" in told


def test_a_path_in_the_network_is_wrong_usage_with_the_way_out(lifeboat_in: CommandLine) -> None:
    _site(lifeboat_in)
    answer = lifeboat_in("agent-script", "--path", "\\\\fs01\\WebSites")
    assert answer.code == 2
    assert "no shadow copy" in answer.reasons[0]["message"]
    assert "--tool lifeboat" in answer.reasons[0]["remedy"]


def test_a_vault_that_restic_cannot_reach_names_the_setting(lifeboat_in: CommandLine) -> None:
    _site(lifeboat_in)
    lifeboat_in.set(VAULT_URL="http://127.0.0.1:10000/devstoreaccount1")
    answer = lifeboat_in("agent-script")
    assert answer.code == 2
    assert answer.reasons[0]["setting"] == "LIFEBOAT_VAULT_URL"
