"""What hypothesis draws for the repository's formats."""

from __future__ import annotations

from hypothesis import strategies as st

from shared.repository.crypto import MasterKey
from shared.repository.trees import Metadata

ODD = "\x00\x01\x07\x08\t\n\v\f\r\x1b\x7f\x85\xa0\xad\u200b\u2028\u2029\ufeff\ufffd\uffff\U0001f600\U000e0001\"'\\<>&/"

KEY = MasterKey(b"e" * 32, b"k" * 16, b"r" * 16)

unicode_names = st.text(st.one_of(st.characters(), st.sampled_from(ODD)), max_size=40).map(
    lambda name: name.encode("utf-8", "surrogatepass")
)
"""Lone surrogates among them, as WTF-8."""
names = st.one_of(unicode_names, st.binary(max_size=40))

FIRST_NS = -62_167_219_200 * 10**9
AFTER_LAST_NS = 253_402_300_800 * 10**9
times_ns = st.integers(FIRST_NS, AFTER_LAST_NS - 10**9)
"""Nanoseconds of the years 0 to 9999."""
filetimes = st.integers(0, 2**63 - 1)
blob_ids = st.binary(min_size=32, max_size=32)

metadata = st.builds(
    Metadata,
    mtime_ns=times_ns,
    ctime_ns=times_ns,
    mode=st.integers(0, 0o777),
    uid=st.integers(0, 2**32 - 1),
    gid=st.integers(0, 2**32 - 1),
    inode=st.integers(0, 2**64 - 1),
    creation=st.none() | st.integers(0, 2**64 - 1),
    attributes=st.none() | st.integers(0, 2**32 - 1),
    security=st.none() | st.binary(min_size=1, max_size=100),
)
