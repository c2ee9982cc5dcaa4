"""`guideplug run --bundle`: the folder runs elsewhere, with an empty store, and trains nothing."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import guideplug
from guideplug.run.folder import RunFolder

SMALL = ("--batch", "8", "--samples", "8", "--duration", "4it", "--out", "run")


def trained(folder: str) -> list[str]:
    lines = (Path(folder) / "events.jsonl").read_text().splitlines()
    return [event["role"] for event in map(json.loads, lines) if event["event"] == "train"]


def test_a_bundled_run_goes_elsewhere(cli: Any) -> None:
    cli.toy("--guider", "autoguidance", *SMALL, "--bundle")
    record = json.loads(Path("run/run.json").read_text())
    assert record["bundle"]
    assert {path.name for path in Path("run/store").iterdir()} == set(record["networks"].values())
    noted = Path("run/checksums.sha256").read_text()
    assert all(f"store/{identity}/weights.safetensors" in noted for identity in record["networks"].values())
    shutil.rmtree(cli.store)
    cli("run", "run/config.toml", "--out", "again")
    assert trained("again") == []
    cli("sample", "run", "--out", "guided")
    assert trained("guided") == []
    assert not [path for path in cli.store.iterdir() if path.is_dir() and path.name in record["networks"].values()]
    RunFolder(Path("run")).update_record(status="interrupted")
    Path("run/samples.npz").unlink()
    cli("run", "--resume", "run", "--fresh")  # an entry that is bundled stays as it is
    assert json.loads(Path("run/run.json").read_text())["bundle"]
    weights = next(Path("run/store").iterdir()) / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    shutil.rmtree(cli.store)
    line = cli.error("run", "run/config.toml", "--out", "no", code=1)
    assert "bundled network" in line
    assert weights.parent.name in line


@pytest.mark.slow
def test_the_call_bundles_too(cli: Any) -> None:
    plugin = str(Path(__file__).with_name("toy.py"))
    options: dict[str, Any] = {"plugins": [plugin], "device": "cpu", "sets": {"threads": 1}}
    guideplug.run(task="toy", batch=8, samples=8, duration="4it", out="run", bundle=True, **options)
    assert trained("run") == ["main"]
    guideplug.run(config="run", store="another", out="again", device="cpu")
    assert trained("again") == []
