"""``runbook`` on real points: what it names is what the backup recorded, and its checks are really made."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Vault
from tests.integration.commandline.conftest import PASSWORD as REPOSITORY_PASSWORD
from tests.integration.commandline.conftest import CommandLine, Json
from tests.integration.databases.conftest import (
    HOSTING,
    METERING,
    PASSWORD,
    RESTORE_LOGIN,
    Bench,
    bench,
    landing,
    sql_server,
)
from tests.integration.secrets.conftest import CANARY, Site, site
from tests.standins.azurite import KEY
from tests.standins.restic import StockRestic

__all__ = ["bench", "landing", "site", "sql_server"]


def results(checks: list[Json]) -> dict[str, str]:
    return {check["name"]: check["result"] for check in checks}


def test_a_point_of_everything_is_checked_and_its_recovery_written_with_its_real_names(site: Site) -> None:
    site.put()
    made = site.back_up()
    assert made.status == "complete", made.reasons
    site.bench.as_restorer()
    answer = site.command("runbook")

    assert (answer.code, answer.status, answer.json["point"]) == (0, "ok", made.json["point"])
    assert answer.json["format"] == "md"
    text = answer.json["runbook"]
    record = site.bench.record(made.json["point"])
    component = record["components"]["databases"]
    for name in (
        made.json["point"],
        component["source"],
        component["server"]["name"],
        record["components"]["share"]["snapshot"],
        record["components"]["secrets"]["version"],
        record["components"]["secrets"]["sha256"],
        *(blob["name"] for blob in component["databases"][HOSTING]["backups"][0]["stored"]["blobs"]),
        f"RESTORE DATABASE [{METERING}] WITH RECOVERY;",
    ):
        assert name in text
    found = results(answer.json["checks"])
    assert set(found.values()) == {"pass"}, answer.json["checks"]
    for part in (
        "Record of this point",
        f"Backup of {HOSTING} in the vault",
        "Backup of master in the vault",
        "Snapshot of the share in the repository",
        "Password of the repository",
        "SystemSecrets.JSON in the Key Vault",
        "Version of SQL Server",
        "Mixed mode authentication",
        "Contained database authentication",
        "Rights of the login that restores",
        "Landing account",
        "File server that is restored to",
    ):
        assert part in found
    assert text.count("☑") >= len(found)
    assert "- ☒" not in text


def test_no_secret_is_in_it_in_whatever_form(site: Site) -> None:
    site.put()
    site.back_up()
    for arguments in (("runbook",), ("runbook", "--format", "html"), ("runbook", "--no-checks")):
        written = json.dumps(site.command(*arguments).json)
        code, out, err = site.command.people(*arguments)
        assert code == 0
        for value in (CANARY, PASSWORD, *(each.value for each in site.key_vault.secrets["repository-password"])):
            assert value not in written
            assert value not in out
            assert value not in err


def test_what_is_lost_or_wrong_is_a_crossed_box_with_a_remedy_and_the_runbook_is_written_all_the_same(
    site: Site,
) -> None:
    site.put()
    made = site.back_up()
    record = site.bench.record(made.json["point"])["components"]
    (blob,) = record["databases"]["databases"][HOSTING]["backups"][0]["stored"]["blobs"]
    with site.bench.vault.judge("databases") as store:
        store.delete(blob["name"])
    with site.bench.vault.judge("share") as store:
        store.delete(f"snapshots/{record['share']['snapshot']}")
    site.key_vault.secrets["system-secrets-part-01"].clear()
    site.command.set(SQL_SERVER="127.0.0.1,1")
    answer = site.command("runbook", "--point", made.json["point"])

    assert (answer.code, answer.status) == (0, "ok")
    failed = [check for check in answer.json["checks"] if check["result"] == "fail"]
    assert {check["name"] for check in failed} == {
        f"Backup of {HOSTING} in the vault",
        "Snapshot of the share in the repository",
        "SystemSecrets.JSON in the Key Vault",
        "SQL Server that is restored to",
    }
    assert all(check["detail"] and check["remedy"] for check in failed)
    assert "**4 of them failed: mend those first.**" in answer.json["runbook"]


def test_a_server_that_is_not_made_ready_is_told_of(bench: Bench) -> None:
    """The backup's own login lacks nothing that a restore needs here, and the server takes no contained users."""
    bench.command("backup")
    bench.server.instance.configuration["contained database authentication"] = [0, 0]
    answer = bench.command("runbook")

    found = {check["name"]: check for check in answer.json["checks"]}
    assert found["Contained database authentication"]["result"] == "fail"
    assert found["Contained database authentication"]["remedy"]
    assert found["Share"]["result"] == "fail"


def test_the_page_stands_by_itself(site: Site) -> None:
    site.put()
    site.back_up()
    code, out, _ = site.command.people("runbook", "--format", "html", "--no-checks")

    assert code == 0
    assert out.startswith("<!doctype html>")
    assert "default-src 'none'" in out
    assert "<script" not in out
    assert not re.search(r"(src|href)=\"(?!#)", out)
    assert '<input type="checkbox"' in out


def test_stock_restic_brings_the_share_back_by_snapshot_and_folder_as_the_runbook_names_them(
    lifeboat_in: CommandLine, newest_restic: StockRestic, vault: Vault, tmp_path: Path
) -> None:
    lifeboat_in("backup")
    text = lifeboat_in("runbook", "--no-checks").json["runbook"]
    (source,) = re.findall(
        r"^restic -r azure:share:/ --no-lock restore '?(\w{64}:/[^' ]*)'? --target", text, re.MULTILINE
    )
    if newest_restic.version < (0, 17):
        source = source.partition(":")[0]
    target = tmp_path / "back"
    vault.seen_by(newest_restic, REPOSITORY_PASSWORD).run("restore", source, "--target", str(target))

    back = target if ":" in source else target / "WebSites"
    assert lifeboat_in.contents(back) == lifeboat_in.contents()


def test_without_an_id_the_newest_complete_and_whole_point_is_taken(lifeboat_in: CommandLine) -> None:
    whole = lifeboat_in("backup")
    lifeboat_in.set_databases_that_fail()
    lifeboat_in("backup")
    answer = lifeboat_in("runbook", "--no-checks")

    assert answer.json["point"] == whole.json["point"]
    assert len(answer.json["notes"]) == 1
    assert {check["result"] for check in answer.json["checks"][1:]} == {"skip"}


LINE = re.compile(r"\$env:LIFEBOAT_(\w+) = (?:'(.*)'|(\[Net\.NetworkCredential\].*))\Z")


def follow(site: Site, text: str, filled: dict[str, str]) -> None:
    """The environment that the step on the machine prints, what a person fills in, and nothing else."""
    step = text.split(" A machine with Lifeboat\n")[1].split("\n###")[0]
    (script,) = re.findall(r"```powershell\n(.*?)\n```", step, re.DOTALL)
    for name in [name for name in os.environ if name.startswith("LIFEBOAT_")]:
        site.bench.monkeypatch.delenv(name)
    asked = set()
    for line in script.splitlines():
        if line.startswith("# "):
            continue
        found = LINE.match(line)
        assert found, line
        name, value, secret = found.groups()
        if secret or "<" in value:
            asked.add(name)
            value = filled.get(name, "")
        site.command.set(**{name: value.replace("''", "'")})
    assert asked >= filled.keys()


def test_the_settings_of_the_page_and_what_a_person_fills_in_are_all_that_a_restore_needs(site: Site) -> None:
    """Whoever restores knows the login that restores, no other, and has a SQL server with a certificate of its own."""
    site.put()
    assert site.back_up().status == "complete"
    filled = {
        "VAULT_KEY": KEY,
        "LANDING_KEY": KEY,
        "RESTORE_SQL_USERNAME": RESTORE_LOGIN,
        "RESTORE_SQL_PASSWORD": PASSWORD,
        "SQL_SERVER_CERTIFICATE": str(site.bench.certificate.chain),
    }
    follow(site, site.command("runbook", "--no-checks").json["runbook"], filled)
    assert "LIFEBOAT_SQL_USERNAME" not in os.environ

    again = site.command("runbook")
    assert set(results(again.json["checks"]).values()) == {"pass"}, again.json["checks"]
    databases = site.command("restore", "databases", "--overwrite", "--dry-run")
    assert (databases.code, databases.status) == (0, "complete"), databases.reasons
    to_file = str(site.folder / "back.JSON")
    everything = site.command("restore", "all", "--overwrite", "--dry-run", "--secrets-to", to_file)
    assert (everything.code, everything.status) == (0, "complete"), everything.reasons
    grants = site.command("runbook", "--grants")
    assert f"[{RESTORE_LOGIN}]" in grants.json["grants"]


def test_what_no_setting_leads_to_is_left_to_the_person(lifeboat_in: CommandLine) -> None:
    lifeboat_in("backup")
    lifeboat_in.unset("SHARE_URL", "REPOSITORY_PASSWORD")
    answer = lifeboat_in("runbook")

    found = results(answer.json["checks"])
    assert found["Password of the repository"] == "skip"
    assert found["File server that is restored to"] == "skip"
    assert found["Snapshot of the share in the repository"] == "pass"


@pytest.mark.parametrize(
    "arguments", [("--format", "pdf"), ("--point", "yesterday"), ("--point", "20200101T000000Z-000000")]
)
def test_a_format_or_id_that_is_none_is_wrong_usage(lifeboat_in: CommandLine, arguments: tuple[str, str]) -> None:
    lifeboat_in("backup")
    answer = lifeboat_in("runbook", *arguments)

    assert answer.code == 2
    assert answer.reasons[0]["remedy"]


def test_an_empty_vault_says_that_there_is_nothing_to_recover_from(lifeboat_in: CommandLine) -> None:
    answer = lifeboat_in("runbook")

    assert answer.code == 2
    assert "no recovery point" in answer.reasons[0]["message"]


def test_system_secrets_can_be_put_together_by_the_lines_of_the_runbook(site: Site, tmp_path: Path) -> None:
    """Its line of Python, on parts as the Azure command line would save them."""
    site.put(content := json.dumps({"key": CANARY, "more": list(range(30_000))}).encode())
    site.back_up()
    text = site.command("runbook", "--no-checks").json["runbook"]
    (line,) = re.findall(r'^python -c "(import base64, pathlib.*)"$', text, re.MULTILINE)
    manifest = json.loads(site.key_vault.secrets["system-secrets"][-1].value)
    assert len(manifest["parts"]) > 1
    for number, version in enumerate(manifest["parts"], 1):
        part = f"system-secrets-part-{number:02}"
        (value,) = [each.value for each in site.key_vault.secrets[part] if each.version == version]
        (tmp_path / f"{part}.txt").write_text(value, "utf-8")
    subprocess.run([sys.executable, "-c", line], cwd=tmp_path, check=True)

    assert (tmp_path / "SystemSecrets.JSON").read_bytes() == content
