"""`guideplug store`: listed, verified and pruned."""

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from guideplug.store import DataCache, Entry, Store
from guideplug.store.data_cache import prepared_data


def entries(cli: Any) -> list[Path]:
    return sorted(path for path in cli.store.iterdir() if len(path.name) == 64)


def test_an_empty_store(cli: Any) -> None:
    assert "is empty" in cli("store", "list").stdout
    assert cli.json("store", "list") == []
    assert cli.json("store", "verify") == {"entries": 0, "damaged": {}}
    assert "nothing to remove" in cli("store", "prune", "--all").stdout


def test_what_goes_on_from_another_network_is_listed_with_its_base(cli: Any) -> None:
    cli.toy("--guider", "sims(count=8)", "--duration", "2it", "--samples", "4", "--out", "run")
    whole = {item["recipe"]: item for item in cli.json("store", "list")}
    assert whole["synthetic"]["task"] == whole["train"]["task"]
    assert whole["synthetic"]["denoiser"] == whole["fine-tune"]["denoiser"] == whole["train"]["denoiser"] is not None
    lines = cli("store", "list").stdout
    assert " of - " not in lines
    assert " with -" not in lines
    assert f"fine-tune of samples of {whole['train']['task']} with {whole['train']['denoiser']}, seed" in lines


def test_what_an_entry_does_not_have_is_left_out(cli: Any) -> None:
    cli.toy("--guider", "autoguidance", "--model", "weak=snapshot(of=main, at=8it)", "--samples", "4")
    (line,) = [line for line in cli("store", "list").stdout.splitlines() if "snapshot" in line]
    assert re.fullmatch(
        r"\w{12}  snapshot of toy\(labels=false\) with toy-net\(width=8\), \d+ KiB, \d{4}-\d\d-\d\d \d\d:\d\d", line
    ), line


def test_a_store_is_listed_verified_and_pruned(cli: Any) -> None:
    cli.toy("--guider", "autoguidance")
    said = cli("store", "list").stdout
    assert "train of toy(labels=false) with toy-net(width=8), seed 0, 40 iterations" in said
    listed = cli.json("store", "list")
    assert sorted(item["iterations"] for item in listed) == [10, 40]
    assert "2 of 2 entries are whole" in cli("store", "verify").stdout

    identity = listed[0]["identity"]
    assert f"would remove {identity[:12]} (chosen, " in cli("store", "prune", identity[:8], "--dry-run").stdout
    assert len(entries(cli)) == 2
    assert f"removed {identity[:12]}" in cli("store", "prune", identity[:8], "--yes").stdout
    assert [path.name for path in entries(cli)] == [listed[1]["identity"]]
    assert "nothing to remove" in cli("store", "prune", "--older", "1").stdout
    assert "no entry begins with 'zz'" in cli.error("store", "prune", "zz", code=1)
    cli("store", "prune", "--all", "--yes")
    assert entries(cli) == []


@pytest.mark.slow
@pytest.mark.parametrize("how", ["weights", "record", "gone"])
def test_a_damaged_entry_is_found_refused_and_pruned(cli: Any, how: str) -> None:
    cli.toy("--out", "one")
    (entry,) = entries(cli)
    weights = entry / "weights.safetensors"
    if how == "weights":
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(bytes(data))
    elif how == "record":
        (entry / "entry.json").write_text("{")
    else:
        weights.unlink()
    result = cli("store", "verify", code=1)
    assert f"{entry.name[:12]}  damaged: " in result.stdout
    assert "0 of 1 entries are whole" in result.stdout
    assert json.loads(cli("store", "verify", "--json", code=1).stdout)["damaged"].keys() == {entry.name}
    cli("store", "list")
    line = cli.toy(code=1).stderr
    assert f"guideplug store prune {entry.name[:12]}" in line
    assert f"removed {entry.name[:12]}" in cli("store", "prune", entry.name[:12], "--yes").stdout
    assert "trained main" in cli.toy("--out", "two").stdout


def test_what_an_unfinished_training_left_is_listed_and_pruned(cli: Any) -> None:
    cli.toy()
    left = cli.store / f"{'a' * 64}.partial"
    left.mkdir()
    (left / "state.safetensors").write_bytes(b"")
    assert "aaaaaaaaaaaa  unfinished training" in cli("store", "list").stdout
    assert "1 of 1 entries are whole" in cli("store", "verify").stdout
    assert "removed aaaaaaaaaaaa (unfinished)" in cli("store", "prune", "--partial", "--yes").stdout
    assert not left.exists()
    assert len(entries(cli)) == 1


def test_prune_leaves_what_a_run_works_on(cli: Any) -> None:
    cli.toy("--out", "out", "--duration", "4it")
    (entry,) = Store(cli.store).entries()
    assert isinstance(entry, Entry)
    with Store(cli.store).locked(entry.identity):
        assert "a run is working on it" in cli("store", "prune", "--all").stdout
    assert entry.folder.is_dir()
    cli("store", "prune", "--all", "--yes")
    assert not entry.folder.exists()


def test_prepared_data_are_listed_and_pruned_unless_a_run_uses_them(cli: Any) -> None:
    keys = ["a" * 64, "b" * 64]
    for number, key in enumerate(keys):
        place = cli.store / "data" / key
        place.mkdir(parents=True)
        (place / "pixels.bin").write_bytes(bytes(2048))
        os.utime(place, (time.time() - number * 10 * 86400,) * 2)
    (cli.store / "data" / f"{'c' * 64}.partial").mkdir()
    listed = cli.json("store", "list")
    assert [(item["identity"], item["recipe"], item["bytes"]) for item in listed] == [
        (key, "prepared data", 2048) for key in keys
    ]
    assert f"{'a' * 12}  prepared data, 2 KiB, 20" in cli("store", "list").stdout
    prepared_data(keys[1], lambda folder: None)
    assert f"kept {'b' * 12} (old prepared data): a run" in cli("store", "prune", "--older", "5", "--yes").stdout
    assert f"removed {'c' * 12} (data half prepared)" in cli("store", "prune", "--partial", "--yes").stdout
    assert f"would remove {'a' * 12} (prepared data, 2 KiB)" in cli("store", "prune", "aaaa", "--dry-run").stdout
    cli("store", "prune", "--all", "--yes")
    assert DataCache(cli.store / "data").prepared() == [keys[1]]
