"""The file server, its share, and the content of the sites."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote as escape

from shared.smb.endpoint import SMB_PORT
from shared.status.markdown import block, code, plain
from shared.status.runbook.commands import asked, lifeboat, placeholder, quote, text, variable
from shared.status.runbook.document import Section, Step, section, step, warning
from shared.status.runbook.facts import Facts
from shared.status.runbook.words import host_of, time
from shared.storage.azure_endpoint import account_name

_PUBLIC_CLOUD = "core.windows.net"


def share(facts: Facts) -> Section:
    title = "File server and share"
    if not facts.has_share:
        return section(
            title,
            "**This point holds no snapshot of the share.** Without the files every site is empty. Choose another "
            "point for the share (`python lifeboat.py points`), as close to the moment of the databases as there "
            "is, or use copies that the file server has (previous versions, another backup).",
        )
    return section(title, *_state(facts), steps=[_prepare(facts), _restore(facts), _stock(facts), _acl(), _look(facts)])


def _state(facts: Facts) -> Iterator[str]:
    if facts.share.get("status") == "failed":
        yield warning(
            "**This snapshot was taken for a failure**: the share was empty or had lost most of its files. It is "
            "complete in itself, and very likely not what you want. Look at an earlier point."
        )
    if facts.share_url and not facts.share_url.lower().startswith("smb:"):
        yield f"The share was read as a folder, {code(facts.share_url)}: its address as a share is not known."


def _folder(facts: Facts) -> str:
    name = _share_name(facts)
    return f"C:\\{name}"


def _share_name(facts: Facts) -> str:
    """The share itself, where a folder inside it was backed up too."""
    unc = facts.share_unc
    parts = [part for part in unc.split("\\") if part] if unc else []
    return parts[1] if len(parts) > 1 else facts.share_name


def _prepare(facts: Facts) -> Step:
    return step(
        "Prepare the file server",
        "Skip it where server and share are still there, or come from a Quickstart template. Groups "
        "`FileShareOwners` and `FileShareUsers`, with the accounts `FileShareOwner` and `FileShareUser` in them: in "
        "Active Directory, or on the server itself. Give the accounts **the names and passwords that they had**: "
        "App Service logs in with them (others have to be told to it, see the controllers). Passwords never expire "
        "and are not changed by the user.",
        "On the file server, in an administrator's PowerShell; change the folder where it lies elsewhere. The share "
        "gives everyone full control; what counts are the rights on the folder, whose inheritance is removed:",
        block(
            [
                f"$share = {text(_share_name(facts))}",
                f"$folder = {text(_folder(facts))}",
                "$domain = ''   # in Active Directory: 'DOMAIN\\'",
                "New-Item -ItemType Directory -Force $folder",
                "net share $share /delete   # an error is right where there is none",
                "net share \"$share=$folder\" '/grant:Everyone,full'",
                "icacls $folder /reset",
                "icacls $folder /grant 'Administrators:(OI)(CI)(F)'",
                'icacls $folder /grant "${domain}FileShareOwners:(OI)(CI)(M)"',
                "icacls $folder /inheritance:r",
                'icacls $folder /grant "${domain}FileShareUsers:(CI)(S,X,RA)"',
                "icacls $folder /grant '*S-1-1-0:(OI)(CI)(IO)(RA,REA,RD)'",
            ],
            "powershell",
        ),
        *_other_port(facts),
        works="`icacls $folder` shows these four and nothing inherited, and the share can be opened from another "
        "machine (port 445).",
    )


def _other_port(facts: Facts) -> Iterator[str]:
    port = facts.share_port
    if port == SMB_PORT:
        return
    yield (
        f"Lifeboat reaches this file server at port {port}, since 445 is closed to it. Where that port was made on the "
        "file server, make it again; where a load balancer has it, let its rule lead to the new server:"
    )
    yield block(
        [
            f"netsh interface portproxy add v4tov4 listenport={port} connectport=445 connectaddress=127.0.0.1",
            f"New-NetFirewallRule -DisplayName 'SMB at {port}' -Direction Inbound -Protocol TCP -LocalPort {port} "
            "-Action Allow",
        ],
        "powershell",
    )


def _restore(facts: Facts) -> Step:
    url = facts.share_url
    inside = [part for part in (facts.share_unc or "").split("\\") if part][1:] or [facts.share_name]
    path = "".join(f"/{escape(part)}" for part in inside)
    port = "" if facts.share_port == SMB_PORT else f":{facts.share_port}"
    elsewhere = f"smb://<new file server>{port}{path}"
    lines = [lifeboat("restore share", "--point", facts.id, "--to", text(elsewhere))]
    body = ["To a file server of another name:", block(lines, "powershell")]
    if url and url.lower().startswith("smb:"):
        body += [
            f"To the server of the recorded name, {code(facts.share_unc or url)}:",
            block([lifeboat("restore share", "--point", facts.id, "--to", quote(url))], "powershell"),
        ]
    body.append(
        "Owners, ACLs, times and attributes come back too; who restores is best an administrator of the file server "
        "or in its group *Backup Operators*. A file that is there and differs is left and told, unless "
        "`--overwrite` is given. An interrupted restore is simply run again. Content lies directly in the target, "
        "without a folder for the share."
    )
    files = facts.share.get("files")
    counted = f" of {files:,} files" if isinstance(files, int) else ""
    return step(
        f"Restore the content{counted}, as of {time(facts.share.get('data_time'))}",
        *body,
        works="the command ends with exit code 0: nothing was skipped and nothing failed.",
    )


def _stock(facts: Facts) -> Step:
    snapshot = str(facts.point.snapshot)
    inside = f"{snapshot}:{facts.share_path}"
    return step(
        "Only where Lifeboat cannot run: restore it by stock restic",
        "On the Windows file server itself, with **restic 0.19 or later**: 0.17 to 0.18 restore every inherited ACL "
        "entry as an explicit one, earlier ones none. (From 0.14 on, any restic on Linux or macOS restores content "
        "and times, without ACLs, and, before 0.17, only the whole snapshot: leave out "
        f"{code(f':{facts.share_path}')}.)",
        block(restic_settings(facts), "powershell"),
        block(
            [
                "restic -r azure:share:/ --no-lock snapshots",
                f"restic -r azure:share:/ --no-lock restore {text(inside)} --target {text(_folder(facts))}",
            ],
            "powershell",
        ),
        works="restic says how many files it restored, without an error.",
    )


def restic_settings(facts: Facts) -> Iterator[str]:
    """Stock restic on the vault."""
    yield variable("AZURE_ACCOUNT_NAME", text(account_name(facts.vault_url)))
    suffix = host_of(facts.vault_url).partition(".blob.")[2]
    if suffix and suffix != _PUBLIC_CLOUD:
        yield variable("AZURE_ENDPOINT_SUFFIX", text(suffix))
    yield f"{variable('AZURE_ACCOUNT_KEY', asked('account key of the vault'))}   # or none of it, after: az login"
    if facts.key_vault_url:
        address = f"{facts.key_vault_url}/secrets/repository-password"
        yield variable("RESTIC_PASSWORD", f"az keyvault secret show --id {text(address)} --query value -o tsv")
    else:
        yield variable("RESTIC_PASSWORD", asked("password of the repository"))


def _acl() -> Step:
    return step(
        "Reset the permissions",
        "On the file server, in an administrator's PowerShell: `ReACL.cmd` out of the folder `BCDR` of App "
        "Service's helper scripts (https://aka.ms/appsvconmashelpers; those of the same release). It is needed also "
        "where ACLs came back: the accounts of a new server have other SIDs.",
        block([f"& {placeholder('folder of the helper scripts')[:-1]}\\BCDR\\ReACL.cmd'"], "powershell"),
        works="it ends without an error, and `icacls` of some site's folder shows the groups by name, not by a bare "
        "SID.",
    )


def _look(facts: Facts) -> Step:
    where = plain(_folder(facts))
    return step(
        "Look at it",
        f"Open the folder ({where}), a few sites that people know, a file in each.",
        works="the folders of the sites are there with their files, and their number is about that of the point.",
    )
