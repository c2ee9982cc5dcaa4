"""A weight network from a file, such as ``denoisers/weights.safetensors`` of a run. The file says its own sizes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from attrs import frozen
from torch import nn

from guideplug import Builder, GuideplugError, Recipe, file_digest, fill_module, option, read_tensors
from guideplug_learned.network import WeightNetwork

__all__ = ["Fitted"]


@final
@frozen(kw_only=True)
class Fitted(Recipe):
    """Read a learned weight from a safetensors file. Nothing in it is executed; its bytes are part of the identity."""

    name = "fitted"
    stored = False
    path: str = option(help="a .safetensors file that holds a weight network")

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        """A file with an untrained network."""
        from safetensors.torch import save_file

        file = folder / "weights.safetensors"
        save_file(WeightNetwork((0.002, 80.0, 0.5), classes=3, width=8).state_dict(), file)
        return {"path": str(file)}

    def build(self) -> nn.Module:
        tensors, _ = read_tensors(Path(self.path))
        return WeightNetwork.like(tensors, self.path)

    def make(self, module: nn.Module, builder: Builder) -> Mapping[str, Any]:
        """Fill in the weights."""
        fill_module(module, read_tensors(Path(self.path))[0], self.path)
        return {"path": self.path}

    def content(self) -> str:
        """The hash of the file's bytes."""
        try:
            return file_digest(Path(self.path))
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise GuideplugError(f"{self.path} cannot be read: {why}; check the path") from None

    def check(self) -> None:
        """Read it."""
        fill_module(self.build(), read_tensors(Path(self.path))[0], self.path)
