"""``check``: what points name in the Key Vault is read back, as far as it may be."""

from __future__ import annotations

from collections import Counter

import orjson
import pytest

from shared.errors import StorageUnavailable
from shared.storage.key_vault import KeyVaultSecrets
from tests.integration.secrets.conftest import CANARY, SYSTEM_SECRETS, Site


@pytest.fixture
def points(site: Site) -> list[str]:
    """Three points, oldest first: two of one version of SystemSecrets.JSON, the last of another and of a kept file."""
    made = []
    for content in (SYSTEM_SECRETS, SYSTEM_SECRETS, SYSTEM_SECRETS + b" "):
        site.put(content)
        if content != SYSTEM_SECRETS:
            site.command("secrets", "put", site.downloaded(CANARY.encode(), "note.txt"), "--name", "note")
        answer = site.back_up("--only", "secrets")
        assert answer.code == 0, answer.reasons
        made.append(str(answer.json["point"]))
    return made


@pytest.mark.parametrize("options", [[], ["--read-data"]], ids=["", "--read-data"])
def test_each_version_that_points_name_is_read_back_once(site: Site, points: list[str], options: list[str]) -> None:
    manifests = [(version.version, "system-secrets") for version in site.key_vault.secrets["system-secrets"]]
    manifests += [(version.version, "file-note") for version in site.key_vault.secrets["file-note"]]
    assert len(manifests) == 3
    site.key_vault.requests.clear()
    answer = site.command("check", *options)
    assert (answer.code, answer.status, answer.json["secret_files"]) == (0, "ok", 3), answer.reasons
    assert answer.json["notes"] == []
    asked = Counter(str(request) for request in site.key_vault.requests)
    for version, name in manifests:
        assert sum(count for request, count in asked.items() if f"/{name}/{version}" in request) == 1


def test_people_are_told_how_many_and_never_a_value(site: Site, points: list[str]) -> None:
    code, out, err = site.command.people("check")
    assert code == 0
    assert "3 versions of files in the Key Vault" in out
    assert CANARY not in out + err


@pytest.mark.parametrize("lost", ["gone", "changed", "of another file"])
def test_a_part_that_is_gone_or_changed_is_damage_that_names_the_newest_point_that_needs_it(
    site: Site, points: list[str], lost: str
) -> None:
    first, last = site.key_vault.secrets["system-secrets-part-01"]
    if lost == "gone":
        site.key_vault.secrets["system-secrets-part-01"].remove(first)
    else:
        first.value = first.value[:-4] if lost == "changed" else last.value
    answer = site.command("check")
    assert (answer.code, answer.status, answer.codes) == (1, "damaged", ["damaged"])
    (reason,) = answer.reasons
    assert (reason["component"], reason["object"]) == ("secrets", "system-secrets")
    assert points[1] in reason["message"]
    assert "az keyvault secret recover" in reason["remedy"]
    assert answer.json["secret_files"] == 2, "the others are good"


def test_a_version_that_is_gone_is_damage(site: Site, points: list[str]) -> None:
    site.key_vault.secrets["file-note"].clear()
    del site.key_vault.secrets["system-secrets"][0]
    answer = site.command("check")
    assert (answer.code, answer.status) == (1, "damaged")
    assert {(reason["object"], reason["code"]) for reason in answer.reasons} == {
        ("system-secrets", "damaged"),
        ("file-note", "damaged"),
    }
    assert {point for point in points for reason in answer.reasons if point in reason["message"]} == set(points[1:])


def test_the_logins_that_a_point_names_are_read_back_too(site: Site) -> None:
    site.bench.use(site.bench.server, username="tests")
    site.put()
    point = site.back_up().json["point"]
    answer = site.command("check")
    assert (answer.code, answer.json["secret_files"]) == (0, 2), answer.reasons

    site.key_vault.secrets["sql-logins-part-01"].clear()
    (reason,) = site.command("check").reasons

    assert (reason["component"], reason["code"], reason["object"]) == ("databases", "damaged", "sql-logins")
    assert point in reason["message"]
    assert "saves the logins anew" in reason["remedy"]


def test_a_right_that_is_refused_is_told_by_its_own_code_once_for_each_secret(site: Site, points: list[str]) -> None:
    site.command.set(REPOSITORY_PASSWORD=site.key_vault.secrets["repository-password"][-1].value)
    site.key_vault.refusal = "ForbiddenByRbac"
    answer = site.command("check")
    assert (answer.code, set(answer.codes), answer.json["secret_files"]) == (1, {"storage-forbidden"}, 0)
    assert [reason["object"] for reason in answer.reasons] == ["system-secrets", "file-note"]
    assert points[2] in answer.reasons[0]["message"]
    assert "Microsoft.KeyVault/vaults/secrets" in answer.reasons[0]["remedy"]


def test_a_version_that_somebody_disabled_does_not_keep_the_others_from_being_read(
    site: Site, points: list[str]
) -> None:
    site.key_vault.secrets["system-secrets"][0].enabled = False
    answer = site.command("check")
    assert (answer.code, answer.codes, answer.json["secret_files"]) == (1, ["storage-forbidden"], 2)


def test_a_key_vault_that_goes_away_is_not_asked_for_each_of_them(
    site: Site, points: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.command.set(REPOSITORY_PASSWORD=site.key_vault.secrets["repository-password"][-1].value)
    asked = []

    def away(_: KeyVaultSecrets, name: str, version: str | None = None) -> None:
        asked.append((name, version))
        raise StorageUnavailable("it did not answer", remedy="try again later")

    monkeypatch.setattr(KeyVaultSecrets, "get", away)
    answer = site.command("check")
    assert (answer.code, answer.codes) == (1, ["storage-unavailable"])
    assert len([name for name, version in asked if version]) == 1
    assert answer.json["notes"] == ["what else is in the Key Vault was not looked at"]


def test_without_a_key_vault_it_is_told_that_they_were_not_looked_at_and_where_they_are(
    site: Site, points: list[str]
) -> None:
    site.command.set(REPOSITORY_PASSWORD=site.key_vault.secrets["repository-password"][-1].value)
    site.command.unset("KEY_VAULT_URL")
    answer = site.command("check")
    assert (answer.code, answer.status, answer.json["secret_files"]) == (0, "ok", 0), answer.reasons
    (note,) = answer.json["notes"]
    assert "3 versions" in note
    assert f"LIFEBOAT_KEY_VAULT_URL to {site.key_vault.url}" in note
    assert note in site.command.people("check")[2]


def test_a_key_vault_that_is_another_than_the_points_was_is_named(site: Site, points: list[str]) -> None:
    with site.bench.vault.judge("recovery-points") as store:
        name = f"points/{points[2]}.json"
        document = _without_digest(store.get(name)).replace(
            site.key_vault.url.encode(), b"https://former.vault.example"
        )
        store.delete(name)
        store.put(name, document)
    site.key_vault.secrets["file-note"].clear()
    (reason,) = site.command("check").reasons
    assert "https://former.vault.example" in reason["message"]


def test_a_record_whose_secrets_cannot_be_understood_is_damage(site: Site, points: list[str]) -> None:
    with site.bench.vault.judge("recovery-points") as store:
        name = f"points/{points[2]}.json"
        document = _without_digest(store.get(name)).replace(b'"sha256"', b'"sha1024"')
        store.delete(name)
        store.put(name, document)
    answer = site.command("check")
    assert (answer.code, answer.codes) == (1, ["damaged"])
    assert answer.reasons[0]["object"] == f"recovery-points/{name}"
    assert answer.json["secret_files"] == 1, "of the points that can be"


def _without_digest(record: bytes) -> bytes:
    """As an older Lifeboat wrote records: then it is as good as any that was written like this."""
    return orjson.dumps({key: value for key, value in orjson.loads(record).items() if key != "digest"})
