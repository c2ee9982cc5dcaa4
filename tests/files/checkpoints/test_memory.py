"""The memory of an import: at most twice the bytes of the tensors and 100 MiB above what ``import torch`` takes."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import peak_memory
import pytest
import torch
from snapshots import persistent, write_pickle
from torch import nn

from guideplug.errors import CheckpointError
from guideplug.files.checkpoints.pickled_network import MOST_DEPTH
from guideplug.files.checkpoints.reading import read_checkpoint
from guideplug.files.tensors import write_tensors

MEBI = 1024**2
NUMBERS = 40 * MEBI
"""Of 160 MiB as float32."""
PROGRAM = """
import sys
import torch
from pathlib import Path
from peak_memory import peak_memory
before = peak_memory()
from guideplug.recipes.imported import import_checkpoint
import_checkpoint(Path(sys.argv[1]), Path(sys.argv[2]), None, [])
print(peak_memory() - before)
"""


class Large(nn.Module):
    """Weights in several tensors."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.parts = nn.ParameterList(torch.ones(NUMBERS // 8, dtype=dtype) for _ in range(8))


def named() -> dict[str, torch.Tensor]:
    return Large().state_dict()


WRITERS: dict[str, tuple[int, Callable[[Path], object]]] = {
    "torch": (4, lambda path: torch.save({"ema": named()}, path)),
    "the old format of torch": (4, lambda path: torch.save(named(), path, _use_new_zipfile_serialization=False)),
    "safetensors": (4, lambda path: write_tensors(path, named())),
    "a snapshot": (2, lambda path: write_pickle(path, {"ema": persistent(Large(), "Precond", {})})),
}
"""Of each format the bytes of a number, and what writes it; snapshots are in half precision."""


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_an_import_is_within_its_memory(name: str, tmp_path: Path) -> None:
    size, write = WRITERS[name]
    path = tmp_path / "net.bin"
    write(path)
    assert path.stat().st_size >= size * NUMBERS
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path), str(tmp_path / "out.safetensors")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(peak_memory.__file__).parent)},
    )
    assert size * NUMBERS <= int(done.stdout) <= 2 * size * NUMBERS + 100 * MEBI
    assert (tmp_path / "out.safetensors").stat().st_size >= size * NUMBERS


def nested(depth: int) -> nn.Module:
    module: nn.Module = nn.Linear(1, 1)
    for _ in range(depth):
        module = nn.Sequential(module)
    return module


def test_modules_nest_to_a_depth(tmp_path: Path) -> None:
    path = tmp_path / "net.pkl"
    write_pickle(path, {"ema": persistent(nested(MOST_DEPTH), "Precond", {})})
    (weights,) = read_checkpoint(path).networks.values()
    assert len(weights) == 2
    write_pickle(path, {"ema": persistent(nested(MOST_DEPTH + 1), "Precond", {})})
    with pytest.raises(CheckpointError, match=f"its modules nest more than {MOST_DEPTH} deep"):
        read_checkpoint(path)
