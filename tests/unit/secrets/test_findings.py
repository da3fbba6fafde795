"""What an uploaded file is: refused with a sentence that helps, or looked into, and never quoted."""

from __future__ import annotations

import base64
import codecs
import json
import struct
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.decrepit.ciphers.algorithms import ARC4
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import SecretsFileError
from shared.secrets.findings import MOST_BYTES, Findings, check_system_secrets, find_in_file, find_in_system_secrets

CANARY = "Canary4711-Nachtigall"
NOT_AFTER = datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC)
PVK_MAGIC = b"\x1e\xf1\xb5\xb0"

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Made:
    """A certificate made for the test, with its private key."""

    key: PrivateKey
    certificate: x509.Certificate

    @property
    def thumbprint(self) -> str:
        return self.certificate.fingerprint(hashes.SHA1()).hex().upper()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def key_pem(self, password: str | None = None, form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
        return self.key.private_bytes(Encoding.PEM, form, _encryption(password))

    def key_der(self, password: str | None = None) -> bytes:
        return self.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, _encryption(password))

    def pkcs12(self, password: str | None = None, *, encryption: KeySerializationEncryption | None = None) -> bytes:
        return pkcs12.serialize_key_and_certificates(
            b"name", self.key, self.certificate, [], encryption or _encryption(password)
        )

    def pvk(self, password: str | None = None) -> bytes:
        """As SQL Server writes it."""
        assert isinstance(self.key, rsa.RSAPrivateKey)
        numbers = self.key.private_numbers()
        bits = self.key.key_size
        blob = struct.pack("<4sII", b"RSA2", bits, numbers.public_numbers.e)
        blob += numbers.public_numbers.n.to_bytes(bits // 8, "little")
        for half in (numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp):
            blob += half.to_bytes(bits // 16, "little")
        blob += numbers.d.to_bytes(bits // 8, "little")
        salt = b""
        if password is not None:
            salt = bytes(range(16))
            digest = hashes.Hash(hashes.SHA1())
            digest.update(salt + password.encode())
            blob = Cipher(ARC4(digest.finalize()[:16]), mode=None).encryptor().update(blob)
        header = struct.pack("<4sIIIII", PVK_MAGIC, 0, 1, int(password is not None), len(salt), len(blob) + 8)
        return header + salt + b"\x07\x02\x00\x00\x00\xa4\x00\x00" + blob


def _encryption(password: str | None) -> KeySerializationEncryption:
    return BestAvailableEncryption(password.encode()) if password is not None else NoEncryption()


@cache
def made(subject: str = "api.appservice.local.azurestack.external", *, rsa_key: bool = False) -> Made:
    key: PrivateKey = rsa.generate_private_key(65537, 2048) if rsa_key else ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, part) for part in _parts(subject)])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(NOT_AFTER - timedelta(days=900)).not_valid_after(NOT_AFTER)
    return Made(key, builder.sign(key, hashes.SHA256()))


def _parts(subject: str) -> list[str]:
    return [subject[at : at + 60] for at in range(0, len(subject), 60)]


def coded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def look(document: object) -> Findings:
    content = json.dumps(document).encode()
    check_system_secrets(content)
    return find_in_system_secrets(content)


def thumbprints(found: Findings) -> list[str]:
    return [each.thumbprint for each in found.certificates]


# What is refused ------------------------------------------------------------------------------------------------------

SECRET = f'"password": "{CANARY}"'.encode()
NESTED = b'{"a":' + b"[" * 100_000 + SECRET[12:] + b"]" * 100_000 + b"}"
LOGIN_PAGE = f"<!DOCTYPE html><html><title>Sign in</title>{CANARY}</html>"

REFUSED: dict[str, tuple[bytes, str, str]] = {
    "an empty file": (b"", "is empty (0 bytes)", "Download it again"),
    "white space": (b" \r\n", "is empty: nothing but white space", "Download it again"),
    "a file of 5 MB": (
        b"{" + SECRET.ljust(5_000_000) + b"}",
        "has 5,000,002 bytes, and 1,048,576 are the limit",
        "another file",
    ),
    "cut within a string": (b"{" + SECRET[:-5], "is cut short: it ends at byte 31,", "Download it again"),
    "cut behind a value": (b"{" + SECRET, "is cut short: it ends at byte 36,", "Download it again"),
    "cut behind a comma": (b"{" + SECRET + b",", "is cut short: it ends at byte 37,", "Download it again"),
    "cut within a word": (b'{"a": tr', "is cut short: it ends at byte 8,", "Download it again"),
    "cut within an escape": (b'{"a": "\\u00', "is cut short: it ends at byte 11,", "Download it again"),
    "cut within a character": (b'{"a": "\xc3', "is cut short: it ends at byte 8,", "Download it again"),
    "a login page": (LOGIN_PAGE.encode(), "session had probably run out", "Sign in to the portal anew"),
    "a login page with a BOM": (
        codecs.BOM_UTF8 + b"\r\n" + LOGIN_PAGE.encode(),
        "session had probably run out",
        "Sign in to the portal anew",
    ),
    "a login page in UTF-16": (LOGIN_PAGE.encode("utf-16"), "is a web page", "Sign in to the portal anew"),
    "a list": (f'["{CANARY}"]'.encode(), "is JSON, but a list", "Download it again"),
    "a string": (f'"{CANARY}"'.encode(), "is JSON, but a string", "Download it again"),
    "a number": (b"4711", "is JSON, but a single value", "Download it again"),
    "null": (b"null", "is JSON, but a single value", "Download it again"),
    "an empty object": (b" { } ", "an empty object", "Download it again"),
    "NUL bytes": (b"{" + SECRET + b"\0\0\0}", "NUL bytes", "Download it again"),
    "NUL bytes alone": (b"\0" * 4096, "NUL bytes", "Download it again"),
    "UTF-16 without its mark": (b"{" + SECRET.decode().encode("utf-16-le"), "NUL bytes", "Download it again"),
    "no UTF-8": (f'{{"a": "{CANARY}ä"}}'.encode("latin-1"), "is not text in UTF-8: at byte 28", "Download it again"),
    "nested far too deep": (NESTED, "nested more than 100 levels deep", "Download it again"),
    "text": (CANARY.encode(), "is not JSON from line 1, column 1 on", "Download it again"),
    "a comma too many": (b"{\n" + SECRET + b",\n}", "is not JSON from line 3, column 1 on", "Download it again"),
    "two documents": (b"{" + SECRET + b"}\n{}", "goes on where its JSON has ended, in line 1", "Download it again"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_system_secrets_is_refused_with_what_it_is_and_what_to_do(case: str) -> None:
    content, what, remedy = REFUSED[case]
    with pytest.raises(SecretsFileError) as caught:
        check_system_secrets(content)
    assert what in str(caught.value)
    assert remedy in caught.value.remedy
    assert (caught.value.code, caught.value.exit_code) == ("not-secrets", 1)


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_holds_nothing_of_the_content_not_even_in_its_traceback(case: str) -> None:
    content = REFUSED[case][0]
    with pytest.raises(SecretsFileError) as caught:
        check_system_secrets(content)
    error = caught.value
    told = (
        "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error)) + repr(error.as_reason("secrets"))
    )
    assert not any(CANARY[at : at + 6] in told for at in range(len(CANARY) - 5))
    assert error.__cause__ is None
    assert error.__context__ is None, "a decoder's exception holds the whole document"


@pytest.mark.parametrize("case", REFUSED)
def test_nothing_is_found_in_what_is_refused_and_nothing_is_raised(case: str) -> None:
    assert find_in_system_secrets(REFUSED[case][0]) == Findings()


def test_each_beginning_of_a_document_is_cut_short_or_empty() -> None:
    document = b'{"a": ["x\\n", -1.5e3, true, null, {"b": "\xc3\xa4"}], "c": {}}'
    check_system_secrets(document)
    for end in range(2, len(document)):
        with pytest.raises(SecretsFileError, match="is cut short"):
            check_system_secrets(document[:end])


ACCEPTED = {
    "plain": b'{"a": 1}',
    "a BOM": codecs.BOM_UTF8 + b'{"a": 1}',
    "line ends around it": b'\r\n{"a": 1}\r\n',
    "equal names": b'{"a": 1, "a": 2}',
    "a number of 9,999 digits": b'{"a": ' + b"1" * 9_999 + b"}",
    "UTF-16 with its mark, as PowerShell's > writes it": '{"a": 1}\r\n'.encode("utf-16"),
    "brackets within strings": b'{"a": "' + b"[" * 1_000 + b'"}',
    "exactly 1 MiB": b'{"a": 1}'.ljust(MOST_BYTES),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_any_json_object_is_accepted_as_its_bytes_are_kept(case: str) -> None:
    check_system_secrets(ACCEPTED[case])


def test_that_a_file_went_through_powershell_is_told() -> None:
    assert "PowerShell" in find_in_system_secrets('{"a": "b"}'.encode("utf-16")).notes[0]


# What is found in SystemSecrets.JSON ----------------------------------------------------------------------------------


def test_a_certificate_is_told_with_subject_thumbprint_and_end_and_without_key() -> None:
    (found,) = look({"ssl": coded(made().der)}).certificates
    assert found.subject == "CN=api.appservice.local.azurestack.external"
    assert found.thumbprint == made().thumbprint
    assert found.not_after == NOT_AFTER
    assert not found.has_key


FORMS: dict[str, Callable[[Made], object]] = {
    "PEM": lambda one: one.pem.decode(),
    "PEM with CRLF and a text before": lambda one: "Bag Attributes\r\n" + one.pem.decode().replace("\n", "\r\n"),
    "base64 of DER": lambda one: coded(one.der),
    "base64 of DER in lines": lambda one: base64.encodebytes(one.der).decode(),
    "base64url of DER": lambda one: base64.urlsafe_b64encode(one.der).decode(),
    "PKCS#12 without password": lambda one: coded(one.pkcs12()),
    "PKCS#12 with its password beside it": lambda one: {"pfx": coded(one.pkcs12(CANARY)), "pfxPassword": CANARY},
    "PKCS#12 with its password around it": lambda one: {"Pwd": CANARY, "all": [{"pfx": coded(one.pkcs12(CANARY))}]},
    "PKCS#12 with its password among others": lambda one: {
        **{f"secret{number}": "no" for number in range(20)},
        "password": CANARY,
        "pfx": coded(one.pkcs12(CANARY)),
        **{f"password{number}": "no" for number in range(20)},
    },
    "JSON in a string": lambda one: json.dumps({"list": [{"pem": one.pem.decode()}]}),
    "JSON in a string, password and all": lambda one: json.dumps({"pfx": coded(one.pkcs12("x")), "password": "x"}),
}


PLAIN = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), form=st.sampled_from(sorted(FORMS)), around=PLAIN)
def test_a_certificate_is_found_in_each_form_and_at_any_place(data: st.DataObject, form: str, around: object) -> None:
    place: object = FORMS[form](made())
    for _ in range(data.draw(st.integers(0, 6))):
        name, other = data.draw(st.text(max_size=12)), data.draw(st.text(max_size=12))
        place = data.draw(st.sampled_from([{other: around, name: place}, [around, place], [place], {name: place}]))
    assert thumbprints(look({"planted": place})) == [made().thumbprint]


@settings(max_examples=200, deadline=None)
@given(PLAIN)
def test_arbitrary_json_has_no_certificate_and_no_note(document: object) -> None:
    found = find_in_system_secrets(json.dumps({"a": document}).encode())
    assert (found.certificates, found.notes) == ((), ())


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_nothing_but_a_refusal(content: bytes) -> None:
    find_in_file(content, key=content, password=content)
    find_in_system_secrets(content)
    with suppress(SecretsFileError):
        check_system_secrets(content)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["der", "pem", "p12", "locked p12", "key", "locked key", "pvk", "locked pvk"]),
    st.integers(0),
    st.binary(min_size=1, max_size=3),
)
def test_files_with_a_fault_anywhere_raise_nothing(kind: str, place: int, fault: bytes) -> None:
    one = made()
    good = {
        "der": one.der,
        "pem": one.pem + one.key_pem(),
        "p12": one.pkcs12(),
        "locked p12": LOCKED_P12,
        "key": one.key_pem(),
        "locked key": LOCKED_KEY,
        "pvk": KEY_FORMS["PVK"][0],
        "locked pvk": KEY_FORMS["PVK, locked"][0],
    }[kind]
    at = place % len(good)
    content = good[:at] + fault + good[at + len(fault) :]
    for found in (
        find_in_file(content, password=CANARY.encode()),
        find_in_file(good[:at], password=CANARY.encode()),
        find_in_file(one.der, key=content, password=CANARY.encode()),
        look({"a": coded(content), "password": CANARY}),
    ):
        assert CANARY not in repr(found)


LOCKED_P12 = made().pkcs12(CANARY)
LOCKED_KEY = made().key_pem(CANARY)


def test_both_of_two_fields_of_the_same_name_are_looked_into() -> None:
    one, other = made(), made("other")
    content = f'{{"a": "{coded(one.der)}", "a": "{coded(other.der)}"}}'.encode()
    assert thumbprints(find_in_system_secrets(content)) == [one.thumbprint, other.thumbprint]


def test_a_certificate_that_is_there_twice_is_told_once_and_with_its_key() -> None:
    (found,) = look(
        {"cer": coded(made().der), "pfx": coded(made().pkcs12()), "again": made().pem.decode()}
    ).certificates
    assert found.has_key


@pytest.mark.parametrize("key", [made().key_pem().decode(), coded(made().key_der())], ids=["PEM", "base64 of DER"])
def test_a_certificate_whose_key_is_beside_it_has_a_key_and_another_has_not(key: str) -> None:
    found = look({"a": made().pem.decode(), "b": made("other").pem.decode(), "key": key})
    assert [each.has_key for each in found.certificates] == [True, False]


def test_pkcs12_that_no_password_opens_is_no_certificate_but_is_told() -> None:
    found = look({"pfx": coded(LOCKED_P12), "password": "no"})
    assert found.certificates == ()
    assert "could not be opened" in found.notes[0]


def test_fields_that_look_like_secrets_are_counted() -> None:
    document = {
        "AdminPassword": CANARY,
        "sql_pwd": CANARY,
        "HostingConnectionString": CANARY,
        "connectionStrings": [CANARY, CANARY],
        "StorageAccountKey": CANARY,
        "key1": CANARY,
        "ClientSecret": CANARY,
        "inner": json.dumps({"machineKey": CANARY}),
        "user": "admin",
        "publicKey": "x",
        "keyboard": "x",
        "emptyPassword": "",
        "passwordLength": 12,
    }
    found = look(document)
    assert found.passwords == 9
    assert CANARY not in repr(found)


# Certificate files ----------------------------------------------------------------------------------------------------


def test_one_certificate_as_pem_or_der_is_found_without_key() -> None:
    for content in (made().pem, made().der, codecs.BOM_UTF8 + made().pem, made().pem.decode().encode("utf-16")):
        found = find_in_file(content)
        assert thumbprints(found) == [made().thumbprint]
        assert (found.certificates[0].has_key, found.is_key, found.notes) == (False, False, ())


def test_a_chain_is_found_whole_and_only_the_certificate_of_the_key_has_it() -> None:
    leaf, root = made(), made("root")
    found = find_in_file(leaf.pem + root.pem + leaf.key_pem())
    assert [(each.thumbprint, each.has_key) for each in found.certificates] == [
        (leaf.thumbprint, True),
        (root.thumbprint, False),
    ]


@pytest.mark.parametrize("written", [b"%s", b"%s\n", b"%s\r\n", codecs.BOM_UTF8 + b"%s\r\n"])
def test_pkcs12_opens_with_its_password_however_the_text_file_ends(written: bytes) -> None:
    found = find_in_file(LOCKED_P12, password=written % CANARY.encode())
    assert [(each.thumbprint, each.has_key) for each in found.certificates] == [(made().thumbprint, True)]
    assert found.notes == ()


def test_a_password_that_powershell_wrote_opens_too() -> None:
    assert find_in_file(LOCKED_P12, password=f"{CANARY}\r\n".encode("utf-16")).certificates


def test_pkcs12_without_its_password_says_to_keep_it_and_why() -> None:
    for password, why in ((None, "not kept as NAME-password"), (b"no", "NAME-password does not open it")):
        found = find_in_file(LOCKED_P12, password=password)
        assert (found.certificates, found.is_key) == ((), False)
        (note,) = found.notes
        assert why in note
        assert "keep the right password as NAME-password" in note
        assert "on the day of a restore" in note


KEY_FORMS: dict[str, tuple[bytes, bytes | None]] = {
    "PEM": (made(rsa_key=True).key_pem(), None),
    "PEM of OpenSSL": (made(rsa_key=True).key_pem(form=PrivateFormat.TraditionalOpenSSL), None),
    "PEM, locked": (made(rsa_key=True).key_pem(CANARY), CANARY.encode()),
    "PEM of OpenSSL, locked": (made(rsa_key=True).key_pem(CANARY, PrivateFormat.TraditionalOpenSSL), CANARY.encode()),
    "DER": (made(rsa_key=True).key_der(), None),
    "DER, locked": (made(rsa_key=True).key_der(CANARY), CANARY.encode()),
    "PVK": (made(rsa_key=True).pvk(), None),
    "PVK, locked": (made(rsa_key=True).pvk(CANARY), CANARY.encode() + b"\r\n"),
}


@pytest.mark.parametrize("form", KEY_FORMS)
def test_a_private_key_alone_is_a_key(form: str) -> None:
    content, password = KEY_FORMS[form]
    assert find_in_file(content, password=password) == Findings(is_key=True)
    assert find_in_file(content) == Findings(is_key=True), "it need not be opened for that"


@pytest.mark.parametrize("form", KEY_FORMS)
def test_a_certificate_with_its_own_key_beside_it_has_a_key(form: str) -> None:
    key, password = KEY_FORMS[form]
    found = find_in_file(made(rsa_key=True).der, key=key, password=password)
    assert (found.certificates[0].has_key, found.notes) == (True, ())


@pytest.mark.parametrize("form", KEY_FORMS)
def test_a_key_that_belongs_to_another_certificate_is_none_and_that_is_told(form: str) -> None:
    key, password = KEY_FORMS[form]
    found = find_in_file(made("other").der, key=key, password=password)
    assert not found.certificates[0].has_key
    assert "belongs to another certificate" in found.notes[0]


@pytest.mark.parametrize("form", [form for form in KEY_FORMS if "locked" in form])
@pytest.mark.parametrize(("password", "why"), [(None, "not kept as NAME-password"), (b"no", "does not open it")])
def test_a_key_that_cannot_be_opened_does_not_count_and_what_to_do_is_told(
    form: str, password: bytes | None, why: str
) -> None:
    found = find_in_file(made(rsa_key=True).der, key=KEY_FORMS[form][0], password=password)
    assert not found.certificates[0].has_key
    (note,) = found.notes
    assert why in note
    assert "does not count" in note
    assert "keep the right password as NAME-password" in note
    assert "convert the key to PEM or PKCS#12" in note


def test_a_locked_key_in_the_file_itself_opens_with_the_password() -> None:
    assert find_in_file(made().pem + LOCKED_KEY, password=CANARY.encode()).notes == ()
    closed = find_in_file(made().pem + LOCKED_KEY)
    assert not closed.certificates[0].has_key
    assert "does not count" in closed.notes[0]


def test_a_key_file_that_is_none_is_told() -> None:
    found = find_in_file(made().pem, key=CANARY.encode())
    assert not found.certificates[0].has_key
    assert "no private key that can be recognised" in found.notes[0]
    assert CANARY not in repr(found)


@pytest.mark.parametrize("content", [b"", b"some text\n", bytes(range(256)), b"\x30\x82", b"0" * 500, PVK_MAGIC[:3]])
def test_any_other_file_may_be_kept_and_is_neither_certificate_nor_key(content: bytes) -> None:
    assert find_in_file(content, key=content, password=content) == Findings()


def test_a_pem_key_that_is_damaged_is_still_told_from_other_files_and_does_not_count() -> None:
    damaged = made().key_pem().replace(b"M", b"N")
    assert find_in_file(damaged).is_key
    found = find_in_file(made().pem, key=damaged)
    assert not found.certificates[0].has_key
    assert "does not count" in found.notes[0]


UNREADABLE_PVKS = {
    "garbage": PVK_MAGIC + CANARY.encode() * 40,
    "magic alone": PVK_MAGIC,
    "cut": KEY_FORMS["PVK"][0][:-1],
    "locked and cut": KEY_FORMS["PVK, locked"][0][:-1],
    "locked, with nothing in it": struct.pack("<4sIIIII", PVK_MAGIC, 0, 1, 1, 16, 0) + bytes(16),
    "not locked, and no key": KEY_FORMS["PVK"][0].replace(b"RSA2", b"RSA1"),
}


@pytest.mark.parametrize("case", UNREADABLE_PVKS)
def test_a_pvk_that_cannot_be_read_is_no_key(case: str) -> None:
    content = UNREADABLE_PVKS[case]
    assert find_in_file(content, password=CANARY.encode()) == Findings()
    found = find_in_file(made(rsa_key=True).der, key=content, password=CANARY.encode())
    assert not found.certificates[0].has_key
    assert "no private key that can be recognised" in found.notes[0]


def test_a_broken_certificate_is_passed_over_with_a_note_and_the_others_are_found() -> None:
    broken = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(made().der[:-9]) + b"-----END CERTIFICATE-----\n"
    found = find_in_file(broken + made("other").pem)
    assert thumbprints(found) == [made("other").thumbprint]
    assert "cannot be read and are passed over: 1" in found.notes[0]


def test_a_certificate_with_a_negative_serial_number_raises_nothing() -> None:
    serial = made().certificate.serial_number
    length = serial.bit_length() // 8 + 1
    der = made().der.replace(serial.to_bytes(length), b"\x80" + serial.to_bytes(length)[1:])
    assert der != made().der
    found = find_in_file(der)
    assert len(found.certificates) + len(found.notes) == 1, "older libraries read it, newer ones do not"


def test_a_certificate_with_a_year_that_is_none_is_passed_over_with_a_note() -> None:
    der = made().der.replace(NOT_AFTER.strftime("%y%m%d%H%M%SZ").encode(), b"319903040506Z")
    assert der != made().der
    assert "passed over" in find_in_file(der).notes[0]


def test_a_long_subject_is_shortened_and_cannot_write_to_a_terminal() -> None:
    (found,) = find_in_file(made("x\x1b[31m\n" * 60).der).certificates
    assert len(found.subject) == 200
    assert found.subject.isprintable()


# What it may cost -----------------------------------------------------------------------------------------------------


def with_iterations(one: Made, old: int, new: int) -> bytes:
    """PKCS#12 that asks for other iterations than it was written with, of the same number of bytes."""
    builder = PrivateFormat.PKCS12.encryption_builder().kdf_rounds(old).hmac_hash(hashes.SHA256())
    content = one.pkcs12(encryption=builder.build(CANARY.encode()))
    before, after = (b"\x02\x03" + number.to_bytes(3) for number in (old, new))
    assert before in content
    return content.replace(before, after)


def test_pkcs12_that_asks_for_a_sane_number_of_iterations_is_opened() -> None:
    assert find_in_file(with_iterations(made(), 300_000, 300_000), password=CANARY.encode()).certificates


def test_pkcs12_that_asks_for_millions_of_iterations_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("it was tried")

    content = with_iterations(made(), 300_000, 0x7FFFFF)
    monkeypatch.setattr(pkcs12, "load_pkcs12", never)
    assert "more than 5,000,000 iterations" in find_in_file(content, password=CANARY.encode()).notes[0]
    assert "could not be opened" in look({"pfx": coded(content), "password": CANARY}).notes[0]


def test_a_key_that_asks_for_millions_of_iterations_is_not_tried() -> None:
    pbkdf2 = bytes.fromhex("300a0401ff") + b"\x02\x05" + (2**32).to_bytes(5)
    scheme = bytes.fromhex("06092a864886f70d01050d") + b"\x30" + bytes([len(pbkdf2)]) + pbkdf2
    inner = b"\x30" + bytes([len(scheme)]) + scheme + b"\x04\x10" + bytes(16)
    content = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n" + base64.encodebytes(b"\x30" + bytes([len(inner)]) + inner)
    found = find_in_file(made().der, key=content + b"-----END ENCRYPTED PRIVATE KEY-----\n", password=b"x")
    assert "more than 5,000,000 iterations" in found.notes[0]


def test_the_passwords_that_are_tried_are_bounded_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def refuse(_: bytes, password: bytes | None) -> None:
        tried.append(password)
        raise ValueError

    monkeypatch.setattr(pkcs12, "load_pkcs12", refuse)
    passwords = {f"password{number}": str(number) for number in range(1000)}
    look({**passwords, "pfx": coded(LOCKED_P12)})
    assert tried == [b"999", b"998", b"997", b"996", b"995", b"994", b"993", b"992", None, b""]


HARD = {
    "PEM that begins and never ends": json.dumps({"a": "-----BEGIN CERTIFICATE-----" * 30_000}).encode(),
    "DER of nothing but beginnings": json.dumps({"a": coded(b"\x30\x80" * 300_000)}).encode(),
    "pieces in pieces": json.dumps({"a": coded(LOCKED_P12[:60] + b"\x24\x80" * 100_000)}).encode(),
    "an object of passwords": json.dumps({f"pwd{number}": "x" for number in range(60_000)}).encode(),
    "brackets in a string": json.dumps({"a": "[" * 900_000}).encode(),
    "backslashes": b'{"a": "' + b"\\\\" * 500_000 + b'"}',
}


@pytest.mark.parametrize("case", HARD)
def test_no_document_of_a_megabyte_keeps_us_for_long(case: str) -> None:
    assert find_in_system_secrets(HARD[case]).certificates == ()
