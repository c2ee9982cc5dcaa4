"""Weights from a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from attrs import frozen
from torch import nn

from guideplug.config import option
from guideplug.denoise import Leaf, NoiseDomain
from guideplug.errors import CheckpointError
from guideplug.files.reading import file_digest
from guideplug.files.tensors import fill_module, read_tensors
from guideplug.recipe import Builder, Recipe
from guideplug.task import Network, Task, seeded_build

__all__ = ["Load"]


@final
@frozen(kw_only=True)
class Load(Recipe):
    """Read weights from a safetensors file. Nothing in the file is executed; its bytes are part of the identity."""

    name = "load"
    stored = False
    path: str = option(help="a .safetensors file")
    task: Task | NoiseDomain = option(help="what the denoiser is for: a task, or in Python a domain without data")
    denoiser: Network = option(help="the architecture that the weights are of")

    def build(self) -> Leaf:
        return seeded_build(self.denoiser, self.task, 0)

    def make(self, module: nn.Module, builder: Builder) -> Mapping[str, Any]:
        """Load the weights; the facts hold the prefix of the names in the file relative to the network's.

        Raises:
            CheckpointError: the file is missing, damaged, of another format, or has other tensors than the network.
        """
        prefix = self._fill(module)
        return {"path": self.path, "prefix": prefix} if prefix else {"path": self.path}

    def _fill(self, module: nn.Module) -> str:
        tensors, _ = read_tensors(Path(self.path))
        return fill_module(module, tensors, self.path)

    @property
    def loaded_from(self) -> str:
        return self.path

    def content(self) -> str:
        """The hash of the file's bytes."""
        try:
            return file_digest(Path(self.path))
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise CheckpointError(f"{self.path} cannot be read: {why}; check the path") from None

    def check(self) -> None:
        """Read the file and compare it with the architecture."""
        self._fill(self.build())
