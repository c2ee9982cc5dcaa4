"""The scripts of docs/ten-minutes.md: they leave their pictures, and MNIST's network answers as its own code does."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

PAGE = Path(__file__).parents[1] / "docs" / "ten-minutes.md"
SCRIPTS = dict(re.findall(r'```python title="(\S+)"\n(.*?)```', PAGE.read_text(encoding="utf-8"), re.DOTALL))
REFERENCE = Path(os.environ.get("GUIDEPLUG_REFERENCE", "reference"))


@pytest.mark.slow
def test_two_checkpoints_become_a_sweep(tmp_path: Path) -> None:
    """With a hundredth of the page's training."""
    from PIL import Image

    for name, text in SCRIPTS.items():
        (tmp_path / name).write_text(text.replace("3001", "31").replace("3000", "30").replace("300", "3"))
    for name in ("train.py", "guide.py"):
        done = subprocess.run([sys.executable, name], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "sweep.png") as image:
        assert image.size == (8 * 10 * 10, 8 * 10 * 4)
    early, last = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("early", "last"))
    assert (early["step"], last["step"]) == (3, 30)


@pytest.mark.skipif(not (REFERENCE / "mnist-vit.pth").is_file(), reason="it is in the folder of GUIDEPLUG_REFERENCE")
@torch.no_grad()
def test_the_network_of_mnist_answers_as_its_own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mnist-vit.pth").write_bytes((REFERENCE / "mnist-vit.pth").read_bytes())
    monkeypatch.chdir(tmp_path)
    space: dict[str, object] = {}
    exec(compile(SCRIPTS["vit.py"].partition("sampler, rows")[0], "vit.py", "exec"), space)
    numbers = {name: torch.from_numpy(array) for name, array in np.load(REFERENCE / "mnist-vit.npz").items()}
    time = numbers["t"][:, None, None, None]
    denoised = space["main"](numbers["x"] / time, (1 - numbers["t"]) / numbers["t"], numbers["label"])  # type: ignore[operator]
    torch.testing.assert_close(denoised, numbers["denoised"], rtol=1e-4, atol=1e-5)
