"""Autoencoders of latents: how samples of latent models become images."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import torch
from attrs import define, field
from torch import Tensor

from guideplug.errors import CheckpointError
from guideplug.files.reading import read_json_file

__all__ = ["Autoencoder"]


@final
@define(eq=False)
class Autoencoder:
    """The decoder of an autoencoder that is in a local folder, diffusers' ``AutoencoderKL``, with the scale of latents.

    A call maps latents z (B, C, h, w) to images (B, 3, H, W) in [-1, 1]: ``decode((z - bias) / scale)``. `encoded` is
    its inverse on the mean and standard deviation that the encoder gives. The weights are read at the first call, as
    safetensors alone; nothing is fetched.

    Args:
        folder: of the autoencoder, with ``config.json``.
        scale, bias: per channel of a latent, or one number for all; EDM2's sheets have them.
    """

    folder: Path = field(converter=Path)
    scale: Sequence[float] = (1.0,)
    bias: Sequence[float] = (0.0,)
    _model: list[Any] = field(factory=list, init=False, repr=False)

    def __call__(self, latents: Tensor) -> Tensor:
        """The images (B, 3, H, W) of latents (B, C, h, w).

        Raises:
            CheckpointError: diffusers is not installed, or the folder holds no autoencoder.
        """
        model = self._loaded(latents.device)
        with torch.no_grad():
            images: Tensor = model.decode(self.raw(latents).to(next(model.parameters()).dtype)).sample
        return images.to(latents.dtype).clamp(-1, 1)

    def check(self, shape: tuple[int, ...]) -> None:
        """Compare the folder's configuration with latents of a shape (C, h, w); the weights are not read.

        Raises:
            CheckpointError: diffusers is not installed, the folder holds no autoencoder, or one of other channels, or
                scale and bias are of other channels.
        """
        if importlib.util.find_spec("diffusers") is None:
            raise CheckpointError(f"the autoencoder {self.folder} needs diffusers: pip install diffusers")
        try:
            config = read_json_file(self.folder / "config.json")
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise self._unreadable(f"config.json: {why}") from None
        if not isinstance(config, dict) or config.get("_class_name") != "AutoencoderKL":
            raise self._unreadable("its config.json is of no AutoencoderKL")
        if config.get("latent_channels") != shape[0]:
            raise CheckpointError(
                f"the autoencoder {self.folder} has latents of {config.get('latent_channels')} channels, and the "
                f"network's are of {shape[0]}: give the one that the sheet names"
            )
        for name, values in (("scale", self.scale), ("bias", self.bias)):
            if not isinstance(values, Sequence) or not all(isinstance(value, int | float) for value in values):
                raise CheckpointError(f"the sheet's encoder: {name} is {values!r}: give a list of numbers")
            if name == "scale" and 0 in values:
                raise CheckpointError(f"the sheet's encoder: scale is {values!r}: no number may be 0")
            if len(values) not in (1, shape[0]):
                raise CheckpointError(
                    f"the sheet's encoder has {len(values)} numbers as {name}, and latents of {shape[0]} channels: "
                    "give one number, or one per channel"
                )

    def _unreadable(self, why: str) -> CheckpointError:
        return CheckpointError(
            f"the autoencoder {self.folder} cannot be read ({why}): give the folder of diffusers' AutoencoderKL, with "
            "config.json and its weights as safetensors"
        )

    def raw(self, latents: Tensor) -> Tensor:
        """What the decoder takes, of latents (B, C, h, w)."""
        return (latents - self._column(self.bias, latents)) / self._column(self.scale, latents)

    def encoded(self, mean: Tensor, std: Tensor, noise: Tensor) -> Tensor:
        """Latents (B, C, h, w) from the encoder's mean and standard deviation, and unit noise of their shape."""
        return (mean + std * noise) * self._column(self.scale, mean) + self._column(self.bias, mean)

    @staticmethod
    def _column(values: Sequence[float], like: Tensor) -> Tensor:
        return torch.tensor(tuple(values), dtype=like.dtype, device=like.device)[:, None, None]

    def _loaded(self, device: torch.device) -> Any:
        if not self._model:
            try:
                from diffusers import AutoencoderKL  # seconds, and only latents need it
            except ImportError:
                raise CheckpointError(f"the autoencoder {self.folder} needs diffusers: pip install diffusers") from None
            try:
                read: Any = AutoencoderKL.from_pretrained
                model = read(self.folder, local_files_only=True, use_safetensors=True)
            except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
                why = (str(error).splitlines() or [type(error).__name__])[0]
                raise self._unreadable(why) from None
            self._model.append(model.eval().requires_grad_(False))
        return self._model[0].to(device)
