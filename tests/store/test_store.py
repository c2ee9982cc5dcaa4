"""The store: entries appear whole, damage is found, and one network is made by one process at a time."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import guideplug.store.store as store_module
from guideplug.errors import StoreError, WriteError
from guideplug.files.tensors import write_tensors
from guideplug.store import Entry, Store

A, B = "a" * 64, "b" * 64
WEIGHTS = {"w": torch.arange(4.0)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def made(store: Store, identity: str = A, started: str = "") -> Entry:
    return store.finish(started or identity, identity, WEIGHTS, {"name": "train"}, {"iterations": 8})


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_what_is_finished_is_found(store: Store) -> None:
    assert store.find(A) is None
    assert list(store.entries()) == []
    before = time.time()
    entry = made(store)
    assert store.find(A) == entry
    assert list(store.entries()) == [entry]
    assert entry.identity == A
    assert entry.recipe == {"name": "train"}
    assert entry.facts["iterations"] == 8
    assert before <= entry.facts["made"] <= time.time()
    assert entry.damage() == ""
    assert torch.equal(entry.tensors()["w"], WEIGHTS["w"])
    assert entry.size == sum(file.stat().st_size for file in entry.folder.iterdir()) > 0
    assert names(entry.folder) == ["entry.json", "weights.safetensors"]
    assert names(store.root) == [A]
    assert store.find(B) is None


def test_snapshots_come_along_and_the_state_does_not(store: Store) -> None:
    place = store.workplace(A)
    assert store.partial() == [place]
    for name in ("state.safetensors", "snapshot-4it-ema0.05.safetensors", "note.txt", ".weights.safetensors.x.tmp"):
        write_tensors(place / name, WEIGHTS)
    assert store.workplace(A) == place
    assert len(names(place)) == 4
    entry = made(store)
    assert names(entry.folder) == ["entry.json", "snapshot-4it-ema0.05.safetensors", "weights.safetensors"]
    assert set(entry.files) == {"snapshot-4it-ema0.05.safetensors", "weights.safetensors"}
    assert store.partial() == []


def test_a_training_may_end_as_another_entry(store: Store) -> None:
    """One with a time limit is started under one identity, and is kept under that of the steps it reached."""
    made(store, B, started=A)
    assert store.find(A) is None
    assert store.find(B) is not None
    assert store.partial() == []


def test_finishing_again_replaces_the_entry(store: Store) -> None:
    made(store)
    store.finish(A, A, {"w": torch.ones(1)}, {"name": "train"}, {"iterations": 9})
    entry = store.find(A)
    assert entry is not None
    assert entry.facts["iterations"] == 9
    assert len(entry.tensors()["w"]) == 1


@pytest.mark.parametrize("part", ["write_tensors", "whole_file", "file_digest"])
def test_what_fails_on_the_way_leaves_no_entry(store: Store, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store_module, part, fail)
        with pytest.raises(OSError, match="No space left"):
            made(store)
    assert store.find(A) is None
    assert list(store.entries()) == []
    assert store.partial() == [store.workplace(A)]
    made(store)  # and may be done over
    assert store.find(A) is not None


def test_files_are_added(store: Store) -> None:
    entry = made(store)
    store.add(entry, "snapshot-end-ema0.1.safetensors", {"w": torch.ones(2)})
    again = store.find(A)
    assert again is not None
    assert (again.recipe, again.facts) == (entry.recipe, entry.facts)
    assert torch.equal(again.tensors("snapshot-end-ema0.1.safetensors")["w"], torch.ones(2))
    assert torch.equal(again.tensors()["w"], WEIGHTS["w"])
    assert again.damage() == ""


def test_files_that_several_add_to_one_entry_stay(store: Store) -> None:
    entry = made(store)
    names = ["snapshot-4it-ema0.05.safetensors", "snapshot-8it-ema0.05.safetensors"]
    for name in names:
        store.add(entry, name, {"w": torch.ones(2)})  # each knows the entry as it was at first
    again = store.find(A)
    assert again is not None
    assert set(again.files) == {*entry.files, *names}
    assert again.damage() == ""


def test_every_flipped_bit_is_found(store: Store) -> None:
    entry = made(store)
    path = entry.folder / "weights.safetensors"
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(changed)
        assert entry.damage() == "weights.safetensors has changed since it was written"
        with pytest.raises(StoreError) as caught:
            entry.tensors()
        assert str(caught.value) == f"{path} is damaged or missing: remove it with {store.pruning(A)}"
    path.write_bytes(whole)
    assert entry.damage() == ""
    path.unlink()
    assert entry.damage() == "weights.safetensors is missing"
    with pytest.raises(StoreError, match="is damaged or missing"):
        entry.tensors()


def test_a_file_that_is_not_of_the_entry_is_not_read(store: Store) -> None:
    entry = made(store)
    write_tensors(entry.folder / "snapshot-1it-ema0.05.safetensors", WEIGHTS)
    with pytest.raises(StoreError, match="is damaged or missing"):
        entry.tensors("snapshot-1it-ema0.05.safetensors")


def test_the_command_that_removes_an_entry_names_another_store_than_the_users(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUIDEPLUG_STORE", str(store.root))
    assert store.pruning(A) == f"guideplug store prune {A[:12]}"
    other = Store(tmp_path / "it's other")
    assert other.pruning(A) == f'GUIDEPLUG_STORE="{other.root}" guideplug store prune {A[:12]}'


@pytest.mark.parametrize("record", ["", "{", "[]", "null", '{"recipe": {}}', "\xff"])
def test_a_record_that_cannot_be_read(store: Store, record: str) -> None:
    made(store), made(store, B)
    path = store.root / A / "entry.json"
    path.write_bytes(record.encode("latin-1"))
    with pytest.raises(StoreError) as caught:
        store.find(A)
    reason = f"{path} cannot be read: remove the entry with {store.pruning(A)}"
    assert str(caught.value) == reason
    bad, good = store.entries()
    assert bad == (path.parent, reason)
    assert isinstance(good, Entry)
    path.unlink()
    with pytest.raises(StoreError, match="cannot be read"):
        store.find(A)


def test_removing(store: Store) -> None:
    made(store), made(store, B)
    (store.workplace(A) / "state.safetensors").write_bytes(b"half")
    with store.locked(A):
        pass
    store.remove(A)
    lock = f"{A}.lock"  # stays: whoever holds it, or waits for it, must not be joined by another
    assert names(store.root) == sorted([lock, B])
    assert store.find(A) is None
    store.remove(A)
    assert names(store.root) == sorted([lock, B])


def test_who_holds_an_entry_is_seen(store: Store) -> None:
    assert not store.in_use(A)
    with store.locked(A):
        assert store.in_use(A)
        store.remove(A)
        assert store.in_use(A)
    assert not store.in_use(A)


def test_a_file_that_is_added_does_not_bless_a_damaged_one(store: Store) -> None:
    entry = made(store)
    (entry.folder / "weights.safetensors").write_bytes(b"changed")
    store.add(entry, "snapshot-4it-ema0.05.safetensors", {"w": torch.zeros(1)})
    found = store.find(entry.identity)
    assert found is not None
    assert "weights.safetensors has changed" in found.damage()


def test_what_else_lies_in_the_folder_is_no_entry(store: Store) -> None:
    made(store)
    (store.root / "notes").mkdir()
    (store.root / "c").mkdir()
    assert [entry.identity for entry in store.entries() if isinstance(entry, Entry)] == [A]


# The folder


def test_the_default_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUIDEPLUG_STORE", str(tmp_path / "new" / "store"))
    assert Store.default().root == tmp_path / "new" / "store"
    assert (tmp_path / "new" / "store").is_dir()
    for unset in ("", None):
        if unset is None:
            monkeypatch.delenv("GUIDEPLUG_STORE")
        else:
            monkeypatch.setenv("GUIDEPLUG_STORE", unset)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setattr(store_module, "user_cache_path", lambda name: tmp_path / "cache" / name)
        assert Store.default().root == tmp_path / "cache" / "guideplug" / "store"


def test_a_folder_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for root in (file, file / "below"):
        monkeypatch.setenv("GUIDEPLUG_STORE", str(root))
        with pytest.raises(StoreError) as caught:
            Store.default()
        assert str(caught.value).startswith(f"the store {root} cannot be made (")
        assert str(caught.value).endswith("): set GUIDEPLUG_STORE")
    monkeypatch.setenv("GUIDEPLUG_STORE", str(tmp_path))
    monkeypatch.setattr(store_module.os, "access", lambda path, mode: False)  # to root everything is writable
    with pytest.raises(StoreError, match=r"is not writable: set GUIDEPLUG_STORE to a folder of yours"):
        Store.default()


# The lock

HOLDER = """
import sys
from pathlib import Path
from guideplug.store import Store
with Store(Path(sys.argv[1])).locked(sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""
TRIER = """
import fcntl, sys
with open(sys.argv[1], "w") as file:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("waits")
    else:
        print("free")
"""


def _tried(path: Path) -> str:
    done = subprocess.run([sys.executable, "-c", TRIER, str(path)], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.skipif(store_module.fcntl is None, reason="no flock here")
def test_the_lock_is_exclusive_and_ends_with_its_block(store: Store) -> None:
    path = store.root / f"{A}.lock"
    with store.locked(A):
        assert _tried(path) == "waits"
        with store.locked(B):  # another network is nobody's business
            pass
    assert _tried(path) == "free"
    with pytest.raises(RuntimeError, match="fault"), store.locked(A):
        raise RuntimeError("fault")
    assert _tried(path) == "free"


@pytest.mark.slow
@pytest.mark.skipif(store_module.fcntl is None, reason="no flock here")
def test_the_lock_is_freed_when_its_holder_is_killed(store: Store) -> None:
    command = [sys.executable, "-c", HOLDER, str(store.root), A]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "held"
        assert _tried(store.root / f"{A}.lock") == "waits"
        holder.send_signal(signal.SIGKILL)
        holder.wait(timeout=30)
        with store.locked(A):  # would wait for ever
            pass


def test_the_record_says_what_was_made(store: Store) -> None:
    entry = made(store)
    record = json.loads((entry.folder / "entry.json").read_text())
    assert set(record) == {"recipe", "facts", "files", "plugins", "sha256"}
    assert all(len(digest) == 64 for digest in (*record["files"].values(), record["sha256"]))


def test_a_record_that_was_changed_is_found(store: Store) -> None:
    path = made(store).folder / "entry.json"
    path.write_text(path.read_text().replace('"iterations": 8', '"iterations": 9'))
    with pytest.raises(StoreError, match=r"cannot be read: remove the entry"):
        store.find(A)


def test_what_killed_processes_left_is_cleared_away_by_who_holds_the_entry(store: Store) -> None:
    entry = made(store)
    before = names(entry.folder)
    (entry.folder / ".weights.safetensors.abcd1234.tmp").touch()  # killed in `add`, before the rename
    write_tensors(entry.folder / "snapshot-1it-ema0.05.safetensors", WEIGHTS)  # and before the record
    (entry.folder / "state.safetensors").touch()  # killed in `finish`, after the rename
    (store.workplace(A) / "state.safetensors").touch()
    for folder in (f".{A}.removed", f".{A}.partial.removed"):  # killed in `remove`
        (store.root / folder / "inside").mkdir(parents=True)
    other = store.workplace(B) / ".state.safetensors.abcd1234.tmp"
    other.touch()
    assert store.half_removed() == [A]
    with store.locked(A):
        store.tidy(A)
    assert names(entry.folder) == before
    assert names(store.root) == sorted([A, f"{A}.lock", f"{B}.partial"])
    assert other.is_file(), "another entry is somebody else's"
    store.remove(B)
    assert store.half_removed() == []


@pytest.mark.skipif(store_module.fcntl is None, reason="no flock here")
def test_who_waits_for_an_entry_is_asked_again_and_again_and_may_leave(store: Store) -> None:
    asked = []

    def waiting() -> None:
        asked.append(1)
        if len(asked) == 3:
            raise RuntimeError("enough")

    with store.locked(A), pytest.raises(RuntimeError, match="enough"), store.locked(A, waiting):
        pass
    with store.locked(A, waiting):
        assert len(asked) == 3


# Links and other things in the place of files


def _link(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "file")


def _link_to_nothing(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "new")


def _pipe(path: Path, outside: Path) -> None:
    os.mkfifo(path)


def _folder(path: Path, outside: Path) -> None:
    path.mkdir()


@pytest.fixture
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outside")
    (folder / "file").write_text("untouched")
    return folder


@pytest.mark.parametrize("put", [_link, _link_to_nothing, _pipe, _folder], ids=lambda put: put.__name__)
def test_a_lock_is_a_file_of_the_store(put: Callable[[Path, Path], None], store: Store, outside: Path) -> None:
    put(store.root / f"{A}.lock", outside)
    for use in (lambda: store.locked(A).__enter__(), lambda: store.in_use(A)):
        with pytest.raises(WriteError, match=f"{A}.lock cannot be written") as refusal:
            use()
        assert "\n" not in str(refusal.value)
    assert names(outside) == ["file"]
    assert (outside / "file").read_text() == "untouched"


def test_nothing_is_written_or_removed_by_way_of_a_link(store: Store, outside: Path) -> None:
    (outside / ".file.12345678.tmp").touch()  # as litter of ours is called
    for name in (A, f"{B}.partial"):
        (store.root / name).symlink_to(outside)
    with pytest.raises(StoreError, match="leads out"):
        store.workplace(B)
    with pytest.raises(StoreError, match="cannot be read"):
        store.find(A)
    for identity in (A, B):
        store.tidy(identity)
        store.remove(identity)
    assert names(store.root) == []
    assert names(outside) == [".file.12345678.tmp", "file"]


def test_weights_are_those_of_the_store(store: Store, outside: Path) -> None:
    entry = made(store)
    (entry.folder / "weights.safetensors").rename(outside / "weights.safetensors")
    (entry.folder / "weights.safetensors").symlink_to(outside / "weights.safetensors")
    assert "leads out" in entry.damage()
    with pytest.raises(StoreError, match="damaged or missing"):
        entry.tensors()
