"""A run's folder carries the code of its data set and of its augmentation, and gives the same bits elsewhere."""

import json
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from guideplug.cli.main import main

DATA = """
import sizes
import numpy as np

def dataset():
    random = np.random.default_rng(0)
    return [(random.integers(0, 256, (sizes.SIDE, sizes.SIDE)).astype(np.uint8), n % 2) for n in range(40)]
"""
NETWORK = "images-unet(width=8, levels=2)"
SMALL = ("--duration", "3it", "--samples", "4", "--sampler", "heun(num_steps=2)", "--denoiser", NETWORK)


@pytest.mark.slow
def test_a_run_of_ones_own_data_set_travels(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def guideplug(*line: str) -> str:
        done = CliRunner().invoke(main, line, prog_name="guideplug")
        assert done.exit_code == 0, done.output
        return done.output

    here, away = tmp_path / "here", tmp_path / "away"
    here.mkdir()
    away.mkdir()
    monkeypatch.setenv("GUIDEPLUG_TRUSTED", str(tmp_path / "trusted"))
    monkeypatch.chdir(here)
    (here / "data.py").write_text(DATA)
    (here / "sizes.py").write_text("SIDE = 8\n")
    (here / "augment.py").write_text("def mirrored(image):\n    return image.flip(1)\n")
    task = "images(python('./data.py:dataset'), augment='./augment.py:mirrored')"
    guideplug("run", "--task", task, *SMALL, "--out", "run", "--device", "cpu", "--set", "threads=1")
    config = tomllib.loads((here / "run" / "config.toml").read_text())
    assert str(here) not in json.dumps(config)
    copies = {str(path.relative_to(here / "run" / "code")) for path in (here / "run" / "code").rglob("*.py")}
    assert copies == {"data/data.py", "data/sizes.py", "augment/augment.py"}

    shutil.move(here / "run", away / "run")
    shutil.rmtree(here)
    shutil.rmtree(store)
    monkeypatch.chdir(away)
    guideplug("run", "run/config.toml", "--out", "again")
    arrays = [dict(np.load(away / name / "samples.npz")) for name in ("run", "again")]
    assert arrays[0].keys() == arrays[1].keys()
    assert all(np.array_equal(arrays[0][name], arrays[1][name]) for name in arrays[0])
    networks = [json.loads((away / name / "run.json").read_text())["networks"] for name in ("run", "again")]
    assert networks[0] == networks[1]
