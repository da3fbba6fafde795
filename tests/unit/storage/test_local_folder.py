"""What a folder promises beyond the contract of every store (``tests/integration/storage``)."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import BlobNotFound, StorageError, StorageForbidden
from shared.storage.local_folder import LocalFolderStore


@pytest.fixture
def store(tmp_path: Path) -> LocalFolderStore:
    return LocalFolderStore(tmp_path)


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "/etc/passwd", "a//b", "", "C:/x", "a\\b", "."])
def test_no_name_leaves_the_folder(store: LocalFolderStore, name: str) -> None:
    for call in (lambda: store.put(name, b""), lambda: store.get(name), lambda: store.delete(name)):
        with pytest.raises(StorageForbidden):
            call()
    assert list(store.folder.parent.glob("outside")) == []


def test_a_put_that_cannot_finish_leaves_no_blob(store: LocalFolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shared.storage.local_folder._publish", full)
    with pytest.raises(StorageError, match="No space left"):
        store.put("data/a", b"x")
    assert list(store.list("")) == []
    assert [path for path in store.folder.rglob("*") if path.is_file()] == []


def test_a_file_that_is_still_being_written_is_no_blob(store: LocalFolderStore) -> None:
    (store.folder / ".lifeboat-0011").write_bytes(b"half")
    assert list(store.list("")) == []


def test_a_folder_is_no_blob(store: LocalFolderStore) -> None:
    store.put("data/00/a", b"x")
    assert store.stat("data/00") is None
    with pytest.raises(BlobNotFound):
        store.get("data/00")


def test_the_folder_itself_is_made_when_asked(tmp_path: Path) -> None:
    store = LocalFolderStore(tmp_path / "new")
    assert store.create_container_if_missing() is True
    assert store.create_container_if_missing() is False
    assert store.put("a", b"x") is True
