"""The controllers: App Service's own cmdlets, which rebuild its roles from databases, share and secrets."""

from __future__ import annotations

from collections.abc import Iterator

from shared.status.markdown import block, code, plain
from shared.status.runbook.commands import lifeboat, placeholder, quote, text
from shared.status.runbook.document import Section, Step, section, step
from shared.status.runbook.facts import Facts
from shared.status.runbook.words import time

SECRETS_FILE = "C:\\Temp\\SystemSecrets.JSON"


def controllers(facts: Facts) -> Section:
    return section(
        "Controllers: roles and services",
        "After Microsoft's page *App Service recovery on Azure Stack Hub* "
        "(https://learn.microsoft.com/azure-stack/operator/app-service-recover).",
        steps=[
            _secrets(facts),
            _without_lifeboat(facts),
            _kept(facts),
            _copy(),
            _stop(),
            _stamp(facts),
            _roles(),
            _start(),
            _synchronize(),
            _credentials(facts),
            _clean(),
        ],
    )


def _secrets(facts: Facts) -> Step:
    if not facts.has_secrets:
        return step(
            "Get SystemSecrets.JSON: **this point holds none**",
            "If the stamp still lives: administrator portal, App Service, Secrets, Download Secrets, Save. Else "
            "look wherever it may have been kept since the installation (`python lifeboat.py points` for an older "
            "point, the Key Vault's secret `system-secrets` and its versions, the installer's machine). Without it "
            "`Restore-AppServiceStamp` cannot run: then App Service is deployed anew, and the sites with their "
            "content are published again, out of the restored share.",
            works="you hold the file: JSON, some kilobytes, not a web page.",
        )
    secrets = facts.secrets
    return step(
        "Get SystemSecrets.JSON",
        f"Version {code(secrets.get('version'))} of the secret {code(secrets.get('name'))}, as the point names it, "
        f"uploaded or confirmed last at {time(secrets.get('moment'))}:",
        block([lifeboat("restore secrets", "--point", facts.id, "--to", "SystemSecrets.JSON")], "powershell"),
        "Where the vault cannot be reached, the Key Vault alone gives what is current there, which may be newer:",
        block([lifeboat("restore secrets", "--current", "--to", "SystemSecrets.JSON")], "powershell"),
        block(["(Get-FileHash SystemSecrets.JSON -Algorithm SHA256).Hash"], "powershell"),
        works=f"the hash is {code(str(secrets.get('sha256') or '').upper())}.",
    )


def _without_lifeboat(facts: Facts) -> Step | None:
    if not facts.has_secrets:
        return None
    name = str(facts.secrets.get("name") or "system-secrets")
    vault = facts.key_vault_url or "https://<key vault>"
    return step(
        "Only where Lifeboat cannot run: put SystemSecrets.JSON together by hand",
        "The secret's value is a list of the versions of its parts; the parts' values in a row are base64 of a zlib "
        "stream. With the Azure command line and any Python:",
        block(
            [
                f"$vault = {text(vault)}",
                f"$name = {text(name)}",
                f'$list = az keyvault secret show --id "$vault/secrets/$name/{plain_version(facts)}" --query value '
                "-o tsv | ConvertFrom-Json",
                "$number = 0",
                "foreach ($version in $list.parts) {",
                "  $number++",
                "  $part = '{0}-part-{1:00}' -f $name, $number",
                '  az keyvault secret download --id "$vault/secrets/$part/$version" --file "$part.txt" --encoding '
                "utf-8",
                "}",
                'python -c "import base64, pathlib, zlib; '
                "pathlib.Path('SystemSecrets.JSON').write_bytes(zlib.decompress("
                "base64.b64decode(''.join(each.read_text() for each in "
                "sorted(pathlib.Path('.').glob('*-part-??.txt'))))))\"",
                "Remove-Item *-part-??.txt",
            ],
            "powershell",
        ),
        works="its SHA-256 is the one above.",
    )


def _kept(facts: Facts) -> Step | None:
    """Those that no step on the databases' certificates brings back already."""
    names = facts.other_files
    if not names:
        return None
    return step(
        "Get back the other files that were kept",
        "Nothing on this page needs them; what they are for is known to whoever kept them.",
        block(
            (
                lifeboat("restore secrets", "--point", facts.id, "--name", quote(name), "--to", quote(name))
                for name in names
            ),
            "powershell",
        ),
        works="`(Get-FileHash FILE).Hash` is for each the SHA-256 that stands at the top of this page. Delete them "
        "when they have done their work.",
    )


def plain_version(facts: Facts) -> str:
    """Within double quotes of PowerShell: a version is hexadecimal, anything else is not written there."""
    version = str(facts.secrets.get("version") or "")
    return version if version.isalnum() and version.isascii() else "<version>"


def _copy() -> Step:
    return step(
        "Bring SystemSecrets.JSON to CN0-VM",
        f"Copy and paste it through Remote Desktop (opened in section 1) into {code(SECRETS_FILE)}.",
        block([f"(Get-FileHash {text(SECRETS_FILE)} -Algorithm SHA256).Hash"], "powershell"),
        works="the hash is the one above.",
    )


def _stop() -> Step:
    return step(
        "Stop the services",
        "On **every** controller, in an administrator's prompt:",
        block(["net stop WebFarmService"], "powershell"),
        "On CN0-VM besides (`HostingVssService` exists up to App Service 1.4 only):",
        block(["net stop ResourceMetering"], "powershell"),
        works="`sc.exe query WebFarmService` says STOPPED on each controller, and so does ResourceMetering.",
    )


def _stamp(facts: Facts) -> Step:
    command = f"Restore-AppServiceStamp -FilePath {text(SECRETS_FILE)}"
    server = code(facts.sql_server) if facts.sql_server else "the server of before (the record does not name it)"
    share = code(facts.share_unc) if facts.share_unc else "the share of before (the record does not name it)"
    own_name = facts.sql_facts.get("name")
    called = f" (it calls itself {code(own_name)})" if own_name else ""
    return step(
        "Restore the stamp",
        "On CN0-VM, in an administrator's PowerShell, **one** of these. App Service knows its SQL server and share "
        f"by the names that it was installed with; as Lifeboat reached them they were {server}{called} and {share}. "
        "Where both are the same again:",
        block([command], "powershell"),
        "Where the databases are on a server of another name, by that name as the roles of App Service reach it:",
        block([f"{command} -OverrideDatabaseServer {placeholder('new sql server')}"], "powershell"),
        "Names recorded here are as SQL Server's clients write them: host, or host, a comma and a port (no colon). So "
        "write the host alone where it listens on 1433 (of an availability group, its listener), `'host,port'` for "
        "another port, and for a named instance best `'host,port'` too, with a fixed port; `'host\\instance'` needs "
        "the SQL Server Browser, and UDP 1434 open from all roles. Keep the quotes: without them PowerShell makes a "
        "list of what a comma parts.",
        "Where the share is another one:",
        block([f"{command} -OverrideContentShare {_new_share(facts)}"], "powershell"),
        "Where both are new:",
        block(
            [
                f"{command} -OverrideDatabaseServer {placeholder('new sql server')} -OverrideContentShare "
                f"{_new_share(facts)}"
            ],
            "powershell",
        ),
        "It shows the values that it is going to set and asks: read them, then press ENTER; closing the window "
        "cancels. Microsoft's pages on moving the SQL server or the share give `-CoreBackupFilePath <filepath>` as "
        "well, without saying what it is; the page on recovery does not: leave it out unless `Get-Help "
        "Restore-AppServiceStamp -Full` or Microsoft's support says otherwise.",
        works="the cmdlet ends without an error. Workers of custom tiers are gone now; the next step brings them back.",
    )


def _new_share(facts: Facts) -> str:
    unc = facts.share_unc or "\\\\server\\WebSites"
    rest = unc.lstrip("\\").partition("\\")[2]
    return text(f"\\\\<new file server>\\{rest}")


def _roles() -> Step:
    return step(
        "Restore the roles",
        "In the same window, or another one of an administrator on CN0-VM:",
        block(["Restore-AppServiceRoles"], "powershell"),
        works="it ends without an error. It goes through all scale sets and adds the instances of custom worker "
        "tiers again; that takes a while.",
    )


def _start() -> Step:
    return step(
        "Start the services",
        "On CN0-VM:",
        block(["net start WebFarmService", "net start ResourceMetering"], "powershell"),
        "On every other controller:",
        block(["net start WebFarmService"], "powershell"),
        works="in the portal, App Service, Roles, the controllers and **at least one management server** become Ready.",
    )


def _synchronize() -> Step:
    return step(
        "Synchronize sites and plans",
        "Only when a management server is Ready. On CN0-VM; answer Y when asked for all, both times:",
        block(
            ["Get-AppServiceSite | Sync-AppServiceObject", "Get-AppServiceServerFarm | Sync-AppServiceObject"],
            "powershell",
        ),
        "Then close this PowerShell window: Microsoft recommends it strongly.",
        works="all roles become Ready, and a few sites that people know answer in a browser.",
    )


def _credentials(facts: Facts) -> Step:
    return step(
        "Only where the file server's accounts are new: tell App Service",
        "On CN0-VM, Web Cloud Management Console, Credentials: edit `FileShareOwnerCredential` and "
        "`FileShareUserCredential`. Restart CN0-VM, wait until it is Ready, then CN1-VM; then repair the other "
        "roles in the portal (Management, Front End and so on), one set at a time.",
        works="workers open the share: sites answer.",
    )


def _clean() -> Step:
    return step(
        "Leave no key behind, and close the door",
        "SystemSecrets.JSON opens everything. On CN0-VM, and on every machine that it passed:",
        block([f"Remove-Item {text(SECRETS_FILE)}", "Remove-Item SystemSecrets.JSON"], "powershell"),
        "Empty the recycle bins and the clipboard. Set the rule `Inbound_Rdp_3389` of `ControllersNSG` back to "
        "**Deny**.",
        works="the file is found nowhere any more, and Remote Desktop to CN0-VM is refused.",
    )


def afterwards(facts: Facts, break_glass: list[str]) -> Section:
    return section("After", steps=list(_afterwards(facts, break_glass)))


def _afterwards(facts: Facts, break_glass: list[str]) -> Iterator[Step]:
    yield step(
        "Function apps whose storage was on the stamp",
        "For each: make a new storage account and get its connection string; in the portal, Platform features, "
        "Application settings, set `AzureWebJobsStorage` and `AzureWebJobsDashboard` to it, save; Overview, "
        "Restart. It may take several tries until all errors are gone. What lay in the old account's queues, tables "
        "and blobs is lost.",
        works="the app's functions are listed and run.",
    )
    yield step(
        "New secrets",
        "If SystemSecrets.JSON may have been seen, or its certificates end soon: rotate encryption keys, connection "
        "strings, certificates and system credentials in the portal (App Service, Secrets). After a rotation, and "
        "in any case now: Download Secrets, keep them, and say that they fit. Databases that were brought back look "
        "like drift until somebody has spoken, and a file whose bytes Lifeboat had before is no word by itself:",
        block(
            [
                lifeboat("secrets put SystemSecrets.JSON"),
                lifeboat("secrets confirm"),
                "Remove-Item SystemSecrets.JSON",
            ],
            "powershell",
        ),
        works="the first command names a version (new, or current already), and the second confirms that one.",
    )
    yield step(
        "A new backup at once",
        "Give the backup its settings where server or share have new names (`LIFEBOAT_SQL_SERVER`, "
        "`LIFEBOAT_SHARE_URL`, the build in `LIFEBOAT_APP_SERVICE_BUILD`), start its app or timers again, and:",
        block([lifeboat("backup"), lifeboat("status")], "powershell"),
        works="the point is `complete`, and `status` calls nothing late and tells no drift.",
    )
    yield step(
        "Rights back to what they were",
        "Take back what was given for the recovery (`az role assignment delete`, the login that restores). The "
        "break-glass role, for `undelete` and `prune` by hand, belongs to nobody: only if something deleted in the "
        "vault has to be brought back, and only until that is done:",
        block(break_glass, "powershell"),
        works="`az role assignment list` shows nobody who was not there before.",
    )
    yield step(
        "Write down what happened",
        f"When it began and ended, what was lost (this point is of {time(facts.point.time)}), what of this page was "
        f"wrong or missing: {plain('the next one reads it too.')}",
    )
