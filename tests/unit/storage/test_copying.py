"""Copies that no byte of ours passes through: what is refused, repeated and checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

import pytest

from shared.errors import CopyRefused, Damaged, StorageError, StorageUnavailable
from shared.storage.azure_blobs import AzureBlobStore
from shared.storage.blob_store import BlobInfo, BlobStore
from shared.storage.copying import LARGEST_COPY_BYTES, CopySource, copy_blob
from shared.storage.retrying import RetryingStore

SOURCE = CopySource("https://landing.example/c/full.bak?sig=topsecret", "Bearer token")


@dataclass
class _Service:
    """Answers ``copy_from`` with ``answers`` in turn, and looks as long as ``length`` afterwards."""

    answers: list[bool | StorageError]
    length: int | None = None
    asked: list[str] = field(default_factory=list)

    def copy_from(self, name: str, source: CopySource, *, size_bytes: int) -> bool:
        self.asked.append("copy")
        answer = self.answers.pop(0)
        if isinstance(answer, StorageError):
            raise answer
        return answer

    def stat(self, name: str) -> BlobInfo | None:
        self.asked.append("stat")
        return None if self.length is None else BlobInfo(name, self.length, datetime.now(UTC))


def _copy(service: _Service, size_bytes: int = 10) -> bool:
    retrying = RetryingStore(cast("BlobStore", service), sleep=lambda seconds: None)
    return copy_blob(cast("AzureBlobStore", service), retrying, "full.bak", SOURCE, size_bytes=size_bytes)


def test_a_copy_is_looked_at_when_it_is_made_and_only_then() -> None:
    made, there = _Service([True], 10), _Service([False], 10)
    assert (_copy(made), _copy(there)) == (True, False)
    assert (made.asked, there.asked) == (["copy", "stat"], ["copy"])


@pytest.mark.parametrize("length", [None, 0, 9, 11])
def test_a_copy_of_another_length_is_damaged(length: int | None) -> None:
    with pytest.raises(Damaged, match=r"full\.bak"):
        _copy(_Service([True], length))


def test_a_copy_is_repeated_while_the_service_asks_for_patience_and_not_when_it_refuses() -> None:
    busy = _Service([StorageUnavailable("busy"), StorageUnavailable("busy"), False])
    assert _copy(busy) is False
    refused = _Service([CopyRefused("the source is shut"), True])
    with pytest.raises(CopyRefused):
        _copy(refused)
    assert (busy.asked, refused.asked) == (["copy"] * 3, ["copy"])


def test_what_no_single_copy_may_carry_is_refused_before_anything_is_asked() -> None:
    service = _Service([True])
    with pytest.raises(StorageError, match="5,000 MiB") as error:
        _copy(service, LARGEST_COPY_BYTES + 1)
    assert not isinstance(error.value, CopyRefused), "streaming would not help"
    assert not service.asked
    assert _copy(_Service([False]), LARGEST_COPY_BYTES) is False


def test_nothing_shows_the_source() -> None:
    for source in (SOURCE, CopySource(SOURCE.url)):
        for shown in (repr(source), str(source), f"{source}"):
            assert "topsecret" not in shown
            assert "token" not in shown.replace("by token", "")
            assert "landing" not in shown
