"""Files that people upload, and what the Key Vault gives back."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors import Damaged, SecretsFileError
from shared.secrets import ber, pvk
from shared.secrets.files import SYSTEM_SECRETS, SecretFiles
from shared.secrets.findings import check_system_secrets, find_in_file, find_in_system_secrets
from tests.examples import examples
from tests.fuzz.mutations import each_absurdity, mutated, mutated_json, only_our_errors
from tests.standins.memory_secrets import MemorySecrets
from tests.unit.secrets.test_findings import Made, made

PASSWORD = "the password"
RSA: Made = made(rsa_key=True)
CERTIFICATE_FILES = {
    "der": RSA.der,
    "pem": RSA.pem,
    "pkcs12": RSA.pkcs12(PASSWORD),
    "key pem": RSA.key_pem(),
    "key der": RSA.key_der(),
    "locked key": RSA.key_der(PASSWORD),
    "pvk": RSA.pvk(),
    "locked pvk": RSA.pvk(PASSWORD),
}
DOCUMENT = {
    "certificate": base64.b64encode(RSA.pkcs12(PASSWORD)).decode(),
    "password": PASSWORD,
    "pem": RSA.pem.decode(),
    "inner": json.dumps({"key": "value", "list": ["x"]}),
    "build": 102,
}
NOW = datetime(2026, 11, 25, tzinfo=UTC)


@examples(100)
@given(st.sampled_from(sorted(CERTIFICATE_FILES)).flatmap(lambda name: mutated(CERTIFICATE_FILES[name])))
@example(b"\x30\x84\xff\xff\xff\xff" + b"\x30\x80" * 5000)
@example(b"\x24\x80" * 10_000)
@example(b"\x30" + b"\xff" + b"\xff" * 127)
def test_a_certificate_file(content: bytes) -> None:
    ber.shape(content)
    assert ber.iterations(content) >= 0
    pvk.is_locked(content)
    found = find_in_file(content, key=content, password=PASSWORD.encode())
    json.dumps([found.notes, [each.subject for each in found.certificates]])


@examples(60)
@given(mutated_json(DOCUMENT) | mutated(json.dumps(DOCUMENT).encode()) | mutated(json.dumps(DOCUMENT).encode("utf-16")))
def test_system_secrets(content: bytes) -> None:
    error = only_our_errors(lambda: check_system_secrets(content))
    assert error is None or isinstance(error, SecretsFileError)
    find_in_system_secrets(content)


def test_system_secrets_with_anything_in_any_place() -> None:
    small = DOCUMENT | {"certificate": "MIIx", "pem": "x"}
    for content in each_absurdity(small):
        only_our_errors(lambda content=content: check_system_secrets(content))  # type: ignore[misc]
        find_in_system_secrets(content)


def kept() -> tuple[MemorySecrets, Any]:
    store = MemorySecrets()
    SecretFiles(store).put(SYSTEM_SECRETS, b"{}", filename="S", remind_after=timedelta(90), now=NOW)
    return store, json.loads(store.kept[SYSTEM_SECRETS][-1].value)


def use_file(value: str, tags: dict[str, str]) -> None:
    store, _ = kept()
    store.set(SYSTEM_SECRETS, value, tags)
    files = SecretFiles(store)
    only_our_errors(lambda: files.current(SYSTEM_SECRETS))
    only_our_errors(lambda: files.read(SYSTEM_SECRETS))
    only_our_errors(lambda: files.put(SYSTEM_SECRETS, b"new", filename="S", remind_after=timedelta(90), now=NOW))


def test_a_manifest_with_anything_in_any_place() -> None:
    for document in each_absurdity(kept()[1]):
        use_file(document.decode(), {})


@pytest.mark.parametrize(
    "time", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "0001-01-01", "x", "2026-11-25", ""]
)
def test_tags_that_somebody_has_edited(time: str) -> None:
    store, manifest = kept()
    del store
    use_file(json.dumps(manifest), {"uploaded": time, "refreshed": time, "confirmed": time, "sha256": "\ud800"})


@pytest.mark.parametrize("change", [{"parts": "ab"}, {"size_bytes": True}, {"size_bytes": None}, {"parts": {"a": 1}}])
def test_a_manifest_of_other_types_is_damage(change: dict[str, Any]) -> None:
    store, manifest = kept()
    store.set(SYSTEM_SECRETS, json.dumps(manifest | change), {})
    with pytest.raises(Damaged):
        SecretFiles(store).current(SYSTEM_SECRETS)
