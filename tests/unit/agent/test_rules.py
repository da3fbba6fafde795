"""The script as Windows PowerShell 5.1 has to take it, as far as that can be told without one: the grammar, and the
rules of Microsoft's PSScriptAnalyzer that matter here, by hand. On a real Windows it has not been run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shared.agent
from shared.agent.script import LIFEBOAT, RESTIC, agent_script
from shared.settings import Settings
from tests.unit.agent.powershell_grammar import mistakes, named, parsed, text_of
from tests.unit.agent.test_script import SITE

TEMPLATE = (Path(shared.agent.__file__).with_name("agent.ps1")).read_text("ascii")
SCRIPTS = {tool: agent_script(Settings.from_environment(SITE), tool=tool).text for tool in (RESTIC, LIFEBOAT)}

APPROVED = {
    *("Assert", "Clear", "ConvertTo", "Get", "Install", "Invoke", "Protect", "Read", "Register", "Save", "Test"),
    *("Uninstall", "Write"),
}
"""Verbs that Microsoft approves of, those of them that are used here."""

KNOWN = {
    "Add-Content": {"LiteralPath", "Encoding", "Value"},
    "Add-Type": {"AssemblyName"},
    "ConvertFrom-Json": set(),
    "ConvertTo-Json": {"Compress"},
    "Copy-Item": {"LiteralPath", "Destination", "Force"},
    "Get-Acl": {"LiteralPath"},
    "Get-ChildItem": {"LiteralPath", "Filter"},
    "Get-FileHash": {"LiteralPath", "Algorithm"},
    "Get-ScheduledTask": {"TaskPath", "TaskName", "ErrorAction"},
    "Join-Path": {"Path", "ChildPath"},
    "Move-Item": {"LiteralPath", "Destination", "Force"},
    "New-EventLog": {"LogName", "Source"},
    "New-Item": {"ItemType", "Path"},
    "New-Object": {"TypeName", "ArgumentList"},
    "New-ScheduledTaskAction": {"Execute", "Argument", "WorkingDirectory"},
    "New-ScheduledTaskPrincipal": {"UserId", "LogonType", "RunLevel"},
    "New-ScheduledTaskSettingsSet": {
        *("MultipleInstances", "ExecutionTimeLimit", "StartWhenAvailable", "AllowStartIfOnBatteries"),
        "DontStopIfGoingOnBatteries",
    },
    "New-ScheduledTaskTrigger": {"Daily", "At"},
    "New-TimeSpan": {"Minutes"},
    "Read-Host": {"Prompt", "AsSecureString"},
    "Register-ScheduledTask": {
        *("TaskName", "TaskPath", "Action", "Trigger", "Principal", "Settings", "Description", "Force"),
    },
    "Remove-Item": {"LiteralPath", "Recurse", "Force", "ErrorAction"},
    "Resolve-Path": {"LiteralPath"},
    "Select-Object": {"Skip"},
    "Set-Acl": {"LiteralPath", "AclObject"},
    "Set-StrictMode": {"Version"},
    "Sort-Object": {"Property", "Descending"},
    "Split-Path": {"Path", "Parent"},
    "Start-Sleep": {"Seconds"},
    "Test-Path": {"LiteralPath", "PathType"},
    "Unblock-File": {"LiteralPath"},
    "Unregister-ScheduledTask": {"Confirm"},
    "Write-EventLog": {"LogName", "Source", "EventId", "EntryType", "Message"},
    "Write-Information": {"MessageData", "InformationAction"},
    "Write-Warning": {"Message"},
}
"""Commands of Windows PowerShell 5.1 with the parameters of theirs that are used here."""


def _functions() -> dict[str, set[str]]:
    """Name and parameters of each function of the script."""
    return {
        text_of(named(function, "function_name")[0]): {
            text_of(named(parameter, "variable")[-1]).removeprefix("$")
            for parameter in named(function, "script_parameter")
        }
        for function in named(parsed(TEMPLATE), "function_statement")
    }


@pytest.mark.parametrize("tool", [RESTIC, LIFEBOAT])
def test_the_grammar_takes_the_script(tool: str) -> None:
    assert mistakes(SCRIPTS[tool]) == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("    finally {\n", "    finally \n"),
        ("Assert-Administrator\nAdd-Type", "Assert-Administrator)\nAdd-Type"),
        ("$ErrorActionPreference = 'Stop'", "$ErrorActionPreference = 'Stop"),
        ("foreach ($rule in $rules)", "foreach ($rule $rules)"),
        ("'Secret' = $false\n", "'Secret' = $\n"),
    ],
)
def test_a_planted_slip_of_the_pen_is_found(right: str, wrong: str) -> None:
    script = SCRIPTS[RESTIC]
    assert right in script
    assert mistakes(script.replace(right, wrong, 1))


def test_every_command_and_parameter_is_one_that_windows_powershell_or_the_script_has() -> None:
    known = KNOWN | _functions()
    for command in named(parsed(TEMPLATE), "command"):
        name = text_of(named(command, "command_name")[0])
        assert name in known, f"{name}: no alias, no program, no command of a later PowerShell"
        elements = [each for each in command.children if each.type == "command_elements"]
        used = {
            text_of(each).removeprefix("-").removesuffix(":")
            for part in elements
            for each in part.children
            if each.type == "command_parameter"
        }
        assert used <= known[name], f"{name} has no {used - known[name]}"
    used_names = {text_of(named(each, "command_name")[0]) for each in named(parsed(TEMPLATE), "command")}
    assert set(known) <= used_names, "what is listed is used"


def test_functions_are_named_with_an_approved_verb_and_one_noun() -> None:
    for name in _functions():
        verb, _, noun = name.partition("-")
        assert verb in APPROVED
        assert re.fullmatch(r"(?:[A-Z][a-z]+)+", noun)
        assert not noun.endswith("s") or noun == "OnlyAdministratorsWrite"


def test_every_parameter_has_a_type() -> None:
    parameters = named(parsed(TEMPLATE), "script_parameter")
    assert parameters
    for parameter in parameters:
        assert re.search(
            r"\[(?:string|string\[\]|int|bool|switch|pscustomobject|System\.[\w.]+)\] \$", text_of(parameter)
        )


def test_errors_stop_and_variables_must_be_there() -> None:
    assert "Set-StrictMode -Version Latest\n$ErrorActionPreference = 'Stop'\n" in TEMPLATE


@pytest.mark.parametrize(
    "never",
    [
        "Invoke-Expression", "iex", "Invoke-Command", "Start-Process", "cmd.exe", "Write-Host", "-AsPlainText",
        "ConvertTo-SecureString", "$global:", "DownloadString", "-ErrorAction Ignore", "EncodedCommand", "Bypass",
    ],
)  # fmt: skip
def test_what_has_no_place_in_it_is_not_there(never: str) -> None:
    assert never.lower() not in TEMPLATE.lower()


@pytest.mark.parametrize("later", [r"\?\?", r"\?\.", r" && ", r" \|\| ", r" \? .* : ", "-Parallel", r"\$IsWindows"])
def test_nothing_of_a_later_powershell_is_used(later: str) -> None:
    code = "\n".join(line for line in TEMPLATE.splitlines() if "'" not in line and '"' not in line)
    assert not re.search(later, code)


def test_no_secret_is_on_the_task_s_command_line() -> None:
    """It names files only; the rest is in the store of the machine."""
    (line,) = [each for each in TEMPLATE.splitlines() if "$arguments = @('-NoProfile'" in each]
    assert re.findall(r"'(-\w+)'", line) == [
        "-NoProfile",
        "-NonInteractive",
        "-ExecutionPolicy",
        "-File",
        "-Run",
        "-ToolPath",
    ]
    assert set(re.findall(r"\$\w+", line)) == {"$arguments", "$ScriptFile", "$ToolPath"}


def test_the_task_is_one_instance_under_a_limit_as_system() -> None:
    for wanted in (
        "-MultipleInstances IgnoreNew",
        "-ExecutionTimeLimit $limit",
        "-StartWhenAvailable",
        "-UserId $SystemSid",
    ):
        assert wanted in TEMPLATE


@given(st.lists(st.text(st.sampled_from('\\"\\" ab;$ü')), max_size=4))
def test_a_command_line_is_taken_apart_again_as_it_was(arguments: list[str]) -> None:
    """By the two replacements of the script, and by the rules of CommandLineToArgvW."""
    (first, second) = re.findall(r"-replace '(\S+)', '(\S+)' -replace '(\S+)', '(\S+)'", TEMPLATE)[0][::2]
    (to, at_the_end) = re.findall(r"-replace '(\S+)', '(\S+)' -replace '(\S+)', '(\S+)'", TEMPLATE)[0][1::2]
    assert (to, at_the_end) == ('$1$1\\"', "$1$1")
    doubled = [re.sub(first, lambda match: match[1] * 2 + '\\"', each) for each in arguments]
    line = " ".join('"' + re.sub(second, lambda match: match[1] * 2, each) + '"' for each in doubled)
    assert _taken_apart(line) == arguments


def _taken_apart(line: str) -> list[str]:
    """Backslashes before a quotation mark count half, and an odd one of them makes the mark a character."""
    found: list[str] = []
    current, inside, at = "", False, 0
    while at < len(line):
        slashes = len(line[at:]) - len(line[at:].lstrip("\\"))
        at += slashes
        mark = line[at : at + 1] == '"'
        current += "\\" * (slashes // 2 if mark else slashes)
        if mark and slashes % 2:
            current += '"'
        elif mark:
            if inside:
                found.append(current)
                current = ""
            inside = not inside
        elif inside:
            current += line[at : at + 1]
        at += 1
    return found


@pytest.mark.parametrize("code", [0, 1, 3, 10, 11, 12, 124])
def test_each_exit_code_of_restic_has_its_event(code: int) -> None:
    assert re.search(rf"^    {code} +=  ?@\('(?:Information|Warning|Error)', '", TEMPLATE, re.MULTILINE)


def test_every_name_of_the_site_that_the_script_reads_is_filled_in() -> None:
    """In strict mode a name that is missing ends the script."""
    read = set(re.findall(r"\$Site\.(\w+)", TEMPLATE))
    for script in SCRIPTS.values():
        block = script.split("$Site = [ordered] @{\n")[1].split("\n}\n")[0]
        assert set(re.findall(r"^    '(\w+)' = ", block, re.MULTILINE)) == read
