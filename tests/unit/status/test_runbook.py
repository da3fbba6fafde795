"""The runbook of records of every kind: each section, what is missing and what can be done instead."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.databases import statements
from shared.databases.statements import Devices
from shared.errors import UsageError
from shared.status.page import to_html
from shared.status.runbook.facts import is_usable
from shared.status.runbook.make import build, choose_point
from shared.status.runbook.prechecks import for_people
from tests.unit.databases.making import differential, full, log
from tests.unit.status.points import (
    FILES,
    ID,
    SETTINGS,
    SHA256,
    SNAPSHOT,
    THUMBPRINT,
    VERSION,
    blobs,
    databases,
    facts,
    hosting,
    in_repository,
    master,
    metering,
    point,
    records,
    secrets,
    share,
    source,
    written,
)

PARSER_MISSING = "tsqlparse, Microsoft's parser of T-SQL, is not on the PATH"
parser = shutil.which("tsqlparse")
PLACE = "https://landingacct.blob.core.windows.net/by-hand-20261125t120000z-0a1b2c"


def section(text: str, number: int) -> str:
    return text.split(f"\n## {number}. ")[1].split("\n## ")[0]


def step(text: str, title: str) -> str:
    found = [each for each in re.split(r"\n##+ ", text) if re.sub(r"^☐ \d+\.\d+ ", "", each).startswith(title)]
    assert len(found) == 1, f"{len(found)} steps begin with {title!r}"
    return found[0]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^(`{{3,}}){language}\n(.*?)\n\1$", text, re.MULTILINE | re.DOTALL) and [
        body for _, body in re.findall(rf"^(`{{3,}}){language}\n(.*?)\n\1$", text, re.MULTILINE | re.DOTALL)
    ]


# --- the whole ---


def test_the_sections_are_in_the_order_of_microsofts_pages_and_each_step_says_how_to_see_that_it_worked() -> None:
    text = written()

    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [
        "1. Check what is there",
        "2. SQL Server and the databases",
        "3. `master`, by hand and only if it must be",
        "4. File server and share",
        "5. Controllers: roles and services",
        "6. After",
    ]
    steps = re.split(r"^### ", text, flags=re.MULTILINE)[1:]
    assert len(steps) > 25
    for each in steps:
        assert each.startswith("☐ ")
        assert "**It worked when** " in each or "Write down what happened" in each


def test_the_steps_are_numbered_without_a_gap() -> None:
    numbers = re.findall(r"^### ☐ (\d+)\.(\d+) ", written(), re.MULTILINE)

    for chapter in {chapter for chapter, _ in numbers}:
        own = [int(place) for each, place in numbers if each == chapter]
        assert own == list(range(1, len(own) + 1))


def test_every_link_of_the_contents_leads_to_a_heading_of_the_page() -> None:
    html = to_html(written())
    links = re.findall(r'href="#([^"]*)"', html)

    assert len(links) == 6
    assert set(links) <= set(re.findall(r'<h2 id="([^"]*)"', html))


# --- the head ---


def test_the_head_names_everything_that_the_point_is_made_of() -> None:
    text = written().split("\n## 1.")[0]

    for named in (
        f"`{ID}`",
        "**complete**, whole",
        "Database `appservice_hosting` | as of 2026-11-25 13:50:00Z; full, 4.8 MiB in the vault",
        "`sqlag-listener,1433`, calls itself `SQL01`; 15.0.4430.1, Enterprise Edition (64-bit)",
        "`smb://sofs01.appservice.local/WebSites`, `\\\\sofs01.appservice.local\\WebSites`",
        f"20,000 files, 3.0 GiB; snapshot `{SNAPSHOT}`",
        f"secret `system-secrets`, version `{VERSION}`",
        f"SHA-256 `{SHA256}`",
        "`102.20.2.2` (release 26R1)",
        "`https://vaultacct.blob.core.windows.net`",
        "`https://kv-lifeboat.vault.azure.net`",
        "15 h 00 min before this page",
    ):
        assert named in text


def test_a_whole_and_complete_point_is_not_warned_of() -> None:
    assert "\n> " not in written().split("\n## 1.")[0]


def test_what_the_point_lacks_is_said_before_anything_else() -> None:
    made = point(
        status="partial",
        suspect=True,
        whole=False,
        gone=["appservice_old"],
        without=["share2"],
        not_configured=["secrets"],
        reasons=[{"component": "share", "code": "x", "message": "a file could not be read", "remedy": "Run it again."}]
        * 25,
    )
    text = written(made).split("\n## 1.")[0]

    for told in (
        "**This point is partial.**",
        "**This point is suspect**",
        "- share: a file could not be read. Run it again.",
        "and 5 more: see the record",
        "`appservice_old` was in earlier whole points",
        "not configured when it was made: secrets",
        "`--without`): `share2`",
        "not whole",
    ):
        assert told in text


@pytest.mark.parametrize(
    ("verdict", "told"),
    [
        ("drift", "**SystemSecrets.JSON of this point does not fit its databases**: it was rotated."),
        ("unknown", "Whether SystemSecrets.JSON fits the databases **is not known**: it was rotated."),
    ],
)
def test_secrets_that_do_not_fit_or_may_not_are_a_warning(verdict: str, told: str) -> None:
    pairing = {"verdict": verdict, "detail": "it was rotated", "rotated": [], "users": []}
    text = written(point({"databases": databases(), "share": share(), "secrets": secrets(pairing=pairing)}))

    assert f"> {told}" in text


def test_certificates_that_end_soon_are_a_warning() -> None:
    expiring = [{"file": "system-secrets", "subject": "CN=*.appservice.x", "not_after": "2026-12-20T00:00:00Z"}]
    text = written(point({"databases": databases(), "share": share(), "secrets": secrets(expiring=expiring)}))

    assert "CN=\\*.appservice.x, 2026-12-20 00:00:00Z" in text


def test_what_no_point_brings_back_is_said() -> None:
    text = written().split("\n## 1.")[0]

    for told in ("AzureWebJobsStorage", "AzureWebJobsDashboard", "WebWorker_<ip address>", "the roles of App Service"):
        assert told in text


# --- the checks ---


def test_checks_are_ticked_crossed_with_their_remedy_or_left_open() -> None:
    checks: list[dict[str, Any]] = [
        {"component": "share", "name": "One", "result": "pass", "detail": "it is there", "remedy": ""},
        {"component": "share", "name": "Two", "result": "fail", "detail": "it is gone", "remedy": "Run 'check'"},
        {"component": "share", "name": "Three", "result": "skip", "detail": "look yourself", "remedy": ""},
    ]
    text = section(written(checks=checks), 1)

    assert "- ☑ One: it is there." in text
    assert "- ☒ Two: it is gone. **Do:** Run 'check'." in text
    assert "- ☐ Three: look yourself." in text
    assert "**1 of them failed: mend those first.**" in text


def test_what_a_restorer_needs_is_given_by_real_names() -> None:
    text = section(written(), 1)

    assert "--role 'Storage Blob Data Reader' --scope '/subscriptions/<subscription>" in text
    assert "/storageAccounts/vaultacct'" in text
    assert "/storageAccounts/landingacct'" in text
    assert "/vaults/kv-lifeboat'" in text
    assert "$env:LIFEBOAT_VAULT_URL = 'https://vaultacct.blob.core.windows.net'" in text
    assert "$env:LIFEBOAT_SQL_SERVER = 'sqlag-listener,1433'" in text


# --- databases ---


def test_the_restore_with_lifeboat_to_a_new_server_and_to_the_old_one() -> None:
    text = step(written(), "Restore `appservice_hosting`")

    assert f"python lifeboat.py restore databases --point {ID} --checkdb --to '<new sql server>'" in text
    assert f"python lifeboat.py restore databases --point {ID} --checkdb --overwrite" in text


def test_databases_that_can_be_brought_to_the_shares_moment_are_brought_there() -> None:
    moment = {"moment": "2026-11-25T12:01:02.000003Z", "reachable": True}
    text = written(point({"databases": databases(share_moment=moment), "share": share(), "secrets": secrets()}))

    assert "--at 2026-11-25T12:01:02.000003Z --checkdb --to" in text
    assert "different moments" not in text


def test_a_restore_by_hand_is_the_statements_that_lifeboat_itself_would_send() -> None:
    text = step(written(), "Only where Lifeboat cannot run: restore them by hand")
    where = Devices("URL", (f"{PLACE}/appservice_hosting/20261125T120000Z-full-000001/1of1.bak",))
    move = {str(file["logical_name"]): str(file["physical_name"]) for file in FILES}

    assert blocks(text, "sql")[2].split("\n") == [
        f"{statements.verify_only(where)};",
        f"{statements.restore_database('appservice_hosting', where, move=move, replace=False)};",
        f"{statements.recover('appservice_hosting')};",
    ]
    assert f"CREATE CREDENTIAL [{PLACE}] WITH IDENTITY" in text
    assert "N'<shared access signature>'" in text
    assert (
        "azcopy copy 'https://vaultacct.blob.core.windows.net/databases/appservice_hosting/"
        f"20261125T120000Z-full-000001/1of1.bak' '{PLACE}/appservice_hosting/20261125T120000Z-full-000001/1of1.bak'"
    ) in text


def test_a_chain_is_restored_in_its_order_with_recovery_at_the_end() -> None:
    base = full(100, 110, stored=blobs("appservice_hosting/base"), files=FILES)
    later = differential(base, 120, 130, stored=blobs("appservice_hosting/later"))
    first = log(125, 140, stored=blobs("appservice_hosting/first"))
    second = log(140, 150, stored=blobs("appservice_hosting/second"))
    before = point({"databases": databases(base)}, point="20261124T120000Z-000000", time="2026-11-24T12:00:00Z")
    made = point({"databases": databases(later, first, second)})
    text = step(written(made, earlier=(before,)), "Only where Lifeboat cannot run: restore them by hand")

    assert "`appservice_hosting`, as of 2026-11-25 14:30:00Z (full + differential + log + log):" in text
    lines = blocks(text, "sql")[2].split("\n")
    assert [line.split(" ")[1] for line in lines] == ["VERIFYONLY"] * 4 + [
        "DATABASE",
        "DATABASE",
        "LOG",
        "LOG",
        "DATABASE",
    ]
    order = [re.search(r"appservice_hosting/(\w+)/", line) for line in lines[4:8]]
    assert [match[1] for match in order if match] == ["base", "later", "first", "second"]
    assert all("NORECOVERY" in line for line in lines[4:8])
    assert lines[8] == "RESTORE DATABASE [appservice_hosting] WITH RECOVERY;"
    assert text.count("MOVE N'hosting' ") == 1
    assert text.count("azcopy copy ") == 4


def test_backups_in_the_repository_are_brought_by_restic_and_restored_from_disk() -> None:
    stored = in_repository("appservice_hosting-20261125")
    made = point({"databases": databases(hosting(stored=stored), mode="disk")})
    text = written(made)
    by_hand = step(text, "Only where Lifeboat cannot run: restore them by hand")

    assert f"restic -r azure:share:/ --no-lock restore {'d1' * 32} --target 'C:\\LifeboatRestore'" in by_hand
    assert "DISK = N'C:\\LifeboatRestore\\appservice_hosting\\appservice_hosting-20261125.bak'" in by_hand
    assert "azcopy" not in by_hand
    assert "$env:LIFEBOAT_SQL_MODE = 'disk'" in text
    assert "LIFEBOAT_SQL_DISK_PATH" in text


def test_a_point_without_databases_says_what_can_be_done_instead() -> None:
    text = written(point({"share": share(), "secrets": secrets()}))

    assert "**This point holds no backup of a database that can be restored.**" in section(text, 2)
    assert "restore databases" not in section(text, 2)
    assert "LIFEBOAT_SQL_MODE" not in text


def test_a_chain_with_a_gap_is_told_and_the_other_database_is_restored() -> None:
    lost = log(140, 150, stored=blobs("appservice_hosting/second"))
    text = written(point({"databases": databases(lost, metering())}))

    assert "cannot be applied" in text.split("\n## 1.")[0]
    assert "### ☐ 2.4 Restore `appservice_metering`\n" in text


def test_certificates_of_encrypted_databases_come_before_the_restore() -> None:
    tde = hosting(files=tuple(file | {"tde_thumbprint": THUMBPRINT} for file in FILES))
    kept = {"version": VERSION, "sha256": SHA256, "filename": "tde.cer", "thumbprints": [THUMBPRINT]}
    files = {"tde": kept, "tde-key": kept | {"thumbprints": []}, "tde-password": kept | {"thumbprints": []}}
    text = section(written(point({"databases": databases(tde), "secrets": secrets(kept=files)})), 2)

    assert text.index("Certificates of encrypted databases") < text.index("Restore `appservice_hosting`")
    assert f"python lifeboat.py restore secrets --point {ID} --name tde-key --to tde-key" in text
    assert (
        "CREATE CERTIFICATE [tde] FROM FILE = N'C:\\LifeboatRestore\\tde' WITH PRIVATE KEY "
        "(FILE = N'C:\\LifeboatRestore\\tde-key', DECRYPTION BY PASSWORD = N'<password>')"
    ) in text
    assert "CREATE MASTER KEY ENCRYPTION BY PASSWORD = N'<password>'" in text


def test_a_certificate_in_a_pfx_file_is_made_from_that() -> None:
    tde = hosting(encryptor_thumbprint=THUMBPRINT)
    files = {"tde": {"version": VERSION, "sha256": SHA256, "filename": "TDE.PFX", "thumbprints": [THUMBPRINT]}}
    text = section(written(point({"databases": databases(tde), "secrets": secrets(kept=files)})), 2)

    assert "FROM FILE = N'C:\\LifeboatRestore\\tde' WITH FORMAT = 'PFX', PRIVATE KEY (DECRYPTION BY PASSWORD" in text


def test_a_certificate_that_nobody_holds_is_said_to_be_missing() -> None:
    text = section(written(point({"databases": databases(hosting(encryptor_thumbprint=THUMBPRINT))})), 2)

    assert "**It is not held among the secrets of this point.**" in text


def test_logins_are_needed_only_where_the_databases_are_not_contained() -> None:
    contained = step(written(), "Logins of the server")
    loose = step(written(point({"databases": databases(hosting(containment=0))})), "Logins of the server")
    none = step(written(point({"databases": databases(logins={"why": "no rights"})})), "Logins of the server")

    assert "These databases are contained" in contained
    assert f"python lifeboat.py restore logins --point {ID} --to logins.sql" in contained
    assert "belong to logins of the server" in loose
    assert "This point holds none (no rights)" in none


def test_master_is_a_page_of_its_own_and_never_a_command() -> None:
    text = section(written(), 3)

    assert "**Usually not needed.**" in text
    assert f"RESTORE DATABASE [master] FROM URL = N'{PLACE}/master/" in text
    assert "WITH REPLACE, CHECKSUM" in text
    assert "NORECOVERY" not in text
    assert "/mSQLCMD" in text
    assert "exactly the same build, `15.0.4430`" in text
    assert "lifeboat.py restore" not in text


def test_a_point_without_master_says_so() -> None:
    assert "This point holds no backup of it." in section(written(point({"databases": databases(hosting())})), 3)


# --- the machine ---


def machine(made: Any = None, **values: str) -> str:
    return step(written(made, settings=SETTINGS | {f"LIFEBOAT_{name}": value for name, value in values.items()}), "A m")


def settings_of(text: str) -> list[str]:
    """Those that are set, without those that are comments."""
    return re.findall(r"^\$env:LIFEBOAT_(\w+) = ", text, re.MULTILINE)


def test_a_restoring_machine_gets_no_more_than_it_needs() -> None:
    assert settings_of(machine()) == [
        "VAULT_URL", "KEY_VAULT_URL", "SQL_MODE", "LANDING_URL", "SQL_SERVER", "RESTORE_SQL_USERNAME",
        "RESTORE_SQL_PASSWORD", "SHARE_URL", "RESTORE_USERNAME", "RESTORE_PASSWORD",
    ]  # fmt: skip
    assert "SQL" not in " ".join(settings_of(machine(point({"share": share()}))))


def test_keys_are_asked_for_where_keys_are_used_and_are_on_no_page() -> None:
    text = machine(VAULT_KEY="hush", LANDING_KEY="hush", REPOSITORY_PASSWORD="hush")

    for name in ("VAULT_KEY", "LANDING_KEY", "REPOSITORY_PASSWORD"):
        assert re.search(rf"^\$env:LIFEBOAT_{name} = \[Net.NetworkCredential\].*Read-Host", text, re.MULTILINE)
    assert "hush" not in text


def test_what_is_set_where_the_page_is_made_holds_on_the_restoring_machine_too() -> None:
    text = machine(STORAGE_API_VERSION="2017-11-09", SQL_DRIVER="ODBC Driver 17 for SQL Server", SQL_SAS="account-key")

    assert "$env:LIFEBOAT_STORAGE_API_VERSION = '2017-11-09'" in text
    assert "$env:LIFEBOAT_SQL_DRIVER = 'ODBC Driver 17 for SQL Server'" in text
    assert "$env:LIFEBOAT_SQL_SAS = 'account-key'" in text
    assert "\n# $env:LIFEBOAT_SQL_DRIVER = '/opt/x.so'" in machine(SQL_DRIVER="/opt/x.so"), "of another machine"


def test_how_the_sql_server_is_trusted_is_said_and_what_a_new_one_needs() -> None:
    pinned = "$env:LIFEBOAT_SQL_SERVER_CERTIFICATE = '<file of the certificate of the SQL server, PEM>'"
    trusting = "$env:LIFEBOAT_SQL_TRUST_SERVER_CERTIFICATE = 'true'"
    neither, one = machine(), machine(SQL_SERVER_CERTIFICATE="/etc/sql.pem")
    any_ = machine(SQL_TRUST_SERVER_CERTIFICATE="True")

    assert f"\n# {pinned}\n# {trusting}\n" in neither
    assert f"\n{pinned}\n# {trusting}\n" in one
    assert f"\n# {pinned}\n{trusting}\n" in any_
    for text in (neither, one, any_):
        assert "signed itself" in text
        assert "**Whoever stands in between then reads the password" in text


def test_backups_on_disk_need_the_folder_and_who_writes_there() -> None:
    made = point({"databases": databases(hosting(stored=in_repository("h")), mode="disk")})
    text = machine(made, SQL_DISK_PATH="\\\\nas\\sql", SQL_DISK_URL="smb://nas:1445/sql")

    assert "$env:LIFEBOAT_SQL_DISK_PATH = '\\\\nas\\sql'\n$env:LIFEBOAT_SQL_DISK_URL = 'smb://nas:1445/sql'\n" in text
    assert "SQL_DISK_PASSWORD" in settings_of(text)
    assert "LANDING" not in text


# --- share ---


def test_the_share_is_restored_by_its_real_names() -> None:
    text = section(written(), 4)

    assert f"restore share --point {ID} --to 'smb://<new file server>/WebSites'" in text
    assert f"restore share --point {ID} --to smb://sofs01.appservice.local/WebSites" in text
    assert f"restore '{SNAPSHOT}:/WebSites' --target 'C:\\WebSites'" in text
    assert "$env:AZURE_ACCOUNT_NAME = 'vaultacct'" in text
    assert "AZURE_ENDPOINT_SUFFIX" not in text
    assert "/secrets/repository-password'" in text
    assert "BCDR\\ReACL.cmd" in text
    assert "icacls $folder /grant 'Administrators:(OI)(CI)(F)'" in text
    assert '"${domain}FileShareUsers:(CI)(S,X,RA)"' in text
    assert "**restic 0.19 or later**" in text


def test_a_vault_outside_the_public_cloud_is_named_to_restic_by_its_suffix() -> None:
    text = written(settings={"LIFEBOAT_VAULT_URL": "https://acct.blob.local.azurestack.external"})

    assert "$env:AZURE_ENDPOINT_SUFFIX = 'local.azurestack.external'" in text


def test_a_folder_inside_a_share_is_restored_into_that_share() -> None:
    own = source(share="smb://fs01/data/web%20sites", share_unc="\\\\fs01\\data\\web sites")
    made = point(
        source=own,
        components={"share": share(source={"hostname": "fs01", "path": "/data/web sites", "name": "web sites"})},
    )
    text = section(written(made), 4)

    assert "$share = 'data'" in text
    assert "'smb://<new file server>/data/web%20sites'" in text
    assert f"'{SNAPSHOT}:/web sites'" in text


def test_a_file_server_at_another_port_is_reached_there_again() -> None:
    made = point(source=source(share="smb://fs01:4445/WebSites", share_unc="\\\\fs01\\WebSites"))
    text = section(written(made), 4)

    assert "--to 'smb://<new file server>:4445/WebSites'" in text
    assert "--to smb://fs01:4445/WebSites" in text
    assert "netsh interface portproxy add v4tov4 listenport=4445 connectport=445" in text
    assert "file server (4445)" in machine(made)
    assert "portproxy" not in section(written(), 4)


def test_an_older_record_without_a_port_is_given_the_port_of_the_same_server() -> None:
    older = point(source={})
    now = {"LIFEBOAT_SHARE_URL": "smb://SOFS01.appservice.local:4445/WebSites"}

    assert facts(older, settings=SETTINGS | now).share_url == "smb://sofs01.appservice.local:4445/WebSites"
    other = {"LIFEBOAT_SHARE_URL": "smb://other:4445/WebSites"}
    assert facts(older, settings=SETTINGS | other).share_url == "smb://sofs01.appservice.local/WebSites"


def test_a_point_without_a_share_says_what_can_be_done_instead() -> None:
    text = written(point({"databases": databases(), "secrets": secrets()}))

    assert "**This point holds no snapshot of the share.**" in section(text, 4)
    assert "LIFEBOAT_RESTORE_USERNAME" not in text


def test_a_share_that_had_shrunk_is_warned_of() -> None:
    assert "> **This snapshot was taken for a failure**" in section(
        written(point({"share": share(status="failed")})), 4
    )


# --- secrets and controllers ---


def test_the_controllers_get_the_secrets_and_the_cmdlets_in_their_order() -> None:
    text = section(written(), 5)
    order = [
        f"restore secrets --point {ID} --to SystemSecrets.JSON",
        "net stop WebFarmService",
        "net stop ResourceMetering",
        "Restore-AppServiceStamp -FilePath 'C:\\Temp\\SystemSecrets.JSON'\n",
        "-OverrideDatabaseServer '<new sql server>'\n",
        "-OverrideContentShare '\\\\<new file server>\\WebSites'\n",
        "-CoreBackupFilePath",
        "Restore-AppServiceRoles\n```",
        "net start WebFarmService",
        "net start ResourceMetering",
        "Get-AppServiceSite | Sync-AppServiceObject",
        "Get-AppServiceServerFarm | Sync-AppServiceObject",
        "FileShareOwnerCredential",
        "Remove-Item 'C:\\Temp\\SystemSecrets.JSON'",
        "back to **Deny**",
    ]
    places = [text.index(each) for each in order]

    assert places == sorted(places)
    assert f"`{SHA256.upper()}`" in text
    assert "On **every** controller" in text


def test_the_door_to_the_controllers_is_opened_before_their_services_are_stopped_and_closed_at_the_end() -> None:
    text = written()

    assert text.index("set the rule `Inbound_Rdp_3389` to **Allow**") < text.index("net stop WebFarmService")
    assert section(text, 1).index("Inbound_Rdp_3389") < section(text, 1).index("net stop WebFarmService")
    assert section(text, 5).rindex("back to **Deny**") > section(text, 5).index("Restore-AppServiceRoles")


def test_how_the_new_sql_server_is_written_is_said_for_other_ports_and_named_instances() -> None:
    text = step(written(), "Restore the stamp")

    assert "`sqlag-listener,1433`" in text
    for written_so in (
        "host, a comma and a port",
        "`'host,port'`",
        "`'host\\instance'`",
        "UDP 1434",
        "Keep the quotes",
    ):
        assert written_so in text


def test_kept_files_that_no_database_needs_come_back_by_a_command_each() -> None:
    """Those that hold a needed certificate are in the step on certificates."""
    kept = {"version": VERSION, "sha256": SHA256, "filename": "x", "thumbprints": []}
    tde = kept | {"thumbprints": [THUMBPRINT]}
    files = {"spare": tde, "tde": tde, "tde-key": kept, "proxy": kept}
    with_key = [{"file": "tde", "thumbprint": THUMBPRINT, "has_key": True}]
    encrypted = databases(hosting(encryptor_thumbprint=THUMBPRINT))
    text = written(point({"databases": encrypted, "secrets": secrets(kept=files, certificates=with_key)}))

    for name, title in (
        ("tde", "Certificates of"), ("tde-key", "Certificates of"), ("spare", "Get back the"), ("proxy", "Get back the")
    ):  # fmt: skip
        command = f"python lifeboat.py restore secrets --point {ID} --name {name} --to {name}\n"
        assert text.count(command) == 1
        assert command in step(text, title)
    assert "Get back the other files" not in written()


def test_when_the_secrets_were_heard_of_is_said_as_what_it_was() -> None:
    text = written()

    assert text.count("uploaded or confirmed last at 2026-11-01 08:00:00Z") == 2
    assert "last heard" not in text


def test_after_the_recovery_the_secrets_are_kept_and_confirmed_before_the_first_backup() -> None:
    """What Lifeboat had before does not clear the drift that databases brought back look like."""
    text = section(written(), 6)
    order = ["lifeboat.py secrets put", "lifeboat.py secrets confirm", "lifeboat.py backup"]

    assert [text.index(each) for each in order] == sorted(text.index(each) for each in order)


def test_a_point_without_secrets_says_where_else_to_look() -> None:
    for made in (
        point({"databases": databases(), "share": share()}, source={}),
        point(
            {"databases": databases(), "share": share(), "secrets": {"status": "failed", "key_vault": "x", "notes": []}}
        ),
    ):
        text = section(written(made), 5)

        assert "**this point holds none**" in text
        assert "Download Secrets" in text
        assert "lifeboat.py restore secrets" not in text


def test_after_it_everything_is_backed_up_again_and_the_break_glass_role_is_printed() -> None:
    text = section(written(), 6)

    for told in (
        "AzureWebJobsStorage",
        "python lifeboat.py secrets put SystemSecrets.JSON",
        "python lifeboat.py backup\npython lifeboat.py status",
        "$role = az role definition list --custom-role-only true --scope '/subscriptions/",
        "starts_with(roleName, 'Lifeboat break-glass')",
        "az role assignment create --assignee '<user>' --role $role --scope '/subscriptions/",
        "az lock delete --name backups --resource ",
        "az role assignment delete --assignee '<user>' --role $role --scope '/subscriptions/",
    ):
        assert told in text


# --- older and odd records ---


def test_an_older_record_gives_what_it_has_and_placeholders_for_the_rest() -> None:
    made = point({"databases": databases(), "share": share()}, source={})
    text = written(made, settings={})

    assert "`sqlag-listener,1433`" in text
    assert "`\\\\sofs01.appservice.local\\WebSites`" in text
    assert "not recorded: `LIFEBOAT_APP_SERVICE_BUILD`" in text
    assert "https://<vault account>.blob.core.windows.net" in text
    assert "$env:LIFEBOAT_REPOSITORY_PASSWORD = [Net.NetworkCredential]" in text


def test_a_share_that_was_a_folder_has_no_unc_path() -> None:
    local = share(source={"hostname": "localhost", "path": "/srv/WebSites", "name": "WebSites"})
    text = written(point({"share": local}, source={}), settings={"LIFEBOAT_SHARE_URL": "file:///srv/WebSites"})

    assert "The share was read as a folder" in section(text, 4)
    assert "\\\\localhost" not in text


def test_a_record_whose_backups_cannot_be_read_is_told_and_the_rest_stands() -> None:
    broken = databases()
    broken["databases"]["appservice_hosting"]["backups"] = [{"kind": "full"}]
    text = written(point({"databases": broken, "share": share()}))

    assert "cannot be read" in text
    assert "**This point holds no backup of a database that can be restored.**" in text
    assert "restore share" in text


def test_a_tail_of_a_restore_is_no_point_to_recover_from() -> None:
    made = point({"databases": databases(hosting(), tail_of_restore="20261101T000000Z-000000")}, whole=False)

    assert not is_usable(made)
    assert "**This point holds only the tail of a log**" in written(made)


# --- which point ---


def test_the_newest_complete_and_whole_point_is_chosen_and_what_was_passed_over_is_told() -> None:
    partial = point(point="20261126T120000Z-000001", status="partial")
    narrow = point(point="20261125T130000Z-000001", whole=False)
    chosen, notes = choose_point(records(partial, narrow, point()), None)

    assert chosen.point == ID
    assert [note.split(",")[0] for note in notes] == [
        "passed over: 20261126T120000Z-000001",
        "passed over: 20261125T130000Z-000001",
    ]


def test_without_one_the_newest_with_anything_usable_is_taken_and_said_to_be() -> None:
    failed = point({"share": share(status="failed")}, point="20261127T120000Z-000001", status="failed")
    chosen, (note,) = choose_point(records(failed, point(status="partial")), None)

    assert chosen.point == ID
    assert "no point is complete and whole" in note


def test_without_any_it_is_an_error_that_says_so() -> None:
    with pytest.raises(UsageError, match="no recovery point"):
        choose_point(records(), None)


# --- whatever somebody has called a thing ---

HOSTILE = st.sampled_from(
    [
        "`` ``` <script>alert(1)</script>",
        "a\n```\n# heading\n\n```sql\nDROP DATABASE x",
        "](javascript:alert(1)) [x](javascript:alert(2))",
        "x'; DROP DATABASE y; --",
        "x]; DROP DATABASE y; --",
        "\u2019; Remove-Item C:\\ ; \u2019",
        "a|b|c",
        "$(Remove-Item C:\\)",
        "☑ checked",
        "\nGO\nDROP DATABASE z\nGO\n",
        "\u202egpj.exe",
    ]
)
NAMES = st.one_of(HOSTILE, st.text(min_size=1, max_size=30), st.text("`|\\'\"[]<>\n$;☐", min_size=1, max_size=12))


def _hostile(name: str) -> Any:
    tde = hosting(
        database=name[:100] or "x",
        encryptor_thumbprint=name,
        files=tuple(file | {"logical_name": name, "physical_name": name} for file in FILES),
        stored={"kind": "repository", "snapshot": name, "files": [{"name": name, "size_bytes": 1}], "bytes_stored": 1},
    )
    files = {name: {"version": name, "sha256": name, "filename": name, "thumbprints": [name]}}
    made = point(
        {
            "databases": databases(
                tde,
                master(),
                source=name,
                server={"name": name, "version": name, "edition": name},
                logins={"saved": 1, "secret": name, "version": name, "sha256": name, "why": name},
            ),
            "share": share(snapshot=name, source={"hostname": name, "path": f"/{name}", "name": name}),
            "secrets": secrets(
                name=name,
                version=name,
                sha256=name,
                moment=name,
                kept=files,
                pairing={"verdict": "drift", "detail": name},
                expiring=[{"subject": name, "not_after": name}],
                notes=[name],
                key_vault=name,
            ),
        },
        status="partial",
        gone=[name],
        without=[name],
        source={},
        reasons=[{"component": name, "code": name, "message": name, "remedy": name}],
    )
    return replace(facts(made), point=made)


@settings(max_examples=60, deadline=None)
@given(NAMES)
def test_no_name_of_a_record_breaks_out_of_where_it_stands(name: str) -> None:
    usual, odd = facts(), _hostile(name)
    checks = [check | {"name": name, "detail": name, "remedy": name, "result": "fail"} for check in for_people(odd)]
    text = build(odd, checks)
    html = to_html(text)

    assert set(re.findall(r"<(\w+)", html)) <= set(re.findall(r"<(\w+)", to_html(build(usual, checks)))) | {
        "blockquote",
        "span",
    }
    assert re.findall(r"<a [^>]*>", html) == re.findall(r"<a [^>]*>", to_html(build(usual, for_people(usual))))
    assert len(re.findall("<h2", html)) == 6
    assert len(re.findall("<h1", html)) == 1
    headings = re.findall(r"^### ☐ \d+\.\d+ ", text, re.MULTILINE)
    assert len(re.findall("<h3", html)) == len(headings) == html.count('<input type="checkbox"')
    assert 'class="good"' not in html
    for sql in blocks(text, "sql"):
        assert all(
            line != "GO" or before.endswith(";")
            for before, line in zip(sql.split("\n"), sql.split("\n")[1:], strict=False)
        )


def test_quotes_in_names_are_doubled_in_t_sql_and_powershell() -> None:
    made = point({"databases": databases(hosting(database="o'b]x", files=()), source="sql'01")}, source={})
    text = written(made)

    assert "RESTORE DATABASE [o'b]]x] FROM URL" in text
    assert "DBCC CHECKDB (N'o''b]x')" in text
    assert "$env:LIFEBOAT_SQL_SERVER = 'sql''01'" in text


# --- before Microsoft's parser ---


NOT_IN_THE_PARSER = ("(SEEDING_MODE = AUTOMATIC)", "GRANT CREATE ANY DATABASE", "WITH FORMAT = 'PFX'")
"""Documented by Microsoft (sql-docs: "Automatic seeding", "CREATE CERTIFICATE") and not in ScriptDom's grammar."""


def _without_what_the_parser_lacks(sql: str) -> str:
    return "\n".join(line for line in sql.split("\n") if not any(each in line for each in NOT_IN_THE_PARSER))


@pytest.mark.skipif(parser is None, reason=PARSER_MISSING)
@pytest.mark.parametrize("version", ["2014", "2016", "2022"])
def test_microsofts_parser_takes_every_block_of_t_sql(tmp_path: Path, version: str) -> None:
    stored = None if version != "2014" else in_repository("hosting")
    kept = {"version": VERSION, "sha256": SHA256, "filename": "x.cer", "thumbprints": [THUMBPRINT]}
    if version == "2022":
        kept |= {"filename": "x.pfx"}
    tde = hosting(
        database="it's a ]['\"--/* naïve", encryptor_thumbprint=THUMBPRINT, **({"stored": stored} if stored else {})
    )
    other = master(**({"stored": in_repository("master")} if stored else {}))
    text = written(
        point({"databases": databases(tde, other), "share": share(), "secrets": secrets(kept={"tde": kept})})
    )
    found = [_without_what_the_parser_lacks(each) for each in blocks(text, "sql")]
    assert len(found) >= 10
    files = []
    for number, each in enumerate(found):
        files.append(tmp_path / f"{number:02}.sql")
        files[-1].write_text(each, "utf-8")
    done = subprocess.run(
        [str(parser), "--server", version, *map(str, files)],
        env={**os.environ, "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, [line for line in done.stdout.splitlines() if "error" in line]


def test_the_age_of_a_point_of_tomorrow_is_none() -> None:
    early = replace(facts(), now=facts().now - timedelta(days=9))

    assert "0.0 s before this page" in build(early, for_people(early))
