"""Weights from a file."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, final

from attrs import evolve, frozen
from torch import nn

from guideplug.adapters.latents import Autoencoder
from guideplug.config import option
from guideplug.denoise import Domain, Leaf, NoiseDomain
from guideplug.errors import CheckpointError, RecipeError
from guideplug.files.checkpoints.reading import chosen, read_checkpoint
from guideplug.files.checkpoints.sheet import Sheet, beside, read_sheet
from guideplug.files.reading import file_digest
from guideplug.files.tensors import fill_module
from guideplug.recipe import Builder, Recipe
from guideplug.recipes.imported import described, domain_of, numbers_in
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
    denoiser: Network | None = option(
        None, help="the architecture that the weights are of; none for that of the sheet or the snapshot"
    )
    key: str | None = option(None, help="which of the checkpoint's networks, as ema; by default the one that fits")
    vae: str | None = option(
        None, help="a local folder of the autoencoder, whose decoder shows latents", identity=False
    )

    def with_architecture(self, of_file: Callable[..., Network]) -> Self:
        """This recipe with the architecture that the file names."""
        return self if self.denoiser is not None else evolve(self, denoiser=of_file(self.path, self.key))

    def build(self) -> Leaf:
        """The network without its weights.

        Raises:
            CheckpointError: by its sheet the network denoises other samples than the task's, or the autoencoder's
                latents are of other channels.
            RecipeError: no architecture is given.
        """
        if self.denoiser is None:
            raise RecipeError(f"{self.name} of {self.path} has no architecture: give denoiser=...")
        sheet = described(Path(self.path), self.key, [type(self.denoiser)])
        denoiser = seeded_build(self.denoiser, self.task if sheet is None else self._domain(sheet), 0)
        if self.vae is not None:
            denoiser.decoder = self._decoder(self.vae, sheet, denoiser)
        return denoiser

    def _decoder(self, folder: str, sheet: Sheet | None, denoiser: Leaf) -> Autoencoder:
        """The autoencoder, with the scale and bias of latents by the sheet."""
        if sheet is None or sheet.encoder is None:
            raise CheckpointError(
                f"vae is {folder}, and nothing says the scale and bias of the latents of {self.path}: import it, and "
                f'write "encoder": {{"scale": [...], "bias": [...]}} into its sheet {beside(Path(self.path))}'
            )
        autoencoder = Autoencoder(Path(folder), sheet.encoder.get("scale", (1.0,)), sheet.encoder.get("bias", (0.0,)))
        autoencoder.check(denoiser.space.shape)
        return autoencoder

    def _domain(self, sheet: Sheet) -> Task | NoiseDomain:
        try:
            own = domain_of(sheet, self.task)
        except ValueError as error:
            raise CheckpointError(f"sheet {beside(Path(self.path))}: {error}: correct it there") from None
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
        prefix = self.fill(module)
        return {"path": self.path, "prefix": prefix} if prefix else {"path": self.path}

    def fill(self, module: nn.Module) -> str:
        """Load the weights into a module; the prefix of the names in the file.

        Raises:
            CheckpointError: as of `make`, or a sheet is of another file.
        """
        path = Path(self.path)
        tensors = chosen(read_checkpoint(path), self.key, module)
        sheet = read_sheet(beside(path))
        if sheet is not None and sheet.parameters != numbers_in(tensors):
            raise CheckpointError(
                f"sheet {beside(path)} is of {sheet.parameters:,} parameters, and {path.name} holds "
                f"{numbers_in(tensors):,}: it is of another file; import the checkpoint again, or correct the sheet"
            )
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
        self.fill(self.build())


def _samples(domain: Domain) -> str:
    classes = f" of {domain.num_labels} classes" if domain.num_labels else ""
    return f"samples {domain.space.shape}{classes}"
