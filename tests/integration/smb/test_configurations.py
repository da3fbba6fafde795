"""Every way in which a server may want to be spoken to gives the same content, both ways."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable

import pytest

from shared.smb.handshake import negotiate
from shared.smb.types import ConnectionFacts, WriteRequest, Written
from tests.integration.smb.conftest import Place
from tests.integration.smb.helpers import contents, files, read, stream_sha256, walk, write
from tests.standins.smb_clock import clock_off_by

EXPECTED = {
    "signing-only": ("3.1.1", "aes-128-gmac", None),
    "signing-cmac": ("3.1.1", "aes-128-cmac", None),
    "signing-hmac": ("3.1.1", "hmac-sha256", None),
    "encryption-required": ("3.1.1", None, "aes-128-gcm"),
    "encryption-ccm": ("3.1.1", None, "aes-128-ccm"),
    "encryption-256-gcm": ("3.1.1", None, "aes-256-gcm"),
    "encryption-256-ccm": ("3.1.1", None, "aes-256-ccm"),
    "encryption-on-the-share": ("3.1.1", None, "aes-128-gcm"),
    "smb-2.0.2": ("2.0.2", "hmac-sha256", None),
    "smb-2.1": ("2.1", "hmac-sha256", None),
    "smb-3.0": ("3.0", "aes-128-cmac", None),
    "smb-3.0-encrypted": ("3.0", None, "aes-128-ccm"),
    "smb-3.0.2": ("3.0.2", "aes-128-cmac", None),
    "smb-3.1.1": ("3.1.1", None, "aes-128-gcm"),
    "few-credits": ("3.1.1", "aes-128-gmac", None),
    "small-reads": ("3.1.1", None, "aes-128-gcm"),
}

WRITE_TIME = 133_000_000_000_000_000
CREATION_TIME = 132_000_000_000_000_000


@pytest.mark.parametrize("configuration", EXPECTED)
def test_lists_reads_and_writes_back(configuration: str, place_on: Callable[[str], Place]) -> None:
    place = place_on(configuration)
    randomness = random.Random(configuration)
    share = "sealed" if configuration == "encryption-on-the-share" else "data"
    tree = {
        f"folder {number % 7}/{number}.bin": randomness.randbytes(size)
        for number, size in enumerate([0, 1, 4095, 65535, 65536, 65537, 200_000, *range(0, 9000, 100)])
    }
    for path, content in tree.items():
        place.put(path, content)
    large = randomness.randbytes(11_000_003)
    place.put("large.bin", large)

    with place.client(share) as client:
        client.connect()
        facts = client.facts
        assert (facts.dialect, facts.signing, facts.cipher) == EXPECTED[configuration]
        assert facts.authentication == "ntlm"
        listed, failed = walk(client, security=True)
        assert not failed
        sizes = files(listed)
        assert sizes == {path: len(content) for path, content in tree.items()} | {"large.bin": len(large)}
        del sizes["large.bin"]
        assert contents(read(client, sizes, security=True)) == tree
        assert stream_sha256(client, "large.bin") == hashlib.sha256(large).hexdigest()
        assert stream_sha256(client, "large.bin", offset=9_999_999) == hashlib.sha256(large[9_999_999:]).hexdigest()

        client.make_directory("back/deep")
        requests = [
            WriteRequest(
                f"back/deep/{index}", f"back/deep/{index}.part", data, 0x20, CREATION_TIME, WRITE_TIME, None, False
            )
            for index, data in enumerate(tree.values())
        ]
        outcomes = write(client, requests)
        assert all(isinstance(outcome, Written) for outcome in outcomes.values()), outcomes
        with client.open_writer("back/large") as writer:
            for at in range(0, len(large), 3_000_000):
                writer.write(large[at : at + 3_000_000])
            writer.finish()

    assert sorted(path.name for path in (place.folder / "back/deep").iterdir()) == sorted(
        str(index) for index in range(len(tree))
    )
    for index, data in enumerate(tree.values()):
        assert (place.folder / "back/deep" / str(index)).read_bytes() == data
    assert (place.folder / "back/large").read_bytes() == large


def test_says_what_was_agreed(place: Place) -> None:
    with place.client() as client:
        facts = client.facts
    assert facts == ConnectionFacts("3.1.1", "aes-128-gmac", None, "ntlm", 8388608, 8388608)


@pytest.mark.parametrize("configuration", ["smb-2.0.2", "smb-3.0-encrypted", "signing-cmac", "encryption-256-ccm"])
def test_negotiation_alone_tells_what_a_login_will_agree_on(
    configuration: str, place_on: Callable[[str], Place]
) -> None:
    offered = negotiate(place_on(configuration).endpoint(), timeout_seconds=10, settings_prefix="LIFEBOAT_SHARE")
    dialect, signing, cipher = EXPECTED[configuration]
    assert (offered.dialect, offered.cipher) == (dialect, cipher)
    assert cipher or offered.signing == signing
    assert offered.clock_ahead_seconds == 0, "this machine's own clock, within the time that the answer took"


@pytest.mark.parametrize("off", [1200, -1200])
def test_negotiation_tells_how_far_the_servers_clock_is_off(off: int, place_on: Callable[[str], Place]) -> None:
    place = place_on("smb-3.1.1")
    with clock_off_by(off, place.samba.port) as port:
        offered = negotiate(place.endpoint(port=port), timeout_seconds=10, settings_prefix="LIFEBOAT_SHARE")
    assert offered.clock_ahead_seconds is not None
    assert abs(offered.clock_ahead_seconds - off) < 60
