"""What an operator does about a login that a file server refuses: each refusal has a remedy of its own."""

from __future__ import annotations

from typing import NamedTuple

from shared.smb import ntstatus

PASSWORD, USERNAME = "PASSWORD", "USERNAME"


class Refusal(NamedTuple):
    """``why`` is half a sentence with the server's own name for it; ``setting`` ends in ``_USERNAME`` or
    ``_PASSWORD``."""

    why: str
    remedy: str
    setting: str


def refusal(status: int, *, settings_prefix: str) -> Refusal:
    """Of the NTSTATUS that ended a login. The settings are those of ``settings_prefix``."""
    username, password = f"{settings_prefix}_{USERNAME}", f"{settings_prefix}_{PASSWORD}"
    about, remedy = _REMEDIES.get(status, (PASSWORD, _WRONG))
    why = ntstatus.message(status)
    if status in _OTHERWISE:
        why = f"{_OTHERWISE[status]} ({ntstatus.name(status)})"
    return Refusal(why, remedy.format(username=username, password=password), f"{settings_prefix}_{about}")


_WRONG = (
    "Check {username} (user, DOMAIN\\user or user@domain) and {password}; correct them before the next try, since some "
    "wrong tries lock an account."
)
_NTLM = (
    "Let the account use NTLM at this server ('Restrict NTLM' in its policies), or use Kerberos: write {username} as "
    "user@REALM, name the server as the domain does, have libkrb5 and the Python package gssapi here, and open port 88 "
    "to a domain controller."
)
_OTHERWISE = {
    ntstatus.ACCESS_DENIED: "it lets the user not log in at all",
    0xC00000BB: "it does not take this kind of login, as where NTLM is forbidden",
}
"""Statuses that mean something else of a login than of a file."""
_REMEDIES = {
    ntstatus.ACCESS_DENIED: (
        USERNAME,
        "Give the account of {username} the right 'Access this computer from the network' on the file server, and see "
        "that it is not among those denied it.",
    ),
    0xC00000BB: (USERNAME, _NTLM),
    0xC0000418: (USERNAME, _NTLM),
    0xC0000064: (USERNAME, "Correct {username}: user, DOMAIN\\user or user@domain."),
    0xC000006A: (PASSWORD, _WRONG),
    0xC000006D: (PASSWORD, _WRONG),
    0xC000006E: (
        USERNAME,
        "See what restricts the account of {username} in the domain: an empty password, hours, computers, protected "
        "users, authentication policies.",
    ),
    0xC000006F: (USERNAME, "Allow the account of {username} all hours at which a backup runs (logon hours)."),
    0xC0000070: (
        USERNAME,
        "Allow the account of {username} every workstation ('Log On To'): function apps have names that change.",
    ),
    0xC0000071: (
        PASSWORD,
        "Give the account of {username} a new password and write it into {password} (or its secret); exempt service "
        "accounts from expiry.",
    ),
    0xC0000072: (USERNAME, "Enable the account of {username}, or name another in {username}."),
    0xC000005E: (USERNAME, "See why the file server reaches no domain controller: its DNS and network."),
    0xC0000133: (
        USERNAME,
        "Set the clocks of the file server, its domain controller and this machine by one time source "
        "('w32tm /resync' on Windows).",
    ),
    0xC000015B: (
        USERNAME,
        "Give the account of {username} the right 'Access this computer from the network' on the file server.",
    ),
    0xC000018B: (USERNAME, "Join the file server to its domain again: its own account is not trusted."),
    0xC000018D: (USERNAME, "Repair the trust between the file server's domain and that of {username}."),
    0xC0000193: (USERNAME, "Move the date at which the account of {username} expires, or name another in {username}."),
    0xC0000224: (
        PASSWORD,
        "Log in once as the account of {username} and change its password, or clear 'User must change password at "
        "next logon'; then write the password into {password} (or its secret).",
    ),
    0xC0000234: (
        USERNAME,
        "Unlock the account of {username}; then find what tries with an old password, or it is locked again: "
        "{password} (or its secret) may be one.",
    ),
    0xC0000413: (
        USERNAME,
        "Give the account of {username} the right 'Allowed to authenticate' on the file server's computer account.",
    ),
}
