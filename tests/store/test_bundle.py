"""Bundled networks: found beneath the store, whole or refused, and never written to."""

import json
from pathlib import Path

import pytest
import torch

from guideplug.errors import StoreError
from guideplug.store import Entry, Store, with_bundle, write_bundle

IDENTITY = "a" * 64


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run's folder with one bundled network."""
    store = Store(tmp_path / "first")
    store.finish(IDENTITY, IDENTITY, {"weight": torch.ones(3)}, {"recipe": {"name": "train"}}, {})
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({}))
    write_bundle(store, [IDENTITY], folder)
    return folder


def bytes_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def entry_of(store: Store) -> Entry:
    entry = store.find(IDENTITY)
    assert entry is not None
    return entry


def test_an_empty_store_has_what_is_bundled(folder: Path, tmp_path: Path) -> None:
    store = with_bundle(Store(tmp_path / "empty"), folder)
    assert torch.equal(entry_of(store).tensors()["weight"], torch.ones(3))
    assert store.find("b" * 64) is None
    assert not (tmp_path / "empty").exists()


def test_further_files_go_to_the_store_and_the_bundle_stays(folder: Path, tmp_path: Path) -> None:
    before = bytes_of(folder)
    store = with_bundle(Store(tmp_path / "empty"), folder)
    store.add(entry_of(store), "snapshot-4.safetensors", {"weight": torch.zeros(3)})
    entry = entry_of(store)
    assert entry.folder.parent == tmp_path / "empty"
    assert torch.equal(entry.tensors("snapshot-4.safetensors")["weight"], torch.zeros(3))
    assert torch.equal(entry.tensors()["weight"], torch.ones(3))
    assert bytes_of(folder) == before


@pytest.mark.parametrize("name", ["weights.safetensors", "entry.json"])
@pytest.mark.parametrize("fault", ["changed", "cut"])
def test_what_does_not_fit_its_hash_is_refused(name: str, fault: str, folder: Path, tmp_path: Path) -> None:
    path = folder / "store" / IDENTITY / name
    content = path.read_bytes()
    path.write_bytes(content[:-1] if fault == "cut" else content.replace(b"train", b"other")[:-1] + b"\1")
    with pytest.raises(StoreError, match=f"bundled network .*{IDENTITY}.*restore it, or remove") as caught:
        with_bundle(Store(tmp_path / "empty"), folder).find(IDENTITY)
    assert "\n" not in str(caught.value)


def test_links_out_of_the_bundle_and_missing_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    place = folder / "store" / IDENTITY
    store = with_bundle(Store(tmp_path / "empty"), folder)
    (place / "weights.safetensors").unlink()
    with pytest.raises(StoreError, match=r"weights\.safetensors is missing"):
        store.find(IDENTITY)
    for file in place.iterdir():
        file.unlink()
    place.rmdir()
    place.symlink_to(tmp_path / "first" / IDENTITY)
    with pytest.raises(StoreError, match="bundled network"):
        store.find(IDENTITY)


def test_a_bundle_without_a_record_is_not_there(folder: Path, tmp_path: Path) -> None:
    (folder / "store" / IDENTITY / "entry.json").unlink()
    assert with_bundle(Store(tmp_path / "empty"), folder).find(IDENTITY) is None


def test_only_the_folder_of_a_run_has_a_bundle(folder: Path, tmp_path: Path) -> None:
    (folder / "run.json").unlink()
    store = Store(tmp_path / "empty")
    assert with_bundle(store, folder) is store
