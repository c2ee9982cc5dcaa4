"""Weights from a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from attrs import frozen
from torch import nn

from guideplug.adapters.latents import Autoencoder
from guideplug.config import option
from guideplug.denoise import Domain, Leaf, NoiseDomain
from guideplug.errors import CheckpointError
from guideplug.files.checkpoints.reading import chosen, read_checkpoint
from guideplug.files.checkpoints.sheet import beside, read_sheet
from guideplug.files.reading import file_digest
from guideplug.files.tensors import fill_module
from guideplug.recipe import Builder, Recipe
from guideplug.recipes.imported import domain_of
from guideplug.task import Network, Task, seeded_build

__all__ = ["Load"]


@final
@frozen(kw_only=True)
class Load(Recipe):
    """Read weights from a checkpoint. Nothing in the file is executed; its bytes are part of the identity.

    A sheet beside the file, as `guideplug import` writes it, says what the network denoises: its preconditioning is
    then its own, also for a task of another standard deviation.
    """

    name = "load"
    stored = False
    path: str = option(help="a checkpoint: .safetensors, of torch (.pt, .pth, .ckpt), or a snapshot of EDM or EDM2")
    task: Task | NoiseDomain = option(help="what the denoiser is for: a task, or in Python a domain without data")
    denoiser: Network = option(help="the architecture that the weights are of")
    key: str | None = option(None, help="which of the checkpoint's networks, as ema; by default the one that fits")
    vae: str | None = option(
        None, help="a local folder of the autoencoder, whose decoder shows latents", identity=False
    )

    def build(self) -> Leaf:
        """The network without its weights.

        Raises:
            CheckpointError: by its sheet the network denoises other samples than the task's.
        """
        denoiser = seeded_build(self.denoiser, self._domain(), 0)
        if self.vae is not None:
            denoiser.decoder = self._decoder(self.vae)
        return denoiser

    def _decoder(self, folder: str) -> Autoencoder:
        """The autoencoder, with the scale and bias of latents by the sheet, if there is one."""
        sheet = read_sheet(beside(Path(self.path)))
        encoder = {} if sheet is None or sheet.encoder is None else sheet.encoder
        return Autoencoder(Path(folder), encoder.get("scale", (1.0,)), encoder.get("bias", (0.0,)))

    def _domain(self) -> Domain:
        sheet = read_sheet(beside(Path(self.path)))
        own = None if sheet is None else domain_of(sheet)
        if own is None:
            return self.task
        labels = self.task.num_labels
        if own.space.shape != self.task.space.shape or (own.num_labels and labels and own.num_labels != labels):
            raise CheckpointError(
                f"checkpoint {self.path} is of {_samples(own)} by its sheet, and the samples here are "
                f"{_samples(self.task)}: give a network of the same data"
            )
        return own

    def make(self, module: nn.Module, builder: Builder) -> Mapping[str, Any]:
        """Load the weights; the facts hold the prefix of the names in the file relative to the network's.

        Raises:
            CheckpointError: the file is missing, damaged, of another format, or has other tensors than the network.
        """
        prefix = self._fill(module)
        return {"path": self.path, "prefix": prefix} if prefix else {"path": self.path}

    def _fill(self, module: nn.Module) -> str:
        tensors = chosen(read_checkpoint(Path(self.path)), self.key, module)
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


def _samples(domain: Domain) -> str:
    classes = f" of {domain.num_labels} classes" if domain.num_labels else ""
    return f"samples {domain.space.shape}{classes}"
