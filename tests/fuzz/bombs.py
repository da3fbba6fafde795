"""A few bytes that would be gigabytes, each in a process that may take ``ROOM_BYTES`` and no more.

    python -m tests.fuzz.bombs NAME

prints ``refused`` where one of our errors was the answer.
"""

from __future__ import annotations

import resource
import struct
import sys
from collections.abc import Callable

import zstandard

from shared.errors import Damaged, SecretsFileError
from shared.repository.compression import MOST_DATA_BYTES, MOST_PLAIN_BYTES, compress, decompress
from shared.repository.crypto import KdfCost, derive
from shared.repository.packs import parse_pack
from shared.repository.trees import parse_tree
from shared.secrets.findings import check_system_secrets, find_in_file
from shared.smb import wire
from tests.unit.repository.strategies import KEY
from tests.unit.smb.scripted import page

ROOM_BYTES = MOST_PLAIN_BYTES + (128 << 20)
REFUSED = (Damaged, SecretsFileError, wire.BadReply)


def rle_frame(blocks: int, head: bytes) -> bytes:
    """A zstd frame (RFC 8878) of so many RLE blocks, each four bytes that open to 128 KiB."""
    block, last = struct.pack("<I", 1 << 1 | (128 << 10) << 3)[:3], struct.pack("<I", 1 | 1 << 1 | (128 << 10) << 3)[:3]
    return b"\x28\xb5\x2f\xfd" + head + (block + b"a") * (blocks - 1) + last + b"a"


def without_a_size() -> None:
    decompress(rle_frame(4 << 13, b"\x00\x38"))  # 4 GiB


def a_data_blob_without_a_size() -> None:
    decompress(rle_frame(4 << 13, b"\x00\x38"), MOST_DATA_BYTES)


def with_a_size_of_100_gigabytes() -> None:
    decompress(b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 100 << 30) + b"\x01\x00\x00")


def with_a_size_that_is_a_lie() -> None:
    decompress(rle_frame(4 << 13, b"\xa0" + struct.pack("<I", 1000)))


def with_a_window_of_a_terabyte() -> None:
    decompress(rle_frame(2, b"\x00\xf8"))


def a_tree_nested_without_end() -> None:
    parse_tree(decompress(compress(b'{"nodes":' + b"[" * (100 << 20), 1)))


def a_pack_whose_header_claims_four_gigabytes() -> None:
    parse_pack(KEY, bytes(100) + b"\xff" * 4)


def a_key_that_asks_for_terabytes() -> None:
    derive("password", b"s" * 64, KdfCost(n=1 << 40, r=8, p=1))


def directory_entries_in_each_other() -> None:
    one = page(("n" * 200, 0x20, 0))
    entry = struct.pack("<I", 8) + one[4:104]
    entry = entry[:60] + struct.pack("<I", 500_000) + entry[64:]
    wire.directory_entries((entry[:8] * 120_000) + one * 10)


def system_secrets_nested_without_end() -> None:
    check_system_secrets(b'{"a":' * 150_000)


def ber_nested_without_end() -> None:
    find_in_file(b"\x30\x80" * 500_000)
    find_in_file(b"\x30\x84\xff\xff\xff\xff" * 150_000)
    raise Damaged("it ends, and nothing is found")


BOMBS: dict[str, Callable[[], None]] = {
    bomb.__name__: bomb
    for bomb in (
        without_a_size,
        a_data_blob_without_a_size,
        with_a_size_of_100_gigabytes,
        with_a_size_that_is_a_lie,
        with_a_window_of_a_terabyte,
        a_tree_nested_without_end,
        a_pack_whose_header_claims_four_gigabytes,
        a_key_that_asks_for_terabytes,
        directory_entries_in_each_other,
        system_secrets_nested_without_end,
        ber_nested_without_end,
    )
}


def _mapped_bytes() -> int:
    with open("/proc/self/statm") as file:  # noqa: PTH123 - Linux's own account of this process
        return int(file.read().split()[0]) * resource.getpagesize()


def main(name: str) -> None:
    decompress(zstandard.compress(b"so that every library is loaded"))
    most = _mapped_bytes() + ROOM_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    try:
        BOMBS[name]()
    except REFUSED:
        print("refused")


if __name__ == "__main__":
    main(sys.argv[1])
