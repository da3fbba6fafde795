"""SQL Server: what it needs to be, its certificates, the databases with Lifeboat and without, logins, ``master``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from shared.databases import statements
from shared.databases.backup_set import BackupSet
from shared.databases.chains import Chain
from shared.databases.inspection import VERSION_NAMES
from shared.databases.medium import BLOBS, stored_names
from shared.databases.statements import BackupType, Devices
from shared.status.markdown import block, bullets, code, plain
from shared.status.runbook import by_hand
from shared.status.runbook.commands import lifeboat, placeholder, quote, text
from shared.status.runbook.document import Section, Step, section, step, warning
from shared.status.runbook.facts import Facts, folder_of
from shared.status.runbook.words import kinds, sentences, time
from shared.storage.azure_endpoint import blob_url
from shared.storage.vault import DATABASES_CONTAINER

FOLDER = "C:\\LifeboatRestore"
"""On the SQL server: for files that are put there by hand."""
NEW_SERVER = "new sql server"


def sql_server(facts: Facts) -> Section:
    if not facts.chains:
        return section("SQL Server and the databases", *_none(facts))
    return section(
        "SQL Server and the databases",
        _why_first(facts),
        steps=[
            _prepare(facts),
            _login(facts),
            _certificates(facts),
            _leave_group(facts),
            _restore(facts),
            _look(facts),
            _logins(facts),
            _join_group(facts),
            _without_lifeboat(facts),
        ],
    )


def _none(facts: Facts) -> list[str]:
    told = bullets(sentences(reason.get("message"), reason.get("remedy")) for reason in facts.reasons)
    return [
        "**This point holds no backup of a database that can be restored.**",
        told,
        "App Service cannot be recovered without them. Choose another point for the databases (`python lifeboat.py "
        "points`), as close to the share's moment as there is, or use backups that a database administrator has: "
        "the server's own folders, the replicas of an availability group, other backup products.",
    ]


def _why_first(facts: Facts) -> str:
    moment = facts.databases.get("share_moment") or {}
    if moment.get("reachable"):
        return (
            f"The databases can be brought to the share's own moment, {time(moment.get('moment'))}: that fits best "
            "together, and the command below does it (`--at`)."
        )
    return ""


# --- the server ---


def _prepare(facts: Facts) -> Step:
    major = facts.newest_major or 12
    version = VERSION_NAMES.get(major, str(major))
    edition = facts.sql_facts.get("edition")
    return step(
        "Prepare the server",
        f"A server for production: **SQL Server {version} or later**, since these backups were made by "
        f"{plain(facts.sql_facts.get('version') or version)}{f' ({plain(edition)})' if edition else ''} and nothing "
        "older reads them; mixed mode authentication (App Service takes no Windows logins); reached from all roles "
        "of App Service. A named instance needs the SQL Server Browser and UDP 1434. The Quickstart template for "
        "high availability does this step itself.",
        "Mixed mode: Management Studio, properties of the server, Security, *SQL Server and Windows Authentication "
        "mode*; then restart the service. Contained databases, as an administrator:",
        by_hand.script(by_hand.CONTAINED_AUTHENTICATION, batches=True),
        by_hand.script(by_hand.LOOK_AT_SERVER),
        works="`windows_only` is 0 and `value_in_use` is 1.",
    )


def _login(facts: Facts) -> Step:
    return step(
        "A login that restores",
        "A sysadmin may do all of it. The least rights, as T-SQL to be run by an administrator on that server (its "
        "last lines fail while the databases are not there, which is right):",
        block([lifeboat("runbook", "--grants")], "powershell"),
        works="the check of the SQL server at the top of a new runbook is ticked.",
    )


# --- certificates ---


def _certificates(facts: Facts) -> Step | None:
    needed = facts.thumbprints
    if not needed:
        return None
    body = [
        "These databases, or their backups, are encrypted. Without the certificate **and its private key** on the "
        "new server no restore is possible. Skip what is there already:",
        by_hand.script(by_hand.CERTIFICATES),
        by_hand.script(by_hand.MASTER_KEY),
    ]
    for thumbprint, databases in needed.items():
        body += _certificate(facts, thumbprint, databases)
    body.append("Delete the files from the server afterwards.")
    return step(
        "Certificates of encrypted databases, before any restore",
        *body,
        works="the first statement lists each thumbprint with a private key.",
    )


def _certificate(facts: Facts, thumbprint: str, databases: list[str]) -> Iterator[str]:
    needs = ", ".join(code(name) for name in databases)
    holders = facts.holders(thumbprint)
    yield f"Certificate {code(thumbprint)}, for {needs}:"
    if not holders:
        yield warning(
            "**It is not held among the secrets of this point.** Look for it where the database administrators keep "
            "their certificates, or on the old server while it lives (`BACKUP CERTIFICATE ... WITH PRIVATE KEY`). "
            "Then keep it: `python lifeboat.py secrets put FILE --name NAME`."
        )
        return
    name = holders[0]
    file = facts.files[name]
    is_pfx = str(file.get("filename") or "").lower().endswith((".pfx", ".p12"))
    parts = [name, *(other for other in (f"{name}-key", f"{name}-password") if other in facts.files)]
    yield block(
        (
            lifeboat("restore secrets", "--point", facts.id, "--name", quote(each), "--to", quote(each))
            for each in parts
        ),
        "powershell",
    )
    yield (
        f"Copy {code(name)} and its key to {code(FOLDER)} on the SQL server. The password is the text of "
        f"{code(f'{name}-password')} where that is kept. SQL Server reads a DER certificate with a PVK key, from "
        "2022 on a PFX; others are converted first (`openssl`, or Microsoft's PVKConverter)."
    )
    where = f"{FOLDER}\\{name}"
    key = None if is_pfx else f"{where}-key"
    yield by_hand.script_of(lambda: by_hand.create_certificate(name, where, key))


# --- availability groups ---


def _leave_group(facts: Facts) -> Step:
    return step(
        "Only where the databases are in an availability group: take them out",
        "Nothing is restored over a database that is in a group. On the primary; then drop the copies that are left "
        "on the secondaries:",
        by_hand.script_of(lambda: by_hand.leave_group(facts.names)),
        works="the databases are not marked as synchronized any more.",
    )


def _join_group(facts: Facts) -> Step:
    return step(
        "Only where there is an availability group: put them back",
        "On the primary, when everything else works. A group takes a database only after a full backup of it: run "
        "`python lifeboat.py backup --only databases` with `LIFEBOAT_SQL_OWN_LOG_CHAIN=true`, or take one by hand "
        "(a COPY_ONLY one does not count). Automatic seeding needs SQL Server 2016:",
        by_hand.script_of(lambda: by_hand.join_group(facts.names)),
        "On each secondary:",
        by_hand.script(by_hand.allow_seeding()),
        "Logins are each instance's own: create them on the secondaries with the same SIDs.",
        by_hand.script(by_hand.LOOK_AT_GROUP),
        works="each is SYNCHRONIZED (or SYNCHRONIZING, with asynchronous commit) on each replica.",
    )


# --- the databases ---


def _restore(facts: Facts) -> Step:
    moment = facts.databases.get("share_moment") or {}
    at = ["--at", quote(str(moment["moment"]))] if moment.get("reachable") and moment.get("moment") else []
    common = ["restore databases", "--point", facts.id, *at, "--checkdb"]
    there = code(facts.sql_server) if facts.sql_server else "the recorded name"
    return step(
        f"Restore {', '.join(code(name) for name in facts.names)}",
        "On a server of another name:",
        block([lifeboat(*common, "--to", placeholder(NEW_SERVER))], "powershell"),
        f"On the server of the recorded name, {there}, rebuilt or still alive. What is in the way is replaced, after "
        "the tail of its log has been saved:",
        block([lifeboat(*common, "--overwrite")], "powershell"),
        "`--dry-run` prints the T-SQL and does nothing. `master` is not restored by it: see the next section.",
        works="the command ends with exit code 0 and names each database.",
    )


def _look(facts: Facts) -> Step:
    return step(
        "Look at them",
        by_hand.script_of(
            lambda: [*by_hand.look_at_databases(facts.names), *map(statements.check_database, facts.names)]
        ),
        works="each is ONLINE and MULTI_USER, has users (`appservice_hosting_*`, `appservice_metering_*`), and "
        "CHECKDB says nothing.",
    )


def _logins(facts: Facts) -> Step:
    told = (
        "These databases are contained: the users of App Service and their passwords came back inside them, and no "
        "login of the server is needed but the one that App Service's installer was given."
        if facts.is_contained
        else "The users of these databases belong to logins of the server, which are in `master`: create them anew, "
        "with their passwords and SIDs, or App Service cannot log in."
    )
    saved = facts.databases.get("logins") or {}
    version = saved.get("version")
    if not version:
        why = f" ({plain(saved['why'])})" if saved.get("why") else ""
        return step(
            "Logins of the server",
            told,
            f"This point holds none{why}. Where logins are missing: rotating the connection strings in the portal "
            "makes new passwords after the recovery, or see the next section.",
        )
    return step(
        "Logins of the server",
        told,
        f"This point holds {saved.get('saved', 0)} of them, with password hashes, as the secret "
        f"{code(saved.get('secret'))}. Each statement leaves a login alone that is there:",
        block(
            [
                lifeboat("restore logins", "--point", facts.id, "--to", "logins.sql"),
                f"sqlcmd -S {placeholder(NEW_SERVER)} -U {placeholder('administrator')} -f 65001 -x -i logins.sql",
                "Remove-Item logins.sql",
            ],
            "powershell",
        ),
        works="`SELECT name FROM sys.sql_logins` lists them, and the file is deleted: it holds password hashes.",
    )


# --- without Lifeboat ---


def _without_lifeboat(facts: Facts) -> Step:
    body: list[str] = ["Instead of the step with `restore databases`."]
    sets = [each for chain in facts.chains.values() for each in chain.sets]
    body += _bring(facts, sets)
    body += [
        "On the server, with `sqlcmd -x` or Management Studio. The paths after `MOVE` are those of the old server: "
        "change them where the new one has other folders. Where a database of that name is there and is to be "
        "replaced, add `REPLACE,` after the `WITH` of its full backup, and mind the tail of its log first (`BACKUP LOG "
        "... WITH NORECOVERY`).",
    ]
    for name, chain in facts.chains.items():
        body += [f"{code(name)}, as of {chain.moment:%Y-%m-%d %H:%M:%S}Z ({kinds(chain)}):", _by_hand(facts, chain)]
    return step(
        "Only where Lifeboat cannot run: restore them by hand",
        *body,
        works="VERIFYONLY says that each backup set is valid, and each database is ONLINE.",
    )


def _by_hand(facts: Facts, chain: Chain) -> str:
    """As ``restore databases`` would do it: everything verified, the chain in its order, RECOVERY at the end."""
    where: list[Devices] = []
    for each in chain.sets:
        found = _devices(facts, each)
        if found is None:
            return "The names of its files are too long for a statement: let Lifeboat restore it."
        where.append(found)
    return by_hand.script_of(lambda: _statements(chain, where))


def _statements(chain: Chain, where: Sequence[Devices]) -> list[str]:
    target = chain.full.database
    lines = [statements.verify_only(devices) for devices in where]
    for each, devices in zip(chain.sets, where, strict=True):
        if each.kind is BackupType.LOG:
            lines.append(statements.restore_log(target, devices, stop_at=None))
        else:
            move = _move(each) if each.kind is BackupType.FULL else {}
            lines.append(statements.restore_database(target, devices, move=move, replace=False))
    return [*lines, statements.recover(target)]


def _move(full: BackupSet) -> Mapping[str, str]:
    return {str(file["logical_name"]): str(file["physical_name"]) for file in full.files}


def container(facts: Facts) -> str:
    return f"by-hand-{facts.id.lower()}"


def _devices(facts: Facts, each: BackupSet) -> Devices | None:
    if each.stored["kind"] == BLOBS:
        names = [str(blob["name"]) for blob in each.stored["blobs"]]
        found = by_hand.devices("URL", [blob_url(facts.landing_url, container(facts), name) for name in names])
    else:
        files = [f"{FOLDER}\\{folder_of(each)}\\{name}" for name in stored_names(each.stored)]
        found = by_hand.devices("DISK", files)
    return found and replace(found, position=each.position, has_checksums=each.has_checksums)


def _bring(facts: Facts, sets: list[BackupSet]) -> Iterator[str]:
    blobs = [blob for each in sets if each.stored["kind"] == BLOBS for blob in each.stored["blobs"]]
    snapshots = list(dict.fromkeys(str(each.stored["snapshot"]) for each in sets if each.stored["kind"] != BLOBS))
    if blobs:
        yield from _bring_blobs(facts, [str(blob["name"]) for blob in blobs])
    if snapshots:
        yield (
            "Bring the files out of the repository to the SQL server (restic 0.14 or later, started there; its "
            "variables as in the section on the share). The account of the SQL Server service must be able to read "
            "that folder:"
        )
        yield block(
            (f"restic -r azure:share:/ --no-lock restore {snapshot} --target {text(FOLDER)}" for snapshot in snapshots),
            "powershell",
        )


def _bring_blobs(facts: Facts, names: list[str]) -> Iterator[str]:
    landing = f"{facts.landing_url}/{container(facts)}"
    yield (
        "Copy the backups out of the vault, in which SQL Server must not write (a restore takes a lease), into a "
        "container of the landing account:"
    )
    lines = ["azcopy login", f"azcopy make {text(landing)}"]
    for name in names:
        source = blob_url(facts.vault_url, DATABASES_CONTAINER, name)
        lines.append(f"azcopy copy {text(source)} {text(blob_url(facts.landing_url, container(facts), name))}")
    yield block(lines, "powershell")
    yield (
        "Let the server read them: a shared access signature for that container (read, write, delete, list; a few "
        "days; without a question mark), and:"
    )
    yield by_hand.script_of(lambda: [statements.create_credential(landing, "<shared access signature>")])
    yield f"Afterwards: `azcopy remove` the container {code(container(facts))}, and"
    yield by_hand.script_of(lambda: [statements.drop_credential(landing)])


# --- master ---


def master(facts: Facts) -> Section:
    each = facts.master
    intro = [
        "**Usually not needed.** What App Service needs of `master` are logins, and those are created anew (above), "
        "or are inside contained databases. Restoring `master` replaces every login, setting, linked server and the "
        "list of databases of that whole instance. Lifeboat never does it by command.",
    ]
    if each is None:
        return section("`master`, by hand and only if it must be", *intro, "This point holds no backup of it.")
    found = _devices(facts, each)
    if found is None:
        return section("`master`, by hand and only if it must be", *intro, "Its files have names that are too long.")
    version = each.software_version
    return section(
        "`master`, by hand and only if it must be",
        *intro,
        steps=[
            step(
                "The same build, and its files at hand",
                f"It goes only to a server of exactly the same build, {code(version)}, best the rebuilt old one with "
                "the same folders. Bring the backup:",
                *_bring(facts, [each]),
                works=f"`SELECT SERVERPROPERTY('ProductVersion')` begins with {code(version)}.",
            ),
            step(
                "Restore it in single-user mode",
                "Stop the SQL Server service and its Agent, and start the service alone; it lets in one sqlcmd:",
                block(
                    [
                        "net stop SQLSERVERAGENT",
                        "net stop MSSQLSERVER",
                        "net start MSSQLSERVER /mSQLCMD",
                        "sqlcmd -E -x",
                    ],
                    "powershell",
                ),
                "A named instance is the service `MSSQL$NAME`. In sqlcmd, and then `GO`:",
                by_hand.script_of(lambda: [by_hand.restore_master(found)]),
                "The server ends by itself when it is done, and sqlcmd with it: that is right. Start it as always:",
                block(["net start MSSQLSERVER", "net start SQLSERVERAGENT"], "powershell"),
                works="the service runs, and the old logins are there. Databases that the old server had and this "
                "one has not are RECOVERY_PENDING or SUSPECT until they are restored: go back to the databases and "
                "restore them.",
            ),
        ],
    )
