"""NTSTATUS codes ([MS-ERREF] 2.3): their names, what they mean for a file, and which of them end a connection."""

from __future__ import annotations

from typing import Final

SUCCESS: Final = 0x00000000
PENDING: Final = 0x00000103
BUFFER_OVERFLOW: Final = 0x80000005
NO_MORE_FILES: Final = 0x80000006
STOPPED_ON_SYMLINK: Final = 0x8000002D
INVALID_PARAMETER: Final = 0xC000000D
NO_SUCH_FILE: Final = 0xC000000F
END_OF_FILE: Final = 0xC0000011
ACCESS_DENIED: Final = 0xC0000022
BUFFER_TOO_SMALL: Final = 0xC0000023
OBJECT_NAME_NOT_FOUND: Final = 0xC0000034
OBJECT_NAME_COLLISION: Final = 0xC0000035
OBJECT_PATH_NOT_FOUND: Final = 0xC000003A
PRIVILEGE_NOT_HELD: Final = 0xC0000061
INVALID_OWNER: Final = 0xC000005A
FILE_IS_A_DIRECTORY: Final = 0xC00000BA
NOT_A_DIRECTORY: Final = 0xC0000103

_KNOWN: Final[dict[int, tuple[str, str, str]]] = {
    0x80000006: ("STATUS_NO_MORE_FILES", "vanished", "it is not there any more"),
    0x8000002D: ("STATUS_STOPPED_ON_SYMLINK", "link", "a part of its path is a symbolic link"),
    0xC0000001: ("STATUS_UNSUCCESSFUL", "io-error", "the server failed without saying why"),
    0xC0000002: ("STATUS_NOT_IMPLEMENTED", "not-supported", "the server does not support this"),
    0xC0000008: ("STATUS_INVALID_HANDLE", "io-error", "the server lost the open file"),
    0xC000000D: ("STATUS_INVALID_PARAMETER", "io-error", "the server did not accept the request"),
    0xC000000E: ("STATUS_NO_SUCH_DEVICE", "offline", "the volume is not there"),
    0xC000000F: ("STATUS_NO_SUCH_FILE", "vanished", "it is not there any more"),
    0xC0000010: ("STATUS_INVALID_DEVICE_REQUEST", "not-supported", "the file system does not support this"),
    0xC0000013: ("STATUS_NO_MEDIA_IN_DEVICE", "offline", "the medium is not in the drive"),
    0xC0000022: ("STATUS_ACCESS_DENIED", "access-denied", "the user may not open it"),
    0xC0000032: ("STATUS_DISK_CORRUPT_ERROR", "io-error", "the server's file system is corrupt"),
    0xC0000033: ("STATUS_OBJECT_NAME_INVALID", "name-invalid", "the server does not accept the name"),
    0xC0000034: ("STATUS_OBJECT_NAME_NOT_FOUND", "vanished", "it is not there any more"),
    0xC0000035: ("STATUS_OBJECT_NAME_COLLISION", "exists", "the name is taken"),
    0xC0000039: ("STATUS_OBJECT_PATH_INVALID", "name-invalid", "the server does not accept the path"),
    0xC000003A: ("STATUS_OBJECT_PATH_NOT_FOUND", "vanished", "its folder is not there any more"),
    0xC000003B: ("STATUS_OBJECT_PATH_SYNTAX_BAD", "name-invalid", "the server does not accept the path"),
    0xC000003E: ("STATUS_DATA_ERROR", "io-error", "the server's disk could not be read"),
    0xC000003F: ("STATUS_CRC_ERROR", "io-error", "the server's disk could not be read"),
    0xC0000043: ("STATUS_SHARING_VIOLATION", "sharing-violation", "another program keeps it open for itself"),
    0xC0000044: ("STATUS_QUOTA_EXCEEDED", "disk-full", "the user's quota is used up"),
    0xC0000054: ("STATUS_FILE_LOCK_CONFLICT", "locked", "another program has locked a part of it"),
    0xC0000055: ("STATUS_LOCK_NOT_GRANTED", "locked", "another program has locked a part of it"),
    0xC0000056: ("STATUS_DELETE_PENDING", "vanished", "it is being deleted"),
    0xC000005A: ("STATUS_INVALID_OWNER", "access-denied", "the user may not make this account the owner"),
    0xC0000061: ("STATUS_PRIVILEGE_NOT_HELD", "access-denied", "the user lacks a privilege for it"),
    0xC000007F: ("STATUS_DISK_FULL", "disk-full", "the disk is full"),
    0xC0000098: ("STATUS_FILE_INVALID", "io-error", "the volume was changed while it was open"),
    0xC000009A: ("STATUS_INSUFFICIENT_RESOURCES", "server-busy", "the server lacks resources"),
    0xC000009C: ("STATUS_DEVICE_DATA_ERROR", "io-error", "the server's disk could not be read"),
    0xC00000A2: ("STATUS_MEDIA_WRITE_PROTECTED", "access-denied", "the disk is write-protected"),
    0xC00000A3: ("STATUS_DEVICE_NOT_READY", "offline", "the disk is not ready"),
    0xC00000B5: ("STATUS_IO_TIMEOUT", "io-error", "the server's disk did not answer in time"),
    0xC00000BA: ("STATUS_FILE_IS_A_DIRECTORY", "is-a-directory", "it is a directory now"),
    0xC00000BB: ("STATUS_NOT_SUPPORTED", "not-supported", "the server does not support this"),
    0xC00000BF: ("STATUS_NETWORK_BUSY", "server-busy", "the server is too busy"),
    0xC00000C9: ("STATUS_NETWORK_NAME_DELETED", "disconnected", "the share was taken away"),
    0xC00000CA: ("STATUS_NETWORK_ACCESS_DENIED", "access-denied", "the user may not use the share"),
    0xC00000CC: ("STATUS_BAD_NETWORK_NAME", "no-share", "the server has no such share"),
    0xC00000D5: ("STATUS_FILE_RENAMED", "vanished", "it was renamed"),
    0xC00000E5: ("STATUS_INTERNAL_ERROR", "io-error", "the server failed inside"),
    0xC0000101: ("STATUS_DIRECTORY_NOT_EMPTY", "not-empty", "the directory is not empty"),
    0xC0000102: ("STATUS_FILE_CORRUPT_ERROR", "io-error", "the file is corrupt on the server"),
    0xC0000103: ("STATUS_NOT_A_DIRECTORY", "not-a-directory", "it is not a directory"),
    0xC000011F: ("STATUS_TOO_MANY_OPENED_FILES", "server-busy", "the server has too many open files"),
    0xC0000120: ("STATUS_CANCELLED", "io-error", "the server cancelled the request"),
    0xC0000121: ("STATUS_CANNOT_DELETE", "access-denied", "it cannot be deleted"),
    0xC0000123: ("STATUS_FILE_DELETED", "vanished", "it was deleted"),
    0xC0000128: ("STATUS_FILE_CLOSED", "io-error", "the server closed the file"),
    0xC000014B: ("STATUS_PIPE_BROKEN", "io-error", "the server closed the file"),
    0xC0000185: ("STATUS_IO_DEVICE_ERROR", "io-error", "the server's disk failed"),
    0xC00001AD: ("STATUS_INSUFF_SERVER_RESOURCES", "server-busy", "the server lacks resources"),
    0xC0000203: ("STATUS_USER_SESSION_DELETED", "disconnected", "the server ended the session"),
    0xC0000205: ("STATUS_INSUFF_SERVER_RESOURCES", "server-busy", "the server lacks resources"),
    0xC000020C: ("STATUS_CONNECTION_DISCONNECTED", "disconnected", "the server ended the connection"),
    0xC000022D: ("STATUS_RETRY", "server-busy", "the server asks to try again"),
    0xC0000257: ("STATUS_PATH_NOT_COVERED", "link", "it lies on another server (DFS)"),
    0xC000026E: ("STATUS_VOLUME_DISMOUNTED", "offline", "the volume was taken away"),
    0xC0000279: ("STATUS_IO_REPARSE_TAG_NOT_HANDLED", "reparse-point", "the server cannot open this reparse point"),
    0xC0000278: ("STATUS_IO_REPARSE_DATA_INVALID", "reparse-point", "the server cannot open this reparse point"),
    0xC000028A: ("STATUS_ENCRYPTION_FAILED", "access-denied", "the file is encrypted (EFS)"),
    0xC000028B: ("STATUS_DECRYPTION_FAILED", "access-denied", "the file is encrypted (EFS)"),
    0xC000035C: ("STATUS_NETWORK_SESSION_EXPIRED", "disconnected", "the session has expired"),
    0xC0000467: ("STATUS_FILE_NOT_AVAILABLE", "server-busy", "the file cannot be had for the moment"),
    0xC0000906: ("STATUS_VIRUS_INFECTED", "infected", "the server's virus scanner blocks it"),
    0xC0000907: ("STATUS_VIRUS_DELETED", "infected", "the server's virus scanner removed it"),
    0xC000CF00: ("STATUS_CLOUD_FILE_SYNC_ROOT_METADATA_CORRUPT", "offline", "its cloud tier is damaged"),
    0xC000CE01: ("STATUS_CLOUD_FILE_PROVIDER_NOT_RUNNING", "offline", "its cloud tier is not running"),
    0xC000006A: ("STATUS_WRONG_PASSWORD", "login-refused", "wrong password"),
    0xC000006D: ("STATUS_LOGON_FAILURE", "login-refused", "wrong user name or password"),
    0xC000006E: ("STATUS_ACCOUNT_RESTRICTION", "login-refused", "a restriction of the account forbids this login"),
    0xC000006F: ("STATUS_INVALID_LOGON_HOURS", "login-refused", "the account may not log in at this hour"),
    0xC0000070: ("STATUS_INVALID_WORKSTATION", "login-refused", "the account may not log in from this computer"),
    0xC0000071: ("STATUS_PASSWORD_EXPIRED", "login-refused", "the password has expired"),
    0xC0000072: ("STATUS_ACCOUNT_DISABLED", "login-refused", "the account is disabled"),
    0xC000005E: ("STATUS_NO_LOGON_SERVERS", "login-refused", "the server reaches no domain controller"),
    0xC0000064: ("STATUS_NO_SUCH_USER", "login-refused", "there is no such user"),
    0xC0000133: ("STATUS_TIME_DIFFERENCE_AT_DC", "login-refused", "its clock and the domain controller's differ"),
    0xC000015B: ("STATUS_LOGON_TYPE_NOT_GRANTED", "login-refused", "the account may not log in over the network"),
    0xC000018B: ("STATUS_NO_TRUST_SAM_ACCOUNT", "login-refused", "the domain does not trust the server"),
    0xC000018D: ("STATUS_TRUSTED_RELATIONSHIP_FAILURE", "login-refused", "the domains do not trust each other"),
    0xC0000193: ("STATUS_ACCOUNT_EXPIRED", "login-refused", "the account has expired"),
    0xC0000224: ("STATUS_PASSWORD_MUST_CHANGE", "login-refused", "the password must be changed first"),
    0xC0000234: ("STATUS_ACCOUNT_LOCKED_OUT", "login-refused", "the account is locked out"),
    0xC0000413: ("STATUS_AUTHENTICATION_FIREWALL_FAILED", "login-refused", "the account may not log in at this server"),
    0xC0000418: ("STATUS_NTLM_BLOCKED", "login-refused", "NTLM is forbidden here; Kerberos is needed"),
}

SESSION_GONE: Final = frozenset({0xC00000C9, 0xC0000203, 0xC000020C, 0xC000035C})
"""The connection has to be made anew; what was outstanding has to be asked again. These may come unsigned."""

BUSY: Final = frozenset(code for code, known in _KNOWN.items() if known[1] == "server-busy")
"""The same request may be granted a moment later."""


def name(status: int) -> str:
    """The code's name in [MS-ERREF], or its number where we do not know it."""
    return _KNOWN[status][0] if status in _KNOWN else f"NTSTATUS 0x{status:08X}"


def reason(status: int) -> str:
    """The code as one of our reasons; what we do not know is ``io-error``."""
    return _KNOWN[status][1] if status in _KNOWN else "io-error"


def message(status: int) -> str:
    """The code as half a sentence for people, with its name."""
    return f"{_KNOWN[status][2] if status in _KNOWN else 'the server failed'} ({name(status)})"
