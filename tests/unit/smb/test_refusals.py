"""A login that is refused: what is told names the cause as the server does, and each cause has its own next step."""

from __future__ import annotations

import pytest

from shared.smb import ntstatus
from shared.smb.refusals import refusal

LOGIN_REFUSED = sorted(code for code in range(0xC0000000, 0xC0000500) if ntstatus.reason(code) == "login-refused")
WRONG = {"STATUS_WRONG_PASSWORD", "STATUS_LOGON_FAILURE"}


@pytest.mark.parametrize("status", LOGIN_REFUSED, ids=ntstatus.name)
def test_each_refusal_has_a_remedy_that_no_other_has(status: int) -> None:
    told = refusal(status, settings_prefix="LIFEBOAT_RESTORE")
    assert ntstatus.name(status) in told.why
    assert told.setting in ("LIFEBOAT_RESTORE_USERNAME", "LIFEBOAT_RESTORE_PASSWORD")
    assert "{" not in told.remedy
    same = {
        ntstatus.name(other)
        for other in LOGIN_REFUSED
        if refusal(other, settings_prefix="LIFEBOAT_RESTORE").remedy == told.remedy
    }
    assert same == {ntstatus.name(status)} or same == WRONG


def test_the_list_holds_what_an_administrator_can_do_to_an_account() -> None:
    names = {ntstatus.name(status) for status in LOGIN_REFUSED}
    assert names >= WRONG | {
        "STATUS_ACCOUNT_LOCKED_OUT",
        "STATUS_ACCOUNT_DISABLED",
        "STATUS_ACCOUNT_EXPIRED",
        "STATUS_PASSWORD_EXPIRED",
        "STATUS_PASSWORD_MUST_CHANGE",
        "STATUS_INVALID_LOGON_HOURS",
        "STATUS_INVALID_WORKSTATION",
        "STATUS_LOGON_TYPE_NOT_GRANTED",
        "STATUS_TIME_DIFFERENCE_AT_DC",
        "STATUS_NTLM_BLOCKED",
    }


@pytest.mark.parametrize(
    ("status", "told", "remedy", "setting"),
    [
        (0xC000006F, "may not log in at this hour", "all hours at which a backup runs", "USERNAME"),
        (0xC0000133, "clock and the domain controller's differ", "w32tm /resync", "USERNAME"),
        (0xC00000BB, "where NTLM is forbidden (STATUS_NOT_SUPPORTED)", "user@REALM", "USERNAME"),
        (ntstatus.ACCESS_DENIED, "lets the user not log in", "Access this computer from the network", "USERNAME"),
        (0xC0DE0001, "NTSTATUS 0xC0DE0001", "Check LIFEBOAT_SHARE_USERNAME", "PASSWORD"),
    ],
)
def test_what_no_server_here_can_be_made_to_say(status: int, told: str, remedy: str, setting: str) -> None:
    found = refusal(status, settings_prefix="LIFEBOAT_SHARE")
    assert told in found.why
    assert remedy in found.remedy
    assert found.setting == f"LIFEBOAT_SHARE_{setting}"
