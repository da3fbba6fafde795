"""The script for one file server, from the settings of now. Nobody is asked, and no secret is looked at."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from shared.agent.powershell import Value, literal
from shared.agent.start_times import start_times
from shared.agent.windows_path import from_snapshot, local_path, path_in_snapshot
from shared.errors import LifeboatError, SettingsError, UsageError
from shared.fileshare.inside import TAG
from shared.settings import API_VERSION, Settings

RESTIC, LIFEBOAT = "restic", "lifeboat"
TOOLS = (RESTIC, LIFEBOAT)
LEAST_RESTIC = "0.19.0"
"""The first that writes to Azure without the right to overwrite."""
LIMIT_MINUTES = 12 * 60
"""After which a run is stopped."""

_TEMPLATE = Path(__file__).with_name("agent.ps1")
_SITE = "$Site = [ordered] @{}"
_ACCOUNT = re.compile(r"(?P<account>[a-z0-9]{3,24})\.blob\.(?P<suffix>[a-z0-9.-]+)\Z")
_AUTHORITIES = {
    "core.chinacloudapi.cn": "https://login.chinacloudapi.cn",
    "core.usgovcloudapi.net": "https://login.microsoftonline.us",
}
"""Who issues tokens, by the endpoint suffix of storage; everywhere else it is the public cloud's."""
_CARRIED = (
    *("SHARE_INCLUDE", "SHARE_EXCLUDE", "SHARE_TOLERATE", "SHARE_ACL", "SHARE_PREVIOUS_VERSION"),
    *("SHARE_PREVIOUS_VERSION_MAX_AGE", "SHARE_MAX_SHRINK", "SHARE_LOOK_EVERY", "STORAGE_API_VERSION", "LOCK_WAIT"),
)
"""Settings that Lifeboat on the file server is given as they are here."""

Site = dict[str, Value]


@dataclass(frozen=True, slots=True)
class AgentScript:
    text: str
    """ASCII, with the line ends of Unix."""
    path: str
    """What is backed up: a local path of the file server, or the URL of the share."""
    start_times: tuple[str, ...]
    """``HH:MM``, UTC."""
    notes: list[str] = field(default_factory=list)
    """What the operator should know of these settings, in sentences."""


def agent_script(
    settings: Settings, *, tool: str = RESTIC, path: str | None = None, at: Sequence[str] = ()
) -> AgentScript:
    """``path``: the share's folder on the file server, by default what ``LIFEBOAT_SHARE_ADOPT_PATH`` says; ``at``:
    when to begin, by default two hours before each recovery point. ``UsageError``, ``SettingsError``."""
    if tool not in TOOLS:
        raise UsageError(f"there is no tool {tool!r}", remedy=f"Write --tool {' or --tool '.join(TOOLS)}.")
    times = start_times(settings.schedule("BACKUP"), at)
    notes: list[str] = []
    if tool == RESTIC:
        path, site = _restic(settings, path, notes)
    else:
        path, site = _lifeboat(settings, path)
    site |= {"StartTimes": times, "LimitMinutes": LIMIT_MINUTES}
    if not settings.share().adopted:
        notes.append("Set LIFEBOAT_SHARE_MODE=adopt where Lifeboat runs in Azure, or both of them read the share.")
    template = _TEMPLATE.read_text("ascii")
    assert template.count(_SITE) == 1, "the script has one place for the site"
    return AgentScript(template.replace(_SITE, f"$Site = {literal(site)}"), path, times, notes)


def write_script(script: AgentScript, file: Path) -> None:
    """As a new file with the line ends of Windows; one that is there is left alone (``UsageError``)."""
    try:
        with file.open("x", encoding="ascii", newline="\r\n") as opened:
            opened.write(script.text)
    except FileExistsError:
        raise UsageError(f"{file} is there already", remedy="Give --output a new name.") from None
    except OSError as error:
        raise LifeboatError(
            f"{file} could not be written: {error.strerror or error}", remedy="Give --output another place."
        ) from error


def _restic(settings: Settings, path: str | None, notes: list[str]) -> tuple[str, Site]:
    adopted = settings.share().adopt_path
    folder = _folder(path, adopted)
    if adopted is not None and (from_snapshot(adopted) or "").lower() != folder.lower():
        notes.append(f"Set LIFEBOAT_SHARE_ADOPT_PATH={path_in_snapshot(folder)}: it names another path now.")
    vault = settings.vault()
    if vault.api_version != API_VERSION:
        notes.append(
            "LIFEBOAT_STORAGE_API_VERSION is set: restic always speaks its own newest version of the storage "
            "protocol, which an Azure Stack Hub refuses. For a vault there take --tool lifeboat."
        )
    if settings.share().include or settings.share().exclude:
        notes.append("restic is not given LIFEBOAT_SHARE_INCLUDE and LIFEBOAT_SHARE_EXCLUDE: it takes the whole path.")
    account, suffix = _account(vault.url)
    environment = {"AZURE_ACCOUNT_NAME": account, "AZURE_ENDPOINT_SUFFIX": suffix, "RESTIC_REPOSITORY": "azure:share:/"}
    kinds: Site = {
        "ServicePrincipal": _SERVICE_PRINCIPAL,
        "ManagedIdentity": (),
        "Sas": (_asked("AZURE_ACCOUNT_SAS", f"SAS of the container share in {account}"),),
        "AccountKey": (_asked("AZURE_ACCOUNT_KEY", f"Account key of {account}"),),
    }
    site: Site = {
        "Tool": RESTIC,
        "LeastVersion": LEAST_RESTIC,
        "SharePath": folder,
        "ShadowCopyText": "successfully created snapshot for [",
        "Environment": environment | _authority(suffix),
        "BackupArguments": ("backup", "--use-fs-snapshot", "--tag", TAG, "--retry-lock", "30m", "--", folder),
        "ProbeArguments": ("snapshots", "--no-lock", "--latest", "1"),
        "CredentialKinds": kinds,
        "Asked": (_asked("RESTIC_PASSWORD", _password_prompt(settings)),),
    }
    return folder, site


def _lifeboat(settings: Settings, path: str | None) -> tuple[str, Site]:
    if path is not None:
        raise UsageError(
            "--path is for restic: Lifeboat reads the share over SMB on the file server too, since a folder that is "
            "read as a folder loses its security descriptors",
            remedy="Leave --path out.",
        )
    share = settings.share()
    url = _on_its_own_server(share.url)
    if not share.username:
        raise SettingsError(
            "LIFEBOAT_SHARE_USERNAME is not set",
            remedy="Set it to the account that the agent reads the share with: a member of Backup Operators there.",
            setting="LIFEBOAT_SHARE_USERNAME",
        )
    vault = settings.vault()
    host = urlsplit(vault.url).hostname or ""
    environment = {
        "LIFEBOAT_VAULT_URL": vault.url,
        "LIFEBOAT_SHARE_URL": url,
        "LIFEBOAT_SHARE_USERNAME": share.username,
        "LIFEBOAT_SHARE_MODE": "read",
    }
    environment |= {
        name: settings.values[name] for name in (f"LIFEBOAT_{each}" for each in _CARRIED) if name in settings.values
    }
    site: Site = {
        "Tool": LIFEBOAT,
        "LeastVersion": "",
        "SharePath": "",
        "ShadowCopyText": "",
        "Environment": environment | _authority(host.partition(".blob.")[2]),
        "BackupArguments": ("backup", "--only", "share"),
        "ProbeArguments": ("points",),
        "CredentialKinds": {
            "ServicePrincipal": _SERVICE_PRINCIPAL,
            "ManagedIdentity": (),
            "AccountKey": (_asked("LIFEBOAT_VAULT_KEY", f"Account key of {host}"),),
        },
        "Asked": (
            _asked("LIFEBOAT_REPOSITORY_PASSWORD", _password_prompt(settings)),
            _asked("LIFEBOAT_SHARE_PASSWORD", f"Password of {share.username}"),
        ),
    }
    return url, site


def _folder(path: str | None, adopted: str | None) -> str:
    if path is not None:
        return local_path(path)
    found = from_snapshot(adopted) if adopted is not None else None
    if found is None:
        raise UsageError(
            "nothing says where the share lies on the file server"
            + (f": LIFEBOAT_SHARE_ADOPT_PATH is {adopted!r}, which names no drive" if adopted else ""),
            remedy="Give --path, such as --path 'D:\\WebSites'; on the file server 'Get-SmbShare' tells it.",
        )
    return local_path(found, named_by="LIFEBOAT_SHARE_ADOPT_PATH")


def _account(url: str) -> tuple[str, str]:
    """Storage account and endpoint suffix, of which restic makes the URL again."""
    parts = urlsplit(url)
    match = _ACCOUNT.match(parts.netloc.lower())
    if parts.scheme.lower() != "https" or match is None or parts.path not in ("", "/"):
        raise SettingsError(
            f"LIFEBOAT_VAULT_URL is {url!r}, and restic reaches https://ACCOUNT.blob.SUFFIX only",
            remedy="Take the account's own blob endpoint, or --tool lifeboat, which takes any.",
            setting="LIFEBOAT_VAULT_URL",
        )
    return match["account"], match["suffix"]


def _authority(suffix: str) -> dict[str, str]:
    return {"AZURE_AUTHORITY_HOST": _AUTHORITIES[suffix]} if suffix in _AUTHORITIES else {}


def _on_its_own_server(url: str) -> str:
    """The share as the file server itself reaches it: by the same name, at the port at which Windows listens."""
    parts = urlsplit(url)
    if parts.scheme.lower() != "smb" or not parts.hostname:
        raise SettingsError(
            f"LIFEBOAT_SHARE_URL is {url!r}, and the agent reads a share of Windows",
            remedy="Set it to smb://server[:port]/share[/path].",
            setting="LIFEBOAT_SHARE_URL",
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"smb://{host}{parts.path}"


def _asked(name: str, prompt: str, *, secret: bool = True) -> Site:
    return {"Name": name, "Prompt": prompt, "Secret": secret}


def _password_prompt(settings: Settings) -> str:
    key_vault = settings.key_vault_url()
    where = f"secret repository-password in {key_vault}" if key_vault else "as set in LIFEBOAT_REPOSITORY_PASSWORD"
    return f"Repository password ({where})"


_SERVICE_PRINCIPAL = (
    _asked("AZURE_TENANT_ID", "Tenant id (a GUID)", secret=False),
    _asked("AZURE_CLIENT_ID", "Application (client) id of the agent's app registration", secret=False),
    _asked("AZURE_CLIENT_SECRET", "Client secret of it"),
)
